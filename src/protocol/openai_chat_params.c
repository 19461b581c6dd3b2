/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: the tools and parameters of a request, read and written.
 *
 * How       Parameters stand in one table: member, kind, place in struct params. It serves both
 *           directions. Members of the root that we do not model are kept in `extra`.
 * Owns      Nothing.
 * Not here  The head and the conversation (openai_chat_request.c, openai_chat_upstream.c).
 */
#include "protocol/openai_chat_priv.h"

/* --- tools -------------------------------------------------------------------------------- */

/* The inner object of a function or custom tool. */
static enum error_code read_definition(struct openai_chat_reader *r, struct tool *tool,
                                       struct str object)
{
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(object, &cursor, r->arena, &m)) {
        if (str_eq(m.key, STR("name")))
            TRY(openai_chat_request_string(r, &m, &tool->name));
        else if (str_eq(m.key, STR("description")))
            TRY(openai_chat_request_string(r, &m, &tool->description));
        else if (!tool->custom && str_eq(m.key, STR("parameters")))
            TRY(openai_chat_request_object(r, &m, &tool->schema));
        else if (!tool->custom && str_eq(m.key, STR("strict")))
            TRY(openai_chat_request_bool(r, &m, &tool->strict));
        else if (tool->custom && str_eq(m.key, STR("format")))
            TRY(openai_chat_request_object(r, &m, &tool->format));
        else
            openai_chat_request_keep(r, &tool->extra, &m, true);
    }
    if (str_is_null(tool->name))
        return openai_chat_request_fail(r, STR("name"), "a string");
    return OK;
}

/* {"type":"web_search", …}: tools that the vendor runs. */
static enum error_code read_vendor_tool(struct openai_chat_reader *r, struct tool *tool)
{
    struct json_member type = {.key = STR("type"),
                               .value = json_object_find(tool->source, STR("type"))};

    if (!str_is_null(type.value))
        TRY(openai_chat_request_string(r, &type, &tool->name));
    if (str_is_null(tool->name))
        return openai_chat_request_fail(r, type.key, "a string");
    if (str_eq(tool->name, STR("function")) || str_eq(tool->name, STR("custom")))
        return openai_chat_request_fail(r, tool->name, "an object");
    tool->vendor = true;
    tool->extra = NULL;
    tool->cache = STR_NULL;
    return OK;
}

static enum error_code read_tool(struct openai_chat_reader *r, struct tool *tool, bool legacy)
{
    struct json_member m;
    struct str inner = STR_NULL;
    size_t cursor = 0;

    if (json_kind_of(tool->source) != JSON_OBJECT)
        return openai_chat_request_fail(r, STR_NULL, "an object");
    if (legacy)
        return read_definition(r, tool, tool->source);
    tool->custom =
        openai_chat_request_is_null(json_fields_find(&r->fields, tool->source, STR("function"))) &&
        !openai_chat_request_is_null(json_fields_find(&r->fields, tool->source, STR("custom")));
    while (json_fields_next(&r->fields, tool->source, &cursor, r->arena, &m)) {
        if (str_eq(m.key, tool->custom ? STR("custom") : STR("function")))
            TRY(openai_chat_request_object(r, &m, &inner));
        else if (str_eq(m.key, STR("cache_control")))
            TRY(openai_chat_request_object(r, &m, &tool->cache));
        else if (!str_eq(m.key, STR("type")))
            openai_chat_request_keep(r, &tool->extra, &m, false);
    }
    if (str_is_null(inner))
        return read_vendor_tool(r, tool);
    r->inner = tool->custom ? "custom" : "function";
    TRY(read_definition(r, tool, inner));
    r->inner = NULL;
    return OK;
}

static enum error_code read_tools(struct openai_chat_reader *r, struct request *request,
                                  const struct json_member *m, bool legacy)
{
    struct tool **to = &request->tools;
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return openai_chat_request_fail(r, m->key, "an array");
    while (*to != NULL)
        to = &(*to)->next;
    struct tool **first = to;
    assert(r->list == NULL);
    r->list = legacy ? "functions" : "tools";
    for (r->at = 0; json_array_next(m->value, &cursor, &element); r->at++) {
        struct tool *tool = ARENA_NEW(r->arena, struct tool);
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "too many tools");
        tool->source = element;
        tool->strict = -1;
        TRY(read_tool(r, tool, legacy));
        *to = tool;
        to = &tool->next;
    }
    r->list = NULL;
    if (*first != NULL)
        request->functions = legacy && *first == request->tools;
    return OK;
}

