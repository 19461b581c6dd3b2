/* SPDX-License-Identifier: MIT */
#include "protocol/trial.h"

#include "base/mem.h"
#include "canon/check.h"
#include "canon/digest.h"
#include "canon/dump.h"

enum {
    ARENA_BYTES_MAX = 256 * 1024 * 1024,
    NOW_S = 1700000000,
    EVENT_BYTES_MAX = 16 * 1024 * 1024,
    DEPTH_MAX = 64,
    LINT_SMALL = 4096
};

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
        copy.begin.space = str_copy(arena, event->begin.space);
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
    struct trial *trial = ctx;
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

/* Each piece in memory of its own, as long as it is and gone after the call: who reads past it, or
 * keeps a pointer, is found out. */
static enum error_code give(const struct protocol *protocol, void *decoder, struct str piece,
                            struct error *e)
{
    char *bytes = mem_raw(piece.n);

    memcpy(bytes, piece.p, piece.n);
    enum error_code code = protocol->response_decode(decoder, str_of(bytes, piece.n), false, e);
    mem_free(bytes);
    return code;
}

static enum error_code decode(const struct protocol *protocol, void *decoder, struct str bytes,
                              const struct trial_cuts *cuts, struct error *e)
{
    uint64_t seed = cuts->seed;

    if (cuts->at > 0) {
        TRY(give(protocol, decoder, str_head(bytes, cuts->at), e));
        return protocol->response_decode(decoder, str_from(bytes, cuts->at), true, e);
    }
    if (!cuts->stream || cuts->step == 0)
        return protocol->response_decode(decoder, bytes, true, e);
    while (bytes.n > 0) {
        size_t n = seed == 0 ? cuts->step : 1 + (size_t)(next_random(&seed) % cuts->step);
        TRY(give(protocol, decoder, str_head(bytes, n), e));
        bytes = str_from(bytes, n);
    }
    return protocol->response_decode(decoder, STR(""), true, e);
}

void trial_decode(struct trial *trial, const struct protocol *protocol, struct str bytes,
                  const struct trial_cuts *cuts)
{
    struct arena scratch;
    struct arena answer;
    const struct decoder_options options = {
        .stream = cuts->stream,
        .array = cuts->array,
        .event_bytes_max = EVENT_BYTES_MAX,
        .depth_max = DEPTH_MAX,
        .scratch = &scratch,
        .arena = &answer,
        .sink = keep,
        .sink_ctx = trial,
        .dialect = cuts->dialect,
        .mend = cuts->mend,
        .id = STR("ours"),
        .model = STR("our-model"),
        .now_s = NOW_S,
    };

    assert(cuts->stream || (cuts->step == 0 && cuts->at == 0));
    *trial = (struct trial){.protocol = protocol};
    arena_init(&trial->arena, ARENA_BYTES_MAX, 16 * 1024, NULL);
    arena_init(&scratch, ARENA_BYTES_MAX, 1024, NULL);
    arena_init(&answer, ARENA_BYTES_MAX, 1024, NULL);
    trial->decoder = arena_zalloc(&trial->arena, protocol->decoder_size);
    protocol->decoder_init(trial->decoder, &options);
    if (cuts->prepare != NULL)
        cuts->prepare(trial->decoder);
    trial->error.code = decode(protocol, trial->decoder, bytes, cuts, &trial->error);
    protocol->decoder_fini(trial->decoder);
    arena_fini(&answer);
    arena_fini(&scratch);
}

enum error_code trial_read(struct trial *trial, struct str lines, struct error *e)
{
    struct str line;

    *trial = (struct trial){.n = 0};
    arena_init(&trial->arena, ARENA_BYTES_MAX, 16 * 1024, NULL);
    while (str_cut(&lines, '\n', &line)) {
        struct event event;
        struct frame frame = {.raw = STR("x"), .events = &event, .n = 1};
        if (line.n == 0)
            continue;
        TRY(dump_event_read(line, &trial->arena, &event, e));
        (void)keep(trial, &frame);
    }
    return OK;
}

void trial_fini(struct trial *trial)
{
    arena_fini(&trial->arena);
    *trial = (struct trial){.n = 0};
}

/* --- looking at it ------------------------------------------------------------------------ */

bool trial_has(const struct trial *trial, enum event_kind kind)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            if (trial->frames[i].events[k].kind == kind)
                return true;
        }
    }
    return false;
}

bool trial_check(const struct trial *trial, struct error *ret_why)
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
        bool complete = trial->error.code == OK && !trial_has(trial, EVENT_ERROR);
        ok = check_end(check, complete, ret_why) == OK;
    }
    arena_fini(&arena);
    return ok;
}

