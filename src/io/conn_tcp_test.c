/* SPDX-License-Identifier: MIT */
#include "io/conn.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/io_probe_priv.h"

enum { LIMIT_MS = 5000, BIG = 6 * 1024 * 1024 };

static void connect_to(struct world *world, struct str host, uint16_t port, int64_t timeout_ms)
{
    world->client.conn = conn_connect(world->loop,
                                      &(struct conn_target){.host = host,
                                                            .port = port,
                                                            .connect_timeout_ms = timeout_ms},
                                      &probe_events, &world->client);
    world->client.ctx = world;
}

static bool is_connected(struct world *world)
{
    return world->client.log_n > 0 && world->server.conn != NULL;
}

static bool client_told(struct world *world)
{
    return world->client.log_n > 0;
}

static bool client_ended(struct world *world)
{
    const struct probe *client = &world->client;

    return client->log_n > 0 &&
           (client->log[client->log_n - 1] == 'E' || client->log[client->log_n - 1] == 'F');
}

static bool server_ended(struct world *world)
{
    const struct probe *server = &world->server;

    return server->log_n > 0 &&
           (server->log[server->log_n - 1] == 'E' || server->log[server->log_n - 1] == 'F');
}

static void connect_both(struct world *world)
{
    world_init(world);
    connect_to(world, STR("127.0.0.1"), world->port, LIMIT_MS);
    assert_string_equal(world->client.log, "");
    assert_true(world_run(world, is_connected, LIMIT_MS));
    assert_string_equal(world->client.log, "C");
}

static void echo(struct probe *probe, char event)
{
    struct str all = buf_str(&probe->got);

    if (event == 'R') {
        (void)conn_write(probe->conn, &all, 1);
        buf_reset(&probe->got);
    } else if (event == 'E') {
        conn_shutdown(probe->conn);
    }
}

/* A port on 127.0.0.1 that nobody listens on. */
static uint16_t free_port(void)
{
    struct error e;
    uint16_t port = 0;
    int fd = -1;

    assert_int_equal(worker_listen(STR("127.0.0.1"), 0, true, &fd, &port, &e), OK);
    assert_int_equal(close(fd), 0);
    return port;
}

