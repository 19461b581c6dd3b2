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
/* Retry-After's value, a number or a date (RFC 9110, 10.2.3), as seconds from now; false: it is
 * neither. */
bool quota_retry_after(struct str value, int64_t now_ms, double *ret_s);
/* Seconds to wait that retry-after-ms, else retry-after, says; -1: none. */
double quota_told_s(const struct message *m, int64_t now_ms);
/* The same by what other headers say (resets of what is used up). */
double quota_wait_s(const struct message *m, int64_t now_ms);
/* The limit that is used up, as headers name it; -1: none. */
int64_t quota_limit(const struct message *m);
