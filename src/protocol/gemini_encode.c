/* SPDX-License-Identifier: MIT */
/*
 * Gemini: frames as the client gets them.
 *
 * What      Hands out the upstream's bytes while nothing was changed, else makes its own: events,
 *           a JSON array, or one whole body (gemini.md, 13).
 * How
 *             raw ── a frame is changed, has no bytes, or is a whole body ──► encoding, to the end
 *
 *           raw       events are only observed: blocks, what was finished, usage.
 *           encoding  each text is a chunk at once; calls, media and vendor's parts are one when
 *                     their block ends. Finish reasons wait for the end of the answer, as usage
 *                     stands on the last chunk and may come after them.
 *           A call whose arguments were coming in pieces (Vertex) when a frame was changed is said
 *           whole: what went out of it raw stays unfinished.
 *           A client that did not ask for a stream gets an unchanged whole body as it is, else all
 *           is collected (canon/collect) and written at the end.
 * Owns      What is collected. What is observed lies in the answer's arena.
 * Not here  When to end: an answer that broke off never gets encoder_end.
 */
#include "protocol/gemini_priv.h"

void gemini_encode_init(void *encoder, const struct encoder_options *options)
{
    struct gemini_encoder *enc = encoder;

    assert(options->arena != NULL && options->bytes_max > 0);
    assert(!options->array || options->stream);
    enc->options = *options;
    enc->encoding = !options->same_protocol || !options->stream;
    collect_init(&enc->collect, options->arena, options->bytes_max);
}

void gemini_encode_fini(void *encoder)
{
    struct gemini_encoder *enc = encoder;

    collect_fini(&enc->collect);
}

static struct gemini_sent *sent_of(struct gemini_encoder *enc, uint32_t choice)
{
    struct gemini_sent **to = &enc->sent;

    while (*to != NULL && (*to)->choice != choice)
        to = &(*to)->next;
    if (*to != NULL)
        return *to;
    struct gemini_sent *sent = ARENA_NEW(enc->options.arena, struct gemini_sent);
    if (arena_overflowed(enc->options.arena)) {
        enc->lost = (struct gemini_sent){.choice = choice};
        return &enc->lost;
    }
    sent->choice = choice;
    *to = sent;
    return sent;
}

static void note(struct gemini_encoder *enc, const struct event *event)
{
    enc->full |= !collect_event(&enc->collect, event, NULL);
}

/* --- pieces of JSON ----------------------------------------------------------------------- */

static int64_t known(int64_t count)
{
    return count < 0 ? 0 : count;
}

static void add_count(struct buf *out, struct str before, int64_t count)
{
    buf_add(out, before);
    buf_add_int64(out, count);
}

static void add_usage(struct buf *out, const struct usage *usage)
{
    int64_t input = known(usage->input);
    int64_t output = known(usage->output);
    int64_t thoughts = known(usage->reasoning);
    int64_t total;

    if (thoughts > output)
        thoughts = output;
    if (__builtin_add_overflow(input, output, &total))
        total = INT64_MAX;
    add_count(out, STR("{\"promptTokenCount\":"), input);
    add_count(out, STR(",\"candidatesTokenCount\":"), output - thoughts);
    add_count(out, STR(",\"totalTokenCount\":"), total);
    if (usage->cached > 0)
        add_count(out, STR(",\"cachedContentTokenCount\":"), usage->cached);
    if (thoughts > 0)
        add_count(out, STR(",\"thoughtsTokenCount\":"), thoughts);
    buf_add_char(out, '}');
}

/* What stands behind candidates and usage of each response. */
static void add_tail(struct gemini_encoder *enc, struct buf *out)
{
    const struct collect *collect = &enc->collect;
    bool theirs = enc->options.same_protocol && collect->id.n > 0;
    size_t begin = out->n;

    if (enc->tail.n > 0) {
        buf_add(out, enc->tail);
        return;
    }
    buf_add(out, STR(",\"modelVersion\":"));
    json_add_string(out, collect->model.n > 0 ? collect->model : enc->options.model);
    buf_add(out, STR(",\"responseId\":"));
    json_add_string(out, theirs ? collect->id : enc->options.id);
    buf_add_char(out, '}');
    if (buf_ok(out) && collect->started)
        enc->tail = str_copy(enc->options.arena, str_from(buf_str(out), begin));
}

