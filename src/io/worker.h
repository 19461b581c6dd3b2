/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread, one libuv loop, one listening socket of its own.
 *
 * worker_run blocks in its thread until worker_stop was called (from any thread) and its on_stop
 * has let everything go (worker_release). All callbacks come on the worker's thread.
 */
#pragma once

#include "base/error.h"
#include "io/loop.h"

struct conn;
struct worker;

struct worker_events {
    /* A client has connected. conn is the callee's to own (it may conn_close it). TCP_NODELAY is
     * set. */
    void (*accepted)(struct worker *worker, void *ctx, struct conn *conn);
    /* worker_stop was called: listening has ended. The owner closes its connections in its own
     * time and then calls worker_release. */
    void (*stopping)(struct worker *worker, void *ctx);
};

/* How many connections may be open at once, all workers; accepting pauses at the bound. */
struct worker_options {
    const struct worker_events *events; /* borrowed */
    void *ctx;
    int listen_fd; /* from worker_listen; the worker owns it from now on; -1: no listener */
};

/* Binds and listens (backlog 1024, non-blocking, close-on-exec). exclusive: without SO_REUSEPORT,
 * so that a port in use is an error; else with it, to share a port that is already ours. port 0
 * picks one: *ret_port says which. host is a literal address or "localhost". */
NODISCARD enum error_code worker_listen(struct str host, uint16_t port, bool exclusive, int *ret_fd,
                                        uint16_t *ret_port, struct error *e);

NODISCARD struct worker *worker_new(const struct worker_options *options);
struct loop *worker_loop(struct worker *worker);
/* Blocks; returns after worker_release, when nothing is left in the loop. */
void worker_run(struct worker *worker);
/* Thread-safe, async-signal-unsafe; may be called several times. */
void worker_stop(struct worker *worker);
/* The owner has nothing left in the loop (all its conns are closed, all its timers stopped). */
void worker_release(struct worker *worker);
/* Runs fn(arg) on the worker's thread in a later turn. Thread-safe. */
void worker_post(struct worker *worker, void (*fn)(void *arg), void *arg);
/* Pauses and resumes accepting (connection limits). */
void worker_accept_pause(struct worker *worker, bool pause);
void worker_free(struct worker **worker);
