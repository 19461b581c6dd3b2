/* SPDX-License-Identifier: MIT */
/*
 * A protocol: both directions of one wire format. Pure: bytes in, bytes out; no sockets, no
 * configuration, no time of its own. Adding one: a file and a line in protocols.def.
 *
 * On the way up  client's wire ─ request_decode ─► request ─ request_encode ─► upstream's wire.
 * On the way down  upstream's bytes ─ decoder ─► frames ─ stages ─► encoder ─► client's bytes.
 *
 * Raw mode: while the decoder's and the encoder's protocol are the same and no frame was changed,
 * the encoder only observes the events (ids, open blocks, counters) and hands out frame.raw. The
 * first changed frame is a take-over, sticky to the end: that frame and every later one is encoded,
 * with the observed ids and counters going on.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "canon/event.h"
#include "canon/outline.h"
#include "canon/request.h"
#include "canon/steer.h"
#include "canon/translation.h"
#include "protocol/dialect.h"

struct http_headers;
struct traits;

enum operation {
    OP_GENERATE,
    OP_COUNT_TOKENS, /* of a request; the answer is a number */
    OP_MODELS,       /* the list */
    OP_MODEL,        /* one; the id is the rest of the path */
    /* Responses that were made before (openai-responses.md, 1): */
    OP_REPLY_GET,
    OP_REPLY_DELETE,
    OP_REPLY_INPUT,  /* GET …/input_items */
    OP_REPLY_CANCEL, /* and what only a backend of the same protocol can do: */
    OP_COMPACT,
    OP_CONVERSATIONS,
    /* No path of a protocol: goes to a backend, and comes back, as it is. */
    OP_OPAQUE,
    OP_COUNT
};

/* A path that the protocol serves to clients. One '*' takes one or more bytes, also '/'; what
 * follows it ends the path: /v1/responses/STAR/cancel; an action (":countTokens") is taken with
 * it. The longest pattern that fits is the route. */
struct route {
    const char *method; /* "POST" */
    const char *path;   /* "/v1/chat/completions" */
    enum operation operation;
};

/* The parts of an HTTP message that carry protocol. */
struct wire {
    struct str method;
    struct str path;  /* below the API's base, "/chat/completions" */
    struct str query; /* null without one */
    struct str content_type;
    const struct str *body; /* pieces, borrowed from the request arena and its source */
    size_t body_n;
    size_t body_bytes;
};

struct json_memory;

struct request_limits {
    struct json_memory *memory; /* of what was read before; NULL: none */
    size_t depth_max;           /* json_depth_max */
    /* How it came: Gemini says the model, and whether to stream, in the path. */
    enum operation operation;
    struct str rest;  /* what the route's '*' took, percent-decoded; null without one */
    struct str query; /* null without one */
};

/* body: the whole request body; borrowed by *ret_request as long as arena lives. BAD_REQUEST: what
 * is wrong and where. */
typedef enum error_code request_decode_fn(struct str body, const struct request_limits *limits,
                                          struct arena *arena, struct request *ret_request,
                                          struct error *e);
/* Fills the conversation of a request that was decoded; no-op when it is there. */
typedef enum error_code request_decode_full_fn(struct request *request,
                                               const struct request_limits *limits,
                                               struct arena *arena, struct error *e);

struct encode_request {
    struct str model;          /* the upstream's name of it; null: leave as it is */
    const struct steer *steer; /* what settings ask where the request does not; NULL: nothing */
    const struct dialect *dialect;
    enum operation operation;        /* OP_GENERATE or OP_COUNT_TOKENS */
    bool same_protocol;              /* the request came in this protocol: edit its source */
    bool add_usage;                  /* ask for usage in the stream although the client did not */
    struct str vendor;               /* the backend's: whose signatures it takes */
    struct translation *translation; /* what is noted; NULL: nothing is, when same_protocol */
};
/* Makes the upstream's request. same_protocol: request->edits plus the model, without session_id,
 * applied to the source; else a body from the canonical fields (needs full), which holds nothing of
 * what the source had beyond them. Signatures in it are the vendor's own, unpacked (part.vendor).
 * BAD_REQUEST: what the client asks for cannot be said in this protocol, and leaving it out would
 * change what is meant (policy R of mapping.md). */
typedef enum error_code request_encode_fn(struct request *request, const struct encode_request *how,
                                          struct arena *arena, struct wire *ret_wire,
                                          struct error *e);

/* --- the way down --- */

/* Takes a frame; what it returns is for whoever drives the decoder to obey: PUSH_STOP ends decoding
 * (what is left of the bytes is dropped, and so is all that comes later). */
enum push { PUSH_OK, PUSH_FULL, PUSH_STOP };
typedef enum push frame_sink_fn(void *ctx, struct frame *frame);

