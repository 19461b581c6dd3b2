/* SPDX-License-Identifier: MIT */
/*
 * Keyrings.
 *
 * What      Which key an attempt takes, and what is known of each.
 * How       A key's numbers are atomics of their own: who chooses sees each of them as it is or was
 *           a moment ago, which is all that a choice needs. How many run and how many ran are one
 *           number, so that a request costs two additions. The words of the last error have a lock,
 *           which only failures and operators take.
 *           usable: neither cools nor refused ─► none: refused ones, if no other cools ─► none:
 *           how long the first of those that cool does.
 * Owns      Keys, counted by the rings that have them.
 * Not here  The secrets (state/config), what an answer means for a key (gateway/plan), what a
 *           session remembers (state/session).
 */
#include "backend/keyring.h"

#include <pthread.h>

#include "base/mac.h"
#include "base/mem.h"
#include "text/utf8.h"

enum {
    /* in_use: how many run in the lower bits, how many ran above them */
    RUNS_BITS = 24,
    LATENCY_WEIGHT = 8,
};

#define RUN_ONE  UINT64_C(1)
#define RUN_MASK ((UINT64_C(1) << RUNS_BITS) - 1)
#define RAN_ONE  (UINT64_C(1) << RUNS_BITS)

struct keyring_key {
    atomic_size_t refs; /* of rings */
    unsigned char digest[MAC_SIZE];
    char apart[64]; /* what changes all the time shares no cache line with what does not */
    _Atomic(uint64_t) in_use;
    _Atomic(int64_t) latency_us;    /* 0: none yet */
    _Atomic(int64_t) cool_until_ms; /* 0: never cooled */
    _Atomic(int64_t) limit;
    atomic_bool invalid;
    pthread_mutex_t lock; /* of what follows */
    int64_t error_at_ms;
    int error_status;
    bool failed; /* once */
    char error[KEYRING_TEXT_SIZE];
};

/* --- keys --- */

/* Not for secrecy against who has the process's memory: the keys are in there as well. */
static void digest_of(const struct str *pieces, size_t n, unsigned char *ret_digest)
{
    static const struct mac_key plain = {.bytes = {0}};

    mac_make(&plain, pieces, n, ret_digest);
}

static uint32_t id_of(const unsigned char *digest)
{
    uint32_t id;

    memcpy(&id, digest, sizeof(id));
    return id == 0 ? 1 : id;
}

static struct keyring_key *key_new(struct str backend, const struct backend_key *key)
{
    struct keyring_key *made = mem_new(sizeof(*made));
    /* No name has a line break. */
    const struct str pieces[] = {
        backend,
        STR("\n"),
        key == NULL ? STR("") : key->name,
        STR("\n"),
        key == NULL ? STR("") : secret_reveal(&key->key),
    };

    atomic_init(&made->refs, 1);
    atomic_init(&made->limit, -1);
    digest_of(pieces, COUNT_OF(pieces), made->digest);
    (void)pthread_mutex_init(&made->lock, NULL);
    return made;
}

static void key_unref(struct keyring_key **key_ptr)
{
    struct keyring_key *key = *key_ptr;
    size_t before = atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel);

    *key_ptr = NULL;
    assert(before > 0);
    if (before > 1)
        return;
    assert((atomic_load(&key->in_use) & RUN_MASK) == 0);
    (void)pthread_mutex_destroy(&key->lock);
    mem_free(key);
}

static int64_t cool_until(const struct keyring_key *key)
{
    return atomic_load_explicit(&key->cool_until_ms, memory_order_relaxed);
}

static bool is_cooling(const struct keyring_key *key, int64_t now_ms)
{
    return UNLIKELY(cool_until(key) > now_ms);
}

static bool is_invalid(const struct keyring_key *key)
{
    return UNLIKELY(atomic_load_explicit(&key->invalid, memory_order_relaxed));
}

static const struct keyring_key *key_at(const struct keyring *ring, size_t index)
{
    assert(index < ring->n);
    return ring->keys[index];
}

/* --- rings --- */

