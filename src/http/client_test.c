/* SPDX-License-Identifier: MIT */
/* Requests of the client and their answers, against a scripted upstream in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/client_test_priv.h"

/* ---- answers ---- */

static void test_request_and_answer(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {
        .head = STR("POST / HTTP/1.1\r\nHost: up\r\nContent-Length: 6\r\n\r\n"),
        .body = {STR("abc"), STR(""), STR("def")},
    };

    ask_run(user, &ask);
    assert_int_equal(ask.sents, 1);
    assert_true(str_eq(buf_str(&user->upstreams[0].in),
                       STR("POST / HTTP/1.1\r\nHost: up\r\nContent-Length: 6\r\n\r\nabcdef")));
    up_send_z(user, 0, OK2);
    assert_log(&ask, OK2_LOG);
    assert_int_equal(ask.batches, 1);
    assert_int_equal(ask.sents, 1);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    assert_int_equal(count(user), 1);
    ask_fini(&ask);
    user_free(user);
}

static void test_until_eof(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 200 OK\r\n\r\nall");
    up_send_z(user, 0, " of it");
    assert_int_equal(ask.batches, 2);
    up_close(user, 0);
    assert_log(&ask, "head 200\nbody all of it\nend\n");
    assert_int_equal(ask.batches, 3);
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    assert_int_equal(count(user), 0);
    ask_fini(&ask);
    user_free(user);
}

static void test_interim_and_switching(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
    assert_int_equal(ask.heads + ask.batches, 0);
    up_send_z(user, 0, OK2);
    assert_log(&ask, OK2_LOG);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    ask_fini(&ask);
    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
    assert_log(&ask, "failed UPSTREAM_BROKEN: the answer switches protocols\n");
    ask_fini(&ask);
    user_free(user);
}

/* One batch for each read in which something came, none for a read in which nothing did. */
static void test_batches(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 200 OK\r\nTransfer-Enc");
    assert_int_equal(ask.batches, 0);
    up_send_z(user, 0, "oding: chunked\r\n\r\n");
    assert_int_equal(ask.batches, 1);
    up_send_z(user, 0, "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n");
    assert_int_equal(ask.batches, 2);
    up_send_z(user, 0, "1\r\n");
    assert_int_equal(ask.batches, 2);
    up_send_z(user, 0, "d\r\n0\r\n\r\n");
    assert_int_equal(ask.batches, 3);
    assert_log(&ask, "head 200 keep chunked\n  Transfer-Encoding=chunked\nbody abcd\nend\n");
    ask_fini(&ask);
    user_free(user);
}

/* Something wrong in the same read: the bytes before it are let go of by their batch first. */
static void test_batch_comes_before_failed(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nzz");
    assert_int_equal(ask.batches, 1);
    assert_int_equal(ask.faileds, 1);
    assert_true(has(&ask.log, "body a\nfailed UPSTREAM_BROKEN: the answer is not valid "
                              "HTTP/1: Invalid character in chunk size\n"));
    assert_int_equal(count(user), 0);
    ask_fini(&ask);
    user_free(user);
}

static void test_early_answer_stops_the_request(void **state)
{
    (void)state;
    struct user *user = user_new();
    char *large = mem_new(1000000);
    struct ask ask = {.body = {str_of(large, 1000000)}};

    ask_start(user, &ask);
    conn_read_stop(user->upstreams[0].conn);
    loop_test_run(user->loop);
    assert_int_equal(ask.sents, 0);
    up_send_z(user, 0, "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno");
    assert_true(has(&ask.log, "head 413 keep length=2"));
    assert_int_equal(ask.ends, 1);
    assert_int_equal(ask.sents, 0);
    /* The upstream would take the next request for the rest of this one. */
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    assert_int_equal(count(user), 0);
    ask_fini(&ask);
    mem_free(large);
    user_free(user);
}

