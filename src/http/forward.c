/* SPDX-License-Identifier: MIT */
/*
 * Forward proxies.
 *
 * What      Chooses the proxy of an origin, and says how requests go through it.
 * How       What is the same for all requests of a pool is made once: the CONNECT request, or what
 *           stands before and behind a request line.
 * Owns      The credentials, as secrets.
 * Not here  Making a tunnel (forward_tunnel.c); which variables there are (state).
 */
#include "http/forward.h"

#include <arpa/inet.h>

#include "base/mem.h"
#include "http/forward_priv.h"
#include "io/address.h"

/* ---- addresses ---- */

/* A literal address, without brackets. As the resolver does it takes short forms too (127.1), which
 * are no names either. */
static bool literal_parse(struct str text, struct address *ret_address)
{
    char z[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (address_parse(text, ret_address))
        return true;
    if (text.n == 0 || text.n >= sizeof(z) || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    /* inet_aton also takes what follows a blank: there is none in a host. */
    if (strpbrk(z, " \t\r\n") != NULL || inet_aton(z, &v4) == 0 ||
        inet_ntop(AF_INET, &v4, z, sizeof(z)) == NULL)
        return false;
    return address_parse(str_c(z), ret_address);
}

/* This machine; the unspecified addresses lead here too. */
static bool is_local(const struct address *address)
{
    struct address any;

    return address_is_loopback(address) ||
           (address_parse(STR("0.0.0.0"), &any) && address_eq(address, &any)) ||
           (address_parse(STR("::"), &any) && address_eq(address, &any));
}

/* ---- which proxy ---- */

/* What an origin is compared by. */
struct subject {
    struct str host; /* without a dot at its end */
    uint16_t port;
    bool is_address;
    struct address address;
};

static struct str without_dot(struct str name)
{
    return name.n > 1 && name.p[name.n - 1] == '.' ? str_head(name, name.n - 1) : name;
}

static bool ends_nocase(struct str s, struct str end)
{
    return s.n >= end.n && str_eq_nocase(str_from(s, s.n - end.n), end);
}

/* "host", "host:port", "[v6]:port", "[v6]", "v6": false: the port is none. 0: without one. */
static bool split_port(struct str entry, struct str *ret_host, uint16_t *ret_port)
{
    size_t close = entry.p[0] == '[' ? str_find_char(entry, ']', 0) : SIZE_MAX;
    size_t colon = str_find_char(entry, ':', close == SIZE_MAX ? 0 : close);
    int64_t port = 0;

    *ret_port = 0;
    *ret_host = close == SIZE_MAX ? entry : str_from(str_head(entry, close), 1);
    if (colon == SIZE_MAX)
        return close == SIZE_MAX || close + 1 == entry.n;
    /* Two colons outside brackets are an address. */
    if (close == SIZE_MAX && str_find_char(entry, ':', colon + 1) != SIZE_MAX)
        return true;
    if (!str_to_int64(str_from(entry, colon + 1), &port) || port < 1 || port > UINT16_MAX)
        return false;
    if (close == SIZE_MAX)
        *ret_host = str_head(entry, colon);
    *ret_port = (uint16_t)port;
    return true;
}

/* The versions are two worlds here: ::/0 is no IPv4 address. */
static bool network_matches(struct str entry, const struct subject *subject)
{
    struct address_range range;

    return subject->is_address && address_range_parse(entry, &range) &&
           address_is_v4(&range.base) == address_is_v4(&subject->address) &&
           address_in(&subject->address, &range);
}

static bool entry_matches(struct str entry, const struct subject *subject)
{
    struct address address;
    struct str host;
    uint16_t port;

    assert(entry.n > 0);
    if (str_eq(entry, STR("*")))
        return true;
    if (str_find_char(entry, '/', 0) != SIZE_MAX)
        return network_matches(entry, subject);
    if (!split_port(entry, &host, &port) || (port != 0 && port != subject->port))
        return false;
    if (literal_parse(host, &address))
        return subject->is_address && address_eq(&address, &subject->address);
    if (subject->is_address)
        return false;
    if (str_starts(host, STR("*.")))
        host = str_from(host, 1);
    host = without_dot(host);
    if (host.n > 1 && host.p[0] == '.')
        host = str_from(host, 1);
    if (host.n == 0 || !ends_nocase(subject->host, host))
        return false;
    return subject->host.n == host.n || subject->host.p[subject->host.n - host.n - 1] == '.';
}

static bool list_matches(struct str list, const struct subject *subject)
{
    size_t begin = 0;

    for (size_t i = 0; i <= list.n; i++) {
        bool is_end = i == list.n || list.p[i] == ',' || list.p[i] == ' ' || list.p[i] == '\t';
        if (!is_end)
            continue;
        struct str entry = str_head(str_from(list, begin), i - begin);
        begin = i + 1;
        if (entry.n > 0 && entry_matches(entry, subject))
            return true;
    }
    return false;
}

struct str forward_choose(const struct forward_rules *rules, const struct url *origin)
{
    struct str proxy = origin->https ? rules->https_proxy : rules->http_proxy;
    struct subject subject = {.host = without_dot(origin->host), .port = origin->port};

    if (proxy.n == 0)
        proxy = rules->all_proxy;
    if (proxy.n == 0)
        return STR_NULL;
    assert(subject.host.n > 0);
    subject.is_address = literal_parse(subject.host, &subject.address);
    if (subject.is_address ? is_local(&subject.address)
                           : str_eq_nocase(subject.host, STR("localhost")) ||
                                 ends_nocase(subject.host, STR(".localhost")))
        return STR_NULL;
    for (size_t i = 0; i < rules->no_proxy_n; i++) {
        if (list_matches(rules->no_proxy[i], &subject))
            return STR_NULL;
    }
    return proxy;
}

/* ---- how ---- */

/* RFC 4648, 4. */
static void add_base64(struct buf *out, struct str s)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = s.n - i;
        uint32_t bits = (uint32_t)(uint8_t)s.p[i] << 16;
        if (left > 1)
            bits |= (uint32_t)(uint8_t)s.p[i + 1] << 8;
        if (left > 2)
            bits |= (uint8_t)s.p[i + 2];
        (void)buf_add_char(out, digits[bits >> 18]);
        (void)buf_add_char(out, digits[bits >> 12 & 63]);
        (void)buf_add_char(out, left > 1 ? digits[bits >> 6 & 63] : '=');
        (void)buf_add_char(out, left > 2 ? digits[bits & 63] : '=');
    }
}