static enum keyring_policy policy_of(struct str word)
{
    if (str_eq(word, STR("round-robin")))
        return KEYRING_ROUND_ROBIN;
    if (str_eq(word, STR("failover")))
        return KEYRING_FAILOVER;
    if (str_eq(word, STR("least-used")))
        return KEYRING_LEAST_USED;
    return KEYRING_STICKY;
}

void keyring_init(struct keyring *ring, const struct backend_config *config)
{
    unsigned char digest[MAC_SIZE];

    assert(config->keys_n <= KEYRING_KEYS_MAX);
    ring->policy = policy_of(config->policy);
    ring->n = config->keys_n == 0 ? 1 : config->keys_n;
    atomic_init(&ring->turn, 0);
    for (size_t i = 0; i < ring->n; i++)
        ring->keys[i] = key_new(config->name, config->keys_n == 0 ? NULL : &config->keys[i]);
    digest_of(&config->name, 1, digest);
    ring->id = id_of(digest);
}

void keyring_fini(struct keyring *ring)
{
    for (size_t i = 0; i < ring->n; i++)
        key_unref(&ring->keys[i]);
    ring->n = 0;
}

void keyring_adopt(struct keyring *ring, struct keyring *before)
{
    atomic_store_explicit(&ring->turn, atomic_load_explicit(&before->turn, memory_order_relaxed),
                          memory_order_relaxed);
    for (size_t i = 0; i < ring->n; i++) {
        for (size_t k = 0; k < before->n; k++) {
            if (memcmp(ring->keys[i]->digest, before->keys[k]->digest, MAC_SIZE) != 0)
                continue;
            key_unref(&ring->keys[i]);
            ring->keys[i] = before->keys[k];
            atomic_fetch_add_explicit(&ring->keys[i]->refs, 1, memory_order_relaxed);
            break;
        }
    }
}

/* --- choosing --- */

static uint64_t bit(size_t index)
{
    return UINT64_C(1) << index;
}

/* Those that may be tried now, as bits. *ret_wait_ms: of keys that cool, until the first does not
 * (of those that were refused, where there are no others); -1: none does. */
static uint64_t usable(const struct keyring *ring, const struct keyring_ask *ask,
                       int64_t *ret_wait_ms)
{
    uint64_t good = 0;
    uint64_t refused = 0;
    int64_t good_ms = -1; /* until the first of those that cool does not */
    int64_t refused_ms = -1;

    for (size_t i = 0; i < ring->n; i++) {
        bool invalid = is_invalid(ring->keys[i]);
        int64_t left_ms = cool_until(ring->keys[i]) - ask->now_ms;
        uint64_t *bits = invalid ? &refused : &good;
        int64_t *shortest_ms = invalid ? &refused_ms : &good_ms;
        if (left_ms <= 0)
            *bits |= bit(i);
        else if (*shortest_ms < 0 || left_ms < *shortest_ms)
            *shortest_ms = left_ms;
    }
    *ret_wait_ms = good_ms;
    /* One that cools works, a moment later. */
    if (good == 0 && good_ms < 0) {
        good = refused;
        *ret_wait_ms = refused_ms;
    }
    return good & ~ask->tried;
}

/* The nth bit that is set, from 0. */
static size_t nth(uint64_t bits, size_t n)
{
    assert(bits != 0);
    while (n-- > 0)
        bits &= bits - 1;
    return (size_t)__builtin_ctzll(bits);
}

/* Each in turn, of those that may be used now: one that cools leaves its turns to all others. */
static size_t next_in_turn(struct keyring *ring, uint64_t bits)
{
    size_t turn = atomic_fetch_add_explicit(&ring->turn, 1, memory_order_relaxed);

    return nth(bits, turn % (size_t)__builtin_popcountll(bits));
}

/* The next one behind the last, around the ring. */
static size_t next_behind(uint64_t bits, size_t last)
{
    uint64_t behind = last + 1 < KEYRING_KEYS_MAX ? bits & ~(bit(last + 1) - 1) : 0;

    return nth(behind != 0 ? behind : bits, 0);
}

