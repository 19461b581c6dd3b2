/* SPDX-License-Identifier: MIT */
/*
 * What a client sends: the input's half of a server's connection.
 *
 * What      Drives the parser as far as the state allows, tells the user, keeps what has to wait,
 *           refuses what cannot be read.
 * How       The states of `input` and the carry-over: see server.c.
 * Owns      The connection's request arena and its carry-over.
 * Not here  Answers, closing, the memory of connections (server.c).
 */
#include "http/server_priv.h"

enum { LOOK_MS = 1000 };

static bool input_open(const struct server_conn *c)
{
    switch ((enum input)c->input) {
    case INPUT_IDLE:
    case INPUT_HEAD:
        return !c->busy;
    case INPUT_BODY:
        return !c->paused;
    case INPUT_DROP:
        return true;
    case INPUT_HOLD:
    case INPUT_DONE:
    case INPUT_CLOSED:
        break;
    }
    return false;
}

static void request_begin(struct server_conn *c)
{
    struct server *server = c->server;

    assert(c->input == INPUT_IDLE && !c->busy);
    c->input = INPUT_HEAD;
    c->timed = false;
    c->message_gone = false;
    c->begin_us = loop_now_us(server->loop);
    c->begin_turn = loop_turn(server->loop);
    arena_init(&c->arena, server->options.arena_bytes_max, ARENA_BLOCK, server->options.budget);
    parse_reset(&c->parser);
    c->parser.head_bytes_max = server->options.header_bytes_max; /* may have changed */
    parse_begin(&c->parser, &c->arena, false);
}

/* Forgets the request that is over. */
void server_input_forget(struct server_conn *c)
{
    arena_reset(&c->arena);
    c->user = NULL;
    c->head_sent = false;
    c->ended = false;
    c->paused = false;
    c->expects = false;
}

void server_input_idle(struct server_conn *c)
{
    c->input = INPUT_IDLE;
    c->served = true;
    c->timed = false;
    timer_start(&c->timer, c->server->options.keepalive_timeout_ms);
}

/* The request cannot be read (further). */
static void refuse(struct server_conn *c, const struct error *e)
{
    static const struct message none = {.minor = 1};

    c->close_after = true;
    if (c->input == INPUT_DROP) {
        /* Its answer is complete and stands. */
        c->input = INPUT_CLOSED;
        if (!c->busy)
            server_finish(c);
        return;
    }
    if (c->head_sent) {
        server_lost(c);
        return;
    }
    bool in_head = c->input == INPUT_HEAD;
    c->body_ended = true; /* what comes now is no body that could be read on */
    c->input = INPUT_CLOSED;
    c->paused = false;
    timer_stop(&c->timer);
    if (in_head) {
        const struct message *m = parse_message(&c->parser);
        c->is_head = m->method == HTTP_HEAD;
        c->minor_1 = m->path.p == NULL || m->minor >= 1;
        c->keep_alive = false;
        c->user = NULL;
        c->busy = true;
    }
    const struct message *m = c->message_gone ? &none : parse_message(&c->parser);
    c->server->options.events->refuse(c, m, e);
}

static void head_come(struct server_conn *c)
{
    struct message *m = parse_message(&c->parser);

    c->input = INPUT_HOLD;
    c->busy = true;
    c->user = NULL;
    c->minor_1 = m->minor >= 1;
    c->is_head = m->method == HTTP_HEAD;
    c->keep_alive = m->keep_alive;
    c->has_length = m->has_length;
    c->body_left = m->content_length;
    c->has_body = m->chunked || m->content_length > 0;
    c->body_ended = false;
    c->expects = m->expect_continue && c->has_body;
    c->server->options.events->head(c, m);
}

static void body_come(struct server_conn *c, struct str bytes)
{
    c->read_ms = loop_now_ms(c->server->loop);
    if (c->has_length) {
        assert(bytes.n <= c->body_left);
        c->body_left -= bytes.n;
    }
    if (c->input == INPUT_BODY)
        c->server->options.events->body(c, bytes);
}

