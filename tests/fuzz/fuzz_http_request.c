/* SPDX-License-Identifier: MIT */
/*
 * server_* over parse_*: any bytes of a client, cut and timed in any way, against users who answer
 * in every way.
 *
 * Input     [user][wire][n of the script][script, n bytes][the client's bytes]
 *           A script's byte below 0x80 gives so many bytes + 1 to the server; the others are in
 *           do_op. What the script leaves is given in one piece.
 * Laws      Each request told ends in exactly one of done, gone and abort; after a refusal no
 *           further one is told. What is told (line, headers, body, and where the next begins) is
 *           what strict.c reads from the same bytes. What is plain is not refused. The answers on
 *           the wire are well formed, whole when `done`, in order, and no more than were given; one
 *           that was broken off does not look complete. Another cut changes nothing of all that.
 *           When all is over no connection, byte or timer is left.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "http/server.h"
#include "io/conn.h"
#include "strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
    HEAD_MAX = 512,
    HEADER_MS = 10000,
    BODY_MS = 60000,
    KEEPALIVE_MS = 75000,
    WRITE_MS = 40000,
    INPUT_MAX = 12000,
    REQUEST_MIN = 18, /* GET / HTTP/1.0 and two line ends */
    TEXT_MAX = 1 << 26,
    PIECE = 20000,
    LARGE = 8 * PIECE, /* more than one mark of the queue */
};

/* What the user does with a request. Those before USER_LATE depend on nothing but the request. */
enum user {
    USER_AT_HEAD, /* answers without taking the body */
    USER_AT_END,  /* with a length */
    USER_CHUNKS,  /* without one */
    USER_ECHO,    /* each piece of the body is a piece of the answer */
    USER_FIRST,   /* answers at the first piece */
    USER_RELEASE, /* lets go of the message at once */
    USER_NO_BODY, /* 204 */
    USER_SHORT,   /* less than the length it gave */
    USER_BREAK,   /* begins to answer at the head, aborts at the body's end */
    USER_ABORT,   /* at the head */
    USER_CLOSE,   /* asks to close after */
    USER_LATE,    /* accepts, and answers, when it is asked to act */
    USER_PAUSE,   /* stops at each piece until it is asked to act */
    USER_LARGE,   /* as much as the connection takes, then waits for `writable` */
    USER_EARLY,   /* the head at once, pieces when asked, the end when asked */
    USER_COUNT,
};

enum outcome { OUTCOME_NONE, OUTCOME_DONE, OUTCOME_GONE, OUTCOME_ABORTED };

struct request {
    enum user user;
    enum outcome outcome;
    struct buf head; /* as text, to be compared */
    struct buf body;
    bool told;    /* by `head`; else only refused */
    bool refused; /* too, or only */
    bool body_ended;
    bool accepted;
    bool paused;
    bool is_head;
    enum error_code refusal;
    /* the answer */
    bool begun;
    bool ended;
    bool full;
    int status;
    size_t given; /* of the pattern, in bytes */
    bool echo;    /* the body, not the pattern */
    unsigned steps;
};

struct run {
    struct loop *loop;
    struct server *server;
    struct conn *conn; /* the client's end */
    struct arena_budget budget;
    struct server_conn *c;
    struct request *requests;
    size_t request_n;
    size_t request_max;
    struct buf in;
    uint8_t user;
    uint8_t wire;
    unsigned closeds;
    bool eof, failed;
    bool disturbed; /* the client left, or took nothing, or time passed */
    bool timed;     /* time passed */
    bool closed_by_us;
    struct str bytes;
    size_t fed;
};

static char pattern[LARGE + PIECE];
static struct strict reader;

static struct run *run_of(struct server_conn *c)
{
    return server_ctx(c);
}

static struct request *request_of(struct server_conn *c)
{
    struct run *run = run_of(c);

    assert(run->request_n > 0);
    return &run->requests[run->request_n - 1];
}

