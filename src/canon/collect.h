/* SPDX-License-Identifier: MIT */
/*
 * Answers put together from their events: each choice's blocks with their texts joined. For
 * encoders that write one whole body, or must say at a block's end what it held.
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
    struct buf text; /* TEXT, REASONING, TOOL_ARGS joined; of SIGNATURE nothing */
    struct str signature;
    struct collect_list *citations; /* in order */
    struct collect_list *logprobs;
    void *user; /* the encoder's own */
    struct collect_block *next;
};

struct collect_choice {
    uint32_t index;
    struct collect_block *blocks; /* in order of their begin */
    bool stopped;
    enum stop_reason reason;
    struct str native;
    struct str sequence;
    bool has_tool;
    struct collect_choice *next;
};

struct collect {
    struct arena *arena; /* nodes and small texts */
    size_t bytes;        /* of all joined text */
    size_t bytes_max;
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
void collect_fini(struct collect *collect);
/* False: past bytes_max or the arena's cap; all later ones too. *ret_block (may be NULL): the block
 * that the event is of, NULL without one. */
NODISCARD bool collect_event(struct collect *collect, const struct event *event,
                             struct collect_block **ret_block);
/* NULL without one. */
struct collect_choice *collect_choice(const struct collect *collect, uint32_t index);
struct collect_block *collect_block(const struct collect *collect, uint32_t choice, uint32_t block);
