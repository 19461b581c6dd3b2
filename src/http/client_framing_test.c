/* SPDX-License-Identifier: MIT */
/* Where an answer ends, and whether its connection may serve on: RFC 9112, section 6.3, as the
 * client tells it, however the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/conn.h"

struct user {
    struct loop *loop;
    struct client_pool *pool;
    struct conn *upstream;
    struct arena arena;
    struct client_request *request;
    struct buf log;
};

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    static const struct conn_events events = {.read = NULL};
    struct user *user = ctx;
    struct conn *near = NULL;

    conn_pair(loop, &near, &user->upstream);
    conn_set_events(user->upstream, &events, user);
    return near;
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    (void)r;
    (void)buf_print(&((struct user *)ctx)->log, "%d ", m->status);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    (void)r;
    (void)buf_add(&((struct user *)ctx)->log, bytes);
}

static void on_end(struct client_request *r, void *ctx)
{
    struct user *user = ctx;

    (void)r;
    user->request = NULL;
    (void)buf_add(&user->log, STR(" end"));
}

static void on_batch(struct client_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct user *user = ctx;

    (void)r;
    user->request = NULL;
    assert_int_equal(e->code, ERR_UPSTREAM_BROKEN);
    (void)buf_add(&user->log, STR(" failed"));
}

static const struct client_events events = {.head = on_head,
                                            .body = on_body,
                                            .end = on_end,
                                            .batch = on_batch,
                                            .failed = on_failed};

static void send(struct user *user, struct str bytes)
{
    if (bytes.n > 0)
        (void)conn_write(user->upstream, &bytes, 1);
    loop_test_run(user->loop);
}

/* What was told, and how many connections may serve on; the answer in two pieces, then the end. */
static void run(struct str answer, size_t cut, bool is_head, struct buf *ret_log, size_t *ret_idle)
{
    struct user user = {.loop = loop_test_new()};
    const struct client_pool_options options = {
        .host = STR("up"),
        .port = 80,
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = 60000,
        .silence_timeout_ms = 300000,
        .header_bytes_max = 1024,
        .connect = up_connect,
        .connect_ctx = &user,
    };
    const struct client_call call = {
        .head = STR("GET / HTTP/1.1\r\nHost: up\r\n\r\n"),
        .is_head = is_head,
        .arena = &user.arena,
        .events = &events,
        .ctx = &user,
    };
    struct error e;

    user.pool = client_pool_new(user.loop, &options);
    buf_init(&user.log, 4096);
    arena_init(&user.arena, 1 << 20, 1024, NULL);
    assert_int_equal(client_start(user.pool, &call, &user.request, &e), OK);
    loop_test_run(user.loop);
    send(&user, str_head(answer, cut));
    send(&user, str_from(answer, cut));
    *ret_idle = client_pool_idle_count(user.pool);
    conn_close(&user.upstream);
    loop_test_run(user.loop);
    assert_null(user.request);
    *ret_log = user.log;
    client_pool_free(&user.pool);
    loop_test_run(user.loop);
    loop_test_free(&user.loop);
    arena_fini(&user.arena);
}

#define H "HTTP/1.1 "