static struct request *request_add(struct run *run)
{
    assert(run->request_n < run->request_max);
    /* One at a time. */
    assert(run->request_n == 0 || run->requests[run->request_n - 1].outcome != OUTCOME_NONE);
    struct request *q = &run->requests[run->request_n++];
    buf_init(&q->head, TEXT_MAX);
    buf_init(&q->body, TEXT_MAX);
    return q;
}

/* ---- answers ---- */

static void begin(struct server_conn *c, struct request *q, int status, int64_t length)
{
    struct buf text;

    buf_init(&text, 64);
    buf_print(&text, "X-N: %zu\r\n", run_of(c)->request_n);
    q->begun = true;
    q->status = status;
    server_head(c, status, buf_str(&text), length);
    buf_fini(&text);
}

static void give(struct server_conn *c, struct request *q, size_t n)
{
    assert(q->given + n <= sizeof(pattern));
    server_body(c, str_of(pattern + q->given, n));
    q->given += n;
}

static void end(struct server_conn *c, struct request *q)
{
    q->ended = true;
    server_end(c);
}

static void answer(struct server_conn *c, struct request *q, size_t n, bool length)
{
    begin(c, q, 200, length ? (int64_t)n : -1);
    give(c, q, n);
    end(c, q);
}

static void give_large(struct server_conn *c, struct request *q)
{
    q->full = false;
    while (!q->full && q->given < LARGE) {
        give(c, q, PIECE);
        q->full = server_flush(c) == SERVER_FULL;
    }
    if (!q->full)
        end(c, q);
}

static void abort_it(struct server_conn *c, struct request *q)
{
    q->outcome = OUTCOME_ABORTED;
    run_of(c)->closed_by_us = true;
    server_abort(c);
    run_of(c)->c = NULL;
}

/* The whole request is there. */
static void answer_last(struct server_conn *c, struct request *q)
{
    switch (q->user) {
    case USER_AT_END:
    case USER_RELEASE:
    case USER_PAUSE:
    case USER_FIRST:
        answer(c, q, 100, true);
        break;
    case USER_CHUNKS:
        answer(c, q, 100, false);
        break;
    case USER_ECHO:
        end(c, q);
        break;
    case USER_NO_BODY:
        begin(c, q, 204, -1);
        end(c, q);
        break;
    case USER_SHORT:
        begin(c, q, 200, 100);
        give(c, q, 50);
        end(c, q);
        break;
    case USER_BREAK:
        abort_it(c, q);
        break;
    case USER_CLOSE:
        server_close_after(c);
        answer(c, q, 100, true);
        break;
    case USER_LARGE:
        begin(c, q, 200, q->is_head ? LARGE : -1);
        give_large(c, q);
        break;
    case USER_AT_HEAD:
    case USER_ABORT:
    case USER_LATE:
    case USER_EARLY:
    case USER_COUNT:
        break;
    }
}

/* Time to do what was put off. */
static void act(struct run *run)
{
    struct server_conn *c = run->c;
    struct request *q = c == NULL ? NULL : request_of(c);

    if (q == NULL || q->outcome != OUTCOME_NONE || q->ended)
        return;
    if (q->refused) {
        if (!q->begun)
            answer(c, q, 10, true);
    } else if (q->user == USER_PAUSE && q->paused) {
        q->paused = false;
        server_pause(c, false);
    } else if (q->user == USER_LATE && !q->accepted) {
        q->accepted = true;
        server_accept(c);
    } else if (q->user == USER_LATE) {
        answer(c, q, 1000, false);
    } else if (q->user == USER_EARLY && q->steps < 3) {
        q->steps++;
        give(c, q, 10);
        (void)server_flush(c);
    } else if (q->user == USER_EARLY) {
        end(c, q);
    }
    loop_test_run(run->loop);
}

/* ---- events ---- */

