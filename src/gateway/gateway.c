/* SPDX-License-Identifier: MIT */
/*
 * The process-wide part: shared tables, start and stop of the workers.
 *
 * What      Owns configuration and backends, binds the port, runs one thread a worker.
 * How       new -> client_key -> start; drain -> (abort) -> free. Each worker has a listening
 *           socket of its own on the same port.
 * Not here  Signals and the command line (main), a worker's own things (station).
 */
#include "gateway/gateway_priv.h"

#include "base/mem.h"

struct gateway *gateway_new(const struct gateway_options *options)
{
    struct gateway *gateway = mem_new(sizeof(*gateway));

    gateway->config = config_ref(options->config);
    gateway->backends = options->backends;
    gateway->routes = options->routes;
    gateway->routes_n = options->routes_n;
    gateway->version = options->version;
    arena_init(&gateway->arena, 1024 * 1024, 1024, NULL);
    gateway->keys = gateway->config->api_keys;
    gateway->keys_n = gateway->config->api_keys_n;
    gateway->host = gateway->config->host;
    if (gateway->config->disable_auth)
        gateway->host = STR("127.0.0.1");
    size_t n = gateway->backends->n;
    gateway->inflight.max = gateway->config->inflight_bytes_max;
    gateway->tls = mem_new(n * sizeof(struct tls_context *) + 1);
    (void)pthread_mutex_init(&gateway->tls_lock, NULL);
    gateway->backend_labels = arena_array(&gateway->arena, n, sizeof(char *));
    for (size_t i = 0; i < n; i++)
        gateway->backend_labels[i] = str_z(&gateway->arena, gateway->backends->items[i].name);
    return gateway;
}

/* Backends with equal TLS options share one context. With the lock held. */
static enum error_code find_tls(struct gateway *gateway, const struct backend *backend,
                                struct tls_context **ret_context, struct error *e)
{
    const struct backend_config *config = backend->config;
    const struct tls_options options = {.ca_file = config->ca_file, .verify = config->tls_verify};

    for (size_t i = 0; i < gateway->backends->n; i++) {
        const struct backend_config *other = gateway->backends->items[i].config;
        if (gateway->tls[i] != NULL && other->tls_verify == config->tls_verify &&
            str_eq(other->ca_file, config->ca_file)) {
            *ret_context = gateway->tls[i];
            return OK;
        }
    }
    return tls_context_new(&options, ret_context, e);
}

enum error_code gateway_tls(struct gateway *gateway, const struct backend *backend,
                            struct tls_context **ret_context, struct error *e)
{
    enum error_code code = OK;

    *ret_context = NULL;
    if (!backend->url.https || backend->local != NULL)
        return OK;
    pthread_mutex_lock(&gateway->tls_lock);
    if (gateway->tls[backend->index] == NULL)
        code = find_tls(gateway, backend, &gateway->tls[backend->index], e);
    *ret_context = gateway->tls[backend->index];
    pthread_mutex_unlock(&gateway->tls_lock);
    return code;
}

/* A context costs megabytes, so most are made on first use. What the configuration names is read
 * now, where a fault in it is an error at the start. */
static enum error_code check_tls(struct gateway *gateway, struct error *e)
{
    const struct backend_set *set = gateway->backends;
    struct tls_context *context = NULL;

    for (size_t i = 0; i < set->n; i++) {
        if (set->items[i].functional && set->items[i].config->ca_file.n > 0)
            TRY(gateway_tls(gateway, &set->items[i], &context, e));
    }
    return OK;
}

static void free_tls(struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->backends->n; i++) {
        struct tls_context *context = gateway->tls[i];
        for (size_t k = i; k < gateway->backends->n; k++) {
            if (gateway->tls[k] == context)
                gateway->tls[k] = NULL;
        }
        tls_context_unref(&context);
    }
    mem_free(gateway->tls);
    (void)pthread_mutex_destroy(&gateway->tls_lock);
}

static void make_station(struct gateway *gateway, size_t i, int fd)
{
    struct station *station = &gateway->stations[i];

    station->worker = worker_new(&(
        struct worker_options){.events = &station_worker_events, .ctx = station, .listen_fd = fd});
    station_init(station, gateway, worker_loop(station->worker));
    gateway->metrics[i] = &station->metrics;
}

static enum error_code start_station(struct gateway *gateway, size_t i, struct error *e)
{
    struct station *station = &gateway->stations[i];

    atomic_fetch_add(&gateway->running, 1);
    if (pthread_create(&station->thread, NULL, station_main, station) != 0) {
        atomic_fetch_sub(&gateway->running, 1);
        return FAIL(e, ERR_SYSTEM, "cannot start a worker's thread");
    }
    station->started = true;
    return OK;
}

enum error_code gateway_start(struct gateway *gateway, struct error *e)
{
    const struct config *config = gateway->config;
    size_t n = (size_t)config->workers;
    int fd = -1;

