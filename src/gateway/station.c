/* SPDX-License-Identifier: MIT */
/*
 * Stations: what one worker has.
 *
 * What      The server's events become exchanges; changing sites; starting and stopping a worker.
 * How       head -> admit -> exchange, or a route's answer, or an error. Stopping: the listener
 *           closes, the server drains, and when the last connection and the last branch are gone
 *           the worker is released.
 * Owns      The worker, the server, the branches, the turn's buffers.
 * Not here  The life of an exchange; what belongs to one site (branch).
 */
#include "gateway/gateway_priv.h"

#include "base/mem.h"
#include "gateway/admit.h"
#include "gateway/answer.h"
#include "gateway/listener.h"
#include "text/json_memory.h"

enum {
    SCRATCH_BLOCK_SIZE = 16 * 1024,
    /* A whole answer's tree. */
    SCRATCH_PER_BODY_BYTE = 4,
    /* Events of one read, and what they are encoded to, whatever response_bytes_max is. */
    TURN_EXTRA = 1024 * 1024,
    HEAD_BYTES_EXTRA = 256 * 1024,
    /* Room of a request's arena beyond its body: head, index, edits, canonical form. */
    ARENA_PER_BODY_BYTE = 8,
    ARENA_EXTRA = 1024 * 1024,
    /* The heads of the request and of its answer, at worst a header every four bytes: the bytes
     * themselves and the list, both doubled as they grow. */
    ARENA_PER_HEAD_BYTE = 80,
    /* Connections beyond connections_max that still get a clear answer. */
    CONNECTIONS_MARGIN = 128,
};

static struct station *station_of(const struct server_conn *client)
{
    struct station *station;

    CAST(station, server_ctx(client), STATION_MAGIC);
    return station;
}

static struct exchange *exchange_of(const struct server_conn *client)
{
    struct exchange *x;

    CAST(x, server_user(client), EXCHANGE_MAGIC);
    return x;
}

static void on_head(struct server_conn *client, struct message *m)
{
    struct station *station = station_of(client);
    struct exchange *x = exchange_new(station, client);

    if (admit(x, m, &x->route, &x->call.error) != OK) {
        if (x->call.intake.protocol == NULL)
            x->call.intake.protocol = admit_shape(m);
        x->body_complete = !m->chunked && (!m->has_length || m->content_length == 0);
        exchange_fail(x);
        return;
    }
    if (x->route != NULL) {
        exchange_run(x);
        return;
    }
    /* admitted: at most body_bytes_max; of a coded body it says nothing */
    if (LIKELY(x->opaque == NULL))
        body_expect(x, m->has_length && x->unpack == NULL ? (size_t)m->content_length : 0);
    if (x->call.error.code == OK)
        server_accept(client);
    else
        exchange_fail(x);
}

static void on_body(struct server_conn *client, struct str bytes)
{
    if (server_user(client) != NULL)
        body_come(exchange_of(client), bytes);
}

static void on_body_end(struct server_conn *client)
{
    if (server_user(client) != NULL)
        body_end(exchange_of(client));
}

static void on_writable(struct server_conn *client)
{
    if (server_user(client) != NULL)
        exchange_writable(exchange_of(client));
}

static void on_done(struct server_conn *client)
{
    if (server_user(client) != NULL)
        exchange_done(exchange_of(client));
}

static void on_gone(struct server_conn *client)
{
    if (server_user(client) != NULL)
        exchange_gone(exchange_of(client));
}

static void on_refuse(struct server_conn *client, const struct message *m, const struct error *e)
{
    struct station *station = station_of(client);

    if (server_user(client) == NULL) {
        answer_error(station, client, e, m);
        return;
    }
    struct exchange *x = exchange_of(client);
    x->call.error = *e;
    exchange_fail(x);
}

static void end_now(struct deferred *deferred)
{
    struct station *station = CONTAINER_OF(deferred, struct station, end_check);

    if (!station->stopping || station->ended || server_conn_count(station->server) > 0)
        return;
    LIST_FOREACH(node, &station->branches)
    branch_retire(LIST_ENTRY(node, struct branch, link));
    if (!list_empty(&station->branches))
        return; /* station_branch_ended follows */
    station->branch = NULL;
    station->ended = true;
    if (station->worker != NULL)
        worker_release(station->worker);
}

