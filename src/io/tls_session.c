/* SPDX-License-Identifier: MIT */
/*
 * Sessions of TLS connections to backends, to be resumed by later ones.
 *
 * What      A resumed handshake is cheaper on both sides, but the server shows no certificate in
 *           it. So a session is given only to connections to the very host and port at which the
 *           certificate was verified, under the same settings (a store belongs to one context), and
 *           for at most an hour after that, however often it was renewed meanwhile.
 * How       A list, the youngest first, searched from its head: it is short, and asked once a
 *           handshake. A session taken leaves the list. Kept as bytes: a live SSL_SESSION holds
 *           the whole chain of certificates, decoded, and belongs to several threads.
 * Owns      The bytes, wiped when they go: who has them can read the connection's beginning.
 * Not here  When a connection was verified (conn_tls).
 */
#include "io/conn.h"

#include <pthread.h>
#include <time.h>

#include "base/list.h"
#include "base/mem.h"
#include "io/tls_priv.h"

struct tls_session_store {
    pthread_mutex_t lock;
    struct list sessions; /* the youngest first */
    size_t n;
};

struct kept {
    struct list link;
    int64_t verified_ms;
    size_t n;
    size_t host_n;
    uint16_t port;
    unsigned char bytes[]; /* n of the session, then host_n of the host's name */
};

struct tls_session_store *tls_session_store_new(void)
{
    struct tls_session_store *store = mem_new(sizeof(*store));

    list_init(&store->sessions);
    (void)pthread_mutex_init(&store->lock, NULL);
    return store;
}

static void drop(struct kept *kept)
{
    mem_wipe(kept->bytes, kept->n);
    mem_free(kept);
}

static void unlink_kept(struct tls_session_store *store, struct kept *kept)
{
    assert(store->n > 0);
    list_remove(&kept->link);
    store->n--;
}

void tls_session_store_free(struct tls_session_store **store)
{
    struct tls_session_store *s = *store;

    *store = NULL;
    if (s == NULL)
        return;
    LIST_FOREACH(link, &s->sessions)
    {
        struct kept *kept = LIST_ENTRY(link, struct kept, link);
        unlink_kept(s, kept);
        drop(kept);
    }
    assert(s->n == 0);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static bool is_of(const struct kept *kept, struct str host, uint16_t port)
{
    const struct str name = str_of((const char *)kept->bytes + kept->n, kept->host_n);

    return kept->port == port && str_eq_nocase(name, host);
}

/* The session in bytes, its host behind it; NULL: it is not to be kept. */
static struct kept *kept_new(struct str host, SSL_SESSION *session)
{
    int n = i2d_SSL_SESSION(session, NULL);

    if (SSL_SESSION_is_resumable(session) != 1 || n <= 0 || n > TLS_SESSION_BYTES_MAX)
        return NULL;
    struct kept *kept = mem_new(sizeof(*kept) + (size_t)n + host.n);
    unsigned char *to = kept->bytes;
    kept->n = (size_t)i2d_SSL_SESSION(session, &to);
    assert(kept->n == (size_t)n);
    kept->host_n = host.n;
    memcpy(kept->bytes + kept->n, host.p, host.n);
    list_init(&kept->link);
    return kept;
}

/* What is one too many, of that host or of all: the oldest. */
static struct kept *take_surplus(struct tls_session_store *store, struct str host, uint16_t port)
{
    struct kept *last = NULL;
    struct kept *last_of_host = NULL;
    size_t of_host = 0;

    LIST_FOREACH(link, &store->sessions)
    {
        last = LIST_ENTRY(link, struct kept, link);
        if (is_of(last, host, port)) {
            of_host++;
            last_of_host = last;
        }
    }
    if (of_host > TLS_SESSION_HOST_MAX)
        last = last_of_host;
    else if (store->n <= TLS_SESSION_COUNT_MAX)
        return NULL;
    unlink_kept(store, last);
    return last;
}

void tls_session_keep(struct tls_session_store *store, struct str host, uint16_t port,
                      int64_t verified_ms, SSL_SESSION *session)
{
    assert(host.n > 0);
    struct kept *kept = kept_new(host, session);
    if (kept == NULL)
        return;
    kept->port = port;
    kept->verified_ms = verified_ms;
    pthread_mutex_lock(&store->lock);
    list_push_front(&store->sessions, &kept->link);
    store->n++;
    struct kept *surplus = take_surplus(store, host, port);
    pthread_mutex_unlock(&store->lock);
    if (surplus != NULL)
        drop(surplus);
}

static struct kept *take(struct tls_session_store *store, struct str host, uint16_t port)
{
    LIST_FOREACH(link, &store->sessions)
    {
        struct kept *kept = LIST_ENTRY(link, struct kept, link);
        if (!is_of(kept, host, port))
            continue;
        unlink_kept(store, kept);
        return kept;
    }
    return NULL;
}

/* RFC 8446, 4.6.1: a ticket is not to be used for longer than its lifetime. */
static bool is_fresh(const SSL_SESSION *session)
{
    return SSL_SESSION_get_time(session) + SSL_SESSION_get_timeout(session) > (long)time(NULL);
}

SSL_SESSION *tls_session_take(struct tls_session_store *store, struct str host, uint16_t port,
                              int64_t now_ms, int64_t *ret_verified_ms)
{
    SSL_SESSION *session = NULL;

    pthread_mutex_lock(&store->lock);
    struct kept *kept = take(store, host, port);
    pthread_mutex_unlock(&store->lock);
    if (kept == NULL)
        return NULL;
    if (now_ms - kept->verified_ms < TLS_SESSION_AGE_MAX_MS) {
        const unsigned char *from = kept->bytes;
        session = d2i_SSL_SESSION(NULL, &from, (long)kept->n);
        *ret_verified_ms = kept->verified_ms;
    }
    drop(kept);
    if (session == NULL || is_fresh(session))
        return session;
    SSL_SESSION_free(session);
    return NULL;
}
