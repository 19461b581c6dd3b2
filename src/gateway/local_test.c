/* SPDX-License-Identifier: MIT */
/* Built-in backends: their far end of the connection, whoever leaves, waits or asks too much. */
#include "gateway/exchange_answers_priv.h"

#include "text/json.h"

enum { SIZE = 3 * 1024 * 1024 };

/* Asks the demo; the text is of `size` bytes at least. */
static void ask(struct fixture *f, const char *model, bool stream, size_t size)
{
    struct buf body;
    char head[256];

    buf_init(&body, TEXT_MAX);
    (void)buf_print(&body,
                    "{\"model\":\"demo:%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\","
                    "\"content\":\"one two three ",
                    model, stream ? "true" : "false");
    while (body.n < size)
        (void)buf_add(&body, STR("and more and more "));
    (void)buf_add(&body, STR("\"}]}"));
    int n = snprintf(head, sizeof(head),
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: "
                     "Bearer test-client-key-1\r\nContent-Length: %zu\r\n\r\n",
                     body.n);
    send_text(&f->client, head, (size_t)n);
    struct str rest = buf_str(&body);
    while (rest.n > 0 && !f->client.eof && !f->client.failed) {
        struct str piece = str_head(rest, 256 * 1024);
        (void)conn_write(f->client.conn, &piece, 1);
        rest = str_from(rest, piece.n);
        loop_test_run(f->loop);
    }
    loop_test_run(f->loop);
    buf_fini(&body);
}

static int status_of(const struct fixture *f)
{
    int64_t status = 0;

    assert_true(f->client.got.n > 12);
    assert_true(str_to_int64(str_of(f->client.got.p + 9, 3), &status));
    return (int)status;
}

static size_t in_flight(const struct fixture *f)
{
    return atomic_load(&f->gateway->inflight.used);
}

/* The demo answers, whatever was before; nothing of that is left. */
static void expect_works(struct fixture *f)
{
    assert_true(list_empty(&f->station.exchanges));
    assert_int_equal(in_flight(f), 0);
    conn_close(&f->client.conn);
    buf_reset(&f->client.got);
    connect_client(f);
    ask(f, "echo", false, 0);
    loop_test_advance(f->loop, 60 * 1000);
    assert_int_equal(status_of(f), 200);
    assert_true(has(&f->client, "one two three"));
}

/* Catches: an answer that is not whole, or goes on before its pauses are over. */
static void test_answers(void **state)
{
    struct fixture f;
    bool complete;

    (void)state;
    setup(&f);
    connect_client(&f);
    ask(&f, "echo", true, 0);
    assert_false(has(&f.client, "[DONE]"));
    loop_test_advance(f.loop, 60 * 1000);
    struct str body = body_of(&f.arena, buf_str(&f.client.got), &complete);
    assert_true(complete && str_ends(body, STR("data: [DONE]\n\n")));
    assert_int_equal(f.connects, 0); /* no upstream of the network */
    expect_works(&f);
    teardown(&f);
}

/* Catches: a script that plays on for nobody, or a timer that fires into freed memory. */
static void test_the_client_leaves_at_each_pause(void **state)
{
    size_t said = 0;

    (void)state;
    for (int64_t ms = 0; ms < 400; ms += 7) {
        struct fixture f;

        setup(&f);
        connect_client(&f);
        ask(&f, "echo", true, 400);
        loop_test_advance(f.loop, ms);
        said += f.client.got.n > 0;
        conn_close(&f.client.conn);
        loop_test_run(f.loop);
        expect_works(&f);
        teardown(&f);
    }
    assert_true(said > 10);
}

/* Catches: pieces for a client that does not read which are collected without bound, or lost. */
static void test_the_client_does_not_read(void **state)
{
    struct fixture f;
    bool complete;

    (void)state;
    setup(&f);
    connect_client(&f);
    conn_read_stop(f.client.conn);
    ask(&f, "echo", true, 64 * 1024);
    for (int i = 0; i < 100; i++)
        loop_test_advance(f.loop, 500);
    assert_false(list_empty(&f.station.exchanges));
    conn_read_start(f.client.conn);
    for (int i = 0; i < 2000 && !list_empty(&f.station.exchanges); i++)
        loop_test_advance(f.loop, 500);
    struct str body = body_of(&f.arena, buf_str(&f.client.got), &complete);
    assert_true(complete && str_ends(body, STR("data: [DONE]\n\n")));
    assert_true(body.n > 64 * 1024);
    expect_works(&f);
    teardown(&f);
}

