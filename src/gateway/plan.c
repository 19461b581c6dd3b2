/* SPDX-License-Identifier: MIT */
/*
 * What      Chooses the element of the plan for the next attempt; finds keys by name; takes keys
 *           out of what a backend says.
 * Not here  Making the plan (pipeline/stage_resolve), the key of an attempt (keys).
 */
#include "gateway/plan.h"

#include "gateway/gateway_priv.h"

const struct backend_key *plan_key(const struct backend *backend)
{
    return backend->config->keys_n > 0 ? &backend->config->keys[0] : NULL;
}

const struct backend_key *plan_key_first(const struct backend *backend, int64_t now_ms)
{
    const struct backend_config *config = backend->config;

    return config->keys_n > 0 ? &config->keys[keyring_first(backend->keyring, now_ms)] : NULL;
}

const struct backend_key *plan_key_named(const struct backend *backend, struct str name)
{
    for (size_t i = 0; i < backend->config->keys_n && !str_is_null(name); i++) {
        if (str_eq(backend->config->keys[i].name, name))
            return &backend->config->keys[i];
    }
    return plan_key(backend);
}

enum { SECRET_SIZE_MIN = 6 }; /* shorter ones stand in any text by chance */

static const struct str redacted = STR_INIT("(API_KEY_HAS_BEEN_REDACTED)");

/* The texts that are to be taken out of another, as they come in it. */
struct search {
    struct str text;
    const struct str *what;
    size_t n;
    size_t at;
    size_t next[KEYRING_KEYS_MAX]; /* where each stands next, from `at` on; SIZE_MAX: nowhere */
};

static size_t find(struct str what, struct str text, size_t from)
{
    if (what.n < SECRET_SIZE_MIN || what.n > text.n - from ||
        LIKELY(memchr(text.p + from, what.p[0], text.n - from - what.n + 1) == NULL))
        return SIZE_MAX;
    return str_find(text, what, from);
}

static void search_init(struct search *search, struct str text, const struct str *what, size_t n)
{
    assert(n <= COUNT_OF(search->next));
    search->text = text;
    search->what = what;
    search->n = n;
    search->at = 0;
    for (size_t i = 0; i < n; i++)
        search->next[i] = find(what[i], text, 0);
}

/* The next one: what stands in front of it. False: there is none; that is the rest. Each is looked
 * for but once in each part of the text, however often others stand there. */
static bool search_next(struct search *search, struct str *ret_before)
{
    size_t first = SIZE_MAX;
    size_t n = 0;

    for (size_t i = 0; i < search->n; i++) {
        if (search->next[i] < search->at)
            search->next[i] = find(search->what[i], search->text, search->at);
        /* One may be the beginning of another. */
        if (search->next[i] < first || (search->next[i] == first && search->what[i].n > n)) {
            first = search->next[i];
            n = search->what[i].n;
        }
    }
    *ret_before = str_from(search->text, search->at);
    if (LIKELY(first == SIZE_MAX))
        return false;
    *ret_before = str_head(*ret_before, first - search->at);
    search->at = first + n;
    return true;
}

static struct str replace(struct str text, const struct str *what, size_t n, struct arena *arena)
{
    struct search search;
    struct str before;
    size_t count = 0;
    size_t size = 0;

    search_init(&search, text, what, n);
    while (UNLIKELY(search_next(&search, &before))) {
        count++;
        size += before.n + redacted.n;
    }
    if (count == 0)
        return text;
    size += before.n;
    char *out = arena_alloc(arena, size);
    if (arena_overflowed(arena))
        return STR_NULL;
    char *p = out;
    search_init(&search, text, what, n);
    while (search_next(&search, &before)) {
        memcpy(p, before.p, before.n);
        memcpy(p + before.n, redacted.p, redacted.n);
        p += before.n + redacted.n;
    }
    memcpy(p, before.p, before.n);
    assert(p + before.n == out + size);
    return str_of(out, size);
}

