/* SPDX-License-Identifier: MIT */
#include "io/worker.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/metric.h"
#include "io/io_probe_priv.h"

enum { LIMIT_MS = 5000, CLIENTS = 40 };

/* ---- a worker in a thread of its own, which echoes ---- */

struct echo_worker {
    struct worker *worker;
    pthread_t thread;
    struct conn *conns[CLIENTS];
    size_t n;
    int stops;
};

static void echo_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)ctx;
    (void)conn_write(conn, &bytes, 1);
}

static void echo_close(struct echo_worker *echo, struct conn *conn)
{
    for (size_t i = 0; i < echo->n; i++) {
        if (echo->conns[i] == conn)
            conn_close(&echo->conns[i]);
    }
}

static void echo_eof(struct conn *conn, void *ctx)
{
    echo_close(ctx, conn);
}

static void echo_failed(struct conn *conn, void *ctx, const struct error *e)
{
    (void)e;
    echo_close(ctx, conn);
}

static const struct conn_events echo_events = {
    .read = echo_read,
    .eof = echo_eof,
    .failed = echo_failed,
};

static void echo_accepted(struct worker *worker, void *ctx, struct conn *conn)
{
    struct echo_worker *echo = ctx;

    (void)worker;
    if (echo->n == CLIENTS) {
        conn_close(&conn);
        return;
    }
    echo->conns[echo->n++] = conn;
    conn_set_events(conn, &echo_events, echo);
    conn_read_start(conn);
}

static void echo_stopping(struct worker *worker, void *ctx)
{
    struct echo_worker *echo = ctx;

    echo->stops++;
    for (size_t i = 0; i < echo->n; i++)
        conn_close(&echo->conns[i]);
    worker_release(worker);
}

static const struct worker_events echo_worker_events = {
    .accepted = echo_accepted,
    .stopping = echo_stopping,
};

static void *echo_thread(void *arg)
{
    worker_run(arg);
    return NULL;
}

static void echo_start(struct echo_worker *echo, int fd)
{
    *echo = (struct echo_worker){.n = 0};
    echo->worker = worker_new(
        &(struct worker_options){.events = &echo_worker_events, .ctx = echo, .listen_fd = fd});
    assert_int_equal(pthread_create(&echo->thread, NULL, echo_thread, echo->worker), 0);
}

static void echo_stop(struct echo_worker *echo)
{
    worker_stop(echo->worker);
    worker_stop(echo->worker);
    assert_int_equal(pthread_join(echo->thread, NULL), 0);
    worker_stop(echo->worker); /* too late, and legal */
    worker_free(&echo->worker);
    assert_null(echo->worker);
    assert_int_equal(echo->stops, 1);
}

static int blocking_client(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Catches: listeners that cannot share the port, data races between workers (under TSan), a stop
 * that is lost or told twice. */
static void test_two_workers_share_a_port(void **state)
{
    struct echo_worker workers[2];
    struct error e;
    uint16_t port = 0;
    uint16_t same = 0;
    int fds[2];
    int clients[CLIENTS];
    (void)state;

    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fds[0], &port, &e), OK);
    assert_int_equal(worker_listen(STR("127.0.0.1"), port, false, &fds[1], &same, &e), OK);
    assert_int_equal(same, port);
    for (size_t i = 0; i < COUNT_OF(workers); i++)
        echo_start(&workers[i], fds[i]);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = blocking_client(port);
        assert_int_equal(send(clients[i], "ping", 4, 0), 4);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        char got[4];
        assert_int_equal(recv(clients[i], got, sizeof(got), MSG_WAITALL), 4);
        assert_memory_equal(got, "ping", 4);
        if (i % 2 == 0)
            assert_int_equal(close(clients[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(workers); i++)
        echo_stop(&workers[i]);
    assert_int_equal(workers[0].n + workers[1].n, CLIENTS);
    for (size_t i = 1; i < CLIENTS; i += 2) {
        char end = 0;
        assert_int_equal(recv(clients[i], &end, 1, 0), 0); /* closed by the worker */
        assert_int_equal(close(clients[i]), 0);
    }
}

/* ---- one listens for three ---- */

static bool never(struct world *world)
{
    (void)world;
    return false;
}

static bool accepted(struct world *world)
{
    return world->accepted > 0;
}

struct shared {
    struct echo_worker workers[3];
    struct worker *peers[3];
    uint16_t port;
};

static void shared_start(struct shared *shared)
{
    struct error e;
    int fd = -1;

    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fd, &shared->port, &e), OK);
    for (size_t i = 0; i < 3; i++) {
        struct echo_worker *echo = &shared->workers[i];
        *echo = (struct echo_worker){.n = 0};
        echo->worker = worker_new(&(struct worker_options){.events = &echo_worker_events,
                                                           .ctx = echo,
                                                           .listen_fd = i == 0 ? fd : -1});
        shared->peers[i] = echo->worker;
    }
    worker_share(shared->peers[0], shared->peers, 3);
    for (size_t i = 0; i < 3; i++) {
        struct echo_worker *echo = &shared->workers[i];
        assert_int_equal(pthread_create(&echo->thread, NULL, echo_thread, echo->worker), 0);
    }
}

