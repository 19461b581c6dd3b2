/* SPDX-License-Identifier: MIT */
/* Changes the session's model, and its backend where the name has one. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_model, command_arg(&cmd_model, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "name|value|model",
     .kind = ARG_TEXT,
     .min = "1",
     .max = "256",
     .help = "The new one.",
     .needed = true},
};

const struct command cmd_model = {
    .name = "model",
    .usage = "model(M)",
    .help = "Change the model of this session.",
    .examples = "model(gpt-4o)\n"
                "model(openai:gpt-4o)",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
