/* SPDX-License-Identifier: MIT */
#include "text/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define FFFD "\xEF\xBF\xBD"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 * 1024 * 1024, 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void check_str(struct str is, struct str want)
{
    if (!str_eq(is, want))
        fail_msg("\"%.*s\" instead of \"%.*s\"", STR_ARG(is), STR_ARG(want));
}

/* Table 3-7 of the Unicode standard: the length of the character at p, 0 for none. */
static size_t well_formed(const unsigned char *p, size_t n)
{
    static const unsigned char rows[][8] = {
        {0xC2, 0xDF, 0x80, 0xBF},
        {0xE0, 0xE0, 0xA0, 0xBF, 0x80, 0xBF},
        {0xE1, 0xEC, 0x80, 0xBF, 0x80, 0xBF},
        {0xED, 0xED, 0x80, 0x9F, 0x80, 0xBF},
        {0xEE, 0xEF, 0x80, 0xBF, 0x80, 0xBF},
        {0xF0, 0xF0, 0x90, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
        {0xF1, 0xF3, 0x80, 0xBF, 0x80, 0xBF, 0x80, 0xBF},
        {0xF4, 0xF4, 0x80, 0x8F, 0x80, 0xBF, 0x80, 0xBF},
    };

    if (n > 0 && p[0] < 0x80)
        return 1;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t k = 0;
        while (k < 4 && k < n && rows[i][2 * k + 1] != 0 && p[k] >= rows[i][2 * k] &&
               p[k] <= rows[i][2 * k + 1])
            k++;
        if (k == 4 || (k > 0 && rows[i][2 * k + 1] == 0))
            return k;
    }
    return 0;
}

static size_t want_prefix(const char *p, size_t n)
{
    size_t i = 0;

    while (i < n) {
        size_t k = well_formed((const unsigned char *)p + i, n - i);
        if (k == 0)
            break;
        i += k;
    }
    return i;
}

/* All rows of two bytes, and of three and four from the bytes at which the rules change, each
 * before different neighbours. */
static void test_exhaustive(void **state)
{
    static const unsigned char edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                          0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                                          0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    enum { EDGES = sizeof(edges) };
    char p[12];

    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        memcpy(p, "aa\0\0zz", 6);
        p[2] = (char)(i >> 8);
        p[3] = (char)i;
        for (size_t n = 3; n <= 6; n++)
            assert_int_equal(utf8_valid_prefix(str_of(p, n)), want_prefix(p, n));
    }
    for (unsigned i = 0; i < EDGES * EDGES * EDGES * EDGES; i++) {
        p[0] = (char)edges[i / (EDGES * EDGES * EDGES)];
        p[1] = (char)edges[i / (EDGES * EDGES) % EDGES];
        p[2] = (char)edges[i / EDGES % EDGES];
        p[3] = (char)edges[i % EDGES];
        memcpy(p + 4, "\xC3\xA9z", 3);
        assert_int_equal(utf8_valid_prefix(str_of(p, 3)), want_prefix(p, 3));
        assert_int_equal(utf8_valid_prefix(str_of(p, 4)), want_prefix(p, 4));
        assert_int_equal(utf8_valid_prefix(str_of(p, 7)), want_prefix(p, 7));
    }
}

/* Each code point, encoded, is valid alone and in long runs of its like. */
static void test_encode(void **state)
{
    char run[4 * 9];

    (void)state;
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        if (cp == 0xD800)
            cp = 0xE000;
        char to[4];
        size_t n = utf8_encode(cp, to);
        assert_int_equal(n, cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4);
        assert_int_equal(well_formed((const unsigned char *)to, n), n);
        for (size_t i = 0; i < 9; i++)
            memcpy(run + i * n, to, n);
        assert_int_equal(utf8_valid_prefix(str_of(run, 9 * n)), 9 * n);
        if (n > 1)
            assert_int_equal(utf8_valid_prefix(str_of(run, 9 * n - 1)), 8 * n);
    }
    assert_int_equal(utf8_encode(0x20AC, run), 3);
    assert_memory_equal(run, "\xE2\x82\xAC", 3);
}

/* Maximal parts, as the WHATWG decoders have them (Unicode 15, table 3-11 and its neighbours). */
static void test_repair(void **state)
{
    const struct {
        struct str s;
        struct str want;
    } cases[] = {
        {STR("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
         STR("a" FFFD FFFD FFFD "b" FFFD "c" FFFD FFFD "d")},
        {STR("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
         STR(FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD "A")},
        {STR("\xED\xA0\x80\xED\xBF\xBF"), STR(FFFD FFFD FFFD FFFD FFFD FFFD)},
        {STR("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
         STR(FFFD FFFD FFFD FFFD FFFD "A" FFFD FFFD "B")},
        {STR("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), STR(FFFD FFFD FFFD FFFD "A")},
        {STR("ab\xE2\x82"), STR("ab" FFFD)},
        {STR("\xFF"), STR(FFFD)},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_str(utf8_repair(cases[i].s, &arena), cases[i].want);
    struct str valid = STR("a\xC3\xA9");
    assert_ptr_equal(utf8_repair(valid, &arena).p, valid.p);
    assert_int_equal(utf8_invalid_size(STR("a")), 0);
    assert_int_equal(utf8_invalid_size(STR("")), 0);
    assert_int_equal(utf8_invalid_size(STR("\xF0\x90\x80z")), 3);
}

static void test_head(void **state)
{
    struct str s = STR("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z");
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};

    (void)state;
    for (size_t n = 0; n < COUNT_OF(want); n++)
        assert_int_equal(utf8_head(s, n).n, want[n]);
    /* Not text: cut anywhere, but never longer. */
    assert_int_equal(utf8_head(STR("\x80\x80\x80\x80\x80\x80"), 5).n, 5);
    assert_int_equal(utf8_head(STR("\x80\x80"), 1).n, 1);
    assert_int_equal(utf8_head(STR_NULL, 3).n, 0);
}

/* Catches: a code point beside those that are meant, one that is cut at the end. */
static void test_control(void **state)
{
    char text[4];

    (void)state;
    for (uint32_t cp = 0; cp < 0x11000; cp++) {
        if (cp >= 0xD800 && cp < 0xE000)
            continue;
        bool want = cp < 0x20 || (cp >= 0x7f && cp <= 0x9f) || cp == 0x2028 || cp == 0x2029;
        if (utf8_has_control(str_of(text, utf8_encode(cp, text))) != want)
            fail_msg("U+%04X", cp);
    }
    assert_true(utf8_has_control(STR("ab\nc")));
    assert_false(utf8_has_control(STR("\xE2\x80")));
    assert_false(utf8_has_control(STR("\xC2")));
    assert_false(utf8_has_control(STR_NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustive), cmocka_unit_test(test_encode),
        cmocka_unit_test(test_repair),     cmocka_unit_test(test_head),
        cmocka_unit_test(test_control),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
