/* SPDX-License-Identifier: MIT */
#include "text/url.h"

enum { HTTP_PORT = 80, HTTPS_PORT = 443, HOST_SIZE_MAX = 253, LABEL_SIZE_MAX = 63 };

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Whether s consists of letters, digits and the characters of extra. */
static bool consists_of(struct str s, const char *extra)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum(s.p[i]) && (s.p[i] == '\0' || strchr(extra, s.p[i]) == NULL))
            return false;
    }
    return true;
}

static struct str lower_case(struct str s, struct arena *arena)
{
    char *p = arena_alloc(arena, s.n);

    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < s.n; i++)
        p[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
    return str_of(p, s.n);
}

/* Labels of at most 63 characters with dots between them; one dot may end the name. */
static bool is_host_name(struct str host)
{
    struct str rest = host;
    struct str label;

    if (host.n == 0 || host.n > HOST_SIZE_MAX || !consists_of(host, "-._"))
        return false;
    if (host.p[host.n - 1] == '.')
        rest.n--;
    while (str_cut(&rest, '.', &label)) {
        if (label.n == 0 || label.n > LABEL_SIZE_MAX)
            return false;
    }
    return true;
}

/* Its characters only: whether it is an address is found out when it is used. */
static bool is_ipv6(struct str host)
{
    size_t colons = 0;

    for (size_t i = 0; i < host.n; i++) {
        char c = (char)(host.p[i] | 0x20);
        bool hex = (host.p[i] >= '0' && host.p[i] <= '9') || (c >= 'a' && c <= 'f');
        if (!hex && host.p[i] != ':' && host.p[i] != '.')
            return false;
        colons += host.p[i] == ':';
    }
    return colons >= 2 && host.n <= 45;
}

/* Splits "host", "host:port", "[v6]" or "[v6]:port"; port null without one. */
static bool split_authority(struct str authority, struct str *ret_host, struct str *ret_port)
{
    bool bracket = authority.n > 0 && authority.p[0] == '[';
    size_t end = bracket ? str_find_char(authority, ']', 0) : str_find_char(authority, ':', 0);

    if (bracket && end == SIZE_MAX)
        return false;
    struct str rest = bracket ? str_from(authority, end + 1) : str_from(authority, end);
    *ret_host = bracket ? str_from(str_head(authority, end), 1) : str_head(authority, end);
    if (rest.n > 0 && rest.p[0] != ':')
        return false;
    *ret_port = rest.n > 1 ? str_from(rest, 1) : STR_NULL;
    return true;
}

static enum error_code parse_authority(struct str authority, struct arena *arena, struct url *url,
                                       struct error *e)
{
    uint16_t default_port = url->https ? HTTPS_PORT : HTTP_PORT;
    struct str host;
    struct str port;
    int64_t number = default_port;

    if (str_find_char(authority, '@', 0) != SIZE_MAX)
        return FAIL(e, ERR_CONFIG, "a URL with a user name or password");
    if (!split_authority(authority, &host, &port))
        return FAIL(e, ERR_CONFIG, "a URL whose host is not valid");
    url->host_is_ipv6 = authority.n > 0 && authority.p[0] == '[';
    if (url->host_is_ipv6 ? !is_ipv6(host) : !is_host_name(host))
        return FAIL(e, ERR_CONFIG, "a URL whose host is not valid");
    bool digits = str_is_null(port) || (port.p[0] >= '0' && port.p[0] <= '9');
    if (!digits || (!str_is_null(port) && !str_to_int64(port, &number)) || number < 1 ||
        number > UINT16_MAX)
        return FAIL(e, ERR_CONFIG, "a URL whose port is not a number from 1 to 65535");
    url->host = lower_case(host, arena);
    url->port = (uint16_t)number;
    url->port_is_default = url->port == default_port;
    return OK;
}

enum error_code url_parse(struct str text, struct arena *arena, struct url *ret_url,
                          struct error *e)
{
    struct url url = {.query = STR_NULL};
    struct str rest;

    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7F)
            return FAIL(e, ERR_CONFIG, "a URL with a blank or another character to be escaped");
    }
    if (str_starts_nocase(text, STR("https://")))
        url.https = true;
    else if (!str_starts_nocase(text, STR("http://")))
        return FAIL(e, ERR_CONFIG, "a URL without http:// or https:// at its beginning");
    if (str_find_char(text, '#', 0) != SIZE_MAX)
        return FAIL(e, ERR_CONFIG, "a URL with a fragment");
    rest = str_from(text, url.https ? 8 : 7);

    size_t query = str_find_char(rest, '?', 0);
    if (query != SIZE_MAX) {
        url.query = str_from(rest, query + 1);
        rest = str_head(rest, query);
    }
    size_t path = str_find_char(rest, '/', 0);
    url.path = str_from(rest, path);
    while (url.path.n > 0 && url.path.p[url.path.n - 1] == '/')
        url.path.n--;
    TRY(parse_authority(str_head(rest, path), arena, &url, e));
    *ret_url = url;
    return OK;
}

