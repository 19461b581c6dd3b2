/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_lint.h"
#include "protocol/protocol.h"
#include "protocol/recordings_for_test.h"

enum { OUT_MAX = 1024 * 1024 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 * 1024 * 1024, 4096, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static const struct protocol *chat(void)
{
    const struct protocol *protocol = protocol_find(STR("openai-chat"));

    assert_non_null(protocol);
    return protocol;
}

static void expect(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(got), STR_ARG(want));
}

/* --- errors that we make ------------------------------------------------------------------ */

static void test_error_encode(void **state)
{
    struct error e = {.code = OK};
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    (void)FAIL(&e, ERR_UNKNOWN_BACKEND, "no\"pe (known: openai)");
    chat()->error_encode(&e, STR("r-1"), false, &out);
    expect(buf_str(&out), STR("{\"error\":{\"message\":\"Unknown backend: no\\\"pe (known: "
                              "openai)\",\"type\":\"invalid_request_error\",\"param\":null,"
                              "\"code\":\"unknown_backend\"}}"));
    buf_reset(&out);
    (void)FAIL(&e, ERR_BAD_REQUEST, "%s", "");
    chat()->error_encode(&e, STR_NULL, true, &out);
    expect(buf_str(&out), STR("data: {\"error\":{\"message\":\"Invalid request\",\"type\":"
                              "\"invalid_request_error\",\"param\":null,\"code\":null}}\n\n"));
    assert_int_equal(openai_chat_lint(buf_str(&out), false), 0);
    buf_fini(&out);
}

/* Catches: a code without a type, and errors that are not JSON. */
static void test_error_every_code(void **state)
{
    const struct json_read_options options = {.depth_max = 8};

    (void)state;
    for (int code = OK + 1; code < ERROR_COUNT; code++) {
        struct error e = {.code = OK};
        struct error ignored;
        struct buf out;
        buf_init(&out, OUT_MAX);
        (void)FAIL(&e, (enum error_code)code, "detail");
        chat()->error_encode(&e, STR("r"), false, &out);
        yyjson_val *root = json_read(buf_str(&out), &options, &arena, &ignored);
        yyjson_val *error = json_get(root, STR("error"));
        assert_true(json_get_str(error, STR("type")).n > 0);
        assert_true(str_starts(json_get_str(error, STR("message")),
                               str_c(error_text((enum error_code)code))));
        buf_fini(&out);
    }
}

/* --- errors that upstreams make ----------------------------------------------------------- */

static void test_error_decode(void **state)
{
    static const struct {
        int status;
        const char *body;
        int want_status;
        const char *type;
        const char *code;
        const char *message;
    } cases[] = {
        {429, "{\"error\":{\"message\":\"slow\",\"type\":\"requests\",\"code\":\"rate\"}}", 429,
         "requests", "rate", "slow"},
        {200, "{\"error\":{\"message\":\"no\",\"code\":402}}", 402, NULL, "402", "no"},
        {200, "[{\"error\":{\"code\":400,\"message\":\"bad\",\"status\":\"INVALID\"}}]", 400, NULL,
         "400", "bad"},
        {403, "{\"code\":\"denied\",\"error\":\"text\"}", 403, NULL, "denied", "text"},
        {400, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"T\",\"code\":40401}", 400, "T",
         "40401", "m"},
        {401, "{\"detail\":\"Invalid API Key\"}", 401, NULL, NULL, "Invalid API Key"},
        {422, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}", 422, NULL, NULL,
         "field required"},
        {500, "{\"detail\":{\"a\":1}}", 500, NULL, NULL, "{\"a\":1}"},
        {502, "<html>bad gateway</html>", 502, NULL, NULL, "<html>bad gateway</html>"},
        {503, "", 503, NULL, NULL, "HTTP status 503"},
        {500, "{\"odd\":true}", 500, NULL, NULL, "{\"odd\":true}"},
        {500, "{\"error\":{}}", 500, NULL, NULL, "unknown error"},
        {500,
         "a\xff"
         "b",
         500, NULL, NULL,
         "a\xEF\xBF\xBD"
         "b"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct event event;
        chat()->error_decode(cases[i].status, str_c(cases[i].body), &arena, &event);
        assert_int_equal(event.kind, EVENT_ERROR);
        assert_int_equal(event.error.status, cases[i].want_status);
        expect(event.error.type, str_c(cases[i].type));
        expect(event.error.code, str_c(cases[i].code));
        expect(event.error.message, str_c(cases[i].message));
    }
}

