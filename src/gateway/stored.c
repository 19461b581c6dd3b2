/* SPDX-License-Identifier: MIT */
/*
 * What      Kept responses in the life of an exchange: what stands before its request, where it
 *           has to go, and what is kept of its answer.
 * How       Two kinds of answers are remembered. Those that we translated are ours alone: they are
 *           kept whole, and a request that goes on from one gets the items of the whole chain
 *           before its own, so that any backend can answer it. Those of a backend that speaks
 *           Responses are kept there: we remember which one it was, and send what goes on from
 *           them to it.
 *               stored_expand   remembers the request's own input (it is gone when the answer
 *                               comes); where it, or what stands before it, is large, in a job
 *               stored_frame    the id, of the second kind
 *               stored_bytes    the response object, of the first: of a stream its last event
 *               stored_end      keeps it
 * Owns      x->stored: what is remembered until the end. Bodies that it makes are the exchange's.
 * Not here  Requests for kept responses (stored_ask), what a body is put together of
 *           (stored_chain), the store.
 */
#include "gateway/stored.h"

#include <xxhash.h>

#include "base/mem.h"
#include "gateway/detour.h"
#include "gateway/plan.h"
#include "gateway/stored_chain.h"
#include "gateway/stored_priv.h"
#include "pipeline/session_key.h"
#include "text/json.h"
#include "text/json_edit.h"
#include "text/json_index.h"

enum {
    KEPT_ROOM = 64 * 1024,
    JOB_WORK = 4 /* times body_bytes_max: what a job looks at for one request */
};

struct stored {
    struct str owner;
    struct str previous; /* that the request named; null: none */
    struct str pinned;   /* the backend that has it; null: any will do */
    struct str input;    /* the request's own items, as an array; null: not kept here */
    struct str id;       /* of an answer that its backend keeps; null: not known */
    struct str response; /* of a stream's last event; null: it has not come */
    struct str whole;    /* lent from stored_bytes to stored_end */
    struct str key;      /* the name of its key there; null: any */
    struct str session;  /* that made the previous response; null: not known */
    bool detour;         /* previous is not what the client said: that was an answer of ours */
    bool same;           /* the backend that the request names speaks Responses */
    bool expanded;       /* the body was made anew */
    bool wanted;         /* the client did not say store: false */
    bool keeps;          /* the encoder was told that it will be kept */
    bool running;        /* a job has all of this but `left` */
    bool left;           /* the exchange is over: what the job leaves goes with it */
    struct json_index index;
    struct stored_chain chain;
    struct arena arena;
};

/* --- whose --- */

static bool is_responses(const struct protocol *protocol)
{
    return protocol != NULL && strcmp(protocol->name, "openai-responses") == 0;
}

/* Not the key's name: another configuration may give that to somebody else. */
struct str stored_owner(const struct exchange *x, struct arena *arena)
{
    const struct client_key *client = x->call.intake.client;

    if (client == NULL) /* authentication is off: all are one */
        return STR("");
    struct str key = secret_reveal(&client->key);
    XXH128_hash_t hash = XXH3_128bits_withSeed(key.p, key.n, x->station->gateway->owner_seed);
    return str_copy(arena, str_of((const char *)&hash, sizeof(hash)));
}

int64_t stored_now_s(const struct exchange *x)
{
    return loop_now_ms(x->station->loop) / 1000;
}

bool stored_get(struct exchange *x, struct str owner, struct str id, struct arena *arena,
                struct reply *ret_reply)
{
    return replies_get(x->station->gateway->replies, owner, id, stored_now_s(x), arena,
                       ret_reply) &&
           !str_is_null(ret_reply->backend); /* else it is an item's */
}

/* --- on the way up --- */

static struct str member_of(const struct request *request, struct str key)
{
    const struct json_member *member = json_index_find(&request->index, key);

    return member == NULL || str_eq(member->value, STR("null")) ? STR_NULL : member->value;
}

/* Whether the backend that the model names speaks Responses. */
static bool stays_responses(const struct exchange *x)
{
    struct backend *backend = NULL;
    struct str model;
    bool prefixed;
    struct error ignored;

    return backend_resolve(x->call.backends, x->call.request.model, &backend, &model, &prefixed,
                           &ignored) == OK &&
           backend_speaks(backend, x->call.intake.protocol);
}

