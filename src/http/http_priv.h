/* SPDX-License-Identifier: MIT */
/*
 * What one turn sends on one connection: a head, body bytes, the end of the answer; one writev.
 * A batch exists only between the first byte queued and the flush at the turn's end, so that a
 * silent connection has none; they are recycled.
 */
#pragma once

#include "base/buf.h"
#include "io/conn.h"

struct write_batch {
    struct write_batch *next;
    struct buf head;   /* copied */
    struct str *parts; /* [0] the head, [1] the chunk's size, from [2] on the body, borrowed */
    size_t parts_n;    /* 2 or more */
    size_t parts_size;
    uint64_t body_bytes; /* of the parts from [2] on */
    char chunk_size[24];
};

/* Spare batches and the Date of this second; one per server. */
struct write_pool {
    struct write_batch *spare;
    unsigned spare_n;
    int64_t date_s;
    char date[32]; /* "Sun, 06 Nov 1994 08:49:37 GMT" and NUL */
};

struct write_head {
    int status;
    struct str headers; /* "Name: value\r\n…" */
    bool has_length;
    uint64_t length;
    bool chunked;
    struct str connection; /* "close", "keep-alive" or null */
};

void write_pool_init(struct write_pool *pool);
void write_pool_fini(struct write_pool *pool);
NODISCARD struct write_batch *write_take(struct write_pool *pool);
/* Nulls. Takes NULL. */
void write_give(struct write_pool *pool, struct write_batch **batch);

void write_head(struct write_pool *pool, struct write_batch *batch, const struct write_head *head,
                int64_t wall_ms);
void write_body(struct write_batch *batch, struct str bytes);
/* Gives all to the conn. chunked: the body bytes become one chunk; last: and the last one follows.
 * Returns what conn_write says. */
enum conn_push write_send(struct write_batch *batch, struct conn *conn, bool chunked, bool last,
                          uint64_t *ret_bytes);
