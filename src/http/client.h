/* SPDX-License-Identifier: MIT */
/*
 * The client's side of HTTP/1.1, with pools of keep-alive connections.
 *
 * A pool belongs to one worker and one origin (scheme, host, port). client_start takes an idle
 * connection (the youngest) or makes a new one and sends one request on it.
 *
 * Life of a request: client_start ─► [connected] ─► [sent] ─► head ─► body… ─► end, or failed at
 * any point.
 *   `batch` comes at the end of each read's callback in which head, body or end came: the moment
 *   to flush what was made of it. Bytes passed to body are lent until `batch` of the same read
 *   returns; if the read ends with `failed`, its batch comes before that. (Of a coded answer one
 *   read may be so much that it has several batches.)
 *   After `end` (and its batch) or `failed` the request is over and the handle is gone: with `end`
 *   a keep-alive connection went back to its pool. client_cancel ends it at any time before: closes
 *   the connection at once, no event follows.
 * Events never come from within client_start, client_cancel or client_pause.
 * A body need not be there whole (client_call.more): then its rest is given by client_send, as fast
 * as it is taken. What came with the call is read no more once it was sent (client_send_is_kept).
 * As such a body cannot be sent again, it gets a new connection (in the place of the oldest idle
 * one): one of the pool may be closed by the other side at this moment. While it is the user who is
 * waited for, the silence time-out stands still.
 * 1xx answers are skipped. A body without length and chunks ends with EOF. Answers that are not
 * HTTP, have contradicting lengths, or break off are `failed` with ERR_UPSTREAM_BROKEN; the error
 * says whether it broke before the first byte.
 * Bodies coded with gzip or deflate are told decoded, as far as the bytes that came can be decoded
 * (a stream's events do not wait for later ones). One that is a bomb (more than 100 times its
 * bytes, or more than decoded_bytes_max) is `failed` with ERR_UPSTREAM_TOO_LARGE, one that is
 * damaged or cut with ERR_UPSTREAM_BROKEN. Other codings are the user's to see
 * (coding_of_headers), and so are all of them where a call wants the body as it is and the status
 * is none of an error.
 * A reused connection that fails before any answer byte, at most 1 s after the request was written
 * whole, is replaced once by a new one, here, unseen by the user (contract, section 4): therefore
 * the request's bytes stay borrowed until both sent and head came, or end, failed or cancel. An
 * error's head (400 and above) that comes before the request was sent whole ends the sending, and
 * the connection is not used again; after any other the rest is sent on.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "http/message.h"
#include "io/loop.h"

struct client_pool;
struct client_request;
struct conn;
struct conn_filter;
struct forward;
struct tls_context;

enum client_push { CLIENT_OK, CLIENT_FULL };

enum { CLIENT_SEND_MAX = 256 * 1024 }; /* bytes of one client_send */

struct client_events {
    /* A connection stands, where client_is_connecting was true, or where one was replaced that was
     * stale; or NULL. */
    void (*connected)(struct client_request *r, void *ctx);
    void (*sent)(struct client_request *r, void *ctx); /* the conn has taken all; or NULL */
    void (*head)(struct client_request *r, void *ctx, const struct message *m); /* arena's */
    void (*body)(struct client_request *r, void *ctx, struct str bytes);
    void (*end)(struct client_request *r, void *ctx);
    void (*batch)(struct client_request *r, void *ctx);
    void (*failed)(struct client_request *r, void *ctx, const struct error *e);
    void (*writable)(struct client_request *r, void *ctx); /* after CLIENT_FULL; may be NULL where
                                                              client_send is not used */
};

struct client_pool_options {
    struct str host; /* copied */
    uint16_t port;
    struct tls_context *tls; /* NULL: plain. Borrowed */
    int64_t connect_timeout_ms;
    int64_t idle_timeout_ms;    /* 0: nothing is kept */
    int64_t silence_timeout_ms; /* no byte from the upstream: ERR_UPSTREAM_TIMEOUT */
    size_t header_bytes_max;    /* of an answer's head */
    /* Open connections, shared by the pools of all workers of one backend; beyond: OVERLOADED. */
    atomic_size_t *connections;
    size_t connections_max;
    /* Where there are several pools: those of them that have a request, shared likewise. Then only
     * these count against connections_max: a request that finds all places taken by connections
     * that are idle in other pools is let through, and `crowded` asks for these pools to be
     * trimmed. NULL: one pool. */
    atomic_size_t *busy;
    void (*crowded)(void *connect_ctx);
    /* Makes a connection, which stands already, instead of TCP (built-in backends, tests); if it
     * gives NULL, `failed` comes with UPSTREAM_UNREACHABLE. NULL: TCP or TLS. */
    struct conn *(*connect)(void *ctx, struct loop *loop);
    void *connect_ctx;
    /* The proxy that the origin is reached through, made for this host, port and tls; the pool's
     * from now on. NULL: none. A failure to get through it, and its refusal, are `failed` with
     * UPSTREAM_UNREACHABLE or UPSTREAM_TIMEOUT. */
    struct forward *forward;
    /* Which addresses of the host may be connected to (not asked where there is `connect`, nor of a
     * proxy's); else `failed` comes with FORBIDDEN. NULL: all. Borrowed. */
    const struct conn_filter *filter;
    struct arena_budget *budget; /* where the memory of decoding counts too; or NULL */
};

NODISCARD struct client_pool *client_pool_new(struct loop *loop,
                                              const struct client_pool_options *options);
/* Closes idle connections; no request may be running. Takes NULL. */
void client_pool_free(struct client_pool **pool);
/* Closes the idle ones, and every other after its request (shutdown, changed configuration). */
void client_pool_drain(struct client_pool *pool);
/* Closes idle connections, the oldest first, while there are more than connections_max. */
void client_pool_trim(struct client_pool *pool);
size_t client_pool_idle_count(const struct client_pool *pool);

/* head: the whole request head, request line to empty line. body: the pieces that follow. All
 * borrowed (see above). arena: for the answer's head; must live as long as the request. */
struct client_call {
    struct str head;
    const struct str *body;
    size_t body_n;
    bool more;                /* body is its beginning: client_send gives the rest */
    bool chunked;             /* with more: the head says so, and sizes of chunks are added here */
    bool is_head;             /* method HEAD: the answer has no body */
    bool as_is;               /* bodies are told as they come, but those of errors (400 on) */
    size_t decoded_bytes_max; /* of a body that was coded; 0: no bound but the ratio */
    struct arena *arena;
    const struct client_events *events;
    void *ctx;
};

/* ERR_OVERLOADED past connections_max; else OK and events follow. */
NODISCARD enum error_code client_start(struct client_pool *pool, const struct client_call *call,
                                       struct client_request **ret_request, struct error *e);
/* Whether it has no connection yet. */
bool client_is_connecting(const struct client_request *r);
/* More of the body, at most CLIENT_SEND_MAX bytes, lent for the call. end: all of it was given.
 * FULL: `writable` follows; nothing may be given until then (never together with end). Legal from
 * client_start on, also where the connection does not stand yet. After an answer's head that ended
 * the sending, what is given is dropped. Its length is the user's to keep where the head says it.
 */
enum client_push client_send(struct client_request *request, struct str bytes, bool end);
/* The call's body is borrowed still: with `more`, until it was sent. */
PURE_FN bool client_send_is_kept(const struct client_request *request);
/* Takes NULL; nulls. */
void client_cancel(struct client_request **request);
/* Stops and resumes reading the answer. While paused the silence time-out stands still. */
void client_pause(struct client_request *request, bool pause);
