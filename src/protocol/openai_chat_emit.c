/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: the events of the frame in work, and the blocks that they begin and end.
 *
 * What      A list of events that grows in scratch, and of each choice its blocks' numbers and
 *           which one is open.
 * How       A choice has at most one block of text, reasoning or refusal open; another kind ends
 *           it, and so does a call.
 *           Past scratch's cap an event goes nowhere, and the frame is refused after it; past
 *           OPENAI_CHAT_BLOCKS_MAX there is no block (d->too_many).
 *           Each block that begins or ends counts d->version up.
 * Owns      d->events, until the next frame.
 * Not here  What is said in them (openai_chat_delta.c, openai_chat_calls.c).
 */
#include "protocol/openai_chat_decode_priv.h"

enum { EVENTS_STEP = 8 };

/* --- emitting ----------------------------------------------------------------------------- */

struct event *openai_chat_emit(struct openai_chat_decoder *d, enum event_kind kind, uint32_t choice,
                               uint32_t block)
{
    assert(d->n <= d->size);
    assert(kind < EVENT_KIND_COUNT);
    if (d->n == d->size) {
        uint32_t size = d->size == 0 ? EVENTS_STEP : d->size * 2;
        struct event *events = arena_grow(d->options.scratch, d->events, d->size * sizeof(*events),
                                          size * sizeof(*events));
        if (arena_overflowed(d->options.scratch)) {
            /* The whole frame is refused after this. */
            d->single = (struct event){.kind = kind};
            return &d->single;
        }
        d->events = events;
        d->size = size;
    }
    struct event *event = &d->events[d->n++];
    *event = (struct event){.kind = kind, .choice = choice, .block = block};
    return event;
}

void openai_chat_emit_text(struct openai_chat_decoder *d, enum event_kind kind, uint32_t choice,
                           uint32_t block, struct str text)
{
    /* Text may have been lost, and the whole frame is refused. */
    if (arena_overflowed(d->options.scratch))
        return;
    assert(text.n > 0);
    assert(block != EVENT_NO_BLOCK);
    openai_chat_emit(d, kind, choice, block)->text = text;
}

/* --- blocks ------------------------------------------------------------------------------- */

uint32_t openai_chat_emit_begin(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                                enum block_kind kind, struct str name)
{
    assert(!c->stopped);
    assert(d->started && !d->over);
    if (c->blocks >= OPENAI_CHAT_BLOCKS_MAX) {
        d->too_many = true;
        return EVENT_NO_BLOCK;
    }
    uint32_t block = c->blocks++;
    struct event *event = openai_chat_emit(d, EVENT_BLOCK_BEGIN, c->index, block);
    event->begin.kind = kind;
    event->begin.name = name;
    event->begin.index = EVENT_NO_INDEX;
    d->version++;
    return block;
}

void openai_chat_emit_close(struct openai_chat_decoder *d, struct openai_chat_choice *c)
{
    if (c->open == EVENT_NO_BLOCK)
        return;
    assert(c->open < c->blocks);
    openai_chat_emit(d, EVENT_BLOCK_END, c->index, c->open);
    c->open = EVENT_NO_BLOCK;
    d->version++;
}

/* The open block, of that kind. */
uint32_t openai_chat_emit_open(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                               enum block_kind kind, struct str name)
{
    assert(kind == BLOCK_TEXT || kind == BLOCK_REASONING || kind == BLOCK_REFUSAL);
    if (c->open != EVENT_NO_BLOCK && c->open_kind == kind)
        return c->open;
    openai_chat_emit_close(d, c);
    c->open = openai_chat_emit_begin(d, c, kind, name);
    c->open_kind = kind;
    return c->open;
}
