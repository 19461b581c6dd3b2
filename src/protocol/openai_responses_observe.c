/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: what a client knows from frames that went out raw.
 *
 * What      Keeps the encoder's items, texts and numbers as if it had made them itself, so that it
 *           can go on after any frame.
 * How       A frame with one text event is counted, its text remembered: that is most of them. Of
 *           every other the few members that name items are looked up in its bytes.
 * Owns      Nothing of its own.
 * Not here  Writing anything.
 */
#include "protocol/openai_responses_priv.h"

/* The first data line; frames with several have none of the members that we look for. */
static struct str data_of(struct str raw)
{
    struct str line;

    while (str_cut(&raw, '\n', &line)) {
        line = str_trim(line);
        if (str_starts(line, STR("data:")))
            return str_trim(str_from(line, 5));
    }
    return STR_NULL;
}

static struct str find(struct str object, const char *key)
{
    if (object.n == 0 || json_kind_of(object) != JSON_OBJECT)
        return STR_NULL;
    return json_object_find(object, str_c(key));
}

static struct str find_string(struct openai_responses_encoder *enc, struct str object,
                              const char *key)
{
    struct str value = find(object, key);

    if (value.n == 0 || json_kind_of(value) != JSON_STRING)
        return STR_NULL;
    return str_copy(enc->options.arena, json_string_value(value, enc->options.arena));
}

static uint32_t find_index(struct str object, const char *key, uint32_t otherwise)
{
    int64_t value;

    if (!str_to_int64(find(object, key), &value) || value < 0 || value >= INT32_MAX)
        return otherwise;
    return (uint32_t)value;
}

static enum openai_responses_kind kind_of(struct str type)
{
    if (str_eq(type, STR("message")))
        return OPENAI_RESPONSES_MESSAGE;
    if (str_eq(type, STR("reasoning")))
        return OPENAI_RESPONSES_REASONING;
    if (str_eq(type, STR("function_call")))
        return OPENAI_RESPONSES_FUNCTION;
    return str_eq(type, STR("custom_tool_call")) ? OPENAI_RESPONSES_CUSTOM : OPENAI_RESPONSES_OTHER;
}

static struct openai_responses_sent *last_item(const struct openai_responses_encoder *enc)
{
    struct openai_responses_sent *item = enc->items;

    while (item != NULL && item->next != NULL)
        item = item->next;
    return item;
}

/* The item that an event is of; NULL: not known. */
static struct openai_responses_sent *item_of(const struct openai_responses_encoder *enc,
                                             struct str data)
{
    struct openai_responses_sent *last = last_item(enc);

    return openai_responses_collect_find_item(enc, find_index(data, "output_index",
                                                              last == NULL ? 0 : last->index));
}

static void see_item_added(struct openai_responses_encoder *enc, struct str data)
{
    struct str whole = find(data, "item");
    uint32_t index = find_index(data, "output_index", enc->items_n);

    if (whole.n == 0 || openai_responses_collect_find_item(enc, index) != NULL)
        return;
    struct str type = find_string(enc, whole, "type");
    struct openai_responses_sent *item = openai_responses_collect_item(enc, kind_of(type), index);
    item->raw = true;
    item->id = find_string(enc, whole, "id");
    item->call_id = find_string(enc, whole, "call_id");
    item->space = find_string(enc, whole, "namespace");
    item->name = item->kind == OPENAI_RESPONSES_OTHER ? type : find_string(enc, whole, "name");
}

static struct openai_responses_piece *piece_at(const struct openai_responses_sent *item,
                                               enum openai_responses_piece_kind kind,
                                               uint32_t index)
{
    struct openai_responses_piece *piece = item->pieces;

    while (piece != NULL && (piece->kind != kind || piece->index != index))
        piece = piece->next;
    return piece;
}

static void see_part_added(struct openai_responses_encoder *enc, struct str data, bool summary)
{
    struct openai_responses_sent *item = item_of(enc, data);
    struct str type = find_string(enc, find(data, "part"), "type");
    enum openai_responses_piece_kind kind = OPENAI_RESPONSES_OUTPUT_TEXT;

    if (item == NULL)
        return;
    if (summary)
        kind = OPENAI_RESPONSES_SUMMARY;
    else if (str_eq(type, STR("refusal")))
        kind = OPENAI_RESPONSES_REFUSAL;
    else if (str_eq(type, STR("reasoning_text")))
        kind = OPENAI_RESPONSES_REASONING_TEXT;
    uint32_t index = find_index(data, summary ? "summary_index" : "content_index", 0);
    if (piece_at(item, kind, index) == NULL)
        (void)openai_responses_collect_piece(enc, item, kind, index);
}

