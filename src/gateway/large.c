/* SPDX-License-Identifier: MIT */
/*
 * Large bodies: memory of their own, and reading them in a job.
 *
 * What      Holds a request's body that does not belong into the connection's arena, and a whole
 *           answer over LARGE_BYTES. Reads and writes them in a thread, so that no other stream of
 *           the worker waits.
 * How       request   body ─► READ (index, head) ─► stages ─► WRITE (edits, pieces) ─► upstream
 *                     between: MAKE (another body of this one), which is read again; WORK (a
 *                     stage's)
 *           answer    body ─► ANSWER (its one frame), or CHECK (an error's body: is it JSON?);
 *                     frame ─► ENCODE (what a client of another protocol, or form, gets)
 *           One job at a time. What it touches is this struct, and, only to read, what stages left
 *           in the request arena. When its owner ends meanwhile the struct lives on alone,
 *           with the request arena in it, until the job's `done`.
 *           Once the upstream has the request whole, `work` is given back; the body stays for
 *           another attempt, which reads it again.
 * Owns      Body, work, out, kept. The protocols' memory of prefixes, metrics and the
 *           configuration belong to the worker: a job has none of them.
 * Not here  Which state follows (exchange), what is asked of the upstream (attempt).
 */
#include "gateway/large.h"

#include "base/mem.h"
#include "canon/restore.h"
#include "gateway/gateway_priv.h"
#include "gateway/reasoning.h"
#include "io/job.h"
#include "text/json.h"

enum {
    LARGE_MAGIC = 0x1a26eb0d,
    /* Blocks of this size are mapped, and go back to the system at once. */
    WORK_BLOCK_SIZE = 1024 * 1024,
    OUT_BLOCK_SIZE = 4096,
    /* How much more than the body itself reading it may take: hostile bodies (millions of members,
     * of values, of turns) are refused past it. */
    WORK_PER_BODY_BYTE = 12,
    WORK_EXTRA = 1024 * 1024,
    /* Counted from the first byte on, until reading begins: what reading takes at least. Else those
     * who filled inflight_bytes_max with their bodies would all find no room to be read in. */
    RESERVE = WORK_BLOCK_SIZE + 64 * 1024,
    WASTE_ARENAS = 6,
    WASTE_BYTES = 4 * 1024 * 1024, /* less is given back at once */
};

enum large_job { JOB_READ, JOB_MAKE, JOB_WORK, JOB_WRITE, JOB_ANSWER, JOB_CHECK, JOB_ENCODE };

struct large {
    uint32_t magic;
    enum large_job what;
    large_done_fn *done; /* NULL: its owner has ended */
    void *ctx;
    struct branch *branch; /* entered: names and models that a job reads are its site's */
    struct loop *loop;
    struct job *job; /* NULL: none runs */
    struct arena_budget *budget;
    struct buf body;
    struct arena work; /* what reading it made: index, canonical form; of an answer: its decoder */
    struct arena out;  /* the upstream's request */
    struct arena kept; /* an answer's events */
    struct arena restored; /* the same in the client's terms */
    struct arena staged;   /* what a stage's work left */
    struct arena lent;     /* the request arena of a client that left while the job ran */
    bool reserved;         /* RESERVE */
    bool read;             /* `request` is there, and `work` holds it */
    /* what the job is given, and what it gives */
    const struct protocol *protocol; /* the client's; of answers the upstream's */
    const struct protocol *upstream;
    struct request_limits limits;
    struct decoder_options decoding;
    struct dialect dialect; /* decoding's */
    struct request request;
    struct json_edits edits; /* of the body, also when the request has a source of its own by now */
    struct encode_request how;
    struct steer steer; /* how's; in out: its session may end with the exchange */
    struct reasoning_way way;
    struct arena_mark mark; /* of work: what is newer belongs to the request that was written */
    struct translation translation;
    bool full;
    struct wire wire;
    struct frame frame;
    bool framed;
    struct restore *restore; /* the exchange's, as the encoder */
    const struct protocol *client;
    void *encoder;
    const struct frame *encoded; /* NULL: only the encoder's end */
    struct buf made;             /* by MAKE, ENCODE */
    struct large_maker maker;
    void (*stage_work)(void *ctx);
    void *stage_ctx;
    bool is_json;
    enum error_code code;
    struct error error;
};

static void large_check(const struct large *large)
{
    assert(large->magic == LARGE_MAGIC);
    assert(large->body.n <= large->body.size);
    assert(large->job != NULL || large->done != NULL);
}

