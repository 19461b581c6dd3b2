/* SPDX-License-Identifier: MIT */
/* The server: requests, answers, and who leaves when. */
#include "http/server_test_priv.h"

static unsigned count_of(const struct buf *buf, const char *what)
{
    unsigned n = 0;
    size_t at = 0;

    while ((at = str_find(buf_str(buf), str_c(what), at)) != SIZE_MAX) {
        n++;
        at++;
    }
    return n;
}

/* ---- requests that are fine ---- */

static void test_get(void **state)
{
    (void)state;
    struct app *app = app_new();

    feed_z(app, "GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nX-A: \t b c \r\n\r\n");
    assert_log(app, "head\n GET /a/b?c=d 1.1 keep\n  Host=x\n  X-A=b c\ndone\n");
    assert_in(app, YES);
    assert_false(app->eof);
    assert_int_equal(atomic_load(&app->budget.used), 0);
    app_free(app);
}

static const struct good {
    const char *request;
    const char *log;
    const char *answer;
    bool closes;
} goods[] = {
    {"GET / HTTP/1.0\r\n\r\n", "head\n GET /? 1.0\nbody_end\ndone\nclosed\n", YES_CLOSE, true},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     "head\n GET /? 1.0 keep\n  Connection=keep-alive\nbody_end\ndone\n",
     "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 3\r\nConnection: keep-alive\r\n\r\nyes", false},
    {"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
     "head\n GET /? 1.1\n  Host=h\n  Connection=close\nbody_end\ndone\nclosed\n", YES_CLOSE, true},
    {"\r\nPOST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
     "head\n POST /p? 1.1 keep length=5\n  Host=h\n  Content-Length=5\n"
     "body\nhello\nbody_end\ndone\n",
     YES, false},
    {"PUT /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
     "2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: dropped\r\n\r\n",
     "head\n PUT /p? 1.1 keep chunked\n  Host=h\n  Transfer-Encoding=Chunked\n"
     "body\nhello\nbody_end\ndone\n",
     YES, false},
    {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "head\n HEAD /? 1.1 keep\n  Host=h\nbody_end\ndone\n",
     "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 3\r\n\r\n", false},
};

/* Whole (split at n), in two, or byte by byte (split 0). */
static void run_split(struct app *app, struct str request, size_t split)
{
    app_connect(app);
    if (split == 0) {
        for (size_t i = 0; i < request.n && !app->eof; i++)
            feed(app, str_of(request.p + i, 1));
    } else {
        feed(app, str_head(request, split));
        if (split < request.n)
            feed(app, str_from(request, split));
    }
}

static void test_good_requests_at_each_split(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_AT_END;
    for (size_t i = 0; i < COUNT_OF(goods); i++) {
        struct str request = str_c(goods[i].request);
        for (size_t split = 0; split <= request.n; split++) {
            run_split(app, request, split);
            assert_log(app, goods[i].log);
            assert_in(app, goods[i].answer);
            assert_int_equal(app->eof, goods[i].closes);
        }
    }
    app_free(app);
}

/* The table of what is malformed stands in parse_test. */
static void test_bad_requests_at_each_split(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *why;
    } bads[] = {
        {"GET / HTTP/1.1\r\n\r\n", "refuse\n BAD_HTTP /: the Host header is missing"},
        {"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", "refuse\n BAD_HTTP : the method is not known"},
        /* No HEAD: the answer has its body. */
        {"HEADER / HTTP/1.1\r\nHost: a\r\n\r\n", "refuse\n BAD_HTTP : "},
        {"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
         "body\narefuse\n BAD_HTTP /p: Expected LF after chunk data"},
    };
    struct app *app = app_new();

    app->when = ANSWER_AT_END;
    for (size_t i = 0; i < COUNT_OF(bads); i++) {
        struct str request = str_c(bads[i].request);
        for (size_t split = 0; split <= request.n; split++) {
            run_split(app, request, split);
            assert_true(has(&app->log, bads[i].why));
            assert_int_equal(app->refuses, 1);
            assert_int_equal(app->dones, 1);
            assert_true(has(&app->in, "HTTP/1.1 400 Bad Request\r\nX-Refused: yes\r\n"));
            assert_true(has(&app->in, "Connection: close\r\n\r\nbad\n"));
            assert_true(app->eof);
        }
    }
    app_free(app);
}

