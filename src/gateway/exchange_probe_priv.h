/* SPDX-License-Identifier: MIT */
/*
 * For this room's tests only: a station on a virtual clock, the client and the upstream at the far
 * ends of in-memory connections.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_priv.h"

enum { ARENA_MAX = 16 * 1024 * 1024, TEXT_MAX = 64 * 1024 * 1024 };

struct end {
    struct conn *conn;
    struct buf got;
    bool eof;
    bool failed;
    size_t feed_at; /* upstream: how much of its answer was sent */
};

struct fixture {
    struct arena arena;
    struct config_result result;
    struct gateway *gateway;
    struct loop *loop;
    struct station station;
    struct end client;
    struct end upstream;
    struct conn *proxy_side; /* the far end of the newest upstream connection */
    int connects;
};

static inline void end_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct end *end = ctx;
    (void)conn;
    assert_true(buf_add(&end->got, bytes));
}

static inline void end_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    ((struct end *)ctx)->eof = true;
}

static inline void end_writable(struct conn *conn, void *ctx)
{
    (void)conn;
    (void)ctx;
}

static inline void end_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    (void)e;
    ((struct end *)ctx)->failed = true;
}

static const struct conn_events end_events = {
    .connected = end_writable,
    .read = end_read,
    .eof = end_eof,
    .writable = end_writable,
    .failed = end_failed,
};

static inline void end_init(struct end *end, struct conn *conn)
{
    if (end->got.size_max == 0)
        buf_init(&end->got, TEXT_MAX);
    end->conn = conn;
    end->eof = false;
    end->failed = false;
    conn_set_events(conn, &end_events, end);
    conn_read_start(conn);
}

static inline void end_fini(struct end *end)
{
    conn_close(&end->conn);
    if (end->got.size_max > 0)
        buf_fini(&end->got);
}

static inline struct conn *test_connect(void *ctx, struct loop *loop)
{
    struct fixture *f = ctx;
    struct conn *near = NULL;
    struct conn *far = NULL;

    conn_pair(loop, &near, &far);
    conn_close(&f->upstream.conn);
    end_init(&f->upstream, far);
    buf_reset(&f->upstream.got);
    f->connects++;
    return near;
}

static const struct gateway_route no_routes[] = {
    {.path = "/none", .access = ACCESS_ADMIN, .content_type = "text/plain", .answer = NULL},
};

static inline void make_gateway(struct fixture *f, void (*tweak)(struct config *config))
{
    static char config_text[] = "";
    static char api_keys[] = "--api-keys", key[] = "test-client-key-1";
    static char default_backend[] = "--default-backend", openai[] = "openai", demo[] = "--demo";
    static char *argv[] = {config_text, api_keys, key, default_backend, openai, demo, NULL};
    static char api_key[] = "OPENAI_API_KEY=sk-upstream-key-1";
    static char base_url[] = "OPENAI_API_BASE_URL=http://upstream.test/v1";
    static char *environment[] = {api_key, base_url, NULL};
    const struct config_source source = {.argc = 6,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};

    arena_init(&f->arena, ARENA_MAX, 4096, NULL);
    config_read(&source, &f->arena, &f->result);
    if (f->result.config == NULL)
        fail_msg("%.*s", STR_ARG(f->result.report));
    if (tweak != NULL)
        tweak(f->result.config);
    if (backend_set_new(f->result.config, &backends, &e) != OK)
        fail_msg("%s", e.detail);
    f->gateway = gateway_new(&(struct gateway_options){.config = f->result.config,
                                                       .backends = backends,
                                                       .routes = no_routes,
                                                       .routes_n = 1,
                                                       .version = "test"});
    if (gateway_open(f->gateway, &e) != OK)
        fail_msg("%s", e.detail);
}

/* tweak: changes the configuration before anything is made of it; may be NULL. */
static inline void setup_with(struct fixture *f, void (*tweak)(struct config *config))
{
    log_set_level(LOG_ERROR);
    memset(f, 0, sizeof(*f));
    make_gateway(f, tweak);
    f->loop = loop_test_new();
    station_init(&f->station, f->gateway, f->loop);
    struct backend *backend = f->gateway->site->backends->preferred;
    assert_non_null(backend);
    f->station.branch->pools[backend->place] =
        client_pool_new(f->loop, &(struct client_pool_options){
                                     .host = STR("upstream.test"),
                                     .port = 80,
                                     .connect_timeout_ms = 1000,
                                     .idle_timeout_ms = 60000,
                                     .silence_timeout_ms = 5000,
                                     .header_bytes_max = 32768,
                                     .connections = &backend->load->connections,
                                     .connections_max = 4,
                                     .connect = test_connect,
                                     .connect_ctx = f,
                                 });
}

static inline void setup(struct fixture *f)
{
    setup_with(f, NULL);
}

static inline void connect_client(struct fixture *f)
{
    struct conn *near = NULL;
    struct conn *far = NULL;

    conn_pair(f->loop, &near, &far);
    end_init(&f->client, near);
    atomic_fetch_add(&f->gateway->connections, 1);
    server_adopt(f->station.server, far);
}

/* Ends everything; what was left behind is a bug that an assertion or the leak checker finds. */
static inline void teardown(struct fixture *f)
{
    end_fini(&f->client);
    loop_test_run(f->loop);
    end_fini(&f->upstream);
    loop_test_run(f->loop);
    assert_true(list_empty(&f->station.exchanges));
    if (!f->station.stopping)
        station_stop(&f->station);
    loop_test_advance(f->loop, 100000);
    assert_true(f->station.ended);
    assert_int_equal(atomic_load(&f->gateway->site->backends->preferred->load->connections), 0);
    assert_int_equal(atomic_load(&f->gateway->inflight.used), 0);
    assert_int_equal(atomic_load(&f->gateway->connections), 0);
    station_fini(&f->station);
    loop_test_run(f->loop);
    loop_test_free(&f->loop);
    gateway_free(&f->gateway);
    config_unref(&f->result.config);
    arena_fini(&f->arena);
}

static inline void send_text(struct end *end, const char *text, size_t n)
{
    struct str part = str_of(text, n);
    (void)conn_write(end->conn, &part, 1);
}

static const char request_body[] = "{\"model\":\"openai:m-1\", \"stream\":%s,"
                                   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";

static inline void send_request(struct fixture *f, bool stream)
{
    char body[256];
    char text[1024];
    int n = snprintf(body, sizeof(body), request_body, stream ? "true" : "false");
    int total = snprintf(text, sizeof(text),
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                         "Authorization: Bearer  test-client-key-1\r\nCookie: secret=1\r\n"
                         "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                         n, body);
    send_text(&f->client, text, (size_t)total);
    loop_test_run(f->loop);
}

static inline bool has(const struct end *end, const char *needle)
{
    return str_find(buf_str(&end->got), str_c(needle), 0) != SIZE_MAX;
}