static struct stored *stored_new(struct exchange *x)
{
    struct stored *stored = mem_new(sizeof(*stored));
    const struct request *request = &x->call.request;
    size_t cap = 2 * x->call.config->body_bytes_max + x->call.config->response_bytes_max;

    arena_init(&stored->arena, cap + KEPT_ROOM, 1024, &x->station->gateway->inflight);
    stored->owner = stored_owner(x, &stored->arena);
    stored->previous = str_copy(&stored->arena, request->previous);
    stored->wanted = x->call.intake.operation == OP_GENERATE &&
                     !str_eq(member_of(request, STR("store")), STR("false"));
    return stored;
}

static void destroy(struct stored *stored)
{
    arena_fini(&stored->arena);
    mem_free(stored);
}

/* planned: the stages have been there, and the body stays. */
static void begin_chain(struct exchange *x, bool planned, size_t work_max)
{
    struct stored *stored = x->stored;
    const struct config *config = x->call.config;

    stored->index = x->call.request.index;
    stored->chain = (struct stored_chain){
        .replies = x->station->gateway->replies,
        .owner = stored->owner,
        .previous = planned ? STR_NULL : stored->previous,
        .stays = planned,
        .now_s = stored_now_s(x),
        .index = &stored->index,
        .same = stored->same,
        .keeps = stored->wanted,
        .bytes_max = config->body_bytes_max,
        .fits_max = config->inflight_bytes_max,
        .work_max = work_max,
        .budget = &x->station->gateway->inflight,
    };
}

static enum error_code no_memory(size_t inflight_bytes_max, struct error *e)
{
    return FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max (%zu)",
                inflight_bytes_max);
}

/* What is remembered of it until the answer is complete. */
static enum error_code remember(struct stored *stored, struct error *e)
{
    const struct stored_chain *chain = &stored->chain;

    stored->pinned = str_copy(&stored->arena, chain->pinned);
    stored->key = str_copy(&stored->arena, chain->key);
    if (!str_is_null(chain->session))
        stored->session = str_copy(&stored->arena, chain->session);
    stored->expanded = chain->anew;
    if (arena_overflowed(&stored->arena)) /* else it would be sought elsewhere, and not be there */
        return no_memory(chain->fits_max, e);
    if (!chain->keeps)
        return OK;
    char *to = arena_alloc(&stored->arena, chain->own.bytes + 2);
    if (arena_overflowed(&stored->arena)) /* not for want of a copy is it refused */
        return OK;
    to[0] = '[';
    *stored_items_write(&chain->own, to + 1) = ']';
    stored->input = str_of(to, chain->own.bytes + 2);
    return OK;
}

/* In a thread. */
static enum error_code make_there(struct stored *stored, struct buf *to, struct error *e)
{
    struct stored_chain *chain = &stored->chain;

    TRY(stored_chain_read(chain, e));
    if (chain->too_much)
        return FAIL(e, ERR_TOO_LARGE,
                    "with the responses before it, and what it refers to, the request is larger "
                    "than body_bytes_max (%zu)",
                    chain->bytes_max);
    TRY(remember(stored, e));
    if (!chain->anew)
        return OK;
    to->size_max = chain->parts.bytes; /* and no more is taken */
    char *body = buf_reserve(to, chain->parts.bytes);
    if (body == NULL)
        return no_memory(chain->fits_max, e);
    stored_chain_write(chain, body);
    buf_added(to, chain->parts.bytes);
    return OK;
}

static enum error_code on_make(void *ctx, struct buf *to, struct error *e)
{
    struct stored *stored = ctx;
    enum error_code code = make_there(stored, to, e);

    stored_chain_end(&stored->chain);
    return code;
}

/* In the loop, whether it was done or not. */
static void on_made(void *ctx)
{
    struct stored *stored = ctx;

    stored->running = false;
    if (stored->left)
        destroy(stored);
}

static enum stored_step start_job(struct exchange *x, bool planned)
{
    size_t bytes_max = x->call.config->body_bytes_max;

