/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t used(const struct arena_budget *budget)
{
    return atomic_load(&budget->used);
}

/* Pieces of all sizes are aligned, do not overlap, and keep what was written. */
static void test_alloc(void **state)
{
    enum { PIECES = 500 };
    struct arena arena;
    unsigned char *pieces[PIECES];

    (void)state;
    arena_init(&arena, 16 * 1024 * 1024, 512, NULL);
    assert_int_equal(arena_bytes(&arena), 0);
    for (size_t i = 0; i < PIECES; i++) {
        size_t n = i * i % 3000;
        pieces[i] = arena_alloc(&arena, n);
        assert_int_equal((uintptr_t)pieces[i] % ARENA_ALIGN, 0);
        memset(pieces[i], (int)(i & 0xff), n);
    }
    for (size_t i = 0; i < PIECES; i++) {
        for (size_t k = 0; k < i * i % 3000; k++)
            assert_int_equal(pieces[i][k], i & 0xff);
    }
    assert_false(arena_overflowed(&arena));
    arena_fini(&arena);
    assert_int_equal(arena_bytes(&arena), 0);
}

static void test_zeroed(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024 * 1024, 512, NULL);
    for (int round = 0; round < 2; round++) {
        for (size_t n = 1; n < 2000; n = n * 2 + 1) {
            memset(arena_alloc(&arena, n), 0xff, n);
            const char *p = arena_zalloc(&arena, n);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
        }
        arena_reset(&arena);
    }
    arena_fini(&arena);
}

/* The cap holds for the sum; what comes past it is a harmless place, and is told. */
static void test_cap(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 4096, 512, NULL);
    for (int i = 0; i < 1000; i++) {
        char *p = arena_alloc(&arena, 100);
        assert_non_null(p);
        memset(p, 0xff, 100);
        assert_true(arena_bytes(&arena) <= 4096);
    }
    assert_true(arena_overflowed(&arena));
    assert_non_null(arena_alloc(&arena, SIZE_MAX));
    assert_non_null(arena_alloc(&arena, SIZE_MAX - 100));
    memset(arena_alloc(&arena, 1 << 20), 0xff, ARENA_RESERVE);
    assert_non_null(arena_zalloc(&arena, 1 << 20));
    arena_reset(&arena);
    assert_false(arena_overflowed(&arena));
    assert_int_equal(arena_bytes(&arena), 0);
    memset(arena_alloc(&arena, 100), 0xff, 100);
    assert_false(arena_overflowed(&arena));
    arena_fini(&arena);

    /* Just what the cap has room for. */
    arena_init(&arena, 1024 * 1024, 512, NULL);
    (void)arena_alloc(&arena, 1024 * 1024 - 256);
    assert_false(arena_overflowed(&arena));
    (void)arena_alloc(&arena, 1024);
    assert_true(arena_overflowed(&arena));
    arena_fini(&arena);
}

static void test_array(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 4096, 512, NULL);
    memset(arena_array(&arena, 10, 12), 0xff, 120);
    assert_false(arena_overflowed(&arena));
    /* 2^33 times 2^31 is 0 in 64 bits. */
    (void)arena_array(&arena, (size_t)1 << 33, (size_t)1 << 31);
    assert_true(arena_overflowed(&arena));
    arena_fini(&arena);
}

static void test_grow(void **state)
{
    struct arena arena;
    size_t n = 1;

    (void)state;
    arena_init(&arena, 16 * 1024 * 1024, 512, NULL);
    char *p = arena_alloc(&arena, n);
    p[0] = 0;
    while (n < 100000) {
        size_t old_n = n;
        n += n / 2 + 1;
        p = arena_grow(&arena, p, old_n, n);
        for (size_t i = old_n; i < n; i++)
            p[i] = (char)i;
        /* Something else in between, so that it has to move now and then. */
        if (n % 3 == 0)
            memset(arena_alloc(&arena, 40), 0xff, 40);
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], (char)i);
    char *shrunk = arena_grow(&arena, p, n, 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(shrunk[i], (char)i);
    assert_non_null(arena_grow(&arena, NULL, 0, 10));
    assert_false(arena_overflowed(&arena));
    (void)arena_grow(&arena, shrunk, 10, (size_t)1 << 40);
    assert_true(arena_overflowed(&arena));
    arena_fini(&arena);
}

/* Large pieces do not end the block that small ones are filling. */
static void test_large_piece(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, 16 * 1024 * 1024, 64 * 1024, NULL);
    (void)arena_alloc(&arena, 16);
    for (int i = 0; i < 10; i++) {
        memset(arena_alloc(&arena, 100000), 0xff, 100000);
        memset(arena_alloc(&arena, 100), 0xff, 100);
    }
    assert_true(arena_bytes(&arena) < 64 * 1024 + 10 * 101000);
    arena_fini(&arena);
}

/* What all arenas hold together; given back to the byte. */
/* Met exactly it is given, passed by one it is not, and nothing is counted for what was refused. */
static void test_budget_is_exact(void **state)
{
    struct arena_budget budget = {.max = 1000};
    (void)state;

    assert_true(arena_budget_take(&budget, 1000));
    assert_false(arena_budget_take(&budget, 1));
    assert_int_equal(used(&budget), 1000);
    arena_budget_give(&budget, 1000);
    assert_false(arena_budget_take(&budget, 1001));
    assert_true(arena_budget_take(&budget, 999));
    assert_true(arena_budget_take(&budget, 1));
    arena_budget_give(&budget, 1000);
    assert_int_equal(used(&budget), 0);
}

