/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: frames as the client gets them.
 *
 * What      Hands out the upstream's bytes while nothing was changed, else makes its own.
 * How
 *             raw ── a frame is changed, has no bytes, or is a whole body ──► encoding, to the end
 *
 *           raw       events are only observed: ids, blocks and their indexes, the end.
 *           encoding  a block is WAITING -> OPEN -> DONE. One is open at a time: what others say
 *                     meanwhile waits until it is their turn, in order of their begin. A text or
 *                     thinking is opened by its first byte, so that there are no empty ones.
 *                     Indexes go on from those that the client knows.
 *           message_delta waits for the terminator, or the end: usage may come after STOP.
 *           A client that did not ask for a stream gets an unchanged whole body as it is, else all
 *           is collected and written at the end (anthropic_collect.c).
 * Owns      What waits, and what is collected, on the heap. The rest lies in the answer's arena.
 * Not here  When to end: an answer that broke off never gets encoder_end.
 */
#include "protocol/anthropic_priv.h"

#include "canon/fit.h"

enum { BLOCKS_STEP = 8 };

void anthropic_encode_init(void *encoder, const struct encoder_options *options)
{
    struct anthropic_encoder *enc = encoder;

    assert(options->arena != NULL);
    assert(options->bytes_max > 0);
    enc->options = *options;
    /* What is repeated of the request is nothing. */
    enc->options.request = NULL;
    enc->encoding = !options->same_protocol || !options->stream;
    enc->usage = (struct usage){-1, -1, -1, -1, -1, -1};
    collect_init(&enc->collect, options->arena, options->bytes_max);
}

void anthropic_encode_fini(void *encoder)
{
    struct anthropic_encoder *enc = encoder;

    for (uint32_t i = 0; i < enc->blocks_n; i++)
        buf_fini(&enc->blocks[i]->text);
    enc->blocks_n = 0;
    collect_fini(&enc->collect);
}

/* --- what the client knows ---------------------------------------------------------------- */

static void observe_start(struct anthropic_encoder *enc, const struct event *event)
{
    enc->id = str_copy(enc->options.arena, event->start.id);
    enc->model = str_copy(enc->options.arena, event->start.model);
}

static void observe_usage(struct anthropic_encoder *enc, const struct usage *usage)
{
    int64_t *const to[] = {&enc->usage.input,  &enc->usage.output,        &enc->usage.total,
                           &enc->usage.cached, &enc->usage.cache_written, &enc->usage.reasoning};
    const int64_t from[] = {usage->input,  usage->output,        usage->total,
                            usage->cached, usage->cache_written, usage->reasoning};

    for (size_t i = 0; i < COUNT_OF(to); i++) {
        if (from[i] >= 0)
            *to[i] = from[i];
    }
}

static void observe_stop(struct anthropic_encoder *enc, const struct event *event)
{
    enc->stopped = true;
    enc->reason = event->stop.reason;
    enc->native = str_copy(enc->options.arena, event->stop.native);
    enc->sequence = str_copy(enc->options.arena, event->stop.sequence);
}

/* The block of that number; NULL: one that is lost, as there was no memory. */
static struct anthropic_sent *block_of(const struct anthropic_encoder *enc, uint32_t number)
{
    return number < enc->blocks_n ? enc->blocks[number] : NULL;
}

static struct anthropic_sent *add_block(struct anthropic_encoder *enc, const struct event *event)
{
    struct arena *arena = enc->options.arena;

