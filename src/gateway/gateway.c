/* SPDX-License-Identifier: MIT */
/*
 * The process-wide part: shared tables, start and stop of the workers.
 *
 * What      Holds the present site, binds the port, runs one thread a worker.
 * How       new -> client_key -> start (opens what is kept); reload…; drain -> (abort) -> free.
 *           Each worker has a listening socket of its own on the same port, or the first one
 *           listens for all. A new site is made and checked here and then left at each station,
 *           which takes it between two turns of its loop.
 * Not here  Signals and the command line (main), a worker's own things (station).
 */
#include "gateway/gateway_priv.h"

#include "base/clock.h"
#include "base/mem.h"
#include "gateway/detour.h"
#include "gateway/models.h"
#include "gateway/strikes.h"
#include "io/address.h"
#include "state/replies.h"
#include "state/vault.h"

/* Without authentication only this machine may connect, whatever host says. */
static struct str host_of(const struct config *config)
{
    return config->disable_auth ? STR("127.0.0.1") : config->host;
}

/* --- slots of the BACKEND label --- */

enum { SLOT_OTHER = METRIC_SLOTS_BACKEND - 1 };

/* The name's slot, a new one for a new name. Main's. */
static size_t slot_of(struct gateway *gateway, struct str name)
{
    struct gateway_slots *slots = &gateway->slots;
    size_t n = atomic_load_explicit(&slots->n, memory_order_relaxed);

    for (size_t i = 0; i < n; i++) {
        if (str_eq(str_c(slots->names[i]), name))
            return i;
    }
    if (n == SLOT_OTHER) {
        atomic_store_explicit(&slots->other, true, memory_order_relaxed);
        return SLOT_OTHER;
    }
    slots->names[n] = str_z(&gateway->arena, name);
    atomic_store_explicit(&slots->n, n + 1, memory_order_release);
    return n;
}

/* Counts go on where a backend of that name was before. What shares the last slot is counted by
 * itself, for the sake of its limit. */
static void assign_slots(struct gateway *gateway, struct backend_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        struct backend *backend = &set->items[i];
        backend->slot = slot_of(gateway, backend->name);
        if (backend->slot != SLOT_OTHER)
            backend->load = &gateway->slots.loads[backend->slot];
    }
}

const char *gateway_slot_name(const struct gateway *gateway, size_t slot)
{
    assert(slot < METRIC_SLOTS_BACKEND);

    if (slot == SLOT_OTHER && atomic_load_explicit(&gateway->slots.other, memory_order_relaxed))
        return "(other)"; /* which no backend is called */
    if (slot < atomic_load_explicit(&gateway->slots.n, memory_order_acquire))
        return gateway->slots.names[slot];
    return NULL;
}

/* What is known of keys goes on where they were before. */
static void adopt_keys(const struct backend_set *before, struct backend_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        struct backend *same = backend_find(before, set->items[i].name);
        if (same != NULL)
            keyring_adopt(set->items[i].keyring, same->keyring);
    }
}

static const char *slot_name(void *ctx, size_t slot)
{
    return gateway_slot_name(ctx, slot);
}

/* --- life --- */

/* mapping.md, 7.2 */
enum { VAULT_BYTES_MAX = 64 * 1024 * 1024, VAULT_TTL_S = 24 * 60 * 60 };

/* Whole seconds, not fewer than were asked for. */
static int64_t replies_ttl_s(const struct config *config)
{
    return (config->responses_store_ttl_ms + 999) / 1000;
}

struct gateway *gateway_new(const struct gateway_options *options)
{
    struct gateway *gateway = mem_new(sizeof(*gateway));
    struct backend_set *backends = options->backends;

    gateway->routes = options->routes;
    gateway->routes_n = options->routes_n;
    gateway->version = options->version;
    gateway->one_listener = options->one_listener || !worker_listeners_balance();
    gateway->strikes = strikes_new();
    gateway->start_ms = clock_real_ms();
    perf_faults_init(&gateway->slots.faults);
    perf_recent_init(&gateway->slots.recent);
    gateway->replies = replies_new(options->config->responses_store_max_bytes,
                                   replies_ttl_s(options->config));
    gateway->detours = detour_new(gateway->replies);
    gateway->vault = vault_new(VAULT_BYTES_MAX, VAULT_TTL_S);
    id_random_bytes(&gateway->owner_seed, sizeof(gateway->owner_seed));
    arena_init(&gateway->arena, 1024 * 1024, 1024, NULL);
    gateway->host = str_copy(&gateway->arena, host_of(options->config));
    gateway->port_wanted = options->config->port;
    gateway->repository = str_copy(&gateway->arena, options->config->session_repository);
    gateway->file_path = str_copy(&gateway->arena, options->config->session_file_path);
    atomic_init(&gateway->inflight.max, options->config->inflight_bytes_max);
    assign_slots(gateway, backends);
    gateway->site = site_new(options->config, &backends);
    return gateway;
}

