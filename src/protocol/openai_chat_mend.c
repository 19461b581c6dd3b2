/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: what a vendor says in a way that a client of the protocol alone would misread,
 * said rightly in the frame's own bytes.
 *
 * What      A raw frame stays as it came unless it has one of the faults of enum openai_chat_wrong:
 *           then its JSON is written again with just those members as they are meant, all else of
 *           it (citations, timings, what is new since yesterday) as it stands. The next frame is
 *           looked at anew: nothing is taken over.
 * How       openai_chat_delta.c reads a choice into events; what of it a client would see otherwise
 *           is noted here right after. When the frame has been read, its members are walked in the
 *           source and copied, the noted ones from the events. So the client sees what every stage
 *           and every other protocol's client sees.
 * Owns      The mended frame (decoder.mended); of a whole body a copy in the answer's arena, as it
 *           is sent after the frame's push.
 * Not here  Usage (openai_chat_usage.c). Whole bodies that are errors, whatever their status: they
 *           keep their bytes. What needs more than a frame: <think> tags, a text said twice
 *           (canon/restore).
 */
#include "protocol/openai_chat_decode_priv.h"

#include "canon/failure.h"

enum { MENDED_BYTES_MORE = 64 * 1024 };

static struct str right_object(bool whole)
{
    return whole ? STR("chat.completion") : STR("chat.completion.chunk");
}

/* --- noting ------------------------------------------------------------------------------- */

/* Seconds since 1970, as an integer. */
static bool is_time(yyjson_val *v)
{
    struct str token = json_number_token(v);
    int64_t value;

    return str_to_int64(token, &value) && value >= 0 && value < OPENAI_CHAT_CREATED_MS_MIN;
}

void openai_chat_mend_root(struct openai_chat_decoder *d, yyjson_val *root)
{
    unsigned wrong = 0;

    if (json_get_str(root, STR("id")).n == 0)
        wrong |= OPENAI_CHAT_WRONG_ID;
    if (!yyjson_is_str(json_get(root, STR("object"))))
        wrong |= OPENAI_CHAT_WRONG_OBJECT;
    if (!is_time(json_get(root, STR("created"))))
        wrong |= OPENAI_CHAT_WRONG_CREATED;
    if (json_get_str(root, STR("model")).n == 0)
        wrong |= OPENAI_CHAT_WRONG_MODEL;
    if (!yyjson_is_arr(json_get(root, STR("choices"))))
        wrong |= OPENAI_CHAT_WRONG_CHOICES;
    d->faults.root |= wrong;
}

void openai_chat_mend_choice(struct openai_chat_decoder *d, const struct openai_chat_fault *fault)
{
    struct openai_chat_fault *noted = ARENA_NEW(d->options.scratch, struct openai_chat_fault);

    assert(fault->wrong != 0 && fault->choice != NULL);
    if (arena_overflowed(d->options.scratch))
        return;
    *noted = *fault;
    noted->next = NULL;
    if (d->faults.end == NULL)
        d->faults.end = &d->faults.choices;
    *d->faults.end = noted;
    d->faults.end = &noted->next;
}

static bool is_fine(const struct openai_chat_decoder *d)
{
    return d->faults.root == 0 && d->faults.choices == NULL;
}

/* --- tool calls --------------------------------------------------------------------------- */

static const struct openai_chat_tool *tool_of_block(const struct openai_chat_choice *c,
                                                    uint32_t block)
{
    const struct openai_chat_tool *tool = c->tools;

    while (tool != NULL && tool->block != block)
        tool = tool->next;
    return tool;
}

static bool is_of_call(const struct event *event)
{
    if (event->kind == EVENT_BLOCK_BEGIN)
        return event->begin.kind == BLOCK_TOOL && !event->begin.legacy;
    return event->kind == EVENT_TOOL_ARGS || event->kind == EVENT_SIGNATURE;
}

