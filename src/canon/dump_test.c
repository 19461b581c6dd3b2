/* SPDX-License-Identifier: MIT */
#include "canon/dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/digest.h"

enum { OUT_MAX = 1024 * 1024 };

/* STR is no constant. */
#define S(literal)                        \
    {                                     \
        ("" literal), sizeof(literal) - 1 \
    }

/* Every kind of event, as it is dumped. */
static const struct {
    struct event event;
    const char *line;
} rows[] = {
    {{.kind = EVENT_START,
      .block = EVENT_NO_BLOCK,
      .start = {.id = S("i"), .model = S("m\n"), .created_s = 7}},
     "{\"kind\":\"START\",\"id\":\"i\",\"model\":\"m\\n\",\"created\":7}"},
    {{.kind = EVENT_START, .block = EVENT_NO_BLOCK}, "{\"kind\":\"START\"}"},
    {{.kind = EVENT_BLOCK_BEGIN,
      .choice = 1,
      .block = 2,
      .begin = {.kind = BLOCK_TOOL,
                .custom = true,
                .legacy = true,
                .index = 3,
                .id = S("c"),
                .name = S("")}},
     "{\"kind\":\"BLOCK_BEGIN\",\"choice\":1,\"block\":2,\"block_kind\":\"TOOL\",\"id\":\"c\","
     "\"name\":\"\",\"custom\":true,\"legacy\":true,\"index\":3}"},
    {{.kind = EVENT_TEXT, .text = S("a\"")}, "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"a\\\"\"}"},
    {{.kind = EVENT_REASONING, .text = S("")},
     "{\"kind\":\"REASONING\",\"block\":0,\"text\":\"\"}"},
    {{.kind = EVENT_SIGNATURE, .text = S("s")},
     "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"s\"}"},
    {{.kind = EVENT_TOOL_ARGS, .text = S("{}")},
     "{\"kind\":\"TOOL_ARGS\",\"block\":0,\"text\":\"{}\"}"},
    {{.kind = EVENT_CITATION, .text = S("{}")},
     "{\"kind\":\"CITATION\",\"block\":0,\"text\":\"{}\"}"},
    {{.kind = EVENT_LOGPROBS, .text = S("{}")},
     "{\"kind\":\"LOGPROBS\",\"block\":0,\"text\":\"{}\"}"},
    {{.kind = EVENT_BLOCK_END, .block = 5}, "{\"kind\":\"BLOCK_END\",\"block\":5}"},
    {{.kind = EVENT_USAGE, .block = EVENT_NO_BLOCK, .usage = {1, 2, 3, 0, -1, 4}},
     "{\"kind\":\"USAGE\",\"input\":1,\"output\":2,\"total\":3,\"cached\":0,\"reasoning\":4}"},
    {{.kind = EVENT_STOP,
      .block = EVENT_NO_BLOCK,
      .stop = {.reason = STOP_SEQUENCE, .native = S("stop"), .sequence = S("END")}},
     "{\"kind\":\"STOP\",\"reason\":\"SEQUENCE\",\"native\":\"stop\",\"sequence\":\"END\"}"},
    {{.kind = EVENT_ERROR,
      .block = EVENT_NO_BLOCK,
      .error = {.status = 429, .type = S("t"), .code = S("c"), .message = S("m")}},
     "{\"kind\":\"ERROR\",\"status\":429,\"type\":\"t\",\"code\":\"c\",\"message\":\"m\"}"},
    {{.kind = EVENT_KEEPALIVE, .block = EVENT_NO_BLOCK}, "{\"kind\":\"KEEPALIVE\"}"},
};

static void test_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct arena arena;
        struct event event;
        struct error e;
        struct buf out;
        arena_init(&arena, OUT_MAX, 1024, NULL);
        buf_init(&out, OUT_MAX);
        assert_true(dump_event(&out, &rows[i].event));
        if (!str_eq(buf_str(&out), str_c(rows[i].line)))
            fail_msg("%.*s instead of %s", STR_ARG(buf_str(&out)), rows[i].line);
        /* There and back. */
        assert_int_equal(dump_event_read(str_c(rows[i].line), &arena, &event, &e), OK);
        buf_reset(&out);
        assert_true(dump_event(&out, &event));
        assert_true(str_eq(buf_str(&out), str_c(rows[i].line)));
        assert_int_equal(event.choice, rows[i].event.choice);
        assert_int_equal(event.block, rows[i].event.block);
        buf_fini(&out);
        arena_fini(&arena);
    }
}

