/* SPDX-License-Identifier: MIT */
/*
 * Sessions: resumed where they may be, and offered nowhere else. What a client offers is read from
 * its hello by the server; that it was taken, from OpenSSL's own count.
 */
#include "io/conn.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>

#include "io/tls_probe_priv.h"

static struct {
    struct identity ca;
    struct identity good; /* good.test, other.test */
    struct tls_context *server;
    size_t offered; /* hellos with a session in them */
} world;

/* RFC 8446, 4.2.11; RFC 5077, 3.2: a ticket in TLS 1.2 is not empty. */
static int look_at_hello(SSL *ssl, int *alert, void *ctx)
{
    const unsigned char *bytes = NULL;
    size_t n = 0;

    (void)alert;
    (void)ctx;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &bytes, &n) == 1)
        world.offered++;
    else if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &bytes, &n) == 1 && n > 0)
        world.offered++;
    return SSL_CLIENT_HELLO_SUCCESS;
}

static int world_setup(void **state)
{
    (void)state;
    world.ca = identity_new("Test CA", NULL, NULL, DAY_S);
    world.good = identity_new("good", &world.ca, "DNS:good.test,DNS:other.test", DAY_S);
    world.server = tls_probe_server(&world.good);
    SSL_CTX_set_client_hello_cb(world.server->ctx, look_at_hello, NULL);
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    tls_context_unref(&world.server);
    identity_free(&world.ca);
    identity_free(&world.good);
    return 0;
}

static void set_version(int version)
{
    SSL_CTX_set_max_proto_version(world.server->ctx, version);
}

struct outcome {
    bool offered;
    bool resumed;
};

/* One connection from its beginning to its end. */
static struct outcome connect_at(struct loop *loop, struct tls_context *client,
                                 struct tls_context *server, const char *host, uint16_t port)
{
    struct pair p = {.loop = loop};
    size_t offered = world.offered;
    long hits = SSL_CTX_sess_hits(client->ctx);

    pair_open(&p, client, server, host, port);
    p.client.read_on_connect = true;
    loop_test_run(loop);
    assert_string_equal(p.client.log, "C");
    assert_string_equal(p.server.log, "C");
    (void)conn_write(p.client.conn, &STR("hello"), 1);
    (void)conn_write(p.server.conn, &STR("world"), 1);
    loop_test_run(loop);
    assert_true(str_eq(buf_str(&p.server.got), STR("hello")));
    assert_true(str_eq(buf_str(&p.client.got), STR("world")));
    pair_close(&p);
    return (struct outcome){.offered = world.offered > offered,
                            .resumed = SSL_CTX_sess_hits(client->ctx) > hits};
}

static struct outcome connect_to(struct loop *loop, struct tls_context *client, const char *host,
                                 uint16_t port)
{
    return connect_at(loop, client, world.server, host, port);
}

static void assert_outcome(struct outcome outcome, bool offered, bool resumed)
{
    assert_int_equal(outcome.offered, offered);
    assert_int_equal(outcome.resumed, resumed);
}

/* Catches: a handshake that is always whole; a session offered to another host, at another port, or
 * under other settings. */
static void test_resumed_where_it_may_be(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct loop *loop = loop_test_new();
        struct tls_context *client = tls_probe_client(&world.ca);
        struct tls_context *other = tls_probe_client(&world.ca);
        set_version(versions[i]);
        assert_outcome(connect_to(loop, client, "good.test", 443), false, false);
        assert_outcome(connect_to(loop, client, "other.test", 443), false, false);
        assert_outcome(connect_to(loop, client, "good.test", 444), false, false);
        assert_outcome(connect_to(loop, other, "good.test", 443), false, false);
        for (int k = 0; k < 6; k++)
            assert_outcome(connect_to(loop, client, "good.test", 443), true, true);
        assert_outcome(connect_to(loop, client, "GOOD.test.", 443), true, true);
        assert_outcome(connect_to(loop, client, "other.test", 443), true, true);
        tls_context_unref(&client);
        tls_context_unref(&other);
        loop_test_free(&loop);
    }
    set_version(0);
}

/* Catches: a session of a connection that nobody verified, offered to anybody. */
static void test_unverified_is_not_kept(void **state)
{
    struct loop *loop = loop_test_new();
    struct tls_context *client = tls_probe_client(NULL);
    (void)state;

    for (int i = 0; i < 3; i++)
        assert_outcome(connect_to(loop, client, "good.test", 443), false, false);
    tls_context_unref(&client);
    loop_test_free(&loop);
}

/* Catches: a session that outlives the look at the certificate, by being renewed again. */
static void test_age(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    (void)state;

    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct loop *loop = loop_test_new();
        struct tls_context *client = tls_probe_client(&world.ca);
        set_version(versions[i]);
        assert_outcome(connect_to(loop, client, "good.test", 443), false, false);
        loop_test_advance(loop, TLS_SESSION_AGE_MAX_MS / 2);
        assert_outcome(connect_to(loop, client, "good.test", 443), true, true);
        loop_test_advance(loop, TLS_SESSION_AGE_MAX_MS / 2 - 1);
        assert_outcome(connect_to(loop, client, "good.test", 443), true, true);
        loop_test_advance(loop, 1);
        assert_outcome(connect_to(loop, client, "good.test", 443), false, false);
        assert_outcome(connect_to(loop, client, "good.test", 443), true, true);
        tls_context_unref(&client);
        loop_test_free(&loop);
    }
    set_version(0);
}

/* Catches: a server that has forgotten its key, or shows another certificate now, and a client that
 * fails instead of shaking hands anew, or takes its word. */
