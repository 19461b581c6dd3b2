/* SPDX-License-Identifier: MIT */
/* What it holds and when. That the heap holds no copy after the free is mem_wipe's (mem_test). */
#include "base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Catches: a secret that changes, or goes, with the bytes that it came from. */
static void test_is_a_copy(void **state)
{
    char bytes[] = "key\0\xff\n";
    struct secret secret = secret_new(str_of(bytes, sizeof(bytes) - 1));

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    assert_false(secret_is_empty(&secret));
    assert_true(str_eq(secret_reveal(&secret), STR("key\0\xff\n")));
    secret_free(&secret);
}

/* Catches: bytes that can still be reached, or are freed twice. */
static void test_is_gone_after_free(void **state)
{
    struct secret secret = secret_new(STR("key"));

    (void)state;
    for (int i = 0; i < 2; i++) {
        secret_free(&secret);
        assert_true(secret_is_empty(&secret));
        assert_null(secret.bytes);
        assert_int_equal(secret_reveal(&secret).n, 0);
    }
}

static void test_empty(void **state)
{
    const struct str nothing[] = {STR_NULL, STR("")};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(nothing); i++) {
        struct secret secret = secret_new(nothing[i]);
        assert_true(secret_is_empty(&secret));
        assert_true(str_is_null(secret_reveal(&secret)));
        secret_free(&secret);
    }
    struct secret zeroed = {.bytes = NULL};
    assert_true(secret_is_empty(&zeroed));
    secret_free(&zeroed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_a_copy),
        cmocka_unit_test(test_is_gone_after_free),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