enum { CREDENTIALS_MAX = 4096, HEAD_MAX = 4 * CREDENTIALS_MAX };

/* The buffer's bytes as a secret. The buffer, which never grew, is wiped and given back. */
static struct secret secret_of(struct buf *b)
{
    assert(buf_ok(b));
    struct secret secret = secret_new(buf_str(b));
    mem_wipe(b->p, b->size);
    buf_fini(b);
    return secret;
}

static struct buf secret_buf(void)
{
    struct buf b;

    buf_init(&b, HEAD_MAX);
    if (buf_reserve(&b, HEAD_MAX) == NULL)
        BUG("a buffer refuses its own size");
    return b;
}

/* "proxy-authorization: Basic …\r\n". */
static struct secret credentials_of(const struct url_proxy *proxy)
{
    struct buf line = secret_buf();
    struct buf pair = secret_buf();

    (void)buf_add(&pair, proxy->user);
    (void)buf_add_char(&pair, ':');
    (void)buf_add(&pair, proxy->password);
    (void)buf_add(&line, STR("proxy-authorization: Basic "));
    add_base64(&line, buf_str(&pair));
    (void)buf_add(&line, STR("\r\n"));
    struct secret wiped = secret_of(&pair);
    secret_free(&wiped);
    return secret_of(&line);
}

/* RFC 9112, 3.2.3: the authority-form has a port always. */
static struct secret connect_of(const struct forward *forward, struct str host, uint16_t port)
{
    struct buf head = secret_buf();
    bool is_v6 = str_find_char(host, ':', 0) != SIZE_MAX;

    (void)buf_add(&head, STR("CONNECT "));
    size_t begin = head.n;
    (void)buf_print(&head, is_v6 ? "[%.*s]:%u" : "%.*s:%u", STR_ARG(host), (unsigned)port);
    struct str authority = str_from(buf_str(&head), begin);
    (void)buf_add(&head, STR(" HTTP/1.1\r\nhost: "));
    (void)buf_add(&head, authority);
    (void)buf_add(&head, STR("\r\n"));
    (void)buf_add(&head, secret_reveal(&forward->credentials));
    (void)buf_add(&head, STR("\r\n"));
    return secret_of(&head);
}

