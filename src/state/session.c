/* SPDX-License-Identifier: MIT */
/*
 * What      One session: how it is found, what is set, what is remembered of it.
 * How       What is set is an immutable value (session_value.h); a change builds the next one and
 *           puts it in the other's place if that is still the one that it was built from, else it
 *           is built again. So no lock is held while memory is taken or text is copied.
 * Not here  The table (session_table.c), how a change gets into the database (session_writer.c).
 */
#include "state/session.h"

#include <xxhash.h>

#include "base/mem.h"
#include "state/sessions_priv.h"
#include "text/utf8.h"

enum { CLIENT_MAX = 256 };

#define NOTHING_text(field)  .field = {.p = NULL, .n = 0},
#define NOTHING_count(field) .field = -1,
#define NOTHING_flag(field)  .field = -1,

/* What is set where nothing is; of all tables, and never freed. */
static const struct settings nothing = {
#define SETTING(kind, field, key) NOTHING_##kind(field)
#include "state/setting.def"
#undef SETTING
};

static struct session_shard *lock_of(struct session *session)
{
    struct session_shard *shard = session_table_shard(session->sessions, session->hash);

    pthread_mutex_lock(&shard->lock);
    return shard;
}

static void unlock(struct session_shard *shard)
{
    pthread_mutex_unlock(&shard->lock);
}

/* --- keys of backends --- */

static uint32_t key_backend(uint64_t pair)
{
    return (uint32_t)(pair >> 32);
}

uint32_t session_key(const struct session *session, uint32_t backend)
{
    for (size_t i = 0; i < SESSION_KEYS; i++) {
        uint64_t pair = atomic_load_explicit(&session->keys[i], memory_order_relaxed);
        if (key_backend(pair) == backend)
            return (uint32_t)pair;
    }
    return 0;
}

/* In the place that it has, else an empty one, else one that depends on the backend. Two at once
 * may take the same place: then one of them is forgotten, and its next request is as a new
 * session's. */
void session_keep_key(struct session *session, uint32_t backend, uint32_t key)
{
    size_t place = backend % SESSION_KEYS;

    assert(backend != 0 && key != 0);
    for (size_t i = SESSION_KEYS; i-- > 0;) {
        uint32_t there = key_backend(atomic_load_explicit(&session->keys[i], memory_order_relaxed));
        if (there == 0)
            place = i;
        if (there == backend) {
            place = i;
            break;
        }
    }
    atomic_store_explicit(&session->keys[place], (uint64_t)backend << 32 | key,
                          memory_order_relaxed);
}

static void forget_keys(struct session *session)
{
    for (size_t i = 0; i < SESSION_KEYS; i++)
        atomic_store_explicit(&session->keys[i], 0, memory_order_relaxed);
}

/* --- finding --- */

static bool is_pristine(const struct session *session)
{
    const struct session_stats *stats = &session->stats;

    return atomic_load_explicit(&session->value, memory_order_relaxed) == NULL &&
           (session->history == NULL || session->history->n == 0) && stats->requests == 0 &&
           stats->commands == 0 && stats->failures == 0 && stats->tokens_in == 0 &&
           stats->tokens_out == 0 && stats->tokens_cached == 0;
}

/* Nobody else has it: it begins anew where it is. The value that it had is the caller's. */
static struct session_value *renew(struct session_shard *shard, struct session *session,
                                   int64_t now_ms)
{
    struct session_value *value = atomic_exchange_explicit(&session->value, NULL,
                                                           memory_order_acq_rel);

    session_history_clear(session->history);
    forget_keys(session);
    session->stats = (struct session_stats){.created_ms = now_ms, .seen_ms = now_ms};
    session_table_soil(shard, session);
    return value;
}

struct entering {
    struct session_shard *shard;
    uint64_t hash;
    bool anew;
    int64_t now_ms;
    struct list gone;
    struct session_value *dropped;
};

/* Under the lock: the session that is to be entered, with a reference; NULL: there is none. */
static struct session *use(struct entering *in, const struct session_scope *scope, struct str id)
{
    struct session *session = session_table_find(in->shard, in->hash, scope, id);

    if (session == NULL)
        return NULL;
    bool alone = atomic_load_explicit(&session->refs, memory_order_relaxed) == 1;
    bool leaves = session_table_expired(session, in->now_ms);
    if (in->anew && !leaves && !is_pristine(session)) {
        if (alone)
            in->dropped = renew(in->shard, session, in->now_ms);
        else
            leaves = true;
    }
    if (leaves) {
        session_table_unlink(in->shard, session, &in->gone);
        return NULL;
    }
    session_table_touch(in->shard, session, in->now_ms);
    return session_table_ref(session);
}