    if (enc->blocks_n == enc->blocks_size) {
        uint32_t size = enc->blocks_size == 0 ? BLOCKS_STEP : enc->blocks_size * 2;
        struct anthropic_sent **blocks = arena_grow(arena, enc->blocks,
                                                    enc->blocks_size * sizeof(*blocks),
                                                    size * sizeof(*blocks));
        if (arena_overflowed(arena))
            return NULL;
        enc->blocks = blocks;
        enc->blocks_size = size;
    }
    struct anthropic_sent *b = ARENA_NEW(arena, struct anthropic_sent);
    if (arena_overflowed(arena))
        return NULL;
    b->kind = event->begin.kind;
    buf_init(&b->text, enc->options.bytes_max);
    buf_set_budget(&b->text, arena->budget);
    enc->has_tool |= b->kind == BLOCK_TOOL;
    if (enc->blocks_n > 0)
        enc->blocks[enc->blocks_n - 1]->next = b;
    if (enc->first == NULL)
        enc->first = b;
    enc->blocks[enc->blocks_n++] = b;
    return b;
}

static void observe_begin(struct anthropic_encoder *enc, const struct event *event)
{
    struct anthropic_sent *b = add_block(enc, event);

    if (b == NULL)
        return;
    b->raw = true;
    b->state = ANTHROPIC_OPEN;
    b->index = event->begin.index == EVENT_NO_INDEX ? enc->next_index : event->begin.index;
    if (b->index >= enc->next_index && b->index < UINT32_MAX)
        enc->next_index = b->index + 1;
    enc->open++;
}

static void observe_end(struct anthropic_encoder *enc, struct anthropic_sent *b)
{
    b->ended = true;
    b->state = ANTHROPIC_DONE;
    enc->open--;
    while (enc->first != NULL && enc->first->state == ANTHROPIC_DONE)
        enc->first = enc->first->next;
}

static void observe_in_block(struct anthropic_encoder *enc, const struct event *event)
{
    struct anthropic_sent *b = block_of(enc, event->block);

    if (b == NULL)
        return;
    if (event->kind == EVENT_BLOCK_END)
        observe_end(enc, b);
    else if (event->kind == EVENT_TOOL_ARGS)
        b->said = true;
    else
        b->has_sign = true;
}

/* A frame goes out raw. Texts are the many, and change nothing. */
static void observe(struct anthropic_encoder *enc, const struct frame *frame)
{
    for (uint32_t i = 0; i < frame->n && !arena_overflowed(enc->options.arena); i++) {
        const struct event *event = &frame->events[i];
        switch (event->kind) {
        case EVENT_TEXT:
        case EVENT_REASONING:
        case EVENT_CITATION:
        case EVENT_LOGPROBS:
        case EVENT_KEEPALIVE:
            break;
        case EVENT_START:
            observe_start(enc, event);
            enc->started = true;
            break;
        case EVENT_BLOCK_BEGIN:
            observe_begin(enc, event);
            break;
        case EVENT_TOOL_ARGS:
        case EVENT_SIGNATURE:
        case EVENT_BLOCK_END:
            observe_in_block(enc, event);
            break;
        case EVENT_USAGE:
            observe_usage(enc, &event->usage);
            break;
        case EVENT_STOP:
            observe_stop(enc, event);
            enc->stop_sent = true;
            break;
        case EVENT_ERROR:
            enc->failed = true;
            break;
        case EVENT_KIND_COUNT:
            BUG("no such kind of event");
        }
    }
    enc->ended |= frame->terminator;
}

/* --- events of ours ----------------------------------------------------------------------- */

/* event: NAME, data: {"type":"NAME" */
static void event_begin(struct buf *out, const char *name)
{
    buf_add(out, STR("event: "));
    buf_add(out, str_c(name));
    buf_add(out, STR("\ndata: {\"type\":\""));
    buf_add(out, str_c(name));
    buf_add_char(out, '"');
}

static void event_end(struct buf *out)
{
    buf_add(out, STR("}\n\n"));
}

static void block_event_begin(struct buf *out, const char *name, const struct anthropic_sent *b)
{
    event_begin(out, name);
    buf_add(out, STR(",\"index\":"));
    buf_add_int64(out, b->index);
}

static void message_start(struct anthropic_encoder *enc, struct buf *out)
{
    if (enc->started)
        return;
    enc->started = true;
    event_begin(out, "message_start");
    buf_add(out, STR(",\"message\":"));
    anthropic_add_head(out, enc);
    buf_add(out, STR(",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null"));
    anthropic_add_usage(out, &enc->usage, true);
    buf_add_char(out, '}');
    event_end(out);
}

