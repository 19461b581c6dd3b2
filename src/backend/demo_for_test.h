/* SPDX-License-Identifier: MIT */
/*
 * For tests: the demo is asked as the gateway asks it, and its answer read with the protocol's own
 * decoder and held against the grammar of events and of Chat Completions.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"
#include "canon/check.h"
#include "text/json.h"

enum {
    DEMO_ARENA_MAX = 64 * 1024 * 1024,
    DEMO_BODY_MAX = 16 * 1024 * 1024,
    DEMO_BLOCKS_MAX = 16,
    DEMO_CHOICES_READ = 8,
};

extern const struct protocol protocol_openai_chat;
extern const struct local_backend demo_backend;

/* A block of an answer. */
struct demo_read {
    enum block_kind kind;
    struct buf text;
    struct str name;
    struct str id;
    bool custom;
};

struct demo_read_choice {
    struct demo_read blocks[DEMO_BLOCKS_MAX];
    size_t n;
    enum stop_reason stop;
    bool stopped;
};

/* What an answer was. */
struct demo_answer {
    struct local_head head;
    enum local_move last;
    struct buf body;
    size_t pieces;
    int64_t waited_ms;
    bool failed; /* the decoder found it broken */
    struct check *check;
    struct demo_read_choice choices[DEMO_CHOICES_READ];
    struct str model;
    struct str id;
    struct usage usage;
    size_t usages;
    bool terminator;
    struct arena arena;
    struct arena scratch;
};

static inline void demo_take_event(struct demo_answer *a, const struct event *event)
{
    struct demo_read_choice *choice = &a->choices[event->choice];
    struct error e;

    if (check_event(a->check, event, &e) != OK)
        fail_msg("%s", e.detail);
    assert_true(event->choice < DEMO_CHOICES_READ);
    if (event->kind == EVENT_START) {
        a->model = str_copy(&a->arena, event->start.model);
        a->id = str_copy(&a->arena, event->start.id);
        assert_int_equal(event->start.created_s, 1700000000);
    } else if (event->kind == EVENT_BLOCK_BEGIN) {
        assert_true(choice->n < DEMO_BLOCKS_MAX);
        struct demo_read *block = &choice->blocks[choice->n++];
        block->kind = event->begin.kind;
        block->name = str_copy(&a->arena, event->begin.name);
        block->id = str_copy(&a->arena, event->begin.id);
        block->custom = event->begin.custom;
        buf_init(&block->text, DEMO_BODY_MAX);
    } else if (event->kind == EVENT_TEXT || event->kind == EVENT_REASONING ||
               event->kind == EVENT_TOOL_ARGS) {
        assert_true(event->block < choice->n);
        (void)buf_add(&choice->blocks[event->block].text, event->text);
    } else if (event->kind == EVENT_USAGE) {
        a->usage = event->usage;
        a->usages++;
    } else if (event->kind == EVENT_STOP) {
        choice->stop = event->stop.reason;
        choice->stopped = true;
    }
}

static inline enum push demo_on_frame(void *ctx, struct frame *frame)
{
    struct demo_answer *a = ctx;

    for (uint32_t i = 0; i < frame->n; i++)
        demo_take_event(a, &frame->events[i]);
    a->terminator |= frame->terminator;
    return PUSH_OK;
}

static inline void demo_lint(struct demo_answer *a, bool stream)
{
    const struct protocol *p = &protocol_openai_chat;
    const struct lint_options options = {.stream = stream, .arena = &a->arena};
    void *lint = arena_zalloc(&a->arena, p->lint_size);
    struct error e;

    p->lint_init(lint, &options);
    if (p->lint_bytes(lint, buf_str(&a->body), true, &e) != OK)
        fail_msg("%s\n%.*s", e.detail, STR_ARG(buf_str(&a->body)));
    p->lint_fini(lint);
}

static inline void demo_decode(struct demo_answer *a, bool stream)
{
    const struct protocol *p = &protocol_openai_chat;
    const struct decoder_options options = {
        .stream = stream,
        .event_bytes_max = DEMO_BODY_MAX,
        .depth_max = 64,
        .scratch = &a->scratch,
        .arena = &a->arena,
        .sink = demo_on_frame,
        .sink_ctx = a,
    };
    void *decoder = arena_zalloc(&a->arena, p->decoder_size);
    struct error e;

    a->check = check_new(&a->arena);
    p->decoder_init(decoder, &options);
    a->failed = p->response_decode(decoder, buf_str(&a->body), true, &e) != OK;
    p->decoder_fini(decoder);
    if (a->failed)
        return;
    if (check_end(a->check, true, &e) != OK)
        fail_msg("%s", e.detail);
    demo_lint(a, stream);
}

/* Asks; what answered with status 200 and claims to be whole must be a good answer. */
static inline void demo_ask(struct demo_answer *a, struct str body)
{
    const struct protocol *p = &protocol_openai_chat;
    const struct request_limits limits = {.depth_max = 64};
    struct request request;
    struct error e;

    memset(a, 0, sizeof(*a));
    arena_init(&a->arena, DEMO_ARENA_MAX, 4096, NULL);
    arena_init(&a->scratch, DEMO_ARENA_MAX, 4096, NULL);
    buf_init(&a->body, DEMO_BODY_MAX);
    memset(&request, 0, sizeof(request));
    if (p->request_decode(body, &limits, &a->arena, &request, &e) != OK ||
        p->request_decode_full(&request, &limits, &a->arena, &e) != OK)
        fail_msg("%s", e.detail);
    void *state = arena_zalloc(&a->arena, demo_backend.state_size);
    demo_backend.start(state, &request, 1700000000, &a->arena, &a->body, &a->head);
    a->waited_ms = a->head.wait_ms;
    a->last = LOCAL_END;
    while (a->head.status == 200 && !a->head.silent) {
        size_t before = a->body.n;
        int64_t wait_ms = 0;
        a->last = demo_backend.next(state, &a->body, &wait_ms);
        assert_true(wait_ms >= 0 && wait_ms <= 1000);
        a->waited_ms += wait_ms;
        a->pieces += a->body.n > before;
        if (a->last != LOCAL_MORE)
            break;
    }
    demo_backend.end(state);
    assert_false(arena_overflowed(&a->arena));
    if (a->head.status == 200 && !a->head.silent)
        demo_decode(a, request.stream);
    assert_true(a->last != LOCAL_END || !a->failed);
}

static inline void demo_answer_fini(struct demo_answer *a)
{
    for (size_t i = 0; i < DEMO_CHOICES_READ; i++) {
        for (size_t k = 0; k < a->choices[i].n; k++)
            buf_fini(&a->choices[i].blocks[k].text);
    }
    buf_fini(&a->body);
    arena_fini(&a->scratch);
    arena_fini(&a->arena);
}

/* The first choice's text; "" without one. */
static inline struct str demo_text_of(const struct demo_answer *a)
{
    for (size_t k = 0; k < a->choices[0].n; k++) {
        if (a->choices[0].blocks[k].kind == BLOCK_TEXT)
            return buf_str(&a->choices[0].blocks[k].text);
    }
    return STR("");
}

static inline void demo_expect_text(const struct demo_answer *a, const char *expected)
{
    if (!str_eq(demo_text_of(a), str_c(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(demo_text_of(a)), expected);
}

static inline bool demo_said(const struct demo_answer *a, const char *needle)
{
    return str_find(buf_str(&a->body), str_c(needle), 0) != SIZE_MAX;
}
