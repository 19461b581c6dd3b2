/* SPDX-License-Identifier: MIT */
/*
 * The whole gateway: station, exchange, pipeline, protocol, server and client, between any bytes of
 * a client and any bytes of an upstream, on the virtual clock.
 *
 * Input     [mode][n of the script][script, n bytes][c: 2 bytes][c bytes of the client][upstream's]
 *           The mode says what the two are: whole messages as they are, or bodies to be wrapped
 *           into valid heads. A script's byte below 0x40 gives so many bytes + 1 to the client's
 *           connection, below 0x80 to the upstream's; the others are in do_op. Then comes the rest.
 * Laws      What the client gets is HTTP, an answer each for the requests it sent. A stream that
 *           ends well is complete or says an error; one that broke off does not look complete. No
 *           key crosses. When all is over, no connection, exchange, byte or timer is left.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "gateway/gateway_priv.h"
#include "strict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define CLIENT_KEY   "test-client-key-1"
#define UPSTREAM_KEY "sk-upstream-key-1"

enum { INPUT_MAX = 12000, TEXT_MAX = 1 << 26, ARENA_MAX = 1 << 24 };

enum client_kind { CLIENT_RAW, CLIENT_STREAM, CLIENT_WHOLE, CLIENT_BODY };
enum upstream_kind { UPSTREAM_RAW, UPSTREAM_SSE, UPSTREAM_CHUNKED, UPSTREAM_WHOLE };

struct end {
    struct conn *conn;
    struct buf got;
    bool eof;
    bool failed;
    bool shut;
};

struct run {
    struct arena arena;
    struct config_result result;
    struct gateway *gateway;
    struct loop *loop;
    struct station station;
    struct end client;
    struct end upstream; /* the newest connection to it */
    struct buf up_text;  /* what it answers each request with */
    struct buf client_text;
    size_t client_at;
    size_t up_at;
    size_t up_read;    /* of what it got: complete requests */
    struct buf up_all; /* what all connections got */
    int64_t passed_ms;
    bool disturbed; /* the client left, or was too slow */
};

static struct strict reader;

/* ---- both ends ---- */

static void end_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    bool ok = buf_add(&((struct end *)ctx)->got, bytes);
    assert(ok);
}

static void end_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    ((struct end *)ctx)->eof = true;
}

static void end_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    (void)e;
    ((struct end *)ctx)->failed = true;
}

static const struct conn_events end_events = {
    .read = end_read,
    .eof = end_eof,
    .failed = end_failed,
};

static void end_init(struct end *end, struct conn *conn)
{
    end->conn = conn;
    end->eof = false;
    end->failed = false;
    end->shut = false;
    conn_set_events(conn, &end_events, end);
    conn_read_start(conn);
}

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    struct run *run = ctx;
    struct conn *near = NULL;
    struct conn *far = NULL;

    conn_pair(loop, &near, &far);
    conn_close(&run->upstream.conn);
    bool ok = buf_add(&run->up_all, buf_str(&run->upstream.got));
    assert(ok);
    buf_reset(&run->upstream.got);
    end_init(&run->upstream, far);
    run->up_at = 0;
    run->up_read = 0;
    return near;
}

/* ---- the gateway ---- */

static const struct gateway_route no_routes[] = {
    {.path = "/none", .access = ACCESS_ADMIN, .content_type = "text/plain", .answer = NULL},
};

static void gateway_make(struct run *run)
{
    static char name[] = "", option_keys[] = "--api-keys", key[] = CLIENT_KEY;
    static char option_backend[] = "--default-backend", openai[] = "openai";
    static char *argv[] = {name, option_keys, key, option_backend, openai, NULL};
    static char api_key[] = "OPENAI_API_KEY=" UPSTREAM_KEY;
    static char base_url[] = "OPENAI_API_BASE_URL=http://upstream.test/v1";
    static char *environment[] = {api_key, base_url, NULL};
    const struct config_source source = {.argc = 5,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};

    arena_init(&run->arena, ARENA_MAX, 4096, NULL);
    config_read(&source, &run->arena, &run->result);
    struct config *config = run->result.config;
    assert(config != NULL);
    /* Within reach of an input. */
    config->header_bytes_max = 1024;
    config->body_bytes_max = 2048;
    config->response_bytes_max = 4096;
    config->sse_event_bytes_max = 1024;
    config->json_depth_max = 16;
    bool ok = backend_set_new(config, &backends, &e) == OK;
    assert(ok);
    run->gateway = gateway_new(&(struct gateway_options){.config = config,
                                                         .backends = backends,
                                                         .routes = no_routes,
                                                         .routes_n = 1,
                                                         .version = "fuzz"});
    ok = gateway_open(run->gateway, &e) == OK;
    assert(ok);
}

