/* SPDX-License-Identifier: MIT */
#include "gateway/perf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

static int64_t median(const struct perf *perf, size_t slot, size_t measure, uint64_t want_n)
{
    struct histogram_sum *sum = mem_new(sizeof(*sum));

    perf_add(perf, slot, measure, sum);
    assert_int_equal(sum->n, want_n);
    int64_t us = histogram_percentile(sum, 500);
    mem_free(sum);
    return us;
}

/* Catches: a measure that counts in another's place, a phase that did not come and is counted, the
 * times of who left. */
static void test_observe(void **state)
{
    struct perf perf = {.rows = {NULL}};
    struct timing t = {.mark_us = 0};

    (void)state;
    t.us[PHASE_DECODE] = 3;
    t.us[PHASE_ENCODE] = 4;
    t.us[PHASE_BACKEND] = 20;
    t.begin_us = 100;
    t.mark_us = 127;
    perf_observe(&perf, 2, PERF_OK, &t, 11);
    perf_observe(&perf, 2, PERF_ERROR, &t, -1);
    perf_observe(&perf, 2, PERF_CANCELLED, &t, 12);
    perf_observe(&perf, PERF_PROXY, PERF_OK, &t, -1);
    assert_int_equal(median(&perf, 2, PERF_TOTAL, 2), 27);
    assert_int_equal(median(&perf, 2, PERF_OVERHEAD, 2), 7);
    assert_int_equal(median(&perf, 2, PERF_FIRST_BYTE, 1), 11);
    assert_int_equal(median(&perf, 2, PHASE_DECODE, 2), 3);
    assert_int_equal(median(&perf, 2, PHASE_ROUTE, 2), 0);
    assert_int_equal(median(&perf, 2, PHASE_BACKEND, 2), 20);
    assert_int_equal(median(&perf, 2, PHASE_CONNECT, 0), -1);
    assert_int_equal(median(&perf, 3, PERF_TOTAL, 0), -1);
    assert_int_equal(median(&perf, PERF_PROXY, PERF_TOTAL, 1), 27);
    assert_int_equal(perf_count(&perf, 2, PERF_OK), 1);
    assert_int_equal(perf_count(&perf, 2, PERF_ERROR), 1);
    assert_int_equal(perf_count(&perf, 2, PERF_CANCELLED), 1);
    assert_int_equal(perf_count(&perf, 3, PERF_OK), 0);
    perf_fini(&perf);
    assert_int_equal(perf_count(&perf, 2, PERF_OK), 0);
}

/* Catches: a text cut inside a character, one that is left of the fault before. */
static void test_faults(void **state)
{
    struct perf_faults *faults = mem_new(sizeof(*faults));
    struct perf_fault fault = {.time_ms = 5, .status = 500};
    struct perf_fault got;
    char text[FAULT_TEXT_MAX + 2];

    (void)state;
    perf_faults_init(faults);
    perf_fault_get(faults, 1, &got);
    assert_int_equal(got.time_ms, 0);
    memset(text, 'x', sizeof(text));
    memcpy(text + FAULT_TEXT_MAX - 1, "\xc3\xa4", 2);
    perf_fault_set(faults, 1, &fault, str_of(text, sizeof(text)));
    perf_fault_get(faults, 1, &got);
    assert_int_equal(got.text_n, FAULT_TEXT_MAX - 1);
    assert_int_equal(got.status, 500);
    fault.time_ms = 6;
    fault.status = 0;
    fault.code = "UPSTREAM_TIMEOUT";
    perf_fault_set(faults, 1, &fault, STR_NULL);
    perf_fault_get(faults, 1, &got);
    assert_int_equal(got.time_ms, 6);
    assert_int_equal(got.text_n, 0);
    assert_string_equal(got.code, "UPSTREAM_TIMEOUT");
    perf_fault_get(faults, 0, &got);
    assert_int_equal(got.time_ms, 0);
    perf_faults_fini(faults);
    mem_free(faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