static void message_end(struct anthropic_encoder *enc, struct buf *out)
{
    if (!enc->stop_sent || enc->usage_changed) {
        event_begin(out, "message_delta");
        buf_add(out, STR(",\"delta\":{"));
        anthropic_add_stop(out, enc);
        buf_add_char(out, '}');
        anthropic_add_usage(out, &enc->usage, false);
        event_end(out);
        enc->stop_sent = true;
    }
    if (!enc->ended) {
        event_begin(out, "message_stop");
        event_end(out);
        enc->ended = true;
    }
}

static void error_event(struct anthropic_encoder *enc, const struct event *error, struct buf *out)
{
    buf_add(out, STR("event: error\ndata: "));
    anthropic_add_error(out, error, enc->options.same_protocol);
    buf_add(out, STR("\n\n"));
    enc->failed = true;
}

/* --- blocks ------------------------------------------------------------------------------- */

/* The type and the member of a block's deltas. */
static struct str delta_words(const struct anthropic_sent *b)
{
    if (b->kind == BLOCK_TOOL)
        return STR("{\"type\":\"input_json_delta\",\"partial_json\":\"");
    if (b->kind == BLOCK_REASONING)
        return STR("{\"type\":\"thinking_delta\",\"thinking\":\"");
    return STR("{\"type\":\"text_delta\",\"text\":\"");
}

static void delta(struct anthropic_encoder *enc, struct anthropic_sent *b, struct str text,
                  struct buf *out)
{
    if (UNLIKELY(b->head.n == 0)) {
        size_t begin = out->n;
        block_event_begin(out, "content_block_delta", b);
        buf_add(out, STR(",\"delta\":"));
        buf_add(out, delta_words(b));
        if (buf_ok(out))
            b->head = str_copy(enc->options.arena, str_from(buf_str(out), begin));
    } else {
        buf_add(out, b->head);
    }
    json_add_escaped(out, text);
    buf_add(out, STR("\"}}\n\n"));
    b->said = true;
}

static void add_waiting(struct anthropic_encoder *enc, struct anthropic_sent *b, struct str text)
{
    if (text.n > enc->options.bytes_max - enc->held) {
        enc->too_long = true;
        return;
    }
    enc->held += text.n;
    if (!buf_add(&b->text, text)) {
        enc->too_long = true;
        buf_tell(&b->text, enc->options.arena);
    }
}

/* What waited of the block, taken from it. */
static struct buf take_waiting(struct anthropic_encoder *enc, struct anthropic_sent *b)
{
    struct buf text = b->text;

    enc->held -= text.n;
    buf_init(&b->text, enc->options.bytes_max);
    buf_set_budget(&b->text, enc->options.arena->budget);
    return text;
}

/* Other vendors' models may say null, a list, or nothing like JSON: clients want an object. */
static void tool_args(struct anthropic_encoder *enc, struct anthropic_sent *b, struct str text,
                      struct buf *out)
{
    if (UNLIKELY(!b->said))
        b->odd = !enc->options.same_protocol && (b->odd || !str_starts(str_trim(text), STR("{")));
    if (UNLIKELY(b->odd))
        add_waiting(enc, b, text);
    else
        delta(enc, b, text, out);
}

/* The end of a call: what waited, as an object. */
static void tool_end(struct anthropic_encoder *enc, struct anthropic_sent *b, struct buf *out)
{
    struct buf text = take_waiting(enc, b);

    delta(enc, b, fit_arguments(buf_str(&text), NULL, enc->options.arena), out);
    buf_fini(&text);
}

static void signature_delta(struct anthropic_sent *b, struct str signature, struct buf *out)
{
    block_event_begin(out, "content_block_delta", b);
    buf_add(out, STR(",\"delta\":{\"type\":\"signature_delta\""));
    anthropic_add_member(out, "signature", signature);
    buf_add_char(out, '}');
    event_end(out);
    b->has_sign = true;
}

