/* SPDX-License-Identifier: MIT */
/*
 * What      Puts together the body of a request that goes on from kept responses.
 * How       Nothing is copied before its size is known: responses are borrowed from the store, and
 *           the body is a list of pieces of them and of the old one. What can never be is so told
 *           from what there is no memory for just now.
 *               chain      from previous_response_id back to its first
 *               own        the request's items; of those that it refers to, they themselves
 *               parts      the old body with all of these as its input
 * Owns      The borrowed responses, the lists; until stored_chain_end.
 * Not here  Where it is done (stored.c: in the loop, or in a job), JSON of items (stored_items.c).
 */
#include "gateway/stored_chain.h"

#include "text/json_edit.h"

enum { CHAIN_MAX = 1000, REFERENCE_WORK = 256, WORK_PER_BODY_BYTE = 4 };

struct stored_borrowed {
    struct reply *reply;
    struct stored_borrowed *next;
};

/* --- the store --- */

/* The arena's memory: the lists only. */
static enum error_code no_room(const struct stored_chain *chain, struct error *e)
{
    if (arena_over_budget(&chain->arena))
        return FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max (%zu)",
                    chain->fits_max);
    return FAIL(e, ERR_TOO_LARGE, "with what it refers to the request is too large");
}

/* As long as the chain. NULL: not there, or there is no memory (arena_overflowed). */
static struct reply *borrow(struct stored_chain *chain, struct str id)
{
    struct stored_borrowed *held = ARENA_NEW(&chain->arena, struct stored_borrowed);

    if (arena_overflowed(&chain->arena))
        return NULL;
    held->reply = replies_borrow(chain->replies, chain->owner, id, chain->now_s);
    if (held->reply == NULL)
        return NULL;
    held->next = chain->borrowed;
    chain->borrowed = held;
    return held->reply;
}

/* A response, or where its backend has it; what is remembered of items is none. */
static struct reply *find_reply(struct stored_chain *chain, struct str id)
{
    struct reply *reply = borrow(chain, id);

    return reply == NULL || str_is_null(reply->backend) ? NULL : reply;
}

struct str stored_chain_item_key(struct str id, char to[STORED_ITEM_KEY_MAX])
{
    static const struct str what = STR_INIT("item ");

    if (id.n == 0 || id.n > STORED_ITEM_KEY_MAX - what.n)
        return STR_NULL;
    memcpy(to, what.p, what.n);
    memcpy(to + what.n, id.p, id.n);
    return str_of(to, what.n + id.n);
}

/* Whether that much more may be looked at. */
static bool may_work(struct stored_chain *chain, size_t bytes)
{
    chain->work += bytes;
    chain->too_much = chain->too_much || chain->work > chain->work_max;
    return !chain->too_much;
}

/* Null: nobody of that name, or its response has gone. */
static struct str find_item(struct stored_chain *chain, struct str id)
{
    char key_text[STORED_ITEM_KEY_MAX];
    struct str key = stored_chain_item_key(id, key_text);

    if (str_is_null(key) || !may_work(chain, REFERENCE_WORK))
        return STR_NULL;
    struct reply *place = replies_borrow(chain->replies, chain->owner, key, chain->now_s);
    if (place == NULL)
        return STR_NULL;
    struct reply *reply = find_reply(chain, place->previous);
    replies_give_back(&place);
    if (reply == NULL || !may_work(chain, reply->output.n))
        return STR_NULL;
    return stored_items_find(reply->output, id);
}

/* --- the request's own items --- */

static struct str member_of(const struct stored_chain *chain, struct str key)
{
    const struct json_member *member = json_index_find(chain->index, key);

    return member == NULL || str_eq(member->value, STR("null")) ? STR_NULL : member->value;
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

/* *ret_found: what the item stands for; null: it stays as it is. */
static enum error_code look_up(struct stored_chain *chain, struct str item, struct str *ret_found,
                               struct error *e)
{
    struct str id = stored_items_reference(item);

