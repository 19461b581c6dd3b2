/* SPDX-License-Identifier: MIT */
/* Bodies that are given piece by piece: framing, slow upstreams, what is lost on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/conn.h"

enum { GOT_MAX = 16 * 1024 * 1024, SILENCE_MS = 60000, PIECE = 50000 };

struct user {
    struct loop *loop;
    struct client_pool *pool;
    struct conn *upstream;
    struct buf got; /* by the upstream, on its newest connection */
    struct arena arena;
    struct client_request *request;
    size_t window;
    bool reads; /* the upstream does, from the beginning */
    int connects;
    int sents;
    int heads;
    int writables;
    int ends;
    enum error_code failed;
};

static void up_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    assert_true(buf_add(&((struct user *)ctx)->got, bytes));
}

static void up_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    (void)ctx;
}

static void up_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    (void)ctx;
    (void)e;
}

static const struct conn_events up_events = {.read = up_read, .eof = up_eof, .failed = up_failed};

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    struct user *user = ctx;
    struct conn *near = NULL;

    conn_close(&user->upstream);
    conn_pair(loop, &near, &user->upstream);
    conn_set_events(user->upstream, &up_events, user);
    if (user->window > 0)
        conn_mem_window(near, user->window);
    if (user->reads)
        conn_read_start(user->upstream);
    buf_reset(&user->got);
    user->connects++;
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
    (void)m;
    ((struct user *)ctx)->heads++;
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    (void)r;
    (void)ctx;
    (void)bytes;
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
    ((struct user *)ctx)->failed = e->code;
    ((struct user *)ctx)->request = NULL;
}

static void on_writable(struct client_request *r, void *ctx)
{
    (void)r;
    ((struct user *)ctx)->writables++;
}

static const struct client_events events = {
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
    .writable = on_writable,
};

static void setup(struct user *user, bool reads)
{
    memset(user, 0, sizeof(*user));
    user->reads = reads;
    user->loop = loop_test_new();
    buf_init(&user->got, GOT_MAX);
    arena_init(&user->arena, GOT_MAX, 1024, NULL);
    user->pool = client_pool_new(user->loop, &(struct client_pool_options){
                                                 .host = STR("upstream.test"),
                                                 .port = 80,
                                                 .connect_timeout_ms = 1000,
                                                 .idle_timeout_ms = 600000,
                                                 .silence_timeout_ms = SILENCE_MS,
                                                 .header_bytes_max = 32768,
                                                 .connect = up_connect,
                                                 .connect_ctx = user,
                                             });
}

#define HEAD "POST / HTTP/1.1\r\nHost: a\r\n\r\n"

