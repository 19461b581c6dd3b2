/* SPDX-License-Identifier: MIT */
/*
 * What      A digest of JSON text that does not depend on how it was written.
 * How       The text goes byte by byte into a form of its own: without blanks, strings with no
 *           escapes but for quote and backslash, numbers as printf has them. That is hashed block
 *           by block, so the pieces it came in make no difference.
 */
#include "canon/call_digest.h"

#include <xxhash.h>

#include "base/scan.h"
#include "text/utf8.h"

enum { UNIT_DIGITS = 4, REPLACEMENT = 0xfffd };

/* --- the form --- */

static void put_all(struct call_digest *d, struct str s)
{
    d->said |= s.n > 0;
    while (s.n > 0) {
        struct str piece = str_head(s, (size_t)CALL_DIGEST_BLOCK - d->n);
        memcpy(d->block + d->n, piece.p, piece.n);
        d->n = (uint8_t)(d->n + piece.n);
        s = str_from(s, piece.n);
        if (d->n < CALL_DIGEST_BLOCK)
            return;
        d->hash = XXH3_64bits_withSeed(d->block, CALL_DIGEST_BLOCK, d->hash);
        d->n = 0;
    }
}

static void put(struct call_digest *d, char c)
{
    put_all(d, str_of(&c, 1));
}

static void put_code_point(struct call_digest *d, uint32_t cp)
{
    char text[4];

    if (cp == '"' || cp == '\\')
        put(d, '\\');
    put_all(d, str_of(text, utf8_encode(cp, text)));
}

/* The first half of a pair, which no second one follows. */
static void put_half(struct call_digest *d)
{
    if (d->high == 0)
        return;
    d->high = 0;
    put_code_point(d, REPLACEMENT);
}

static void put_unit(struct call_digest *d, uint32_t unit)
{
    if (unit >= 0xdc00 && unit <= 0xdfff && d->high != 0) {
        uint32_t cp = 0x10000 + ((d->high & 0x3ff) << 10) + (unit & 0x3ff);
        d->high = 0;
        put_code_point(d, cp);
        return;
    }
    put_half(d);
    if (unit >= 0xd800 && unit <= 0xdbff)
        d->high = unit;
    else
        put_code_point(d, unit >= 0xdc00 && unit <= 0xdfff ? REPLACEMENT : unit);
}

static void put_word(struct call_digest *d)
{
    struct str word = str_of(d->word, d->word_n);
    char text[CALL_DIGEST_WORD];
    double value;

    d->word_n = 0;
    if (!str_to_double(word, &value)) {
        put_all(d, word);
        return;
    }
    int n = snprintf(text, sizeof(text), "%.17g", value);
    assert(n > 0 && (size_t)n < sizeof(text));
    put_all(d, str_of(text, (size_t)n));
}

/* --- reading --- */

static void outside(struct call_digest *d, char c)
{
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
        put_word(d);
        return;
    case '{':
    case '}':
    case '[':
    case ']':
    case ':':
    case ',':
        put_word(d);
        put(d, c);
        return;
    case '"':
        put_word(d);
        put(d, c);
        d->state = CALL_DIGEST_STRING;
        return;
    default:
        break;
    }
    if (d->word_n == CALL_DIGEST_WORD)
        put_word(d);
    d->word[d->word_n++] = c;
}

static void in_string(struct call_digest *d, char c)
{
    if (c == '\\') {
        d->state = CALL_DIGEST_ESCAPE;
        return;
    }
    put_half(d);
    put(d, c);
    if (c == '"')
        d->state = CALL_DIGEST_OUTSIDE;
}

static void escape(struct call_digest *d, char c)
{
    static const char names[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    const char *name = c == '\0' ? NULL : strchr(names, c);

    d->state = CALL_DIGEST_STRING;
    if (c == 'u') {
        d->state = CALL_DIGEST_UNIT;
        d->unit = 0;
        d->unit_n = 0;
        return;
    }
    put_half(d);
    if (c == '"' || c == '\\')
        put(d, '\\');
    put(d, name == NULL ? c : values[name - names]);
}

static void in_unit(struct call_digest *d, char c)
{
    int digit = str_hex_digit(c);

    if (digit < 0) { /* no escape at all */
        d->state = CALL_DIGEST_STRING;
        in_string(d, c);
        return;
    }
    d->unit = d->unit * 16 + (uint32_t)digit;
    if (++d->unit_n < UNIT_DIGITS)
        return;
    d->state = CALL_DIGEST_STRING;
    put_unit(d, d->unit);
}

/* What of a string stands for itself; its length. */
static size_t take_plain(struct call_digest *d, struct str s)
{
    bool ignored = false;
    size_t n = scan_plain(s.p, s.n, &ignored);

    if (n == 0)
        return 0;
    put_half(d);
    put_all(d, str_head(s, n));
    return n;
}

void call_digest_add(struct call_digest *digest, struct str piece)
{
    for (size_t i = 0; i < piece.n; i++) {
        if (digest->state == CALL_DIGEST_STRING) {
            i += take_plain(digest, str_from(piece, i));
            if (i == piece.n)
                return;
        }
        char c = piece.p[i];
        switch (digest->state) {
        case CALL_DIGEST_OUTSIDE:
            outside(digest, c);
            break;
        case CALL_DIGEST_STRING:
            in_string(digest, c);
            break;
        case CALL_DIGEST_ESCAPE:
            escape(digest, c);
            break;
        case CALL_DIGEST_UNIT:
            in_unit(digest, c);
            break;
        }
    }
}

uint64_t call_digest_end(const struct call_digest *digest, struct str name)
{
    struct call_digest d = *digest;

    put_word(&d);
    put_half(&d);
    if (!d.said)
        put_all(&d, STR("{}"));
    uint64_t hash = XXH3_64bits_withSeed(d.block, d.n, d.hash);
    return XXH3_64bits_withSeed(name.n == 0 ? "" : name.p, name.n, hash);
}

uint64_t call_digest_of(struct str name, struct str arguments)
{
    struct call_digest digest = {.hash = 0};

    call_digest_add(&digest, arguments);
    return call_digest_end(&digest, name);
}
