/* SPDX-License-Identifier: MIT */
/*
 * What decoders of answers share.
 *
 * What      Bytes cut anywhere become frames; each frame's JSON goes to the protocol.
 * How       SSE: text/sse frames the bytes. A JSON array: brackets and strings are followed byte by
 *           byte; a frame is an element with the bytes before it ('[' or ',' and blanks), so that
 *           the frames in order are the input; ']' and what follows is the last frame. What stands
 *           behind the last empty line of an SSE stream counts only if the answer is complete with
 *           it: it may be half of a line.
 * Owns      The SSE parser's buffers and the element that was cut. Events lie in scratch.
 * Not here  What the JSON means: that is each protocol's.
 */
#include "protocol/decode.h"

#include "text/utf8.h"

enum { EVENTS_FIRST = 8 };

void decode_init(struct decode *d, const struct decode_ops *ops,
                 const struct decoder_options *options)
{
    assert(options->sink != NULL && ops->read != NULL && ops->complete != NULL);
    assert(options->scratch != NULL && options->arena != NULL);
    assert(options->scratch != options->arena);
    assert(!options->stream || options->event_bytes_max > 0);
    assert(!options->array || options->stream);
    d->options = *options;
    d->ops = ops;
    if (options->array)
        buf_init(&d->carry, options->event_bytes_max);
    else if (options->stream)
        sse_init(&d->sse, options->event_bytes_max);
}

void decode_fini(struct decode *d)
{
    if (d->options.array)
        buf_fini(&d->carry);
    else if (d->options.stream)
        sse_fini(&d->sse);
}

/* --- events of the frame in work ---------------------------------------------------------- */

static void forget_events(struct decode *d)
{
    d->events = NULL;
    d->n = 0;
    d->size = 0;
    if (arena_bytes(d->options.scratch) > 0 || arena_overflowed(d->options.scratch))
        arena_rewind(d->options.scratch);
}

struct event *decode_event(struct decode *d, enum event_kind kind, uint32_t choice, uint32_t block)
{
    if (d->n == d->size) {
        uint32_t size = d->size == 0 ? EVENTS_FIRST : d->size * 2;
        struct event *events = arena_array(d->options.scratch, size, sizeof(*events));
        if (arena_overflowed(d->options.scratch)) {
            /* The frame fails: all that is still said of it may stand in the same place. */
            d->n = 0;
            d->size = 1;
        } else {
            if (d->n > 0)
                memcpy(events, d->events, d->n * sizeof(*events));
            d->size = size;
        }
        d->events = events;
    }
    struct event *event = &d->events[d->n++];
    *event = (struct event){.kind = kind, .choice = choice, .block = block};
    return event;
}

void decode_text(struct decode *d, enum event_kind kind, uint32_t choice, uint32_t block,
                 struct str text)
{
    if (text.n > 0)
        decode_event(d, kind, choice, block)->text = utf8_repair(text, d->options.scratch);
}

static enum error_code push(struct decode *d, struct frame *frame, struct error *e)
{
    assert(!d->quit);
    frame->events = d->events;
    frame->n = d->n;
    if (arena_overflowed(d->options.scratch) || arena_overflowed(d->options.arena))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "an event does not fit into memory");
    if (d->too_many)
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer has too many blocks");
    if (d->options.sink(d->options.sink_ctx, frame) == PUSH_STOP)
        d->quit = true;
    forget_events(d);
    return OK;
}

static yyjson_val *parse(struct decode *d, struct str text, struct error *e)
{
    const struct json_read_options options = {
        .depth_max = d->options.depth_max,
        .allow_invalid_utf8 = true,
    };

    return json_read(text, &options, d->options.scratch, e);
}

static bool complete(const struct decode *d)
{
    return d->over || d->terminated || d->ops->complete(d);
}

/* Some say an error as a list of one. */
static yyjson_val *value_of(yyjson_val *root)
{
    yyjson_val *first = yyjson_arr_get_first(root);

    return json_get(first, STR("error")) != NULL ? first : root;
}

/* What cannot be read. Values that hold nothing, and single ones, say nothing in any protocol; what
 * follows an answer that is complete already is missed by nobody. */
