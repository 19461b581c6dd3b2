/* SPDX-License-Identifier: MIT */
/*
 * Texts that come in JSON strings piece by piece, cut between the two halves of a surrogate pair:
 * "a\ud83d", then "\ude00b" (mapping.md, 8.3). Each half alone is no character.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum { JSON_HALF_SIZE = 6 };

/* Zeroed at first. */
struct json_halves {
    bool has;                  /* a string ended in a first half */
    char half[JSON_HALF_SIZE]; /* that escape */
};

/* data, a JSON text, with its pairs whole: a string that ends in a first half is told without it,
 * and one that begins with a second half gets it back in front. Mostly data itself, else a copy in
 * the arena. A first half that nothing goes on with is never told. Not JSON: something like it. */
struct str json_halves_join(struct json_halves *halves, struct str data, struct arena *arena);
/* Whether a string's body, between its quotes, may begin or end in half a pair. */
bool json_halves_cut(struct str body);
