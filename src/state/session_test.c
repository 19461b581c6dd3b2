/* SPDX-License-Identifier: MIT */
/* Sessions in memory: state/session.h's promises that need no database. */
#include "state/session.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/sessions_priv.h"

static const struct session_scope ann = {.bytes = "ann"};
static const struct session_scope bob = {.bytes = "bob"};

static struct sessions *make(int64_t count_max, int64_t idle_ms_max, int64_t history_max,
                             int64_t now_ms)
{
    struct session_bounds bounds = {.count_max = count_max,
                                    .idle_ms_max = idle_ms_max,
                                    .history_max = history_max};
    struct sessions *sessions = NULL;
    struct error e;

    assert_int_equal(sessions_make(&bounds, NULL, now_ms, &sessions, &e), OK);
    return sessions;
}

static struct session *enter(struct sessions *sessions, const char *id, int64_t now_ms)
{
    return session_enter(sessions, &ann, str_c(id), false, now_ms);
}

static void unwanted(void *ctx, const struct error *e)
{
    (void)ctx;
    (void)e;
    fail_msg("done was called");
}

static enum error_code commit(struct session *session, uint32_t mask, const struct settings *values)
{
    struct session_change change = {.mask = mask, .values = *values};
    struct error e;

    assert_true(session_commit(session, &change, unwanted, NULL, &e));
    return e.code;
}

static void set_model(struct session *session, const char *model)
{
    struct settings values;

    settings_init(&values);
    values.model = str_c(model);
    assert_int_equal(commit(session, SETTING_BIT(model), &values), OK);
}

static void model_is(struct session *session, const char *wanted)
{
    const struct settings *settings = session_settings(session);

    if (wanted == NULL ? !str_is_null(settings->model) : !str_eq(settings->model, str_c(wanted)))
        fail_msg("model is '%.*s'", STR_ARG(settings->model));
    session_settings_unref(&settings);
    assert_null(settings);
}

static void test_enter(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);

    (void)state;
    assert_int_equal(sessions_count(sessions), 0);
    assert_null(session_find(sessions, &ann, STR("a"), 0));
    struct session *a = enter(sessions, "a", 0);
    assert_true(str_eq(session_id(a), STR("a")));
    set_model(a, "gpt");
    struct session *again = enter(sessions, "a", 1);
    assert_ptr_equal(a, again);
    /* Of another client, of another id. */
    struct session *of_bob = session_enter(sessions, &bob, STR("a"), false, 0);
    struct session *b = enter(sessions, "ab", 0);
    assert_ptr_not_equal(of_bob, a);
    assert_ptr_not_equal(b, a);
    model_is(a, "gpt");
    model_is(of_bob, NULL);
    model_is(b, NULL);
    assert_int_equal(sessions_count(sessions), 3);
    session_leave(&a);
    assert_null(a);
    session_leave(&a);
    session_leave(&again);
    session_leave(&of_bob);
    session_leave(&b);
    struct session *found = session_find(sessions, &ann, STR("a"), 1);
    model_is(found, "gpt");
    session_leave(&found);
    sessions_free(&sessions);
    assert_null(sessions);
    sessions_free(&sessions);
}

/* The value that a request began with stays as it is, whatever is set meanwhile. */
static void test_settings(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session *a = enter(sessions, "a", 0);
    struct settings values;

    (void)state;
    set_model(a, "one");
    const struct settings *before = session_settings(a);
    settings_init(&values);
    values.model = STR("two");
    values.temperature = STR("0.5");
    values.interactive = 1;
    values.project = STR("not in the mask");
    assert_int_equal(commit(a,
                            SETTING_BIT(model) | SETTING_BIT(temperature) |
                                SETTING_BIT(interactive),
                            &values),
                     OK);
    const struct settings *after = session_settings(a);
    assert_true(str_eq(before->model, STR("one")) && str_is_null(before->temperature));
    assert_true(str_eq(after->model, STR("two")) && str_eq(after->temperature, STR("0.5")));
    assert_int_equal(after->interactive, 1);
    assert_true(str_is_null(after->project));
    /* Unset, one and then all. */
    settings_init(&values);
    assert_int_equal(commit(a, SETTING_BIT(model), &values), OK);
    model_is(a, NULL);
    assert_int_equal(commit(a, UINT32_MAX, &values), OK);
    const struct settings *none = session_settings(a);
    settings_init(&values);
    assert_true(settings_equal(none, &values));
    /* They outlive the session. */
    session_leave(&a);
    assert_true(session_forget(sessions, &ann, STR("a")));
    assert_true(str_eq(before->model, STR("one")) && str_eq(after->model, STR("two")));
    session_settings_unref(&none);
    session_settings_unref(&before);
    session_settings_unref(&after);
    sessions_free(&sessions);
}