static void note_head(struct request *q, const struct message *m)
{
    buf_print(&q->head, "%.*s %.*s 1.%d\n", STR_ARG(m->method_name), STR_ARG(m->target), m->minor);
    for (size_t i = 0; i < m->headers.n; i++)
        buf_print(&q->head, "%.*s: %.*s\n", STR_ARG(m->headers.items[i].name),
                  STR_ARG(m->headers.items[i].value));
    assert(buf_ok(&q->head));
}

static void on_head(struct server_conn *c, struct message *m)
{
    struct run *run = run_of(c);

    assert(server_user(c) == NULL && !server_head_sent(c));
    for (size_t i = 0; i < run->request_n; i++)
        assert(!run->requests[i].refused);
    struct request *q = request_add(run);
    run->c = c;
    server_set_user(c, q);
    q->told = true;
    q->is_head = m->method == HTTP_HEAD;
    q->user = (enum user)((run->user + ((run->user & 0x80u) != 0 ? run->request_n : 0)) % 0x40u %
                          USER_COUNT);
    note_head(q, m);
    switch (q->user) {
    case USER_AT_HEAD:
        answer(c, q, 10, (run->wire & 0x80u) != 0);
        break;
    case USER_ABORT:
        abort_it(c, q);
        break;
    case USER_ECHO:
    case USER_BREAK:
    case USER_EARLY:
        q->accepted = true;
        q->echo = q->user == USER_ECHO;
        server_accept(c);
        begin(c, q, 200, -1);
        break;
    case USER_RELEASE:
        server_accept(c);
        q->accepted = true;
        server_arena_release(c);
        break;
    case USER_LATE:
        break;
    case USER_AT_END:
    case USER_CHUNKS:
    case USER_FIRST:
    case USER_NO_BODY:
    case USER_SHORT:
    case USER_CLOSE:
    case USER_PAUSE:
    case USER_LARGE:
    case USER_COUNT:
        q->accepted = true;
        server_accept(c);
        break;
    }
}

static void on_body(struct server_conn *c, struct str bytes)
{
    struct request *q = request_of(c);

    assert(bytes.n > 0 && q->accepted && !q->ended && !q->paused && !q->body_ended);
    assert(q->outcome == OUTCOME_NONE && server_user(c) == q);
    bool ok = buf_add(&q->body, bytes);
    assert(ok);
    if (q->echo) {
        server_body(c, bytes);
        (void)server_flush(c);
    } else if (q->user == USER_FIRST) {
        answer(c, q, 100, true);
    } else if (q->user == USER_PAUSE) {
        q->paused = true;
        server_pause(c, true);
    }
}

static void on_body_end(struct server_conn *c)
{
    struct request *q = request_of(c);

    assert(q->accepted && !q->ended && !q->paused && q->outcome == OUTCOME_NONE);
    q->body_ended = true;
    answer_last(c, q);
}

static void on_writable(struct server_conn *c)
{
    struct request *q = request_of(c);

    assert(q->begun && !q->ended && q->outcome == OUTCOME_NONE);
    if (q->user == USER_LARGE && !q->refused && q->full)
        give_large(c, q);
}

static void finish(struct server_conn *c, enum outcome outcome)
{
    struct request *q = request_of(c);

    assert(q->outcome == OUTCOME_NONE);
    assert(outcome == OUTCOME_GONE || q->ended);
    q->outcome = outcome;
    run_of(c)->c = NULL;
}

static void on_done(struct server_conn *c)
{
    finish(c, OUTCOME_DONE);
}

static void on_gone(struct server_conn *c)
{
    finish(c, OUTCOME_GONE);
}

static void on_refuse(struct server_conn *c, const struct message *m, const struct error *e)
{
    struct run *run = run_of(c);
    struct request *q = run->c == NULL ? NULL : request_of(c);

    assert(e->code != OK && !server_head_sent(c));
    if (q == NULL || q->outcome != OUTCOME_NONE) {
        q = request_add(run);
        q->is_head = m->method == HTTP_HEAD;
        run->c = c;
    } else {
        assert(!q->begun && !q->body_ended);
    }
    assert(!q->refused);
    q->refused = true;
    q->refusal = e->code;
    q->paused = false;
    if ((run->wire & 0x40u) == 0)
        answer(c, q, 10, true);
}

