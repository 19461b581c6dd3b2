/* SPDX-License-Identifier: MIT */
/*
 * Finding what matters in JSON strings, a block of SCAN_BLOCK bytes at a time, without a branch
 * within the block: the exit of a loop over less is hardly ever foreseen. As in scan.h each
 * function has its portable twin, and some have one with wider registers for machines that have
 * them.
 */
#pragma once

#include "base/scan.h"

#if defined(__SSE2__)
#include <immintrin.h>
#define SCAN_WIDE __attribute__((target("avx2")))
#else
#define SCAN_WIDE
#endif

enum { SCAN_BLOCK = 64 };

/* quotes, slashes: one bit a byte, bit 0 is the first. */
struct scan_bits {
    uint64_t quotes;
    uint64_t slashes;
    bool controls; /* there is a byte below 0x20 */
    bool highs;    /* there is a byte of 0x80 or above */
};

/* Outside strings: what opens an object or array, and what closes one. A bit a byte, too. */
struct scan_braces {
    uint64_t opens;
    uint64_t closes;
};

/*
 * The bytes that a backslash escapes, as bits: every second one of a run of backslashes, and the
 * byte after a run of odd length. Runs are short, so they are walked; single ones all at once.
 */
static inline uint64_t scan_block_escaped(uint64_t slashes)
{
    uint64_t pairs = slashes & (slashes << 1);
    uint64_t escaped = 0;

    if (LIKELY(pairs == 0))
        return slashes << 1;
    while (slashes != 0) {
        uint64_t slash = slashes & (~slashes + 1);
        escaped |= slash << 1;
        slashes &= ~(slash | slash << 1);
    }
    return escaped;
}

static inline bool scan_short_portable(const char *p, size_t *ret_at)
{
    for (size_t i = 0; i < 16; i++) {
        unsigned char c = (unsigned char)p[i];
        *ret_at = i;
        if (c == '"')
            return true;
        if (c < 0x20 || c == '\\' || c >= 0x80)
            return false;
    }
    return false;
}

static inline void scan_block_portable(const char *p, struct scan_bits *ret_bits)
{
    uint64_t quotes = 0;
    uint64_t slashes = 0;

    ret_bits->controls = false;
    ret_bits->highs = false;
    for (unsigned i = 0; i < SCAN_BLOCK; i++) {
        unsigned char c = (unsigned char)p[i];
        quotes |= (uint64_t)(c == '"') << i;
        slashes |= (uint64_t)(c == '\\') << i;
        ret_bits->controls |= c < 0x20;
        ret_bits->highs |= c >= 0x80;
    }
    ret_bits->quotes = quotes;
    ret_bits->slashes = slashes;
}

static inline uint64_t scan_block_escapes_portable(const char *p)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < SCAN_BLOCK; i++)
        bits |= (uint64_t)(p[i] != '\0' && strchr("\"\\/bfnrt", p[i]) != NULL) << i;
    return bits;
}

static inline void scan_block_braces_portable(const char *p, struct scan_braces *ret_braces)
{
    uint64_t opens = 0;
    uint64_t closes = 0;

    for (unsigned i = 0; i < SCAN_BLOCK; i++) {
        opens |= (uint64_t)(p[i] == '{' || p[i] == '[') << i;
        closes |= (uint64_t)(p[i] == '}' || p[i] == ']') << i;
    }
    ret_braces->opens = opens;
    ret_braces->closes = closes;
}

#if defined(__SSE2__)

/* Whether the first of the 16 bytes at p that is not a plain ASCII character is a quote; *ret_at:
 * where. Most keys and values are this short. */
static inline bool scan_short(const char *p, size_t *ret_at)
{
    const __m128i control = _mm_set1_epi8(0x1f);
    __m128i v = scan_load(p);
    __m128i other = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')),
                                 _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
    unsigned quotes = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    /* A byte >= 0x80 has its sign bit set: it counts as something else too. */
    unsigned others = (unsigned)_mm_movemask_epi8(_mm_or_si128(other, v));
    unsigned before = quotes ^ (quotes - 1);

    *ret_at = (unsigned)__builtin_ctz(quotes | 0x10000);
    return quotes != 0 && (others & before) == 0;
}

static inline uint64_t scan_block_equal(const __m128i v[4], char c)
{
    __m128i want = _mm_set1_epi8(c);
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[0], want)) |
           (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[1], want)) << 16 |
           (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[2], want)) << 32 |
           (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v[3], want)) << 48;
}

/* What stands among the SCAN_BLOCK bytes at p. One long step without a branch in it: the exit of a
 * loop over less is hardly ever foreseen. */
static inline void scan_block(const char *p, struct scan_bits *ret_bits)
{
    const __m128i v[4] = {scan_load(p), scan_load(p + 16), scan_load(p + 32), scan_load(p + 48)};
    /* Unsigned minimum and the sign bits: once for all of the block. */
    __m128i least = _mm_min_epu8(_mm_min_epu8(v[0], v[1]), _mm_min_epu8(v[2], v[3]));
    __m128i all = _mm_or_si128(_mm_or_si128(v[0], v[1]), _mm_or_si128(v[2], v[3]));
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(least, _mm_set1_epi8(0x1f)), least);

    ret_bits->quotes = scan_block_equal(v, '"');
    ret_bits->slashes = scan_block_equal(v, '\\');
    ret_bits->controls = _mm_movemask_epi8(control) != 0;
    ret_bits->highs = _mm_movemask_epi8(all) != 0;
}

