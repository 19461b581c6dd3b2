/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

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
