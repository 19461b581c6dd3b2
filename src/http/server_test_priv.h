/* SPDX-License-Identifier: MIT */
/*
 * For the server's tests: a user of the server that does as it is told and notes what happens, and
 * the client's end of one connection in memory, on the tests' clock.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/server.h"
#include "io/conn.h"

enum {
    HEAD_MAX = 1024,
    HEADER_MS = 10000,
    BODY_MS = 60000,
    KEEPALIVE_MS = 75000,
    WRITE_MS = 40000,
    LOG_MAX = 1 << 24,
};

enum answer_when { ANSWER_AT_HEAD, ANSWER_AT_END, ANSWER_BY_HAND };

/* What the user of the server does, and what happened to it. */
struct app {
    struct loop *loop;
    struct server *server;
    struct arena_budget budget;
    enum answer_when when;
    bool no_accept;
    bool no_flush;
    bool refuse_by_hand;
    int status;
    struct str headers;
    struct str body;
    int64_t length;
    struct server_conn *c; /* of the newest head or refuse */
    struct buf log;
    bool in_body;
    unsigned heads, dones, gones, closeds, refuses, writables;
    bool abort_in_head, abort_in_body, pause_in_body;
    /* the client's end */
    struct conn *conn;
    struct buf in;
    bool eof, failed;
};

static inline struct app *app_of(struct server_conn *c)
{
    return server_ctx(c);
}

static inline void note(struct app *app, const char *what)
{
    app->in_body = false;
    buf_add(&app->log, str_c(what));
    buf_add_char(&app->log, '\n');
}

static inline void answer(struct app *app, struct server_conn *c)
{
    server_head(c, app->status, app->headers, app->length);
    assert_true(server_head_sent(c));
    server_body(c, app->body);
    server_end(c);
    if (!app->no_flush)
        (void)server_flush(c);
}

static inline void on_head(struct server_conn *c, struct message *m)
{
    struct app *app = app_of(c);

    assert_null(server_user(c));
    server_set_user(c, app);
    app->heads++;
    app->c = c;
    note(app, "head");
    buf_print(&app->log, " %.*s %.*s?%.*s 1.%d%s%s%s", STR_ARG(m->method_name), STR_ARG(m->path),
              STR_ARG(m->query), m->minor, m->keep_alive ? " keep" : "",
              m->chunked ? " chunked" : "", m->upgrade ? " upgrade" : "");
    if (m->has_length)
        buf_print(&app->log, " length=%llu", (unsigned long long)m->content_length);
    buf_add_char(&app->log, '\n');
    for (size_t i = 0; i < m->headers.n; i++)
        buf_print(&app->log, "  %.*s=%.*s\n", STR_ARG(m->headers.items[i].name),
                  STR_ARG(m->headers.items[i].value));
    if (app->abort_in_head) {
        server_abort(c);
        return;
    }
    if (!app->no_accept)
        server_accept(c);
    if (app->when == ANSWER_AT_HEAD)
        answer(app, c);
}

static inline void on_body(struct server_conn *c, struct str bytes)
{
    struct app *app = app_of(c);

    assert_true(bytes.n > 0);
    assert_ptr_equal(server_user(c), app);
    if (!app->in_body)
        note(app, "body");
    app->in_body = true;
    buf_add(&app->log, bytes);
    if (app->abort_in_body)
        server_abort(c);
    else if (app->pause_in_body)
        server_pause(c, true);
}

static inline void on_body_end(struct server_conn *c)
{
    struct app *app = app_of(c);
    if (app->in_body)
        buf_add_char(&app->log, '\n');
    note(app, "body_end");
    if (app->when == ANSWER_AT_END)
        answer(app, c);
}

static inline void on_writable(struct server_conn *c)
{
    app_of(c)->writables++;
}

static inline void on_done(struct server_conn *c)
{
    app_of(c)->dones++;
    note(app_of(c), "done");
}

static inline void on_gone(struct server_conn *c)
{
    app_of(c)->gones++;
    note(app_of(c), "gone");
}

