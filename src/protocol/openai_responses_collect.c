/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: what an answer is, item by item, and the response object.
 *
 * What      Items and their texts as the client knows them: for the events that say an item is
 *           done, for the terminal event, and for whole bodies.
 * How       Texts are kept as they go over the wire (escaped), so that saying one again is a copy.
 *           What the response repeats of the request is written once, when the answer begins.
 * Owns      The texts, on the heap; items lie in the answer's arena.
 * Not here  When what is said: openai_responses_encode.c.
 */
#include "protocol/openai_responses_priv.h"

enum { ECHO_BYTES_MAX = 64 * 1024 * 1024, ECHO_MEMBER_MAX = 1024 };

/* --- items and pieces --------------------------------------------------------------------- */

struct openai_responses_sent *openai_responses_collect_item(struct openai_responses_encoder *enc,
                                                            enum openai_responses_kind kind,
                                                            uint32_t index)
{
    struct openai_responses_sent *item = ARENA_NEW(enc->options.arena,
                                                   struct openai_responses_sent);

    if (arena_overflowed(enc->options.arena)) {
        buf_fini(&enc->lost_item.json);
        item = &enc->lost_item;
        *item = (struct openai_responses_sent){.kind = kind};
    } else {
        *enc->items_end = item;
        enc->items_end = &item->next;
    }
    item->kind = kind;
    item->index = index;
    item->block = EVENT_NO_BLOCK;
    item->open = true;
    item->pieces_end = &item->pieces;
    buf_init(&item->json, enc->options.bytes_max);
    if (index != EVENT_NO_INDEX && index >= enc->items_n)
        enc->items_n = index + 1;
    return item;
}

struct openai_responses_piece *openai_responses_collect_piece(struct openai_responses_encoder *enc,
                                                              struct openai_responses_sent *item,
                                                              enum openai_responses_piece_kind kind,
                                                              uint32_t index)
{
    struct openai_responses_piece *piece = ARENA_NEW(enc->options.arena,
                                                     struct openai_responses_piece);

    if (arena_overflowed(enc->options.arena)) {
        buf_fini(&enc->lost_piece.text);
        buf_fini(&enc->lost_piece.annotations);
        buf_fini(&enc->lost_piece.logprobs);
        piece = &enc->lost_piece;
        *piece = (struct openai_responses_piece){.kind = kind};
    } else {
        *item->pieces_end = piece;
        item->pieces_end = &piece->next;
    }
    piece->item = item;
    piece->kind = kind;
    piece->index = index;
    piece->block = EVENT_NO_BLOCK;
    piece->open = true;
    buf_init(&piece->text, enc->options.bytes_max);
    buf_init(&piece->annotations, enc->options.bytes_max);
    buf_init(&piece->logprobs, enc->options.bytes_max);
    return piece;
}

struct openai_responses_piece *openai_responses_collect_find(struct openai_responses_encoder *enc,
                                                             uint32_t block)
{
    if (enc->last != NULL && enc->last->block == block)
        return enc->last;
    for (struct openai_responses_sent *item = enc->items; item != NULL; item = item->next) {
        for (struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next) {
            if (p->block == block) {
                enc->last = p;
                return p;
            }
        }
    }
    return NULL;
}

struct openai_responses_sent *openai_responses_collect_find_item(
    const struct openai_responses_encoder *enc, uint32_t index)
{
    struct openai_responses_sent *item = enc->items;

    while (item != NULL && item->index != index)
        item = item->next;
    return item;
}

/* Counts what a buffer has grown by. */
static void count(struct openai_responses_encoder *enc, const struct buf *b, size_t before)
{
    enc->bytes += b->n - before;
    if (!buf_ok(b) || enc->bytes > enc->options.bytes_max)
        enc->full = true;
}

struct str openai_responses_collect_text(struct openai_responses_encoder *enc,
                                         struct openai_responses_piece *piece, struct str text)
{
    size_t before = piece->text.n;

