/* SPDX-License-Identifier: MIT */
/*
 * The arguments of a command: what stands between its parentheses (behaviour.md, section 6).
 *
 *   args  = [ arg *( blanks "," blanks arg ) ]   blanks also before the first and behind the last
 *   arg   = key "=" value / value                key: letters, digits, '-', '_'
 *   value = bare / '"' … '"' / "'" … "'"         bare: no comma, blank, quote or parenthesis
 *
 * In quotes, which end on their line, everything is literal but the quote and '\'. '\' before a
 * punctuation mark is that mark; before anything else it is itself, so that "C:\Users" is what it
 * looks like. A bare value that begins with '{' or '[' is one value up to the closing bracket:
 * commas, blanks, parentheses, line breaks and JSON strings in it included. What stands before '='
 * is a key, unless it holds ':', '/' or '?': a URL or a model with '=' in it is a bare value.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

enum { ARGS_MAX = 64, ARGS_DEPTH_MAX = 64 };

struct arg {
    struct str key;     /* lower case, '_' as '-'; null: bare */
    struct str written; /* the key as it was written */
    struct str value;   /* without quotes, unescaped */
    size_t at;          /* offset in the text */
};

struct args {
    struct arg *items;
    size_t n;
    bool given; /* there were parentheses */
};

/* The offset of the ')' that closes the '(' at text.p[open]: quotes and brackets are honoured;
 * SIZE_MAX: nothing closes it, *ret_why says what and *ret_at where. Never reads beyond the end of
 * the line, but within brackets. */
size_t args_close(struct str text, size_t open, const char **ret_why, size_t *ret_at);
/* text: between the parentheses; null: there were none. BAD_REQUEST: e->detail is "Invalid
 * arguments: " with what and where, for the user. At most ARGS_MAX of them, each key once. */
NODISCARD enum error_code args_read(struct str text, struct arena *arena, struct args *ret_args,
                                    struct error *e);
/* Names and keys alike: lower case, '_' as '-'. In the arena. */
struct str args_name(struct str written, struct arena *arena);
/* For the user, where in a text something is wrong: "character 9 of: project = x"; of long texts
 * what is around. In the arena. */
struct str args_place(struct str text, size_t at, struct arena *arena);
