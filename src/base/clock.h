/* SPDX-License-Identifier: MIT */
/*
 * Time. Only the loop, main and the log ask; everybody else gets the time as an argument (the
 * loop's clock, read once per turn). Times are int64; wall-clock times are milliseconds UTC.
 */
#pragma once

#include <stdint.h>

#include "base/attr.h"

/* Monotonic, milliseconds, arbitrary origin. */
int64_t clock_mono_ms(void);
/* Monotonic, microseconds. */
int64_t clock_mono_us(void);
/* Milliseconds since 1970-01-01T00:00:00Z. */
int64_t clock_real_ms(void);