static void test_events_refused(void **state)
{
    static const char *const lines[] = {
        "",
        "{}",
        "[]",
        "{\"kind\":\"NONE\"}",
        "{\"kind\":\"TEXT\"}",
        "{\"kind\":\"BLOCK_BEGIN\",\"block_kind\":\"X\"}",
        "{\"kind\":\"STOP\"}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct arena arena;
        struct event event;
        struct error e;
        arena_init(&arena, OUT_MAX, 1024, NULL);
        assert_int_equal(dump_event_read(str_c(lines[i]), &arena, &event, &e), ERR_INTERNAL);
        arena_fini(&arena);
    }
}

/* Catches: a dump that hides what a request says. */
static void test_request(void **state)
{
    struct str stop[] = {STR("x")};
    struct str names[] = {STR("f")};
    struct extra inner = {.key = STR("k"), .value = STR("[1]"), .inner = true};
    struct extra extra = {.key = STR("j"), .value = STR("null"), .next = &inner};
    struct part vendor = {.kind = PART_VENDOR, .source = STR("{\"v\":1}")};
    struct part image = {.kind = PART_IMAGE,
                         .media_type = STR("image/png"),
                         .data = STR("QQ=="),
                         .detail = STR("low"),
                         .extra = &extra,
                         .next = &vendor};
    struct turn turn = {.role = ROLE_USER, .name = STR("n"), .parts = &image};
    struct tool tool = {.name = STR("f"), .schema = STR("{}"), .strict = 0};
    struct request request = {.model = STR("m"),
                              .stream = true,
                              .include_usage = 1,
                              .full = true,
                              .turns = &turn,
                              .tools = &tool,
                              .tool_choice = TOOL_CHOICE_NAMED,
                              .tool_choice_names = names,
                              .tool_choice_names_n = 1};
    struct buf out;

    (void)state;
    request.params = (struct params){.max_tokens = STR("5"),
                                     .logprobs = 0,
                                     .parallel_tool_calls = -1,
                                     .reasoning_visible = -1,
                                     .store = -1,
                                     .stop = stop,
                                     .stop_n = 1,
                                     .user = STR("u")};
    buf_init(&out, OUT_MAX);
    assert_true(dump_request(&out, &request));
    struct str want = STR(
        "{\"model\":\"m\",\"stream\":true,\"include_usage\":1,\"turns\":[{\"role\":\"user\","
        "\"name\":\"n\",\"parts\":[{\"kind\":\"image\",\"media_type\":\"image/png\",\"data\":"
        "\"QQ==\",\"detail\":\"low\",\"extra\":[{\"key\":\"j\",\"value\":null},{\"key\":\"k\","
        "\"value\":[1],\"inner\":true}]},{\"kind\":\"vendor\",\"source\":{\"v\":1}}]}],"
        "\"tools\":[{\"name\":\"f\",\"schema\":{},\"strict\":0}],\"tool_choice\":\"named\","
        "\"tool_choice_names\":[\"f\"],\"params\":{\"max_tokens\":5,\"logprobs\":0,\"stop\":"
        "[\"x\"],\"user\":\"u\"}}");
    if (!str_eq(buf_str(&out), want))
        fail_msg("%.*s", STR_ARG(buf_str(&out)));
    buf_fini(&out);
}

/* The members of the last request that say what it is. */
static void expect_dump(const struct request *request, const char *want)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    assert_true(dump_request(&out, request));
    if (str_find(buf_str(&out), str_c(want), 0) == SIZE_MAX)
        fail_msg("%s: %.*s", want, STR_ARG(buf_str(&out)));
    buf_fini(&out);
}

