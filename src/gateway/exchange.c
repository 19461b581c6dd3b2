/* SPDX-License-Identifier: MIT */
/*
 * Exchanges: from a client's request to the last byte of its answer.
 *
 * What      The state machine of exchange.def and its driver. Nobody else changes x->state.
 * How       Something happens (a body piece, a frame's batch, a failure, the client leaves): it is
 *           noted in the exchange, then exchange_run steps until a step returns its own state.
 *           Frames on their way up do not pass the machine (relay).
 * Owns      The exchange and its answer arena. The request arena is the server connection's and is
 *           released at commit.
 * Not here  Frames and streams (relay), whole answers (whole), upstream I/O (attempt), heads of
 *           answers (answer), what is said and counted of one that is over (account), HTTP framing
 *           (http/).
 */
#include "gateway/exchange.h"

#include "gateway/embed.h"
#include "gateway/plan.h"

#include "base/mem.h"
#include "gateway/account.h"
#include "gateway/answer.h"
#include "gateway/attempt.h"
#include "gateway/count.h"
#include "gateway/models.h"
#include "gateway/opaque.h"
#include "gateway/relay.h"
#include "gateway/stored.h"
#include "gateway/stored_ask.h"
#include "gateway/unpack.h"
#include "gateway/whole.h"

enum {
    ANSWER_BLOCK_SIZE = 2048,
    FREE_EXCHANGES_MAX = 64,
    OUT_KEPT_MAX = 512 * 1024,
    ANSWER_EXTRA = 64 * 1024
};

#define NEXT_TO(name) (1u << EXCHANGE_##name)
typedef enum exchange_state exchange_step_fn(struct exchange *x);
#define STATE(name, what, successors) static enum exchange_state step_##name(struct exchange *x);
#include "gateway/exchange.def"
#undef STATE

static const struct state_row {
    const char *name;
    exchange_step_fn *step;
    uint32_t successors;
} states[EXCHANGE_STATE_COUNT] = {
#define STATE(name, what, successors) [EXCHANGE_##name] = {#name, step_##name, successors},
#include "gateway/exchange.def"
#undef STATE
};

/* Whose its time is in a state; PHASE_NONE: as it was, or as the state itself says. */
static const uint8_t phases[EXCHANGE_STATE_COUNT] = {
    [EXCHANGE_ROUTE] = PHASE_ENCODE,   [EXCHANGE_DECODE] = PHASE_DECODE,
    [EXCHANGE_PARSE] = PHASE_DECODE,   [EXCHANGE_EXPAND] = PHASE_DECODE,
    [EXCHANGE_STAGES] = PHASE_SESSION, [EXCHANGE_PLAN] = PHASE_ROUTE,
    [EXCHANGE_COUNT] = PHASE_ENCODE,   [EXCHANGE_WRITE] = PHASE_ROUTE,
    [EXCHANGE_RELAY] = PHASE_STREAM,   [EXCHANGE_WHOLE] = PHASE_ENCODE,
    [EXCHANGE_DIGEST] = PHASE_ENCODE,  [EXCHANGE_ENCODE] = PHASE_ENCODE,
    [EXCHANGE_HAND] = PHASE_SEND,      [EXCHANGE_FINISH] = PHASE_ENCODE,
    [EXCHANGE_BREAK] = PHASE_ENCODE,   [EXCHANGE_FAIL] = PHASE_ENCODE,
    [EXCHANGE_PAUSE] = PHASE_PAUSE,    [EXCHANGE_MODELS] = PHASE_BACKEND,
    [EXCHANGE_ASK] = PHASE_BACKEND,    [EXCHANGE_SENT] = PHASE_SEND,
};

void exchange_enter(struct exchange *x, enum phase phase)
{
    timing_enter(&x->timing, phase, loop_now_us(x->station->loop));
}

static void check_invariants(const struct exchange *x)
{
    assert(x->magic == EXCHANGE_MAGIC);
    assert((unsigned)x->state < EXCHANGE_STATE_COUNT);
    assert(x->client != NULL || x->state == EXCHANGE_OVER);
    assert(!x->committed || x->state >= EXCHANGE_RELAY);
    assert(x->attempt.request == NULL || x->attempt.backend != NULL);
    assert(x->decoder == NULL || x->encoder != NULL);
}

