/* SPDX-License-Identifier: MIT */
/*
 * An answer's events as the client expects them, where its request was changed for the upstream
 * (canon/translation): tools by the client's names, custom tools unwrapped, the JSON tool's
 * arguments as text, stop sequences found, <think> tags as reasoning, echoes left out. Works event
 * by event, however the answer was cut, and holds back only what may be the beginning of a stop
 * sequence, a tag or an echo.
 *
 * An echo (translation.echo) is left out in front of a choice's text; its beginning waits for the
 * rest of it, and is said where something else comes.
 *
 * Stop sequences are looked for in each block of text, not in reasoning. <think> (or <thinking>,
 * <reasoning>, <seed:think>, each closed by its own) is a tag at the beginning of a text, behind
 * blanks at most; later ones are what the model speaks of, and so is a </think> that nothing
 * opened: what stood before it has been told. Of a tagged text, line breaks right behind a tag and
 * blanks alone before <think> are left out, and no block is made of nothing: what <think></think>
 * encloses is no reasoning when it is empty. Where the upstream told reasoning apart by itself, its
 * text has no tags.
 */
#pragma once

#include "canon/event.h"
#include "canon/translation.h"

struct restore;

struct restore_options {
    const struct translation *translation; /* lives as long as the answer; NULL: none */
    bool think_tags;                       /* <think>…</think> in text is reasoning */
    uint32_t choices;                      /* that the client asked for; 0: one. After a stop
                                            * sequence in each the rest is not waited for */
    struct arena *arena;                   /* lives as long as the answer */
};

/* NULL: there is nothing to do, frames pass as they are; or the arena is full. */
struct restore *restore_new(const struct restore_options *options);
enum restore_verdict {
    RESTORE_OK,
    RESTORE_CUT, /* a stop sequence was met: the frame ends the answer, the upstream is cancelled */
    RESTORE_FULL /* the arena is full */
};
/* Replaces the frame's events by those the client is to see; frame->changed where they differ. The
 * events, and their text, lie in scratch, or where they were, or live as long as the answer. What
 * is held of a block is given up at its end, and before an ERROR. After RESTORE_CUT nothing is let
 * through but USAGE. */
enum restore_verdict restore_frame(struct restore *restore, struct frame *frame,
                                   struct arena *scratch);
/* The answer broke off: what is still held, as events in scratch; n 0 without any. */
void restore_end(struct restore *restore, struct frame *ret_frame, struct arena *scratch);