void trial_raw(const struct trial *trial, struct buf *out)
{
    for (size_t i = 0; i < trial->n; i++)
        (void)buf_add(out, trial->frames[i].raw);
}

bool trial_is_raw(const struct trial *trial, struct str bytes)
{
    for (size_t i = 0; i < trial->n; i++) {
        if (!str_starts(bytes, trial->frames[i].raw))
            return false;
        bytes = str_from(bytes, trial->frames[i].raw.n);
    }
    /* Of what broke off the last piece is dropped. */
    return trial->error.code != OK || bytes.n == 0;
}

void trial_dump(const struct trial *trial, struct buf *out)
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

void trial_events(const struct trial *trial, struct buf *out)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            dump_event(out, &trial->frames[i].events[k]);
            buf_add_char(out, '\n');
        }
    }
}

void trial_digest(const struct trial *trial, bool usage, struct buf *out)
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

void trial_change_from(struct trial *trial, size_t from)
{
    for (size_t i = 0; i < trial->n; i++)
        trial->frames[i].changed = i >= from;
}

enum error_code trial_encode(const struct trial *trial, const struct protocol *protocol,
                             const struct encoder_options *options, struct buf *out,
                             struct error *e)
{
    struct arena answer;
    void *encoder = mem_new(protocol->encoder_size);
    struct encoder_options filled = *options;
    enum error_code code = OK;

    arena_init(&answer, ARENA_BYTES_MAX, 1024, NULL);
    filled.arena = &answer;
    if (filled.bytes_max == 0)
        filled.bytes_max = ARENA_BYTES_MAX;
    if (str_is_null(filled.id))
        filled.id = STR("ours");
    if (str_is_null(filled.model))
        filled.model = STR("our-model");
    if (filled.now_s == 0)
        filled.now_s = NOW_S;
    protocol->encoder_init(encoder, &filled);
    for (size_t i = 0; i < trial->n && code == OK; i++) {
        struct str raw;
        size_t before = out->n;
        code = protocol->response_encode(encoder, &trial->frames[i], out, &raw, e);
        assert(str_is_null(raw) || out->n == before);
        if (code == OK)
            buf_add(out, raw);
    }
    if (code == OK && trial->error.code == OK)
        code = protocol->encoder_end(encoder, out, e);
    protocol->encoder_fini(encoder);
    mem_free(encoder);
    arena_fini(&answer);
    return code;
}

static enum error_code lint(const struct protocol *protocol, struct str bytes, bool stream,
                            size_t step, struct error *e)
{
    struct arena arena;
    void *state = mem_new(protocol->lint_size);
    enum error_code code = OK;

    arena_init(&arena, ARENA_BYTES_MAX, 1024, NULL);
    protocol->lint_init(state, &(struct lint_options){.stream = stream, .arena = &arena});
    for (; code == OK && bytes.n > step; bytes = str_from(bytes, step))
        code = protocol->lint_bytes(state, str_head(bytes, step), false, e);
    if (code == OK)
        code = protocol->lint_bytes(state, bytes, true, e);
    protocol->lint_fini(state);
    mem_free(state);
    arena_fini(&arena);
    return code;
}

enum error_code trial_lint(const struct protocol *protocol, struct str bytes, bool stream,
                           struct error *e)
{
    struct error again = {.code = OK};

    assert(protocol->lint_size > 0);
    e->code = lint(protocol, bytes, stream, SIZE_MAX, e);
    if (bytes.n > LINT_SMALL)
        return e->code;
    again.code = lint(protocol, bytes, stream, 1, &again);
    assert(again.code == e->code);
    assert(e->code == OK || str_eq(str_c(again.detail), str_c(e->detail)));
    return e->code;
}

/* --- laws --------------------------------------------------------------------------------- */

static enum error_code law_of_cuts(const struct protocol *protocol, struct str bytes,
                                   const struct trial_cuts *how, const struct buf *want,
                                   struct error *e)
{
    static const struct trial_cuts others[] = {{.step = 1},
                                               {.step = 7, .seed = 12345},
                                               {.step = 200, .seed = 7}};
    struct trial trial;
    struct buf got;

    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct trial_cuts cuts = others[i];
        cuts.stream = true;
        cuts.array = how->array;
        cuts.dialect = how->dialect;
        cuts.mend = how->mend;
        /* Byte by byte costs a call a byte: of long inputs the random cuts must do. */
        if (cuts.step == 1 && bytes.n > LINT_SMALL)
            continue;
        buf_init(&got, ARENA_BYTES_MAX);
        trial_decode(&trial, protocol, bytes, &cuts);
        trial_dump(&trial, &got);
        trial_fini(&trial);
        bool same = str_eq(buf_str(&got), buf_str(want));
        if (!same)
            (void)FAIL(e, ERR_INTERNAL, "cuts %zu change what is read", i);
        buf_fini(&got);
        if (!same)
            return e->code;
    }
    return OK;
}

