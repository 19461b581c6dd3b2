/* SPDX-License-Identifier: MIT */
/* Changes the folder of the session's project. */
#include "command/command_priv.h"
#include "command/knob.h"

static bool run(struct command_env *env, const struct args *args)
{
    return knob_set(env, KNOB_project_dir, command_arg(&cmd_project_dir, args, 0), "; ");
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "name|value|path|dir|project-dir|project-directory",
     .kind = ARG_TEXT,
     .min = "1",
     .max = "1024",
     .help = "The new one.",
     .needed = true},
};

const struct command cmd_project_dir = {
    .name = "project-dir",
    .aliases = "project-directory",
    .usage = "project-dir(D)",
    .help = "Change the project's folder.",
    .examples = "project-dir(/srv/work)\n"
                "project-dir(\"/srv/my work\")",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
