/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <stdarg.h>

#include "base/arena.h"
#include "base/digits.h"
#include "base/mem.h"

enum { BUF_SIZE_MIN = 256 };

void buf_init(struct buf *b, size_t size_max)
{
    assert(b != NULL);
    assert(size_max > 0);
    *b = (struct buf){.size_max = size_max};
}

void buf_set_budget(struct buf *b, struct arena_budget *budget)
{
    assert(b->p == NULL);
    b->budget = budget;
}

void buf_fini(struct buf *b)
{
    mem_free(b->p);
    arena_budget_give(b->budget, b->size);
    *b = (struct buf){.size_max = b->size_max, .budget = b->budget};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->full = false;
    b->starved = false;
}

void buf_tell(const struct buf *b, struct arena *arena)
{
    assert(b->budget == arena->budget);
    if (b->starved)
        arena_starve(arena);
}

char *buf_reserve(struct buf *b, size_t n)
{
    assert(b->size_max > 0);
    assert(b->n <= b->size);
    if (LIKELY(n <= b->size - b->n) && b->p != NULL)
        return b->p + b->n;
    if (n > b->size_max || b->n > b->size_max - n) {
        b->full = true;
        return NULL;
    }
    size_t size = b->size < BUF_SIZE_MIN ? BUF_SIZE_MIN : b->size;
    if (size > b->size_max)
        size = b->size_max;
    while (size < b->n + n)
        size = size > b->size_max / 2 ? b->size_max : size * 2;
    if (!arena_budget_take(b->budget, size - b->size)) {
        b->full = true;
        b->starved = true;
        return NULL;
    }
    b->p = mem_resize(b->p, size);
    b->size = size;
    return b->p + b->n;
}

void buf_expect(struct buf *b, size_t n)
{
    bool full = b->full;
    bool starved = b->starved;

    if (n <= b->size - b->n || n > b->size_max - b->n)
        return;
    (void)!buf_reserve(b, n);
    b->full = full;
    b->starved = starved;
}

bool buf_add_slow(struct buf *b, struct str s)
{
    if (b->full)
        return false;
    if (s.n == 0)
        return true;
    char *to = buf_reserve(b, s.n);
    if (to == NULL)
        return false;
    memcpy(to, s.p, s.n);
    b->n += s.n;
    return true;
}

bool buf_add_int64(struct buf *b, int64_t value)
{
    char digits[DIGITS_MAX];

    return buf_add(b, str_of(digits, (size_t)(digits_int(digits, value) - digits)));
}

bool buf_print(struct buf *b, const char *format, ...)
{
    char small[512];
    va_list args;
    va_list again;
    bool ok = false;

    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n < sizeof(small)) {
        ok = buf_add(b, str_of(small, (size_t)n));
    } else {
        char *to = b->full ? NULL : buf_reserve(b, (size_t)n + 1);
        if (to != NULL) {
            (void)vsnprintf(to, (size_t)n + 1, format, again);
            b->n += (size_t)n;
            ok = true;
        }
    }
    va_end(again);
    return ok;
}

void buf_trim(struct buf *b)
{
    if (b->n == b->size)
        return;
    if (b->n == 0) {
        buf_fini(b);
        return;
    }
    b->p = mem_resize(b->p, b->n);
    arena_budget_give(b->budget, b->size - b->n);
    b->size = b->n;
}

void buf_drop(struct buf *b, size_t n)
{
    assert(n <= b->n);
    if (n > 0 && n < b->n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}
