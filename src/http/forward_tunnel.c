/* SPDX-License-Identifier: MIT */
/*
 * Tunnels through a forward proxy.
 *
 * What      From nothing to a connection to the origin: connects to the proxy, asks it for a
 *           tunnel, makes TLS to the origin inside.
 * How       CONNECTING ─► ASKING ─► SECURING ─► stands
 *                └───────────┴──────────┴─────► failed
 *
 *           The timer runs from the beginning to the end: one time-out for all of it.
 *           The origin says nothing before we do (TLS begins with the client's hello), so bytes
 *           behind the proxy's head are the proxy's own, and a tunnel that begins with them is
 *           refused.
 * Owns      The connection until it stands; itself: it is gone when its event comes.
 * Not here  Pools and requests (client.c); what is sent where (forward.c).
 */
#include "base/mem.h"
#include "http/forward_priv.h"
#include "http/parse.h"

enum { TUNNEL_MAGIC = 0x54554e4e };

enum tunnel_state {
    TUNNEL_CONNECTING,
    TUNNEL_ASKING,
    TUNNEL_SECURING,
};

struct forward_tunnel {
    uint32_t magic;
    uint8_t state; /* enum tunnel_state */
    bool interim;  /* a 1xx is being read */
    const struct forward *forward;
    struct loop *loop;
    struct conn *conn;
    struct arena *arena;
    const struct forward_tunnel_events *events;
    void *ctx;
    int64_t deadline_ms;
    struct timer timer;
    struct parser parser;
};

static void tunnel_end(struct forward_tunnel *tunnel)
{
    timer_stop(&tunnel->timer);
    conn_close(&tunnel->conn);
    tunnel->magic = 0;
    mem_free(tunnel);
}

void forward_tunnel_free(struct forward_tunnel **tunnel)
{
    struct forward_tunnel *t = *tunnel;

    if (t == NULL)
        return;
    assert(t->magic == TUNNEL_MAGIC);
    *tunnel = NULL;
    tunnel_end(t);
}

static void tunnel_stands(struct forward_tunnel *tunnel)
{
    const struct forward_tunnel_events *events = tunnel->events;
    void *ctx = tunnel->ctx;
    struct conn *conn = tunnel->conn;

    tunnel->conn = NULL;
    tunnel_end(tunnel);
    events->stands(ctx, conn);
}

static void tunnel_fail(struct forward_tunnel *tunnel, const struct error *e)
{
    const struct forward_tunnel_events *events = tunnel->events;
    void *ctx = tunnel->ctx;

    assert(e->code == ERR_UPSTREAM_UNREACHABLE || e->code == ERR_UPSTREAM_TIMEOUT ||
           e->code == ERR_OVERLOADED);
    tunnel_end(tunnel);
    events->failed(ctx, e);
}

/* Something went wrong with the connection, or with what came on it. */
static void tunnel_broken(struct forward_tunnel *tunnel, const struct error *cause)
{
    struct error e;
    enum error_code code = cause->code;

    if (code != ERR_UPSTREAM_TIMEOUT && code != ERR_OVERLOADED)
        code = ERR_UPSTREAM_UNREACHABLE;
    (void)FAIL(&e, code,
               tunnel->state == TUNNEL_SECURING ? "through the proxy %s: %.150s"
                                                : "the proxy %s: %.150s",
               tunnel->forward->name, cause->detail);
    tunnel_fail(tunnel, &e);
}

/* ---- asking ---- */

static void tunnel_ask(struct forward_tunnel *tunnel)
{
    const struct str head = secret_reveal(&tunnel->forward->connect);

    tunnel->state = TUNNEL_ASKING;
    parse_init(&tunnel->parser, PARSE_ANSWER, tunnel->forward->header_bytes_max);
    parse_begin(&tunnel->parser, tunnel->arena, true);
    (void)conn_write(tunnel->conn, &head, 1);
    conn_read_start(tunnel->conn);
}

static const struct conn_events tunnel_conn_events;

static void tunnel_secure(struct forward_tunnel *tunnel)
{
    int64_t left_ms = tunnel->deadline_ms - loop_now_ms(tunnel->loop);
    const struct conn_secure_options options = {
        .tls = tunnel->forward->tls,
        .host = str_c(tunnel->forward->host),
        .port = tunnel->forward->port,
        .timeout_ms = left_ms > 0 ? left_ms : 0,
    };

    conn_read_stop(tunnel->conn);
    if (options.tls == NULL) {
        tunnel_stands(tunnel);
        return;
    }
    tunnel->state = TUNNEL_SECURING;
    tunnel->conn = conn_secure(&tunnel->conn, &options, &tunnel_conn_events, tunnel);
}

