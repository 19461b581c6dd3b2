/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: what the files that decode answers share (openai_chat_decode.c, _delta.c,
 * _calls.c, _emit.c, _usage.c, _mend.c, _template.c).
 */
#pragma once

#include "protocol/openai_chat_priv.h"
#include "text/json.h"
#include "text/json_halves.h"
#include "text/sse.h"
#include "text/utf8.h"

enum {
    OPENAI_CHAT_TEMPLATES = 4,
    OPENAI_CHAT_TEMPLATE_BYTES_MAX = 1024,
};

/* How usage was found. */
enum openai_chat_usage_verdict {
    OPENAI_CHAT_USAGE_NONE,
    OPENAI_CHAT_USAGE_FINE,
    OPENAI_CHAT_USAGE_MISREAD, /* by who reads the protocol's own members in their place */
    OPENAI_CHAT_USAGE_EMPTY    /* an object that says nothing */
};

/* A `created` from here on counts milliseconds: as seconds it would be the year 5138. */
#define OPENAI_CHAT_CREATED_MS_MIN INT64_C(100000000000)

/* A tool call of a choice. */
struct openai_chat_tool {
    struct openai_chat_tool *next;
    uint32_t wire_index; /* by which its deltas name it */
    uint32_t block;      /* EVENT_NO_BLOCK: waits for its name */
    bool custom;
    bool legacy;
    bool signature_said;
    bool index_said;    /* wire_index is the upstream's word, not a position */
    uint32_t number;    /* among the choice's calls, in order of their begin; legacy: none */
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
    bool role_said;
    bool ended_late;                /* the terminator had to */
    struct str finish;              /* how it stopped, in the protocol's word */
    bool reasoning_said;            /* as text: reasoning_details repeat it */
    uint32_t numbers;               /* of calls begun so far */
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

/* What a client that knows the protocol alone would misread of a choice, as bits. */
enum openai_chat_wrong {
    OPENAI_CHAT_WRONG_INDEX = 1 << 0,  /* none, or no number */
    OPENAI_CHAT_WRONG_HOME = 1 << 1,   /* what was said stands in message instead of delta, or the
                                        * other way round, or in neither */
    OPENAI_CHAT_WRONG_ROLE = 1 << 2,   /* none at the begin, or another than assistant */
    OPENAI_CHAT_WRONG_PARTS = 1 << 3,  /* content is a list of parts */
    OPENAI_CHAT_WRONG_CALLS = 1 << 4,  /* tool_calls: numbers, ids, names, arguments */
    OPENAI_CHAT_WRONG_LEGACY = 1 << 5, /* function_call that is none */
    OPENAI_CHAT_WRONG_FINISH = 1 << 6, /* finish_reason */
};
/* And of the root. */
enum openai_chat_wrong_root {
    OPENAI_CHAT_WRONG_ID = 1 << 0,
    OPENAI_CHAT_WRONG_OBJECT = 1 << 1,
    OPENAI_CHAT_WRONG_CREATED = 1 << 2,
    OPENAI_CHAT_WRONG_MODEL = 1 << 3,
    OPENAI_CHAT_WRONG_CHOICES = 1 << 4, /* no list */
    OPENAI_CHAT_WRONG_USAGE = 1 << 5,
    OPENAI_CHAT_WRONG_ERROR = 1 << 6, /* an error in another form, or one that does not say so */
};

/* A choice of the frame in work that is misread; in scratch. */
struct openai_chat_fault {
    struct openai_chat_fault *next;
    const struct openai_chat_choice *choice;
    yyjson_val *message;
    size_t at; /* in the list */
    unsigned wrong;
    uint32_t begin; /* the events that it was read as: events[begin, end) */
    uint32_t end;
    struct str finish; /* null: null */
};

/* What is to be mended of the frame in work. */
struct openai_chat_faults {
    struct openai_chat_fault *choices; /* in order */
    struct openai_chat_fault **end;
    unsigned root;
    enum openai_chat_usage_verdict usage_verdict;
    struct usage usage;
};

struct openai_chat_decoder {
    struct decoder_options options;
    /* Of mends: what the answer's head says, in the answer's arena, and the frame that was made. */
    struct str id;
    struct str model;
    int64_t created_s;
    struct openai_chat_faults faults;
    bool calls_wrong;      /* of the message in work */
    struct event *failure; /* that the frame says in a choice; NULL: none */
    struct buf mended;
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
    struct json_keys message; /* in work; object NULL: none is */
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
/* Calls of tools that a message, or the delta of one, says. finishing: its choice has a finish
 * reason. */
void openai_chat_calls_read(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                            yyjson_val *message, bool finishing);
/* The choice stops: ends its calls. */
void openai_chat_calls_end(struct openai_chat_decoder *d, struct openai_chat_choice *c);
/* The usage that a chunk or body says, put right (dialect: NULL for none); filled for FINE and
 * MISREAD. */
enum openai_chat_usage_verdict openai_chat_usage_read(const struct json_keys *root,
                                                      const struct dialect *dialect,
                                                      struct usage *ret_usage);
/* source, a usage object (null: none), with these counts in the protocol's own members. */
void openai_chat_usage_write(struct buf *out, struct str source, const struct usage *usage,
                             struct arena *arena);

/* --- mends: options.mend --- */

/* Notes what of the root, or of a choice that was just read as events[begin, n), is misread. */
void openai_chat_mend_root(struct openai_chat_decoder *d, yyjson_val *root);
void openai_chat_mend_choice(struct openai_chat_decoder *d, const struct openai_chat_fault *fault);
/* A whole body put right where something was noted; else, and where it is an error, null. Valid
 * until the next one. */
struct str openai_chat_mend_whole(struct openai_chat_decoder *d, struct str json);
/* The same for an event of a stream: all its bytes. */
struct str openai_chat_mend_event(struct openai_chat_decoder *d, const struct sse_frame *sse);
/* The terminator's bytes with what finishes the choices that it ended: the frame's STOPs; null:
 * there are none. */
struct str openai_chat_mend_end(struct openai_chat_decoder *d, struct str raw);

/* --- events of the frame in work --- */

/* The next one, in scratch; the caller fills it in. */
struct event *openai_chat_emit(struct openai_chat_decoder *d, enum event_kind kind, uint32_t choice,
                               uint32_t block);
/* One of text, which is not empty. */
void openai_chat_emit_text(struct openai_chat_decoder *d, enum event_kind kind, uint32_t choice,
                           uint32_t block, struct str text);
/* Begins a block: its number; EVENT_NO_BLOCK: there are too many. */
uint32_t openai_chat_emit_begin(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                                enum block_kind kind, struct str name);
/* The open block of that kind: text, reasoning or refusal; begun where another one is open. */
uint32_t openai_chat_emit_open(struct openai_chat_decoder *d, struct openai_chat_choice *c,
                               enum block_kind kind, struct str name);
/* Ends it, if there is one. */
void openai_chat_emit_close(struct openai_chat_decoder *d, struct openai_chat_choice *c);

/* A string, valid, in scratch; null for anything else. */
static inline struct str openai_chat_text_of(struct openai_chat_decoder *d, yyjson_val *v)
{
    struct str s = json_str(v);

    return s.n == 0 ? s : utf8_repair(s, d->options.scratch);
}

/* Of the message in work most members that vendors have are not there. */
static inline yyjson_val *openai_chat_member(const struct openai_chat_decoder *d,
                                             yyjson_val *object, struct str key)
{
    return object == d->message.object ? json_keys_get(&d->message, key) : json_get(object, key);
}

static inline struct str openai_chat_member_text(struct openai_chat_decoder *d, yyjson_val *object,
                                                 const char *key)
{
    return openai_chat_text_of(d, openai_chat_member(d, object, str_c(key)));
}

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
