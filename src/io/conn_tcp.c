/* SPDX-License-Identifier: MIT */
/*
 * TCP connections over libuv, accepted ones and clients.
 *
 * What      Reads into the loop's one lent buffer, writes at once where the kernel takes it.
 * How       Writing: uv_try_write ──► all taken: done, nothing was copied
 *                                 └─► the rest is copied to `next`, which takes off as `flying`
 *                                     (one uv_write) as soon as nothing else flies; what is written
 *                                     meanwhile gathers in a new `next`. Both are gone when empty.
 *           Connecting: resolve ─► one address: the handle itself connects
 *                               └► several: a race, the winner's socket goes into the handle
 *           One timer for the whole of it.
 * Owns      The conn until libuv has given its handle back; struct tcp_connect until connected. The
 *           write request lies in the block it writes: a silent connection has none.
 * Not here  Listening (worker), choosing among addresses (race), TLS (conn_tls), marks and who may
 *           be told what (conn).
 */
#include "io/conn.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/io_priv.h"

enum {
    IOV_COUNT = 64,
    BLOCK_SIZE_MIN = 4096,
    PEER_SIZE = 48, /* "[8 groups]:65535" and one */
    DETAIL_ADDRESS_SIZE = 160,
    /* Then the others of the loop have their turn; libuv alone would read 2 MiB. */
    READS_AT_ONCE = 4,
    REFUSED = 1, /* no error of libuv's: the filter left no address */
};

struct tcp_block {
    uv_write_t request;
    size_t n;
    size_t size; /* of bytes */
    char bytes[];
};

struct tcp_connect {
    struct dns_query *query;   /* while resolving */
    struct race *race;         /* while several addresses are tried */
    union dns_address address; /* the only one */
    size_t begun;              /* addresses; 0: still resolving */
    int failure;               /* to be told in a turn of its own, uv error; REFUSED */
    const struct conn_filter *filter;
    uint16_t port;
    int64_t timeout_ms;
    struct timer timer; /* of the whole */
    struct conn_tcp *tcp;
    uv_connect_t request;
    char host[]; /* NUL-terminated, for error texts */
};

struct conn_tcp {
    struct conn conn;
    uv_tcp_t handle;
    struct tcp_block *flying;
    struct tcp_block *next;
    struct tcp_connect *connect; /* NULL: connected */
    char peer[PEER_SIZE];
    uint8_t peer_n;
    bool has_handle; /* libuv holds `handle` */
    uint8_t reads;   /* full ones, since the loop looked at its sockets */
};

/* Two of them stand behind every silent stream. */
_Static_assert(sizeof(struct conn_tcp) <= 400, "a connection has become large");

static const struct conn_ops tcp_ops;

static struct conn_tcp *tcp_of(struct conn *conn)
{
    assert(conn->magic == CONN_MAGIC);
    assert(conn->ops == &tcp_ops);
    return CONTAINER_OF(conn, struct conn_tcp, conn);
}

static uv_stream_t *stream_of(struct conn_tcp *tcp)
{
    return (uv_stream_t *)&tcp->handle;
}

static struct conn_tcp *tcp_new(struct loop *loop)
{
    struct conn_tcp *tcp = mem_new(sizeof(*tcp));

    assert(loop->uv != NULL);
    conn_init(&tcp->conn, &tcp_ops, loop);
    return tcp;
}

static void tcp_free(struct conn_tcp *tcp)
{
    assert(tcp->conn.closed);
    assert(tcp->flying == NULL);
    assert(!list_linked(&tcp->conn.turn.link));
    mem_free(tcp->next);
    mem_free(tcp->connect);
    tcp->conn.magic = 0;
    mem_free(tcp);
}

static void open_handle(struct conn_tcp *tcp)
{
    assert(!tcp->has_handle);
    if (uv_tcp_init(tcp->conn.loop->uv, &tcp->handle) != 0)
        BUG("uv_tcp_init fails without a socket");
    tcp->has_handle = true;
}

static void set_peer(struct conn_tcp *tcp, const struct sockaddr *address)
{
    char text[DNS_TEXT_SIZE];
    size_t n = dns_print(address, text);

    if (n > sizeof(tcp->peer))
        n = sizeof(tcp->peer);
    memcpy(tcp->peer, text, n);
    tcp->peer_n = (uint8_t)n;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct conn_tcp *tcp = CONTAINER_OF(handle, struct conn_tcp, handle);

    (void)suggested;
    if (tcp->reads == READS_AT_ONCE) {
        *ret_buf = uv_buf_init(NULL, 0); /* UV_ENOBUFS: libuv comes back in its next round */
        return;
    }
    *ret_buf = uv_buf_init(tcp->conn.loop->read_buffer, LOOP_READ_SIZE);
}

