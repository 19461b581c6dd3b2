/* SPDX-License-Identifier: MIT */
/*
 * The log's queue and writer.
 *
 * What      A ring of bytes under one short lock, drained by one thread to standard error.
 * How       A line is formatted on the stack, then copied whole into the ring, or dropped whole.
 *           The writer sleeps until the ring is not empty, waits GATHER_MS for more, and writes all
 *           there is in one write: busy times cost one wake-up per GATHER_MS, not one per line.
 *           To a pipe, a socket or a terminal it writes only what fits: one that nobody reads holds
 *           up neither the end of the program nor, where it is the copy, the log itself.
 * Owns      The ring, the thread.
 * Not here  What a line looks like (log_form), files and rotation.
 */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_form.h"
#include "base/mem.h"

enum { RING_SIZE = 256 * 1024, GATHER_MS = 20 };
/* How often a full pipe is looked at; how long the copy's, and at the end any, may stay full. */
enum { LOOK_MS = 100, PATIENCE_MS = 1000 };

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
    bool copy_stuck; /* nobody reads the copy: what does not fit is left out of it ... */
    bool copy_torn;  /* ... to the end of the line */
    /* When whoever does not read is waited for no longer (clock_mono_ms); 0: for ever. */
    atomic_int_fast64_t give_up_ms;
    atomic_int levels[ROOM_COUNT];
    /* Immutable. Another one takes its place while lines are being formatted by it: the old ones
     * stay, in a chain, until the log stops. */
    _Atomic(const struct log_form *) form;
    atomic_uint_fast64_t dropped;
    uint64_t dropped_told;
} logger = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .filled = PTHREAD_COND_INITIALIZER,
#define LOG_ROOM(name_, text_, class_) .levels[ROOM_##name_] = LOG_INFO,
#define LOG_ROOM_ALIAS(name_, text_)
#include "base/log_room.def"
#undef LOG_ROOM
#undef LOG_ROOM_ALIAS
};

static const char *const level_names[LOG_LEVEL_COUNT] = {"debug", "info", "warning", "error"};

/* Whether fd takes something, before until_ms or give_up_ms (0: however long that takes). */
static bool wait_writable(int fd, int64_t until_ms)
{
    struct pollfd look = {.fd = fd, .events = POLLOUT};

    for (;;) {
        int n = poll(&look, 1, 0);
        if (n > 0 || (n < 0 && errno != EINTR))
            return true; /* an error as well: write says which */
        int64_t end_ms = atomic_load_explicit(&logger.give_up_ms, memory_order_relaxed);
        if (end_ms == 0 || (until_ms != 0 && until_ms < end_ms))
            end_ms = until_ms;
        if (end_ms != 0 && clock_mono_ms() >= end_ms)
            return false;
        (void)poll(&look, 1, LOOK_MS);
    }
}

