/* SPDX-License-Identifier: MIT */
#include "io/address.h"

#include <arpa/inet.h>

enum { V4_AT = 12, ADDRESS_BITS = 128 };

static const uint8_t v4_prefix[V4_AT] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool bare_parse(struct str text, struct address *ret_address)
{
    char z[INET6_ADDRSTRLEN];
    struct address address;

    if (text.n == 0 || text.n >= sizeof(z) || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (inet_pton(AF_INET, z, address.bytes + V4_AT) == 1)
        memcpy(address.bytes, v4_prefix, V4_AT);
    else if (inet_pton(AF_INET6, z, address.bytes) != 1)
        return false;
    *ret_address = address;
    return true;
}

static bool is_port(struct str text)
{
    int64_t port = 0;

    return text.n > 0 && text.p[0] >= '0' && text.p[0] <= '9' && str_to_int64(text, &port) &&
           port <= UINT16_MAX;
}

bool address_parse(struct str text, struct address *ret_address)
{
    size_t colon = str_find_char(text, ':', 0);

    if (text.n > 0 && text.p[0] == '[') {
        size_t end = str_find_char(text, ']', 0);
        struct str rest = str_from(text, end == SIZE_MAX ? text.n : end + 1);
        if (end == SIZE_MAX || (rest.n > 0 && (rest.p[0] != ':' || !is_port(str_from(rest, 1)))))
            return false;
        struct str inner = str_from(str_head(text, end), 1);
        return str_find_char(inner, ':', 0) != SIZE_MAX && bare_parse(inner, ret_address);
    }
    if (colon != SIZE_MAX && str_find_char(text, ':', colon + 1) == SIZE_MAX) {
        if (!is_port(str_from(text, colon + 1)))
            return false;
        text = str_head(text, colon);
    }
    return bare_parse(text, ret_address);
}

bool address_range_parse(struct str text, struct address_range *ret_range)
{
    size_t slash = str_find_char(text, '/', 0);
    struct address_range range = {.bits = ADDRESS_BITS};
    int64_t bits = 0;

    if (!bare_parse(str_head(text, slash), &range.base))
        return false;
    if (slash != SIZE_MAX) {
        struct str digits = str_from(text, slash + 1);
        int64_t most = str_find_char(text, ':', 0) == SIZE_MAX ? 32 : ADDRESS_BITS;
        if (digits.n == 0 || digits.p[0] < '0' || digits.p[0] > '9' ||
            !str_to_int64(digits, &bits) || bits > most)
            return false;
        range.bits = (unsigned)(bits + ADDRESS_BITS - most);
    }
    *ret_range = range;
    return true;
}

bool address_in(const struct address *address, const struct address_range *range)
{
    unsigned whole = range->bits / 8;
    unsigned rest = range->bits % 8;

    assert(range->bits <= ADDRESS_BITS);
    if (memcmp(address->bytes, range->base.bytes, whole) != 0)
        return false;
    return rest == 0 || ((address->bytes[whole] ^ range->base.bytes[whole]) >> (8 - rest)) == 0;
}

bool address_is_v4(const struct address *address)
{
    return memcmp(address->bytes, v4_prefix, V4_AT) == 0;
}

bool address_is_loopback(const struct address *address)
{
    static const struct address v6 = {.bytes = {[15] = 1}};

    return address_is_v4(address) ? address->bytes[V4_AT] == 127 : address_eq(address, &v6);
}

bool address_names_loopback(struct str host)
{
    struct address address;

    return str_eq_nocase(host, STR("localhost")) ||
           (bare_parse(host, &address) && address_is_loopback(&address));
}
