/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: a client's request, read.
 *
 * What      The head from the index of the body's root; the conversation on demand.
 * How       All reading is of spans of the body: nothing is copied but strings with escapes, and
 *           every node knows its source. Members that we do not model are kept in `extra`. An
 *           explicit null is an absent member. Leniencies: openai-chat.md, sections 3.1 and 15.
 * Owns      Nothing: all of it lies in the request's arena and the body.
 * Not here  Tools and parameters (openai_chat_params.c), writing (openai_chat_upstream.c).
 *           Whether the request makes sense to a model: the upstream says so.
 */
#include "protocol/openai_chat_priv.h"

/* --- type errors -------------------------------------------------------------------------- */

/* "messages[2].content[0].text" must be … */
enum error_code openai_chat_request_fail(struct openai_chat_reader *r, struct str member,
                                         const char *what)
{
    struct buf path;
    enum error_code code;

    assert(r->e != NULL);
    buf_init(&path, ERROR_DETAIL_SIZE);
    if (r->list != NULL) {
        buf_print(&path, "%s[%zu]", r->list, r->at);
        if (r->inner_list != NULL)
            buf_print(&path, ".%s[%zu]", r->inner_list, r->inner_at);
        if (r->inner != NULL)
            buf_print(&path, ".%s", r->inner);
        if (member.n > 0)
            buf_add_char(&path, '.');
    }
    buf_add(&path, member);
    code = FAIL(r->e, ERR_BAD_REQUEST, "\"%.*s\" must be %s", STR_ARG(buf_str(&path)), what);
    buf_fini(&path);
    return code;
}

/* --- values ------------------------------------------------------------------------------- */

bool openai_chat_request_is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

enum error_code openai_chat_request_string(struct openai_chat_reader *r,
                                           const struct json_member *m, struct str *ret_value)
{
    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_STRING)
        return openai_chat_request_fail(r, m->key, "a string");
    *ret_value = json_string_value(m->value, r->arena);
    return OK;
}

/* -1 stays for null. */
enum error_code openai_chat_request_bool(struct openai_chat_reader *r, const struct json_member *m,
                                         int *ret_value)
{
    enum json_kind kind = json_kind_of(m->value);

    if (kind == JSON_NULL)
        return OK;
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return openai_chat_request_fail(r, m->key, "true or false");
    *ret_value = kind == JSON_TRUE;
    return OK;
}

enum error_code openai_chat_request_object(struct openai_chat_reader *r,
                                           const struct json_member *m, struct str *ret_value)
{
    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_OBJECT)
        return openai_chat_request_fail(r, m->key, "an object");
    *ret_value = m->value;
    return OK;
}

void openai_chat_request_keep(struct openai_chat_reader *r, struct extra **to,
                              const struct json_member *m, bool inner)
{
    struct extra *extra = request_keep(&r->extra_end, to, m, r->arena);

    if (extra != NULL)
        extra->inner = inner;
}

/* --- the head ----------------------------------------------------------------------------- */

static enum error_code read_stream_options(struct openai_chat_reader *r, struct request *request,
                                           const struct json_member *options)
{
    struct str object = STR_NULL;
    struct json_member m;
    size_t cursor = 0;

    TRY(openai_chat_request_object(r, options, &object));
    if (str_is_null(object))
        return OK;
    while (json_object_next(object, &cursor, r->arena, &m)) {
        if (!str_eq(m.key, STR("include_usage")))
            continue;
        m.key = STR("stream_options.include_usage");
        TRY(openai_chat_request_bool(r, &m, &request->include_usage));
    }
    return OK;
}

static enum error_code read_head(struct openai_chat_reader *r, struct request *request)
{
    const struct json_index *index = &request->index;
    const struct json_member *messages = json_index_find(index, STR("messages"));
    int stream = -1;

    for (size_t i = 0; i < index->n; i++) {
        const struct json_member *m = &index->members[i];
        if (str_eq(m->key, STR("model"))) {
            request->model_member = m;
            TRY(openai_chat_request_string(r, m, &request->model));
        } else if (str_eq(m->key, STR("stream"))) {
            TRY(openai_chat_request_bool(r, m, &stream));
        } else if (str_eq(m->key, STR("stream_options"))) {
            TRY(read_stream_options(r, request, m));
        } else if (str_eq(m->key, STR("session_id"))) {
            TRY(openai_chat_request_string(r, m, &request->session_id));
        }
    }
    request->stream = stream == 1;
    /* Said of no stream it means nothing (openai-chat.md, 15). */
    if (!request->stream)
        request->include_usage = -1;
    if (messages == NULL)
        return FAIL(r->e, ERR_BAD_REQUEST, "missing member \"messages\"");
    if (json_kind_of(messages->value) != JSON_ARRAY)
        return openai_chat_request_fail(r, STR("messages"), "an array");
    return OK;
}

