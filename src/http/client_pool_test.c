/* SPDX-License-Identifier: MIT */
/* What is kept for the next request, how much of it, and what is stale when it is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/client_test_priv.h"

/* ---- the pool ---- */

static void test_reuse_takes_the_youngest(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask asks[3] = {0};

    for (size_t i = 0; i < 3; i++)
        ask_run(user, &asks[i]);
    assert_int_equal(user->upstream_n, 3);
    up_send_z(user, 0, OK2);
    up_send_z(user, 2, OK2);
    up_send_z(user, 1, OK2);
    assert_int_equal(client_pool_idle_count(user->pool), 3);
    for (size_t i = 0; i < 3; i++) {
        ask_fini(&asks[i]);
        ask_run(user, &asks[i]);
    }
    assert_int_equal(user->upstream_n, 3);
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    up_send_z(user, 1, OK2);
    assert_int_equal(asks[0].ends, 1);
    up_send_z(user, 2, OK2);
    assert_int_equal(asks[1].ends, 1);
    up_send_z(user, 0, OK2);
    assert_int_equal(asks[2].ends, 1);
    for (size_t i = 0; i < 3; i++) {
        assert_log(&asks[i], OK2_LOG);
        ask_fini(&asks[i]);
    }
    user_free(user);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, OK2);
    loop_test_advance(user->loop, IDLE_MS - 1);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    loop_test_advance(user->loop, 10);
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    assert_int_equal(count(user), 0);
    assert_true(user->upstreams[0].eof);
    ask_fini(&ask);
    user_free(user);
}

/* What an idle connection says, whatever it is, ends it. */
static void test_idle_connection_ends(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    for (int way = 0; way < 3; way++) {
        unsigned i = user->upstream_n;
        ask_run(user, &ask);
        up_send_z(user, i, OK2);
        assert_int_equal(client_pool_idle_count(user->pool), 1);
        if (way == 0)
            up_send_z(user, i, "HTTP/1.1 408 Timeout\r\n\r\n");
        else if (way == 1)
            up_close(user, i);
        else
            conn_reset(&user->upstreams[i].conn);
        loop_test_run(user->loop);
        assert_int_equal(client_pool_idle_count(user->pool), 0);
        assert_int_equal(count(user), 0);
        ask_fini(&ask);
    }
    user_free(user);
}

static void test_not_reused(void **state)
{
    (void)state;
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", OK2 "H", /* bytes after the end */
    };
    struct user *user = user_new();

    for (unsigned i = 0; i < COUNT_OF(answers); i++) {
        struct ask ask = {0};
        ask_run(user, &ask);
        up_send_z(user, i, answers[i]);
        assert_int_equal(ask.ends, 1);
        assert_true(has(&ask.log, "body ok\nend\n"));
        assert_int_equal(client_pool_idle_count(user->pool), 0);
        assert_int_equal(count(user), 0);
        assert_true(user->upstreams[i].eof);
        ask_fini(&ask);
    }
    user_free(user);
}

static void test_connections_max(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask asks[CONNECTIONS_MAX] = {0};
    struct ask more = {0};
    struct error e;

    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        ask_run(user, &asks[i]);
    assert_int_equal(ask_try(user, &more, &e), ERR_OVERLOADED);
    assert_non_null(strstr(e.detail, "all 3 connections"));
    assert_int_equal(count(user), CONNECTIONS_MAX);
    client_cancel(&asks[1].r);
    assert_null(asks[1].r);
    assert_int_equal(count(user), CONNECTIONS_MAX - 1);
    ask_run(user, &more);
    client_cancel(&more.r);
    client_cancel(&asks[0].r);
    client_cancel(&asks[2].r);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        ask_fini(&asks[i]);
    ask_fini(&more);
    user_free(user);
}

static void on_crowded(void *ctx)
{
    struct user *user = ctx;
    user->crowded++;
}

