/* SPDX-License-Identifier: MIT */
/*
 * Admission.
 *
 * What      Says from a request's head alone whether it may come in, and fills the intake.
 * How       key -> route -> HTTP's own limits -> declared length -> memory in flight. The key comes
 *           before the route, so that strangers learn nothing about paths.
 * Not here  Anything that needs the body; rate limits.
 */
#include "gateway/gateway_priv.h"

/* The client's key as it was shown; null without one. */
static struct str shown_key(const struct message *m)
{
    struct str authorization = http_headers_get(&m->headers, STR("authorization"));

    if (str_starts_nocase(authorization, STR("bearer ")))
        return str_trim(str_from(authorization, strlen("bearer ")));
    static const struct str names[] = {STR_INIT("x-api-key"), STR_INIT("api-key"),
                                       STR_INIT("x-goog-api-key")};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct str value = http_headers_get(&m->headers, names[i]);
        if (!str_is_null(value))
            return value;
    }
    return STR_NULL;
}

static enum error_code authenticate(const struct site *site, const struct message *m,
                                    const struct client_key **ret_client, struct error *e)
{
    struct str shown = shown_key(m);
    const struct client_key *found = NULL;

    if (site->config->disable_auth)
        return OK;
    if (str_is_null(shown) || shown.n == 0)
        return FAIL(e, ERR_UNAUTHORIZED, "no API key; send it as \"Authorization: Bearer KEY\"");
    /* Every key is compared whole, so that time does not tell which one was nearest. */
    for (size_t i = 0; i < site->keys_n; i++) {
        if (str_eq_secret(shown, secret_reveal(&site->keys[i].key)))
            found = &site->keys[i];
    }
    if (found == NULL)
        return FAIL(e, ERR_UNAUTHORIZED, "invalid API key");
    *ret_client = found;
    return OK;
}

static const struct gateway_route *find_route(const struct gateway *gateway, struct str path)
{
    for (size_t i = 0; i < gateway->routes_n; i++) {
        if (str_eq(path, str_c(gateway->routes[i].path)))
            return &gateway->routes[i];
    }
    return NULL;
}

/* A route outside the protocols: its method and who may see it. */
static enum error_code admit_route(struct exchange *x, const struct gateway_route *route,
                                   const struct message *m, struct error *e)
{
    enum gateway_access access = route->access;

    if (route->public_by_metrics && x->call.config->metrics_public)
        access = ACCESS_OPEN;
    if (access != ACCESS_OPEN)
        TRY(authenticate(x->branch->site, m, &x->call.intake.client, e));
    if (access == ACCESS_ADMIN && x->call.intake.client != NULL && !x->call.intake.client->admin)
        return FAIL(e, ERR_FORBIDDEN, "%s needs an admin's key", route->path);
    if (m->method != HTTP_GET && m->method != HTTP_HEAD) {
        x->allow = STR("GET, HEAD");
        return FAIL(e, ERR_METHOD_NOT_ALLOWED, "%.*s %.*s", STR_ARG(str_head(m->method_name, 20)),
                    STR_ARG(str_head(m->path, 100)));
    }
    return OK;
}

static enum error_code match_protocol(struct exchange *x, const struct message *m, struct error *e)
{
    struct route_match match;
    struct str method = m->method == HTTP_HEAD ? STR("GET") : m->method_name;

    protocol_route(method, m->path, server_arena(x->client), &match);
    if (match.protocol == NULL && match.path_known) {
        x->allow = match.allow;
        return FAIL(e, ERR_METHOD_NOT_ALLOWED, "%.*s %.*s", STR_ARG(str_head(m->method_name, 20)),
                    STR_ARG(str_head(m->path, 100)));
    }
    if (match.protocol == NULL)
        return FAIL(e, ERR_NOT_FOUND, "%.*s %.*s", STR_ARG(str_head(m->method_name, 20)),
                    STR_ARG(str_head(m->path, 100)));
    x->call.intake.protocol = match.protocol;
    x->call.intake.operation = match.operation;
    x->call.intake.rest = match.rest;
    return OK;
}