static void see_part_done(struct openai_responses_encoder *enc, struct str data, bool summary)
{
    const struct openai_responses_sent *item = item_of(enc, data);
    uint32_t index = find_index(data, summary ? "summary_index" : "content_index", 0);

    for (struct openai_responses_piece *p = item == NULL ? NULL : item->pieces; p != NULL;
         p = p->next) {
        if (p->index == index && summary == (p->kind == OPENAI_RESPONSES_SUMMARY))
            p->open = false;
    }
}

/* output_text.done and the like: what comes after it is the part's end. */
static void see_text_done(struct openai_responses_encoder *enc, struct str data)
{
    const struct openai_responses_sent *item = item_of(enc, data);

    for (struct openai_responses_piece *p = item == NULL ? NULL : item->pieces; p != NULL;
         p = p->next)
        p->text_done = p->text_done || p->open;
}

/* The item in the upstream's words; its texts are in them. */
static void see_item_done(struct openai_responses_encoder *enc, struct str data)
{
    struct openai_responses_sent *item = item_of(enc, data);
    struct str whole = find(data, "item");

    if (item == NULL || !item->open)
        return;
    item->open = false;
    openai_responses_collect_add(enc, &item->json, whole);
    for (struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next) {
        p->open = false;
        p->block = EVENT_NO_BLOCK;
        enc->bytes -= p->text.n;
        buf_fini(&p->text);
    }
    item->block = EVENT_NO_BLOCK;
    enc->last = NULL;
}

/* The upstream's own members say which item, and which part of it, a new block is. */
static void see_block(struct openai_responses_encoder *enc, const struct event *begin,
                      struct str data)
{
    static const enum openai_responses_piece_kind kinds[] = {
        [BLOCK_TEXT] = OPENAI_RESPONSES_OUTPUT_TEXT,
        [BLOCK_REASONING] = OPENAI_RESPONSES_SUMMARY,
        [BLOCK_TOOL] = OPENAI_RESPONSES_ARGUMENTS,
        [BLOCK_REFUSAL] = OPENAI_RESPONSES_REFUSAL,
    };
    struct openai_responses_sent *item = item_of(enc, data);
    enum openai_responses_piece_kind kind;

    if (begin->begin.kind != BLOCK_TEXT && begin->begin.kind != BLOCK_REASONING &&
        begin->begin.kind != BLOCK_TOOL && begin->begin.kind != BLOCK_REFUSAL)
        return;
    if (item == NULL || !item->open)
        return;
    kind = kinds[begin->begin.kind];
    if (kind == OPENAI_RESPONSES_SUMMARY && str_is_null(find(data, "summary_index")))
        kind = OPENAI_RESPONSES_REASONING_TEXT;
    uint32_t index =
        find_index(data, kind == OPENAI_RESPONSES_SUMMARY ? "summary_index" : "content_index", 0);
    struct openai_responses_piece *piece = piece_at(item, kind, index);
    if (piece == NULL)
        piece = openai_responses_collect_piece(enc, item, kind, index);
    piece->block = begin->block;
    item->block = begin->block;
}

/* Reasoning is one block of several parts: its text is of the last one. */
static struct openai_responses_piece *piece_of(struct openai_responses_encoder *enc,
                                               const struct event *event)
{
    struct openai_responses_piece *piece = openai_responses_collect_find(enc, event->block);

    if (piece == NULL || event->kind != EVENT_REASONING || piece->next == NULL)
        return piece;
    piece->block = EVENT_NO_BLOCK;
    while (piece->next != NULL)
        piece = piece->next;
    piece->block = event->block;
    enc->last = piece;
    return piece;
}

static void see_text(struct openai_responses_encoder *enc, const struct event *event)
{
    struct openai_responses_piece *piece = piece_of(enc, event);

    if (piece != NULL && piece->open)
        (void)openai_responses_collect_text(enc, piece, event->text);
}

static void see_event(struct openai_responses_encoder *enc, const struct event *event,
                      struct str data)
{
    struct arena *arena = enc->options.arena;
    struct openai_responses_piece *piece;