static void on_closed(struct server_conn *c)
{
    struct run *run = run_of(c);

    assert(run->c == NULL);
    run->closeds++;
}

static const struct server_events events = {
    .head = on_head,
    .body = on_body,
    .body_end = on_body_end,
    .writable = on_writable,
    .done = on_done,
    .gone = on_gone,
    .refuse = on_refuse,
    .closed = on_closed,
};

/* ---- the client's end ---- */

static void peer_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    bool ok = buf_add(&((struct run *)ctx)->in, bytes);
    assert(ok);
}

static void peer_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    ((struct run *)ctx)->eof = true;
}

static void peer_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    (void)e;
    ((struct run *)ctx)->failed = true;
}

static const struct conn_events peer_events = {
    .read = peer_read,
    .eof = peer_eof,
    .failed = peer_failed,
};

static struct run *run_new(struct str bytes, uint8_t user, uint8_t wire)
{
    static const size_t reads[] = {0, 1, 2, 3, 7, 64, 500, 0};
    static const size_t windows[] = {0, 1000, 100, 20};
    struct run *run = mem_new(sizeof(*run));
    struct conn *theirs = NULL;

    run->loop = loop_test_new();
    run->bytes = bytes;
    run->user = user;
    run->wire = wire;
    run->request_max = bytes.n / REQUEST_MIN + 2;
    run->requests = mem_new(run->request_max * sizeof(*run->requests));
    buf_init(&run->in, TEXT_MAX);
    const struct server_options options = {
        .events = &events,
        .ctx = run,
        .header_bytes_max = HEAD_MAX,
        .header_timeout_ms = HEADER_MS,
        .body_idle_timeout_ms = BODY_MS,
        .keepalive_timeout_ms = KEEPALIVE_MS,
        .write_timeout_ms = WRITE_MS,
        .arena_bytes_max = 1 << 20,
        .budget = &run->budget,
    };
    run->server = server_new(run->loop, &options);
    conn_pair(run->loop, &run->conn, &theirs);
    conn_set_events(run->conn, &peer_events, run);
    conn_read_start(run->conn);
    conn_mem_read_max(theirs, reads[wire & 7u]);
    if (windows[(wire >> 3) & 3u] > 0)
        conn_mem_window(theirs, windows[(wire >> 3) & 3u]);
    server_adopt(run->server, theirs);
    return run;
}

static void run_free(struct run **run)
{
    struct run *r = *run;

    for (size_t i = 0; i < r->request_n; i++) {
        buf_fini(&r->requests[i].head);
        buf_fini(&r->requests[i].body);
    }
    mem_free(r->requests);
    buf_fini(&r->in);
    mem_free(r);
    *run = NULL;
}

static void feed(struct run *run, size_t n)
{
    struct str piece = str_head(str_from(run->bytes, run->fed), n);

    if (piece.n == 0 || run->conn == NULL || run->eof || run->failed)
        return;
    run->fed += piece.n;
    (void)conn_write(run->conn, &piece, 1);
    loop_test_run(run->loop);
}

/* Until nothing is put off any more. */
static void settle(struct run *run)
{
    for (unsigned i = 0; i < 8 * run->request_max && run->c != NULL; i++) {
        const struct request *q = request_of(run->c);
        struct request was = *q;
        act(run);
        if (run->c != NULL && memcmp(&was, q, sizeof(was)) == 0)
            break;
    }
}

