/* SPDX-License-Identifier: MIT */
/*
 * The reasoning of an answer as text that can be kept (state/vault), and put back into the
 * assistant's turn when a client sends it again without (mapping.md, 7.2).
 *
 * An answer is known again by the ids of its calls, what they say (canon/call_digest) and what was
 * asked, as many servers count their ids from zero; one without calls by what was asked and what it
 * said. What was asked is what the user said last and before that: the last alone is "go on" in
 * many conversations of one client. What is kept names its vendor, and each block in its place
 * among calls and text: signatures go back to their calls, reasoning goes in front of what it stood
 * before.
 */
#pragma once

#include "base/buf.h"
#include "canon/collect.h"
#include "canon/request.h"

enum { RECALL_KEY_MAX = 120 };

/* In to. asked: recall_asked of its request. digest: the call's. */
struct str recall_call_key(uint64_t asked, struct str id, uint64_t digest, char to[RECALL_KEY_MAX]);
/* said: recall_said. */
struct str recall_text_key(uint64_t asked, uint64_t said, char to[RECALL_KEY_MAX]);
/* What the user said in the last two turns, and how many calls came since. Needs full. Of long
 * texts the beginning counts. */
uint64_t recall_asked(const struct request *request);
/* The same turn by turn; zero to begin. */
struct recall_asked {
    uint64_t asked; /* so far */
    uint64_t user;  /* what the user said last */
};
void recall_asked_by(struct recall_asked *so_far, const struct turn *turn);
/* The texts of an assistant's turn. */
uint64_t recall_said(const struct turn *turn);

/* The same while it is being said; how it is cut makes no difference. */
struct recall_said;
struct recall_said *recall_said_new(struct arena *arena);
void recall_said_add(struct recall_said *said, struct str text);
uint64_t recall_said_end(const struct recall_said *said);

/* The digest of a call (BLOCK_TOOL), whose user is the call_digest of its arguments; NULL: it has
 * none. */
uint64_t recall_digest(const struct collect_block *call);

enum recall_what {
    RECALL_ALL,
    RECALL_UNSIGNED_TOO /* reasoning without a signature is worth it as well */
};
/* The choice's reasoning and signatures, as the vendor sent them; of calls the digests (above).
 * False: there is nothing to keep,
 * or out is full. */
bool recall_write(const struct collect_choice *choice, struct str vendor, enum recall_what what,
                  struct buf *out);
/* Puts it into the turn, which is the caller's to change, as are its parts; texts of new ones lie
 * in kept. What is signed in it stays; reasoning without a signature makes room for what was kept.
 * False, and nothing was changed: it is another vendor's, or not of these calls. */
bool recall_apply(struct str kept, struct str vendor, struct turn *turn, struct arena *arena);
