/* SPDX-License-Identifier: MIT */
/*
 * The server's side: client connections, and one request at a time on each.
 *
 * What      Reads requests, tells the user, frames and sends answers, keeps the time-outs.
 * How       The two directions of a connection move independently.
 *
 *           input   IDLE ─► HEAD ─► HOLD ─accept─► BODY ─► DONE ─done─► IDLE
 *                                    └─end of the answer─► DROP ─► DONE
 *                   any ─refused, closing─► CLOSED (bytes are read and forgotten)
 *           answer  nothing ─server_head─► head sent ─server_end─► ended ─flushed─► `done`
 *
 *           `busy` holds from `head` or `refuse` to `done` or `gone`: the user has a request.
 *           Bytes that may not be parsed yet (HOLD, DONE, paused) wait in the carry-over; past
 *           SERVER_CARRY_MAX the connection stops reading until they are used. Meanwhile there is
 *           no other use for the input's timer: it looks each second whether the client has left.
 *           `done` and `closed` always come from the deferred run at the end of the turn; the
 *           memory of a connection is freed there and nowhere else, so that every call is legal
 *           in every event.
 *           A connection that must close while bytes may still come from the client lingers: FIN,
 *           then up to a second of reading, so that the kernel does not answer unread bytes with
 *           a reset that would destroy the answer on its way.
 * Owns      The connections (a free list of fixed-size structs); each its conn, its request arena
 *           and its carry-over, the last two only while a request needs them.
 * Not here  Reading requests (server_input, parse), composing (write), what a request means.
 */
#include "http/server.h"

#include "base/log.h"
#include "base/mem.h"
#include "http/server_priv.h"

enum {
    SPARE_CONNS_MAX = 1024,
    LINGER_MS = 1000,
    LINGER_BYTES_MAX = 1024 * 1024,
    /* Who sends the body of a request that was refused reads the answer when it is through. */
    LINGER_BODY_BYTES_MAX = 64 * 1024 * 1024,
    LINGER_BODY_ROUNDS = 10, /* of LINGER_MS, as long as bytes come */
    /* An unread rest of a body of at most so many bytes is read and dropped to save the
     * connection; beyond it, closing is cheaper. */
    DROP_BYTES_MAX = 64 * 1024,
    WRITE_LOOKS = 4, /* at the queue, in a write time-out */
};

static void conn_run(struct deferred *deferred);

static void wake(struct server_conn *c)
{
    if (!c->woken) {
        c->woken = true;
        loop_defer(c->server->loop, &c->deferred, conn_run);
    }
}

/* ---- closing ---- */

/* An answer was begun, and the conn has not yet taken the last byte of it. */
static bool answer_open(const struct server_conn *c)
{
    return c->head_sent && (!c->ended || c->batch != NULL);
}

/* The connection is over; its memory goes, and `closed` comes, at the end of the turn. */
static void drop(struct server_conn *c)
{
    /* Where the end of the connection is the end of the body, EOF would look like success. */
    if (c->conn != NULL && c->until_eof &&
        (c->broken || answer_open(c) || conn_queued(c->conn) > 0))
        conn_reset(&c->conn);
    timer_stop(&c->timer);
    timer_stop(&c->write_timer);
    write_give(&c->server->writes, &c->batch);
    conn_close(&c->conn);
    wake(c);
}

static void tell_gone(struct server_conn *c)
{
    if (!c->busy)
        return;
    c->busy = false;
    c->head_sent = false;
    c->ended = false;
    c->server->options.events->gone(c);
}

/* The client has left, or takes nothing. Only in an event of the loop. */
void server_lost(struct server_conn *c)
{
    drop(c);
    tell_gone(c);
}

static void conn_free(struct server_conn *c)
{
    struct server *server = c->server;

    assert(c->conn == NULL && !c->busy && !c->woken);
    server->options.events->closed(c);
    arena_fini(&c->arena);
    buf_fini(&c->carry);
    list_remove(&c->link);
    server->conn_count--;
    c->magic = 0;
    if (HAVE_ASAN || server->spare_n == SPARE_CONNS_MAX) {
        mem_free(c);
        return;
    }
    c->next_spare = server->spare;
    server->spare = c;
    server->spare_n++;
}

