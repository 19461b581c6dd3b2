/* SPDX-License-Identifier: MIT */
/*
 * What      --print-config: every option with its value and from where it is, as YAML.
 * Owns      Nothing.
 * Not here  Keys: their names are shown, and nothing else of them.
 */
#include "state/config_priv.h"
#include "text/json.h"

enum { PRINT_BYTES_MAX = 4 * 1024 * 1024, ORIGIN_COLUMN = 44 };

void config_print_origin(struct buf *out, size_t start, struct str origin)
{
    assert(start <= out->n);
    size_t used = out->n - start;

    (void)buf_print(out, "%*s# %.*s\n", used < ORIGIN_COLUMN ? (int)(ORIGIN_COLUMN - used) : 1, "",
                    STR_ARG(origin));
}

static struct str origin_or(struct str origin, struct str other)
{
    return str_is_null(origin) ? other : origin;
}

/* Rows of one section ("" the top level) stand together in the tables. */
static void print_options(const struct config_snapshot *snapshot, struct buf *out)
{
    struct str section = STR("");

    for (size_t i = 0; i < config_table_options_n; i++) {
        const struct option *option = &config_table_options[i];
        struct str path = str_c(option->path);
        size_t dot = str_find_char(path, '.', 0);
        struct str own = dot == SIZE_MAX ? STR("") : str_head(path, dot);
        struct option_result result;
        size_t start;

        if (own.n > 0 && !str_eq(own, section))
            (void)buf_print(out, "%.*s:\n", STR_ARG(own));
        section = own;
        start = out->n;
        if (own.n > 0)
            (void)buf_print(out, "  %s: ", option->path + dot + 1);
        else
            (void)buf_print(out, "%s: ", option->path);
        option_fetch(option, &snapshot->config, &result);
        option_print(option, &result, out);
        config_print_origin(out, start, origin_or(snapshot->origins[i], STR("default")));
    }
}

static void print_client_keys(const struct config_snapshot *snapshot, struct buf *out)
{
    const struct config *config = &snapshot->config;
    size_t start = out->n;

    if (config->api_keys_n == 0) {
        (void)buf_add(out, STR("api_keys: []"));
        config_print_origin(out, start, STR("default: one is made at the first start"));
        return;
    }
    (void)buf_add(out, STR("api_keys:"));
    config_print_origin(out, start, snapshot->keys_origin);
    for (size_t i = 0; i < config->api_keys_n; i++) {
        (void)buf_add(out, STR("  - {name: "));
        (void)json_add_string(out, config->api_keys[i].name);
        (void)buf_print(out, ", admin: %s}\n", config->api_keys[i].admin ? "true" : "false");
    }
}

static void print_backend(const struct backend_config *backend, const struct config_note *note,
                          struct buf *out)
{
    size_t start = out->n;

    assert(backend->where.n > 0);
    (void)buf_print(out, "  %.*s:", STR_ARG(backend->name));
    config_print_origin(out, start, backend->where);
    start = out->n;
    (void)buf_add(out, STR("    api_keys: ["));
    for (size_t i = 0; i < backend->keys_n; i++) {
        if (i > 0)
            (void)buf_add(out, STR(", "));
        (void)json_add_string(out, backend->keys[i].name);
    }
    (void)buf_add_char(out, ']');
    config_print_origin(out, start, origin_or(note->keys, STR("default")));
    for (size_t i = 0; i < config_table_backend_n; i++) {
        const struct option *option = &config_table_backend[i];
        struct option_result result;
        option_fetch(option, backend, &result);
        start = out->n;
        (void)buf_print(out, "    %s: ", option->path);
        if (option->kind == OPTION_text && str_is_null(result.text))
            (void)buf_add_char(out, '~');
        else
            option_print(option, &result, out);
        config_print_origin(out, start,
                            origin_or(note->origins[i], option->preset == config_table_global
                                                            ? STR("as at the top level")
                                                            : STR("default")));
    }
}

struct str config_print(const struct config_source *source, const struct config *config,
                        struct arena *arena)
{
    const struct config_snapshot *snapshot = config_snapshot_of(config);
    struct buf out;

    assert(config->backends_n == 0 || snapshot->notes != NULL);
    buf_init(&out, PRINT_BYTES_MAX);
    (void)buf_print(&out, "# The configuration in force. Relative paths start at: %s\n",
                    source->directory == NULL ? "the working directory" : source->directory);
    print_options(snapshot, &out);
    print_client_keys(snapshot, &out);
    if (config->backends_n > 0)
        (void)buf_add(&out, STR("backends:\n"));
    else
        (void)buf_add(&out, STR("backends: {}\n"));
    for (size_t i = 0; i < config->backends_n; i++)
        print_backend(&config->backends[i], &snapshot->notes[i], &out);
    config_models_print(snapshot, &out);
    if (snapshot->later.n > 0)
        (void)buf_print(&out, "# Without effect in this version: %.*s\n", STR_ARG(snapshot->later));
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}
