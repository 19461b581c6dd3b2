/* SPDX-License-Identifier: MIT */
/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/* Length of the longest valid prefix; s.n when all is valid. Fast on ASCII. */
PURE_FN size_t utf8_valid_prefix(struct str s);
static inline bool utf8_valid(struct str s)
{
    return utf8_valid_prefix(s) == s.n;
}
/* Length of the maximal invalid part that s begins with (one U+FFFD stands for it), 0 when it
 * begins with a character or is empty. */
PURE_FN size_t utf8_invalid_size(struct str s);
/* Each maximal invalid part becomes one U+FFFD; s itself when it is valid already. */
struct str utf8_repair(struct str s, struct arena *arena);
/* There is something in s that ends a line or steers a terminal, rather than being text: below
 * U+0020, U+007F to U+009F, U+2028, U+2029. */
PURE_FN bool utf8_has_control(struct str s);
/* At most n bytes of s, not cut within a character. */
PURE_FN struct str utf8_head(struct str s, size_t n);
/* Appends a code point's 1–4 bytes; returns how many. cp must be a scalar value. */
size_t utf8_encode(uint32_t cp, char to[4]);
