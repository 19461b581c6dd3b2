/* SPDX-License-Identifier: MIT */
/* The client and its pools, against a scripted upstream in memory, on the tests' clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/conn.h"

enum {
    HEAD_MAX = 1024,
    IDLE_MS = 60000,
    SILENCE_MS = 300000,
    CONNECTIONS_MAX = 3,
    UPSTREAMS_MAX = 64,
    LOG_MAX = 1 << 24,
};

/* One accepted connection of the scripted upstream. */
struct upstream {
    struct conn *conn;
    struct buf in;
    bool eof, failed;
};

enum cancel_in { CANCEL_NONE, CANCEL_SENT, CANCEL_HEAD, CANCEL_BODY, CANCEL_END, CANCEL_BATCH };

struct user;

/* One request of the user. */
struct ask {
    struct user *user;
    struct client_request *r;
    struct arena arena;
    struct str head;
    struct str body[3];
    struct buf log;
    bool in_body;
    unsigned sents, heads, ends, batches, faileds;
    enum error_code code;
    enum cancel_in cancel_in;
    bool pause_in_body;
    struct ask *next; /* started in the batch after the end */
};

struct user {
    struct loop *loop;
    struct client_pool *pool;
    atomic_size_t connections;
    atomic_size_t busy; /* only where a test has two pools */
    unsigned crowded;
    struct upstream upstreams[UPSTREAMS_MAX];
    unsigned upstream_n;
    size_t window; /* of the way to the upstream; 0: the default */
    bool refuse;   /* connect gives nothing */
};

/* ---- the upstream ---- */

static void up_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct upstream *up = ctx;
    (void)conn;
    assert_true(buf_add(&up->in, bytes));
}

static void up_eof(struct conn *conn, void *ctx)
{
    struct upstream *up = ctx;
    (void)conn;
    up->eof = true;
}

static void up_failed(struct conn *conn, void *ctx, const struct error *e)
{
    struct upstream *up = ctx;
    (void)conn;
    (void)e;
    up->failed = true;
}

static const struct conn_events up_events = {
    .read = up_read,
    .eof = up_eof,
    .failed = up_failed,
};

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    struct user *user = ctx;
    struct conn *theirs = NULL;

    if (user->refuse)
        return NULL;
    assert_true(user->upstream_n < UPSTREAMS_MAX);
    struct upstream *up = &user->upstreams[user->upstream_n++];
    buf_init(&up->in, LOG_MAX);
    conn_pair(loop, &up->conn, &theirs);
    if (user->window > 0)
        conn_mem_window(theirs, user->window);
    conn_set_events(up->conn, &up_events, up);
    conn_read_start(up->conn);
    return theirs;
}

static void up_send(struct user *user, unsigned i, struct str bytes)
{
    (void)conn_write(user->upstreams[i].conn, &bytes, 1);
    loop_test_run(user->loop);
}

static void up_send_z(struct user *user, unsigned i, const char *bytes)
{
    up_send(user, i, str_c(bytes));
}

static void up_close(struct user *user, unsigned i)
{
    conn_close(&user->upstreams[i].conn);
    loop_test_run(user->loop);
}

/* ---- the user ---- */

static void cancel_if(struct ask *ask, enum cancel_in now)
{
    if (ask->cancel_in == now)
        client_cancel(&ask->r);
}

static void on_sent(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->sents++;
    cancel_if(ask, CANCEL_SENT);
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->heads++;
    buf_print(&ask->log, "head %d%s%s", m->status, m->keep_alive ? " keep" : "",
              m->chunked ? " chunked" : "");
    if (m->has_length)
        buf_print(&ask->log, " length=%llu", (unsigned long long)m->content_length);
    for (size_t i = 0; i < m->headers.n; i++)
        buf_print(&ask->log, "\n  %.*s=%.*s", STR_ARG(m->headers.items[i].name),
                  STR_ARG(m->headers.items[i].value));
    buf_add(&ask->log, STR("\n"));
    cancel_if(ask, CANCEL_HEAD);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    assert_true(bytes.n > 0);
    if (!ask->in_body)
        buf_add(&ask->log, STR("body "));
    ask->in_body = true;
    buf_add(&ask->log, bytes);
    if (ask->pause_in_body)
        client_pause(r, true);
    cancel_if(ask, CANCEL_BODY);
}