/* kept: must live as long as the request. */
static void begin(struct user *user, const struct str *kept, bool chunked)
{
    struct error e;
    const struct client_call call = {
        .head = STR(HEAD),
        .body = kept,
        .body_n = kept == NULL ? 0 : 1,
        .more = true,
        .chunked = chunked,
        .arena = &user->arena,
        .events = &events,
        .ctx = user,
    };
    assert_int_equal(client_start(user->pool, &call, &user->request, &e), OK);
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

#define OK2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void assert_got(struct user *user, const char *text)
{
    buf_add_char(&user->got, '\0');
    assert_string_equal(user->got.p, text);
    user->got.n--;
}

/* Every way to give eight bytes: what is kept, and where the rest is cut. */
static void test_pieces(void **state)
{
    const struct str text = STR("abcdefgh");

    (void)state;
    for (size_t kept_n = 0; kept_n <= text.n; kept_n++) {
        for (size_t at = kept_n; at <= text.n; at++) {
            for (int turns = 0; turns < 2; turns++) {
                struct user user;
                const struct str kept = str_head(text, kept_n);
                setup(&user, true);
                begin(&user, &kept, false);
                if (turns > 0)
                    loop_test_run(user.loop);
                assert_int_equal(client_send(user.request, str_of(text.p + kept_n, at - kept_n),
                                             false),
                                 CLIENT_OK);
                assert_int_equal(user.sents, 0);
                assert_int_equal(client_send(user.request, str_from(text, at), true), CLIENT_OK);
                loop_test_run(user.loop);
                assert_int_equal(user.sents, 1);
                assert_got(&user, HEAD "abcdefgh");
                answer(&user, OK2);
                assert_int_equal(user.ends, 1);
                assert_int_equal(client_pool_idle_count(user.pool), 1);
                teardown(&user);
            }
        }
    }
}

static void test_chunks(void **state)
{
    struct user user;
    const struct str kept = STR("0123456789abcdef!");

    (void)state;
    setup(&user, true);
    begin(&user, &kept, true);
    loop_test_run(user.loop);
    assert_got(&user, HEAD "11\r\n0123456789abcdef!\r\n");
    (void)client_send(user.request, STR("xyz"), false);
    (void)client_send(user.request, STR(""), false);
    loop_test_run(user.loop);
    assert_got(&user, HEAD "11\r\n0123456789abcdef!\r\n3\r\nxyz\r\n");
    (void)client_send(user.request, STR("z"), true);
    loop_test_run(user.loop);
    assert_got(&user, HEAD "11\r\n0123456789abcdef!\r\n3\r\nxyz\r\n1\r\nz\r\n0\r\n\r\n");
    answer(&user, OK2);
    assert_int_equal(user.ends, 1);
    /* Nothing kept, nothing given. */
    begin(&user, NULL, true);
    (void)client_send(user.request, STR(""), true);
    loop_test_run(user.loop);
    assert_got(&user, HEAD "0\r\n\r\n");
    teardown(&user);
}

/* The upstream takes nothing: the user is told to wait, once, and goes on when there is room. What
 * is kept is larger than the way, so that the first piece has to wait for its turn. */
static void test_backpressure(void **state)
{
    char *large = mem_new(300000);

    (void)state;
    for (int round = 0; round < 4; round++) {
        struct user user;
        bool chunked = round % 2 == 1;
        const struct str kept = str_of(large, round < 2 ? 300000 : 10);
        size_t given = 0;
        memset(large, 'a', 300000);
        setup(&user, false);
        begin(&user, &kept, chunked);
        loop_test_run(user.loop);
        enum client_push push = CLIENT_OK;
        while (push == CLIENT_OK && given < 100) {
            push = client_send(user.request, str_of(large, PIECE), false);
            given++;
        }
        /* At most the way, the queue, and one piece. */
        assert_int_equal(push, CLIENT_FULL);
        assert_true(given <= (round < 2 ? 1u : 5u));
        loop_test_run(user.loop);
        assert_int_equal(user.writables, 0);
        conn_read_start(user.upstream);
        loop_test_run(user.loop);
        assert_int_equal(user.writables, 1);
        assert_true(user.got.n >= kept.n + given * PIECE);
        (void)client_send(user.request, STR("end"), true);
        loop_test_run(user.loop);
        assert_true(
            str_ends(buf_str(&user.got), chunked ? STR("3\r\nend\r\n0\r\n\r\n") : STR("end")));
        assert_int_equal(user.writables, 1);
        assert_int_equal(user.sents, 1);
        teardown(&user);
    }
    mem_free(large);
}

/* A connection that waits for another request. */
static void make_idle(struct user *user)
{
    begin(user, NULL, false);
    (void)client_send(user->request, STR(""), true);
    loop_test_run(user->loop);
    answer(user, OK2);
    assert_int_equal(client_pool_idle_count(user->pool), 1);
}

/* What cannot be sent again goes on no connection that may be closing just now; and as it leaves
 * one behind, another one goes. */
static void test_takes_a_connection_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct user user;
        struct client_request *plain = NULL;
        struct error e;
        const struct str kept = STR("kept,");
        setup(&user, true);
        make_idle(&user);
        begin(&user, i < 2 ? &kept : NULL, i % 2 == 1);
        assert_int_equal(user.connects, 2);
        assert_int_equal(client_pool_idle_count(user.pool), 0);
        loop_test_run(user.loop);
        assert_int_equal(client_send_is_kept(user.request), false);
        (void)client_send(user.request, STR("rest"), true);
        answer(&user, OK2);
        assert_int_equal(user.ends, 2);
        assert_int_equal(client_pool_idle_count(user.pool), 1);
        /* Others may have it. */
        const struct client_call call = {.head = STR(HEAD),
                                         .arena = &user.arena,
                                         .events = &events,
                                         .ctx = &user};
        assert_int_equal(client_start(user.pool, &call, &plain, &e), OK);
        assert_int_equal(user.connects, 2);
        client_cancel(&plain);
        teardown(&user);
    }
}

