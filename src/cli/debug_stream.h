/* SPDX-License-Identifier: MIT */
/*
 * llm-proxy debug-stream [--url URL] [--model M] [PROMPT]
 *
 * A client that asks for a stream and prints each event with the milliseconds since the request and
 * since the last event.
 */
#pragma once

#include <stdio.h>

enum {
    DEBUG_STREAM_OK = 0,
    DEBUG_STREAM_FAILED = 1,
    DEBUG_STREAM_USAGE = 2,
    DEBUG_STREAM_INTERRUPTED = 130 /* SIGINT, SIGTERM */
};

/* argv: what stands behind the command's name. The prompt may come from in; events go to out, what
 * went wrong to err. Returns the exit code. Blocks; no other thread may run that takes SIGINT,
 * SIGTERM or SIGUSR1. */
int debug_stream_run(int argc, char *const *argv, FILE *in, FILE *out, FILE *err);