void exchange_run(struct exchange *x)
{
    assert(!x->running);
    x->running = true;
    for (;;) {
        check_invariants(x);
        enum exchange_state next = states[x->state].step(x);
        if (next == x->state)
            break;
        assert(next == EXCHANGE_OVER || (states[x->state].successors & (1u << next)) != 0);
        x->state = next;
        if (phases[next] != PHASE_NONE && phases[next] != x->timing.phase)
            exchange_enter(x, phases[next]);
    }
    x->running = false;
}

struct exchange *exchange_new(struct station *station, struct server_conn *client)
{
    struct exchange *x;

    if (!list_empty(&station->free_exchanges)) {
        struct list *node = station->free_exchanges.next;
        x = LIST_ENTRY(node, struct exchange, link);
        list_remove(node);
        station->free_n--;
        memset(x, 0, sizeof(*x));
    } else {
        x = mem_new(sizeof(*x));
    }
    x->magic = EXCHANGE_MAGIC;
    x->station = station;
    x->branch = branch_enter(station->branch);
    x->client = client;
    x->state = EXCHANGE_BODY;
    list_init(&x->link);
    list_init(&x->models_link);
    list_push_back(&station->exchanges, &x->link);
    id_make(&station->ids, x->id);
    x->call.request_id = str_of(x->id, ID_SIZE);
    x->call.config = x->branch->site->config;
    x->call.backends = x->branch->site->backends;
    x->call.ops = &ops_of_calls;
    x->call.sessions = station->gateway->sessions;
    x->call.version = station->gateway->version;
    x->call.now_ms = loop_wall_ms(station->loop);
    x->call.metrics = &station->metrics;
    x->call.arena = server_arena(client);
    x->call.usage = (struct usage){-1, -1, -1, -1, -1, -1};
    /* What is remembered of the answer, and the coders themselves. */
    arena_init(&x->answer, x->call.config->response_bytes_max + ANSWER_EXTRA, ANSWER_BLOCK_SIZE,
               &station->gateway->inflight);
    timing_begin(&x->timing, server_begin_us(client));
    server_set_user(client, x);
    metric_add(&station->metrics, METRIC_requests_active, 0, 1);
    return x;
}

/* A backend has answered as it was asked to. Who leaves in the midst of that has had an answer. */
static bool succeeded(const struct exchange *x)
{
    const struct attempt *attempt = &x->attempt;

    return attempt->backend != NULL && attempt->status >= 200 && attempt->status < 300 &&
           x->call.error.code == OK && !x->error_event && (x->committed || x->status != 0);
}

void exchange_settle(struct exchange *x)
{
    if (x->settled)
        return;
    x->settled = true;
    x->call.succeeded = succeeded(x);
    pipeline_done(&x->call);
}

static void forget(struct exchange *x, bool left)
{
    struct station *station = x->station;

    assert(!x->running);
    if (x->client != NULL) {
        x->bytes_down = server_body_bytes(x->client);
        server_set_user(x->client, NULL);
    }
    exchange_enter(x, PHASE_NONE);
    models_forget(x->branch->models, x);
    keys_forget(x);
    bool was_running = x->attempt.request != NULL;
    attempt_fini(x);
    unpack_free(&x->unpack);
    embed_free(&x->embed);
    opaque_free(&x->opaque);
    ops_forget(x);
    exchange_settle(x);
    stored_free(&x->stored);
    stored_ask_free(&x->ask);
    large_free(&x->large);
    large_free(&x->large_answer);
    account_tell(x, left);
    if (left && was_running)
        metric_add(&station->metrics, METRIC_cancelled_total, x->attempt.backend->slot, 1);
    account_count(x, left);
    arena_fini(&x->answer);
    door_leave(&x->door);
    branch_leave(x->branch);
    list_remove(&x->link);
    /* Last: who reads that nothing is worked on finds all of it counted, and its memory back. */
    metric_add(&station->metrics, METRIC_requests_active, 0, -1);
    x->magic = 0;
    if (station->free_n < FREE_EXCHANGES_MAX) {
        list_push_front(&station->free_exchanges, &x->link);
        station->free_n++;
    } else {
        mem_free(x);
    }
}

