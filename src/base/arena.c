/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include "base/mem.h"

#if HAVE_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
    BLOCK_SIZE_MIN = 512,
    BLOCK_SIZE_MAX = 64 * 1024,
    BEYOND_MAX = 256 * 1024,
    /* Gap after each allocation in sanitizer builds. */
    GUARD = HAVE_ASAN ? ARENA_ALIGN : 0,
};

struct arena_block {
    struct arena_block *next;
    size_t size; /* of the heap block, this header included */
    _Alignas(ARENA_ALIGN) char data[];
};

/*
 * What an overflowed arena serves: one per thread, never read with any expectation. It is the one
 * mutable object of this file; its content is meaningless by definition.
 */
static _Thread_local _Alignas(ARENA_ALIGN) char arena_reserve[ARENA_RESERVE];

void arena_init(struct arena *arena, size_t bytes_max, size_t block_size,
                struct arena_budget *budget)
{
    assert(arena != NULL);
    assert(bytes_max > 0);
    *arena = (struct arena){
        .bytes_max = bytes_max,
        .block_size = block_size < BLOCK_SIZE_MIN ? BLOCK_SIZE_MIN : block_size,
        .budget = budget,
    };
}

/* Down to end, which stays. */
static void free_blocks(struct arena_block *block, const struct arena_block *end)
{
    while (block != end) {
        struct arena_block *next = block->next;
        ASAN_UNPOISON_MEMORY_REGION(block, block->size);
        mem_free(block);
        block = next;
    }
}

void arena_reset(struct arena *arena)
{
    free_blocks(arena->blocks, NULL);
    arena_budget_give(arena->budget, arena->bytes);
    arena->blocks = NULL;
    arena->at = NULL;
    arena->end = NULL;
    arena->bytes = 0;
    arena->beyond = 0;
    arena->overflowed = false;
    arena->over_budget = false;
}

void arena_rewind(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;

    if (keep == NULL && !arena->overflowed)
        return;
    /* The newest is the largest of the ordinary ones; a single one is the common case. */
    if (HAVE_ASAN || keep == NULL || keep->next != NULL || keep->size > BLOCK_SIZE_MAX ||
        arena->beyond > 0) {
        arena_reset(arena);
        return;
    }
    arena->at = keep->data;
    arena->end = (char *)keep + keep->size;
    arena->overflowed = false;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    return (struct arena_mark){
        .newest = arena->blocks,
        .behind = arena->blocks == NULL ? NULL : arena->blocks->next,
        .at = arena->at,
        .bytes = arena->bytes,
        .beyond = arena->beyond,
        .overflowed = arena->overflowed,
        .over_budget = arena->over_budget,
        .set = true,
    };
}

void arena_back(struct arena *arena, const struct arena_mark *mark)
{
    struct arena_block *newest = mark->newest;

    assert(mark->set && mark->bytes <= arena->bytes);
    /* Newer ones are in front of it, and those with a block of their own also behind it. */
    free_blocks(arena->blocks, newest);
    if (newest != NULL) {
        free_blocks(newest->next, mark->behind);
        newest->next = mark->behind;
    }
    arena_budget_give(arena->budget, arena->bytes - mark->bytes);
    arena->blocks = newest;
    arena->at = mark->at;
    arena->end = newest == NULL ? NULL : (char *)newest + newest->size;
    arena->bytes = mark->bytes;
    arena->beyond = mark->beyond;
    arena->overflowed = mark->overflowed;
    arena->over_budget = mark->over_budget;
    if (newest != NULL)
        ASAN_POISON_MEMORY_REGION(arena->at, (size_t)(arena->end - arena->at));
}

bool arena_budget_take(struct arena_budget *budget, size_t n)
{
    if (budget == NULL)
        return true;
    size_t max = atomic_load_explicit(&budget->max, memory_order_relaxed);
    size_t used = atomic_fetch_add_explicit(&budget->used, n, memory_order_relaxed);
    if (max == 0 || (used + n >= used && used + n <= max))
        return true;
    atomic_fetch_sub_explicit(&budget->used, n, memory_order_relaxed);
    return false;
}

void arena_budget_give(struct arena_budget *budget, size_t n)
{
    if (budget == NULL || n == 0)
        return;
    size_t used = atomic_fetch_sub_explicit(&budget->used, n, memory_order_relaxed);
    assert(used >= n);
}

