/* SPDX-License-Identifier: MIT */
/* For the client's tests: a user of a pool, who notes what he is told and may cancel anywhere. */
#pragma once

#include "http/client_script_priv.h"

/* ---- the user ---- */

static inline void cancel_if(struct ask *ask, enum cancel_in now)
{
    if (ask->cancel_in == now)
        client_cancel(&ask->r);
}

static inline void on_sent(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->sents++;
    cancel_if(ask, CANCEL_SENT);
}

static inline void on_head(struct client_request *r, void *ctx, const struct message *m)
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

static inline void on_body(struct client_request *r, void *ctx, struct str bytes)
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

static inline void on_end(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->ends++;
    if (ask->in_body)
        buf_add(&ask->log, STR("\n"));
    buf_add(&ask->log, STR("end\n"));
    cancel_if(ask, CANCEL_END);
}

static inline void ask_start(struct user *user, struct ask *ask);

static inline void on_batch(struct client_request *r, void *ctx)
{
    struct ask *ask = ctx;

    assert_ptr_equal(r, ask->r);
    ask->batches++;
    cancel_if(ask, CANCEL_BATCH);
    if (ask->ends > 0 && ask->next != NULL)
        ask_start(ask->user, ask->next);
}

static inline void on_failed(struct client_request *r, void *ctx, const struct error *e)
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

static inline enum error_code ask_try(struct user *user, struct ask *ask, struct error *e)
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

static inline void ask_start(struct user *user, struct ask *ask)
{
    struct error e;
    unsigned before = ask->sents + ask->heads + ask->faileds;

    assert_int_equal(ask_try(user, ask, &e), OK);
    /* Never from within the call. */
    assert_int_equal(ask->sents + ask->heads + ask->faileds, before);
}

static inline void ask_run(struct user *user, struct ask *ask)
{
    ask_start(user, ask);
    loop_test_run(user->loop);
}

static inline void ask_fini(struct ask *ask)
{
    buf_fini(&ask->log);
    if (ask->arena.bytes_max > 0)
        arena_fini(&ask->arena);
    *ask = (struct ask){0};
}

static inline struct user *user_new(void)
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

static inline void user_free(struct user *user)
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

static inline void assert_log(struct ask *ask, const char *expected)
{
    buf_add_char(&ask->log, '\0');
    assert_string_equal(ask->log.p, expected);
    ask->log.n--;
}

static inline bool has(const struct buf *buf, const char *what)
{
    return str_find(buf_str(buf), str_c(what), 0) != SIZE_MAX;
}

static inline size_t count(struct user *user)
{
    return atomic_load(&user->connections);
}

#define OK2        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define OK_CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
#define OK2_LOG    "head 200 keep length=2\n  Content-Length=2\nbody ok\nend\n"