static void test_too_large(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session *a = enter(sessions, "a", 0);
    struct settings values;
    static char text[SESSION_SETTINGS_MAX];

    (void)state;
    memset(text, 'x', sizeof(text));
    set_model(a, "one");
    settings_init(&values);
    values.project = str_of(text, sizeof(text) - 40);
    assert_int_equal(commit(a, SETTING_BIT(project), &values), OK);
    values.backend = STR("a name that is too much");
    assert_int_equal(commit(a, SETTING_BIT(backend), &values), ERR_BAD_REQUEST);
    const struct settings *kept = session_settings(a);
    assert_true(str_is_null(kept->backend));
    assert_int_equal(kept->project.n, sizeof(text) - 40);
    session_settings_unref(&kept);
    values.project = str_of(text, sizeof(text) + 0);
    assert_int_equal(commit(a, SETTING_BIT(project), &values), ERR_BAD_REQUEST);
    model_is(a, "one");
    session_leave(&a);
    sessions_free(&sessions);
}

static void test_anew(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session_item item = {.prompt = STR("hi"), .tokens_in = -1, .tokens_out = -1};
    struct session_stats one = {.requests = 1};
    struct session_view view;
    struct arena arena;

    (void)state;
    arena_init(&arena, 64 * 1024, 1024, NULL);
    /* Nobody holds it. */
    struct session *a = enter(sessions, "a", 0);
    set_model(a, "one");
    session_note(a, &item);
    session_count(a, &one);
    session_leave(&a);
    a = session_enter(sessions, &ann, STR("a"), true, 5);
    session_view(a, &arena, &view);
    assert_int_equal(view.history_n, 0);
    assert_int_equal(view.stats.requests, 0);
    assert_int_equal(view.stats.created_ms, 5);
    model_is(a, NULL);
    /* Somebody does: they keep theirs. */
    set_model(a, "two");
    struct session *b = session_enter(sessions, &ann, STR("a"), true, 6);
    assert_ptr_not_equal(a, b);
    model_is(a, "two");
    model_is(b, NULL);
    assert_int_equal(sessions_count(sessions), 1);
    set_model(a, "three");
    model_is(b, NULL);
    session_leave(&a);
    /* One in which nothing was done yet is as good as new. */
    struct session *c = session_enter(sessions, &ann, STR("a"), true, 7);
    assert_ptr_equal(b, c);
    session_leave(&b);
    session_leave(&c);
    arena_fini(&arena);
    sessions_free(&sessions);
}

static void test_forget(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session *a = enter(sessions, "a", 0);

    (void)state;
    set_model(a, "one");
    assert_false(session_forget(sessions, &bob, STR("a")));
    assert_false(session_forget(sessions, &ann, STR("b")));
    assert_true(session_forget(sessions, &ann, STR("a")));
    assert_false(session_forget(sessions, &ann, STR("a")));
    assert_int_equal(sessions_count(sessions), 0);
    model_is(a, "one");
    struct session *other = enter(sessions, "a", 1);
    assert_ptr_not_equal(a, other);
    model_is(other, NULL);
    session_leave(&a);
    session_leave(&other);
    sessions_free(&sessions);
}