void exchange_gone(struct exchange *x)
{
    x->bytes_down = server_body_bytes(x->client);
    /* A job may be reading what stages left in the request arena. */
    if (large_busy(x->large))
        large_lend(x->large, x->client);
    x->client = NULL;
    x->state = EXCHANGE_OVER;
    /* One of the answer may use the decoder's and encoder's memory, a stage's the call:
     * exchange_wake ends it. */
    x->lingers = large_busy(x->large_answer) || (x->works && large_busy(x->large));
    if (!x->works)
        x->call.arena = NULL;
    if (!x->lingers)
        forget(x, true);
}

void exchange_done(struct exchange *x)
{
    assert(!x->running && x->state == EXCHANGE_SENT);
    x->state = EXCHANGE_OVER;
    forget(x, false);
}

/* Memory was not to be had because all requests together hold what inflight_bytes_max allows. */
bool exchange_is_starved(const struct exchange *x)
{
    const struct arena *request = x->call.arena; /* NULL after commit */

    return (request != NULL && arena_over_budget(request)) || arena_over_budget(&x->answer) ||
           (x->large != NULL && large_over_budget(x->large)) ||
           (x->large_answer != NULL && large_over_budget(x->large_answer));
}

void exchange_fail_starved(const struct exchange *x, struct error *e)
{
    FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max (%zu bytes)",
         x->call.config->inflight_bytes_max);
}

bool exchange_overflowed(const struct exchange *x, struct error *e)
{
    const struct config *config = x->call.config;
    const struct arena *request = x->call.arena;
    bool request_over = (request != NULL && arena_overflowed(request)) ||
                        (x->large != NULL && large_overflowed(x->large));
    bool answer_over = arena_overflowed(&x->answer);

    if (LIKELY(!request_over && !answer_over))
        return false;
    if (exchange_is_starved(x))
        exchange_fail_starved(x, e);
    else if (request_over)
        FAIL(e, ERR_TOO_LARGE, "reading it takes more memory than body_bytes_max (%zu) allows",
             config->body_bytes_max);
    else
        FAIL(e, ERR_UPSTREAM_TOO_LARGE, "more than response_bytes_max (%zu bytes)",
             config->response_bytes_max);
    return true;
}

/* The turn's buffer is empty again; what one large answer made of it is not kept. */
void exchange_reset_out(struct station *station)
{
    if (station->out.size > OUT_KEPT_MAX)
        buf_fini(&station->out);
    else
        buf_reset(&station->out);
}

/* --- steps --- */

static enum exchange_state begin_stages(struct exchange *x)
{
    struct call *call = &x->call;

    if (exchange_overflowed(x, &call->error))
        return EXCHANGE_FAIL;
    pipeline_begin(call, &(struct pipeline_options){
                             .stages = x->station->stages,
                             .stages_n = x->station->stages_n,
                             .arena = &x->answer,
                             .hold_bytes_max = call->config->response_bytes_max,
                             .sink = relay_emit,
                             .sink_ctx = x,
                             .wake = exchange_wake,
                         });
    if (exchange_overflowed(x, &call->error)) {
        call->pipeline = NULL; /* past its cap the arena gives that memory to others, too */
        return EXCHANGE_FAIL;
    }
    return EXCHANGE_STAGES;
}

/* The stages decide where it goes, also of what they cannot look into. */
static enum exchange_state opaque_came(struct exchange *x)
{
    if (!opaque_is_ready(x))
        return EXCHANGE_BODY;
    return opaque_look(x, &x->call.error) == OK ? begin_stages(x) : EXCHANGE_FAIL;
}

