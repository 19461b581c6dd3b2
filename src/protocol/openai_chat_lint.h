/* SPDX-License-Identifier: MIT */
/*
 * A checker of Chat Completions answers: what a client may rely on (openai-chat.md, 7 and 16), one
 * rule a bit. Independent of our decoder, but for JSON and SSE. As the protocol's lint_* it tells
 * the first violation; tests and fuzzers also ask for all rules that a stream breaks.
 */
#pragma once

#include "protocol/protocol.h"
#include "text/sse.h"

/* LINT(name, what it says) */
#define OPENAI_CHAT_LINT_RULES(LINT)                                                        \
    LINT(FRAME, "each frame is a JSON object, [DONE] or a comment")                         \
    LINT(OBJECT, "object is chat.completion.chunk, of a whole body chat.completion")        \
    LINT(ID, "id is not empty and stays the same")                                          \
    LINT(MODEL, "model and created stay the same, and are a string and an integer")         \
    LINT(CHOICE, "a choice has an integer index, a delta and a finish_reason")              \
    LINT(ROLE, "the first delta of a choice says the role")                                 \
    LINT(TOOL_INDEX, "indexes of tool calls are dense")                                     \
    LINT(TOOL_BEGIN, "a call begins with a unique id, a type and a name, and keeps its id") \
    LINT(FINISH, "each choice has one finish_reason, a known word")                         \
    LINT(AFTER_FINISH, "a choice says nothing after its finish_reason")                     \
    LINT(USAGE, "a chunk with usage and no choices comes if it was asked for, once")        \
    LINT(USAGE_NULL, "where usage was asked for, each chunk has the member")                \
    LINT(DONE, "the stream ends with [DONE], or an error")                                  \
    LINT(AFTER_END, "nothing comes after the end")                                          \
    LINT(ERROR, "an error has a message and a type")                                        \
    LINT(MESSAGE, "a choice of a whole body has a message: role, content, whole calls")     \
    LINT(COUNTS, "usage has whole numbers")

enum openai_chat_lint_rule {
#define LINT(name, text) OPENAI_CHAT_LINT_##name,
    OPENAI_CHAT_LINT_RULES(LINT)
#undef LINT
        OPENAI_CHAT_LINT_COUNT
};

enum { OPENAI_CHAT_LINT_CHOICES_MAX = 128 };

/* Whether the client asked for usage in its stream. */
enum openai_chat_lint_usage {
    OPENAI_CHAT_LINT_USAGE_UNKNOWN,
    OPENAI_CHAT_LINT_USAGE_ASKED,
    OPENAI_CHAT_LINT_USAGE_NOT_ASKED,
};

struct openai_chat_lint_choice {
    bool begun;
    bool finished;
    size_t tools;
    size_t tools_size;
    struct str *tool_ids; /* by index; NULL before the first */
};

struct openai_chat_lint {
    struct arena *arena;  /* what is remembered */
    struct arena scratch; /* one frame's JSON */
    struct sse sse;
    struct buf body; /* whole ones */
    bool stream;
    enum openai_chat_lint_usage asked;
    uint32_t broken; /* rules, bit by rule */
    enum openai_chat_lint_rule first;
    size_t first_line; /* of the first violation; 0: none */
    size_t line;       /* of what is looked at */
    size_t lines;      /* before the next frame */
    bool ended;        /* [DONE] or an error */
    bool failed;
    bool begun;
    uint32_t usage_chunks;
    struct str id;
    struct str model;
    int64_t created;
    struct openai_chat_lint_choice choices[OPENAI_CHAT_LINT_CHOICES_MAX];
};

/* state: a struct openai_chat_lint. */
lint_init_fn openai_chat_lint_init;
lint_bytes_fn openai_chat_lint_bytes;
lint_fini_fn openai_chat_lint_fini;

/* The rules that the stream breaks, bit by rule. */
uint32_t openai_chat_lint(struct str stream, bool include_usage);
/* Their names, for a message. */
void openai_chat_lint_print(uint32_t broken, struct buf *out);