/* RFC 7617, 2: neither may hold control characters, and the user name no colon. */
static bool is_user_part(struct str s, bool colon)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7F || (s.p[i] == ':' && !colon))
            return false;
    }
    return true;
}

static enum error_code parse_user(struct str info, struct arena *arena, struct url_proxy *proxy,
                                  struct error *e)
{
    size_t colon = str_find_char(info, ':', 0);

    for (size_t i = 0; i < info.n; i++) {
        if ((unsigned char)info.p[i] <= ' ')
            return FAIL(e, ERR_CONFIG, "a URL with a blank or another character to be escaped");
    }
    proxy->user = url_decode(str_head(info, colon), false, arena);
    proxy->password = url_decode(colon == SIZE_MAX ? STR("") : str_from(info, colon + 1), false,
                                 arena);
    if (!is_user_part(proxy->user, false) || !is_user_part(proxy->password, true))
        return FAIL(e, ERR_CONFIG, "a URL whose user name or password cannot be sent");
    return OK;
}

enum error_code url_parse_proxy(struct str text, struct arena *arena, struct url_proxy *ret_proxy,
                                struct error *e)
{
    struct url_proxy proxy = {.user = STR_NULL, .password = STR_NULL};
    size_t scheme = str_find(text, STR("://"), 0);
    struct str rest = scheme == SIZE_MAX ? text : str_from(text, scheme + 3);

    if (scheme != SIZE_MAX && str_starts_nocase(text, STR("socks")))
        return FAIL(e, ERR_CONFIG, "a socks proxy's");
    /* The last @: a password may hold one although it should not. */
    size_t end = str_find_char(rest, '/', 0);
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < rest.n && i < end; i++) {
        if (rest.p[i] == '@')
            at = i;
    }
    if (at != SIZE_MAX)
        TRY(parse_user(str_head(rest, at), arena, &proxy, e));
    struct str host = at == SIZE_MAX ? rest : str_from(rest, at + 1);
    struct str plain = str_print(arena, "%.*s://%.*s",
                                 STR_ARG(scheme == SIZE_MAX ? STR("http") : str_head(text, scheme)),
                                 STR_ARG(host));
    TRY(url_parse(plain, arena, &proxy.url, e));
    if (proxy.url.path.n > 0 || !str_is_null(proxy.url.query))
        return FAIL(e, ERR_CONFIG, "a URL with a path");
    *ret_proxy = proxy;
    return OK;
}

struct str url_authority(const struct url *url, struct arena *arena)
{
    const char *open = url->host_is_ipv6 ? "[" : "";
    const char *close = url->host_is_ipv6 ? "]" : "";

    assert(url->port > 0);
    if (url->port_is_default)
        return str_print(arena, "%s%.*s%s", open, STR_ARG(url->host), close);
    return str_print(arena, "%s%.*s%s:%u", open, STR_ARG(url->host), close, (unsigned)url->port);
}

struct str url_decode(struct str s, bool plus_is_blank, struct arena *arena)
{
    bool escapes = str_find_char(s, '%', 0) != SIZE_MAX;
    bool pluses = plus_is_blank && str_find_char(s, '+', 0) != SIZE_MAX;
    size_t n = 0;

