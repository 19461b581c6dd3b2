/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: how a request of another protocol is to be answered.
 *
 * What      Thinking, the form of the answer, tools and which of them, sampling: they depend on
 *           each other and on the model (anthropic-messages.md, 2, 4 and 5; mapping.md, 3, 5.2, 6
 *           and 7.1).
 * How       plan    what is thought, from what the client asks and what max_tokens leaves; then
 *                   whether the answer's form is asked for by a schema, a tool that must be called,
 *                   or words
 *           write   what does not get on with thinking is left out, and told
 * Owns      Nothing: texts lie in the arena.
 * Not here  Names and schemas of tools (canon/fit, canon/schema), the conversation
 *           (anthropic_write.c).
 */
#include "canon/schema.h"
#include "canon/traits.h"
#include "protocol/anthropic_priv.h"

enum { USER_BYTES_MAX = 256 };

/* --- thinking ----------------------------------------------------------------------------- */

static bool thinks(const struct anthropic_writer *w)
{
    return w->thinking == ANTHROPIC_THINKING_BUDGET || w->thinking == ANTHROPIC_THINKING_ADAPTIVE;
}

static int64_t plan_max_tokens(const struct anthropic_writer *w)
{
    double value;

    if (str_is_null(w->params->max_tokens) || !str_to_double(w->params->max_tokens, &value) ||
        value < 0)
        return w->traits->output_max;
    /* What a model of an unknown name has is not known. */
    if (value <= (double)w->traits->output_max ||
        (value < (double)INT32_MAX && w->traits == traits_of(TRAITS_ANTHROPIC, STR(""))))
        return (int64_t)value;
    translation_warn(w->t, "changed:max_tokens");
    return w->traits->output_max;
}

/* In the middle of a row of calls the upstream wants the thoughts that began it. */
static bool lacks_thoughts(const struct anthropic_writer *w)
{
    const struct turn *last = NULL;
    bool calls = false;

    for (const struct turn *turn = w->request->turns; turn != NULL; turn = turn->next) {
        if (turn->role == ROLE_ASSISTANT)
            last = turn;
    }
    for (const struct part *part = last == NULL ? NULL : last->parts; part != NULL;
         part = part->next) {
        calls |= part->kind == PART_TOOL_CALL;
        if (part->kind == PART_REASONING && part->signature.n > 0 &&
            str_eq(part->vendor, w->how->vendor))
            return false;
    }
    return calls;
}

static void plan_budget(struct anthropic_writer *w)
{
    if (!traits_budget(w->params, w->traits, w->max_tokens, &w->budget))
        return;
    if (w->budget > 0 && !lacks_thoughts(w)) {
        w->thinking = ANTHROPIC_THINKING_BUDGET;
        return;
    }
    w->thinking = ANTHROPIC_THINKING_UNSAID;
    if (w->params->reasoning != REASONING_OFF && !str_eq(w->params->reasoning_effort, STR("none")))
        translation_warn(w->t, "dropped:thinking");
}

static void plan_adaptive(struct anthropic_writer *w)
{
    bool off = w->params->reasoning == REASONING_OFF ||
               (w->params->reasoning == REASONING_EFFORT &&
                str_eq(w->params->reasoning_effort, STR("none")));

    if (w->params->reasoning == REASONING_ABSENT)
        return;
    if (off) {
        w->thinking = w->traits->off_refused ? ANTHROPIC_THINKING_UNSAID : ANTHROPIC_THINKING_OFF;
        return;
    }
    w->thinking = ANTHROPIC_THINKING_ADAPTIVE;
    w->effort = traits_effort(w->params, w->traits->efforts);
    /* Who has no xhigh has max. */
    if (str_eq(w->params->reasoning_effort, STR("xhigh")) &&
        (w->traits->efforts & (EFFORT_XHIGH | EFFORT_MAX)) == EFFORT_MAX)
        w->effort = "max";
}

/* --- the form of the answer --------------------------------------------------------------- */

static bool has_tool(const struct request *request, struct str name)
{
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (str_eq(tool->name, name))
            return true;
    }
    return false;
}

static struct str note_of(const struct anthropic_writer *w, const char *words)
{
    if (w->params->format.kind == FORMAT_JSON)
        return str_c(words);
    return str_print(w->arena, "%s It must match this JSON Schema:\n%.*s", words,
                     STR_ARG(w->params->format.schema));
}

/* By a tool that must be called, unless a tool must not: not while thinking, nor against what the
 * client chose. */
