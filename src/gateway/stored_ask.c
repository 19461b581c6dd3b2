/* SPDX-License-Identifier: MIT */
/*
 * What      Answers what is asked of kept responses.
 * How       id ─► the store ─► kept whole: answered here
 *                          ─► its backend has it: the request goes there as it came, and its
 *                             answer comes down as it is, whole
 *                          ─► nobody's: 404
 *           What is no kept response's matter (compact, conversations) goes to the backend that the
 *           body's model names, else the default one, if it speaks Responses.
 * Owns      x->ask: the request to the backend, and the body of its answer.
 * Not here  Keeping responses (stored.c), the JSON of lists (stored_items.c).
 */
#include "gateway/stored_ask.h"

#include "base/mem.h"
#include "gateway/attempt.h"
#include "gateway/plan.h"
#include "gateway/stored_items.h"
#include "gateway/stored_priv.h"
#include "gateway/upstream_head.h"
#include "text/json.h"
#include "text/json_index.h"

#define STORED_ASK_MAGIC 0x57a5c0deu

enum {
    LIST_LIMIT = 20,
    LIST_LIMIT_MAX = 100,
    STATE_ARENA = 64 * 1024,
    MADE_PER_BYTE = 6 /* a stream says its texts five times */
};

struct stored_ask {
    uint32_t magic;
    struct exchange *x;
    struct reply *reply;           /* what is asked for; NULL: nothing that is kept, or done with */
    size_t counted;                /* bytes of it that are counted as in flight */
    struct stored_items_page page; /* of its input */
    int64_t after;                 /* of its stream: the number after which it is told */
    bool streams;                  /* it is told as a stream */
    bool made;                     /* in a job, which has made the answer */
    struct client_request *request; /* NULL: over */
    struct backend *backend;
    size_t key; /* on its ring */
    bool keyed; /* that runs with it */
    int64_t sent_us;
    struct keyring_result result; /* what its answer's head means for the key */
    int status;
    bool ended;
    struct error error; /* OK: none */
    struct str content_type;
    struct buf body;
    struct arena arena; /* the upstream's head */
};

static struct stored_ask *ask_of(void *ctx)
{
    struct stored_ask *ask;

    CAST(ask, ctx, STORED_ASK_MAGIC);
    return ask;
}

static struct stored_ask *ask_new(struct exchange *x)
{
    struct stored_ask *ask = mem_new(sizeof(*ask));

    ask->magic = STORED_ASK_MAGIC;
    ask->x = x;
    buf_init(&ask->body, x->call.config->response_bytes_max);
    buf_set_budget(&ask->body, &x->station->gateway->inflight);
    arena_init(&ask->arena, x->call.config->header_bytes_max + STATE_ARENA, 1024, NULL);
    return ask;
}

/* Where the request goes. */
struct target {
    struct backend *backend; /* NULL: nowhere, it was answered */
    const struct backend_key *key;
    const struct str *body; /* pieces */
    size_t body_n;
    struct stored_answer answer; /* where it goes nowhere */
    bool waits;                  /* it is being made, in a job */
};

bool stored_ask_serves(enum operation operation)
{
    switch (operation) {
    case OP_REPLY_GET:
    case OP_REPLY_DELETE:
    case OP_REPLY_INPUT:
    case OP_REPLY_CANCEL:
    case OP_COMPACT:
    case OP_CONVERSATIONS:
        return true;
    case OP_GENERATE:
    case OP_COUNT_TOKENS:
    case OP_MODELS:
    case OP_MODEL:
    case OP_OPAQUE:
    case OP_COUNT:
        return false;
    }
    BUG("no such operation");
}

/* --- the query --- */

/* The parameter's value, decoded; null without it. */
static struct str parameter(const struct exchange *x, struct str name)
{
    struct str rest = x->call.intake.query;
    struct str key;
    struct str value;

    while (url_query_next(&rest, &key, &value)) {
        if (str_eq(url_decode(key, true, x->call.arena), name))
            return str_is_null(value) ? STR("") : url_decode(value, true, x->call.arena);
    }
    return STR_NULL;
}

static enum error_code read_page(const struct exchange *x, struct stored_items_page *page,
                                 struct error *e)
{
    struct str order = parameter(x, STR("order"));
    struct str limit = parameter(x, STR("limit"));
    int64_t n = LIST_LIMIT;

