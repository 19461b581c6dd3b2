/* SPDX-License-Identifier: MIT */
/*
 * client_* over parse_*: any bytes of upstreams, cut and timed in any way, against requests that
 * are cancelled and paused in any way, on a pool of few connections.
 *
 * Input     [mode][n of the script][script, n bytes][bytes of upstreams]
 *           First all the bytes answer one request, in several cuts. Then the script is run: below
 *           0x80 a byte gives so many bytes + 1 to the present upstream, the others are in do_op.
 * Laws      Each request ends in exactly one of end, failed and cancel. What is told is what
 *           strict.c reads from the bytes of its connection, decoded; what it finds plain does not
 *           fail; another cut changes nothing. What the upstreams get are well-formed requests,
 *           one after the other. After anything that was not asked for, a connection gets no
 *           further request. When all is over the counts of connections are 0.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/client.h"
#include "http/coding.h"
#include "io/conn.h"
#include "strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
    HEAD_MAX = 512,
    IDLE_MS = 60000,
    SILENCE_MS = 30000,
    CONNECTIONS_MAX = 3,
    INPUT_MAX = 12000,
    ASKS_MAX = 64,
    UPSTREAMS_MAX = 160,
    TEXT_MAX = 1 << 26,
    BODY_SIZE = 100000,
    DECODED_MAX = 100000, /* more than what a ratio looks at */
    RATIO = 100,
};

enum outcome { OUTCOME_NONE, OUTCOME_ENDED, OUTCOME_FAILED, OUTCOME_CANCELLED };
enum when { WHEN_NEVER, WHEN_SENT, WHEN_HEAD, WHEN_BODY, WHEN_END, WHEN_BATCH, WHEN_COUNT };

struct upstream {
    struct conn *conn;
    struct buf in;
    struct buf sent;
    bool ended;  /* by us, with FIN */
    bool broken; /* by us, with a reset */
    bool eof, failed;
    bool reading;
};

struct run;

struct ask {
    struct run *run;
    struct client_request *r;
    struct arena arena;
    struct buf head_out;
    struct str body_out;
    enum outcome outcome;
    enum error_code code;
    enum when cancel_in;
    enum when pause_in;
    bool started;
    bool again; /* the next one begins in the batch of its end */
    bool is_head;
    bool paused;
    bool sent, head, batch_due;
    int status;
    struct buf text; /* of the head */
    struct buf body;
    size_t connection; /* the last that got it; SIZE_MAX: none */
};

struct run {
    struct loop *loop;
    struct client_pool *pool;
    atomic_size_t connections;
    atomic_size_t busy;
    struct upstream upstreams[UPSTREAMS_MAX];
    size_t upstream_n;
    size_t present;
    struct ask asks[ASKS_MAX];
    size_t ask_n;
    enum when cancel_next, pause_next;
    uint8_t mode;
    bool timed;
    struct str bytes;
    size_t fed;
};

static struct strict reader;
static struct buf decoded; /* the body that was read, without its coding */
static char body_bytes[BODY_SIZE];

/* ---- upstreams ---- */

static void up_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    bool ok = buf_add(&((struct upstream *)ctx)->in, bytes);
    assert(ok);
}

static void up_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    ((struct upstream *)ctx)->eof = true;
}

static void up_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    (void)e;
    ((struct upstream *)ctx)->failed = true;
}

static const struct conn_events up_events = {
    .read = up_read,
    .eof = up_eof,
    .failed = up_failed,
};

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    static const size_t reads[] = {0, 1, 3, 50};
    struct run *run = ctx;
    struct conn *theirs = NULL;

    if (run->upstream_n == UPSTREAMS_MAX)
        return NULL;
    struct upstream *up = &run->upstreams[run->upstream_n];
    run->present = run->upstream_n++;
    buf_init(&up->in, TEXT_MAX);
    buf_init(&up->sent, TEXT_MAX);
    conn_pair(loop, &up->conn, &theirs);
    conn_mem_read_max(theirs, reads[run->mode & 3u]);
    if ((run->mode & 4u) != 0)
        conn_mem_window(theirs, 50);
    conn_set_events(up->conn, &up_events, up);
    conn_read_start(up->conn);
    up->reading = true;
    return theirs;
}

