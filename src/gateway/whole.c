/* SPDX-License-Identifier: MIT */
/*
 * What      Whole answers: of upstreams that do not stream, errors and numbers among them, and what
 *           is collected; small ones at once, large ones in jobs and piece by piece.
 * How       came -> (digested) -> (encoded) -> hand: a large body is read, and written, in a job.
 *           Each function is the step of a state of exchange.def.
 * Owns      Nothing: the body is the attempt's, or large_answer's.
 * Not here  Streams, and the machine itself (exchange.c).
 */
#include "gateway/whole.h"

#include "gateway/attempt.h"
#include "gateway/checked.h"
#include "gateway/count.h"
#include "gateway/exchange.h"
#include "gateway/failed.h"
#include "gateway/plan.h"
#include "gateway/relay.h"
#include "gateway/stored.h"

#include "base/log.h"
#include "text/json.h"

enum {
    ANSWER_EXTRA = 64 * 1024,
    HAND_BYTES = 256 * 1024 /* at once, of a large answer */
};

static struct str whole_type(const struct attempt *attempt)
{
    struct str type = http_headers_get(&attempt->head->headers, STR("content-type"));

    return str_is_null(type) ? STR("application/json") : type;
}

enum exchange_state whole_send(struct exchange *x, int status, struct str content_type,
                               struct str body)
{
    exchange_commit(x, status, content_type, (int64_t)body.n);
    large_free(&x->large);
    if (UNLIKELY(x->large_answer != NULL) && body.p == large_body(x->large_answer).p) {
        x->whole = body;
        return EXCHANGE_HAND;
    }
    server_body(x->client, body);
    server_end(x->client);
    (void)server_flush(x->client);
    exchange_reset_out(x->station);
    return EXCHANGE_SENT;
}

static bool is_json(struct exchange *x, struct str body)
{
    struct error ignored;
    const struct json_read_options options = {.depth_max = 0, .allow_invalid_utf8 = true};
    struct arena *scratch = &x->station->scratch;

    bool ok = json_read(body, &options, scratch, &ignored) != NULL;
    arena_rewind(scratch);
    return ok;
}

/* We asked for usage in the stream, and the backend does not know how: once more without, and
 * never again with (contract, section 4). */
static bool refuses_usage(struct exchange *x, struct str body)
{
    if (x->attempt.status != 400 || !x->usage_added || body.n > LARGE_BYTES ||
        str_find(body, STR("stream_options"), 0) == SIZE_MAX)
        return false;
    atomic_store_explicit(&x->attempt.backend->usage_refused, true, memory_order_relaxed);
    LOG(BACKEND, INFO, "backend.no_stream_usage", F_STR("backend", x->attempt.backend->name));
    return true;
}

/* An upstream's error with its own bytes, unless they are our key's. */
static enum exchange_state send_error(struct exchange *x, int status, struct str body)
{
    const struct attempt *attempt = &x->attempt;

    body = plan_redact_keys(attempt->backend, body, x->call.arena);
    if (exchange_overflowed(x, &x->call.error))
        return EXCHANGE_FAIL;
    return whole_send(x, status, whole_type(attempt), body);
}

/* An upstream's error: its own body where the client can read it. */
static enum exchange_state whole_error(struct exchange *x, struct str body, bool json)
{
    if (x->attempt.status < 400 || !exchange_is_same(x) || !json) {
        failed_whole(x, str_head(body, LARGE_BYTES));
        return EXCHANGE_FAIL;
    }
    return send_error(x, x->attempt.status, body);
}

/* Nobody could count: it is done here. */
static enum exchange_state count_again(struct exchange *x)
{
    attempt_again(x);
    x->estimate = true;
    return EXCHANGE_PLAN;
}

/* A backend's answer to how many tokens a request has. */
static enum exchange_state counted(struct exchange *x, struct str body)
{
    struct attempt *attempt = &x->attempt;
    struct buf *out = &x->station->out;

    if (body.n > LARGE_BYTES) {
        FAIL(&x->call.error, ERR_UPSTREAM_TOO_LARGE, "a number of %zu bytes", body.n);
        attempt_blame(x);
        return EXCHANGE_FAIL;
    }
    if (attempt->status != 200)
        return count_is_refused(x, body) ? count_again(x) : whole_error(x, body, is_json(x, body));
    if (exchange_is_same(x))
        return whole_send(x, attempt->status, whole_type(attempt), body);
    if (!count_translate(x, body, out))
        return count_again(x);
    exchange_send_out(x, 200, STR("application/json"));
    return EXCHANGE_SENT;
}

/* The one frame of the body went up to the encoder. */
static enum exchange_state whole_answer(struct exchange *x, struct str body)
{
    const struct attempt *attempt = &x->attempt;

