/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: what its files share.
 *
 *   openai_chat.c           the struct, routes, errors, model lists
 *   openai_chat_request.c   request: client's body -> canonical; head and conversation
 *   openai_chat_params.c    request: its tools and parameters
 *   openai_chat_reasoning.c request: what vendors added about reasoning
 *   openai_chat_translate.c request: of another protocol -> in the form of this one
 *   openai_chat_upstream.c  request: canonical -> upstream's body, or edits of the client's
 *   openai_chat_dialect*.c  request: a body made what a vendor takes
 *   openai_chat_decode.c    answer: bytes -> frames; completion
 *   openai_chat_delta.c     answer: one chunk's or body's JSON -> events
 *   openai_chat_calls.c     answer: its calls of tools
 *   openai_chat_emit.c      answer: the events of a frame, and the blocks they begin and end
 *   openai_chat_usage.c     answer: its usage
 *   openai_chat_mend.c      answer: raw frames as a client of the protocol alone reads them rightly
 *   openai_chat_template.c  answer: frames like an earlier one, without parsing them
 *   openai_chat_encode.c    answer: events -> raw or chunks
 *   openai_chat_collect.c   answer: events -> one whole body
 *   openai_chat_lint.c      a checker of what a client gets
 *
 * What those of "answer: bytes -> frames" share stands in openai_chat_decode_priv.h.
 */
#pragma once

#include "protocol/protocol.h"
#include "text/json.h"
#include "text/json_index.h"

enum {
    OPENAI_CHAT_CHOICES_MAX = 128,
    OPENAI_CHAT_BLOCKS_MAX = 4096,
};

/* --- requests --- */

request_decode_fn openai_chat_request_decode;
request_decode_full_fn openai_chat_request_decode_full;
request_encode_fn openai_chat_upstream_encode;
/* A request of another protocol as one of this: its copy, which openai_chat_upstream.c prints.
 * how->translation is there. UNSUPPORTED, BAD_REQUEST, TOO_LARGE. */
NODISCARD enum error_code openai_chat_translate_request(const struct request *request,
                                                        const struct encode_request *how,
                                                        struct arena *arena,
                                                        struct request *ret_request,
                                                        struct error *e);

/* Whether a vendor's requests are the protocol's own. */
PURE_FN bool openai_chat_dialect_is_plain(const struct dialect *dialect);
/* The edits that make a body what how->dialect asks for; none where it fits. They may stand beside
 * others of the model, of stream_options, and members that are added. model: the body's own.
 * UNSUPPORTED, UNSUPPORTED_VALUE: what cannot be said to the vendor; TOO_LARGE. */
NODISCARD enum error_code openai_chat_dialect_edit(const struct json_index *index,
                                                   const struct encode_request *how,
                                                   struct str model, struct json_edits *edits,
                                                   struct arena *arena, struct error *e);
/* The same of a body that was made: wire becomes what is left of it. */
NODISCARD enum error_code openai_chat_dialect_body(const struct encode_request *how,
                                                   struct str model, struct arena *arena,
                                                   struct wire *wire, struct error *e);
/* What must be done after all that: messages that may not stand together. */
NODISCARD enum error_code openai_chat_dialect_alternate(const struct encode_request *how,
                                                        struct arena *arena, struct wire *wire,
                                                        struct error *e);
/* ,"key":value … of how much shall be reasoned, in the vendor's words. */
void openai_chat_dialect_reasoning_write(struct buf *out, const struct params *params,
                                         const struct dialect *dialect,
                                         const struct traits *traits);

/* Reading a conversation: where we are, for the path in a type error. */
struct openai_chat_reader {
    struct arena *arena;
    struct error *e;
    const char *list; /* "messages", "tools", …; NULL: at the root */
    size_t at;
    const char *inner_list; /* "content", "tool_calls" */
    size_t inner_at;
    const char *inner;        /* "function", "image_url", … */
    struct part *legacy_call; /* the last function_call */
    struct extra_end extra_end;
    struct part **parts_end;    /* of the turn that is read */
    bool details;               /* the turn's reasoning_details are parts */
    struct part lost;           /* for which there was no memory */
    struct json_fields message; /* the members of the message that is read */
    struct json_fields fields;  /* of what is in it */
};

/* "PATH.member" must be what. */
enum error_code openai_chat_request_fail(struct openai_chat_reader *r, struct str member,
                                         const char *what);
PURE_FN bool openai_chat_request_is_null(struct str value);
/* Each leaves *ret_value as it is for null. */
NODISCARD enum error_code openai_chat_request_string(struct openai_chat_reader *r,
                                                     const struct json_member *m,
                                                     struct str *ret_value);
NODISCARD enum error_code openai_chat_request_bool(struct openai_chat_reader *r,
                                                   const struct json_member *m, int *ret_value);
NODISCARD enum error_code openai_chat_request_object(struct openai_chat_reader *r,
                                                     const struct json_member *m,
                                                     struct str *ret_value);
/* Appends a member that is not modelled. */
void openai_chat_request_keep(struct openai_chat_reader *r, struct extra **to,
                              const struct json_member *m, bool inner);
