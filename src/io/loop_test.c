/* SPDX-License-Identifier: MIT */
#include "io/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"

/* Timers note their names here, in the order in which they fire. */
struct notes {
    char text[64];
    size_t n;
};

struct named_timer {
    struct timer timer;
    struct notes *notes;
    char name;
    int64_t fired_at_ms;
    int fired;
    struct timer *stop;    /* is stopped when this one fires */
    struct timer *restart; /* is started again, in restart_ms */
    int64_t restart_ms;
};

static void note(struct notes *notes, char name)
{
    assert_true(notes->n + 1 < sizeof(notes->text));
    notes->text[notes->n++] = name;
    notes->text[notes->n] = '\0';
}

static void named_fire(struct timer *timer)
{
    struct named_timer *named = CONTAINER_OF(timer, struct named_timer, timer);

    assert_false(timer_armed(timer));
    named->fired++;
    named->fired_at_ms = loop_now_ms(timer->loop);
    if (named->notes != NULL)
        note(named->notes, named->name);
    if (named->stop != NULL)
        timer_stop(named->stop);
    if (named->restart != NULL)
        timer_start(named->restart, named->restart_ms);
}

static void named_init(struct named_timer *named, struct loop *loop, struct notes *notes, char name)
{
    *named = (struct named_timer){.notes = notes, .name = name};
    timer_init(&named->timer, loop, named_fire);
}

/* Catches: firing by order of start, or of slots, instead of by time. */
static void test_timers_fire_in_order_of_time(void **state)
{
    static const int64_t delays[] = {70, 5, 4096, 0, 64, 300000, 63, 5};
    struct named_timer timers[COUNT_OF(delays)];
    struct notes notes = {.n = 0};
    struct loop *loop = loop_test_new();
    int64_t start_ms = loop_now_ms(loop);
    (void)state;

    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        named_init(&timers[i], loop, &notes, (char)('a' + i));
        timer_start(&timers[i].timer, delays[i]);
    }
    assert_int_equal(notes.n, 0);
    loop_test_advance(loop, 4095);
    assert_string_equal(notes.text, "dbhgea");
    loop_test_advance(loop, 400000);
    assert_string_equal(notes.text, "dbhgeacf");
    for (size_t i = 0; i < COUNT_OF(delays); i++) {
        assert_int_equal(timers[i].fired_at_ms - start_ms, delays[i]);
        assert_int_equal(timers[i].fired, 1);
    }
    loop_test_free(&loop);
}

/* Catches: a lazily restarted timer that fires at its old time, or is lost. */
static void test_timer_restarts_later_and_earlier(void **state)
{
    struct loop *loop = loop_test_new();
    int64_t start_ms = loop_now_ms(loop);
    struct named_timer timer;
    (void)state;

    named_init(&timer, loop, NULL, 'a');
    timer_start(&timer.timer, 1000);
    for (int i = 0; i < 100; i++) {
        loop_test_advance(loop, 500);
        timer_start(&timer.timer, 1000);
    }
    assert_int_equal(timer.fired, 0);
    loop_test_advance(loop, 999);
    assert_int_equal(timer.fired, 0);
    loop_test_advance(loop, 1);
    assert_int_equal(timer.fired, 1);
    assert_int_equal(timer.fired_at_ms - start_ms, 51000);

    timer_start(&timer.timer, 100000);
    timer_start(&timer.timer, 200000);
    timer_start(&timer.timer, 10); /* earlier than the slot in which it lies */
    loop_test_advance(loop, 10);
    assert_int_equal(timer.fired, 2);
    loop_test_advance(loop, 300000);
    assert_int_equal(timer.fired, 2);
    loop_test_free(&loop);
}

/* Catches: a stopped timer that fires, also when it is stopped by one of the same moment. */
static void test_timer_stopped_within_a_callback(void **state)
{
    struct loop *loop = loop_test_new();
    struct named_timer a;
    struct named_timer b;
    struct named_timer c;
    (void)state;

    named_init(&a, loop, NULL, 'a');
    named_init(&b, loop, NULL, 'b');
    named_init(&c, loop, NULL, 'c');
    timer_stop(&b.timer); /* not armed */
    a.stop = &b.timer;
    c.restart = &c.timer;
    c.restart_ms = 5;
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 10);
    timer_start(&c.timer, 10);
    assert_true(timer_armed(&b.timer));
    loop_test_advance(loop, 20);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(c.fired, 3); /* at 10, 15, 20 */
    assert_false(timer_armed(&b.timer));
    timer_stop(&c.timer);
    loop_test_free(&loop);
}

