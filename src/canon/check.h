/* SPDX-License-Identifier: MIT */
/*
 * The grammar of events (canon/event.h) as a checker: the oracle of tests and fuzzers, and in
 * debug builds of what we encode.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "canon/event.h"

struct check;

/* State in the arena, bounded: at most choices_max choices (128) and blocks per choice (4096). */
struct check *check_new(struct arena *arena);
/* INTERNAL with what is wrong and at which event; after a failure every later call fails. */
NODISCARD enum error_code check_event(struct check *check, const struct event *event,
                                      struct error *e);
/* The answer has ended. complete: it claims success: each choice that began must have its STOP and
 * no block open. */
NODISCARD enum error_code check_end(struct check *check, bool complete, struct error *e);
