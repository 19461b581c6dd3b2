/* SPDX-License-Identifier: MIT */
/*
 * The turns of a request where they stand in its source, for all protocols: a walk, and for each
 * protocol what its members are called (canon/outline.h).
 */
#pragma once

#include "protocol/protocol.h"

outline_next_fn turns_openai_chat_next;
outline_next_fn turns_openai_responses_next;
outline_next_fn turns_anthropic_next;
outline_next_fn turns_gemini_next;

outline_last_fn turns_openai_chat_last;
outline_last_fn turns_openai_responses_last;
outline_last_fn turns_anthropic_last;
outline_last_fn turns_gemini_last;

outline_call_fn turns_openai_chat_call;
outline_call_fn turns_openai_responses_call;
outline_call_fn turns_anthropic_call;
outline_call_fn turns_gemini_call;

/* The call is a result whose texts are not null. Its images stay where a message can hold them
 * as they are written. In the arena; past its cap: anything. */
outline_words_fn turns_openai_words; /* of both */
outline_words_fn turns_anthropic_words;
outline_words_fn turns_gemini_words;
