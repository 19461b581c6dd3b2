/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: the parameters and tools of a request that came in another protocol.
 *
 * How       One function a row of mapping.md, section 3: what can be said is said, what cannot be
 *           is dropped with a warning, or emulated (stop sequences), or refused (n).
 * Owns      Nothing.
 * Not here  The conversation (openai_responses_upstream.c).
 */
#include "protocol/openai_responses_priv.h"

#include "canon/schema.h"
#include "canon/traits.h"
#include "protocol/edits.h"

enum { OUTPUT_TOKENS_MIN = 16 };

struct body {
    struct buf *out;
    const struct request *request;
    const struct params *params;
    const struct traits *traits;
    struct translation *t;
    struct arena *arena;
    struct str vendor;
};

/* --- tools -------------------------------------------------------------------------------- */

static void add_json(struct buf *out, const char *key, struct str json)
{
    if (str_is_null(json))
        return;
    openai_responses_add_key(out, key);
    buf_add(out, json);
}

/* Chat Completions nests a grammar; here it is flat. */
static void add_tool_format(struct body *b, struct str format)
{
    struct str grammar = str_is_null(format) ? STR_NULL : json_object_find(format, STR("grammar"));

    if (grammar.n <= 2 || json_kind_of(grammar) != JSON_OBJECT) {
        add_json(b->out, "format", format);
        return;
    }
    openai_responses_add_key(b->out, "format");
    buf_add(b->out, STR("{\"type\":\"grammar\","));
    buf_add(b->out, str_from(grammar, 1));
}

static void add_tool(struct body *b, const struct tool *tool)
{
    buf_add_char(b->out, '{');
    openai_responses_add_string(b->out, "type", tool->custom ? STR("custom") : STR("function"));
    openai_responses_add_string(b->out, "name", tool->name);
    openai_responses_add_string(b->out, "description", tool->description);
    if (tool->custom) {
        add_tool_format(b, tool->format);
    } else {
        add_json(b->out, "parameters", schema_fit(tool->schema, SCHEMA_OPENAI_TOOL, b->arena));
        /* Left out the server would try to be strict. */
        add_json(b->out, "strict", tool->strict == 1 ? STR("true") : STR("false"));
    }
    buf_add_char(b->out, '}');
}

static bool is_custom(const struct request *request, struct str name)
{
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (!tool->vendor && str_eq(tool->name, name))
            return tool->custom;
    }
    return false;
}

static void add_choice_name(struct body *b, struct str name)
{
    buf_add_char(b->out, '{');
    openai_responses_add_string(b->out, "type",
                                is_custom(b->request, name) ? STR("custom") : STR("function"));
    openai_responses_add_string(b->out, "name", name);
    buf_add_char(b->out, '}');
}

static void add_subset(struct body *b)
{
    const struct request *request = b->request;

    openai_responses_add_key(b->out, "tool_choice");
    buf_add(b->out, STR("{\"type\":\"allowed_tools\""));
    openai_responses_add_string(b->out, "mode",
                                request->tool_choice_required ? STR("required") : STR("auto"));
    openai_responses_add_key(b->out, "tools");
    buf_add_char(b->out, '[');
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (i > 0)
            buf_add_char(b->out, ',');
        add_choice_name(b, request->tool_choice_names[i]);
    }
    buf_add(b->out, STR("]}"));
}

static void add_choice(struct body *b)
{
    const struct request *request = b->request;

    switch (request->tool_choice) {
    case TOOL_CHOICE_ABSENT:
        return;
    case TOOL_CHOICE_AUTO:
        openai_responses_add_string(b->out, "tool_choice", STR("auto"));
        return;
    case TOOL_CHOICE_NONE:
        openai_responses_add_string(b->out, "tool_choice", STR("none"));
        return;
    case TOOL_CHOICE_REQUIRED:
        openai_responses_add_string(b->out, "tool_choice", STR("required"));
        return;
    case TOOL_CHOICE_NAMED:
        openai_responses_add_key(b->out, "tool_choice");
        add_choice_name(b, request->tool_choice_names[0]);
        return;
    case TOOL_CHOICE_SUBSET:
        add_subset(b);
        return;
    case TOOL_CHOICE_OTHER:
        translation_warn(b->t, "dropped:tool_choice");
        return;
    }
    BUG("no such tool choice");
}

/* What the vendor of another protocol runs was dropped before (canon/fit). */
static void add_tools(struct body *b)
{
    size_t n = 0;

    for (const struct tool *tool = b->request->tools; tool != NULL; tool = tool->next) {
        if (tool->vendor)
            continue;
        buf_add(b->out, n++ == 0 ? STR(",\"tools\":[") : STR(","));
        add_tool(b, tool);
    }
    if (n == 0)
        return;
    buf_add_char(b->out, ']');
    add_choice(b);
    if (b->params->parallel_tool_calls >= 0)
        add_json(b->out, "parallel_tool_calls",
                 b->params->parallel_tool_calls == 1 ? STR("true") : STR("false"));
}

