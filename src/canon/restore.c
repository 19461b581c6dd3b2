/* SPDX-License-Identifier: MIT */
/*
 * Answers put back into the client's terms.
 *
 * What      Tools renamed back; {"input":"…"} of custom tools unwrapped; the JSON tool as text;
 *           stop sequences; <think> tags.
 * How       Each of the upstream's blocks has a mode that says what becomes of its events, and the
 *           number of the block that is open for it towards the client: one of the upstream's may
 *           become several (text and reasoning by turns), so the client's are numbered anew, as
 *           they begin.
 *             text ─ tags ─┬─ reasoning
 *                          └─ leading blanks ─ stop sequences ─ text
 *           A frame's events are changed in place while no more come out than went in, else in a
 *           list of their own.
 * Owns      Its state, in the answer's arena.
 * Not here  Cancelling the upstream (the caller obeys RESTORE_CUT), names that were changed
 *           (canon/fit).
 */
#include "canon/restore.h"

#include "canon/needles.h"
#include "canon/unwrap.h"

enum { BLOCKS_STEP = 8, LEAD_MAX = 8, EVENTS_STEP = 16, TAGS = 4 };

enum block_mode {
    MODE_AS_IS,
    MODE_TEXT,
    MODE_WRAPPED, /* arguments are {"input":"…"} */
    MODE_JSON     /* arguments are text */
};

struct tagged {
    uint32_t tag; /* search for the next tag */
    bool thinking;
    bool breaks;   /* a tag was just there: line breaks are left out */
    bool said;     /* something visible, since the last tag */
    bool settled;  /* text was said, or thoughts ended: tags are text from there on */
    uint8_t which; /* tag opened the thoughts */
    uint8_t lead_n;
    char lead[LEAD_MAX]; /* blanks before it */
};

/* A block of the upstream's. */
struct restore_block {
    enum block_mode mode;
    bool ended;
    bool open;  /* a block of the client's is open for it */
    bool begun; /* at least one was */
    bool said;  /* JSON: arguments came */
    enum block_kind kind;
    uint32_t out;  /* number of the client's */
    uint32_t stop; /* search for stop sequences */
    union {
        struct tagged tagged;
        struct unwrap unwrap;
    };
};

struct restore_choice {
    uint32_t index;
    bool stopped;
    bool has_tool;
    bool reasons;   /* the upstream tells reasoning apart: it has no tags */
    bool echo_over; /* the echo was met, or is none */
    size_t echoed;  /* bytes of it so far */
    uint32_t out_n; /* blocks of the client's so far */
    uint32_t n;
    uint32_t size;
    struct restore_block *blocks;
    struct restore_choice *next;
};

struct restore {
    const struct translation *translation; /* NULL: none */
    struct arena *arena;
    bool think_tags;
    bool tracks; /* more is to be done than renaming */
    bool met;    /* a stop sequence, in any choice */
    bool cut;
    bool full;
    uint32_t choices_wanted;
    uint32_t choices_stopped;
    struct str echo;             /* the request's last text, repeated; null: it is not */
    const struct needles *stops; /* NULL: none */
    const struct needles *opening;
    const struct needles *closing[TAGS]; /* made when the first one opens */
    struct restore_choice *choices;
};

/* A frame on its way through. */
struct flow {
    struct restore *restore;
    struct arena *scratch;
    const struct frame *frame;
    struct event *events; /* what comes out */
    uint32_t n;
    uint32_t size;
    uint32_t read; /* of what came in; while events is that list, n may not pass it */
    bool in_place;
    bool changed;
    struct restore_choice *choice; /* of the event */
    struct restore_block *block;
};

static const struct str tags_opening[TAGS] = {STR_INIT("<think>"), STR_INIT("<thinking>"),
                                              STR_INIT("<reasoning>"), STR_INIT("<seed:think>")};
static const struct str tags_closing[TAGS] = {STR_INIT("</think>"), STR_INIT("</thinking>"),
                                              STR_INIT("</reasoning>"), STR_INIT("</seed:think>")};

/* Whether more than names is to be put back. */
static bool tracks(const struct translation *t)
{
    return t != NULL &&
           (t->stop_n > 0 || t->wrapped != NULL || !str_is_null(t->json_tool) || t->echo.n > 0);
}

struct restore *restore_new(const struct restore_options *options)
{
    const struct translation *t = options->translation;
    struct arena *arena = options->arena;

