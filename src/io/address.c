/* SPDX-License-Identifier: MIT */
#include "io/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>

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

struct v4_block {
    uint8_t bytes[4];
    uint8_t bits;
};

/* RFC 6890 and its registry, as far as a packet there is not an ordinary one. */
static const struct v4_block v4_special[] = {
    {{0, 0, 0, 0}, 8},       /* this host, this network */
    {{10, 0, 0, 0}, 8},      /* private */
    {{100, 64, 0, 0}, 10},   /* shared with a carrier's NAT */
    {{127, 0, 0, 0}, 8},     /* loopback */
    {{169, 254, 0, 0}, 16},  /* link-local; clouds' metadata */
    {{172, 16, 0, 0}, 12},   /* private */
    {{192, 0, 0, 0}, 24},    /* IETF protocol assignments */
    {{192, 0, 2, 0}, 24},    /* documentation */
    {{192, 88, 99, 0}, 24},  /* 6to4 relays */
    {{192, 168, 0, 0}, 16},  /* private */
    {{198, 18, 0, 0}, 15},   /* benchmarks */
    {{198, 51, 100, 0}, 24}, /* documentation */
    {{203, 0, 113, 0}, 24},  /* documentation */
    {{224, 0, 0, 0}, 4},     /* multicast */
    {{240, 0, 0, 0}, 4},     /* reserved, broadcast */
};

static const struct address_range v6_global = {{{0x20}}, 3};
static const struct address_range v6_translated = {{{0x00, 0x64, 0xff, 0x9b}}, 96};

/* Within 2000::/3. */
static const struct address_range v6_special[] = {
    {{{0x20, 0x01}}, 23},             /* IETF protocol assignments, Teredo */
    {{{0x20, 0x01, 0x0d, 0xb8}}, 32}, /* documentation */
    {{{0x20, 0x02}}, 16},             /* 6to4 */
    {{{0x3f, 0xff}}, 20},             /* documentation */
};

static bool v4_is_public(const uint8_t bytes[4])
{
    for (size_t i = 0; i < COUNT_OF(v4_special); i++) {
        const struct v4_block *block = &v4_special[i];
        uint32_t mask = UINT32_MAX << (32 - block->bits);
        uint32_t base = 0;
        uint32_t value = 0;
        for (size_t k = 0; k < 4; k++) {
            base = base << 8 | block->bytes[k];
            value = value << 8 | bytes[k];
        }
        if ((value & mask) == base)
            return false;
    }
    return true;
}

bool address_is_public(const struct address *address)
{
    if (address_is_v4(address) || address_in(address, &v6_translated))
        return v4_is_public(address->bytes + V4_AT);
    if (!address_in(address, &v6_global))
        return false;
    for (size_t i = 0; i < COUNT_OF(v6_special); i++) {
        if (address_in(address, &v6_special[i]))
            return false;
    }
    return true;
}

struct address address_of_socket(const struct sockaddr *socket_address)
{
    const void *any = socket_address;
    struct address address;

    if (socket_address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = any;
        memcpy(address.bytes, v4_prefix, V4_AT);
        memcpy(address.bytes + V4_AT, &v4->sin_addr, 4);
    } else {
        const struct sockaddr_in6 *v6 = any;
        assert(socket_address->sa_family == AF_INET6);
        memcpy(address.bytes, &v6->sin6_addr, sizeof(address.bytes));
    }
    return address;
}

bool address_names_loopback(struct str host)
{
    struct address address;

    return str_eq_nocase(host, STR("localhost")) ||
           (bare_parse(host, &address) && address_is_loopback(&address));
}
