/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: a client's request, read.
 *
 * What      The head from the index of the body's root; the conversation on demand.
 * How       All reading is of spans of the body. Items become turns: a message begins one, and what
 *           the model did (reasoning, calls) joins the assistant's turn before it; outputs of calls
 *           are turns of role TOOL. Items of tools that the vendor runs are PART_VENDOR. What no
 *           other protocol can say, and must not be left out, is noted in request.bound.
 * Owns      Nothing: all of it lies in the request's arena and the body.
 * Not here  Tools and parameters (openai_responses_params.c), writing
 *           (openai_responses_upstream.c), what previous_response_id stands for (gateway).
 */
#include "protocol/openai_responses_priv.h"

#include "canon/media.h"

/* --- type errors -------------------------------------------------------------------------- */

/* "input[2].content[0].text" must be … */
enum error_code openai_responses_request_fail(struct openai_responses_reader *r, struct str member,
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
        if (member.n > 0)
            buf_add_char(&path, '.');
    }
    buf_add(&path, member);
    code = FAIL(r->e, ERR_BAD_REQUEST, "\"%.*s\" must be %s", STR_ARG(buf_str(&path)), what);
    buf_fini(&path);
    return code;
}

/* --- values ------------------------------------------------------------------------------- */

bool openai_responses_request_is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

enum error_code openai_responses_request_string(struct openai_responses_reader *r,
                                                const struct json_member *m, struct str *ret_value)
{
    if (openai_responses_request_is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_STRING)
        return openai_responses_request_fail(r, m->key, "a string");
    *ret_value = json_string_value(m->value, r->arena);
    return OK;
}

enum error_code openai_responses_request_bool(struct openai_responses_reader *r,
                                              const struct json_member *m, int *ret_value)
{
    if (openai_responses_request_is_null(m->value))
        return OK;
    enum json_kind kind = json_kind_of(m->value);
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return openai_responses_request_fail(r, m->key, "true or false");
    *ret_value = kind == JSON_TRUE;
    return OK;
}

enum error_code openai_responses_request_object(struct openai_responses_reader *r,
                                                const struct json_member *m, struct str *ret_value)
{
    if (openai_responses_request_is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_OBJECT)
        return openai_responses_request_fail(r, m->key, "an object");
    *ret_value = m->value;
    return OK;
}

void openai_responses_request_keep(struct openai_responses_reader *r, struct extra **to,
                                   const struct json_member *m)
{
    (void)request_keep(&r->extra_end, to, m, r->arena);
}

static struct json_member member_of(struct openai_responses_reader *r, struct str object,
                                    const char *key)
{
    return (struct json_member){.key = str_c(key),
                                .value = json_fields_find(&r->fields, object, str_c(key))};
}

/* --- the head ----------------------------------------------------------------------------- */

static bool has_value(const struct request *request, const char *key)
{
    const struct json_member *m = json_index_find(&request->index, str_c(key));

    return m != NULL && json_kind_of(m->value) != JSON_NULL;
}

static enum error_code check_head(struct openai_responses_reader *r, const struct request *request,
                                  enum operation operation)
{
    const struct json_member *input = json_index_find(&request->index, STR("input"));
    bool prompt = has_value(request, "prompt");

    if (str_is_null(request->model) && !prompt && operation == OP_GENERATE)
        return FAIL(r->e, ERR_BAD_REQUEST, "missing member \"model\"");
    if (!str_is_null(request->previous) && has_value(request, "conversation"))
        return FAIL(r->e, ERR_BAD_REQUEST,
                    "\"previous_response_id\" and \"conversation\" exclude each other");
    if (input == NULL || json_kind_of(input->value) == JSON_NULL) {
        if (prompt || !str_is_null(request->previous) || has_value(request, "conversation"))
            return OK;
        return FAIL(r->e, ERR_BAD_REQUEST, "missing member \"input\"");
    }
    if (json_kind_of(input->value) != JSON_ARRAY && json_kind_of(input->value) != JSON_STRING)
        return openai_responses_request_fail(r, input->key, "a string or an array");
    return OK;
}

static enum error_code read_head(struct openai_responses_reader *r, struct request *request,
                                 enum operation operation)
{
    int stream = -1;

