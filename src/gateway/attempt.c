/* SPDX-License-Identifier: MIT */
/*
 * Attempts: one upstream try of an exchange.
 *
 * What      Sends the request to the element's backend and feeds the answer to the decoder.
 * How       client events -> decoder -> (sink) pipeline -> relay_emit. Frames of one read are
 *           encoded into the station's buffer; the batch event at the end of the read gives them to
 *           the client in one write, through exchange_run.
 * Owns      The client request; a whole body that came in several pieces.
 * Not here  Moving the exchange between states; what the client gets.
 */
#include "gateway/attempt.h"

#include "gateway/checked.h"
#include "gateway/exchange.h"
#include "gateway/failed.h"
#include "gateway/gateway_priv.h"
#include "gateway/plan.h"
#include "gateway/reasoning.h"
#include "gateway/relay.h"
#include "gateway/upstream_head.h"

#include "canon/restore.h"
#include "http/coding.h"
#include "http/message.h"

/* Whether it says whose fault it is. The name alone may be a word of the sentence. */
static bool has_name(struct str detail, struct str name)
{
    size_t at = str_find(detail, name, 0);

    while (at != SIZE_MAX) {
        struct str before = str_head(detail, at);
        if (str_ends(before, STR("backend ")) || str_ends(before, STR("from ")))
            return true;
        at = str_find(detail, name, at + 1);
    }
    return false;
}

enum { NOTE_BYTES_MAX = 1024 }; /* of an error's text, looked through for keys */

void attempt_blame(struct exchange *x)
{
    struct error *e = &x->call.error;
    struct str name = x->attempt.backend->name;
    struct error told = *e;

    assert(e->code != OK);
    if (told.code == ERR_OVERLOADED || x->upstreams_error || has_name(str_c(told.detail), name))
        return;
    (void)FAIL(e, told.code, "%.200s (backend %.*s)", told.detail, STR_ARG(str_head(name, 40)));
    e->status = told.status;
    e->wait_ms = told.wait_ms;
    e->file = told.file;
    e->line = told.line;
}

void attempt_note(struct exchange *x, int status, const char *code, struct str text)
{
    struct gateway *gateway = x->station->gateway;
    const struct backend *backend = x->attempt.backend;
    const struct perf_fault fault = {
        .time_ms = loop_wall_ms(x->station->loop),
        .status = status,
        .code = code,
    };

    text = plan_redact(backend, str_head(text, NOTE_BYTES_MAX), &x->station->scratch);
    perf_fault_set(&gateway->slots.faults, backend->slot, &fault, text);
}

void attempt_note_body(struct exchange *x, struct str body)
{
    struct event event = {.kind = EVENT_ERROR};
    int status = x->attempt.status;

    x->attempt.protocol->error_decode(status, str_head(body, LARGE_BYTES), x->call.arena, &event);
    attempt_note(x, status, NULL, event.error.message);
}

void attempt_fail(struct exchange *x, const struct error *e)
{
    if (x->attempt.failed)
        return;
    x->attempt.failed = true;
    x->call.error = *e;
    attempt_blame(x);
    metric_add(&x->station->metrics, METRIC_attempt_failures_total, x->attempt.backend->slot, 1);
    if (!x->error_event && e->code != ERR_OVERLOADED)
        attempt_note(x, x->attempt.status, error_name(e->code), str_c(x->call.error.detail));
}

enum {
    ERROR_GRACE_MS = 1000,
    /* How long a stream's beginning waits for more, and of how many frames one is. */
    HOLD_MS = 2000,
    BEGINNINGS_MAX = 16
};

/* Its lines are comments, or empty, all of them. */
static bool is_comment(const struct frame *frame)
{
    bool begins = true;

    for (size_t i = 0; i < frame->raw.n; i++) {
        char c = frame->raw.p[i];
        bool line_end = c == '\n' || c == '\r';
        if (begins && !line_end && c != ':')
            return false;
        begins = line_end;
    }
    return true;
}

