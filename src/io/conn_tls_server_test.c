/* SPDX-License-Identifier: MIT */
/*
 * TLS over connections that stand, servers and clients of ours against each other, and TLS within
 * TLS; sessions that are resumed, and those that must not be. Over pairs in memory.
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

enum { TIMEOUT_MS = 1000, PORT = 443 };

struct certs {
    struct identity ca;
    struct identity good;  /* good.test, other.test, 127.0.0.1 */
    struct identity proxy; /* proxy.test */
    char ca_path[TEMP_PATH_SIZE];
    char good_path[TEMP_PATH_SIZE];
    char good_key_path[TEMP_PATH_SIZE];
    char proxy_path[TEMP_PATH_SIZE];
    char proxy_key_path[TEMP_PATH_SIZE];
};

static struct certs certs;

static int certs_setup(void **state)
{
    (void)state;
    certs.ca = identity_new("Test CA", NULL, NULL, DAY_S);
    certs.good = identity_new("good", &certs.ca, "DNS:good.test,DNS:other.test,IP:127.0.0.1",
                              DAY_S);
    certs.proxy = identity_new("proxy", &certs.ca, "DNS:proxy.test", DAY_S);
    identity_write_cert(&certs.ca, certs.ca_path);
    identity_write_cert(&certs.good, certs.good_path);
    identity_write_key(&certs.good, certs.good_key_path);
    identity_write_cert(&certs.proxy, certs.proxy_path);
    identity_write_key(&certs.proxy, certs.proxy_key_path);
    return 0;
}

static int certs_teardown(void **state)
{
    (void)state;
    (void)unlink(certs.ca_path);
    (void)unlink(certs.good_path);
    (void)unlink(certs.good_key_path);
    (void)unlink(certs.proxy_path);
    (void)unlink(certs.proxy_key_path);
    identity_free(&certs.ca);
    identity_free(&certs.good);
    identity_free(&certs.proxy);
    return 0;
}

static struct tls_context *server_context(void)
{
    struct tls_context *context = NULL;
    struct error e;

    assert_int_equal(tls_server_new(str_c(certs.good_path), str_c(certs.good_key_path), &context,
                                    &e),
                     OK);
    return context;
}

static struct tls_context *proxy_context(void)
{
    struct tls_context *context = NULL;
    struct error e;

    assert_int_equal(tls_server_new(str_c(certs.proxy_path), str_c(certs.proxy_key_path), &context,
                                    &e),
                     OK);
    return context;
}

static struct tls_context *client_context(bool verify)
{
    struct tls_context *context = NULL;
    struct error e;

    assert_int_equal(tls_context_new(&(struct tls_options){.ca_file = str_c(certs.ca_path),
                                                           .verify = verify},
                                     &context, &e),
                     OK);
    return context;
}

/* ---- a client and a server over a pair ---- */

struct pair {
    struct loop *loop;
    struct probe client;
    struct probe server;
    struct conn *client_lower;
    struct conn *server_lower;
};

static void secure(struct probe *probe, struct conn *lower, struct tls_context *tls,
                   const char *host, uint16_t port)
{
    const struct conn_secure_options options = {.tls = tls,
                                                .host = str_c(host),
                                                .port = port,
                                                .timeout_ms = TIMEOUT_MS};

    probe_init(probe);
    probe->conn = conn_secure(&lower, &options, &probe_events, probe);
    assert_null(lower);
}

static void pair_open(struct pair *p, struct tls_context *client, struct tls_context *server,
                      const char *host, uint16_t port)
{
    conn_pair(p->loop, &p->client_lower, &p->server_lower);
    secure(&p->client, p->client_lower, client, host, port);
    secure(&p->server, p->server_lower, server, "", 0);
    assert_string_equal(p->client.log, "");
    assert_string_equal(p->server.log, "");
}

static void pair_close(struct pair *p)
{
    probe_fini(&p->client);
    probe_fini(&p->server);
    loop_test_run(p->loop);
}

/* ---- tests ---- */

/* Catches: either side's handshake, records or end not understood by the other; an event within
 * conn_secure; a name that is not sent; an end without close_notify. */
static void test_client_and_server(void **state)
{
    static const size_t read_max[] = {0, 1, 7};
    struct tls_context *server = server_context();
    struct tls_context *client = client_context(true);
    (void)state;

    for (size_t i = 0; i < COUNT_OF(read_max); i++) {
        struct pair p = {.loop = loop_test_new()};
        pair_open(&p, client, server, "good.test", PORT);
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
        pair_close(&p);
        loop_test_free(&p.loop);
    }
    tls_context_unref(&server);
    tls_context_unref(&client);
}

/* Catches: the scratch of one layer used by another, bytes or `writable` lost between layers. */
static void test_tls_within_tls(void **state)
{
    enum { SIZE = 700 * 1000 };
    struct tls_context *outer = proxy_context();
    struct tls_context *inner = server_context();
    struct tls_context *client = client_context(true);
    char *block = mem_raw(SIZE);
    struct pair p = {.loop = loop_test_new()};
    (void)state;

    for (size_t i = 0; i < SIZE; i++)
        block[i] = (char)(i * 7 + i / 1021);
    pair_open(&p, client, outer, "proxy.test", PORT);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "C");
    assert_string_equal(p.server.log, "C");
    struct conn *client_end = p.client.conn;
    struct conn *server_end = p.server.conn;
    secure(&p.client, client_end, client, "good.test", PORT);
    secure(&p.server, server_end, inner, "", 0);
    loop_test_run(p.loop);
    assert_string_equal(p.client.log, "C");
    assert_string_equal(p.server.log, "C");

    conn_read_stop(p.server.conn);
    const struct str all = str_of(block, SIZE);
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
    pair_close(&p);
    loop_test_free(&p.loop);
    mem_free(block);
    tls_context_unref(&outer);
    tls_context_unref(&inner);
    tls_context_unref(&client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_and_server),
        cmocka_unit_test(test_tls_within_tls),
    };

    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