enum error_code gateway_client_key(struct gateway *gateway, struct error *e)
{
    return client_key_prepare(gateway->site, e);
}

enum error_code gateway_open(struct gateway *gateway, struct error *e)
{
    site_make_scopes(gateway->site, &gateway->seal.key);
    return sessions_new(gateway->site->config, clock_real_ms(), &gateway->sessions, e);
}

static void make_station(struct gateway *gateway, size_t i, int fd)
{
    struct station *station = &gateway->stations[i];

    station->worker = worker_new(&(struct worker_options){.events = &station_worker_events,
                                                          .ctx = station,
                                                          .listen_fd = fd,
                                                          .metrics = &station->metrics});
    station_init(station, gateway, worker_loop(station->worker));
    gateway->metrics[i] = &station->metrics;
    gateway->slots.recent.perfs[i] = &station->perf;
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

/* All of them before the first runs: a running one reads the metrics of each other. */
static enum error_code make_stations(struct gateway *gateway, int first_fd, struct error *e)
{
    int fd = first_fd;

    for (size_t i = 0; i < gateway->stations_n; i++) {
        uint16_t same = 0;
        if (i > 0 && gateway->one_listener)
            fd = -1;
        else if (i > 0)
            TRY(worker_listen(gateway->host, gateway->port, false, &fd, &same, e));
        make_station(gateway, i, fd);
        gateway->workers[i] = gateway->stations[i].worker;
    }
    if (gateway->one_listener)
        worker_share(gateway->workers[0], gateway->workers, gateway->stations_n);
    return OK;
}

enum error_code gateway_start(struct gateway *gateway, struct error *e)
{
    size_t n = (size_t)gateway->site->config->workers;
    int fd = -1;

    assert(n >= 1);
    TRY(site_prepare(gateway->site, e));
    TRY(seal_key_prepare(gateway->site->config, &gateway->seal, e));
    TRY(gateway_open(gateway, e));
    TRY(worker_listen(gateway->host, (uint16_t)gateway->port_wanted, true, &fd, &gateway->port, e));
    gateway->stations = mem_new(n * sizeof(struct station));
    gateway->workers = mem_new(n * sizeof(struct worker *));
    gateway->metrics = mem_new(n * sizeof(struct metrics *));
    gateway->slots.recent.perfs = mem_new(n * sizeof(struct perf *));
    gateway->slots.recent.perfs_n = n;
    gateway->stations_n = n;
    TRY(make_stations(gateway, fd, e));
    for (size_t i = 0; i < n; i++)
        TRY(start_station(gateway, i, e));
    return OK;
}

/* --- another configuration --- */

static void add_name(struct buf *names, const char *name)
{
    (void)buf_print(names, "%s%s", names->n > 0 ? ", " : "", name);
}

static void tell_restart(const struct gateway *gateway, const struct config *config,
                         struct buf *restart)
{
    if (!str_eq(host_of(config), gateway->host))
        add_name(restart, "host");
    if (config->port != gateway->port_wanted)
        add_name(restart, "port");
    if ((size_t)config->workers != gateway->stations_n)
        add_name(restart, "workers");
    if (!str_eq(config->session_repository, gateway->repository))
        add_name(restart, "session.repository");
    if (!str_eq(config->session_file_path, gateway->file_path))
        add_name(restart, "session.file_path");
}

static enum error_code check_site(const struct gateway *gateway, struct site *site, struct error *e)
{
    /* The listener stays as it is: nothing but a key keeps the others out. */
    if (site->config->disable_auth && !address_names_loopback(gateway->host))
        return FAIL(e, ERR_CONFIG,
                    "disable_auth: needs a restart, as %.*s is listened on, which others can reach",
                    STR_ARG(gateway->host));
    return site_prepare(site, e);
}

enum error_code gateway_reload(struct gateway *gateway, struct config *config,
                               struct backend_set **backends, struct buf *restart, struct error *e)
{
    struct site *site = site_new(config, backends);
    enum error_code code = OK;

    if (gateway_draining(gateway))
        code = FAIL(e, ERR_DRAINING, "it stops");
    else
        code = check_site(gateway, site, e);
    if (code != OK) {
        site_unref(&site);
        return code;
    }
    site_make_scopes(site, &gateway->seal.key);
    assign_slots(gateway, site->backends);
    adopt_keys(gateway->site->backends, site->backends);
    tell_restart(gateway, config, restart);
    site_unref(&gateway->site);
    gateway->site = site;
    atomic_store_explicit(&gateway->inflight.max, config->inflight_bytes_max, memory_order_relaxed);
    replies_set_bounds(gateway->replies, config->responses_store_max_bytes, replies_ttl_s(config));
    sessions_set_bounds(gateway->sessions, config);
    for (size_t i = 0; i < gateway->stations_n; i++) {
        struct station *station = &gateway->stations[i];
        struct site *not_taken = atomic_exchange(&station->next_site, site_ref(site));
        site_unref(&not_taken);
        if (station->started)
            worker_post(station->worker, station_take_site, station);
    }
    return OK;
}

bool gateway_reloading(const struct gateway *gateway)
{
    for (size_t i = 0; i < gateway->stations_n; i++) {
        struct station *station = &gateway->stations[i];
        if (station->started && atomic_load(&station->next_site) != NULL)
            return true;
    }
    return false;
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
    /* Its thread may be about to leave a worker that has ended with what it posted there. */
    sessions_free(&gateway->sessions);
    /* Only now: a thread may still have posted to another's worker. */
    for (size_t i = 0; i < gateway->stations_n; i++) {
        station_fini(&gateway->stations[i]);
        worker_free(&gateway->stations[i].worker);
    }
    mem_free(gateway->stations);
    mem_free(gateway->workers);
    mem_free(gateway->metrics);
    site_unref(&gateway->site);
    for (size_t i = 0; i < METRIC_SLOTS_BACKEND; i++)
        assert(atomic_load(&gateway->slots.loads[i].connections) == 0 &&
               atomic_load(&gateway->slots.loads[i].busy) == 0);
    arena_fini(&gateway->arena);
    perf_faults_fini(&gateway->slots.faults);
    mem_free(gateway->slots.recent.perfs);
    perf_recent_fini(&gateway->slots.recent);
    strikes_free(&gateway->strikes);
    detour_free(&gateway->detours);
    replies_free(&gateway->replies);
    vault_free(&gateway->vault);
    mem_wipe(&gateway->seal, sizeof(gateway->seal));
    mem_free(gateway);
    *gateway_ptr = NULL;
}

const struct config *gateway_config(const struct gateway *gateway)
{
    return gateway->site->config;
}

const struct backend_set *gateway_backends(const struct gateway *gateway)
{
    return gateway->site->backends;
}

const char *gateway_version(const struct gateway *gateway)
{
    return gateway->version;
}

bool gateway_draining(const struct gateway *gateway)
{
    return atomic_load_explicit(&gateway->draining, memory_order_relaxed);
}

struct sessions *gateway_sessions(const struct gateway *gateway)
{
    return gateway->sessions;
}

bool gateway_forget_session(const struct gateway_ask *ask, const struct session_scope *scope,
                            struct str id)
{
    const struct detour_ask detour = {
        .scope = scope,
        .session = id,
        .now_s = clock_mono_ms() / 1000,
        .ttl_s = replies_ttl_s(ask->site->config),
    };

    detour_forget(ask->gateway->detours, &detour);
    return session_forget(ask->gateway->sessions, scope, id);
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

    return gateway->site->keys_n == 1 ? &gateway->site->keys[0].key : &none;
}

bool gateway_key_generated(const struct gateway *gateway)
{
    return !secret_is_empty(&gateway->site->generated.key);
}

struct str gateway_key_path(const struct gateway *gateway)
{
    return gateway->site->key_path;
}

static void add_connections(struct metrics *set, size_t slot, const struct backend_load *load)
{
    size_t open = atomic_load_explicit(&load->connections, memory_order_relaxed);
    size_t busy = atomic_load_explicit(&load->busy, memory_order_relaxed);

    metric_add(set, METRIC_upstream_connections, slot, (int64_t)open);
    metric_add(set, METRIC_upstream_connections_busy, slot, (int64_t)busy);
    /* The two are not of the same moment. */
    metric_add(set, METRIC_upstream_connections_idle, slot,
               open > busy ? (int64_t)(open - busy) : 0);
}

static void add_keys(struct metrics *set, const struct backend *backend, int64_t now_ms)
{
    for (size_t i = 0; i < backend->config->keys_n; i++) {
        struct keyring_view view;
        keyring_view(backend->keyring, i, now_ms, &view);
        metric_add(set,
                   view.invalid          ? METRIC_keys_invalid
                   : view.cooling_ms > 0 ? METRIC_keys_cooling
                                         : METRIC_keys_usable,
                   backend->slot, 1);
    }
}

/* What is counted for the whole process is one more set beside the workers'. */
static void shared_metrics(const struct gateway *gateway, const struct site *site, int64_t now_ms,
                           struct metrics *set)
{
    const struct gateway_slots *slots = &gateway->slots;
    size_t n = atomic_load_explicit(&slots->n, memory_order_acquire);
    size_t inflight = atomic_load_explicit(&gateway->inflight.used, memory_order_relaxed);

    metric_add(set, METRIC_inflight_bytes, 0, (int64_t)inflight);
    metric_add(set, METRIC_responses_store_bytes, 0, (int64_t)replies_bytes(gateway->replies));
    metric_add(set, METRIC_sessions, 0, (int64_t)sessions_count(gateway->sessions));
    struct vault_stats vault;
    vault_stats(gateway->vault, &vault);
    metric_add(set, METRIC_vault_bytes, 0, (int64_t)vault.bytes);
    metric_add(set, METRIC_vault_entries, 0, (int64_t)vault.entries);
    metric_add(set, METRIC_vault_evictions_total, 0, (int64_t)vault.evictions);
    metric_add(set, METRIC_vault_hits_total, 0, (int64_t)vault.hits);
    metric_add(set, METRIC_vault_misses_total, 0, (int64_t)vault.misses);
    for (size_t i = 0; i < n; i++)
        add_connections(set, i, &slots->loads[i]);
    for (size_t i = 0; i < site->backends->n; i++) {
        const struct backend *backend = &site->backends->items[i];
        if (backend->slot == SLOT_OTHER)
            add_connections(set, SLOT_OTHER, backend->load);
        add_keys(set, backend, now_ms);
    }
}

void gateway_metrics(const struct gateway *gateway, const struct site *site, int64_t now_ms,
                     struct buf *out)
{
    struct metrics shared = {0};
    const struct metrics **sets = mem_new((gateway->stations_n + 1) * sizeof(struct metrics *));

    shared_metrics(gateway, site, now_ms, &shared);
    memcpy(sets, gateway->metrics, gateway->stations_n * sizeof(struct metrics *));
    sets[gateway->stations_n] = &shared;
    metric_print(sets, gateway->stations_n + 1, slot_name, (void *)(uintptr_t)gateway, out);
    mem_free(sets);
}

int64_t gateway_start_ms(const struct gateway *gateway)
{
    return gateway->start_ms;
}

void gateway_perf(const struct gateway *gateway, size_t slot, size_t measure, int64_t minute,
                  struct histogram_sum *sum)
{
    if (minute != GATEWAY_START) {
        perf_recent_add(&gateway->slots.recent, slot, measure, minute, sum);
        return;
    }
    for (size_t i = 0; i < gateway->stations_n; i++)
        perf_add(&gateway->stations[i].perf, slot, measure, sum);
}

uint64_t gateway_perf_count(const struct gateway *gateway, size_t slot, enum perf_outcome outcome,
                            int64_t minute)
{
    uint64_t n = 0;

    if (minute != GATEWAY_START)
        return perf_recent_count(&gateway->slots.recent, slot, outcome, minute);
    for (size_t i = 0; i < gateway->stations_n; i++)
        n += perf_count(&gateway->stations[i].perf, slot, outcome);
    return n;
}

int64_t gateway_attempts(const struct gateway *gateway, size_t slot)
{
    int64_t n = 0;

    for (size_t i = 0; i < gateway->stations_n; i++)
        n += metric_get(&gateway->stations[i].metrics, METRIC_attempts_total, slot);
    return n;
}

void gateway_fault(const struct gateway *gateway, size_t slot, struct perf_fault *ret_fault)
{
    perf_fault_get(&gateway->slots.faults, slot, ret_fault);
}

size_t gateway_models(const struct gateway_ask *ask, const struct backend *backend)
{
    return models_count(ask->branch->models, backend);
}
