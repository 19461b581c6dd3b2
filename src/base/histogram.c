/* SPDX-License-Identifier: MIT */
#include "base/histogram.h"

void histogram_add(struct histogram_sum *sum, const struct histogram *h)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = atomic_load_explicit(&h->counts[i], memory_order_relaxed);
        sum->counts[i] += n;
        sum->n += n;
    }
}

/* The value in the middle of a bucket. */
static int64_t middle(size_t bucket)
{
    const size_t cut = (size_t)1 << HISTOGRAM_CUT_BITS;

    assert(bucket < HISTOGRAM_BUCKETS);
    if (bucket < 2 * cut)
        return (int64_t)bucket;
    unsigned shift = (unsigned)(bucket >> HISTOGRAM_CUT_BITS) - 1;
    uint64_t least = (uint64_t)(bucket % cut + cut) << shift;
    return (int64_t)(least + (((uint64_t)1 << shift) - 1) / 2);
}

int64_t histogram_percentile(const struct histogram_sum *sum, unsigned permille)
{
    uint64_t below = 0;

    assert(permille >= 1 && permille <= 1000);
    if (sum->n == 0)
        return -1;
    /* Rounded up, without a product that could be too large. */
    uint64_t rank = sum->n / 1000 * permille + (sum->n % 1000 * permille + 999) / 1000;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        below += sum->counts[i];
        if (below >= rank)
            return middle(i);
    }
    BUG("more were counted than there are");
}
