/* SPDX-License-Identifier: MIT */
/*
 * What      The thread of the table of sessions: idle ones leave, changes get into the database.
 * How       It sleeps until a change waits, or for a second.
 *           Changes: all that wait are one transaction (group commit). In the order of the queue
 *           each is applied to what the one before left; after the commit they are put in force,
 *           then those who wait are told. A failed commit puts nothing in force. However many come,
 *           each second's work has its turn between two transactions.
 *           Each second: sessions that were idle for too long leave, a batch for each hold of a
 *           lock, with pauses; rows of sessions that have left are removed, and what differs from
 *           its row is written (history, times, the use of a one-off), a part for each
 *           transaction, with the changes that came meanwhile between them.
 *           What failed is tried again with the next change, or in a second.
 * Owns      The thread; the changes in the queue.
 * Not here  The database itself (session_store.h).
 */
#include "state/sessions_priv.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    PAUSE_MS = 1,
    LAST_MS = 5000,    /* for what is behind when the table ends */
    CHANGES_MAX = 256, /* of one transaction */
    ROWS_MAX = 512,    /* of one transaction, written behind; and as many removed */
    /* What a row may have, at most; the bounds of its parts are below. */
    SETTINGS_MAX = 256 * 1024,
    HISTORY_MAX = 4 * 1024 * 1024,
    CLIENT_MAX = 1024
};

/* A change that waits. */
struct change {
    struct list link;
    struct session *session; /* a reference */
    session_done_fn *done;
    void *ctx;
    uint32_t mask;
    bool taken; /* the session's row is in the transaction, for the first time */
    bool was_stored;
    struct session_value *written; /* what was written for it: a reference; may be NULL */
    struct error error;
    struct settings values;
    char text[];
};

/* A session whose row is written behind. */
struct row {
    struct session *session; /* a reference */
    bool was_stored;
    bool taken;
};

/* What the thread has for itself. */
struct writing {
    struct sessions *sessions;
    struct session_store *store;
    int64_t tick_ms; /* monotonic: when the next second's work is due */
    struct buf settings;
    struct buf history;
    struct buf client;
    size_t rows_n;
    struct row rows[ROWS_MAX];
    size_t removed_n;
    int64_t removed[ROWS_MAX];
};

bool session_writer_add(struct session *session, const struct session_change *change,
                        session_done_fn *done, void *ctx)
{
    struct sessions *sessions = session->sessions;
    struct change *waits = mem_new(sizeof(*waits) + settings_text_bytes(&change->values));

    list_init(&waits->link);
    waits->done = done;
    waits->ctx = ctx;
    waits->mask = change->mask;
    settings_pack(&change->values, waits->text, &waits->values);
    waits->session = session_table_ref(session);
    pthread_mutex_lock(&sessions->lock);
    bool room = sessions->queue_n < SESSIONS_QUEUE_MAX && !sessions->stopping;
    if (room) {
        list_push_back(&sessions->queue, &waits->link);
        sessions->queue_n++;
        pthread_cond_signal(&sessions->wake);
    }
    pthread_mutex_unlock(&sessions->lock);
    if (!room) {
        session_table_unref(waits->session);
        mem_free(waits);
    }
    return room;
}

/* --- what is told of the database --- */

static void tell_trouble(struct sessions *sessions, const struct error *e)
{
    pthread_mutex_lock(&sessions->lock);
    bool news = !sessions->troubled || strcmp(sessions->problem, e->detail) != 0;
    sessions->troubled = true;
    (void)snprintf(sessions->problem, sizeof(sessions->problem), "%s", e->detail);
    pthread_mutex_unlock(&sessions->lock);
    if (news)
        LOG(SESSION, ERROR, "sessions.unwritable", F_Z("why", e->detail));
}

static void tell_good(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    bool news = sessions->troubled;
    sessions->troubled = false;
    pthread_mutex_unlock(&sessions->lock);
    if (news)
        LOG(SESSION, INFO, "sessions.writable");
}

/* --- a transaction --- */

static enum error_code begin(struct writing *w, struct error *e)
{
    bool same = true;

    TRY(w->store->ops->begin(w->store, &same, e));
    if (!same)
        session_table_soil_all(w->sessions);
    return OK;
}

