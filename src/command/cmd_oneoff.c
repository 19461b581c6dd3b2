/* SPDX-License-Identifier: MIT */
/* Sends the next backend call, and only that, elsewhere. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_oneoff, command_arg(&cmd_oneoff, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "name|value|route|element|model|oneoff|one-off",
     .kind = ARG_TEXT,
     .min = "1",
     .max = "400",
     .help = "Backend and model.",
     .needed = true},
};

const struct command cmd_oneoff = {
    .name = "oneoff",
    .aliases = "one-off",
    .usage = "oneoff(backend:model)",
    .help = "Send the next backend call, and only that, to another model.",
    .examples = "oneoff(openai:gpt-4o)\n"
                "one-off(openai/gpt-4o)",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
