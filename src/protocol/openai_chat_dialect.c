/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: a body made what a vendor takes.
 *
 * What      What struct dialect says of requests, as edits of a body: a client's own, or one of
 *           ours that was written as OpenAI has the protocol. One set of rules for both.
 * How       One look at the root's members, by the index that is there already; each rule finds its
 *           members in has[] and leaves a body alone that fits. Running it twice changes nothing
 *           more. Where other edits may be in the way (commands, settings) they are applied first
 *           and the rules work on the result.
 *           What is left out or changed, and meant something, is told (translation).
 * Owns      Nothing: all lies in the arena.
 * Not here  Tools (openai_chat_dialect_tools.c), words for reasoning (…_reasoning.c), messages
 *           (…_messages.c); what a vendor's answers do otherwise.
 */
#include "protocol/openai_chat_dialect_priv.h"

#include "protocol/edits.h"

enum { DEPTH_MAX = 1024, STOPS_HELD = 64 };

static const struct str keys[] = {
#define KEY(name) STR_INIT(#name),
    DIALECT_KEYS(KEY)
#undef KEY
};

const struct traits *openai_chat_dialect_traits(struct openai_chat_dialect_work *w)
{
    if (w->traits == NULL)
        w->traits = traits_of(TRAITS_OPENAI, w->model);
    return w->traits;
}

/* --- members ------------------------------------------------------------------------------ */

static size_t offset_of(const struct openai_chat_dialect_work *w, struct str text)
{
    struct str source = w->index->source;

    assert(text.p >= source.p && text.p + text.n <= source.p + source.n);
    return (size_t)(text.p - source.p);
}

struct json_member openai_chat_dialect_place(const struct openai_chat_dialect_work *w,
                                             struct str object, const struct json_member *m)
{
    struct json_member placed = *m;
    size_t at = offset_of(w, object);

    placed.begin += at;
    placed.end += at;
    return placed;
}

void openai_chat_dialect_remove(struct openai_chat_dialect_work *w, const struct json_member *m)
{
    json_edit_remove(w->edits, w->arena, w->index, m);
}

void openai_chat_dialect_value(struct openai_chat_dialect_work *w, struct str value,
                               struct str instead)
{
    size_t at = offset_of(w, value);

    json_edit_span(w->edits, w->arena, at, at + value.n, instead);
}

void openai_chat_dialect_rename(struct openai_chat_dialect_work *w, const struct json_member *m,
                                struct str key)
{
    struct str source = w->index->source;
    bool escaped;
    size_t body = m->begin + 1;
    size_t n = json_string_skip(source.p + body, source.n - body, &escaped);

    assert(source.p[m->begin] == '"' && n < source.n - body);
    json_edit_span(w->edits, w->arena, body, body + n, key);
}

void openai_chat_dialect_front(struct openai_chat_dialect_work *w, struct str container,
                               struct str text)
{
    size_t at = offset_of(w, container) + 1;

    json_edit_span(w->edits, w->arena, at, at, text);
}

bool openai_chat_dialect_lists(const char *list, struct str word)
{
    struct str rest = str_c(list);
    struct str one;

    while (str_cut(&rest, ' ', &one)) {
        if (str_eq(one, word))
            return true;
    }
    return false;
}

static bool is_null(const struct json_member *m)
{
    return m == NULL || json_kind_of(m->value) == JSON_NULL;
}

/* Null, false, 0, an empty one: nothing is lost with it. n: 1 is what it is without. */
static bool says_nothing(struct str key, struct str value)
{
    double number;

    switch (json_kind_of(value)) {
    case JSON_NULL:
    case JSON_FALSE:
        return true;
    case JSON_NUMBER:
        return str_to_double(value, &number) && number <= (str_eq(key, STR("n")) ? 1 : 0) &&
               number >= 0;
    case JSON_OBJECT:
    case JSON_ARRAY:
        return str_trim(str_of(value.p + 1, value.n - 2)).n == 0;
    case JSON_STRING:
        return value.n == 2;
    case JSON_TRUE:
        break;
    }
    return false;
}

