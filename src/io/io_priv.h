/* SPDX-License-Identifier: MIT */
/*
 * What the files of this room share: the loop's inside, the generic part of a connection, and
 * what each kind of connection gives to it.
 */
#pragma once

#include <netinet/in.h>
#include <uv.h>

#include "base/list.h"
#include "io/conn.h"
#include "io/loop.h"

/* ---- timers ---- */

enum {
    TIMER_LEVELS = 7, /* 64^7 ms are 139 years */
    TIMER_SLOTS = 64,
};

struct timer_wheel {
    int64_t at_ms;                   /* every slot up to this time is empty */
    struct list due;                 /* timers whose time has come; they fire in the next turn */
    uint64_t occupied[TIMER_LEVELS]; /* a bit for each slot that is not empty */
    struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, int64_t now_ms);
/* When timer_wheel_run is to be called next (then, or earlier, a timer may be due); INT64_MAX: no
 * timer is armed. */
int64_t timer_wheel_next(const struct timer_wheel *wheel);
/* Fires what is due by now_ms. Timers that are started meanwhile fire in a later call. */
void timer_wheel_run(struct loop *loop, int64_t now_ms);

/* ---- loop ---- */

struct tls_scratch;

enum { TLS_DEPTH = 2 }; /* TLS within TLS, no deeper */

struct loop {
    uv_loop_t *uv;          /* NULL: a test loop */
    int64_t now_ms;         /* the clock of a test loop */
    uint64_t turns;         /* that are over */
    int64_t wall_offset_ms; /* wall clock minus monotonic clock */
    struct list deferred;   /* for the end of this turn */
    struct list ready;      /* turns to come that wait for nothing from outside */
    char *read_buffer;      /* LOOP_READ_SIZE, lent to whoever reads; NULL on a test loop */
    struct tls_scratch *tls[TLS_DEPTH]; /* conn_tls's; NULL until its first connection */
    struct timer_wheel wheel;
};

void loop_init(struct loop *loop, uv_loop_t *uv);
/* Nothing may be left in it. */
void loop_fini(struct loop *loop);
/* A turn of its own, soon: `run` is called once from the loop, never from within a call. */
void loop_ready(struct loop *loop, struct deferred *deferred, void (*run)(struct deferred *));
/* Every callback from outside ends with it: runs what was deferred in this turn. */
void loop_turn_end(struct loop *loop);
/* Runs deferred work, then at most `turns` ready turns. True when something is left. */
bool loop_work(struct loop *loop, int turns);

/* ---- connections ---- */

enum { CONN_MAGIC = 0x434f4e4e };

struct conn_ops {
    bool is_tls;
    /* conn->reading has changed, or is to be made true of the transport again. */
    void (*read)(struct conn *conn);
    /* Takes all, or as much as leaves no more than queue_max bytes in the queue. A failure is
     * noted with conn_fail_soon; then everything counts as taken. Returns the bytes taken. */
    size_t (*write)(struct conn *conn, const struct str *parts, size_t n, size_t queue_max);
    size_t (*queued)(const struct conn *conn);
    void (*shutdown)(struct conn *conn);
    /* The last call. The ops free the memory, but not before the present turn has ended. */
    void (*close)(struct conn *conn, bool reset);
    /* What conn_soon asked for. */
    void (*turn)(struct conn *conn);
    /* A write has failed, which is about to be told: whatever came before that, and can still be
     * had, is told first, while the owner reads. NULL: nothing can. */
    void (*drain)(struct conn *conn);
    struct str (*peer)(const struct conn *conn);
    bool (*has_left)(const struct conn *conn);
};

/* First member of each kind of connection. */
struct conn {
    uint32_t magic;
    int failure; /* uv error of a write, to be told in a turn of its own; 0: none */
    const struct conn_ops *ops;
    struct loop *loop;
    const struct conn_events *events;
    void *ctx;
    struct deferred turn;
    bool reading;
    bool want_writable; /* the owner waits for `writable` */
    bool shut;          /* conn_shutdown was called */
    bool eof;           /* was told */
    bool failed;        /* was told */
    bool closed;
};

void conn_init(struct conn *conn, const struct conn_ops *ops, struct loop *loop);

