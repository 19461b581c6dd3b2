/* SPDX-License-Identifier: MIT */
/*
 * A site: what one reading of the configuration made, as a whole: the configuration, the backends,
 * the keys that clients may show, TLS contexts. Immutable but for the TLS contexts of backends,
 * which are made on first use under a lock; reference-counted.
 *
 * At SIGHUP a new site takes the place of the old one. Main holds the present one; each worker
 * holds one through its branch (gateway_priv.h), and an exchange keeps the branch, and with it the
 * site, that it began with.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "backend/backend.h"
#include "base/mac.h"
#include "state/session.h"

struct forward;
struct tls_context;

struct site {
    uint32_t magic;
    atomic_size_t refs;
    struct config *config;
    struct backend_set *backends;
    /* Keys a client may show: the configuration's, or the one in the file. */
    const struct client_key *keys;
    size_t keys_n;
    struct client_key generated;
    struct session_scope *scopes; /* of each key; NULL until site_make_scopes */
    struct str key_path;          /* null: the configuration has keys, or none is needed */
    /* Per backend, and one more of proxies and of what openai-url names; NULL: not made yet, or
     * plain. Under tls_lock. */
    struct tls_context **tls;
    pthread_mutex_t tls_lock;
    struct tls_context *listener; /* NULL: clients speak plain HTTP. Set by site_prepare */
    struct arena arena;
};

/* Takes a reference on config, and *backends over (nulls it). One reference, the caller's. */
NODISCARD struct site *site_new(struct config *config, struct backend_set **backends);
/* Reads the files that it names, before it is used: the client key (see client_key.c), the
 * certificates. CONFIG: a fault in one. */
NODISCARD enum error_code site_prepare(struct site *site, struct error *e);
/* Says of each key whose sessions it may see, so that no request has to: a MAC with a key that
 * stays, so that it is the same after a restart. After site_prepare, before it is used. */
void site_make_scopes(struct site *site, const struct mac_key *key);
/* client: one of site->keys; NULL: authentication is off. */
struct session_scope site_scope(const struct site *site, const struct client_key *client);
/* Whether what the configuration names to trust backends and proxies by can be read: faults go to
 * report, a line each ("WHERE: error: …"). Returns their number. */
NODISCARD size_t site_check(struct config *config, struct buf *report);
/* Any thread. */
struct site *site_ref(struct site *site);
/* Any thread; nulls; takes NULL. Frees with the last reference, wipes the keys. */
void site_unref(struct site **site);
/* The backend's TLS context, NULL for plain ones; borrowed from the site. Any thread. */
NODISCARD enum error_code site_tls(struct site *site, const struct backend *backend,
                                   struct tls_context **ret_context, struct error *e);
/* The same of hosts that no backend is configured for: what the top level trusts. */
NODISCARD enum error_code site_tls_top(struct site *site, struct tls_context **ret_context,
                                       struct error *e);
/* The way through the proxy that the backend is reached by, the caller's; NULL: none. tls: of
 * site_tls. Any thread. */
NODISCARD enum error_code site_forward(struct site *site, const struct backend *backend,
                                       struct tls_context *tls, struct forward **ret_forward,
                                       struct error *e);