static void test_refused_by_the_server(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_context *again = tls_probe_server(&world.good);
    struct identity wrong = identity_new("wrong", &world.ca, "DNS:wrong.test", DAY_S);
    struct tls_context *impostor = tls_probe_server(&wrong);
    (void)state;

    SSL_CTX_set_client_hello_cb(again->ctx, look_at_hello, NULL);
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        struct loop *loop = loop_test_new();
        struct tls_context *client = tls_probe_client(&world.ca);
        set_version(versions[i]);
        SSL_CTX_set_max_proto_version(again->ctx, versions[i]);
        SSL_CTX_set_max_proto_version(impostor->ctx, versions[i]);
        assert_outcome(connect_to(loop, client, "good.test", 443), false, false);
        assert_outcome(connect_at(loop, client, again, "good.test", 443), true, false);

        struct pair p = {.loop = loop};
        pair_open(&p, client, impostor, "good.test", 443);
        loop_test_run(loop);
        assert_string_equal(p.client.log, "F");
        assert_string_equal(p.client.error.detail, "TLS: hostname mismatch (good.test)");
        pair_close(&p);
        tls_context_unref(&client);
        loop_test_free(&loop);
    }
    set_version(0);
    tls_context_unref(&again);
    tls_context_unref(&impostor);
    identity_free(&wrong);
}

/* ---- the store ---- */

/* One that could be resumed, as far as the store sees. */
static SSL_SESSION *some_session(struct loop *loop)
{
    struct tls_context *client = tls_probe_client(&world.ca);
    int64_t verified_ms = 0;

    (void)connect_to(loop, client, "good.test", 443);
    SSL_SESSION *session = tls_session_take(client->sessions, STR("good.test"), 443, 0,
                                            &verified_ms);
    assert_non_null(session);
    tls_context_unref(&client);
    return session;
}

static size_t drain(struct tls_session_store *store, struct str host, uint16_t port)
{
    SSL_SESSION *session = NULL;
    int64_t verified_ms = 0;
    size_t n = 0;

    while ((session = tls_session_take(store, host, port, 0, &verified_ms)) != NULL) {
        SSL_SESSION_free(session);
        n++;
    }
    return n;
}

/* Catches: a store without bound, or one in which a busy host leaves the others nothing. */
static void test_bounds(void **state)
{
    struct loop *loop = loop_test_new();
    SSL_SESSION *session = some_session(loop);
    struct tls_session_store *store = tls_session_store_new();
    char host[32];
    (void)state;

    tls_session_keep(store, STR("quiet.test"), 443, 0, session);
    for (int i = 0; i < 3 * TLS_SESSION_HOST_MAX; i++)
        tls_session_keep(store, STR("busy.test"), 443, 0, session);
    assert_int_equal(drain(store, STR("busy.test"), 444), 0);
    assert_int_equal(drain(store, STR("busy"), 443), 0);
    assert_int_equal(drain(store, STR("busy.test"), 443), TLS_SESSION_HOST_MAX);
    assert_int_equal(drain(store, STR("quiet.test"), 443), 1);

    for (int i = 0; i <= TLS_SESSION_COUNT_MAX; i++) {
        (void)snprintf(host, sizeof(host), "%d.test", i);
        tls_session_keep(store, str_c(host), 443, 0, session);
    }
    assert_int_equal(drain(store, STR("0.test"), 443), 0); /* the oldest */
    assert_int_equal(drain(store, STR("1.test"), 443), 1);
    assert_int_equal(drain(store, str_c(host), 443), 1);

    /* What its server says is over, and what is too large. */
    (void)SSL_SESSION_set_time(session, 1000);
    tls_session_keep(store, STR("old.test"), 443, 0, session);
    assert_int_equal(drain(store, STR("old.test"), 443), 0);
    (void)SSL_SESSION_set_time(session, (long)time(NULL));
    tls_session_keep(store, STR("new.test"), 443, 0, session);
    assert_int_equal(drain(store, STR("new.test"), 443), 1);
    static const char much[TLS_SESSION_BYTES_MAX];
    assert_int_equal(SSL_SESSION_set1_ticket_appdata(session, much, sizeof(much)), 1);
    tls_session_keep(store, STR("large.test"), 443, 0, session);
    assert_int_equal(drain(store, STR("large.test"), 443), 0);
    SSL_SESSION_free(session);
    tls_session_store_free(&store);
    assert_null(store);
    tls_session_store_free(&store);
    loop_test_free(&loop);
}

struct crowd {
    struct tls_session_store *store;
    SSL_SESSION *session;
    size_t taken;
};

static void *keep_and_take(void *ctx)
{
    struct crowd *crowd = ctx;
    int64_t verified_ms = 0;

    for (int i = 0; i < 100; i++) {
        tls_session_keep(crowd->store, STR("good.test"), (uint16_t)(440 + i % 5), 0,
                         crowd->session);
        SSL_SESSION *session = tls_session_take(crowd->store, STR("good.test"),
                                                (uint16_t)(440 + i % 3), 0, &verified_ms);
        crowd->taken += session != NULL;
        SSL_SESSION_free(session);
    }
    return NULL;
}

/* Catches (with TSan): a store that only one worker may use. */
static void test_several_threads(void **state)
{
    enum { THREADS = 4 };
    struct loop *loop = loop_test_new();
    struct tls_session_store *store = tls_session_store_new();
    struct crowd crowds[THREADS];
    pthread_t threads[THREADS];
    (void)state;

    for (size_t i = 0; i < THREADS; i++)
        crowds[i] = (struct crowd){.store = store, .session = some_session(loop)};
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_and_take, &crowds[i]), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(crowds[i].taken > 0);
        SSL_SESSION_free(crowds[i].session);
    }
    tls_session_store_free(&store);
    loop_test_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resumed_where_it_may_be),
        cmocka_unit_test(test_unverified_is_not_kept),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_refused_by_the_server),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_several_threads),
    };

    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
