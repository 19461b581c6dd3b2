/* SPDX-License-Identifier: MIT */
/*
 * The load client's connections.
 *
 * What      Keeps connections busy with one prepared request, checks every byte that comes back,
 *           takes the time to the first byte of each body.
 * How       One thread, level-triggered epoll. A link is closed, busy, or done (hold only).
 *           The run has phases: WARMUP, MEASURE, DRAIN (no new requests; what is still open two
 *           seconds later is an error). The subject's CPU time is read at both ends of MEASURE.
 * Owns      The links and their sockets, for one call.
 * Not here  What is asked and expected (shape.h), what the numbers mean (run).
 */
#include "drive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "loopback.h"
#include "procfs.h"

#define READ_BYTES  (256 * 1024)
#define TURN_EVENTS 256
#define ERRORS_MAX  20
#define SAMPLES_MAX (1 << 20)
#define DRAIN_NS    2000000000LL
#define NS_PER_MS   1000000LL
#define OPENING_MAX 64 /* hold: so many streams wait for their first event at once */
#define OPEN_NS     (30 * 1000 * NS_PER_MS)
#define SETTLE_NS   (500 * NS_PER_MS)
#define WAKE_NS     (15 * 1000 * NS_PER_MS)
#define SESSIONS_NS (100 * 1000 * NS_PER_MS)

enum phase { WARMUP, MEASURE, DRAIN };

struct link {
    int fd; /* -1: closed */
    bool busy;
    bool wants_out; /* registered for EPOLLOUT */
    bool begun;     /* hold: the first event is here */
    size_t written;
    int64_t asked_ns;
    char *request; /* its own, with a session's serial number; NULL: the same for all */
    struct answer answer;
};

struct drive {
    const struct drive_options *options;
    struct drive_result result;
    struct procfs_tree subject;
    enum phase phase;
    int epoll;
    int busy;
    int64_t now_ns;
    uint64_t asked; /* sessions: so many requests */
    struct link *links;
    int64_t *samples;
    size_t sample_count;
    char in[READ_BYTES];
};

static int64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void error_note(struct drive *drive, const char *why, const struct link *link)
{
    drive->result.errors++;
    if (drive->result.why != NULL)
        return;
    drive->result.why = why;
    if (link == NULL)
        return;
    fprintf(stderr, "load: first error: %s (%zu of %zu bytes of the body)\n", why,
            link->answer.seen, link->answer.expect_n);
    if (link->answer.head_n > 0)
        fprintf(stderr, "%.*s\n", (int)link->answer.head_n, link->answer.head);
}

static void link_close(struct drive *drive, struct link *link)
{
    if (link->busy)
        drive->busy--;
    link->busy = false;
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}

static bool link_open(struct drive *drive, struct link *link)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};

    link->fd = loopback_connect(drive->options->port);
    if (link->fd < 0) {
        error_note(drive, "cannot connect", NULL);
        return false;
    }
    link->wants_out = false;
    fcntl(link->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(drive->epoll, EPOLL_CTL_ADD, link->fd, &event) != 0)
        abort();
    return true;
}

static void link_write(struct drive *drive, struct link *link)
{
    const struct drive_options *options = drive->options;
    const char *request = link->request != NULL ? link->request : options->request;
    ssize_t n = send(link->fd, request + link->written, options->request_n - link->written,
                     MSG_NOSIGNAL);

    if (n > 0)
        link->written += (size_t)n;
    if (n < 0 && errno != EAGAIN) {
        error_note(drive, "the connection broke while the request was written", link);
        link_close(drive, link);
        return;
    }
    bool blocked = link->written < options->request_n;
    if (blocked != link->wants_out) {
        struct epoll_event event = {
            .events = blocked ? EPOLLIN | EPOLLOUT : EPOLLIN,
            .data.ptr = link,
        };
        link->wants_out = blocked;
        if (epoll_ctl(drive->epoll, EPOLL_CTL_MOD, link->fd, &event) != 0)
            abort();
    }
}

/* The next session's turn. */
static void link_serial(struct drive *drive, struct link *link)
{
    const struct drive_options *options = drive->options;
    char digits[16];

    snprintf(digits, sizeof(digits), "%0*u", DRIVE_SERIAL_DIGITS,
             (unsigned)(drive->asked % (uint64_t)options->sessions));
    memcpy(link->request + options->serial_at, digits, DRIVE_SERIAL_DIGITS);
    drive->asked++;
}

static void link_ask(struct drive *drive, struct link *link)
{
    if (link->fd < 0 && !link_open(drive, link))
        return;
    if (link->request != NULL)
        link_serial(drive, link);
    answer_reset(&link->answer);
    link->written = 0;
    link->busy = true;
    drive->busy++;
    link->asked_ns = clock_ns();
    link_write(drive, link);
}

