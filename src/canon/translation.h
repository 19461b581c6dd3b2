/* SPDX-License-Identifier: MIT */
/*
 * What writing a request for another protocol left to be done with its answer, and what the client
 * is to be told: made by request_encode, used on the way down by canon/restore, and for the header
 * x-llm-proxy-warnings.
 *
 * Zeroed but for the arena it is a translation that changed nothing. All memory is the arena's.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

enum { TRANSLATION_WARNINGS_MAX = 32 };

/* A tool whose name the target knows by another. */
struct renamed {
    struct str ours;   /* the client's */
    struct str theirs; /* the upstream's */
    struct renamed *next;
};

/* Names of tools. */
struct tool_name {
    struct str name; /* the client's */
    struct tool_name *next;
};

struct translation {
    struct arena *arena;
    struct str warnings[TRANSLATION_WARNINGS_MAX];
    size_t warnings_n;
    struct renamed *renamed;
    struct tool_name *wrapped; /* custom tools that went as functions with one string, input */
    struct str json_tool;      /* upstream's name of a tool whose arguments are the answer's text
                                * (structured output where the target has none); null: none */
    struct str echo;           /* the assistant's text that the request ends with, where the answer
                                * may repeat it in front of its own; null: none */
    const struct str *stop;    /* stop sequences that the target does not know: found here */
    size_t stop_n;
};

/* A code such as "dropped:top_k", "changed:temperature"; visible ASCII without comma. Each is kept
 * once; past the maximum the last one is "more". NULL for t: nothing. */
void translation_warn(struct translation *t, const char *code);
/* The same with a name behind the code: "dropped:tool:NAME"; commas, '%' and what is no visible
 * ASCII as %XX, and no more than 64 bytes of that. */
void translation_warn_of(struct translation *t, const char *code, struct str name);
void translation_rename(struct translation *t, struct str ours, struct str theirs);
void translation_wrap(struct translation *t, struct str name);
bool translation_is_wrapped(const struct translation *t, struct str name);
/* The client's name of what the upstream calls so; the same when it was not renamed. */
struct str translation_ours(const struct translation *t, struct str theirs);
/* Whether the answer's events need canon/restore at all. */
bool translation_changes_answer(const struct translation *t);
/* A copy whose text lies in the arena too. */
void translation_copy(const struct translation *from, struct arena *arena,
                      struct translation *ret_copy);
/* "dropped:top_k,changed:temperature"; nothing without warnings. */
void translation_write_warnings(const struct translation *t, struct buf *out);
