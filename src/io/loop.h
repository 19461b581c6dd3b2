/* SPDX-License-Identifier: MIT */
/*
 * The event loop as the rooms above see it: a clock read once per turn, timers, a lent read
 * buffer. One per worker thread; nothing here is shared between threads. io/worker runs it over
 * libuv; tests run it by hand over a virtual clock (loop_test_*).
 *
 * A "turn" is one callback from the outside (bytes, a timer, a signal) with all that it causes.
 */
#pragma once

#include "base/list.h"
#include "base/str.h"

enum {
    LOOP_READ_SIZE = 64 * 1024, /* of the lent read buffer */
};

struct loop;
struct timer;
typedef void timer_fn(struct timer *timer);

/* Embedded by its owner; zeroed memory plus timer_init. CONTAINER_OF gives the owner back. */
struct timer {
    struct list link;
    int64_t due_ms;
    timer_fn *fire;
    struct loop *loop;
};

void timer_init(struct timer *timer, struct loop *loop, timer_fn *fire);
/* (Re)arms: fires once, in a later turn, not before delay_ms (>= 0) have passed, and at most
 * TIMER_SLACK_MS (plus the loop's lag) late. O(1). */
void timer_start(struct timer *timer, int64_t delay_ms);
/* Safe on one that is not armed. */
void timer_stop(struct timer *timer);
bool timer_armed(const struct timer *timer);
enum { TIMER_SLACK_MS = 4 };

/* Work for the end of the present turn (before the loop sleeps); runs once. */
struct deferred {
    struct list link;
    void (*run)(struct deferred *deferred);
};
void loop_defer(struct loop *loop, struct deferred *deferred, void (*run)(struct deferred *));
void loop_undefer(struct deferred *deferred);

/* Monotonic milliseconds and wall-clock milliseconds UTC as of this turn's begin. */
int64_t loop_now_ms(const struct loop *loop);
int64_t loop_wall_ms(const struct loop *loop);
/* Monotonic microseconds, asked of the kernel now: for time measurements only. */
int64_t loop_now_us(const struct loop *loop);
/* The number of the present turn. */
uint64_t loop_turn(const struct loop *loop);

/* A loop without sockets and with a clock that stands still until loop_test_advance, for tests and
 * for nothing else; mem conns and timers work on it. */
struct loop *loop_test_new(void);
void loop_test_free(struct loop **loop);
/* Runs turns (mem-conn deliveries, timers due, deferred) until nothing is ready. */
void loop_test_run(struct loop *loop);
/* Moves the clock on by ms, firing every timer at its time, and runs what becomes ready. */
void loop_test_advance(struct loop *loop, int64_t ms);
