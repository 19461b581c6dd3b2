/* SPDX-License-Identifier: MIT */
/*
 * What      Backends from a configuration: vendor's line, URL with its version, key header,
 *           dialect; which of them are functional.
 * Owns      The set and its arena; it holds a reference of the configuration, whose text it
 *           borrows.
 * Not here  Which backend a model's name means (backend_resolve.c), connections (gateway, http).
 */
#include "backend/backend.h"

#include "backend/backend_priv.h"
#include "base/mem.h"

enum { SET_BYTES_MAX = 16 * 1024 * 1024 };

/* Of requests to deployments, and to models by name in the body (…/models). */
#define VERSION_OF_DEPLOYMENTS "2024-10-21"
#define VERSION_OF_MODELS      "2024-05-01-preview"

#define PROTOCOL(variable) extern const struct protocol variable;
#include "protocol/protocols.def"
#undef PROTOCOL

#define BACKEND(...)
#define BACKEND_VARIABLE(...)
#define LOCAL_BACKEND(name_, protocol_, local_, ...) extern const struct local_backend local_;
#include "backend/backends.def"
#undef BACKEND
#undef LOCAL_BACKEND

static const struct backend_vendor vendors[] = {
#define BACKEND(name_, protocol_, url_, variable_, key_header_, key_needed_, ...) \
    {.name = #name_,                                                              \
     .protocol = &(protocol_),                                                    \
     .url = (url_),                                                               \
     .variable = (variable_),                                                     \
     .key_header = (key_header_),                                                 \
     .key_needed = (key_needed_),                                                 \
     __VA_ARGS__},
#define LOCAL_BACKEND(name_, protocol_, local_, ...) \
    {.name = #name_, .protocol = &(protocol_), .local = &(local_), __VA_ARGS__},
#include "backend/backends.def"
#undef BACKEND
#undef BACKEND_VARIABLE
#undef LOCAL_BACKEND
};

const char backend_advice[] = "set OPENAI_API_KEY, or configure one in config.yaml, or try --demo";

const struct backend_vendor *backend_vendor_of(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(vendors); i++) {
        if (str_eq(str_c(vendors[i].name), name))
            return &vendors[i];
    }
    return NULL;
}

/* The vendor of an entry, whose line gives what the entry does not say. */
static const struct backend_vendor *vendor_of(const struct backend_config *config)
{
    return backend_vendor_of(str_is_null(config->type) ? config->name : config->type);
}

/* --- URLs --- */

/* "v1", "v1beta", "v2.1" */
static bool is_version(struct str segment)
{
    if (segment.n < 2 || segment.p[0] != 'v' || segment.p[1] < '0' || segment.p[1] > '9')
        return false;
    for (size_t i = 2; i < segment.n; i++) {
        char c = segment.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '.'))
            return false;
    }
    return true;
}

/* A base whose path has a version anywhere is taken as it is: some vendors put it in the middle
 * (/v1beta/openai, /v1/ACCOUNT/GATEWAY/openai). */
static bool has_version(struct str path)
{
    struct str segment;

    while (str_cut(&path, '/', &segment)) {
        if (is_version(segment))
            return true;
    }
    return false;
}

/* What a base without a version lacks: of the vendor's own path its version (/v4), of others the
 * protocol's. */
static struct str missing_version(const struct backend *backend,
                                  const struct backend_vendor *vendor, struct arena *arena)
{
    struct str path = backend->url.path;
    struct url own;
    struct error e;

    if (vendor->url != NULL && path.n > 0 && url_parse(str_c(vendor->url), arena, &own, &e) == OK &&
        str_starts(own.path, path)) {
        struct str rest = str_from(own.path, path.n);
        if (rest.n > 1 && rest.p[0] == '/' && is_version(str_from(rest, 1)))
            return rest;
    }
    return str_c(backend->protocol->api_version);
}

/* HOST and HOST/openai: deployments, with a version by date. HOST/models: the model stands in the
 * body, the version is by date as well. HOST/openai/v1: neither. */
static void make_deployments(struct backend *backend, struct arena *arena)
{
    struct str path = backend->url.path;
    struct str version = backend->config->api_version;
    bool in_body = str_ends(path, STR("/models"));

    if (has_version(path))
        return;
    backend->deployments = !in_body;
    if (str_is_null(version))
        version = in_body ? STR(VERSION_OF_MODELS) : STR(VERSION_OF_DEPLOYMENTS);
    backend->query = str_print(arena, "api-version=%.*s", STR_ARG(version));
    if (!in_body && !str_ends(path, STR("/openai")))
        backend->url.path = str_print(arena, "%.*s/openai", STR_ARG(path));
}

/* Where the list of models is. */
static void make_models_path(struct backend *backend, const struct backend_vendor *vendor,
                             struct arena *arena)
{
    struct url own;
    struct error e;
    struct str base = backend->base_path;
    const char *path = backend->protocol->models_path;

