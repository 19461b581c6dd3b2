/* SPDX-License-Identifier: MIT */
/*
 * Options by kind: from text to value with its range, into a struct's field, and back to text.
 * Knows nothing of where a value came from, nor which options there are (config_table.c).
 */
#pragma once

#include "base/buf.h"
#include "state/config.h"

/* Spelled as in the tables, so that their lines can be pasted into these names. */
enum option_kind {
    OPTION_text,
    OPTION_flag,
    OPTION_count,
    OPTION_duration,
    OPTION_size,
    OPTION_level,
    OPTION_texts,
    OPTION_maybe,
    OPTION_off,
    OPTION_pairs,
    OPTION_proxy,
    OPTION_choice,
    OPTION_prefix,
    OPTION_decimal, /* a JSON number, kept as it is written */
    OPTION_levels,  /* a map: read by config_yaml_levels */
    /* Only in later.def: checked, never stored. */
    OPTION_wait,
    OPTION_limits,
    OPTION_routes,
    OPTION_tree,
    OPTION_KIND_COUNT
};

struct option {
    const char *path; /* "logging.level" */
    enum option_kind kind;
    size_t offset;      /* of its field */
    const char *preset; /* the default, as it would be written */
    const char *min;    /* choices of OPTION_choice; "" none */
    const char *max;
    const char *help;
};

/* What a source says, before anything is known of its kind. */
struct option_value {
    struct str text;
    struct str_list list;
    bool is_list;
    bool quoted; /* text by its quotes: neither a number nor a flag */
    bool loose;  /* from the environment or the command line, where all is text: 1 is true too,
                    and a comma makes a list */
    bool hidden; /* may hold a secret: not to be shown in a message */
};

struct option_result {
    struct str text;
    struct str_list list;
    int64_t number; /* count, milliseconds, bytes, level, -1 0 1 */
    bool flag;
};

/* Kinds that are one value or a list; the others are maps, and their reader's to check. */
PURE_FN bool option_is_plain(enum option_kind kind);
/* "duration" */
const char *option_kind_name(enum option_kind kind);

/* False: *ret_why says what it must be ("must be a whole number from 1 to 65535, not \"x\""). */
NODISCARD bool option_parse(const struct option *option, const struct option_value *value,
                            struct arena *arena, struct option_result *ret_result,
                            struct str *ret_why);
/* What it must be, for a value that is none: got is "a map", or "" to leave it out. */
struct str option_why(const struct option *option, const char *got, struct arena *arena);

/* Into and out of the option's field of the struct at base. Text is borrowed. */
void option_store(const struct option *option, const struct option_result *result, void *base);
void option_fetch(const struct option *option, const void *base, struct option_result *ret_result);
/* As it would be written in YAML: 300s, 32KiB, "text", ["a", "b"]. */
void option_print(const struct option *option, const struct option_result *result, struct buf *out);
