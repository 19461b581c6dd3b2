/* SPDX-License-Identifier: MIT */
/*
 * Decimal digits, put where there is room for them: for texts that each request has several of.
 * Each returns the place behind what it put, and ends nothing with a NUL.
 */
#pragma once

#include <string.h>

#include "base/attr.h"

/* Room for any number, with its sign. */
enum { DIGITS_MAX = 20 };

/* "00" to "99", one behind the other. */
extern const char digits_pairs[201];

/* Of value < 100. */
static inline char *digits_two(char *at, unsigned value)
{
    assert(value < 100);
    memcpy(at, digits_pairs + (size_t)value * 2, 2);
    return at + 2;
}

/* Of value < 1000. */
static inline char *digits_three(char *at, unsigned value)
{
    *at = (char)('0' + value / 100);
    return digits_two(at + 1, value % 100);
}

/* Without leading zeros. */
char *digits_whole(char *at, uint64_t value);
char *digits_int(char *at, int64_t value);