static void up_send(struct run *run, struct upstream *up, struct str bytes)
{
    if (up->conn == NULL || up->ended || up->broken || up->eof || up->failed || bytes.n == 0)
        return;
    bool ok = buf_add(&up->sent, bytes);
    assert(ok);
    (void)conn_write(up->conn, &bytes, 1);
    loop_test_run(run->loop);
}

static void up_read_all(struct run *run)
{
    for (size_t i = 0; i < run->upstream_n; i++) {
        struct upstream *up = &run->upstreams[i];
        if (up->conn != NULL && !up->reading)
            conn_read_start(up->conn);
        up->reading = true;
    }
    loop_test_run(run->loop);
}

static void up_end(struct run *run, struct upstream *up, unsigned how)
{
    if (up->conn == NULL || up->ended || up->broken)
        return;
    if (how == 0) {
        up->ended = true;
        conn_shutdown(up->conn);
    } else if (how == 1) {
        up->ended = true;
        conn_close(&up->conn);
    } else if (how == 2) {
        up->broken = true;
        conn_reset(&up->conn);
    } else if (how == 3) {
        up->reading = false;
        conn_read_stop(up->conn);
    } else {
        up_read_all(run);
    }
    loop_test_run(run->loop);
}

/* ---- requests ---- */

static void ask_start(struct run *run, unsigned kind, bool again);

static void ask_end(struct ask *ask, enum outcome outcome)
{
    assert(ask->outcome == OUTCOME_NONE);
    ask->outcome = outcome;
    ask->r = NULL;
}

static void ask_cancel(struct ask *ask)
{
    if (ask->outcome != OUTCOME_NONE)
        return;
    client_cancel(&ask->r);
    assert(ask->r == NULL);
    ask_end(ask, OUTCOME_CANCELLED);
}

static void ask_pause(struct ask *ask, bool pause)
{
    ask->paused = pause;
    client_pause(ask->r, pause);
}

/* In an event. */
static void ask_in(struct ask *ask, enum when now)
{
    if (ask->pause_in == now && ask->outcome == OUTCOME_NONE && now != WHEN_END)
        ask_pause(ask, true);
    if (ask->cancel_in == now)
        ask_cancel(ask);
}

static void on_sent(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert(ask->r == r && !ask->sent && ask->outcome == OUTCOME_NONE);
    ask->sent = true;
    ask_in(ask, WHEN_SENT);
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct ask *ask = ctx;

    assert(ask->r == r && !ask->head && ask->outcome == OUTCOME_NONE);
    assert(m->status >= 200 && m->status <= 599);
    ask->head = true;
    ask->batch_due = true;
    ask->status = m->status;
    for (size_t i = 0; i < m->headers.n; i++)
        buf_print(&ask->text, "%.*s: %.*s\n", STR_ARG(m->headers.items[i].name),
                  STR_ARG(m->headers.items[i].value));
    assert(buf_ok(&ask->text));
    ask_in(ask, WHEN_HEAD);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct ask *ask = ctx;

    assert(ask->r == r && ask->head && bytes.n > 0 && ask->outcome == OUTCOME_NONE);
    assert(!ask->is_head);
    ask->batch_due = true;
    bool ok = buf_add(&ask->body, bytes);
    assert(ok);
    ask_in(ask, WHEN_BODY);
}

static void on_end(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert(ask->r == r && ask->head);
    ask->batch_due = true;
    ask->cancel_in == WHEN_END ? ask_cancel(ask) : ask_end(ask, OUTCOME_ENDED);
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;
    (void)r;

    assert(ask->batch_due && ask->outcome != OUTCOME_CANCELLED);
    assert(ask->outcome != OUTCOME_FAILED);
    ask->batch_due = false;
    if (ask->outcome == OUTCOME_ENDED) {
        if (ask->again)
            ask_start(ask->run, 0, false);
        return;
    }
    ask_in(ask, WHEN_BATCH);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct ask *ask = ctx;
    (void)r;

    assert(!ask->batch_due && e->code != OK && e->detail[0] != '\0');
    ask->code = e->code;
    ask_end(ask, OUTCOME_FAILED);
}