/* Something ended: looks whether a stopping station has ended whole. */
static void check_end(struct station *station)
{
    if (station->stopping && !station->ended)
        loop_defer(station->loop, &station->end_check, end_now);
}

static void on_closed(struct server_conn *client)
{
    struct station *station = station_of(client);

    atomic_fetch_sub_explicit(&station->gateway->connections, 1, memory_order_relaxed);
    metric_add(&station->metrics, METRIC_connections, 0, -1);
    check_end(station);
}

static const struct server_events server_callbacks = {
    .head = on_head,
    .body = on_body,
    .body_end = on_body_end,
    .writable = on_writable,
    .done = on_done,
    .gone = on_gone,
    .refuse = on_refuse,
    .closed = on_closed,
};

/* Accepted connections of a TLS listener. The handshake counts within header_timeout, as the server
 * counts from here to the first byte. */
static struct conn *secured(struct station *station, struct conn *conn)
{
    static const struct conn_events none = {.read = NULL};
    const struct site *site = station->branch->site;
    const struct conn_secure_options options = {
        .tls = site->listener,
        .plain_answer = listener_plain_answer,
        .timeout_ms = site->config->header_timeout_ms,
    };

    return options.tls == NULL ? conn : conn_secure(&conn, &options, &none, NULL);
}

static void on_accepted(struct worker *worker, void *ctx, struct conn *conn)
{
    struct station *station;

    (void)worker;
    CAST(station, ctx, STATION_MAGIC);
    struct gateway *gateway = station->gateway;
    size_t open = atomic_fetch_add_explicit(&gateway->connections, 1, memory_order_relaxed);
    metric_add(&station->metrics, METRIC_connections_total, 0, 1);
    if (open >= (size_t)station->branch->site->config->connections_max + CONNECTIONS_MARGIN) {
        atomic_fetch_sub_explicit(&gateway->connections, 1, memory_order_relaxed);
        conn_close(&conn);
        return;
    }
    metric_add(&station->metrics, METRIC_connections, 0, 1);
    server_adopt(station->server, secured(station, conn));
}

void station_stop(struct station *station)
{
    station->stopping = true;
    LIST_FOREACH(node, &station->branches)
    branch_stop(LIST_ENTRY(node, struct branch, link));
    server_drain(station->server);
    check_end(station);
}

static void on_stopping(struct worker *worker, void *ctx)
{
    struct station *station;

    (void)worker;
    CAST(station, ctx, STATION_MAGIC);
    station_stop(station);
}

void station_abort(void *ctx)
{
    struct station *station;

    CAST(station, ctx, STATION_MAGIC);
    station->aborted = true;
    if (!station->ended)
        server_close_all(station->server);
}

void station_close_idle(void *ctx)
{
    struct station *station;

    CAST(station, ctx, STATION_MAGIC);
    if (station->stopping && !station->ended)
        server_close_idle(station->server);
}

const struct worker_events station_worker_events = {
    .accepted = on_accepted,
    .stopping = on_stopping,
};

static struct server_options server_options_of(struct station *station)
{
    const struct config *config = station->branch->site->config;

    return (struct server_options){
        .events = &server_callbacks,
        .ctx = station,
        .header_bytes_max = config->header_bytes_max,
        .header_timeout_ms = config->header_timeout_ms,
        .body_idle_timeout_ms = config->body_idle_timeout_ms,
        .keepalive_timeout_ms = config->keepalive_timeout_ms,
        .write_timeout_ms = config->write_timeout_ms,
        .arena_bytes_max = config->body_bytes_max * ARENA_PER_BODY_BYTE +
                           config->header_bytes_max * ARENA_PER_HEAD_BYTE + ARENA_EXTRA,
        .budget = &station->gateway->inflight,
    };
}

