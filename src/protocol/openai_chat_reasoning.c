/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: what vendors added to requests about reasoning, read.
 *
 * What      Whether, how much and how visibly a model shall reason; reasoning said in earlier turns
 *           with what only its vendor understands.
 * How       Members of the root stay in `extra`, where they are written again as they came; here
 *           they are only understood. reasoning_effort, the protocol's own, counts before them.
 *             reasoning: {effort, max_tokens, enabled, exclude, summary}     OpenRouter
 *             include_reasoning                                              the same, older
 *             thinking: {type, budget_tokens}                                DeepSeek, Z.ai
 *             enable_thinking, thinking_budget, chat_template_kwargs         Qwen, vLLM, SGLang
 *           What is not of the kind that the vendor knows is not understood, and no error: another
 *           vendor may.
 * Owns      Nothing.
 * Not here  Writing for vendors that want these words: openai_chat_upstream.c.
 */
#include "protocol/openai_chat_priv.h"

static struct str find_extra(const struct extra *extra, struct str key)
{
    for (; extra != NULL; extra = extra->next) {
        if (str_eq(extra->key, key))
            return extra->value;
    }
    return STR_NULL;
}

static bool is_kind(struct str value, enum json_kind kind)
{
    return value.n > 0 && json_kind_of(value) == kind;
}

/* Null unless it is a string. */
static struct str word_of(struct str value, struct arena *arena)
{
    return is_kind(value, JSON_STRING) ? json_string_value(value, arena) : STR_NULL;
}

/* -1: neither true nor false. */
static int flag_of(struct str value)
{
    if (is_kind(value, JSON_TRUE))
        return 1;
    return is_kind(value, JSON_FALSE) ? 0 : -1;
}

static void set_budget(struct params *params, struct str number)
{
    int64_t tokens;

    if (!is_kind(number, JSON_NUMBER) || !str_to_int64(number, &tokens))
        return;
    if (tokens <= 0) {
        params->reasoning = tokens == 0 ? REASONING_OFF : REASONING_DYNAMIC;
        return;
    }
    params->reasoning = REASONING_BUDGET;
    params->reasoning_budget = number;
}

static void set_effort(struct params *params, struct str word)
{
    if (word.n == 0)
        return;
    params->reasoning = str_eq(word, STR("none")) ? REASONING_OFF : REASONING_EFFORT;
    params->reasoning_effort = word;
}

static void set_on(struct params *params, int on)
{
    if (on >= 0)
        params->reasoning = on == 1 ? REASONING_DYNAMIC : REASONING_OFF;
}

/* OpenRouter. */
static void read_reasoning(struct params *params, struct str object, struct arena *arena)
{
    int exclude;

    if (!is_kind(object, JSON_OBJECT))
        return;
    set_on(params, flag_of(json_object_find(object, STR("enabled"))));
    if (params->reasoning != REASONING_OFF) {
        set_effort(params, word_of(json_object_find(object, STR("effort")), arena));
        if (params->reasoning != REASONING_EFFORT && params->reasoning != REASONING_OFF)
            set_budget(params, json_object_find(object, STR("max_tokens")));
    }
    params->reasoning_summary = word_of(json_object_find(object, STR("summary")), arena);
    exclude = flag_of(json_object_find(object, STR("exclude")));
    if (exclude >= 0)
        params->reasoning_visible = exclude == 0;
}

/* DeepSeek, Z.ai, litellm. */
static void read_thinking(struct params *params, struct str object, struct arena *arena)
{
    struct str type;

    if (!is_kind(object, JSON_OBJECT))
        return;
    type = word_of(json_object_find(object, STR("type")), arena);
    if (str_eq(type, STR("disabled"))) {
        params->reasoning = REASONING_OFF;
    } else if (str_eq(type, STR("enabled")) || str_eq(type, STR("adaptive")) ||
               str_eq(type, STR("auto"))) {
        params->reasoning = REASONING_DYNAMIC;
        set_budget(params, json_object_find(object, STR("budget_tokens")));
    }
}

