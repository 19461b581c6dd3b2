/* SPDX-License-Identifier: MIT */
/*
 * What      Completion for bash, zsh and fish.
 * How       A frame for each shell, filled from the command line's own table.
 * Owns      Nothing.
 */
#include "cli/completion.h"

#include "base/buf.h"
#include "state/config.h"

enum { SCRIPT_BYTES_MAX = 64 * 1024 };

/* What can stand for a value, by how --help calls it. */
static const struct {
    const char *value;
    const char *words; /* NULL: a file */
} values[] = {
    {"FILE", NULL},
    {"LEVEL", "debug info warning error"},
    {"TOPIC", "bash commands config errors example fish man metrics zsh"},
};

enum value_kind { VALUE_NONE, VALUE_ANY, VALUE_FILE, VALUE_WORDS };

static enum value_kind kind_of(const struct config_flag *flag, const char **ret_words)
{
    if (flag->value == NULL)
        return VALUE_NONE;
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        if (strcmp(flag->value, values[i].value) == 0) {
            *ret_words = values[i].words;
            return values[i].words == NULL ? VALUE_FILE : VALUE_WORDS;
        }
    }
    return VALUE_ANY;
}

/* Within single quotes of a shell. */
static void add_quoted(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            (void)buf_add(out, STR("'\\''"));
        else
            (void)buf_add_char(out, *text);
    }
}

/* --- bash --------------------------------------------------------------------------------- */

static void add_bash(struct buf *out)
{
    struct config_flag flag;
    const char *words = NULL;

    (void)buf_add(out, STR("# Completion of llm-proxy for bash.\n"
                           "_llm_proxy()\n"
                           "{\n"
                           "    local word=${COMP_WORDS[COMP_CWORD]}\n"
                           "    local before=${COMP_WORDS[COMP_CWORD-1]}\n"
                           "\n"
                           "    COMPREPLY=()\n"
                           "    case $before in\n"));
    for (size_t i = 0; config_args_flag(i, &flag); i++) {
        switch (kind_of(&flag, &words)) {
        case VALUE_NONE:
            break;
        case VALUE_ANY:
            (void)buf_print(out, "    %s) return ;;\n", flag.name);
            break;
        case VALUE_FILE:
            (void)buf_print(out,
                            "    %s)\n"
                            "        compopt -o filenames 2>/dev/null\n"
                            "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
                            "        return ;;\n",
                            flag.name);
            break;
        case VALUE_WORDS:
            (void)buf_print(out,
                            "    %s)\n"
                            "        mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$word\")\n"
                            "        return ;;\n",
                            flag.name, words);
            break;
        }
    }
    (void)buf_add(out, STR("    esac\n    local all='"));
    for (size_t i = 0; config_args_flag(i, &flag); i++)
        (void)buf_print(out, "%s%s", i == 0 ? "" : " ", flag.name);
    (void)buf_add(out,
                  STR("'\n"
                      "    [ \"$COMP_CWORD\" -eq 1 ] && all=\"$all debug-stream lint-stream\"\n"
                      "    mapfile -t COMPREPLY < <(compgen -W \"$all\" -- \"$word\")\n"
                      "}\n"
                      "complete -F _llm_proxy llm-proxy\n"));
}

/* --- zsh ---------------------------------------------------------------------------------- */

/* Within _arguments' specifications brackets and colons mean something. */
static void add_zsh_help(struct buf *out, const char *text)
{
    char one[2] = "";

    for (; *text != '\0'; text++) {
        if (strchr("[]:\\", *text) != NULL)
            (void)buf_add_char(out, '\\');
        one[0] = *text;
        add_quoted(out, one);
    }
}

static void add_zsh(struct buf *out)
{
    struct config_flag flag;
    const char *words = NULL;

    (void)buf_add(out, STR("#compdef llm-proxy\n_arguments -s \\\n"));
    for (size_t i = 0; config_args_flag(i, &flag); i++) {
        enum value_kind kind = kind_of(&flag, &words);
        (void)buf_print(out, "    '%s%s[", flag.name, kind == VALUE_NONE ? "" : "=");
        add_zsh_help(out, flag.help);
        (void)buf_add(out, STR("]"));
        if (kind != VALUE_NONE)
            (void)buf_print(out, ":%s:", flag.value);
        if (kind == VALUE_FILE)
            (void)buf_add(out, STR("_files"));
        if (kind == VALUE_WORDS)
            (void)buf_print(out, "(%s)", words);
        (void)buf_add(out, STR("' \\\n"));
    }
    (void)buf_add(out, STR("    '1::command:(debug-stream lint-stream)'\n"));
}

/* --- fish --------------------------------------------------------------------------------- */

static void add_fish(struct buf *out)
{
    struct config_flag flag;
    const char *words = NULL;

    (void)buf_add(out, STR("# Completion of llm-proxy for fish.\n"
                           "complete -c llm-proxy -f\n"
                           "complete -c llm-proxy -n __fish_use_subcommand -a 'debug-stream "
                           "lint-stream'\n"));
    for (size_t i = 0; config_args_flag(i, &flag); i++) {
        (void)buf_print(out, "complete -c llm-proxy -l %s -d '", flag.name + strlen("--"));
        add_quoted(out, flag.help);
        (void)buf_add_char(out, '\'');
        switch (kind_of(&flag, &words)) {
        case VALUE_NONE:
            break;
        case VALUE_ANY:
            (void)buf_add(out, STR(" -x"));
            break;
        case VALUE_FILE:
            (void)buf_add(out, STR(" -rF"));
            break;
        case VALUE_WORDS:
            (void)buf_print(out, " -xa '%s'", words);
            break;
        }
        (void)buf_add_char(out, '\n');
    }
}

struct str completion_script(struct str shell, struct arena *arena)
{
    static const struct {
        const char *shell;
        void (*add)(struct buf *out);
    } scripts[] = {{"bash", add_bash}, {"zsh", add_zsh}, {"fish", add_fish}};

    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct buf out;
        if (!str_eq(shell, str_c(scripts[i].shell)))
            continue;
        buf_init(&out, SCRIPT_BYTES_MAX);
        scripts[i].add(&out);
        assert(buf_ok(&out));
        struct str text = str_copy(arena, buf_str(&out));
        buf_fini(&out);
        return text;
    }
    return STR_NULL;
}
