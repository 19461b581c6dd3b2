/* SPDX-License-Identifier: MIT */
#include "base/digits.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_int(int64_t value)
{
    char want[DIGITS_MAX + 1];
    char got[DIGITS_MAX + 1];

    (void)snprintf(want, sizeof(want), "%" PRId64, value);
    *digits_int(got, value) = '\0';
    assert_string_equal(got, want);
}

/* Catches: a zero that is lost or too many, a sign, the largest and the smallest. */
static void test_int(void **state)
{
    int64_t power = 1;

    (void)state;
    for (int64_t value = -10010; value <= 10010; value++)
        expect_int(value);
    for (int i = 0; i < 19; i++, power *= i < 19 ? 10 : 1) {
        for (int64_t around = -1; around <= 1; around++) {
            expect_int(power + around);
            expect_int(-power + around);
        }
    }
    expect_int(INT64_MAX);
    expect_int(INT64_MIN);
}

static void test_whole(void **state)
{
    char got[DIGITS_MAX + 1];

    (void)state;
    *digits_whole(got, UINT64_MAX) = '\0';
    assert_string_equal(got, "18446744073709551615");
}

/* Catches: leading zeros, which these keep. */
static void test_fixed(void **state)
{
    (void)state;
    for (unsigned value = 0; value < 1000; value++) {
        char want[4];
        char got[4];
        (void)snprintf(want, sizeof(want), "%03u", value);
        *digits_three(got, value) = '\0';
        assert_string_equal(got, want);
        if (value >= 100)
            continue;
        *digits_two(got, value) = '\0';
        assert_string_equal(got, want + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_fixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