static void advance(struct run *run, unsigned n)
{
    static const int64_t steps[] = {1,     500,      1001,         HEADER_MS,  HEADER_MS + 5,
                                    30000, WRITE_MS, KEEPALIVE_MS, BODY_MS + 5};

    run->timed = true;
    run->disturbed = true;
    loop_test_advance(run->loop, steps[n % COUNT_OF(steps)]);
}

/* True: the client has left for good. */
static bool do_op(struct run *run, uint8_t op)
{
    switch (op & 0xf0u) {
    case 0x80:
    case 0x90:
        act(run);
        break;
    case 0xa0:
        advance(run, op & 15u);
        break;
    case 0xb0:
        run->disturbed = true;
        conn_read_stop(run->conn);
        break;
    case 0xc0:
        conn_read_start(run->conn);
        break;
    case 0xd0:
        conn_mem_window(run->conn, (size_t)(op & 15u) * 50 + 1);
        break;
    case 0xe0:
        server_drain(run->server);
        run->closed_by_us = true;
        break;
    default:
        run->disturbed = true;
        if ((op & 3u) == 0)
            conn_shutdown(run->conn);
        else if ((op & 3u) == 1)
            conn_close(&run->conn);
        else if ((op & 3u) == 2)
            conn_reset(&run->conn);
        else
            server_close_all(run->server);
        loop_test_run(run->loop);
        return true;
    }
    loop_test_run(run->loop);
    return false;
}

/* The client goes, and all must be over. */
static void leave(struct run *run, bool politely)
{
    settle(run);
    if (run->conn != NULL) {
        conn_mem_window(run->conn, 1 << 20);
        conn_read_start(run->conn);
        loop_test_run(run->loop);
        settle(run);
        if (politely)
            conn_shutdown(run->conn);
        loop_test_run(run->loop);
        settle(run);
    }
    /* The longest time-out, and a lingering after it, twice for a keep-alive after an answer. */
    for (unsigned i = 0; i < 4; i++) {
        loop_test_advance(run->loop, KEEPALIVE_MS + WRITE_MS + 10);
        settle(run);
    }
    assert(server_conn_count(run->server) == 0);
    assert(run->closeds == 1);
    assert(atomic_load(&run->budget.used) == 0);
    conn_close(&run->conn);
    loop_test_run(run->loop);
    server_free(&run->server);
    loop_test_free(&run->loop);
}

/* ---- laws ---- */

static void text_of(const struct strict *wire, struct buf *text)
{
    buf_reset(text);
    buf_print(text, "%.*s %.*s 1.%d\n", STR_ARG(wire->method), STR_ARG(wire->target), wire->minor);
    for (size_t i = 0; i < wire->field_n; i++)
        buf_print(text, "%.*s: %.*s\n", STR_ARG(wire->fields[i].name),
                  STR_ARG(wire->fields[i].value));
}

static void check_refusal(const struct run *run, const struct request *q, const struct strict *wire)
{
    if (q->refusal == ERR_BAD_HTTP) {
        assert(wire->kind != STRICT_DONE || !wire->plain || wire->head_size > HEAD_MAX);
    } else if (q->refusal == ERR_HEADERS_TOO_LARGE) {
        assert(wire->head == STRICT_BAD || wire->head_size > HEAD_MAX || wire->extra_size > 0 ||
               (wire->kind != STRICT_DONE && run->bytes.n > HEAD_MAX));
    } else {
        assert(q->refusal == ERR_REQUEST_TIMEOUT);
        assert(run->timed || wire->kind != STRICT_DONE);
    }
}

/* What was told is what is there. */
static void check_requests(const struct run *run)
{
    struct strict *wire = &reader;
    struct buf text;
    size_t at = 0;

    buf_init(&text, TEXT_MAX);
    for (size_t i = 0; i < run->request_n; i++) {
        const struct request *q = &run->requests[i];
        strict_read_request(wire, str_from(run->bytes, at));
        if (q->refused)
            check_refusal(run, q, wire);
        if (!q->told)
            break;
        assert(wire->head == STRICT_DONE && wire->head_size <= HEAD_MAX);
        text_of(wire, &text);
        assert(str_eq(buf_str(&text), buf_str(&q->head)));
        assert(str_starts(buf_str(&wire->body), buf_str(&q->body)));
        if (q->body_ended)
            assert(wire->kind == STRICT_DONE && wire->body.n == q->body.n);
        if (i + 1 < run->request_n)
            assert(wire->kind == STRICT_DONE && !q->refused);
        at += wire->size;
    }
    buf_fini(&text);
}

