/* SPDX-License-Identifier: MIT */
#include "base/id.h"

#include <errno.h>
#include <unistd.h>

void id_random_bytes(void *to, size_t n)
{
    char *p = to;
    /* getentropy(3) gives at most 256 bytes a call. */
    while (n > 0) {
        size_t part = n < 256 ? n : 256;
        if (getentropy(p, part) != 0)
            BUG("no random bytes from the kernel");
        p += part;
        n -= part;
    }
}

void id_source_init(struct id_source *source)
{
    do {
        id_random_bytes(source->state, sizeof(source->state));
    } while (source->state[0] == 0 && source->state[1] == 0);
}

/* xorshift128+ (S. Vigna, 2014). */
uint64_t id_next(struct id_source *source)
{
    uint64_t a = source->state[0];
    uint64_t b = source->state[1];

    assert(a != 0 || b != 0);
    source->state[0] = b;
    a ^= a << 23;
    source->state[1] = a ^ b ^ (a >> 18) ^ (b >> 5);
    return source->state[1] + b;
}

void id_make(struct id_source *source, char to[ID_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t high = id_next(source);
    uint64_t low = id_next(source);

    for (int i = 0; i < ID_SIZE; i++) {
        uint64_t word = i < 16 ? high : low;
        to[i] = digits[(word >> (4 * (i & 15))) & 15];
    }
}
