/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: frames as the client gets them.
 *
 * What      Hands out the upstream's bytes while nothing was changed, else makes its own.
 * How
 *             raw ── a frame is changed, has no bytes, or is a whole body ──► encoding, to the end
 *
 *           raw       events are only observed: ids, calls and their numbers, what was finished.
 *           encoding  each event that says something becomes a chunk. The numbers of calls that the
 *                     client knows go on; new ones come after the highest.
 *           A client that did not ask for a stream gets an unchanged whole body as it is, else all
 *           is collected (openai_chat_collect.c) and written at the end.
 *           hide_usage takes one frame out of a raw stream and is no take-over: no other frame
 *           depends on it.
 * Owns      The collected body, on the heap. What is observed lies in the answer's arena.
 * Not here  When to end: an answer that broke off never gets encoder_end.
 */
#include "protocol/openai_chat_priv.h"

enum { ERROR_BODY_MAX = 16 * 1024, IMAGE_BYTES_MORE = 1024 };

void openai_chat_encode_init(void *encoder, const struct encoder_options *options)
{
    struct openai_chat_encoder *enc = encoder;

    assert(options->arena != NULL);
    assert(options->bytes_max > 0);
    enc->options = *options;
    enc->encoding = !options->same_protocol || !options->stream;
    enc->body.bytes_max = options->bytes_max;
    enc->body.same_protocol = options->same_protocol;
    enc->functions = options->request != NULL && options->request->functions;
    enc->body.functions = enc->functions;
    buf_init(&enc->error, ERROR_BODY_MAX);
}

void openai_chat_encode_fini(void *encoder)
{
    struct openai_chat_encoder *enc = encoder;

    openai_chat_collect_fini(&enc->body);
    buf_fini(&enc->error);
}

/* --- what the client knows ---------------------------------------------------------------- */

static void observe_start(struct openai_chat_encoder *enc, const struct event *event)
{
    assert(event->kind == EVENT_START);
    enc->started = true;
    enc->id = str_copy(enc->options.arena, event->start.id);
    enc->model = str_copy(enc->options.arena, event->start.model);
    /* What the client has seen goes on, also a 0. */
    enc->created_s = event->start.created_s;
    if (!enc->options.same_protocol || (enc->encoding && enc->created_s <= 0))
        enc->created_s = enc->options.now_s;
}

static struct openai_chat_sent *sent_of(struct openai_chat_encoder *enc, uint32_t choice)
{
    struct openai_chat_sent **to = &enc->sent;

    while (*to != NULL && (*to)->choice < choice)
        to = &(*to)->next;
    if (*to != NULL && (*to)->choice == choice)
        return *to;
    struct openai_chat_sent *sent = ARENA_NEW(enc->options.arena, struct openai_chat_sent);
    if (arena_overflowed(enc->options.arena)) {
        enc->lost_sent = (struct openai_chat_sent){.choice = choice};
        return &enc->lost_sent;
    }
    sent->next = *to;
    sent->choice = choice;
    *to = sent;
    return sent;
}

/* Known members are constants, those of vendors are copied. Null: the block is not told. */
static struct str member_of(const struct openai_chat_encoder *enc, const struct event *begin)
{
    struct str name = begin->begin.name;

    if (begin->begin.kind == BLOCK_REASONING)
        return str_eq(name, STR("reasoning")) ? STR("reasoning") : STR("reasoning_content");
    if (begin->begin.kind == BLOCK_MEDIA)
        return STR("images");
    /* Another protocol's: its clients alone know what to do with it. */
    if (!enc->options.same_protocol)
        return STR_NULL;
    return str_copy(enc->options.arena, name);
}

/* Another protocol's calls are said as the client offered its tools; there is one function_call. */
static bool is_legacy(const struct openai_chat_encoder *enc, const struct openai_chat_sent *sent,
                      const struct event *begin)
{
    if (enc->options.same_protocol)
        return begin->begin.legacy;
    return enc->functions && begin->begin.kind == BLOCK_TOOL && !sent->legacy;
}

