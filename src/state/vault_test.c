/* SPDX-License-Identifier: MIT */
#include "state/vault.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { DAY = 24 * 60 * 60 };

static void is(struct vault *vault, const char *client, const char *key, int64_t now_s,
               const char *wanted)
{
    struct arena arena;

    arena_init(&arena, 1024 * 1024, 1024, NULL);
    struct str value = vault_get(vault, str_c(client), str_c(key), now_s, &arena);
    if (wanted == NULL ? !str_is_null(value) : !str_eq(value, str_c(wanted)))
        fail_msg("%s, %s: '%.*s' instead of '%s'", client, key, STR_ARG(value),
                 wanted == NULL ? "(null)" : wanted);
    arena_fini(&arena);
}

static void test_by_client_and_key(void **state)
{
    struct vault *vault = vault_new(1024 * 1024, DAY);

    (void)state;
    is(vault, "a", "call_1", 0, NULL);
    vault_put(vault, STR("a"), STR("call_1"), STR("of a"), 0);
    vault_put(vault, STR("b"), STR("call_1"), STR("of b"), 0);
    vault_put(vault, STR("a"), STR("call_2"), STR("other"), 0);
    vault_put(vault, STR("acall_"), STR("1"), STR("not of a"), 0);
    is(vault, "a", "call_1", 1, "of a");
    is(vault, "b", "call_1", 1, "of b");
    is(vault, "a", "call_2", 1, "other");
    is(vault, "b", "call_2", 1, NULL);
    is(vault, "c", "call_1", 1, NULL);
    /* A later one takes its place. */
    size_t before = vault_bytes(vault);
    vault_put(vault, STR("a"), STR("call_1"), STR("new."), 2);
    is(vault, "a", "call_1", 2, "new.");
    assert_int_equal(vault_bytes(vault), before);
    vault_free(&vault);
    assert_null(vault);
    vault_free(&vault);
}

static void test_age(void **state)
{
    struct vault *vault = vault_new(1024 * 1024, DAY);

    (void)state;
    vault_put(vault, STR("a"), STR("1"), STR("first"), 1000);
    vault_put(vault, STR("a"), STR("2"), STR("second"), 2000);
    is(vault, "a", "1", 1000 + DAY - 1, "first");
    /* Use does not make it younger. */
    is(vault, "a", "1", 1000 + DAY, NULL);
    is(vault, "a", "2", 1000 + DAY, "second");
    /* What is old leaves when something comes, asked for or not. */
    vault_put(vault, STR("a"), STR("3"), STR("third"), 2000 + DAY);
    size_t one = vault_bytes(vault);
    is(vault, "a", "2", 2000 + DAY, NULL);
    is(vault, "a", "3", 2000 + DAY, "third");
    assert_int_equal(vault_bytes(vault), one);
    vault_free(&vault);
}

/* The bound holds, and the least recently used go. */
static void test_bytes(void **state)
{
    enum { MAX = 64 * 1024 };
    struct vault *vault = vault_new(MAX, DAY);
    char value[1000];
    char key[32];

    (void)state;
    memset(value, 'v', sizeof(value));
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "call_%d", i);
        vault_put(vault, STR("a"), str_c(key), str_of(value, sizeof(value)), 0);
        assert_in_range(vault_bytes(vault), 0, MAX);
        struct arena arena;
        arena_init(&arena, 16 * 1024, 1024, NULL);
        assert_false(str_is_null(vault_get(vault, STR("a"), STR("call_0"), 0, &arena)));
        arena_fini(&arena);
    }
    assert_in_range(vault_bytes(vault), MAX - 2 * (int)sizeof(value), MAX);
    is(vault, "a", "call_1", 0, NULL);
    is(vault, "a", "call_900", 0, NULL);
    vault_free(&vault);
}

