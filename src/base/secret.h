/* SPDX-License-Identifier: MIT */
/*
 * Bytes that must not leak: keys. There is no conversion to str: who needs the bytes says so with
 * secret_reveal, which is easy to find. The log has no field kind for it. Wiped when freed.
 */
#pragma once

#include "base/str.h"

struct secret {
    char *bytes;
    size_t size;
};

/* Copies s. */
struct secret secret_new(struct str s);
/* Wipes and frees; takes an empty one. */
void secret_free(struct secret *secret);
/* Borrows the bytes until secret_free. */
static inline struct str secret_reveal(const struct secret *secret)
{
    return str_of(secret->bytes, secret->size);
}
static inline bool secret_is_empty(const struct secret *secret)
{
    return secret->size == 0;
}
