/* SPDX-License-Identifier: MIT */
/* Lists the commands, or tells one. */
#include "command/command_priv.h"
#include "command/value.h"

static void add_examples(const struct command *command, struct str prefix, struct buf *out)
{
    struct str rest = str_c(command->examples);
    struct str one;
    const char *before = "";

    while (str_cut(&rest, '\n', &one)) {
        (void)buf_print(out, "%s%.*s%.*s", before, STR_ARG(prefix), STR_ARG(one));
        before = ", ";
    }
}

static void add_key(const struct arg_spec *spec, struct buf *out)
{
    (void)buf_print(out, "\n- %s", spec->key);
    if (spec->kind != ARG_KEY) {
        (void)buf_add(out, STR(" ("));
        value_range(spec, out);
        (void)buf_add_char(out, ')');
    }
    (void)buf_print(out, " - %s", spec->help);
}

static void tell(const struct command *command, struct str prefix, struct buf *out)
{
    (void)buf_print(out, "%s - %s\nFormat: %.*s%s\nExamples: ", command->name, command->help,
                    STR_ARG(prefix), command->usage);
    add_examples(command, prefix, out);
    for (size_t i = 0; i < command->args_n; i++) {
        const struct arg_spec *spec = &command->args[i];
        if (spec->key[0] != '\0') {
            add_key(spec, out);
        } else if (spec->kind != ARG_TEXT) {
            (void)buf_add(out, STR("\nValue: "));
            value_range(spec, out);
        }
    }
}

/* The first of the table in the order of names, behind `after`. */
static const struct command *next_of(const struct command *after)
{
    const struct command *best = NULL;

    for (size_t i = 0; i < command_count; i++) {
        const struct command *one = command_table[i];
        if ((after == NULL || strcmp(one->name, after->name) > 0) &&
            (best == NULL || strcmp(one->name, best->name) < 0))
            best = one;
    }
    return best;
}

static bool run(struct command_env *env, const struct args *args)
{
    struct str name = command_arg(&cmd_help, args, 0);
    struct str prefix = command_prefix(env);

    if (!str_is_null(name)) {
        /* As it would be typed in a chat, too. */
        const struct command *command = command_find(
            str_starts(name, prefix) ? str_from(name, prefix.n) : name);
        if (command != NULL)
            tell(command, prefix, env->reply);
        else
            command_unknown(name, env->reply);
        return command != NULL;
    }
    (void)buf_add(env->reply, STR("Available commands:"));
    for (const struct command *one = next_of(NULL); one != NULL; one = next_of(one))
        (void)buf_print(env->reply, "\n- %s - %s", one->name, one->help);
    return true;
}

static const struct arg_spec specs[] = {
    {.key = "",
     .aliases = "name|command",
     .kind = ARG_TEXT,
     .min = "1",
     .max = "64",
     .help = "A command's name."},
};

const struct command cmd_help = {
    .name = "help",
    .usage = "help, help(NAME)",
    .help = "List the commands, or tell how one is used.",
    .examples = "help\n"
                "help(set)",
    .args = specs,
    .args_n = COUNT_OF(specs),
    .run = run,
};
