/* SPDX-License-Identifier: MIT */
/*
 * What      Heads of answers and whole error answers.
 * Not here  Bodies of protocols (protocol/), framing (http/).
 */
#include "gateway/answer.h"

#include "base/log.h"
#include "gateway/admit.h"
#include "gateway/exchange.h"
#include "gateway/gateway_priv.h"
#include "gateway/opaque.h"
#include "gateway/origin.h"
#include "gateway/peer.h"
#include "gateway/plan.h"
#include "gateway/quota.h"
#include "pipeline/session_key.h"

/* Of what is refused for want of room: a moment later there may be some. */
#define EVENT_STREAM STR("text/event-stream")
#define RETRY_AFTER  "retry-after: 1\r\n"

/* Which of the upstream's headers go down (contract, section 2). Retry-After and ids apart. */
static bool goes_down(struct str name)
{
    static const struct str whole[] = {STR_INIT("retry-after-ms"), STR_INIT("x-should-retry")};
    static const struct str starts[] = {STR_INIT("x-ratelimit-"), STR_INIT("anthropic-ratelimit-"),
                                        STR_INIT("openai-")};

    switch (name.n == 0 ? '\0' : name.p[0] | 0x20) {
    case 'a':
    case 'o':
    case 'r':
    case 'x':
        break;
    default:
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(whole); i++) {
        if (str_eq_nocase(name, whole[i]))
            return true;
    }
    for (size_t i = 0; i < COUNT_OF(starts); i++) {
        if (str_starts_nocase(name, starts[i]))
            return true;
    }
    return false;
}

static bool is_id(struct str name)
{
    return str_eq_nocase(name, STR("x-request-id")) || str_eq_nocase(name, STR("request-id"));
}

static struct str upstreams_id(const struct message *m)
{
    struct str id = http_headers_get(&m->headers, STR("x-request-id"));

    return str_is_null(id) ? http_headers_get(&m->headers, STR("request-id")) : id;
}

static void add_line(struct buf *out, struct str name, struct str value)
{
    (void)buf_add(out, name);
    (void)buf_add(out, STR(": "));
    (void)buf_add(out, value);
    (void)buf_add(out, STR("\r\n"));
}

/* What the upstream said, some of which repeat what they got: not our keys. */
static void add_theirs(const struct exchange *x, struct buf *out, struct str name, struct str value)
{
    (void)buf_add(out, name);
    (void)buf_add(out, STR(": "));
    plan_add_redacted(x->attempt.backend, value, out);
    (void)buf_add(out, STR("\r\n"));
}

/* Whole seconds, rounded up, also from a date; nonsense is left out. */
static bool add_retry_after(struct buf *out, struct str value, int64_t now_ms)
{
    double seconds = 0;

    if (!quota_retry_after(value, now_ms, &seconds))
        return false;
    int64_t whole = (int64_t)seconds;
    if ((double)whole < seconds)
        whole++;
    (void)buf_print(out, "retry-after: %lld\r\n", (long long)whole);
    return true;
}

/* When to try again: in whole seconds for all, and to the millisecond for who reads that. */
static void add_wait(int64_t wait_ms, struct buf *lines)
{
    (void)buf_print(lines, "retry-after: %lld\r\n", (long long)((wait_ms + 999) / 1000));
    if (wait_ms % 1000 != 0)
        (void)buf_print(lines, "retry-after-ms: %lld\r\n", (long long)wait_ms);
}

/* As it came; Retry-After apart. */
static bool goes_as_it_is(const struct exchange *x, const struct message *m, struct str name)
{
    if (!exchange_is_same(x))
        return str_eq_nocase(name, STR("x-should-retry"));
    return goes_down(name) || is_id(name) || (x->opaque != NULL && opaque_goes_down(m, name));
}

/* Another key may be used again before the one whose 429 this is. */
static bool is_sooner(const struct exchange *x, const struct message *m)
{
    const struct keys_attempt *keys = &x->attempt.keys;

    return m->status == 429 && keys->wait_ms > 0 && keys->wait_ms < keys->result.wait_ms;
}

/* Header lines of the upstream's answer that go down, appended to out. */
static void headers_down(const struct exchange *x, const struct message *m, int64_t now_ms,
                         struct buf *out)
{
    bool ours = x->call.error.wait_ms > 0; /* add_error_lines says it */
    bool sooner = !ours && is_sooner(x, m);
    bool waits = ours || sooner;
    bool said = waits;

