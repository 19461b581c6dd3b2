/* SPDX-License-Identifier: MIT */
/* Changes the session's backend. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_backend, command_arg(&cmd_backend, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "name|value|backend",
     .kind = ARG_TEXT,
     .min = "1",
     .max = "128",
     .help = "The new one.",
     .needed = true},
};

const struct command cmd_backend = {
    .name = "backend",
    .usage = "backend(B)",
    .help = "Change the backend of this session.",
    .examples = "backend(openai)\n"
                "backend(name=openai)",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