static enum error_code end(struct writing *w, enum error_code code, struct error *e)
{
    if (code == OK)
        code = w->store->ops->commit(w->store, e);
    else
        w->store->ops->rollback(w->store);
    if (code == OK)
        tell_good(w->sessions);
    else
        tell_trouble(w->sessions, e);
    return code;
}

/* The session as it is now, but for its settings, which are value's. */
static enum error_code put_row(struct writing *w, struct session *session,
                               const struct session_value *value, struct error *e)
{
    struct session_shard *shard = session_table_shard(w->sessions, session->hash);
    struct session_row row = {.serial = session->serial,
                              .scope = session->scope,
                              .id = session_id(session)};

    buf_reset(&w->settings);
    buf_reset(&w->history);
    buf_reset(&w->client);
    pthread_mutex_lock(&shard->lock);
    row.stats = session->stats;
    (void)buf_add(&w->history, session_history_bytes(session->history));
    (void)buf_add(&w->client, str_c(session->client));
    bool named = session->client != NULL;
    pthread_mutex_unlock(&shard->lock);
    (void)session_value_write(value, &w->settings);
    assert(buf_ok(&w->settings) && buf_ok(&w->history) && buf_ok(&w->client));
    row.settings = buf_str(&w->settings);
    row.history = buf_str(&w->history);
    row.client = named ? buf_str(&w->client) : STR_NULL;
    return w->store->ops->put(w->store, &row, e);
}

/* Whether the session has a row, after a transaction that failed. */
static void unstore(struct session *session, bool was_stored)
{
    struct session_shard *shard = session_table_shard(session->sessions, session->hash);

    pthread_mutex_lock(&shard->lock);
    session->stored = was_stored;
    pthread_mutex_unlock(&shard->lock);
}

/* --- changes --- */

static enum error_code write_change(struct writing *w, struct change *change, struct error *e)
{
    struct session *session = change->session;
    struct session_shard *shard = session_table_shard(w->sessions, session->hash);
    struct session_value *base = session->in_transaction ? session_value_ref(session->pending)
                                                         : session_current(session);

    change->written = session_value_merge(base, &change->values, change->mask);
    session_value_unref(base);
    if (!session_value_fits(change->written)) {
        session_value_refuse(&change->error);
        return OK;
    }
    bool again = session->in_transaction;
    session_value_unref(session->pending);
    session->pending = session_value_ref(change->written);
    session->in_transaction = true;
    /* One that nobody finds any more has no row, and is changed for those who still have it. */
    pthread_mutex_lock(&shard->lock);
    bool found = session_table_store(session, &change->was_stored);
    pthread_mutex_unlock(&shard->lock);
    change->taken = found && !again;
    return found ? put_row(w, session, change->written, e) : OK;
}

static enum error_code write_changes(struct writing *w, struct list *changes, struct error *e)
{
    enum error_code code = begin(w, e);

    LIST_FOREACH(node, changes)
    {
        if (code == OK)
            code = write_change(w, LIST_ENTRY(node, struct change, link), e);
    }
    return end(w, code, e);
}

static void finish_change(struct change *change, enum error_code code, const struct error *e)
{
    struct session *session = change->session;

    session_value_unref(session->pending);
    session->pending = NULL;
    session->in_transaction = false;
    if (code != OK) {
        if (change->taken)
            unstore(session, change->was_stored);
        change->error = *e;
    } else if (change->error.code == OK) {
        session_publish(session, &change->values, change->mask, change->written);
    }
    session_value_unref(change->written);
}

/* Of what waits, as much as one transaction takes gets into the database, and in force. False:
 * nothing waits. */
static bool serve_some(struct writing *w)
{
    struct sessions *sessions = w->sessions;
    struct list changes;
    struct error e = {.code = OK};

    list_init(&changes);
    pthread_mutex_lock(&sessions->lock);
    for (size_t n = 0; n < CHANGES_MAX && !list_empty(&sessions->queue); n++) {
        struct list *first = sessions->queue.next;
        list_remove(first);
        list_push_back(&changes, first);
        sessions->queue_n--;
    }
    pthread_mutex_unlock(&sessions->lock);
    if (list_empty(&changes))
        return false;
    enum error_code code = write_changes(w, &changes, &e);
    LIST_FOREACH(node, &changes)
    {
        struct change *change = LIST_ENTRY(node, struct change, link);
        list_remove(node);
        finish_change(change, code, &e);
        change->done(change->ctx, &change->error);
        session_table_unref(change->session);
        mem_free(change);
    }
    return true;
}

