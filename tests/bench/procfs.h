/* SPDX-License-Identifier: MIT */
/* CPU time and memory of a process together with its direct children (nginx: master, worker). */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define PROCFS_TREE_MAX 32

struct procfs_tree {
    pid_t pids[PROCFS_TREE_MAX];
    int count;
};

/* The process and the children it has now. */
struct procfs_tree procfs_tree(pid_t pid);

/* Nanoseconds on a CPU, all threads. A process that is gone counts 0. */
uint64_t procfs_cpu_ns(const struct procfs_tree *tree);
/* What of it was outside of the kernel, in steps of a clock tick (10 ms). */
uint64_t procfs_user_ns(const struct procfs_tree *tree);

/* Resident bytes. */
uint64_t procfs_rss_bytes(const struct procfs_tree *tree);
