/* SPDX-License-Identifier: MIT */
/*
 * The strings of a JSON text, as they stand in it. A body is what is between the quotes.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

/* Length of the string body at p (after the opening quote) up to its closing quote, checked
 * (escapes, control characters, UTF-8); SIZE_MAX when it is not valid or not closed within n.
 * *ret_escaped: whether it holds a backslash. The hot loop of the index; also used by decoders. */
size_t json_string_scan(const char *p, size_t n, bool *ret_escaped);

/* The same over a body that is known to be valid: escapes are stepped over, nothing is checked. */
size_t json_string_skip(const char *p, size_t n, bool *ret_escaped);

/* After json_string_scan said no: what is wrong, and *ret_at, where in p[0..n). */
const char *json_string_fault(const char *p, size_t n, size_t *ret_at);

/* The content of a JSON string's source span ("…" with its quotes), unescaped, as valid UTF-8: lone
 * surrogate escapes become U+FFFD. Without escapes: a slice of the source, nothing copied. */
struct str json_string_value(struct str value, struct arena *arena);

/* Whether a valid body, unescaped, is text. */
bool json_string_equals(struct str body, struct str text);

/* Of the escape at p (its backslash): 12 for a surrogate pair, 6 for a lone surrogate, 0 for any
 * other. */
size_t json_string_surrogate(const char *p, size_t n);

/* Goes through a string and its text side by side. */
struct json_string_cursor {
    struct str body;
    size_t at;       /* in body */
    size_t text_at;  /* the same place in the text */
    bool after_high; /* behind the first half of a surrogate pair that has no second */
};

/* value: the string's source span, with its quotes. */
void json_string_begin(struct json_string_cursor *cursor, struct str value);
/* Where the text's byte at text_at stands in the body; within what one escape stands for: where
 * the escape begins. At most the body's end. Goes forward only. */
size_t json_string_seek(struct json_string_cursor *cursor, size_t text_at);