/* The digit of base64's standard alphabet that is meant; NUL: none. */
static char standard_digit(char c)
{
    bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

    if (letter || (c >= '0' && c <= '9') || c == '+' || c == '/')
        return c;
    return c == '-' ? '+' : c == '_' ? '/' : '\0';
}

/* A signature is base64 of the standard alphabet, padded; others' packed ones are of the other.
 * What is no base64 at all is left out: SDKs decode it. */
static void add_signature(struct buf *out, struct str signature)
{
    size_t begin = out->n;
    size_t n = 0;
    bool digits = true;

    if (signature.n == 0)
        return;
    gemini_add_key(out, STR("thoughtSignature"));
    buf_add_char(out, '"');
    for (; digits && n < signature.n && signature.p[n] != '='; n++) {
        char c = standard_digit(signature.p[n]);
        digits = c != '\0';
        buf_add_char(out, c);
    }
    /* One digit more than whole groups is less than a byte. */
    if (!digits || n % 4 == 1) {
        out->n = buf_ok(out) ? begin : out->n;
        return;
    }
    for (; n % 4 != 0; n++)
        buf_add_char(out, '=');
    buf_add_char(out, '"');
}

/* A call's arguments as an object, on one line: "" and null are {}, other values and what is no
 * JSON are wrapped (mapping.md, 5.5). */
static void add_args(struct buf *out, struct str text, struct arena *scratch)
{
    const struct json_read_options options = {.depth_max = 0};
    struct error ignored;
    yyjson_val *root;

    text = str_trim(text);
    root = text.n == 0 ? NULL : json_read(text, &options, scratch, &ignored);
    gemini_add_key(out, STR("args"));
    if (text.n == 0 || yyjson_is_null(root)) {
        buf_add(out, STR("{}"));
    } else if (yyjson_is_obj(root)) {
        buf_add(out, json_text(root, scratch));
    } else if (root != NULL) {
        buf_add(out, STR("{\"value\":"));
        buf_add(out, json_text(root, scratch));
        buf_add_char(out, '}');
    } else {
        buf_add(out, STR("{\"_invalid_json\":"));
        json_add_string(out, text);
        buf_add_char(out, '}');
    }
}

static void add_call(struct buf *out, const struct collect_block *block, struct arena *scratch)
{
    gemini_add_key(out, STR("functionCall"));
    buf_add_char(out, '{');
    gemini_add_string(out, STR("id"), block->id);
    gemini_add_string(out, STR("name"), block->name);
    if (block->custom) {
        gemini_add_key(out, STR("args"));
        buf_add(out, STR("{\"input\":"));
        json_add_string(out, buf_str(&block->text));
        buf_add_char(out, '}');
    } else {
        add_args(out, buf_str(&block->text), scratch);
    }
    buf_add_char(out, '}');
    add_signature(out, block->signature);
}

static void add_member(struct buf *out, const char *key, yyjson_val *value)
{
    if (yyjson_is_str(value))
        gemini_add_string(out, str_c(key), json_str(value));
}

static void add_media(struct buf *out, struct str json, struct arena *scratch)
{
    const struct json_read_options options = {.depth_max = 0};
    struct error ignored;
    yyjson_val *root = json_read(json, &options, scratch, &ignored);
    yyjson_val *url = json_get(root, STR("url"));

    gemini_add_key(out, yyjson_is_str(url) ? STR("fileData") : STR("inlineData"));
    buf_add_char(out, '{');
    add_member(out, "mimeType", json_get(root, STR("media_type")));
    add_member(out, "data", json_get(root, STR("data")));
    add_member(out, "fileUri", url);
    buf_add_char(out, '}');
    add_signature(out, json_get_str(root, STR("signature")));
}