static void on_end(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->ends++;
    if (ask->in_body)
        buf_add(&ask->log, STR("\n"));
    buf_add(&ask->log, STR("end\n"));
    cancel_if(ask, CANCEL_END);
}

static void ask_start(struct user *user, struct ask *ask);

static void on_batch(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->batches++;
    cancel_if(ask, CANCEL_BATCH);
    if (ask->ends > 0 && ask->next != NULL)
        ask_start(ask->user, ask->next);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->faileds++;
    ask->code = e->code;
    if (ask->in_body)
        buf_add(&ask->log, STR("\n"));
    buf_print(&ask->log, "failed %s: %s\n", error_name(e->code), e->detail);
    /* Legal, and without effect. */
    client_cancel(&ask->r);
}

static const struct client_events user_events = {
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

#define GET "GET / HTTP/1.1\r\nHost: up\r\n\r\n"

static enum error_code ask_try(struct user *user, struct ask *ask, struct error *e)
{
    const struct client_call call = {
        .head = ask->head.n > 0 ? ask->head : STR(GET),
        .body = ask->body,
        .body_n = COUNT_OF(ask->body),
        .is_head = str_starts(ask->head, STR("HEAD")),
        .arena = &ask->arena,
        .events = &user_events,
        .ctx = ask,
    };
    ask->user = user;
    if (ask->log.size_max == 0)
        buf_init(&ask->log, LOG_MAX);
    if (ask->arena.bytes_max == 0)
        arena_init(&ask->arena, 1 << 20, 1024, NULL);
    return client_start(user->pool, &call, &ask->r, e);
}

static void ask_start(struct user *user, struct ask *ask)
{
    struct error e;
    unsigned before = ask->sents + ask->heads + ask->faileds;

    assert_int_equal(ask_try(user, ask, &e), OK);
    /* Never from within the call. */
    assert_int_equal(ask->sents + ask->heads + ask->faileds, before);
}

static void ask_run(struct user *user, struct ask *ask)
{
    ask_start(user, ask);
    loop_test_run(user->loop);
}

static void ask_fini(struct ask *ask)
{
    buf_fini(&ask->log);
    if (ask->arena.bytes_max > 0)
        arena_fini(&ask->arena);
    *ask = (struct ask){0};
}

static struct user *user_new(void)
{
    struct user *user = mem_new(sizeof(*user));

    user->loop = loop_test_new();
    const struct client_pool_options options = {
        .host = STR("up"),
        .port = 80,
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = IDLE_MS,
        .silence_timeout_ms = SILENCE_MS,
        .header_bytes_max = HEAD_MAX,
        .connections = &user->connections,
        .connections_max = CONNECTIONS_MAX,
        .connect = up_connect,
        .connect_ctx = user,
    };
    user->pool = client_pool_new(user->loop, &options);
    return user;
}

static void user_free(struct user *user)
{
    client_pool_free(&user->pool);
    /* Whatever happened, the count is exact. */
    assert_int_equal(atomic_load(&user->connections), 0);
    for (unsigned i = 0; i < user->upstream_n; i++) {
        conn_close(&user->upstreams[i].conn);
        buf_fini(&user->upstreams[i].in);
    }
    loop_test_free(&user->loop);
    mem_free(user);
}

static void assert_log(struct ask *ask, const char *expected)
{
    buf_add_char(&ask->log, '\0');
    assert_string_equal(ask->log.p, expected);
    ask->log.n--;
}

static bool has(const struct buf *buf, const char *what)
{
    return str_find(buf_str(buf), str_c(what), 0) != SIZE_MAX;
}

static size_t count(struct user *user)
{
    return atomic_load(&user->connections);
}

#define OK2        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OK_CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
#define OK2_LOG    "head 200 keep length=2\n  Content-Length=2\nbody ok\nend\n"

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
