/* SPDX-License-Identifier: MIT */
/*
 * What      The config file: walks the tree of nodes and hands each value to its option.
 * How       A map's key is looked up as SECTION.KEY; an option takes its value, a section is
 *           walked, api_keys and backends have readers of their own, the rest is an unknown key
 *           with the nearest valid one. The walk never stops at a fault: all are reported, each
 *           at its line and column, in the order of the file.
 * Owns      Nothing; nodes are the reader's arena's.
 * Not here  Kinds and ranges (option.c), what options mean together (config_check.c).
 */
#include "state/config_priv.h"

#include <errno.h>

#include "base/log.h"

enum { SHOWN_KEY_MAX = 80 };

/* --- values --- */

enum config_yaml_result config_yaml_value(struct config_reader *r, const struct yaml_node *node,
                                          struct str what, struct option_value *ret_value)
{
    struct option_value value = {.hidden = ret_value->hidden, .quoted = node->quoted};
    bool expanded = false;

    assert(node != NULL);
    assert(node->line > 0 && node->column > 0);
    if (yaml_is_null(node))
        return CONFIG_YAML_NULL;
    if (node->kind == YAML_MAP) {
        config_fault(r, config_where(r, node), "%.*s: must not be a map", STR_ARG(what));
        return CONFIG_YAML_FAULT;
    }
    if (node->kind == YAML_SCALAR) {
        if (!config_env_expand(r, node->scalar, config_where(r, node), &value.text, &expanded))
            return CONFIG_YAML_FAULT;
        /* What comes from the environment has no type of its own, and is not ours to show. */
        value.hidden |= expanded;
        value.quoted &= !expanded;
        *ret_value = value;
        return CONFIG_YAML_VALUE;
    }

    size_t n = 0;
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next)
        n++;
    value.is_list = true;
    value.list.items = arena_array(&r->arena, n > 0 ? n : 1, sizeof(*value.list.items));
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (arena_overflowed(&r->arena))
            return CONFIG_YAML_FAULT;
        if (child->kind != YAML_SCALAR || yaml_is_null(child)) {
            config_fault(r, config_where(r, child), "%.*s: must be a list of texts", STR_ARG(what));
            return CONFIG_YAML_FAULT;
        }
        if (!config_env_expand(r, child->scalar, config_where(r, child),
                               &value.list.items[value.list.n++], &expanded))
            return CONFIG_YAML_FAULT;
    }
    *ret_value = value;
    return CONFIG_YAML_VALUE;
}

bool config_yaml_is_duplicate(struct config_reader *r, const struct yaml_node *map,
                              const struct yaml_node *child, struct str what)
{
    assert(map->kind == YAML_MAP);
    assert(child->key != NULL && child->key->kind == YAML_SCALAR);
    for (const struct yaml_node *other = map->first; other != child; other = other->next) {
        assert(other != NULL);
        if (str_eq(other->key->scalar, child->key->scalar)) {
            config_fault(r, config_where(r, child->key),
                         "%.*s: duplicate key, it stands already in line %d", STR_ARG(what),
                         other->key->line);
            return true;
        }
    }
    return false;
}

static void take_plain(struct config_reader *r, struct str path, const struct option *option,
                       const struct yaml_node *node)
{
    struct option_value value = {.hidden = false};

    assert(option_is_plain(option->kind));
    if (node->kind == YAML_MAP || (node->kind == YAML_LIST && option->kind != OPTION_texts)) {
        struct str why = option_why(option, node->kind == YAML_MAP ? "a map" : "a list", &r->arena);
        config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(path), STR_ARG(why));
        return;
    }
    if (config_yaml_value(r, node, path, &value) == CONFIG_YAML_VALUE)
        config_assign(r, path, &value, config_where(r, node));
}

/* --- logging.per_module --- */

/* "backend", "src.core.services.backend_service": the room; "room:level" in the arena. */
static bool read_level(struct config_reader *r, const struct yaml_node *node, struct str what,
                       struct str *ret_text)
{
    struct str path = str_print(&r->arena, "%.*s.%.*s", STR_ARG(what),
                                STR_ARG(str_head(node->key->scalar, SHOWN_KEY_MAX)));
    struct option_value value = {.hidden = false};
    enum log_room room;
    enum log_level level;

    if (!log_room_parse(node->key->scalar, &room)) {
        struct str names = STR("");
        for (size_t i = 0; i < ROOM_COUNT; i++)
            names = str_print(&r->arena, "%.*s %s", STR_ARG(names),
                              log_room_name((enum log_room)i));
        config_fault(r, config_where(r, node->key), "%.*s: nobody logs by that name; there are%.*s",
                     STR_ARG(path), STR_ARG(names));
        return false;
    }
    if (config_yaml_value(r, node, path, &value) != CONFIG_YAML_VALUE)
        return false;
    if (value.is_list || !log_level_parse(value.text, &level)) {
        config_fault(r, config_where(r, node), "%.*s: must be debug, info, warning or error",
                     STR_ARG(path));
        return false;
    }
    *ret_text = str_print(&r->arena, "%s:%s", log_room_name(room), log_level_name(level));
    return true;
}

