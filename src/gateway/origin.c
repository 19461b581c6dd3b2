/* SPDX-License-Identifier: MIT */
/*
 * Browsers: which host a request was for, and which page it comes from.
 *
 * What      Refuses what a foreign web page makes its visitor's browser send, and tells browsers
 *           which pages may read the answers (CORS, the Fetch standard).
 * How       Host: without authentication it must name this machine, or else a page whose name was
 *           made to resolve to 127.0.0.1 would be as good as local (DNS rebinding). A target in
 *           absolute form must name it too: we are no forward proxy.
 *           Origin: ours (scheme, host and port of the request itself), or one of cors_origins; any
 *           other is refused before anything else is looked at, so that neither the request's
 *           effect nor a difference in time can be had. Allowed ones get the CORS lines with every
 *           answer, errors included; a preflight is answered without a key, as it cannot have one.
 * Not here  Keys (admit).
 */
#include "gateway/origin.h"

#include "gateway/gateway_priv.h"
#include "io/address.h"
#include "text/url.h"

enum { ASKED_HEADERS_MAX = 2048 };

/* What browsers may not see without it: all of ours that go down. */
static const char expose[] =
    "retry-after, retry-after-ms, x-should-retry, x-request-id, request-id, server-timing, "
    "x-session-id, x-llm-proxy-request-id, x-llm-proxy-backend, x-llm-proxy-model, "
    "x-llm-proxy-attempts, x-llm-proxy-cache, x-llm-proxy-warnings, x-llm-proxy-estimated, "
    "x-ratelimit-limit-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-requests, "
    "x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, x-ratelimit-reset-tokens";

/* ---- the host ---- */

/* Names that a request may call this machine by. */
static bool is_local(struct str host, struct str name)
{
    struct address address;
    struct address ours;

    if (str_eq(name, STR("127.0.0.1")) || str_eq_nocase(name, STR("localhost")) ||
        str_eq_nocase(name, host))
        return true;
    if (!address_parse(name, &address))
        return false;
    return (address_parse(STR("127.0.0.1"), &ours) && address_eq(&address, &ours)) ||
           (address_parse(STR("::1"), &ours) && address_eq(&address, &ours)) ||
           (address_parse(host, &ours) && address_eq(&address, &ours));
}

/* Where every address is listened on, any address may be ours. */
static bool is_ours(struct str host, struct str name)
{
    struct address address;
    bool any = str_eq(host, STR("0.0.0.0")) || str_eq(host, STR("::"));

    return is_local(host, name) || (any && address_parse(name, &address));
}

static enum error_code check_host(const struct config *config, const struct message *m,
                                  struct error *e)
{
    struct str host = config->host;
    struct str name = STR("");
    struct str port;

    if (!m->absolute && !config->disable_auth)
        return OK;
    if (str_is_null(m->host) || !url_host_split(m->host, &name, &port))
        name = STR(""); /* nobody's */
    if (config->disable_auth && !is_local(host, name))
        return FAIL(e, ERR_FORBIDDEN,
                    "the host \"%.*s\" is not this machine; without authentication (disable_auth) "
                    "use localhost",
                    STR_ARG(str_head(name, 100)));
    if (m->absolute && !is_ours(host, name))
        return FAIL(e, ERR_BAD_REQUEST,
                    "the target names another host, %.*s; this is no forward "
                    "proxy",
                    STR_ARG(str_head(name, 100)));
    return OK;
}

/* ---- the origin ---- */

bool origin_listed(const struct config *config, struct str text)
{
    struct url_origin origin;
    struct url_origin listed;
    bool valid = url_origin_split(text, &origin);

    for (size_t i = 0; i < config->cors_origins.n; i++) {
        struct str item = config->cors_origins.items[i];
        if (str_eq(item, STR("*")) && (valid || str_eq(text, STR("null"))))
            return true;
        if (valid && url_origin_split(item, &listed) && url_origin_eq(&origin, &listed))
            return true;
    }
    return false;
}

/* The page came from this server. https: the client has spoken TLS, with us or with a proxy that is
 * trusted. */
static bool is_own_origin(const struct message *m, bool https)
{
    struct url_origin origin;
    struct url_origin own = {.scheme = https ? STR("https") : STR("http")};

    if (str_is_null(m->host) || !url_origin_split(m->origin, &origin) ||
        !url_host_split(m->host, &own.host, &own.port))
        return false;
    if (own.port.n == 0)
        own.port = https ? STR("443") : STR("80");
    return url_origin_eq(&origin, &own);
}

static bool came_by_https(const struct exchange *x, const struct message *m, bool behind_trusted)
{
    struct str proto = behind_trusted ? http_headers_get(&m->headers, STR("x-forwarded-proto"))
                                      : STR_NULL;

    return server_is_tls(x->client) || str_eq_nocase(proto, STR("https"));
}

enum error_code origin_check(struct exchange *x, const struct message *m, bool behind_trusted,
                             struct error *e)
{
    const struct config *config = x->call.config;

    TRY(check_host(config, m, e));
    if (str_is_null(m->origin))
        return OK;
    if (origin_listed(config, m->origin)) {
        x->origin = m->origin;
        return OK;
    }
    if (is_own_origin(m, came_by_https(x, m, behind_trusted)))
        return OK;
    return FAIL(e, ERR_FORBIDDEN, "the origin %.*s is not in cors_origins",
                STR_ARG(str_head(m->origin, 100)));
}

/* ---- lines of answers ---- */

void origin_lines(struct str origin, struct buf *out)
{
    assert(origin.n > 0);
    (void)buf_add(out, STR("access-control-allow-origin: "));
    (void)buf_add(out, origin);
    (void)buf_print(out, "\r\nvary: origin\r\naccess-control-expose-headers: %s\r\n", expose);
}

/* A list of names and nothing else, of a length that fits into a head. */
static bool is_list_of_names(struct str list)
{
    for (size_t i = 0; i < list.n; i++) {
        if (list.p[i] < ' ' || list.p[i] > '~')
            return false;
    }
    return list.n > 0 && list.n <= ASKED_HEADERS_MAX;
}

struct str origin_preflight(const struct message *m, struct arena *arena)
{
    struct str method = http_headers_get(&m->headers, STR("access-control-request-method"));
    struct str asked = http_headers_get(&m->headers, STR("access-control-request-headers"));

    if (m->method != HTTP_OPTIONS || str_is_null(m->origin) || str_is_null(method))
        return STR_NULL;
    if (!is_list_of_names(asked))
        asked = STR_NULL;
    return str_print(arena,
                     "access-control-allow-methods: GET, HEAD, POST, DELETE, OPTIONS\r\n"
                     "%s%.*s%saccess-control-max-age: 600\r\n",
                     asked.n > 0 ? "access-control-allow-headers: " : "", STR_ARG(asked),
                     asked.n > 0 ? "\r\n" : "");
}
