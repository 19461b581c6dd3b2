/* SPDX-License-Identifier: MIT */
/* The load of the bench: a closed loop of requests, or many streams held open. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct drive_options {
    unsigned port;
    unsigned wake_port; /* hold: the mock upstream, asked to end the silent streams */
    int connections;
    int warmup_ms;
    int time_ms;
    int64_t stagger_ns;  /* between the first requests of two connections */
    pid_t subject;       /* whose CPU or memory is read; 0: nobody's */
    const char *request; /* HTTP, head and body */
    size_t request_n;
    const char *const *needles; /* what must stand in a body, where it is not known to the byte */
    const char *expect;         /* the whole body that must come back; NULL: needles */
    size_t expect_n;
    size_t first_n; /* hold: as much of it comes before the wake */
    /* drive_sessions: DRIVE_SERIAL_DIGITS of the request, at serial_at, say which of so many
     * sessions asks; each in its turn, so many times. */
    size_t serial_at;
    int sessions;
    int times;
};

enum { DRIVE_SERIAL_DIGITS = 8 };

struct drive_result {
    uint64_t answers; /* complete and correct, in the measured time */
    uint64_t body_bytes;
    uint64_t whole_answers; /* in the whole run, */
    uint64_t whole_bytes;   /* and their bodies */
    uint64_t errors;        /* in the whole run */
    const char *why;        /* the first error */
    int64_t wall_ns;
    uint64_t cpu_ns;
    uint64_t user_ns; /* of it, outside of the kernel */
    int64_t first_byte_p50_ns;
    int64_t first_byte_p99_ns;
    int opened; /* hold: streams whose first event came */
    int alive;  /* hold: streams that were still whole at the end */
    uint64_t rss_before;
    uint64_t rss_after;
};

/* Every connection asks again as soon as its answer is complete. */
struct drive_result drive_loop(const struct drive_options *options);

/* Opens one stream per connection, holds them `time_ms`, lets them end. */
struct drive_result drive_hold(const struct drive_options *options);

/* Each session asks as often as it is to; memory is read before and after. */
struct drive_result drive_sessions(const struct drive_options *options);
