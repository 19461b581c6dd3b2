/* SPDX-License-Identifier: MIT */
/* A banner: who answers, which session, which backends. */
#include "command/command_priv.h"

/* The first functional one in the order of names, behind `after`. */
static const struct backend *next_of(const struct backend_set *set, const struct backend *after)
{
    const struct backend *best = NULL;

    for (size_t i = 0; i < set->n; i++) {
        const struct backend *one = &set->items[i];
        if (one->functional && (after == NULL || command_order(one->name, after->name) > 0) &&
            (best == NULL || command_order(one->name, best->name) < 0))
            best = one;
    }
    return best;
}

/* "gemini (K:2, M:14)"; a number that is not known, or means nothing, is left out. */
static void add_backend(const struct command_env *env, const struct backend *backend,
                        struct buf *out)
{
    size_t keys = backend->config->keys_n;
    size_t models = env->models == NULL ? SIZE_MAX : env->models(env->ctx, backend);

    (void)buf_add(out, backend->name);
    if (keys > 0)
        (void)buf_print(out, " (K:%zu", keys);
    if (models != SIZE_MAX)
        (void)buf_print(out, "%sM:%zu", keys > 0 ? ", " : " (", models);
    if (keys > 0 || models != SIZE_MAX)
        (void)buf_add_char(out, ')');
}

static bool run(struct command_env *env, const struct args *args)
{
    const struct backend *one = next_of(env->backends, NULL);

    assert(args->n == 0);
    (void)buf_print(env->reply, "Hello, this is llm-proxy %s\nSession id: %.*s\n", env->version,
                    STR_ARG(env->session_id));
    (void)buf_add(env->reply, STR("Functional backends: "));
    if (one == NULL)
        (void)buf_add(env->reply, STR("none"));
    for (const char *before = ""; one != NULL; one = next_of(env->backends, one)) {
        (void)buf_add(env->reply, str_c(before));
        add_backend(env, one, env->reply);
        before = ", ";
    }
    (void)buf_print(env->reply, "\nType %.*shelp for list of available commands",
                    STR_ARG(command_prefix(env)));
    return true;
}

const struct command cmd_hello = {
    .name = "hello",
    .usage = "hello",
    .help = "Tell who answers, this session's id and the functional backends.",
    .examples = "hello",
    .run = run,
};
