/* SPDX-License-Identifier: MIT */
/*
 * Identifiers: unpredictable enough to be unique over all processes, not secrets (client keys come
 * from id_random_bytes directly).
 */
#pragma once

#include "base/str.h"

enum { ID_SIZE = 24 };

/* One per worker; not shared between threads. */
struct id_source {
    uint64_t state[2];
};

/* Bytes from the kernel's random source; blocks only until that was seeded once after boot. */
void id_random_bytes(void *to, size_t n);

void id_source_init(struct id_source *source);
uint64_t id_next(struct id_source *source);
/* Writes ID_SIZE lower-case hexadecimal digits, no NUL. */
void id_make(struct id_source *source, char to[ID_SIZE]);
