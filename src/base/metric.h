/* SPDX-License-Identifier: MIT */
/*
 * Counters, gauges and histograms, from metric.def. Each worker has a set of its own (single
 * writer, relaxed atomics, no lock); whoever reads adds the sets up.
 */
#pragma once

#include <stdatomic.h>

#include "base/buf.h"
#include "base/error.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Of histograms of turns of a loop: the bounds of their buckets are in metric.c; the sum is kept in
 * microseconds. */
enum { METRIC_TURN_BUCKETS = 11 };
/* The same of histograms of how long a backend's requests took. */
enum { METRIC_TIME_BUCKETS = 16 };

/* Number of slots a label has. The last one of BACKEND is for what the others have no room for: a
 * configuration has at most 64 backends, but a process may see more names in its life. */
enum {
    METRIC_SLOTS_NONE = 1,
    METRIC_SLOTS_BACKEND = 64 + 1,
    METRIC_SLOTS_ERROR = ERROR_COUNT,
    METRIC_SLOTS_STATUS = 5,                     /* 1xx … 5xx: status / 100 - 1 */
    METRIC_SLOTS_TURN = METRIC_TURN_BUCKETS + 1, /* the last one: the sum */
    METRIC_SLOTS_BACKEND_TIME = METRIC_SLOTS_BACKEND * (METRIC_TIME_BUCKETS + 1), /* likewise */
};

/* The position of each metric's first slot: METRIC_requests_total and so on. */
enum metric {
#define METRIC(kind, name, label, help) \
    METRIC_##name, METRIC_LAST_##name = METRIC_##name + METRIC_SLOTS_##label - 1,
#include "base/metric.def"
#undef METRIC
    METRIC_SLOT_TOTAL
};

struct metrics {
    _Alignas(64) atomic_int_fast64_t slots[METRIC_SLOT_TOTAL];
};

/* metric: the position; slot: of its label, 0 without one. Only the owning thread calls it. */
static inline void metric_add(struct metrics *m, enum metric metric, size_t slot, int64_t n)
{
    atomic_int_fast64_t *at = &m->slots[(size_t)metric + slot];
    assert((size_t)metric + slot < METRIC_SLOT_TOTAL);
    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* A value of a histogram of turns. Only the owning thread calls it. */
void metric_observe_us(struct metrics *m, enum metric metric, int64_t us);
/* The same of a backend's, by its slot. */
void metric_observe_backend_us(struct metrics *m, enum metric metric, size_t slot, int64_t us);

/* Of one set; any thread. */
static inline int64_t metric_get(const struct metrics *m, enum metric metric, size_t slot)
{
    assert((size_t)metric + slot < METRIC_SLOT_TOTAL);
    return atomic_load_explicit(&m->slots[(size_t)metric + slot], memory_order_relaxed);
}

/* Names of label values; NULL: this slot is not in use. */
typedef const char *metric_label_fn(void *ctx, size_t slot);

/* All sets added up, as Prometheus text (version 0.0.4). backend_name names the BACKEND slots. */
void metric_print(const struct metrics *const *sets, size_t n, metric_label_fn *backend_name,
                  void *ctx, struct buf *out);
