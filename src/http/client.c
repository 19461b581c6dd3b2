/* SPDX-License-Identifier: MIT */
/*
 * The client's side: upstream connections, one request at a time on each, and their pools.
 *
 * What      Sends requests, reads answers, keeps connections for the next request.
 * How       A struct client_request is a connection and the request on it; between requests it
 *           waits in its pool's idle list. It has a place in the count of open connections from
 *           its birth to its end.
 *
 *           (new) ─► CONNECTING ─► SENDING ─► SENT ─► ENDED ─batch─► IDLE ─client_start─► SENDING
 *                        └──────────┴──────────┴──► OVER (failed, cancelled), freed
 *
 *           An answer may begin while SENDING. One of 400 and above ends the sending; after any
 *           other the rest is sent on. If it ends before that, the connection is not used again.
 *           Memory is freed when the event that is running returns (`in_event`), so every call is
 *           legal in every event.
 *           The silence time-out is not re-armed by each read: a read notes the time, and the
 *           timer, when it fires, goes on for the rest.
 * Owns      The connections; the pool owns all its client_requests. One thread.
 * Not here  What is sent and what the answer means; retries other than the one of a stale
 *           connection.
 */
#include "http/client.h"

#include "http/client_priv.h"

enum {
    SEND_PARTS = 128, /* in one writev */
    STALE_MS = 1000,  /* contract: a reused connection that fails so soon is replaced */
};

static const struct conn_events client_conn_events;

static void event_begin(struct client_request *r)
{
    client_check(r);
    assert(!r->in_event);
    r->in_event = true;
}

static void event_end(struct client_request *r)
{
    assert(r->in_event);
    r->in_event = false;
    if (r->state == CLIENT_OVER)
        client_pool_give(r);
}

/* ---- failing ---- */

void client_tell_batch(struct client_request *r)
{
    if (!r->batch_due || r->state == CLIENT_OVER)
        return;
    r->batch_due = false;
    r->call.events->batch(r, r->call.ctx);
}

void client_fail(struct client_request *r, const struct error *e)
{
    const struct client_call call = r->call;

    assert(r->in_event);
    if (r->state == CLIENT_IDLE) {
        client_pool_close(r);
        return;
    }
    /* Bytes that were told in this event are let go of first. */
    client_tell_batch(r);
    if (r->state == CLIENT_OVER)
        return;
    client_pool_close(r);
    call.events->failed(r, call.ctx, e);
}

static void request_connect(struct client_request *r);

/* The connection is lost: was it stale, or has the request failed? */
static void request_lost(struct client_request *r, const struct error *e)
{
    bool unsent = r->state == CLIENT_SENDING;
    int64_t now_ms = loop_now_ms(r->pool->loop);

    if (r->reused && !r->replaced && !r->answered &&
        (unsent || (r->state == CLIENT_SENT && now_ms - r->sent_ms <= STALE_MS))) {
        assert(r->upload == NULL);
        r->replaced = true;
        r->reused = false;
        conn_close(&r->conn);
        request_connect(r);
        return;
    }
    client_fail(r, e);
}

/* ---- sending ---- */

static struct str part_of(const struct client_request *r, size_t i)
{
    return i == 0 ? r->call.head : r->call.body[i - 1];
}

/* The next parts to be sent; their total. */
static size_t send_gather(const struct client_request *r, struct str parts[SEND_PARTS],
                          size_t *ret_n)
{
    size_t offset = r->offset;
    size_t total = 0;
    size_t n = 0;

    for (size_t i = r->part; i <= r->call.body_n && n < SEND_PARTS; i++) {
        struct str part = str_from(part_of(r, i), offset);
        offset = 0;
        if (part.n == 0)
            continue;
        parts[n++] = part;
        total += part.n;
    }
    *ret_n = n;
    return total;
}

static void send_advance(struct client_request *r, size_t taken)
{
    while (r->part <= r->call.body_n) {
        size_t left = part_of(r, r->part).n - r->offset;
        if (left > taken) {
            r->offset += taken;
            return;
        }
        taken -= left;
        r->offset = 0;
        r->part++;
    }
    assert(taken == 0);
}

void client_tell_sent(struct client_request *r)
{
    if (r->state != CLIENT_SENT || r->sent_told)
        return;
    r->sent_told = true;
    if (r->call.events->sent != NULL)
        r->call.events->sent(r, r->call.ctx);
}

