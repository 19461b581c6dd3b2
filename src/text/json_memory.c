/* SPDX-License-Identifier: MIT */
#include "text/json_memory.h"

#include <xxhash.h>

#include "base/id.h"
#include "base/mem.h"

enum { SLOTS = 16, TAIL = 64 };

_Static_assert((int)JSON_MARK_BYTES_MIN >= (int)TAIL, "a mark has a tail");

struct slot {
    struct json_mark mark; /* at 0: empty */
    XXH64_hash_t tail;     /* of its last TAIL bytes: what is looked at first */
    XXH128_hash_t hash;
};

struct json_memory {
    uint64_t seed;
    XXH3_state_t *state; /* of the hash that is being made */
    size_t next;         /* the slot to be used next, so the oldest */
    struct slot slots[SLOTS];
};

struct json_memory *json_memory_new(void)
{
    struct json_memory *memory = mem_new(sizeof(*memory));

    id_random_bytes(&memory->seed, sizeof(memory->seed));
    memory->state = XXH3_createState();
    if (memory->state == NULL)
        BUG("out of memory");
    return memory;
}

void json_memory_free(struct json_memory **memory)
{
    if (*memory != NULL)
        (void)XXH3_freeState((*memory)->state);
    mem_free(*memory);
    *memory = NULL;
}

static XXH64_hash_t tail_of(const struct json_memory *memory, struct str text, size_t at)
{
    assert(at >= TAIL && at <= text.n);
    return XXH3_64bits_withSeed(text.p + at - TAIL, TAIL, memory->seed);
}

const struct json_mark *json_memory_find(struct json_memory *memory, struct str text,
                                         size_t depth_max)
{
    const struct slot *found[SLOTS];
    size_t n = 0;

    for (size_t i = 0; i < SLOTS; i++) {
        const struct slot *slot = &memory->slots[i];
        size_t at = slot->mark.at;
        if (at == 0 || at > text.n || slot->mark.depth_max != depth_max ||
            slot->tail != tail_of(memory, text, at))
            continue;
        /* The furthest first. */
        size_t place = n++;
        for (; place > 0 && found[place - 1]->mark.at < at; place--)
            found[place] = found[place - 1];
        found[place] = slot;
    }
    for (size_t i = 0; i < n; i++) {
        XXH128_hash_t hash = XXH3_128bits_withSeed(text.p, found[i]->mark.at, memory->seed);
        if (XXH128_isEqual(hash, found[i]->hash))
            return &found[i]->mark;
    }
    return NULL;
}

void json_memory_store(struct json_memory *memory, struct str text, const struct json_mark *marks,
                       size_t n)
{
    XXH3_state_t *state = memory->state;
    size_t done = 0;

    if (XXH3_128bits_reset_withSeed(state, memory->seed) == XXH_ERROR)
        return;
    for (size_t i = 0; i < n; i++) {
        assert(marks[i].at >= done && marks[i].at <= text.n);
        assert(marks[i].at >= JSON_MARK_BYTES_MIN && marks[i].members_n <= JSON_MARK_MEMBERS);
        if (XXH3_128bits_update(state, text.p + done, marks[i].at - done) == XXH_ERROR)
            return;
        done = marks[i].at;
        struct slot *slot = &memory->slots[memory->next];
        memory->next = (memory->next + 1) % SLOTS;
        slot->mark = marks[i];
        slot->tail = tail_of(memory, text, marks[i].at);
        slot->hash = XXH3_128bits_digest(state);
    }
}
