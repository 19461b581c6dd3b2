/* SPDX-License-Identifier: MIT */
/*
 * Branches: what one worker has of one site.
 *
 * What      Pools of upstream connections, the list of models, the server behind built-in
 *           backends.
 * How       The station's present branch serves what comes in; an exchange enters it when it
 *           begins and leaves it when it is over. When a site is replaced, its branch retires: idle
 *           connections are closed at once, the others after their request, and with its last
 *           exchange it is freed, at the end of that turn.
 * Owns      A reference on the site; the pools, the list, the server.
 * Not here  When a site is replaced (station, gateway).
 */
#include "gateway/branch.h"

#include "base/mem.h"
#include "gateway/gateway_priv.h"
#include "gateway/local.h"
#include "gateway/models.h"

struct branch *branch_new(struct station *station, struct site *site)
{
    struct branch *branch = mem_new(sizeof(*branch));

    branch->magic = BRANCH_MAGIC;
    branch->station = station;
    branch->site = site;
    branch->pools = mem_new(site->backends->n * sizeof(struct client_pool *) + 1);
    list_init(&branch->end.link);
    list_init(&branch->link);
    list_push_back(&station->branches, &branch->link);
    door_table_init(&branch->doors);
    branch->models = models_new(branch);
    return branch;
}

/* Nothing runs in it any more. False: the server of the built-in backends still has connections,
 * whose end is on the way. */
static bool release(struct branch *branch)
{
    assert(branch->magic == BRANCH_MAGIC && branch->users == 0);
    models_free(&branch->models);
    for (size_t i = 0; i < branch->site->backends->n; i++)
        client_pool_free(&branch->pools[i]);
    door_table_free(&branch->doors);
    if (branch->local != NULL && server_conn_count(branch->local) > 0) {
        server_close_all(branch->local);
        return false;
    }
    server_free(&branch->local);
    loop_undefer(&branch->end);
    list_remove(&branch->link);
    mem_free(branch->pools);
    site_unref(&branch->site);
    branch->magic = 0;
    mem_free(branch);
    return true;
}

static void end_now(struct deferred *deferred)
{
    struct branch *branch = CONTAINER_OF(deferred, struct branch, end);
    struct station *station = branch->station;

    assert(branch->retired);
    if (branch->users == 0 && release(branch))
        station_branch_ended(station);
}

void branch_check_end(struct branch *branch)
{
    if (branch->retired && branch->users == 0)
        loop_defer(branch->station->loop, &branch->end, end_now);
}

static void drain(struct branch *branch)
{
    assert(branch->magic == BRANCH_MAGIC);
    for (size_t i = 0; i < branch->site->backends->n; i++) {
        if (branch->pools[i] != NULL)
            client_pool_drain(branch->pools[i]);
    }
    door_table_drain(&branch->doors);
}

void branch_retire(struct branch *branch)
{
    branch->retired = true;
    drain(branch);
    branch_check_end(branch);
}

void branch_stop(struct branch *branch)
{
    models_stop(branch->models);
    drain(branch);
}

void branch_free(struct branch *branch)
{
    bool released = release(branch);

    assert(released);
}

struct branch *branch_enter(struct branch *branch)
{
    assert(branch->magic == BRANCH_MAGIC && branch->models != NULL);
    branch->users++;
    return branch;
}

void branch_leave(struct branch *branch)
{
    assert(branch->magic == BRANCH_MAGIC && branch->users > 0);
    branch->users--;
    branch_check_end(branch);
}

void branch_trim(struct branch *branch)
{
    for (size_t i = 0; i < branch->site->backends->n; i++) {
        if (branch->pools[i] != NULL)
            client_pool_trim(branch->pools[i]);
    }
    door_table_trim(&branch->doors);
}

/* Idle connections of other workers stand in the way of a request of this one. */
static void on_crowded(void *ctx)
{
    struct branch *branch;

    CAST(branch, ctx, BRANCH_MAGIC);
    station_crowded(branch->station);
}

static struct conn *connect_local(void *ctx, struct loop *loop)
{
    struct branch *branch;

    CAST(branch, ctx, BRANCH_MAGIC);
    if (branch->local == NULL)
        branch->local = local_server_new(branch);
    return local_connect(branch->local, loop);
}

struct client_pool *branch_pool_new(struct branch *branch, const struct backend *backend,
                                    struct tls_context *tls, struct forward *forward,
                                    const struct conn_filter *filter)
{
    const struct backend_config *config = backend->config;
    const struct client_pool_options options = {
        .host = backend->url.host,
        .port = backend->url.port,
        .tls = tls,
        .connect_timeout_ms = config->connect_timeout_ms,
        .idle_timeout_ms = config->upstream_idle_timeout_ms,
        .silence_timeout_ms = config->proxy_timeout_ms,
        .header_bytes_max = branch->site->config->header_bytes_max,
        .connections = &backend->load->connections,
        .connections_max = (size_t)config->upstream_connections_max,
        .busy = &backend->load->busy,
        .crowded = on_crowded,
        .connect = backend->local != NULL ? connect_local : NULL,
        .connect_ctx = branch,
        .forward = forward,
        .filter = filter,
        .budget = &branch->station->gateway->inflight,
    };
    struct client_pool *pool = client_pool_new(branch->station->loop, &options);

    if (branch->retired)
        client_pool_drain(pool);
    return pool;
}

enum error_code branch_pool(struct branch *branch, struct backend *backend,
                            struct client_pool **ret_pool, struct error *e)
{
    struct client_pool **pool = &branch->pools[backend->place];
    struct tls_context *tls = NULL;
    struct forward *forward = NULL;

    assert(backend == &branch->site->backends->items[backend->place]);
    if (*pool == NULL) {
        TRY(site_tls(branch->site, backend, &tls, e));
        TRY(site_forward(branch->site, backend, tls, &forward, e));
        *pool = branch_pool_new(branch, backend, tls, forward, NULL);
    }
    *ret_pool = *pool;
    return OK;
}