    for (size_t i = 0; i < request->index.n; i++) {
        const struct json_member *m = &request->index.members[i];
        if (str_eq(m->key, STR("model"))) {
            request->model_member = m;
            TRY(openai_responses_request_string(r, m, &request->model));
        } else if (str_eq(m->key, STR("stream"))) {
            TRY(openai_responses_request_bool(r, m, &stream));
        } else if (str_eq(m->key, STR("previous_response_id"))) {
            TRY(openai_responses_request_string(r, m, &request->previous));
        } else if (str_eq(m->key, STR("session_id"))) {
            TRY(openai_responses_request_string(r, m, &request->session_id));
        }
    }
    request->stream = stream == 1;
    return check_head(r, request, operation);
}

enum error_code openai_responses_request_decode(struct str body,
                                                const struct request_limits *limits,
                                                struct arena *arena, struct request *ret_request,
                                                struct error *e)
{
    struct openai_responses_reader r = {.arena = arena, .e = e};
    struct request request = {.source = body, .include_usage = -1};

    assert(limits->depth_max > 0);
    TRY(json_index_read(&request.index, body, limits->depth_max, limits->memory, arena, e));
    enum error_code code = read_head(&r, &request, limits->operation);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    *ret_request = request;
    return OK;
}

/* --- turns and parts ---------------------------------------------------------------------- */

/* Nodes must not lie where an overflowed arena hands out the same memory again: then NULL, and
 * the reading ends. */
static struct turn *add_turn(struct openai_responses_reader *r, enum role role, struct str source)
{
    struct turn *turn = ARENA_NEW(r->arena, struct turn);

    if (arena_overflowed(r->arena))
        return NULL;
    turn->role = role;
    turn->source = source;
    *r->turns_end = turn;
    r->turns_end = &turn->next;
    r->turn = turn;
    r->parts_end = &turn->parts;
    return turn;
}

/* Appends to *end (the last turn's parts, or a result's own). Without memory: one in no list. */
static struct part *add_part(struct openai_responses_reader *r, struct part ***end,
                             enum part_kind kind, struct str source)
{
    struct part *part = ARENA_NEW(r->arena, struct part);

    if (arena_overflowed(r->arena)) {
        r->lost = (struct part){.kind = kind, .source = source};
        return &r->lost;
    }
    part->kind = kind;
    part->source = source;
    assert(**end == NULL);
    **end = part;
    *end = &part->next;
    return part;
}

/* The turn of that role that an item joins, else a new one. */
static bool join_turn(struct openai_responses_reader *r, enum role role, struct str source)
{
    if (r->turn != NULL && r->turn->role == role)
        return true;
    return add_turn(r, role, source) != NULL;
}

static struct part *add_to_turn(struct openai_responses_reader *r, enum role role,
                                enum part_kind kind, struct str source)
{
    if (!join_turn(r, role, source)) {
        r->lost = (struct part){.kind = kind, .source = source};
        return &r->lost;
    }
    return add_part(r, &r->parts_end, kind, source);
}

/* No other protocol has it, and without it the context would be another one. */
static void bind_context(struct openai_responses_reader *r)
{
    if (str_is_null(r->request->bound))
        r->request->bound = str_print(r->arena, "%s[%zu]", r->list, r->at);
}

/* --- content parts ------------------------------------------------------------------------ */

/* A URL, or {url, detail} as in Chat Completions. */
static enum error_code read_image(struct openai_responses_reader *r, struct part *part,
                                  struct str source)
{
    struct json_member m = member_of(r, source, "image_url");
    struct str url = STR_NULL;

    if (m.value.n > 0 && json_kind_of(m.value) == JSON_OBJECT) {
        struct json_member detail = member_of(r, m.value, "detail");
        TRY(openai_responses_request_string(r, &detail, &part->detail));
        m = member_of(r, m.value, "url");
        m.key = STR("image_url.url");
    }
    TRY(openai_responses_request_string(r, &m, &url));
    if (!str_is_null(url))
        media_set_url(part, url);
    m = member_of(r, source, "file_id");
    TRY(openai_responses_request_string(r, &m, &part->id));
    m = member_of(r, source, "detail");
    TRY(openai_responses_request_string(r, &m, &part->detail));
    if (str_is_null(part->data) && str_is_null(part->id))
        return openai_responses_request_fail(r, STR("image_url"), "a string");
    return OK;
}