static void citation_delta(struct anthropic_encoder *enc, const struct anthropic_sent *b,
                           struct str citation, struct buf *out)
{
    struct buf text;

    buf_init(&text, enc->options.bytes_max);
    if (anthropic_add_citation(&text, citation, enc->options.arena)) {
        block_event_begin(out, "content_block_delta", b);
        buf_add(out, STR(",\"delta\":{\"type\":\"citations_delta\",\"citation\":"));
        buf_add(out, buf_str(&text));
        buf_add_char(out, '}');
        event_end(out);
    }
    buf_fini(&text);
}

/* What a block's start says of it. */
static void add_content_block(const struct anthropic_sent *b, struct buf *out)
{
    switch (b->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        buf_add(out, STR("{\"type\":\"text\",\"text\":\"\"}"));
        return;
    case BLOCK_REASONING:
        buf_add(out, STR("{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"));
        return;
    case BLOCK_REDACTED:
        buf_add(out, STR("{\"type\":\"redacted_thinking\""));
        anthropic_add_member(out, "data", b->signature);
        buf_add_char(out, '}');
        return;
    case BLOCK_TOOL:
        buf_add(out, STR("{\"type\":\"tool_use\""));
        anthropic_add_member(out, "id", b->id);
        anthropic_add_member(out, "name", b->name);
        buf_add(out, STR(",\"input\":{}}"));
        return;
    case BLOCK_VENDOR:
        buf_add(out, buf_str(&b->text));
        return;
    case BLOCK_MEDIA:
    case BLOCK_KIND_COUNT:
        break;
    }
    BUG("not a block of this protocol");
}

/* Opens a block whose turn it is, and says what waited. */
static void open_block(struct anthropic_encoder *enc, struct anthropic_sent *b, struct buf *out)
{
    assert(b->state == ANTHROPIC_WAITING && enc->open == 0);
    b->state = ANTHROPIC_OPEN;
    b->index = enc->next_index++;
    enc->open++;
    enc->raw_tail = false;
    enc->refused |= b->kind == BLOCK_REFUSAL;
    block_event_begin(out, "content_block_start", b);
    buf_add(out, STR(",\"content_block\":"));
    add_content_block(b, out);
    event_end(out);

    if (b->kind == BLOCK_VENDOR || b->kind == BLOCK_REDACTED)
        return;
    for (const struct anthropic_text *c = b->citations.first; c != NULL; c = c->next)
        citation_delta(enc, b, c->text, out);
    struct buf text = take_waiting(enc, b);
    if (b->kind == BLOCK_TOOL && text.n > 0)
        tool_args(enc, b, buf_str(&text), out);
    else if (text.n > 0)
        delta(enc, b, buf_str(&text), out);
    buf_fini(&text);
    if (b->kind == BLOCK_REASONING && b->signature.n > 0)
        signature_delta(b, b->signature, out);
}

static void close_block(struct anthropic_encoder *enc, struct anthropic_sent *b, struct buf *out)
{
    assert(b->state == ANTHROPIC_OPEN && enc->open > 0);
    if (b->kind == BLOCK_TOOL && !b->said)
        tool_end(enc, b, out);
    /* Clients want one; an upstream of this protocol that gives none is known to its own. */
    if (b->kind == BLOCK_REASONING && !b->has_sign && !enc->options.same_protocol)
        signature_delta(b, ANTHROPIC_UNSIGNED, out);
    block_event_begin(out, "content_block_stop", b);
    event_end(out);
    b->state = ANTHROPIC_DONE;
    enc->open--;
    enc->raw_tail = enc->raw_tail && enc->open > 0;
}

/* Whether there is something to open it for. */
static bool has_content(const struct anthropic_sent *b)
{
    if (b->kind == BLOCK_TOOL)
        return true;
    if (b->kind == BLOCK_REASONING || b->kind == BLOCK_REDACTED)
        return b->text.n > 0 || b->signature.n > 0;
    return b->text.n > 0;
}

