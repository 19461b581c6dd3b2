/* SPDX-License-Identifier: MIT */
/*
 * What      A table of kept texts by client and key.
 * How       Buckets of a seeded hash (keys are partly clients' words); all entries also in a list
 *           by use, whose front is the first to go. An entry never changes: it is copied in before
 *           the lock is taken and out after it was given back, under a reference.
 * Owns      The entries and their text; the buckets, from the first entry on.
 * Not here  What the text says, and which reasoning belongs where (gateway/reasoning).
 */
#include "state/vault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <xxhash.h>

#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"

enum { BUCKETS = 16384 };

struct vault_entry {
    struct list link; /* by use; of those that leave: the way to be freed */
    struct vault_entry *next;
    atomic_size_t refs;
    uint64_t hash;
    int64_t put_s;
    size_t bytes; /* all of it */
    struct str client;
    struct str key;
    struct str value;
    char text[];
};

struct vault {
    pthread_mutex_t lock;
    uint64_t seed;
    size_t bytes_max;
    size_t bytes;
    int64_t ttl_s;
    struct vault_entry **buckets; /* NULL: nothing was kept yet */
    struct list by_use;           /* the least recently used in front */
};

struct vault *vault_new(size_t bytes_max, int64_t ttl_s)
{
    struct vault *vault = mem_new(sizeof(*vault));

    assert(ttl_s > 0);
    (void)pthread_mutex_init(&vault->lock, NULL);
    id_random_bytes(&vault->seed, sizeof(vault->seed));
    vault->bytes_max = bytes_max;
    vault->ttl_s = ttl_s;
    list_init(&vault->by_use);
    return vault;
}

/* Reasoning is nobody else's: it does not stay behind in freed memory. */
static void unref(struct vault_entry *entry)
{
    if (atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) != 1)
        return;
    mem_wipe(entry, entry->bytes);
    mem_free(entry);
}

static void free_all(struct list *gone)
{
    while (!list_empty(gone)) {
        struct vault_entry *entry = LIST_ENTRY(gone->next, struct vault_entry, link);
        list_remove(&entry->link);
        unref(entry);
    }
}

void vault_free(struct vault **vault_ptr)
{
    struct vault *vault = *vault_ptr;

    *vault_ptr = NULL;
    if (vault == NULL)
        return;
    free_all(&vault->by_use);
    (void)pthread_mutex_destroy(&vault->lock);
    mem_free(vault->buckets);
    mem_free(vault);
}

static uint64_t hash_of(const struct vault *vault, struct str client, struct str key)
{
    uint64_t seed = XXH3_64bits_withSeed(client.p == NULL ? "" : client.p, client.n, vault->seed);

    return XXH3_64bits_withSeed(key.p == NULL ? "" : key.p, key.n, seed);
}

static struct vault_entry *entry_new(struct str client, struct str key, struct str value)
{
    size_t bytes = sizeof(struct vault_entry) + client.n + key.n + value.n;
    struct vault_entry *entry = mem_raw(bytes);
    char *at = entry->text;

    memset(entry, 0, sizeof(*entry));
    list_init(&entry->link);
    atomic_init(&entry->refs, 1);
    entry->bytes = bytes;
    entry->client = str_of(at, client.n);
    entry->key = str_of(at + client.n, key.n);
    entry->value = str_of(at + client.n + key.n, value.n);
    if (client.n > 0)
        memcpy(at, client.p, client.n);
    if (key.n > 0)
        memcpy(at + client.n, key.p, key.n);
    if (value.n > 0)
        memcpy(at + client.n + key.n, value.p, value.n);
    return entry;
}

/* --- under the lock --- */

/* Where the entry hangs, or where one would be appended. */
static struct vault_entry **find(struct vault *vault, struct str client, struct str key,
                                 uint64_t hash)
{
    struct vault_entry **at = &vault->buckets[hash % BUCKETS];

    while (*at != NULL &&
           !((*at)->hash == hash && str_eq((*at)->client, client) && str_eq((*at)->key, key)))
        at = &(*at)->next;
    return at;
}

