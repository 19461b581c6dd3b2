/* SPDX-License-Identifier: MIT */
/*
 * An answer's events as the client expects them, where its request was changed for the upstream
 * (canon/translation): tools by the client's names, custom tools unwrapped, the JSON tool's
 * arguments as text, stop sequences found, <think> tags as reasoning. Works event by event, however
 * the answer was cut, and holds back only what may be the beginning of a stop sequence or a tag.
 */
#pragma once

#include "canon/event.h"
#include "canon/translation.h"

struct restore;

struct restore_options {
    const struct translation *translation; /* lives as long as the answer; NULL: none */
    bool think_tags;                       /* <think>…</think> in text is reasoning */
    struct arena *arena;                   /* lives as long as the answer */
};

/* NULL: there is nothing to do, frames pass as they are. */
struct restore *restore_new(const struct restore_options *options);
enum restore_verdict {
    RESTORE_OK,
    RESTORE_CUT, /* a stop sequence was met: the frame ends the answer, the upstream is cancelled */
    RESTORE_FULL /* the arena is full */
};
/* Replaces the frame's events by those the client is to see; frame->changed where they differ. The
 * events, and their text, lie in scratch, or where they were. A frame that ends the answer
 * (terminator, or the last STOP) gives up what was held. */
enum restore_verdict restore_frame(struct restore *restore, struct frame *frame,
                                   struct arena *scratch);
/* The answer has ended: what is still held, as events in scratch; n 0 without any. */
void restore_end(struct restore *restore, struct frame *ret_frame, struct arena *scratch);
