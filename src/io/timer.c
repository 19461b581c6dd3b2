/* SPDX-License-Identifier: MIT */
/*
 * Timers: a hierarchical wheel.
 *
 * What      Start, restart and stop in O(1) for any number of timers; the loop asks when it has to
 *           look again, and sleeps without limit when no timer is armed.
 * How       Level 0 has a slot for each of 64 ms, level 1 for each of 64 * 64 ms, and so on. A
 *           timer lies on the level of the highest base-64 digit in which its time differs from
 *           the wheel's, in the slot of that digit; so the slots of a level that are in use all
 *           lie ahead, and the first of the lowest level in use is the next to be looked at:
 *
 *               at = 01:07:22   due 01:07:40 -> level 0, slot 40
 *                               due 01:09:05 -> level 1, slot 9: at 01:09:00 it moves to level 0
 *
 *           Restarting for a later time, which every read of every connection does, only writes
 *           the new time: when the slot comes round, the timer moves on. So a timer may lie in a
 *           slot before its time, never behind it.
 * Owns      Nothing: timers are their owners', the wheel lies in its loop.
 * Not here  Clocks (loop), waking up (worker).
 */
#include "io/io_priv.h"

enum {
    SLOT_BITS = 6,
    SLOT_MASK = TIMER_SLOTS - 1,
};

/* Keeps all times below the top of the highest level. */
static const int64_t DELAY_MAX_MS = (int64_t)1 << 40;

static void wheel_insert(struct timer_wheel *wheel, struct timer *timer)
{
    if (timer->due_ms <= wheel->at_ms) {
        list_push_back(&wheel->due, &timer->link);
        return;
    }
    uint64_t differ = (uint64_t)(timer->due_ms ^ wheel->at_ms);
    unsigned level = (63U - (unsigned)__builtin_clzll(differ)) / SLOT_BITS;
    assert(level < TIMER_LEVELS);
    unsigned slot = (unsigned)(timer->due_ms >> (level * SLOT_BITS)) & SLOT_MASK;
    list_push_back(&wheel->slots[level][slot], &timer->link);
    wheel->occupied[level] |= (uint64_t)1 << slot;
}

/* Also keeps the slot's bit true: the last of a list has the list's head on both sides. */
static void wheel_remove(struct timer_wheel *wheel, struct timer *timer)
{
    struct list *head = timer->link.next;
    bool last = head == timer->link.prev;

    list_remove(&timer->link);
    uintptr_t offset = (uintptr_t)head - (uintptr_t)wheel->slots;
    if (!last || offset >= sizeof(wheel->slots))
        return;
    size_t index = offset / sizeof(struct list);
    assert(list_empty(head));
    wheel->occupied[index / TIMER_SLOTS] &= ~((uint64_t)1 << (index % TIMER_SLOTS));
}

void timer_wheel_init(struct timer_wheel *wheel, int64_t now_ms)
{
    assert(now_ms >= 0);
    wheel->at_ms = now_ms;
    list_init(&wheel->due);
    for (size_t level = 0; level < TIMER_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (size_t slot = 0; slot < TIMER_SLOTS; slot++)
            list_init(&wheel->slots[level][slot]);
    }
}

/* The slot to be emptied next: its level, TIMER_LEVELS for none. */
static unsigned wheel_next_slot(const struct timer_wheel *wheel, unsigned *ret_slot,
                                int64_t *ret_begin_ms)
{
    for (unsigned level = 0; level < TIMER_LEVELS; level++) {
        if (wheel->occupied[level] == 0)
            continue;
        unsigned shift = level * SLOT_BITS;
        unsigned slot = (unsigned)__builtin_ctzll(wheel->occupied[level]);
        int64_t round = wheel->at_ms >> (shift + SLOT_BITS) << (shift + SLOT_BITS);
        *ret_slot = slot;
        *ret_begin_ms = round | (int64_t)slot << shift;
        assert(*ret_begin_ms > wheel->at_ms);
        return level;
    }
    return TIMER_LEVELS;
}

int64_t timer_wheel_next(const struct timer_wheel *wheel)
{
    int64_t begin_ms = INT64_MAX;
    unsigned slot = 0;

    if (!list_empty(&wheel->due))
        return wheel->at_ms;
    return wheel_next_slot(wheel, &slot, &begin_ms) < TIMER_LEVELS ? begin_ms : INT64_MAX;
}

/* Empties every slot that begins by now_ms: timers become due or move to a lower level. */
static void wheel_advance(struct timer_wheel *wheel, int64_t now_ms)
{
    int64_t begin_ms = 0;
    unsigned slot = 0;

    for (;;) {
        unsigned level = wheel_next_slot(wheel, &slot, &begin_ms);
        if (level == TIMER_LEVELS || begin_ms > now_ms)
            break;
        wheel->at_ms = begin_ms;
        wheel->occupied[level] &= ~((uint64_t)1 << slot);
        struct list *head = &wheel->slots[level][slot];
        LIST_FOREACH(link, head)
        {
            list_remove(link);
            /* Never into the same slot again: its digit is now equal to the wheel's. */
            wheel_insert(wheel, LIST_ENTRY(link, struct timer, link));
        }
    }
    if (now_ms > wheel->at_ms)
        wheel->at_ms = now_ms;
}

void timer_wheel_run(struct loop *loop, int64_t now_ms)
{
    struct timer_wheel *wheel = &loop->wheel;
    struct list firing;

    list_init(&firing);
    wheel_advance(wheel, now_ms);
    LIST_FOREACH(link, &wheel->due)
    {
        list_remove(link);
        list_push_back(&firing, link);
    }
    while (!list_empty(&firing)) {
        struct timer *timer = LIST_ENTRY(firing.next, struct timer, link);
        list_remove(&timer->link);
        if (timer->due_ms > wheel->at_ms) {
            wheel_insert(wheel, timer);
            continue;
        }
        timer->fire(timer);
        loop_turn_end(loop);
    }
}

void timer_init(struct timer *timer, struct loop *loop, timer_fn *fire)
{
    assert(loop != NULL);
    assert(fire != NULL);
    list_init(&timer->link);
    timer->due_ms = 0;
    timer->fire = fire;
    timer->loop = loop;
}

void timer_start(struct timer *timer, int64_t delay_ms)
{
    assert(timer->fire != NULL);
    assert(delay_ms >= 0);
    struct timer_wheel *wheel = &timer->loop->wheel;
    int64_t now_ms = loop_now_ms(timer->loop);
    int64_t due_ms = now_ms + (delay_ms < DELAY_MAX_MS ? delay_ms : DELAY_MAX_MS);

    if (timer_armed(timer)) {
        if (due_ms >= timer->due_ms) {
            timer->due_ms = due_ms;
            return;
        }
        wheel_remove(wheel, timer);
    }
    /* After a long sleep without timers the wheel is behind: the levels would be too high. */
    if (now_ms > wheel->at_ms && timer_wheel_next(wheel) > now_ms)
        wheel->at_ms = now_ms;
    timer->due_ms = due_ms;
    wheel_insert(wheel, timer);
}

void timer_stop(struct timer *timer)
{
    if (timer_armed(timer))
        wheel_remove(&timer->loop->wheel, timer);
}

bool timer_armed(const struct timer *timer)
{
    return list_linked(&timer->link);
}
