/* SPDX-License-Identifier: MIT */
#include "base/secret.h"

#include "base/mem.h"

struct secret secret_new(struct str s)
{
    if (s.n == 0)
        return (struct secret){.bytes = NULL, .size = 0};
    return (struct secret){.bytes = str_dup(s), .size = s.n};
}

void secret_free(struct secret *secret)
{
    assert(secret != NULL);
    if (secret->bytes != NULL)
        mem_wipe(secret->bytes, secret->size);
    mem_free(secret->bytes);
    secret->bytes = NULL;
    secret->size = 0;
}
