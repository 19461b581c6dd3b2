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
 *           An answer may begin while SENDING: then the rest of the request is not sent (its bytes
 *           are borrowed until `head` only) and the connection is not used again.
 *           Memory is freed when the event that is running returns (`in_event`), so every call is
 *           legal in every event.
 *           The silence time-out is not re-armed by each read: a read notes the time, and the
 *           timer, when it fires, goes on for the rest.
 * Owns      The connections; the pool owns all its client_requests. One thread.
 * Not here  What is sent and what the answer means; retries other than the one of a stale
 *           connection.
 */
#include "http/client.h"

#include "base/mem.h"
#include "http/parse.h"
#include "io/conn.h"

enum {
    CLIENT_POOL_MAGIC = 0x43504f4c,
    CLIENT_MAGIC = 0x434c4e54,
    SEND_PARTS = 128, /* in one writev */
    SPARE_MAX = 256,
    STALE_MS = 1000, /* contract: a reused connection that fails so soon is replaced */
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
};

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
    bool big; /* too much for the conn's queue */
    struct client_pool *pool;
    struct conn *conn;
    struct list link; /* pool's idle or spare */
    struct timer timer;
    struct deferred deferred;
    struct client_call call;
    size_t part; /* sending stands here: 0 the head, then the pieces of the body */
    size_t offset;
    int64_t read_ms; /* of the last sign of life */
    int64_t sent_ms;
    struct parser parser;
};

_Static_assert(sizeof(struct client_request) <= 640, "a silent stream is little more than this");

static const struct conn_events client_conn_events;

static void request_check(const struct client_request *r)
{
    assert(r->magic == CLIENT_MAGIC);
    assert(r->pool->magic == CLIENT_POOL_MAGIC);
    assert(r->state != CLIENT_IDLE || r->conn != NULL);
    assert(r->part <= r->call.body_n + 1);
}

/* ---- life of a connection ---- */

static struct client_request *request_new(struct client_pool *pool)
{
    struct client_request *r = NULL;

    if (!list_empty(&pool->spare)) {
        r = LIST_ENTRY(pool->spare.next, struct client_request, link);
        list_remove(&r->link);
        pool->spare_count--;
        memset(r, 0, sizeof(*r));
    } else {
        r = mem_new(sizeof(*r));
    }
    r->magic = CLIENT_MAGIC;
    r->pool = pool;
    list_init(&r->link);
    return r;
}

static void request_free(struct client_request *r)
{
    struct client_pool *pool = r->pool;

    assert(r->state == CLIENT_OVER && r->conn == NULL);
    assert(!timer_armed(&r->timer));
    r->magic = 0;
    if (HAVE_ASAN || pool->spare_count == SPARE_MAX) {
        mem_free(r);
        return;
    }
    list_push_front(&pool->spare, &r->link);
    pool->spare_count++;
}

static void count_down(atomic_size_t *count)
{
    if (count != NULL)
        atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
}

/* False: it was at the limit, and stays there. */
static bool count_up(atomic_size_t *count, size_t max)
{
    if (count == NULL || atomic_fetch_add_explicit(count, 1, memory_order_relaxed) < max)
        return true;
    count_down(count);
    return false;
}

/* A place for a new connection whose request has its own already. */
static bool connection_up(const struct client_pool *pool)
{
    const struct client_pool_options *options = &pool->options;

    if (count_up(options->connections, options->connections_max))
        return true;
    if (options->busy == NULL)
        return false;
    /* The places are taken by connections that other pools keep for later. */
    atomic_fetch_add_explicit(options->connections, 1, memory_order_relaxed);
    options->crowded(options->connect_ctx);
    return true;
}

static bool over_limit(const struct client_pool *pool)
{
    const struct client_pool_options *options = &pool->options;

    return options->connections != NULL &&
           atomic_load_explicit(options->connections, memory_order_relaxed) >
               options->connections_max;
}

