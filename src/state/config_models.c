/* SPDX-License-Identifier: MIT */
/*
 * What      model_aliases and model_defaults: from YAML, and back to text.
 * How       Both are maps by the names of models, with values of their own form; what default.def
 *           lists is checked as options are. What is not named there is a fault with the nearest
 *           key that is.
 * Owns      Nothing; what is read is the snapshot's.
 * Not here  What an alias gives (model_alias.c), which entry counts (model_defaults.c).
 */
#include "state/config_priv.h"

#include <inttypes.h>

#include "state/model_alias.h"
#include "state/model_defaults.h"
#include "text/json.h"
#include "text/utf8.h"

enum {
    OBJECT_BYTES_MAX = 64 * 1024,
    SHOWN_KEY_MAX = 80,
    KEY_BYTES_MAX = 320 /* a backend's name, a colon, a model's */
};

static struct arena *kept(struct config_reader *r)
{
    return &r->snapshot->arena;
}

static size_t count_of(const struct yaml_node *node)
{
    size_t n = 0;

    for (const struct yaml_node *child = node->first; child != NULL; child = child->next)
        n++;
    return n;
}

static struct str below(struct config_reader *r, struct str what, struct str key)
{
    return str_print(&r->arena, "%.*s.%.*s", STR_ARG(what), STR_ARG(str_head(key, SHOWN_KEY_MAX)));
}

/* A text; false after a fault. */
static bool take_text(struct config_reader *r, const struct yaml_node *node, struct str what,
                      struct str *ret_text)
{
    struct option_value value = {.hidden = false};

    switch (node->kind == YAML_SCALAR ? config_yaml_value(r, node, what, &value)
                                      : CONFIG_YAML_NULL) {
    case CONFIG_YAML_VALUE:
        *ret_text = value.text;
        return true;
    case CONFIG_YAML_NULL:
        config_fault(r, config_where(r, node), "%.*s: must be text", STR_ARG(what));
        return false;
    case CONFIG_YAML_FAULT:
        return false;
    }
    BUG("no result of reading a value");
}

/* --- aliases --- */

static void add_alias(struct config_reader *r, struct str key, const struct yaml_node *target,
                      bool pattern, struct str what)
{
    struct str text;
    struct error e;

    if (!take_text(r, target, what, &text))
        return;
    if (model_alias_list_add(r->config->model_aliases, str_copy(kept(r), key),
                             str_copy(kept(r), text), pattern, &e) != OK)
        config_fault(r, config_where(r, target), "%.*s: %s", STR_ARG(what), e.detail);
}

/* An element of the list form: {pattern: P, replacement: R}. */
static void take_rule(struct config_reader *r, const struct yaml_node *rule)
{
    const struct yaml_node *pattern = NULL;
    const struct yaml_node *replacement = NULL;
    struct str what = STR("model_aliases");
    struct str text;

    if (rule->kind != YAML_MAP) {
        config_fault(r, config_where(r, rule),
                     "model_aliases: must be a map, or a list of {pattern, replacement}");
        return;
    }
    for (const struct yaml_node *child = rule->first; child != NULL; child = child->next) {
        struct str key = child->key->scalar;
        if (config_yaml_is_duplicate(r, rule, child, below(r, what, key)))
            return;
        if (str_eq(key, STR("pattern")))
            pattern = child;
        else if (str_eq(key, STR("replacement")))
            replacement = child;
        else
            config_fault(r, config_where(r, child->key),
                         "%.*s: unknown key; the nearest valid key is %s",
                         STR_ARG(below(r, what, key)),
                         str_distance(key, STR("pattern"), 64) <
                                 str_distance(key, STR("replacement"), 64)
                             ? "pattern"
                             : "replacement");
    }
    if (pattern == NULL || replacement == NULL)
        config_fault(r, config_where(r, rule), "model_aliases: %s is missing",
                     pattern == NULL ? "pattern" : "replacement");
    else if (take_text(r, pattern, STR("model_aliases.pattern"), &text))
        add_alias(r, text, replacement, true, below(r, what, text));
}

