/* SPDX-License-Identifier: MIT */
/*
 * The grammar of events, checked.
 *
 * What      Says whether a sequence of events is an answer: the oracle of tests and fuzzers.
 * How       START once; then for each choice a row of blocks in one of three states
 *             NOT_YET -> OPEN -> ENDED
 *           and STOP when none is open. A fault is sticky: the first one found is the one told.
 * Owns      Nothing: its state lies in the caller's arena.
 * Not here  Whether the events say what the bytes said: that is each protocol's test.
 */
#include "canon/check.h"

#include "text/utf8.h"

enum { CHOICES_MAX = 128, BLOCKS_MAX = 4096, BLOCKS_STEP = 8 };

struct check_block {
    enum block_kind kind;
    bool open;
    bool sealed;
};

struct check_choice {
    bool begun;
    bool stopped;
    uint32_t n;
    uint32_t size;
    uint32_t open;
    struct check_block *blocks;
};

struct check {
    struct arena *arena;
    bool started;
    bool over; /* ERROR was seen */
    bool failed;
    size_t count;
    struct check_choice *choices[CHOICES_MAX];
};

struct check *check_new(struct arena *arena)
{
    struct check *check = ARENA_NEW(arena, struct check);

    assert(!arena_overflowed(arena));
    check->arena = arena;
    return check;
}

static enum error_code fail(struct check *check, const struct event *event, const char *why,
                            struct error *e)
{
    check->failed = true;
    return FAIL(e, ERR_INTERNAL, "event %zu (%s, choice %u, block %u): %s", check->count,
                event_kind_name(event->kind), event->choice, event->block, why);
}