/* The connection is over, and whatever was on it. */
static void request_close(struct client_request *r)
{
    struct client_pool *pool = r->pool;

    assert(r->state != CLIENT_OVER);
    if (r->state == CLIENT_IDLE) {
        list_remove(&r->link);
        pool->idle_count--;
    } else {
        assert(pool->running_count > 0);
        pool->running_count--;
        if (r->state != CLIENT_ENDED)
            count_down(pool->options.busy);
    }
    r->state = CLIENT_OVER;
    conn_close(&r->conn);
    timer_stop(&r->timer);
    loop_undefer(&r->deferred);
    count_down(pool->options.connections);
}

/* After `end` and its batch: back to the pool, or closed. */
static void request_park(struct client_request *r)
{
    struct client_pool *pool = r->pool;

    assert(r->state == CLIENT_ENDED);
    if (!r->keep || pool->draining || pool->options.idle_timeout_ms == 0 || over_limit(pool)) {
        request_close(r);
        return;
    }
    pool->running_count--;
    pool->idle_count++;
    r->state = CLIENT_IDLE;
    r->call = (struct client_call){0};
    r->part = 0;
    loop_undefer(&r->deferred);
    list_push_front(&pool->idle, &r->link);
    if (r->paused)
        conn_read_start(r->conn);
    timer_start(&r->timer, pool->options.idle_timeout_ms);
}

static void event_begin(struct client_request *r)
{
    request_check(r);
    assert(!r->in_event);
    r->in_event = true;
}

static void event_end(struct client_request *r)
{
    assert(r->in_event);
    r->in_event = false;
    if (r->state == CLIENT_OVER)
        request_free(r);
}

/* ---- failing ---- */

static void tell_batch(struct client_request *r)
{
    if (!r->batch_due || r->state == CLIENT_OVER)
        return;
    r->batch_due = false;
    r->call.events->batch(r, r->call.ctx);
}

static void request_fail(struct client_request *r, const struct error *e)
{
    const struct client_call call = r->call;

    assert(r->in_event);
    if (r->state == CLIENT_IDLE) {
        request_close(r);
        return;
    }
    /* Bytes that were told in this event are let go of first. */
    tell_batch(r);
    if (r->state == CLIENT_OVER)
        return;
    request_close(r);
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
        r->replaced = true;
        r->reused = false;
        conn_close(&r->conn);
        request_connect(r);
        return;
    }
    request_fail(r, e);
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

static void tell_sent(struct client_request *r)
{
    if (r->state != CLIENT_SENT || r->sent_told)
        return;
    r->sent_told = true;
    if (r->call.events->sent != NULL)
        r->call.events->sent(r, r->call.ctx);
}

static void request_run(struct deferred *deferred)
{
    struct client_request *r = CONTAINER_OF(deferred, struct client_request, deferred);
    struct error e;

    event_begin(r);
    if (r->conn == NULL) {
        (void)FAIL(&e, ERR_UPSTREAM_UNREACHABLE, "there is nothing to connect to");
        request_fail(r, &e);
    } else {
        tell_sent(r);
    }
    event_end(r);
}

/* As much as the conn takes. */
static void request_send(struct client_request *r)
{
    struct str parts[SEND_PARTS];
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
    r->state = CLIENT_SENT;
    r->sent_ms = loop_now_ms(r->pool->loop);
    if (!r->sent_told)
        loop_defer(r->pool->loop, &r->deferred, request_run);
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

static void request_connect(struct client_request *r)
{
    struct client_pool *pool = r->pool;
    const struct client_pool_options *options = &pool->options;

    r->state = CLIENT_CONNECTING;
    r->part = 0;
    r->offset = 0;
    timer_stop(&r->timer);
    parse_init(&r->parser, PARSE_ANSWER, options->header_bytes_max);
    if (options->connect == NULL) {
        const struct conn_target target = {
            .host = str_c(pool->host),
            .port = options->port,
            .tls = options->tls,
            .connect_timeout_ms = options->connect_timeout_ms,
        };
        r->conn = conn_connect(pool->loop, &target, &client_conn_events, r);
        return;
    }
    r->conn = options->connect(options->connect_ctx, pool->loop);
    if (r->conn == NULL) {
        loop_defer(pool->loop, &r->deferred, request_run);
        return;
    }
    conn_set_events(r->conn, &client_conn_events, r);
    if (!r->paused)
        conn_read_start(r->conn);
    request_begin(r);
}

/* ---- the answer ---- */

static void head_come(struct client_request *r)
{
    struct message *m = parse_message(&r->parser);
    struct error e;

    if (m->status == 101) {
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "the answer switches protocols");
        request_fail(r, &e);
        return;
    }
    r->interim = m->status < 200;
    if (r->interim)
        return;
    /* An answer that came early and refuses is told, but then nothing more is sent. Others are only
     * eager to begin: they still wait for the rest. */
    r->refused = r->state == CLIENT_SENDING && m->status >= 400;
    r->keep = m->keep_alive;
    tell_sent(r);
    if (r->state == CLIENT_OVER)
        return;
    r->batch_due = true;
    r->call.events->head(r, r->call.ctx, m);
}

