/* SPDX-License-Identifier: MIT */
#include "canon/failure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct event error_of(int status, const char *type, const char *code, const char *message)
{
    return (struct event){.kind = EVENT_ERROR,
                          .error = {.status = status,
                                    .type = str_c(type),
                                    .code = str_c(code),
                                    .message = str_c(message)}};
}

/* Catches: an error that is told as another: retried in vain, or never. */
static void test_classes(void **state)
{
    static const struct {
        int status;
        const char *type;
        const char *code;
        const char *message;
        enum error_code want;
    } cases[] = {
        {400, "invalid_request_error", NULL, "no", ERR_BAD_REQUEST},
        {422, NULL, NULL, "no", ERR_BAD_REQUEST},
        {415, NULL, NULL, "no", ERR_BAD_REQUEST},
        {400, "invalid_request_error", "context_length_exceeded", "x", ERR_CONTEXT_TOO_LONG},
        {400, "invalid_request_error", NULL, "prompt is too long: 5 tokens > 4 maximum",
         ERR_CONTEXT_TOO_LONG},
        {400, NULL, NULL, "This model's Maximum Context Length is 8192", ERR_CONTEXT_TOO_LONG},
        {413, NULL, NULL, "prompt is too long", ERR_CONTEXT_TOO_LONG},
        {500, NULL, NULL, "prompt is too long", ERR_UPSTREAM_ERROR},
        {401, "invalid_request_error", NULL, "no", ERR_UPSTREAM_KEY},
        {403, "permission_error", NULL, "no", ERR_UPSTREAM_KEY},
        {403, NULL, "403", "Your chosen model requires moderation and the input was flagged",
         ERR_POLICY},
        {400, "INVALID_ARGUMENT", NULL, "API key not valid. Please pass one.", ERR_UPSTREAM_KEY},
        {400, NULL, "API_KEY_INVALID", "x", ERR_UPSTREAM_KEY},
        {402, NULL, NULL, "no", ERR_BILLING},
        {429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota",
         ERR_BILLING},
        {400, "invalid_request_error", NULL, "Your credit balance is too low", ERR_BILLING},
        {404, "not_found_error", NULL, "model: x", ERR_MODEL_NOT_FOUND},
        {404, "NOT_FOUND", NULL, "models/x is not found", ERR_MODEL_NOT_FOUND},
        {404, "invalid_request_error", "model_not_found", "no", ERR_MODEL_NOT_FOUND},
        {413, "request_too_large", NULL, "no", ERR_TOO_LARGE},
        {429, "rate_limit_error", NULL, "no", ERR_UPSTREAM_RATE_LIMITED},
        {429, "RESOURCE_EXHAUSTED", NULL, "You exceeded your current quota",
         ERR_UPSTREAM_RATE_LIMITED},
        {429, NULL, "slow_down", "no", ERR_UPSTREAM_OVERLOADED},
        {500, "api_error", NULL, "no", ERR_UPSTREAM_ERROR},
        {502, NULL, NULL, "no", ERR_UPSTREAM_ERROR},
        {503, "server_error", NULL, "no", ERR_UPSTREAM_OVERLOADED},
        {529, "overloaded_error", NULL, "no", ERR_UPSTREAM_OVERLOADED},
        {498, NULL, NULL, "no", ERR_UPSTREAM_OVERLOADED},
        {408, NULL, NULL, "no", ERR_UPSTREAM_TIMEOUT},
        {504, "DEADLINE_EXCEEDED", NULL, "no", ERR_UPSTREAM_TIMEOUT},
        {524, NULL, NULL, "no", ERR_UPSTREAM_TIMEOUT},
        {400, NULL, "content_policy_violation", "no", ERR_POLICY},
        {400, NULL, "content_filter", "no", ERR_POLICY},
        /* In a stream there is no status. */
        {0, "overloaded_error", NULL, "Overloaded", ERR_UPSTREAM_OVERLOADED},
        {0, "api_error", NULL, "no", ERR_UPSTREAM_ERROR},
        {200, "rate_limit_error", NULL, "no", ERR_UPSTREAM_RATE_LIMITED},
        {0, NULL, NULL, "", ERR_UPSTREAM_ERROR},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct event event = error_of(cases[i].status, cases[i].type, cases[i].code,
                                      cases[i].message);
        if (failure_code(&event) != cases[i].want)
            fail_msg("%d %s %s %s: %s", cases[i].status, cases[i].type, cases[i].code,
                     cases[i].message, error_name(failure_code(&event)));
    }
}

