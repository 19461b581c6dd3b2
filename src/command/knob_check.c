/* SPDX-License-Identifier: MIT */
/*
 * What      Values against what they set: backends that exist and work, models and where they
 *           lead, folders, URLs, prefixes.
 * How       One function a knob; it may change the value that is kept, and other settings of the
 *           draft that go with it.
 * Owns      Nothing.
 * Not here  Kinds and ranges (value.c); which models a name means (backend/backend_resolve.c).
 */
#include "command/knob_check.h"

#include "command/command_priv.h"
#include "command/names.h"
#include "state/model_alias.h"

/* A backend of that name that works. False: reply says why there is none. */
static bool find_backend(struct command_env *env, struct str name)
{
    const struct backend *backend = backend_find(env->backends, name);

    if (backend != NULL && backend->functional)
        return true;
    (void)buf_add(env->reply, STR("Backend "));
    names_show(name, env->reply);
    if (backend == NULL) {
        (void)buf_add(env->reply, STR(" not supported"));
        backend_resolve_known(env->backends, name, env->reply);
        return false;
    }
    struct str why = backend_why(backend, env->arena);
    (void)buf_print(env->reply, " not functional: %.*s", STR_ARG(why));
    return false;
}

static bool check_backend(struct knob_turn *turn)
{
    return find_backend(turn->env, turn->value.text);
}

bool knob_check_admin(struct command_env *env)
{
    if (!env->is_admin)
        (void)buf_add(env->reply,
                      STR("default-backend is for administrators: this key is not one's"));
    return env->is_admin;
}

static bool check_default_backend(struct knob_turn *turn)
{
    struct command_env *env = turn->env;

    if (!knob_check_admin(env) || !find_backend(env, turn->value.text))
        return false;
    *env->new_server_backend = turn->value.text;
    return true;
}

/* Which backend and model a name means. False: reply says why it means none. */
static bool resolve(struct command_env *env, struct str name, struct backend_choice *ret_choice)
{
    struct error e = {.code = OK};

    if (backend_resolve_for(env->backends, command_backend(env), name, ret_choice, &e) == OK)
        return true;
    struct str why = error_message(&e, env->arena);
    (void)buf_add(env->reply, why);
    return false;
}

static struct str warn_of(struct command_env *env, const struct backend *backend, struct str model)
{
    if (env->model == NULL || !command_interactive(env) ||
        env->model(env->ctx, backend, model) != COMMAND_MODEL_NOT_LISTED)
        return STR_NULL;
    return str_print(env->arena, "Model %.*s is not in %.*s's list; it is used all the same",
                     STR_ARG(model), STR_ARG(backend->name));
}

/* What an alias stands for now is what is set, and said. */
static bool check_model(struct knob_turn *turn)
{
    struct command_env *env = turn->env;
    struct backend_choice choice;

    struct str name = model_alias(env->config, turn->value.text, env->arena);
    if (name.n == 0) {
        (void)buf_add(env->reply, str_c(knob_table[KNOB_model].range));
        return false;
    }
    if (!resolve(env, name, &choice))
        return false;
    assert(choice.model.n > 0);
    turn->value.text = str_copy(env->arena, choice.model);
    if (choice.prefixed) {
        env->draft->backend = str_copy(env->arena, choice.backend->name);
        *env->changed |= SETTING_BIT(backend);
        names_say(knob_table[KNOB_backend].said, choice.backend->name, env->reply);
        (void)buf_add(env->reply, str_c(turn->separator));
    }
    turn->after = warn_of(env, choice.backend, choice.model);
    return true;
}

static bool check_oneoff(struct knob_turn *turn)
{
    struct command_env *env = turn->env;
    struct str typed = model_alias(env->config, turn->value.text, env->arena);
    struct backend_choice choice;

    char last = typed.n == 0 ? '/' : typed.p[typed.n - 1];
    char first = typed.n == 0 ? '/' : typed.p[0];
    if (first == ':' || first == '/' || last == ':' || last == '/') {
        (void)buf_add(env->reply, str_c(knob_table[KNOB_oneoff].range));
        return false;
    }
    if (str_find_char(typed, ':', 0) == SIZE_MAX && str_find_char(typed, '/', 0) == SIZE_MAX) {
        (void)buf_add(env->reply, STR("Invalid format. Use backend/model or backend:model."));
        return false;
    }
    if (!resolve(env, typed, &choice))
        return false;
    assert(choice.model.n > 0);
    turn->value.text = str_print(env->arena, "%.*s:%.*s", STR_ARG(choice.backend->name),
                                 STR_ARG(choice.model));
    (void)buf_print(env->reply, "One-off route set to %.*s/%.*s.", STR_ARG(choice.backend->name),
                    STR_ARG(choice.model));
    turn->after = warn_of(env, choice.backend, choice.model);
    return true;
}

static bool check_project_dir(struct knob_turn *turn)
{
    struct command_env *env = turn->env;
    struct str why = STR("not found");

    if (env->is_directory(env->ctx, turn->value.text, &why))
        return true;
    (void)buf_print(env->reply, "Directory '%.*s' %.*s.", STR_ARG(turn->value.text), STR_ARG(why));
    return false;
}

static bool check_openai_url(struct knob_turn *turn)
{
    struct command_env *env = turn->env;
    struct str text = turn->value.text;
    struct str why = STR_NULL;
    struct url url;
    struct error e;

    if (!str_starts_nocase(text, STR("http://")) && !str_starts_nocase(text, STR("https://"))) {
        (void)buf_add(env->reply, STR("OpenAI URL must start with http:// or https://"));
        return false;
    }
    if (url_parse(text, env->arena, &url, &e) != OK) {
        (void)buf_print(env->reply, "Invalid OpenAI URL: it must not be %s", e.detail);
        return false;
    }
    if (env->url(env->ctx, text, env->arena, &why))
        return true;
    (void)buf_print(env->reply, "OpenAI URL not allowed: %.*s", STR_ARG(why));
    return false;
}

bool knob_check_prefix(struct command_env *env, struct str prefix)
{
    const char *why = NULL;

    if (command_prefix_ok(prefix, &why))
        return true;
    (void)buf_print(env->reply, "Invalid command prefix: %s", why);
    return false;
}

static bool check_command_prefix(struct knob_turn *turn)
{
    return knob_check_prefix(turn->env, turn->value.text);
}

static knob_check_fn *const checks[KNOB_COUNT] = {
    [KNOB_backend] = check_backend,       [KNOB_default_backend] = check_default_backend,
    [KNOB_model] = check_model,           [KNOB_project_dir] = check_project_dir,
    [KNOB_openai_url] = check_openai_url, [KNOB_command_prefix] = check_command_prefix,
    [KNOB_oneoff] = check_oneoff,
};

knob_check_fn *knob_check_of(enum knob_id knob)
{
    assert(knob < KNOB_COUNT);
    return checks[knob];
}
