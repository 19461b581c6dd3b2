/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_responses_for_test.h"
#include "text/json.h"

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

static void expect(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(got), STR_ARG(want));
}

/* --- routes ------------------------------------------------------------------------------- */

static void test_routes(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        enum operation operation;
        const char *rest;
    } cases[] = {
        {"POST", "/v1/responses", OP_GENERATE, ""},
        {"POST", "/v2/responses", OP_GENERATE, ""},
        {"POST", "/v1/responses/input_tokens", OP_COUNT_TOKENS, ""},
        {"POST", "/v1/responses/compact", OP_COMPACT, ""},
        {"GET", "/v1/responses/resp_1", OP_REPLY_GET, "resp_1"},
        {"DELETE", "/v2/responses/resp_1", OP_REPLY_DELETE, "resp_1"},
        {"GET", "/v1/responses/resp_1/input_items", OP_REPLY_INPUT, "resp_1"},
        {"POST", "/v1/responses/resp_1/cancel", OP_REPLY_CANCEL, "resp_1"},
        {"POST", "/v1/conversations", OP_CONVERSATIONS, ""},
        {"GET", "/v1/conversations/c_1/items", OP_CONVERSATIONS, "c_1/items"},
        {"DELETE", "/v2/conversations/c_1", OP_CONVERSATIONS, "c_1"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match match;
        protocol_route(str_c(cases[i].method), str_c(cases[i].path), &arena, &match);
        if (match.protocol != responses() || match.operation != cases[i].operation)
            fail_msg("%s %s: %d", cases[i].method, cases[i].path, (int)match.operation);
        expect(match.rest, str_c(cases[i].rest));
    }
}

/* --- errors ------------------------------------------------------------------------------- */

static void test_error_body(void **state)
{
    struct error e = {.code = OK};
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    (void)FAIL(&e, ERR_UNSUPPORTED_VALUE, "\"background\"");
    responses()->error_encode(&e, STR("r-1"), false, &out);
    expect(buf_str(&out), STR("{\"error\":{\"message\":\"Not supported here: \\\"background\\\"\","
                              "\"type\":\"invalid_request_error\",\"param\":null,"
                              "\"code\":\"unsupported_value\"}}"));
    buf_fini(&out);
}

/* Catches: an error in a stream that clients do not take for one. */
static void test_error_in_stream(void **state)
{
    (void)state;
    for (int code = OK + 1; code < ERROR_COUNT; code++) {
        struct error e = {.code = OK};
        struct error why;
        struct trial trial;
        struct buf out;
        buf_init(&out, OUT_MAX);
        (void)FAIL(&e, (enum error_code)code, "a \"detail\"");
        responses()->error_encode(&e, STR("r-1"), true, &out);
        if (trial_lint(responses(), buf_str(&out), true, &why) != OK)
            fail_msg("%s\n%.*s", why.detail, STR_ARG(buf_str(&out)));
        trial_decode(&trial, responses(), buf_str(&out),
                     &(struct trial_cuts){.stream = true, .step = 1});
        assert_int_equal(trial.error.code, OK);
        assert_true(trial_has(&trial, EVENT_ERROR));
        struct str message = trial.frames[0].events[0].error.message;
        assert_true(str_ends(message, STR("a \"detail\"")));
        trial_fini(&trial);
        buf_fini(&out);
    }
}

static void test_error_decode(void **state)
{
    static const struct {
        int status;
        const char *body;
        int want_status;
        const char *code;
        const char *message;
    } cases[] = {
        {400, "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":\"c\"}}", 400, "c", "m"},
        {0, "{\"error\":{\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}}", 429,
         "rate_limit_exceeded", "m"},
        {502, "<html>", 502, NULL, "<html>"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct event event;
        responses()->error_decode(cases[i].status, str_c(cases[i].body), &arena, &event);
        assert_int_equal(event.error.status, cases[i].want_status);
        expect(event.error.code, str_c(cases[i].code));
        expect(event.error.message, str_c(cases[i].message));
    }
}

/* --- counts and models -------------------------------------------------------------------- */

static void test_counts(void **state)
{
    struct buf out;
    int64_t tokens = 0;

    (void)state;
    buf_init(&out, OUT_MAX);
    responses()->count_encode(42, &out);
    expect(buf_str(&out), STR("{\"object\":\"response.input_tokens\",\"input_tokens\":42}"));
    assert_true(responses()->count_decode(buf_str(&out), &arena, &tokens));
    assert_int_equal(tokens, 42);
    assert_false(responses()->count_decode(STR("{\"input_tokens\":-1}"), &arena, &tokens));
    assert_false(responses()->count_decode(STR("{}"), &arena, &tokens));
    assert_false(responses()->count_decode(STR("no"), &arena, &tokens));
    buf_fini(&out);
}

static void add_model(void *ctx, struct str id, struct str source)
{
    struct buf *out = ctx;

    (void)source;
    buf_add(out, id);
    buf_add_char(out, ' ');
}

static void test_models(void **state)
{
    static const struct model_entry model = {.id = STR_INIT("b:m"), .owner = STR_INIT("b")};
    struct buf out;
    struct buf ids;
    struct str next;

    (void)state;
    buf_init(&out, OUT_MAX);
    buf_init(&ids, OUT_MAX);
    responses()->models_encode(&model, 1, false, &out);
    assert_true(responses()->models_decode(buf_str(&out), &arena, add_model, &ids, &next));
    expect(buf_str(&ids), STR("b:m "));
    buf_fini(&out);
    buf_fini(&ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_body, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_in_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_error_decode, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_models, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
