/* SPDX-License-Identifier: MIT */
/*
 * Work that would hold up a worker's loop (a large body to be parsed), done in a thread of libuv's
 * pool. What `work` touches belongs to the job from job_start to `done`: ownership crosses the
 * thread, nothing is locked.
 */
#pragma once

#include "io/loop.h"

struct job;

struct job_events {
    void (*work)(void *ctx); /* in another thread; pure, as far as the loop is concerned */
    void (*done)(void *ctx); /* in the loop, once, also after job_abandon; the job is gone */
};

/* Never calls from within. On a test loop the work is done in a turn of its own. */
struct job *job_start(struct loop *loop, const struct job_events *events, void *ctx);
/* Nobody waits for its outcome any more: if it has not begun, `work` is left out. `done` comes
 * nevertheless: what the job may touch is to be kept until then. */
void job_abandon(struct job *job);
