/* SPDX-License-Identifier: MIT */
#include "text/json_string.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
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
    if (!str_eq(is, want) || str_is_null(is) != str_is_null(want))
        fail_msg("\"%.*s\" instead of \"%.*s\"", STR_ARG(is), STR_ARG(want));
}

static void test_scan(void **state)
{
    const struct {
        struct str text; /* after the opening quote */
        size_t want;
        bool escaped;
    } cases[] = {
        {STR("\""), 0, false},
        {STR("abc\"def\""), 3, false},
        {STR("a\\\"b\""), 4, true},
        {STR("\\\\\""), 2, true},
        {STR("\\u00e9\\n\""), 8, true},
        {STR("\\uD800\""), 6, true},
        {STR("0123456789abcdef0123456789abcdef\xE2\x82\xAC\""), 35, false},
        {STR(""), SIZE_MAX, false},
        {STR("abc"), SIZE_MAX, false},
        {STR("abc\\\""), SIZE_MAX, false},
        {STR("\\"), SIZE_MAX, false},
        {STR("\\u12\""), SIZE_MAX, false},
        {STR("\\u123G\""), SIZE_MAX, false},
        {STR("\\U0041\""), SIZE_MAX, false},
        {STR("\\x41\""), SIZE_MAX, false},
        {STR("\\0\""), SIZE_MAX, false},
        {STR("\\\0\""), SIZE_MAX, false},
        {STR("a\tb\""), SIZE_MAX, false},
        {STR("0123456789abcdef0123456789abcdef\x1f\""), SIZE_MAX, false},
        {STR("0123456789abcdef0123456789abcdef\xE2\x82\""), SIZE_MAX, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str text = cases[i].text;
        char *copy = mem_raw(text.n + 1);
        bool escaped = !cases[i].escaped;
        memcpy(copy, text.p, text.n);
        size_t n = json_string_scan(copy, text.n, &escaped);
        if (n != cases[i].want)
            fail_msg("case %zu: %zu", i, n);
        if (n != SIZE_MAX) {
            assert_int_equal(escaped, cases[i].escaped);
            assert_int_equal(json_string_skip(copy, text.n, &escaped), n);
            assert_int_equal(escaped, cases[i].escaped);
        } else {
            size_t at = SIZE_MAX;
            assert_non_null(json_string_fault(copy, text.n, &at));
            assert_true(at <= text.n);
        }
        mem_free(copy);
    }
}

/* Length of what stands at p in a body, of those things that test_long puts there; 0: not legal. */
static size_t legal_size(struct str s)
{
    static const char *const things[] = {"\\n", "\\u00e9", "\\\"", "\xC3\xA9"};

    for (size_t i = 0; i < COUNT_OF(things); i++) {
        if (str_starts(s, str_c(things[i])))
            return strlen(things[i]);
    }
    return s.p[0] == '\\' || (unsigned char)(s.p[0] - 0x20) >= 0x60 ? 0 : 1;
}

/* Byte by byte, the plain way. */
static size_t want_of(const char *p, size_t n, bool *ret_escaped)
{
    size_t i = 0;

    *ret_escaped = false;
    while (i < n && p[i] != '"') {
        size_t size = legal_size(str_of(p + i, n - i));
        if (size == 0)
            return SIZE_MAX;
        *ret_escaped |= p[i] == '\\';
        i += size;
    }
    return i < n ? i : SIZE_MAX;
}

/* Each thing that matters at each place of strings of many lengths: before and behind the borders
 * of whatever steps the scan goes in, and before each place where the text may end. */
static void test_long(void **state)
{
    const struct str things[] = {STR("\""),   STR("\\n"),  STR("\\u00e9"),  STR("\\u00g9"),
                                 STR("\\"),   STR("\x1f"), STR("\xC3\xA9"), STR("\xC3"),
                                 STR("\xA9"), STR("\\\"")};
    const size_t sizes[] = {63, 64, 65, 70, 127, 128, 129, 134, 200};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes) * COUNT_OF(things); i++) {
        size_t n = sizes[i % COUNT_OF(sizes)];
        struct str thing = things[i / COUNT_OF(sizes)];
        char *p = mem_raw(n);
        for (size_t at = 0; at + thing.n <= n; at++) {
            for (int more = 0; more < 3; more++) {
                bool escaped = false;
                bool want_escaped = false;
                memset(p, 'a', n);
                if (more > 0)
                    p[n - 1] = '"';
                if (more > 1 && at >= 8)
                    memcpy(p + at - 8, "\\n\xC3\xA9\\n", 6);
                memcpy(p + at, thing.p, thing.n);
                size_t want = want_of(p, n, &want_escaped);
                size_t is = json_string_scan(p, n, &escaped);
                if (is != want || (want != SIZE_MAX && escaped != want_escaped))
                    fail_msg("thing %zu at %zu of %zu", i / COUNT_OF(sizes), at, n);
            }
        }
        mem_free(p);
    }
}

