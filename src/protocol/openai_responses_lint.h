/* SPDX-License-Identifier: MIT */
/*
 * A checker of Responses answers: what a client may rely on. Independent of our decoder, but for
 * JSON and SSE.
 */
#pragma once

#include "protocol/protocol.h"
#include "text/json.h"
#include "text/sse.h"

struct openai_responses_lint_item {
    struct openai_responses_lint_item *next;
    int64_t index;
    struct str id;
    struct str type;
    bool open;
    bool part_open;
    bool text_done;  /* of the open part, or of a call */
    int64_t parts;   /* begun so far */
    struct buf text; /* deltas of the open part, or of a call */
    struct buf done; /* the item as it was done */
};

struct openai_responses_lint {
    struct arena *arena;  /* what is remembered */
    struct arena scratch; /* one frame's JSON */
    struct sse sse;
    struct buf body; /* whole ones */
    bool stream;
    const char *broken; /* the rule that was broken first; NULL: none */
    size_t broken_line;
    size_t line;  /* of what is looked at */
    size_t lines; /* before the next frame */
    bool created;
    bool running; /* response.in_progress was seen */
    bool failed;  /* an error was seen */
    bool ended;   /* the terminal event was seen */
    int64_t sequence;
    struct str id;
    int64_t items_n;
    struct openai_responses_lint_item *items; /* the newest first */
};

/* state: a struct openai_responses_lint. */
lint_init_fn openai_responses_lint_init;
lint_bytes_fn openai_responses_lint_bytes;
lint_fini_fn openai_responses_lint_fini;
