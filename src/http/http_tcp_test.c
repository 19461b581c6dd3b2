/* SPDX-License-Identifier: MIT */
/* Client and server over a real loop and the loopback interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/server.h"
#include "io/conn.h"
#include "io/worker.h"

enum { BODY_BYTES = 2000000, TIME_MAX_MS = 20000 };

/* The requests, one after the other; each is begun when the one before is over. */
enum step { STEP_SMALL, STEP_REUSED, STEP_LARGE, STEP_REFUSED, STEP_COUNT };

struct rig {
    struct worker *worker;
    struct server *server;
    struct client_pool *pool;
    struct client_pool *nowhere;
    atomic_size_t connections;
    enum step step;
    struct client_request *r;
    struct arena arena;
    struct str body;
    struct buf head;
    struct buf received; /* the server's */
    struct buf answer;
    struct timer limit;
    unsigned accepted, sents, ends;
    enum error_code failure;
    bool late;
};

/* ---- the server's side: an echo ---- */

static void on_head(struct server_conn *c, struct message *m)
{
    struct rig *rig = server_ctx(c);
    (void)m;
    assert_true(str_starts(server_peer(c), STR("127.0.0.1:")));
    buf_reset(&rig->received);
    server_accept(c);
}

static void on_body(struct server_conn *c, struct str bytes)
{
    struct rig *rig = server_ctx(c);
    assert_true(buf_add(&rig->received, bytes));
}

static void on_body_end(struct server_conn *c)
{
    struct rig *rig = server_ctx(c);
    server_head(c, 200, STR(""), -1);
    server_body(c, buf_str(&rig->received));
    server_end(c);
}

static void nothing(struct server_conn *c)
{
    (void)c;
}

static void on_refuse(struct server_conn *c, const struct message *m, const struct error *e)
{
    (void)m;
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
    .writable = nothing,
    .done = nothing,
    .gone = nothing,
    .refuse = on_refuse,
    .closed = on_closed,
};

/* ---- the client's side ---- */

static void step_start(struct rig *rig);

static void up_sent(struct client_request *r, void *ctx)
{
    struct rig *rig = ctx;
    (void)r;
    rig->sents++;
}

static void up_head(struct client_request *r, void *ctx, const struct message *m)
{
    (void)r;
    (void)ctx;
    assert_int_equal(m->status, 200);
}

static void up_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct rig *rig = ctx;
    (void)r;
    assert_true(buf_add(&rig->answer, bytes));
}

static void up_end(struct client_request *r, void *ctx)
{
    struct rig *rig = ctx;
    (void)r;
    assert_true(str_eq(buf_str(&rig->answer), rig->body));
    rig->ends++;
    rig->r = NULL;
}

static void post_next(void *arg)
{
    struct rig *rig = arg;

    rig->step++;
    if (rig->step < STEP_COUNT)
        step_start(rig);
    else
        worker_stop(rig->worker);
}

static void up_batch(struct client_request *r, void *ctx)
{
    struct rig *rig = ctx;
    (void)r;
    if (rig->ends == (unsigned)rig->step + 1)
        worker_post(rig->worker, post_next, rig);
}

static void up_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct rig *rig = ctx;
    (void)r;
    rig->failure = e->code;
    rig->r = NULL;
    worker_post(rig->worker, post_next, rig);
}

static const struct client_events client_side = {
    .sent = up_sent,
    .head = up_head,
    .body = up_body,
    .end = up_end,
    .batch = up_batch,
    .failed = up_failed,
};