/* The end of a read: what was made of it goes out, and whoever is done with the connection goes. */
static void read_end(struct client_request *r)
{
    client_tell_batch(r);
    if (r->state == CLIENT_ENDED)
        client_pool_park(r);
}

static bool is_reading(const struct client_request *r)
{
    return (r->state == CLIENT_SENDING || r->state == CLIENT_SENT) && !r->paused;
}

/* What was put off to this turn's end. */
static void request_run(struct deferred *deferred)
{
    struct client_request *r = CONTAINER_OF(deferred, struct client_request, deferred);
    struct error e;

    event_begin(r);
    if (r->conn == NULL && r->tunnel == NULL) {
        (void)FAIL(&e, ERR_UPSTREAM_UNREACHABLE, "there is nothing to connect to");
        client_fail(r, &e);
    } else {
        client_send_flush(r);
        client_tell_sent(r);
    }
    if (is_reading(r) && client_answer_is_held(r)) {
        client_answer_resume(r);
        read_end(r);
        if (is_reading(r) && !client_answer_is_held(r))
            conn_read_start(r->conn);
    }
    event_end(r);
}

void client_run_soon(struct client_request *r)
{
    loop_defer(r->pool->loop, &r->deferred, request_run);
}

void client_sent(struct client_request *r)
{
    assert(r->state == CLIENT_SENDING);
    r->state = CLIENT_SENT;
    r->sent_ms = loop_now_ms(r->pool->loop);
    if (!r->sent_told)
        client_run_soon(r);
}

/* As much as the conn takes. */
static void request_send(struct client_request *r)
{
    UNINITIALIZED struct str parts[SEND_PARTS];
    size_t n = 0;

    assert(r->state == CLIENT_SENDING);
    for (;;) {
        size_t total = send_gather(r, parts, &n);
        if (total == 0)
            break;
        size_t taken = total;
        if (r->big)
            taken = conn_write_some(r->conn, parts, n);
        else
            (void)conn_write(r->conn, parts, n);
        assert(taken <= total);
        send_advance(r, taken);
        if (taken < total)
            return; /* `writable` follows */
    }
    if (client_send_go_on(r))
        client_sent(r);
}

/* The connection stands: the silence time-out begins. */
static void request_begin(struct client_request *r)
{
    const struct client_pool_options *options = &r->pool->options;

    r->state = CLIENT_SENDING;
    r->read_ms = loop_now_ms(r->pool->loop);
    timer_start(&r->timer, options->silence_timeout_ms);
    request_send(r);
}

static struct conn_target request_target(const struct client_pool *pool)
{
    const struct client_pool_options *options = &pool->options;

    if (options->forward != NULL)
        return forward_target(options->forward);
    return (struct conn_target){
        .host = str_c(pool->host),
        .port = options->port,
        .tls = options->tls,
        .connect_timeout_ms = options->connect_timeout_ms,
        .filter = options->filter,
    };
}

/* The connection stands, ready for the request. */
static void request_stands(struct client_request *r)
{
    assert(r->state == CLIENT_CONNECTING);
    if (!r->paused)
        conn_read_start(r->conn);
    request_begin(r);
}

static void tell_connected(struct client_request *r)
{
    if (r->state != CLIENT_OVER && r->call.events->connected != NULL)
        r->call.events->connected(r, r->call.ctx);
}

static void tunnel_stands(void *ctx, struct conn *conn)
{
    struct client_request *r = NULL;

    CAST(r, ctx, CLIENT_MAGIC);
    event_begin(r);
    r->tunnel = NULL;
    r->conn = conn;
    conn_set_events(conn, &client_conn_events, r);
    tell_connected(r);
    if (r->state == CLIENT_CONNECTING)
        request_stands(r);
    event_end(r);
}

static void tunnel_failed(void *ctx, const struct error *e)
{
    struct client_request *r = NULL;

    CAST(r, ctx, CLIENT_MAGIC);
    event_begin(r);
    r->tunnel = NULL;
    client_fail(r, e);
    event_end(r);
}

static const struct forward_tunnel_events client_tunnel_events = {
    .stands = tunnel_stands,
    .failed = tunnel_failed,
};

