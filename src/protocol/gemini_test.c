/* SPDX-License-Identifier: MIT */
/*
 * Errors both ways, lists of models, counts, the table's entry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/gemini_priv.h"

extern const struct protocol protocol_gemini;

enum { BYTES_MAX = 1024 * 1024 };

/* --- errors that we make ------------------------------------------------------------------ */

static void test_our_errors(void **state)
{
    static const struct {
        enum error_code code;
        const char *want;
    } cases[] = {
        {ERR_UNAUTHORIZED, "\"code\":401,\"message\":\"Unauthorized: why \\\"x\\\"\",\"status\":"
                           "\"UNAUTHENTICATED\""},
        {ERR_RATE_LIMITED, "\"status\":\"RESOURCE_EXHAUSTED\""},
        {ERR_NO_BACKEND, "\"status\":\"UNAVAILABLE\""},
        {ERR_UPSTREAM_TIMEOUT, "\"status\":\"DEADLINE_EXCEEDED\""},
        {ERR_FORBIDDEN, "\"status\":\"PERMISSION_DENIED\""},
        {ERR_MODEL_NOT_FOUND, "\"status\":\"NOT_FOUND\""},
        {ERR_CLIENT_LEFT, "\"status\":\"CANCELLED\""},
        {ERR_INTERNAL, "\"code\":500"},
        {ERR_TOO_LARGE, "\"status\":\"INVALID_ARGUMENT\""},
    };
    struct error e;
    struct buf out;

    (void)state;
    buf_init(&out, BYTES_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        (void)FAIL(&e, cases[i].code, "why \"x\"");
        buf_reset(&out);
        protocol_gemini.error_encode(&e, STR("id"), false, &out);
        if (str_find(buf_str(&out), str_c(cases[i].want), 0) == SIZE_MAX)
            fail_msg("%.*s", STR_ARG(buf_str(&out)));
        buf_reset(&out);
        protocol_gemini.error_encode(&e, STR("id"), true, &out);
        assert_true(str_starts(buf_str(&out), STR("data: {\"error\":{")));
        assert_true(str_ends(buf_str(&out), STR("}}\r\n\r\n")));
    }
    static const struct {
        int64_t wait_ms;
        const char *delay;
    } waits[] = {{1, "0.001s"}, {1500, "1.500s"}, {30000, "30s"}};
    for (size_t i = 0; i < COUNT_OF(waits); i++) {
        (void)FAIL(&e, ERR_RATE_LIMITED, "why");
        e.wait_ms = waits[i].wait_ms;
        buf_reset(&out);
        protocol_gemini.error_encode(&e, STR("id"), false, &out);
        struct str info = str_from(buf_str(&out), str_find(buf_str(&out), STR(",\"details"), 0));
        char want[160];
        (void)snprintf(want, sizeof(want),
                       ",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
                       "\"retryDelay\":\"%s\"}]}}",
                       waits[i].delay);
        if (!str_eq(info, str_c(want)))
            fail_msg("%.*s", STR_ARG(buf_str(&out)));
    }
    /* Each has its word. */
    for (int code = 1; code < ERROR_COUNT; code++) {
        (void)FAIL(&e, (enum error_code)code, "why");
        buf_reset(&out);
        protocol_gemini.error_encode(&e, STR("id"), false, &out);
        assert_true(str_find(buf_str(&out), STR("\"status\":\""), 0) != SIZE_MAX);
    }
    buf_fini(&out);
}

/* --- errors that upstreams make ----------------------------------------------------------- */

static void test_their_errors(void **state)
{
    static const struct {
        int status;
        const char *body;
        int want;
        const char *type;
        const char *code;
        const char *message;
    } cases[] = {
        {400,
         "{\"error\":{\"code\":400,\"message\":\"API key not valid.\",\"status\":"
         "\"INVALID_ARGUMENT\",\"details\":[{\"@type\":\"x\",\"reason\":\"API_KEY_INVALID\"}]}}",
         400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid."},
        {429,
         "[{\"error\":{\"code\":429,\"message\":\"Quota\",\"status\":\"RESOURCE_EXHAUSTED\","
         "\"details\":[{\"violations\":[{\"quotaId\":\"PerDay\"}]},{\"retryDelay\":\"3s\"}]}}]",
         429, "RESOURCE_EXHAUSTED", "PerDay", "Quota"},
        {200, "{\"error\":{\"code\":503,\"message\":\"m\"}}", 503, "", "", "m"},
        {200, "{\"error\":{\"code\":7}}", 0, "", "", "unknown error"},
        {500, "{\"error\":\"plain\"}", 500, "", "", "plain"},
        {502, "<html>bad</html>", 502, "", "", "<html>bad</html>"},
        {503, "", 503, "", "", "HTTP status 503"},
        {404, "{\"detail\":1}", 404, "", "", "{\"detail\":1}"},
    };
    struct arena arena;
    struct event event;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        arena_init(&arena, BYTES_MAX, 512, NULL);
        protocol_gemini.error_decode(cases[i].status, str_c(cases[i].body), &arena, &event);
        assert_int_equal(event.error.status, cases[i].want);
        assert_true(str_eq(event.error.type, str_c(cases[i].type)));
        assert_true(str_eq(event.error.code, str_c(cases[i].code)));
        assert_true(str_eq(event.error.message, str_c(cases[i].message)));
        arena_fini(&arena);
    }
}

