/* SPDX-License-Identifier: MIT */
/* Elements and keys of attempts, and keeping those keys to ourselves. */
#pragma once

#include "backend/backend.h"

struct exchange;

/* The element for the next attempt and the key to use (x->attempt.key). */
NODISCARD enum error_code plan_next(struct exchange *x, struct error *e);
/* The key for what no element chose; NULL: the backend needs none. */
const struct backend_key *plan_key(const struct backend *backend);
/* The key of that name, which made what is asked for; another configuration may have dropped it:
 * then the backend is to say whether another key of its may have it. */
const struct backend_key *plan_key_named(const struct backend *backend, struct str name);
/* What a backend said, without the keys (and headers) that we sent it: some repeat in their errors
 * what they got. In the arena where there was one; null when it is full. */
struct str plan_redact_keys(const struct backend *backend, struct str text, struct arena *arena);
struct str plan_redact(const struct backend *backend, struct str text, struct arena *arena);
