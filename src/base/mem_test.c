/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIZE = 64 };

static void expect_filled(const unsigned char *p, size_t n, unsigned char with)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], with);
}

/* Catches: memory handed out with what its last user left in it. */
static void test_new_is_zeroed(void **state)
{
    (void)state;
    for (int i = 0; i < 16; i++) {
        unsigned char *p = mem_new(SIZE);
        expect_filled(p, SIZE, 0);
        memset(p, 0xEE, SIZE);
        mem_free(p);
    }
}

static void test_resize_keeps(void **state)
{
    unsigned char *p = mem_resize(NULL, SIZE);

    (void)state;
    memset(p, 0xA5, SIZE);
    p = mem_resize(p, 1024 * 1024);
    expect_filled(p, SIZE, 0xA5);
    p = mem_resize(p, SIZE / 2);
    expect_filled(p, SIZE / 2, 0xA5);
    mem_free(p);

    p = mem_raw(SIZE);
    memset(p, 0x5A, SIZE);
    p = mem_resize(p, SIZE * 2);
    expect_filled(p, SIZE, 0x5A);
    mem_free(p);
    mem_free(NULL);
}

/* Catches: a byte too few or too many. */
static void test_wipe_is_exact(void **state)
{
    unsigned char bytes[SIZE];

    (void)state;
    for (size_t n = 0; n <= SIZE - 2; n++) {
        memset(bytes, 0xC3, SIZE);
        mem_wipe(bytes + 1, n);
        assert_int_equal(bytes[0], 0xC3);
        expect_filled(bytes + 1, n, 0);
        expect_filled(bytes + 1 + n, SIZE - 1 - n, 0xC3);
    }
    mem_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_is_zeroed),
        cmocka_unit_test(test_resize_keeps),
        cmocka_unit_test(test_wipe_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
