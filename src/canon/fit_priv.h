/* SPDX-License-Identifier: MIT */
/* What the files of canon/fit share. */
#pragma once

#include "canon/fit.h"

struct fitter {
    const struct fit_rules *rules;
    struct translation *t; /* may be NULL */
    struct arena *arena;
    bool unreadable; /* a data: URL is none */
};

/* --- fit_calls.c: calls and results --- */

/* A call or a result, in the order of the conversation. */
struct fit_use {
    struct part *part;
    const struct turn *turn;
    struct fit_use *other; /* its result, or its call; NULL: none */
    struct fit_use *next;  /* call: the next one with the same id in the same turn */
    bool call;
};

struct fit_calls {
    struct fit_use *uses;
    size_t n;
};

/* Pairs the calls of turns with their results, and gives both the ids that they get. */
void fit_calls_pair(struct fitter *f, struct turn *turns, struct fit_calls *ret_calls);

/* --- fit_tools.c: definitions and names --- */

/* Fills ret_request's tools and tool_choice. BAD_REQUEST: more than tools_max. */
NODISCARD enum error_code fit_tools_make(struct fitter *f, const struct request *request,
                                         struct request *ret_request, struct error *e);
/* The target's name of a tool: itself where it is legal. */
struct str fit_tools_name(const struct fitter *f, struct str name);

/* --- fit_extra.c --- */

/* Members of the root that were not modelled are left out: tells of those that meant something.
 * UNSUPPORTED: without one the request would mean something else. */
NODISCARD enum error_code fit_extra_check(struct fitter *f, const struct extra *extra,
                                          struct error *e);

/* --- fit.c --- */

/* A byte string's hash, the same everywhere and always: it stands in ids and names. */
PURE_FN uint32_t fit_hash(struct str text, uint32_t more);
/* The pieces, one after the other. */
struct str fit_join(struct arena *arena, const struct str *pieces, size_t n);
