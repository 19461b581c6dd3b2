/* SPDX-License-Identifier: MIT */
/*
 * The generic part of a connection: what all kinds promise their owner is kept here.
 *
 * What      The public calls, which hand over to the kind's ops, and the events, which pass only
 *           while the owner may still get them: none after conn_close, none after `failed`, one
 *           `eof`.
 * How       A call never calls back. What it notices (a write that failed) is noted in the conn,
 *           which is put on the loop's ready list and tells it in a turn of its own.
 *           The mark: above CONN_QUEUE_MARK bytes queued the writer is told to stop; `writable`
 *           comes at half of it, so that the writer does not start and stop for each packet.
 * Owns      Nothing; the kinds own the memory.
 * Not here  Sockets (conn_tcp), records (conn_tls), pairs (conn_mem).
 */
#include "io/conn.h"

#include "io/io_priv.h"

enum { RESUME_MARK = CONN_QUEUE_MARK / 2 };

static void conn_turn(struct deferred *deferred)
{
    struct conn *conn = CONTAINER_OF(deferred, struct conn, turn);

    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    if (conn->failure != 0 && !conn->failed) {
        if (conn->ops->drain != NULL)
            conn->ops->drain(conn);
        conn_emit_broken(conn, conn->failure);
    } else if (!conn->failed) {
        conn->ops->turn(conn);
    }
}

void conn_init(struct conn *conn, const struct conn_ops *ops, struct loop *loop)
{
    assert(loop != NULL);
    *conn = (struct conn){.magic = CONN_MAGIC, .ops = ops, .loop = loop};
    list_init(&conn->turn.link);
}

void conn_soon(struct conn *conn)
{
    assert(!conn->closed);
    if (!list_linked(&conn->turn.link))
        loop_ready(conn->loop, &conn->turn, conn_turn);
}

void conn_fail_soon(struct conn *conn, int uv_error)
{
    assert(uv_error < 0);
    if (conn->failed || conn->failure != 0)
        return;
    conn->failure = uv_error;
    conn_soon(conn);
}

const char *conn_uv_text(int uv_error, char to[CONN_UV_TEXT_SIZE])
{
    return uv_strerror_r(uv_error, to, CONN_UV_TEXT_SIZE);
}

static bool may_tell(const struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    if (conn->closed || conn->failed)
        return false;
    assert(conn->events != NULL);
    return true;
}

void conn_emit_connected(struct conn *conn)
{
    if (may_tell(conn) && conn->events->connected != NULL)
        conn->events->connected(conn, conn->ctx);
}

void conn_emit_read(struct conn *conn, struct str bytes)
{
    assert(bytes.n > 0);
    assert(!conn->eof);
    if (may_tell(conn) && conn->events->read != NULL)
        conn->events->read(conn, conn->ctx, bytes);
}

void conn_emit_eof(struct conn *conn)
{
    if (conn->eof)
        return;
    conn->eof = true;
    conn->reading = false;
    if (may_tell(conn) && conn->events->eof != NULL)
        conn->events->eof(conn, conn->ctx);
}

void conn_emit_failed(struct conn *conn, const struct error *e)
{
    assert(e->code != OK);
    if (!may_tell(conn))
        return;
    conn->failed = true;
    if (conn->reading) {
        conn->reading = false;
        conn->ops->read(conn);
    }
    if (conn->events->failed != NULL)
        conn->events->failed(conn, conn->ctx, e);
}

void conn_emit_broken(struct conn *conn, int uv_error)
{
    char text[CONN_UV_TEXT_SIZE];
    struct error e;

    FAIL(&e, ERR_UPSTREAM_BROKEN, "%s", conn_uv_text(uv_error, text));
    conn_emit_failed(conn, &e);
}

bool conn_drained(struct conn *conn)
{
    if (!conn->want_writable || !may_tell(conn) || conn->failure != 0)
        return false;
    if (conn->ops->queued(conn) > RESUME_MARK)
        return false;
    conn->want_writable = false;
    if (conn->events->writable != NULL)
        conn->events->writable(conn, conn->ctx);
    return true;
}

void conn_set_events(struct conn *conn, const struct conn_events *events, void *ctx)
{
    assert(conn->magic == CONN_MAGIC);
    assert(events != NULL);
    conn->events = events;
    conn->ctx = ctx;
}

void conn_read_start(struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    if (conn->reading || conn->eof || conn->failed)
        return;
    conn->reading = true;
    conn->ops->read(conn);
}

void conn_read_stop(struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    if (!conn->reading)
        return;
    conn->reading = false;
    conn->ops->read(conn);
}

bool conn_has_left(const struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    return conn->eof || conn->failed || conn->failure != 0 || conn->ops->has_left(conn);
}

enum conn_push conn_write(struct conn *conn, const struct str *parts, size_t n)
{
    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    assert(!conn->shut);
    if (UNLIKELY(conn->failed || conn->failure != 0))
        return CONN_OK;
    (void)conn->ops->write(conn, parts, n, SIZE_MAX);
    if (LIKELY(conn->ops->queued(conn) <= CONN_QUEUE_MARK || conn->failure != 0))
        return CONN_OK;
    conn->want_writable = true;
    return CONN_FULL;
}

size_t conn_write_some(struct conn *conn, const struct str *parts, size_t n)
{
    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    assert(!conn->shut);
    size_t total = conn_parts_total(parts, n);
    if (UNLIKELY(conn->failed || conn->failure != 0))
        return total;
    size_t taken = conn->ops->write(conn, parts, n, CONN_QUEUE_MARK);
    assert(taken <= total);
    if (taken < total)
        conn->want_writable = true;
    return taken;
}

size_t conn_queued(const struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    return conn->failed || conn->failure != 0 ? 0 : conn->ops->queued(conn);
}

void conn_shutdown(struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(!conn->closed);
    if (conn->shut || conn->failed || conn->failure != 0)
        return;
    conn->shut = true;
    conn->ops->shutdown(conn);
}

static void close_now(struct conn **conn, bool reset)
{
    assert(conn != NULL);
    struct conn *closing = *conn;
    if (closing == NULL)
        return;
    assert(closing->magic == CONN_MAGIC);
    assert(!closing->closed);
    *conn = NULL;
    closing->closed = true;
    closing->reading = false;
    loop_undefer(&closing->turn);
    closing->ops->close(closing, reset);
}

void conn_close(struct conn **conn)
{
    close_now(conn, false);
}

void conn_reset(struct conn **conn)
{
    close_now(conn, true);
}

struct loop *conn_loop(const struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    return conn->loop;
}

struct str conn_peer(const struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    return conn->ops->peer(conn);
}

bool conn_is_tls(const struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    return conn->ops->is_tls;
}

struct conn *conn_connect(struct loop *loop, const struct conn_target *target,
                          const struct conn_events *events, void *ctx)
{
    assert(target->host.n > 0);
    struct conn *conn = conn_tcp_connect(loop, target);

    if (target->tls != NULL)
        conn = conn_tls_client(conn, target);
    conn_set_events(conn, events, ctx);
    return conn;
}

struct conn *conn_secure(struct conn **lower, const struct conn_secure_options *options,
                         const struct conn_events *events, void *ctx)
{
    struct conn *conn = NULL;

    assert((*lower)->magic == CONN_MAGIC);
    assert(options->tls != NULL && options->timeout_ms >= 0);
    conn = conn_tls_secure(*lower, options);
    *lower = NULL;
    conn_set_events(conn, events, ctx);
    return conn;
}

void conn_pair(struct loop *loop, struct conn **ret_a, struct conn **ret_b)
{
    conn_mem_pair(loop, ret_a, ret_b);
}
