/* SPDX-License-Identifier: MIT */
/*
 * Opaque paths: embeddings, images, audio, files, batches and whatever else goes to a backend, and
 * comes from it, as it is.
 *
 * What      Keeps the beginning of the request's body, sends the request, passes the answer on.
 * How       BODY    the beginning is collected: all of it, or opaque_peek_bytes
 *           STAGES  its model says which backend (as for any other request)
 *           OPAQUE  what is beyond the beginning goes up as it comes
 *                   head ─► committed ─► pieces, each read in one write ─► end
 *                   An error (400 and above) is collected before it is told: it may repeat our key.
 *           Each side is held back while the other does not take what came: nothing grows with the
 *           length of a body. An answer that breaks off after its head ends without last chunk,
 *           or short of its length.
 * Owns      x->opaque: the beginning of the body, an error's body, the copy of an answer in which
 *           usage is looked for.
 * Not here  What a path or a body says (opaque_look), the machine itself (exchange.c).
 */
#include "gateway/opaque.h"

#include "gateway/attempt.h"
#include "gateway/embed.h"
#include "gateway/exchange.h"
#include "gateway/opaque_look.h"
#include "gateway/plan.h"
#include "gateway/unpack.h"
#include "gateway/upstream_head.h"

#include "base/mem.h"
#include "http/coding.h"
#include "http/message.h"
#include "text/url.h"

enum {
    ERROR_BYTES_MAX = 1024 * 1024,
    USAGE_BYTES_MAX = 1024 * 1024 /* of an answer in which usage is looked for */
};

struct opaque {
    struct str rest;         /* of the path, behind its version */
    struct str content_type; /* of the request; null: it says none */
    struct str accept;
    struct str conditions; /* ready lines: what part of it, and if it has changed */
    struct buf peek;       /* the body, or its beginning */
    struct opaque_model model;
    uint64_t length; /* of the body, as it goes up when nothing is changed in it */
    bool has_body;   /* or says that it has an empty one */
    bool has_length;
    bool streams;    /* the body is longer than what is kept of it */
    bool paused;     /* the client's body is, until the upstream takes more */
    bool looks;      /* the answer is copied for its usage */
    bool collects;   /* the answer is an error */
    struct buf copy; /* of the answer, for either */
};

/* --- the request ------------------------------------------------------------------------- */

static const struct str methods = STR_INIT("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

struct str opaque_methods(void)
{
    return methods;
}

bool opaque_is_anthropic(const struct message *m)
{
    struct str rest;

    return opaque_look_path(m->path, &rest) &&
           (opaque_look_is_anthropic(m->path) ||
            !str_is_null(http_headers_get(&m->headers, STR("anthropic-version"))));
}

/* What may be asked only under a condition: any of it, or only where something is fetched (RFC
 * 9110, 13.1 and 14.2). Dropped, a request would do what its client has forbidden. */
static bool is_condition(struct str name, bool fetches)
{
    static const struct str names[] = {
        STR_INIT("if-match"), STR_INIT("if-none-match"), STR_INIT("if-unmodified-since"),
        STR_INIT("range"),    STR_INIT("if-range"),      STR_INIT("if-modified-since")};
    enum { OF_ALL = 3 };

    for (size_t i = 0; i < (fetches ? COUNT_OF(names) : OF_ALL); i++) {
        if (str_eq_nocase(name, names[i]))
            return true;
    }
    return false;
}

static struct str conditions_of(struct exchange *x, const struct message *m)
{
    bool fetches = m->method == HTTP_GET || m->method == HTTP_HEAD;
    struct buf lines;

    buf_init(&lines, 2 * x->call.config->header_bytes_max);
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct http_header *header = &m->headers.items[i];
        if (is_condition(header->name, fetches))
            (void)buf_print(&lines, "%.*s: %.*s\r\n", STR_ARG(header->name),
                            STR_ARG(header->value));
    }
    struct str kept = lines.n == 0 ? STR_NULL : str_copy(server_arena(x->client), buf_str(&lines));
    buf_fini(&lines);
    return kept;
}