struct large *large_new(struct branch *branch, large_done_fn *done_fn, void *ctx)
{
    struct large *large = mem_new(sizeof(*large));

    large->magic = LARGE_MAGIC;
    large->done = done_fn;
    large->ctx = ctx;
    large->branch = branch_enter(branch);
    large->loop = branch->station->loop;
    large->budget = &branch->station->gateway->inflight;
    buf_init(&large->body, 1);
    buf_set_budget(&large->body, large->budget);
    /* Their caps are known when the body is. */
    arena_init(&large->work, WORK_EXTRA, WORK_BLOCK_SIZE, large->budget);
    arena_init(&large->out, WORK_EXTRA, OUT_BLOCK_SIZE, large->budget);
    arena_init(&large->kept, WORK_EXTRA, WORK_BLOCK_SIZE, large->budget);
    arena_init(&large->lent, WORK_EXTRA, OUT_BLOCK_SIZE, large->budget);
    arena_init(&large->restored, WORK_EXTRA, WORK_BLOCK_SIZE, large->budget);
    arena_init(&large->staged, WORK_EXTRA, OUT_BLOCK_SIZE, large->budget);
    buf_init(&large->made, 1);
    large_check(large);
    return large;
}

/* Memory on its way back: of 80 MB the system takes its pages away for 10 ms. */
struct waste {
    struct buf body;
    struct arena arenas[WASTE_ARENAS];
};

static void waste_give_back(void *ctx)
{
    struct waste *waste = ctx;

    buf_fini(&waste->body);
    for (size_t i = 0; i < WASTE_ARENAS; i++)
        arena_fini(&waste->arenas[i]);
}

static void waste_gone(void *ctx)
{
    mem_free(ctx);
}

/* Empties body (NULL: none) and the arenas: much of it in a thread. */
static void give_back(struct large *large, struct buf *body, struct arena *const *arenas, size_t n)
{
    static const struct job_events events = {.work = waste_give_back, .done = waste_gone};
    struct waste all = {.body = {.size_max = 1}};
    size_t bytes = body == NULL ? 0 : body->size;

    assert(n <= WASTE_ARENAS);
    if (body != NULL) {
        all.body = *body;
        buf_init(body, 1);
    }
    for (size_t i = 0; i < n; i++) {
        bytes += arena_bytes(arenas[i]);
        all.arenas[i] = *arenas[i];
        arena_init(arenas[i], WORK_EXTRA, OUT_BLOCK_SIZE, large->budget);
    }
    if (bytes < WASTE_BYTES) {
        waste_give_back(&all);
        return;
    }
    struct waste *waste = mem_new(sizeof(*waste));
    *waste = all;
    (void)job_start(large->loop, &events, waste);
}

static void reserve_give(struct large *large)
{
    if (large->reserved)
        arena_budget_give(large->budget, RESERVE);
    large->reserved = false;
}

static void destroy(struct large *large)
{
    struct arena *const arenas[] = {&large->work,     &large->out,    &large->kept,
                                    &large->restored, &large->staged, &large->lent};

    assert(large->job == NULL);
    give_back(large, &large->made, NULL, 0);
    reserve_give(large);
    give_back(large, &large->body, arenas, COUNT_OF(arenas));
    branch_leave(large->branch);
    large->magic = 0;
    mem_free(large);
}

void large_free(struct large **large_ptr)
{
    struct large *large = *large_ptr;

    if (large == NULL)
        return;
    large_check(large);
    *large_ptr = NULL;
    large->done = NULL;
    if (large->job != NULL)
        job_abandon(large->job); /* `done` frees it */
    else
        destroy(large);
}

bool large_busy(const struct large *large)
{
    return large != NULL && large->job != NULL;
}

void large_lend(struct large *large, struct server_conn *client)
{
    large_check(large);
    assert(large->job != NULL);
    server_arena_take(client, &large->lent);
}

char *large_room(struct large *large, size_t used, size_t size, size_t size_max)
{
    struct buf *body = &large->body;

    large_check(large);
    assert(used >= body->n && used <= size && size <= size_max);
    if (size > LARGE_BYTES && !large->reserved) {
        large->reserved = arena_budget_take(large->budget, RESERVE);
        if (!large->reserved)
            return NULL;
    }
    body->n = used < body->size ? used : body->size;
    body->size_max = size_max;
    return buf_reserve(body, size - body->n) == NULL ? NULL : body->p;
}

size_t large_size(const struct large *large)
{
    return large->body.size;
}

void large_body_end(struct large *large, size_t n)
{
    large_check(large);
    assert(n <= large->body.size);
    large->body.n = n;
    buf_trim(&large->body);
}

