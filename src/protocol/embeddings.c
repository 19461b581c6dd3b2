/* SPDX-License-Identifier: MIT */
/*
 * Embeddings: the request, from OpenAI's form into Gemini's calls.
 *
 * How       Inputs stay spans of the client's body: a call's body is pieces between which they
 *           stand. Only strings with escapes are written anew, so that half a surrogate pair does
 *           not go up.
 * Owns      Nothing: all memory is the arena's, or the client's body.
 * Not here  The answer (embeddings_answer.c), which backend and key (gateway/).
 */
#include "protocol/embeddings.h"

#include "protocol/gemini_priv.h"
#include "text/json.h"
#include "text/json_index.h"

struct reader {
    struct embeddings *asked;
    size_t inputs_max; /* what there is room for */
    struct translation *t;
    struct arena *arena;
    struct error *e;
};

static enum error_code wrong(struct reader *r, const char *name, const char *want)
{
    return FAIL(r->e, ERR_BAD_REQUEST, "%s must be %s", name, want);
}

static enum error_code read_text(struct reader *r, struct str value, size_t at)
{
    struct embeddings *asked = r->asked;
    bool escaped = memchr(value.p, '\\', value.n) != NULL;

    if (value.n <= 2)
        return FAIL(r->e, ERR_BAD_REQUEST, "input[%zu] is an empty text", at);
    assert(asked->n < r->inputs_max);
    asked->inputs[asked->n++] = escaped ? json_quote(json_string_value(value, r->arena), r->arena)
                                        : value;
    return OK;
}

static enum error_code no_tokens(struct reader *r)
{
    return FAIL(r->e, ERR_UNSUPPORTED,
                "input: tokens mean nothing to a backend that speaks gemini; send text");
}

static enum error_code read_list(struct reader *r, struct str list)
{
    struct str value;
    size_t cursor = 0;

    for (size_t i = 0; json_array_next(list, &cursor, &value); i++) {
        enum json_kind kind = json_kind_of(value);
        if (kind == JSON_NUMBER || kind == JSON_ARRAY)
            return no_tokens(r);
        if (kind != JSON_STRING)
            return FAIL(r->e, ERR_BAD_REQUEST, "input[%zu] must be a string", i);
        TRY(read_text(r, value, i));
    }
    return r->asked->n > 0 ? OK : FAIL(r->e, ERR_BAD_REQUEST, "input is an empty array");
}

/* How many texts an array begins with; counts no further than one too many. */
static size_t count_inputs(struct str list)
{
    struct str value;
    size_t cursor = 0;
    size_t n = 0;

    while (n <= EMBEDDINGS_INPUTS_MAX && json_array_next(list, &cursor, &value) &&
           json_kind_of(value) == JSON_STRING)
        n++;
    return n;
}

static enum error_code read_input(struct reader *r, struct str value)
{
    enum json_kind kind = json_kind_of(value);
    size_t n = kind == JSON_ARRAY ? count_inputs(value) : 1;

    if (n > EMBEDDINGS_INPUTS_MAX)
        return FAIL(r->e, ERR_BAD_REQUEST, "input has more than %d elements",
                    EMBEDDINGS_INPUTS_MAX);
    r->asked->inputs = arena_array(r->arena, n + 1, sizeof(struct str));
    r->inputs_max = n + 1;
    if (arena_overflowed(r->arena))
        return FAIL(r->e, ERR_TOO_LARGE, "the request does not fit into memory");
    if (kind == JSON_STRING)
        return value.n <= 2 ? FAIL(r->e, ERR_BAD_REQUEST, "input is an empty text")
                            : read_text(r, value, 0);
    if (kind == JSON_ARRAY)
        return read_list(r, value);
    return wrong(r, "input", "a string or an array of strings");
}

static enum error_code read_dimensions(struct reader *r, struct str value)
{
    int64_t n;

    if (json_kind_of(value) != JSON_NUMBER || !str_to_int64(value, &n) || n < 1 || n > INT32_MAX)
        return wrong(r, "dimensions", "a positive integer");
    r->asked->dimensions = n;
    return OK;
}