/* Catches: bytes lost or out of order, a FIN that overtakes them, a half-close that closes. */
static void test_echo(void **state)
{
    struct world world;
    const struct str parts[] = {STR("GET / "), STR(""), STR("HTTP/1.1\r\n"), STR("\r\n")};
    (void)state;

    world_init(&world);
    world.server.on_event = echo;
    connect_to(&world, STR("localhost"), world.port, LIMIT_MS);
    assert_int_equal(conn_write(world.client.conn, parts, COUNT_OF(parts)), CONN_OK);
    conn_shutdown(world.client.conn); /* both wait for the connection */
    assert_true(world_run(&world, client_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CRE");
    assert_string_equal(world.server.log, "RE");
    assert_true(str_eq(buf_str(&world.client.got), STR("GET / HTTP/1.1\r\n\r\n")));
    assert_true(str_starts(conn_peer(world.server.conn), STR("127.0.0.1:")));
    char peer[32];
    (void)snprintf(peer, sizeof(peer), "127.0.0.1:%u", (unsigned)world.port);
    assert_true(str_eq(conn_peer(world.client.conn), str_c(peer)));
    assert_ptr_equal(conn_loop(world.client.conn), world.loop);
    assert_false(conn_is_tls(world.client.conn));
    world_fini(&world);
}

/* Catches: more parts than one writev takes. */
static void test_many_parts(void **state)
{
    enum { N = 3000 };
    static struct str parts[N];
    struct world world;
    (void)state;

    for (size_t i = 0; i < N; i++)
        parts[i] = i % 5 == 0 ? STR_NULL : i % 2 == 0 ? STR("ab") : STR("c");
    connect_both(&world);
    size_t total = conn_parts_total(parts, N);
    (void)conn_write(world.client.conn, parts, N);
    conn_shutdown(world.client.conn);
    assert_true(world_run(&world, server_ended, LIMIT_MS));
    assert_int_equal(world.server.got.n, total);
    struct str rest = buf_str(&world.server.got);
    for (size_t i = 0; i < N; i++) {
        assert_true(str_starts(rest, parts[i]));
        rest = str_from(rest, parts[i].n);
    }
    world_fini(&world);
}

static char *big_block(void)
{
    char *block = mem_raw(BIG);

    for (size_t i = 0; i < BIG; i++)
        block[i] = (char)(i * 31 + i / 4093);
    return block;
}

/* Catches: marks that do not hold, queued bytes out of order, buffers kept after they drained. */
static void test_marks(void **state)
{
    struct world world;
    char *block = big_block();
    (void)state;

    connect_both(&world);
    conn_read_stop(world.server.conn);
    struct str all = str_of(block, BIG);
    size_t first = BIG - 3000;
    assert_int_equal(conn_write(world.client.conn, &(struct str){all.p, first}, 1), CONN_FULL);
    for (size_t at = first; at < BIG; at += 1000) {
        const struct str piece = str_head(str_from(all, at), 1000);
        assert_int_equal(conn_write(world.client.conn, &piece, 1), CONN_FULL);
    }
    assert_true(conn_queued(world.client.conn) > CONN_QUEUE_MARK);
    conn_shutdown(world.client.conn);
    conn_read_start(world.server.conn);
    assert_true(world_run(&world, server_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CW");
    assert_int_equal(conn_queued(world.client.conn), 0);
    assert_int_equal(world.server.got.n, BIG);
    assert_memory_equal(world.server.got.p, block, BIG);
    assert_true(world.server.read_largest <= LOOP_READ_SIZE);
    world_fini(&world);
    mem_free(block);
}

struct sender {
    struct str rest;
    size_t rounds;
};

static void send_some(struct world *world)
{
    struct sender *sender = world->client.ctx;
    const struct str parts[] = {str_head(sender->rest, 100), str_from(sender->rest, 100)};
    size_t n = conn_write_some(world->client.conn, parts, COUNT_OF(parts));

    sender->rounds++;
    assert_true(conn_queued(world->client.conn) <= CONN_QUEUE_MARK);
    sender->rest = str_from(sender->rest, n);
    if (sender->rest.n == 0)
        conn_shutdown(world->client.conn);
}

static void on_writable(struct probe *probe, char event)
{
    struct world *world = CONTAINER_OF(probe, struct world, client);

    if (event == 'W')
        send_some(world);
    /* Longer than the probe's log. */
    probe->log_n = 0;
}

/* Catches: write_some that copies a large body whole, miscounts, or forgets `writable`. */
static void test_write_some(void **state)
{
    struct world world;
    char *block = big_block();
    struct sender sender = {.rest = str_of(block, BIG)};
    (void)state;

    connect_both(&world);
    conn_read_stop(world.server.conn);
    world.client.ctx = &sender;
    world.client.on_event = on_writable;
    send_some(&world);
    assert_true(sender.rest.n > 0);
    assert_true(conn_queued(world.client.conn) > 0);
    assert_int_equal(conn_write_some(world.client.conn, &sender.rest, 1), 0);
    conn_read_start(world.server.conn);
    assert_true(world_run(&world, server_ended, LIMIT_MS));
    assert_int_equal(sender.rest.n, 0);
    assert_true(sender.rounds > 1);
    assert_int_equal(world.server.got.n, BIG);
    assert_memory_equal(world.server.got.p, block, BIG);
    world_fini(&world);
    mem_free(block);
}

/* Catches: a wrong code, or a text without address. */
static void test_connect_refused(void **state)
{
    struct world world;
    char detail[64];
    uint16_t port = free_port();
    (void)state;

    world_init(&world);
    connect_to(&world, STR("127.0.0.1"), port, LIMIT_MS);
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    (void)snprintf(detail, sizeof(detail), "connection refused (127.0.0.1:%u)", (unsigned)port);
    assert_string_equal(world.client.error.detail, detail);
    world_fini(&world);
}

/* Catches: only the first of a name's addresses is tried (nobody listens on either here), an error
 * of uv_tcp_connect itself that is told from within the call, or hangs. */
static void test_connect_addresses(void **state)
{
    struct world world;
    (void)state;

    world_init(&world);
    connect_to(&world, STR("LOCALHOST"), free_port(), LIMIT_MS);
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_non_null(strstr(world.client.error.detail, "([::1]:"));
    probe_fini(&world.client);

    /* connect(2) refuses the broadcast address at once. */
    probe_init(&world.client);
    connect_to(&world, STR("255.255.255.255"), 9, LIMIT_MS);
    assert_string_equal(world.client.log, "");
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_non_null(strstr(world.client.error.detail, "(255.255.255.255:9)"));
    probe_fini(&world.client);

    probe_init(&world.client);
    connect_to(&world, STR("255.255.255.255"), 9, LIMIT_MS);
    conn_close(&world.client.conn); /* while the handle is given up */
    world_fini(&world);
}

/* Catches: names that are never resolved, or not told when they cannot be. The names need no
 * network: "127.1" is one that only the resolver reads as an address. */
static void test_connect_names(void **state)
{
    struct world world;
    char long_name[400];
    (void)state;

    world_init(&world);
    connect_to(&world, STR("127.1"), world.port, LIMIT_MS);
    conn_read_start(world.client.conn); /* is remembered */
    assert_true(world_run(&world, is_connected, LIMIT_MS));
    assert_string_equal(world.client.log, "C");
    (void)conn_write(world.server.conn, &STR("hello"), 1);
    conn_shutdown(world.server.conn);
    assert_true(world_run(&world, client_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CRE");
    probe_fini(&world.client);

    probe_init(&world.client);
    connect_to(&world, STR("a..b"), 80, LIMIT_MS);
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    assert_non_null(strstr(world.client.error.detail, " (a..b:80)"));
    probe_fini(&world.client);

    memset(long_name, 'a', sizeof(long_name)); /* is refused before any thread sees it */
    probe_init(&world.client);
    connect_to(&world, str_of(long_name, sizeof(long_name)), 80, LIMIT_MS);
    assert_string_equal(world.client.log, "");
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    world_fini(&world);
}

struct picky {
    struct conn_filter filter;
    int family; /* that it admits; 0: none */
    size_t asked;
};

static bool picky_admits(const struct conn_filter *filter, const struct sockaddr *address)
{
    /* Tests may: the filter of this one is its own. */
    struct picky *picky = CONTAINER_OF((struct conn_filter *)(uintptr_t)filter, struct picky,
                                       filter);

    picky->asked++;
    return address->sa_family == picky->family;
}

/* Catches: an address that is connected to although it is not admitted, literal or resolved. */
static void test_filter(void **state)
{
    struct picky picky = {.filter = {.admits = picky_admits, .why = "none may be"}};
    struct conn_target target = {.connect_timeout_ms = LIMIT_MS, .filter = &picky.filter};
    static const char *const hosts[] = {"127.0.0.1", "localhost", "127.1"};
    struct world world;
    char detail[64];
    (void)state;

    world_init(&world);
    target.port = world.port;
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        target.host = str_c(hosts[i]);
        world.client.conn = conn_connect(world.loop, &target, &probe_events, &world.client);
        world.client.ctx = &world;
        assert_string_equal(world.client.log, "");
        assert_true(world_run(&world, client_told, LIMIT_MS));
        assert_string_equal(world.client.log, "F");
        assert_int_equal(world.client.error.code, ERR_FORBIDDEN);
        (void)snprintf(detail, sizeof(detail), "none may be (%s:%u)", hosts[i],
                       (unsigned)world.port);
        assert_string_equal(world.client.error.detail, detail);
        probe_fini(&world.client);
        probe_init(&world.client);
    }
    assert_true(picky.asked >= 4); /* localhost has two */

    /* One of several: the others are left out. */
    picky.family = AF_INET;
    target.host = STR("localhost");
    world.client.conn = conn_connect(world.loop, &target, &probe_events, &world.client);
    world.client.ctx = &world;
    assert_true(world_run(&world, is_connected, LIMIT_MS));
    assert_string_equal(world.client.log, "C");
    assert_true(str_starts(conn_peer(world.client.conn), STR("127.0.0.1:")));
    probe_fini(&world.client);
    probe_init(&world.client);
    picky.family = AF_INET6; /* where nobody listens */
    world.client.conn = conn_connect(world.loop, &target, &probe_events, &world.client);
    world.client.ctx = &world;
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_UNREACHABLE);
    world_fini(&world);
}

/* Catches: a time-out that does not come, comes twice, or has the wrong code. */
static void test_connect_timeout(void **state)
{
    struct world world;
    struct black_hole hole;
    char detail[128];
    (void)state;

    black_hole_init(&hole);
    world_init(&world);
    connect_to(&world, STR("127.0.0.1"), hole.port, 30);
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_TIMEOUT);
    (void)snprintf(detail, sizeof(detail),
                   "no connection within 30 ms (connect_timeout) (127.0.0.1:%u)",
                   (unsigned)hole.port);
    assert_string_equal(world.client.error.detail, detail);
    probe_fini(&world.client);

    /* One address does not answer, the other refuses: the time is still for both. */
    probe_init(&world.client);
    connect_to(&world, STR("localhost"), hole.port, 400);
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "F");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_TIMEOUT);
    (void)snprintf(
        detail, sizeof(detail),
        "no connection within 400 ms (connect_timeout) ([::1]:%u, the last of 2 addresses tried)",
        (unsigned)hole.port);
    assert_string_equal(world.client.error.detail, detail);
    world_fini(&world);
    black_hole_fini(&hole);
}

static bool never(struct world *world)
{
    (void)world;
    return false;
}

/* Catches: use after free, events after the close, a loop that does not end. */
static void test_close_while_connecting(void **state)
{
    struct world world;
    struct black_hole hole;
    (void)state;

    black_hole_init(&hole);
    world_init(&world);
    connect_to(&world, STR("127.1"), 1, LIMIT_MS); /* resolving */
    conn_close(&world.client.conn);
    assert_null(world.client.conn);
    connect_to(&world, STR("127.0.0.1"), hole.port, LIMIT_MS);
    conn_close(&world.client.conn);
    connect_to(&world, STR("127.0.0.1"), world.port, LIMIT_MS);
    (void)conn_write(world.client.conn, &STR("dropped"), 1);
    conn_close(&world.client.conn);
    connect_to(&world, STR("127.0.0.1"), hole.port, LIMIT_MS);
    assert_false(world_run(&world, never, 5));
    conn_reset(&world.client.conn);
    assert_string_equal(world.client.log, "");
    world_fini(&world);
    assert_int_equal(world.server.got.n, 0);
    black_hole_fini(&hole);
}

static void close_both(struct probe *probe, char event)
{
    struct world *world = probe->ctx;

    (void)event;
    conn_close(&world->client.conn);
    conn_close(&world->server.conn);
}

static bool both_closed(struct world *world)
{
    return world->client.conn == NULL && world->server.conn == NULL;
}

/* Catches: use after free when an event closes its own or another connection. */
static void test_close_within_events(void **state)
{
    struct world world;
    char *block = big_block();
    const struct str all = str_of(block, BIG);
    (void)state;

    connect_both(&world); /* within read; the client has much in flight */
    world.server.on_event = close_both;
    assert_int_equal(conn_write(world.client.conn, &all, 1), CONN_FULL);
    assert_true(world_run(&world, both_closed, LIMIT_MS));
    assert_string_equal(world.client.log, "C");
    assert_string_equal(world.server.log, "R");
    world_fini(&world);

    connect_both(&world); /* within eof */
    world.server.on_event = close_both;
    conn_shutdown(world.client.conn);
    assert_true(world_run(&world, both_closed, LIMIT_MS));
    assert_string_equal(world.server.log, "E");
    world_fini(&world);

    world_init(&world); /* within connected */
    world.client.on_event = close_both;
    connect_to(&world, STR("127.0.0.1"), world.port, LIMIT_MS);
    assert_true(world_run(&world, client_told, LIMIT_MS));
    assert_string_equal(world.client.log, "C");
    world_fini(&world);

    connect_both(&world); /* within writable */
    world.client.on_event = close_both;
    conn_read_stop(world.server.conn);
    assert_int_equal(conn_write(world.client.conn, &all, 1), CONN_FULL);
    conn_read_start(world.server.conn);
    assert_true(world_run(&world, both_closed, LIMIT_MS));
    assert_string_equal(world.client.log, "CW");
    world_fini(&world);
    mem_free(block);
}

/* Catches: a reset told as EOF, a failed write told from within the call or twice. */
static void test_reset(void **state)
{
    struct world world;
    (void)state;

    connect_both(&world);
    conn_reset(&world.server.conn);
    assert_true(world_run(&world, client_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CF");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_BROKEN);
    assert_string_equal(world.client.error.detail, "connection reset by peer");
    assert_int_equal(conn_write(world.client.conn, &STR("nowhere"), 1), CONN_OK);
    assert_int_equal(conn_write_some(world.client.conn, &STR("nowhere"), 1), 7);
    world_fini(&world);

    connect_both(&world);
    conn_read_stop(world.client.conn); /* the write notices it */
    conn_reset(&world.server.conn);
    assert_false(world_run(&world, client_ended, 20));
    assert_int_equal(conn_write(world.client.conn, &STR("x"), 1), CONN_OK);
    assert_int_equal(conn_write(world.client.conn, &STR("y"), 1), CONN_OK);
    assert_string_equal(world.client.log, "C");
    assert_true(world_run(&world, client_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CF");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_BROKEN);
    world_fini(&world);
}

/* Catches: a reset that comes with the last bytes and is told as a proper end, so that a body which
 * ends with the connection seems complete. */
static void test_reset_right_behind_bytes(void **state)
{
    struct world world;
    (void)state;

    connect_both(&world);
    conn_read_start(world.client.conn);
    (void)conn_write(world.server.conn, &STR("all of it"), 1);
    conn_reset(&world.server.conn);
    assert_true(world_run(&world, client_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CRF");
    assert_int_equal(world.client.got.n, STR("all of it").n);
    world_fini(&world);
}

/* Catches: an answer that came before the reset and is lost, because a write has noticed the reset
 * before the next read. */
static void test_bytes_before_a_failed_write(void **state)
{
    struct world world;
    (void)state;

    for (int paused = 0; paused < 2; paused++) {
        connect_both(&world);
        conn_read_stop(world.server.conn);
        (void)conn_write(world.client.conn, &STR("unread, so that closing resets"), 1);
        assert_false(world_run(&world, client_ended, 20));
        (void)conn_write(world.server.conn, &STR("too large"), 1);
        conn_reset(&world.server.conn);
        /* On loopback both have arrived; no turn of the loop has seen it. */
        if (paused == 0)
            conn_read_start(world.client.conn);
        else
            conn_read_stop(world.client.conn);
        (void)conn_write(world.client.conn, &STR("more"), 1);
        assert_true(world_run(&world, client_ended, LIMIT_MS));
        assert_string_equal(world.client.log, paused == 0 ? "CRF" : "CF");
        assert_true(str_eq(buf_str(&world.client.got), paused == 0 ? STR("too large") : STR("")));
        assert_int_equal(world.client.error.code, ERR_UPSTREAM_BROKEN);
        world_fini(&world);
    }
}

/* Catches: a failure of bytes in flight that is never told. */
static void test_reset_with_bytes_in_flight(void **state)
{
    struct world world;
    char *block = big_block();
    const struct str all = str_of(block, BIG);
    (void)state;

    connect_both(&world);
    conn_read_stop(world.client.conn);
    conn_read_stop(world.server.conn);
    assert_int_equal(conn_write(world.client.conn, &all, 1), CONN_FULL);
    conn_reset(&world.server.conn);
    assert_true(world_run(&world, client_ended, LIMIT_MS));
    assert_string_equal(world.client.log, "CF");
    assert_int_equal(world.client.error.code, ERR_UPSTREAM_BROKEN);
    assert_int_equal(conn_queued(world.client.conn), 0);
    world_fini(&world);
    mem_free(block);
}

/* Catches: bytes told while reading is stopped, or lost when it starts again. */
static void test_read_stop(void **state)
{
    struct world world;
    (void)state;

    connect_both(&world);
    conn_read_stop(world.server.conn);
    (void)conn_write(world.client.conn, &STR("later"), 1);
    conn_close(&world.client.conn);
    assert_false(world_run(&world, server_ended, 10));
    assert_string_equal(world.server.log, "");
    conn_read_start(world.server.conn);
    assert_true(world_run(&world, server_ended, LIMIT_MS));
    assert_string_equal(world.server.log, "RE");
    assert_true(str_eq(buf_str(&world.server.got), STR("later")));
    world_fini(&world);
}

static bool server_is_left(struct world *world)
{
    return conn_has_left(world->server.conn);
}

/* Catches: an end, or a reset, that whoever does not read never hears of; one that is told where
 * the other side is only silent, or has sent something. */
static void test_left_while_nobody_reads(void **state)
{
    struct world world;
    (void)state;

    for (int how = 0; how < 3; how++) {
        connect_both(&world);
        conn_read_stop(world.server.conn);
        assert_false(conn_has_left(world.server.conn));
        (void)conn_write(world.client.conn, &STR("unread"), 1);
        assert_false(world_run(&world, server_is_left, 20));
        if (how == 0)
            conn_shutdown(world.client.conn);
        else if (how == 1)
            conn_close(&world.client.conn);
        else
            conn_reset(&world.client.conn);
        assert_true(world_run(&world, server_is_left, LIMIT_MS));
        assert_string_equal(world.server.log, "");
        conn_read_start(world.server.conn);
        assert_true(world_run(&world, server_ended, LIMIT_MS));
        assert_int_equal(world.server.log[world.server.log_n - 1], how == 2 ? 'F' : 'E');
        assert_true(conn_has_left(world.server.conn));
        world_fini(&world);
    }
    /* One that does not stand yet has nobody who could leave. */
    struct black_hole hole;
    black_hole_init(&hole);
    world_init(&world);
    connect_to(&world, STR("127.0.0.1"), hole.port, LIMIT_MS);
    assert_false(conn_has_left(world.client.conn));
    world_fini(&world);
    black_hole_fini(&hole);
}

/* Catches: addresses printed wrongly, and literals that would need a thread. */
static void test_addresses(void **state)
{
    static const struct {
        const char *host;
        const char *text;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1:443"},
        {"255.255.255.255", "255.255.255.255:443"},
        {"::1", "[::1]:443"},
        {"[::1]", "[::1]:443"},
        {"::ffff:10.1.2.3", "10.1.2.3:443"},
        {"1111:2222:3333:4444:5555:6666:7777:8888",
         "[1111:2222:3333:4444:5555:6666:7777:8888]:443"},
        {"LocalHost", "127.0.0.1:443"},
        {"example.com", NULL},
        {"127.0.0.1.example", NULL},
        {"[127.0.0.1]", NULL},
        {"", NULL},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct dns_addresses found;
        char text[DNS_TEXT_SIZE];
        bool literal = dns_literal(str_c(cases[i].host), 443, &found);
        assert_int_equal(literal, cases[i].text != NULL);
        if (!literal)
            continue;
        size_t n = dns_print(&found.at[0].any, text);
        assert_string_equal(text, cases[i].text);
        assert_int_equal(n, strlen(text));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_many_parts),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_write_some),
        cmocka_unit_test(test_connect_refused),
        cmocka_unit_test(test_connect_addresses),
        cmocka_unit_test(test_connect_names),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_connect_timeout),
        cmocka_unit_test(test_close_while_connecting),
        cmocka_unit_test(test_close_within_events),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_reset_right_behind_bytes),
        cmocka_unit_test(test_bytes_before_a_failed_write),
        cmocka_unit_test(test_reset_with_bytes_in_flight),
        cmocka_unit_test(test_read_stop),
        cmocka_unit_test(test_left_while_nobody_reads),
        cmocka_unit_test(test_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
