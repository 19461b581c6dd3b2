/* SPDX-License-Identifier: MIT */
/*
 * The server's side of HTTP/1.1: one struct server_conn a client connection, one request at a time
 * on it (pipelined ones wait in a carry-over of at most CARRY_MAX bytes, answered in order).
 *
 * Life of a request:
 *   head  ──► the user decides: server_accept (body comes: body…, body_end), or answers at once.
 *   answer: server_head, server_body…, server_end; each queues; server_flush makes one writev of
 *   all that was queued since the last flush. Without a flush by the user one happens at the end
 *   of the turn. Parts given to server_body are borrowed until the flush.
 *   server_end when everything was flushed gives `done`: the request is over, the user lets go of
 *   it; then the next request's head may follow (or the connection closes).
 *   server_abort: closes without a last chunk; no `done`, no `gone`.
 * While an answer is made, the connection keeps reading (carry-over), so that a client which leaves
 * is noticed at once: `gone`. EOF from the client means that it left: one that closes its sending
 * half and goes on reading cannot be told from it, and gets nothing more. After `gone` the user
 * lets go of the request and makes no call with it.
 * Framing: Content-Length when server_head gets a length; else chunked to 1.1 clients, and
 * close-delimited to 1.0 clients. HEAD requests and 204/304 send no body whatever is given.
 * Malformed input, oversized heads and slow heads are answered by the `refuse` event's user, in the
 * shape it likes: it is called with an error (BAD_HTTP, HEADERS_TOO_LARGE, REQUEST_TIMEOUT,
 * TOO_LARGE) and the message as far as it was read (path may be null), and must answer with
 * server_head/body/end; the connection closes after that answer. It may also come to a request
 * whose `head` was told (its body is malformed, or stopped coming): the user then drops what it had
 * begun for it, and answers; once an answer's head was sent, `gone` comes instead.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "http/message.h"
#include "io/loop.h"

struct conn;
struct server;
struct server_conn;

enum server_push { SERVER_OK, SERVER_FULL };

enum { SERVER_CARRY_MAX = 64 * 1024 };

struct server_events {
    /* The head is complete. m and its bytes live in server_arena(c). */
    void (*head)(struct server_conn *c, struct message *m);
    /* A piece of the (de-chunked) body; lent for the call. */
    void (*body)(struct server_conn *c, struct str bytes);
    void (*body_end)(struct server_conn *c);
    void (*writable)(struct server_conn *c); /* after SERVER_FULL */
    void (*done)(struct server_conn *c);
    void (*gone)(struct server_conn *c);
    void (*refuse)(struct server_conn *c, const struct message *m, const struct error *e);
    /* The connection is closed and about to be freed; always the last, for each one. */
    void (*closed)(struct server_conn *c);
};

struct server_options {
    const struct server_events *events; /* borrowed */
    void *ctx;                          /* server_ctx */
    size_t header_bytes_max;
    int64_t header_timeout_ms;
    int64_t body_idle_timeout_ms;
    int64_t keepalive_timeout_ms;
    int64_t write_timeout_ms;
    size_t arena_bytes_max;      /* of the request arena */
    struct arena_budget *budget; /* inflight_bytes_max's counter; may be NULL */
};

/* One per worker. options are copied. */
NODISCARD struct server *server_new(struct loop *loop, const struct server_options *options);
/* Changes limits and times, for the requests that begin from now on and the waits that do; events,
 * ctx and budget stay. */
void server_set_options(struct server *server, const struct server_options *options);
/* All its connections must be closed. Takes NULL. */
void server_free(struct server **server);
/* Stops keep-alive: each connection closes after its present answer or, where it has none, after
 * the next one. Idle ones stay open until then, or until server_close_idle or their time-out. */
void server_drain(struct server *server);
/* After server_drain: closes what has no request, heads that came in part included; also what is
 * adopted from now on. */
void server_close_idle(struct server *server);
/* Closes every connection at once; at the end of the turn `gone` comes for those with a request,
 * and `closed` for all. */
void server_close_all(struct server *server);
size_t server_conn_count(const struct server *server);
void *server_ctx(const struct server_conn *c);

/* Takes over an accepted connection and begins to read. */
void server_adopt(struct server *server, struct conn *conn);

/* The request's user data (the exchange); NULL at the request's begin. */
void server_set_user(struct server_conn *c, void *user);
void *server_user(const struct server_conn *c);
/* The request's arena: lives from head to done/gone. The user may server_arena_release it early,
 * when nothing in it is needed any more (streams: at commit); the message is gone then. */
struct arena *server_arena(struct server_conn *c);
void server_arena_release(struct server_conn *c);
/* From within `gone` only: moves the arena, with all that is in it, to *ret_arena, where a thread
 * may go on reading it. */
void server_arena_take(struct server_conn *c, struct arena *ret_arena);
struct str server_peer(const struct server_conn *c);
/* Whether the connection had a request before the present one, and whether it is a TLS one. */
bool server_served(const struct server_conn *c);
bool server_is_tls(const struct server_conn *c);
/* Of the request's first byte, microseconds, loop_now_us's clock. */
int64_t server_begin_us(const struct server_conn *c);
/* Whether that byte came in the present turn: what came since then was all there at once. */
bool server_began_now(const struct server_conn *c);

/* The body may come (sends 100 Continue when the client waits for it). */
void server_accept(struct server_conn *c);
/* Stops and resumes delivering the request's body (backpressure upwards). */
void server_pause(struct server_conn *c, bool pause);

/* Queues the head. headers: ready lines "Name: value\r\n…", without Content-Length,
 * Transfer-Encoding, Connection and Date (ours to add). length -1: unknown. Copied. */
void server_head(struct server_conn *c, int status, struct str headers, int64_t length);
bool server_head_sent(const struct server_conn *c);
/* Queues body bytes: one chunk for all that is queued up to the flush. Borrowed until the flush;
 * what the kernel does not take then is copied. Never more than the length that was declared. */
void server_body(struct server_conn *c, struct str bytes);
/* The answer is complete; what of the request's body has not come yet is for nobody. A body shorter
 * than its declared length closes the connection. */
void server_end(struct server_conn *c);
/* The answer breaks off here: what was given so far goes out, and then the connection closes
 * without last chunk, or short of the length; where its end would look like the answer's, by a
 * reset. `done` follows as after server_end. */
void server_break(struct server_conn *c);
/* The connection will close after this answer. */
void server_close_after(struct server_conn *c);
/* Body bytes not yet given to the kernel are above the mark: SERVER_FULL, `writable` follows. */
enum server_push server_flush(struct server_conn *c);
/* Closes at once, without last chunk. */
void server_abort(struct server_conn *c);
/* Bytes of body given to server_body so far in this answer. */
uint64_t server_body_bytes(const struct server_conn *c);
