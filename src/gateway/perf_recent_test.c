/* SPDX-License-Identifier: MIT */
#include "gateway/perf_recent.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

enum { MINUTE = 60 * 1000 * 1000 };

/* Two workers. */
struct pair {
    struct perf perfs[2];
    const struct perf *both[2];
    struct perf_recent recent;
};

static struct pair *pair_new(void)
{
    struct pair *pair = mem_new(sizeof(*pair));

    perf_recent_init(&pair->recent);
    pair->both[0] = &pair->perfs[0];
    pair->both[1] = &pair->perfs[1];
    pair->recent.perfs = pair->both;
    pair->recent.perfs_n = COUNT_OF(pair->both);
    return pair;
}

static void pair_free(struct pair *pair)
{
    perf_recent_fini(&pair->recent);
    perf_fini(&pair->perfs[0]);
    perf_fini(&pair->perfs[1]);
    mem_free(pair);
}

/* As the exchange does it: one of a worker is over at now_us and took so long. */
static void over(struct pair *pair, size_t worker, size_t slot, int64_t now_us, int64_t took_us)
{
    struct timing t = {.begin_us = now_us - took_us, .mark_us = now_us};

    t.us[PHASE_BACKEND] = took_us;
    if (perf_recent_is_due(&pair->recent, slot, now_us))
        perf_recent_keep(&pair->recent, slot, now_us);
    perf_observe(&pair->perfs[worker], slot, PERF_OK, &t, -1);
}

static int64_t longest(struct pair *pair, size_t slot, int64_t now_us, uint64_t want_n)
{
    struct histogram_sum sum = {.n = 0};
    int64_t minute = perf_recent_minute(now_us);

    perf_recent_add(&pair->recent, slot, PERF_TOTAL, minute, &sum);
    assert_int_equal(sum.n, want_n);
    assert_int_equal(perf_recent_count(&pair->recent, slot, PERF_OK, minute), want_n);
    assert_int_equal(perf_recent_count(&pair->recent, slot, PERF_ERROR, minute), 0);
    return histogram_percentile(&sum, 1000);
}

/* Catches: what is too old and counts, what is new and does not, one worker's that is forgotten,
 * another backend's. */
static void test_the_last_minutes(void **state)
{
    struct pair *pair = pair_new();
    const int64_t start = 1000ll * MINUTE + 7;

    (void)state;
    assert_int_equal(longest(pair, 1, start, 0), -1);
    over(pair, 0, 1, start, 31);
    over(pair, 1, 1, start + 1, 30);
    over(pair, 1, 2, start + 1, 29);
    assert_int_equal(longest(pair, 1, start, 2), 31);
    assert_int_equal(longest(pair, 2, start, 1), 29);
    over(pair, 1, 1, start + MINUTE, 20);
    over(pair, 0, 1, start + MINUTE, 19);
    over(pair, 0, 1, start + 4ll * MINUTE, 10);
    assert_int_equal(longest(pair, 1, start + 5ll * MINUTE, 5), 31);
    assert_int_equal(longest(pair, 1, start + 6ll * MINUTE, 3), 20);
    assert_int_equal(longest(pair, 1, start + 7ll * MINUTE, 1), 10);
    assert_int_equal(longest(pair, 1, start + 9ll * MINUTE, 1), 10);
    assert_int_equal(longest(pair, 1, start + 10ll * MINUTE, 0), -1);
    /* After a night of nothing. */
    over(pair, 1, 1, start + 500ll * MINUTE, 5);
    assert_int_equal(longest(pair, 1, start + 500ll * MINUTE, 1), 5);
    assert_int_equal(longest(pair, 2, start + 500ll * MINUTE, 0), -1);
    pair_free(pair);
}

/* Catches: a window that loses or keeps something while minutes go round, at any moment of them. */
static void test_each_second_of_an_hour(void **state)
{
    struct pair *pair = pair_new();
    const int64_t start = 77ll * MINUTE;

    (void)state;
    assert_int_equal(perf_recent_minute(5), 0);
    assert_int_equal(perf_recent_us(5), 5);
    for (int64_t s = 0; s < 3600; s += 5) {
        int64_t now_us = start + s * 1000000;
        over(pair, (size_t)(s / 5 % 2), 0, now_us, 1000);
        int64_t seconds = perf_recent_us(now_us) / 1000000;
        assert_in_range(seconds, 300, 359);
        uint64_t want = (uint64_t)(s < seconds ? s / 5 + 1 : seconds / 5 + 1);
        (void)longest(pair, 0, now_us, want);
    }
    pair_free(pair);
}

/* --- workers at once --- */

enum { TURNS = 3000 };

struct runner {
    struct pair *pair;
    size_t worker;
};

/* Each its own exchanges, 20 a second, over two and a half minutes. */
static void *run_worker(void *arg)
{
    const struct runner *runner = arg;

    for (int64_t i = 0; i < TURNS; i++)
        over(runner->pair, runner->worker, 3, 50ll * MINUTE + i * 50000, 100 + i);
    return NULL;
}

/* Catches: a count that is read, or a sum kept, while it is written (with the thread sanitizer),
 * and one that is lost or counted twice. */
static void test_workers_at_once(void **state)
{
    struct pair *pair = pair_new();
    struct runner runners[2] = {{pair, 0}, {pair, 1}};
    pthread_t threads[2];
    uint64_t n = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &runners[i]), 0);
    while (n < TURNS) { /* ends: they only add */
        uint64_t now = perf_recent_count(&pair->recent, 3, PERF_OK, 50);
        assert_true(now >= n && now <= 2 * TURNS);
        n = now;
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(longest(pair, 3, 52ll * MINUTE, 2 * TURNS) > 0, true);
    pair_free(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_minutes),
        cmocka_unit_test(test_each_second_of_an_hour),
        cmocka_unit_test(test_workers_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
