/* SPDX-License-Identifier: MIT */
/* What the two halves of the server share: server.c, and server_input.c for what clients send. */
#pragma once

#include "http/http_priv.h"
#include "http/parse.h"
#include "http/server.h"

enum {
    SERVER_MAGIC = 0x53525652,
    SERVER_CONN_MAGIC = 0x53434f4e,
    ARENA_BLOCK = 2048,
};

enum input {
    INPUT_IDLE, /* no byte of a request */
    INPUT_HEAD,
    INPUT_HOLD,   /* the head was told; the user has not said yet whether the body may come */
    INPUT_BODY,   /* told piece by piece */
    INPUT_DROP,   /* the answer ended first: the rest of the body is for nobody */
    INPUT_DONE,   /* the request was read whole */
    INPUT_CLOSED, /* nothing is parsed any more */
};

struct server {
    uint32_t magic;
    bool draining;
    bool closing_idle;
    struct loop *loop;
    struct server_options options;
    struct list conns;
    size_t conn_count;
    struct server_conn *spare;
    size_t spare_n;
    struct write_pool writes;
};

struct server_conn {
    uint32_t magic;
    uint8_t input; /* enum input */
    /* connection */
    bool reading;
    bool close_after; /* no further request */
    bool full;        /* conn said CONN_FULL */
    bool gone_due;    /* closed by a call: `gone` is still to be told */
    bool woken;       /* deferred is in the loop's list */
    bool served;      /* not the connection's first request */
    bool timed;       /* the timer runs for the present head or body */
    /* request */
    bool busy;
    bool minor_1;
    bool is_head;
    bool has_length;
    bool has_body;
    bool body_ended;
    bool expects;   /* waits for 100 Continue */
    bool more_came; /* bytes after the head came with it */
    bool keep_alive;
    bool paused;
    bool message_gone; /* the user has released the arena */
    /* answer */
    bool head_sent;
    bool ended;
    bool chunked;
    bool no_body;
    bool length_known;
    bool until_eof; /* the body ends with the connection */
    bool broken;    /* it ended before its end */

    struct server *server;
    struct conn *conn; /* NULL: closed */
    void *user;
    struct list link;
    struct deferred deferred;
    struct timer timer;       /* of the input */
    struct timer write_timer; /* of the queue */
    struct server_conn *next_spare;
    struct write_batch *batch; /* NULL: nothing queued in this turn */
    struct buf carry;
    struct arena arena;
    struct parser parser;
    int64_t begin_us;
    uint64_t begin_turn;
    int64_t read_ms;        /* of the last piece of body */
    uint64_t body_left;     /* of the request's body, with has_length */
    uint64_t answer_length; /* with length_known */
    uint64_t answer_bytes;  /* of the body, so far */
    uint64_t given;         /* bytes, to conn */
    int64_t taken;          /* by the kernel, when the write timer last looked */
    int64_t taken_ms;
    size_t dropped; /* while lingering */
    size_t linger_bytes;
    size_t linger_seen; /* of dropped, when the timer last looked */
    uint8_t linger_rounds;
};

_Static_assert(sizeof(struct server_conn) <= 640, "an idle connection is little more than this");

static inline void server_check(const struct server_conn *c)
{
    assert(c->magic == SERVER_CONN_MAGIC);
    assert(c->server->magic == SERVER_MAGIC);
    assert(!c->ended || c->head_sent);
    assert(!c->head_sent || c->busy);
    assert(c->conn != NULL || c->woken);
}

/* server.c */
/* The client has left, or takes nothing. Only in an event of the loop. */
void server_lost(struct server_conn *c);
/* Closes after the last answer. */
void server_finish(struct server_conn *c);

/* server_input.c */
/* Parses as far as the state allows; what is left of *bytes is for the carry-over. */
void server_input_consume(struct server_conn *c, struct str *bytes);
void server_input_carry(struct server_conn *c, struct str bytes);
/* Goes on with what was carried over. */
void server_input_resume(struct server_conn *c);
/* Forgets the request that is over. */
void server_input_forget(struct server_conn *c);
/* The next request may come. */
void server_input_idle(struct server_conn *c);
/* The timer for the present head or body has fired. */
void server_input_late(struct server_conn *c);
/* Nothing is read: the timer looks whether the client is still there. */
void server_input_look(struct server_conn *c);
