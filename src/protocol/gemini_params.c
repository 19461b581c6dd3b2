/* SPDX-License-Identifier: MIT */
/*
 * Gemini: the tools and parameters of a request, read.
 *
 * How       generationConfig stands in a table: member, kind, place in struct params. What is only
 *           this protocol's is kept in `extra`, named as it stands; what cannot be left out without
 *           changing the meaning is named in `bound`.
 * Owns      Nothing.
 * Not here  The head and the conversation (gemini_request.c), writing (gemini_write.c).
 */
#include "protocol/gemini_priv.h"

static bool is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

/* --- tools -------------------------------------------------------------------------------- */

static struct tool *new_tool(struct gemini_reader *r, struct request *request, struct str source)
{
    struct tool *tool = ARENA_NEW(r->arena, struct tool);

    if (arena_overflowed(r->arena))
        return NULL;
    tool->source = source;
    tool->strict = -1;
    if (r->tools_end == NULL)
        r->tools_end = &request->tools;
    *r->tools_end = tool;
    r->tools_end = &tool->next;
    return tool;
}

/* parameters is of OpenAPI's kind, parametersJsonSchema is JSON Schema. */
static enum error_code read_declaration(struct gemini_reader *r, struct request *request,
                                        struct str source)
{
    struct json_member m;
    size_t cursor = 0;

    if (json_kind_of(source) != JSON_OBJECT)
        return gemini_request_fail(r, STR_NULL, "an object");
    struct tool *tool = new_tool(r, request, source);
    if (tool == NULL)
        return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
    while (json_object_next(source, &cursor, r->arena, &m)) {
        if (str_eq(m.key, STR("name"))) {
            TRY(gemini_request_string(r, &m, &tool->name));
        } else if (str_eq(m.key, STR("description"))) {
            TRY(gemini_request_string(r, &m, &tool->description));
        } else if (str_eq(m.key, STR("parameters"))) {
            TRY(gemini_request_object(r, &m, &tool->schema));
            if (!is_null(m.value))
                tool->schema = gemini_schema_json(m.value, r->arena);
        } else if (gemini_request_is(m.key, "parametersJsonSchema")) {
            TRY(gemini_request_object(r, &m, &tool->schema));
        } else if (!is_null(m.value)) {
            gemini_request_keep(r, &tool->extra, &m);
        }
    }
    if (tool->name.n == 0)
        return gemini_request_fail(r, STR("name"), "a string");
    return OK;
}

static enum error_code read_declarations(struct gemini_reader *r, struct request *request,
                                         const struct json_member *m)
{
    struct str list = STR_NULL;
    struct str element;
    size_t cursor = 0;

    TRY(gemini_request_array(r, m, &list));
    r->inner_list = "functionDeclarations";
    for (r->inner_at = 0; gemini_request_next(list, &cursor, &element); r->inner_at++)
        TRY(read_declaration(r, request, element));
    r->inner_list = NULL;
    return OK;
}

/* A Tool: declarations, and tools that the vendor runs, by their names. */
static enum error_code read_tool(struct gemini_reader *r, struct request *request,
                                 struct str source)
{
    struct json_member m;
    size_t cursor = 0;

    if (json_kind_of(source) != JSON_OBJECT)
        return gemini_request_fail(r, STR_NULL, "an object");
    while (json_object_next(source, &cursor, r->arena, &m)) {
        if (is_null(m.value))
            continue;
        if (gemini_request_is(m.key, "functionDeclarations")) {
            TRY(read_declarations(r, request, &m));
            continue;
        }
        struct tool *tool = new_tool(r, request, source);
        if (tool == NULL)
            return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
        tool->vendor = true;
        tool->name = m.key;
    }
    return OK;
}

static enum error_code read_tools(struct gemini_reader *r, struct request *request,
                                  const struct json_member *m)
{
    struct str list = STR_NULL;
    struct str element;
    size_t cursor = 0;

    TRY(gemini_request_array(r, m, &list));
    r->list = "tools";
    for (r->at = 0; gemini_request_next(list, &cursor, &element); r->at++)
        TRY(read_tool(r, request, element));
    r->list = NULL;
    return OK;
}

/* --- strings of a list -------------------------------------------------------------------- */

