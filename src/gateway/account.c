/* SPDX-License-Identifier: MIT */
/*
 * What      What is said and counted of an exchange that is over: its lines in the log, and the
 *           metrics and percentiles that it counts in.
 * How       exchange.c calls both once, when everything else of the exchange has ended: times,
 *           tokens and bytes are final, its backend and key are still known.
 * Owns      Nothing.
 * Not here  What is counted while it runs (who does it counts it), phases (timing), what lines
 *           look like (base/log).
 */
#include "gateway/account.h"

#include "base/log.h"

static const char *outcome(const struct exchange *x, bool left)
{
    if (left)
        return x->station->aborted ? "aborted" : "client_left";
    if (x->call.error.code != OK)
        return error_name(x->call.error.code);
    return x->error_event || x->attempt.status >= 400 ? "upstream_error" : "ok";
}

/* From sending the request to the first byte of the answer; -1: none came. */
static int64_t first_byte_us(const struct exchange *x)
{
    int64_t us = x->first_us - x->sent_us;

    return x->first_us == 0 ? -1 : us < 0 ? 0 : us;
}

/* The one wide line of an exchange. */
static void tell_all(const struct exchange *x, bool left)
{
    const struct call *call = &x->call;
    bool failed = call->error.code != OK;
    struct str backend = x->attempt.backend == NULL ? STR_NULL : x->attempt.backend->name;
    const struct backend_key *key = x->attempt.key;
    UNINITIALIZED char total[TIMING_SECONDS_MAX];
    UNINITIALIZED char breakdown[TIMING_TEXT_MAX];
    UNINITIALIZED char overhead[TIMING_SECONDS_MAX];
    UNINITIALIZED char first[TIMING_SECONDS_MAX];
    size_t total_n = timing_seconds(timing_total_us(&x->timing), 3, total);
    size_t breakdown_n = timing_breakdown(&x->timing, breakdown);
    size_t overhead_n = timing_seconds(timing_own_us(&x->timing), 6, overhead);
    size_t first_n = timing_seconds(x->first_us == 0 ? 0 : first_byte_us(x), 6, first);

    LOG(GATEWAY, INFO, "PERF_SUMMARY",
        F_IF(!str_is_null(call->session_id), F_BARE("session", call->session_id)),
        F_BARE("total", str_of(total, total_n)),
        F_IF(!str_is_null(backend), F_STR("backend", backend)),
        F_IF(!str_is_null(x->model_sent), F_STR("model", x->model_sent)),
        F_BARE("breakdown", str_of(breakdown, breakdown_n)),
        F_BARE("overhead", str_of(overhead, overhead_n)),
        F_IF(x->first_us != 0, F_BARE("first_byte", str_of(first, first_n))),
        F_BARE("request", str_of(x->id, ID_SIZE)),
        F_IF(call->intake.client != NULL,
             F_STR("client", call->intake.client == NULL ? STR_NULL : call->intake.client->name)),
        F_BARE("peer", str_of(x->peer, x->peer_n)), F_INT("status", x->status),
        F_IF(key != NULL, F_STR("key", key == NULL ? STR_NULL : key->name)),
        F_IF(x->attempts > 0, F_INT("attempts", x->attempts)), F_INT("bytes_up", x->bytes_up),
        F_INT("bytes_down", x->bytes_down), F_INT("frames", x->frames),
        F_IF(call->usage.input >= 0, F_INT("tokens_in", call->usage.input)),
        F_IF(call->usage.output >= 0, F_INT("tokens_out", call->usage.output)),
        F_BARE("outcome", str_c(outcome(x, left))),
        F_IF(failed, F_Z("detail", call->error.detail)));
}

/* Without a session, tokens and times: what an access log has. */
static void tell_response(const struct exchange *x, bool left)
{
    LOG(GATEWAY, INFO, "response.sent", F_STR("request", str_of(x->id, ID_SIZE)),
        F_INT("status", x->status), F_INT("bytes", x->bytes_down),
        F_INT("ms", timing_total_us(&x->timing) / 1000), F_Z("outcome", outcome(x, left)));
}

void account_tell(const struct exchange *x, bool left)
{
    if (!x->quiet)
        tell_all(x, left);
    if (UNLIKELY(x->call.config->logging_response_logging))
        tell_response(x, left);
}

void account_count(struct exchange *x, bool left)
{
    struct metrics *metrics = &x->station->metrics;
    const struct timing *timing = &x->timing;
    const struct backend *backend = x->attempt.backend;
    size_t slot = backend == NULL ? PERF_PROXY : backend->slot;
    bool failed = x->call.error.code != OK || x->error_event || x->attempt.status >= 400;

    if (x->status != 0)
        metric_add(metrics, METRIC_requests_total, (size_t)(x->status / 100 - 1), 1);
    metric_add(metrics, METRIC_client_bytes_up_total, 0, (int64_t)x->bytes_up);
    metric_add(metrics, METRIC_client_bytes_down_total, 0, (int64_t)x->bytes_down);
    if (x->admitted) {
        struct perf_recent *recent = &x->station->gateway->slots.recent;
        if (UNLIKELY(perf_recent_is_due(recent, slot, timing->mark_us)))
            perf_recent_keep(recent, slot, timing->mark_us);
        perf_observe(&x->station->perf, slot,
                     left     ? PERF_CANCELLED
                     : failed ? PERF_ERROR
                              : PERF_OK,
                     timing, first_byte_us(x));
    }
    if (backend == NULL)
        return;
    metric_add(metrics, METRIC_frames_total, slot, (int64_t)x->frames);
    if (x->first_us != 0)
        metric_observe_backend_us(metrics, METRIC_first_byte_seconds, slot, first_byte_us(x));
    if (left)
        return;
    metric_observe_backend_us(metrics, METRIC_request_seconds, slot, timing_total_us(timing));
    metric_observe_backend_us(metrics, METRIC_upstream_seconds, slot, timing_upstream_us(timing));
}
