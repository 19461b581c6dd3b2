/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: the request that an upstream gets.
 *
 * What      A client's request of this protocol as its own bytes with a few spans replaced; any
 *           other request written from its canonical form.
 * How       same_protocol: a copy of the request's edits, and of ours: the model's name, no
 *           session_id, stream_options where we want usage, what settings ask for. The request
 *           itself stays as it is, so that it can be encoded again for the next attempt.
 * Owns      Nothing: pieces lie in the arena and in the client's body.
 * Not here  What a vendor wants otherwise (openai_chat_dialect.c), which is made of the result.
 */
#include "protocol/openai_chat_priv.h"

#include "protocol/edits.h"

/* --- edits of the client's body ----------------------------------------------------------- */

/* The client did not mention include_usage, or said null. */
static void edit_usage(const struct request *request, struct json_edits *edits, struct arena *arena)
{
    const struct json_member *options = json_index_find(&request->index, STR("stream_options"));
    struct str whole = STR("{\"include_usage\":true}");
    struct json_member m;
    size_t cursor = 0;
    bool empty = true;

    if (options == NULL) {
        json_edit_add(edits, arena, &request->index, STR("stream_options"), whole);
        return;
    }
    if (json_kind_of(options->value) != JSON_OBJECT) {
        json_edit_value(edits, arena, &request->index, options, whole);
        return;
    }
    assert(request->stream && request->include_usage < 0);
    size_t at = (size_t)(options->value.p - request->source.p);
    assert(at < request->source.n && request->source.p[at] == '{');
    while (json_object_next(options->value, &cursor, arena, &m)) {
        empty = false;
        if (!str_eq(m.key, STR("include_usage")))
            continue;
        size_t begin = (size_t)(m.value.p - request->source.p);
        json_edit_span(edits, arena, begin, begin + m.value.n, STR("true"));
        return;
    }
    json_edit_span(edits, arena, at + 1, at + 1,
                   empty ? STR("\"include_usage\":true") : STR("\"include_usage\":true,"));
}

/* max_tokens has two names, of which a server knows one. */
static enum edits_names names(struct str has, struct str new_one)
{
    static const char *const maximum[] = {"max_tokens", "max_completion_tokens"};
    size_t n = 0;

    if (str_eq(has, new_one))
        return EDITS_SAME;
    for (size_t i = 0; i < COUNT_OF(maximum); i++)
        n += str_eq(has, str_c(maximum[i])) || str_eq(new_one, str_c(maximum[i]));
    return n == 2 ? EDITS_INSTEAD : EDITS_OTHER;
}

/* The vendor's own wishes come last: where nothing but a member or two of ours is in the way in the
 * same list of edits, else of what the others made. */
static enum error_code edit_source(const struct request *request, const struct encode_request *how,
                                   struct arena *arena, struct wire *wire, struct error *e)
{
    const struct steer *steer = edits_steer(how);
    bool plain = openai_chat_dialect_is_plain(how->dialect);
    bool alone = request->edits.n == 0 && steer == NULL;
    struct json_edits edits = edits_copy(request, arena);

    edits_model(request, how, &edits, arena);
    if (how->add_usage && request->stream && request->include_usage < 0)
        edit_usage(request, &edits, arena);
    if (steer != NULL) {
        struct str members = openai_chat_translate_steer(request, how, steer, arena);
        edits_tell_unsaid(request, how, members, arena);
        edits_merge(request, members, names, &edits, arena);
    }
    if (!plain && alone)
        TRY(openai_chat_dialect_edit(&request->index, how, request->model, &edits, arena, e));
    edits_apply(request, &edits, arena, wire);
    if (plain)
        return OK;
    if (!alone)
        TRY(openai_chat_dialect_body(how, request->model, arena, wire, e));
    return openai_chat_dialect_alternate(how, arena, wire, e);
}

/* --- a body of our own -------------------------------------------------------------------- */

static void add_string(struct buf *out, const char *key, struct str value)
{
    if (str_is_null(value))
        return;
    openai_chat_add_key(out, str_c(key));
    json_add_string(out, value);
}

static void add_json(struct buf *out, const char *key, struct str value)
{
    if (str_is_null(value))
        return;
    openai_chat_add_key(out, str_c(key));
    buf_add(out, value);
}

/* "key": with a URL, or data as a data URL. */
static void add_url(struct buf *out, const char *key, const struct part *part)
{
    openai_chat_add_key(out, str_c(key));
    buf_add_char(out, '"');
    if (!part->is_url) {
        buf_add(out, STR("data:"));
        json_add_escaped(out, part->media_type);
        buf_add(out, STR(";base64,"));
    }
    json_add_escaped(out, part->data);
    buf_add_char(out, '"');
}

