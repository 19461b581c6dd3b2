/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: the tools and parameters of a request, read.
 *
 * How       Tools are flat; those of a namespace become tools named space__name. Members of the
 *           root that we do not model are kept in `extra`.
 * Owns      Nothing.
 * Not here  The head and the input (openai_responses_request.c), writing
 *           (openai_responses_upstream.c).
 */
#include "protocol/openai_responses_priv.h"

/* Each is looked for among the tools. */
enum { SUBSET_MAX = 256 };

/* --- tools -------------------------------------------------------------------------------- */

struct str openai_responses_params_full_name(struct arena *arena, struct str space, struct str name)
{
    return str_print(arena, "%.*s__%.*s", STR_ARG(space), STR_ARG(name));
}

static struct tool *add_tool(struct openai_responses_reader *r, struct str source)
{
    struct tool *tool = ARENA_NEW(r->arena, struct tool);

    if (arena_overflowed(r->arena))
        return NULL;
    tool->source = source;
    tool->strict = -1;
    *r->tools_end = tool;
    r->tools_end = &tool->next;
    return tool;
}

/* {"type":"grammar","syntax":…,"definition":…} as Chat Completions nests it. */
static struct str nest_format(struct openai_responses_reader *r, struct str format)
{
    struct str syntax = json_object_find(format, STR("syntax"));
    struct str definition = json_object_find(format, STR("definition"));

    if (str_is_null(syntax) || str_is_null(definition))
        return format;
    return str_print(r->arena,
                     "{\"type\":\"grammar\",\"grammar\":{\"syntax\":%.*s,\"definition\":%.*s}}",
                     STR_ARG(syntax), STR_ARG(definition));
}

static enum error_code read_tool_member(struct openai_responses_reader *r, struct tool *tool,
                                        const struct json_member *m)
{
    if (str_eq(m->key, STR("name")))
        return openai_responses_request_string(r, m, &tool->name);
    if (str_eq(m->key, STR("description")))
        return openai_responses_request_string(r, m, &tool->description);
    if (!tool->custom && str_eq(m->key, STR("parameters")))
        return openai_responses_request_object(r, m, &tool->schema);
    if (!tool->custom && str_eq(m->key, STR("strict")))
        return openai_responses_request_bool(r, m, &tool->strict);
    if (tool->custom && str_eq(m->key, STR("format")))
        return openai_responses_request_object(r, m, &tool->format);
    if (!str_eq(m->key, STR("type")))
        openai_responses_request_keep(r, &tool->extra, m);
    return OK;
}

/* A function or custom tool, in a namespace or not (space null). */
static enum error_code read_plain_tool(struct openai_responses_reader *r, struct str source,
                                       bool custom, struct str space)
{
    struct tool *tool = add_tool(r, source);
    struct json_member m;
    size_t cursor = 0;

    if (tool == NULL)
        return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
    tool->custom = custom;
    while (json_object_next(source, &cursor, r->arena, &m))
        TRY(read_tool_member(r, tool, &m));
    if (!str_is_null(tool->format))
        tool->format = nest_format(r, tool->format);
    if (str_is_null(tool->name))
        return openai_responses_request_fail(r, STR("name"), "a string");
    if (str_is_null(space))
        return OK;
    tool->space = space;
    tool->name = openai_responses_params_full_name(r->arena, space, tool->name);
    return OK;
}

static enum error_code read_type(struct openai_responses_reader *r, struct str source,
                                 struct str *ret_type)
{
    struct json_member m = {.key = STR("type")};

    if (json_kind_of(source) != JSON_OBJECT)
        return openai_responses_request_fail(r, STR_NULL, "an object");
    m.value = json_object_find(source, m.key);
    TRY(openai_responses_request_string(r, &m, ret_type));
    if (str_is_null(*ret_type))
        return openai_responses_request_fail(r, m.key, "a string");
    return OK;
}

/* Where the list stands in the path: at the root, or in an element of a list. */
static void path_at(struct openai_responses_reader *r, bool inner, size_t at)
{
    if (inner) {
        r->inner_list = "tools";
        r->inner_at = at;
    } else {
        r->list = "tools";
        r->at = at;
    }
}

static void path_leave(struct openai_responses_reader *r, bool inner)
{
    if (inner)
        r->inner_list = NULL;
    else
        r->list = NULL;
}

static enum error_code read_space(struct openai_responses_reader *r, struct str source, bool inner)
{
    struct json_member name = {.key = STR("name"), .value = json_object_find(source, STR("name"))};
    struct str tools = json_object_find(source, STR("tools"));
    struct str space = STR_NULL;
    struct str element;
    struct str type;
    size_t cursor = 0;

