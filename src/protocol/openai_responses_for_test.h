/* SPDX-License-Identifier: MIT */
/*
 * Answers run through decoder and encoder, with everything kept: the frame of this protocol's
 * tests and fuzzers. Works on any protocol's table entry.
 */
#pragma once

#include "canon/check.h"
#include "canon/digest.h"
#include "canon/dump.h"
#include "protocol/protocol.h"

enum { TRIAL_BYTES_MAX = 256 * 1024 * 1024 };

struct trial {
    struct arena arena; /* of all below */
    struct frame *frames;
    size_t n;
    size_t size;
    struct error error; /* how decoding ended */
};

static inline struct event trial_event_copy(struct arena *arena, const struct event *event)
{
    struct event copy = *event;

    if (event->kind == EVENT_START) {
        copy.start.id = str_copy(arena, event->start.id);
        copy.start.model = str_copy(arena, event->start.model);
    } else if (event->kind == EVENT_BLOCK_BEGIN) {
        copy.begin.id = str_copy(arena, event->begin.id);
        copy.begin.name = str_copy(arena, event->begin.name);
        copy.begin.space = str_copy(arena, event->begin.space);
    } else if (event->kind == EVENT_STOP) {
        copy.stop.native = str_copy(arena, event->stop.native);
        copy.stop.sequence = str_copy(arena, event->stop.sequence);
    } else if (event->kind == EVENT_ERROR) {
        copy.error.type = str_copy(arena, event->error.type);
        copy.error.code = str_copy(arena, event->error.code);
        copy.error.message = str_copy(arena, event->error.message);
    } else if (event->kind != EVENT_USAGE && event->kind != EVENT_KEEPALIVE &&
               event->kind != EVENT_BLOCK_END) {
        copy.text = str_copy(arena, event->text);
    }
    return copy;
}

static inline enum push trial_keep(void *ctx, struct frame *frame)
{
    struct trial *trial = ctx;
    struct frame copy = *frame;

    if (trial->n == trial->size) {
        size_t size = trial->size == 0 ? 64 : trial->size * 2;
        trial->frames = arena_grow(&trial->arena, trial->frames, trial->size * sizeof(copy),
                                   size * sizeof(copy));
        trial->size = size;
    }
    copy.raw = str_copy(&trial->arena, frame->raw);
    copy.events = arena_array(&trial->arena, frame->n == 0 ? 1 : frame->n, sizeof(*copy.events));
    assert(!arena_overflowed(&trial->arena));
    for (uint32_t i = 0; i < frame->n; i++)
        copy.events[i] = trial_event_copy(&trial->arena, &frame->events[i]);
    trial->frames[trial->n++] = copy;
    return PUSH_OK;
}

/* Each piece in memory of its own, gone after the call: who keeps a pointer is found out. */
static inline enum error_code trial_give(const struct protocol *protocol, void *decoder,
                                         struct str piece, struct error *e)
{
    struct arena arena;

    arena_init(&arena, TRIAL_BYTES_MAX, piece.n + 64, NULL);
    enum error_code code = protocol->response_decode(decoder, str_copy(&arena, piece), false, e);
    arena_fini(&arena);
    return code;
}

/* step: bytes given at once; 0: all. The trial is to be given to trial_fini. */
static inline void trial_decode(struct trial *trial, const struct protocol *protocol,
                                struct str bytes, bool stream, size_t step)
{
    struct arena scratch;
    struct arena answer;
    const struct decoder_options options = {
        .stream = stream,
        .event_bytes_max = 16 * 1024 * 1024,
        .depth_max = 64,
        .scratch = &scratch,
        .arena = &answer,
        .sink = trial_keep,
        .sink_ctx = trial,
    };
    enum error_code code = OK;

    *trial = (struct trial){.n = 0};
    arena_init(&trial->arena, TRIAL_BYTES_MAX, 16 * 1024, NULL);
    arena_init(&scratch, TRIAL_BYTES_MAX, 1024, NULL);
    arena_init(&answer, TRIAL_BYTES_MAX, 1024, NULL);
    void *decoder = arena_zalloc(&trial->arena, protocol->decoder_size);
    protocol->decoder_init(decoder, &options);
    while (stream && step > 0 && bytes.n > 0 && code == OK) {
        code = trial_give(protocol, decoder, str_head(bytes, step), &trial->error);
        bytes = str_from(bytes, step);
    }
    if (code == OK)
        code = protocol->response_decode(decoder, bytes, true, &trial->error);
    trial->error.code = code;
    protocol->decoder_fini(decoder);
    arena_fini(&answer);
    arena_fini(&scratch);
}

static inline void trial_fini(struct trial *trial)
{
    arena_fini(&trial->arena);
}

