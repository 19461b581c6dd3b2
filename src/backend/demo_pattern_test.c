/* SPDX-License-Identifier: MIT */
/*
 * Catches: a text that its pattern does not match (held against POSIX's own regular expressions),
 * a pattern that is taken for another one, one that takes more than it may of time or memory.
 */
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/demo_pattern.h"

enum { TEXT_MAX = 64 * 1024 };

/* posix: the same expression in the words of POSIX. */
static const struct {
    const char *pattern;
    const char *posix;
    size_t chars_min;
    size_t chars;
} cases[] = {
    {"^abc$", "^abc$", 0, 3},
    {"^[A-Z]{3}$", "^[A-Z]{3}$", 0, 3},
    {"^[A-Z]{2,5}$", "^[A-Z]{2,5}$", 4, 4},
    {"^\\d+$", "^[0-9]+$", 7, 7},
    {"^\\d{3}-\\d{4}$", "^[0-9]{3}-[0-9]{4}$", 0, 8},
    {"^(foo|bar)+$", "^(foo|bar)+$", 5, 6},
    {"^(?:a|b)?c*$", "^(a|b)?c*$", 0, 0},
    {"^(?<year>\\d{4})$", "^[0-9]{4}$", 0, 4},
    {"^[^a-z]$", "^[^a-z]$", 0, 1},
    {"^[\\w.-]+@[\\w]+\\.(com|org)$", "^[a-zA-Z0-9_.-]+@[a-zA-Z0-9_]+\\.(com|org)$", 0, 7},
    {"x{0}y", "^y$", 0, 1},
    {"^a{2}?b$", "^aab$", 0, 3},
    {"^\\s\\S$", "^[ ][^ ]$", 0, 2},
    {"^#[0-9a-fA-F]{6}$", "^#[0-9a-fA-F]{6}$", 0, 7},
    {"^\\u0041\\x42$", "^AB$", 0, 2},
    {"^((a{2}){2}){2}$", "^a{8}$", 0, 8},
    {"^a{b$", "^a\\{b$", 0, 3},
    {"", "^$", 0, 0},
    {"^[a]$|^b$", "^[ab]$", 0, 1},
    {"\\bword\\b", "^word$", 0, 4},
    {"^[-a]+$", "^[-a]+$", 0, 1},
    {"^[\\d-]$", "^[-0-9]$", 0, 1},
};

static void texts_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf out;
        regex_t regex;
        char text[256];

        buf_init(&out, TEXT_MAX);
        if (!demo_pattern(str_c(cases[i].pattern), cases[i].chars_min, &out))
            fail_msg("%s", cases[i].pattern);
        assert_int_equal(out.n, cases[i].chars);
        (void)snprintf(text, sizeof(text), "%.*s", STR_ARG(buf_str(&out)));
        assert_int_equal(regcomp(&regex, cases[i].posix, REG_EXTENDED | REG_NOSUB), 0);
        if (regexec(&regex, text, 0, NULL, 0) != 0)
            fail_msg("%s: \"%s\"", cases[i].pattern, text);
        regfree(&regex);
        buf_fini(&out);
    }
}

static void what_is_none_is_refused(void **state)
{
    static const char *const patterns[] = {
        "(",
        ")",
        "a)",
        "[",
        "[]",
        "[z-a]",
        "*",
        "+a",
        "a**",
        "a{3,2}",
        "\\",
        "\\1",
        "(?=a)",
        "(?<!a)b",
        "\\p{L}",
        "\\xg1",
        "a{99999}",
        "[\\",
        "((((((((((((((((((a))))))))))))))))))",
        "(((((a{900}){900}){900}){900}){900})",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        struct buf out;

        buf_init(&out, TEXT_MAX);
        if (demo_pattern(str_c(patterns[i]), 0, &out))
            fail_msg("%s: \"%.*s\"", patterns[i], STR_ARG(buf_str(&out)));
        buf_fini(&out);
    }
}

/* Every beginning and every change of a byte of a pattern ends, whatever it is. */
static void broken_patterns_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str pattern = str_c(cases[i].pattern);
        for (size_t at = 0; at < pattern.n; at++) {
            char changed[128];
            struct buf out;

            buf_init(&out, 256);
            if (demo_pattern(str_head(pattern, at), 3, &out))
                assert_true(buf_ok(&out));
            memcpy(changed, pattern.p, pattern.n);
            for (const char *c = "([{)|*\\^\x80"; *c != '\0'; c++) {
                changed[at] = *c;
                buf_reset(&out);
                if (demo_pattern(str_of(changed, pattern.n), 3, &out))
                    assert_true(buf_ok(&out) && out.n <= 256);
            }
            buf_fini(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_match),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(broken_patterns_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
