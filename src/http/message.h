/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.x messages (RFC 9110, RFC 9112): the head of a request or an answer. All bytes lie in the
 * arena that the message was read into, except where said. Header names keep the letters that
 * came; look-ups ignore case.
 */
#pragma once

#include "base/str.h"

struct arena;

struct http_header {
    struct str name;
    struct str value; /* without blanks at its ends */
};

struct http_headers {
    struct http_header *items;
    size_t n;
    size_t size; /* allocated items */
};

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_CONNECT,
    HTTP_OTHER
};

struct message {
    /* requests */
    enum http_method method;
    struct str method_name; /* "GET" */
    struct str target;      /* as it came */
    struct str path;        /* of the target, without query; not decoded */
    struct str query;       /* after '?', null without one */
    bool absolute;          /* the target was in absolute form */
    struct str host;        /* of the target in absolute form, else the Host header's; "name" or
                             * "name:port", valid; null: none (HTTP/1.0) */
    struct str origin;      /* the Origin header's, null without one */
    /* answers */
    int status;
    /* both */
    int minor; /* HTTP/1.minor */
    struct http_headers headers;
    struct str content_encoding; /* null without one, "several" where it stands twice */
    bool keep_alive;             /* of the sender's: Connection and version */
    bool chunked;
    bool upgrade; /* asks for another protocol */
    bool expect_continue;
    bool has_length;
    uint64_t content_length; /* when has_length */
};

/* Makes room for more, unless that is past the cap of the arena. */
void http_headers_grow(struct http_headers *headers, struct arena *arena);
/* Past the arena's cap nothing is added: ask arena_overflowed. */
static inline void http_headers_add(struct http_headers *headers, struct arena *arena,
                                    struct str name, struct str value)
{
    assert(headers->n <= headers->size);
    if (UNLIKELY(headers->n == headers->size))
        http_headers_grow(headers, arena);
    if (LIKELY(headers->n < headers->size))
        headers->items[headers->n++] = (struct http_header){.name = name, .value = value};
}
/* The first value of that name, null without one. */
PURE_FN struct str http_headers_get(const struct http_headers *headers, struct str name);
/* "Not Found"; "Unknown" for codes without a registered text. */
PURE_FN struct str http_reason(int status);
/* A token in a comma-separated list, any letter case. */
PURE_FN bool http_list_has(struct str list, struct str token);
