/* SPDX-License-Identifier: MIT */
/*
 * The arguments of a command: what stands between its parentheses (behaviour.md, section 6).
 *
 *   args  = [ arg *( "," blanks arg ) ]      blanks also before the first and behind the last
 *   arg   = key "=" value / value            key: letters, digits, '-', '_'
 *   value = bare / '"' … '"' / "'" … "'"     bare: no comma, blank, quote or parenthesis
 *
 * In quotes everything is literal but the quote and '\', which escapes the character behind it. A
 * bare JSON object or array ({…}, […]) is one value up to its closing bracket, commas, blanks and
 * quotes in it included.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

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
 * the line, but within quotes and brackets. */
size_t args_close(struct str text, size_t open, const char **ret_why, size_t *ret_at);
/* text: between the parentheses. BAD_REQUEST: e->detail is "Invalid arguments: " with what and
 * where ("no blanks around '=', after project"), for the user. */
NODISCARD enum error_code args_read(struct str text, struct arena *arena, struct args *ret_args,
                                    struct error *e);
/* Names and keys alike: lower case, '_' as '-'. In the arena. */
struct str args_name(struct str written, struct arena *arena);
