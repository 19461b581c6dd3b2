/* SPDX-License-Identifier: MIT */
/*
 * What      {"input":"text"} -> text, incrementally.
 * How       BEFORE -> STRING -> AFTER, or BEFORE -> AS_IS when the beginning is another. In BEFORE
 *           what has come is kept, to be given out as it is; in STRING only an escape that the
 *           piece's end cuts, with the first half of a surrogate pair.
 */
#include "canon/unwrap.h"

#include "text/utf8.h"

enum { ESCAPE_SIZE = 6, REPLACEMENT = 0xfffd, ESCAPE_CUT = -1 };

/* What stands before the text; between the tokens there may be blanks. */
static const char *const tokens[] = {"{", "\"input\"", ":", "\""};

/* --- the beginning --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* {} is an object without an input. */
static bool is_empty(struct str s)
{
    s = str_trim(s);
    return s.n >= 2 && s.p[0] == '{' && s.p[s.n - 1] == '}' &&
           str_trim(str_of(s.p + 1, s.n - 2)).n == 0;
}

/* Reads from the beginning; the number of bytes up to the text, 0: not there yet. *ret_other: it
 * cannot be one any more. */
static size_t read_beginning(struct str begin, bool *ret_other)
{
    size_t at = 0;

    *ret_other = false;
    for (size_t t = 0; t < COUNT_OF(tokens); t++) {
        struct str token = str_c(tokens[t]);
        while (at < begin.n && is_blank(begin.p[at]))
            at++;
        struct str there = str_head(str_from(begin, at), token.n);
        if (!str_starts(token, there)) {
            *ret_other = true;
            return 0;
        }
        if (there.n < token.n)
            return 0;
        at += token.n;
    }
    return at;
}

/* Takes bytes of *piece until it is known what it is. What is given out as it is stays in held. */
static void begin(struct unwrap *unwrap, struct str *piece)
{
    bool other = false;

    while (piece->n > 0 && unwrap->state == UNWRAP_BEFORE) {
        unwrap->held[unwrap->held_n++] = piece->p[0];
        *piece = str_from(*piece, 1);
        if (read_beginning(str_of(unwrap->held, unwrap->held_n), &other) > 0) {
            unwrap->state = UNWRAP_STRING;
            unwrap->held_n = 0;
        } else if (other && is_empty(str_of(unwrap->held, unwrap->held_n))) {
            unwrap->state = UNWRAP_AFTER;
            unwrap->held_n = 0;
        } else if (other || unwrap->held_n == UNWRAP_HELD_MAX) {
            unwrap->state = UNWRAP_AS_IS;
        }
    }
}

/* --- the string --- */

/* The code unit of \uXXXX at s; ESCAPE_CUT: it may be one, s ends too early; -2: it is none. */
static int32_t unit_of(struct str s)
{
    int32_t unit = 0;

    for (size_t i = 0; i < ESCAPE_SIZE; i++) {
        if (i >= s.n)
            return ESCAPE_CUT;
        int digit = i < 2 ? 0 : str_hex_digit(s.p[i]);
        if (digit < 0 || (i == 0 && s.p[i] != '\\') || (i == 1 && s.p[i] != 'u'))
            return -2;
        unit = unit * 16 + digit;
    }
    return unit;
}

static size_t put(uint32_t cp, char *to, size_t taken, size_t *ret_taken)
{
    *ret_taken = taken;
    return utf8_encode(cp, to);
}

/* \u… at s, whole or not. ended: nothing follows. Bytes written; *ret_taken 0: more is needed. */
static size_t unescape_unit(struct str s, bool ended, char to[4], size_t *ret_taken)
{
    int32_t unit = unit_of(s);

    *ret_taken = 0;
    if (unit == ESCAPE_CUT && !ended)
        return 0;
    if (unit < 0) { /* "\u" and no digits: as it is */
        to[0] = '\\';
        to[1] = 'u';
        *ret_taken = 2;
        return 2;
    }
    if (unit < 0xd800 || unit > 0xdfff)
        return put((uint32_t)unit, to, ESCAPE_SIZE, ret_taken);
    if (unit >= 0xdc00)
        return put(REPLACEMENT, to, ESCAPE_SIZE, ret_taken);
    int32_t low = unit_of(str_from(s, ESCAPE_SIZE));
    if (low == ESCAPE_CUT && !ended)
        return 0;
    if (low < 0xdc00 || low > 0xdfff)
        return put(REPLACEMENT, to, ESCAPE_SIZE, ret_taken);
    uint32_t cp = 0x10000 + (((uint32_t)unit & 0x3ff) << 10) + ((uint32_t)low & 0x3ff);
    return put(cp, to, 2 * ESCAPE_SIZE, ret_taken);
}

