/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: a client's request, read.
 *
 * What      The head from the index of the body's root; the conversation on demand.
 * How       All reading is of spans of the body: nothing is copied but strings with escapes, and
 *           every node knows its source. Members that we do not model are kept in `extra`. An
 *           explicit null is an absent member. A user's message that holds results of tools is two
 *           turns, the results first. Blocks that only this vendor understands are VENDOR parts.
 * Owns      Nothing: all of it lies in the request's arena and the body.
 * Not here  Tools and parameters (anthropic_params.c), writing (anthropic_upstream.c). Whether the
 *           request makes sense to a model: the upstream says so.
 */
#include "protocol/anthropic_priv.h"

/* --- type errors -------------------------------------------------------------------------- */

/* "messages[2].content[0].text" must be … */
enum error_code anthropic_request_fail(struct anthropic_reader *r, struct str member,
                                       const char *what)
{
    struct buf path;
    enum error_code code;

    assert(r->e != NULL);
    buf_init(&path, ERROR_DETAIL_SIZE);
    if (r->list != NULL) {
        buf_print(&path, "%s[%zu]", r->list, r->at);
        if (r->in_content)
            buf_print(&path, ".content[%zu]", r->content_at);
        if (r->in_result)
            buf_print(&path, ".content[%zu]", r->result_at);
    }
    if (r->inner != NULL)
        buf_print(&path, "%s%s", path.n > 0 ? "." : "", r->inner);
    if (path.n > 0 && member.n > 0)
        buf_add_char(&path, '.');
    buf_add(&path, member);
    code = FAIL(r->e, ERR_BAD_REQUEST, "\"%.*s\" must be %s", STR_ARG(buf_str(&path)), what);
    buf_fini(&path);
    return code;
}

/* --- values ------------------------------------------------------------------------------- */

static bool is_null(struct str value)
{
    return value.n == 0 || json_kind_of(value) == JSON_NULL;
}

enum error_code anthropic_request_string(struct anthropic_reader *r, const struct json_member *m,
                                         struct str *ret_value)
{
    if (is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_STRING)
        return anthropic_request_fail(r, m->key, "a string");
    *ret_value = json_string_value(m->value, r->arena);
    return OK;
}

/* -1 stays for null. */
enum error_code anthropic_request_bool(struct anthropic_reader *r, const struct json_member *m,
                                       int *ret_value)
{
    enum json_kind kind = json_kind_of(m->value);

    if (kind == JSON_NULL)
        return OK;
    if (kind != JSON_TRUE && kind != JSON_FALSE)
        return anthropic_request_fail(r, m->key, "true or false");
    *ret_value = kind == JSON_TRUE;
    return OK;
}

enum error_code anthropic_request_object(struct anthropic_reader *r, const struct json_member *m,
                                         struct str *ret_value)
{
    if (is_null(m->value))
        return OK;
    if (json_kind_of(m->value) != JSON_OBJECT)
        return anthropic_request_fail(r, m->key, "an object");
    *ret_value = m->value;
    return OK;
}

void anthropic_request_keep(struct anthropic_reader *r, struct extra **to,
                            const struct json_member *m)
{
    (void)request_keep(&r->extra_end, to, m, r->arena);
}

/* --- the head ----------------------------------------------------------------------------- */

static enum error_code read_max_tokens(struct anthropic_reader *r, const struct json_index *index)
{
    const struct json_member *m = json_index_find(index, STR("max_tokens"));
    double value;

    if (m == NULL || is_null(m->value))
        return FAIL(r->e, ERR_BAD_REQUEST, "missing member \"max_tokens\"");
    if (json_kind_of(m->value) != JSON_NUMBER || !str_to_double(m->value, &value) || value < 0 ||
        __builtin_floor(value) < value)
        return anthropic_request_fail(r, m->key, "an integer, at least 0");
    return OK;
}

static enum error_code read_head(struct anthropic_reader *r, struct request *request,
                                 enum operation operation)
{
    const struct json_index *index = &request->index;
    const struct json_member *messages = json_index_find(index, STR("messages"));
    int stream = -1;