    begin_chain(x, planned, JOB_WORK * bytes_max);
    x->stored->running = true;
    if (x->large == NULL)
        x->large = large_new(x->branch, exchange_wake, x);
    large_make(x->large, &(struct large_maker){on_make, on_made, x->stored}, bytes_max);
    return STORED_WAIT;
}

/* The body becomes the pieces, put together. They may lie in the old one. */
static enum error_code take_body(struct exchange *x, struct error *e)
{
    const struct stored_chain *chain = &x->stored->chain;
    char *to = arena_alloc(x->call.arena, chain->parts.bytes);

    if (exchange_overflowed(x, e))
        return e->code;
    stored_chain_write(chain, to);
    x->body = to;
    x->body_n = chain->parts.bytes;
    large_free(&x->large);
    return OK;
}

/* --- answers of the proxy itself --- */

static struct detour_ask detour_ask_of(const struct exchange *x, struct str session)
{
    return (struct detour_ask){
        .scope = &x->call.intake.scope,
        .session = session,
        .now_s = stored_now_s(x),
        .ttl_s = (x->call.config->responses_store_ttl_ms + 999) / 1000,
    };
}

/* The client goes on from one: from where the conversation was before. */
static enum error_code take_detour(struct exchange *x, struct error *e)
{
    struct stored *stored = x->stored;
    struct session_key_room room;
    struct str named = session_key_given(&x->call.intake, &x->call.request, &room);
    const struct detour_ask ask = detour_ask_of(x, named);
    struct detour detour;

    assert(str_is_null(x->call.intake.session_previous));
    switch (detour_find(x->station->gateway->detours, &ask, x->call.arena, &detour)) {
    case DETOUR_ONE:
        break;
    case DETOUR_NONE:
        return FAIL(e, ERR_UNKNOWN_RESPONSE, "no response with the id %.*s is kept%s%.*s",
                    STR_ARG(detour_id), str_is_null(ask.session) ? "" : " for the session ",
                    STR_ARG(ask.session));
    case DETOUR_MANY:
        return FAIL(e, ERR_UNKNOWN_RESPONSE,
                    "the proxy answered commands of several sessions with the id %.*s; send the "
                    "x-session-id of the one that goes on",
                    STR_ARG(detour_id));
    }
    stored->detour = true;
    stored->previous = str_copy(&stored->arena, detour.previous);
    stored->session = str_copy(&stored->arena, detour.session);
    if (arena_overflowed(&stored->arena))
        return no_memory(x->call.config->inflight_bytes_max, e);
    return OK;
}

/* What the request goes on from is known: stages, and who gets the body as it is, are told. */
static enum stored_step go_on(struct exchange *x)
{
    struct stored *stored = x->stored;
    struct request *request = &x->call.request;
    const struct json_member *member;

    x->call.intake.session_previous = stored->session;
    if (LIKELY(!stored->detour) || stored->expanded)
        return STORED_DONE;
    member = json_index_find(&request->index, STR("previous_response_id"));
    assert(member != NULL);
    if (str_is_null(stored->previous))
        json_edit_remove(&request->edits, x->call.arena, &request->index, member);
    else
        json_edit_value(&request->edits, x->call.arena, &request->index, member,
                        json_quote(stored->previous, x->call.arena));
    request->previous = stored->previous;
    stored->detour = false; /* once */
    return STORED_DONE;
}

/* As much as takes no time. */
static enum stored_step make_here(struct exchange *x, struct error *e)
{
    struct stored_chain *chain = &x->stored->chain;

    begin_chain(x, false, LARGE_BYTES);
    if (stored_chain_read(chain, e) != OK)
        return STORED_FAILED;
    if (chain->too_much)
        return STORED_WAIT;
    if (remember(x->stored, e) != OK)
        return STORED_FAILED;
    if (!chain->anew)
        return go_on(x);
    return take_body(x, e) == OK ? STORED_AGAIN : STORED_FAILED;
}