static struct backend *backend_of(const struct run *run)
{
    return run->gateway->site->backends->preferred;
}

/* The pool of the present branch, to our upstream. */
static void pool_make(struct run *run)
{
    struct backend *backend = backend_of(run);

    run->station.branch->pools[backend->place] =
        client_pool_new(run->loop, &(struct client_pool_options){
                                       .host = STR("upstream.test"),
                                       .port = 80,
                                       .connect_timeout_ms = 1000,
                                       .idle_timeout_ms = 60000,
                                       .silence_timeout_ms = 5000,
                                       .header_bytes_max = 1024,
                                       .connections = &backend->load->connections,
                                       .connections_max = 4,
                                       .connect = up_connect,
                                       .connect_ctx = run,
                                       .budget = &run->gateway->inflight,
                                   });
}

static void run_begin(struct run *run)
{
    struct conn *near = NULL;
    struct conn *far = NULL;

    gateway_make(run);
    run->loop = loop_test_new();
    station_init(&run->station, run->gateway, run->loop);
    pool_make(run);
    conn_pair(run->loop, &near, &far);
    end_init(&run->client, near);
    atomic_fetch_add(&run->gateway->connections, 1);
    server_adopt(run->station.server, far);
}

static void run_end(struct run *run)
{
    conn_close(&run->client.conn);
    loop_test_run(run->loop);
    conn_close(&run->upstream.conn);
    loop_test_run(run->loop);
    assert(list_empty(&run->station.exchanges));
    if (!run->station.stopping)
        station_stop(&run->station);
    loop_test_advance(run->loop, 100000);
    assert(run->station.ended);
    assert(atomic_load(&backend_of(run)->load->connections) == 0);
    assert(atomic_load(&backend_of(run)->load->busy) == 0);
    assert(atomic_load(&run->gateway->inflight.used) == 0);
    assert(atomic_load(&run->gateway->connections) == 0);
    station_fini(&run->station);
    loop_test_run(run->loop);
    loop_test_free(&run->loop);
    gateway_free(&run->gateway);
    config_unref(&run->result.config);
    arena_fini(&run->arena);
}

/* ---- the texts ---- */

