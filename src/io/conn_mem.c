/* SPDX-License-Identifier: MIT */
/*
 * Pairs of connections in memory: for tests, and for backends that live in the program.
 *
 * What      A stream in each direction, with the same events, marks and ends as a socket.
 * How       write ──► [peer->in, up to the window] ──► read event, in a turn of the peer
 *                └──► [queue, what is beyond the window], moves on as the peer reads
 *           Each delivery (bytes, EOF, failure, `writable`) is one turn: an end with more to tell
 *           puts itself on the loop's ready list again.
 *           The end of the stream waits for the bytes before it, also when it is a reset.
 * Owns      Each end its own two buffers; freed in a turn after conn_close.
 * Not here  Half a pair without the other: an end whose peer has closed sees EOF, and a write to it
 *           fails, as on a socket.
 */
#include "io/conn.h"

#include "base/buf.h"
#include "base/mem.h"
#include "io/io_priv.h"

enum mem_end { MEM_OPEN, MEM_EOF, MEM_RESET };

enum { MEM_WINDOW = CONN_QUEUE_MARK };

static const size_t MEM_BYTES_MAX = SIZE_MAX / 4;

struct conn_mem {
    struct conn conn;
    struct conn_mem *peer; /* NULL once it was closed or reset */
    struct buf in;         /* 0..begin read, begin..n on the way to us */
    size_t begin;
    size_t unread;    /* on the way to us, with what is lent to a read event's rest */
    enum mem_end end; /* what follows the unread bytes */
    struct buf queue; /* ours, for the peer, beyond the window */
    size_t window;    /* of the way to the peer */
    size_t read_max;  /* bytes in a read event; 0: no bound */
};

static const struct conn_ops mem_ops;

static struct conn_mem *mem_of(struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(conn->ops == &mem_ops);
    return CONTAINER_OF(conn, struct conn_mem, conn);
}

static bool has_turn(const struct conn_mem *mem)
{
    return mem->conn.reading && (mem->unread > 0 || (mem->end != MEM_OPEN && !mem->conn.eof));
}

static void wake(struct conn_mem *mem)
{
    if (!mem->conn.closed && !mem->conn.failed)
        conn_soon(&mem->conn);
}

static size_t room_to_peer(const struct conn_mem *mem)
{
    const struct conn_mem *peer = mem->peer;

    return mem->window > peer->unread ? mem->window - peer->unread : 0;
}

static void give_to_peer(struct conn_mem *mem, struct str bytes)
{
    struct conn_mem *peer = mem->peer;
    bool ok = buf_add(&peer->in, bytes);

    assert(ok);
    peer->unread += bytes.n;
    if (peer->conn.reading)
        wake(peer);
}

/* Moves the queue on into the window, and the end of the stream behind it. */
static void pump(struct conn_mem *mem)
{
    if (mem->peer == NULL)
        return;
    struct str bytes = str_head(buf_str(&mem->queue), room_to_peer(mem));
    if (bytes.n > 0) {
        give_to_peer(mem, bytes);
        buf_drop(&mem->queue, bytes.n);
    }
    if (mem->queue.n == 0)
        buf_fini(&mem->queue);
    if (mem->conn.want_writable)
        wake(mem);
    if (mem->conn.shut && mem->queue.n == 0 && mem->peer->end == MEM_OPEN) {
        mem->peer->end = MEM_EOF;
        wake(mem->peer);
    }
}

static void mem_read(struct conn *conn)
{
    struct conn_mem *mem = mem_of(conn);

    if (has_turn(mem))
        wake(mem);
}

static size_t mem_write(struct conn *conn, const struct str *parts, size_t n, size_t queue_max)
{
    struct conn_mem *mem = mem_of(conn);
    size_t taken = 0;

    if (mem->peer == NULL) {
        conn_fail_soon(conn, UV_EPIPE);
        return conn_parts_total(parts, n);
    }
    for (size_t i = 0; i < n; i++) {
        size_t room = mem->queue.n == 0 ? room_to_peer(mem) : 0;
        struct str now = str_head(parts[i], room);
        if (now.n > 0)
            give_to_peer(mem, now);
        struct str later = str_from(parts[i], now.n);
        size_t space = queue_max > mem->queue.n ? queue_max - mem->queue.n : 0;
        struct str queued = str_head(later, space);
        bool ok = buf_add(&mem->queue, queued);
        assert(ok);
        taken += now.n + queued.n;
        if (queued.n < later.n)
            break;
    }
    return taken;
}

static size_t mem_queued(const struct conn *conn)
{
    const struct conn_mem *mem = (const void *)conn;

    assert(conn->ops == &mem_ops);
    return mem->queue.n;
}

