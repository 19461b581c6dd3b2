/* SPDX-License-Identifier: MIT */
/* Values that several of these answers have. */
#pragma once

#include "base/buf.h"

/* RFC 3339, UTC, to the millisecond; null before 1970. */
void admin_json_time(struct buf *out, int64_t ms);
/* Milliseconds with three decimals; null below 0. */
void admin_json_us(struct buf *out, int64_t us);
/* A string, null where it is null. */
void admin_json_text(struct buf *out, struct str text);
