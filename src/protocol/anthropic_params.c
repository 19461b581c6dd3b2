/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: the tools and parameters of a request, read.
 *
 * How       Members of the root in their order; what we do not model is kept in `extra`. Tools that
 *           the vendor runs, or whose schema it knows, are vendor tools.
 * Owns      Nothing.
 * Not here  The head and the conversation (anthropic_request.c), writing (anthropic_upstream.c).
 */
#include "protocol/anthropic_priv.h"

/* --- tools -------------------------------------------------------------------------------- */

static enum error_code read_tool_member(struct anthropic_reader *r, struct tool *tool,
                                        const struct json_member *m)
{
    if (str_eq(m->key, STR("type")))
        return OK;
    if (str_eq(m->key, STR("name")))
        return anthropic_request_string(r, m, &tool->name);
    if (str_eq(m->key, STR("description")))
        return anthropic_request_string(r, m, &tool->description);
    if (str_eq(m->key, STR("input_schema")))
        return anthropic_request_object(r, m, &tool->schema);
    if (str_eq(m->key, STR("strict")))
        return anthropic_request_bool(r, m, &tool->strict);
    if (str_eq(m->key, STR("cache_control")))
        return anthropic_request_object(r, m, &tool->cache);
    anthropic_request_keep(r, &tool->extra, m);
    return OK;
}

static enum error_code read_tool(struct anthropic_reader *r, struct tool *tool)
{
    struct json_member m = {.key = STR("type")};
    struct str type = STR_NULL;
    size_t cursor = 0;

    if (json_kind_of(tool->source) != JSON_OBJECT)
        return anthropic_request_fail(r, STR_NULL, "an object");
    m.value = json_object_find(tool->source, m.key);
    TRY(anthropic_request_string(r, &m, &type));
    if (type.n > 0 && !str_eq(type, STR("custom"))) {
        tool->vendor = true;
        tool->name = type;
        return OK;
    }
    while (json_object_next(tool->source, &cursor, r->arena, &m))
        TRY(read_tool_member(r, tool, &m));
    if (str_is_null(tool->name))
        return anthropic_request_fail(r, STR("name"), "a string");
    return OK;
}

static enum error_code read_tools(struct anthropic_reader *r, struct request *request,
                                  const struct json_member *m)
{
    struct tool **to = &request->tools;
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return anthropic_request_fail(r, m->key, "an array");
    r->list = "tools";
    for (r->at = 0; json_array_next(m->value, &cursor, &element); r->at++) {
        struct tool *tool = ARENA_NEW(r->arena, struct tool);
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
        tool->source = element;
        tool->strict = -1;
        TRY(read_tool(r, tool));
        *to = tool;
        to = &tool->next;
    }
    r->list = NULL;
    return OK;
}

static enum error_code read_choice_type(struct anthropic_reader *r, struct request *request,
                                        struct str type, struct str name)
{
    static const struct {
        const char *type;
        enum tool_choice_kind kind;
    } kinds[] = {
        {"auto", TOOL_CHOICE_AUTO},
        {"any", TOOL_CHOICE_REQUIRED},
        {"tool", TOOL_CHOICE_NAMED},
        {"none", TOOL_CHOICE_NONE},
    };

    request->tool_choice = TOOL_CHOICE_OTHER;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (str_eq(type, str_c(kinds[i].type)))
            request->tool_choice = kinds[i].kind;
    }
    if (request->tool_choice != TOOL_CHOICE_NAMED)
        return OK;
    if (str_is_null(name))
        return anthropic_request_fail(r, STR("name"), "a string");
    struct str *names = ARENA_NEW(r->arena, struct str);
    *names = name;
    request->tool_choice_names = names;
    request->tool_choice_names_n = 1;
    return OK;
}

