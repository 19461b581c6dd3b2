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
 *                               comes)
 *               stored_frame    the id, of the second kind
 *               stored_bytes    the response object, of the first: of a stream its last event
 *               stored_end      keeps it
 * Owns      x->stored: what is remembered until the end. Bodies that it makes are the exchange's.
 * Not here  Requests for kept responses (stored_ask), their items' JSON (stored_items), the store.
 */
#include "gateway/stored.h"

#include <xxhash.h>

#include "base/mem.h"
#include "gateway/plan.h"
#include "gateway/stored_items.h"
#include "gateway/stored_priv.h"
#include "text/json_index.h"

enum { CHAIN_MAX = 1000, KEPT_ROOM = 64 * 1024, ITEM_KEY_MAX = 128 };

struct stored {
    struct str owner;
    struct str previous; /* that the request named; null: none */
    struct str pinned;   /* the backend that has it; null: any will do */
    struct str input;    /* the request's own items, as an array; null: not kept here */
    struct str id;       /* of an answer that its backend keeps; null: not known */
    struct str response; /* of a stream's last event; null: it has not come */
    struct str whole;    /* lent from stored_bytes to stored_end */
    bool expanded;       /* the body was made anew */
    bool wanted;         /* the client did not say store: false */
    bool keeps;          /* the encoder was told that it will be kept */
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
    return loop_now_us(x->station->loop) / 1000000;
}

bool stored_get(struct exchange *x, struct str owner, struct str id, struct arena *arena,
                struct reply *ret_reply)
{
    return replies_get(x->station->gateway->replies, owner, id, stored_now_s(x), arena,
                       ret_reply) &&
           !str_is_null(ret_reply->backend); /* else it is an item's */
}

/* Where an item is: kept in the same store, as a reply without a backend. */
static struct str item_key(struct str id, char to[ITEM_KEY_MAX])
{
    static const struct str what = STR_INIT("item ");

    id = str_head(id, ITEM_KEY_MAX - 8);
    memcpy(to, what.p, what.n);
    if (id.n > 0)
        memcpy(to + what.n, id.p, id.n);
    return str_of(to, what.n + id.n);
}

/* Null: nobody of that name, or its response has gone. */
static struct str find_item(struct exchange *x, struct str id, struct arena *arena)
{
    char key[ITEM_KEY_MAX];
    struct reply place;
    struct reply reply;
    struct str owner = x->stored->owner;

    if (!replies_get(x->station->gateway->replies, owner, item_key(id, key), stored_now_s(x), arena,
                     &place) ||
        !stored_get(x, owner, place.previous, arena, &reply))
        return STR_NULL;
    return stored_items_find(reply.output, id);
}

/* --- on the way up --- */

static struct str member_of(const struct request *request, struct str key)
{
    const struct json_member *member = json_index_find(&request->index, key);

    return member == NULL || str_eq(member->value, STR("null")) ? STR_NULL : member->value;
}

/* The request's own items, with those that they refer to in their place. lenient: what nobody here
 * knows stays as it is. */
static enum error_code add_own(struct exchange *x, bool lenient, struct arena *arena,
                               struct buf *out, struct error *e)
{
    struct str input = member_of(&x->call.request, STR("input"));
    size_t cursor = 0;
    struct str item;

    if (str_is_null(input))
        return OK;
    if (input.p[0] != '[') {
        if (!stored_items_of_input(input, out))
            return FAIL(e, ERR_BAD_REQUEST, "input is neither a string nor a list");
        return OK;
    }
    while (json_array_next(input, &cursor, &item)) {
        struct str id = stored_items_reference(item);
        struct str found = str_is_null(id) ? STR_NULL : find_item(x, id, arena);
        if (arena_overflowed(arena) || !buf_ok(out)) /* each reads a whole response */
            return FAIL(e, ERR_TOO_LARGE, "with what it refers to the request is too large");
        if (!str_is_null(id) && str_is_null(found) && !lenient)
            return FAIL(e, ERR_BAD_REQUEST, "item_reference: no item with the id %.*s is kept",
                        STR_ARG(str_head(id, 80)));
        stored_items_add_one(str_is_null(found) ? item : found, out);
    }
    return OK;
}

static bool has_reference(struct str input)
{
    size_t cursor = 0;
    struct str item;

    while (json_array_next(input, &cursor, &item)) {
        if (!str_is_null(stored_items_reference(item)))
            return true;
    }
    return false;
}

