/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread, one libuv loop, one listening socket.
 *
 * What      Turns the loop, accepts, and is the way in for other threads (stop, post).
 * How       Before each sleep (uv_prepare) it runs what is deferred and ready, and sets its one
 *           uv_timer to the wheel's next moment, or stops it: an idle worker sleeps without end.
 *           Work that is left over (there is a bound on what runs before sockets are looked at
 *           again) keeps a uv_idle alive, so that the loop does not sleep.
 *           Accepting: ──► a batch per turn ──► paused by the owner, or by a lack of descriptors
 *                          ▲                    (100 ms: a full table must not spin)
 *                          └────────────────────┘
 *           Life: new ─► run ─► stop ─► stopping event ─► release ─► run returns ─► free
 * Owns      The loop, its handles, the listening socket. Only what stands under `lock` is touched
 *           by other threads.
 * Not here  Threads themselves and signals (main), what is done with a connection (http).
 */
#include "io/worker.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/io_priv.h"

enum {
    ACCEPT_BATCH = 32,
    ACCEPT_REST_MS = 100,
    ACCEPT_WARN_MS = 1000,
    READY_TURNS = 256,
    WALL_CHECK_MS = 1000,
    LISTEN_BACKLOG = 1024,
};

struct worker_call {
    struct worker_call *next;
    void (*fn)(void *arg);
    void *arg;
};

struct worker {
    struct loop loop;
    const struct worker_events *events;
    void *ctx;
    uv_loop_t uv;
    uv_async_t async; /* keeps uv_run in its loop until worker_release */
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t wake;
    int64_t wake_ms; /* what `wake` is set to; INT64_MAX: not set */
    int64_t wall_checked_ms;

    uv_poll_t listener;
    int listen_fd;      /* -1: none, or closed */
    bool accept_paused; /* by the owner */
    struct timer accept_rest;
    int64_t warned_ms;
    bool stopping;

    uv_mutex_t lock;
    bool released; /* the async handle must not be used any more */
    bool stop_wanted;
    struct worker_call *calls;
    struct worker_call **calls_end;
};

/* ---- accepting ---- */

static void on_listener(uv_poll_t *listener, int status, int events);

static void accept_update(struct worker *worker)
{
    if (worker->listen_fd < 0)
        return;
    int status = worker->accept_paused || timer_armed(&worker->accept_rest)
                     ? uv_poll_stop(&worker->listener)
                     : uv_poll_start(&worker->listener, UV_READABLE, on_listener);
    assert(status == 0);
}

static void on_accept_rested(struct timer *timer)
{
    accept_update(CONTAINER_OF(timer, struct worker, accept_rest));
}

static void accept_rest(struct worker *worker, int error)
{
    char text[CONN_UV_TEXT_SIZE];
    int64_t now_ms = loop_now_ms(&worker->loop);

    timer_start(&worker->accept_rest, ACCEPT_REST_MS);
    accept_update(worker);
    if (worker->warned_ms != 0 && now_ms - worker->warned_ms < ACCEPT_WARN_MS)
        return;
    worker->warned_ms = now_ms;
    LOG(IO, WARN, "accept.failed", F_Z("error", conn_uv_text(-error, text)),
        F_INT("pause_ms", ACCEPT_REST_MS));
}

/* accept(2): errors of the connection that would have been accepted are to be passed over. */
static bool is_of_connection(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

/* False when there is no more to accept now. */
static bool accept_one(struct worker *worker)
{
    union dns_address peer = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t size = sizeof(peer);
    int fd = accept4(worker->listen_fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EAGAIN)
            return false;
        if (is_of_connection(errno))
            return true;
        accept_rest(worker, errno);
        return false;
    }
    struct conn *conn = conn_tcp_accept(&worker->loop, fd, &peer.any);
    if (conn != NULL)
        worker->events->accepted(worker, worker->ctx, conn);
    loop_turn_end(&worker->loop);
    return worker->listen_fd >= 0 && !worker->accept_paused;
}

static void on_listener(uv_poll_t *listener, int status, int events)
{
    struct worker *worker = CONTAINER_OF(listener, struct worker, listener);

    (void)events;
    if (status != 0) {
        accept_rest(worker, -status);
        return;
    }
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (!accept_one(worker))
            break;
    }
}

static void listener_close(struct worker *worker)
{
    if (worker->listen_fd < 0)
        return;
    timer_stop(&worker->accept_rest);
    uv_close((uv_handle_t *)&worker->listener, NULL);
    (void)close(worker->listen_fd);
    worker->listen_fd = -1;
}