enum error_code openai_chat_request_decode(struct str body, const struct request_limits *limits,
                                           struct arena *arena, struct request *ret_request,
                                           struct error *e)
{
    struct openai_chat_reader r = {.arena = arena, .e = e};
    struct request request = {.source = body, .include_usage = -1};

    assert(limits->depth_max > 0);
    TRY(json_index_read(&request.index, body, limits->depth_max, limits->memory, arena, e));
    enum error_code code = read_head(&r, &request);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    *ret_request = request;
    return OK;
}

/* --- content parts ------------------------------------------------------------------------ */

/* Past its cap the arena hands out the same memory again and again: no node may lie there, as
 * strings would be written over its pointers. Such a part is in no list. */
static struct part *add_part(struct openai_chat_reader *r, enum part_kind kind, struct str source)
{
    struct part *part = ARENA_NEW(r->arena, struct part);

    if (arena_overflowed(r->arena)) {
        r->lost = (struct part){.kind = kind, .source = source};
        return &r->lost;
    }
    part->kind = kind;
    part->source = source;
    assert(*r->parts_end == NULL);
    *r->parts_end = part;
    r->parts_end = &part->next;
    return part;
}

/* https URL, or data:TYPE;base64,DATA taken apart. */
static void set_url(struct part *part, struct str url)
{
    size_t marker = str_find(url, STR(";base64,"), 0);

    part->data = url;
    part->is_url = true;
    if (!str_starts_nocase(url, STR("data:")) || marker == SIZE_MAX)
        return;
    part->is_url = false;
    part->media_type = str_from(str_head(url, marker), 5);
    part->data = str_from(url, marker + 8);
}

/* image_url: {url, detail}, or the URL itself. */
static enum error_code read_image(struct openai_chat_reader *r, struct part *part,
                                  const struct json_member *m)
{
    struct str url = STR_NULL;
    struct str object = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_STRING) {
        set_url(part, json_string_value(m->value, r->arena));
        return OK;
    }
    TRY(openai_chat_request_object(r, m, &object));
    r->inner = "image_url";
    while (object.n > 0 && json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("url")))
            TRY(openai_chat_request_string(r, &inner, &url));
        else if (str_eq(inner.key, STR("detail")))
            TRY(openai_chat_request_string(r, &inner, &part->detail));
        else
            openai_chat_request_keep(r, &part->extra, &inner, true);
    }
    if (str_is_null(url))
        return openai_chat_request_fail(r, STR("url"), "a string");
    set_url(part, url);
    r->inner = NULL;
    return OK;
}

static enum error_code read_audio(struct openai_chat_reader *r, struct part *part,
                                  const struct json_member *m)
{
    struct str object = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(openai_chat_request_object(r, m, &object));
    r->inner = "input_audio";
    while (object.n > 0 && json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("data")))
            TRY(openai_chat_request_string(r, &inner, &part->data));
        else if (str_eq(inner.key, STR("format")))
            TRY(openai_chat_request_string(r, &inner, &part->media_type));
        else
            openai_chat_request_keep(r, &part->extra, &inner, true);
    }
    if (str_is_null(part->data))
        return openai_chat_request_fail(r, STR("data"), "a string");
    r->inner = NULL;
    return OK;
}

static enum error_code read_file(struct openai_chat_reader *r, struct part *part,
                                 const struct json_member *m)
{
    struct str object = STR_NULL;
    struct str data = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(openai_chat_request_object(r, m, &object));
    r->inner = "file";
    while (object.n > 0 && json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("filename")))
            TRY(openai_chat_request_string(r, &inner, &part->name));
        else if (str_eq(inner.key, STR("file_id")))
            TRY(openai_chat_request_string(r, &inner, &part->id));
        else if (str_eq(inner.key, STR("file_data")))
            TRY(openai_chat_request_string(r, &inner, &data));
        else
            openai_chat_request_keep(r, &part->extra, &inner, true);
    }
    if (!str_is_null(data))
        set_url(part, data);
    r->inner = NULL;
    return OK;
}

