/* SPDX-License-Identifier: MIT */
/*
 * TLS over connections that stand: servers and clients of ours against each other, TLS within TLS,
 * and what a server meets: clients that speak something else, leave, or never come to an end. Over
 * pairs in memory, where every cut is exact.
 */
#include "io/conn.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/tls_probe_priv.h"

static struct {
    struct identity ca;
    struct identity good;
    struct tls_context *server; /* good.test */
    struct tls_context *proxy;  /* proxy.test */
    struct tls_context *client;
} world;

static int world_setup(void **state)
{
    (void)state;
    world.ca = identity_new("Test CA", NULL, NULL, DAY_S);
    world.good = identity_new("good", &world.ca, "DNS:good.test,IP:127.0.0.1", DAY_S);
    struct identity proxy = identity_new("proxy", &world.ca, "DNS:proxy.test", DAY_S);
    world.server = tls_probe_server(&world.good);
    world.proxy = tls_probe_server(&proxy);
    world.client = tls_probe_client(&world.ca);
    identity_free(&proxy);
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    tls_context_unref(&world.server);
    tls_context_unref(&world.proxy);
    tls_context_unref(&world.client);
    identity_free(&world.ca);
    identity_free(&world.good);
    return 0;
}

static void open_good(struct pair *p)
{
    p->loop = loop_test_new();
    pair_open(p, world.client, world.server, "good.test", TLS_PROBE_PORT);
}

static void close_all(struct pair *p)
{
    pair_close(p);
    loop_test_free(&p->loop);
}

/* ---- both ends ours ---- */

/* Catches: either side's handshake, records or end not understood by the other; an event within
 * conn_secure; an end without close_notify. */
static void test_client_and_server(void **state)
{
    static const size_t read_max[] = {0, 1, 7};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(read_max); i++) {
        struct pair p;
        open_good(&p);
        conn_mem_read_max(p.client_lower, read_max[i]);
        conn_mem_read_max(p.server_lower, read_max[i]);
        (void)conn_write(p.client.conn, &STR("early"), 1);
        loop_test_run(p.loop);
        assert_string_equal(p.client.log, "C");
        assert_string_equal(p.server.log, "CR");
        assert_true(str_eq(buf_str(&p.server.got), STR("early")));
        assert_true(conn_is_tls(p.server.conn));
        (void)conn_write(p.server.conn, &STR("answer"), 1);
        conn_shutdown(p.server.conn);
        loop_test_run(p.loop);
        assert_string_equal(p.client.log, "CRE");
        assert_true(str_eq(buf_str(&p.client.got), STR("answer")));
        conn_close(&p.client.conn);
        loop_test_run(p.loop);
        assert_string_equal(p.server.log, "CRE");
        close_all(&p);
    }
}

/* Catches: a client that nobody reads from, and who leaves unseen: with leave (close_notify, which
 * the stream's end follows) or without. */
static void test_left_while_nobody_reads(void **state)
{
    (void)state;

    for (int how = 0; how < 2; how++) {
        struct pair p;
        open_good(&p);
        loop_test_run(p.loop);
        conn_read_stop(p.server.conn);
        (void)conn_write(p.client.conn, &STR("unread"), 1);
        loop_test_run(p.loop);
        assert_false(conn_has_left(p.server.conn));
        if (how == 0)
            conn_shutdown(p.client.conn);
        else
            conn_close(&p.client.conn);
        loop_test_run(p.loop);
        assert_true(conn_has_left(p.server.conn));
        assert_string_equal(p.server.log, "C");
        close_all(&p);
    }
}

