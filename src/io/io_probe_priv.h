/* SPDX-License-Identifier: MIT */
/*
 * For this room's tests only: an owner of a connection that writes down what it is told, and a
 * worker that is turned by the test until something has happened, for at most some seconds.
 *
 * There are also peers that a test needs, and a count of open descriptors.
 *
 * `log` gets a letter for each event: C connected, R read (rows of R count once), E eof,
 * W writable, F failed. `got` collects the bytes. `on_event` lets a test act within the event.
 */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"
#include "io/conn.h"
#include "io/io_priv.h"
#include "io/worker.h"

struct probe {
    struct conn *conn;
    char log[64];
    size_t log_n;
    size_t reads;
    size_t read_largest;
    struct buf got;
    struct error error;
    bool read_on_connect;
    void (*on_event)(struct probe *probe, char event);
    void *ctx; /* the test's */
};

static inline void probe_note(struct probe *probe, char event)
{
    if (event != 'R' || probe->log_n == 0 || probe->log[probe->log_n - 1] != 'R') {
        assert(probe->log_n < sizeof(probe->log) - 1);
        probe->log[probe->log_n++] = event;
        probe->log[probe->log_n] = '\0';
    }
    if (probe->on_event != NULL)
        probe->on_event(probe, event);
}

static inline void probe_connected(struct conn *conn, void *ctx)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    if (probe->read_on_connect)
        conn_read_start(conn);
    probe_note(probe, 'C');
}

static inline void probe_read(struct conn *conn, void *ctx, struct str bytes)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe->reads++;
    if (bytes.n > probe->read_largest)
        probe->read_largest = bytes.n;
    bool ok = buf_add(&probe->got, bytes);
    assert(ok);
    probe_note(probe, 'R');
}

static inline void probe_eof(struct conn *conn, void *ctx)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe_note(probe, 'E');
}

static inline void probe_writable(struct conn *conn, void *ctx)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe_note(probe, 'W');
}

static inline void probe_failed(struct conn *conn, void *ctx, const struct error *e)
{
    struct probe *probe = ctx;

    assert(probe->conn == conn);
    probe->error = *e;
    probe_note(probe, 'F');
}

static const struct conn_events probe_events = {
    .connected = probe_connected,
    .read = probe_read,
    .eof = probe_eof,
    .writable = probe_writable,
    .failed = probe_failed,
};

static inline void probe_init(struct probe *probe)
{
    *probe = (struct probe){.read_on_connect = true};
    buf_init(&probe->got, (size_t)64 << 20);
}

/* Takes the conn over. */
static inline void probe_own(struct probe *probe, struct conn *conn)
{
    probe_init(probe);
    probe->conn = conn;
    conn_set_events(conn, &probe_events, probe);
}

static inline void probe_fini(struct probe *probe)
{
    conn_close(&probe->conn);
    buf_fini(&probe->got);
}

/* ---- a worker turned by the test ---- */

struct world {
    struct worker *worker;
    struct loop *loop;
    uint16_t port; /* of its listener on 127.0.0.1 */
    size_t accepted;
    size_t turns;        /* of the last world_run */
    struct probe server; /* the last accepted connection */
    struct probe client;
    struct timer guard;
};

static inline void world_accepted(struct worker *worker, void *ctx, struct conn *conn)
{
    struct world *world = ctx;

    assert(worker == world->worker);
    world->accepted++;
    if (world->server.conn != NULL)
        probe_fini(&world->server);
    void (*on_event)(struct probe *, char) = world->server.on_event;
    probe_own(&world->server, conn);
    world->server.on_event = on_event;
    world->server.ctx = world;
    conn_read_start(conn);
}

static inline void world_stopping(struct worker *worker, void *ctx)
{
    struct world *world = ctx;

    /* Not before: a connection may have been accepted just now. */
    conn_close(&world->client.conn);
    conn_close(&world->server.conn);
    worker_release(worker);
}

static const struct worker_events world_events = {
    .accepted = world_accepted,
    .stopping = world_stopping,
};

/* What a ready turn tells comes just before the loop sleeps: world_run has to look again. */
static inline void world_guard(struct timer *timer)
{
    timer_start(timer, 2);
}

static inline void world_init(struct world *world)
{
    struct error e;
    int fd = -1;

    (void)signal(SIGPIPE, SIG_IGN);
    *world = (struct world){.worker = NULL};
    enum error_code code = worker_listen(STR("127.0.0.1"), 0, true, &fd, &world->port, &e);
    assert(code == OK);
    world->worker = worker_new(
        &(struct worker_options){.events = &world_events, .ctx = world, .listen_fd = fd});
    world->loop = worker_loop(world->worker);
    probe_init(&world->server);
    probe_init(&world->client);
    timer_init(&world->guard, world->loop, world_guard);
}

/* Turns the loop until done(world); false after limit_ms. */
static inline bool world_run(struct world *world, bool (*done)(struct world *), int64_t limit_ms)
{
    int64_t until_ms = loop_now_ms(world->loop) + limit_ms;

    world->turns = 0;
    timer_start(&world->guard, 0);
    while (!done(world) && loop_now_ms(world->loop) < until_ms) {
        (void)uv_run(world->loop->uv, UV_RUN_ONCE);
        world->turns++;
    }
    timer_stop(&world->guard);
    return done(world);
}

static inline void world_fini(struct world *world)
{
    worker_stop(world->worker);
    worker_run(world->worker);
    probe_fini(&world->client);
    probe_fini(&world->server);
    worker_free(&world->worker);
}

/* ---- peers ---- */

/* A listener whose queue is full: further connections get no answer. */
struct black_hole {
    int fds[8];
    uint16_t port;
};

static inline void black_hole_init(struct black_hole *hole)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    struct sockaddr *any = (struct sockaddr *)&address;

    hole->fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert(hole->fds[0] >= 0);
    int rc = bind(hole->fds[0], any, size);
    rc |= listen(hole->fds[0], 0);
    rc |= getsockname(hole->fds[0], any, &size);
    assert(rc == 0);
    hole->port = ntohs(address.sin_port);
    for (size_t i = 1; i < COUNT_OF(hole->fds); i++) {
        hole->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(hole->fds[i], any, size);
    }
}

static inline void black_hole_fini(struct black_hole *hole)
{
    for (size_t i = 0; i < COUNT_OF(hole->fds); i++)
        (void)close(hole->fds[i]);
}

/* Lets in who waits: whoever sends his SYN again then is connected. */
static inline void black_hole_open(struct black_hole *hole)
{
    for (size_t i = 1; i < COUNT_OF(hole->fds); i++) {
        (void)close(hole->fds[i]);
        hole->fds[i] = -1;
    }
    int fd;
    (void)fcntl(hole->fds[0], F_SETFL, O_NONBLOCK);
    while ((fd = accept(hole->fds[0], NULL, NULL)) >= 0)
        (void)close(fd);
}

/* Descriptors that are open in this process. */
static inline size_t probe_open_fds(void)
{
    size_t n = 0;

    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}