    if (!str_is_null(order) && !str_eq(order, STR("asc")) && !str_eq(order, STR("desc")))
        return FAIL(e, ERR_BAD_REQUEST, "order is neither asc nor desc");
    if (!str_is_null(limit) && (!str_to_int64(limit, &n) || n < 1 || n > LIST_LIMIT_MAX))
        return FAIL(e, ERR_BAD_REQUEST, "limit is not a number from 1 to %d", LIST_LIMIT_MAX);
    *page = (struct stored_items_page){
        .ascending = str_eq(order, STR("asc")),
        .limit = (size_t)n,
        .after = str_copy(&x->ask->arena, parameter(x, STR("after"))),
    };
    return OK;
}

/* --- what is kept here --- */

static bool asks_stream(const struct exchange *x)
{
    return x->call.intake.operation == OP_REPLY_GET &&
           str_eq(parameter(x, STR("stream")), STR("true"));
}

static enum error_code read_stream(struct exchange *x, struct error *e)
{
    struct stored_ask *ask = x->ask;
    struct str after = parameter(x, STR("starting_after"));

    ask->after = -1;
    ask->streams = asks_stream(x);
    if (!str_is_null(after) && (!str_to_int64(after, &ask->after) || ask->after < 0))
        return FAIL(e, ERR_BAD_REQUEST, "starting_after is no number of an event");
    if (!str_is_null(after) && !ask->streams)
        return FAIL(e, ERR_BAD_REQUEST, "starting_after is for streams (stream=true)");
    return OK;
}

static enum error_code answer_delete(struct exchange *x, struct str owner,
                                     const struct reply *reply, struct buf *out)
{
    (void)replies_delete(x->station->gateway->replies, owner, reply->id);
    (void)buf_add(out, STR("{\"id\":"));
    (void)json_add_string(out, reply->id);
    (void)buf_add(out, STR(",\"object\":\"response\",\"deleted\":true}"));
    return OK;
}

/* Goes out as it is, as slowly as the client takes it: meanwhile it may leave the store, which then
 * does not count it any more. */
static enum error_code answer_whole(struct exchange *x, struct stored_answer *answer,
                                    struct error *e)
{
    struct str response = x->ask->reply->response;

    if (!arena_budget_take(&x->station->gateway->inflight, response.n)) {
        exchange_fail_starved(x, e);
        return e->code;
    }
    x->ask->counted = response.n;
    answer->body = response;
    answer->stays = true;
    return OK;
}

/* What takes time with large ones, into *to. What it needs of the request is in ask. */
static enum error_code make(struct exchange *x, struct buf *to, struct error *e)
{
    struct stored_ask *ask = x->ask;
    const struct reply *reply = ask->reply;
    struct arena arena;
    bool found = true;

    arena_init(&arena, 4 * x->call.config->body_bytes_max, 4096, &x->station->gateway->inflight);
    if (ask->streams)
        x->call.intake.protocol->replay(reply->response, ask->after, &arena, to);
    else
        found = stored_items_list(reply->input, reply->id, &ask->page, &arena, to);
    bool starved = arena_over_budget(&arena) || to->starved;
    bool full = arena_overflowed(&arena) || !buf_ok(to);
    arena_fini(&arena);
    if (starved)
        exchange_fail_starved(x, e);
    else if (full)
        FAIL(e, ERR_UPSTREAM_TOO_LARGE, "the response is larger than response_bytes_max");
    else if (!found)
        FAIL(e, ERR_BAD_REQUEST, "after: no item has the id %.*s",
             STR_ARG(str_head(ask->page.after, 80)));
    return starved || full || !found ? e->code : OK;
}

static enum error_code on_make(void *ctx, struct buf *to, struct error *e)
{
    return make(ask_of(ctx)->x, to, e);
}

static void on_made(void *ctx)
{
    ask_of(ctx)->made = true;
}

/* In a thread where it is large. *ret_waits: so it is. */
static enum error_code answer_made(struct exchange *x, struct buf *out, bool *ret_waits,
                                   struct error *e)
{
    const struct reply *reply = x->ask->reply;
    size_t bytes_max = MADE_PER_BYTE * x->call.config->response_bytes_max;
    size_t bytes = x->ask->streams ? MADE_PER_BYTE * reply->response.n : reply->input.n;

