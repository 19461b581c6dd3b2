/* SPDX-License-Identifier: MIT */
/*
 * What      Seals signatures on their way down, opens them on their way up, keeps what clients
 *           drop.
 * How       Down: a collect (canon/collect) of reasoning, calls and signatures, without texts and
 *           arguments; of these a hash. At a choice's STOP it is written into the vault, under what
 *           was asked, and the first call's id and digest or what was said.
 * Owns      struct reasoning, in the answer arena but for the collected texts. The seal's key and
 *           the vault are the gateway's, for the life of the process.
 * Not here  What is done where something is missing (the protocols' encoders).
 */
#include "gateway/reasoning.h"

#include "canon/call_digest.h"
#include "canon/collect.h"
#include "canon/details.h"
#include "canon/reason.h"
#include "canon/recall.h"
#include "gateway/gateway_priv.h"
#include "gateway/stored_priv.h"
#include "state/vault.h"

enum { KEPT_BYTES_MAX = 8 * 1024 * 1024 };

/* What Gemini takes in the place of a signature that it did not make (gemini.md). */
#define SENTINEL "skip_thought_signature_validator"

/* A choice's blocks, and its reasoning_details (OpenRouter): they come beside everything else, and
 * go down, as what only their vendor understands, in a last block of their own. */
struct detailed {
    uint32_t choice;
    uint32_t blocks; /* begun so far */
    uint32_t block;  /* that of the details; EVENT_NO_BLOCK: none came */
    struct details *details;
    struct detailed *next;
};

struct said { /* by a choice */
    uint32_t choice;
    struct recall_said *text;
    struct said *next;
};

struct reasoning {
    struct str client; /* and vendor */
    struct str model;
    uint64_t asked;
    enum recall_what keeps;
    bool seals_all; /* the client's protocol has a place for it: so has what is not signed */
    struct collect collect;
    struct said *said;
    struct detailed *detailed;
};

/* --- up --- */

static bool is_named(const char *name, const char *wanted)
{
    return strcmp(name, wanted) == 0;
}

/* The client and the vendor: what is kept for one is not looked for by another. */
static struct str owner(const struct exchange *x, struct arena *arena)
{
    struct str client = stored_owner(x, arena);
    struct str vendor = x->attempt.backend->vendor;
    char *both = arena_alloc(arena, client.n + 1 + vendor.n);

    if (arena_overflowed(arena))
        return STR_NULL;
    if (client.n > 0)
        memcpy(both, client.p, client.n);
    both[client.n] = ':';
    memcpy(both + client.n + 1, vendor.p, vendor.n);
    return str_of(both, client.n + 1 + vendor.n);
}

struct reasoning_way reasoning_way(struct exchange *x)
{
    struct gateway *gateway = x->station->gateway;

    return (struct reasoning_way){
        .seal = &gateway->seal,
        .vault = gateway->vault,
        .client = owner(x, x->call.arena),
        .vendor = x->attempt.backend->vendor,
        .protocol = x->call.intake.protocol,
        .upstream = x->attempt.protocol->name,
        .now_s = stored_now_s(x),
        .same = exchange_is_same(x),
    };
}

static struct str find(void *ctx, struct str key, struct arena *arena)
{
    const struct reasoning_way *way = ctx;

    return vault_get(way->vault, way->client, key, way->now_s, arena);
}

/* Clients of Chat Completions have no place for what is sealed. */
static bool carries(const struct protocol *protocol)
{
    return !is_named(protocol->name, "openai-chat");
}

enum error_code reasoning_read(struct reasoning_way *way, struct request *request,
                               const struct request_limits *limits, struct arena *arena,
                               struct error *e)
{
    way->packed = way->same && carries(way->protocol) && reason_is_packed_in(request->source);
    return LIKELY(!way->packed) ? OK : protocol_read_full(way->protocol, request, limits, arena, e);
}

enum error_code reasoning_up(const struct reasoning_way *way, const struct request *request,
                             struct arena *arena, struct request *ret_request, struct error *e)
{
    struct reasoning_way found = *way;
    struct reason_options options = {.seal = way->seal, .vendor = way->vendor};