void config_models_aliases(struct config_reader *r, const struct yaml_node *node)
{
    size_t n = count_of(node);

    if (node->kind == YAML_SCALAR) {
        config_fault(r, config_where(r, node),
                     "model_aliases: must be a map of names and models, or a list of "
                     "{pattern, replacement}");
        return;
    }
    if (n > MODEL_ALIASES_MAX) {
        config_fault(r, config_where(r, node), "model_aliases: more than %d", MODEL_ALIASES_MAX);
        return;
    }
    if (n == 0)
        return;
    assert(r->config->model_aliases == NULL);
    r->config->model_aliases = model_alias_list_new(n, kept(r));
    r->snapshot->aliases_origin = str_copy(kept(r), config_where(r, node));
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (node->kind == YAML_LIST) {
            take_rule(r, child);
            continue;
        }
        struct str key = child->key->scalar;
        struct str what = below(r, STR("model_aliases"), key);
        if (!config_yaml_is_duplicate(r, node, child, what))
            add_alias(r, key, child, model_alias_is_pattern(key), what);
    }
    model_alias_list_sort(r->config->model_aliases);
}

/* --- defaults --- */

/* kind object: a map, or JSON text of one. */
enum { OPTION_object = OPTION_tree };

static const struct option default_options[] = {
#define DEFAULT(kind_, key_, field_, min_, max_, help_) \
    {#key_,                                             \
     (enum option_kind)OPTION_##kind_,                  \
     offsetof(struct model_default, steer.field_),      \
     "",                                                \
     (min_),                                            \
     (max_),                                            \
     (help_)},
#define DEFAULT_LATER(kind_, key_, min_, max_, help_) \
    {#key_, OPTION_##kind_, SIZE_MAX, "", (min_), (max_), (help_)},
#define DEFAULT_ALIAS(key_, means_)
#include "state/default.def"
#undef DEFAULT
#undef DEFAULT_LATER
#undef DEFAULT_ALIAS
};

static const struct config_alias default_aliases[] = {
#define DEFAULT(...)
#define DEFAULT_LATER(...)
#define DEFAULT_ALIAS(key_, means_) {#key_, #means_},
#include "state/default.def"
#undef DEFAULT
#undef DEFAULT_LATER
#undef DEFAULT_ALIAS
};

static const struct option *find_default(struct str key)
{
    for (size_t i = 0; i < COUNT_OF(default_aliases); i++) {
        if (str_eq(key, str_c(default_aliases[i].path))) {
            key = str_c(default_aliases[i].means);
            break;
        }
    }
    for (size_t i = 0; i < COUNT_OF(default_options); i++) {
        if (str_eq(key, str_c(default_options[i].path)))
            return &default_options[i];
    }
    return NULL;
}

static const char *nearest_default(struct str key)
{
    const char *best = default_options[0].path;

    for (size_t i = 0; i < COUNT_OF(default_options) + COUNT_OF(default_aliases); i++) {
        const char *path = i < COUNT_OF(default_options)
                               ? default_options[i].path
                               : default_aliases[i - COUNT_OF(default_options)].path;
        if (str_distance(key, str_c(path), 64) < str_distance(key, str_c(best), 64))
            best = path;
    }
    return best;
}

static yyjson_val *read_json(struct config_reader *r, struct str text)
{
    const struct json_read_options options = {.depth_max = 0};

    return json_read(text, &options, &r->arena, NULL);
}

static bool add_scalar(struct config_reader *r, const struct yaml_node *node, struct buf *out)
{
    struct str text = STR_NULL;
    bool expanded = false;

    if (yaml_is_null(node))
        return buf_add(out, STR("null"));
    if (!config_env_expand(r, node->scalar, config_where(r, node), &text, &expanded))
        return false;
    bool word = !node->quoted &&
                (str_eq_nocase(text, STR("true")) || str_eq_nocase(text, STR("false")));
    if (word)
        return buf_add(out, str_eq_nocase(text, STR("true")) ? STR("true") : STR("false"));
    if (!node->quoted && yyjson_is_raw(read_json(r, text)))
        return buf_add(out, text);
    return json_add_string(out, text);
}

/* As JSON: plain numbers, true, false and null are what they look like, all else is text. */
static bool add_json(struct config_reader *r, const struct yaml_node *node, struct str what,
                     struct buf *out)
{
    bool good = true;

    if (node->kind == YAML_SCALAR)
        return add_scalar(r, node, out);
    (void)buf_add_char(out, node->kind == YAML_MAP ? '{' : '[');
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        if (child != node->first)
            (void)buf_add_char(out, ',');
        if (node->kind == YAML_MAP) {
            good &= !config_yaml_is_duplicate(r, node, child, below(r, what, child->key->scalar));
            (void)json_add_string(out, child->key->scalar);
            (void)buf_add_char(out, ':');
        }
        good &= add_json(r, child, what, out);
    }
    (void)buf_add_char(out, node->kind == YAML_MAP ? '}' : ']');
    return good;
}