struct str large_body(const struct large *large)
{
    large_check(large);
    return buf_str(&large->body);
}

bool large_overflowed(const struct large *large)
{
    return arena_overflowed(&large->work) || arena_overflowed(&large->out) ||
           arena_overflowed(&large->kept) || arena_overflowed(&large->restored) ||
           arena_overflowed(&large->staged);
}

bool large_over_budget(const struct large *large)
{
    return arena_over_budget(&large->work) || arena_over_budget(&large->out) ||
           arena_over_budget(&large->kept) || arena_over_budget(&large->restored) ||
           arena_over_budget(&large->staged) || large->body.full || large->made.starved;
}

/* --- in the job's thread --- */

static enum error_code read_request(struct large *large)
{
    struct error *e = &large->error;

    TRY(large->protocol->request_decode(buf_str(&large->body), &large->limits, &large->work,
                                        &large->request, e));
    if (!large->full)
        return OK;
    return large->protocol->request_decode_full(&large->request, &large->limits, &large->work, e);
}

static enum error_code write_request(struct large *large)
{
    struct error *e = &large->error;
    struct request told; /* of the conversation, this backend */

    if (large->mark.set) /* of the attempt before this one */
        arena_back(&large->work, &large->mark);
    if (large->full)
        TRY(protocol_read_full(large->protocol, &large->request, &large->limits, &large->work, e));
    TRY(reasoning_read(&large->way, &large->request, &large->limits, &large->work, e));
    large->mark = arena_mark(&large->work);
    TRY(reasoning_up(&large->way, &large->request, &large->work, &told, e));
    return large->upstream->request_encode(&told, &large->how, &large->out, &large->wire, e);
}

/* A whole body is one frame. Its events are scratch, which the decoder would forget after this:
 * the memory is taken out of its hands. */
static enum push keep_frame(void *ctx, struct frame *frame)
{
    struct large *large;

    CAST(large, ctx, LARGE_MAGIC);
    assert(!large->framed);
    large->framed = true;
    large->frame = *frame;
    struct arena events = large->kept;
    arena_init(&large->kept, events.bytes_max, WORK_BLOCK_SIZE, large->budget);
    large->out = events; /* nothing else is written for an answer */
    return PUSH_OK;
}

/* Mended bytes take the body's place; nothing else that was read lies in it. */
static enum error_code keep_mended(struct large *large)
{
    struct buf mended;

    if (large->frame.raw.p == large->body.p)
        return OK;
    buf_init(&mended, large->frame.raw.n + 1);
    buf_set_budget(&mended, large->budget);
    if (!buf_add(&mended, large->frame.raw)) {
        buf_tell(&mended, &large->work);
        buf_fini(&mended);
        return FAIL(&large->error, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    }
    buf_fini(&large->body);
    large->body = mended;
    large->frame.raw = buf_str(&large->body);
    return OK;
}

static enum error_code read_answer(struct large *large)
{
    const struct protocol *protocol = large->protocol;
    void *decoder = arena_zalloc(&large->work, protocol->decoder_size);

    assert(arena_bytes(&large->out) == 0);
    if (arena_overflowed(&large->work))
        return FAIL(&large->error, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    large->decoding.stream = false;
    large->decoding.event_bytes_max = large->body.n;
    large->decoding.scratch = &large->kept;
    large->decoding.arena = &large->work;
    large->decoding.sink = keep_frame;
    large->decoding.sink_ctx = large;
    protocol->decoder_init(decoder, &large->decoding);
    enum error_code code = protocol->response_decode(decoder, buf_str(&large->body), true,
                                                     &large->error);
    protocol->decoder_fini(decoder);
    if (code == OK && large->framed && keep_mended(large) != OK)
        return large->error.code;
    if (code != OK || !large->framed || large->restore == NULL)
        return code;
    /* A stop sequence that is met ends what there is of it, which is all. */
    if (restore_frame(large->restore, &large->frame, &large->restored) == RESTORE_FULL)
        return FAIL(&large->error, ERR_UPSTREAM_TOO_LARGE, "the answer does not fit into memory");
    return OK;
}

static enum error_code encode_answer(struct large *large)
{
    const struct protocol *client = large->client;
    struct error *e = &large->error;
    struct str raw = STR_NULL;

