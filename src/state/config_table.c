/* SPDX-License-Identifier: MIT */
/*
 * What      Which options there are: the rows made of the rooms' *.opt tables, of later.def and of
 *           backends.def, and finding the one that a user meant.
 * Owns      Constants only.
 * Not here  Values (option.c), sources (config_*.c).
 */
#include "state/config_priv.h"

const char config_table_global[] = "(global)";
#define GLOBAL config_table_global

#define OFFSET_text(name)     offsetof(struct config, name)
#define OFFSET_flag(name)     offsetof(struct config, name)
#define OFFSET_count(name)    offsetof(struct config, name)
#define OFFSET_duration(name) offsetof(struct config, name##_ms)
#define OFFSET_size(name)     offsetof(struct config, name)
#define OFFSET_level(name)    offsetof(struct config, name)
#define OFFSET_texts(name)    offsetof(struct config, name)
#define OFFSET_proxy(name)    offsetof(struct config, name)
#define OFFSET_choice(name)   offsetof(struct config, name)
#define OFFSET_prefix(name)   offsetof(struct config, name)
#define OFFSET_levels(name)   offsetof(struct config, name)

const struct option config_table_options[] = {
#define OPT(kind_, name, preset_, min_, max_, help_) \
    {#name, OPTION_##kind_, OFFSET_##kind_(name), (preset_), (min_), (max_), (help_)},
#define OPT_IN(kind_, section, name, preset_, min_, max_, help_) \
    {#section "." #name,                                         \
     OPTION_##kind_,                                             \
     OFFSET_##kind_(section##_##name),                           \
     (preset_),                                                  \
     (min_),                                                     \
     (max_),                                                     \
     (help_)},
#include "state/option.def"
#undef OPT
#undef OPT_IN
};
const size_t config_table_options_n = COUNT_OF(config_table_options);

#define BACKEND_OFFSET_text(name)     offsetof(struct backend_config, name)
#define BACKEND_OFFSET_flag(name)     offsetof(struct backend_config, name)
#define BACKEND_OFFSET_count(name)    offsetof(struct backend_config, name)
#define BACKEND_OFFSET_duration(name) offsetof(struct backend_config, name##_ms)
#define BACKEND_OFFSET_choice(name)   offsetof(struct backend_config, name)
#define BACKEND_OFFSET_texts(name)    offsetof(struct backend_config, name)
#define BACKEND_OFFSET_maybe(name)    offsetof(struct backend_config, name)
#define BACKEND_OFFSET_off(name)      offsetof(struct backend_config, name##_off)
#define BACKEND_OFFSET_pairs(name)    offsetof(struct backend_config, name)

const struct option config_table_backend[] = {
#define OPT(kind_, name, preset_, min_, max_, help_) \
    {#name, OPTION_##kind_, BACKEND_OFFSET_##kind_(name), (preset_), (min_), (max_), (help_)},
#include "backend/backend.opt"
#undef OPT
};
const size_t config_table_backend_n = COUNT_OF(config_table_backend);
_Static_assert(COUNT_OF(config_table_backend) <= CONFIG_BACKEND_OPTIONS_MAX,
               "struct config_note has room for each option of a backend");

#define LATER(kind_, path_, min_, max_, help_) \
    {(path_), OPTION_##kind_, SIZE_MAX, "", (min_), (max_), (help_)},
#define LATER_BACKEND(kind_, path_, min_, max_, help_)
const struct option config_table_later[] = {
#include "state/later.def"
};
const size_t config_table_later_n = COUNT_OF(config_table_later);

#undef LATER
#undef LATER_BACKEND
#define LATER(kind_, path_, min_, max_, help_)
#define LATER_BACKEND(kind_, path_, min_, max_, help_) \
    {(path_), OPTION_##kind_, SIZE_MAX, "", (min_), (max_), (help_)},
const struct option config_table_backend_later[] = {
#include "state/later.def"
};
const size_t config_table_backend_later_n = COUNT_OF(config_table_backend_later);

#undef LATER
#undef LATER_BACKEND

#define BACKEND(name_, protocol_, url_, variable_, header_, needed_, ...) \
    {#name_, (variable_), (url_), #protocol_, #__VA_ARGS__, (needed_), false},
#define BACKEND_VARIABLE(...)
#define LOCAL_BACKEND(name_, protocol_, local_, ...) \
    {#name_, NULL, NULL, #protocol_, "", false, true},
const struct config_vendor config_table_vendors[] = {
#include "backend/backends.def"
};
const size_t config_table_vendors_n = COUNT_OF(config_table_vendors);

#undef BACKEND
#undef BACKEND_VARIABLE
#undef LOCAL_BACKEND
#define BACKEND(...)
#define BACKEND_VARIABLE(name_, what_, variable_) {#name_, #what_, (variable_)},
#define LOCAL_BACKEND(...)
const struct config_vendor_variable config_table_vendor_variables[] = {
#include "backend/backends.def"
};
const size_t config_table_vendor_variables_n = COUNT_OF(config_table_vendor_variables);

const struct config_alias config_table_aliases[] = {
    {"backends.default_backend", "default_backend"},
    {"auth.api_keys", "api_keys"},
    {"auth.disable_auth", "disable_auth"},
    {"auth.redact_api_keys_in_prompts", "redact_api_keys_in_prompts"},
    {"session.force_set_project", "force_set_project"},
    {"session.disable_interactive_commands", "disable_interactive_commands"},
    {"session.disable_interactive_mode", "disable_interactive_mode"},
    {"logging.log_file", "logging.file"},
};
const size_t config_table_aliases_n = COUNT_OF(config_table_aliases);

static const struct config_alias backend_aliases[] = {
    {"base_url", "api_url"},
    {"api_key", "api_keys"},
    {"timeout", "proxy_timeout"},
};

/* Keys of the top level that are no options but structures with a reader of their own. */
static const char *const structures[] = {"api_keys", "backends", "model_aliases", "model_defaults"};

const struct config_variable config_table_variables[] = {
    {"PROXY_HOST", "host", NULL},
    {"PROXY_PORT", "port", NULL},
    {"PROXY_TIMEOUT", "proxy_timeout", NULL},
    {"LLM_BACKEND", "default_backend", NULL},
    {"DISABLE_AUTH", "disable_auth", NULL},
    {"LOG_LEVEL", "logging.level", NULL},
    {"LOG_FILE", "logging.file", NULL},
    {"COMMAND_PREFIX", "command_prefix", NULL},
    {"REDACT_API_KEYS_IN_PROMPTS", "redact_api_keys_in_prompts", NULL},
    {"FORCE_SET_PROJECT", "force_set_project", NULL},
    {"DISABLE_INTERACTIVE_MODE", "disable_interactive_mode", NULL},
    {"DISABLE_INTERACTIVE_COMMANDS", "disable_interactive_commands", NULL},
    {"LOOP_DETECTION_ENABLED", "loop_detection.enabled", NULL},
    {"TOOL_LOOP_DETECTION_ENABLED", "tool_call_loop.enabled", NULL},
    {"TOOL_LOOP_MAX_REPEATS", "tool_call_loop.max_repeats", NULL},
    {"TOOL_LOOP_TTL_SECONDS", "tool_call_loop.ttl_seconds", NULL},
    {"TOOL_LOOP_MODE", "tool_call_loop.mode", NULL},
    {"HTTPS_PROXY", "https_proxy", "https_proxy"},
    {"HTTP_PROXY", "http_proxy", "http_proxy"},
    {"ALL_PROXY", "all_proxy", "all_proxy"},
    {"NO_PROXY", "no_proxy", "no_proxy"},
};
const size_t config_table_variables_n = COUNT_OF(config_table_variables);

/* --- finding --- */

static size_t find_row(const struct option *rows, size_t n, struct str path)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(str_c(rows[i].path), path))
            return i;
    }
    return SIZE_MAX;
}

static struct str resolve_alias(const struct config_alias *aliases, size_t n, struct str path)
{
    for (size_t i = 0; i < n; i++) {
        if (str_eq(str_c(aliases[i].path), path))
            return str_c(aliases[i].means);
    }
    return path;
}

/* Every valid path in some order; NULL at the end. */
static const char *path_at(size_t i)
{
    if (i < config_table_options_n)
        return config_table_options[i].path;
    i -= config_table_options_n;
    if (i < config_table_later_n)
        return config_table_later[i].path;
    i -= config_table_later_n;
    if (i < config_table_aliases_n)
        return config_table_aliases[i].path;
    i -= config_table_aliases_n;
    return i < COUNT_OF(structures) ? structures[i] : NULL;
}

static bool is_section(struct str path)
{
    const char *other;

    for (size_t i = 0; (other = path_at(i)) != NULL; i++) {
        struct str candidate = str_c(other);
        if (candidate.n > path.n && str_starts(candidate, path) && candidate.p[path.n] == '.')
            return true;
    }
    return false;
}

struct config_entry config_table_find(struct str path)
{
    struct str name = resolve_alias(config_table_aliases, config_table_aliases_n, path);
    size_t i;

    assert(path.n > 0);
    if ((i = find_row(config_table_options, config_table_options_n, name)) != SIZE_MAX)
        return (struct config_entry){CONFIG_ENTRY_OPTION, &config_table_options[i], i};
    if ((i = find_row(config_table_later, config_table_later_n, name)) != SIZE_MAX)
        return (struct config_entry){CONFIG_ENTRY_LATER, &config_table_later[i], i};
    if (str_eq(name, STR("api_keys")))
        return (struct config_entry){CONFIG_ENTRY_KEYS, NULL, 0};
    if (str_eq(name, STR("backends")))
        return (struct config_entry){CONFIG_ENTRY_BACKENDS, NULL, 0};
    if (str_eq(name, STR("model_aliases")))
        return (struct config_entry){CONFIG_ENTRY_ALIASES, NULL, 0};
    if (str_eq(name, STR("model_defaults")))
        return (struct config_entry){CONFIG_ENTRY_DEFAULTS, NULL, 0};
    if (is_section(name))
        return (struct config_entry){CONFIG_ENTRY_SECTION, NULL, 0};
    return (struct config_entry){CONFIG_ENTRY_NONE, NULL, 0};
}

struct config_entry config_table_find_backend(struct str key)
{
    struct str name = resolve_alias(backend_aliases, COUNT_OF(backend_aliases), key);
    size_t i;

    if ((i = find_row(config_table_backend, config_table_backend_n, name)) != SIZE_MAX)
        return (struct config_entry){CONFIG_ENTRY_OPTION, &config_table_backend[i], i};
    i = find_row(config_table_backend_later, config_table_backend_later_n, name);
    if (i != SIZE_MAX)
        return (struct config_entry){CONFIG_ENTRY_LATER, &config_table_backend_later[i], i};
    if (str_eq(name, STR("api_keys")))
        return (struct config_entry){CONFIG_ENTRY_KEYS, NULL, 0};
    return (struct config_entry){CONFIG_ENTRY_NONE, NULL, 0};
}

const struct config_vendor *config_table_vendor(struct str name)
{
    for (size_t i = 0; i < config_table_vendors_n; i++) {
        if (str_eq(str_c(config_table_vendors[i].name), name))
            return &config_table_vendors[i];
    }
    return NULL;
}

/* --- what was meant --- */

struct best {
    struct str name;
    size_t distance;
};

static void consider(struct best *best, struct str key, struct str component, struct str name)
{
    size_t distance = str_distance(key, component, 64);
    if (distance < best->distance) {
        best->distance = distance;
        best->name = name;
    }
}

/* The part of path that follows the section, up to the next dot; null when it is elsewhere. */
static struct str component_of(struct str path, struct str section)
{
    if (section.n > 0) {
        if (path.n <= section.n || !str_starts(path, section) || path.p[section.n] != '.')
            return STR_NULL;
        path = str_from(path, section.n + 1);
    }
    return str_head(path, str_find_char(path, '.', 0));
}

struct str config_table_nearest(struct str section, struct str key)
{
    struct best best = {.name = STR("backends"), .distance = SIZE_MAX};
    const char *path;

    for (size_t i = 0; (path = path_at(i)) != NULL; i++) {
        struct str component = component_of(str_c(path), section);
        if (!str_is_null(component))
            consider(&best, key, component,
                     str_head(str_c(path), section.n + (section.n > 0) + component.n));
    }
    if (best.distance <= 2)
        return best.name;
    /* The right name in the wrong section. */
    for (size_t i = 0; (path = path_at(i)) != NULL; i++) {
        struct str whole = str_c(path);
        size_t dot = str_find_char(whole, '.', 0);
        if (dot != SIZE_MAX ? str_eq(str_from(whole, dot + 1), key) : str_eq(whole, key))
            return whole;
    }
    /* A part of a name: "timeout" of proxy_timeout. */
    for (size_t i = 0; key.n >= 4 && (path = path_at(i)) != NULL; i++) {
        struct str component = component_of(str_c(path), section);
        if (!str_is_null(component) && str_find(component, key, 0) != SIZE_MAX)
            return str_head(str_c(path), section.n + (section.n > 0) + component.n);
    }
    assert(best.name.n > 0);
    return best.name;
}

struct str config_table_nearest_backend(struct str key)
{
    struct best best = {.name = STR("api_keys"), .distance = SIZE_MAX};

    consider(&best, key, STR("api_keys"), STR("api_keys"));
    for (size_t i = 0; i < config_table_backend_n; i++)
        consider(&best, key, str_c(config_table_backend[i].path),
                 str_c(config_table_backend[i].path));
    for (size_t i = 0; i < config_table_backend_later_n; i++)
        consider(&best, key, str_c(config_table_backend_later[i].path),
                 str_c(config_table_backend_later[i].path));
    for (size_t i = 0; i < COUNT_OF(backend_aliases); i++)
        consider(&best, key, str_c(backend_aliases[i].path), str_c(backend_aliases[i].path));
    assert(best.distance != SIZE_MAX);
    return best.name;
}
