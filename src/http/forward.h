/* SPDX-License-Identifier: MIT */
/*
 * Forward proxies: which one an origin is reached through, and how.
 *
 * An https origin is reached by a tunnel (CONNECT; RFC 9110, 9.3.6) with TLS to the origin in it;
 * requests to an http origin are sent to the proxy in absolute-form (RFC 9112, 3.2.2). The proxy
 * itself may want TLS, and a user name and password (Basic; RFC 7617).
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "io/conn.h"
#include "text/url.h"

struct forward_rules {
    struct str https_proxy; /* URLs (url_parse_proxy); "" or null: none */
    struct str http_proxy;
    struct str all_proxy;
    const struct str *no_proxy; /* each may be several, with commas or blanks between them */
    size_t no_proxy_n;
};

/*
 * The URL of the proxy for an origin; null: none. One of no_proxy is
 *   *                        everything
 *   example.com .example.com *.example.com   that host and all below it, any letter case
 *   10.0.0.1 ::1 [::1]       that address, where the origin's host is one
 *   10.0.0.0/8 fe80::/10     all addresses of that network
 * and all but * and networks may have a :port (an IPv6 address then stands in brackets). Loopback
 * and localhost are never reached through a proxy. Names are not resolved for this.
 */
struct str forward_choose(const struct forward_rules *rules, const struct url *origin);

/* The way of one pool. */
struct forward;

struct forward_options {
    struct str proxy;              /* URL */
    struct tls_context *proxy_tls; /* of an https proxy. Borrowed */
    struct str host;               /* of the origin */
    uint16_t port;
    struct tls_context *tls;    /* of the origin; NULL: it is plain. Borrowed */
    int64_t connect_timeout_ms; /* for all of it: connecting, CONNECT and TLS */
    size_t header_bytes_max;    /* of the proxy's answer to CONNECT */
};

/* CONFIG: the URL is not one of a proxy. */
NODISCARD enum error_code forward_new(const struct forward_options *options,
                                      struct forward **ret_forward, struct error *e);
/* Wipes the credentials. Nulls; takes NULL. */
void forward_free(struct forward **forward);
/* Whether connections to the origin are tunnels; else requests are rewritten by forward_head. */
bool forward_tunnels(const struct forward *forward);
/* "proxy.example:3128", for error texts: at most FORWARD_NAME_MAX bytes. */
enum { FORWARD_NAME_MAX = 80 };
struct str forward_name(const struct forward *forward);
/* Where to connect to; borrowed. */
struct conn_target forward_target(const struct forward *forward);
/* A request's head for the proxy: its target absolute, with the credentials; in the arena, which
 * may overflow. */
struct str forward_head(const struct forward *forward, struct str head, struct arena *arena);

/*
 * A tunnel in the making. One of the events follows, from the loop; then it is gone.
 */
struct forward_tunnel;
struct forward_tunnel_events {
    void (*stands)(void *ctx, struct conn *conn);     /* connected, TLS included; the user's now */
    void (*failed)(void *ctx, const struct error *e); /* UPSTREAM_UNREACHABLE or _TIMEOUT */
};
/* lower: a connection to the proxy that stands already, taken over; NULL: it is made. arena: for
 * the head of the proxy's answer. */
NODISCARD struct forward_tunnel *forward_tunnel_new(const struct forward *forward,
                                                    struct loop *loop, struct conn *lower,
                                                    struct arena *arena,
                                                    const struct forward_tunnel_events *events,
                                                    void *ctx);
/* Gives up; no event follows. Nulls; takes NULL. */
void forward_tunnel_free(struct forward_tunnel **tunnel);
