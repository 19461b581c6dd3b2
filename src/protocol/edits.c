/* SPDX-License-Identifier: MIT */
#include "protocol/edits.h"

#include "canon/traits.h"
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

const struct steer *edits_steer(const struct encode_request *how)
{
    bool none = how->steer == NULL || how->operation == OP_COUNT_TOKENS ||
                steer_is_empty(how->steer);

    return none ? NULL : how->steer;
}

static bool asks_for_reasoning(const struct steer *steer)
{
    double tokens;

    if (!str_is_null(steer->reasoning_budget))
        return str_to_double(steer->reasoning_budget, &tokens) && tokens > 0;
    return !str_is_null(steer->reasoning_effort) && !str_eq(steer->reasoning_effort, STR("none"));
}

const struct traits *edits_openai_traits(const struct request *request,
                                         const struct encode_request *how)
{
    const struct steer *steer = edits_steer(how);
    struct str model = str_is_null(how->model) ? request->model : how->model;
    const struct traits *traits = traits_of(TRAITS_OPENAI, model);

    return steer != NULL && asks_for_reasoning(steer) ? traits_told(traits) : traits;
}

struct str edits_own(const struct request *request, const char *key)
{
    const struct json_member *m = json_index_find(&request->index, str_c(key));

    return m == NULL || json_kind_of(m->value) == JSON_NULL ? STR_NULL : m->value;
}

bool edits_samples(const struct request *request)
{
    static const struct {
        const char *key;
        double usual;
    } members[] = {
        {"temperature", 1},      {"top_p", 1},        {"frequency_penalty", 0},
        {"presence_penalty", 0}, {"top_logprobs", 0},
    };
    struct str logprobs = edits_own(request, "logprobs");

    for (size_t i = 0; i < COUNT_OF(members); i++) {
        struct str own = edits_own(request, members[i].key);
        double value;
        if (!str_is_null(own) &&
            (!str_to_double(own, &value) || value < members[i].usual || value > members[i].usual))
            return true;
    }
    return !str_is_null(logprobs) && json_kind_of(logprobs) == JSON_TRUE;
}

/* --- members that are added where there are none ------------------------------------------- */

/* Objects are merged so far below the root: generationConfig, thinkingConfig. */
enum { MERGE_LEVELS = 2 };

struct merge {
    struct str source;
    edits_names_fn *names;
    struct json_edits *edits;
    struct arena *arena;
};

static bool is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

/* Whether a member leaves no place for another: it is that one, or says what that one would. */
static bool takes_place(const struct merge *merge, const struct json_member *has, struct str key)
{
    enum edits_names names = merge->names == NULL
                                 ? (str_eq(has->key, key) ? EDITS_SAME : EDITS_OTHER)
                                 : merge->names(has->key, key);

    return names == EDITS_SAME || (names == EDITS_INSTEAD && !is_null(has->value));
}

static bool find_member(const struct merge *merge, struct str object, struct str key,
                        struct json_member *ret_member)
{
    size_t cursor = 0;

    while (json_object_next(object, &cursor, merge->arena, ret_member)) {
        if (takes_place(merge, ret_member, key))
            return true;
    }
    return false;
}

static void replace(const struct merge *merge, struct str value, struct str by)
{
    size_t begin = (size_t)(value.p - merge->source.p);

    assert(value.p >= merge->source.p && begin + value.n <= merge->source.n);
    json_edit_span(merge->edits, merge->arena, begin, begin + value.n, by);
}

static bool is_object(struct str value)
{
    return value.n > 0 && json_kind_of(value) == JSON_OBJECT;
}

static bool is_empty(struct str object, struct arena *arena)
{
    struct json_member m;
    size_t cursor = 0;

    return !json_object_next(object, &cursor, arena, &m);
}

/* In front of what an object in the source has: "key":value, … */
static void merge_object(const struct merge *merge, struct str object, struct str other, int levels)
{
    struct json_member m;
    struct json_member has;
    size_t cursor = 0;
    struct buf added;

    buf_init(&added, other.n + 2);
    while (json_object_next(other, &cursor, merge->arena, &m)) {
        if (!find_member(merge, object, m.key, &has)) {
            if (added.n > 0)
                buf_add_char(&added, ',');
            buf_add(&added, str_of(other.p + m.begin, m.end - m.begin));
        } else if (is_null(has.value)) {
            replace(merge, has.value, m.value);
        } else if (levels > 0 && is_object(has.value) && is_object(m.value)) {
            merge_object(merge, has.value, m.value, levels - 1);
        }
    }
    if (added.n > 0) {
        if (!is_empty(object, merge->arena))
            buf_add_char(&added, ',');
        replace(merge, str_of(object.p + 1, 0), str_copy(merge->arena, buf_str(&added)));
    }
    buf_fini(&added);
}

static bool has_member(struct str object, struct str key, struct arena *arena)
{
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(object, &cursor, arena, &m)) {
        if (str_eq(m.key, key))
            return true;
    }
    return false;
}

void edits_tell_unsaid(const struct request *request, const struct encode_request *how,
                       struct str object, struct arena *arena)
{
    const struct steer *steer = edits_steer(how);
    const struct {
        const char *key;
        struct str asked;
    } members[] = {{"temperature", steer->temperature}, {"top_p", steer->top_p}};

    for (size_t i = 0; i < COUNT_OF(members); i++) {
        struct str key = str_c(members[i].key);
        if (!str_is_null(members[i].asked) && str_is_null(edits_own(request, members[i].key)) &&
            !has_member(object, key, arena))
            translation_warn_of(how->translation, "dropped", key);
    }
}

void edits_merge(const struct request *request, struct str object, edits_names_fn *names,
                 struct json_edits *edits, struct arena *arena)
{
    const struct json_index *index = &request->index;
    const struct merge merge = {request->source, names, edits, arena};
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(object, &cursor, arena, &m)) {
        const struct json_member *has = NULL;
        for (size_t i = 0; i < index->n && has == NULL; i++) {
            if (takes_place(&merge, &index->members[i], m.key))
                has = &index->members[i];
        }
        if (has == NULL)
            json_edit_add(edits, arena, index, m.key, m.value);
        else if (is_null(has->value))
            json_edit_value(edits, arena, index, has, m.value);
        else if (is_object(has->value) && is_object(m.value))
            merge_object(&merge, has->value, m.value, MERGE_LEVELS - 1);
    }
}

struct str edits_union(struct str object, struct str other, edits_names_fn *names,
                       struct arena *arena)
{
    struct json_edits edits = {.n = 0};
    const struct merge merge = {object, names, &edits, arena};
    struct str *pieces;
    size_t n;
    size_t bytes;
    struct buf out;

    merge_object(&merge, object, other, MERGE_LEVELS - 1);
    json_edit_apply(&edits, object, arena, &pieces, &n, &bytes);
    if (arena_overflowed(arena))
        return STR_NULL;
    buf_init(&out, bytes + 1);
    for (size_t i = 0; i < n; i++)
        buf_add(&out, pieces[i]);
    struct str all = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return all;
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
