/* SPDX-License-Identifier: MIT */
/*
 * TLS against a small server of OpenSSL's that is driven by its connection's events: over a pair
 * in memory, where every cut is exact and the clock stands still, and once over a socket.
 * Certificates are made here, for each run.
 */
#include "io/conn.h"

#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/io_probe_priv.h"
#include "io/tls_probe_priv.h"

enum { TIMEOUT_MS = 1000 };

/* ---- certificates ---- */

struct certs {
    struct identity ca;
    struct identity good;        /* good.test, 127.0.0.1 */
    struct identity expired;     /* good.test */
    struct identity future;      /* good.test, valid from tomorrow */
    struct identity self_signed; /* good.test */
    struct identity unknown_ca;
    struct identity foreign; /* good.test, of unknown_ca */
    struct identity middle;  /* a CA of ca's */
    struct identity deep;    /* good.test, of middle */
    struct identity common;  /* good.test in its subject only */
    char ca_path[TEMP_PATH_SIZE];
    struct tls_context *verifying;
    struct tls_context *trusting;
};

static struct certs certs;

static int certs_setup(void **state)
{
    struct error e;
    (void)state;

    certs.ca = identity_new("Test CA", NULL, NULL, DAY_S);
    certs.good = identity_new("good", &certs.ca, "DNS:good.test,IP:127.0.0.1", DAY_S);
    certs.expired = identity_new("expired", &certs.ca, "DNS:good.test", -DAY_S);
    certs.future = identity_new_between("future", &certs.ca, "DNS:good.test", DAY_S, 2 * DAY_S);
    certs.self_signed = identity_new("self", NULL, "DNS:good.test", DAY_S);
    certs.unknown_ca = identity_new("Unknown CA", NULL, NULL, DAY_S);
    certs.foreign = identity_new("foreign", &certs.unknown_ca, "DNS:good.test", DAY_S);
    certs.middle = identity_new("Middle CA", &certs.ca, NULL, DAY_S);
    certs.deep = identity_new("deep", &certs.middle, "DNS:good.test", DAY_S);
    certs.common = identity_new("good.test", &certs.ca, "IP:10.0.0.1", DAY_S);

    identity_write_cert(&certs.ca, certs.ca_path);
    assert_int_equal(tls_context_new(&(struct tls_options){.ca_file = str_c(certs.ca_path),
                                                           .verify = true},
                                     &certs.verifying, &e),
                     OK);
    assert_int_equal(tls_context_new(&(struct tls_options){.verify = false}, &certs.trusting, &e),
                     OK);
    return 0;
}

static int certs_teardown(void **state)
{
    (void)state;
    tls_context_unref(&certs.verifying);
    tls_context_unref(&certs.trusting);
    assert_null(certs.trusting);
    tls_context_unref(&certs.trusting);
    identity_free(&certs.ca);
    identity_free(&certs.good);
    identity_free(&certs.expired);
    identity_free(&certs.future);
    identity_free(&certs.self_signed);
    identity_free(&certs.unknown_ca);
    identity_free(&certs.foreign);
    identity_free(&certs.middle);
    identity_free(&certs.deep);
    identity_free(&certs.common);
    return unlink(certs.ca_path);
}

/* ---- the server ---- */

struct server {
    struct probe probe; /* over its connection, gets ciphertext */
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in;
    BIO *out;
    size_t sent;
    size_t sent_max; /* then the connection ends; SIZE_MAX: never */
    bool reset;      /* ends with a reset */
    bool echo;
    const char *greeting; /* sent together with the handshake's end */
    struct buf got;       /* plaintext */
    bool notified;        /* close_notify has come */
};

static void server_drain(struct server *server)
{
    char block[4096];
    int n = 0;

    while (server->probe.conn != NULL && (n = BIO_read(server->out, block, sizeof(block))) > 0) {
        struct str bytes = str_head(str_of(block, (size_t)n), server->sent_max - server->sent);
        (void)conn_write(server->probe.conn, &bytes, 1);
        server->sent += bytes.n;
        if (server->sent < server->sent_max)
            continue;
        if (server->reset)
            conn_mem_reset(server->probe.conn);
        else
            conn_close(&server->probe.conn);
        return;
    }
}

static void server_read(struct server *server)
{
    char block[4096];
    int n = 0;

    while ((n = SSL_read(server->ssl, block, sizeof(block))) > 0) {
        assert_true(buf_add(&server->got, str_of(block, (size_t)n)));
        if (server->echo)
            assert_int_equal(SSL_write(server->ssl, block, n), n);
    }
    server->notified = SSL_get_error(server->ssl, n) == SSL_ERROR_ZERO_RETURN;
}

