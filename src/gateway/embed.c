/* SPDX-License-Identifier: MIT */
/*
 * Embeddings for a backend that speaks Gemini's protocol.
 *
 * What      A client of OpenAI's asks for up to 2,048 vectors; Gemini gives 100 in a call. The
 *           calls are made one after another, with one key while it works, and their answers, read
 *           as they come, become one list.
 * How       PLAN, call 0, EMBED: bytes, end; call 1, …; the last one's end, HAND.
 *           Nothing goes down before all is there: a call that fails is the client's error. One
 *           that is made again begins where its own answer began.
 * Owns      x->embed: what was asked, and the client's answer as far as it is. The request's body
 *           is the opaque path's.
 * Not here  The wire formats (protocol/embeddings), what is forwarded as it is (opaque.c).
 */
#include "gateway/embed.h"

#include "gateway/attempt.h"
#include "gateway/exchange.h"
#include "gateway/failed.h"
#include "gateway/keys.h"
#include "gateway/upstream_head.h"

#include "base/mem.h"
#include "http/message.h"
#include "protocol/embeddings.h"

enum { ERROR_BYTES_MAX = 1024 * 1024 };

struct embed {
    struct embeddings asked;
    struct embeddings_answer answer;
    struct translation *told; /* what the request's reading noted */
    struct buf out;
    bool answering; /* the answer was begun: there was an attempt */
};

/* --- the request ------------------------------------------------------------------------- */

static const struct protocol *gemini(void)
{
    return protocol_find(STR("gemini"));
}

bool embed_is_for(const struct exchange *x, const struct backend *backend)
{
    const struct intake *intake = &x->call.intake;

    return backend->local == NULL && backend_speaks(backend, gemini()) &&
           str_eq(intake->method, STR("POST")) && str_eq(intake->rest, STR("/embeddings")) &&
           intake->protocol == protocol_find(STR("openai-chat"));
}

/* In the answer's arena: it is told with the head. */
static struct translation *new_translation(struct exchange *x)
{
    struct translation *t = ARENA_NEW(&x->answer, struct translation);

    t->arena = &x->answer;
    return t;
}

enum error_code embed_begin(struct exchange *x, struct str body, struct error *e)
{
    const struct config *config = x->call.config;

    if (str_is_null(body))
        return FAIL(e, ERR_TOO_LARGE,
                    "embeddings for a backend that speaks gemini are translated, and this body "
                    "is larger than opaque_peek_bytes (%zu bytes)",
                    (size_t)config->opaque_peek_bytes);
    struct embed *embed = mem_new(sizeof(*embed));
    x->embed = embed;
    embed->told = new_translation(x);
    buf_init(&embed->out, config->response_bytes_max);
    buf_set_budget(&embed->out, &x->station->gateway->inflight);
    return embeddings_read(body, (size_t)config->json_depth_max, embed->told, x->call.arena,
                           &embed->asked, e);
}

/* --- a call ------------------------------------------------------------------------------ */

static struct exchange *exchange_of(void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    return x;
}

static void on_sent(struct client_request *r, void *ctx)
{
    struct exchange *x = exchange_of(ctx);

    assert(r == x->attempt.request);
    x->attempt.sent = true;
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct exchange *x = exchange_of(ctx);
    struct attempt *attempt = &x->attempt;

    assert(r == attempt->request);
    attempt->head = m;
    attempt->status = m->status;
    x->first_us = loop_now_us(x->station->loop);
    attempt->head_turn = loop_turn(x->station->loop);
    if (m->status >= 400)
        metric_add(&x->station->metrics, METRIC_upstream_errors_total, attempt->backend->slot, 1);
    attempt_check_coding(x, m);
    if (m->status != 200 && attempt->body.size_max == 0) {
        buf_init(&attempt->body, ERROR_BYTES_MAX);
        buf_set_budget(&attempt->body, &x->station->gateway->inflight);
    }
}

/* Of what is no success: its beginning says what it is. */
static void keep_error(struct exchange *x, struct str bytes)
{
    struct buf *body = &x->attempt.body;

    (void)buf_add(body, str_head(bytes, ERROR_BYTES_MAX - body->n));
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct exchange *x = exchange_of(ctx);
    struct embed *embed = x->embed;
    struct error e = {.code = OK};

    assert(r == x->attempt.request);
    metric_add(&x->station->metrics, METRIC_upstream_bytes_total, x->attempt.backend->slot,
               (int64_t)bytes.n);
    x->attempt.received += bytes.n;
    if (x->attempt.failed)
        return;
    if (x->attempt.status != 200) {
        keep_error(x, bytes);
        return;
    }
    x->frames++;
    if (embeddings_answer_add(&embed->answer, bytes, &e) == OK)
        return;
    if (embed->out.starved)
        exchange_fail_starved(x, &e);
    attempt_fail(x, &e);
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct exchange *x = exchange_of(ctx);

    (void)r;
    if (x->attempt.ended || x->attempt.failed)
        exchange_run(x);
}