bool opaque_admit(struct exchange *x, const struct message *m)
{
    struct intake *intake = &x->call.intake;
    struct str rest;

    if (!opaque_look_path(m->path, &rest))
        return false;
    struct opaque *o = mem_new(sizeof(*o));
    x->opaque = o;
    o->rest = rest;
    o->content_type = http_headers_get(&m->headers, STR("content-type"));
    o->accept = http_headers_get(&m->headers, STR("accept"));
    o->conditions = conditions_of(x, m);
    o->has_body = m->has_length || m->chunked;
    o->has_length = m->has_length && str_is_null(m->content_encoding);
    o->length = m->content_length;
    /* What is beyond came with the last piece. */
    buf_init(&o->peek, x->call.config->opaque_peek_bytes + CLIENT_SEND_MAX);
    buf_set_budget(&o->peek, &x->station->gateway->inflight);
    intake->protocol = opaque_is_anthropic(m) ? protocol_find(STR("anthropic"))
                                              : protocol_find(STR("openai-chat"));
    intake->operation = OP_OPAQUE;
    intake->method = m->method_name;
    intake->path = m->path;
    intake->rest = rest;
    return true;
}

/* The client's body waits until opaque_resume, or the end. */
static void pause(struct exchange *x)
{
    x->opaque->paused = true;
    server_pause(x->client, true);
}

static void resume(struct exchange *x)
{
    x->opaque->paused = false;
    if (x->unpack == NULL || !unpack_resume(x->unpack))
        server_pause(x->client, false);
}

bool opaque_is_paused(const struct exchange *x)
{
    return x->opaque != NULL && x->opaque->paused;
}

static void keep(struct exchange *x, struct str bytes)
{
    struct opaque *o = x->opaque;

    if (o->peek.n == 0 && o->has_length)
        buf_expect(&o->peek, o->length < x->call.config->opaque_peek_bytes
                                 ? (size_t)o->length
                                 : x->call.config->opaque_peek_bytes);
    if (!buf_add(&o->peek, bytes)) {
        assert(o->peek.starved); /* a piece is at most CLIENT_SEND_MAX bytes */
        exchange_fail_starved(x, &x->call.error);
    } else if (o->peek.n > x->call.config->opaque_peek_bytes) {
        o->streams = true;
        pause(x);
    } else {
        return;
    }
    exchange_run(x);
}

/* Whether somebody up there still takes what comes. */
static bool is_wanted(const struct exchange *x)
{
    return x->attempt.request != NULL && x->attempt.status < 400 && !x->attempt.failed;
}

/* What is kept of the body is on its way, and none of it goes again. An upload that takes long, or
 * stands still, holds nothing of inflight_bytes_max from here on. */
static void forget_peek(struct exchange *x)
{
    if (x->opaque->peek.n > 0 && !client_send_is_kept(x->attempt.request))
        buf_fini(&x->opaque->peek);
}

void opaque_body(struct exchange *x, struct str bytes)
{
    assert(bytes.n <= CLIENT_SEND_MAX);
    x->bytes_up += bytes.n;
    if (x->state == EXCHANGE_BODY) {
        keep(x, bytes);
        return;
    }
    if (!is_wanted(x))
        return;
    metric_add(&x->station->metrics, METRIC_upstream_sent_bytes_total, x->attempt.backend->slot,
               (int64_t)bytes.n);
    if (client_send(x->attempt.request, bytes, false) == CLIENT_FULL)
        pause(x);
    forget_peek(x);
}

void opaque_body_end(struct exchange *x)
{
    if (x->state == EXCHANGE_BODY || x->call.error.code != OK)
        exchange_run(x);
    else if (is_wanted(x))
        (void)client_send(x->attempt.request, STR(""), true);
}

bool opaque_is_ready(const struct exchange *x)
{
    return x->body_complete || x->opaque->streams;
}

bool opaque_is_whole(const struct exchange *x)
{
    return !x->opaque->streams;
}

bool opaque_has_first_key(const struct exchange *x)
{
    return x->opaque->model.place == OPAQUE_NOWHERE &&
           !opaque_look_names_model(x->call.intake.method, x->call.intake.rest);
}

enum error_code opaque_look(struct exchange *x, struct error *e)
{
    struct opaque *o = x->opaque;