    if (vendor->models_path != NULL && url_parse(str_c(vendor->url), arena, &own, &e) == OK &&
        str_eq(own.path, base)) {
        base = STR("");
        path = vendor->models_path;
    }
    if (path == NULL)
        return;
    backend->models_path = str_print(arena, "%.*s%s%s%.*s", STR_ARG(base), path,
                                     str_is_null(backend->query) ? "" : "?",
                                     STR_ARG(backend->query));
}

static enum error_code make_url(struct backend *backend, const struct backend_vendor *vendor,
                                struct str text, struct arena *arena, struct error *e)
{
    struct error inner;

    assert(!str_is_null(text));
    assert(backend->local == NULL);
    if (url_parse(text, arena, &backend->url, &inner) != OK)
        return FAIL(e, ERR_CONFIG, "backends.%.*s.api_url: must not be %s", STR_ARG(backend->name),
                    inner.detail);
    if (!str_is_null(backend->url.query))
        return FAIL(e, ERR_CONFIG, "backends.%.*s.api_url: must not have a query",
                    STR_ARG(backend->name));
    if (vendor->deployments)
        make_deployments(backend, arena);
    else if (backend->protocol != NULL && !vendor->bare_url && !has_version(backend->url.path))
        backend->url.path = str_print(arena, "%.*s%.*s", STR_ARG(backend->url.path),
                                      STR_ARG(missing_version(backend, vendor, arena)));
    backend->base_path = backend->url.path;
    assert(backend->base_path.n == 0 || backend->base_path.p[0] == '/');
    backend->authority = url_authority(&backend->url, arena);
    if (backend->protocol != NULL)
        make_models_path(backend, vendor, arena);
    return OK;
}

/* --- one backend --- */

static enum key_header key_header_of(struct str protocol)
{
    if (str_eq(protocol, STR("anthropic")))
        return KEY_X_API_KEY;
    if (str_eq(protocol, STR("gemini")))
        return KEY_X_GOOG_API_KEY;
    return KEY_BEARER;
}

static bool chosen(int said, bool vendors_own)
{
    return said < 0 ? vendors_own : said != 0;
}

/* At another URL than the vendor's own something else may answer, which needs none; where everybody
 * has their own, a header may hold a token. */
static bool needs_key(const struct backend_config *config, const struct backend_vendor *vendor)
{
    if (!vendor->key_needed || str_is_null(config->api_url))
        return vendor->key_needed;
    return vendor->url == NULL && config->headers.n == 0;
}

/* What the vendor has at its own URL only. */
static void merge_own(struct backend *backend, const struct backend_vendor *vendor)
{
    backend->vendor = str_c(vendor->name);
    if (!str_is_null(backend->config->protocol))
        return;
    backend->also = vendor->also;
    backend->also_counts = vendor->also_counts;
}

static struct str default_model(const struct backend *backend)
{
    if (backend->config->models.n > 0)
        return backend->config->models.items[0];
    return backend->local != NULL ? str_c(backend->local->models[0]) : STR_NULL;
}

/* What the entry says, on top of its vendor's line. plain: the protocol without a vendor's dialect
 * and key header. */
static struct backend merge(const struct backend_config *config,
                            const struct backend_vendor *vendor, bool plain)
{
    struct backend backend = {.name = config->name, .config = config};

    backend.local = plain ? NULL : vendor->local;
    backend.protocol = vendor->protocol;
    if (backend.local == NULL && !str_is_null(config->protocol))
        backend.protocol = protocol_find(config->protocol);
    backend.dialect = plain ? (struct dialect){0} : vendor->dialect;
    backend.dialect.mend = !plain && !config->quirks_off && vendor->local == NULL &&
                           !vendor->dialect.answers_plain;
    backend.dialect.think_tags = chosen(config->think_tags, backend.dialect.think_tags);
    backend.key_header = plain ? key_header_of(config->protocol) : vendor->key_header;
    backend.colon_names = chosen(config->colon_names, vendor->colon_names);
    backend.slash_names = chosen(config->slash_names, vendor->slash_names);
    backend.key_needed = needs_key(config, vendor);
    backend.vendor = config->name;
    if (!plain && str_is_null(config->api_url))
        merge_own(&backend, vendor);
    backend.default_model = default_model(&backend);
    return backend;
}

static enum error_code make(const struct backend_config *config, struct arena *arena,
                            struct backend *ret_backend, struct error *e)
{
    static const struct backend_vendor none = {.name = ""};
    const struct backend_vendor *vendor = vendor_of(config);
    bool plain = vendor == NULL || (str_is_null(config->type) && !str_is_null(config->protocol));
    struct backend backend = merge(config, vendor == NULL ? &none : vendor, plain);
    struct str url = config->api_url;

