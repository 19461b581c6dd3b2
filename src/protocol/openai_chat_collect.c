/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: events collected into the choices of one whole body.
 *
 * How       A piece for each choice, in order; in it a buffer for each member that is text, a list
 *           of tool calls by block, and a list of members that we do not model. Those come as
 *           lists (joined) or objects (member by member: audio's data and transcript are joined,
 *           of others the last one counts).
 * Owns      All of it, on the heap, until fini. What is held counts against bytes_max.
 */
#include "protocol/openai_chat_priv.h"

#include "base/mem.h"
#include "text/json_index.h"

enum { ITEM_COST = 128 };

struct collected_call {
    struct collected_call *next;
    uint32_t block;
    bool custom;
    bool legacy;
    bool bare_is_object; /* no arguments at all are {} */
    struct buf id;
    struct buf name;
    struct buf args;
};

/* A member of an object that comes in pieces. */
struct collected_field {
    struct collected_field *next;
    bool joined;
    struct buf key;
    struct buf value; /* JSON text; joined: a string's body */
};

struct collected_side {
    struct collected_side *next;
    uint32_t block;
    bool is_list;
    bool media;   /* its text is an image */
    bool dropped; /* another protocol's */
    struct buf member;
    struct buf items; /* of a list, with commas */
    struct collected_field *fields;
};

struct openai_chat_piece {
    struct openai_chat_piece *next;
    uint32_t choice;
    uint32_t refusal_block; /* the last one of its kind, or EVENT_NO_BLOCK */
    bool stopped;
    bool said; /* content: there was a text block */
    enum stop_reason reason;
    struct buf native;
    struct buf content;
    struct buf refusal;
    struct buf reasoning;
    struct buf reasoning_member;
    struct buf citations;
    struct buf images;
    struct buf logprobs; /* of the content */
    struct buf logprobs_refusal;
    struct collected_call *calls;
    struct collected_side *sides;
};

/* --- taking ------------------------------------------------------------------------------- */

static bool count(struct openai_chat_body *body, size_t n)
{
    assert(body->bytes <= body->bytes_max);
    if (n > body->bytes_max || body->bytes > body->bytes_max - n) {
        body->bytes = body->bytes_max;
        return false;
    }
    body->bytes += n;
    return true;
}

static bool take(struct openai_chat_body *body, struct buf *b, struct str s)
{
    if (b->size_max == 0)
        buf_init(b, body->bytes_max);
    return count(body, s.n) && buf_add(b, s);
}

/* s, after a comma where it is not the first. */
static bool take_item(struct openai_chat_body *body, struct buf *b, struct str s)
{
    if (s.n == 0)
        return true;
    return (b->n == 0 || take(body, b, STR(","))) && take(body, b, s);
}

/* What stands between the brackets of a list. */
static struct str inside_list(struct str list)
{
    if (list.n < 2 || json_kind_of(list) != JSON_ARRAY)
        return STR_NULL;
    return str_trim(str_of(list.p + 1, list.n - 2));
}

static struct openai_chat_piece *piece_of(struct openai_chat_body *body, uint32_t choice)
{
    struct openai_chat_piece **to = &body->pieces;

    while (*to != NULL && (*to)->choice < choice)
        to = &(*to)->next;
    if (*to != NULL && (*to)->choice == choice)
        return *to;
    if (!count(body, sizeof(**to)))
        return NULL;
    struct openai_chat_piece *piece = mem_new(sizeof(*piece));
    piece->next = *to;
    piece->choice = choice;
    piece->refusal_block = EVENT_NO_BLOCK;
    *to = piece;
    return piece;
}

static struct collected_call *call_of(struct openai_chat_piece *piece, uint32_t block)
{
    struct collected_call *call = piece->calls;

    while (call != NULL && call->block != block)
        call = call->next;
    return call;
}

static struct collected_side *side_of(struct openai_chat_piece *piece, uint32_t block)
{
    struct collected_side *side = piece->sides;

    while (side != NULL && side->block != block)
        side = side->next;
    return side;
}

static bool begin_call(struct openai_chat_body *body, struct openai_chat_piece *piece,
                       const struct event *event)
{
    struct collected_call **to = &piece->calls;

    if (!count(body, ITEM_COST))
        return false;
    while (*to != NULL)
        to = &(*to)->next;
    *to = mem_new(sizeof(**to));
    (*to)->block = event->block;
    (*to)->custom = event->begin.custom;
    (*to)->legacy = body->same_protocol ? event->begin.legacy
                                        : body->functions && *to == piece->calls;
    (*to)->bare_is_object = !body->same_protocol && !event->begin.custom;
    return take(body, &(*to)->id, event->begin.id) && take(body, &(*to)->name, event->begin.name);
}