static enum error_code read_choice(struct anthropic_reader *r, struct request *request,
                                   const struct json_member *m)
{
    struct str object = STR_NULL;
    struct str type = STR_NULL;
    struct str name = STR_NULL;
    int disabled = -1;
    struct json_member inner;
    size_t cursor = 0;

    TRY(anthropic_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    request->tool_choice_source = object;
    r->inner = "tool_choice";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("type")))
            TRY(anthropic_request_string(r, &inner, &type));
        else if (str_eq(inner.key, STR("name")))
            TRY(anthropic_request_string(r, &inner, &name));
        else if (str_eq(inner.key, STR("disable_parallel_tool_use")))
            TRY(anthropic_request_bool(r, &inner, &disabled));
    }
    if (disabled >= 0)
        request->params.parallel_tool_calls = !disabled;
    if (str_is_null(type))
        return anthropic_request_fail(r, STR("type"), "a string");
    TRY(read_choice_type(r, request, type, name));
    r->inner = NULL;
    return OK;
}

/* Without tools there is nothing to choose (tools: [] is as good as none). */
static void drop_choice(struct request *request)
{
    if (request->tools != NULL)
        return;
    request->tool_choice = TOOL_CHOICE_ABSENT;
    request->tool_choice_names = NULL;
    request->tool_choice_names_n = 0;
    request->tool_choice_source = STR_NULL;
    request->params.parallel_tool_calls = -1;
}

/* --- parameters --------------------------------------------------------------------------- */

/* A number token; integers may be written 1.0. */
static enum error_code read_number(struct anthropic_reader *r, const struct json_member *m,
                                   bool integer, struct str *ret_token)
{
    double value;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_NUMBER || !str_to_double(m->value, &value))
        return anthropic_request_fail(r, m->key, "a number");
    if (integer && __builtin_floor(value) < value)
        return anthropic_request_fail(r, m->key, "an integer");
    *ret_token = m->value;
    return OK;
}

static enum error_code read_stop(struct anthropic_reader *r, struct params *params,
                                 const struct json_member *m)
{
    struct str element;
    size_t cursor = 0;
    size_t n = 0;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return anthropic_request_fail(r, m->key, "an array of strings");
    while (json_array_next(m->value, &cursor, &element)) {
        if (json_kind_of(element) != JSON_STRING)
            return anthropic_request_fail(r, m->key, "an array of strings");
        n++;
    }
    if (n == 0)
        return OK;
    params->stop = arena_array(r->arena, n, sizeof(*params->stop));
    if (arena_overflowed(r->arena))
        return FAIL(r->e, ERR_TOO_LARGE, "too many stop sequences");
    cursor = 0;
    while (json_array_next(m->value, &cursor, &element))
        params->stop[params->stop_n++] = json_string_value(element, r->arena);
    return OK;
}

/* thinking: {type: enabled | adaptive | disabled, budget_tokens, display} */
static enum error_code read_thinking(struct anthropic_reader *r, struct params *params,
                                     const struct json_member *m)
{
    struct str object = STR_NULL;
    struct str type = STR_NULL;
    struct str display = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(anthropic_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    r->inner = "thinking";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("type")))
            TRY(anthropic_request_string(r, &inner, &type));
        else if (str_eq(inner.key, STR("display")))
            TRY(anthropic_request_string(r, &inner, &display));
        else if (str_eq(inner.key, STR("budget_tokens")))
            TRY(read_number(r, &inner, true, &params->reasoning_budget));
    }
    if (str_is_null(type))
        return anthropic_request_fail(r, STR("type"), "a string");
    if (str_eq(type, STR("disabled"))) {
        params->reasoning = REASONING_OFF;
    } else if (str_eq(type, STR("adaptive"))) {
        params->reasoning = REASONING_DYNAMIC;
    } else if (str_eq(type, STR("enabled"))) {
        if (str_is_null(params->reasoning_budget))
            return anthropic_request_fail(r, STR("budget_tokens"), "an integer");
        params->reasoning = REASONING_BUDGET;
    } else {
        return anthropic_request_fail(r, STR("type"), "one of enabled, adaptive and disabled");
    }
    /* Thinking is shown where nothing else is said. */
    if (params->reasoning != REASONING_OFF)
        params->reasoning_visible = !str_eq(display, STR("omitted"));
    r->inner = NULL;
    return OK;
}