static void write_function(struct buf *out, const struct event *begin, bool custom,
                           const struct event *events, uint32_t n)
{
    buf_add(out, custom ? STR("\"custom\":{") : STR("\"function\":{"));
    if (begin != NULL) {
        openai_chat_add_key(out, STR("name"));
        json_add_string(out, begin->begin.name);
    }
    openai_chat_add_key(out, custom ? STR("input") : STR("arguments"));
    buf_add_char(out, '"');
    for (uint32_t i = 0; i < n; i++) {
        if (events[i].kind == EVENT_TOOL_ARGS)
            json_add_escaped(out, events[i].text);
    }
    buf_add(out, STR("\"}"));
}

/* Google's. */
static void write_signature(struct buf *out, const struct event *events, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (events[i].kind != EVENT_SIGNATURE)
            continue;
        buf_add(out, STR(",\"extra_content\":{\"google\":{\"thought_signature\":"));
        json_add_string(out, events[i].text);
        buf_add(out, STR("}}"));
        return;
    }
}

/* events[0, n): what the frame says of one call, its begin first where it begins in it. */
static void write_call(struct buf *out, const struct openai_chat_tool *tool, bool whole,
                       const struct event *events, uint32_t n)
{
    const struct event *begin = events[0].kind == EVENT_BLOCK_BEGIN ? &events[0] : NULL;

    buf_add_char(out, '{');
    if (!whole) {
        openai_chat_add_key(out, STR("index"));
        buf_add_int64(out, tool->number);
    }
    if (begin != NULL) {
        openai_chat_add_key(out, STR("id"));
        json_add_string(out, begin->begin.id);
        buf_add(out, tool->custom ? STR(",\"type\":\"custom\"") : STR(",\"type\":\"function\""));
    }
    if (begin != NULL || !whole)
        buf_add_char(out, ',');
    write_function(out, begin, tool->custom, events, n);
    write_signature(out, events, n);
    buf_add_char(out, '}');
}

/* The member, unless nothing of a call was said. Its value is the last of an object that is being
 * written. */
static void write_calls(struct buf *out, const struct openai_chat_decoder *d,
                        const struct openai_chat_fault *fault, bool whole)
{
    bool any = false;

    for (uint32_t i = fault->begin; i < fault->end;) {
        const struct event *first = &d->events[i];
        const struct openai_chat_tool *tool = NULL;
        uint32_t n = 1;
        if (is_of_call(first) && first->choice == fault->choice->index)
            tool = tool_of_block(fault->choice, first->block);
        if (tool == NULL || tool->legacy) {
            i++;
            continue;
        }
        while (i + n < fault->end && first[n].block == first->block &&
               first[n].choice == first->choice && is_of_call(&first[n]))
            n++;
        if (any)
            buf_add_char(out, ',');
        else
            openai_chat_add_key(out, STR("tool_calls"));
        if (!any)
            buf_add_char(out, '[');
        write_call(out, tool, whole, first, n);
        any = true;
        i += n;
    }
    if (any)
        buf_add_char(out, ']');
}

/* --- messages ----------------------------------------------------------------------------- */

static void write_part_text(struct buf *out, yyjson_val *part)
{
    struct str type = json_get_str(part, STR("type"));

    if (yyjson_is_str(part))
        json_add_escaped(out, json_str(part));
    else if (!str_eq(type, STR("thinking")) && !str_eq(type, STR("refusal")))
        json_add_escaped(out, json_get_str(part, STR("text")));
}

static void write_part_thinking(struct buf *out, yyjson_val *part)
{
    yyjson_val *thinking = json_get(part, STR("thinking"));
    size_t at;
    size_t count;
    yyjson_val *inner;

    if (!str_eq(json_get_str(part, STR("type")), STR("thinking")))
        return;
    json_add_escaped(out, json_str(thinking));
    yyjson_arr_foreach(thinking, at, count, inner)
    {
        json_add_escaped(out, json_get_str(inner, STR("text")));
    }
}

