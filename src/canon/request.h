/* SPDX-License-Identifier: MIT */
/*
 * A generation request, whatever protocol it came in.
 *
 * Two depths. The head (model, stream, …) is read by each protocol's request_decode from the
 * index of the body's root: all that forwarding to the same protocol needs. The conversation
 * (turns, parts, tools, parameters) is read on demand by request_decode_full, for stages that look
 * into it, built-in backends, and other protocols.
 *
 * Changes of a request that keeps its protocol are edits of the source (edits); the typed fields
 * follow them. Every node knows its source span (null = synthetic), and keeps members that we do
 * not model in `extra`. Numbers stay source tokens. All memory is the request arena's.
 */
#pragma once

#include "base/str.h"
#include "text/json_edit.h"

enum role { ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLE_COUNT };

enum part_kind {
    PART_TEXT,
    PART_IMAGE,
    PART_AUDIO,
    PART_FILE,
    PART_REFUSAL,
    PART_REASONING,
    PART_TOOL_CALL,
    PART_TOOL_RESULT,
    PART_VENDOR, /* source says */
    PART_KIND_COUNT
};

/* A member that we do not model: kept, in order. */
struct extra {
    struct str key;
    struct str value; /* JSON text */
    bool inner;       /* tool, tool call: of the inner object (function, custom) */
    struct extra *next;
};

struct part {
    enum part_kind kind;
    struct str source;     /* JSON text; null: synthetic */
    struct str text;       /* TEXT REFUSAL REASONING; TOOL_CALL: arguments as written; TOOL_RESULT:
                            * its text, null: the turn's other parts are the result */
    struct str id;         /* TOOL_CALL, TOOL_RESULT: call id; FILE: file id */
    struct str name;       /* TOOL_CALL: tool; FILE: file name; REFUSAL, REASONING: the message's
                            * member that it is, null: an element of the content */
    struct str media_type; /* IMAGE AUDIO FILE, where known: "image/png", audio: "wav" */
    struct str data;       /* base64, or the URL when is_url */
    struct str detail;     /* IMAGE */
    bool is_url;
    bool custom; /* TOOL_CALL: free text instead of JSON arguments */
    struct extra *extra;
    struct part *next;
};

struct turn {
    enum role role;
    struct str source;
    struct str name;
    bool content_was_text; /* the content was a plain string, not a list of parts */
    bool content_was_null; /* null or absent */
    struct part *parts;
    struct extra *extra;
    struct turn *next;
};

struct tool {
    struct str source;
    bool custom;
    bool vendor; /* of another kind, that runs elsewhere: source says, name is its type */
    struct str name;
    struct str description;
    struct str schema; /* JSON text; null: no arguments */
    struct str format; /* custom tools: JSON text */
    int strict;        /* -1: not said */
    struct extra *extra;
    struct tool *next;
};

enum tool_choice_kind {
    TOOL_CHOICE_ABSENT,
    TOOL_CHOICE_AUTO,
    TOOL_CHOICE_NONE,
    TOOL_CHOICE_REQUIRED,
    TOOL_CHOICE_NAMED, /* tool_choice_name */
    TOOL_CHOICE_OTHER  /* tool_choice_source */
};

/* Parameters: number tokens as they came, null = absent. */
struct params {
    struct str max_tokens;
    struct str temperature;
    struct str top_p;
    struct str top_k;
    struct str n;
    struct str frequency_penalty;
    struct str presence_penalty;
    struct str seed;
    struct str top_logprobs;
    int logprobs;            /* -1 absent, 0, 1 */
    int parallel_tool_calls; /* -1 absent, 0, 1 */
    struct str *stop;        /* stop sequences */
    size_t stop_n;
    struct str reasoning_effort;
    struct str verbosity;
    struct str service_tier;
    struct str user;
    struct str response_format; /* JSON text */
    bool max_tokens_was_legacy; /* the member was max_tokens, not max_completion_tokens */
};

struct request {
    /* --- head --- */
    struct str source;       /* the body as it came; null: synthetic */
    struct json_index index; /* of source's root */
    struct json_edits edits; /* of source */
    struct str model;        /* as the client wrote it, unescaped; null: absent */
    const struct json_member *model_member;
    bool stream;
    int include_usage;     /* -1: not mentioned; else what the client asked for */
    struct str session_id; /* body member, null without */
    /* --- conversation; only when full --- */
    bool full;
    struct turn *turns;
    struct tool *tools;
    enum tool_choice_kind tool_choice;
    struct str tool_choice_name;
    struct str tool_choice_source; /* JSON text of what it was */
    struct params params;
    struct extra *extra;
};

const char *request_role_name(enum role role);
const char *request_part_name(enum part_kind kind);
/* The text of the last user turn: its text parts joined by LF; null without one. Needs full. */
struct str request_last_user_text(const struct request *request, struct arena *arena);