    if (t != NULL && !translation_changes_answer(t))
        t = NULL;
    if (t == NULL && !options->think_tags)
        return NULL;
    struct restore *restore = ARENA_NEW(arena, struct restore);
    restore->translation = t;
    restore->arena = arena;
    restore->think_tags = options->think_tags;
    restore->choices_wanted = options->choices == 0 ? 1 : options->choices;
    if (options->think_tags) {
        restore->opening = needles_new(tags_opening, TAGS, arena);
    }
    if (t != NULL && t->stop_n > 0)
        restore->stops = needles_new(t->stop, t->stop_n, arena);
    restore->echo = t == NULL ? STR_NULL : t->echo;
    restore->tracks = options->think_tags || tracks(t);
    return arena_overflowed(arena) ? NULL : restore;
}

/* --- what comes out --- */

/* A list of its own, or a larger one. */
static void grow(struct flow *flow)
{
    uint32_t size = flow->n < EVENTS_STEP ? EVENTS_STEP : flow->n * 2;
    struct event *events = arena_array(flow->scratch, size, sizeof(*events));

    if (arena_overflowed(flow->scratch)) {
        flow->restore->full = true;
        return;
    }
    for (uint32_t i = 0; i < flow->n; i++)
        events[i] = flow->events[i];
    flow->events = events;
    flow->size = size;
    flow->in_place = false;
}

static void put(struct flow *flow, const struct event *event)
{
    if (flow->n == (flow->in_place ? flow->read + 1 : flow->size))
        grow(flow);
    if (flow->restore->full)
        return;
    flow->events[flow->n++] = *event;
}

/* The event as it came but for its block's number. */
static void put_numbered(struct flow *flow, const struct event *event)
{
    struct event numbered = *event;

    numbered.block = flow->block->out;
    put(flow, &numbered);
}

static void put_begin(struct flow *flow, const struct event *begin)
{
    struct restore_block *block = flow->block;
    struct event numbered = *begin;

    assert(!block->open);
    block->open = true;
    block->begun = true;
    block->kind = begin->begin.kind;
    block->out = flow->choice->out_n++;
    numbered.block = block->out;
    put(flow, &numbered);
}

static void put_begin_of(struct flow *flow, enum block_kind kind)
{
    const struct event begin = {
        .kind = EVENT_BLOCK_BEGIN,
        .choice = flow->choice->index,
        .block = EVENT_NO_BLOCK, /* the next number */
        .begin = {.kind = kind, .index = EVENT_NO_INDEX},
    };

    put_begin(flow, &begin);
}

static void put_text(struct flow *flow, enum event_kind kind, struct str text)
{
    const struct event event = {
        .kind = kind,
        .choice = flow->choice->index,
        .block = flow->block->out,
        .text = text,
    };

    if (text.n > 0)
        put(flow, &event);
}

static void put_end(struct flow *flow)
{
    const struct event end = {
        .kind = EVENT_BLOCK_END,
        .choice = flow->choice->index,
        .block = flow->block->out,
    };

    if (!flow->block->open)
        return;
    flow->block->open = false;
    put(flow, &end);
}

/* --- stop sequences --- */

static void end_choice(struct flow *flow)
{
    struct restore *restore = flow->restore;

    flow->choice->stopped = true;
    restore->choices_stopped++;
    restore->cut = restore->met && restore->choices_stopped >= restore->choices_wanted;
}

/* The choice ends here. */
static void stop_choice(struct flow *flow, struct str sequence)
{
    struct restore *restore = flow->restore;
    struct restore_choice *choice = flow->choice;
    const struct event stop = {
        .kind = EVENT_STOP,
        .choice = choice->index,
        .block = EVENT_NO_BLOCK,
        .stop = {.reason = STOP_SEQUENCE, .native = STR_NULL, .sequence = sequence},
    };

    for (uint32_t i = 0; i < choice->n; i++) {
        flow->block = &choice->blocks[i];
        put_end(flow);
    }
    put(flow, &stop);
    restore->met = true;
    end_choice(flow);
}

static void say_text(struct flow *flow, struct str text)
{
    if (text.n == 0)
        return;
    if (!flow->block->open)
        put_begin_of(flow, BLOCK_TEXT);
    put_text(flow, EVENT_TEXT, text);
}