static inline bool trial_has(const struct trial *trial, enum event_kind kind)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            if (trial->frames[i].events[k].kind == kind)
                return true;
        }
    }
    return false;
}

/* Whether the events obey canon/check; else why. */
static inline bool trial_check(const struct trial *trial, struct error *ret_why)
{
    struct arena arena;
    bool ok = true;

    arena_init(&arena, TRIAL_BYTES_MAX, 16 * 1024, NULL);
    struct check *check = check_new(&arena);
    for (size_t i = 0; i < trial->n && ok; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n && ok; k++)
            ok = check_event(check, &trial->frames[i].events[k], ret_why) == OK;
    }
    if (ok)
        ok = check_end(check, trial->error.code == OK && !trial_has(trial, EVENT_ERROR), ret_why) ==
             OK;
    arena_fini(&arena);
    return ok;
}

/* All frames, their bytes and events. */
static inline void trial_dump(const struct trial *trial, bool raw, struct buf *out)
{
    for (size_t i = 0; i < trial->n; i++) {
        const struct frame *frame = &trial->frames[i];
        if (raw)
            buf_print(out, "frame%s raw=%.*s\n", frame->terminator ? " terminator" : "",
                      STR_ARG(frame->raw));
        for (uint32_t k = 0; k < frame->n; k++) {
            dump_event(out, &frame->events[k]);
            buf_add_char(out, '\n');
        }
    }
    buf_print(out, "end %s\n", trial->error.code == OK ? "OK" : error_name(trial->error.code));
}

static inline void trial_digest(const struct trial *trial, bool usage, struct buf *out)
{
    struct digest *digest = digest_new();

    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++)
            digest_event(digest, &trial->frames[i].events[k]);
    }
    digest_write(digest, usage, out);
    digest_free(&digest);
}

/* The client's bytes. Of options stream, same_protocol, request and stored count; from that frame
 * on all are changed (SIZE_MAX: none). encoder_end is called when the answer was complete. */
static inline enum error_code trial_encode(struct trial *trial, const struct protocol *protocol,
                                           const struct encoder_options *options,
                                           size_t changed_from, struct buf *out, struct error *e)
{
    struct arena answer;
    struct encoder_options filled = *options;
    enum error_code code = OK;

    arena_init(&answer, TRIAL_BYTES_MAX, 1024, NULL);
    filled.arena = &answer;
    if (filled.bytes_max == 0)
        filled.bytes_max = TRIAL_BYTES_MAX;
    filled.id = STR("ours");
    filled.model = STR("our-model");
    filled.now_s = 1700000000;
    void *encoder = arena_zalloc(&answer, protocol->encoder_size);
    protocol->encoder_init(encoder, &filled);
    for (size_t i = 0; i < trial->n && code == OK; i++) {
        struct str raw;
        size_t before = out->n;
        trial->frames[i].changed = i >= changed_from;
        code = protocol->response_encode(encoder, &trial->frames[i], out, &raw, e);
        trial->frames[i].changed = false;
        assert(str_is_null(raw) || out->n == before);
        if (code == OK)
            buf_add(out, raw);
    }
    if (code == OK && trial->error.code == OK)
        code = protocol->encoder_end(encoder, out, e);
    protocol->encoder_fini(encoder);
    arena_fini(&answer);
    return code;
}

/* What the protocol's checker says of a client's bytes. */
static inline enum error_code trial_lint(const struct protocol *protocol, struct str bytes,
                                         bool stream, size_t step, struct error *e)
{
    struct arena arena;
    const struct lint_options options = {.stream = stream, .arena = &arena};
    enum error_code code = OK;

    arena_init(&arena, TRIAL_BYTES_MAX, 16 * 1024, NULL);
    void *state = arena_zalloc(&arena, protocol->lint_size);
    protocol->lint_init(state, &options);
    while (step > 0 && bytes.n > 0 && code == OK) {
        code = protocol->lint_bytes(state, str_head(bytes, step), false, e);
        bytes = str_from(bytes, step);
    }
    if (code == OK)
        code = protocol->lint_bytes(state, bytes, true, e);
    protocol->lint_fini(state);
    arena_fini(&arena);
    return code;
}

/* The same stream with events between its own that are not known: they say nothing, but what was
 * learned of the one before is forgotten with each. */
static inline void trial_forgetful(struct str bytes, struct buf *out)
{
    size_t at = 0;

    for (size_t end; (end = str_find(bytes, STR("\n\n"), at)) != SIZE_MAX; at = end + 2) {
        buf_add(out, str_of(bytes.p + at, end + 2 - at));
        buf_add(out, STR("data: {\"type\":\"of nobody\"}\n\n"));
    }
    buf_add(out, str_from(bytes, at));
}
