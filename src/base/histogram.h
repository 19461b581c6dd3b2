/* SPDX-License-Identifier: MIT */
/*
 * How long things took: counts in buckets whose width grows with the value, so that a percentile
 * is known to 1/32 of itself whatever its size. Single writer, any reader, no lock.
 *
 * Values are microseconds. Up to 15 each has a bucket of its own; above, each power of two is cut
 * into 16 buckets of the same width. What is over 2^32 (71 minutes) counts as that.
 */
#pragma once

#include <stdatomic.h>

#include "base/attr.h"

enum {
    HISTOGRAM_CUT_BITS = 4, /* buckets of a power of two, as a power of two */
    HISTOGRAM_VALUE_BITS = 32,
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_CUT_BITS + 1) << HISTOGRAM_CUT_BITS,
};

struct histogram {
    atomic_uint_fast64_t counts[HISTOGRAM_BUCKETS];
};

/* Several of them added up, at rest. */
struct histogram_sum {
    uint64_t n;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

static inline size_t histogram_bucket(int64_t us)
{
    uint64_t value = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint64_t)us;

    if (value < (1u << HISTOGRAM_CUT_BITS))
        return (size_t)value;
    unsigned top = 63u - (unsigned)__builtin_clzll(value);
    unsigned shift = top - HISTOGRAM_CUT_BITS;
    return ((size_t)shift << HISTOGRAM_CUT_BITS) + (size_t)(value >> shift);
}

/* Only the owning thread calls it. */
static inline void histogram_observe(struct histogram *h, int64_t us)
{
    atomic_uint_fast64_t *at = &h->counts[histogram_bucket(us)];

    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Any thread: what was observed until about now. */
void histogram_add(struct histogram_sum *sum, const struct histogram *h);
/* The value that `permille` of 1000 do not pass (nearest rank): the middle of its bucket, at most
 * 1/32 away from the value itself; exact below 32. -1: nothing was observed. */
int64_t histogram_percentile(const struct histogram_sum *sum, unsigned permille);
