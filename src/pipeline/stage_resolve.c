/* SPDX-License-Identifier: MIT */
/*
 * What      Turns the model that the request names into a plan of elements.
 * Not here  Choosing among elements or keys (gateway/plan), changing the body (request_encode).
 */
#include "pipeline/stage.h"

static enum verdict resolve_request(struct call *call, void *state)
{
    struct plan_element *element = &call->plan.elements[0];
    struct str model = STR_NULL;
    bool prefixed = false;

    (void)state;
    if (backend_resolve(call->backends, call->request.model, &element->backend, &model, &prefixed,
                        &call->error) != OK)
        return STOP;
    assert(element->backend != NULL);
    /* Without a prefix the name stays as the client wrote it, to the byte. */
    bool edit = prefixed || str_is_null(call->request.model);
    element->model = edit ? model : STR_NULL;
    call->plan.n = 1;
    return NEXT;
}

const struct stage stage_resolve = {
    .name = "resolve",
    .request = resolve_request,
};