/* Catches: a timer pushed back by another one of the same moment that fires nevertheless. */
static void test_timer_restarted_by_one_of_the_same_moment(void **state)
{
    struct loop *loop = loop_test_new();
    struct named_timer a;
    struct named_timer b;
    (void)state;

    named_init(&a, loop, NULL, 'a');
    named_init(&b, loop, NULL, 'b');
    a.restart = &b.timer;
    a.restart_ms = 90;
    timer_start(&a.timer, 10);
    timer_start(&b.timer, 10);
    loop_test_advance(loop, 99);
    assert_int_equal(b.fired, 0);
    loop_test_advance(loop, 1);
    assert_int_equal(b.fired, 1);
    loop_test_free(&loop);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* Catches: any fault of the levels: 20,000 timers of all magnitudes, stopped and restarted at
 * random, each fires exactly once and exactly at its time. */
static void test_many_timers(void **state)
{
    enum { N = 20000 };
    struct named_timer *timers = mem_new(N * sizeof(*timers));
    int64_t *due_ms = mem_new(N * sizeof(*due_ms));
    struct loop *loop = loop_test_new();
    uint32_t seed = 42;
    (void)state;

    for (size_t i = 0; i < N; i++)
        named_init(&timers[i], loop, NULL, 'x');
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < N; i++) {
            if (timers[i].fired > 0)
                continue;
            int64_t delay_ms = next_random(&seed) >> (next_random(&seed) % 24);
            timer_start(&timers[i].timer, delay_ms);
            due_ms[i] = loop_now_ms(loop) + delay_ms;
            if (next_random(&seed) % 8 == 0) {
                timer_stop(&timers[i].timer);
                due_ms[i] = 0;
            }
        }
        loop_test_advance(loop, 1 + next_random(&seed) % 3000);
    }
    loop_test_advance(loop, (int64_t)1 << 25);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(timers[i].fired, due_ms[i] == 0 ? 0 : 1);
        assert_int_equal(timers[i].fired_at_ms, due_ms[i]);
    }
    loop_test_free(&loop);
    mem_free(due_ms);
    mem_free(timers);
}

/* Catches: overflow with the longest delays. */
static void test_timer_with_an_endless_delay(void **state)
{
    struct loop *loop = loop_test_new();
    struct named_timer timer;
    (void)state;

    named_init(&timer, loop, NULL, 'a');
    timer_start(&timer.timer, INT64_MAX);
    loop_test_advance(loop, (int64_t)1 << 39);
    assert_int_equal(timer.fired, 0);
    timer_start(&timer.timer, 1);
    loop_test_advance(loop, 1);
    assert_int_equal(timer.fired, 1);
    loop_test_free(&loop);
}

struct job {
    struct deferred deferred;
    struct loop *loop;
    struct notes *notes;
    char name;
    struct job *next; /* deferred when this one runs */
};

static void job_run(struct deferred *deferred)
{
    struct job *job = CONTAINER_OF(deferred, struct job, deferred);

    note(job->notes, job->name);
    if (job->next != NULL)
        loop_defer(job->loop, &job->next->deferred, job_run);
}

/* Catches: deferred work that is lost, runs twice, at once, or out of order. */
static void test_deferred_work(void **state)
{
    struct notes notes = {.n = 0};
    struct loop *loop = loop_test_new();
    struct job c = {.loop = loop, .notes = &notes, .name = 'c'};
    struct job b = {.loop = loop, .notes = &notes, .name = 'b', .next = &c};
    struct job a = {.loop = loop, .notes = &notes, .name = 'a'};
    struct job d = {.loop = loop, .notes = &notes, .name = 'd'};
    (void)state;

    loop_undefer(&d.deferred);
    loop_defer(loop, &a.deferred, job_run);
    loop_defer(loop, &b.deferred, job_run);
    loop_defer(loop, &b.deferred, job_run);
    loop_defer(loop, &d.deferred, job_run);
    loop_undefer(&d.deferred);
    assert_int_equal(notes.n, 0);
    loop_test_run(loop);
    assert_string_equal(notes.text, "abc");
    loop_test_run(loop);
    assert_string_equal(notes.text, "abc");
    loop_test_free(&loop);
}

struct deferring_timer {
    struct timer timer;
    struct job job;
};

static void deferring_fire(struct timer *timer)
{
    struct deferring_timer *one = CONTAINER_OF(timer, struct deferring_timer, timer);

    note(one->job.notes, 't');
    loop_defer(timer->loop, &one->job.deferred, job_run);
}

/* Catches: a turn whose deferred work runs only after the next turn. */
static void test_deferred_work_ends_its_turn(void **state)
{
    struct notes notes = {.n = 0};
    struct loop *loop = loop_test_new();
    struct deferring_timer two[2] = {
        {.job = {.loop = loop, .notes = &notes, .name = 'a'}},
        {.job = {.loop = loop, .notes = &notes, .name = 'b'}},
    };
    (void)state;

    for (size_t i = 0; i < COUNT_OF(two); i++) {
        timer_init(&two[i].timer, loop, deferring_fire);
        timer_start(&two[i].timer, 7);
    }
    loop_test_advance(loop, 7);
    assert_string_equal(notes.text, "tatb");
    loop_test_free(&loop);
}

/* Catches: a clock that moves by itself, and a wall clock that does not follow. */
static void test_clock_stands_still(void **state)
{
    struct loop *loop = loop_test_new();
    int64_t now_ms = loop_now_ms(loop);
    int64_t wall_ms = loop_wall_ms(loop);
    (void)state;

    loop_test_run(loop);
    assert_int_equal(loop_now_ms(loop), now_ms);
    assert_int_equal(loop_now_us(loop), now_ms * 1000);
    loop_test_advance(loop, 1234);
    assert_int_equal(loop_now_ms(loop), now_ms + 1234);
    assert_int_equal(loop_wall_ms(loop), wall_ms + 1234);
    loop_test_free(&loop);
    assert_null(loop);
    loop_test_free(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timers_fire_in_order_of_time),
        cmocka_unit_test(test_timer_restarts_later_and_earlier),
        cmocka_unit_test(test_timer_stopped_within_a_callback),
        cmocka_unit_test(test_timer_restarted_by_one_of_the_same_moment),
        cmocka_unit_test(test_many_timers),
        cmocka_unit_test(test_timer_with_an_endless_delay),
        cmocka_unit_test(test_deferred_work),
        cmocka_unit_test(test_deferred_work_ends_its_turn),
        cmocka_unit_test(test_clock_stands_still),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