/* Data is a data URL, or bare base64. */
static enum error_code read_file(struct openai_responses_reader *r, struct part *part,
                                 struct str source)
{
    struct json_member id = member_of(r, source, "file_id");
    struct json_member name = member_of(r, source, "filename");
    struct json_member data = member_of(r, source, "file_data");
    struct json_member url = member_of(r, source, "file_url");
    struct str text = STR_NULL;

    TRY(openai_responses_request_string(r, &id, &part->id));
    TRY(openai_responses_request_string(r, &name, &part->name));
    TRY(openai_responses_request_string(r, &data, &part->data));
    TRY(openai_responses_request_string(r, &url, &text));
    if (str_starts_nocase(part->data, STR("data:")))
        text = part->data;
    if (!str_is_null(text))
        media_set_url(part, text);
    if (str_is_null(part->data) && str_is_null(part->id))
        return openai_responses_request_fail(r, STR_NULL,
                                             "a file with file_data, file_url or file_id");
    return OK;
}

static enum error_code read_audio(struct openai_responses_reader *r, struct part *part,
                                  struct str source)
{
    struct json_member m = member_of(r, source, "input_audio");
    struct str object = STR_NULL;

    TRY(openai_responses_request_object(r, &m, &object));
    if (str_is_null(object))
        return openai_responses_request_fail(r, m.key, "an object");
    struct json_member data = member_of(r, object, "data");
    struct json_member format = member_of(r, object, "format");
    data.key = STR("input_audio.data");
    format.key = STR("input_audio.format");
    TRY(openai_responses_request_string(r, &data, &part->data));
    TRY(openai_responses_request_string(r, &format, &part->media_type));
    if (str_is_null(part->data))
        return openai_responses_request_fail(r, data.key, "a string");
    return OK;
}

static enum error_code read_text(struct openai_responses_reader *r, struct part *part,
                                 struct str source)
{
    struct json_member m = member_of(r, source, part->kind == PART_REFUSAL ? "refusal" : "text");
    struct str annotations = json_fields_find(&r->fields, source, STR("annotations"));
    struct str first;
    size_t cursor = 0;

    TRY(openai_responses_request_string(r, &m, &part->text));
    if (str_is_null(part->text))
        return openai_responses_request_fail(r, m.key, "a string");
    if (annotations.n > 0 && json_kind_of(annotations) == JSON_ARRAY &&
        json_array_next(annotations, &cursor, &first))
        part->citations = annotations;
    return OK;
}

static enum part_kind part_kind_of(struct str type)
{
    static const struct {
        const char *type;
        enum part_kind kind;
    } types[] = {
        {"input_text", PART_TEXT},   {"output_text", PART_TEXT},  {"text", PART_TEXT},
        {"input_image", PART_IMAGE}, {"image_url", PART_IMAGE},   {"input_file", PART_FILE},
        {"refusal", PART_REFUSAL},   {"input_audio", PART_AUDIO},
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(type, str_c(types[i].type)))
            return types[i].kind;
    }
    return PART_VENDOR;
}