static struct openai_chat_known *know(struct openai_chat_encoder *enc,
                                      struct openai_chat_sent *sent, const struct event *begin)
{
    struct openai_chat_known *known;

    assert(begin->kind == EVENT_BLOCK_BEGIN);
    if (begin->begin.kind == BLOCK_TEXT)
        return NULL;
    known = ARENA_NEW(enc->options.arena, struct openai_chat_known);
    if (arena_overflowed(enc->options.arena)) {
        known = &enc->lost_known;
        *known = (struct openai_chat_known){.block = 0};
    }
    known->next = sent->known;
    known->block = begin->block;
    known->kind = begin->begin.kind;
    known->custom = begin->begin.custom;
    known->legacy = is_legacy(enc, sent, begin);
    sent->refused |= known->kind == BLOCK_REFUSAL;
    if (known->kind == BLOCK_TOOL) {
        bool raw = !enc->encoding && begin->begin.index != EVENT_NO_INDEX;
        known->number = raw ? begin->begin.index : sent->numbers;
        sent->legacy |= known->legacy;
        /* A function_call has no number: those of tool_calls are dense without it. */
        if (!known->legacy && known->number >= sent->numbers && known->number < UINT32_MAX)
            sent->numbers = known->number + 1;
    } else if (known->kind != BLOCK_REFUSAL) {
        known->member = member_of(enc, begin);
    }
    if (known != &enc->lost_known)
        sent->known = known;
    return known;
}

/* NULL: a text block. */
static struct openai_chat_known *known_block(const struct openai_chat_sent *sent, uint32_t block)
{
    struct openai_chat_known *known = sent->known;

    while (known != NULL && known->block != block)
        known = known->next;
    return known;
}

/* A frame goes out raw. Texts are the many, and change nothing. */
static void observe(struct openai_chat_encoder *enc, const struct frame *frame)
{
    struct openai_chat_sent *sent;

    for (uint32_t i = 0; i < frame->n && !arena_overflowed(enc->options.arena); i++) {
        const struct event *event = &frame->events[i];
        switch (event->kind) {
        case EVENT_TEXT:
        case EVENT_REASONING:
        case EVENT_SIGNATURE:
        case EVENT_TOOL_ARGS:
        case EVENT_CITATION:
        case EVENT_LOGPROBS:
        case EVENT_BLOCK_END:
        case EVENT_KEEPALIVE:
            break;
        case EVENT_START:
            observe_start(enc, event);
            break;
        case EVENT_BLOCK_BEGIN:
            sent = sent_of(enc, event->choice);
            sent->role = true;
            (void)know(enc, sent, event);
            break;
        case EVENT_USAGE:
            enc->usage = event->usage;
            enc->usage_known = true;
            break;
        case EVENT_STOP:
            sent_of(enc, event->choice)->finish = true;
            break;
        case EVENT_ERROR:
            enc->failed = true;
            break;
        case EVENT_KIND_COUNT:
            BUG("no such kind of event");
        }
    }
    enc->terminator_sent |= frame->terminator;
}

/* --- chunks ------------------------------------------------------------------------------- */

/* {"id":…,"model":…, as both chunks and bodies begin. */
static void add_head(const struct openai_chat_encoder *enc, struct str object, struct buf *out)
{
    buf_add(out, STR("{\"id\":"));
    if (enc->id.n > 0 && enc->options.same_protocol) {
        json_add_string(out, enc->id);
    } else {
        buf_add(out, STR("\"chatcmpl-"));
        json_add_escaped(out, enc->options.id);
        buf_add_char(out, '"');
    }
    buf_add(out, STR(",\"object\":"));
    json_add_string(out, object);
    buf_add(out, STR(",\"created\":"));
    buf_add_int64(out, enc->started ? enc->created_s : enc->options.now_s);
    buf_add(out, STR(",\"model\":"));
    json_add_string(out, enc->model.n > 0 ? enc->model : enc->options.model);
    buf_add_char(out, ',');
}