    if (enc->full)
        return STR("");
    json_add_escaped(&piece->text, text);
    count(enc, &piece->text, before);
    return str_from(buf_str(&piece->text), before);
}

void openai_responses_collect_add(struct openai_responses_encoder *enc, struct buf *list,
                                  struct str json)
{
    size_t before = list->n;

    if (enc->full || json.n == 0)
        return;
    if (list->n > 0)
        buf_add_char(list, ',');
    buf_add(list, json);
    count(enc, list, before);
}

void openai_responses_collect_fini(struct openai_responses_encoder *enc)
{
    for (struct openai_responses_sent *item = enc->items; item != NULL; item = item->next) {
        for (struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next) {
            buf_fini(&p->text);
            buf_fini(&p->annotations);
            buf_fini(&p->logprobs);
        }
        buf_fini(&item->json);
    }
    buf_fini(&enc->lost_item.json);
    buf_fini(&enc->lost_piece.text);
    buf_fini(&enc->lost_piece.annotations);
    buf_fini(&enc->lost_piece.logprobs);
    enc->items = NULL;
}

/* --- what the response repeats of the request --------------------------------------------- */

struct echo {
    const char *key;
    struct str otherwise; /* where the request does not say */
};

static struct str member(const struct request *request, const char *key)
{
    const struct json_member *m;

    if (request == NULL || str_is_null(request->source))
        return STR_NULL;
    m = json_index_find(&request->index, str_c(key));
    return m == NULL || json_kind_of(m->value) == JSON_NULL ? STR_NULL : m->value;
}

/* A function says strict and parameters always. */
static void echo_tool(struct buf *out, struct str tool)
{
    bool function = json_kind_of(tool) == JSON_OBJECT &&
                    str_eq(json_object_find(tool, STR("type")), STR("\"function\""));

    if (!function) {
        buf_add(out, tool);
        return;
    }
    buf_add(out, str_head(tool, tool.n - 1));
    if (str_is_null(json_object_find(tool, STR("parameters"))))
        buf_add(out, STR(",\"parameters\":null"));
    if (str_is_null(json_object_find(tool, STR("strict"))))
        buf_add(out, STR(",\"strict\":false"));
    buf_add_char(out, '}');
}

static void echo_tools(struct buf *out, struct str tools)
{
    struct str tool;
    size_t cursor = 0;
    size_t n = 0;

    openai_responses_add_key(out, "tools");
    buf_add_char(out, '[');
    while (!str_is_null(tools) && json_array_next(tools, &cursor, &tool)) {
        if (n++ > 0)
            buf_add_char(out, ',');
        echo_tool(out, tool);
    }
    buf_add_char(out, ']');
}

/* text always has a format. */
static void echo_text(struct buf *out, struct str text)
{
    openai_responses_add_key(out, "text");
    if (str_is_null(text) || json_kind_of(text) != JSON_OBJECT) {
        buf_add(out, STR("{\"format\":{\"type\":\"text\"}}"));
        return;
    }
    struct str format = json_object_find(text, STR("format"));
    struct str verbosity = json_object_find(text, STR("verbosity"));
    buf_add(out, STR("{\"format\":"));
    if (str_is_null(format) || json_kind_of(format) != JSON_OBJECT)
        buf_add(out, STR("{\"type\":\"text\"}"));
    else
        buf_add(out, format);
    if (!str_is_null(verbosity)) {
        openai_responses_add_key(out, "verbosity");
        buf_add(out, verbosity);
    }
    buf_add_char(out, '}');
}

/* With one key in both: null where the request does not say. */
static void echo_reasoning(struct buf *out, struct str reasoning)
{
    static const char *const keys[] = {"effort", "summary"};

    openai_responses_add_key(out, "reasoning");
    buf_add_char(out, '{');
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct str value = STR_NULL;
        if (!str_is_null(reasoning) && json_kind_of(reasoning) == JSON_OBJECT)
            value = json_object_find(reasoning, str_c(keys[i]));
        openai_responses_add_key(out, keys[i]);
        buf_add(out, str_is_null(value) ? STR("null") : value);
    }
    buf_add_char(out, '}');
}