static enum error_code read_strings(struct gemini_reader *r, const struct json_member *m,
                                    struct str **ret_items, size_t *ret_n)
{
    struct str element;
    struct str *items;
    size_t cursor = 0;
    size_t n = 0;

    if (is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return gemini_request_fail(r, m->key, "an array of strings");
    while (json_array_next(m->value, &cursor, &element)) {
        if (json_kind_of(element) != JSON_STRING)
            return gemini_request_fail(r, m->key, "an array of strings");
        n++;
    }
    if (n == 0)
        return OK;
    items = arena_array(r->arena, n, sizeof(*items));
    if (arena_overflowed(r->arena))
        return FAIL(r->e, ERR_TOO_LARGE, "the request does not fit into memory");
    cursor = 0;
    for (size_t i = 0; i < n && json_array_next(m->value, &cursor, &element); i++)
        items[i] = json_string_value(element, r->arena);
    *ret_items = items;
    *ret_n = n;
    return OK;
}

/* --- toolConfig --------------------------------------------------------------------------- */

/* mode and allowedFunctionNames, as mapping.md, 5.2 has them. */
static enum error_code set_choice(struct gemini_reader *r, struct request *request,
                                  const struct json_member *mode)
{
    struct str word = STR("AUTO");
    size_t names = request->tool_choice_names_n;

    TRY(gemini_request_string(r, mode, &word));
    request->tool_choice_required = str_eq_nocase(word, STR("ANY"));
    if (str_eq_nocase(word, STR("NONE")))
        request->tool_choice = TOOL_CHOICE_NONE;
    else if (str_eq_nocase(word, STR("ANY")))
        request->tool_choice = names == 0   ? TOOL_CHOICE_REQUIRED
                               : names == 1 ? TOOL_CHOICE_NAMED
                                            : TOOL_CHOICE_SUBSET;
    else if (str_eq_nocase(word, STR("VALIDATED")))
        request->tool_choice = names == 0 ? TOOL_CHOICE_AUTO : TOOL_CHOICE_SUBSET;
    else if (str_eq_nocase(word, STR("AUTO")) || str_eq_nocase(word, STR("MODE_UNSPECIFIED")))
        request->tool_choice = TOOL_CHOICE_AUTO;
    else
        return gemini_request_fail(r, mode->key, "one of AUTO, ANY, NONE and VALIDATED");
    return OK;
}

static enum error_code read_calling_config(struct gemini_reader *r, struct request *request,
                                           const struct json_member *m)
{
    struct json_member mode = {.key = STR("mode")};
    struct json_member inner;
    struct str object = STR_NULL;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    r->inner = "toolConfig.functionCallingConfig";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("mode")))
            mode = inner;
        else if (gemini_request_is(inner.key, "allowedFunctionNames"))
            TRY(read_strings(r, &inner, &request->tool_choice_names,
                             &request->tool_choice_names_n));
    }
    TRY(set_choice(r, request, &mode));
    request->tool_choice_source = object;
    r->inner = NULL;
    return OK;
}

static enum error_code read_tool_config(struct gemini_reader *r, struct request *request,
                                        const struct json_member *m)
{
    struct json_member inner;
    struct str object = STR_NULL;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (gemini_request_is(inner.key, "functionCallingConfig"))
            TRY(read_calling_config(r, request, &inner));
        else if (!is_null(inner.value))
            gemini_request_keep(r, &request->extra, &inner);
    }
    return OK;
}

/* --- generationConfig --------------------------------------------------------------------- */

enum value_kind { VALUE_NUMBER, VALUE_COUNT, VALUE_INTEGER, VALUE_BOOL };

struct field {
    const char *key;
    enum value_kind kind;
    size_t offset;
};

#define FIELD(key, kind, name)                     \
    {                                              \
        key, (kind), offsetof(struct params, name) \
    }

static const struct field fields[] = {
    FIELD("temperature", VALUE_NUMBER, temperature),
    FIELD("topP", VALUE_NUMBER, top_p),
    FIELD("topK", VALUE_NUMBER, top_k),
    FIELD("candidateCount", VALUE_COUNT, n),
    FIELD("maxOutputTokens", VALUE_INTEGER, max_tokens),
    FIELD("seed", VALUE_INTEGER, seed),
    FIELD("presencePenalty", VALUE_NUMBER, presence_penalty),
    FIELD("frequencyPenalty", VALUE_NUMBER, frequency_penalty),
    FIELD("responseLogprobs", VALUE_BOOL, logprobs),
    FIELD("logprobs", VALUE_INTEGER, top_logprobs),
};

