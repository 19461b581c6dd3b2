/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: how a vendor is asked for reasoning.
 *
 * What      The parameters' reasoning as members of the body, in the vendor's words; and
 *           reasoning_effort, the protocol's own word, of a body that is fitted, replaced by them.
 * How       A client's own members that are no reasoning_effort are the vendor's, or nobody's: they
 *           stay, and what they say is not said again.
 * Owns      Nothing.
 * Not here  What clients' members mean (openai_chat_reasoning.c); which efforts a model has
 *           (canon/traits.def).
 */
#include "protocol/openai_chat_dialect_priv.h"

struct wording {
    struct buf *out;
    const struct params *params;
    const struct dialect *dialect;
    const struct traits *traits;
};

static void say(const struct wording *s, const char *key, struct str value)
{
    openai_chat_add_key(s->out, str_c(key));
    buf_add(s->out, value);
}

static bool is_on(const struct wording *s)
{
    return s->params->reasoning != REASONING_OFF;
}

/* --- efforts ------------------------------------------------------------------------------ */

/* None of a model that is not known to reason. */
static unsigned efforts_of(const struct dialect *dialect, const struct traits *traits)
{
    if (traits->thinking == THINKING_EFFORT)
        return dialect->efforts == 0 ? traits->efforts : traits->efforts & dialect->efforts;
    return traits->thinking == THINKING_SWITCH ? dialect->efforts : 0;
}

/* NULL: nothing is said. */
static const char *effort_of(const struct wording *s)
{
    unsigned efforts = efforts_of(s->dialect, s->traits);
    const char *word = traits_effort(s->params, efforts);

    if (word != NULL && s->dialect->xhigh_is_max && (efforts & EFFORT_MAX) != 0 &&
        (efforts & EFFORT_XHIGH) == 0 && s->params->reasoning == REASONING_EFFORT &&
        str_eq(s->params->reasoning_effort, STR("xhigh")))
        return "max";
    return word;
}

static bool say_effort(const struct wording *s)
{
    const char *word = effort_of(s);

    if (word == NULL)
        return false;
    openai_chat_add_key(s->out, STR("reasoning_effort"));
    json_add_string(s->out, str_c(word));
    return true;
}

/* --- the vendors' words ------------------------------------------------------------------- */

static void say_openrouter(const struct wording *s)
{
    const struct params *params = s->params;
    struct str effort = params->reasoning_effort;

    openai_chat_add_key(s->out, STR("reasoning"));
    buf_add_char(s->out, '{');
    if (params->reasoning == REASONING_EFFORT) {
        bool most = str_eq(effort, STR("max")) || str_eq(effort, STR("maximum"));
        openai_chat_add_key(s->out, STR("effort"));
        json_add_string(s->out, most ? STR("xhigh") : effort);
    } else if (params->reasoning == REASONING_BUDGET) {
        say(s, "max_tokens", params->reasoning_budget);
    } else if (params->reasoning != REASONING_ABSENT) {
        say(s, "enabled", is_on(s) ? STR("true") : STR("false"));
    }
    if (params->reasoning_visible >= 0 && is_on(s))
        say(s, "exclude", params->reasoning_visible == 0 ? STR("true") : STR("false"));
    buf_add_char(s->out, '}');
}

static void say_thinking(const struct wording *s)
{
    bool budget = s->dialect->reasoning == DIALECT_REASONING_BUDGET &&
                  s->params->reasoning == REASONING_BUDGET;

    openai_chat_add_key(s->out, STR("thinking"));
    buf_add(s->out, is_on(s) ? STR("{\"type\":\"enabled\"") : STR("{\"type\":\"disabled\""));
    if (budget)
        say(s, "budget_tokens", s->params->reasoning_budget);
    buf_add_char(s->out, '}');
    if (is_on(s) && !budget && s->params->reasoning != REASONING_DYNAMIC)
        (void)say_effort(s);
}

static void say_switch(const struct wording *s)
{
    say(s, "enable_thinking", is_on(s) ? STR("true") : STR("false"));
    if (s->params->reasoning == REASONING_BUDGET)
        say(s, "thinking_budget", s->params->reasoning_budget);
}

/* Models with efforts hide their reasoning by another member than those without. */
static void say_groq(const struct wording *s)
{
    bool hidden = s->params->reasoning_visible == 0;
    bool shown = s->params->reasoning_visible == 1;

    if (s->traits->thinking == THINKING_EFFORT) {
        (void)say_effort(s);
        if (hidden)
            say(s, "include_reasoning", STR("false"));
        return;
    }
    if (s->traits->thinking != THINKING_SWITCH)
        return;
    say(s, "reasoning_effort", is_on(s) ? STR("\"default\"") : STR("\"none\""));
    if (is_on(s) && (hidden || shown))
        say(s, "reasoning_format", hidden ? STR("\"hidden\"") : STR("\"parsed\""));
}

static void say_words(const struct wording *s)
{
    bool switched = s->traits->thinking == THINKING_SWITCH;

    switch (s->dialect->reasoning) {
    case DIALECT_REASONING_EFFORT:
        (void)say_effort(s);
        return;
    case DIALECT_REASONING_OPENROUTER:
        say_openrouter(s);
        return;
    case DIALECT_REASONING_THINKING:
    case DIALECT_REASONING_BUDGET:
        say_thinking(s);
        return;
    case DIALECT_REASONING_SWITCH:
        say_switch(s);
        return;
    case DIALECT_REASONING_GROQ:
        say_groq(s);
        return;
    case DIALECT_REASONING_ENABLED:
        if (!say_effort(s) && switched)
            say(s, "reasoning", is_on(s) ? STR("{\"enabled\":true}") : STR("{\"enabled\":false}"));
        return;
    case DIALECT_REASONING_MISTRAL:
        if (!say_effort(s) && switched && is_on(s))
            say(s, "prompt_mode", STR("\"reasoning\""));
        return;
    case DIALECT_REASONING_TEMPLATE:
        if (!say_effort(s) && switched)
            say(s, "chat_template_kwargs",
                is_on(s) ? STR("{\"enable_thinking\":true}") : STR("{\"enable_thinking\":false}"));
        return;
    case DIALECT_REASONING_NONE:
        return;
    }
    BUG("no such words");
}

