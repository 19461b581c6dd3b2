/* SPDX-License-Identifier: MIT */
/*
 * Admission.
 *
 * What      Says from a request's head alone whether it may come in, and fills the intake.
 * How       host and origin -> what HTTP alone decides (CONNECT, websockets, preflights) -> key ->
 *           route -> drain, connections -> coding, declared length, memory in flight. The key comes
 *           before the route, so that strangers learn nothing about paths; the origin before all,
 *           so that foreign pages learn nothing at all.
 * Not here  Anything that needs the body; rate limits.
 */
#include "gateway/admit.h"

#include "base/log.h"
#include "gateway/gateway_priv.h"
#include "gateway/opaque.h"
#include "gateway/origin.h"
#include "gateway/peer.h"
#include "gateway/strikes.h"
#include "gateway/unpack.h"
#include "http/coding.h"
#include "text/url.h"
#include "text/utf8.h"

static int answer_nothing(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    (void)ask;
    (void)out;
    (void)e;
    return 204;
}

/* The answer to OPTIONS: all of it is in the head. */
static const struct gateway_route no_content = {.path = "", .answer = answer_nothing};

enum { SHOWN_MAX = 5 };

/* The value of a header that shows a key; null: it is none. */
static struct str key_in(const struct http_header *header)
{
    switch (header->name.n) {
    case 13:
        if (str_eq_nocase(header->name, STR("authorization")) &&
            str_starts_nocase(header->value, STR("bearer ")))
            return str_trim(str_from(header->value, strlen("bearer ")));
        break;
    case 9:
        if (str_eq_nocase(header->name, STR("x-api-key")))
            return header->value;
        break;
    case 7:
        if (str_eq_nocase(header->name, STR("api-key")))
            return header->value;
        break;
    case 14:
        if (str_eq_nocase(header->name, STR("x-goog-api-key")))
            return header->value;
        break;
    default:
        break;
    }
    return STR_NULL;
}

/* A list of models, or one. */
static bool is_models_path(struct str path)
{
    return str_starts(path, STR("/v1/models")) || str_starts(path, STR("/v2/models"));
}

/* Three vendors have their lists at the same path: what only one's clients send says whose it is;
 * NULL: nothing does. */
static const struct protocol *models_shape(const struct http_headers *headers)
{
    static const struct {
        struct str header;
        struct str protocol;
    } marks[] = {
        {STR_INIT("anthropic-version"), STR_INIT("anthropic")},
        {STR_INIT("x-goog-api-client"), STR_INIT("gemini")},
        {STR_INIT("x-goog-api-key"), STR_INIT("gemini")},
    };

    for (size_t i = 0; i < COUNT_OF(marks); i++) {
        if (!str_is_null(http_headers_get(headers, marks[i].header)))
            return protocol_find(marks[i].protocol);
    }
    return NULL;
}

const struct protocol *admit_shape(const struct message *m)
{
    const struct protocol *marked = NULL;

    if (str_is_null(m->path))
        return protocol_table[0];
    if (is_models_path(m->path))
        marked = models_shape(&m->headers);
    else if (opaque_is_anthropic(m))
        marked = protocol_find(STR("anthropic"));
    return marked != NULL ? marked : protocol_of_path(m->method_name, m->path);
}

/* ?key=K, which Gemini's clients may send; null: none. */
static struct str key_in_query(const struct message *m, struct arena *arena)
{
    struct str rest = m->query;
    struct str name;
    struct str value;

    while (url_query_next(&rest, &name, &value)) {
        if (str_eq(name, STR("key")) && value.n > 0)
            return str_eq(str_c(admit_shape(m)->name), STR("gemini"))
                       ? url_decode(value, true, arena)
                       : STR_NULL;
    }
    return STR_NULL;
}

/* The keys that the client shows: some show one in each way that they know, not all of them ours.
 * Returns how many. */