static void link_answered(struct drive *drive, struct link *link)
{
    link->busy = false;
    drive->busy--;
    drive->result.whole_answers++;
    drive->result.whole_bytes += link->answer.seen;
    if (drive->phase == MEASURE)
        drive->result.answers++;
}

/* True when the answer is now complete. Every fault closes the link. */
static bool link_read(struct drive *drive, struct link *link)
{
    ssize_t n = recv(link->fd, drive->in, READ_BYTES, 0);
    size_t before = link->answer.seen;

    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0 || !link->busy) {
        error_note(drive,
                   !link->busy ? "the connection closed, or spoke, between two answers"
                               : "the answer broke off",
                   link);
        link_close(drive, link);
        return false;
    }
    enum answer_state state = answer_feed(&link->answer, drive->in, (size_t)n);
    if (before == 0 && link->answer.seen > 0 && drive->phase == MEASURE &&
        drive->sample_count < SAMPLES_MAX)
        drive->samples[drive->sample_count++] = clock_ns() - link->asked_ns;
    if (drive->phase == MEASURE)
        drive->result.body_bytes += link->answer.seen - before;
    if (state == ANSWER_BAD) {
        error_note(drive, link->answer.why, link);
        link_close(drive, link);
    } else if (state == ANSWER_DONE) {
        link_answered(drive, link);
        return true;
    }
    return false;
}

/* One turn of the loop. `again`: a link with a complete answer asks the next question. */
static void turn(struct drive *drive, int wait_ms, bool again)
{
    struct epoll_event events[TURN_EVENTS];
    int n = epoll_wait(drive->epoll, events, TURN_EVENTS, wait_ms);

    drive->now_ns = clock_ns();
    for (int i = 0; i < n; i++) {
        struct link *link = events[i].data.ptr;

        if (link->fd >= 0 && (events[i].events & EPOLLOUT) != 0)
            link_write(drive, link);
        if (link->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) != 0) {
            bool done = link_read(drive, link);
            bool broken = link->fd < 0 && drive->result.errors < ERRORS_MAX;

            if (again && (done || broken))
                link_ask(drive, link);
        }
    }
}

static int compare_ns(const void *a, const void *b)
{
    const int64_t *left = a;
    const int64_t *right = b;

    return (*left > *right) - (*left < *right);
}

static void percentiles(struct drive *drive)
{
    size_t n = drive->sample_count;

    if (n == 0)
        return;
    qsort(drive->samples, n, sizeof(drive->samples[0]), compare_ns);
    drive->result.first_byte_p50_ns = drive->samples[n / 2];
    drive->result.first_byte_p99_ns = drive->samples[n - 1 - n / 100];
}

static struct drive *drive_new(const struct drive_options *options)
{
    struct drive *drive = calloc(1, sizeof(*drive));

    if (drive == NULL)
        abort();
    drive->options = options;
    drive->links = calloc((size_t)options->connections, sizeof(drive->links[0]));
    drive->samples = calloc(SAMPLES_MAX, sizeof(drive->samples[0]));
    drive->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (drive->links == NULL || drive->samples == NULL || drive->epoll < 0)
        abort();
    for (int i = 0; i < options->connections; i++) {
        drive->links[i].fd = -1;
        if (options->expect == NULL)
            answer_init_loose(&drive->links[i].answer, options->needles);
        else
            answer_init(&drive->links[i].answer, options->expect, options->expect_n);
    }
    if (options->subject != 0)
        drive->subject = procfs_tree(options->subject);
    return drive;
}

static struct drive_result drive_end(struct drive *drive)
{
    for (int i = 0; i < drive->options->connections; i++) {
        link_close(drive, &drive->links[i]);
        free(drive->links[i].answer.body);
        free(drive->links[i].request);
    }
    percentiles(drive);
    struct drive_result result = drive->result;
    close(drive->epoll);
    free(drive->samples);
    free(drive->links);
    free(drive);
    return result;
}

static void measure_begin(struct drive *drive)
{
    drive->phase = MEASURE;
    drive->result.cpu_ns = procfs_cpu_ns(&drive->subject);
    drive->result.user_ns = procfs_user_ns(&drive->subject);
    drive->result.wall_ns = clock_ns();
}

static void measure_end(struct drive *drive)
{
    drive->phase = DRAIN;
    drive->result.cpu_ns = procfs_cpu_ns(&drive->subject) - drive->result.cpu_ns;
    drive->result.user_ns = procfs_user_ns(&drive->subject) - drive->result.user_ns;
    drive->result.wall_ns = clock_ns() - drive->result.wall_ns;
}

