/* SPDX-License-Identifier: MIT */
/*
 * What      config.example.yaml: a beginning that works, then every option there is.
 * How       The beginning is a text; the rest is made of the option tables, so that nothing is
 *           missing from it, and its defaults are the program's.
 * Owns      Nothing.
 */
#include "state/config_priv.h"

enum { EXAMPLE_BYTES_MAX = 256 * 1024, COLUMNS = 98 };

static const char beginning[] =
    "# llm-proxy: an example configuration. Copy it to config.yaml and edit it:\n"
    "#\n"
    "#   cp config.example.yaml config.yaml\n"
    "#   llm-proxy --check-config\n"
    "#\n"
    "# ${NAME} and ${NAME:-default} are replaced from the environment, or from a file named .env.\n"
    "# The command line and the environment win over this file. SIGHUP reads it again.\n"
    "# What each option means at length: docs/CONFIGURATION.md.\n"
    "\n"
    "# --- what it speaks to ------------------------------------------------------------------\n"
    "# Models are asked for as BACKEND:MODEL. A vendor's name brings its URL; an empty key is no\n"
    "# key: then the backend is not used.\n"
    "backends:\n"
    "  openai:\n"
    "    api_keys:\n"
    "      default: ${OPENAI_API_KEY:-}\n"
    "  anthropic:\n"
    "    api_keys: ${ANTHROPIC_API_KEY:-}\n"
    "\n"
    "  # Several keys of one account or of more, and which is taken when:\n"
    "  # groq:\n"
    "  #   api_keys: {work: \"${GROQ_KEY_WORK}\", home: \"${GROQ_KEY_HOME}\"}\n"
    "  #   policy: round-robin\n"
    "\n"
    "  # One more of the same vendor:\n"
    "  # openai-team:\n"
    "  #   type: openai\n"
    "  #   api_key: ${OPENAI_TEAM_KEY}\n"
    "  #   proxy_timeout: 10m\n"
    "\n"
    "  # A server on this machine, and any other that speaks a known protocol:\n"
    "  # ollama:\n"
    "  # mine:\n"
    "  #   protocol: openai-chat\n"
    "  #   api_url: http://127.0.0.1:8080/v1\n"
    "  #   models: [llama3.2]\n"
    "\n"
    "  # Built in; answers without any key.\n"
    "  demo:\n"
    "\n"
    "# --- who may use it ---------------------------------------------------------------------\n"
    "# Without any key, one is made at the first start and kept in data_dir.\n"
    "# api_keys:\n"
    "#   - a-key-of-your-own\n"
    "#   - {name: alice, key: \"${ALICE_KEY}\", admin: true}\n"
    "\n"
    "# --- models -----------------------------------------------------------------------------\n"
    "# Other names of models (exact, or a regular expression), and parameters where nobody says\n"
    "# any:\n"
    "# model_aliases:\n"
    "#   fast: openai:gpt-4o-mini\n"
    "#   \"^claude-(.*)$\": 'anthropic:claude-\\1'\n"
    "# model_defaults:\n"
    "#   gpt-4o: {temperature: 0.7}\n"
    "\n"
    "# --- every option, with its default -----------------------------------------------------\n"
    "# Take the \"#\" away where another value is wanted.\n";

static const char backend_beginning[] =
    "\n"
    "# --- every option of a backend (within backends.NAME) -----------------------------------\n"
    "# Where nothing else is said here, the value of the same name above counts.\n";

/* Words of help in lines of comments. */
static void add_help(struct buf *out, const char *indent, const struct option *option)
{
    struct str rest = str_c(option->help);
    struct str word;
    size_t column = 0;

    if (option->min[0] != '\0')
        (void)buf_print(out, "%s# (%s%s%s)\n", indent, option->min,
                        option->kind == OPTION_choice ? "" : " to ",
                        option->kind == OPTION_choice ? "" : option->max);
    while (str_cut(&rest, ' ', &word)) {
        if (word.n == 0)
            continue;
        bool begins = column == 0 || column + 1 + word.n > COLUMNS;
        if (begins && column > 0)
            (void)buf_add_char(out, '\n');
        if (begins) {
            (void)buf_print(out, "%s# ", indent);
            column = strlen(indent) + 2;
        } else {
            (void)buf_add_char(out, ' ');
            column++;
        }
        (void)buf_add(out, word);
        column += word.n;
    }
    if (column > 0)
        (void)buf_add_char(out, '\n');
}

/* The default as YAML; "~" where there is none. */
static void add_preset(struct buf *out, const struct option *option)
{
    bool is_text = option->kind == OPTION_text || option->kind == OPTION_prefix ||
                   option->kind == OPTION_proxy;
    struct str preset = option->preset == config_table_global ? STR("") : str_c(option->preset);

    if (preset.n == 0)
        (void)buf_add_char(out, '~');
    else if (is_text)
        (void)buf_print(out, "\"%.*s\"", STR_ARG(preset));
    else
        (void)buf_add(out, preset);
}

static void add_option(struct buf *out, const char *indent, const char *name,
                       const struct option *option)
{
    add_help(out, indent, option);
    (void)buf_print(out, "#%s%s: ", indent, name);
    add_preset(out, option);
    (void)buf_add_char(out, '\n');
}

/* Rows of one section ("" the top level) stand together in the tables. */
static void add_options(struct buf *out)
{
    struct str section = STR("");

    for (size_t i = 0; i < config_table_options_n; i++) {
        const struct option *option = &config_table_options[i];
        struct str path = str_c(option->path);
        size_t dot = str_find_char(path, '.', 0);
        struct str own = dot == SIZE_MAX ? STR("") : str_head(path, dot);
        (void)buf_add_char(out, '\n');
        if (own.n > 0 && !str_eq(own, section))
            (void)buf_print(out, "#%.*s:\n", STR_ARG(own));
        section = own;
        add_option(out, own.n > 0 ? "  " : "", option->path + (own.n > 0 ? dot + 1 : 0), option);
    }
}

struct str config_example(struct arena *arena)
{
    struct buf out;

    buf_init(&out, EXAMPLE_BYTES_MAX);
    (void)buf_add(&out, str_of(beginning, sizeof(beginning) - 1));
    add_options(&out);
    (void)buf_add(&out, str_of(backend_beginning, sizeof(backend_beginning) - 1));
    (void)buf_add(&out, STR("#backends:\n#  NAME:\n"));
    for (size_t i = 0; i < config_table_backend_n; i++)
        add_option(&out, "    ", config_table_backend[i].path, &config_table_backend[i]);
    assert(buf_ok(&out));
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}