    *ret_found = STR_NULL;
    if (str_is_null(id))
        return OK;
    *ret_found = find_item(chain, id);
    if (chain->too_much)
        return OK;
    if (arena_overflowed(&chain->arena))
        return no_room(chain, e);
    if (str_is_null(*ret_found) && !chain->same)
        return FAIL(e, ERR_BAD_REQUEST, "item_reference: no item with the id %.*s is kept",
                    STR_ARG(str_head(id, 80)));
    return OK;
}

/* Those that they refer to in their place. */
static enum error_code add_referred(struct stored_chain *chain, struct str input,
                                    struct stored_parts *out, struct error *e)
{
    struct str run = STR_NULL; /* items that stay as they are, with the commas between */
    size_t cursor = 0;
    struct str item;
    struct str found;

    while (json_array_next(input, &cursor, &item)) {
        TRY(look_up(chain, item, &found, e));
        if (chain->too_much)
            return OK;
        if (str_is_null(found)) {
            const char *begin = str_is_null(run) ? item.p : run.p;
            run = str_of(begin, (size_t)(item.p + item.n - begin));
            continue;
        }
        stored_items_add_text(run, out);
        stored_items_add_text(found, out);
        run = STR_NULL;
    }
    stored_items_add_text(run, out);
    return OK;
}

/* As elements. */
static enum error_code add_own(struct stored_chain *chain, bool refers, struct stored_parts *out,
                               struct error *e)
{
    struct str input = member_of(chain, STR("input"));

    if (str_is_null(input))
        return OK;
    if (refers)
        return add_referred(chain, input, out, e);
    if (!stored_items_of_input(input, out))
        return FAIL(e, ERR_BAD_REQUEST, "input is neither a string nor a list");
    return OK;
}

/* --- those before it --- */

struct link {
    struct reply *reply;
    struct link *next;
};

static enum error_code unknown(struct str id, struct error *e)
{
    return FAIL(e, ERR_UNKNOWN_RESPONSE, "no response with the id %.*s is kept",
                STR_ARG(str_head(id, 80)));
}

/* The chain that ends with the previous response, the oldest in front. NULL in *ret_first: that
 * one is its backend's (chain->pinned). */
static enum error_code read_links(struct stored_chain *chain, struct link **ret_first,
                                  struct error *e)
{
    struct str id = chain->previous;
    struct link *first = NULL;

    for (int n = 0; id.n > 0; n++) {
        if (n == CHAIN_MAX)
            return FAIL(e, ERR_BAD_REQUEST, "more than %d responses before this one", CHAIN_MAX);
        struct link *link = ARENA_NEW(&chain->arena, struct link);
        struct reply *reply = find_reply(chain, id);
        if (arena_overflowed(&chain->arena))
            return no_room(chain, e);
        if (reply == NULL)
            return unknown(id, e);
        if (n == 0)
            chain->session = reply->session;
        if (str_is_null(reply->response)) {
            if (first != NULL) /* what is here goes on from what only a backend has */
                return unknown(chain->previous, e);
            chain->pinned = reply->backend;
            chain->key = reply->key;
            break;
        }
        *link = (struct link){.reply = reply, .next = first};
        first = link;
        id = reply->previous;
        if (!may_work(chain, reply->input.n + reply->output.n))
            break;
    }
    *ret_first = first;
    return OK;
}

/* --- the body --- */

/* Stands for the items until they are put there. */
static const char items_here[] = "[]";

static void edit_body(const struct stored_chain *chain, struct json_edits *edits,
                      struct arena *arena)
{
    const struct json_index *index = chain->index;
    const struct json_member *input = json_index_find(index, STR("input"));
    const struct json_member *previous = json_index_find(index, STR("previous_response_id"));
    const struct str items = str_of(items_here, 2);

