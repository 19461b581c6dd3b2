/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

void mem_setup(void)
{
#if defined(__GLIBC__)
    /* Left alone, glibc raises the size from which blocks are mapped with each one that is freed:
     * after one body of 30 MB such bodies come from the heap, and the heap never shrinks. The
     * other number keeps the heap from shrinking and growing with each body of 100 kB. */
    (void)mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
#endif
}

void *mem_new(size_t n)
{
    assert(n > 0);
    void *p = calloc(1, n);
    if (p == NULL)
        BUG("out of memory");
    return p;
}

void *mem_raw(size_t n)
{
    assert(n > 0);
    void *p = malloc(n);
    if (p == NULL)
        BUG("out of memory");
    return p;
}

void *mem_resize(void *p, size_t n)
{
    assert(n > 0);
    void *q = realloc(p, n);
    if (q == NULL)
        BUG("out of memory");
    return q;
}

void mem_free(void *p)
{
    free(p);
}

void mem_wipe(void *p, size_t n)
{
    assert(p != NULL || n == 0);
    if (n > 0)
        explicit_bzero(p, n);
}
