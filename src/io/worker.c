/* SPDX-License-Identifier: MIT */
/*
 * A worker: one thread, one libuv loop, one listening socket or a part of another's.
 *
 * What      Turns the loop, accepts, and is the way in for other threads (stop, post).
 * How       Before each sleep (uv_prepare) it runs what is deferred and ready, and sets its one
 *           uv_timer to the wheel's next moment, or stops it: an idle worker sleeps without end.
 *           Work that is left over (there is a bound on what runs before sockets are looked at
 *           again) keeps a uv_idle alive, so that the loop does not sleep.
 *           Accepting: ──► a batch per turn ──► paused by the owner, or by a lack of descriptors
 *                          ▲                    (100 ms: a full table must not spin; is it still
 *                          └────────────────────┘ full then, those who wait are let in through a
 *                                                 descriptor kept for this, and closed)
 *           Handing over: accepted ─► the next peer that takes it ─► its list, under its lock ─►
 *                         its async ─► `accepted` there, or closed if it has stopped
 *           Life: new ─► run ─► stop ─► stopping event ─► release ─► run returns ─► free
 * Owns      The loop, its handles, the listening socket, and accepted sockets until they are told:
 *           on their way they belong to the worker in whose list they are. Only what stands under
 *           `lock` is touched by other threads.
 * Not here  Threads themselves and signals (main), what is done with a connection (http).
 */
#include "io/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/io_priv.h"

enum {
    ACCEPT_BATCH = 32,
    ACCEPT_REST_MS = 100,
    ACCEPT_WARN_MS = 1000,
    SHORTAGE_MS = 10000, /* after the last lack of descriptors */
    READY_TURNS = 32,    /* between two looks at the sockets: a turn may copy 64 KiB twice */
    WALL_CHECK_MS = 1000,
    LISTEN_BACKLOG = 1024,
    HANDED_MAX = 1024, /* accepted sockets that wait for one worker */
};

/* An accepted socket. */
struct handed {
    struct handed *next;
    int fd;
    union dns_address peer;
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
    uv_check_t check;
    struct metrics *metrics; /* NULL: turns are not counted */
    int64_t turn_began_ms;   /* monotonic; 0: none has begun */
    uv_idle_t idle;
    uv_timer_t wake;
    int64_t wake_ms; /* what `wake` is set to; INT64_MAX: not set */
    int64_t wall_checked_ms;

    uv_poll_t listener;
    int listen_fd;      /* -1: none, or closed */
    bool accept_paused; /* by the owner */
    struct timer accept_rest;
    bool out_of_fds;     /* when last asked */
    int64_t shortage_ms; /* the last time of that; 0: never */
    int null_fd;         /* what reserve_fd is a copy of; -1: none */
    int reserve_fd;      /* closed to make room for one; -1: none, lost to another thread */
    int64_t warned_ms;
    bool stopping;
    struct worker *const *peers; /* who gets what is accepted here; NULL: this worker alone */
    size_t peers_n;
    size_t peers_next;

