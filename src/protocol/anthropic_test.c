/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/anthropic_priv.h"
#include "protocol/recordings_for_test.h"
#include "protocol/trial.h"

extern const struct protocol protocol_anthropic;

enum { OUT_MAX = 64 * 1024 * 1024 };

/* --- recordings --------------------------------------------------------------------------- */

/* Arguments that are nothing may be said as {}, and between the tokens of JSON there may be blanks,
 * which other texts have too: of a body that is written from a stream. */
static void simplify(struct buf *text, bool blanks)
{
    static const struct str nothing = STR_INIT(" text={}\n");
    size_t n = 0;

    for (size_t i = 0; i < text->n; i++) {
        if (str_starts(str_from(buf_str(text), i), nothing))
            i += nothing.n - 1;
        if (!blanks || text->p[i] != ' ')
            text->p[n++] = text->p[i];
    }
    text->n = n;
}

/* What our bytes say is what the recorded ones say. */
static void expect_same(const struct trial *trial, struct str bytes, bool stream, size_t line)
{
    const struct trial_cuts cuts = {.stream = stream};
    struct trial again;
    struct buf want;
    struct buf got;

    buf_init(&want, OUT_MAX);
    buf_init(&got, OUT_MAX);
    trial_decode(&again, &protocol_anthropic, bytes, &cuts);
    trial_digest(trial, true, &want);
    trial_digest(&again, true, &got);
    simplify(&want, !stream);
    simplify(&got, !stream);
    if (!str_eq(buf_str(&want), buf_str(&got)))
        fail_msg("line %zu, stream %d\n--- got\n%.*s\n--- want\n%.*s", line, stream,
                 STR_ARG(buf_str(&got)), STR_ARG(buf_str(&want)));
    trial_fini(&again);
    buf_fini(&want);
    buf_fini(&got);
}

static void encode_again(struct trial *trial, bool stream, bool same, size_t line)
{
    const struct encoder_options options = {.stream = stream, .same_protocol = same};
    struct error e;
    struct buf out;

    buf_init(&out, OUT_MAX);
    trial->frames[0].changed = true;
    if (trial_encode(trial, &protocol_anthropic, &options, &out, &e) != OK ||
        trial_lint(&protocol_anthropic, buf_str(&out), stream, &e) != OK)
        fail_msg("line %zu: %s\n%.*s", line, e.detail, STR_ARG(buf_str(&out)));
    if (same)
        expect_same(trial, buf_str(&out), stream, line);
    buf_fini(&out);
}

static void each_recording(void *ctx, const struct recording *recording)
{
    const struct trial_cuts cuts = {.stream = recording->stream};
    const struct encoder_options raw = {.stream = recording->stream, .same_protocol = true};
    size_t *count = ctx;
    struct trial trial;
    struct error e = {.code = OK};
    struct buf out;

    if (recording->status != 200)
        return;
    *count += 1;
    trial_decode(&trial, &protocol_anthropic, recording->body, &cuts);
    if (trial.error.code != OK || !trial_check(&trial, &e) ||
        !trial_is_raw(&trial, recording->body))
        fail_msg("line %zu: %s %s", recording->line, trial.error.detail, e.detail);

    buf_init(&out, OUT_MAX);
    assert_int_equal(trial_encode(&trial, &protocol_anthropic, &raw, &out, &e), OK);
    assert_true(str_eq(buf_str(&out), recording->body));
    if (trial_lint(&protocol_anthropic, buf_str(&out), recording->stream, &e) != OK)
        fail_msg("line %zu as it came: %s", recording->line, e.detail);
    buf_fini(&out);
    for (int i = 0; i < 4; i++)
        encode_again(&trial, i % 2 == 0, i / 2 == 0, recording->line);
    trial_fini(&trial);
}

/* Catches: a recorded answer that does not go through byte by byte, is read as no legal events, or
 * says something else, or nothing that the vendor's SDKs take, when we write it. */
static void test_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (recordings_each("anthropic_messages", each_recording, &count))
        assert_true(count > 150);
}

/* --- errors that we make ------------------------------------------------------------------ */

static void expect(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want)))
        fail_msg("\n--- got\n%.*s\n--- want\n%s", STR_ARG(got), want);
}

#define ERROR_BODY(type, message) \
    "{\"type\":\"error\",\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"}"