/* --- tool_choice -------------------------------------------------------------------------- */

static enum error_code choice_word(struct openai_chat_reader *r, struct request *request,
                                   const struct json_member *m)
{
    struct str word = json_string_value(m->value, r->arena);

    if (str_eq(word, STR("auto")))
        request->tool_choice = TOOL_CHOICE_AUTO;
    else if (str_eq(word, STR("none")))
        request->tool_choice = TOOL_CHOICE_NONE;
    else if (str_eq(word, STR("required")))
        request->tool_choice = TOOL_CHOICE_REQUIRED;
    else
        request->tool_choice = TOOL_CHOICE_OTHER;
    return OK;
}

static bool has_tool(const struct request *request, struct str name)
{
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (str_eq(tool->name, name))
            return true;
    }
    return false;
}

/* The name in {type, function: {name}} or {type, custom: {name}}; null without one. */
static struct str named_in(struct openai_chat_reader *r, struct str object)
{
    struct str inner = json_object_find(object, STR("function"));

    if (openai_chat_request_is_null(inner))
        inner = json_object_find(object, STR("custom"));
    if (openai_chat_request_is_null(inner) || json_kind_of(inner) != JSON_OBJECT)
        return STR_NULL;
    inner = json_object_find(inner, STR("name"));
    if (inner.n == 0 || json_kind_of(inner) != JSON_STRING)
        return STR_NULL;
    return json_string_value(inner, r->arena);
}

/* {mode, tools: [named, …]}; anything else is left to who understands it. */
static void read_subset(struct openai_chat_reader *r, struct request *request, struct str allowed)
{
    struct str mode = json_object_find(allowed, STR("mode"));
    struct str tools = json_object_find(allowed, STR("tools"));
    struct str element;
    struct str *names;
    size_t cursor = 0;
    size_t n = 0;

    if (tools.n == 0 || json_kind_of(tools) != JSON_ARRAY)
        return;
    while (json_array_next(tools, &cursor, &element)) {
        if (json_kind_of(element) != JSON_OBJECT || str_is_null(named_in(r, element)))
            return;
        n++;
    }
    names = arena_array(r->arena, n, sizeof(*names));
    if (n == 0 || arena_overflowed(r->arena))
        return;
    cursor = 0;
    for (size_t i = 0; json_array_next(tools, &cursor, &element); i++) {
        assert(i < n);
        names[i] = named_in(r, element);
    }
    request->tool_choice = TOOL_CHOICE_SUBSET;
    request->tool_choice_names = names;
    request->tool_choice_names_n = n;
    request->tool_choice_required = str_eq(mode, STR("\"required\""));
}

/* Forms: a word; {type, function: {name}}; {type, custom: {name}}; {type, allowed_tools: {…}};
 * {name} (legacy); others. */
static enum error_code read_choice(struct openai_chat_reader *r, struct request *request,
                                   const struct json_member *m)
{
    enum json_kind kind = json_kind_of(m->value);
    struct json_member name = {.key = STR("name")};
    struct str inner;

    if (kind == JSON_NULL)
        return OK;
    request->tool_choice_source = m->value;
    if (kind == JSON_STRING)
        return choice_word(r, request, m);
    if (kind != JSON_OBJECT)
        return openai_chat_request_fail(r, m->key, "a string or an object");
    request->tool_choice = TOOL_CHOICE_OTHER;
    inner = json_object_find(m->value, STR("function"));
    if (openai_chat_request_is_null(inner))
        inner = json_object_find(m->value, STR("custom"));
    if (openai_chat_request_is_null(inner))
        inner = str_eq(m->key, STR("function_call")) ? m->value : STR_NULL;
    if (openai_chat_request_is_null(inner) || json_kind_of(inner) != JSON_OBJECT) {
        inner = json_object_find(m->value, STR("allowed_tools"));
        if (inner.n > 0 && json_kind_of(inner) == JSON_OBJECT)
            read_subset(r, request, inner);
        return OK;
    }
    name.value = json_object_find(inner, STR("name"));
    if (str_is_null(name.value))
        return openai_chat_request_fail(r, m->key, "an object that names a tool");
    request->tool_choice_names = ARENA_NEW(r->arena, struct str);
    request->tool_choice_names_n = 1;
    TRY(openai_chat_request_string(r, &name, request->tool_choice_names));
    request->tool_choice = TOOL_CHOICE_NAMED;
    return OK;
}

