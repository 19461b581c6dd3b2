/* SPDX-License-Identifier: MIT */
/*
 * Gemini: generationConfig of a request of another protocol.
 *
 * How       Parameters under this protocol's names (mapping.md, 3), reasoning and structured output
 *           as the model takes them (canon/traits). What there is no place for is dropped, with a
 *           warning where it changes what the client gets.
 * Owns      Nothing.
 * Not here  The conversation and its tools (gemini_write.c).
 */
#include "canon/schema.h"
#include "canon/traits.h"
#include "protocol/edits.h"
#include "protocol/gemini_priv.h"

enum { STOP_MAX = 5 };

/* --- plain members ------------------------------------------------------------------------ */

static void add_token(struct gemini_writer *w, const char *key, struct str token)
{
    if (str_is_null(token))
        return;
    gemini_add_key(&w->out, str_c(key));
    buf_add(&w->out, token);
}

/* 0 is what is meant without one, and some models refuse the word. */
static void add_penalty(struct gemini_writer *w, const char *key, struct str token)
{
    double value;

    if (str_to_double(token, &value) && value != 0)
        add_token(w, key, token);
}

/* The number's low 32 bits. */
static void add_seed(struct gemini_writer *w, struct str token)
{
    int64_t seed;

    if (!str_to_int64(token, &seed))
        return;
    gemini_add_key(&w->out, STR("seed"));
    buf_add_int64(&w->out, (int32_t)(uint32_t)(uint64_t)seed);
}

static void add_stop(struct gemini_writer *w, const struct params *params)
{
    size_t n = params->stop_n < STOP_MAX ? params->stop_n : STOP_MAX;

    if (n == 0)
        return;
    if (params->stop_n > STOP_MAX)
        translation_warn(w->t, "dropped:stop");
    gemini_add_key(&w->out, STR("stopSequences"));
    buf_add_char(&w->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(&w->out, ',');
        json_add_string(&w->out, params->stop[i]);
    }
    buf_add_char(&w->out, ']');
}

static void add_logprobs(struct gemini_writer *w, const struct params *params)
{
    if (params->logprobs != 1)
        return;
    gemini_add_key(&w->out, STR("responseLogprobs"));
    buf_add(&w->out, STR("true"));
    add_token(w, "logprobs", params->top_logprobs);
}

/* --- reasoning ---------------------------------------------------------------------------- */

static int64_t max_tokens_of(const struct params *params)
{
    int64_t max = 0;

    return str_to_int64(params->max_tokens, &max) && max > 0 ? max : 0;
}

/* Whether the client shows thoughts: it said so, or asks for reasoning and does not say. */
static bool is_visible(const struct params *params)
{
    bool asked = params->reasoning == REASONING_EFFORT || params->reasoning == REASONING_BUDGET ||
                 params->reasoning == REASONING_DYNAMIC;

    if (str_eq(params->reasoning_effort, STR("none")))
        asked = false;
    return params->reasoning_visible == 1 || (params->reasoning_visible < 0 && asked);
}

static void add_level(struct gemini_writer *w, const char *word)
{
    gemini_add_key(&w->out, STR("thinkingLevel"));
    buf_add_char(&w->out, '"');
    for (; *word != '\0'; word++)
        buf_add_char(&w->out, *word >= 'a' && *word <= 'z' ? (char)(*word - 'a' + 'A') : *word);
    buf_add_char(&w->out, '"');
}

/* Who asks for medium of a model that knows low and high only (Gemini 3 Pro) means the latter. */
static const char *level_of(const struct params *params, unsigned efforts)
{
    const char *word = traits_effort(params, efforts | EFFORT_MEDIUM);
    bool up = (efforts & EFFORT_MEDIUM) == 0 && (efforts & EFFORT_HIGH) != 0 && word != NULL &&
              str_eq(str_c(word), STR("medium"));

    return up ? "high" : traits_effort(params, efforts);
}

static void add_thinking(struct gemini_writer *w, const struct params *params)
{
    const struct traits *traits = w->traits;
    size_t begin = w->out.n;
    const char *word;
    int64_t budget = -1;

    if (traits->thinking != THINKING_BUDGET && traits->thinking != THINKING_LEVEL)
        return;
    gemini_add_key(&w->out, STR("thinkingConfig"));
    buf_add_char(&w->out, '{');
    size_t empty = w->out.n;
    if (traits->thinking == THINKING_LEVEL) {
        word = level_of(params, traits->efforts);
        if (word != NULL)
            add_level(w, word);
    } else if (traits_budget(params, traits, max_tokens_of(params), &budget)) {
        gemini_add_key(&w->out, STR("thinkingBudget"));
        buf_add_int64(&w->out, budget);
        if (budget == 0 && params->reasoning != REASONING_OFF &&
            !str_eq(params->reasoning_effort, STR("none")))
            translation_warn(w->t, "dropped:thinking");
    }
    /* Gemini refuses to show what it shall not think. */
    if (budget != 0 && is_visible(params)) {
        gemini_add_key(&w->out, STR("includeThoughts"));
        buf_add(&w->out, STR("true"));
    }
    if (w->out.n == empty)
        w->out.n = begin;
    else
        buf_add_char(&w->out, '}');
}

