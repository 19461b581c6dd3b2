/* SPDX-License-Identifier: MIT */
/*
 * What      Counts the tokens that backends report.
 * How       USAGE events are cumulative: the last one counts, when the call is done. An answer that
 *           was broken off counts what it had.
 * Not here  Prices, reports.
 */
#include "pipeline/stage.h"

static enum verdict usage_request(struct call *call, void *state)
{
    (void)state;
    call->usage = (struct usage){-1, -1, -1, -1, -1, -1};
    return NEXT;
}

static enum event_verdict usage_event(struct call *call, void *state, struct frame *frame,
                                      struct event *event)
{
    (void)state;
    (void)frame;
    assert(event->kind == EVENT_USAGE);
    call->usage = event->usage;
    return PASS;
}

static void usage_done(struct call *call, void *state)
{
    (void)state;
    if (call->element == NULL)
        return;
    size_t slot = call->element->backend->slot;
    if (call->usage.input > 0)
        metric_add(call->metrics, METRIC_tokens_input_total, slot, call->usage.input);
    if (call->usage.output > 0)
        metric_add(call->metrics, METRIC_tokens_output_total, slot, call->usage.output);
    if (call->usage.cached > 0)
        metric_add(call->metrics, METRIC_tokens_cached_total, slot, call->usage.cached);
    if (call->usage.cache_written > 0)
        metric_add(call->metrics, METRIC_tokens_cache_written_total, slot,
                   call->usage.cache_written);
    if (call->usage.reasoning > 0)
        metric_add(call->metrics, METRIC_tokens_reasoning_total, slot, call->usage.reasoning);
}

const struct stage stage_usage = {
    .name = "usage",
    .event_mask = EVENT_BIT(EVENT_USAGE),
    .request = usage_request,
    .event = usage_event,
    .done = usage_done,
};
