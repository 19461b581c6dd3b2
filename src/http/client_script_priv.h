/* SPDX-License-Identifier: MIT */
/*
 * For the client's tests: a scripted upstream in memory, on the tests' clock, and what it and the
 * user of client_test_priv.h remember.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/conn.h"

enum {
    HEAD_MAX = 1024,
    IDLE_MS = 60000,
    SILENCE_MS = 300000,
    CONNECTIONS_MAX = 3,
    UPSTREAMS_MAX = 64,
    LOG_MAX = 1 << 24,
};

/* One accepted connection of the scripted upstream. */
struct upstream {
    struct conn *conn;
    struct buf in;
    bool eof, failed;
};

enum cancel_in { CANCEL_NONE, CANCEL_SENT, CANCEL_HEAD, CANCEL_BODY, CANCEL_END, CANCEL_BATCH };

struct user;

/* One request of the user. */
struct ask {
    struct user *user;
    struct client_request *r;
    struct arena arena;
    struct str head;
    struct str body[3];
    struct buf log;
    bool in_body;
    unsigned sents, heads, ends, batches, faileds;
    enum error_code code;
    enum cancel_in cancel_in;
    bool pause_in_body;
    struct ask *next; /* started in the batch after the end */
};

struct user {
    struct loop *loop;
    struct client_pool *pool;
    atomic_size_t connections;
    atomic_size_t busy; /* only where a test has two pools */
    unsigned crowded;
    struct upstream upstreams[UPSTREAMS_MAX];
    unsigned upstream_n;
    size_t window; /* of the way to the upstream; 0: the default */
    bool refuse;   /* connect gives nothing */
};

/* ---- the upstream ---- */

static inline void up_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct upstream *up = ctx;
    (void)conn;
    assert_true(buf_add(&up->in, bytes));
}

static inline void up_eof(struct conn *conn, void *ctx)
{
    struct upstream *up = ctx;
    (void)conn;
    up->eof = true;
}

static inline void up_failed(struct conn *conn, void *ctx, const struct error *e)
{
    struct upstream *up = ctx;
    (void)conn;
    (void)e;
    up->failed = true;
}

static const struct conn_events up_events = {
    .read = up_read,
    .eof = up_eof,
    .failed = up_failed,
};

static inline struct conn *up_connect(void *ctx, struct loop *loop)
{
    struct user *user = ctx;
    struct conn *theirs = NULL;

    if (user->refuse)
        return NULL;
    assert_true(user->upstream_n < UPSTREAMS_MAX);
    struct upstream *up = &user->upstreams[user->upstream_n++];
    buf_init(&up->in, LOG_MAX);
    conn_pair(loop, &up->conn, &theirs);
    if (user->window > 0)
        conn_mem_window(theirs, user->window);
    conn_set_events(up->conn, &up_events, up);
    conn_read_start(up->conn);
    return theirs;
}

static inline void up_send(struct user *user, unsigned i, struct str bytes)
{
    (void)conn_write(user->upstreams[i].conn, &bytes, 1);
    loop_test_run(user->loop);
}

static inline void up_send_z(struct user *user, unsigned i, const char *bytes)
{
    up_send(user, i, str_c(bytes));
}

static inline void up_close(struct user *user, unsigned i)
{
    conn_close(&user->upstreams[i].conn);
    loop_test_run(user->loop);
}
