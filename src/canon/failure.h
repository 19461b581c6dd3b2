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
/* Of whom it was asked. */
struct failure_names {
    struct str backend;
    struct str key;   /* "(none)" without one */
    struct str model; /* the upstream's name of it */
};
/* Our error with the upstream's message, all that the client is told (error.said: at most 2 kB of
 * it, borrowed; who redacts it does so before). Who refuses our key is named, its words are not; a
 * model that is not there is named before the upstream's words. The status is the code's: what the
 * client gets is its protocol's word for it. */
void failure_make(const struct event *error, const struct failure_names *names,
                  struct error *ret_error);
/* Seconds to wait that the error itself names, in its words or its JSON: RetryInfo, "try again in
 * 7.66s"; 0: none. body: null where there is none. */
double failure_wait_s(const struct event *error, struct str body, struct arena *arena);