    for (size_t i = 0; i < index->n; i++) {
        const struct json_member *m = &index->members[i];
        if (str_eq(m->key, STR("model"))) {
            request->model_member = m;
            TRY(anthropic_request_string(r, m, &request->model));
        } else if (str_eq(m->key, STR("stream"))) {
            TRY(anthropic_request_bool(r, m, &stream));
        } else if (str_eq(m->key, STR("session_id"))) {
            TRY(anthropic_request_string(r, m, &request->session_id));
        }
    }
    request->stream = stream == 1 && operation != OP_COUNT_TOKENS;
    if (operation != OP_COUNT_TOKENS)
        TRY(read_max_tokens(r, index));
    if (messages == NULL)
        return FAIL(r->e, ERR_BAD_REQUEST, "missing member \"messages\"");
    if (json_kind_of(messages->value) != JSON_ARRAY)
        return anthropic_request_fail(r, STR("messages"), "an array");
    return OK;
}

enum error_code anthropic_request_decode(struct str body, const struct request_limits *limits,
                                         struct arena *arena, struct request *ret_request,
                                         struct error *e)
{
    struct anthropic_reader r = {.arena = arena, .e = e};
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

/* --- blocks ------------------------------------------------------------------------------- */

/* Past its cap the arena hands out the same memory again and again: no node may lie there, as
 * strings would be written over its pointers. Such a part is in no list. */
static struct part *add_part(struct anthropic_reader *r, struct anthropic_parts *to,
                             enum part_kind kind, struct str source)
{
    struct part *part = ARENA_NEW(r->arena, struct part);

    if (arena_overflowed(r->arena)) {
        r->lost = (struct part){.kind = kind, .source = source};
        return &r->lost;
    }
    part->kind = kind;
    part->source = source;
    if (to->last == NULL)
        to->first = part;
    else
        to->last->next = part;
    to->last = part;
    return part;
}

/* A member of an object as a string; null where there is none. */
static enum error_code find_string(struct anthropic_reader *r, struct str object, const char *key,
                                   struct str *ret_value)
{
    struct json_member m = {.key = str_c(key),
                            .value = json_fields_find(&r->fields, object, str_c(key))};

    return anthropic_request_string(r, &m, ret_value);
}

static enum error_code need_string(struct anthropic_reader *r, struct str object, const char *key,
                                   struct str *ret_value)
{
    TRY(find_string(r, object, key, ret_value));
    if (str_is_null(*ret_value))
        return anthropic_request_fail(r, str_c(key), "a string");
    return OK;
}

/* Texts of a list of text blocks, each on lines of its own. */
static struct str join_texts(struct anthropic_reader *r, struct str list)
{
    struct str element;
    size_t cursor = 0;
    struct buf text;

    buf_init(&text, list.n + 1);
    while (json_array_next(list, &cursor, &element)) {
        struct str value = json_fields_find(&r->fields, element, STR("text"));
        if (is_null(value) || json_kind_of(value) != JSON_STRING)
            continue;
        if (text.n > 0)
            buf_add_char(&text, '\n');
        buf_add(&text, json_string_value(value, r->arena));
    }
    struct str joined = str_copy(r->arena, buf_str(&text));
    buf_fini(&text);
    return joined;
}

/* source: {type: base64 | url | file | text | content, …} of an image or a document. */
static enum error_code read_source(struct anthropic_reader *r, struct part *part, struct str block)
{
    struct str source = json_fields_find(&r->fields, block, STR("source"));
    struct str type = STR_NULL;

    if (is_null(source) || json_kind_of(source) != JSON_OBJECT)
        return anthropic_request_fail(r, STR("source"), "an object");
    r->inner = "source";
    TRY(need_string(r, source, "type", &type));
    if (str_eq(type, STR("base64"))) {
        TRY(need_string(r, source, "data", &part->data));
        TRY(find_string(r, source, "media_type", &part->media_type));
    } else if (str_eq(type, STR("url"))) {
        TRY(need_string(r, source, "url", &part->data));
        part->is_url = true;
    } else if (str_eq(type, STR("file"))) {
        TRY(need_string(r, source, "file_id", &part->id));
    } else if (part->kind == PART_FILE && str_eq(type, STR("text"))) {
        TRY(need_string(r, source, "data", &part->text));
        part->media_type = STR("text/plain");
    } else if (part->kind == PART_FILE && str_eq(type, STR("content"))) {
        struct str content = json_fields_find(&r->fields, source, STR("content"));
        part->media_type = STR("text/plain");
        if (!is_null(content) && json_kind_of(content) == JSON_ARRAY)
            part->text = join_texts(r, content);
        else
            TRY(need_string(r, source, "content", &part->text));
    } else {
        return anthropic_request_fail(r, STR("type"), "a known type of source");
    }
    r->inner = NULL;
    return OK;
}

/* A document's title is its name. What it is about, and whether to cite it, only this vendor
 * asks. */
static enum error_code read_document(struct anthropic_reader *r, struct part *part,
                                     struct str block)
{
    static const char *const kept[] = {"context", "citations"};