static void ping(int fd)
{
    char got[4];

    assert_int_equal(send(fd, "ping", 4, MSG_NOSIGNAL), 4);
    assert_int_equal(recv(fd, got, sizeof(got), MSG_WAITALL), 4);
    assert_memory_equal(got, "ping", 4);
}

/* Catches: connections that do not go round, that are lost between two threads, data races (under
 * TSan), a peer that stopped and is still given some, what it was given and nobody closes. */
static void test_one_listens_for_all(void **state)
{
    enum { ROUNDS = 6 };
    struct shared shared;
    int clients[3 * ROUNDS];
    (void)state;

    shared_start(&shared);
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        clients[i] = blocking_client(shared.port);
        ping(clients[i]);
    }
    /* One stops while the first still listens; it stays where it is until all have stopped. */
    worker_stop(shared.peers[1]);
    assert_int_equal(pthread_join(shared.workers[1].thread, NULL), 0);
    assert_int_equal(shared.workers[1].n, ROUNDS);
    int late[4];
    for (size_t i = 0; i < COUNT_OF(late); i++) {
        late[i] = blocking_client(shared.port);
        ping(late[i]);
    }
    echo_stop(&shared.workers[0]);
    echo_stop(&shared.workers[2]);
    worker_free(&shared.workers[1].worker);
    assert_int_equal(shared.workers[0].n + shared.workers[2].n, 2 * ROUNDS + COUNT_OF(late));
    assert_true(shared.workers[0].n >= ROUNDS && shared.workers[2].n >= ROUNDS);
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        char end = 0;
        assert_int_equal(recv(clients[i], &end, 1, 0), 0);
        assert_int_equal(close(clients[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(late); i++)
        assert_int_equal(close(late[i]), 0);
}

struct crowd {
    uint16_t port;
    _Atomic bool over;
};

static void *crowd_in(void *arg)
{
    struct crowd *crowd = arg;

    while (!atomic_load(&crowd->over)) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons(crowd->port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        (void)connect(fd, (struct sockaddr *)&address, sizeof(address));
        (void)close(fd);
    }
    return NULL;
}

/* Catches: sockets that are on their way when the workers stop, in any order: leaked, closed twice,
 * or told to a worker that has ended. */
static void test_stop_while_handing(void **state)
{
    enum { TIMES = 9 };
    (void)state;

    size_t before = probe_open_fds();
    for (size_t round = 0; round < TIMES; round++) {
        struct shared shared;
        struct crowd crowd = {.over = false};
        pthread_t threads[2];
        shared_start(&shared);
        crowd.port = shared.port;
        for (size_t i = 0; i < COUNT_OF(threads); i++)
            assert_int_equal(pthread_create(&threads[i], NULL, crowd_in, &crowd), 0);
        int fd = blocking_client(shared.port);
        (void)close(fd);
        for (size_t i = 0; i < 3; i++)
            worker_stop(shared.peers[(i + round) % 3]);
        for (size_t i = 0; i < 3; i++)
            assert_int_equal(pthread_join(shared.workers[i].thread, NULL), 0);
        for (size_t i = 0; i < 3; i++)
            worker_free(&shared.workers[i].worker);
        atomic_store(&crowd.over, true);
        for (size_t i = 0; i < COUNT_OF(threads); i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(probe_open_fds(), before);
}

/* Catches: what was handed to a worker that never ran and is not closed; pausing that a listener
 * does not know of. */
static void test_handed_and_never_told(void **state)
{
    struct world world;
    struct error e;
    int fd = -1;
    uint16_t port = 0;
    char end = 0;
    (void)state;

    world_init(&world); /* turned by this test; its peer is not turned at all */
    struct echo_worker idle = {.n = 0};
    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fd, &port, &e), OK);
    assert_int_equal(close(fd), 0);
    idle.worker = worker_new(
        &(struct worker_options){.events = &echo_worker_events, .ctx = &idle, .listen_fd = -1});
    struct worker *peers[] = {idle.worker};
    worker_share(world.worker, peers, 1);
    int client = blocking_client(world.port);
    assert_false(world_run(&world, never, 30));
    assert_int_equal(world.accepted, 0);

    worker_accept_pause(idle.worker, true); /* now the one that listens has to take it */
    int second = blocking_client(world.port);
    assert_true(world_run(&world, accepted, LIMIT_MS));
    world_fini(&world);
    worker_free(&idle.worker);
    assert_int_equal(idle.n, 0);
    assert_int_equal(recv(client, &end, 1, 0), 0);
    assert_int_equal(close(client), 0);
    assert_int_equal(close(second), 0);
}

/* Catches: a second start on the same port that goes unnoticed, a text that does not say why. */
static void test_listen_errors(void **state)
{
    struct error e;
    uint16_t port = 0;
    uint16_t again = 0;
    int fd = -1;
    int fd2 = -1;
    char detail[64];
    (void)state;

    assert_int_equal(worker_listen(STR("localhost"), 0, true, &fd, &port, &e), OK);
    assert_true(port > 0);
    assert_int_equal(worker_listen(STR("127.0.0.1"), port, true, &fd2, &again, &e), ERR_SYSTEM);
    (void)snprintf(detail, sizeof(detail), "127.0.0.1:%u is already in use", (unsigned)port);
    assert_string_equal(e.detail, detail);
    assert_int_equal(fd2, -1);
    assert_int_equal(close(fd), 0);

    /* A port that was given up can be had again; any other process may be faster, but not often. */
    bool had_again = false;
    for (int i = 0; i < 10 && !had_again; i++) {
        assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fd, &port, &e), OK);
        assert_int_equal(close(fd), 0);
        had_again = worker_listen(STR("127.0.0.1"), port, true, &fd, &again, &e) == OK;
    }
    assert_true(had_again);
    assert_int_equal(again, port);
    assert_int_equal(close(fd), 0);

    assert_int_equal(worker_listen(STR("example.com"), 0, true, &fd, &port, &e), ERR_CONFIG);
    assert_string_equal(e.detail, "\"example.com\" is not an address to listen on");
    /* TEST-NET-1: no address of this machine. */
    assert_int_equal(worker_listen(STR("192.0.2.1"), 0, true, &fd, &port, &e), ERR_SYSTEM);
    assert_non_null(strstr(e.detail, "cannot listen on 192.0.2.1:0: "));
}

