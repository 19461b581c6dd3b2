/* SPDX-License-Identifier: MIT */
/*
 * The pipeline.
 *
 * What      Runs requests down the table of stages and frames up it; keeps held frames.
 * How       down: `at` counts the stages whose request hook ran; a stage that waits is called
 *           again.  up: a frame starts below the lowest stage that ran and climbs; a stage that
 *           holds keeps it, and every later frame, in one queue (`held_at` says where).
 * Owns      One struct pipeline_state per call, with the stages' states behind it, in the call's
 *           arena; copies of held frames in an arena of their own.
 * Not here  What a frame means; encoding; cancelling the upstream (the caller obeys PIPELINE_CUT).
 */
#include "pipeline/pipeline.h"

#define STAGE(name) extern const struct stage stage_##name;
#include "pipeline/stages.def"
#undef STAGE

const struct stage *const pipeline_stages[] = {
#define STAGE(name) &stage_##name,
#include "pipeline/stages.def"
#undef STAGE
};
const size_t pipeline_stages_n = COUNT_OF(pipeline_stages);

enum { HOLD_BLOCK_SIZE = 4096 };

struct held_frame {
    struct frame frame;
    uint32_t next_event; /* of the stage that held it: events before it were seen */
    struct held_frame *next;
};

struct stage_slot {
    void *state;
    uint32_t mask; /* the event kinds that it still wants to see */
};

struct pipeline_state {
    struct pipeline_options options;
    size_t at;     /* request hooks 0..at ran (the last one may have waited) */
    size_t inside; /* the stage whose hook runs now; stages_n: none */
    bool waiting;
    bool cut;
    bool done;
    bool releasing;
    size_t held_at; /* the stage that holds; stages_n: none does */
    struct held_frame *held;
    struct held_frame **held_tail;
    struct arena hold; /* the held copies */
    uint32_t mask;     /* of all stages that ran */
    struct stage_slot slots[];
};

void pipeline_begin(struct call *call, const struct pipeline_options *options)
{
    size_t n = options->stages_n;
    struct pipeline_state *p = arena_zalloc(options->arena, sizeof(*p) + n * sizeof(p->slots[0]));

    assert(call->pipeline == NULL);
    assert(options->sink != NULL);
    p->options = *options;
    p->inside = n;
    p->held_at = n;
    p->held_tail = &p->held;
    arena_init(&p->hold, options->hold_bytes_max, HOLD_BLOCK_SIZE, NULL);
    for (size_t i = 0; i < n; i++) {
        p->slots[i].mask = options->stages[i]->event_mask;
        if (options->stages[i]->state_size > 0)
            p->slots[i].state = arena_zalloc(options->arena, options->stages[i]->state_size);
    }
    call->pipeline = p;
}

enum verdict pipeline_request(struct call *call)
{
    struct pipeline_state *p = call->pipeline;
    size_t n = p->options.stages_n;

    assert(!p->done);
    if (p->waiting) {
        p->waiting = false;
        p->at--;
    }
    while (p->at < n) {
        const struct stage *stage = p->options.stages[p->at];
        size_t index = p->at++;
        p->mask |= p->slots[index].mask;
        if (stage->request == NULL)
            continue;
        p->inside = index;
        enum verdict verdict = stage->request(call, p->slots[index].state);
        p->inside = n;
        if (verdict == NEXT)
            continue;
        assert(verdict != STOP || call->error.code != OK);
        p->waiting = verdict == WAIT;
        call->answered = verdict == REPLY;
        return verdict;
    }
    return NEXT;
}

void pipeline_wake(struct call *call)
{
    assert(call->pipeline->waiting);
    assert(call->pipeline->options.wake != NULL);
    call->pipeline->options.wake(call->pipeline->options.sink_ctx);
}

static void remove_event(struct frame *frame, uint32_t index)
{
    assert(index < frame->n);
    for (uint32_t i = index; i + 1 < frame->n; i++)
        frame->events[i] = frame->events[i + 1];
    frame->n--;
    frame->changed = true;
}