static void read_switches(struct params *params, const struct extra *extra)
{
    struct str template = find_extra(extra, STR("chat_template_kwargs"));

    set_on(params, flag_of(find_extra(extra, STR("enable_thinking"))));
    if (params->reasoning == REASONING_ABSENT && is_kind(template, JSON_OBJECT)) {
        set_on(params, flag_of(json_object_find(template, STR("enable_thinking"))));
        if (params->reasoning == REASONING_ABSENT)
            set_on(params, flag_of(json_object_find(template, STR("thinking"))));
    }
    if (params->reasoning == REASONING_DYNAMIC)
        set_budget(params, find_extra(extra, STR("thinking_budget")));
}

/* What the vendors' members say. */
static void read_all(struct params *params, const struct extra *extra, struct arena *arena)
{
    int included = flag_of(find_extra(extra, STR("include_reasoning")));

    assert(params->reasoning == REASONING_ABSENT);
    params->reasoning_visible = included;
    read_reasoning(params, find_extra(extra, STR("reasoning")), arena);
    if (params->reasoning == REASONING_ABSENT)
        read_thinking(params, find_extra(extra, STR("thinking")), arena);
    if (params->reasoning == REASONING_ABSENT)
        read_switches(params, extra);
}

void openai_chat_reasoning_read(struct request *request, struct arena *arena)
{
    struct params *params = &request->params;
    struct params vendors = {.reasoning = REASONING_ABSENT};

    read_all(&vendors, request->extra, arena);
    params->reasoning_visible = vendors.reasoning_visible;
    params->reasoning_summary = vendors.reasoning_summary;
    if (!str_is_null(params->reasoning_effort)) {
        set_effort(params, params->reasoning_effort);
        return;
    }
    params->reasoning = vendors.reasoning;
    params->reasoning_effort = vendors.reasoning_effort;
    params->reasoning_budget = vendors.reasoning_budget;
}

bool openai_chat_reasoning_said(const struct request *request, struct arena *arena)
{
    const struct params *params = &request->params;
    struct params vendors = {.reasoning = REASONING_ABSENT};

    read_all(&vendors, request->extra, arena);
    return vendors.reasoning != REASONING_ABSENT && vendors.reasoning == params->reasoning &&
           str_eq(vendors.reasoning_effort, params->reasoning_effort) &&
           str_eq(vendors.reasoning_budget, params->reasoning_budget);
}

/* --- earlier turns ------------------------------------------------------------------------ */

bool openai_chat_reasoning_detail(struct part *part, struct arena *arena)
{
    struct str type;

    assert(part->kind == PART_REASONING);
    if (!is_kind(part->source, JSON_OBJECT))
        return false;
    type = word_of(json_object_find(part->source, STR("type")), arena);
    part->id = word_of(json_object_find(part->source, STR("id")), arena);
    part->signature = word_of(json_object_find(part->source, STR("signature")), arena);
    if (str_eq(type, STR("reasoning.summary"))) {
        part->summary = true;
        part->text = word_of(json_object_find(part->source, STR("summary")), arena);
    } else if (str_eq(type, STR("reasoning.encrypted"))) {
        part->redacted = true;
        part->signature = word_of(json_object_find(part->source, STR("data")), arena);
    } else {
        part->text = word_of(json_object_find(part->source, STR("text")), arena);
    }
    return true;
}

struct str openai_chat_reasoning_signature(const struct extra *extra, struct arena *arena)
{
    struct str content = find_extra(extra, STR("extra_content"));
    struct str google = is_kind(content, JSON_OBJECT) ? json_object_find(content, STR("google"))
                                                      : STR_NULL;

    if (!is_kind(google, JSON_OBJECT))
        return STR_NULL;
    return word_of(json_object_find(google, STR("thought_signature")), arena);
}