    if (large->encoded != NULL)
        TRY(client->response_encode(large->encoder, large->encoded, &large->made, &raw, e));
    assert(str_is_null(raw));
    TRY(client->encoder_end(large->encoder, &large->made, e));
    if (!buf_ok(&large->made))
        return FAIL(e, ERR_UPSTREAM_TOO_LARGE, "more than response_bytes_max");
    return OK;
}

static enum error_code check_json(struct large *large)
{
    const struct json_read_options options = {.depth_max = 0, .allow_invalid_utf8 = true};
    struct error ignored;

    large->is_json = json_read(buf_str(&large->body), &options, &large->kept, &ignored) != NULL;
    arena_reset(&large->kept);
    return OK;
}

static void work(void *ctx)
{
    struct large *large;

    CAST(large, ctx, LARGE_MAGIC);
    switch (large->what) {
    case JOB_READ:
        large->code = read_request(large);
        return;
    case JOB_MAKE:
        large->code = large->maker.make(large->maker.ctx, &large->made, &large->error);
        return;
    case JOB_WORK:
        large->stage_work(large->stage_ctx);
        return;
    case JOB_WRITE:
        large->code = write_request(large);
        return;
    case JOB_ANSWER:
        large->code = read_answer(large);
        return;
    case JOB_CHECK:
        large->code = check_json(large);
        return;
    case JOB_ENCODE:
        large->code = encode_answer(large);
        return;
    }
    BUG("unknown job");
}

/* --- in the loop --- */

static void done(void *ctx)
{
    struct large *large;

    CAST(large, ctx, LARGE_MAGIC);
    assert(large->job != NULL);
    large->job = NULL;
    if (large->what == JOB_MAKE)
        large->maker.over(large->maker.ctx);
    if (large->done == NULL)
        destroy(large);
    else
        large->done(large->ctx);
}

static void start(struct large *large, enum large_job what)
{
    static const struct job_events events = {.work = work, .done = done};

    large_check(large);
    assert(large->job == NULL && large->done != NULL);
    large->what = what;
    large->code = OK;
    large->error = (struct error){.code = OK};
    large->job = job_start(large->loop, &events, large);
}

void large_read(struct large *large, const struct protocol *protocol,
                const struct request_limits *limits, bool full)
{
    size_t bytes_max = large->body.n * WORK_PER_BODY_BYTE + WORK_EXTRA;

    assert(arena_bytes(&large->work) == 0 && !large->read);
    reserve_give(large);
    arena_init(&large->work, bytes_max, WORK_BLOCK_SIZE, large->budget);
    large->mark.set = false;
    large->protocol = protocol;
    large->limits = *limits;
    large->limits.memory = NULL; /* the worker's */
    large->full = full;
    start(large, JOB_READ);
}

enum error_code large_take_request(struct large *large, struct request *request, struct error *e)
{
    struct json_edits edits = request->edits;

    large_check(large);
    assert(large->job == NULL && large->what == JOB_READ);
    if (large->code != OK) {
        *e = large->error;
        return large->code;
    }
    large->read = true;
    *request = large->request;
    request->edits = edits; /* of the stages, when it is read for another attempt */
    return OK;
}

void large_make(struct large *large, const struct large_maker *maker, size_t bytes_max)
{
    large->maker = *maker;
    buf_init(&large->made, bytes_max);
    buf_set_budget(&large->made, large->budget);
    start(large, JOB_MAKE);
}

enum error_code large_take_made(struct large *large, struct error *e)
{
    struct arena *const work_only[] = {&large->work};
    struct buf made = large->made;