    uv_mutex_t lock;
    bool released; /* the async handle must not be used any more */
    bool stop_wanted;
    bool hands_off; /* paused: nothing is to be handed to it */
    struct worker_call *calls;
    struct worker_call **calls_end;
    struct handed *handed;
    struct handed **handed_end;
    size_t handed_n;
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

/* A lack of descriptors is the whole process's: what one worker frees, to let somebody in and send
 * him away, must not go to another that accepts meanwhile. Taken only where there is a lack. */
static pthread_mutex_t worker_shortage = PTHREAD_MUTEX_INITIALIZER;

/* True: in a time of shortage, and the lock is held. */
static bool shortage_begin(const struct worker *worker)
{
    if (LIKELY(worker->shortage_ms == 0) ||
        loop_now_ms(&worker->loop) - worker->shortage_ms > SHORTAGE_MS)
        return false;
    (void)pthread_mutex_lock(&worker_shortage);
    return true;
}

static void shortage_end(bool held)
{
    if (held)
        (void)pthread_mutex_unlock(&worker_shortage);
}

/* Two, as a connection that is to be closed is replaced by a copy of the other: its number must
 * not be free even for a moment, in which another thread would take it. */
static void reserve_open(struct worker *worker)
{
    if (worker->null_fd < 0)
        worker->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (worker->null_fd >= 0 && worker->reserve_fd < 0)
        worker->reserve_fd = fcntl(worker->null_fd, F_DUPFD_CLOEXEC, 0);
}

static void reserve_close(struct worker *worker)
{
    if (worker->reserve_fd >= 0)
        (void)close(worker->reserve_fd);
    if (worker->null_fd >= 0)
        (void)close(worker->null_fd);
    worker->reserve_fd = -1;
    worker->null_fd = -1;
}

/* Nobody is to hang before a door that does not open: who waits is let in, one after the other,
 * and sent away. Returns how many. */
static int turn_away(struct worker *worker)
{
    bool held = shortage_begin(worker);
    int n = 0;

    assert(held);
    for (; n < ACCEPT_BATCH && worker->reserve_fd >= 0; n++) {
        (void)close(worker->reserve_fd);
        worker->reserve_fd = accept4(worker->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (worker->reserve_fd < 0)
            break;
        int status = dup3(worker->null_fd, worker->reserve_fd, O_CLOEXEC);
        assert(status == worker->reserve_fd);
    }
    reserve_open(worker);
    shortage_end(held);
    return n;
}

static void accept_rest(struct worker *worker, int error)
{
    char text[CONN_UV_TEXT_SIZE];
    int64_t now_ms = loop_now_ms(&worker->loop);
    bool out_of_fds = error == EMFILE || error == ENFILE;

    if (out_of_fds)
        worker->shortage_ms = now_ms;
    /* The first time a rest may do: descriptors come back as quickly as they go. */
    int closed = out_of_fds && worker->out_of_fds ? turn_away(worker) : 0;

    worker->out_of_fds = out_of_fds;
    timer_start(&worker->accept_rest, ACCEPT_REST_MS);
    accept_update(worker);
    if (worker->warned_ms != 0 && now_ms - worker->warned_ms < ACCEPT_WARN_MS)
        return;
    worker->warned_ms = now_ms;
    LOG(IO, WARN, "accept.failed", F_Z("error", conn_uv_text(-error, text)),
        F_INT("pause_ms", ACCEPT_REST_MS), F_INT("turned_away", closed));
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

static void adopt(struct worker *worker, int fd, const union dns_address *peer)
{
    struct conn *conn = conn_tcp_accept(&worker->loop, fd, &peer->any);

    if (conn != NULL)
        worker->events->accepted(worker, worker->ctx, conn);
    loop_turn_end(&worker->loop);
}

/* Any thread. False when the worker takes none; the socket stays with the caller. */
static bool hand(struct worker *worker, int fd, const union dns_address *peer)
{
    struct handed *handed = mem_new(sizeof(*handed));

    assert(fd >= 0);
    handed->fd = fd;
    handed->peer = *peer;
    uv_mutex_lock(&worker->lock);
    bool takes = !worker->stop_wanted && !worker->released && !worker->hands_off &&
                 worker->handed_n < HANDED_MAX;
    if (takes) {
        *worker->handed_end = handed;
        worker->handed_end = &handed->next;
        worker->handed_n++;
        (void)uv_async_send(&worker->async);
    }
    uv_mutex_unlock(&worker->lock);
    if (!takes)
        mem_free(handed);
    return takes;
}

/* To the next in turn; to this worker if nobody else takes it. */
static void spread(struct worker *worker, int fd, const union dns_address *peer)
{
    for (size_t i = 0; i < worker->peers_n; i++) {
        struct worker *next = worker->peers[worker->peers_next];
        worker->peers_next = (worker->peers_next + 1) % worker->peers_n;
        if (next == worker)
            break;
        if (hand(next, fd, peer))
            return;
    }
    adopt(worker, fd, peer);
}

/* Sockets that other workers' listeners gave to this one. */
static void take_handed(struct worker *worker)
{
    uv_mutex_lock(&worker->lock);
    struct handed *handed = worker->handed;
    worker->handed = NULL;
    worker->handed_end = &worker->handed;
    worker->handed_n = 0;
    uv_mutex_unlock(&worker->lock);

    while (handed != NULL) {
        struct handed *next = handed->next;
        if (worker->stopping)
            (void)close(handed->fd);
        else
            adopt(worker, handed->fd, &handed->peer);
        mem_free(handed);
        handed = next;
    }
}

static int accept_socket(struct worker *worker, union dns_address *ret_peer)
{
    socklen_t size = sizeof(*ret_peer);
    bool shortage = shortage_begin(worker);
    int fd = accept4(worker->listen_fd, &ret_peer->any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    int error = errno;

    shortage_end(shortage);
    errno = error;
    return fd;
}

/* False when there is no more to accept now. */
static bool accept_one(struct worker *worker)
{
    union dns_address peer = {.any = {.sa_family = AF_UNSPEC}};
    int fd = accept_socket(worker, &peer);

    if (fd < 0) {
        if (errno == EAGAIN)
            return false;
        if (is_of_connection(errno))
            return true;
        accept_rest(worker, errno);
        return false;
    }
    worker->out_of_fds = false;
    if (worker->peers_n > 0)
        spread(worker, fd, &peer);
    else
        adopt(worker, fd, &peer);
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
    /* Before anybody comes in: what was lost is what comes back first. */
    if (UNLIKELY(worker->reserve_fd < 0)) {
        bool held = shortage_begin(worker);
        reserve_open(worker);
        shortage_end(held);
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
    reserve_close(worker);
}

void worker_accept_pause(struct worker *worker, bool pause)
{
    worker->accept_paused = pause;
    uv_mutex_lock(&worker->lock);
    worker->hands_off = pause;
    uv_mutex_unlock(&worker->lock);
    accept_update(worker);
}

void worker_share(struct worker *worker, struct worker *const *peers, size_t n)
{
    assert(worker->listen_fd >= 0);
    assert(n > 0);
    for (size_t i = 0; i < n; i++)
        assert(peers[i]->events->accepted != NULL && peers[i]->events->stopping != NULL);
    worker->peers = peers;
    worker->peers_n = n;
    worker->peers_next = 0;
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

/* After the callbacks of what a sleep ended with: uv's clock still says when that was. */
static void on_check(uv_check_t *check)
{
    struct worker *worker = CONTAINER_OF(check, struct worker, check);

    worker->turn_began_ms = (int64_t)uv_now(&worker->uv);
}

/* Up to the next sleep. uv's clock has whole milliseconds, rounded down. */
static void count_turn(struct worker *worker)
{
    if (worker->metrics == NULL || worker->turn_began_ms == 0)
        return;
    int64_t us = (int64_t)(uv_hrtime() / 1000) - worker->turn_began_ms * 1000;
    metric_observe_us(worker->metrics, METRIC_loop_turn_seconds, us > 0 ? us : 0);
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
    count_turn(worker);
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
    take_handed(worker);
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
    status |= uv_check_init(&worker->uv, &worker->check);
    status |= uv_check_start(&worker->check, on_check);
    status |= uv_idle_init(&worker->uv, &worker->idle);
    status |= uv_timer_init(&worker->uv, &worker->wake);
    /* Out of descriptors before a single socket is open. */
    if (status != 0)
        BUG("no event loop can be made");
    uv_unref((uv_handle_t *)&worker->prepare);
    uv_unref((uv_handle_t *)&worker->check);
    uv_unref((uv_handle_t *)&worker->idle);
    uv_unref((uv_handle_t *)&worker->wake);

    loop_init(&worker->loop, &worker->uv);
    worker->events = options->events;
    worker->ctx = options->ctx;
    worker->metrics = options->metrics;
    worker->wake_ms = INT64_MAX;
    worker->calls_end = &worker->calls;
    worker->handed_end = &worker->handed;
    worker->listen_fd = options->listen_fd;
    worker->reserve_fd = -1;
    worker->null_fd = -1;
    timer_init(&worker->accept_rest, &worker->loop, on_accept_rested);
    if (worker->listen_fd >= 0) {
        if (uv_poll_init(&worker->uv, &worker->listener, worker->listen_fd) != 0)
            BUG("the listening socket is not one");
        reserve_open(worker);
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
    worker->stopping = true;
    take_handed(worker);
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
    uv_close((uv_handle_t *)&old->check, NULL);
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

/* WORKER_HAND_OVER: a build that does as other systems have to, for tests. */
#if defined(WORKER_HAND_OVER)
static const bool listeners_balance = false;
static const int share_option = 0;
#elif defined(SO_REUSEPORT_LB)
static const bool listeners_balance = true;
static const int share_option = SO_REUSEPORT_LB;
#elif defined(__linux__)
static const bool listeners_balance = true;
static const int share_option = SO_REUSEPORT;
#else
static const bool listeners_balance = false;
static const int share_option = 0;
#endif

bool worker_listeners_balance(void)
{
    return listeners_balance;
}

static int bound_socket(const union dns_address *address, bool share)
{
    const int on = 1;
    const int off = 0;
    bool v6 = address->any.sa_family == AF_INET6;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    int rc = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (rc == 0 && share && share_option != 0)
        rc = setsockopt(fd, SOL_SOCKET, share_option, &on, sizeof(on));
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