/* Catches: a port that another start has by way of another of the machine's addresses. */
static void test_listen_on_any(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        const char *second_name; /* NULL: they do not stand in each other's way */
    } cases[] = {
        {"0.0.0.0", "127.0.0.1", "127.0.0.1"},
        {"127.0.0.1", "0.0.0.0", "0.0.0.0"},
        {"0.0.0.0", "0.0.0.0", "0.0.0.0"},
        {"::1", "::1", "[::1]"},
        {"::", "::", "[::]"},
        {"::", "127.0.0.1", "127.0.0.1"},
        {"127.0.0.1", "::", "[::]"},
        {"::", "::1", "[::1]"},
        {"::1", "::", "[::]"},
        {"0.0.0.0", "::", "[::]"},
        {"::1", "127.0.0.1", NULL},
        {"127.0.0.1", "::1", NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error e;
        uint16_t port = 0;
        uint16_t again = 0;
        int fd = -1;
        int fd2 = -1;
        char detail[64];
        assert_int_equal(worker_listen(str_c(cases[i].first), 0, true, &fd, &port, &e), OK);
        enum error_code code = worker_listen(str_c(cases[i].second), port, true, &fd2, &again, &e);
        if (cases[i].second_name != NULL) {
            assert_int_equal(code, ERR_SYSTEM);
            (void)snprintf(detail, sizeof(detail), "%s:%u is already in use", cases[i].second_name,
                           (unsigned)port);
            assert_string_equal(e.detail, detail);
        } else if (code == OK) { /* any other process may have that one */
            assert_int_equal(again, port);
            assert_int_equal(close(fd2), 0);
        }
        assert_int_equal(close(fd), 0);
    }
}

struct posted {
    struct echo_worker *echo;
    int ran; /* only touched on the worker's thread */
};

static void add_one(void *arg)
{
    struct posted *posted = arg;

    assert_true(pthread_equal(pthread_self(), posted->echo->thread));
    posted->ran++;
}

static void *post_many(void *arg)
{
    struct posted *posted = arg;

    for (int i = 0; i < 500; i++)
        worker_post(posted->echo->worker, add_one, posted);
    return NULL;
}

static void never_run(void *arg)
{
    (void)arg;
    BUG("ran after the release");
}

