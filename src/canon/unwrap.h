/* SPDX-License-Identifier: MIT */
/*
 * The text out of {"input":"text"}, while the JSON comes in pieces, cut anywhere: arguments of a
 * custom tool that went up as a function with one string (mapping.md, 5.1).
 *
 * Models write what they like: what is not such an object is the text as it stands, and what is
 * wrong within the string is taken as it is meant (control characters, unknown escapes; halves of
 * surrogate pairs become U+FFFD). Nothing fails.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum unwrap_state {
    UNWRAP_BEFORE, /* in {"input":" */
    UNWRAP_STRING,
    UNWRAP_AFTER, /* behind the string: nothing counts */
    UNWRAP_AS_IS  /* it is no such object */
};

enum { UNWRAP_HELD_MAX = 48 };

/* Zeroed to begin. */
struct unwrap {
    enum unwrap_state state;
    uint8_t place; /* UNWRAP_BEFORE: of the next token */
    uint8_t held_n;
    char held[UNWRAP_HELD_MAX]; /* the beginning so far, or that of an escape */
};

/* The text of this piece: a slice of it, or in the arena; "" when there is none yet. */
struct str unwrap_feed(struct unwrap *unwrap, struct str piece, struct arena *arena);
/* Nothing follows: what the rest stands for. */
struct str unwrap_end(struct unwrap *unwrap, struct arena *arena);