/* Reads request->params' reasoning from what it has in extra and reasoning_effort. */
void openai_chat_reasoning_read(struct request *request, struct arena *arena);
/* Whether the members in extra say all that the parameters say about it. */
bool openai_chat_reasoning_said(const struct request *request, struct arena *arena);
/* Reads an element of reasoning_details (part->source) into its part; false: not an object. */
NODISCARD bool openai_chat_reasoning_detail(struct part *part, struct arena *arena);
/* extra_content.google.thought_signature of a tool call; null without one. */
struct str openai_chat_reasoning_signature(const struct extra *extra, struct arena *arena);
/* Tools, tool choice, parameters and extra of the root. */
NODISCARD enum error_code openai_chat_params_read(struct openai_chat_reader *r,
                                                  struct request *request);
/* The same as members of a body whose last byte is no '{'. arena: for what must be looked at. */
void openai_chat_params_write(struct buf *out, const struct request *request, struct arena *arena);
/* ,"key":value for each of that side. */
void openai_chat_params_write_extra(struct buf *out, const struct extra *extra, bool inner);
/* "key": with a comma before it unless it is an object's first member. */
void openai_chat_add_key(struct buf *out, struct str key);
/* a, then b, in the arena (text may hold any byte). */
struct str openai_chat_join(struct arena *arena, struct str a, struct str b);

/* --- answers, encoded --- */

/* One choice of a body that is collected: openai_chat_collect.c. */
struct openai_chat_piece;

struct openai_chat_body {
    bool same_protocol;               /* words and forms of its own are known to the client */
    bool functions;                   /* else: the client knows function_call, no tool_calls */
    struct openai_chat_piece *pieces; /* in order of their choice */
    size_t bytes;
    size_t bytes_max;
};

/* A block other than text, as the client knows it. */
struct openai_chat_known {
    struct openai_chat_known *next;
    uint32_t block;
    enum block_kind kind;
    uint32_t number; /* tool: its index in the client's stream */
    bool custom;
    bool legacy;
    bool args;         /* tool: arguments went out */
    struct str member; /* reasoning, media, vendor: of the delta; null: it is not told */
};

/* What the client knows of a choice. */
struct openai_chat_sent {
    struct openai_chat_sent *next;
    uint32_t choice;
    bool role;
    bool finish;
    bool legacy;                     /* a call went out as function_call */
    bool refused;                    /* a refusal went out */
    uint32_t numbers;                /* the next tool call's number */
    struct openai_chat_known *known; /* newest first */
};

/* How chunks with a text begin, of the choice and the member that had one last. */
enum { OPENAI_CHAT_TEXT_HEADS = 8 }; /* made in an answer, at most */
struct openai_chat_text_head {
    const struct openai_chat_sent *sent; /* NULL: not made */
    struct str member;
    struct str bytes;
    uint32_t made;
};

struct openai_chat_encoder {
    struct encoder_options options;
    bool encoding;  /* taken over, or never raw */
    bool functions; /* the client knows function_call, no tool_calls */
    bool raw_sent;  /* a whole body was handed out as it was */
    bool started;
    bool failed; /* an ERROR went out: nothing follows */
    bool usage_sent;
    bool terminator_sent;
    bool usage_known;
    struct usage usage; /* the last one */
    struct str id;
    struct str model;
    int64_t created_s;
    struct str head; /* of each chunk, up to its choices; null: not made yet */
    struct openai_chat_text_head text_head;
    struct openai_chat_sent *sent;
    struct openai_chat_sent lost_sent; /* for which there was no memory; in no list */
    struct openai_chat_known lost_known;
    struct openai_chat_body body;
    struct buf error; /* a collected answer that is an error */
};

encoder_init_fn openai_chat_encode_init;
response_encode_fn openai_chat_encode_frame;
encoder_end_fn openai_chat_encode_end;
encoder_fini_fn openai_chat_encode_fini;

/* Takes an event of a body that is collected; false: past bytes_max, and all later ones too. */
NODISCARD bool openai_chat_collect_event(struct openai_chat_body *body, const struct event *event);
/* The body's list of choices, with its brackets. */
void openai_chat_collect_write(const struct openai_chat_body *body, struct buf *out);
void openai_chat_collect_fini(struct openai_chat_body *body);

/* --- pieces of JSON that several files write --- */

/* The finish_reason of a STOP. tools: the choice has tool calls; legacy: as function_call. */
struct str openai_chat_finish_word(const struct event *stop, bool tools, bool legacy);
void openai_chat_add_usage(struct buf *out, const struct usage *usage);
/* {"error":{…}} of an ERROR event. own: of this protocol, whose words the client knows. */
void openai_chat_add_error(struct buf *out, const struct event *error, bool own);
/* An element of a message's images, of the JSON of a media block; false: it is no image. */
NODISCARD bool openai_chat_add_image(struct buf *out, struct str media);
/* Whether a citation's JSON is an annotation of this protocol. */
bool openai_chat_is_annotation(struct str json);
/* The fields of an error in any of the shapes that upstreams use. false: nothing like one. */
bool openai_chat_read_error(yyjson_val *root, struct arena *arena, struct event *ret_error);
/* Whether what has no choices is an error although it has no member `error`. */
bool openai_chat_is_bare_error(yyjson_val *root);