    TRY(openai_responses_request_string(r, &name, &space));
    if (str_is_null(space))
        return openai_responses_request_fail(r, name.key, "a string");
    if (openai_responses_request_is_null(tools) || json_kind_of(tools) != JSON_ARRAY)
        return openai_responses_request_fail(r, STR("tools"), "an array");
    for (size_t at = 0; json_array_next(tools, &cursor, &element); at++) {
        /* Of a namespace within an item the path stays that of the namespace. */
        if (!inner)
            path_at(r, true, at);
        type = STR_NULL;
        TRY(read_type(r, element, &type));
        if (str_eq(type, STR("function")) || str_eq(type, STR("custom")))
            TRY(read_plain_tool(r, element, type.p[0] == 'c', space));
    }
    if (!inner)
        path_leave(r, true);
    return OK;
}

static enum error_code read_tool(struct openai_responses_reader *r, struct str source, bool inner)
{
    struct str type = STR_NULL;

    TRY(read_type(r, source, &type));
    if (str_eq(type, STR("function")) || str_eq(type, STR("custom")))
        return read_plain_tool(r, source, type.p[0] == 'c', STR_NULL);
    if (str_eq(type, STR("namespace")))
        return read_space(r, source, inner);
    struct tool *tool = add_tool(r, source);
    if (tool == NULL)
        return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
    tool->vendor = true;
    tool->name = type;
    return OK;
}

enum error_code openai_responses_params_tools(struct openai_responses_reader *r,
                                              const struct json_member *m)
{
    bool inner = r->list != NULL;
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return openai_responses_request_fail(r, m->key, "an array");
    for (size_t at = 0; json_array_next(m->value, &cursor, &element); at++) {
        path_at(r, inner, at);
        TRY(read_tool(r, element, inner));
    }
    path_leave(r, inner);
    return OK;
}

/* --- tool_choice -------------------------------------------------------------------------- */

/* By its full name, or by the one it has in its namespace; null: no tool is called so. */
static struct str find_tool(const struct request *request, struct str name, struct str space)
{
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (tool->vendor)
            continue;
        if (str_eq(tool->name, name) && str_is_null(space))
            return tool->name;
        if (str_is_null(tool->space) || (!str_is_null(space) && !str_eq(tool->space, space)))
            continue;
        if (str_eq(str_from(tool->name, tool->space.n + 2), name))
            return tool->name;
    }
    return STR_NULL;
}

/* The name of {"type":"function","name":…}. */
static enum error_code read_choice_name(struct openai_responses_reader *r, struct str object,
                                        struct str *ret_name)
{
    struct json_member name = {.key = STR("tool_choice.name"),
                               .value = json_object_find(object, STR("name"))};
    struct json_member space = {.key = STR("tool_choice.namespace"),
                                .value = json_object_find(object, STR("namespace"))};
    struct str word = STR_NULL;
    struct str space_word = STR_NULL;

    TRY(openai_responses_request_string(r, &name, &word));
    TRY(openai_responses_request_string(r, &space, &space_word));
    *ret_name = str_is_null(word) ? STR_NULL : find_tool(r->request, word, space_word);
    if (str_is_null(*ret_name))
        return openai_responses_request_fail(r, name.key, "the name of one of the tools");
    return OK;
}

static bool is_plain(struct str object)
{
    struct str type = json_object_find(object, STR("type"));

    return str_eq(type, STR("\"function\"")) || str_eq(type, STR("\"custom\""));
}

static enum error_code read_subset(struct openai_responses_reader *r, struct str object)
{
    struct request *request = r->request;
    struct str tools = json_object_find(object, STR("tools"));
    struct str element;
    size_t cursor = 0;
    size_t n = 0;

    if (openai_responses_request_is_null(tools) || json_kind_of(tools) != JSON_ARRAY)
        return openai_responses_request_fail(r, STR("tool_choice.tools"), "an array");
    while (json_array_next(tools, &cursor, &element))
        n++;
    if (n > SUBSET_MAX)
        return FAIL(r->e, ERR_BAD_REQUEST, "\"tool_choice.tools\" has more than %d elements",
                    SUBSET_MAX);
    request->tool_choice_names = arena_array(r->arena, n + 1, sizeof(struct str));
    if (arena_overflowed(r->arena))
        return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
    cursor = 0;
    while (json_array_next(tools, &cursor, &element)) {
        if (json_kind_of(element) != JSON_OBJECT || !is_plain(element))
            continue;
        struct str *to = &request->tool_choice_names[request->tool_choice_names_n];
        TRY(read_choice_name(r, element, to));
        request->tool_choice_names_n++;
    }
    request->tool_choice = TOOL_CHOICE_SUBSET;
    request->tool_choice_required = str_eq(json_object_find(object, STR("mode")),
                                           STR("\"required\""));
    return OK;
}

