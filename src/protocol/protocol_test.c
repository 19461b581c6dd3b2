/* SPDX-License-Identifier: MIT */
#include "protocol/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Catches: a member that lacks a part of the contract. */
static void test_table(void **state)
{
    (void)state;
    assert_true(protocol_count > 0);
    for (size_t i = 0; i < protocol_count; i++) {
        const struct protocol *p = protocol_table[i];
        assert_ptr_equal(protocol_find(str_c(p->name)), p);
        assert_non_null(p->routes);
        assert_true(p->models_path[0] == '/' && p->api_version[0] == '/');
        assert_true(p->request_decode && p->request_decode_full && p->request_encode);
        assert_true(p->decoder_size > 0 && p->decoder_init && p->response_decode);
        assert_true(p->encoder_size > 0 && p->encoder_init && p->response_encode);
        assert_true(p->decoder_fini && p->encoder_fini && p->encoder_end);
        assert_true(p->error_encode && p->error_decode && p->models_decode && p->models_encode);
        assert_non_null(p->stream_content_type);
    }
    assert_null(protocol_find(STR("openai")));
    assert_null(protocol_find(STR("")));
}

static void test_outlines(void **state)
{
    (void)state;
    for (size_t i = 0; i < protocol_count; i++) {
        const struct protocol *p = protocol_table[i];
        assert_true(p->outline_next && p->outline_last && p->outline_call);
        assert_non_null(p->outline_words);
    }
}

static void test_route(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        enum operation operation; /* COUNT: no match */
        const char *rest;
        const char *allow; /* NULL: no such path */
    } cases[] = {
        {"POST", "/v1/chat/completions", OP_GENERATE, NULL, "POST"},
        {"POST", "/v2/chat/completions", OP_GENERATE, NULL, "POST"},
        {"GET", "/v1/chat/completions", OP_COUNT, NULL, "POST"},
        {"POST", "/v1/chat/completions/", OP_COUNT, NULL, NULL},
        {"post", "/v1/chat/completions", OP_COUNT, NULL, "POST"},
        {"GET", "/v1/models", OP_MODELS, NULL, "GET, HEAD"},
        {"HEAD", "/v2/models", OP_MODELS, NULL, "GET, HEAD"},
        {"DELETE", "/v1/models", OP_COUNT, NULL, "GET, HEAD"},
        {"GET", "/v1/models/openrouter:a/b:free", OP_MODEL, "openrouter:a/b:free", "GET, HEAD"},
        {"GET", "/v1/models/", OP_COUNT, NULL, NULL},
        {"GET", "/v1/modelsx", OP_COUNT, NULL, NULL},
        {"POST", "/v1beta/models/a:b%2Fc:countTokens", OP_COUNT_TOKENS, "a:b/c:countTokens",
         "POST"},
        {"GET", "/v1beta/models/m:generateContent", OP_COUNT, NULL, "POST"},
        {"DELETE", "/v1/models/a:b:streamGenerateContent", OP_COUNT, NULL, "POST"},
        {"HEAD", "/v1/models/m:countTokens", OP_COUNT, NULL, "POST"},
        {"POST", "/v1beta/models/m:streamGenerateContent", OP_GENERATE, "m:streamGenerateContent",
         "POST"},
        {"POST", "/v1/models/m%3AgenerateContent", OP_GENERATE, "m:generateContent", "POST"},
        {"GET", "/v1beta/models/m:nothing", OP_MODEL, "m:nothing", "GET, HEAD"},
        {"PUT", "/v1/messages", OP_COUNT, NULL, "POST"},
        {"DELETE", "/anthropic/v1/messages/count_tokens", OP_COUNT, NULL, "POST"},
        {"HEAD", "/v1/responses/resp_1/input_items", OP_REPLY_INPUT, "resp_1", "GET, HEAD"},
        {"PATCH", "/v2/responses/resp_1/input_items", OP_COUNT, NULL, "GET, HEAD"},
        {"GET", "/v1/responses", OP_COUNT, NULL, "POST"},
        {"GET", "/v1beta/models/m", OP_MODEL, "m", "GET, HEAD"},
        {"GET", "/v1/responses/input_tokens", OP_COUNT, NULL, "POST"},
        {"GET", "/v1/responses/resp_1/cancel", OP_COUNT, NULL, "POST"},
        {"POST", "/v1/responses/resp_1", OP_COUNT, NULL, "GET, HEAD, DELETE"},
        {"GET", "", OP_COUNT, NULL, NULL},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536, 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match match;
        protocol_route(str_c(cases[i].method), str_c(cases[i].path), &arena, &match);
        assert_int_equal(match.protocol != NULL, cases[i].operation != OP_COUNT);
        assert_int_equal(match.path_known, cases[i].allow != NULL);
        bool found = match.protocol != NULL;
        assert_true(str_eq(match.allow, found ? STR_NULL : str_c(cases[i].allow)));
        if (match.protocol == NULL)
            continue;
        assert_int_equal(match.operation, cases[i].operation);
        assert_true(str_eq(match.rest, str_c(cases[i].rest)));
    }
    arena_fini(&arena);
}

