/* SPDX-License-Identifier: MIT */
/* Takes settings of the session back. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    if (args->n == 0)
        return command_missing(env, &cmd_unset, args);
    for (size_t i = 0; i < args->n; i++) {
        size_t at = command_spec_of(&cmd_unset, &args->items[i]);
        assert(at < KNOB_COUNT);
        if (i > 0)
            (void)buf_add_char(env->reply, '\n');
        if (!knob_unset(env, (enum knob_id)at))
            return false;
    }
    return true;
}

const struct command cmd_unset = {
    .name = "unset",
    .usage = "unset(key, …)",
    .help = "Take settings of this session back.",
    .examples = "unset(model)\n"
                "unset(backend, temperature)",
    .args = knob_keys,
    .args_n = KNOB_COUNT,
    .run = run,
};