/* Offers a frame's events, from *event on, to one stage. On HOLD *event is where to go on. */
static enum event_verdict offer(struct call *call, size_t index, struct frame *frame,
                                uint32_t *event)
{
    struct pipeline_state *p = call->pipeline;
    const struct stage *stage = p->options.stages[index];

    if (stage->event == NULL)
        return PASS;
    while (*event < frame->n) {
        struct event *ev = &frame->events[*event];
        if ((p->slots[index].mask & EVENT_BIT(ev->kind)) == 0) {
            (*event)++;
            continue;
        }
        p->inside = index;
        enum event_verdict verdict = stage->event(call, p->slots[index].state, frame, ev);
        p->inside = p->options.stages_n;
        switch (verdict) {
        case PASS:
            (*event)++;
            break;
        case DROP:
            remove_event(frame, *event);
            break;
        case HOLD:
        case CUT:
            return verdict;
        }
    }
    return PASS;
}

static struct str copy(struct arena *arena, struct str s)
{
    return str_copy(arena, s);
}

static void copy_event(struct arena *arena, struct event *event)
{
    switch (event->kind) {
    case EVENT_START:
        event->start.id = copy(arena, event->start.id);
        event->start.model = copy(arena, event->start.model);
        break;
    case EVENT_BLOCK_BEGIN:
        event->begin.id = copy(arena, event->begin.id);
        event->begin.name = copy(arena, event->begin.name);
        event->begin.space = copy(arena, event->begin.space);
        break;
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
        event->text = copy(arena, event->text);
        break;
    case EVENT_STOP:
        event->stop.native = copy(arena, event->stop.native);
        event->stop.sequence = copy(arena, event->stop.sequence);
        break;
    case EVENT_ERROR:
        event->error.type = copy(arena, event->error.type);
        event->error.code = copy(arena, event->error.code);
        event->error.message = copy(arena, event->error.message);
        break;
    case EVENT_BLOCK_END:
    case EVENT_USAGE:
    case EVENT_KEEPALIVE:
    case EVENT_KIND_COUNT:
        break;
    }
}

/* Appends a copy of the frame to the hold queue; false past its bound. */
static bool hold(struct call *call, const struct frame *frame, uint32_t next_event)
{
    struct pipeline_state *p = call->pipeline;
    struct held_frame *held = ARENA_NEW(&p->hold, struct held_frame);
    struct event *events = arena_array(&p->hold, frame->n, sizeof(*events));

    if (!arena_overflowed(&p->hold)) {
        held->frame = *frame;
        held->frame.raw = copy(&p->hold, frame->raw);
        held->frame.events = events;
        for (uint32_t i = 0; i < frame->n; i++) {
            events[i] = frame->events[i];
            copy_event(&p->hold, &events[i]);
        }
        held->next_event = next_event;
    }
    if (arena_overflowed(&p->hold)) {
        FAIL(&call->error, ERR_UPSTREAM_TOO_LARGE, "more than hold_bytes_max (%zu) was held back",
             p->options.hold_bytes_max);
        return false;
    }
    *p->held_tail = held;
    p->held_tail = &held->next;
    return true;
}

static void drop_held(struct pipeline_state *p)
{
    p->held = NULL;
    p->held_tail = &p->held;
    p->held_at = p->options.stages_n;
    arena_reset(&p->hold);
}

/* Runs a frame up from the stage below which it stands; first: events of stage top-1 seen. */
static enum pipeline_push climb(struct call *call, size_t top, struct frame *frame, uint32_t first)
{
    struct pipeline_state *p = call->pipeline;

