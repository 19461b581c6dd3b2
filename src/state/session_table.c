/* SPDX-License-Identifier: MIT */
/*
 * What      The table of sessions: shards of buckets, each with a lock and a list by age.
 * How       A shard's buckets grow one at a time (linear hashing), so that no insertion has to move
 *           more than one bucket. `lru` has the latest in front: at its back is who leaves when
 *           there are too many, or when it has been idle for too long.
 * Owns      The buckets; a reference to each linked session.
 * Not here  What a session is (session.c), the database (session_writer.c).
 */
#include "state/sessions_priv.h"

#include <xxhash.h>

#include "base/id.h"
#include "base/mem.h"

enum {
    BUCKETS_MIN = 16,
    REMOVED_MIN = 64,
    CLOCK_BACK_MS = 1000 /* less harms nobody */
};

void session_table_init(struct sessions *sessions, size_t shards_n)
{
    assert(shards_n > 0 && (shards_n & (shards_n - 1)) == 0);
    id_random_bytes(&sessions->seed, sizeof(sessions->seed));
    sessions->shards_n = shards_n;
    sessions->shards = mem_new(shards_n * sizeof(struct session_shard));
    for (size_t i = 0; i < shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        (void)pthread_mutex_init(&shard->lock, NULL);
        shard->buckets_size = BUCKETS_MIN;
        shard->buckets = mem_new(BUCKETS_MIN * sizeof(*shard->buckets));
        shard->level = BUCKETS_MIN / 2;
        list_init(&shard->lru);
        list_init(&shard->dirty);
        list_init(&shard->writing);
    }
}

void session_table_fini(struct sessions *sessions)
{
    for (size_t i = 0; i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        LIST_FOREACH(node, &shard->lru)
        {
            struct session *session = LIST_ENTRY(node, struct session, lru);
            list_remove(&session->lru);
            list_remove(&session->dirty);
            session->linked = false;
            session_table_unref(session);
        }
        (void)pthread_mutex_destroy(&shard->lock);
        mem_free(shard->buckets);
        mem_free(shard->removed);
    }
    mem_free(sessions->shards);
}

uint64_t session_table_hash(const struct sessions *sessions, const struct session_scope *scope,
                            struct str id)
{
    uint64_t seed = XXH3_64bits_withSeed(scope->bytes, sizeof(scope->bytes), sessions->seed);

    return XXH3_64bits_withSeed(id.p, id.n, seed);
}

/* By the upper bits; buckets go by the lower ones. */
struct session_shard *session_table_shard(struct sessions *sessions, uint64_t hash)
{
    return &sessions->shards[(hash >> 48) & (sessions->shards_n - 1)];
}

/* --- one session --- */

struct session *session_table_new(struct sessions *sessions, const struct session_scope *scope,
                                  struct str id, uint64_t hash, int64_t now_ms)
{
    struct session *session = mem_raw(sizeof(*session) + id.n);

    assert(id.n <= SESSION_ID_MAX);
    memset(session, 0, sizeof(*session));
    list_init(&session->lru);
    list_init(&session->dirty);
    session->sessions = sessions;
    session->hash = hash;
    session->serial = atomic_fetch_add_explicit(&sessions->serial, 1, memory_order_relaxed) + 1;
    session->stats.created_ms = now_ms;
    session->stats.seen_ms = now_ms;
    session->scope = *scope;
    session->id_n = (unsigned char)id.n;
    memcpy(session->id, id.p, id.n);
    atomic_init(&session->value, NULL);
    atomic_init(&session->refs, 1);
    atomic_init(&session->client_hash, 0);
    return session;
}

struct session *session_table_ref(struct session *session)
{
    unsigned before = atomic_fetch_add_explicit(&session->refs, 1, memory_order_relaxed);

    assert(before > 0 && before < UINT32_MAX);
    return session;
}

void session_table_unref(struct session *session)
{
    unsigned before = atomic_fetch_sub_explicit(&session->refs, 1, memory_order_acq_rel);

    assert(before > 0);
    if (before > 1)
        return;
    assert(!session->linked && !list_linked(&session->lru) && !list_linked(&session->dirty));
    assert(session->pending == NULL);
    session_value_unref(atomic_load_explicit(&session->value, memory_order_relaxed));
    mem_free(session->history);
    mem_free(session->client);
    mem_free(session);
}

void session_table_unref_all(struct list *gone)
{
    while (!list_empty(gone)) {
        struct session *session = LIST_ENTRY(gone->next, struct session, lru);
        list_remove(&session->lru);
        session_table_unref(session);
    }
}

/* --- under the shard's lock --- */

