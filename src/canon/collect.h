/* SPDX-License-Identifier: MIT */
/*
 * Answers put together from their events: each choice's blocks with their texts joined. For
 * encoders that write one whole body, or must say at a block's end what it held, and for who wants
 * to remember an answer.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "canon/event.h"

struct collect_list { /* of JSON texts */
    struct str text;
    struct collect_list *next;
};

struct collect_block {
    enum block_kind kind;
    uint32_t number; /* within the choice: its event's block */
    bool open;
    bool custom;
    bool legacy;
    struct str id; /* of begin; in the arena */
    struct str name;
    struct buf text;                /* TEXT, REASONING, TOOL_ARGS joined; of SIGNATURE nothing */
    struct str signature;           /* the last one; null: none */
    struct collect_list *citations; /* in order */
    struct collect_list *citations_last;
    struct collect_list *logprobs;
    struct collect_list *logprobs_last;
    void *user; /* the encoder's own */
    struct collect_block *next;
};

struct collect_choice {
    uint32_t index;
    struct collect_block *blocks; /* in order of their begin */
    struct collect_block **by_number;
    uint32_t blocks_n;
    uint32_t blocks_size; /* of by_number */
    bool stopped;
    enum stop_reason reason;
    struct str native;
    struct str sequence;
    bool has_tool;
    struct collect_choice *next;
};

struct collect {
    struct arena *arena; /* nodes and small texts; bufs count in its budget */
    size_t bytes;        /* of all text */
    size_t bytes_max;
    bool full;                      /* something was too much: what is here is not all */
    struct collect_choice *choices; /* in order of their index */
    bool started;
    struct str id;
    struct str model;
    int64_t created_s;
    bool usage_known;
    struct usage usage; /* field by field, the last one said */
    bool failed;        /* an ERROR came */
    struct event error; /* its text lies in the arena */
};

void collect_init(struct collect *collect, struct arena *arena, size_t bytes_max);
/* Gives the texts back; before the arena goes. */
void collect_fini(struct collect *collect);
/* False: past bytes_max or the arena's cap; all later ones too. The events must be legal
 * (canon/check). *ret_block (may be NULL): the block that the event is of, NULL without one. */
NODISCARD bool collect_event(struct collect *collect, const struct event *event,
                             struct collect_block **ret_block);
/* NULL without one. */
struct collect_choice *collect_choice(const struct collect *collect, uint32_t index);
struct collect_block *collect_block(const struct collect *collect, uint32_t choice, uint32_t block);
/* Empties a block's text and forgets its citations: an encoder that has written them needs them no
 * more. */
void collect_forget(struct collect *collect, struct collect_block *block);
