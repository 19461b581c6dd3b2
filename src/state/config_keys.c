/* SPDX-License-Identifier: MIT */
/*
 * What      Keys: those that clients show (api_keys) and those of backends, in every form that
 *           the contract allows.
 * Owns      The secrets until they are the snapshot's. No message and no log line holds one; what
 *           is said of a key is its name and its place.
 * Not here  Which source wins (config.c), the vendors' prefixes (backend/backend.c).
 */
#include "state/config_priv.h"

#include "text/utf8.h"

enum { KEY_BYTES_MAX = 8192, NAME_BYTES_MAX = 128, CLIENT_KEYS_MAX = 10000, BACKEND_KEYS_MAX = 64 };

/* Why it cannot be a key; NULL: it can. */
static const char *key_fault(struct str key)
{
    assert(key.n > 0);
    if (key.n > KEY_BYTES_MAX)
        return "longer than 8192 bytes";
    if (str_trim(key).n < key.n)
        return "blanks or line breaks around it";
    if (key.p[0] == '"' || key.p[0] == '\'' || key.p[key.n - 1] == '"' || key.p[key.n - 1] == '\'')
        return "quotes around it";
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return "a blank, a control character or a letter beyond ASCII in it";
    }
    return NULL;
}

/* Reports a key that cannot be one. what: "api_keys" and the like. */
static bool check_key(struct config_reader *r, struct str key, struct str what, struct str where)
{
    const char *fault = key_fault(key);

    if (fault == NULL)
        return true;
    config_fault(r, where, "%.*s: Invalid API key format: %s", STR_ARG(what), fault);
    return false;
}

/* Reports what cannot be a key's name, which stands in logs and metrics. */
static bool check_name(struct config_reader *r, struct str name, struct str what, struct str where)
{
    const char *fault = NULL;

    if (name.n == 0 || name.n > NAME_BYTES_MAX)
        fault = "has 1 to 128 bytes";
    else if (utf8_has_control(name))
        fault = "has no line breaks and control characters";
    else if (str_trim(name).n < name.n)
        fault = "has no blanks around it";
    if (fault == NULL)
        return true;
    config_fault(r, where, "%.*s: a key's name %s", STR_ARG(what), fault);
    return false;
}

/* --- clients --- */

void config_keys_clients_clear(struct config *config)
{
    for (size_t i = 0; i < config->api_keys_n; i++)
        secret_free(&config->api_keys[i].key);
    config->api_keys = NULL;
    config->api_keys_n = 0;
}

/* Room for n keys. */
static void clients_begin(struct config_reader *r, size_t n, struct str where)
{
    struct arena *arena = &r->snapshot->arena;

    assert(where.n > 0);
    config_keys_clients_clear(r->config);
    r->config->api_keys = arena_zalloc(arena, (n > 0 ? n : 1) * sizeof(*r->config->api_keys));
    r->snapshot->keys_origin = str_copy(arena, where);
}

static void add_client(struct config_reader *r, struct client_key key, struct str text,
                       struct str where)
{
    struct config *config = r->config;

    if (text.n == 0 || !check_key(r, text, STR("api_keys"), where) ||
        arena_overflowed(&r->snapshot->arena))
        return;
    assert(config->api_keys != NULL);
    if (str_is_null(key.name))
        key.name = str_print(&r->arena, "key%zu", config->api_keys_n + 1);
    for (size_t i = 0; i < config->api_keys_n; i++) {
        if (str_eq(config->api_keys[i].name, key.name)) {
            config_fault(r, where, "api_keys: two keys are named %.*s", STR_ARG(key.name));
            return;
        }
        if (str_eq_secret(secret_reveal(&config->api_keys[i].key), text)) {
            config_fault(r, where, "api_keys: the same key as %.*s",
                         STR_ARG(config->api_keys[i].name));
            return;
        }
    }
    key.name = str_copy(&r->snapshot->arena, key.name);
    key.key = secret_new(text);
    config->api_keys[config->api_keys_n++] = key;
}