    TRY(opaque_look_model(x->call.intake.query, o->content_type,
                          str_head(buf_str(&o->peek), x->call.config->opaque_peek_bytes),
                          x->call.arena, &o->model, e));
    /* It lies in the body, which may go before the exchange does. */
    o->model.name = str_copy(x->call.arena, o->model.name);
    x->call.request.model = o->model.name;
    return exchange_overflowed(x, e) ? e->code : OK;
}

/* --- where it goes ----------------------------------------------------------------------- */

static bool speaks(const struct backend *backend, const struct protocol *protocol)
{
    if (backend->local != NULL || backend->protocol == NULL)
        return false;
    /* What there is besides chats is the same for both of OpenAI's. */
    return backend_speaks(backend, protocol) ||
           (str_starts(str_c(protocol->name), STR("openai-")) &&
            str_starts(str_c(backend->protocol->name), STR("openai-")));
}

/* What names no model goes to the default backend; what only Anthropic's clients ask, to one of
 * theirs. */
static struct backend *instead_of(const struct exchange *x, struct backend *backend)
{
    const struct protocol *protocol = x->call.intake.protocol;

    if (speaks(backend, protocol) || x->opaque->model.place != OPAQUE_NOWHERE ||
        !str_eq(str_c(protocol->name), STR("anthropic")))
        return backend;
    for (size_t i = 0; i < x->call.backends->n; i++) {
        struct backend *other = &x->call.backends->items[i];
        if (other->functional && speaks(other, protocol))
            return other;
    }
    return backend;
}

enum error_code opaque_plan(struct exchange *x, struct error *e)
{
    struct plan_element *element = &x->call.plan.elements[0];
    const struct intake *intake = &x->call.intake;

    assert(x->call.plan.n == 1);
    element->backend = instead_of(x, element->backend);
    const struct backend *backend = element->backend;
    if (speaks(backend, intake->protocol))
        return OK;
    if (x->embed != NULL)
        return OK;
    if (embed_is_for(x, backend))
        return embed_begin(x, opaque_is_whole(x) ? buf_str(&x->opaque->peek) : STR_NULL, e);
    if (backend->local != NULL)
        return FAIL(e, ERR_NOT_FOUND, "%.*s %.*s: the built-in backend %.*s only has chats",
                    STR_ARG(str_head(intake->method, 20)), STR_ARG(str_head(intake->path, 80)),
                    STR_ARG(str_head(backend->name, 40)));
    return FAIL(e, ERR_NOT_FOUND,
                "%.*s %.*s: backend %.*s speaks %s, which has no such path; name another one "
                "(model: \"BACKEND:MODEL\"), or make it the default",
                STR_ARG(str_head(intake->method, 20)), STR_ARG(str_head(intake->path, 80)),
                STR_ARG(str_head(backend->name, 40)),
                backend->protocol == NULL ? "another protocol" : backend->protocol->name);
}

/* --- the head that goes up ----------------------------------------------------------------- */

/* What the model is called there; null: as it stands in the request. */
static struct str new_name(const struct exchange *x)
{
    return x->opaque->model.place == OPAQUE_NOWHERE ? STR_NULL : x->call.element->model;
}

static struct str query_up(const struct exchange *x)
{
    static const struct str dropped[] = {{"key", 3}, {"api_key", 7}};
    const struct opaque_model *model = &x->opaque->model;
    struct str query = x->call.intake.query;
    struct str name = new_name(x);

    if (str_is_null(query))
        return query;
    if (model->place == OPAQUE_QUERY && !str_is_null(name)) {
        struct str written = opaque_look_write(model, name, x->call.arena);
        query = str_print(x->call.arena, "%.*s%.*s%.*s", STR_ARG(str_head(query, model->begin)),
                          STR_ARG(written), STR_ARG(str_from(query, model->end)));
    }
    return url_query_without(query, dropped, COUNT_OF(dropped), x->call.arena);
}

static void add_line(struct buf *head, const char *name, struct str value)
{
    if (!str_is_null(value))
        (void)buf_print(head, "%s: %.*s\r\n", name, STR_ARG(value));
}

/* RFC 9110, 8.6: these say that they have none; there are servers who insist (411). */
static bool expects_body(struct str method)
{
    return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
           str_eq(method, STR("PATCH"));
}

