/* SPDX-License-Identifier: MIT */
/*
 * Wrong keys by address.
 *
 * What      A table of addresses with their last wrong keys and their wait.
 * How       Buckets of a seeded hash; all entries also in a list by their last wrong key, whose
 *           front is the one to go when time or room runs out.
 *               level 0: free strikes, the last ones' times in a ring ─► level n: waits of
 *               30 s * 2^(n-1) ─► forgotten, after a window without a wrong key
 *           A filter of counters by hash, read without the lock, tells most right keys that nothing
 *           is known of their address.
 * Owns      The entries, at most STRIKES_ADDRESSES_MAX; the buckets, from the first wrong key on.
 * Not here  Keys; whose address it is (peer); what the client is told (admit).
 */
#include "gateway/strikes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <xxhash.h>

#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"

enum { BUCKETS = 4096, FILTER_SIZE = 1024, V6_NETWORK_SIZE = 8 };

struct strike {
    struct strike *next; /* in the bucket */
    struct list link;    /* by last_ms */
    struct address address;
    int64_t last_ms;             /* wrong key */
    int64_t wait_ms;             /* of the present or last wait; 0: none yet */
    int64_t until_ms;            /* its end */
    int64_t at_ms[STRIKES_FREE]; /* a ring: the newest before `n` */
    unsigned n;                  /* strikes at level 0 */
    uint32_t hash;
};

struct strikes {
    pthread_mutex_t lock;
    uint64_t seed;
    atomic_size_t count;
    struct strike **buckets; /* NULL: no wrong key yet */
    struct list by_time;     /* the front was quiet longest */
    atomic_ushort filter[FILTER_SIZE];
};

_Static_assert((STRIKES_ADDRESSES_MAX) <= UINT16_MAX, "a filter's counter holds all of them");

struct strikes *strikes_new(void)
{
    struct strikes *strikes = mem_new(sizeof(*strikes));

    (void)pthread_mutex_init(&strikes->lock, NULL);
    id_random_bytes((unsigned char *)&strikes->seed, sizeof(strikes->seed));
    list_init(&strikes->by_time);
    return strikes;
}

/* What counts as one address. */
static struct address network_of(const struct address *address)
{
    struct address network = *address;

    if (!address_is_v4(address))
        memset(network.bytes + V6_NETWORK_SIZE, 0, sizeof(network.bytes) - V6_NETWORK_SIZE);
    return network;
}

static uint32_t hash_of(const struct strikes *strikes, const struct address *network)
{
    return (uint32_t)XXH3_64bits_withSeed(network->bytes, sizeof(network->bytes), strikes->seed);
}

static struct strike **find(struct strikes *strikes, const struct address *network, uint32_t hash)
{
    struct strike **at = &strikes->buckets[hash % BUCKETS];

    while (*at != NULL && !address_eq(&(*at)->address, network))
        at = &(*at)->next;
    return at;
}

static void forget(struct strikes *strikes, struct strike **at)
{
    struct strike *strike = *at;

    *at = strike->next;
    list_remove(&strike->link);
    atomic_fetch_sub_explicit(&strikes->filter[strike->hash % FILTER_SIZE], 1,
                              memory_order_relaxed);
    size_t before = atomic_fetch_sub_explicit(&strikes->count, 1, memory_order_relaxed);
    assert(before > 0);
    mem_free(strike);
}

static bool is_over(const struct strike *strike, int64_t now_ms)
{
    int64_t since_ms = strike->until_ms > strike->last_ms ? strike->until_ms : strike->last_ms;

    return now_ms - since_ms > STRIKES_WINDOW_MS;
}

/* Makes room, and lets go of what is over; of the latter a few at a time, so that it takes none
 * long. */
static void trim(struct strikes *strikes, int64_t now_ms)
{
    for (int i = 0; i < 4 && !list_empty(&strikes->by_time); i++) {
        struct strike *oldest = LIST_ENTRY(strikes->by_time.next, struct strike, link);
        if (!is_over(oldest, now_ms) && strikes_count(strikes) < STRIKES_ADDRESSES_MAX)
            return;
        struct strike **at = find(strikes, &oldest->address, oldest->hash);
        assert(*at == oldest);
        forget(strikes, at);
    }
}

