/* SPDX-License-Identifier: MIT */
/*
 * What decoders of answers share: framing (SSE, JSON arrays, whole bodies), parsing, the frame in
 * work and its events, completion. A protocol gives two functions: what one JSON value means, and
 * whether the answer is complete.
 *
 *   bytes ─► decode_bytes ─ framing ─ JSON ─► read ─► decode_event … ─► sink
 *
 * A protocol's decoder begins with a struct decode.
 */
#pragma once

#include "protocol/protocol.h"
#include "text/json.h"
#include "text/json_halves.h"
#include "text/sse.h"

struct decode;

struct decode_ops {
    /* The value of a frame (its data, an element of the array, the whole body): adds events. root
     * lies in scratch. event: the SSE event field, null without one. May set frame's flags. */
    void (*read)(struct decode *d, yyjson_val *root, struct str event, struct frame *frame);
    /* Data that can be read without being parsed: adds its events, or false. learn: after read, of
     * the same data. NULL: nothing of the kind. */
    bool (*quick)(struct decode *d, struct str data);
    void (*learn)(struct decode *d, struct str data);
    /* A whole body that is a list. NULL: its first element is the body. */
    void (*read_list)(struct decode *d, yyjson_val *list, struct frame *frame);
    /* Data that is no JSON object; NULL: no events. Returns whether it is the terminator. */
    bool (*read_other)(struct decode *d, struct str data, struct frame *frame);
    /* A whole body that is not this protocol's: what it is not, "a message"; NULL: it is fine.
     * Asked after read. */
    const char *(*check_whole)(struct decode *d, yyjson_val *root);
    /* The stream may end here (over and terminated are looked at before). */
    bool (*complete)(const struct decode *d);
    /* The stream has ended and is complete: adds what the upstream left out (STOP). NULL: none. */
    void (*finish)(struct decode *d);
};

struct decode {
    struct decoder_options options;
    const struct decode_ops *ops;
    struct sse sse;
    struct json_halves halves;
    bool over;       /* an ERROR was emitted */
    bool terminated; /* the end marker was seen */
    bool quit;       /* the sink said PUSH_STOP */
    bool too_many;   /* a bound of the protocol's was passed: the answer fails */
    uint32_t not_json;
    /* The frame in work. */
    struct event *events; /* in scratch */
    uint32_t n;
    uint32_t size;
    /* Of a JSON array: the element in work. */
    struct buf carry;
    uint32_t depth; /* open brackets, the array's own is 1; 0: before or behind it */
    bool in_string;
    bool after_backslash;
    bool array_ended;
};

/* d: zeroed. */
void decode_init(struct decode *d, const struct decode_ops *ops,
                 const struct decoder_options *options);
void decode_fini(struct decode *d);
/* Does what response_decode_fn says. */
enum error_code decode_bytes(struct decode *d, struct str bytes, bool end, struct error *e);
/* A new event of the frame in work, with kind, choice and block set; never NULL: past the scratch's
 * cap it is one that is lost (the frame then fails). */
struct event *decode_event(struct decode *d, enum event_kind kind, uint32_t choice, uint32_t block);
/* The same for those that are text and nothing else; text is made valid UTF-8, in scratch where it
 * must be changed. Empty text: no event. */
void decode_text(struct decode *d, enum event_kind kind, uint32_t choice, uint32_t block,
                 struct str text);
