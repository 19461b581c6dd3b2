/* SPDX-License-Identifier: MIT */
/*
 * A growing byte buffer on the heap with a mandatory maximum.
 *
 * An append past the maximum changes nothing, returns false and sets `full`, which stays set until
 * buf_reset: a row of appends can be checked once at its end with buf_ok().
 */
#pragma once

#include "base/str.h"

struct arena_budget;

struct buf {
    char *p;
    size_t n;                    /* bytes in use */
    size_t size;                 /* bytes allocated */
    size_t size_max;             /* the cap on n */
    bool full;                   /* an append did not fit */
    bool starved;                /* the budget was the reason */
    struct arena_budget *budget; /* where its memory counts too; NULL: nowhere */
};

void buf_init(struct buf *b, size_t size_max);
/* Counts the memory in a budget; past it appends fail. Before the first append. */
void buf_set_budget(struct buf *b, struct arena_budget *budget);
/* For one that stands beside an arena of the same budget: when it was starved, the arena says so as
 * if it had been itself (arena_overflowed, arena_over_budget). */
void buf_tell(const struct buf *b, struct arena *arena);
/* Gives the memory back; usable again as after init. */
void buf_fini(struct buf *b);
/* Forgets the content, keeps the memory. */
void buf_reset(struct buf *b);

/* Makes room for about n more bytes, at once instead of by and by; where there is none it comes out
 * when they are appended. */
void buf_expect(struct buf *b, size_t n);
/* Makes room for n more bytes and returns where they go (then buf_added), NULL past the cap. */
NODISCARD char *buf_reserve(struct buf *b, size_t n);
static inline void buf_added(struct buf *b, size_t n)
{
    assert(n <= b->size - b->n);
    b->n += n;
}

bool buf_add_slow(struct buf *b, struct str s);
static inline bool buf_add(struct buf *b, struct str s)
{
    if (UNLIKELY(s.n > b->size - b->n || s.n == 0 || b->full))
        return buf_add_slow(b, s);
    memcpy(b->p + b->n, s.p, s.n);
    b->n += s.n;
    return true;
}

static inline bool buf_add_char(struct buf *b, char c)
{
    return buf_add(b, str_of(&c, 1));
}

bool buf_add_int64(struct buf *b, int64_t value);
bool buf_print(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);

/* Gives back what it does not use. */
void buf_trim(struct buf *b);
/* Removes the first n bytes. */
void buf_drop(struct buf *b, size_t n);

static inline struct str buf_str(const struct buf *b)
{
    return str_of(b->p == NULL ? "" : b->p, b->n);
}

static inline bool buf_ok(const struct buf *b)
{
    return !b->full;
}