/* Small pieces of a turn go in one chunk, in their order, also before and behind large ones; and
 * the user is told when they are too much, as with any. */
static void test_small_pieces(void **state)
{
    struct user user;
    struct buf expected;
    char *large = mem_new(PIECE);

    (void)state;
    memset(large, 'l', PIECE);
    buf_init(&expected, GOT_MAX);
    setup(&user, true);
    begin(&user, NULL, true);
    loop_test_run(user.loop);
    buf_reset(&user.got);
    for (int i = 0; i < 10; i++)
        assert_int_equal(client_send(user.request, STR("abc"), false), CLIENT_OK);
    loop_test_run(user.loop);
    assert_got(&user, "1e\r\nabcabcabcabcabcabcabcabcabcabc\r\n");
    buf_reset(&user.got);
    (void)client_send(user.request, STR("1"), false);
    (void)client_send(user.request, str_of(large, PIECE), false);
    (void)client_send(user.request, STR("2"), false);
    (void)client_send(user.request, STR("3"), false);
    (void)client_send(user.request, STR("4"), true);
    loop_test_run(user.loop);
    buf_add(&expected, STR("c351\r\n1"));
    buf_add(&expected, str_of(large, PIECE));
    buf_add(&expected, STR("\r\n3\r\n234\r\n0\r\n\r\n"));
    assert_true(str_eq(buf_str(&user.got), buf_str(&expected)));
    assert_int_equal(user.sents, 1);
    teardown(&user);

    /* Nobody takes them: some turns' worth, and then the user waits. */
    setup(&user, false);
    begin(&user, NULL, false);
    loop_test_run(user.loop);
    size_t given = 0;
    while (given < GOT_MAX && client_send(user.request, str_of(large, 1000), false) == CLIENT_OK) {
        given += 1000;
        if (given % 10000 == 0)
            loop_test_run(user.loop);
    }
    given += 1000;
    assert_true(given < 300000);
    conn_read_start(user.upstream);
    loop_test_run(user.loop);
    assert_int_equal(user.writables, 1);
    (void)client_send(user.request, STR("end"), false);
    client_cancel(&user.request); /* with something that waits */
    assert_int_equal(user.got.n, strlen(HEAD) + given);
    teardown(&user);
    buf_fini(&expected);
    mem_free(large);
}

/* A piece that comes before its turn is held; what the call had is borrowed until then. */
static void test_held_piece(void **state)
{
    struct user user;
    char *large = mem_new(300000);
    const struct str kept = str_of(large, 300000);

    (void)state;
    memset(large, 'k', 300000);
    setup(&user, false);
    begin(&user, &kept, false);
    assert_int_equal(client_send(user.request, STR("held"), false), CLIENT_FULL);
    loop_test_run(user.loop);
    assert_true(client_send_is_kept(user.request));
    assert_int_equal(user.writables, 0);
    conn_read_start(user.upstream);
    loop_test_run(user.loop);
    assert_false(client_send_is_kept(user.request));
    memset(large, '!', 300000);
    assert_int_equal(user.writables, 1);
    (void)client_send(user.request, STR(",end"), true);
    loop_test_run(user.loop);
    assert_int_equal(user.got.n, strlen(HEAD) + 300000 + 8);
    assert_int_equal(str_find_char(buf_str(&user.got), '!', 0), SIZE_MAX);
    assert_true(str_ends(buf_str(&user.got), STR("kkheld,end")));
    teardown(&user);
    mem_free(large);
}