    *ret_waits = bytes > LARGE_BYTES;
    if (!*ret_waits)
        return make(x, out, e);
    x->large_answer = large_new(x->branch, exchange_wake, x);
    large_make(x->large_answer, &(struct large_maker){on_make, on_made, x->ask}, bytes_max);
    return OK;
}

/* Fills *answer, or waits. */
static enum error_code answer(struct exchange *x, struct str owner, struct buf *out,
                              struct stored_answer *answer, bool *ret_waits, struct error *e)
{
    struct stored_ask *ask = x->ask;
    const struct reply *reply = ask->reply;
    const char *stream_type = x->call.intake.protocol->stream_content_type;

    switch (x->call.intake.operation) {
    case OP_REPLY_GET:
        TRY(read_stream(x, e));
        if (ask->streams) {
            answer->streams = true;
            answer->content_type = str_c(stream_type);
            return answer_made(x, out, ret_waits, e);
        }
        return answer_whole(x, answer, e);
    case OP_REPLY_DELETE:
        return answer_delete(x, owner, reply, out);
    case OP_REPLY_INPUT:
        TRY(read_page(x, &ask->page, e));
        return answer_made(x, out, ret_waits, e);
    case OP_REPLY_CANCEL:
        return FAIL(e, ERR_UNSUPPORTED_VALUE,
                    "cancel: %.*s is complete; only what is made in the "
                    "background can be cancelled",
                    STR_ARG(str_head(reply->id, 80)));
    case OP_GENERATE:
    case OP_COUNT_TOKENS:
    case OP_MODELS:
    case OP_MODEL:
    case OP_COMPACT:
    case OP_CONVERSATIONS:
    case OP_OPAQUE:
    case OP_COUNT:
        break;
    }
    BUG("not asked of a response");
}

/* --- whose it is --- */

/* Whether the path means at the backend what it means here: no segment that leads elsewhere,
 * nothing that another server decodes. It is sent with our key. */
static bool is_plain(struct str path)
{
    struct str rest = str_from(path, 1);
    struct str segment;

    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("/-_.:~", c) != NULL);
        if (!plain)
            return false;
    }
    while (str_cut(&rest, '/', &segment)) {
        if (segment.n == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
            return false;
    }
    return true;
}

static enum error_code speaks(const struct exchange *x, struct backend *backend,
                              struct target *target, struct error *e)
{
    struct str path = x->call.intake.path;

    if (!is_plain(path))
        return FAIL(e, ERR_NOT_FOUND, "%.*s", STR_ARG(str_head(path, 80)));
    if (backend == NULL)
        return FAIL(e, ERR_NO_BACKEND, "%.*s needs one", STR_ARG(str_head(path, 80)));
    if (!backend_speaks(backend, x->call.intake.protocol) || backend->local != NULL)
        return FAIL(e, ERR_UNSUPPORTED_VALUE, "%.*s: backend %.*s does not speak Responses",
                    STR_ARG(str_head(path, 80)), STR_ARG(str_head(backend->name, 40)));
    if (!backend->functional)
        return FAIL(e, ERR_NO_BACKEND, "%.*s has no key", STR_ARG(str_head(backend->name, 40)));
    target->backend = backend;
    target->key = plan_key(backend);
    return OK;
}

static enum error_code at_maker(const struct exchange *x, const struct reply *reply,
                                struct target *target, struct error *e)
{
    struct backend *maker = backend_find(x->call.backends, reply->backend);

    if (maker == NULL || !backend_speaks(maker, x->call.intake.protocol))
        return FAIL(e, ERR_NOT_FOUND, "%.*s is kept by backend %.*s, which is not there",
                    STR_ARG(str_head(reply->id, 80)), STR_ARG(str_head(reply->backend, 40)));
    TRY(speaks(x, maker, target, e));
    target->key = plan_key_named(maker, reply->key);
    return OK;
}

/* Until x->ask is done with it. NULL: there is no such response. */
static struct reply *hold(struct exchange *x, struct str owner, struct str id)
{
    struct reply *reply = replies_borrow(x->station->gateway->replies, owner, id, stored_now_s(x));

    if (reply != NULL && str_is_null(reply->backend)) /* an item's */
        replies_give_back(&reply);
    x->ask->reply = reply;
    return reply;
}

