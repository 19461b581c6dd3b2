/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: what its files share.
 *
 *   anthropic.c           the struct, routes, errors, model lists, counts
 *   anthropic_request.c   request: client's body -> canonical; head, turns and their blocks
 *   anthropic_params.c    request: its tools and parameters
 *   anthropic_upstream.c  request: edits of the client's body, or canonical -> a body of our own
 *   anthropic_steer.c     request: what settings ask of one that keeps its protocol
 *   anthropic_plan.c      request: of a body of our own the tools and parameters, how they get on
 *   anthropic_write.c     request: of such a body the system, turns and blocks
 *   anthropic_decode.c    answer: one event's or body's JSON -> events; blocks
 *   anthropic_encode.c    answer: events -> raw, or events of ours; one open block at a time
 *   anthropic_collect.c   answer: events -> one whole body
 *   anthropic_lint.c      the grammar of what clients get, checked
 */
#pragma once

#include "canon/collect.h"
#include "protocol/decode.h"
#include "text/json_index.h"

enum {
    ANTHROPIC_BLOCKS_MAX = 4096,
};

/* Clients refuse thinking without a signature; this one says that there is none. It comes back in
 * histories and is taken for what it says. */
#define ANTHROPIC_UNSIGNED STR("cHgxLm5vbmU")

/* --- requests --- */

request_decode_fn anthropic_request_decode;
request_decode_full_fn anthropic_request_decode_full;
request_encode_fn anthropic_upstream_encode;

/* Parts in order. */
struct anthropic_parts {
    struct part *first;
    struct part *last;
};

/* Reading a conversation: where we are, for the path in a type error. */
struct anthropic_reader {
    struct arena *arena;
    struct error *e;
    const char *list; /* "messages", "system", "tools"; NULL: at the root */
    size_t at;
    bool in_content; /* of a message */
    size_t content_at;
    bool in_result; /* in the content of a tool_result */
    size_t result_at;
    const char *inner; /* "source", "thinking", … */
    struct extra_end extra_end;
    struct part lost; /* for which there was no memory */
    struct json_fields fields;
};

/* "PATH.member" must be what. */
enum error_code anthropic_request_fail(struct anthropic_reader *r, struct str member,
                                       const char *what);
/* Each leaves *ret_value as it is for null. */
NODISCARD enum error_code anthropic_request_string(struct anthropic_reader *r,
                                                   const struct json_member *m,
                                                   struct str *ret_value);
NODISCARD enum error_code anthropic_request_bool(struct anthropic_reader *r,
                                                 const struct json_member *m, int *ret_value);
NODISCARD enum error_code anthropic_request_object(struct anthropic_reader *r,
                                                   const struct json_member *m,
                                                   struct str *ret_value);
/* Appends a member that is not modelled. */
void anthropic_request_keep(struct anthropic_reader *r, struct extra **to,
                            const struct json_member *m);
/* Tools, tool choice, parameters and extra of the root. */
NODISCARD enum error_code anthropic_params_read(struct anthropic_reader *r,
                                                struct request *request);

/* How an upstream's model is told to think. */
enum anthropic_thinking {
    ANTHROPIC_THINKING_UNSAID,
    ANTHROPIC_THINKING_OFF,
    ANTHROPIC_THINKING_BUDGET,
    ANTHROPIC_THINKING_ADAPTIVE,
};

/* A body of our own, of a request that was fitted. */
struct anthropic_writer {
    struct buf *out;
    struct arena *arena;
    struct error *e;
    const struct encode_request *how;
    const struct request *request;
    const struct params *params; /* the request's */
    const struct traits *traits;
    struct translation *t;
    int64_t max_tokens;
    enum anthropic_thinking thinking;
    int64_t budget;
    const char *effort;   /* NULL: none is said */
    struct str json_tool; /* the tool whose arguments are the answer; null: none */
    struct str note;      /* that ends the system text; null: none */
    size_t cache_skip;    /* cache_control is left out that many times */
};

/* What is to be thought, and how the answer gets its form: before anything is written. */
NODISCARD enum error_code anthropic_plan_make(struct anthropic_writer *w);
/* ,"key":… of all but the conversation. */
void anthropic_plan_write_tools(struct anthropic_writer *w);
void anthropic_plan_write_params(struct anthropic_writer *w);
/* ,"key":… of what settings ask of a request that keeps its protocol: params say it, and thinking
 * what the request itself wants where they say nothing of it. max_tokens is the request's. */
void anthropic_plan_write_steered(struct anthropic_writer *w);
/* As steer_request. */
struct request *anthropic_steer_request(const struct steer *steer, struct request *request,
                                        struct request *copy);
/* ,"system":… and ,"messages":[…] */
NODISCARD enum error_code anthropic_write_conversation(struct anthropic_writer *w);
/* ,"cache_control":… unless there are too many. */
void anthropic_write_cache(struct anthropic_writer *w, struct str cache);

/* --- answers, decoded --- */

/* Texts in order. */
struct anthropic_text {
    struct anthropic_text *next;
    struct str text;
};
struct anthropic_texts {
    struct anthropic_text *first;
    struct anthropic_text *last;
};

