/* SPDX-License-Identifier: MIT */
/*
 * The built-in demo backend.
 *
 * What      Answers like an OpenAI-compatible server, from inside this process: model `assistant`
 *           (the default) tells about the proxy itself, model `echo` says the last user message
 *           back. It is no language model, and says so.
 * How       start makes the whole answer with the protocol's own encoder and cuts it into pieces
 *           (a word each, in streams); next hands them out with a pause after each.
 * Owns      Nothing beyond the request's arena: whoever leaves early leaves nothing behind.
 * Not here  HTTP, sockets, timers; the texts of `assistant` (demo_text.c).
 */
#include "backend/demo_text.h"

#include "backend/backend.h"
#include "base/id.h"
#include "text/utf8.h"

enum {
    WORD_WAIT_MS = 28,
    PIECES_MAX = 400,     /* a long echo gets larger pieces, not a longer wait */
    PIECE_BYTES_MIN = 24, /* within text without blanks */
    ANSWER_OVERHEAD = 4096,
    CHUNK_OVERHEAD = 1024,
    NAME_SHOWN_MAX = 80,
};

extern const struct protocol protocol_openai_chat;
extern const struct local_backend demo_backend;

struct demo_piece {
    struct str bytes;
    int64_t wait_ms;
};

struct demo {
    struct demo_piece *pieces;
    size_t n;
    size_t at;
};

static const char *const models[] = {"assistant", "echo", NULL};

/* --- the answer's text --- */

/* The name without a backend's prefix; none of our models has a colon or a slash. */
static struct str model_of(const struct request *request)
{
    struct str model = request->model;

    for (size_t i = model.n; i > 0; i--) {
        if (model.p[i - 1] == ':' || model.p[i - 1] == '/')
            return str_from(model, i);
    }
    return model;
}

/* Index in models, or SIZE_MAX. */
static size_t model_index(struct str model)
{
    if (model.n == 0)
        return 0;
    for (size_t i = 0; models[i] != NULL; i++) {
        if (str_eq(model, str_c(models[i])))
            return i;
    }
    return SIZE_MAX;
}

/* About four bytes a token: the usual estimate for English. */
static int64_t tokens_of(size_t bytes)
{
    return (int64_t)((bytes + 3) / 4);
}

static struct usage estimate(const struct request *request, struct str answer)
{
    struct usage usage = {.cached = -1, .cache_written = -1, .reasoning = -1};
    size_t bytes = 0;

    for (const struct turn *turn = request->turns; turn != NULL; turn = turn->next) {
        for (const struct part *part = turn->parts; part != NULL; part = part->next) {
            bytes += part->text.n;
            for (const struct part *inner = part->parts; inner != NULL; inner = inner->next)
                bytes += inner->text.n;
        }
    }
    usage.input = tokens_of(bytes);
    usage.output = tokens_of(answer.n);
    usage.total = usage.input + usage.output;
    return usage;
}

/* The next word with the blanks after it, at least min bytes where the text goes on. */
static struct str cut_piece(struct str *rest, size_t min)
{
    size_t n = 0;

    assert(min > 0 && rest->n > 0);
    while (n < rest->n) {
        bool blank = rest->p[n] == ' ' || rest->p[n] == '\n';
        n++;
        if (n < rest->n && ((unsigned char)rest->p[n] & 0xC0) == 0x80)
            continue;
        if (n >= min && (blank || n >= min + PIECE_BYTES_MIN))
            break;
    }
    struct str piece = str_head(*rest, n);
    *rest = str_from(*rest, n);
    return piece;
}

/* --- encoding --- */

struct maker {
    const struct protocol *protocol;
    void *encoder;
    struct demo *demo;
    struct arena *arena;
    int64_t now_s;
    struct buf out; /* of the frame in work */
    bool failed;
};

static void keep_piece(struct maker *m, int64_t wait_ms)
{
    if (m->out.n == 0)
        return;
    assert(m->demo->n < PIECES_MAX + 8);
    m->demo->pieces[m->demo->n++] = (struct demo_piece){
        .bytes = str_copy(m->arena, buf_str(&m->out)),
        .wait_ms = wait_ms,
    };
    buf_reset(&m->out);
}

/* A synthetic frame of these events becomes a piece. */
static void push(struct maker *m, struct event *events, uint32_t n, int64_t wait_ms)
{
    assert(n > 0);
    struct frame frame = {.raw = STR_NULL, .events = events, .n = n, .changed = true};
    struct str bytes = STR_NULL;
    struct error e;

    if (m->failed)
        return;
    m->failed = m->protocol->response_encode(m->encoder, &frame, &m->out, &bytes, &e) != OK;
    assert(str_is_null(bytes));
    keep_piece(m, wait_ms);
}

