/* SPDX-License-Identifier: MIT */
/*
 * What a vendor of a protocol does differently: flags and values, one set a line of backends.def.
 * Code asks for a flag, never for a vendor's name. A zeroed one is the plain protocol: a client's
 * request goes up as it is, a translated one as the protocol's own description has it.
 *
 * Requests: what is said here is edited where a request has what the vendor refuses or misreads
 * (openai_chat_dialect.c); a request that fits goes up byte for byte.
 */
#pragma once

#include "canon/fit.h"
#include "canon/traits.h"

/* How a stream's usage is had. */
enum dialect_usage {
    DIALECT_USAGE_PLAIN,  /* not known: asked for only by translated requests */
    DIALECT_USAGE_OPTION, /* stream_options.include_usage */
    DIALECT_USAGE_ALWAYS, /* comes unasked; the option is taken */
    DIALECT_USAGE_NONE    /* stream_options is refused */
};

enum dialect_choice {
    DIALECT_CHOICE_FULL,  /* allowed_tools too */
    DIALECT_CHOICE_NAMED, /* words and a named tool; of allowed_tools only those are offered */
    DIALECT_CHOICE_WORDS, /* auto, none, required: a named tool is required, and offered alone */
    DIALECT_CHOICE_AUTO   /* auto; with none no tools are offered, all else becomes auto */
};

enum dialect_cache {
    DIALECT_CACHE_PLAIN,  /* a client's own cache_control goes up, translated ones do not */
    DIALECT_CACHE_TAKEN,  /* the same; translated ones too, where they stand at texts */
    DIALECT_CACHE_REFUSED /* left out */
};

enum dialect_images {
    DIALECT_IMAGES_ANY,
    DIALECT_IMAGES_DATA, /* in the request, as data URLs; translated ones by URL are refused here */
    DIALECT_IMAGES_NONE  /* become a text that says so */
};

enum dialect_json {
    DIALECT_JSON_ANY,         /* json_object and json_schema */
    DIALECT_JSON_OBJECT,      /* json_object; a schema becomes that, and a text of the system's */
    DIALECT_JSON_SCHEMA_ONLY, /* json_schema; json_object becomes the schema of any object */
    DIALECT_JSON_NONE         /* neither: a text of the system's */
};

/* In which words reasoning is asked for; of models with efforts (canon/traits.def) also, or only,
 * by reasoning_effort. ENABLED, GROQ, MISTRAL and TEMPLATE, of whom many models are served, say it
 * only of models that are known to have it. */
enum dialect_reasoning {
    DIALECT_REASONING_EFFORT,     /* reasoning_effort */
    DIALECT_REASONING_OPENROUTER, /* reasoning {effort | max_tokens, enabled, exclude} */
    DIALECT_REASONING_ENABLED,    /* reasoning {enabled} (Together) */
    DIALECT_REASONING_THINKING,   /* thinking {type}; reasoning_effort beside it where efforts */
    DIALECT_REASONING_BUDGET,     /* thinking {type, budget_tokens} */
    DIALECT_REASONING_SWITCH,     /* enable_thinking, thinking_budget */
    DIALECT_REASONING_GROQ,       /* reasoning_effort, reasoning_format */
    DIALECT_REASONING_MISTRAL,    /* prompt_mode: reasoning */
    DIALECT_REASONING_TEMPLATE,   /* chat_template_kwargs {enable_thinking} */
    DIALECT_REASONING_NONE        /* cannot be asked for */
};

/* What becomes of the assistant's reasoning of earlier turns. */
enum dialect_history {
    DIALECT_HISTORY_PLAIN, /* a client's own as it is; of another protocol: not told */
    DIALECT_HISTORY_DROP,  /* refused, or wasted */
    DIALECT_HISTORY_KEEP,  /* told in the turns that had some */
    DIALECT_HISTORY_EVERY, /* the same; with tools, while the model thinks, all of the assistant's
                            * messages have the member, "" at least */
    DIALECT_HISTORY_CALLS, /* told in the turns that called tools, to models known to reason */
    DIALECT_HISTORY_PARTS  /* as parts of the content: {"type":"thinking","thinking":[…]} */
};

enum dialect_prefill {
    DIALECT_PREFILL_KEEP,   /* an assistant's text may stand last */
    DIALECT_PREFILL_PREFIX, /* with "prefix":true */
    DIALECT_PREFILL_NONE    /* a user's "Continue." follows it */
};

enum dialect_schema {
    DIALECT_SCHEMA_PLAIN,
    DIALECT_SCHEMA_MFJS, /* Moonshot: root is an object, type stands within anyOf, no $schema, items
                          * lists are prefixItems */
    DIALECT_SCHEMA_XAI   /* without additionalProperties */
};