/* Text that the client will see, if no stop sequence is in it. */
static void say_visible(struct flow *flow, struct str text)
{
    struct restore *restore = flow->restore;
    struct needles_found found;

    if (restore->stops == NULL || text.n == 0) {
        say_text(flow, text);
        return;
    }
    bool match = needles_feed(restore->stops, &flow->block->stop, text, &found);
    say_text(flow, found.held);
    say_text(flow, found.text);
    if (match)
        stop_choice(flow, restore->translation->stop[found.which]);
}

/* No more text comes for what may be the beginning of one. */
static void let_go(struct flow *flow)
{
    struct restore_block *block = flow->block;

    if (flow->restore->stops == NULL)
        return;
    say_text(flow, needles_held(flow->restore->stops, block->stop));
    block->stop = NEEDLES_BEGIN;
}

/* --- tags --- */

static size_t count_leading(struct str text, const char *of)
{
    size_t n = 0;

    while (n < text.n && text.p[n] != '\0' && strchr(of, text.p[n]) != NULL)
        n++;
    return n;
}

/* Visible text, whose leading blanks wait for what follows them. */
static void say_led(struct flow *flow, struct str text)
{
    struct tagged *tagged = &flow->block->tagged;
    size_t blanks = count_leading(text, " \t\r\n");

    tagged->settled = tagged->settled || blanks < text.n;
    if (tagged->said)
        blanks = 0;
    if (!tagged->said && blanks == text.n && tagged->lead_n + blanks <= LEAD_MAX) {
        if (blanks > 0)
            memcpy(tagged->lead + tagged->lead_n, text.p, blanks);
        tagged->lead_n = (uint8_t)(tagged->lead_n + blanks);
        return;
    }
    tagged->said = true;
    if (tagged->lead_n > 0) {
        struct str lead = str_copy(flow->scratch, str_of(tagged->lead, tagged->lead_n));
        tagged->lead_n = 0;
        say_visible(flow, lead);
    }
    if (!flow->choice->stopped)
        say_visible(flow, text);
}

/* A run of text without tags. */
static void say_run(struct flow *flow, struct str text)
{
    struct tagged *tagged = &flow->block->tagged;

    if (tagged->breaks) {
        text = str_from(text, count_leading(text, "\r\n"));
        tagged->breaks = text.n == 0;
    }
    if (text.n == 0 || flow->choice->stopped)
        return;
    if (!tagged->thinking) {
        say_led(flow, text);
        return;
    }
    if (!flow->block->open)
        put_begin_of(flow, BLOCK_REASONING);
    put_text(flow, EVENT_REASONING, text);
}

/* What is looked for next in it. */
static const struct needles *next_tag(const struct restore *restore, const struct tagged *tagged)
{
    return tagged->thinking ? restore->closing[tagged->which] : restore->opening;
}

/* which: the tag that was found. False: there is no memory. */
static bool turn_over(struct flow *flow, size_t which)
{
    struct restore *restore = flow->restore;
    struct tagged *tagged = &flow->block->tagged;

    assert(which < TAGS);
    if (!tagged->thinking) {
        tagged->which = (uint8_t)which;
        if (restore->closing[which] == NULL)
            restore->closing[which] = needles_new(&tags_closing[which], 1, restore->arena);
        restore->full |= restore->closing[which] == NULL;
        if (restore->full)
            return false;
    }

    if (!tagged->thinking)
        let_go(flow);
    put_end(flow);
    tagged->settled = tagged->thinking;
    tagged->thinking = !tagged->thinking;
    tagged->breaks = true;
    tagged->said = false;
    tagged->lead_n = 0;
    return true;
}

/* Tags stand at the beginning; later ones are what the model speaks of. */
static bool tags_are_text(const struct tagged *tagged)
{
    return !tagged->thinking && tagged->settled;
}

static void say_tagged(struct flow *flow, struct str text)
{
    const struct restore *restore = flow->restore;
    struct tagged *tagged = &flow->block->tagged;
    struct needles_found found = {.rest = text};
    bool match = true;

    while (match && found.rest.n > 0 && !flow->choice->stopped && !tags_are_text(tagged)) {
        match = needles_feed(next_tag(restore, tagged), &tagged->tag, found.rest, &found);
        say_run(flow, found.held);
        say_run(flow, found.text);
        if (!match || flow->choice->stopped)
            continue;
        if (tagged->settled)
            say_run(flow, tags_opening[found.which]);
        else if (!turn_over(flow, found.which))
            return;
    }
    if (flow->choice->stopped || !tags_are_text(tagged))
        return;
    /* Nor is the beginning of one worth waiting for. */
    struct str held = needles_held(restore->opening, tagged->tag);
    tagged->tag = NEEDLES_BEGIN;
    say_run(flow, held);
    if (match)
        say_run(flow, found.rest);
}

