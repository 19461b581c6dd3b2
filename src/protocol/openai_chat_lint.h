/* SPDX-License-Identifier: MIT */
/*
 * A checker of Chat Completions streams: what a client may rely on (openai-chat.md, 7 and 16), one
 * rule a bit. For tests and fuzzers; independent of our decoder, but for JSON and SSE.
 */
#pragma once

#include "base/buf.h"

/* LINT(name, what it says) */
#define OPENAI_CHAT_LINT_RULES(LINT)                                                        \
    LINT(FRAME, "each frame is a JSON object, [DONE] or a comment")                         \
    LINT(OBJECT, "object is chat.completion.chunk")                                         \
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
    LINT(AFTER_END, "nothing comes after the end")

enum openai_chat_lint_rule {
#define LINT(name, text) OPENAI_CHAT_LINT_##name,
    OPENAI_CHAT_LINT_RULES(LINT)
#undef LINT
        OPENAI_CHAT_LINT_COUNT
};

/* The rules that the stream breaks, bit by rule. */
uint32_t openai_chat_lint(struct str stream, bool include_usage);
/* Their names, for a message. */
void openai_chat_lint_print(uint32_t broken, struct buf *out);
