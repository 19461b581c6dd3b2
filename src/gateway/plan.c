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

static struct str replace_all(struct str text, struct str what, struct arena *arena)
{
    const struct str mark = redacted;
    size_t count = 0;

    if (what.n < SECRET_SIZE_MIN)
        return text;
    for (size_t at = 0; (at = str_find(text, what, at)) != SIZE_MAX; at += what.n)
        count++;
    if (count == 0)
        return text;
    char *out = arena_alloc(arena, text.n + count * mark.n);
    if (arena_overflowed(arena))
        return STR_NULL;
    size_t n = 0;
    for (size_t from = 0; from < text.n;) {
        size_t at = str_find(text, what, from);
        size_t end = at == SIZE_MAX ? text.n : at;
        memcpy(out + n, text.p + from, end - from);
        n += end - from;
        from = end;
        if (at != SIZE_MAX) {
            memcpy(out + n, mark.p, mark.n);
            n += mark.n;
            from += what.n;
        }
    }
    assert(n <= text.n + count * mark.n);
    return str_of(out, n);
}

struct str plan_redact_keys(const struct backend *backend, struct str text, struct arena *arena)
{
    const struct backend_config *config = backend->config;

    for (size_t i = 0; i < config->keys_n; i++)
        text = replace_all(text, secret_reveal(&config->keys[i].key), arena);
    return text;
}

struct str plan_redact(const struct backend *backend, struct str text, struct arena *arena)
{
    const struct backend_config *config = backend->config;

    text = plan_redact_keys(backend, text, arena);
    for (size_t i = 0; i < config->headers.n; i++) {
        struct str line = config->headers.items[i];
        size_t colon = str_find_char(line, ':', 0);
        if (colon != SIZE_MAX)
            text = replace_all(text, str_trim(str_from(line, colon + 1)), arena);
    }
    return text;
}

/* Where the key stands next, from there on; SIZE_MAX: nowhere. */
static size_t key_find(const struct backend_key *key, struct str text, size_t from)
{
    struct str secret = secret_reveal(&key->key);

    if (secret.n < SECRET_SIZE_MIN || secret.n > text.n - from ||
        LIKELY(memchr(text.p + from, secret.p[0], text.n - from - secret.n + 1) == NULL))
        return SIZE_MAX;
    return str_find(text, secret, from);
}

/* Each key is looked for but once in each part of the value, however often others stand there. */
void plan_add_redacted(const struct backend *backend, struct str value, struct buf *out)
{
    const struct backend_config *config = backend->config;
    size_t next[KEYRING_KEYS_MAX];
    size_t first;
    size_t at = 0;

    assert(config->keys_n <= COUNT_OF(next));
    for (size_t i = 0; i < config->keys_n; i++)
        next[i] = key_find(&config->keys[i], value, 0);
    do {
        size_t n = 0;
        first = SIZE_MAX;
        for (size_t i = 0; i < config->keys_n; i++) {
            size_t size = secret_reveal(&config->keys[i].key).n;
            if (next[i] < at)
                next[i] = key_find(&config->keys[i], value, at);
            /* One may be the beginning of another. */
            if (next[i] < first || (next[i] == first && size > n)) {
                first = next[i];
                n = size;
            }
        }
        (void)buf_add(out, str_head(str_from(value, at), first == SIZE_MAX ? first : first - at));
        if (UNLIKELY(first != SIZE_MAX)) {
            (void)buf_add(out, redacted);
            at = first + n;
        }
    } while (first != SIZE_MAX);
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