/* Without tools there is nothing to choose (tools: [] is as good as none). */
static enum error_code check_choice(struct openai_chat_reader *r, struct request *request)
{
    if (request->tools == NULL) {
        request->tool_choice = TOOL_CHOICE_ABSENT;
        request->tool_choice_names = NULL;
        request->tool_choice_names_n = 0;
        request->tool_choice_required = false;
        request->tool_choice_source = STR_NULL;
        return OK;
    }
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (!has_tool(request, request->tool_choice_names[i]))
            return openai_chat_request_fail(r, STR("tool_choice"),
                                            request->tool_choice == TOOL_CHOICE_NAMED
                                                ? "the name of one of the tools"
                                                : "names of the tools");
    }
    return OK;
}

/* --- parameters --------------------------------------------------------------------------- */

enum value_kind { VALUE_NUMBER, VALUE_COUNT, VALUE_INTEGER, VALUE_BOOL, VALUE_STRING, VALUE_JSON };

struct field {
    const char *key;
    enum value_kind kind;
    size_t offset;
    bool only_read; /* write_said writes it */
};

#define FIELD(name, kind)                                   \
    {                                                       \
#name, (kind), offsetof(struct params, name), false \
    }

static const struct field fields[] = {
    FIELD(temperature, VALUE_NUMBER),
    FIELD(top_p, VALUE_NUMBER),
    FIELD(top_k, VALUE_INTEGER),
    FIELD(n, VALUE_COUNT),
    FIELD(frequency_penalty, VALUE_NUMBER),
    FIELD(presence_penalty, VALUE_NUMBER),
    FIELD(seed, VALUE_INTEGER),
    FIELD(top_logprobs, VALUE_INTEGER),
    FIELD(logprobs, VALUE_BOOL),
    FIELD(parallel_tool_calls, VALUE_BOOL),
    {"reasoning_effort", VALUE_STRING, offsetof(struct params, reasoning_effort), true},
    FIELD(verbosity, VALUE_STRING),
    FIELD(service_tier, VALUE_STRING),
    {"user", VALUE_STRING, offsetof(struct params, user), true},
    FIELD(metadata, VALUE_JSON),
    FIELD(store, VALUE_BOOL),
    {"prompt_cache_key", VALUE_STRING, offsetof(struct params, cache_key), false},
};

/* A number token; integers may be written 1.0. */
static enum error_code read_number(struct openai_chat_reader *r, const struct json_member *m,
                                   enum value_kind kind, struct str *ret_token)
{
    double value;

    if (json_kind_of(m->value) != JSON_NUMBER || !str_to_double(m->value, &value))
        return openai_chat_request_fail(r, m->key, "a number");
    if (kind != VALUE_NUMBER && __builtin_floor(value) < value)
        return openai_chat_request_fail(r, m->key, "an integer");
    if (kind == VALUE_COUNT && value < 1)
        return openai_chat_request_fail(r, m->key, "at least 1");
    *ret_token = m->value;
    return OK;
}

static enum error_code read_field(struct openai_chat_reader *r, struct params *params,
                                  const struct field *field, const struct json_member *m)
{
    void *to = (char *)params + field->offset;

    assert(field->offset < sizeof(*params));
    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    switch (field->kind) {
    case VALUE_NUMBER:
    case VALUE_COUNT:
    case VALUE_INTEGER:
        return read_number(r, m, field->kind, to);
    case VALUE_BOOL:
        return openai_chat_request_bool(r, m, to);
    case VALUE_STRING:
        return openai_chat_request_string(r, m, to);
    case VALUE_JSON:
        return openai_chat_request_object(r, m, to);
    }
    BUG("no such kind of value");
}

/* The members of json_schema; false: there are others, which must not be lost. */
static bool read_schema(struct openai_chat_reader *r, struct format *format, struct str object)
{
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(object, &cursor, r->arena, &m)) {
        enum json_kind kind = json_kind_of(m.value);
        if (str_eq(m.key, STR("name")) && kind == JSON_STRING)
            format->name = json_string_value(m.value, r->arena);
        else if (str_eq(m.key, STR("description")) && kind == JSON_STRING)
            format->description = json_string_value(m.value, r->arena);
        else if (str_eq(m.key, STR("schema")) && kind == JSON_OBJECT)
            format->schema = m.value;
        else if (str_eq(m.key, STR("strict")) && (kind == JSON_TRUE || kind == JSON_FALSE))
            format->strict = kind == JSON_TRUE;
        else
            return false;
    }
    return true;
}