static struct client_pool *shared_pool(struct user *user)
{
    const struct client_pool_options options = {
        .host = STR("up"),
        .port = 80,
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = IDLE_MS,
        .silence_timeout_ms = SILENCE_MS,
        .header_bytes_max = HEAD_MAX,
        .connections = &user->connections,
        .connections_max = CONNECTIONS_MAX,
        .busy = &user->busy,
        .crowded = on_crowded,
        .connect = up_connect,
        .connect_ctx = user,
    };
    return client_pool_new(user->loop, &options);
}

/* Connections that are idle in another worker's pool do not make a backend look full. */
static void test_idle_elsewhere(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask asks[CONNECTIONS_MAX] = {0};
    struct ask theirs[CONNECTIONS_MAX] = {0};
    struct ask more = {0};
    struct error e;

    client_pool_free(&user->pool);
    struct client_pool *other = shared_pool(user);
    user->pool = other;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        ask_run(user, &theirs[i]);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++)
        up_send_z(user, i, OK2);
    assert_int_equal(client_pool_idle_count(other), CONNECTIONS_MAX);
    assert_int_equal(atomic_load(&user->busy), 0);
    assert_int_equal(user->crowded, 0);

    user->pool = shared_pool(user);
    ask_run(user, &asks[0]);
    assert_int_equal(user->crowded, 1);
    assert_int_equal(count(user), CONNECTIONS_MAX + 1);
    client_pool_trim(other);
    assert_int_equal(count(user), CONNECTIONS_MAX);
    assert_int_equal(client_pool_idle_count(other), CONNECTIONS_MAX - 1);
    loop_test_run(user->loop);
    assert_true(user->upstreams[0].eof); /* the oldest */
    client_pool_trim(other);
    assert_int_equal(count(user), CONNECTIONS_MAX);

    /* Not trimmed yet: an answer's connection goes rather than being kept beyond the limit. */
    ask_run(user, &asks[1]);
    ask_run(user, &asks[2]);
    assert_int_equal(ask_try(user, &more, &e), ERR_OVERLOADED);
    assert_int_equal(atomic_load(&user->busy), CONNECTIONS_MAX);
    up_send_z(user, CONNECTIONS_MAX, OK2);
    assert_int_equal(asks[0].ends, 1);
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    client_pool_trim(other);
    assert_int_equal(count(user), CONNECTIONS_MAX);

    client_cancel(&asks[1].r);
    client_cancel(&asks[2].r);
    assert_int_equal(atomic_load(&user->busy), 0);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        ask_fini(&asks[i]);
        ask_fini(&theirs[i]);
    }
    ask_fini(&more);
    client_pool_free(&other);
    user_free(user);
}

static void test_drain(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask a = {0};
    struct ask b = {0};

    ask_run(user, &a);
    ask_run(user, &b);
    up_send_z(user, 0, OK2);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    client_pool_drain(user->pool);
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    assert_int_equal(count(user), 1);
    up_send_z(user, 1, OK2);
    assert_int_equal(b.ends, 1);
    assert_int_equal(count(user), 0);
    ask_fini(&a);
    ask_fini(&b);
    user_free(user);
}

/* ---- the stale connection ---- */

/* Leaves one idle connection, upstream 0. */
static struct user *user_with_idle(void)
{
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, OK2);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    ask_fini(&ask);
    return user;
}

/* The upstream closed it when our request was on its way: a new one is used, once, unseen. */
static void test_stale_is_replaced(void **state)
{
    (void)state;
    for (int64_t ms = 0; ms <= 1000; ms += 500) {
        for (int reset = 0; reset < 2; reset++) {
            struct user *user = user_with_idle();
            struct ask ask = {.head = STR(
                                  "POST / HTTP/1.1\r\nHost: up\r\nContent-Length: 3\r\n\r\n"),
                              .body = {STR("a"), STR("bc")}};
            ask_run(user, &ask);
            loop_test_advance(user->loop, ms);
            if (reset)
                conn_reset(&user->upstreams[0].conn);
            else
                conn_close(&user->upstreams[0].conn);
            loop_test_run(user->loop);
            assert_int_equal(ask.faileds, 0);
            assert_int_equal(user->upstream_n, 2);
            assert_int_equal(count(user), 1);
            assert_true(has(&user->upstreams[1].in, "Content-Length: 3\r\n\r\nabc"));
            up_send_z(user, 1, OK2);
            assert_log(&ask, OK2_LOG);
            assert_int_equal(ask.sents, 1);
            assert_int_equal(client_pool_idle_count(user->pool), 1);
            ask_fini(&ask);
            user_free(user);
        }
    }
}