/* Catches: a model that the script does not know and answers for. */
static void test_errors(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    connect_client(&f);
    ask(&f, "nobody", false, 0);
    loop_test_advance(f.loop, 1000);
    assert_int_equal(status_of(&f), 404);
    expect_works(&f);
    teardown(&f);
}

/* Catches: a cut that looks like an end, or one that is waited for. */
static void test_cuts(void **state)
{
    struct fixture f;
    bool complete;

    (void)state;
    setup(&f);
    connect_client(&f);
    ask(&f, "error-cut", false, 0);
    loop_test_advance(f.loop, 1000);
    assert_int_equal(status_of(&f), 502);
    expect_works(&f);
    conn_close(&f.client.conn);
    buf_reset(&f.client.got);
    connect_client(&f);
    ask(&f, "error-cut", true, 0);
    loop_test_advance(f.loop, 60 * 1000);
    assert_int_equal(status_of(&f), 200);
    (void)body_of(&f.arena, buf_str(&f.client.got), &complete);
    assert_true(has(&f.client, "broke off") && !has(&f.client, "[DONE]"));
    expect_works(&f);
    teardown(&f);
}

/* Catches: silence that ends by itself, is not ended by the time-out, or outlives its client. */
static void test_silence(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    connect_client(&f);
    ask(&f, "error-silent", true, 0);
    loop_test_advance(f.loop, 10 * 1000);
    assert_int_equal(f.client.got.n, 0);
    assert_false(list_empty(&f.station.exchanges));
    loop_test_advance(f.loop, 600 * 1000);
    assert_int_equal(status_of(&f), 504);
    expect_works(&f);
    conn_close(&f.client.conn);
    buf_reset(&f.client.got);
    connect_client(&f);
    ask(&f, "error-silent", false, 0);
    loop_test_advance(f.loop, 1000);
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    expect_works(&f);
    teardown(&f);
}

/* Catches: a head that comes before its time, or into freed memory. */
static void test_a_head_that_waits(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    connect_client(&f);
    ask(&f, "slow", false, 0);
    loop_test_advance(f.loop, 2000);
    assert_int_equal(f.client.got.n, 0);
    loop_test_advance(f.loop, 60 * 1000);
    assert_int_equal(status_of(&f), 200);
    conn_close(&f.client.conn);
    buf_reset(&f.client.got);
    connect_client(&f);
    ask(&f, "slow", false, 0);
    loop_test_advance(f.loop, 2000);
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    expect_works(&f);
    teardown(&f);
}

/* Catches: a large request that holds the loop, its memory, or both. */
static void test_large_requests(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    connect_client(&f);
    ask(&f, "assistant", false, SIZE);
    loop_test_advance(f.loop, 60 * 1000);
    assert_int_equal(status_of(&f), 200);
    expect_works(&f);
    teardown(&f);
    /* And its client leaves when it has sent all of it. */
    setup(&f);
    connect_client(&f);
    ask(&f, "assistant", true, SIZE);
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    expect_works(&f);
    teardown(&f);
}

static size_t inflight_max;

static void limit_inflight(struct config *config)
{
    config->inflight_bytes_max = inflight_max;
}

/* Catches: memory that ends on the far end and is told as something else. */
static void test_no_memory_left_is_503(void **state)
{
    int refused = 0;
    int done = 0;

    (void)state;
    for (size_t n = 1; n < 20; n++) {
        struct fixture f;

        inflight_max = n * SIZE / 2;
        setup_with(&f, limit_inflight);
        connect_client(&f);
        ask(&f, "assistant", false, SIZE);
        loop_test_advance(f.loop, 60 * 1000);
        if (status_of(&f) != 200)
            assert_int_equal(status_of(&f), 503);
        refused += status_of(&f) == 503;
        done += status_of(&f) == 200;
        expect_works(&f);
        teardown(&f);
    }
    assert_true(refused > 2 && done > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_the_client_leaves_at_each_pause),
        cmocka_unit_test(test_the_client_does_not_read),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_a_head_that_waits),
        cmocka_unit_test(test_large_requests),
        cmocka_unit_test(test_no_memory_left_is_503),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