/* A number token; proto3 takes one in a string too. */
static enum error_code read_number(struct gemini_reader *r, const struct json_member *m,
                                   enum value_kind kind, struct str *ret_token)
{
    struct str token = m->value;
    double value;

    if (is_null(m->value))
        return OK;
    if (json_kind_of(token) == JSON_STRING)
        token = json_string_value(token, r->arena);
    if (!str_to_double(token, &value))
        return gemini_request_fail(r, m->key, "a number");
    if (kind != VALUE_NUMBER && __builtin_floor(value) < value)
        return gemini_request_fail(r, m->key, "an integer");
    if (kind == VALUE_COUNT && value < 1)
        return gemini_request_fail(r, m->key, "at least 1");
    *ret_token = token;
    return OK;
}

static enum error_code read_thinking(struct gemini_reader *r, struct params *params,
                                     const struct json_member *m)
{
    struct json_member inner;
    struct str object = STR_NULL;
    struct str level = STR_NULL;
    struct str budget = STR_NULL;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    r->inner = "thinkingConfig";
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        if (gemini_request_is(inner.key, "includeThoughts"))
            TRY(gemini_request_bool(r, &inner, &params->reasoning_visible));
        else if (gemini_request_is(inner.key, "thinkingBudget"))
            TRY(read_number(r, &inner, VALUE_INTEGER, &budget));
        else if (gemini_request_is(inner.key, "thinkingLevel"))
            TRY(gemini_request_string(r, &inner, &level));
    }
    r->inner = NULL;
    static const char *const levels[][2] = {{"MINIMAL", "minimal"},
                                            {"LOW", "low"},
                                            {"MEDIUM", "medium"},
                                            {"HIGH", "high"}};
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        if (!str_eq_nocase(level, str_c(levels[i][0])))
            continue;
        params->reasoning = REASONING_EFFORT;
        params->reasoning_effort = str_c(levels[i][1]);
        return OK;
    }
    double value;
    if (!str_to_double(budget, &value))
        return OK;
    if (value > 0)
        params->reasoning_budget = budget;
    params->reasoning = value > 0    ? REASONING_BUDGET
                        : value == 0 ? REASONING_OFF
                                     : REASONING_DYNAMIC;
    return OK;
}

static enum error_code read_schema(struct gemini_reader *r, struct params *params,
                                   const struct json_member *m)
{
    struct str object = STR_NULL;

    TRY(gemini_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    params->format.kind = FORMAT_SCHEMA;
    params->format.schema = gemini_request_is(m->key, "responseSchema")
                                ? gemini_schema_json(object, r->arena)
                                : object;
    return OK;
}

/* The words of responseMimeType; one word of a list, "text/x.enum", others do not know. */
static enum error_code read_mime(struct gemini_reader *r, struct request *request,
                                 const struct json_member *m)
{
    struct str type = STR_NULL;

    TRY(gemini_request_string(r, m, &type));
    if (str_eq(type, STR("application/json")) && request->params.format.kind == FORMAT_ABSENT)
        request->params.format.kind = FORMAT_JSON;
    r->is_enum = str_eq(type, STR("text/x.enum"));
    if (r->is_enum)
        gemini_request_keep(r, &request->extra, m);
    return OK;
}

/* Answers in pictures or sound: without them the answer would not be what was asked for. */
static enum error_code read_modalities(struct gemini_reader *r, struct request *request,
                                       const struct json_member *m)
{
    struct str *items = NULL;
    size_t n = 0;
    bool text = false;

    TRY(read_strings(r, m, &items, &n));
    for (size_t i = 0; i < n; i++)
        text |= str_eq_nocase(items[i], STR("TEXT"));
    if (n > 0 && !text)
        request->bound = STR("generationConfig.responseModalities");
    else if (n > 1)
        gemini_request_keep(r, &request->extra, m);
    return OK;
}

static enum error_code read_config_member(struct gemini_reader *r, struct request *request,
                                          const struct json_member *m)
{
    struct params *params = &request->params;

    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (!gemini_request_is(m->key, fields[i].key))
            continue;
        void *to = (char *)params + fields[i].offset;
        if (fields[i].kind == VALUE_BOOL)
            return gemini_request_bool(r, m, to);
        return read_number(r, m, fields[i].kind, to);
    }
    if (gemini_request_is(m->key, "stopSequences"))
        return read_strings(r, m, &params->stop, &params->stop_n);
    if (gemini_request_is(m->key, "responseMimeType"))
        return read_mime(r, request, m);
    if (gemini_request_is(m->key, "responseSchema") ||
        gemini_request_is(m->key, "responseJsonSchema") ||
        str_eq(m->key, STR("_responseJsonSchema")))
        return read_schema(r, params, m);
    if (gemini_request_is(m->key, "thinkingConfig"))
        return read_thinking(r, params, m);
    if (gemini_request_is(m->key, "responseModalities"))
        return read_modalities(r, request, m);
    if (!is_null(m->value))
        gemini_request_keep(r, &request->extra, m);
    return OK;
}

