/* SPDX-License-Identifier: MIT */
/* Changes settings of the session; all of them, or none. */
#include "command/command_priv.h"
#include "command/knob.h"

/* Takes back what was said from begin to mark: nothing of it holds. */
static void unsay(struct buf *reply, size_t begin, size_t mark)
{
    assert(begin <= mark && mark <= reply->n);
    if (begin < mark)
        memmove(reply->p + begin, reply->p + mark, reply->n - mark);
    reply->n -= mark - begin;
}

static bool run(struct command_env *env, const struct args *args)
{
    size_t begin = env->reply->n;

    if (args->n == 0)
        return command_missing(env, &cmd_set, args);
    for (size_t i = 0; i < args->n; i++) {
        const struct arg *arg = &args->items[i];
        size_t at = command_spec_of(&cmd_set, arg);
        assert(at < KNOB_SET_COUNT);
        if (i > 0)
            (void)buf_add_char(env->reply, '\n');
        size_t mark = env->reply->n;
        struct str typed = str_is_null(arg->key) ? STR_NULL : arg->value;
        if (!knob_set(env, (enum knob_id)at, typed, "\n")) {
            unsay(env->reply, begin, mark);
            return false;
        }
    }
    return true;
}

const struct command cmd_set = {
    .name = "set",
    .usage = "set(key=value, …)",
    .help = "Change settings of this session.",
    .examples = "set(model=openai:gpt-4o, temperature=0.2)\n"
                "set(project=\"my project\")",
    .args = knob_specs,
    .args_n = KNOB_SET_COUNT,
    .run = run,
};