static void chunk_begin(struct openai_chat_encoder *enc, struct buf *out)
{
    if (enc->head.n > 0) {
        buf_add(out, enc->head);
        return;
    }
    size_t begin = out->n;
    buf_add(out, STR("data: "));
    add_head(enc, STR("chat.completion.chunk"), out);
    if (buf_ok(out))
        enc->head = str_copy(enc->options.arena, str_from(buf_str(out), begin));
}

/* Up to the delta's '{', with the role where the client has not got it yet. */
static void delta_begin(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                        bool has_content, struct buf *out)
{
    chunk_begin(enc, out);
    buf_add(out, STR("\"choices\":[{\"index\":"));
    buf_add_int64(out, sent->choice);
    buf_add(out, STR(",\"delta\":{"));
    if (sent->role)
        return;
    buf_add(out, STR("\"role\":\"assistant\""));
    if (!has_content)
        buf_add(out, STR(",\"content\":null"));
    sent->role = true;
}

/* logprobs and finish: null str for none. */
static void delta_end(const struct openai_chat_encoder *enc, struct str logprobs, struct str finish,
                      struct buf *out)
{
    buf_add_char(out, '}');
    if (!str_is_null(logprobs)) {
        buf_add(out, STR(",\"logprobs\":"));
        buf_add(out, logprobs);
    }
    buf_add(out, STR(",\"finish_reason\":"));
    if (str_is_null(finish))
        buf_add(out, STR("null"));
    else
        json_add_string(out, finish);
    buf_add(out, enc->options.include_usage ? STR("}],\"usage\":null}\n\n") : STR("}]}\n\n"));
}

/* All of a chunk before its text, which is the same in most of them: it is written once. */
static void text_begin(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                       struct str member, struct buf *out)
{
    struct openai_chat_text_head *head = &enc->text_head;
    size_t begin = out->n;
    bool role = sent->role;

    if (head->sent == sent && head->member.p == member.p) {
        buf_add(out, head->bytes);
        return;
    }
    delta_begin(enc, sent, str_eq(member, STR("content")), out);
    openai_chat_add_key(out, member);
    if (!role || head->made >= OPENAI_CHAT_TEXT_HEADS || !buf_ok(out))
        return;
    *head = (struct openai_chat_text_head){
        .made = head->made + 1,
        .member = member,
        .bytes = str_copy(enc->options.arena, str_from(buf_str(out), begin)),
    };
    if (!arena_overflowed(enc->options.arena))
        head->sent = sent;
}

/* A chunk whose delta is one member with a string. */
/* A choice does not open with logprobs: OpenAI's own never does, and its SDK for Node would count
 * those of a first chunk twice. */
static void open_before_logprobs(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                                 struct buf *out)
{
    if (sent->role)
        return;
    delta_begin(enc, sent, true, out);
    openai_chat_add_key(out, STR("content"));
    buf_add(out, STR("\"\""));
    delta_end(enc, STR_NULL, STR_NULL, out);
}

static void text_chunk(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                       struct str member, struct str text, struct str logprobs, struct buf *out)
{
    assert(member.n > 0);
    if (UNLIKELY(!str_is_null(logprobs)))
        open_before_logprobs(enc, sent, out);
    text_begin(enc, sent, member, out);
    json_add_string(out, text);
    if (LIKELY(str_is_null(logprobs) && !enc->options.include_usage))
        buf_add(out, STR("},\"finish_reason\":null}]}\n\n"));
    else
        delta_end(enc, logprobs, STR_NULL, out);
}

/* A chunk whose delta is one member with JSON, in brackets where it is an element of a list. */
static void json_chunk(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                       struct str member, struct str json, bool element, struct buf *out)
{
    delta_begin(enc, sent, false, out);
    openai_chat_add_key(out, member);
    if (element)
        buf_add_char(out, '[');
    buf_add(out, json);
    if (element)
        buf_add_char(out, ']');
    delta_end(enc, STR_NULL, STR_NULL, out);
}

