/* SPDX-License-Identifier: MIT */
#include "text/json_string.h"

#include "base/scan.h"
#include "text/utf8.h"

enum { REPLACEMENT_CHARACTER = 0xFFFD, UNICODE_ESCAPE_SIZE = 6, PAIR_SIZE = 12 };

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* \uXXXX at p; false when it is none within n. */
static bool unicode_escape(const char *p, size_t n, uint32_t *ret_unit)
{
    uint32_t unit = 0;

    if (n < UNICODE_ESCAPE_SIZE || p[0] != '\\' || p[1] != 'u')
        return false;
    for (int i = 2; i < UNICODE_ESCAPE_SIZE; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return false;
        unit = unit << 4 | (uint32_t)digit;
    }
    *ret_unit = unit;
    return true;
}

/* What the character after a backslash stands for; 0 for u and for what may not stand there. */
static inline char simple_escape(char c)
{
    static const char meanings[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };
    return meanings[(unsigned char)c];
}

/* Length of the escape at p, p[0] a backslash; 0 when it is not valid or cut off. A surrogate is
 * an escape of its own here: the grammar asks no more (RFC 8259, section 7). */
static inline size_t escape_size(const char *p, size_t n)
{
    uint32_t unit;

    if (n >= 2 && simple_escape(p[1]) != '\0')
        return 2;
    return unicode_escape(p, n, &unit) ? UNICODE_ESCAPE_SIZE : 0;
}

size_t json_string_scan(const char *p, size_t n, bool *ret_escaped)
{
    bool escaped = false;
    size_t i = 0;

    for (;;) {
        bool high = false;
        size_t run = scan_plain(p + i, n - i, &high);
        /* A character never reaches over a run's end: what ends it is ASCII. */
        if (UNLIKELY(high) && !utf8_valid(str_of(p + i, run)))
            return SIZE_MAX;
        i += run;
        if (UNLIKELY(i == n))
            return SIZE_MAX;
        if (p[i] == '"')
            break;
        if (p[i] != '\\')
            return SIZE_MAX;
        size_t escape = escape_size(p + i, n - i);
        if (escape == 0)
            return SIZE_MAX;
        i += escape;
        escaped = true;
    }
    *ret_escaped = escaped;
    return i;
}

size_t json_string_skip(const char *p, size_t n, bool *ret_escaped)
{
    bool escaped = false;
    bool high = false;
    size_t i = 0;

    for (;;) {
        i += scan_plain(p + i, n - i, &high);
        if (i >= n)
            return SIZE_MAX;
        if (p[i] == '"')
            break;
        if (n - i < 2)
            return SIZE_MAX;
        escaped = true;
        i += 2;
    }
    *ret_escaped = escaped;
    return i;
}

const char *json_string_fault(const char *p, size_t n, size_t *ret_at)
{
    size_t i = 0;

    for (;;) {
        bool high = false;
        size_t run = scan_plain(p + i, n - i, &high);
        size_t good = utf8_valid_prefix(str_of(p + i, run));
        *ret_at = i + good;
        if (good < run)
            return "invalid UTF-8";
        i += run;
        if (i == n)
            return "unterminated string";
        assert(p[i] != '"');
        if (p[i] != '\\')
            return "control character in a string";
        size_t escape = escape_size(p + i, n - i);
        if (escape == 0)
            return n - i < UNICODE_ESCAPE_SIZE ? "unterminated string" : "invalid escape";
        i += escape;
    }
}

/* The second half of a surrogate pair whose first was unit. */
static bool low_surrogate(uint32_t unit, const char *p, size_t n, uint32_t *ret_low)
{
    return unit < 0xDC00 && unicode_escape(p, n, ret_low) && *ret_low >= 0xDC00 &&
           *ret_low <= 0xDFFF;
}

size_t json_string_surrogate(const char *p, size_t n)
{
    uint32_t unit;
    uint32_t low;

    if (!unicode_escape(p, n, &unit) || unit < 0xD800 || unit > 0xDFFF)
        return 0;
    bool pair = low_surrogate(unit, p + UNICODE_ESCAPE_SIZE, n - UNICODE_ESCAPE_SIZE, &low);
    return pair ? PAIR_SIZE : UNICODE_ESCAPE_SIZE;
}

/*
 * The character of the escape at p, as UTF-8, into to; *ret_size bytes. Returns how long the
 * escape is (a surrogate pair is one of 12), 0 when it is none.
 */
static size_t decode_escape(const char *p, size_t n, char to[4], size_t *ret_size)
{
    uint32_t unit;
    uint32_t low;

    if (n < 2)
        return 0;
    char simple = simple_escape(p[1]);
    if (simple != '\0') {
        to[0] = simple;
        *ret_size = 1;
        return 2;
    }
    if (!unicode_escape(p, n, &unit))
        return 0;
    if (unit < 0xD800 || unit > 0xDFFF) {
        *ret_size = utf8_encode(unit, to);
        return UNICODE_ESCAPE_SIZE;
    }
    if (low_surrogate(unit, p + UNICODE_ESCAPE_SIZE, n - UNICODE_ESCAPE_SIZE, &low)) {
        *ret_size = utf8_encode(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), to);
        return PAIR_SIZE;
    }
    *ret_size = utf8_encode(REPLACEMENT_CHARACTER, to);
    return UNICODE_ESCAPE_SIZE;
}

static const char *find_escape(struct str body, size_t from)
{
    return from < body.n ? memchr(body.p + from, '\\', body.n - from) : NULL;
}

/* Also for text that is not valid: an escape that is none ends the value. */
static struct str unescape(struct str body, struct arena *arena)
{
    char *to = arena_alloc(arena, body.n);
    size_t n = 0;
    size_t i = 0;

    if (arena_overflowed(arena))
        return STR("");
    for (;;) {
        const char *escape = find_escape(body, i);
        size_t run = escape == NULL ? body.n - i : (size_t)(escape - body.p) - i;
        if (run > 0)
            memcpy(to + n, body.p + i, run);
        n += run;
        i += run;
        if (escape == NULL)
            break;
        char bytes[4];
        size_t size;
        size_t used = decode_escape(escape, body.n - i, bytes, &size);
        if (used == 0)
            break;
        memcpy(to + n, bytes, size);
        n += size;
        i += used;
        assert(n <= i);
    }
    return str_of(to, n);
}

struct str json_string_value(struct str value, struct arena *arena)
{
    if (value.n < 2 || value.p[0] != '"')
        return STR_NULL;
    struct str body = str_of(value.p + 1, value.n - 2);
    return find_escape(body, 0) == NULL ? body : unescape(body, arena);
}

bool json_string_equals(struct str body, struct str text)
{
    size_t i = 0;

    while (i < body.n) {
        char bytes[4];
        size_t size = 1;
        size_t used = 1;
        if (body.p[i] == '\\')
            used = decode_escape(body.p + i, body.n - i, bytes, &size);
        else
            bytes[0] = body.p[i];
        if (used == 0 || !str_starts(text, str_of(bytes, size)))
            return false;
        text = str_from(text, size);
        i += used;
    }
    return text.n == 0;
}