static void read_none(struct decode *d, yyjson_val *root, struct str data, struct frame *frame)
{
    struct str text = str_trim(data);
    bool harmless = text.n == 0 || str_eq(text, STR("[DONE]")) ||
                    (root != NULL && (!yyjson_is_arr(root) || yyjson_arr_size(root) == 0));

    d->not_json++;
    frame->hole = !harmless && !complete(d);
}

/* What a frame's data says. */
static void read_data(struct decode *d, struct str data, struct str event, struct frame *frame)
{
    struct error ignored;

    /* What follows the end goes on as it is, and says nothing. */
    if (d->terminated || d->over)
        return;
    data = json_halves_join(&d->halves, data, d->options.scratch);
    if (d->ops->quick != NULL && d->ops->quick(d, data))
        return;
    yyjson_val *root = value_of(parse(d, data, &ignored));
    if (yyjson_is_obj(root)) {
        d->ops->read(d, root, event, frame);
        if (d->ops->learn != NULL)
            d->ops->learn(d, data);
    } else if (d->ops->read_other != NULL && d->ops->read_other(d, data, frame)) {
        frame->terminator = true;
        d->terminated = true;
    } else {
        read_none(d, root, data, frame);
    }
}

/* A frame without data: comments, a keep-alive. Google says errors within a stream as plain JSON,
 * without the "data:" of an event. */
static void read_bare(struct decode *d, struct str raw, struct frame *frame)
{
    struct str text = str_trim(raw);
    struct error ignored;
    yyjson_val *root;

    if (d->terminated || d->over)
        return;
    if (text.n > 0 && (text.p[0] == '{' || text.p[0] == '[')) {
        root = value_of(parse(d, text, &ignored));
        if (json_get(root, STR("error")) != NULL)
            d->ops->read(d, root, STR_NULL, frame);
        else
            read_none(d, root, text, frame);
    } else {
        (void)decode_event(d, EVENT_KEEPALIVE, 0, EVENT_NO_BLOCK);
    }
}

static void read_sse(struct decode *d, const struct sse_frame *sse, struct frame *frame)
{
    *frame = (struct frame){.raw = sse->raw};
    if (str_is_null(sse->data))
        read_bare(d, sse->raw, frame);
    else
        read_data(d, sse->data, sse->event, frame);
}

/* The stream has ended: what the upstream left out, as a frame of no bytes. */
static enum error_code finish(struct decode *d, struct error *e)
{
    struct frame frame = {.raw = STR_NULL};

    if (d->quit)
        return OK;
    if (!complete(d))
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the stream ended without a finish reason");
    if (d->over || d->ops->finish == NULL)
        return OK;
    d->ops->finish(d);
    if (d->n == 0)
        return OK;
    /* Nothing that the client would miss in raw mode: its bytes are complete. */
    frame.raw = STR("");
    return push(d, &frame, e);
}

/* --- server-sent events ------------------------------------------------------------------- */

static enum error_code decode_sse(struct decode *d, struct str bytes, bool end, struct error *e)
{
    struct sse_frame sse;

    e->code = OK;
    sse_feed(&d->sse, bytes);
    while (!d->quit && sse_next(&d->sse, &sse, e)) {
        struct frame frame;
        read_sse(d, &sse, &frame);
        TRY(push(d, &frame, e));
    }
    if (e->code != OK)
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE,
                    "an event is longer than %zu bytes (sse_event_bytes_max)",
                    d->options.event_bytes_max);
    if (!end || d->quit)
        return OK;
    if (sse_end(&d->sse, &sse)) {
        struct frame frame;
        read_sse(d, &sse, &frame);
        if (complete(d))
            TRY(push(d, &frame, e));
        else
            forget_events(d);
    }
    return finish(d, e);
}

/* --- a JSON array ------------------------------------------------------------------------- */

/* Within a string: where in bytes it ends, or all of it. */
static size_t string_step(struct decode *d, struct str bytes, size_t at)
{
    while (at < bytes.n && d->in_string) {
        char c = bytes.p[at++];
        if (d->after_backslash)
            d->after_backslash = false;
        else if (c == '\\')
            d->after_backslash = true;
        else
            d->in_string = c != '"';
    }
    return at;
}

