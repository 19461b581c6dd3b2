/* SPDX-License-Identifier: MIT */
/* Catches: limits told in the wrong words or times, a wait that nobody asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/quota.h"
#include "http/message.h"
#include "protocol/protocol.h"

enum { HEADERS_MAX = 8 };
static const int64_t NOW_MS = 1767225600000; /* 2026-01-01T00:00:00Z */

static struct message message_with(struct http_header *items, const char *const *lines)
{
    struct message m = {.headers = {.items = items}};

    for (; *lines != NULL; lines += 2) {
        assert_true(m.headers.n < HEADERS_MAX);
        items[m.headers.n++] = (struct http_header){str_c(lines[0]), str_c(lines[1])};
    }
    return m;
}

static const struct protocol *find(const char *name)
{
    const struct protocol *protocol = protocol_find(str_c(name));

    assert_non_null(protocol);
    return protocol;
}

static void test_lines(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        const char *lines[HEADERS_MAX + 1];
        const char *expected;
    } rows[] = {
        {"openai-chat",
         "anthropic",
         {"X-RateLimit-Limit-Requests", "60", "x-ratelimit-remaining-requests", "59",
          "x-ratelimit-reset-requests", "1m0.5s"},
         "anthropic-ratelimit-requests-limit: 60\r\n"
         "anthropic-ratelimit-requests-remaining: 59\r\n"
         "anthropic-ratelimit-requests-reset: 2026-01-01T00:01:01Z\r\n"},
        {"anthropic",
         "openai-responses",
         {"anthropic-ratelimit-tokens-limit", "9", "anthropic-ratelimit-tokens-reset",
          "2026-01-01T01:00:30.250+01:00", "anthropic-ratelimit-input-tokens-limit", "7"},
         "x-ratelimit-limit-tokens: 9\r\nx-ratelimit-reset-tokens: 30.000s\r\n"},
        {"anthropic",
         "openai-chat",
         {"anthropic-ratelimit-tokens-reset", "2025-12-31T23:00:00-00:30"},
         "x-ratelimit-reset-tokens: 0.000s\r\n"},
        {"openai-chat",
         "openai-responses",
         {"x-ratelimit-reset-tokens", "6m0s"},
         "x-ratelimit-reset-tokens: 6m0s\r\n"},
        {"openai-chat",
         "anthropic",
         {"x-ratelimit-limit-tokens", "many", "x-ratelimit-reset-tokens", "soon",
          "x-ratelimit-reset-requests", "5x"},
         ""},
        {"anthropic",
         "openai-chat",
         {"anthropic-ratelimit-tokens-reset", "2026-01-01T00:00",
          "anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00+1"},
         ""},
        {"openai-chat", "gemini", {"x-ratelimit-limit-tokens", "9"}, ""},
        {"gemini", "openai-chat", {"x-ratelimit-limit-tokens", "9"}, ""},
    };
    struct http_header items[HEADERS_MAX];
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct message m = message_with(items, rows[i].lines);
        buf_reset(&out);
        quota_lines(find(rows[i].from), find(rows[i].to), &m, NOW_MS, &out);
        if (!str_eq(buf_str(&out), str_c(rows[i].expected)))
            fail_msg("row %zu: %.*s", i, STR_ARG(buf_str(&out)));
    }
    buf_fini(&out);
}