void worker_accept_pause(struct worker *worker, bool pause)
{
    worker->accept_paused = pause;
    accept_update(worker);
}

/* ---- turning ---- */

static void on_wake(uv_timer_t *timer)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, wake);

    worker->wake_ms = INT64_MAX;
    timer_wheel_run(&worker->loop, loop_now_ms(&worker->loop));
}

/* Rounded up to the slack, so that timers of about the same time share one waking. */
static void set_wake(struct worker *worker)
{
    int64_t next_ms = timer_wheel_next(&worker->loop.wheel);

    if (next_ms != INT64_MAX)
        next_ms = (next_ms + TIMER_SLACK_MS - 1) / TIMER_SLACK_MS * TIMER_SLACK_MS;
    if (next_ms == worker->wake_ms)
        return;
    worker->wake_ms = next_ms;
    if (next_ms == INT64_MAX) {
        (void)uv_timer_stop(&worker->wake);
        return;
    }
    int64_t delay_ms = next_ms - loop_now_ms(&worker->loop);
    (void)uv_timer_start(&worker->wake, on_wake, delay_ms > 0 ? (uint64_t)delay_ms : 0, 0);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct worker *worker = CONTAINER_OF(prepare, struct worker, prepare);
    struct loop *loop = &worker->loop;
    int64_t now_ms = loop_now_ms(loop);

    if (loop_work(loop, READY_TURNS))
        (void)uv_idle_start(&worker->idle, on_idle);
    else
        (void)uv_idle_stop(&worker->idle);
    set_wake(worker);
    /* The wall clock may be set at any time. */
    if (now_ms - worker->wall_checked_ms >= WALL_CHECK_MS) {
        worker->wall_checked_ms = now_ms;
        loop->wall_offset_ms = clock_real_ms() - clock_mono_ms();
    }
}

/* ---- other threads ---- */

static void on_async(uv_async_t *async)
{
    struct worker *worker = CONTAINER_OF(async, struct worker, async);

    uv_mutex_lock(&worker->lock);
    struct worker_call *call = worker->calls;
    bool stop = worker->stop_wanted;
    worker->calls = NULL;
    worker->calls_end = &worker->calls;
    uv_mutex_unlock(&worker->lock);

    while (call != NULL) {
        struct worker_call *next = call->next;
        call->fn(call->arg);
        mem_free(call);
        call = next;
        loop_turn_end(&worker->loop);
    }
    if (stop && !worker->stopping) {
        worker->stopping = true;
        listener_close(worker);
        worker->events->stopping(worker, worker->ctx);
        loop_turn_end(&worker->loop);
    }
}

void worker_stop(struct worker *worker)
{
    uv_mutex_lock(&worker->lock);
    worker->stop_wanted = true;
    if (!worker->released)
        (void)uv_async_send(&worker->async);
    uv_mutex_unlock(&worker->lock);
}

void worker_post(struct worker *worker, void (*fn)(void *arg), void *arg)
{
    struct worker_call *call = mem_new(sizeof(*call));

    assert(fn != NULL);
    call->fn = fn;
    call->arg = arg;
    uv_mutex_lock(&worker->lock);
    *worker->calls_end = call;
    worker->calls_end = &call->next;
    if (!worker->released)
        (void)uv_async_send(&worker->async);
    uv_mutex_unlock(&worker->lock);
}

void worker_release(struct worker *worker)
{
    uv_mutex_lock(&worker->lock);
    bool again = worker->released;
    worker->released = true;
    uv_mutex_unlock(&worker->lock);
    if (again)
        return;
    listener_close(worker);
    uv_close((uv_handle_t *)&worker->async, NULL);
}

/* ---- life ---- */

struct worker *worker_new(const struct worker_options *options)
{
    struct worker *worker = mem_new(sizeof(*worker));
    int status = uv_loop_init(&worker->uv);

    assert(options->events != NULL);
    assert(options->listen_fd < 0 ||
           (options->events->accepted != NULL && options->events->stopping != NULL));
    status |= uv_mutex_init(&worker->lock);
    status |= uv_async_init(&worker->uv, &worker->async, on_async);
    status |= uv_prepare_init(&worker->uv, &worker->prepare);
    status |= uv_prepare_start(&worker->prepare, on_prepare);
    status |= uv_idle_init(&worker->uv, &worker->idle);
    status |= uv_timer_init(&worker->uv, &worker->wake);
    /* Out of descriptors before a single socket is open. */
    if (status != 0)
        BUG("no event loop can be made");
    uv_unref((uv_handle_t *)&worker->prepare);
    uv_unref((uv_handle_t *)&worker->idle);
    uv_unref((uv_handle_t *)&worker->wake);