static void test_too_large(void **state)
{
    static char value[300];
    struct vault *vault = vault_new(1024, DAY);
    struct arena arena;

    (void)state;
    memset(value, 'v', sizeof(value));
    vault_put(vault, STR("a"), STR("1"), str_of(value, 20), 0);
    size_t before = vault_bytes(vault);
    vault_put(vault, STR("a"), STR("2"), str_of(value, sizeof(value)), 0);
    vault_put(vault, STR("a"), STR("3"), str_of(value, 250), 0);
    assert_int_equal(vault_bytes(vault), before);
    arena_init(&arena, 1024, 512, NULL);
    assert_true(str_is_null(vault_get(vault, STR("a"), STR("2"), 0, &arena)));
    arena_fini(&arena);
    vault_free(&vault);

    /* No room in the arena: nothing, and nothing by half. */
    vault = vault_new(64 * 1024, DAY);
    vault_put(vault, STR("a"), STR("1"), str_of(value, sizeof(value)), 0);
    arena_init(&arena, 100, 512, NULL);
    assert_true(str_is_null(vault_get(vault, STR("a"), STR("1"), 0, &arena)));
    arena_fini(&arena);
    vault_free(&vault);
}

enum { THREADS = 4, ROUNDS = 3000 };

struct worker {
    struct vault *vault;
    int number;
};

/* Each reads and writes its own and everybody's; values say their key. */
static void *work(void *argument)
{
    const struct worker *worker = argument;
    struct arena arena;
    char key[32];
    char value[400];

    arena_init(&arena, 64 * 1024, 1024, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        int n = snprintf(key, sizeof(key), "call_%d", (i * 7 + worker->number) % 200);
        memset(value, 'x', sizeof(value));
        memcpy(value, key, (size_t)n);
        vault_put(worker->vault, STR("all"), str_of(key, (size_t)n), str_of(value, sizeof(value)),
                  i);
        n = snprintf(key, sizeof(key), "call_%d", (i * 13) % 200);
        struct str got = vault_get(worker->vault, STR("all"), str_of(key, (size_t)n), i, &arena);
        if (!str_is_null(got) && (got.n != sizeof(value) || memcmp(got.p, key, (size_t)n) != 0))
            return argument;
        arena_rewind(&arena);
    }
    arena_fini(&arena);
    return NULL;
}

/* Catches: one client that pushes out what all others keep. */
static void test_nobody_pushes_out_others(void **state)
{
    enum { MAX = 64 * 1024 };
    struct vault *vault = vault_new(MAX, DAY);
    struct vault_stats stats;
    char value[1000];
    char key[32];

    (void)state;
    memset(value, 'v', sizeof(value));
    vault_put(vault, STR("quiet"), STR("1"), STR("first"), 0);
    vault_put(vault, STR("other"), STR("1"), str_of(value, sizeof(value)), 0);
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(key, sizeof(key), "%d", i);
        vault_put(vault, STR("loud"), str_of(key, (size_t)n), str_of(value, sizeof(value)), 1);
        assert_in_range(vault_bytes(vault), 1, MAX);
    }
    is(vault, "quiet", "1", 2, "first");
    vault_stats(vault, &stats);
    assert_true(stats.evictions > 900);
    assert_int_equal(stats.evictions + stats.entries, 1002);
    assert_int_equal(stats.bytes, vault_bytes(vault));
    assert_int_equal(stats.hits, 1);
    assert_int_equal(stats.misses, 0);
    /* Two that are loud end with about the same. */
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(key, sizeof(key), "%d", i);
        vault_put(vault, STR("late"), str_of(key, (size_t)n), str_of(value, sizeof(value)), 1);
    }
    is(vault, "quiet", "1", 2, "first");
    size_t found = 0;
    for (int i = 0; i < 1000; i++) {
        struct arena arena;
        int n = snprintf(key, sizeof(key), "%d", i);
        arena_init(&arena, 4096, 1024, NULL);
        if (!str_is_null(vault_get(vault, STR("loud"), str_of(key, (size_t)n), 2, &arena)))
            found++;
        arena_fini(&arena);
    }
    vault_stats(vault, &stats);
    assert_in_range(found, stats.entries / 2 - 2, stats.entries / 2 + 2);
    assert_int_equal(stats.misses, 1000 - found);
    vault_free(&vault);
}

static void test_threads(void **state)
{
    struct vault *vault = vault_new(32 * 1024, 100);
    pthread_t threads[THREADS];
    struct worker workers[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.vault = vault, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result = vault;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    assert_in_range(vault_bytes(vault), 0, 32 * 1024);
    vault_free(&vault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_client_and_key),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_nobody_pushes_out_others),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
