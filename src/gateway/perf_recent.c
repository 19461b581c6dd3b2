/* SPDX-License-Identifier: MIT */
/*
 * What      Percentiles of the last minutes.
 * How       Counting goes on as it does since the start (perf); only who finds that a new minute
 *           has begun keeps the sums of all workers as they are. What was counted since minute m
 *           is what is counted now less what was kept first in m or later: had there been anything
 *           between, it would have been kept then. Nothing kept since: nothing was counted.
 * Owns      Up to seven sums for a backend in use, 28 kB each, made when they are first needed.
 * Not here  Observing (perf), what is told of it (admin/).
 */
#include "gateway/perf_recent.h"

#include "base/mem.h"

enum { MINUTE_US = 60 * 1000 * 1000 };

/* Counts go round at 2^32: a difference over some minutes is right all the same. */
struct perf_past {
    uint32_t counts[PERF_OUTCOMES];
    uint32_t measures[PERF_MEASURES][HISTOGRAM_BUCKETS];
};

void perf_recent_init(struct perf_recent *recent)
{
    int rc = pthread_mutex_init(&recent->lock, NULL);

    assert(rc == 0);
    for (size_t slot = 0; slot < PERF_SLOTS; slot++) {
        for (size_t i = 0; i < PERF_RECENT_PASTS; i++)
            recent->minutes[slot][i] = -1;
    }
}

void perf_recent_fini(struct perf_recent *recent)
{
    for (size_t slot = 0; slot < PERF_SLOTS; slot++) {
        for (size_t i = 0; i < PERF_RECENT_PASTS; i++)
            mem_free(recent->pasts[slot][i]);
    }
    pthread_mutex_destroy(&recent->lock);
}

static uint64_t count_now(const struct perf_recent *recent, size_t slot, enum perf_outcome outcome)
{
    uint64_t n = 0;

    for (size_t i = 0; i < recent->perfs_n; i++)
        n += perf_count(recent->perfs[i], slot, outcome);
    return n;
}

static void add_now(const struct perf_recent *recent, size_t slot, size_t measure,
                    struct histogram_sum *sum)
{
    for (size_t i = 0; i < recent->perfs_n; i++)
        perf_add(recent->perfs[i], slot, measure, sum);
}

static bool is_empty(const struct perf_recent *recent, size_t slot)
{
    uint64_t n = 0;

    for (size_t i = 0; i < PERF_OUTCOMES; i++)
        n += count_now(recent, slot, (enum perf_outcome)i);
    return n == 0;
}

static void take(const struct perf_recent *recent, size_t slot, struct perf_past *past)
{
    for (size_t i = 0; i < PERF_OUTCOMES; i++)
        past->counts[i] = (uint32_t)count_now(recent, slot, (enum perf_outcome)i);
    for (size_t measure = 0; measure < PERF_MEASURES; measure++) {
        struct histogram_sum sum = {.n = 0};
        add_now(recent, slot, measure, &sum);
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            uint32_t count = (uint32_t)sum.counts[i];
            if (past->measures[measure][i] != count) /* pages of zeros stay untouched */
                past->measures[measure][i] = count;
        }
    }
}

void perf_recent_keep(struct perf_recent *recent, size_t slot, int64_t now_us)
{
    assert(slot < PERF_SLOTS && now_us >= 0);
    int64_t minute = now_us / MINUTE_US;
    size_t at = (size_t)(minute % PERF_RECENT_PASTS);

    pthread_mutex_lock(&recent->lock);
    if (perf_recent_is_due(recent, slot, now_us)) { /* else another worker was faster */
        if (recent->pasts[slot][at] == NULL && !is_empty(recent, slot))
            recent->pasts[slot][at] = mem_new(sizeof(struct perf_past));
        if (recent->pasts[slot][at] != NULL)
            take(recent, slot, recent->pasts[slot][at]);
        recent->minutes[slot][at] = minute;
        /* Who finds it observes after the sums were taken. */
        atomic_store_explicit(&recent->next_us[slot], (minute + 1) * MINUTE_US,
                              memory_order_release);
    }
    pthread_mutex_unlock(&recent->lock);
}

int64_t perf_recent_minute(int64_t now_us)
{
    int64_t minute = now_us / MINUTE_US - PERF_RECENT_MINUTES;

    return minute > 0 ? minute : 0; /* the machine has just begun to count */
}

int64_t perf_recent_us(int64_t now_us)
{
    return now_us - perf_recent_minute(now_us) * MINUTE_US;
}

/* What was kept first since the minute. False: nothing was. */
static bool find(const struct perf_recent *recent, size_t slot, int64_t minute,
                 const struct perf_past **ret_past)
{
    size_t first = PERF_RECENT_PASTS;

    assert(slot < PERF_SLOTS);
    for (size_t i = 0; i < PERF_RECENT_PASTS; i++) {
        int64_t kept = recent->minutes[slot][i];
        if (kept >= 0 && kept >= minute &&
            (first == PERF_RECENT_PASTS || kept < recent->minutes[slot][first]))
            first = i;
    }
    if (first == PERF_RECENT_PASTS)
        return false;
    *ret_past = recent->pasts[slot][first];
    return true;
}

static pthread_mutex_t *lock_of(const struct perf_recent *recent)
{
    return (pthread_mutex_t *)(uintptr_t)&recent->lock;
}

void perf_recent_add(const struct perf_recent *recent, size_t slot, size_t measure, int64_t minute,
                     struct histogram_sum *sum)
{
    const struct perf_past *past = NULL;

    assert(measure < PERF_MEASURES);
    pthread_mutex_lock(lock_of(recent));
    if (find(recent, slot, minute, &past)) {
        struct histogram_sum now = {.n = 0};
        add_now(recent, slot, measure, &now);
        for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
            uint32_t before = past == NULL ? 0 : past->measures[measure][i];
            uint32_t n = (uint32_t)now.counts[i] - before;
            sum->counts[i] += n;
            sum->n += n;
        }
    }
    pthread_mutex_unlock(lock_of(recent));
}

uint64_t perf_recent_count(const struct perf_recent *recent, size_t slot, enum perf_outcome outcome,
                           int64_t minute)
{
    const struct perf_past *past = NULL;
    uint64_t n = 0;

    assert(outcome < PERF_OUTCOMES);
    pthread_mutex_lock(lock_of(recent));
    if (find(recent, slot, minute, &past))
        n = (uint32_t)count_now(recent, slot, outcome) - (past == NULL ? 0 : past->counts[outcome]);
    pthread_mutex_unlock(lock_of(recent));
    return n;
}