struct link {
    struct reply reply;
    struct link *next;
};

static enum error_code unknown(struct str id, struct error *e)
{
    return FAIL(e, ERR_UNKNOWN_RESPONSE, "no response with the id %.*s is kept",
                STR_ARG(str_head(id, 80)));
}

/* The chain that ends with the previous response, the oldest in front. NULL in *ret_chain: that
 * one is its backend's (stored->pinned). */
static enum error_code read_chain(struct exchange *x, struct arena *arena, struct link **ret_chain,
                                  struct error *e)
{
    struct stored *stored = x->stored;
    struct str id = stored->previous;
    struct link *chain = NULL;

    for (int n = 0; id.n > 0; n++) {
        struct link *link = ARENA_NEW(arena, struct link);
        if (n == CHAIN_MAX)
            return FAIL(e, ERR_BAD_REQUEST, "more than %d responses before this one", CHAIN_MAX);
        if (!stored_get(x, stored->owner, id, arena, &link->reply))
            return unknown(id, e);
        if (arena_overflowed(arena))
            return FAIL(e, ERR_TOO_LARGE, "with the responses before it the request is too large");
        if (str_is_null(link->reply.response)) {
            stored->pinned = str_copy(&stored->arena, link->reply.backend);
            break;
        }
        link->next = chain;
        chain = link;
        id = link->reply.previous;
    }
    if (chain != NULL && !str_is_null(stored->pinned))
        return unknown(stored->previous, e);
    *ret_chain = chain;
    return OK;
}

/* The body becomes the pieces, put together. They may lie in the old one. */
static enum error_code take_body(struct exchange *x, const struct str *parts, size_t n,
                                 size_t bytes, struct error *e)
{
    size_t bytes_max = x->call.config->body_bytes_max;
    struct large *large = NULL;
    char *to;

    if (bytes > bytes_max)
        return FAIL(e, ERR_TOO_LARGE,
                    "with the responses before it the request is larger than body_bytes_max (%zu)",
                    bytes_max);
    if (x->large != NULL || bytes > LARGE_BYTES) {
        large = large_new(x->branch, exchange_wake, x);
        to = large_room(large, 0, bytes, bytes);
    } else {
        to = arena_alloc(x->call.arena, bytes);
    }
    if (to == NULL) {
        large_free(&large);
        exchange_fail_starved(x, e);
        return e->code;
    }
    if (exchange_overflowed(x, e)) {
        large_free(&large);
        return e->code;
    }
    x->body = to;
    for (size_t i = 0; i < n; i++) {
        memcpy(to, parts[i].p, parts[i].n);
        to += parts[i].n;
    }
    x->body_n = bytes;
    if (large != NULL) {
        large_body_end(large, bytes);
        large_free(&x->large);
        x->large = large;
        x->body = NULL;
    }
    return OK;
}

/* The body with those items as its input, and without previous_response_id. */
static enum error_code write_body(struct exchange *x, struct str items, struct arena *arena,
                                  struct error *e)
{
    const struct json_index *index = &x->call.request.index;
    const struct json_member *input = json_index_find(index, STR("input"));
    const struct json_member *previous = json_index_find(index, STR("previous_response_id"));
    struct json_edits edits = {.n = 0};
    struct str *parts;
    size_t n;
    size_t bytes;

    if (input != NULL)
        json_edit_value(&edits, arena, index, input, items);
    else
        json_edit_add(&edits, arena, index, STR("input"), items);
    if (previous != NULL)
        json_edit_remove(&edits, arena, index, previous);
    json_edit_apply(&edits, index->source, arena, &parts, &n, &bytes);
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "with the responses before it the request is too large");
    return take_body(x, parts, n, bytes, e);
}

/* What a request is to become, while it is made. */
struct expansion {
    bool same; /* its backend speaks Responses */
    struct link *chain;
    struct arena arena;
    struct buf own;   /* its own items, as an array */
    struct buf items; /* all */
};

static enum error_code too_large(const struct exchange *x, struct error *e)
{
    return FAIL(e, ERR_TOO_LARGE,
                "with the responses before it the request is larger than body_bytes_max (%zu)",
                x->call.config->body_bytes_max);
}

/* The items of the chain, and its own. */
static enum error_code join(struct exchange *x, struct expansion *to, struct error *e)
{
    struct buf *items = &to->items;
    struct str own = buf_str(&to->own);