static void expect_error(const struct error *e, struct str request_id, bool in_stream,
                         const char *want)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    protocol_anthropic.error_encode(e, request_id, in_stream, &out);
    expect(buf_str(&out), want);
    buf_fini(&out);
}

static void test_our_errors(void **state)
{
    static const struct {
        enum error_code code;
        const char *want;
    } cases[] = {
        {ERR_BAD_REQUEST, ERROR_BODY("invalid_request_error", "Invalid request: a \\\"b\\\"") "}"},
        {ERR_UNSUPPORTED_VALUE,
         ERROR_BODY("invalid_request_error", "Not supported here: a \\\"b\\\"") "}"},
        {ERR_UNAUTHORIZED, ERROR_BODY("authentication_error", "Unauthorized: a \\\"b\\\"") "}"},
        {ERR_FORBIDDEN, ERROR_BODY("permission_error", "Forbidden: a \\\"b\\\"") "}"},
        {ERR_MODEL_NOT_FOUND, ERROR_BODY("not_found_error", "Model not found: a \\\"b\\\"") "}"},
        {ERR_TOO_LARGE, ERROR_BODY("request_too_large", "Request too large: a \\\"b\\\"") "}"},
        {ERR_RATE_LIMITED, ERROR_BODY("rate_limit_error", "Rate limit exceeded: a \\\"b\\\"") "}"},
        {ERR_UPSTREAM_TIMEOUT, ERROR_BODY("timeout_error", "Connection timeout: a \\\"b\\\"") "}"},
        {ERR_DRAINING,
         ERROR_BODY("overloaded_error", "The proxy is shutting down: a \\\"b\\\"") "}"},
        {ERR_BILLING,
         ERROR_BODY("billing_error", "The backend's account has no credit: a \\\"b\\\"") "}"},
        {ERR_UPSTREAM_KEY, ERROR_BODY("api_error", "The backend refused its key: a \\\"b\\\"") "}"},
    };
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        (void)FAIL(&e, cases[i].code, "a \"b\"");
        expect_error(&e, STR_NULL, false, cases[i].want);
    }
    (void)FAIL(&e, ERR_INTERNAL, "why");
    expect_error(&e, STR("r-1"), false,
                 ERROR_BODY("api_error", "Internal error: why") ",\"request_id\":\"r-1\"}");
    expect_error(&e, STR("r-1"), true,
                 "event: error\ndata: " ERROR_BODY(
                     "api_error", "Internal error: why") ",\"request_id\":\"r-1\"}\n\n");
    e.said = STR("what the upstream said");
    expect_error(&e, STR_NULL, false, ERROR_BODY("api_error", "what the upstream said") "}");
    e.said_after = true;
    expect_error(&e, STR_NULL, false,
                 ERROR_BODY("api_error", "Internal error: why: what the upstream said") "}");
}

/* Catches: an error that clients do not take for one, in any framing, and one without a type. */
static void test_each_error(void **state)
{
    (void)state;
    for (int code = OK + 1; code < ERROR_COUNT; code++) {
        for (int in_stream = 0; in_stream < 2; in_stream++) {
            const struct trial_cuts cuts = {.stream = in_stream != 0};
            struct error e;
            struct trial trial;
            struct buf out;
            buf_init(&out, OUT_MAX);
            (void)FAIL(&e, (enum error_code)code, "why");
            protocol_anthropic.error_encode(&e, STR("r-1"), in_stream != 0, &out);
            if (trial_lint(&protocol_anthropic, buf_str(&out), in_stream != 0, &e) != OK)
                fail_msg("%s: %s", error_name((enum error_code)code), e.detail);
            trial_decode(&trial, &protocol_anthropic, buf_str(&out), &cuts);
            assert_int_equal(trial.error.code, OK);
            assert_true(trial_has(&trial, EVENT_ERROR));
            trial_fini(&trial);
            buf_fini(&out);
        }
    }
}

