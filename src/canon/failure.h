/* SPDX-License-Identifier: MIT */
/*
 * An upstream's error as one of ours: what class it is of, whatever vendor said it (mapping.md,
 * section 11). Each protocol has its words for the classes; their statuses are error.def's, or the
 * protocol's own.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "canon/event.h"

/* The class of an ERROR event, by its status, type, code and message. UPSTREAM_ERROR: none of the
 * others. */
enum error_code failure_code(const struct event *error);
/* Our error with the upstream's message (at most 2 kB of it count), what the client is told. Who
 * refuses our key is named, its words are not: backend, key: names. */
void failure_make(const struct event *error, struct str backend, struct str key,
                  struct error *ret_error);
/* Seconds to wait that the error itself names, in its words or its JSON: RetryInfo, "try again in
 * 7.66s"; 0: none. body: null where there is none. */
double failure_wait_s(const struct event *error, struct str body, struct arena *arena);
