/* SPDX-License-Identifier: MIT */
/* The client behind a forward proxy, in memory: requests in absolute-form, and what happens to a
 * request while its tunnel is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/forward.h"
#include "io/conn.h"

enum { CONNECT_MS = 1000, SILENCE_MS = 5000 };

#define PROXY "http://user:secret@proxy.test:3128"
#define OK2   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

struct user {
    struct loop *loop;
    struct client_pool *pool;
    struct tls_context *tls; /* NULL: the origin is plain */
    struct conn *proxy;
    struct buf asked; /* what the proxy got on its newest connection */
    unsigned connects;
    atomic_size_t connections;
    struct arena arena;
    struct client_request *request;
    struct buf body;
    unsigned heads, ends, faileds;
    struct error e;
};

static void proxy_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    assert_true(buf_add(&((struct user *)ctx)->asked, bytes));
}

static const struct conn_events proxy_events = {.read = proxy_read};

static struct conn *proxy_connect(void *ctx, struct loop *loop)
{
    struct user *user = ctx;
    struct conn *near = NULL;

    user->connects++;
    conn_close(&user->proxy);
    buf_reset(&user->asked);
    conn_pair(loop, &near, &user->proxy);
    conn_set_events(user->proxy, &proxy_events, user);
    conn_read_start(user->proxy);
    return near;
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    (void)r;
    (void)m;
    ((struct user *)ctx)->heads++;
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    (void)r;
    assert_true(buf_add(&((struct user *)ctx)->body, bytes));
}

static void on_end(struct client_request *r, void *ctx)
{
    struct user *user = ctx;

    (void)r;
    user->ends++;
    user->request = NULL;
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
    user->faileds++;
    user->e = *e;
    user->request = NULL;
}

static const struct client_events user_events = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

static void setup(struct user *user, bool tunnels)
{
    struct forward *forward = NULL;
    struct error e;

    *user = (struct user){.loop = loop_test_new()};
    buf_init(&user->asked, 65536);
    buf_init(&user->body, 65536);
    arena_init(&user->arena, 1 << 20, 1024, NULL);
    if (tunnels)
        assert_int_equal(tls_context_new(&(struct tls_options){.verify = false}, &user->tls, &e),
                         OK);
    const struct forward_options way = {
        .proxy = STR(PROXY),
        .host = STR("origin.test"),
        .port = tunnels ? 443 : 80,
        .tls = user->tls,
        .connect_timeout_ms = CONNECT_MS,
        .header_bytes_max = 1024,
    };
    assert_int_equal(forward_new(&way, &forward, &e), OK);
    const struct client_pool_options options = {
        .host = way.host,
        .port = way.port,
        .tls = user->tls,
        .connect_timeout_ms = CONNECT_MS,
        .idle_timeout_ms = 60000,
        .silence_timeout_ms = SILENCE_MS,
        .header_bytes_max = 1024,
        .connections = &user->connections,
        .connections_max = 1,
        .connect = proxy_connect,
        .connect_ctx = user,
        .forward = forward,
    };
    user->pool = client_pool_new(user->loop, &options);
}

static void teardown(struct user *user)
{
    client_cancel(&user->request);
    conn_close(&user->proxy);
    loop_test_run(user->loop);
    client_pool_free(&user->pool);
    assert_int_equal(atomic_load(&user->connections), 0);
    loop_test_run(user->loop);
    loop_test_free(&user->loop);
    tls_context_unref(&user->tls);
    buf_fini(&user->asked);
    buf_fini(&user->body);
    arena_fini(&user->arena);
}

static void ask(struct user *user)
{
    const struct client_call call = {
        .head = STR("GET /v1/x HTTP/1.1\r\nhost: origin.test\r\n\r\n"),
        .arena = &user->arena,
        .events = &user_events,
        .ctx = user,
    };
    struct error e;

    assert_int_equal(client_start(user->pool, &call, &user->request, &e), OK);
    assert_int_equal(user->heads + user->ends + user->faileds, 0);
    loop_test_run(user->loop);
}

static void say(struct user *user, struct str bytes)
{
    (void)conn_write(user->proxy, &bytes, 1);
    loop_test_run(user->loop);
}

static void say_z(struct user *user, const char *z)
{
    say(user, str_c(z));
}

static void check_failed(struct user *user, enum error_code code, const char *detail)
{
    if (user->faileds != 1 || user->e.code != code || strstr(user->e.detail, detail) == NULL)
        fail_msg("%u %s: %s", user->faileds, error_name(user->e.code), user->e.detail);
    assert_non_null(strstr(user->e.detail, "proxy.test:3128"));
    assert_null(strstr(user->e.detail, "secret"));
    assert_int_equal(user->heads + user->ends, 0);
    assert_int_equal(atomic_load(&user->connections), 0);
}