/* The part that a block is, written when it has ended. texts: also texts and thoughts. False: it is
 * none of this protocol's, nothing was written. */
static bool add_part(struct gemini_encoder *enc, const struct collect_block *block, bool texts,
                     struct arena *scratch, struct buf *out)
{
    struct str text = buf_str(&block->text);
    bool said = texts && (text.n > 0 || block->signature.n > 0);

    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
    case BLOCK_REASONING:
        /* A text that has a name repeats a vendor's part for others. */
        if (!said || (block->kind == BLOCK_TEXT && block->name.n > 0))
            return false;
        buf_add_char(out, '{');
        gemini_add_string(out, STR("text"), text);
        if (block->kind == BLOCK_REASONING)
            buf_add(out, STR(",\"thought\":true"));
        add_signature(out, block->signature);
        break;
    case BLOCK_TOOL:
        buf_add_char(out, '{');
        add_call(out, block, scratch);
        break;
    case BLOCK_MEDIA:
        buf_add_char(out, '{');
        add_media(out, text, scratch);
        break;
    case BLOCK_VENDOR:
        if (!enc->options.same_protocol || text.n == 0)
            return false;
        buf_add(out, text);
        return true;
    case BLOCK_REDACTED:
        return false;
    case BLOCK_KIND_COUNT:
        BUG("no such kind of block");
    }
    buf_add_char(out, '}');
    return true;
}

/* What the model refused in words is text here: the reason tells. */
static bool has_refusal(const struct collect_choice *choice)
{
    for (const struct collect_block *b = choice->blocks; b != NULL; b = b->next) {
        if (b->kind == BLOCK_REFUSAL)
            return true;
    }
    return false;
}

static struct str finish_word(const struct gemini_encoder *enc, const struct collect_choice *choice)
{
    enum stop_reason reason = choice->stopped ? choice->reason : STOP_END;
    enum stop_reason plain = reason == STOP_TOOL ? STOP_END : reason;

    /* This protocol has more words than there are reasons. */
    if (enc->options.same_protocol && choice->native.n > 0 &&
        gemini_decode_reason(choice->native) == plain)
        return choice->native;
    switch (reason) {
    case STOP_END:
        return has_refusal(choice) ? STR("SAFETY") : STR("STOP");
    case STOP_TOOL:
    case STOP_SEQUENCE:
    case STOP_PAUSE:
    case STOP_OTHER:
        return STR("STOP");
    case STOP_LENGTH:
    case STOP_CONTEXT:
        return STR("MAX_TOKENS");
    case STOP_FILTER:
    case STOP_REFUSAL:
        return STR("SAFETY");
    case STOP_REASON_COUNT:
        break;
    }
    BUG("no such reason");
}

/* --- a stream ----------------------------------------------------------------------------- */

static void chunk_begin(struct gemini_encoder *enc, struct buf *out)
{
    assert(!enc->ended);
    if (enc->options.array)
        buf_add(out, enc->begun ? STR(",\r\n") : STR("["));
    else
        buf_add(out, STR("data: "));
    enc->begun = true;
}

static void chunk_end(struct gemini_encoder *enc, struct buf *out)
{
    add_tail(enc, out);
    if (!enc->options.array)
        buf_add(out, STR("\r\n\r\n"));
}

/* Up to the part's '{'. */
static void part_begin(struct gemini_encoder *enc, struct buf *out)
{
    chunk_begin(enc, out);
    buf_add(out, STR("{\"candidates\":[{\"content\":{\"parts\":["));
}