/* A block of the upstream's. */
struct anthropic_block {
    struct anthropic_block *next; /* that began before */
    int64_t wire;                 /* by which its deltas name it */
    uint32_t number;
    enum block_kind kind;
    bool open;
    bool said;            /* a tool's arguments */
    bool has_sign;        /* its SIGNATURE was emitted */
    struct str start;     /* tool: its input as it stood in the start; vendor: the block's JSON */
    struct str signature; /* as it stood in the start */
    struct anthropic_texts input;     /* vendor: in pieces */
    struct str patch;                 /* vendor: a delta whose members are the block's */
    uint64_t text_begin;              /* text: characters of the answer before it */
    struct anthropic_texts citations; /* until its end is known */
};

struct anthropic_decoder {
    struct decode base;
    bool started;
    bool stopped;
    bool has_tool;
    uint32_t blocks_n;
    uint64_t chars;                 /* of all text: citations are counted in them */
    struct anthropic_block *blocks; /* newest first */
    struct anthropic_block lost;    /* for which there was no memory */
    int64_t input;                  /* as the upstream counts, -1: not said */
    int64_t cache_read;
    int64_t cache_written;
    int64_t output;
    int64_t thinking;
};

/* text is kept, not copied. */
void anthropic_add_text(struct anthropic_texts *texts, struct str text, struct arena *arena);

decoder_init_fn anthropic_decode_init;
response_decode_fn anthropic_decode_bytes;
decoder_fini_fn anthropic_decode_fini;

/* --- answers, encoded --- */

enum anthropic_sent_state {
    ANTHROPIC_WAITING, /* for its first text, or for its turn */
    ANTHROPIC_OPEN,
    ANTHROPIC_DONE, /* or never to be sent */
};

/* A block as the client knows it, or will. */
struct anthropic_sent {
    struct anthropic_sent *next; /* in order of their begin */
    enum block_kind kind;
    enum anthropic_sent_state state;
    bool ended;     /* its BLOCK_END came */
    bool raw;       /* its start went out raw */
    bool said;      /* a tool's arguments went out */
    bool odd;       /* they begin like no object: they wait in text for its end */
    bool has_sign;  /* its signature went out */
    uint32_t index; /* the client's, once it is open */
    struct str id;  /* tool */
    struct str name;
    struct str head; /* of its deltas, up to their text; null: not made yet */
    /* While it waits: */
    struct buf text;
    struct str signature;
    struct anthropic_texts citations;
};

struct anthropic_encoder {
    struct encoder_options options;
    bool encoding; /* taken over, or never raw */
    bool raw_sent; /* a whole body was handed out as it was */
    bool raw_tail; /* taken over within a block: what of it says nothing to us goes on raw */
    bool started;
    bool failed; /* an error went out: nothing follows */
    bool stopped;
    bool stop_sent; /* the client has its message_delta */
    bool ended;     /* and message_stop */
    bool has_tool;
    bool refused;       /* a refusal went out as text */
    bool usage_changed; /* since the client got what it knows of it raw */
    bool too_long;
    struct str id;
    struct str model;
    struct usage usage; /* field by field, the last one said */
    enum stop_reason reason;
    struct str native;
    struct str sequence;
    uint32_t next_index;
    uint32_t open;                  /* how many blocks are */
    size_t held;                    /* bytes of blocks that wait */
    struct anthropic_sent *first;   /* that is not done */
    struct anthropic_sent **blocks; /* by number */
    uint32_t blocks_n;
    uint32_t blocks_size;
    struct collect collect; /* of a client that asked for no stream */
};

encoder_init_fn anthropic_encode_init;
response_encode_fn anthropic_encode_frame;
encoder_end_fn anthropic_encode_end;
encoder_fini_fn anthropic_encode_fini;

/* The whole body of what was collected. */
void anthropic_collect_write(struct anthropic_encoder *enc, struct buf *out);

/* --- pieces that several files write or read --- */

/* {"type":"error","error":{…}} of an ERROR event. same: it is of this protocol. */
void anthropic_add_error(struct buf *out, const struct event *error, bool same);
/* An upstream's error in any shape; false: nothing like one. */
bool anthropic_read_error(yyjson_val *root, struct arena *arena, struct event *ret_error);
/* ,"key":"value" */
void anthropic_add_member(struct buf *out, const char *key, struct str value);
/* {"id":…,"type":"message","role":"assistant","model":… */
void anthropic_add_head(struct buf *out, const struct anthropic_encoder *enc);
/* "stop_reason":…,"stop_sequence":… */
void anthropic_add_stop(struct buf *out, const struct anthropic_encoder *enc);
/* ,"usage":{…}; start: of a message_start. */
void anthropic_add_usage(struct buf *out, const struct usage *usage, bool start);
/* A citation as clients of this protocol know it; false: they do not, nothing was written. */
bool anthropic_add_citation(struct buf *out, struct str citation, struct arena *arena);

/* --- the checker --- */

enum anthropic_lint_kind {
    ANTHROPIC_LINT_TEXT,
    ANTHROPIC_LINT_THINKING,
    ANTHROPIC_LINT_TOOL,
    ANTHROPIC_LINT_OTHER
};

struct anthropic_lint {
    bool stream;
    const char *what; /* the first violation; NULL: none */
    size_t first_line;
    size_t line;  /* of the frame in work */
    size_t lines; /* before it */
    bool started;
    bool stopped; /* message_delta came */
    bool ended;   /* message_stop or an error came */
    bool open;
    enum anthropic_lint_kind kind; /* of the open block */
    bool said;                     /* it had a delta */
    bool has_tool;
    int64_t blocks;
    struct sse sse;
    struct arena scratch;
    struct buf body;
};

lint_init_fn anthropic_lint_init;
lint_bytes_fn anthropic_lint_bytes;
lint_fini_fn anthropic_lint_fini;