static const struct client_events events = {
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

/* kind: bit 0 HEAD, bits 1 and 2 the size of the body. */
static void ask_start(struct run *run, unsigned kind, bool again)
{
    static const size_t sizes[] = {0, 10, 3000, BODY_SIZE};
    struct error e = {.code = OK};

    if (run->ask_n == ASKS_MAX)
        return;
    struct ask *ask = &run->asks[run->ask_n++];
    ask->run = run;
    ask->is_head = (kind & 1u) != 0;
    ask->again = again;
    ask->cancel_in = run->cancel_next;
    ask->pause_in = run->pause_next;
    run->cancel_next = run->pause_next = WHEN_NEVER;
    ask->body_out = str_of(body_bytes, sizes[(kind >> 1) & 3u]);
    buf_init(&ask->head_out, 1024);
    buf_init(&ask->text, TEXT_MAX);
    buf_init(&ask->body, TEXT_MAX);
    arena_init(&ask->arena, 1 << 16, 1024, NULL);
    buf_print(&ask->head_out, "%s /%zu HTTP/1.1\r\nHost: u\r\nContent-Length: %zu\r\n\r\n",
              ask->is_head ? "HEAD" : "POST", run->ask_n, ask->body_out.n);
    const struct client_call call = {
        .head = buf_str(&ask->head_out),
        .body = &ask->body_out,
        .body_n = 1,
        .is_head = ask->is_head,
        .as_is = (run->mode & 0x20u) != 0,
        .decoded_bytes_max = DECODED_MAX,
        .arena = &ask->arena,
        .events = &events,
        .ctx = ask,
    };
    ask->started = client_start(run->pool, &call, &ask->r, &e) == OK;
    if (!ask->started) {
        assert(e.code == ERR_OVERLOADED);
        ask->outcome = OUTCOME_CANCELLED;
    }
}

/* The i-th of those that run. */
static struct ask *ask_of(struct run *run, unsigned i)
{
    for (size_t k = 0; k < run->ask_n; k++) {
        if (run->asks[k].outcome == OUTCOME_NONE && i-- == 0)
            return &run->asks[k];
    }
    return NULL;
}

static void resume_all(struct run *run)
{
    for (size_t i = 0; i < run->ask_n; i++) {
        struct ask *ask = &run->asks[i];
        ask->pause_in = WHEN_NEVER;
        if (ask->outcome == OUTCOME_NONE && ask->paused)
            ask_pause(ask, false);
    }
    loop_test_run(run->loop);
}

/* ---- a run ---- */

static void on_crowded(void *ctx)
{
    client_pool_trim(((struct run *)ctx)->pool);
}

static struct run *run_new(struct str bytes, uint8_t mode)
{
    struct run *run = mem_new(sizeof(*run));
    bool busy = (mode & 8u) != 0;

    run->loop = loop_test_new();
    run->mode = mode;
    run->bytes = bytes;
    run->present = SIZE_MAX;
    run->pool = client_pool_new(run->loop, &(struct client_pool_options){
                                               .host = STR("u"),
                                               .port = 80,
                                               .connect_timeout_ms = 1000,
                                               .idle_timeout_ms = (mode & 16u) != 0 ? 0 : IDLE_MS,
                                               .silence_timeout_ms = SILENCE_MS,
                                               .header_bytes_max = HEAD_MAX,
                                               .connections = &run->connections,
                                               .connections_max = CONNECTIONS_MAX,
                                               .busy = busy ? &run->busy : NULL,
                                               .crowded = busy ? on_crowded : NULL,
                                               .connect = up_connect,
                                               .connect_ctx = run,
                                           });
    return run;
}

static void feed(struct run *run, size_t n)
{
    struct str piece = str_head(str_from(run->bytes, run->fed), n);

    if (run->present == SIZE_MAX)
        return;
    run->fed += piece.n;
    up_send(run, &run->upstreams[run->present], piece);
}

static size_t count_running(const struct run *run)
{
    size_t n = 0;

    for (size_t i = 0; i < run->ask_n; i++)
        n += run->asks[i].outcome == OUTCOME_NONE;
    return n;
}

static void check_counts(struct run *run)
{
    size_t running = count_running(run);

    assert(atomic_load(&run->connections) == running + client_pool_idle_count(run->pool));
    assert(atomic_load(&run->connections) <= CONNECTIONS_MAX);
    if ((run->mode & 8u) != 0)
        assert(atomic_load(&run->busy) == running);
}

/* The upstreams go, and all must be over. */
static void leave(struct run *run, unsigned how)
{
    resume_all(run);
    up_read_all(run);
    resume_all(run);
    check_counts(run);
    for (size_t i = 0; i < run->upstream_n; i++)
        up_end(run, &run->upstreams[i], how);
    /* One that began in the batch of another's end may have come to a new connection. */
    for (size_t i = 0; i < run->upstream_n; i++)
        up_end(run, &run->upstreams[i], 1);
    assert(count_running(run) == 0);
    assert(client_pool_idle_count(run->pool) == 0);
    assert(atomic_load(&run->connections) == 0 && atomic_load(&run->busy) == 0);
    client_pool_free(&run->pool);
    for (size_t i = 0; i < run->upstream_n; i++)
        conn_close(&run->upstreams[i].conn);
    loop_test_run(run->loop);
    loop_test_free(&run->loop);
}

static void run_free(struct run **run)
{
    struct run *r = *run;

    for (size_t i = 0; i < r->upstream_n; i++) {
        buf_fini(&r->upstreams[i].in);
        buf_fini(&r->upstreams[i].sent);
    }
    for (size_t i = 0; i < r->ask_n; i++) {
        buf_fini(&r->asks[i].head_out);
        buf_fini(&r->asks[i].text);
        buf_fini(&r->asks[i].body);
        arena_fini(&r->asks[i].arena);
    }
    mem_free(r);
    *run = NULL;
}

/* ---- laws ---- */

/* Reads the final answer at *at, interim ones before it left out. Their heads count together. */
static size_t read_answer(const struct upstream *up, bool is_head, size_t *at)
{
    size_t heads = 0;

    for (;;) {
        strict_read_answer(&reader, str_from(buf_str(&up->sent), *at), is_head, up->ended);
        heads += reader.head_size;
        if (reader.head != STRICT_DONE || reader.status >= 200)
            return heads;
        /* One that says to have a body is no interim answer. */
        if (reader.status == 101 || reader.chunked || reader.length > 0)
            return heads;
        *at += reader.size;
    }
}

static enum coding coding_read(const struct run *run)
{
    struct http_header items[STRICT_FIELDS_MAX];
    const struct http_headers headers = {.items = items, .n = reader.field_n};

    for (size_t i = 0; i < reader.field_n; i++)
        items[i] = (struct http_header){reader.fields[i].name, reader.fields[i].value};
    enum coding coding = coding_of_headers(&headers);
    bool known = coding == CODING_GZIP || coding == CODING_DEFLATE;
    bool as_is = (run->mode & 0x20u) != 0 && reader.status < 400;
    return known && !as_is ? coding : CODING_IDENTITY;
}

enum decoded { DECODED_WHOLE, DECODED_PART, DECODED_BOMB };

/* The body as it is to be told. PART: its coding is at fault, or not at its end. */
static enum decoded decode(const struct run *run)
{
    static char buffer[1 << 16];
    const struct decoding_options options = {.coding = coding_read(run),
                                             .bytes_max = DECODED_MAX,
                                             .ratio_max = RATIO};
    struct str input = buf_str(&reader.body);
    struct str piece = STR_NULL;
    struct error e;

    buf_reset(&decoded);
    if (options.coding == CODING_IDENTITY)
        return buf_add(&decoded, input) ? DECODED_WHOLE : DECODED_PART;
    struct decoding *decoding = coding_new(&options);
    enum decoding_step step = DECODING_PIECE;
    while (step == DECODING_PIECE) {
        step = coding_next(decoding, &input, buffer, sizeof(buffer), &piece, &e);
        if (step == DECODING_PIECE)
            buf_add(&decoded, piece);
    }
    bool complete = step == DECODING_MORE && coding_complete(decoding);
    coding_free(&decoding);
    assert(buf_ok(&decoded));
    return complete ? DECODED_WHOLE : step == DECODING_BOMB ? DECODED_BOMB : DECODED_PART;
}

/* How much of a bomb is told before it is found depends on the cut. */
static void check_told(const struct ask *ask, enum decoded how)
{
    struct buf text;

    assert(reader.head == STRICT_DONE && reader.status == ask->status);
    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < reader.field_n; i++)
        buf_print(&text, "%.*s: %.*s\n", STR_ARG(reader.fields[i].name),
                  STR_ARG(reader.fields[i].value));
    assert(str_eq(buf_str(&text), buf_str(&ask->text)));
    buf_fini(&text);
    assert(str_starts(buf_str(&decoded), buf_str(&ask->body)) || how == DECODED_BOMB);
}

