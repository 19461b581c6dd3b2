/* SPDX-License-Identifier: MIT */
/*
 * The upstream of the bench: answers chat completions as cheaply as a socket allows.
 *
 * What      HTTP/1.1 with keep-alive on 127.0.0.1. The path chooses the protocol (form.h), the
 *           body's model (Gemini: the path's) the answer (shape.h); GET /v1/models lists them,
 *           GET /bench/wake lets all silent streams end.
 * How       One thread, level-triggered epoll. Every answer was made at start, as pieces of
 *           constant bytes; a request costs one read and one write for each piece.
 *           A connection with pieces left waits in the lane of its answer. All waits of a lane
 *           are equally long, so a lane is a list in the order of due times, and the next timer
 *           is the earliest head of a lane.
 *           With --tls CA_FILE it listens on a second port, for TLS (mock_tls).
 * Owns      Its connections. Prints "port N" when it listens, and "tls_port N". Ends with its
 *           parent, by SIGTERM, or after an hour.
 * Not here  Pipelining, chunked requests, anything tolerant: a request it does not understand
 *           closes the connection, which the load client reports.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "form.h"
#include "mock_tls.h"
#include "shape.h"

#define HEAD_MAX     8192
#define READ_BYTES   (256 * 1024)
#define MODEL_WITHIN 512 /* the model stands in this many first bytes of the body */
#define LIFE_S       3600
#define TURN_EVENTS  256
#define NS_PER_S     1000000000LL
#define PACE_NS      5000000

struct piece {
    const char *p;
    size_t n;
};

struct reply {
    enum shape_answer answer; /* its lane */
    struct piece pieces[SHAPE_EVENTS];
    int count;
    int64_t period_ns; /* between two pieces; 0: only a wake sends the next one */
};

struct peer {
    int fd;
    SSL *ssl; /* NULL: plain */
    bool reading_body;
    bool wants_out; /* registered for EPOLLOUT */
    size_t head_n;  /* head, then up to MODEL_WITHIN bytes of body behind it */
    size_t body_at;
    size_t body_left;
    const struct reply *reply; /* NULL: waits for a request */
    int piece;
    size_t sent; /* of this piece */
    int lane;    /* -1: in none */
    int64_t due_ns;
    struct peer *prev, *next;
    char head[HEAD_MAX + MODEL_WITHIN + 1];
};

struct lane {
    struct peer *head, *tail;
};

struct mock {
    int epoll;
    int listener;
    int tls_listener; /* -1: none */
    SSL_CTX *tls;
    int64_t now_ns;
    struct peer *doomed; /* closed in this turn; freed at its end */
    struct lane lanes[SHAPE_ANSWERS];
    struct reply replies[FORMS][SHAPE_ANSWERS];
    struct reply models, awake, unknown;
    char in[READ_BYTES];
};

