/* SPDX-License-Identifier: MIT */
/*
 * HMAC-SHA256 (RFC 2104, FIPS 180-4), by OpenSSL.
 */
#pragma once

#include "base/str.h"

enum { MAC_KEY_SIZE = 32, MAC_SIZE = 32 };

struct mac_key {
    unsigned char bytes[MAC_KEY_SIZE];
};

/* The MAC of the pieces, one after the other. */
void mac_make(const struct mac_key *key, const struct str *pieces, size_t n,
              unsigned char ret_mac[MAC_SIZE]);