static size_t least_used(const struct keyring *ring, uint64_t bits)
{
    size_t best = KEYRING_NONE;
    uint64_t best_runs = 0;
    uint64_t best_ran = 0;

    for (; bits != 0; bits &= bits - 1) {
        size_t i = nth(bits, 0);
        uint64_t in_use = atomic_load_explicit(&ring->keys[i]->in_use, memory_order_relaxed);
        uint64_t runs = in_use & RUN_MASK;
        uint64_t ran = in_use >> RUNS_BITS;
        if (best != KEYRING_NONE && (runs > best_runs || (runs == best_runs && ran >= best_ran)))
            continue;
        best = i;
        best_runs = runs;
        best_ran = ran;
    }
    return best;
}

static size_t by_policy(struct keyring *ring, const struct keyring_ask *ask, uint64_t bits)
{
    if (ring->policy == KEYRING_STICKY && ask->hint < ring->n && (bits & bit(ask->hint)) != 0)
        return ask->hint;
    switch (ring->policy) {
    case KEYRING_FAILOVER:
        return nth(bits, 0);
    case KEYRING_LEAST_USED:
        return least_used(ring, bits);
    case KEYRING_STICKY:
    case KEYRING_ROUND_ROBIN:
        return ask->tried != 0 ? next_behind(bits, ask->last) : next_in_turn(ring, bits);
    }
    BUG("no such policy");
}

size_t keyring_choose(struct keyring *ring, const struct keyring_ask *ask, int64_t *ret_wait_ms)
{
    assert(ask->tried == 0 || ask->last < ring->n);
    *ret_wait_ms = -1;
    /* One key, or none: nearly all. */
    if (LIKELY(ring->n == 1 && ask->tried == 0 && cool_until(ring->keys[0]) <= ask->now_ms))
        return 0;
    uint64_t bits = usable(ring, ask, ret_wait_ms);
    return bits == 0 ? KEYRING_NONE : by_policy(ring, ask, bits);
}

size_t keyring_first(const struct keyring *ring, int64_t now_ms)
{
    for (size_t i = 0; i < ring->n; i++) {
        if (!is_cooling(ring->keys[i], now_ms) && !is_invalid(ring->keys[i]))
            return i;
    }
    return 0;
}

int64_t keyring_wait_ms(const struct keyring *ring, size_t index, int64_t now_ms)
{
    int64_t left_ms = cool_until(key_at(ring, index)) - now_ms;

    return left_ms > 0 ? left_ms : 0;
}

bool keyring_recovers(const struct keyring *ring, int64_t now_ms)
{
    for (size_t i = 0; i < ring->n; i++) {
        if (is_cooling(ring->keys[i], now_ms) && !is_invalid(ring->keys[i]))
            return true;
    }
    return false;
}

int64_t keyring_limit(const struct keyring *ring, int64_t now_ms)
{
    for (size_t i = 0; i < ring->n; i++) {
        int64_t limit = atomic_load_explicit(&ring->keys[i]->limit, memory_order_relaxed);
        if (limit >= 0 && is_cooling(ring->keys[i], now_ms))
            return limit;
    }
    return -1;
}

size_t keyring_cooling(const struct keyring *ring, int64_t now_ms)
{
    size_t n = 0;

    for (size_t i = 0; i < ring->n; i++)
        n += is_cooling(ring->keys[i], now_ms) ? 1 : 0;
    return n;
}

/* --- using one --- */

void keyring_begin(struct keyring *ring, size_t index)
{
    assert(index < ring->n);
    (void)atomic_fetch_add_explicit(&ring->keys[index]->in_use, RUN_ONE + RAN_ONE,
                                    memory_order_relaxed);
}