static void die(const char *what)
{
    fprintf(stderr, "mock_upstream: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* ---- answers ---------------------------------------------------------------------------- */

static void add_head(struct shape_text *text, const char *status, const char *type)
{
    shape_add(text,
              "HTTP/1.1 %s\r\n"
              "date: Mon, 10 Mar 2025 01:25:52 GMT\r\n"
              "content-type: %s\r\n"
              "openai-organization: bench\r\n"
              "openai-processing-ms: 412\r\n"
              "openai-version: 2020-10-01\r\n"
              "x-ratelimit-limit-requests: 10000\r\n"
              "x-ratelimit-remaining-requests: 9999\r\n"
              "x-request-id: req_5f0c6b2e8a9d4c1e\r\n"
              "server: mock\r\n",
              status, type);
}

static void make_whole(struct reply *reply, const char *status, struct shape_text body)
{
    struct shape_text text = {0};

    add_head(&text, status, "application/json");
    shape_add(&text, "content-length: %zu\r\n\r\n", body.n);
    shape_add_bytes(&text, body.p, body.n);
    reply->pieces[0] = (struct piece){text.p, text.n};
    reply->count = 1;
}

/* `first` events at once, then `step` of them every period; each event is a chunk of its own. */
static void make_stream(struct reply *reply, enum form form, int first, int step, int64_t period_ns)
{
    struct shape_stream stream = form_stream(form);
    struct shape_text text = {0};
    size_t ends[SHAPE_EVENTS];
    size_t begin = 0;

    add_head(&text, "200 OK", "text/event-stream; charset=utf-8");
    shape_add(&text, "transfer-encoding: chunked\r\n\r\n");
    for (int i = 0; i < SHAPE_EVENTS; i++) {
        shape_add(&text, "%zx\r\n", stream.end[i] - begin);
        shape_add_bytes(&text, stream.text.p + begin, stream.end[i] - begin);
        shape_add(&text, "\r\n");
        begin = stream.end[i];
        if (i == SHAPE_EVENTS - 1)
            shape_add(&text, "0\r\n\r\n");
        ends[i] = text.n;
    }
    reply->period_ns = period_ns;
    begin = 0;
    for (int i = first - 1; i < SHAPE_EVENTS; i += step) {
        reply->pieces[reply->count++] = (struct piece){text.p + begin, ends[i] - begin};
        begin = ends[i];
    }
    assert(begin == text.n);
}

static void make_replies(struct mock *mock)
{
    struct shape_text empty = {0};

    shape_add(&empty, "{}");
    make_whole(&mock->models, "200 OK", shape_models());
    make_whole(&mock->awake, "200 OK", empty);
    make_whole(&mock->unknown, "404 Not Found", empty);
    for (int form = 0; form < FORMS; form++) {
        struct reply *replies = mock->replies[form];

        for (int i = 0; i < SHAPE_ANSWERS; i++)
            replies[i].answer = (enum shape_answer)i;
        make_whole(&replies[SHAPE_UNARY], "200 OK", form_unary((enum form)form));
        make_stream(&replies[SHAPE_BURST], (enum form)form, SHAPE_EVENTS, 1, 0);
        make_stream(&replies[SHAPE_PACED], (enum form)form, 1, 1, PACE_NS);
        make_stream(&replies[SHAPE_FIRST], (enum form)form, 1, SHAPE_EVENTS - 1, PACE_NS / 5);
        make_stream(&replies[SHAPE_SILENT], (enum form)form, 1, SHAPE_EVENTS - 1, 0);
    }
}

/* ---- lanes ------------------------------------------------------------------------------ */

static void lane_append(struct mock *mock, struct peer *peer, int64_t from_ns)
{
    int index = (int)peer->reply->answer;
    struct lane *lane = &mock->lanes[index];

    assert(index >= 0 && index < SHAPE_ANSWERS && peer->lane < 0);
    peer->due_ns = from_ns + peer->reply->period_ns;
    /* The order is the invariant; being some microseconds late is not seen. */
    if (lane->tail != NULL && lane->tail->due_ns > peer->due_ns)
        peer->due_ns = lane->tail->due_ns;
    peer->lane = index;
    peer->prev = lane->tail;
    peer->next = NULL;
    if (lane->tail != NULL)
        lane->tail->next = peer;
    else
        lane->head = peer;
    lane->tail = peer;
}

static void lane_remove(struct mock *mock, struct peer *peer)
{
    struct lane *lane = &mock->lanes[peer->lane];

    assert(peer->lane >= 0);
    if (peer->prev != NULL)
        peer->prev->next = peer->next;
    else
        lane->head = peer->next;
    if (peer->next != NULL)
        peer->next->prev = peer->prev;
    else
        lane->tail = peer->prev;
    peer->lane = -1;
}

/* ---- a connection ----------------------------------------------------------------------- */

static void peer_close(struct mock *mock, struct peer *peer)
{
    if (peer->fd < 0)
        return;
    if (peer->lane >= 0)
        lane_remove(mock, peer);
    SSL_free(peer->ssl);
    close(peer->fd);
    peer->fd = -1;
    peer->next = mock->doomed; /* this turn's events may still name it */
    mock->doomed = peer;
}

static ssize_t peer_send(struct peer *peer, const char *p, size_t n)
{
    return peer->ssl != NULL ? mock_tls_send(peer->ssl, p, n) : send(peer->fd, p, n, MSG_NOSIGNAL);
}

/* A record of TLS is shorter than READ_BYTES: none is left behind unnoticed. */
static ssize_t peer_recv(struct peer *peer, char *p, size_t n)
{
    return peer->ssl != NULL ? mock_tls_recv(peer->ssl, p, n) : recv(peer->fd, p, n, 0);
}

static void peer_watch(struct mock *mock, struct peer *peer, bool out)
{
    struct epoll_event event = {
        .events = out ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data.ptr = peer,
    };

    if (peer->wants_out == out)
        return;
    peer->wants_out = out;
    if (epoll_ctl(mock->epoll, EPOLL_CTL_MOD, peer->fd, &event) != 0)
        die("epoll_ctl");
}

/* Writes this piece, or what is left of it. `from_ns`: the next one is due a period later. */
static void peer_write(struct mock *mock, struct peer *peer, int64_t from_ns)
{
    const struct piece *piece = &peer->reply->pieces[peer->piece];
    ssize_t n = peer_send(peer, piece->p + peer->sent, piece->n - peer->sent);

    if (n < 0 && errno != EAGAIN) {
        peer_close(mock, peer);
        return;
    }
    if (n > 0)
        peer->sent += (size_t)n;
    if (peer->sent < piece->n) {
        peer_watch(mock, peer, true);
        return;
    }
    peer_watch(mock, peer, false);
    peer->sent = 0;
    peer->piece++;
    if (peer->piece == peer->reply->count)
        peer->reply = NULL;
    else
        lane_append(mock, peer, from_ns);
}

static void wake_silent(struct mock *mock)
{
    struct lane *lane = &mock->lanes[SHAPE_SILENT];

    while (lane->head != NULL) {
        struct peer *peer = lane->head;

        lane_remove(mock, peer);
        peer_write(mock, peer, mock->now_ns);
    }
}

static const struct reply *choose_by_model(const struct mock *mock, enum form form,
                                           const char *model, const char *begin, char end)
{
    if (model == NULL)
        return &mock->unknown;
    model += strlen(begin);
    for (int i = 0; i < SHAPE_ANSWERS; i++) {
        size_t n = strlen(shape_answer_names[i]);

        if (strncmp(model, shape_answer_names[i], n) == 0 && model[n] == end)
            return &mock->replies[form][i];
    }
    return &mock->unknown;
}

static const struct reply *choose(const struct mock *mock, const struct peer *peer)
{
    static const char *const paths[FORMS] = {
        [FORM_CHAT] = "POST /v1/chat/completions ",
        [FORM_ANTHROPIC] = "POST /v1/messages ",
        [FORM_RESPONSES] = "POST /v1/responses ",
        [FORM_GEMINI] = "POST /v1beta/models/bench-",
    };

    for (int form = 0; form < FORMS; form++) {
        if (strncmp(peer->head, paths[form], strlen(paths[form])) != 0)
            continue;
        if (form == FORM_GEMINI)
            return choose_by_model(mock, FORM_GEMINI, peer->head, paths[form], ':');
        return choose_by_model(mock, (enum form)form,
                               strstr(peer->head + peer->body_at, "\"bench-"), "\"bench-", '"');
    }
    return &mock->unknown;
}

static void peer_answer(struct mock *mock, struct peer *peer)
{
    peer->head[peer->head_n] = '\0';
    peer->piece = 0;
    peer->sent = 0;
    if (strncmp(peer->head, "GET /v1/models ", 15) == 0) {
        peer->reply = &mock->models;
    } else if (strncmp(peer->head, "GET /bench/wake ", 16) == 0) {
        wake_silent(mock);
        peer->reply = &mock->awake;
    } else {
        peer->reply = choose(mock, peer);
    }
    peer->head_n = 0;
    peer->reading_body = false;
    peer_write(mock, peer, mock->now_ns);
}

/* Takes bytes up to the end of the head. Returns how many, or -1 when it is no head of ours. */
static ssize_t take_head(struct peer *peer, const char *p, size_t n)
{
    size_t before = peer->head_n;
    size_t room = HEAD_MAX - before;
    size_t take = n < room ? n : room;
    size_t from = before < 3 ? 0 : before - 3;

    memcpy(peer->head + before, p, take);
    char *end = memmem(peer->head + from, before + take - from, "\r\n\r\n", 4);
    if (end == NULL) {
        peer->head_n = before + take;
        return take == room ? -1 : (ssize_t)take;
    }
    *end = '\0';
    const char *length = strcasestr(peer->head, "\r\ncontent-length:");
    if (strcasestr(peer->head, "\r\ntransfer-encoding:") != NULL)
        return -1;
    peer->body_left = length == NULL ? 0 : strtoul(length + 17, NULL, 10);
    peer->body_at = (size_t)(end - peer->head) + 4;
    peer->head_n = peer->body_at;
    peer->reading_body = true;
    return (ssize_t)(peer->body_at - before);
}

static size_t take_body(struct peer *peer, const char *p, size_t n)
{
    size_t take = n < peer->body_left ? n : peer->body_left;
    size_t room = peer->body_at + MODEL_WITHIN - peer->head_n;
    size_t keep = take < room ? take : room;

    memcpy(peer->head + peer->head_n, p, keep);
    peer->head_n += keep;
    peer->body_left -= take;
    return take;
}

static void peer_read(struct mock *mock, struct peer *peer)
{
    const char *p = mock->in;
    ssize_t n = peer_recv(peer, mock->in, READ_BYTES);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || peer->reply != NULL) {
        peer_close(mock, peer);
        return;
    }
    while (n > 0) {
        ssize_t used = peer->reading_body ? (ssize_t)take_body(peer, p, (size_t)n)
                                          : take_head(peer, p, (size_t)n);

        if (used < 0) {
            peer_close(mock, peer);
            return;
        }
        p += used;
        n -= used;
        if (!peer->reading_body || peer->body_left > 0)
            continue;
        if (n > 0)
            peer_close(mock, peer); /* pipelined */
        else
            peer_answer(mock, peer);
        return;
    }
}

/* ---- the loop --------------------------------------------------------------------------- */

static void accept_all(struct mock *mock, int listener)
{
    int on = 1;
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *peer = calloc(1, sizeof(*peer));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

        if (peer == NULL)
            die("calloc");
        peer->fd = fd;
        if (listener == mock->tls_listener)
            peer->ssl = mock_tls_accept(mock->tls, fd);
        peer->lane = -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (epoll_ctl(mock->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            die("epoll_ctl");
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        die("accept");
}

/* Sends what is due. Returns nanoseconds until the next piece, at most a second. */
static int64_t run_lanes(struct mock *mock)
{
    int64_t wait_ns = NS_PER_S;

    for (int i = 0; i < SHAPE_ANSWERS; i++) {
        struct lane *lane = &mock->lanes[i];

        if (mock->replies[FORM_CHAT][i].period_ns == 0)
            continue;
        while (lane->head != NULL && lane->head->due_ns <= mock->now_ns) {
            struct peer *peer = lane->head;

            lane_remove(mock, peer);
            peer_write(mock, peer, peer->due_ns);
        }
        if (lane->head != NULL && lane->head->due_ns - mock->now_ns < wait_ns)
            wait_ns = lane->head->due_ns - mock->now_ns;
    }
    return wait_ns;
}

static void turn(struct mock *mock)
{
    struct epoll_event events[TURN_EVENTS];

    mock->now_ns = clock_ns();
    int64_t wait_ns = run_lanes(mock);
    struct timespec wait = {.tv_sec = wait_ns / NS_PER_S, .tv_nsec = wait_ns % NS_PER_S};
    int n = epoll_pwait2(mock->epoll, events, TURN_EVENTS, &wait, NULL);

    if (n < 0 && errno != EINTR)
        die("epoll_pwait2");
    mock->now_ns = clock_ns();
    for (int i = 0; i < n; i++) {
        struct peer *peer = events[i].data.ptr;

        if (events[i].data.ptr == &mock->listener || events[i].data.ptr == &mock->tls_listener) {
            accept_all(mock, *(int *)events[i].data.ptr);
            continue;
        }
        if (peer->fd >= 0 && (events[i].events & EPOLLOUT) != 0)
            peer_write(mock, peer, mock->now_ns);
        if (peer->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) != 0)
            peer_read(mock, peer);
    }
    while (mock->doomed != NULL) {
        struct peer *peer = mock->doomed;

        mock->doomed = peer->next;
        free(peer);
    }
}

static void listen_and_tell(struct mock *mock, int *listener, const char *name)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof(address);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = listener};

    *listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*listener < 0)
        die("socket");
    if (bind(*listener, (struct sockaddr *)&address, size) != 0)
        die("bind");
    if (listen(*listener, 4096) != 0)
        die("listen");
    if (getsockname(*listener, (struct sockaddr *)&address, &size) != 0)
        die("getsockname");
    if (epoll_ctl(mock->epoll, EPOLL_CTL_ADD, *listener, &event) != 0)
        die("epoll_ctl");
    printf("%s %u\n", name, ntohs(address.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    struct mock *mock = calloc(1, sizeof(*mock));

    if (mock == NULL)
        die("calloc");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    prctl(PR_SET_TIMERSLACK, 1);
    alarm(LIFE_S);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    make_replies(mock);
    mock->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (mock->epoll < 0)
        die("epoll_create1");
    mock->tls_listener = -1;
    if (argc == 3 && strcmp(argv[1], "--tls") == 0) {
        mock->tls = mock_tls_new(argv[2]);
        listen_and_tell(mock, &mock->tls_listener, "tls_port");
    } else if (argc > 1) {
        fprintf(stderr, "usage: mock_upstream [--tls CA_FILE]\n");
        return 2;
    }
    listen_and_tell(mock, &mock->listener, "port");
    for (;;)
        turn(mock);
}