/* A write of at most PIPE_BUF to what is writable does not block. False: nobody took all of it. */
static bool write_to(int fd, const char *p, size_t n, int64_t until_ms)
{
    struct stat file;
    bool is_file = fstat(fd, &file) == 0 && S_ISREG(file.st_mode);

    while (n > 0) {
        if (!is_file && !wait_writable(fd, until_ms))
            return false;
        ssize_t done = write(fd, p, is_file || n < PIPE_BUF ? n : PIPE_BUF);
        if (done < 0) {
            if (errno == EINTR || errno == EAGAIN)
                continue;
            return true; /* nobody reads our log: nothing can be said about it */
        }
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static void write_copy(const char *p, size_t n)
{
    if (logger.copy_stuck && !wait_writable(STDOUT_FILENO, 1))
        return;
    if (logger.copy_torn) {
        const char *end = memchr(p, '\n', n);
        if (end == NULL)
            return;
        n -= (size_t)(end - p); /* which ends what there is of the line that was begun */
        p = end;
    }
    bool taken = write_to(STDOUT_FILENO, p, n, clock_mono_ms() + PATIENCE_MS);
    logger.copy_stuck = !taken;
    logger.copy_torn = !taken;
}

static void write_all(const char *p, size_t n)
{
    (void)write_to(STDERR_FILENO, p, n, 0);
    if (logger.also_stdout)
        write_copy(p, n);
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

static void enqueue(const struct log_line *line)
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
    const struct log_record record = {
        .room = room,
        .level = level,
        .message = message,
        .fields = fields,
        .count = count,
        .now_ms = clock_real_ms(),
    };
    UNINITIALIZED struct log_line line;

    assert((unsigned)room < ROOM_COUNT && (unsigned)level < LOG_LEVEL_COUNT);
    log_form_line(atomic_load_explicit(&logger.form, memory_order_acquire), &record, &line);
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
    const struct log_field lines[] = {F_INT("lines", now - logger.dropped_told)};
    const struct log_record record = {
        .room = ROOM_MAIN,
        .level = LOG_WARN,
        .message = "log.dropped",
        .fields = lines,
        .count = COUNT_OF(lines),
        .now_ms = clock_real_ms(),
    };
    struct log_line line;

    if (now == logger.dropped_told)
        return;
    logger.dropped_told = now;
    log_form_line(atomic_load_explicit(&logger.form, memory_order_acquire), &record, &line);
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
    logger.copy_stuck = false;
    logger.copy_torn = false;
    atomic_store_explicit(&logger.give_up_ms, 0, memory_order_relaxed);
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
    atomic_store_explicit(&logger.give_up_ms, clock_mono_ms() + PATIENCE_MS, memory_order_relaxed);
    pthread_mutex_unlock(&logger.lock);
    pthread_cond_signal(&logger.filled);
    pthread_join(logger.thread, NULL);
    pthread_mutex_lock(&logger.lock);
    /* The writer may have found us stopping before it wrote anything. */
    drain();
    tell_dropped();
    logger.running = false;
    log_form_free_all(atomic_exchange(&logger.form, NULL));
    mem_free(logger.ring);
    logger.ring = NULL;
    pthread_mutex_unlock(&logger.lock);
}

void log_set_level(enum log_level level)
{
    for (size_t i = 0; i < ROOM_COUNT; i++)
        log_set_room_level((enum log_room)i, level);
}

void log_set_room_level(enum log_room room, enum log_level level)
{
    assert((unsigned)room < ROOM_COUNT && (unsigned)level < LOG_LEVEL_COUNT);
    atomic_store_explicit(&logger.levels[room], (int)level, memory_order_relaxed);
}

void log_set_form(struct log_form *form)
{
    const struct log_form *old = atomic_load_explicit(&logger.form, memory_order_relaxed);

    if (log_form_same(form, old)) {
        log_form_free(&form);
        return;
    }
    log_form_chain(form, old);
    atomic_store_explicit(&logger.form, form, memory_order_release);
}

bool log_enabled(enum log_room room, enum log_level level)
{
    return (int)level >= atomic_load_explicit(&logger.levels[room], memory_order_relaxed);
}

bool log_room_parse(struct str name, enum log_room *ret_room)
{
    static const struct {
        const char *name;
        enum log_room room;
    } names[] = {
#define LOG_ROOM(name_, text_, class_) {text_, ROOM_##name_}, {class_, ROOM_##name_},
#define LOG_ROOM_ALIAS(name_, text_)   {text_, ROOM_##name_},
#include "base/log_room.def"
#undef LOG_ROOM
#undef LOG_ROOM_ALIAS
    };
    size_t dot;

    while ((dot = str_find_char(name, '.', 0)) != SIZE_MAX)
        name = str_from(name, dot + 1);
    for (size_t i = 0; i < COUNT_OF(names) && name.n > 0; i++) {
        if (str_eq(name, str_c(names[i].name))) {
            *ret_room = names[i].room;
            return true;
        }
    }
    return false;
}

const char *log_room_name(enum log_room room)
{
    return log_form_room_name(room);
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
