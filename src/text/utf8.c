/* SPDX-License-Identifier: MIT */
#include "text/utf8.h"

#include "base/scan.h"

#define REPLACEMENT "\xEF\xBF\xBD"

enum { REPLACEMENT_SIZE = sizeof(REPLACEMENT) - 1 };

/*
 * One character at p, n > 0. Valid: its length. Not valid: the length of the longest part that
 * begins a character (at least 1), which is what one U+FFFD stands for (Unicode, section 3.9).
 */
static size_t step(const char *p, size_t n, bool *ret_valid)
{
    unsigned char lead = (unsigned char)p[0];
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t more;

    *ret_valid = false;
    if (lead < 0x80)
        more = 0;
    else if (lead < 0xC2)
        return 1;
    else if (lead < 0xE0)
        more = 1;
    else if (lead < 0xF0)
        more = 2;
    else if (lead < 0xF5)
        more = 3;
    else
        return 1;
    /* Overlong forms, surrogates and what is above U+10FFFF show in the second byte. */
    low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : low;
    high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : high;
    for (size_t i = 1; i <= more; i++) {
        if (i >= n || (unsigned char)p[i] < low || (unsigned char)p[i] > high)
            return i;
        low = 0x80;
        high = 0xBF;
    }
    *ret_valid = true;
    return more + 1;
}

static inline uint32_t load4(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    /* Compilers make one load of it. */
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* Runs of two- and three-byte characters, the bulk of what is not ASCII, without step's branches.
 * Stops before what it is not sure about. */
static size_t run_prefix(const char *p, size_t n)
{
    size_t i = 0;

    while (n - i >= 4) {
        uint32_t u = load4(p + i);
        if ((u & 0xC0C0F0) == 0x8080E0) {
            uint32_t top = u & 0x200F;
            /* E0 80..9F is overlong, ED A0..BF a surrogate. */
            if (top == 0 || top == 0x200D)
                break;
            i += 3;
        } else if ((u & 0xC0E0) == 0x80C0 && (u & 0x1E) != 0) {
            i += 2;
        } else {
            break;
        }
    }
    return i;
}

size_t utf8_valid_prefix(struct str s)
{
    size_t i = 0;

    while (i < s.n) {
        i += scan_ascii(s.p + i, s.n - i);
        i += run_prefix(s.p + i, s.n - i);
        if (i == s.n)
            break;
        bool valid;
        size_t n = step(s.p + i, s.n - i, &valid);
        if (!valid)
            break;
        i += n;
    }
    assert(i <= s.n);
    return i;
}

size_t utf8_invalid_size(struct str s)
{
    bool valid = true;
    size_t n = s.n == 0 ? 0 : step(s.p, s.n, &valid);

    return valid ? 0 : n;
}

/* The repaired text's length; writes it when to is not NULL. */
static size_t repair(struct str s, char *to)
{
    size_t n = 0;

    while (s.n > 0) {
        size_t good = utf8_valid_prefix(s);
        if (to != NULL && good > 0)
            memcpy(to + n, s.p, good);
        n += good;
        s = str_from(s, good);
        if (s.n == 0)
            break;
        size_t bad = utf8_invalid_size(s);
        assert(bad > 0);
        if (to != NULL)
            memcpy(to + n, REPLACEMENT, REPLACEMENT_SIZE);
        n += REPLACEMENT_SIZE;
        s = str_from(s, bad);
    }
    return n;
}

struct str utf8_repair(struct str s, struct arena *arena)
{
    if (utf8_valid(s))
        return s;
    size_t n = repair(s, NULL);
    char *p = arena_alloc(arena, n);
    if (arena_overflowed(arena))
        return STR("");
    size_t written = repair(s, p);
    assert(written == n);
    return str_of(p, n);
}

bool utf8_has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        unsigned char next = i + 1 < s.n ? (unsigned char)s.p[i + 1] : 0;
        if (c < ' ' || c == 0x7f || (c == 0xC2 && next >= 0x80 && next <= 0x9F))
            return true;
        if (c == 0xE2 && next == 0x80 && i + 2 < s.n &&
            ((unsigned char)s.p[i + 2] == 0xA8 || (unsigned char)s.p[i + 2] == 0xA9))
            return true;
    }
    return false;
}

struct str utf8_head(struct str s, size_t n)
{
    if (n >= s.n)
        return s;
    size_t end = n;
    for (int back = 0; back < 3 && end > 0 && ((unsigned char)s.p[end] & 0xC0) == 0x80; back++)
        end--;
    /* More than three such bytes are no character: cutting there breaks nothing. */
    if (((unsigned char)s.p[end] & 0xC0) == 0x80)
        end = n;
    return str_head(s, end);
}

size_t utf8_encode(uint32_t cp, char to[4])
{
    assert(cp <= 0x10FFFF);
    assert(cp < 0xD800 || cp > 0xDFFF);
    if (cp < 0x80) {
        to[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        to[0] = (char)(0xC0 | cp >> 6);
        to[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        to[0] = (char)(0xE0 | cp >> 12);
        to[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        to[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | cp >> 18);
    to[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    to[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    to[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}
