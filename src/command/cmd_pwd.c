/* SPDX-License-Identifier: MIT */
/* Tells the project's folder. */
#include "command/command_priv.h"

static bool run(struct command_env *env, const struct args *args)
{
    struct str folder = env->draft->project_dir;

    assert(args->n == 0);
    (void)buf_add(env->reply, str_is_null(folder) ? STR("Project directory not set") : folder);
    return true;
}

const struct command cmd_pwd = {
    .name = "pwd",
    .usage = "pwd",
    .help = "Tell the folder of the project.",
    .examples = "pwd",
    .run = run,
};