/* Clients shorten what they send when they read these words. */
static void test_too_long(void **state)
{
    struct error e;

    (void)state;
    (void)FAIL(&e, ERR_CONTEXT_TOO_LONG, "5 tokens > 4");
    expect_error(&e, STR_NULL, false,
                 ERROR_BODY("invalid_request_error", "prompt is too long: 5 tokens > 4") "}");
    e.said = STR("prompt is too long: 7 tokens > 6 maximum");
    expect_error(&e, STR_NULL, false,
                 ERROR_BODY("invalid_request_error",
                            "prompt is too long: 7 tokens > 6 maximum") "}");
    e.said = STR("maximum context length is 6");
    e.said_after = true;
    expect_error(&e, STR_NULL, false,
                 ERROR_BODY("invalid_request_error",
                            "prompt is too long: maximum context length is 6") "}");
    (void)FAIL(&e, ERR_CONTEXT_TOO_LONG, "%s", "");
    expect_error(
        &e, STR_NULL, false,
        ERROR_BODY("invalid_request_error",
                   "prompt is too long: The request is longer than the model's context") "}");
}

static void test_statuses(void **state)
{
    static const struct {
        enum error_code code;
        int want;
    } cases[] = {
        {ERR_BILLING, 402},      {ERR_UPSTREAM_OVERLOADED, 529}, {ERR_OVERLOADED, 503},
        {ERR_BAD_REQUEST, 400},  {ERR_UPSTREAM_BROKEN, 502},     {ERR_UPSTREAM_TIMEOUT, 504},
        {ERR_RATE_LIMITED, 429},
    };
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        (void)FAIL(&e, cases[i].code, "why");
        assert_int_equal(protocol_anthropic.error_status(&e), cases[i].want);
    }
    (void)FAIL(&e, ERR_UPSTREAM_ERROR, "why");
    e.status = 418;
    assert_int_equal(protocol_anthropic.error_status(&e), 418);
}

/* --- errors that upstreams make ----------------------------------------------------------- */

#define THEIRS(type, message) "{\"error\":{\"type\":\"" type "\",\"message\":\"" message "\"}}"

static void test_their_errors(void **state)
{
    static const struct {
        int status;
        const char *body;
        int want;
        const char *type; /* "": null */
        const char *code;
        const char *message;
    } cases[] = {
        {529, ERROR_BODY("overloaded_error", "Overloaded") ",\"request_id\":\"r\"}", 529,
         "overloaded_error", "", "Overloaded"},
        /* Without a status of its own the type says it, before a number does. */
        {0, THEIRS("overloaded_error", "m"), 529, "overloaded_error", "", "m"},
        {200, THEIRS("invalid_request_error", "m"), 400, "invalid_request_error", "", "m"},
        {0, "{\"error\":{\"type\":\"rate_limit_error\",\"code\":500,\"message\":\"m\"}}", 429,
         "rate_limit_error", "", "m"},
        {0, "{\"error\":{\"type\":\"odd\",\"code\":418,\"message\":\"m\"}}", 418, "odd", "", "m"},
        {0, "{\"error\":{\"status_code\":503,\"code\":\"busy\"}}", 503, "", "busy",
         "unknown error"},
        {0, "{\"error\":{\"code\":7,\"message\":\"m\"}}", 0, "", "", "m"},
        {0, "{\"error\":{\"status\":399,\"message\":\"m\"}}", 0, "", "", "m"},
        {404, "{\"error\":{}}", 404, "", "", "unknown error"},
        /* Of servers in front of it. */
        {500, "{\"error\":\"plain\"}", 500, "", "", "plain"},
        {401, "{\"type\":\"t\",\"message\":\"m\"}", 401, "", "", "m"},
        {0, "{\"message\":\"m\",\"code\":429}", 429, "", "", "m"},
        {422, "{\"detail\":\"d\"}", 422, "", "", "d"},
        {400, "{\"error\":{\"type\":\"t\"},\"message\":\"m\"}", 400, "t", "", "m"},
        {404, "{\"detail\":1}", 404, "", "", "{\"detail\":1}"},
        {502, " <html>bad</html>\n", 502, "", "", "<html>bad</html>"},
        {503, "", 503, "", "", "HTTP status 503"},
        {0, "\xff", 0, "", "", "\xef\xbf\xbd"},
        {0, "{\"error\":{\"message\":\"a\xff\"}}", 0, "", "", "a\xef\xbf\xbd"},
    };
    struct arena arena;
    struct event event;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        arena_init(&arena, OUT_MAX, 512, NULL);
        protocol_anthropic.error_decode(cases[i].status, str_c(cases[i].body), &arena, &event);
        assert_int_equal(event.kind, EVENT_ERROR);
        if (event.error.status != cases[i].want)
            fail_msg("%s: %d", cases[i].body, event.error.status);
        expect(event.error.type, cases[i].type);
        expect(event.error.code, cases[i].code);
        expect(event.error.message, cases[i].message);
        arena_fini(&arena);
    }
}