/* Built afresh (contract, section 2, "Headers up"); null when it is too long. */
static struct str make_head(struct exchange *x, uint64_t length, bool chunked)
{
    const struct opaque *o = x->opaque;
    const struct intake *intake = &x->call.intake;
    const struct backend *backend = x->attempt.backend;
    struct buf *head = &x->station->head;
    struct str query = query_up(x);

    buf_reset(head);
    (void)buf_add(head, intake->method);
    (void)buf_add_char(head, ' ');
    backend_path(backend, o->rest, x->model_sent, head);
    if (query.n > 0)
        (void)buf_print(head, "?%.*s", STR_ARG(query));
    backend_path_query(backend, query.n == 0, head);
    (void)buf_add(head, STR(" HTTP/1.1\r\n"));
    add_line(head, "accept", str_is_null(o->accept) ? STR("*/*") : o->accept);
    add_line(head, "content-type", o->content_type);
    if (chunked)
        (void)buf_add(head, STR("transfer-encoding: chunked\r\n"));
    else if (o->has_body || expects_body(intake->method))
        (void)buf_print(head, "content-length: %llu\r\n", (unsigned long long)length);
    (void)buf_add(head, o->conditions);
    upstream_head_add_common(head, x->station, backend, x->attempt.key);
    upstream_head_add_version(head, backend, intake->protocol, intake->forward_headers);
    (void)buf_add(head, intake->forward_headers);
    if (!o->streams && !opaque_has_first_key(x) && str_eq(intake->method, STR("POST")))
        upstream_head_add_idempotency(x, intake->forward_headers, head);
    (void)buf_add(head, STR("\r\n"));
    struct str text = buf_ok(head) ? str_copy(x->call.arena, buf_str(head)) : STR_NULL;
    buf_reset(head);
    return text;
}

/* --- the attempt ------------------------------------------------------------------------- */

static struct exchange *exchange_of(void *ctx)
{
    struct exchange *x;

    CAST(x, ctx, EXCHANGE_MAGIC);
    return x;
}

/* The upstream has the request whole, and has answered: it is needed no more. */
static void release(struct exchange *x)
{
    if (!x->attempt.sent || !x->committed || x->released || x->state != EXCHANGE_OPAQUE)
        return;
    x->released = true;
    buf_fini(&x->opaque->peek);
    server_arena_release(x->client);
}

static void on_sent(struct client_request *r, void *ctx)
{
    struct exchange *x = exchange_of(ctx);

    assert(r == x->attempt.request);
    x->attempt.sent = true;
    release(x);
}

static void on_writable(struct client_request *r, void *ctx)
{
    struct exchange *x = exchange_of(ctx);

    assert(r == x->attempt.request);
    forget_peek(x);
    if (x->opaque->paused)
        resume(x);
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    struct exchange *x = exchange_of(ctx);

    assert(r == x->attempt.request);
    x->attempt.head = m;
    x->attempt.status = m->status;
    x->first_us = loop_now_us(x->station->loop);
    if (m->status >= 400)
        metric_add(&x->station->metrics, METRIC_upstream_errors_total, x->attempt.backend->slot, 1);
    exchange_run(x);
}

/* A copy of the answer that is of use only as a whole. */
static void copy(struct opaque *o, struct str bytes)
{
    if (o->looks && !buf_add(&o->copy, bytes)) {
        o->looks = false;
        buf_fini(&o->copy);
    }
}

static void collect_error(struct exchange *x, struct str bytes)
{
    struct buf *body = &x->opaque->copy;
    struct error e = {.code = OK};

    if (x->attempt.failed || buf_add(body, bytes))
        return;
    if (body->starved)
        exchange_fail_starved(x, &e);
    else
        FAIL(&e, ERR_UPSTREAM_TOO_LARGE, "an error of more than %d bytes", ERROR_BYTES_MAX);
    attempt_fail(x, &e);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct exchange *x = exchange_of(ctx);

    assert(r == x->attempt.request);
    metric_add(&x->station->metrics, METRIC_upstream_bytes_total, x->attempt.backend->slot,
               (int64_t)bytes.n);
    x->attempt.received += bytes.n;
    if (!x->committed) {
        collect_error(x, bytes);
        return;
    }
    copy(x->opaque, bytes);
    x->frames++;
    server_body(x->client, bytes);
}

