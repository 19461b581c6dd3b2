/* SPDX-License-Identifier: MIT */
/*
 * How long exchanges took in the last minutes: what perf has counted since the start, less what it
 * had counted when they began. For that the sums of all workers are kept once a minute, for each
 * backend that is in use.
 *
 * Threads   Any; a short lock, which a worker takes once a minute for a backend.
 */
#pragma once

#include "gateway/perf.h"

enum {
    PERF_RECENT_MINUTES = 5, /* whole ones; the present one comes on top */
    PERF_RECENT_PASTS = PERF_RECENT_MINUTES + 2
};

struct perf_past;

struct perf_recent {
    /* Of all workers; borrowed. Set before the first runs. */
    const struct perf **perfs;
    size_t perfs_n;
    pthread_mutex_t lock;
    _Atomic int64_t next_us[PERF_SLOTS]; /* an exchange that is over then finds a new minute */
    /* What had been counted when the first exchange of a minute was over; of minute m at m modulo
     * their number. */
    int64_t minutes[PERF_SLOTS][PERF_RECENT_PASTS];
    struct perf_past *pasts[PERF_SLOTS][PERF_RECENT_PASTS]; /* NULL: nothing had been */
};

void perf_recent_init(struct perf_recent *recent);
void perf_recent_fini(struct perf_recent *recent);

/* An exchange is over at now_us (loop_now_us), and about to be observed: it is the first one of its
 * minute. */
static inline bool perf_recent_is_due(const struct perf_recent *recent, size_t slot, int64_t now_us)
{
    return now_us >= atomic_load_explicit(&recent->next_us[slot], memory_order_acquire);
}
/* Then: keeps what was counted before. */
void perf_recent_keep(struct perf_recent *recent, size_t slot, int64_t now_us);

/* The first of the last minutes, and for how long they go on already. */
int64_t perf_recent_minute(int64_t now_us);
int64_t perf_recent_us(int64_t now_us);
/* What was observed since a minute that perf_recent_minute gave, added. */
void perf_recent_add(const struct perf_recent *recent, size_t slot, size_t measure, int64_t minute,
                     struct histogram_sum *sum);
uint64_t perf_recent_count(const struct perf_recent *recent, size_t slot, enum perf_outcome outcome,
                           int64_t minute);
