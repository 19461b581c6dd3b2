/* SPDX-License-Identifier: MIT */
/*
 * Embeddings: a client's POST /v1/embeddings for a backend that speaks Gemini's protocol. Pure.
 *
 * Sources: OpenAI's API reference, "Create embeddings" (input, dimensions, encoding_format; the
 * list that comes back); Google's "Embeddings" (models.batchEmbedContents: at most 100 requests in
 * one call, each with its model; outputDimensionality; usageMetadata.promptTokenCount).
 *
 *   embeddings_read ─► for each of embeddings_calls: embeddings_write ─► upstream
 *   upstream's bytes, cut anywhere ─► embeddings_answer_add … _next ─► … ─► _end ─► client
 *
 * More inputs than a call takes are asked for in several calls, one after another, whose answers
 * become one list. Vectors are passed on as they come: nobody makes their length 1 (Google's
 * models leave that out where fewer dimensions than their own are asked for).
 */
#pragma once

#include "canon/translation.h"
#include "protocol/protocol.h"

enum {
    EMBEDDINGS_INPUTS_MAX = 2048, /* OpenAI's bound on one request */
    EMBEDDINGS_CALL_MAX = 100,    /* Gemini's on one call */
};

/* --- the request ---------------------------------------------------------------------------- */

struct embeddings {
    struct str model;   /* as the client wrote it; null: it named none */
    struct str *inputs; /* JSON strings with their quotes; in the body, or in the arena */
    size_t n;           /* 1 to EMBEDDINGS_INPUTS_MAX */
    int64_t dimensions; /* 0: the model's own */
    bool base64;        /* little-endian binary32, in base64; else numbers */
};

/* Reads a client's request; body is borrowed as long as *ret_asked lives. What Gemini has no word
 * for is noted in t (NULL: nowhere). BAD_REQUEST: what is wrong, and where; UNSUPPORTED: tokens
 * instead of text; TOO_LARGE: the arena ran over. */
NODISCARD enum error_code embeddings_read(struct str body, size_t depth_max, struct translation *t,
                                          struct arena *arena, struct embeddings *ret_asked,
                                          struct error *e);

/* How many calls they take: 1 to 21. */
size_t embeddings_calls(const struct embeddings *asked);

/* The upstream's request for a call (from 0). model: the upstream's name of it, with or without
 * "models/". The pieces lie in the arena and in the client's body. */
NODISCARD enum error_code embeddings_write(const struct embeddings *asked, size_t call,
                                           struct str model, struct arena *arena,
                                           struct wire *ret_wire, struct error *e);

/* --- the answer ----------------------------------------------------------------------------- */

enum {
    EMBEDDINGS_DEPTH_MAX = 64, /* of an upstream's answer */
    EMBEDDINGS_TOKEN_MAX = 48, /* bytes of a number, or of a key that means something */
};

/* Where reading one call's answer is; embeddings_answer.c says what the members mean. */
struct embeddings_reader {
    uint64_t objects; /* bit n: the container at depth n is an object */
    unsigned depth;
    unsigned state;
    char token[EMBEDDINGS_TOKEN_MAX];
    size_t token_n; /* may pass EMBEDDINGS_TOKEN_MAX: then it is no token of ours */
    bool key;       /* the string is a key */
    bool list;      /* within the root's "embeddings" */
    bool usage;     /* within the root's "usageMetadata" */
    bool values;    /* the value that comes, or that we are in, is a vector */
    bool count;     /* the number that comes is promptTokenCount */
    bool vector;    /* this element has had its vector */
    size_t numbers; /* of the vector */
    size_t vectors; /* of this call */
    int64_t tokens; /* -1: it did not say */
};

struct embeddings_answer {
    const struct embeddings *asked;
    struct buf *out;
    struct embeddings_reader reader;
    struct str model;
    size_t call;    /* whose answer is being read */
    size_t begin;   /* what out held when it began */
    int64_t tokens; /* of the calls before */
    bool estimated; /* not all calls said how many tokens theirs were: read when it has ended */
    unsigned char carry[2];
    size_t carry_n; /* bytes that wait for a third, of base64 */
};

/* asked, out and model (what the client is told) live as long as the answer. Memory: none but
 * out's. */
void embeddings_answer_init(struct embeddings_answer *answer, const struct embeddings *asked,
                            struct str model, struct buf *out);
/* Bytes of the present call's answer (status 200), cut anywhere. UPSTREAM_BROKEN: they are not what
 * Gemini says; UPSTREAM_TOO_LARGE: out is full. After a failure nothing but _again is allowed. */
NODISCARD enum error_code embeddings_answer_add(struct embeddings_answer *answer, struct str bytes,
                                                struct error *e);
/* The present call's answer is complete: on to the next call's. */
NODISCARD enum error_code embeddings_answer_next(struct embeddings_answer *answer, struct error *e);
/* The present call is asked once more: what came of its answer is taken back. */
void embeddings_answer_again(struct embeddings_answer *answer);
/* All calls are answered: out becomes whole. How many tokens the inputs were is what the upstream
 * said; of calls where it did not it is estimated. */
NODISCARD enum error_code embeddings_answer_end(struct embeddings_answer *answer, struct error *e);
