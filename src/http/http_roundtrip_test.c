/* SPDX-License-Identifier: MIT */
/*
 * The client against the server: what one side writes, the other reads back, for both framings,
 * any sizes of reads and of ways between them, and however slow either end is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/server.h"
#include "io/conn.h"

enum { BYTES_MAX = 1 << 26 };

struct world {
    struct loop *loop;
    struct server *server;
    struct client_pool *pool;
    atomic_size_t connections;
    size_t read_max; /* of each end */
    size_t window;   /* of each way; 0: the default */
    bool answer_chunked;
    /* the server's side of the one request */
    struct buf received;
    struct timer tick; /* sends a piece of the answer */
    struct server_conn *c;
    size_t answered;
    size_t piece; /* of the answer, in one tick; 0: all at once */
    unsigned gones, dones, refuses;
    bool full_seen;
    /* the client's side */
    struct client_request *r;
    struct arena arena;
    struct buf answer;
    unsigned ends, faileds;
    uint64_t pause_each; /* pauses after so many pieces */
    uint64_t pieces;
    struct timer resume;
};

static struct world *world_of(struct server_conn *c)
{
    return server_ctx(c);
}

static void echo_more(struct world *w)
{
    size_t left = w->received.n - w->answered;
    size_t n = w->piece == 0 || w->piece > left ? left : w->piece;

    server_body(w->c, str_of(w->received.p + w->answered, n));
    w->answered += n;
    if (w->answered == w->received.n) {
        server_end(w->c);
        (void)server_flush(w->c);
    } else if (server_flush(w->c) == SERVER_FULL) {
        w->full_seen = true;
    } else {
        timer_start(&w->tick, 5);
    }
}

static void on_tick(struct timer *timer)
{
    echo_more(CONTAINER_OF(timer, struct world, tick));
}

static void on_head(struct server_conn *c, struct message *m)
{
    assert_true(str_eq(m->path, STR("/echo")));
    world_of(c)->c = c;
    buf_reset(&world_of(c)->received);
    server_accept(c);
}

static void on_body(struct server_conn *c, struct str bytes)
{
    assert_true(buf_add(&world_of(c)->received, bytes));
}

static void on_body_end(struct server_conn *c)
{
    struct world *w = world_of(c);

    w->answered = 0;
    server_head(c, 200, STR("X: y\r\n"), w->answer_chunked ? -1 : (int64_t)w->received.n);
    server_arena_release(c);
    echo_more(w);
}

static void on_writable(struct server_conn *c)
{
    echo_more(world_of(c));
}

static void on_done(struct server_conn *c)
{
    world_of(c)->dones++;
}

static void on_gone(struct server_conn *c)
{
    world_of(c)->gones++;
    timer_stop(&world_of(c)->tick);
}

static void on_refuse(struct server_conn *c, const struct message *m, const struct error *e)
{
    (void)m;
    world_of(c)->refuses++;
    server_head(c, error_status(e), STR(""), 0);
    server_end(c);
}

static void on_closed(struct server_conn *c)
{
    (void)c;
}

static const struct server_events server_side = {
    .head = on_head,
    .body = on_body,
    .body_end = on_body_end,
    .writable = on_writable,
    .done = on_done,
    .gone = on_gone,
    .refuse = on_refuse,
    .closed = on_closed,
};

static struct conn *join(void *ctx, struct loop *loop)
{
    struct world *w = ctx;
    struct conn *ours = NULL;
    struct conn *theirs = NULL;

    conn_pair(loop, &ours, &theirs);
    conn_mem_read_max(ours, w->read_max);
    conn_mem_read_max(theirs, w->read_max);
    if (w->window > 0) {
        conn_mem_window(ours, w->window);
        conn_mem_window(theirs, w->window);
    }
    server_adopt(w->server, theirs);
    return ours;
}

static void up_sent(struct client_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static void up_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct world *w = ctx;
    (void)r;
    assert_int_equal(m->status, 200);
    assert_int_equal(m->chunked, w->answer_chunked);
    assert_true(str_eq(http_headers_get(&m->headers, STR("x")), STR("y")));
}

static void up_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct world *w = ctx;

    assert_true(buf_add(&w->answer, bytes));
    if (w->pause_each > 0 && ++w->pieces % w->pause_each == 0) {
        client_pause(r, true);
        timer_start(&w->resume, 50);
    }
}

