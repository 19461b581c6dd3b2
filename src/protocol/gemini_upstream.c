/* SPDX-License-Identifier: MIT */
/*
 * Gemini: the request that an upstream gets.
 *
 * What      The path, which says the model and what is asked; a client's request of this protocol
 *           as its own bytes with a few spans replaced.
 * How       same_protocol: a copy of the request's edits, and of ours: a model in the body follows
 *           the path's, no session_id, what settings ask for. The request itself stays as it is,
 *           so that it can be encoded again for the next attempt.
 * Owns      Nothing: pieces lie in the arena and in the client's body.
 * Not here  Requests of other protocols: gemini_write.c.
 */
#include "protocol/gemini_priv.h"

#include "protocol/edits.h"
#include "text/url.h"

struct str gemini_upstream_model(struct str model, struct arena *arena)
{
    bool folder = str_find_char(model, '/', 0) != SIZE_MAX;

    return json_quote(folder ? model : str_print(arena, "models/%.*s", STR_ARG(model)), arena);
}

/* countTokens: a model stands in generateContentRequest as well. */
static void edit_inner_model(const struct request *request, struct str model,
                             struct json_edits *edits, struct arena *arena)
{
    for (size_t i = 0; i < request->index.n; i++) {
        const struct json_member *outer = &request->index.members[i];
        struct json_member m;
        size_t cursor = 0;
        if (!gemini_request_is(outer->key, "generateContentRequest") ||
            json_kind_of(outer->value) != JSON_OBJECT)
            continue;
        while (json_object_next(outer->value, &cursor, arena, &m)) {
            if (!str_eq(m.key, STR("model")))
                continue;
            size_t begin = (size_t)(m.value.p - request->source.p);
            json_edit_span(edits, arena, begin, begin + m.value.n,
                           gemini_upstream_model(model, arena));
        }
    }
}

static void edit_source(const struct request *request, const struct encode_request *how,
                        struct str model, struct arena *arena, struct wire *wire)
{
    struct json_edits edits = edits_copy(request, arena);

    if (request->model_member != NULL)
        json_edit_value(&edits, arena, &request->index, request->model_member,
                        gemini_upstream_model(model, arena));
    edit_inner_model(request, model, &edits, arena);
    if (edits_steer(how) != NULL)
        edits_merge(request, gemini_config_steer(request, how, edits_steer(how), arena),
                    gemini_config_names, &edits, arena);
    edits_apply(request, &edits, arena, wire);
}

struct str gemini_upstream_path(struct str model, const char *action, struct arena *arena)
{
    bool folder = str_starts(model, STR("tunedModels/")) || str_starts(model, STR("dynamic/")) ||
                  str_starts(model, STR("publishers/"));
    struct str name = url_encode(model, "/:@", arena);

    return str_print(arena, "%s%.*s:%s", folder ? "/" : "/models/", STR_ARG(name), action);
}

enum error_code gemini_upstream_encode(struct request *request, const struct encode_request *how,
                                       struct arena *arena, struct wire *ret_wire, struct error *e)
{
    struct str model = gemini_model_bare(str_is_null(how->model) ? request->model : how->model);
    bool events = how->operation != OP_COUNT_TOKENS && request->stream && !request->array;
    const char *action = how->operation == OP_COUNT_TOKENS ? "countTokens"
                         : request->stream                 ? "streamGenerateContent"
                                                           : "generateContent";
    struct wire wire = {
        .method = STR("POST"),
        .path = gemini_upstream_path(model, action, arena),
        .query = events ? STR("alt=sse") : STR_NULL,
        .content_type = STR("application/json"),
    };

    if (how->same_protocol) {
        edit_source(request, how, model, arena, &wire);
    } else {
        struct str *piece = ARENA_NEW(arena, struct str);
        TRY(gemini_write(request, how, arena, piece, e));
        wire.body = piece;
        wire.body_n = 1;
        wire.body_bytes = piece->n;
    }
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    *ret_wire = wire;
    return OK;
}
