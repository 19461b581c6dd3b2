/* SPDX-License-Identifier: MIT */
/*
 * What      What options must be beyond their kind, and what they mean together.
 * How       After all sources were read; a fault names the place that the value came from.
 * Owns      Nothing; it may replace a value by what it means (host of disable_auth).
 * Not here  Backends (config_backends.c).
 */
#include "state/config_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "base/log_form.h"
#include "io/address.h"
#include "state/url_door.h"
#include "text/url.h"

static struct str origin_of(const struct config_reader *r, const char *path)
{
    struct config_entry entry = config_table_find(str_c(path));
    assert(entry.kind == CONFIG_ENTRY_OPTION);
    struct str origin = r->snapshot->origins[entry.index];
    return str_is_null(origin) ? STR("default") : origin;
}

/* --- addresses --- */

static bool is_address(struct config_reader *r, struct str host)
{
    unsigned char address[sizeof(struct in6_addr)];
    const char *z = str_z(&r->arena, host);

    return strlen(z) == host.n &&
           (inet_pton(AF_INET, z, address) == 1 || inet_pton(AF_INET6, z, address) == 1);
}

static void check_host(struct config_reader *r)
{
    struct str host = r->config->host;

    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_from(str_head(host, host.n - 1), 1);
    if (!is_address(r, host) && !str_eq_nocase(host, STR("localhost"))) {
        config_fault(r, origin_of(r, "host"),
                     "host: must be a literal address (127.0.0.1, 0.0.0.0, ::1) or localhost");
        return;
    }
    assert(host.n > 0);
    r->config->host = host;
    if (r->config->disable_auth && !address_names_loopback(host)) {
        config_warn(r, origin_of(r, "host"),
                    "host: without authentication (disable_auth) only 127.0.0.1 is listened on, "
                    "not %.*s",
                    STR_ARG(host));
        r->config->host = STR("127.0.0.1");
        r->snapshot->origins[config_table_find(STR("host")).index] = STR("disable_auth");
    }
}

/* --- files --- */

static void check_readable(struct config_reader *r, struct str file, struct str what,
                           struct str where)
{
    assert(where.n > 0);
    if (file.n == 0)
        return;
    const char *directory = r->source->directory;
    struct str path = file.p[0] == '/' || directory == NULL
                          ? file
                          : str_print(&r->arena, "%s/%.*s", directory, STR_ARG(file));
    if (access(str_z(&r->arena, path), R_OK) != 0)
        config_fault(r, where, "%.*s: cannot be read: %s", STR_ARG(what), strerror(errno));
}

/* Whether they belong together is found where they are used. */
static void check_tls(struct config_reader *r)
{
    const struct config *config = r->config;

    if ((config->tls_cert.n > 0) != (config->tls_key.n > 0)) {
        bool no_key = config->tls_cert.n > 0;
        config_fault(r, origin_of(r, no_key ? "tls.cert" : "tls.key"),
                     no_key ? "tls.cert: tls.key is missing" : "tls.key: tls.cert is missing");
        return;
    }
    check_readable(r, config->tls_cert, STR("tls.cert"), origin_of(r, "tls.cert"));
    check_readable(r, config->tls_key, STR("tls.key"), origin_of(r, "tls.key"));
}

static void check_files(struct config_reader *r)
{
    check_tls(r);
    check_readable(r, r->config->ca_file, STR("ca_file"), origin_of(r, "ca_file"));
    size_t row = config_table_find_backend(STR("ca_file")).index;
    for (size_t i = 0; i < r->config->backends_n; i++) {
        struct str origin = r->snapshot->notes[i].origins[row];
        if (!str_is_null(origin))
            check_readable(r, r->config->backends[i].ca_file,
                           str_print(&r->arena, "backends.%.*s.ca_file",
                                     STR_ARG(r->config->backends[i].name)),
                           origin);
    }
    if (r->config->data_dir.n == 0)
        config_fault(r, origin_of(r, "data_dir"), "data_dir: must not be empty");
}

/* --- headers --- */

/* Never forwarded, whatever is configured (contract, section 2). */
static bool is_never_forwarded(struct str name)
{
    static const char *const never[] = {"authorization",  "proxy-authorization",
                                        "x-api-key",      "api-key",
                                        "x-goog-api-key", "cookie",
                                        "host",           "connection",
                                        "keep-alive",     "te",
                                        "trailer",        "transfer-encoding",
                                        "upgrade",        "proxy-connection",
                                        "content-length", "content-type",
                                        "accept",         "accept-encoding",
                                        "user-agent",     "expect",
                                        "forwarded",      "openai-organization",
                                        "openai-project"};

    for (size_t i = 0; i < COUNT_OF(never); i++) {
        if (str_eq_nocase(name, str_c(never[i])))
            return true;
    }
    return str_starts_nocase(name, STR("x-forwarded-")) ||
           str_starts_nocase(name, STR("x-stainless-"));
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              memchr("!#$%&'*+-.^_`|~", c, 15) != NULL))
            return false;
    }
    return s.n > 0;
}