static enum exchange_state body_next(struct exchange *x)
{
    if (x->call.error.code != OK)
        return EXCHANGE_FAIL;
    if (x->route != NULL)
        return EXCHANGE_ROUTE;
    if (UNLIKELY(x->opaque != NULL))
        return opaque_came(x);
    return x->body_complete ? EXCHANGE_DECODE : EXCHANGE_BODY;
}

static enum exchange_state step_BODY(struct exchange *x)
{
    enum exchange_state next = body_next(x);

    /* All of it was there at once, and was not waited for. */
    if (next != EXCHANGE_BODY && LIKELY(server_began_now(x->client)))
        x->timing.phase = PHASE_ADMISSION;
    return next;
}

/* A short answer that is there already, in the turn's buffer. */
void exchange_send_out(struct exchange *x, int status, struct str content_type)
{
    struct buf *out = &x->station->out;

    answer_head(x, status, content_type, (int64_t)out->n);
    server_body(x->client, buf_str(out));
    server_end(x->client);
    (void)server_flush(x->client);
    exchange_reset_out(x->station);
}

static enum exchange_state step_ROUTE(struct exchange *x)
{
    struct call *call = &x->call;
    struct buf *out = &x->station->out;
    const struct client_key *client = call->intake.client;
    const struct gateway_ask ask = {
        .gateway = x->station->gateway,
        .site = x->branch->site,
        .client = client,
        .is_admin = client == NULL ? call->config->disable_auth : client->admin,
        .scope = call->intake.scope,
        .method = call->intake.method,
        .rest = call->intake.rest,
        .query = call->intake.query,
        .now_ms = call->now_ms,
        .mono_ms = loop_now_ms(x->station->loop),
        .branch = x->branch,
        .arena = call->arena,
    };
    int status = x->route->answer(&ask, out, &call->error);

    if (status == 0)
        return EXCHANGE_FAIL;
    if (!buf_ok(out) || exchange_overflowed(x, &call->error)) {
        FAIL(&call->error, ERR_OVERLOADED, "there is no memory for the answer");
        return EXCHANGE_FAIL;
    }
    x->quiet = str_eq(call->intake.method, STR("GET")) || str_is_null(call->intake.method);
    exchange_send_out(x, status, status == 204 ? STR_NULL : str_c(x->route->content_type));
    return EXCHANGE_SENT;
}

void exchange_wake(void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    if (UNLIKELY(x->lingers)) {
        x->call.arena = NULL; /* it was lent, and goes now */
        forget(x, true);
    } else {
        exchange_run(x);
    }
}

struct request_limits exchange_limits(const struct exchange *x)
{
    const struct intake *intake = &x->call.intake;

    return (struct request_limits){
        .depth_max = (size_t)x->call.config->json_depth_max,
        .operation = intake->operation,
        .rest = intake->rest,
        .query = intake->query,
    };
}

void exchange_warn(struct exchange *x, const char *code, struct str name)
{
    if (x->translation == NULL) {
        struct translation *made = ARENA_NEW(&x->answer, struct translation);
        if (arena_overflowed(&x->answer))
            return;
        made->arena = &x->answer;
        x->translation = made;
    }
    translation_warn_of(x->translation, code, name);
}

bool exchange_counts(const struct exchange *x)
{
    return x->call.intake.operation == OP_COUNT_TOKENS;
}

/* To count tokens the conversation may be needed, whoever counts. */
static void read_large(struct exchange *x)
{
    const struct request_limits limits = exchange_limits(x);

    large_read(x->large, x->call.intake.protocol, &limits, exchange_counts(x));
}

/* What its request needs of kept responses stands in it, or is being put there. */
static enum exchange_state after_expanding(struct exchange *x, enum stored_step step)
{
    switch (step) {
    case STORED_DONE:
        /* Read again, for another attempt: the stages have seen it. */
        return x->call.pipeline != NULL ? EXCHANGE_PLAN : begin_stages(x);
    case STORED_AGAIN:
        return EXCHANGE_DECODE;
    case STORED_WAIT:
        return EXCHANGE_EXPAND;
    case STORED_FAILED:
        return EXCHANGE_FAIL;
    }
    BUG("unknown step");
}

