/* SPDX-License-Identifier: MIT */
/*
 * Sessions of before, from the database: what can be read is linked in the order of its age.
 */
#include "state/sessions_priv.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "text/utf8.h"

enum {
    BLOCK = 4096,
    ARENA_MAX = 1024 * 1024,
    /* A one-off that is given back may find the room taken by what was set meanwhile. */
    LOADED_MAX = 2 * SESSION_SETTINGS_MAX
};

struct loading {
    struct sessions *sessions;
    int64_t now_ms;
    size_t n;
    size_t size;
    struct session **loaded; /* a reference each */
    size_t unreadable;
    size_t removed;
    struct arena arena;
};

static bool stats_are_legal(const struct session_stats *stats)
{
    return stats->requests >= 0 && stats->commands >= 0 && stats->failures >= 0 &&
           stats->tokens_in >= 0 && stats->tokens_out >= 0 && stats->tokens_cached >= 0;
}

/* Settings, history and client; false: one of them is no such thing. */
static bool fill(struct loading *in, struct session *session, const struct session_row *row)
{
    struct settings settings;
    struct error e;
    int64_t history_max = atomic_load_explicit(&in->sessions->history_max, memory_order_relaxed);

    if (row->settings.n > LOADED_MAX || !stats_are_legal(&row->stats) || !utf8_valid(row->client) ||
        settings_read(row->settings, &in->arena, &settings, &e) != OK ||
        !session_history_load(row->history, (size_t)history_max, &session->history))
        return false;
    struct session_value *value = session_value_new(&settings);
    atomic_store_explicit(&session->value, value, memory_order_relaxed);
    session->stats = row->stats;
    /* The clock may have been ahead. */
    if (session->stats.seen_ms > in->now_ms)
        session->stats.seen_ms = in->now_ms;
    session->serial = row->serial;
    session->stored = true;
    session_set_client(session, row->client);
    return true;
}

static void keep(struct loading *in, struct session *session)
{
    if (in->n == in->size) {
        in->size += BLOCK + in->size / 2;
        in->loaded = mem_resize(in->loaded, in->size * sizeof(struct session *));
    }
    in->loaded[in->n++] = session;
}

static bool load_row(void *ctx, const struct session_row *row)
{
    struct loading *in = ctx;
    struct sessions *sessions = in->sessions;

    arena_rewind(&in->arena);
    if (row->id.n == 0) {
        if (fill(in, sessions->server, row))
            return true;
    } else if (row->id.n <= SESSION_ID_MAX && utf8_valid(row->id) && row->serial > 0) {
        uint64_t hash = session_table_hash(sessions, &row->scope, row->id);
        struct session *session = session_table_new(sessions, &row->scope, row->id, hash,
                                                    in->now_ms);
        if (fill(in, session, row)) {
            keep(in, session);
            return true;
        }
        session_table_unref(session);
    }
    in->unreadable++;
    return false;
}

static void note_old(void *ctx, int64_t serial)
{
    struct loading *in = ctx;

    session_table_removed(&in->sessions->shards[0], serial);
    in->removed++;
}

static int earlier_first(const void *a, const void *b)
{
    int64_t seen_a = (*(struct session *const *)a)->stats.seen_ms;
    int64_t seen_b = (*(struct session *const *)b)->stats.seen_ms;

    return seen_a < seen_b ? -1 : seen_a > seen_b ? 1 : 0;
}

/* No thread knows the table yet, but the locks are taken as always. */
static void link_all(struct loading *in)
{
    struct list gone;

    list_init(&gone);
    if (in->n > 1)
        qsort(in->loaded, in->n, sizeof(struct session *), earlier_first);
    for (size_t i = 0; i < in->n; i++) {
        struct session *session = in->loaded[i];
        struct session_shard *shard = session_table_shard(in->sessions, session->hash);
        pthread_mutex_lock(&shard->lock);
        bool linked = session_table_link(shard, session, false, &gone);
        pthread_mutex_unlock(&shard->lock);
        if (!linked) {
            session_table_removed(shard, session->serial);
            session_table_unref(session);
        }
    }
    session_table_unref_all(&gone);
}

enum error_code session_load_all(struct sessions *sessions, struct session_store *store,
                                 int64_t now_ms, struct error *e)
{
    struct loading in = {.sessions = sessions, .now_ms = now_ms};
    int64_t begin_ms = clock_mono_ms();
    int64_t serial = 0;
    struct session_load load = {
        .since_ms = now_ms - atomic_load_explicit(&sessions->idle_ms_max, memory_order_relaxed) + 1,
        .max = (size_t)atomic_load_explicit(&sessions->count_max, memory_order_relaxed),
        .row = load_row,
        .old = note_old,
        .ctx = &in,
    };

    arena_init(&in.arena, ARENA_MAX, BLOCK, NULL);
    enum error_code code = store->ops->load(store, &load, &serial, e);
    arena_fini(&in.arena);
    /* Also of what was read before it failed nothing is left. */
    if (code == OK)
        link_all(&in);
    else
        for (size_t i = 0; i < in.n; i++)
            session_table_unref(in.loaded[i]);
    mem_free(in.loaded);
    if (code != OK)
        return code;
    if (serial > atomic_load_explicit(&sessions->serial, memory_order_relaxed))
        atomic_store_explicit(&sessions->serial, serial, memory_order_relaxed);
    if (in.unreadable > 0)
        LOG(SESSION, WARN, "sessions.unreadable", F_INT("rows", in.unreadable));
    LOG(SESSION, INFO, "sessions.loaded", F_INT("sessions", in.n), F_INT("old", in.removed),
        F_INT("ms", clock_mono_ms() - begin_ms));
    return OK;
}