static void on_resume(struct timer *timer)
{
    struct world *w = CONTAINER_OF(timer, struct world, resume);

    if (w->r != NULL)
        client_pause(w->r, false);
}

static void up_end(struct client_request *r, void *ctx)
{
    struct world *w = ctx;
    (void)r;
    w->ends++;
    w->r = NULL;
}

static void up_batch(struct client_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static void up_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct world *w = ctx;
    (void)r;
    (void)e;
    w->faileds++;
    w->r = NULL;
}

static const struct client_events client_side = {
    .sent = up_sent,
    .head = up_head,
    .body = up_body,
    .end = up_end,
    .batch = up_batch,
    .failed = up_failed,
};

static struct world *world_new(void)
{
    struct world *w = mem_new(sizeof(*w));

    w->loop = loop_test_new();
    const struct server_options server_options = {
        .events = &server_side,
        .ctx = w,
        .header_bytes_max = 4096,
        .header_timeout_ms = 1000000,
        .body_idle_timeout_ms = 1000000,
        .keepalive_timeout_ms = 1000000,
        .write_timeout_ms = 1000000,
        .arena_bytes_max = 1 << 20,
    };
    const struct client_pool_options client_options = {
        .host = STR("echo"),
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = 1000000,
        .silence_timeout_ms = 1000000,
        .header_bytes_max = 4096,
        .connections = &w->connections,
        .connections_max = 1,
        .connect = join,
        .connect_ctx = w,
    };
    w->server = server_new(w->loop, &server_options);
    w->pool = client_pool_new(w->loop, &client_options);
    timer_init(&w->tick, w->loop, on_tick);
    timer_init(&w->resume, w->loop, on_resume);
    arena_init(&w->arena, 1 << 20, 1024, NULL);
    buf_init(&w->received, BYTES_MAX);
    buf_init(&w->answer, BYTES_MAX);
    return w;
}

static void world_free(struct world *w)
{
    client_pool_free(&w->pool);
    server_close_all(w->server);
    loop_test_run(w->loop);
    assert_int_equal(server_conn_count(w->server), 0);
    assert_int_equal(atomic_load(&w->connections), 0);
    server_free(&w->server);
    timer_stop(&w->tick);
    timer_stop(&w->resume);
    loop_test_free(&w->loop);
    arena_fini(&w->arena);
    buf_fini(&w->received);
    buf_fini(&w->answer);
    mem_free(w);
}

/* The request's body, framed by length or as chunks of growing sizes. */
static void request_make(struct buf *head, struct buf *body, struct str bytes, bool chunked)
{
    buf_reset(head);
    buf_reset(body);
    buf_add(head, STR("POST /echo HTTP/1.1\r\nHost: echo\r\n"));
    if (!chunked) {
        buf_print(head, "Content-Length: %zu\r\n\r\n", bytes.n);
        buf_add(body, bytes);
        return;
    }
    buf_add(head, STR("Transfer-Encoding: chunked\r\n\r\n"));
    for (size_t n = 1; bytes.n > 0; n = n * 2 + 1) {
        struct str chunk = str_head(bytes, n);
        buf_print(body, "%zx\r\n", chunk.n);
        buf_add(body, chunk);
        buf_add(body, STR("\r\n"));
        bytes = str_from(bytes, n);
    }
    buf_add(body, STR("0\r\n\r\n"));
}

static void start(struct world *w, struct buf *head, struct str *body)
{
    const struct client_call call = {
        .head = buf_str(head),
        .body = body,
        .body_n = 1,
        .arena = &w->arena,
        .events = &client_side,
        .ctx = w,
    };
    struct error e;

    buf_reset(&w->answer);
    arena_reset(&w->arena);
    assert_int_equal(client_start(w->pool, &call, &w->r, &e), OK);
}

static void echo(struct world *w, struct str bytes, bool chunked)
{
    struct buf head;
    struct buf body;
    unsigned ends = w->ends;
    unsigned dones = w->dones;

    buf_init(&head, 4096);
    buf_init(&body, BYTES_MAX);
    request_make(&head, &body, bytes, chunked);
    struct str piece = buf_str(&body);
    start(w, &head, &piece);
    for (int i = 0; i < 1000 && w->ends == ends; i++)
        loop_test_advance(w->loop, 100);
    assert_int_equal(w->ends, ends + 1);
    assert_int_equal(w->dones, dones + 1);
    assert_int_equal(w->faileds + w->gones + w->refuses, 0);
    assert_int_equal(w->answer.n, bytes.n);
    if (bytes.n > 0)
        assert_memory_equal(w->answer.p, bytes.p, bytes.n);
    /* Both ends are ready for the next one. */
    assert_int_equal(client_pool_idle_count(w->pool), 1);
    buf_fini(&head);
    buf_fini(&body);
}

