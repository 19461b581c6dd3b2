/* SPDX-License-Identifier: MIT */
/*
 * What      The command line: --option value, --option=value.
 * How       Read first (it names the config file and what is to be done), applied last (it wins).
 * Owns      Nothing; values are argv's.
 * Not here  What the options mean (config_table.c), doing what was asked (main).
 */
#include "state/config_priv.h"

enum arg_kind {
    ARG_OPTION,   /* a value for path */
    ARG_SWITCH,   /* true for path */
    ARG_UNSWITCH, /* false for path */
    ARG_KEYS,
    ARG_CONFIG,
    ARG_DEMO,
    ARG_MANUAL,
    ARG_ACTION,
};

static const struct arg_row {
    const char *name;
    const char *value; /* as --help calls it; NULL: takes none */
    enum arg_kind kind;
    const char *path;
    enum config_action action;
    const char *help;
} rows[] = {
    {"--config", "FILE", ARG_CONFIG, NULL, CONFIG_SERVE,
     "Configuration; else ./config.yaml when it is there."},
    {"--host", "ADDRESS", ARG_OPTION, "host", CONFIG_SERVE, "Address to listen on."},
    {"--port", "PORT", ARG_OPTION, "port", CONFIG_SERVE, "Port to listen on."},
    {"--workers", "N", ARG_OPTION, "workers", CONFIG_SERVE, "Worker threads; 0: by processors."},
    {"--default-backend", "NAME", ARG_OPTION, "default_backend", CONFIG_SERVE,
     "Backend of model names without a prefix."},
    {"--api-keys", "K1,K2", ARG_KEYS, NULL, CONFIG_SERVE,
     "Keys of clients (better in the environment: others see a command line)."},
    {"--disable-auth", NULL, ARG_SWITCH, "disable_auth", CONFIG_SERVE,
     "Serve without client keys, on loopback only."},
    {"--timeout", "SECONDS", ARG_OPTION, "proxy_timeout", CONFIG_SERVE,
     "How long a backend may be silent."},
    {"--demo", NULL, ARG_DEMO, NULL, CONFIG_SERVE, "Add the built-in demo backend."},
    {"--log-level", "LEVEL", ARG_OPTION, "logging.level", CONFIG_SERVE,
     "debug, info, warning or error."},
    {"--log", "FILE", ARG_OPTION, "logging.file", CONFIG_SERVE, "File of the log."},
    {"--command-prefix", "PREFIX", ARG_OPTION, "command_prefix", CONFIG_SERVE,
     "What commands begin with."},
    {"--disable-interactive-mode", NULL, ARG_SWITCH, "disable_interactive_mode", CONFIG_SERVE,
     "Interactive mode is off at first."},
    {"--disable-interactive-commands", NULL, ARG_SWITCH, "disable_interactive_commands",
     CONFIG_SERVE, "Look for no commands."},
    {"--disable-redact-api-keys-in-prompts", NULL, ARG_UNSWITCH, "redact_api_keys_in_prompts",
     CONFIG_SERVE, "Let keys in prompts pass."},
    {"--force-set-project", NULL, ARG_SWITCH, "force_set_project", CONFIG_SERVE,
     "Refuse requests of sessions without a project."},
    {"--check-config", NULL, ARG_ACTION, NULL, CONFIG_CHECK,
     "Check the configuration, name every fault, and end."},
    {"--print-config", NULL, ARG_ACTION, NULL, CONFIG_PRINT,
     "Print every option with its value and from where it is, and end."},
    {"--manual", "TOPIC", ARG_MANUAL, NULL, CONFIG_MANUAL,
     "Print a page of the manual (config, commands, metrics, errors, example, man; bash, zsh, "
     "fish: completion), and end."},
    {"--version", NULL, ARG_ACTION, NULL, CONFIG_VERSION, "Print the version, and end."},
    {"--help", NULL, ARG_ACTION, NULL, CONFIG_HELP, "Print this, and end."},
};

static const struct str command_line = {.p = "command line", .n = sizeof("command line") - 1};

static size_t find_row(struct str name)
{
    if (str_eq(name, STR("-h")))
        name = STR("--help");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (str_eq(str_c(rows[i].name), name))
            return i;
    }
    return SIZE_MAX;
}

static const char *nearest(struct str name)
{
    size_t best = 0;

    for (size_t i = 1; i < COUNT_OF(rows); i++) {
        if (str_distance(name, str_c(rows[i].name), 64) <
            str_distance(name, str_c(rows[best].name), 64))
            best = i;
    }
    return rows[best].name;
}

static void take(struct config_reader *r, struct config_args *args, size_t row, struct str value)
{
    assert(row < COUNT_OF(rows));
    assert(rows[row].value == NULL || !str_is_null(value));
    switch (rows[row].kind) {
    case ARG_CONFIG:
        args->file = value;
        return;
    case ARG_DEMO:
        args->demo = true;
        return;
    case ARG_MANUAL:
        args->manual_topic = value;
        args->action = CONFIG_MANUAL > args->action ? CONFIG_MANUAL : args->action;
        return;
    case ARG_ACTION:
        /* Of several the last in the enum's order is meant most: --help above all. */
        args->action = rows[row].action > args->action ? rows[row].action : args->action;
        return;
    case ARG_OPTION:
    case ARG_SWITCH:
    case ARG_UNSWITCH:
    case ARG_KEYS:
        if (args->n == CONFIG_ARGS_MAX)
            config_fault(r, command_line, "more than %d options", CONFIG_ARGS_MAX);
        else
            args->items[args->n++] = (struct config_args_item){row, value};
        return;
    }
}