static void take_levels(struct config_reader *r, const struct config_entry *entry,
                        const struct yaml_node *node, struct str path)
{
    struct str_list list = {.n = 0};
    size_t n = 0;

    if (yaml_is_null(node))
        return;
    if (node->kind != YAML_MAP) {
        struct str why = option_why(entry->option, "", &r->arena);
        config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(path), STR_ARG(why));
        return;
    }
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next)
        n++;
    list.items = arena_array(&r->arena, n + 1, sizeof(*list.items));
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (arena_overflowed(&r->arena))
            return;
        if (!config_yaml_is_duplicate(r, node, child, path) &&
            read_level(r, child, path, &list.items[list.n]))
            list.n++;
    }
    config_assign_list(r, entry, &list, config_where(r, node));
}

/* --- options of later features that are maps --- */

static const struct option limit_options[] = {
    {"limit", OPTION_count, 0, "", "1", "1000000000", ""},
    {"time_window", OPTION_duration, 0, "", "1s", "8784h", ""},
    {"tokens", OPTION_count, 0, "", "1", "1000000000000", ""},
};
static const struct option route_options[] = {
    {"policy", OPTION_choice, 0, "", "k|m|km|mk|ordered", "", ""},
    {"elements", OPTION_texts, 0, "", "", "", ""},
};
/* Only that the value is of its option's type. */
static void check_plain(struct config_reader *r, const struct option *option,
                        const struct yaml_node *node, struct str what)
{
    struct option_value value = {.hidden = false};
    struct option_result result;
    struct str why;

    switch (config_yaml_value(r, node, what, &value)) {
    case CONFIG_YAML_VALUE:
        if (!option_parse(option, &value, &r->arena, &result, &why))
            config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
        return;
    case CONFIG_YAML_NULL:
    case CONFIG_YAML_FAULT:
        return;
    }
}

static void check_fields(struct config_reader *r, const struct option *options, size_t n,
                         const struct yaml_node *map, struct str what)
{
    if (map->kind != YAML_MAP) {
        config_fault(r, config_where(r, map), "%.*s: must be a map", STR_ARG(what));
        return;
    }
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        struct str key = child->key->scalar;
        struct str path = str_print(&r->arena, "%.*s.%.*s", STR_ARG(what), STR_ARG(key));
        size_t nearest = 0;
        if (config_yaml_is_duplicate(r, map, child, path))
            continue;
        for (size_t i = 1; i < n; i++) {
            if (str_distance(key, str_c(options[i].path), 64) <
                str_distance(key, str_c(options[nearest].path), 64))
                nearest = i;
        }
        if (str_eq(key, str_c(options[nearest].path)))
            check_plain(r, &options[nearest], child, path);
        else
            config_fault(r, config_where(r, child->key),
                         "%.*s: unknown key; the nearest valid key is %s", STR_ARG(path),
                         options[nearest].path);
    }
}

static bool is_limit_name(struct str name)
{
    return str_eq(name, STR("default")) || str_starts(name, STR("backend:")) ||
           str_starts(name, STR("key:")) || str_starts(name, STR("model:"));
}

/* Any structure; its texts are expanded, so that a missing variable is a fault here too. */
static void check_tree(struct config_reader *r, const struct yaml_node *node, struct str what)
{
    struct str text;
    bool expanded;

    if (node->kind == YAML_SCALAR) {
        (void)!config_env_expand(r, node->scalar, config_where(r, node), &text, &expanded);
        return;
    }
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (node->kind != YAML_MAP || !config_yaml_is_duplicate(r, node, child, what))
            check_tree(r, child, what);
    }
}

static void check_map(struct config_reader *r, const struct option *option,
                      const struct yaml_node *node, struct str what)
{
    assert(node->kind == YAML_MAP);
    assert(option->kind == OPTION_limits || option->kind == OPTION_routes);
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        struct str key = child->key->scalar;
        struct str path = str_print(&r->arena, "%.*s.%.*s", STR_ARG(what), STR_ARG(key));
        if (config_yaml_is_duplicate(r, node, child, path))
            continue;
        if (option->kind == OPTION_routes)
            check_fields(r, route_options, COUNT_OF(route_options), child, path);
        else if (is_limit_name(key))
            check_fields(r, limit_options, COUNT_OF(limit_options), child, path);
        else
            config_fault(r, config_where(r, child->key),
                         "%.*s: must be default, backend:NAME, key:NAME or model:PATTERN",
                         STR_ARG(path));
    }
}

