/* SPDX-License-Identifier: MIT */
/*
 * Catches: a key that is taken while it cools, or for ever refused; turns that are not even; a
 * reload that forgets, or remembers of another key; an error's words that are torn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "backend/keyring.h"

enum { KEYS = 4, NOW = 1000 };

struct fixture {
    struct backend_key keys[KEYRING_KEYS_MAX];
    struct backend_config config;
    struct keyring ring;
};

static const char *const names[KEYS] = {"a", "b", "c", "d"};
static const char *const secrets[KEYS] = {"secret-a", "secret-b", "secret-c", "secret-d"};

static void setup(struct fixture *f, size_t n, const char *policy)
{
    *f = (struct fixture){.config = {.name = STR_INIT("up"), .keys = f->keys, .keys_n = n}};
    f->config.policy = policy == NULL ? STR_NULL : str_c(policy);
    for (size_t i = 0; i < n; i++)
        f->keys[i] = (struct backend_key){.name = str_c(names[i % KEYS]),
                                          .key = secret_new(str_c(secrets[i % KEYS]))};
    keyring_init(&f->ring, &f->config);
}

static void free_keys(struct fixture *f)
{
    for (size_t i = 0; i < f->config.keys_n; i++)
        secret_free(&f->keys[i].key);
}

static void teardown(struct fixture *f)
{
    keyring_fini(&f->ring);
    free_keys(f);
}

static size_t choose_with(struct fixture *f, uint64_t tried, size_t last, size_t hint, int64_t now)
{
    int64_t wait_ms = 0;

    return keyring_choose(
        &f->ring, &(struct keyring_ask){.now_ms = now, .tried = tried, .last = last, .hint = hint},
        &wait_ms);
}

static size_t choose(struct fixture *f, int64_t now)
{
    return choose_with(f, 0, 0, KEYRING_NONE, now);
}

static int64_t wait_of(struct fixture *f, uint64_t tried, int64_t now)
{
    int64_t wait_ms = 0;
    size_t index = keyring_choose(
        &f->ring, &(struct keyring_ask){.now_ms = now, .tried = tried, .hint = KEYRING_NONE},
        &wait_ms);

    assert_true(index == KEYRING_NONE);
    return wait_ms;
}

static void end(struct fixture *f, size_t index, enum keyring_outcome outcome, int64_t wait_ms,
                int64_t now)
{
    keyring_begin(&f->ring, index);
    keyring_done(&f->ring, index,
                 &(struct keyring_result){.outcome = outcome,
                                          .status = 429,
                                          .wait_ms = wait_ms,
                                          .limit = -1,
                                          .latency_us = -1,
                                          .text = "slow down"},
                 now);
}

static void limit(struct fixture *f, size_t index, int64_t wait_ms)
{
    end(f, index, KEYRING_LIMITED, wait_ms, NOW);
}

static void refuse(struct fixture *f, size_t index)
{
    end(f, index, KEYRING_REFUSED, -1, NOW);
}

static void test_policies(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 3, NULL); /* sticky */
    assert_int_equal(choose(&f, NOW), 0);
    assert_int_equal(choose(&f, NOW), 1);
    assert_int_equal(choose_with(&f, 0, 0, 1, NOW), 1); /* its session's: takes nobody's turn */
    assert_int_equal(choose(&f, NOW), 2);
    assert_int_equal(choose(&f, NOW), 0);
    assert_int_equal(choose_with(&f, 0, 0, 7, NOW), 1); /* one that is not there (any more) */
    teardown(&f);
    setup(&f, 3, "round-robin");
    for (size_t i = 0; i < 9; i++)
        assert_int_equal(choose_with(&f, 0, 0, 1, NOW), i % 3);
    teardown(&f);
    setup(&f, 3, "failover");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(choose_with(&f, 0, 0, 2, NOW), 0);
    limit(&f, 0, 100);
    assert_int_equal(choose(&f, NOW), 1);
    assert_int_equal(choose(&f, NOW + 100), 0);
    teardown(&f);
}

static void test_least_used(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 3, "least-used");
    for (size_t i = 0; i < 6; i++) {
        size_t index = choose(&f, NOW);
        assert_int_equal(index, i % 3);
        keyring_begin(&f.ring, index);
    }
    end(&f, 2, KEYRING_WORKED, -1, NOW); /* has run more often, but no more run than with others */
    assert_int_equal(choose(&f, NOW), 0);
    keyring_done(&f.ring, 1, &(struct keyring_result){.outcome = KEYRING_WORKED, .latency_us = -1},
                 NOW);
    assert_int_equal(choose(&f, NOW), 1);
    static const size_t running[] = {0, 0, 1, 2, 2};
    for (size_t i = 0; i < COUNT_OF(running); i++)
        keyring_done(&f.ring, running[i],
                     &(struct keyring_result){.outcome = KEYRING_UNKNOWN, .latency_us = -1}, NOW);
    teardown(&f);
}