static void test_wait(void **state)
{
    static const struct {
        const char *lines[HEADERS_MAX + 1];
        double expected;
    } rows[] = {
        {{NULL}, 0},
        {{"retry-after-ms", "1500"}, 0},
        {{"x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "1h0m2s"}, 3602},
        {{"x-ratelimit-remaining-tokens", "1", "x-ratelimit-reset-tokens", "9s"}, 0},
        {{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "12"}, 12},
        {{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "300d"}, 0},
        {{"x-ratelimit-remaining-requests", "0"}, 0},
        {{"anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset",
          "2026-01-01T00:00:07Z"},
         7},
        {{"anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset",
          "2027-01-01T00:00:07Z"},
         0},
        {{"X-RateLimit-Reset", "1767225605000"}, 5},
        {{"x-ratelimit-remaining-requests", "5", "x-ratelimit-reset-requests", "1h",
          "x-ratelimit-remaining-tokens", "0", "x-ratelimit-reset-tokens", "6m0s"},
         360},
        {{"x-ratelimit-remaining-requests", "-1", "x-ratelimit-reset-requests", "9s"}, 0},
        {{"x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "-9s"}, 0},
        {{"anthropic-ratelimit-input-tokens-remaining", "0",
          "anthropic-ratelimit-input-tokens-reset", "2026-01-01T00:00:11Z",
          "anthropic-ratelimit-requests-remaining", "7", "anthropic-ratelimit-requests-reset",
          "2026-01-01T01:00:00Z"},
         11},
        {{"anthropic-ratelimit--remaining", "0", "anthropic-ratelimit-remaining", "0"}, 0},
        {{"X-RateLimit-Reset", "1767225600"}, 0},
    };
    struct http_header items[HEADERS_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct message m = message_with(items, rows[i].lines);
        double wait_s = quota_wait_s(&m, NOW_MS);
        if (wait_s < rows[i].expected - 0.001 || wait_s > rows[i].expected + 0.001)
            fail_msg("row %zu: %f", i, wait_s);
    }
}

/* NOW_MS is the beginning of 2026. */
static void test_told(void **state)
{
    static const struct {
        const char *lines[HEADERS_MAX + 1];
        double expected;
    } rows[] = {
        {{NULL}, -1},
        {{"retry-after-ms", "1500"}, 1.5},
        {{"retry-after-ms", "1500", "retry-after", "9"}, 1.5},
        {{"retry-after-ms", "0"}, 0},
        {{"retry-after", "0"}, 0},
        {{"retry-after-ms", "soon"}, -1},
        {{"retry-after-ms", "soon", "retry-after", "9"}, 9},
        {{"retry-after-ms", "-1", "retry-after", "0.25"}, 0.25},
        {{"retry-after", "Thu, 01 Jan 2026 00:00:20 GMT"}, 20},
        {{"retry-after", "Wed, 31 Dec 2025 00:00:20 GMT"}, 0},
        {{"retry-after", "Thu, 01 Jxn 2026 00:00:20 GMT"}, -1},
        {{"retry-after", "1e12"}, -1},
        {{"retry-after", "-4"}, -1},
        {{"retry-after", "nan"}, -1},
        {{"retry-after", ""}, -1},
    };
    struct http_header items[HEADERS_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct message m = message_with(items, rows[i].lines);
        double wait_s = quota_told_s(&m, NOW_MS);
        if (!(wait_s > rows[i].expected - 0.001 && wait_s < rows[i].expected + 0.001))
            fail_msg("row %zu: %f", i, wait_s);
    }
}

static void test_limit(void **state)
{
    static const struct {
        const char *lines[HEADERS_MAX + 1];
        int64_t expected;
    } rows[] = {
        {{NULL}, -1},
        {{"x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "1"}, -1},
        {{"x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "0"}, 60},
        {{"X-RateLimit-Limit", "20"}, 20},
        {{"X-RateLimit-Limit", "-1"}, -1},
        {{"x-ratelimit-limit-tokens", "many", "x-ratelimit-remaining-tokens", "0"}, -1},
        {{"anthropic-ratelimit-output-tokens-limit", "8000",
          "anthropic-ratelimit-output-tokens-remaining", "0"},
         8000},
    };
    struct http_header items[HEADERS_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct message m = message_with(items, rows[i].lines);
        if (quota_limit(&m) != rows[i].expected)
            fail_msg("row %zu: %lld", i, (long long)quota_limit(&m));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