static void add_client_map(struct config_reader *r, const struct yaml_node *map)
{
    static const struct option admin = {"admin", OPTION_flag, 0, "", "", "", ""};
    struct client_key key = {.name = STR_NULL};
    struct str text = STR_NULL;

    assert(map->kind == YAML_MAP);
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next) {
        struct str name = child->key->scalar;
        struct str what = str_print(&r->arena, "api_keys: %.*s", STR_ARG(name));
        struct option_value value = {.hidden = true};
        struct option_result result;
        struct str why;
        if (config_yaml_is_duplicate(r, map, child, what))
            continue;
        if (!str_eq(name, STR("name")) && !str_eq(name, STR("key")) &&
            !str_eq(name, STR("admin"))) {
            config_fault(r, config_where(r, child->key),
                         "%.*s: unknown key; the nearest valid key is %s", STR_ARG(what),
                         str_distance(name, STR("admin"), 8) < 3  ? "admin"
                         : str_distance(name, STR("name"), 8) < 3 ? "name"
                                                                  : "key");
            continue;
        }
        if (config_yaml_value(r, child, what, &value) != CONFIG_YAML_VALUE)
            continue;
        if (str_eq(name, STR("admin"))) {
            if (option_parse(&admin, &value, &r->arena, &result, &why))
                key.admin = result.flag;
            else
                config_fault(r, config_where(r, child), "%.*s: %.*s", STR_ARG(what), STR_ARG(why));
        } else if (value.is_list) {
            config_fault(r, config_where(r, child), "%.*s: must be text", STR_ARG(what));
        } else if (str_eq(name, STR("name"))) {
            if (check_name(r, value.text, STR("api_keys"), config_where(r, child)))
                key.name = value.text;
        } else {
            text = value.text;
        }
    }
    if (str_is_null(text))
        config_fault(r, config_where(r, map), "api_keys: an entry needs key:");
    else
        add_client(r, key, text, config_where(r, map));
}

void config_keys_clients(struct config_reader *r, const struct yaml_node *node)
{
    size_t n = 0;

    if (node->kind == YAML_MAP) {
        config_fault(r, config_where(r, node),
                     "api_keys: must be a list of keys, or of {name, key, admin}, not a map");
        return;
    }
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next)
        n++;
    if (n > CLIENT_KEYS_MAX) {
        config_fault(r, config_where(r, node), "api_keys: more than %d", CLIENT_KEYS_MAX);
        return;
    }
    clients_begin(r, n, config_where(r, node));
    const struct yaml_node *first = node->kind == YAML_SCALAR ? node : node->first;
    for (const struct yaml_node *child = first; child != NULL; child = child->next) {
        struct option_value value = {.hidden = true};
        if (child->kind == YAML_MAP)
            add_client_map(r, child);
        else if (child->kind == YAML_LIST)
            config_fault(r, config_where(r, child), "api_keys: must be text, not a list");
        else if (config_yaml_value(r, child, STR("api_keys"), &value) == CONFIG_YAML_VALUE)
            add_client(r, (struct client_key){.name = STR_NULL}, value.text,
                       config_where(r, child));
        if (child == node)
            break;
    }
}

static size_t comma_parts(struct str text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ',';
    return n;
}

/* The parts of a comma list, with what they hold of blanks: only those after a comma are the
 * list's own. */
static void add_clients_text(struct config_reader *r, struct str text, struct str where)
{
    struct str part;
    bool first = true;

    while (str_cut(&text, ',', &part)) {
        while (!first && part.n > 0 && part.p[0] == ' ')
            part = str_from(part, 1);
        add_client(r, (struct client_key){.name = STR_NULL}, part, where);
        first = false;
    }
}

void config_keys_clients_text(struct config_reader *r, struct str text, struct str where)
{
    if (comma_parts(text) > CLIENT_KEYS_MAX) {
        config_fault(r, where, "api_keys: more than %d", CLIENT_KEYS_MAX);
        return;
    }
    clients_begin(r, comma_parts(text), where);
    add_clients_text(r, text, where);
}

void config_keys_clients_environment(struct config_reader *r)
{
    struct str list_where = STR_NULL;
    struct str one_where = STR_NULL;
    struct str list = config_env_get(r, "API_KEYS", &list_where);
    struct str one = config_env_get(r, "LLM_INTERACTIVE_PROXY_API_KEY", &one_where);

    if (str_is_null(list)) {
        if (!str_is_null(one))
            config_keys_clients_text(r, one, one_where);
        return;
    }
    if (comma_parts(list) >= CLIENT_KEYS_MAX) {
        config_fault(r, list_where, "api_keys: more than %d", CLIENT_KEYS_MAX);
        return;
    }
    clients_begin(r, comma_parts(list) + 1, list_where);
    add_clients_text(r, list, list_where);
    /* Both name client keys; one that stands in both is one key. */
    for (size_t i = 0; i < r->config->api_keys_n; i++) {
        if (str_eq_secret(secret_reveal(&r->config->api_keys[i].key), one))
            return;
    }
    add_client(r, (struct client_key){.name = STR_NULL}, one, one_where);
}

