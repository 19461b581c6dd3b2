/* SPDX-License-Identifier: MIT */
/* The server: time-outs, slow clients, and the end of connections. */
#include "http/server_test_priv.h"

static void test_head_timeout(void **state)
{
    (void)state;
    struct app *app = app_new();

    /* Who never sends a byte is let go of quietly. */
    loop_test_advance(app->loop, HEADER_MS - 1);
    assert_false(app->eof);
    loop_test_advance(app->loop, 10);
    assert_true(app->eof);
    assert_log(app, "closed\n");
    /* A byte a second does not help. */
    app_connect(app);
    struct str slow = STR("GET /slow HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
    size_t sent = 0;
    while (!app->eof && sent < slow.n) {
        feed(app, str_of(slow.p + sent++, 1));
        loop_test_advance(app->loop, 500);
    }
    assert_in_range(sent, 20, 21);
    assert_true(has(&app->in, "HTTP/1.1 408 Request Timeout\r\n"));
    assert_true(has(&app->log, "refuse\n REQUEST_TIMEOUT /slow: no complete head within 10000 ms"));
    /* The second request of a connection too; the idle time before it does not count. */
    app_connect(app);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    loop_test_advance(app->loop, KEEPALIVE_MS - 5);
    feed_z(app, "G");
    loop_test_advance(app->loop, HEADER_MS - 1);
    assert_int_equal(app->refuses, 0);
    loop_test_advance(app->loop, 10);
    assert_int_equal(app->refuses, 1);
    app_free(app);
}

static void test_keepalive_timeout(void **state)
{
    (void)state;
    struct app *app = app_new();

    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    loop_test_advance(app->loop, KEEPALIVE_MS - 1);
    assert_false(app->eof);
    loop_test_advance(app->loop, 10);
    assert_true(app->eof);
    assert_int_equal(app->refuses, 0);
    assert_in(app, YES);
    /* It does not strike within a request that takes longer. */
    app_connect(app);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    loop_test_advance(app->loop, 10 * KEEPALIVE_MS);
    assert_int_equal(app->gones + app->closeds, 0);
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_int_equal(app->dones, 2);
    app_free(app);
}

static void test_body_timeout(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_BY_HAND;
    feed_z(app, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nh");
    loop_test_advance(app->loop, BODY_MS - 10);
    feed_z(app, "e");
    loop_test_advance(app->loop, BODY_MS - 10);
    assert_int_equal(app->refuses, 0);
    loop_test_advance(app->loop, 20);
    assert_int_equal(app->refuses, 1);
    assert_true(has(&app->log, "REQUEST_TIMEOUT /b: no byte of the body for 60000 ms"));
    assert_true(app->eof);
    /* An answer that has begun cannot become another one. */
    app_connect(app);
    feed_z(app, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nh");
    server_head(app->c, 200, STR(""), -1);
    loop_test_advance(app->loop, BODY_MS + 10);
    assert_int_equal(app->refuses, 0);
    assert_int_equal(app->gones, 1);
    app_free(app);
}

/* Feeds a request whose body is paused, or one with others behind it, until nothing is read. */
static void make_deaf(struct app *app, bool in_body)
{
    static char many[2 * SERVER_CARRY_MAX];

    memset(many, 'm', sizeof(many));
    app_connect(app);
    app->when = ANSWER_BY_HAND;
    app->pause_in_body = in_body;
    feed_z(app, in_body ? "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n!"
                        : "GET /d HTTP/1.1\r\nHost: h\r\n\r\n");
    feed(app, str_of(many, sizeof(many)));
    loop_test_advance(app->loop, 10 * BODY_MS);
    assert_int_equal(app->heads, 1);
    assert_int_equal(app->gones + app->refuses + app->closeds, 0);
}

/* Who is not read from, for want of room, and leaves: noticed within a second or so. */
static void test_leaving_while_nothing_is_read(void **state)
{
    (void)state;
    struct app *app = app_new();

    for (int how = 0; how < 6; how++) {
        make_deaf(app, how < 3);
        if (how % 3 == 0)
            conn_shutdown(app->conn);
        else if (how % 3 == 1)
            conn_close(&app->conn);
        else
            conn_mem_reset(app->conn);
        loop_test_advance(app->loop, 1100);
        assert_int_equal(app->gones, 1);
        assert_int_equal(app->closeds, 1);
    }
    app_free(app);
}

/* Also when requests that waited have had their turn, and too much is behind them still. */
static void test_leaving_with_more_behind(void **state)
{
    static const struct str head = STR_INIT("GET /d HTTP/1.1\r\nHost: h\r\n\r\n");
    static char many[2 * SERVER_CARRY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(many); i++)
        many[i] = head.p[i % head.n];
    for (unsigned answered = 0; answered < 3; answered++) {
        struct app *app = app_new();
        app->when = ANSWER_BY_HAND;
        feed(app, str_of(many, sizeof(many)));
        for (unsigned i = 0; i < answered; i++) {
            answer(app, app->c);
            loop_test_run(app->loop);
        }
        assert_int_equal(app->heads, 1 + answered);
        conn_close(&app->conn);
        loop_test_advance(app->loop, 1100);
        assert_int_equal(app->gones, 1);
        assert_int_equal(app->closeds, 1);
        app_free(app);
    }
}

/* The times of a body that was held back for long begin anew, and the next request's are its own.
 */
static void test_times_after_nothing_was_read(void **state)
{
    (void)state;
    struct app *app = app_new();

    make_deaf(app, true);
    app->pause_in_body = false;
    server_pause(app->c, false);
    loop_test_advance(app->loop, BODY_MS - 10);
    assert_int_equal(app->refuses, 0);
    loop_test_advance(app->loop, 20);
    assert_int_equal(app->refuses, 1);
    assert_true(has(&app->log, "REQUEST_TIMEOUT /b: no byte of the body for 60000 ms"));

    make_deaf(app, true);
    app->pause_in_body = false;
    server_pause(app->c, false);
    loop_test_run(app->loop);
    static char rest[200000 - 1 - 2 * SERVER_CARRY_MAX];
    feed(app, str_of(rest, sizeof(rest)));
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_int_equal(app->dones, 1);
    loop_test_advance(app->loop, KEEPALIVE_MS - 10);
    assert_false(app->eof);
    loop_test_advance(app->loop, 20);
    assert_true(app->eof);
    app_free(app);
}

static void test_write_stall(void **state)
{
    (void)state;
    struct app *app = app_new();
    static char large[300000];

    memset(large, 'l', sizeof(large));
    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    conn_read_stop(app->conn);
    server_head(app->c, 200, STR(""), sizeof(large) + 1);
    server_body(app->c, str_of(large, sizeof(large)));
    assert_int_equal(server_flush(app->c), SERVER_FULL);
    loop_test_advance(app->loop, WRITE_MS - 10);
    assert_int_equal(app->gones, 0);
    /* The client takes something: the time begins anew. */
    conn_read_start(app->conn);
    loop_test_run(app->loop);
    assert_int_equal(app->writables, 1);
    assert_true(app->in.n > sizeof(large));
    conn_read_stop(app->conn);
    server_body(app->c, STR("!"));
    server_end(app->c);
    loop_test_run(app->loop);
    assert_int_equal(app->dones, 1);
    /* Now for good. */
    conn_read_start(app->conn);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    conn_read_stop(app->conn);
    server_head(app->c, 200, STR(""), sizeof(large));
    server_body(app->c, str_of(large, sizeof(large)));
    server_end(app->c);
    loop_test_advance(app->loop, WRITE_MS - 10);
    assert_int_equal(app->dones, 1); /* not before the client has taken it */
    assert_int_equal(app->gones, 0);
    loop_test_advance(app->loop, 20);
    assert_int_equal(app->gones, 1);
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

static void test_slow_reader_is_no_stall(void **state)
{
    (void)state;
    struct app *app = app_new();
    static char large[400000];

    memset(large, 'l', sizeof(large));
    app->body = str_of(large, sizeof(large));
    app->length = sizeof(large);
    conn_read_stop(app->conn);
    conn_mem_read_max(app->conn, 1000);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    struct conn_events one = peer_events;
    while (app->in.n < sizeof(large) && !app->failed && !app->eof) {
        /* Some thousand bytes, then a long pause. */
        size_t before = app->in.n;
        conn_mem_read_max(app->conn, 20000);
        conn_set_events(app->conn, &one, app);
        conn_read_start(app->conn);
        while (app->in.n == before && !app->eof && !app->failed)
            loop_test_advance(app->loop, 0);
        conn_read_stop(app->conn);
        loop_test_advance(app->loop, WRITE_MS / 2);
        assert_int_equal(app->gones, 0);
    }
    conn_read_start(app->conn);
    loop_test_run(app->loop);
    assert_true(has(&app->in, "Connection: close\r\n\r\nlll"));
    assert_true(app->in.n > sizeof(large));
    assert_true(app->eof);
    assert_int_equal(app->dones, 1);
    app_free(app);
}

/* After a refusal the client can go on sending for a while, and still gets the answer. */
static void refuse_large(struct app *app)
{
    app->when = ANSWER_AT_HEAD;
    app->no_accept = true;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n");
    assert_true(app->eof);
}

/* Catches: a client that is reset while it sends the body of its refused request, and so never
 * reads the answer; one that sends for ever. */
static void test_a_refused_body_is_read_while_it_comes(void **state)
{
    static char piece[60000];
    (void)state;
    struct app *app = app_new();

    memset(piece, 'f', sizeof(piece));
    refuse_large(app);
    for (int i = 0; i < 100; i++)
        feed(app, str_of(piece, sizeof(piece)));
    assert_int_equal(app->closeds, 0);
    for (int i = 0; i < 9; i++) {
        loop_test_advance(app->loop, 990);
        feed(app, STR("more"));
        assert_int_equal(app->closeds, 0);
    }
    for (int i = 0; i < 3 && app->closeds == 0; i++) {
        loop_test_advance(app->loop, 990);
        if (app->closeds == 0)
            feed(app, STR("more"));
    }
    assert_int_equal(app->closeds, 1);
    /* It stops coming. */
    app_connect(app);
    refuse_large(app);
    feed(app, str_of(piece, sizeof(piece)));
    loop_test_advance(app->loop, 2100);
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

static void test_lingering(void **state)
{
    (void)state;
    struct app *app = app_new();

    feed_z(app, "GET / HTTP/1.1\r\n\r\nrest of a long body");
    assert_true(app->eof);
    assert_int_equal(app->closeds, 0);
    feed_z(app, "more of it");
    loop_test_advance(app->loop, 900);
    feed_z(app, "more of it");
    assert_int_equal(app->closeds, 0);
    loop_test_advance(app->loop, 110);
    assert_int_equal(app->closeds, 1);
    /* The client closes: so do we. */
    app_connect(app);
    feed_z(app, "GET / HTTP/1.1\r\n\r\n");
    conn_close(&app->conn);
    loop_test_run(app->loop);
    assert_int_equal(app->closeds, 1);
    /* Not for any number of bytes. */
    app_connect(app);
    static char flood[60000];
    memset(flood, 'f', sizeof(flood));
    feed_z(app, "GET / HTTP/1.1\r\n\r\n");
    for (int i = 0; i < 20; i++)
        feed(app, str_of(flood, sizeof(flood)));
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

static void test_refusal_may_be_answered_later(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->refuse_by_hand = true;
    feed_z(app, "GET / HTTP/1.1\r\n\r\n");
    loop_test_advance(app->loop, 5000);
    assert_int_equal(app->closeds, 0);
    server_head(app->c, 400, STR(""), 0);
    server_end(app->c);
    loop_test_run(app->loop);
    assert_true(app->eof);
    assert_int_equal(app->dones, 1);
    app_free(app);
}

static void test_what_a_request_knows(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_BY_HAND;
    loop_test_advance(app->loop, 1000);
    feed_z(app, "G");
    int64_t begin_us = loop_now_us(app->loop);
    loop_test_advance(app->loop, 1000);
    feed_z(app, "ET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(server_begin_us(app->c), begin_us);
    assert_true(str_eq(server_peer(app->c), STR("memory")));
    assert_true(arena_bytes(server_arena(app->c)) > 0);
    server_close_after(app->c);
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_true(has(&app->in, "Connection: close\r\n\r\nyes"));
    assert_true(app->eof);
    app_free(app);
}

/* ---- the end ---- */

static void test_drain(void **state)
{
    (void)state;
    struct app *app = app_new();

    /* Idle: open for one more request, whose answer says that it was the last. */
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    server_drain(app->server);
    loop_test_run(app->loop);
    assert_int_equal(app->closeds, 0);
    buf_reset(&app->in);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /third HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_in(app, YES_CLOSE);
    assert_int_equal(app->heads, 2);
    assert_true(app->eof);
    app_free(app);
    /* Busy: after its answer. */
    app = app_new();
    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    server_drain(app->server);
    loop_test_run(app->loop);
    assert_int_equal(app->closeds, 0);
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_in(app, YES_CLOSE);
    assert_true(app->eof);
    app_free(app);
}

static void test_close_idle(void **state)
{
    (void)state;
    static const char *const quiet[] = {"", "GET / HTTP/1.1\r\nHo",
                                        "GET / HTTP/1.1\r\nHost: h\r\n\r\n"};

    for (size_t i = 0; i < COUNT_OF(quiet); i++) {
        struct app *app = app_new();
        feed_z(app, quiet[i]);
        server_drain(app->server);
        server_close_idle(app->server);
        assert_int_equal(app->closeds, 0); /* never from within the call */
        loop_test_run(app->loop);
        assert_int_equal(app->closeds, 1);
        assert_int_equal(app->gones + app->refuses, 0);
        /* What comes later does not stay either. */
        struct conn *near = NULL;
        struct conn *far = NULL;
        conn_pair(app->loop, &near, &far);
        server_adopt(app->server, far);
        loop_test_run(app->loop);
        assert_int_equal(app->closeds, 2);
        conn_close(&near);
        app_free(app);
    }
    /* Who waits for an answer gets it. */
    struct app *app = app_new();
    app->when = ANSWER_BY_HAND;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
    server_drain(app->server);
    server_close_idle(app->server);
    loop_test_run(app->loop);
    assert_int_equal(app->closeds, 0);
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_in(app, YES_CLOSE);
    assert_true(app->eof);
    app_free(app);
    /* The rest of a body that nobody wants is not waited for, beyond the second of lingering. */
    app = app_new();
    app->when = ANSWER_AT_HEAD;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n123");
    assert_in(app, YES);
    server_drain(app->server);
    server_close_idle(app->server);
    loop_test_advance(app->loop, 1010);
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

static void test_close_all(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    server_close_all(app->server);
    assert_int_equal(app->gones, 0); /* never from within the call */
    /* Until `gone` comes the user may go on, for nobody. */
    server_accept(app->c);
    answer(app, app->c);
    assert_true(str_eq(server_peer(app->c), STR("")));
    loop_test_run(app->loop);
    assert_int_equal(app->gones, 1);
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_timeout),
        cmocka_unit_test(test_keepalive_timeout),
        cmocka_unit_test(test_body_timeout),
        cmocka_unit_test(test_leaving_while_nothing_is_read),
        cmocka_unit_test(test_leaving_with_more_behind),
        cmocka_unit_test(test_times_after_nothing_was_read),
        cmocka_unit_test(test_write_stall),
        cmocka_unit_test(test_slow_reader_is_no_stall),
        cmocka_unit_test(test_lingering),
        cmocka_unit_test(test_a_refused_body_is_read_while_it_comes),
        cmocka_unit_test(test_refusal_may_be_answered_later),
        cmocka_unit_test(test_what_a_request_knows),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_close_idle),
        cmocka_unit_test(test_close_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