/* More than the conn's queue takes is sent as the upstream reads, without copying it whole. */
static void test_large_body(void **state)
{
    (void)state;
    struct user *user = user_new();
    size_t n = 3000000;
    char *large = mem_new(n);

    for (size_t i = 0; i < n; i++)
        large[i] = (char)(i * 7 + i / 256);
    struct ask ask = {.body = {str_of(large, 1000000), str_of(large + 1000000, 1),
                               str_of(large + 1000001, n - 1000001)}};
    ask_start(user, &ask);
    conn_read_stop(user->upstreams[0].conn);
    loop_test_run(user->loop);
    assert_int_equal(ask.sents, 0);
    conn_read_start(user->upstreams[0].conn);
    loop_test_run(user->loop);
    assert_int_equal(ask.sents, 1);
    struct str in = buf_str(&user->upstreams[0].in);
    assert_int_equal(in.n, n + sizeof(GET) - 1);
    assert_memory_equal(in.p + sizeof(GET) - 1, large, n);
    up_send_z(user, 0, OK2);
    assert_log(&ask, OK2_LOG);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    mem_free(large);
    ask_fini(&ask);
    user_free(user);
}

/* A request of very many small pieces (edits) leaves whole and in order. */
static void test_many_pieces(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};
    enum { PIECES = 1000 };
    struct str pieces[PIECES];
    static const char digits[] = "0123456789";
    struct error e;

    for (size_t i = 0; i < PIECES; i++)
        pieces[i] = str_of(digits + i % 10, 1);
    buf_init(&ask.log, LOG_MAX);
    arena_init(&ask.arena, 1 << 20, 1024, NULL);
    const struct client_call call = {
        .head = STR(GET),
        .body = pieces,
        .body_n = PIECES,
        .arena = &ask.arena,
        .events = &user_events,
        .ctx = &ask,
    };
    assert_int_equal(client_start(user->pool, &call, &ask.r, &e), OK);
    loop_test_run(user->loop);
    struct str in = str_from(buf_str(&user->upstreams[0].in), sizeof(GET) - 1);
    assert_int_equal(in.n, PIECES);
    for (size_t i = 0; i < PIECES; i++)
        assert_int_equal(in.p[i], digits[i % 10]);
    up_send_z(user, 0, OK2);
    assert_int_equal(ask.ends, 1);
    ask_fini(&ask);
    user_free(user);
}

static void test_nobody_waits_for_sent(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};
    struct client_events silent = user_events;
    struct error e;

    silent.sent = NULL;
    buf_init(&ask.log, LOG_MAX);
    arena_init(&ask.arena, 1 << 20, 1024, NULL);
    const struct client_call call = {.head = STR(GET),
                                     .arena = &ask.arena,
                                     .events = &silent,
                                     .ctx = &ask};
    assert_int_equal(client_start(user->pool, &call, &ask.r, &e), OK);
    loop_test_run(user->loop);
    up_send_z(user, 0, OK2);
    assert_log(&ask, OK2_LOG);
    ask_fini(&ask);
    user_free(user);
}

/* ---- breaking, cancelling, pausing, time ---- */

/* The upstream leaves after n bytes, for each n: the answer is whole or `failed`, never both. */
static void test_upstream_leaves_at_each_byte(void **state)
{
    (void)state;
    const struct str answers[] = {STR(OK2), STR(OK_CHUNKED)};
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        for (size_t n = 0; n <= answers[i].n; n++) {
            for (int reset = 0; reset < 2; reset++) {
                struct user *user = user_new();
                struct ask ask = {0};
                ask_run(user, &ask);
                if (n > 0)
                    up_send(user, 0, str_head(answers[i], n));
                if (reset)
                    conn_reset(&user->upstreams[0].conn);
                else
                    conn_close(&user->upstreams[0].conn);
                loop_test_run(user->loop);
                bool whole = n == answers[i].n;
                assert_int_equal(ask.ends, whole ? 1 : 0);
                assert_int_equal(ask.faileds, whole ? 0 : 1);
                if (!whole)
                    assert_int_equal(ask.code, ERR_UPSTREAM_BROKEN);
                assert_int_equal(has(&ask.log, "broke before any") ||
                                     has(&ask.log, "before any answer"),
                                 n == 0);
                assert_int_equal(count(user), 0);
                ask_fini(&ask);
                user_free(user);
            }
        }
    }
}