/* A head of exactly n bytes. */
static struct str head_of(struct buf *to, size_t n)
{
    buf_reset(to);
    buf_add(to, STR("GET /limit HTTP/1.1\r\nHost: x\r\nPad: "));
    while (to->n < n - 4)
        buf_add_char(to, 'p');
    buf_add(to, STR("\r\n\r\n"));
    assert_int_equal(to->n, n);
    return buf_str(to);
}

static void test_head_at_the_limit_and_one_beyond(void **state)
{
    (void)state;
    struct app *app = app_new();
    struct buf head;

    buf_init(&head, 4096);
    for (size_t split = 0; split <= HEAD_MAX; split += 73) {
        run_split(app, head_of(&head, HEAD_MAX), split);
        assert_int_equal(app->heads, 1);
        assert_int_equal(app->refuses, 0);
        run_split(app, head_of(&head, HEAD_MAX + 1), split);
        assert_int_equal(app->heads, 0);
        assert_true(has(&app->log, "HEADERS_TOO_LARGE /limit: request line and headers take more "
                                   "than 1024 bytes (header_bytes_max)"));
        assert_true(has(&app->in, "HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert_true(app->eof);
    }
    /* Each head of a connection has the limit for itself. */
    app_connect(app);
    feed(app, head_of(&head, HEAD_MAX));
    feed(app, head_of(&head, HEAD_MAX));
    assert_int_equal(app->dones, 2);
    /* A request line that is too long shows no path. */
    buf_reset(&head);
    buf_add(&head, STR("GET /"));
    while (head.n < HEAD_MAX)
        buf_add_char(&head, 'u');
    app_connect(app);
    feed(app, buf_str(&head));
    assert_true(has(&app->log, "HEADERS_TOO_LARGE : "));
    buf_fini(&head);
    app_free(app);
}

static void test_trailers_and_extensions_are_bounded(void **state)
{
    (void)state;
    struct app *app = app_new();

    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    app->when = ANSWER_BY_HAND;
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < 200 && app->refuses == 0; i++)
        feed_z(app, "Trailer: x\r\n");
    assert_int_equal(app->refuses, 1);
    assert_true(has(&app->log, "chunk extensions and trailers take more than 1024 bytes"));
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;");
    for (int i = 0; i < 200 && app->refuses == 0; i++)
        feed_z(app, "extension");
    assert_int_equal(app->refuses, 1);
    app_free(app);
}

/* A name costs its bytes and one, in however many pieces it comes. */
static void test_extensions_cost_the_same_in_any_cut(void **state)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;";
    static char text[HEAD_MAX + 32];
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_AT_END;
    for (unsigned i = 0; i < 4; i++) {
        unsigned beyond = i / 2;
        unsigned name = HEAD_MAX - 1 + beyond;
        memset(text, 'e', name);
        (void)snprintf(text + name, sizeof(text) - name, "\r\na\r\n0\r\n\r\n");
        app_connect(app);
        feed_z(app, head);
        if (i % 2 == 0)
            feed_z(app, text);
        for (size_t k = 0; i % 2 == 1 && text[k] != '\0'; k++)
            feed(app, str_of(text + k, 1));
        assert_int_equal(app->refuses, beyond);
        assert_int_equal(app->dones, 1);
    }
    app_free(app);
}

/* ---- answers ---- */