static bool begin_side(struct openai_chat_body *body, struct openai_chat_piece *piece,
                       const struct event *event)
{
    struct collected_side **to = &piece->sides;

    if (!count(body, ITEM_COST))
        return false;
    while (*to != NULL)
        to = &(*to)->next;
    *to = mem_new(sizeof(**to));
    (*to)->block = event->block;
    (*to)->media = event->begin.kind == BLOCK_MEDIA;
    (*to)->dropped = !(*to)->media && !body->same_protocol;
    return take(body, &(*to)->member, event->begin.name);
}

static bool take_begin(struct openai_chat_body *body, struct openai_chat_piece *piece,
                       const struct event *event)
{
    assert(event->kind == EVENT_BLOCK_BEGIN);
    switch (event->begin.kind) {
    case BLOCK_TEXT:
        piece->said = true;
        return true;
    case BLOCK_REFUSAL:
        piece->refusal_block = event->block;
        return true;
    case BLOCK_REASONING:
        buf_fini(&piece->reasoning_member);
        piece->reasoning_member.size_max = 0;
        return take(body, &piece->reasoning_member,
                    str_eq(event->begin.name, STR("reasoning")) ? STR("reasoning")
                                                                : STR("reasoning_content"));
    case BLOCK_TOOL:
        return begin_call(body, piece, event);
    case BLOCK_MEDIA:
    case BLOCK_VENDOR:
        return begin_side(body, piece, event);
    case BLOCK_REDACTED:
        return true;
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("no such kind of block");
}

static bool take_field(struct openai_chat_body *body, struct collected_side *side,
                       const struct json_member *member)
{
    struct collected_field **to = &side->fields;

    while (*to != NULL && !str_eq(buf_str(&(*to)->key), member->key))
        to = &(*to)->next;
    if (*to == NULL) {
        if (!count(body, ITEM_COST))
            return false;
        *to = mem_new(sizeof(**to));
        (*to)->joined = json_kind_of(member->value) == JSON_STRING &&
                        (str_eq(member->key, STR("data")) ||
                         str_eq(member->key, STR("transcript")));
        if (!take(body, &(*to)->key, member->key))
            return false;
    }
    if ((*to)->joined && json_kind_of(member->value) != JSON_STRING)
        return true;
    assert(member->value.n >= 2 || !(*to)->joined);
    if ((*to)->joined)
        return take(body, &(*to)->value, str_of(member->value.p + 1, member->value.n - 2));
    buf_reset(&(*to)->value);
    return take(body, &(*to)->value, member->value);
}

static bool take_image(struct openai_chat_body *body, struct openai_chat_piece *piece,
                       struct str json)
{
    struct buf image;
    bool ok = true;

    buf_init(&image, body->bytes_max);
    if (openai_chat_add_image(&image, json))
        ok = take_item(body, &piece->images, buf_str(&image));
    buf_fini(&image);
    return ok;
}

static bool take_side(struct openai_chat_body *body, struct collected_side *side, struct str json)
{
    struct json_member member;
    struct arena keys;
    size_t cursor = 0;
    bool ok = true;

    if (json.n == 0 || side->dropped)
        return true;
    if (json_kind_of(json) == JSON_ARRAY) {
        side->is_list = true;
        return take_item(body, &side->items, inside_list(json));
    }
    if (json_kind_of(json) != JSON_OBJECT || side->is_list)
        return true;
    arena_init(&keys, body->bytes_max, 0, NULL);
    while (ok && json_object_next(json, &cursor, &keys, &member))
        ok = take_field(body, side, &member);
    arena_fini(&keys);
    return ok;
}

static bool take_text(struct openai_chat_body *body, struct openai_chat_piece *piece,
                      const struct event *event)
{
    struct collected_side *side = side_of(piece, event->block);

    if (side != NULL && side->media)
        return take_image(body, piece, event->text);
    if (side != NULL)
        return take_side(body, side, event->text);
    if (event->block == piece->refusal_block)
        return take(body, &piece->refusal, event->text);
    return take(body, &piece->content, event->text);
}

static bool take_logprobs(struct openai_chat_body *body, struct openai_chat_piece *piece,
                          struct str json)
{
    if (json.n == 0 || json_kind_of(json) != JSON_OBJECT)
        return true;
    return take_item(body, &piece->logprobs, inside_list(json_object_find(json, STR("content")))) &&
           take_item(body, &piece->logprobs_refusal,
                     inside_list(json_object_find(json, STR("refusal"))));
}

bool openai_chat_collect_event(struct openai_chat_body *body, const struct event *event)
{
    if (event->kind == EVENT_KEEPALIVE)
        return true;

    struct openai_chat_piece *piece = piece_of(body, event->choice);
    if (piece == NULL)
        return false;
    switch (event->kind) {
    case EVENT_BLOCK_BEGIN:
        return take_begin(body, piece, event);
    case EVENT_TEXT:
        return take_text(body, piece, event);
    case EVENT_REASONING:
        return take(body, &piece->reasoning, event->text);
    case EVENT_TOOL_ARGS:
        assert(call_of(piece, event->block) != NULL);
        return take(body, &call_of(piece, event->block)->args, event->text);
    case EVENT_CITATION:
        if (!body->same_protocol && !openai_chat_is_annotation(event->text))
            return true;
        return take_item(body, &piece->citations, event->text);
    case EVENT_LOGPROBS:
        return take_logprobs(body, piece, event->text);
    case EVENT_STOP:
        piece->stopped = true;
        piece->reason = event->stop.reason;
        return !body->same_protocol || take(body, &piece->native, event->stop.native);
    case EVENT_SIGNATURE:
    case EVENT_BLOCK_END:
        return true;
    case EVENT_START:
    case EVENT_USAGE:
    case EVENT_ERROR:
    case EVENT_KEEPALIVE:
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("not an event of a choice");
}

/* --- writing ------------------------------------------------------------------------------ */

static void write_call(const struct collected_call *call, struct buf *out)
{
    if (!call->legacy) {
        buf_add(out, STR("{\"id\":"));
        json_add_string(out, buf_str(&call->id));
        buf_add(out, call->custom ? STR(",\"type\":\"custom\",\"custom\":")
                                  : STR(",\"type\":\"function\",\"function\":"));
    }
    buf_add(out, STR("{\"name\":"));
    json_add_string(out, buf_str(&call->name));
    buf_add(out, call->custom ? STR(",\"input\":") : STR(",\"arguments\":"));
    if (call->args.n == 0 && call->bare_is_object)
        buf_add(out, STR("\"{}\""));
    else
        json_add_string(out, buf_str(&call->args));
    buf_add_char(out, '}');
    if (!call->legacy)
        buf_add_char(out, '}');
}

/* Returns whether there were any, *ret_legacy: the last one was said as function_call. */
static bool write_calls(const struct openai_chat_piece *piece, struct buf *out, bool *ret_legacy)
{
    const struct collected_call *legacy = NULL;
    size_t n = 0;

    for (const struct collected_call *call = piece->calls; call != NULL; call = call->next) {
        if (call->legacy) {
            legacy = call;
            continue;
        }
        buf_add(out, n++ == 0 ? STR(",\"tool_calls\":[") : STR(","));
        write_call(call, out);
    }
    if (n > 0)
        buf_add_char(out, ']');
    if (legacy != NULL) {
        buf_add(out, STR(",\"function_call\":"));
        write_call(legacy, out);
    }
    *ret_legacy = legacy != NULL;
    return n > 0 || legacy != NULL;
}

static void write_side(const struct collected_side *side, struct buf *out)
{
    buf_add_char(out, ',');
    json_add_string(out, buf_str(&side->member));
    buf_add_char(out, ':');
    assert(side->is_list || side->items.n == 0);
    if (side->is_list) {
        buf_add_char(out, '[');
        buf_add(out, buf_str(&side->items));
        buf_add_char(out, ']');
        return;
    }
    buf_add_char(out, '{');
    for (const struct collected_field *field = side->fields; field != NULL; field = field->next) {
        json_add_string(out, buf_str(&field->key));
        buf_add(out, field->joined ? STR(":\"") : STR(":"));
        buf_add(out, buf_str(&field->value));
        if (field->joined)
            buf_add_char(out, '"');
        if (field->next != NULL)
            buf_add_char(out, ',');
    }
    buf_add_char(out, '}');
}

static void write_list(const char *key, const struct buf *items, struct buf *out)
{
    json_add_string(out, str_c(key));
    buf_add(out, STR(":["));
    buf_add(out, buf_str(items));
    buf_add_char(out, ']');
}

static void write_logprobs(const struct openai_chat_piece *piece, struct buf *out)
{
    buf_add(out, STR(",\"logprobs\":"));
    if (piece->logprobs.n == 0 && piece->logprobs_refusal.n == 0) {
        buf_add(out, STR("null"));
        return;
    }
    buf_add_char(out, '{');
    write_list("content", &piece->logprobs, out);
    if (piece->logprobs_refusal.n > 0) {
        buf_add_char(out, ',');
        write_list("refusal", &piece->logprobs_refusal, out);
    }
    buf_add_char(out, '}');
}

static bool is_shown(const struct collected_side *side)
{
    return !side->media && !side->dropped;
}

static bool has_sides(const struct openai_chat_piece *piece)
{
    const struct collected_side *side = piece->sides;

    while (side != NULL && !is_shown(side))
        side = side->next;
    return side != NULL;
}

/* content is null only beside something else (openai-chat.md, 16.1). */
static void write_message(const struct openai_chat_piece *piece, struct buf *out)
{
    bool other = piece->calls != NULL || has_sides(piece) || piece->images.n > 0 ||
                 piece->refusal.n > 0;

    buf_add(out, STR("{\"role\":\"assistant\",\"content\":"));
    if (piece->said || !other)
        json_add_string(out, buf_str(&piece->content));
    else
        buf_add(out, STR("null"));
    buf_add(out, STR(",\"refusal\":"));
    if (piece->refusal.n > 0)
        json_add_string(out, buf_str(&piece->refusal));
    else
        buf_add(out, STR("null"));
    if (piece->reasoning.n > 0) {
        buf_add_char(out, ',');
        json_add_string(out, buf_str(&piece->reasoning_member));
        buf_add_char(out, ':');
        json_add_string(out, buf_str(&piece->reasoning));
    }
    if (piece->citations.n > 0) {
        buf_add_char(out, ',');
        write_list("annotations", &piece->citations, out);
    }
}

static void write_piece(const struct openai_chat_piece *piece, struct buf *out)
{
    struct event stop = {.kind = EVENT_STOP};
    bool legacy;

    stop.stop.reason = piece->stopped ? piece->reason : STOP_END;
    if (stop.stop.reason == STOP_REFUSAL && piece->refusal.n == 0)
        stop.stop.reason = STOP_FILTER;
    stop.stop.native = buf_str(&piece->native);
    buf_add(out, STR("{\"index\":"));
    buf_add_int64(out, piece->choice);
    buf_add(out, STR(",\"message\":"));
    write_message(piece, out);
    bool tools = write_calls(piece, out, &legacy);
    if (piece->images.n > 0) {
        buf_add_char(out, ',');
        write_list("images", &piece->images, out);
    }
    for (const struct collected_side *side = piece->sides; side != NULL; side = side->next) {
        if (is_shown(side))
            write_side(side, out);
    }
    buf_add_char(out, '}');
    write_logprobs(piece, out);
    buf_add(out, STR(",\"finish_reason\":"));
    json_add_string(out, openai_chat_finish_word(&stop, tools, legacy));
    buf_add_char(out, '}');
}

void openai_chat_collect_write(const struct openai_chat_body *body, struct buf *out)
{
    buf_add_char(out, '[');
    for (const struct openai_chat_piece *piece = body->pieces; piece != NULL; piece = piece->next) {
        if (piece != body->pieces)
            buf_add_char(out, ',');
        write_piece(piece, out);
    }
    buf_add_char(out, ']');
}

/* --- forgetting --------------------------------------------------------------------------- */

static void fini_calls(struct openai_chat_piece *piece)
{
    while (piece->calls != NULL) {
        struct collected_call *call = piece->calls;
        piece->calls = call->next;
        buf_fini(&call->id);
        buf_fini(&call->name);
        buf_fini(&call->args);
        mem_free(call);
    }
}

static void fini_sides(struct openai_chat_piece *piece)
{
    while (piece->sides != NULL) {
        struct collected_side *side = piece->sides;
        piece->sides = side->next;
        while (side->fields != NULL) {
            struct collected_field *field = side->fields;
            side->fields = field->next;
            buf_fini(&field->key);
            buf_fini(&field->value);
            mem_free(field);
        }
        buf_fini(&side->member);
        buf_fini(&side->items);
        mem_free(side);
    }
}

void openai_chat_collect_fini(struct openai_chat_body *body)
{
    while (body->pieces != NULL) {
        struct openai_chat_piece *piece = body->pieces;
        body->pieces = piece->next;
        fini_calls(piece);
        fini_sides(piece);
        buf_fini(&piece->native);
        buf_fini(&piece->content);
        buf_fini(&piece->refusal);
        buf_fini(&piece->reasoning);
        buf_fini(&piece->reasoning_member);
        buf_fini(&piece->citations);
        buf_fini(&piece->images);
        buf_fini(&piece->logprobs);
        buf_fini(&piece->logprobs_refusal);
        mem_free(piece);
    }
    body->bytes = 0;
}
