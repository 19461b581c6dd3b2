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
 *
 * The conversation has one form, whatever it came in:
 *   - Every system text, where it stands: `instructions`, `system` and systemInstruction are turns
 *     of role SYSTEM in front, one part each block.
 *   - Results of tools are parts TOOL_RESULT of a turn of role TOOL; what a result says are its own
 *     parts (part.parts). A message that holds results and other things becomes two turns, results
 *     first. Results that came one after the other may stand in one turn or in several.
 *   - An assistant's turn holds its parts in the order of its protocol: reasoning, text, calls.
 *   - A call's arguments are text as it came; where the protocol has an object: its compact JSON,
 *     keys and numbers as written.
 * What a target cannot take (order, ids, names, roles) is put right by canon/fit, not by who reads.
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

/* The list that was appended to last, and its end; zeroed to begin with. Bodies come from
 * strangers: appending must not walk the list each time. */
struct extra_end {
    struct extra **list;
    struct extra **at;
};

struct part {
    enum part_kind kind;
    struct str source;     /* JSON text; null: synthetic */
    struct str text;       /* TEXT REFUSAL REASONING; TOOL_CALL: arguments as written; FILE: a
                            * document of plain text */
    struct str id;         /* TOOL_CALL, TOOL_RESULT: call id; FILE, IMAGE: file id; REASONING: its
                            * item's id */
    struct str name;       /* TOOL_CALL: tool; TOOL_RESULT: tool, null: not said; FILE: file name or
                            * title; REFUSAL, REASONING: the member of a chat message that it is,
                            * null: an element of the content; VENDOR: type */
    struct str media_type; /* IMAGE AUDIO FILE, where known: "image/png", audio: "wav" */
    struct str data;       /* base64, or the URL when is_url */
    struct str detail;     /* IMAGE: low, high, auto, original */
    struct str signature;  /* REASONING (redacted: all there is), TOOL_CALL, TEXT: as in SIGNATURE
                            * events; null: none */
    struct str vendor;     /* of signature, once it was unpacked; null: as it came */
    struct str cache;      /* JSON text of cache_control; null: none */
    struct str citations;  /* TEXT: JSON text of its annotations or citations; null: none */
    struct part *parts;    /* TOOL_RESULT: what it says: TEXT, IMAGE, FILE, VENDOR */
    bool is_url;
    bool custom;   /* TOOL_CALL: free text instead of JSON arguments; TOOL_RESULT: of such a call */
    bool is_error; /* TOOL_RESULT */
    bool redacted; /* REASONING */
    bool summary;  /* REASONING: text is a summary of it (Responses, Gemini) */
    bool was_text; /* TOOL_RESULT: its content was a plain string, not a list */
    struct extra *extra;
    struct part *next;
};

struct turn {
    enum role role;
    struct str source;
    struct str name;
    struct str phase;      /* "commentary", "final_answer" (Responses); null: none */
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
    struct str cache;  /* JSON text of cache_control; null: none */
    struct str space;  /* namespace (Responses): name is "space__name" then; null: none */
    int strict;        /* -1: not said */
    struct extra *extra;
    struct tool *next;
};

enum tool_choice_kind {
    TOOL_CHOICE_ABSENT,
    TOOL_CHOICE_AUTO,
    TOOL_CHOICE_NONE,
    TOOL_CHOICE_REQUIRED,
    TOOL_CHOICE_NAMED,  /* tool_choice_names[0] */
    TOOL_CHOICE_SUBSET, /* of tool_choice_names; tool_choice_required: one of them */
    TOOL_CHOICE_OTHER   /* tool_choice_source */
};

/* What the client asks about reasoning. */
enum reasoning_mode {
    REASONING_ABSENT, /* the model's own way */
    REASONING_OFF,
    REASONING_EFFORT,  /* reasoning_effort */
    REASONING_BUDGET,  /* reasoning_budget, tokens */
    REASONING_DYNAMIC, /* on, the model decides how much */
    REASONING_MODE_COUNT
};

enum format_kind {
    FORMAT_ABSENT, /* text */
    FORMAT_JSON,   /* any JSON object */
    FORMAT_SCHEMA, /* format.schema */
};

struct format {
    enum format_kind kind;
    struct str name; /* null: not said */
    struct str description;
    struct str schema; /* JSON text */
    int strict;        /* -1: not said */
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
    enum reasoning_mode reasoning;
    struct str reasoning_effort;  /* none minimal low medium high xhigh max */
    struct str reasoning_budget;  /* number token */
    struct str reasoning_summary; /* auto concise detailed; null: not said */
    int reasoning_visible;        /* does the client want to see it: -1 not said, 0, 1 */
    struct str verbosity;
    struct str service_tier;
    struct str user;
    struct str metadata; /* JSON text of a map of strings; null: absent */
    int store;           /* -1 absent, 0, 1 */
    struct str cache_key;
    struct format format;
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
    bool array;            /* a stream as a JSON array instead of events (Gemini) */
    struct str previous;   /* previous_response_id (Responses); null: none */
    /* --- conversation; only when full --- */
    bool full;
    struct turn *turns;
    struct tool *tools;
    bool
        functions; /* they came as "functions", of before tool calls, and nothing as "tools": a call
                     * is answered as function_call, of which there is one */
    enum tool_choice_kind tool_choice;
    struct str *tool_choice_names;
    size_t tool_choice_names_n;
    bool tool_choice_required;     /* of a subset */
    struct str tool_choice_source; /* JSON text of what it was */
    struct params params;
    struct extra *extra;
    struct str bound; /* a member without which the request means something else, and which only
                       * its own protocol has ("cachedContent"): fit_request refuses it; null */
};

/* Appends the member to the list; NULL where the arena is full. The caller fills in the rest. */
struct extra *request_keep(struct extra_end *end, struct extra **list, const struct json_member *m,
                           struct arena *arena);
const char *request_role_name(enum role role);
const char *request_part_name(enum part_kind kind);
/* The text of the last user turn: its text parts joined by LF; null without one. Needs full. */
struct str request_last_user_text(const struct request *request, struct arena *arena);