static enum error_code of_response(struct exchange *x, struct buf *out, struct target *target,
                                   struct error *e)
{
    struct str owner = stored_owner(x, x->call.arena);
    struct str id = x->call.intake.rest;
    struct reply *reply = hold(x, owner, id);

    if (reply == NULL) {
        /* Where it would not be known, either, that is said instead. Not asked there: it may be
         * another client's. */
        if (x->call.intake.operation == OP_REPLY_CANCEL)
            TRY(speaks(x, x->call.backends->preferred, target, e));
        return FAIL(e, ERR_NOT_FOUND, "no response with the id %.*s is kept",
                    STR_ARG(str_head(id, 80)));
    }
    if (str_is_null(reply->response))
        return at_maker(x, reply, target, e);
    target->answer = (struct stored_answer){.status = 200, .content_type = STR("application/json")};
    TRY(answer(x, owner, out, &target->answer, &target->waits, e));
    if (!target->answer.stays)
        target->answer.body = buf_str(out);
    return exchange_overflowed(x, e) ? e->code : OK;
}

/* The backend that the body names, and the body without its prefix. */
static enum error_code of_model(struct exchange *x, struct target *target, struct error *e)
{
    struct arena *arena = x->call.arena;
    size_t depth_max = (size_t)x->call.config->json_depth_max;
    struct json_edits edits = {.n = 0};
    struct json_index index;
    struct backend *backend = NULL;
    struct str name;
    bool prefixed = false;

    TRY(json_index_read(&index, body_text(x), depth_max, NULL, arena, e));
    const struct json_member *model = json_index_find(&index, STR("model"));
    const struct json_member *previous = json_index_find(&index, STR("previous_response_id"));
    struct str asked = STR_NULL;
    if (model != NULL && json_kind_of(model->value) == JSON_STRING)
        asked = json_string_value(model->value, arena);
    TRY(backend_resolve(x->call.backends, asked, &backend, &name, &prefixed, e));
    if (previous != NULL && json_kind_of(previous->value) == JSON_STRING) {
        struct str id = json_string_value(previous->value, arena);
        struct reply *reply = hold(x, stored_owner(x, arena), id);
        if (reply == NULL)
            return FAIL(e, ERR_UNKNOWN_RESPONSE, "no response with the id %.*s is kept",
                        STR_ARG(str_head(id, 80)));
        if (!str_is_null(reply->response))
            return FAIL(e, ERR_UNSUPPORTED_VALUE, "previous_response_id: %.*s is kept here only",
                        STR_ARG(str_head(id, 80)));
        TRY(at_maker(x, reply, target, e));
    } else {
        TRY(speaks(x, backend, target, e));
    }
    if (prefixed && !str_is_null(asked))
        json_edit_value(&edits, arena, &index, model, json_quote(name, arena));
    struct str *parts;
    size_t bytes;
    json_edit_apply(&edits, index.source, arena, &parts, &target->body_n, &bytes);
    target->body = parts;
    return exchange_overflowed(x, e) ? e->code : OK;
}

static enum error_code decide(struct exchange *x, struct buf *out, struct target *target,
                              struct error *e)
{
    struct str *body;

    *target = (struct target){.backend = NULL};
    switch (x->call.intake.operation) {
    case OP_COMPACT:
        return of_model(x, target, e);
    case OP_CONVERSATIONS:
        TRY(speaks(x, x->call.backends->preferred, target, e));
        break;
    case OP_REPLY_GET:
    case OP_REPLY_DELETE:
    case OP_REPLY_INPUT:
    case OP_REPLY_CANCEL:
        TRY(of_response(x, out, target, e));
        break;
    case OP_GENERATE:
    case OP_COUNT_TOKENS:
    case OP_MODELS:
    case OP_MODEL:
    case OP_OPAQUE:
    case OP_COUNT:
        BUG("not served here");
    }
    body = ARENA_NEW(x->call.arena, struct str);
    *body = body_text(x);
    target->body = body;
    target->body_n = body->n > 0 ? 1 : 0;
    return OK;
}

/* --- asking the backend --- */

