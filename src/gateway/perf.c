/* SPDX-License-Identifier: MIT */
/*
 * What      Histograms of phases, and last faults.
 * How       A row is 50 kB, so a worker makes one with the first exchange of a backend, and leaves
 *           it where readers find it; it goes with the worker.
 * Owns      The rows.
 * Not here  What is told of them (admin/), Prometheus' histograms (base/metric).
 */
#include "gateway/perf.h"

#include "base/mem.h"
#include "text/utf8.h"

struct perf_row {
    struct histogram measures[PERF_MEASURES];
    atomic_uint_fast64_t counts[PERF_OUTCOMES];
};

static struct perf_row *row_of(struct perf *perf, size_t slot)
{
    assert(slot < PERF_SLOTS);
    struct perf_row *row = atomic_load_explicit(&perf->rows[slot], memory_order_relaxed);

    if (UNLIKELY(row == NULL)) {
        row = mem_new(sizeof(*row));
        atomic_store_explicit(&perf->rows[slot], row, memory_order_release);
    }
    return row;
}

void perf_fini(struct perf *perf)
{
    for (size_t i = 0; i < PERF_SLOTS; i++) {
        struct perf_row *row = atomic_load_explicit(&perf->rows[i], memory_order_relaxed);
        mem_free(row);
        atomic_store_explicit(&perf->rows[i], NULL, memory_order_relaxed);
    }
}

void perf_observe(struct perf *perf, size_t slot, enum perf_outcome outcome,
                  const struct timing *timing, int64_t first_byte_us)
{
    struct perf_row *row = row_of(perf, slot);
    atomic_uint_fast64_t *count = &row->counts[outcome];

    assert(outcome < PERF_OUTCOMES);
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    if (outcome == PERF_CANCELLED)
        return;
        /* One after the other without a loop, as every request comes here. */
#define PHASE(id, name, kind, what)                              \
    if (PHASE_##kind == PHASE_OWN || timing->us[PHASE_##id] > 0) \
        histogram_observe(&row->measures[PHASE_##id], timing->us[PHASE_##id]);
#include "gateway/phase.def"
#undef PHASE
    histogram_observe(&row->measures[PERF_TOTAL], timing_total_us(timing));
    histogram_observe(&row->measures[PERF_OVERHEAD], timing_own_us(timing));
    if (first_byte_us >= 0)
        histogram_observe(&row->measures[PERF_FIRST_BYTE], first_byte_us);
}

void perf_add(const struct perf *perf, size_t slot, size_t measure, struct histogram_sum *sum)
{
    assert(slot < PERF_SLOTS && measure < PERF_MEASURES);
    const struct perf_row *row = atomic_load_explicit(&perf->rows[slot], memory_order_acquire);

    if (row != NULL)
        histogram_add(sum, &row->measures[measure]);
}

uint64_t perf_count(const struct perf *perf, size_t slot, enum perf_outcome outcome)
{
    assert(slot < PERF_SLOTS && outcome < PERF_OUTCOMES);
    const struct perf_row *row = atomic_load_explicit(&perf->rows[slot], memory_order_acquire);

    return row == NULL ? 0 : atomic_load_explicit(&row->counts[outcome], memory_order_relaxed);
}

void perf_faults_init(struct perf_faults *faults)
{
    int rc = pthread_mutex_init(&faults->lock, NULL);

    assert(rc == 0);
}

void perf_faults_fini(struct perf_faults *faults)
{
    pthread_mutex_destroy(&faults->lock);
}

void perf_fault_set(struct perf_faults *faults, size_t slot, const struct perf_fault *fault,
                    struct str text)
{
    assert(slot < METRIC_SLOTS_BACKEND && fault->time_ms > 0);
    struct perf_fault *at = &faults->slots[slot];

    text = utf8_head(text, FAULT_TEXT_MAX);
    pthread_mutex_lock(&faults->lock);
    at->time_ms = fault->time_ms;
    at->status = fault->status;
    at->code = fault->code;
    at->text_n = text.n;
    if (text.n > 0)
        memcpy(at->text, text.p, text.n);
    pthread_mutex_unlock(&faults->lock);
}

void perf_fault_get(const struct perf_faults *faults, size_t slot, struct perf_fault *ret_fault)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&faults->lock;

    assert(slot < METRIC_SLOTS_BACKEND);
    pthread_mutex_lock(lock);
    *ret_fault = faults->slots[slot];
    pthread_mutex_unlock(lock);
}
