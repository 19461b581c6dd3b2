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
#include "http/forward.h"

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
    site->tls = mem_new((site->backends->n + 1) * sizeof(struct tls_context *));
    (void)pthread_mutex_init(&site->tls_lock, NULL);
    return site;
}

struct site *site_ref(struct site *site)
{
    size_t before = atomic_fetch_add_explicit(&site->refs, 1, memory_order_relaxed);

    assert(site->magic == SITE_MAGIC && before > 0);
    return site;
}

/* Of a backend, or, one place further, of proxies: they have the top level's. */
static struct tls_options tls_options_at(const struct site *site, size_t place)
{
    if (place == site->backends->n)
        return (struct tls_options){.ca_file = site->config->ca_file,
                                    .verify = site->config->tls_verify};
    const struct backend_config *config = site->backends->items[place].config;
    return (struct tls_options){.ca_file = config->ca_file, .verify = config->tls_verify};
}

/* --- whose sessions --- */

void site_make_scopes(struct site *site, const struct mac_key *key)
{
    static const struct str what = STR_INIT("session scope\n");
    unsigned char mac[MAC_SIZE];

    assert(site->scopes == NULL);
    site->scopes = mem_new((site->keys_n + 1) * sizeof(site->scopes[0]));
    for (size_t i = 0; i < site->keys_n; i++) {
        const struct str pieces[] = {what, secret_reveal(&site->keys[i].key)};
        mac_make(key, pieces, COUNT_OF(pieces), mac);
        memcpy(site->scopes[i].bytes, mac, SESSION_SCOPE_SIZE);
    }
}

struct session_scope site_scope(const struct site *site, const struct client_key *client)
{
    /* Without authentication all are one. A MAC is not this but by a chance of 2^-128. */
    static const struct session_scope everybody = {.bytes = {[SESSION_SCOPE_SIZE - 1] = 1}};

    if (client == NULL)
        return everybody;
    assert(site->scopes != NULL);
    assert(client >= site->keys && client < site->keys + site->keys_n);
    return site->scopes[client - site->keys];
}

/* Equal TLS options share one context. With the lock held. */
static enum error_code find_tls(struct site *site, size_t place, struct tls_context **ret_context,
                                struct error *e)
{
    const struct tls_options options = tls_options_at(site, place);

    for (size_t i = 0; i <= site->backends->n; i++) {
        const struct tls_options other = tls_options_at(site, i);
        if (site->tls[i] != NULL && other.verify == options.verify &&
            str_eq(other.ca_file, options.ca_file)) {
            *ret_context = tls_context_ref(site->tls[i]);
            return OK;
        }
    }
    return tls_context_new(&options, ret_context, e);
}

static enum error_code tls_at(struct site *site, size_t place, struct tls_context **ret_context,
                              struct error *e)
{
    enum error_code code = OK;

    assert(place <= site->backends->n);
    pthread_mutex_lock(&site->tls_lock);
    if (site->tls[place] == NULL)
        code = find_tls(site, place, &site->tls[place], e);
    *ret_context = site->tls[place];
    pthread_mutex_unlock(&site->tls_lock);
    return code;
}

enum error_code site_tls(struct site *site, const struct backend *backend,
                         struct tls_context **ret_context, struct error *e)
{
    assert(backend->place < site->backends->n);
    *ret_context = NULL;
    if (!backend->url.https || backend->local != NULL)
        return OK;
    return tls_at(site, backend->place, ret_context, e);
}

enum error_code site_tls_top(struct site *site, struct tls_context **ret_context, struct error *e)
{
    *ret_context = NULL;
    return tls_at(site, site->backends->n, ret_context, e);
}

static bool is_https(const struct secret *url)
{
    return str_starts_nocase(secret_reveal(url), STR("https://"));
}

enum error_code site_forward(struct site *site, const struct backend *backend,
                             struct tls_context *tls, struct forward **ret_forward, struct error *e)
{
    const struct config *config = site->config;
    const struct forward_rules rules = {
        .https_proxy = secret_reveal(&config->https_proxy),
        .http_proxy = secret_reveal(&config->http_proxy),
        .all_proxy = secret_reveal(&config->all_proxy),
        .no_proxy = config->no_proxy.items,
        .no_proxy_n = config->no_proxy.n,
    };
    struct forward_options options = {
        .host = backend->url.host,
        .port = backend->url.port,
        .tls = tls,
        .connect_timeout_ms = backend->config->connect_timeout_ms,
        .header_bytes_max = config->header_bytes_max,
    };

    *ret_forward = NULL;
    if (backend->local != NULL)
        return OK;
    options.proxy = forward_choose(&rules, &backend->url);
    if (str_is_null(options.proxy))
        return OK;
    if (str_starts_nocase(options.proxy, STR("https://")))
        TRY(tls_at(site, site->backends->n, &options.proxy_tls, e));
    return forward_new(&options, ret_forward, e);
}

static enum error_code prepare_tls(struct site *site, size_t place, struct error *e)
{
    const struct tls_options options = tls_options_at(site, place);
    struct tls_context *context = NULL;

    return tls_context_reads_file(&options) ? tls_at(site, place, &context, e) : OK;
}

/* Most contexts are made on first use. Those that are made of a file, now: it takes time, and a
 * fault in it is a fault of the configuration. *place: where to begin; on a fault, where it is. */
static enum error_code check_tls(struct site *site, size_t *place, struct error *e)
{
    const struct config *config = site->config;
    const struct backend_set *set = site->backends;

    for (; *place < set->n; (*place)++) {
        const struct backend *backend = &set->items[*place];
        if (backend->functional && backend->local == NULL && backend->url.https)
            TRY(prepare_tls(site, *place, e));
    }
    if (*place == set->n && (is_https(&config->https_proxy) || is_https(&config->http_proxy) ||
                             is_https(&config->all_proxy) || config->allowed_url_hosts.n > 0))
        return prepare_tls(site, set->n, e);
    return OK;
}

size_t site_check(struct config *config, struct buf *report)
{
    struct backend_set *backends = NULL;
    struct error e;
    size_t faults = 0;

    if (backend_set_new(config, &backends, &e) != OK)
        return 0; /* which backend_check tells */
    struct site *site = site_new(config, &backends);
    for (size_t place = 0; check_tls(site, &place, &e) != OK; place++, faults++) {
        bool of_backend = place < site->backends->n;
        struct str where = of_backend ? site->backends->items[place].config->where
                                      : config_origin(config, "ca_file");
        (void)buf_print(report, "%.*s: error: %s%.*s: %s\n", STR_ARG(where),
                        of_backend ? "backends." : "proxies",
                        STR_ARG(of_backend ? site->backends->items[place].name : STR("")),
                        e.detail);
    }
    site_unref(&site);
    return faults;
}

enum error_code site_prepare(struct site *site, struct error *e)
{
    size_t place = 0;

    TRY(client_key_prepare(site, e));
    TRY(check_tls(site, &place, e));
    return listener_tls_new(site->config, &site->listener, e);
}

static void site_free(struct site *site)
{
    for (size_t i = 0; i <= site->backends->n; i++)
        tls_context_unref(&site->tls[i]);
    mem_free(site->tls);
    mem_free(site->scopes);
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