/* --- docs/API_REFERENCE.md --- */

static struct str read_page(struct arena *arena)
{
    FILE *file = fopen("docs/API_REFERENCE.md", "rb");
    enum { PAGE_MAX = 256 * 1024 };
    char *text = arena_alloc(arena, PAGE_MAX);

    assert_non_null(file);
    size_t n = fread(text, 1, PAGE_MAX, file);
    assert_in_range(n, 1, PAGE_MAX - 1);
    assert_int_equal(fclose(file), 0);
    return str_of(text, n);
}

/* Whether said is what the page calls the pattern: its '*' is a name in braces; what follows. */
static bool says(struct str said, struct str pattern)
{
    size_t star = str_find_char(pattern, '*', 0);
    struct str behind = star == SIZE_MAX ? STR_NULL : str_from(pattern, star + 1);

    if (star == SIZE_MAX)
        return str_eq(said, pattern);
    struct str rest = str_from(said, star);
    return str_starts(said, str_head(pattern, star)) && str_starts(rest, STR("{")) &&
           str_find_char(rest, '}', 0) != SIZE_MAX &&
           (behind.n == 0 ? str_find_char(rest, '/', 0) == SIZE_MAX : str_ends(rest, behind));
}

/* The next "`METHOD /path`" of the page. */
static bool next_said(struct str page, size_t *cursor, struct str *ret_method, struct str *ret_path)
{
    static const char *const methods[] = {"GET", "POST", "DELETE"};

    while ((*cursor = str_find_char(page, '`', *cursor)) != SIZE_MAX) {
        size_t end = str_find_char(page, '`', ++*cursor);
        struct str code = str_of(page.p + *cursor, end == SIZE_MAX ? 0 : end - *cursor);
        size_t blank = str_find_char(code, ' ', 0);
        *cursor = end == SIZE_MAX ? page.n : end + 1;
        for (size_t i = 0; i < COUNT_OF(methods) && blank != SIZE_MAX; i++) {
            *ret_method = str_head(code, blank);
            *ret_path = str_from(code, blank + 1);
            if (str_eq(*ret_method, str_c(methods[i])) && str_starts(*ret_path, STR("/")))
                return true;
        }
    }
    return false;
}

static bool page_has(struct str page, const struct route *route)
{
    size_t cursor = 0;
    struct str method;
    struct str path;

    while (next_said(page, &cursor, &method, &path)) {
        if (str_eq(method, str_c(route->method)) && says(path, str_c(route->path)))
            return true;
    }
    return false;
}

/* "/v1/responses/{id}/cancel" with something in its place. */
static struct str example_of(struct str said, struct arena *arena)
{
    size_t open = str_find_char(said, '{', 0);
    size_t close = open == SIZE_MAX ? SIZE_MAX : str_find_char(said, '}', open);

    if (close == SIZE_MAX)
        return said;
    return str_print(arena, "%.*sa%.*s", STR_ARG(str_head(said, open)),
                     STR_ARG(str_from(said, close + 1)));
}

/* Catches: a path that clients are not told of, and one that they are told of and is not there. */
static void test_every_route_is_documented(void **state)
{
    struct arena arena;
    struct str method;
    struct str path;
    size_t cursor = 0;
    size_t count = 0;

    (void)state;
    arena_init(&arena, 4 * 1024 * 1024, 1024, NULL);
    struct str page = read_page(&arena);
    for (size_t i = 0; i < protocol_count; i++) {
        for (const struct route *route = protocol_table[i]->routes; route->path != NULL; route++) {
            if (!page_has(page, route))
                fail_msg("docs/API_REFERENCE.md does not have %s %s", route->method, route->path);
        }
    }
    while (next_said(page, &cursor, &method, &path)) {
        struct route_match match;
        if ((!str_starts(path, STR("/v")) && !str_starts(path, STR("/anthropic"))) ||
            str_starts(path, STR("/v2/sessions")) || str_eq(path, STR("/v2/backends")) ||
            str_eq(path, STR("/v2/performance")))
            continue; /* the proxy's own */
        protocol_route(method, example_of(path, &arena), &arena, &match);
        if (match.protocol == NULL)
            fail_msg("docs/API_REFERENCE.md has %.*s %.*s, which is not there", STR_ARG(method),
                     STR_ARG(path));
        count++;
    }
    assert_true(count > 40);
    arena_fini(&arena);
}