/* Members that a part's kind has, and we model. */
static bool part_has(struct str key)
{
    static const char *const keys[] = {
        "type",    "text",      "refusal",  "annotations", "image_url",   "detail",
        "file_id", "file_data", "file_url", "filename",    "input_audio", "logprobs",
    };

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

static enum error_code read_part(struct openai_responses_reader *r, struct part ***end,
                                 struct str source)
{
    struct json_member m;
    struct str type = STR_NULL;
    size_t cursor = 0;

    if (json_kind_of(source) != JSON_OBJECT)
        return openai_responses_request_fail(r, STR_NULL, "an object");
    m = member_of(r, source, "type");
    TRY(openai_responses_request_string(r, &m, &type));
    if (str_is_null(type))
        return openai_responses_request_fail(r, m.key, "a string");
    struct part *part = add_part(r, end, part_kind_of(type), source);
    if (part->kind == PART_VENDOR) {
        part->name = type;
        return OK;
    }
    while (json_object_next(source, &cursor, r->arena, &m)) {
        if (!part_has(m.key))
            openai_responses_request_keep(r, &part->extra, &m);
    }
    if (part->kind == PART_IMAGE)
        return read_image(r, part, source);
    if (part->kind == PART_FILE)
        return read_file(r, part, source);
    if (part->kind == PART_AUDIO)
        return read_audio(r, part, source);
    return read_text(r, part, source);
}

static enum error_code read_parts(struct openai_responses_reader *r, struct part ***end,
                                  const char *list, struct str array)
{
    struct str element;
    size_t cursor = 0;

    assert(r->inner_list == NULL);
    r->inner_list = list;
    for (r->inner_at = 0; json_array_next(array, &cursor, &element); r->inner_at++)
        TRY(read_part(r, end, element));
    r->inner_list = NULL;
    return OK;
}

/* --- messages ----------------------------------------------------------------------------- */

static enum error_code read_role(struct openai_responses_reader *r, struct str source,
                                 enum role *ret_role)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {
        {"user", ROLE_USER},
        {"assistant", ROLE_ASSISTANT},
        {"system", ROLE_SYSTEM},
        {"developer", ROLE_DEVELOPER},
    };
    struct json_member m = member_of(r, source, "role");
    struct str word = STR_NULL;

    TRY(openai_responses_request_string(r, &m, &word));
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (!str_eq(word, str_c(roles[i].word)))
            continue;
        *ret_role = roles[i].role;
        return OK;
    }
    return openai_responses_request_fail(r, m.key, "one of user, assistant, system and developer");
}

/* An assistant's text joins the reasoning before it, but not another message's text. */
static bool joins(const struct turn *turn, struct str phase)
{
    if (turn == NULL || turn->role != ROLE_ASSISTANT)
        return false;
    if (!str_is_null(turn->phase) && !str_eq(turn->phase, phase))
        return false;
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_REASONING)
            return false;
    }
    return true;
}