struct decoder_options {
    bool stream;            /* SSE; else one whole body */
    bool array;             /* the stream is a JSON array (Gemini without alt=sse) */
    size_t event_bytes_max; /* sse_event_bytes_max */
    size_t depth_max;
    struct arena *scratch; /* events and their text; the decoder resets it before each frame */
    struct arena *arena;   /* lives as long as the answer (observed ids, block tables) */
    frame_sink_fn *sink;
    void *sink_ctx;
    const struct dialect *dialect; /* the backend's; NULL: the plain protocol */
    /* Raw frames go to a client that knows this protocol alone: what it would misread of the
     * vendor's is put right in them (protocols whose vendors need it). What the upstream left out
     * of heads is said as follows. */
    bool mend;
    bool as_is;    /* raw frames go to a client of this protocol, in this form, as they are */
    struct str id; /* as the encoder's */
    struct str model;
    int64_t now_s;
};

/* decoder: zeroed memory of decoder_size bytes, placed by the caller, alive until fini. The scratch
 * arena is rewound after each push: it may be shared by all answers of a worker. */
typedef void decoder_init_fn(void *decoder, const struct decoder_options *options);
typedef void decoder_fini_fn(void *decoder);
/* Streams: bytes, cut anywhere; each whole frame goes to the sink at once. Whole bodies: called
 * once with all of it. end: nothing follows (bytes may be empty). When end is reached the answer
 * must have been complete (a finish reason or the terminator): else UPSTREAM_BROKEN. An ERROR event
 * also ends the answer and is no failure of the call. UPSTREAM_BROKEN too when a whole body is not
 * this protocol's; UPSTREAM_TOO_LARGE past event_bytes_max. */
typedef enum error_code response_decode_fn(void *decoder, struct str bytes, bool end,
                                           struct error *e);

struct encoder_options {
    bool stream;                   /* the client asked for a stream */
    bool same_protocol;            /* raw mode is possible */
    bool array;                    /* the client's stream is a JSON array */
    bool include_usage;            /* the client wants usage in its stream */
    bool stored;                   /* the answer is kept (Responses: store) */
    const struct request *request; /* the client's; what is repeated of it is copied in init, later
                                    * it is gone. full where the protocols differ. NULL: none */
    bool hide_usage;     /* we asked for usage, the client did not: hide exactly that frame */
    struct str model;    /* what the client is told where the upstream did not say */
    struct str id;       /* ours, where the upstream had none; the protocol prefixes it */
    int64_t now_s;       /* created, where the upstream had none */
    struct arena *arena; /* lives as long as the answer */
    size_t bytes_max;    /* response_bytes_max: what may be remembered or collected */
};
typedef void encoder_init_fn(void *encoder, const struct encoder_options *options);
typedef void encoder_fini_fn(void *encoder);
/* What goes to the client for this frame: frame->raw itself, or bytes appended to out (then
 * *ret_bytes is null), or nothing (*ret_bytes null and out untouched). A client that did not ask
 * for a stream gets nothing until encoder_end. Of what fails, here as in encoder_end, nothing is to
 * go out: what was appended is taken back. */
typedef enum error_code response_encode_fn(void *encoder, const struct frame *frame,
                                           struct buf *out, struct str *ret_bytes, struct error *e);
/* The answer is complete: appends what is missing to out: nothing in raw mode whose raw frames held
 * everything; closing events, usage and terminator after a take-over; the whole body of a collected
 * answer. */
typedef enum error_code encoder_end_fn(void *encoder, struct buf *out, struct error *e);
/* The stream has failed here, in its midst, and ends with what is appended to out: an error of ours
 * that goes on with the encoder's ids and numbers; nothing where the client has had the end. Takes
 * an encoder that has failed itself. */
typedef void encoder_break_fn(void *encoder, const struct error *error, struct buf *out);

/* Signatures and media that this protocol's clients have a place for go there; for an answer of
 * another vendor they are packed before (canon/seal). */

/* A failure as this protocol says it: in_stream: as its in-stream error event (nothing follows it),
 * else as a body. request_id: ours. */
typedef void error_encode_fn(const struct error *error, struct str request_id, bool in_stream,
                             struct buf *out);

/* An upstream's error answer (status, body) read tolerantly; returned text lies in the arena. Never
 * fails: without a known shape the body's beginning is the message. */
typedef void error_decode_fn(int status, struct str body, struct arena *arena,
                             struct event *ret_error);

/* Models list: each id of an upstream's answer goes to add. *ret_next: the query with which the
 * next page is asked for; null: this was the last one. false: not a list. */
typedef bool models_decode_fn(struct str body, struct arena *arena,
                              void (*add)(void *ctx, struct str id, struct str source), void *ctx,
                              struct str *ret_next);