/* Catches: posted work that is lost, or runs on another thread, or leaks when it comes too late. */
static void test_post(void **state)
{
    struct echo_worker echo;
    struct posted posted = {.echo = &echo};
    pthread_t threads[2];
    (void)state;

    echo_start(&echo, -1);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posted), 0);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    /* Posted before the stop, so it runs before it. */
    worker_stop(echo.worker);
    assert_int_equal(pthread_join(echo.thread, NULL), 0);
    worker_post(echo.worker, never_run, NULL);
    assert_int_equal(posted.ran, 1000);
    worker_free(&echo.worker);
    assert_int_equal(echo.stops, 1);
}

/* Catches: accepting while it is paused, or never again. */
static void test_accept_pause(void **state)
{
    struct world world;
    (void)state;

    world_init(&world);
    worker_accept_pause(world.worker, true);
    int fd = blocking_client(world.port);
    assert_false(world_run(&world, never, 10));
    assert_int_equal(world.accepted, 0);
    worker_accept_pause(world.worker, false);
    assert_true(world_run(&world, accepted, LIMIT_MS));
    assert_true(str_starts(conn_peer(world.server.conn), STR("127.0.0.1:")));
    assert_int_equal(close(fd), 0);
    world_fini(&world);
}

/* Catches: spinning, or never accepting again, when descriptors have run out. */
static void test_out_of_descriptors(void **state)
{
    struct world world;
    struct rlimit limit;
    struct rlimit before;
    (void)state;

    world_init(&world);
    int fd = blocking_client(world.port);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)fd + 1;
    /* What is free below the new limit is used up. */
    int fill[64];
    size_t filled = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (filled < COUNT_OF(fill) && (fill[filled] = dup(fd)) >= 0)
        filled++;
    assert_true(filled < COUNT_OF(fill));

    assert_false(world_run(&world, never, 30));
    assert_int_equal(world.accepted, 0);
    /* The listener is still readable: without a rest the loop would have turned all the time. */
    assert_true(world.turns < 200);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    /* valgrind closes what it may not accept, so the first client may be lost under it. */
    int second = blocking_client(world.port);
    assert_true(world_run(&world, accepted, LIMIT_MS));
    assert_int_equal(close(second), 0);
    while (filled > 0)
        assert_int_equal(close(fill[--filled]), 0);
    assert_int_equal(close(fd), 0);
    world_fini(&world);
}

struct door {
    struct world world;
    int client;
};

static bool sent_away(struct world *world)
{
    char byte;

    return recv(CONTAINER_OF(world, struct door, world)->client, &byte, 1, MSG_DONTWAIT) == 0;
}

/* Catches: clients that wait for ever while descriptors are short, a kept descriptor that is not
 * kept again. */
static void test_sent_away(void **state)
{
    struct door door;
    struct world *world = &door.world;
    struct rlimit limit;
    struct rlimit before;
    int fill[64];
    size_t filled = 0;
    int clients[3];
    (void)state;

    world_init(world);
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        clients[i] = blocking_client(world->port);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)clients[2] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (filled < COUNT_OF(fill) && (fill[filled] = dup(0)) >= 0)
        filled++;
    assert_true(filled < COUNT_OF(fill));
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        door.client = clients[i];
        assert_true(world_run(world, sent_away, LIMIT_MS));
        assert_int_equal(close(clients[i]), 0);
        if (i + 1 < COUNT_OF(clients)) /* what was freed is used up again */
            assert_true((fill[filled++] = dup(0)) >= 0);
    }
    assert_int_equal(world->accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (filled > 0)
        assert_int_equal(close(fill[--filled]), 0);
    int fd = blocking_client(world->port);
    assert_true(world_run(world, accepted, LIMIT_MS));
    assert_int_equal(close(fd), 0);
    world_fini(world);
}

struct slow_timer {
    struct timer timer;
    int64_t fired_at_ms;
};

static void slow_fire(struct timer *timer)
{
    CONTAINER_OF(timer, struct slow_timer, timer)->fired_at_ms = loop_now_ms(timer->loop);
}