/* The grammar, a byte at a time: what the blocks are held against. */
static size_t scan_slowly(const char *p, size_t n, bool *ret_escaped)
{
    size_t i = 0;

    *ret_escaped = false;
    while (i < n && p[i] != '"') {
        if ((unsigned char)p[i] < 0x20)
            return SIZE_MAX;
        if (p[i] != '\\') {
            i++;
            continue;
        }
        *ret_escaped = true;
        if (i + 1 == n || p[i + 1] == '\0' || strchr("\"\\/bfnrtu", p[i + 1]) == NULL)
            return SIZE_MAX;
        size_t size = p[i + 1] == 'u' ? 6 : 2;
        for (size_t k = 2; k < size; k++) {
            if (i + k >= n || p[i + k] == '\0' ||
                strchr("0123456789abcdefABCDEF", p[i + k]) == NULL)
                return SIZE_MAX;
        }
        i += size;
    }
    return i < n ? i : SIZE_MAX;
}

/* Catches: escapes that reach over a block's end, runs of backslashes, a quote that is none. */
static void test_scan_blocks(void **state)
{
    static const char *const pieces[] = {"a",
                                         "bcdefghijklmno",
                                         "\\n",
                                         "\\\\",
                                         "\\\"",
                                         "\\u00e9",
                                         "\\",
                                         "\"",
                                         "\x01",
                                         "\\u12",
                                         "0123456789012345678901234567890"};
    uint32_t seed = 11;
    char text[400];

    (void)state;
    for (int round = 0; round < 200000; round++) {
        size_t n = 0;
        while (n < 300) {
            seed = seed * 1664525 + 1013904223;
            /* What ends a string comes seldom. */
            size_t which = (seed >> 16) % ((seed >> 8 & 15) == 0 ? 11 : 6);
            size_t size = strlen(pieces[which]);
            memcpy(text + n, pieces[which], size);
            n += size;
        }
        bool escaped = false;
        bool want_escaped = false;
        size_t length = n - (seed >> 4) % 70;
        size_t want = scan_slowly(text, length, &want_escaped);
        size_t is = json_string_scan(text, length, &escaped);
        if (is != want || (want != SIZE_MAX && escaped != want_escaped))
            fail_msg("%zu instead of %zu for %.*s", is, want, (int)length, text);
    }
}