static const struct {
    const char *answer;
    const char *want;
    size_t idle;
} answers[] = {
    /* 1: no body, whatever the header fields say. What comes behind it nobody asked for. */
    {H "204 x\r\n\r\n", "204  end", 1},
    {H "204 x\r\nContent-Length: 5\r\n\r\n", "204  end", 1},
    {H "204 x\r\nContent-Length: 5\r\n\r\nhello", "204  end", 0},
    {H "204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "204  end", 0},
    {H "304 x\r\nContent-Length: 5\r\n\r\n", "304  end", 1},
    {H "304 x\r\nContent-Length: 5\r\n\r\nhello", "304  end", 0},
    {H "100 x\r\n\r\n" H "200 x\r\nContent-Length: 2\r\n\r\nok", "200 ok end", 1},
    {H "103 x\r\nA: b\r\n\r\n" H "204 x\r\n\r\n", "204  end", 1},
    {H "100 x\r\n\r\n", " failed", 0},
    /* 3: both lengths. */
    {H "200 x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " failed", 0},
    {H "200 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", " failed", 0},
    /* 4: chunked is not the last, or not the only one. */
    {H "200 x\r\nTransfer-Encoding: gzip\r\n\r\nhello", " failed", 0},
    {H "200 x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", " failed", 0},
    {H "200 x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", " failed", 0},
    {H "200 x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     " failed", 0},
    {"HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", " failed", 0},
    /* 5: a length that is none. */
    {H "200 x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", " failed", 0},
    {H "200 x\r\nContent-Length: 5, 6\r\n\r\nhello", " failed", 0},
    {H "200 x\r\nContent-Length: -5\r\n\r\nhello", " failed", 0},
    {H "200 x\r\nContent-Length: 0x5\r\n\r\nhello", " failed", 0},
    {H "200 x\r\nContent-Length: 18446744073709551616\r\n\r\nhello", " failed", 0},
    /* 6: a length. */
    {H "200 x\r\nContent-Length: 0\r\n\r\n", "200  end", 1},
    {H "205 x\r\nContent-Length: 0\r\n\r\n", "205  end", 1},
    {H "200 x\r\nContent-Length: 5\r\n\r\nhello", "200 hello end", 1},
    {H "200 x\r\nContent-Length: 5\r\n\r\nhell", "200 hell failed", 0},
    {H "200 x\r\nContent-Length: 5\r\n\r\nhello!", "200 hello end", 0},
    {H "200 x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", "200 hello end", 0},
    {"HTTP/1.0 200 x\r\nContent-Length: 5\r\n\r\nhello", "200 hello end", 0},
    {"HTTP/1.0 200 x\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello", "200 hello end",
     1},
    /* 7: chunks. */
    {H "200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "200 hello end", 1},
    {H "200 x\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n",
     "200 hello end", 1},
    {H "200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "200 hello failed", 0},
    {H "200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", "200 hello failed", 0},
    {H "200 x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n", "200 hello failed",
     0},
    {H "200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" H "200 x\r\n\r\n", "200  end", 0},
    /* 8: until the connection's end. */
    {H "200 x\r\n\r\nhello", "200 hello end", 0},
    {"HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\nhello", "200 hello end", 0},
    {H "205 x\r\n\r\n", "205  end", 0},
};

static const struct {
    const char *answer;
    const char *want;
    size_t idle;
} head_answers[] = {
    {H "200 x\r\nContent-Length: 5\r\n\r\n", "200  end", 1},
    {H "200 x\r\nTransfer-Encoding: chunked\r\n\r\n", "200  end", 1},
    {H "200 x\r\n\r\n", "200  end", 1},
    {H "100 x\r\n\r\n" H "200 x\r\nContent-Length: 5\r\n\r\n", "200  end", 1},
    {H "200 x\r\nContent-Length: 5\r\n\r\nhello", "200  end", 0},
    {H "404 x\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "404  end", 0},
};

static void check(const char *answer, const char *want, size_t idle, bool is_head)
{
    struct str bytes = str_c(answer);

    for (size_t cut = 0; cut < bytes.n; cut++) {
        struct buf log;
        size_t got_idle = 0;
        run(bytes, cut, is_head, &log, &got_idle);
        if (!str_eq(buf_str(&log), str_c(want)) || got_idle != idle)
            fail_msg("cut %zu of \"%s\": \"%.*s\", %zu idle", cut, answer, STR_ARG(buf_str(&log)),
                     got_idle);
        buf_fini(&log);
    }
}

static void test_body(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++)
        check(answers[i].answer, answers[i].want, answers[i].idle, false);
}

static void test_answer_to_head(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(head_answers); i++)
        check(head_answers[i].answer, head_answers[i].want, head_answers[i].idle, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body),
        cmocka_unit_test(test_answer_to_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