/* Written anew, as for a client of this protocol behind an upstream of another. */
static enum error_code law_of_writing(const struct trial *trial, bool stream, struct error *e)
{
    const struct encoder_options options = {.stream = stream};
    const struct trial_cuts cuts = {.stream = stream};
    struct trial again = {.n = 0};
    struct buf out;

    buf_init(&out, ARENA_BYTES_MAX);
    enum error_code code = trial_encode(trial, trial->protocol, &options, &out, e);
    if (code == OK && trial->protocol->lint_size > 0)
        code = trial_lint(trial->protocol, buf_str(&out), stream, e);
    if (code == OK) {
        trial_decode(&again, trial->protocol, buf_str(&out), &cuts);
        if (again.error.code != OK)
            code = FAIL(e, ERR_INTERNAL, "what was written is not complete");
        else if (!trial_check(&again, e))
            code = e->code;
        trial_fini(&again);
    }
    buf_fini(&out);
    return code;
}

/* Reasons for which a protocol's clients have no word of their own. */
static void in_known_words(struct trial *trial)
{
    for (size_t i = 0; i < trial->n; i++) {
        for (uint32_t k = 0; k < trial->frames[i].n; k++) {
            struct event *event = &trial->frames[i].events[k];
            if (event->kind == EVENT_ERROR && str_is_null(event->error.type))
                event->error.type = STR("server_error");
            if (event->kind != EVENT_STOP)
                continue;
            if (event->stop.reason == STOP_CONTEXT)
                event->stop.reason = STOP_LENGTH;
            else if (event->stop.reason != STOP_LENGTH && event->stop.reason != STOP_FILTER)
                event->stop.reason = event->stop.reason == STOP_TOOL ? STOP_TOOL : STOP_END;
        }
    }
}

/* What was mended says the same as what came, and is mended: a second time nothing changes. Of what
 * broke off nothing is asked. */
static enum error_code law_of_mends(struct trial *trial, const struct trial_cuts *how,
                                    struct error *e)
{
    const struct trial_cuts cuts = {.stream = how->stream, .dialect = how->dialect, .mend = true};
    struct trial again;
    struct buf raw;
    struct buf bytes;
    struct buf want;
    struct buf got;

    /* A whole body that is an error says nothing else. */
    bool error = !how->stream && trial_has(trial, EVENT_ERROR);
    if (trial->error.code != OK)
        return OK;
    buf_init(&raw, ARENA_BYTES_MAX);
    buf_init(&bytes, ARENA_BYTES_MAX);
    buf_init(&want, ARENA_BYTES_MAX);
    buf_init(&got, ARENA_BYTES_MAX);
    trial_raw(trial, &raw);
    trial_decode(&again, trial->protocol, buf_str(&raw), &cuts);
    trial_raw(&again, &bytes);
    in_known_words(trial);
    in_known_words(&again);
    /* Usage that says nothing is none, and becomes zeros. */
    bool usage = trial_has(trial, EVENT_USAGE);
    trial_digest(trial, usage, &want);
    trial_digest(&again, usage, &got);
    if (again.error.code != OK)
        (void)FAIL(e, ERR_INTERNAL, "what was mended is not complete: %s", again.error.detail);
    else if (!str_eq(buf_str(&bytes), buf_str(&raw)))
        (void)FAIL(e, ERR_INTERNAL, "what was mended is mended again");
    else if (!error && !str_eq(buf_str(&got), buf_str(&want)))
        (void)FAIL(e, ERR_INTERNAL, "what was mended says something else");
    trial_fini(&again);
    buf_fini(&raw);
    buf_fini(&bytes);
    buf_fini(&want);
    buf_fini(&got);
    return e->code;
}

enum error_code trial_laws(const struct protocol *protocol, struct str bytes,
                           const struct trial_cuts *how, struct error *e)
{
    struct trial trial;
    struct buf want;

    buf_init(&want, ARENA_BYTES_MAX);
    trial_decode(&trial, protocol, bytes, how);
    trial_dump(&trial, &want);
    e->code = OK;
    if (!trial_check(&trial, e))
        assert(e->code != OK);
    else if (how->mend)
        e->code = law_of_mends(&trial, how, e);
    else if (!trial_is_raw(&trial, bytes))
        (void)FAIL(e, ERR_INTERNAL, "the frames are not what came");
    if (e->code == OK && how->stream)
        e->code = law_of_cuts(protocol, bytes, how, &want, e);
    for (int i = 0; i < 2 && e->code == OK && trial.error.code == OK; i++)
        e->code = law_of_writing(&trial, i == 0, e);
    trial_fini(&trial);
    buf_fini(&want);
    return e->code;
}
