/* SPDX-License-Identifier: MIT */
/* Kept responses: whose they are, how long they stay, and what leaves first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <pthread.h>

#include "state/replies.h"

enum { ROOM = 1 << 20, TTL = 100, NOW = 1000000 };

static struct str number(char *into, size_t size, const char *word, int i)
{
    int n = snprintf(into, size, "%s%d", word, i);

    assert_in_range(n, 1, size - 1);
    return str_of(into, (size_t)n);
}

static void put(struct replies *replies, const char *owner, const char *id, const char *output,
                int64_t now_s)
{
    const struct reply reply = {.id = str_c(id),
                                .backend = STR("mock"),
                                .response = STR("{}"),
                                .input = STR("[]"),
                                .output = str_c(output)};

    replies_put(replies, str_c(owner), &reply, now_s);
}

static bool has(struct replies *replies, const char *owner, const char *id, int64_t now_s)
{
    struct arena arena;
    struct reply reply;

    arena_init(&arena, ROOM, 512, NULL);
    bool found = replies_get(replies, str_c(owner), str_c(id), now_s, &arena, &reply);
    if (found)
        assert_true(str_eq(reply.id, str_c(id)));
    arena_fini(&arena);
    return found;
}

static void test_all_of_a_response_comes_back_as_a_copy(void **state)
{
    (void)state;
    struct replies *replies = replies_new(ROOM, TTL);
    char response[] = "{\"id\":\"resp_1\"}";
    struct arena arena;
    struct reply got;

    arena_init(&arena, ROOM, 512, NULL);
    replies_put(replies, STR("anna"),
                &(struct reply){.id = STR("resp_1"),
                                .previous = STR("resp_0"),
                                .backend = STR("claude"),
                                .key = STR("main"),
                                .response = str_c(response),
                                .input = STR("[1]"),
                                .output = STR("[2]")},
                NOW);
    memset(response, 'x', sizeof(response) - 1);
    assert_true(replies_get(replies, STR("anna"), STR("resp_1"), NOW, &arena, &got));
    assert_int_not_equal(replies_bytes(replies), 0);
    /* It stays whole when the original has gone. */
    assert_true(replies_delete(replies, STR("anna"), STR("resp_1")));
    assert_int_equal(replies_bytes(replies), 0);
    assert_true(str_eq(got.id, STR("resp_1")));
    assert_true(str_eq(got.previous, STR("resp_0")));
    assert_true(str_eq(got.backend, STR("claude")));
    assert_true(str_eq(got.key, STR("main")));
    assert_true(str_eq(got.response, STR("{\"id\":\"resp_1\"}")));
    assert_true(str_eq(got.input, STR("[1]")));
    assert_true(str_eq(got.output, STR("[2]")));

    /* An output that stands in the response is not kept twice. */
    static char long_text[4096];
    memset(long_text, '1', sizeof(long_text));
    struct str whole = str_of(long_text, sizeof(long_text));
    replies_put(replies, STR("anna"),
                &(struct reply){.id = STR("resp_3"),
                                .backend = STR("b"),
                                .response = whole,
                                .output = str_from(whole, 1000)},
                NOW);
    assert_in_range(replies_bytes(replies), sizeof(long_text), sizeof(long_text) + 1000);
    assert_true(replies_get(replies, STR("anna"), STR("resp_3"), NOW, &arena, &got));
    assert_true(str_eq(got.output, str_from(whole, 1000)));
    assert_ptr_equal(got.output.p, got.response.p + 1000);
    assert_true(replies_delete(replies, STR("anna"), STR("resp_3")));

    /* What is absent stays absent: a raw pair's has no response. */
    replies_put(replies, STR("anna"),
                &(struct reply){.id = STR("resp_2"), .backend = STR("openai")}, NOW);
    assert_true(replies_get(replies, STR("anna"), STR("resp_2"), NOW, &arena, &got));
    assert_true(str_is_null(got.response) && str_is_null(got.key) && str_is_null(got.previous));
    arena_fini(&arena);
    replies_free(&replies);
    assert_null(replies);
    replies_free(&replies);
}