static void test_broken_off_says_how_much(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789");
    up_close(user, 0);
    assert_true(has(&ask.log, "the connection closed after 10 of 1000 bytes"));
    ask_fini(&ask);
    ask_run(user, &ask);
    up_send_z(user, 1, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n");
    up_close(user, 1);
    assert_true(has(&ask.log, "the connection closed after 4 bytes, before the last chunk"));
    ask_fini(&ask);
    user_free(user);
}

static void test_cancel_in_each_event(void **state)
{
    (void)state;
    for (int in = CANCEL_SENT; in <= CANCEL_BATCH; in++) {
        struct user *user = user_new();
        struct ask ask = {.cancel_in = (enum cancel_in)in};
        ask_run(user, &ask);
        up_send_z(user, 0, OK2);
        assert_null(ask.r);
        assert_int_equal(ask.sents, 1);
        assert_int_equal(ask.heads, in >= CANCEL_HEAD);
        assert_int_equal(ask.in_body, in >= CANCEL_BODY);
        assert_int_equal(ask.ends, in >= CANCEL_END);
        assert_int_equal(ask.batches, in >= CANCEL_BATCH);
        assert_int_equal(ask.faileds, 0);
        assert_int_equal(count(user), 0);
        assert_int_equal(client_pool_idle_count(user->pool), 0);
        assert_true(user->upstreams[0].eof || user->upstreams[0].failed);
        ask_fini(&ask);
        user_free(user);
    }
}

static void test_cancel_between_events(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_start(user, &ask);
    client_cancel(&ask.r); /* `sent` is due */
    loop_test_run(user->loop);
    assert_int_equal(ask.sents, 0);
    ask_fini(&ask);
    ask_run(user, &ask);
    up_send_z(user, 1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    client_cancel(&ask.r);
    up_send_z(user, 1, "k");
    assert_int_equal(ask.ends, 0);
    assert_int_equal(count(user), 0);
    user->refuse = true;
    ask_fini(&ask);
    ask_start(user, &ask);
    client_cancel(&ask.r); /* `failed` is due */
    loop_test_run(user->loop);
    assert_int_equal(ask.faileds, 0);
    client_cancel(&ask.r);
    ask_fini(&ask);
    user_free(user);
}

static void test_start_in_the_last_batch(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask second = {0};
    struct ask first = {.next = &second};

    ask_run(user, &first);
    up_send_z(user, 0, OK2);
    assert_int_equal(first.ends, 1);
    assert_int_equal(user->upstream_n, 2);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    up_send_z(user, 1, OK2);
    assert_log(&second, OK2_LOG);
    assert_int_equal(client_pool_idle_count(user->pool), 2);
    ask_fini(&first);
    ask_fini(&second);
    user_free(user);
}

static void test_pause(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {.pause_in_body = true};

    ask_run(user, &ask);
    up_send_z(user, 0, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab");
    up_send_z(user, 0, "cd");
    assert_true(has(&ask.log, "body ab"));
    assert_false(has(&ask.log, "abcd"));
    /* Silence is not the upstream's fault now. */
    loop_test_advance(user->loop, 3 * SILENCE_MS);
    assert_int_equal(ask.faileds, 0);
    ask.pause_in_body = false;
    client_pause(ask.r, false);
    assert_false(has(&ask.log, "abcd"));
    loop_test_run(user->loop);
    assert_true(has(&ask.log, "body abcd"));
    up_send_z(user, 0, "ef");
    assert_true(has(&ask.log, "body abcdef\nend\n"));
    ask_fini(&ask);
    /* Paused in the read that ends it: the idle connection is listened to all the same. */
    ask.pause_in_body = true;
    ask_run(user, &ask);
    up_send_z(user, 0, OK2);
    assert_int_equal(ask.ends, 1);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
    up_close(user, 0);
    assert_int_equal(client_pool_idle_count(user->pool), 0);
    ask_fini(&ask);
    user_free(user);
}

static void test_silence(void **state)
{
    (void)state;
    struct user *user = user_new();
    struct ask ask = {0};

    ask_run(user, &ask);
    loop_test_advance(user->loop, SILENCE_MS - 10);
    assert_int_equal(ask.faileds, 0);
    loop_test_advance(user->loop, 20);
    assert_log(&ask, "failed UPSTREAM_TIMEOUT: no byte came for 300000 ms (proxy_timeout)\n");
    assert_int_equal(count(user), 0);
    ask_fini(&ask);
    /* Each byte begins it anew. */
    ask_run(user, &ask);
    for (int i = 0; i < 5; i++) {
        loop_test_advance(user->loop, SILENCE_MS - 10);
        up_send(user, 1, str_of(&"HTTP/"[i], 1));
    }
    assert_int_equal(ask.faileds, 0);
    loop_test_advance(user->loop, SILENCE_MS + 10);
    assert_int_equal(ask.code, ERR_UPSTREAM_TIMEOUT);
    assert_true(has(&ask.log, "UPSTREAM_TIMEOUT: "));
    ask_fini(&ask);
    /* A stale connection's silence is no reason to send the request twice. */
    ask_run(user, &ask);
    up_send_z(user, 2, OK2);
    ask_fini(&ask);
    ask_run(user, &ask);
    loop_test_advance(user->loop, SILENCE_MS + 10);
    assert_int_equal(ask.faileds, 1);
    assert_int_equal(user->upstream_n, 3);
    ask_fini(&ask);
    user_free(user);
}

static void test_head_at_the_limit_and_one_beyond(void **state)
{
    (void)state;
    for (size_t n = HEAD_MAX; n <= HEAD_MAX + 1; n++) {
        struct user *user = user_new();
        struct ask ask = {0};
        struct buf head;
        buf_init(&head, 4096);
        buf_add(&head, STR("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nPad: "));
        while (head.n < n - 4)
            buf_add_char(&head, 'p');
        buf_add(&head, STR("\r\n\r\n"));
        ask_run(user, &ask);
        up_send(user, 0, buf_str(&head));
        assert_int_equal(ask.ends, n == HEAD_MAX);
        assert_int_equal(ask.faileds, n != HEAD_MAX);
        assert_int_equal(has(&ask.log, "the answer's head takes more than 1024 bytes"),
                         n != HEAD_MAX);
        buf_fini(&head);
        ask_fini(&ask);
        user_free(user);
    }
    /* Interim answers count together: they cannot go on for ever. */
    struct user *user = user_new();
    struct ask ask = {0};
    ask_run(user, &ask);
    for (int i = 0; i < 100 && ask.faileds == 0; i++)
        up_send_z(user, 0, "HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_int_equal(ask.faileds, 1);
    ask_fini(&ask);
    user_free(user);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_and_answer),
        cmocka_unit_test(test_until_eof),
        cmocka_unit_test(test_interim_and_switching),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_batch_comes_before_failed),
        cmocka_unit_test(test_early_answer_stops_the_request),
        cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_many_pieces),
        cmocka_unit_test(test_nobody_waits_for_sent),
        cmocka_unit_test(test_upstream_leaves_at_each_byte),
        cmocka_unit_test(test_broken_off_says_how_much),
        cmocka_unit_test(test_cancel_in_each_event),
        cmocka_unit_test(test_cancel_between_events),
        cmocka_unit_test(test_start_in_the_last_batch),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_head_at_the_limit_and_one_beyond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