struct drive_result drive_loop(const struct drive_options *options)
{
    struct drive *drive = drive_new(options);
    struct timespec pause = {.tv_nsec = options->stagger_ns};
    int64_t begin_ns = clock_ns();
    int64_t measure_ns = begin_ns + options->warmup_ms * NS_PER_MS;
    int64_t drain_ns = measure_ns + options->time_ms * NS_PER_MS;

    for (int i = 0; i < options->connections && drive->result.errors < ERRORS_MAX; i++) {
        link_ask(drive, &drive->links[i]);
        if (options->stagger_ns > 0)
            nanosleep(&pause, NULL);
    }
    drive->now_ns = clock_ns();
    while (drive->busy > 0 && drive->now_ns < drain_ns + DRAIN_NS) {
        if (drive->phase == WARMUP && drive->now_ns >= measure_ns)
            measure_begin(drive);
        if (drive->phase == MEASURE && drive->now_ns >= drain_ns)
            measure_end(drive);
        turn(drive, 50, drive->phase != DRAIN);
    }
    if (drive->busy > 0)
        error_note(drive, "an answer did not end", NULL);
    if (drive->phase != DRAIN) {
        /* Every link broke before the end: there is nothing that the CPU time belongs to. */
        drive->result.answers = 0;
        drive->result.wall_ns = 0;
        drive->result.cpu_ns = 0;
        drive->result.user_ns = 0;
    }
    return drive_end(drive);
}

static void hold_open(struct drive *drive)
{
    const struct drive_options *options = drive->options;
    int64_t until_ns = clock_ns() + OPEN_NS;
    int asked = 0;

    drive->now_ns = clock_ns();
    while (drive->result.opened < options->connections && drive->now_ns < until_ns &&
           drive->result.errors < ERRORS_MAX) {
        while (asked < options->connections && asked - drive->result.opened < OPENING_MAX)
            link_ask(drive, &drive->links[asked++]);
        turn(drive, 50, false);
        /* Streams begin in about the order in which they were asked for: look at the newest. */
        for (int i = asked - 1; i >= 0 && i >= asked - 4 * OPENING_MAX; i--) {
            struct link *link = &drive->links[i];

            if (!link->begun && link->fd >= 0 && link->answer.seen >= options->first_n) {
                link->begun = true;
                drive->result.opened++;
            }
        }
    }
}

static void hold_for(struct drive *drive, int64_t time_ns)
{
    int64_t until_ns = clock_ns() + time_ns;

    do {
        turn(drive, 20, false);
    } while (drive->now_ns < until_ns);
}

struct drive_result drive_hold(const struct drive_options *options)
{
    struct drive *drive = drive_new(options);

    drive->phase = MEASURE;
    drive->result.rss_before = procfs_rss_bytes(&drive->subject);
    hold_open(drive);
    hold_for(drive, SETTLE_NS);
    drive->result.rss_after = procfs_rss_bytes(&drive->subject);
    hold_for(drive, options->time_ms * NS_PER_MS);
    if (drive->result.answers > 0)
        error_note(drive, "a stream ended before it was told to", NULL);
    if (!loopback_get(options->wake_port, "/bench/wake"))
        error_note(drive, "the mock upstream cannot be woken", NULL);
    int64_t until_ns = clock_ns() + WAKE_NS;
    drive->now_ns = clock_ns();
    while (drive->busy > 0 && drive->now_ns < until_ns)
        turn(drive, 50, false);
    drive->result.alive = (int)drive->result.answers;
    if (drive->busy > 0)
        error_note(drive, "a stream did not end", NULL);
    return drive_end(drive);
}

static void links_take_requests(struct drive *drive)
{
    const struct drive_options *options = drive->options;

    for (int i = 0; i < options->connections; i++) {
        drive->links[i].request = malloc(options->request_n);
        if (drive->links[i].request == NULL)
            abort();
        memcpy(drive->links[i].request, options->request, options->request_n);
    }
}

struct drive_result drive_sessions(const struct drive_options *options)
{
    struct drive *drive = drive_new(options);
    uint64_t wanted = (uint64_t)options->sessions * (uint64_t)options->times;
    int64_t until_ns = clock_ns() + SESSIONS_NS;

    links_take_requests(drive);
    drive->phase = MEASURE;
    drive->result.rss_before = procfs_rss_bytes(&drive->subject);
    for (int i = 0; i < options->connections && drive->asked < wanted; i++)
        link_ask(drive, &drive->links[i]);
    drive->now_ns = clock_ns();
    while (drive->busy > 0 && drive->now_ns < until_ns && drive->result.errors < ERRORS_MAX)
        turn(drive, 50, drive->asked + (uint64_t)options->connections <= wanted);
    if (drive->result.answers + (uint64_t)options->connections < wanted)
        error_note(drive, "not all sessions have asked", NULL);
    drive->result.rss_after = procfs_rss_bytes(&drive->subject);
    return drive_end(drive);
}
