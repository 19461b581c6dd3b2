/* SPDX-License-Identifier: MIT */
/*
 * Names that users type: of commands, keys and choices. Letters of either case are equal, and so
 * are '_' and '-'. Lists of them are written "one-off|oneoff"; NULL is an empty list.
 */
#pragma once

#include "base/buf.h"

enum { NAMES_SHOWN_MAX = 48 };

bool names_eq(struct str a, struct str b);
bool names_has(const char *list, struct str name);

/* The nearest of many names to one that is none of them. */
struct names_near {
    struct str name;
    struct str best; /* null: nothing is near so far */
    size_t distance;
};

void names_near_init(struct names_near *near, struct str name);
/* candidate is one of the names, canonical what is to be suggested for it. */
void names_near_try(struct names_near *near, struct str candidate, struct str canonical);
void names_near_try_list(struct names_near *near, const char *list, struct str canonical);

/* What a user typed, in an answer: its beginning, "..." behind it when that is not all. */
void names_show(struct str typed, struct buf *out);
/* The template with the value in the place of its '*'. */
void names_say(const char *template, struct str value, struct buf *out);
