/* SPDX-License-Identifier: MIT */
#include "text/json_string.h"

#include "base/scan_block.h"
#include "text/utf8.h"

enum { REPLACEMENT_CHARACTER = 0xFFFD, UNICODE_ESCAPE_SIZE = 6, PAIR_SIZE = 12 };

/* \uXXXX at p; false when it is none within n. */
static bool unicode_escape(const char *p, size_t n, uint32_t *ret_unit)
{
    uint32_t unit = 0;

    if (n < UNICODE_ESCAPE_SIZE || p[0] != '\\' || p[1] != 'u')
        return false;
    for (int i = 2; i < UNICODE_ESCAPE_SIZE; i++) {
        int digit = str_hex_digit(p[i]);
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

/* Length of the escape that begins with a backslash and this character; 0: u, or none. */
static const unsigned char escape_sizes[256] = {
    ['"'] = 2, ['\\'] = 2, ['/'] = 2, ['b'] = 2, ['f'] = 2, ['n'] = 2, ['r'] = 2, ['t'] = 2,
};

/* Length of the escape at p, p[0] a backslash; 0 when it is not valid or cut off. A surrogate is
 * an escape of its own here: the grammar asks no more (RFC 8259, section 7). */
static inline size_t escape_size(const char *p, size_t n)
{
    uint32_t unit;

    if (UNLIKELY(n < 2))
        return 0;
    size_t size = escape_sizes[(unsigned char)p[1]];
    if (LIKELY(size != 0))
        return size;
    return unicode_escape(p, n, &unit) ? UNICODE_ESCAPE_SIZE : 0;
}

/* How far a block of SCAN_BLOCK bytes at p goes on as a string's body. */
enum block_end { BLOCK_CLOSED, BLOCK_ON, BLOCK_FAULT };

/* A block byte by byte: where there is an escape of \u, a control character near, or a fault. */
static enum block_end walk_block(const char *p, size_t n, size_t *ret_i)
{
    size_t i = 0;

    while (i < SCAN_BLOCK && p[i] != '"') {
        size_t size = 1;
        if (p[i] == '\\')
            size = escape_size(p + i, n - i);
        else if ((unsigned char)p[i] < 0x20)
            size = 0;
        if (UNLIKELY(size == 0))
            return BLOCK_FAULT;
        i += size;
    }
    *ret_i = i;
    return i < SCAN_BLOCK ? BLOCK_CLOSED : BLOCK_ON;
}

/* One block, without a fault or a walk in it: what the bits say. escapes: scan_block_escapes'. */
static ALWAYS_INLINE enum block_end step_block(const struct scan_bits *bits, uint64_t escaped,
                                               uint64_t escapes, size_t *ret_i)
{
    uint64_t quotes = bits->quotes & ~escaped;
    /* The bits below the closing quote; all, where it is not in this block. */
    uint64_t inside = quotes != 0 ? (quotes & (~quotes + 1)) - 1 : UINT64_MAX;

    if (UNLIKELY(bits->controls || (escaped & inside & ~escapes) != 0))
        return BLOCK_FAULT;
    if (quotes != 0) {
        *ret_i = (size_t)__builtin_ctzll(quotes);
        return BLOCK_CLOSED;
    }
    /* A backslash that is the block's last byte escapes the next block's first: begin with it. */
    uint64_t last = bits->slashes & ~escaped & UINT64_C(1) << (SCAN_BLOCK - 1);
    *ret_i = last != 0 ? SCAN_BLOCK - 1 : SCAN_BLOCK;
    return BLOCK_ON;
}

struct progress {
    size_t i;
    bool high;    /* bytes >= 0x80 came by, here or soon behind the closing quote */
    bool slashes; /* the same for backslashes */
};

/* Blocks, as long as the text has whole ones. */
static ALWAYS_INLINE enum block_end scan_blocks(const char *p, size_t n, bool wide,
                                                struct progress *progress)
{
    size_t i = 0;
    enum block_end end = BLOCK_ON;

    while (end == BLOCK_ON && LIKELY(n - i >= SCAN_BLOCK)) {
        struct scan_bits bits;
        uint64_t escaped = 0;
        uint64_t escapes = 0;
        size_t step = 0;
        if (wide)
            scan_block_wide(p + i, &bits);
        else
            scan_block(p + i, &bits);
        if (bits.slashes != 0) {
            escaped = scan_block_escaped(bits.slashes);
            escapes = wide ? scan_block_escapes_wide(p + i) : scan_block_escapes(p + i);
            progress->slashes = true;
        }
        progress->high |= bits.highs;
        end = step_block(&bits, escaped, escapes, &step);
        if (UNLIKELY(end == BLOCK_FAULT))
            end = walk_block(p + i, n - i, &step);
        i += step;
    }
    progress->i = i;
    return end;
}

SCAN_WIDE static enum block_end scan_blocks_wide(const char *p, size_t n, struct progress *progress)
{
    return scan_blocks(p, n, true, progress);
}

/* The last bytes of the text, less than a block. */
static size_t scan_rest(const char *p, size_t n, size_t i, bool *high, bool *escaped)
{
    for (;;) {
        i += scan_plain(p + i, n - i, high);
        if (i == n)
            return SIZE_MAX;
        if (p[i] == '"')
            return i;
        size_t escape = p[i] == '\\' ? escape_size(p + i, n - i) : 0;
        if (escape == 0)
            return SIZE_MAX;
        i += escape;
        *escaped = true;
    }
}

size_t json_string_scan(const char *p, size_t n, bool *ret_escaped)
{
    size_t near;

    /* Most strings of a stream are short. */
    if (LIKELY(n >= 16) && scan_short(p, &near)) {
        *ret_escaped = false;
        return near;
    }
    struct progress at = {0, false, false};
    bool escaped = false;
    enum block_end end = scan_is_wide() ? scan_blocks_wide(p, n, &at)
                                        : scan_blocks(p, n, false, &at);
    size_t i = at.i;

    if (UNLIKELY(end == BLOCK_ON))
        i = scan_rest(p, n, i, &at.high, &escaped);
    if (UNLIKELY(end == BLOCK_FAULT || i == SIZE_MAX))
        return SIZE_MAX;
    /* Escapes are ASCII: the body as it stands is valid exactly when each run of it is. */
    if (UNLIKELY(at.high) && !utf8_valid(str_of(p, i)))
        return SIZE_MAX;
    *ret_escaped = escaped || (at.slashes && memchr(p, '\\', i) != NULL);
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

/* Also for text that is not valid: an escape that is none ends the value. */
static struct str unescape(struct str body, struct arena *arena)
{
    char *to = arena_alloc(arena, body.n + SCAN_SLACK);
    size_t n = 0;
    size_t i = 0;

    if (arena_overflowed(arena))
        return STR("");
    for (;;) {
        size_t run = scan_copy_slash(to + n, body.p + i, body.n - i);
        n += run;
        i += run;
        if (body.n - i < 2)
            break;
        to[n] = simple_escape(body.p[i + 1]);
        if (LIKELY(to[n] != '\0')) {
            n++;
            i += 2;
            continue;
        }
        char bytes[4];
        size_t size;
        size_t used = decode_escape(body.p + i, body.n - i, bytes, &size);
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
    return memchr(body.p, '\\', body.n) == NULL ? body : unescape(body, arena);
}

void json_string_begin(struct json_string_cursor *cursor, struct str value)
{
    assert(value.n >= 2 && value.p[0] == '"');
    *cursor = (struct json_string_cursor){.body = str_of(value.p + 1, value.n - 2)};
}

/* Over the escape that begins here, if what it stands for ends at most at text_at. */
static bool step_escape(struct json_string_cursor *cursor, size_t text_at)
{
    const char *p = cursor->body.p + cursor->at;
    size_t n = cursor->body.n - cursor->at;
    char bytes[4];
    size_t size;
    size_t used = decode_escape(p, n, bytes, &size);

    if (used == 0 || size > text_at - cursor->text_at)
        return false;
    cursor->after_high = json_string_surrogate(p, n) == UNICODE_ESCAPE_SIZE &&
                         str_hex_digit(p[3]) < 0xC;
    cursor->at += used;
    cursor->text_at += size;
    return true;
}

size_t json_string_seek(struct json_string_cursor *cursor, size_t text_at)
{
    struct str body = cursor->body;

    assert(text_at >= cursor->text_at);
    while (cursor->text_at < text_at && cursor->at < body.n) {
        size_t run = text_at - cursor->text_at;
        if (run > body.n - cursor->at)
            run = body.n - cursor->at;
        const char *slash = memchr(body.p + cursor->at, '\\', run);
        if (slash != NULL)
            run = (size_t)(slash - body.p) - cursor->at;
        if (run > 0)
            cursor->after_high = false;
        cursor->at += run;
        cursor->text_at += run;
        if (slash != NULL && !step_escape(cursor, text_at))
            break;
    }
    return cursor->at;
}

bool json_string_equals(struct str body, struct str text)
{
    size_t i = 0;

    /* An escape is longer than what it stands for. */
    if (LIKELY(body.n <= text.n))
        return str_eq(body, text) && memchr(text.p == NULL ? "" : text.p, '\\', text.n) == NULL;
    if (memchr(body.p, '\\', body.n) == NULL)
        return false;

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