/* {type: json_schema, schema} */
static enum error_code read_format(struct anthropic_reader *r, struct params *params,
                                   const struct json_member *m)
{
    struct str object = STR_NULL;
    struct str type = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(anthropic_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("type")))
            TRY(anthropic_request_string(r, &inner, &type));
        else if (str_eq(inner.key, STR("schema")))
            TRY(anthropic_request_object(r, &inner, &params->format.schema));
    }
    if (!str_eq(type, STR("json_schema")))
        return anthropic_request_fail(r, m->key, "an object of type json_schema");
    if (str_is_null(params->format.schema))
        return anthropic_request_fail(r, m->key, "an object with a schema");
    params->format.kind = FORMAT_SCHEMA;
    /* There is no other kind here. */
    params->format.strict = 1;
    return OK;
}

static enum error_code read_output_config(struct anthropic_reader *r, struct params *params,
                                          const struct json_member *m)
{
    struct str object = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(anthropic_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    r->inner = "output_config";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("effort")))
            TRY(anthropic_request_string(r, &inner, &params->reasoning_effort));
        else if (str_eq(inner.key, STR("format")))
            TRY(read_format(r, params, &inner));
    }
    r->inner = NULL;
    return OK;
}

static enum error_code read_metadata(struct anthropic_reader *r, struct params *params,
                                     const struct json_member *m)
{
    struct str object = STR_NULL;
    struct json_member user = {.key = STR("user_id")};

    TRY(anthropic_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    r->inner = "metadata";
    user.value = json_object_find(object, user.key);
    TRY(anthropic_request_string(r, &user, &params->user));
    r->inner = NULL;
    return OK;
}

/* auto, or standard_only: what others call default. */
static enum error_code read_tier(struct anthropic_reader *r, struct params *params,
                                 const struct json_member *m)
{
    TRY(anthropic_request_string(r, m, &params->service_tier));
    if (str_eq(params->service_tier, STR("standard_only")))
        params->service_tier = STR("default");
    return OK;
}

static bool in_head(struct str key)
{
    static const char *const keys[] = {"model", "messages", "system", "stream", "session_id"};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

typedef enum error_code read_param_fn(struct anthropic_reader *r, struct params *params,
                                      const struct json_member *m);

static enum error_code read_member(struct anthropic_reader *r, struct request *request,
                                   const struct json_member *m)
{
    static const struct {
        const char *key;
        read_param_fn *read;
    } readers[] = {
        {"stop_sequences", read_stop},         {"thinking", read_thinking},
        {"output_config", read_output_config}, {"output_format", read_format},
        {"metadata", read_metadata},           {"service_tier", read_tier},
    };
    struct params *params = &request->params;

    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        if (str_eq(m->key, str_c(readers[i].key)))
            return readers[i].read(r, params, m);
    }
    if (str_eq(m->key, STR("max_tokens")))
        return read_number(r, m, true, &params->max_tokens);
    if (str_eq(m->key, STR("temperature")))
        return read_number(r, m, false, &params->temperature);
    if (str_eq(m->key, STR("top_p")))
        return read_number(r, m, false, &params->top_p);
    if (str_eq(m->key, STR("top_k")))
        return read_number(r, m, true, &params->top_k);
    if (str_eq(m->key, STR("tools")))
        return read_tools(r, request, m);
    if (str_eq(m->key, STR("tool_choice")))
        return read_choice(r, request, m);
    if (json_kind_of(m->value) != JSON_NULL)
        anthropic_request_keep(r, &request->extra, m);
    return OK;
}

enum error_code anthropic_params_read(struct anthropic_reader *r, struct request *request)
{
    struct params *params = &request->params;

    request->tools = NULL;
    request->extra = NULL;
    request->tool_choice = TOOL_CHOICE_ABSENT;
    *params = (struct params){
        .logprobs = -1,
        .parallel_tool_calls = -1,
        .reasoning_visible = -1,
        .store = -1,
        .format.strict = -1,
    };
    for (size_t i = 0; i < request->index.n; i++) {
        const struct json_member *m = &request->index.members[i];
        if (!in_head(m->key))
            TRY(read_member(r, request, m));
    }
    /* An effort says how much, of what is on anyhow or left to the model. */
    if (params->reasoning_effort.n > 0 &&
        (params->reasoning == REASONING_ABSENT || params->reasoning == REASONING_DYNAMIC))
        params->reasoning = REASONING_EFFORT;
    drop_choice(request);
    return OK;
}