/* Catches: pages of HTML sent on to the client, or a character cut in two. */
static void test_long_errors(void **state)
{
    struct arena arena;
    struct event event;
    struct buf page;

    (void)state;
    arena_init(&arena, OUT_MAX, 512, NULL);
    buf_init(&page, OUT_MAX);
    buf_add_char(&page, 'x');
    for (int i = 0; i < 3000; i++)
        buf_add(&page, STR("\xc3\xa4"));
    protocol_anthropic.error_decode(502, buf_str(&page), &arena, &event);
    assert_int_equal(event.error.message.n, 2047);
    assert_true(str_starts(buf_str(&page), event.error.message));
    buf_fini(&page);
    arena_fini(&arena);
}

/* An error of another vendor in the words that clients of this one know; its own stay. */
static void test_error_events(void **state)
{
    static const struct {
        struct event event;
        bool same;
        const char *want;
    } cases[] = {
        {{.kind = EVENT_ERROR,
          .error = {.status = 529, .type = STR_INIT("odd_error"), .message = STR_INIT("\"m\"")}},
         true,
         ERROR_BODY("odd_error", "\\\"m\\\"") "}"},
        {{.kind = EVENT_ERROR,
          .error = {.status = 529, .type = STR_INIT("odd_error"), .message = STR_INIT("m")}},
         false,
         ERROR_BODY("overloaded_error", "m") "}"},
        {{.kind = EVENT_ERROR, .error = {.status = 429, .message = STR_INIT("m")}},
         true,
         ERROR_BODY("rate_limit_error", "m") "}"},
        {{.kind = EVENT_ERROR,
          .error = {.status = 400,
                    .code = STR_INIT("context_length_exceeded"),
                    .message = STR_INIT("maximum is 6")}},
         false,
         ERROR_BODY("invalid_request_error", "prompt is too long: maximum is 6") "}"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        buf_reset(&out);
        anthropic_add_error(&out, &cases[i].event, cases[i].same);
        expect(buf_str(&out), cases[i].want);
    }
    buf_fini(&out);
}

/* --- models ------------------------------------------------------------------------------- */

static void add_id(void *ctx, struct str id, struct str source)
{
    buf_print(ctx, "%.*s=%.*s ", STR_ARG(id), STR_ARG(source));
}

static void test_models_decode(void **state)
{
    static const struct {
        const char *body;
        const char *want; /* NULL: no list */
        const char *next;
    } cases[] = {
        {"{\"data\":[{\"id\":\"a\"}],\"has_more\":true,\"first_id\":\"a\",\"last_id\":\"a+b\"}",
         "a={\"id\":\"a\"} ", "limit=1000&after_id=a%2Bb"},
        {"{\"data\":[{\"id\":\"a\"}],\"has_more\":true,\"last_id\":null}", "a={\"id\":\"a\"} ",
         "limit=1000&after_id=a"},
        {"{\"data\":[],\"has_more\":true}", "", NULL},
        {"{\"data\":[{\"id\":\"a\",\"x\":1.0},{\"type\":\"model\"},7,{\"id\":\"\"},"
         "{\"id\":\"b/c\"}],\"has_more\":false}",
         "a={\"id\":\"a\",\"x\":1.0} b/c={\"id\":\"b/c\"} ", NULL},
        {"{\"data\":[]}", "", NULL},
        {"{\"data\":{}}", NULL, NULL},
        {"{\"models\":[]}", NULL, NULL},
        {"[]", NULL, NULL},
        {"<html>", NULL, NULL},
        {"", NULL, NULL},
    };
    struct arena arena;
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    arena_init(&arena, OUT_MAX, 512, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        buf_reset(&out);
        struct str next = STR_NULL;
        bool ok = protocol_anthropic.models_decode(str_c(cases[i].body), &arena, add_id, &out,
                                                   &next);
        expect(next, cases[i].next == NULL ? "" : cases[i].next);
        assert_int_equal(ok, cases[i].want != NULL);
        expect(buf_str(&out), cases[i].want == NULL ? "" : cases[i].want);
    }
    arena_fini(&arena);
    buf_fini(&out);
}

#define MODEL(id, time) \
    "{\"type\":\"model\",\"id\":\"" id "\",\"display_name\":\"" id "\",\"created_at\":\"" time "\"}"

static void test_models_encode(void **state)
{
    static const struct model_entry models[] = {
        {.id = STR_INIT("b:m"), .owner = STR_INIT("b"), .created_s = 951826153},
        {.id = STR_INIT("c:\"n\""), .owner = STR_INIT("c"), .created_s = 0},
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    protocol_anthropic.models_encode(models, 2, false, &out);
    expect(buf_str(&out),
           "{\"data\":[" MODEL("b:m", "2000-02-29T12:09:13Z") "," MODEL(
               "c:\\\"n\\\"",
               "1970-01-01T00:00:00Z") "],\"has_more\":false,"
                                       "\"first_id\":\"b:m\",\"last_id\":\"c:\\\"n\\\"\"}");
    buf_reset(&out);
    protocol_anthropic.models_encode(models, 0, false, &out);
    expect(buf_str(&out), "{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}");
    buf_reset(&out);
    protocol_anthropic.models_encode(models, 1, true, &out);
    expect(buf_str(&out), MODEL("b:m", "2000-02-29T12:09:13Z"));
    buf_fini(&out);
}

/* Catches: a day off, at the ends of months, of leap years and of centuries. */
static void test_times(void **state)
{
    static const struct {
        int64_t seconds;
        const char *want;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {68169599, "1972-02-28T23:59:59Z"},
        {68169600, "1972-02-29T00:00:00Z"},
        {68256000, "1972-03-01T00:00:00Z"},
        {946684799, "1999-12-31T23:59:59Z"},
        {951868800, "2000-03-01T00:00:00Z"},
        {4107542399, "2100-02-28T23:59:59Z"},
        {4107542400, "2100-03-01T00:00:00Z"},
        {253402300799, "9999-12-31T23:59:59Z"},
        {253402300800, "1970-01-01T00:00:00Z"},
        {-1, "1970-01-01T00:00:00Z"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct model_entry model = {.id = STR("m"), .created_s = cases[i].seconds};
        buf_reset(&out);
        protocol_anthropic.models_encode(&model, 1, true, &out);
        if (str_find(buf_str(&out), str_c(cases[i].want), 0) == SIZE_MAX)
            fail_msg("%s: %.*s", cases[i].want, STR_ARG(buf_str(&out)));
    }
    buf_fini(&out);
}

/* --- counts ------------------------------------------------------------------------------- */

static void test_counts(void **state)
{
    static const char *const bad[] = {"{\"input_tokens\":-1}",
                                      "{\"input_tokens\":\"7\"}",
                                      "{\"input_tokens\":1.5}",
                                      "{\"tokens\":7}",
                                      "[]",
                                      "no",
                                      ""};
    struct arena arena;
    struct buf out;
    int64_t tokens = -1;

    (void)state;
    buf_init(&out, OUT_MAX);
    arena_init(&arena, OUT_MAX, 512, NULL);
    protocol_anthropic.count_encode(42, &out);
    expect(buf_str(&out), "{\"input_tokens\":42}");
    assert_true(protocol_anthropic.count_decode(buf_str(&out), &arena, &tokens));
    assert_int_equal(tokens, 42);
    assert_true(
        protocol_anthropic.count_decode(STR("{\"input_tokens\":0,\"context_management\":{}}"),
                                        &arena, &tokens));
    assert_int_equal(tokens, 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(protocol_anthropic.count_decode(str_c(bad[i]), &arena, &tokens));
    assert_int_equal(tokens, 0);
    arena_fini(&arena);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recordings),    cmocka_unit_test(test_our_errors),
        cmocka_unit_test(test_each_error),    cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_statuses),      cmocka_unit_test(test_their_errors),
        cmocka_unit_test(test_long_errors),   cmocka_unit_test(test_error_events),
        cmocka_unit_test(test_models_decode), cmocka_unit_test(test_models_encode),
        cmocka_unit_test(test_times),         cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
