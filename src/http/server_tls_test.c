/* SPDX-License-Identifier: MIT */
/* The server over TLS: what it may not tell from TCP by what it counts. */
#include "http/server_test_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Nobody trusts it. */
static const char test_key[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguhXevb5oouD5ZHpJ\n"
                               "6u4GmUOOT0ajhO3JjEEWZuVhdGShRANCAARh+vS/6ohwesF2Z7B40CO/Ux/djhSG\n"
                               "GEk6TsgrTp/6I+fFgrjrx//grSLpsFqGLhQtbdS4irtF8tPp4RIcFiHe\n"
                               "-----END PRIVATE KEY-----\n";
static const char test_cert[] = "-----BEGIN CERTIFICATE-----\n"
                                "MIIBdTCCARugAwIBAgIUDAqVSWkTUbsLoixTYMuYKmdJqlMwCgYIKoZIzj0EAwIw\n"
                                "DzENMAsGA1UEAwwEdGVzdDAgFw0yNjExMjIxMjUwNTJaGA8yMTI2MTAyOTEyNTA1\n"
                                "MlowDzENMAsGA1UEAwwEdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGH6\n"
                                "9L/qiHB6wXZnsHjQI79TH92OFIYYSTpOyCtOn/oj58WCuOvH/+CtIumwWoYuFC1t\n"
                                "1LiKu0Xy0+nhEhwWId6jUzBRMB0GA1UdDgQWBBS8ACYt3CWUwtNNbhdG4DJ8a1fy\n"
                                "jzAfBgNVHSMEGDAWgBS8ACYt3CWUwtNNbhdG4DJ8a1fyjzAPBgNVHRMBAf8EBTAD\n"
                                "AQH/MAoGCCqGSM49BAMCA0gAMEUCIQDAffWQvWBQNJSHhxpsjAUYXqYFDWQ9eGiL\n"
                                "Blvzl2i1rQIga6mf4swz5/Z8APyI6ctta/cnXHeDLEaUEH4nrTUmci8=\n"
                                "-----END CERTIFICATE-----\n";

static struct tls_context *server_context(void)
{
    char cert[] = "/tmp/http_tls_test.XXXXXX";
    char key[] = "/tmp/http_tls_test.XXXXXX";
    struct tls_context *context = NULL;
    struct error e;

    FILE *file = fdopen(mkstemp(cert), "w");
    assert_non_null(file);
    assert_true(fputs(test_cert, file) >= 0 && fclose(file) == 0);
    file = fdopen(mkstemp(key), "w");
    assert_non_null(file);
    assert_true(fputs(test_key, file) >= 0 && fclose(file) == 0);
    assert_int_equal(tls_server_new(str_c(cert), str_c(key), &context, &e), OK);
    (void)unlink(cert);
    (void)unlink(key);
    return context;
}

static void connect_tls(struct app *app)
{
    struct tls_context *server = server_context();
    struct tls_context *client = NULL;
    struct conn *ours = NULL;
    struct conn *theirs = NULL;
    struct error e;

    assert_int_equal(tls_context_new(&(struct tls_options){.verify = false}, &client, &e), OK);
    conn_pair(app->loop, &ours, &theirs);
    conn_close(&app->conn);
    app->conn = conn_secure(&ours,
                            &(struct conn_secure_options){.tls = client,
                                                          .host = STR("h"),
                                                          .timeout_ms = HEADER_MS},
                            &peer_events, app);
    conn_read_start(app->conn);
    server_adopt(app->server,
                 conn_secure(&theirs,
                             &(struct conn_secure_options){.tls = server, .timeout_ms = HEADER_MS},
                             &peer_events, app));
    tls_context_unref(&server);
    tls_context_unref(&client);
    loop_test_run(app->loop);
}

/* Catches: what TLS adds to each piece, taken for bytes that the client took. */
static void test_write_stall(void **state)
{
    (void)state;
    struct app *app = app_new();
    static char large[70000];
    int64_t waited_ms = 0;

    memset(large, 'l', sizeof(large));
    connect_tls(app);
    app->gones = 0;
    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(app->heads, 1);
    assert_true(server_is_tls(app->c));
    conn_read_stop(app->conn);
    server_head(app->c, 200, STR(""), -1);
    server_body(app->c, str_of(large, sizeof(large)));
    assert_int_equal(server_flush(app->c), SERVER_OK);
    while (app->gones == 0 && waited_ms < 4 * WRITE_MS) {
        loop_test_advance(app->loop, WRITE_MS / 8);
        waited_ms += WRITE_MS / 8;
        if (app->gones > 0)
            break;
        server_body(app->c, STR("a little"));
        assert_int_equal(server_flush(app->c), SERVER_OK);
    }
    assert_in_range(waited_ms, WRITE_MS, 2 * WRITE_MS);
    assert_int_equal(app->gones, 1);
    app_free(app);
}

/* Catches: a client that reads little by little taken for one that takes nothing. */
static void test_slow_reader(void **state)
{
    (void)state;
    struct app *app = app_new();
    static char large[300000];

    memset(large, 'l', sizeof(large));
    connect_tls(app);
    app->when = ANSWER_BY_HAND;
    feed_z(app, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    conn_read_stop(app->conn);
    server_head(app->c, 200, STR(""), sizeof(large));
    server_body(app->c, str_of(large, sizeof(large)));
    server_end(app->c);
    app->gones = 0;
    while (app->in.n < sizeof(large)) {
        loop_test_advance(app->loop, WRITE_MS / 2);
        assert_int_equal(app->gones, 0);
        size_t before = app->in.n;
        conn_read_start(app->conn);
        while (app->in.n == before)
            loop_test_advance(app->loop, 0);
        conn_read_stop(app->conn);
    }
    conn_read_start(app->conn);
    loop_test_run(app->loop);
    assert_int_equal(app->dones, 1);
    app_free(app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_stall),
        cmocka_unit_test(test_slow_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
