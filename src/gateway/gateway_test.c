/* SPDX-License-Identifier: MIT */
/*
 * The gateway with real workers and real sockets: how connections come to the workers, and how all
 * of it ends.
 */
#include "gateway/gateway_priv.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
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

/* Where the sessions' database is; NULL: they are kept in memory. */
static char *kept_in;

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
    if (kept_in != NULL) {
        result.config->data_dir = str_c(kept_in);
        result.config->session_repository = STR("file");
        result.config->session_file_path = str_c(kept_in);
    }
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

/* --- changes of sessions on their way --- */

enum { CHANGES = 40 };

static void send_change(int fd, int i)
{
    char body[256];
    char text[512];
    int n = snprintf(body, sizeof(body),
                     "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                     "\"!/set(project=p%d)\"}]}",
                     i);
    int total = snprintf(text, sizeof(text),
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                         "Authorization: Bearer test-client-key-1\r\nx-session-id: s%d\r\n"
                         "Content-Length: %d\r\n\r\n%s",
                         i, n, body);

    assert_int_equal(send(fd, text, (size_t)total, MSG_NOSIGNAL), total);
}

/* A folder of files. */
static void remove_all(const char *path)
{
    char name[512];
    DIR *directory = opendir(path);

    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        (void)unlink(name);
    }
    (void)closedir(directory);
    assert_int_equal(rmdir(path), 0);
}

/* Whether the answer that came before the connection's end says that it is done. */
static bool was_told(int fd)
{
    char got[4096] = "";
    size_t n = 0;

    while (n < sizeof(got) - 1) {
        ssize_t more = recv(fd, got + n, sizeof(got) - n - 1, 0);
        if (more <= 0)
            break;
        n += (size_t)more;
        got[n] = '\0';
        if (strstr(got, "Project changed to") != NULL)
            return true;
    }
    return false;
}

static bool is_kept(const struct gateway *gateway, const struct session_scope *scope, int i,
                    struct arena *arena)
{
    struct session_view view;
    char text[16];
    struct str id = str_of(text, (size_t)snprintf(text, sizeof(text), "s%d", i));
    struct session *session = session_find(gateway->sessions, scope, id, clock_real_ms());

    if (session == NULL)
        return false;
    session_view(session, arena, &view);
    session_leave(&session);
    text[0] = 'p';
    return str_eq(view.settings.project, id);
}

/* Catches: a worker that ends before the changes that it waits for, or waits for ever; an exchange
 * that is gone when its change is through; what was told as done, and is not there at the next
 * start. */
static void test_changes_on_their_way(void **state)
{
    struct arena arena;
    struct error e;
    char directory[] = "/tmp/gateway_test.XXXXXX";
    char port[] = "0";
    int clients[CHANGES];
    bool told[CHANGES] = {false};
    (void)state;

    arena_init(&arena, (size_t)64 << 20, 4096, NULL);
    kept_in = mkdtemp(directory);
    assert_non_null(kept_in);
    struct gateway *gateway = gateway_of(&arena, false, port);
    if (gateway_start(gateway, &e) != OK)
        fail_msg("%s", e.detail);
    for (int i = 0; i < CHANGES; i++) {
        clients[i] = client_to(gateway_port(gateway));
        send_change(clients[i], i);
        if (i % 4 == 1) { /* it does not stay for the answer */
            assert_int_equal(close(clients[i]), 0);
            clients[i] = -1;
        }
    }
    told[0] = was_told(clients[0]);
    assert_true(told[0]);
    gateway_drain(gateway);
    gateway_abort(gateway);
    for (int i = 1; i < CHANGES; i++)
        told[i] = clients[i] >= 0 && was_told(clients[i]);
    gateway_free(&gateway);
    for (int i = 0; i < CHANGES; i++)
        assert_true(clients[i] < 0 || close(clients[i]) == 0);
    gateway = gateway_of(&arena, false, port);
    if (gateway_start(gateway, &e) != OK)
        fail_msg("%s", e.detail);
    struct session_scope scope = site_scope(gateway->site, &gateway->site->keys[0]);
    for (int i = 0; i < CHANGES; i++)
        assert_true(!told[i] || is_kept(gateway, &scope, i, &arena));
    stop(&gateway);
    kept_in = NULL;
    remove_all(directory);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_listener),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_changes_on_their_way),
    };

    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