static enum format_kind kind_of_format(struct str type, struct str schema)
{
    if (!str_is_null(schema))
        return FORMAT_SCHEMA;
    if (str_eq(type, STR("json_object")) || str_eq(type, STR("json_schema")))
        return FORMAT_JSON;
    return FORMAT_ABSENT;
}

/* {type: json_object} and {type: json_schema, json_schema: {…}}. What has more members, or another
 * type, is understood as far as it goes and kept as it came: "text", servers' grammars, and
 * {type: json_object, schema: {…}} of some. */
static enum error_code read_format(struct openai_chat_reader *r, struct request *request,
                                   const struct json_member *m)
{
    struct format format = {.kind = FORMAT_ABSENT, .strict = -1};
    struct str type = STR_NULL;
    struct str object = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;
    bool all = true;

    TRY(openai_chat_request_object(r, m, &object));
    if (str_is_null(object))
        return OK;
    while (json_object_next(object, &cursor, r->arena, &inner)) {
        bool is_object = json_kind_of(inner.value) == JSON_OBJECT;
        if (str_eq(inner.key, STR("type")) && json_kind_of(inner.value) == JSON_STRING)
            type = json_string_value(inner.value, r->arena);
        else if (is_object && str_eq(inner.key, STR("json_schema")))
            all &= read_schema(r, &format, inner.value);
        else
            all = false;
        if (is_object && str_eq(inner.key, STR("schema")))
            format.schema = inner.value;
    }
    format.kind = kind_of_format(type, format.schema);
    /* A schema that is not there cannot be written again as it came. */
    all = all && (format.kind == FORMAT_SCHEMA) == str_eq(type, STR("json_schema"));
    if (format.kind != FORMAT_ABSENT)
        request->params.format = format;
    if (!all || format.kind == FORMAT_ABSENT)
        openai_chat_request_keep(r, &request->extra, m, false);
    return OK;
}

/* "" and [] are as good as none. */
static enum error_code read_stop(struct openai_chat_reader *r, struct params *params,
                                 const struct json_member *m)
{
    enum json_kind kind = json_kind_of(m->value);
    struct json_member element = {.key = STR("stop")};
    size_t cursor = 0;
    size_t n = 0;

    if (kind != JSON_STRING && kind != JSON_ARRAY && kind != JSON_NULL)
        return openai_chat_request_fail(r, m->key, "a string or an array of strings");
    if (kind == JSON_NULL || str_eq(m->value, STR("\"\"")))
        return OK;
    while (kind == JSON_ARRAY && json_array_next(m->value, &cursor, &element.value))
        n++;
    if (kind == JSON_ARRAY && n == 0)
        return OK;
    params->stop = arena_array(r->arena, n == 0 ? 1 : n, sizeof(*params->stop));
    if (arena_overflowed(r->arena))
        return FAIL(r->e, ERR_TOO_LARGE, "too many stop sequences");
    if (kind == JSON_STRING) {
        params->stop[params->stop_n++] = json_string_value(m->value, r->arena);
        return OK;
    }
    cursor = 0;
    while (json_array_next(m->value, &cursor, &element.value)) {
        if (json_kind_of(element.value) != JSON_STRING)
            return openai_chat_request_fail(r, m->key, "a string or an array of strings");
        params->stop[params->stop_n++] = json_string_value(element.value, r->arena);
    }
    assert(params->stop_n == n);
    return OK;
}

/* max_completion_tokens counts where both stand. */
static enum error_code read_max_tokens(struct openai_chat_reader *r, struct params *params,
                                       const struct json_member *m)
{
    bool legacy = str_eq(m->key, STR("max_tokens"));
    struct str token = STR_NULL;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    TRY(read_number(r, m, VALUE_INTEGER, &token));
    if (legacy && !str_is_null(params->max_tokens))
        return OK;
    params->max_tokens = token;
    params->max_tokens_was_legacy = legacy;
    return OK;
}

static bool in_head(struct str key)
{
    static const char *const keys[] = {"model", "messages", "stream", "stream_options",
                                       "session_id"};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

static const struct field *find_field(struct str key)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (str_eq(key, str_c(fields[i].key)))
            return &fields[i];
    }
    return NULL;
}