/* Catches: parts, tools, choices and parameters that are said alike although they differ. */
static void test_request_is_whole(void **state)
{
    static const char *const modes[] = {"off", "effort", "budget", "dynamic"};
    static const char *const choices[] = {"auto", "none", "required", "named", "subset", "other"};
    struct part inner = {.kind = PART_TEXT, .text = STR("t"), .citations = STR("[1]")};
    struct part result = {.kind = PART_TOOL_RESULT,
                          .id = STR("i"),
                          .is_error = true,
                          .was_text = true,
                          .parts = &inner};
    struct part thought = {.kind = PART_REASONING,
                           .signature = STR("s"),
                           .vendor = STR("v"),
                           .redacted = true,
                           .summary = true,
                           .next = &result};
    struct part file = {.kind = PART_FILE, .cache = STR("{}"), .next = &thought};
    struct part audio = {.kind = PART_AUDIO, .is_url = true, .next = &file};
    struct turn turn = {.role = ROLE_TOOL, .phase = STR("p"), .parts = &audio};
    struct tool vendor = {.vendor = true, .source = STR("{\"v\":1}"), .strict = -1};
    struct tool tool = {.name = STR("f"), .cache = STR("{}"), .space = STR("n"), .next = &vendor};
    struct str names[] = {STR("f"), STR("g")};
    struct request request = {.full = true,
                              .turns = &turn,
                              .tools = &tool,
                              .array = true,
                              .previous = STR("resp"),
                              .bound = STR("b"),
                              .tool_choice_names = names,
                              .tool_choice_names_n = 2,
                              .tool_choice_required = true,
                              .tool_choice_source = STR("{\"c\":1}")};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(choices); i++) {
        char want[64];
        request.tool_choice = (enum tool_choice_kind)(TOOL_CHOICE_AUTO + i);
        (void)snprintf(want, sizeof(want), "\"tool_choice\":\"%s\"", choices[i]);
        expect_dump(&request, want);
    }
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        char want[64];
        request.params.reasoning = (enum reasoning_mode)(REASONING_OFF + i);
        (void)snprintf(want, sizeof(want), "\"reasoning\":\"%s\"", modes[i]);
        expect_dump(&request, want);
    }
    request.params.format = (struct format){.kind = FORMAT_SCHEMA, .name = STR("n"), .strict = 1};
    expect_dump(&request, "\"format\":{\"kind\":\"schema\",\"name\":\"n\",\"strict\":1}");
    expect_dump(&request, "{\"kind\":\"audio\",\"is_url\":true},{\"kind\":\"file\",\"cache\":{}},"
                          "{\"kind\":\"reasoning\",\"signature\":\"s\",\"vendor\":\"v\","
                          "\"redacted\":true,\"summary\":true},{\"kind\":\"tool_result\",\"id\":"
                          "\"i\",\"is_error\":true,\"was_text\":true,\"parts\":[{\"kind\":\"text\","
                          "\"text\":\"t\",\"citations\":[1]}]}");
    expect_dump(&request, "\"cache\":{},\"space\":\"n\"");
    expect_dump(&request, "\"source\":{\"v\":1}");
    expect_dump(&request, "\"array\":true,\"previous\":\"resp\"");
    expect_dump(&request, "\"tool_choice_names\":[\"f\",\"g\"],\"tool_choice_required\":true,"
                          "\"tool_choice_source\":{\"c\":1}");
    expect_dump(&request, "\"bound\":\"b\"");
}

static void test_last_user_text(void **state)
{
    struct arena arena;
    struct part third = {.kind = PART_TEXT, .text = STR("b")};
    struct part second = {.kind = PART_IMAGE, .data = STR("x"), .next = &third};
    struct part first = {.kind = PART_TEXT, .text = STR("a"), .next = &second};
    struct turn said = {.role = ROLE_ASSISTANT, .parts = &third};
    struct turn asked = {.role = ROLE_USER, .parts = &first, .next = &said};
    struct request request = {.full = true, .turns = &asked};

    (void)state;
    arena_init(&arena, OUT_MAX, 1024, NULL);
    assert_true(str_eq(request_last_user_text(&request, &arena), STR("a\nb")));
    first.next = NULL;
    assert_true(str_eq(request_last_user_text(&request, &arena), STR("a")));
    asked.parts = NULL;
    assert_false(str_is_null(request_last_user_text(&request, &arena)));
    request.turns = &said;
    assert_true(str_is_null(request_last_user_text(&request, &arena)));
    arena_fini(&arena);
}

/* Catches: a join written into memory that there is not. */
static void test_last_user_text_bound(void **state)
{
    static char bytes[4096];
    struct arena arena;
    struct part second = {.kind = PART_TEXT, .text = str_of(bytes, sizeof(bytes))};
    struct part first = {.kind = PART_TEXT, .text = STR("a"), .next = &second};
    struct turn asked = {.role = ROLE_USER, .parts = &first};
    const struct request request = {.full = true, .turns = &asked};

    (void)state;
    memset(bytes, 'b', sizeof(bytes));
    arena_init(&arena, 1024, 512, NULL);
    assert_true(str_eq(request_last_user_text(&request, &arena), STR("")));
    assert_true(arena_overflowed(&arena));
    arena_fini(&arena);
}

static void digest_of(const char *const *lines, size_t n, struct buf *out)
{
    struct digest *digest = digest_new();
    struct arena arena;
    struct error e;

    arena_init(&arena, OUT_MAX, 1024, NULL);
    for (size_t i = 0; i < n; i++) {
        struct event event;
        assert_int_equal(dump_event_read(str_c(lines[i]), &arena, &event, &e), OK);
        digest_event(digest, &event);
    }
    digest_write(digest, true, out);
    digest_free(&digest);
    assert_null(digest);
    arena_fini(&arena);
}