static void server_step(struct probe *probe, char event)
{
    struct server *server = CONTAINER_OF(probe, struct server, probe);
    struct str bytes = buf_str(&probe->got);

    if (event != 'R')
        return;
    assert_int_equal(BIO_write(server->in, bytes.p, (int)bytes.n), (int)bytes.n);
    buf_reset(&probe->got);
    ERR_clear_error();
    bool was_open = SSL_is_init_finished(server->ssl) == 1;
    if (!was_open)
        (void)SSL_do_handshake(server->ssl);
    if (SSL_is_init_finished(server->ssl)) {
        if (!was_open && server->greeting != NULL)
            assert_true(SSL_write(server->ssl, server->greeting, (int)strlen(server->greeting)) >
                        0);
        server_read(server);
    }
    server_drain(server);
}

static int choose_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_n,
                       const unsigned char *in, unsigned in_n, void *ctx)
{
    static const unsigned char http[] = "\x08http/1.1";
    unsigned char *chosen = NULL;

    (void)ssl;
    (void)ctx;
    if (SSL_select_next_proto(&chosen, ret_n, http, sizeof(http) - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static void server_init(struct server *server, const struct identity *identity, int version_max)
{
    *server = (struct server){.sent_max = SIZE_MAX};
    buf_init(&server->got, (size_t)64 << 20);
    server->ctx = SSL_CTX_new(TLS_server_method());
    assert_int_equal(SSL_CTX_use_certificate(server->ctx, identity->cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(server->ctx, identity->key), 1);
    SSL_CTX_set_max_proto_version(server->ctx, version_max);
    SSL_CTX_set_alpn_select_cb(server->ctx, choose_alpn, NULL);
    server->ssl = SSL_new(server->ctx);
    server->in = BIO_new(BIO_s_mem());
    server->out = BIO_new(BIO_s_mem());
    SSL_set_bio(server->ssl, server->in, server->out);
    SSL_set_accept_state(server->ssl);
}

static void server_own(struct server *server, struct conn *conn)
{
    probe_own(&server->probe, conn);
    server->probe.on_event = server_step;
    conn_read_start(conn);
}

static void server_fini(struct server *server)
{
    probe_fini(&server->probe);
    buf_fini(&server->got);
    SSL_free(server->ssl);
    SSL_CTX_free(server->ctx);
}

/* ---- client and server over a pair ---- */

struct fixture {
    struct loop *loop;
    struct server server;
    struct probe client;
    struct conn *lower; /* of the client */
};

static void setup_version(struct fixture *f, const struct identity *identity, const char *host,
                          struct tls_context *context, int version_max)
{
    struct conn *server_end = NULL;
    const struct conn_target target = {.host = str_c(host),
                                       .port = 443,
                                       .tls = context,
                                       .connect_timeout_ms = TIMEOUT_MS};

    f->loop = loop_test_new();
    conn_pair(f->loop, &f->lower, &server_end);
    server_init(&f->server, identity, version_max);
    server_own(&f->server, server_end);
    probe_own(&f->client, conn_tls_client(f->lower, &target));
    f->client.ctx = f;
}

static void setup(struct fixture *f)
{
    setup_version(f, &certs.good, "good.test", certs.verifying, TLS1_3_VERSION);
}

static void start(struct fixture *f)
{
    conn_emit_connected(f->lower);
    loop_test_run(f->loop);
}

static void teardown(struct fixture *f)
{
    probe_fini(&f->client);
    server_fini(&f->server);
    loop_test_free(&f->loop);
}

/* ---- tests ---- */

static char *big_block(size_t n)
{
    char *block = mem_raw(n);

    for (size_t i = 0; i < n; i++)
        block[i] = (char)(i * 13 + i / 4091);
    return block;
}

/* Catches: records lost, joined wrongly or delivered before they are whole, for every split (the
 * bytes come one by one), in both versions; a missing SNI or ALPN. */
static void test_echo(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    static const size_t read_max[] = {0, 1, 7};
    struct fixture f;
    (void)state;

    for (size_t i = 0; i < COUNT_OF(versions) * COUNT_OF(read_max); i++) {
        setup_version(&f, &certs.good, "good.test", certs.verifying,
                      versions[i / COUNT_OF(read_max)]);
        conn_mem_read_max(f.lower, read_max[i % COUNT_OF(read_max)]);
        conn_mem_read_max(f.server.probe.conn, read_max[i % COUNT_OF(read_max)]);
        f.server.echo = true;
        start(&f);
        assert_string_equal(f.client.log, "C");
        const struct str parts[] = {STR("GET / "), STR_NULL, STR("HTTP/1.1\r\n\r\n")};
        assert_int_equal(conn_write(f.client.conn, parts, COUNT_OF(parts)), CONN_OK);
        conn_shutdown(f.client.conn);
        loop_test_run(f.loop);
        assert_true(f.server.notified);
        assert_true(str_eq(buf_str(&f.server.got), STR("GET / HTTP/1.1\r\n\r\n")));
        assert_true(str_eq(buf_str(&f.client.got), STR("GET / HTTP/1.1\r\n\r\n")));
        const unsigned char *alpn = NULL;
        unsigned alpn_n = 0;
        SSL_get0_alpn_selected(f.server.ssl, &alpn, &alpn_n);
        assert_int_equal(alpn_n, 8);
        assert_string_equal(SSL_get_servername(f.server.ssl, TLSEXT_NAMETYPE_host_name),
                            "good.test");
        assert_true(conn_is_tls(f.client.conn));
        assert_true(str_eq(conn_peer(f.client.conn), STR("memory")));
        SSL_shutdown(f.server.ssl);
        server_drain(&f.server);
        loop_test_run(f.loop);
        assert_string_equal(f.client.log, "CRE");
        teardown(&f);
    }
}

/* Catches: a certificate accepted that must not be, a refusal that does not say why. */
static void test_verification(void **state)
{
    const struct {
        const struct identity *identity;
        const char *host;
        const char *detail; /* NULL: accepted */
        struct tls_context *context;
    } cases[] = {
        {&certs.good, "good.test", NULL, certs.verifying},
        {&certs.good, "GOOD.test.", NULL, certs.verifying},
        {&certs.good, "127.0.0.1", NULL, certs.verifying},
        {&certs.good, "bad.test", "TLS: hostname mismatch (bad.test)", certs.verifying},
        {&certs.common, "good.test", "TLS: hostname mismatch (good.test)", certs.verifying},
        {&certs.good, "127.0.0.2", "TLS: IP address mismatch (127.0.0.2)", certs.verifying},
        {&certs.good, "[::1]", "TLS: IP address mismatch (::1)", certs.verifying},
        {&certs.expired, "good.test", "TLS: certificate has expired (good.test)", certs.verifying},
        {&certs.future, "good.test", "TLS: certificate is not yet valid (good.test)",
         certs.verifying},
        {&certs.self_signed, "good.test", "TLS: self-signed certificate (good.test)",
         certs.verifying},
        {&certs.foreign, "good.test", "TLS: unable to get local issuer certificate (good.test)",
         certs.verifying},
        {&certs.deep, "good.test", "TLS: unable to get local issuer certificate (good.test)",
         certs.verifying},
        {&certs.self_signed, "good.test", NULL, certs.trusting},
        {&certs.expired, "bad.test", NULL, certs.trusting},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;
        setup_version(&f, cases[i].identity, cases[i].host, cases[i].context, TLS1_3_VERSION);
        start(&f);
        if (cases[i].detail == NULL) {
            assert_string_equal(f.client.log, "C");
        } else {
            assert_string_equal(f.client.log, "F");
            assert_int_equal(f.client.error.code, ERR_UPSTREAM_UNREACHABLE);
            assert_string_equal(f.client.error.detail, cases[i].detail);
        }
        /* RFC 6066: no name for literal addresses. */
        if (cases[i].host[0] == '1')
            assert_null(SSL_get_servername(f.server.ssl, TLSEXT_NAMETYPE_host_name));
        teardown(&f);
    }
}

/* Catches: a chain that is not followed; a server that is too old taken, or not named as that. */
static void test_chains_and_versions(void **state)
{
    struct fixture f;
    (void)state;

    setup_version(&f, &certs.deep, "good.test", certs.verifying, TLS1_3_VERSION);
    assert_int_equal(SSL_add1_chain_cert(f.server.ssl, certs.middle.cert), 1);
    start(&f);
    assert_string_equal(f.client.log, "C");
    teardown(&f);

    setup_version(&f, &certs.good, "good.test", certs.verifying, TLS1_1_VERSION);
    SSL_set_security_level(f.server.ssl, 0);
    assert_int_equal(SSL_set_max_proto_version(f.server.ssl, TLS1_1_VERSION), 1);
    start(&f);
    assert_string_equal(f.client.log, "F");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_non_null(strstr(f.client.error.detail, "protocol version (good.test)"));
    teardown(&f);
}

static void connect_cut(size_t sent_max, bool reset, struct fixture *f)
{
    setup(f);
    f->server.sent_max = sent_max;
    f->server.reset = reset;
    start(f);
}

/* Catches: a handshake that hangs, crashes or "succeeds" when the stream is cut in it. */
static void test_cut_in_the_handshake(void **state)
{
    struct fixture f;
    (void)state;

    connect_cut(SIZE_MAX, false, &f);
    size_t whole = f.server.sent;
    teardown(&f);
    assert_true(whole > 500);
    /* The session tickets behind the handshake are not needed for it: cut well before them. */
    for (size_t cut = 1; cut < whole / 2; cut += cut < 12 ? 1 : 53) {
        connect_cut(cut, false, &f);
        assert_string_equal(f.client.log, "F");
        assert_int_equal(f.client.error.code, ERR_UPSTREAM_UNREACHABLE);
        assert_string_equal(f.client.error.detail,
                            "TLS: the connection was closed in the handshake (good.test)");
        teardown(&f);

        connect_cut(cut, true, &f);
        assert_string_equal(f.client.log, "F");
        assert_int_equal(f.client.error.code, ERR_UPSTREAM_UNREACHABLE);
        assert_string_equal(f.client.error.detail,
                            "TLS handshake: connection reset by peer (good.test)");
        teardown(&f);
    }
}

/* Catches: a handshake without end, a time-out that comes after `connected`. */
static void test_handshake_timeout(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    conn_read_stop(f.server.probe.conn);
    loop_test_advance(f.loop, 400); /* connecting took that long */
    start(&f);
    loop_test_advance(f.loop, TIMEOUT_MS - 401);
    assert_string_equal(f.client.log, "");
    loop_test_advance(f.loop, 1);
    assert_string_equal(f.client.log, "F");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_TIMEOUT);
    assert_string_equal(f.client.error.detail,
                        "no TLS handshake within 1000 ms (connect_timeout) (good.test)");
    teardown(&f);

    setup(&f);
    start(&f);
    loop_test_advance(f.loop, 10 * TIMEOUT_MS);
    assert_string_equal(f.client.log, "C");
    teardown(&f);
}

/* Catches: a server that does not speak TLS told as something else. */
static void test_not_tls(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    f.server.probe.on_event = NULL;
    (void)conn_write(f.server.probe.conn, &STR("HTTP/1.1 400 Bad Request\r\n\r\n"), 1);
    start(&f);
    assert_string_equal(f.client.log, "F");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_string_equal(f.client.error.detail, "TLS: wrong version number (good.test)");
    teardown(&f);
}

/* Catches: bytes that come with the handshake's end lost, or told to one who does not read. */
static void test_bytes_with_the_handshakes_end(void **state)
{
    struct fixture f;
    (void)state;

    for (int reads = 0; reads < 2; reads++) {
        /* In 1.2 the server has the last word of a handshake. */
        setup_version(&f, &certs.good, "good.test", certs.verifying, TLS1_2_VERSION);
        f.client.read_on_connect = reads == 1;
        f.server.greeting = "hello";
        (void)conn_write(f.client.conn, &STR("early "), 1);
        (void)conn_write(f.client.conn, &STR("bytes"), 1);
        assert_int_equal(conn_queued(f.client.conn), 11);
        start(&f);
        assert_true(str_eq(buf_str(&f.server.got), STR("early bytes")));
        assert_int_equal(conn_queued(f.client.conn), 0);
        if (reads == 0) {
            conn_close(&f.server.probe.conn);
            loop_test_run(f.loop);
            assert_string_equal(f.client.log, "C");
            conn_read_start(f.client.conn);
            assert_string_equal(f.client.log, "C");
            loop_test_run(f.loop);
            assert_string_equal(f.client.log, "CRF");
        }
        assert_true(str_eq(buf_str(&f.client.got), STR("hello")));
        teardown(&f);
    }
}

/* Catches: what was written and shut down before the handshake lost, or not held back. */
static void test_writing_before_the_handshake(void **state)
{
    enum { SIZE = 300 * 1000 };
    struct fixture f;
    char *block = big_block(SIZE);
    struct str rest = str_of(block, SIZE);
    (void)state;

    setup(&f);
    size_t taken = conn_write_some(f.client.conn, &rest, 1);
    assert_int_equal(taken, CONN_QUEUE_MARK);
    rest = str_from(rest, taken);
    assert_int_equal(conn_write_some(f.client.conn, &rest, 1), 0);
    start(&f);
    assert_string_equal(f.client.log, "CW");
    teardown(&f);

    setup(&f);
    conn_mem_window(f.lower, 1000);
    rest = str_of(block, SIZE);
    assert_int_equal(conn_write(f.client.conn, &rest, 1), CONN_FULL);
    conn_shutdown(f.client.conn);
    start(&f);
    assert_string_equal(f.client.log, "CW");
    assert_true(f.server.notified);
    assert_int_equal(f.server.got.n, SIZE);
    assert_memory_equal(f.server.got.p, block, SIZE);
    teardown(&f);
    mem_free(block);
}

static void stop_after_read(struct probe *probe, char event)
{
    if (event == 'R')
        conn_read_stop(probe->conn);
}

/* Catches: EOF told to one who does not read, or twice; an end that anybody may have made told as
 * the other side's own. */
static void test_eof(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f); /* without close_notify */
    start(&f);
    conn_close(&f.server.probe.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CF");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_BROKEN);
    assert_string_equal(f.client.error.detail, "TLS: the connection was cut (no close_notify)");
    teardown(&f);

    setup(&f); /* with it, in one piece with the last bytes; reading stops in between */
    f.client.on_event = stop_after_read;
    start(&f);
    assert_int_equal(SSL_write(f.server.ssl, "last", 4), 4);
    SSL_shutdown(f.server.ssl);
    server_drain(&f.server);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CR");
    conn_read_start(f.client.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CRE");
    /* Writing still works. */
    (void)conn_write(f.client.conn, &STR("still here"), 1);
    loop_test_run(f.loop);
    assert_true(str_eq(buf_str(&f.server.got), STR("still here")));
    teardown(&f);
}

/* Catches: a forged or damaged record delivered, or told as EOF. */
static void test_damaged_record(void **state)
{
    struct fixture f;
    char record[256];
    (void)state;

    setup(&f);
    start(&f);
    assert_int_equal(SSL_write(f.server.ssl, "secret", 6), 6);
    int n = BIO_read(f.server.out, record, sizeof(record));
    assert_true(n > 6);
    record[n - 1] ^= 1;
    const struct str bytes = str_of(record, (size_t)n);
    (void)conn_write(f.server.probe.conn, &bytes, 1);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CF");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_BROKEN);
    assert_string_equal(f.client.error.detail, "TLS: decryption failed or bad record mac");
    assert_int_equal(f.client.got.n, 0);
    assert_int_equal(conn_write(f.client.conn, &STR("nowhere"), 1), CONN_OK);
    teardown(&f);

    setup(&f);
    start(&f);
    conn_mem_reset(f.server.probe.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CF");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_BROKEN);
    teardown(&f);
}

/* Catches: large bodies cut at record or scratch bounds, marks that do not hold. */
static void test_large_bodies(void **state)
{
    enum { SIZE = 1000 * 1000 + 7 };
    struct fixture f;
    char *block = big_block(SIZE);
    struct str all = str_of(block, SIZE);
    (void)state;

    setup(&f);
    start(&f);
    conn_read_stop(f.server.probe.conn);
    /* Parts around the size of a record. */
    const struct str parts[] = {str_head(all, 16383), str_head(str_from(all, 16383), 2),
                                str_head(str_from(all, 16385), 16384), str_from(all, 32769)};
    assert_int_equal(conn_write(f.client.conn, parts, COUNT_OF(parts)), CONN_FULL);
    assert_true(conn_queued(f.client.conn) > CONN_QUEUE_MARK);
    f.server.echo = true;
    conn_read_start(f.server.probe.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CRWR"); /* answers come while the queue drains */
    assert_int_equal(conn_queued(f.client.conn), 0);
    assert_int_equal(f.server.got.n, SIZE);
    assert_memory_equal(f.server.got.p, block, SIZE);
    assert_int_equal(f.client.got.n, SIZE);
    assert_memory_equal(f.client.got.p, block, SIZE);
    teardown(&f);
    mem_free(block);
}

/* Catches: write_some that is not bounded, or after which `writable` does not come. */
static void test_write_some(void **state)
{
    enum { SIZE = 500 * 1000 };
    struct fixture f;
    char *block = big_block(SIZE);
    struct str rest = str_of(block, SIZE);
    size_t writables = 0;
    (void)state;

    setup(&f);
    start(&f);
    while (rest.n > 0) {
        conn_read_stop(f.server.probe.conn);
        size_t n = conn_write_some(f.client.conn, &rest, 1);
        assert_true(n > 0);
        assert_true(conn_queued(f.client.conn) <= CONN_QUEUE_MARK);
        rest = str_from(rest, n);
        if (rest.n > 0) {
            assert_int_equal(conn_write_some(f.client.conn, &rest, 1), 0);
            writables++;
        }
        conn_read_start(f.server.probe.conn);
        loop_test_run(f.loop);
        assert_int_equal(f.client.log_n, 1 + writables);
    }
    assert_true(writables >= 3);
    assert_int_equal(f.server.got.n, SIZE);
    assert_memory_equal(f.server.got.p, block, SIZE);
    teardown(&f);
    mem_free(block);
}

static void close_client(struct probe *probe, char event)
{
    (void)event;
    conn_close(&probe->conn);
}

/* Catches: use after free, a close without close_notify. */
static void test_close_within_events(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    f.client.on_event = close_client;
    start(&f);
    assert_string_equal(f.client.log, "C");
    assert_true(f.server.notified);
    teardown(&f);

    setup(&f);
    start(&f);
    f.client.on_event = close_client;
    assert_int_equal(SSL_write(f.server.ssl, "one", 3), 3);
    assert_int_equal(SSL_write(f.server.ssl, "two", 3), 3);
    SSL_shutdown(f.server.ssl);
    server_drain(&f.server);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CR");
    assert_true(str_eq(buf_str(&f.client.got), STR("onetwo")));
    teardown(&f);

    setup_version(&f, &certs.expired, "good.test", certs.verifying, TLS1_3_VERSION);
    f.client.on_event = close_client; /* within failed */
    start(&f);
    assert_string_equal(f.client.log, "F");
    teardown(&f);

    setup(&f); /* in the handshake, and with a reset */
    conn_emit_connected(f.lower);
    conn_reset(&f.client.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "");
    teardown(&f);
}

/* Catches: a name that cannot be verified, and then is not. */
static void test_name_too_long(void **state)
{
    struct fixture f;
    char host[301];
    (void)state;

    memset(host, 'a', sizeof(host));
    host[300] = '\0';
    setup_version(&f, &certs.good, host, certs.verifying, TLS1_3_VERSION);
    start(&f);
    assert_string_equal(f.client.log, "F");
    assert_int_equal(f.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_non_null(strstr(f.client.error.detail, "TLS: not a host name (aaa"));
    teardown(&f);
}

/* Catches: SSL_CERT_FILE that is not looked at, a broken one that is passed over. */
static void test_certificates_from_the_environment(void **state)
{
    const struct tls_options options = {.verify = true};
    struct tls_context *context = NULL;
    struct fixture f;
    struct error e;
    (void)state;

    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    assert_false(tls_context_reads_file(&options));
    assert_int_equal(setenv("SSL_CERT_FILE", "/no/such/file.pem", 1), 0);
    assert_true(tls_context_reads_file(&options));
    assert_false(tls_context_reads_file(&(struct tls_options){.verify = false}));
    assert_int_equal(tls_context_new(&options, &context, &e), ERR_CONFIG);
    assert_int_equal(setenv("SSL_CERT_FILE", certs.ca_path, 1), 0);
    assert_int_equal(tls_context_new(&options, &context, &e), OK);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    setup_version(&f, &certs.good, "good.test", context, TLS1_3_VERSION);
    start(&f);
    assert_string_equal(f.client.log, "C");
    teardown(&f);
    tls_context_unref(&context);

    /* Without it: the system's, which do not know the test's. */
    assert_int_equal(tls_context_new(&options, &context, &e), OK);
    setup_version(&f, &certs.good, "good.test", context, TLS1_3_VERSION);
    start(&f);
    assert_string_equal(f.client.log, "F");
    assert_string_equal(f.client.error.detail,
                        "TLS: unable to get local issuer certificate (good.test)");
    teardown(&f);
    tls_context_unref(&context);
}

/* Catches: the hashed directory that is not looked into, as the system's certificates are. */
static void test_hashed_directory(void **state)
{
    const struct tls_options options = {.verify = true};
    struct tls_context *context = NULL;
    char directory[] = "/tmp/conn_tls_test.XXXXXX";
    char file[64];
    struct fixture f;
    struct error e;
    (void)state;

    assert_non_null(mkdtemp(directory));
    (void)snprintf(file, sizeof(file), "%s/%08lx.0", directory,
                   X509_NAME_hash_ex(X509_get_subject_name(certs.ca.cert), NULL, NULL, NULL));
    assert_int_equal(setenv("SSL_CERT_DIR", directory, 1), 0);
    assert_int_equal(tls_context_new(&options, &context, &e), OK);
    assert_int_equal(unsetenv("SSL_CERT_DIR"), 0);
    for (int there = 0; there < 2; there++) {
        if (there == 1)
            assert_int_equal(symlink(certs.ca_path, file), 0);
        setup_version(&f, &certs.good, "good.test", context, TLS1_3_VERSION);
        start(&f);
        assert_string_equal(f.client.log, there == 1 ? "C" : "F");
        teardown(&f);
    }
    tls_context_unref(&context);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(directory), 0);
}

/* Catches: a fault in the file of certificates that is noticed only at the first request. */
static void test_context_errors(void **state)
{
    struct tls_context *context = NULL;
    struct error e;
    (void)state;

    assert_int_equal(tls_context_new(&(struct tls_options){.ca_file = STR("/no/such/file.pem"),
                                                           .verify = true},
                                     &context, &e),
                     ERR_CONFIG);
    assert_non_null(strstr(e.detail, "/no/such/file.pem"));
    assert_null(context);
}

static bool client_ended(struct world *world)
{
    const struct probe *client = &world->client;

    return client->log_n > 0 && strchr("EF", client->log[client->log_n - 1]) != NULL;
}

struct tls_world {
    struct world world;
    struct server server;
};

/* The world's server end becomes the TLS server's. */
static void hand_over(struct probe *probe, char event)
{
    struct world *world = probe->ctx;
    struct tls_world *both = CONTAINER_OF(world, struct tls_world, world);

    if (event != 'R')
        return;
    probe_own(&both->server.probe, probe->conn);
    both->server.probe.on_event = server_step;
    probe->conn = NULL;
    assert_true(buf_add(&both->server.probe.got, buf_str(&probe->got)));
    buf_fini(&probe->got);
    server_step(&both->server.probe, 'R');
}

static void end_after_echo(struct probe *probe, char event)
{
    struct tls_world *both = probe->ctx;

    if (event == 'C')
        (void)conn_write(probe->conn, &STR("over a socket"), 1);
    if (event == 'R' && probe->got.n == 13) {
        SSL_shutdown(both->server.ssl);
        server_drain(&both->server);
    }
}

/* Catches: what only a socket does: connecting first, refusals, closing while it connects. */
static void test_over_a_socket(void **state)
{
    struct tls_world both;
    struct world *world = &both.world;
    struct conn_target target = {.host = STR("127.0.0.1"),
                                 .tls = certs.verifying,
                                 .connect_timeout_ms = 5000};
    (void)state;

    world_init(world);
    server_init(&both.server, &certs.good, TLS1_3_VERSION);
    both.server.echo = true;
    world->server.on_event = hand_over;
    world->client.on_event = end_after_echo;
    world->client.ctx = &both;
    target.port = world->port;
    world->client.conn = conn_connect(world->loop, &target, &probe_events, &world->client);
    assert_true(world_run(world, client_ended, 5000));
    assert_string_equal(world->client.log, "CRE");
    assert_true(str_eq(buf_str(&world->client.got), STR("over a socket")));
    assert_true(conn_is_tls(world->client.conn));
    probe_fini(&world->client);

    probe_init(&world->client);
    target.port = 1;
    world->client.conn = conn_connect(world->loop, &target, &probe_events, &world->client);
    assert_true(world_run(world, client_ended, 5000));
    assert_string_equal(world->client.log, "F");
    assert_string_equal(world->client.error.detail, "connection refused (127.0.0.1:1)");
    conn_close(&world->client.conn);

    target.port = world->port;
    world->client.conn = conn_connect(world->loop, &target, &probe_events, &world->client);
    conn_close(&world->client.conn);
    server_fini(&both.server);
    world_fini(world);
}

/* ---- a message of TLS's own in several records ---- */

static int ticket_grow(SSL *ssl, void *ctx)
{
    static const char data[3000];

    (void)ctx;
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), data, sizeof(data));
}

/* A ticket in records of 512 bytes; `block` gets them, the first's length is returned. */
static size_t server_ticket(struct fixture *f, struct str *ret_records, char *block, size_t size)
{
    assert_int_equal(SSL_CTX_set_session_ticket_cb(f->server.ctx, ticket_grow, NULL, NULL), 1);
    assert_int_equal(SSL_set_max_send_fragment(f->server.ssl, 512), 1);
    assert_int_equal(SSL_new_session_ticket(f->server.ssl), 1);
    assert_int_equal(SSL_do_handshake(f->server.ssl), 1);
    int n = BIO_read(f->server.out, block, (int)size);
    assert_in_range(n, 3000, size - 1);
    *ret_records = str_of(block, (size_t)n);
    return 5 + ((size_t)(unsigned char)block[3] << 8 | (unsigned char)block[4]);
}

/* Catches: what is written while a ticket has come in part, taken for refused by OpenSSL; bytes
 * lost or out of order; a close_notify before them; `writable` that never comes. */
static void test_writing_within_a_ticket(void **state)
{
    char *large = big_block(200000);
    const struct str get = STR("GET / HTTP/1.1\r\n\r\n");
    char block[8192];
    struct fixture f;
    struct str records;
    (void)state;

    setup(&f);
    start(&f);
    size_t first = server_ticket(&f, &records, block, sizeof(block));
    const struct str begin = str_head(records, first);
    const struct str end = str_from(records, first);
    (void)conn_write(f.server.probe.conn, &begin, 1);
    loop_test_run(f.loop);
    assert_int_equal(conn_write(f.client.conn, &get, 1), CONN_OK);
    assert_int_equal(conn_queued(f.client.conn), get.n);
    const struct str much = str_of(large, 200000);
    size_t taken = conn_write_some(f.client.conn, &much, 1);
    assert_int_equal(taken, CONN_QUEUE_MARK - get.n);
    loop_test_run(f.loop);
    assert_int_equal(f.server.got.n, 0);
    assert_string_equal(f.client.log, "C");
    (void)conn_write(f.server.probe.conn, &end, 1);
    loop_test_run(f.loop);
    assert_string_equal(f.client.log, "CW");
    const struct str rest = str_from(much, taken);
    (void)conn_write(f.client.conn, &rest, 1);
    loop_test_run(f.loop);
    assert_true(str_starts(buf_str(&f.server.got), get));
    assert_true(str_eq(str_from(buf_str(&f.server.got), get.n), much));

    /* The same, and the end behind it. */
    buf_reset(&f.server.got);
    (void)server_ticket(&f, &records, block, sizeof(block));
    const struct str again = str_head(records, first);
    (void)conn_write(f.server.probe.conn, &again, 1);
    loop_test_run(f.loop);
    (void)conn_write(f.client.conn, &get, 1);
    conn_shutdown(f.client.conn);
    loop_test_run(f.loop);
    assert_false(f.server.notified);
    const struct str last = str_from(records, first);
    (void)conn_write(f.server.probe.conn, &last, 1);
    loop_test_run(f.loop);
    assert_true(str_eq(buf_str(&f.server.got), get));
    assert_true(f.server.notified);
    teardown(&f);

    /* Closed meanwhile. */
    setup(&f);
    start(&f);
    first = server_ticket(&f, &records, block, sizeof(block));
    const struct str part = str_head(records, first);
    (void)conn_write(f.server.probe.conn, &part, 1);
    loop_test_run(f.loop);
    (void)conn_write(f.client.conn, &get, 1);
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_int_equal(f.server.got.n, 0);
    teardown(&f);
    mem_free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_verification),
        cmocka_unit_test(test_chains_and_versions),
        cmocka_unit_test(test_cut_in_the_handshake),
        cmocka_unit_test(test_handshake_timeout),
        cmocka_unit_test(test_not_tls),
        cmocka_unit_test(test_bytes_with_the_handshakes_end),
        cmocka_unit_test(test_writing_before_the_handshake),
        cmocka_unit_test(test_eof),
        cmocka_unit_test(test_damaged_record),
        cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_write_some),
        cmocka_unit_test(test_writing_within_a_ticket),
        cmocka_unit_test(test_close_within_events),
        cmocka_unit_test(test_name_too_long),
        cmocka_unit_test(test_certificates_from_the_environment),
        cmocka_unit_test(test_hashed_directory),
        cmocka_unit_test(test_context_errors),
        cmocka_unit_test(test_over_a_socket),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
