/* SPDX-License-Identifier: MIT */
/*
 * Keys of attempts.
 *
 * What      Takes keys for an exchange's attempts, and tells what upstreams say of them.
 * How       429, or no credit in its words       the key cools, as long as the upstream names
 *           401, 403, a key that is none, 402    the key is marked, and skipped while another works
 *           ─► another key, at once, as long as there is one that the exchange has not tried; else
 *           ─► a pause, once, if a key is ready within retry_wait_max; else
 *           ─► the answer is the client's; of a refusal while a key that works cools, that it
 *              cools, as whoever comes next is told.
 *           Large requests are written anew from the body that is still there.
 * Owns      The pause's timer, in the exchange.
 * Not here  What is known of keys (backend/keyring), trying the same key again for other reasons.
 */
#include "gateway/keys.h"

#include "gateway/failed.h"
#include "gateway/gateway_priv.h"
#include "gateway/plan.h"
#include "gateway/quota.h"

#include "base/log.h"
#include "canon/failure.h"

static struct keyring *ring_of(const struct exchange *x)
{
    return x->attempt.backend->keyring;
}

static int64_t now_of(const struct exchange *x)
{
    return loop_now_ms(x->station->loop);
}

/* --- taking one --- */

/* Only where it makes a difference. */
static bool is_sticky(const struct exchange *x, const struct keyring *ring)
{
    return ring->n > 1 && ring->policy == KEYRING_STICKY && x->call.session != NULL;
}

static size_t hint_of(const struct exchange *x, const struct keyring *ring)
{
    if (LIKELY(!is_sticky(x, ring)))
        return KEYRING_NONE;
    return keyring_find(ring, session_key(x->call.session, ring->id));
}

enum error_code keys_cool(const struct backend *backend, bool all, int64_t wait_ms, struct error *e)
{
    FAIL(e, ERR_RATE_LIMITED, "%s of backend %.*s cool%s down; try again in %lld s",
         all ? "all keys" : "the key", STR_ARG(str_head(backend->name, 40)), all ? "" : "s",
         (long long)((wait_ms + 999) / 1000));
    e->wait_ms = wait_ms;
    return e->code;
}

void keys_fix(struct exchange *x, const struct backend_key *key)
{
    const struct backend_config *config = x->attempt.backend->config;

    assert(key == NULL || (key >= config->keys && key < config->keys + config->keys_n));
    x->attempt.keys.fixed = true;
    x->attempt.keys.index = key == NULL ? 0 : (size_t)(key - config->keys);
}

enum error_code keys_take(struct exchange *x, struct error *e)
{
    struct attempt *attempt = &x->attempt;
    const struct backend_config *config = attempt->backend->config;
    struct keyring *ring = ring_of(x);
    int64_t wait_ms = 0;

    assert(!attempt->keys.taken);
    if (UNLIKELY(attempt->keys.fixed)) {
        wait_ms = keyring_wait_ms(ring, attempt->keys.index, now_of(x));
        if (wait_ms > 0)
            return keys_cool(attempt->backend, false, wait_ms, e);
    } else {
        const struct keyring_ask ask = {
            .now_ms = now_of(x),
            .tried = x->keys.tried,
            .last = x->keys.last,
            .hint = hint_of(x, ring),
        };
        size_t index = keyring_choose(ring, &ask, &wait_ms);
        if (UNLIKELY(index == KEYRING_NONE))
            return keys_cool(attempt->backend, ring->n > 1, wait_ms > 0 ? wait_ms : 1, e);
        attempt->keys.index = index;
        if (UNLIKELY(is_sticky(x, ring)) && index != ask.hint)
            session_keep_key(x->call.session, ring->id, keyring_key_id(ring, index));
    }
    assert(attempt->keys.index < ring->n);
    attempt->key = config->keys_n == 0 ? NULL : &config->keys[attempt->keys.index];
    return OK;
}

void keys_begin(struct exchange *x)
{
    struct keys_attempt *keys = &x->attempt.keys;

    assert(!keys->taken);
    keyring_begin(ring_of(x), keys->index);
    keys->taken = true;
}

/* --- what came of it --- */

/* Where no error of the upstream's has told. */
static void conclude(const struct exchange *x, struct keyring_result *result)
{
    const struct attempt *attempt = &x->attempt;
    const struct error *e = &x->call.error;

    if (attempt->failed && e->code != OK && e->code != ERR_OVERLOADED) {
        result->outcome = KEYRING_FAILED;
        result->text = e->detail[0] == '\0' ? error_text(e->code) : e->detail;
    } else if (attempt->status >= 500) {
        result->outcome = KEYRING_FAILED;
        result->text = error_text(ERR_UPSTREAM_ERROR);
    } else {
        result->outcome = attempt->status >= 200 && !x->error_event ? KEYRING_WORKED
                                                                    : KEYRING_UNKNOWN;
    }
}