static void tool_begin_chunk(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                             const struct openai_chat_known *known, const struct event *begin,
                             struct buf *out)
{
    delta_begin(enc, sent, false, out);
    if (known->legacy) {
        openai_chat_add_key(out, STR("function_call"));
    } else {
        openai_chat_add_key(out, STR("tool_calls"));
        buf_add(out, STR("[{\"index\":"));
        buf_add_int64(out, known->number);
        buf_add(out, STR(",\"id\":"));
        json_add_string(out, begin->begin.id);
        buf_add(out, known->custom ? STR(",\"type\":\"custom\",\"custom\":")
                                   : STR(",\"type\":\"function\",\"function\":"));
    }
    buf_add(out, STR("{\"name\":"));
    json_add_string(out, begin->begin.name);
    buf_add(out, known->custom ? STR(",\"input\":\"\"}") : STR(",\"arguments\":\"\"}"));
    if (!known->legacy)
        buf_add(out, STR("}]"));
    delta_end(enc, STR_NULL, STR_NULL, out);
}

static void tool_args_chunk(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                            const struct openai_chat_known *known, struct str args, struct buf *out)
{
    delta_begin(enc, sent, false, out);
    if (known->legacy) {
        openai_chat_add_key(out, STR("function_call"));
    } else {
        openai_chat_add_key(out, STR("tool_calls"));
        buf_add(out, STR("[{\"index\":"));
        buf_add_int64(out, known->number);
        buf_add(out, known->custom ? STR(",\"custom\":") : STR(",\"function\":"));
    }
    buf_add(out, known->custom ? STR("{\"input\":") : STR("{\"arguments\":"));
    json_add_string(out, args);
    buf_add(out, known->legacy ? STR("}") : STR("}}]"));
    delta_end(enc, STR_NULL, STR_NULL, out);
}

static void finish_chunk(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                         const struct event *stop, struct buf *out)
{
    bool role = sent->role;
    struct event known = *stop;

    assert(!sent->finish);
    /* A word that is no other's: who speaks this vendor's dialect knows it. */
    if (!enc->options.same_protocol)
        known.stop.native = STR_NULL;
    if (known.stop.reason == STOP_REFUSAL && !sent->refused)
        known.stop.reason = STOP_FILTER;
    delta_begin(enc, sent, true, out);
    if (!role) {
        openai_chat_add_key(out, STR("content"));
        buf_add(out, STR("\"\""));
    }
    bool calls = sent->numbers > 0 || sent->legacy;
    delta_end(enc, STR_NULL, openai_chat_finish_word(&known, calls, sent->legacy), out);
    sent->finish = true;
}

static void error_chunk(struct openai_chat_encoder *enc, const struct event *error, struct buf *out)
{
    assert(!enc->failed && !enc->terminator_sent);
    buf_add(out, STR("data: "));
    openai_chat_add_error(out, error, enc->options.same_protocol);
    buf_add(out, STR("\n\n"));
    enc->failed = true;
}

static void image_chunk(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                        struct str media, struct buf *out)
{
    struct buf image;

    buf_init(&image, media.n * 2 + IMAGE_BYTES_MORE);
    if (openai_chat_add_image(&image, media))
        json_chunk(enc, sent, STR("images"), buf_str(&image), true, out);
    buf_fini(&image);
}

/* TEXT of whichever block it is in. */
static void encode_text(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                        const struct event *event, struct str logprobs, struct buf *out)
{
    const struct openai_chat_known *known = known_block(sent, event->block);

    if (known == NULL)
        text_chunk(enc, sent, STR("content"), event->text, logprobs, out);
    else if (known->kind == BLOCK_REFUSAL)
        text_chunk(enc, sent, STR("refusal"), event->text, logprobs, out);
    else if (known->kind == BLOCK_MEDIA)
        image_chunk(enc, sent, event->text, out);
    else if (known->kind == BLOCK_VENDOR && !str_is_null(known->member))
        json_chunk(enc, sent, known->member, event->text, false, out);
}