    assert(input != NULL || previous != NULL);
    if (input == NULL) { /* in its place */
        json_edit_span(edits, arena, previous->begin, previous->end, items);
        return;
    }
    json_edit_value(edits, arena, index, input, items);
    if (previous != NULL)
        json_edit_remove(edits, arena, index, previous);
}

static void add_all(struct stored_chain *chain, const struct link *first)
{
    struct stored_parts *out = &chain->parts;

    if (json_index_find(chain->index, STR("input")) == NULL)
        stored_items_piece(out, STR("\"input\":"));
    stored_items_piece(out, STR("["));
    for (const struct link *link = first; link != NULL; link = link->next) {
        stored_items_add(link->reply->input, chain->same, out);
        stored_items_add(link->reply->output, chain->same, out);
    }
    if (chain->own.n > 0)
        stored_items_add_text(chain->own.items[0], out);
    for (size_t i = 1; i < chain->own.n; i++)
        stored_items_piece(out, chain->own.items[i]);
    stored_items_piece(out, STR("]"));
}

/* The body with those items as its input, and without previous_response_id. */
static enum error_code put_together(struct stored_chain *chain, const struct link *first,
                                    struct error *e)
{
    struct arena *arena = &chain->arena;
    struct json_edits edits = {.n = 0};
    struct str *pieces;
    size_t n;
    size_t bytes;

    edit_body(chain, &edits, arena);
    json_edit_apply(&edits, chain->index->source, arena, &pieces, &n, &bytes);
    if (arena_overflowed(arena))
        return no_room(chain, e);
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].p == items_here)
            add_all(chain, first);
        else
            stored_items_piece(&chain->parts, pieces[i]);
    }
    if (arena_overflowed(arena))
        return no_room(chain, e);
    bytes = chain->parts.bytes;
    if (bytes > chain->bytes_max)
        return FAIL(e, ERR_TOO_LARGE,
                    "with the responses before it the request is larger than body_bytes_max (%zu)",
                    chain->bytes_max);
    if (bytes > chain->fits_max)
        return FAIL(e, ERR_TOO_LARGE,
                    "with the responses before it the request is larger than inflight_bytes_max "
                    "(%zu)",
                    chain->fits_max);
    (void)may_work(chain, bytes);
    return OK;
}

/* --- */

/* What is to be made of it. */
static void decide(struct stored_chain *chain, bool goes_on, bool refers)
{
    chain->anew = goes_on || (refers && !chain->same && !chain->stays);
    if (!str_is_null(chain->pinned) || (refers && chain->stays))
        chain->keeps = false;
    /* What goes on from here may be answered here again, whatever backend its model names. */
    if (chain->same && !goes_on)
        chain->keeps = false;
}

static enum error_code read(struct stored_chain *chain, struct error *e)
{
    struct link *first = NULL;

    if (!may_work(chain, chain->index->source.n))
        return OK;
    TRY(read_links(chain, &first, e));
    if (chain->too_much)
        return OK;
    bool refers = has_reference(member_of(chain, STR("input")));
    decide(chain, first != NULL, refers);
    if (!chain->anew && !chain->keeps)
        return OK;
    TRY(add_own(chain, refers, &chain->own, e));
    if (chain->too_much)
        return OK;
    if (arena_overflowed(&chain->arena))
        return no_room(chain, e);
    return chain->anew ? put_together(chain, first, e) : OK;
}

enum error_code stored_chain_read(struct stored_chain *chain, struct error *e)
{
    size_t lists_max = WORK_PER_BODY_BYTE * chain->bytes_max;

    assert(chain->borrowed == NULL && chain->work == 0);
    arena_init(&chain->arena, lists_max, 4096, chain->budget);
    chain->parts.arena = &chain->arena;
    chain->own.arena = &chain->arena;
    return read(chain, e);
}

void stored_chain_write(const struct stored_chain *chain, char *to)
{
    assert(chain->anew && !chain->too_much);
    (void)stored_items_write(&chain->parts, to);
}

void stored_chain_end(struct stored_chain *chain)
{
    for (struct stored_borrowed *held = chain->borrowed; held != NULL; held = held->next)
        replies_give_back(&held->reply);
    chain->borrowed = NULL;
    chain->parts = (struct stored_parts){.n = 0};
    chain->own = (struct stored_parts){.n = 0};
    chain->pinned = STR_NULL;
    chain->key = STR_NULL;
    chain->session = STR_NULL;
    chain->work = 0;
    chain->too_much = false;
    arena_fini(&chain->arena);
}
