/* SPDX-License-Identifier: MIT */
/*
 * The Responses API: what its files share.
 *
 *   openai_responses.c           the struct, routes, errors, model lists, counts
 *   openai_responses_request.c   request: client's body -> canonical; head, input items
 *   openai_responses_params.c    request: its tools and parameters
 *   openai_responses_upstream.c  request: canonical -> upstream's body, or edits of the client's
 *   openai_responses_write.c     request: parameters and tools of the upstream's body
 *   openai_responses_decode.c    answer: events of a stream, or a whole response -> events
 *   openai_responses_template.c  answer: deltas like the one before, without parsing them
 *   openai_responses_encode.c    answer: events -> raw or events of a stream
 *   openai_responses_observe.c   answer: what the client knows from raw frames
 *   openai_responses_collect.c   answer: items, and the response object
 */
#pragma once

#include "protocol/decode.h"
#include "protocol/protocol.h"
#include "text/json.h"
#include "text/json_index.h"

request_decode_fn openai_responses_request_decode;
request_decode_full_fn openai_responses_request_decode_full;
request_encode_fn openai_responses_upstream_encode;

/* Where we are, for the path in an error. */
struct openai_responses_reader {
    struct arena *arena;
    struct error *e;
    struct request *request;
    const char *list; /* "input", "tools"; NULL: at the root */
    size_t at;
    const char *inner_list; /* "content", "output", "summary", "tools" */
    size_t inner_at;
    struct turn **turns_end;
    struct turn *turn; /* the last one */
    struct part **parts_end;
    struct tool **tools_end;
    struct extra_end extra_end;
    struct part lost; /* for which there was no memory */
    struct json_fields fields;
};

/* "PATH.member" must be what. */
enum error_code openai_responses_request_fail(struct openai_responses_reader *r, struct str member,
                                              const char *what);
PURE_FN bool openai_responses_request_is_null(struct str value);
/* Each leaves *ret_value as it is for null, and for an absent member (value null). */
NODISCARD enum error_code openai_responses_request_string(struct openai_responses_reader *r,
                                                          const struct json_member *m,
                                                          struct str *ret_value);
NODISCARD enum error_code openai_responses_request_bool(struct openai_responses_reader *r,
                                                        const struct json_member *m,
                                                        int *ret_value);
NODISCARD enum error_code openai_responses_request_object(struct openai_responses_reader *r,
                                                          const struct json_member *m,
                                                          struct str *ret_value);
void openai_responses_request_keep(struct openai_responses_reader *r, struct extra **to,
                                   const struct json_member *m);
/* The root's tools, or those of an item. */
NODISCARD enum error_code openai_responses_params_tools(struct openai_responses_reader *r,
                                                        const struct json_member *m);
/* Tools, tool choice, parameters and extra of the root. */
NODISCARD enum error_code openai_responses_params_read(struct openai_responses_reader *r);
/* "space__name", in the arena. */
struct str openai_responses_params_full_name(struct arena *arena, struct str space,
                                             struct str name);

/* The members of a body that came in another protocol, after its input. */
NODISCARD enum error_code openai_responses_write_params(struct buf *out,
                                                        const struct request *request,
                                                        const struct encode_request *how,
                                                        struct arena *arena, struct error *e);
/* What the instructions need so that JSON may be asked for; null: nothing. */
struct str openai_responses_write_json_note(const struct request *request);

/* --- answers, decoded --- */
enum {
    OPENAI_RESPONSES_BLOCKS_MAX = 4096,
    OPENAI_RESPONSES_TEMPLATE_HOLES = 3,
    OPENAI_RESPONSES_TEMPLATE_BYTES_MAX = 1024,
};

enum openai_responses_kind {
    OPENAI_RESPONSES_MESSAGE,
    OPENAI_RESPONSES_REASONING,
    OPENAI_RESPONSES_FUNCTION,
    OPENAI_RESPONSES_CUSTOM,
    OPENAI_RESPONSES_OTHER /* what the vendor runs */
};

/* A part of a message's content. */
struct openai_responses_part {
    struct openai_responses_part *next;
    uint32_t index;
    uint32_t block; /* EVENT_NO_BLOCK: nothing was said of it yet */
    bool open, refusal;
    bool said; /* text */
    bool logprobs_said;
    uint32_t citations; /* said so far */
};

