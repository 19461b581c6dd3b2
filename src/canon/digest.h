/* SPDX-License-Identifier: MIT */
/*
 * What an answer says, however it was cut into events: the texts of each block joined, calls,
 * reasons to stop, the last usage. Two answers that say the same have the same digest: the oracle
 * of tests and fuzzers that change the framing, or the protocol.
 *
 * Left out, because it may differ between answers that say the same: the answer's id, model and
 * time, the upstream's own words and numbers, an error's status (not all protocols say it), where
 * blocks end, keep-alives.
 */
#pragma once

#include "base/buf.h"
#include "canon/event.h"

struct digest;

struct digest *digest_new(void);
/* Takes NULL. */
void digest_free(struct digest **digest);
/* The events must be legal (canon/check). */
void digest_event(struct digest *digest, const struct event *event);
/* One line for each block, STOP, the last USAGE (with usage) and ERROR. */
void digest_write(const struct digest *digest, bool usage, struct buf *out);