/* In the answer's arena. */
struct attempt_wait {
    struct timer timer;
    struct exchange *x;
};

static struct attempt_wait *wait_new(struct exchange *x, int64_t ms, void (*over)(struct timer *))
{
    struct attempt_wait *wait = ARENA_NEW(&x->answer, struct attempt_wait);

    if (arena_overflowed(&x->answer))
        return NULL;
    wait->x = x;
    timer_init(&wait->timer, x->station->loop, over);
    timer_start(&wait->timer, ms);
    return wait;
}

static void wait_stop(struct attempt_wait **wait)
{
    if (*wait != NULL)
        timer_stop(&(*wait)->timer);
    *wait = NULL;
}

static void on_grace_over(struct timer *timer)
{
    struct exchange *x = CONTAINER_OF(timer, struct attempt_wait, timer)->x;

    assert(x->magic == EXCHANGE_MAGIC);
    if (x->attempt.request == NULL)
        return;
    x->attempt.ended = true;
    attempt_cancel(x);
    exchange_run(x);
}

/* An error inside a stream is its end (contract, section 2): of what the upstream says behind it
 * only its own terminator goes down, and comments, however the bytes are cut into reads. It must
 * come to its end soon. */
static enum push error_ends_stream(struct exchange *x)
{
    if (x->attempt.grace != NULL)
        return PUSH_OK;
    x->attempt.grace = wait_new(x, ERROR_GRACE_MS, on_grace_over);
    if (x->attempt.grace != NULL)
        return PUSH_OK;
    x->attempt.ended = true;
    return PUSH_STOP;
}

/* It may repeat our key; a whole body's bytes are looked through before they go. */
static void error_came(struct exchange *x, struct frame *frame, struct event *event)
{
    const struct backend *backend = x->attempt.backend;
    struct arena *scratch = &x->station->scratch;

    if (x->attempt.streams)
        frame->raw = plan_redact_keys(backend, frame->raw, scratch);
    event->error.type = plan_redact_keys(backend, event->error.type, scratch);
    event->error.code = plan_redact_keys(backend, event->error.code, scratch);
    event->error.message = plan_redact_keys(backend, event->error.message, scratch);
    if (x->error_event)
        return;
    x->error_event = true;
    x->error_status = event->error.status;
    attempt_note(x, event->error.status, NULL, event->error.message);
    metric_add(&x->station->metrics, METRIC_upstream_errors_total, backend->slot, 1);
}

static enum push no_memory(struct exchange *x)
{
    struct error e = {.code = OK};

    FAIL(&e, ERR_UPSTREAM_TOO_LARGE, "more than response_bytes_max (%zu bytes)",
         x->call.config->response_bytes_max);
    attempt_fail(x, &e);
    return PUSH_STOP;
}

/* What the request's writing left to be done. CUT: the answer ends with this frame. */
static enum push restore(struct exchange *x, struct frame *frame, bool *ret_cut)
{
    switch (restore_frame(x->restore, frame, &x->station->scratch)) {
    case RESTORE_OK:
        return PUSH_OK;
    case RESTORE_CUT:
        *ret_cut = true;
        return PUSH_OK;
    case RESTORE_FULL:
        return no_memory(x);
    }
    BUG("unknown verdict");
}

/* The events as the client's protocol, and its request, want them. STOP: there is no memory. */
static enum push to_client(struct exchange *x, struct frame *frame, bool *ret_cut)
{
    bool large = frame == x->large_frame;
    struct arena *scratch = large ? large_scratch(x->large_answer) : &x->station->scratch;

    /* Of a large answer the job has restored it. */
    if (x->restore != NULL && x->large_answer == NULL && restore(x, frame, ret_cut) != PUSH_OK)
        return PUSH_STOP;
    if (x->reasoning != NULL && !reasoning_frame(x, frame, scratch))
        return no_memory(x);
    if (large) { /* so that it is seen whether a stage changes it */
        x->large_changed = frame->changed;
        frame->changed = false;
    }
    return PUSH_OK;
}

