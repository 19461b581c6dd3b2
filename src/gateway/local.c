/* SPDX-License-Identifier: MIT */
/*
 * Backends inside this process.
 *
 * What      An HTTP origin at the other end of an in-memory connection, so that a built-in backend
 *           goes through the same attempt, client and decoder as any other.
 * How       The client pool's connect makes a pair; the far end is adopted by a server whose
 *           handler decodes the request, starts the backend's script, and sends what it makes,
 *           piece by piece, with the pauses that the script asks for.
 * Owns      One struct local per request, in its arena.
 * Not here  What is answered (backend/).
 */
#include "gateway/local.h"

#include "gateway/gateway_priv.h"

#define LOCAL_MAGIC 0x10ca1b5eu

enum {
    LOCAL_OUT_MAX = 16 * 1024 * 1024,
    LOCAL_HEADER_EXTRA = 64 * 1024,
    LOCAL_ARENA_EXTRA = 1024 * 1024,
    LOCAL_IDLE_EXTRA_MS = 1000, /* the client's side is the first to close */
};

struct local {
    uint32_t magic;
    struct branch *branch;
    struct server_conn *client;
    const struct backend *backend;
    char *body;
    size_t body_n;
    size_t body_size;
    struct large *large; /* has the body, when that is read in a job; else NULL */
    struct request request;
    void *state;
    struct local_head head;
    struct timer timer;
    struct buf out;
    bool started; /* the script is */
    bool said;    /* the answer's head is */
    bool waiting; /* for room in the connection */
};

/* The backend that a request on the far end is for: its Host header names it. */
static const struct backend *backend_of(const struct branch *branch, const struct message *m)
{
    const struct backend_set *set = branch->site->backends;
    struct str host = http_headers_get(&m->headers, STR("host"));

    for (size_t i = 0; i < set->n; i++) {
        if (set->items[i].local != NULL && str_eq(set->items[i].authority, host))
            return &set->items[i];
    }
    BUG("a request for a built-in backend that does not exist");
}

static void end_local(struct local *local)
{
    timer_stop(&local->timer);
    if (local->started)
        local->backend->local->end(local->state);
    buf_fini(&local->out);
    large_free(&local->large);
    local->magic = 0;
}

/* The answer breaks off: what was said goes out, the end that is missing does not. */
static void cut(struct local *local)
{
    struct server_conn *client = local->client;

    (void)server_flush(client);
    end_local(local);
    server_set_user(client, NULL);
    server_abort(client);
}

/* Sends the script's next pieces until it pauses, the connection is full, or it is over. */
static void play(struct local *local)
{
    const struct local_backend *script = local->backend->local;

    for (;;) {
        int64_t wait_ms = 0;
        buf_reset(&local->out);
        enum local_move move = script->next(local->state, &local->out, &wait_ms);
        if (local->out.n > 0)
            server_body(local->client, buf_str(&local->out));
        if (move == LOCAL_CUT) {
            cut(local);
            return;
        }
        if (move == LOCAL_END)
            server_end(local->client);
        local->waiting = server_flush(local->client) == SERVER_FULL && move == LOCAL_MORE;
        if (move != LOCAL_MORE || local->waiting)
            return;
        if (wait_ms > 0) {
            timer_start(&local->timer, wait_ms);
            return;
        }
    }
}

/* The head, and what of the body is known with it: of an error all. */
static void say_head(struct local *local)
{
    const struct local_head *head = &local->head;
    bool error = head->status >= 400;
    char retry[64] = "";
    char lines[160];

    assert(!local->said);
    local->said = true;
    if (head->retry_after_s > 0)
        (void)snprintf(retry, sizeof(retry), "retry-after: %lld\r\n",
                       (long long)head->retry_after_s);
    (void)snprintf(lines, sizeof(lines), "content-type: %s\r\n%s",
                   !error && local->request.stream ? "text/event-stream; charset=utf-8"
                                                   : "application/json",
                   retry);
    server_head(local->client, head->status, str_c(lines),
                error ? (int64_t)local->out.n : head->length);
    if (local->out.n > 0)
        server_body(local->client, buf_str(&local->out));
    if (error)
        server_end(local->client);
    local->waiting = server_flush(local->client) == SERVER_FULL && !error;
    if (!error && !local->waiting)
        play(local);
}

static void on_timer(struct timer *timer)
{
    struct local *local = CONTAINER_OF(timer, struct local, timer);

    if (local->said)
        play(local);
    else
        say_head(local);
}

static void refuse(struct local *local, const struct error *e)
{
    local->backend->protocol->error_encode(e, STR("local"), false, &local->out);
    local->head = (struct local_head){.status = error_status(e)};
    local->head.retry_after_s = local->head.status == 503 ? 1 : 0;
    say_head(local);
}

