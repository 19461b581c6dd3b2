/* SPDX-License-Identifier: MIT */
/*
 * What      Sets and unsets what users can turn, and says so.
 * How       Value read by its kind -> checked against what it sets -> kept in the draft -> said.
 * Owns      Nothing; values lie in the arena of the environment.
 * Not here  The checks (knob_check.c), which keys a command was given (cmd_set.c, cmd_unset.c).
 */
#include "command/knob.h"

#include "command/command_priv.h"
#include "command/knob_check.h"
#include "command/names.h"

static const char loop_modes[] =
    "break=block|chance=chance_then_block|chance_then_break=chance_then_block";

#define SYNONYMS(name) (KNOB_##name == KNOB_tool_loop_mode ? loop_modes : NULL)

const struct knob knob_table[KNOB_COUNT] = {
#define KNOB(name, setting_, key, aliases, kind, min, max, help, said_, unsaid_, wrong_, range_) \
    [KNOB_##name] = {.setting = (setting_),                                                      \
                     .said = (said_),                                                            \
                     .unsaid = (unsaid_),                                                        \
                     .wrong = (wrong_),                                                          \
                     .range = (range_),                                                          \
                     .synonyms = SYNONYMS(name)},
#include "command/knob.def"
#undef KNOB
};

const struct arg_spec knob_specs[KNOB_COUNT] = {
#define KNOB(name, setting, key_, aliases_, kind_, min_, max_, help_, ...) \
    [KNOB_##name] = {.key = (key_),                                        \
                     .aliases = (aliases_),                                \
                     .kind = (kind_),                                      \
                     .min = (min_),                                        \
                     .max = (max_),                                        \
                     .help = (help_)},
#include "command/knob.def"
#undef KNOB
};

const struct arg_spec knob_keys[KNOB_COUNT] = {
#define KNOB(name, setting, key_, aliases_, kind_, min_, max_, help_, ...) \
    [KNOB_##name] = {.key = (key_),                                        \
                     .aliases = (aliases_),                                \
                     .kind = ARG_KEY,                                      \
                     .min = "",                                            \
                     .max = "",                                            \
                     .help = (help_)},
#include "command/knob.def"
#undef KNOB
};

#define KEEP_text(to, value)  (to) = (value)->text
#define KEEP_count(to, value) (to) = (value)->count
#define KEEP_flag(to, value)  (to) = (value)->flag ? 1 : 0

static void keep(struct command_env *env, enum setting setting, const struct value *value)
{
    assert(setting <= SETTING_COUNT);
    if (setting == SETTING_COUNT)
        return;
    switch (setting) {
#define SETTING(kind, field, key)              \
    case SETTING_##field:                      \
        KEEP_##kind(env->draft->field, value); \
        break;
#include "state/setting.def"
#undef SETTING
    case SETTING_COUNT:
        BUG("no setting");
    }
    *env->changed |= 1u << setting;
}

static bool refuse(struct command_env *env, enum knob_id id, enum value_fault fault,
                   struct str typed)
{
    const struct knob *knob = &knob_table[id];
    const struct arg_spec *spec = &knob_specs[id];
    struct buf shown;

    assert(fault != VALUE_OK);
    if (id == KNOB_command_prefix && fault != VALUE_EMPTY)
        return knob_check_prefix(env, typed);
    if (fault == VALUE_LONG || fault == VALUE_BYTES) {
        (void)buf_print(env->reply, "Invalid arguments: %s is %s", spec->key,
                        fault == VALUE_LONG ? "longer than "
                                            : "no text without control characters");
        if (fault == VALUE_LONG)
            (void)buf_print(env->reply, "%s bytes", spec->max);
        return false;
    }
    const char *template = fault == VALUE_WRONG || knob->range == NULL ? knob->wrong : knob->range;
    /* A number that is not there is none, rather than one out of its range. */
    if (fault == VALUE_EMPTY && knob->wrong != NULL)
        template = knob->wrong;
    assert(template != NULL);
    buf_init(&shown, 2 * NAMES_SHOWN_MAX);
    names_show(typed, &shown);
    names_say(template, buf_str(&shown), env->reply);
    buf_fini(&shown);
    return false;
}

bool knob_set(struct command_env *env, enum knob_id id, struct str typed, const char *separator)
{
    const struct knob *knob = &knob_table[id];
    struct knob_turn turn = {.env = env, .separator = separator, .after = STR_NULL};

    assert(id < KNOB_COUNT);
    assert(!str_is_null(typed) || knob_specs[id].kind == ARG_FLAG);
    struct str text = str_is_null(typed) ? STR("true") : typed;
    enum value_fault fault = value_read(&knob_specs[id], knob->synonyms, text, env->arena,
                                        &turn.value);
    if (fault != VALUE_OK)
        return refuse(env, id, fault, text);
    knob_check_fn *check = knob_check_of(id);
    if (check != NULL && !check(&turn))
        return false;
    keep(env, knob->setting, &turn.value);
    if (knob->said != NULL) {
        struct str value = turn.value.text;
        if (knob_specs[id].kind == ARG_FLAG)
            value = turn.value.flag ? STR("enabled") : STR("disabled");
        names_say(knob->said, value, env->reply);
    }
    if (!str_is_null(turn.after))
        (void)buf_print(env->reply, "\n%.*s", STR_ARG(turn.after));
    return true;
}

bool knob_unset(struct command_env *env, enum knob_id id)
{
    const struct knob *knob = &knob_table[id];
    struct settings none;

    assert(id < KNOB_COUNT);
    if (id == KNOB_default_backend && !knob_check_admin(env))
        return false;
    if (id == KNOB_default_backend)
        *env->new_server_backend = STR("");
    if (knob->setting != SETTING_COUNT) {
        settings_init(&none);
        settings_merge(env->draft, &none, 1u << knob->setting);
        *env->changed |= 1u << knob->setting;
    }
    struct str now = STR("");
    if (id == KNOB_command_prefix)
        now = env->config->command_prefix;
    else if (id == KNOB_interactive)
        now = env->config->disable_interactive_mode ? STR("disabled") : STR("enabled");
    names_say(knob->unsaid, now, env->reply);
    return true;
}

bool knob_is_alone(enum knob_id id, bool off)
{
    if (id == KNOB_loop_detection || id == KNOB_tool_loop_detection)
        return off;
    return id == KNOB_default_backend || id == KNOB_openai_url || id == KNOB_redact_api_keys;
}