static void on_hold_over(struct timer *timer)
{
    struct exchange *x = CONTAINER_OF(timer, struct attempt_wait, timer)->x;

    assert(x->magic == EXCHANGE_MAGIC);
    if (x->state != EXCHANGE_AWAIT)
        return;
    x->attempt.said = true;
    x->attempt.waited = true;
    exchange_run(x);
}

bool attempt_hold(struct exchange *x)
{
    struct attempt *attempt = &x->attempt;

    assert(attempt->streams && !attempt->said && !x->committed);
    if (!buf_add(&attempt->body, buf_str(&x->station->out)))
        return false;
    exchange_reset_out(x->station);
    if (attempt->hold == NULL)
        attempt->hold = wait_new(x, HOLD_MS, on_hold_over);
    return attempt->hold != NULL;
}

/* Whether raw frames of this answer are put right where its client would misread them. */
static bool mends(const struct exchange *x)
{
    return x->attempt.backend->dialect.mend && exchange_is_same(x);
}

/* Whether the event is more than a beginning, which a client would not miss. */
static bool says(const struct event *event)
{
    enum event_kind kind = event->kind;

    if (kind == EVENT_BLOCK_BEGIN)
        return event->begin.kind != BLOCK_TEXT && event->begin.kind != BLOCK_REASONING;
    return kind != EVENT_START && kind != EVENT_KEEPALIVE && kind != EVENT_USAGE &&
           kind != EVENT_BLOCK_END && kind != EVENT_ERROR;
}

/* Every frame until one says something: to clients of the backend's own protocol whatever can be
 * read, but no page of HTML; comments of a vendor whose answers are mended may stand in front of
 * an error that is to have a status. What the answer is must not depend on how it was cut into
 * reads. */
static void look_for_more(struct exchange *x, const struct frame *frame)
{
    struct attempt *attempt = &x->attempt;

    attempt->said = ++attempt->beginnings > BEGINNINGS_MAX ||
                    (exchange_is_same(x) && !mends(x) && is_comment(frame));
    for (uint32_t i = 0; i < frame->n && !attempt->said; i++) {
        const struct event *event = &frame->events[i];
        attempt->said = exchange_is_same(x) ? event->kind != EVENT_KEEPALIVE : says(event);
    }
    if (attempt->said)
        wait_stop(&attempt->hold);
}

static enum pipeline_push pass(struct exchange *x, struct frame *frame, bool *ret_cut)
{
    if (to_client(x, frame, ret_cut) != PUSH_OK)
        return PIPELINE_FULL;
    return pipeline_frame(&x->call, frame);
}

/* The stream fails here: what was said before goes down before the error does. */
static void let_go(struct exchange *x)
{
    if (x->attempt.streams && x->restore != NULL)
        attempt_complete(x);
}

/* The client is not to see it: nothing reached it yet, and another key may do. */
static bool tries_again(struct exchange *x, const struct event *event, struct str body, bool first)
{
    if (!keys_told(x, event, body) || !first)
        return false;
    x->attempt.failed = true;
    x->attempt.again = true;
    return true;
}

/* Looks for errors. first: nothing was said before. True: the client gets it as one of ours, as it
 * speaks another protocol, or as nothing was said before; or does not get it at all. */
