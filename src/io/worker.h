/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread, one libuv loop, and a listening socket of its own, or one worker's share of
 * what another accepts.
 *
 * Where the kernel spreads connections over sockets that listen on one port
 * (worker_listeners_balance), each worker has such a socket. Elsewhere one worker listens and hands
 * what it accepts to all in turn (worker_share).
 *
 * worker_run blocks in its thread until worker_stop was called (from any thread) and its on_stop
 * has let everything go (worker_release). All callbacks come on the worker's thread.
 */
#pragma once

#include "base/error.h"
#include "io/loop.h"

struct conn;
struct metrics;
struct worker;

struct worker_events {
    /* A client has connected, here or at the worker that listens for this one. conn is the
     * callee's to own (it may conn_close it). TCP_NODELAY is set. */
    void (*accepted)(struct worker *worker, void *ctx, struct conn *conn);
    /* worker_stop was called: listening has ended. The owner closes its connections in its own
     * time and then calls worker_release. */
    void (*stopping)(struct worker *worker, void *ctx);
};

struct worker_options {
    const struct worker_events *events; /* borrowed */
    void *ctx;
    int listen_fd; /* from worker_listen; the worker owns it from now on; -1: no listener */
    struct metrics *metrics; /* where its turns are counted; borrowed. NULL: they are not */
};

/* Binds and listens (backlog 1024, non-blocking, close-on-exec), with SO_REUSEPORT, without which
 * the kernel lets no second worker share the port. exclusive: for the first socket of a process; a
 * port that anybody listens on is an error then. This is asked by a bind without SO_REUSEPORT just
 * before; another process of the same user could slip in between. port 0 picks one: *ret_port says
 * which. host is a literal address or "localhost". ERR_CONFIG, ERR_SYSTEM. */
NODISCARD enum error_code worker_listen(struct str host, uint16_t port, bool exclusive, int *ret_fd,
                                        uint16_t *ret_port, struct error *e);

/* True where the kernel spreads connections over the sockets that share a port: Linux, and FreeBSD
 * (SO_REUSEPORT_LB). False elsewhere: only one worker is to listen then. */
bool worker_listeners_balance(void);

NODISCARD struct worker *worker_new(const struct worker_options *options);
struct loop *worker_loop(struct worker *worker);
/* Blocks; returns after worker_release, when nothing is left in the loop. */
void worker_run(struct worker *worker);
/* Thread-safe, async-signal-unsafe; may be called several times. */
void worker_stop(struct worker *worker);
/* The owner has nothing left in the loop (all its conns are closed, all its timers stopped). */
void worker_release(struct worker *worker);
/* Runs fn(arg) on the worker's thread in a later turn; after worker_release never. Thread-safe. */
void worker_post(struct worker *worker, void (*fn)(void *arg), void *arg);
/* From now on worker, which listens, hands what it accepts to the peers in turn (it may be one of
 * them). Before worker_run. The array and the peers are borrowed until none of them runs any more;
 * a peer may stop or be released at any time, and then is passed over. What was handed to one that
 * has stopped meanwhile is closed. */
void worker_share(struct worker *worker, struct worker *const *peers, size_t n);
/* Pauses and resumes accepting (connection limits). One that shares pauses for all; a peer that
 * pauses is passed over. */
void worker_accept_pause(struct worker *worker, bool pause);
/* Not while it runs. Takes NULL; nulls. */
void worker_free(struct worker **worker);