/* Makes TLS over the TLS of an open pair. */
static void nest(struct pair *p)
{
    p->loop = loop_test_new();
    pair_open(p, world.client, world.proxy, "proxy.test", TLS_PROBE_PORT);
    loop_test_run(p->loop);
    assert_string_equal(p->client.log, "C");
    assert_string_equal(p->server.log, "C");
    struct conn *client_end = p->client.conn;
    struct conn *server_end = p->server.conn;
    pair_secure(&p->client, client_end,
                &(struct conn_secure_options){.tls = world.client,
                                              .host = STR("good.test"),
                                              .port = TLS_PROBE_PORT});
    pair_secure(&p->server, server_end, &(struct conn_secure_options){.tls = world.server});
}

static char *big_block(size_t n)
{
    char *block = mem_raw(n);

    for (size_t i = 0; i < n; i++)
        block[i] = (char)(i * 7 + i / 1021);
    return block;
}

/* Catches: the scratch of one layer used by another, bytes or `writable` lost between layers. */
static void test_tls_within_tls(void **state)
{
    enum { SIZE = 700 * 1000 };
    char *block = big_block(SIZE);
    const struct str all = str_of(block, SIZE);
    struct pair p;
    (void)state;

    nest(&p);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "C");
    assert_string_equal(p.server.log, "C");
    conn_read_stop(p.server.conn);
    assert_int_equal(conn_write(p.client.conn, &all, 1), CONN_FULL);
    (void)conn_write(p.server.conn, &all, 1);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "CR");
    conn_read_start(p.server.conn);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "CRW");
    assert_int_equal(p.server.got.n, SIZE);
    assert_memory_equal(p.server.got.p, block, SIZE);
    assert_int_equal(p.client.got.n, SIZE);
    assert_memory_equal(p.client.got.p, block, SIZE);

    /* Piece by piece, while the other side takes nothing: `writable` comes through both layers. */
    struct str rest = all;
    buf_reset(&p.server.got);
    while (rest.n > 0) {
        size_t log_n = p.client.log_n;
        conn_read_stop(p.server.conn);
        rest = str_from(rest, conn_write_some(p.client.conn, &rest, 1));
        conn_read_start(p.server.conn);
        loop_test_run(p.loop);
        assert_true(rest.n == 0 || p.client.log_n == log_n + 1);
    }
    assert_int_equal(p.server.got.n, SIZE);
    assert_memory_equal(p.server.got.p, block, SIZE);
    conn_shutdown(p.client.conn);
    loop_test_run(p.loop);
    assert_int_equal(p.server.log[p.server.log_n - 1], 'E');
    close_all(&p);
    mem_free(block);
}

/* Catches: `writable` that waits for a small queue below, which nobody was told to watch. */
static void test_writable_through_a_small_window(void **state)
{
    enum { SIZE = 200 * 1000 };
    char *block = big_block(SIZE);
    struct str rest = str_of(block, SIZE);
    struct pair p;
    (void)state;

    nest(&p);
    loop_test_run(p.loop);
    conn_mem_window(p.client_lower, 100);
    for (int i = 0; rest.n > 0 && i < 1000; i++) {
        rest = str_from(rest, conn_write_some(p.client.conn, &rest, 1));
        p.client.log_n = 0;
        loop_test_run(p.loop);
        assert_true(rest.n == 0 || p.client.log_n == 1);
    }
    assert_int_equal(rest.n, 0);
    assert_int_equal(p.server.got.n, SIZE);
    assert_memory_equal(p.server.got.p, block, SIZE);
    close_all(&p);
    mem_free(block);
}

static void close_probe(struct probe *probe, char event)
{
    (void)event;
    conn_close(&probe->conn);
}