static void test_budget(void **state)
{
    struct arena_budget budget = {.used = 0};
    struct arena a;
    struct arena b;

    (void)state;
    arena_init(&a, 100000, 512, &budget);
    arena_init(&b, 100000, 512, &budget);
    assert_int_equal(used(&budget), 0);
    (void)arena_alloc(&a, 1000);
    (void)arena_alloc(&b, 5000);
    assert_int_equal(used(&budget), arena_bytes(&a) + arena_bytes(&b));
    assert_true(used(&budget) >= 6000);
    arena_reset(&a);
    assert_int_equal(used(&budget), arena_bytes(&b));
    (void)arena_alloc(&b, 1 << 20);
    assert_true(arena_overflowed(&b));
    assert_int_equal(used(&budget), arena_bytes(&b));
    arena_fini(&b);
    arena_fini(&a);
    assert_int_equal(used(&budget), 0);
}

/* Catches: a shared bound that many arenas pass together, or that is not given back. */
static void test_budget_is_bounded(void **state)
{
    struct arena_budget budget = {.max = 64 * 1024};
    struct arena arenas[8];
    size_t overflowed = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(arenas); i++) {
        arena_init(&arenas[i], 1024 * 1024, 512, &budget);
        (void)arena_alloc(&arenas[i], 15 * 1024);
        assert_true(atomic_load(&budget.used) <= budget.max);
        overflowed += arena_overflowed(&arenas[i]);
        assert_int_equal(arena_over_budget(&arenas[i]), arena_overflowed(&arenas[i]));
    }
    assert_int_equal(overflowed, 4);
    for (size_t i = 0; i < COUNT_OF(arenas); i++)
        arena_fini(&arenas[i]);
    assert_int_equal(atomic_load(&budget.used), 0);
    arena_init(&arenas[0], 1024, 512, &budget);
    (void)arena_alloc(&arenas[0], 2048);
    assert_true(arena_overflowed(&arenas[0]));
    assert_false(arena_over_budget(&arenas[0]));
    arena_fini(&arenas[0]);
}

/* Catches: an object made past the cap is written over its neighbours. */
static void test_objects_beyond_the_cap_are_whole(void **state)
{
    enum { OBJECT = 700, OBJECTS = 20 };
    struct arena arena;
    unsigned char *objects[OBJECTS];

    (void)state;
    arena_init(&arena, 1024, 512, NULL);
    for (int i = 0; i < OBJECTS; i++) {
        objects[i] = arena_zalloc(&arena, OBJECT);
        for (int k = 0; k < OBJECT; k++)
            assert_int_equal(objects[i][k], 0);
        memset(objects[i], i + 1, OBJECT);
    }
    assert_true(arena_overflowed(&arena));
    for (int i = 0; i < OBJECTS; i++) {
        for (int k = 0; k < OBJECT; k++)
            assert_int_equal(objects[i][k], i + 1);
    }
    /* A client cannot make them without end. */
    for (int i = 0; i < 10000; i++)
        (void)arena_alloc(&arena, ARENA_OBJECT);
    arena_reset(&arena);
    assert_false(arena_overflowed(&arena));
    (void)arena_alloc(&arena, 100);
    assert_false(arena_overflowed(&arena));
    arena_fini(&arena);
}

/* Catches: memory older than a mark that is given back or changed, newer that is kept, bytes that
 * are counted twice or not at all. */
static void test_mark(void **state)
{
    struct arena_budget budget = {.used = 0};
    char *kept[64];
    size_t sizes[64];
    uint64_t seed = 11;
    struct arena arena;

    (void)state;
    arena_init(&arena, 4 * 1024 * 1024, 512, &budget);
    struct arena_mark first = arena_mark(&arena);
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        /* Small ones, and now and then one with a block of its own. */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sizes[i] = seed >> 60 == 0 ? 100000 : 1 + (seed >> 33) % 700;
        kept[i] = arena_alloc(&arena, sizes[i]);
        memset(kept[i], (int)i, sizes[i]);
        const struct arena_mark mark = arena_mark(&arena);
        size_t bytes = arena_bytes(&arena);
        for (size_t round = 0; round < 3; round++) {
            for (size_t k = 0; k < 1 + i; k++)
                memset(arena_alloc(&arena, 900), 0xff, 900);
            memset(arena_alloc(&arena, 200000), 0xff, 200000);
            arena_back(&arena, &mark);
            assert_int_equal(arena_bytes(&arena), bytes);
            assert_int_equal(used(&budget), bytes);
        }
    }
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            assert_int_equal(kept[i][k], (char)i);
    }
    arena_back(&arena, &first);
    assert_int_equal(used(&budget), 0);
    arena_fini(&arena);
}

/* Catches: an attempt that fails because the one before it did not fit. */
static void test_mark_beyond_the_cap(void **state)
{
    struct arena_budget budget = {.max = 64 * 1024};
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024 * 1024, 512, &budget);
    char *kept = arena_alloc(&arena, 300);
    memset(kept, 7, 300);
    const struct arena_mark mark = arena_mark(&arena);
    for (size_t round = 0; round < 3; round++) {
        while (!arena_overflowed(&arena))
            (void)arena_alloc(&arena, 5000);
        assert_true(arena_over_budget(&arena));
        memset(arena_alloc(&arena, ARENA_OBJECT), 1, ARENA_OBJECT);
        arena_back(&arena, &mark);
        assert_false(arena_overflowed(&arena) || arena_over_budget(&arena));
        assert_int_equal(used(&budget), arena_bytes(&arena));
    }
    for (size_t k = 0; k < 300; k++)
        assert_int_equal(kept[k], 7);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mark),
        cmocka_unit_test(test_mark_beyond_the_cap),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_zeroed),
        cmocka_unit_test(test_cap),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_grow),
        cmocka_unit_test(test_large_piece),
        cmocka_unit_test(test_budget_is_bounded),
        cmocka_unit_test(test_objects_beyond_the_cap_are_whole),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_budget_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
