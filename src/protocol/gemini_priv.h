/* SPDX-License-Identifier: MIT */
/*
 * Gemini's generateContent: what its files share.
 *
 *   gemini.c           the struct, routes, errors, lists of models, counts
 *   gemini_request.c   request: path and body -> head; contents -> turns
 *   gemini_params.c    request: its tools and parameters
 *   gemini_schema.c    request: schemas of Google's kind -> JSON Schema
 *   gemini_upstream.c  request: edits of the client's body, and the path
 *   gemini_write.c     request: canonical -> upstream's body
 *   gemini_config.c    request: its generationConfig
 *   gemini_decode.c    answer: bytes -> frames with events
 *   gemini_template.c  answer: responses like an earlier one, without parsing them
 *   gemini_cite.c      answer: grounding and log probabilities, both ways
 *   gemini_args.c      answer: arguments that come piece by piece (Vertex)
 *   gemini_encode.c    answer: events -> raw, chunks or one whole body
 *   gemini_lint.c      a checker of answers
 */
#pragma once

#include "canon/collect.h"
#include "protocol/decode.h"
#include "protocol/protocol.h"
#include "text/json.h"
#include "text/json_index.h"

enum {
    GEMINI_CHOICES_MAX = 128,
    GEMINI_BLOCKS_MAX = 4096,
    GEMINI_MESSAGE_BYTES_MAX = 2048,
    GEMINI_DEPTH_MAX = 64,
};

/* --- requests --- */

request_decode_fn gemini_request_decode;
request_decode_full_fn gemini_request_decode_full;
request_encode_fn gemini_upstream_encode;
/* "/models/M:ACTION"; "models/M" as a JSON string. A folder of its own ("tunedModels/x") stays. */
struct str gemini_upstream_path(struct str model, const char *action, struct arena *arena);
struct str gemini_upstream_model(struct str model, struct arena *arena);

/* Reading a conversation: where we are, for the path in a type error. */
struct gemini_reader {
    struct arena *arena;
    struct error *e;
    const char *base; /* "generationConfig", …; NULL: the root */
    const char *list; /* "contents", "tools"; NULL: none */
    size_t at;
    const char *inner_list; /* "parts", "functionDeclarations" */
    size_t inner_at;
    const char *inner;              /* "functionCall", "inlineData", … */
    bool counting;                  /* countTokens: contents may stand in generateContentRequest */
    struct str content;             /* the content that is read */
    enum role role;                 /* of the content before */
    struct turn **turns_end;        /* of the request */
    struct gemini_pending *pending; /* calls that wait for their results */
    struct gemini_pending **pending_end;
    struct extra_end extra_end;
    struct json_fields fields;
    struct tool **tools_end; /* NULL: no tool yet */
    bool is_enum;            /* responseMimeType is text/x.enum */
    struct part lost;        /* for which there was no memory */
    struct turn lost_turn;
};

struct gemini_pending {
    struct gemini_pending *next;
    const struct part *call;
    bool answered;
};

/* "PATH.member" must be what. */
enum error_code gemini_request_fail(struct gemini_reader *r, struct str member, const char *what);
/* Whether a member's key is that name, as proto3 reads it: lowerCamelCase or snake_case. */
PURE_FN bool gemini_request_is(struct str key, const char *camel);
/* Each leaves *ret_value as it is for null. */
NODISCARD enum error_code gemini_request_string(struct gemini_reader *r,
                                                const struct json_member *m, struct str *ret_value);
NODISCARD enum error_code gemini_request_bool(struct gemini_reader *r, const struct json_member *m,
                                              int *ret_value);
NODISCARD enum error_code gemini_request_object(struct gemini_reader *r,
                                                const struct json_member *m, struct str *ret_value);
/* null for null; a list of one where the element stands alone is taken too. */
NODISCARD enum error_code gemini_request_array(struct gemini_reader *r, const struct json_member *m,
                                               struct str *ret_value);
/* Iterates what gemini_request_array gave: cursor = 0 first; false at the end. */
bool gemini_request_next(struct str list, size_t *cursor, struct str *ret_element);
/* Appends to a list of members that are not modelled. */
void gemini_request_keep(struct gemini_reader *r, struct extra **to, const struct json_member *m);
/* A schema of Google's kind as JSON Schema. */
struct str gemini_schema_json(struct str schema, struct arena *arena);
/* A member of the root that is no content: tools, toolConfig, generationConfig, …. */
NODISCARD enum error_code gemini_params_member(struct gemini_reader *r, struct request *request,
                                               const struct json_member *m);
