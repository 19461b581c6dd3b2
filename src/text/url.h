/* SPDX-License-Identifier: MIT */
/* URLs (RFC 3986), http and https only, and the percent-encoding around them. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct url {
    bool https;
    struct str host; /* lower-case, IPv6 without brackets */
    bool host_is_ipv6;
    uint16_t port;        /* the scheme's default where none stands */
    bool port_is_default; /* it is the scheme's, whether it stands there or not */
    struct str path;      /* "" or begins with '/', as it came, without trailing '/' */
    struct str query;     /* null without one */
};

/* CONFIG errors: what is wrong with it. User info and fragments are refused, and bytes that could
 * not stand in a request line. The slices lie in text, or in the arena. */
NODISCARD enum error_code url_parse(struct str text, struct arena *arena, struct url *ret_url,
                                    struct error *e);

struct url_proxy {
    struct url url;  /* without path and query */
    struct str user; /* decoded; null without one */
    struct str password;
};

/* Of an http or https proxy, with or without user info; without a scheme it is http. CONFIG errors
 * tell what is wrong with it, and nothing that stands in it. */
NODISCARD enum error_code url_parse_proxy(struct str text, struct arena *arena,
                                          struct url_proxy *ret_proxy, struct error *e);

/* "host", "host:port" or "[v6]:port": the Host header's value. */
struct str url_authority(const struct url *url, struct arena *arena);

/* A Host header's value (RFC 9112, 3.2): "name", "name:port", "[v6]:port". The name keeps its
 * brackets; the port may be empty. False: it is none. */
NODISCARD bool url_host_split(struct str host, struct str *ret_name, struct str *ret_port);

/* An Origin (RFC 6454): scheme://host[:port]; a port that is http's or https's own is filled in. */
struct url_origin {
    struct str scheme;
    struct str host; /* as url_host_split's name */
    struct str port;
};
/* False: it is none ("null" is none either). */
NODISCARD bool url_origin_split(struct str text, struct url_origin *ret_origin);
PURE_FN bool url_origin_eq(const struct url_origin *a, const struct url_origin *b);

/* %XX decoded; '+' stays unless plus_is_blank. Invalid escapes stay as they are. */
struct str url_decode(struct str s, bool plus_is_blank, struct arena *arena);
/* Everything but unreserved characters, and those of `also`, as %XX. */
struct str url_encode(struct str s, const char *also, struct arena *arena);
void url_add_encoded(struct buf *out, struct str s, const char *also);
/* Iterates "a=b&c=d": false at the end; name and value as they came; value null without '='. */
bool url_query_next(struct str *rest, struct str *ret_name, struct str *ret_value);
/* The query without the named parameters (names compared decoded), others byte for byte; null when
 * nothing is left. */
struct str url_query_without(struct str query, const struct str *names, size_t n,
                             struct arena *arena);
