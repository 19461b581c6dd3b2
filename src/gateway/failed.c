/* SPDX-License-Identifier: MIT */
/*
 * What      An upstream's error for a client of another protocol: as one of ours, with the
 *           upstream's words, without our keys in them (contract, section 2; mapping.md, 11).
 * Not here  Errors that reach the client with their own bytes (exchange, attempt); what class they
 *           are of (canon/failure), how the client's protocol says them (protocol/).
 */
#include "gateway/failed.h"

#include "gateway/gateway_priv.h"
#include "gateway/plan.h"
#include "gateway/quota.h"

#include "canon/failure.h"

enum { WAIT_S_MAX = 7 * 24 * 3600 };

/* By the answer's own header, else its words, else its limits. */
int64_t failed_wait_ms(struct exchange *x, const struct event *error, struct str body)
{
    const struct message *head = x->attempt.head; /* NULL after commit */
    int64_t now_ms = loop_wall_ms(x->station->loop);
    double wait_s = head == NULL ? -1 : quota_told_s(head, now_ms);

    if (wait_s < 0) {
        wait_s = failure_wait_s(error, body, &x->answer);
        if (wait_s <= 0 && head != NULL)
            wait_s = quota_wait_s(head, now_ms);
        if (wait_s <= 0)
            return -1;
    }
    if (wait_s > WAIT_S_MAX)
        return -1;
    int64_t wait_ms = (int64_t)(wait_s * 1000);
    return (double)wait_ms < wait_s * 1000 ? wait_ms + 1 : wait_ms;
}

void failed_told(struct exchange *x, const struct event *error, struct str body)
{
    const struct backend *backend = x->attempt.backend;
    const struct backend_key *key = x->attempt.key;
    const struct failure_names names = {
        .backend = backend->name,
        .key = key == NULL ? STR("(none)") : key->name,
        .model = x->model_sent,
    };
    struct event event = *error;

    assert(error->kind == EVENT_ERROR);
    event.error.message = plan_redact(backend, event.error.message, &x->answer);
    failure_make(&event, &names, &x->call.error);
    x->call.error.said = str_copy(&x->answer, x->call.error.said);
    x->upstreams_error = true;
    int64_t wait_ms = failed_wait_ms(x, error, body);
    /* Of several keys the first that may be used again. */
    if (x->attempt.keys.wait_ms > 0)
        wait_ms = x->attempt.keys.wait_ms;
    x->call.error.wait_ms = wait_ms > 0 ? wait_ms : 0;
}

void failed_whole(struct exchange *x, struct str body)
{
    const struct attempt *attempt = &x->attempt;
    struct event event = {.kind = EVENT_ERROR};

    if (attempt->status < 400) {
        FAIL(&x->call.error, ERR_UPSTREAM_BROKEN, "status %d from %.*s", attempt->status,
             STR_ARG(str_head(attempt->backend->name, 40)));
        return;
    }
    attempt->protocol->error_decode(attempt->status, body, x->call.arena, &event);
    failed_told(x, &event, body);
}
