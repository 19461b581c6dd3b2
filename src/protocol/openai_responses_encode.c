/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: frames as the client gets them.
 *
 * What      Hands out the upstream's bytes while nothing was changed, else makes its own.
 * How
 *             raw ── a frame is changed, has no bytes, or is a whole body ──► encoding, to the end
 *
 *           raw       events are only observed (openai_responses_observe.c): items, their ids and
 *                     texts, the sequence number.
 *           encoding  blocks become items with their whole life: added, deltas, done
 *                     (openai-responses.md, 11). Texts in a row are parts of one message; every
 *                     other block is an item of its own. Numbers go on where the upstream's ended.
 *           A client that did not ask for a stream gets an unchanged whole body as it is, else the
 *           same is done without events, and the response object written at the end.
 *           The terminal event waits for the answer's end: usage may come after the stop.
 * Owns      What is remembered (openai_responses_collect.c).
 * Not here  When to end: an answer that broke off never gets encoder_end.
 */
#include "protocol/openai_responses_priv.h"

enum { ERROR_BODY_MAX = 16 * 1024 };

void openai_responses_encode_init(void *encoder, const struct encoder_options *options)
{
    struct openai_responses_encoder *enc = encoder;

    assert(options->arena != NULL);
    assert(options->bytes_max > 0);
    enc->options = *options;
    enc->options.request = NULL;
    enc->encoding = !options->same_protocol || !options->stream;
    enc->items_end = &enc->items;
    enc->created_s = options->now_s;
    enc->model = options->model;
    enc->id = str_print(options->arena, "resp_%.*s", STR_ARG(options->id));
    buf_init(&enc->error, ERROR_BODY_MAX);
    enc->options.request = options->request;
    openai_responses_collect_echo(enc);
    enc->options.request = NULL;
}

void openai_responses_encode_fini(void *encoder)
{
    struct openai_responses_encoder *enc = encoder;

    openai_responses_collect_fini(enc);
    buf_fini(&enc->error);
}

/* --- pieces of events --------------------------------------------------------------------- */

/* Nobody listens: the client gets one whole body. */
static bool silent(const struct openai_responses_encoder *enc)
{
    return !enc->options.stream;
}

/* Up to the sequence number. */
static void type_begin(const char *type, struct buf *out)
{
    struct str word = str_c(type);

    buf_add(out, STR("event: "));
    buf_add(out, word);
    buf_add(out, STR("\ndata: {\"type\":\""));
    buf_add(out, word);
    buf_add(out, STR("\",\"sequence_number\":"));
}

static void event_begin(struct openai_responses_encoder *enc, const char *type, struct buf *out)
{
    type_begin(type, out);
    buf_add_int64(out, enc->sequence++);
}

static void event_end(struct buf *out)
{
    buf_add(out, STR("}\n\n"));
}

static void add_number(struct buf *out, const char *key, uint32_t value)
{
    openai_responses_add_key(out, key);
    buf_add_int64(out, value);
}

static const char *index_key(enum openai_responses_piece_kind kind)
{
    return kind == OPENAI_RESPONSES_SUMMARY ? "summary_index" : "content_index";
}

/* ,"item_id":…,"output_index":…,"content_index":… */
static void add_place(const struct openai_responses_piece *piece, struct buf *out)
{
    openai_responses_add_string(out, "item_id", piece->item->id);
    add_number(out, "output_index", piece->item->index);
    if (piece->kind != OPENAI_RESPONSES_ARGUMENTS)
        add_number(out, index_key(piece->kind), piece->index);
}

static void response_event(struct openai_responses_encoder *enc, const char *type,
                           enum openai_responses_status status, const struct event *error,
                           struct buf *out)
{
    if (silent(enc))
        return;
    event_begin(enc, type, out);
    openai_responses_add_key(out, "response");
    openai_responses_collect_write(enc, status, error, out);
    event_end(out);
}

/* response.created and response.in_progress, once. */
static void begin_answer(struct openai_responses_encoder *enc, struct buf *out)
{
    if (!enc->created)
        response_event(enc, "response.created", OPENAI_RESPONSES_IN_PROGRESS, NULL, out);
    enc->created = true;
    if (enc->running)
        return;
    enc->running = true;
    response_event(enc, "response.in_progress", OPENAI_RESPONSES_IN_PROGRESS, NULL, out);
}