/* After the last answer. */
void server_finish(struct server_conn *c)
{
    bool all_read = c->input == INPUT_DONE && c->carry.n == 0;

    if (c->broken && c->until_eof) {
        drop(c);
        return;
    }
    /* TLS wants to say goodbye first. */
    if (all_read && conn_queued(c->conn) == 0 && !conn_is_tls(c->conn)) {
        drop(c);
        return;
    }
    bool body_comes = c->has_body && !c->body_ended;
    c->linger_bytes = body_comes ? LINGER_BODY_BYTES_MAX : LINGER_BYTES_MAX;
    c->linger_rounds = body_comes ? LINGER_BODY_ROUNDS : 1;
    c->input = INPUT_CLOSED;
    buf_fini(&c->carry);
    conn_shutdown(c->conn);
    if (!c->reading) {
        c->reading = true;
        conn_read_start(c->conn);
    }
    timer_start(&c->timer, LINGER_MS);
}

/* ---- writing ---- */

/* Bytes of ours that the kernel has taken. What TLS adds to a piece is in the queue but was never
 * given: as long as nothing is taken the number may fall, but not rise. */
static int64_t taken_now(const struct server_conn *c, size_t queued)
{
    return (int64_t)c->given - (int64_t)queued;
}

static void write_watch(struct server_conn *c)
{
    size_t queued = conn_queued(c->conn);

    if (queued == 0 || timer_armed(&c->write_timer))
        return;
    c->taken = taken_now(c, queued);
    c->taken_ms = loop_now_ms(c->server->loop);
    timer_start(&c->write_timer, c->server->options.write_timeout_ms / WRITE_LOOKS);
}

static void write_fire(struct timer *timer)
{
    struct server_conn *c = CONTAINER_OF(timer, struct server_conn, write_timer);
    const struct server_options *options = &c->server->options;
    int64_t now_ms = loop_now_ms(c->server->loop);

    server_check(c);
    size_t queued = conn_queued(c->conn);
    if (queued == 0)
        return;
    int64_t taken = taken_now(c, queued);
    if (taken > c->taken) {
        c->taken_ms = now_ms;
    } else if (now_ms - c->taken_ms >= options->write_timeout_ms) {
        server_lost(c);
        return;
    }
    c->taken = taken;
    timer_start(timer, options->write_timeout_ms / WRITE_LOOKS);
}

static struct write_batch *batch_of(struct server_conn *c)
{
    if (c->batch == NULL)
        c->batch = write_take(&c->server->writes);
    wake(c);
    return c->batch;
}

static void flush(struct server_conn *c)
{
    uint64_t bytes = 0;

    if (c->batch == NULL)
        return;
    if (write_send(c->batch, c->conn, c->chunked, c->ended && !c->broken, &bytes) == CONN_FULL)
        c->full = true;
    c->given += bytes;
    write_give(&c->server->writes, &c->batch);
    write_watch(c);
}

/* `done`, and on to the next request. Only in an event of the loop. */
static void answer_finish(struct server_conn *c)
{
    if (!c->ended || c->batch != NULL || c->full)
        return;
    assert(c->busy);
    c->busy = false;
    c->head_sent = false;
    c->ended = false;
    c->server->options.events->done(c);
    if (c->conn == NULL)
        return;
    server_input_forget(c);
    if (c->close_after)
        server_finish(c);
    else if (c->input == INPUT_DONE)
        server_input_idle(c);
}

/* The end of the turn. */
static void conn_run(struct deferred *deferred)
{
    struct server_conn *c = CONTAINER_OF(deferred, struct server_conn, deferred);

    server_check(c);
    c->woken = false;
    if (c->conn == NULL) {
        if (c->gone_due)
            tell_gone(c);
        conn_free(c);
        return;
    }
    flush(c);
    /* The end of the present request, or what is left of it, comes before `done`. */
    if (c->input == INPUT_DROP)
        server_input_resume(c);
    if (c->conn != NULL)
        answer_finish(c);
    if (c->conn != NULL)
        server_input_resume(c);
}

/* ---- time ---- */