static void leave_out(struct openai_chat_dialect_work *w, const struct json_member *m)
{
    if (!says_nothing(m->key, m->value))
        translation_warn_of(w->t, "dropped", m->key);
    openai_chat_dialect_remove(w, m);
}

static void drop(struct openai_chat_dialect_work *w, enum dialect_key key)
{
    if (w->has[key] == NULL)
        return;
    leave_out(w, w->has[key]);
    w->has[key] = NULL;
}

static void change(struct openai_chat_dialect_work *w, enum dialect_key key, struct str value)
{
    translation_warn_of(w->t, "changed", keys[key]);
    openai_chat_dialect_value(w, w->has[key]->value, value);
}

/* The number that a member is; false: it is none. */
static bool number_of(const struct openai_chat_dialect_work *w, enum dialect_key key,
                      double *ret_number)
{
    const struct json_member *m = w->has[key];

    return m != NULL && json_kind_of(m->value) == JSON_NUMBER &&
           str_to_double(m->value, ret_number);
}

/* --- parameters --------------------------------------------------------------------------- */

/* Its two names, of which the vendor, or the model, knows one. Returns the one that stays. */
static enum dialect_key name_max_tokens(struct openai_chat_dialect_work *w)
{
    bool newer_model = openai_chat_dialect_traits(w)->developer;
    bool legacy = w->dialect->max_tokens_legacy && !newer_model;
    bool newer = w->dialect->model_rules && newer_model;
    enum dialect_key known = legacy ? DIALECT_KEY_max_tokens : DIALECT_KEY_max_completion_tokens;
    enum dialect_key other = legacy ? DIALECT_KEY_max_completion_tokens : DIALECT_KEY_max_tokens;

    if ((!legacy && !newer) || w->has[other] == NULL)
        return is_null(w->has[known]) ? other : known;
    if (!is_null(w->has[known]) || is_null(w->has[other])) {
        openai_chat_dialect_remove(w, w->has[other]);
        return known;
    }
    if (w->has[known] != NULL)
        openai_chat_dialect_remove(w, w->has[known]);
    openai_chat_dialect_rename(w, w->has[other], keys[known]);
    return other;
}

static void fit_max_tokens(struct openai_chat_dialect_work *w)
{
    double tokens;

    if (w->has[DIALECT_KEY_max_tokens] == NULL && w->has[DIALECT_KEY_max_completion_tokens] == NULL)
        return;
    enum dialect_key key = name_max_tokens(w);
    if (!number_of(w, key, &tokens) || tokens >= w->dialect->max_tokens_min)
        return;
    translation_warn(w->t, "changed:max_tokens");
    openai_chat_dialect_value(w, w->has[key]->value,
                              str_print(w->arena, "%u", w->dialect->max_tokens_min));
}

/* The first ones of a list of stop sequences. */
static void fit_stop(struct openai_chat_dialect_work *w)
{
    const struct json_member *m = w->has[DIALECT_KEY_stop];
    unsigned max = w->dialect->stops_max;
    struct str one;
    size_t cursor = 0;
    size_t n = 0;

    if (m == NULL || max == 0 || json_kind_of(m->value) != JSON_ARRAY)
        return;
    while (json_array_next(m->value, &cursor, &one)) {
        if (n++ >= max)
            json_edit_element(w->edits, w->arena, w->index->source, one);
    }
    if (n > max)
        translation_warn(w->t, "dropped:stop");
}

/* Together's logprobs is how many. */
static void fit_logprobs(struct openai_chat_dialect_work *w)
{
    const struct json_member *on = w->has[DIALECT_KEY_logprobs];
    const struct json_member *number = w->has[DIALECT_KEY_top_logprobs];

    if (!w->dialect->logprobs_number)
        return;
    if (on != NULL && json_kind_of(on->value) == JSON_TRUE)
        openai_chat_dialect_value(w, on->value, is_null(number) ? STR("1") : number->value);
    else if (on != NULL && json_kind_of(on->value) == JSON_FALSE)
        openai_chat_dialect_remove(w, on);
    if (number != NULL)
        openai_chat_dialect_remove(w, number);
}