static inline void on_refuse(struct server_conn *c, const struct message *m, const struct error *e)
{
    struct app *app = app_of(c);

    app->refuses++;
    app->c = c;
    note(app, "refuse");
    buf_print(&app->log, " %s %.*s: %s\n", error_name(e->code), STR_ARG(m->path), e->detail);
    if (app->refuse_by_hand)
        return;
    server_head(c, error_status(e), STR("X-Refused: yes\r\n"), 4);
    server_body(c, STR("bad\n"));
    server_end(c);
}

static inline void on_closed(struct server_conn *c)
{
    app_of(c)->closeds++;
    note(app_of(c), "closed");
}

static const struct server_events app_events = {
    .head = on_head,
    .body = on_body,
    .body_end = on_body_end,
    .writable = on_writable,
    .done = on_done,
    .gone = on_gone,
    .refuse = on_refuse,
    .closed = on_closed,
};

/* ---- the client's end ---- */

static inline void peer_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    assert_true(buf_add(&((struct app *)ctx)->in, bytes));
}

static inline void peer_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    ((struct app *)ctx)->eof = true;
}

static inline void peer_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)conn;
    (void)e;
    ((struct app *)ctx)->failed = true;
}

static const struct conn_events peer_events = {
    .read = peer_read,
    .eof = peer_eof,
    .failed = peer_failed,
};

static inline void app_connect(struct app *app)
{
    struct conn *theirs = NULL;

    server_close_all(app->server);
    conn_close(&app->conn);
    loop_test_run(app->loop);
    buf_reset(&app->in);
    buf_reset(&app->log);
    app->eof = false;
    app->failed = false;
    app->in_body = false;
    app->heads = app->dones = app->gones = app->closeds = app->refuses = app->writables = 0;
    conn_pair(app->loop, &app->conn, &theirs);
    conn_set_events(app->conn, &peer_events, app);
    conn_read_start(app->conn);
    server_adopt(app->server, theirs);
}

static inline struct app *app_new(void)
{
    struct app *app = mem_new(sizeof(*app));

    app->loop = loop_test_new();
    app->status = 200;
    app->length = 3;
    app->body = STR("yes");
    buf_init(&app->log, LOG_MAX);
    buf_init(&app->in, LOG_MAX);
    const struct server_options options = {
        .events = &app_events,
        .ctx = app,
        .header_bytes_max = HEAD_MAX,
        .header_timeout_ms = HEADER_MS,
        .body_idle_timeout_ms = BODY_MS,
        .keepalive_timeout_ms = KEEPALIVE_MS,
        .write_timeout_ms = WRITE_MS,
        .arena_bytes_max = 1 << 20,
        .budget = &app->budget,
    };
    app->server = server_new(app->loop, &options);
    app_connect(app);
    return app;
}

static inline void app_free(struct app *app)
{
    server_close_all(app->server);
    loop_test_run(app->loop);
    assert_int_equal(server_conn_count(app->server), 0);
    /* Every request's memory was given back. */
    assert_int_equal(atomic_load(&app->budget.used), 0);
    conn_close(&app->conn);
    server_free(&app->server);
    loop_test_free(&app->loop);
    buf_fini(&app->log);
    buf_fini(&app->in);
    mem_free(app);
}

static inline void feed(struct app *app, struct str bytes)
{
    (void)conn_write(app->conn, &bytes, 1);
    loop_test_run(app->loop);
}

static inline void feed_z(struct app *app, const char *bytes)
{
    feed(app, str_c(bytes));
}

static inline bool has(const struct buf *buf, const char *what)
{
    return str_find(buf_str(buf), str_c(what), 0) != SIZE_MAX;
}

static inline void assert_in(struct app *app, const char *expected)
{
    buf_add_char(&app->in, '\0');
    assert_string_equal(app->in.p, expected);
    app->in.n--;
}

static inline void assert_log(struct app *app, const char *expected)
{
    buf_add_char(&app->log, '\0');
    assert_string_equal(app->log.p, expected);
    app->log.n--;
}

#define DATE      "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
#define YES       "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 3\r\n\r\nyes"
#define YES_CLOSE "HTTP/1.1 200 OK\r\n" DATE "Content-Length: 3\r\nConnection: close\r\n\r\nyes"