void openai_chat_dialect_reasoning_write(struct buf *out, const struct params *params,
                                         const struct dialect *dialect, const struct traits *traits)
{
    const struct wording s = {out, params, dialect, traits};

    if (params->reasoning != REASONING_ABSENT ||
        (params->reasoning_visible == 0 && dialect->reasoning == DIALECT_REASONING_OPENROUTER))
        say_words(&s);
}

/* --- of a body ---------------------------------------------------------------------------- */

/* The member of the body that says it in the vendor's own words; NULL: none. */
static const struct json_member *own_words(const struct openai_chat_dialect_work *w)
{
    switch (w->dialect->reasoning) {
    case DIALECT_REASONING_OPENROUTER:
    case DIALECT_REASONING_ENABLED:
        return w->has[DIALECT_KEY_reasoning];
    case DIALECT_REASONING_THINKING:
    case DIALECT_REASONING_BUDGET:
        return w->has[DIALECT_KEY_thinking];
    case DIALECT_REASONING_SWITCH:
        return w->has[DIALECT_KEY_enable_thinking];
    case DIALECT_REASONING_MISTRAL:
        return w->has[DIALECT_KEY_prompt_mode];
    case DIALECT_REASONING_TEMPLATE:
        return w->has[DIALECT_KEY_chat_template_kwargs];
    case DIALECT_REASONING_EFFORT:
    case DIALECT_REASONING_GROQ:
    case DIALECT_REASONING_NONE:
        break;
    }
    return NULL;
}

/* Whether reasoning_effort goes up as it is: nothing is known of which words are taken. */
static bool as_it_is(struct openai_chat_dialect_work *w)
{
    const struct dialect *d = w->dialect;
    bool plain = d->reasoning == DIALECT_REASONING_EFFORT;

    if (openai_chat_dialect_traits(w)->effort_refused && d->model_rules)
        return false;
    if (plain && d->efforts == 0 && !d->model_rules)
        return true;
    if (efforts_of(d, openai_chat_dialect_traits(w)) != 0)
        return false;
    /* Of many makers' models: one that is not known yet may take the client's word. */
    if (w->raw && openai_chat_dialect_traits(w)->thinking == THINKING_NONE &&
        (d->reasoning == DIALECT_REASONING_ENABLED || d->reasoning == DIALECT_REASONING_MISTRAL ||
         d->reasoning == DIALECT_REASONING_TEMPLATE))
        return true;
    return plain || (d->reasoning == DIALECT_REASONING_GROQ &&
                     openai_chat_dialect_traits(w)->thinking != THINKING_SWITCH);
}

static bool is_known(const struct params *params)
{
    return params->reasoning != REASONING_EFFORT || traits_effort(params, ~0u) != NULL;
}

/* Takes the members that were written; whether reasoning_effort is one of them. */
static bool take_words(struct openai_chat_dialect_work *w, const struct json_member *effort,
                       struct str words)
{
    struct json_member m;
    size_t cursor = 0;
    bool has_effort = false;

    while (json_object_next(words, &cursor, w->arena, &m)) {
        if (str_eq(m.key, STR("reasoning_effort"))) {
            has_effort = true;
            if (str_eq(m.value, effort->value))
                continue;
            translation_warn(w->t, "changed:reasoning_effort");
            openai_chat_dialect_value(w, effort->value, m.value);
            continue;
        }
        const struct json_member *own = json_index_find(w->index, m.key);
        if (own == NULL)
            json_edit_add(w->edits, w->arena, w->index, m.key, m.value);
        else if (json_kind_of(own->value) == JSON_NULL)
            openai_chat_dialect_value(w, own->value, m.value);
    }
    return has_effort;
}

static void fit_effort(struct openai_chat_dialect_work *w, const struct json_member *effort)
{
    struct params params = {.reasoning_visible = -1};
    struct buf out;

    const struct json_member *own = own_words(w);
    struct str word = json_kind_of(effort->value) == JSON_STRING
                          ? json_string_value(effort->value, w->arena)
                          : STR_NULL;
    params.reasoning_effort = word;
    if (word.n > 0)
        params.reasoning = str_eq(word, STR("none")) ? REASONING_OFF : REASONING_EFFORT;
    if (!is_known(&params))
        return;
    buf_init(&out, 4096);
    buf_add_char(&out, '{');
    if (!openai_chat_dialect_traits(w)->effort_refused)
        openai_chat_dialect_reasoning_write(&out, &params, w->dialect,
                                            openai_chat_dialect_traits(w));
    buf_add_char(&out, '}');
    struct str words = str_copy(w->arena, buf_str(&out));
    buf_fini(&out);
    if (arena_overflowed(w->arena) || take_words(w, effort, words))
        return;
    if (own == NULL && words.n == 2 && params.reasoning == REASONING_EFFORT)
        translation_warn(w->t, "dropped:reasoning_effort");
    openai_chat_dialect_remove(w, effort);
}

void openai_chat_dialect_reasoning_fit(struct openai_chat_dialect_work *w)
{
    const struct json_member *effort = w->has[DIALECT_KEY_reasoning_effort];

    if (effort != NULL && !as_it_is(w))
        fit_effort(w, effort);
}
