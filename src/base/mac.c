/* SPDX-License-Identifier: MIT */
#include "base/mac.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

void mac_make(const struct mac_key *key, const struct str *pieces, size_t n,
              unsigned char ret_mac[MAC_SIZE])
{
    char sha256[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end(),
    };
    size_t size = 0;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = hmac == NULL ? NULL : EVP_MAC_CTX_new(hmac);
    bool ok = ctx != NULL && EVP_MAC_init(ctx, key->bytes, MAC_KEY_SIZE, params) == 1;

    for (size_t i = 0; ok && i < n; i++) {
        if (pieces[i].n > 0)
            ok = EVP_MAC_update(ctx, (const unsigned char *)pieces[i].p, pieces[i].n) == 1;
    }
    ok = ok && EVP_MAC_final(ctx, ret_mac, &size, MAC_SIZE) == 1;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(hmac);
    if (!ok)
        BUG("OpenSSL makes no HMAC-SHA256");
    assert(size == MAC_SIZE);
}
