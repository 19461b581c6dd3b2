/* SPDX-License-Identifier: MIT */
/* IP addresses and ranges of them, as values; the two versions in one space (RFC 4291, 2.5.5.2). */
#pragma once

#include "base/str.h"

struct sockaddr;

struct address {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct address_range {
    struct address base;
    unsigned bits; /* that count, of 128 */
};

/* "127.0.0.1", "::1", "[::1]", each also with ":port" ("[::1]:80"). False: it is none. */
NODISCARD bool address_parse(struct str text, struct address *ret_address);
/* "10.0.0.0/8", "fd00::/8", or one address, without a port. */
NODISCARD bool address_range_parse(struct str text, struct address_range *ret_range);
PURE_FN bool address_in(const struct address *address, const struct address_range *range);
PURE_FN bool address_is_v4(const struct address *address);
/* 127.0.0.0/8 and ::1. */
PURE_FN bool address_is_loopback(const struct address *address);
/* Whether it may be a host of the public internet: neither this machine (0.0.0.0/8, loopback), nor
 * a network of one's own (private, link-local, shared, unique local), nor several (multicast), nor
 * set aside (IANA's registries of special-purpose addresses; RFC 6890). What carries an IPv4
 * address for a translator (64:ff9b::/96, RFC 6052) is what that one is; tunnels (6to4, Teredo) are
 * not public. */
PURE_FN bool address_is_public(const struct address *address);
/* AF_INET and AF_INET6. */
struct address address_of_socket(const struct sockaddr *socket_address);
/* Of a host: localhost, or a literal address without brackets that is loopback. */
bool address_names_loopback(struct str host);
static inline bool address_eq(const struct address *a, const struct address *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}