/* The turn's buffers are shared by the exchanges of all branches: the largest limits count. */
static void set_limits(struct station *station)
{
    size_t response_bytes_max = 0;
    size_t header_bytes_max = 0;
    size_t head_size_max = 0;

    LIST_FOREACH(node, &station->branches)
    {
        const struct config *config = LIST_ENTRY(node, struct branch, link)->site->config;
        if (config->response_bytes_max > response_bytes_max)
            response_bytes_max = config->response_bytes_max;
        if (config->header_bytes_max > header_bytes_max)
            header_bytes_max = config->header_bytes_max;
    }
    station->out.size_max = response_bytes_max + TURN_EXTRA;
    /* What the other side's head gives, each line perhaps longer by a blank, and our own lines. A
     * key that is taken out of it has six bytes at least, the words in its place less than five
     * times as many. */
    head_size_max = header_bytes_max * 5 + HEAD_BYTES_EXTRA;
    /* Never less: a head may have begun to come under another limit, and has no branch yet. */
    if (head_size_max > station->head.size_max)
        station->head.size_max = head_size_max;
    station->scratch.bytes_max = response_bytes_max * SCRATCH_PER_BODY_BYTE + TURN_EXTRA;
}

void station_take_site(void *ctx)
{
    struct station *station;

    CAST(station, ctx, STATION_MAGIC);
    struct site *site = atomic_exchange(&station->next_site, NULL);
    if (site == NULL)
        return; /* a newer one was taken with an earlier call */
    if (station->stopping) {
        site_unref(&site);
        return;
    }
    struct branch *old = station->branch;
    station->branch = branch_new(station, site);
    branch_retire(old);
    set_limits(station);
    const struct server_options options = server_options_of(station);
    server_set_options(station->server, &options);
}

void station_branch_ended(struct station *station)
{
    if (!list_empty(&station->branches))
        set_limits(station);
    check_end(station);
}

void station_init(struct station *station, struct gateway *gateway, struct loop *loop)
{
    station->magic = STATION_MAGIC;
    station->gateway = gateway;
    station->loop = loop;
    id_source_init(&station->ids);
    station->memory = json_memory_new();
    station->stages = pipeline_stages;
    station->stages_n = pipeline_stages_n;
    buf_init(&station->out, TURN_EXTRA);
    buf_init(&station->head, HEAD_BYTES_EXTRA);
    arena_init(&station->scratch, TURN_EXTRA, SCRATCH_BLOCK_SIZE, NULL);
    list_init(&station->exchanges);
    list_init(&station->free_exchanges);
    list_init(&station->end_check.link);
    list_init(&station->branches);
    atomic_init(&station->next_site, NULL);
    station->branch = branch_new(station, site_ref(gateway->site));
    set_limits(station);
    const struct server_options options = server_options_of(station);
    station->server = server_new(station->loop, &options);
}

void station_fini(struct station *station)
{
    struct site *never_taken;

    if (station->magic != STATION_MAGIC)
        return;
    assert(list_empty(&station->exchanges));
    LIST_FOREACH(node, &station->branches) /* it never ran */
    branch_free(LIST_ENTRY(node, struct branch, link));
    never_taken = atomic_exchange(&station->next_site, NULL);
    site_unref(&never_taken);
    server_free(&station->server);
    LIST_FOREACH(node, &station->free_exchanges)
    mem_free(LIST_ENTRY(node, struct exchange, link));
    json_memory_free(&station->memory);
    perf_fini(&station->perf);
    buf_fini(&station->out);
    buf_fini(&station->head);
    arena_fini(&station->scratch);
    station->magic = 0;
}

void *station_main(void *ctx)
{
    struct station *station;

    CAST(station, ctx, STATION_MAGIC);
    worker_run(station->worker);
    atomic_fetch_sub_explicit(&station->gateway->running, 1, memory_order_release);
    return NULL;
}

static void trim_pools(void *ctx)
{
    struct station *station;

    CAST(station, ctx, STATION_MAGIC);
    LIST_FOREACH(node, &station->branches)
    branch_trim(LIST_ENTRY(node, struct branch, link));
}

void station_crowded(struct station *station)
{
    const struct gateway *gateway = station->gateway;

    if (gateway_running(gateway) < gateway->stations_n)
        return; /* starting or stopping: not all of them are there */
    for (size_t i = 0; i < gateway->stations_n; i++) {
        struct station *other = &gateway->stations[i];
        if (other != station)
            worker_post(other->worker, trim_pools, other);
    }
}
