/* SPDX-License-Identifier: MIT */
/*
 * Arenas: memory of one lifetime, freed all at once.
 *
 * Picture   arena -> block (newest) -> block -> …; allocation bumps `at` up to `end` of the
 *           newest block. Blocks grow geometrically; a large request gets a block of its own.
 * Cap       arena_alloc never returns NULL. Past the cap it serves from a last, small reserve that
 *           is reused, and sets the overflow flag: the content is then meaningless, and whoever
 *           drives the step asks arena_overflowed() after it and answers 413 or 502.
 *           Objects of up to ARENA_OBJECT bytes are always safe to write (a few past the cap get
 *           memory of their own); whoever writes more asks first (the helpers here and in str.h
 *           do).
 * Budget    An arena may count its bytes in a shared, bounded budget (inflight_bytes_max); it is
 *           only asked when a block is taken or given back. Past it the arena overflows, and
 *           arena_over_budget says why: that is a 503.
 * Sanitizer With HAVE_ASAN the free tail is poisoned, and each allocation is padded, so that an
 *           overrun is found; blocks are not recycled.
 * Threads   One owner at a time; only the budget is shared.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/attr.h"

enum { ARENA_ALIGN = 16, ARENA_RESERVE = 256, ARENA_OBJECT = 16 * 1024 };

struct arena_block;

/* Shared counter of bytes; used by many arenas of many threads. */
struct arena_budget {
    atomic_size_t used;
    atomic_size_t max; /* 0: no bound; may change: what was taken stays */
};

/* Takes n bytes of the budget; false when they are not to be had. budget may be NULL. */
NODISCARD bool arena_budget_take(struct arena_budget *budget, size_t n);
void arena_budget_give(struct arena_budget *budget, size_t n);

struct arena {
    char *at;
    char *end;
    struct arena_block *blocks;
    size_t bytes;                /* taken from the heap */
    size_t bytes_max;            /* the cap */
    size_t block_size;           /* of the next block */
    struct arena_budget *budget; /* may be NULL */
    uint32_t beyond;             /* bytes of objects given past the cap */
    bool overflowed;
    bool over_budget;
};

/* bytes_max: the cap on all blocks together. block_size: of the first block (at least 512).
 * budget may be NULL. Takes no memory yet. */
void arena_init(struct arena *arena, size_t bytes_max, size_t block_size,
                struct arena_budget *budget);

/* Gives all memory back; the arena can be used again as after init. Takes one that holds none. */
void arena_reset(struct arena *arena);
#define arena_fini(arena) arena_reset(arena)

/* Forgets all content but keeps one block for the next use: for scratch memory that is reset many
 * times a turn. In sanitizer builds as arena_reset. */
void arena_rewind(struct arena *arena);

/* A place in an arena to come back to; zeroed: none. */
struct arena_mark {
    struct arena_block *newest; /* NULL: the arena held no memory */
    struct arena_block *behind; /* that one */
    char *at;
    size_t bytes;
    uint32_t beyond;
    bool overflowed;
    bool over_budget;
    bool set;
};

struct arena_mark arena_mark(const struct arena *arena);

/* Gives back all that was allocated since the mark, overflow included. Nothing older may point into
 * it, nor have grown (arena_grow); and the arena was neither reset nor rewound meanwhile. The mark
 * can be used again. */
void arena_back(struct arena *arena, const struct arena_mark *mark);

/* Slow path of arena_alloc. */
__attribute__((returns_nonnull)) void *arena_alloc_slow(struct arena *arena, size_t n);

/* n bytes, aligned to 16, undefined content. Never NULL. */
__attribute__((returns_nonnull)) static inline void *arena_alloc(struct arena *arena, size_t n)
{
#if !HAVE_ASAN
    size_t rounded = (n + (ARENA_ALIGN - 1)) & ~(size_t)(ARENA_ALIGN - 1);
    if (LIKELY(rounded >= n && rounded <= (size_t)(arena->end - arena->at) && rounded > 0)) {
        void *p = arena->at;
        arena->at += rounded;
        return p;
    }
#endif
    return arena_alloc_slow(arena, n);
}

/* The same, zeroed (up to the reserve's size after an overflow). */
__attribute__((returns_nonnull)) void *arena_zalloc(struct arena *arena, size_t n);

/* An array, with the multiplication checked (overflow of size_t counts as past the cap). */
__attribute__((returns_nonnull)) void *arena_array(struct arena *arena, size_t count, size_t size);

/* Resizes the newest allocation in place where possible, else copies. old_n = its present size. */
__attribute__((returns_nonnull)) void *arena_grow(struct arena *arena, void *p, size_t old_n,
                                                  size_t n);

static inline bool arena_overflowed(const struct arena *arena)
{
    return arena->overflowed;
}

/* Whether it was the shared budget that was used up. */
static inline bool arena_over_budget(const struct arena *arena)
{
    return arena->over_budget;
}

/* What stands beside the arena, of the same budget, found that used up: as if the arena had. */
static inline void arena_starve(struct arena *arena)
{
    arena->overflowed = true;
    arena->over_budget = true;
}

/* Bytes that the arena holds from the heap. */
static inline size_t arena_bytes(const struct arena *arena)
{
    return arena->bytes;
}

#define ARENA_NEW(arena, type) ((type *)arena_zalloc((arena), sizeof(type)))