static void refuse_starved(struct local *local)
{
    struct error e;

    FAIL(&e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    refuse(local, &e);
}

/* The request was read. */
static void answer(struct local *local)
{
    local->started = true;
    local->backend->local->start(local->state, &local->request,
                                 loop_wall_ms(local->branch->station->loop) / 1000,
                                 server_arena(local->client), &local->out, &local->head);
    if (local->head.silent)
        return;
    assert(local->head.status >= 200);
    if (local->head.wait_ms > 0)
        timer_start(&local->timer, local->head.wait_ms);
    else
        say_head(local);
}

static void on_large_read(void *ctx)
{
    struct local *local;
    struct error e = {.code = OK};

    CAST(local, ctx, LOCAL_MAGIC);
    if (large_take_request(local->large, &local->request, &e) == OK)
        answer(local);
    else if (large_over_budget(local->large)) /* whatever it looked like */
        refuse_starved(local);
    else
        refuse(local, &e);
}

static void start(struct local *local)
{
    const struct protocol *protocol = local->backend->protocol;
    struct arena *arena = server_arena(local->client);
    const struct config *config = local->branch->site->config;
    const struct request_limits limits = {.depth_max = (size_t)config->json_depth_max};
    struct error e = {.code = OK};

    if (local->large != NULL) {
        large_body_end(local->large, local->body_n);
        large_read(local->large, protocol, &limits, true);
        return;
    }
    if (protocol->request_decode(str_of(local->body == NULL ? "" : local->body, local->body_n),
                                 &limits, arena, &local->request, &e) != OK ||
        protocol->request_decode_full(&local->request, &limits, arena, &e) != OK)
        refuse(local, &e);
    else
        answer(local);
}

/* A large body is read in a job. False: there is no room for it, and that was answered. */
static bool expect_large(struct local *local, size_t length)
{
    local->large = large_new(local->branch, on_large_read, local);
    local->body = large_room(local->large, 0, length, length);
    local->body_size = length;
    if (local->body == NULL)
        refuse_starved(local);
    return local->body != NULL;
}

static struct local *local_of(const struct server_conn *client)
{
    struct local *local;

    CAST(local, server_user(client), LOCAL_MAGIC);
    return local;
}

static void on_head(struct server_conn *client, struct message *m)
{
    struct branch *branch;

    CAST(branch, server_ctx(client), BRANCH_MAGIC);
    struct arena *arena = server_arena(client);
    struct local *local = ARENA_NEW(arena, struct local);
    local->magic = LOCAL_MAGIC;
    local->branch = branch;
    local->client = client;
    local->backend = backend_of(branch, m);
    local->state = arena_zalloc(arena, local->backend->local->state_size);
    timer_init(&local->timer, branch->station->loop, on_timer);
    buf_init(&local->out, LOCAL_OUT_MAX);
    server_set_user(client, local);
    if (m->has_length && m->content_length > LARGE_BYTES &&
        !expect_large(local, (size_t)m->content_length))
        return;
    server_accept(client);
}

static void on_body(struct server_conn *client, struct str bytes)
{
    struct local *local = local_of(client);
    size_t need = local->body_n + bytes.n;

    if (need > local->body_size) {
        size_t size = local->body_size * 2 > need ? local->body_size * 2 : need;
        local->body = arena_grow(server_arena(client), local->body, local->body_n, size);
        local->body_size = size;
    }
    if (arena_overflowed(server_arena(client)))
        return;
    memcpy(local->body + local->body_n, bytes.p, bytes.n);
    local->body_n += bytes.n;
}

static void on_body_end(struct server_conn *client)
{
    start(local_of(client));
}

static void on_writable(struct server_conn *client)
{
    struct local *local = local_of(client);

    if (!local->waiting)
        return;
    local->waiting = false;
    play(local);
}

static void on_over(struct server_conn *client)
{
    if (server_user(client) == NULL)
        return;
    end_local(local_of(client));
    server_set_user(client, NULL);
}

static void on_refuse(struct server_conn *client, const struct message *m, const struct error *e)
{
    (void)m;
    (void)e;
    on_over(client); /* nothing else follows an abort */
    server_abort(client);
}

static void on_closed(struct server_conn *client)
{
    struct branch *branch;

    CAST(branch, server_ctx(client), BRANCH_MAGIC);
    branch_check_end(branch);
}

static const struct server_events local_events = {
    .head = on_head,
    .body = on_body,
    .body_end = on_body_end,
    .writable = on_writable,
    .done = on_over,
    .gone = on_over,
    .refuse = on_refuse,
    .closed = on_closed,
};

struct server *local_server_new(struct branch *branch)
{
    const struct config *config = branch->site->config;
    const struct server_options options = {
        .events = &local_events,
        .ctx = branch,
        .header_bytes_max = config->header_bytes_max * 2 + LOCAL_HEADER_EXTRA,
        .header_timeout_ms = config->header_timeout_ms,
        .body_idle_timeout_ms = config->body_idle_timeout_ms,
        .keepalive_timeout_ms = config->upstream_idle_timeout_ms * 2 + LOCAL_IDLE_EXTRA_MS,
        .write_timeout_ms = config->write_timeout_ms,
        .arena_bytes_max = config->body_bytes_max * 8 + LOCAL_ARENA_EXTRA,
        .budget = NULL,
    };
    return server_new(branch->station->loop, &options);
}

struct conn *local_connect(struct server *local, struct loop *loop)
{
    struct conn *near = NULL;
    struct conn *far = NULL;

    conn_pair(loop, &near, &far);
    server_adopt(local, far);
    return near;
}