void gemini_params_begin(struct request *request); /* before the first, _end after the last */
NODISCARD enum error_code gemini_params_end(struct gemini_reader *r, struct request *request);

/* The body that says the same as the request (needs full). */
NODISCARD enum error_code gemini_write(struct request *request, const struct encode_request *how,
                                       struct arena *arena, struct str *ret_body, struct error *e);
/* Writing a request of another protocol. */
struct gemini_writer {
    struct buf out;
    const struct encode_request *how;
    const struct request *request; /* fitted */
    const struct traits *traits;
    struct translation *t;
    struct arena *arena;
    struct error *e;
    struct str note;         /* what we have to say to the model ourselves; null: nothing */
    const struct turn *late; /* results whose media stand in the next user content */
    bool system_said;        /* in the first user content, where there is no other place */
    bool current;            /* behind the user's last words */
};
/* What must be said to the model in words; BAD_REQUEST: what cannot be said at all. */
NODISCARD enum error_code gemini_config_note(struct gemini_writer *w);
/* ,"generationConfig":{…} and what of the parameters stands beside it. */
void gemini_config_write(struct gemini_writer *w);
/* The model's name in a path, without "models/" before it. */
struct str gemini_model_bare(struct str model);

/* --- answers, decoded --- */

struct gemini_args;

/* Characters of a text that is counted in bytes by Gemini, and in characters by others. */
struct gemini_wide {
    struct gemini_wide *next;
    size_t begin; /* byte of the answer's text */
    struct str text;
};
struct gemini_offsets {
    size_t bytes; /* so far */
    struct gemini_wide *first;
    struct gemini_wide *last;
    size_t kept;
    bool lost; /* more wide text than is kept: nothing is known of later places */
};
void gemini_cite_count(struct gemini_offsets *offsets, struct str text, struct arena *arena);

struct gemini_choice {
    struct gemini_choice *next;
    uint32_t index;
    uint32_t blocks; /* begun so far */
    uint32_t open;   /* or EVENT_NO_BLOCK */
    enum block_kind open_kind;
    bool open_signed; /* what comes next is another block */
    bool text_signed; /* the open text: another signature is another block's */
    bool has_call;
    bool stopped;
    struct gemini_args *args;  /* of the open call, whose arguments come in pieces */
    struct str args_signature; /* of that call */
    struct gemini_offsets offsets;
};

/* Counts of usageMetadata. */
enum gemini_count {
    GEMINI_PROMPT,
    GEMINI_OUTPUT,
    GEMINI_THOUGHTS,
    GEMINI_CACHED,
    GEMINI_TOOLS,
    GEMINI_TOTAL,
    GEMINI_COUNTS
};

struct gemini_counts {
    int64_t count[GEMINI_COUNTS]; /* 0 where not said */
    unsigned said;                /* bits */
};

/* What a hole of a template holds: a count's number, or: */
enum { GEMINI_HOLE_TEXT = GEMINI_COUNTS, GEMINI_HOLE_ANY, GEMINI_HOLES_MAX = 16 };
enum { GEMINI_TEMPLATE_BYTES = 1024 };

/* A response with holes; picture and proof in gemini_template.c. */
struct gemini_template {
    struct gemini_choice *choice; /* NULL: there is none */
    uint32_t block;
    bool thought;
    uint32_t tries; /* learned since the last match */
    uint32_t matched;
    uint32_t holes;
    uint8_t kind[GEMINI_HOLES_MAX];
    uint16_t piece_n[GEMINI_HOLES_MAX + 1];
    size_t bytes_n;
    char bytes[GEMINI_TEMPLATE_BYTES]; /* the pieces, one after the other */
    struct event events[2];
};

struct gemini_decoder {
    struct decode base;
    bool started;
    bool usage_known;
    struct usage usage; /* the last one said */
    uint64_t seed;      /* of the answer, for ids of calls */
    uint32_t calls;
    struct gemini_choice *choices;
    struct gemini_template template;
};