static enum tool_choice_kind choice_of_word(struct str word)
{
    if (str_eq(word, STR("auto")))
        return TOOL_CHOICE_AUTO;
    if (str_eq(word, STR("none")))
        return TOOL_CHOICE_NONE;
    return str_eq(word, STR("required")) ? TOOL_CHOICE_REQUIRED : TOOL_CHOICE_OTHER;
}

/* Needs the tools. */
static enum error_code read_choice(struct openai_responses_reader *r)
{
    struct request *request = r->request;
    const struct json_member *m = json_index_find(&request->index, STR("tool_choice"));

    request->tool_choice = TOOL_CHOICE_ABSENT;
    request->tool_choice_names = NULL;
    request->tool_choice_names_n = 0;
    request->tool_choice_required = false;
    request->tool_choice_source = STR_NULL;
    /* Without tools there is nothing to choose (tools: [] is as good as none). */
    if (m == NULL || json_kind_of(m->value) == JSON_NULL || request->tools == NULL)
        return OK;
    request->tool_choice_source = m->value;
    if (json_kind_of(m->value) == JSON_STRING) {
        request->tool_choice = choice_of_word(json_string_value(m->value, r->arena));
        return OK;
    }
    if (json_kind_of(m->value) != JSON_OBJECT)
        return openai_responses_request_fail(r, m->key, "a string or an object");
    if (str_eq(json_object_find(m->value, STR("type")), STR("\"allowed_tools\"")))
        return read_subset(r, m->value);
    request->tool_choice = TOOL_CHOICE_OTHER;
    if (!is_plain(m->value))
        return OK;
    request->tool_choice_names = arena_array(r->arena, 1, sizeof(struct str));
    if (arena_overflowed(r->arena))
        return OK; /* who called sees the arena */
    TRY(read_choice_name(r, m->value, &request->tool_choice_names[0]));
    request->tool_choice_names_n = 1;
    request->tool_choice = TOOL_CHOICE_NAMED;
    return OK;
}

/* --- text and reasoning ------------------------------------------------------------------- */

static enum error_code read_format(struct openai_responses_reader *r, struct str object)
{
    struct format *format = &r->request->params.format;
    struct json_member type = {.key = STR("text.format.type"),
                               .value = json_object_find(object, STR("type"))};
    struct json_member m;
    struct str word = STR_NULL;
    size_t cursor = 0;

    TRY(openai_responses_request_string(r, &type, &word));
    if (str_is_null(word) || str_eq(word, STR("text")))
        return OK;
    if (str_eq(word, STR("json_object"))) {
        format->kind = FORMAT_JSON;
        return OK;
    }
    if (!str_eq(word, STR("json_schema"))) {
        r->request->bound = STR("text.format");
        return OK;
    }
    format->kind = FORMAT_SCHEMA;
    while (json_object_next(object, &cursor, r->arena, &m)) {
        if (str_eq(m.key, STR("name")))
            TRY(openai_responses_request_string(r, &m, &format->name));
        else if (str_eq(m.key, STR("description")))
            TRY(openai_responses_request_string(r, &m, &format->description));
        else if (str_eq(m.key, STR("schema")))
            TRY(openai_responses_request_object(r, &m, &format->schema));
        else if (str_eq(m.key, STR("strict")))
            TRY(openai_responses_request_bool(r, &m, &format->strict));
    }
    if (str_is_null(format->schema))
        return openai_responses_request_fail(r, STR("text.format.schema"), "an object");
    return OK;
}

static enum error_code read_text(struct openai_responses_reader *r, const struct json_member *m)
{
    struct str object = STR_NULL;
    struct str inner = STR_NULL;