/* The bound is exact, and the idlest leaves: catches a list that is not in the order of use. */
static void test_count_max(void **state)
{
    struct sessions *sessions = make(3, 1000000, 10, 0);
    static const char *const ids[] = {"a", "b", "c"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct session *session = enter(sessions, ids[i], i);
        session_leave(&session);
    }
    struct session *a = enter(sessions, "a", 10);
    session_leave(&a);
    struct session *d = enter(sessions, "d", 11);
    session_leave(&d);
    assert_int_equal(sessions_count(sessions), 3);
    assert_null(session_find(sessions, &ann, STR("b"), 11));
    struct session *found = session_find(sessions, &ann, STR("a"), 11);
    assert_non_null(found);
    session_leave(&found);
    /* To look does not count as use. */
    found = session_find(sessions, &ann, STR("c"), 12);
    session_leave(&found);
    d = enter(sessions, "e", 13);
    session_leave(&d);
    assert_null(session_find(sessions, &ann, STR("c"), 13));
    sessions_free(&sessions);
}

/* Many shards: never above, and about as many as may be. */
static void test_count_max_of_many(void **state)
{
    enum { MAX = 5000 };
    struct sessions *sessions = make(MAX, 1000000, 10, 0);
    char id[32];

    (void)state;
    assert_int_equal(sessions->shards_n, 8);
    for (int i = 0; i < 4 * MAX; i++) {
        int n = snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_of(id, (size_t)n), false, i);
        session_leave(&session);
        assert_true(sessions_count(sessions) <= MAX);
        assert_true(i < MAX || sessions_count(sessions) == MAX);
    }
    size_t found = 0;
    for (int i = 3 * MAX; i < 4 * MAX; i++) {
        int n = snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_find(sessions, &ann, str_of(id, (size_t)n), 4 * MAX);
        found += session != NULL;
        session_leave(&session);
    }
    assert_in_range(found, MAX * 95 / 100, MAX);
    sessions_free(&sessions);
}

/* A shard that is empty takes one of another's when all are there. */
static void test_evicts_elsewhere(void **state)
{
    struct sessions *sessions = make(2000, 1000000, 10, 0);
    struct session_bounds few = {.count_max = 1, .idle_ms_max = 1000000, .history_max = 1};
    char id[32];

    (void)state;
    assert_int_equal(sessions->shards_n, 2);
    atomic_store(&sessions->count_max, few.count_max);
    for (int i = 0; i < 50; i++) {
        int n = snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_of(id, (size_t)n), false, i);
        assert_int_equal(sessions_count(sessions), 1);
        session_leave(&session);
    }
    sessions_free(&sessions);
}

/* A bound that becomes smaller: who comes takes one place, the thread sees to the rest. */
static void test_fewer_from_now_on(void **state)
{
    struct session_bounds bounds = {.count_max = 5000,
                                    .idle_ms_max = 1000000,
                                    .history_max = 1,
                                    .tick_ms = 20};
    struct sessions *sessions = NULL;
    struct error e;
    char id[32];

    (void)state;
    assert_int_equal(sessions_make(&bounds, NULL, 0, &sessions, &e), OK);
    for (int i = 0; i < 3000; i++) {
        int n = snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_of(id, (size_t)n), false, i);
        session_leave(&session);
    }
    /* The idlest of all shards, not all of some. */
    atomic_store(&sessions->count_max, 1000);
    while (sessions_count(sessions) > 1000)
        (void)usleep(1000);
    for (int i = 2000; i < 3000; i++) {
        int n = snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_find(sessions, &ann, str_of(id, (size_t)n), 3000);
        assert_non_null(session);
        session_leave(&session);
    }
    atomic_store(&sessions->count_max, 10);
    struct session *one = enter(sessions, "new", 3000);
    assert_in_range(sessions_count(sessions), 10, 1000);
    session_leave(&one);
    while (sessions_count(sessions) > 10)
        (void)usleep(1000);
    assert_int_equal(sessions_count(sessions), 10);
    sessions_free(&sessions);
}

