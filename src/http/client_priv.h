/* SPDX-License-Identifier: MIT */
/*
 * What the files of the client share: a pool, and a request with the connection that it is on.
 *   client.c         the life of a request: connecting, sending, failing, time-outs
 *   client_send.c    bodies that come piece by piece
 *   client_answer.c  what comes back, decoded
 *   client_pool.c    places, idle connections, spare memory
 */
#pragma once

#include "base/list.h"
#include "http/client.h"
#include "http/coding.h"
#include "http/forward.h"
#include "http/parse.h"
#include "io/conn.h"

enum {
    CLIENT_POOL_MAGIC = 0x43504f4c,
    CLIENT_MAGIC = 0x434c4e54,
};

enum client_state {
    CLIENT_CONNECTING,
    CLIENT_SENDING,
    CLIENT_SENT,
    CLIENT_ENDED, /* the answer is complete; its batch is still to come */
    CLIENT_IDLE,
    CLIENT_OVER,
};

struct client_pool {
    uint32_t magic;
    bool draining;
    struct loop *loop;
    struct client_pool_options options;
    char *host;
    struct list idle; /* youngest first */
    size_t idle_count;
    size_t running_count;
    struct list spare;
    size_t spare_count;
    char *decoded; /* what was decoded since the last batch; NULL: nothing was ever coded */
    size_t decoded_n;
};

struct client_coded;
struct client_upload;

struct client_request {
    uint32_t magic;
    uint8_t state; /* enum client_state */
    bool reused;   /* the connection has served before */
    bool replaced;
    bool answered; /* a byte of the answer came */
    bool interim;  /* a 1xx is being read */
    bool refused;  /* answered with an error before all was sent: the rest never is */
    bool sent_told;
    bool batch_due;
    bool keep; /* the connection may be used again */
    bool paused;
    bool in_event;
    bool big;       /* too much for the conn's queue */
    uint8_t coding; /* enum coding, of the answer's body, to be decoded */
    struct client_pool *pool;
    struct conn *conn;
    struct forward_tunnel *tunnel; /* in the making; then there is no conn */
    struct list link;              /* pool's idle or spare */
    struct timer timer;
    struct deferred deferred;
    struct client_call call;
    struct client_coded *coded;   /* NULL: no byte of a coded body came */
    struct client_upload *upload; /* NULL: the body was there whole */
    size_t part;                  /* sending stands here: 0 the head, then the pieces of the body */
    size_t offset;
    int64_t read_ms; /* of the last sign of life */
    int64_t sent_ms;
    struct parser parser;
};

_Static_assert(sizeof(struct client_request) <= 640, "a silent stream is little more than this");

static inline void client_check(const struct client_request *r)
{
    assert(r->magic == CLIENT_MAGIC);
    assert(r->pool->magic == CLIENT_POOL_MAGIC);
    assert(r->state != CLIENT_IDLE || r->conn != NULL);
    assert(r->part <= r->call.body_n + 1);
}

/* client.c; all of them within an event. */
/* The batch, if one is due. */
void client_tell_batch(struct client_request *r);
void client_tell_sent(struct client_request *r);
/* At this turn's end: what is held goes on, unless the user has paused. Also outside of events. */
void client_run_soon(struct client_request *r);
/* The request is over; memory goes with the event. */
void client_fail(struct client_request *r, const struct error *e);

/* The last byte was taken by the conn. */
void client_sent(struct client_request *r);

/* client_send.c */
/* Where the call has more. */
void client_send_begin(struct client_request *r);
/* Takes what has none. */
void client_send_forget(struct client_request *r);
/* What the call has of a chunked body becomes a chunk. False: the arena has overflowed. */
NODISCARD bool client_send_frame(struct client_call *call);
/* What the call had is sent. True: so is the rest. Tells `writable`. */
NODISCARD bool client_send_go_on(struct client_request *r);
/* At the end of a turn: what was too little to go alone. */
void client_send_flush(struct client_request *r);
/* It is the user's turn. */
PURE_FN bool client_send_waits(const struct client_request *r);

/* client_answer.c; within an event. */
/* The bytes of one read. */
void client_answer_read(struct client_request *r, struct str bytes);
/* The connection's end, after a byte of the answer came. */
void client_answer_eof(struct client_request *r);
/* Goes on with what was held, because the user paused or the turn was over. */
void client_answer_resume(struct client_request *r);
PURE_FN bool client_answer_is_held(const struct client_request *r);
/* Nothing more of it is wanted. */
void client_answer_forget(struct client_request *r);

/* client_pool.c */
struct client_request *client_pool_take(struct client_pool *pool);
void client_pool_give(struct client_request *r);
/* A place for a request, and for the new connection of one that has its own; false past the
 * limit. */
NODISCARD bool client_pool_request_up(const struct client_pool *pool);
void client_pool_request_down(const struct client_pool *pool);
NODISCARD bool client_pool_connection_up(const struct client_pool *pool);
/* The connection is over, and whatever was on it. */
void client_pool_close(struct client_request *r);
/* Closes the idle connection that was idle for longest, if there is one. */
void client_pool_drop_oldest(struct client_pool *pool);
/* After `end` and its batch: back to the pool, or closed. */
void client_pool_park(struct client_request *r);
