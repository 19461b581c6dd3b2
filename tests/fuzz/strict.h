/* SPDX-License-Identifier: MIT */
/*
 * A second reader of HTTP/1.1, for the fuzz targets: what RFC 9112 allows and no more, written from
 * its grammar and sharing nothing with http/parse. It reads one message from whole bytes, the slow
 * and plain way; that is why it can be believed.
 */
#pragma once

#include "base/buf.h"

enum strict_kind {
    STRICT_MORE, /* a beginning of a message */
    STRICT_DONE,
    STRICT_BAD /* not a message, whatever follows */
};

enum { STRICT_FIELDS_MAX = 4096 };

struct strict_field {
    struct str name;
    struct str value;
};

struct strict {
    enum strict_kind head; /* of the head alone */
    enum strict_kind kind; /* of the whole message */
    const char *why;       /* it is BAD, or not plain */
    size_t head_size;      /* with empty lines before it, up to the empty line's end */
    size_t size;           /* of the whole message */
    size_t extra_size;     /* of chunk extensions and trailers */
    struct str method;
    struct str target;
    int minor;
    int status;
    bool chunked;
    bool has_length;
    bool until_close;
    uint64_t length;
    /* Nothing in it that a server may refuse for reasons of its own. */
    bool plain;
    size_t field_n;
    struct strict_field fields[STRICT_FIELDS_MAX];
    struct buf body; /* as far as it is there */
};

void strict_init(struct strict *wire);
void strict_fini(struct strict *wire);
/* Slices of the result point into bytes. */
void strict_read_request(struct strict *wire, struct str bytes);
/* no_body: it answers a HEAD. eof: nothing follows the bytes. Interim answers are messages too. */
void strict_read_answer(struct strict *wire, struct str bytes, bool no_body, bool eof);
/* The only value of that name; null when there is none, or more than one. */
struct str strict_get(const struct strict *wire, struct str name);