    if (UNLIKELY(sooner))
        add_wait(x->attempt.keys.wait_ms, out);
    for (size_t i = 0; i < m->headers.n; i++) {
        const struct http_header *header = &m->headers.items[i];
        if (waits && str_starts_nocase(header->name, STR("retry-after")))
            continue;
        if (str_eq_nocase(header->name, STR("retry-after"))) {
            said = add_retry_after(out, header->value, now_ms) || said;
        } else if (goes_as_it_is(x, m, header->name)) {
            add_theirs(x, out, header->name, header->value);
        }
    }
    if (!said && m->status == 429 && x->attempt.keys.wait_ms > 0) /* named in other words */
        (void)buf_print(out, "retry-after: %lld\r\n",
                        (long long)((x->attempt.keys.wait_ms + 999) / 1000));
    if (!exchange_is_same(x))
        quota_lines(x->attempt.protocol, x->call.intake.protocol, m, now_ms, out);
}

/* Ours, or of an upstream of another protocol its own, as the client's protocol has it. */
static void add_id(const struct exchange *x, struct buf *lines)
{
    const struct message *m = x->call.error.code == ERR_OVERLOADED ? NULL : x->attempt.head;
    const struct protocol *protocol = x->call.intake.protocol;
    struct str theirs = m == NULL ? STR_NULL : upstreams_id(m);
    bool anthropic = protocol != NULL && str_eq(str_c(protocol->name), STR("anthropic"));

    if (str_is_null(theirs)) {
        add_line(lines, STR("x-request-id"), str_of(x->id, ID_SIZE));
        if (anthropic)
            add_line(lines, STR("request-id"), str_of(x->id, ID_SIZE));
    } else if (!exchange_is_same(x)) { /* else it is there */
        add_theirs(x, lines, STR("x-request-id"), theirs);
        if (anthropic)
            add_theirs(x, lines, STR("request-id"), theirs);
    }
}

/* A header value of ours: bytes outside visible ASCII become %XX. */
static void add_encoded(struct buf *out, struct str name, struct str value)
{
    (void)buf_add(out, name);
    (void)buf_add(out, STR(": "));
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if (c > 0x20 && c < 0x7f && c != '%')
            (void)buf_add_char(out, (char)c);
        else
            (void)buf_print(out, "%%%02X", c);
    }
    (void)buf_add(out, STR("\r\n"));
}

/* The session's, as a stage found it; before that what the head names; else our own id. */
static struct str session_of(struct exchange *x)
{
    struct session_key_room room;
    struct call *call = &x->call;

    if (LIKELY(!str_is_null(call->session_id)))
        return call->session_id;
    struct str id = session_key_of_head(&call->intake, &room);
    if (!str_is_null(id))
        call->session_id = str_copy(&x->answer, id);
    if (str_is_null(id) || arena_overflowed(&x->answer))
        call->session_id = call->request_id;
    return call->session_id;
}

static void add_own_lines(struct exchange *x, struct buf *lines)
{
    if (x->attempt.head != NULL && x->call.error.code != ERR_OVERLOADED)
        headers_down(x, x->attempt.head, loop_wall_ms(x->station->loop), lines);
    add_id(x, lines);
    add_line(lines, STR("x-llm-proxy-request-id"), str_of(x->id, ID_SIZE));
    if (LIKELY(x->admitted))
        add_line(lines, STR("x-session-id"), session_of(x));
    if (x->translation != NULL && x->translation->warnings_n > 0) {
        (void)buf_add(lines, STR("x-llm-proxy-warnings: "));
        translation_write_warnings(x->translation, lines);
        (void)buf_add(lines, STR("\r\n"));
    }
    if (x->estimated)
        (void)buf_add(lines, STR("x-llm-proxy-estimated: true\r\n"));
    if (x->attempt.backend == NULL)
        return;
    add_encoded(lines, STR("x-llm-proxy-backend"), x->attempt.backend->name);
    if (!str_is_null(x->model_sent))
        add_encoded(lines, STR("x-llm-proxy-model"), x->model_sent);
    (void)buf_add(lines, STR("x-llm-proxy-attempts: "));
    (void)buf_add_int64(lines, x->attempts);
    (void)buf_add(lines, STR("\r\n"));
}

/* All keys of the backend cool down. When: in seconds since 1970. */
static void add_limit(const struct exchange *x, struct buf *lines)
{
    const struct loop *loop = x->station->loop;
    int64_t limit = keyring_limit(x->attempt.backend->keyring, loop_now_ms(loop));
    int64_t at_ms = loop_wall_ms(loop) + x->call.error.wait_ms;

    if (limit >= 0)
        (void)buf_print(lines, "x-ratelimit-limit: %lld\r\n", (long long)limit);
    (void)buf_print(lines, "x-ratelimit-remaining: 0\r\nx-ratelimit-reset: %lld\r\n",
                    (long long)((at_ms + 999) / 1000));
}