static enum exchange_state step_DECODE(struct exchange *x)
{
    struct call *call = &x->call;
    struct request_limits limits = exchange_limits(x);

    if (call->intake.operation == OP_MODELS || call->intake.operation == OP_MODEL)
        return EXCHANGE_MODELS;
    if (stored_ask_serves(call->intake.operation))
        return EXCHANGE_ASK;
    limits.memory = x->station->memory;
    for (;;) {
        if (UNLIKELY(x->body_n > LARGE_BYTES)) {
            read_large(x);
            return EXCHANGE_PARSE;
        }
        if (call->intake.protocol->request_decode(body_text(x), &limits, call->arena,
                                                  &call->request, &call->error) != OK)
            return EXCHANGE_FAIL;
        enum stored_step step = stored_expand(x, &call->error);
        if (step != STORED_AGAIN)
            return after_expanding(x, step);
    }
}

static enum exchange_state step_PARSE(struct exchange *x)
{
    if (large_busy(x->large))
        return EXCHANGE_PARSE;
    if (large_take_request(x->large, &x->call.request, &x->call.error) != OK)
        return EXCHANGE_FAIL;
    return after_expanding(x, stored_expand(x, &x->call.error));
}

static enum exchange_state step_EXPAND(struct exchange *x)
{
    return after_expanding(x, stored_expanded(x, &x->call.error));
}

static enum exchange_state step_STAGES(struct exchange *x)
{
    if (!ops_ready(x))
        return EXCHANGE_STAGES;
    switch (pipeline_request(&x->call)) {
    case NEXT:
        return EXCHANGE_PLAN;
    case REPLY:
        return EXCHANGE_FINISH;
    case WAIT:
        return EXCHANGE_STAGES;
    case STOP:
        return EXCHANGE_FAIL;
    }
    BUG("unknown verdict");
}

/* One that is translated, or goes as it is. */
static enum exchange_state plan_opaque(struct exchange *x)
{
    struct error *e = &x->call.error;

    if (opaque_plan(x, e) != OK || plan_next(x, e) != OK)
        return EXCHANGE_FAIL;
    if (x->embed == NULL && opaque_has_first_key(x))
        keys_fix(x, plan_key(x->attempt.backend));
    if (keys_take(x, e) != OK)
        return EXCHANGE_FAIL;
    if (x->embed != NULL)
        return embed_start(x, e) == OK ? EXCHANGE_EMBED : EXCHANGE_FAIL;
    return opaque_start(x, e) == OK ? EXCHANGE_OPAQUE : EXCHANGE_FAIL;
}

static enum exchange_state step_PLAN(struct exchange *x)
{
    bool large = x->body_n > LARGE_BYTES;

    if (UNLIKELY(x->opaque != NULL))
        return plan_opaque(x);
    if (UNLIKELY(large) && !large_is_read(x->large)) {
        read_large(x);
        return EXCHANGE_PARSE;
    }
    enum stored_step step = stored_planned(x, &x->call.error);
    if (UNLIKELY(step != STORED_DONE))
        return step == STORED_WAIT ? EXCHANGE_EXPAND : EXCHANGE_FAIL;
    if (plan_next(x, &x->call.error) != OK || stored_pin(x, &x->call.error) != OK)
        return EXCHANGE_FAIL;
    if (UNLIKELY(exchange_counts(x)) && count_is_ours(x))
        return EXCHANGE_COUNT;
    if (keys_take(x, &x->call.error) != OK)
        return EXCHANGE_FAIL;
    if (UNLIKELY(large)) {
        attempt_write(x);
        return EXCHANGE_WRITE;
    }
    return attempt_start(x, &x->call.error) == OK ? EXCHANGE_AWAIT : EXCHANGE_FAIL;
}

static enum exchange_state step_COUNT(struct exchange *x)
{
    const struct request_limits limits = exchange_limits(x);
    struct call *call = &x->call;

    if (protocol_read_full(call->intake.protocol, &call->request, &limits, call->arena,
                           &call->error) != OK ||
        exchange_overflowed(x, &call->error))
        return EXCHANGE_FAIL;
    count_estimate(x, &x->station->out);
    exchange_send_out(x, 200, STR("application/json"));
    return EXCHANGE_SENT;
}

