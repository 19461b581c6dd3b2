/* SPDX-License-Identifier: MIT */
/* Catches: an item that is lost or changed by those that come and go around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "state/session_history.h"
#include "text/utf8.h"

enum { ARENA_MAX = 1024 * 1024, ARENA_BYTES = ARENA_MAX, KEPT_MAX = 12, ROUNDS = 40000 };

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

/* Items that differ in which of their texts are those of the one before. */
static struct session_item item_of(unsigned number, struct arena *arena)
{
    struct session_item item = {.time_ms = 1700000000000 + number};

    item.by_proxy = number % 3 == 0;
    item.failed = number % 5 == 0;
    item.prompt = str_print(arena, "prompt %u", number);
    item.answer = number % 4 == 0 ? STR_NULL : str_print(arena, "answer %u", number);
    item.backend = str_print(arena, "backend%u", number / 2);
    item.model = number % 7 == 0 ? STR_NULL : str_print(arena, "model%u", number / 3);
    item.project = str_print(arena, "project%u", number / 5);
    item.tokens_in = number % 6 == 0 ? -1 : (int64_t)number << (number % 40);
    item.tokens_out = number % 2 == 0 ? -1 : 0;
    return item;
}

static bool same(const struct session_item *a, const struct session_item *b)
{
    return a->time_ms == b->time_ms && a->by_proxy == b->by_proxy && a->failed == b->failed &&
           str_eq(a->prompt, b->prompt) && str_eq(a->answer, b->answer) &&
           str_eq(a->backend, b->backend) && str_eq(a->model, b->model) &&
           str_eq(a->project, b->project) && a->tokens_in == b->tokens_in &&
           a->tokens_out == b->tokens_out;
}

/* It has the items first to last. */
static void holds(struct str bytes, unsigned first, unsigned last, struct arena *arena)
{
    struct session_item *items;
    size_t n;

    session_history_items(bytes, arena, &items, &n);
    assert_int_equal(n, last + 1 - first);
    for (unsigned i = first; i <= last; i++) {
        struct session_item wanted = item_of(i, arena);
        if (!same(&items[i - first], &wanted))
            fail_msg("item %u of %u to %u differs", i, first, last);
    }
}

/* As many as there may be, whatever the oldest had in common with the next; and what the database
 * would give back is the same. */
static void test_last_ones(void **state)
{
    (void)state;
    for (size_t max = 1; max < 12; max++) {
        struct session_history *history = NULL;
        struct arena arena;
        arena_init(&arena, ARENA_BYTES, 1024, NULL);
        assert_true(str_eq(session_history_bytes(history), STR("")));
        for (unsigned i = 0; i < 100; i++) {
            struct session_item item = item_of(i, &arena);
            session_history_add(&history, &item, max);
            unsigned first = i + 1 < max ? 0 : i + 1 - (unsigned)max;
            struct str bytes = session_history_bytes(history);
            holds(bytes, first, i, &arena);
            struct session_history *read = NULL;
            assert_true(session_history_load(bytes, 5, &read));
            if (first + 5 < i + 1)
                first = i + 1 - 5;
            holds(session_history_bytes(read), first, i, &arena);
            item = item_of(i + 1, &arena);
            session_history_add(&read, &item, 5);
            holds(session_history_bytes(read), i + 1 - first >= 5 ? i + 2 - 5 : first, i + 1,
                  &arena);
            mem_free(read);
            arena_rewind(&arena);
        }
        /* Fewer from now on. */
        struct session_item item = item_of(100, &arena);
        session_history_add(&history, &item, 1);
        holds(session_history_bytes(history), 100, 100, &arena);
        session_history_clear(history);
        assert_int_equal(session_history_bytes(history).n, 0);
        session_history_add(&history, &item, 0);
        assert_int_equal(session_history_bytes(history).n, 0);
        mem_free(history);
        arena_fini(&arena);
    }
    struct session_history *none = NULL;
    struct session_item item = {.tokens_in = -1};
    session_history_clear(none);
    session_history_add(&none, &item, 0);
    assert_null(none);
}

/* Texts are cut, at a character's end, and where they are no UTF-8. */
static void test_bounds(void **state)
{
    struct session_history *history = NULL;
    struct session_item *items;
    struct arena arena;
    char text[1000];
    size_t n;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    for (size_t i = 0; i + 1 < sizeof(text); i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    text[sizeof(text) - 1] = 'x';
    struct session_item item = {.prompt = str_of(text, 65),
                                .answer = str_of(text, sizeof(text)),
                                .backend = STR("a\xff"
                                               "b"),
                                .model = str_of(text, sizeof(text)),
                                .project = STR("\xff"),
                                .tokens_in = INT64_MAX,
                                .tokens_out = INT64_MAX,
                                .time_ms = -5};
    session_history_add(&history, &item, 3);
    session_history_items(session_history_bytes(history), &arena, &items, &n);
    assert_int_equal(n, 1);
    assert_int_equal(items[0].prompt.n, 64);
    assert_int_equal(items[0].answer.n, 64);
    assert_int_equal(items[0].model.n, 254);
    assert_true(str_eq(items[0].backend, STR("a")));
    assert_true(str_is_null(items[0].project));
    assert_int_equal(items[0].tokens_in, INT64_MAX);
    assert_int_equal(items[0].tokens_out, INT64_MAX);
    assert_int_equal(items[0].time_ms, -5);
    mem_free(history);
    arena_fini(&arena);
}

/* Each prefix, and each byte changed: what is read back is whole, and reads the same again. */
static void test_broken(void **state)
{
    struct session_history *history = NULL;
    struct arena arena;
    unsigned refused = 0;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    for (unsigned i = 0; i < 6; i++) {
        struct session_item item = item_of(i, &arena);
        session_history_add(&history, &item, 10);
    }
    struct str bytes = session_history_bytes(history);
    unsigned whole = 0;
    for (size_t n = 0; n < bytes.n; n++) {
        struct session_history *read = NULL;
        char *part = mem_raw(n + 1);
        memcpy(part, bytes.p, n);
        if (session_history_load(str_of(part, n), 10, &read))
            whole++;
        mem_free(read);
        mem_free(part);
    }
    /* Between two items only. */
    assert_int_equal(whole, 6);
    for (size_t at = 0; at < bytes.n; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct session_history *read = NULL;
            char *changed = mem_raw(bytes.n);
            memcpy(changed, bytes.p, bytes.n);
            changed[at] = (char)(changed[at] ^ (1 << bit));
            if (session_history_load(str_of(changed, bytes.n), 3, &read)) {
                struct session_item *items;
                size_t n;
                session_history_items(session_history_bytes(read), &arena, &items, &n);
                assert_in_range(n, 1, 3);
                for (size_t i = 0; i < n; i++)
                    assert_true(utf8_valid(items[i].prompt) && utf8_valid(items[i].backend) &&
                                items[i].tokens_in >= -1);
            } else {
                refused++;
                assert_null(read);
            }
            mem_free(read);
            mem_free(changed);
            arena_rewind(&arena);
        }
    }
    assert_true(refused > bytes.n);
    mem_free(history);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_come_and_go),
        cmocka_unit_test(test_what_is_no_history_is_refused),
        cmocka_unit_test(test_last_ones),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
