/* SPDX-License-Identifier: MIT */
/*
 * How long the loops of a program are busy between two looks at their sockets. Preloaded
 * (LD_PRELOAD) into the program under test.
 *
 * What      The longest stretch of a thread's own time from one epoll_wait to the next: so long may
 *           another connection of that thread have to wait. Time of the processor, not of the
 *           clock: what the machine does besides is not counted.
 * How       TURNS_FILE names a file of 16 bytes, which is mapped: nanoseconds of the longest turn,
 *           and how many turns there were. A test writes zeros to begin anew.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct turns {
    _Atomic uint64_t longest_ns;
    _Atomic uint64_t count;
    _Atomic uint64_t measure_ns; /* what a fixed piece of work takes here and now */
};

static struct turns *turns;
static _Thread_local uint64_t begin_ns; /* 0: the thread has not looked yet */

__attribute__((constructor)) static void turns_open(void)
{
    const char *path = getenv("TURNS_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof(*turns), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        turns = p;
    (void)close(fd);
}

static uint64_t busy_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Work that no machine has a special way of doing: each step needs the last one's result, and the
 * bytes are more than a core's own cache keeps. */
static uint64_t measured(void)
{
    static unsigned char bytes[2u << 20];
    uint64_t begin = busy_ns();
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < sizeof(bytes); i += 2) {
        hash = (hash ^ bytes[i]) * 1099511628211u;
        bytes[i] = (unsigned char)(hash >> 56);
    }
    return busy_ns() - begin;
}

/* The first turn after all was set to 0 measures the machine, too. */
static void turn_over(void)
{
    if (turns == NULL || begin_ns == 0)
        return;
    if (atomic_load(&turns->measure_ns) == 0) {
        atomic_store(&turns->measure_ns, measured());
        return;
    }
    uint64_t ns = busy_ns() - begin_ns;
    uint64_t longest = atomic_load(&turns->longest_ns);

    atomic_fetch_add(&turns->count, 1);
    while (ns > longest && !atomic_compare_exchange_weak(&turns->longest_ns, &longest, ns))
        ;
}

int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *mask)
{
    static int (*next)(int, struct epoll_event *, int, int, const sigset_t *);

    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "epoll_pwait");
    turn_over();
    int rc = next(fd, events, n, timeout, mask);
    begin_ns = busy_ns();
    return rc;
}

int epoll_wait(int fd, struct epoll_event *events, int n, int timeout)
{
    return epoll_pwait(fd, events, n, timeout, NULL);
}
