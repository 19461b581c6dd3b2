/* SPDX-License-Identifier: MIT */
/*
 * Reading one HTTP/1.x message after the other: llhttp, driven step by step. The parser calls
 * nobody: parse_next takes input until there is something to tell and says what, so that whoever
 * drives it may do anything between two steps, freeing the parser included.
 *
 *   parse_begin ─► HEAD ─► BODY… ─► END ─► parse_begin …          MORE: the input is used up
 *                   └────────┴──► FAILED: the message is beyond repair
 *
 * What llhttp 9 lets through and RFC 9112 does not is refused here: see message_check in parse.c.
 */
#pragma once

/* The names of methods are enumerators there and in message.h: llhttp's get another name. */
#define HTTP_GET     LLHTTP_GET
#define HTTP_HEAD    LLHTTP_HEAD
#define HTTP_POST    LLHTTP_POST
#define HTTP_PUT     LLHTTP_PUT
#define HTTP_PATCH   LLHTTP_PATCH
#define HTTP_DELETE  LLHTTP_DELETE
#define HTTP_OPTIONS LLHTTP_OPTIONS
#define HTTP_CONNECT LLHTTP_CONNECT
#include <llhttp.h>
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH
#undef HTTP_DELETE
#undef HTTP_OPTIONS
#undef HTTP_CONNECT

#include "base/arena.h"
#include "base/error.h"
#include "http/message.h"

enum parse_side { PARSE_REQUEST, PARSE_ANSWER };

enum parse_step { PARSE_MORE, PARSE_HEAD, PARSE_BODY, PARSE_END, PARSE_FAILED };

struct parser {
    llhttp_t http;
    struct arena *arena;     /* of the present message's head */
    struct message *message; /* in the arena */
    char *raw;               /* the head's bytes so far, in the arena; raw_n of raw_size */
    size_t raw_n;
    size_t raw_size;
    const char *feed; /* begin of the bytes that llhttp looks at */
    struct str version;
    struct str body;     /* the piece that a BODY step found */
    uint64_t body_bytes; /* of the present message, so far */
    size_t head_bytes_max;
    size_t head_bytes;  /* of all heads since parse_reset: interim answers count too */
    size_t extra_bytes; /* chunk extensions and trailers of the present message */
    uint8_t step;       /* enum parse_step, set by llhttp's callbacks */
    uint8_t side;       /* enum parse_side */
    bool head_done;
    bool name_open;   /* the newest header's name may still grow */
    bool filled;      /* the message's offsets have become pointers */
    bool no_body;     /* the answer to a HEAD request */
    bool chunk_ended; /* llhttp stands behind the data of a chunk, before its CR LF */
    bool extra_full;
};

void parse_init(struct parser *parser, enum parse_side side, size_t head_bytes_max);
/* Forgets everything: the next message is the first of a fresh sequence. */
void parse_reset(struct parser *parser);
/* A message begins; its head goes into the arena (which must not have overflowed). */
void parse_begin(struct parser *parser, struct arena *arena, bool no_body);

/* One step. Takes the bytes it used off *input. ret_body is set by PARSE_BODY only, and points
 * into the input. After PARSE_HEAD, go on until PARSE_MORE, also with empty input. */
NODISCARD enum parse_step parse_next(struct parser *parser, struct str *input, struct str *ret_body,
                                     struct error *e);
/* The input has ended: PARSE_END if the message may end there, else PARSE_FAILED. */
NODISCARD enum parse_step parse_eof(struct parser *parser, struct error *e);

/* As far as it was read; target and path are null until the request line is complete. Valid as
 * long as the arena's content. Once asked before PARSE_HEAD, the message cannot be read on. */
struct message *parse_message(struct parser *parser);