    if (!escapes && !pluses)
        return s;
    char *p = arena_alloc(arena, s.n);
    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && s.n - i > 2 ? str_hex_digit(s.p[i + 1]) : -1;
        int low = high >= 0 ? str_hex_digit(s.p[i + 2]) : -1;
        if (low >= 0) {
            p[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            p[n++] = plus_is_blank && s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    assert(n <= s.n);
    return str_of(p, n);
}

/* Returns how many bytes it became. */
static size_t encode_char(char c, const char *also, char to[3])
{
    static const char digits[] = "0123456789ABCDEF";
    unsigned char byte = (unsigned char)c;

    to[0] = c;
    if (consists_of(str_of(&c, 1), "-._~") || (byte != 0 && strchr(also, byte) != NULL))
        return 1;
    to[0] = '%';
    to[1] = digits[byte >> 4];
    to[2] = digits[byte & 15];
    return 3;
}

void url_add_encoded(struct buf *out, struct str s, const char *also)
{
    char to[3];

    for (size_t i = 0; i < s.n; i++)
        (void)buf_add(out, str_of(to, encode_char(s.p[i], also, to)));
}

struct str url_encode(struct str s, const char *also, struct arena *arena)
{
    size_t n = 0;

    assert(s.n < SIZE_MAX / 3);
    char *p = arena_alloc(arena, 3 * s.n);
    if (arena_overflowed(arena))
        return STR("");
    for (size_t i = 0; i < s.n; i++)
        n += encode_char(s.p[i], also, p + n);
    return str_of(p, n);
}

bool url_query_next(struct str *rest, struct str *ret_name, struct str *ret_value)
{
    struct str part;

    while (str_cut(rest, '&', &part)) {
        if (part.n == 0)
            continue;
        size_t equals = str_find_char(part, '=', 0);
        *ret_name = str_head(part, equals);
        *ret_value = equals == SIZE_MAX ? STR_NULL : str_from(part, equals + 1);
        return true;
    }
    return false;
}

static bool is_named(struct str part, const struct str *names, size_t n, struct arena *arena)
{
    struct str name = url_decode(str_head(part, str_find_char(part, '=', 0)), true, arena);

    for (size_t i = 0; i < n; i++) {
        if (str_eq(name, names[i]))
            return true;
    }
    return false;
}

struct str url_query_without(struct str query, const struct str *names, size_t n,
                             struct arena *arena)
{
    struct str rest = query;
    struct str part;
    size_t kept = 0;
    bool first = true;

    if (query.n == 0)
        return STR_NULL;
    char *p = arena_alloc(arena, query.n);
    if (arena_overflowed(arena))
        return STR_NULL;
    while (str_cut(&rest, '&', &part)) {
        if (is_named(part, names, n, arena))
            continue;
        if (!first)
            p[kept++] = '&';
        if (part.n > 0)
            memcpy(p + kept, part.p, part.n);
        kept += part.n;
        first = false;
    }
    assert(kept <= query.n);
    return kept == 0 ? STR_NULL : str_of(p, kept);
}

/* ---- hosts and origins ---- */

/* RFC 3986, 3.2.2: reg-name and IPv4address, as bits by the byte; every request has one. */
static bool is_of_name(unsigned char c)
{
    /* ! $ % & ' ( ) * + , - . 0-9 ; =  |  A-Z _ a-z ~ */
    static const uint64_t set[4] = {0x2bff7ff200000000, 0x47fffffe87fffffe, 0, 0};

    return (set[c / 64] >> (c % 64) & 1) != 0;
}

/* Of what stands within brackets, roughly: IP-literal. */
static bool is_of_literal(char c)
{
    return is_alnum(c) || c == '.' || c == ':';
}

static bool is_digits(struct str s, size_t most)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return s.n <= most;
}

bool url_host_split(struct str host, struct str *ret_name, struct str *ret_port)
{
    bool bracketed = host.n > 0 && host.p[0] == '[';
    size_t i = bracketed ? 1 : 0;
    size_t first = i;

    while (i < host.n &&
           (bracketed ? is_of_literal(host.p[i]) : is_of_name((unsigned char)host.p[i])))
        i++;
    if (i == first)
        return false;
    if (bracketed && (i == host.n || host.p[i++] != ']'))
        return false;
    *ret_name = str_head(host, i);
    *ret_port = str_from(host, i + 1);
    return i == host.n || (host.p[i] == ':' && is_digits(*ret_port, sizeof("65535") - 1));
}

static bool is_scheme(struct str s)
{
    char first = (char)(s.n == 0 ? 0 : s.p[0] | 0x20);

    return first >= 'a' && first <= 'z' && consists_of(s, "+-.");
}

bool url_origin_split(struct str text, struct url_origin *ret_origin)
{
    size_t colon = str_find(text, STR("://"), 0);
    struct url_origin origin = {.scheme = str_head(text, colon)};

    if (colon == SIZE_MAX || !is_scheme(origin.scheme) ||
        !url_host_split(str_from(text, colon + 3), &origin.host, &origin.port))
        return false;
    if (origin.port.n == 0 && str_eq_nocase(origin.scheme, STR("https")))
        origin.port = STR("443");
    else if (origin.port.n == 0 && str_eq_nocase(origin.scheme, STR("http")))
        origin.port = STR("80");
    *ret_origin = origin;
    return true;
}

bool url_origin_eq(const struct url_origin *a, const struct url_origin *b)
{
    return str_eq_nocase(a->scheme, b->scheme) && str_eq_nocase(a->host, b->host) &&
           str_eq(a->port, b->port);
}