enum stored_step stored_expand(struct exchange *x, struct error *e)
{
    if (!is_responses(x->call.intake.protocol))
        return STORED_DONE;
    if (x->stored != NULL) { /* it was done, and the request says again what it said */
        x->call.request.previous = x->stored->previous;
        x->call.intake.session_previous = x->stored->session;
        return STORED_DONE;
    }
    x->stored = stored_new(x);
    if (arena_overflowed(&x->stored->arena)) { /* whose it is, is not known */
        (void)no_memory(x->call.config->inflight_bytes_max, e);
        return STORED_FAILED;
    }
    if (UNLIKELY(str_eq(x->stored->previous, detour_id)) && take_detour(x, e) != OK)
        return STORED_FAILED;
    x->stored->same = stays_responses(x);
    if (x->stored->same && str_is_null(x->stored->previous)) {
        if (x->stored->wanted || x->stored->detour)
            return go_on(x);
        stored_free(&x->stored);
        return STORED_DONE;
    }
    if (x->body_n > LARGE_BYTES)
        return start_job(x, false);
    enum stored_step step = make_here(x, e);
    stored_chain_end(&x->stored->chain);
    return step == STORED_WAIT ? start_job(x, false) : step;
}

enum stored_step stored_expanded(struct exchange *x, struct error *e)
{
    if (large_busy(x->large))
        return STORED_WAIT;
    if (large_take_made(x->large, e) != OK)
        return STORED_FAILED;
    if (!x->stored->expanded) {
        if (x->body_n <= LARGE_BYTES)
            large_free(&x->large);
        return go_on(x);
    }
    x->body = NULL;
    x->body_n = large_body(x->large).n;
    return STORED_AGAIN;
}

/* The user said where it goes, in the session. */
static bool is_steered(const struct exchange *x)
{
    const struct settings *settings = x->call.settings;

    return settings != NULL && (!str_is_null(settings->backend) || !str_is_null(settings->model) ||
                                !str_is_null(settings->oneoff));
}

enum stored_step stored_planned(struct exchange *x, struct error *e)
{
    struct stored *stored = x->stored;
    const struct plan_element *element = &x->call.plan.elements[0];

    if (LIKELY(stored == NULL) || !stored->same || !stored->wanted || !str_is_null(stored->input) ||
        !str_is_null(stored->pinned) || backend_speaks(element->backend, x->call.intake.protocol))
        return STORED_DONE;
    stored->same = false;
    if (x->body_n > LARGE_BYTES)
        return start_job(x, true);
    begin_chain(x, true, LARGE_BYTES);
    enum error_code code = stored_chain_read(&stored->chain, e);
    if (code == OK && !stored->chain.too_much)
        code = remember(stored, e);
    stored_chain_end(&stored->chain);
    return code == OK ? STORED_DONE : STORED_FAILED;
}

enum error_code stored_pin(struct exchange *x, struct error *e)
{
    struct plan_element *element = x->call.element;
    struct str name = x->stored == NULL ? STR_NULL : x->stored->pinned;

    if (str_is_null(name))
        return OK;
    struct backend *maker = backend_find(x->call.backends, name);
    if (maker == NULL || !maker->functional || !backend_speaks(maker, x->call.intake.protocol))
        return FAIL(e, ERR_UNKNOWN_RESPONSE, "%.*s is kept by backend %.*s, which is not there",
                    STR_ARG(str_head(x->stored->previous, 80)), STR_ARG(str_head(name, 40)));
    if (element->backend == maker) {
        /* At another URL (openai-url) it has other keys, or none. */
        keys_fix(x, plan_key_named(x->attempt.backend, x->stored->key));
        return OK;
    }
    if ((!str_is_null(element->model) && !str_is_null(x->call.request.model)) || is_steered(x))
        return FAIL(e, ERR_UNKNOWN_RESPONSE, "only backend %.*s has %.*s",
                    STR_ARG(str_head(name, 40)), STR_ARG(str_head(x->stored->previous, 80)));
    element->backend = maker;
    element->model = STR_NULL;
    x->attempt.backend = maker;
    keys_fix(x, plan_key_named(maker, x->stored->key));
    x->attempt.protocol = x->call.intake.protocol;
    return OK;
}

/* --- on the way down --- */

static void put(struct exchange *x, const struct reply *reply)
{
    replies_put(x->station->gateway->replies, x->stored->owner, reply, stored_now_s(x));
}

/* The answer comes from one that speaks Responses, and keeps it itself. */
static bool kept_there(const struct exchange *x)
{
    return x->attempt.backend != NULL && is_responses(x->attempt.protocol);
}

