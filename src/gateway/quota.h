/* SPDX-License-Identifier: MIT */
/* What upstreams say of their limits in headers. */
#pragma once

#include "base/buf.h"

struct message;
struct protocol;

/* For clients of the protocol `to`: x-ratelimit-… lines as anthropic-ratelimit-…, or the reverse;
 * nothing where it has none. */
void quota_lines(const struct protocol *from, const struct protocol *to, const struct message *m,
                 int64_t now_ms, struct buf *out);
/* Seconds to wait by all that these headers say of it (retry-after-ms, resets of what is used up);
 * 0: nothing. */
double quota_wait_s(const struct message *m, int64_t now_ms);