static bool error_is_ours(struct exchange *x, struct frame *frame, bool first)
{
    for (uint32_t i = 0; i < frame->n; i++) {
        struct event *event = &frame->events[i];
        bool cut = false;
        if (LIKELY(event->kind != EVENT_ERROR))
            continue;
        struct str body = frame->whole ? str_head(frame->raw, LARGE_BYTES) : STR_NULL;
        error_came(x, frame, event);
        if (tries_again(x, event, body, first))
            return true;
        /* A vendor's client is to have a status, and comments that were held are no answer. */
        first = first && i == 0 && mends(x) && x->attempt.streams && x->call.request.stream;
        if (exchange_is_same(x) && !first)
            continue;
        if (first)
            x->attempt.said = false;
        failed_told(x, event, body);
        struct error e = x->call.error;
        frame->n = i;
        if (i > 0 && x->attempt.streams)
            (void)pass(x, frame, &cut);
        let_go(x);
        attempt_fail(x, &e);
        return true;
    }
    return false;
}

/* Frames come from the decoder one by one. */
enum push attempt_frame(void *ctx, struct frame *frame)
{
    struct exchange *x;
    bool cut = false;

    CAST(x, ctx, EXCHANGE_MAGIC);
    if (UNLIKELY(x->attempt.grace != NULL) && !frame->terminator && !is_comment(frame)) {
        x->attempt.ended = true;
        return PUSH_STOP;
    }
    x->frames++;
    x->terminated = x->terminated || frame->terminator;
    if (UNLIKELY(frame->error || frame->hole) && x->attempt.streams)
        frame->raw = plan_redact_keys(x->attempt.backend, frame->raw, &x->station->scratch);
    bool first = !x->attempt.said;
    if (UNLIKELY(first))
        look_for_more(x, frame);
    if (error_is_ours(x, frame, first))
        return PUSH_STOP;
    switch (pass(x, frame, &cut)) {
    case PIPELINE_OK:
        if (UNLIKELY(cut)) {
            x->attempt.ended = true;
            return PUSH_STOP;
        }
        if (LIKELY(!x->error_event) || !x->attempt.streams)
            return PUSH_OK;
        return error_ends_stream(x);
    case PIPELINE_CUT:
        x->attempt.ended = true;
        return PUSH_STOP;
    case PIPELINE_FULL:
        attempt_fail(x, &x->call.error);
        return PUSH_STOP;
    }
    BUG("unknown verdict");
}

void attempt_complete(struct exchange *x)
{
    struct frame frame = {.n = 0};

    if (LIKELY(x->restore == NULL) || x->attempt.failed || x->large_answer != NULL)
        return;
    restore_end(x->restore, &frame, &x->station->scratch);
    if (frame.n > 0 && pipeline_frame(&x->call, &frame) == PIPELINE_FULL) {
        struct error e = x->call.error;
        attempt_fail(x, &e);
    }
    arena_rewind(&x->station->scratch);
}

/* What kind of answer this is, by status and content type. */
static bool is_stream(struct exchange *x, const struct message *m)
{
    const struct request *request = &x->call.request;
    struct str type = http_headers_get(&m->headers, STR("content-type"));

    if (m->status != 200 || x->call.intake.operation != OP_GENERATE)
        return false;
    if (str_starts_nocase(type, STR("text/event-stream")))
        return true;
    if (!request->stream)
        return false;
    /* Asked for as the client did: an array of elements, one after the other. */
    x->attempt.array = request->array && exchange_is_same(x) &&
                       str_starts_nocase(type, STR("application/json"));
    /* Some servers name no type, or a plain one, for the stream that they were asked for. */
    return x->attempt.array || str_is_null(type) || str_starts_nocase(type, STR("text/plain"));
}

static uint32_t choices_wanted(const struct request *request)
{
    int64_t n = 1;

    return str_to_int64(request->params.n, &n) && n > 1 && n < UINT32_MAX ? (uint32_t)n : 1;
}

struct decoder_options attempt_decoding(struct exchange *x)
{
    const struct dialect *dialect = &x->attempt.backend->dialect;

    return (struct decoder_options){
        .event_bytes_max = x->call.config->sse_event_bytes_max,
        .depth_max = (size_t)x->call.config->json_depth_max,
        .dialect = dialect,
        .mend = mends(x),
        .as_is = exchange_is_same(x) && !mends(x) && x->attempt.streams == x->call.request.stream,
        .id = str_of(x->id, ID_SIZE),
        .model = x->model_sent,
        .now_s = loop_wall_ms(x->station->loop) / 1000,
    };
}

