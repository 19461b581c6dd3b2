/* SPDX-License-Identifier: MIT */
/*
 * What      Which backend and which of its models a client's model name means.
 * How       In this order:
 *             B:rest        B is configured                        rest of B
 *             B/rest        B is configured, the preferred backend's names have no slashes
 *                                                                  rest of B
 *             x:rest        the preferred backend's names have no colons
 *                                                                  Unknown backend: x
 *             anything      a model of the preferred backend
 *           A slash that stands before the first colon is looked at before the colon is an error:
 *           openai/ft:name is ft:name of openai.
 * Owns      Nothing; results are slices of the name, or the backend's.
 * Not here  Sessions, aliases, routes.
 */
#include "backend/backend.h"

#include "backend/backend_priv.h"
#include "text/utf8.h"

enum { SHOWN_NAME_MAX = 48, SHOWN_LIST_MAX = 96, HINT_ARENA_BYTES_MAX = 64 * 1024 };

static void add_hint(struct buf *out, const struct backend_set *set, struct str name)
{
    const struct backend_vendor *vendor = backend_vendor_of(name);
    struct str nearest = STR_NULL;
    size_t best = name.n < 4 ? 2 : 3;

    if (vendor != NULL && vendor->variable != NULL) {
        (void)buf_print(out, "; to configure it set %s_API_%s", vendor->variable,
                        vendor->key_needed ? "KEY" : "BASE_URL");
        if (vendor->key_needed && vendor->url == NULL)
            (void)buf_print(out, " and %s_API_BASE_URL", vendor->variable);
        return;
    }
    if (vendor != NULL) {
        (void)buf_print(out, "; to have it start with --%s", vendor->name);
        return;
    }
    for (size_t i = 0; i < set->n; i++) {
        size_t distance = str_distance(name, set->items[i].name, 3);
        if (distance < best) {
            best = distance;
            nearest = set->items[i].name;
        }
    }
    if (!str_is_null(nearest))
        (void)buf_print(out, "; did you mean %.*s?", STR_ARG(nearest));
}

void backend_resolve_known(const struct backend_set *set, struct str name, struct buf *out)
{
    size_t begin = out->n;

    (void)buf_add(out, STR(" (known:"));
    for (size_t i = 0; i < set->n; i++) {
        if (out->n - begin + set->items[i].name.n > SHOWN_LIST_MAX) {
            (void)buf_add(out, STR(" ..."));
            break;
        }
        (void)buf_print(out, "%s%.*s", i == 0 ? " " : ", ", STR_ARG(set->items[i].name));
    }
    (void)buf_add_char(out, ')');
    add_hint(out, set, utf8_head(name, SHOWN_NAME_MAX));
}

/* "ft:gpt-4o:org::id" is no backend's with a prefix, but a name that has colons itself. */
static enum error_code unknown(const struct backend_set *set, const struct backend *preferred,
                               struct str model, struct error *e)
{
    struct buf text;
    struct str name = str_head(model, str_find_char(model, ':', 0));
    bool more = str_find_char(model, ':', name.n + 1) != SIZE_MAX;
    struct str shown = utf8_head(name, SHOWN_NAME_MAX);

    buf_init(&text, ERROR_DETAIL_SIZE);
    (void)buf_print(&text, "%.*s%s", STR_ARG(shown), shown.n < name.n ? "..." : "");
    backend_resolve_known(set, name, &text);
    if (more && buf_str(&text).p[text.n - 1] == ')')
        (void)buf_print(&text, "; for a model whose own name has colons write %.*s:%.*s:...",
                        STR_ARG(preferred->name), STR_ARG(shown));
    enum error_code code = FAIL(e, ERR_UNKNOWN_BACKEND, "%.*s", STR_ARG(buf_str(&text)));
    buf_fini(&text);
    return code;
}

static enum error_code not_functional(const struct backend *backend, struct error *e)
{
    struct arena arena;

    arena_init(&arena, HINT_ARENA_BYTES_MAX, 512, NULL);
    struct str why = backend_why(backend, &arena);
    enum error_code code = FAIL(e, ERR_NO_BACKEND, "%.*s is not functional: %.*s",
                                STR_ARG(backend->name), STR_ARG(why));
    arena_fini(&arena);
    return code;
}

static bool any_functional(const struct backend_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->items[i].functional)
            return true;
    }
    return false;
}

static enum error_code none_functional(const struct backend_set *set,
                                       const struct backend *preferred, struct error *e)
{
    if (preferred != NULL)
        return not_functional(preferred, e);
    if (set->n > 0)
        return not_functional(&set->items[0], e);
    return FAIL(e, ERR_NO_BACKEND, "%s", backend_advice);
}

/* The configured backend before the first separator; NULL without one. */
static struct backend *prefix_backend(const struct backend_set *set, struct str model,
                                      char separator, struct str *ret_rest)
{
    size_t at = str_find_char(model, separator, 0);

    if (at == SIZE_MAX)
        return NULL;
    *ret_rest = str_from(model, at + 1);
    return backend_find(set, str_head(model, at));
}

enum error_code backend_resolve_for(const struct backend_set *set, struct backend *preferred,
                                    struct str model, struct backend_choice *ret_choice,
                                    struct error *e)
{
    struct str rest = STR_NULL;

    if (!any_functional(set))
        return none_functional(set, preferred, e);
    assert(preferred != NULL);

    struct backend *backend = prefix_backend(set, model, ':', &rest);
    if (backend == NULL && !preferred->slash_names)
        backend = prefix_backend(set, model, '/', &rest);
    bool prefixed = backend != NULL;
    if (backend == NULL) {
        if (str_find_char(model, ':', 0) != SIZE_MAX && !preferred->colon_names)
            return unknown(set, preferred, model, e);
        backend = preferred;
        rest = model;
    }
    assert(rest.n <= model.n);
    if (!backend->functional)
        return not_functional(backend, e);
    if (prefixed && rest.n == 0 && str_is_null(backend->default_model))
        return FAIL(e, ERR_BAD_REQUEST, "model: no name after the backend %.*s",
                    STR_ARG(backend->name));
    assert(backend->protocol != NULL);
    ret_choice->backend = backend;
    ret_choice->model = rest.n > 0 ? rest : backend->default_model;
    ret_choice->prefixed = prefixed;
    return OK;
}

enum error_code backend_resolve(const struct backend_set *set, struct str model,
                                struct backend **ret_backend, struct str *ret_model,
                                bool *ret_prefixed, struct error *e)
{
    struct backend_choice choice;

    /* default_backend, else the first functional one. */
    TRY(backend_resolve_for(set, set->preferred, model, &choice, e));
    *ret_backend = choice.backend;
    *ret_model = choice.model;
    *ret_prefixed = choice.prefixed;
    return OK;
}
