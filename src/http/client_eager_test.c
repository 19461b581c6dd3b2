/* SPDX-License-Identifier: MIT */
/* Answers that come before their time: eager heads, interim answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/conn.h"

enum { LARGE = 1000000, GOT_MAX = 4 * 1024 * 1024 };

struct user {
    struct loop *loop;
    struct client_pool *pool;
    struct conn *upstream;
    struct buf got; /* by the upstream */
    struct arena arena;
    struct client_request *request;
    struct str body;
    int sents;
    int bodies;
    int ends;
    int faileds;
};

static void up_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    assert_true(buf_add(&((struct user *)ctx)->got, bytes));
}

static const struct conn_events up_events = {.read = up_read};

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    struct user *user = ctx;
    struct conn *near = NULL;

    conn_close(&user->upstream);
    conn_pair(loop, &near, &user->upstream);
    conn_set_events(user->upstream, &up_events, user);
    return near;
}

static void on_sent(struct client_request *r, void *ctx)
{
    (void)r;
    ((struct user *)ctx)->sents++;
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    (void)r;
    (void)ctx;
    assert_true(m->status >= 200);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    (void)r;
    (void)bytes;
    ((struct user *)ctx)->bodies++;
}

static void on_end(struct client_request *r, void *ctx)
{
    (void)r;
    ((struct user *)ctx)->ends++;
    ((struct user *)ctx)->request = NULL;
}

static void on_batch(struct client_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    (void)r;
    assert_int_equal(e->code, ERR_UPSTREAM_BROKEN);
    ((struct user *)ctx)->faileds++;
    ((struct user *)ctx)->request = NULL;
}

static const struct client_events events = {
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

/* Asks for something with a body; the upstream does not read yet. */
static void setup(struct user *user, struct str body)
{
    struct error e;

    memset(user, 0, sizeof(*user));
    user->loop = loop_test_new();
    user->body = body;
    buf_init(&user->got, GOT_MAX);
    arena_init(&user->arena, GOT_MAX, 1024, NULL);
    user->pool = client_pool_new(user->loop, &(struct client_pool_options){
                                                 .host = STR("upstream.test"),
                                                 .port = 80,
                                                 .connect_timeout_ms = 1000,
                                                 .idle_timeout_ms = 60000,
                                                 .silence_timeout_ms = 60000,
                                                 .header_bytes_max = 32768,
                                                 .connect = up_connect,
                                                 .connect_ctx = user,
                                             });
    const struct client_call call = {
        .head = STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"),
        .body = &user->body,
        .body_n = 1,
        .arena = &user->arena,
        .events = &events,
        .ctx = user,
    };
    assert_int_equal(client_start(user->pool, &call, &user->request, &e), OK);
    loop_test_run(user->loop);
}

static void answer(struct user *user, const char *text)
{
    struct str part = str_c(text);
    (void)conn_write(user->upstream, &part, 1);
    loop_test_run(user->loop);
}

static void teardown(struct user *user)
{
    client_cancel(&user->request);
    conn_close(&user->upstream);
    loop_test_run(user->loop);
    client_pool_free(&user->pool);
    loop_test_run(user->loop);
    loop_test_free(&user->loop);
    buf_fini(&user->got);
    arena_fini(&user->arena);
}

/* Catches: an upstream that flushes its head before it has read the request, and then waits for the
 * rest of it for ever. */
static void test_eager_answer_gets_the_rest(void **state)
{
    struct user user;
    char *large = mem_new(LARGE);

    (void)state;
    setup(&user, str_of(large, LARGE));
    answer(&user, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    assert_int_equal(user.sents, 0);
    conn_read_start(user.upstream);
    loop_test_run(user.loop);
    assert_int_equal(user.sents, 1);
    assert_true(user.got.n > LARGE);
    answer(&user, "k");
    assert_int_equal(user.ends, 1);
    /* All was sent and all was read: the connection is good for another one. */
    assert_int_equal(client_pool_idle_count(user.pool), 1);
    teardown(&user);
    mem_free(large);
}

/* Catches: a body of an interim answer taken for the answer's. */
static void test_interim_with_a_body(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 104 X\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 150 X\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 199 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        "HTTP/1.1 103 X\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct user user;
        setup(&user, STR("x"));
        answer(&user, answers[i]);
        assert_int_equal(user.faileds, 1);
        assert_int_equal(user.bodies, 0);
        teardown(&user);
    }
}

/* Catches: a refusal that is lost because the rest of the request could not be written any more:
 * the upstream has answered and closed without reading it. */
static void test_refusal_before_the_connection_breaks(void **state)
{
    static const char refusal[] = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
                                  "Content-Length: 9\r\n\r\ntoo large";
    char *large = mem_new(LARGE);

    (void)state;
    for (size_t n = 0; n <= sizeof(refusal) - 1; n++) {
        struct user user;
        bool whole = n == sizeof(refusal) - 1;
        setup(&user, str_of(large, LARGE));
        assert_int_equal(user.sents, 0);
        const struct str bytes = str_of(refusal, n);
        if (n > 0)
            (void)conn_write(user.upstream, &bytes, 1);
        conn_mem_reset(user.upstream);
        conn_close(&user.upstream);
        loop_test_run(user.loop);
        assert_int_equal(user.ends, whole ? 1 : 0);
        assert_int_equal(user.faileds, whole ? 0 : 1);
        assert_int_equal(user.sents, 0);
        assert_int_equal(client_pool_idle_count(user.pool), 0);
        teardown(&user);
    }
    mem_free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eager_answer_gets_the_rest),
        cmocka_unit_test(test_interim_with_a_body),
        cmocka_unit_test(test_refusal_before_the_connection_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