static void test_answer_framing(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
        int64_t length;
        const char *answer;
        bool closes;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, -1,
         "HTTP/1.1 200 OK\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\n",
         false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, -1,
         "HTTP/1.1 200 OK\r\n" DATE "Connection: close\r\n\r\nyes", true},
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 204, -1, "HTTP/1.1 204 No Content\r\n" DATE "\r\n",
         false},
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 304, 3, "HTTP/1.1 304 Not Modified\r\n" DATE "\r\n",
         false},
        {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", 200, -1, "HTTP/1.1 200 OK\r\n" DATE "\r\n", false},
        {"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", 404, 3,
         "HTTP/1.1 404 Not Found\r\n" DATE "Content-Length: 3\r\n\r\n", false},
        /* Shorter than it said: the client must not take it for whole. */
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200, 4,
         "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 4\r\n\r\nyes", true},
        {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 799, 3,
         "HTTP/1.1 799 Unknown\r\n" DATE "Content-Length: 3\r\n\r\nyes", false},
    };
    struct app *app = app_new();

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        app_connect(app);
        app->status = cases[i].status;
        app->length = cases[i].length;
        app->no_flush = i % 2 == 1; /* the turn's end flushes as well */
        feed_z(app, cases[i].request);
        assert_in(app, cases[i].answer);
        assert_int_equal(app->eof, cases[i].closes);
        assert_int_equal(app->dones, 1);
    }
    app_free(app);
}

/* Several parts of one flush make one chunk; each flush makes its own. */
static void test_one_chunk_for_each_flush(void **state)
{
    (void)state;
    struct app *app = app_new();
    char parts[100];

    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    server_head(app->c, 200, STR("A: b\r\nC: d\r\n"), -1);
    for (size_t i = 0; i < sizeof(parts); i++) {
        parts[i] = (char)('0' + i % 10);
        server_body(app->c, str_of(&parts[i], 1));
    }
    assert_int_equal(server_flush(app->c), SERVER_OK);
    memset(parts, 'x', sizeof(parts)); /* borrowed no longer */
    assert_int_equal(server_flush(app->c), SERVER_OK);
    loop_test_run(app->loop);
    assert_true(has(&app->in, "A: b\r\nC: d\r\n" DATE "Transfer-Encoding: chunked\r\n\r\n"
                              "64\r\n01234567890123456789"));
    assert_int_equal(count_of(&app->in, "64\r\n"), 1);
    assert_false(has(&app->in, "x"));
    buf_reset(&app->in);
    server_body(app->c, STR("second"));
    loop_test_run(app->loop);
    assert_in(app, "6\r\nsecond\r\n");
    assert_int_equal(server_body_bytes(app->c), 106);
    server_end(app->c);
    assert_int_equal(app->dones, 0);
    loop_test_run(app->loop);
    assert_in(app, "6\r\nsecond\r\n0\r\n\r\n");
    assert_int_equal(app->dones, 1);
    app_free(app);
}

static void test_date_changes_with_the_second(void **state)
{
    (void)state;
    struct app *app = app_new();

    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    loop_test_advance(app->loop, 59999);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    loop_test_advance(app->loop, 1);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(has(&app->in, "Thu, 01 Jan 2026 00:00:00 GMT"));
    assert_true(has(&app->in, "Thu, 01 Jan 2026 00:00:59 GMT"));
    assert_true(has(&app->in, "Thu, 01 Jan 2026 00:01:00 GMT"));
    app_free(app);
}

static void test_expect_continue(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_AT_END;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_in(app, "HTTP/1.1 100 Continue\r\n\r\n");
    feed_z(app, "ok");
    assert_in(app, "HTTP/1.1 100 Continue\r\n\r\n" YES);
    /* Who does not wait needs no permission. */
    app_connect(app);
    feed_z(app,
           "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nok");
    assert_in(app, YES);
    /* Refused by the user: no 100, and the connection cannot go on. */
    app_connect(app);
    app->no_accept = true;
    app->when = ANSWER_AT_HEAD;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_in(app, YES_CLOSE);
    assert_true(app->eof);
    /* HTTP/1.0 has no 100. */
    app_connect(app);
    app->no_accept = false;
    feed_z(app, "POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_false(has(&app->in, "100 Continue"));
    app_free(app);
}

/* ---- connections ---- */

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
                "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
                "GET /never HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(app->heads, 1);
    static const char *const bodies[] = {"one", "two", "end"};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(app->heads, i + 1);
        app->body = str_c(bodies[i]);
        answer(app, app->c);
        loop_test_run(app->loop);
        assert_int_equal(app->dones, i + 1);
    }
    assert_int_equal(app->heads, 3);
    assert_true(app->eof);
    assert_true(has(&app->log, "\nbody\nabc\nbody_end\n"));
    size_t one = str_find(buf_str(&app->in), STR("one"), 0);
    size_t two = str_find(buf_str(&app->in), STR("two"), 0);
    size_t end = str_find(buf_str(&app->in), STR("end"), 0);
    assert_true(one < two && two < end && end != SIZE_MAX);
    app_free(app);
}