/* Catches: a path that goes to the wrong protocol, an id or a model that is cut wrongly. */
static void test_whose(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        const char *protocol; /* NULL: no match */
        enum operation operation;
        const char *rest;
    } cases[] = {
        {"POST", "/v1/messages", "anthropic", OP_GENERATE, NULL},
        {"POST", "/anthropic/v1/messages/count_tokens", "anthropic", OP_COUNT_TOKENS, NULL},
        {"POST", "/v1beta/models/openai:gpt-4o:generateContent", "gemini", OP_GENERATE,
         "openai:gpt-4o:generateContent"},
        {"POST", "/v1/models/a%2Fb%3Ac:countTokens", "gemini", OP_COUNT_TOKENS,
         "a/b:c:countTokens"},
        {"POST", "/v1beta/models/", NULL, OP_COUNT, NULL},
        {"GET", "/v1/models/a:generateContent", NULL, OP_COUNT, NULL},
        {"GET", "/v1/models/a:generate", "openai-chat", OP_MODEL, "a:generate"},
        {"GET", "/v1beta/models", "gemini", OP_MODELS, NULL},
        {"POST", "/v1/responses/input_tokens", "openai-responses", OP_COUNT_TOKENS, NULL},
        {"GET", "/v1/responses/resp_1/input_items", "openai-responses", OP_REPLY_INPUT, "resp_1"},
        {"GET", "/v1/responses/resp_1", "openai-responses", OP_REPLY_GET, "resp_1"},
        {"POST", "/v1/responses/resp_1/cancel", "openai-responses", OP_REPLY_CANCEL, "resp_1"},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536, 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match match;
        protocol_route(str_c(cases[i].method), str_c(cases[i].path), &arena, &match);
        const char *name = match.protocol == NULL ? NULL : match.protocol->name;
        if (!str_eq(str_c(name), str_c(cases[i].protocol)))
            fail_msg("%s: %s", cases[i].path, name == NULL ? "(none)" : name);
        if (name == NULL)
            continue;
        assert_int_equal(match.operation, cases[i].operation);
        if (!str_eq(match.rest, str_c(cases[i].rest)))
            fail_msg("%s: %.*s", cases[i].path, STR_ARG(match.rest));
    }
    arena_fini(&arena);
}

/* Catches: an error in a shape that the client of a path does not know. */
static void test_shape(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        const char *protocol;
    } cases[] = {
        {"POST", "/v1/messages/batches", "anthropic"},
        {"GET", "/anthropic/x", "anthropic"},
        {"GET", "/v1beta/nothing", "gemini"},
        {"POST", "/v1/models/a:b:x", "gemini"},
        {"GET", "/v1/models/a:b", "openai-chat"},
        {"PUT", "/v1/models/a:b:streamGenerateContent", "gemini"},
        {"GET", "/v1/models/a:countTokens", "gemini"},
        {"DELETE", "/v1/messages/count_tokens", "anthropic"},
        {"PUT", "/v1/responses/resp_1/cancel", "openai-responses"},
        {"POST", "/v1/nothing", "openai-chat"},
        {"GET", "/", "openai-chat"},
        {"GET", "", "openai-chat"},
        {"PUT", "/v1/messagesx", "openai-chat"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct protocol *p = protocol_of_path(str_c(cases[i].method), str_c(cases[i].path));
        if (!str_eq(str_c(p->name), str_c(cases[i].protocol)))
            fail_msg("%s: %s", cases[i].path, p->name);
    }
}

static const struct request_limits limits = {.depth_max = 32,
                                             .rest = STR_INIT("m:streamGenerateContent")};

