/* SPDX-License-Identifier: MIT */
/*
 * Sessions: what is remembered between the requests of one conversation (behaviour.md, section 5).
 *
 * One table for the process, used by all workers: shards under short locks. A session's settings
 * are an immutable, reference-counted value, replaced as a whole; a request sees the value that it
 * began with. Every entry counts: at most max_sessions, the idlest leave first; idle for longer
 * than expiry, they leave by themselves, a few at a time (a thread of the table's own).
 *
 * Repository `file`: a database mirrors the table (state/session_store.h). A change of settings is
 * committed there before it is published; history, times and the use of a one-off are written
 * behind, each second, and may be lost.
 */
#pragma once

#include "state/config.h"
#include "state/settings.h"

struct sessions;
struct session;

enum { SESSION_ID_MAX = 128, SESSION_SCOPE_SIZE = 16, SESSION_BEGINNING_MAX = 64 };

/* Whose a session is: made of the client's key, the same after a restart, and not to be turned
 * back. Two clients with the same id never meet. */
struct session_scope {
    unsigned char bytes[SESSION_SCOPE_SIZE];
};

/* Opens the database where the configuration says so. A damaged or newer one is set aside with a
 * warning in the log (never overwritten), and an empty one takes its place. CONFIG: the folder
 * cannot be made or written, another process has the database. now_ms: wall clock. */
NODISCARD enum error_code sessions_new(const struct config *config, int64_t now_ms,
                                       struct sessions **ret_sessions, struct error *e);
/* Writes what is still to be written; ends the thread. No session is held any more. Nulls; takes
 * NULL. */
void sessions_free(struct sessions **sessions);
/* Another configuration: bounds and times change at once, the repository does not. */
void sessions_set_bounds(struct sessions *sessions, const struct config *config);
size_t sessions_count(struct sessions *sessions);
/* Why settings cannot be kept at present ("the disk is full"); null: they can. In the arena. */
struct str sessions_problem(struct sessions *sessions, struct arena *arena);

/* Finds the scope's session of that id, or makes it: a reference, the caller's. id: 1 to
 * SESSION_ID_MAX bytes. anew: it begins afresh, whatever there was. Never fails. */
struct session *session_enter(struct sessions *sessions, const struct session_scope *scope,
                              struct str id, bool anew, int64_t now_ms);
/* Without making one; NULL: there is none (or it has expired). Does not count as use. */
struct session *session_find(struct sessions *sessions, const struct session_scope *scope,
                             struct str id, int64_t now_ms);
/* Nulls; takes NULL. */
void session_leave(struct session **session);
struct str session_id(const struct session *session);

/* What is set now: a reference to an immutable value. */
const struct settings *session_settings(struct session *session);
void session_settings_unref(const struct settings **settings);

/* What a command changes: the settings of mask's bits take these values (unset ones: become unset).
 * Changes of one session are applied one after the other, each to what the one before left. */
struct session_change {
    uint32_t mask;
    struct settings values; /* borrowed for the call */
};

/* All of a session's settings as JSON have at most so many bytes. */
enum { SESSION_SETTINGS_MAX = 8 * 1024 };

/* In another thread, once, when the change is in force (e->code OK) or has failed (SYSTEM,
 * BAD_REQUEST: e->detail has words for the user; nothing is changed). */
typedef void session_done_fn(void *ctx, const struct error *e);
/* True: it is settled, and done will not be called: e->code OK: it is in force (repository
 * in_memory); BAD_REQUEST: the settings would be too large; SYSTEM: too many changes wait to be
 * written. False: done will be called (once it is committed to the database, or could not be).
 * Never blocks on the disk. e is always written. */
bool session_commit(struct session *session, const struct session_change *change,
                    session_done_fn *done, void *ctx, struct error *e);
/* The server's own settings are those of this session, which never expires (default-backend is its
 * backend). Borrowed. */
struct session *sessions_server(struct sessions *sessions);

/* Takes the one-off, for a backend call: a copy in the arena; null: there is none (any more).
 * settings of who began before still show it. */
struct str session_take_oneoff(struct session *session, struct arena *arena);
/* The call has failed: it is there again, unless another one was set meanwhile. */
void session_return_oneoff(struct session *session, struct str oneoff);

/* --- keys of backends --- */

/* Which of a backend's keys the session's requests went with last, so that prompt caches stay
 * useful; both by numbers of the caller's, other than 0. In memory only, and of a few backends. 0:
 * not known (any more). No lock. */
uint32_t session_key(const struct session *session, uint32_t backend);
void session_keep_key(struct session *session, uint32_t backend, uint32_t key);

/* --- history --- */

/* One exchange of it. Of texts the beginning is kept, SESSION_BEGINNING_MAX bytes of UTF-8. */
struct session_item {
    int64_t time_ms;
    bool by_proxy; /* a command's answer; else a backend's */
    bool failed;
    struct str prompt;
    struct str answer;
    struct str backend;
    struct str model;
    struct str project;
    int64_t tokens_in; /* -1: not said */
    int64_t tokens_out;
};

/* Copies it; the oldest leaves when there are max_history_items. Does not block on the disk. */
void session_note(struct session *session, const struct session_item *item);

struct session_stats { /* since it began */
    int64_t requests;  /* of backends */
    int64_t commands;  /* answers of the proxy */
    int64_t failures;
    int64_t tokens_in;
    int64_t tokens_out;
    int64_t tokens_cached;
    int64_t created_ms;
    int64_t seen_ms;
};
/* Adds to what it has counted (the differences; times are left out). */
void session_count(struct session *session, const struct session_stats *add);

/* A copy of all of it, for reports. */
struct session_view {
    struct session_scope scope;
    struct str id;
    struct str client; /* name of the client's key, as of its last request; null: none */
    struct settings settings;
    struct session_stats stats;
    struct session_item *history; /* oldest first */
    size_t history_n;
};
void session_view(struct session *session, struct arena *arena, struct session_view *ret_view);
/* Tells whose it is, by name, for reports. Only when it changed: call it at a session's begin. */
void session_set_client(struct session *session, struct str client);
/* Those of the scope, NULL for all, latest first, without their history; at most max. Returns how
 * many. With very many sessions and a scope that has few it takes milliseconds: in a job. */
size_t sessions_list(struct sessions *sessions, const struct session_scope *scope, size_t max,
                     int64_t now_ms, struct arena *arena, struct session_view **ret_views);
/* Forgets it. False: there was none. Who holds it keeps a session that nobody finds any more. */
bool session_forget(struct sessions *sessions, const struct session_scope *scope, struct str id);