static void test_many_pipelined_at_each_read_size(void **state)
{
    (void)state;
    struct app *app = app_new();
    struct buf requests;

    buf_init(&requests, LOG_MAX);
    for (int i = 0; i < 500; i++)
        buf_add(&requests, STR("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"));
    for (int when = ANSWER_AT_HEAD; when <= ANSWER_AT_END; when++) {
        app->when = (enum answer_when)when;
        for (size_t n = 1; n < 2000; n = n * 3 + 1) {
            app_connect(app);
            for (size_t at = 0; at < requests.n; at += n)
                feed(app, str_head(str_from(buf_str(&requests), at), n));
            assert_int_equal(app->dones, 500);
            assert_int_equal(count_of(&app->in, "\r\n\r\nyes"), 500);
            assert_false(app->eof);
        }
    }
    buf_fini(&requests);
    app_free(app);
}

/* While the answer is awaited at most the carry-over's size (and one read) is taken. */
static void test_carry_over_is_bounded(void **state)
{
    (void)state;
    struct app *app = app_new();
    static char flood[SERVER_CARRY_MAX];

    memset(flood, 'f', sizeof(flood));
    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    feed_z(app, "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 655360\r\n\r\n");
    for (int i = 0; i < 10; i++)
        feed(app, str_of(flood, sizeof(flood)));
    /* What the server did not read stays on the way, and beyond the way's window with us. */
    assert_true(conn_queued(app->conn) >= 10 * sizeof(flood) - 3 * SERVER_CARRY_MAX);
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_int_equal(app->heads, 2);
    assert_int_equal(conn_queued(app->conn), 0);
    assert_int_equal(count_of(&app->log, "body_end"), 2);
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_int_equal(app->dones, 2);
    app_free(app);
}

/* A client that leaves is noticed wherever the request and its answer stand. */
static void test_leaving_at_each_byte(void **state)
{
    (void)state;
    struct app *app = app_new();
    struct str request = STR("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");

    app->when = ANSWER_BY_HAND;
    for (size_t n = 0; n <= request.n; n++) {
        for (int reset = 0; reset < 2; reset++) {
            app_connect(app);
            feed(app, str_head(request, n));
            bool began = app->heads == 1;
            assert_int_equal(began, n >= request.n - 5);
            if (reset)
                conn_reset(&app->conn);
            else
                conn_close(&app->conn);
            loop_test_run(app->loop);
            assert_int_equal(app->gones, began ? 1 : 0);
            assert_int_equal(app->closeds, 1);
            assert_int_equal(app->dones, 0);
            assert_int_equal(server_conn_count(app->server), 0);
        }
    }
    /* In the middle of an answer. */
    for (int step = 0; step < 3; step++) {
        app_connect(app);
        feed(app, request);
        server_head(app->c, 200, STR(""), -1);
        if (step > 0)
            server_body(app->c, STR("part"));
        if (step > 1)
            loop_test_run(app->loop);
        conn_close(&app->conn);
        loop_test_run(app->loop);
        assert_int_equal(app->gones, 1);
        assert_int_equal(app->closeds, 1);
    }
    app_free(app);
}

static void test_half_close_means_left(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    conn_shutdown(app->conn);
    loop_test_run(app->loop);
    assert_int_equal(app->gones, 1);
    assert_true(app->eof);
    app_free(app);
}

