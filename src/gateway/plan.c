/* SPDX-License-Identifier: MIT */
/*
 * What      Chooses the element of the plan, and the key, for the next attempt.
 * Not here  Making the plan (pipeline/stage_resolve).
 */
#include "gateway/gateway_priv.h"

const struct backend_key *plan_key(const struct backend *backend)
{
    return backend->config->keys_n > 0 ? &backend->config->keys[0] : NULL;
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
    x->call.element = element;
    x->attempt.backend = element->backend;
    return OK;
}