static bool has_part(yyjson_val *parts, struct str type)
{
    size_t at;
    size_t count;
    yyjson_val *part;

    yyjson_arr_foreach(parts, at, count, part)
    {
        if (str_eq(json_get_str(part, STR("type")), type))
            return true;
    }
    return false;
}

/* What the text refers to, whatever a client makes of it. */
static void write_references(struct buf *out, yyjson_val *parts, struct arena *arena)
{
    size_t at;
    size_t count;
    size_t n = 0;
    yyjson_val *part;

    openai_chat_add_key(out, STR("references"));
    buf_add_char(out, '[');
    yyjson_arr_foreach(parts, at, count, part)
    {
        if (!str_eq(json_get_str(part, STR("type")), STR("reference")))
            continue;
        if (n++ > 0)
            buf_add_char(out, ',');
        buf_add(out, json_text(part, arena));
    }
    buf_add_char(out, ']');
}

/* A list of parts as the members that clients know: content, reasoning_content, refusal. */
static void write_parts(struct buf *out, yyjson_val *message, struct arena *arena)
{
    yyjson_val *parts = json_get(message, STR("content"));
    bool thinks = has_part(parts, STR("thinking")) &&
                  json_get_str(message, STR("reasoning_content")).n == 0 &&
                  json_get_str(message, STR("reasoning")).n == 0;
    size_t at;
    size_t count;
    yyjson_val *part;

    buf_add_char(out, '"');
    yyjson_arr_foreach(parts, at, count, part)
    {
        write_part_text(out, part);
    }
    buf_add_char(out, '"');
    if (thinks) {
        openai_chat_add_key(out, STR("reasoning_content"));
        buf_add_char(out, '"');
        yyjson_arr_foreach(parts, at, count, part)
        {
            write_part_thinking(out, part);
        }
        buf_add_char(out, '"');
    }
    if (has_part(parts, STR("reference")))
        write_references(out, parts, arena);
    if (has_part(parts, STR("refusal")) && json_get_str(message, STR("refusal")).n == 0) {
        openai_chat_add_key(out, STR("refusal"));
        buf_add_char(out, '"');
        yyjson_arr_foreach(parts, at, count, part)
        {
            if (str_eq(json_get_str(part, STR("type")), STR("refusal")))
                json_add_escaped(out, json_get_str(part, STR("refusal")));
        }
        buf_add_char(out, '"');
    }
}

/* Whether the member is not copied: it is said otherwise, or goes. */
static bool is_replaced(const struct openai_chat_fault *fault, struct str key)
{
    if (str_eq(key, STR("role")))
        return (fault->wrong & OPENAI_CHAT_WRONG_ROLE) != 0;
    if (str_eq(key, STR("tool_calls")))
        return (fault->wrong & OPENAI_CHAT_WRONG_CALLS) != 0;
    if (str_eq(key, STR("function_call")))
        return (fault->wrong & OPENAI_CHAT_WRONG_LEGACY) != 0;
    bool parts = (fault->wrong & OPENAI_CHAT_WRONG_PARTS) != 0;
    if (str_eq(key, STR("content")))
        return parts;
    /* Empty ones make room for what the parts say. */
    if (parts && (str_eq(key, STR("reasoning_content")) || str_eq(key, STR("reasoning"))))
        return json_get_str(fault->message, key).n == 0;
    if (parts && str_eq(key, STR("refusal")))
        return json_get_str(fault->message, key).n == 0 &&
               has_part(json_get(fault->message, STR("content")), STR("refusal"));
    return false;
}

