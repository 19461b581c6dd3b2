/* SPDX-License-Identifier: MIT */
/* The thread of the table: what becomes of changes when a step of it fails, and when many come. */
#include "state/store_test_priv.h"

/* --- a repository that fails when it is told to --- */

struct faulty {
    struct session_store base;
    struct session_store *real;
    atomic_int fail_at; /* this step from now on fails; -1: none */
    atomic_int steps;
};

static bool fails(struct faulty *faulty)
{
    int at = atomic_load(&faulty->fail_at);

    return at >= 0 && atomic_fetch_add(&faulty->steps, 1) >= at;
}

static struct faulty *faulty_of(struct session_store *base)
{
    return CONTAINER_OF(base, struct faulty, base);
}

static enum error_code faulty_load(struct session_store *base, const struct session_load *load,
                                   int64_t *ret_serial, struct error *e)
{
    struct faulty *faulty = faulty_of(base);

    if (fails(faulty))
        return FAIL(e, ERR_SYSTEM, "told to fail");
    return faulty->real->ops->load(faulty->real, load, ret_serial, e);
}

static enum error_code faulty_begin(struct session_store *base, bool *ret_same, struct error *e)
{
    struct faulty *faulty = faulty_of(base);

    if (fails(faulty))
        return FAIL(e, ERR_SYSTEM, "told to fail");
    return faulty->real->ops->begin(faulty->real, ret_same, e);
}

static enum error_code faulty_put(struct session_store *base, const struct session_row *row,
                                  struct error *e)
{
    struct faulty *faulty = faulty_of(base);

    if (fails(faulty))
        return FAIL(e, ERR_SYSTEM, "told to fail");
    return faulty->real->ops->put(faulty->real, row, e);
}

static enum error_code faulty_remove(struct session_store *base, int64_t serial, struct error *e)
{
    struct faulty *faulty = faulty_of(base);

    if (fails(faulty))
        return FAIL(e, ERR_SYSTEM, "told to fail");
    return faulty->real->ops->remove(faulty->real, serial, e);
}

static enum error_code faulty_commit(struct session_store *base, struct error *e)
{
    struct faulty *faulty = faulty_of(base);

    if (fails(faulty)) {
        faulty->real->ops->rollback(faulty->real);
        return FAIL(e, ERR_SYSTEM, "told to fail");
    }
    return faulty->real->ops->commit(faulty->real, e);
}

static void faulty_rollback(struct session_store *base)
{
    struct faulty *faulty = faulty_of(base);

    faulty->real->ops->rollback(faulty->real);
}

static void faulty_free(struct session_store *base)
{
    struct faulty *faulty = faulty_of(base);

    faulty->real->ops->free(faulty->real);
}

static const struct session_store_ops faulty_ops = {
    .load = faulty_load,
    .begin = faulty_begin,
    .put = faulty_put,
    .remove = faulty_remove,
    .commit = faulty_commit,
    .rollback = faulty_rollback,
    .free = faulty_free,
};

static struct sessions *open_faulty(struct place *place, struct faulty *faulty)
{
    struct sessions *sessions = NULL;
    struct error e;

    *faulty = (struct faulty){.base = {.ops = &faulty_ops}};
    atomic_init(&faulty->fail_at, -1);
    atomic_init(&faulty->steps, 0);
    assert_int_equal(store_sqlite_open(str_c(place->folder), NOW, &faulty->real, &e), OK);
    assert_int_equal(sessions_make(&bounds, &faulty->base, NOW, &sessions, &e), OK);
    return sessions;
}

/* Each step of a commit fails once: nothing of it is in force, then or after a restart, and the
 * next one is. */
