/* SPDX-License-Identifier: MIT */
/*
 * What      Heads of requests to backends, built afresh (behaviour.md, section 2, "Headers up").
 * How       In the station's buffer, then copied into an arena.
 * Owns      Nothing.
 * Not here  Which of the client's headers go up (admit.c), sending (attempt.c).
 */
#include "gateway/upstream_head.h"

#include "gateway/exchange.h"
#include "gateway/gateway_priv.h"
#include "gateway/plan.h"

/* Whether there is such a line already: of the client's, or of the configuration's. */
static bool has_line(const struct backend *backend, struct str forwarded, struct str name)
{
    struct str line;

    while (str_cut(&forwarded, '\n', &line)) {
        if (str_starts_nocase(line, name))
            return true;
    }
    for (size_t i = 0; i < backend->config->headers.n; i++) {
        if (str_starts_nocase(backend->config->headers.items[i], name))
            return true;
    }
    return false;
}

/* Servers of Anthropic's protocol refuse what does not say which version it is of. */
void upstream_head_add_version(struct buf *head, const struct backend *backend,
                               const struct protocol *protocol, struct str forwarded)
{
    if (str_eq(str_c(protocol->name), STR("anthropic")) &&
        !has_line(backend, forwarded, STR("anthropic-version:")))
        (void)buf_add(head, STR("anthropic-version: 2023-06-01\r\n"));
}

/* The lines that every request to this backend has: host, agent, key, the configured ones. */
void upstream_head_add_common(struct buf *head, const struct station *station,
                              const struct backend *backend, const struct backend_key *key)
{
    static const char *const lines[] = {
        [KEY_BEARER] = "authorization: Bearer ",
        [KEY_X_API_KEY] = "x-api-key: ",
        [KEY_API_KEY] = "api-key: ",
        [KEY_X_GOOG_API_KEY] = "x-goog-api-key: ",
    };

    (void)buf_add(head, STR("host: "));
    (void)buf_add(head, backend->authority);
    (void)buf_add(head, STR("\r\naccept-encoding: identity\r\nuser-agent: llm-proxy/"));
    (void)buf_add(head, str_c(station->gateway->version));
    (void)buf_add(head, STR("\r\n"));
    if (key != NULL) {
        (void)buf_add(head, str_c(lines[backend->key_header]));
        (void)buf_add(head, secret_reveal(&key->key));
        (void)buf_add(head, STR("\r\n"));
    }
    for (size_t i = 0; i < backend->config->headers.n; i++) {
        (void)buf_add(head, backend->config->headers.items[i]);
        (void)buf_add(head, STR("\r\n"));
    }
}

struct str upstream_head_get(struct station *station, const struct backend *backend,
                             struct str target, struct arena *arena)
{
    struct buf *head = &station->head;

    buf_reset(head);
    (void)buf_add(head, STR("GET "));
    (void)buf_add(head, target);
    (void)buf_add(head, STR(" HTTP/1.1\r\naccept: application/json\r\n"));
    upstream_head_add_common(head, station, backend,
                             plan_key_first(backend, loop_now_ms(station->loop)));
    upstream_head_add_version(head, backend, backend->protocol, STR_NULL);
    (void)buf_add(head, STR("\r\n"));
    struct str text = str_copy(arena, buf_str(head));
    buf_reset(head);
    return text;
}

struct str upstream_head_plain(struct exchange *x, const struct backend *backend,
                               const struct backend_key *key, const struct wire *wire, bool stream)
{
    struct buf *head = &x->station->head;

    buf_reset(head);
    (void)buf_add(head, wire->method);
    (void)buf_add_char(head, ' ');
    backend_path(backend, wire->path, STR_NULL, head);
    backend_path_query(backend, str_find_char(wire->path, '?', 0) == SIZE_MAX, head);
    (void)buf_add(head, STR(" HTTP/1.1\r\naccept: "));
    (void)buf_add(head, stream ? STR("text/event-stream\r\n") : STR("application/json\r\n"));
    if (!str_is_null(wire->content_type)) {
        (void)buf_add(head, STR("content-type: "));
        (void)buf_add(head, wire->content_type);
        (void)buf_add(head, STR("\r\n"));
    }
    if (wire->body_n > 0 || str_eq(wire->method, STR("POST"))) {
        (void)buf_add(head, STR("content-length: "));
        (void)buf_add_int64(head, (int64_t)wire->body_bytes);
        (void)buf_add(head, STR("\r\n"));
    }
    upstream_head_add_common(head, x->station, backend, key);
    (void)buf_add(head, x->call.intake.forward_headers);
    (void)buf_add(head, STR("\r\n"));
    struct str text = buf_ok(head) ? str_copy(x->call.arena, buf_str(head)) : STR_NULL;
    buf_reset(head);
    return text;
}

/* The client's query without its key, for an upstream of the same protocol. */
static void add_query(struct exchange *x, const struct wire *wire, struct buf *head)
{
    static const struct str dropped[] = {{"key", 3}, {"api_key", 7}};
    struct str query = wire->query;

    if (exchange_is_same(x) && !str_is_null(x->call.intake.query))
        query = url_query_without(x->call.intake.query, dropped, COUNT_OF(dropped), x->call.arena);
    if (query.n > 0) {
        (void)buf_add_char(head, '?');
        (void)buf_add(head, query);
    }
    backend_path_query(x->attempt.backend, query.n == 0, head);
}

void upstream_head_add_idempotency(const struct exchange *x, struct str forwarded, struct buf *head)
{
    const struct backend *backend = x->attempt.backend;

    if (LIKELY(backend->keyring->n == 1) || !backend_is_openai(backend) ||
        has_line(backend, forwarded, STR("idempotency-key:")))
        return;
    (void)buf_add(head, STR("idempotency-key: llm-proxy-"));
    (void)buf_add(head, str_of(x->id, ID_SIZE));
    (void)buf_add(head, STR("\r\n"));
}

struct str upstream_head_of(struct exchange *x, const struct wire *wire)
{
    struct backend *backend = x->attempt.backend;
    struct buf *head = &x->station->head;
    const struct request *request = &x->call.request;
    struct str forwarded = exchange_is_same(x) ? x->call.intake.forward_headers : STR_NULL;

    buf_reset(head);
    (void)buf_add(head, wire->method);
    (void)buf_add_char(head, ' ');
    backend_path(backend, wire->path, x->model_sent, head);
    add_query(x, wire, head);
    (void)buf_add(head, STR(" HTTP/1.1\r\ncontent-type: "));
    (void)buf_add(head, wire->content_type);
    (void)buf_add(head, STR("\r\ncontent-length: "));
    (void)buf_add_int64(head, (int64_t)wire->body_bytes);
    (void)buf_add(head, request->stream && !request->array
                            ? STR("\r\naccept: text/event-stream\r\n")
                            : STR("\r\naccept: application/json\r\n"));
    upstream_head_add_common(head, x->station, backend, x->attempt.key);
    upstream_head_add_version(head, backend, x->attempt.protocol, forwarded);
    (void)buf_add(head, forwarded);
    upstream_head_add_idempotency(x, forwarded, head);
    (void)buf_add(head, STR("\r\n"));
    struct str text = buf_ok(head) ? str_copy(x->call.arena, buf_str(head)) : STR_NULL;
    buf_reset(head);
    return text;
}
