/* SPDX-License-Identifier: MIT */
/* Changes the session's temperature. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_temperature, command_arg(&cmd_temperature, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "value|name|temperature",
     .kind = ARG_NUMBER,
     .min = "0",
     .max = "2",
     .help = "The new one.",
     .needed = true},
};

const struct command cmd_temperature = {
    .name = "temperature",
    .usage = "temperature(T)",
    .help = "Change the temperature of this session.",
    .examples = "temperature(0.7)\n"
                "temperature(value=0.7)",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
