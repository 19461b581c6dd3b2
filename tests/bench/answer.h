/* SPDX-License-Identifier: MIT */
/*
 * One HTTP response as the load client reads it: incremental, and compared with what must come.
 *
 * Accepts status 200 with a content-length or chunked; everything else, and every byte of body
 * that differs from the expected one, makes it ANSWER_BAD. An answer that was translated is not
 * known to the byte: then its body must hold certain words in their order.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ANSWER_HEAD_MAX 4096

enum answer_state {
    ANSWER_HEAD,
    ANSWER_LENGTH,
    ANSWER_CHUNK_SIZE,
    ANSWER_CHUNK_DATA,
    ANSWER_CHUNK_END,
    ANSWER_TRAILER,
    ANSWER_DONE,
    ANSWER_BAD
};

struct answer {
    const char *expect; /* NULL: the needles */
    size_t expect_n;
    const char *const *needles; /* ended by NULL */
    char *body;                 /* so far, where there are needles */
    size_t body_size;
    size_t seen; /* body bytes so far, all as expected */
    size_t left; /* of the chunk, or of the body */
    enum answer_state state;
    bool digits;     /* the chunk's size has begun */
    bool size_done;  /* the size's digits are behind us, its line is not */
    const char *why; /* when bad */
    size_t head_n;
    char head[ANSWER_HEAD_MAX];
};

/* `expect` must live as long as the answer. */
void answer_init(struct answer *answer, const char *expect, size_t expect_n);
/* The same where the needles must be found in the body, one behind the other. */
void answer_init_loose(struct answer *answer, const char *const *needles);
void answer_reset(struct answer *answer);
enum answer_state answer_feed(struct answer *answer, const char *p, size_t n);