/* Catches: use after free when the inner layer goes within an event of the outer one. */
static void test_closing_within_layers(void **state)
{
    struct pair p;
    (void)state;

    for (int turn = 0; turn < 3; turn++) {
        nest(&p);
        if (turn > 0)
            p.client.on_event = close_probe; /* connected */
        if (turn > 1)
            p.server.on_event = close_probe;
        if (turn == 0)
            conn_close(&p.client.conn); /* before the first byte */
        loop_test_run(p.loop);
        assert_null(p.client.conn);
        close_all(&p);
    }

    nest(&p);
    loop_test_run(p.loop);
    p.server.on_event = close_probe; /* read */
    (void)conn_write(p.client.conn, &STR("x"), 1);
    loop_test_run(p.loop);
    assert_null(p.server.conn);
    assert_string_equal(p.client.log, "CE");
    close_all(&p);

    nest(&p);
    loop_test_run(p.loop);
    conn_reset(&p.server.conn);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "CF");
    assert_int_equal(p.client.error.code, ERR_UPSTREAM_BROKEN);
    close_all(&p);
}

/* Catches: the inner handshake without a time-out, or told as the outer one's. */
static void test_timeout_of_the_inner_handshake(void **state)
{
    struct pair p;
    (void)state;

    nest(&p);
    conn_close(&p.server.conn);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "F");
    assert_int_equal(p.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_non_null(strstr(p.client.error.detail, "(good.test)"));
    close_all(&p);

    p.loop = loop_test_new();
    pair_open(&p, world.client, world.server, "good.test", TLS_PROBE_PORT);
    conn_mem_window(p.server_lower, 0); /* nothing comes back */
    loop_test_run(p.loop);
    loop_test_advance(p.loop, TLS_PROBE_TIMEOUT_MS - 1);
    assert_string_equal(p.client.log, "");
    assert_string_equal(p.server.log, "");
    loop_test_advance(p.loop, 1);
    assert_string_equal(p.client.log, "F");
    assert_string_equal(p.server.log, "F");
    assert_int_equal(p.server.error.code, ERR_UPSTREAM_TIMEOUT);
    assert_string_equal(p.server.error.detail, "no TLS handshake within 1000 ms (memory)");
    close_all(&p);
}

/* Catches: an owner whose time was over already, when it came to TLS, and who dies of it. */
static void test_no_time_left(void **state)
{
    const struct conn_secure_options options = {.tls = world.client, .host = STR("good.test")};
    struct pair p = {.loop = loop_test_new()};
    (void)state;

    conn_pair(p.loop, &p.client_lower, &p.server_lower);
    probe_own(&p.server, p.server_lower);
    probe_init(&p.client);
    p.client.conn = conn_secure(&p.client_lower, &options, &probe_events, &p.client);
    assert_string_equal(p.client.log, "");
    loop_test_advance(p.loop, 1);
    assert_string_equal(p.client.log, "F");
    assert_int_equal(p.client.error.code, ERR_UPSTREAM_TIMEOUT);
    close_all(&p);
}

/* ---- a handshake that is cut ---- */

/* Between client and server: hands over up to `left` bytes of the client's, then the end. */
struct relay {
    struct pair pair;
    struct probe to_client;
    struct probe to_server;
    size_t left;
    size_t passed;
    bool reset;
};

static void relay_from_client(struct probe *probe, char event)
{
    struct relay *relay = probe->ctx;
    struct str bytes = str_head(buf_str(&probe->got), relay->left);

    if (event != 'R' || relay->to_server.conn == NULL)
        return;
    relay->left -= bytes.n;
    relay->passed += bytes.n;
    (void)conn_write(relay->to_server.conn, &bytes, 1);
    buf_reset(&probe->got);
    if (relay->left > 0)
        return;
    if (relay->reset)
        conn_reset(&relay->to_server.conn);
    else
        conn_close(&relay->to_server.conn);
}

static void relay_from_server(struct probe *probe, char event)
{
    struct relay *relay = probe->ctx;
    const struct str bytes = buf_str(&probe->got);

    if (event == 'R' && relay->to_client.conn != NULL)
        (void)conn_write(relay->to_client.conn, &bytes, 1);
    buf_reset(&probe->got);
}