static void test_only_its_owner_sees_one(void **state)
{
    (void)state;
    struct replies *replies = replies_new(ROOM, TTL);

    assert_false(has(replies, "anna", "resp_1", NOW));
    assert_false(replies_delete(replies, STR("anna"), STR("resp_1")));
    put(replies, "anna", "resp_1", "[1]", NOW);
    assert_true(has(replies, "anna", "resp_1", NOW));
    assert_false(has(replies, "bob", "resp_1", NOW));
    assert_false(has(replies, "", "resp_1", NOW));
    assert_false(has(replies, "annaresp_1", "", NOW));
    assert_false(replies_delete(replies, STR("bob"), STR("resp_1")));
    assert_true(has(replies, "anna", "resp_1", NOW));
    /* The same id of another one is another response. */
    put(replies, "bob", "resp_1", "[2]", NOW);
    assert_true(replies_delete(replies, STR("anna"), STR("resp_1")));
    assert_false(has(replies, "anna", "resp_1", NOW));
    assert_true(has(replies, "bob", "resp_1", NOW));
    replies_free(&replies);
}

static void test_one_is_gone_after_its_time(void **state)
{
    (void)state;
    struct replies *replies = replies_new(ROOM, TTL);

    put(replies, "anna", "resp_1", "[]", NOW);
    put(replies, "anna", "resp_2", "[]", NOW + TTL - 1);
    assert_true(has(replies, "anna", "resp_1", NOW + TTL - 1));
    size_t both = replies_bytes(replies);
    assert_false(has(replies, "anna", "resp_1", NOW + TTL));
    assert_true(has(replies, "anna", "resp_2", NOW + TTL));
    assert_int_equal(replies_bytes(replies), both / 2); /* its memory has gone too */

    /* A worker whose clock is behind put it later: age is not the order. */
    put(replies, "anna", "resp_3", "[]", NOW + TTL - 50);
    assert_false(has(replies, "anna", "resp_3", NOW + 2 * TTL - 50));
    assert_true(has(replies, "anna", "resp_2", NOW + 2 * TTL - 50));
    /* And one that is put again is young. */
    put(replies, "anna", "resp_2", "[]", NOW + 2 * TTL - 50);
    assert_true(has(replies, "anna", "resp_2", NOW + 3 * TTL - 51));
    replies_free(&replies);
}

static void test_the_oldest_leave_when_there_is_no_room(void **state)
{
    (void)state;
    struct replies *replies = replies_new(ROOM, TTL);
    char id[32];

    put(replies, "anna", "resp_0", "[]", NOW);
    size_t one = replies_bytes(replies);
    replies_set_bounds(replies, 5 * one, TTL);
    for (int i = 1; i < 8; i++) {
        (void)number(id, sizeof(id), "resp_", i);
        put(replies, "anna", id, "[]", NOW + i);
        assert_true(replies_bytes(replies) <= 5 * one);
    }
    for (int i = 0; i < 8; i++) {
        (void)number(id, sizeof(id), "resp_", i);
        assert_int_equal(has(replies, "anna", id, NOW + 8), i >= 3);
    }
    /* The same id again takes the place of what was there, and is the youngest. */
    put(replies, "anna", "resp_3", "[]", NOW + 9);
    assert_int_equal(replies_bytes(replies), 5 * one);
    put(replies, "anna", "resp_8", "[]", NOW + 9);
    assert_true(has(replies, "anna", "resp_3", NOW + 9));
    assert_false(has(replies, "anna", "resp_4", NOW + 9));
    replies_free(&replies);
}

static void test_one_larger_than_all_is_not_kept_and_takes_nothing_along(void **state)
{
    (void)state;
    static char big[8192];
    struct replies *replies = replies_new(4096, TTL);

    memset(big, '1', sizeof(big) - 1);
    put(replies, "anna", "resp_1", "[]", NOW);
    put(replies, "anna", "resp_big", big, NOW);
    assert_true(has(replies, "anna", "resp_1", NOW));
    assert_false(has(replies, "anna", "resp_big", NOW));
    /* But what had its id is not what is asked for any more. */
    put(replies, "anna", "resp_1", big, NOW);
    assert_false(has(replies, "anna", "resp_1", NOW));
    assert_int_equal(replies_bytes(replies), 0);
    replies_free(&replies);
}