static void test_expiry(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session *a = enter(sessions, "a", 0);

    (void)state;
    set_model(a, "one");
    /* In use it is not idle. */
    struct session *b = enter(sessions, "a", 5000);
    model_is(b, "one");
    session_leave(&a);
    session_leave(&b);
    a = session_find(sessions, &ann, STR("a"), 5999);
    assert_non_null(a);
    session_leave(&a);
    assert_null(session_find(sessions, &ann, STR("a"), 6000));
    assert_int_equal(sessions_count(sessions), 0);
    a = enter(sessions, "a", 7000);
    set_model(a, "two");
    session_leave(&a);
    a = enter(sessions, "a", 8000);
    model_is(a, NULL);
    session_leave(&a);
    /* The server's never does. */
    struct session *server = sessions_server(sessions);
    set_model(server, "of all");
    for (size_t i = 0; i < sessions->shards_n; i++)
        (void)session_table_expire(sessions, &sessions->shards[i], INT64_MAX);
    assert_int_equal(sessions_count(sessions), 0);
    model_is(sessions_server(sessions), "of all");
    sessions_free(&sessions);
}

/* A few in one hold of the lock. */
static void test_expiry_in_batches(void **state)
{
    struct sessions *sessions = make(1000, 1000, 10, 0);
    char id[32];

    (void)state;
    for (int i = 0; i < 200; i++) {
        int n = snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, &ann, str_of(id, (size_t)n), false, i);
        session_leave(&session);
    }
    struct session *held = enter(sessions, "0", 3);
    assert_int_equal(session_table_expire(sessions, &sessions->shards[0], 1009), 9);
    assert_int_equal(sessions_count(sessions), 191);
    assert_int_equal(session_table_expire(sessions, &sessions->shards[0], 5000), SESSIONS_BATCH);
    while (session_table_expire(sessions, &sessions->shards[0], 5000) == SESSIONS_BATCH)
        ;
    assert_int_equal(sessions_count(sessions), 1);
    session_leave(&held);
    assert_non_null(held = session_find(sessions, &ann, STR("0"), 5000));
    session_leave(&held);
    sessions_free(&sessions);
}

/* The clock is set back: who was seen before that is idle from now on, not only from the time that
 * the clock had; nor does anybody wait behind them. */
static void test_clock_set_back(void **state)
{
    struct session_bounds bounds = {.count_max = 100,
                                    .idle_ms_max = 1000,
                                    .history_max = 1,
                                    .tick_ms = 3600000};
    struct sessions *sessions = NULL;
    struct error e;

    (void)state;
    assert_int_equal(sessions_make(&bounds, NULL, 1000000, &sessions, &e), OK);
    session_table_clock(sessions, 1000000);
    struct session *session = enter(sessions, "a", 1000000);
    session_leave(&session);
    session_table_clock(sessions, 999500); /* a little does not matter */
    session = enter(sessions, "b", 5000);
    session_leave(&session);
    session_table_clock(sessions, 5000);
    assert_int_equal(session_table_expire(sessions, &sessions->shards[0], 5999), 0);
    assert_int_equal(session_table_expire(sessions, &sessions->shards[0], 6000), 2);
    assert_int_equal(sessions_count(sessions), 0);
    sessions_free(&sessions);
}

static void test_oneoff(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session *a = enter(sessions, "a", 0);
    struct settings values;
    struct arena arena;

    (void)state;
    arena_init(&arena, 64 * 1024, 1024, NULL);
    assert_true(str_is_null(session_take_oneoff(a, &arena)));
    settings_init(&values);
    values.oneoff = STR("openai:gpt");
    values.model = STR("stays");
    assert_int_equal(commit(a, SETTING_BIT(oneoff) | SETTING_BIT(model), &values), OK);
    const struct settings *before = session_settings(a);
    struct str taken = session_take_oneoff(a, &arena);
    assert_true(str_eq(taken, STR("openai:gpt")));
    assert_true(str_eq(before->oneoff, STR("openai:gpt")));
    session_settings_unref(&before);
    model_is(a, "stays");
    /* Once. */
    assert_true(str_is_null(session_take_oneoff(a, &arena)));
    session_return_oneoff(a, taken);
    assert_true(str_eq(session_take_oneoff(a, &arena), STR("openai:gpt")));
    /* Another one was set meanwhile. */
    values.oneoff = STR("other:one");
    assert_int_equal(commit(a, SETTING_BIT(oneoff), &values), OK);
    session_return_oneoff(a, taken);
    assert_true(str_eq(session_take_oneoff(a, &arena), STR("other:one")));
    model_is(a, "stays");
    session_leave(&a);
    arena_fini(&arena);
    sessions_free(&sessions);
}