static void add_media(struct buf *out, const struct part *part)
{
    const char *member = part->kind == PART_IMAGE   ? "image_url"
                         : part->kind == PART_AUDIO ? "input_audio"
                                                    : "file";

    openai_chat_add_key(out, str_c(member));
    buf_add_char(out, '{');
    if (part->kind == PART_IMAGE) {
        add_url(out, "url", part);
        add_string(out, "detail", part->detail);
    } else if (part->kind == PART_AUDIO) {
        add_string(out, "data", part->data);
        add_string(out, "format", part->media_type);
    } else {
        add_string(out, "filename", part->name);
        add_string(out, "file_id", part->id);
        if (!str_is_null(part->data))
            add_url(out, "file_data", part);
    }
    openai_chat_params_write_extra(out, part->extra, true);
    buf_add_char(out, '}');
}

/* An element of the content. */
static void add_part(struct buf *out, const struct part *part)
{
    buf_add_char(out, '{');
    switch (part->kind) {
    case PART_TEXT:
        add_string(out, "type", STR("text"));
        add_string(out, "text", part->text);
        break;
    case PART_IMAGE:
        add_string(out, "type", STR("image_url"));
        add_media(out, part);
        break;
    case PART_AUDIO:
        add_string(out, "type", STR("input_audio"));
        add_media(out, part);
        break;
    case PART_FILE:
        add_string(out, "type", STR("file"));
        add_media(out, part);
        break;
    case PART_REFUSAL:
        add_string(out, "type", STR("refusal"));
        add_string(out, "refusal", part->text);
        break;
    case PART_REASONING:
        add_string(out, "type", STR("thinking"));
        openai_chat_add_key(out, STR("thinking"));
        buf_add(out, STR("[{"));
        add_string(out, "type", STR("text"));
        add_string(out, "text", str_is_null(part->text) ? STR("") : part->text);
        buf_add(out, STR("}]"));
        break;
    case PART_TOOL_CALL:
    case PART_TOOL_RESULT:
    case PART_VENDOR:
    case PART_KIND_COUNT:
        BUG("not an element of the content");
    }
    add_json(out, "cache_control", part->cache);
    openai_chat_params_write_extra(out, part->extra, false);
    buf_add_char(out, '}');
}

/* Whether the part stands in the content (else in a member of its own). */
static bool in_content(const struct part *part)
{
    if (part->kind == PART_TOOL_CALL || part->kind == PART_TOOL_RESULT)
        return false;
    return (part->kind != PART_REFUSAL && part->kind != PART_REASONING) || str_is_null(part->name);
}

static void add_content_list(struct buf *out, const struct part *parts)
{
    size_t n = 0;

    buf_add_char(out, '[');
    for (const struct part *part = parts; part != NULL; part = part->next) {
        if (!in_content(part))
            continue;
        if (n++ > 0)
            buf_add_char(out, ',');
        if (part->kind == PART_VENDOR)
            buf_add(out, part->source);
        else
            add_part(out, part);
    }
    buf_add_char(out, ']');
}

/* The text that is all of the content; null: it is a list, or nothing. */
static struct str content_text(const struct part *parts)
{
    struct str text = STR_NULL;

    for (const struct part *part = parts; part != NULL; part = part->next) {
        if (!in_content(part))
            continue;
        if (part->kind != PART_TEXT || !str_is_null(text))
            return STR_NULL;
        text = part->text;
    }
    return text;
}

static void add_content(struct buf *out, const struct part *parts, bool was_text, bool was_null)
{
    struct str text = was_text ? content_text(parts) : STR_NULL;

    openai_chat_add_key(out, STR("content"));
    if (!str_is_null(text))
        json_add_string(out, text);
    else if (was_null)
        buf_add(out, STR("null"));
    else
        add_content_list(out, parts);
}

static void add_call(struct buf *out, const struct part *part)
{
    buf_add_char(out, '{');
    add_string(out, "id", part->id);
    add_string(out, "type", part->custom ? STR("custom") : STR("function"));
    openai_chat_add_key(out, part->custom ? STR("custom") : STR("function"));
    buf_add_char(out, '{');
    add_string(out, "name", part->name);
    add_string(out, part->custom ? "input" : "arguments", part->text);
    openai_chat_params_write_extra(out, part->extra, true);
    buf_add_char(out, '}');
    openai_chat_params_write_extra(out, part->extra, false);
    buf_add_char(out, '}');
}

static void add_calls(struct buf *out, const struct turn *turn)
{
    size_t calls = 0;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TOOL_CALL)
            continue;
        buf_add(out, calls++ == 0 ? STR(",\"tool_calls\":[") : STR(","));
        add_call(out, part);
    }
    if (calls > 0)
        buf_add_char(out, ']');
}

static bool is_detail(const struct part *part)
{
    return part->kind == PART_REASONING && str_eq(part->name, STR("reasoning_details")) &&
           !str_is_null(part->source);
}