/* --- backends --- */

void config_keys_backend_clear(struct backend_config *backend)
{
    for (size_t i = 0; i < backend->keys_n; i++)
        secret_free(&backend->keys[i].key);
    backend->keys = NULL;
    backend->keys_n = 0;
}

void config_keys_backend_add(struct config_reader *r, struct backend_config *backend,
                             struct str name, struct str key, struct str where)
{
    struct arena *arena = &r->snapshot->arena;
    struct str what = str_print(&r->arena, "backends.%.*s.api_keys.%.*s", STR_ARG(backend->name),
                                STR_ARG(name));

    /* An empty one comes of ${NAME:-}: no key. */
    if (key.n == 0 || !check_key(r, key, what, where))
        return;
    if (backend->keys_n == BACKEND_KEYS_MAX) {
        config_fault(r, where, "%.*s: more than %d keys", STR_ARG(what), BACKEND_KEYS_MAX);
        return;
    }
    size_t size = sizeof(*backend->keys);
    struct backend_key *keys = arena_grow(arena, backend->keys, backend->keys_n * size,
                                          (backend->keys_n + 1) * size);
    if (arena_overflowed(arena))
        return;
    backend->keys = keys;
    keys[backend->keys_n++] = (struct backend_key){
        .name = str_copy(arena, name),
        .key = secret_new(key),
    };
}

/* NULL: none of the backend's keys is that. */
static const struct backend_key *find_key(const struct backend_config *backend, struct str text)
{
    for (size_t i = 0; i < backend->keys_n; i++) {
        if (str_eq_secret(secret_reveal(&backend->keys[i].key), text))
            return &backend->keys[i];
    }
    return NULL;
}

static size_t count_lost(const struct backend_config *backend, const struct config_key *keys,
                         size_t n)
{
    size_t lost = 0;

    for (size_t i = 0; i < backend->keys_n; i++) {
        size_t k = 0;
        while (k < n && !str_eq_secret(secret_reveal(&backend->keys[i].key), keys[k].text))
            k++;
        lost += k == n ? 1 : 0;
    }
    return lost;
}

bool config_keys_backend_replace(struct config_reader *r, struct backend_config *backend,
                                 const struct config_key *keys, size_t n)
{
    size_t lost = count_lost(backend, keys, n);
    size_t known = 0;
    struct str *names = arena_array(&r->arena, n, sizeof(*names));

    assert(n > 0);
    if (arena_overflowed(&r->arena))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct backend_key *same = find_key(backend, keys[i].text);
        known += same == NULL ? 0 : 1;
        names[i] = same == NULL ? keys[i].name : same->name;
    }
    if (lost == 0 && known == n)
        return false;
    if (lost > 0)
        config_warn(r, keys[0].where,
                    "backends.%.*s: %zu of its keys in the file are not used, because %.*s is set",
                    STR_ARG(backend->name), lost, STR_ARG(keys[0].name));
    config_keys_backend_clear(backend);
    for (size_t i = 0; i < n; i++)
        config_keys_backend_add(r, backend, names[i], keys[i].text, keys[i].where);
    return true;
}

void config_keys_backend(struct config_reader *r, struct backend_config *backend,
                         const struct yaml_node *node, struct str what)
{
    const struct yaml_node *first = node->kind == YAML_SCALAR ? node : node->first;
    size_t number = 0;

    config_keys_backend_clear(backend);
    assert(backend->keys_n == 0);
    for (const struct yaml_node *child = first; child != NULL; child = child->next) {
        struct option_value value = {.hidden = true};
        struct str name = STR("default");
        number++;
        if (node->kind == YAML_MAP)
            name = child->key->scalar;
        else if (node->kind == YAML_LIST)
            name = str_print(&r->arena, "key%zu", number);
        if (node->kind == YAML_MAP && config_yaml_is_duplicate(r, node, child, what))
            continue;
        if (child->kind != YAML_SCALAR)
            config_fault(r, config_where(r, child), "%.*s: a key must be text", STR_ARG(what));
        else if (node->kind == YAML_MAP && !check_name(r, name, what, config_where(r, child->key)))
            continue;
        else if (config_yaml_value(r, child, what, &value) == CONFIG_YAML_VALUE)
            config_keys_backend_add(r, backend, name, value.text, config_where(r, child));
        if (child == node)
            break;
    }
}
