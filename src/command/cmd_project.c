/* SPDX-License-Identifier: MIT */
/* Changes the session's project. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_project, command_arg(&cmd_project, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "name|value|project|project-name",
     .kind = ARG_TEXT,
     .min = "1",
     .max = "256",
     .help = "The new one.",
     .needed = true},
};

const struct command cmd_project = {
    .name = "project",
    .usage = "project(P)",
    .help = "Change the project of this session.",
    .examples = "project(my-project)\n"
                "project(\"my project\")",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
