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
 *   openai_chat_decode.c    answer: bytes -> frames; completion
 *   openai_chat_delta.c     answer: one chunk's or body's JSON -> events; blocks and tool calls
 *   openai_chat_template.c  answer: frames like an earlier one, without parsing them
 *   openai_chat_encode.c    answer: events -> raw or chunks
 *   openai_chat_collect.c   answer: events -> one whole body
 *   openai_chat_lint.c      a checker of what a client gets
 */
#pragma once

#include "protocol/protocol.h"
#include "text/json.h"
#include "text/json_halves.h"
#include "text/json_index.h"
#include "text/sse.h"

enum {
    OPENAI_CHAT_CHOICES_MAX = 128,
    OPENAI_CHAT_BLOCKS_MAX = 4096,
    OPENAI_CHAT_TEMPLATES = 4,
    OPENAI_CHAT_TEMPLATE_BYTES_MAX = 1024,
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

/* --- answers, decoded --- */

/* A tool call of a choice. */
struct openai_chat_tool {
    struct openai_chat_tool *next;
    uint32_t wire_index; /* by which its deltas name it */
    uint32_t block;      /* EVENT_NO_BLOCK: waits for its name */
    bool custom;
    bool legacy;
    bool signature_said;
    bool index_said;    /* wire_index is the upstream's word, not a position */
    struct str id;      /* null: the upstream did not say yet */
    struct str name;    /* null: not said yet */
    struct str waiting; /* arguments that came before the name */
    uint64_t args_n;
    uint64_t args_hash; /* to know a call that is said again at the end */
};

/* A block that carries a member which we do not model (images, reasoning_details …). */
struct openai_chat_side {
    struct openai_chat_side *next;
    const char *member;
    uint32_t block;
};

struct openai_chat_choice {
    struct openai_chat_choice *next;
    uint32_t index;
    uint32_t blocks; /* begun so far */
    uint32_t open;   /* the open text, reasoning or refusal block, or EVENT_NO_BLOCK */
    enum block_kind open_kind;
    bool stopped;
    bool reasoning_said;            /* as text: reasoning_details repeat it */
    struct openai_chat_tool *tools; /* in order of their begin */
    struct openai_chat_side *sides;
};

/* Where in a chunk the text of the last TEXT, REASONING or TOOL_ARGS event stood:
 * choices[choice_at].message.member, or in that message
 * tool_calls[tool_at].inner.member */
struct openai_chat_place {
    bool known;
    size_t choice_at;
    const char *message;
    const char *inner; /* NULL: not in a tool call */
    size_t tool_at;
    const char *member;
    struct openai_chat_tool *tool;
};

/* A frame with one or two holes; picture and proof in openai_chat_template.c. */
struct openai_chat_template {
    uint32_t version; /* of the decoder's state; 0: an empty slot */
    uint32_t holes;
    uint32_t text_hole; /* which one is the text */
    enum event_kind kind;
    uint32_t choice;
    uint32_t block;
    struct openai_chat_tool *tool;
    char *bytes; /* the pieces, one after the other */
    size_t bytes_size;
    size_t piece_n[3];
};

struct openai_chat_decoder {
    struct decoder_options options;
    struct sse sse;
    struct json_halves halves;
    bool started;    /* START was emitted */
    bool over;       /* ERROR was emitted */
    bool terminated; /* [DONE] was seen */
    bool quit;       /* the sink said PUSH_STOP */
    bool too_many;   /* blocks */
    bool templates_off;
    uint32_t version; /* of all below; counts up with each change of it */
    uint32_t synthetic_ids;
    struct openai_chat_choice *choices;
    uint32_t id_hash; /* of the answer's id, for synthetic tool ids */
    /* The frame in work. */
    struct event *events; /* in scratch */
    uint32_t n;
    uint32_t size;
    struct event single; /* the events of frames that need no scratch */
    struct openai_chat_place place;
    /* Templates, the last one used first. */
    struct openai_chat_template templates[OPENAI_CHAT_TEMPLATES];
    uint32_t learned;
    uint32_t matched;
};

decoder_init_fn openai_chat_decode_init;
response_decode_fn openai_chat_decode_bytes;
decoder_fini_fn openai_chat_decode_fini;

/* Reads a chunk (whole = false) or a whole chat completion into d->events. */
void openai_chat_delta_read(struct openai_chat_decoder *d, yyjson_val *root, bool whole,
                            struct frame *frame);
/* An error, as a frame of its own or as what the root of a frame is. */
void openai_chat_delta_error(struct openai_chat_decoder *d, yyjson_val *root);
/* Ends every choice that has no STOP yet: the answer is known to be complete. */
void openai_chat_delta_stop_all(struct openai_chat_decoder *d);
#define OPENAI_CHAT_HASH_BEGIN 0xcbf29ce484222325u
/* Arguments of a tool call went out (FNV-1a: it must not matter how they were cut). */
static inline void openai_chat_delta_count_args(struct openai_chat_tool *tool, struct str text)
{
    uint64_t hash = tool->args_hash;

    for (size_t i = 0; i < text.n; i++)
        hash = (hash ^ (unsigned char)text.p[i]) * 0x100000001b3u;
    tool->args_hash = hash;
    tool->args_n += text.n;
}

/* A frame begins raw: how many bytes it has when it is like an earlier one, and d->single is its
 * event; else 0. */
size_t openai_chat_template_match(struct openai_chat_decoder *d, struct str raw);
/* Remembers the frame just decoded, if another one may differ from it by its text alone. */
void openai_chat_template_learn(struct openai_chat_decoder *d, const struct sse_frame *sse);

/* --- answers, encoded --- */

/* One choice of a body that is collected: openai_chat_collect.c. */
struct openai_chat_piece;

struct openai_chat_body {
    bool same_protocol;               /* words and forms of its own are known to the client */
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
    bool encoding; /* taken over, or never raw */
    bool raw_sent; /* a whole body was handed out as it was */
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