/* Catches: one backend's key taken for another's; a table that grows; a chat that begins anew and
 * goes on with the old one's key. */
static void test_keys(void **state)
{
    struct sessions *sessions = make(100, 1000, 10, 0);
    struct session *session = enter(sessions, "a", 0);
    struct session_stats one = {.requests = 1};

    (void)state;
    assert_int_equal(session_key(session, 7), 0);
    session_keep_key(session, 7, 1);
    session_keep_key(session, 9, UINT32_MAX);
    session_keep_key(session, 7, 2);
    assert_int_equal(session_key(session, 7), 2);
    assert_int_equal(session_key(session, 9), UINT32_MAX);
    assert_int_equal(session_key(session, 1), 0);
    for (uint32_t backend = 10; backend < 10 + SESSION_KEYS - 2; backend++)
        session_keep_key(session, backend, backend);
    assert_int_equal(session_key(session, 7), 2);
    assert_int_equal(session_key(session, 9), UINT32_MAX);
    for (uint32_t backend = 100; backend < 200; backend++) {
        session_keep_key(session, backend, 5);
        assert_int_equal(session_key(session, backend), 5);
    }
    assert_int_equal(session_key(session, 7), 0);
    session_count(session, &one);
    session_leave(&session);
    session = enter(sessions, "a", 1);
    assert_int_equal(session_key(session, 199), 5);
    session_leave(&session);
    session = session_enter(sessions, &ann, STR("a"), true, 2);
    assert_int_equal(session_key(session, 199), 0);
    session_leave(&session);
    sessions_free(&sessions);
}

static void test_view(void **state)
{
    struct sessions *sessions = make(100, 1000, 3, 0);
    struct session *a = enter(sessions, "a", 7);
    struct session_stats add = {.requests = 1,
                                .commands = 2,
                                .failures = 3,
                                .tokens_in = 4,
                                .tokens_out = 5,
                                .tokens_cached = 6};
    struct session_item item = {.prompt = STR("p"), .backend = STR("b"), .tokens_in = -1};
    struct session_view view;
    struct arena arena;

    (void)state;
    arena_init(&arena, 64 * 1024, 1024, NULL);
    session_view(a, &arena, &view);
    assert_true(str_is_null(view.client));
    for (int i = 0; i < 5; i++) {
        item.time_ms = i;
        session_note(a, &item);
        session_count(a, &add);
    }
    session_set_client(a, STR("laptop"));
    session_set_client(a, STR("laptop"));
    set_model(a, "m");
    session_view(a, &arena, &view);
    assert_memory_equal(&view.scope, &ann, sizeof(ann));
    assert_true(str_eq(view.id, STR("a")) && str_eq(view.client, STR("laptop")));
    assert_true(str_eq(view.settings.model, STR("m")));
    assert_int_equal(view.stats.requests, 5);
    assert_int_equal(view.stats.commands, 10);
    assert_int_equal(view.stats.failures, 15);
    assert_int_equal(view.stats.tokens_in, 20);
    assert_int_equal(view.stats.tokens_out, 25);
    assert_int_equal(view.stats.tokens_cached, 30);
    assert_int_equal(view.stats.created_ms, 7);
    assert_int_equal(view.stats.seen_ms, 7);
    assert_int_equal(view.history_n, 3);
    assert_int_equal(view.history[0].time_ms, 2);
    assert_int_equal(view.history[2].time_ms, 4);
    assert_true(str_eq(view.history[2].backend, STR("b")));
    session_set_client(a, STR("desk"));
    session_leave(&a);
    assert_true(session_forget(sessions, &ann, STR("a")));
    /* It is a copy. */
    assert_true(str_eq(view.client, STR("laptop")) && str_eq(view.settings.model, STR("m")));
    arena_fini(&arena);
    sessions_free(&sessions);
}