static void test_abort_in_events(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->abort_in_head = true;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    assert_log(app, "head\n POST /? 1.1 keep length=5\n  Host=h\n  Content-Length=5\nclosed\n");
    assert_true(app->eof);
    app->abort_in_head = false;
    app->abort_in_body = true;
    app->when = ANSWER_BY_HAND;
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
    assert_true(has(&app->log, "body\nhelloclosed\n"));
    assert_int_equal(app->gones + app->dones, 0);
    app_free(app);
}

/* An aborted answer never looks whole: no last chunk, too few bytes, or a reset. */
static void test_abort_of_an_answer(void **state)
{
    (void)state;
    struct app *app = app_new();
    static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                           "GET / HTTP/1.0\r\n\r\n"};

    app->when = ANSWER_BY_HAND;
    for (int i = 0; i < 2; i++) {
        app_connect(app);
        feed_z(app, requests[i]);
        server_head(app->c, 200, STR(""), -1);
        server_body(app->c, STR("part"));
        loop_test_run(app->loop);
        server_abort(app->c);
        loop_test_run(app->loop);
        assert_true(has(&app->in, "part"));
        assert_false(has(&app->in, "\r\n0\r\n"));
        assert_int_equal(app->eof, i == 0);
        assert_int_equal(app->failed, i == 1);
        assert_int_equal(app->closeds, 1);
        assert_int_equal(app->gones + app->dones, 0);
    }
    app_free(app);
}

/* Whatever closes the connection of a client that takes its end for the answer's: it is a reset
 * until all was taken. */
static void test_broken_answer_until_eof(void **state)
{
    (void)state;
    struct app *app = app_new();

    for (int i = 0; i < 4; i++) {
        app->when = ANSWER_BY_HAND;
        app_connect(app);
        feed_z(app, "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhel");
        server_head(app->c, 200, STR(""), -1);
        server_body(app->c, STR("part"));
        loop_test_run(app->loop);
        if (i == 0)
            conn_shutdown(app->conn); /* a half-close counts as leaving */
        else if (i == 1)
            loop_test_advance(app->loop, BODY_MS + 10);
        else if (i == 2)
            server_close_all(app->server);
        else
            server_end(app->c);
        loop_test_run(app->loop);
        assert_true(has(&app->in, "\r\n\r\npart"));
        assert_int_equal(app->failed, i < 3);
        assert_int_equal(app->eof, i == 3);
        assert_int_equal(app->gones, i < 3);
    }
    app_free(app);
}