/* --- numbers ------------------------------------------------------------------------------ */

static bool is_zero(struct str token)
{
    double value;

    return str_to_double(token, &value) && value >= 0 && value <= 0;
}

static void add_max_tokens(struct body *b)
{
    struct str token = b->params->max_tokens;
    double value;

    if (str_is_null(token) || !str_to_double(token, &value))
        return;
    if (value < OUTPUT_TOKENS_MIN) {
        translation_warn(b->t, "changed:max_tokens");
        token = STR("16");
    }
    add_json(b->out, "max_output_tokens", token);
}

static bool reasoning_is_off(const struct body *b)
{
    const char *effort = traits_effort(b->params, b->traits->efforts);

    return effort != NULL && str_eq(str_c(effort), STR("none"));
}

static void add_sampling(struct body *b)
{
    bool refused = b->traits->sampling_refused &&
                   !(b->traits->sampling_when_off && reasoning_is_off(b));

    if (!refused) {
        add_json(b->out, "temperature", b->params->temperature);
        add_json(b->out, "top_p", b->params->top_p);
        return;
    }
    if (!str_is_null(b->params->temperature))
        translation_warn(b->t, "dropped:temperature");
    if (!str_is_null(b->params->top_p))
        translation_warn(b->t, "dropped:top_p");
}

static bool has_extra(const struct request *request, const char *key)
{
    for (const struct extra *extra = request->extra; extra != NULL; extra = extra->next) {
        if (str_eq(extra->key, str_c(key)) && !str_eq(extra->value, STR("null")))
            return true;
    }
    return false;
}

/* What there is no member for. */
static void warn_of_dropped(struct body *b)
{
    if (!str_is_null(b->params->top_k))
        translation_warn(b->t, "dropped:top_k");
    if (!str_is_null(b->params->seed))
        translation_warn(b->t, "dropped:seed");
    if (!str_is_null(b->params->frequency_penalty) && !is_zero(b->params->frequency_penalty))
        translation_warn(b->t, "dropped:frequency_penalty");
    if (!str_is_null(b->params->presence_penalty) && !is_zero(b->params->presence_penalty))
        translation_warn(b->t, "dropped:presence_penalty");
    if (has_extra(b->request, "logit_bias"))
        translation_warn(b->t, "dropped:logit_bias");
}

/* --- words -------------------------------------------------------------------------------- */

static void add_reasoning(struct body *b)
{
    const char *effort = traits_effort(b->params, b->traits->efforts);
    bool visible = b->params->reasoning_visible == 1 && !reasoning_is_off(b);

    if (b->traits->thinking == THINKING_NONE || (effort == NULL && !visible))
        return;
    openai_responses_add_key(b->out, "reasoning");
    buf_add_char(b->out, '{');
    openai_responses_add_string(b->out, "effort", str_c(effort));
    if (visible)
        openai_responses_add_string(b->out, "summary",
                                    str_is_null(b->params->reasoning_summary)
                                        ? STR("auto")
                                        : b->params->reasoning_summary);
    buf_add_char(b->out, '}');
}

static void add_include(struct body *b)
{
    bool encrypted = b->traits->thinking != THINKING_NONE;
    bool logprobs = b->params->logprobs == 1 && !b->traits->sampling_refused;

    if (b->params->logprobs == 1 && !logprobs)
        translation_warn(b->t, "dropped:logprobs");
    if (encrypted || logprobs) {
        openai_responses_add_key(b->out, "include");
        buf_add_char(b->out, '[');
        if (encrypted)
            buf_add(b->out, STR("\"reasoning.encrypted_content\""));
        if (encrypted && logprobs)
            buf_add_char(b->out, ',');
        if (logprobs)
            buf_add(b->out, STR("\"message.output_text.logprobs\""));
        buf_add_char(b->out, ']');
    }
    if (logprobs)
        add_json(b->out, "top_logprobs", b->params->top_logprobs);
}

static void add_format(struct body *b)
{
    const struct format *format = &b->params->format;

    openai_responses_add_key(b->out, "format");
    if (format->kind == FORMAT_JSON) {
        buf_add(b->out, STR("{\"type\":\"json_object\"}"));
        return;
    }
    buf_add(b->out, STR("{\"type\":\"json_schema\""));
    openai_responses_add_string(b->out, "name",
                                format->name.n == 0 ? STR("response") : format->name);
    openai_responses_add_string(b->out, "description", format->description);
    add_json(b->out, "schema", format->schema);
    if (format->strict >= 0)
        add_json(b->out, "strict", format->strict == 1 ? STR("true") : STR("false"));
    buf_add_char(b->out, '}');
}