static void wrap_client(struct run *run, enum client_kind kind, struct str bytes)
{
    static const char body[] = "{\"model\":\"openai:m-1\",\"stream\":%s,"
                               "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    struct buf text;

    buf_init(&text, TEXT_MAX);
    if (kind == CLIENT_BODY)
        buf_add(&text, bytes);
    else if (kind != CLIENT_RAW)
        buf_print(&text, body, kind == CLIENT_STREAM ? "true" : "false");
    if (kind != CLIENT_RAW)
        buf_print(&run->client_text,
                  "POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\n"
                  "Authorization: Bearer " CLIENT_KEY "\r\n"
                  "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                  text.n);
    buf_add(&run->client_text, kind == CLIENT_RAW ? bytes : buf_str(&text));
    buf_fini(&text);
    assert(buf_ok(&run->client_text));
}

static void wrap_upstream(struct run *run, enum upstream_kind kind, struct str bytes)
{
    static const char sse[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    struct buf *text = &run->up_text;

    if (kind == UPSTREAM_SSE)
        buf_print(text, "%s\r\n", sse);
    else if (kind == UPSTREAM_CHUNKED)
        buf_print(text, "%sTransfer-Encoding: chunked\r\n\r\n%s", sse,
                  bytes.n > 0 ? "" : "0\r\n\r\n");
    else if (kind == UPSTREAM_WHOLE)
        buf_print(text,
                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                  "Content-Length: %zu\r\n\r\n",
                  bytes.n);
    bool chunk = kind == UPSTREAM_CHUNKED && bytes.n > 0;
    if (chunk)
        buf_print(text, "%zx\r\n", bytes.n);
    buf_add(text, bytes);
    if (chunk)
        buf_add(text, STR("\r\n0\r\n\r\n"));
    assert(buf_ok(text));
}

/* ---- the script ---- */

static void feed_client(struct run *run, size_t n)
{
    struct str piece = str_head(str_from(buf_str(&run->client_text), run->client_at), n);

    if (piece.n == 0 || run->client.conn == NULL || run->client.eof || run->client.failed ||
        run->client.shut)
        return;
    run->client_at += piece.n;
    (void)conn_write(run->client.conn, &piece, 1);
    loop_test_run(run->loop);
}

static void feed_upstream(struct run *run, size_t n)
{
    struct end *up = &run->upstream;

    if (up->conn == NULL || up->eof || up->failed || up->shut)
        return;
    if (run->up_at == run->up_text.n) {
        /* The next answer is for the next request. */
        strict_read_request(&reader, str_from(buf_str(&up->got), run->up_read));
        run->up_read += reader.kind == STRICT_DONE ? reader.size : 0;
        if (run->up_read == up->got.n)
            return;
        run->up_at = 0;
    }
    struct str piece = str_head(str_from(buf_str(&run->up_text), run->up_at), n);
    run->up_at += piece.n;
    (void)conn_write(up->conn, &piece, 1);
    loop_test_run(run->loop);
}

static void leave(struct end *end, unsigned how)
{
    if (end->conn == NULL)
        return;
    if (how == 0 && !end->shut) {
        end->shut = true;
        conn_shutdown(end->conn);
    } else if (how == 1)
        conn_close(&end->conn);
    else if (how == 2)
        conn_reset(&end->conn);
    else if (how == 3)
        conn_read_stop(end->conn);
    else
        conn_read_start(end->conn);
}

/* The same configuration, read again: another site under whatever runs. */
static void swap(struct run *run)
{
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};
    struct buf restart;

    if (run->station.stopping)
        return;
    buf_init(&restart, 1024);
    bool ok = backend_set_new(run->result.config, &backends, &e) == OK &&
              gateway_reload(run->gateway, run->result.config, &backends, &restart, &e) == OK;
    assert(ok);
    buf_fini(&restart);
    atomic_store(&run->station.next_site, site_ref(run->gateway->site));
    station_take_site(&run->station);
    pool_make(run);
}

static void do_op(struct run *run, uint8_t op)
{
    static const int64_t steps[] = {1, 500, 4999, 5001, 10001, 40001, 60001, 75001};

    if ((op & 0xf8u) == 0x98) {
        swap(run);
        return;
    }
    switch (op & 0xf0u) {
    case 0x80:
    case 0x90:
        run->passed_ms += steps[op & 7u];
        run->disturbed = run->disturbed || run->passed_ms > 4000;
        loop_test_advance(run->loop, steps[op & 7u]);
        break;
    case 0xa0:
    case 0xb0:
        run->disturbed = true;
        leave(&run->client, (op & 15u) % 5);
        break;
    case 0xc0:
    case 0xd0:
        leave(&run->upstream, (op & 15u) % 5);
        break;
    case 0xe0:
        if (run->client.conn != NULL)
            conn_mem_window(run->client.conn, (size_t)(op & 15u) * 20 + 1);
        break;
    default:
        if (run->upstream.conn != NULL)
            conn_mem_window(run->upstream.conn, (size_t)(op & 15u) * 20 + 1);
        break;
    }
    loop_test_run(run->loop);
}

static void run_script(struct run *run, const uint8_t *script, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (script[i] < 0x40)
            feed_client(run, script[i] + 1u);
        else if (script[i] < 0x80)
            feed_upstream(run, (script[i] & 0x3fu) + 1u);
        else
            do_op(run, script[i]);
    }
    feed_client(run, run->client_text.n);
    /* Each request gets the upstream's bytes; then the upstream goes, and is silent when asked
     * again. */
    for (unsigned i = 0; i < 32 && run->upstream.conn != NULL; i++)
        feed_upstream(run, run->up_text.n);
    if (run->client.conn != NULL)
        conn_read_start(run->client.conn);
    conn_close(&run->upstream.conn);
    loop_test_run(run->loop);
    for (unsigned i = 0; i < 40; i++)
        loop_test_advance(run->loop, 5001);
}

/* ---- laws ---- */

/* Whether a choice says why it ends: the member stands there and its value is not null. */
static bool has_finish(struct str body)
{
    static const struct str name = STR_INIT("\"finish_reason\"");

    for (size_t at = 0; (at = str_find(body, name, at)) != SIZE_MAX;) {
        at += name.n;
        while (at < body.n && memchr(" \t\r\n:", body.p[at], 5) != NULL)
            at++;
        if (!str_starts(str_from(body, at), STR("null")))
            return true;
    }
    return false;
}

/* A stream's body that ended well: it is complete, or it says an error. */
static void check_stream(struct str body)
{
    bool finished = str_find(body, STR("[DONE]"), 0) != SIZE_MAX || has_finish(body);

    assert(finished || str_find(body, STR("\"error\""), 0) != SIZE_MAX);
}

