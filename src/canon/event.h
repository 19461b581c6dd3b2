/* SPDX-License-Identifier: MIT */
/*
 * Events and frames: what an answer is made of, whatever protocol it came in.
 *
 * A frame is what the upstream framed (one SSE event, one whole body, one piece of an opaque
 * body): its bytes and the events in it; no events is legal (pings, repeats). Bodies that did not
 * stream are decoded into events too, so there is one response path.
 *
 * Grammar, per choice (canon/check enforces it):
 *   START (BLOCK_BEGIN (TEXT|REASONING|SIGNATURE|TOOL_ARGS|CITATION|LOGPROBS)* BLOCK_END)* STOP
 *   START comes once for the answer, before everything but KEEPALIVE and ERROR. Blocks of one
 *   choice are numbered 0, 1, … in order of their begin; several may be open at once (parallel tool
 *   calls interleave). USAGE may stand anywhere after START, also after STOP; the last one counts,
 *   they are cumulative. ERROR ends the answer. KEEPALIVE anywhere.
 *
 * Lifetime: everything a frame points at is valid until the push of that frame returns (event
 * scratch); who keeps something copies it.
 * Text is valid UTF-8. Tool arguments are text as the model wrote it.
 *
 * What blocks hold:
 *   TEXT       TEXT, CITATION, LOGPROBS; SIGNATURE (Gemini signs texts too)
 *   REASONING  REASONING*, then at most one SIGNATURE: Anthropic's signature, the encrypted_content
 *              of a Responses item, Gemini's thoughtSignature. begin.id: the item's id (Responses)
 *   REDACTED   one SIGNATURE: reasoning that is only its vendor's to read
 *   TOOL       TOOL_ARGS*; SIGNATURE (Gemini signs calls). No TOOL_ARGS means {}
 *   REFUSAL    TEXT*
 *   MEDIA      one TEXT: {"media_type":"image/png","data":"base64"} or {"url":"https://…"}
 *   VENDOR     one TEXT: the vendor's JSON of the block; begin.name is its type. Only for the same
 *              protocol; others drop it, or say its text (mapping.md, 4.5)
 * SIGNATURE is whole, never in pieces; text is as the vendor sent it, or packed (canon/seal).
 * CITATION is a url_citation as Chat Completions has it, {"type":"url_citation","url_citation":
 * {"url","title","start_index","end_index"}}, or else the vendor's own object, which other
 * protocols drop.
 */
#pragma once

#include "base/str.h"

enum event_kind {
    EVENT_START,
    EVENT_BLOCK_BEGIN,
    EVENT_TEXT, /* of a text or refusal block; of a media or vendor block: its JSON */
    EVENT_REASONING,
    EVENT_SIGNATURE, /* of any block: what only its vendor understands (below) */
    EVENT_TOOL_ARGS,
    EVENT_CITATION, /* text: JSON of a citation (below) */
    EVENT_LOGPROBS, /* text: JSON of Chat Completions' logprobs object, {"content":[…]} */
    EVENT_BLOCK_END,
    EVENT_USAGE,
    EVENT_STOP,
    EVENT_ERROR,
    EVENT_KEEPALIVE,
    EVENT_KIND_COUNT
};

enum block_kind {
    BLOCK_TEXT,
    BLOCK_REASONING,
    BLOCK_REDACTED,
    BLOCK_TOOL,
    BLOCK_REFUSAL,
    BLOCK_MEDIA,
    BLOCK_VENDOR,
    BLOCK_KIND_COUNT
};

/* No block of this event; no number said by the upstream. */
#define EVENT_NO_BLOCK UINT32_MAX
#define EVENT_NO_INDEX UINT32_MAX

enum stop_reason {
    STOP_END, /* the model was done */
    STOP_LENGTH,
    STOP_TOOL,
    STOP_SEQUENCE, /* a stop sequence of the request */
    STOP_FILTER,
    STOP_REFUSAL,
    STOP_PAUSE,
    STOP_CONTEXT, /* the model's context is full */
    STOP_OTHER,   /* native says */
    STOP_REASON_COUNT
};

/* Counts of tokens; -1: the upstream did not say. input includes cached and cache_written; output
 * includes reasoning. */
struct usage {
    int64_t input;
    int64_t output;
    int64_t total;
    int64_t cached;
    int64_t cache_written;
    int64_t reasoning;
};

struct event {
    enum event_kind kind;
    uint32_t choice;
    uint32_t block; /* index within the choice; EVENT_NO_BLOCK: of none */
    union {
        struct { /* START */
            struct str id;
            struct str model;
            int64_t created_s; /* 0: unknown */
        } start;
        struct { /* BLOCK_BEGIN */
            enum block_kind kind;
            bool custom;     /* tool: free text instead of JSON arguments */
            bool legacy;     /* tool: came as function_call, from before there were tool calls */
            uint32_t index;  /* tool: the upstream's own number of it; EVENT_NO_INDEX: none */
            struct str id;   /* tool call's id; reasoning: its item's */
            struct str name; /* tool's name; vendor's type of the block; reasoning: the member that
                              * it is, of openai-chat */
            /* Tool: its namespace, which is no part of the name (Responses); null: none. */
            struct str space;
        } begin;
        struct str text; /* TEXT REASONING SIGNATURE TOOL_ARGS CITATION LOGPROBS */
        struct usage usage;
        struct { /* STOP */
            enum stop_reason reason;
            struct str native;   /* the upstream's word, null if none */
            struct str sequence; /* which stop sequence, null if unknown */
        } stop;
        struct {        /* ERROR */
            int status; /* HTTP status it stands for; 0: unknown */
            struct str type;
            struct str code;
            struct str message;
        } error;
    };
};

struct frame {
    struct str raw;       /* null: synthetic */
    struct event *events; /* stages may edit them, and then set changed */
    uint32_t n;
    bool changed;    /* a stage changed, dropped or inserted something */
    bool terminator; /* raw is the protocol's end marker ([DONE]) and nothing else; events
                            * that the upstream left out (STOP) may stand in it */
    bool whole;      /* raw is a whole body, not a piece of a stream */
    bool usage_only; /* raw says nothing but usage */
    bool error;      /* raw says an error, which later frames tell as an event */
    bool hole;       /* raw cannot be read and the answer was not complete: only who gets raw may
                      * go on. No events */
};

/* "BLOCK_BEGIN" */
const char *event_kind_name(enum event_kind kind);
const char *event_block_name(enum block_kind kind);
const char *event_stop_name(enum stop_reason reason);