bool stored_keeps(struct exchange *x)
{
    struct stored *stored = x->stored;

    if (stored == NULL || !stored->wanted)
        return false;
    stored->keeps = x->attempt.backend != NULL && !kept_there(x) && !str_is_null(stored->input) &&
                    x->call.config->responses_store_max_bytes > 0;
    return stored->keeps;
}

void stored_frame(struct exchange *x, const struct frame *frame)
{
    struct stored *stored = x->stored;

    if (LIKELY(stored == NULL) || !stored->wanted || !str_is_null(stored->id) || !kept_there(x))
        return;
    for (uint32_t i = 0; i < frame->n; i++) {
        const struct event *event = &frame->events[i];
        if (event->kind != EVENT_START || event->start.id.n == 0)
            continue;
        const struct backend_key *key = x->attempt.key;
        stored->id = str_copy(&stored->arena, event->start.id);
        /* At once: it can be asked for, and cancelled, while it is made. */
        if (!arena_overflowed(&stored->arena))
            put(x, &(struct reply){.id = stored->id,
                                   .previous = stored->previous,
                                   .backend = x->attempt.backend->name,
                                   .session = x->call.session_id,
                                   .key = key == NULL ? STR_NULL : key->name});
        return;
    }
}

/* The data of a stream's last event, if it is in these bytes; they end with the end of an event. */
static struct str last_event(struct str bytes)
{
    static const struct str names[] = {STR_INIT("event: response.completed\ndata: "),
                                       STR_INIT("event: response.incomplete\ndata: ")};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        size_t at = str_find(bytes, names[i], 0);
        if (at == SIZE_MAX || (at > 0 && bytes.p[at - 1] != '\n'))
            continue;
        struct str data = str_from(bytes, at + names[i].n);
        return str_head(data, str_find_char(data, '\n', 0));
    }
    return STR_NULL;
}

void stored_bytes(struct exchange *x, struct str bytes)
{
    struct stored *stored = x->stored;

    if (LIKELY(stored == NULL) || !stored->keeps || bytes.n == 0)
        return;
    if (!x->call.request.stream)
        stored->whole = bytes;
    else if (str_is_null(stored->response))
        stored->response = str_copy(&stored->arena,
                                    json_object_find(last_event(bytes), STR("response")));
}

/* So that item_reference finds it. */
static void put_items(struct exchange *x, struct str output, struct str response_id)
{
    char key_text[STORED_ITEM_KEY_MAX];
    size_t cursor = 0;
    struct str item;

    while (json_array_next(output, &cursor, &item)) {
        struct str key = stored_chain_item_key(stored_items_id(item), key_text);
        if (!str_is_null(key))
            put(x, &(struct reply){.id = key, .previous = response_id});
    }
}

void stored_end(struct exchange *x)
{
    struct stored *stored = x->stored;

    if (LIKELY(stored == NULL) || arena_overflowed(&stored->arena))
        return;
    if (UNLIKELY(x->call.answered) && stored->wanted && !str_is_null(x->call.session_id)) {
        const struct detour_ask ask = detour_ask_of(x, x->call.session_id);
        detour_put(x->station->gateway->detours, &ask, stored->previous);
        return;
    }
    if (!stored->keeps)
        return;
    struct str response = x->call.request.stream ? stored->response : stored->whole;
    struct str status = json_object_find(response, STR("status"));
    struct str id = stored_items_id(response);
    struct str output = json_object_find(response, STR("output"));
    bool good = str_eq(status, STR("\"completed\"")) || str_eq(status, STR("\"incomplete\""));

    stored->keeps = false; /* once */
    if (!good || id.n == 0 || str_is_null(output))
        return;
    put(x, &(struct reply){.id = id,
                           .previous = stored->previous,
                           .backend = x->attempt.backend->name,
                           .session = x->call.session_id,
                           .response = response,
                           .input = stored->input,
                           .output = output});
    put_items(x, output, id);
}

void stored_free(struct stored **stored_ptr)
{
    struct stored *stored = *stored_ptr;

    *stored_ptr = NULL;
    if (stored == NULL)
        return;
    stored->left = true;
    if (!stored->running)
        destroy(stored);
}
