/* SPDX-License-Identifier: MIT */
/*
 * How long exchanges took, phase by phase and backend by backend, since the start: histograms of
 * each worker, made on first use, added up by whoever asks; and the last thing that went wrong with
 * each backend.
 *
 * Threads   A struct perf is written by its worker and read by any thread. Faults are rare, and
 *           behind a lock.
 */
#pragma once

#include <pthread.h>

#include "base/histogram.h"
#include "base/metric.h"
#include "base/str.h"
#include "gateway/timing.h"

/* A measure is a phase, or one of these. */
enum {
    PERF_TOTAL = PHASE_NONE,
    PERF_FIRST_BYTE = PHASE_COUNT, /* from sending to the first byte of the backend's answer */
    PERF_OVERHEAD,                 /* the proxy's own work */
    PERF_MEASURES
};

/* Slots are those of the BACKEND label, and one for what the proxy answered by itself. */
enum { PERF_PROXY = METRIC_SLOTS_BACKEND, PERF_SLOTS };

/* What came of an exchange. */
enum perf_outcome { PERF_OK, PERF_ERROR, PERF_CANCELLED, PERF_OUTCOMES };

struct perf_row;

struct perf {
    _Atomic(struct perf_row *) rows[PERF_SLOTS];
};

/* Nothing is counted any more. */
void perf_fini(struct perf *perf);
/* An exchange is over. Its times are of no account where the client left before its end.
 * first_byte_us: -1: no byte came. */
void perf_observe(struct perf *perf, size_t slot, enum perf_outcome outcome,
                  const struct timing *timing, int64_t first_byte_us);
/* Any thread; added to what is there. */
void perf_add(const struct perf *perf, size_t slot, size_t measure, struct histogram_sum *sum);
uint64_t perf_count(const struct perf *perf, size_t slot, enum perf_outcome outcome);

enum { FAULT_TEXT_MAX = 240 };

/* What went wrong last. time_ms 0: nothing did. */
struct perf_fault {
    int64_t time_ms;  /* wall clock */
    int status;       /* the backend's; 0: it gave no answer */
    const char *code; /* of error.def; static. NULL: the backend answered so */
    size_t text_n;
    char text[FAULT_TEXT_MAX]; /* UTF-8 as far as it was before it was cut; without our keys */
};

struct perf_faults {
    pthread_mutex_t lock;
    struct perf_fault slots[METRIC_SLOTS_BACKEND];
};

void perf_faults_init(struct perf_faults *faults);
void perf_faults_fini(struct perf_faults *faults);
/* Any thread. text is cut where it is too long. */
void perf_fault_set(struct perf_faults *faults, size_t slot, const struct perf_fault *fault,
                    struct str text);
void perf_fault_get(const struct perf_faults *faults, size_t slot, struct perf_fault *ret_fault);
