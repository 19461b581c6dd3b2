/* SPDX-License-Identifier: MIT */
/* debug-stream against a server that says what a test wants: what is printed, the exit codes. */
#include "cli/debug_stream.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

enum { TEXT_MAX = 64 * 1024, ARGS_MAX = 8 };

#define HEAD "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
#define CHUNK(delta, finish)                                                                \
    "data: " HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish \
    "}]}\n\n"
#define STREAM_HEAD                                                                     \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-llm-proxy-attempts: 1\r\n" \
    "x-other: secret\r\nconnection: close\r\n\r\n"
#define BEGIN CHUNK("{\"role\":\"assistant\",\"content\":\"hi\"}", "null")
#define END   CHUNK("{}", "\"stop\"") "data: [DONE]\n\n"

/* One connection is accepted, read until its request's body has come, and answered. */
struct scripted {
    int listener;
    unsigned port;
    const char *answer;
    bool reset;     /* instead of an end */
    bool interrupt; /* the asking process, instead of an end */
    pthread_t main;
    pthread_t thread;
};

static void *serve(void *ctx)
{
    struct scripted *s = ctx;
    char request[4096];
    size_t n = 0;

    int fd = accept(s->listener, NULL, NULL);
    while (fd >= 0 && str_find(str_of(request, n), STR("]}"), 0) == SIZE_MAX) {
        ssize_t got = read(fd, request + n, sizeof(request) - n);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    (void)!write(fd, s->answer, strlen(s->answer));
    if (s->interrupt) {
        (void)pthread_kill(s->main, SIGINT);
        while (read(fd, request, sizeof(request)) > 0) /* until it has gone */
            ;
    }
    if (s->reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    (void)close(fd);
    return NULL;
}

static void start(struct scripted *s, const char *answer)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);

    s->answer = answer;
    s->main = pthread_self();
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &size), 0);
    s->port = ntohs(at.sin_port);
    /* The threads of a test inherit what debug-stream would block itself. */
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct scripted *s)
{
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->listener);
}

static int run(const char *const *args, char *out, char *err)
{
    char *argv[ARGS_MAX];
    int argc = 0;
    FILE *to = fmemopen(out, TEXT_MAX, "w");
    FILE *wrong = fmemopen(err, TEXT_MAX, "w");

    out[0] = err[0] = '\0';
    for (; args[argc] != NULL; argc++)
        argv[argc] = str_dup(str_c(args[argc]));
    int code = debug_stream_run(argc, argv, stdin, to, wrong);
    for (int i = 0; i < argc; i++)
        mem_free(argv[i]);
    assert_int_equal(fclose(to) | fclose(wrong), 0);
    return code;
}

static int ask(struct scripted *s, const char *answer, char *out, char *err)
{
    char url[64];
    const char *const args[] = {"--url", url, "--api-key", "k", "x", NULL};

    start(s, answer);
    (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", s->port);
    int code = run(args, out, err);
    stop(s);
    return code;
}

static void expect_in(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s is not in\n%s", part, text);
}

/* Catches: an event that is not told, a header that is nobody's matter, an escape on a terminal. */
static void test_stream(void **state)
{
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    struct scripted s = {.listener = -1};

    (void)state;
    int code = ask(&s, STREAM_HEAD ": a comment\x1b[2J\n\n" BEGIN END, out, err);
    assert_string_equal(err, "");
    assert_int_equal(code, DEBUG_STREAM_OK);
    expect_in(out, " ms  HTTP 200\n");
    expect_in(out, "x-llm-proxy-attempts: 1\n");
    assert_null(strstr(out, "secret"));
    expect_in(out, " ms  : a comment\\x1b[2J\n");
    expect_in(out, "\"content\":\"hi\"");
    expect_in(out, " ms  [DONE]\n");
    expect_in(out, " ms  end: 4 events, ");
}

/* Catches: a stream that is taken for whole. */
static void test_broken(void **state)
{
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    struct scripted s = {.listener = -1};

    (void)state;
    assert_int_equal(ask(&s, STREAM_HEAD BEGIN, out, err), DEBUG_STREAM_FAILED);
    expect_in(out, "end: 1 events");
    expect_in(err, "the stream is not what openai-chat says: ");
    assert_int_equal(ask(&s, STREAM_HEAD BEGIN "data: {\"error\":{\"message\":\"no\"}}\n\n", out,
                         err),
                     DEBUG_STREAM_FAILED);
    expect_in(err, "the stream says an error");
    s.reset = true;
    assert_int_equal(ask(&s, STREAM_HEAD BEGIN, out, err), DEBUG_STREAM_FAILED);
    expect_in(out, "broken off: ");
}

static void test_errors(void **state)
{
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    static const char *const nobody[] = {"--url=http://127.0.0.1:1", "x", NULL};
    static const char *const https[] = {"--url",     "https://127.0.0.1:1",
                                        "--ca-file", "/nonexistent",
                                        "x",         NULL};
    struct scripted s = {.listener = -1};

    (void)state;
    assert_int_equal(ask(&s,
                         "HTTP/1.1 429 Too Many\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nslow",
                         out, err),
                     DEBUG_STREAM_FAILED);
    expect_in(out, " ms  HTTP 429\n");
    expect_in(out, "retry-after: 7\n");
    expect_in(out, " ms  slow\n");
    expect_in(err, "status 429");
    assert_int_equal(ask(&s,
                         "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                         "content-length: 2\r\n\r\n{}",
                         out, err),
                     DEBUG_STREAM_FAILED);
    expect_in(err, "the answer is no stream");
    assert_int_equal(ask(&s, "SSH-2.0-x\r\n", out, err), DEBUG_STREAM_FAILED);
    assert_int_equal(run(nobody, out, err), DEBUG_STREAM_FAILED);
    expect_in(err, "connection refused");
    assert_int_equal(run(https, out, err), DEBUG_STREAM_USAGE);
    expect_in(err, "/nonexistent");
}

static void test_usage(void **state)
{
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    static const char *const help[] = {"--help", NULL};
    static const char *const wrong[] = {"--wrong", NULL};

    (void)state;
    assert_int_equal(run(help, out, err), DEBUG_STREAM_OK);
    expect_in(out, "--url URL");
    assert_int_equal(run(wrong, out, err), DEBUG_STREAM_USAGE);
    expect_in(err, "unknown argument --wrong");
}

/* Catches: Ctrl-C that waits for the stream, or leaves the connection open. */
static void test_interrupted(void **state)
{
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    struct scripted s = {.interrupt = true};

    (void)state;
    assert_int_equal(ask(&s, STREAM_HEAD BEGIN, out, err), DEBUG_STREAM_INTERRUPTED);
    expect_in(err, "interrupted after ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),      cmocka_unit_test(test_broken),
        cmocka_unit_test(test_errors),      cmocka_unit_test(test_usage),
        cmocka_unit_test(test_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