static void item_event(struct openai_responses_encoder *enc,
                       const struct openai_responses_sent *item, bool done, struct buf *out)
{
    if (silent(enc))
        return;
    event_begin(enc, done ? "response.output_item.done" : "response.output_item.added", out);
    add_number(out, "output_index", item->index);
    openai_responses_add_key(out, "item");
    openai_responses_collect_write_item(enc, item, done, out);
    event_end(out);
}

/* content_part.added and the like; arguments are no part. */
static void part_event(struct openai_responses_encoder *enc,
                       const struct openai_responses_piece *piece, bool done, struct buf *out)
{
    bool summary = piece->kind == OPENAI_RESPONSES_SUMMARY;

    if (silent(enc) || piece->kind == OPENAI_RESPONSES_ARGUMENTS)
        return;
    if (summary)
        event_begin(enc,
                    done ? "response.reasoning_summary_part.done"
                         : "response.reasoning_summary_part.added",
                    out);
    else
        event_begin(enc, done ? "response.content_part.done" : "response.content_part.added", out);
    add_place(piece, out);
    openai_responses_add_key(out, "part");
    openai_responses_collect_write_piece(piece, out);
    event_end(out);
}

/* --- texts -------------------------------------------------------------------------------- */

static const char *delta_type(const struct openai_responses_piece *piece)
{
    switch (piece->kind) {
    case OPENAI_RESPONSES_OUTPUT_TEXT:
        return "response.output_text.delta";
    case OPENAI_RESPONSES_REFUSAL:
        return "response.refusal.delta";
    case OPENAI_RESPONSES_SUMMARY:
        return "response.reasoning_summary_text.delta";
    case OPENAI_RESPONSES_REASONING_TEXT:
        return "response.reasoning_text.delta";
    case OPENAI_RESPONSES_ARGUMENTS:
        return piece->item->kind == OPENAI_RESPONSES_CUSTOM
                   ? "response.custom_tool_call_input.delta"
                   : "response.function_call_arguments.delta";
    }
    BUG("no such kind of piece");
}

static const char *done_type(const struct openai_responses_piece *piece)
{
    switch (piece->kind) {
    case OPENAI_RESPONSES_OUTPUT_TEXT:
        return "response.output_text.done";
    case OPENAI_RESPONSES_REFUSAL:
        return "response.refusal.done";
    case OPENAI_RESPONSES_SUMMARY:
        return "response.reasoning_summary_text.done";
    case OPENAI_RESPONSES_REASONING_TEXT:
        return "response.reasoning_text.done";
    case OPENAI_RESPONSES_ARGUMENTS:
        return piece->item->kind == OPENAI_RESPONSES_CUSTOM
                   ? "response.custom_tool_call_input.done"
                   : "response.function_call_arguments.done";
    }
    BUG("no such kind of piece");
}

static const char *text_key(const struct openai_responses_piece *piece)
{
    if (piece->kind == OPENAI_RESPONSES_REFUSAL)
        return "refusal";
    if (piece->kind != OPENAI_RESPONSES_ARGUMENTS)
        return "text";
    return piece->item->kind == OPENAI_RESPONSES_CUSTOM ? "input" : "arguments";
}

/* A delta's bytes are the same but for its number and text: they are written once. */
static void learn_head(struct openai_responses_encoder *enc, struct openai_responses_piece *piece)
{
    struct buf head;

    buf_init(&head, ERROR_BODY_MAX);
    type_begin(delta_type(piece), &head);
    piece->delta_type = str_copy(enc->options.arena, buf_str(&head));
    buf_reset(&head);
    buf_add_char(&head, '{');
    add_place(piece, &head);
    buf_add(&head, STR(",\"delta\":\""));
    if (buf_ok(&head))
        head.p[0] = ','; /* it goes on behind the number */
    piece->delta_head = str_copy(enc->options.arena, buf_str(&head));
    buf_fini(&head);
}

/* logprobs: JSON elements, "" without. */
static void say(struct openai_responses_encoder *enc, struct openai_responses_piece *piece,
                struct str text, struct str logprobs, struct buf *out)
{
    /* What is done stays as it was said. */
    if (piece->text_done)
        return;
    struct str escaped = openai_responses_collect_text(enc, piece, text);
    enc->last = piece;
    if (silent(enc))
        return;
    if (piece->delta_head.n == 0)
        learn_head(enc, piece);
    buf_add(out, piece->delta_type);
    buf_add_int64(out, enc->sequence++);
    buf_add(out, piece->delta_head);
    buf_add(out, escaped);
    if (piece->kind != OPENAI_RESPONSES_OUTPUT_TEXT) {
        buf_add(out, STR("\"}\n\n"));
        return;
    }
    buf_add(out, STR("\",\"logprobs\":["));
    buf_add(out, logprobs);
    buf_add(out, STR("]}\n\n"));
}