static void test_one_that_cools_leaves_its_turns_to_all(void **state)
{
    struct fixture f;
    size_t of[4] = {0};

    (void)state;
    setup(&f, 4, "round-robin");
    limit(&f, 1, 100);
    for (size_t i = 0; i < 300; i++)
        of[choose(&f, NOW)]++;
    assert_int_equal(of[0], 100);
    assert_int_equal(of[1], 0);
    assert_int_equal(of[2], 100);
    assert_int_equal(of[3], 100);
    teardown(&f);
}

static void test_the_next_after_one_that_failed(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 3, "round-robin");
    assert_int_equal(choose_with(&f, 1 << 1, 1, KEYRING_NONE, NOW), 2);
    assert_int_equal(choose_with(&f, 1 << 1 | 1 << 2, 2, KEYRING_NONE, NOW), 0);
    assert_int_equal(choose_with(&f, 7, 0, KEYRING_NONE, NOW), KEYRING_NONE);
    assert_int_equal(choose(&f, NOW), 0); /* nobody's turn was taken */
    teardown(&f);
}

static void test_cooling(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 2, NULL);
    limit(&f, 0, 500);
    limit(&f, 1, 300);
    assert_int_equal(keyring_cooling(&f.ring, NOW), 2);
    assert_int_equal(wait_of(&f, 0, NOW), 300);
    assert_int_equal(wait_of(&f, 2, NOW + 299), 1); /* also of those that were tried */
    assert_int_equal(choose(&f, NOW + 300), 1);
    assert_int_equal(keyring_wait_ms(&f.ring, 0, NOW + 300), 200);
    assert_int_equal(keyring_wait_ms(&f.ring, 0, NOW + 501), 0);
    /* What an answer says that has seen an earlier moment changes nothing. */
    limit(&f, 0, 10);
    assert_int_equal(keyring_wait_ms(&f.ring, 0, NOW), 500);
    /* A success that had begun before does not, either. */
    end(&f, 0, KEYRING_WORKED, -1, NOW + 5);
    assert_int_equal(keyring_wait_ms(&f.ring, 0, NOW + 5), 495);
    assert_int_equal(keyring_cooling(&f.ring, NOW + 499), 1);
    assert_int_equal(keyring_cooling(&f.ring, NOW + 500), 0);
    limit(&f, 1, -1); /* not said */
    assert_int_equal(keyring_wait_ms(&f.ring, 1, NOW), KEYRING_COOL_MS);
    limit(&f, 1, INT64_MAX);
    assert_int_equal(keyring_wait_ms(&f.ring, 1, NOW), KEYRING_COOL_MS_MAX);
    teardown(&f);
}

static void test_one_key(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t n = 0; n < 2; n++) { /* or none */
        setup(&f, n, NULL);
        assert_int_equal(f.ring.n, 1);
        assert_int_equal(choose(&f, NOW), 0);
        limit(&f, 0, 50);
        assert_int_equal(wait_of(&f, 0, NOW), 50);
        assert_int_equal(choose(&f, NOW + 50), 0);
        refuse(&f, 0);
        assert_int_equal(choose(&f, NOW + 50), 0);
        assert_int_equal(wait_of(&f, 1, NOW + 50), -1);
        /* It was refused, and then told to wait. */
        end(&f, 0, KEYRING_LIMITED, 400, NOW + 50);
        assert_int_equal(wait_of(&f, 0, NOW + 50), 400);
        assert_int_equal(wait_of(&f, 1, NOW + 150), 300);
        assert_int_equal(choose(&f, NOW + 450), 0);
        teardown(&f);
    }
}