    *ret_request = *request;
    if (way->same) {
        if (LIKELY(!way->packed))
            return OK;
        reason_edit(ret_request, &options,
                    is_named(way->upstream, "gemini") ? STR(SENTINEL) : STR_NULL, arena);
    } else {
        assert(request->full);
        if (vault_bytes(way->vault) > 0) {
            options.find = find;
            options.ctx = &found;
        }
        reason_open(request, &options, arena, ret_request);
    }
    if (arena_overflowed(arena))
        return FAIL(e, ERR_TOO_LARGE, "reading its reasoning takes more memory than is allowed");
    return OK;
}

/* --- down --- */

/* Whatever the client's protocol has a place for: Claude Code drops the thoughts of a model that is
 * not called as it was asked for, Gemini CLI drops all. */
static enum recall_what keeps(const struct exchange *x)
{
    return x->attempt.backend->dialect.history > DIALECT_HISTORY_DROP ? RECALL_UNSIGNED_TOO
                                                                      : RECALL_ALL;
}

void reasoning_begin(struct exchange *x)
{
    const struct request *request = &x->call.request;
    size_t bytes_max = x->call.config->response_bytes_max;

    reasoning_free(&x->reasoning);
    if (exchange_is_same(x) || x->call.intake.operation != OP_GENERATE || !request->full)
        return;
    struct reasoning *r = ARENA_NEW(&x->answer, struct reasoning);
    if (arena_overflowed(&x->answer))
        return;
    r->client = owner(x, &x->answer);
    r->model = x->model_sent;
    r->asked = recall_asked(request);
    r->keeps = keeps(x);
    r->seals_all = carries(x->call.intake.protocol);
    collect_init(&r->collect, &x->answer, bytes_max < KEPT_BYTES_MAX ? bytes_max : KEPT_BYTES_MAX);
    x->reasoning = r;
}

void reasoning_free(struct reasoning **reasoning)
{
    if (*reasoning != NULL) {
        collect_fini(&(*reasoning)->collect);
        for (struct detailed *one = (*reasoning)->detailed; one != NULL; one = one->next)
            details_free(&one->details);
    }
    *reasoning = NULL;
}

static struct recall_said *said_of(struct reasoning *r, uint32_t choice)
{
    struct said *said = r->said;

    while (said != NULL && said->choice != choice)
        said = said->next;
    if (said != NULL)
        return said->text;
    said = ARENA_NEW(r->collect.arena, struct said);
    struct recall_said *text = recall_said_new(r->collect.arena);
    if (arena_overflowed(r->collect.arena))
        return NULL;
    *said = (struct said){.choice = choice, .text = text, .next = r->said};
    r->said = said;
    return text;
}

/* The key under which the choice is found again. */
static struct str key_of(struct reasoning *r, const struct collect_choice *choice,
                         char to[RECALL_KEY_MAX])
{
    for (const struct collect_block *block = choice->blocks; block != NULL; block = block->next) {
        if (block->kind == BLOCK_TOOL)
            return recall_call_key(r->asked, block->id, recall_digest(block), to);
    }
    const struct recall_said *said = said_of(r, choice->index);
    return said == NULL ? STR_NULL : recall_text_key(r->asked, recall_said_end(said), to);
}

static void keep(struct exchange *x, uint32_t index)
{
    struct reasoning *r = x->reasoning;
    const struct collect_choice *choice = collect_choice(&r->collect, index);
    char key_text[RECALL_KEY_MAX];
    struct buf kept;

    if (r->collect.full || choice == NULL)
        return;
    buf_init(&kept, KEPT_BYTES_MAX);
    buf_set_budget(&kept, &x->station->gateway->inflight);
    if (recall_write(choice, x->attempt.backend->vendor, r->keeps, &kept)) {
        struct str key = key_of(r, choice, key_text);
        if (!str_is_null(key))
            vault_put(x->station->gateway->vault, r->client, key, buf_str(&kept), stored_now_s(x));
    }
    buf_fini(&kept);
}

static void note_text(struct reasoning *r, const struct event *event)
{
    const struct collect_block *block = collect_block(&r->collect, event->choice, event->block);
    struct recall_said *said = NULL;

    if (block != NULL && block->kind == BLOCK_TEXT)
        said = said_of(r, event->choice);
    if (said != NULL)
        recall_said_add(said, event->text);
}

