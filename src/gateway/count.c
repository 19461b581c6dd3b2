/* SPDX-License-Identifier: MIT */
/*
 * What      How many tokens a request has, asked without generating (mapping.md, section 14).
 * How       A backend whose protocol can count is asked; of the client's own protocol its answer
 *           goes down as it is. Where none can, or the backend does not know the path, it is
 *           estimated, and said so in x-llm-proxy-estimated.
 * Not here  Which state is next (exchange).
 */
#include "gateway/count.h"

#include "gateway/gateway_priv.h"

#include "canon/estimate.h"

bool count_is_ours(const struct exchange *x)
{
    const struct attempt *attempt = &x->attempt;

    assert(x->call.intake.operation == OP_COUNT_TOKENS);
    return x->estimate || attempt->backend->local != NULL ||
           attempt->protocol->count_decode == NULL;
}

void count_estimate(struct exchange *x, struct buf *out)
{
    x->call.intake.protocol->count_encode(estimate_tokens(&x->call.request), out);
    x->estimated = true;
}

/* A 404 may also mean the model, which who says so names: that is an answer. */
bool count_is_refused(const struct exchange *x, struct str body)
{
    const struct attempt *attempt = &x->attempt;
    struct event event = {.kind = EVENT_ERROR};

    if (attempt->status == 405 || attempt->status == 501)
        return true;
    if (attempt->status != 404)
        return false;
    attempt->protocol->error_decode(attempt->status, body, x->call.arena, &event);
    return str_find(event.error.message, STR("model"), 0) == SIZE_MAX;
}

bool count_translate(struct exchange *x, struct str body, struct buf *out)
{
    int64_t tokens = 0;

    if (!x->attempt.protocol->count_decode(body, x->call.arena, &tokens) || tokens < 0)
        return false;
    x->call.intake.protocol->count_encode(tokens, out);
    return true;
}