static void expect_message(const struct error *e, const char *want)
{
    struct arena arena;

    arena_init(&arena, 65536, 512, NULL);
    struct str got = error_message(e, &arena);
    if (!str_eq(got, str_c(want)))
        fail_msg("%.*s", STR_ARG(got));
    arena_fini(&arena);
}

/* Catches: words of ours before the upstream's, and the words of who refuses our key. */
static void test_make(void **state)
{
    const struct failure_names names = {.backend = STR("b"), .key = STR("k1"), .model = STR("m")};
    struct event event = error_of(400, NULL, NULL, "bad thing");
    struct error e;

    (void)state;
    failure_make(&event, &names, &e);
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    expect_message(&e, "bad thing");
    assert_string_equal(e.detail, "bad thing (400 from b)");
    event = error_of(401, NULL, NULL, "key sk-secret is wrong");
    failure_make(&event, &names, &e);
    assert_int_equal(e.code, ERR_UPSTREAM_KEY);
    expect_message(&e, "The backend refused its key: backend b refused its key k1");
    event = error_of(404, NULL, NULL, "no such model");
    failure_make(&event, &names, &e);
    expect_message(&e, "Model not found: m: no such model");
    event = error_of(404, NULL, NULL, "Model not found: m: no such model");
    failure_make(&event, &names, &e);
    expect_message(&e, "Model not found: m: no such model");
    event = error_of(404, NULL, NULL, "Model not found: m (there are others)");
    failure_make(&event, &names, &e);
    expect_message(&e, "Model not found: m: (there are others)");
    event = error_of(404, NULL, NULL, "Model not found: max");
    failure_make(&event, &names, &e);
    expect_message(&e, "Model not found: m: Model not found: max");
    event = error_of(404, NULL, NULL, "Model not found: m");
    failure_make(&event, &names, &e);
    expect_message(&e, "Model not found: m");
    event = error_of(500, NULL, NULL, "");
    failure_make(&event, &names, &e);
    expect_message(&e, "The backend answered with an error:  (500 from b)");
    /* Pages of what stands before a vendor. */
    static const char *const pages[][2] = {
        {"<html><head><title> 502 Bad Gateway </title></head><body>x</body></html>",
         "502 Bad Gateway"},
        {"\n<!DOCTYPE html><body><h1>Oops</h1></body>", "Oops"},
        {"<html><title></title><h1><b>x</b></h1>", "a page instead of an answer"},
        {"<html", "a page instead of an answer"},
        {"<html><title>no end", "a page instead of an answer"},
        {"5 < 6", "5 < 6"},
    };
    for (size_t i = 0; i < COUNT_OF(pages); i++) {
        event = error_of(502, NULL, NULL, pages[i][0]);
        failure_make(&event, &names, &e);
        expect_message(&e, pages[i][1]);
    }
}

/* At most 2 kB, and no half of a character. */
static void test_long(void **state)
{
    static char text[4096];
    const struct failure_names names = {.backend = STR("b")};
    struct event event = error_of(400, NULL, NULL, "");
    struct error e;

    (void)state;
    memset(text, 'a', sizeof(text));
    memcpy(text + 2047, "\xe2\x82\xac", 3);
    event.error.message = str_of(text, sizeof(text));
    failure_make(&event, &names, &e);
    assert_int_equal(e.said.n, 2047);
}

static void test_wait(void **state)
{
    static const struct {
        const char *message;
        const char *body;
        double want;
    } cases[] = {
        {"no", NULL, 0},
        {"Please try again in 7.66s. Visit", NULL, 7.66},
        {"try again in 1m26.4s", NULL, 86.4},
        {"Try Again In 120ms", NULL, 0.12},
        {"retry after 5 seconds", NULL, 5},
        {"Please retry in 34.07s.", NULL, 34.07},
        {"try again in 5.", NULL, 5},
        {"try again in 2h", NULL, 7200},
        {"try again in 999h", NULL, 24 * 3600},
        {"try again in a while", NULL, 0},
        {"", "{\"error\":{\"details\":[{\"@type\":\"x\"},{\"retryDelay\":\"34.074824224s\"}]}}",
         34.074824224},
        {"", "[{\"error\":{\"details\":[{\"retryDelay\":\"2s\"}]}}]", 2},
        {"try again in 3s", "{\"error\":{\"details\":7}}", 3},
        {"try again in 3s", "no json", 3},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct event event = error_of(429, NULL, NULL, cases[i].message);
        struct arena arena;
        arena_init(&arena, 65536, 512, NULL);
        double got = failure_wait_s(&event, str_c(cases[i].body), &arena);
        if (got < cases[i].want - 1e-9 || got > cases[i].want + 1e-9)
            fail_msg("%s: %f", cases[i].message, got);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