static size_t keys_of(const struct backend *backend, struct str ret_keys[KEYRING_KEYS_MAX])
{
    const struct backend_config *config = backend->config;

    assert(config->keys_n <= KEYRING_KEYS_MAX);
    for (size_t i = 0; i < config->keys_n; i++)
        ret_keys[i] = secret_reveal(&config->keys[i].key);
    return config->keys_n;
}

struct str plan_redact_keys(const struct backend *backend, struct str text, struct arena *arena)
{
    struct str keys[KEYRING_KEYS_MAX];

    return replace(text, keys, keys_of(backend, keys), arena);
}

struct str plan_redact(const struct backend *backend, struct str text, struct arena *arena)
{
    const struct backend_config *config = backend->config;

    text = plan_redact_keys(backend, text, arena);
    for (size_t i = 0; i < config->headers.n; i++) {
        struct str line = config->headers.items[i];
        size_t colon = str_find_char(line, ':', 0);
        if (colon != SIZE_MAX) {
            const struct str value = str_trim(str_from(line, colon + 1));
            text = replace(text, &value, 1, arena);
        }
    }
    return text;
}

static bool has_key(const struct backend *backend, struct str text)
{
    const struct backend_config *config = backend->config;

    for (size_t i = 0; i < config->keys_n; i++) {
        if (UNLIKELY(find(secret_reveal(&config->keys[i].key), text, 0) != SIZE_MAX))
            return true;
    }
    return false;
}

static COLD void add_without_keys(const struct backend *backend, struct str value, struct buf *out)
{
    struct str keys[KEYRING_KEYS_MAX];
    struct search search;
    struct str before;

    search_init(&search, value, keys, keys_of(backend, keys));
    while (search_next(&search, &before)) {
        (void)buf_add(out, before);
        (void)buf_add(out, redacted);
    }
    (void)buf_add(out, before);
}

/* Of each answer's headers: hardly any has one. */
void plan_add_redacted(const struct backend *backend, struct str value, struct buf *out)
{
    if (UNLIKELY(has_key(backend, value)))
        add_without_keys(backend, value, out);
    else
        (void)buf_add(out, value);
}

/* Its second one for clients of that, and to count tokens where the first cannot. */
static const struct protocol *protocol_for(const struct exchange *x, const struct backend *backend)
{
    const struct protocol *also = backend->also;
    bool counts = x->call.intake.operation == OP_COUNT_TOKENS;

    if (UNLIKELY(x->opaque != NULL))
        return x->call.intake.protocol; /* opaque_start has looked whether it speaks that */
    if (also == NULL)
        return backend->protocol;
    if (also == x->call.intake.protocol)
        return also;
    return counts && backend->also_counts && backend->protocol->count_decode == NULL
               ? also
               : backend->protocol;
}

/* At the session's URL in the place of its own. */
static enum error_code take_door(struct exchange *x, struct backend **backend, struct error *e)
{
    const struct settings *settings = x->call.settings;

    if (LIKELY(settings == NULL || str_is_null(settings->openai_url)) ||
        !backend_is_openai(*backend))
        return OK;
    door_leave(&x->door);
    TRY(door_take(x->branch, *backend, settings->openai_url, &x->door, e));
    *backend = door_backend(x->door);
    return OK;
}

enum error_code plan_next(struct exchange *x, struct error *e)
{
    struct plan *plan = &x->call.plan;

    assert(plan->n == 1);
    assert(x->call.element == NULL);
    struct plan_element *element = &plan->elements[0];
    if (!element->backend->functional)
        return FAIL(e, ERR_NO_BACKEND, "%.*s has no key, or speaks a protocol that is not built in",
                    STR_ARG(element->backend->name));
    struct backend *backend = element->backend;
    TRY(take_door(x, &backend, e));
    x->call.element = element;
    x->attempt.backend = backend;
    x->attempt.protocol = protocol_for(x, backend);
    return OK;
}