static void start_decoder(struct exchange *x, bool upstream_streams)
{
    const struct protocol *up = x->attempt.protocol;
    struct decoder_options options = attempt_decoding(x);

    options.stream = upstream_streams;
    options.array = x->attempt.array;
    options.scratch = &x->station->scratch;
    options.arena = &x->answer;
    options.sink = attempt_frame;
    options.sink_ctx = x;
    x->decoder = arena_zalloc(&x->answer, up->decoder_size);
    up->decoder_init(x->decoder, &options);
    x->restore = restore_new(&(struct restore_options){
        .translation = x->translation,
        .think_tags = x->attempt.backend->dialect.think_tags,
        .choices = choices_wanted(&x->call.request),
        .arena = &x->answer,
    });
}

static void start_coders(struct exchange *x)
{
    const struct request *request = &x->call.request;
    const struct attempt *attempt = &x->attempt;
    bool same_form = attempt->streams == request->stream &&
                     (!request->stream || attempt->array == request->array);

    if (x->call.intake.operation != OP_GENERATE)
        return;
    start_decoder(x, attempt->streams);
    x->attempt.raw = exchange_is_same(x) && same_form;
    relay_start_encoder(x, x->attempt.raw);
    exchange_release(x);
}

void attempt_check_coding(struct exchange *x, const struct message *m)
{
    struct str coding = http_headers_get(&m->headers, STR("content-encoding"));
    struct error e = {.code = OK};

    if (coding_of_headers(&m->headers) != CODING_OTHER)
        return;
    FAIL(&e, ERR_UPSTREAM_BROKEN,
         "content-encoding %.*s, although identity was asked for, from %.*s",
         STR_ARG(str_head(coding, 40)), STR_ARG(str_head(x->attempt.backend->name, 40)));
    attempt_fail(x, &e);
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    x->attempt.head = m;
    x->attempt.status = m->status;
    x->attempt.streams = is_stream(x, m);
    x->first_us = loop_now_us(x->station->loop);
    x->attempt.head_turn = loop_turn(x->station->loop);
    if (m->status >= 400)
        metric_add(&x->station->metrics, METRIC_upstream_errors_total, x->attempt.backend->slot, 1);
    start_coders(x);
    buf_init(&x->attempt.body, x->call.config->response_bytes_max);
    buf_set_budget(&x->attempt.body, &x->station->gateway->inflight);
    attempt_check_coding(x, m);
    struct error e = {.code = OK};
    if (exchange_overflowed(x, &e))
        attempt_fail(x, &e);
}

void attempt_answered(struct exchange *x)
{
    const struct attempt *attempt = &x->attempt;

    if (x->committed || x->timing.phase != PHASE_BACKEND || x->first_us == 0)
        return;
    bool now = attempt->head_turn == loop_turn(x->station->loop);
    timing_enter(&x->timing, PHASE_ENCODE, now ? x->first_us : loop_now_us(x->station->loop));
}