static void end_come(struct client_request *r)
{
    if (r->interim) {
        parse_begin(&r->parser, r->call.arena, r->call.is_head);
        return;
    }
    r->keep = r->keep && r->state == CLIENT_SENT;
    r->state = CLIENT_ENDED;
    /* Before the answer's end is told: who has it may come again, and find a place. */
    count_down(r->pool->options.busy);
    r->batch_due = true;
    r->call.events->end(r, r->call.ctx);
}

static void answer_read(struct client_request *r, struct str bytes)
{
    struct str piece = STR_NULL;
    struct error e;

    while (r->state == CLIENT_SENDING || r->state == CLIENT_SENT) {
        switch (parse_next(&r->parser, &bytes, &piece, &e)) {
        case PARSE_MORE:
            return;
        case PARSE_HEAD:
            head_come(r);
            break;
        case PARSE_BODY:
            /* RFC 9110, 15.2: a 1xx response is terminated by the end of the header section. */
            if (r->interim) {
                (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "an interim answer with a body");
                request_fail(r, &e);
                break;
            }
            r->batch_due = true;
            r->call.events->body(r, r->call.ctx, piece);
            break;
        case PARSE_END:
            end_come(r);
            break;
        case PARSE_FAILED:
            request_fail(r, &e);
            break;
        }
    }
    /* Bytes that nobody asked for: whose answer they are cannot be known. */
    if (bytes.n > 0)
        r->keep = false;
}

static void event_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct client_request *r = NULL;

    CAST(r, ctx, CLIENT_MAGIC);
    assert(r->conn == conn);
    event_begin(r);
    if (r->state == CLIENT_IDLE) {
        request_close(r);
    } else {
        assert(r->state == CLIENT_SENDING || r->state == CLIENT_SENT);
        r->read_ms = loop_now_ms(r->pool->loop);
        if (!r->answered) {
            r->answered = true;
            parse_reset(&r->parser);
            parse_begin(&r->parser, r->call.arena, r->call.is_head);
        }
        answer_read(r, bytes);
        tell_batch(r);
        if (r->state == CLIENT_ENDED)
            request_park(r);
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
        request_close(r);
    } else if (!r->answered) {
        (void)FAIL(&e, ERR_UPSTREAM_BROKEN, "the connection closed before any answer");
        request_lost(r, &e);
    } else if (parse_eof(&r->parser, &e) == PARSE_END) {
        r->keep = false;
        end_come(r);
        tell_batch(r);
        if (r->state == CLIENT_ENDED)
            request_park(r);
    } else {
        request_fail(r, &e);
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
        request_close(r);
    } else if (r->state == CLIENT_CONNECTING) {
        request_fail(r, cause);
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
    assert(r->state == CLIENT_CONNECTING);
    event_begin(r);
    if (!r->paused)
        conn_read_start(conn);
    request_begin(r);
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
        request_close(r);
    } else {
        int64_t left_ms = r->read_ms + options->silence_timeout_ms - loop_now_ms(r->pool->loop);
        if (r->paused)
            left_ms = options->silence_timeout_ms;
        if (left_ms > 0) {
            timer_start(timer, left_ms);
        } else {
            (void)FAIL(&e, ERR_UPSTREAM_TIMEOUT, "no byte came for %lld ms (proxy_timeout)",
                       (long long)options->silence_timeout_ms);
            request_fail(r, &e);
        }
    }
    event_end(r);
}

