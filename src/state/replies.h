/* SPDX-License-Identifier: MIT */
/*
 * Responses that may be asked for again: GET /v1/responses/{id}, previous_response_id
 * (openai-responses.md, 9; mapping.md, 12). Owned by the client key that made them.
 *
 * One for the process, used by all workers: a short lock. Bounded in bytes and age
 * (responses_store: max_bytes, ttl); the oldest leave first. In memory only.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct replies;

/* All text is copied in, and out into the arena. */
struct reply {
    struct str id;       /* "resp_…" */
    struct str previous; /* previous_response_id of its request; null: none */
    struct str backend;  /* that made it */
    struct str key;      /* name of the backend's key; null: none */
    struct str session;  /* id of the session that made it; null: none */
    struct str response; /* the response object; null: only its whereabouts are kept (raw pairs) */
    struct str input;    /* JSON array: the request's own input items */
    struct str output;   /* JSON array: the answer's output items */
};

struct replies *replies_new(size_t bytes_max, int64_t ttl_s);
void replies_free(struct replies **replies);
/* Another configuration; what does not fit any more leaves. */
void replies_set_bounds(struct replies *replies, size_t bytes_max, int64_t ttl_s);
void replies_put(struct replies *replies, struct str owner, const struct reply *reply,
                 int64_t now_s);
NODISCARD bool replies_get(struct replies *replies, struct str owner, struct str id, int64_t now_s,
                           struct arena *arena, struct reply *ret_reply);
/* The same without copying it: it stays as it is, and nobody changes it, until it is given
 * back, also when it leaves the store meanwhile. What has left is not counted: for more than a
 * moment it is held by who counts it. NULL: not there. */
NODISCARD struct reply *replies_borrow(struct replies *replies, struct str owner, struct str id,
                                       int64_t now_s);
/* Nulls; takes NULL. */
void replies_give_back(struct reply **reply);
/* False: not there. */
bool replies_delete(struct replies *replies, struct str owner, struct str id);
size_t replies_bytes(struct replies *replies);