static void request_connect(struct client_request *r)
{
    struct client_pool *pool = r->pool;
    const struct client_pool_options *options = &pool->options;
    struct conn *lower = NULL;

    r->state = CLIENT_CONNECTING;
    r->part = 0;
    r->offset = 0;
    timer_stop(&r->timer);
    parse_init(&r->parser, PARSE_ANSWER, options->header_bytes_max);
    if (options->connect != NULL) {
        lower = options->connect(options->connect_ctx, pool->loop);
        if (lower == NULL) {
            client_run_soon(r);
            return;
        }
    }
    if (options->forward != NULL && forward_tunnels(options->forward)) {
        r->tunnel = forward_tunnel_new(options->forward, pool->loop, lower, r->call.arena,
                                       &client_tunnel_events, r);
    } else if (lower != NULL) {
        r->conn = lower;
        conn_set_events(r->conn, &client_conn_events, r);
        request_stands(r);
    } else {
        const struct conn_target target = request_target(pool);
        r->conn = conn_connect(pool->loop, &target, &client_conn_events, r);
    }
}

static void event_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct client_request *r = NULL;

    CAST(r, ctx, CLIENT_MAGIC);
    assert(r->conn == conn);
    event_begin(r);
    if (r->state == CLIENT_IDLE) {
        client_pool_close(r);
    } else {
        assert(r->state == CLIENT_SENDING || r->state == CLIENT_SENT);
        r->read_ms = loop_now_ms(r->pool->loop);
        client_answer_read(r, bytes);
        read_end(r);
    }
    event_end(r);
}

static void event_eof(struct conn *conn, void *ctx)
{
    struct client_request *r = NULL;
    struct error e;

    CAST(r, ctx, CLIENT_MAGIC);
    assert(r->conn == conn);
    event_begin(r);
    if (r->state == CLIENT_IDLE) {
        client_pool_close(r);
    } else if (!r->answered) {
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "the connection closed before any answer");
        request_lost(r, &e);
    } else {
        client_answer_eof(r);
        read_end(r);
    }
    event_end(r);
}

static void event_failed(struct conn *conn, void *ctx, const struct error *cause)
{
    struct client_request *r = NULL;
    struct error e;

    CAST(r, ctx, CLIENT_MAGIC);
    assert(r->conn == conn);
    event_begin(r);
    if (r->state == CLIENT_IDLE) {
        client_pool_close(r);
    } else if (r->state == CLIENT_CONNECTING) {
        e = *cause;
        if (r->pool->options.forward != NULL)
            (void)FAIL(&e, cause->code, "the proxy %.*s: %.150s",
                       STR_ARG(forward_name(r->pool->options.forward)), cause->detail);
        client_fail(r, &e);
    } else {
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "the connection broke %s: %s",
                   r->answered ? "inside the answer" : "before any answer", cause->detail);
        request_lost(r, &e);
    }
    event_end(r);
}

static void event_connected(struct conn *conn, void *ctx)
{
    struct client_request *r = NULL;

    CAST(r, ctx, CLIENT_MAGIC);
    assert(r->conn == conn);
    event_begin(r);
    tell_connected(r);
    if (r->state == CLIENT_CONNECTING)
        request_stands(r);
    event_end(r);
}

static void event_writable(struct conn *conn, void *ctx)
{
    struct client_request *r = NULL;

    CAST(r, ctx, CLIENT_MAGIC);
    assert(r->conn == conn);
    event_begin(r);
    r->read_ms = loop_now_ms(r->pool->loop);
    if (r->state == CLIENT_SENDING && !r->refused)
        request_send(r);
    event_end(r);
}

static const struct conn_events client_conn_events = {
    .connected = event_connected,
    .read = event_read,
    .eof = event_eof,
    .writable = event_writable,
    .failed = event_failed,
};

static void request_fire(struct timer *timer)
{
    struct client_request *r = CONTAINER_OF(timer, struct client_request, timer);
    const struct client_pool_options *options = &r->pool->options;
    struct error e;

    event_begin(r);
    if (r->state == CLIENT_IDLE) {
        client_pool_close(r);
    } else {
        int64_t left_ms = r->read_ms + options->silence_timeout_ms - loop_now_ms(r->pool->loop);
        if (r->paused || client_send_waits(r))
            left_ms = options->silence_timeout_ms;
        if (left_ms > 0) {
            timer_start(timer, left_ms);
        } else {
            (void)FAIL(&e, ERR_UPSTREAM_TIMEOUT, "no byte came for %lld ms (proxy_timeout)",
                       (long long)options->silence_timeout_ms);
            client_fail(r, &e);
        }
    }
    event_end(r);
}

