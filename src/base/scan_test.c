/* SPDX-License-Identifier: MIT */
#include "base/scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scan_block.h"
#include "base/scan_field.h"

enum { SIZE_MAX_TESTED = 70 };

static bool stops_plain(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

static bool stops_line(unsigned char c)
{
    return c == '\n' || c == '\r';
}

static bool stops_ascii(unsigned char c)
{
    return c >= 0x80;
}

static bool stops_quote(unsigned char c)
{
    return c == '"';
}

static bool stops_slash(unsigned char c)
{
    return c == '\\';
}

static bool stops_field(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

static bool stops_token(unsigned char c)
{
    return !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
           c != '-' && c != '_';
}

struct want {
    size_t plain;
    size_t slash;
    size_t line;
    size_t ascii;
    size_t quote;
    size_t field;
    size_t token;
    bool high; /* before plain's end */
};

static size_t prefix(const char *p, size_t n, bool (*stops)(unsigned char))
{
    size_t i = 0;
    while (i < n && !stops((unsigned char)p[i]))
        i++;
    return i;
}

/* Byte by byte, the plain way. */
static struct want want_of(const char *p, size_t n)
{
    struct want want = {.plain = prefix(p, n, stops_plain),
                        .slash = prefix(p, n, stops_slash),
                        .line = prefix(p, n, stops_line),
                        .ascii = prefix(p, n, stops_ascii),
                        .quote = prefix(p, n, stops_quote),
                        .field = prefix(p, n, stops_field),
                        .token = prefix(p, n, stops_token)};
    want.high = want.ascii < want.plain;
    return want;
}

/* To memory as long as it has to be, so that a sanitizer sees what is written past it. */
static void check_copy(const char *p, size_t n, const struct want *want)
{
    char *to = mem_raw(n + 1 + SCAN_SLACK);
    bool high = false;
    bool portable_high = false;

    assert_int_equal(scan_copy_plain(to + 1, p, n, &high), want->plain);
    assert_int_equal(high, want->high);
    assert_memory_equal(to + 1, p, want->plain);
    assert_int_equal(scan_copy_plain_portable(to + 1, p, n, &portable_high), want->plain);
    assert_int_equal(portable_high, want->high);
    memset(to, 0, n + 1);
    assert_int_equal(scan_copy_slash(to + 1, p, n), want->slash);
    assert_memory_equal(to + 1, p, want->slash);
    assert_int_equal(scan_copy_slash_portable(to + 1, p, n), want->slash);
    mem_free(to);
}

static void check(const char *p, size_t n)
{
    struct want want = want_of(p, n);
    bool high = false;
    bool portable_high = false;
    bool was_high = true;

    assert_int_equal(scan_plain(p, n, &high), want.plain);
    assert_int_equal(high, want.high);
    assert_int_equal(scan_plain_portable(p, n, &portable_high), want.plain);
    assert_int_equal(portable_high, want.high);
    check_copy(p, n, &want);
    (void)scan_plain(p, n, &was_high);
    assert_true(was_high);
    assert_int_equal(scan_line(p, n), want.line);
    assert_int_equal(scan_line_portable(p, n), want.line);
    assert_int_equal(scan_ascii(p, n), want.ascii);
    assert_int_equal(scan_ascii_portable(p, n), want.ascii);
    assert_int_equal(scan_quote(p, n), want.quote);
    assert_int_equal(scan_quote_portable(p, n), want.quote);
    assert_int_equal(scan_field(p, n), want.field);
    assert_int_equal(scan_field_portable(p, n), want.field);
    assert_int_equal(scan_token(p, n), want.token);
    assert_int_equal(scan_token_portable(p, n), want.token);
}

/* Each byte value at each place of each length, alone and with another behind it; the block is as
 * long as the text, so that a sanitizer sees a read past its end. */
static void test_each_byte_each_place(void **state)
{
    (void)state;
    for (size_t n = 1; n <= SIZE_MAX_TESTED; n += n < 20 ? 1 : 7) {
        char *p = mem_raw(n);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                memset(p, 'a', n);
                p[at] = (char)c;
                check(p, n);
                p[n - 1] = '"';
                check(p, n);
                p[n - 1] = (char)0xC3;
                check(p, n);
                p[n / 2] = '\n';
                check(p, n);
            }
        }
        mem_free(p);
    }
}

/* Words of all sorts of bytes: borrows between neighbours must not be taken for hits. */
static void test_random(void **state)
{
    uint32_t seed = 7;
    char p[64];

    (void)state;
    for (int round = 0; round < 100000; round++) {
        for (size_t i = 0; i < sizeof(p); i++) {
            seed = seed * 1664525 + 1013904223;
            p[i] = (char)(seed >> 24);
            /* Mostly what is near the limits. */
            if ((seed >> 20 & 3) != 0)
                p[i] = "\x20\x21\x23\x5b\x5d\x7f\x80\x0b\x0e\xa0\x81 ab"[(seed >> 12) % 14];
        }
        size_t n = seed % (sizeof(p) + 1);
        struct want want = want_of(p, n);
        bool high = false;
        assert_int_equal(scan_plain_portable(p, n, &high), want.plain);
        assert_int_equal(high, want.high);
        check(p, n);
    }
}