static void plan_format(struct anthropic_writer *w)
{
    static const char *const names[] = {"json", "json_answer", "json_answer_of_the_proxy"};
    const char *const words = "Respond only with a JSON object, without any other text.";
    enum tool_choice_kind choice = w->request->tool_choice;

    if (w->params->format.kind == FORMAT_ABSENT ||
        (w->params->format.kind == FORMAT_SCHEMA && w->traits->schema))
        return;
    bool free = choice == TOOL_CHOICE_ABSENT || choice == TOOL_CHOICE_AUTO;
    if (w->params->format.kind == FORMAT_JSON || thinks(w) || !free || w->t == NULL) {
        w->note = note_of(w, words);
        return;
    }
    for (size_t i = 0; i < COUNT_OF(names) && str_is_null(w->json_tool); i++) {
        if (!has_tool(w->request, str_c(names[i])))
            w->json_tool = str_c(names[i]);
    }
    if (str_is_null(w->json_tool))
        w->note = note_of(w, words);
    else
        w->t->json_tool = w->json_tool;
}

enum error_code anthropic_plan_make(struct anthropic_writer *w)
{
    w->max_tokens = plan_max_tokens(w);
    if (w->traits->thinking == THINKING_BUDGET)
        plan_budget(w);
    else if (w->traits->thinking == THINKING_ADAPTIVE)
        plan_adaptive(w);
    plan_format(w);
    if (arena_overflowed(w->arena))
        return FAIL(w->e, ERR_TOO_LARGE, "the request does not fit into memory");
    return OK;
}

/* --- parameters --------------------------------------------------------------------------- */

static void add_key(struct anthropic_writer *w, const char *key)
{
    buf_add(w->out, STR(",\""));
    buf_add(w->out, str_c(key));
    buf_add(w->out, STR("\":"));
}