static void fit_tier(struct openai_chat_dialect_work *w)
{
    const struct json_member *m = w->has[DIALECT_KEY_service_tier];

    if (m == NULL || w->dialect->service_tier == NULL || json_kind_of(m->value) != JSON_STRING)
        return;
    struct str tier = json_string_value(m->value, w->arena);
    if (openai_chat_dialect_lists(w->dialect->service_tier, tier))
        return;
    if (!str_eq(tier, STR("auto")) && !str_eq(tier, STR("default")))
        translation_warn(w->t, "dropped:service_tier");
    openai_chat_dialect_remove(w, m);
}

static enum error_code fit_parameters(struct openai_chat_dialect_work *w)
{
    const struct dialect *d = w->dialect;
    double number;

    if (!w->raw && d->n_max > 0 && number_of(w, DIALECT_KEY_n, &number) && number > d->n_max)
        return FAIL(w->e, ERR_UNSUPPORTED_VALUE, "n: it gives %u answer%s to a request", d->n_max,
                    d->n_max == 1 ? "" : "s");
    if (d->temperature_max > 0 && number_of(w, DIALECT_KEY_temperature, &number) &&
        number > (double)d->temperature_max)
        change(w, DIALECT_KEY_temperature, str_print(w->arena, "%g", (double)d->temperature_max));
    if (d->seed != NULL && w->has[DIALECT_KEY_seed] != NULL)
        openai_chat_dialect_rename(w, w->has[DIALECT_KEY_seed], str_c(d->seed));
    if (d->usage == DIALECT_USAGE_NONE && w->has[DIALECT_KEY_stream_options] != NULL)
        openai_chat_dialect_remove(w, w->has[DIALECT_KEY_stream_options]);
    fit_max_tokens(w);
    fit_stop(w);
    fit_logprobs(w);
    fit_tier(w);
    return OK;
}

/* --- what a model refuses ----------------------------------------------------------------- */

static bool is_off(const struct json_member *effort)
{
    return is_null(effort) || str_eq(effort->value, STR("\"none\""));
}

/* A model that samples while it does not reason may do so by itself where nothing is said of
 * reasoning: then the vendor decides. */
static bool is_sampling_refused(const struct openai_chat_dialect_work *w,
                                const struct traits *traits)
{
    if (!traits->sampling_refused)
        return false;
    return !(traits->sampling_when_off && is_off(w->has[DIALECT_KEY_reasoning_effort]));
}

/* Sampling that is not the usual one. */
static void fit_sampling(struct openai_chat_dialect_work *w)
{
    static const struct {
        enum dialect_key key;
        double usual;
        bool penalty;
    } members[] = {
        {DIALECT_KEY_temperature, 1, false},      {DIALECT_KEY_top_p, 1, false},
        {DIALECT_KEY_frequency_penalty, 0, true}, {DIALECT_KEY_presence_penalty, 0, true},
        {DIALECT_KEY_logprobs, -1, false},        {DIALECT_KEY_top_logprobs, -1, false},
        {DIALECT_KEY_logit_bias, -1, false},
    };
    bool unusual[COUNT_OF(members)];
    double number;
    size_t n = 0;

    /* Most requests say nothing of all that: then the model's name need not be looked up. */
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        enum dialect_key key = members[i].key;
        bool usual = number_of(w, key, &number) && number >= members[i].usual &&
                     number <= members[i].usual;
        unusual[i] = !usual && !is_null(w->has[key]);
        n += unusual[i];
    }
    if (n == 0 && is_null(w->has[DIALECT_KEY_stop]))
        return;
    const struct traits *traits = openai_chat_dialect_traits(w);
    bool refused = is_sampling_refused(w, traits);
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        if (unusual[i] && (refused || (members[i].penalty && traits->penalties_refused)))
            drop(w, members[i].key);
    }
    if (traits->stop_refused && !is_null(w->has[DIALECT_KEY_stop]))
        drop(w, DIALECT_KEY_stop);
}