/* Catches: digests that differ by the cut, and ones that do not by what is said. */
static void test_digest(void **state)
{
    static const char *const whole[] = {
        "{\"kind\":\"START\"}",
        "{\"kind\":\"BLOCK_BEGIN\",\"block\":0,\"block_kind\":\"TEXT\"}",
        "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"ab\"}",
        "{\"kind\":\"BLOCK_END\",\"block\":0}",
        "{\"kind\":\"STOP\",\"reason\":\"END\"}",
        "{\"kind\":\"USAGE\",\"input\":2}"};
    static const char *const cut[] = {
        "{\"kind\":\"START\",\"id\":\"x\"}",
        "{\"kind\":\"BLOCK_BEGIN\",\"block\":0,\"block_kind\":\"TEXT\"}",
        "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"a\"}",
        "{\"kind\":\"KEEPALIVE\"}",
        "{\"kind\":\"USAGE\",\"input\":1}",
        "{\"kind\":\"TEXT\",\"block\":0,\"text\":\"b\"}",
        "{\"kind\":\"BLOCK_END\",\"block\":0}",
        "{\"kind\":\"USAGE\",\"input\":2}",
        "{\"kind\":\"STOP\",\"reason\":\"END\",\"native\":\"stop\"}"};
    struct buf a;
    struct buf b;
    struct buf c;

    (void)state;
    buf_init(&a, OUT_MAX);
    buf_init(&b, OUT_MAX);
    buf_init(&c, OUT_MAX);
    digest_of(whole, COUNT_OF(whole), &a);
    digest_of(cut, COUNT_OF(cut), &b);
    digest_of(cut, COUNT_OF(cut) - 2, &c);
    assert_true(a.n > 0 && str_eq(buf_str(&a), buf_str(&b)));
    assert_false(str_eq(buf_str(&a), buf_str(&c)));
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&c);
}

static void expect_digest(const char *const *lines, size_t n, const char *want)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    digest_of(lines, n, &out);
    if (!str_eq(buf_str(&out), str_c(want)))
        fail_msg("--- got\n%.*s--- want\n%s", STR_ARG(buf_str(&out)), want);
    buf_fini(&out);
}

/* Catches: a member that the digest leaves out, so that its loss on the way goes unseen. */
static void test_digest_is_whole(void **state)
{
    static const char *const lines[] = {
        "{\"kind\":\"START\"}",
        "{\"kind\":\"BLOCK_BEGIN\",\"choice\":1,\"block\":0,\"block_kind\":\"TEXT\"}",
        "{\"kind\":\"BLOCK_BEGIN\",\"block\":0,\"block_kind\":\"REASONING\",\"name\":\"r\"}",
        "{\"kind\":\"REASONING\",\"block\":0,\"text\":\"hm\"}",
        "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"s1\"}",
        "{\"kind\":\"TEXT\",\"choice\":1,\"block\":0,\"text\":\"a\"}",
        "{\"kind\":\"SIGNATURE\",\"block\":0,\"text\":\"s2\"}",
        "{\"kind\":\"CITATION\",\"choice\":1,\"block\":0,\"text\":\"{}\"}",
        "{\"kind\":\"LOGPROBS\",\"choice\":1,\"block\":0,\"text\":\"[]\"}",
        "{\"kind\":\"STOP\",\"choice\":1,\"reason\":\"LENGTH\"}",
        "{\"kind\":\"STOP\",\"reason\":\"END\"}",
        "{\"kind\":\"ERROR\",\"status\":500,\"message\":\"m\"}",
    };
    struct digest *none = NULL;

    (void)state;
    expect_digest(lines, COUNT_OF(lines),
                  "{\"kind\":\"BLOCK_BEGIN\",\"block\":0,\"block_kind\":\"REASONING\"}"
                  " text=hm signature=s1s2\n"
                  "{\"kind\":\"BLOCK_BEGIN\",\"choice\":1,\"block\":0,\"block_kind\":\"TEXT\"}"
                  " text=a citations={} logprobs=[]\n"
                  "STOP choice 0 END\n"
                  "STOP choice 1 LENGTH\n"
                  "{\"kind\":\"ERROR\",\"message\":\"m\"}");
    digest_free(&none);
    assert_null(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_events_refused),
        cmocka_unit_test(test_request_is_whole),
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_last_user_text),
        cmocka_unit_test(test_digest),
        cmocka_unit_test(test_last_user_text_bound),
        cmocka_unit_test(test_digest_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