static void test_list(void **state)
{
    enum { N = 3000 };
    struct sessions *sessions = make(4096, 100000, 3, 0);
    struct session_view *views;
    struct arena arena;
    char id[32];
    size_t n;

    (void)state;
    arena_init(&arena, 16 * 1024 * 1024, 1024, NULL);
    assert_int_equal(sessions->shards_n, 4);
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof(id), "%d", i);
        struct session *session = session_enter(sessions, i % 3 == 0 ? &bob : &ann, str_c(id),
                                                false, i + 1);
        session_leave(&session);
    }
    n = sessions_list(sessions, NULL, 10, N, &arena, &views);
    assert_int_equal(n, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(views[i].stats.seen_ms, N - i);
    n = sessions_list(sessions, &bob, 100, N, &arena, &views);
    assert_int_equal(n, 100);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(views[i].stats.seen_ms, N - 2 - 3 * i);
        assert_memory_equal(&views[i].scope, &bob, sizeof(bob));
    }
    n = sessions_list(sessions, &bob, 2000, N, &arena, &views);
    assert_int_equal(n, 1000);
    n = sessions_list(sessions, NULL, 0, N, &arena, &views);
    assert_int_equal(n, 0);
    /* Without those that have expired. */
    n = sessions_list(sessions, NULL, 5000, 100000 + 2999, &arena, &views);
    assert_int_equal(n, 1);
    arena_fini(&arena);
    sessions_free(&sessions);
}

/* What a session takes of the heap, with ten items of full length and some settings, when many grow
 * at the same time: 100,000 of them are to have room in 300 MB. */
static void test_bytes(void **state)
{
    enum { N = 5000, ITEMS = 15, BYTES_MAX = 2400 };
    static const char *const models[] = {"claude-sonnet-4-5", "gpt-5-mini", "gemini-2.5-flash"};
    char prompt[SESSION_BEGINNING_MAX];
    char id[64];

    (void)state;
    if (HAVE_ASAN || HAVE_TSAN)
        skip();
    memset(prompt, 'p', sizeof(prompt));
    size_t before = mallinfo2().uordblks;
    struct sessions *sessions = make(100000, 1000000, 10, 0);
    for (int i = 0; i < N * ITEMS; i++) {
        int n = snprintf(id, sizeof(id), "fp-%032d", i % N);
        struct session *session = session_enter(sessions, &ann, str_of(id, (size_t)n), false, i);
        struct session_item item = {.time_ms = 1700000000000 + i,
                                    .prompt = str_of(prompt, sizeof(prompt)),
                                    .answer = str_of(prompt, sizeof(prompt)),
                                    .backend = STR("anthropic"),
                                    .model = str_c(models[i / N / 4 % 3]),
                                    .project = STR("my-project"),
                                    .tokens_in = 12000 + i,
                                    .tokens_out = 900};
        if (i < N) {
            struct settings values;
            settings_init(&values);
            values.model = STR("claude-sonnet-4-5");
            values.project = STR("my-project");
            values.temperature = STR("0.2");
            assert_int_equal(commit(session,
                                    SETTING_BIT(model) | SETTING_BIT(project) |
                                        SETTING_BIT(temperature),
                                    &values),
                             OK);
            session_set_client(session, STR("laptop"));
        }
        session_note(session, &item);
        session_leave(&session);
    }
    size_t bytes = (mallinfo2().uordblks - before) / N;
    print_message("%zu bytes a session\n", bytes);
    assert_in_range(bytes, 1000, BYTES_MAX);
    sessions_free(&sessions);
    assert_in_range(mallinfo2().uordblks, 0, before + 64 * 1024);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 2000 };

struct work {
    struct sessions *sessions;
    int number;
    size_t wrong;
};

/* Each thread has a setting of its own in a session of all: none of its changes is lost, and what
 * is read is whole: temperature and project are always set together. */
