/* SPDX-License-Identifier: MIT */
/* What the files of forward proxies share. */
#pragma once

#include "base/buf.h"
#include "base/secret.h"
#include "http/forward.h"

enum { FORWARD_MAGIC = 0x46574452, HTTP_PORT = 80 };

struct forward {
    uint32_t magic;
    uint16_t proxy_port;
    uint16_t port;
    char *proxy_host;
    char *host; /* the origin's */
    struct tls_context *proxy_tls;
    struct tls_context *tls;
    struct secret connect;     /* the whole CONNECT request */
    struct secret credentials; /* "proxy-authorization: …\r\n", or empty */
    char *origin;              /* "http://example.com:8080": goes before a target */
    int64_t connect_timeout_ms;
    size_t header_bytes_max;
    char name[FORWARD_NAME_MAX + 1];
};
