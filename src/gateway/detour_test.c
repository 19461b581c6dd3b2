/* SPDX-License-Identifier: MIT */
/* Going on from the proxy's own answers: from where the conversation was, and never from another
 * one's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/mem.h"
#include "gateway/detour.h"
#include "state/replies.h"

enum { TTL_S = 1000, STORE_BYTES = 1024 * 1024, THREADS = 4, ROUNDS = 100 };

struct fixture {
    struct replies *replies;
    struct detours *detours;
    struct arena arena;
    struct detour got;
};

static const struct session_scope anna = {.bytes = {1}};
static const struct session_scope bert = {.bytes = {2}};

static void setup(struct fixture *f, size_t bytes_max)
{
    f->replies = replies_new(bytes_max, TTL_S);
    f->detours = detour_new(f->replies);
    arena_init(&f->arena, 1024 * 1024, 4096, NULL);
}

static void teardown(struct fixture *f)
{
    detour_free(&f->detours);
    replies_free(&f->replies);
    arena_fini(&f->arena);
}

static struct detour_ask ask_of(const struct session_scope *scope, const char *session,
                                int64_t now_s)
{
    return (struct detour_ask){.scope = scope,
                               .session = session == NULL ? STR_NULL : str_c(session),
                               .now_s = now_s,
                               .ttl_s = TTL_S};
}

static void put(struct fixture *f, const struct session_scope *scope, const char *session,
                const char *previous, int64_t now_s)
{
    const struct detour_ask ask = ask_of(scope, session, now_s);

    detour_put(f->detours, &ask, previous == NULL ? STR_NULL : str_c(previous));
}

static enum detour_found find(struct fixture *f, const struct session_scope *scope,
                              const char *session, int64_t now_s)
{
    const struct detour_ask ask = ask_of(scope, session, now_s);

    return detour_find(f->detours, &ask, &f->arena, &f->got);
}

static void leads_back(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, STORE_BYTES);
    assert_int_equal(find(&f, &anna, NULL, 1), DETOUR_NONE);
    put(&f, &anna, "s1", "resp_1", 1);
    assert_int_equal(find(&f, &anna, NULL, 2), DETOUR_ONE);
    assert_true(str_eq(f.got.previous, STR("resp_1")) && str_eq(f.got.session, STR("s1")));
    /* The newest answer of a session counts. */
    put(&f, &anna, "s1", "resp_2", 3);
    assert_int_equal(find(&f, &anna, NULL, 3), DETOUR_ONE);
    assert_true(str_eq(f.got.previous, STR("resp_2")));
    /* The first request of a conversation goes on from nothing. */
    put(&f, &anna, "s1", NULL, 4);
    assert_int_equal(find(&f, &anna, "s1", 4), DETOUR_ONE);
    assert_true(str_is_null(f.got.previous) && str_eq(f.got.session, STR("s1")));
    assert_int_equal(find(&f, &anna, "s2", 4), DETOUR_NONE);
    teardown(&f);
}

static void never_guesses(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, STORE_BYTES);
    put(&f, &anna, "s1", "resp_1", 1);
    put(&f, &anna, "s2", "resp_2", 500);
    assert_int_equal(find(&f, &anna, NULL, 501), DETOUR_MANY);
    assert_int_equal(find(&f, &anna, "s1", 501), DETOUR_ONE);
    assert_true(str_eq(f.got.previous, STR("resp_1")));
    assert_int_equal(find(&f, &anna, "s2", 501), DETOUR_ONE);
    assert_true(str_eq(f.got.previous, STR("resp_2")));
    /* Another client has nothing to do with it. */
    assert_int_equal(find(&f, &bert, NULL, 501), DETOUR_NONE);
    assert_int_equal(find(&f, &bert, "s1", 501), DETOUR_NONE);
    put(&f, &bert, "s1", "resp_b", 502);
    assert_int_equal(find(&f, &bert, NULL, 503), DETOUR_ONE);
    assert_true(str_eq(f.got.previous, STR("resp_b")));
    /* The first one is too old, the second is not. */
    assert_int_equal(find(&f, &anna, NULL, 1 + TTL_S), DETOUR_ONE);
    assert_true(str_eq(f.got.session, STR("s2")));
    assert_int_equal(find(&f, &anna, "s1", 1 + TTL_S), DETOUR_NONE);
    assert_int_equal(find(&f, &anna, NULL, 500 + TTL_S), DETOUR_NONE);
    teardown(&f);
}

