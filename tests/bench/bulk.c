/* SPDX-License-Identifier: MIT */
/*
 * Large bodies, one at a time: how long one takes through a subject, and what memory it costs.
 *
 *   bulk serve                         an upstream; prints "port N". GET sends as many bytes as the
 *                                      query says (?bytes=N), POST says how many came
 *   bulk up|down --port P --bytes N --subject PID
 *                                      one transfer: "ns=… bytes=… rss_before=… rss_most=…"
 *
 * Every byte is looked at by who gets it. Exit 1: one was wrong, or not there; the last line of
 * standard error says which.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "procfs.h"

enum { BLOCK = 64 * 1024, PERIOD = 251, LOOK_BYTES = 4 * 1024 * 1024, HEAD_MAX = 16 * 1024 };

/* Byte i of a body is i % PERIOD; a block of any place in it begins within this. */
static unsigned char pattern[BLOCK + PERIOD];

static void make_pattern(void)
{
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (unsigned char)(i % PERIOD);
}

static int64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool send_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

/* What is followed: the subject's memory while the bytes go. */
struct watch {
    int pid; /* 0: nobody's */
    uint64_t next;
    int64_t most;
};

static int64_t rss_of(int pid)
{
    const struct procfs_tree tree = procfs_tree(pid);

    return (int64_t)procfs_rss_bytes(&tree);
}

static void look(struct watch *watch, uint64_t done)
{
    if (watch->pid == 0 || done < watch->next)
        return;
    watch->next = done + LOOK_BYTES;
    int64_t rss = rss_of(watch->pid);
    if (rss > watch->most)
        watch->most = rss;
}

static bool send_pattern(int fd, uint64_t bytes, struct watch *watch)
{
    for (uint64_t at = 0; at < bytes;) {
        size_t n = bytes - at < BLOCK ? (size_t)(bytes - at) : BLOCK;
        if (!send_all(fd, pattern + at % PERIOD, n))
            return false;
        at += n;
        look(watch, at);
    }
    return true;
}

/* A message as it is read: what came and was not used yet. */
struct input {
    int fd;
    unsigned char bytes[BLOCK];
    size_t at, n;
};

static bool more(struct input *in)
{
    ssize_t n = recv(in->fd, in->bytes, sizeof(in->bytes), 0);

    in->at = 0;
    in->n = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static int byte(struct input *in)
{
    return in->at < in->n || more(in) ? in->bytes[in->at++] : -1;
}

/* Up to and with the empty line. */
static bool read_head(struct input *in, char head[HEAD_MAX])
{
    size_t n = 0;

    while (n < HEAD_MAX - 1) {
        int c = byte(in);
        if (c < 0)
            return false;
        head[n++] = (char)c;
        head[n] = '\0';
        if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

/* n bytes of a body that begin at place `at` of it. */
static bool take(struct input *in, uint64_t at, uint64_t n, struct watch *watch)
{
    while (n > 0) {
        if (in->at == in->n && !more(in))
            return false;
        size_t piece = in->n - in->at < n ? in->n - in->at : (size_t)n;
        if (memcmp(in->bytes + in->at, pattern + at % PERIOD, piece) != 0) {
            fprintf(stderr, "a wrong byte behind %llu\n", (unsigned long long)at);
            return false;
        }
        in->at += piece;
        at += piece;
        n -= piece;
        look(watch, at);
    }
    return true;
}

static bool read_chunks(struct input *in, uint64_t *ret_bytes, struct watch *watch)
{
    for (uint64_t bytes = 0;;) {
        uint64_t size = 0;
        int c;
        while ((c = byte(in)) != '\r') {
            int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
            if (digit < 0)
                return false;
            size = size * 16 + (uint64_t)digit;
        }
        if (byte(in) != '\n' || !take(in, bytes, size, watch))
            return false;
        if (byte(in) != '\r' || byte(in) != '\n')
            return false;
        bytes += size;
        *ret_bytes = bytes;
        if (size == 0)
            return true;
    }
}

static bool read_body(struct input *in, const char *head, uint64_t *ret_bytes, struct watch *watch)
{
    const char *length = strcasestr(head, "\r\ncontent-length:");

    *ret_bytes = 0;
    if (length == NULL)
        return strcasestr(head, "\r\ntransfer-encoding: chunked") != NULL &&
               read_chunks(in, ret_bytes, watch);
    *ret_bytes = strtoull(length + strlen("\r\ncontent-length:"), NULL, 10);
    return take(in, 0, *ret_bytes, watch);
}

/* ---- the upstream ---- */

static void *serve_one(void *arg)
{
    struct input *in = calloc(1, sizeof(*in));
    struct watch nobody = {.pid = 0};
    char head[HEAD_MAX], text[256];
    uint64_t bytes = 0;

    in->fd = (int)(intptr_t)arg;
    while (read_head(in, head)) {
        bool get = strncmp(head, "GET ", 4) == 0;
        const char *asked = strstr(head, "?bytes=");
        if (get)
            bytes = asked == NULL ? 0 : strtoull(asked + strlen("?bytes="), NULL, 10);
        else if (!read_body(in, head, &bytes, &nobody))
            break;
        char body[32];
        int body_n = snprintf(body, sizeof(body), "%llu", (unsigned long long)bytes);
        int n = snprintf(text, sizeof(text),
                         "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"
                         "content-length: %llu\r\n\r\n%s",
                         get ? (unsigned long long)bytes : (unsigned long long)body_n,
                         get ? "" : body);
        if (!send_all(in->fd, text, (size_t)n) || (get && !send_pattern(in->fd, bytes, &nobody)))
            break;
    }
    close(in->fd);
    free(in);
    return NULL;
}

static int serve(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t n = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, 64) != 0 || getsockname(fd, (struct sockaddr *)&address, &n) != 0) {
        perror("bulk");
        return 1;
    }
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        pthread_t thread;
        int one = accept(fd, NULL, NULL);
        if (one < 0)
            continue;
        int yes = 1;
        setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)one) == 0)
            pthread_detach(thread);
        else
            close(one);
    }
}