static void push_text(struct maker *m, struct str text)
{
    /* Rounded up, so that there are never more than PIECES_MAX. */
    size_t min = text.n / PIECES_MAX + 1;

    while (text.n > 0) {
        struct event event = {.kind = EVENT_TEXT};
        event.text = cut_piece(&text, min);
        push(m, &event, 1, WORD_WAIT_MS);
    }
}

/* What the answer is called, behind what the protocol puts in front of every such name. */
static struct str answer_id(struct arena *arena)
{
    struct id_source ids;
    char id[ID_SIZE];

    id_source_init(&ids);
    id_make(&ids, id);
    return str_print(arena, "demo%.*s", ID_SIZE, id);
}

static void push_answer(struct maker *m, struct str model, struct str text, struct usage usage)
{
    struct event begin[] = {
        {.kind = EVENT_START,
         .block = EVENT_NO_BLOCK,
         .start = {.model = model, .created_s = m->now_s}},
        {.kind = EVENT_BLOCK_BEGIN, .begin = {.kind = BLOCK_TEXT}},
    };
    struct event end[] = {
        {.kind = EVENT_BLOCK_END},
        {.kind = EVENT_STOP, .block = EVENT_NO_BLOCK, .stop = {.reason = STOP_END}},
    };
    struct event count = {.kind = EVENT_USAGE, .block = EVENT_NO_BLOCK, .usage = usage};

    push(m, begin, COUNT_OF(begin), 0);
    push_text(m, text);
    push(m, end, COUNT_OF(end), 0);
    push(m, &count, 1, 0);
}

static void make_answer(struct maker *m, const struct request *request, struct str text)
{
    struct str model = str_c(models[model_index(model_of(request))]);
    struct error e;

    struct encoder_options options = {
        .stream = request->stream,
        .include_usage = request->include_usage == 1,
        .model = model,
        .id = answer_id(m->arena),
        .now_s = m->now_s,
        .arena = m->arena,
        .bytes_max = text.n + ANSWER_OVERHEAD,
    };
    m->encoder = arena_zalloc(m->arena, m->protocol->encoder_size);
    if (arena_overflowed(m->arena)) {
        m->failed = true;
        return;
    }
    m->protocol->encoder_init(m->encoder, &options);
    push_answer(m, model, text, estimate(request, text));
    m->failed = m->failed || m->protocol->encoder_end(m->encoder, &m->out, &e) != OK;
    keep_piece(m, 0);
    m->protocol->encoder_fini(m->encoder);
}

/* The answer is an error in the protocol's shape; returns its status. */
static int refuse(const struct error *e, struct buf *out)
{
    protocol_openai_chat.error_encode(e, STR_NULL, false, out);
    return error_status(e);
}

static int demo_start(void *state, const struct request *request, int64_t now_s,
                      struct arena *arena, struct buf *out)
{
    struct demo *demo = state;
    struct str model = model_of(request);
    size_t index = model_index(model);
    struct error e;

    assert(request->full);
    assert(demo->n == 0);
    if (index == SIZE_MAX) {
        (void)FAIL(&e, ERR_MODEL_NOT_FOUND, "%.*s (the demo has assistant and echo)",
                   STR_ARG(utf8_head(model, NAME_SHOWN_MAX)));
        return refuse(&e, out);
    }

    struct str text = request_last_user_text(request, arena);
    if (index == 0)
        text = demo_text_answer(text);
    struct maker m = {.protocol = &protocol_openai_chat,
                      .demo = demo,
                      .arena = arena,
                      .now_s = now_s};
    demo->pieces = arena_array(arena, PIECES_MAX + 8, sizeof(*demo->pieces));
    if (!arena_overflowed(arena)) {
        /* Escapes make six bytes of one at worst. */
        buf_init(&m.out, 6 * text.n + ANSWER_OVERHEAD + CHUNK_OVERHEAD);
        make_answer(&m, request, text);
        buf_fini(&m.out);
    }
    if (m.failed || arena_overflowed(arena)) {
        demo->n = 0;
        (void)FAIL(&e, ERR_TOO_LARGE, "the demo cannot answer a message of this size");
        return refuse(&e, out);
    }
    return 200;
}

static bool demo_next(void *state, struct buf *out, int64_t *ret_wait_ms)
{
    struct demo *demo = state;

    if (demo->at == demo->n)
        return false;
    assert(demo->at < demo->n);
    const struct demo_piece *piece = &demo->pieces[demo->at++];
    (void)buf_add(out, piece->bytes);
    *ret_wait_ms = piece->wait_ms;
    return demo->at < demo->n;
}

const struct local_backend demo_backend = {
    .state_size = sizeof(struct demo),
    .start = demo_start,
    .next = demo_next,
    .models = models,
};
