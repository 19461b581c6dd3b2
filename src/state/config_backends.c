/* SPDX-License-Identifier: MIT */
/*
 * What      The backends: entries of backends:, and those that keys in the environment make.
 * How       File first; the environment then replaces the keys and the URL of the vendor's own
 *           backend, or adds it; demo comes last. At the end each entry takes from the top level
 *           what it does not say itself, and is checked.
 * Owns      The entries until they are the snapshot's.
 * Not here  What a vendor is (backend/backend.c): here it is known by its name only.
 */
#include "state/config_priv.h"

#include "io/address.h"
#include "text/url.h"

enum { NAME_BYTES_MAX = 64 };

/* All that the contract has, built or not; backend/backend.c says which work. */
static const char *const protocols[] = {"openai-chat", "openai-responses", "anthropic", "gemini"};

static struct str copy(struct config_reader *r, struct str s)
{
    return str_copy(&r->snapshot->arena, s);
}

static size_t find(const struct config_reader *r, struct str name)
{
    for (size_t i = 0; i < r->backends_n; i++) {
        if (str_eq(r->backends[i].name, name))
            return i;
    }
    return SIZE_MAX;
}

static size_t row_of(const char *path)
{
    for (size_t i = 0; i < config_table_backend_n; i++) {
        if (str_eq(str_c(config_table_backend[i].path), str_c(path)))
            return i;
    }
    BUG("no such option of a backend");
}

/* A new entry; NULL after a fault when there are too many. */
static struct backend_config *add(struct config_reader *r, struct str name, struct str where)
{
    if (r->backends_n == CONFIG_BACKENDS_MAX) {
        config_fault(r, where, "backends.%.*s: more than %d backends", STR_ARG(name),
                     CONFIG_BACKENDS_MAX);
        return NULL;
    }
    assert(find(r, name) == SIZE_MAX);
    assert(where.n > 0);
    struct backend_config *backend = &r->backends[r->backends_n];
    r->notes[r->backends_n] = (struct config_note){.keys = STR_NULL};
    r->backends_n++;
    *backend = (struct backend_config){
        .name = copy(r, name),
        .colon_names = -1,
        .slash_names = -1,
        .think_tags = -1,
        .policy = STR("sticky"),
        .where = copy(r, where),
    };
    return backend;
}

static bool name_is_good(struct str name)
{
    if (name.n == 0 || name.n > NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
            return false;
    }
    return true;
}

/* --- the file --- */

/* Parses with the range of the top level's option where the entry falls back to that. */
static bool parse_option(const struct option *option, const struct option_value *value,
                         struct arena *arena, struct option_result *ret_result, struct str *ret_why)
{
    struct option ranged = *option;

    if (option->preset == config_table_global) {
        struct config_entry top = config_table_find(str_c(option->path));
        assert(top.kind == CONFIG_ENTRY_OPTION && top.option->kind == option->kind);
        ranged.min = top.option->min;
        ranged.max = top.option->max;
    }
    return option_parse(&ranged, value, arena, ret_result, ret_why);
}

static void copy_result(struct config_reader *r, struct option_result *result)
{
    result->text = copy(r, result->text);
    if (result->list.n == 0)
        return;
    struct arena *arena = &r->snapshot->arena;
    struct str *items = arena_array(arena, result->list.n, sizeof(*items));
    for (size_t i = 0; i < result->list.n && !arena_overflowed(arena); i++)
        items[i] = copy(r, result->list.items[i]);
    result->list.items = items;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"(),/:;<=>?@[\\]{}", s.p[i]) != NULL)
            return false;
    }
    return s.n > 0;
}

/* What we send ourselves: a second one would contradict it. */
static bool is_own_header(struct str name)
{
    static const char *const own[] = {"host",       "content-length", "transfer-encoding",
                                      "connection", "expect",         "upgrade",
                                      "te",         "trailer",        "accept-encoding",
                                      "keep-alive", "content-type"};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        if (str_eq_nocase(name, str_c(own[i])))
            return true;
    }
    return false;
}

static const char *header_fault(struct str name, struct str value)
{
    if (!is_token(name))
        return "this is no name of a header";
    if (is_own_header(name))
        return "this header is the proxy's own";
    for (size_t i = 0; i < value.n; i++) {
        if ((unsigned char)value.p[i] < ' ' && value.p[i] != '\t')
            return "a header's value has no line breaks or control characters";
    }
    return NULL;
}

