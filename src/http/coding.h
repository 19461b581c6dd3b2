/* SPDX-License-Identifier: MIT */
/*
 * Content codings (RFC 9110, 8.4): gzip and deflate decoded piece by piece, with zlib.
 *
 * deflate is taken with the zlib wrapper, as it should be, and without, as some send it. A gzip
 * body may have several members. What comes after the end and is no further member is ignored, as
 * browsers do.
 * A bomb ends the decoding: more than ratio_max times the bytes that came (beyond a first 64 KiB of
 * output, so that a short body which compresses well is none), or more than bytes_max.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

struct http_headers;

enum coding { CODING_IDENTITY, CODING_GZIP, CODING_DEFLATE, CODING_OTHER };

/* Of a Content-Encoding header's value, any letter case; null and "" are identity; x-gzip is gzip.
 * A list of codings is OTHER, unless all but one are identity. */
PURE_FN enum coding coding_of(struct str header_value);
/* Of all Content-Encoding headers together. */
PURE_FN enum coding coding_of_headers(const struct http_headers *headers);

struct decoding;

struct decoding_options {
    enum coding coding;          /* GZIP or DEFLATE */
    size_t bytes_max;            /* of decoded bytes, all together */
    size_t ratio_max;            /* 0: no bound */
    struct arena_budget *budget; /* what its state takes counts there; may be NULL */
};

enum decoding_step {
    DECODING_PIECE, /* *ret_piece is lent until the next call */
    DECODING_MORE,  /* the input is used up */
    DECODING_BOMB,  /* a limit was passed: *e is ERR_TOO_LARGE, the detail says which */
    DECODING_FAILED /* the bytes are not of that coding: *e is ERR_BAD_REQUEST; or the budget is
                     * used up: ERR_OVERLOADED */
};

/* NULL: over the budget. */
NODISCARD struct decoding *coding_new(const struct decoding_options *options);
/* Takes what it used off *input. Call it until MORE; not again after BOMB and FAILED. buffer: where
 * a piece is put. */
NODISCARD enum decoding_step coding_next(struct decoding *decoding, struct str *input, char *buffer,
                                         size_t buffer_size, struct str *ret_piece,
                                         struct error *e);
/* The input has ended: whether the coded stream was complete (an empty one is). */
NODISCARD bool coding_complete(const struct decoding *decoding);
/* Nulls; takes NULL. */
void coding_free(struct decoding **decoding);