/* Out of the table; the table's reference goes along. */
static void take_out(struct vault *vault, struct vault_entry **at, struct list *gone)
{
    struct vault_entry *entry = *at;

    assert(vault->bytes >= entry->bytes);
    *at = entry->next;
    vault->bytes -= entry->bytes;
    list_remove(&entry->link);
    list_push_back(gone, &entry->link);
}

static bool is_old(const struct vault *vault, const struct vault_entry *entry, int64_t now_s)
{
    return now_s - entry->put_s >= vault->ttl_s;
}

/* Until `room` more bytes fit, and what is in front is not too old. */
static void make_room(struct vault *vault, size_t room, int64_t now_s, struct list *gone)
{
    while (!list_empty(&vault->by_use)) {
        struct vault_entry *entry = LIST_ENTRY(vault->by_use.next, struct vault_entry, link);
        if (vault->bytes <= vault->bytes_max - room && !is_old(vault, entry, now_s))
            return;
        take_out(vault, find(vault, entry->client, entry->key, entry->hash), gone);
    }
}

static void put(struct vault *vault, struct vault_entry *entry, int64_t now_s, struct list *gone)
{
    if (vault->buckets == NULL)
        vault->buckets = mem_new(BUCKETS * sizeof(*vault->buckets));
    struct vault_entry **at = find(vault, entry->client, entry->key, entry->hash);
    if (*at != NULL)
        take_out(vault, at, gone);
    make_room(vault, entry->bytes, now_s, gone);
    at = find(vault, entry->client, entry->key, entry->hash);
    assert(*at == NULL);
    *at = entry;
    vault->bytes += entry->bytes;
    list_push_back(&vault->by_use, &entry->link);
}

/* With a reference; NULL: not there. */
static struct vault_entry *use(struct vault *vault, struct str client, struct str key,
                               int64_t now_s, struct list *gone)
{
    if (vault->buckets == NULL)
        return NULL;
    struct vault_entry **at = find(vault, client, key, hash_of(vault, client, key));
    struct vault_entry *entry = *at;
    if (entry == NULL)
        return NULL;
    if (is_old(vault, entry, now_s)) {
        take_out(vault, at, gone);
        return NULL;
    }
    list_remove(&entry->link);
    list_push_back(&vault->by_use, &entry->link);
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    return entry;
}

/* --- */

void vault_put(struct vault *vault, struct str client, struct str key, struct str value,
               int64_t now_s)
{
    size_t most = vault->bytes_max / 4;
    struct list gone;

    assert(key.n <= VAULT_KEY_MAX);
    if (value.n > most || client.n + key.n + sizeof(struct vault_entry) > most - value.n)
        return;
    struct vault_entry *entry = entry_new(client, key, value);
    entry->hash = hash_of(vault, client, key);
    entry->put_s = now_s;
    list_init(&gone);
    pthread_mutex_lock(&vault->lock);
    put(vault, entry, now_s, &gone);
    pthread_mutex_unlock(&vault->lock);
    free_all(&gone);
}

struct str vault_get(struct vault *vault, struct str client, struct str key, int64_t now_s,
                     struct arena *arena)
{
    struct str value = STR_NULL;
    struct list gone;

    list_init(&gone);
    pthread_mutex_lock(&vault->lock);
    struct vault_entry *entry = use(vault, client, key, now_s, &gone);
    pthread_mutex_unlock(&vault->lock);
    free_all(&gone);
    if (entry == NULL)
        return STR_NULL;
    value = str_copy(arena, entry->value);
    unref(entry);
    return arena_overflowed(arena) ? STR_NULL : value;
}

size_t vault_bytes(struct vault *vault)
{
    pthread_mutex_lock(&vault->lock);
    size_t bytes = vault->bytes;
    pthread_mutex_unlock(&vault->lock);
    return bytes;
}