static bool message_has(struct str key)
{
    static const char *const keys[] = {"type", "role", "content", "phase", "id", "status"};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

static enum error_code read_message(struct openai_responses_reader *r, struct str source)
{
    struct json_member content = member_of(r, source, "content");
    struct json_member phase = member_of(r, source, "phase");
    struct json_member m;
    struct str word = STR_NULL;
    enum role role = ROLE_USER;
    size_t cursor = 0;

    TRY(read_role(r, source, &role));
    TRY(openai_responses_request_string(r, &phase, &word));
    if (role != ROLE_ASSISTANT || !joins(r->turn, word)) {
        if (add_turn(r, role, source) == NULL)
            return OK; /* who called sees the arena */
    }
    r->turn->phase = word;
    while (json_object_next(source, &cursor, r->arena, &m)) {
        if (!message_has(m.key))
            openai_responses_request_keep(r, &r->turn->extra, &m);
    }
    if (openai_responses_request_is_null(content.value)) {
        r->turn->content_was_null = true;
        return OK;
    }
    if (json_kind_of(content.value) == JSON_STRING) {
        r->turn->content_was_text = true;
        add_part(r, &r->parts_end, PART_TEXT, content.value)->text =
            json_string_value(content.value, r->arena);
        return OK;
    }
    if (json_kind_of(content.value) != JSON_ARRAY)
        return openai_responses_request_fail(r, content.key, "a string or an array");
    return read_parts(r, &r->parts_end, "content", content.value);
}

/* --- calls and their outputs -------------------------------------------------------------- */

static enum error_code read_call(struct openai_responses_reader *r, struct str source, bool custom)
{
    struct part *part = add_to_turn(r, ROLE_ASSISTANT, PART_TOOL_CALL, source);
    struct json_member id = member_of(r, source, "call_id");
    struct json_member name = member_of(r, source, "name");
    struct json_member text = member_of(r, source, custom ? "input" : "arguments");
    struct json_member space = member_of(r, source, "namespace");
    struct str space_name = STR_NULL;

    part->custom = custom;
    TRY(openai_responses_request_string(r, &id, &part->id));
    TRY(openai_responses_request_string(r, &name, &part->name));
    TRY(openai_responses_request_string(r, &text, &part->text));
    TRY(openai_responses_request_string(r, &space, &space_name));
    if (str_is_null(part->id))
        return openai_responses_request_fail(r, id.key, "a string");
    if (str_is_null(part->name))
        return openai_responses_request_fail(r, name.key, "a string");
    if (str_is_null(part->text))
        part->text = STR("");
    if (!str_is_null(space_name))
        part->name = openai_responses_params_full_name(r->arena, space_name, part->name);
    return OK;
}

static enum error_code read_output(struct openai_responses_reader *r, struct str source,
                                   bool custom)
{
    struct part *part = add_to_turn(r, ROLE_TOOL, PART_TOOL_RESULT, source);
    struct json_member id = member_of(r, source, "call_id");
    struct json_member name = member_of(r, source, "name");
    struct json_member output = member_of(r, source, "output");
    struct part **end = &part->parts;

    part->custom = custom;
    TRY(openai_responses_request_string(r, &id, &part->id));
    TRY(openai_responses_request_string(r, &name, &part->name));
    if (str_is_null(part->id))
        return openai_responses_request_fail(r, id.key, "a string");
    if (openai_responses_request_is_null(output.value))
        return OK;
    if (json_kind_of(output.value) == JSON_STRING) {
        part->was_text = true;
        add_part(r, &end, PART_TEXT, output.value)->text = json_string_value(output.value,
                                                                             r->arena);
        return OK;
    }
    if (json_kind_of(output.value) != JSON_ARRAY)
        return openai_responses_request_fail(r, output.key, "a string or an array");
    return read_parts(r, &end, "output", output.value);
}

/* --- reasoning ---------------------------------------------------------------------------- */

/* The texts of a list's elements, a blank line between them, appended to out. */
static enum error_code join_texts(struct openai_responses_reader *r, struct str array,
                                  struct buf *out)
{
    struct str element;
    size_t cursor = 0;

    for (r->inner_at = 0; json_array_next(array, &cursor, &element); r->inner_at++) {
        struct str text = STR_NULL;
        if (json_kind_of(element) != JSON_OBJECT)
            return openai_responses_request_fail(r, STR_NULL, "an object");
        struct json_member inner = member_of(r, element, "text");
        TRY(openai_responses_request_string(r, &inner, &text));
        if (text.n > 0 && out->n > 0)
            buf_add(out, STR("\n\n"));
        buf_add(out, text);
    }
    return OK;
}

static enum error_code read_texts(struct openai_responses_reader *r, struct str source,
                                  const char *list, struct str *ret_text)
{
    struct json_member m = member_of(r, source, list);
    struct buf out;

    if (openai_responses_request_is_null(m.value))
        return OK;
    if (json_kind_of(m.value) != JSON_ARRAY)
        return openai_responses_request_fail(r, m.key, "an array");
    r->inner_list = list;
    buf_init(&out, source.n * 3); /* U+FFFD is three bytes */
    enum error_code code = join_texts(r, m.value, &out);
    *ret_text = str_copy(r->arena, buf_str(&out));
    buf_fini(&out);
    TRY(code);
    r->inner_list = NULL;
    return OK;
}

static enum error_code read_reasoning(struct openai_responses_reader *r, struct str source)
{
    struct part *part = add_to_turn(r, ROLE_ASSISTANT, PART_REASONING, source);
    struct json_member id = member_of(r, source, "id");
    struct json_member encrypted = member_of(r, source, "encrypted_content");

    TRY(openai_responses_request_string(r, &id, &part->id));
    TRY(openai_responses_request_string(r, &encrypted, &part->signature));
    TRY(read_texts(r, source, "summary", &part->text));
    part->summary = part->text.n > 0;
    if (!part->summary)
        TRY(read_texts(r, source, "content", &part->text));
    if (str_is_null(part->text))
        part->text = STR("");
    part->redacted = part->text.n == 0 && !str_is_null(part->signature);
    return OK;
}

/* --- items -------------------------------------------------------------------------------- */

static bool is_context(struct str type)
{
    static const char *const types[] = {"item_reference", "compaction", "compaction_trigger",
                                        "program", "program_output"};

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(type, str_c(types[i])))
            return true;
    }
    return false;
}