static void take_object(struct config_reader *r, const struct yaml_node *node, struct str what,
                        struct str *field)
{
    struct buf text;
    struct str given = STR_NULL;
    bool good = true;

    buf_init(&text, OBJECT_BYTES_MAX);
    if (node->kind == YAML_SCALAR)
        good = take_text(r, node, what, &given) && buf_add(&text, given);
    else
        good = add_json(r, node, what, &text);
    if (good && !(buf_ok(&text) && yyjson_is_obj(read_json(r, buf_str(&text)))))
        config_fault(r, config_where(r, node),
                     "%.*s: must be a map, or JSON text of an object, of at most %d KiB",
                     STR_ARG(what), OBJECT_BYTES_MAX / 1024);
    else if (good)
        *field = str_copy(kept(r), buf_str(&text));
    buf_fini(&text);
}

static void take_default(struct config_reader *r, const struct option *option,
                         const struct yaml_node *node, struct str what, struct model_default *entry)
{
    struct str *field = (void *)((char *)entry + option->offset);
    struct option_value value = {.hidden = false};
    struct option_result result;
    struct str why;

    if (yaml_is_null(node))
        return;
    if (option->offset != SIZE_MAX && !str_is_null(*field)) {
        config_fault(r, config_where(r, node), "%.*s: %s stands already in this entry",
                     STR_ARG(what), option->path);
        return;
    }
    if (option->kind == (enum option_kind)OPTION_object) {
        take_object(r, node, what, field);
        return;
    }
    if (node->kind != YAML_SCALAR) {
        why = option_why(option, node->kind == YAML_MAP ? "a map" : "a list", &r->arena);
        config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
        return;
    }
    if (config_yaml_value(r, node, what, &value) != CONFIG_YAML_VALUE)
        return;
    if (!option_parse(option, &value, &r->arena, &result, &why)) {
        config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
        return;
    }
    if (option->offset == SIZE_MAX)
        config_later(r, what, config_where(r, node));
    else if (option->kind == OPTION_count) /* "007" is no number of JSON's */
        *field = str_print(kept(r), "%" PRId64, result.number);
    else if (str_eq(result.text, STR("maximum")))
        *field = STR("max");
    else
        *field = str_copy(kept(r), result.text);
}

static void take_entry(struct config_reader *r, const struct yaml_node *map, struct str what,
                       struct model_default *entry, bool nested)
{
    if (map->kind != YAML_MAP) {
        config_fault(r, config_where(r, map), "%.*s: must be a map of parameters", STR_ARG(what));
        return;
    }
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        struct str key = child->key->scalar;
        struct str path = below(r, what, key);
        const struct option *option = find_default(key);
        if (config_yaml_is_duplicate(r, map, child, path))
            continue;
        if (option != NULL)
            take_default(r, option, child, path, entry);
        else if (!nested && str_eq(key, STR("reasoning")) && !yaml_is_null(child))
            take_entry(r, child, path, entry, true);
        else if (nested || !str_eq(key, STR("reasoning")))
            config_fault(r, config_where(r, child->key),
                         "%.*s: unknown key; the nearest valid key is %s", STR_ARG(path),
                         nearest_default(key));
    }
}

