/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the table of sessions share: session.c (one session), sessions.c (the table),
 * session_table.c (shards), session_writer.c (the thread).
 *
 * Locks     A shard's: its buckets, lists and all of its sessions' members but those of one owner.
 *           The table's `lock`: the queue of changes, what is told of the database. Nobody who has
 *           it takes a shard's; both are held for a few hundred nanoseconds at most.
 * Who frees A session has a reference of the table while it is linked, one of each request that
 *           entered it, one of each change that waits. Blocks are freed outside of the locks.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "state/session.h"
#include "state/session_history.h"
#include "state/session_store.h"
#include "state/session_value.h"

enum {
    SESSIONS_SHARDS_MAX = 64,
    SESSIONS_PER_SHARD = 1024, /* a smaller table has fewer shards, down to one */
    SESSIONS_BATCH = 64,       /* sessions that leave in one hold of a lock */
    SESSIONS_QUEUE_MAX = 4096, /* changes that wait to be written */
};

enum { SESSION_KEYS = 4 };

struct session {
    struct session *next; /* in its bucket */
    struct list lru;      /* in its shard, the latest in front; of those that leave: to be freed */
    struct list dirty;    /* in its shard: has something to be written behind */
    struct sessions *sessions;
    uint64_t hash;
    int64_t serial;
    _Atomic(struct session_value *) value; /* what is set; changed under the shard's lock */
    struct session_value *pending;         /* the writer's, within a transaction */
    struct session_history *history;
    char *client; /* NULL: not told */
    struct session_stats stats;
    struct session_scope scope;
    atomic_uint refs;
    atomic_uint client_hash; /* of client; 0: none */
    /* Keys of backends: a backend's number in the upper half, its key's below. */
    _Atomic(uint64_t) keys[SESSION_KEYS];
    bool linked;         /* it is found */
    bool stored;         /* the database may have a row of it */
    bool in_transaction; /* pending is meant, also where it is NULL; the writer's */
    unsigned char id_n;
    char id[];
};

struct session_shard {
    pthread_mutex_t lock;
    struct session **buckets; /* level + split of them are in use */
    size_t buckets_size;
    size_t level; /* a power of 2 */
    size_t split; /* buckets below it have been split already */
    size_t n;
    struct list lru;
    struct list dirty;   /* differ from their rows */
    struct list writing; /* those that are to be written in the present second's work */
    int64_t *removed;    /* serials whose rows are to be removed */
    size_t removed_n;
    size_t removed_size;
};

/* Bounds, as the configuration has them; they change at a reload. */
struct session_bounds {
    int64_t count_max;
    int64_t idle_ms_max;
    int64_t history_max;
    int64_t tick_ms; /* between what is written behind; 0: a second */
};

struct sessions {
    struct session_shard *shards;
    size_t shards_n; /* a power of 2 */
    uint64_t seed;
    atomic_int_fast64_t serial; /* the last one that was given */
    atomic_size_t count;        /* linked ones */
    atomic_int_fast64_t count_max;
    atomic_int_fast64_t idle_ms_max;
    atomic_int_fast64_t history_max;
    int64_t tick_ms;
    struct session *server;
    struct session_store *store; /* NULL: in memory */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    int64_t clock_ms;  /* what now_ms was ahead of the wall clock at start: 0 but in tests */
    int64_t swept_ms;  /* the thread's: when it last looked who is idle */
    struct list queue; /* of changes (session_writer.c) */
    size_t queue_n;
    bool stopping;
    bool troubled; /* the last transaction failed: problem says why */
    char problem[ERROR_DETAIL_SIZE];
};

/* With a store of the caller's (NULL: in memory), which becomes the table's. SYSTEM: it cannot be
 * read; it is still the caller's. */
NODISCARD enum error_code sessions_make(const struct session_bounds *bounds,
                                        struct session_store *store, int64_t now_ms,
                                        struct sessions **ret_sessions, struct error *e);

/* --- session_table.c --- */