static void on_batch(struct client_request *r, void *ctx)
{
    (void)r;
    exchange_run(exchange_of(ctx));
}

static const struct client_events opaque_events = {
    .connected = attempt_connected,
    .sent = on_sent,
    .head = on_head,
    .body = on_body,
    .end = attempt_ended,
    .batch = on_batch,
    .failed = attempt_lost,
    .writable = on_writable,
};

/* The body's beginning with the model's other name in it: at most three pieces. */
static size_t body_up(struct exchange *x, struct str **ret_parts, uint64_t *ret_bytes)
{
    const struct opaque_model *model = &x->opaque->model;
    struct str body = buf_str(&x->opaque->peek);
    struct str *parts = arena_array(x->call.arena, 3, sizeof(*parts));
    struct str name = new_name(x);
    bool inside = model->place == OPAQUE_JSON || model->place == OPAQUE_MULTIPART;

    *ret_parts = parts;
    *ret_bytes = body.n;
    if (!inside || str_is_null(name)) {
        parts[0] = body;
        return body.n > 0 ? 1 : 0;
    }
    parts[0] = str_head(body, model->begin);
    parts[1] = opaque_look_write(model, name, x->call.arena);
    parts[2] = str_from(body, model->end);
    *ret_bytes = parts[0].n + parts[1].n + parts[2].n;
    return 3;
}

static void note_model(struct exchange *x)
{
    struct str name = new_name(x);

    if (str_is_null(name))
        name = x->opaque->model.name;
    x->model_sent = str_copy(&x->answer, str_head(name, 256));
    x->call.model_sent = x->model_sent;
}

enum error_code opaque_start(struct exchange *x, struct error *e)
{
    struct opaque *o = x->opaque;
    struct str *parts;
    uint64_t bytes;

    note_model(x);
    size_t n = body_up(x, &parts, &bytes);
    /* Contract, section 2: a longer body whose prefix is stripped gets chunked encoding. */
    bool chunked = o->streams && (n > 1 || !o->has_length);
    const struct client_call call = {
        .head = make_head(x, o->streams ? o->length : bytes, chunked),
        .body = parts,
        .body_n = n,
        .more = o->streams,
        .chunked = chunked,
        .is_head = x->call.intake.is_head,
        .as_is = true,
        .arena = x->call.arena,
        .events = &opaque_events,
        .ctx = x,
    };
    TRY(attempt_send(x, &call, bytes, e));
    if (o->streams)
        resume(x);
    return OK;
}

/* --- the answer -------------------------------------------------------------------------- */

/* Of an error the http room has undone its coding: it may repeat our key. */
static bool is_decoded(const struct message *m)
{
    enum coding coding = m->status < 400 ? CODING_IDENTITY : coding_of_headers(&m->headers);

    return coding == CODING_GZIP || coding == CODING_DEFLATE;
}

bool opaque_goes_down(const struct message *m, struct str name)
{
    static const struct str names[] = {STR_INIT("content-disposition"), STR_INIT("content-range"),
                                       STR_INIT("accept-ranges"), STR_INIT("last-modified"),
                                       STR_INIT("etag")};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq_nocase(name, names[i]))
            return true;
    }
    return str_eq_nocase(name, STR("content-encoding")) && !is_decoded(m);
}

/* In what of an answer usage is looked for: JSON that is not coded and not long. */
static bool may_say_usage(const struct message *m)
{
    struct str type = http_headers_get(&m->headers, STR("content-type"));

    return str_starts_nocase(type, STR("application/json")) &&
           coding_of_headers(&m->headers) == CODING_IDENTITY &&
           (!m->has_length || m->content_length <= USAGE_BYTES_MAX);
}

static void take_usage(struct exchange *x)
{
    struct opaque *o = x->opaque;

    if (!o->looks || o->copy.n == 0)
        return;
    struct opaque_usage usage = opaque_look_usage(buf_str(&o->copy));
    x->call.usage.input = usage.input;
    x->call.usage.output = usage.output;
    x->call.usage.cached = usage.cached;
}