/* The second turn goes, and of the first one's text what stands before the point. */
static void edit(const struct protocol *p, struct request *request, struct arena *arena)
{
    struct outline_cursor cursor = {.step = 0};
    struct json_string_cursor string;
    struct outline_turn turn;
    struct outline_text text;
    size_t at = 0;

    assert_true(p->outline_next(request, &cursor, &turn));
    assert_true(outline_text_next(turn.content, &at, &text));
    json_string_begin(&string, text.string);
    json_edit_cut(&request->edits, arena, request->source, &string, 0, 3);
    assert_true(p->outline_next(request, &cursor, &turn));
    json_edit_element(&request->edits, arena, request->source, turn.source);
}

/* What was read before the edits is not what is there now; the head is what it was; a second time
 * nothing is read. */
static void test_read_full(void **state)
{
    static const struct {
        const char *protocol;
        const char *body;
    } cases[] = {
        {"openai-chat", "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\","
                        "\"content\":\"\\u00e9.a\"},{\"role\":\"user\",\"content\":\"b\"}]}"},
        {"openai-responses", "{\"model\":\"m\",\"stream\":true,\"input\":[{\"role\":\"user\","
                             "\"content\":\"\\u00e9.a\"},{\"role\":\"user\",\"content\":"
                             "\"b\"}],\"previous_response_id\":\"p\"}"},
        {"anthropic", "{\"model\":\"m\",\"stream\":true,\"max_tokens\":1,\"messages\":[{\"role\":"
                      "\"user\",\"content\":\"\\u00e9.a\"},{\"role\":\"user\",\"content\":\"b\"}"
                      "]}"},
        {"gemini", "{\"contents\":[{\"parts\":[{\"text\":\"\\u00e9.a\"}]},{\"parts\":[{\"text\":"
                   "\"b\"}]}]}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        const struct protocol *p = protocol_find(str_c(cases[i / 2].protocol));
        struct str body = str_c(cases[i / 2].body);
        struct request request;
        struct arena arena;
        struct error e;
        arena_init(&arena, 1024 * 1024, 4096, NULL);
        assert_int_equal(p->request_decode(body, &limits, &arena, &request, &e), OK);
        if (i % 2 == 1)
            assert_int_equal(p->request_decode_full(&request, &limits, &arena, &e), OK);
        assert_int_equal(protocol_read_full(p, &request, &limits, &arena, &e), OK);
        assert_ptr_equal(request.source.p, body.p);
        assert_true(str_eq(request.turns->parts->text, STR("\xC3\xA9.a")));
        edit(p, &request, &arena);
        request.model = STR("other");
        assert_int_equal(protocol_read_full(p, &request, &limits, &arena, &e), OK);
        assert_true(request.full && request.edits.n == 0);
        assert_true(str_eq(request.turns->parts->text, STR("a")));
        assert_null(request.turns->next);
        assert_true(str_eq(request.model, STR("other")) && request.stream);
        assert_true(str_is_null(request.previous) == (i / 2 != 1));
        size_t bytes = arena_bytes(&arena);
        assert_int_equal(protocol_read_full(p, &request, &limits, &arena, &e), OK);
        assert_int_equal(arena_bytes(&arena), bytes);
        arena_fini(&arena);
    }
}

/* Without memory nothing is lost: the request stays as it was, with its edits. */
static void test_read_full_without_memory(void **state)
{
    const struct protocol *p = protocol_find(STR("openai-chat"));
    struct request request;
    struct arena arena;
    struct arena small;
    struct error e;
    struct buf body;

    (void)state;
    arena_init(&arena, 1024 * 1024, 4096, NULL);
    arena_init(&small, 4096, 4096, NULL);
    buf_init(&body, 64 * 1024);
    buf_add(&body, STR("{\"messages\":[{\"role\":\"user\",\"content\":\"é."));
    while (body.n < 32 * 1024)
        buf_add_char(&body, 'a');
    buf_add(&body, STR("\"},{\"role\":\"user\",\"content\":\"b\"}]}"));
    assert_int_equal(p->request_decode(buf_str(&body), &limits, &arena, &request, &e), OK);
    edit(p, &request, &arena);
    assert_int_equal(protocol_read_full(p, &request, &limits, &small, &e), ERR_TOO_LARGE);
    assert_int_equal(request.edits.n, 2);
    assert_ptr_equal(request.source.p, body.p);
    buf_fini(&body);
    arena_fini(&arena);
    arena_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_outlines),
        cmocka_unit_test(test_route),
        cmocka_unit_test(test_whose),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_read_full),
        cmocka_unit_test(test_read_full_without_memory),
        cmocka_unit_test(test_every_route_is_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
