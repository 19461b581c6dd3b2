/* SPDX-License-Identifier: MIT */
/*
 * Answers of the proxy itself (to commands) as places to go on from: a client of Responses goes on
 * with previous_response_id, and all such answers have the same id. Going on from one goes on from
 * where the conversation was before it.
 *
 * Kept with the responses (state/replies), as long as they are; one for the process, any thread.
 */
#pragma once

#include "base/arena.h"
#include "state/session.h"

struct detours;
struct replies;

/* The id. */
extern const struct str detour_id;

/* Borrows replies. */
struct detours *detour_new(struct replies *replies);
/* Nulls; takes NULL. */
void detour_free(struct detours **detours);

/* Of one client, at some time. */
struct detour_ask {
    const struct session_scope *scope;
    struct str session; /* null: the request names none */
    int64_t now_s;
    int64_t ttl_s; /* responses_store.ttl */
};

/* The session was answered by the proxy; previous: what that request went on from, null: it was
 * the first. */
void detour_put(struct detours *detours, const struct detour_ask *ask, struct str previous);

enum detour_found {
    DETOUR_NONE, /* there was no such answer, or it was too long ago */
    DETOUR_ONE,
    DETOUR_MANY /* of several sessions, and none is named: which one is meant cannot be known */
};
struct detour {
    struct str previous; /* null: none */
    struct str session;
};
/* Text lies in the arena. */
enum detour_found detour_find(struct detours *detours, const struct detour_ask *ask,
                              struct arena *arena, struct detour *ret_detour);
/* The session was forgotten. */
void detour_forget(struct detours *detours, const struct detour_ask *ask);
