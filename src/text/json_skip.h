/* SPDX-License-Identifier: MIT */
/*
 * Stepping over the values of a valid JSON text, by their quotes and brackets alone. Over text that
 * was not checked the places are wrong, but lie in it.
 */
#pragma once

#include "base/scan_block.h"
#include "base/str.h"

/* All take the offset of a value's first byte (of a string: its opening quote) and return that of
 * the byte behind it, SIZE_MAX where the text ends before. */
size_t json_skip_container(struct str s, size_t at);
size_t json_skip_long_string(struct str s, size_t at);

static inline size_t json_skip_string(struct str s, size_t at)
{
    size_t n = 0;

    if (LIKELY(s.n - at > 16) && scan_short(s.p + at + 1, &n))
        return at + 1 + n + 1;
    return json_skip_long_string(s, at);
}