static void write_message(struct buf *out, struct openai_chat_decoder *d,
                          const struct openai_chat_fault *fault, struct str source, bool whole)
{
    bool content = !whole || (fault->wrong & OPENAI_CHAT_WRONG_PARTS) != 0;
    struct json_member member;
    size_t cursor = 0;

    buf_add_char(out, '{');
    if ((fault->wrong & OPENAI_CHAT_WRONG_ROLE) != 0)
        buf_add(out, STR("\"role\":\"assistant\""));
    if ((fault->wrong & OPENAI_CHAT_WRONG_PARTS) != 0) {
        openai_chat_add_key(out, STR("content"));
        write_parts(out, fault->message, d->options.scratch);
    }
    while (source.n > 0 && json_kind_of(source) == JSON_OBJECT &&
           json_object_next(source, &cursor, d->options.scratch, &member)) {
        if (is_replaced(fault, member.key))
            continue;
        content |= str_eq(member.key, STR("content"));
        openai_chat_add_key(out, member.key);
        buf_add(out, member.value);
    }
    if (!content) {
        openai_chat_add_key(out, STR("content"));
        buf_add(out, STR("null"));
    }
    if ((fault->wrong & OPENAI_CHAT_WRONG_CALLS) != 0)
        write_calls(out, d, fault, whole);
    buf_add_char(out, '}');
}

/* --- choices ------------------------------------------------------------------------------ */

static void write_finish(struct buf *out, const struct openai_chat_fault *fault)
{
    openai_chat_add_key(out, STR("finish_reason"));
    if (str_is_null(fault->finish))
        buf_add(out, STR("null"));
    else
        json_add_string(out, fault->finish);
}

static bool is_message_wrong(const struct openai_chat_fault *fault)
{
    return (fault->wrong &
            (OPENAI_CHAT_WRONG_HOME | OPENAI_CHAT_WRONG_ROLE | OPENAI_CHAT_WRONG_PARTS |
             OPENAI_CHAT_WRONG_CALLS | OPENAI_CHAT_WRONG_LEGACY)) != 0;
}

/* Whether the choice's member is not copied. */
static bool is_rewritten_of_choice(const struct openai_chat_fault *fault, struct str key,
                                   bool whole)
{
    bool moves = (fault->wrong & OPENAI_CHAT_WRONG_HOME) != 0;

    if (str_eq(key, STR("index")))
        return true;
    if (str_eq(key, STR("finish_reason")))
        return (fault->wrong & OPENAI_CHAT_WRONG_FINISH) != 0;
    if (str_eq(key, STR("message")))
        return moves || (whole && is_message_wrong(fault));
    if (str_eq(key, STR("delta")))
        return moves || (!whole && is_message_wrong(fault));
    return false;
}

static void write_choice(struct buf *out, struct openai_chat_decoder *d,
                         const struct openai_chat_fault *fault, struct str source, bool whole)
{
    struct str home = whole ? STR("message") : STR("delta");
    struct str other = whole ? STR("delta") : STR("message");
    bool moves = (fault->wrong & OPENAI_CHAT_WRONG_HOME) != 0;
    bool finish = false;
    struct json_member member;
    size_t cursor = 0;

    buf_add(out, STR("{\"index\":"));
    buf_add_int64(out, fault->choice->index);
    if (is_message_wrong(fault)) {
        openai_chat_add_key(out, home);
        write_message(out, d, fault, json_object_find(source, moves ? other : home), whole);
    }
    while (json_object_next(source, &cursor, d->options.scratch, &member)) {
        if (is_rewritten_of_choice(fault, member.key, whole))
            continue;
        finish |= str_eq(member.key, STR("finish_reason"));
        openai_chat_add_key(out, member.key);
        buf_add(out, member.value);
    }
    if (!finish)
        write_finish(out, fault);
    buf_add_char(out, '}');
}

static void write_choices(struct buf *out, struct openai_chat_decoder *d, struct str source,
                          bool whole)
{
    const struct openai_chat_fault *fault = d->faults.choices;
    struct str choice;
    size_t cursor = 0;

    openai_chat_add_key(out, STR("choices"));
    buf_add_char(out, '[');
    for (size_t at = 0; source.n > 0 && json_kind_of(source) == JSON_ARRAY &&
                        json_array_next(source, &cursor, &choice);
         at++) {
        if (at > 0)
            buf_add_char(out, ',');
        if (fault == NULL || fault->at != at) {
            buf_add(out, choice);
            continue;
        }
        write_choice(out, d, fault, choice, whole);
        fault = fault->next;
    }
    buf_add_char(out, ']');
}