/* ---- pools ---- */

struct client_pool *client_pool_new(struct loop *loop, const struct client_pool_options *options)
{
    struct client_pool *pool = mem_new(sizeof(*pool));

    assert(loop != NULL);
    assert(options->header_bytes_max > 0);
    assert(options->idle_timeout_ms >= 0 && options->silence_timeout_ms > 0);
    assert(options->connect != NULL || options->host.n > 0);
    assert(options->busy == NULL || (options->connections != NULL && options->crowded != NULL));
    pool->magic = CLIENT_POOL_MAGIC;
    pool->loop = loop;
    pool->options = *options;
    pool->host = str_dup(options->host);
    pool->options.host = str_c(pool->host);
    list_init(&pool->idle);
    list_init(&pool->spare);
    return pool;
}

static void idle_close(struct client_pool *pool)
{
    LIST_FOREACH(link, &pool->idle)
    {
        struct client_request *r = LIST_ENTRY(link, struct client_request, link);
        assert(!r->in_event);
        request_close(r);
        request_free(r);
    }
    assert(pool->idle_count == 0);
}

void client_pool_free(struct client_pool **pool)
{
    struct client_pool *p = *pool;

    if (p == NULL)
        return;
    assert(p->magic == CLIENT_POOL_MAGIC);
    assert(p->running_count == 0);
    idle_close(p);
    LIST_FOREACH(link, &p->spare)
    {
        list_remove(link);
        mem_free(LIST_ENTRY(link, struct client_request, link));
    }
    mem_free(p->host);
    p->magic = 0;
    mem_free(p);
    *pool = NULL;
}

void client_pool_drain(struct client_pool *pool)
{
    pool->draining = true;
    idle_close(pool);
}

void client_pool_trim(struct client_pool *pool)
{
    while (over_limit(pool) && !list_empty(&pool->idle)) {
        struct client_request *r = LIST_ENTRY(pool->idle.prev, struct client_request, link);
        assert(!r->in_event);
        request_close(r);
        request_free(r);
    }
}

size_t client_pool_idle_count(const struct client_pool *pool)
{
    return pool->idle_count;
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
}

static enum error_code overloaded(const struct client_pool *pool, struct error *e)
{
    return FAIL(e, ERR_OVERLOADED,
                "all %zu connections to the backend are in use (upstream_connections_max)",
                pool->options.connections_max);
}

enum error_code client_start(struct client_pool *pool, const struct client_call *call,
                             struct client_request **ret_request, struct error *e)
{
    struct client_request *r = NULL;

    assert(pool->magic == CLIENT_POOL_MAGIC);
    assert(call->head.n > 0 && call->arena != NULL);
    assert(call->body != NULL || call->body_n == 0);
    if (!count_up(pool->options.busy, pool->options.connections_max))
        return overloaded(pool, e);
    if (!list_empty(&pool->idle)) {
        r = LIST_ENTRY(pool->idle.next, struct client_request, link);
        list_remove(&r->link);
        pool->idle_count--;
        pool->running_count++;
        r->reused = true;
        request_set(r, call);
        request_begin(r);
        *ret_request = r;
        return OK;
    }
    if (!connection_up(pool)) {
        count_down(pool->options.busy);
        return overloaded(pool, e);
    }
    r = request_new(pool);
    timer_init(&r->timer, pool->loop, request_fire);
    pool->running_count++;
    request_set(r, call);
    request_connect(r);
    *ret_request = r;
    return OK;
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
    request_close(r);
    if (!r->in_event)
        request_free(r);
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
    else
        conn_read_start(r->conn);
}

bool client_answered(const struct client_request *request)
{
    assert(request->magic == CLIENT_MAGIC);
    return request->answered;
}