/* Later ones count: of several answers at once each has seen another moment. */
static void cool(struct keyring_key *key, const struct keyring_result *result, int64_t now_ms)
{
    int64_t wait_ms = result->wait_ms < 0 ? KEYRING_COOL_MS : result->wait_ms;
    int64_t until_ms = now_ms + (wait_ms > KEYRING_COOL_MS_MAX ? KEYRING_COOL_MS_MAX : wait_ms);
    int64_t present_ms = cool_until(key);

    atomic_store_explicit(&key->limit, result->limit, memory_order_relaxed);
    while (present_ms < until_ms &&
           !atomic_compare_exchange_weak_explicit(&key->cool_until_ms, &present_ms, until_ms,
                                                  memory_order_relaxed, memory_order_relaxed)) {}
}

static void remember(struct keyring_key *key, const struct keyring_result *result, int64_t now_ms)
{
    struct str text = result->text == NULL ? STR("") : str_c(result->text);

    text = utf8_head(text, KEYRING_TEXT_SIZE - 1);
    (void)pthread_mutex_lock(&key->lock);
    key->failed = true;
    key->error_at_ms = now_ms;
    key->error_status = result->status;
    memcpy(key->error, text.p, text.n);
    key->error[text.n] = '\0';
    (void)pthread_mutex_unlock(&key->lock);
}

/* Two workers at once may lose one of their values, which an average does not mind. */
static void learn_latency(struct keyring_key *key, int64_t us)
{
    int64_t present = atomic_load_explicit(&key->latency_us, memory_order_relaxed);
    int64_t next = present == 0 ? us : present + (us - present) / LATENCY_WEIGHT;

    atomic_store_explicit(&key->latency_us, next > 0 ? next : 1, memory_order_relaxed);
}

void keyring_done(struct keyring *ring, size_t index, const struct keyring_result *result,
                  int64_t now_ms)
{
    assert(index < ring->n);
    struct keyring_key *key = ring->keys[index];
    uint64_t before = atomic_fetch_sub_explicit(&key->in_use, RUN_ONE, memory_order_relaxed);

    assert((before & RUN_MASK) > 0);
    if (result->latency_us >= 0)
        learn_latency(key, result->latency_us);
    switch (result->outcome) {
    case KEYRING_WORKED:
        if (is_invalid(key))
            atomic_store_explicit(&key->invalid, false, memory_order_relaxed);
        return;
    case KEYRING_UNKNOWN:
        return;
    case KEYRING_LIMITED:
        cool(key, result, now_ms);
        break;
    case KEYRING_REFUSED:
        atomic_store_explicit(&key->invalid, true, memory_order_relaxed);
        break;
    case KEYRING_FAILED:
        break;
    }
    remember(key, result, now_ms);
}

/* --- for sessions --- */

uint32_t keyring_key_id(const struct keyring *ring, size_t index)
{
    return id_of(key_at(ring, index)->digest);
}

size_t keyring_find(const struct keyring *ring, uint32_t id)
{
    for (size_t i = 0; i < ring->n && id != 0; i++) {
        if (id_of(ring->keys[i]->digest) == id)
            return i;
    }
    return KEYRING_NONE;
}

/* --- for operators --- */

void keyring_view(const struct keyring *ring, size_t index, int64_t now_ms,
                  struct keyring_view *ret_view)
{
    struct keyring_key *key = ring->keys[index];
    uint64_t in_use = atomic_load_explicit(&key->in_use, memory_order_relaxed);
    int64_t latency_us = atomic_load_explicit(&key->latency_us, memory_order_relaxed);

    assert(index < ring->n);
    *ret_view = (struct keyring_view){
        .cooling_ms = keyring_wait_ms(ring, index, now_ms),
        .invalid = is_invalid(key),
        .in_flight = (int64_t)(in_use & RUN_MASK),
        .uses = (int64_t)(in_use >> RUNS_BITS),
        .latency_us = latency_us == 0 ? -1 : latency_us,
        .error_age_ms = -1,
    };
    (void)pthread_mutex_lock(&key->lock);
    if (key->failed) {
        ret_view->error_age_ms = now_ms > key->error_at_ms ? now_ms - key->error_at_ms : 0;
        ret_view->error_status = key->error_status;
        memcpy(ret_view->error, key->error, KEYRING_TEXT_SIZE);
    }
    (void)pthread_mutex_unlock(&key->lock);
}