    TRY(openai_responses_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    struct json_member format = {.key = STR("text.format"),
                                 .value = json_object_find(object, STR("format"))};
    struct json_member verbosity = {.key = STR("text.verbosity"),
                                    .value = json_object_find(object, STR("verbosity"))};
    TRY(openai_responses_request_string(r, &verbosity, &r->request->params.verbosity));
    TRY(openai_responses_request_object(r, &format, &inner));
    return str_is_null(inner) ? OK : read_format(r, inner);
}

static enum error_code read_reasoning(struct openai_responses_reader *r,
                                      const struct json_member *m)
{
    struct params *params = &r->request->params;
    struct str object = STR_NULL;

    TRY(openai_responses_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    struct json_member effort = {.key = STR("reasoning.effort"),
                                 .value = json_object_find(object, STR("effort"))};
    struct json_member old = {.key = STR("reasoning.generate_summary"),
                              .value = json_object_find(object, STR("generate_summary"))};
    struct json_member summary = {.key = STR("reasoning.summary"),
                                  .value = json_object_find(object, STR("summary"))};
    TRY(openai_responses_request_string(r, &effort, &params->reasoning_effort));
    TRY(openai_responses_request_string(r, &old, &params->reasoning_summary));
    TRY(openai_responses_request_string(r, &summary, &params->reasoning_summary));
    if (!str_is_null(params->reasoning_summary))
        params->reasoning_visible = 1;
    if (str_eq(params->reasoning_effort, STR("none")))
        params->reasoning = REASONING_OFF;
    else if (!str_is_null(params->reasoning_effort))
        params->reasoning = REASONING_EFFORT;
    return OK;
}

static enum error_code read_include(struct openai_responses_reader *r, const struct json_member *m)
{
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return openai_responses_request_fail(r, m->key, "an array");
    while (json_array_next(m->value, &cursor, &element)) {
        if (str_eq(element, STR("\"message.output_text.logprobs\"")))
            r->request->params.logprobs = 1;
    }
    return OK;
}

/* --- parameters --------------------------------------------------------------------------- */

enum value_kind { VALUE_NUMBER, VALUE_INTEGER, VALUE_BOOL, VALUE_STRING, VALUE_JSON };

struct field {
    const char *key;
    enum value_kind kind;
    size_t offset;
};

static const struct field fields[] = {
    {"temperature", VALUE_NUMBER, offsetof(struct params, temperature)},
    {"top_p", VALUE_NUMBER, offsetof(struct params, top_p)},
    {"max_output_tokens", VALUE_INTEGER, offsetof(struct params, max_tokens)},
    {"top_logprobs", VALUE_INTEGER, offsetof(struct params, top_logprobs)},
    {"parallel_tool_calls", VALUE_BOOL, offsetof(struct params, parallel_tool_calls)},
    {"service_tier", VALUE_STRING, offsetof(struct params, service_tier)},
    {"user", VALUE_STRING, offsetof(struct params, user)},
    {"metadata", VALUE_JSON, offsetof(struct params, metadata)},
    {"store", VALUE_BOOL, offsetof(struct params, store)},
    {"prompt_cache_key", VALUE_STRING, offsetof(struct params, cache_key)},
};

/* Integers may be written 1.0. */
static enum error_code read_number(struct openai_responses_reader *r, const struct json_member *m,
                                   bool integer, struct str *ret_token)
{
    double value;

    if (json_kind_of(m->value) != JSON_NUMBER || !str_to_double(m->value, &value))
        return openai_responses_request_fail(r, m->key, "a number");
    if (integer && __builtin_floor(value) < value)
        return openai_responses_request_fail(r, m->key, "an integer");
    *ret_token = m->value;
    return OK;
}

static enum error_code read_field(struct openai_responses_reader *r, const struct field *field,
                                  const struct json_member *m)
{
    void *to = (char *)&r->request->params + field->offset;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    switch (field->kind) {
    case VALUE_NUMBER:
    case VALUE_INTEGER:
        return read_number(r, m, field->kind == VALUE_INTEGER, to);
    case VALUE_BOOL:
        return openai_responses_request_bool(r, m, to);
    case VALUE_STRING:
        return openai_responses_request_string(r, m, to);
    case VALUE_JSON:
        return openai_responses_request_object(r, m, to);
    }
    BUG("no such kind of value");
}

static bool in_head(struct str key)
{
    static const char *const keys[] = {"model",       "input",      "instructions",
                                       "stream",      "session_id", "previous_response_id",
                                       "tool_choice", "tools",      "stream_options"};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

static enum error_code read_member(struct openai_responses_reader *r, const struct json_member *m)
{
    struct params *params = &r->request->params;

    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (str_eq(m->key, str_c(fields[i].key)))
            return read_field(r, &fields[i], m);
    }
    if (str_eq(m->key, STR("text")))
        return read_text(r, m);
    if (str_eq(m->key, STR("reasoning")))
        return read_reasoning(r, m);
    if (in_head(m->key))
        return OK;
    if (str_eq(m->key, STR("include")))
        TRY(read_include(r, m));
    if (str_eq(m->key, STR("safety_identifier")) && str_is_null(params->user))
        TRY(openai_responses_request_string(r, m, &params->user));
    openai_responses_request_keep(r, &r->request->extra, m);
    return OK;
}

enum error_code openai_responses_params_read(struct openai_responses_reader *r)
{
    struct request *request = r->request;
    const struct json_member *tools = json_index_find(&request->index, STR("tools"));

    assert(r->list == NULL);
    request->params = (struct params){
        .logprobs = -1,
        .parallel_tool_calls = -1,
        .reasoning_visible = -1,
        .store = -1,
        .format.strict = -1,
    };
    request->extra = NULL;
    if (tools != NULL)
        TRY(openai_responses_params_tools(r, tools));
    TRY(read_choice(r));
    for (size_t i = 0; i < request->index.n; i++)
        TRY(read_member(r, &request->index.members[i]));
    if (request->params.top_logprobs.n > 0 && !str_eq(request->params.top_logprobs, STR("0")))
        request->params.logprobs = 1;
    return OK;
}
