/* SPDX-License-Identifier: MIT */
/* Switches interactive mode. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_interactive, command_arg(&cmd_interactive, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "value|name|enabled|interactive|interactive-mode",
     .kind = ARG_FLAG,
     .min = "",
     .max = "",
     .help = "The new one.",
     .needed = true},
};

const struct command cmd_interactive = {
    .name = "interactive",
    .aliases = "interactive-mode",
    .usage = "interactive(true|false)",
    .help = "Switch interactive mode on or off.",
    .examples = "interactive(true)\n"
                "interactive(off)",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