/* libuv makes an EOF of a reset that it polls together with the last bytes: what the socket itself
 * says of its end, 0 or a libuv error. */
static int error_behind_eof(const uv_stream_t *stream)
{
    uv_os_fd_t fd = -1;
    int error = 0;
    socklen_t size = sizeof(error);

    if (uv_fileno((const uv_handle_t *)stream, &fd) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return 0;
    return uv_translate_sys_error(error);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn_tcp *tcp = CONTAINER_OF(stream, struct conn_tcp, handle);
    struct loop *loop = tcp->conn.loop;

    tcp->reads = n == LOOP_READ_SIZE ? (uint8_t)(tcp->reads + 1) : 0;
    if (n == UV_ENOBUFS)
        return;
    if (n == UV_EOF) {
        int error = error_behind_eof(stream);
        n = error != 0 ? error : UV_EOF;
    }
    if (n > 0) {
        conn_emit_read(&tcp->conn, str_of(buf->base, (size_t)n));
    } else if (n == UV_EOF) {
        (void)uv_read_stop(stream);
        conn_emit_eof(&tcp->conn);
    } else if (n < 0) {
        conn_emit_broken(&tcp->conn, (int)n);
    }
    loop_turn_end(loop);
}

/* The peer has closed, perhaps after it had said why: the kernel keeps what came before a reset. As
 * the connection is dead, that is no more than its receive buffer holds. */
static void tcp_drain(struct conn *conn)
{
    enum { READS_MAX = 1024 };
    struct conn_tcp *tcp = tcp_of(conn);
    uv_os_fd_t fd = -1;

    if (tcp->connect != NULL || uv_fileno((const uv_handle_t *)&tcp->handle, &fd) != 0)
        return;
    for (int i = 0; i < READS_MAX && conn->reading; i++) {
        ssize_t n = read(fd, conn->loop->read_buffer, LOOP_READ_SIZE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        conn_emit_read(conn, str_of(conn->loop->read_buffer, (size_t)n));
    }
}

static void tcp_read(struct conn *conn)
{
    struct conn_tcp *tcp = tcp_of(conn);

    if (tcp->connect != NULL)
        return;
    assert(tcp->has_handle);
    if (!conn->reading) {
        (void)uv_read_stop(stream_of(tcp));
        return;
    }
    int status = uv_read_start(stream_of(tcp), on_alloc, on_read);
    if (status != 0)
        conn_fail_soon(conn, status);
}

/* Where poll has no word for the end of the other side's stream (macOS), POLLHUP says it, which
 * always comes unasked. */
#if defined(POLLRDHUP)
enum { POLL_END = POLLRDHUP };
#else
enum { POLL_END = 0 };
#endif

static bool tcp_has_left(const struct conn *conn)
{
    const struct conn_tcp *tcp = (const void *)conn;
    struct pollfd look = {.fd = -1, .events = POLL_END};

    assert(conn->ops == &tcp_ops);
    if (tcp->connect != NULL || uv_fileno((const uv_handle_t *)&tcp->handle, &look.fd) != 0)
        return false;
    return poll(&look, 1, 0) == 1;
}

/* ---- writing ---- */

static size_t tcp_queued(const struct conn *conn)
{
    const struct conn_tcp *tcp = (const void *)conn;
    size_t n = tcp->next != NULL ? tcp->next->n : 0;

    assert(conn->ops == &tcp_ops);
    if (tcp->flying != NULL)
        n += uv_stream_get_write_queue_size((const uv_stream_t *)&tcp->handle);
    return n;
}

/* Gives to the kernel what it takes now. */
static size_t try_write(struct conn_tcp *tcp, const struct str *parts, size_t n)
{
    size_t written = 0;

    for (size_t i = 0; i < n;) {
        UNINITIALIZED uv_buf_t bufs[IOV_COUNT];
        unsigned count = 0;
        size_t bytes = 0;
        for (; i < n && count < IOV_COUNT; i++) {
            if (parts[i].n == 0)
                continue;
            /* libuv's type is not const; writing only reads. */
            bufs[count].base = (char *)(uintptr_t)parts[i].p;
            bufs[count++].len = parts[i].n;
            bytes += parts[i].n;
        }
        if (count == 0)
            break;
        int status = uv_try_write(stream_of(tcp), bufs, count);
        if (status < 0) {
            if (status != UV_EAGAIN)
                conn_fail_soon(&tcp->conn, status);
            break;
        }
        written += (size_t)status;
        if ((size_t)status < bytes)
            break;
    }
    return written;
}

/* Room for n more bytes in `next`; grows by half, so that appending stays cheap. */
static void reserve(struct conn_tcp *tcp, size_t n)
{
    struct tcp_block *block = tcp->next;
    size_t used = block != NULL ? block->n : 0;
    size_t size = block != NULL ? block->size + block->size / 2 : BLOCK_SIZE_MIN;

    if (block != NULL && n <= block->size - block->n)
        return;
    if (size < used + n)
        size = used + n;
    block = mem_resize(block, sizeof(struct tcp_block) + size);
    block->n = used;
    block->size = size;
    tcp->next = block;
}

/* Copies n bytes of the parts, without the first `skip`, to the end of the queue. */
static void append(struct conn_tcp *tcp, const struct str *parts, size_t skip, size_t n)
{
    reserve(tcp, n);
    for (size_t i = 0; n > 0; i++) {
        size_t left_out = skip < parts[i].n ? skip : parts[i].n;
        struct str bytes = str_head(str_from(parts[i], left_out), n);
        skip -= left_out;
        n -= bytes.n;
        if (bytes.n > 0)
            memcpy(tcp->next->bytes + tcp->next->n, bytes.p, bytes.n);
        tcp->next->n += bytes.n;
        assert(tcp->next->n <= tcp->next->size);
    }
}

static void send_fin(struct conn_tcp *tcp)
{
    uv_os_fd_t fd = -1;

    /* ENOTCONN: the peer is gone, which reading tells. */
    if (uv_fileno((const uv_handle_t *)&tcp->handle, &fd) == 0)
        (void)shutdown(fd, SHUT_WR);
}

static void on_written(uv_write_t *request, int status);

/* Sends off what has gathered, or the FIN behind the last byte. */
static void take_off(struct conn_tcp *tcp)
{
    assert(tcp->connect == NULL);
    if (tcp->flying != NULL)
        return;
    if (tcp->next == NULL) {
        if (tcp->conn.shut)
            send_fin(tcp);
        return;
    }
    struct tcp_block *block = tcp->next;
    uv_buf_t buf = {.base = block->bytes, .len = block->n};
    int status = uv_write(&block->request, stream_of(tcp), &buf, 1, on_written);
    if (status != 0) {
        conn_fail_soon(&tcp->conn, status);
        return;
    }
    tcp->flying = block;
    tcp->next = NULL;
}

static void on_written(uv_write_t *request, int status)
{
    struct tcp_block *block = CONTAINER_OF(request, struct tcp_block, request);
    struct conn_tcp *tcp = CONTAINER_OF(request->handle, struct conn_tcp, handle);
    struct loop *loop = tcp->conn.loop;

    assert(tcp->flying == block);
    tcp->flying = NULL;
    mem_free(block);
    if (tcp->conn.closed || tcp->conn.failed)
        return;
    if (status != 0) {
        tcp_drain(&tcp->conn);
        conn_emit_broken(&tcp->conn, status);
    } else {
        take_off(tcp);
        (void)conn_drained(&tcp->conn);
    }
    loop_turn_end(loop);
}

static size_t tcp_write(struct conn *conn, const struct str *parts, size_t n, size_t queue_max)
{
    struct conn_tcp *tcp = tcp_of(conn);
    size_t total = conn_parts_total(parts, n);
    size_t written = 0;

    if (tcp->flying == NULL && tcp->next == NULL && tcp->connect == NULL)
        written = try_write(tcp, parts, n);
    if (LIKELY(written == total))
        return total;
    if (conn->failure != 0)
        return total;
    size_t queued = tcp_queued(conn);
    size_t room = queue_max > queued ? queue_max - queued : 0;
    size_t rest = total - written < room ? total - written : room;
    if (rest > 0) {
        append(tcp, parts, written, rest);
        if (tcp->connect == NULL)
            take_off(tcp);
    }
    return written + rest;
}

static void tcp_shutdown(struct conn *conn)
{
    struct conn_tcp *tcp = tcp_of(conn);

    if (tcp->connect == NULL)
        take_off(tcp);
}

/* ---- closing ---- */

static void on_closed(uv_handle_t *handle)
{
    tcp_free(CONTAINER_OF(handle, struct conn_tcp, handle));
}

static void free_turn(struct deferred *deferred)
{
    tcp_free(CONTAINER_OF(deferred, struct conn_tcp, conn.turn));
}

static void tcp_close(struct conn *conn, bool reset)
{
    struct conn_tcp *tcp = tcp_of(conn);
    uv_handle_t *handle = (uv_handle_t *)&tcp->handle;

    if (tcp->connect != NULL) {
        timer_stop(&tcp->connect->timer);
        dns_cancel(&tcp->connect->query);
        race_cancel(&tcp->connect->race);
    }
    if (!tcp->has_handle) {
        loop_ready(conn->loop, &conn->turn, free_turn);
        return;
    }
    if (reset && tcp->connect == NULL && uv_tcp_close_reset(&tcp->handle, on_closed) == 0)
        return;
    uv_close(handle, on_closed);
}

static void connect_gave_up(struct conn_tcp *tcp, int failure);

/* Asked for where the resolver or the kernel refuses at once. */
static void tcp_turn(struct conn *conn)
{
    struct conn_tcp *tcp = tcp_of(conn);

    assert(tcp->connect != NULL);
    connect_gave_up(tcp, tcp->connect->failure);
}

static struct str tcp_peer(const struct conn *conn)
{
    const struct conn_tcp *tcp = (const void *)conn;

    assert(conn->ops == &tcp_ops);
    return str_of(tcp->peer, tcp->peer_n);
}

static const struct conn_ops tcp_ops = {
    .read = tcp_read,
    .write = tcp_write,
    .queued = tcp_queued,
    .shutdown = tcp_shutdown,
    .close = tcp_close,
    .turn = tcp_turn,
    .drain = tcp_drain,
    .peer = tcp_peer,
    .has_left = tcp_has_left,
};

struct conn *conn_tcp_accept(struct loop *loop, int fd, const struct sockaddr *peer)
{
    struct conn_tcp *tcp = tcp_new(loop);
    struct conn *conn = &tcp->conn;

    open_handle(tcp);
    if (uv_tcp_open(&tcp->handle, fd) != 0) {
        (void)close(fd);
        conn_close(&conn);
        return NULL;
    }
    (void)uv_tcp_nodelay(&tcp->handle, 1);
    set_peer(tcp, peer);
    return conn;
}

/* ---- connecting ---- */

static void connect_failed(struct conn_tcp *tcp, enum error_code code, const char *text)
{
    struct tcp_connect *connect = tcp->connect;
    struct error e;

    timer_stop(&connect->timer);
    if (connect->begun == 0) {
        FAIL(&e, code, "%s (%.*s:%u)", text, DETAIL_ADDRESS_SIZE, connect->host,
             (unsigned)connect->port);
    } else {
        char address[DNS_TEXT_SIZE];
        (void)dns_print(&connect->address.any, address);
        if (connect->begun == 1)
            FAIL(&e, code, "%s (%s)", text, address);
        else
            FAIL(&e, code, "%s (%s, the last of %zu addresses tried)", text, address,
                 connect->begun);
    }
    conn_emit_failed(&tcp->conn, &e);
}

static void connect_timed_out(struct conn_tcp *tcp)
{
    const struct tcp_connect *connect = tcp->connect;
    char text[80];

    (void)snprintf(text, sizeof(text), "%s within %lld ms (connect_timeout)",
                   connect->begun == 0 ? "no address of the host" : "no connection",
                   (long long)connect->timeout_ms);
    connect_failed(tcp, ERR_UPSTREAM_TIMEOUT, text);
}

static void connect_gave_up(struct conn_tcp *tcp, int failure)
{
    char text[CONN_UV_TEXT_SIZE];
    bool unknown = failure == UV_EAI_NONAME || failure == UV_EAI_NODATA;

    if (failure == REFUSED)
        connect_failed(tcp, ERR_FORBIDDEN, tcp->connect->filter->why);
    else if (failure == UV_ETIMEDOUT)
        connect_timed_out(tcp);
    else
        connect_failed(tcp, ERR_UPSTREAM_UNREACHABLE,
                       unknown ? "host not found" : conn_uv_text(failure, text));
}

static void connect_done(struct conn_tcp *tcp)
{
    struct tcp_connect *connect = tcp->connect;

    assert(connect->query == NULL && connect->race == NULL);
    timer_stop(&connect->timer);
    set_peer(tcp, &connect->address.any);
    tcp->connect = NULL;
    mem_free(connect);
    (void)uv_tcp_nodelay(&tcp->handle, 1);
    if (tcp->conn.reading)
        tcp_read(&tcp->conn);
    take_off(tcp);
    conn_emit_connected(&tcp->conn);
}

static void on_connect(uv_connect_t *request, int status)
{
    struct tcp_connect *connect = CONTAINER_OF(request, struct tcp_connect, request);
    struct conn_tcp *tcp = connect->tcp;
    struct loop *loop = tcp->conn.loop;

    if (tcp->conn.closed || tcp->conn.failed) /* by the owner, or the time was over */
        return;
    if (status == 0)
        connect_done(tcp);
    else
        connect_gave_up(tcp, status);
    loop_turn_end(loop);
}

static void on_raced(void *ctx, const struct race_result *result)
{
    struct conn_tcp *tcp = ctx;
    struct tcp_connect *connect = tcp->connect;
    int status = result->status;

    assert(!tcp->conn.closed && !tcp->conn.failed);
    connect->race = NULL;
    connect->begun = result->begun;
    connect->address = result->address;
    if (status == 0) {
        open_handle(tcp);
        status = uv_tcp_open(&tcp->handle, result->fd);
        if (status != 0)
            (void)close(result->fd);
    }
    if (status == 0)
        connect_done(tcp);
    else
        connect_gave_up(tcp, status);
}

static void on_connect_timer(struct timer *timer)
{
    struct tcp_connect *connect = CONTAINER_OF(timer, struct tcp_connect, timer);
    struct race_result stand;

    dns_cancel(&connect->query);
    if (connect->race != NULL) {
        race_stand(connect->race, &stand);
        connect->begun = stand.begun;
        connect->address = stand.address;
        race_cancel(&connect->race);
    }
    connect_timed_out(connect->tcp);
}

/* Told from a turn of its own: this may be within conn_connect. */
static void connect_fails_soon(struct conn_tcp *tcp, int failure)
{
    timer_stop(&tcp->connect->timer);
    tcp->connect->failure = failure;
    conn_soon(&tcp->conn);
}

/* Those of the addresses that may be connected to. */
static struct dns_addresses admitted(const struct conn_filter *filter,
                                     const struct dns_addresses *found)
{
    struct dns_addresses left = {.n = 0};

    for (size_t i = 0; i < found->n; i++) {
        if (filter->admits(filter, &found->at[i].any))
            left.at[left.n++] = found->at[i];
    }
    return left;
}

static void try_addresses(struct conn_tcp *tcp, const struct dns_addresses *all)
{
    struct tcp_connect *connect = tcp->connect;
    struct dns_addresses left;
    const struct dns_addresses *found = all;

    if (connect->filter != NULL) {
        left = admitted(connect->filter, all);
        found = &left;
    }
    if (found->n == 0) {
        connect_fails_soon(tcp, REFUSED);
        return;
    }
    if (found->n > 1) {
        int64_t left_ms = connect->timer.due_ms - loop_now_ms(tcp->conn.loop);
        if (left_ms < 0)
            left_ms = 0;
        connect->race = race_start(tcp->conn.loop, found, left_ms, on_raced, tcp);
        return;
    }
    connect->begun = 1;
    connect->address = found->at[0];
    open_handle(tcp);
    int status = uv_tcp_connect(&connect->request, &tcp->handle, &connect->address.any, on_connect);
    if (status != 0)
        connect_fails_soon(tcp, status);
}

static void on_addresses(void *ctx, int status, const struct dns_addresses *found)
{
    struct conn_tcp *tcp = ctx;

    tcp->connect->query = NULL;
    if (status != 0)
        connect_gave_up(tcp, status);
    else
        try_addresses(tcp, found);
}

struct conn *conn_tcp_connect(struct loop *loop, const struct conn_target *target)
{
    struct conn_tcp *tcp = tcp_new(loop);
    struct tcp_connect *connect = mem_new(sizeof(*connect) + target->host.n + 1);
    struct dns_addresses found;

    assert(target->connect_timeout_ms >= 0);
    tcp->connect = connect;
    connect->tcp = tcp;
    connect->port = target->port;
    connect->timeout_ms = target->connect_timeout_ms;
    connect->filter = target->filter;
    memcpy(connect->host, target->host.p, target->host.n);
    timer_init(&connect->timer, loop, on_connect_timer);
    timer_start(&connect->timer, target->connect_timeout_ms);
    if (dns_literal(target->host, target->port, &found)) {
        try_addresses(tcp, &found);
        return &tcp->conn;
    }
    int status = dns_start(loop, connect->host, target->port, on_addresses, tcp, &connect->query);
    if (status != 0)
        connect_fails_soon(tcp, status);
    return &tcp->conn;
}