/* headers: a map of name and value. */
static bool read_headers(struct config_reader *r, const struct yaml_node *map, struct str what,
                         struct str_list *ret_list)
{
    size_t n = 0;

    if (map->kind != YAML_MAP) {
        config_fault(r, config_where(r, map), "%.*s: must be a map of names and values",
                     STR_ARG(what));
        return false;
    }
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next)
        n++;
    struct str_list list = {.items = arena_array(&r->arena, n > 0 ? n : 1, sizeof(struct str))};
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        struct str name = child->key->scalar;
        struct str path = str_print(&r->arena, "%.*s.%.*s", STR_ARG(what), STR_ARG(name));
        struct option_value value = {.hidden = true};
        if (arena_overflowed(&r->arena) || config_yaml_is_duplicate(r, map, child, path))
            continue;
        if (config_yaml_value(r, child, path, &value) != CONFIG_YAML_VALUE)
            continue;
        const char *fault = value.is_list ? "must be text, not a list"
                                          : header_fault(name, value.text);
        if (fault != NULL)
            config_fault(r, config_where(r, child), "%.*s: %s", STR_ARG(path), fault);
        else
            list.items[list.n++] = str_print(&r->arena, "%.*s: %.*s", STR_ARG(name),
                                             STR_ARG(value.text));
    }
    assert(list.n <= n);
    *ret_list = list;
    return true;
}

static void take_option(struct config_reader *r, size_t backend, size_t row,
                        const struct yaml_node *node, struct str what)
{
    const struct option *option = &config_table_backend[row];
    struct str *origin = &r->notes[backend].origins[row];
    struct option_value value = {.hidden = option->kind == OPTION_pairs};
    struct option_result result = {.text = STR_NULL};
    struct str why;

    assert(backend < r->backends_n);
    assert(row < config_table_backend_n);
    if (yaml_is_null(node))
        return;
    if (!str_is_null(*origin)) {
        config_fault(r, config_where(r, node->key), "%.*s: %s stands already at %.*s",
                     STR_ARG(what), option->path, STR_ARG(*origin));
        return;
    }
    if (option->kind == OPTION_pairs) {
        if (!read_headers(r, node, what, &result.list))
            return;
    } else {
        if (node->kind == YAML_MAP) {
            why = option_why(option, "a map", &r->arena);
            config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
            return;
        }
        if (config_yaml_value(r, node, what, &value) != CONFIG_YAML_VALUE)
            return;
        if (!parse_option(option, &value, &r->arena, &result, &why)) {
            config_fault(r, config_where(r, node), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
            return;
        }
        /* ${NAME:-} and "" are no value. */
        if (option->kind == OPTION_text && result.text.n == 0)
            return;
    }
    copy_result(r, &result);
    option_store(option, &result, &r->backends[backend]);
    *origin = copy(r, config_where(r, node));
}

static void take_field(struct config_reader *r, size_t backend, const struct yaml_node *node)
{
    struct str key = str_head(node->key->scalar, NAME_BYTES_MAX);
    struct str what = str_print(&r->arena, "backends.%.*s.%.*s", STR_ARG(r->backends[backend].name),
                                STR_ARG(key));
    struct config_entry entry = config_table_find_backend(key);

    switch (entry.kind) {
    case CONFIG_ENTRY_OPTION:
        take_option(r, backend, entry.index, node, what);
        return;
    case CONFIG_ENTRY_LATER:
        config_yaml_later(r, entry.option, node, what);
        return;
    case CONFIG_ENTRY_KEYS:
        if (yaml_is_null(node))
            return;
        if (!str_is_null(r->notes[backend].keys)) {
            config_fault(r, config_where(r, node->key), "%.*s: keys stand already at %.*s",
                         STR_ARG(what), STR_ARG(r->notes[backend].keys));
            return;
        }
        config_keys_backend(r, &r->backends[backend], node, what);
        r->notes[backend].keys = copy(r, config_where(r, node));
        return;
    case CONFIG_ENTRY_SECTION:
    case CONFIG_ENTRY_BACKENDS:
    case CONFIG_ENTRY_ALIASES:
    case CONFIG_ENTRY_DEFAULTS:
    case CONFIG_ENTRY_NONE:
        break;
    }
    struct str nearest = config_table_nearest_backend(key);
    config_fault(r, config_where(r, node->key), "%.*s: unknown key; the nearest valid key is %.*s",
                 STR_ARG(what), STR_ARG(nearest));
}

static void take_entry(struct config_reader *r, const struct yaml_node *node)
{
    struct str name = str_head(node->key->scalar, NAME_BYTES_MAX + 1);

    if (!name_is_good(name)) {
        config_fault(r, config_where(r, node->key),
                     "backends.%.*s: a backend's name is 1 to %d of a-z 0-9 _ . -", STR_ARG(name),
                     NAME_BYTES_MAX);
        return;
    }
    if (node->kind != YAML_MAP && !yaml_is_null(node)) {
        config_fault(r, config_where(r, node), "backends.%.*s: must be a map of options",
                     STR_ARG(name));
        return;
    }
    if (add(r, name, config_where(r, node->key)) == NULL || node->kind != YAML_MAP)
        return;
    size_t backend = r->backends_n - 1;
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        struct str what = str_print(&r->arena, "backends.%.*s.%.*s", STR_ARG(name),
                                    STR_ARG(child->key->scalar));
        if (!config_yaml_is_duplicate(r, node, child, what))
            take_field(r, backend, child);
    }
}

