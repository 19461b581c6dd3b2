/* SPDX-License-Identifier: MIT */
#include "canon/steer.h"

bool steer_is_empty(const struct steer *steer)
{
    return str_is_null(steer->temperature) && str_is_null(steer->top_p) &&
           str_is_null(steer->max_tokens) && str_is_null(steer->reasoning_effort) &&
           str_is_null(steer->reasoning_budget) && str_is_null(steer->generation_config);
}

static void fill(struct str *to, struct str from)
{
    if (str_is_null(*to))
        *to = from;
}

void steer_add(struct steer *steer, const struct steer *other)
{
    /* A budget and an effort say the same thing: who says one of them has said it. */
    if (str_is_null(steer->reasoning_effort) && str_is_null(steer->reasoning_budget)) {
        steer->reasoning_effort = other->reasoning_effort;
        steer->reasoning_budget = other->reasoning_budget;
    }
    fill(&steer->temperature, other->temperature);
    fill(&steer->top_p, other->top_p);
    fill(&steer->max_tokens, other->max_tokens);
    fill(&steer->generation_config, other->generation_config);
}

static struct str copy(struct str text, struct arena *arena)
{
    return str_is_null(text) ? STR_NULL : str_copy(arena, text);
}

void steer_copy(const struct steer *from, struct arena *arena, struct steer *ret_copy)
{
    *ret_copy = (struct steer){
        .temperature = copy(from->temperature, arena),
        .top_p = copy(from->top_p, arena),
        .max_tokens = copy(from->max_tokens, arena),
        .reasoning_effort = copy(from->reasoning_effort, arena),
        .reasoning_budget = copy(from->reasoning_budget, arena),
        .generation_config = copy(from->generation_config, arena),
    };
}

static void fill_reasoning(const struct steer *steer, struct params *params)
{
    double tokens;

    if (params->reasoning != REASONING_ABSENT || !str_is_null(params->reasoning_effort) ||
        !str_is_null(params->reasoning_budget))
        return;
    if (!str_is_null(steer->reasoning_budget) && str_to_double(steer->reasoning_budget, &tokens)) {
        params->reasoning = tokens > 0   ? REASONING_BUDGET
                            : tokens < 0 ? REASONING_DYNAMIC
                                         : REASONING_OFF;
        if (tokens > 0)
            params->reasoning_budget = steer->reasoning_budget;
    } else if (!str_is_null(steer->reasoning_effort)) {
        bool off = str_eq(steer->reasoning_effort, STR("none"));
        params->reasoning = off ? REASONING_OFF : REASONING_EFFORT;
        params->reasoning_effort = steer->reasoning_effort;
    }
}

void steer_fill(const struct steer *steer, struct params *params)
{
    fill(&params->temperature, steer->temperature);
    fill(&params->top_p, steer->top_p);
    fill(&params->max_tokens, steer->max_tokens);
    fill_reasoning(steer, params);
}

struct request *steer_request(const struct steer *steer, struct request *request,
                              struct request *copy)
{
    if (steer == NULL)
        return request;
    assert(request->full);
    *copy = *request;
    steer_fill(steer, &copy->params);
    return copy;
}

struct params steer_none(void)
{
    return (struct params){
        .logprobs = -1,
        .parallel_tool_calls = -1,
        .reasoning_visible = -1,
        .store = -1,
        .format.strict = -1,
    };
}
