/* SPDX-License-Identifier: MIT */
/*
 * The history of a session, packed into one block: its last exchanges, the oldest first.
 *
 *   block   | size begin end n names | ....... item item item ....... |
 *                                              begin          end     size
 *
 *   item    length (varint, of what follows) | flags | time (8 bytes) | tokens that are known
 *           (varints) | prompt answer | backend model project, each only where it is not that of
 *           the item before. Texts: length (varint), bytes.
 *
 * The oldest item has all of its texts: when it leaves, the next one is given what it had by
 * reference. Where the newest one's names stand, in whatever item, is known without a walk. The
 * bytes from begin to end are also what the database keeps.
 * Not locked: whoever has the session's lock.
 */
#pragma once

#include "state/session.h"

enum { SESSION_HISTORY_NAMES = 3 }; /* backend model project */

struct session_history {
    uint32_t size;
    uint32_t begin;
    uint32_t end;
    uint32_t n;
    uint32_t names[SESSION_HISTORY_NAMES]; /* of the newest item: offsets of their lengths */
    unsigned char bytes[];
};

/* Texts other than the beginnings have at most so many bytes. */
enum { SESSION_HISTORY_TEXT_MAX = 255 };

/* Appends a copy of item (texts are cut to their bounds, and where they are no UTF-8); before, the
 * oldest leave until there are less than max. max 0: nothing is kept. *history NULL: it is made;
 * it may move. */
void session_history_add(struct session_history **history, const struct session_item *item,
                         size_t max);
/* Forgets all, keeps the memory. Takes NULL. */
void session_history_clear(struct session_history *history);
/* What the database keeps; "" of NULL. Borrowed until the next change. */
struct str session_history_bytes(const struct session_history *history);
/* Reads them back: the latest max of them; NULL for none. False: they are no history. */
bool session_history_load(struct str bytes, size_t max, struct session_history **ret_history);
/* The items of such bytes, which must be valid; their texts lie in bytes. */
void session_history_items(struct str bytes, struct arena *arena, struct session_item **ret_items,
                           size_t *ret_n);
