/* SPDX-License-Identifier: MIT */
#include "canon/collect.h"

enum { BLOCKS_STEP = 8 };

void collect_init(struct collect *collect, struct arena *arena, size_t bytes_max)
{
    *collect = (struct collect){
        .arena = arena,
        .bytes_max = bytes_max,
        .usage = {-1, -1, -1, -1, -1, -1},
    };
}

void collect_fini(struct collect *collect)
{
    for (struct collect_choice *choice = collect->choices; choice != NULL; choice = choice->next)
        for (struct collect_block *block = choice->blocks; block != NULL; block = block->next)
            buf_fini(&block->text);
    collect->choices = NULL;
    collect->bytes = 0;
}

struct collect_choice *collect_choice(const struct collect *collect, uint32_t index)
{
    struct collect_choice *choice = collect->choices;

    while (choice != NULL && choice->index < index)
        choice = choice->next;
    return choice != NULL && choice->index == index ? choice : NULL;
}

struct collect_block *collect_block(const struct collect *collect, uint32_t choice, uint32_t block)
{
    const struct collect_choice *in = collect_choice(collect, choice);

    return in != NULL && block < in->blocks_n ? in->by_number[block] : NULL;
}

void collect_forget(struct collect *collect, struct collect_block *block)
{
    assert(collect->bytes >= block->text.n);
    collect->bytes -= block->text.n;
    buf_fini(&block->text);
    block->citations = NULL;
    block->citations_last = NULL;
}

/* Whether n more bytes are allowed. */
static bool take(struct collect *collect, size_t n)
{
    if (collect->full || n > collect->bytes_max - collect->bytes) {
        collect->full = true;
        return false;
    }
    collect->bytes += n;
    return true;
}

static struct str keep(struct collect *collect, struct str text)
{
    return take(collect, text.n) ? str_copy(collect->arena, text) : STR_NULL;
}

/* The choice of that index, made when there is none; NULL when the arena is full. */
static struct collect_choice *choice_of(struct collect *collect, uint32_t index)
{
    struct collect_choice **to = &collect->choices;

    while (*to != NULL && (*to)->index < index)
        to = &(*to)->next;
    if (*to != NULL && (*to)->index == index)
        return *to;

    struct collect_choice *choice = ARENA_NEW(collect->arena, struct collect_choice);
    if (arena_overflowed(collect->arena))
        return NULL;
    choice->index = index;
    choice->next = *to;
    *to = choice;
    return choice;
}

/* Room for one more block; false when the arena is full. */
static bool grow(struct collect *collect, struct collect_choice *choice)
{
    if (choice->blocks_n < choice->blocks_size)
        return true;
    uint32_t size = choice->blocks_size == 0 ? BLOCKS_STEP : choice->blocks_size * 2;
    struct collect_block **grown = arena_grow(collect->arena, choice->by_number,
                                              choice->blocks_size * sizeof(struct collect_block *),
                                              size * sizeof(struct collect_block *));
    if (arena_overflowed(collect->arena))
        return false;
    choice->by_number = grown;
    choice->blocks_size = size;
    return true;
}

static struct collect_block *begin(struct collect *collect, const struct event *event)
{
    struct collect_choice *choice = choice_of(collect, event->choice);

    if (choice == NULL || !grow(collect, choice))
        return NULL;
    struct collect_block *block = ARENA_NEW(collect->arena, struct collect_block);
    struct str id = keep(collect, event->begin.id);
    struct str name = keep(collect, event->begin.name);
    if (arena_overflowed(collect->arena))
        return NULL;

    assert(event->block == choice->blocks_n);
    *block = (struct collect_block){
        .kind = event->begin.kind,
        .number = event->block,
        .open = true,
        .custom = event->begin.custom,
        .legacy = event->begin.legacy,
        .id = id,
        .name = name,
    };
    buf_init(&block->text, collect->bytes_max);
    buf_set_budget(&block->text, collect->arena->budget);
    if (choice->blocks_n == 0)
        choice->blocks = block;
    else
        choice->by_number[choice->blocks_n - 1]->next = block;
    choice->by_number[choice->blocks_n++] = block;
    choice->has_tool |= block->kind == BLOCK_TOOL;
    return block;
}