/* --- structured output -------------------------------------------------------------------- */

static bool says_json(struct str text)
{
    for (size_t at = 0; at + 4 <= text.n; at++) {
        if ((text.p[at] | 0x20) == 'j' && str_starts_nocase(str_from(text, at), STR("json")))
            return true;
    }
    return false;
}

static void note_schema(struct openai_chat_dialect_work *w, struct str format)
{
    struct str named = json_object_find(format, STR("json_schema"));
    struct str schema = json_kind_of(named) == JSON_OBJECT ? json_object_find(named, STR("schema"))
                                                           : STR_NULL;

    w->note = str_is_null(schema)
                  ? STR("Respond only with a JSON object.")
                  : openai_chat_join(w->arena,
                                     STR("Respond only with a JSON object that follows this JSON "
                                         "Schema:\n"),
                                     schema);
}

static void fit_object_format(struct openai_chat_dialect_work *w, const struct json_member *m)
{
    const struct json_member *messages = w->has[DIALECT_KEY_messages];

    if (w->dialect->json == DIALECT_JSON_SCHEMA_ONLY)
        openai_chat_dialect_value(w, m->value,
                                  STR("{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                                      "\"response\",\"schema\":{\"type\":\"object\"}}}"));
    else if (w->dialect->json_word && messages != NULL && !says_json(messages->value))
        w->note = STR("Respond only with a JSON object.");
}

static void fit_format(struct openai_chat_dialect_work *w)
{
    const struct json_member *m = w->has[DIALECT_KEY_response_format];
    enum dialect_json json = w->dialect->json;

    if (m == NULL || json_kind_of(m->value) != JSON_OBJECT)
        return;
    struct str type = json_string_value(json_object_find(m->value, STR("type")), w->arena);
    bool schema = str_eq(type, STR("json_schema"));
    if (!schema && !str_eq(type, STR("json_object")))
        return;
    if (json == DIALECT_JSON_NONE) {
        note_schema(w, m->value);
        translation_warn(w->t, "changed:response_format");
        openai_chat_dialect_remove(w, m);
    } else if (schema && json == DIALECT_JSON_OBJECT) {
        note_schema(w, m->value);
        change(w, DIALECT_KEY_response_format, STR("{\"type\":\"json_object\"}"));
    } else if (!schema) {
        fit_object_format(w, m);
    }
}

/* --- the whole ---------------------------------------------------------------------------- */

/* Where names of ten bytes and more begin: those that most requests have. */
enum {
    KEYS_SHORT = 0
#define KEY(name) +(sizeof(#name) - 1 < 10)
    DIALECT_KEYS(KEY)
#undef KEY
};

static inline enum dialect_key key_of(struct str name)
{
    size_t i = name.n < 10 ? 0 : KEYS_SHORT;

    while (i < COUNT_OF(keys) && keys[i].n < name.n)
        i++;
    for (; i < COUNT_OF(keys) && keys[i].n == name.n; i++) {
        if (keys[i].p[0] == name.p[0] && memcmp(keys[i].p, name.p, name.n) == 0)
            return (enum dialect_key)i;
    }
    return DIALECT_KEY_COUNT;
}

/* false: there is nothing but members that no rule looks at. */
static bool look(struct openai_chat_dialect_work *w)
{
    const struct json_index *index = w->index;
    uint64_t drop = w->dialect->drop;
    size_t found = 0;

    for (size_t i = 0; i < index->n; i++) {
        const struct json_member *m = &index->members[i];
        enum dialect_key key = key_of(m->key);
        if (key == DIALECT_KEY_COUNT)
            continue;
        if ((drop >> key & 1) != 0) {
            leave_out(w, m);
            continue;
        }
        w->has[key] = m;
        found++;
    }
    return found > 0;
}