/* For who looks for a backend in the log: each attempt at debug, what it cost a key always. */
static void tell(const struct exchange *x, const struct keyring_result *result)
{
    static const struct {
        enum log_level level;
        const char *message;
    } lines[] = {
        [KEYRING_WORKED] = {LOG_DEBUG, "attempt.answered"},
        [KEYRING_LIMITED] = {LOG_WARN, "key.cools"},
        [KEYRING_REFUSED] = {LOG_WARN, "key.refused"},
        [KEYRING_FAILED] = {LOG_DEBUG, "attempt.failed"},
        [KEYRING_UNKNOWN] = {LOG_DEBUG, "attempt.left"},
    };
    const struct backend_key *key = x->attempt.key;

    LOG_AT(BACKEND, lines[result->outcome].level, lines[result->outcome].message,
           F_IF(!str_is_null(x->call.session_id), F_STR("session", x->call.session_id)),
           F_STR("request", str_of(x->id, ID_SIZE)), F_STR("backend", x->attempt.backend->name),
           F_IF(!str_is_null(x->model_sent), F_STR("model", x->model_sent)),
           F_IF(key != NULL, F_STR("key", key == NULL ? STR_NULL : key->name)),
           F_INT("attempt", x->attempts), F_INT("status", result->status),
           F_IF(result->latency_us >= 0, F_INT("first_byte_us", result->latency_us)),
           F_IF(result->wait_ms > 0, F_INT("wait_ms", result->wait_ms)),
           F_IF(result->text != NULL, F_Z("detail", result->text == NULL ? "" : result->text)));
}

void keys_over(struct exchange *x)
{
    struct keys_attempt *keys = &x->attempt.keys;

    if (!keys->taken)
        return;
    keys->taken = false;
    struct keyring_result *result = &keys->result;
    result->status = x->attempt.status;
    result->latency_us = x->first_us == 0 ? -1 : x->first_us - x->sent_us;
    if (!keys->told)
        conclude(x, result);
    keyring_done(ring_of(x), keys->index, result, now_of(x));
    tell(x, result);
}

struct keyring_result keys_result(const struct message *m, int64_t now_ms)
{
    struct keyring_result result = {.status = m->status,
                                    .wait_ms = -1,
                                    .limit = -1,
                                    .latency_us = -1};

    switch (m->status) {
    case 401:
    case 403:
        result.outcome = KEYRING_REFUSED;
        result.text = error_text(ERR_UPSTREAM_KEY);
        break;
    case 429: {
        double wait_s = quota_told_s(m, now_ms);
        if (wait_s < 0)
            wait_s = quota_wait_s(m, now_ms) > 0 ? quota_wait_s(m, now_ms) : -1;
        result.outcome = KEYRING_LIMITED;
        result.wait_ms = wait_s < 0 ? -1 : 1 + (int64_t)(wait_s * 1000);
        result.limit = quota_limit(m);
        result.text = error_text(ERR_UPSTREAM_RATE_LIMITED);
        break;
    }
    default:
        result.outcome = m->status >= 500 ? KEYRING_FAILED : KEYRING_WORKED;
        result.text = m->status >= 500 ? error_text(ERR_UPSTREAM_ERROR) : NULL;
    }
    return result;
}

/* Whatever the status: in a stream there is none. */
static enum keyring_outcome outcome_of(const struct event *error, int status)
{
    enum error_code code = failure_code(error);

    if (code == ERR_UPSTREAM_RATE_LIMITED || status == 429)
        return KEYRING_LIMITED;
    if (code == ERR_BILLING)
        return error->error.status == 0 || error->error.status == 200 ? KEYRING_LIMITED
                                                                      : KEYRING_REFUSED;
    if (code == ERR_UPSTREAM_KEY)
        return KEYRING_REFUSED;
    return code == ERR_UPSTREAM_ERROR || code == ERR_UPSTREAM_OVERLOADED ||
                   code == ERR_UPSTREAM_TIMEOUT
               ? KEYRING_FAILED
               : KEYRING_WORKED;
}

/* What operators read. Who refuses a key may repeat parts of it. */
static const char *text_of(struct exchange *x, const struct event *error,
                           enum keyring_outcome outcome)
{
    const char *text = error_text(failure_code(error));
    struct str said = str_head(error->error.message, 4 * KEYRING_TEXT_SIZE);

    if (outcome == KEYRING_REFUSED || said.n == 0)
        return text;
    said = plan_redact(x->attempt.backend, said, &x->answer);
    said = str_head(said, KEYRING_TEXT_SIZE - 1);
    char *copy = str_is_null(said) ? NULL : arena_alloc(&x->answer, said.n + 1);
    if (copy == NULL || arena_overflowed(&x->answer))
        return text;
    for (size_t i = 0; i < said.n; i++)
        copy[i] = said.p[i] == '\0' || (unsigned char)said.p[i] < ' ' ? ' ' : said.p[i];
    copy[said.n] = '\0';
    return copy;
}