/* logprobs: Chat Completions' logprobs; null: none. */
static void part_end(struct gemini_encoder *enc, uint32_t choice, struct str logprobs,
                     struct buf *out)
{
    buf_add(out, STR("],\"role\":\"model\"},\"index\":"));
    buf_add_int64(out, choice);
    if (!str_is_null(logprobs)) {
        const struct collect_list list = {.text = logprobs};
        struct arena scratch;
        arena_init(&scratch, enc->options.bytes_max, 4096, enc->options.arena->budget);
        (void)gemini_cite_write_logprobs(&list, &scratch, out);
        arena_fini(&scratch);
    }
    buf_add(out, STR("}]"));
    chunk_end(enc, out);
}

/* What may stand beside a text in its part. */
struct beside {
    bool thought;
    struct str signature; /* null: none */
    struct str logprobs;
};

static void text_chunk(struct gemini_encoder *enc, uint32_t choice, struct str text,
                       const struct beside *beside, struct buf *out)
{
    part_begin(enc, out);
    buf_add(out, STR("{\"text\":"));
    json_add_string(out, text);
    if (beside->thought)
        buf_add(out, STR(",\"thought\":true"));
    add_signature(out, beside->signature);
    buf_add_char(out, '}');
    part_end(enc, choice, beside->logprobs, out);
}

/* A block that is a part when it ends. */
static void block_chunk(struct gemini_encoder *enc, const struct event *end,
                        struct collect_block *block, struct buf *out)
{
    struct arena scratch;
    struct buf part;

    if (block->kind == BLOCK_TEXT || block->kind == BLOCK_REFUSAL || block->kind == BLOCK_REASONING)
        return;
    arena_init(&scratch, enc->options.bytes_max, 4096, enc->options.arena->budget);
    buf_init(&part, enc->options.bytes_max);
    if (add_part(enc, block, false, &scratch, &part)) {
        part_begin(enc, out);
        buf_add(out, buf_str(&part));
        part_end(enc, end->choice, STR_NULL, out);
    }
    enc->full |= arena_overflowed(&scratch) || !buf_ok(&part);
    buf_fini(&part);
    arena_fini(&scratch);
    collect_forget(&enc->collect, block);
}

static void error_chunk(struct gemini_encoder *enc, const struct event *error, struct buf *out)
{
    assert(!enc->failed && !enc->ended);
    chunk_begin(enc, out);
    gemini_add_error(out, error);
    buf_add(out, enc->options.array ? STR("\r\n]") : STR("\r\n\r\n"));
    enc->ended = enc->options.array;
    enc->failed = true;
}

/* Whether the next event of the frame belongs into the same part. */
static bool goes_with(const struct event *event, const struct event *next, enum event_kind kind)
{
    return next != NULL && next->kind == kind && next->choice == event->choice &&
           next->block == event->block;
}

/* TEXT and REASONING of blocks that are parts as they come. Returns how many events it took. */
static uint32_t encode_said(struct gemini_encoder *enc, const struct event *event,
                            const struct event *end, struct buf *out)
{
    struct collect_block *block = collect_block(&enc->collect, event->choice, event->block);
    struct beside beside = {.signature = STR_NULL};
    uint32_t taken = 1;

    if (block == NULL)
        return 1;
    if (block->kind == BLOCK_MEDIA || block->kind == BLOCK_VENDOR) {
        note(enc, event);
        return 1;
    }
    if (block->kind == BLOCK_TEXT && block->name.n > 0)
        return 1;
    beside.thought = block->kind == BLOCK_REASONING;
    if (!beside.thought)
        gemini_cite_count(&sent_of(enc, event->choice)->offsets, event->text, enc->options.arena);
    for (const struct event *next = event + 1; next < end; next++) {
        if (str_is_null(beside.logprobs) && goes_with(event, next, EVENT_LOGPROBS))
            beside.logprobs = next->text;
        else if (str_is_null(beside.signature) && goes_with(event, next, EVENT_SIGNATURE))
            beside.signature = next->text;
        else
            break;
        taken++;
    }
    text_chunk(enc, event->choice, event->text, &beside, out);
    return taken;
}