/* ---- calls ---- */

static void request_set(struct client_request *r, const struct client_call *call)
{
    size_t total = call->head.n;

    for (size_t i = 0; i < call->body_n; i++)
        total += call->body[i].n;
    r->call = *call;
    r->big = total > CONN_QUEUE_MARK;
    r->part = 0;
    r->offset = 0;
    r->replaced = false;
    r->answered = false;
    r->interim = false;
    r->refused = false;
    r->sent_told = false;
    r->batch_due = false;
    r->keep = false;
    r->paused = false;
    client_send_begin(r);
}

static enum error_code overloaded(const struct client_pool *pool, struct error *e)
{
    return FAIL(e, ERR_OVERLOADED,
                "all %zu connections to the backend are in use (upstream_connections_max)",
                pool->options.connections_max);
}

static enum error_code no_room(const struct arena *arena, struct error *e)
{
    if (arena_over_budget(arena))
        return FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    return FAIL(e, ERR_TOO_LARGE, "the request's head takes too much memory");
}

/* A proxy that makes no tunnel gets the request in a form of its own. */
static enum error_code proxy_head(const struct client_pool *pool, struct client_call *call,
                                  struct error *e)
{
    const struct forward *forward = pool->options.forward;

    if (forward == NULL || forward_tunnels(forward))
        return OK;
    call->head = forward_head(forward, call->head, call->arena);
    if (!arena_overflowed(call->arena))
        return OK;
    return no_room(call->arena, e);
}

enum error_code client_start(struct client_pool *pool, const struct client_call *call,
                             struct client_request **ret_request, struct error *e)
{
    struct client_request *r = NULL;
    struct client_call sent = *call;

    assert(pool->magic == CLIENT_POOL_MAGIC);
    assert(call->head.n > 0 && call->arena != NULL);
    assert(call->body != NULL || call->body_n == 0);
    TRY(proxy_head(pool, &sent, e));
    if (!client_send_frame(&sent))
        return no_room(call->arena, e);
    if (!client_pool_request_up(pool))
        return overloaded(pool, e);
    /* A body that comes piece by piece cannot be sent again if the connection was just closing: it
     * gets a new one, in the place of the one that would close next. */
    if (call->more)
        client_pool_drop_oldest(pool);
    if (!list_empty(&pool->idle) && !call->more) {
        r = LIST_ENTRY(pool->idle.next, struct client_request, link);
        list_remove(&r->link);
        pool->idle_count--;
        pool->running_count++;
        r->reused = true;
        request_set(r, &sent);
        request_begin(r);
        *ret_request = r;
        return OK;
    }
    if (!client_pool_connection_up(pool)) {
        client_pool_request_down(pool);
        return overloaded(pool, e);
    }
    r = client_pool_take(pool);
    timer_init(&r->timer, pool->loop, request_fire);
    pool->running_count++;
    request_set(r, &sent);
    request_connect(r);
    *ret_request = r;
    return OK;
}

bool client_is_connecting(const struct client_request *r)
{
    assert(r->magic == CLIENT_MAGIC);
    return r->state == CLIENT_CONNECTING;
}

void client_cancel(struct client_request **request)
{
    struct client_request *r = *request;

    if (r == NULL)
        return;
    *request = NULL;
    assert(r->magic == CLIENT_MAGIC);
    assert(r->state != CLIENT_IDLE);
    if (r->state == CLIENT_OVER)
        return; /* in its `failed` event */
    client_pool_close(r);
    if (!r->in_event)
        client_pool_give(r);
}

void client_pause(struct client_request *request, bool pause)
{
    struct client_request *r = request;

    assert(r->magic == CLIENT_MAGIC);
    assert(r->state != CLIENT_IDLE);
    if (r->paused == pause || r->state == CLIENT_OVER)
        return;
    r->paused = pause;
    r->read_ms = loop_now_ms(r->pool->loop);
    if (r->state == CLIENT_CONNECTING || r->conn == NULL)
        return;
    if (pause)
        conn_read_stop(r->conn);
    else if (client_answer_is_held(r))
        client_run_soon(r);
    else
        conn_read_start(r->conn);
}