/* Gives each block its turn that can have it. */
static void advance(struct anthropic_encoder *enc, struct buf *out)
{
    for (struct anthropic_sent *b = enc->first; b != NULL; b = b->next) {
        enc->first = b;
        if (b->state == ANTHROPIC_WAITING && enc->open == 0 && has_content(b))
            open_block(enc, b, out);
        if (b->state == ANTHROPIC_OPEN && b->ended)
            close_block(enc, b, out);
        if (b->state == ANTHROPIC_WAITING && b->ended && !has_content(b))
            b->state = ANTHROPIC_DONE;
        if (b->state != ANTHROPIC_DONE)
            return;
    }
    enc->first = NULL;
}

static void encode_begin(struct anthropic_encoder *enc, const struct event *event, struct buf *out)
{
    struct anthropic_sent *b = add_block(enc, event);

    if (b == NULL)
        return;
    if (b->kind == BLOCK_TOOL) {
        b->id = str_copy(enc->options.arena, event->begin.id);
        b->name = str_copy(enc->options.arena, event->begin.name);
        advance(enc, out);
    } else if (b->kind == BLOCK_MEDIA || (b->kind == BLOCK_VENDOR && !enc->options.same_protocol)) {
        b->state = ANTHROPIC_DONE;
    }
}

/* What cannot be said yet. */
static void hold(struct anthropic_encoder *enc, struct anthropic_sent *b, const struct event *event)
{
    struct arena *arena = enc->options.arena;

    if (event->kind == EVENT_SIGNATURE)
        b->signature = str_copy(arena, event->text);
    else if (event->kind == EVENT_CITATION)
        anthropic_add_text(&b->citations, str_copy(arena, event->text), arena);
    else
        add_waiting(enc, b, event->text);
}

/* An event of an open block. */
static void say(struct anthropic_encoder *enc, struct anthropic_sent *b, const struct event *event,
                struct buf *out)
{
    if (event->kind == EVENT_SIGNATURE) {
        if (b->kind == BLOCK_REASONING && !b->has_sign)
            signature_delta(b, event->text, out);
    } else if (event->kind == EVENT_CITATION) {
        /* Those of a block that went out raw went with it. */
        if (!b->raw)
            citation_delta(enc, b, event->text, out);
    } else if (b->kind == BLOCK_TOOL) {
        tool_args(enc, b, event->text, out);
    } else if (b->kind != BLOCK_VENDOR && b->kind != BLOCK_REDACTED) {
        delta(enc, b, event->text, out);
    }
}

static void encode_in_block(struct anthropic_encoder *enc, const struct event *event,
                            struct buf *out)
{
    struct anthropic_sent *b = block_of(enc, event->block);

    if (b == NULL || b->state == ANTHROPIC_DONE || event->kind == EVENT_LOGPROBS)
        return;
    if (LIKELY(b->state == ANTHROPIC_OPEN && event->kind != EVENT_BLOCK_END)) {
        say(enc, b, event, out);
        return;
    }
    if (event->kind != EVENT_BLOCK_END) {
        hold(enc, b, event);
    } else {
        b->ended = true;
        if (b->state == ANTHROPIC_OPEN)
            close_block(enc, b, out);
    }
    advance(enc, out);
}

static void encode_start(struct anthropic_encoder *enc, const struct frame *frame, uint32_t at,
                         struct buf *out)
{
    observe_start(enc, &frame->events[at]);
    /* What is known of usage already is said with it. */
    for (uint32_t i = at + 1; i < frame->n && !frame->whole; i++) {
        if (frame->events[i].kind == EVENT_USAGE)
            observe_usage(enc, &frame->events[i].usage);
    }
    message_start(enc, out);
}

static void encode_event(struct anthropic_encoder *enc, const struct frame *frame, uint32_t at,
                         struct buf *out)
{
    const struct event *event = &frame->events[at];