    if (backend.local != NULL) {
        assert(backend.protocol != NULL);
        assert(backend.local->models[0] != NULL);
        backend.authority = STR("localhost");
        backend.base_path = str_c(backend.protocol->api_version);
        backend.functional = true;
        *ret_backend = backend;
        return OK;
    }
    bool vendors_url = str_is_null(url) && vendor != NULL;
    if (vendors_url)
        url = str_c(vendor->url);
    if (!str_is_null(url)) {
        TRY(make_url(&backend, plain && !vendors_url ? &none : vendor, url, arena, e));
        assert(backend.url.host.n > 0);
        backend.functional = backend.protocol != NULL &&
                             (config->keys_n > 0 || !backend.key_needed);
    }
    *ret_backend = backend;
    return OK;
}

struct str backend_type(const struct backend *backend)
{
    const struct backend_config *config = backend->config;
    bool plain = vendor_of(config) == NULL ||
                 (str_is_null(config->type) && !str_is_null(config->protocol));

    if (plain)
        return STR_NULL;
    return str_is_null(config->type) ? backend->name : config->type;
}

struct str backend_why(const struct backend *backend, struct arena *arena)
{
    const struct backend_config *config = backend->config;
    const struct backend_vendor *vendor = vendor_of(config);

    assert(!backend->functional);
    if (backend->protocol == NULL && !str_is_null(config->protocol))
        return str_print(arena, "this version does not speak %.*s yet", STR_ARG(config->protocol));
    assert(backend->protocol != NULL);
    if (backend->url.host.n == 0 && str_is_null(config->type) && vendor != NULL)
        return str_print(arena, "it has no api_url (set %s_API_BASE_URL)", vendor->variable);
    if (backend->url.host.n == 0)
        return STR("it has no api_url");
    if (str_is_null(config->type) && vendor != NULL && vendor->variable != NULL)
        return str_print(arena, "it has no key (set %s_API_KEY)", vendor->variable);
    return str_print(arena, "it has no key (set backends.%.*s.api_keys)", STR_ARG(backend->name));
}

/* --- at another URL --- */

bool backend_is_openai(const struct backend *backend)
{
    const struct backend_config *config = backend->config;

    if (!str_is_null(config->type))
        return str_eq(config->type, STR("openai"));
    return str_eq(config->name, STR("openai")) &&
           (str_is_null(config->protocol) || str_starts(config->protocol, STR("openai-")));
}

static bool same_origin(const struct url *a, const struct url *b)
{
    return a->https == b->https && a->port == b->port && str_eq(a->host, b->host);
}

/* Whose keys may go there: its own first. */
static const struct backend *find_twin(const struct backend_set *set, const struct backend *backend,
                                       const struct url *url)
{
    if (same_origin(&backend->url, url))
        return backend;
    for (size_t i = 0; i < set->n; i++) {
        const struct backend *other = &set->items[i];
        if (other->functional && other->local == NULL && other->config->keys_n > 0 &&
            other->protocol == backend->protocol && same_origin(&other->url, url))
            return other;
    }
    return NULL;
}

enum error_code backend_elsewhere(const struct backend_set *set, const struct backend *backend,
                                  struct str url, struct arena *arena, struct backend *ret_backend,
                                  struct error *e)
{
    struct backend_config *config = ARENA_NEW(arena, struct backend_config);
    struct backend moved;

    assert(backend->local == NULL && backend->functional);
    *config = *backend->config;
    config->api_url = str_copy(arena, url);
    config->keys = NULL;
    config->keys_n = 0;
    config->headers = (struct str_list){.n = 0};
    config->ca_file = set->config->ca_file;
    config->tls_verify = set->config->tls_verify;
    TRY(make(config, arena, &moved, e));
    const struct backend *twin = find_twin(set, backend, &moved.url);
    if (twin != NULL) {
        config->keys = twin->config->keys;
        config->keys_n = twin->config->keys_n;
        config->headers = twin->config->headers;
        config->ca_file = twin->config->ca_file;
        config->tls_verify = twin->config->tls_verify;
        config->policy = twin->config->policy;
        config->retry_wait_max_ms = twin->config->retry_wait_max_ms;
        moved.key_header = twin->key_header;
        moved.keyring = twin->keyring;
    }
    moved.place = backend->place;
    moved.slot = backend->slot;
    moved.load = backend->load;
    moved.twin = twin;
    *ret_backend = moved;
    return OK;
}

/* --- the set --- */

struct backend *backend_find(const struct backend_set *set, struct str name)
{
    for (size_t i = 0; i < set->n; i++) {
        if (str_eq(set->items[i].name, name))
            return &set->items[i];
    }
    return NULL;
}

static struct backend *first_functional(const struct backend_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->items[i].functional)
            return &set->items[i];
    }
    return NULL;
}