/* --- items -------------------------------------------------------------------------------- */

static struct str item_id(const struct openai_responses_encoder *enc,
                          enum openai_responses_kind kind, const char *other)
{
    static const char *const prefixes[] = {
        [OPENAI_RESPONSES_MESSAGE] = "msg",
        [OPENAI_RESPONSES_REASONING] = "rs",
        [OPENAI_RESPONSES_FUNCTION] = "fc",
        [OPENAI_RESPONSES_CUSTOM] = "ctc",
    };

    return str_print(enc->options.arena, "%s_%.*s_%u",
                     kind == OPENAI_RESPONSES_OTHER ? other : prefixes[kind],
                     STR_ARG(enc->options.id), enc->items_n);
}

/* The client gets to know it: from now on it has its place. */
static void announce(struct openai_responses_encoder *enc, struct openai_responses_sent *item,
                     struct buf *out)
{
    struct openai_responses_sent **to = &enc->items;

    if (!item->waiting)
        return;
    item->waiting = false;
    if (str_is_null(item->id))
        item->id = item_id(enc, item->kind, item->media ? "ig" : "item");
    item->index = enc->items_n++;
    /* The items are in the order of their index. */
    while (*to != NULL && *to != item)
        to = &(*to)->next;
    if (*to == item && item->next != NULL) {
        *to = item->next;
        item->next = NULL;
        *enc->items_end = item;
        enc->items_end = &item->next;
    }
    item_event(enc, item, false, out);
}

/* It waits until it is announced. */
static struct openai_responses_sent *begin_item(struct openai_responses_encoder *enc,
                                                enum openai_responses_kind kind)
{
    struct openai_responses_sent *item = openai_responses_collect_item(enc, kind, EVENT_NO_INDEX);

    item->waiting = true;
    return item;
}

static void text_done_event(struct openai_responses_encoder *enc,
                            const struct openai_responses_piece *piece, struct buf *out)
{
    event_begin(enc, done_type(piece), out);
    add_place(piece, out);
    if (piece->kind == OPENAI_RESPONSES_ARGUMENTS && piece->item->kind == OPENAI_RESPONSES_FUNCTION)
        openai_responses_add_string(out, "name", piece->item->name);
    openai_responses_add_key(out, text_key(piece));
    buf_add_char(out, '"');
    buf_add(out, buf_str(&piece->text));
    buf_add_char(out, '"');
    if (piece->kind == OPENAI_RESPONSES_OUTPUT_TEXT) {
        buf_add(out, STR(",\"logprobs\":["));
        buf_add(out, buf_str(&piece->logprobs));
        buf_add_char(out, ']');
    }
    event_end(out);
}

static void end_piece(struct openai_responses_encoder *enc, struct openai_responses_piece *piece,
                      struct buf *out)
{
    if (!piece->open)
        return;
    piece->open = false;
    if (piece->kind == OPENAI_RESPONSES_ARGUMENTS && piece->text.n == 0 && !piece->text_done &&
        piece->item->kind == OPENAI_RESPONSES_FUNCTION)
        say(enc, piece, STR("{}"), STR(""), out);
    if (silent(enc))
        return;
    if (!piece->text_done)
        text_done_event(enc, piece, out);
    part_event(enc, piece, true, out);
}
static void end_item(struct openai_responses_encoder *enc, struct openai_responses_sent *item,
                     struct buf *out)
{
    if (!item->open)
        return;
    for (struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next) {
        end_piece(enc, p, out);
        p->block = EVENT_NO_BLOCK;
    }
    item->open = false;
    item->block = EVENT_NO_BLOCK;
    if (enc->lingering == item)
        enc->lingering = NULL;
    item_event(enc, item, true, out);
}

/* The message that waited for more parts is done. */
static void end_lingering(struct openai_responses_encoder *enc, struct buf *out)
{
    if (enc->lingering != NULL)
        end_item(enc, enc->lingering, out);
}

/* --- blocks ------------------------------------------------------------------------------- */