    loop_init(&worker->loop, &worker->uv);
    worker->events = options->events;
    worker->ctx = options->ctx;
    worker->wake_ms = INT64_MAX;
    worker->calls_end = &worker->calls;
    worker->listen_fd = options->listen_fd;
    timer_init(&worker->accept_rest, &worker->loop, on_accept_rested);
    if (worker->listen_fd >= 0) {
        if (uv_poll_init(&worker->uv, &worker->listener, worker->listen_fd) != 0)
            BUG("the listening socket is not one");
        accept_update(worker);
    }
    return worker;
}

struct loop *worker_loop(struct worker *worker)
{
    return &worker->loop;
}

/* Until nothing is left in the loop but our own handles, which do not count. */
static void run_out(struct worker *worker)
{
    do
        (void)uv_run(&worker->uv, UV_RUN_DEFAULT);
    while (loop_work(&worker->loop, READY_TURNS) || uv_loop_alive(&worker->uv));
}

void worker_run(struct worker *worker)
{
    run_out(worker);
    assert(worker->released);
}

static void calls_free(struct worker *worker)
{
    while (worker->calls != NULL) {
        struct worker_call *call = worker->calls;
        worker->calls = call->next;
        mem_free(call);
    }
}

void worker_free(struct worker **worker)
{
    assert(worker != NULL);
    struct worker *old = *worker;
    if (old == NULL)
        return;
    *worker = NULL;
    worker_release(old);
    run_out(old);
    uv_close((uv_handle_t *)&old->prepare, NULL);
    uv_close((uv_handle_t *)&old->idle, NULL);
    uv_close((uv_handle_t *)&old->wake, NULL);
    (void)uv_run(&old->uv, UV_RUN_DEFAULT);
    int status = uv_loop_close(&old->uv);
    assert(status == 0);
    loop_fini(&old->loop);
    calls_free(old);
    uv_mutex_destroy(&old->lock);
    mem_free(old);
}

/* ---- listening ---- */

static int bound_socket(const union dns_address *address, bool share)
{
    const int on = 1;
    const int off = 0;
    bool v6 = address->any.sa_family == AF_INET6;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    int rc = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (rc == 0 && share)
        rc = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (rc == 0 && v6)
        rc = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (rc == 0)
        rc = bind(fd, &address->any, v6 ? sizeof(address->v6) : sizeof(address->v4));
    if (rc != 0) {
        rc = -errno;
        (void)close(fd);
        return rc;
    }
    return fd;
}

static uint16_t port_of(int fd)
{
    union dns_address address = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t size = sizeof(address);

    if (getsockname(fd, &address.any, &size) != 0)
        BUG("a bound socket has no name");
    return ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port);
}

static enum error_code listen_failed(int error, const union dns_address *address, struct error *e)
{
    char name[DNS_TEXT_SIZE];
    char text[CONN_UV_TEXT_SIZE];

    (void)dns_print(&address->any, name);
    if (error == -EADDRINUSE)
        return FAIL(e, ERR_SYSTEM, "%s is already in use", name);
    return FAIL(e, ERR_SYSTEM, "cannot listen on %s: %s", name, conn_uv_text(error, text));
}

enum error_code worker_listen(struct str host, uint16_t port, bool exclusive, int *ret_fd,
                              uint16_t *ret_port, struct error *e)
{
    struct dns_addresses found;

    if (!dns_literal(host, port, &found))
        return FAIL(e, ERR_CONFIG, "\"%.*s\" is not an address to listen on",
                    STR_ARG(str_head(host, 100)));
    const union dns_address *address = &found.at[0];
    if (exclusive && port != 0) {
        int probe = bound_socket(address, false);
        if (probe < 0)
            return listen_failed(probe, address, e);
        (void)close(probe);
    }
    int fd = bound_socket(address, true);
    if (fd < 0)
        return listen_failed(fd, address, e);
    if (listen(fd, LISTEN_BACKLOG) != 0) {
        int error = -errno;
        (void)close(fd);
        return listen_failed(error, address, e);
    }
    *ret_fd = fd;
    *ret_port = port_of(fd);
    return OK;
}