static void add_thinking(struct anthropic_writer *w)
{
    int visible = w->params->reasoning_visible;

    switch (w->thinking) {
    case ANTHROPIC_THINKING_UNSAID:
        return;
    case ANTHROPIC_THINKING_OFF:
        buf_add(w->out, STR(",\"thinking\":{\"type\":\"disabled\"}"));
        return;
    case ANTHROPIC_THINKING_BUDGET:
        buf_add(w->out, STR(",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":"));
        buf_add_int64(w->out, w->budget);
        /* What is not said is shown. */
        visible = visible == 1 ? -1 : visible;
        break;
    case ANTHROPIC_THINKING_ADAPTIVE:
        buf_add(w->out, STR(",\"thinking\":{\"type\":\"adaptive\""));
        break;
    }
    if (visible >= 0)
        buf_add(w->out, visible == 1 ? STR(",\"display\":\"summarized\"")
                                     : STR(",\"display\":\"omitted\""));
    buf_add_char(w->out, '}');
}

static void add_output_config(struct anthropic_writer *w)
{
    bool schema = w->params->format.kind == FORMAT_SCHEMA && w->traits->schema;

    if (w->effort == NULL && !schema)
        return;
    buf_add(w->out, STR(",\"output_config\":{"));
    if (w->effort != NULL)
        buf_print(w->out, "\"effort\":\"%s\"%s", w->effort, schema ? "," : "");
    if (schema) {
        buf_add(w->out, STR("\"format\":{\"type\":\"json_schema\",\"schema\":"));
        buf_add(w->out, schema_fit(w->params->format.schema, SCHEMA_ANTHROPIC_FORMAT, w->arena));
        buf_add_char(w->out, '}');
    }
    buf_add_char(w->out, '}');
}

/* A number that is said, as it was written; not while what is said means nothing but 1. */
static bool is_said(struct str token, double *ret_value)
{
    return !str_is_null(token) && str_to_double(token, ret_value);
}

static bool is_one(double value)
{
    return value >= 1 && value <= 1;
}

/* Whether a temperature goes up. */
static bool add_temperature(struct anthropic_writer *w)
{
    double value;

    if (!is_said(w->params->temperature, &value))
        return false;
    if (thinks(w) || w->traits->sampling_refused) {
        if (!is_one(value))
            translation_warn(w->t, "dropped:temperature");
        return false;
    }
    if (value > 1)
        translation_warn(w->t, "changed:temperature");
    add_key(w, "temperature");
    buf_add(w->out, value > 1 ? STR("1") : w->params->temperature);
    return true;
}

static void add_top_p(struct anthropic_writer *w, bool temperature)
{
    const double least_thinking = 0.95;
    double value;

    if (!is_said(w->params->top_p, &value))
        return;
    bool refused = w->traits->sampling_refused || (thinks(w) && value < least_thinking) ||
                   temperature;
    if (!refused) {
        add_key(w, "top_p");
        buf_add(w->out, w->params->top_p);
    } else if (!is_one(value)) {
        translation_warn(w->t, "dropped:top_p");
    }
}

static void add_top_k(struct anthropic_writer *w)
{
    if (str_is_null(w->params->top_k))
        return;
    if (thinks(w) || w->traits->sampling_refused) {
        translation_warn(w->t, "dropped:top_k");
        return;
    }
    add_key(w, "top_k");
    buf_add(w->out, w->params->top_k);
}

/* Those that are not blanks alone. */
static void add_stop(struct anthropic_writer *w)
{
    size_t n = 0;

    for (size_t i = 0; i < w->params->stop_n; i++) {
        if (str_trim(w->params->stop[i]).n == 0) {
            translation_warn(w->t, "dropped:stop");
            continue;
        }
        buf_add(w->out, n++ == 0 ? STR(",\"stop_sequences\":[") : STR(","));
        json_add_string(w->out, w->params->stop[i]);
    }
    if (n > 0)
        buf_add_char(w->out, ']');
}

static bool is_zero(struct str token)
{
    double value;

    return str_to_double(token, &value) && value >= 0 && value <= 0;
}

static void warn_of_dropped(const struct anthropic_writer *w)
{
    const struct params *params = w->params;

    if (!str_is_null(params->seed))
        translation_warn(w->t, "dropped:seed");
    if (!str_is_null(params->frequency_penalty) && !is_zero(params->frequency_penalty))
        translation_warn(w->t, "dropped:frequency_penalty");
    if (!str_is_null(params->presence_penalty) && !is_zero(params->presence_penalty))
        translation_warn(w->t, "dropped:presence_penalty");
    if (params->logprobs == 1 || !str_is_null(params->top_logprobs))
        translation_warn(w->t, "dropped:logprobs");
}

static void add_user(struct anthropic_writer *w)
{
    struct str user = w->params->user;

    if (user.n == 0)
        return;
    if (user.n > USER_BYTES_MAX) {
        translation_warn(w->t, "dropped:user");
        return;
    }
    buf_add(w->out, STR(",\"metadata\":{\"user_id\":"));
    json_add_string(w->out, user);
    buf_add_char(w->out, '}');
}

static void add_tier(struct anthropic_writer *w)
{
    static const struct {
        const char *theirs;
        const char *ours;
    } tiers[] = {
        {"auto", "auto"},
        {"priority", "auto"},
        {"default", "standard_only"},
        {"standard", "standard_only"},
        {"standard_only", "standard_only"},
    };

    for (size_t i = 0; i < COUNT_OF(tiers); i++) {
        if (str_eq(w->params->service_tier, str_c(tiers[i].theirs)))
            anthropic_add_member(w->out, "service_tier", str_c(tiers[i].ours));
    }
}

void anthropic_plan_write_params(struct anthropic_writer *w)
{
    if (w->how->operation != OP_COUNT_TOKENS) {
        add_key(w, "max_tokens");
        buf_add_int64(w->out, w->max_tokens);
        if (w->request->stream)
            buf_add(w->out, STR(",\"stream\":true"));
        bool temperature = add_temperature(w);
        add_top_p(w, temperature);
        add_top_k(w);
        add_stop(w);
        warn_of_dropped(w);
        add_user(w);
        add_tier(w);
    }
    add_thinking(w);
    add_output_config(w);
}

void anthropic_plan_write_steered(struct anthropic_writer *w)
{
    if (w->traits->thinking == THINKING_BUDGET)
        plan_budget(w);
    else if (w->traits->thinking == THINKING_ADAPTIVE)
        plan_adaptive(w);
    bool temperature = add_temperature(w);
    add_top_p(w, temperature);
    if (w->params->reasoning == REASONING_ABSENT)
        return;
    add_thinking(w);
    add_output_config(w);
}

/* --- tools -------------------------------------------------------------------------------- */

static bool is_chosen(const struct request *request, struct str name)
{
    if (request->tool_choice != TOOL_CHOICE_SUBSET)
        return true;
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (str_eq(request->tool_choice_names[i], name))
            return true;
    }
    return false;
}

static void add_tool(struct anthropic_writer *w, const struct tool *tool)
{
    bool strict = tool->strict == 1 && w->traits->schema;
    struct str schema = schema_fit(tool->schema, SCHEMA_ANTHROPIC_TOOL, w->arena);

    if (strict) /* the same engine as a format's, with the same bounds */
        schema = schema_fit(schema, SCHEMA_ANTHROPIC_FORMAT, w->arena);
    buf_add(w->out, STR("{\"name\":"));
    json_add_string(w->out, tool->name);
    if (tool->description.n > 0)
        anthropic_add_member(w->out, "description", tool->description);
    add_key(w, "input_schema");
    buf_add(w->out, schema);
    if (strict)
        buf_add(w->out, STR(",\"strict\":true"));
    anthropic_write_cache(w, tool->cache);
    buf_add_char(w->out, '}');
}

static void add_json_tool(struct anthropic_writer *w)
{
    buf_add(w->out, STR("{\"name\":"));
    json_add_string(w->out, w->json_tool);
    anthropic_add_member(w->out, "description", STR("Respond with the answer as JSON."));
    add_key(w, "input_schema");
    buf_add(w->out, schema_fit(w->params->format.schema, SCHEMA_ANTHROPIC_TOOL, w->arena));
    buf_add_char(w->out, '}');
}

/* A conversation that calls tools must say them: without definitions, the names alone. */
static size_t add_called(struct anthropic_writer *w)
{
    size_t n = 0;

    for (const struct turn *turn = w->request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            if (part->kind != PART_TOOL_CALL || n > 0)
                continue;
            const struct tool tool = {.name = part->name, .strict = -1, .cache = STR_NULL};
            add_tool(w, &tool);
            n++;
        }
    }
    return n;
}