void config_yaml_later(struct config_reader *r, const struct option *option,
                       const struct yaml_node *node, struct str what)
{
    if (yaml_is_null(node))
        return;
    if (option_is_plain(option->kind)) {
        check_plain(r, option, node, what);
    } else if (option->kind == OPTION_tree ? node->kind == YAML_SCALAR : node->kind != YAML_MAP) {
        struct str why = option_why(option, "", &r->arena);
        config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
        return;
    } else if (option->kind == OPTION_tree) {
        check_tree(r, node, what);
    } else {
        check_map(r, option, node, what);
    }
    config_later(r, what, config_where(r, node));
}

/* --- the walk --- */

static void walk(struct config_reader *r, const struct yaml_node *map, struct str section);

static void take_section(struct config_reader *r, const struct yaml_node *node, struct str path)
{
    if (yaml_is_null(node))
        return;
    if (node->kind == YAML_MAP)
        walk(r, node, path);
    else
        config_fault(r, config_where(r, node), "%.*s: must be a map of options", STR_ARG(path));
}

static void take_child(struct config_reader *r, const struct yaml_node *child, struct str section)
{
    struct str key = str_head(child->key->scalar, SHOWN_KEY_MAX);
    struct str path = section.n == 0
                          ? key
                          : str_print(&r->arena, "%.*s.%.*s", STR_ARG(section), STR_ARG(key));
    struct config_entry entry = {.kind = CONFIG_ENTRY_NONE};

    /* A dot is written as a section; "logging.level: x" is no key. */
    if (str_find_char(key, '.', 0) == SIZE_MAX && key.n > 0)
        entry = config_table_find(path);
    switch (entry.kind) {
    case CONFIG_ENTRY_OPTION:
        if (entry.option->kind == OPTION_levels)
            take_levels(r, &entry, child, path);
        else
            take_plain(r, path, entry.option, child);
        return;
    case CONFIG_ENTRY_LATER:
        config_yaml_later(r, entry.option, child, path);
        return;
    case CONFIG_ENTRY_SECTION:
        take_section(r, child, path);
        return;
    case CONFIG_ENTRY_KEYS:
        if (!str_is_null(r->snapshot->keys_origin))
            config_fault(r, config_where(r, child->key), "%.*s: api_keys stand already at %.*s",
                         STR_ARG(path), STR_ARG(r->snapshot->keys_origin));
        else if (!yaml_is_null(child))
            config_keys_clients(r, child);
        return;
    case CONFIG_ENTRY_BACKENDS:
        if (!yaml_is_null(child))
            config_backends_yaml(r, child);
        return;
    case CONFIG_ENTRY_ALIASES:
        if (!yaml_is_null(child))
            config_models_aliases(r, child);
        return;
    case CONFIG_ENTRY_DEFAULTS:
        if (!yaml_is_null(child))
            config_models_defaults(r, child);
        return;
    case CONFIG_ENTRY_NONE:
        break;
    }
    struct str nearest = config_table_nearest(section, key);
    config_fault(r, config_where(r, child->key), "%.*s: unknown key; the nearest valid key is %.*s",
                 STR_ARG(path), STR_ARG(nearest));
}

static void walk(struct config_reader *r, const struct yaml_node *map, struct str section)
{
    assert(map->kind == YAML_MAP);
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        assert(child->key != NULL);
        if (!config_yaml_is_duplicate(r, map, child, str_head(child->key->scalar, SHOWN_KEY_MAX)))
            take_child(r, child, section);
    }
}

void config_yaml_read(struct config_reader *r, struct str name)
{
    bool named = !str_is_null(name);
    struct str text;
    struct error e;
    int error = 0;
    int line = 0;
    int column = 0;

    r->file = named ? name : STR("config.yaml");
    if (!config_slurp(r, r->file, &text, &error)) {
        if (named || r->source->file_wanted || error != ENOENT)
            config_fault(r, r->file, "cannot be read: %s", strerror(error));
        return;
    }
    const struct yaml_node *root = yaml_read(text, &r->arena, &line, &column, &e);
    if (root == NULL) {
        config_fault(r, str_print(&r->arena, "%.*s:%d:%d", STR_ARG(r->file), line, column), "%s",
                     e.detail);
        return;
    }
    r->file_used = !yaml_is_null(root) && (root->kind != YAML_MAP || root->first != NULL);
    if (!r->file_used) {
        if (r->source->file_wanted)
            config_fault(r, r->file, "has no options, and had some before");
        return;
    }
    if (root->kind != YAML_MAP)
        config_fault(r, config_where(r, root), "must be a map of options");
    else
        walk(r, root, STR(""));
}