/* An item of the answer. */
struct openai_responses_item {
    struct openai_responses_item *next;
    uint32_t index; /* output_index */
    enum openai_responses_kind kind;
    bool done;
    bool said;      /* tool: arguments; reasoning: text */
    bool from_text; /* reasoning: its text is reasoning_text, no summary */
    uint32_t part;  /* reasoning: the part that was said last */
    uint32_t block; /* of a tool or reasoning; EVENT_NO_BLOCK: not begun */
    struct str id;
    struct str call_id;
    struct openai_responses_part *parts;
};

/* A delta with holes; picture and proof in openai_responses_template.c. */
struct openai_responses_template {
    uint32_t holes; /* 0: there is none */
    uint32_t text_hole;
    bool number[OPENAI_RESPONSES_TEMPLATE_HOLES];
    enum event_kind kind;
    uint32_t block;
    char *bytes; /* the pieces, one after the other */
    size_t piece_n[OPENAI_RESPONSES_TEMPLATE_HOLES + 1];
};

struct openai_responses_decoder {
    struct decode base;
    struct openai_responses_template template;
    bool started;
    bool stopped;
    bool failed;        /* an error was read */
    struct event error; /* which is said when the response has failed */
    bool calls;         /* a tool was called */
    uint32_t blocks;    /* begun so far */
    uint32_t items_n;
    uint32_t parts_n;
    struct openai_responses_item *items; /* the last one first */
};

decoder_init_fn openai_responses_decode_init;
response_decode_fn openai_responses_decode_bytes;
decoder_fini_fn openai_responses_decode_fini;

/* Whether data is like the last delta: then its event was added. There is a template. */
bool openai_responses_template_match(struct openai_responses_decoder *d, struct str data);
/* Remembers data, which was just read, if the next one may differ by its text alone. */
void openai_responses_template_learn(struct openai_responses_decoder *d, struct str data);

enum openai_responses_piece_kind {
    OPENAI_RESPONSES_OUTPUT_TEXT,
    OPENAI_RESPONSES_REFUSAL,
    OPENAI_RESPONSES_SUMMARY,
    OPENAI_RESPONSES_REASONING_TEXT,
    OPENAI_RESPONSES_ARGUMENTS /* of a call: no part of its own */
};

/* A part of an item, as the client knows it. */
struct openai_responses_piece {
    struct openai_responses_piece *next;
    struct openai_responses_sent *item;
    enum openai_responses_piece_kind kind;
    uint32_t index; /* content_index, summary_index */
    uint32_t block; /* EVENT_NO_BLOCK: none (any more) */
    bool open;
    bool text_done;         /* raw: its .done went out */
    struct buf text;        /* JSON-escaped, without quotes */
    struct buf annotations; /* JSON objects, commas between */
    uint32_t annotations_n;
    struct buf logprobs;   /* the same */
    struct str delta_type; /* of its delta events, up to the sequence number */
    struct str delta_head; /* and from behind it */
};

/* An item, as the client knows it. */
struct openai_responses_sent {
    struct openai_responses_sent *next;
    enum openai_responses_kind kind;
    uint32_t index; /* output_index */
    uint32_t block; /* of reasoning that has no piece yet, of media and vendor blocks */
    bool raw;       /* the upstream began it */
    bool open;
    bool waiting;    /* not announced yet: it may turn out to say nothing; has no index yet */
    bool media;      /* an image that was made */
    bool incomplete; /* cut by the answer's end */
    struct str id;
    struct str call_id;
    struct str name;
    struct str space; /* namespace of the tool; null: none */
    struct str signature;
    struct openai_responses_piece *pieces; /* in order */
    struct openai_responses_piece **pieces_end;
    struct buf json; /* of one that is done, in words that are not ours; empty: none */
};

/* A tool of a namespace. */
struct openai_responses_space {
    struct openai_responses_space *next;
    struct str full; /* "space__name" */
    struct str space;
    struct str name;
};