/* What the vendor runs, and what we do not know. */
static enum error_code read_other(struct openai_responses_reader *r, struct str source,
                                  struct str type)
{
    if (is_context(type))
        bind_context(r);
    if (str_eq(type, STR("additional_tools"))) {
        struct json_member tools = member_of(r, source, "tools");
        if (str_is_null(tools.value))
            return openai_responses_request_fail(r, tools.key, "an array");
        return openai_responses_params_tools(r, &tools);
    }
    add_to_turn(r, ROLE_ASSISTANT, PART_VENDOR, source)->name = type;
    return OK;
}

static enum error_code read_item(struct openai_responses_reader *r, struct str source)
{
    struct json_member m;
    struct str type = STR_NULL;

    if (json_kind_of(source) != JSON_OBJECT)
        return openai_responses_request_fail(r, STR_NULL, "an object");
    m = member_of(r, source, "type");
    TRY(openai_responses_request_string(r, &m, &type));
    if (str_is_null(type)) {
        bool reference = str_is_null(json_fields_find(&r->fields, source, STR("role"))) &&
                         !str_is_null(json_fields_find(&r->fields, source, STR("id")));
        type = reference ? STR("item_reference") : STR("message");
    }
    if (str_eq(type, STR("message")))
        return read_message(r, source);
    if (str_eq(type, STR("function_call")) || str_eq(type, STR("custom_tool_call")))
        return read_call(r, source, type.p[0] == 'c');
    if (str_eq(type, STR("function_call_output")) || str_eq(type, STR("custom_tool_call_output")))
        return read_output(r, source, type.p[0] == 'c');
    if (str_eq(type, STR("reasoning")))
        return read_reasoning(r, source);
    return read_other(r, source, type);
}

static enum error_code read_input(struct openai_responses_reader *r, const struct json_member *m)
{
    struct str element;
    size_t cursor = 0;

    if (json_kind_of(m->value) == JSON_STRING) {
        if (add_turn(r, ROLE_USER, m->value) == NULL)
            return OK;
        r->turn->content_was_text = true;
        add_part(r, &r->parts_end, PART_TEXT, m->value)->text = json_string_value(m->value,
                                                                                  r->arena);
        return OK;
    }
    r->list = "input";
    for (r->at = 0; json_array_next(m->value, &cursor, &element); r->at++) {
        enum error_code code = read_item(r, element);
        /* What it says of lost text may not be so. */
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "the conversation does not fit into memory");
        TRY(code);
    }
    r->list = NULL;
    return OK;
}

static enum error_code read_conversation(struct openai_responses_reader *r)
{
    const struct json_member *instructions = json_index_find(&r->request->index,
                                                             STR("instructions"));
    const struct json_member *input = json_index_find(&r->request->index, STR("input"));
    struct str text = STR_NULL;

    if (instructions != NULL)
        TRY(openai_responses_request_string(r, instructions, &text));
    if (!str_is_null(text) && add_turn(r, ROLE_SYSTEM, instructions->value) != NULL) {
        r->turn->content_was_text = true;
        add_part(r, &r->parts_end, PART_TEXT, instructions->value)->text = text;
    }
    if (input == NULL || json_kind_of(input->value) == JSON_NULL)
        return OK;
    return read_input(r, input);
}

enum error_code openai_responses_request_decode_full(struct request *request,
                                                     const struct request_limits *limits,
                                                     struct arena *arena, struct error *e)
{
    struct openai_responses_reader r = {.arena = arena, .e = e, .request = request};

    (void)limits; /* the depth was checked with the head */
    if (request->full)
        return OK;
    assert(!str_is_null(request->source));
    request->turns = NULL;
    request->tools = NULL;
    request->bound = STR_NULL;
    r.turns_end = &request->turns;
    r.tools_end = &request->tools;
    enum error_code code = read_conversation(&r);
    if (code == OK)
        code = openai_responses_params_read(&r);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    request->full = true;
    return OK;
}