/* How the answer of q must look in `wire`. */
static void check_answer(const struct request *q, const struct strict *wire, size_t number)
{
    int64_t n = -1;
    struct str body = q->echo && !q->refused ? buf_str(&q->body) : str_of(pattern, q->given);

    assert(wire->status == q->status);
    bool ok = str_to_int64(strict_get(wire, STR("X-N")), &n);
    assert(ok && (size_t)n == number);
    if (q->is_head || q->status == 204)
        assert(wire->body.n == 0);
    else if (q->ended && wire->kind == STRICT_DONE)
        assert(str_eq(buf_str(&wire->body), body));
    else
        assert(str_starts(body, buf_str(&wire->body)));
}

/* One answer from *bytes on, interim ones before it left out. */
static void read_answer(struct run *run, const struct request *q, struct str *bytes,
                        struct strict *wire)
{
    do {
        *bytes = str_from(*bytes, wire->size);
        strict_read_answer(wire, *bytes, q->is_head, run->eof && !run->failed);
        assert(wire->kind != STRICT_BAD);
        if (wire->head == STRICT_DONE && wire->status == 100)
            assert(q->told && q->accepted && wire->field_n == 0);
    } while (wire->head == STRICT_DONE && wire->status == 100);
}

/* Whether as much of q's answer came as must have come. */
static void check_end(const struct request *q, const struct strict *wire, size_t number, bool loses)
{
    bool broken = !q->ended || (q->user == USER_SHORT && !q->refused && !q->is_head);

    if (wire->head != STRICT_DONE) {
        assert(q->outcome != OUTCOME_DONE || loses);
        return;
    }
    assert(q->begun);
    check_answer(q, wire, number);
    if (q->is_head || q->status == 204 || !broken)
        assert(wire->kind == STRICT_DONE || loses || !q->ended);
    else
        assert(wire->kind == STRICT_MORE);
}

/* The wire has the answers that were given, and nothing else. */
static void check_answers(struct run *run)
{
    struct strict *wire = &reader;
    struct str bytes = buf_str(&run->in);
    /* What a slow client has not taken yet goes with a connection that is given up. */
    bool cut = (run->wire & 0x18u) != 0 && run->request_n > 0 &&
               run->requests[run->request_n - 1].outcome != OUTCOME_DONE;
    bool loses = run->disturbed || cut;

    for (size_t i = 0; i < run->request_n; i++) {
        const struct request *q = &run->requests[i];
        wire->size = 0;
        read_answer(run, q, &bytes, wire);
        check_end(q, wire, i + 1, loses);
        if (wire->kind != STRICT_DONE) {
            assert(i + 1 == run->request_n || loses);
            bytes = STR("");
            break;
        }
        bytes = str_from(bytes, wire->size);
    }
    assert(bytes.n == 0);
}

/* Not disturbed: what is plain was told, and answered. */
static void check_plain(const struct run *run)
{
    struct strict *wire = &reader;
    size_t at = 0;

    for (size_t i = 0; !run->disturbed && !run->closed_by_us; i++) {
        strict_read_request(wire, str_from(run->bytes, at));
        if (wire->kind != STRICT_DONE || !wire->plain || wire->head_size > HEAD_MAX)
            break;
        assert(i < run->request_n && run->requests[i].told);
        const struct request *q = &run->requests[i];
        assert(q->outcome == OUTCOME_DONE);
        /* Who answers before the end may close the connection. */
        if (wire->minor == 0 || q->user == USER_SHORT || q->user == USER_CLOSE ||
            q->user == USER_ECHO || q->user == USER_AT_HEAD || q->user == USER_FIRST ||
            q->user == USER_EARLY || q->user == USER_LATE)
            break;
        at += wire->size;
    }
}