static void relay_run(struct relay *relay, size_t left, bool reset, int version)
{
    struct pair *p = &relay->pair;
    struct conn *client_end = NULL;
    struct conn *server_end = NULL;

    *relay = (struct relay){.left = left, .reset = reset};
    p->loop = loop_test_new();
    SSL_CTX_set_max_proto_version(world.server->ctx, version);
    conn_pair(p->loop, &p->client_lower, &client_end);
    conn_pair(p->loop, &p->server_lower, &server_end);
    pair_secure(&p->client, p->client_lower,
                &(struct conn_secure_options){.tls = world.client, .host = STR("good.test")});
    pair_secure(&p->server, p->server_lower, &(struct conn_secure_options){.tls = world.server});
    probe_own(&relay->to_client, client_end);
    probe_own(&relay->to_server, server_end);
    relay->to_client.on_event = relay_from_client;
    relay->to_server.on_event = relay_from_server;
    relay->to_client.ctx = relay;
    relay->to_server.ctx = relay;
    conn_read_start(client_end);
    conn_read_start(server_end);
    loop_test_run(p->loop);
    SSL_CTX_set_max_proto_version(world.server->ctx, 0);
}

static void relay_end(struct relay *relay)
{
    probe_fini(&relay->to_client);
    probe_fini(&relay->to_server);
    close_all(&relay->pair);
}

/* Catches: a server that hangs, crashes or believes when the client's side ends within the
 * handshake, at whatever byte. */
static void test_client_leaves_in_the_handshake(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct relay relay;
    (void)state;

    for (size_t v = 0; v < COUNT_OF(versions); v++) {
        relay_run(&relay, SIZE_MAX, false, versions[v]);
        assert_string_equal(relay.pair.server.log, "C");
        size_t whole = relay.passed;
        relay_end(&relay);
        assert_true(whole > 250);
        for (size_t cut = 1; cut <= whole; cut++) {
            bool reset = cut % 2 == 0;
            relay_run(&relay, cut, reset, versions[v]);
            const struct probe *server = &relay.pair.server;
            assert_string_equal(server->log, cut < whole ? "F" : "CF");
            assert_int_equal(server->error.code,
                             cut < whole ? ERR_UPSTREAM_UNREACHABLE : ERR_UPSTREAM_BROKEN);
            relay_end(&relay);
        }
    }
}

/* ---- strangers ---- */

static const struct conn_secure_options *serving(struct str plain_answer)
{
    static struct conn_secure_options options;

    options = (struct conn_secure_options){.tls = world.server, .plain_answer = plain_answer};
    return &options;
}

/* The server against raw bytes: what it says is in p->client.got. */
static void open_raw(struct pair *p, struct str bytes, struct str plain_answer)
{
    p->loop = loop_test_new();
    conn_pair(p->loop, &p->client_lower, &p->server_lower);
    pair_secure(&p->server, p->server_lower, serving(plain_answer));
    probe_own(&p->client, p->client_lower);
    conn_read_start(p->client.conn);
    (void)conn_write(p->client.conn, &bytes, 1);
    loop_test_run(p->loop);
}

/* Catches: HTTP spoken to the TLS port that hangs or gets an alert that it cannot read. */
static void test_plain_http(void **state)
{
    static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                           "POST /v1 HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.0\r\n\r\n",
                                           "PUT / HTTP/1.1\r\n\r\n"};
    struct pair p;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        open_raw(&p, str_c(requests[i]), STR("HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert_string_equal(p.server.log, "F");
        assert_string_equal(p.server.error.detail,
                            "TLS: the client speaks HTTP without TLS (memory)");
        assert_true(str_eq(buf_str(&p.client.got), STR("HTTP/1.1 400 Bad Request\r\n\r\n")));
        close_all(&p);
    }
    open_raw(&p, str_c(requests[0]), STR_NULL);
    assert_string_equal(p.server.log, "F");
    assert_int_equal(p.client.got.n, 0);
    close_all(&p);
}

