/* SPDX-License-Identifier: MIT */
/*
 * What a request that goes on from kept responses becomes: the items of the whole chain before its
 * own, and what it refers to in its place. Pure but for the store, which any thread may ask:
 *
 *   stored_chain_read ─► is there anything to write? ─► stored_chain_write ─► stored_chain_end
 */
#pragma once

#include "base/error.h"
#include "gateway/stored_items.h"
#include "state/replies.h"
#include "text/json_index.h"

struct stored_chain {
    /* Given, and there until stored_chain_end. */
    struct replies *replies;
    struct str owner;
    struct str previous; /* previous_response_id; null: none */
    int64_t now_s;
    const struct json_index *index; /* of the request's body */
    bool same;                      /* its backend speaks Responses: it knows its own items */
    bool keeps;                     /* the request's own items are to be remembered */
    bool stays;                     /* the body is not made anew, whatever it refers to */
    size_t bytes_max;               /* body_bytes_max */
    size_t fits_max;                /* inflight_bytes_max */
    size_t work_max;                /* bytes that may be looked at, and written */
    struct arena_budget *budget;
    /* What came of it. */
    bool too_much; /* more than work_max: nothing was done (OK is returned) */
    bool anew;     /* `parts` are the body; else it stays */
    struct stored_parts parts;
    struct stored_parts own; /* the request's own items, as an array; none: not to be remembered */
    struct str pinned;       /* the backend that has the previous response; null: any will do */
    struct str key;          /* and its key's name; null: any */
    struct str session;      /* that made the previous response; null: none, or there is no such */
    /* Its own. */
    struct arena arena;
    struct stored_borrowed *borrowed;
    size_t work;
};

/* Everything but what is given is zero. UNKNOWN_RESPONSE, BAD_REQUEST: what the client named is not
 * there; TOO_LARGE: it can never be; OVERLOADED: there is no memory for it now. */
NODISCARD enum error_code stored_chain_read(struct stored_chain *chain, struct error *e);
/* to: room for chain->parts.bytes. */
void stored_chain_write(const struct stored_chain *chain, char *to);
/* Gives everything back; what came of it is gone. */
void stored_chain_end(struct stored_chain *chain);

enum { STORED_ITEM_KEY_MAX = 128 };
/* Under which id it is kept which response an item is in: as a reply without a backend. Null: such
 * ids are not kept. */
struct str stored_chain_item_key(struct str id, char to[STORED_ITEM_KEY_MAX]);
