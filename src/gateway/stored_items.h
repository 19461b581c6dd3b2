/* SPDX-License-Identifier: MIT */
/*
 * Items of the Responses protocol as JSON text (openai-responses.md, 3 and 7): put together,
 * searched and listed. Pure. What is given is valid JSON; `array` is a JSON array of items.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

/* A text that is put together of pieces of others: nothing is copied until it is written. The
 * pieces live in the arena; when it has overflowed, what is here means nothing. */
struct stored_parts {
    struct arena *arena;
    struct str *items;
    size_t n;
    size_t size;
    size_t bytes; /* of all */
    bool some;    /* an element was added: the next one gets a comma */
};
/* Zeroed but for the arena to begin with. Empty ones are left out. */
void stored_items_piece(struct stored_parts *parts, struct str piece);
/* to: room for parts->bytes. Returns what is behind them. */
char *stored_items_write(const struct stored_parts *parts, char *to);

/* The items that the member `input` stands for: its elements, or one message of the user for a
 * string. Appended as elements. False: it is neither. */
NODISCARD bool stored_items_of_input(struct str input, struct stored_parts *out);
/* The array's elements, in the same way. foreign: for a backend that did not make them: without
 * their ids, which it does not know, and without reasoning, which only its maker reads. */
void stored_items_add(struct str array, bool foreign, struct stored_parts *out);
/* One more element, or several with commas between them; none when it is empty. */
void stored_items_add_text(struct str elements, struct stored_parts *out);
/* The id that an item_reference names; null: the item is none. */
struct str stored_items_reference(struct str item);
/* The item's id without quotes; null: it has none. */
struct str stored_items_id(struct str item);
/* The item of that id; null: there is none. */
struct str stored_items_find(struct str array, struct str id);

struct stored_items_page {
    bool ascending;   /* else the newest first */
    size_t limit;     /* at least 1 */
    struct str after; /* an item's id; null: from the begin */
};
/* The list object of GET …/input_items. Items without an id get one made of the response's, always
 * the same; messages get their long form. False: no item has the id `after`. */
NODISCARD bool stored_items_list(struct str array, struct str response_id,
                                 const struct stored_items_page *page, struct arena *arena,
                                 struct buf *out);