static enum error_code check_body(const struct exchange *x, const struct message *m,
                                  struct error *e)
{
    const struct gateway *gateway = x->station->gateway;
    const struct config *config = x->call.config;
    struct str coding = http_headers_get(&m->headers, STR("content-encoding"));
    size_t in_flight = atomic_load_explicit(&gateway->inflight.used, memory_order_relaxed);

    if (!str_is_null(coding) && !str_eq_nocase(coding, STR("identity")))
        return FAIL(e, ERR_UNSUPPORTED_MEDIA, "content-encoding %.*s",
                    STR_ARG(str_head(coding, 40)));
    if (m->has_length && m->content_length > config->body_bytes_max)
        return FAIL(e, ERR_TOO_LARGE, "the body is larger than body_bytes_max (%zu bytes)",
                    config->body_bytes_max);
    size_t length = m->has_length ? (size_t)m->content_length : 0;
    if (in_flight + length > config->inflight_bytes_max)
        return FAIL(e, ERR_OVERLOADED, "requests in flight hold more than inflight_bytes_max");
    return OK;
}

/* Headers of the client's that an upstream of the same protocol gets (contract, section 2). */
static bool goes_up(const struct config *config, struct str name)
{
    static const struct str names[] = {STR_INIT("anthropic-version"),  STR_INIT("anthropic-beta"),
                                       STR_INIT("openai-beta"),        STR_INIT("idempotency-key"),
                                       STR_INIT("http-referer"),       STR_INIT("x-title"),
                                       STR_INIT("x-client-request-id")};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq_nocase(name, names[i]))
            return true;
    }
    for (size_t i = 0; i < config->forward_headers.n; i++) {
        if (str_eq_nocase(name, config->forward_headers.items[i]))
            return true;
    }
    return false;
}

static void keep_headers(struct exchange *x, const struct message *m)
{
    const struct config *config = x->call.config;
    struct buf *lines = &x->station->head;
    /* What Connection names concerns the client's connection only. */
    struct str connection = http_headers_get(&m->headers, STR("connection"));

    buf_reset(lines);
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct http_header *header = &m->headers.items[i];
        if (!goes_up(config, header->name) || http_list_has(connection, header->name))
            continue;
        (void)buf_add(lines, header->name);
        (void)buf_add(lines, STR(": "));
        (void)buf_add(lines, header->value);
        (void)buf_add(lines, STR("\r\n"));
    }
    if (lines->n > 0)
        x->call.intake.forward_headers = str_copy(server_arena(x->client), buf_str(lines));
    buf_reset(lines);
}

enum error_code admit(struct exchange *x, const struct message *m,
                      const struct gateway_route **ret_route, struct error *e)
{
    struct gateway *gateway = x->station->gateway;
    struct intake *intake = &x->call.intake;

    intake->peer = server_peer(x->client);
    intake->is_head = m->method == HTTP_HEAD;
    intake->query = m->query;
    const struct gateway_route *route = find_route(gateway, m->path);
    if (route != NULL) {
        TRY(admit_route(x, route, m, e));
        *ret_route = route;
        return OK;
    }
    TRY(authenticate(x->branch->site, m, &intake->client, e));
    TRY(match_protocol(x, m, e));
    if (m->upgrade &&
        str_eq_nocase(http_headers_get(&m->headers, STR("upgrade")), STR("websocket")))
        return FAIL(e, ERR_UPGRADE_REQUIRED, "use HTTP");
    if (gateway_draining(gateway))
        return FAIL(e, ERR_DRAINING, "try another instance");
    if (atomic_load_explicit(&gateway->connections, memory_order_relaxed) >
        (size_t)x->call.config->connections_max)
        return FAIL(e, ERR_OVERLOADED, "more than connections_max connections");
    TRY(check_body(x, m, e));
    keep_headers(x, m);
    return OK;
}