/* sound: nothing but what was read can be the reason. */
static void check_failed(const struct run *run, const struct ask *ask, bool sound)
{
    if (ask->code == ERR_UPSTREAM_TOO_LARGE)
        assert(coding_read(run) != CODING_IDENTITY);
    else if (ask->code == ERR_UPSTREAM_TIMEOUT)
        assert(run->timed);
    else
        assert(ask->code == ERR_UPSTREAM_BROKEN);
    assert(!sound || run->timed || reader.kind != STRICT_DONE || !reader.plain);
}

static void check_ask(const struct run *run, const struct ask *ask, const struct upstream *up,
                      size_t *at)
{
    size_t heads = read_answer(up, ask->is_head, at);

    if (reader.head == STRICT_DONE && reader.status < 200) {
        /* 101, or an interim answer that is said to have a body */
        assert(!ask->head && ask->outcome != OUTCOME_ENDED);
        return;
    }
    enum decoded how = reader.head == STRICT_DONE ? decode(run) : DECODED_PART;
    if (ask->head)
        check_told(ask, how);
    if (ask->outcome == OUTCOME_ENDED) {
        assert(reader.kind == STRICT_DONE && how == DECODED_WHOLE);
        assert(decoded.n == ask->body.n);
        *at += reader.size;
    }
    if (ask->outcome == OUTCOME_FAILED)
        check_failed(run, ask, how == DECODED_WHOLE && heads <= HEAD_MAX && !up->broken);
}

