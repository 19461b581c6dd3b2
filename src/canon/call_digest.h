/* SPDX-License-Identifier: MIT */
/*
 * What a tool call says, as a number: clients parse a call's arguments and write them again, with
 * other blanks, other escapes, numbers in another form. Two calls that say the same, members in the
 * same order, have the same digest; however they were cut.
 *
 * Arguments that are no JSON (custom tools, models that err) have a digest, too. No arguments say
 * the same as {}. Linear, without memory of its own. Not for secrets.
 */
#pragma once

#include "base/str.h"

enum { CALL_DIGEST_BLOCK = 64, CALL_DIGEST_WORD = 40 };

enum call_digest_state {
    CALL_DIGEST_OUTSIDE, /* of strings */
    CALL_DIGEST_STRING,
    CALL_DIGEST_ESCAPE, /* behind a backslash */
    CALL_DIGEST_UNIT    /* within \uXXXX */
};

/* Zeroed to begin. */
struct call_digest {
    uint64_t hash;
    enum call_digest_state state;
    uint8_t n; /* of block */
    uint8_t word_n;
    uint8_t unit_n; /* digits of unit */
    bool said;      /* anything at all */
    uint32_t unit;
    uint32_t high; /* the first half of a surrogate pair; 0: none */
    char block[CALL_DIGEST_BLOCK];
    char word[CALL_DIGEST_WORD]; /* a number or name outside of strings */
};

/* A piece of the arguments. */
void call_digest_add(struct call_digest *digest, struct str piece);
/* The digest of all pieces and the tool's name; more may follow. */
uint64_t call_digest_end(const struct call_digest *digest, struct str name);
/* In one. */
uint64_t call_digest_of(struct str name, struct str arguments);