    TRY(read_source(r, part, block));
    TRY(find_string(r, block, "title", &part->name));
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        struct json_member m = {.key = str_c(kept[i]),
                                .value = json_fields_find(&r->fields, block, str_c(kept[i]))};
        if (!is_null(m.value))
            anthropic_request_keep(r, &part->extra, &m);
    }
    return OK;
}

/* A result of the client's own search: others are told its text. */
static enum error_code read_search_result(struct anthropic_reader *r, struct part *part,
                                          struct str block)
{
    struct str title = STR_NULL;
    struct str source = STR_NULL;

    TRY(need_string(r, block, "title", &title));
    TRY(need_string(r, block, "source", &source));
    struct str text = join_texts(r, json_fields_find(&r->fields, block, STR("content")));
    part->text = str_print(r->arena, "%.*s\n%.*s\n\n%.*s", STR_ARG(title), STR_ARG(source),
                           STR_ARG(text));
    return OK;
}

static enum error_code read_call(struct anthropic_reader *r, struct part *part, struct str block)
{
    struct str input = json_fields_find(&r->fields, block, STR("input"));

    TRY(need_string(r, block, "id", &part->id));
    TRY(need_string(r, block, "name", &part->name));
    if (!is_null(input) && json_kind_of(input) != JSON_OBJECT)
        return anthropic_request_fail(r, STR("input"), "an object");
    part->text = is_null(input) ? STR("{}") : json_compact(input, r->arena);
    return OK;
}

static enum error_code read_thinking(struct anthropic_reader *r, struct part *part,
                                     struct str block)
{
    TRY(need_string(r, block, "thinking", &part->text));
    TRY(find_string(r, block, "signature", &part->signature));
    if (part->signature.n == 0 || str_eq(part->signature, ANTHROPIC_UNSIGNED))
        part->signature = STR_NULL;
    return OK;
}

static enum error_code read_block(struct anthropic_reader *r, struct anthropic_parts *parts,
                                  struct str source);

static enum error_code read_result(struct anthropic_reader *r, struct part *part, struct str block)
{
    struct json_member error = {.key = STR("is_error"),
                                .value = json_fields_find(&r->fields, block, STR("is_error"))};
    struct str content = json_fields_find(&r->fields, block, STR("content"));
    struct anthropic_parts parts = {NULL, NULL};
    int is_error = 0;
    struct str element;
    size_t cursor = 0;

    TRY(need_string(r, block, "tool_use_id", &part->id));
    if (!is_null(error.value))
        TRY(anthropic_request_bool(r, &error, &is_error));
    part->is_error = is_error == 1;
    if (is_null(content))
        return OK;
    if (json_kind_of(content) == JSON_STRING) {
        part->was_text = true;
        add_part(r, &parts, PART_TEXT, content)->text = json_string_value(content, r->arena);
        part->parts = parts.first;
        return OK;
    }
    if (json_kind_of(content) != JSON_ARRAY)
        return anthropic_request_fail(r, STR("content"), "a string or an array");
    r->in_result = true;
    for (r->result_at = 0; json_array_next(content, &cursor, &element); r->result_at++)
        TRY(read_block(r, &parts, element));
    r->in_result = false;
    part->parts = parts.first;
    return OK;
}

/* Which kind a block of this type is. */
static enum part_kind part_kind_of(const struct anthropic_reader *r, struct str type)
{
    static const struct {
        const char *type;
        enum part_kind kind;
    } types[] = {
        {"text", PART_TEXT},          {"image", PART_IMAGE},
        {"document", PART_FILE},      {"search_result", PART_TEXT},
        {"tool_use", PART_TOOL_CALL}, {"tool_result", PART_TOOL_RESULT},
        {"thinking", PART_REASONING}, {"redacted_thinking", PART_REASONING},
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (!str_eq(type, str_c(types[i].type)))
            continue;
        /* In a result there are no calls, results, or thoughts. */
        return r->in_result && i > 3 ? PART_VENDOR : types[i].kind;
    }
    return PART_VENDOR;
}

