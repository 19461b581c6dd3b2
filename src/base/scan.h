/* SPDX-License-Identifier: MIT */
/*
 * Finding the next byte that matters: the innermost loops of the parsers, 16 bytes at a time where
 * the machine has SSE2 (each x86-64 does), else 8 at a time in a register. Nothing is read past n.
 * Each function has its portable twin in scan_portable.h, so that a test can compare the two.
 */
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/scan_portable.h"

/* What is written to may be written that far behind what is asked for. */
enum { SCAN_SLACK = 16 };

#if defined(__SSE2__)

static inline __m128i scan_load(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* The n bytes at p, less than 16 and more than none, with zeros behind them. */
static inline __m128i scan_load_part(const char *p, size_t n)
{
    uint64_t low;
    uint64_t high = 0;

    if (n >= 8) {
        low = scan_word(p);
        high = scan_word(p + n - 8) >> 8 * (15 - n) >> 8;
    } else if (n >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, p, sizeof(first));
        memcpy(&last, p + n - 4, sizeof(last));
        low = first | (uint64_t)last << 8 * (n - 4);
    } else {
        low = (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[n / 2] << 8 * (n / 2) |
              (uint64_t)(unsigned char)p[n - 1] << 8 * (n - 1);
    }
    return _mm_set_epi64x((int64_t)high, (int64_t)low);
}

/* Length of the prefix without a control character (below 0x20), a quote or a backslash: what may
 * stand in a JSON string as it is. *high becomes true when that prefix holds a byte >= 0x80, else
 * it stays as it was. */
static inline size_t scan_plain(const char *p, size_t n, bool *high)
{
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    unsigned seen = 0;
    size_t i = 0;

    for (; i < n; i += 16) {
        size_t left = n - i;
        __m128i v = LIKELY(left >= 16) ? scan_load(p + i) : scan_load_part(p + i, left);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        /* What is behind the text stops, too: it is zeros. */
        unsigned stops = (unsigned)_mm_movemask_epi8(stop);
        unsigned highs = (unsigned)_mm_movemask_epi8(v);
        if (stops != 0) {
            unsigned k = (unsigned)__builtin_ctz(stops);
            seen |= highs & ((1u << k) - 1);
            *high |= seen != 0;
            return i + k;
        }
        seen |= highs;
    }
    *high |= seen != 0;
    return n;
}

/* As scan_plain, with the prefix copied to `to`, which has room for n + SCAN_SLACK bytes; what lies
 * there behind the prefix is undefined afterwards. */
static inline size_t scan_copy_plain(char *to, const char *p, size_t n, bool *high)
{
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    unsigned seen = 0;
    size_t i = 0;

    for (; i < n; i += 16) {
        size_t left = n - i;
        __m128i v = LIKELY(left >= 16) ? scan_load(p + i) : scan_load_part(p + i, left);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        /* What is behind the text stops, too: it is zeros. */
        unsigned stops = (unsigned)_mm_movemask_epi8(stop);
        unsigned highs = (unsigned)_mm_movemask_epi8(v);
        _mm_storeu_si128((__m128i *)(void *)(to + i), v);
        if (stops != 0) {
            unsigned k = (unsigned)__builtin_ctz(stops);
            *high |= (seen | (highs & ((1u << k) - 1))) != 0;
            return i + k;
        }
        seen |= highs;
    }
    *high |= seen != 0;
    return n;
}

/* Copies the prefix without a backslash and returns its length; room as above. */
static inline size_t scan_copy_slash(char *to, const char *p, size_t n)
{
    const __m128i slash = _mm_set1_epi8('\\');

    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        __m128i v = LIKELY(left >= 16) ? scan_load(p + i) : scan_load_part(p + i, left);
        unsigned stops = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, slash));
        _mm_storeu_si128((__m128i *)(void *)(to + i), v);
        if (stops != 0)
            return i + (unsigned)__builtin_ctz(stops);
    }
    return n;
}

/* Length of the prefix without CR and LF. */
static inline size_t scan_line(const char *p, size_t n)
{
    const __m128i lf = _mm_set1_epi8('\n');
    const __m128i cr = _mm_set1_epi8('\r');
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        __m128i v = scan_load(p + i);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, lf), _mm_cmpeq_epi8(v, cr));
        unsigned stops = (unsigned)_mm_movemask_epi8(stop);
        if (stops != 0)
            return i + (unsigned)__builtin_ctz(stops);
    }
    return i + scan_line_portable(p + i, n - i);
}

/* Length of the prefix that may stand in a line of the log as it is: without control characters
 * (DEL too), blanks, '"', '=' and '\\'. */
static inline size_t scan_bare(const char *p, size_t n)
{
    const __m128i blank = _mm_set1_epi8(' ');

    for (size_t i = 0; i < n; i += 16) {
        size_t left = n - i;
        __m128i v = LIKELY(left >= 16) ? scan_load(p + i) : scan_load_part(p + i, left);
        __m128i stop = _mm_cmpeq_epi8(_mm_min_epu8(v, blank), v);
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, _mm_set1_epi8('=')));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
        /* What is behind the text stops, too: it is zeros. */
        unsigned stops = (unsigned)_mm_movemask_epi8(stop);
        if (stops != 0)
            return i + (unsigned)__builtin_ctz(stops);
    }
    return n;
}