/* SIGNATURE and LOGPROBS that did not come with a text. */
static void encode_beside(struct gemini_encoder *enc, const struct event *event, struct buf *out)
{
    const struct collect_block *block = collect_block(&enc->collect, event->choice, event->block);
    bool logprobs = event->kind == EVENT_LOGPROBS;
    struct beside beside = {
        .signature = logprobs ? STR_NULL : event->text,
        .logprobs = logprobs ? event->text : STR_NULL,
    };

    if (block == NULL)
        return;
    if (block->kind == BLOCK_TOOL && !logprobs) {
        note(enc, event);
    } else if (block->kind == BLOCK_TEXT || block->kind == BLOCK_REASONING ||
               block->kind == BLOCK_REFUSAL) {
        beside.thought = block->kind == BLOCK_REASONING;
        text_chunk(enc, event->choice, STR(""), &beside, out);
    }
}

/* Returns how many events it took. */
static uint32_t encode_event(struct gemini_encoder *enc, const struct event *event,
                             const struct event *end, struct buf *out)
{
    struct collect_block *block;

    switch (event->kind) {
    case EVENT_TEXT:
    case EVENT_REASONING:
        return encode_said(enc, event, end, out);
    case EVENT_SIGNATURE:
    case EVENT_LOGPROBS:
        encode_beside(enc, event, out);
        return 1;
    case EVENT_BLOCK_END:
        if (collect_event(&enc->collect, event, &block))
            block_chunk(enc, event, block, out);
        return 1;
    case EVENT_ERROR:
        error_chunk(enc, event, out);
        return 1;
    case EVENT_USAGE:
        enc->usage_waits = true;
        note(enc, event);
        return 1;
    case EVENT_START:
    case EVENT_BLOCK_BEGIN:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_STOP:
        note(enc, event);
        return 1;
    case EVENT_KEEPALIVE:
        return 1;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

static void encode_frame(struct gemini_encoder *enc, const struct frame *frame, struct buf *out)
{
    for (uint32_t i = 0; i < frame->n && !enc->failed && !enc->ended && !enc->collect.full;)
        i += encode_event(enc, &frame->events[i], frame->events + frame->n, out);
}

/* A frame goes out raw. Texts are the many, and change nothing. */
static void observe(struct gemini_encoder *enc, const struct frame *frame)
{
    for (uint32_t i = 0; i < frame->n && !enc->collect.full; i++) {
        const struct event *event = &frame->events[i];
        switch (event->kind) {
        case EVENT_START:
        case EVENT_BLOCK_BEGIN:
        case EVENT_BLOCK_END:
        case EVENT_USAGE:
            note(enc, event);
            break;
        case EVENT_STOP:
            note(enc, event);
            sent_of(enc, event->choice)->finished = true;
            break;
        case EVENT_ERROR:
            enc->failed = true;
            break;
        case EVENT_TEXT:
        case EVENT_REASONING:
        case EVENT_SIGNATURE:
        case EVENT_TOOL_ARGS:
        case EVENT_CITATION:
        case EVENT_LOGPROBS:
        case EVENT_KEEPALIVE:
            break;
        case EVENT_KIND_COUNT:
            BUG("no such kind of event");
        }
    }
    enc->begun |= frame->raw.n > 0;
    enc->ended |= enc->options.array && frame->terminator;
}

/* --- candidates that have ended ----------------------------------------------------------- */

/* All log probabilities of a choice as one list. */
static struct collect_list *join_logprobs(const struct collect_choice *choice)
{
    struct collect_list *first = NULL;
    struct collect_list *last = NULL;

    for (const struct collect_block *b = choice->blocks; b != NULL; b = b->next) {
        if (b->logprobs == NULL)
            continue;
        if (first == NULL)
            first = b->logprobs;
        else
            last->next = b->logprobs;
        last = b->logprobs_last;
    }
    return first;
}

/* What stands in a candidate beside its content. */
static void add_about(struct gemini_encoder *enc, const struct collect_choice *choice,
                      const struct gemini_offsets *offsets, struct buf *out)
{
    struct arena scratch;

    arena_init(&scratch, enc->options.bytes_max, 4096, enc->options.arena->budget);
    buf_add(out, STR(",\"finishReason\":"));
    json_add_string(out, finish_word(enc, choice));
    buf_add(out, STR(",\"index\":"));
    buf_add_int64(out, choice->index);
    gemini_cite_write(choice, offsets, &scratch, out);
    (void)gemini_cite_write_logprobs(join_logprobs(choice), &scratch, out);
    enc->full |= arena_overflowed(&scratch);
    arena_fini(&scratch);
    buf_add_char(out, '}');
}

/* Nothing was said, and the filter ended it: it was the prompt. */
static bool is_blocked(const struct gemini_encoder *enc)
{
    const struct collect_choice *choice = enc->collect.choices;

    return choice != NULL && choice->next == NULL && choice->blocks == NULL && choice->stopped &&
           choice->reason == STOP_FILTER;
}

static void add_feedback(const struct gemini_encoder *enc, struct buf *out)
{
    const struct collect_choice *choice = enc->collect.choices;
    bool own = enc->options.same_protocol && choice->native.n > 0;

    buf_add(out, STR("\"promptFeedback\":{\"blockReason\":"));
    json_add_string(out, own ? choice->native : STR("SAFETY"));
    buf_add_char(out, '}');
}

/* Of a stream: what has been said is no part of it. */
static void add_end(struct gemini_encoder *enc, const struct collect_choice *choice,
                    const struct gemini_offsets *offsets, struct buf *out)
{
    buf_add(out, STR("{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"}"));
    add_about(enc, choice, offsets, out);
}

static void add_whole(struct gemini_encoder *enc, const struct collect_choice *choice,
                      struct buf *out)
{
    struct gemini_offsets offsets = {.bytes = 0};
    struct arena scratch;
    struct buf part;
    size_t n = 0;

    arena_init(&scratch, enc->options.bytes_max, 4096, enc->options.arena->budget);
    buf_init(&part, out->size_max);
    buf_add(out, STR("{\"content\":{"));
    for (const struct collect_block *block = choice->blocks; block != NULL; block = block->next) {
        buf_reset(&part);
        if (block->kind == BLOCK_TEXT && block->name.n == 0)
            gemini_cite_count(&offsets, buf_str(&block->text), enc->options.arena);
        bool said = add_part(enc, block, true, &scratch, &part);
        enc->full |= !buf_ok(&part);
        if (!said)
            continue;
        buf_add(out, n++ == 0 ? STR("\"parts\":[") : STR(","));
        buf_add(out, buf_str(&part));
    }
    enc->full |= arena_overflowed(&scratch);
    buf_fini(&part);
    arena_fini(&scratch);
    buf_add(out, n > 0 ? STR("],\"role\":\"model\"}") : STR("\"role\":\"model\"}"));
    add_about(enc, choice, &offsets, out);
}

/* The candidates that the client does not have the end of yet; false: there are none. */
static bool add_candidates(struct gemini_encoder *enc, struct buf *out)
{
    const struct collect_choice none = {.index = 0};
    const struct collect_choice *first = enc->collect.choices;
    bool some = false;

    if (first == NULL && enc->sent == NULL)
        first = &none;
    for (const struct collect_choice *choice = first; choice != NULL; choice = choice->next) {
        struct gemini_sent *sent = sent_of(enc, choice->index);
        if (sent->finished)
            continue;
        buf_add(out, some ? STR(",") : STR("\"candidates\":["));
        if (enc->options.stream)
            add_end(enc, choice, &sent->offsets, out);
        else
            add_whole(enc, choice, out);
        sent->finished = true;
        some = true;
    }
    if (some)
        buf_add_char(out, ']');
    return some;
}

static void add_response(struct gemini_encoder *enc, struct buf *out)
{
    buf_add_char(out, '{');
    if (is_blocked(enc) && !sent_of(enc, enc->collect.choices->index)->finished)
        add_feedback(enc, out);
    else
        (void)add_candidates(enc, out);
    if (enc->collect.usage_known) {
        gemini_add_key(out, STR("usageMetadata"));
        add_usage(out, &enc->collect.usage);
    }
}

/* --- entry points ------------------------------------------------------------------------- */

static enum error_code check_room(const struct gemini_encoder *enc, const struct buf *out,
                                  struct error *e)
{
    if (!buf_ok(out) || enc->full || enc->collect.full || arena_overflowed(enc->options.arena))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer is longer than %zu bytes",
                    enc->options.bytes_max);
    return OK;
}

static void collect_frame(struct gemini_encoder *enc, const struct frame *frame)
{
    for (uint32_t i = 0; i < frame->n && !enc->collect.failed; i++) {
        if (!collect_event(&enc->collect, &frame->events[i], NULL))
            return;
    }
}

enum error_code gemini_encode_frame(void *encoder, const struct frame *frame, struct buf *out,
                                    struct str *ret_bytes, struct error *e)
{
    struct gemini_encoder *enc = encoder;
    bool raw = !frame->changed && !str_is_null(frame->raw) && enc->options.same_protocol;

    assert(frame->n == 0 || frame->events != NULL);
    assert(!enc->raw_sent);
    *ret_bytes = STR_NULL;
    if (!enc->options.stream) {
        if (raw && frame->whole && !enc->collect.started && !enc->collect.failed) {
            enc->raw_sent = true;
            *ret_bytes = frame->raw;
            return OK;
        }
        collect_frame(enc, frame);
        return check_room(enc, out, e);
    }
    if (LIKELY(!enc->encoding && raw && !frame->whole)) {
        observe(enc, frame);
        if (frame->usage_only && enc->options.hide_usage)
            return OK;
        *ret_bytes = frame->raw;
        return check_room(enc, out, e);
    }
    const bool said[] = {enc->begun, enc->ended, enc->failed};
    enc->encoding = true;
    encode_frame(enc, frame, out);
    if (check_room(enc, out, e) == OK)
        return OK;
    /* It does not go out. */
    enc->begun = said[0];
    enc->ended = said[1];
    enc->failed = said[2];
    return e->code;
}

/* What the client does not know yet, and the array's end. */
static void stream_end(struct gemini_encoder *enc, struct buf *out)
{
    bool unfinished = enc->collect.choices == NULL;

    if (enc->failed)
        return;
    for (const struct collect_choice *c = enc->collect.choices; c != NULL; c = c->next)
        unfinished |= !sent_of(enc, c->index)->finished;
    if (enc->encoding && !enc->ended && (unfinished || enc->usage_waits)) {
        chunk_begin(enc, out);
        add_response(enc, out);
        chunk_end(enc, out);
    }
    if (enc->options.array && !enc->ended) {
        buf_add(out, enc->begun ? STR("\r\n]") : STR("[]"));
        enc->ended = true;
    }
}

void gemini_encode_break(void *encoder, const struct error *error, struct buf *out)
{
    struct gemini_encoder *enc = encoder;

    assert(enc->options.stream);
    if (enc->failed || enc->ended)
        return;
    chunk_begin(enc, out);
    gemini_say_error(error, out);
    buf_add(out, enc->options.array ? STR("\r\n]") : STR("\r\n\r\n"));
    enc->ended = enc->options.array;
    enc->failed = true;
}

enum error_code gemini_encode_end(void *encoder, struct buf *out, struct error *e)
{
    struct gemini_encoder *enc = encoder;
    bool begun = enc->begun;
    bool ended = enc->ended;

    assert(!enc->raw_sent || !enc->options.stream);
    if (enc->options.stream) {
        stream_end(enc, out);
    } else if (enc->collect.failed) {
        gemini_add_error(out, &enc->collect.error);
    } else if (!enc->raw_sent) {
        add_response(enc, out);
        add_tail(enc, out);
    }
    if (check_room(enc, out, e) == OK)
        return OK;
    enc->begun = begun;
    enc->ended = ended;
    return e->code;
}