/* What was held because a tag could follow, or more than blanks. */
static void let_go_tagged(struct flow *flow)
{
    const struct restore *restore = flow->restore;
    struct tagged *tagged = &flow->block->tagged;
    struct str held = needles_held(next_tag(restore, tagged), tagged->tag);

    tagged->tag = NEEDLES_BEGIN;
    say_run(flow, held);
    if (flow->block->begun || tagged->lead_n == 0 || flow->choice->stopped)
        return;
    held = str_copy(flow->scratch, str_of(tagged->lead, tagged->lead_n));
    tagged->lead_n = 0;
    say_visible(flow, held);
}

/* --- echoes --- */

static void say_any(struct flow *flow, struct str text)
{
    if (text.n == 0 || flow->choice->stopped)
        return;
    if (flow->restore->think_tags)
        say_tagged(flow, text);
    else
        say_visible(flow, text);
}

/* Text that may begin with what the request ended with: that is left out. What turns out to be
 * something else is said, however little of it is alike. */
static void say_after_echo(struct flow *flow, struct str text)
{
    struct restore_choice *choice = flow->choice;
    struct str rest = str_from(flow->restore->echo, choice->echoed);
    size_t n = text.n < rest.n ? text.n : rest.n;

    if (!choice->echo_over && rest.n > 0 && memcmp(text.p, rest.p, n) == 0) {
        choice->echoed += n;
        choice->echo_over = n == rest.n;
        text = str_from(text, n);
    } else if (!choice->echo_over) {
        choice->echo_over = true;
        say_any(flow, str_head(flow->restore->echo, choice->echoed));
    }
    say_any(flow, text);
}

static void let_go_echo(struct flow *flow)
{
    struct restore_choice *choice = flow->choice;

    if (choice->echo_over || choice->echoed == 0)
        return;
    choice->echo_over = true;
    say_any(flow, str_head(flow->restore->echo, choice->echoed));
}

/* --- blocks --- */

/* Gives up all that is held of the block. The choice may be stopped by it. */
static void give_up(struct flow *flow)
{
    struct restore_block *block = flow->block;

    switch (block->mode) {
    case MODE_AS_IS:
        return;
    case MODE_WRAPPED:
        put_text(flow, EVENT_TOOL_ARGS, unwrap_end(&block->unwrap, flow->scratch));
        return;
    case MODE_TEXT:
        let_go_echo(flow);
        if (flow->restore->think_tags && !flow->choice->stopped)
            let_go_tagged(flow);
        break;
    case MODE_JSON:
        break;
    }
    if (!flow->choice->stopped && !(block->mode == MODE_TEXT && block->tagged.thinking))
        let_go(flow);
}

static void end_block(struct flow *flow, const struct event *event)
{
    struct restore_block *block = flow->block;

    block->ended = true;
    if (block->mode == MODE_AS_IS) {
        block->open = false;
        put_numbered(flow, event);
        return;
    }
    if (block->mode == MODE_JSON && !block->said)
        say_visible(flow, STR("{}"));
    if (!flow->choice->stopped)
        give_up(flow);
    if (flow->choice->stopped)
        return;
    if (!block->begun)
        put_begin_of(flow, BLOCK_TEXT);
    if (block->open) {
        block->open = false;
        put_numbered(flow, event);
    }
}

/* An event inside a block of text. */
static void in_text(struct flow *flow, const struct event *event)
{
    struct restore_block *block = flow->block;
    bool thinking = block->tagged.thinking;

    if (event->kind == EVENT_TEXT && flow->restore->echo.n > 0) {
        say_after_echo(flow, event->text);
        return;
    }
    if (event->kind == EVENT_TEXT) {
        say_any(flow, event->text);
        return;
    }
    /* What belongs to text that the client does not have yet, or has as reasoning. */
    if (event->kind == EVENT_LOGPROBS ? !block->open : thinking)
        return;
    if (!block->open)
        put_begin_of(flow, BLOCK_TEXT);
    put_numbered(flow, event);
}