/* --- the root ----------------------------------------------------------------------------- */

static void write_head(struct buf *out, const struct openai_chat_decoder *d, unsigned wrong,
                       bool whole)
{
    if ((wrong & OPENAI_CHAT_WRONG_ID) != 0) {
        openai_chat_add_key(out, STR("id"));
        buf_add(out, d->id.n > 0 ? STR("\"") : STR("\"chatcmpl-"));
        json_add_escaped(out, d->id.n > 0 ? d->id : d->options.id);
        buf_add_char(out, '"');
    }
    if ((wrong & OPENAI_CHAT_WRONG_OBJECT) != 0) {
        openai_chat_add_key(out, STR("object"));
        json_add_string(out, right_object(whole));
    }
    if ((wrong & OPENAI_CHAT_WRONG_CREATED) != 0) {
        openai_chat_add_key(out, STR("created"));
        buf_add_int64(out, d->created_s > 0 ? d->created_s : d->options.now_s);
    }
    if ((wrong & OPENAI_CHAT_WRONG_MODEL) != 0) {
        openai_chat_add_key(out, STR("model"));
        json_add_string(out, d->model.n > 0 ? d->model : d->options.model);
    }
}

static void write_usage(struct buf *out, const struct openai_chat_decoder *d, struct str source,
                        bool whole)
{
    const struct usage none = {0, 0, 0, -1, -1, -1};

    openai_chat_add_key(out, STR("usage"));
    if (d->faults.usage_verdict == OPENAI_CHAT_USAGE_MISREAD)
        openai_chat_usage_write(out, source, &d->faults.usage, d->options.scratch);
    else if (whole)
        openai_chat_usage_write(out, source, &none, d->options.scratch);
    else
        buf_add(out, STR("null"));
}

static bool is_rewritten(unsigned wrong, bool choices, struct str key)
{
    static const struct {
        const char *key;
        unsigned wrong;
    } members[] = {
        {"id", OPENAI_CHAT_WRONG_ID},           {"object", OPENAI_CHAT_WRONG_OBJECT},
        {"created", OPENAI_CHAT_WRONG_CREATED}, {"model", OPENAI_CHAT_WRONG_MODEL},
        {"usage", OPENAI_CHAT_WRONG_USAGE},
    };

    if (str_eq(key, STR("choices")))
        return choices || (wrong & OPENAI_CHAT_WRONG_CHOICES) != 0;
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        if ((wrong & members[i].wrong) != 0 && str_eq(key, str_c(members[i].key)))
            return true;
    }
    return false;
}

static void write_root(struct buf *out, struct openai_chat_decoder *d, struct str source,
                       bool whole)
{
    unsigned wrong = d->faults.root;
    bool choices = d->faults.choices != NULL;
    struct json_member member;
    size_t cursor = 0;

    source = str_trim(source);
    buf_add_char(out, '{');
    write_head(out, d, wrong, whole);
    while (json_object_next(source, &cursor, d->options.scratch, &member)) {
        if (is_rewritten(wrong, choices, member.key))
            continue;
        openai_chat_add_key(out, member.key);
        buf_add(out, member.value);
    }
    if (choices || (wrong & OPENAI_CHAT_WRONG_CHOICES) != 0)
        write_choices(out, d, json_object_find(source, STR("choices")), whole);
    if ((wrong & OPENAI_CHAT_WRONG_USAGE) != 0)
        write_usage(out, d, json_object_find(source, STR("usage")), whole);
    buf_add_char(out, '}');
}

/* The frame's error; NULL: it has none. */
static const struct event *error_of(const struct openai_chat_decoder *d)
{
    const struct event *last = d->n > 0 ? &d->events[d->n - 1] : NULL;

    return last != NULL && last->kind == EVENT_ERROR ? last : NULL;
}