/* Mistral: thinking: a list of text parts, or text. */
static void read_thinking(struct openai_chat_reader *r, struct part *part, struct str value)
{
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(value) == JSON_STRING)
        part->text = json_string_value(value, r->arena);
    if (json_kind_of(value) != JSON_ARRAY)
        return;
    part->text = STR("");
    while (json_array_next(value, &cursor, &element)) {
        if (json_kind_of(element) != JSON_OBJECT)
            continue;
        struct str text = json_string_value(json_fields_find(&r->fields, element, STR("text")),
                                            r->arena);
        part->text = openai_chat_join(r->arena, part->text, text);
    }
}

/* Which kind a part of this type is; names of the Responses protocol leak into this one. */
static enum part_kind part_kind_of(struct str type)
{
    static const struct {
        const char *type;
        enum part_kind kind;
    } types[] = {
        {"text", PART_TEXT},       {"input_text", PART_TEXT},   {"output_text", PART_TEXT},
        {"image_url", PART_IMAGE}, {"input_image", PART_IMAGE}, {"input_audio", PART_AUDIO},
        {"file", PART_FILE},       {"refusal", PART_REFUSAL},   {"thinking", PART_REASONING},
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(type, str_c(types[i].type)))
            return types[i].kind;
    }
    return PART_VENDOR;
}

/* The member that carries what a part of that kind says; *ret_known: it was that one. */
static enum error_code read_part_member(struct openai_chat_reader *r, struct part *part,
                                        const struct json_member *m, bool *ret_known)
{
    *ret_known = true;
    if (part->kind == PART_TEXT && str_eq(m->key, STR("text")))
        return openai_chat_request_string(r, m, &part->text);
    if (part->kind == PART_REFUSAL && str_eq(m->key, STR("refusal")))
        return openai_chat_request_string(r, m, &part->text);
    if (part->kind == PART_IMAGE && str_eq(m->key, STR("image_url")))
        return read_image(r, part, m);
    if (part->kind == PART_IMAGE && str_eq(m->key, STR("detail")))
        return openai_chat_request_string(r, m, &part->detail);
    if (part->kind == PART_AUDIO && str_eq(m->key, STR("input_audio")))
        return read_audio(r, part, m);
    if (part->kind == PART_FILE && str_eq(m->key, STR("file")))
        return read_file(r, part, m);
    if (part->kind == PART_REASONING && str_eq(m->key, STR("thinking"))) {
        read_thinking(r, part, m->value);
        return OK;
    }
    *ret_known = false;
    return OK;
}

/* What a part of its kind cannot be without. */
static enum error_code check_part(struct openai_chat_reader *r, const struct part *part)
{
    if ((part->kind == PART_TEXT || part->kind == PART_REFUSAL) && str_is_null(part->text))
        return openai_chat_request_fail(r, part->kind == PART_TEXT ? STR("text") : STR("refusal"),
                                        "a string");
    if (part->kind == PART_IMAGE && str_is_null(part->data))
        return openai_chat_request_fail(r, STR("image_url"), "an object");
    if (part->kind == PART_AUDIO && str_is_null(part->data))
        return openai_chat_request_fail(r, STR("input_audio"), "an object");
    if (part->kind == PART_FILE && str_is_null(part->data) && str_is_null(part->id))
        return openai_chat_request_fail(r, STR("file"), "an object with file_data or file_id");
    return OK;
}

static enum error_code read_part(struct openai_chat_reader *r, struct str source)
{
    struct json_member m = {.key = STR("type")};
    struct str type = STR_NULL;
    size_t cursor = 0;
    bool known;

    if (json_kind_of(source) != JSON_OBJECT)
        return openai_chat_request_fail(r, STR_NULL, "an object");
    m.value = json_fields_find(&r->fields, source, STR("type"));
    if (!str_is_null(m.value))
        TRY(openai_chat_request_string(r, &m, &type));
    if (str_is_null(type))
        return openai_chat_request_fail(r, STR("type"), "a string");