static enum exchange_state step_WRITE(struct exchange *x)
{
    if (large_busy(x->large))
        return EXCHANGE_WRITE;
    return attempt_written(x, &x->call.error) == OK ? EXCHANGE_AWAIT : EXCHANGE_FAIL;
}

/* Everything after the head is sent: the request is not needed any more. */
void exchange_commit(struct exchange *x, int status, struct str content_type, int64_t length)
{
    answer_head(x, status, content_type, length);
    x->committed = true;
    x->attempt.head = NULL;
    x->call.arena = NULL;
    x->call.request = (struct request){.stream = x->call.request.stream,
                                       .array = x->call.request.array};
    x->call.intake.forward_headers = STR_NULL;
    x->call.intake.query = STR_NULL;
    x->call.intake.rest = STR_NULL;
    x->call.intake.method = STR_NULL;
    x->call.intake.path = STR_NULL;
    x->call.intake.session_header = STR_NULL;
    x->call.intake.session_cookie = STR_NULL;
    x->call.intake.session_agent = STR_NULL;
    x->call.intake.session_previous = STR_NULL;
    x->origin = STR_NULL;
    x->body = NULL;
    if (x->attempt.streams && x->attempt.body.n > 0)
        server_body(x->client, buf_str(&x->attempt.body));
}

void exchange_writable(struct exchange *x)
{
    if (UNLIKELY(x->state == EXCHANGE_HAND))
        exchange_run(x);
    if (!x->attempt.paused)
        return;
    x->attempt.paused = false;
    if (x->state == EXCHANGE_RELAY || x->state == EXCHANGE_OPAQUE)
        exchange_enter(x, PHASE_STREAM);
    if (x->attempt.request != NULL)
        client_pause(x->attempt.request, false);
}

/* A beginning waits for more of the stream. After that the head goes down, also where the client's
 * protocol has no words for a beginning. */
static bool waits(struct exchange *x, bool nothing)
{
    const struct attempt *attempt = &x->attempt;

    if (attempt->beginnings > 0 && !attempt->said && !attempt->ended && attempt_hold(x))
        return true;
    return nothing && !attempt->waited;
}

static enum exchange_state step_PAUSE(struct exchange *x)
{
    return x->keys.paused ? EXCHANGE_PAUSE : EXCHANGE_PLAN;
}

enum exchange_state exchange_again(struct exchange *x)
{
    return keys_again(x) ? EXCHANGE_PLAN : EXCHANGE_PAUSE;
}

static enum exchange_state step_AWAIT(struct exchange *x)
{
    const struct attempt *attempt = &x->attempt;
    bool stream = attempt->streams && x->call.request.stream;
    bool nothing = x->station->out.n == 0 && attempt->body.n == 0;

    if (UNLIKELY(attempt->again))
        return exchange_again(x);
    /* What came before a failure goes down before it, also where one read had both. */
    if (attempt->failed && (!stream || !attempt->said || nothing))
        return EXCHANGE_FAIL;
    if (!attempt->streams)
        return attempt->ended ? EXCHANGE_WHOLE : EXCHANGE_AWAIT;
    if (!stream || (nothing && attempt->ended))
        return attempt->ended ? EXCHANGE_FINISH : EXCHANGE_AWAIT;
    if (waits(x, nothing))
        return EXCHANGE_AWAIT;
    exchange_commit(x, 200, relay_type(x), -1);
    metric_add(&x->station->metrics, METRIC_streams_total, attempt->backend->slot, 1);
    return EXCHANGE_RELAY;
}

void exchange_release(struct exchange *x)
{
    /* An answer in another protocol may repeat parts of the request: its encoder copies them. */
    if (UNLIKELY(x->large != NULL) && x->attempt.sent &&
        (exchange_is_same(x) || x->encoder != NULL))
        large_let_go(x->large, &x->call);
    if (x->state != EXCHANGE_RELAY || x->released || !x->attempt.sent)
        return;
    x->released = true;
    large_free(&x->large);
    server_arena_release(x->client);
}