/* The escape at s (its backslash), whole or not; as unescape_unit. */
static size_t unescape(struct str s, bool ended, char to[4], size_t *ret_taken)
{
    static const char names[] = "bfnrt\"\\/";
    static const char values[] = "\b\f\n\r\t\"\\/";

    *ret_taken = 0;
    if (s.n < 2 && !ended)
        return 0;
    if (s.n >= 2 && s.p[1] == 'u')
        return unescape_unit(s, ended, to, ret_taken);
    const char *name = s.n < 2 ? NULL : strchr(names, s.p[1]);
    to[0] = '\\';
    *ret_taken = 1;
    if (name == NULL || *name == '\0')
        return 1;
    to[0] = values[name - names];
    *ret_taken = 2;
    return 1;
}

/* The text of s up to the closing quote; an escape at its end that is not whole is held. */
static struct str unquote(struct unwrap *unwrap, struct str s, bool ended, struct arena *arena)
{
    char *to = arena_alloc(arena, s.n + 4);
    size_t n = 0;

    if (arena_overflowed(arena))
        return STR("");
    for (size_t at = 0; at < s.n;) {
        size_t taken = 1;
        if (s.p[at] == '"') {
            unwrap->state = UNWRAP_AFTER;
            break;
        }
        if (s.p[at] == '\\') {
            n += unescape(str_from(s, at), ended, to + n, &taken);
        } else {
            to[n++] = s.p[at];
        }
        if (taken == 0) {
            unwrap->held_n = (uint8_t)(s.n - at);
            assert(unwrap->held_n < 2 * ESCAPE_SIZE);
            memcpy(unwrap->held, s.p + at, unwrap->held_n);
            break;
        }
        at += taken;
    }
    return str_of(to, n);
}

/* Whether s is text as it stands up to its end. */
static bool is_plain(struct str s)
{
    return memchr(s.p, '"', s.n) == NULL && memchr(s.p, '\\', s.n) == NULL;
}

/* What is held and then s, in one. */
static struct str behind_held(struct unwrap *unwrap, struct str s, struct arena *arena)
{
    size_t held_n = unwrap->held_n;

    if (held_n == 0)
        return s;
    char *to = arena_alloc(arena, held_n + s.n);
    if (arena_overflowed(arena))
        return STR("");
    memcpy(to, unwrap->held, held_n);
    if (s.n > 0)
        memcpy(to + held_n, s.p, s.n);
    unwrap->held_n = 0;
    return str_of(to, held_n + s.n);
}

struct str unwrap_feed(struct unwrap *unwrap, struct str piece, struct arena *arena)
{
    begin(unwrap, &piece);
    switch (unwrap->state) {
    case UNWRAP_BEFORE:
    case UNWRAP_AFTER:
        return STR("");
    case UNWRAP_AS_IS:
        return behind_held(unwrap, piece, arena);
    case UNWRAP_STRING:
        if (piece.n == 0)
            return STR("");
        if (unwrap->held_n == 0 && is_plain(piece))
            return piece;
        return unquote(unwrap, behind_held(unwrap, piece, arena), false, arena);
    }
    BUG("no such state");
}

struct str unwrap_end(struct unwrap *unwrap, struct arena *arena)
{
    struct str held = behind_held(unwrap, STR(""), arena);

    /* In the beginning nothing of the text has come. */
    if (unwrap->state == UNWRAP_BEFORE)
        return STR("");
    return unwrap->state == UNWRAP_STRING ? unquote(unwrap, held, true, arena) : held;
}
