/* SPDX-License-Identifier: MIT */
#include "text/json_string.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_equals),
        cmocka_unit_test(test_surrogate),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