static void mem_shutdown(struct conn *conn)
{
    pump(mem_of(conn));
}

/* The lent bytes leave the conn for the event: the owner may write to the other end meanwhile,
 * which adds to `in`. */
static void deliver(struct conn_mem *mem)
{
    struct buf lent = mem->in;
    struct str bytes = str_from(buf_str(&lent), mem->begin);

    assert(bytes.n == mem->unread);
    if (mem->read_max > 0)
        bytes = str_head(bytes, mem->read_max);
    buf_init(&mem->in, MEM_BYTES_MAX);
    size_t begin = mem->begin + bytes.n;
    mem->begin = 0;
    mem->unread -= bytes.n;
    conn_emit_read(&mem->conn, bytes);

    if (begin < lent.n) {
        bool ok = buf_add(&lent, buf_str(&mem->in));
        assert(ok);
        buf_fini(&mem->in);
        mem->in = lent;
        mem->begin = begin;
    } else {
        buf_fini(&lent);
    }
    assert(mem->in.n - mem->begin == mem->unread);
    if (mem->peer != NULL)
        pump(mem->peer);
}

static void mem_turn(struct conn *conn)
{
    struct conn_mem *mem = mem_of(conn);

    if (!conn_drained(conn) && conn->reading) {
        if (mem->unread > 0)
            deliver(mem);
        else if (mem->end == MEM_EOF)
            conn_emit_eof(conn);
        else if (mem->end == MEM_RESET)
            conn_emit_broken(conn, UV_ECONNRESET);
    }
    if (!conn->closed && has_turn(mem))
        wake(mem);
}

static void mem_drain(struct conn *conn)
{
    struct conn_mem *mem = mem_of(conn);

    while (conn->reading && mem->unread > 0)
        deliver(mem);
}

/* The peer sees `end` behind what is on the way already; what it still has queued has failed. */
static void leave_peer(struct conn_mem *mem, enum mem_end end)
{
    struct conn_mem *peer = mem->peer;

    if (peer == NULL)
        return;
    mem->peer = NULL;
    peer->peer = NULL;
    if (peer->end == MEM_OPEN || end == MEM_RESET)
        peer->end = end;
    if (peer->queue.n > 0)
        conn_fail_soon(&peer->conn, UV_EPIPE);
    wake(peer);
}

static void mem_free_turn(struct deferred *deferred)
{
    struct conn_mem *mem = CONTAINER_OF(deferred, struct conn_mem, conn.turn);

    assert(mem->conn.closed);
    buf_fini(&mem->in);
    buf_fini(&mem->queue);
    mem->conn.magic = 0;
    mem_free(mem);
}

static void mem_close(struct conn *conn, bool reset)
{
    struct conn_mem *mem = mem_of(conn);

    leave_peer(mem, reset ? MEM_RESET : MEM_EOF);
    loop_ready(conn->loop, &conn->turn, mem_free_turn);
}

static struct str mem_peer(const struct conn *conn)
{
    (void)conn;
    return STR("memory");
}

static bool mem_has_left(const struct conn *conn)
{
    const struct conn_mem *mem = (const void *)conn;

    return mem->end != MEM_OPEN;
}

static const struct conn_ops mem_ops = {
    .read = mem_read,
    .write = mem_write,
    .queued = mem_queued,
    .shutdown = mem_shutdown,
    .close = mem_close,
    .turn = mem_turn,
    .drain = mem_drain,
    .peer = mem_peer,
    .has_left = mem_has_left,
};

static struct conn_mem *mem_end_new(struct loop *loop)
{
    struct conn_mem *mem = mem_new(sizeof(*mem));

    conn_init(&mem->conn, &mem_ops, loop);
    buf_init(&mem->in, MEM_BYTES_MAX);
    buf_init(&mem->queue, MEM_BYTES_MAX);
    mem->window = MEM_WINDOW;
    return mem;
}

void conn_mem_pair(struct loop *loop, struct conn **ret_a, struct conn **ret_b)
{
    struct conn_mem *a = mem_end_new(loop);
    struct conn_mem *b = mem_end_new(loop);

    a->peer = b;
    b->peer = a;
    *ret_a = &a->conn;
    *ret_b = &b->conn;
}

void conn_mem_read_max(struct conn *conn, size_t n)
{
    mem_of(conn)->read_max = n;
}

void conn_mem_window(struct conn *conn, size_t n)
{
    struct conn_mem *mem = mem_of(conn);

    mem->window = n;
    pump(mem);
}

void conn_mem_reset(struct conn *conn)
{
    struct conn_mem *mem = mem_of(conn);

    buf_fini(&mem->queue);
    leave_peer(mem, MEM_RESET);
}