static char *pattern(size_t n)
{
    char *bytes = mem_raw(n);

    for (size_t i = 0; i < n; i++)
        bytes[i] = (char)(i * 31 + i / 509);
    return bytes;
}

static void test_each_framing_and_read_size(void **state)
{
    (void)state;
    static const size_t reads[] = {0, 1, 2, 7, 100, 4096};
    static const size_t sizes[] = {0, 1, 15, 16, 255, 256, 1000, 4097};
    char *bytes = pattern(4097);

    for (size_t read = 0; read < COUNT_OF(reads); read++) {
        for (int way = 0; way < 4; way++) {
            struct world *w = world_new();
            w->read_max = reads[read];
            w->answer_chunked = (way & 1) != 0;
            for (size_t i = 0; i < COUNT_OF(sizes); i++) {
                w->piece = i % 3 * 77;
                echo(w, str_of(bytes, sizes[i]), (way & 2) != 0);
            }
            /* One connection did it all. */
            assert_int_equal(server_conn_count(w->server), 1);
            world_free(w);
        }
    }
    mem_free(bytes);
}

/* Much more than all queues and ways take, in both directions, with a client that pauses. */
static void test_large_and_slow(void **state)
{
    (void)state;
    size_t n = 3000000;
    char *bytes = pattern(n);

    for (int way = 0; way < 4; way++) {
        struct world *w = world_new();
        w->window = 10000;
        w->read_max = 50000;
        w->piece = 300000;
        w->pause_each = 7;
        w->answer_chunked = (way & 1) != 0;
        echo(w, str_of(bytes, n), (way & 2) != 0);
        assert_true(w->full_seen);
        world_free(w);
    }
    mem_free(bytes);
}

/* A user who leaves in the middle of a slow answer is noticed by the server at once. */
static void test_cancel_reaches_the_server(void **state)
{
    (void)state;
    char *bytes = pattern(1000);
    struct world *w = world_new();
    struct buf head;

    buf_init(&head, 4096);
    w->piece = 10;
    w->answer_chunked = true;
    buf_add(&head, STR("POST /echo HTTP/1.1\r\nHost: echo\r\nContent-Length: 1000\r\n\r\n"));
    struct str piece = str_of(bytes, 1000);
    start(w, &head, &piece);
    loop_test_advance(w->loop, 100);
    assert_in_range(w->answer.n, 10, 990);
    assert_int_equal(w->gones, 0);
    client_cancel(&w->r);
    loop_test_run(w->loop);
    assert_int_equal(w->gones, 1);
    assert_int_equal(w->dones, 0);
    assert_int_equal(atomic_load(&w->connections), 0);
    buf_fini(&head);
    world_free(w);
    mem_free(bytes);
}

/* And a server that breaks off is noticed by the user: never a whole answer. */
static void test_abort_reaches_the_user(void **state)
{
    (void)state;
    char *bytes = pattern(1000);

    for (int chunked = 0; chunked < 2; chunked++) {
        struct world *w = world_new();
        struct buf head;
        buf_init(&head, 4096);
        w->piece = 10;
        w->answer_chunked = chunked == 1;
        buf_add(&head, STR("POST /echo HTTP/1.1\r\nHost: echo\r\nContent-Length: 1000\r\n\r\n"));
        struct str piece = str_of(bytes, 1000);
        start(w, &head, &piece);
        loop_test_advance(w->loop, 100);
        timer_stop(&w->tick);
        server_abort(w->c);
        loop_test_run(w->loop);
        assert_int_equal(w->faileds, 1);
        assert_int_equal(w->ends, 0);
        buf_fini(&head);
        world_free(w);
    }
    mem_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_framing_and_read_size),
        cmocka_unit_test(test_large_and_slow),
        cmocka_unit_test(test_cancel_reaches_the_server),
        cmocka_unit_test(test_abort_reaches_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