void config_models_defaults(struct config_reader *r, const struct yaml_node *node)
{
    size_t n = count_of(node);

    if (node->kind != YAML_MAP) {
        config_fault(r, config_where(r, node),
                     "model_defaults: must be a map by model, or backend:model");
        return;
    }
    if (n > MODEL_DEFAULTS_MAX) {
        config_fault(r, config_where(r, node), "model_defaults: more than %d", MODEL_DEFAULTS_MAX);
        return;
    }
    assert(r->config->model_defaults_n == 0);
    struct model_default *entries = arena_array(kept(r), n + 1, sizeof(*entries));
    r->config->model_defaults = entries;
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        struct str key = child->key->scalar;
        struct str what = below(r, STR("model_defaults"), key);
        struct model_default entry = {.steer = {.temperature = STR_NULL}};
        if (arena_overflowed(kept(r)))
            return;
        if (config_yaml_is_duplicate(r, node, child, what) || yaml_is_null(child))
            continue;
        if (key.n == 0 || key.n > KEY_BYTES_MAX || utf8_has_control(key)) {
            config_fault(r, config_where(r, child->key),
                         "%.*s: a model's name has 1 to %d bytes, without line breaks and control "
                         "characters",
                         STR_ARG(what), KEY_BYTES_MAX);
            continue;
        }
        entry.key = str_copy(kept(r), key);
        entry.where = str_copy(kept(r), config_where(r, child->key));
        take_entry(r, child, what, &entry, false);
        entries[r->config->model_defaults_n++] = entry;
    }
}

/* --- back to text --- */

/* An expression with nothing in it that says so came of the list form. */
static void print_alias(struct str name, bool pattern, struct str target, struct buf *out)
{
    bool plain = pattern && !model_alias_is_pattern(name);

    (void)buf_add(out, plain ? STR("  \"^") : STR("  \""));
    (void)json_add_escaped(out, name);
    (void)buf_add(out, STR("\": "));
    (void)json_add_string(out, target);
    (void)buf_add_char(out, '\n');
}

static void print_aliases(const struct config_snapshot *snapshot, struct buf *out)
{
    const struct config *config = &snapshot->config;
    size_t start = out->n;
    struct str name;
    struct str target;

    if (config->model_aliases == NULL) {
        (void)buf_add(out, STR("model_aliases: {}"));
        config_print_origin(out, start, STR("default"));
        return;
    }
    (void)buf_add(out, STR("model_aliases:"));
    config_print_origin(out, start, snapshot->aliases_origin);
    for (size_t i = 0; model_alias_exact(config, i, &name, &target); i++)
        print_alias(name, false, target, out);
    for (size_t i = 0; model_alias_pattern(config, i, &name, &target); i++)
        print_alias(name, true, target, out);
}

static void print_default(const struct model_default *entry, struct buf *out)
{
    size_t start = out->n;
    size_t n = 0;

    (void)buf_add(out, STR("  "));
    (void)json_add_string(out, entry->key);
    (void)buf_add(out, STR(": {"));
    for (size_t i = 0; i < COUNT_OF(default_options); i++) {
        const struct option *option = &default_options[i];
        if (option->offset == SIZE_MAX)
            continue;
        const struct str *field = (const void *)((const char *)entry + option->offset);
        if (str_is_null(*field))
            continue;
        (void)buf_print(out, "%s%s: %.*s", n++ > 0 ? ", " : "", option->path, STR_ARG(*field));
    }
    (void)buf_add_char(out, '}');
    config_print_origin(out, start, entry->where);
}

void config_models_print(const struct config_snapshot *snapshot, struct buf *out)
{
    const struct config *config = &snapshot->config;
    size_t start;

    print_aliases(snapshot, out);
    start = out->n;
    if (config->model_defaults_n == 0) {
        (void)buf_add(out, STR("model_defaults: {}"));
        config_print_origin(out, start, STR("default"));
        return;
    }
    (void)buf_add(out, STR("model_defaults:\n"));
    for (size_t i = 0; i < config->model_defaults_n; i++)
        print_default(&config->model_defaults[i], out);
}