/* Catches: bytes that are no handshake and are waited on, or crash it. */
static void test_garbage(void **state)
{
    static const struct str garbage[] = {
        {.p = "\0\0\0\0\0\0", .n = 6},
        {.p = "SSH-2.0-OpenSSH\r\n", .n = 17},
        {.p = "\x16\x03\x01\xff\xff\x01", .n = 6},             /* a record too long */
        {.p = "\x16\x03\x01\x00\x04\x02\0\0\0", .n = 9},       /* a server's hello */
        {.p = "\x15\x03\x01\x00\x02\x02\x28", .n = 7},         /* an alert */
        {.p = "\x17\x03\x03\x00\x01x", .n = 6},                /* data before a handshake */
        {.p = "\x16\x03\x01\x00\x00", .n = 5},                 /* an empty record */
        {.p = "\x16\x03\x01\x00\x04\x01\xff\xff\xff", .n = 9}, /* a hello of 16 MB */
        {.p = "\x80\x2e\x01\x00\x02\x00\x15", .n = 7},         /* SSL 2 */
    };
    struct pair p;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(garbage); i++) {
        open_raw(&p, garbage[i], STR("never said"));
        if (p.server.log_n == 0) /* it may yet become something */
            conn_close(&p.client.conn);
        loop_test_run(p.loop);
        assert_string_equal(p.server.log, "F");
        assert_int_equal(p.server.error.code, ERR_UPSTREAM_UNREACHABLE);
        assert_int_equal(str_find(buf_str(&p.client.got), STR("never"), 0), SIZE_MAX);
        close_all(&p);
    }
}

/* A hello of n bytes in records of `step`, its head cut anywhere. */
static bool feed_hello(size_t n, size_t step, size_t cut)
{
    struct tls_hello hello = {.record_n = 0};
    const size_t whole = n + 4;
    bool ok = true;

    for (size_t at = 0; at < whole && ok; at += step) {
        size_t size = whole - at < step ? whole - at : step;
        char record[5 + 4096] = {22, 3, 1, (char)(size >> 8), (char)size};
        const char head[4] = {1, (char)(n >> 16), (char)(n >> 8), (char)n};
        for (size_t i = 0; i < size && at + i < 4; i++)
            record[5 + i] = head[at + i];
        for (size_t i = 0; i < 5 + size && ok; i += cut)
            ok = tls_hello_feed(&hello,
                                str_of(record + i, cut < 5 + size - i ? cut : 5 + size - i));
    }
    return ok;
}

/* Catches: a bound on the hello that is off by one, or that records or cuts get around. */
static void test_length_of_a_hello(void **state)
{
    static const size_t steps[] = {1, 3, 5, 100, 4096};
    static const size_t cuts[] = {1, 2, 7, 8192};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(steps) * COUNT_OF(cuts); i++) {
        size_t step = steps[i / COUNT_OF(cuts)];
        size_t cut = cuts[i % COUNT_OF(cuts)];
        assert_true(feed_hello(16 * 1024, step, cut));
        assert_false(feed_hello(16 * 1024 + 1, step, cut));
        assert_false(feed_hello(0xffffff, step, cut));
    }

    struct pair p;
    open_raw(&p, str_of("\x16\x03\x01\x00\x04\x01\x00\x40\x00", 9), STR_NULL);
    assert_string_equal(p.server.log, ""); /* it may come */
    close_all(&p);
    open_raw(&p, str_of("\x16\x03\x01\x00\x04\x01\x00\x40\x01", 9), STR_NULL);
    assert_string_equal(p.server.log, "F");
    assert_string_equal(p.server.error.detail, "TLS: the client's hello is too long (memory)");
    close_all(&p);
}

/* ---- a client of OpenSSL's ---- */

struct stranger {
    struct pair pair; /* the server and the raw end */
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in;
    BIO *out;
    struct buf got;
};