static enum error_code read_member(struct openai_chat_reader *r, struct request *request,
                                   const struct json_member *m)
{
    const struct field *field = find_field(m->key);

    if (field != NULL)
        return read_field(r, &request->params, field, m);
    if (str_eq(m->key, STR("tools")) || str_eq(m->key, STR("functions")))
        return read_tools(r, request, m, str_eq(m->key, STR("functions")));
    if (str_eq(m->key, STR("tool_choice")) || str_eq(m->key, STR("function_call")))
        return read_choice(r, request, m);
    if (str_eq(m->key, STR("response_format")))
        return read_format(r, request, m);
    if (str_eq(m->key, STR("stop")))
        return read_stop(r, &request->params, m);
    if (str_eq(m->key, STR("max_tokens")) || str_eq(m->key, STR("max_completion_tokens")))
        return read_max_tokens(r, &request->params, m);
    if (!in_head(m->key))
        openai_chat_request_keep(r, &request->extra, m, false);
    return OK;
}

static struct str find_extra(const struct extra *extra, struct str key)
{
    while (extra != NULL && !str_eq(extra->key, key))
        extra = extra->next;
    return extra == NULL ? STR_NULL : extra->value;
}

/* The newer name of the same. It stays in extra, where it is written again. */
static void read_user(struct openai_chat_reader *r, struct request *request)
{
    struct str value = find_extra(request->extra, STR("safety_identifier"));

    if (str_is_null(request->params.user) && value.n > 0 && json_kind_of(value) == JSON_STRING)
        request->params.user = json_string_value(value, r->arena);
}

enum error_code openai_chat_params_read(struct openai_chat_reader *r, struct request *request)
{
    assert(r->list == NULL);
    request->params = (struct params){.logprobs = -1,
                                      .parallel_tool_calls = -1,
                                      .reasoning_visible = -1,
                                      .store = -1,
                                      .format.strict = -1};
    request->tools = NULL;
    request->functions = false;
    request->extra = NULL;
    request->tool_choice = TOOL_CHOICE_ABSENT;
    for (size_t i = 0; i < request->index.n; i++)
        TRY(read_member(r, request, &request->index.members[i]));
    openai_chat_reasoning_read(request, r->arena);
    read_user(r, request);
    if (request->functions) /* there is no place for a second one */
        request->params.parallel_tool_calls = 0;
    return check_choice(r, request);
}

/* --- writing ------------------------------------------------------------------------------ */

void openai_chat_params_write_extra(struct buf *out, const struct extra *extra, bool inner)
{
    for (; extra != NULL; extra = extra->next) {
        if (extra->inner != inner)
            continue;
        openai_chat_add_key(out, extra->key);
        buf_add(out, extra->value);
    }
}

static void write_json(struct buf *out, struct str key, struct str value)
{
    if (str_is_null(value))
        return;
    openai_chat_add_key(out, key);
    buf_add(out, value);
}

static void write_string(struct buf *out, struct str key, struct str value)
{
    if (str_is_null(value))
        return;
    openai_chat_add_key(out, key);
    json_add_string(out, value);
}

static void write_bool(struct buf *out, struct str key, int value)
{
    if (value >= 0)
        write_json(out, key, value == 1 ? STR("true") : STR("false"));
}

static void write_tool(struct buf *out, const struct tool *tool)
{
    if (tool->vendor) {
        buf_add(out, tool->source);
        return;
    }
    buf_add(out, tool->custom ? STR("{\"type\":\"custom\",\"custom\":{")
                              : STR("{\"type\":\"function\",\"function\":{"));
    write_string(out, STR("name"), tool->name);
    write_string(out, STR("description"), tool->description);
    write_json(out, STR("parameters"), tool->schema);
    write_json(out, STR("format"), tool->format);
    write_bool(out, STR("strict"), tool->strict);
    openai_chat_params_write_extra(out, tool->extra, true);
    buf_add_char(out, '}');
    write_json(out, STR("cache_control"), tool->cache);
    openai_chat_params_write_extra(out, tool->extra, false);
    buf_add_char(out, '}');
}

static bool is_custom_tool(const struct request *request, struct str name)
{
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (str_eq(tool->name, name))
            return tool->custom;
    }
    return false;
}

/* {"type":"function","function":{"name":…}} */
static void write_named(struct buf *out, const struct request *request, struct str name)
{
    buf_add(out, is_custom_tool(request, name) ? STR("{\"type\":\"custom\",\"custom\":{")
                                               : STR("{\"type\":\"function\",\"function\":{"));
    write_string(out, STR("name"), name);
    buf_add(out, STR("}}"));
}