static void set_origin(struct forward *forward, struct str host, uint16_t port)
{
    struct buf b;
    bool is_v6 = str_find_char(host, ':', 0) != SIZE_MAX;

    buf_init(&b, HEAD_MAX);
    (void)buf_print(&b, is_v6 ? "http://[%.*s]" : "http://%.*s", STR_ARG(host));
    if (port != HTTP_PORT)
        (void)buf_print(&b, ":%u", (unsigned)port);
    forward->origin = str_dup(buf_str(&b));
    buf_fini(&b);
}

static void set_name(struct forward *forward, const struct url *url)
{
    enum { HOST_MAX = FORWARD_NAME_MAX - 8 };
    int n = snprintf(forward->name, sizeof(forward->name),
                     url->host_is_ipv6 ? "[%.*s]:%u" : "%.*s:%u",
                     STR_ARG(str_head(url->host, HOST_MAX)), (unsigned)url->port);

    assert(n > 0 && (size_t)n < sizeof(forward->name));
}

static enum error_code forward_init(struct forward *forward, const struct forward_options *options,
                                    struct arena *arena, struct error *e)
{
    struct url_proxy proxy;

    TRY(url_parse_proxy(options->proxy, arena, &proxy, e));
    if (proxy.user.n + proxy.password.n > CREDENTIALS_MAX)
        return FAIL(e, ERR_CONFIG, "a URL with more than %d bytes of user info", CREDENTIALS_MAX);
    assert(!proxy.url.https || options->proxy_tls != NULL);
    forward->magic = FORWARD_MAGIC;
    forward->proxy_tls = proxy.url.https ? options->proxy_tls : NULL;
    forward->tls = options->tls;
    forward->proxy_host = str_dup(proxy.url.host);
    forward->proxy_port = proxy.url.port;
    forward->host = str_dup(options->host);
    forward->port = options->port;
    forward->connect_timeout_ms = options->connect_timeout_ms;
    forward->header_bytes_max = options->header_bytes_max;
    if (!str_is_null(proxy.user))
        forward->credentials = credentials_of(&proxy);
    forward->connect = connect_of(forward, options->host, options->port);
    set_origin(forward, options->host, options->port);
    set_name(forward, &proxy.url);
    return OK;
}

enum error_code forward_new(const struct forward_options *options, struct forward **ret_forward,
                            struct error *e)
{
    enum { URL_MAX = 64 * 1024 };
    struct forward *forward = mem_new(sizeof(*forward));
    struct arena arena;

    assert(options->host.n > 0 && options->host.n < HEAD_MAX / 4);
    assert(options->header_bytes_max > 0 && options->connect_timeout_ms > 0);
    arena_init(&arena, URL_MAX, 1024, NULL);
    enum error_code code = forward_init(forward, options, &arena, e);
    arena_fini(&arena);
    if (code != OK) {
        mem_free(forward);
        return code;
    }
    *ret_forward = forward;
    return OK;
}

void forward_free(struct forward **forward)
{
    struct forward *f = *forward;

    if (f == NULL)
        return;
    assert(f->magic == FORWARD_MAGIC);
    *forward = NULL;
    secret_free(&f->credentials);
    secret_free(&f->connect);
    mem_free(f->proxy_host);
    mem_free(f->host);
    mem_free(f->origin);
    f->magic = 0;
    mem_free(f);
}

bool forward_tunnels(const struct forward *forward)
{
    return forward->tls != NULL;
}

struct str forward_name(const struct forward *forward)
{
    return str_c(forward->name);
}

struct conn_target forward_target(const struct forward *forward)
{
    return (struct conn_target){
        .host = str_c(forward->proxy_host),
        .port = forward->proxy_port,
        .tls = forward->proxy_tls,
        .connect_timeout_ms = forward->connect_timeout_ms,
    };
}

struct str forward_head(const struct forward *forward, struct str head, struct arena *arena)
{
    size_t blank = str_find_char(head, ' ', 0);
    size_t line_end = str_find(head, STR("\r\n"), 0);
    const struct str credentials = secret_reveal(&forward->credentials);

    assert(blank != SIZE_MAX && line_end != SIZE_MAX && blank + 1 < line_end);
    assert(head.p[blank + 1] == '/');
    const struct str parts[] = {
        str_head(head, blank + 1),
        str_c(forward->origin),
        str_head(str_from(head, blank + 1), line_end + 2 - (blank + 1)),
        credentials,
        str_from(head, line_end + 2),
    };
    size_t total = head.n + parts[1].n + credentials.n;
    char *p = arena_alloc(arena, total);
    if (arena_overflowed(arena))
        return STR("");
    size_t n = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i].n > 0)
            memcpy(p + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    assert(n == total);
    return str_of(p, total);
}