static void linger_late(struct server_conn *c)
{
    bool more_came = c->dropped > c->linger_seen;

    c->linger_seen = c->dropped;
    if (c->linger_rounds > 0)
        c->linger_rounds--;
    if (conn_queued(c->conn) > 0 || (more_came && c->linger_rounds > 0))
        timer_start(&c->timer, LINGER_MS);
    else if (!c->busy)
        drop(c);
}

static void input_fire(struct timer *timer)
{
    struct server_conn *c = CONTAINER_OF(timer, struct server_conn, timer);

    server_check(c);
    assert(c->conn != NULL);
    if (!c->reading) {
        server_input_look(c);
        return;
    }
    switch ((enum input)c->input) {
    case INPUT_IDLE:
        drop(c);
        break;
    case INPUT_HEAD:
    case INPUT_BODY:
    case INPUT_DROP:
        /* It may still be the keep-alive time-out, from before the request. */
        if (c->timed)
            server_input_late(c);
        break;
    case INPUT_CLOSED:
        linger_late(c);
        break;
    case INPUT_HOLD:
    case INPUT_DONE:
        break;
    }
}

/* ---- events of the conn ---- */

static void conn_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct server_conn *c = NULL;

    CAST(c, ctx, SERVER_CONN_MAGIC);
    assert(c->conn == conn);
    if (c->input == INPUT_CLOSED) {
        c->dropped += bytes.n;
        if (c->dropped > c->linger_bytes && !c->busy && conn_queued(conn) == 0)
            drop(c);
        return;
    }
    if (c->carry.n == 0)
        server_input_consume(c, &bytes);
    if (c->conn != NULL && bytes.n > 0 && c->input != INPUT_CLOSED)
        server_input_carry(c, bytes);
    if (c->conn != NULL)
        server_check(c);
}

static void conn_eof(struct conn *conn, void *ctx)
{
    struct server_conn *c = NULL;

    CAST(c, ctx, SERVER_CONN_MAGIC);
    assert(c->conn == conn);
    /* Having sent FIN, the client may still be taking the end of the answer. */
    if (!c->busy && c->input == INPUT_CLOSED && conn_queued(conn) > 0)
        return;
    server_lost(c);
}

static void conn_writable(struct conn *conn, void *ctx)
{
    struct server_conn *c = NULL;

    CAST(c, ctx, SERVER_CONN_MAGIC);
    assert(c->conn == conn);
    c->full = false;
    if (c->ended) {
        wake(c);
        return;
    }
    if (c->busy && c->head_sent)
        c->server->options.events->writable(c);
}

static void conn_failed(struct conn *conn, void *ctx, const struct error *e)
{
    struct server_conn *c = NULL;

    CAST(c, ctx, SERVER_CONN_MAGIC);
    assert(c->conn == conn);
    assert(e->code != OK);
    LOG(HTTP, DEBUG, "client.broken", F_STR("peer", conn_peer(conn)), F_Z("detail", e->detail));
    server_lost(c);
}

static const struct conn_events server_conn_events = {
    .read = conn_read,
    .eof = conn_eof,
    .writable = conn_writable,
    .failed = conn_failed,
};

/* ---- the server ---- */

static void options_check(const struct server_options *options)
{
    assert(options->header_bytes_max > 0 && options->arena_bytes_max > 0);
    assert(options->header_timeout_ms > 0 && options->body_idle_timeout_ms > 0);
    assert(options->keepalive_timeout_ms > 0 && options->write_timeout_ms > 0);
}

struct server *server_new(struct loop *loop, const struct server_options *options)
{
    struct server *server = mem_new(sizeof(*server));

    options_check(options);
    server->magic = SERVER_MAGIC;
    server->loop = loop;
    server->options = *options;
    list_init(&server->conns);
    write_pool_init(&server->writes);
    return server;
}

void server_set_options(struct server *server, const struct server_options *options)
{
    assert(server->magic == SERVER_MAGIC);
    options_check(options);
    assert(options->events == server->options.events && options->ctx == server->options.ctx);
    assert(options->budget == server->options.budget);
    server->options = *options;
}