void session_table_init(struct sessions *sessions, size_t shards_n);
void session_table_fini(struct sessions *sessions);
uint64_t session_table_hash(const struct sessions *sessions, const struct session_scope *scope,
                            struct str id);
struct session_shard *session_table_shard(struct sessions *sessions, uint64_t hash);

/* A session that is in no table, with one reference. */
struct session *session_table_new(struct sessions *sessions, const struct session_scope *scope,
                                  struct str id, uint64_t hash, int64_t now_ms);
struct session *session_table_ref(struct session *session);
/* Frees with the last one. */
void session_table_unref(struct session *session);
/* Those of a list by their member lru; the table's reference each. */
void session_table_unref_all(struct list *gone);

/* Under the shard's lock: */

/* NULL: there is none. */
struct session *session_table_find(struct session_shard *shard, uint64_t hash,
                                   const struct session_scope *scope, struct str id);
/* Takes a reference of the caller's; its key is not in the table. place: the caller has taken one;
 * else, when there are as many as may be, the idlest of the shard gives its own. False: there is
 * none in the shard. */
NODISCARD bool session_table_link(struct session_shard *shard, struct session *session, bool place,
                                  struct list *gone);
/* No more found; its row is going to be removed; the table's reference goes to the list. */
void session_table_unlink(struct session_shard *shard, struct session *session, struct list *gone);
/* It was seen now, and is the last to leave. */
void session_table_touch(struct session_shard *shard, struct session *session, int64_t now_ms);
/* What it is now differs from its row. */
void session_table_soil(struct session_shard *shard, struct session *session);
/* The row of that serial is to be removed. */
void session_table_removed(struct session_shard *shard, int64_t serial);
/* Its row is about to be written, if it is found: then true. *ret_before: it had one already. */
bool session_table_store(struct session *session, bool *ret_before);
/* Idle for too long. One that is held is not idle. */
bool session_table_expired(const struct session *session, int64_t now_ms);

/* Without: */

/* The idlest of the next shard that has any, of this one last, leaves; the caller has its place:
 * to link a session with, or to give back. False: there is no session. */
NODISCARD bool session_table_take_place(struct sessions *sessions, const struct session_shard *but);
void session_table_give_place(struct sessions *sessions);
/* While there are too many (the bound has become smaller) the idlest of all leave, at most
 * SESSIONS_BATCH; how many did. */
size_t session_table_trim(struct sessions *sessions);
/* The thread's, before it looks who was idle for too long. Where the clock was set back, nobody was
 * seen later than now: else they would stay until it is there again, and those behind them, too. */
void session_table_clock(struct sessions *sessions, int64_t now_ms);
/* Those that are idle for too long leave, at most SESSIONS_BATCH of the shard; how many did. */
size_t session_table_expire(struct sessions *sessions, struct session_shard *shard, int64_t now_ms);
/* The database has no rows (any more): all of the table's is to be written. */
void session_table_soil_all(struct sessions *sessions);

/* --- session_writer.c --- */

void session_writer_start(struct sessions *sessions);
/* Writes all that waits, also what is behind, and ends the thread. */
void session_writer_stop(struct sessions *sessions);
/* A change waits to be committed. False: the queue is full. */
bool session_writer_add(struct session *session, const struct session_change *change,
                        session_done_fn *done, void *ctx);

/* --- session_load.c --- */

/* What the database has becomes the table's. */
NODISCARD enum error_code session_load_all(struct sessions *sessions, struct session_store *store,
                                           int64_t now_ms, struct error *e);

/* --- session.c --- */

/* session_view, with its history or without. */
void session_look(struct session *session, bool history, struct arena *arena,
                  struct session_view *ret_view);

/* What is set: a reference; NULL: nothing. */
struct session_value *session_current(struct session *session);
/* Puts a change in force that was written: what is set becomes it. What is in force then may not be
 * what was written (a one-off was used meanwhile): then that is written behind. Any thread. */
void session_publish(struct session *session, const struct settings *values, uint32_t mask,
                     const struct session_value *written);
