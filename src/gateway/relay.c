/* SPDX-License-Identifier: MIT */
/*
 * What      Frames on their way to the client, and streams: how a stream goes down, ends and breaks
 *           off; the steps of RELAY, FINISH and BREAK.
 * How       Frames do not pass the machine: attempt -> pipeline -> relay_emit puts their bytes into
 *           the station's buffer, and the step after the batch gives it to the client in one write.
 *           Of a whole body that goes down as it came only its place is noted (x->whole).
 * Owns      The encoder, in the answer arena.
 * Not here  Who moves an exchange, when a stream is committed (exchange.c), whole answers (whole).
 */
#include "gateway/relay.h"

#include "gateway/attempt.h"
#include "gateway/checked.h"
#include "gateway/exchange.h"
#include "gateway/stored.h"
#include "gateway/whole.h"

/* Whether the request can be looked into still. */
static bool is_there(const struct exchange *x)
{
    return !x->committed && (x->body_n <= LARGE_BYTES || large_is_read(x->large));
}

void relay_start_encoder(struct exchange *x, bool raw_possible)
{
    const struct protocol *down = x->call.intake.protocol;
    const struct request *request = &x->call.request;

    assert(x->encoder == NULL);
    x->encoder = arena_zalloc(&x->answer, down->encoder_size);
    down->encoder_init(x->encoder, &(struct encoder_options){
                                       .stream = request->stream,
                                       .same_protocol = raw_possible,
                                       .array = request->array,
                                       .include_usage = request->include_usage == 1,
                                       .stored = stored_keeps(x),
                                       .request = is_there(x) ? request : NULL,
                                       .hide_usage = x->usage_added && exchange_is_same(x),
                                       .model = x->model_sent,
                                       .id = str_of(x->id, ID_SIZE),
                                       .now_s = loop_wall_ms(x->station->loop) / 1000,
                                       .arena = &x->answer,
                                       .bytes_max = x->call.config->response_bytes_max,
                                   });
    checked_begin(x);
}

/* What the frame said is lost, and the client would not see where. */
static bool is_hole(const struct exchange *x, const struct frame *frame)
{
    return UNLIKELY(frame->hole) && (!x->attempt.raw || x->taken_over || frame->changed);
}

/* What was being written when it failed does not go out: half an event, or no memory for it. */
static void take_back(struct buf *out, size_t before)
{
    assert(before <= out->n);
    out->n = before;
    out->full = false;
}

bool relay_emit(void *ctx, struct frame *frame)
{
    struct exchange *x;
    struct str raw = STR_NULL;
    UNINITIALIZED struct error e;

    CAST(x, ctx, EXCHANGE_MAGIC);
    e.code = OK;
    struct buf *out = &x->station->out;
    /* A stage answers by itself, in the client's own terms: its ids are what the client is told. */
    if (UNLIKELY(x->encoder == NULL))
        relay_start_encoder(x, true);
    if (UNLIKELY(frame->changed) && !x->taken_over && x->attempt.backend != NULL &&
        exchange_is_same(x)) {
        x->taken_over = true;
        metric_add(&x->station->metrics, METRIC_takeovers_total, x->attempt.backend->slot, 1);
    }
    if (is_hole(x, frame)) {
        FAIL(&e, ERR_UPSTREAM_BROKEN, "an event of the stream is no JSON");
        attempt_fail(x, &e);
        return false;
    }
    size_t before = out->n;
    stored_frame(x, frame);
    if (UNLIKELY(frame == x->large_frame)) {
        /* No stage changed it, and it does not go down as it came: a job writes it. */
        x->large_encodes = !frame->changed && (!x->attempt.raw || x->large_changed);
        frame->changed |= x->large_changed;
        if (x->large_encodes)
            return true;
    }
    if (x->call.intake.protocol->response_encode(x->encoder, frame, out, &raw, &e) != OK) {
        take_back(out, before);
        x->call.error = e;
        x->attempt.failed = true;
        return false;
    }
    if (str_is_null(raw)) {
        checked_bytes(x, str_from(buf_str(out), before), false);
        stored_bytes(x, str_from(buf_str(out), before));
        return true;
    }
    if (!x->attempt.streams) {
        x->whole = raw;
        return true;
    }
    checked_bytes(x, raw, true);
    if (!buf_add(out, raw)) {
        take_back(out, before);
        FAIL(&x->call.error, ERR_UPSTREAM_TOO_LARGE, "more than response_bytes_max in one turn");
        x->attempt.failed = true;
        return false;
    }
    return true;
}

/* Gives what this turn made to the client, in one write; holds the upstream back when the client
 * is slow. */