/* It was closed before the request, and nobody had noticed yet. */
static void test_stale_before_the_request(void **state)
{
    (void)state;
    struct user *user = user_with_idle();
    struct ask ask = {0};

    conn_close(&user->upstreams[0].conn);
    ask_run(user, &ask);
    assert_int_equal(user->upstream_n, 2);
    up_send_z(user, 1, OK2);
    assert_log(&ask, OK2_LOG);
    ask_fini(&ask);
    user_free(user);
}

static void test_stale_while_sending(void **state)
{
    (void)state;
    struct user *user = user_with_idle();
    char *large = mem_new(1000000);
    struct ask ask = {.body = {str_of(large, 1000000)}};

    ask_start(user, &ask);
    conn_read_stop(user->upstreams[0].conn);
    loop_test_advance(user->loop, 5000);
    conn_close(&user->upstreams[0].conn);
    loop_test_run(user->loop);
    assert_int_equal(user->upstream_n, 2);
    assert_int_equal(user->upstreams[1].in.n, 1000000 + sizeof(GET) - 1);
    up_send_z(user, 1, OK2);
    assert_log(&ask, OK2_LOG);
    mem_free(large);
    ask_fini(&ask);
    user_free(user);
}

static void test_stale_only_once_early_and_unanswered(void **state)
{
    (void)state;
    /* Later than a second. */
    struct user *user = user_with_idle();
    struct ask ask = {0};
    ask_run(user, &ask);
    loop_test_advance(user->loop, 1001);
    up_close(user, 0);
    assert_log(&ask, "failed UPSTREAM_BROKEN: the connection closed before any answer\n");
    assert_int_equal(user->upstream_n, 1);
    ask_fini(&ask);
    user_free(user);

    /* Twice. */
    user = user_with_idle();
    ask_run(user, &ask);
    up_close(user, 0);
    assert_int_equal(user->upstream_n, 2);
    up_close(user, 1);
    assert_log(&ask, "failed UPSTREAM_BROKEN: the connection closed before any answer\n");
    assert_int_equal(user->upstream_n, 2);
    ask_fini(&ask);
    user_free(user);

    /* After one byte. */
    user = user_with_idle();
    ask_run(user, &ask);
    up_send_z(user, 0, "H");
    up_close(user, 0);
    assert_log(&ask, "failed UPSTREAM_BROKEN: the connection closed inside the answer's head\n");
    assert_int_equal(user->upstream_n, 1);
    ask_fini(&ask);
    user_free(user);

    /* A connection that is new. */
    user = user_new();
    ask_run(user, &ask);
    up_close(user, 0);
    assert_int_equal(ask.faileds, 1);
    assert_int_equal(user->upstream_n, 1);
    ask_fini(&ask);
    user_free(user);

    /* The new one cannot be had. */
    user = user_with_idle();
    ask_run(user, &ask);
    user->refuse = true;
    up_close(user, 0);
    assert_log(&ask, "failed UPSTREAM_UNREACHABLE: there is nothing to connect to\n");
    assert_int_equal(count(user), 0);
    ask_fini(&ask);
    user_free(user);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reuse_takes_the_youngest),
        cmocka_unit_test(test_idle_timeout),
        cmocka_unit_test(test_idle_connection_ends),
        cmocka_unit_test(test_not_reused),
        cmocka_unit_test(test_connections_max),
        cmocka_unit_test(test_idle_elsewhere),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_stale_is_replaced),
        cmocka_unit_test(test_stale_before_the_request),
        cmocka_unit_test(test_stale_while_sending),
        cmocka_unit_test(test_stale_only_once_early_and_unanswered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