static enum error_code fill(struct backend_set *set, struct error *e)
{
    const struct config *config = set->config;
    size_t n = config->backends_n;

    assert(set->n == 0);
    set->items = arena_array(&set->arena, n + 1, sizeof(*set->items));
    if (arena_overflowed(&set->arena))
        return FAIL(e, ERR_CONFIG, "too many backends");
    for (size_t i = 0; i < n; i++) {
        TRY(make(&config->backends[i], &set->arena, &set->items[i], e));
        set->items[i].place = i;
        set->items[i].slot = i;
        set->items[i].load = &set->items[i].own_load;
        atomic_init(&set->items[i].own_load.connections, 0);
        atomic_init(&set->items[i].own_load.busy, 0);
        set->items[i].keyring = ARENA_NEW(&set->arena, struct keyring);
        if (arena_overflowed(&set->arena))
            return FAIL(e, ERR_CONFIG, "the backends need too much memory");
        keyring_init(set->items[i].keyring, &config->backends[i]);
        set->n++;
    }
    if (config->default_backend.n > 0) {
        set->preferred = backend_find(set, config->default_backend);
        if (set->preferred == NULL)
            return FAIL(e, ERR_CONFIG, "default_backend: %.*s is not configured",
                        STR_ARG(config->default_backend));
    } else {
        set->preferred = first_functional(set);
    }
    if (arena_overflowed(&set->arena))
        return FAIL(e, ERR_CONFIG, "the backends need too much memory");
    return OK;
}

enum error_code backend_set_new(struct config *config, struct backend_set **ret_set,
                                struct error *e)
{
    struct backend_set *set = mem_new(sizeof(*set));

    set->config = config_ref(config);
    arena_init(&set->arena, SET_BYTES_MAX, 1024, NULL);
    enum error_code code = fill(set, e);
    if (code != OK) {
        backend_set_free(&set);
        return code;
    }
    *ret_set = set;
    return OK;
}

void backend_set_free(struct backend_set **set)
{
    if (*set == NULL)
        return;
    for (size_t i = 0; i < (*set)->n; i++) {
        assert(atomic_load(&(*set)->items[i].own_load.connections) == 0 &&
               atomic_load(&(*set)->items[i].own_load.busy) == 0);
        keyring_fini((*set)->items[i].keyring);
    }
    config_unref(&(*set)->config);
    arena_fini(&(*set)->arena);
    mem_free(*set);
    *set = NULL;
}

/* --- checking --- */

/* Keys of another shape than the vendor's own, at the vendor's own URL. */
static void check_keys(const struct backend *backend, struct buf *report)
{
    const struct backend_config *config = backend->config;
    const struct backend_vendor *vendor = vendor_of(config);

    if (vendor == NULL || vendor->key_prefix == NULL || !str_is_null(config->api_url))
        return;
    for (size_t i = 0; i < config->keys_n; i++) {
        struct str key = secret_reveal(&config->keys[i].key);
        if (!str_starts(key, str_c(vendor->key_prefix)))
            (void)buf_print(report,
                            "%.*s: warning: backends.%.*s.api_keys.%.*s: Invalid API key "
                            "format: keys of %s begin with %s\n",
                            STR_ARG(config->where), STR_ARG(config->name),
                            STR_ARG(config->keys[i].name), vendor->name, vendor->key_prefix);
    }
}

static void check_version(const struct backend *backend, struct buf *report)
{
    const struct backend_config *config = backend->config;

    if (!str_is_null(config->api_version) && str_is_null(backend->query))
        (void)buf_print(report,
                        "%.*s: warning: backends.%.*s.api_version: has no effect: requests to "
                        "this URL name no version\n",
                        STR_ARG(config->where), STR_ARG(config->name));
}

size_t backend_check(const struct config *config, struct arena *arena, struct buf *report)
{
    size_t faults = 0;
    size_t functional = 0;

    for (size_t i = 0; i < config->backends_n; i++) {
        const struct backend_config *entry = &config->backends[i];
        struct backend backend;
        struct error e;
        if (make(entry, arena, &backend, &e) != OK) {
            (void)buf_print(report, "%.*s: error: %s\n", STR_ARG(entry->where), e.detail);
            faults++;
            continue;
        }
        check_keys(&backend, report);
        check_version(&backend, report);
        if (backend.functional) {
            functional++;
            continue;
        }
        struct str why = backend_why(&backend, arena);
        (void)buf_print(report, "%.*s: warning: backends.%.*s is not functional: %.*s\n",
                        STR_ARG(entry->where), STR_ARG(entry->name), STR_ARG(why));
    }
    if (functional == 0 && faults == 0)
        (void)buf_print(report, "warning: %s: %s\n", error_text(ERR_NO_BACKEND), backend_advice);
    return faults;
}