decoder_init_fn gemini_decode_init;
response_decode_fn gemini_decode_bytes;
decoder_fini_fn gemini_decode_fini;
/* Says usage, where it is another than before. */
void gemini_decode_usage(struct gemini_decoder *d, const struct gemini_counts *counts);
/* Whether data is like an earlier response: then its events are those of the frame in work. */
bool gemini_template_match(struct gemini_decoder *d, struct str data);
/* Remembers the response just decoded, if another may differ from it by text and counts alone. */
void gemini_template_learn(struct gemini_decoder *d, struct str data);
const char *gemini_template_key(enum gemini_count count);
/* What a finishReason or blockReason means, calls aside. */
enum stop_reason gemini_decode_reason(struct str native);

struct gemini_args *gemini_args_new(struct arena *arena);
/* partialArgs: values at JSON paths; strings grow. */
void gemini_args_add(struct gemini_args *args, yyjson_val *partial);
/* The object so far, as JSON text in to. */
struct str gemini_args_text(const struct gemini_args *args, struct arena *to);

/* A candidate's groundingMetadata and citationMetadata as CITATION events of an open text block. */
void gemini_cite_read(struct decode *d, struct gemini_choice *c, yyjson_val *candidate);
/* logprobsResult as Chat Completions' logprobs, in scratch; null where it says nothing. */
struct str gemini_cite_logprobs(yyjson_val *result, struct arena *arena);
/* "groundingMetadata":{…} of what citations say; nothing without any that can be said. */
void gemini_cite_write(const struct collect_choice *choice, const struct gemini_offsets *offsets,
                       struct arena *scratch, struct buf *out);
/* "logprobsResult":{…} of Chat Completions' logprobs objects; false: they say nothing. */
bool gemini_cite_write_logprobs(const struct collect_list *logprobs, struct arena *scratch,
                                struct buf *out);

/* --- answers, encoded --- */

struct gemini_sent {
    struct gemini_sent *next;
    uint32_t choice;
    bool finished; /* the client has its finish reason */
    struct gemini_offsets offsets;
};

struct gemini_encoder {
    struct encoder_options options;
    bool encoding;    /* taken over, or never raw */
    bool raw_sent;    /* a whole body was handed out as it was */
    bool begun;       /* something of the stream went out */
    bool ended;       /* the array's ']' went out */
    bool failed;      /* an error went out: nothing follows */
    bool full;        /* a part did not fit into memory */
    bool usage_waits; /* usage came that the client does not have */
    struct str tail;  /* of each response, behind candidates and usage; null: not made yet */
    struct collect collect;
    struct gemini_sent *sent;
    struct gemini_sent lost; /* for which there was no memory; in no list */
};

encoder_init_fn gemini_encode_init;
response_encode_fn gemini_encode_frame;
encoder_end_fn gemini_encode_end;
encoder_break_fn gemini_encode_break;
/* An error of ours as a body. */
void gemini_say_error(const struct error *error, struct buf *out);
encoder_fini_fn gemini_encode_fini;

/* --- pieces that several files write --- */

/* The fields of an error; false: nothing like one. root may be a list of one. */
bool gemini_read_error(yyjson_val *root, struct arena *arena, struct event *ret_error);
/* {"error":{…}} of an ERROR event. */
void gemini_add_error(struct buf *out, const struct event *error);
/* "key": with a comma before it unless it is an object's first member. */
void gemini_add_key(struct buf *out, struct str key);
void gemini_add_string(struct buf *out, struct str key, struct str value);

/* --- checking --- */

struct gemini_lint_state;

struct gemini_lint {
    struct lint_options options;
    struct buf carry; /* what is not read yet */
    size_t line;      /* of its first byte */
    bool failed;
    bool ended; /* an error came */
    bool blocked;
    uint32_t chunks;
    struct str model;
    struct str id;
    struct gemini_lint_state *state;
    bool in_event;    /* of events */
    bool array_begun; /* from here on: of an array */
    bool array_ended;
    bool element_may, comma; /* an element may come here, must come */
    bool in_string;
    bool escaped;
    uint32_t depth; /* within an element */
};
lint_init_fn gemini_lint_init;
lint_bytes_fn gemini_lint_bytes;
lint_fini_fn gemini_lint_fini;