/* The silence time-out is for who keeps us waiting. */
static void test_silence(void **state)
{
    struct user user;
    char *large = mem_new(PIECE);

    (void)state;
    memset(large, 'a', PIECE);
    setup(&user, true);
    begin(&user, NULL, false);
    loop_test_run(user.loop);
    loop_test_advance(user.loop, 10 * SILENCE_MS); /* it is our turn */
    assert_int_equal(user.failed, OK);
    (void)client_send(user.request, STR("a"), false);
    loop_test_advance(user.loop, 10 * SILENCE_MS);
    assert_int_equal(user.failed, OK);
    conn_read_stop(user.upstream);
    while (client_send(user.request, str_of(large, PIECE), false) == CLIENT_OK)
        loop_test_run(user.loop);
    loop_test_advance(user.loop, SILENCE_MS - 1000);
    assert_int_equal(user.failed, OK);
    loop_test_advance(user.loop, 2 * SILENCE_MS);
    assert_int_equal(user.failed, ERR_UPSTREAM_TIMEOUT);
    teardown(&user);

    setup(&user, true); /* all was given: now it is the upstream's turn */
    begin(&user, NULL, false);
    loop_test_advance(user.loop, 10 * SILENCE_MS);
    (void)client_send(user.request, STR("a"), true);
    loop_test_advance(user.loop, SILENCE_MS - 1000);
    assert_int_equal(user.failed, OK);
    loop_test_advance(user.loop, 2 * SILENCE_MS);
    assert_int_equal(user.failed, ERR_UPSTREAM_TIMEOUT);
    teardown(&user);
    mem_free(large);
}

/* A refusal ends the sending; any other early answer does not. */
static void test_early_answers(void **state)
{
    struct user user;

    (void)state;
    setup(&user, true);
    begin(&user, NULL, false);
    (void)client_send(user.request, STR("one"), false);
    loop_test_run(user.loop);
    answer(&user, "HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nn");
    assert_int_equal(user.heads, 1);
    assert_int_equal(client_send(user.request, STR("two"), false), CLIENT_OK);
    loop_test_run(user.loop);
    assert_got(&user, HEAD "one");
    answer(&user, "ay");
    assert_int_equal(user.ends, 1);
    assert_int_equal(user.sents, 0);
    assert_int_equal(client_pool_idle_count(user.pool), 0);
    teardown(&user);

    setup(&user, true);
    begin(&user, NULL, false);
    (void)client_send(user.request, STR("one,"), false);
    loop_test_run(user.loop);
    answer(&user, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ny");
    assert_int_equal(client_send(user.request, STR("two"), true), CLIENT_OK);
    loop_test_run(user.loop);
    assert_got(&user, HEAD "one,two");
    answer(&user, "es");
    assert_int_equal(user.ends, 1);
    assert_int_equal(client_pool_idle_count(user.pool), 1);
    teardown(&user);

    setup(&user, true); /* an answer that ends first: the connection is not used again */
    begin(&user, NULL, false);
    (void)client_send(user.request, STR("one,"), false);
    answer(&user, OK2);
    assert_int_equal(user.ends, 1);
    assert_int_equal(client_pool_idle_count(user.pool), 0);
    teardown(&user);
}

/* Lost or cancelled behind each byte that the upstream takes. */
static void test_ends_anywhere(void **state)
{
    const size_t all = strlen(HEAD) + 40;

    (void)state;
    for (size_t window = 1; window <= all; window++) {
        for (int how = 0; how < 3; how++) {
            struct user user;
            const struct str kept = STR("0123456789");
            setup(&user, false);
            user.window = window;
            begin(&user, &kept, how == 2);
            loop_test_run(user.loop);
            (void)client_send(user.request, STR("0123456789"), false);
            loop_test_run(user.loop);
            if (how == 0) {
                client_cancel(&user.request);
            } else {
                conn_mem_reset(user.upstream);
                conn_close(&user.upstream);
            }
            loop_test_run(user.loop);
            assert_int_equal(user.failed, how == 0 ? OK : ERR_UPSTREAM_BROKEN);
            assert_null(user.request);
            teardown(&user);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_backpressure),  cmocka_unit_test(test_takes_a_connection_of_its_own),
        cmocka_unit_test(test_small_pieces),  cmocka_unit_test(test_held_piece),
        cmocka_unit_test(test_silence),       cmocka_unit_test(test_early_answers),
        cmocka_unit_test(test_ends_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