static enum exchange_state step_RELAY(struct exchange *x)
{
    return relay_run(x);
}

static enum exchange_state step_FINISH(struct exchange *x)
{
    return relay_finish(x);
}

static enum exchange_state step_BREAK(struct exchange *x)
{
    return relay_break(x);
}

static enum exchange_state step_OPAQUE(struct exchange *x)
{
    return opaque_run(x);
}

static enum exchange_state step_EMBED(struct exchange *x)
{
    return embed_run(x);
}

static enum exchange_state step_WHOLE(struct exchange *x)
{
    return whole_came(x);
}

static enum exchange_state step_DIGEST(struct exchange *x)
{
    return whole_digested(x);
}

static enum exchange_state step_ENCODE(struct exchange *x)
{
    return whole_encoded(x);
}

static enum exchange_state step_HAND(struct exchange *x)
{
    return whole_hand(x);
}

static enum exchange_state step_FAIL(struct exchange *x)
{
    struct buf *out = &x->station->out;
    const struct error *e = &x->call.error;
    const struct protocol *protocol = x->call.intake.protocol;

    assert(e->code != OK && !x->committed);
    attempt_cancel(x);
    /* Whatever else it looked like (an answer that is too large, a head that cannot be kept): it is
     * neither the client's fault nor the upstream's. */
    if (UNLIKELY(exchange_is_starved(x)))
        exchange_fail_starved(x, &x->call.error);
    large_free(&x->large);
    large_free(&x->large_answer);
    exchange_reset_out(x->station);
    if (protocol == NULL)
        protocol = protocol_table[0];
    protocol->error_encode(e, str_of(x->id, ID_SIZE), false, out);
    metric_add(&x->station->metrics, METRIC_errors_total, (size_t)e->code, 1);
    if (!x->body_complete) /* what still comes of the body is of no use to anybody */
        server_close_after(x->client);
    exchange_send_out(x, answer_status(protocol, e), STR("application/json"));
    return EXCHANGE_SENT;
}

static enum exchange_state step_MODELS(struct exchange *x)
{
    struct buf *out = &x->station->out;

    if (!models_ready(x->branch->models, x))
        return EXCHANGE_MODELS;
    if (models_answer(x->branch->models, x, out, &x->call.error) != OK)
        return EXCHANGE_FAIL;
    exchange_send_out(x, 200, STR("application/json"));
    return EXCHANGE_SENT;
}

static enum exchange_state step_ASK(struct exchange *x)
{
    struct stored_answer answer;

    switch (stored_ask_run(x, &x->station->out, &answer, &x->call.error)) {
    case STORED_ASK_WAIT:
        return EXCHANGE_ASK;
    case STORED_ASK_FAILED:
        return EXCHANGE_FAIL;
    case STORED_ASK_DONE:
        break;
    }
    bool large = answer.stays && answer.body.n > LARGE_BYTES;
    if (LIKELY(!large && !answer.streams))
        return whole_send(x, answer.status, answer.content_type, answer.body);
    exchange_commit(x, answer.status, answer.content_type,
                    answer.streams ? -1 : (int64_t)answer.body.n);
    if (!large) {
        server_body(x->client, answer.body);
        server_end(x->client);
        (void)server_flush(x->client);
        exchange_reset_out(x->station);
        return EXCHANGE_SENT;
    }
    x->whole = answer.body;
    return EXCHANGE_HAND;
}

static enum exchange_state step_SENT(struct exchange *x)
{
    keys_over(x);
    attempt_cancel(x);
    return EXCHANGE_SENT;
}

static enum exchange_state step_OVER(struct exchange *x)
{
    (void)x;
    return EXCHANGE_OVER;
}

/* --- frames on their way to the client --- */

void exchange_fail(struct exchange *x)
{
    assert(x->call.error.code != OK);
    assert(x->state == EXCHANGE_BODY || (x->state == EXCHANGE_OPAQUE && !x->committed));
    exchange_run(x);
}