    struct part *part = add_part(r, part_kind_of(type), source);
    if (part->kind == PART_VENDOR) {
        part->name = type;
        return OK;
    }
    while (json_fields_next(&r->fields, source, &cursor, r->arena, &m)) {
        if (str_eq(m.key, STR("type")))
            continue;
        TRY(read_part_member(r, part, &m, &known));
        if (!known && str_eq(m.key, STR("cache_control")))
            TRY(openai_chat_request_object(r, &m, &part->cache));
        else if (!known)
            openai_chat_request_keep(r, &part->extra, &m, false);
    }
    if (part->kind == PART_REASONING && str_is_null(part->text))
        part->text = STR("");
    return check_part(r, part);
}

static enum error_code read_content(struct openai_chat_reader *r, struct turn *turn,
                                    const struct json_member *m)
{
    enum json_kind kind = json_kind_of(m->value);
    struct str element;
    size_t cursor = 0;

    if (kind == JSON_NULL)
        return OK;
    turn->content_was_null = false;
    if (kind == JSON_STRING) {
        turn->content_was_text = true;
        add_part(r, PART_TEXT, m->value)->text = json_string_value(m->value, r->arena);
        return OK;
    }
    if (kind != JSON_ARRAY)
        return openai_chat_request_fail(r, m->key, "a string or an array");
    assert(r->list != NULL && r->inner_list == NULL);
    r->inner_list = "content";
    for (r->inner_at = 0; json_array_next(m->value, &cursor, &element); r->inner_at++)
        TRY(read_part(r, element));
    r->inner_list = NULL;
    return OK;
}

/* --- tool calls of an assistant turn ------------------------------------------------------ */

/* {name, arguments} or {name, input}. */
static enum error_code read_called(struct openai_chat_reader *r, struct part *part,
                                   const struct json_member *m)
{
    struct str object = STR_NULL;
    struct json_member inner;
    size_t cursor = 0;

    TRY(openai_chat_request_object(r, m, &object));
    r->inner = part->custom ? "custom" : "function";
    while (object.n > 0 && json_object_next(object, &cursor, r->arena, &inner)) {
        if (str_eq(inner.key, STR("name")))
            TRY(openai_chat_request_string(r, &inner, &part->name));
        else if (str_eq(inner.key, part->custom ? STR("input") : STR("arguments")))
            TRY(openai_chat_request_string(r, &inner, &part->text));
        else
            openai_chat_request_keep(r, &part->extra, &inner, true);
    }
    if (str_is_null(part->name))
        return openai_chat_request_fail(r, STR("name"), "a string");
    if (str_is_null(part->text))
        part->text = STR("");
    r->inner = NULL;
    return OK;
}

static enum error_code read_call(struct openai_chat_reader *r, struct str source)
{
    struct json_member m;
    size_t cursor = 0;

    if (json_kind_of(source) != JSON_OBJECT)
        return openai_chat_request_fail(r, STR_NULL, "an object");
    struct part *part = add_part(r, PART_TOOL_CALL, source);
    part->custom =
        openai_chat_request_is_null(json_fields_find(&r->fields, source, STR("function"))) &&
        !openai_chat_request_is_null(json_fields_find(&r->fields, source, STR("custom")));
    while (json_fields_next(&r->fields, source, &cursor, r->arena, &m)) {
        if (str_eq(m.key, part->custom ? STR("custom") : STR("function")))
            TRY(read_called(r, part, &m));
        else if (str_eq(m.key, STR("id")))
            TRY(openai_chat_request_string(r, &m, &part->id));
        else if (!str_eq(m.key, STR("type")))
            openai_chat_request_keep(r, &part->extra, &m, false);
    }
    if (str_is_null(part->id))
        return openai_chat_request_fail(r, STR("id"), "a string");
    if (str_is_null(part->name))
        return openai_chat_request_fail(r, STR("function"), "an object");
    part->signature = openai_chat_reasoning_signature(part->extra, r->arena);
    return OK;
}

static enum error_code read_calls(struct openai_chat_reader *r, const struct json_member *m)
{
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    if (json_kind_of(m->value) != JSON_ARRAY)
        return openai_chat_request_fail(r, m->key, "an array");
    assert(r->list != NULL && r->inner_list == NULL);
    r->inner_list = "tool_calls";
    for (r->inner_at = 0; json_array_next(m->value, &cursor, &element); r->inner_at++)
        TRY(read_call(r, element));
    r->inner_list = NULL;
    return OK;
}

