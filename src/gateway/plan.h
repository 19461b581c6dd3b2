/* SPDX-License-Identifier: MIT */
/* Elements and keys of attempts, and keeping those keys to ourselves. */
#pragma once

#include "backend/backend.h"

struct exchange;

/* The element for the next attempt. */
NODISCARD enum error_code plan_next(struct exchange *x, struct error *e);
/* The first key, for what no model's name led to (files, batches); NULL: the backend needs none. */
const struct backend_key *plan_key(const struct backend *backend);
/* The first that works at present, as far as is known, for what any of them may ask. */
const struct backend_key *plan_key_first(const struct backend *backend, int64_t now_ms);
/* The key of that name, which made what is asked for; another configuration may have dropped it:
 * then the backend is to say whether another key of its may have it. */
const struct backend_key *plan_key_named(const struct backend *backend, struct str name);
/* What a backend said, without the keys (and headers) that we sent it: some repeat in their errors
 * what they got. In the arena where there was one; null when it is full. */
struct str plan_redact_keys(const struct backend *backend, struct str text, struct arena *arena);
struct str plan_redact(const struct backend *backend, struct str text, struct arena *arena);
/* The same of a header's value, without the keys, appended to out. */
void plan_add_redacted(const struct backend *backend, struct str value, struct buf *out);
