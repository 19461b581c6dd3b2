/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: an upstream's answer as frames.
 *
 * What      Bytes cut anywhere become frames with events; a whole body becomes one frame.
 * How       stream: a frame like an earlier one (openai_chat_template.c), else text/sse frames the
 *           bytes, and a frame is the terminator or JSON that is parsed (openai_chat_delta.c).
 *           A frame that is no JSON object has no events and goes on as it is.
 *           end: complete are an ERROR, the terminator, or a STOP of each choice that began. What
 *           stands behind the last empty line counts only if the answer is complete with it:
 *           it may be half of a line.
 * Owns      The SSE parser's buffers. All else lies in the two arenas of the options.
 * Not here  What the JSON means. Whether the client gets raw or new bytes: openai_chat_encode.c.
 */
#include "protocol/openai_chat_decode_priv.h"

void openai_chat_decode_init(void *decoder, const struct decoder_options *options)
{
    struct openai_chat_decoder *d = decoder;

    assert(options->sink != NULL);
    assert(options->scratch != NULL && options->arena != NULL);
    assert(options->scratch != options->arena);
    assert(!options->stream || options->event_bytes_max > 0);
    d->options = *options;
    d->version = 1;
    if (options->stream)
        sse_init(&d->sse, options->event_bytes_max);
}

void openai_chat_decode_fini(void *decoder)
{
    struct openai_chat_decoder *d = decoder;

    if (d->options.stream)
        sse_fini(&d->sse);
    if (d->mended.size_max > 0)
        buf_fini(&d->mended);
}

/* --- frames ------------------------------------------------------------------------------- */

/* Events of a frame are scratch. */
static void forget_events(struct openai_chat_decoder *d)
{
    d->events = NULL;
    d->n = 0;
    d->size = 0;
    if (UNLIKELY(d->options.mend))
        d->faults = (struct openai_chat_faults){.choices = NULL};
    if (arena_bytes(d->options.scratch) > 0 || arena_overflowed(d->options.scratch))
        arena_rewind(d->options.scratch);
}

static enum error_code push(struct openai_chat_decoder *d, struct frame *frame, struct error *e)
{
    assert(!d->quit);
    assert(frame->n == 0 || frame->events != NULL);
    if (arena_overflowed(d->options.scratch) || arena_overflowed(d->options.arena))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "an event does not fit into memory");
    if (d->too_many)
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "more than %d blocks", OPENAI_CHAT_BLOCKS_MAX);
    if (d->options.sink(d->options.sink_ctx, frame) == PUSH_STOP)
        d->quit = true;
    forget_events(d);
    return OK;
}

static void frame_of_events(struct openai_chat_decoder *d, struct frame *frame)
{
    assert(d->n <= d->size);
    frame->events = d->events;
    frame->n = d->n;
}

static void frame_of_single(struct openai_chat_decoder *d, struct frame *frame)
{
    frame->events = &d->single;
    frame->n = 1;
}

static yyjson_val *parse(struct openai_chat_decoder *d, struct str text, struct error *e)
{
    const struct json_read_options options = {
        .depth_max = d->options.depth_max,
        .allow_invalid_utf8 = true,
    };

    return json_read(text, &options, d->options.scratch, e);
}

static bool complete(const struct openai_chat_decoder *d)
{
    if (d->over || d->terminated)
        return true;
    for (const struct openai_chat_choice *c = d->choices; c != NULL; c = c->next) {
        if (!c->stopped)
            return false;
    }
    return d->choices != NULL;
}

/* What cannot be read. Values that hold nothing, and single ones, say nothing; what follows an
 * answer that is complete already is missed by nobody. */
static void read_none(struct openai_chat_decoder *d, yyjson_val *root, struct str data,
                      struct frame *frame)
{
    bool harmless = str_trim(data).n == 0 ||
                    (root != NULL && (!yyjson_is_arr(root) || yyjson_arr_size(root) == 0));

    frame->hole = !harmless && !complete(d);
}

/* True: the frame has other bytes now. */
static bool mend_event(struct openai_chat_decoder *d, const struct sse_frame *sse,
                       struct frame *frame)
{
    struct str mended = openai_chat_mend_event(d, sse);

    if (str_is_null(mended))
        return false;
    frame->raw = mended;
    return true;
}

/* A frame that must be parsed. */
static void read_data(struct openai_chat_decoder *d, const struct sse_frame *sse,
                      struct frame *frame)
{
    struct error ignored;
    struct str data = json_halves_join(&d->halves, sse->data, d->options.scratch);
    yyjson_val *root = parse(d, data, &ignored);

    if (!yyjson_is_obj(root)) {
        read_none(d, root, data, frame);
        return;
    }
    if (str_eq(sse->event, STR("error")))
        openai_chat_delta_error(d, root);
    else
        openai_chat_delta_read(d, root, false, frame);
    frame_of_events(d, frame);
    if (UNLIKELY(d->options.mend) && mend_event(d, sse, frame))
        return;
    /* What was put together is no place to learn from. */
    if (!d->templates_off && !d->over && data.p == sse->data.p)
        openai_chat_template_learn(d, sse);
}