/* Past the cap. An object gets memory of its own, so that nobody who makes one has to ask first;
 * how many can be made before the flag is seen is a handful, and bounded all the same. */
static void *overflow(struct arena *arena, size_t n)
{
    arena->overflowed = true;
    if (n <= ARENA_RESERVE || n > ARENA_OBJECT || arena->beyond > BEYOND_MAX)
        return arena_reserve;
    size_t size = sizeof(struct arena_block) + n;
    struct arena_block *block = mem_raw(size);
    block->size = size;
    arena->beyond += (uint32_t)n;
    if (arena->blocks != NULL) { /* behind the present one, which stays to be filled */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        return block->data;
    }
    block->next = NULL;
    arena->blocks = block;
    arena->at = block->data + n;
    arena->end = arena->at;
    return block->data;
}

/* A new block with room for n; false when the cap does not allow it. */
static bool add_block(struct arena *arena, size_t n)
{
    size_t size = arena->block_size;
    size_t need = n + sizeof(struct arena_block);

    if (need < n)
        return false;
    if (size < need)
        size = need;
    if (size > arena->bytes_max - arena->bytes)
        size = need;
    if (need > arena->bytes_max - arena->bytes)
        return false;
    if (!arena_budget_take(arena->budget, size)) {
        arena->over_budget = true;
        return false;
    }

    struct arena_block *block = mem_raw(size);
    block->size = size;
    arena->bytes += size;
    if (arena->block_size < BLOCK_SIZE_MAX)
        arena->block_size *= 2;

    char *end = (char *)block + size;
    size_t left = size - sizeof(struct arena_block) - n;
    if (arena->blocks != NULL && left < (size_t)(arena->end - arena->at)) {
        /* A large request with a block of its own: go on filling the present one. */
        block->next = arena->blocks->next;
        arena->blocks->next = block;
        ASAN_POISON_MEMORY_REGION(block->data, size - sizeof(struct arena_block));
        return true;
    }
    block->next = arena->blocks;
    arena->blocks = block;
    arena->at = block->data;
    arena->end = end;
    ASAN_POISON_MEMORY_REGION(block->data, size - sizeof(struct arena_block));
    return true;
}

void *arena_alloc_slow(struct arena *arena, size_t n)
{
    size_t want = n == 0 ? 1 : n;
    size_t rounded = (want + (ARENA_ALIGN - 1)) & ~(size_t)(ARENA_ALIGN - 1);

    assert(arena->bytes_max > 0);
    if (rounded < want || rounded > SIZE_MAX - GUARD)
        return overflow(arena, SIZE_MAX);
    rounded += GUARD;
    if (rounded > (size_t)(arena->end - arena->at)) {
        struct arena_block *newest = arena->blocks;
        if (!add_block(arena, rounded))
            return overflow(arena, n);
        if (arena->blocks == newest) {
            char *own = newest->next->data;
            ASAN_UNPOISON_MEMORY_REGION(own, want);
            return own;
        }
    }
    char *p = arena->at;
    arena->at += rounded;
    ASAN_UNPOISON_MEMORY_REGION(p, want);
    return p;
}

void *arena_zalloc(struct arena *arena, size_t n)
{
    void *p = arena_alloc(arena, n);
    memset(p, 0, p == arena_reserve && n > ARENA_RESERVE ? ARENA_RESERVE : n);
    return p;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        return overflow(arena, SIZE_MAX);
    return arena_alloc(arena, n);
}

void *arena_grow(struct arena *arena, void *p, size_t old_n, size_t n)
{
#if !HAVE_ASAN
    size_t old_rounded = (old_n + (ARENA_ALIGN - 1)) & ~(size_t)(ARENA_ALIGN - 1);
    size_t rounded = (n + (ARENA_ALIGN - 1)) & ~(size_t)(ARENA_ALIGN - 1);
    if (p != NULL && old_n > 0 && rounded >= n && (char *)p + old_rounded == arena->at &&
        rounded <= (size_t)(arena->end - (char *)p)) {
        arena->at = (char *)p + rounded;
        return p;
    }
#endif
    void *q = arena_alloc(arena, n);
    size_t keep = old_n < n ? old_n : n;
    if (p != NULL && keep > 0 && !arena->overflowed)
        memcpy(q, p, keep);
    return q;
}