static const char aliases_text[] =
    "\n## Other names of models\n\n"
    "```yaml\n"
    "model_aliases:\n"
    "  gpt4: openai:gpt-4o\n"
    "  \"^claude-(.*)$\": 'anthropic:claude-\\1'\n"
    "```\n\n"
    "A key without any of `^ $ * + ? ( ) [ ] { } | \\` is the name itself. Any other is a POSIX\n"
    "extended regular expression, which the whole name must match, whether `^` and "
    "`$` stand there\n"
    "or not; in its target `\\1` to `\\9` are what its groups matched, `\\0` is the "
    "whole name and\n"
    "`\\\\` a backslash. Exact names come first, then expressions in the order of "
    "the file; the first\n"
    "that fits counts, and what it gives is no alias again. Aliases hold for the "
    "model of a request\n"
    "and for one set in the chat, before `backend:` is looked for in it; lists of models show the\n"
    "exact ones. Names of more than 256 bytes are looked up nowhere, and an "
    "expression has neither\n"
    "`{n,m}` nor references back: so no name takes longer to match than it is long. A list of\n"
    "`{pattern: P, replacement: R}` says the same, and each is an expression.\n";

static const char defaults_text[] =
    "\n## Parameters by model\n\n"
    "```yaml\n"
    "model_defaults:\n"
    "  gpt-4o: {temperature: 0.7}\n"
    "  \"anthropic:claude-sonnet-4-5\": {reasoning_effort: high, max_tokens: 16384}\n"
    "```\n\n"
    "`model_defaults:` by model, or by `backend:model`, has parameters that are used "
    "where neither\n"
    "the request nor its session says them. The model is called as its backend calls it. What\n"
    "`backend:model` says wins over what `model` says, each parameter for itself. They may stand\n"
    "under `reasoning:` too.\n\n"
    "| key | kind | range | |\n|---|---|---|---|\n";

static const char door_text[] =
    "\n## Where openai-url may lead\n\n"
    "`!/set(openai-url=URL)` sends what a session asks of OpenAI backends (`type: openai`, or by\n"
    "that name) to another URL. It is a door out of the proxy, closed unless `allowed_url_hosts`\n"
    "opens it: each entry is a name, whole, or a literal address, with `:port` for "
    "one port only. A\n"
    "name that stands for a private, loopback, link-local or otherwise special address is not\n"
    "connected to, unless that address is an entry itself (loopback also where the entry is\n"
    "`localhost`); this is looked at each time that a connection is made. Through a forward proxy\n"
    "only literal addresses are reached, as it would look up names by itself; `no_proxy` helps.\n"
    "Redirects are not followed. No key and no header of a backend goes there, except those of a\n"
    "backend that is configured for just that scheme, host and port. What is trusted is what the\n"
    "top level says.\n";

static void add_key(struct buf *out, const struct option *option)
{
    const char *kind = option->kind == (enum option_kind)OPTION_object
                           ? "map"
                           : option_kind_name(option->kind);

    (void)buf_print(out, "| `%s` | %s | ", option->path, kind);
    if (option->kind == OPTION_choice) {
        for (const char *p = option->min; *p != '\0'; p++)
            (void)(*p == '|' ? buf_add(out, STR(", ")) : buf_add_char(out, *p));
    } else if (option->min[0] != '\0') {
        (void)buf_print(out, "%s to %s", option->min, option->max);
    }
    (void)buf_print(out, " | %s%s |\n", option->help,
                    option->offset == SIZE_MAX ? " (no effect yet)" : "");
}

void config_models_manual(struct buf *out)
{
    (void)buf_add(out, str_of(aliases_text, sizeof(aliases_text) - 1));
    (void)buf_add(out, str_of(defaults_text, sizeof(defaults_text) - 1));
    for (size_t i = 0; i < COUNT_OF(default_options); i++)
        add_key(out, &default_options[i]);
    (void)buf_add(out, STR("\nOther names:"));
    for (size_t i = 0; i < COUNT_OF(default_aliases); i++)
        (void)buf_print(out, "%s\n`%s` is `%s`", i == 0 ? "" : ",", default_aliases[i].path,
                        default_aliases[i].means);
    (void)buf_add(out, STR(".\n"));
    (void)buf_add(out, str_of(door_text, sizeof(door_text) - 1));
}