    (void)buf_add_char(items, '[');
    for (struct link *link = to->chain; link != NULL; link = link->next) {
        stored_items_add(link->reply.input, to->same, &to->arena, items);
        stored_items_add(link->reply.output, to->same, &to->arena, items);
    }
    stored_items_add(own, false, &to->arena, items);
    (void)buf_add_char(items, ']');
    if (!buf_ok(items) || !buf_ok(&to->own) || arena_overflowed(&to->arena))
        return too_large(x, e);
    return write_body(x, buf_str(items), &to->arena, e);
}

static enum error_code expand(struct exchange *x, struct expansion *to, struct error *e)
{
    struct stored *stored = x->stored;

    TRY(read_chain(x, &to->arena, &to->chain, e));
    bool refers = has_reference(member_of(&x->call.request, STR("input")));
    bool anew = to->chain != NULL || (refers && !to->same);
    bool keep = stored->wanted && !to->same && str_is_null(stored->pinned);
    if (!anew && !keep)
        return OK;
    (void)buf_add_char(&to->own, '[');
    TRY(add_own(x, to->same, &to->arena, &to->own, e));
    (void)buf_add_char(&to->own, ']');
    if (keep && buf_ok(&to->own))
        stored->input = str_copy(&stored->arena, buf_str(&to->own));
    if (arena_overflowed(&stored->arena)) /* not for want of a copy is it refused */
        stored->input = STR_NULL;
    if (!anew)
        return OK;
    TRY(join(x, to, e));
    stored->expanded = true;
    return OK;
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

enum error_code stored_expand(struct exchange *x, bool *ret_again, struct error *e)
{
    size_t bytes_max = x->call.config->body_bytes_max;
    struct arena_budget *budget = &x->station->gateway->inflight;
    struct expansion to = {.chain = NULL};

    *ret_again = false;
    if (!is_responses(x->call.intake.protocol))
        return OK;
    if (x->stored != NULL) { /* it was done, and the request says again what it said */
        x->call.request.previous = x->stored->previous;
        return OK;
    }
    x->stored = stored_new(x);
    to.same = stays_responses(x);
    if (to.same && str_is_null(x->stored->previous)) {
        if (!x->stored->wanted)
            stored_free(&x->stored);
        return OK;
    }
    arena_init(&to.arena, 4 * bytes_max, 4096, budget);
    buf_init(&to.own, bytes_max);
    buf_init(&to.items, bytes_max);
    buf_set_budget(&to.own, budget);
    buf_set_budget(&to.items, budget);
    enum error_code code = expand(x, &to, e);
    *ret_again = code == OK && x->stored->expanded;
    if (code == ERR_TOO_LARGE && (arena_over_budget(&to.arena)))
        exchange_fail_starved(x, e);
    buf_fini(&to.items);
    buf_fini(&to.own);
    arena_fini(&to.arena);
    return code == OK ? OK : e->code;
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
    if (element->backend == maker)
        return OK;
    if (!str_is_null(element->model) && !str_is_null(x->call.request.model))
        return FAIL(e, ERR_UNKNOWN_RESPONSE, "only backend %.*s has %.*s",
                    STR_ARG(str_head(name, 40)), STR_ARG(str_head(x->stored->previous, 80)));
    element->backend = maker;
    element->model = STR_NULL;
    x->attempt.backend = maker;
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
        const struct backend_key *key = plan_key(x->attempt.backend);
        stored->id = str_copy(&stored->arena, event->start.id);
        /* At once: it can be asked for, and cancelled, while it is made. */
        if (!arena_overflowed(&stored->arena))
            put(x, &(struct reply){.id = stored->id,
                                   .previous = stored->previous,
                                   .backend = x->attempt.backend->name,
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
    char key[ITEM_KEY_MAX];
    size_t cursor = 0;
    struct str item;

    while (json_array_next(output, &cursor, &item)) {
        struct str id = stored_items_id(item);
        if (id.n > 0 && id.n < ITEM_KEY_MAX - 8)
            put(x, &(struct reply){.id = item_key(id, key), .previous = response_id});
    }
}

void stored_end(struct exchange *x)
{
    struct stored *stored = x->stored;

    if (LIKELY(stored == NULL) || !stored->keeps || arena_overflowed(&stored->arena))
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
    arena_fini(&stored->arena);
    mem_free(stored);
}