static struct str type_of(const struct message *m)
{
    return http_headers_get(&m->headers, STR("content-type"));
}

/* Only now, that the upstream has answered in earnest. */
static void commit(struct exchange *x)
{
    const struct message *m = x->attempt.head;
    struct opaque *o = x->opaque;

    o->looks = may_say_usage(m);
    exchange_commit(x, m->status, type_of(m), m->has_length ? (int64_t)m->content_length : -1);
}

/* RFC 9110, 8.6: of an answer to HEAD it says what GET would have got, or nothing. */
static int64_t length_of_head(const struct message *m)
{
    return m->has_length && !is_decoded(m) ? (int64_t)m->content_length : -1;
}

static enum exchange_state send_error(struct exchange *x)
{
    const struct message *m = x->attempt.head;
    struct buf *copy = &x->opaque->copy;

    /* What was not kept whole cannot be said again. */
    if (keys_answered(x, buf_str(copy)) && !x->opaque->streams) {
        buf_reset(copy);
        return exchange_again(x);
    }
    struct str body = plan_redact_keys(x->attempt.backend, buf_str(copy), x->call.arena);
    attempt_note_body(x, body);
    if (exchange_overflowed(x, &x->call.error))
        return EXCHANGE_FAIL;
    bool is_head = x->call.intake.is_head;
    exchange_commit(x, m->status, type_of(m), is_head ? length_of_head(m) : (int64_t)body.n);
    if (!is_head)
        server_body(x->client, body);
    server_end(x->client);
    (void)server_flush(x->client);
    return EXCHANGE_SENT;
}

/* The head came. True: it is no answer that could be passed on. */
static bool refuses(struct exchange *x)
{
    int status = x->attempt.status;
    struct error e = {.code = OK};

    if (status < 300 || status >= 400 || status == 304)
        return false;
    FAIL(&e, ERR_UPSTREAM_BROKEN, "status %d, a redirect, which is not followed", status);
    attempt_fail(x, &e);
    return true;
}

static enum exchange_state before_commit(struct exchange *x)
{
    struct opaque *o = x->opaque;

    if (x->attempt.failed || x->call.error.code != OK)
        return EXCHANGE_FAIL;
    if (x->attempt.head == NULL)
        return EXCHANGE_OPAQUE;
    if (refuses(x))
        return EXCHANGE_FAIL;
    if (o->copy.size_max == 0) {
        buf_init(&o->copy, ERROR_BYTES_MAX > USAGE_BYTES_MAX ? ERROR_BYTES_MAX : USAGE_BYTES_MAX);
        buf_set_budget(&o->copy, &x->station->gateway->inflight);
    }
    if (x->attempt.status >= 400)
        return x->attempt.ended ? send_error(x) : EXCHANGE_OPAQUE;
    commit(x);
    return EXCHANGE_OPAQUE;
}

/* What this read brought goes down; who is slow holds the upstream back. */
static enum exchange_state relay(struct exchange *x)
{
    bool full = server_flush(x->client) == SERVER_FULL;

    release(x);
    if (full)
        attempt_pause(x);
    return EXCHANGE_OPAQUE;
}

enum exchange_state opaque_run(struct exchange *x)
{
    if (!x->committed) {
        enum exchange_state next = before_commit(x);
        if (!x->committed || next != EXCHANGE_OPAQUE || !x->attempt.ended)
            return next;
    }
    if (x->attempt.failed || x->call.error.code != OK) {
        attempt_cancel(x);
        exchange_settle(x);
        metric_add(&x->station->metrics, METRIC_errors_total, (size_t)x->call.error.code, 1);
        server_break(x->client);
        (void)server_flush(x->client);
        return EXCHANGE_SENT;
    }
    if (!x->attempt.ended)
        return relay(x);
    take_usage(x);
    server_end(x->client);
    (void)server_flush(x->client);
    return EXCHANGE_SENT;
}

void opaque_free(struct opaque **opaque)
{
    struct opaque *o = *opaque;

    *opaque = NULL;
    if (o == NULL)
        return;
    buf_fini(&o->peek);
    if (o->copy.size_max > 0)
        buf_fini(&o->copy);
    mem_free(o);
}
