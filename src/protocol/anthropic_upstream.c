/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: the request that an upstream gets.
 *
 * What      A client's request of this protocol as its own bytes with a few spans replaced; any
 *           other request written from its canonical form.
 * How       same_protocol: a copy of the request's edits, and of ours: the model's name, no
 *           session_id. The request itself stays as it is, so that it can be encoded again for the
 *           next attempt.
 * Owns      Nothing: pieces lie in the arena and in the client's body.
 */
#include "protocol/anthropic_priv.h"

/* --- edits of the client's body ----------------------------------------------------------- */

static struct json_edits edits_copy(const struct json_edits *edits, struct arena *arena)
{
    struct json_edits copy = {.n = edits->n, .size = edits->n};

    assert(edits->n == 0 || edits->items != NULL);
    if (edits->n == 0)
        return copy;
    copy.items = arena_array(arena, edits->n, sizeof(*copy.items));
    if (arena_overflowed(arena))
        return (struct json_edits){.n = 0};
    memcpy(copy.items, edits->items, edits->n * sizeof(*copy.items));
    return copy;
}

static void edit_model(const struct request *request, const struct encode_request *how,
                       struct json_edits *edits, struct arena *arena)
{
    const struct json_member *member = request->model_member;

    if (str_is_null(how->model))
        return;
    if (member == NULL)
        json_edit_add(edits, arena, &request->index, STR("model"), json_quote(how->model, arena));
    else if (str_is_null(request->model) || !str_eq(request->model, how->model))
        json_edit_value(edits, arena, &request->index, member, json_quote(how->model, arena));
}

static void edit_source(struct request *request, const struct encode_request *how,
                        struct arena *arena, struct wire *wire)
{
    struct json_edits edits = edits_copy(&request->edits, arena);
    const struct json_member *session = json_index_find(&request->index, STR("session_id"));
    struct str *parts;

    assert(!str_is_null(request->source));
    edit_model(request, how, &edits, arena);
    if (session != NULL)
        json_edit_remove(&edits, arena, &request->index, session);
    json_edit_apply(&edits, request->source, arena, &parts, &wire->body_n, &wire->body_bytes);
    wire->body = parts;
}

/* ------------------------------------------------------------------------------------------ */

enum error_code anthropic_upstream_encode(struct request *request, const struct encode_request *how,
                                          struct arena *arena, struct wire *ret_wire,
                                          struct error *e)
{
    struct wire wire = {
        .method = STR("POST"),
        .path = how->operation == OP_COUNT_TOKENS ? STR("/messages/count_tokens")
                                                  : STR("/messages"),
        .query = STR_NULL,
        .content_type = STR("application/json"),
    };

    if (!how->same_protocol)
        return FAIL(e, ERR_UNSUPPORTED, "requests of other protocols are not translated yet");
    edit_source(request, how, arena, &wire);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    *ret_wire = wire;
    return OK;
}