static void keep(struct exchange *x, struct str bytes)
{
    struct attempt *attempt = &x->attempt;
    struct error e;

    if (buf_add(&attempt->body, bytes))
        return;
    if (attempt->body.n + bytes.n > attempt->body.size_max)
        FAIL(&e, ERR_UPSTREAM_TOO_LARGE, "more than response_bytes_max (%zu bytes) from %.*s",
             attempt->body.size_max, STR_ARG(attempt->backend->name));
    else
        FAIL(&e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    attempt_fail(x, &e);
}

/* A piece of a whole body: one that comes in a single read is never copied. */
static void collect(struct exchange *x, struct str bytes)
{
    struct attempt *attempt = &x->attempt;

    if (str_is_null(attempt->span) && attempt->body.n == 0 && bytes.n <= attempt->body.size_max) {
        attempt->span = bytes;
        return;
    }
    keep(x, attempt->span);
    attempt->span = STR_NULL;
    if (!attempt->failed)
        keep(x, bytes);
}

static void decode(struct exchange *x, struct str bytes, bool end)
{
    UNINITIALIZED struct error e;

    e.code = OK;
    if (x->attempt.failed || x->attempt.ended)
        return;
    if (x->attempt.protocol->response_decode(x->decoder, bytes, end, &e) != OK) {
        let_go(x);
        attempt_fail(x, &e);
    }
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    metric_add(&x->station->metrics, METRIC_upstream_bytes_total, x->attempt.backend->slot,
               (int64_t)bytes.n);
    if (x->attempt.failed)
        return;
    x->attempt.received += bytes.n;
    if (x->attempt.streams)
        decode(x, bytes, false);
    else
        collect(x, bytes);
}

static void on_end(struct client_request *r, void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    x->attempt.request = NULL; /* over after its batch, which comes with this read */
    if (x->attempt.streams && !x->attempt.ended) {
        decode(x, STR_NULL, true);
        attempt_complete(x);
    }
    x->attempt.ended = !x->attempt.failed;
    attempt_answered(x);
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct exchange *x;

    (void)r;
    CAST(x, ctx, EXCHANGE_MAGIC);
    if (!x->attempt.ended && !x->attempt.failed && !str_is_null(x->attempt.span)) {
        keep(x, x->attempt.span);
        x->attempt.span = STR_NULL;
    }
    if (x->attempt.failed || x->attempt.ended)
        client_cancel(&x->attempt.request);
    exchange_run(x);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    x->attempt.request = NULL;
    x->attempt.span = STR_NULL;
    if (x->terminated || x->attempt.grace != NULL) {
        /* The answer was complete; that the connection went wrong after it is nobody's matter. */
        x->attempt.ended = true;
        exchange_run(x);
        return;
    }
    let_go(x);
    attempt_fail(x, e);
    exchange_run(x);
}

static void on_sent(struct client_request *r, void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    x->attempt.sent = true;
    exchange_release(x);
}

void attempt_connected(struct client_request *r, void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    exchange_enter(x, PHASE_BACKEND);
}

void attempt_ended(struct client_request *r, void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    x->attempt.request = NULL; /* over after its batch, which comes with this read */
    x->attempt.ended = !x->attempt.failed;
}

void attempt_lost(struct client_request *r, void *ctx, const struct error *e)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    assert(r == x->attempt.request);
    x->attempt.request = NULL;
    attempt_fail(x, e);
    exchange_run(x);
}