static enum error_code read_format(struct reader *r, struct str value)
{
    bool base64 = str_eq(value, STR("\"base64\""));

    if (!base64 && !str_eq(value, STR("\"float\"")))
        return wrong(r, "encoding_format", "\"float\" or \"base64\"");
    r->asked->base64 = base64;
    return OK;
}

static enum error_code read_member(struct reader *r, const struct json_member *m)
{
    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (str_eq(m->key, STR("model"))) {
        if (json_kind_of(m->value) != JSON_STRING)
            return wrong(r, "model", "a string");
        r->asked->model = json_string_value(m->value, r->arena);
        return OK;
    }
    if (str_eq(m->key, STR("input")))
        return read_input(r, m->value);
    if (str_eq(m->key, STR("dimensions")))
        return read_dimensions(r, m->value);
    if (str_eq(m->key, STR("encoding_format")))
        return read_format(r, m->value);
    if (!str_eq(m->key, STR("user")) && !str_eq(m->key, STR("session_id")))
        translation_warn_of(r->t, "dropped", m->key);
    return OK;
}

enum error_code embeddings_read(struct str body, size_t depth_max, struct translation *t,
                                struct arena *arena, struct embeddings *ret_asked, struct error *e)
{
    struct embeddings asked = {.model = STR_NULL};
    struct reader r = {.asked = &asked, .t = t, .arena = arena, .e = e};
    struct json_index index;

    TRY(json_index_read(&index, body, depth_max, NULL, arena, e));
    for (size_t i = 0; i < index.n; i++)
        TRY(read_member(&r, &index.members[i]));
    if (asked.inputs == NULL)
        return FAIL(e, ERR_BAD_REQUEST, "input is missing");
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    assert(asked.n > 0 && asked.n <= EMBEDDINGS_INPUTS_MAX);
    *ret_asked = asked;
    return OK;
}

size_t embeddings_calls(const struct embeddings *asked)
{
    return (asked->n + EMBEDDINGS_CALL_MAX - 1) / EMBEDDINGS_CALL_MAX;
}

enum error_code embeddings_write(const struct embeddings *asked, size_t call, struct str model,
                                 struct arena *arena, struct wire *ret_wire, struct error *e)
{
    struct str name = gemini_model_bare(model);
    size_t first = call * EMBEDDINGS_CALL_MAX;
    assert(first < asked->n);
    size_t n = asked->n - first < EMBEDDINGS_CALL_MAX ? asked->n - first : EMBEDDINGS_CALL_MAX;
    struct str *pieces = arena_array(arena, 2 * EMBEDDINGS_CALL_MAX + 1, sizeof(struct str));

    if (name.n == 0)
        return FAIL(e, ERR_BAD_REQUEST, "model is missing");
    struct str open = str_print(arena, "{\"model\":%.*s,\"content\":{\"parts\":[{\"text\":",
                                STR_ARG(gemini_upstream_model(name, arena)));
    struct str close = asked->dimensions == 0
                           ? STR("}]}}")
                           : str_print(arena, "}]},\"outputDimensionality\":%lld}",
                                       (long long)asked->dimensions);
    struct str begin = str_print(arena, "{\"requests\":[%.*s", STR_ARG(open));
    struct str between = str_print(arena, "%.*s,%.*s", STR_ARG(close), STR_ARG(open));
    struct str end = str_print(arena, "%.*s]}", STR_ARG(close));
    struct str path = gemini_upstream_path(name, "batchEmbedContents", arena);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");

    struct wire wire = {
        .method = STR("POST"),
        .path = path,
        .content_type = STR("application/json"),
        .body = pieces,
        .body_n = 2 * n + 1,
    };
    for (size_t i = 0; i < n; i++) {
        pieces[2 * i] = i == 0 ? begin : between;
        pieces[2 * i + 1] = asked->inputs[first + i];
    }
    pieces[2 * n] = end;
    for (size_t i = 0; i < wire.body_n; i++)
        wire.body_bytes += pieces[i].n;
    *ret_wire = wire;
    return OK;
}
