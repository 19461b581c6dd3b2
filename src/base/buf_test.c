/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"

static void check(const struct buf *b, struct str want)
{
    struct str is = buf_str(b);
    if (!str_eq(is, want))
        fail_msg("\"%.*s\" instead of \"%.*s\"", STR_ARG(is), STR_ARG(want));
    assert_true(b->n <= b->size_max);
    assert_true(b->size <= b->size_max);
}

static void test_append(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_null(b.p);
    check(&b, STR(""));
    assert_true(buf_add(&b, STR("ab")));
    assert_true(buf_add(&b, STR("")));
    assert_true(buf_add(&b, STR_NULL));
    assert_true(buf_add_char(&b, '\0'));
    assert_true(buf_add_int64(&b, INT64_MIN));
    assert_true(buf_print(&b, "<%s>", "x"));
    check(&b, STR("ab\0-9223372036854775808<x>"));
    buf_drop(&b, 3);
    check(&b, STR("-9223372036854775808<x>"));
    buf_drop(&b, 0);
    buf_drop(&b, b.n);
    check(&b, STR(""));
    buf_fini(&b);
    assert_null(b.p);
    assert_true(buf_add(&b, STR("again")));
    check(&b, STR("again"));
    buf_fini(&b);
}

/* Catches: room that is not there, or a buffer that is full because of what never came. */
static void test_expect(void **state)
{
    struct arena_budget budget = {.max = 2048};
    struct buf b;

    (void)state;
    buf_init(&b, 8192);
    buf_set_budget(&b, &budget);
    buf_expect(&b, 1000);
    const char *p = b.p;
    assert_true(b.n == 0 && b.size >= 1000);
    for (int i = 0; i < 1000; i++)
        assert_true(buf_add_char(&b, 'x'));
    assert_ptr_equal(b.p, p);
    buf_expect(&b, 24);
    buf_expect(&b, 4096); /* past the budget */
    buf_expect(&b, 8000); /* past the cap */
    buf_expect(&b, SIZE_MAX);
    assert_true(buf_ok(&b) && !b.starved && b.n == 1000);
    assert_true(buf_add_char(&b, 'x'));
    buf_fini(&b);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void test_reserve(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 300);
    char *to = buf_reserve(&b, 300);
    assert_non_null(to);
    memset(to, 'r', 300);
    buf_added(&b, 100);
    assert_int_equal(b.n, 100);
    assert_ptr_equal(buf_reserve(&b, 200), b.p + 100);
    assert_true(buf_ok(&b));
    assert_null(buf_reserve(&b, 201));
    assert_false(buf_ok(&b));
    buf_fini(&b);
}

/* An append that does not fit changes nothing, and all after it fail too: one check at the end. */
static void test_full(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    assert_true(buf_add(&b, STR("abc")));
    assert_false(buf_add(&b, STR("def")));
    check(&b, STR("abc"));
    assert_false(buf_add(&b, STR("d")));
    assert_false(buf_add_char(&b, 'd'));
    assert_false(buf_print(&b, "d"));
    assert_false(buf_add_int64(&b, 1));
    check(&b, STR("abc"));
    assert_false(buf_ok(&b));
    buf_reset(&b);
    assert_true(buf_ok(&b));
    check(&b, STR(""));
    assert_true(buf_add(&b, STR("abcde")));
    assert_false(buf_add_char(&b, 'f'));
    check(&b, STR("abcde"));
    buf_fini(&b);
    /* Sizes that would overflow the sum. */
    buf_init(&b, 10);
    assert_true(buf_add_char(&b, 'a'));
    assert_null(buf_reserve(&b, SIZE_MAX));
    buf_fini(&b);
}

/* Longer than the room on the stack that buf_print tries first. */
static void test_long_print(void **state)
{
    struct buf b;
    char many[2000];

    (void)state;
    memset(many, 'm', sizeof(many));
    buf_init(&b, 10000);
    assert_true(buf_add(&b, STR("<")));
    assert_true(buf_print(&b, "%.*s>", (int)sizeof(many), many));
    assert_int_equal(b.n, sizeof(many) + 2);
    assert_int_equal(b.p[1], 'm');
    assert_int_equal(b.p[b.n - 1], '>');
    for (int i = 0; i < 3; i++)
        assert_true(buf_print(&b, "%.*s", (int)sizeof(many), many));
    assert_false(buf_print(&b, "%.*s", (int)sizeof(many), many));
    assert_int_equal(b.n, 4 * sizeof(many) + 2);
    buf_fini(&b);
}

/* A million appends take a million steps, not a million copies of all. */
static void test_growth(void **state)
{
    struct buf b;
    size_t moves = 0;
    const char *was = NULL;

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1 << 20; i++) {
        assert_true(buf_add_char(&b, (char)i));
        moves += b.p != was;
        was = b.p;
    }
    assert_true(moves <= 13);
    for (int i = 0; i < 1 << 20; i++)
        assert_int_equal(b.p[i], (char)i);
    assert_false(buf_add_char(&b, 'x'));
    buf_fini(&b);
}

/* Catches: memory that is kept, or not given back to the budget; bytes lost while moving. */
static void test_trim(void **state)
{
    struct arena_budget budget = {.max = 0};
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    buf_set_budget(&b, &budget);
    buf_trim(&b);
    assert_null(b.p);
    for (int i = 0; i < 700; i++)
        assert_true(buf_add_char(&b, (char)i));
    assert_true(b.size > 700);
    buf_trim(&b);
    assert_int_equal(b.size, 700);
    assert_int_equal(atomic_load(&budget.used), 700);
    for (int i = 0; i < 700; i++)
        assert_int_equal(b.p[i], (char)i);
    assert_true(buf_add_char(&b, 'x'));
    buf_reset(&b);
    buf_trim(&b);
    assert_null(b.p);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* Catches: a lack of memory that is taken for an answer that is too long, and the other way. */
static void test_starved(void **state)
{
    struct arena_budget budget = {.max = 8192};
    struct arena arena;
    struct buf b;

    (void)state;
    arena_init(&arena, 1 << 20, 1024, &budget);
    buf_init(&b, 100);
    buf_set_budget(&b, &budget);
    assert_null(buf_reserve(&b, 101));
    assert_true(b.full && !b.starved);
    buf_tell(&b, &arena);
    assert_false(arena_overflowed(&arena) || arena_over_budget(&arena));
    buf_fini(&b);
    buf_init(&b, 1 << 20);
    buf_set_budget(&b, &budget);
    assert_null(buf_reserve(&b, 16384));
    assert_true(b.full && b.starved);
    buf_tell(&b, &arena);
    assert_true(arena_overflowed(&arena) && arena_over_budget(&arena));
    buf_reset(&b);
    assert_false(b.full || b.starved);
    assert_non_null(buf_reserve(&b, 100));
    buf_fini(&b);
    arena_fini(&arena);
    assert_int_equal(atomic_load(&budget.used), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),     cmocka_unit_test(test_expect),
        cmocka_unit_test(test_reserve),    cmocka_unit_test(test_full),
        cmocka_unit_test(test_long_print), cmocka_unit_test(test_growth),
        cmocka_unit_test(test_trim),       cmocka_unit_test(test_starved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