/* What came of it counts for its key. Once. */
static void key_over(struct stored_ask *ask)
{
    if (!ask->keyed)
        return;
    ask->keyed = false;
    keyring_done(ask->backend->keyring, ask->key, &ask->result, loop_now_ms(ask->x->station->loop));
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct stored_ask *ask = ask_of(ctx);
    const struct loop *loop = ask->x->station->loop;
    struct str type = http_headers_get(&m->headers, STR("content-type"));

    (void)r;
    ask->status = m->status;
    ask->content_type = str_copy(&ask->arena, str_is_null(type) ? STR("application/json") : type);
    if (m->status >= 400)
        metric_add(&ask->x->station->metrics, METRIC_upstream_errors_total, ask->backend->slot, 1);
    ask->result = keys_result(m, loop_wall_ms(loop));
    if (ask->backend->config->keys_n == 0 && ask->result.outcome == KEYRING_LIMITED)
        ask->result.outcome = KEYRING_FAILED; /* it takes no key that could cool */
    ask->result.latency_us = loop_now_us(loop) - ask->sent_us;
    key_over(ask);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    (void)r;
    (void)buf_add(&ask_of(ctx)->body, bytes);
}

static void on_end(struct client_request *r, void *ctx)
{
    (void)r;
    ask_of(ctx)->request = NULL;
    ask_of(ctx)->ended = true;
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct stored_ask *ask = ask_of(ctx);

    (void)r;
    if (!buf_ok(&ask->body)) {
        client_cancel(&ask->request);
        FAIL(&ask->error, ERR_UPSTREAM_TOO_LARGE, "more than response_bytes_max from %.*s",
             STR_ARG(str_head(ask->backend->name, 40)));
        ask->ended = true;
    }
    if (ask->ended)
        exchange_run(ask->x);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct stored_ask *ask = ask_of(ctx);

    (void)r;
    ask->request = NULL;
    ask->ended = true;
    ask->error = *e;
    ask->result = (struct keyring_result){.outcome = KEYRING_FAILED,
                                          .latency_us = -1,
                                          .text = e->detail};
    key_over(ask);
    metric_add(&ask->x->station->metrics, METRIC_attempt_failures_total, ask->backend->slot, 1);
    exchange_run(ask->x);
}

static const struct client_events ask_events = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

/* "/responses/resp_1" of "/v1/responses/resp_1"; with the client's query. */
static struct str path_up(const struct exchange *x)
{
    static const struct str dropped[] = {{"key", 3}, {"api_key", 7}};
    struct str path = x->call.intake.path;
    size_t at = str_find_char(path, '/', 1);
    struct str query = STR_NULL;

    assert(at != SIZE_MAX);
    if (!str_is_null(x->call.intake.query))
        query = url_query_without(x->call.intake.query, dropped, COUNT_OF(dropped), x->call.arena);
    return str_print(x->call.arena, "%.*s%s%.*s", STR_ARG(str_from(path, at)),
                     query.n > 0 ? "?" : "", STR_ARG(query));
}

static enum error_code start(struct exchange *x, const struct target *target, struct error *e)
{
    struct stored_ask *ask = x->ask;
    struct client_pool *pool = NULL;

    ask->backend = target->backend;
    ask->key = target->key == NULL ? 0 : (size_t)(target->key - ask->backend->config->keys);
    int64_t wait_ms = keyring_wait_ms(ask->backend->keyring, ask->key,
                                      loop_now_ms(x->station->loop));
    if (wait_ms > 0)
        return keys_cool(ask->backend, false, wait_ms, e);
    struct wire wire = {.method = x->call.intake.method,
                        .path = path_up(x),
                        .body = target->body,
                        .body_n = target->body_n};
    for (size_t i = 0; i < wire.body_n; i++)
        wire.body_bytes += wire.body[i].n;
    if (wire.body_n > 0)
        wire.content_type = STR("application/json");
    struct str head = upstream_head_plain(x, ask->backend, target->key, &wire, asks_stream(x));
    if (exchange_overflowed(x, e))
        return e->code;
    if (str_is_null(head))
        return FAIL(e, ERR_TOO_LARGE, "its head does not fit into memory (header_bytes_max)");
    TRY(branch_pool(x->branch, ask->backend, &pool, e));
    metric_add(&x->station->metrics, METRIC_attempts_total, ask->backend->slot, 1);
    ask->sent_us = loop_now_us(x->station->loop);
    TRY(client_start(pool,
                     &(struct client_call){
                         .head = head,
                         .body = wire.body,
                         .body_n = wire.body_n,
                         .decoded_bytes_max = x->call.config->response_bytes_max,
                         .arena = &ask->arena,
                         .events = &ask_events,
                         .ctx = ask,
                     },
                     &ask->request, e));
    keyring_begin(ask->backend->keyring, ask->key);
    ask->result = (struct keyring_result){.outcome = KEYRING_UNKNOWN, .latency_us = -1};
    ask->keyed = true;
    return OK;
}