static void same_braces(const char *p)
{
    struct scan_braces braces;
    struct scan_braces want;

    scan_block_braces(p, &braces);
    scan_block_braces_portable(p, &want);
    assert_true(braces.opens == want.opens && braces.closes == want.closes);
    if (!scan_is_wide())
        return;
    scan_block_braces_wide(p, &braces);
    assert_true(braces.opens == want.opens && braces.closes == want.closes);
}

/* Catches: a block's bits at the wrong place, or the quick look at a string that is not plain. */
static void test_blocks(void **state)
{
    uint32_t seed = 3;
    char p[SCAN_BLOCK];

    (void)state;
    for (int round = 0; round < 100000; round++) {
        struct scan_bits bits;
        struct scan_bits want;
        size_t at = 0;
        size_t want_at = 0;
        for (size_t i = 0; i < sizeof(p); i++) {
            seed = seed * 1664525 + 1013904223;
            p[i] = (char)(seed >> 24);
            if ((seed >> 18 & 15) != 0)
                p[i] = "aaaaaaa{}[];}\"\\/bfnrtu\x1f\x20\x80\xff"[(seed >> 10) % 25];
        }
        scan_block(p, &bits);
        scan_block_portable(p, &want);
        assert_true(bits.quotes == want.quotes && bits.slashes == want.slashes);
        assert_true(bits.controls == want.controls && bits.highs == want.highs);
        assert_true(scan_block_escapes(p) == scan_block_escapes_portable(p));
        if (scan_is_wide()) {
            scan_block_wide(p, &bits);
            assert_true(bits.quotes == want.quotes && bits.slashes == want.slashes);
            assert_true(bits.controls == want.controls && bits.highs == want.highs);
            assert_true(scan_block_escapes_wide(p) == scan_block_escapes_portable(p));
        }
        same_braces(p);
        bool plain = scan_short_portable(p, &want_at);
        assert_int_equal(scan_short(p, &at), plain);
        if (plain)
            assert_int_equal(at, want_at);
    }
}

/* The text at each place of each length, among beginnings and ends of it. */
static void test_find(void **state)
{
    (void)state;
    for (size_t k = 2; k <= 6; k++) {
        for (size_t n = 0; n <= SIZE_MAX_TESTED; n++) {
            char *p = mem_raw(n + 1);
            for (size_t i = 0; i < n; i++)
                p[i] = "cHcL"[i % 4];
            assert_int_equal(scan_find(p, n, "cHgxLm", k < 3 ? 3 : k), n);
            for (size_t at = 0; at + k <= n; at++) {
                for (size_t i = 0; i < n; i++)
                    p[i] = i % 3 == 0 ? 'q' : "cHgxLm"[k - 1];
                memcpy(p + at, "cHgxLm", k);
                assert_int_equal(scan_find(p, n, "cHgxLm", k), at);
                assert_int_equal(scan_find_portable(p, n, "cHgxLm", k), at);
            }
            mem_free(p);
        }
    }
}

/* Each kind at each place of each length, among halves of it; the first of two. */
static void test_find_mark(void **state)
{
    static const char *const marks[] = {"!/", "!\\", "\\u"};

    (void)state;
    for (size_t n = 0; n <= SIZE_MAX_TESTED; n++) {
        char *p = mem_raw(n + 1);
        for (size_t at = 0; at + 1 < n; at++) {
            for (size_t i = 0; i < n; i++)
                p[i] = "/!u\\q"[(i + at) % 5];
            assert_int_equal(scan_find_mark(p, n, '!', '/'), n);
            memcpy(p + at, marks[at % 3], 2);
            if (at > 0 && p[at - 1] == '!')
                p[at - 1] = 'q';
            size_t want = scan_find_mark_portable(p, n, '!', '/');
            assert_true(want == at || want + 1 == at);
            assert_int_equal(scan_find_mark(p, n, '!', '/'), want);
            if (at + 3 < n)
                memcpy(p + n - 2, marks[n % 3], 2);
            assert_int_equal(scan_find_mark(p, n, '!', '/'), want);
        }
        mem_free(p);
    }
}

static void test_bare(void **state)
{
    (void)state;
    for (size_t n = 0; n <= SIZE_MAX_TESTED; n++) {
        char *p = mem_raw(n + 1); /* so that a sanitizer sees what is read behind it */
        memset(p, 'x', n + 1);
        assert_int_equal(scan_bare(p, n), n);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                p[at] = (char)c;
                bool stops = c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f;
                assert_int_equal(scan_bare(p, n), stops ? at : n);
                assert_int_equal(scan_bare_portable(p, n), stops ? at : n);
            }
            p[at] = 'x';
        }
        mem_free(p);
    }
}

static void test_empty(void **state)
{
    bool high = false;

    (void)state;
    assert_int_equal(scan_plain("\"", 0, &high), 0);
    assert_int_equal(scan_line("\n", 0), 0);
    assert_int_equal(scan_ascii("\x80", 0), 0);
    assert_false(high);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_byte_each_place),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_find_mark),
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