static size_t bucket_of(const struct session_shard *shard, uint64_t hash)
{
    size_t bucket = hash & (2 * shard->level - 1);

    return bucket < shard->level + shard->split ? bucket : bucket - shard->level;
}

struct session *session_table_find(struct session_shard *shard, uint64_t hash,
                                   const struct session_scope *scope, struct str id)
{
    struct session *session = shard->buckets[bucket_of(shard, hash)];

    while (session != NULL && !(session->hash == hash && str_eq(session_id(session), id) &&
                                memcmp(&session->scope, scope, sizeof(*scope)) == 0))
        session = session->next;
    return session;
}

/* One bucket becomes two. */
static void split(struct session_shard *shard)
{
    size_t from = shard->split;
    size_t to = shard->level + from;

    if (to == shard->buckets_size) {
        shard->buckets_size *= 2;
        shard->buckets = mem_resize(shard->buckets, shard->buckets_size * sizeof(*shard->buckets));
    }
    struct session *all = shard->buckets[from];
    shard->buckets[from] = NULL;
    shard->buckets[to] = NULL;
    while (all != NULL) {
        struct session *session = all;
        all = session->next;
        struct session **at = &shard->buckets[(session->hash & shard->level) != 0 ? to : from];
        session->next = *at;
        *at = session;
    }
    shard->split++;
    if (shard->split == shard->level) {
        shard->level *= 2;
        shard->split = 0;
    }
}

static void insert(struct session_shard *shard, struct session *session)
{
    assert(!session->linked);
    if (shard->n >= shard->level + shard->split)
        split(shard);
    struct session **at = &shard->buckets[bucket_of(shard, session->hash)];
    session->next = *at;
    *at = session;
    session->linked = true;
    list_push_front(&shard->lru, &session->lru);
    shard->n++;
}

static struct session *idlest(const struct session_shard *shard)
{
    return LIST_ENTRY(shard->lru.prev, struct session, lru);
}