static void flush(struct exchange *x)
{
    struct buf *out = &x->station->out;

    if (out->n > 0)
        server_body(x->client, buf_str(out));
    bool full = server_flush(x->client) == SERVER_FULL;
    if (UNLIKELY(x->attempt.body.n > 0)) /* it waited for the commit */
        buf_fini(&x->attempt.body);
    exchange_reset_out(x->station);
    if (full)
        attempt_pause(x);
}

/* The upstream's own where its events go down, as it may name a charset; else the protocol's. */
struct str relay_type(const struct exchange *x)
{
    const struct protocol *protocol = x->call.intake.protocol;
    const struct message *head = x->attempt.head;
    bool array = x->call.request.array && protocol->array_content_type != NULL;
    struct str type = STR_NULL;

    if (head != NULL && exchange_is_same(x) && x->attempt.array == array)
        type = http_headers_get(&head->headers, STR("content-type"));
    if (array ? x->attempt.array : str_starts_nocase(type, STR("text/event-stream")))
        return type;
    return str_c(array ? protocol->array_content_type : protocol->stream_content_type);
}

enum exchange_state relay_run(struct exchange *x)
{
    if (x->attempt.failed)
        return EXCHANGE_BREAK;
    if (x->attempt.ended)
        return EXCHANGE_FINISH;
    flush(x);
    exchange_release(x);
    return EXCHANGE_RELAY;
}

/* A large stream for a client that wants it as a whole. */
static bool is_collected_large(const struct exchange *x)
{
    return !x->call.request.stream && x->attempt.streams && x->attempt.received > LARGE_BYTES &&
           !x->error_event && x->large_answer == NULL && x->station->out.n == 0;
}

/* What the turn made is the last of the stream. */
static enum exchange_state send_last(struct exchange *x)
{
    struct buf *out = &x->station->out;

    if (out->n > 0)
        server_body(x->client, buf_str(out));
    server_end(x->client);
    (void)server_flush(x->client);
    exchange_reset_out(x->station);
    return EXCHANGE_SENT;
}

/* The answer is complete: what the encoder still owes, the last chunk, all in one write. */
enum exchange_state relay_finish(struct exchange *x)
{
    struct buf *out = &x->station->out;
    const struct protocol *down = x->call.intake.protocol;

    if (pipeline_holds(&x->call))
        (void)pipeline_release(&x->call);
    if (UNLIKELY(is_collected_large(x))) {
        x->large_answer = large_new(x->branch, exchange_wake, x);
        return whole_encode(x);
    }
    size_t before = out->n;
    if (down->encoder_end(x->encoder, out, &x->call.error) != OK) {
        take_back(out, before);
        return x->committed ? EXCHANGE_BREAK : EXCHANGE_FAIL;
    }
    checked_bytes(x, str_from(buf_str(out), before), false);
    checked_end(x);
    stored_bytes(x, str_from(buf_str(out), before));
    if (!x->error_event)
        stored_end(x);
    if (!x->call.request.stream) {
        /* Collected from a stream; an error in it is no success. */
        int status = !x->error_event ? 200 : x->error_status >= 400 ? x->error_status : 502;
        return whole_send(x, status, STR("application/json"), buf_str(out));
    }
    if (!x->committed) {
        exchange_commit(x, 200, relay_type(x), -1);
        if (x->attempt.backend != NULL)
            metric_add(&x->station->metrics, METRIC_streams_total, x->attempt.backend->slot, 1);
    }
    return send_last(x);
}

/* As the last thing in the client's stream. */
static void add_error(struct exchange *x, const struct error *e, struct buf *out)
{
    const struct protocol *protocol = x->call.intake.protocol;

    if (x->encoder != NULL && protocol->encoder_break != NULL)
        protocol->encoder_break(x->encoder, e, out);
    else
        protocol->error_encode(e, str_of(x->id, ID_SIZE), true, out);
}

/* After commit a failure is the protocol's own error event, the last chunk, close; never an end
 * that would claim success. */
enum exchange_state relay_break(struct exchange *x)
{
    struct buf *out = &x->station->out;
    const struct error *e = &x->call.error;

    assert(x->committed);
    attempt_cancel(x);
    if (exchange_is_starved(x))
        exchange_fail_starved(x, &x->call.error);
    size_t before = out->n;
    if (!x->error_event || x->upstreams_error)
        add_error(x, e, out);
    checked_bytes(x, str_from(buf_str(out), before), false);
    checked_end(x);
    exchange_settle(x);
    metric_add(&x->station->metrics, METRIC_errors_total, (size_t)e->code, 1);
    /* What the upstream said is an answer; what broke off is none, which the client is to see. */
    if (!x->upstreams_error)
        server_close_after(x->client);
    return send_last(x);
}
