/* SPDX-License-Identifier: MIT */
/*
 * How far texts were read before: an agent sends its whole conversation again with each turn, and
 * most of it is, to the byte, what was valid the last time.
 *
 * A mark says: the first `at` bytes of a text, whose hash this is, were read without a fault up to
 * the end of an element of an array in the root; so far the root had these members. A text that
 * begins with the same bytes is in the same state there, and reading goes on behind them.
 *
 * No text is kept, only 128-bit hashes (XXH3) with a secret seed of this memory's own, so that
 * nobody can make a text that is taken for another. One thread; a bounded number of marks, the
 * oldest leave first.
 */
#pragma once

#include "base/str.h"

enum {
    JSON_MARK_MEMBERS = 32,         /* a root with more has no marks */
    JSON_MARK_BYTES_MIN = 8 * 1024, /* shorter ones are read faster than found */
    JSON_MARKS_AT_ONCE = 2,
};

/* Offsets from the text's begin. */
struct json_mark_member {
    size_t key_at; /* of its first byte; plain, without escapes */
    size_t key_n;
    size_t value_at;
    size_t value_n;
    size_t begin;
    size_t end;
    size_t last; /* as in json_member */
};

struct json_mark {
    size_t at;        /* after the element */
    size_t depth_max; /* that the text was read with */
    size_t open;      /* of the root */
    size_t value_at;  /* of the array */
    size_t last;      /* of the array so far: as in json_member */
    size_t members_n; /* before the array's */
    /* members_n of them, and then the array's own key (key_at and key_n only). */
    struct json_mark_member members[JSON_MARK_MEMBERS + 1];
};

struct json_memory;

NODISCARD struct json_memory *json_memory_new(void);
/* Takes NULL; nulls. */
void json_memory_free(struct json_memory **memory);
/* The furthest mark that text begins with, NULL without one; borrowed until the next store. */
const struct json_mark *json_memory_find(struct json_memory *memory, struct str text,
                                         size_t depth_max);
/* Keeps marks (copied) of a valid text, in the order of their `at`. */
void json_memory_store(struct json_memory *memory, struct str text, const struct json_mark *marks,
                       size_t n);
