/* SPDX-License-Identifier: MIT */
/*
 * The loop: clock, deferred work, ready turns; and the loop of the tests, which is turned by hand.
 *
 * What      Two lists. `deferred` runs at the end of the present turn, `ready` holds turns that
 *           wait for nothing from outside: deliveries between connections in memory, and failures
 *           that a call noticed and may not tell from within.
 * How       A callback from outside ends with loop_turn_end; before the worker sleeps it calls
 *           loop_work, which takes a bounded number of ready turns, each with its own end.
 * Owns      The lent buffers of its worker. Touched by one thread.
 * Not here  libuv's handles (worker), the timers' wheel (timer).
 */
#include "io/loop.h"

#include "base/clock.h"
#include "base/mem.h"
#include "io/io_priv.h"

enum {
    DEFERRED_PASSES = 8,        /* of deferred work that defers more, in one turn */
    TEST_TURNS = 32,            /* between two looks at the timers */
    TEST_TURNS_MAX = 100000000, /* a test that is not over by then never ends */
    TEST_NOW_MS = 1000000,      /* not 0: nobody may take a time for "never" */
};
static const int64_t TEST_WALL_MS = 1767225600000; /* 2026-01-01T00:00:00Z */

void loop_init(struct loop *loop, uv_loop_t *uv)
{
    *loop = (struct loop){.uv = uv, .now_ms = TEST_NOW_MS};
    list_init(&loop->deferred);
    list_init(&loop->ready);
    if (uv != NULL) {
        loop->read_buffer = mem_raw(LOOP_READ_SIZE);
        loop->wall_offset_ms = clock_real_ms() - clock_mono_ms();
    } else {
        loop->wall_offset_ms = TEST_WALL_MS - TEST_NOW_MS;
    }
    timer_wheel_init(&loop->wheel, loop_now_ms(loop));
}

void loop_fini(struct loop *loop)
{
    assert(list_empty(&loop->deferred));
    assert(list_empty(&loop->ready));
    mem_free(loop->read_buffer);
    for (size_t i = 0; i < TLS_DEPTH; i++)
        mem_free(loop->tls[i]);
    loop->read_buffer = NULL;
    memset(loop->tls, 0, sizeof(loop->tls));
}

int64_t loop_now_ms(const struct loop *loop)
{
    return loop->uv != NULL ? (int64_t)uv_now(loop->uv) : loop->now_ms;
}

int64_t loop_wall_ms(const struct loop *loop)
{
    return loop_now_ms(loop) + loop->wall_offset_ms;
}

int64_t loop_now_us(const struct loop *loop)
{
    return loop->uv != NULL ? clock_mono_us() : loop->now_ms * 1000;
}

uint64_t loop_turn(const struct loop *loop)
{
    return loop->turns;
}

void loop_defer(struct loop *loop, struct deferred *deferred, void (*run)(struct deferred *))
{
    assert(run != NULL);
    /* Zeroed memory counts as not deferred. */
    if (deferred->link.next == NULL)
        list_init(&deferred->link);
    if (list_linked(&deferred->link))
        list_remove(&deferred->link);
    deferred->run = run;
    list_push_back(&loop->deferred, &deferred->link);
}

void loop_undefer(struct deferred *deferred)
{
    if (deferred->link.next != NULL && list_linked(&deferred->link))
        list_remove(&deferred->link);
}

void loop_ready(struct loop *loop, struct deferred *deferred, void (*run)(struct deferred *))
{
    assert(run != NULL);
    assert(!list_linked(&deferred->link));
    deferred->run = run;
    list_push_back(&loop->ready, &deferred->link);
}

static void run_first(struct list *head)
{
    struct deferred *deferred = LIST_ENTRY(head->next, struct deferred, link);

    list_remove(&deferred->link);
    deferred->run(deferred);
}

void loop_turn_end(struct loop *loop)
{
    struct list now;

    list_init(&now);
    for (int pass = 0; pass < DEFERRED_PASSES && !list_empty(&loop->deferred); pass++) {
        LIST_FOREACH(link, &loop->deferred)
        {
            list_remove(link);
            list_push_back(&now, link);
        }
        while (!list_empty(&now))
            run_first(&now);
    }
    loop->turns++;
}

bool loop_work(struct loop *loop, int turns)
{
    loop_turn_end(loop);
    for (int turn = 0; turn < turns && !list_empty(&loop->ready); turn++) {
        run_first(&loop->ready);
        loop_turn_end(loop);
    }
    return !list_empty(&loop->ready) || !list_empty(&loop->deferred);
}

struct loop *loop_test_new(void)
{
    struct loop *loop = mem_raw(sizeof(*loop));

    loop_init(loop, NULL);
    return loop;
}

void loop_test_free(struct loop **loop)
{
    assert(loop != NULL);
    if (*loop == NULL)
        return;
    assert((*loop)->uv == NULL);
    /* Closed connections give their memory back in turns to come. */
    loop_test_run(*loop);
    loop_fini(*loop);
    mem_free(*loop);
    *loop = NULL;
}

void loop_test_run(struct loop *loop)
{
    int64_t turns = 0;

    assert(loop->uv == NULL);
    for (;;) {
        bool more = loop_work(loop, TEST_TURNS);
        if (timer_wheel_next(&loop->wheel) <= loop->now_ms)
            timer_wheel_run(loop, loop->now_ms);
        else if (!more)
            break;
        turns += TEST_TURNS;
        if (turns > TEST_TURNS_MAX)
            BUG("loop_test_run does not come to rest");
    }
}

void loop_test_advance(struct loop *loop, int64_t ms)
{
    assert(ms >= 0);
    int64_t until_ms = loop->now_ms + ms;

    for (;;) {
        loop_test_run(loop);
        int64_t next_ms = timer_wheel_next(&loop->wheel);
        if (next_ms > until_ms)
            break;
        assert(next_ms > loop->now_ms);
        loop->now_ms = next_ms;
    }
    loop->now_ms = until_ms;
    loop_test_run(loop);
}