static void check_forward_headers(struct config_reader *r)
{
    for (size_t i = 0; i < r->config->forward_headers.n; i++) {
        struct str name = r->config->forward_headers.items[i];
        if (!is_token(name))
            config_fault(r, origin_of(r, "forward_headers"),
                         "forward_headers: number %zu is no name of a header", i + 1);
        else if (is_never_forwarded(name))
            config_fault(r, origin_of(r, "forward_headers"),
                         "forward_headers: %.*s is never forwarded", STR_ARG(name));
    }
}

/* --- who may come, and from where --- */

static void check_origins(struct config_reader *r)
{
    const struct str_list *origins = &r->config->cors_origins;
    struct url_origin origin;

    for (size_t i = 0; i < origins->n; i++) {
        if (!str_eq(origins->items[i], STR("*")) && !url_origin_split(origins->items[i], &origin))
            config_fault(r, origin_of(r, "cors_origins"),
                         "cors_origins: number %zu is no origin: scheme://host, perhaps with "
                         ":port, and nothing behind it; or *",
                         i + 1);
    }
}

static void check_trusted(struct config_reader *r)
{
    const struct str_list *proxies = &r->config->trusted_proxies;
    struct address_range *ranges = arena_array(&r->snapshot->arena, proxies->n, sizeof(*ranges));

    bool good = true;
    for (size_t i = 0; i < proxies->n; i++) {
        if (address_range_parse(proxies->items[i], &ranges[i]))
            continue;
        good = false;
        config_fault(r, origin_of(r, "trusted_proxies"),
                     "trusted_proxies: number %zu is neither an address (192.0.2.1, ::1) nor "
                     "a range of them (10.0.0.0/8)",
                     i + 1);
    }
    if (!good)
        return;
    r->config->trusted_ranges = ranges;
    r->config->trusted_ranges_n = proxies->n;
}

/* Else it would be one of the entries that match nothing, and requests meant to go straight would
 * go through the proxy. */
static void check_no_proxy(struct config_reader *r)
{
    const struct str_list *list = &r->config->no_proxy;
    struct address_range range;

    for (size_t i = 0; i < list->n; i++) {
        struct str item = str_trim(list->items[i]);
        if (str_find_char(item, '/', 0) != SIZE_MAX && str_find_char(item, ' ', 0) == SIZE_MAX &&
            !address_range_parse(item, &range))
            config_warn(r, origin_of(r, "no_proxy"),
                        "no_proxy: number %zu is no network (10.0.0.0/8) and matches nothing",
                        i + 1);
    }
}

/* --- sessions --- */

static void check_url_hosts(struct config_reader *r)
{
    const struct str_list *hosts = &r->config->allowed_url_hosts;

    for (size_t i = 0; i < hosts->n; i++) {
        if (!url_door_entry_ok(hosts->items[i]))
            config_fault(r, origin_of(r, "allowed_url_hosts"),
                         "allowed_url_hosts: number %zu is no host: a name or an address, perhaps "
                         "with :port, without a scheme or a path",
                         i + 1);
    }
}

static void check_sessions(struct config_reader *r)
{
    if (r->config->session_file_path.n == 0 && str_eq(r->config->session_repository, STR("file")))
        config_fault(r, origin_of(r, "session.file_path"),
                     "session.file_path: must not be empty where the repository is file");
    check_url_hosts(r);
}

/* --- the log --- */

static void check_logging(struct config_reader *r)
{
    struct log_form *form = NULL;
    struct error e;

    if (log_form_new(r->config->logging_format, &form, &e) != OK)
        config_fault(r, origin_of(r, "logging.format"), "logging.format: %s", e.detail);
    log_form_free(&form);
}

/* --- sizes --- */

static void check_sizes(struct config_reader *r)
{
    const struct config *config = r->config;

    if (config->body_bytes_max > config->inflight_bytes_max)
        config_warn(r, origin_of(r, "body_bytes_max"),
                    "body_bytes_max: a body of that size never fits into inflight_bytes_max");
    if (config->sse_event_bytes_max > config->response_bytes_max)
        config_warn(r, origin_of(r, "sse_event_bytes_max"),
                    "sse_event_bytes_max: larger than response_bytes_max, which counts first");
}

void config_check_all(struct config_reader *r)
{
    assert(r->config == &r->snapshot->config);
    assert(r->config->backends_n == 0 || r->snapshot->notes != NULL);
    check_host(r);
    check_files(r);
    check_forward_headers(r);
    check_origins(r);
    check_trusted(r);
    check_no_proxy(r);
    check_sessions(r);
    check_logging(r);
    check_sizes(r);
}
