/* SPDX-License-Identifier: MIT */
/* Elements and keys of attempts, and keeping those keys to ourselves. */
#pragma once

#include "backend/backend.h"

struct exchange;

/* The element for the next attempt and the key to use. */
NODISCARD enum error_code plan_next(struct exchange *x, struct error *e);
const struct backend_key *plan_key(const struct backend *backend);
/* What a backend said, without the keys (and headers) that we sent it: some repeat in their errors
 * what they got. In the arena where there was one; null when it is full. */
struct str plan_redact_keys(const struct backend *backend, struct str text, struct arena *arena);
struct str plan_redact(const struct backend *backend, struct str text, struct arena *arena);
