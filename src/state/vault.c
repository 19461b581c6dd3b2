/* SPDX-License-Identifier: MIT */
/*
 * What      A table of kept texts by client and key.
 * How       Buckets of a seeded hash (keys are partly clients' words). All entries also in a list
 *           by age, and by use in the list of their holder, the client: when there is no room, the
 *           holder of most loses the front of its list. An entry never changes: it is copied in
 *           before the lock is taken and out after it was given back, under a reference.
 * Owns      The entries and their text, the holders; the buckets, from the first entry on.
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

/* A client that has something here. */
struct holder {
    struct list link;   /* of all holders */
    struct list by_use; /* its entries, the least recently used in front */
    uint64_t hash;
    size_t bytes;
    struct str client; /* its oldest entry's, or any other one's */
};

struct vault_entry {
    struct list link;     /* by use; of those that leave: the way to be freed */
    struct list age_link; /* by age */
    struct holder *holder;
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
    struct list by_age;           /* the oldest in front */
    struct list holders;
    size_t entries;
    uint64_t evictions;
    uint64_t hits;
    uint64_t misses;
};

struct vault *vault_new(size_t bytes_max, int64_t ttl_s)
{
    struct vault *vault = mem_new(sizeof(*vault));

    assert(ttl_s > 0);
    (void)pthread_mutex_init(&vault->lock, NULL);
    id_random_bytes(&vault->seed, sizeof(vault->seed));
    vault->bytes_max = bytes_max;
    vault->ttl_s = ttl_s;
    list_init(&vault->by_age);
    list_init(&vault->holders);
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
    list_init(&entry->age_link);
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

static struct vault_entry **at_of(struct vault *vault, const struct vault_entry *entry)
{
    return find(vault, entry->client, entry->key, entry->hash);
}

static struct vault_entry *oldest(const struct vault *vault)
{
    return LIST_ENTRY(vault->by_age.next, struct vault_entry, age_link);
}

/* NULL: it has nothing here. */
static struct holder *find_holder(struct vault *vault, struct str client, uint64_t hash)
{
    LIST_FOREACH(node, &vault->holders)
    {
        struct holder *holder = LIST_ENTRY(node, struct holder, link);
        if (holder->hash == hash && str_eq(holder->client, client))
            return holder;
    }
    return NULL;
}

static void hold(struct vault *vault, struct vault_entry *entry)
{
    uint64_t hash = hash_of(vault, entry->client, STR_NULL);
    struct holder *holder = find_holder(vault, entry->client, hash);

    if (holder == NULL) {
        holder = mem_new(sizeof(*holder));
        list_init(&holder->link);
        list_init(&holder->by_use);
        holder->hash = hash;
        list_push_back(&vault->holders, &holder->link);
    }
    entry->holder = holder;
    holder->client = entry->client;
    holder->bytes += entry->bytes;
    list_push_back(&holder->by_use, &entry->link);
    list_push_back(&vault->by_age, &entry->age_link);
    vault->bytes += entry->bytes;
    vault->entries++;
}

static void let_go(struct vault *vault, struct vault_entry *entry)
{
    struct holder *holder = entry->holder;

    assert(vault->bytes >= entry->bytes && holder->bytes >= entry->bytes && vault->entries > 0);
    vault->bytes -= entry->bytes;
    vault->entries--;
    holder->bytes -= entry->bytes;
    list_remove(&entry->link);
    list_remove(&entry->age_link);
    if (list_empty(&holder->by_use)) {
        list_remove(&holder->link);
        mem_free(holder);
        return;
    }
    holder->client = LIST_ENTRY(holder->by_use.next, struct vault_entry, link)->client;
}

/* Out of the table; the table's reference goes along. */
static void take_out(struct vault *vault, struct vault_entry **at, struct list *gone)
{
    struct vault_entry *entry = *at;

    *at = entry->next;
    let_go(vault, entry);
    list_push_back(gone, &entry->link);
}

static bool is_old(const struct vault *vault, const struct vault_entry *entry, int64_t now_s)
{
    return now_s - entry->put_s >= vault->ttl_s;
}

/* Who would hold most with the new entry: what it has used least recently. NULL: only the new one
 * itself. */
static struct vault_entry *first_to_go(struct vault *vault, const struct vault_entry *new_one)
{
    const struct holder *most = NULL;
    size_t most_bytes = 0;

    LIST_FOREACH(node, &vault->holders)
    {
        const struct holder *holder = LIST_ENTRY(node, struct holder, link);
        size_t bytes = holder->bytes;
        if (str_eq(holder->client, new_one->client))
            bytes += new_one->bytes;
        if (bytes > most_bytes) {
            most = holder;
            most_bytes = bytes;
        }
    }
    return most == NULL ? NULL : LIST_ENTRY(most->by_use.next, struct vault_entry, link);
}

/* Until the new one fits, and nothing is too old. */
static void make_room(struct vault *vault, const struct vault_entry *new_one, int64_t now_s,
                      struct list *gone)
{
    while (!list_empty(&vault->by_age) && is_old(vault, oldest(vault), now_s))
        take_out(vault, at_of(vault, oldest(vault)), gone);
    while (vault->bytes > vault->bytes_max - new_one->bytes) {
        struct vault_entry *entry = first_to_go(vault, new_one);
        assert(entry != NULL);
        take_out(vault, at_of(vault, entry), gone);
        vault->evictions++;
    }
}

static void put(struct vault *vault, struct vault_entry *entry, int64_t now_s, struct list *gone)
{
    if (vault->buckets == NULL)
        vault->buckets = mem_new(BUCKETS * sizeof(*vault->buckets));
    struct vault_entry **at = at_of(vault, entry);
    if (*at != NULL)
        take_out(vault, at, gone);
    make_room(vault, entry, now_s, gone);
    at = at_of(vault, entry);
    assert(*at == NULL);
    *at = entry;
    hold(vault, entry);
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
    list_push_back(&entry->holder->by_use, &entry->link);
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    return entry;
}

void vault_free(struct vault **vault_ptr)
{
    struct vault *vault = *vault_ptr;
    struct list gone;

    *vault_ptr = NULL;
    if (vault == NULL)
        return;
    list_init(&gone);
    while (!list_empty(&vault->by_age))
        take_out(vault, at_of(vault, oldest(vault)), &gone);
    free_all(&gone);
    assert(list_empty(&vault->holders));
    (void)pthread_mutex_destroy(&vault->lock);
    mem_free(vault->buckets);
    mem_free(vault);
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
    if (entry != NULL)
        vault->hits++;
    else
        vault->misses++;
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

void vault_stats(struct vault *vault, struct vault_stats *ret_stats)
{
    pthread_mutex_lock(&vault->lock);
    *ret_stats = (struct vault_stats){
        .bytes = vault->bytes,
        .entries = vault->entries,
        .evictions = vault->evictions,
        .hits = vault->hits,
        .misses = vault->misses,
    };
    pthread_mutex_unlock(&vault->lock);
}