static size_t shown_keys(const struct message *m, struct arena *arena, struct str shown[SHOWN_MAX])
{
    struct str in_query = key_in_query(m, arena);
    size_t n = 0;

    if (in_query.n > 0)
        shown[n++] = in_query;
    for (size_t i = 0; i < m->headers.n && n < SHOWN_MAX; i++) {
        struct str key = key_in(&m->headers.items[i]);
        if (key.n > 0)
            shown[n++] = key;
    }
    return n;
}

/* The address that a guesser is known by; all that have none, as in memory, are one. */
static struct address address_of(const struct exchange *x)
{
    struct address address;

    if (!address_parse(str_of(x->peer, x->peer_n), &address))
        memset(&address, 0, sizeof(address));
    return address;
}

static enum error_code refuse_keys(struct exchange *x, size_t n, struct error *e)
{
    struct address address = address_of(x);
    int64_t wait_ms = 0;

    for (size_t i = 0; i < n; i++)
        wait_ms = strikes_wrong(x->station->gateway->strikes, &address,
                                loop_now_ms(x->station->loop));

    if (wait_ms == 0)
        return FAIL(e, ERR_UNAUTHORIZED, "invalid API key");
    const int64_t wait_s = (wait_ms + 999) / 1000;
    (void)FAIL(e, ERR_RATE_LIMITED, "too many wrong API keys; try again in %lld s",
               (long long)wait_s);
    e->wait_ms = wait_s * 1000;
    return e->code;
}

static enum error_code authenticate(struct exchange *x, const struct message *m, struct error *e)
{
    const struct site *site = x->branch->site;
    struct strikes *strikes = x->station->gateway->strikes;
    struct str shown[SHOWN_MAX];
    const struct client_key *found = NULL;

    if (site->config->disable_auth) {
        x->call.intake.scope = site_scope(site, NULL);
        return OK;
    }
    size_t shown_n = shown_keys(m, server_arena(x->client), shown);
    if (shown_n == 0)
        return FAIL(e, ERR_UNAUTHORIZED, "no API key; send it as \"Authorization: Bearer KEY\"");
    /* Every key is compared whole, so that time does not tell which one was nearest. */
    for (size_t i = 0; i < site->keys_n * shown_n; i++) {
        const struct client_key *key = &site->keys[i / shown_n];
        if (str_eq_secret(shown[i % shown_n], secret_reveal(&key->key)))
            found = key;
    }
    if (found == NULL)
        return refuse_keys(x, shown_n, e);
    if (UNLIKELY(strikes_any(strikes))) {
        struct address address = address_of(x);
        strikes_right(strikes, &address);
    }
    x->call.intake.client = found;
    x->call.intake.scope = site_scope(site, found);
    return OK;
}

/* Whether the path is the pattern's; *ret_rest: what its '*' takes, null without one. Each request
 * is held against all of them: most are left at the first byte that differs. */
static bool is_route(const char *pattern, struct str path, struct str *ret_rest)
{
    size_t n = 0;

    *ret_rest = STR_NULL;
    while (n < path.n && pattern[n] == path.p[n] && pattern[n] != '*' && pattern[n] != '\0')
        n++;
    if (pattern[n] != '*')
        return pattern[n] == '\0' && n == path.n;
    assert(pattern[n + 1] == '\0');
    *ret_rest = str_from(path, n);
    return path.n > n && str_find_char(*ret_rest, '/', 0) == SIZE_MAX;
}

static const struct gateway_route *find_route(const struct gateway *gateway, struct str path,
                                              struct str *ret_rest)
{
    for (size_t i = 0; i < gateway->routes_n; i++) {
        if (is_route(gateway->routes[i].path, path, ret_rest))
            return &gateway->routes[i];
    }
    return NULL;
}

/* "GET, DELETE": as Allow says it. */
static struct str allowed(const struct gateway_route *route, struct arena *arena)
{
    struct str rest = route->methods == NULL ? STR("GET") : str_c(route->methods);
    struct str allow = STR("");
    struct str method;