/* --- what is written behind --- */

/* What was changed until now is what is written in this second; of what could not be written in
 * the last one there is more yet. */
static void begin_second(struct sessions *sessions)
{
    for (size_t i = 0; i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        pthread_mutex_lock(&shard->lock);
        if (list_empty(&shard->writing))
            list_move_all(&shard->writing, &shard->dirty);
        pthread_mutex_unlock(&shard->lock);
    }
}

/* Takes what one transaction is to write; false: there is nothing (any more). */
static bool gather(struct writing *w)
{
    w->rows_n = 0;
    w->removed_n = 0;
    for (size_t i = 0; i < w->sessions->shards_n; i++) {
        struct session_shard *shard = &w->sessions->shards[i];
        pthread_mutex_lock(&shard->lock);
        while (shard->removed_n > 0 && w->removed_n < ROWS_MAX)
            w->removed[w->removed_n++] = shard->removed[--shard->removed_n];
        while (!list_empty(&shard->writing) && w->rows_n < ROWS_MAX) {
            struct session *session = LIST_ENTRY(shard->writing.next, struct session, dirty);
            list_remove(&session->dirty);
            w->rows[w->rows_n++] = (struct row){.session = session_table_ref(session)};
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return w->rows_n > 0 || w->removed_n > 0;
}

static enum error_code write_row(struct writing *w, struct row *row, struct error *e)
{
    struct session *session = row->session;
    struct session_shard *shard = session_table_shard(w->sessions, session->hash);

    pthread_mutex_lock(&shard->lock);
    row->taken = session_table_store(session, &row->was_stored);
    pthread_mutex_unlock(&shard->lock);
    if (!row->taken)
        return OK;
    struct session_value *value = session_current(session);
    enum error_code code = put_row(w, session, value, e);
    session_value_unref(value);
    return code;
}

/* It failed: all is still to be done. */
static void ungather(struct writing *w)
{
    struct session_shard *shard = &w->sessions->shards[0];

    pthread_mutex_lock(&shard->lock);
    for (size_t i = 0; i < w->removed_n; i++)
        session_table_removed(shard, w->removed[i]);
    pthread_mutex_unlock(&shard->lock);
    for (size_t i = 0; i < w->rows_n; i++) {
        struct session *session = w->rows[i].session;
        shard = session_table_shard(w->sessions, session->hash);
        pthread_mutex_lock(&shard->lock);
        if (w->rows[i].taken)
            session->stored = w->rows[i].was_stored;
        session_table_soil(shard, session);
        pthread_mutex_unlock(&shard->lock);
    }
}

static enum error_code write_gathered(struct writing *w)
{
    struct error e = {.code = OK};
    enum error_code code = begin(w, &e);

    for (size_t i = 0; code == OK && i < w->removed_n; i++)
        code = w->store->ops->remove(w->store, w->removed[i], &e);
    for (size_t i = 0; code == OK && i < w->rows_n; i++)
        code = write_row(w, &w->rows[i], &e);
    code = end(w, code, &e);
    if (code != OK)
        ungather(w);
    for (size_t i = 0; i < w->rows_n; i++)
        session_table_unref(w->rows[i].session);
    return code;
}

static bool is_stopping(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    bool stopping = sessions->stopping;
    pthread_mutex_unlock(&sessions->lock);
    return stopping;
}

/* False: it cannot be written, or not by then (monotonic; 0: until the table is to end). */
static bool write_behind(struct writing *w, int64_t until_ms)
{
    begin_second(w->sessions);
    while (gather(w)) {
        if (write_gathered(w) != OK)
            return false;
        if (until_ms == 0 ? is_stopping(w->sessions) : clock_mono_ms() >= until_ms)
            return false;
        (void)serve_some(w);
    }
    return true;
}

/* --- the thread --- */

/* Sleeps until a change waits, the table ends, or the time (monotonic) has come. True: it ends. */
static bool sleep_until(struct sessions *sessions, int64_t until_ms)
{
    struct timespec until = {.tv_sec = (time_t)(until_ms / 1000),
                             .tv_nsec = (long)(until_ms % 1000) * 1000000};
    int failed = 0;

    pthread_mutex_lock(&sessions->lock);
    while (list_empty(&sessions->queue) && !sessions->stopping && failed == 0)
        failed = pthread_cond_timedwait(&sessions->wake, &sessions->lock, &until);
    bool stopping = sessions->stopping;
    pthread_mutex_unlock(&sessions->lock);
    assert(failed == 0 || failed == ETIMEDOUT);
    return stopping;
}

/* Between two batches. True: the table ends. */
static bool rest(struct writing *w)
{
    if (sleep_until(w->sessions, clock_mono_ms() + PAUSE_MS))
        return true;
    (void)serve_some(w);
    return false;
}

/* Who is too many leaves. */
static bool trim(struct writing *w)
{
    size_t n = 1;

    while (n > 0) {
        size_t batch = 0;
        while (batch < SESSIONS_BATCH && (n = session_table_trim(w->sessions)) > 0)
            batch += n;
        if (n > 0 && rest(w))
            return true;
    }
    return false;
}

/* And who was idle for too long. */
static bool sweep(struct writing *w)
{
    struct sessions *sessions = w->sessions;

    if (trim(w))
        return true;
    session_table_clock(sessions, clock_real_ms() + sessions->clock_ms);
    for (size_t i = 0; i < sessions->shards_n; i++) {
        struct session_shard *shard = &sessions->shards[i];
        while (session_table_expire(sessions, shard, clock_real_ms() + sessions->clock_ms) ==
               SESSIONS_BATCH) {
            if (rest(w))
                return true;
        }
    }
    return false;
}

static bool is_troubled(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    bool troubled = sessions->troubled;
    pthread_mutex_unlock(&sessions->lock);
    return troubled;
}

/* While it cannot be written one row is tried each second, also where nothing has changed. */
static void try_again(struct sessions *sessions)
{
    struct session_shard *shard = session_table_shard(sessions, sessions->server->hash);

    if (!is_troubled(sessions))
        return;
    pthread_mutex_lock(&shard->lock);
    session_table_soil(shard, sessions->server);
    pthread_mutex_unlock(&shard->lock);
}

/* All that is behind; but the process is to end, however slow the disk is. */
static void write_last(struct writing *w)
{
    int64_t until_ms = clock_mono_ms() + LAST_MS;

    /* The first time what was left of the last second. */
    if (!write_behind(w, until_ms) || !write_behind(w, until_ms))
        LOG(SESSION, WARN, "sessions.unwritten", F_Z("what", "the latest history and times"));
}

static void *run(void *arg)
{
    struct writing *w = arg;
    struct sessions *sessions = w->sessions;
    bool stopping = false;

    while (!stopping) {
        stopping = sleep_until(sessions, w->tick_ms);
        (void)serve_some(w);
        if (stopping || clock_mono_ms() < w->tick_ms)
            continue;
        stopping = sweep(w);
        if (w->store != NULL && !stopping) {
            try_again(sessions);
            (void)write_behind(w, 0);
        }
        w->tick_ms = clock_mono_ms() + sessions->tick_ms;
    }
    while (serve_some(w))
        ;
    if (w->store != NULL)
        write_last(w);
    buf_fini(&w->settings);
    buf_fini(&w->history);
    buf_fini(&w->client);
    mem_free(w);
    return NULL;
}

void session_writer_start(struct sessions *sessions)
{
    struct writing *w = mem_new(sizeof(*w));

    w->sessions = sessions;
    w->store = sessions->store;
    w->tick_ms = clock_mono_ms() + sessions->tick_ms;
    buf_init(&w->settings, SETTINGS_MAX);
    buf_init(&w->history, HISTORY_MAX);
    buf_init(&w->client, CLIENT_MAX);
    if (w->store != NULL && w->store->trouble.code != OK)
        tell_trouble(sessions, &w->store->trouble);
    if (pthread_create(&sessions->thread, NULL, run, w) != 0)
        BUG("no thread for the sessions");
}

void session_writer_stop(struct sessions *sessions)
{
    pthread_mutex_lock(&sessions->lock);
    sessions->stopping = true;
    pthread_cond_signal(&sessions->wake);
    pthread_mutex_unlock(&sessions->lock);
    (void)pthread_join(sessions->thread, NULL);
    assert(list_empty(&sessions->queue));
}
