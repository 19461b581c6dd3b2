/* SPDX-License-Identifier: MIT */
/*
 * Several texts looked for at once in a stream of text that comes in pieces, cut anywhere: stop
 * sequences and tags. The first match is the one that ends first; of those that end there, the
 * longest. So what is found does not depend on the cuts.
 *
 * A search's whole state is one number, which stands for the longest end of the text so far that a
 * needle begins with: exactly that may not be let go yet, and its text is the needle's own.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct needles;

/* In the arena; texts are borrowed, empty ones are never found. Memory grows with their bytes
 * together. NULL: the arena is full. */
struct needles *needles_new(const struct str *texts, size_t n, struct arena *arena);

#define NEEDLES_BEGIN 0u /* a search's state before its first piece */

struct needles_found {
    struct str held; /* let go of what was held before: a needle's text */
    struct str text; /* and then of this piece */
    struct str rest; /* after a match: the piece behind it */
    size_t which;    /* the needle */
};
/* True: one was found; what is let go is the text before it, and the state is NEEDLES_BEGIN. Valid
 * UTF-8 stays so, piece for piece, when the needles are. */
bool needles_feed(const struct needles *needles, uint32_t *state, struct str piece,
                  struct needles_found *ret_found);
/* What is held in that state. */
struct str needles_held(const struct needles *needles, uint32_t state);
