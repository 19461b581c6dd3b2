/* SPDX-License-Identifier: MIT */
#include "protocol/openai_chat_trial.h"

#include "canon/check.h"
#include "canon/digest.h"
#include "canon/dump.h"
#include "protocol/openai_chat_priv.h"

enum { ARENA_BYTES_MAX = 256 * 1024 * 1024, EVENT_BYTES_MAX = 16 * 1024 * 1024, DEPTH_MAX = 64 };

/* --- decoding ----------------------------------------------------------------------------- */

static struct event event_copy(struct arena *arena, const struct event *event)
{
    struct event copy = *event;

    switch (event->kind) {
    case EVENT_START:
        copy.start.id = str_copy(arena, event->start.id);
        copy.start.model = str_copy(arena, event->start.model);
        return copy;
    case EVENT_BLOCK_BEGIN:
        copy.begin.id = str_copy(arena, event->begin.id);
        copy.begin.name = str_copy(arena, event->begin.name);
        return copy;
    case EVENT_TEXT:
    case EVENT_REASONING:
    case EVENT_SIGNATURE:
    case EVENT_TOOL_ARGS:
    case EVENT_CITATION:
    case EVENT_LOGPROBS:
        copy.text = str_copy(arena, event->text);
        return copy;
    case EVENT_STOP:
        copy.stop.native = str_copy(arena, event->stop.native);
        copy.stop.sequence = str_copy(arena, event->stop.sequence);
        return copy;
    case EVENT_ERROR:
        copy.error.type = str_copy(arena, event->error.type);
        copy.error.code = str_copy(arena, event->error.code);
        copy.error.message = str_copy(arena, event->error.message);
        return copy;
    case EVENT_BLOCK_END:
    case EVENT_USAGE:
    case EVENT_KEEPALIVE:
        return copy;
    case EVENT_KIND_COUNT:
        break;
    }
    BUG("no such kind of event");
}

static enum push keep(void *ctx, struct frame *frame)
{
    struct openai_chat_trial *trial = ctx;
    struct arena *arena = &trial->arena;
    struct frame copy = *frame;

    if (trial->n == trial->size) {
        size_t size = trial->size == 0 ? 64 : trial->size * 2;
        trial->frames = arena_grow(arena, trial->frames, trial->size * sizeof(copy),
                                   size * sizeof(copy));
        trial->size = size;
    }
    copy.raw = str_copy(arena, frame->raw);
    copy.events = arena_array(arena, frame->n == 0 ? 1 : frame->n, sizeof(*copy.events));
    assert(!arena_overflowed(arena));
    for (uint32_t i = 0; i < frame->n; i++)
        copy.events[i] = event_copy(arena, &frame->events[i]);
    trial->frames[trial->n++] = copy;
    return PUSH_OK;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Each piece in memory of its own, gone after the call: who keeps a pointer is found out. */
static enum error_code give(struct openai_chat_decoder *d, struct str piece, struct error *e)
{
    struct arena arena;
    enum error_code code;

    arena_init(&arena, ARENA_BYTES_MAX, piece.n + 64, NULL);
    code = openai_chat_decode_bytes(d, str_copy(&arena, piece), false, e);
    arena_fini(&arena);
    return code;
}

static enum error_code decode(struct openai_chat_decoder *d, struct str bytes,
                              const struct openai_chat_cuts *cuts, struct error *e)
{
    uint64_t seed = cuts->seed;

    if (!cuts->stream || cuts->step == 0)
        return openai_chat_decode_bytes(d, bytes, true, e);
    while (bytes.n > 0) {
        size_t n = seed == 0 ? cuts->step : 1 + (size_t)(next_random(&seed) % cuts->step);
        TRY(give(d, str_head(bytes, n), e));
        bytes = str_from(bytes, n);
    }
    return openai_chat_decode_bytes(d, STR(""), true, e);
}

void openai_chat_trial_decode(struct openai_chat_trial *trial, struct str bytes,
                              const struct openai_chat_cuts *cuts)
{
    struct arena scratch;
    struct arena answer;
    struct openai_chat_decoder d = {.n = 0};
    const struct decoder_options options = {
        .stream = cuts->stream,
        .event_bytes_max = EVENT_BYTES_MAX,
        .depth_max = DEPTH_MAX,
        .scratch = &scratch,
        .arena = &answer,
        .sink = keep,
        .sink_ctx = trial,
    };

    assert(cuts->stream || cuts->step == 0);
    *trial = (struct openai_chat_trial){.n = 0};
    arena_init(&trial->arena, ARENA_BYTES_MAX, 16 * 1024, NULL);
    arena_init(&scratch, ARENA_BYTES_MAX, 1024, NULL);
    arena_init(&answer, ARENA_BYTES_MAX, 1024, NULL);
    openai_chat_decode_init(&d, &options);
    d.templates_off = cuts->templates_off;
    trial->error.code = decode(&d, bytes, cuts, &trial->error);
    trial->matched = d.matched;
    trial->not_json = d.not_json;
    openai_chat_decode_fini(&d);
    arena_fini(&answer);
    arena_fini(&scratch);
}

void openai_chat_trial_fini(struct openai_chat_trial *trial)
{
    arena_fini(&trial->arena);
    *trial = (struct openai_chat_trial){.n = 0};
}

/* --- looking at it ------------------------------------------------------------------------ */

static bool has_error(const struct openai_chat_trial *trial)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            if (trial->frames[i].events[k].kind == EVENT_ERROR)
                return true;
        }
    }
    return false;
}

