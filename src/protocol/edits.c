/* SPDX-License-Identifier: MIT */
#include "protocol/edits.h"

#include "text/json.h"

struct json_edits edits_copy(const struct request *request, struct arena *arena)
{
    const struct json_edits *edits = &request->edits;
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

void edits_model(const struct request *request, const struct encode_request *how,
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

void edits_apply(const struct request *request, struct json_edits *edits, struct arena *arena,
                 struct wire *wire)
{
    const struct json_member *session = json_index_find(&request->index, STR("session_id"));
    struct str *parts;

    assert(!str_is_null(request->source));
    if (session != NULL)
        json_edit_remove(edits, arena, &request->index, session);
    json_edit_apply(edits, request->source, arena, &parts, &wire->body_n, &wire->body_bytes);
    wire->body = parts;
}