/* Length of the prefix of bytes below 0x80. */
static inline size_t scan_ascii(const char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 16; i += 16) {
        unsigned highs = (unsigned)_mm_movemask_epi8(scan_load(p + i));
        if (highs != 0)
            return i + (unsigned)__builtin_ctz(highs);
    }
    return i + scan_ascii_portable(p + i, n - i);
}

/* Length of the prefix without a quote. Most strings are short: a call costs more than looking. */
static inline size_t scan_quote(const char *p, size_t n)
{
    const __m128i quote = _mm_set1_epi8('"');
    size_t i = 0;

    for (; n - i >= 16 && i < 128; i += 16) {
        unsigned hits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(scan_load(p + i), quote));
        if (hits != 0)
            return i + (unsigned)__builtin_ctz(hits);
    }
    return i + scan_quote_portable(p + i, n - i);
}

/* Where the text of k >= 2 bytes first stands in p[0..n), n without it. For rare ones: where both
 * its ends fit, it is compared. */
static inline size_t scan_find(const char *p, size_t n, const char *text, size_t k)
{
    const __m128i first = _mm_set1_epi8(text[0]);
    const __m128i last = _mm_set1_epi8(text[k - 1]);
    size_t i = 0;

    for (; n - i >= 16 + k - 1; i += 16) {
        __m128i both = _mm_and_si128(_mm_cmpeq_epi8(scan_load(p + i), first),
                                     _mm_cmpeq_epi8(scan_load(p + i + k - 1), last));
        unsigned hits = (unsigned)_mm_movemask_epi8(both);
        for (; UNLIKELY(hits != 0); hits &= hits - 1) {
            size_t at = i + (unsigned)__builtin_ctz(hits);
            if (memcmp(p + at, text, k) == 0)
                return at;
        }
    }
    return i + scan_find_portable(p + i, n - i, text, k);
}

/* The bytes of v that scan_find_mark looks for; w: the same, one further on. */
static inline __m128i scan_mark(__m128i v, __m128i w, char first, char second)
{
    const __m128i slash = _mm_set1_epi8('\\');
    __m128i plain = _mm_or_si128(_mm_cmpeq_epi8(w, _mm_set1_epi8(second)),
                                 _mm_cmpeq_epi8(w, slash));
    __m128i coded = _mm_and_si128(_mm_cmpeq_epi8(v, slash), _mm_cmpeq_epi8(w, _mm_set1_epi8('u')));

    return _mm_or_si128(_mm_and_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(first)), plain), coded);
}

/* Where in p[0..n), text or JSON source, two characters may first stand, n: nowhere: the first with
 * the second or a backslash behind it, or a backslash and 'u'. first is none that may be escaped
 * otherwise. */
static inline size_t scan_find_mark(const char *p, size_t n, char first, char second)
{
    size_t i = 0;

    for (; n - i > 64; i += 64) {
        __m128i any = _mm_setzero_si128();
        for (size_t k = i; k < i + 64; k += 16)
            any = _mm_or_si128(any,
                               scan_mark(scan_load(p + k), scan_load(p + k + 1), first, second));
        if (UNLIKELY(_mm_movemask_epi8(any) != 0))
            break;
    }
    for (; n > 16 && i + 1 < n; i += 16) {
        size_t at = i < n - 17 ? i : n - 17;
        unsigned hits = (unsigned)_mm_movemask_epi8(
            scan_mark(scan_load(p + at), scan_load(p + at + 1), first, second));
        if (hits != 0)
            return at + (unsigned)__builtin_ctz(hits);
    }
    return n > 16 ? n : scan_find_mark_portable(p, n, first, second);
}

#else

static inline size_t scan_find_mark(const char *p, size_t n, char first, char second)
{
    return scan_find_mark_portable(p, n, first, second);
}

static inline size_t scan_quote(const char *p, size_t n)
{
    return scan_quote_portable(p, n);
}

static inline size_t scan_find(const char *p, size_t n, const char *text, size_t k)
{
    return scan_find_portable(p, n, text, k);
}

static inline size_t scan_plain(const char *p, size_t n, bool *high)
{
    return scan_plain_portable(p, n, high);
}

static inline size_t scan_copy_plain(char *to, const char *p, size_t n, bool *high)
{
    return scan_copy_plain_portable(to, p, n, high);
}

static inline size_t scan_copy_slash(char *to, const char *p, size_t n)
{
    return scan_copy_slash_portable(to, p, n);
}

static inline size_t scan_line(const char *p, size_t n)
{
    return scan_line_portable(p, n);
}

static inline size_t scan_ascii(const char *p, size_t n)
{
    return scan_ascii_portable(p, n);
}

static inline size_t scan_bare(const char *p, size_t n)
{
    return scan_bare_portable(p, n);
}

#endif