static void append(struct collect *collect, struct collect_list **first, struct collect_list **last,
                   struct str text)
{
    struct collect_list *node = ARENA_NEW(collect->arena, struct collect_list);
    struct str kept = keep(collect, text);

    if (collect->full || arena_overflowed(collect->arena))
        return;
    node->text = kept;
    if (*first == NULL)
        *first = node;
    else
        (*last)->next = node;
    *last = node;
}

/* An event inside a block, or its end. */
static void inside(struct collect *collect, struct collect_block *block, const struct event *event)
{
    switch (event->kind) {
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_TOOL_ARGS:
        if (take(collect, event->text.n) && !buf_add(&block->text, event->text)) {
            collect->full = true;
            buf_tell(&block->text, collect->arena);
        }
        return;
    case EVENT_SIGNATURE:
        block->signature = keep(collect, event->text);
        return;
    case EVENT_CITATION:
        append(collect, &block->citations, &block->citations_last, event->text);
        return;
    case EVENT_LOGPROBS:
        append(collect, &block->logprobs, &block->logprobs_last, event->text);
        return;
    case EVENT_BLOCK_END:
        block->open = false;
        return;
    case EVENT_START:
    case EVENT_BLOCK_BEGIN:
    case EVENT_USAGE:
    case EVENT_STOP:
    case EVENT_ERROR:
    case EVENT_KEEPALIVE:
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("not an event inside a block");
}

static void set_count(int64_t *count, int64_t said)
{
    if (said >= 0)
        *count = said;
}

static void set_usage(struct collect *collect, const struct usage *said)
{
    collect->usage_known = true;
    set_count(&collect->usage.input, said->input);
    set_count(&collect->usage.output, said->output);
    set_count(&collect->usage.total, said->total);
    set_count(&collect->usage.cached, said->cached);
    set_count(&collect->usage.cache_written, said->cache_written);
    set_count(&collect->usage.reasoning, said->reasoning);
}

static void stop(struct collect *collect, const struct event *event)
{
    struct collect_choice *choice = choice_of(collect, event->choice);

    if (choice == NULL)
        return;
    choice->stopped = true;
    choice->reason = event->stop.reason;
    choice->native = keep(collect, event->stop.native);
    choice->sequence = keep(collect, event->stop.sequence);
}

static void start(struct collect *collect, const struct event *event)
{
    collect->started = true;
    collect->id = keep(collect, event->start.id);
    collect->model = keep(collect, event->start.model);
    collect->created_s = event->start.created_s;
}

static void fail(struct collect *collect, const struct event *event)
{
    collect->failed = true;
    collect->error = *event;
    collect->error.error.type = keep(collect, event->error.type);
    collect->error.error.code = keep(collect, event->error.code);
    collect->error.error.message = keep(collect, event->error.message);
}

/* The block that the event is of, NULL without one. */
static struct collect_block *add(struct collect *collect, const struct event *event)
{
    struct collect_block *block = NULL;

    switch (event->kind) {
    case EVENT_START:
        start(collect, event);
        return NULL;
    case EVENT_BLOCK_BEGIN:
        return begin(collect, event);
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
    case EVENT_BLOCK_END:
        block = collect_block(collect, event->choice, event->block);
        assert(block != NULL);
        inside(collect, block, event);
        return block;
    case EVENT_USAGE:
        set_usage(collect, &event->usage);
        return NULL;
    case EVENT_STOP:
        stop(collect, event);
        return NULL;
    case EVENT_ERROR:
        fail(collect, event);
        return NULL;
    case EVENT_KEEPALIVE:
        return NULL;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

bool collect_event(struct collect *collect, const struct event *event,
                   struct collect_block **ret_block)
{
    struct collect_block *block = collect->full ? NULL : add(collect, event);

    if (arena_overflowed(collect->arena))
        collect->full = true;
    if (ret_block != NULL)
        *ret_block = collect->full ? NULL : block;
    return !collect->full;
}
