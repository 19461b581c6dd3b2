/* SPDX-License-Identifier: MIT */
/*
 * System calls that fail when a test says so. Preloaded (LD_PRELOAD) into the program under test.
 *
 * What      Counts the calls that reads, writes, accepts, connects, makes sockets, resolves names,
 *           polls or writes a database's file, and lets the k-th since the start mark come back
 *           short, or with an error.
 * How       INJECT_CONTROL names a file of sizeof(struct control) bytes, which is mapped: what the
 *           test writes to it is seen at the next call, what is counted here the test reads there.
 *           The test writes the orders first and `armed` last, while nothing else goes on.
 *           Sockets have a leg: CLIENT those accepted, UPSTREAM those made by socket(2). Files that
 *           are written at a place (pwrite) have FILE. Other descriptors (the log, pipes) are never
 *           touched.
 *           Names below .inject.test need no network: four.* is 127.0.0.1, six.* is ::1, both.* is
 *           ::1 and then 127.0.0.1, none.* has no address, all others do not exist.
 * Not here  What a fault should lead to: inject.test.mjs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum op {
    OP_READ = 1,
    OP_WRITE = 2,
    OP_ACCEPT = 4,
    OP_CONNECT = 8,
    OP_SOCKET = 16,
    OP_RESOLVE = 32,
    OP_POLL = 64,
    OP_DISK = 128,
};

enum leg { LEG_NONE = 0, LEG_CLIENT = 1, LEG_UPSTREAM = 2, LEG_FILE = 4 };

enum mode {
    MODE_COUNT, /* no fault */
    MODE_SHORT, /* one byte is read or written */
    MODE_ERROR, /* `value` is the errno; of a resolver EAI_* */
    MODE_DELAY, /* the call takes `value` milliseconds longer */
};

struct control {
    _Atomic uint32_t armed;
    _Atomic uint32_t mode;
    _Atomic int32_t value;
    _Atomic uint32_t ops;
    _Atomic uint32_t legs;
    _Atomic uint32_t at;    /* the first step with the fault, from 1; 0: every step */
    _Atomic uint32_t times; /* how many steps in a row */
    _Atomic uint32_t steps; /* counted since the test last wrote 0 */
    _Atomic uint32_t hits;  /* of them with the fault */
};

enum { FDS_MAX = 65536 };

static struct control nothing;
static struct control *control = &nothing;
static _Atomic uint8_t legs[FDS_MAX];

__attribute__((constructor)) static void inject_start(void)
{
    const char *path = getenv("INJECT_CONTROL");
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        control = map;
    (void)close(fd);
}

/* The function that would have been called without this library. */
#define NEXT(name, ...)                      \
    __extension__({                          \
        static _Atomic(void *) slot;         \
        void *found = atomic_load(&slot);    \
        if (found == NULL) {                 \
            found = dlsym(RTLD_NEXT, #name); \
            atomic_store(&slot, found);      \
        }                                    \
        __typeof__(name) *fn;                \
        memcpy(&fn, &found, sizeof(fn));     \
        fn(__VA_ARGS__);                     \
    })

static void set_leg(int fd, enum leg leg)
{
    if (fd >= 0 && fd < FDS_MAX)
        atomic_store(&legs[fd], (uint8_t)leg);
}

static enum leg leg_of(int fd)
{
    int type = 0;
    socklen_t size = sizeof(type);
    int saved = errno;

    if (fd < 0 || fd >= FDS_MAX || atomic_load(&legs[fd]) == LEG_NONE)
        return LEG_NONE;
    /* The number may be another thing's by now. */
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) {
        set_leg(fd, LEG_NONE);
        errno = saved;
        return LEG_NONE;
    }
    return (enum leg)atomic_load(&legs[fd]);
}

static void rest(int32_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};

    (void)nanosleep(&time, NULL);
}

/* What is to happen to this call. MODE_DELAY has happened already when it comes back. */
static enum mode step(enum op op, enum leg leg)
{
    if (atomic_load(&control->armed) == 0 || (atomic_load(&control->ops) & op) == 0 ||
        (atomic_load(&control->legs) & leg) == 0)
        return MODE_COUNT;
    uint32_t n = atomic_fetch_add(&control->steps, 1) + 1;
    uint32_t at = atomic_load(&control->at);
    enum mode mode = (enum mode)atomic_load(&control->mode);
    if (mode == MODE_COUNT || (at != 0 && (n < at || n - at >= atomic_load(&control->times))))
        return MODE_COUNT;
    atomic_fetch_add(&control->hits, 1);
    if (mode == MODE_DELAY)
        rest(atomic_load(&control->value));
    return mode;
}

static int fail(void)
{
    errno = atomic_load(&control->value);
    return -1;
}

/* ---- reading and writing ---- */

