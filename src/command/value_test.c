/* SPDX-License-Identifier: MIT */
/* Catches: a value of another kind that is taken, one that is kept as it must not be written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/value.h"

enum { ARENA_MAX = 4 * 1024 * 1024 };

static const struct arg_spec text = {.key = "t", .kind = ARG_TEXT, .min = "1", .max = "4"};
static const struct arg_spec flag = {.key = "f", .kind = ARG_FLAG, .min = "", .max = ""};
static const struct arg_spec count = {.key = "c", .kind = ARG_COUNT, .min = "-3", .max = "40"};
static const struct arg_spec number = {.key = "n", .kind = ARG_NUMBER, .min = "0.5", .max = "1.5"};
static const struct arg_spec choice = {.key = "o",
                                       .kind = ARG_CHOICE,
                                       .min = "low|very_high",
                                       .max = ""};
static const struct arg_spec json = {.key = "j", .kind = ARG_JSON, .min = "", .max = "64"};

static const struct {
    const struct arg_spec *spec;
    const char *typed;
    enum value_fault fault;
    const char *kept;
} cases[] = {
    {&text, "ab", VALUE_OK, "ab"},
    {&text, " ab ", VALUE_OK, " ab "},
    {&text, "abcd", VALUE_OK, "abcd"},
    {&text, "abcde", VALUE_LONG, NULL},
    {&text, "", VALUE_EMPTY, NULL},
    {&text, " \t", VALUE_EMPTY, NULL},
    {&text, "a\x01", VALUE_BYTES, NULL},
    {&text, "a\nb", VALUE_BYTES, NULL},
    {&text, "\xc3\xa4", VALUE_OK, "\xc3\xa4"},
    {&text, "\xc3", VALUE_BYTES, NULL},
    {&flag, "True", VALUE_OK, "true"},
    {&flag, "Disabled", VALUE_OK, "false"},
    {&flag, "truee", VALUE_WRONG, NULL},
    {&flag, "2", VALUE_WRONG, NULL},
    {&flag, "", VALUE_EMPTY, NULL},
    {&count, "-3", VALUE_OK, "-3"},
    {&count, "40", VALUE_OK, "40"},
    {&count, "007", VALUE_OK, "7"},
    {&count, "-4", VALUE_RANGE, NULL},
    {&count, "41", VALUE_RANGE, NULL},
    {&count, "9223372036854775808", VALUE_RANGE, NULL},
    {&count, "-99999999999999999999", VALUE_RANGE, NULL},
    {&count, "-", VALUE_WRONG, NULL},
    {&count, "+3", VALUE_WRONG, NULL},
    {&count, "3-", VALUE_WRONG, NULL},
    {&count, "0x10", VALUE_WRONG, NULL},
    {&count, "1.0", VALUE_WRONG, NULL},
    {&number, "0.5", VALUE_OK, "0.5"},
    {&number, "1.50", VALUE_OK, "1.50"},
    {&number, "1", VALUE_OK, "1"},
    {&number, "0.49", VALUE_RANGE, NULL},
    {&number, "1.51", VALUE_RANGE, NULL},
    {&number, "-1", VALUE_RANGE, NULL},
    {&number, "1.", VALUE_WRONG, NULL},
    {&number, ".9", VALUE_WRONG, NULL},
    {&number, "01", VALUE_WRONG, NULL},
    {&number, "1e0", VALUE_WRONG, NULL},
    {&number, "1.2.3", VALUE_WRONG, NULL},
    {&number, "--1", VALUE_WRONG, NULL},
    {&number, "-", VALUE_WRONG, NULL},
    {&number, "1.0000000000000000000000001", VALUE_WRONG, NULL},
    {&number, "1,2", VALUE_WRONG, NULL},
    {&choice, "LOW", VALUE_OK, "low"},
    {&choice, "very-high", VALUE_OK, "very_high"},
    {&choice, "max", VALUE_OK, "very_high"},
    {&choice, "ma", VALUE_WRONG, NULL},
    {&choice, "low|very_high", VALUE_WRONG, NULL},
    {&choice, "max=very_high", VALUE_WRONG, NULL},
    {&json, "{ \"a\" : 1.0e2 }", VALUE_OK, "{\"a\":1.0e2}"},
    {&json, "{}", VALUE_OK, "{}"},
    {&json, "{", VALUE_WRONG, NULL},
    {&json, "{}x", VALUE_WRONG, NULL},
    {&json, "null", VALUE_WRONG, NULL},
    {&json, "{\"a\":\"0123456789012345678901234567890123456789012345678901234567\"}", VALUE_LONG,
     NULL},
};

static void kinds(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct value value = {.text = STR("untouched"), .count = 77};
        enum value_fault fault = value_read(cases[i].spec, "max=very_high|top=very_high",
                                            str_c(cases[i].typed), &arena, &value);
        if (fault != cases[i].fault)
            fail_msg("\"%s\": %d is not %d", cases[i].typed, (int)fault, (int)cases[i].fault);
        const char *kept = cases[i].kept == NULL ? "untouched" : cases[i].kept;
        if (!str_eq(value.text, str_c(kept)))
            fail_msg("\"%s\": \"%.*s\"", cases[i].typed, STR_ARG(value.text));
        int64_t n = 77;
        if (cases[i].spec->kind == ARG_COUNT && fault == VALUE_OK)
            assert_true(str_to_int64(str_c(kept), &n));
        if (fault != VALUE_OK || cases[i].spec->kind == ARG_COUNT)
            assert_int_equal(value.count, n);
    }
    arena_fini(&arena);
}

/* Whatever was typed, what is taken as a number is one that JSON has. */
static void numbers_are_json(void **state)
{
    static const char letters[] = "0123456789.-+eE 1";
    struct arena arena;
    uint32_t seed = 12345;
    size_t taken = 0;

    (void)state;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    for (int i = 0; i < 20000; i++) {
        char typed[8];
        size_t n = 0;
        struct value value;
        do {
            seed = seed * 1664525u + 1013904223u;
            typed[n++] = letters[(seed >> 16) % (sizeof(letters) - 1)];
        } while (n < sizeof(typed) && (seed >> 8 & 3) != 0);
        if (value_read(&number, NULL, str_of(typed, n), &arena, &value) != VALUE_OK)
            continue;
        double read = 0;
        assert_true(value.text.p[0] >= '0' && value.text.p[0] <= '9');
        assert_true(value.text.p[value.text.n - 1] >= '0');
        assert_true(str_to_double(value.text, &read));
        assert_true(read >= 0.5 && read <= 1.5);
        taken++;
        if (i % 100 == 0)
            arena_rewind(&arena);
    }
    assert_true(taken > 100);
    arena_fini(&arena);
}

static void ranges(void **state)
{
    static const struct {
        const struct arg_spec *spec;
        const char *said;
    } said[] = {
        {&text, "text of 1 to 4 bytes"},
        {&flag, "true or false (yes no, on off, 1 0, enabled disabled)"},
        {&count, "a whole number from -3 to 40"},
        {&number, "a number from 0.5 to 1.5"},
        {&choice, "low or very_high"},
        {&json, "a JSON object of at most 64 bytes"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, 1024);
    for (size_t i = 0; i < COUNT_OF(said); i++) {
        buf_reset(&out);
        value_range(said[i].spec, &out);
        if (!str_eq(buf_str(&out), str_c(said[i].said)))
            fail_msg("%.*s", STR_ARG(buf_str(&out)));
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(numbers_are_json),
        cmocka_unit_test(ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
