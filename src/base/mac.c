/* SPDX-License-Identifier: MIT */
/* SHA-256 itself, not by way of a provider: to load those costs a process 2 MB of pages, and each
 * MAC the making of two objects. OpenSSL would rather have it the other way, hence the word. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/mac.h"

#include <openssl/sha.h>

#include "base/mem.h"

enum { BLOCK_SIZE = 64 };
_Static_assert((int)MAC_KEY_SIZE <= (int)BLOCK_SIZE, "a longer key is digested first");
_Static_assert(MAC_SIZE == SHA256_DIGEST_LENGTH, "HMAC-SHA256");

/* The key, padded by zeros to a block, each byte xored. */
static bool begin(SHA256_CTX *hash, const struct mac_key *key, unsigned char with)
{
    unsigned char block[BLOCK_SIZE];

    memset(block, with, sizeof(block));
    for (size_t i = 0; i < MAC_KEY_SIZE; i++)
        block[i] ^= key->bytes[i];
    bool ok = SHA256_Init(hash) == 1 && SHA256_Update(hash, block, sizeof(block)) == 1;
    mem_wipe(block, sizeof(block));
    return ok;
}

void mac_make(const struct mac_key *key, const struct str *pieces, size_t n,
              unsigned char ret_mac[MAC_SIZE])
{
    SHA256_CTX hash;
    unsigned char inner[MAC_SIZE];
    bool ok = begin(&hash, key, 0x36);

    for (size_t i = 0; ok && i < n; i++) {
        if (pieces[i].n > 0)
            ok = SHA256_Update(&hash, pieces[i].p, pieces[i].n) == 1;
    }
    ok = ok && SHA256_Final(inner, &hash) == 1 && begin(&hash, key, 0x5c) &&
         SHA256_Update(&hash, inner, sizeof(inner)) == 1 && SHA256_Final(ret_mac, &hash) == 1;
    mem_wipe(&hash, sizeof(hash));
    if (!ok)
        BUG("OpenSSL makes no SHA-256");
}