static void write_error(struct buf *out, const struct event *error)
{
    struct event typed = *error;

    if (str_is_null(typed.error.type))
        typed.error.type = STR("server_error");
    openai_chat_add_error(out, &typed, true);
}

/* --- frames ------------------------------------------------------------------------------- */

static struct buf *begin(struct openai_chat_decoder *d, size_t n)
{
    if (d->mended.size_max == 0)
        buf_init(&d->mended, 8 * (n > d->options.event_bytes_max ? n : d->options.event_bytes_max) +
                                 MENDED_BYTES_MORE);
    buf_reset(&d->mended);
    return &d->mended;
}

/* Null, and the frame is refused: it did not fit. */
static struct str finish(struct openai_chat_decoder *d)
{
    if (!buf_ok(&d->mended))
        d->too_many = true;
    return buf_ok(&d->mended) ? buf_str(&d->mended) : STR_NULL;
}

struct str openai_chat_mend_whole(struct openai_chat_decoder *d, struct str json)
{
    if (is_fine(d) || error_of(d) != NULL)
        return STR_NULL;
    write_root(begin(d, json.n), d, json, true);
    return finish(d);
}

/* Line breaks between tokens would end the event's line. */
static void on_one_line(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' || p[i] == '\r')
            p[i] = ' ';
    }
}

struct str openai_chat_mend_event(struct openai_chat_decoder *d, const struct sse_frame *sse)
{
    const struct event *error = error_of(d);
    bool inside = sse->data.p >= sse->raw.p && sse->data.p <= sse->raw.p + sse->raw.n;
    size_t before = inside ? (size_t)(sse->data.p - sse->raw.p) : 0;

    if (is_fine(d))
        return STR_NULL;
    struct buf *out = begin(d, sse->raw.n);
    buf_add(out, inside ? str_head(sse->raw, before) : STR("data: "));
    size_t at = out->n;
    if (error != NULL && (d->faults.root & OPENAI_CHAT_WRONG_ERROR) != 0) {
        write_error(out, error);
        error = NULL;
    } else {
        write_root(out, d, sse->data, false);
    }
    if (buf_ok(out))
        on_one_line(out->p + at, out->n - at);
    buf_add(out, inside ? str_from(sse->raw, before + sse->data.n) : STR("\n\n"));
    /* The choice's own word for it is none that a client knows. */
    if (error != NULL && d->faults.choices != NULL) {
        bool ended = str_ends(sse->raw, STR("\n\n")) || str_ends(sse->raw, STR("\r\n\r\n"));
        buf_add(out, ended || !inside ? STR("data: ") : STR("\n\ndata: "));
        write_error(out, error);
        buf_add(out, STR("\n\n"));
    }
    return finish(d);
}

struct str openai_chat_mend_end(struct openai_chat_decoder *d, struct str raw)
{
    const unsigned head = OPENAI_CHAT_WRONG_ID | OPENAI_CHAT_WRONG_OBJECT |
                          OPENAI_CHAT_WRONG_CREATED | OPENAI_CHAT_WRONG_MODEL;
    struct buf *out = begin(d, raw.n);
    bool any = false;

    for (const struct openai_chat_choice *c = d->choices; c != NULL; c = c->next) {
        if (!c->ended_late)
            continue;
        buf_add(out, STR("data: {"));
        write_head(out, d, head, false);
        buf_add(out, STR(",\"choices\":[{\"index\":"));
        buf_add_int64(out, c->index);
        buf_add(out, STR(",\"delta\":{"));
        write_calls(out, d, &(struct openai_chat_fault){.choice = c, .end = d->n}, false);
        buf_add(out, STR("},\"finish_reason\":"));
        json_add_string(out, c->finish);
        buf_add(out, STR("}]}\n\n"));
        any = true;
    }
    if (!any)
        return STR_NULL;
    buf_add(out, raw);
    return finish(d);
}
