/* SPDX-License-Identifier: MIT */
/*
 * The log's queue and writer.
 *
 * What      A ring of bytes under one short lock, drained by one thread to standard error.
 * How       A line is formatted on the stack, then copied whole into the ring, or dropped whole.
 *           The writer sleeps until the ring is not empty, waits GATHER_MS for more, and writes all
 *           there is in one write: busy times cost one wake-up per GATHER_MS, not one per line.
 * Owns      The ring, the thread.
 * Not here  Files and rotation, formats other than logfmt.
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scan.h"

enum { RING_SIZE = 256 * 1024, LINE_SIZE = 2048, GATHER_MS = 20 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_t thread;
    char *ring; /* RING_SIZE bytes: head..head+count is queued, wrapping */
    size_t head;
    size_t count;
    bool running;
    bool stopping;
    bool also_stdout;
    atomic_int level;
    atomic_uint_fast64_t dropped;
    uint64_t dropped_told;
} logger = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .filled = PTHREAD_COND_INITIALIZER,
    .level = LOG_INFO,
};

static const char *const room_names[ROOM_COUNT] = {
    "main", "io", "http", "protocol", "config", "state", "backend", "pipeline", "gateway", "admin",
};
static const char *const level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warning", "error"};

struct line {
    char text[LINE_SIZE];
    size_t n;
};

static void add(struct line *line, const char *p, size_t n)
{
    size_t room = LINE_SIZE - 1 - line->n; /* one kept for the line end */
    if (n > room)
        n = room;
    memcpy(line->text + line->n, p, n);
    line->n += n;
}

static void add_str(struct line *line, struct str s)
{
    add(line, s.p, s.n);
}

static void add_z(struct line *line, const char *z)
{
    add(line, z, strlen(z));
}

static void add_int(struct line *line, int64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    add(line, digits + at, sizeof(digits) - at);
}

/* A logfmt value: bare where it can be, else quoted; control characters never reach a terminal. */
static void add_value(struct line *line, struct str s)
{
    if (s.n > 0 && scan_bare(s.p, s.n) == s.n) {
        add(line, s.p, s.n);
        return;
    }
    add(line, "\"", 1);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char escaped[8];
        if (c == '"' || c == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            add(line, escaped, 2);
        } else if (c < 0x20 || c == 0x7f) {
            (void)snprintf(escaped, sizeof(escaped), "\\x%02x", c);
            add(line, escaped, 4);
        } else {
            add(line, s.p + i, 1);
        }
    }
    add(line, "\"", 1);
}

/* The text of the present second is made once a second and thread. */
static _Thread_local struct {
    time_t seconds;
    char text[32]; /* "2026-01-02T03:04:05." */
    size_t n;
} log_second;

static void add_time(struct line *line)
{
    int64_t now_ms = clock_real_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    int milliseconds = (int)(now_ms % 1000);
    struct tm t;

    if (log_second.seconds != seconds || log_second.n == 0) {
        if (gmtime_r(&seconds, &t) == NULL)
            return;
        log_second.n = strftime(log_second.text, sizeof(log_second.text), "%Y-%m-%dT%H:%M:%S.", &t);
        log_second.seconds = seconds;
    }
    char digits[4] = {(char)('0' + milliseconds / 100), (char)('0' + milliseconds / 10 % 10),
                      (char)('0' + milliseconds % 10), 'Z'};
    add(line, log_second.text, log_second.n);
    add(line, digits, sizeof(digits));
}

static void write_to(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0) {
            if (errno == EINTR)
                continue;
            return; /* nobody reads our log: nothing can be said about it */
        }
        p += done;
        n -= (size_t)done;
    }
}

static void write_all(const char *p, size_t n)
{
    write_to(STDERR_FILENO, p, n);
    if (logger.also_stdout)
        write_to(STDOUT_FILENO, p, n);
}

/* `llm-proxy | grep …` is to see the log too: standard output gets it when it is a pipe, and not
 * the same one as standard error. */
static bool stdout_wants_log(void)
{
    struct stat out;
    struct stat err;

    if (fstat(STDOUT_FILENO, &out) != 0 || !S_ISFIFO(out.st_mode))
        return false;
    return fstat(STDERR_FILENO, &err) != 0 || out.st_ino != err.st_ino || out.st_dev != err.st_dev;
}

static void enqueue(const struct line *line)
{
    pthread_mutex_lock(&logger.lock);
    if (!logger.running) {
        pthread_mutex_unlock(&logger.lock);
        write_all(line->text, line->n);
        return;
    }
    if (line->n > RING_SIZE - logger.count) {
        pthread_mutex_unlock(&logger.lock);
        atomic_fetch_add_explicit(&logger.dropped, 1, memory_order_relaxed);
        return;
    }
    size_t at = (logger.head + logger.count) % RING_SIZE;
    size_t first = RING_SIZE - at < line->n ? RING_SIZE - at : line->n;
    memcpy(logger.ring + at, line->text, first);
    memcpy(logger.ring, line->text + first, line->n - first);
    bool wake = logger.count == 0;
    logger.count += line->n;
    pthread_mutex_unlock(&logger.lock);
    if (wake)
        pthread_cond_signal(&logger.filled);
}