/* A call's arguments; its block's user is their digest. */
static void note_args(struct reasoning *r, const struct event *event)
{
    struct collect_block *block = collect_block(&r->collect, event->choice, event->block);

    if (r->collect.full || block == NULL)
        return;
    if (block->user == NULL) {
        struct call_digest *digest = ARENA_NEW(r->collect.arena, struct call_digest);
        if (arena_overflowed(r->collect.arena)) {
            r->collect.full = true;
            return;
        }
        block->user = digest;
    }
    call_digest_add(block->user, event->text);
}

/* Takes note of an event, before anything in it is sealed. *ret_block: that it is of; NULL: of
 * none, or not known. */
static void note(struct exchange *x, const struct event *event, struct collect_block **ret_block)
{
    struct reasoning *r = x->reasoning;

    *ret_block = NULL;
    switch (event->kind) {
    case EVENT_TEXT:
        note_text(r, event);
        return;
    case EVENT_BLOCK_BEGIN:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_BLOCK_END:
        if (!collect_event(&r->collect, event, ret_block)) /* too much to be kept */
            *ret_block = NULL;
        return;
    case EVENT_STOP:
        keep(x, event->choice);
        return;
    case EVENT_TOOL_ARGS:
        note_args(r, event);
        return;
    case EVENT_START:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
    case EVENT_USAGE:
    case EVENT_ERROR:
    case EVENT_KEEPALIVE:
        return;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

static struct str seal(struct exchange *x, struct str signature, struct arena *scratch)
{
    return seal_pack(&x->station->gateway->seal, x->attempt.backend->vendor, x->reasoning->model,
                     signature, scratch);
}

/* Events of which something may be sealed, at most one seal more for each. */
static uint32_t count_seals(const struct frame *frame)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < frame->n; i++)
        n += frame->events[i].kind == EVENT_SIGNATURE || frame->events[i].kind == EVENT_BLOCK_END;
    return n;
}

/* Appends the event to events[n…], sealed; returns the new n. */
static uint32_t pass(struct exchange *x, const struct event *event, struct event *events,
                     uint32_t n, struct arena *scratch)
{
    struct collect_block *block = NULL;
    struct event sealed = *event;

    note(x, event, &block);
    if (event->kind == EVENT_SIGNATURE) {
        sealed.text = seal(x, event->text, scratch);
        if (!str_is_null(sealed.text))
            events[n++] = sealed;
        return n;
    }
    /* So that it is known whose it is, when it comes back. */
    if (event->kind == EVENT_BLOCK_END && x->reasoning->seals_all && block != NULL &&
        block->kind == BLOCK_REASONING && str_is_null(block->signature)) {
        sealed.kind = EVENT_SIGNATURE;
        sealed.text = seal(x, STR(""), scratch);
        if (!str_is_null(sealed.text))
            events[n++] = sealed;
    }
    events[n++] = *event;
    return n;
}

/* --- reasoning_details --- */

/* NULL: there is no memory. */
static struct detailed *detailed_of(struct reasoning *r, uint32_t choice)
{
    struct detailed *one = r->detailed;

    while (one != NULL && one->choice != choice)
        one = one->next;
    if (one != NULL)
        return one;
    one = ARENA_NEW(r->collect.arena, struct detailed);
    if (arena_overflowed(r->collect.arena))
        return NULL;
    *one = (struct detailed){.choice = choice, .block = EVENT_NO_BLOCK, .next = r->detailed};
    r->detailed = one;
    return one;
}

/* Appends the block that says the details; returns the new n. */
static uint32_t end_details(struct detailed *one, struct event *events, uint32_t n,
                            struct arena *scratch)
{
    struct event event = {.kind = EVENT_BLOCK_BEGIN, .choice = one->choice};
    struct buf text;

    buf_init(&text, 2 * KEPT_BYTES_MAX);
    details_write(one->details, &text);
    if (text.n > 0 && buf_ok(&text)) {
        event.block = one->blocks - 1;
        event.begin.kind = BLOCK_REDACTED;
        event.begin.index = EVENT_NO_INDEX;
        events[n++] = event;
        event = (struct event){
            .kind = EVENT_SIGNATURE,
            .choice = one->choice,
            .block = one->blocks - 1,
            .text = str_copy(scratch, buf_str(&text)),
        };
        events[n++] = event;
        event.kind = EVENT_BLOCK_END;
        events[n++] = event;
    }
    buf_fini(&text);
    return n;
}