static void test_each_step_fails(void **state)
{
    struct place *place = *state;
    struct faulty faulty;
    struct arena arena;
    struct error e;
    char model[16];
    int failed = 0;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    struct sessions *sessions = open_faulty(place, &faulty);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    set_model(a, "good");
    for (int step = 0; step < 10; step++) {
        atomic_store(&faulty.steps, 0);
        atomic_store(&faulty.fail_at, step);
        (void)snprintf(model, sizeof(model), "bad%d", step);
        enum error_code code = try_model(a, model, &e);
        atomic_store(&faulty.fail_at, -1);
        if (code == OK)
            break;
        failed++;
        assert_int_equal(code, ERR_SYSTEM);
        assert_string_equal(e.detail, "told to fail");
        assert_true(str_eq(sessions_problem(sessions, &arena), STR("told to fail")));
        model_of(sessions, "a", NOW, "good");
        (void)snprintf(model, sizeof(model), "good");
        set_model(a, model);
        assert_true(str_is_null(sessions_problem(sessions, &arena)));
    }
    assert_true(failed >= 3);
    set_model(a, "last");
    /* One whose change failed is still known to have a row. */
    set_in(sessions, "b", NOW, "one");
    struct session *b = session_find(sessions, &ann, STR("b"), NOW);
    for (int step = 0; step < 3; step++) {
        atomic_store(&faulty.steps, 0);
        atomic_store(&faulty.fail_at, step);
        assert_int_equal(try_model(b, "bad", &e), ERR_SYSTEM);
        atomic_store(&faulty.fail_at, -1);
    }
    session_leave(&b);
    assert_true(session_forget(sessions, &ann, STR("b")));
    session_leave(&a);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    model_of(sessions, "a", NOW, "last");
    model_of(sessions, "b", NOW, NULL);
    sessions_free(&sessions);
    arena_fini(&arena);
}

/* What is written behind waits while the disk fails, and is not lost; nor are removals. */
static void test_behind_waits(void **state)
{
    struct place *place = *state;
    struct faulty faulty;
    struct session_stats add = {.requests = 1};
    struct arena arena;
    struct session_view view;

    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    struct sessions *sessions = open_faulty(place, &faulty);
    set_in(sessions, "gone", NOW, "one");
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    session_count(a, &add);
    for (int step = 0; step < 4; step++) {
        atomic_store(&faulty.steps, 0);
        atomic_store(&faulty.fail_at, step);
        session_count(a, &add);
        if (step == 0)
            assert_true(session_forget(sessions, &ann, STR("gone")));
        /* Without a sleep of its own: until the thread has tried. */
        while (atomic_load(&faulty.steps) <= step)
            (void)usleep(1000);
        assert_int_equal(sessions_count(sessions), 1);
    }
    atomic_store(&faulty.fail_at, -1);
    session_leave(&a);
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    assert_int_equal(sessions_count(sessions), 1);
    a = session_find(sessions, &ann, STR("a"), NOW);
    assert_non_null(a);
    session_view(a, &arena, &view);
    assert_int_equal(view.stats.requests, 5);
    session_leave(&a);
    sessions_free(&sessions);
    arena_fini(&arena);
}

static void test_load_fails(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct faulty faulty = {.base = {.ops = &faulty_ops}};
    struct error e;

    set_in(sessions, "a", NOW, "one");
    sessions_free(&sessions);
    atomic_init(&faulty.fail_at, 0);
    assert_int_equal(store_sqlite_open(str_c(place->folder), NOW, &faulty.real, &e), OK);
    assert_int_equal(sessions_make(&bounds, &faulty.base, NOW, &sessions, &e), ERR_SYSTEM);
    faulty_free(&faulty.base);
}

/* --- many at once --- */

enum { THREADS = 4, ROUNDS = 60 };

struct work {
    struct sessions *sessions;
    int number;
    size_t wrong;
    struct waiting waiting;
};

/* Several threads change a session of all and one of their own, without waiting for each. */
static void *change(void *arg)
{
    struct work *work = arg;
    static const enum setting mine[THREADS] = {SETTING_thinking_budget,
                                               SETTING_tool_loop_max_repeats, SETTING_tool_loop_ttl,
                                               SETTING_interactive};
    struct error e;
    int sent = 0;

    for (int i = 0; i < ROUNDS; i++) {
        char own[16];
        (void)snprintf(own, sizeof(own), "own%d", work->number);
        struct session *shared = session_enter(work->sessions, &ann, STR("shared"), false, NOW);
        struct session *alone = session_enter(work->sessions, &ann, str_c(own), false, NOW);
        struct session_change of_all = {.mask = 1u << mine[work->number]};
        struct session_change of_own = {.mask = SETTING_BIT(model)};
        char text[16];
        settings_init(&of_all.values);
        of_all.values.thinking_budget = i;
        of_all.values.tool_loop_max_repeats = i;
        of_all.values.tool_loop_ttl = i;
        of_all.values.interactive = i & 1;
        settings_init(&of_own.values);
        (void)snprintf(text, sizeof(text), "%d", i);
        of_own.values.model = str_c(text);
        sent += !session_commit(shared, &of_all, count_done, &work->waiting, &e);
        sent += !session_commit(alone, &of_own, count_done, &work->waiting, &e);
        struct session_item item = {.time_ms = i, .prompt = STR("p"), .tokens_in = -1};
        session_note(shared, &item);
        if (i % 8 == 7) {
            wait_for(&work->waiting, sent);
            const struct settings *now = session_settings(alone);
            work->wrong += !str_eq(now->model, str_c(text)) || work->waiting.e.code != OK;
            session_settings_unref(&now);
        }
        session_leave(&shared);
        session_leave(&alone);
    }
    wait_for(&work->waiting, sent);
    work->wrong += sent != 2 * ROUNDS;
    return NULL;
}