static void is_forgotten(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, STORE_BYTES);
    put(&f, &anna, "s1", "resp_1", 1);
    put(&f, &anna, "s2", "resp_2", 2);
    const struct detour_ask ask = ask_of(&anna, "s2", 3);
    detour_forget(f.detours, &ask);
    detour_forget(f.detours, &ask);
    assert_int_equal(find(&f, &anna, NULL, 3), DETOUR_ONE);
    assert_true(str_eq(f.got.session, STR("s1")));
    assert_int_equal(find(&f, &anna, "s2", 3), DETOUR_NONE);
    teardown(&f);
}

/* More sessions than the list has lines for: those that fell out of it still count. */
static void more_than_the_list_has(void **state)
{
    struct fixture f;
    char name[16];

    (void)state;
    setup(&f, STORE_BYTES);
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof(name), "s%d", i);
        put(&f, &anna, name, "resp_1", i);
        assert_int_equal(find(&f, &anna, NULL, i), i == 0 ? DETOUR_ONE : DETOUR_MANY);
    }
    assert_int_equal(find(&f, &anna, "s0", 200), DETOUR_ONE);
    for (int i = 100; i < 200; i++) {
        (void)snprintf(name, sizeof(name), "s%d", i);
        const struct detour_ask ask = ask_of(&anna, name, 200);
        detour_forget(f.detours, &ask);
    }
    /* s0 to s99 have no line of their own any more. */
    assert_int_equal(find(&f, &anna, NULL, 200), DETOUR_MANY);
    assert_int_equal(find(&f, &anna, NULL, 200 + TTL_S), DETOUR_NONE);
    teardown(&f);
}

/* The store has room for little: what is not there any more is not taken for another one. */
static void too_little_room(void **state)
{
    struct fixture f;
    char name[16];

    (void)state;
    setup(&f, 2048);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(name, sizeof(name), "s%d", i);
        put(&f, &anna, name, "resp_1", i);
        enum detour_found found = find(&f, &anna, NULL, i);
        assert_true(found == DETOUR_MANY || i == 0 ||
                    (found == DETOUR_NONE && replies_bytes(f.replies) <= 2048));
    }
    teardown(&f);
}

struct writer {
    struct fixture *f;
    int number;
};

static void *write_many(void *ctx)
{
    const struct writer *writer = ctx;
    char name[32];

    for (int i = 0; i < ROUNDS; i++) {
        (void)snprintf(name, sizeof(name), "t%d", writer->number);
        put(writer->f, &anna, name, "resp_1", i);
    }
    return NULL;
}

/* None is lost when several write at once: else one of them would be taken for the only one. */
static void all_at_once(void **state)
{
    struct fixture f;
    pthread_t threads[THREADS];
    struct writer writers[THREADS];
    char name[32];

    (void)state;
    setup(&f, STORE_BYTES);
    for (int i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.f = &f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &writers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int left = THREADS; left > 0; left--) {
        assert_int_equal(find(&f, &anna, NULL, ROUNDS), left > 1 ? DETOUR_MANY : DETOUR_ONE);
        (void)snprintf(name, sizeof(name), "t%d", left - 1);
        const struct detour_ask ask = ask_of(&anna, name, ROUNDS);
        detour_forget(f.detours, &ask);
    }
    assert_int_equal(find(&f, &anna, NULL, ROUNDS), DETOUR_NONE);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leads_back),      cmocka_unit_test(never_guesses),
        cmocka_unit_test(is_forgotten),    cmocka_unit_test(more_than_the_list_has),
        cmocka_unit_test(too_little_room), cmocka_unit_test(all_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