static void end_come(struct server_conn *c)
{
    bool tell = c->input == INPUT_BODY;

    c->input = INPUT_DONE;
    c->expects = false;
    c->body_ended = true;
    if (tell) {
        c->server->options.events->body_end(c);
    } else if (!c->busy) {
        /* `done` came before the end of the dropped body. */
        if (c->close_after)
            server_finish(c);
        else
            server_input_idle(c);
    }
}

/* All that came is parsed, and it was not enough. */
static void input_wait(struct server_conn *c)
{
    const struct server_options *options = &c->server->options;

    if (c->timed)
        return;
    c->timed = true;
    if (c->input == INPUT_HEAD) {
        timer_start(&c->timer, options->header_timeout_ms);
    } else {
        c->read_ms = loop_now_ms(c->server->loop);
        timer_start(&c->timer, options->body_idle_timeout_ms);
    }
}

/* Parses as far as the state allows; what is left of *bytes is for the carry-over. */
void server_input_consume(struct server_conn *c, struct str *bytes)
{
    struct str piece = STR_NULL;
    UNINITIALIZED struct error e;

    while (c->conn != NULL && input_open(c)) {
        if (c->input == INPUT_IDLE) {
            if (bytes->n == 0)
                return;
            request_begin(c);
        }
        enum parse_step step = parse_next(&c->parser, bytes, &piece, &e);
        switch (step) {
        case PARSE_MORE:
            assert(bytes->n == 0);
            input_wait(c);
            return;
        case PARSE_HEAD:
            c->timed = false;
            c->more_came = bytes->n > 0;
            head_come(c);
            break;
        case PARSE_BODY:
            body_come(c, piece);
            break;
        case PARSE_END:
            end_come(c);
            break;
        case PARSE_FAILED:
            refuse(c, &e);
            break;
        }
    }
}

void server_input_carry(struct server_conn *c, struct str bytes)
{
    if (!buf_add(&c->carry, bytes)) {
        /* More than a mark and one read: the conn did not stop when it was told to. */
        server_lost(c);
        return;
    }
    if (c->carry.n >= SERVER_CARRY_MAX && c->reading) {
        c->reading = false;
        conn_read_stop(c->conn);
        timer_start(&c->timer, LOOK_MS);
    }
}

void server_input_look(struct server_conn *c)
{
    assert(!c->reading);
    if (conn_has_left(c->conn))
        server_lost(c);
    else
        timer_start(&c->timer, LOOK_MS);
}

void server_input_resume(struct server_conn *c)
{
    struct str bytes = buf_str(&c->carry);

    if (!input_open(c))
        return;
    server_input_consume(c, &bytes);
    if (c->conn == NULL)
        return;
    buf_drop(&c->carry, c->carry.n - bytes.n);
    if (c->carry.n == 0 || c->input == INPUT_CLOSED)
        buf_fini(&c->carry);
    if (c->reading)
        return;
    if (c->carry.n < SERVER_CARRY_MAX) {
        c->reading = true;
        conn_read_start(c->conn);
    } else { /* the requests in it may have had the timer for their own ends */
        timer_start(&c->timer, LOOK_MS);
    }
}

static void body_late(struct server_conn *c)
{
    const struct server_options *options = &c->server->options;
    int64_t left_ms = c->read_ms + options->body_idle_timeout_ms - loop_now_ms(c->server->loop);
    struct error e;

    if (c->paused)
        left_ms = options->body_idle_timeout_ms;
    if (left_ms > 0) {
        timer_start(&c->timer, left_ms);
        return;
    }
    (void)FAIL(&e, ERR_REQUEST_TIMEOUT, "no byte of the body for %lld ms (body_idle_timeout)",
               (long long)options->body_idle_timeout_ms);
    refuse(c, &e);
}

void server_input_late(struct server_conn *c)
{
    struct error e;

    assert(c->timed);
    if (c->input != INPUT_HEAD) {
        body_late(c);
        return;
    }
    (void)FAIL(&e, ERR_REQUEST_TIMEOUT, "no complete head within %lld ms (header_timeout)",
               (long long)c->server->options.header_timeout_ms);
    refuse(c, &e);
}