/* An answer before the request's body has come: a small rest is skipped, a large one ends it. */
static void test_early_answer(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->no_accept = true;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    assert_in(app, YES);
    assert_int_equal(app->dones, 1);
    feed_z(app, "lloGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_in(app, YES YES);
    assert_false(has(&app->log, "body"));
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\nhe");
    assert_in(app, YES_CLOSE);
    assert_true(app->eof);
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe");
    assert_in(app, YES_CLOSE);
    /* Garbage in the skipped rest closes too, after the answer. */
    app->no_accept = false;
    app->when = ANSWER_BY_HAND;
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n");
    answer(app, app->c);
    loop_test_run(app->loop);
    assert_in(app, YES_CLOSE);
    feed_z(app, "zz");
    assert_int_equal(app->refuses, 0);
    app_free(app);
}

/* The rest of a body is still awaited when the server begins to stop. */
static void test_early_answer_then_drain(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->no_accept = true;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    server_drain(app->server);
    loop_test_run(app->loop);
    assert_int_equal(app->closeds, 0);
    feed_z(app, "llo");
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

/* Lingering waits for a client that is slow to take the end of its answer. */
static void test_lingering_waits_for_the_queue(void **state)
{
    (void)state;
    struct app *app = app_new();
    static char large[100000];

    memset(large, 'l', sizeof(large));
    app->body = str_of(large, sizeof(large));
    app->length = sizeof(large);
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n");
    conn_read_stop(app->conn);
    feed_z(app, "Connection: close\r\n\r\n");
    assert_int_equal(app->dones, 1);
    loop_test_advance(app->loop, 5000);
    assert_int_equal(app->closeds, 0);
    /* Having heard enough, the client shuts its side: it is still taking. */
    conn_shutdown(app->conn);
    loop_test_advance(app->loop, 5000);
    assert_int_equal(app->closeds, 0);
    conn_read_start(app->conn);
    loop_test_advance(app->loop, 2000);
    assert_true(app->in.n > sizeof(large));
    assert_true(app->eof);
    assert_int_equal(app->closeds, 1);
    app_free(app);
}

static void test_early_answer_rest_has_a_time_limit(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->no_accept = true;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    loop_test_advance(app->loop, BODY_MS - 10);
    assert_int_equal(server_conn_count(app->server), 1);
    loop_test_advance(app->loop, 20);
    assert_true(app->eof);
    app_free(app);
}

static void test_pause(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_AT_END;
    app->pause_in_body = true;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    feed_z(app, "1\r\nb\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_true(has(&app->log, "body\na"));
    assert_false(has(&app->log, "body\nab"));
    loop_test_advance(app->loop, 3 * BODY_MS);
    assert_int_equal(app->refuses, 0);
    app->pause_in_body = false;
    server_pause(app->c, false);
    loop_test_run(app->loop);
    assert_true(has(&app->log, "body\nab\nbody_end\ndone\nhead\n GET /2"));
    assert_int_equal(app->dones, 2);
    /* Leaving is noticed while paused. */
    app->pause_in_body = true;
    app_connect(app);
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\na");
    conn_close(&app->conn);
    loop_test_run(app->loop);
    assert_int_equal(app->gones, 1);
    app_free(app);
}

/* The user accepts in a later turn: what came meanwhile is kept. */
static void test_late_accept(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->no_accept = true;
    app->when = ANSWER_BY_HAND;
    feed_z(app, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe");
    feed_z(app, "llo");
    assert_false(has(&app->log, "body"));
    server_accept(app->c);
    assert_false(has(&app->log, "body"));
    loop_test_run(app->loop);
    assert_true(has(&app->log, "body\nhello\nbody_end\n"));
    app_free(app);
}

static void test_arena_can_go_early(void **state)
{
    (void)state;
    struct app *app = app_new();

    app->when = ANSWER_BY_HAND;
    feed_z(app, "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    assert_true(atomic_load(&app->budget.used) > 0);
    server_arena_release(app->c);
    assert_int_equal(atomic_load(&app->budget.used), 0);
    feed_z(app, "zz");
    assert_true(has(&app->log, "refuse\n BAD_HTTP : Invalid character in chunk size"));
    app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_good_requests_at_each_split),
        cmocka_unit_test(test_bad_requests_at_each_split),
        cmocka_unit_test(test_head_at_the_limit_and_one_beyond),
        cmocka_unit_test(test_trailers_and_extensions_are_bounded),
        cmocka_unit_test(test_extensions_cost_the_same_in_any_cut),
        cmocka_unit_test(test_answer_framing),
        cmocka_unit_test(test_one_chunk_for_each_flush),
        cmocka_unit_test(test_date_changes_with_the_second),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_many_pipelined_at_each_read_size),
        cmocka_unit_test(test_carry_over_is_bounded),
        cmocka_unit_test(test_leaving_at_each_byte),
        cmocka_unit_test(test_half_close_means_left),
        cmocka_unit_test(test_abort_in_events),
        cmocka_unit_test(test_abort_of_an_answer),
        cmocka_unit_test(test_broken_answer_until_eof),
        cmocka_unit_test(test_early_answer),
        cmocka_unit_test(test_early_answer_then_drain),
        cmocka_unit_test(test_lingering_waits_for_the_queue),
        cmocka_unit_test(test_early_answer_rest_has_a_time_limit),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_late_accept),
        cmocka_unit_test(test_arena_can_go_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