/* Choices that it ended have no finish reason in the upstream's bytes. */
static void mend_terminator(struct openai_chat_decoder *d, struct frame *frame)
{
    struct str mended = openai_chat_mend_end(d, frame->raw);

    if (!str_is_null(mended))
        frame->raw = mended;
}

static bool is_terminator(const struct sse_frame *sse)
{
    return sse->data.n < 16 && str_eq(str_trim(sse->data), STR("[DONE]"));
}

/* The frame of one SSE event. */
static void read_sse(struct openai_chat_decoder *d, const struct sse_frame *sse,
                     struct frame *frame)
{
    *frame = (struct frame){.raw = sse->raw};
    d->place.known = false;
    /* What follows the end goes on as it is, and says nothing; behind an error the terminator is
     * still known as such. */
    if (d->terminated || d->over) {
        frame->terminator = !d->terminated && is_terminator(sse);
        d->terminated = d->terminated || frame->terminator;
    } else if (str_is_null(sse->data)) {
        d->single = (struct event){.kind = EVENT_KEEPALIVE, .block = EVENT_NO_BLOCK};
        frame_of_single(d, frame);
    } else if (is_terminator(sse)) {
        frame->terminator = true;
        d->terminated = true;
        openai_chat_delta_stop_all(d);
        frame_of_events(d, frame);
        if (d->options.mend && d->n > 0)
            mend_terminator(d, frame);
    } else if (!d->templates_off && openai_chat_template_match(d, sse->raw) == sse->raw.n) {
        frame_of_single(d, frame);
    } else {
        read_data(d, sse, frame);
    }
}

/* A frame like an earlier one, the next of the input: even its end need not be looked for. */
static bool read_ahead(struct openai_chat_decoder *d, struct frame *frame)
{
    if (d->templates_off || d->terminated || d->over)
        return false;
    struct str ahead = sse_ahead(&d->sse);
    size_t n = ahead.n == 0 ? 0 : openai_chat_template_match(d, ahead);
    if (n == 0)
        return false;
    *frame = (struct frame){.raw = sse_take(&d->sse, n)};
    frame_of_single(d, frame);
    return true;
}

static enum error_code decode_stream(struct openai_chat_decoder *d, struct str bytes, bool end,
                                     struct error *e)
{
    struct sse_frame sse;
    struct frame frame;

    e->code = OK;
    sse_feed(&d->sse, bytes);
    while (!d->quit) {
        if (!read_ahead(d, &frame)) {
            if (!sse_next(&d->sse, &sse, e))
                break;
            read_sse(d, &sse, &frame);
        }
        TRY(push(d, &frame, e));
    }
    if (e->code != OK)
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE,
                    "an event is longer than %zu bytes (sse_event_bytes_max)",
                    d->options.event_bytes_max);
    if (!end || d->quit)
        return OK;

    if (sse_end(&d->sse, &sse)) {
        read_sse(d, &sse, &frame);
        if (complete(d))
            TRY(push(d, &frame, e));
        else
            forget_events(d);
    }
    if (!d->quit && !complete(d))
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the stream ended without a finish reason");
    return OK;
}

/* --- whole bodies ------------------------------------------------------------------------- */

/* Some say an error as a list of one (Google's endpoints). */
static bool is_error_list(yyjson_val *root)
{
    return yyjson_is_arr(root) && json_get(yyjson_arr_get_first(root), STR("error")) != NULL;
}

static enum error_code decode_whole(struct openai_chat_decoder *d, struct str bytes,
                                    struct error *e)
{
    struct frame frame = {.raw = bytes, .whole = true};
    struct error why = {0};
    yyjson_val *root = parse(d, bytes, &why);

    assert(d->n == 0 && d->choices == NULL);
    if (arena_overflowed(d->options.scratch))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    if (root == NULL)
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer is %s", why.detail);
    if (is_error_list(root)) {
        openai_chat_delta_error(d, root);
    } else if (yyjson_is_obj(root)) {
        openai_chat_delta_read(d, root, true, &frame);
    }
    if (!d->over && !yyjson_is_arr(json_get(root, STR("choices"))))
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer is not a chat completion");
    /* OpenRouter's, where a provider said nothing: clients would look for the first one. */
    if (!d->over && !d->options.as_is && yyjson_arr_size(json_get(root, STR("choices"))) == 0)
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer has no choices");
    frame_of_events(d, &frame);
    if (d->options.mend) {
        struct str mended = openai_chat_mend_whole(d, bytes);
        if (!str_is_null(mended))
            frame.raw = str_copy(d->options.arena, mended);
    }
    return push(d, &frame, e);
}

enum error_code openai_chat_decode_bytes(void *decoder, struct str bytes, bool end, struct error *e)
{
    struct openai_chat_decoder *d = decoder;

    if (d->quit)
        return OK;
    /* The scratch is shared: a decoder that ran out of it has left it like that. */
    forget_events(d);
    if (d->options.stream)
        return decode_stream(d, bytes, end, e);
    assert(end);
    assert(!d->started);
    return decode_whole(d, bytes, e);
}
