/* SPDX-License-Identifier: MIT */
/*
 * A client's request as its own bytes with a few spans replaced: what the protocols share of it.
 * The request itself stays as it is, so that it can be encoded again for the next attempt.
 */
#pragma once

#include "protocol/protocol.h"

/* The request's own edits, to which others are added; in the arena, whose overflow says whether it
 * is whole. */
NODISCARD struct json_edits edits_copy(const struct request *request, struct arena *arena);
/* The root's model becomes how->model, which may be null: then it stays. */
void edits_model(const struct request *request, const struct encode_request *how,
                 struct json_edits *edits, struct arena *arena);
/* The body of wire, by these edits and without session_id, which is ours: pieces in the arena and
 * in the client's body. */
void edits_apply(const struct request *request, struct json_edits *edits, struct arena *arena,
                 struct wire *wire);
