/* SPDX-License-Identifier: MIT */
#include "base/metric.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

enum { TEXT_MAX = 256 * 1024, LAST = METRIC_SLOTS_BACKEND - 1 };

/* Not all slots are in use. */
static const char *name_of(void *ctx, size_t slot)
{
    *(size_t *)ctx += 1;
    if (slot == 0)
        return "main";
    if (slot == LAST)
        return "a\"b\\c";
    return NULL;
}

static void print(const struct metrics *const *sets, size_t n, struct buf *out)
{
    size_t asked = 0;

    buf_init(out, TEXT_MAX);
    metric_print(sets, n, name_of, &asked, out);
    assert_true(buf_ok(out));
    assert_int_equal(asked % METRIC_SLOTS_BACKEND, 0);
}

/* The lines of one metric. */
static void expect_part(const struct buf *text, const char *name, const char *want)
{
    struct buf head;
    struct str all = buf_str(text);

    buf_init(&head, 1024);
    buf_print(&head, "# HELP llm_proxy_%s ", name);
    size_t begin = str_find(all, buf_str(&head), 0);
    assert_int_not_equal(begin, SIZE_MAX);
    size_t end = str_find(all, STR("# HELP"), begin + 1);
    struct str part = str_head(str_from(all, begin), end == SIZE_MAX ? SIZE_MAX : end - begin);
    if (!str_eq(part, str_c(want)))
        fail_msg("--- got\n%.*s--- want\n%s", STR_ARG(part), want);
    buf_fini(&head);
}

/* Catches: a number that counts for another slot or metric, sets not added up, a line in excess. */
static void test_text(void **state)
{
    struct metrics *a = mem_new(sizeof(*a));
    struct metrics *b = mem_new(sizeof(*b));
    const struct metrics *const sets[] = {a, b};
    struct buf text;

    (void)state;
    metric_add(a, METRIC_connections, 0, 5);
    metric_add(b, METRIC_connections, 0, -7);
    metric_add(a, METRIC_requests_total, 0, 1);
    metric_add(a, METRIC_requests_total, 1, 2);
    metric_add(b, METRIC_requests_total, 1, 40);
    metric_add(b, METRIC_requests_total, 4, INT64_C(9000000000));
    metric_add(a, METRIC_attempts_total, 0, 3);
    metric_add(a, METRIC_attempts_total, 0, 4);
    metric_add(b, METRIC_attempts_total, LAST, 8);
    print(sets, 2, &text);
    expect_part(&text, "connections_total",
                "# HELP llm_proxy_connections_total Client connections accepted.\n"
                "# TYPE llm_proxy_connections_total counter\n"
                "llm_proxy_connections_total 0\n");
    expect_part(&text, "connections",
                "# HELP llm_proxy_connections Client connections open now.\n"
                "# TYPE llm_proxy_connections gauge\n"
                "llm_proxy_connections -2\n");
    expect_part(&text, "requests_total",
                "# HELP llm_proxy_requests_total Requests answered, by the class of the status "
                "that the client got; those of clients that left before an answer are not here.\n"
                "# TYPE llm_proxy_requests_total counter\n"
                "llm_proxy_requests_total{status=\"1xx\"} 1\n"
                "llm_proxy_requests_total{status=\"2xx\"} 42\n"
                "llm_proxy_requests_total{status=\"3xx\"} 0\n"
                "llm_proxy_requests_total{status=\"4xx\"} 0\n"
                "llm_proxy_requests_total{status=\"5xx\"} 9000000000\n");
    expect_part(&text, "attempts_total",
                "# HELP llm_proxy_attempts_total Requests sent to backends.\n"
                "# TYPE llm_proxy_attempts_total counter\n"
                "llm_proxy_attempts_total{backend=\"main\"} 7\n"
                "llm_proxy_attempts_total{backend=\"a\\\"b\\\\c\"} 8\n");
    expect_part(&text, "streams_total",
                "# HELP llm_proxy_streams_total Streamed answers begun.\n"
                "# TYPE llm_proxy_streams_total counter\n"
                "llm_proxy_streams_total{backend=\"main\"} 0\n"
                "llm_proxy_streams_total{backend=\"a\\\"b\\\\c\"} 0\n");
    buf_fini(&text);
    mem_free(b);
    mem_free(a);
}