struct session *session_enter(struct sessions *sessions, const struct session_scope *scope,
                              struct str id, bool anew, int64_t now_ms)
{
    struct entering in = {.anew = anew, .now_ms = now_ms};
    struct session *made = NULL;
    struct session *session;
    bool place = false;

    assert(id.n > 0 && id.n <= SESSION_ID_MAX);
    list_init(&in.gone);
    in.hash = session_table_hash(sessions, scope, id);
    in.shard = session_table_shard(sessions, in.hash);
    for (;;) {
        bool linked = false;
        pthread_mutex_lock(&in.shard->lock);
        session = use(&in, scope, id);
        if (session == NULL && made != NULL) {
            linked = session_table_link(in.shard, made, place, &in.gone);
            if (linked)
                (void)session_table_ref(made);
        }
        pthread_mutex_unlock(&in.shard->lock);
        if (session != NULL || linked)
            break;
        if (made == NULL)
            made = session_table_new(sessions, scope, id, in.hash, now_ms);
        else
            place = session_table_take_place(sessions, in.shard);
    }
    if (place && session != NULL)
        session_table_give_place(sessions);
    session_value_unref(in.dropped);
    session_table_unref_all(&in.gone);
    if (session == NULL)
        return made;
    if (made != NULL)
        session_table_unref(made);
    return session;
}

struct session *session_find(struct sessions *sessions, const struct session_scope *scope,
                             struct str id, int64_t now_ms)
{
    struct list gone;

    if (id.n == 0 || id.n > SESSION_ID_MAX)
        return NULL;
    list_init(&gone);
    uint64_t hash = session_table_hash(sessions, scope, id);
    struct session_shard *shard = session_table_shard(sessions, hash);
    pthread_mutex_lock(&shard->lock);
    struct session *session = session_table_find(shard, hash, scope, id);
    if (session != NULL && session_table_expired(session, now_ms)) {
        session_table_unlink(shard, session, &gone);
        session = NULL;
    }
    if (session != NULL)
        (void)session_table_ref(session);
    pthread_mutex_unlock(&shard->lock);
    session_table_unref_all(&gone);
    return session;
}

bool session_forget(struct sessions *sessions, const struct session_scope *scope, struct str id)
{
    struct list gone;

    if (id.n == 0 || id.n > SESSION_ID_MAX)
        return false;
    list_init(&gone);
    uint64_t hash = session_table_hash(sessions, scope, id);
    struct session_shard *shard = session_table_shard(sessions, hash);
    pthread_mutex_lock(&shard->lock);
    struct session *session = session_table_find(shard, hash, scope, id);
    if (session != NULL)
        session_table_unlink(shard, session, &gone);
    pthread_mutex_unlock(&shard->lock);
    session_table_unref_all(&gone);
    return session != NULL;
}

void session_leave(struct session **session)
{
    if (*session != NULL)
        session_table_unref(*session);
    *session = NULL;
}

struct str session_id(const struct session *session)
{
    return str_of(session->id, session->id_n);
}

/* --- settings --- */

struct session_value *session_current(struct session *session)
{
    if (atomic_load_explicit(&session->value, memory_order_acquire) == NULL)
        return NULL;
    struct session_shard *shard = lock_of(session);
    struct session_value *value = session_value_ref(
        atomic_load_explicit(&session->value, memory_order_relaxed));
    unlock(shard);
    return value;
}

/* Puts next, whose reference it takes, in the place of base. False: another is there meanwhile;
 * nothing is changed, and next is still the caller's. */
static bool replace(struct session *session, struct session_value *base, struct session_value *next,
                    bool soils)
{
    struct session_shard *shard = lock_of(session);
    bool same = atomic_load_explicit(&session->value, memory_order_relaxed) == base;

    if (same) {
        atomic_store_explicit(&session->value, next, memory_order_release);
        if (soils)
            session_table_soil(shard, session);
    }
    unlock(shard);
    if (same)
        session_value_unref(base); /* the session's */
    return same;
}

const struct settings *session_settings(struct session *session)
{
    const struct session_value *value = session_current(session);

    return value == NULL ? &nothing : &value->settings;
}

void session_settings_unref(const struct settings **settings)
{
    const struct settings *gone = *settings;

    *settings = NULL;
    if (gone == NULL || gone == &nothing)
        return;
    /* Constant for who has a reference, but for how many there are. */
    uintptr_t value = (uintptr_t)gone - offsetof(struct session_value, settings);
    session_value_unref((struct session_value *)value);
}

void session_publish(struct session *session, const struct settings *values, uint32_t mask,
                     const struct session_value *written)
{
    for (;;) {
        struct session_value *base = session_current(session);
        struct session_value *next = session_value_merge(base, values, mask);
        /* A one-off was used meanwhile: what was written is not what is in force. */
        bool differs = !session_value_equal(next, written);
        bool done = replace(session, base, next, differs);
        session_value_unref(base);
        if (done)
            return;
        session_value_unref(next);
    }
}