    for (size_t i = top; i-- > 0; first = 0) {
        /* A queue at a higher stage than this one: the frame goes behind what waits there. */
        if (p->held_at == i && p->held != NULL && !p->releasing)
            return hold(call, frame, 0) ? PIPELINE_OK : PIPELINE_FULL;
        switch (offer(call, i, frame, &first)) {
        case PASS:
        case DROP:
            break;
        case HOLD:
            assert(p->held_at == p->options.stages_n || p->held_at == i);
            p->held_at = i;
            return hold(call, frame, first) ? PIPELINE_OK : PIPELINE_FULL;
        case CUT:
            p->cut = true;
            return PIPELINE_CUT;
        }
    }
    return p->options.sink(p->options.sink_ctx, frame) ? PIPELINE_OK : PIPELINE_CUT;
}

enum pipeline_push pipeline_frame(struct call *call, struct frame *frame)
{
    struct pipeline_state *p = call->pipeline;
    uint32_t kinds = 0;

    assert(!p->done);
    if (p->cut)
        return PIPELINE_CUT;
    for (uint32_t i = 0; i < frame->n; i++)
        kinds |= EVENT_BIT(frame->events[i].kind);
    /* Nobody asked for these kinds and nobody holds: straight to the top. */
    if (LIKELY((kinds & p->mask) == 0 && p->held == NULL))
        return p->options.sink(p->options.sink_ctx, frame) ? PIPELINE_OK : PIPELINE_CUT;
    return climb(call, p->at, frame, 0);
}

void pipeline_ignore(struct call *call, uint32_t kinds)
{
    struct pipeline_state *p = call->pipeline;

    assert(p->inside < p->options.stages_n);
    p->slots[p->inside].mask &= ~kinds;
    p->mask = 0;
    for (size_t i = 0; i < p->at; i++)
        p->mask |= p->slots[i].mask;
}

struct arena *pipeline_arena(const struct call *call)
{
    return call->pipeline->options.arena;
}

struct backend *pipeline_default_backend(const struct call *call)
{
    struct backend *backend = NULL;

    if (call->sessions != NULL) {
        const struct settings *server = session_settings(sessions_server(call->sessions));
        if (!str_is_null(server->backend))
            backend = backend_find(call->backends, server->backend);
        session_settings_unref(&server);
    }
    return backend != NULL && backend->functional ? backend : call->backends->preferred;
}

void pipeline_reply(struct call *call, struct frame *frame)
{
    struct pipeline_state *p = call->pipeline;

    assert(p->inside < p->options.stages_n);
    size_t inside = p->inside;
    frame->changed = true;
    (void)climb(call, inside, frame, 0);
    p->inside = inside;
}

enum pipeline_push pipeline_release(struct call *call)
{
    struct pipeline_state *p = call->pipeline;
    struct held_frame *held = p->held;
    size_t stage = p->held_at;
    enum pipeline_push result = PIPELINE_OK;

    assert(p->inside == p->options.stages_n);
    if (held == NULL)
        return PIPELINE_OK;
    /* The copies stay in the old arena while they are offered; a stage may hold them again. */
    struct arena old = p->hold;
    arena_init(&p->hold, p->options.hold_bytes_max, HOLD_BLOCK_SIZE, NULL);
    p->held = NULL;
    p->held_tail = &p->held;
    p->held_at = p->options.stages_n;
    p->releasing = true;
    for (; held != NULL && result == PIPELINE_OK; held = held->next) {
        if (p->held != NULL)
            result = hold(call, &held->frame, held->next_event) ? PIPELINE_OK : PIPELINE_FULL;
        else
            result = climb(call, stage + 1, &held->frame, held->next_event);
    }
    p->releasing = false;
    arena_fini(&old);
    return result;
}

bool pipeline_holds(const struct call *call)
{
    return call->pipeline != NULL && call->pipeline->held != NULL;
}

void pipeline_done(struct call *call)
{
    struct pipeline_state *p = call->pipeline;

    if (p == NULL || p->done)
        return;
    p->done = true;
    for (size_t i = p->at; i-- > 0;) {
        if (p->options.stages[i]->done != NULL)
            p->options.stages[i]->done(call, p->slots[i].state);
    }
    drop_held(p);
}