/* Square and curly ones differ in one bit, and nothing else becomes one of them by it. */
static inline void scan_block_braces(const char *p, struct scan_braces *ret_braces)
{
    const __m128i bit = _mm_set1_epi8(0x20);
    const __m128i v[4] = {_mm_or_si128(scan_load(p), bit), _mm_or_si128(scan_load(p + 16), bit),
                          _mm_or_si128(scan_load(p + 32), bit),
                          _mm_or_si128(scan_load(p + 48), bit)};

    ret_braces->opens = scan_block_equal(v, '{');
    ret_braces->closes = scan_block_equal(v, '}');
}

static inline unsigned scan_escapes_part(__m128i v)
{
    __m128i a = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('n')),
                             _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
    __m128i b = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('t')),
                             _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
    __m128i c = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('r')),
                             _mm_cmpeq_epi8(v, _mm_set1_epi8('/')));
    __m128i d = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('b')),
                             _mm_cmpeq_epi8(v, _mm_set1_epi8('f')));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)));
}

/* The bytes of the block that make an escape of two after a backslash. */
static inline uint64_t scan_block_escapes(const char *p)
{
    return (uint64_t)scan_escapes_part(scan_load(p)) |
           (uint64_t)scan_escapes_part(scan_load(p + 16)) << 16 |
           (uint64_t)scan_escapes_part(scan_load(p + 32)) << 32 |
           (uint64_t)scan_escapes_part(scan_load(p + 48)) << 48;
}

/*
 * The same with registers twice as wide, for machines that have them. Which these are is asked at
 * run time (scan_is_wide): the program is built for every x86-64.
 */
static inline bool scan_is_wide(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

SCAN_WIDE static inline uint64_t scan_wide_mask(__m256i first, __m256i second)
{
    return (uint64_t)(unsigned)_mm256_movemask_epi8(first) |
           (uint64_t)(unsigned)_mm256_movemask_epi8(second) << 32;
}

SCAN_WIDE static inline __m256i scan_wide_load(const char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

SCAN_WIDE static inline void scan_block_wide(const char *p, struct scan_bits *ret_bits)
{
    const __m256i quote = _mm256_set1_epi8('"');
    const __m256i slash = _mm256_set1_epi8('\\');
    __m256i a = scan_wide_load(p);
    __m256i b = scan_wide_load(p + 32);
    __m256i least = _mm256_min_epu8(a, b);
    __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(least, _mm256_set1_epi8(0x1f)), least);

    ret_bits->quotes = scan_wide_mask(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(b, quote));
    ret_bits->slashes = scan_wide_mask(_mm256_cmpeq_epi8(a, slash), _mm256_cmpeq_epi8(b, slash));
    ret_bits->controls = _mm256_movemask_epi8(control) != 0;
    ret_bits->highs = _mm256_movemask_epi8(_mm256_or_si256(a, b)) != 0;
}

SCAN_WIDE static inline void scan_block_braces_wide(const char *p, struct scan_braces *ret_braces)
{
    const __m256i bit = _mm256_set1_epi8(0x20);
    const __m256i open = _mm256_set1_epi8('{');
    const __m256i close = _mm256_set1_epi8('}');
    __m256i a = _mm256_or_si256(scan_wide_load(p), bit);
    __m256i b = _mm256_or_si256(scan_wide_load(p + 32), bit);

    ret_braces->opens = scan_wide_mask(_mm256_cmpeq_epi8(a, open), _mm256_cmpeq_epi8(b, open));
    ret_braces->closes = scan_wide_mask(_mm256_cmpeq_epi8(a, close), _mm256_cmpeq_epi8(b, close));
}

/* All but "\/bfnrt. Their high nibbles are 2 5 6 7, a bit each; the row of a low nibble has the
 * bits of the high ones that it goes with. */
SCAN_WIDE static inline __m256i scan_wide_no_escape(__m256i v)
{
    const __m256i rows = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 13, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1));
    const __m256i bits = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0));
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
    __m256i both = _mm256_and_si256(_mm256_shuffle_epi8(rows, v), _mm256_shuffle_epi8(bits, high));
    return _mm256_cmpeq_epi8(both, _mm256_setzero_si256());
}

SCAN_WIDE static inline uint64_t scan_block_escapes_wide(const char *p)
{
    return ~scan_wide_mask(scan_wide_no_escape(scan_wide_load(p)),
                           scan_wide_no_escape(scan_wide_load(p + 32)));
}

#else

static inline bool scan_short(const char *p, size_t *ret_at)
{
    return scan_short_portable(p, ret_at);
}

static inline void scan_block(const char *p, struct scan_bits *ret_bits)
{
    scan_block_portable(p, ret_bits);
}

static inline uint64_t scan_block_escapes(const char *p)
{
    return scan_block_escapes_portable(p);
}

static inline void scan_block_braces(const char *p, struct scan_braces *ret_braces)
{
    scan_block_braces_portable(p, ret_braces);
}

static inline void scan_block_braces_wide(const char *p, struct scan_braces *ret_braces)
{
    scan_block_braces_portable(p, ret_braces);
}

static inline bool scan_is_wide(void)
{
    return false;
}

static inline void scan_block_wide(const char *p, struct scan_bits *ret_bits)
{
    scan_block_portable(p, ret_bits);
}

static inline uint64_t scan_block_escapes_wide(const char *p)
{
    return scan_block_escapes_portable(p);
}

#endif
