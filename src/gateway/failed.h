/* SPDX-License-Identifier: MIT */
/* An upstream's error for a client of another protocol. */
#pragma once

#include "base/str.h"
#include "canon/event.h"

struct exchange;

/* An upstream's error (its text may lie in scratch): x's call has it as ours, with the upstream's
 * words. body: of the answer, null without one. */
void failed_told(struct exchange *x, const struct event *error, struct str body);
/* How long an upstream's error says to wait, in its head, its words or its limits; -1: it does not.
 * body: as above. */
int64_t failed_wait_ms(struct exchange *x, const struct event *error, struct str body);
/* The same of a whole answer with an error's status. */
void failed_whole(struct exchange *x, struct str body);