static void stranger_step(struct probe *probe, char event)
{
    struct stranger *s = probe->ctx;
    char block[4096];
    int n = 0;

    if (event == 'R') {
        (void)BIO_write(s->in, probe->got.p, (int)probe->got.n);
        buf_reset(&probe->got);
    }
    ERR_clear_error();
    while ((n = SSL_read(s->ssl, block, sizeof(block))) > 0)
        assert_true(buf_add(&s->got, str_of(block, (size_t)n)));
    ERR_clear_error();
    while ((n = BIO_read(s->out, block, sizeof(block))) > 0) {
        const struct str bytes = str_of(block, (size_t)n);
        if (probe->conn != NULL)
            (void)conn_write(probe->conn, &bytes, 1);
    }
}

static void stranger_open(struct stranger *s)
{
    struct pair *p = &s->pair;

    *s = (struct stranger){.ctx = SSL_CTX_new(TLS_client_method())};
    SSL_CTX_set_security_level(s->ctx, 0);
    buf_init(&s->got, 1 << 20);
    p->loop = loop_test_new();
    conn_pair(p->loop, &p->client_lower, &p->server_lower);
    pair_secure(&p->server, p->server_lower, serving(STR_NULL));
    probe_own(&p->client, p->client_lower);
    p->client.ctx = s;
    p->client.on_event = stranger_step;
}

static void stranger_run(struct stranger *s)
{
    s->ssl = SSL_new(s->ctx);
    s->in = BIO_new(BIO_s_mem());
    s->out = BIO_new(BIO_s_mem());
    BIO_set_mem_eof_return(s->in, -1);
    SSL_set_bio(s->ssl, s->in, s->out);
    SSL_set_connect_state(s->ssl);
    conn_read_start(s->pair.client.conn);
    stranger_step(&s->pair.client, 'C');
    loop_test_run(s->pair.loop);
}

static void stranger_end(struct stranger *s)
{
    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
    buf_fini(&s->got);
    close_all(&s->pair);
}

/* Catches: an old version, a weak cipher or a foreign protocol that is let in. */
static void test_what_is_offered(void **state)
{
    static const struct {
        int version;
        const char *ciphers; /* of TLS 1.2; NULL: the usual ones */
        const char *alpn;
        const char *why; /* of a refusal; NULL: none */
    } cases[] = {
        {TLS1_3_VERSION, NULL, NULL, NULL},
        {TLS1_2_VERSION, NULL, "\x08http/1.1", NULL},
        {TLS1_3_VERSION, NULL, "\x02h2\x08http/1.1", NULL},
        {TLS1_3_VERSION, NULL, "\x02h2", "TLS: no application protocol (memory)"},
        {TLS1_1_VERSION, NULL, NULL, "TLS: unsupported protocol (memory)"},
        {TLS1_VERSION, NULL, NULL, "TLS: unsupported protocol (memory)"},
        {TLS1_2_VERSION, "AES128-GCM-SHA256", NULL, "TLS: no shared cipher (memory)"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA", NULL, "TLS: no shared cipher (memory)"},
    };
    struct stranger s;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        stranger_open(&s);
        SSL_CTX_set_min_proto_version(s.ctx, cases[i].version);
        SSL_CTX_set_max_proto_version(s.ctx, cases[i].version);
        if (cases[i].ciphers != NULL)
            assert_int_equal(SSL_CTX_set_cipher_list(s.ctx, cases[i].ciphers), 1);
        if (cases[i].alpn != NULL)
            (void)SSL_CTX_set_alpn_protos(s.ctx, (const unsigned char *)cases[i].alpn,
                                          (unsigned)strlen(cases[i].alpn));
        stranger_run(&s);
        assert_string_equal(s.pair.server.log, cases[i].why == NULL ? "C" : "F");
        if (cases[i].why != NULL)
            assert_string_equal(s.pair.server.error.detail, cases[i].why);
        const unsigned char *chosen = NULL;
        unsigned n = 0;
        SSL_get0_alpn_selected(s.ssl, &chosen, &n);
        assert_int_equal(n, cases[i].why == NULL && cases[i].alpn != NULL ? 8 : 0);
        stranger_end(&s);
    }
}