    if (attempt->again)
        return exchange_again(x);
    if (attempt->failed)
        return EXCHANGE_FAIL;
    if (x->error_event && exchange_is_same(x))
        return send_error(x, attempt->status, body);
    if (x->call.request.stream) /* asked for a stream, got a whole body: it was encoded as one */
        return EXCHANGE_FINISH;
    if (!str_is_null(x->whole)) {
        checked_bytes(x, x->whole, true);
        checked_end(x);
        return whole_send(x, attempt->status, whole_type(attempt), x->whole);
    }
    return EXCHANGE_FINISH;
}

static bool is_success(const struct attempt *attempt)
{
    return attempt->status >= 200 && attempt->status < 300;
}

enum exchange_state whole_came(struct exchange *x)
{
    struct attempt *attempt = &x->attempt;
    const struct protocol *up = attempt->protocol;
    struct str body = str_is_null(attempt->span) ? buf_str(&attempt->body) : attempt->span;

    if (attempt->status >= 400)
        attempt_note_body(x, body);
    if (!is_success(attempt) && keys_answered(x, body))
        return exchange_again(x);
    if (UNLIKELY(exchange_counts(x)))
        return counted(x, body);
    if (UNLIKELY(body.n > LARGE_BYTES)) {
        x->large_answer = large_new(x->branch, exchange_wake, x);
        large_adopt(x->large_answer, &attempt->body);
        if (is_success(attempt)) {
            const struct decoder_options how = attempt_decoding(x);
            large_read_answer(x->large_answer, up, &how, x->restore);
        } else {
            large_check_json(x->large_answer);
        }
        return EXCHANGE_DIGEST;
    }
    if (!is_success(attempt)) {
        if (refuses_usage(x, body)) {
            attempt_again(x);
            return EXCHANGE_PLAN;
        }
        return whole_error(x, body, is_json(x, body));
    }
    if (up->response_decode(x->decoder, body, true, &x->call.error) != OK) {
        attempt_blame(x);
        return EXCHANGE_FAIL;
    }
    attempt_complete(x);
    return whole_answer(x, body);
}

enum exchange_state whole_encode(struct exchange *x)
{
    /* Escapes make six bytes of one at worst. */
    size_t bytes_max = 6 * x->call.config->response_bytes_max + ANSWER_EXTRA;

    large_encode(x->large_answer, x->call.intake.protocol, x->encoder, x->large_frame, bytes_max);
    return EXCHANGE_ENCODE;
}

enum exchange_state whole_digested(struct exchange *x)
{
    struct large *large = x->large_answer;
    struct frame *frame = NULL;

    if (large_busy(large))
        return EXCHANGE_DIGEST;
    if (!is_success(&x->attempt))
        return whole_error(x, large_body(large), large_is_json(large));
    if (large_take_frame(large, &frame, &x->call.error) != OK) {
        attempt_blame(x);
        return EXCHANGE_FAIL;
    }
    if (frame != NULL) {
        x->large_frame = frame;
        (void)attempt_frame(x, frame);
        arena_rewind(&x->station->scratch);
    }
    if (x->large_encodes && !x->attempt.failed)
        return whole_encode(x);
    large_forget_events(large);
    return whole_answer(x, large_body(large));
}

/* It is all there: what goes out is handed over piece by piece. */
enum exchange_state whole_encoded(struct exchange *x)
{
    bool stream = x->call.request.stream;
    struct str made;

    if (large_busy(x->large_answer))
        return EXCHANGE_ENCODE;
    large_forget_events(x->large_answer);
    if (large_take_encoded(x->large_answer, &made, &x->call.error) != OK)
        return EXCHANGE_FAIL;
    checked_bytes(x, made, false);
    checked_end(x);
    stored_bytes(x, made);
    stored_end(x);
    exchange_commit(x, 200, stream ? relay_type(x) : STR("application/json"),
                    stream ? -1 : (int64_t)made.n);
    large_free(&x->large);
    x->whole = made;
    return EXCHANGE_HAND;
}

/* As much as the client takes; what it does not take yet stays here, uncopied. */
enum exchange_state whole_hand(struct exchange *x)
{
    while (x->whole.n > 0) {
        struct str piece = str_head(x->whole, HAND_BYTES);
        x->whole = str_from(x->whole, piece.n);
        server_body(x->client, piece);
        if (x->whole.n > 0 && server_flush(x->client) == SERVER_FULL)
            return EXCHANGE_HAND;
    }
    server_end(x->client);
    (void)server_flush(x->client);
    large_free(&x->large_answer);
    return EXCHANGE_SENT;
}
