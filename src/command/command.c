/* SPDX-License-Identifier: MIT */
/*
 * What      The table of commands, their names, and the running of one.
 * How       Arguments read -> each held against the command's specifications (known key, not
 *           twice, nothing needed missing) -> run. One that fails leaves the draft as it was.
 * Owns      Nothing.
 * Not here  The grammar (args.c), where commands stand (spot.c), what each does (cmd_*.c).
 */
#include "command/command.h"

#include "command/command_priv.h"
#include "command/knob.h"
#include "command/names.h"
#include "command/value.h"

const struct command *const command_table[] = {
#define COMMAND(variable) &(variable),
#include "command/commands.def"
#undef COMMAND
};
const size_t command_count = COUNT_OF(command_table);

/* --- names --- */

const struct command *command_find(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(command_table); i++) {
        const struct command *command = command_table[i];
        if (names_eq(str_c(command->name), name) || names_has(command->aliases, name))
            return command;
    }
    return NULL;
}

struct str command_nearest(struct str name)
{
    struct names_near near;

    names_near_init(&near, name);
    for (size_t i = 0; i < COUNT_OF(command_table); i++) {
        struct str own = str_c(command_table[i]->name);
        names_near_try(&near, own, own);
        names_near_try_list(&near, command_table[i]->aliases, own);
    }
    return near.best;
}

static bool spec_is(const struct arg_spec *spec, struct str key)
{
    return names_eq(str_c(spec->key), key) || names_has(spec->aliases, key);
}

void command_unknown(struct str name, struct buf *reply)
{
    struct str nearest = command_nearest(name);

    (void)buf_add(reply, STR("Unknown command: "));
    names_show(name, reply);
    for (size_t i = 0; i < KNOB_SET_COUNT; i++) {
        if (spec_is(&knob_specs[i], name)) {
            (void)buf_print(reply, "; did you mean set(%s=…)?", knob_specs[i].key);
            return;
        }
    }
    if (!str_is_null(nearest))
        (void)buf_print(reply, "; did you mean %.*s?", STR_ARG(nearest));
}

int command_order(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n == 0 ? 0 : memcmp(a.p, b.p, n);

    return order != 0 || a.n == b.n ? order : (a.n < b.n ? -1 : 1);
}

/* --- in force --- */

struct str command_prefix(const struct command_env *env)
{
    return str_is_null(env->draft->command_prefix) ? env->config->command_prefix
                                                   : env->draft->command_prefix;
}

bool command_interactive(const struct command_env *env)
{
    return env->draft->interactive < 0 ? !env->config->disable_interactive_mode
                                       : env->draft->interactive != 0;
}

struct backend *command_backend(const struct command_env *env)
{
    struct backend *own = NULL;

    if (!str_is_null(env->draft->backend))
        own = backend_find(env->backends, env->draft->backend);
    return own != NULL ? own : env->preferred;
}

bool command_prefix_ok(struct str prefix, const char **ret_why)
{
    const char *why = NULL;
    bool blank = false;
    bool odd = false;

    for (size_t i = 0; i < prefix.n; i++) {
        blank |= prefix.p[i] == ' ' || (prefix.p[i] >= '\t' && prefix.p[i] <= '\r');
        odd |= prefix.p[i] < ' ' || prefix.p[i] > '~';
    }
    if (prefix.n == 0)
        why = "command prefix must be a non-empty string";
    else if (blank)
        why = "command prefix cannot contain whitespace";
    else if (prefix.n < 2)
        why = "command prefix must be at least 2 characters";
    else if (prefix.n > 10)
        why = "command prefix must not exceed 10 characters";
    else if (odd)
        why = "command prefix must contain only printable characters";
    else if (prefix.n == 2 && prefix.p[0] == prefix.p[1])
        why = "two character prefixes cannot repeat the same character";
    if (why != NULL)
        *ret_why = why;
    return why == NULL;
}

/* --- arguments --- */

size_t command_spec_of(const struct command *command, const struct arg *arg)
{
    for (size_t i = 0; i < command->args_n; i++) {
        const struct arg_spec *spec = &command->args[i];
        if (!str_is_null(arg->key)) {
            if (arg->key.n > 0 && spec_is(spec, arg->key))
                return i;
            continue;
        }
        bool by_key = spec->kind == ARG_FLAG || spec->kind == ARG_KEY;
        if (spec->key[0] == '\0' || (by_key && spec_is(spec, arg->value)))
            return i;
    }
    return SIZE_MAX;
}

struct str command_arg(const struct command *command, const struct args *args, size_t spec)
{
    assert(spec < command->args_n);
    for (size_t i = 0; i < args->n; i++) {
        if (command_spec_of(command, &args->items[i]) == spec)
            return args->items[i].value;
    }
    return STR_NULL;
}