static void add_text(struct body *b)
{
    bool format = b->params->format.kind != FORMAT_ABSENT;

    if (!format && str_is_null(b->params->verbosity))
        return;
    openai_responses_add_key(b->out, "text");
    buf_add_char(b->out, '{');
    if (format)
        add_format(b);
    openai_responses_add_string(b->out, "verbosity", b->params->verbosity);
    buf_add_char(b->out, '}');
}

/* Other protocols' words for the same. */
static void add_service_tier(struct body *b)
{
    static const struct {
        const char *theirs;
        const char *ours;
    } words[] = {
        {"auto", "auto"},
        {"default", "default"},
        {"flex", "flex"},
        {"priority", "priority"},
        {"scale", "scale"},
        {"standard", "default"},
        {"standard_only", "default"},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (str_eq(b->params->service_tier, str_c(words[i].theirs)))
            openai_responses_add_string(b->out, "service_tier", str_c(words[i].ours));
    }
}

/* A JSON object is only given to who asks for it in words. */
static bool says_json(struct str text)
{
    for (size_t i = 0; i + 4 <= text.n; i++) {
        if (str_eq_nocase(str_of(text.p + i, 4), STR("json")))
            return true;
    }
    return false;
}

struct str openai_responses_write_json_note(const struct request *request)
{
    if (request->params.format.kind != FORMAT_JSON)
        return STR_NULL;
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind == PART_TEXT && turn->role != ROLE_ASSISTANT && says_json(part->text))
                return STR_NULL;
        }
    }
    return STR("Respond with a JSON object.");
}

/* --- all of them -------------------------------------------------------------------------- */

static enum error_code check_n(const struct params *params, struct error *e)
{
    double n;

    if (str_is_null(params->n) || !str_to_double(params->n, &n) || n <= 1)
        return OK;
    return FAIL(e, ERR_UNSUPPORTED, "more than one choice (n)");
}

static void add_generation(struct body *b)
{
    const struct params *params = b->params;

    add_max_tokens(b);
    add_sampling(b);
    warn_of_dropped(b);
    add_include(b);
    openai_responses_add_string(b->out, "user", params->user);
    add_json(b->out, "metadata", params->metadata);
    add_service_tier(b);
    openai_responses_add_string(b->out, "prompt_cache_key", params->cache_key);
    add_json(b->out, "store", params->store == 1 ? STR("true") : STR("false"));
    if (params->stop_n > 0 && b->t != NULL) {
        b->t->stop = params->stop;
        b->t->stop_n = params->stop_n;
    }
    if (!b->request->stream)
        return;
    add_json(b->out, "stream", STR("true"));
    /* Padding that nobody here reads; the others do not know the word. */
    if (str_eq(b->vendor, STR("openai")))
        add_json(b->out, "stream_options", STR("{\"include_obfuscation\":false}"));
}

enum error_code openai_responses_write_params(struct buf *out, const struct request *request,
                                              const struct encode_request *how, struct arena *arena,
                                              struct error *e)
{
    struct body b = {
        .out = out,
        .request = request,
        .params = &request->params,
        .traits = edits_openai_traits(request, how),
        .t = how->translation,
        .arena = arena,
        .vendor = how->vendor,
    };

    TRY(check_n(&request->params, e));
    add_tools(&b);
    add_reasoning(&b);
    add_text(&b);
    if (how->operation != OP_COUNT_TOKENS)
        add_generation(&b);
    return OK;
}

/* --- settings ----------------------------------------------------------------------------- */

/* How much the request itself wants to be reasoned. */
static void own_reasoning(struct params *params, const struct request *request, struct arena *arena)
{
    struct str reasoning = edits_own(request, "reasoning");
    struct str effort = str_is_null(reasoning) || json_kind_of(reasoning) != JSON_OBJECT
                            ? STR_NULL
                            : json_string_value(json_object_find(reasoning, STR("effort")), arena);

    if (str_is_null(effort))
        return;
    params->reasoning_effort = effort;
    params->reasoning = str_eq(effort, STR("none")) ? REASONING_OFF : REASONING_EFFORT;
}

struct str openai_responses_write_steer(const struct request *request,
                                        const struct encode_request *how, const struct steer *steer,
                                        struct arena *arena)
{
    struct params params = steer_none();
    struct buf out;
    struct body b = {
        .out = &out,
        .request = request,
        .params = &params,
        .traits = edits_openai_traits(request, how),
        .arena = arena,
    };

    own_reasoning(&params, request, arena);
    steer_fill(steer, &params);
    /* A model that samples only while it does not reason goes on as the request wants it. */
    if (b.traits->sampling_when_off && edits_samples(request) && !reasoning_is_off(&b)) {
        params.reasoning = REASONING_ABSENT;
        params.reasoning_effort = STR_NULL;
    }
    buf_init(&out, 64 * 1024);
    buf_add_char(&out, '{');
    add_max_tokens(&b);
    add_sampling(&b);
    add_reasoning(&b);
    buf_add_char(&out, '}');
    struct str object = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return object;
}