/* The number in the target of the request that was read. */
static struct ask *ask_by_target(struct run *run)
{
    int64_t n = 0;
    bool ok = str_to_int64(str_from(reader.target, 1), &n);

    assert(ok && n >= 1 && (size_t)n <= run->ask_n);
    return &run->asks[n - 1];
}

/* Each upstream got whole requests, all but the last of which were answered to the end. */
static void check_upstreams(struct run *run)
{
    for (size_t i = 0; i < run->ask_n; i++)
        run->asks[i].connection = SIZE_MAX;
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < run->upstream_n; i++) {
            struct upstream *up = &run->upstreams[i];
            struct str in = buf_str(&up->in);
            size_t at = 0;
            while (in.n > 0) {
                strict_read_request(&reader, in);
                assert(reader.kind != STRICT_BAD);
                if (reader.head != STRICT_DONE)
                    break;
                struct ask *ask = ask_by_target(run);
                bool whole = reader.kind == STRICT_DONE;
                in = str_from(in, whole ? reader.size : in.n);
                /* A stale connection was replaced: the last counts. */
                if (pass == 0)
                    ask->connection = i;
                else if (ask->connection == i)
                    check_ask(run, ask, up, &at);
                else
                    assert(in.n == 0 && up->sent.n == at);
                assert(in.n == 0 || ask->outcome == OUTCOME_ENDED);
            }
        }
    }
    for (size_t i = 0; i < run->ask_n; i++)
        assert(!run->asks[i].head || run->asks[i].connection != SIZE_MAX);
}

static void check_all(struct run *run)
{
    for (size_t i = 0; i < run->ask_n; i++)
        assert(run->asks[i].outcome != OUTCOME_NONE);
    check_upstreams(run);
}

/* ---- one request, in cuts ---- */

static struct run *run_cut(struct str bytes, size_t first, size_t step, uint8_t mode)
{
    struct run *run = run_new(bytes, (uint8_t)(mode & ~0x17u));

    ask_start(run, (mode >> 6) & 1u, false);
    loop_test_run(run->loop);
    if (first > 0)
        feed(run, first);
    for (size_t at = first; at < bytes.n; at += step)
        feed(run, step);
    check_counts(run);
    size_t idle = client_pool_idle_count(run->pool);
    leave(run, (mode & 0x80u) != 0 ? 2 : 1);
    check_all(run);
    /* After what nobody asked for the connection is not kept. */
    size_t at = 0;
    (void)read_answer(&run->upstreams[0], run->asks[0].is_head, &at);
    assert(idle == 0 || (reader.kind == STRICT_DONE && at + reader.size == bytes.n));
    return run;
}