/* In memory: at once, or not at all. */
static void commit_here(struct session *session, const struct session_change *change,
                        struct error *e)
{
    for (;;) {
        struct session_value *base = session_current(session);
        struct session_value *next = session_value_merge(base, &change->values, change->mask);
        bool fits = session_value_fits(next);
        bool done = fits && replace(session, base, next, false);
        session_value_unref(base);
        if (done)
            return;
        session_value_unref(next);
        if (!fits) {
            session_value_refuse(e);
            return;
        }
    }
}

bool session_commit(struct session *session, const struct session_change *change,
                    session_done_fn *done, void *ctx, struct error *e)
{
    *e = (struct error){.code = OK};
    if (session->sessions->store == NULL) {
        commit_here(session, change, e);
        return true;
    }
    if (session_writer_add(session, change, done, ctx))
        return false;
    (void)FAIL(e, ERR_SYSTEM, "too many settings wait to be written; try again");
    return true;
}

struct str session_take_oneoff(struct session *session, struct arena *arena)
{
    struct settings none;

    settings_init(&none);
    for (;;) {
        struct session_value *base = session_current(session);
        if (base == NULL || str_is_null(base->settings.oneoff)) {
            session_value_unref(base);
            return STR_NULL;
        }
        struct session_value *next = session_value_merge(base, &none, SETTING_BIT(oneoff));
        bool taken = replace(session, base, next, true);
        struct str oneoff = taken ? str_copy(arena, base->settings.oneoff) : STR_NULL;
        session_value_unref(base);
        if (taken)
            return oneoff;
        session_value_unref(next);
    }
}

void session_return_oneoff(struct session *session, struct str oneoff)
{
    struct settings back;

    settings_init(&back);
    back.oneoff = oneoff;
    for (;;) {
        struct session_value *base = session_current(session);
        if (base != NULL && !str_is_null(base->settings.oneoff)) {
            session_value_unref(base);
            return;
        }
        struct session_value *next = session_value_merge(base, &back, SETTING_BIT(oneoff));
        bool done = replace(session, base, next, true);
        session_value_unref(base);
        if (done)
            return;
        session_value_unref(next);
    }
}

/* --- history --- */

void session_note(struct session *session, const struct session_item *item)
{
    int64_t max = atomic_load_explicit(&session->sessions->history_max, memory_order_relaxed);
    struct session_shard *shard = lock_of(session);

    session_history_add(&session->history, item, (size_t)max);
    session_table_soil(shard, session);
    unlock(shard);
}

void session_count(struct session *session, const struct session_stats *add)
{
    struct session_shard *shard = lock_of(session);
    struct session_stats *stats = &session->stats;

    stats->requests += add->requests;
    stats->commands += add->commands;
    stats->failures += add->failures;
    stats->tokens_in += add->tokens_in;
    stats->tokens_out += add->tokens_out;
    stats->tokens_cached += add->tokens_cached;
    session_table_soil(shard, session);
    unlock(shard);
}

void session_set_client(struct session *session, struct str client)
{
    unsigned hash = client.n == 0 ? 0 : (unsigned)XXH3_64bits(client.p, client.n) | 1;

    if (atomic_load_explicit(&session->client_hash, memory_order_relaxed) == hash)
        return;
    client = utf8_head(client, CLIENT_MAX);
    client.n = utf8_valid_prefix(client);
    char *name = client.n == 0 ? NULL : str_dup(client);
    struct session_shard *shard = lock_of(session);
    char *before = session->client;
    session->client = name;
    atomic_store_explicit(&session->client_hash, hash, memory_order_relaxed);
    session_table_soil(shard, session);
    unlock(shard);
    mem_free(before);
}

void session_look(struct session *session, bool history, struct arena *arena,
                  struct session_view *ret_view)
{
    struct session_view view = {.scope = session->scope,
                                .id = str_copy(arena, session_id(session))};
    struct session_value *value = session_current(session);
    struct session_shard *shard = lock_of(session);
    struct str bytes = history ? str_copy(arena, session_history_bytes(session->history)) : STR("");

    view.stats = session->stats;
    view.client = str_copy(arena, str_c(session->client));
    unlock(shard);
    settings_copy(value == NULL ? &nothing : &value->settings, arena, &view.settings);
    session_value_unref(value);
    if (arena_overflowed(arena))
        bytes = STR("");
    session_history_items(bytes, arena, &view.history, &view.history_n);
    *ret_view = view;
}

void session_view(struct session *session, struct arena *arena, struct session_view *ret_view)
{
    session_look(session, true, arena, ret_view);
}