    if (event->kind == EVENT_START) {
        enc->started = true;
        if (event->start.id.n > 0)
            enc->id = str_copy(arena, event->start.id);
        if (event->start.model.n > 0)
            enc->model = str_copy(arena, event->start.model);
        if (event->start.created_s > 0)
            enc->created_s = event->start.created_s;
    } else if (event->kind == EVENT_BLOCK_BEGIN) {
        see_block(enc, event, data);
    } else if (event->kind == EVENT_TEXT || event->kind == EVENT_TOOL_ARGS ||
               event->kind == EVENT_REASONING) {
        see_text(enc, event);
    } else if (event->kind == EVENT_CITATION) {
        piece = openai_responses_collect_find(enc, event->block);
        if (piece != NULL) {
            openai_responses_collect_add(enc, &piece->annotations, find(data, "annotation"));
            piece->annotations_n++;
        }
    } else if (event->kind == EVENT_USAGE) {
        enc->usage = event->usage;
        enc->usage_known = true;
    } else if (event->kind == EVENT_ERROR || event->kind == EVENT_STOP) {
        enc->over = true;
        enc->failed = event->kind == EVENT_ERROR;
    }
}

static void see_sequence(struct openai_responses_encoder *enc, struct str data)
{
    int64_t sequence;

    if (str_to_int64(find(data, "sequence_number"), &sequence) && sequence >= 0 &&
        sequence < INT64_MAX)
        enc->sequence = sequence + 1;
    else
        enc->sequence++;
}

/* What the frame says beside its events. */
static void see_data(struct openai_responses_encoder *enc, struct str data)
{
    struct str type = find(data, "type");

    see_sequence(enc, data);
    enc->created = true;
    enc->running = enc->running || !str_eq(type, STR("\"response.created\""));
    if (str_eq(type, STR("\"response.output_item.added\"")))
        see_item_added(enc, data);
    else if (str_eq(type, STR("\"response.content_part.added\"")))
        see_part_added(enc, data, false);
    else if (str_eq(type, STR("\"response.reasoning_summary_part.added\"")))
        see_part_added(enc, data, true);
}

static bool is_text_done(struct str type)
{
    static const struct str types[] = {
        STR_INIT("\"response.output_text.done\""),
        STR_INIT("\"response.refusal.done\""),
        STR_INIT("\"response.reasoning_text.done\""),
        STR_INIT("\"response.reasoning_summary_text.done\""),
        STR_INIT("\"response.function_call_arguments.done\""),
        STR_INIT("\"response.custom_tool_call_input.done\""),
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq(type, types[i]))
            return true;
    }
    return false;
}

static void see_end(struct openai_responses_encoder *enc, struct str data)
{
    struct str type = find(data, "type");

    if (str_eq(type, STR("\"response.output_item.done\"")))
        see_item_done(enc, data);
    else if (str_eq(type, STR("\"response.content_part.done\"")))
        see_part_done(enc, data, false);
    else if (str_eq(type, STR("\"response.reasoning_summary_part.done\"")))
        see_part_done(enc, data, true);
    else if (is_text_done(type))
        see_text_done(enc, data);
}

/* Nothing is remembered any more, but where the stream stands is known. */
static void see_while_full(struct openai_responses_encoder *enc, const struct frame *frame)
{
    struct str data = data_of(frame->raw);

    if (data.n == 0 || json_kind_of(data) != JSON_OBJECT)
        return;
    see_sequence(enc, data);
    for (uint32_t i = 0; i < frame->n; i++) {
        enc->failed |= frame->events[i].kind == EVENT_ERROR;
        enc->over |= frame->events[i].kind == EVENT_ERROR || frame->events[i].kind == EVENT_STOP;
    }
}

void openai_responses_observe_frame(struct openai_responses_encoder *enc, const struct frame *frame)
{
    if (enc->over)
        return;
    if (enc->full) {
        see_while_full(enc, frame);
        return;
    }
    if (frame->n == 1) {
        const struct event *event = &frame->events[0];
        if (event->kind == EVENT_KEEPALIVE && !str_starts(frame->raw, STR("event:")) &&
            !str_starts(frame->raw, STR("data:")))
            return;
        if (event->kind == EVENT_TEXT || event->kind == EVENT_TOOL_ARGS) {
            enc->sequence++;
            see_text(enc, event);
            return;
        }
    }
    struct str data = data_of(frame->raw);
    if (data.n == 0 || json_kind_of(data) != JSON_OBJECT)
        return;
    see_data(enc, data);
    for (uint32_t i = 0; i < frame->n; i++) {
        const struct event *event = &frame->events[i];
        /* The blank line between two parts of reasoning is ours, not the client's. */
        if (event->kind == EVENT_REASONING && i + 1 < frame->n && event[1].kind == EVENT_REASONING)
            continue;
        see_event(enc, event, data);
    }
    see_end(enc, data);
}
