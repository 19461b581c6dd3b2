/* SPDX-License-Identifier: MIT */
#include "io/job.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/io_probe_priv.h"

enum { JOBS = 64, BYTES = 4096 };

/* What a job touches: plain memory, so that TSan sees a hand-over that is none. */
struct task {
    struct loop *loop;
    unsigned char *bytes; /* made by the job */
    uint64_t sum;
    bool worked;
    int dones;
    pthread_t thread;
    size_t *over; /* counts the ends of all tasks */
    void (*on_done)(struct task *task);
};

static void work(void *ctx)
{
    struct task *task = ctx;

    task->thread = pthread_self();
    task->bytes = mem_raw(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        task->bytes[i] = (unsigned char)i;
    for (size_t i = 0; i < BYTES; i++)
        task->sum += task->bytes[i];
    task->worked = true;
}

static void done(void *ctx)
{
    struct task *task = ctx;

    task->dones++;
    mem_free(task->bytes);
    task->bytes = NULL;
    if (task->over != NULL)
        (*task->over)++;
    if (task->on_done != NULL)
        task->on_done(task);
}

static const struct job_events events = {.work = work, .done = done};

/* --- on a test loop --- */

/* Catches: work done from within job_start, a `done` that comes twice or not at all. */
static void test_loop_does_it_in_a_turn(void **state)
{
    struct loop *loop = loop_test_new();
    struct task task = {.loop = loop};

    (void)state;
    assert_non_null(job_start(loop, &events, &task));
    assert_false(task.worked);
    loop_test_run(loop);
    assert_true(task.worked);
    assert_int_equal(task.dones, 1);
    loop_test_run(loop);
    assert_int_equal(task.dones, 1);
    loop_test_free(&loop);
}

/* Catches: work that nobody waits for done nevertheless, an end that is not told. */
static void test_loop_abandoned(void **state)
{
    struct loop *loop = loop_test_new();
    struct task task = {.loop = loop};

    (void)state;
    struct job *job = job_start(loop, &events, &task);
    job_abandon(job);
    assert_int_equal(task.dones, 0);
    loop_test_run(loop);
    assert_false(task.worked);
    assert_int_equal(task.dones, 1);
    loop_test_free(&loop);
}

/* Catches: a loop that is freed under a job. */
static void test_loop_freed_with_a_job(void **state)
{
    struct loop *loop = loop_test_new();
    struct task task = {.loop = loop};

    (void)state;
    (void)job_start(loop, &events, &task);
    loop_test_free(&loop);
    assert_int_equal(task.dones, 1);
}

/* --- on a worker --- */

static void ignore_stop(struct worker *worker, void *ctx)
{
    (void)ctx;
    worker_release(worker);
}

static void refuse(struct worker *worker, void *ctx, struct conn *conn)
{
    (void)worker;
    (void)ctx;
    conn_close(&conn);
}

static const struct worker_events worker_callbacks = {.accepted = refuse, .stopping = ignore_stop};

static struct worker *new_worker(void)
{
    return worker_new(&(struct worker_options){.events = &worker_callbacks, .listen_fd = -1});
}

struct crowd {
    struct worker *worker;
    struct task tasks[JOBS];
    size_t over;
    bool abandon; /* every second one */
};

static void start_crowd(void *arg)
{
    struct crowd *crowd = arg;

    for (size_t i = 0; i < JOBS; i++) {
        struct task *task = &crowd->tasks[i];
        *task = (struct task){.loop = worker_loop(crowd->worker), .over = &crowd->over};
        struct job *job = job_start(task->loop, &events, task);
        if (crowd->abandon && i % 2 == 1)
            job_abandon(job);
    }
}

static void *run_worker(void *arg)
{
    worker_run(arg);
    return NULL;
}

/* Starts the jobs, stops the worker while they are in flight, and waits for its thread. */
static void run_crowd(struct crowd *crowd)
{
    pthread_t thread;

    crowd->worker = new_worker();
    assert_int_equal(pthread_create(&thread, NULL, run_worker, crowd->worker), 0);
    worker_post(crowd->worker, start_crowd, crowd);
    worker_stop(crowd->worker);
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* The worker has ended: so has every job of it. */
    assert_int_equal(crowd->over, JOBS);
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(crowd->tasks[i].dones, 1);
        assert_null(crowd->tasks[i].bytes);
        if (crowd->tasks[i].worked)
            assert_false(pthread_equal(crowd->tasks[i].thread, thread));
    }
    worker_free(&crowd->worker);
}

/* Catches: a worker that ends before its jobs, work in the loop's own thread, and, under TSan,
 * memory that two threads touch. */
static void test_worker_stops_after_its_jobs(void **state)
{
    struct crowd crowd = {.abandon = false};

    (void)state;
    run_crowd(&crowd);
    for (size_t i = 0; i < JOBS; i++) {
        assert_true(crowd.tasks[i].worked);
        assert_int_equal(crowd.tasks[i].sum, (uint64_t)BYTES / 256 * (255 * 256 / 2));
    }
}

/* Catches: an abandoned job whose end is not told, or told while a thread is still at it. */
static void test_worker_stops_after_abandoned_jobs(void **state)
{
    struct crowd crowd = {.abandon = true};

    (void)state;
    run_crowd(&crowd);
    for (size_t i = 0; i < JOBS; i += 2)
        assert_true(crowd.tasks[i].worked);
}

/* One job after the other: `done` may start the next. */
struct chain {
    struct task task;
    int left;
};

static void next_link(struct task *task)
{
    struct chain *chain = CONTAINER_OF(task, struct chain, task);

    if (--chain->left > 0)
        (void)job_start(task->loop, &events, task);
}

/* Catches: a job that cannot be followed by another from its own `done`. */
static void test_chain(void **state)
{
    struct worker *worker = new_worker();
    struct chain chain = {.task = {.loop = worker_loop(worker), .on_done = next_link}, .left = 10};

    (void)state;
    (void)job_start(chain.task.loop, &events, &chain.task);
    worker_release(worker);
    worker_run(worker);
    assert_int_equal(chain.task.dones, 10);
    worker_free(&worker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_does_it_in_a_turn),
        cmocka_unit_test(test_loop_abandoned),
        cmocka_unit_test(test_loop_freed_with_a_job),
        cmocka_unit_test(test_worker_stops_after_its_jobs),
        cmocka_unit_test(test_worker_stops_after_abandoned_jobs),
        cmocka_unit_test(test_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
