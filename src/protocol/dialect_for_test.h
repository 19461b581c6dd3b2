/* SPDX-License-Identifier: MIT */
/* For tests and fuzzers: a vendor who wants whatever a number says. */
#pragma once

#include "protocol/dialect.h"

static inline unsigned dialect_dice(uint64_t *seed, unsigned sides)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % sides;
}

static inline struct dialect dialect_for_test(uint64_t seed)
{
    static const uint64_t drops[] = {0, DIALECT_DROP(logprobs) | DIALECT_DROP(user),
                                     DIALECT_DROP(temperature) | DIALECT_DROP(stop) |
                                         DIALECT_DROP(top_logprobs) | DIALECT_DROP(messages)};
    struct dialect dialect = {
        .usage = dialect_dice(&seed, 4),
        .developer_as_system = dialect_dice(&seed, 2),
        .max_tokens_legacy = dialect_dice(&seed, 2),
        .model_rules = dialect_dice(&seed, 2),
        .tools_refused = dialect_dice(&seed, 6) == 0,
        .tool_result_name = dialect_dice(&seed, 2),
        .message_name_refused = dialect_dice(&seed, 2),
        .json_word = dialect_dice(&seed, 2),
        .strict_refused = dialect_dice(&seed, 2),
        .xhigh_is_max = dialect_dice(&seed, 2),
        .parallel_refused = dialect_dice(&seed, 2),
        .alternate = dialect_dice(&seed, 2),
        .content_empty = dialect_dice(&seed, 2),
        .content_text = dialect_dice(&seed, 2),
        .logprobs_number = dialect_dice(&seed, 2),
        .tool_choice = dialect_dice(&seed, 4),
        .cache = dialect_dice(&seed, 3),
        .tool_ids = dialect_dice(&seed, 2) == 0 ? FIT_IDS_ANY : FIT_IDS_MISTRAL,
        .images = dialect_dice(&seed, 3),
        .json = dialect_dice(&seed, 4),
        .reasoning = dialect_dice(&seed, 10),
        .history = dialect_dice(&seed, 6),
        .prefill = dialect_dice(&seed, 3),
        .schema = dialect_dice(&seed, 3),
        .efforts = dialect_dice(&seed, 2) == 0 ? 0 : EFFORT_LOW | EFFORT_HIGH,
        .stops_max = dialect_dice(&seed, 3),
        .n_max = dialect_dice(&seed, 2),
        .max_tokens_min = dialect_dice(&seed, 20),
        .temperature_max = (float)dialect_dice(&seed, 2),
        .seed = dialect_dice(&seed, 2) == 0 ? NULL : "random_seed",
        .drop = drops[dialect_dice(&seed, 3)],
        .service_tier = dialect_dice(&seed, 2) == 0 ? NULL : "auto flex",
        .reasoning_out = dialect_dice(&seed, 3),
    };
    /* As dialect.h has it of vendors that want these. */
    if (dialect.history == DIALECT_HISTORY_EVERY)
        dialect.reasoning = DIALECT_REASONING_THINKING;
    if (dialect.alternate) {
        dialect.prefill = DIALECT_PREFILL_NONE;
        dialect.history = DIALECT_HISTORY_DROP;
    }
    return dialect;
}