/* Catches: a second hello, after a HelloRetryRequest, that is refused. */
static void test_retried_hello(void **state)
{
    char only[] = "P-384";
    char both[] = "X25519:P-384";
    char all[] = "X25519:P-256:P-384";
    struct stranger s;
    (void)state;

    SSL_CTX_set1_groups_list(world.server->ctx, only);
    stranger_open(&s);
    assert_int_equal(SSL_CTX_set1_groups_list(s.ctx, both), 1);
    stranger_run(&s);
    assert_string_equal(s.pair.server.log, "C");
    assert_int_equal(SSL_version(s.ssl), TLS1_3_VERSION);
    stranger_end(&s);
    SSL_CTX_set1_groups_list(world.server->ctx, all);
}

/* Catches: a renegotiation that is entered. */
static void test_no_renegotiation(void **state)
{
    struct stranger s;
    (void)state;

    stranger_open(&s);
    SSL_CTX_set_max_proto_version(s.ctx, TLS1_2_VERSION);
    stranger_run(&s);
    assert_string_equal(s.pair.server.log, "C");
    assert_int_equal(SSL_renegotiate(s.ssl), 1);
    (void)SSL_do_handshake(s.ssl);
    stranger_step(&s.pair.client, 'C');
    loop_test_run(s.pair.loop);
    /* It was told no, and gave up. */
    assert_string_equal(s.pair.server.log, "CF");
    assert_string_equal(s.pair.server.error.detail, "TLS: sslv3 alert handshake failure");
    stranger_end(&s);
}

/* Catches: memory that a client makes us spend by asking for key updates and reading none. */
static void test_key_updates_that_nobody_reads(void **state)
{
    struct stranger s;
    size_t asked = 0;
    (void)state;

    stranger_open(&s);
    stranger_run(&s);
    assert_string_equal(s.pair.server.log, "C");
    /* Who reads may ask as often as it likes. */
    for (int i = 0; i < 2000; i++) {
        assert_int_equal(SSL_key_update(s.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        (void)SSL_do_handshake(s.ssl);
        stranger_step(&s.pair.client, 'C');
        loop_test_run(s.pair.loop);
        assert_string_equal(s.pair.server.log, "C");
    }
    conn_read_stop(s.pair.client.conn);
    conn_mem_window(s.pair.server_lower, 0);
    while (s.pair.server.log_n == 1 && asked < 10000) {
        assert_int_equal(SSL_key_update(s.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        (void)SSL_do_handshake(s.ssl);
        stranger_step(&s.pair.client, 'C');
        loop_test_run(s.pair.loop);
        asked++;
    }
    assert_string_equal(s.pair.server.log, "CF");
    assert_string_equal(s.pair.server.error.detail,
                        "TLS: the other side asks for much and takes nothing");
    assert_true(asked > 100 && asked < 1000);
    stranger_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_and_server),
        cmocka_unit_test(test_left_while_nobody_reads),
        cmocka_unit_test(test_tls_within_tls),
        cmocka_unit_test(test_writable_through_a_small_window),
        cmocka_unit_test(test_closing_within_layers),
        cmocka_unit_test(test_timeout_of_the_inner_handshake),
        cmocka_unit_test(test_no_time_left),
        cmocka_unit_test(test_client_leaves_in_the_handshake),
        cmocka_unit_test(test_plain_http),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_length_of_a_hello),
        cmocka_unit_test(test_retried_hello),
        cmocka_unit_test(test_what_is_offered),
        cmocka_unit_test(test_no_renegotiation),
        cmocka_unit_test(test_key_updates_that_nobody_reads),
    };

    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