static const struct client_events embed_events = {
    .connected = attempt_connected,
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = attempt_ended,
    .batch = on_batch,
    .failed = attempt_lost,
};

static struct str model_of(const struct exchange *x)
{
    struct str model = x->call.element->model;

    if (str_is_null(model))
        model = x->call.request.model; /* it may stand in the query */
    return str_is_null(model) ? x->embed->asked.model : model;
}

static enum error_code send(struct exchange *x, const struct wire *wire, struct error *e)
{
    const struct client_call call = {
        .head = upstream_head_of(x, wire),
        .body = wire->body,
        .body_n = wire->body_n,
        .arena = x->call.arena,
        .decoded_bytes_max = x->call.config->response_bytes_max,
        .events = &embed_events,
        .ctx = x,
    };

    return attempt_send(x, &call, wire->body_bytes, e);
}

/* The call that the answer is at. */
static enum error_code start_call(struct exchange *x, struct error *e)
{
    const struct embed *embed = x->embed;
    struct wire wire;

    TRY(embeddings_write(&embed->asked, embed->answer.call, model_of(x), x->call.arena, &wire, e));
    return send(x, &wire, e);
}

enum error_code embed_start(struct exchange *x, struct error *e)
{
    struct embed *embed = x->embed;

    x->attempt.protocol = gemini();
    x->translation = embed->told;
    x->model_sent = str_copy(&x->answer, str_head(model_of(x), 256));
    x->call.model_sent = x->model_sent;
    if (embed->answering)
        embeddings_answer_again(&embed->answer);
    else
        embeddings_answer_init(&embed->answer, &embed->asked, x->model_sent, &embed->out);
    embed->answering = true;
    return start_call(x, e);
}

/* --- the answer -------------------------------------------------------------------------- */

static enum exchange_state fail(struct exchange *x)
{
    struct error e = x->call.error;

    x->call.error.code = OK;
    attempt_fail(x, &e);
    return EXCHANGE_FAIL;
}

/* The next one goes to the same key. */
static enum exchange_state call_again(struct exchange *x)
{
    struct attempt *attempt = &x->attempt;

    keys_over(x);
    attempt->keys.told = false;
    attempt->keys.result = (struct keyring_result){.outcome = KEYRING_UNKNOWN};
    attempt->head = NULL;
    attempt->status = 0;
    attempt->received = 0;
    attempt->sent = false;
    attempt->ended = false;
    x->first_us = 0;
    return start_call(x, &x->call.error) == OK ? EXCHANGE_EMBED : EXCHANGE_FAIL;
}

static enum exchange_state finish(struct exchange *x)
{
    struct embed *embed = x->embed;

    if (embeddings_answer_end(&embed->answer, &x->call.error) != OK)
        return fail(x);
    x->estimated = embed->answer.estimated;
    x->call.usage.input = embed->answer.tokens;
    x->whole = buf_str(&embed->out);
    exchange_commit(x, 200, STR("application/json"), (int64_t)x->whole.n);
    return EXCHANGE_HAND;
}

enum exchange_state embed_run(struct exchange *x)
{
    struct embed *embed = x->embed;

    if (x->attempt.failed)
        return EXCHANGE_FAIL;
    if (!x->attempt.ended)
        return EXCHANGE_EMBED;
    if (x->attempt.status != 200) {
        if (keys_answered(x, buf_str(&x->attempt.body)))
            return exchange_again(x);
        failed_whole(x, buf_str(&x->attempt.body));
        attempt_note(x, x->attempt.status, NULL, x->call.error.said);
        return EXCHANGE_FAIL;
    }
    if (embeddings_answer_next(&embed->answer, &x->call.error) != OK)
        return fail(x);
    return embed->answer.call < embeddings_calls(&embed->asked) ? call_again(x) : finish(x);
}

void embed_free(struct embed **embed)
{
    if (*embed == NULL)
        return;
    buf_fini(&(*embed)->out);
    mem_free(*embed);
    *embed = NULL;
}
