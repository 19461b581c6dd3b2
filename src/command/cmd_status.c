/* SPDX-License-Identifier: MIT */
/*
 * What      Tells what is in force for this session, and where each value comes from.
 * How       One line a knob: what the session has set; else what model_defaults say for the
 *           session's model; else what stands in its place: the server's, the configuration's, or
 *           the request's own.
 * Owns      Nothing. No key is looked at.
 * Not here  What a single request asks for: it is not known here.
 */
#include "command/command_priv.h"
#include "command/knob.h"
#include "state/model_defaults.h"

static void add_line(struct buf *out, enum knob_id id, struct str value, struct str origin)
{
    (void)buf_print(out, "\n%s: %.*s", knob_specs[id].key, STR_ARG(value));
    if (origin.n > 0)
        (void)buf_print(out, " (%.*s)", STR_ARG(origin));
}

static struct str on_off(bool on)
{
    return on ? STR("true") : STR("false");
}

/* default-backend: a command's, the configuration's, or the first that works. */
static void add_default_backend(const struct command_env *env)
{
    const struct backend *now = env->preferred;
    struct str origin = STR("the first functional one");

    if (env->server_backend.n > 0)
        origin = STR("set for all clients");
    else if (env->config->default_backend.n > 0)
        origin = config_origin(env->config, "default_backend");
    if (now == NULL)
        add_line(env->reply, KNOB_default_backend, STR("none"), STR_NULL);
    else
        add_line(env->reply, KNOB_default_backend, now->name, origin);
}

/* What holds while the session has not set it. False: there is nothing to tell. */
static bool unset_of(const struct command_env *env, enum knob_id id, struct str *ret_value,
                     struct str *ret_origin)
{
    const struct config *config = env->config;

    *ret_origin = STR_NULL;
    if (id == KNOB_backend) {
        *ret_value = env->preferred == NULL ? STR("none") : env->preferred->name;
        *ret_origin = STR("default-backend");
    } else if (id == KNOB_model || id == KNOB_temperature || id == KNOB_reasoning_effort ||
               id == KNOB_thinking_budget) {
        *ret_value = STR("as each request says");
    } else if (id == KNOB_project || id == KNOB_project_dir) {
        *ret_value = STR("not set");
    } else if (id == KNOB_interactive) {
        *ret_value = on_off(!config->disable_interactive_mode);
        *ret_origin = config_origin(config, "disable_interactive_mode");
    } else if (id == KNOB_command_prefix) {
        *ret_value = config->command_prefix;
        *ret_origin = config_origin(config, "command_prefix");
    } else {
        return false;
    }
    return true;
}

/* What model_defaults say for the session's own model; null: nothing, or the model is each
 * request's. */
static struct str model_default(const struct command_env *env, enum knob_id id)
{
    const struct backend *backend = command_backend(env);
    struct steer steer = {.temperature = STR_NULL};

    if (backend == NULL || str_is_null(env->draft->model))
        return STR_NULL;
    model_defaults_for(env->config, backend->name, env->draft->model, &steer);
    if (id == KNOB_temperature)
        return steer.temperature;
    if (id == KNOB_reasoning_effort)
        return steer.reasoning_effort;
    if (id == KNOB_thinking_budget)
        return steer.reasoning_budget;
    return id == KNOB_gemini_generation_config ? steer.generation_config : STR_NULL;
}

/* A session outlives a reload of the configuration: what it has set may not work any more. */
static struct str set_origin(const struct command_env *env, enum knob_id id)
{
    if (id != KNOB_backend)
        return STR("session");
    const struct backend *backend = backend_find(env->backends, env->draft->backend);
    if (backend == NULL)
        return STR("session; not configured any more");
    return backend->functional ? STR("session") : STR("session; not functional any more");
}

static bool run(struct command_env *env, const struct args *args)
{
    assert(args->n == 0);
    (void)buf_print(env->reply, "session: %.*s", STR_ARG(env->session_id));
    for (size_t i = 0; i < KNOB_COUNT; i++) {
        enum knob_id id = (enum knob_id)i;
        enum setting setting = knob_table[i].setting;
        struct str value = STR_NULL;
        struct str origin = STR_NULL;
        if (id == KNOB_default_backend) {
            add_default_backend(env);
        } else if (settings_is_set(env->draft, setting)) {
            value = settings_value(env->draft, setting, env->arena);
            add_line(env->reply, id, value, set_origin(env, id));
        } else if (!str_is_null(value = model_default(env, id))) {
            add_line(env->reply, id, value, STR("model_defaults"));
        } else if (unset_of(env, id, &value, &origin)) {
            add_line(env->reply, id, value, origin);
        }
    }
    return true;
}

const struct command cmd_status = {
    .name = "status",
    .usage = "status",
    .help = "Tell what is in force for this session, and where each value comes from.",
    .examples = "status",
    .run = run,
};