static enum error_code fit(struct openai_chat_dialect_work *w)
{
    if (!look(w))
        return OK;
    if (w->dialect->model_rules)
        fit_sampling(w);
    TRY(fit_parameters(w));
    openai_chat_dialect_tools_fit(w);
    fit_format(w);
    openai_chat_dialect_reasoning_fit(w);
    return openai_chat_dialect_messages_fit(w);
}

bool openai_chat_dialect_is_plain(const struct dialect *dialect)
{
    static const struct dialect plain;

    return dialect == NULL || memcmp(dialect, &plain, offsetof(struct dialect, answers_plain)) == 0;
}

enum error_code openai_chat_dialect_edit(const struct json_index *index,
                                         const struct encode_request *how, struct str model,
                                         struct json_edits *edits, struct arena *arena,
                                         struct error *e)
{
    struct openai_chat_dialect_work w = {
        .dialect = how->dialect,
        .model = str_is_null(how->model) ? model : how->model,
        .index = index,
        .t = how->translation,
        .arena = arena,
        .edits = edits,
        .e = e,
        .raw = how->same_protocol,
    };

    return fit(&w);
}

/* --- bodies that were made ---------------------------------------------------------------- */

static struct str flatten(const struct wire *wire, struct arena *arena)
{
    char *to;
    size_t n = 0;

    if (wire->body_n == 1)
        return wire->body[0];
    to = arena_alloc(arena, wire->body_bytes);
    if (arena_overflowed(arena))
        return STR_NULL;
    for (size_t i = 0; i < wire->body_n; i++) {
        if (wire->body[i].n > 0)
            memcpy(to + n, wire->body[i].p, wire->body[i].n);
        n += wire->body[i].n;
    }
    assert(n == wire->body_bytes);
    return str_of(to, n);
}

static enum error_code apply(struct json_edits *edits, struct str source, struct arena *arena,
                             struct wire *wire, struct error *e)
{
    struct str *parts;

    json_edit_apply(edits, source, arena, &parts, &wire->body_n, &wire->body_bytes);
    wire->body = parts;
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    return OK;
}

static enum error_code index_of(const struct wire *wire, struct arena *arena,
                                struct json_index *ret_index, struct error *e)
{
    struct str source = flatten(wire, arena);

    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    return json_index_read(ret_index, source, DEPTH_MAX, NULL, arena, e);
}

enum error_code openai_chat_dialect_body(const struct encode_request *how, struct str model,
                                         struct arena *arena, struct wire *wire, struct error *e)
{
    struct json_index index;
    struct json_edits edits = {.n = 0};

    TRY(index_of(wire, arena, &index, e));
    TRY(openai_chat_dialect_edit(&index, how, model, &edits, arena, e));
    return edits.n == 0 ? OK : apply(&edits, index.source, arena, wire, e);
}

static enum error_code alternate(const struct encode_request *how, struct arena *arena,
                                 struct wire *wire, struct error *e)
{
    struct json_index index;
    struct json_edits edits = {.n = 0};
    struct openai_chat_dialect_work w = {
        .dialect = how->dialect,
        .index = &index,
        .t = how->translation,
        .arena = arena,
        .edits = &edits,
        .e = e,
    };

    TRY(index_of(wire, arena, &index, e));
    w.has[DIALECT_KEY_messages] = json_index_find(&index, STR("messages"));
    openai_chat_dialect_messages_alternate(&w);
    return edits.n == 0 ? OK : apply(&edits, index.source, arena, wire, e);
}

enum error_code openai_chat_dialect_alternate(const struct encode_request *how, struct arena *arena,
                                              struct wire *wire, struct error *e)
{
    return how->dialect->alternate ? alternate(how, arena, wire, e) : OK;
}
