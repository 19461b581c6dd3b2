/* SPDX-License-Identifier: MIT */
/* How many tokens a request has (OP_COUNT_TOKENS). */
#pragma once

#include "base/attr.h"
#include "base/buf.h"

struct exchange;

/* Nobody can be asked. */
bool count_is_ours(const struct exchange *x);
/* How many it has, about. The request is full. */
void count_estimate(struct exchange *x, struct buf *out);
/* The backend's answer says that it cannot count at all. */
bool count_is_refused(const struct exchange *x, struct str body);
/* The answer for the client from that of a backend of another protocol; false: it is no number. */
NODISCARD bool count_translate(struct exchange *x, struct str body, struct buf *out);