ssize_t read(int fd, void *to, size_t n)
{
    enum mode mode = step(OP_READ, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    return NEXT(read, fd, to, mode == MODE_SHORT && n > 1 ? 1 : n);
}

ssize_t recv(int fd, void *to, size_t n, int flags)
{
    enum mode mode = step(OP_READ, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    return NEXT(recv, fd, to, mode == MODE_SHORT && n > 1 ? 1 : n, flags);
}

ssize_t write(int fd, const void *from, size_t n)
{
    enum mode mode = step(OP_WRITE, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    return NEXT(write, fd, from, mode == MODE_SHORT && n > 1 ? 1 : n);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at)
{
    return step(OP_DISK, LEG_FILE) == MODE_ERROR ? fail() : NEXT(pwrite, fd, from, n, at);
}

ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at)
{
    return step(OP_DISK, LEG_FILE) == MODE_ERROR ? fail() : NEXT(pwrite64, fd, from, n, at);
}

ssize_t send(int fd, const void *from, size_t n, int flags)
{
    enum mode mode = step(OP_WRITE, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    return NEXT(send, fd, from, mode == MODE_SHORT && n > 1 ? 1 : n, flags);
}

/* The first byte of the first part that has one. */
static struct iovec first_byte(const struct iovec *parts, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (parts[i].iov_len > 0)
            return (struct iovec){.iov_base = parts[i].iov_base, .iov_len = 1};
    }
    return (struct iovec){.iov_base = NULL, .iov_len = 0};
}

ssize_t readv(int fd, const struct iovec *parts, int n)
{
    enum mode mode = step(OP_READ, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    if (mode == MODE_SHORT) {
        struct iovec one = first_byte(parts, (size_t)n);
        return NEXT(readv, fd, &one, 1);
    }
    return NEXT(readv, fd, parts, n);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    enum mode mode = step(OP_WRITE, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    if (mode == MODE_SHORT) {
        struct iovec one = first_byte(parts, (size_t)n);
        return NEXT(writev, fd, &one, 1);
    }
    return NEXT(writev, fd, parts, n);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    enum mode mode = step(OP_READ, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    if (mode == MODE_SHORT) {
        struct iovec one = first_byte(message->msg_iov, message->msg_iovlen);
        struct msghdr shorter = *message;
        shorter.msg_iov = &one;
        shorter.msg_iovlen = 1;
        return NEXT(recvmsg, fd, &shorter, flags);
    }
    return NEXT(recvmsg, fd, message, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    enum mode mode = step(OP_WRITE, leg_of(fd));

    if (mode == MODE_ERROR)
        return fail();
    if (mode == MODE_SHORT) {
        struct iovec one = first_byte(message->msg_iov, message->msg_iovlen);
        struct msghdr shorter = *message;
        shorter.msg_iov = &one;
        shorter.msg_iovlen = 1;
        return NEXT(sendmsg, fd, &shorter, flags);
    }
    return NEXT(sendmsg, fd, message, flags);
}

/* ---- descriptors ---- */

int accept4(int fd, struct sockaddr *restrict peer, socklen_t *restrict size, int flags)
{
    if (step(OP_ACCEPT, LEG_CLIENT) == MODE_ERROR)
        return fail();
    int accepted = NEXT(accept4, fd, peer, size, flags);
    set_leg(accepted, LEG_CLIENT);
    return accepted;
}

int socket(int domain, int type, int protocol)
{
    if (step(OP_SOCKET, LEG_UPSTREAM) == MODE_ERROR)
        return fail();
    int fd = NEXT(socket, domain, type, protocol);
    /* Listening ones neither read nor write. */
    set_leg(fd, LEG_UPSTREAM);
    return fd;
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    if (step(OP_CONNECT, leg_of(fd)) == MODE_ERROR)
        return fail();
    return NEXT(connect, fd, address, size);
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *set)
{
    if (step(OP_POLL, LEG_UPSTREAM) == MODE_ERROR)
        return fail();
    return NEXT(epoll_pwait, fd, events, n, timeout, set);
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    if (step(OP_POLL, LEG_UPSTREAM) == MODE_ERROR)
        return fail();
    return NEXT(epoll_wait, fd, events, n, timeout);
}

/* ---- names ---- */

static const char domain_name[] = ".inject.test";

static int literal(const char *address, const char *service, const struct addrinfo *hints,
                   struct addrinfo **ret_list)
{
    return NEXT(getaddrinfo, address, service, hints, ret_list);
}

static int made_up(const char *name, const char *service, const struct addrinfo *hints,
                   struct addrinfo **ret_list)
{
    struct addrinfo *rest_of_list = NULL;

    if (strncmp(name, "four.", 5) == 0)
        return literal("127.0.0.1", service, hints, ret_list);
    if (strncmp(name, "six.", 4) == 0)
        return literal("::1", service, hints, ret_list);
    if (strncmp(name, "none.", 5) == 0)
        return EAI_NODATA;
    if (strncmp(name, "both.", 5) != 0)
        return EAI_NONAME;
    int rc = literal("127.0.0.1", service, hints, &rest_of_list);
    if (rc != 0)
        return rc;
    rc = literal("::1", service, hints, ret_list);
    if (rc != 0) {
        freeaddrinfo(rest_of_list);
        return rc;
    }
    (*ret_list)->ai_next = rest_of_list; /* glibc frees a list piece by piece */
    return 0;
}

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict ret_list)
{
    const size_t tail = sizeof(domain_name) - 1;
    size_t n = name != NULL ? strlen(name) : 0;

    if (step(OP_RESOLVE, LEG_UPSTREAM) == MODE_ERROR)
        return atomic_load(&control->value);
    if (n > tail && strcmp(name + n - tail, domain_name) == 0)
        return made_up(name, service, hints, ret_list);
    return NEXT(getaddrinfo, name, service, hints, ret_list);
}