void log_write(enum log_room room, enum log_level level, const char *message,
               const struct log_field *fields, size_t count)
{
    struct line line = {.n = 0};

    assert((unsigned)room < ROOM_COUNT && (unsigned)level < LOG_LEVEL_COUNT);
    add_str(&line, STR("ts="));
    add_time(&line);
    add_str(&line, STR(" level="));
    add_z(&line, level_names[level]);
    add_str(&line, STR(" room="));
    add_z(&line, room_names[room]);
    add_str(&line, STR(" msg="));
    add_value(&line, str_c(message));
    for (size_t i = 0; i < count; i++) {
        const struct log_field *field = &fields[i];
        if (field->kind == LOG_FIELD_SKIP)
            continue;
        add_str(&line, field->label);
        if (field->kind == LOG_FIELD_INT)
            add_int(&line, field->value);
        else
            add_value(&line, field->str);
    }
    line.text[line.n++] = '\n';
    enqueue(&line);
}

/* Takes all that is queued; called with the lock held, returns with it held. */
static void drain(void)
{
    while (logger.count > 0) {
        size_t n = RING_SIZE - logger.head < logger.count ? RING_SIZE - logger.head : logger.count;
        size_t at = logger.head;
        pthread_mutex_unlock(&logger.lock);
        /* Only this thread moves head, and producers never write into head..head+count. */
        write_all(logger.ring + at, n);
        pthread_mutex_lock(&logger.lock);
        logger.head = (logger.head + n) % RING_SIZE;
        logger.count -= n;
    }
}

static void tell_dropped(void)
{
    uint64_t now = atomic_load_explicit(&logger.dropped, memory_order_relaxed);
    struct line line = {.n = 0};

    if (now == logger.dropped_told)
        return;
    add_z(&line, "level=warning room=main msg=log.dropped lines=");
    add_int(&line, (int64_t)(now - logger.dropped_told));
    line.text[line.n++] = '\n';
    logger.dropped_told = now;
    write_all(line.text, line.n);
}

static void *writer(void *unused)
{
    const struct timespec gather = {.tv_sec = 0, .tv_nsec = GATHER_MS * 1000000L};

    pthread_mutex_lock(&logger.lock);
    while (!logger.stopping) {
        while (logger.count == 0 && !logger.stopping)
            pthread_cond_wait(&logger.filled, &logger.lock);
        if (!logger.stopping) {
            pthread_mutex_unlock(&logger.lock);
            (void)nanosleep(&gather, NULL);
            pthread_mutex_lock(&logger.lock);
        }
        drain();
        tell_dropped();
    }
    pthread_mutex_unlock(&logger.lock);
    return unused;
}

void log_start(void)
{
    assert(!logger.running);
    logger.ring = mem_raw(RING_SIZE);
    logger.head = 0;
    logger.count = 0;
    logger.stopping = false;
    logger.also_stdout = stdout_wants_log();
    logger.running = true;
    if (pthread_create(&logger.thread, NULL, writer, NULL) != 0)
        BUG("cannot start the log thread");
}

void log_stop(void)
{
    pthread_mutex_lock(&logger.lock);
    if (!logger.running) {
        pthread_mutex_unlock(&logger.lock);
        return;
    }
    logger.stopping = true;
    pthread_mutex_unlock(&logger.lock);
    pthread_cond_signal(&logger.filled);
    pthread_join(logger.thread, NULL);
    pthread_mutex_lock(&logger.lock);
    /* The writer may have found us stopping before it wrote anything. */
    drain();
    tell_dropped();
    logger.running = false;
    mem_free(logger.ring);
    logger.ring = NULL;
    pthread_mutex_unlock(&logger.lock);
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&logger.level, (int)level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&logger.level, memory_order_relaxed);
}

bool log_level_parse(struct str s, enum log_level *ret_level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } names[] = {{"debug", LOG_DEBUG}, {"info", LOG_INFO},   {"warning", LOG_WARN},
                 {"warn", LOG_WARN},   {"error", LOG_ERROR}, {"critical", LOG_ERROR}};

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (str_eq_nocase(s, str_c(names[i].name))) {
            *ret_level = names[i].level;
            return true;
        }
    }
    return false;
}

const char *log_level_name(enum log_level level)
{
    assert((unsigned)level < LOG_LEVEL_COUNT);
    return level_names[level];
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&logger.dropped, memory_order_relaxed);
}