/* Words of an argument may be keys: only its name is shown, and that cut. */
static void take_argument(struct config_reader *r, struct config_args *args, int *at)
{
    struct str argument = str_c(r->source->argv[*at]);
    size_t equals = str_find_char(argument, '=', 0);
    struct str name = str_head(argument, equals);
    size_t row = find_row(name);

    assert(*at > 0 && *at < r->source->argc);
    if (argument.n == 0 || argument.p[0] != '-') {
        config_fault(r, command_line, "%.*s: not an option; see --help",
                     STR_ARG(str_head(argument, 40)));
        return;
    }
    if (row == SIZE_MAX) {
        config_fault(r, command_line, "%.*s: unknown option; the nearest valid one is %s",
                     STR_ARG(str_head(name, 40)), nearest(name));
        return;
    }
    if (equals != SIZE_MAX) {
        if (rows[row].value == NULL && rows[row].kind != ARG_SWITCH &&
            rows[row].kind != ARG_UNSWITCH)
            config_fault(r, command_line, "%s: takes no value", rows[row].name);
        else
            take(r, args, row, str_from(argument, equals + 1));
        return;
    }
    if (rows[row].value == NULL) {
        take(r, args, row, STR_NULL);
        return;
    }
    if (*at + 1 >= r->source->argc || find_row(str_c(r->source->argv[*at + 1])) != SIZE_MAX) {
        config_fault(r, command_line, "%s: needs a value (%s): %s", rows[row].name, rows[row].value,
                     rows[row].help);
        return;
    }
    *at += 1;
    take(r, args, row, str_c(r->source->argv[*at]));
}

void config_args_read(struct config_reader *r, struct config_args *ret_args)
{
    *ret_args = (struct config_args){.action = CONFIG_SERVE, .file = STR_NULL};
    for (int i = 1; i < r->source->argc; i++)
        take_argument(r, ret_args, &i);
}

static void apply_switch(struct config_reader *r, const struct arg_row *row, struct str value)
{
    static const struct option flag = {"", OPTION_flag, 0, "", "", "", ""};
    struct option_value given = {
        .text = str_is_null(value) ? STR("true") : value,
        .loose = true,
    };
    struct option_result result;
    struct str why;

    assert(row->path != NULL);
    assert(row->kind == ARG_SWITCH || row->kind == ARG_UNSWITCH);
    if (!option_parse(&flag, &given, &r->arena, &result, &why)) {
        config_fault(r, command_line, "%s: %.*s", row->name, STR_ARG(why));
        return;
    }
    bool on = result.flag == (row->kind == ARG_SWITCH);
    given.text = on ? STR("true") : STR("false");
    config_assign(r, str_c(row->path), &given, command_line);
}

void config_args_apply(struct config_reader *r, const struct config_args *args)
{
    for (size_t i = 0; i < args->n; i++) {
        const struct arg_row *row = &rows[args->items[i].row];
        struct option_value value = {.text = args->items[i].value, .loose = true};
        assert(row->kind <= ARG_KEYS);
        assert(row->value == NULL || !str_is_null(value.text));
        if (row->kind == ARG_KEYS)
            config_keys_clients_text(r, value.text, command_line);
        else if (row->kind == ARG_OPTION)
            config_assign(r, str_c(row->path), &value, command_line);
        else
            apply_switch(r, row, value.text);
    }
    if (args->demo)
        config_backends_demo(r, command_line);
}

/* Its feature is not there yet. */
static bool is_later(const struct arg_row *row)
{
    return row->path != NULL && config_table_find(str_c(row->path)).kind == CONFIG_ENTRY_LATER;
}

void config_args_list(struct buf *out, bool markdown)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct arg_row *row = &rows[i];
        const char *value = row->value == NULL ? "" : row->value;
        const char *blank = row->value == NULL ? "" : " ";
        const char *note = is_later(row) ? " (no effect yet)" : "";
        if (markdown) {
            (void)buf_print(out, "| `%s%s%s` | ", row->name, blank, value);
            if (row->path != NULL)
                (void)buf_print(out, "`%s`", row->path);
            else if (row->kind == ARG_KEYS)
                (void)buf_add(out, STR("`api_keys`"));
            (void)buf_print(out, " | %s%s |\n", row->help, note);
        } else {
            size_t used = strlen(row->name) + strlen(blank) + strlen(value);
            (void)buf_print(out, "  %s%s%s%*s%s%s\n", row->name, blank, value,
                            used < 38 ? (int)(40 - used) : 2, "", row->help, note);
        }
    }
}

bool config_args_flag(size_t i, struct config_flag *ret_flag)
{
    if (i >= COUNT_OF(rows))
        return false;
    *ret_flag = (struct config_flag){rows[i].name, rows[i].value, rows[i].help, is_later(&rows[i])};
    return true;
}
