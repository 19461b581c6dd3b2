/* SPDX-License-Identifier: MIT */
/*
 * What      A table of kept responses by owner and id.
 * How       Buckets of a seeded hash (ids are partly clients' words); all entries also in a list by
 *           age, whose front is the one to go when time or room runs out.
 *           An entry never changes. It is copied in before the lock is taken, and out after it was
 *           given back: whoever copies holds a reference, so that the lock is as short for a large
 *           response as for a small one. What leaves is freed without the lock too.
 * Owns      The entries and their text; the buckets, from the first response on.
 * Not here  What a response is, and who may ask for which (gateway/stored).
 */
#include "state/replies.h"

#include <pthread.h>
#include <stdatomic.h>
#include <xxhash.h>

#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"

enum { BUCKETS = 16384 };

struct kept {
    struct list link;  /* by age; of those that leave: the way to be freed */
    struct kept *next; /* in the bucket */
    atomic_size_t refs;
    uint64_t hash;
    int64_t made_s;
    size_t bytes; /* all of it */
    struct str owner;
    struct reply reply;
    char text[];
};

struct replies {
    pthread_mutex_t lock;
    uint64_t seed;
    size_t bytes_max;
    size_t bytes;
    int64_t ttl_s;
    struct kept **buckets; /* NULL: nothing was kept yet */
    struct list by_age;    /* the oldest in front */
};

struct replies *replies_new(size_t bytes_max, int64_t ttl_s)
{
    struct replies *replies = mem_new(sizeof(*replies));

    assert(ttl_s >= 0);
    (void)pthread_mutex_init(&replies->lock, NULL);
    id_random_bytes((unsigned char *)&replies->seed, sizeof(replies->seed));
    replies->bytes_max = bytes_max;
    replies->ttl_s = ttl_s;
    list_init(&replies->by_age);
    return replies;
}

static void unref(struct kept *kept)
{
    if (atomic_fetch_sub_explicit(&kept->refs, 1, memory_order_acq_rel) == 1)
        mem_free(kept);
}

static void free_all(struct list *gone)
{
    LIST_FOREACH(node, gone)
    {
        struct kept *kept = LIST_ENTRY(node, struct kept, link);
        list_remove(node);
        unref(kept);
    }
}

void replies_free(struct replies **replies_ptr)
{
    struct replies *replies = *replies_ptr;

    *replies_ptr = NULL;
    if (replies == NULL)
        return;
    free_all(&replies->by_age);
    (void)pthread_mutex_destroy(&replies->lock);
    mem_free(replies->buckets);
    mem_free(replies);
}

static uint64_t hash_of(const struct replies *replies, struct str owner, struct str id)
{
    uint64_t seed = XXH3_64bits_withSeed(owner.p == NULL ? "" : owner.p, owner.n, replies->seed);

    return XXH3_64bits_withSeed(id.p == NULL ? "" : id.p, id.n, seed);
}

/* --- under the lock --- */

/* Where the entry hangs, or where one would be appended. */
static struct kept **find(struct replies *replies, struct str owner, struct str id, uint64_t hash)
{
    struct kept **at = &replies->buckets[hash % BUCKETS];

    while (*at != NULL &&
           !((*at)->hash == hash && str_eq((*at)->owner, owner) && str_eq((*at)->reply.id, id)))
        at = &(*at)->next;
    return at;
}

/* Out of the table; the table's reference goes along. */
static void take_out(struct replies *replies, struct kept **at, struct list *gone)
{
    struct kept *kept = *at;

    assert(replies->bytes >= kept->bytes);
    *at = kept->next;
    replies->bytes -= kept->bytes;
    list_remove(&kept->link);
    list_push_back(gone, &kept->link);
}

static bool is_old(const struct replies *replies, const struct kept *kept, int64_t now_s)
{
    return now_s - kept->made_s >= replies->ttl_s;
}

/* Until `room` more bytes fit, and nothing in front is too old. */
static void make_room(struct replies *replies, size_t room, int64_t now_s, struct list *gone)
{
    while (!list_empty(&replies->by_age)) {
        struct kept *oldest = LIST_ENTRY(replies->by_age.next, struct kept, link);
        bool fits = room <= replies->bytes_max && replies->bytes <= replies->bytes_max - room;
        if (fits && !is_old(replies, oldest, now_s))
            return;
        take_out(replies, find(replies, oldest->owner, oldest->reply.id, oldest->hash), gone);
    }
}

/* --- */

void replies_set_bounds(struct replies *replies, size_t bytes_max, int64_t ttl_s)
{
    struct list gone;

    assert(ttl_s >= 0);
    list_init(&gone);
    pthread_mutex_lock(&replies->lock);
    replies->bytes_max = bytes_max;
    replies->ttl_s = ttl_s;
    make_room(replies, 0, INT64_MIN / 2, &gone); /* age is looked at when the time is known */
    pthread_mutex_unlock(&replies->lock);
    free_all(&gone);
}

static struct str put_text(char **at, struct str s)
{
    struct str copy = {.p = s.p == NULL ? NULL : *at, .n = s.n};

    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

/* The output mostly is a piece of the response: then it is kept there. */
static bool lies_in(struct str outer, struct str inner)
{
    return inner.n > 0 && outer.n > 0 && inner.p >= outer.p &&
           inner.p + inner.n <= outer.p + outer.n;
}

static struct str same_place(struct str outer, struct str inner, struct str outer_copy)
{
    return str_of(outer_copy.p + (inner.p - outer.p), inner.n);
}

static struct kept *kept_new(struct str owner, const struct reply *reply)
{
    bool inside = lies_in(reply->response, reply->output);
    size_t bytes = sizeof(struct kept) + owner.n + reply->id.n + reply->previous.n +
                   reply->backend.n + reply->key.n + reply->session.n + reply->response.n +
                   reply->input.n + (inside ? 0 : reply->output.n);
    struct kept *kept = mem_raw(bytes);
    char *at = kept->text;