void config_backends_yaml(struct config_reader *r, const struct yaml_node *node)
{
    if (node->kind != YAML_MAP) {
        config_fault(r, config_where(r, node), "backends: must be a map of names and backends");
        return;
    }
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        struct str key = child->key->scalar;
        struct str what = str_print(&r->arena, "backends.%.*s", STR_ARG(key));
        struct option_value value = {.hidden = false};
        if (config_yaml_is_duplicate(r, node, child, what))
            continue;
        if (!str_eq(key, STR("default_backend")))
            take_entry(r, child);
        else if (child->kind != YAML_SCALAR)
            config_fault(r, config_where(r, child), "%.*s: must be text", STR_ARG(what));
        else if (config_yaml_value(r, child, what, &value) == CONFIG_YAML_VALUE)
            config_assign(r, what, &value, config_where(r, child));
    }
}

/* --- the environment --- */

static void take_key(struct config_reader *r, size_t backend, struct str name, struct str key,
                     struct str where)
{
    const struct config_key given = {.name = name, .text = key, .where = where};

    if (config_keys_backend_replace(r, &r->backends[backend], &given, 1))
        r->notes[backend].keys = copy(r, where);
}

/* VARIABLE_API_KEY_1 to _20 replace VARIABLE_API_KEY. Returns whether there was any. */
static bool take_keys(struct config_reader *r, size_t at, const char *variable)
{
    struct config_key given[CONFIG_NUMBERED_KEYS_MAX];
    struct str where = STR_NULL;
    const char *single = str_z(&r->arena, str_print(&r->arena, "%s_API_KEY", variable));
    struct str key = config_env_get(r, single, &where);
    size_t n = 0;

    for (int i = 1; i <= CONFIG_NUMBERED_KEYS_MAX; i++) {
        struct config_key *one = &given[n];
        one->name = str_print(&r->arena, "%s_API_KEY_%d", variable, i);
        one->text = config_env_get(r, str_z(&r->arena, one->name), &one->where);
        n += str_is_null(one->text) ? 0 : 1;
    }
    if (n > 0) {
        if (!str_is_null(key))
            config_warn(r, where, "not used, because %s_API_KEY_1 to _20 are set, too", variable);
        if (config_keys_backend_replace(r, &r->backends[at], given, n))
            r->notes[at].keys = copy(r, given[0].where);
        return true;
    }
    if (str_is_null(key))
        return false;
    take_key(r, at, str_c(single), key, where);
    return true;
}

/* The value of the first that is set of the other variables that the vendor has for it; null:
 * none is. */