/* Catches: an error that has no line of its own, and a line for no error. */
static void test_errors(void **state)
{
    struct metrics *set = mem_new(sizeof(*set));
    const struct metrics *const sets[] = {set};
    struct buf want;
    struct buf text;

    (void)state;
    buf_init(&want, TEXT_MAX);
    buf_add(&want, STR("# HELP llm_proxy_errors_total Errors that the proxy made, or met in the "
                       "middle of a stream, by code (docs/ERRORS.md).\n"
                       "# TYPE llm_proxy_errors_total counter\n"));
    for (size_t code = 1; code < ERROR_COUNT; code++) {
        metric_add(set, METRIC_errors_total, code, (int64_t)code);
        buf_print(&want, "llm_proxy_errors_total{code=\"%s\"} %zu\n",
                  error_name((enum error_code)code), code);
    }
    buf_add_char(&want, '\0');
    print(sets, 1, &text);
    expect_part(&text, "errors_total", want.p);
    buf_fini(&want);
    buf_fini(&text);
    mem_free(set);
}

/* Catches: a value in the wrong bucket at its bound, buckets that do not hold those below, a sum of
 * another unit, sets not added up. */
static void test_histogram(void **state)
{
    struct metrics *a = mem_new(sizeof(*a));
    struct metrics *b = mem_new(sizeof(*b));
    const struct metrics *const sets[] = {a, b};
    struct buf text;

    (void)state;
    metric_observe_us(a, METRIC_loop_turn_seconds, 0);
    metric_observe_us(a, METRIC_loop_turn_seconds, 1000);
    metric_observe_us(b, METRIC_loop_turn_seconds, 1001);
    metric_observe_us(b, METRIC_loop_turn_seconds, 5000);
    metric_observe_us(b, METRIC_loop_turn_seconds, 1000000);
    metric_observe_us(b, METRIC_loop_turn_seconds, 1000001);
    print(sets, 2, &text);
    assert_int_not_equal(str_find(buf_str(&text),
                                  STR("# TYPE llm_proxy_loop_turn_seconds histogram\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.001\"} 2\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.002\"} 3\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.003\"} 3\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.004\"} 3\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.005\"} 4\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.01\"} 4\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.02\"} 4\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.05\"} 4\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"0.1\"} 4\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"1\"} 5\n"
                                      "llm_proxy_loop_turn_seconds_bucket{le=\"+Inf\"} 6\n"
                                      "llm_proxy_loop_turn_seconds_sum 2.007002\n"
                                      "llm_proxy_loop_turn_seconds_count 6\n"),
                                  0),
                         SIZE_MAX);
    buf_fini(&text);
    mem_free(b);
    mem_free(a);
}

/* Every metric is there, also before anything is counted. */
static void test_all(void **state)
{
    static const char *const names[] = {
#define METRIC(kind, name, label, help) #name,
#include "base/metric.def"
#undef METRIC
    };
    struct buf text;
    size_t heads = 0;

    (void)state;
    print(NULL, 0, &text);
    for (size_t at = 0; (at = str_find(buf_str(&text), STR("# HELP "), at)) != SIZE_MAX; at++)
        heads++;
    assert_int_equal(heads, COUNT_OF(names));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct buf head;
        buf_init(&head, 1024);
        buf_print(&head, "# TYPE llm_proxy_%s ", names[i]);
        assert_int_not_equal(str_find(buf_str(&text), buf_str(&head), 0), SIZE_MAX);
        buf_fini(&head);
    }
    assert_int_equal(text.p[text.n - 1], '\n');
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