    while (str_cut(&rest, ',', &method)) {
        method = str_trim(method);
        allow = str_print(arena, "%.*s%.*s%s, ", STR_ARG(allow), STR_ARG(method),
                          str_eq(method, STR("GET")) ? ", HEAD" : "");
    }
    return str_print(arena, "%.*sOPTIONS", STR_ARG(allow));
}

/* A route outside the protocols: its method and who may see it. */
static enum error_code admit_route(struct exchange *x, const struct gateway_route *route,
                                   const struct message *m, struct error *e)
{
    enum gateway_access access = route->access;

    if (route->public_by_metrics && x->call.config->metrics_public)
        access = ACCESS_OPEN;
    if (access != ACCESS_OPEN)
        TRY(authenticate(x, m, e));
    if (access == ACCESS_ADMIN && x->call.intake.client != NULL && !x->call.intake.client->admin)
        return FAIL(e, ERR_FORBIDDEN, "%s needs an admin's key", route->path);
    struct str methods = route->methods == NULL ? STR("GET") : str_c(route->methods);
    x->call.intake.method = m->method == HTTP_HEAD ? STR("GET") : m->method_name;
    if (http_list_has(methods, x->call.intake.method))
        return OK;
    x->allow = allowed(route, server_arena(x->client));
    if (m->method == HTTP_OPTIONS)
        return OK;
    return FAIL(e, ERR_METHOD_NOT_ALLOWED, "%.*s %.*s", STR_ARG(str_head(m->method_name, 20)),
                STR_ARG(str_head(m->path, 100)));
}

/* What the path's '*' took: decoded text. */
static enum error_code take_rest(struct exchange *x, struct str rest, struct error *e)
{
    if (str_is_null(rest))
        return OK;
    rest = url_decode(rest, false, server_arena(x->client));
    if (!utf8_valid(rest) || str_find_char(rest, '\0', 0) != SIZE_MAX)
        return FAIL(e, ERR_BAD_REQUEST, "the path is not UTF-8");
    x->call.intake.rest = rest;
    return OK;
}

/* Which methods an opaque path has its backend knows; those that are none at all are refused here.
 */
static enum error_code admit_opaque(struct exchange *x, const struct message *m, bool *ret_options,
                                    struct error *e)
{
    *ret_options = m->method == HTTP_OPTIONS;
    if (m->method != HTTP_OTHER && !*ret_options)
        return OK;
    x->allow = opaque_methods();
    if (*ret_options)
        return OK;
    return FAIL(e, ERR_METHOD_NOT_ALLOWED, "%.*s %.*s", STR_ARG(str_head(m->method_name, 20)),
                STR_ARG(str_head(m->path, 100)));
}

/* The commonest reason is a base URL without its version segment. */
static enum error_code unknown_path(const struct message *m, struct str method, struct arena *arena,
                                    struct error *e)
{
    struct str path = str_head(m->path, 100);
    struct str versioned = str_print(arena, "/v1%.*s", STR_ARG(path));
    struct route_match match;

    protocol_route(method, versioned, arena, &match);
    return FAIL(e, ERR_NOT_FOUND, "%.*s %.*s%s", STR_ARG(str_head(m->method_name, 20)),
                STR_ARG(path),
                match.path_known ? " (is /v1 missing at the end of the base URL?)" : "");
}