static struct str get_also(struct config_reader *r, const struct config_vendor *vendor,
                           const char *what, struct str *ret_where, const char **ret_variable)
{
    for (size_t i = 0; i < config_table_vendor_variables_n; i++) {
        const struct config_vendor_variable *also = &config_table_vendor_variables[i];
        if (!str_eq(str_c(also->vendor), str_c(vendor->name)) ||
            !str_eq(str_c(also->what), str_c(what)))
            continue;
        struct str value = config_env_get(r, also->variable, ret_where);
        if (str_is_null(value))
            continue;
        *ret_variable = also->variable;
        return value;
    }
    return STR_NULL;
}

/* VARIABLE_API_BASE_URL, or another variable of the vendor's. */
static struct str get_url(struct config_reader *r, const struct config_vendor *vendor,
                          struct str *ret_where)
{
    const char *name = str_z(&r->arena, str_print(&r->arena, "%s_API_BASE_URL", vendor->variable));
    struct str url = config_env_get(r, name, ret_where);

    return str_is_null(url) ? get_also(r, vendor, "api_url", ret_where, &name) : url;
}

static void take_text(struct config_reader *r, size_t backend, const char *path, struct str text,
                      struct str where)
{
    size_t row = row_of(path);
    const struct option_result result = {.text = copy(r, text)};

    option_store(&config_table_backend[row], &result, &r->backends[backend]);
    r->notes[backend].origins[row] = copy(r, where);
}

/* The first variable that is set of those with a key or the URL; null: none. */
static struct str first_variable(struct config_reader *r, const struct config_vendor *vendor)
{
    struct str where = STR_NULL;
    const char *name = str_z(&r->arena, str_print(&r->arena, "%s_API_KEY", vendor->variable));

    if (!str_is_null(config_env_get(r, name, &where)) ||
        !str_is_null(get_also(r, vendor, "api_keys", &where, &name)) ||
        !str_is_null(get_url(r, vendor, &where)))
        return where;
    for (int i = 1; i <= CONFIG_NUMBERED_KEYS_MAX; i++) {
        struct str numbered = str_print(&r->arena, "%s_API_KEY_%d", vendor->variable, i);
        if (!str_is_null(config_env_get(r, str_z(&r->arena, numbered), &where)))
            return where;
    }
    return STR_NULL;
}

static void take_vendor(struct config_reader *r, const struct config_vendor *vendor)
{
    struct str where = first_variable(r, vendor);
    size_t i = find(r, str_c(vendor->name));
    const char *also = NULL;

    assert(!vendor->local && vendor->variable != NULL);
    if (i == SIZE_MAX) {
        if (str_is_null(where) || add(r, str_c(vendor->name), where) == NULL)
            return;
        i = r->backends_n - 1;
    }
    assert(i < r->backends_n);
    if (!take_keys(r, i, vendor->variable)) {
        struct str key = get_also(r, vendor, "api_keys", &where, &also);
        if (!str_is_null(key))
            take_key(r, i, str_c(also), key, where);
    }
    struct str url = get_url(r, vendor, &where);
    if (!str_is_null(url))
        take_text(r, i, "api_url", url, where);
    struct str version = get_also(r, vendor, "api_version", &where, &also);
    if (!str_is_null(version))
        take_text(r, i, "api_version", version, where);
}

void config_backends_environment(struct config_reader *r)
{
    for (size_t i = 0; i < config_table_vendors_n; i++) {
        if (!config_table_vendors[i].local)
            take_vendor(r, &config_table_vendors[i]);
    }
}

void config_backends_demo(struct config_reader *r, struct str where)
{
    if (find(r, STR("demo")) == SIZE_MAX)
        (void)add(r, STR("demo"), where);
}

/* --- whole --- */

static struct str place_of(const struct config_reader *r, size_t backend, const char *path)
{
    assert(backend < r->backends_n);
    struct str origin = r->notes[backend].origins[row_of(path)];
    return str_is_null(origin) ? r->backends[backend].where : origin;
}

static void inherit(struct config_reader *r, size_t backend)
{
    for (size_t i = 0; i < config_table_backend_n; i++) {
        const struct option *option = &config_table_backend[i];
        struct option_result result;
        if (option->preset != config_table_global || !str_is_null(r->notes[backend].origins[i]))
            continue;
        option_fetch(config_table_find(str_c(option->path)).option, r->config, &result);
        option_store(option, &result, &r->backends[backend]);
    }
}