static void inside(struct flow *flow, const struct event *event)
{
    struct restore_block *block = flow->block;

    if (event->kind == EVENT_BLOCK_END) {
        end_block(flow, event);
        return;
    }
    switch (block->mode) {
    case MODE_AS_IS:
        put_numbered(flow, event);
        return;
    case MODE_TEXT:
        in_text(flow, event);
        return;
    case MODE_WRAPPED:
        if (event->kind != EVENT_TOOL_ARGS)
            put_numbered(flow, event);
        else
            put_text(flow, EVENT_TOOL_ARGS,
                     unwrap_feed(&block->unwrap, event->text, flow->scratch));
        return;
    case MODE_JSON:
        if (event->kind == EVENT_TOOL_ARGS) {
            block->said |= event->text.n > 0;
            say_visible(flow, event->text);
        } else if (event->kind == EVENT_LOGPROBS) {
            put_numbered(flow, event);
        }
        return;
    }
    BUG("no such mode");
}

/* --- beginnings --- */

/* The tool by the client's name. */
static void rename_tool(const struct translation *translation, struct event *begin)
{
    begin->begin.name = translation_ours(translation, begin->begin.name);
}

static void begin_tool(struct flow *flow, struct event *begin)
{
    const struct translation *t = flow->restore->translation;

    if (t != NULL && !str_is_null(t->json_tool) && str_eq(begin->begin.name, t->json_tool)) {
        flow->block->mode = MODE_JSON;
        put_begin_of(flow, BLOCK_TEXT);
        return;
    }
    flow->choice->has_tool = true;
    if (t != NULL) {
        rename_tool(t, begin);
        if (translation_is_wrapped(t, begin->begin.name)) {
            flow->block->mode = MODE_WRAPPED;
            flow->block->unwrap = (struct unwrap){.state = UNWRAP_BEFORE};
            begin->begin.custom = true;
        }
    }
    put_begin(flow, begin);
}

/* Room for one more block; false when the arena is full. */
static bool grow_blocks(struct restore *restore, struct restore_choice *choice)
{
    if (choice->n < choice->size)
        return true;
    uint32_t size = choice->size == 0 ? BLOCKS_STEP : choice->size * 2;
    struct restore_block *blocks = arena_grow(restore->arena, choice->blocks,
                                              choice->size * sizeof(*blocks),
                                              size * sizeof(*blocks));
    if (arena_overflowed(restore->arena)) {
        restore->full = true;
        return false;
    }
    choice->blocks = blocks;
    choice->size = size;
    return true;
}

/* Whether it is certain that a text which may be tagged begins with text: the frame goes on so.
 * Else it begins when that is known. */
static bool text_follows(const struct flow *flow, const struct event *begin)
{
    const struct event *next = &flow->frame->events[flow->read + 1];

    if (flow->restore->stops != NULL || flow->restore->echo.n > 0 ||
        flow->read + 1 >= flow->frame->n || next->kind != EVENT_TEXT ||
        next->choice != begin->choice || next->block != begin->block)
        return false;
    size_t blanks = count_leading(next->text, " \t\r\n");
    return blanks < next->text.n && next->text.p[blanks] != '<';
}

static void begin_block(struct flow *flow, const struct event *event)
{
    struct restore *restore = flow->restore;
    struct restore_choice *choice = flow->choice;
    struct event begin = *event;

    if (!grow_blocks(restore, choice))
        return;
    assert(event->block == choice->n);
    flow->block = &choice->blocks[choice->n++];
    *flow->block = (struct restore_block){.mode = MODE_AS_IS};
    if (begin.begin.kind == BLOCK_TOOL) {
        begin_tool(flow, &begin);
        return;
    }
    choice->reasons = choice->reasons || begin.begin.kind == BLOCK_REASONING;
    bool tagged = restore->think_tags && !choice->reasons;
    bool echoes = restore->echo.n > 0 && !choice->echo_over;
    if (begin.begin.kind == BLOCK_TEXT && (tagged || echoes || restore->stops != NULL)) {
        flow->block->mode = MODE_TEXT;
        flow->block->tagged.settled = !tagged;
        flow->block->tagged.said = !tagged;
        if (tagged && !text_follows(flow, event))
            return;
    }
    put_begin(flow, &begin);
}

/* --- events --- */

static struct restore_choice *choice_of(struct restore *restore, uint32_t index)
{
    struct restore_choice **to = &restore->choices;

    while (*to != NULL && (*to)->index != index)
        to = &(*to)->next;
    if (*to != NULL)
        return *to;
    struct restore_choice *choice = ARENA_NEW(restore->arena, struct restore_choice);
    restore->full |= arena_overflowed(restore->arena);
    if (restore->full)
        return NULL;
    choice->index = index;
    *to = choice;
    return choice;
}