static bool fits(const struct openai_responses_sent *item, enum block_kind kind, bool custom)
{
    switch (kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        return item->kind == OPENAI_RESPONSES_MESSAGE;
    case BLOCK_REASONING:
    case BLOCK_REDACTED:
        return item->kind == OPENAI_RESPONSES_REASONING;
    case BLOCK_TOOL:
        return item->kind == (custom ? OPENAI_RESPONSES_CUSTOM : OPENAI_RESPONSES_FUNCTION);
    case BLOCK_MEDIA:
    case BLOCK_VENDOR:
        return item->kind == OPENAI_RESPONSES_OTHER;
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("no such kind of block");
}

/* The item that the upstream began for this block while frames went out raw; NULL: none. */
static struct openai_responses_sent *raw_item(struct openai_responses_encoder *enc,
                                              const struct event *begin)
{
    if (!enc->options.same_protocol || begin->begin.index == EVENT_NO_INDEX)
        return NULL;
    struct openai_responses_sent *item = openai_responses_collect_find_item(enc,
                                                                            begin->begin.index);
    bool ours = item != NULL && item->raw && item->open &&
                fits(item, begin->begin.kind, begin->begin.custom);
    return ours ? item : NULL;
}

/* A part that was begun raw, and of which nothing was said: this block's. */
static struct openai_responses_piece *raw_piece(struct openai_responses_sent *item,
                                                enum openai_responses_piece_kind kind)
{
    for (struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next) {
        if (p->open && p->block == EVENT_NO_BLOCK && p->kind == kind && p->text.n == 0)
            return p;
    }
    return NULL;
}

static uint32_t pieces_of(const struct openai_responses_sent *item)
{
    uint32_t n = 0;

    for (const struct openai_responses_piece *p = item->pieces; p != NULL; p = p->next)
        n = p->index + 1;
    return n;
}

static struct openai_responses_piece *begin_piece(struct openai_responses_encoder *enc,
                                                  struct openai_responses_sent *item,
                                                  enum openai_responses_piece_kind kind,
                                                  uint32_t block, struct buf *out)
{
    struct openai_responses_piece *piece = item->raw ? raw_piece(item, kind) : NULL;

    if (piece == NULL) {
        piece = openai_responses_collect_piece(enc, item, kind, pieces_of(item));
        part_event(enc, piece, false, out);
    }
    piece->block = block;
    enc->last = piece;
    return piece;
}

static void begin_text(struct openai_responses_encoder *enc, const struct event *begin,
                       struct buf *out)
{
    struct openai_responses_sent *item = raw_item(enc, begin);

    if (item == NULL)
        item = enc->lingering;
    else if (item != enc->lingering)
        end_lingering(enc, out);
    if (item == NULL)
        item = begin_item(enc, OPENAI_RESPONSES_MESSAGE);
    announce(enc, item, out);
    enc->lingering = NULL;
    (void)begin_piece(enc, item,
                      begin->begin.kind == BLOCK_REFUSAL ? OPENAI_RESPONSES_REFUSAL
                                                         : OPENAI_RESPONSES_OUTPUT_TEXT,
                      begin->block, out);
}

/* Its item begins with the first text, as one without text and without signature says nothing. */
static void begin_reasoning(struct openai_responses_encoder *enc, const struct event *begin)
{
    struct openai_responses_sent *item = raw_item(enc, begin);

    if (item == NULL) {
        item = begin_item(enc, OPENAI_RESPONSES_REASONING);
        if (enc->options.same_protocol && begin->begin.id.n > 0)
            item->id = str_copy(enc->options.arena, begin->begin.id);
    }
    item->block = begin->block;
}

/* A tool of a namespace goes by its full name everywhere else. */
static void split_name(const struct openai_responses_encoder *enc,
                       struct openai_responses_sent *item)
{
    for (const struct openai_responses_space *s = enc->spaces; s != NULL; s = s->next) {
        if (!str_eq(s->full, item->name))
            continue;
        item->space = s->space;
        item->name = s->name;
        return;
    }
}

static void begin_tool(struct openai_responses_encoder *enc, const struct event *begin,
                       struct buf *out)
{
    struct arena *arena = enc->options.arena;
    struct openai_responses_sent *item = raw_item(enc, begin);

    if (item == NULL) {
        item = begin_item(enc, begin->begin.custom ? OPENAI_RESPONSES_CUSTOM
                                                   : OPENAI_RESPONSES_FUNCTION);
        item->call_id = str_copy(arena, begin->begin.id);
        item->name = str_copy(arena, begin->begin.name);
        if (enc->options.same_protocol)
            item->space = str_copy(arena, begin->begin.space);
        split_name(enc, item);
        announce(enc, item, out);
    }
    (void)begin_piece(enc, item, OPENAI_RESPONSES_ARGUMENTS, begin->block, out);
}

/* Said whole when its block ends. */
static void begin_other(struct openai_responses_encoder *enc, const struct event *begin)
{
    struct openai_responses_sent *item = raw_item(enc, begin);

    if (begin->begin.kind == BLOCK_VENDOR && !enc->options.same_protocol)
        return;
    if (item == NULL) {
        item = begin_item(enc, OPENAI_RESPONSES_OTHER);
        item->media = begin->begin.kind == BLOCK_MEDIA;
        item->name = STR("image_generation_call");
    }
    item->block = begin->block;
}

static void encode_begin(struct openai_responses_encoder *enc, const struct event *begin,
                         struct buf *out)
{
    begin_answer(enc, out);
    switch (begin->begin.kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        begin_text(enc, begin, out);
        return;
    case BLOCK_REASONING:
    case BLOCK_REDACTED:
        end_lingering(enc, out);
        begin_reasoning(enc, begin);
        return;
    case BLOCK_TOOL:
        end_lingering(enc, out);
        begin_tool(enc, begin, out);
        return;
    case BLOCK_MEDIA:
    case BLOCK_VENDOR:
        end_lingering(enc, out);
        begin_other(enc, begin);
        return;
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("no such kind of block");
}

/* --- what blocks hold --------------------------------------------------------------------- */

static struct openai_responses_sent *item_of_block(struct openai_responses_encoder *enc,
                                                   uint32_t block)
{
    for (struct openai_responses_sent *item = enc->items; item != NULL; item = item->next) {
        if (item->block == block && item->open)
            return item;
    }
    return NULL;
}

/* The part that text goes to. Of an item that was begun raw the last one may be over: the next part
 * begins, and what stands between the two says nothing. NULL: there is none. */
static struct openai_responses_piece *reasoning_piece(struct openai_responses_encoder *enc,
                                                      const struct event *event, struct buf *out)
{
    struct openai_responses_piece *last = openai_responses_collect_find(enc, event->block);
    struct openai_responses_sent *item = last == NULL ? item_of_block(enc, event->block)
                                                      : last->item;
    bool between = last != NULL && str_eq(event->text, STR("\n\n"));

    if (last != NULL && last->open && !last->text_done)
        return last;
    if (item == NULL || !item->open || event->text.n == 0 || between)
        return NULL;
    announce(enc, item, out);
    if (last == NULL)
        return begin_piece(enc, item, OPENAI_RESPONSES_SUMMARY, event->block, out);
    end_piece(enc, last, out);
    last->block = EVENT_NO_BLOCK;
    return begin_piece(enc, item, last->kind, event->block, out);
}

static void encode_reasoning(struct openai_responses_encoder *enc, const struct event *event,
                             struct buf *out)
{
    struct openai_responses_piece *piece = reasoning_piece(enc, event, out);

    if (piece != NULL)
        say(enc, piece, event->text, STR(""), out);
}

/* {"media_type":…,"data":…} as an image that was made; others have no place here. */
static void keep_media(struct openai_responses_encoder *enc, struct openai_responses_sent *item,
                       struct str json, struct buf *events)
{
    struct str data = json_kind_of(json) == JSON_OBJECT ? json_object_find(json, STR("data"))
                                                        : STR_NULL;
    struct buf out;

    if (data.n == 0 || item->json.n > 0)
        return;
    announce(enc, item, events);
    buf_init(&out, enc->options.bytes_max);
    buf_add_char(&out, '{');
    openai_responses_add_string(&out, "id", item->id);
    openai_responses_add_string(&out, "type", STR("image_generation_call"));
    openai_responses_add_string(&out, "status", STR("completed"));
    openai_responses_add_key(&out, "result");
    buf_add(&out, data);
    buf_add_char(&out, '}');
    enc->full = enc->full || !buf_ok(&out);
    openai_responses_collect_add(enc, &item->json, buf_str(&out));
    buf_fini(&out);
}

/* TEXT of whichever block it is in; logprobs: elements. */
static void encode_text(struct openai_responses_encoder *enc, const struct event *event,
                        struct str logprobs, struct buf *out)
{
    struct openai_responses_piece *piece = openai_responses_collect_find(enc, event->block);

    if (piece != NULL) {
        if (piece->open)
            say(enc, piece, event->text, logprobs, out);
        return;
    }
    struct openai_responses_sent *item = item_of_block(enc, event->block);
    if (item == NULL || event->text.n == 0)
        return;
    if (item->media)
        keep_media(enc, item, event->text, out);
    else if (item->json.n == 0)
        openai_responses_collect_add(enc, &item->json, event->text);
}

/* {"content":[…]} of Chat Completions: the elements; "" without. */
static struct str logprobs_of(struct str json)
{
    struct str list = json.n > 0 && json_kind_of(json) == JSON_OBJECT
                          ? json_object_find(json, STR("content"))
                          : STR_NULL;

    if (list.n < 2 || json_kind_of(list) != JSON_ARRAY)
        return STR("");
    return str_trim(str_of(list.p + 1, list.n - 2));
}

static void encode_logprobs(struct openai_responses_encoder *enc, const struct event *event)
{
    struct openai_responses_piece *piece = openai_responses_collect_find(enc, event->block);

    if (piece != NULL && piece->kind == OPENAI_RESPONSES_OUTPUT_TEXT)
        openai_responses_collect_add(enc, &piece->logprobs, logprobs_of(event->text));
}

/* {"type":"url_citation","url_citation":{…}} flat; the vendor's own object only to its clients. */
static void encode_citation(struct openai_responses_encoder *enc, const struct event *event,
                            struct buf *out)
{
    struct openai_responses_piece *piece = openai_responses_collect_find(enc, event->block);
    struct str inner = json_object_find(event->text, STR("url_citation"));
    struct str annotation = event->text;

    if (piece == NULL || !piece->open || piece->kind != OPENAI_RESPONSES_OUTPUT_TEXT)
        return;
    if (inner.n > 2 && json_kind_of(inner) == JSON_OBJECT)
        annotation = str_print(enc->options.arena, "{\"type\":\"url_citation\",%.*s",
                               STR_ARG(str_from(inner, 1)));
    else if (!enc->options.same_protocol)
        return;
    openai_responses_collect_add(enc, &piece->annotations, annotation);
    if (!silent(enc)) {
        event_begin(enc, "response.output_text.annotation.added", out);
        add_place(piece, out);
        add_number(out, "annotation_index", piece->annotations_n);
        openai_responses_add_key(out, "annotation");
        buf_add(out, annotation);
        event_end(out);
    }
    piece->annotations_n++;
}

static void encode_signature(struct openai_responses_encoder *enc, const struct event *event)
{
    struct openai_responses_piece *piece = openai_responses_collect_find(enc, event->block);
    struct openai_responses_sent *item = piece != NULL ? piece->item
                                                       : item_of_block(enc, event->block);

    if (item == NULL || item->kind != OPENAI_RESPONSES_REASONING)
        return;
    enc->bytes += event->text.n;
    item->signature = str_copy(enc->options.arena, event->text);
}

/* An item that was never announced, and has nothing to say. */
static bool says_nothing(const struct openai_responses_encoder *enc,
                         const struct openai_responses_sent *item)
{
    if (!item->waiting)
        return false;
    if (item->kind == OPENAI_RESPONSES_REASONING)
        return item->signature.n == 0 || !enc->encrypted;
    return item->json.n == 0;
}

static void forget_item(struct openai_responses_encoder *enc, struct openai_responses_sent *item)
{
    struct openai_responses_sent **to = &enc->items;

    while (*to != NULL && *to != item)
        to = &(*to)->next;
    if (*to == NULL)
        return;
    *to = item->next;
    if (enc->items_end == &item->next)
        enc->items_end = to;
    buf_fini(&item->json);
}

static void encode_end(struct openai_responses_encoder *enc, const struct event *event,
                       struct buf *out)
{
    struct openai_responses_piece *piece = openai_responses_collect_find(enc, event->block);
    struct openai_responses_sent *item = piece != NULL ? piece->item
                                                       : item_of_block(enc, event->block);

    if (item == NULL)
        return;
    if (item->kind == OPENAI_RESPONSES_MESSAGE && piece != NULL) {
        end_piece(enc, piece, out);
        piece->block = EVENT_NO_BLOCK;
        end_lingering(enc, out);
        enc->lingering = item;
        return;
    }
    if (says_nothing(enc, item)) {
        forget_item(enc, item);
        return;
    }
    announce(enc, item, out);
    end_item(enc, item, out);
}

/* --- the end ------------------------------------------------------------------------------ */

static void end_items(struct openai_responses_encoder *enc, bool cut, struct buf *out)
{
    for (struct openai_responses_sent *item = enc->items; item != NULL;) {
        struct openai_responses_sent *next = item->next;
        if (says_nothing(enc, item)) {
            forget_item(enc, item);
        } else if (item->open) {
            item->incomplete = cut;
            announce(enc, item, out);
            end_item(enc, item, out);
        }
        item = next;
    }
}

/* Flat as in the specification, and nested as on the wire: clients read one or the other. */
static void error_event(struct openai_responses_encoder *enc, const struct event *error,
                        struct buf *out)
{
    if (silent(enc)) {
        buf_add(&enc->error, STR("{\"error\":{"));
        openai_responses_add_error_fields(&enc->error, error, false);
        openai_responses_add_string(&enc->error, "type",
                                    error->error.type.n > 0 ? error->error.type
                                                            : STR("server_error"));
        buf_add(&enc->error, STR(",\"param\":null}}"));
    } else {
        begin_answer(enc, out);
        event_begin(enc, "error", out);
        openai_responses_add_error(out, error);
        event_end(out);
        for (struct openai_responses_sent *item = enc->items; item != NULL; item = item->next)
            item->incomplete = item->incomplete || item->open;
        response_event(enc, "response.failed", OPENAI_RESPONSES_FAILED, error, out);
    }
    enc->failed = true;
    enc->over = true;
}

static void encode_stop(struct openai_responses_encoder *enc, const struct event *event,
                        struct buf *out)
{
    bool cut = event->stop.reason == STOP_LENGTH || event->stop.reason == STOP_CONTEXT ||
               event->stop.reason == STOP_FILTER;

    begin_answer(enc, out);
    enc->stopped = true;
    enc->reason = event->stop.reason;
    enc->native = str_copy(enc->options.arena, event->stop.native);
    /* A message that waited for more is what was being said. */
    if (enc->lingering != NULL)
        enc->lingering->incomplete = cut;
    end_items(enc, cut, out);
}

/* --- events ------------------------------------------------------------------------------- */

static void encode_start(struct openai_responses_encoder *enc, const struct event *event,
                         struct buf *out)
{
    struct arena *arena = enc->options.arena;

    enc->started = true;
    /* Ids and times of another protocol's are not passed on. */
    if (enc->options.same_protocol && event->start.id.n > 0)
        enc->id = str_copy(arena, event->start.id);
    if (event->start.model.n > 0)
        enc->model = str_copy(arena, event->start.model);
    if (enc->options.same_protocol && event->start.created_s > 0)
        enc->created_s = event->start.created_s;
    begin_answer(enc, out);
}

/* What is in a block that is no text. */
static void encode_in_block(struct openai_responses_encoder *enc, const struct event *event,
                            struct buf *out)
{
    if (event->kind == EVENT_BLOCK_BEGIN)
        encode_begin(enc, event, out);
    else if (event->kind == EVENT_BLOCK_END)
        encode_end(enc, event, out);
    else if (event->kind == EVENT_SIGNATURE)
        encode_signature(enc, event);
    else if (event->kind == EVENT_CITATION)
        encode_citation(enc, event, out);
    else if (event->kind == EVENT_LOGPROBS)
        encode_logprobs(enc, event);
}

/* Inside the only choice that there is. next: the event after it, or NULL; returns how many of the
 * two it took. */
static uint32_t encode_in_choice(struct openai_responses_encoder *enc, const struct event *event,
                                 const struct event *next, struct buf *out)
{
    bool with = event->kind == EVENT_TEXT && next != NULL && next->kind == EVENT_LOGPROBS &&
                next->block == event->block;

    if (event->choice != 0 || enc->stopped)
        return 1;
    if (event->kind == EVENT_TEXT || event->kind == EVENT_TOOL_ARGS)
        encode_text(enc, event, with ? logprobs_of(next->text) : STR(""), out);
    else if (event->kind == EVENT_REASONING)
        encode_reasoning(enc, event, out);
    else if (event->kind == EVENT_STOP)
        encode_stop(enc, event, out);
    else
        encode_in_block(enc, event, out);
    if (!with)
        return 1;
    encode_logprobs(enc, next);
    return 2;
}

static void encode_events(struct openai_responses_encoder *enc, const struct frame *frame,
                          struct buf *out)
{
    for (uint32_t i = 0; i < frame->n && !enc->over && !enc->full;) {
        const struct event *event = &frame->events[i];
        const struct event *next = i + 1 < frame->n ? event + 1 : NULL;
        uint32_t taken = 1;
        /* The whole frame is refused then. */
        if (arena_overflowed(enc->options.arena))
            return;
        switch (event->kind) {
        case EVENT_START:
            encode_start(enc, event, out);
            break;
        case EVENT_USAGE:
            enc->usage = event->usage;
            enc->usage_known = true;
            break;
        case EVENT_ERROR:
            error_event(enc, event, out);
            break;
        case EVENT_KEEPALIVE:
            if (!silent(enc))
                buf_add(out, STR(": keep-alive\n\n"));
            break;
        case EVENT_BLOCK_BEGIN:
        case EVENT_TEXT:
        case EVENT_REASONING:
        case EVENT_SIGNATURE:
        case EVENT_TOOL_ARGS:
        case EVENT_CITATION:
        case EVENT_LOGPROBS:
        case EVENT_BLOCK_END:
        case EVENT_STOP:
            taken = encode_in_choice(enc, event, next, out);
            break;
        case EVENT_KIND_COUNT:
            BUG("no such kind of event");
        }
        i += taken;
    }
}

/* --- entry points ------------------------------------------------------------------------- */

static enum error_code check_room(const struct openai_responses_encoder *enc, const struct buf *out,
                                  struct error *e)
{
    if (enc->full)
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer is longer than %zu bytes",
                    enc->options.bytes_max);
    if (!buf_ok(out) || arena_overflowed(enc->options.arena))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    return OK;
}

enum error_code openai_responses_encode_frame(void *encoder, const struct frame *frame,
                                              struct buf *out, struct str *ret_bytes,
                                              struct error *e)
{
    struct openai_responses_encoder *enc = encoder;
    bool raw = !frame->changed && !str_is_null(frame->raw) && enc->options.same_protocol;

    assert(frame->n == 0 || frame->events != NULL);
    assert(!enc->raw_sent);
    *ret_bytes = STR_NULL;
    if (!enc->options.stream && raw && frame->whole && !enc->started && !enc->failed) {
        enc->raw_sent = true;
        *ret_bytes = frame->raw;
        return OK;
    }
    if (!enc->encoding && raw && !frame->whole) {
        openai_responses_observe_frame(enc, frame);
        *ret_bytes = frame->raw;
        return OK;
    }
    int64_t sequence = enc->sequence;
    bool over = enc->over;
    enc->encoding = true;
    encode_events(enc, frame, out);
    if (check_room(enc, out, e) == OK)
        return OK;
    /* It does not go out. */
    enc->sequence = sequence;
    enc->over = over;
    return e->code;
}

enum error_code openai_responses_encode_end(void *encoder, struct buf *out, struct error *e)
{
    struct openai_responses_encoder *enc = encoder;
    int64_t sequence = enc->sequence;
    bool over = enc->over;

    if (enc->raw_sent || !enc->encoding)
        return OK;
    if (silent(enc) && enc->failed) {
        buf_add(out, buf_str(&enc->error));
    } else if (!enc->over) {
        begin_answer(enc, out);
        end_items(enc, false, out);
        enc->over = true;
        if (silent(enc)) {
            openai_responses_collect_write(enc, OPENAI_RESPONSES_FINISHED, NULL, out);
        } else {
            bool cut = enc->reason == STOP_LENGTH || enc->reason == STOP_CONTEXT ||
                       enc->reason == STOP_FILTER;
            response_event(enc, cut ? "response.incomplete" : "response.completed",
                           OPENAI_RESPONSES_FINISHED, NULL, out);
        }
    }
    if (check_room(enc, out, e) == OK)
        return OK;
    enc->sequence = sequence;
    enc->over = over;
    return e->code;
}

void openai_responses_encode_error(struct openai_responses_encoder *enc, const struct event *error,
                                   struct buf *out)
{
    struct openai_responses_sent *items = enc->items;

    assert(enc->options.stream);
    if (enc->over)
        return;
    /* Of what could not be remembered nothing is said again. */
    if (enc->full || arena_overflowed(enc->options.arena))
        enc->items = NULL;
    enc->encoding = true;
    error_event(enc, error, out);
    enc->items = items;
}