static void learn_spaces(struct openai_responses_encoder *enc)
{
    const struct request *request = enc->options.request;
    struct arena *arena = enc->options.arena;

    for (const struct tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (str_is_null(tool->space))
            continue;
        struct openai_responses_space *space = ARENA_NEW(arena, struct openai_responses_space);
        struct str full = str_copy(arena, tool->name);
        if (arena_overflowed(arena))
            return;
        assert(full.n >= tool->space.n + 2);
        space->full = full;
        space->space = str_head(full, tool->space.n);
        space->name = str_from(full, tool->space.n + 2);
        space->next = enc->spaces;
        enc->spaces = space;
    }
}

static bool wants_encrypted(const struct request *request)
{
    struct str include = member(request, "include");
    struct str element;
    size_t cursor = 0;

    if (str_eq(member(request, "store"), STR("false")))
        return true;
    while (!str_is_null(include) && json_kind_of(include) == JSON_ARRAY &&
           json_array_next(include, &cursor, &element)) {
        if (str_eq(element, STR("\"reasoning.encrypted_content\"")))
            return true;
    }
    return false;
}

/* In raw mode the upstream says all of it; what is long is not kept for a take-over. */
static struct str kept(const struct openai_responses_encoder *enc, const char *key)
{
    struct str value = member(enc->options.request, key);

    return !enc->encoding && value.n > ECHO_MEMBER_MAX ? STR_NULL : value;
}

static void echo_members(struct buf *out, const struct openai_responses_encoder *enc)
{
    static const struct echo echoes[] = {
        {"instructions", STR_INIT("null")},
        {"max_output_tokens", STR_INIT("null")},
        {"max_tool_calls", STR_INIT("null")},
        {"parallel_tool_calls", STR_INIT("true")},
        {"prompt_cache_key", STR_INIT("null")},
        {"safety_identifier", STR_INIT("null")},
        {"temperature", STR_INIT("1")},
        {"tool_choice", STR_INIT("\"auto\"")},
        {"top_logprobs", STR_INIT("0")},
        {"top_p", STR_INIT("1")},
        {"truncation", STR_INIT("\"disabled\"")},
        {"user", STR_INIT("null")},
        {"metadata", STR_INIT("{}")},
    };

    for (size_t i = 0; i < COUNT_OF(echoes); i++) {
        struct str value = kept(enc, echoes[i].key);
        openai_responses_add_key(out, echoes[i].key);
        buf_add(out, str_is_null(value) ? echoes[i].otherwise : value);
    }
}

void openai_responses_collect_echo(struct openai_responses_encoder *enc)
{
    const struct request *request = enc->options.request;
    struct str tools = kept(enc, "tools");
    struct buf out;

    /* An upstream of the same protocol was asked by the client itself. */
    enc->encrypted = enc->options.same_protocol || wants_encrypted(request);
    if (request != NULL && request->full)
        learn_spaces(enc);
    buf_init(&out, ECHO_BYTES_MAX);
    buf_add(&out, STR(",\"background\":false,\"service_tier\":\"default\""));
    echo_members(&out, enc);
    /* Of the request, not its source: what it stands for may have taken its place there. */
    openai_responses_add_key(&out, "previous_response_id");
    if (request == NULL || str_is_null(request->previous))
        buf_add(&out, STR("null"));
    else
        json_add_string(&out, request->previous);
    openai_responses_add_key(&out, "store");
    buf_add(&out, enc->options.stored ? STR("true") : STR("false"));
    if (!str_is_null(tools) && json_kind_of(tools) != JSON_ARRAY)
        tools = STR_NULL;
    echo_tools(&out, tools);
    echo_text(&out, kept(enc, "text"));
    echo_reasoning(&out, kept(enc, "reasoning"));
    enc->echo = str_copy(enc->options.arena, buf_str(&out));
    buf_fini(&out);
}

/* --- writing ------------------------------------------------------------------------------ */