/* function_call, of before there were tool calls: gets an id, which the answer to it will find. */
static enum error_code read_legacy_call(struct openai_chat_reader *r, const struct json_member *m)
{
    if (json_kind_of(m->value) == JSON_NULL)
        return OK;
    struct part *part = add_part(r, PART_TOOL_CALL, m->value);
    part->id = str_print(r->arena, "call_legacy_%zu", r->at);
    r->legacy_call = part;
    return read_called(r, part, m);
}

/* --- turns -------------------------------------------------------------------------------- */

static enum error_code read_role(struct openai_chat_reader *r, struct str source,
                                 enum role *ret_role, bool *ret_legacy)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {
        {"user", ROLE_USER}, {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM},
        {"tool", ROLE_TOOL}, {"developer", ROLE_DEVELOPER}, {"function", ROLE_TOOL},
    };
    struct json_member m = {.key = STR("role"),
                            .value = json_fields_find(&r->message, source, STR("role"))};
    struct str word = STR_NULL;

    if (!str_is_null(m.value))
        TRY(openai_chat_request_string(r, &m, &word));
    if (str_is_null(word))
        return openai_chat_request_fail(r, m.key, "a string");
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (!str_eq(word, str_c(roles[i].word)))
            continue;
        *ret_role = roles[i].role;
        *ret_legacy = str_eq(word, STR("function"));
        return OK;
    }
    return openai_chat_request_fail(r, m.key,
                                    "one of developer, system, user, assistant, tool and function");
}

/* A member of the message that is text of its own kind. */
static enum error_code read_said(struct openai_chat_reader *r, struct turn *turn, const char *key,
                                 enum part_kind kind)
{
    struct json_member m = {.key = str_c(key),
                            .value = json_fields_find(&r->message, turn->source, str_c(key))};
    struct str text = STR_NULL;

    if (str_is_null(m.value))
        return OK;
    TRY(openai_chat_request_string(r, &m, &text));
    if (str_is_null(text))
        return OK;
    struct part *part = add_part(r, kind, m.value);
    part->text = text;
    part->name = m.key;
    return OK;
}

/* reasoning_details, element by element; false: it is no list of objects, or not there. */
static bool read_details(struct openai_chat_reader *r, const struct turn *turn)
{
    struct str list = json_fields_find(&r->message, turn->source, STR("reasoning_details"));
    struct part **begin = r->parts_end;
    struct str element;
    size_t cursor = 0;

    if (list.n == 0 || json_kind_of(list) != JSON_ARRAY)
        return false;
    while (json_array_next(list, &cursor, &element)) {
        struct part *part = add_part(r, PART_REASONING, element);
        part->name = STR("reasoning_details");
        if (openai_chat_reasoning_detail(part, r->arena))
            continue;
        *begin = NULL;
        r->parts_end = begin;
        return false;
    }
    return r->parts_end != begin;
}

/* What read_said takes of an assistant's message. */
static bool is_said(struct str key)
{
    return str_eq(key, STR("reasoning_content")) || str_eq(key, STR("reasoning")) ||
           str_eq(key, STR("refusal"));
}

static enum error_code read_assistant_member(struct openai_chat_reader *r, struct turn *turn,
                                             const struct json_member *m)
{
    if (is_said(m->key) || (r->details && str_eq(m->key, STR("reasoning_details"))))
        return OK;
    if (str_eq(m->key, STR("tool_calls")))
        return read_calls(r, m);
    if (str_eq(m->key, STR("function_call")))
        return read_legacy_call(r, m);
    openai_chat_request_keep(r, &turn->extra, m, false);
    return OK;
}

static enum error_code read_member(struct openai_chat_reader *r, struct turn *turn,
                                   const struct json_member *m)
{
    if (str_eq(m->key, STR("role")) || str_eq(m->key, STR("content")))
        return OK;
    if (str_eq(m->key, STR("name")))
        return openai_chat_request_string(r, m, &turn->name);
    if (turn->role == ROLE_ASSISTANT)
        return read_assistant_member(r, turn, m);
    if (turn->role == ROLE_TOOL && str_eq(m->key, STR("tool_call_id")))
        return OK;
    if (turn->role == ROLE_TOOL && str_eq(m->key, STR("cache_control")))
        return openai_chat_request_object(r, m, &turn->parts->cache);
    openai_chat_request_keep(r, &turn->extra, m, false);
    return OK;
}

static enum error_code read_members(struct openai_chat_reader *r, struct turn *turn)
{
    struct json_member m;
    size_t cursor = 0;