static void stop(struct flow *flow, const struct event *event)
{
    const struct translation *t = flow->restore->translation;
    struct event stop = *event;

    end_choice(flow);
    /* The one call was the answer. */
    if (stop.stop.reason == STOP_TOOL && !flow->choice->has_tool && t != NULL &&
        !str_is_null(t->json_tool)) {
        stop.stop.reason = STOP_END;
        stop.stop.native = STR_NULL;
    }
    put(flow, &stop);
}

static void of_choice(struct flow *flow, const struct event *event)
{
    flow->choice = choice_of(flow->restore, event->choice);
    if (flow->choice == NULL || flow->choice->stopped)
        return;
    if (event->kind == EVENT_BLOCK_BEGIN) {
        begin_block(flow, event);
    } else if (event->kind == EVENT_STOP) {
        stop(flow, event);
    } else {
        assert(event->block < flow->choice->n);
        flow->block = &flow->choice->blocks[event->block];
        inside(flow, event);
    }
}

static void give_up_all(struct flow *flow)
{
    for (struct restore_choice *choice = flow->restore->choices; choice != NULL;
         choice = choice->next) {
        flow->choice = choice;
        for (uint32_t i = 0; i < choice->n && !choice->stopped; i++) {
            flow->block = &choice->blocks[i];
            if (!flow->block->ended)
                give_up(flow);
        }
    }
}

/* With tracking. */
static void pass(struct flow *flow, const struct event *event)
{
    switch (event->kind) {
    case EVENT_START:
    case EVENT_USAGE:
    case EVENT_KEEPALIVE:
        put(flow, event);
        return;
    case EVENT_ERROR:
        give_up_all(flow);
        put(flow, event);
        return;
    case EVENT_BLOCK_BEGIN:
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
    case EVENT_BLOCK_END:
    case EVENT_STOP:
        of_choice(flow, event);
        return;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

/* Whether the client sees the same. */
static bool same(const struct event *out, const struct event *in)
{
    if (out->kind != in->kind || out->choice != in->choice || out->block != in->block)
        return false;
    switch (out->kind) {
    case EVENT_BLOCK_BEGIN:
        return out->begin.kind == in->begin.kind && out->begin.custom == in->begin.custom &&
               out->begin.name.p == in->begin.name.p;
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
        return out->text.p == in->text.p && out->text.n == in->text.n;
    case EVENT_STOP:
        return out->stop.reason == in->stop.reason;
    case EVENT_START:
    case EVENT_BLOCK_END:
    case EVENT_USAGE:
    case EVENT_ERROR:
    case EVENT_KEEPALIVE:
        return true;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

/* Names alone, in place. */
static void rename_all(const struct translation *translation, struct frame *frame)
{
    for (uint32_t i = 0; i < frame->n; i++) {
        struct event *event = &frame->events[i];
        if (event->kind != EVENT_BLOCK_BEGIN || event->begin.kind != BLOCK_TOOL)
            continue;
        const char *before = event->begin.name.p;
        rename_tool(translation, event);
        frame->changed |= event->begin.name.p != before;
    }
}

enum restore_verdict restore_frame(struct restore *restore, struct frame *frame,
                                   struct arena *scratch)
{
    struct flow flow = {
        .restore = restore,
        .scratch = scratch,
        .frame = frame,
        .events = frame->events,
        .in_place = true,
    };

    if (!restore->tracks) {
        rename_all(restore->translation, frame);
        return RESTORE_OK;
    }
    for (; flow.read < frame->n && !restore->full; flow.read++) {
        const struct event event = frame->events[flow.read];
        uint32_t before = flow.n;
        if (!restore->cut || event.kind == EVENT_USAGE)
            pass(&flow, &event);
        flow.changed |= flow.n != before + 1 || !same(&flow.events[before], &event);
    }
    frame->events = flow.events;
    frame->n = flow.n;
    frame->changed |= flow.changed;
    restore->full |= arena_overflowed(restore->arena) || arena_overflowed(scratch);
    if (restore->full)
        return RESTORE_FULL;
    return restore->cut ? RESTORE_CUT : RESTORE_OK;
}

void restore_end(struct restore *restore, struct frame *ret_frame, struct arena *scratch)
{
    struct flow flow = {.restore = restore, .scratch = scratch};

    if (restore->tracks && !restore->cut && !restore->full)
        give_up_all(&flow);
    *ret_frame = (struct frame){.events = flow.events, .n = flow.n, .changed = true};
}