/* The backend has answered. */
static enum error_code take(struct exchange *x, struct stored_answer *ret_answer, struct error *e)
{
    struct stored_ask *ask = x->ask;
    bool gone = ask->status == 404 || (ask->status >= 200 && ask->status < 300);

    if (ask->error.code != OK)
        return FAIL(e, ask->error.code, "%.200s (backend %.*s)", ask->error.detail,
                    STR_ARG(str_head(ask->backend->name, 40)));
    if (ask->status == 401 || ask->status == 403)
        return FAIL(e, ERR_UPSTREAM_KEY, "backend %.*s refused its key",
                    STR_ARG(str_head(ask->backend->name, 40)));
    if (ask->status < 200 || (ask->status >= 300 && ask->status < 400))
        return FAIL(e, ERR_UPSTREAM_BROKEN, "status %d from %.*s", ask->status,
                    STR_ARG(str_head(ask->backend->name, 40)));
    if (x->call.intake.operation == OP_REPLY_DELETE && gone)
        (void)replies_delete(x->station->gateway->replies, stored_owner(x, x->call.arena),
                             x->call.intake.rest);
    *ret_answer = (struct stored_answer){
        .status = ask->status,
        .content_type = ask->content_type,
        .stays = ask->status < 400,
        .body = ask->status < 400
                    ? buf_str(&ask->body)
                    : plan_redact_keys(ask->backend, buf_str(&ask->body), x->call.arena),
    };
    return exchange_overflowed(x, e) ? e->code : OK;
}

/* What a job has made of what is kept here. */
static enum stored_ask_state take_made(struct exchange *x, struct stored_answer *ret_answer,
                                       struct error *e)
{
    struct stored_ask *ask = x->ask;

    replies_give_back(&ask->reply);
    if (large_take_made(x->large_answer, e) != OK)
        return STORED_ASK_FAILED;
    *ret_answer = (struct stored_answer){
        .status = 200,
        .content_type = ask->streams ? str_c(x->call.intake.protocol->stream_content_type)
                                     : STR("application/json"),
        .streams = ask->streams,
        .body = large_body(x->large_answer),
        .stays = true,
    };
    return STORED_ASK_DONE;
}

enum stored_ask_state stored_ask_run(struct exchange *x, struct buf *out,
                                     struct stored_answer *ret_answer, struct error *e)
{
    struct target target;

    assert(stored_ask_serves(x->call.intake.operation));
    if (large_busy(x->large_answer))
        return STORED_ASK_WAIT;
    if (x->ask != NULL && x->ask->made)
        return take_made(x, ret_answer, e);
    if (x->ask != NULL) {
        if (!x->ask->ended)
            return STORED_ASK_WAIT;
        return take(x, ret_answer, e) == OK ? STORED_ASK_DONE : STORED_ASK_FAILED;
    }
    x->ask = ask_new(x);
    enum error_code code = decide(x, out, &target, e);
    if (code == OK && target.waits)
        return STORED_ASK_WAIT;
    if (x->ask->counted == 0)
        replies_give_back(&x->ask->reply);
    if (code != OK)
        return STORED_ASK_FAILED;
    if (target.backend != NULL)
        return start(x, &target, e) == OK ? STORED_ASK_WAIT : STORED_ASK_FAILED;
    *ret_answer = target.answer;
    return STORED_ASK_DONE;
}

void stored_ask_free(struct stored_ask **ask_ptr)
{
    struct stored_ask *ask = *ask_ptr;

    *ask_ptr = NULL;
    if (ask == NULL)
        return;
    key_over(ask);
    client_cancel(&ask->request);
    replies_give_back(&ask->reply);
    arena_budget_give(&ask->x->station->gateway->inflight, ask->counted);
    buf_fini(&ask->body);
    arena_fini(&ask->arena);
    ask->magic = 0;
    mem_free(ask);
}