    while (json_fields_next(&r->message, turn->source, &cursor, r->arena, &m))
        TRY(read_member(r, turn, &m));
    return OK;
}

/* What a result says: parts of its own. */
static enum error_code read_result_content(struct openai_chat_reader *r, struct turn *turn,
                                           struct part *part, const struct json_member *content)
{
    turn->content_was_null = openai_chat_request_is_null(content->value);
    if (turn->content_was_null)
        return OK;
    r->parts_end = &part->parts;
    if (json_kind_of(content->value) == JSON_STRING) {
        part->was_text = true;
        add_part(r, PART_TEXT, content->value)->text = json_string_value(content->value, r->arena);
    } else {
        TRY(read_content(r, turn, content));
    }
    r->parts_end = &part->next;
    return OK;
}

/* The result that a tool turn is. */
static enum error_code read_result(struct openai_chat_reader *r, struct turn *turn, bool legacy)
{
    struct json_member m = {.key = STR("tool_call_id"),
                            .value = json_fields_find(&r->message, turn->source,
                                                      STR("tool_call_id"))};
    struct json_member content = {.key = STR("content"),
                                  .value = json_fields_find(&r->message, turn->source,
                                                            STR("content"))};
    struct part *part = add_part(r, PART_TOOL_RESULT, content.value);

    assert(turn->role == ROLE_TOOL && (turn->parts == part || part == &r->lost));
    if (legacy)
        part->id = r->legacy_call != NULL ? r->legacy_call->id : STR("call_legacy");
    else if (!str_is_null(m.value))
        TRY(openai_chat_request_string(r, &m, &part->id));
    if (str_is_null(part->id))
        return openai_chat_request_fail(r, m.key, "a string");
    /* Past the arena's cap there is no such node, and the request is refused. */
    if (turn->parts != part)
        return OK;
    TRY(read_result_content(r, turn, part, &content));
    TRY(read_members(r, turn));
    part->name = turn->name;
    return OK;
}

/* The order of an answer: reasoning, what was said, refusal, calls. */
static enum error_code read_turn(struct openai_chat_reader *r, struct turn *turn)
{
    struct json_member content = {.key = STR("content"),
                                  .value = json_fields_find(&r->message, turn->source,
                                                            STR("content"))};
    bool legacy = false;

    TRY(read_role(r, turn->source, &turn->role, &legacy));
    if (turn->role == ROLE_TOOL)
        return read_result(r, turn, legacy);
    if (turn->role == ROLE_ASSISTANT) {
        TRY(read_said(r, turn, "reasoning_content", PART_REASONING));
        TRY(read_said(r, turn, "reasoning", PART_REASONING));
        r->details = read_details(r, turn);
    }
    turn->content_was_null = true;
    if (!str_is_null(content.value))
        TRY(read_content(r, turn, &content));
    if (turn->role == ROLE_ASSISTANT)
        TRY(read_said(r, turn, "refusal", PART_REFUSAL));
    return read_members(r, turn);
}

static enum error_code read_turns(struct openai_chat_reader *r, struct request *request)
{
    const struct json_member *messages = json_index_find(&request->index, STR("messages"));
    struct turn **to = &request->turns;
    struct str element;
    size_t cursor = 0;

    assert(messages != NULL);
    r->list = "messages";
    for (r->at = 0; json_array_next(messages->value, &cursor, &element); r->at++) {
        if (json_kind_of(element) != JSON_OBJECT)
            return openai_chat_request_fail(r, STR_NULL, "an object");
        struct turn *turn = ARENA_NEW(r->arena, struct turn);
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "the conversation does not fit into memory");
        turn->source = element;
        r->parts_end = &turn->parts;
        *to = turn;
        to = &turn->next;
        enum error_code code = read_turn(r, turn);
        /* What it says of lost text may not be so. */
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "the conversation does not fit into memory");
        TRY(code);
    }
    r->list = NULL;
    return OK;
}

enum error_code openai_chat_request_decode_full(struct request *request,
                                                const struct request_limits *limits,
                                                struct arena *arena, struct error *e)
{
    struct openai_chat_reader r = {.arena = arena, .e = e};

    (void)limits; /* the depth was checked with the head */
    if (request->full)
        return OK;
    assert(!str_is_null(request->source));
    request->turns = NULL;
    TRY(read_turns(&r, request));
    enum error_code code = openai_chat_params_read(&r, request);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    request->full = true;
    return OK;
}
