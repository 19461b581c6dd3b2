/* SPDX-License-Identifier: MIT */
/*
 * Finding the end of an HTTP header's name and value, as base/scan.h does for other texts: 16 bytes
 * at a time where the machine has SSE2, each function with its portable twin.
 */
#pragma once

#include "base/scan.h"

static inline size_t scan_token_portable(const char *p, size_t n)
{
    size_t i = 0;

    for (; i < n; i++) {
        unsigned char letter = (unsigned char)(p[i] | 0x20);
        if ((letter < 'a' || letter > 'z') && (p[i] < '0' || p[i] > '9') && p[i] != '-' &&
            p[i] != '_')
            break;
    }
    return i;
}

static inline size_t scan_field_portable(const char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        uint64_t word = scan_word(p + i);
        if ((scan_word_below(word, 0x20) | scan_word_has(word, 0x7f)) != 0)
            break;
    }
    while (i < n && (unsigned char)p[i] >= 0x20 && p[i] != 0x7f)
        i++;
    return i;
}

#if defined(__SSE2__)

/* Length of the prefix of letters, digits, '-' and '_', as names of headers are made of. */
static inline size_t scan_token(const char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        __m128i v = scan_load(p + i);
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
        __m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));
        __m128i go = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('-')),
                                  _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
        go = _mm_or_si128(go, _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter));
        go = _mm_or_si128(go, _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit));
        unsigned goes = (unsigned)_mm_movemask_epi8(go);
        if (goes != 0xffff)
            return i + (unsigned)__builtin_ctz(~goes);
    }
    return i + scan_token_portable(p + i, n - i);
}

/* Length of the prefix without a control character (below 0x20, or 0x7f): what may stand in the
 * value of an HTTP header but for tabs. */
static inline size_t scan_field(const char *p, size_t n)
{
    const __m128i control = _mm_set1_epi8(0x1f);
    const __m128i del = _mm_set1_epi8(0x7f);
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        __m128i v = scan_load(p + i);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, del),
                                    _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        unsigned stops = (unsigned)_mm_movemask_epi8(stop);
        if (stops != 0)
            return i + (unsigned)__builtin_ctz(stops);
    }
    return i + scan_field_portable(p + i, n - i);
}

#else

static inline size_t scan_token(const char *p, size_t n)
{
    return scan_token_portable(p, n);
}

static inline size_t scan_field(const char *p, size_t n)
{
    return scan_field_portable(p, n);
}

#endif