/* What a part of its kind says. */
static enum error_code read_by_kind(struct anthropic_reader *r, struct part *part, struct str type,
                                    struct str source)
{
    switch (part->kind) {
    case PART_TEXT:
        if (str_eq(type, STR("search_result")))
            return read_search_result(r, part, source);
        part->citations = json_fields_find(&r->fields, source, STR("citations"));
        if (is_null(part->citations))
            part->citations = STR_NULL;
        return need_string(r, source, "text", &part->text);
    case PART_IMAGE:
        return read_source(r, part, source);
    case PART_FILE:
        return read_document(r, part, source);
    case PART_TOOL_CALL:
        return read_call(r, part, source);
    case PART_TOOL_RESULT:
        return read_result(r, part, source);
    case PART_REASONING:
        part->redacted = str_eq(type, STR("redacted_thinking"));
        if (part->redacted)
            return need_string(r, source, "data", &part->signature);
        return read_thinking(r, part, source);
    case PART_VENDOR:
        part->name = type;
        return OK;
    case PART_AUDIO:
    case PART_REFUSAL:
    case PART_KIND_COUNT:
        break;
    }
    BUG("not a block of this protocol");
}

/* A document of blocks may show images: parts of their own, behind it. */
static enum error_code read_document_images(struct anthropic_reader *r,
                                            struct anthropic_parts *parts, struct str block)
{
    struct str source = json_fields_find(&r->fields, block, STR("source"));
    struct str content = json_object_find(source, STR("content"));
    struct str element;
    size_t cursor = 0;

    if (is_null(content) || json_kind_of(content) != JSON_ARRAY)
        return OK;
    while (json_array_next(content, &cursor, &element)) {
        struct str type = json_kind_of(element) != JSON_OBJECT
                              ? STR_NULL
                              : json_string_value(json_object_find(element, STR("type")), r->arena);
        if (str_eq(type, STR("image")))
            TRY(read_source(r, add_part(r, parts, PART_IMAGE, element), element));
    }
    return OK;
}

static enum error_code read_block(struct anthropic_reader *r, struct anthropic_parts *parts,
                                  struct str source)
{
    struct json_member cache = {.key = STR("cache_control")};
    struct str type = STR_NULL;

    if (json_kind_of(source) != JSON_OBJECT)
        return anthropic_request_fail(r, STR_NULL, "an object");
    TRY(need_string(r, source, "type", &type));
    struct part *part = add_part(r, parts, part_kind_of(r, type), source);
    TRY(read_by_kind(r, part, type, source));
    if (part->kind == PART_VENDOR)
        return OK;
    if (part->kind == PART_FILE)
        TRY(read_document_images(r, parts, source));
    cache.value = json_fields_find(&r->fields, source, cache.key);
    return anthropic_request_object(r, &cache, &part->cache);
}

/* --- turns -------------------------------------------------------------------------------- */

struct turns {
    struct turn **end;
};

static struct turn *add_turn(struct anthropic_reader *r, struct turns *turns, enum role role,
                             struct str source)
{
    struct turn *turn = ARENA_NEW(r->arena, struct turn);

    /* Whoever reads it fails, as the arena is asked after each message. */
    if (arena_overflowed(r->arena))
        return turn;
    turn->role = role;
    turn->source = source;
    *turns->end = turn;
    turns->end = &turn->next;
    return turn;
}

/* A list of blocks; those of results apart, where results is given. */
static enum error_code read_blocks(struct anthropic_reader *r, struct str list,
                                   struct anthropic_parts *parts, struct anthropic_parts *results)
{
    struct str element;
    size_t cursor = 0;
    size_t at = 0;

    for (; json_array_next(list, &cursor, &element); at++) {
        if (r->in_content)
            r->content_at = at;
        else
            r->at = at;
        struct str type = json_string_value(json_fields_find(&r->fields, element, STR("type")),
                                            r->arena);
        bool result = results != NULL && str_eq(type, STR("tool_result"));
        TRY(read_block(r, result ? results : parts, element));
    }
    return OK;
}

