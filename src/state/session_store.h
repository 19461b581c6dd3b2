/* SPDX-License-Identifier: MIT */
/*
 * A repository of sessions: what a row is, and what a database does with rows. One thread uses it
 * at a time (the table's own; at start, who makes the table). Tests put their own in its place.
 */
#pragma once

#include "state/session.h"

/* A session as it is kept. Everything is borrowed for the call. */
struct session_row {
    int64_t serial; /* its number, which no other session ever had here; > 0 */
    struct session_scope scope;
    struct str id;       /* "": the server's own */
    struct str client;   /* null: not known */
    struct str settings; /* settings_write */
    struct str history;  /* session_history_bytes; "": none */
    struct session_stats stats;
};

struct session_store;

struct session_load {
    int64_t since_ms;
    size_t max;
    /* False: it cannot be read. */
    bool (*row)(void *ctx, const struct session_row *row);
    /* A row that is too old, or one too many. */
    void (*old)(void *ctx, int64_t serial);
    void *ctx;
};

/* Errors are SYSTEM: the detail says to users why settings cannot be kept ("the disk is full"). */
struct session_store_ops {
    /* The rows of before: those seen at or after since_ms, the latest max of them, and the
     * server's, in any order; the others are removed by and by. *ret_serial: the highest that a row
     * has, 0 without any. What cannot be read is told in the log. */
    enum error_code (*load)(struct session_store *store, const struct session_load *load,
                            int64_t *ret_serial, struct error *e);
    /* *ret_same false: the database is another, empty one since the last time (it was damaged, or
     * somebody took it away). */
    enum error_code (*begin)(struct session_store *store, bool *ret_same, struct error *e);
    enum error_code (*put)(struct session_store *store, const struct session_row *row,
                           struct error *e);
    enum error_code (*remove)(struct session_store *store, int64_t serial, struct error *e);
    /* What was written since begin lasts, whatever happens to the process or the machine; failed:
     * it is rolled back. */
    enum error_code (*commit)(struct session_store *store, struct error *e);
    /* Ends a transaction of which a step failed, begin included. */
    void (*rollback)(struct session_store *store);
    void (*free)(struct session_store *store);
};

/* The first member of what a repository keeps for itself. */
struct session_store {
    const struct session_store_ops *ops;
    struct error trouble; /* not OK: at the start nothing can be written, and why */
};