static void count(const struct exchange *x, enum keyring_outcome outcome)
{
    struct metrics *metrics = &x->station->metrics;
    size_t slot = x->attempt.backend->slot;

    if (outcome == KEYRING_LIMITED)
        metric_add(metrics, METRIC_key_cooldowns_total, slot, 1);
    if (outcome == KEYRING_REFUSED)
        metric_add(metrics, METRIC_key_refusals_total, slot, 1);
}

/* Another key may be tried at once, or in a moment. */
static bool has_chance(struct exchange *x)
{
    struct keys_attempt *keys = &x->attempt.keys;
    struct keyring *ring = ring_of(x);
    const struct keyring_ask ask = {
        .now_ms = now_of(x),
        .tried = x->keys.tried,
        .last = x->keys.last,
        .hint = KEYRING_NONE,
    };
    int64_t wait_ms = keyring_wait_ms(ring, keys->index, ask.now_ms);

    x->keys.waits = false;
    x->keys.cools = false;
    if (!keys->fixed && keyring_choose(ring, &ask, &wait_ms) != KEYRING_NONE)
        return true;
    /* Where it named none, our own guess is not told in its name. */
    keys->wait_ms = wait_ms > 0 && keys->result.wait_ms >= 0 ? wait_ms : 0;
    if (x->keys.limited && !x->keys.waited && wait_ms > 0 &&
        wait_ms <= x->attempt.backend->config->retry_wait_max_ms) {
        x->keys.waits = true;
        x->keys.wait_ms = wait_ms;
        return true;
    }
    x->keys.cools = !keys->fixed && keys->result.outcome == KEYRING_REFUSED &&
                    keyring_recovers(ring, ask.now_ms);
    return x->keys.cools;
}

static void note(struct exchange *x, const struct event *error, struct str body, int status)
{
    struct keys_attempt *keys = &x->attempt.keys;
    const struct message *head = x->attempt.head;
    enum keyring_outcome outcome = outcome_of(error, status);
    const struct backend *backend = x->attempt.backend;
    /* A backend that takes no key has none that could rest: its next answer may be another. A
     * script is no vendor: each of its models answers for itself. */
    if (outcome == KEYRING_LIMITED && (backend->config->keys_n == 0 || backend->local != NULL))
        outcome = KEYRING_FAILED;
    bool limited = outcome == KEYRING_LIMITED;

    keys->told = true;
    keys->result = (struct keyring_result){
        .outcome = outcome,
        .wait_ms = limited ? failed_wait_ms(x, error, body) : -1,
        .limit = limited && head != NULL ? quota_limit(head) : -1,
        .text = outcome == KEYRING_WORKED ? NULL : text_of(x, error, outcome),
    };
    if (limited && keys->result.wait_ms == 0) /* at once, but not for ever */
        keys->result.wait_ms = 1;
    x->keys.limited = x->keys.limited || limited;
    if (limited || outcome == KEYRING_REFUSED) {
        x->keys.tried |= UINT64_C(1) << keys->index;
        x->keys.last = keys->index;
    }
    count(x, outcome);
    keys_over(x);
}

bool keys_told(struct exchange *x, const struct event *error, struct str body)
{
    assert(error->kind == EVENT_ERROR);
    if (!x->attempt.keys.taken)
        return false;
    note(x, error, body, x->attempt.status);
    enum keyring_outcome outcome = x->attempt.keys.result.outcome;
    if (outcome != KEYRING_LIMITED && outcome != KEYRING_REFUSED)
        return false;
    return has_chance(x) && !x->committed;
}

bool keys_answered(struct exchange *x, struct str body)
{
    const struct attempt *attempt = &x->attempt;
    struct event event = {.kind = EVENT_ERROR};

    if (attempt->status < 400)
        return false;
    body = str_head(body, LARGE_BYTES);
    attempt->protocol->error_decode(attempt->status, body, x->call.arena, &event);
    return keys_told(x, &event, body);
}

/* --- another chance --- */

static void on_pause_over(struct timer *timer)
{
    struct exchange *x = CONTAINER_OF(timer, struct exchange, keys.pause);

    assert(x->magic == EXCHANGE_MAGIC && x->state == EXCHANGE_PAUSE);
    x->keys.paused = false;
    exchange_run(x);
}

bool keys_again(struct exchange *x)
{
    struct metrics *metrics = &x->station->metrics;
    size_t slot = x->attempt.backend->slot;

    assert(!x->committed);
    attempt_cancel(x);
    attempt_again(x);
    if (!x->keys.waits) {
        metric_add(metrics, METRIC_key_switches_total, slot, x->keys.cools ? 0 : 1);
        return true;
    }
    metric_add(metrics, METRIC_key_waits_total, slot, 1);
    x->keys.waits = false;
    x->keys.waited = true;
    x->keys.paused = true;
    x->keys.tried = 0;
    timer_init(&x->keys.pause, x->station->loop, on_pause_over);
    timer_start(&x->keys.pause, x->keys.wait_ms);
    return false;
}

void keys_forget(struct exchange *x)
{
    if (UNLIKELY(x->keys.paused))
        timer_stop(&x->keys.pause);
    x->keys.paused = false;
}