static void test_refused(void **state)
{
    struct fixture f;
    struct keyring_view view;

    (void)state;
    setup(&f, 3, "failover");
    refuse(&f, 0);
    assert_int_equal(choose(&f, NOW), 1);
    assert_int_equal(keyring_first(&f.ring, NOW), 1);
    /* While another one works, if a moment later, it is not asked. */
    limit(&f, 1, 40);
    limit(&f, 2, 60);
    assert_int_equal(keyring_first(&f.ring, NOW), 0);
    assert_int_equal(wait_of(&f, 0, NOW), 40);
    assert_true(keyring_recovers(&f.ring, NOW + 59));
    assert_false(keyring_recovers(&f.ring, NOW + 60));
    refuse(&f, 1);
    assert_true(keyring_recovers(&f.ring, NOW));
    refuse(&f, 2);
    assert_false(keyring_recovers(&f.ring, NOW));
    /* All are: those that the exchange has not tried, and that do not cool. */
    assert_int_equal(choose(&f, NOW), 0);
    assert_int_equal(choose_with(&f, 1, 0, KEYRING_NONE, NOW + 60), 1);
    assert_int_equal(choose_with(&f, 3, 1, KEYRING_NONE, NOW + 60), 2);
    assert_int_equal(wait_of(&f, 7, NOW + 60), -1);
    keyring_view(&f.ring, 2, NOW, &view);
    assert_true(view.invalid);
    end(&f, 2, KEYRING_WORKED, -1, NOW);
    keyring_view(&f.ring, 2, NOW, &view);
    assert_false(view.invalid);
    assert_int_equal(choose(&f, NOW + 60), 2);
    teardown(&f);
}

static void test_view(void **state)
{
    struct fixture f;
    struct keyring_view view;
    char text[KEYRING_TEXT_SIZE + 40];

    (void)state;
    setup(&f, 2, NULL);
    keyring_view(&f.ring, 0, NOW, &view);
    assert_int_equal(view.latency_us, -1);
    assert_int_equal(view.error_age_ms, -1);
    assert_string_equal(view.error, "");
    keyring_begin(&f.ring, 0);
    keyring_begin(&f.ring, 0);
    keyring_view(&f.ring, 0, NOW, &view);
    assert_int_equal(view.in_flight, 2);
    assert_int_equal(view.uses, 2);
    keyring_done(&f.ring, 0, &(struct keyring_result){.outcome = KEYRING_WORKED, .latency_us = 800},
                 NOW);
    memset(text, 'x', sizeof(text));
    memcpy(text + KEYRING_TEXT_SIZE - 2, "\xc3\xa4", 3);
    keyring_done(&f.ring, 0,
                 &(struct keyring_result){
                     .outcome = KEYRING_FAILED, .status = 503, .latency_us = 1600, .text = text},
                 NOW);
    keyring_view(&f.ring, 0, NOW + 70, &view);
    assert_int_equal(view.in_flight, 0);
    assert_int_equal(view.uses, 2);
    assert_int_equal(view.latency_us, 900);
    assert_int_equal(view.error_age_ms, 70);
    assert_int_equal(view.error_status, 503);
    assert_int_equal(strlen(view.error), KEYRING_TEXT_SIZE - 2); /* no half of a letter */
    keyring_view(&f.ring, 1, NOW, &view);
    assert_int_equal(view.uses, 0);
    teardown(&f);
}

static void test_limit(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, 2, NULL);
    assert_int_equal(keyring_limit(&f.ring, NOW), -1);
    keyring_begin(&f.ring, 1);
    keyring_done(&f.ring, 1,
                 &(struct keyring_result){
                     .outcome = KEYRING_LIMITED, .wait_ms = 10, .limit = 60, .latency_us = -1},
                 NOW);
    assert_int_equal(keyring_limit(&f.ring, NOW), 60);
    assert_int_equal(keyring_limit(&f.ring, NOW + 10), -1);
    teardown(&f);
}

static void test_reload(void **state)
{
    struct fixture before;
    struct fixture f;
    struct keyring_view view;

    (void)state;
    setup(&before, 3, NULL);
    limit(&before, 0, 500);
    refuse(&before, 1);
    (void)choose(&before, NOW);
    keyring_begin(&before.ring, 2);
    setup(&f, 4, "failover");
    /* Another order; the same name with another secret is another key. */
    secret_free(&f.keys[1].key);
    f.keys[1].key = secret_new(STR("secret-new"));
    struct backend_key first = f.keys[0];
    f.keys[0] = f.keys[2];
    f.keys[2] = first;
    keyring_fini(&f.ring);
    keyring_init(&f.ring, &f.config);
    keyring_adopt(&f.ring, &before.ring);
    assert_int_equal(keyring_wait_ms(&f.ring, 2, NOW), 500);
    keyring_view(&f.ring, 1, NOW, &view);
    assert_false(view.invalid);
    assert_int_equal(keyring_key_id(&f.ring, 2), keyring_key_id(&before.ring, 0));
    assert_int_equal(keyring_find(&f.ring, keyring_key_id(&before.ring, 2)), 0);
    assert_true(keyring_find(&f.ring, keyring_key_id(&before.ring, 1)) == KEYRING_NONE);
    assert_true(keyring_find(&f.ring, 0) == KEYRING_NONE);
    /* What runs by the old ring is over by it; the new one sees it. */
    keyring_view(&f.ring, 0, NOW, &view);
    assert_int_equal(view.in_flight, 1);
    keyring_done(&before.ring, 2,
                 &(struct keyring_result){
                     .outcome = KEYRING_LIMITED, .wait_ms = 9, .limit = -1, .latency_us = -1},
                 NOW);
    teardown(&before);
    assert_int_equal(keyring_wait_ms(&f.ring, 0, NOW), 9);
    teardown(&f);
}