/* *ret_options: it only asks which methods there are. */
static enum error_code match_protocol(struct exchange *x, const struct message *m,
                                      bool *ret_options, struct error *e)
{
    struct route_match match;
    struct arena *arena = server_arena(x->client);
    struct str method = m->method == HTTP_HEAD ? STR("GET") : m->method_name;

    protocol_route(method, m->path, arena, &match);
    if (match.protocol == NULL && match.path_known) {
        x->allow = str_print(arena, "%.*s, OPTIONS", STR_ARG(match.allow));
        *ret_options = m->method == HTTP_OPTIONS;
        if (*ret_options)
            return OK;
        return FAIL(e, ERR_METHOD_NOT_ALLOWED, "%.*s %.*s", STR_ARG(str_head(m->method_name, 20)),
                    STR_ARG(str_head(m->path, 100)));
    }
    if (match.protocol == NULL && opaque_admit(x, m))
        return admit_opaque(x, m, ret_options, e);
    if (match.protocol == NULL)
        return unknown_path(m, method, arena, e);
    if (!utf8_valid(match.rest) || str_find_char(match.rest, '\0', 0) != SIZE_MAX)
        return FAIL(e, ERR_BAD_REQUEST, "the path is not UTF-8");
    bool models = match.operation == OP_MODELS || match.operation == OP_MODEL;
    x->call.intake.protocol = models ? admit_shape(m) : match.protocol;
    x->call.intake.operation = match.operation;
    x->call.intake.method = method;
    x->call.intake.path = m->path;
    x->call.intake.rest = match.rest;
    return OK;
}

static enum error_code check_coding(struct exchange *x, const struct message *m, struct error *e)
{
    enum coding coding = coding_of(m->content_encoding);

    if (coding == CODING_IDENTITY)
        return OK;
    if (coding != CODING_GZIP)
        return FAIL(e, ERR_UNSUPPORTED_MEDIA, "content-encoding %.*s; send it plain or as gzip",
                    STR_ARG(str_head(m->content_encoding, 40)));
    x->unpack = unpack_new(x);
    if (x->unpack == NULL)
        return FAIL(e, ERR_OVERLOADED, "requests in flight hold all of inflight_bytes_max");
    return OK;
}

static enum error_code check_body(struct exchange *x, const struct message *m, struct error *e)
{
    const struct gateway *gateway = x->station->gateway;
    const struct config *config = x->call.config;
    size_t in_flight = atomic_load_explicit(&gateway->inflight.used, memory_order_relaxed);

    if (m->has_length && m->content_length > config->body_bytes_max && x->opaque == NULL)
        return FAIL(e, ERR_TOO_LARGE, "the body is larger than body_bytes_max (%zu bytes)",
                    config->body_bytes_max);
    size_t length = m->has_length ? (size_t)m->content_length : 0;
    if (x->opaque != NULL && length > config->opaque_peek_bytes)
        length = config->opaque_peek_bytes; /* more is never held */
    if (in_flight + length > config->inflight_bytes_max)
        return FAIL(e, ERR_OVERLOADED, "requests in flight hold more than inflight_bytes_max");
    return str_is_null(m->content_encoding) ? OK : check_coding(x, m, e);
}

enum { USUAL_HEADERS = 7 };

/* The one of that length, and its number; each header of each request is asked about. */
static inline struct str usual_header(size_t n, size_t *ret_i)
{
    switch (n) {
    case 7:
        *ret_i = 0;
        return STR("x-title");
    case 11:
        *ret_i = 1;
        return STR("openai-beta");
    case 12:
        *ret_i = 2;
        return STR("http-referer");
    case 14:
        *ret_i = 3;
        return STR("anthropic-beta");
    case 15:
        *ret_i = 4;
        return STR("idempotency-key");
    case 17:
        *ret_i = 5;
        return STR("anthropic-version");
    case 19:
        *ret_i = 6;
        return STR("x-client-request-id");
    default:
        return STR_NULL;
    }
}

/* Headers of the client's that an upstream of the same protocol gets (contract, section 2). Returns
 * the name's number, SIZE_MAX where it does not go up. */
static inline size_t goes_up(const struct config *config, struct str name)
{
    size_t i = 0;
    struct str usual = usual_header(name.n, &i);

    if (!str_is_null(usual) && str_eq_nocase(name, usual))
        return i;
    for (i = 0; i < config->forward_headers.n; i++) {
        if (str_eq_nocase(name, config->forward_headers.items[i]))
            return USUAL_HEADERS + i;
    }
    return SIZE_MAX;
}