static void test_value(void **state)
{
    const struct {
        struct str value;
        struct str want;
    } cases[] = {
        {STR("\"\""), STR("")},
        {STR("\"abc\""), STR("abc")},
        {STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), STR("\"\\/\b\f\n\r\t")},
        {STR("\"a\\u0041\\u00e9\\u20AC\\u0000z\""), STR("aA\xC3\xA9\xE2\x82\xAC\0z")},
        {STR("\"\\ud83d\\ude00\""), STR("\xF0\x9F\x98\x80")},
        {STR("\"\\uDBFF\\uDFFF\""), STR("\xF4\x8F\xBF\xBF")},
        {STR("\"\\ud800\""), STR("\xEF\xBF\xBD")},
        {STR("\"\\udc00\\ud800\""), STR("\xEF\xBF\xBD\xEF\xBF\xBD")},
        {STR("\"\\ud800\\ud800\\udc00\""), STR("\xEF\xBF\xBD\xF0\x90\x80\x80")},
        {STR("\"\\ud800x\\u0041\""), STR("\xEF\xBF\xBDxA")},
        {STR("\"\\ud800\\n\""), STR("\xEF\xBF\xBD\n")},
        /* no string */
        {STR("null"), STR_NULL},
        {STR("\""), STR_NULL},
        {STR(""), STR_NULL},
        /* never checked: the value ends before what is none */
        {STR("\"ab\\x\""), STR("ab")},
        {STR("\"ab\\\""), STR("ab")},
        {STR("\"ab\\u00\""), STR("ab")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_str(json_string_value(cases[i].value, &arena), cases[i].want);
    struct str plain = STR("\"abc\"");
    assert_ptr_equal(json_string_value(plain, &arena).p, plain.p + 1);
}

static void test_equals(void **state)
{
    const struct {
        struct str body;
        struct str text;
        bool want;
    } cases[] = {
        {STR("abc"), STR("abc"), true},
        {STR(""), STR(""), true},
        {STR("abc"), STR("ab"), false},
        {STR("ab"), STR("abc"), false},
        {STR("mod\\u0065l"), STR("model"), true},
        {STR("mod\\u0065l"), STR("mode"), false},
        {STR("\\n"), STR("\n"), true},
        {STR("\\n"), STR("\\n"), false},
        {STR("\\ud83d\\ude00"), STR("\xF0\x9F\x98\x80"), true},
        {STR("\\u00e9"), STR("\xC3"), false},
        {STR("\\"), STR("\\"), false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (json_string_equals(cases[i].body, cases[i].text) != cases[i].want)
            fail_msg("case %zu", i);
    }
}

static void test_surrogate(void **state)
{
    (void)state;
    assert_int_equal(json_string_surrogate("\\ud83d\\ude00", 12), 12);
    assert_int_equal(json_string_surrogate("\\ud83d\\ude00", 11), 6);
    assert_int_equal(json_string_surrogate("\\ud83d", 6), 6);
    assert_int_equal(json_string_surrogate("\\ude00\\ud83d", 12), 6);
    assert_int_equal(json_string_surrogate("\\ud83d", 5), 0);
    assert_int_equal(json_string_surrogate("\\u0041", 6), 0);
    assert_int_equal(json_string_surrogate("\\ue000", 6), 0);
    assert_int_equal(json_string_surrogate("\\n", 2), 0);
}

static void test_seek(void **state)
{
    static const struct {
        const char *value;
        size_t text_at;
        size_t want;
        bool after_high;
    } cases[] = {
        {"\"abc\"", 0, 0, false},
        {"\"abc\"", 2, 2, false},
        {"\"abc\"", 9, 3, false},
        {"\"a\\nb\"", 1, 1, false},
        {"\"a\\nb\"", 2, 3, false},
        {"\"\\u00e9b\"", 1, 0, false},
        {"\"\\u00e9b\"", 2, 6, false},
        {"\"\\u00e9b\"", 3, 7, false},
        {"\"\\ud83d\\ude00!\"", 3, 0, false},
        {"\"\\ud83d\\ude00!\"", 4, 12, false},
        {"\"\\ud83d!\"", 3, 6, true},
        {"\"\\ud83d!\"", 4, 7, false},
        {"\"\\ude00!\"", 3, 6, false},
        {"\"a\\x\"", 5, 1, false}, /* never checked */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json_string_cursor whole;
        struct json_string_cursor steps;
        size_t is = 0;
        json_string_begin(&whole, str_c(cases[i].value));
        json_string_begin(&steps, str_c(cases[i].value));
        assert_int_equal(json_string_seek(&whole, cases[i].text_at), cases[i].want);
        assert_int_equal(whole.after_high, cases[i].after_high);
        for (size_t at = 0; at <= cases[i].text_at; at++)
            is = json_string_seek(&steps, at);
        assert_int_equal(is, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),   cmocka_unit_test(test_scan_blocks),
        cmocka_unit_test(test_long),   cmocka_unit_test(test_value),
        cmocka_unit_test(test_equals), cmocka_unit_test(test_surrogate),
        cmocka_unit_test(test_seek),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
