/* SPDX-License-Identifier: MIT */
/* Browsers: which host a request was for, which page it comes from, and what that page may see. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct config;
struct exchange;
struct message;

/* The request's host and the page that it comes from. FORBIDDEN, BAD_REQUEST. Sets x->origin.
 * behind_trusted: a trusted proxy has sent it. */
NODISCARD enum error_code origin_check(struct exchange *x, const struct message *m,
                                       bool behind_trusted, struct error *e);
/* Whether it is one of cors_origins. */
bool origin_listed(const struct config *config, struct str origin);
/* What lets a page of that origin read the answer, appended to out. */
void origin_lines(struct str origin, struct buf *out);
/* Further lines for the answer to a preflight; null: the request is none. */
struct str origin_preflight(const struct message *m, struct arena *arena);