/* What Connection names concerns the client's connection only. Returns by a name's number whether
 * it is one of these; NULL: no memory. Each byte of the head is looked at once, whatever it says.
 */
static const bool *connection_names(struct exchange *x, const struct message *m)
{
    const struct config *config = x->call.config;
    struct arena *arena = server_arena(x->client);
    bool *named = arena_zalloc(arena, USUAL_HEADERS + config->forward_headers.n);

    if (arena_overflowed(arena))
        return NULL;
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct http_header *header = &m->headers.items[i];
        struct str rest = header->value;
        struct str part;
        if (!str_eq_nocase(header->name, STR("connection")))
            continue;
        while (str_cut(&rest, ',', &part)) {
            size_t number = goes_up(config, str_trim(part));
            if (number != SIZE_MAX)
                named[number] = true;
        }
    }
    return named;
}

/* The cookie of that name in a Cookie header (RFC 6265, 4.2.1; the value may stand in quotes), the
 * first that is not empty; null: none. */
static struct str cookie_named(struct str cookies, struct str name)
{
    struct str pair;

    while (str_cut(&cookies, ';', &pair)) {
        size_t equals = str_find_char(pair, '=', 0);
        if (equals == SIZE_MAX || !str_eq(str_trim(str_head(pair, equals)), name))
            continue;
        struct str value = str_trim(str_from(pair, equals + 1));
        bool quoted = value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"';
        value = quoted ? str_of(value.p + 1, value.n - 2) : value;
        if (value.n > 0)
            return value;
    }
    return STR_NULL;
}

/* The first that says something counts. */
static void take_id(struct str value, struct str *id)
{
    if (str_is_null(*id) && value.n > 0)
        *id = value;
}

/* Ids of sessions. Each header of each request is asked about: by its length first. */
static void note_session(struct intake *intake, const struct http_header *header,
                         struct str agents[3])
{
    switch (header->name.n) {
    case 6:
        if (str_eq_nocase(header->name, STR("cookie")))
            take_id(cookie_named(header->value, STR("session_id")), &intake->session_cookie);
        break;
    case 10:
        if (str_eq_nocase(header->name, STR("session_id")))
            take_id(header->value, &agents[0]);
        else if (str_eq_nocase(header->name, STR("session-id")))
            take_id(header->value, &agents[1]);
        break;
    case 12:
        if (str_eq_nocase(header->name, STR("x-session-id")))
            take_id(header->value, &intake->session_header);
        break;
    case 15:
        if (str_eq_nocase(header->name, STR("conversation_id")))
            take_id(header->value, &agents[2]);
        break;
    default:
        break;
    }
}

static void keep_headers(struct exchange *x, const struct message *m)
{
    struct str agents[3] = {STR_NULL, STR_NULL, STR_NULL};
    const struct config *config = x->call.config;
    struct buf *lines = &x->station->head;
    const bool *named = NULL;

    buf_reset(lines);
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct http_header *header = &m->headers.items[i];
        size_t number = goes_up(config, header->name);
        note_session(&x->call.intake, header, agents);
        if (number == SIZE_MAX)
            continue;
        if (named == NULL)
            named = connection_names(x, m);
        if (named == NULL)
            break; /* the arena has overflowed, which is looked at before it is used */
        if (named[number])
            continue;
        (void)buf_add(lines, header->name);
        (void)buf_add(lines, STR(": "));
        (void)buf_add(lines, header->value);
        (void)buf_add(lines, STR("\r\n"));
    }
    for (size_t i = 0; i < COUNT_OF(agents); i++)
        take_id(agents[i], &x->call.intake.session_agent);
    assert(buf_ok(lines)); /* less than twice what came */
    if (lines->n > 0)
        x->call.intake.forward_headers = str_copy(server_arena(x->client), buf_str(lines));
    buf_reset(lines);
}