/* Catches: a worker without timers that wakes up, timers that are early or late. */
static void test_sleeps_until_the_next_timer(void **state)
{
    struct world world;
    struct slow_timer slow = {.fired_at_ms = 0};
    (void)state;

    world_init(&world);
    uv_loop_t *uv = world.loop->uv;
    (void)uv_run(uv, UV_RUN_NOWAIT);
    assert_int_equal(uv_backend_timeout(uv), -1);

    timer_init(&slow.timer, world.loop, slow_fire);
    timer_start(&slow.timer, 60000);
    (void)uv_run(uv, UV_RUN_NOWAIT);
    if (uv_backend_timeout(uv) <= 1000) { /* a boundary of the wheel, every 262 s: once */
        (void)uv_run(uv, UV_RUN_ONCE);
        (void)uv_run(uv, UV_RUN_NOWAIT);
    }
    assert_true(uv_backend_timeout(uv) > 1000);
    timer_start(&slow.timer, 20); /* earlier */
    int64_t start_ms = loop_now_ms(world.loop);
    while (slow.fired_at_ms == 0)
        (void)uv_run(uv, UV_RUN_ONCE);
    assert_true(slow.fired_at_ms - start_ms >= 20);

    timer_start(&slow.timer, 30000);
    (void)uv_run(uv, UV_RUN_NOWAIT);
    timer_stop(&slow.timer);
    (void)uv_run(uv, UV_RUN_NOWAIT);
    assert_int_equal(uv_backend_timeout(uv), -1);

    int64_t wall_ms = loop_wall_ms(world.loop);
    assert_true(wall_ms > 1700000000000);
    assert_true(loop_now_us(world.loop) / 1000 >= loop_now_ms(world.loop));
    world_fini(&world);
}

static void ping_back(struct probe *probe, char event)
{
    struct str all = buf_str(&probe->got);

    if (event != 'R')
        return;
    (void)conn_write(probe->conn, &all, 1);
    buf_reset(&probe->got);
}

static bool served(struct world *world)
{
    return world->accepted > 0 && world->server.got.n == 4;
}

/* Catches: connections in memory that a sleeping worker forgets, or that keep it from its sockets:
 * two ends answer each other without end, and a socket is served nevertheless. */
static void test_memory_and_sockets_together(void **state)
{
    struct world world;
    struct probe a;
    struct probe b;
    struct conn *end_a = NULL;
    struct conn *end_b = NULL;
    (void)state;

    world_init(&world);
    conn_pair(world.loop, &end_a, &end_b);
    probe_own(&a, end_a);
    probe_own(&b, end_b);
    a.on_event = ping_back;
    b.on_event = ping_back;
    conn_read_start(a.conn);
    conn_read_start(b.conn);
    (void)conn_write(a.conn, &STR("ball"), 1);
    int fd = blocking_client(world.port);
    assert_int_equal(send(fd, "ping", 4, 0), 4);
    assert_true(world_run(&world, served, LIMIT_MS));
    assert_true(a.reads >= 16); /* of one look at the sockets */
    assert_int_equal(close(fd), 0);
    probe_fini(&a);
    probe_fini(&b);
    world_fini(&world);
}

enum { BUSY_MS = 60, PAUSE_MS = 500 };

static void be_busy(void *arg)
{
    (void)arg;
    int64_t until = clock_mono_ms() + BUSY_MS;
    while (clock_mono_ms() < until) {}
}

/* Catches: a turn that is not counted, sleeping that is counted as work. */
static void test_counts_turns(void **state)
{
    struct metrics *metrics = mem_new(sizeof(*metrics));
    struct echo_worker echo = {.n = 0};
    (void)state;

    echo.worker = worker_new(&(struct worker_options){
        .events = &echo_worker_events, .ctx = &echo, .listen_fd = -1, .metrics = metrics});
    worker_post(echo.worker, be_busy, NULL);
    assert_int_equal(pthread_create(&echo.thread, NULL, echo_thread, echo.worker), 0);
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    (void)nanosleep(&pause, NULL); /* the loop sleeps, too */
    worker_post(echo.worker, be_busy, NULL);
    echo_stop(&echo);
    int64_t long_ones = 0;
    for (size_t i = 8; i < METRIC_TURN_BUCKETS; i++) /* over 50 ms */
        long_ones += metric_get(metrics, METRIC_loop_turn_seconds, i);
    assert_true(long_ones >= 1);
    int64_t sum_us = metric_get(metrics, METRIC_loop_turn_seconds, METRIC_TURN_BUCKETS);
    assert_true(sum_us >= BUSY_MS * 1000);
    assert_true(sum_us < PAUSE_MS * 1000);
    mem_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_workers_share_a_port),
        cmocka_unit_test(test_one_listens_for_all),
        cmocka_unit_test(test_stop_while_handing),
        cmocka_unit_test(test_handed_and_never_told),
        cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_listen_on_any),
        cmocka_unit_test(test_post),
        cmocka_unit_test(test_accept_pause),
        cmocka_unit_test(test_out_of_descriptors),
        cmocka_unit_test(test_sent_away),
        cmocka_unit_test(test_sleeps_until_the_next_timer),
        cmocka_unit_test(test_memory_and_sockets_together),
        cmocka_unit_test(test_counts_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
