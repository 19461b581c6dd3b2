/* SPDX-License-Identifier: MIT */
#include "base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

enum { SAMPLES = 5000 };

static const unsigned permilles[] = {1, 10, 250, 500, 900, 990, 999, 1000};

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Catches: a value without a bucket, a bucket out of its order, one that is wider than told. */
static void test_buckets(void **state)
{
    size_t last = 0;

    (void)state;
    for (int64_t us = 0; us < 1 << 20; us++) {
        size_t bucket = histogram_bucket(us);
        assert_true(bucket == last || bucket == last + 1);
        last = bucket;
    }
    for (unsigned bit = 5; bit < HISTOGRAM_VALUE_BITS; bit++)
        assert_int_equal(histogram_bucket((INT64_C(1) << bit) - 1) + 1,
                         histogram_bucket(INT64_C(1) << bit));
    assert_int_equal(histogram_bucket(-1), 0);
    assert_int_equal(histogram_bucket(UINT32_MAX), HISTOGRAM_BUCKETS - 1);
    assert_int_equal(histogram_bucket(INT64_MAX), HISTOGRAM_BUCKETS - 1);
}

/* Of n sorted samples, as it is defined. */
static int64_t exact(const int64_t *sorted, size_t n, unsigned permille)
{
    size_t rank = (n * permille + 999) / 1000;

    return sorted[rank - 1];
}

static void compare(int64_t *samples, size_t n)
{
    struct histogram *a = mem_new(sizeof(*a));
    struct histogram *b = mem_new(sizeof(*b));
    struct histogram_sum *sum = mem_new(sizeof(*sum));

    for (size_t i = 0; i < n; i++)
        histogram_observe(i % 3 == 0 ? a : b, samples[i]);
    histogram_add(sum, a);
    histogram_add(sum, b);
    assert_int_equal(sum->n, n);
    qsort(samples, n, sizeof(*samples), by_value);
    for (size_t i = 0; i < COUNT_OF(permilles); i++) {
        int64_t want = exact(samples, n, permilles[i]);
        int64_t got = histogram_percentile(sum, permilles[i]);
        int64_t off = got > want ? got - want : want - got;
        if (off > want / 32 || (want < 32 && off != 0))
            fail_msg("%u of 1000: %lld instead of %lld", permilles[i], (long long)got,
                     (long long)want);
    }
    mem_free(sum);
    mem_free(b);
    mem_free(a);
}

/* Catches: a rank off by one, sets not added up, an error above what the header tells. */
static void test_percentiles(void **state)
{
    static int64_t samples[SAMPLES];
    uint64_t seed = 42;

    (void)state;
    for (unsigned bits = 3; bits <= 32; bits++) {
        for (size_t n = 1; n <= SAMPLES; n = n * 3 + 1) {
            for (size_t i = 0; i < n; i++) {
                seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
                samples[i] = (int64_t)(seed >> 32 >> (32 - bits));
            }
            compare(samples, n);
        }
    }
}

static void test_nothing(void **state)
{
    struct histogram_sum *sum = mem_new(sizeof(*sum));

    (void)state;
    assert_int_equal(histogram_percentile(sum, 500), -1);
    mem_free(sum);
}

/* Catches: a product that overflows. */
static void test_many(void **state)
{
    struct histogram_sum *sum = mem_new(sizeof(*sum));

    (void)state;
    sum->counts[3] = UINT64_MAX / 2 - 1;
    sum->counts[7] = UINT64_MAX / 2 + 1;
    sum->n = sum->counts[3] + sum->counts[7];
    assert_int_equal(histogram_percentile(sum, 499), 3);
    assert_int_equal(histogram_percentile(sum, 501), 7);
    mem_free(sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_percentiles),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