/* Takes one byte outside of strings; true: an element, or the array, ends with it. */
static bool array_step(struct decode *d, char c)
{
    if (c == '"') {
        d->in_string = true;
    } else if (c == '[' || c == '{') {
        /* What stands alone is an element without its list. */
        d->depth += d->depth == 0 && c == '{' ? 2 : 1;
    } else if ((c == ']' || c == '}') && d->depth > 0) {
        d->depth--;
        d->array_ended = d->depth == 0;
        return d->depth <= 1;
    }
    return false;
}

/* The frame of an element: the array's own '[' or a ',' may stand before it. */
static enum error_code array_frame(struct decode *d, struct str raw, struct error *e)
{
    struct frame frame = {.raw = raw};
    struct str text = str_trim(raw);

    if (text.n > 0 && (text.p[0] == '[' || text.p[0] == ','))
        text = str_trim(str_from(text, 1));
    if (d->array_ended && text.n <= 1) {
        frame.terminator = true;
        d->terminated = d->terminated || d->ops->complete(d);
    } else {
        read_data(d, text, STR_NULL, &frame);
    }
    return push(d, &frame, e);
}

/* The bytes up to the next end of an element, from *at on; false: there is none in them. */
static bool array_next(struct decode *d, struct str bytes, size_t *at)
{
    while (*at < bytes.n) {
        if (d->in_string)
            *at = string_step(d, bytes, *at);
        else if (array_step(d, bytes.p[(*at)++]))
            return true;
    }
    return false;
}

static enum error_code array_too_long(const struct decode *d, struct error *e)
{
    return FAIL(e, ERR_UPSTREAM_TOO_LARGE,
                "an event is longer than %zu bytes (sse_event_bytes_max)",
                d->options.event_bytes_max);
}

static enum error_code decode_array(struct decode *d, struct str bytes, bool end, struct error *e)
{
    size_t begin = 0;
    size_t at = 0;

    while (!d->quit && array_next(d, bytes, &at)) {
        struct str piece = str_of(bytes.p + begin, at - begin);
        begin = at;
        if (d->carry.n > 0) {
            (void)buf_add(&d->carry, piece);
            piece = buf_str(&d->carry);
        }
        if (!buf_ok(&d->carry) || piece.n > d->options.event_bytes_max)
            return array_too_long(d, e);
        TRY(array_frame(d, piece, e));
        buf_reset(&d->carry);
    }
    if (!d->quit)
        (void)buf_add(&d->carry, str_from(bytes, begin));
    if (!buf_ok(&d->carry))
        return array_too_long(d, e);
    if (!end || d->quit)
        return OK;
    if (d->carry.n > 0 && complete(d)) {
        struct frame frame = {.raw = buf_str(&d->carry)};
        TRY(push(d, &frame, e));
    }
    return finish(d, e);
}

/* --- whole bodies ------------------------------------------------------------------------- */

static enum error_code decode_whole(struct decode *d, struct str bytes, struct error *e)
{
    struct frame frame = {.raw = bytes, .whole = true};
    struct error why = {0};
    const char *what;

    yyjson_val *root = parse(d, bytes, &why);
    if (arena_overflowed(d->options.scratch))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    if (root == NULL)
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer is %s", why.detail);
    if (yyjson_is_arr(root) && d->ops->read_list != NULL) {
        d->ops->read_list(d, root, &frame);
    } else {
        /* Some say an error as a list of one. */
        if (yyjson_is_arr(root) && yyjson_is_obj(yyjson_arr_get_first(root)))
            root = yyjson_arr_get_first(root);
        if (yyjson_is_obj(root))
            d->ops->read(d, root, STR_NULL, &frame);
    }
    what = d->over || d->ops->check_whole == NULL ? NULL : d->ops->check_whole(d, root);
    if (what != NULL)
        return FAIL(e, ERR_UPSTREAM_BROKEN, "the answer is not %s", what);
    if (!d->over && d->ops->finish != NULL)
        d->ops->finish(d);
    return push(d, &frame, e);
}

enum error_code decode_bytes(struct decode *d, struct str bytes, bool end, struct error *e)
{
    if (d->quit)
        return OK;
    /* The scratch is shared: a decoder that ran out of it has left it like that. */
    forget_events(d);
    if (d->options.array)
        return decode_array(d, bytes, end, e);
    if (d->options.stream)
        return decode_sse(d, bytes, end, e);
    assert(end);
    return decode_whole(d, bytes, e);
}
