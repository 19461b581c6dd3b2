/* SPDX-License-Identifier: MIT */
/*
 * How an answer of the demo comes: its parts, cut to what the request allows, encoded by the
 * protocol's own encoder, whole or piece by piece. Memory is the arena's but for what the encoder
 * collects of a whole answer, which is freed before demo_play_start returns.
 */
#pragma once

#include "backend/backend.h"

enum { DEMO_ITEMS_MAX = 12, DEMO_CHOICES_MAX = 128 };

/* A part of the answer; in the order of its blocks. */
struct demo_item {
    enum block_kind kind; /* REASONING, TEXT or TOOL */
    struct str text;      /* a tool's: its arguments */
    struct str name;      /* of the tool */
    bool custom;          /* its text is no JSON */
};

struct demo_script {
    struct demo_item items[DEMO_ITEMS_MAX];
    size_t n;
    struct str model; /* what the answer is said to be of */
    int64_t word_ms;  /* pause after each word of a stream */
};

struct demo_choice {
    size_t item;
    size_t at; /* in the item's text */
    bool begun;
    bool over;
};

struct demo_play {
    struct demo_script script;
    enum stop_reason stop;
    struct str sequence; /* of STOP_SEQUENCE */
    size_t choices_n;
    struct demo_choice *choices;
    size_t piece_min;
    struct usage usage;
    bool stream;
    bool logprobs;     /* the client wants them ... */
    bool top_logprobs; /* ... and of other candidates, of which there is none but the word itself */
    void *encoder;     /* NULL: there is none (any more) */
    struct str id;
};

/* Takes what the request allows of the script. *ret_wait_ms: how long a whole answer is to wait.
 * Appends a whole answer to out; of a stream nothing. BAD_REQUEST: a parameter makes no sense;
 * UNSUPPORTED_VALUE: the demo does not have it; TOO_LARGE: the answer, or what out takes. */
NODISCARD enum error_code demo_play_start(struct demo_play *play, const struct request *request,
                                          int64_t now_s, struct arena *arena, struct buf *out,
                                          struct error *e);
/* A stream's next piece; *ret_wait_ms: the pause after it. LOCAL_CUT: it cannot be said. */
enum local_move demo_play_next(struct demo_play *play, struct buf *out, int64_t *ret_wait_ms);
/* Whenever demo_play_start was called. */
void demo_play_end(struct demo_play *play);
/* How long a whole answer takes to be said. */
int64_t demo_play_wait_ms(const struct demo_play *play);
