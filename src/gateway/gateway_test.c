/* SPDX-License-Identifier: MIT */
/*
 * The gateway with real workers and real sockets: how connections come to the workers, and how all
 * of it ends.
 */
#include "gateway/gateway_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "pipeline/pipeline.h"

enum { WORKERS = 3, CLIENTS = 12 };

static int answer_here(const struct gateway_ask *ask, struct buf *out, struct error *e)
{
    (void)ask;
    (void)e;
    return buf_add(out, STR("{}")) ? 200 : 500;
}

static const struct gateway_route routes[] = {
    {.path = "/here",
     .access = ACCESS_OPEN,
     .content_type = "application/json",
     .answer = answer_here},
};

static struct gateway *gateway_of(struct arena *arena, bool one_listener, char *port)
{
    static char program[] = "";
    static char api_keys[] = "--api-keys", key[] = "test-client-key-1";
    static char workers[] = "--workers", three[] = "3";
    static char port_option[] = "--port";
    char *argv[] = {program, api_keys, key, workers, three, port_option, port, NULL};
    static char *environment[] = {NULL};
    const struct config_source source = {.argc = 7,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    struct config_result result = {.config = NULL};
    struct backend_set *backends = NULL;
    struct error e;

    config_read(&source, arena, &result);
    if (result.config == NULL)
        fail_msg("%.*s", STR_ARG(result.report));
    assert_int_equal(backend_set_new(result.config, &backends, &e), OK);
    struct gateway *gateway = gateway_new(&(struct gateway_options){.config = result.config,
                                                                    .backends = backends,
                                                                    .routes = routes,
                                                                    .routes_n = COUNT_OF(routes),
                                                                    .version = "test",
                                                                    .one_listener = one_listener});
    config_unref(&result.config);
    return gateway;
}

static int client_to(uint16_t port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(port),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void ask(int fd)
{
    static const char request[] = "GET /here HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    char got[1024] = "";
    size_t n = 0;

    assert_int_equal(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL), sizeof(request) - 1);
    while (strstr(got, "\r\n\r\n{}") == NULL) {
        ssize_t more = recv(fd, got + n, sizeof(got) - n - 1, 0);
        assert_true(more > 0);
        n += (size_t)more;
        got[n] = '\0';
    }
    assert_memory_equal(got, "HTTP/1.1 200", 12);
}

static void stop(struct gateway **gateway)
{
    gateway_drain(*gateway);
    gateway_abort(*gateway);
    gateway_free(gateway);
    assert_null(*gateway);
}

static int64_t accepted_by(const struct gateway *gateway, size_t i)
{
    return metric_get(&gateway->stations[i].metrics, METRIC_connections_total, 0);
}

/* Catches: connections that all stay with the worker that listens, that are lost on the way to
 * another, or are not closed at the end. */
static void test_one_listener(void **state)
{
    struct arena arena;
    struct error e;
    char port[] = "0";
    int clients[CLIENTS];
    (void)state;

    arena_init(&arena, (size_t)16 << 20, 4096, NULL);
    struct gateway *gateway = gateway_of(&arena, true, port);
    assert_int_equal(gateway_start(gateway, &e), OK);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = client_to(gateway_port(gateway));
        ask(clients[i]);
        ask(clients[i]);
    }
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(accepted_by(gateway, i), CLIENTS / WORKERS);
    stop(&gateway);
    for (size_t i = 0; i < CLIENTS; i++) {
        char end = 0;
        assert_true(recv(clients[i], &end, 1, 0) <= 0);
        assert_int_equal(close(clients[i]), 0);
    }
    arena_fini(&arena);
}

/* Catches: a second start on the same port that goes unnoticed, whoever listens there; what a start
 * that failed leaves behind. */
static void test_port_in_use(void **state)
{
    struct arena arena;
    struct error e;
    char any[] = "0";
    char same[8];
    char detail[64];
    (void)state;

    arena_init(&arena, (size_t)16 << 20, 4096, NULL);
    for (int one_listener = 0; one_listener <= 1; one_listener++) {
        struct gateway *first = gateway_of(&arena, one_listener != 0, any);
        assert_int_equal(gateway_start(first, &e), OK);
        (void)snprintf(same, sizeof(same), "%u", (unsigned)gateway_port(first));
        struct gateway *second = gateway_of(&arena, one_listener != 0, same);
        assert_int_equal(gateway_start(second, &e), ERR_SYSTEM);
        (void)snprintf(detail, sizeof(detail), "127.0.0.1:%s is already in use", same);
        assert_string_equal(e.detail, detail);
        gateway_abort(second);
        gateway_free(&second);
        int fd = client_to(gateway_port(first));
        ask(fd);
        assert_int_equal(close(fd), 0);
        stop(&first);
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_listener),
        cmocka_unit_test(test_port_in_use),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