    memset(kept, 0, sizeof(*kept));
    list_init(&kept->link);
    atomic_init(&kept->refs, 1);
    kept->bytes = bytes;
    kept->owner = put_text(&at, owner);
    kept->reply.id = put_text(&at, reply->id);
    kept->reply.previous = put_text(&at, reply->previous);
    kept->reply.backend = put_text(&at, reply->backend);
    kept->reply.key = put_text(&at, reply->key);
    kept->reply.session = put_text(&at, reply->session);
    kept->reply.response = put_text(&at, reply->response);
    kept->reply.input = put_text(&at, reply->input);
    kept->reply.output = inside ? same_place(reply->response, reply->output, kept->reply.response)
                                : put_text(&at, reply->output);
    assert(at == (char *)kept + bytes);
    return kept;
}

void replies_put(struct replies *replies, struct str owner, const struct reply *reply,
                 int64_t now_s)
{
    struct kept *kept = kept_new(owner, reply);
    struct list gone;

    assert(reply->id.n > 0);
    list_init(&gone);
    kept->hash = hash_of(replies, owner, reply->id);
    kept->made_s = now_s;
    pthread_mutex_lock(&replies->lock);
    if (replies->buckets == NULL)
        replies->buckets = mem_new(BUCKETS * sizeof(*replies->buckets));
    struct kept **at = find(replies, owner, reply->id, kept->hash);
    if (*at != NULL)
        take_out(replies, at, &gone);
    if (kept->bytes <= replies->bytes_max && replies->ttl_s > 0) {
        make_room(replies, kept->bytes, now_s, &gone);
        at = find(replies, owner, reply->id, kept->hash);
        *at = kept;
        replies->bytes += kept->bytes;
        list_push_back(&replies->by_age, &kept->link);
        kept = NULL;
    }
    pthread_mutex_unlock(&replies->lock);
    if (kept != NULL)
        unref(kept);
    free_all(&gone);
}

/* With a reference; NULL: not there. */
static struct kept *find_young(struct replies *replies, struct str owner, struct str id,
                               int64_t now_s)
{
    uint64_t hash = hash_of(replies, owner, id);
    struct kept *kept = NULL;
    struct list gone;

    list_init(&gone);
    pthread_mutex_lock(&replies->lock);
    make_room(replies, 0, now_s, &gone);
    if (replies->buckets != NULL)
        kept = *find(replies, owner, id, hash);
    /* One worker's clock may be a moment ahead: behind a young one an old one may hide. */
    if (kept != NULL && is_old(replies, kept, now_s))
        kept = NULL;
    if (kept != NULL)
        (void)atomic_fetch_add_explicit(&kept->refs, 1, memory_order_relaxed);
    pthread_mutex_unlock(&replies->lock);
    free_all(&gone);
    return kept;
}

struct reply *replies_borrow(struct replies *replies, struct str owner, struct str id,
                             int64_t now_s)
{
    struct kept *kept = find_young(replies, owner, id, now_s);

    return kept == NULL ? NULL : &kept->reply;
}

void replies_give_back(struct reply **reply_ptr)
{
    struct reply *reply = *reply_ptr;

    *reply_ptr = NULL;
    if (reply != NULL)
        unref(CONTAINER_OF(reply, struct kept, reply));
}

bool replies_get(struct replies *replies, struct str owner, struct str id, int64_t now_s,
                 struct arena *arena, struct reply *ret_reply)
{
    struct kept *kept = find_young(replies, owner, id, now_s);

    if (kept == NULL)
        return false;
    *ret_reply = (struct reply){
        .id = str_copy(arena, kept->reply.id),
        .previous = str_copy(arena, kept->reply.previous),
        .backend = str_copy(arena, kept->reply.backend),
        .key = str_copy(arena, kept->reply.key),
        .session = str_copy(arena, kept->reply.session),
        .response = str_copy(arena, kept->reply.response),
        .input = str_copy(arena, kept->reply.input),
    };
    const struct reply *from = &kept->reply;
    bool inside = lies_in(from->response, from->output) && !arena_overflowed(arena);
    ret_reply->output = inside ? same_place(from->response, from->output, ret_reply->response)
                               : str_copy(arena, from->output);
    unref(kept);
    return true;
}

bool replies_delete(struct replies *replies, struct str owner, struct str id)
{
    uint64_t hash = hash_of(replies, owner, id);
    struct list gone;
    bool found = false;

    list_init(&gone);
    pthread_mutex_lock(&replies->lock);
    if (replies->buckets != NULL) {
        struct kept **at = find(replies, owner, id, hash);
        found = *at != NULL;
        if (found)
            take_out(replies, at, &gone);
    }
    pthread_mutex_unlock(&replies->lock);
    free_all(&gone);
    return found;
}

size_t replies_bytes(struct replies *replies)
{
    pthread_mutex_lock(&replies->lock);
    size_t bytes = replies->bytes;
    pthread_mutex_unlock(&replies->lock);
    return bytes;
}
