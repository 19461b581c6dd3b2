/* SPDX-License-Identifier: MIT */
/*
 * What      Remembers where a conversation was before the proxy answered by itself.
 * How       One entry a session says what its request went on from. One more a client lists the
 *           sessions that have such an entry, with its time, so that it is seen whether a request
 *           that names no session can mean only one. It is written after theirs, each time: it does
 *           not leave before any of them. A session that is not in the list any more for want of
 *           room stands there as one without a name, until its time has come.
 * Owns      The lock that makes a change of the list one step.
 * Not here  Responses of backends (stored.c).
 */
#include "gateway/detour.h"

#include <pthread.h>

#include "base/buf.h"
#include "base/mem.h"
#include "state/replies.h"

const struct str detour_id = STR_INIT("proxy_cmd_processed");

enum { LIST_MAX = 64, LINE_MAX = SESSION_ID_MAX + 24, WORK_MAX = 64 * 1024 };

struct detours {
    pthread_mutex_t lock;
    struct replies *replies;
};

/* A line of the list. */
struct entry {
    int64_t time_s;
    struct str session; /* "+": some that have no line of their own */
};

struct list_of {
    struct entry items[LIST_MAX + 1];
    size_t n;
};

struct detours *detour_new(struct replies *replies)
{
    struct detours *detours = mem_new(sizeof(*detours));

    (void)pthread_mutex_init(&detours->lock, NULL);
    detours->replies = replies;
    return detours;
}

void detour_free(struct detours **detours_ptr)
{
    struct detours *detours = *detours_ptr;

    *detours_ptr = NULL;
    if (detours == NULL)
        return;
    (void)pthread_mutex_destroy(&detours->lock);
    mem_free(detours);
}

/* Not the name that responses are kept under, so that no client can ask for these. */
static struct str owner_of(const struct detour_ask *ask)
{
    return str_of((const char *)ask->scope->bytes, SESSION_SCOPE_SIZE);
}

static struct str key_of(struct str session, struct arena *arena)
{
    return str_print(arena, "%.*s %.*s", STR_ARG(detour_id), STR_ARG(session));
}

/* --- the list --- */

static bool is_anonymous(const struct entry *entry)
{
    return str_eq(entry->session, STR("+"));
}

/* Those that are not too old, the oldest in front. */
static void read_list(struct detours *detours, const struct detour_ask *ask, struct arena *arena,
                      struct list_of *list)
{
    struct reply reply;
    struct str line;
    struct str time;

    list->n = 0;
    if (!replies_get(detours->replies, owner_of(ask), detour_id, ask->now_s, arena, &reply) ||
        arena_overflowed(arena))
        return;
    while (str_cut(&reply.input, '\n', &line) && list->n < LIST_MAX) {
        struct entry entry = {.session = line};
        if (str_cut(&entry.session, ' ', &time) && str_to_int64(time, &entry.time_s) &&
            ask->now_s - entry.time_s < ask->ttl_s)
            list->items[list->n++] = entry;
    }
}

static void write_list(struct detours *detours, const struct detour_ask *ask,
                       const struct list_of *list)
{
    struct buf text;

    buf_init(&text, (size_t)LINE_MAX * (LIST_MAX + 1));
    for (size_t i = 0; i < list->n; i++)
        (void)buf_print(&text, "%lld %.*s\n", (long long)list->items[i].time_s,
                        STR_ARG(list->items[i].session));
    assert(buf_ok(&text));
    replies_put(detours->replies, owner_of(ask),
                &(struct reply){.id = detour_id, .input = buf_str(&text)}, ask->now_s);
    buf_fini(&text);
}

static void take_out(struct list_of *list, size_t at)
{
    list->n--;
    for (size_t i = at; i < list->n; i++)
        list->items[i] = list->items[i + 1];
}

static void take_out_session(struct list_of *list, struct str session)
{
    for (size_t i = 0; i < list->n; i++) {
        if (str_eq(list->items[i].session, session)) {
            take_out(list, i);
            return;
        }
    }
}

/* The two oldest become one without a name, as old as the younger of them. */
static void make_room(struct list_of *list)
{
    if (list->n < LIST_MAX)
        return;
    take_out(list, 0);
    list->items[0].session = STR("+");
}

/* --- */

void detour_put(struct detours *detours, const struct detour_ask *ask, struct str previous)
{
    struct list_of list;
    struct arena arena;

    assert(ask->session.n > 0 && ask->session.n <= SESSION_ID_MAX);
    arena_init(&arena, WORK_MAX, 4096, NULL);
    struct str key = key_of(ask->session, &arena);
    pthread_mutex_lock(&detours->lock);
    replies_put(detours->replies, owner_of(ask),
                &(struct reply){.id = key, .previous = previous, .session = ask->session},
                ask->now_s);
    read_list(detours, ask, &arena, &list);
    take_out_session(&list, ask->session);
    make_room(&list);
    list.items[list.n++] = (struct entry){.time_s = ask->now_s, .session = ask->session};
    write_list(detours, ask, &list);
    pthread_mutex_unlock(&detours->lock);
    arena_fini(&arena);
}

static enum detour_found find_named(struct detours *detours, const struct detour_ask *ask,
                                    struct str session, struct arena *arena,
                                    struct detour *ret_detour)
{
    struct reply reply;

    if (!replies_get(detours->replies, owner_of(ask), key_of(session, arena), ask->now_s, arena,
                     &reply) ||
        arena_overflowed(arena))
        return DETOUR_NONE;
    *ret_detour = (struct detour){.previous = reply.previous, .session = reply.session};
    return DETOUR_ONE;
}

enum detour_found detour_find(struct detours *detours, const struct detour_ask *ask,
                              struct arena *arena, struct detour *ret_detour)
{
    struct list_of list;

    if (!str_is_null(ask->session))
        return find_named(detours, ask, ask->session, arena, ret_detour);
    read_list(detours, ask, arena, &list);
    if (list.n > 1 || (list.n == 1 && is_anonymous(&list.items[0])))
        return DETOUR_MANY;
    return list.n == 0 ? DETOUR_NONE
                       : find_named(detours, ask, list.items[0].session, arena, ret_detour);
}

void detour_forget(struct detours *detours, const struct detour_ask *ask)
{
    struct list_of list;
    struct arena arena;

    arena_init(&arena, WORK_MAX, 4096, NULL);
    struct str key = key_of(ask->session, &arena);
    pthread_mutex_lock(&detours->lock);
    if (replies_delete(detours->replies, owner_of(ask), key)) {
        read_list(detours, ask, &arena, &list);
        take_out_session(&list, ask->session);
        write_list(detours, ask, &list);
    }
    pthread_mutex_unlock(&detours->lock);
    arena_fini(&arena);
}