struct model_entry {
    struct str id; /* as the client is to see it: backend:model */
    struct str owner;
    int64_t created_s;
};
/* The list, or with one = true the first entry alone, as a whole body. */
typedef void models_encode_fn(const struct model_entry *models, size_t n, bool one,
                              struct buf *out);

/* The number in an upstream's answer to OP_COUNT_TOKENS; false: it is none. */
typedef bool count_decode_fn(struct str body, struct arena *arena, int64_t *ret_tokens);
/* The whole body for the client. */
typedef void count_encode_fn(int64_t tokens, struct buf *out);

/* A complete answer (the whole body, valid JSON) said again as a stream: all events but those whose
 * number is at most `after`. Written past what out holds: !buf_ok(out). */
typedef void replay_fn(struct str answer, int64_t after, struct arena *arena, struct buf *out);

/* The HTTP status with which this protocol's clients know an error. */
typedef int error_status_fn(const struct error *error);

/* --- checking what was sent --- */

/* A checker of the protocol's grammar: does a client's SDK take this? The oracle of tests and
 * fuzzers; debug builds run it on all that we encode. state: zeroed memory of lint_size bytes. */
struct lint_options {
    bool stream; /* else one whole body */
    bool array;
    struct arena *arena; /* lives as long as state */
};
typedef void lint_init_fn(void *state, const struct lint_options *options);
/* Bytes as a client gets them, cut anywhere. INTERNAL: the first violation, "line N: …" (lines are
 * those of the bytes, from 1). After a failure every later call fails. end: nothing follows. */
typedef enum error_code lint_bytes_fn(void *state, struct str bytes, bool end, struct error *e);
typedef void lint_fini_fn(void *state);

struct protocol {
    const char *name;           /* "openai-chat": everywhere a user sees it */
    const struct route *routes; /* ended by a NULL path */
    const char *models_path;    /* below the API's base: "/models" */
    const char *api_version;    /* the version segment that SDKs put into the base: "/v1" */
    request_decode_fn *request_decode;
    request_decode_full_fn *request_decode_full;
    request_encode_fn *request_encode;
    outline_next_fn *outline_next;
    outline_last_fn *outline_last;
    outline_call_fn *outline_call;
    outline_words_fn *outline_words;
    size_t decoder_size;
    decoder_init_fn *decoder_init;
    response_decode_fn *response_decode;
    decoder_fini_fn *decoder_fini;
    size_t encoder_size;
    encoder_init_fn *encoder_init;
    response_encode_fn *response_encode;
    encoder_end_fn *encoder_end;
    encoder_break_fn *encoder_break; /* NULL: error_encode says all, in_stream */
    encoder_fini_fn *encoder_fini;
    error_encode_fn *error_encode;
    error_decode_fn *error_decode;
    models_decode_fn *models_decode;
    models_encode_fn *models_encode;
    const char *stream_content_type; /* "text/event-stream; charset=utf-8" */
    const char *array_content_type;  /* NULL: has no such streams */
    error_status_fn *error_status;   /* NULL: error.def's */
    count_decode_fn *count_decode;   /* NULL: upstreams of this protocol cannot count */
    count_encode_fn *count_encode;   /* NULL: clients of this protocol do not ask */
    replay_fn *replay;               /* NULL: answers are not kept */
    size_t lint_size;                /* 0: has no checker yet */
    lint_init_fn *lint_init;
    lint_bytes_fn *lint_bytes;
    lint_fini_fn *lint_fini;
};

/* All protocols in the order of protocols.def. */
extern const struct protocol *const protocol_table[];
extern const size_t protocol_count;
/* By name, NULL without one. */
const struct protocol *protocol_find(struct str name);
/* Reads the conversation of a request that came in this protocol, also of one that was edited: then
 * its edits are applied first, to a copy in arena that becomes its source, and it has none any
 * more. What the head says stays. No-op when it is there and nothing was edited since. */
NODISCARD enum error_code protocol_read_full(const struct protocol *protocol,
                                             struct request *request,
                                             const struct request_limits *limits,
                                             struct arena *arena, struct error *e);
/* The protocol and route that serve a client's method and path; the path's rest for '*' routes.
 * path_known without a protocol: the path is there with other methods (allow: "GET, HEAD"). */
struct route_match {
    const struct protocol *protocol; /* NULL: no such path, or not with this method */
    enum operation operation;
    struct str rest; /* percent-decoded; whatever bytes that makes */
    bool path_known;
    struct str allow;
};
void protocol_route(struct str method, struct str path, struct arena *arena,
                    struct route_match *ret_match);
/* The protocol that a path's beginning is of, also where nothing is served there: it gives errors
 * their shape. Never NULL. */
const struct protocol *protocol_of_path(struct str method, struct str path);
