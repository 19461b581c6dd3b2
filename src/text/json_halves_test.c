/* SPDX-License-Identifier: MIT */
#include "text/json_halves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Pieces in order, and what becomes of each. NULL: the end; "" as it is. */
static const char *const rows[][8] = {
    {"\"a\\ud83d\"", "\"a\"", "\"\\ude00b\"", "\"\\ud83d\\ude00b\""},
    /* Other frames between them, and in capitals. */
    {"\"\\uD83D\"", "\"\"", "{\"type\":\"ping\"}", "", "\"\\uDE00\"", "\"\\uD83D\\uDE00\""},
    /* One ends where the next begins. */
    {"[\"\\ud83d\"]", "[\"\"]", "[\"\\ude00\\ud83d\"]", "[\"\\ud83d\\ude00\"]", "[\"\\ude01\"]",
     "[\"\\ud83d\\ude01\"]"},
    /* The same text in two members. */
    {"{\"a\":\"\\ud83d\",\"b\":\"\\ud83d\"}", "{\"a\":\"\",\"b\":\"\"}",
     "{\"a\":\"\\ude00\",\"b\":\"\\ude00\"}",
     "{\"a\":\"\\ud83d\\ude00\",\"b\":\"\\ud83d\\ude00\"}"},
    /* Whole pairs, and second halves without a first. */
    {"\"\\ud83d\\ude00\"", "", "\"\\ude00\"", ""},
    /* Neither at the end nor at the beginning; quotes and backslashes that are escaped. */
    {"\"\\ud83dx\"", "", "\"\\ude00\"", ""},
    {"\"x\\\"\\ud83d\"", "\"x\\\"\"", "\"\\\"\\ude00\"", "", "\"\\\\ud83d\"", ""},
    {"\"\\\\ud83d\"", "", "\"\\ude00\"", ""},
    /* Cut off. */
    {"\"\\ud83d", "", "\"\\ud83", "", "\"\\", "", "\\", ""},
};

/* Catches: characters that become two marks of what is unknown. */
static void test_join(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct json_halves halves = {.has = false};
        for (size_t k = 0; k < 8 && rows[i][k] != NULL; k += 2) {
            struct arena arena;
            struct str data = str_c(rows[i][k]);
            struct str want = rows[i][k + 1][0] == '\0' ? data : str_c(rows[i][k + 1]);
            arena_init(&arena, 4096, 256, NULL);
            struct str got = json_halves_join(&halves, data, &arena);
            if (!str_eq(got, want))
                fail_msg("%zu: %.*s became %.*s", i, STR_ARG(data), STR_ARG(got));
            arena_fini(&arena);
        }
    }
}

/* Catches: an arena that ran over and is written to. */
static void test_memory(void **state)
{
    struct json_halves halves = {.has = false};
    struct arena arena;

    (void)state;
    arena_init(&arena, 64, 64, NULL);
    (void)arena_alloc(&arena, 64);
    (void)json_halves_join(&halves, STR("\"0123456789012345678901234567890123456789\\ud83d\""),
                           &arena);
    assert_true(arena_overflowed(&arena));
    assert_false(halves.has);
    arena_fini(&arena);
}

/* Catches: halves that a template takes for text. */
static void test_cut(void **state)
{
    (void)state;
    assert_true(json_halves_cut(STR("\\ude00b")));
    assert_true(json_halves_cut(STR("a\\ud83d")));
    assert_false(json_halves_cut(STR("\\ud83d\\ude00b")));
    assert_false(json_halves_cut(STR("a\\ud83d\\ude00")));
    assert_false(json_halves_cut(STR("a\\u00e4")));
    assert_false(json_halves_cut(STR("abc")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