void server_free(struct server **server)
{
    struct server *s = *server;

    if (s == NULL)
        return;
    assert(s->magic == SERVER_MAGIC);
    assert(list_empty(&s->conns));
    while (s->spare != NULL) {
        struct server_conn *c = s->spare;
        s->spare = c->next_spare;
        mem_free(c);
    }
    write_pool_fini(&s->writes);
    mem_free(s);
    *server = NULL;
}

void server_drain(struct server *server)
{
    server->draining = true;
    LIST_FOREACH(link, &server->conns)
    {
        LIST_ENTRY(link, struct server_conn, link)->close_after = true;
    }
}

void server_close_idle(struct server *server)
{
    assert(server->draining);
    server->closing_idle = true;
    LIST_FOREACH(link, &server->conns)
    {
        struct server_conn *c = LIST_ENTRY(link, struct server_conn, link);
        if (c->conn == NULL || c->busy)
            continue;
        if (c->input == INPUT_IDLE || c->input == INPUT_HEAD)
            drop(c);
        else if (c->input == INPUT_DROP)
            server_finish(c);
    }
}

void server_close_all(struct server *server)
{
    LIST_FOREACH(link, &server->conns)
    {
        struct server_conn *c = LIST_ENTRY(link, struct server_conn, link);
        drop(c);
        c->gone_due = true;
    }
}

size_t server_conn_count(const struct server *server)
{
    return server->conn_count;
}

void *server_ctx(const struct server_conn *c)
{
    return c->server->options.ctx;
}

void server_adopt(struct server *server, struct conn *conn)
{
    struct server_conn *c = server->spare;

    assert(server->magic == SERVER_MAGIC);
    if (c != NULL) {
        server->spare = c->next_spare;
        server->spare_n--;
        memset(c, 0, sizeof(*c));
    } else {
        c = mem_new(sizeof(*c));
    }
    c->magic = SERVER_CONN_MAGIC;
    c->server = server;
    c->conn = conn;
    c->close_after = server->draining;
    list_init(&c->link);
    list_push_back(&server->conns, &c->link);
    server->conn_count++;
    timer_init(&c->timer, server->loop, input_fire);
    timer_init(&c->write_timer, server->loop, write_fire);
    buf_init(&c->carry, SERVER_CARRY_MAX + CONN_READ_MAX);
    arena_init(&c->arena, server->options.arena_bytes_max, ARENA_BLOCK, server->options.budget);
    parse_init(&c->parser, PARSE_REQUEST, server->options.header_bytes_max);
    conn_set_events(conn, &server_conn_events, c);
    c->reading = true;
    conn_read_start(conn);
    timer_start(&c->timer, server->options.header_timeout_ms);
    if (server->closing_idle)
        drop(c);
    server_check(c);
}

/* ---- calls on a request ---- */

void server_set_user(struct server_conn *c, void *user)
{
    c->user = user;
}

void *server_user(const struct server_conn *c)
{
    return c->user;
}

struct arena *server_arena(struct server_conn *c)
{
    return &c->arena;
}

void server_arena_release(struct server_conn *c)
{
    assert(c->busy);
    c->message_gone = true;
    arena_reset(&c->arena);
}

void server_arena_take(struct server_conn *c, struct arena *ret_arena)
{
    const struct server_options *options = &c->server->options;

    assert(!c->busy && arena_bytes(ret_arena) == 0);
    c->message_gone = true;
    *ret_arena = c->arena;
    arena_init(&c->arena, options->arena_bytes_max, ARENA_BLOCK, options->budget);
}

struct str server_peer(const struct server_conn *c)
{
    return c->conn == NULL ? STR("") : conn_peer(c->conn);
}

bool server_served(const struct server_conn *c)
{
    return c->served;
}

bool server_is_tls(const struct server_conn *c)
{
    return c->conn != NULL && conn_is_tls(c->conn);
}

int64_t server_begin_us(const struct server_conn *c)
{
    return c->begin_us;
}

bool server_began_now(const struct server_conn *c)
{
    return c->begin_turn == loop_turn(c->server->loop);
}