static void encode_reasoning(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                             const struct event *event, struct buf *out)
{
    const struct openai_chat_known *known = known_block(sent, event->block);

    assert(known != NULL && known->kind == BLOCK_REASONING);
    text_chunk(enc, sent, known->member, event->text, STR_NULL, out);
}

/* BLOCK_BEGIN, BLOCK_END, and what is inside calls. No arguments at all are {}. */
static void encode_tool(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                        const struct event *event, struct buf *out)
{
    struct openai_chat_known *known;

    if (event->kind == EVENT_BLOCK_BEGIN) {
        known = know(enc, sent, event);
        if (known != NULL && known->kind == BLOCK_TOOL)
            tool_begin_chunk(enc, sent, known, event, out);
        return;
    }
    known = known_block(sent, event->block);
    if (event->kind == EVENT_BLOCK_END) {
        bool bare = known != NULL && known->kind == BLOCK_TOOL && !known->args && !known->custom;
        if (bare && !enc->options.same_protocol)
            tool_args_chunk(enc, sent, known, STR("{}"), out);
        return;
    }
    assert(known != NULL && known->kind == BLOCK_TOOL);
    known->args |= event->text.n > 0;
    tool_args_chunk(enc, sent, known, event->text, out);
}

/* What comes along with a text. */
static void encode_beside(struct openai_chat_encoder *enc, struct openai_chat_sent *sent,
                          const struct event *event, struct buf *out)
{
    if (event->kind == EVENT_LOGPROBS) {
        open_before_logprobs(enc, sent, out);
        delta_begin(enc, sent, false, out);
        delta_end(enc, event->text, STR_NULL, out);
        return;
    }
    if (enc->options.same_protocol || openai_chat_is_annotation(event->text))
        json_chunk(enc, sent, STR("annotations"), event->text, true, out);
}

/* An event inside a choice. next: the event after it in the frame, or NULL. Returns how many of
 * the two it took. */
static uint32_t encode_in_choice(struct openai_chat_encoder *enc, const struct event *event,
                                 const struct event *next, struct buf *out)
{
    struct openai_chat_sent *sent = sent_of(enc, event->choice);
    bool with_logprobs = event->kind == EVENT_TEXT && next != NULL &&
                         next->kind == EVENT_LOGPROBS && next->choice == event->choice;

    if (sent->finish)
        return 1;
    if (event->kind == EVENT_TEXT)
        encode_text(enc, sent, event, with_logprobs ? next->text : STR_NULL, out);
    else if (event->kind == EVENT_REASONING)
        encode_reasoning(enc, sent, event, out);
    else if (event->kind == EVENT_CITATION || event->kind == EVENT_LOGPROBS)
        encode_beside(enc, sent, event, out);
    else if (event->kind == EVENT_STOP)
        finish_chunk(enc, sent, event, out);
    else if (event->kind != EVENT_SIGNATURE)
        encode_tool(enc, sent, event, out);
    return with_logprobs ? 2 : 1;
}

