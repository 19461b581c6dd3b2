/* SPDX-License-Identifier: MIT */
#include "procfs.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

struct procfs_tree procfs_tree(pid_t pid)
{
    struct procfs_tree tree = {.pids = {pid}, .count = 1};
    char path[96];
    long child;

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", (long)pid, (long)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return tree;
    while (tree.count < PROCFS_TREE_MAX && fscanf(file, "%ld", &child) == 1)
        tree.pids[tree.count++] = (pid_t)child;
    fclose(file);
    return tree;
}

uint64_t procfs_cpu_ns(const struct procfs_tree *tree)
{
    uint64_t sum_ns = 0;

    for (int i = 0; i < tree->count; i++) {
        clockid_t clock;
        struct timespec t;

        /*
         * The process's CPU clock counts all threads, ended ones too, to the nanosecond and up
         * to now. /proc/PID/stat has ticks, schedstat is behind by up to a tick.
         */
        if (clock_getcpuclockid(tree->pids[i], &clock) == 0 && clock_gettime(clock, &t) == 0)
            sum_ns += (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    return sum_ns;
}

/* NULL: the process has gone. */
static FILE *open_of(pid_t pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    return fopen(path, "re");
}

uint64_t procfs_user_ns(const struct procfs_tree *tree)
{
    uint64_t ticks = 0;

    for (int i = 0; i < tree->count; i++) {
        FILE *file = open_of(tree->pids[i], "stat");
        uint64_t user;

        if (file == NULL)
            continue;
        /* Its 14th field; the 2nd, the program's name, ends with the last parenthesis. */
        if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64,
                   &user) == 1)
            ticks += user;
        fclose(file);
    }
    return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

uint64_t procfs_rss_bytes(const struct procfs_tree *tree)
{
    uint64_t sum_kb = 0;

    for (int i = 0; i < tree->count; i++) {
        /* smaps_rollup is exact; VmRSS lags by what each thread has not yet added. */
        FILE *file = open_of(tree->pids[i], "smaps_rollup");
        char line[256];
        uint64_t kb;

        if (file == NULL)
            continue;
        while (fgets(line, sizeof(line), file) != NULL) {
            if (sscanf(line, "Rss: %" SCNu64, &kb) == 1)
                sum_kb += kb;
        }
        fclose(file);
    }
    return sum_kb * 1024;
}