/* Counts one more, unless there are as many as may be. */
static bool count_one(struct sessions *sessions)
{
    int64_t max = atomic_load_explicit(&sessions->count_max, memory_order_relaxed);
    size_t count = atomic_load_explicit(&sessions->count, memory_order_relaxed);

    while (count < (size_t)max) {
        if (atomic_compare_exchange_weak_explicit(&sessions->count, &count, count + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
    return false;
}

static void take_out(struct session_shard *shard, struct session *session, struct list *gone);

bool session_table_link(struct session_shard *shard, struct session *session, bool place,
                        struct list *gone)
{
    if (!place && !count_one(session->sessions)) {
        if (shard->n == 0)
            return false;
        take_out(shard, idlest(shard), gone); /* its place is taken over */
    }
    insert(shard, session);
    return true;
}

void session_table_removed(struct session_shard *shard, int64_t serial)
{
    if (shard->removed_n == shard->removed_size) {
        shard->removed_size = shard->removed_size == 0 ? REMOVED_MIN : 2 * shard->removed_size;
        shard->removed = mem_resize(shard->removed, shard->removed_size * sizeof(*shard->removed));
    }
    shard->removed[shard->removed_n++] = serial;
}

/* Its place is still counted. */
static void take_out(struct session_shard *shard, struct session *session, struct list *gone)
{
    struct session **at = &shard->buckets[bucket_of(shard, session->hash)];

    assert(session->linked);
    while (*at != session) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = session->next;
    session->next = NULL;
    session->linked = false;
    list_remove(&session->dirty);
    list_remove(&session->lru);
    list_push_back(gone, &session->lru);
    if (session->stored)
        session_table_removed(shard, session->serial);
    assert(shard->n > 0);
    shard->n--;
}

void session_table_unlink(struct session_shard *shard, struct session *session, struct list *gone)
{
    take_out(shard, session, gone);
    session_table_give_place(session->sessions);
}

void session_table_give_place(struct sessions *sessions)
{
    size_t before = atomic_fetch_sub_explicit(&sessions->count, 1, memory_order_relaxed);

    assert(before > 0);
}

void session_table_touch(struct session_shard *shard, struct session *session, int64_t now_ms)
{
    if (now_ms > session->stats.seen_ms) {
        session->stats.seen_ms = now_ms;
        session_table_soil(shard, session);
    }
    if (shard->lru.next != &session->lru) {
        list_remove(&session->lru);
        list_push_front(&shard->lru, &session->lru);
    }
}

void session_table_soil(struct session_shard *shard, struct session *session)
{
    if (session->sessions->store != NULL && session->linked && !list_linked(&session->dirty))
        list_push_back(&shard->dirty, &session->dirty);
}

bool session_table_store(struct session *session, bool *ret_before)
{
    *ret_before = session->stored;
    if (session->linked)
        session->stored = true;
    return session->linked;
}

bool session_table_expired(const struct session *session, int64_t now_ms)
{
    int64_t idle_ms_max = atomic_load_explicit(&session->sessions->idle_ms_max,
                                               memory_order_relaxed);

    return now_ms - session->stats.seen_ms >= idle_ms_max &&
           atomic_load_explicit(&session->refs, memory_order_relaxed) == 1;
}

/* --- who leaves --- */

bool session_table_take_place(struct sessions *sessions, const struct session_shard *but)
{
    size_t first = (size_t)(but - sessions->shards) + 1;

    for (size_t i = 0; i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[(first + i) & (sessions->shards_n - 1)];
        struct list gone;
        list_init(&gone);
        pthread_mutex_lock(&shard->lock);
        if (shard->n > 0)
            take_out(shard, idlest(shard), &gone);
        pthread_mutex_unlock(&shard->lock);
        bool taken = !list_empty(&gone);
        session_table_unref_all(&gone);
        if (taken)
            return true;
    }
    return false;
}

/* Who has the session that is the idlest of all; *ret_next_ms: how idle that of the next one is. */
static struct session_shard *idlest_of_all(struct sessions *sessions, int64_t *ret_next_ms)
{
    struct session_shard *found = NULL;
    int64_t least = INT64_MAX;

    *ret_next_ms = INT64_MAX;
    for (size_t i = 0; i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        pthread_mutex_lock(&shard->lock);
        bool any = shard->n > 0;
        int64_t seen_ms = any ? idlest(shard)->stats.seen_ms : INT64_MAX;
        pthread_mutex_unlock(&shard->lock);
        if (any && (found == NULL || seen_ms < least)) {
            *ret_next_ms = least;
            least = seen_ms;
            found = shard;
        } else if (seen_ms < *ret_next_ms) {
            *ret_next_ms = seen_ms;
        }
    }
    return found;
}

static bool are_too_many(struct sessions *sessions)
{
    int64_t max = atomic_load_explicit(&sessions->count_max, memory_order_relaxed);

    return atomic_load_explicit(&sessions->count, memory_order_relaxed) > (size_t)max;
}

size_t session_table_trim(struct sessions *sessions)
{
    struct list gone;
    int64_t next_ms;
    size_t n = 0;

    if (!are_too_many(sessions))
        return 0;
    struct session_shard *shard = idlest_of_all(sessions, &next_ms);
    if (shard == NULL)
        return 0;
    list_init(&gone);
    pthread_mutex_lock(&shard->lock);
    while (n < SESSIONS_BATCH && shard->n > 0 && are_too_many(sessions) &&
           (n == 0 || idlest(shard)->stats.seen_ms <= next_ms)) {
        session_table_unlink(shard, idlest(shard), &gone);
        n++;
    }
    pthread_mutex_unlock(&shard->lock);
    session_table_unref_all(&gone);
    return n;
}

void session_table_clock(struct sessions *sessions, int64_t now_ms)
{
    bool back = now_ms + CLOCK_BACK_MS < sessions->swept_ms;

    sessions->swept_ms = now_ms;
    for (size_t i = 0; back && i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        pthread_mutex_lock(&shard->lock);
        LIST_FOREACH(node, &shard->lru)
        {
            struct session *session = LIST_ENTRY(node, struct session, lru);
            if (session->stats.seen_ms > now_ms)
                session->stats.seen_ms = now_ms;
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

size_t session_table_expire(struct sessions *sessions, struct session_shard *shard, int64_t now_ms)
{
    int64_t idle_ms_max = atomic_load_explicit(&sessions->idle_ms_max, memory_order_relaxed);
    struct list gone;
    size_t n = 0;

    list_init(&gone);
    pthread_mutex_lock(&shard->lock);
    while (n < SESSIONS_BATCH && shard->n > 0) {
        struct session *session = idlest(shard);
        if (now_ms - session->stats.seen_ms < idle_ms_max)
            break;
        n++;
        if (session_table_expired(session, now_ms))
            session_table_unlink(shard, session, &gone);
        else
            session_table_touch(shard, session, now_ms);
    }
    pthread_mutex_unlock(&shard->lock);
    session_table_unref_all(&gone);
    return n;
}

void session_table_soil_all(struct sessions *sessions)
{
    for (size_t i = 0; i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        pthread_mutex_lock(&shard->lock);
        shard->removed_n = 0;
        LIST_FOREACH(node, &shard->lru)
        {
            struct session *session = LIST_ENTRY(node, struct session, lru);
            session->stored = false;
            session_table_soil(shard, session);
        }
        if (session_table_shard(sessions, sessions->server->hash) == shard)
            session_table_soil(shard, sessions->server);
        pthread_mutex_unlock(&shard->lock);
    }
}