/* Other protocols' errors in Google's words; its own words stay. */
static void test_error_events(void **state)
{
    static const struct {
        int status;
        const char *type;
        const char *want;
    } cases[] = {
        {0, "overloaded_error",
         "{\"error\":{\"code\":503,\"message\":\"m\",\"status\":"
         "\"UNAVAILABLE\"}}"},
        {429, "rate_limit_error",
         "\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\""},
        {400, "FAILED_PRECONDITION", "\"status\":\"FAILED_PRECONDITION\""},
        {400, "invalid_request_error",
         "\"code\":400,\"message\":\"m\",\"status\":"
         "\"INVALID_ARGUMENT\""},
        {503, "UNAVAILABLE", "\"status\":\"UNAVAILABLE\""},
        {500, "api_error", "\"code\":500"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, BYTES_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct event event = {
            .kind = EVENT_ERROR,
            .error = {.status = cases[i].status, .type = str_c(cases[i].type), .message = STR("m")},
        };
        buf_reset(&out);
        gemini_add_error(&out, &event);
        if (str_find(buf_str(&out), str_c(cases[i].want), 0) == SIZE_MAX)
            fail_msg("%s: %.*s", cases[i].type, STR_ARG(buf_str(&out)));
    }
    buf_fini(&out);
}

/* --- models ------------------------------------------------------------------------------- */

static void add_id(void *ctx, struct str id, struct str source)
{
    struct buf *out = ctx;

    assert_true(source.n > 0);
    buf_print(out, "%.*s ", STR_ARG(id));
}

static void test_models(void **state)
{
    static const struct model_entry models[] = {
        {.id = STR_INIT("a:x"), .owner = STR_INIT("a")},
        {.id = STR_INIT("b:\"y\""), .owner = STR_INIT("b")},
    };
    struct arena arena;
    struct buf out;
    struct str next = STR("untouched");

    (void)state;
    arena_init(&arena, BYTES_MAX, 512, NULL);
    buf_init(&out, BYTES_MAX);
    assert_true(protocol_gemini.models_decode(
        STR("{\"models\":[{\"name\":\"models/m1\"},{\"name\":\"m2\"},{\"x\":1},7]}"), &arena,
        add_id, &out, &next));
    assert_true(str_eq(buf_str(&out), STR("m1 m2 ")));
    assert_true(str_is_null(next));
    assert_true(protocol_gemini.models_decode(STR("{\"models\":[],\"nextPageToken\":\"a=\"}"),
                                              &arena, add_id, &out, &next));
    assert_true(str_eq(next, STR("pageSize=1000&pageToken=a%3D")));
    assert_false(protocol_gemini.models_decode(STR("{\"data\":[]}"), &arena, add_id, &out, &next));
    assert_false(protocol_gemini.models_decode(STR("no"), &arena, add_id, &out, &next));

    /* What is written is read. */
    struct buf list;
    buf_init(&list, BYTES_MAX);
    buf_reset(&out);
    protocol_gemini.models_encode(models, 2, false, &list);
    assert_true(protocol_gemini.models_decode(buf_str(&list), &arena, add_id, &out, &next));
    assert_true(str_eq(buf_str(&out), STR("a:x b:\"y\" ")));
    buf_reset(&list);
    protocol_gemini.models_encode(models, 1, true, &list);
    assert_true(str_starts(buf_str(&list), STR("{\"name\":\"models/a:x\",\"baseModelId\":")));
    buf_fini(&list);
    buf_fini(&out);
    arena_fini(&arena);
}

static void test_counts(void **state)
{
    struct arena arena;
    struct buf out;
    int64_t tokens = -1;

    (void)state;
    arena_init(&arena, BYTES_MAX, 512, NULL);
    buf_init(&out, BYTES_MAX);
    protocol_gemini.count_encode(31, &out);
    assert_true(str_eq(buf_str(&out), STR("{\"totalTokens\":31}")));
    assert_true(protocol_gemini.count_decode(buf_str(&out), &arena, &tokens));
    assert_int_equal(tokens, 31);
    assert_false(protocol_gemini.count_decode(STR("{\"totalTokens\":-1}"), &arena, &tokens));
    assert_false(protocol_gemini.count_decode(STR("{}"), &arena, &tokens));
    assert_false(protocol_gemini.count_decode(STR("x"), &arena, &tokens));
    buf_fini(&out);
    arena_fini(&arena);
}

static void test_compact(void **state)
{
    static const char *const cases[][2] = {
        {"{\"a\":1}", "{\"a\":1}"},
        {" { \"a b\" : [ 1.50 ,\n\t2e3 ] } ", "{\"a b\":[1.50,2e3]}"},
        {"{\"a\\\" b\": \" \\\\\"}", "{\"a\\\" b\":\" \\\\\"}"},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, BYTES_MAX, 512, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_true(str_eq(json_compact(str_c(cases[i][0]), &arena), str_c(cases[i][1])));
    arena_fini(&arena);
}

static void test_route(void **state)
{
    struct arena arena;
    struct route_match match;

    (void)state;
    arena_init(&arena, BYTES_MAX, 512, NULL);
    protocol_route(STR("POST"), STR("/v1beta/models/b:m:generateContent"), &arena, &match);
    assert_ptr_equal(match.protocol, &protocol_gemini);
    assert_int_equal(match.operation, OP_GENERATE);
    assert_true(str_eq(match.rest, STR("b:m:generateContent")));
    protocol_route(STR("POST"), STR("/v1/models/m:countTokens"), &arena, &match);
    assert_ptr_equal(match.protocol, &protocol_gemini);
    assert_int_equal(match.operation, OP_COUNT_TOKENS);
    protocol_route(STR("GET"), STR("/v1beta/models"), &arena, &match);
    assert_ptr_equal(match.protocol, &protocol_gemini);
    assert_int_equal(match.operation, OP_MODELS);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_our_errors),   cmocka_unit_test(test_their_errors),
        cmocka_unit_test(test_error_events), cmocka_unit_test(test_models),
        cmocka_unit_test(test_counts),       cmocka_unit_test(test_compact),
        cmocka_unit_test(test_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