static enum error_code read_config(struct gemini_reader *r, struct request *request,
                                   const struct json_member *m)
{
    const char *outer = r->base;
    struct json_member inner;
    struct str object = STR_NULL;
    size_t cursor = 0;

    TRY(gemini_request_object(r, m, &object));
    r->base = outer == NULL ? "generationConfig" : "generateContentRequest.generationConfig";
    while (json_object_next(object, &cursor, r->arena, &inner))
        TRY(read_config_member(r, request, &inner));
    r->base = outer;
    return OK;
}

/* --- the root ----------------------------------------------------------------------------- */

/* Words of Chat Completions, which the canonical form has. */
static enum error_code read_tier(struct gemini_reader *r, struct params *params,
                                 const struct json_member *m)
{
    struct str word = STR_NULL;

    TRY(gemini_request_string(r, m, &word));
    if (str_eq_nocase(word, STR("standard")))
        params->service_tier = STR("default");
    else if (str_eq_nocase(word, STR("flex")))
        params->service_tier = STR("flex");
    else if (str_eq_nocase(word, STR("priority")))
        params->service_tier = STR("priority");
    return OK;
}

void gemini_params_begin(struct request *request)
{
    request->params = (struct params){
        .logprobs = -1,
        .parallel_tool_calls = -1,
        .reasoning_visible = -1,
        .store = -1,
        .format.strict = -1,
    };
    request->tools = NULL;
    request->tool_choice = TOOL_CHOICE_ABSENT;
    request->tool_choice_names = NULL;
    request->tool_choice_names_n = 0;
    request->tool_choice_required = false;
    request->tool_choice_source = STR_NULL;
    request->extra = NULL;
    request->bound = STR_NULL;
}

enum error_code gemini_params_member(struct gemini_reader *r, struct request *request,
                                     const struct json_member *m)
{
    if (str_eq(m->key, STR("model")) || str_eq(m->key, STR("session_id")) || is_null(m->value))
        return OK;
    if (str_eq(m->key, STR("tools")))
        return read_tools(r, request, m);
    if (gemini_request_is(m->key, "toolConfig"))
        return read_tool_config(r, request, m);
    if (gemini_request_is(m->key, "generationConfig"))
        return read_config(r, request, m);
    if (gemini_request_is(m->key, "serviceTier"))
        return read_tier(r, &request->params, m);
    if (gemini_request_is(m->key, "cachedContent"))
        request->bound = STR("cachedContent");
    gemini_request_keep(r, &request->extra, m);
    return OK;
}

static bool has_tool(const struct request *request, struct str name)
{
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (!tool->vendor && str_eq(tool->name, name))
            return true;
    }
    return false;
}

/* Without tools there is nothing to choose; a word of a list is no JSON. */
enum error_code gemini_params_end(struct gemini_reader *r, struct request *request)
{
    if (r->is_enum)
        request->params.format = (struct format){.strict = -1};
    if (request->tools == NULL) {
        request->tool_choice = TOOL_CHOICE_ABSENT;
        request->tool_choice_names = NULL;
        request->tool_choice_names_n = 0;
        request->tool_choice_required = false;
        request->tool_choice_source = STR_NULL;
        return OK;
    }
    r->inner = "toolConfig.functionCallingConfig";
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (!has_tool(request, request->tool_choice_names[i]))
            return gemini_request_fail(r, STR("allowedFunctionNames"), "names of the tools");
    }
    r->inner = NULL;
    return OK;
}