static void expect_same(const struct ask *a, const struct ask *b)
{
    /* When a bomb is found depends on how much of it came, and so does what was told before. */
    bool bomb = a->code == ERR_UPSTREAM_TOO_LARGE || b->code == ERR_UPSTREAM_TOO_LARGE;
    bool failed = a->outcome == OUTCOME_FAILED;

    assert(a->status == b->status && a->head == b->head);
    assert(str_eq(buf_str(&a->text), buf_str(&b->text)));
    assert(bomb || (a->outcome == b->outcome && a->code == b->code));
    assert(bomb || failed || str_eq(buf_str(&a->body), buf_str(&b->body)));
}

static void check_cuts(struct str bytes, size_t cut, uint8_t mode)
{
    const size_t cuts[][2] = {{cut % (bytes.n + 1), bytes.n + 1}, {0, 1}, {cut % 7, 1 + cut % 61}};
    struct run *whole = run_cut(bytes, 0, bytes.n + 1, mode);

    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct run *other = run_cut(bytes, cuts[i][0], cuts[i][1], mode);
        expect_same(&whole->asks[0], &other->asks[0]);
        run_free(&other);
    }
    run_free(&whole);
}

/* ---- the script ---- */

static void do_control(struct run *run, unsigned what)
{
    if (what < 6)
        run->cancel_next = (enum when)what;
    else if (what < 12)
        run->pause_next = (enum when)(what - 6);
    else if (what == 12)
        client_pool_trim(run->pool);
    else if (what == 13)
        client_pool_drain(run->pool);
    else
        resume_all(run);
}

static void do_op(struct run *run, uint8_t op)
{
    static const int64_t steps[] = {1, 500, 1001, 5000, SILENCE_MS, SILENCE_MS + 5, IDLE_MS + 5};
    unsigned low = op & 15u;
    struct ask *ask = ask_of(run, low);

    switch (op & 0xf0u) {
    case 0x80:
        up_read_all(run);
        ask_start(run, low, (low & 8u) != 0);
        break;
    case 0x90:
        if (run->upstream_n > 0)
            run->present = run->upstream_n - 1 - low % run->upstream_n;
        break;
    case 0xa0:
        run->timed = true;
        loop_test_advance(run->loop, steps[low % COUNT_OF(steps)]);
        break;
    case 0xb0:
        if (ask != NULL)
            ask_cancel(ask);
        break;
    case 0xc0:
        if (ask != NULL)
            ask_pause(ask, !ask->paused);
        break;
    case 0xd0:
        if (run->present != SIZE_MAX)
            up_end(run, &run->upstreams[run->present], low % 5);
        break;
    case 0xe0:
        do_control(run, low);
        break;
    default:
        feed(run, 1000);
        break;
    }
    loop_test_run(run->loop);
    check_counts(run);
}

static void run_script(struct str bytes, const uint8_t *script, size_t n, uint8_t mode)
{
    struct run *run = run_new(bytes, mode);

    for (size_t i = 0; i < n; i++) {
        if (script[i] < 0x80)
            feed(run, script[i] + 1u);
        else
            do_op(run, script[i]);
    }
    feed(run, bytes.n);
    leave(run, (mode & 0x80u) != 0 ? 2 : 0);
    check_all(run);
    run_free(&run);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    memset(body_bytes, 'b', sizeof(body_bytes));
    strict_init(&reader);
    buf_init(&decoded, TEXT_MAX);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > INPUT_MAX)
        return 0;
    size_t script_n = data[1] & 0x3fu;
    if (script_n > size - 2)
        script_n = size - 2;
    const uint8_t *script = data + 2;
    size_t n = size - 2 - script_n;
    /* A copy of its own, so that reading beyond it is seen. */
    char *copy = mem_new(n + 1);
    memcpy(copy, script + script_n, n);

    check_cuts(str_of(copy, n), data[1] * 37u + (script_n > 0 ? script[0] : 0), data[0]);
    run_script(str_of(copy, n), script, script_n, data[0]);
    mem_free(copy);
    return 0;
}