/* Where an answer's reasoning stands. */
enum dialect_reasoning_out {
    DIALECT_OUT_PLAIN,    /* wherever it is: all that are known are read */
    DIALECT_OUT_CONTENT,  /* reasoning_content: also the name it goes back by */
    DIALECT_OUT_REASONING /* reasoning: likewise */
};

/* The members of a Chat Completions request's root that rules are about, by length of their
 * names. */
#define DIALECT_KEYS(KEY)     \
    KEY(n)                    \
    KEY(seed)                 \
    KEY(stop)                 \
    KEY(user)                 \
    KEY(store)                \
    KEY(tools)                \
    KEY(top_k)                \
    KEY(top_p)                \
    KEY(logprobs)             \
    KEY(messages)             \
    KEY(metadata)             \
    KEY(thinking)             \
    KEY(functions)            \
    KEY(reasoning)            \
    KEY(verbosity)            \
    KEY(logit_bias)           \
    KEY(max_tokens)           \
    KEY(prompt_mode)          \
    KEY(temperature)          \
    KEY(tool_choice)          \
    KEY(service_tier)         \
    KEY(top_logprobs)         \
    KEY(function_call)        \
    KEY(stream_options)       \
    KEY(enable_thinking)      \
    KEY(response_format)      \
    KEY(prompt_cache_key)     \
    KEY(presence_penalty)     \
    KEY(reasoning_effort)     \
    KEY(frequency_penalty)    \
    KEY(parallel_tool_calls)  \
    KEY(chat_template_kwargs) \
    KEY(max_completion_tokens)

enum dialect_key {
#define KEY(name) DIALECT_KEY_##name,
    DIALECT_KEYS(KEY)
#undef KEY
        DIALECT_KEY_COUNT
};
/* One of dialect.drop. */
#define DIALECT_DROP(name) (UINT64_C(1) << DIALECT_KEY_##name)

struct dialect {
    /* --- requests --- */
    enum dialect_usage usage;
    bool developer_as_system;  /* role developer is unknown */
    bool max_tokens_legacy;    /* max_tokens instead of max_completion_tokens */
    bool model_rules;          /* what traits.def knows of its models holds for clients of the same
                                * protocol too: parameters that the model refuses are left out */
    bool tools_refused;        /* no tools, no messages of theirs */
    bool tool_result_name;     /* a tool's message says the tool's name */
    bool message_name_refused; /* no name beside a role */
    bool document_url;         /* a file in the request, or by its URL, is a part document_url */
    bool json_word;            /* json_object needs the word JSON in the conversation */
    bool strict_refused;       /* strict of tools */
    bool xhigh_is_max;         /* its greatest effort is meant by xhigh */
    bool top_k;                /* takes it */
    bool parallel_refused;     /* parallel_tool_calls */
    bool alternate;            /* after the system's texts user and assistant take turns: what
                                * stands together is joined. With NONE of prefill and DROP of
                                * history, as nothing but texts and parts is left of it */
    bool content_empty;        /* an assistant's content is a string: "" for null */
    bool content_text;         /* texts are strings, lists of texts are joined */
    bool logprobs_number;      /* logprobs is the number that top_logprobs says */
    enum dialect_choice tool_choice;
    enum dialect_cache cache;
    enum fit_ids tool_ids; /* ANY: a client's own as they are, translated ones OPENAI */
    enum dialect_images images;
    enum dialect_json json;
    enum dialect_reasoning reasoning;
    enum dialect_history history;
    enum dialect_prefill prefill;
    enum dialect_schema schema;
    unsigned efforts;         /* of the words that its models know the only ones, as bits of
                              * canon/traits.h; 0: all */
    unsigned stops_max;       /* 0: no bound */
    unsigned n_max;           /* 1: one answer a request, a translated one with more is refused
                               * here; 0: no bound */
    unsigned max_tokens_min;  /* fewer become so many; 0: no bound */
    float temperature_max;    /* more becomes that; 0: no bound */
    const char *seed;         /* its name of seed; NULL: seed */
    uint64_t drop;            /* members of the root that are left out, as DIALECT_DROP has them */
    const char *service_tier; /* tiers that it knows, separated by blanks, others are left out;
                               * NULL: OpenAI's */

    /* --- answers --- */
    bool answers_plain; /* what it says is what the protocol's clients know */
    bool mend;          /* raw answers: what such a client would misread is put right in them.
                         * No line of backends.def sets it: backend.c does, for all that come by
                         * their vendor's name but those with answers_plain */
    enum dialect_reasoning_out reasoning_out;
    bool think_tags;               /* <think>…</think> in its text is reasoning (think_tags:) */
    bool usage_reasoning_excluded; /* completion_tokens is without reasoning_tokens */
    bool usage_cached_excluded;    /* prompt_tokens may be without cached_tokens */
    bool repeats_last_text;        /* the assistant's last text of the request stands once more in
                                    * front of the answer's */
};
