/* SPDX-License-Identifier: MIT */
/*
 * The loops of scan.h for any machine, and the oracle of its test: 8 bytes at a time where that is
 * easy, else one. What each does stands there.
 */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "base/attr.h"

#define SCAN_EACH(byte) (UINT64_C(0x0101010101010101) * (uint8_t)(byte))

static inline uint64_t scan_word(const char *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    return word;
}

/* Not zero when a byte of the word is below limit (<= 0x80). */
static inline uint64_t scan_word_below(uint64_t word, uint8_t limit)
{
    return (word - SCAN_EACH(limit)) & ~word & SCAN_EACH(0x80);
}

static inline uint64_t scan_word_has(uint64_t word, char c)
{
    return scan_word_below(word ^ SCAN_EACH(c), 1);
}

static inline size_t scan_plain_portable(const char *p, size_t n, bool *high)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        uint64_t word = scan_word(p + i);
        if ((scan_word_below(word, 0x20) | scan_word_has(word, '"') | scan_word_has(word, '\\')) !=
            0)
            break;
        *high |= (word & SCAN_EACH(0x80)) != 0;
    }
    for (; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c == '"' || c == '\\')
            break;
        *high |= c >= 0x80;
    }
    return i;
}

static inline size_t scan_copy_plain_portable(char *to, const char *p, size_t n, bool *high)
{
    size_t i = 0;

    for (; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c < 0x20 || c == '"' || c == '\\')
            break;
        *high |= c >= 0x80;
        to[i] = (char)c;
    }
    return i;
}

static inline size_t scan_copy_slash_portable(char *to, const char *p, size_t n)
{
    size_t i = 0;

    for (; i < n && p[i] != '\\'; i++)
        to[i] = p[i];
    return i;
}

static inline size_t scan_line_portable(const char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        uint64_t word = scan_word(p + i);
        if ((scan_word_has(word, '\n') | scan_word_has(word, '\r')) != 0)
            break;
    }
    while (i < n && p[i] != '\n' && p[i] != '\r')
        i++;
    return i;
}

static inline size_t scan_ascii_portable(const char *p, size_t n)
{
    size_t i = 0;

    while (n - i >= 8 && (scan_word(p + i) & SCAN_EACH(0x80)) == 0)
        i += 8;
    while (i < n && (unsigned char)p[i] < 0x80)
        i++;
    return i;
}

static inline size_t scan_quote_portable(const char *p, size_t n)
{
    const char *quote = n == 0 ? NULL : memchr(p, '"', n);

    return quote == NULL ? n : (size_t)(quote - p);
}

static inline size_t scan_find_portable(const char *p, size_t n, const char *text, size_t k)
{
    const char *hit = n < k ? NULL : memmem(p, n, text, k);

    return hit == NULL ? n : (size_t)(hit - p);
}

static inline size_t scan_find_mark_portable(const char *p, size_t n, char first, char second)
{
    for (size_t i = 0; i + 1 < n; i++) {
        if ((p[i] == first && (p[i + 1] == second || p[i + 1] == '\\')) ||
            (p[i] == '\\' && p[i + 1] == 'u'))
            return i;
    }
    return n;
}

static inline size_t scan_bare_portable(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n && (unsigned char)p[i] > ' ' && p[i] != '"' && p[i] != '=' && p[i] != '\\' &&
           p[i] != 0x7f)
        i++;
    return i;
}