static const struct client_events attempt_events = {
    .connected = attempt_connected,
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

/* Where the client did not. */
static bool asks_usage(const struct backend *backend)
{
    return backend->dialect.usage == DIALECT_USAGE_OPTION && !backend->config->quirks_off;
}

/* How the request is to be said to the element's backend; *ret_full: from its conversation. */
static struct encode_request how_to_say(struct exchange *x, bool *ret_full)
{
    static const struct dialect plain;
    const struct request *request = &x->call.request;
    const struct backend *backend = x->attempt.backend;
    bool same = exchange_is_same(x);
    struct str model = str_is_null(x->call.element->model) ? request->model
                                                           : x->call.element->model;

    x->model_sent = str_copy(&x->answer, str_head(model, 256));
    x->call.model_sent = x->model_sent;
    *ret_full = !same || backend->local != NULL;
    /* Asked for where the dialect has it, the client did not mention it, and something counts (the
     * usage stage always does); for a client of another protocol always. */
    x->usage_added = request->stream && !(same && request->include_usage != -1) &&
                     (same ? asks_usage(backend)
                           : backend->dialect.usage <= DIALECT_USAGE_OPTION) &&
                     !atomic_load_explicit(&backend->usage_refused, memory_order_relaxed);
    return (struct encode_request){
        .model = x->call.element->model,
        .steer = &x->call.element->steer,
        .dialect = same && backend->config->quirks_off ? &plain : &backend->dialect,
        .operation = x->call.intake.operation,
        .same_protocol = same,
        .add_usage = x->usage_added,
        .vendor = backend->vendor,
    };
}

/* A key goes to the backend that it is configured for, and nowhere else. */
static bool is_key_of(const struct backend_key *key, const struct backend_config *config)
{
    return key == NULL || (key >= config->keys && key < config->keys + config->keys_n);
}

static enum error_code find_pool(struct exchange *x, struct client_pool **ret_pool, struct error *e)
{
    assert(is_key_of(x->attempt.key, x->attempt.backend->config));
    if (x->door == NULL || x->attempt.backend != door_backend(x->door))
        return branch_pool(x->branch, x->attempt.backend, ret_pool, e);
    *ret_pool = door_pool(x->door);
    return OK;
}

static void count_begun(struct exchange *x, uint64_t body_bytes)
{
    struct metrics *metrics = &x->station->metrics;
    size_t slot = x->attempt.backend->slot;
    bool connects = client_is_connecting(x->attempt.request);

    keys_begin(x);
    timing_enter(&x->timing, UNLIKELY(connects) ? PHASE_CONNECT : PHASE_BACKEND, x->sent_us);
    x->attempts++;
    metric_add(metrics, METRIC_attempts_total, slot, 1);
    metric_add(metrics, METRIC_upstream_sent_bytes_total, slot, (int64_t)body_bytes);
}

void attempt_pause(struct exchange *x)
{
    if (x->attempt.paused || x->attempt.request == NULL)
        return;
    x->attempt.paused = true;
    exchange_enter(x, PHASE_SEND);
    client_pause(x->attempt.request, true);
}

enum error_code attempt_send(struct exchange *x, const struct client_call *call, uint64_t bytes,
                             struct error *e)
{
    struct client_pool *pool = NULL;

    assert(x->attempt.request == NULL);
    if (exchange_overflowed(x, e))
        return e->code;
    if (str_is_null(call->head))
        return FAIL(e, ERR_TOO_LARGE, "its head does not fit into memory (header_bytes_max)");
    TRY(find_pool(x, &pool, e));
    x->sent_us = loop_now_us(x->station->loop);
    TRY(client_start(pool, call, &x->attempt.request, e));
    count_begun(x, bytes);
    return OK;
}

static enum error_code send(struct exchange *x, const struct wire *wire, struct error *e)
{
    const struct backend *backend = x->attempt.backend;

    if (UNLIKELY(backend->deployments) && x->model_sent.n == 0)
        return FAIL(e, ERR_BAD_REQUEST, "model: missing: backend %.*s has it in the path",
                    STR_ARG(str_head(backend->name, 40)));
    const struct client_call call = {
        .head = upstream_head_of(x, wire),
        .body = wire->body,
        .body_n = wire->body_n,
        .arena = x->call.arena,
        /* A whole body is kept; of a stream there is no more to keep than of one not coded. */
        .decoded_bytes_max = x->call.request.stream ? 0 : x->call.config->response_bytes_max,
        .events = &attempt_events,
        .ctx = x,
    };
    reasoning_begin(x);
    return attempt_send(x, &call, wire->body_bytes, e);
}

/* It outlives the request that it was made of. */
static void keep_translation(struct exchange *x, const struct translation *t)
{
    struct translation *kept = ARENA_NEW(&x->answer, struct translation);

    if (arena_overflowed(&x->answer))
        return;
    translation_copy(t, &x->answer, kept);
    x->translation = kept;
}

enum error_code attempt_start(struct exchange *x, struct error *e)
{
    const struct request_limits limits = exchange_limits(x);
    struct request *request = &x->call.request;
    struct translation translation = {.arena = x->call.arena};
    struct request told; /* of the conversation, this backend */
    struct wire wire;
    bool full;

    struct encode_request how = how_to_say(x, &full);
    if (full)
        TRY(protocol_read_full(x->call.intake.protocol, request, &limits, x->call.arena, e));
    how.translation = &translation;
    struct reasoning_way way = reasoning_way(x);
    TRY(reasoning_read(&way, request, &limits, x->call.arena, e));
    x->attempt.mark = arena_mark(x->call.arena);
    TRY(reasoning_up(&way, request, x->call.arena, &told, e));
    TRY(x->attempt.protocol->request_encode(&told, &how, x->call.arena, &wire, e));
    if (!how.same_protocol || translation.warnings_n > 0)
        keep_translation(x, &translation);
    return send(x, &wire, e);
}

/* A copy in the arena. */
static const struct steer *steer_keep(const struct steer *steer, struct arena *arena)
{
    struct steer *copy = ARENA_NEW(arena, struct steer);
    *copy = (struct steer){
        .temperature = str_copy(arena, steer->temperature),
        .top_p = str_copy(arena, steer->top_p),
        .max_tokens = str_copy(arena, steer->max_tokens),
        .reasoning_effort = str_copy(arena, steer->reasoning_effort),
        .reasoning_budget = str_copy(arena, steer->reasoning_budget),
        .generation_config = str_copy(arena, steer->generation_config),
    };
    return copy;
}

void attempt_write(struct exchange *x)
{
    bool full;
    struct encode_request how = how_to_say(x, &full);

    /* What a session says is its; the job has the request arena, to its end. */
    how.model = str_copy(x->call.arena, how.model);
    how.steer = steer_keep(how.steer, x->call.arena);
    const struct reasoning_way way = reasoning_way(x);
    large_write(x->large, &x->call.request, &way, x->attempt.protocol, &how, full);
}

enum error_code attempt_written(struct exchange *x, struct error *e)
{
    struct wire wire;

    TRY(large_take_wire(x->large, &x->call.request, &wire, e));
    const struct translation *translation = large_translation(x->large);
    if (!exchange_is_same(x) || translation->warnings_n > 0)
        keep_translation(x, translation);
    return send(x, &wire, e);
}

void attempt_cancel(struct exchange *x)
{
    client_cancel(&x->attempt.request);
}

void attempt_fini(struct exchange *x)
{
    keys_over(x);
    attempt_cancel(x);
    wait_stop(&x->attempt.grace);
    wait_stop(&x->attempt.hold);
    if (x->decoder != NULL)
        x->attempt.protocol->decoder_fini(x->decoder);
    if (x->encoder != NULL)
        x->call.intake.protocol->encoder_fini(x->encoder);
    x->decoder = NULL;
    x->encoder = NULL;
    x->restore = NULL;
    reasoning_free(&x->reasoning);
    checked_free(&x->checked);
    if (x->attempt.body.size_max > 0)
        buf_fini(&x->attempt.body);
}

void attempt_again(struct exchange *x)
{
    const struct arena_mark mark = x->attempt.mark;

    assert(!x->committed && x->attempt.request == NULL);
    attempt_fini(x);
    if (mark.set)
        arena_back(x->call.arena, &mark);
    x->attempt = (struct attempt){.backend = NULL};
    x->call.element = NULL;
    x->translation = NULL;
    x->first_us = 0;
    x->call.error.code = OK;
    x->call.error.wait_ms = 0;
    x->call.usage = (struct usage){-1, -1, -1, -1, -1, -1};
    x->error_event = false;
    x->error_status = 0;
    x->upstreams_error = false;
    x->terminated = false;
    x->taken_over = false;
    x->whole = STR_NULL;
    x->large_frame = NULL;
    large_free(&x->large_answer);
    exchange_reset_out(x->station);
}