static void check_all(struct run *run)
{
    for (size_t i = 0; i < run->request_n; i++)
        assert(run->requests[i].outcome != OUTCOME_NONE);
    check_requests(run);
    check_answers(run);
    check_plain(run);
}

/* ---- runs ---- */

static void run_script(struct str bytes, const uint8_t *script, size_t n, uint8_t user,
                       uint8_t wire)
{
    struct run *run = run_new(bytes, user, wire);
    bool left = false;

    for (size_t i = 0; i < n && !left && run->conn != NULL; i++) {
        if (script[i] < 0x80)
            feed(run, script[i] + 1u);
        else
            left = do_op(run, script[i]);
    }
    if (!left)
        feed(run, bytes.n);
    leave(run, (wire & 0x20u) == 0);
    check_all(run);
    run_free(&run);
}

/* All that must not depend on the cut. */
static struct run *run_cut(struct str bytes, size_t first, size_t step, uint8_t user, uint8_t wire)
{
    struct run *run = run_new(bytes, user, wire);

    if (first > 0)
        feed(run, first);
    for (size_t at = first; at < bytes.n; at += step)
        feed(run, step);
    leave(run, true);
    check_all(run);
    return run;
}

static void expect_same(const struct run *one, const struct run *two)
{
    assert(one->request_n == two->request_n);
    for (size_t i = 0; i < one->request_n; i++) {
        const struct request *a = &one->requests[i];
        const struct request *b = &two->requests[i];
        assert(str_eq(buf_str(&a->head), buf_str(&b->head)));
        /* The rest after the first piece is for nobody. */
        assert(a->user == USER_FIRST || str_eq(buf_str(&a->body), buf_str(&b->body)));
        /* Which fault of several is found first is the cut's to say. */
        bool either = a->refusal == ERR_HEADERS_TOO_LARGE || b->refusal == ERR_HEADERS_TOO_LARGE;
        assert(a->told == b->told && a->refused == b->refused);
        assert(a->refusal == b->refusal || (a->refused && either));
        assert(a->body_ended == b->body_ended && a->outcome == b->outcome);
        assert(a->ended == b->ended && a->status == b->status);
    }
}

static void check_cuts(struct str bytes, size_t cut, uint8_t user, uint8_t wire)
{
    const size_t cuts[][2] = {{cut % (bytes.n + 1), bytes.n + 1}, {0, 1}, {cut % 7, 1 + cut % 61}};

    /* Who acts at a time of its own sees another part of the request each time. */
    user = (uint8_t)((user & 0x3fu) % USER_LATE);
    wire &= 0xa0u;
    struct run *whole = run_cut(bytes, 0, bytes.n + 1, user, wire);
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct run *other = run_cut(bytes, cuts[i][0], cuts[i][1], user, wire);
        expect_same(whole, other);
        run_free(&other);
    }
    run_free(&whole);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)('a' + i % 23);
    strict_init(&reader);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > INPUT_MAX)
        return 0;
    size_t script_n = data[2] & 0x3fu;
    if (script_n > size - 3)
        script_n = size - 3;
    const uint8_t *script = data + 3;
    /* A copy of its own, so that reading beyond it is seen. */
    size_t n = size - 3 - script_n;
    char *copy = mem_new(n + 1);
    memcpy(copy, script + script_n, n);
    struct str bytes = str_of(copy, n);

    run_script(bytes, script, script_n, data[0], data[1]);
    check_cuts(bytes, data[2] * 37u + (script_n > 0 ? script[0] : 0), data[0], data[1]);
    mem_free(copy);
    return 0;
}