/* Events to the owner. Only from the loop's callbacks; afterwards conn->closed may be set. */
void conn_emit_connected(struct conn *conn);
void conn_emit_read(struct conn *conn, struct str bytes);
void conn_emit_eof(struct conn *conn);
void conn_emit_failed(struct conn *conn, const struct error *e);
/* `failed` with ERR_UPSTREAM_BROKEN and uv's text. */
void conn_emit_broken(struct conn *conn, int uv_error);
/* The queue has become shorter: `writable` if the owner waits for it. True when it was told. */
bool conn_drained(struct conn *conn);

/* Has ops->turn called in a turn of its own. */
void conn_soon(struct conn *conn);
void conn_fail_soon(struct conn *conn, int uv_error);
/* The text of a uv error, into `to`. Returns `to`. */
enum { CONN_UV_TEXT_SIZE = 80 };
const char *conn_uv_text(int uv_error, char to[CONN_UV_TEXT_SIZE]);

/* In total. */
static inline size_t conn_parts_total(const struct str *parts, size_t n)
{
    size_t total = 0;

    for (size_t i = 0; i < n; i++)
        total += parts[i].n;
    return total;
}

/* ---- addresses ---- */

enum { DNS_ADDRESSES_MAX = 8 };

union dns_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct dns_addresses {
    size_t n;
    union dns_address at[DNS_ADDRESSES_MAX];
};

struct dns_query;
/* status: 0 or a uv error; found is lent for the call and has at least one address if it is 0. */
typedef void dns_done_fn(void *ctx, int status, const struct dns_addresses *found);

/* A literal address or "localhost": true, at once, without a thread. */
NODISCARD bool dns_literal(struct str host, uint16_t port, struct dns_addresses *ret_found);
/* Any other name, by the system's resolver in a thread of libuv's pool. `done` comes once, from the
 * loop; the query is gone then. Returns 0 or a uv error (and `done` does not come). */
NODISCARD int dns_start(struct loop *loop, const char *host, uint16_t port, dns_done_fn *done,
                        void *ctx, struct dns_query **ret_query);
/* `done` will not come. Nulls, takes NULL. */
void dns_cancel(struct dns_query **query);

enum { DNS_TEXT_SIZE = 56 };
/* "127.0.0.1:80", "[::1]:80"; returns its length. `to` is NUL-terminated. */
size_t dns_print(const struct sockaddr *address, char to[DNS_TEXT_SIZE]);

/* ---- connecting to one of several addresses ---- */

enum { RACE_DELAY_MS = 250 }; /* RFC 8305, section 8: Connection Attempt Delay */

struct race_result {
    int status;                /* 0, or the uv error of the last address that failed */
    int fd;                    /* connected, non-blocking; the callee's to own */
    size_t begun;              /* addresses */
    union dns_address address; /* that is connected, or that failed */
};

struct race;
/* Comes once, from the loop, never from within race_start; the race is gone then. */
typedef void race_done_fn(void *ctx, const struct race_result *result);

/* Addresses are copied; there is at least one. time_ms: what the caller allows for the whole; each
 * address begins within it, also where that makes the delay shorter. */
NODISCARD struct race *race_start(struct loop *loop, const struct dns_addresses *addresses,
                                  int64_t time_ms, race_done_fn *done, void *ctx);
/* As it would have to be told if the time were over now. */
void race_stand(const struct race *race, struct race_result *ret_result);
/* `done` will not come. Nulls, takes NULL. */
void race_cancel(struct race **race);

/* ---- kinds of connections ---- */

/* Takes fd over in any case. NULL when the kernel refuses it. */
NODISCARD struct conn *conn_tcp_accept(struct loop *loop, int fd, const struct sockaddr *peer);
/* Events are to be set before the present turn ends. */
NODISCARD struct conn *conn_tcp_connect(struct loop *loop, const struct conn_target *target);
/* TLS over lower, which it takes over and which is not connected yet. */
NODISCARD struct conn *conn_tls_client(struct conn *lower, const struct conn_target *target);
/* The same over one that stands. */
NODISCARD struct conn *conn_tls_secure(struct conn *lower,
                                       const struct conn_secure_options *options);
void conn_mem_pair(struct loop *loop, struct conn **ret_a, struct conn **ret_b);