static void error_recording(void *ctx, const struct recording *recording)
{
    size_t *count = ctx;
    struct event event;

    if (recording->status < 400)
        return;
    chat()->error_decode(recording->status, recording->body, &arena, &event);
    assert_int_equal(event.error.status, recording->status);
    /* A message of the vendor's, not the body for want of one. */
    assert_true(event.error.message.n > 0);
    assert_true(event.error.message.p[0] != '{' && event.error.message.p[0] != '[');
    *count += 1;
}

static void test_error_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (!recordings_each("openai_chat", error_recording, &count))
        skip();
    assert_true(count > 10);
}

/* --- models ------------------------------------------------------------------------------- */

static void join_id(void *ctx, struct str id, struct str source)
{
    struct buf *out = ctx;

    assert_true(str_find(source, id, 0) != SIZE_MAX);
    buf_print(out, "%.*s;", STR_ARG(id));
}

static void test_models_decode(void **state)
{
    static const struct {
        const char *body;
        const char *ids; /* NULL: no list */
        const char *next;
    } cases[] = {
        {"{\"object\":\"list\",\"data\":[{\"id\":\"a\",\"object\":\"model\"},{\"id\":\"b/c\"}]}",
         "a;b/c;", NULL},
        {"[{\"id\":\"a\",\"created\":1}]", "a;", NULL},
        {"{\"data\":[{\"name\":\"a\"},7,{\"id\":\"\"},{\"id\":\"b\"}]}", "b;", NULL},
        {"{\"data\":[]}", "", NULL},
        {"{\"models\":[{\"name\":\"a:b\"},{\"id\":\"c\",\"name\":\"C\"},{}]}", "a:b;c;", NULL},
        {"{\"data\":[{\"id\":\"a\"}],\"models\":[{\"name\":\"b\"}]}", "a;", NULL},
        {"{\"data\":[{\"id\":\"a\"},{\"id\":\"b/c\"}],\"has_more\":true}", "a;b/c;", "after=b%2Fc"},
        {"{\"data\":[{\"id\":\"a\"}],\"has_more\":true,\"last_id\":\"z\"}", "a;", "after=z"},
        {"{\"data\":[{\"id\":\"a\"}],\"has_more\":false,\"last_id\":\"a\"}", "a;", NULL},
        {"{\"data\":[],\"has_more\":true}", "", NULL},
        {"{\"models\":[{\"name\":\"a\"}],\"nextPageToken\":\"t&u\"}", "a;", "pageToken=t%26u"},
        {"{\"data\":[{\"id\":\"a\"}],\"next_page_token\":\"\"}", "a;", NULL},
        {"{\"data\":[{\"id\":\"a\"}],\"next_page_token\":\"2\"}", "a;", "pageToken=2"},
        {"{\"error\":{\"message\":\"x\"}}", NULL, NULL},
        {"<html>", NULL, NULL},
        {"", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf ids;
        buf_init(&ids, OUT_MAX);
        struct str next = STR_NULL;
        bool ok = chat()->models_decode(str_c(cases[i].body), &arena, join_id, &ids, &next);
        assert_int_equal(ok, cases[i].ids != NULL);
        expect(buf_str(&ids), str_c(cases[i].ids));
        expect(next, str_c(cases[i].next));
        buf_fini(&ids);
    }
}

static void test_models_encode(void **state)
{
    const struct model_entry models[] = {
        {.id = STR("b:m\""), .owner = STR("b"), .created_s = 7},
        {.id = STR("n"), .owner = STR("o")},
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    chat()->models_encode(models, 2, false, &out);
    expect(buf_str(&out),
           STR("{\"object\":\"list\",\"data\":[{\"id\":\"b:m\\\"\",\"object\":\"model\","
               "\"created\":7,\"owned_by\":\"b\"},{\"id\":\"n\",\"object\":\"model\",\"created\":0,"
               "\"owned_by\":\"o\"}]}"));
    buf_reset(&out);
    chat()->models_encode(models, 0, false, &out);
    expect(buf_str(&out), STR("{\"object\":\"list\",\"data\":[]}"));
    buf_reset(&out);
    chat()->models_encode(models, 1, true, &out);
    expect(buf_str(&out), STR("{\"id\":\"b:m\\\"\",\"object\":\"model\",\"created\":7,"
                              "\"owned_by\":\"b\"}"));
    buf_fini(&out);
}

/* --- the checker of streams --------------------------------------------------------------- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_error_encode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_every_code, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_decode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_recordings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models_decode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models_encode, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
