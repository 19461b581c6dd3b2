/* SPDX-License-Identifier: MIT */
/*
 * The table of sessions as a whole: how it begins and ends, its bounds, and what there is in it.
 */
#include "state/sessions_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "state/store_sqlite.h"

enum { TICK_MS = 1000 };

static void set_bounds(struct sessions *sessions, const struct session_bounds *bounds)
{
    assert(bounds->count_max > 0 && bounds->idle_ms_max > 0 && bounds->history_max >= 0);
    atomic_store_explicit(&sessions->count_max, bounds->count_max, memory_order_relaxed);
    atomic_store_explicit(&sessions->idle_ms_max, bounds->idle_ms_max, memory_order_relaxed);
    atomic_store_explicit(&sessions->history_max, bounds->history_max, memory_order_relaxed);
}

static struct session_bounds bounds_of(const struct config *config)
{
    return (struct session_bounds){
        .count_max = config->session_max_sessions,
        .idle_ms_max = config->session_expiry_seconds_ms,
        .history_max = config->session_max_history_items,
    };
}

/* So many that a shard has some 1000 sessions; one for small tables, whose bound so is exact. */
static size_t shards_for(int64_t count_max)
{
    size_t n = 1;

    while (n < SESSIONS_SHARDS_MAX && (int64_t)n * SESSIONS_PER_SHARD < count_max)
        n *= 2;
    return n;
}

static struct session *server_new(struct sessions *sessions, int64_t now_ms)
{
    static const struct session_scope nobody;
    uint64_t hash = session_table_hash(sessions, &nobody, STR(""));
    struct session *server = session_table_new(sessions, &nobody, STR(""), hash, now_ms);

    server->linked = true;
    return server;
}

static void init(struct sessions *sessions)
{
    pthread_condattr_t attr;

    (void)pthread_mutex_init(&sessions->lock, NULL);
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&sessions->wake, &attr);
    (void)pthread_condattr_destroy(&attr);
    list_init(&sessions->queue);
}

/* No thread runs any more. */
static void fini(struct sessions *sessions)
{
    list_remove(&sessions->server->dirty);
    sessions->server->linked = false;
    session_table_unref(sessions->server);
    session_table_fini(sessions);
    (void)pthread_cond_destroy(&sessions->wake);
    (void)pthread_mutex_destroy(&sessions->lock);
    mem_free(sessions);
}

enum error_code sessions_make(const struct session_bounds *bounds, struct session_store *store,
                              int64_t now_ms, struct sessions **ret_sessions, struct error *e)
{
    struct sessions *sessions = mem_new(sizeof(*sessions));

    init(sessions);
    set_bounds(sessions, bounds);
    session_table_init(sessions, shards_for(bounds->count_max));
    sessions->server = server_new(sessions, now_ms);
    sessions->tick_ms = bounds->tick_ms > 0 ? bounds->tick_ms : TICK_MS;
    sessions->clock_ms = now_ms - clock_real_ms();
    if (store != NULL) {
        enum error_code code = session_load_all(sessions, store, now_ms, e);
        if (code != OK) {
            fini(sessions);
            return code;
        }
        sessions->store = store;
    }
    session_writer_start(sessions);
    *ret_sessions = sessions;
    return OK;
}

enum error_code sessions_new(const struct config *config, int64_t now_ms,
                             struct sessions **ret_sessions, struct error *e)
{
    struct session_bounds bounds = bounds_of(config);
    struct session_store *store = NULL;

    if (str_eq(config->session_repository, STR("file")))
        TRY(store_sqlite_open(config->session_file_path, now_ms, &store, e));
    enum error_code code = sessions_make(&bounds, store, now_ms, ret_sessions, e);
    if (code != OK && store != NULL)
        store->ops->free(store);
    return code;
}

void sessions_free(struct sessions **sessions_ptr)
{
    struct sessions *sessions = *sessions_ptr;

    *sessions_ptr = NULL;
    if (sessions == NULL)
        return;
    session_writer_stop(sessions);
    if (sessions->store != NULL)
        sessions->store->ops->free(sessions->store);
    fini(sessions);
}

void sessions_set_bounds(struct sessions *sessions, const struct config *config)
{
    struct session_bounds bounds = bounds_of(config);

    set_bounds(sessions, &bounds);
}

size_t sessions_count(struct sessions *sessions)
{
    return atomic_load_explicit(&sessions->count, memory_order_relaxed);
}

struct str sessions_problem(struct sessions *sessions, struct arena *arena)
{
    struct str problem = STR_NULL;

    pthread_mutex_lock(&sessions->lock);
    if (sessions->troubled)
        problem = str_copy(arena, str_c(sessions->problem));
    pthread_mutex_unlock(&sessions->lock);
    return problem;
}

struct session *sessions_server(struct sessions *sessions)
{
    return sessions->server;
}

/* --- lists --- */

struct listed {
    struct session *session; /* a reference */
    int64_t seen_ms;
};

struct listing {
    const struct session_scope *scope;
    int64_t now_ms;
    size_t max;
    size_t n;
    struct listed *items; /* 2 * max */
};

static int later_first(const void *a, const void *b)
{
    int64_t seen_a = ((const struct listed *)a)->seen_ms;
    int64_t seen_b = ((const struct listed *)b)->seen_ms;

    return seen_a < seen_b ? 1 : seen_a > seen_b ? -1 : 0;
}

/* The latest max stay. */
static void shorten(struct listing *listing)
{
    qsort(listing->items, listing->n, sizeof(*listing->items), later_first);
    while (listing->n > listing->max)
        session_table_unref(listing->items[--listing->n].session);
}

/* The shard's latest: at most max, and none that is older than the oldest of a full list. */
static void list_shard(struct listing *listing, struct session_shard *shard)
{
    size_t max = listing->n + listing->max;
    int64_t least = listing->n < listing->max ? INT64_MIN : listing->items[listing->n - 1].seen_ms;

    pthread_mutex_lock(&shard->lock);
    LIST_FOREACH(node, &shard->lru)
    {
        struct session *session = LIST_ENTRY(node, struct session, lru);
        if (listing->n == max || session->stats.seen_ms < least)
            break;
        if (session_table_expired(session, listing->now_ms) ||
            (listing->scope != NULL &&
             memcmp(&session->scope, listing->scope, sizeof(session->scope)) != 0))
            continue;
        listing->items[listing->n++] = (struct listed){.session = session_table_ref(session),
                                                       .seen_ms = session->stats.seen_ms};
    }
    pthread_mutex_unlock(&shard->lock);
    shorten(listing);
}

size_t sessions_list(struct sessions *sessions, const struct session_scope *scope, size_t max,
                     int64_t now_ms, struct arena *arena, struct session_view **ret_views)
{
    struct listing listing = {.scope = scope, .now_ms = now_ms, .max = max};
    size_t n = 0;

    *ret_views = arena_array(arena, max, sizeof(**ret_views));
    if (max == 0 || arena_overflowed(arena))
        return 0;
    listing.items = mem_raw(2 * max * sizeof(*listing.items));
    for (size_t i = 0; i < sessions->shards_n; i++)
        list_shard(&listing, &sessions->shards[i]);
    for (size_t i = 0; i < listing.n; i++) {
        struct session *session = listing.items[i].session;
        if (!arena_overflowed(arena))
            session_look(session, false, arena, &(*ret_views)[n++]);
        session_table_unref(session);
    }
    mem_free(listing.items);
    return n;
}