static void encode_chunks(struct openai_chat_encoder *enc, const struct frame *frame,
                          struct buf *out)
{
    for (uint32_t i = 0; i < frame->n && !enc->failed && !enc->terminator_sent;) {
        /* The whole frame is refused then. */
        if (arena_overflowed(enc->options.arena))
            return;
        const struct event *event = &frame->events[i];
        const struct event *next = i + 1 < frame->n ? event + 1 : NULL;
        uint32_t taken = 1;
        switch (event->kind) {
        case EVENT_START:
            observe_start(enc, event);
            break;
        case EVENT_USAGE:
            enc->usage = event->usage;
            enc->usage_known = true;
            break;
        case EVENT_ERROR:
            error_chunk(enc, event, out);
            break;
        case EVENT_KEEPALIVE:
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

/* --- one whole body ----------------------------------------------------------------------- */

static enum error_code collect(struct openai_chat_encoder *enc, const struct frame *frame,
                               struct error *e)
{
    for (uint32_t i = 0; i < frame->n && !enc->failed; i++) {
        const struct event *event = &frame->events[i];
        if (event->kind == EVENT_START) {
            observe_start(enc, event);
        } else if (event->kind == EVENT_USAGE) {
            enc->usage = event->usage;
            enc->usage_known = true;
        } else if (event->kind == EVENT_ERROR) {
            openai_chat_add_error(&enc->error, event, enc->options.same_protocol);
            enc->failed = true;
        } else if (!openai_chat_collect_event(&enc->body, event)) {
            return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer is longer than %zu bytes",
                        enc->options.bytes_max);
        }
    }
    return OK;
}

static void body_write(const struct openai_chat_encoder *enc, struct buf *out)
{
    add_head(enc, STR("chat.completion"), out);
    buf_add(out, STR("\"choices\":"));
    openai_chat_collect_write(&enc->body, out);
    if (enc->usage_known) {
        buf_add(out, STR(",\"usage\":"));
        openai_chat_add_usage(out, &enc->usage);
    }
    buf_add_char(out, '}');
}

/* --- entry points ------------------------------------------------------------------------- */

static enum error_code check_room(const struct openai_chat_encoder *enc, const struct buf *out,
                                  struct error *e)
{
    if (!buf_ok(out) || arena_overflowed(enc->options.arena))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    return OK;
}

enum error_code openai_chat_encode_frame(void *encoder, const struct frame *frame, struct buf *out,
                                         struct str *ret_bytes, struct error *e)
{
    struct openai_chat_encoder *enc = encoder;
    bool raw = !frame->changed && !str_is_null(frame->raw) && enc->options.same_protocol;

    assert(frame->n == 0 || frame->events != NULL);
    assert(!enc->raw_sent);
    *ret_bytes = STR_NULL;
    if (!enc->options.stream) {
        if (raw && frame->whole && !enc->started && !enc->failed) {
            enc->raw_sent = true;
            *ret_bytes = frame->raw;
            return OK;
        }
        return collect(enc, frame, e);
    }
    if (LIKELY(!enc->encoding && raw && !frame->whole)) {
        observe(enc, frame);
        if (frame->usage_only && enc->options.hide_usage)
            return OK;
        enc->usage_sent |= frame->usage_only;
        *ret_bytes = frame->raw;
        return OK;
    }
    enc->encoding = true;
    encode_chunks(enc, frame, out);
    return check_room(enc, out, e);
}

static void stream_end(struct openai_chat_encoder *enc, struct buf *out)
{
    const struct event stop = {.kind = EVENT_STOP, .stop.reason = STOP_END};

    if (!enc->encoding || enc->failed || enc->terminator_sent)
        return;
    for (struct openai_chat_sent *sent = enc->sent; sent != NULL; sent = sent->next) {
        if (!sent->finish)
            finish_chunk(enc, sent, &stop, out);
    }
    if (enc->options.include_usage && enc->usage_known && !enc->usage_sent) {
        chunk_begin(enc, out);
        buf_add(out, STR("\"choices\":[],\"usage\":"));
        openai_chat_add_usage(out, &enc->usage);
        buf_add(out, STR("}\n\n"));
    }
    buf_add(out, STR("data: [DONE]\n\n"));
    enc->terminator_sent = true;
}

enum error_code openai_chat_encode_end(void *encoder, struct buf *out, struct error *e)
{
    struct openai_chat_encoder *enc = encoder;

    assert(!enc->raw_sent || !enc->options.stream);
    if (enc->options.stream)
        stream_end(enc, out);
    else if (enc->failed)
        buf_add(out, buf_str(&enc->error));
    else if (!enc->raw_sent && enc->body.pieces == NULL)
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer ended without a choice");
    else if (!enc->raw_sent)
        body_write(enc, out);
    return check_room(enc, out, e);
}