static enum error_code read_role(struct anthropic_reader *r, struct str source, enum role *ret_role)
{
    static const struct {
        const char *word;
        enum role role;
    } roles[] = {{"user", ROLE_USER}, {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM}};
    struct str word = STR_NULL;

    TRY(need_string(r, source, "role", &word));
    for (size_t i = 0; i < COUNT_OF(roles); i++) {
        if (str_eq(word, str_c(roles[i].word))) {
            *ret_role = roles[i].role;
            return OK;
        }
    }
    return anthropic_request_fail(r, STR("role"), "one of user, assistant and system");
}

static enum error_code read_message(struct anthropic_reader *r, struct turns *turns,
                                    struct str source)
{
    struct str content = json_fields_find(&r->fields, source, STR("content"));
    struct anthropic_parts parts = {NULL, NULL};
    struct anthropic_parts results = {NULL, NULL};
    enum role role = ROLE_USER;

    TRY(read_role(r, source, &role));
    if (is_null(content))
        return anthropic_request_fail(r, STR("content"), "a string or an array");
    if (json_kind_of(content) == JSON_STRING) {
        struct turn *turn = add_turn(r, turns, role, source);
        add_part(r, &parts, PART_TEXT, content)->text = json_string_value(content, r->arena);
        turn->content_was_text = true;
        turn->parts = parts.first;
        return OK;
    }
    if (json_kind_of(content) != JSON_ARRAY)
        return anthropic_request_fail(r, STR("content"), "a string or an array");
    r->in_content = true;
    TRY(read_blocks(r, content, &parts, &results));
    r->in_content = false;
    if (results.first != NULL)
        add_turn(r, turns, ROLE_TOOL, source)->parts = results.first;
    if (parts.first != NULL || results.first == NULL)
        add_turn(r, turns, role, source)->parts = parts.first;
    return OK;
}

/* In front: a string, or a list of text blocks. */
static enum error_code read_system(struct anthropic_reader *r, const struct json_member *m,
                                   struct turns *turns)
{
    struct anthropic_parts parts = {NULL, NULL};
    enum json_kind kind = m == NULL ? JSON_NULL : json_kind_of(m->value);

    if (kind == JSON_NULL)
        return OK;
    if (kind != JSON_STRING && kind != JSON_ARRAY)
        return anthropic_request_fail(r, m->key, "a string or an array");
    if (kind == JSON_STRING) {
        add_part(r, &parts, PART_TEXT, m->value)->text = json_string_value(m->value, r->arena);
    } else {
        r->list = "system";
        TRY(read_blocks(r, m->value, &parts, NULL));
        r->list = NULL;
    }
    if (parts.first == NULL)
        return OK;
    struct turn *turn = add_turn(r, turns, ROLE_SYSTEM, m->value);
    turn->content_was_text = kind == JSON_STRING;
    turn->parts = parts.first;
    return OK;
}

static enum error_code read_messages(struct anthropic_reader *r, const struct request *request,
                                     struct turns *turns)
{
    const struct json_member *messages = json_index_find(&request->index, STR("messages"));
    struct str element;
    size_t cursor = 0;

    assert(messages != NULL);
    r->list = "messages";
    for (r->at = 0; json_array_next(messages->value, &cursor, &element); r->at++) {
        if (json_kind_of(element) != JSON_OBJECT)
            return anthropic_request_fail(r, STR_NULL, "an object");
        enum error_code code = read_message(r, turns, element);
        /* What it says of lost text may not be so. */
        if (arena_overflowed(r->arena))
            return FAIL(r->e, ERR_TOO_LARGE, "the conversation does not fit into memory");
        TRY(code);
    }
    r->list = NULL;
    return OK;
}

enum error_code anthropic_request_decode_full(struct request *request,
                                              const struct request_limits *limits,
                                              struct arena *arena, struct error *e)
{
    struct anthropic_reader r = {.arena = arena, .e = e};
    struct turns turns = {.end = &request->turns};

    (void)limits; /* the depth was checked with the head */
    if (request->full)
        return OK;
    assert(!str_is_null(request->source));
    request->turns = NULL;
    enum error_code code = read_system(&r, json_index_find(&request->index, STR("system")), &turns);
    if (code == OK)
        code = read_messages(&r, request, &turns);
    if (code == OK)
        code = anthropic_params_read(&r, request);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    TRY(code);
    request->full = true;
    return OK;
}
