/* SPDX-License-Identifier: MIT */
/*
 * What is not the user's own words in a user's text: code, elements, results of tools. For spot.c;
 * spot.h says what is what.
 */
#pragma once

#include "command/spot.h"

enum spot_skip_kind {
    SPOT_SKIP_NONE,
    SPOT_SKIP_TAG,     /* a tag of an element that is looked into */
    SPOT_SKIP_AGAIN,   /* an element that clients add to each message */
    SPOT_SKIP_TOLD,    /* one that they add by themselves, and maybe only once */
    SPOT_SKIP_FENCE,   /* code */
    SPOT_SKIP_ELEMENT, /* any other */
};

struct spot_skip {
    struct str text;
    size_t budget;     /* of bytes that may still be searched for closing tags in vain */
    struct str absent; /* the name of the last element that had none */
};

void spot_skip_init(struct spot_skip *skip, struct str text);
/* at: where a line begins, or its text behind a tag. What begins there and is not looked into, up
 * to *ret_end; SPOT_SKIP_NONE: nothing. */
enum spot_skip_kind spot_skip_next(struct spot_skip *skip, size_t at, size_t *ret_end);
/* A line's text [begin, end) that ends in three or more backticks, and maybe a word, that close
 * nothing on it opens a fence, too ("Look at this: ```c"). Where that ends; SIZE_MAX: it opens
 * none. */
size_t spot_skip_open(struct str text, size_t begin, size_t end);
/* Where the text of a line [begin, end) ends before the closing tags of elements that are looked
 * into, at its end. */
size_t spot_skip_tail(struct str text, size_t begin, size_t end);

/* Inline code on one line: runs of so many backticks and no more can open one. */
enum { SPOT_SKIP_TICKS = 64 };
struct spot_skip_ticks {
    size_t last[SPOT_SKIP_TICKS + 1]; /* where the last run of each length begins; SIZE_MAX: none */
};
void spot_skip_ticks_init(struct spot_skip_ticks *ticks, struct str text, size_t begin, size_t end);
/* at: the first of some backticks. Behind the inline code that they open, else behind them. */
size_t spot_skip_ticks_next(const struct spot_skip_ticks *ticks, struct str text, size_t at,
                            size_t end);

/* Which part of a tool's result is looked into. */
struct spot_skip_part {
    enum spot_as is;   /* SPOT_TEXT: it is no result, all of it is looked into */
    enum spot_as next; /* of the part behind it */
    size_t begin;
    size_t end;
};
void spot_skip_result(struct str text, enum spot_as as, struct spot_skip_part *ret_part);

/* An element that is looked into is somewhere in the text, also within a line (of agents that put
 * JSON there). */
bool spot_skip_words(struct str text);