/* What is neither a path nor a key's matter. *ret_answered: there is nothing but a head to send. */
static enum error_code admit_http(struct exchange *x, const struct message *m, bool behind_trusted,
                                  bool *ret_answered, struct error *e)
{
    static const struct str methods = STR_INIT("GET, HEAD, POST, OPTIONS");

    TRY(origin_check(x, m, behind_trusted, e));
    if (m->method == HTTP_CONNECT) {
        /* What comes behind it is not meant as HTTP. */
        server_close_after(x->client);
        x->allow = methods;
        return FAIL(e, ERR_METHOD_NOT_ALLOWED, "CONNECT: this is no forward proxy");
    }
    if (m->upgrade &&
        http_list_has(http_headers_get(&m->headers, STR("upgrade")), STR("websocket")))
        return FAIL(e, ERR_UPGRADE_REQUIRED, "use HTTP");
    if (m->method != HTTP_OPTIONS)
        return OK;
    x->preflight = origin_preflight(m, server_arena(x->client));
    *ret_answered = !str_is_null(x->preflight);
    if (str_eq(m->path, STR("*"))) {
        x->allow = methods;
        *ret_answered = true;
    }
    return OK;
}

/* Whether there is room for it, now. */
static enum error_code admit_load(struct exchange *x, const struct message *m, struct error *e)
{
    struct gateway *gateway = x->station->gateway;
    int64_t connections_max = x->call.config->connections_max;

    if (gateway_draining(gateway))
        return FAIL(e, ERR_DRAINING, "try another instance");
    /* Who was served before goes on; who came too late goes. */
    if (!server_served(x->client) &&
        atomic_load_explicit(&gateway->connections, memory_order_relaxed) >
            (size_t)connections_max) {
        server_close_after(x->client);
        return FAIL(e, ERR_OVERLOADED, "more than connections_max (%lld) connections",
                    (long long)connections_max);
    }
    return check_body(x, m, e);
}

static void note_peer(struct exchange *x, const struct message *m, bool *ret_trusted)
{
    struct str peer = peer_of(x->call.config, server_peer(x->client), m, ret_trusted);

    x->peer_n = (uint8_t)(peer.n < sizeof(x->peer) ? peer.n : sizeof(x->peer));
    memcpy(x->peer, peer.p, x->peer_n);
    x->call.intake.peer = str_of(x->peer, x->peer_n);
}

enum error_code admit(struct exchange *x, const struct message *m,
                      const struct gateway_route **ret_route, struct error *e)
{
    struct intake *intake = &x->call.intake;
    bool behind_trusted = false;
    bool head_only = false;

    note_peer(x, m, &behind_trusted);
    if (UNLIKELY(x->call.config->logging_request_logging))
        LOG(GATEWAY, INFO, "request.received", F_STR("request", str_of(x->id, ID_SIZE)),
            F_STR("method", m->method_name), F_STR("path", m->path),
            F_STR("peer", x->call.intake.peer));
    intake->is_head = m->method == HTTP_HEAD;
    intake->query = m->query;
    TRY(admit_http(x, m, behind_trusted, &head_only, e));
    if (head_only) {
        *ret_route = &no_content;
        return OK;
    }
    struct str rest;
    const struct gateway_route *route = find_route(x->station->gateway, m->path, &rest);
    if (route != NULL) {
        TRY(admit_route(x, route, m, e));
        TRY(take_rest(x, rest, e));
        *ret_route = m->method == HTTP_OPTIONS ? &no_content : route;
        return OK;
    }
    TRY(authenticate(x, m, e));
    TRY(match_protocol(x, m, &head_only, e));
    if (head_only) {
        *ret_route = &no_content;
        return OK;
    }
    TRY(admit_load(x, m, e));
    keep_headers(x, m);
    x->admitted = true;
    return OK;
}