struct openai_responses_encoder {
    struct encoder_options options;
    bool encoding;  /* taken over, or never raw */
    bool raw_sent;  /* a whole body was handed out as it was */
    bool started;   /* START was seen */
    bool created;   /* response.created went out */
    bool running;   /* response.in_progress, or response.queued, went out */
    bool failed;    /* an ERROR went out */
    bool over;      /* the terminal event went out */
    bool encrypted; /* the client wants encrypted_content */
    bool stopped;
    enum stop_reason reason;
    struct str native;
    bool usage_known;
    struct usage usage;
    int64_t sequence; /* the next event's */
    uint32_t items_n; /* the next output_index */
    size_t bytes;     /* of all that is remembered */
    bool full;        /* past bytes_max */
    struct str id;    /* with its prefix */
    struct str model;
    int64_t created_s;
    struct str echo; /* members of the response that repeat the request; a comma first */
    struct openai_responses_space *spaces;
    struct openai_responses_sent *items; /* in order of their begin */
    struct openai_responses_sent **items_end;
    struct openai_responses_sent *lingering; /* a message that may get another part */
    struct openai_responses_piece *last;     /* the piece that was said last */
    struct openai_responses_sent lost_item;  /* for which there was no memory; in no list */
    struct openai_responses_piece lost_piece;
    struct buf error; /* a collected answer that is an error */
};

encoder_init_fn openai_responses_encode_init;
response_encode_fn openai_responses_encode_frame;
encoder_end_fn openai_responses_encode_end;
/* The end of a stream that fails here. */
void openai_responses_encode_error(struct openai_responses_encoder *enc, const struct event *error,
                                   struct buf *out);
encoder_fini_fn openai_responses_encode_fini;

/* A frame that goes out raw: its items and texts. */
void openai_responses_observe_frame(struct openai_responses_encoder *enc,
                                    const struct frame *frame);

/* index EVENT_NO_INDEX: it waits for one. */
struct openai_responses_sent *openai_responses_collect_item(struct openai_responses_encoder *enc,
                                                            enum openai_responses_kind kind,
                                                            uint32_t index);
struct openai_responses_piece *openai_responses_collect_piece(struct openai_responses_encoder *enc,
                                                              struct openai_responses_sent *item,
                                                              enum openai_responses_piece_kind kind,
                                                              uint32_t index);
/* NULL without one. */
struct openai_responses_piece *openai_responses_collect_find(struct openai_responses_encoder *enc,
                                                             uint32_t block);
struct openai_responses_sent *openai_responses_collect_find_item(
    const struct openai_responses_encoder *enc, uint32_t index);
/* Appends to the piece, escaped; what was appended as it stands there now. */
struct str openai_responses_collect_text(struct openai_responses_encoder *enc,
                                         struct openai_responses_piece *piece, struct str text);
/* Elements of a list. */
void openai_responses_collect_add(struct openai_responses_encoder *enc, struct buf *list,
                                  struct str json);
void openai_responses_collect_fini(struct openai_responses_encoder *enc);
void openai_responses_collect_echo(struct openai_responses_encoder *enc);
/* {"type":"output_text",…} */
void openai_responses_collect_write_piece(const struct openai_responses_piece *piece,
                                          struct buf *out);
/* done false: the skeleton with which it begins. */
void openai_responses_collect_write_item(const struct openai_responses_encoder *enc,
                                         const struct openai_responses_sent *item, bool done,
                                         struct buf *out);
/* The response object: what it says now. error: NULL without one. */
enum openai_responses_status {
    OPENAI_RESPONSES_IN_PROGRESS,
    OPENAI_RESPONSES_FINISHED,
    OPENAI_RESPONSES_FAILED
};
void openai_responses_collect_write(const struct openai_responses_encoder *enc,
                                    enum openai_responses_status status, const struct event *error,
                                    struct buf *out);

/* --- pieces of JSON that several files write --- */
/* "key": with a comma before it unless it is the first member. */
void openai_responses_add_key(struct buf *out, const char *key);
void openai_responses_add_string(struct buf *out, const char *key, struct str value);
void openai_responses_add_usage(struct buf *out, const struct usage *usage);
/* "code":…,"message":…; response: the code is always one of the API's words. */
void openai_responses_add_error_fields(struct buf *out, const struct event *error, bool response);
/* "code":…,"message":…,"param":null and the same nested: what an error event says. */
void openai_responses_add_error(struct buf *out, const struct event *error);
/* Where an error's code says its status; 0: it does not. */
int openai_responses_status_of(struct str code);