/* The type of the choice; NULL: none is said. */
static const char *choice_type(struct anthropic_writer *w)
{
    enum tool_choice_kind kind = w->request->tool_choice;
    bool required = kind == TOOL_CHOICE_REQUIRED || kind == TOOL_CHOICE_NAMED ||
                    (kind == TOOL_CHOICE_SUBSET && w->request->tool_choice_required);

    if (required && thinks(w)) {
        translation_warn(w->t, "changed:tool_choice");
        return "auto";
    }
    switch (kind) {
    case TOOL_CHOICE_ABSENT:
        return NULL;
    case TOOL_CHOICE_NONE:
        return "none";
    case TOOL_CHOICE_REQUIRED:
        return "any";
    case TOOL_CHOICE_NAMED:
        return "tool";
    case TOOL_CHOICE_AUTO:
    case TOOL_CHOICE_SUBSET:
        return required ? "any" : "auto";
    case TOOL_CHOICE_OTHER:
        translation_warn(w->t, "dropped:tool_choice");
        return NULL;
    }
    BUG("no such choice");
}

static void add_choice(struct anthropic_writer *w, bool others)
{
    const char *type = choice_type(w);
    struct str name = STR_NULL;
    bool alone = w->params->parallel_tool_calls == 0;

    if (!str_is_null(w->json_tool)) {
        /* With tools of the client's own it is one of several that may be called. */
        type = others ? "any" : "tool";
        name = w->json_tool;
        alone = alone || !others;
    } else if (type != NULL && str_eq(str_c(type), STR("tool"))) {
        name = w->request->tool_choice_names[0];
    }
    if (type == NULL && alone)
        type = "auto";
    if (type == NULL)
        return;
    buf_print(w->out, ",\"tool_choice\":{\"type\":\"%s\"", type);
    if (str_eq(str_c(type), STR("tool")))
        anthropic_add_member(w->out, "name", name);
    if (alone && !str_eq(str_c(type), STR("none")))
        buf_add(w->out, STR(",\"disable_parallel_tool_use\":true"));
    buf_add_char(w->out, '}');
}

void anthropic_plan_write_tools(struct anthropic_writer *w)
{
    size_t begin = w->out->n;
    size_t n = 0;

    buf_add(w->out, STR(",\"tools\":["));
    for (const struct tool *tool = w->request->tools; tool != NULL; tool = tool->next) {
        if (!is_chosen(w->request, tool->name))
            continue;
        if (n++ > 0)
            buf_add_char(w->out, ',');
        add_tool(w, tool);
    }
    bool called = n == 0 && str_is_null(w->json_tool) && add_called(w) > 0;
    if (!str_is_null(w->json_tool)) {
        if (n > 0)
            buf_add_char(w->out, ',');
        add_json_tool(w);
    } else if (n == 0 && !called) {
        if (buf_ok(w->out))
            w->out->n = begin;
        return;
    }
    buf_add_char(w->out, ']');
    if (called)
        buf_add(w->out, STR(",\"tool_choice\":{\"type\":\"none\"}"));
    else
        add_choice(w, n > 0);
}
