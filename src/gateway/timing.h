/* SPDX-License-Identifier: MIT */
/*
 * Where the time of an exchange goes: phase.def, and how it is told.
 */
#pragma once

#include "base/buf.h"

enum phase {
    PHASE_NONE,
#define PHASE(id, name, kind, what) PHASE_##id,
#include "gateway/phase.def"
#undef PHASE
    PHASE_COUNT
};

enum phase_kind { PHASE_OWN, PHASE_WAIT };

/* Of each phase; PHASE_NONE's are not used. */
struct phase_row {
    const char *name;
    enum phase_kind kind;
    const char *what;
};
extern const struct phase_row timing_phases[PHASE_COUNT];

/* Microseconds of loop_now_us's clock. */
struct timing {
    int64_t begin_us;
    int64_t mark_us;         /* the present phase goes on since then */
    enum phase phase;        /* the present one */
    int64_t us[PHASE_COUNT]; /* of what is over */
};

/* t: zeroed. */
static inline void timing_begin(struct timing *t, int64_t begin_us)
{
    t->begin_us = begin_us;
    t->mark_us = begin_us;
    t->phase = PHASE_RECEIVE;
}

/* now_us before the last one given counts as that: clocks of machines that move may go back. */
static inline void timing_enter(struct timing *t, enum phase phase, int64_t now_us)
{
    if (UNLIKELY(now_us < t->mark_us))
        now_us = t->mark_us;
    t->us[t->phase] += now_us - t->mark_us;
    t->mark_us = now_us;
    t->phase = phase;
}

/* Up to the last mark. */
static inline int64_t timing_total_us(const struct timing *t)
{
    return t->mark_us - t->begin_us;
}
/* Of these the proxy's own work, and waiting for backends. */
int64_t timing_own_us(const struct timing *t);
int64_t timing_upstream_us(const struct timing *t);

enum { TIMING_TEXT_MAX = 640 };

/* The Server-Timing line (W3C Server Timing): all phases of the proxy's own, the backend, those of
 * the others that came, up to the last mark; in milliseconds. */
void timing_header(const struct timing *t, struct buf *out);
/* "[decode:0.000012,backend:1.204500]": seconds of the phases that took time. Returns its length.
 */
size_t timing_breakdown(const struct timing *t, char text[TIMING_TEXT_MAX]);
/* "1.234s", with 3 or 6 decimals, rounded. Returns its length. */
enum { TIMING_SECONDS_MAX = 32 };
size_t timing_seconds(int64_t us, unsigned decimals, char text[TIMING_SECONDS_MAX]);