    /* A message is one answer. */
    if (event->choice != 0)
        return;
    switch (event->kind) {
    case EVENT_START:
        encode_start(enc, frame, at, out);
        return;
    case EVENT_BLOCK_BEGIN:
        encode_begin(enc, event, out);
        return;
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
    case EVENT_BLOCK_END:
        encode_in_block(enc, event, out);
        return;
    case EVENT_USAGE:
        observe_usage(enc, &event->usage);
        enc->usage_changed = true;
        return;
    case EVENT_STOP:
        observe_stop(enc, event);
        return;
    case EVENT_ERROR:
        error_event(enc, event, out);
        return;
    case EVENT_KEEPALIVE:
        event_begin(out, "ping");
        event_end(out);
        return;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

static void stream_end(struct anthropic_encoder *enc, struct buf *out)
{
    if (!enc->encoding || enc->failed || enc->ended)
        return;
    message_start(enc, out);
    message_end(enc, out);
}

static void encode_events(struct anthropic_encoder *enc, const struct frame *frame, struct buf *out)
{
    for (uint32_t i = 0; i < frame->n && !enc->failed && !enc->ended; i++) {
        /* The whole frame is refused then. */
        if (arena_overflowed(enc->options.arena))
            return;
        encode_event(enc, frame, i, out);
    }
    if (frame->terminator && enc->stopped)
        stream_end(enc, out);
}

/* --- entry points ------------------------------------------------------------------------- */

static enum error_code collect(struct anthropic_encoder *enc, const struct frame *frame,
                               struct error *e)
{
    for (uint32_t i = 0; i < frame->n && !enc->collect.failed; i++) {
        const struct event *event = &frame->events[i];
        if (event->choice == 0 && !collect_event(&enc->collect, event, NULL))
            return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer is longer than %zu bytes",
                        enc->options.bytes_max);
    }
    return OK;
}

static enum error_code check_room(const struct anthropic_encoder *enc, const struct buf *out,
                                  struct error *e)
{
    if (enc->too_long)
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer is longer than %zu bytes",
                    enc->options.bytes_max);
    if (!buf_ok(out) || arena_overflowed(enc->options.arena))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    return OK;
}

static enum error_code whole_frame(struct anthropic_encoder *enc, const struct frame *frame,
                                   bool raw, struct str *ret_bytes, struct error *e)
{
    if (!raw || !frame->whole || enc->collect.started || enc->collect.failed)
        return collect(enc, frame, e);
    enc->raw_sent = true;
    *ret_bytes = frame->raw;
    return OK;
}

enum error_code anthropic_encode_frame(void *encoder, const struct frame *frame, struct buf *out,
                                       struct str *ret_bytes, struct error *e)
{
    struct anthropic_encoder *enc = encoder;
    bool raw = !frame->changed && !str_is_null(frame->raw) && enc->options.same_protocol;

    assert(frame->n == 0 || frame->events != NULL);
    assert(!enc->raw_sent);
    *ret_bytes = STR_NULL;
    if (!enc->options.stream)
        return whole_frame(enc, frame, raw, ret_bytes, e);
    if (LIKELY(!enc->encoding && raw && !frame->whole)) {
        observe(enc, frame);
        *ret_bytes = frame->raw;
        return OK;
    }
    if (!enc->encoding) {
        enc->encoding = true;
        enc->raw_tail = enc->open > 0;
    }
    if (raw && frame->n == 0 && enc->raw_tail && !enc->failed) {
        *ret_bytes = frame->raw;
        return OK;
    }
    encode_events(enc, frame, out);
    return check_room(enc, out, e);
}

enum error_code anthropic_encode_end(void *encoder, struct buf *out, struct error *e)
{
    struct anthropic_encoder *enc = encoder;

    assert(!enc->raw_sent || !enc->options.stream);
    if (enc->options.stream)
        stream_end(enc, out);
    else if (!enc->raw_sent)
        anthropic_collect_write(enc, out);
    return check_room(enc, out, e);
}