bool command_missing(struct command_env *env, const struct command *command,
                     const struct args *args)
{
    struct str example = str_c(command->examples);
    struct str first;

    (void)str_cut(&example, '\n', &first);
    (void)buf_print(env->reply, "Invalid arguments: %s needs arguments, as in %.*s%.*s",
                    command->name, STR_ARG(command_prefix(env)), STR_ARG(first));
    if (!args->given)
        (void)buf_print(env->reply, "; '(' stands directly behind %s, without a blank",
                        command->name);
    return false;
}

/* A key that the command does not have, or one that stands there without its value. */
static bool refuse_arg(struct command_env *env, const struct command *command,
                       const struct arg *arg)
{
    struct str typed = str_is_null(arg->key) ? arg->value : arg->written;
    struct names_near near;

    if (command->args_n == 0) {
        (void)buf_print(env->reply, "Invalid arguments: %s takes none", command->name);
        return false;
    }
    names_near_init(&near, typed);
    for (size_t i = 0; i < command->args_n; i++) {
        const struct arg_spec *spec = &command->args[i];
        struct str own = str_c(spec->key);
        if (str_is_null(arg->key) && spec_is(spec, typed)) {
            (void)buf_print(env->reply, "Invalid arguments: %s has no value; write %s=…", spec->key,
                            spec->key);
            return false;
        }
        names_near_try(&near, own, own);
        names_near_try_list(&near, spec->aliases, own);
    }
    (void)buf_add(env->reply, STR("Unknown parameter: "));
    names_show(typed, env->reply);
    if (near.best.n > 0)
        (void)buf_print(env->reply, "; did you mean %.*s?", STR_ARG(near.best));
    return false;
}

/* A key is given once; what is needed is there; each argument fits a specification. */
static bool check_args(struct command_env *env, const struct command *command,
                       const struct args *args)
{
    uint64_t seen = 0;

    assert(command->args_n <= 64);
    for (size_t i = 0; i < args->n; i++) {
        const struct arg *arg = &args->items[i];
        size_t at = command_spec_of(command, arg);
        if (at == SIZE_MAX)
            return refuse_arg(env, command, arg);
        const struct arg_spec *spec = &command->args[at];
        const char *key = spec->key[0] == '\0' ? command->name : spec->key;
        if (spec->kind == ARG_KEY && !str_is_null(arg->key)) {
            (void)buf_print(env->reply, "Invalid arguments: %s takes no value here", key);
            return false;
        }
        if ((seen >> at & 1) != 0) {
            (void)buf_print(env->reply,
                            spec->key[0] == '\0' ? "Invalid arguments: %s takes one value"
                                                 : "Invalid arguments: %s is there twice",
                            key);
            return false;
        }
        seen |= (uint64_t)1 << at;
    }
    for (size_t i = 0; i < command->args_n; i++) {
        if (command->args[i].needed && (seen >> i & 1) == 0)
            return command_missing(env, command, args);
    }
    return true;
}

bool command_is_alone(const struct command *command, const struct args *args)
{
    bool sets = command->args == knob_specs;

    if (!sets && command->args != knob_keys)
        return false;
    for (size_t i = 0; i < args->n; i++) {
        const struct arg *arg = &args->items[i];
        size_t at = command_spec_of(command, arg);
        if (at == SIZE_MAX)
            continue;
        bool off = !sets;
        if (sets && !str_is_null(arg->key) && command->args[at].kind == ARG_FLAG)
            off = value_is_false(arg->value);
        if (knob_is_alone((enum knob_id)at, off))
            return true;
    }
    return false;
}

/* --- running --- */

static bool too_large(struct command_env *env)
{
    (void)buf_add(env->reply, STR("Invalid arguments: they are too large"));
    return false;
}

static bool run(struct command_env *env, const struct command *command, struct str text)
{
    struct args args = {.items = NULL};
    struct error e = {.code = OK};

    if (!str_is_null(text) && args_read(text, env->arena, &args, &e) != OK) {
        (void)buf_add(env->reply, str_c(e.detail));
        return false;
    }
    if (arena_overflowed(env->arena))
        return too_large(env);
    args.given = !str_is_null(text);
    return check_args(env, command, &args) && command->run(env, &args);
}

bool command_run(struct command_env *env, const struct command *command, struct str text)
{
    struct settings before = *env->draft;
    struct str server_backend = *env->new_server_backend;
    uint32_t changed = *env->changed;
    size_t begin = env->reply->n;

    bool done = run(env, command, text);
    if (done && arena_overflowed(env->arena)) {
        env->reply->n = begin;
        done = too_large(env);
    }
    if (!done) {
        *env->draft = before;
        *env->new_server_backend = server_backend;
        *env->changed = changed;
    }
    assert(env->reply->n > begin || !buf_ok(env->reply));
    return done;
}