static void *change_one(void *arg)
{
    struct work *work = arg;
    static const enum setting mine[THREADS] = {SETTING_thinking_budget,
                                               SETTING_tool_loop_max_repeats, SETTING_tool_loop_ttl,
                                               SETTING_interactive};
    struct error e;

    for (int i = 0; i < ROUNDS; i++) {
        struct session *session = enter(work->sessions, "shared", i);
        struct session_change change = {.mask = 1u << mine[work->number]};
        char text[32];
        settings_init(&change.values);
        change.values.thinking_budget = i;
        change.values.tool_loop_max_repeats = i;
        change.values.tool_loop_ttl = i;
        change.values.interactive = i & 1;
        if (work->number == 0) {
            (void)snprintf(text, sizeof(text), "%d", i);
            change.values.temperature = str_c(text);
            change.values.project = str_c(text);
            change.mask |= SETTING_BIT(temperature) | SETTING_BIT(project);
        }
        if (!session_commit(session, &change, unwanted, NULL, &e) || e.code != OK)
            work->wrong++;
        const struct settings *settings = session_settings(session);
        const int64_t now[THREADS] = {settings->thinking_budget, settings->tool_loop_max_repeats,
                                      settings->tool_loop_ttl, settings->interactive};
        if (now[work->number] != (work->number == 3 ? (i & 1) : i) ||
            !str_eq(settings->temperature, settings->project))
            work->wrong++;
        session_settings_unref(&settings);
        struct session_item item = {.time_ms = i, .prompt = STR("p"), .tokens_in = i};
        struct session_stats add = {.requests = 1};
        session_note(session, &item);
        session_count(session, &add);
        session_set_client(session, i & 1 ? STR("one") : STR("two"));
        session_leave(&session);
    }
    return NULL;
}

static void test_changes_of_threads(void **state)
{
    struct sessions *sessions = make(100, 1000000, 10, 0);
    pthread_t threads[THREADS];
    struct work work[THREADS];
    struct session_view view;
    struct arena arena;

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        work[i] = (struct work){.sessions = sessions, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, change_one, &work[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(work[i].wrong, 0);
    }
    arena_init(&arena, 64 * 1024, 1024, NULL);
    struct session *session = enter(sessions, "shared", ROUNDS);
    session_view(session, &arena, &view);
    assert_int_equal(view.stats.requests, THREADS * ROUNDS);
    assert_int_equal(view.history_n, 10);
    session_leave(&session);
    arena_fini(&arena);
    sessions_free(&sessions);
}

/* Sessions that come and go under others' hands; what ASAN and TSAN have to say is the test, and
 * that the count is right. */
static void *come_and_go(void *arg)
{
    struct work *work = arg;
    struct arena arena;
    char id[32];

    for (int i = 0; i < ROUNDS; i++) {
        int n = snprintf(id, sizeof(id), "%d", (i * 7 + work->number) % 40);
        struct session *session = session_enter(work->sessions, &ann, str_of(id, (size_t)n),
                                                i % 5 == 0, i);
        set_model(session, id);
        if (i % 3 == 0)
            (void)session_forget(work->sessions, &ann, str_of(id, (size_t)n));
        if (i % 50 == 0) {
            struct session_view *views;
            arena_init(&arena, 1024 * 1024, 1024, NULL);
            work->wrong += sessions_list(work->sessions, &ann, 20, i, &arena, &views) > 20;
            arena_fini(&arena);
            (void)session_table_expire(work->sessions, &work->sessions->shards[0], i);
        }
        work->wrong += sessions_count(work->sessions) > 20;
        session_leave(&session);
    }
    return NULL;
}

static void test_threads_come_and_go(void **state)
{
    struct sessions *sessions = make(20, 100, 10, 0);
    pthread_t threads[THREADS];
    struct work work[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        work[i] = (struct work){.sessions = sessions, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &work[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(work[i].wrong, 0);
    }
    assert_int_equal(sessions_count(sessions), sessions->shards[0].n);
    sessions_free(&sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enter),
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_anew),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_count_max),
        cmocka_unit_test(test_count_max_of_many),
        cmocka_unit_test(test_evicts_elsewhere),
        cmocka_unit_test(test_fewer_from_now_on),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_expiry_in_batches),
        cmocka_unit_test(test_clock_set_back),
        cmocka_unit_test(test_oneoff),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_changes_of_threads),
        cmocka_unit_test(test_threads_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