/* ---- the client ---- */

static int fail(const char *what)
{
    fprintf(stderr, "bulk: %s\n", what);
    return 1;
}

/* The answer to an upload: how many bytes came, as text to its end. */
static uint64_t read_number(struct input *in)
{
    char text[32] = "";
    int c;

    for (size_t i = 0; i < sizeof(text) - 1 && (c = byte(in)) >= 0; i++)
        text[i] = (char)c;
    return strtoull(text, NULL, 10);
}

static int transfer(bool up, int port, uint64_t bytes, int subject)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct input *in = calloc(1, sizeof(*in));
    struct watch watch = {.pid = subject, .most = 0};
    char head[HEAD_MAX], length[64] = "";
    int64_t before = subject == 0 ? 0 : rss_of(subject);
    uint64_t got = 0;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    in->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (in->fd < 0 || connect(in->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return fail("no connection");
    if (up)
        snprintf(length, sizeof(length), "content-length: %llu\r\n", (unsigned long long)bytes);
    int n = snprintf(head, sizeof(head),
                     "%s /v1/files?bytes=%llu HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                     "authorization: Bearer bench-key-0123456789\r\n"
                     "content-type: application/octet-stream\r\nconnection: close\r\n%s\r\n",
                     up ? "POST" : "GET", (unsigned long long)bytes, length);
    int64_t begin = now_ns();
    if (!send_all(in->fd, head, (size_t)n) || (up && !send_pattern(in->fd, bytes, &watch)))
        return fail("the request was not taken");
    if (!read_head(in, head) || strncmp(head, "HTTP/1.1 200", 12) != 0)
        return fail("no answer of status 200");
    if (up) {
        got = read_number(in);
    } else if (!read_body(in, head, &got, &watch)) {
        return fail("the answer is not whole");
    }
    int64_t took = now_ns() - begin;
    close(in->fd);
    free(in);
    if (got != bytes)
        return fail("not all of it arrived");
    printf("ns=%lld bytes=%llu rss_before=%lld rss_most=%lld\n", (long long)took,
           (unsigned long long)got, (long long)before, (long long)watch.most);
    return 0;
}

int main(int argc, char **argv)
{
    uint64_t bytes = 0;
    int port = 0, subject = 0;

    make_pattern();
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        return serve();
    for (int i = 2; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--bytes") == 0)
            bytes = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--subject") == 0)
            subject = atoi(argv[i + 1]);
    }
    if (argc < 2 || port == 0 || (strcmp(argv[1], "up") != 0 && strcmp(argv[1], "down") != 0))
        return fail("bulk serve | up|down --port P --bytes N [--subject PID]");
    return transfer(strcmp(argv[1], "up") == 0, port, bytes, subject);
}
