/* SPDX-License-Identifier: MIT */
/*
 * What is known of models by their names (traits.def), for where a protocol must say something that
 * the client did not, or a model refuses what its protocol has. Unknown names: the protocol's
 * cautious defaults. Sources: anthropic-messages.md 5, gemini.md 5, openai-chat.md.
 */
#pragma once

#include "canon/request.h"

enum thinking_kind {
    THINKING_NONE,
    THINKING_BUDGET,   /* a number of tokens */
    THINKING_ADAPTIVE, /* the model decides; effort guides it */
    THINKING_LEVEL,    /* a word (Gemini 3) */
    THINKING_EFFORT,   /* a word (OpenAI) */
    THINKING_SWITCH    /* on or off, in its vendor's words (Qwen, GLM) */
};

/* Efforts a model knows, as bits. */
enum {
    EFFORT_NONE = 1,
    EFFORT_MINIMAL = 2,
    EFFORT_LOW = 4,
    EFFORT_MEDIUM = 8,
    EFFORT_HIGH = 16,
    EFFORT_XHIGH = 32,
    EFFORT_MAX = 64
};

struct traits {
    int64_t output_max; /* tokens; what is asked for where a maximum must be said */
    enum thinking_kind thinking;
    unsigned efforts;
    int64_t budget_min; /* THINKING_BUDGET; 0: may be off */
    int64_t budget_max;
    bool dynamic;           /* THINKING_BUDGET: -1 leaves it to the model */
    bool off_refused;       /* reasoning cannot be switched off */
    bool off_refused_high;  /* not together with efforts xhigh and max */
    bool sampling_refused;  /* temperature, top_p, top_k; of OpenAI's: penalties and logprobs too */
    bool sampling_when_off; /* taken after all while reasoning is off */
    bool stop_refused;      /* stop sequences */
    bool penalties_refused; /* frequency_penalty, presence_penalty */
    bool effort_refused;    /* reasoning_effort, whatever it says */
    bool required_refused;  /* that some tool must be called */
    bool history_refused;   /* reasoning of earlier turns */
    bool prefill_refused;   /* an assistant's text must not stand last */
    bool developer;         /* system texts go as developer */
    bool custom_tools;      /* custom tools, allowed_tools, verbosity (OpenAI's newer ones) */
    bool schema;            /* structured output by schema */
    bool schema_with_tools; /* and tools at the same time */
    bool json_schema;       /* takes JSON Schema as such (Gemini) */
    bool signatures_needed; /* calls without signature are refused (Gemini 3) */
    bool call_ids;          /* has ids of calls (Gemini) */
    bool system_refused;    /* no system text at all (Gemma) */
    bool unknown;           /* nobody knows the name (OpenAI) */
};

enum traits_family { TRAITS_OPENAI, TRAITS_ANTHROPIC, TRAITS_GEMINI };

/* Of the upstream's model, as the family's servers call it, with or without a vendor's prefix. */
const struct traits *traits_of(enum traits_family family, struct str model);
/* Of an unknown model of which somebody says that it reasons: with efforts; else the same. */
PURE_FN const struct traits *traits_told(const struct traits *traits);

/* The word for what the client asks (mapping.md, 7.1), fitted to efforts; NULL: say nothing. */
const char *traits_effort(const struct params *params, unsigned efforts);
/* The budget in tokens: 0 off, -1 dynamic; false: say nothing. max_tokens: of the request, 0 none;
 * the budget is below it. 0 although the client did not switch it off: max_tokens leaves no room
 * ("dropped:thinking"). */
bool traits_budget(const struct params *params, const struct traits *traits, int64_t max_tokens,
                   int64_t *ret_budget);