static void write_subset(struct buf *out, const struct request *request)
{
    buf_add(out, STR("{\"type\":\"allowed_tools\",\"allowed_tools\":{"));
    write_string(out, STR("mode"), request->tool_choice_required ? STR("required") : STR("auto"));
    openai_chat_add_key(out, STR("tools"));
    buf_add_char(out, '[');
    for (size_t i = 0; i < request->tool_choice_names_n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        write_named(out, request, request->tool_choice_names[i]);
    }
    buf_add(out, STR("]}}"));
}

static void write_choice(struct buf *out, const struct request *request)
{
    struct str key = STR("tool_choice");

    switch (request->tool_choice) {
    case TOOL_CHOICE_ABSENT:
        return;
    case TOOL_CHOICE_AUTO:
        write_string(out, key, STR("auto"));
        return;
    case TOOL_CHOICE_NONE:
        write_string(out, key, STR("none"));
        return;
    case TOOL_CHOICE_REQUIRED:
        write_string(out, key, STR("required"));
        return;
    case TOOL_CHOICE_NAMED:
        openai_chat_add_key(out, key);
        assert(request->tool_choice_names_n == 1);
        write_named(out, request, request->tool_choice_names[0]);
        return;
    case TOOL_CHOICE_SUBSET:
        openai_chat_add_key(out, key);
        write_subset(out, request);
        return;
    case TOOL_CHOICE_OTHER:
        write_json(out, key, request->tool_choice_source);
        return;
    }
    BUG("no such tool choice");
}

static void write_field(struct buf *out, const struct params *params, const struct field *field)
{
    const void *from = (const char *)params + field->offset;
    struct str key = str_c(field->key);
    const struct str *text = from;
    const int *flag = from;

    switch (field->kind) {
    case VALUE_NUMBER:
    case VALUE_COUNT:
    case VALUE_INTEGER:
    case VALUE_JSON:
        write_json(out, key, *text);
        return;
    case VALUE_STRING:
        write_string(out, key, *text);
        return;
    case VALUE_BOOL:
        write_bool(out, key, *flag);
        return;
    }
    BUG("no such kind of value");
}

/* As json_schema, which says it all. */
static void write_format(struct buf *out, const struct format *format)
{
    if (format->kind == FORMAT_ABSENT)
        return;
    openai_chat_add_key(out, STR("response_format"));
    if (format->kind == FORMAT_JSON) {
        buf_add(out, STR("{\"type\":\"json_object\"}"));
        return;
    }
    buf_add(out, STR("{\"type\":\"json_schema\",\"json_schema\":{"));
    write_string(out, STR("name"), format->name);
    write_string(out, STR("description"), format->description);
    write_json(out, STR("schema"), format->schema);
    write_bool(out, STR("strict"), format->strict);
    buf_add(out, STR("}}"));
}

/* What vendors' members in extra say is not said twice. */
static void write_said(struct buf *out, const struct request *request, struct arena *arena)
{
    const struct params *params = &request->params;
    struct str identifier = find_extra(request->extra, STR("safety_identifier"));

    if (!openai_chat_reasoning_said(request, arena))
        write_string(out, STR("reasoning_effort"), params->reasoning_effort);
    if (str_is_null(identifier) || !str_eq(json_string_value(identifier, arena), params->user))
        write_string(out, STR("user"), params->user);
    if (str_is_null(find_extra(request->extra, STR("response_format"))))
        write_format(out, &params->format);
}

static void write_stop(struct buf *out, const struct params *params)
{
    if (params->stop_n == 0)
        return;
    openai_chat_add_key(out, STR("stop"));
    buf_add_char(out, '[');
    for (size_t i = 0; i < params->stop_n; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        json_add_string(out, params->stop[i]);
    }
    buf_add_char(out, ']');
}

void openai_chat_params_write(struct buf *out, const struct request *request, struct arena *arena)
{
    const struct params *params = &request->params;

    assert(request->full);
    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        buf_add(out, tool == request->tools ? STR(",\"tools\":[") : STR(","));
        write_tool(out, tool);
    }
    if (request->tools != NULL)
        buf_add_char(out, ']');
    write_choice(out, request);
    write_json(out,
               params->max_tokens_was_legacy ? STR("max_tokens") : STR("max_completion_tokens"),
               params->max_tokens);
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (!fields[i].only_read)
            write_field(out, params, &fields[i]);
    }
    write_said(out, request, arena);
    write_stop(out, params);
    openai_chat_params_write_extra(out, request->extra, false);
}