/* RFC 9110, 9.3.6: any 2xx makes the tunnel, anything else does not. */
static void tunnel_refused(struct forward_tunnel *tunnel, int status)
{
    struct error e;
    struct str reason = http_reason(status);

    (void)FAIL(&e, status == 504 ? ERR_UPSTREAM_TIMEOUT : ERR_UPSTREAM_UNREACHABLE,
               "the proxy %s refused to connect to the backend: %d %.*s", tunnel->forward->name,
               status, STR_ARG(reason));
    tunnel_fail(tunnel, &e);
}

static void tunnel_read(struct forward_tunnel *tunnel, struct str bytes)
{
    struct str body = STR_NULL;
    struct error e;
    int status;

    for (;;) {
        switch (parse_next(&tunnel->parser, &bytes, &body, &e)) {
        case PARSE_MORE:
            return;
        case PARSE_HEAD:
            status = parse_message(&tunnel->parser)->status;
            tunnel->interim = status < 200 && status != 101;
            if (!tunnel->interim && (status < 200 || status >= 300)) {
                tunnel_refused(tunnel, status);
                return;
            }
            break;
        case PARSE_END:
            if (tunnel->interim) {
                parse_begin(&tunnel->parser, tunnel->arena, true);
                break;
            }
            if (bytes.n == 0) {
                tunnel_secure(tunnel);
                return;
            }
            (void)FAIL(&e, ERR_UPSTREAM_UNREACHABLE, "bytes behind its answer to CONNECT");
            tunnel_broken(tunnel, &e);
            return;
        case PARSE_BODY:
            BUG("an answer without a body has one");
        case PARSE_FAILED:
            tunnel_broken(tunnel, &e);
            return;
        }
    }
}

/* ---- events of the connection ---- */

static struct forward_tunnel *tunnel_of(void *ctx, const struct conn *conn)
{
    struct forward_tunnel *tunnel = NULL;

    CAST(tunnel, ctx, TUNNEL_MAGIC);
    assert(tunnel->conn == conn);
    return tunnel;
}

static void event_connected(struct conn *conn, void *ctx)
{
    struct forward_tunnel *tunnel = tunnel_of(ctx, conn);

    if (tunnel->state == TUNNEL_CONNECTING)
        tunnel_ask(tunnel);
    else
        tunnel_stands(tunnel);
}

static void event_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct forward_tunnel *tunnel = tunnel_of(ctx, conn);

    assert(tunnel->state == TUNNEL_ASKING);
    tunnel_read(tunnel, bytes);
}

static void event_eof(struct conn *conn, void *ctx)
{
    struct forward_tunnel *tunnel = tunnel_of(ctx, conn);
    struct error e;

    (void)FAIL(&e, ERR_UPSTREAM_UNREACHABLE, "it closed the connection instead of answering");
    tunnel_broken(tunnel, &e);
}

static void event_failed(struct conn *conn, void *ctx, const struct error *e)
{
    tunnel_broken(tunnel_of(ctx, conn), e);
}

static const struct conn_events tunnel_conn_events = {
    .connected = event_connected,
    .read = event_read,
    .eof = event_eof,
    .failed = event_failed,
};

static void tunnel_fire(struct timer *timer)
{
    struct forward_tunnel *tunnel = CONTAINER_OF(timer, struct forward_tunnel, timer);
    struct error e;

    (void)FAIL(&e, ERR_UPSTREAM_TIMEOUT, "no connection to the backend within %lld ms",
               (long long)tunnel->forward->connect_timeout_ms);
    tunnel_broken(tunnel, &e);
}

struct forward_tunnel *forward_tunnel_new(const struct forward *forward, struct loop *loop,
                                          struct conn *lower, struct arena *arena,
                                          const struct forward_tunnel_events *events, void *ctx)
{
    struct forward_tunnel *tunnel = mem_new(sizeof(*tunnel));
    const struct conn_target target = forward_target(forward);

    assert(forward->magic == FORWARD_MAGIC);
    tunnel->magic = TUNNEL_MAGIC;
    tunnel->forward = forward;
    tunnel->loop = loop;
    tunnel->arena = arena;
    tunnel->events = events;
    tunnel->ctx = ctx;
    tunnel->deadline_ms = loop_now_ms(loop) + forward->connect_timeout_ms;
    timer_init(&tunnel->timer, loop, tunnel_fire);
    timer_start(&tunnel->timer, forward->connect_timeout_ms);
    if (lower == NULL) {
        tunnel->conn = conn_connect(loop, &target, &tunnel_conn_events, tunnel);
    } else {
        tunnel->conn = lower;
        conn_set_events(lower, &tunnel_conn_events, tunnel);
        tunnel_ask(tunnel);
    }
    return tunnel;
}
