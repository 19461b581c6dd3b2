/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: what settings ask of a request.
 *
 * What      Temperature, top_p and thinking for requests that do not say them; none of them where
 *           the API would refuse it beside what the request does say.
 * How       Temperature and top_p exclude each other. Thinking is not had with another temperature
 *           than 1, top_k, a top_p below 0.95, a tool that must be called, an answer that is begun
 *           by the client, or in the midst of a row of calls that was begun without it
 *           (anthropic-messages.md, 5). Then the request is as it was: it wins.
 * Owns      Nothing.
 * Not here  How a model is told to think (anthropic_plan.c).
 */
#include "protocol/anthropic_priv.h"

#include "canon/traits.h"
#include "protocol/edits.h"
#include "protocol/turns.h"

/* A word of an object that is a member of the root; null: none. */
static struct str word_in(struct str object, const char *key, struct arena *arena)
{
    if (str_is_null(object) || json_kind_of(object) != JSON_OBJECT)
        return STR_NULL;
    return json_string_value(json_object_find(object, str_c(key)), arena);
}

/* Absent, or a number that is at least that. */
static bool is_at_least(struct str number, double least)
{
    double value;

    return str_is_null(number) || (str_to_double(number, &value) && value >= least);
}

/* The assistant's last turn calls tools, without thoughts before. */
static bool calls_without_thoughts(struct str content, struct arena *arena)
{
    struct str block;
    size_t cursor = 0;
    bool calls = false;

    while (json_array_next(content, &cursor, &block)) {
        struct str type = word_in(block, "type", arena);
        if (str_eq(type, STR("thinking")) || str_eq(type, STR("redacted_thinking")))
            return false;
        calls |= str_eq(type, STR("tool_use"));
    }
    return calls;
}

/* Whether the conversation, as it stands, may be thought about. */
static bool turns_allow(const struct request *request, struct arena *arena)
{
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn = {.role = ROLE_USER};
    struct str said = STR_NULL;

    while (turns_anthropic_next(request, &cursor, &turn)) {
        if (turn.role == ROLE_ASSISTANT)
            said = turn.content;
    }
    if (turn.role == ROLE_ASSISTANT)
        return false;
    return str_is_null(said) || !calls_without_thoughts(said, arena);
}

static bool may_think(const struct request *request, struct arena *arena)
{
    struct str choice = word_in(edits_own(request, "tool_choice"), "type", arena);

    return !str_eq(choice, STR("any")) && !str_eq(choice, STR("tool")) &&
           is_at_least(edits_own(request, "temperature"), 1) &&
           is_at_least(edits_own(request, "top_p"), 0.95) &&
           str_is_null(edits_own(request, "top_k")) && turns_allow(request, arena);
}

/* Those of the two that go up beside what is there. */
static void choose_sampling(struct params *params, bool said)
{
    if (said)
        params->temperature = STR_NULL;
    if (said || !str_is_null(params->temperature))
        params->top_p = STR_NULL;
}

/* What the request says of thinking itself; *ret_said: it says something. */
static enum anthropic_thinking own_thinking(const struct request *request, struct arena *arena,
                                            bool *ret_said)
{
    struct str thinking = edits_own(request, "thinking");
    struct str type = word_in(thinking, "type", arena);

    *ret_said = !str_is_null(thinking) ||
                !str_is_null(word_in(edits_own(request, "output_config"), "effort", arena));
    if (str_eq(type, STR("enabled")))
        return ANTHROPIC_THINKING_BUDGET;
    return str_eq(type, STR("adaptive")) ? ANTHROPIC_THINKING_ADAPTIVE : ANTHROPIC_THINKING_UNSAID;
}

static int64_t own_max_tokens(const struct request *request)
{
    double value;

    /* The head was refused without one. */
    return str_to_double(edits_own(request, "max_tokens"), &value) && value < (double)INT32_MAX
               ? (int64_t)value
               : INT32_MAX;
}

struct str anthropic_steer_members(const struct request *request, const struct encode_request *how,
                                   const struct steer *steer, struct arena *arena)
{
    struct str model = str_is_null(how->model) ? request->model : how->model;
    struct request mine = {.full = true, .params = steer_none()};
    struct buf out;
    struct anthropic_writer w = {
        .out = &out,
        .arena = arena,
        .how = how,
        .request = &mine,
        .params = &mine.params,
        .traits = traits_of(TRAITS_ANTHROPIC, model),
        .max_tokens = own_max_tokens(request),
    };
    bool said;

    steer_fill(steer, &mine.params);
    choose_sampling(&mine.params, !str_is_null(edits_own(request, "temperature")) ||
                                      !str_is_null(edits_own(request, "top_p")));
    w.thinking = own_thinking(request, arena, &said);
    if (said || (mine.params.reasoning != REASONING_OFF &&
                 mine.params.reasoning != REASONING_ABSENT && !may_think(request, arena)))
        mine.params.reasoning = REASONING_ABSENT;
    buf_init(&out, 64 * 1024);
    anthropic_plan_write_steered(&w);
    /* Each member has a comma before it. */
    struct str object = str_print(arena, "{%.*s}", STR_ARG(str_from(buf_str(&out), 1)));
    buf_fini(&out);
    return object;
}

struct request *anthropic_steer_request(const struct steer *steer, struct request *request,
                                        struct request *copy)
{
    const struct params *own = &request->params;
    struct request *steered = steer_request(steer, request, copy);

    if (steered == request)
        return request;
    /* A temperature of ours must not take the place of the request's top_p. */
    if (str_is_null(own->temperature) && !str_is_null(own->top_p))
        steered->params.temperature = STR_NULL;
    if (str_is_null(own->top_p) && !str_is_null(steered->params.temperature))
        steered->params.top_p = STR_NULL;
    return steered;
}