    large_check(large);
    assert(large->job == NULL && large->what == JOB_MAKE);
    if (large->code != OK) {
        *e = large->error;
        return large->code;
    }
    if (made.n == 0)
        return OK;
    buf_init(&large->made, 1);
    large->read = false;
    give_back(large, &large->body, work_only, 1);
    large->body = made;
    return OK;
}

struct arena *large_work_arena(struct large *large)
{
    assert(large->read && large->job == NULL);
    if (arena_bytes(&large->staged) == 0)
        arena_init(&large->staged, large->work.bytes_max, OUT_BLOCK_SIZE, large->budget);
    return &large->staged;
}

void large_work(struct large *large, void (*stage_work)(void *ctx), void *ctx)
{
    assert(large->read);
    large->stage_work = stage_work;
    large->stage_ctx = ctx;
    start(large, JOB_WORK);
}

void large_write(struct large *large, const struct request *request,
                 const struct reasoning_way *way, const struct protocol *upstream,
                 const struct encode_request *how, bool full)
{
    assert(large->read);
    arena_reset(&large->out);
    arena_init(&large->out, large->work.bytes_max, OUT_BLOCK_SIZE, large->budget);
    large->request = *request;
    if (request->edits.n > 0)
        large->edits = request->edits;
    large->way = *way;
    large->upstream = upstream;
    large->how = *how;
    if (how->steer != NULL) {
        steer_copy(how->steer, &large->out, &large->steer);
        large->how.steer = &large->steer;
    }
    large->translation = (struct translation){.arena = &large->out};
    large->how.translation = &large->translation;
    large->full = full;
    start(large, JOB_WRITE);
}

enum error_code large_take_wire(struct large *large, struct request *request, struct wire *ret_wire,
                                struct error *e)
{
    large_check(large);
    assert(large->job == NULL && large->what == JOB_WRITE);
    if (large->code != OK) {
        *e = large->error;
        return large->code;
    }
    *request = large->request;
    *ret_wire = large->wire;
    return OK;
}

const struct translation *large_translation(const struct large *large)
{
    assert(large->job == NULL && large->what == JOB_WRITE);
    return &large->translation;
}

bool large_is_read(const struct large *large)
{
    return large->read;
}

void large_let_go(struct large *large, struct call *call)
{
    large_check(large);
    assert(large->job == NULL);
    if (!large->read)
        return;
    large->read = false;
    /* A retry needs the names that the plan took from the request. */
    for (size_t i = 0; i < call->plan.n && call->arena != NULL; i++)
        call->plan.elements[i].model = str_copy(call->arena, call->plan.elements[i].model);
    call->request = (struct request){.stream = call->request.stream,
                                     .array = call->request.array,
                                     .include_usage = call->request.include_usage,
                                     .edits = large->edits};
    struct arena *const work_only[] = {&large->work};
    give_back(large, NULL, work_only, 1);
}

/* --- answers --- */

void large_adopt(struct large *large, struct buf *body)
{
    size_t bytes_max = body->n * WORK_PER_BODY_BYTE + WORK_EXTRA;

    assert(body->budget == large->budget);
    large->body = *body;
    buf_init(body, large->body.size_max);
    /* The decoder's own, and the body once more where it is mended. */
    arena_init(&large->work, bytes_max, OUT_BLOCK_SIZE, large->budget);
    arena_init(&large->kept, bytes_max, WORK_BLOCK_SIZE, large->budget);
    arena_init(&large->restored, bytes_max, WORK_BLOCK_SIZE, large->budget);
    buf_trim(&large->body);
}

void large_read_answer(struct large *large, const struct protocol *upstream,
                       const struct decoder_options *how, struct restore *restore)
{
    large->protocol = upstream;
    large->restore = restore;
    large->decoding = *how;
    large->decoding.id = str_copy(&large->work, how->id);
    large->decoding.model = str_copy(&large->work, how->model);
    if (how->dialect != NULL)
        large->dialect = *how->dialect;
    large->decoding.dialect = how->dialect == NULL ? NULL : &large->dialect;
    start(large, JOB_ANSWER);
}

enum error_code large_take_frame(struct large *large, struct frame **ret_frame, struct error *e)
{
    large_check(large);
    assert(large->job == NULL && large->what == JOB_ANSWER);
    if (large->code != OK) {
        *e = large->error;
        return large->code;
    }
    *ret_frame = large->framed ? &large->frame : NULL;
    return OK;
}

void large_forget_events(struct large *large)
{
    large_check(large);
    assert(large->job == NULL);
    struct arena *const arenas[] = {&large->work, &large->out, &large->kept, &large->restored};
    give_back(large, NULL, arenas, COUNT_OF(arenas));
}

struct arena *large_scratch(struct large *large)
{
    assert(large->job == NULL);
    return &large->restored;
}

void large_encode(struct large *large, const struct protocol *client, void *encoder,
                  const struct frame *frame, size_t bytes_max)
{
    assert(frame == NULL || frame == &large->frame);
    large->client = client;
    large->encoder = encoder;
    large->encoded = frame;
    buf_init(&large->made, bytes_max);
    buf_set_budget(&large->made, large->budget);
    start(large, JOB_ENCODE);
}

enum error_code large_take_encoded(struct large *large, struct str *ret_bytes, struct error *e)
{
    large_check(large);
    assert(large->job == NULL && large->what == JOB_ENCODE);
    if (large->code != OK) {
        *e = large->error;
        return large->code;
    }
    *ret_bytes = buf_str(&large->made);
    return OK;
}

void large_check_json(struct large *large)
{
    start(large, JOB_CHECK);
}

bool large_is_json(const struct large *large)
{
    assert(large->job == NULL && large->what == JOB_CHECK);
    return large->is_json;
}
