/* SPDX-License-Identifier: MIT */
/* Catches: an item that is lost or changed by those that come and go around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "state/session_history.h"

enum { ARENA_MAX = 1024 * 1024, KEPT_MAX = 12, ROUNDS = 40000 };

static uint64_t seed = 1;

static size_t random_below(size_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(seed >> 33) % n;
}

static char texts[8][SESSION_HISTORY_TEXT_MAX + 1];

/* One of a few, of all lengths; the same often enough. */
static struct str pick_text(size_t max, size_t of)
{
    static const size_t sizes[] = {0, 1, 5, 63, 64, 127, 128, SESSION_HISTORY_TEXT_MAX};
    size_t i = random_below(of);

    memset(texts[i], 'a' + (int)i, sizeof(texts[i]));
    return str_of(texts[i], sizes[i] < max ? sizes[i] : max);
}

static struct session_item make_item(int64_t time, size_t names)
{
    return (struct session_item){
        .time_ms = time,
        .by_proxy = random_below(2) == 0,
        .failed = random_below(2) == 0,
        .prompt = pick_text(SESSION_BEGINNING_MAX, 8),
        .answer = pick_text(SESSION_BEGINNING_MAX, 8),
        .backend = pick_text(SESSION_HISTORY_TEXT_MAX, names),
        .model = pick_text(SESSION_HISTORY_TEXT_MAX, names),
        .project = pick_text(SESSION_HISTORY_TEXT_MAX, names),
        .tokens_in = random_below(3) == 0 ? -1 : (int64_t)random_below(1000000),
        .tokens_out = random_below(3) == 0 ? -1 : (int64_t)random_below(200),
    };
}

static void assert_same(const struct session_item *a, const struct session_item *b)
{
    assert_int_equal(a->time_ms, b->time_ms);
    assert_int_equal(a->by_proxy, b->by_proxy);
    assert_int_equal(a->failed, b->failed);
    assert_int_equal(a->tokens_in, b->tokens_in);
    assert_int_equal(a->tokens_out, b->tokens_out);
    assert_true(str_eq(a->prompt, b->prompt));
    assert_true(str_eq(a->answer, b->answer));
    assert_true(str_eq(a->backend, b->backend));
    assert_true(str_eq(a->model, b->model));
    assert_true(str_eq(a->project, b->project));
}

/* Against a plain list; now and then through the form that the database keeps, and with another
 * bound. */
static void test_items_come_and_go(void **unused)
{
    struct session_history *history = NULL;
    struct session_item kept[KEPT_MAX + 1];
    size_t n = 0;
    size_t max = KEPT_MAX;
    size_t names = 8;

    (void)unused;
    for (int64_t round = 0; round < ROUNDS; round++) {
        struct arena arena;
        struct session_item *items;
        size_t items_n;

        if (random_below(50) == 0)
            max = 1 + random_below(KEPT_MAX);
        if (random_below(50) == 0)
            names = 1 + random_below(8); /* 1: all have the same */
        kept[n++] = make_item(round, names);
        while (n > max) {
            for (size_t i = 0; i + 1 < n; i++)
                kept[i] = kept[i + 1];
            n--;
        }
        session_history_add(&history, &kept[n - 1], max);
        if (random_below(20) == 0) {
            struct session_history *again = NULL;
            struct str bytes = session_history_bytes(history);
            assert_true(session_history_load(bytes, max, &again));
            mem_free(history);
            history = again;
        }
        if (random_below(1000) == 0) {
            session_history_clear(history);
            n = 0;
        }
        arena_init(&arena, ARENA_MAX, 8192, NULL);
        session_history_items(session_history_bytes(history), &arena, &items, &items_n);
        assert_int_equal(items_n, n);
        for (size_t i = 0; i < n; i++)
            assert_same(&items[i], &kept[i]);
        arena_fini(&arena);
    }
    mem_free(history);
}

static void test_what_is_no_history_is_refused(void **unused)
{
    struct session_history *history = NULL;
    struct session_item item = make_item(7, 8);
    char bytes[2048];

    (void)unused;
    session_history_add(&history, &item, 4);
    session_history_add(&history, &item, 4);
    struct str good = session_history_bytes(history);
    assert_true(good.n < sizeof(bytes));
    memcpy(bytes, good.p, good.n);
    size_t n = good.n;
    mem_free(history);
    /* Cut anywhere, and with any one byte changed: refused, or read without a fault. */
    for (size_t i = 0; i < n; i++) {
        struct session_history *read = NULL;
        if (session_history_load(str_of(bytes, i), 4, &read))
            mem_free(read);
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
            read = NULL;
            if (session_history_load(str_of(bytes, n), 1, &read))
                mem_free(read);
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_and_go),
        cmocka_unit_test(test_what_is_no_history_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