static void test_absolute_form(void **state)
{
    static const char request[] = "GET http://origin.test/v1/x HTTP/1.1\r\n"
                                  "proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n"
                                  "host: origin.test\r\n\r\n";
    struct user user;

    (void)state;
    setup(&user, false);
    for (unsigned i = 1; i <= 2; i++) {
        user.heads = user.ends = 0;
        buf_reset(&user.asked);
        ask(&user);
        assert_true(str_eq(buf_str(&user.asked), str_c(request)));
        say_z(&user, OK2);
        assert_int_equal(user.ends, 1);
        assert_int_equal(user.connects, 1);
        assert_int_equal(client_pool_idle_count(user.pool), 1);
    }
    /* A stale one is replaced, with the same request. */
    user.heads = user.ends = 0;
    ask(&user);
    struct conn *stale = user.proxy;
    user.proxy = NULL;
    conn_close(&stale);
    loop_test_run(user.loop);
    assert_int_equal(user.connects, 2);
    assert_true(str_eq(buf_str(&user.asked), str_c(request)));
    say_z(&user, OK2);
    assert_int_equal(user.ends, 1);
    teardown(&user);
}

/* An origin's 403 cannot be told from a proxy's; a 407 can. */
static void test_refused_in_absolute_form(void **state)
{
    struct user user;

    (void)state;
    setup(&user, false);
    ask(&user);
    say_z(&user, "HTTP/1.1 407 x\r\nContent-Length: 6\r\n\r\nsecret");
    check_failed(&user, ERR_UPSTREAM_UNREACHABLE,
                 "the proxy proxy.test:3128 refused: 407 Proxy Authentication Required");
    teardown(&user);
    setup(&user, false);
    ask(&user);
    say_z(&user, "HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno");
    assert_int_equal(user.ends, 1);
    teardown(&user);
}

/* The request waits for the tunnel: nothing of it is in the clear, and TLS follows the answer. */
static void test_tunnel(void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nX: y\r\n\r\n";
    struct user user;

    (void)state;
    for (size_t cut = 1; cut < sizeof(answer); cut++) {
        setup(&user, true);
        ask(&user);
        assert_true(str_starts(buf_str(&user.asked), STR("CONNECT origin.test:443 HTTP/1.1\r\n")));
        assert_int_equal(str_find(buf_str(&user.asked), STR("/v1/x"), 0), SIZE_MAX);
        buf_reset(&user.asked);
        say(&user, str_of(answer, cut));
        say_z(&user, answer + cut);
        /* RFC 8446, 5.1: a handshake record. */
        assert_true(str_starts(buf_str(&user.asked), STR("\x16\x03")));
        assert_non_null(user.request);
        assert_int_equal(user.faileds, 0);
        /* What answers there speaks no TLS. */
        say_z(&user, OK2);
        check_failed(&user, ERR_UPSTREAM_UNREACHABLE, "through the proxy proxy.test:3128: ");
        teardown(&user);
    }
}

static void test_refused_tunnel(void **state)
{
    struct user user;

    (void)state;
    setup(&user, true);
    ask(&user);
    say_z(&user, "HTTP/1.1 407 x\r\n\r\n");
    check_failed(&user, ERR_UPSTREAM_UNREACHABLE, "407 Proxy Authentication Required");
    /* Its place is free again. */
    user.faileds = 0;
    ask(&user);
    conn_close(&user.proxy);
    loop_test_run(user.loop);
    check_failed(&user, ERR_UPSTREAM_UNREACHABLE, "closed the connection instead of answering");
    teardown(&user);
}

/* One time-out for all of it, pauses or not. */
static void test_silent_tunnel(void **state)
{
    struct user user;

    (void)state;
    for (int phase = 0; phase < 2; phase++) {
        setup(&user, true);
        ask(&user);
        client_pause(user.request, true);
        loop_test_advance(user.loop, CONNECT_MS / 2);
        if (phase == 1)
            say_z(&user, "HTTP/1.1 200 OK\r\n\r\n");
        loop_test_advance(user.loop, CONNECT_MS / 2 - 10);
        assert_int_equal(user.faileds, 0);
        loop_test_advance(user.loop, 30);
        check_failed(&user, ERR_UPSTREAM_TIMEOUT, "proxy");
        teardown(&user);
    }
}

/* Wherever the tunnel is, a request can be cancelled; and the pool be closed after it. */
static void test_cancelled(void **state)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\n\r\n";
    struct user user;

    (void)state;
    for (size_t n = 0; n < sizeof(answer); n++) {
        setup(&user, true);
        ask(&user);
        if (n > 0)
            say(&user, str_of(answer, n));
        client_cancel(&user.request);
        assert_int_equal(atomic_load(&user.connections), 0);
        loop_test_advance(user.loop, CONNECT_MS * 3);
        assert_int_equal(user.heads + user.ends + user.faileds, 0);
        teardown(&user);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absolute_form), cmocka_unit_test(test_refused_in_absolute_form),
        cmocka_unit_test(test_tunnel),        cmocka_unit_test(test_refused_tunnel),
        cmocka_unit_test(test_silent_tunnel), cmocka_unit_test(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