static void test_threads(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    pthread_t threads[THREADS];
    struct work work[THREADS];
    char id[16];

    for (int i = 0; i < THREADS; i++) {
        work[i] = (struct work){.sessions = sessions, .number = i};
        waiting_init(&work[i].waiting);
        assert_int_equal(pthread_create(&threads[i], NULL, change, &work[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(work[i].wrong, 0);
    }
    sessions_free(&sessions);
    sessions = open_at(place, NOW);
    for (int i = 0; i < THREADS; i++) {
        (void)snprintf(id, sizeof(id), "own%d", i);
        model_of(sessions, id, NOW, "59");
    }
    struct session *shared = session_find(sessions, &ann, STR("shared"), NOW);
    const struct settings *now = session_settings(shared);
    assert_int_equal(now->thinking_budget, ROUNDS - 1);
    assert_int_equal(now->tool_loop_max_repeats, ROUNDS - 1);
    assert_int_equal(now->tool_loop_ttl, ROUNDS - 1);
    assert_int_equal(now->interactive, (ROUNDS - 1) & 1);
    session_settings_unref(&now);
    session_leave(&shared);
    sessions_free(&sessions);
}

/* A queue that is full says so at once, and the rest gets through. */
static void test_full_queue(void **state)
{
    struct place *place = *state;
    struct sessions *sessions = open_at(place, NOW);
    struct session *a = session_enter(sessions, &ann, STR("a"), false, NOW);
    struct session_change change = {.mask = SETTING_BIT(model)};
    struct waiting waiting;
    struct error e = {.code = OK};
    int sent = 0;

    waiting_init(&waiting);
    settings_init(&change.values);
    change.values.model = STR("one");
    for (int i = 0; i < 200000 && e.code == OK; i++)
        sent += !session_commit(a, &change, count_done, &waiting, &e);
    assert_int_equal(e.code, ERR_SYSTEM);
    assert_non_null(strstr(e.detail, "too many"));
    assert_true(sent >= SESSIONS_QUEUE_MAX);
    wait_for(&waiting, sent);
    assert_int_equal(waiting.e.code, OK);
    session_leave(&a);
    sessions_free(&sessions);
}

struct restless {
    struct session *session;
    atomic_bool ends;
    struct waiting waiting;
};

static void ask_again(void *ctx, const struct error *e)
{
    struct restless *restless = ctx;
    struct session_change change = {.mask = SETTING_BIT(model)};
    struct error unused;

    assert_int_equal(e->code, OK);
    settings_init(&change.values);
    change.values.model = STR("one");
    if (atomic_load(&restless->ends))
        count_done(&restless->waiting, e);
    else
        assert_false(session_commit(restless->session, &change, ask_again, restless, &unused));
}

/* There is always a change that waits: each second's work is done all the same. */
static void test_changes_without_end(void **state)
{
    struct place *place = *state;
    struct session_bounds short_ones = bounds;
    struct sessions *sessions = NULL;
    struct error e = {.code = OK};

    short_ones.idle_ms_max = 50;
    assert_int_equal(try_open(place, &short_ones, NOW, &sessions, &e), OK);
    struct session *idle = session_enter(sessions, &ann, STR("idle"), false, NOW);
    session_leave(&idle);
    struct restless restless = {.session = session_enter(sessions, &ann, STR("a"), false, NOW)};
    waiting_init(&restless.waiting);
    ask_again(&restless, &e);
    for (int i = 0; i < 10000 && sessions_count(sessions) > 1; i++)
        (void)usleep(1000);
    assert_int_equal(sessions_count(sessions), 1);
    atomic_store(&restless.ends, true);
    wait_for(&restless.waiting, 1);
    session_leave(&restless.session);
    sessions_free(&sessions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(test_each_step_fails), IN_PLACE(test_behind_waits),
        IN_PLACE(test_load_fails),      IN_PLACE(test_threads),
        IN_PLACE(test_full_queue),      IN_PLACE(test_changes_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