/* The vendor whose name is the most like it, within so many edits; NULL: none is. */
static const char *nearest_vendor(struct str name, size_t edits_max)
{
    const char *nearest = NULL;
    size_t best = edits_max + 1;

    for (size_t k = 0; k < config_table_vendors_n; k++) {
        size_t distance = str_distance(name, str_c(config_table_vendors[k].name), edits_max);
        if (distance < best) {
            best = distance;
            nearest = config_table_vendors[k].name;
        }
    }
    return nearest;
}

/* The vendor whose line it takes; NULL: a plain protocol, or a fault that was reported. */
static const struct config_vendor *check_type(struct config_reader *r, size_t i)
{
    const struct backend_config *backend = &r->backends[i];
    const struct config_vendor *vendor;

    if (str_is_null(backend->type))
        return config_table_vendor(backend->name);
    vendor = config_table_vendor(backend->type);
    if (vendor != NULL)
        return vendor;
    const char *near = nearest_vendor(backend->type, NAME_BYTES_MAX);
    config_fault(r, place_of(r, i, "type"),
                 "backends.%.*s.type: unknown vendor%s%s; a backend of another one needs "
                 "protocol: and api_url: instead",
                 STR_ARG(backend->name), near == NULL ? "" : "; the nearest is ",
                 near == NULL ? "" : near);
    return NULL;
}

static void check_protocol(struct config_reader *r, size_t i)
{
    const struct backend_config *backend = &r->backends[i];

    if (str_is_null(backend->protocol))
        return;
    for (size_t k = 0; k < COUNT_OF(protocols); k++) {
        if (str_eq(backend->protocol, str_c(protocols[k])))
            return;
    }
    config_fault(r, place_of(r, i, "protocol"),
                 "backends.%.*s.protocol: must be openai-chat, openai-responses, anthropic or "
                 "gemini",
                 STR_ARG(backend->name));
}

/* Requests that come back to who sends them have no end. */
static void check_own_port(struct config_reader *r, size_t i, const struct url *url)
{
    if (!address_names_loopback(url->host) || url->port != r->config->port)
        return;
    config_fault(
        r, place_of(r, i, "api_url"),
        "backends.%.*s.api_url: at port %u of this machine the proxy itself listens; start "
        "it with another --port",
        STR_ARG(r->backends[i].name), (unsigned)url->port);
}

/* What is wrong is said without the URL itself: somebody may have put a key into it. */
static void check_url(struct config_reader *r, size_t i, const struct config_vendor *vendor)
{
    const struct backend_config *backend = &r->backends[i];
    bool vendors = vendor != NULL && !vendor->local && vendor->url != NULL &&
                   (!str_is_null(backend->type) || str_is_null(backend->protocol));
    struct url url;
    struct error e;

    if (str_is_null(backend->api_url)) {
        if (vendors && url_parse(str_c(vendor->url), &r->arena, &url, &e) == OK)
            check_own_port(r, i, &url);
        return;
    }
    if (url_parse(backend->api_url, &r->arena, &url, &e) != OK) {
        config_fault(r, place_of(r, i, "api_url"), "backends.%.*s.api_url: must not be %s",
                     STR_ARG(backend->name), e.detail);
        return;
    }
    if (!str_is_null(url.query))
        config_fault(r, place_of(r, i, "api_url"), "backends.%.*s.api_url: must not have a query",
                     STR_ARG(backend->name));
    check_own_port(r, i, &url);
    if (!url.https && !address_names_loopback(url.host) && backend->keys_n > 0)
        config_warn(r, place_of(r, i, "api_url"),
                    "backends.%.*s.api_url: http sends the key in clear text",
                    STR_ARG(backend->name));
}

/* It stands in the request line. */
static void check_version(struct config_reader *r, size_t i)
{
    const struct backend_config *backend = &r->backends[i];

    for (size_t k = 0; k < backend->api_version.n; k++) {
        char c = backend->api_version.p[k];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            c == '-' || c == '.' || c == '_')
            continue;
        config_fault(r, place_of(r, i, "api_version"),
                     "backends.%.*s.api_version: must be letters, digits and - . _, as "
                     "2024-10-21",
                     STR_ARG(backend->name));
        return;
    }
}

