/* SPDX-License-Identifier: MIT */
/*
 * Exchanges from socket to socket without sockets: a station on a virtual clock, the client and the
 * upstream at the far ends of in-memory connections.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/exchange_answers_priv.h"

enum { STREAM_BYTES_TESTED = 400 };

static void run_split(bool stream, size_t split)
{
    struct fixture f;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), stream);

    setup(&f);
    connect_client(&f);
    send_request(&f, stream);
    assert_int_equal(f.connects, 1);
    assert_true(has(&f.upstream, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_true(has(&f.upstream, "Bearer sk-upstream-key-1\r\n"));
    assert_true(has(&f.upstream, "{\"model\":\"m-1\", \"stream\""));
    assert_false(has(&f.upstream, "test-client-key-1"));
    assert_false(has(&f.upstream, "secret=1"));
    if (split > n)
        split = n;
    send_text(&f.upstream, answer, split);
    loop_test_run(f.loop);
    send_text(&f.upstream, answer + split, n - split);
    loop_test_run(f.loop);
    check_answer(&f, stream);
    teardown(&f);
}

static void test_answers_survive_every_split(void **unused)
{
    (void)unused;
    for (size_t split = 0; split < sizeof(stream_body) + STREAM_BYTES_TESTED; split++)
        run_split(true, split);
    for (size_t split = 0; split < sizeof(whole_body) + 100; split++)
        run_split(false, split);
}

/* Catches: an upstream that breaks off anywhere looks like success, or leaves something behind. */
static void run_cut(bool stream, size_t cut, bool reset)
{
    struct fixture f;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), stream);
    /* Only the last chunk or the length ends the answer: the last byte is the last. */
    assert_true(cut < n);

    setup(&f);
    connect_client(&f);
    send_request(&f, stream);
    send_text(&f.upstream, answer, cut);
    loop_test_run(f.loop);
    if (reset)
        conn_mem_reset(f.upstream.conn);
    else
        conn_close(&f.upstream.conn);
    loop_test_run(f.loop);
    bool began = has(&f.client, "HTTP/1.1 200 ");
    bool error = has(&f.client, "\"error\"");
    assert_true(error);
    if (began) {
        assert_true(stream);
        assert_true(has(&f.client, "data: {\"error\""));
        assert_false(has(&f.client, "[DONE]") && cut < n - 20);
        assert_true(f.client.eof);
    } else {
        assert_true(has(&f.client, "HTTP/1.1 502 "));
    }
    teardown(&f);
}

static void test_an_upstream_that_breaks_off_is_an_error(void **unused)
{
    char answer[4096];
    size_t stream_n = print_answer(answer, sizeof(answer), true);
    size_t whole_n = print_answer(answer, sizeof(answer), false);

    (void)unused;
    /* The chunk's own end and the last chunk (7 bytes) come after [DONE]: cuts before them. */
    for (size_t cut = 1; cut + 7 + 16 < stream_n; cut += 3) {
        run_cut(true, cut, false);
        run_cut(true, cut, true);
    }
    for (size_t cut = 1; cut < whole_n; cut += 5) {
        run_cut(false, cut, false);
        run_cut(false, cut, true);
    }
}

/* Catches: a client that leaves, at any state, does not cancel the upstream in the same turn, or
 * memory and connections stay behind. */
static void run_leave(bool stream, size_t sent)
{
    struct fixture f;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), stream);

    assert_true(sent < n);
    setup(&f);
    connect_client(&f);
    send_request(&f, stream);
    send_text(&f.upstream, answer, sent);
    loop_test_run(f.loop);
    assert_false(f.upstream.eof || f.upstream.failed);
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(f.upstream.eof || f.upstream.failed);
    assert_true(list_empty(&f.station.exchanges));
    teardown(&f);
}

static void test_a_client_that_leaves_cancels_its_upstream(void **unused)
{
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), true);

    (void)unused;
    for (size_t sent = 0; sent < n - 7; sent += 7)
        run_leave(true, sent);
    n = print_answer(answer, sizeof(answer), false);
    for (size_t sent = 0; sent < n; sent += 7)
        run_leave(false, sent);
}

static void test_a_silent_upstream_times_out(void **unused)
{
    struct fixture f;

    (void)unused;
    setup(&f);
    connect_client(&f);
    send_request(&f, true);
    loop_test_advance(f.loop, 4900);
    assert_false(has(&f.client, "HTTP/1.1"));
    loop_test_advance(f.loop, 200);
    assert_true(has(&f.client, "HTTP/1.1 504 "));
    assert_true(has(&f.client, "upstream_timeout"));
    teardown(&f);
}

static void test_the_upstream_connection_is_used_again(void **unused)
{
    struct fixture f;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), false);

    (void)unused;
    setup(&f);
    connect_client(&f);
    for (int i = 0; i < 3; i++) {
        buf_reset(&f.client.got);
        send_request(&f, false);
        send_text(&f.upstream, answer, n);
        loop_test_run(f.loop);
        check_answer(&f, false);
    }
    assert_int_equal(f.connects, 1);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_survive_every_split),
        cmocka_unit_test(test_an_upstream_that_breaks_off_is_an_error),
        cmocka_unit_test(test_a_client_that_leaves_cancels_its_upstream),
        cmocka_unit_test(test_a_silent_upstream_times_out),
        cmocka_unit_test(test_the_upstream_connection_is_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