bool openai_chat_trial_check(const struct openai_chat_trial *trial, struct error *ret_why)
{
    struct arena arena;
    struct check *check;
    bool ok = true;

    arena_init(&arena, ARENA_BYTES_MAX, 16 * 1024, NULL);
    check = check_new(&arena);
    for (size_t i = 0; i < trial->n && ok; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n && ok; k++)
            ok = check_event(check, &trial->frames[i].events[k], ret_why) == OK;
    }
    if (ok) {
        bool complete = trial->error.code == OK && !has_error(trial);
        ok = check_end(check, complete, ret_why) == OK;
    }
    arena_fini(&arena);
    return ok;
}

void openai_chat_trial_dump(const struct openai_chat_trial *trial, struct buf *out)
{
    for (size_t i = 0; i < trial->n; i++) {
        const struct frame *frame = &trial->frames[i];
        buf_print(out, "frame%s%s%s raw=%.*s\n", frame->terminator ? " terminator" : "",
                  frame->whole ? " whole" : "", frame->usage_only ? " usage_only" : "",
                  STR_ARG(frame->raw));
        for (uint32_t k = 0; k < frame->n; k++) {
            dump_event(out, &frame->events[k]);
            buf_add_char(out, '\n');
        }
    }
    buf_print(out, "end %s\n", trial->error.code == OK ? "OK" : error_name(trial->error.code));
}

void openai_chat_trial_events(const struct openai_chat_trial *trial, struct buf *out)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            dump_event(out, &trial->frames[i].events[k]);
            buf_add_char(out, '\n');
        }
    }
}

void openai_chat_trial_digest(const struct openai_chat_trial *trial, bool usage, struct buf *out)
{
    struct digest *digest = digest_new();

    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++)
            digest_event(digest, &trial->frames[i].events[k]);
    }
    digest_write(digest, usage, out);
    digest_free(&digest);
}

/* --- encoding ----------------------------------------------------------------------------- */

enum error_code openai_chat_trial_encode(const struct openai_chat_trial *trial,
                                         const struct encoder_options *options, struct buf *out,
                                         struct error *e)
{
    struct arena answer;
    struct openai_chat_encoder enc = {.started = false};
    struct encoder_options filled = *options;
    enum error_code code = OK;

    arena_init(&answer, ARENA_BYTES_MAX, 1024, NULL);
    filled.arena = &answer;
    filled.bytes_max = ARENA_BYTES_MAX;
    filled.id = STR("ours");
    filled.model = STR("our-model");
    if (filled.now_s == 0)
        filled.now_s = 1700000000;
    openai_chat_encode_init(&enc, &filled);
    for (size_t i = 0; i < trial->n && code == OK; i++) {
        struct str raw;
        size_t before = out->n;
        code = openai_chat_encode_frame(&enc, &trial->frames[i], out, &raw, e);
        assert(str_is_null(raw) || out->n == before);
        if (code == OK)
            buf_add(out, raw);
    }
    if (code == OK && trial->error.code == OK)
        code = openai_chat_encode_end(&enc, out, e);
    openai_chat_encode_fini(&enc);
    arena_fini(&answer);
    return code;
}
