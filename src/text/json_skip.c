/* SPDX-License-Identifier: MIT */
#include "text/json_skip.h"

/* Each bit: whether an odd number of bits is set up to and with it. */
static inline uint64_t odd_so_far(uint64_t bits)
{
    /* A loop would be left as one. */
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    return bits ^ bits << 32;
}

/* A block that begins at p; blanks stand for what the text has no more. */
static ALWAYS_INLINE const char *whole_block(const char *p, size_t n, char room[SCAN_BLOCK])
{
    if (LIKELY(n >= SCAN_BLOCK))
        return p;
    memset(room, ' ', SCAN_BLOCK);
    memcpy(room, p, n);
    return room;
}

/* The quotes that no backslash escapes. *ret_step: where the next block begins: with a backslash
 * that is the last byte of this one, as it escapes the next one's first. */
static ALWAYS_INLINE uint64_t block_quotes(const char *p, bool wide, size_t *ret_step)
{
    struct scan_bits bits;

    if (wide)
        scan_block_wide(p, &bits);
    else
        scan_block(p, &bits);
    *ret_step = SCAN_BLOCK;
    if (LIKELY(bits.slashes == 0))
        return bits.quotes;
    uint64_t escaped = scan_block_escaped(bits.slashes);
    if ((bits.slashes & ~escaped) >> (SCAN_BLOCK - 1) != 0)
        *ret_step = SCAN_BLOCK - 1;
    return bits.quotes & ~escaped;
}

static ALWAYS_INLINE size_t skip_string(struct str s, size_t at, bool wide)
{
    UNINITIALIZED char room[SCAN_BLOCK];
    size_t step;

    for (size_t i = at + 1; i < s.n; i += step) {
        const char *block = whole_block(s.p + i, s.n - i, room);
        uint64_t quotes = block_quotes(block, wide, &step);
        if (quotes != 0)
            return i + (size_t)__builtin_ctzll(quotes) + 1;
    }
    return SIZE_MAX;
}

/* How many bits are set in a mask of a few. */
static ALWAYS_INLINE size_t count(uint64_t bits)
{
    return (size_t)__builtin_popcountll(bits);
}

static ALWAYS_INLINE size_t skip_container(struct str s, size_t at, bool wide)
{
    UNINITIALIZED char room[SCAN_BLOCK];
    uint64_t in_string = 0; /* all ones: the block begins within one */
    size_t depth = 0;
    size_t step;

    for (size_t i = at; i < s.n; i += step) {
        struct scan_braces braces;
        const char *block = whole_block(s.p + i, s.n - i, room);
        uint64_t quotes = block_quotes(block, wide, &step);
        /* Most blocks are the midst of a text. */
        if (quotes == 0 && in_string != 0)
            continue;
        uint64_t strings = odd_so_far(quotes) ^ in_string;
        if (wide)
            scan_block_braces_wide(block, &braces);
        else
            scan_block_braces(block, &braces);
        in_string = 0 - (strings >> (SCAN_BLOCK - 1));
        uint64_t opens = braces.opens & ~strings;
        uint64_t closes = braces.closes & ~strings;
        if ((opens | closes) == 0)
            continue;
        for (; closes != 0; closes &= closes - 1) {
            uint64_t before = (closes & (~closes + 1)) - 1;
            depth += count(opens & before);
            opens &= ~before;
            if (--depth == 0)
                return i + (size_t)__builtin_ctzll(closes) + 1;
        }
        depth += count(opens);
    }
    return SIZE_MAX;
}

SCAN_WIDE static size_t skip_string_wide(struct str s, size_t at)
{
    return skip_string(s, at, true);
}

SCAN_WIDE static size_t skip_container_wide(struct str s, size_t at)
{
    return skip_container(s, at, true);
}

size_t json_skip_long_string(struct str s, size_t at)
{
    assert(at < s.n && s.p[at] == '"');
    return scan_is_wide() ? skip_string_wide(s, at) : skip_string(s, at, false);
}

size_t json_skip_container(struct str s, size_t at)
{
    assert(at < s.n && (s.p[at] == '{' || s.p[at] == '['));
    return scan_is_wide() ? skip_container_wide(s, at) : skip_container(s, at, false);
}