void server_accept(struct server_conn *c)
{
    static const struct str go_on = {.p = "HTTP/1.1 100 Continue\r\n\r\n", .n = 25};

    assert(c->busy);
    if (c->conn == NULL || c->input != INPUT_HOLD)
        return;
    c->input = INPUT_BODY;
    /* RFC 9110, 10.1.1: a server MAY omit it when it has begun to receive the content. */
    if (c->expects && !c->more_came && c->carry.n == 0 && !c->head_sent) {
        if (conn_write(c->conn, &go_on, 1) == CONN_FULL)
            c->full = true;
        c->given += go_on.n;
        write_watch(c);
    }
    c->expects = false;
    /* In the head event itself, parsing goes on by itself. */
    wake(c);
}

void server_pause(struct server_conn *c, bool pause)
{
    assert(c->busy);
    if (c->paused == pause)
        return;
    c->paused = pause;
    c->read_ms = loop_now_ms(c->server->loop);
    if (!pause)
        wake(c);
}

/* Whether the connection can be used for another request after the present one. */
static bool body_will_end(const struct server_conn *c)
{
    if (c->input == INPUT_DONE || !c->has_body)
        return true;
    return c->has_length && c->body_left <= DROP_BYTES_MAX && !c->expects;
}

static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

/* How the answer is framed, and whether the connection can be used again after it. */
static void answer_frame(struct server_conn *c, int status, int64_t length)
{
    c->no_body = c->is_head || !status_has_body(status);
    c->length_known = length >= 0;
    c->answer_length = length >= 0 ? (uint64_t)length : 0;
    c->answer_bytes = 0;
    c->chunked = length < 0 && c->minor_1 && !c->no_body;
    c->until_eof = length < 0 && !c->chunked && !c->no_body;
    if (c->input == INPUT_CLOSED || !c->keep_alive || !body_will_end(c) || c->until_eof)
        c->close_after = true;
}

void server_head(struct server_conn *c, int status, struct str headers, int64_t length)
{
    assert(c->busy && !c->head_sent);
    assert(length >= -1);
    c->head_sent = true;
    answer_frame(c, status, length);
    if (c->conn == NULL)
        return;

    struct write_head head = {
        .status = status,
        .headers = headers,
        /* RFC 9110, 8.6: never in 1xx and 204; a 304 would need the length of what is not sent. */
        .has_length = c->length_known && status_has_body(status),
        .length = c->answer_length,
        .chunked = c->chunked,
        .connection = c->minor_1 ? STR_NULL : STR("keep-alive"),
    };
    if (c->close_after)
        head.connection = STR("close");
    write_head(&c->server->writes, batch_of(c), &head, loop_wall_ms(c->server->loop));
}

bool server_head_sent(const struct server_conn *c)
{
    return c->head_sent;
}

void server_body(struct server_conn *c, struct str bytes)
{
    assert(c->busy && c->head_sent && !c->ended);
    if (bytes.n == 0)
        return;
    c->answer_bytes += bytes.n;
    assert(!c->length_known || c->answer_bytes <= c->answer_length);
    if (c->conn != NULL && !c->no_body)
        write_body(batch_of(c), bytes);
}

void server_end(struct server_conn *c)
{
    assert(c->busy && c->head_sent && !c->ended);
    c->ended = true;
    if (c->length_known && c->answer_bytes < c->answer_length && !c->no_body)
        c->close_after = true;
    if (c->input == INPUT_HOLD || c->input == INPUT_BODY) {
        c->input = INPUT_DROP;
        c->paused = false;
    }
    if (c->conn == NULL)
        return;
    if (c->chunked)
        (void)batch_of(c);
    wake(c);
}

void server_break(struct server_conn *c)
{
    c->broken = true;
    c->close_after = true;
    server_end(c);
}

void server_close_after(struct server_conn *c)
{
    assert(c->busy);
    c->close_after = true;
}

enum server_push server_flush(struct server_conn *c)
{
    assert(c->busy);
    if (c->conn == NULL)
        return SERVER_OK;
    flush(c);
    return c->full ? SERVER_FULL : SERVER_OK;
}

void server_abort(struct server_conn *c)
{
    assert(c->busy);
    drop(c);
    c->busy = false;
    c->head_sent = false;
    c->ended = false;
}

uint64_t server_body_bytes(const struct server_conn *c)
{
    return c->answer_bytes;
}