/* The event as it is told, at events[n…]; returns the new n. */
static uint32_t detail(struct detailed *one, const struct event *event, struct event *events,
                       uint32_t n, struct arena *scratch)
{
    bool begin = event->kind == EVENT_BLOCK_BEGIN;

    one->blocks += begin;
    if (begin && one->block == EVENT_NO_BLOCK && event->begin.kind == BLOCK_VENDOR &&
        str_eq(event->begin.name, STR("reasoning_details"))) {
        one->block = event->block;
        one->details = details_new(KEPT_BYTES_MAX);
        return n;
    }
    if (one->block == EVENT_NO_BLOCK || event->block == EVENT_NO_BLOCK ||
        event->block < one->block) {
        events[n++] = *event;
        return n;
    }
    if (event->block > one->block) {
        events[n] = *event;
        events[n++].block--;
        return n;
    }
    if (event->kind == EVENT_TEXT)
        details_add(one->details, event->text);
    return event->kind == EVENT_BLOCK_END ? end_details(one, events, n, scratch) : n;
}

static bool has_block(const struct event *event)
{
    return event->kind != EVENT_START && event->kind != EVENT_USAGE && event->kind != EVENT_ERROR &&
           event->kind != EVENT_KEEPALIVE;
}

/* The frame with details in a block of their own. False: there is no memory. */
static bool detail_frame(struct reasoning *r, struct frame *frame, struct arena *scratch)
{
    uint32_t more = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i < frame->n; i++)
        more += frame->events[i].kind == EVENT_BLOCK_END;
    struct event *events = arena_array(scratch, frame->n + 2 * more + 1, sizeof(*events));
    if (arena_overflowed(scratch))
        return false;
    for (uint32_t i = 0; i < frame->n; i++) {
        const struct event *event = &frame->events[i];
        struct detailed *one = has_block(event) ? detailed_of(r, event->choice) : NULL;
        if (has_block(event) && one == NULL)
            return false;
        if (one == NULL)
            events[n++] = *event;
        else
            n = detail(one, event, events, n, scratch);
    }
    frame->events = events;
    frame->n = n;
    frame->changed = true;
    return !arena_overflowed(scratch);
}

/* Whether there are details, now or before, that move other blocks; counts what begins. */
static bool is_detailed(struct reasoning *r, const struct frame *frame)
{
    for (const struct detailed *one = r->detailed; one != NULL; one = one->next) {
        if (one->block != EVENT_NO_BLOCK)
            return true;
    }
    for (uint32_t i = 0; i < frame->n; i++) {
        const struct event *event = &frame->events[i];
        if (event->kind == EVENT_BLOCK_BEGIN && event->begin.kind == BLOCK_VENDOR &&
            str_eq(event->begin.name, STR("reasoning_details")))
            return true;
    }
    for (uint32_t i = 0; i < frame->n; i++) {
        if (frame->events[i].kind != EVENT_BLOCK_BEGIN)
            continue;
        struct detailed *one = detailed_of(r, frame->events[i].choice);
        if (one != NULL)
            one->blocks++;
    }
    return false;
}

bool reasoning_frame(struct exchange *x, struct frame *frame, struct arena *scratch)
{
    struct collect_block *ignored;
    uint32_t n = 0;

    if (is_detailed(x->reasoning, frame) && !detail_frame(x->reasoning, frame, scratch))
        return false;
    uint32_t seals = count_seals(frame);

    if (seals == 0) {
        for (uint32_t i = 0; i < frame->n; i++)
            note(x, &frame->events[i], &ignored);
        return true;
    }
    struct event *events = arena_array(scratch, frame->n + seals, sizeof(*events));
    for (uint32_t i = 0; i < frame->n && !arena_overflowed(scratch); i++)
        n = pass(x, &frame->events[i], events, n, scratch);
    frame->events = events;
    frame->n = n;
    frame->changed = true;
    return !arena_overflowed(scratch);
}