/* What a refusal of ours says besides its body; an upstream's error has its own lines, or none. */
static void add_error_lines(const struct exchange *x, int status, struct buf *lines)
{
    enum error_code code = x->call.error.code;

    if (code == OK)
        return;
    if (status == 503 && (!x->upstreams_error || code == ERR_OVERLOADED))
        (void)buf_add(lines, STR(RETRY_AFTER));
    if (x->call.error.wait_ms > 0)
        add_wait(x->call.error.wait_ms, lines);
    if (x->upstreams_error)
        return;
    if (code == ERR_RATE_LIMITED && x->attempt.backend != NULL)
        add_limit(x, lines);
    if (code == ERR_UNAUTHORIZED) /* RFC 9110, 15.5.2: it must have a challenge */
        (void)buf_add(lines, STR("www-authenticate: Bearer\r\n"));
    if (code == ERR_UPGRADE_REQUIRED) /* RFC 9110, 15.5.22: it must say which protocol */
        (void)buf_add(lines, STR("upgrade: HTTP/1.1\r\nconnection: upgrade\r\n"));
    if (code == ERR_UNSUPPORTED_MEDIA) /* RFC 9110, 12.5.3 */
        (void)buf_add(lines, STR("accept-encoding: gzip, identity\r\n"));
}

void answer_head(struct exchange *x, int status, struct str content_type, int64_t length)
{
    struct buf *lines = &x->station->head;

    assert(x->client != NULL && x->status == 0);
    if (UNLIKELY(status >= 400))
        exchange_settle(x);
    x->status = status;
    buf_reset(lines);
    if (!str_is_null(content_type) && x->attempt.head != NULL)
        add_theirs(x, lines, STR("content-type"), content_type);
    else if (!str_is_null(content_type))
        add_line(lines, STR("content-type"), content_type);
    if (length < 0 && (x->opaque == NULL || str_starts_nocase(content_type, EVENT_STREAM))) {
        /* A stream: buffering proxies on the way must not hold it back. */
        (void)buf_add(lines, STR("cache-control: no-cache\r\nx-accel-buffering: no\r\n"));
    }
    if (!str_is_null(x->allow))
        add_line(lines, STR("allow"), x->allow);
    add_error_lines(x, status, lines);
    if (!str_is_null(x->origin))
        origin_lines(x->origin, lines);
    (void)buf_add(lines, x->preflight);
    add_own_lines(x, lines);
    attempt_answered(x);
    exchange_enter(x, x->attempt.request != NULL ? PHASE_STREAM : PHASE_SEND);
    if (LIKELY(x->admitted))
        timing_header(&x->timing, lines);
    assert(buf_ok(lines));
    server_head(x->client, status, buf_str(lines), length);
    buf_reset(lines);
}

int answer_status(const struct protocol *protocol, const struct error *e)
{
    return protocol->error_status == NULL ? error_status(e) : protocol->error_status(e);
}

void answer_error(struct station *station, struct server_conn *client, const struct error *e,
                  const struct message *m)
{
    const struct protocol *protocol = m == NULL ? protocol_table[0] : admit_shape(m);
    const struct config *config = station->branch->site->config;
    char id[ID_SIZE];
    bool trusted;
    int status = answer_status(protocol, e);

    id_make(&station->ids, id);
    buf_reset(&station->out);
    buf_reset(&station->head);
    protocol->error_encode(e, str_of(id, ID_SIZE), false, &station->out);
    (void)buf_print(&station->head,
                    "content-type: application/json\r\nx-request-id: %.*s\r\n"
                    "x-llm-proxy-request-id: %.*s\r\n",
                    ID_SIZE, id, ID_SIZE, id);
    if (status == 503)
        (void)buf_add(&station->head, STR(RETRY_AFTER));
    if (m != NULL && !str_is_null(m->origin) && origin_listed(config, m->origin))
        origin_lines(m->origin, &station->head);
    server_head(client, status, buf_str(&station->head), (int64_t)station->out.n);
    server_body(client, buf_str(&station->out));
    server_end(client);
    (void)server_flush(client);
    buf_reset(&station->out);
    buf_reset(&station->head);
    arena_reset(&station->scratch);
    metric_add(&station->metrics, METRIC_errors_total, (size_t)e->code, 1);
    metric_add(&station->metrics, METRIC_requests_total, (size_t)(status / 100 - 1), 1);
    LOG_AT(GATEWAY, error_level_of(e->code), "request.refused", F_Z("code", error_name(e->code)),
           F_INT("status", status),
           F_STR("peer", peer_of(config, server_peer(client), m, &trusted)),
           F_Z("detail", e->detail));
}