static void test_another_backends_key_is_another(void **state)
{
    struct fixture f;
    struct fixture other;

    (void)state;
    setup(&f, 1, NULL);
    setup(&other, 1, NULL);
    assert_int_equal(keyring_key_id(&f.ring, 0), keyring_key_id(&other.ring, 0));
    keyring_fini(&other.ring);
    other.config.name = STR("elsewhere");
    keyring_init(&other.ring, &other.config);
    assert_int_not_equal(keyring_key_id(&f.ring, 0), keyring_key_id(&other.ring, 0));
    assert_int_not_equal(f.ring.id, other.ring.id);
    teardown(&other);
    teardown(&f);
}

static void test_as_many_as_there_may_be(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f, KEYRING_KEYS_MAX, "round-robin");
    for (size_t i = 0; i < KEYRING_KEYS_MAX + 1; i++)
        assert_int_equal(choose(&f, NOW), i % KEYRING_KEYS_MAX);
    uint64_t last = UINT64_C(1) << (KEYRING_KEYS_MAX - 1);
    assert_int_equal(choose_with(&f, last, KEYRING_KEYS_MAX - 1, KEYRING_NONE, NOW), 0);
    assert_int_equal(choose_with(&f, ~last, 0, KEYRING_NONE, NOW), KEYRING_KEYS_MAX - 1);
    for (size_t i = 0; i < KEYRING_KEYS_MAX; i++)
        limit(&f, i, (int64_t)(2 * KEYRING_KEYS_MAX - i));
    assert_int_equal(wait_of(&f, ~UINT64_C(0), NOW), KEYRING_KEYS_MAX + 1);
    teardown(&f);
}

enum { THREADS = 3, ROUNDS = 4000 };

static void *use_them(void *ctx)
{
    struct fixture *f = ctx;

    for (int64_t i = 0; i < ROUNDS; i++) {
        size_t index = choose(f, i);
        if (index == KEYRING_NONE)
            continue;
        keyring_begin(&f->ring, index);
        enum keyring_outcome outcome = i % 7 == 0    ? KEYRING_LIMITED
                                       : i % 11 == 0 ? KEYRING_REFUSED
                                                     : KEYRING_WORKED;
        keyring_done(&f->ring, index,
                     &(struct keyring_result){.outcome = outcome,
                                              .wait_ms = 2,
                                              .limit = 5,
                                              .latency_us = i,
                                              .text = i % 2 == 0 ? "even even" : "odd odd"},
                     i);
        struct keyring_view view;
        keyring_view(&f->ring, index, i, &view);
        assert_true(view.in_flight <= THREADS);
        assert_true(view.error[0] == '\0' || str_eq(str_c(view.error), STR("even even")) ||
                    str_eq(str_c(view.error), STR("odd odd")));
    }
    return NULL;
}

/* Catches, under TSan: what is shared without being atomic. */
static void test_all_workers_at_once(void **state)
{
    static const char *const policies[] = {"sticky", "least-used"};
    struct fixture f;
    pthread_t threads[THREADS];

    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        setup(&f, 3, policies[p]);
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, use_them, &f), 0);
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(pthread_join(threads[i], NULL), 0);
        struct keyring_view view;
        for (size_t i = 0; i < 3; i++) {
            keyring_view(&f.ring, i, 0, &view);
            assert_int_equal(view.in_flight, 0);
        }
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_least_used),
        cmocka_unit_test(test_one_that_cools_leaves_its_turns_to_all),
        cmocka_unit_test(test_the_next_after_one_that_failed),
        cmocka_unit_test(test_cooling),
        cmocka_unit_test(test_one_key),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_another_backends_key_is_another),
        cmocka_unit_test(test_as_many_as_there_may_be),
        cmocka_unit_test(test_all_workers_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