/* --- structured output -------------------------------------------------------------------- */

/* Models before Gemini 3 refuse JSON beside tools: then it is said in words (mapping.md, 6). */
static bool format_in_words(const struct gemini_writer *w)
{
    return w->request->params.format.kind != FORMAT_ABSENT && w->request->tools != NULL &&
           !w->traits->schema_with_tools;
}

static void add_format(struct gemini_writer *w, const struct format *format)
{
    bool json = w->traits->json_schema;

    if (format->kind == FORMAT_ABSENT || format_in_words(w))
        return;
    gemini_add_string(&w->out, STR("responseMimeType"), STR("application/json"));
    if (format->kind != FORMAT_SCHEMA)
        return;
    struct str schema = schema_fit(format->schema, json ? SCHEMA_GEMINI_JSON : SCHEMA_GEMINI,
                                   w->arena);
    if (str_is_null(schema))
        return;
    gemini_add_key(&w->out, json ? STR("responseJsonSchema") : STR("responseSchema"));
    buf_add(&w->out, schema);
}

/* An answer in sound would not be what the client asked for. */
static enum error_code check_extra(struct gemini_writer *w)
{
    static const char *const warned[] = {"logit_bias", "web_search_options"};

    for (const struct extra *extra = w->request->extra; extra != NULL; extra = extra->next) {
        if (str_eq(extra->key, STR("modalities")) &&
            str_find(extra->value, STR("\"audio\""), 0) != SIZE_MAX)
            return FAIL(w->e, ERR_UNSUPPORTED, "an answer in sound (modalities)");
        for (size_t i = 0; i < COUNT_OF(warned); i++) {
            if (str_eq(extra->key, str_c(warned[i])))
                translation_warn_of(w->t, "dropped", extra->key);
        }
    }
    return OK;
}

enum error_code gemini_config_note(struct gemini_writer *w)
{
    const struct format *format = &w->request->params.format;

    TRY(check_extra(w));
    if (!format_in_words(w))
        return OK;
    translation_warn(w->t, "changed:response_format");
    w->note = STR("When you give your final answer, respond only with a JSON object.");
    if (format->kind == FORMAT_SCHEMA && !str_is_null(format->schema))
        w->note = str_print(w->arena,
                            "When you give your final answer, respond only with a JSON object that "
                            "follows this JSON Schema: %.*s",
                            STR_ARG(json_compact(format->schema, w->arena)));
    return OK;
}

/* --- the object --------------------------------------------------------------------------- */

/* Images' detail as a setting of the request, where parts have none: what all say that say it. */
static void add_resolution(struct gemini_writer *w)
{
    bool low = false;
    bool high = false;

    if (w->traits->signatures_needed)
        return;
    for (const struct turn *turn = w->request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            low |= part->kind == PART_IMAGE && str_eq(part->detail, STR("low"));
            high |= part->kind == PART_IMAGE &&
                    (str_eq(part->detail, STR("high")) || str_eq(part->detail, STR("original")));
        }
    }
    if (low != high)
        gemini_add_string(&w->out, STR("mediaResolution"),
                          low ? STR("MEDIA_RESOLUTION_LOW") : STR("MEDIA_RESOLUTION_HIGH"));
}

static void add_tier(struct gemini_writer *w, struct str tier)
{
    if (str_eq(tier, STR("default")) || str_eq(tier, STR("standard_only")))
        gemini_add_string(&w->out, STR("serviceTier"), STR("standard"));
    else if (str_eq(tier, STR("flex")) || str_eq(tier, STR("priority")))
        gemini_add_string(&w->out, STR("serviceTier"), tier);
}

/* What a setting says in this protocol's own words, where the request does not. */
static void add_given(struct gemini_writer *w, size_t begin)
{
    const struct steer *steer = edits_steer(w->how);

    if (steer == NULL || str_is_null(steer->generation_config) || !buf_ok(&w->out))
        return;
    struct str own = str_copy(w->arena, str_from(buf_str(&w->out), begin));
    struct str all = edits_union(own, steer->generation_config, gemini_config_names, w->arena);
    if (str_is_null(all))
        return;
    w->out.n = begin;
    buf_add(&w->out, all);
}