static void step_start(struct rig *rig)
{
    static char large[BODY_BYTES];
    struct error e;

    memset(large, 'l', sizeof(large));
    rig->body = rig->step == STEP_LARGE ? str_of(large, sizeof(large)) : STR("small");
    buf_reset(&rig->answer);
    buf_reset(&rig->head);
    arena_reset(&rig->arena);
    buf_print(&rig->head, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", rig->body.n);
    const struct client_call call = {
        .head = buf_str(&rig->head),
        .body = &rig->body,
        .body_n = 1,
        .arena = &rig->arena,
        .events = &client_side,
        .ctx = rig,
    };
    struct client_pool *pool = rig->step == STEP_REFUSED ? rig->nowhere : rig->pool;
    assert_int_equal(client_start(pool, &call, &rig->r, &e), OK);
}

static void post_first(void *arg)
{
    step_start(arg);
}

static void on_accepted(struct worker *worker, void *ctx, struct conn *conn)
{
    struct rig *rig = ctx;
    (void)worker;
    rig->accepted++;
    server_adopt(rig->server, conn);
}

static void post_wind_up(void *arg)
{
    struct rig *rig = arg;

    if (server_conn_count(rig->server) > 0)
        worker_post(rig->worker, post_wind_up, rig);
    else
        worker_release(rig->worker);
}

static void on_stopping(struct worker *worker, void *ctx)
{
    struct rig *rig = ctx;
    (void)worker;
    timer_stop(&rig->limit);
    client_cancel(&rig->r);
    client_pool_free(&rig->pool);
    client_pool_free(&rig->nowhere);
    server_close_all(rig->server);
    worker_post(rig->worker, post_wind_up, rig);
}

static const struct worker_events worker_side = {
    .accepted = on_accepted,
    .stopping = on_stopping,
};

static void on_limit(struct timer *timer)
{
    struct rig *rig = CONTAINER_OF(timer, struct rig, limit);

    rig->late = true;
    worker_stop(rig->worker);
}

/* A port on which nobody listens: it was free a moment ago. */
static uint16_t free_port(void)
{
    struct error e;
    uint16_t port = 0;
    int fd = -1;

    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fd, &port, &e), OK);
    close(fd);
    return port;
}

static struct client_pool *pool_new(struct rig *rig, uint16_t port)
{
    const struct client_pool_options options = {
        .host = STR("127.0.0.1"),
        .port = port,
        .connect_timeout_ms = 5000,
        .idle_timeout_ms = 10000,
        .silence_timeout_ms = 10000,
        .header_bytes_max = 4096,
        .connections = &rig->connections,
        .connections_max = 2,
    };
    return client_pool_new(worker_loop(rig->worker), &options);
}

static void test_over_loopback(void **state)
{
    (void)state;
    struct rig *rig = mem_new(sizeof(*rig));
    struct error e;
    uint16_t port = 0;
    int fd = -1;

    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fd, &port, &e), OK);
    const struct worker_options worker_options = {.events = &worker_side,
                                                  .ctx = rig,
                                                  .listen_fd = fd};
    rig->worker = worker_new(&worker_options);
    const struct server_options server_options = {
        .events = &server_side,
        .ctx = rig,
        .header_bytes_max = 4096,
        .header_timeout_ms = 10000,
        .body_idle_timeout_ms = 10000,
        .keepalive_timeout_ms = 10000,
        .write_timeout_ms = 10000,
        .arena_bytes_max = 1 << 20,
    };
    rig->server = server_new(worker_loop(rig->worker), &server_options);
    rig->pool = pool_new(rig, port);
    rig->nowhere = pool_new(rig, free_port());
    buf_init(&rig->head, 4096);
    buf_init(&rig->received, 2 * BODY_BYTES);
    buf_init(&rig->answer, 2 * BODY_BYTES);
    arena_init(&rig->arena, 1 << 20, 1024, NULL);
    timer_init(&rig->limit, worker_loop(rig->worker), on_limit);
    timer_start(&rig->limit, TIME_MAX_MS);
    worker_post(rig->worker, post_first, rig);
    worker_run(rig->worker);

    assert_false(rig->late);
    assert_int_equal(rig->step, STEP_COUNT);
    assert_int_equal(rig->ends, 3);
    assert_int_equal(rig->sents, 3);
    assert_int_equal(rig->accepted, 1); /* kept alive */
    assert_int_equal(rig->failure, ERR_UPSTREAM_UNREACHABLE);
    assert_int_equal(atomic_load(&rig->connections), 0);
    server_free(&rig->server);
    worker_free(&rig->worker);
    buf_fini(&rig->head);
    buf_fini(&rig->received);
    buf_fini(&rig->answer);
    arena_fini(&rig->arena);
    mem_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_over_loopback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