/* Ours, or the upstream's own (which cannot be found in what came coded). */
static void check_error(const struct run *run, struct str body)
{
    assert(str_starts(body, STR("{\"error\":{\"message\":")) ||
           str_find(body, STR("\"error\""), 0) != SIZE_MAX ||
           str_find(buf_str(&run->up_text), body, 0) != SIZE_MAX ||
           str_find(buf_str(&run->up_text), STR("ncoding:"), 0) != SIZE_MAX);
}

/* The answer at the beginning of bytes, to what *sent begins with; which it takes off, unless the
 * answer is an interim one. Returns whether it has no body by its request. */
static bool read_answer(const struct run *run, struct str bytes, struct str *sent)
{
    bool eof = run->client.eof && !run->client.failed;

    strict_read_request(&reader, *sent);
    bool whole = reader.kind == STRICT_DONE;
    struct str rest = whole ? str_from(*sent, reader.size) : *sent;
    bool is_head = whole && str_eq(reader.method, STR("HEAD"));
    strict_read_answer(&reader, bytes, is_head, eof);
    /* Of what is no request, the server may have seen that it is a HEAD. */
    if (!whole && reader.kind == STRICT_MORE && str_starts(*sent, STR("HEAD"))) {
        is_head = true;
        strict_read_answer(&reader, bytes, is_head, eof);
    }
    if (reader.kind == STRICT_DONE && reader.status >= 200)
        *sent = rest;
    return is_head;
}

static void check_client(struct run *run)
{
    struct str bytes = buf_str(&run->client.got);
    struct str sent = buf_str(&run->client_text);
    size_t answers = 0;

    strict_read_request(&reader, sent);
    bool plain = reader.kind == STRICT_DONE && reader.plain && reader.head_size <= 1024;
    for (; bytes.n > 0; bytes = str_from(bytes, reader.size)) {
        bool is_head = read_answer(run, bytes, &sent);
        struct str type = strict_get(&reader, STR("content-type"));
        assert(reader.kind != STRICT_BAD);
        if (reader.kind == STRICT_MORE) {
            assert(run->disturbed || run->client.failed);
            break;
        }
        answers += reader.status >= 200;
        if (reader.status == 200 && str_starts(type, STR("text/event-stream")))
            check_stream(buf_str(&reader.body));
        if (reader.status >= 400 && !is_head)
            check_error(run, buf_str(&reader.body));
    }
    assert(answers > 0 || !plain || run->disturbed);
}

static size_t count(struct str text, struct str what)
{
    size_t n = 0;

    for (size_t at = 0; (at = str_find(text, what, at)) != SIZE_MAX; at += what.n)
        n++;
    return n;
}

static void check_keys(struct run *run)
{
    bool ok = buf_add(&run->up_all, buf_str(&run->upstream.got));

    assert(ok);
    /* Unless one of them says it by itself, as fuzzers come to do. */
    if (count(buf_str(&run->up_text), STR(UPSTREAM_KEY)) == 0 &&
        count(buf_str(&run->client_text), STR(UPSTREAM_KEY)) == 0)
        assert(count(buf_str(&run->client.got), STR(UPSTREAM_KEY)) == 0);
    /* Where the client says its key outside the header, it is text. */
    if (count(buf_str(&run->client_text), STR(CLIENT_KEY)) <= 1)
        assert(count(buf_str(&run->up_all), STR(CLIENT_KEY)) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    log_set_level(LOG_ERROR);
    strict_init(&reader);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5 || size > INPUT_MAX)
        return 0;
    size_t script_n = data[1] & 0x3fu;
    if (script_n > size - 4)
        script_n = size - 4;
    const uint8_t *script = data + 2;
    struct str rest = str_of((const char *)script + script_n, size - 2 - script_n);
    size_t client_n = (size_t)(uint8_t)rest.p[0] * 256 + (uint8_t)rest.p[1];
    rest = str_from(rest, 2);
    struct run *run = mem_new(sizeof(*run));

    buf_init(&run->client.got, TEXT_MAX);
    buf_init(&run->upstream.got, TEXT_MAX);
    buf_init(&run->up_text, TEXT_MAX);
    buf_init(&run->up_all, TEXT_MAX);
    buf_init(&run->client_text, TEXT_MAX);
    wrap_client(run, (enum client_kind)(data[0] & 3u), str_head(rest, client_n));
    wrap_upstream(run, (enum upstream_kind)(data[0] >> 2 & 3u), str_from(rest, client_n));
    run_begin(run);
    run_script(run, script, script_n);
    check_client(run);
    check_keys(run);
    run_end(run);
    buf_fini(&run->client.got);
    buf_fini(&run->upstream.got);
    buf_fini(&run->up_text);
    buf_fini(&run->up_all);
    buf_fini(&run->client_text);
    mem_free(run);
    return 0;
}