static struct strike *make(struct strikes *strikes, struct strike **at,
                           const struct address *network, uint32_t hash)
{
    struct strike *strike = mem_new(sizeof(*strike));

    strike->address = *network;
    strike->hash = hash;
    list_init(&strike->link);
    *at = strike;
    atomic_fetch_add_explicit(&strikes->filter[hash % FILTER_SIZE], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&strikes->count, 1, memory_order_relaxed);
    assert(strikes_count(strikes) <= STRIKES_ADDRESSES_MAX);
    return strike;
}

/* Whether the wait, or a longer one, begins now. */
static bool goes_too_far(struct strike *strike, int64_t now_ms)
{
    int64_t *oldest = &strike->at_ms[strike->n % STRIKES_FREE];

    if (strike->wait_ms > 0)
        return true;
    if (strike->n >= STRIKES_FREE && now_ms - *oldest <= STRIKES_WINDOW_MS)
        return true;
    *oldest = now_ms;
    strike->n++;
    /* It is a ring: only whether it is full counts, and where its oldest is. */
    if (strike->n == 2 * STRIKES_FREE)
        strike->n = STRIKES_FREE;
    return false;
}

static int64_t count_one(struct strike *strike, int64_t now_ms)
{
    strike->last_ms = now_ms;
    if (now_ms < strike->until_ms)
        return strike->until_ms - now_ms;
    if (!goes_too_far(strike, now_ms))
        return 0;
    strike->wait_ms = strike->wait_ms == 0 ? STRIKES_WAIT_MS : strike->wait_ms * 2;
    if (strike->wait_ms > STRIKES_WAIT_MAX_MS)
        strike->wait_ms = STRIKES_WAIT_MAX_MS;
    strike->until_ms = now_ms + strike->wait_ms;
    return strike->wait_ms;
}

int64_t strikes_wrong(struct strikes *strikes, const struct address *address, int64_t now_ms)
{
    struct address network = network_of(address);
    uint32_t hash = hash_of(strikes, &network);

    pthread_mutex_lock(&strikes->lock);
    if (strikes->buckets == NULL)
        strikes->buckets = mem_new(BUCKETS * sizeof(struct strike *));
    struct strike **at = find(strikes, &network, hash);
    if (*at != NULL && is_over(*at, now_ms))
        forget(strikes, at);
    if (*at == NULL || !address_eq(&(*at)->address, &network)) {
        trim(strikes, now_ms);
        at = find(strikes, &network, hash);
        (void)make(strikes, at, &network, hash);
    }
    struct strike *strike = *at;
    list_remove(&strike->link);
    list_push_back(&strikes->by_time, &strike->link);
    int64_t wait_ms = count_one(strike, now_ms);
    pthread_mutex_unlock(&strikes->lock);
    assert(wait_ms >= 0 && wait_ms <= STRIKES_WAIT_MAX_MS);
    return wait_ms;
}

void strikes_right(struct strikes *strikes, const struct address *address)
{
    struct address network = network_of(address);
    uint32_t hash = hash_of(strikes, &network);

    if (atomic_load_explicit(&strikes->filter[hash % FILTER_SIZE], memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&strikes->lock);
    struct strike **at = strikes->buckets == NULL ? NULL : find(strikes, &network, hash);
    if (at != NULL && *at != NULL)
        forget(strikes, at);
    pthread_mutex_unlock(&strikes->lock);
}

bool strikes_any(const struct strikes *strikes)
{
    return strikes_count(strikes) > 0;
}

size_t strikes_count(const struct strikes *strikes)
{
    return atomic_load_explicit(&strikes->count, memory_order_relaxed);
}

void strikes_free(struct strikes **strikes)
{
    struct strikes *s = *strikes;

    if (s == NULL)
        return;
    while (!list_empty(&s->by_time)) {
        struct strike *first = LIST_ENTRY(s->by_time.next, struct strike, link);
        forget(s, find(s, &first->address, first->hash));
    }
    mem_free(s->buckets);
    (void)pthread_mutex_destroy(&s->lock);
    mem_free(s);
    *strikes = NULL;
}