static void check_models(struct config_reader *r, size_t i)
{
    const struct backend_config *backend = &r->backends[i];

    for (size_t k = 0; k < backend->models.n; k++) {
        if (backend->models.items[k].n == 0)
            config_fault(r, place_of(r, i, "models"),
                         "backends.%.*s.models: number %zu is no model's name: it is empty",
                         STR_ARG(backend->name), k + 1);
    }
}

static void check_backend(struct config_reader *r, size_t i)
{
    const struct backend_config *backend = &r->backends[i];
    const struct config_vendor *vendor = check_type(r, i);
    bool typed = !str_is_null(backend->type);

    check_protocol(r, i);
    check_url(r, i, vendor);
    check_version(r, i);
    check_models(r, i);
    if (vendor == NULL && !typed) {
        const char *lacks = str_is_null(backend->protocol) && str_is_null(backend->api_url)
                                ? "protocol: and api_url:"
                            : str_is_null(backend->protocol) ? "protocol:"
                            : str_is_null(backend->api_url)  ? "api_url:"
                                                             : NULL;
        /* Of a short name any other is but a few letters away. */
        const char *near = nearest_vendor(backend->name,
                                          backend->name.n / 3 < 2 ? backend->name.n / 3 : 2);
        if (lacks != NULL)
            config_fault(r, backend->where,
                         "backends.%.*s: %s missing (or type:, for a vendor's)%s%s%s",
                         STR_ARG(backend->name), lacks, near == NULL ? "" : "; did you mean ",
                         near == NULL ? "" : near, near == NULL ? "" : "?");
    }
}

/* default_backend names one that exists; a vendor's then exists, though without a key. */
static void check_default(struct config_reader *r)
{
    struct str name = r->config->default_backend;
    struct config_entry entry = config_table_find(STR("default_backend"));
    struct str where = r->snapshot->origins[entry.index];
    struct str nearest = STR_NULL;
    size_t best = SIZE_MAX;

    assert(entry.kind == CONFIG_ENTRY_OPTION);
    if (name.n == 0 || find(r, name) != SIZE_MAX)
        return;
    assert(where.n > 0);
    const struct config_vendor *vendor = config_table_vendor(name);
    if (vendor != NULL && !vendor->local) {
        (void)add(r, name, where);
        return;
    }
    for (size_t i = 0; i < r->backends_n; i++) {
        size_t distance = str_distance(name, r->backends[i].name, NAME_BYTES_MAX);
        if (distance < best) {
            best = distance;
            nearest = r->backends[i].name;
        }
    }
    if (vendor != NULL)
        config_fault(r, where,
                     "default_backend: the built-in backend %s needs --demo, or "
                     "backends: %s:",
                     vendor->name, vendor->name);
    else if (best == SIZE_MAX)
        config_fault(r, where, "default_backend: no backend is configured");
    else
        config_fault(r, where,
                     "default_backend: no backend of that name is configured; the nearest is "
                     "%.*s",
                     STR_ARG(nearest));
}

void config_backends_finish(struct config_reader *r)
{
    struct config_snapshot *snapshot = r->snapshot;
    struct arena *arena = &snapshot->arena;

    assert(r->config->backends == NULL);
    assert(r->backends_n <= CONFIG_BACKENDS_MAX);
    check_default(r);
    for (size_t i = 0; i < r->backends_n; i++) {
        inherit(r, i);
        check_backend(r, i);
        const struct config_vendor *vendor = config_table_vendor(
            str_is_null(r->backends[i].type) ? r->backends[i].name : r->backends[i].type);
        r->config->demo |= vendor != NULL && vendor->local &&
                           (!str_is_null(r->backends[i].type) ||
                            str_is_null(r->backends[i].protocol));
    }
    size_t n = r->backends_n;
    struct backend_config *backends = arena_array(arena, n + 1, sizeof(*backends));
    struct config_note *notes = arena_array(arena, n + 1, sizeof(*notes));
    if (arena_overflowed(arena))
        return;
    memcpy(backends, r->backends, n * sizeof(*backends));
    memcpy(notes, r->notes, n * sizeof(*notes));
    r->config->backends = backends;
    r->config->backends_n = n;
    snapshot->notes = notes;
    r->backends_n = 0;
}
