/* SPDX-License-Identifier: MIT */
#include "gateway/timing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_header(const struct timing *t, const char *want)
{
    struct buf out;

    buf_init(&out, 4096);
    timing_header(t, &out);
    assert_true(buf_ok(&out));
    if (!str_eq(buf_str(&out), str_c(want)))
        fail_msg("--- got\n%.*s--- want\n%s", STR_ARG(buf_str(&out)), want);
    buf_fini(&out);
}

static void expect_breakdown(const struct timing *t, const char *want)
{
    char text[TIMING_TEXT_MAX];
    struct str got = str_of(text, timing_breakdown(t, text));

    if (!str_eq(got, str_c(want)))
        fail_msg("got %.*s, want %s", STR_ARG(got), want);
}

/* Catches: time that is in no phase, or in two; a sum that forgets one; another unit. */
static void test_phases(void **state)
{
    struct timing t = {.mark_us = 0};

    (void)state;
    timing_begin(&t, 1000000);
    timing_enter(&t, PHASE_DECODE, 1000007);
    timing_enter(&t, PHASE_SESSION, 1000010);
    timing_enter(&t, PHASE_COMMAND, 1000014);
    timing_enter(&t, PHASE_ROUTE, 1000016);
    timing_enter(&t, PHASE_CONNECT, 1000030);
    timing_enter(&t, PHASE_BACKEND, 1002030);
    timing_enter(&t, PHASE_ENCODE, 4500999);
    timing_enter(&t, PHASE_SEND, 4501000);
    assert_int_equal(timing_total_us(&t), 3501000);
    assert_int_equal(timing_own_us(&t), 3 + 4 + 2 + 14 + 1);
    assert_int_equal(timing_upstream_us(&t), 2000 + 3498969);
    expect_header(&t, "server-timing: receive;dur=0.007, admission;dur=0.000, decode;dur=0.003, "
                      "session;dur=0.004, command;dur=0.002, route;dur=0.014, connect;dur=2.000, "
                      "backend;dur=3498.969, encode;dur=0.001, total;dur=3501.000\r\n");
    expect_breakdown(&t, "[receive:0.000007,decode:0.000003,session:0.000004,command:0.000002,"
                         "route:0.000014,connect:0.002000,"
                         "backend:3.498969,encode:0.000001]");
    timing_enter(&t, PHASE_STREAM, 5501000);
    timing_enter(&t, PHASE_SEND, 6501000);
    timing_enter(&t, PHASE_STREAM, 6501500);
    timing_enter(&t, PHASE_NONE, 6502000);
    timing_enter(&t, PHASE_SEND, 6501999);
    assert_int_equal(timing_total_us(&t), 5502000);
    assert_int_equal(timing_upstream_us(&t), 2000 + 3498969 + 1000000 + 500);
    expect_breakdown(&t, "[receive:0.000007,decode:0.000003,session:0.000004,command:0.000002,"
                         "route:0.000014,connect:0.002000,"
                         "backend:3.498969,encode:0.000001,stream:1.000500,send:1.000500]");
}

/* Catches: a text that is longer than its room, with numbers as large as can be. */
static void test_longest(void **state)
{
    struct timing t = {.mark_us = 0};
    char text[TIMING_TEXT_MAX];
    struct buf out;

    (void)state;
    for (size_t i = PHASE_NONE + 1; i < PHASE_COUNT; i++)
        t.us[i] = INT64_MAX / PHASE_COUNT;
    assert_in_range(timing_breakdown(&t, text), 200, TIMING_TEXT_MAX);
    buf_init(&out, 4096);
    timing_header(&t, &out);
    assert_in_range(out.n, 200, TIMING_TEXT_MAX);
    buf_fini(&out);
    expect_breakdown(&(struct timing){.mark_us = 1}, "[]");
}

/* Catches: rounding, and a leading zero that is lost. */
static void test_seconds(void **state)
{
    static const struct {
        int64_t us;
        unsigned decimals;
        const char *want;
    } cases[] = {
        {0, 3, "0.000s"},
        {499, 3, "0.000s"},
        {500, 3, "0.001s"},
        {999499, 3, "0.999s"},
        {999500, 3, "1.000s"},
        {1234567, 3, "1.235s"},
        {0, 6, "0.000000s"},
        {1, 6, "0.000001s"},
        {1234567, 6, "1.234567s"},
        {60000007, 6, "60.000007s"},
        {3600000000, 3, "3600.000s"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[TIMING_SECONDS_MAX];
        size_t n = timing_seconds(cases[i].us, cases[i].decimals, text);
        if (!str_eq(str_of(text, n), str_c(cases[i].want)))
            fail_msg("got %.*s, want %s", (int)n, text, cases[i].want);
    }
}

/* Each phase has a name of its own, which may stand in the header (RFC 9110, token). */
static void test_names(void **state)
{
    (void)state;
    for (size_t i = PHASE_NONE + 1; i < PHASE_COUNT; i++) {
        struct str name = str_c(timing_phases[i].name);
        assert_true(name.n > 0);
        for (size_t k = 0; k < name.n; k++)
            assert_in_range(name.p[k], 'a', 'z');
        for (size_t other = PHASE_NONE + 1; other < i; other++)
            assert_false(str_eq(name, str_c(timing_phases[other].name)));
        assert_true(strlen(timing_phases[i].what) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_seconds),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
