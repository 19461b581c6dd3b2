/* SPDX-License-Identifier: MIT */
/*
 * A second reader of HTTP/1.1, for the fuzz targets: what RFC 9112 allows and no more, written from
 * its grammar and sharing nothing with http/parse. It reads one message from whole bytes, the slow
 * and plain way; that is why it can be believed.
 */
#pragma once

#include "base/buf.h"

enum wire_kind {
    WIRE_MORE, /* a beginning of a message */
    WIRE_DONE,
    WIRE_BAD /* not a message, whatever follows */
};

enum { WIRE_FIELDS_MAX = 4096 };

struct wire_field {
    struct str name;
    struct str value;
};

struct wire {
    enum wire_kind head; /* of the head alone */
    enum wire_kind kind; /* of the whole message */
    const char *why;     /* it is BAD, or not plain */
    size_t head_size;    /* with empty lines before it, up to the empty line's end */
    size_t size;         /* of the whole message */
    size_t extra_size;   /* of chunk extensions and trailers */
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
    struct wire_field fields[WIRE_FIELDS_MAX];
    struct buf body; /* as far as it is there */
};

void wire_init(struct wire *wire);
void wire_fini(struct wire *wire);
/* Slices of the result point into bytes. */
void wire_read_request(struct wire *wire, struct str bytes);
/* no_body: it answers a HEAD. eof: nothing follows the bytes. Interim answers are messages too. */
void wire_read_answer(struct wire *wire, struct str bytes, bool no_body, bool eof);
/* The only value of that name; null when there is none, or more than one. */
struct str wire_get(const struct wire *wire, struct str name);
