/* SPDX-License-Identifier: MIT */
/*
 * What      Makes, shares and frees what one reading of the configuration made.
 * How       new -> prepare (reads the files it names) -> shared by reference. A fault found by
 *           prepare ends it before anybody else has seen it.
 * Owns      A reference on the configuration, the backends, the generated key, TLS contexts.
 * Not here  Reading the configuration (state/), changing sites (gateway, station).
 */
#include "gateway/site.h"

#include "base/mem.h"
#include "gateway/gateway_priv.h"
#include "gateway/listener.h"

#define SITE_MAGIC 0x517e5e7au

struct site *site_new(struct config *config, struct backend_set **backends)
{
    struct site *site = mem_new(sizeof(*site));

    assert(*backends != NULL && (*backends)->config == config);
    site->magic = SITE_MAGIC;
    atomic_init(&site->refs, 1);
    site->config = config_ref(config);
    site->backends = *backends;
    *backends = NULL;
    site->keys = config->api_keys;
    site->keys_n = config->api_keys_n;
    arena_init(&site->arena, 64 * 1024, 1024, NULL);
    site->tls = mem_new(site->backends->n * sizeof(struct tls_context *) + 1);
    (void)pthread_mutex_init(&site->tls_lock, NULL);
    return site;
}

struct site *site_ref(struct site *site)
{
    size_t before = atomic_fetch_add_explicit(&site->refs, 1, memory_order_relaxed);

    assert(site->magic == SITE_MAGIC && before > 0);
    return site;
}

/* Backends with equal TLS options share one context. With the lock held. */
static enum error_code find_tls(struct site *site, const struct backend *backend,
                                struct tls_context **ret_context, struct error *e)
{
    const struct backend_config *config = backend->config;
    const struct tls_options options = {.ca_file = config->ca_file, .verify = config->tls_verify};

    for (size_t i = 0; i < site->backends->n; i++) {
        const struct backend_config *other = site->backends->items[i].config;
        if (site->tls[i] != NULL && other->tls_verify == config->tls_verify &&
            str_eq(other->ca_file, config->ca_file)) {
            *ret_context = tls_context_ref(site->tls[i]);
            return OK;
        }
    }
    return tls_context_new(&options, ret_context, e);
}

enum error_code site_tls(struct site *site, const struct backend *backend,
                         struct tls_context **ret_context, struct error *e)
{
    enum error_code code = OK;

    assert(backend->place < site->backends->n);
    *ret_context = NULL;
    if (!backend->url.https || backend->local != NULL)
        return OK;
    pthread_mutex_lock(&site->tls_lock);
    if (site->tls[backend->place] == NULL)
        code = find_tls(site, backend, &site->tls[backend->place], e);
    *ret_context = site->tls[backend->place];
    pthread_mutex_unlock(&site->tls_lock);
    return code;
}

/* A context costs megabytes, so most are made on first use. What the configuration names is read
 * now, where a fault in it is a fault of the configuration. */
static enum error_code check_tls(struct site *site, struct error *e)
{
    const struct backend_set *set = site->backends;
    struct tls_context *context = NULL;

    for (size_t i = 0; i < set->n; i++) {
        if (set->items[i].functional && set->items[i].config->ca_file.n > 0)
            TRY(site_tls(site, &set->items[i], &context, e));
    }
    return OK;
}

enum error_code site_prepare(struct site *site, struct error *e)
{
    TRY(client_key_prepare(site, e));
    TRY(check_tls(site, e));
    return listener_tls_new(site->config, &site->listener, e);
}

static void site_free(struct site *site)
{
    for (size_t i = 0; i < site->backends->n; i++)
        tls_context_unref(&site->tls[i]);
    mem_free(site->tls);
    tls_context_unref(&site->listener);
    (void)pthread_mutex_destroy(&site->tls_lock);
    secret_free(&site->generated.key);
    backend_set_free(&site->backends);
    config_unref(&site->config);
    arena_fini(&site->arena);
    site->magic = 0;
    mem_free(site);
}

void site_unref(struct site **site_ptr)
{
    struct site *site = *site_ptr;

    *site_ptr = NULL;
    if (site == NULL)
        return;
    assert(site->magic == SITE_MAGIC);
    size_t before = atomic_fetch_sub_explicit(&site->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1)
        site_free(site);
}