static void add_list(struct buf *out, const char *key, const struct buf *list)
{
    openai_responses_add_key(out, key);
    buf_add_char(out, '[');
    buf_add(out, buf_str(list));
    buf_add_char(out, ']');
}

/* "key":"…" of text that is escaped already. */
static void add_escaped(struct buf *out, const char *key, struct str text)
{
    openai_responses_add_key(out, key);
    buf_add_char(out, '"');
    buf_add(out, text);
    buf_add_char(out, '"');
}

void openai_responses_collect_write_piece(const struct openai_responses_piece *piece,
                                          struct buf *out)
{
    struct str text = buf_str(&piece->text);

    switch (piece->kind) {
    case OPENAI_RESPONSES_OUTPUT_TEXT:
        buf_add(out, STR("{\"type\":\"output_text\""));
        add_list(out, "annotations", &piece->annotations);
        add_list(out, "logprobs", &piece->logprobs);
        add_escaped(out, "text", text);
        break;
    case OPENAI_RESPONSES_REFUSAL:
        buf_add(out, STR("{\"type\":\"refusal\""));
        add_escaped(out, "refusal", text);
        break;
    case OPENAI_RESPONSES_SUMMARY:
        buf_add(out, STR("{\"type\":\"summary_text\""));
        add_escaped(out, "text", text);
        break;
    case OPENAI_RESPONSES_REASONING_TEXT:
        buf_add(out, STR("{\"type\":\"reasoning_text\""));
        add_escaped(out, "text", text);
        break;
    case OPENAI_RESPONSES_ARGUMENTS:
        BUG("no part of its own");
    }
    buf_add_char(out, '}');
}

static void add_pieces(struct buf *out, const char *key, const struct openai_responses_sent *item,
                       bool reasoning_text)
{
    size_t n = 0;

    openai_responses_add_key(out, key);
    buf_add_char(out, '[');
    for (const struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next) {
        if (reasoning_text != (p->kind == OPENAI_RESPONSES_REASONING_TEXT))
            continue;
        if (n++ > 0)
            buf_add_char(out, ',');
        openai_responses_collect_write_piece(p, out);
    }
    buf_add_char(out, ']');
}

static bool has_reasoning_text(const struct openai_responses_sent *item)
{
    return item->pieces != NULL && item->pieces->kind == OPENAI_RESPONSES_REASONING_TEXT;
}

static void add_call(struct buf *out, const struct openai_responses_sent *item, bool done)
{
    bool custom = item->kind == OPENAI_RESPONSES_CUSTOM;
    struct str text = done && item->pieces != NULL ? buf_str(&item->pieces->text) : STR("");

    openai_responses_add_string(out, "call_id", item->call_id);
    openai_responses_add_string(out, "name", item->name);
    openai_responses_add_string(out, "namespace", item->space);
    add_escaped(out, custom ? "input" : "arguments", text);
}

static void add_reasoning(struct buf *out, const struct openai_responses_encoder *enc,
                          const struct openai_responses_sent *item, bool done)
{
    static const struct openai_responses_sent none = {.pieces = NULL};

    add_pieces(out, "summary", done ? item : &none, false);
    if (done && has_reasoning_text(item))
        add_pieces(out, "content", item, true);
    if (done && enc->encrypted && item->signature.n > 0)
        openai_responses_add_string(out, "encrypted_content", item->signature);
}

void openai_responses_collect_write_item(const struct openai_responses_encoder *enc,
                                         const struct openai_responses_sent *item, bool done,
                                         struct buf *out)
{
    static const char *const types[] = {
        [OPENAI_RESPONSES_MESSAGE] = "message",
        [OPENAI_RESPONSES_REASONING] = "reasoning",
        [OPENAI_RESPONSES_FUNCTION] = "function_call",
        [OPENAI_RESPONSES_CUSTOM] = "custom_tool_call",
    };
    static const struct openai_responses_sent none = {.pieces = NULL};

