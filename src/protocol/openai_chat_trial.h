/* SPDX-License-Identifier: MIT */
/*
 * Answers run through decoder and encoder, with everything kept: the frame of tests and fuzzers.
 * Nothing of it is in the program.
 */
#pragma once

#include "protocol/protocol.h"

struct openai_chat_trial {
    struct arena arena;   /* of all below */
    struct frame *frames; /* copies, with copies of their events */
    size_t n;
    size_t size;
    struct error error; /* how decoding ended */
    uint32_t matched;   /* frames that templates decoded */
    uint32_t not_json;
};

struct openai_chat_cuts {
    bool stream; /* false: a whole body */
    bool templates_off;
    size_t step;   /* bytes given at once; 0: all */
    uint64_t seed; /* not 0: 1 to step bytes at once */
};

/* error.code says whether the answer was complete. The trial is to be given to _fini. */
void openai_chat_trial_decode(struct openai_chat_trial *trial, struct str bytes,
                              const struct openai_chat_cuts *cuts);
void openai_chat_trial_fini(struct openai_chat_trial *trial);

/* Whether the events obey canon/check; else why. */
NODISCARD bool openai_chat_trial_check(const struct openai_chat_trial *trial,
                                       struct error *ret_why);
/* All frames: what they are, and their events. */
void openai_chat_trial_dump(const struct openai_chat_trial *trial, struct buf *out);
/* Their events alone, a line each. */
void openai_chat_trial_events(const struct openai_chat_trial *trial, struct buf *out);
/* What the answer says (canon/digest). */
void openai_chat_trial_digest(const struct openai_chat_trial *trial, bool usage, struct buf *out);

/* The client's bytes. stream and same_protocol, include_usage, hide_usage of options count; the
 * rest is filled in. encoder_end is called when the answer was complete. */
NODISCARD enum error_code openai_chat_trial_encode(const struct openai_chat_trial *trial,
                                                   const struct encoder_options *options,
                                                   struct buf *out, struct error *e);