    assert(n >= 1);
    TRY(check_tls(gateway, e));
    TRY(worker_listen(gateway->host, (uint16_t)config->port, true, &fd, &gateway->port, e));
    gateway->stations = mem_new(n * sizeof(struct station));
    gateway->metrics = mem_new(n * sizeof(struct metrics *));
    gateway->stations_n = n;
    /* All of them before the first runs: a running one reads the metrics of each other. */
    for (size_t i = 0; i < n; i++) {
        uint16_t same = 0;
        if (i > 0)
            TRY(worker_listen(gateway->host, gateway->port, false, &fd, &same, e));
        make_station(gateway, i, fd);
    }
    for (size_t i = 0; i < n; i++)
        TRY(start_station(gateway, i, e));
    return OK;
}

void gateway_drain(struct gateway *gateway)
{
    atomic_store(&gateway->draining, true);
    for (size_t i = 0; i < gateway->stations_n; i++) {
        if (gateway->stations[i].started)
            worker_stop(gateway->stations[i].worker);
    }
}

bool gateway_quiet(const struct gateway *gateway)
{
    int64_t exchanges = 0;

    for (size_t i = 0; i < gateway->stations_n; i++)
        exchanges += metric_get(&gateway->stations[i].metrics, METRIC_requests_active, 0);
    return exchanges == 0;
}

void gateway_close_idle(struct gateway *gateway)
{
    assert(gateway_draining(gateway));
    for (size_t i = 0; i < gateway->stations_n; i++) {
        struct station *station = &gateway->stations[i];
        if (station->started)
            worker_post(station->worker, station_close_idle, station);
    }
}

void gateway_abort(struct gateway *gateway)
{
    gateway_drain(gateway);
    for (size_t i = 0; i < gateway->stations_n; i++) {
        struct station *station = &gateway->stations[i];
        if (station->started)
            worker_post(station->worker, station_abort, station);
    }
}

size_t gateway_running(const struct gateway *gateway)
{
    return atomic_load_explicit(&gateway->running, memory_order_acquire);
}

void gateway_free(struct gateway **gateway_ptr)
{
    struct gateway *gateway = *gateway_ptr;

    if (gateway == NULL)
        return;
    for (size_t i = 0; i < gateway->stations_n; i++) {
        if (gateway->stations[i].started)
            pthread_join(gateway->stations[i].thread, NULL);
    }
    /* Only now: a thread may still have posted to another's worker. */
    for (size_t i = 0; i < gateway->stations_n; i++) {
        station_fini(&gateway->stations[i]);
        worker_free(&gateway->stations[i].worker);
    }
    mem_free(gateway->stations);
    mem_free(gateway->metrics);
    free_tls(gateway);
    secret_free(&gateway->generated.key);
    backend_set_free(&gateway->backends);
    arena_fini(&gateway->arena);
    config_unref(&gateway->config);
    mem_free(gateway);
    *gateway_ptr = NULL;
}

const struct config *gateway_config(const struct gateway *gateway)
{
    return gateway->config;
}

const struct backend_set *gateway_backends(const struct gateway *gateway)
{
    return gateway->backends;
}

const char *gateway_version(const struct gateway *gateway)
{
    return gateway->version;
}

bool gateway_draining(const struct gateway *gateway)
{
    return atomic_load_explicit(&gateway->draining, memory_order_relaxed);
}

uint16_t gateway_port(const struct gateway *gateway)
{
    return gateway->port;
}

struct str gateway_host(const struct gateway *gateway)
{
    return gateway->host;
}

const struct secret *gateway_only_key(const struct gateway *gateway)
{
    static const struct secret none = {.bytes = NULL, .size = 0};

    return gateway->keys_n == 1 ? &gateway->keys[0].key : &none;
}

bool gateway_key_generated(const struct gateway *gateway)
{
    return !secret_is_empty(&gateway->generated.key);
}

struct str gateway_key_path(const struct gateway *gateway)
{
    return gateway->key_path;
}

static const char *backend_label(void *ctx, size_t slot)
{
    const struct gateway *gateway = ctx;

    return slot < gateway->backends->n ? gateway->backend_labels[slot] : NULL;
}

/* What is counted for the whole process is one more set beside the workers'. */
static void shared_metrics(const struct gateway *gateway, struct metrics *set)
{
    const struct backend_set *backends = gateway->backends;
    size_t inflight = atomic_load_explicit(&gateway->inflight.used, memory_order_relaxed);

    metric_add(set, METRIC_inflight_bytes, 0, (int64_t)inflight);
    for (size_t i = 0; i < backends->n; i++) {
        struct backend *backend = &backends->items[i];
        size_t open = atomic_load_explicit(&backend->connections, memory_order_relaxed);
        metric_add(set, METRIC_upstream_connections, backend->index, (int64_t)open);
    }
}

void gateway_metrics(const struct gateway *gateway, struct buf *out)
{
    struct metrics shared = {0};
    const struct metrics **sets = mem_new((gateway->stations_n + 1) * sizeof(struct metrics *));

    shared_metrics(gateway, &shared);
    memcpy(sets, gateway->metrics, gateway->stations_n * sizeof(struct metrics *));
    sets[gateway->stations_n] = &shared;
    metric_print(sets, gateway->stations_n + 1, backend_label, (void *)(uintptr_t)gateway, out);
    mem_free(sets);
}