    if (item->json.n > 0) {
        buf_add(out, buf_str(&item->json));
        return;
    }
    buf_add_char(out, '{');
    openai_responses_add_string(out, "id", item->id);
    openai_responses_add_string(out, "type",
                                item->kind == OPENAI_RESPONSES_OTHER ? item->name
                                                                     : str_c(types[item->kind]));
    openai_responses_add_string(out, "status",
                                !done              ? STR("in_progress")
                                : item->incomplete ? STR("incomplete")
                                                   : STR("completed"));
    if (item->kind == OPENAI_RESPONSES_MESSAGE) {
        add_pieces(out, "content", done ? item : &none, false);
        openai_responses_add_string(out, "role", STR("assistant"));
    } else if (item->kind == OPENAI_RESPONSES_REASONING) {
        add_reasoning(out, enc, item, done);
    } else if (item->kind != OPENAI_RESPONSES_OTHER) {
        add_call(out, item, done);
    } else if (item->media) {
        buf_add(out, STR(",\"result\":null"));
    }
    buf_add_char(out, '}');
}

/* --- the response ------------------------------------------------------------------------- */

/* null: the response is complete. */
static struct str incomplete_reason(const struct openai_responses_encoder *enc)
{
    bool native = enc->options.same_protocol && enc->native.n > 0;

    if (enc->reason == STOP_LENGTH)
        return native ? enc->native : STR("max_output_tokens");
    if (enc->reason == STOP_CONTEXT)
        return STR("max_output_tokens");
    return enc->reason == STOP_FILTER ? STR("content_filter") : STR_NULL;
}

static struct str status_word(const struct openai_responses_encoder *enc,
                              enum openai_responses_status status, struct str reason)
{
    if (status == OPENAI_RESPONSES_IN_PROGRESS)
        return STR("in_progress");
    if (status == OPENAI_RESPONSES_FAILED)
        return STR("failed");
    /* A response in the background, that is not there yet. */
    if (enc->options.same_protocol && enc->reason == STOP_OTHER && enc->native.n > 0)
        return enc->native;
    return str_is_null(reason) ? STR("completed") : STR("incomplete");
}

static void add_output(struct buf *out, const struct openai_responses_encoder *enc)
{
    size_t n = 0;

    for (const struct openai_responses_sent *item = enc->items; item != NULL; item = item->next) {
        if (item->waiting)
            continue;
        if (n++ > 0)
            buf_add_char(out, ',');
        openai_responses_collect_write_item(enc, item, true, out);
    }
}

void openai_responses_collect_write(const struct openai_responses_encoder *enc,
                                    enum openai_responses_status status, const struct event *error,
                                    struct buf *out)
{
    struct str reason = status == OPENAI_RESPONSES_FINISHED ? incomplete_reason(enc) : STR_NULL;

    buf_add_char(out, '{');
    openai_responses_add_string(out, "id", enc->id);
    buf_add(out, STR(",\"object\":\"response\",\"created_at\":"));
    buf_add_int64(out, enc->created_s);
    openai_responses_add_string(out, "status", status_word(enc, status, reason));
    buf_add(out, STR(",\"error\":"));
    if (error == NULL) {
        buf_add(out, STR("null"));
    } else {
        buf_add_char(out, '{');
        openai_responses_add_error_fields(out, error, true);
        buf_add_char(out, '}');
    }
    buf_add(out, STR(",\"incomplete_details\":"));
    if (str_is_null(reason)) {
        buf_add(out, STR("null"));
    } else {
        buf_add_char(out, '{');
        openai_responses_add_string(out, "reason", reason);
        buf_add_char(out, '}');
    }
    openai_responses_add_string(out, "model", enc->model);
    buf_add(out, STR(",\"output\":["));
    if (status != OPENAI_RESPONSES_IN_PROGRESS)
        add_output(out, enc);
    buf_add(out, STR("],\"usage\":"));
    if (status != OPENAI_RESPONSES_IN_PROGRESS && enc->usage_known)
        openai_responses_add_usage(out, &enc->usage);
    else
        buf_add(out, STR("null"));
    buf_add(out, enc->echo);
    buf_add_char(out, '}');
}