/* What stands beside the content: reasoning, refusal, calls. */
static void add_members(struct buf *out, const struct turn *turn)
{
    size_t details = 0;

    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind == PART_TOOL_CALL || in_content(part) || is_detail(part))
            continue;
        openai_chat_add_key(out, part->name);
        json_add_string(out, part->text);
    }
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (!is_detail(part))
            continue;
        buf_add(out, details++ == 0 ? STR(",\"reasoning_details\":[") : STR(","));
        buf_add(out, part->source);
    }
    if (details > 0)
        buf_add_char(out, ']');
    add_calls(out, turn);
}

/* A message for each result. */
static void add_results(struct buf *out, const struct turn *turn)
{
    for (const struct part *part = turn->parts; part != NULL; part = part->next) {
        if (part->kind != PART_TOOL_RESULT)
            continue;
        if (part != turn->parts)
            buf_add_char(out, ',');
        buf_add_char(out, '{');
        add_string(out, "role", STR("tool"));
        add_string(out, "name", turn->name);
        add_content(out, part->parts, part->was_text, turn->content_was_null);
        add_string(out, "tool_call_id", part->id);
        add_json(out, "cache_control", part->cache);
        openai_chat_params_write_extra(out, turn->extra, false);
        buf_add_char(out, '}');
    }
}

static void add_turn(struct buf *out, const struct turn *turn)
{
    assert(turn->role < ROLE_COUNT);
    if (turn->role == ROLE_TOOL) {
        add_results(out, turn);
        return;
    }
    buf_add_char(out, '{');
    add_string(out, "role", str_c(request_role_name(turn->role)));
    add_string(out, "name", turn->name);
    add_content(out, turn->parts, turn->content_was_text, turn->content_was_null);
    add_members(out, turn);
    openai_chat_params_write_extra(out, turn->extra, false);
    buf_add_char(out, '}');
}

static void add_stream(struct buf *out, const struct request *request, bool add_usage)
{
    if (!request->stream)
        return;
    buf_add(out, STR(",\"stream\":true"));
    if (request->include_usage == 1 || (add_usage && request->include_usage < 0))
        buf_add(out, STR(",\"stream_options\":{\"include_usage\":true}"));
    else if (request->include_usage == 0)
        buf_add(out, STR(",\"stream_options\":{\"include_usage\":false}"));
}

static enum error_code write_body(const struct request *request, const struct encode_request *how,
                                  struct arena *arena, struct wire *wire, struct error *e)
{
    struct str *piece = ARENA_NEW(arena, struct str);
    struct buf out;

    assert(request->full);
    buf_init(&out, arena->bytes_max);
    buf_expect(&out, request->source.n + request->source.n / 16);
    buf_add_char(&out, '{');
    add_string(&out, "model", str_is_null(how->model) ? request->model : how->model);
    openai_chat_add_key(&out, STR("messages"));
    buf_add_char(&out, '[');
    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        if (turn != request->turns)
            buf_add_char(&out, ',');
        add_turn(&out, turn);
    }
    buf_add_char(&out, ']');
    openai_chat_params_write(&out, request, arena);
    add_stream(&out, request, how->add_usage);
    buf_add_char(&out, '}');

    bool ok = buf_ok(&out);
    *piece = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    if (!ok || arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    wire->body = piece;
    wire->body_n = 1;
    wire->body_bytes = piece->n;
    return OK;
}

/* Without a translation to note things in the request is written as it stands. */
static enum error_code encode_body(struct request *request, const struct encode_request *how,
                                   struct arena *arena, struct wire *wire, struct error *e)
{
    struct request steered;
    struct request translated;

    request = steer_request(edits_steer(how), request, &steered);
    if (how->translation != NULL) {
        TRY(openai_chat_translate_request(request, how, arena, &translated, e));
        request = &translated;
    }
    TRY(write_body(request, how, arena, wire, e));
    if (openai_chat_dialect_is_plain(how->dialect))
        return OK;
    TRY(openai_chat_dialect_body(how, request->model, arena, wire, e));
    return openai_chat_dialect_alternate(how, arena, wire, e);
}

enum error_code openai_chat_upstream_encode(struct request *request,
                                            const struct encode_request *how, struct arena *arena,
                                            struct wire *ret_wire, struct error *e)
{
    struct wire wire = {
        .method = STR("POST"),
        .path = STR("/chat/completions"),
        .query = STR_NULL,
        .content_type = STR("application/json"),
    };

    if (how->same_protocol)
        TRY(edit_source(request, how, arena, &wire, e));
    else
        TRY(encode_body(request, how, arena, &wire, e));
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "the request does not fit into memory");
    *ret_wire = wire;
    return OK;
}