/* Whether a block of that kind holds events of that kind. */
static bool holds(enum block_kind block, enum event_kind kind)
{
    switch (kind) {
    case EVENT_TEXT:
        return block == BLOCK_TEXT || block == BLOCK_REFUSAL || block == BLOCK_MEDIA ||
               block == BLOCK_VENDOR;
    case EVENT_REASONING:
        return block == BLOCK_REASONING;
    case EVENT_SIGNATURE:
        return block == BLOCK_REASONING || block == BLOCK_REDACTED || block == BLOCK_TOOL ||
               block == BLOCK_TEXT;
    case EVENT_TOOL_ARGS:
        return block == BLOCK_TOOL;
    case EVENT_CITATION:
        return block == BLOCK_TEXT;
    case EVENT_LOGPROBS:
        return true;
    case EVENT_START:
    case EVENT_BLOCK_BEGIN:
    case EVENT_BLOCK_END:
    case EVENT_USAGE:
    case EVENT_STOP:
    case EVENT_ERROR:
    case EVENT_KEEPALIVE:
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("not an event inside a block");
}

static struct check_choice *choice_of(struct check *check, uint32_t index)
{
    if (check->choices[index] == NULL)
        check->choices[index] = ARENA_NEW(check->arena, struct check_choice);
    return check->choices[index];
}

static enum error_code begin(struct check *check, struct check_choice *choice,
                             const struct event *event, struct error *e)
{
    if (event->block != choice->n)
        return fail(check, event, "blocks are numbered in order of their begin", e);
    if (choice->n >= BLOCKS_MAX)
        return fail(check, event, "too many blocks", e);
    if (event->begin.kind >= BLOCK_KIND_COUNT)
        return fail(check, event, "no such kind of block", e);
    if (event->begin.kind == BLOCK_TOOL && event->begin.id.n == 0)
        return fail(check, event, "a tool call without an id", e);
    if (!utf8_valid(event->begin.id) || !utf8_valid(event->begin.name))
        return fail(check, event, "id or name is not UTF-8", e);

    if (choice->n == choice->size) {
        uint32_t size = choice->size == 0 ? BLOCKS_STEP : choice->size * 2;
        choice->blocks = arena_grow(check->arena, choice->blocks,
                                    choice->size * sizeof(*choice->blocks),
                                    size * sizeof(*choice->blocks));
        assert(!arena_overflowed(check->arena));
        choice->size = size;
    }
    choice->blocks[choice->n++] = (struct check_block){.kind = event->begin.kind, .open = true};
    choice->open++;
    choice->begun = true;
    return OK;
}

/* An event inside a block, or its end. */
static enum error_code inside(struct check *check, struct check_choice *choice,
                              const struct event *event, struct error *e)
{
    if (event->block >= choice->n)
        return fail(check, event, "of a block that did not begin", e);

    struct check_block *block = &choice->blocks[event->block];
    if (!block->open)
        return fail(check, event, "of a block that has ended", e);
    if (event->kind == EVENT_BLOCK_END) {
        assert(choice->open > 0);
        block->open = false;
        choice->open--;
        return OK;
    }
    if (!holds(block->kind, event->kind))
        return fail(check, event, "of a kind that this block does not hold", e);
    if (block->sealed && (event->kind == EVENT_SIGNATURE || event->kind == EVENT_REASONING))
        return fail(check, event, "after the signature of its block", e);
    block->sealed |= event->kind == EVENT_SIGNATURE;
    if (!utf8_valid(event->text))
        return fail(check, event, "the text is not UTF-8", e);
    return OK;
}

static enum error_code of_choice(struct check *check, const struct event *event, struct error *e)
{
    if (!check->started)
        return fail(check, event, "before START", e);
    if (event->choice >= CHOICES_MAX)
        return fail(check, event, "too many choices", e);

    struct check_choice *choice = choice_of(check, event->choice);
    if (choice->stopped)
        return fail(check, event, "after STOP of its choice", e);
    if (event->kind == EVENT_BLOCK_BEGIN)
        return begin(check, choice, event, e);
    if (event->kind != EVENT_STOP)
        return inside(check, choice, event, e);
    if (choice->open > 0)
        return fail(check, event, "STOP with a block open", e);
    if (event->stop.reason >= STOP_REASON_COUNT)
        return fail(check, event, "no such reason", e);
    choice->begun = true;
    choice->stopped = true;
    return OK;
}

static bool usage_sane(const struct usage *usage)
{
    return usage->input >= -1 && usage->output >= -1 && usage->total >= -1 && usage->cached >= -1 &&
           usage->cache_written >= -1 && usage->reasoning >= -1;
}

enum error_code check_event(struct check *check, const struct event *event, struct error *e)
{
    assert(event->kind < EVENT_KIND_COUNT);
    check->count++;
    if (check->failed)
        return FAIL(e, ERR_INTERNAL, "an earlier event was wrong");
    if (check->over)
        return fail(check, event, "after ERROR", e);

    switch (event->kind) {
    case EVENT_KEEPALIVE:
        return OK;
    case EVENT_ERROR:
        check->over = true;
        return OK;
    case EVENT_START:
        if (check->started)
            return fail(check, event, "START twice", e);
        check->started = true;
        return OK;
    case EVENT_USAGE:
        if (!check->started)
            return fail(check, event, "before START", e);
        if (!usage_sane(&event->usage))
            return fail(check, event, "a negative count", e);
        return OK;
    case EVENT_BLOCK_BEGIN:
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
    case EVENT_BLOCK_END:
    case EVENT_STOP:
        return of_choice(check, event, e);
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

enum error_code check_end(struct check *check, bool complete, struct error *e)
{
    if (check->failed)
        return FAIL(e, ERR_INTERNAL, "an earlier event was wrong");
    if (!complete)
        return OK;
    if (check->over)
        return FAIL(e, ERR_INTERNAL, "complete after ERROR");
    for (uint32_t i = 0; i < CHOICES_MAX; i++) {
        const struct check_choice *choice = check->choices[i];
        if (choice != NULL && choice->begun && !choice->stopped)
            return FAIL(e, ERR_INTERNAL, "choice %u has no STOP", i);
        assert(choice == NULL || !choice->stopped || choice->open == 0);
    }
    return OK;
}