static void write_config(struct gemini_writer *w, const struct params *params)
{
    size_t begin = w->out.n;

    buf_add_char(&w->out, '{');
    add_token(w, "maxOutputTokens", params->max_tokens);
    add_token(w, "temperature", params->temperature);
    add_token(w, "topP", params->top_p);
    add_token(w, "topK", params->top_k);
    add_token(w, "candidateCount", params->n);
    add_stop(w, params);
    add_seed(w, params->seed);
    add_penalty(w, "presencePenalty", params->presence_penalty);
    add_penalty(w, "frequencyPenalty", params->frequency_penalty);
    add_logprobs(w, params);
    add_format(w, &params->format);
    add_thinking(w, params);
    add_resolution(w);
    buf_add_char(&w->out, '}');
    add_given(w, begin);
}

void gemini_config_write(struct gemini_writer *w)
{
    const struct params *params = &w->request->params;
    size_t begin = w->out.n;

    gemini_add_key(&w->out, STR("generationConfig"));
    size_t value = w->out.n;
    write_config(w, params);
    if (str_eq(str_from(buf_str(&w->out), value), STR("{}")))
        w->out.n = begin;
    add_tier(w, params->service_tier);
}

/* --- settings ----------------------------------------------------------------------------- */

static char folded(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "thinkingBudget" and "thinking_budget" */
static bool is_name(struct str a, struct str b)
{
    size_t i = 0;
    size_t k = 0;

    for (;; i++, k++) {
        while (i < a.n && a.p[i] == '_')
            i++;
        while (k < b.n && b.p[k] == '_')
            k++;
        if (i == a.n || k == b.n)
            return i == a.n && k == b.n;
        if (folded(a.p[i]) != folded(b.p[k]))
            return false;
    }
}

enum edits_names gemini_config_names(struct str has, struct str new_one)
{
    static const char *const one_of[][2] = {
        {"thinkingBudget", "thinkingLevel"},
        {"responseSchema", "responseJsonSchema"},
    };

    if (is_name(has, new_one))
        return EDITS_SAME;
    for (size_t i = 0; i < COUNT_OF(one_of); i++) {
        struct str a = str_c(one_of[i][0]);
        struct str b = str_c(one_of[i][1]);
        if ((is_name(has, a) && is_name(new_one, b)) || (is_name(has, b) && is_name(new_one, a)))
            return EDITS_INSTEAD;
    }
    return EDITS_OTHER;
}

/* The value of an object's member, null where there is none, or null. */
static struct str own(struct str object, const char *key, struct arena *arena)
{
    struct json_member m;
    size_t cursor = 0;

    while (object.n > 0 && json_object_next(object, &cursor, arena, &m)) {
        if (gemini_request_is(m.key, key) && json_kind_of(m.value) != JSON_NULL)
            return m.value;
    }
    return STR_NULL;
}

/* What the request itself says that matters to how much is thought. Returns whether it wants to see
 * the thoughts. */
static bool own_reasoning(struct params *params, const struct request *request, struct arena *arena)
{
    struct str root = str_of(request->source.p + request->index.open,
                             request->index.close + 1 - request->index.open);
    struct str config = own(root, "generationConfig", arena);
    struct str thinking = own(config, "thinkingConfig", arena);
    struct str budget = own(thinking, "thinkingBudget", arena);
    struct str level = own(thinking, "thinkingLevel", arena);

    params->max_tokens = own(config, "maxOutputTokens", arena);
    params->reasoning_budget = str_is_null(budget) ? level : budget;
    return json_kind_of(own(thinking, "includeThoughts", arena)) == JSON_TRUE;
}

/* Gemini refuses to show what it shall not think. */
static bool would_be_off(const struct params *params, const struct traits *traits)
{
    int64_t budget = -1;

    if (traits->thinking == THINKING_BUDGET &&
        traits_budget(params, traits, max_tokens_of(params), &budget))
        return budget == 0;
    return params->reasoning == REASONING_OFF;
}

struct str gemini_config_steer(const struct request *request, const struct encode_request *how,
                               const struct steer *steer, struct arena *arena)
{
    struct str model = gemini_model_bare(str_is_null(how->model) ? request->model : how->model);
    struct request mine = {.full = true, .params = steer_none()};
    struct gemini_writer w = {
        .how = how,
        .traits = traits_of(TRAITS_GEMINI, model),
        .arena = arena,
        .request = &mine,
    };
    struct params *params = &mine.params;

    bool shown = own_reasoning(params, request, arena);
    bool said = !str_is_null(params->reasoning_budget);
    steer_fill(steer, params);
    if (said || (shown && would_be_off(params, w.traits)))
        params->reasoning = REASONING_ABSENT;
    /* Whether thoughts are shown is not what settings are about. */
    params->reasoning_visible = 0;
    buf_init(&w.out, steer->generation_config.n + 64 * 1024);
    buf_add_char(&w.out, '{');
    gemini_config_write(&w);
    buf_add_char(&w.out, '}');
    struct str object = str_copy(arena, buf_str(&w.out));
    buf_fini(&w.out);
    return object;
}