static void test_bounds_change_while_it_lives(void **state)
{
    (void)state;
    struct replies *replies = replies_new(ROOM, TTL);

    put(replies, "anna", "resp_1", "[]", NOW);
    size_t one = replies_bytes(replies);
    put(replies, "anna", "resp_2", "[]", NOW + 10);
    replies_set_bounds(replies, one, TTL);
    assert_int_equal(replies_bytes(replies), one);
    assert_false(has(replies, "anna", "resp_1", NOW + 10));
    assert_true(has(replies, "anna", "resp_2", NOW + 10));
    replies_set_bounds(replies, one, 5);
    assert_false(has(replies, "anna", "resp_2", NOW + 15));
    replies_set_bounds(replies, 0, TTL);
    put(replies, "anna", "resp_3", "[]", NOW + 15);
    assert_int_equal(replies_bytes(replies), 0);
    replies_set_bounds(replies, ROOM, TTL);
    put(replies, "anna", "resp_3", "[]", NOW + 15);
    assert_true(has(replies, "anna", "resp_3", NOW + 15));
    replies_free(&replies);
}

/* --- several workers --- */

enum { THREADS = 4, ROUNDS = 2000, IDS = 50 };

struct worker {
    pthread_t thread;
    struct replies *replies;
    int own;
    size_t found;
    bool torn;
};

static void check_whole(struct worker *worker, const struct reply *reply)
{
    /* Every text of one says the same number. */
    worker->found++;
    worker->torn |= !str_eq(reply->input, reply->output) || !str_eq(reply->input, reply->response);
}

static void *work(void *ctx)
{
    struct worker *worker = ctx;
    struct arena arena;
    char id[32];
    char text[64];

    arena_init(&arena, ROOM, 4096, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        struct str name = number(id, sizeof(id), "resp_", (i * 7 + worker->own) % IDS);
        struct str what = number(text, sizeof(text), "[\"a longer text to be torn\",", i);
        struct reply reply = {
            .id = name, .backend = STR("mock"), .response = what, .input = what, .output = what};
        if (i % 3 == worker->own % 3)
            replies_put(worker->replies, STR("all"), &reply, NOW + i / 100);
        else if (i % 11 == 0)
            (void)replies_delete(worker->replies, STR("all"), name);
        else if (i % 101 == 0)
            replies_set_bounds(worker->replies, (size_t)(4096 + i), TTL);
        else if (replies_get(worker->replies, STR("all"), name, NOW + i / 100, &arena, &reply))
            check_whole(worker, &reply);
        arena_rewind(&arena);
    }
    arena_fini(&arena);
    return NULL;
}

static void test_workers_share_one(void **state)
{
    (void)state;
    struct worker workers[THREADS] = {{0}};
    struct replies *replies = replies_new(8192, TTL);
    size_t found = 0;

    for (int i = 0; i < THREADS; i++) {
        workers[i].replies = replies;
        workers[i].own = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        assert_false(workers[i].torn);
        found += workers[i].found;
    }
    assert_int_not_equal(found, 0);
    assert_true(replies_bytes(replies) <= 8192);
    replies_set_bounds(replies, 0, TTL);
    assert_int_equal(replies_bytes(replies), 0);
    replies_free(&replies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_a_response_comes_back_as_a_copy),
        cmocka_unit_test(test_only_its_owner_sees_one),
        cmocka_unit_test(test_one_is_gone_after_its_time),
        cmocka_unit_test(test_the_oldest_leave_when_there_is_no_room),
        cmocka_unit_test(test_one_larger_than_all_is_not_kept_and_takes_nothing_along),
        cmocka_unit_test(test_bounds_change_while_it_lives),
        cmocka_unit_test(test_workers_share_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
