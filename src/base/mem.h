/* SPDX-License-Identifier: MIT */
/*
 * Heap memory. The only callers of malloc and free are in base/. Out of memory aborts: sizes are
 * bounded at the doors, so that it is not a client's to cause.
 */
#pragma once

#include "base/attr.h"

/* Once, before the first thread: large blocks go back to the system when they are freed. */
void mem_setup(void);

/* Zeroed memory of n > 0 bytes; never NULL. */
NODISCARD __attribute__((malloc, returns_nonnull)) void *mem_new(size_t n);

/* Memory of n > 0 bytes with undefined content; never NULL. */
NODISCARD __attribute__((malloc, returns_nonnull)) void *mem_raw(size_t n);

/* Grows or shrinks; p may be NULL; never returns NULL. */
NODISCARD __attribute__((returns_nonnull)) void *mem_resize(void *p, size_t n);

/* Takes NULL. */
void mem_free(void *p);

/* Overwrites n bytes so that the compiler cannot leave it out (secrets). */
void mem_wipe(void *p, size_t n);
