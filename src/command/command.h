/* SPDX-License-Identifier: MIT */
/*
 * A command: what a user types into the chat to steer the proxy (behaviour.md, section 6).
 *
 * One file (cmd_*.c) and one line in commands.def each. The argument specification makes the
 * checks, the nearest name for a wrong one, help and docs/COMMANDS.md. Commands are pure but for
 * what their environment does for them: they change a draft of the session's settings, which the
 * caller commits when all commands of a message have succeeded, and say what they did.
 */
#pragma once

#include "backend/backend.h"
#include "command/args.h"
#include "state/session.h"

/* What may stand in an argument. */
enum arg_kind {
    ARG_TEXT,
    ARG_FLAG,  /* true false yes no on off 1 0 enabled disabled, in any letter case */
    ARG_COUNT, /* a whole number, min to max */
    ARG_NUMBER,
    ARG_CHOICE, /* one of the words in min, "a|b" */
    ARG_JSON,   /* an object */
    ARG_KEY     /* no value: the key stands alone, as in !/unset(key) */
};

struct arg_spec {
    const char *key;     /* "" for a bare one */
    const char *aliases; /* "name|project-name", NULL: none */
    enum arg_kind kind;
    const char *min;  /* and max: numbers as they would be written; choices */
    const char *max;  /* of text and JSON: how many bytes */
    const char *help; /* one sentence, for the manual */
    bool needed;
};

/* What the model list of a backend says of a name. */
enum command_model { COMMAND_MODEL_UNKNOWN, COMMAND_MODEL_LISTED, COMMAND_MODEL_NOT_LISTED };

/* What a command sees, and what it may do. */
struct command_env {
    const struct config *config;
    const struct backend_set *backends;
    struct backend *preferred; /* the default backend in force; NULL: none */
    struct str session_id;
    const struct settings *before; /* the session's as the message came */
    struct settings *draft;        /* as the commands before this one left it; to be changed */
    uint32_t *changed;             /* SETTING_BITs of what was changed in the draft */
    const struct session_stats *stats;
    struct str server_backend; /* default-backend as a command has it in force; null: not
                                     * set there */
    struct str
        *new_server_backend; /* set-default-backend: what it becomes; "" unset; null: stays */
    const char *version;
    bool is_admin;
    size_t (*models)(void *ctx, const struct backend *backend); /* how many; SIZE_MAX: not known */
    enum command_model (*model)(void *ctx, const struct backend *backend, struct str model);
    /* Of a URL: its host is allowed and reachable (literals; what names mean is looked at when it
     * is used). False: *ret_why. */
    bool (*url)(void *ctx, struct str url, struct arena *arena, struct str *ret_why);
    /* False: *ret_why is "not found", "not readable" or "not a directory". */
    bool (*is_directory)(void *ctx, struct str path, struct str *ret_why);
    void *ctx;
    struct arena *arena;
    struct buf *reply; /* what the user is told: text without a line break at its end */
};

/* True: done. False: it failed, reply says why, and nothing of what it changed counts. */
typedef bool command_run_fn(struct command_env *env, const struct args *args);

struct command {
    const char *name;     /* "route-list" */
    const char *aliases;  /* "one-off|…", NULL: none */
    const char *usage;    /* "set(key=value, …)" */
    const char *help;     /* one sentence: what it does */
    const char *examples; /* without the prefix, one a line */
    const struct arg_spec *args;
    size_t args_n;
    command_run_fn *run;
};

/* In the order of commands.def. */
extern const struct command *const command_table[];
extern const size_t command_count;

/* "Unknown command: NAME", and the nearest one. */
void command_unknown(struct str name, struct buf *reply);
/* By name or alias, however it is written; NULL: none. */
const struct command *command_find(struct str name);
/* The nearest name to one that none has; null: nothing is near. */
struct str command_nearest(struct str name);
/* Must stand alone in its message: openai-url, redaction, default-backend, guards off. */
bool command_is_alone(const struct command *command, const struct args *args);
/* Runs one: reads and checks its arguments, then calls it. text: between the parentheses, null:
 * there were none. False: reply has what is wrong, the draft is as before. */
bool command_run(struct command_env *env, const struct command *command, struct str text);
/* docs/COMMANDS.md. */
struct str command_manual(struct arena *arena);
/* Whether a prefix may be one; *ret_why: why not ("command prefix must be at least 2 characters").
 */
bool command_prefix_ok(struct str prefix, const char **ret_why);
