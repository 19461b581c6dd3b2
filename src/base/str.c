/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/mem.h"

enum { DISTANCE_MAX = 64 };

static inline unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;
    return (u >= 'A' && u <= 'Z') ? (unsigned char)(u | 0x20) : u;
}

/* Eight bytes with their letters made small: those from A to Z, and no others. */
static inline uint64_t lower_eight(uint64_t bytes)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t low = bytes & each * 0x7f; /* sums of these stay in their bytes */
    uint64_t from_a = low + each * (0x80 - 'A');
    uint64_t past_z = low + each * (0x80 - 'Z' - 1);

    return bytes | ((from_a & ~past_z & ~bytes & each * 0x80) >> 2);
}

static inline bool same_eight(const char *a, const char *b)
{
    uint64_t x;
    uint64_t y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return x == y || lower_eight(x) == lower_eight(y);
}

/* Of 4 to 8 bytes: the first four and the last four. */
static inline bool same_few(const char *a, const char *b, size_t n)
{
    uint32_t x[2];
    uint32_t y[2];

    memcpy(&x[0], a, 4);
    memcpy(&x[1], a + n - 4, 4);
    memcpy(&y[0], b, 4);
    memcpy(&y[1], b + n - 4, 4);
    return same_eight((const char *)x, (const char *)y);
}

bool str_same_letters(const char *a, const char *b, size_t n)
{
    if (n < 4) {
        for (size_t i = 0; i < n; i++) {
            if (lower(a[i]) != lower(b[i]))
                return false;
        }
        return true;
    }
    if (n <= 8)
        return same_few(a, b, n);
    for (size_t i = 0; i + 8 < n; i += 8) {
        if (!same_eight(a + i, b + i))
            return false;
    }
    return same_eight(a + n - 8, b + n - 8);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq(str_from(s, s.n - suffix.n), suffix);
}

size_t str_find_char(struct str s, char c, size_t from)
{
    if (from >= s.n)
        return SIZE_MAX;
    const char *hit = memchr(s.p + from, c, s.n - from);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - s.p);
}

size_t str_find(struct str s, struct str needle, size_t from)
{
    if (from > s.n || needle.n > s.n - from)
        return SIZE_MAX;
    if (needle.n == 0)
        return from;
    const char *hit = memmem(s.p + from, s.n - from, needle.p, needle.n);
    return hit == NULL ? SIZE_MAX : (size_t)(hit - s.p);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim_blanks(struct str s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s = str_from(s, 1);
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_cut(struct str *s, char sep, struct str *ret_part)
{
    assert(s != NULL && ret_part != NULL);
    if (str_is_null(*s))
        return false;
    size_t at = str_find_char(*s, sep, 0);
    if (at == SIZE_MAX) {
        *ret_part = *s;
        *s = STR_NULL;
    } else {
        *ret_part = str_head(*s, at);
        *s = str_from(*s, at + 1);
    }
    return true;
}

/* So few digits that nothing can overflow; -1: something else than digits. */
static int64_t few_digits(struct str s)
{
    int64_t value = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)((unsigned char)s.p[i] - '0');
        if (digit > 9)
            return -1;
        value = value * 10 + (int64_t)digit;
    }
    return value;
}

bool str_to_int64(struct str s, int64_t *ret_value)
{
    enum { FEW = 18 };
    int64_t few = s.n > 0 && s.n <= FEW ? few_digits(s) : -1;

    if (few >= 0) {
        *ret_value = few;
        return true;
    }
    bool negative = s.n > 0 && s.p[0] == '-';
    size_t i = (negative || (s.n > 0 && s.p[0] == '+')) ? 1 : 0;
    int64_t value = 0;

    if (i == s.n)
        return false;
    for (; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        int digit = s.p[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
        if (__builtin_add_overflow(value, negative ? -digit : digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

/* DIGITS or DIGITS.DIGITS, so few of them that both parts of the fraction are exact. */
static bool short_decimal(struct str s, double *ret_value)
{
    enum { DIGITS_MAX = 15 }; /* a double holds each integer so long */
    static const double powers[DIGITS_MAX + 1] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                  1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t point = SIZE_MAX;
    int64_t digits = 0;

    if (s.n == 0 || s.n > DIGITS_MAX || s.p[0] == '.' || s.p[s.n - 1] == '.')
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] >= '0' && s.p[i] <= '9')
            digits = digits * 10 + (s.p[i] - '0');
        else if (s.p[i] == '.' && point == SIZE_MAX)
            point = i;
        else
            return false;
    }
    *ret_value = (double)digits / powers[point == SIZE_MAX ? 0 : s.n - point - 1];
    return true;
}

bool str_to_double(struct str s, double *ret_value)
{
    char z[64];

    if (short_decimal(s, ret_value))
        return true;

    if (s.n == 0 || s.n >= sizeof(z))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (memchr("0123456789+-.eE", s.p[i], 15) == NULL)
            return false;
    }
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    char *end = NULL;
    double value = strtod(z, &end);
    if (end != z + s.n || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

bool str_eq_secret(struct str a, struct str b)
{
    volatile unsigned char differ = (unsigned char)(a.n != b.n);
    /* Walks all of b whatever a is, so that time tells nothing about a match's length. */
    for (size_t i = 0; i < b.n; i++) {
        unsigned char ca = i < a.n ? (unsigned char)a.p[i] : 0;
        differ = (unsigned char)(differ | (ca ^ (unsigned char)b.p[i]));
    }
    return differ == 0;
}

size_t str_distance(struct str a, struct str b, size_t limit)
{
    size_t row[DISTANCE_MAX + 1];

    if (a.n > DISTANCE_MAX || b.n > DISTANCE_MAX)
        return limit + 1;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t up = row[j];
            size_t best = diagonal + (lower(a.p[i - 1]) != lower(b.p[j - 1]));
            best = up + 1 < best ? up + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[b.n] > limit ? limit + 1 : row[b.n];
}

struct str str_copy(struct arena *arena, struct str s)
{
    if (str_is_null(s))
        return s;
    if (s.n == 0)
        return STR("");
    char *p = arena_alloc(arena, s.n);
    if (arena_overflowed(arena))
        return STR("");
    memcpy(p, s.p, s.n);
    return str_of(p, s.n);
}

char *str_z(struct arena *arena, struct str s)
{
    char *p = arena_alloc(arena, s.n + 1);
    if (arena_overflowed(arena)) {
        p[0] = '\0';
        return p;
    }
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}

struct str str_print(struct arena *arena, const char *format, ...)
{
    char small[256];
    va_list args;
    va_list again;

    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n < sizeof(small)) {
        va_end(again);
        return str_copy(arena, str_of(small, (size_t)n));
    }
    char *p = arena_alloc(arena, (size_t)n + 1);
    if (!arena_overflowed(arena))
        (void)vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return arena_overflowed(arena) ? STR("") : str_of(p, (size_t)n);
}

char *str_dup(struct str s)
{
    char *z = mem_raw(s.n + 1);
    if (s.n > 0)
        memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    return z;
}
