/* SPDX-License-Identifier: MIT */
#include "canon/seal.h"

#include <xxhash.h>

#include "text/base64.h"

enum {
    MODEL_DIGITS = 8,
    MAC_DIGITS_MIN = 32,
    MAC_DIGITS_MAX = MAC_DIGITS_MIN + 2,
    MARK_SIZE = 4,                                 /* "px1." */
    FRAME_SIZE = MARK_SIZE + MODEL_DIGITS + 1 + 2, /* and ':' and two '.' */
};

static const char mark[] = "px1.";

/* Four bytes of the mark are five characters and two bits, which each vendor's name begins with. */
const struct str seal_prefix = STR_INIT("cHgxL");

/* --- base64 (RFC 4648) --- */

static void encode(const unsigned char *from, size_t n, char *to)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    assert(n % 3 == 0);
    for (size_t i = 0; i < n; i += 3, to += 4) {
        uint32_t bits = (uint32_t)from[i] << 16 | (uint32_t)from[i + 1] << 8 | from[i + 2];
        to[0] = digits[bits >> 18];
        to[1] = digits[bits >> 12 & 63];
        to[2] = digits[bits >> 6 & 63];
        to[3] = digits[bits & 63];
    }
}

/* n of from: a multiple of four. False: something else than digits. */
static bool decode(const char *from, size_t n, char *to)
{
    assert(n % 4 == 0);
    for (size_t i = 0; i < n; i += 4, to += 3) {
        uint32_t bits = 0;
        for (size_t k = 0; k < 4; k++) {
            int value = base64_digit(from[i + k]);
            if (value < 0)
                return false;
            bits = bits << 6 | (uint32_t)value;
        }
        to[0] = (char)(bits >> 16);
        to[1] = (char)(bits >> 8 & 255);
        to[2] = (char)(bits & 255);
    }
    return true;
}

/* --- sealing --- */

static void add(char **at, struct str s)
{
    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
}

static void add_hex(char **at, const unsigned char *bytes, size_t digits)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < digits; i++)
        *(*at)++ = hex[i % 2 == 0 ? bytes[i / 2] >> 4 : bytes[i / 2] & 15];
}

static void add_model(char **at, struct str model)
{
    XXH64_canonical_t hash;

    XXH64_canonicalFromHash(&hash, XXH3_64bits(model.p, model.n));
    add_hex(at, hash.digest, MODEL_DIGITS);
}

/* head: all before the MAC, with its '.'. */
static void add_mac(const struct seal *seal, char **at, struct str head, struct str payload,
                    size_t digits)
{
    const struct str pieces[] = {head, payload};
    unsigned char mac[MAC_SIZE];

    mac_make(&seal->key, pieces, COUNT_OF(pieces), mac);
    add_hex(at, mac, digits);
}

struct str seal_pack(const struct seal *seal, struct str vendor, struct str model,
                     struct str payload, struct arena *arena)
{
    assert(vendor.n > 0 && str_find_char(vendor, ':', 0) == SIZE_MAX);
    size_t n = FRAME_SIZE + vendor.n + MAC_DIGITS_MIN + payload.n;
    size_t digits = MAC_DIGITS_MIN + (3 - n % 3) % 3;
    n += digits - MAC_DIGITS_MIN;
    char *plain = arena_alloc(arena, n);
    char *packed = arena_alloc(arena, n / 3 * 4);
    if (arena_overflowed(arena))
        return STR_NULL;

    char *at = plain;
    add(&at, STR("px1."));
    add(&at, vendor);
    *at++ = ':';
    add_model(&at, model);
    *at++ = '.';
    add_mac(seal, &at, str_of(plain, (size_t)(at - plain)), payload, digits);
    *at++ = '.';
    add(&at, payload);
    assert((size_t)(at - plain) == n);
    encode((const unsigned char *)plain, n, packed);
    return str_of(packed, n / 3 * 4);
}

bool seal_is_packed(struct str text)
{
    return str_starts(text, seal_prefix);
}

/* Takes what must stand there off *rest. */
static bool take(struct str *rest, size_t n, char end, struct str *ret_part)
{
    if (rest->n <= n || rest->p[n] != end)
        return false;
    *ret_part = str_head(*rest, n);
    *rest = str_from(*rest, n + 1);
    return true;
}

static bool take_apart(struct str plain, struct sealed *ret_sealed, struct str *ret_mac)
{
    struct str rest = plain;
    struct str magic;
    size_t digits;

    if (!take(&rest, MARK_SIZE - 1, '.', &magic) || !str_eq(magic, str_of(mark, MARK_SIZE - 1)))
        return false;
    size_t colon = str_find_char(rest, ':', 0);
    if (colon == SIZE_MAX || !take(&rest, colon, ':', &ret_sealed->vendor) ||
        !take(&rest, MODEL_DIGITS, '.', &ret_sealed->model))
        return false;
    for (digits = MAC_DIGITS_MIN; digits <= MAC_DIGITS_MAX; digits++) {
        if (take(&rest, digits, '.', ret_mac)) {
            ret_sealed->payload = rest;
            return true;
        }
    }
    return false;
}

bool seal_open(const struct seal *seal, struct str text, struct arena *arena,
               struct sealed *ret_sealed)
{
    char digits[MAC_DIGITS_MAX];
    char *at = digits;
    struct str mac;

    while (text.n > 0 && text.p[text.n - 1] == '=') /* none is needed: someone was careful */
        text.n--;
    if (!seal_is_packed(text) || text.n % 4 != 0)
        return false;
    char *to = arena_alloc(arena, text.n / 4 * 3);
    if (arena_overflowed(arena) || !decode(text.p, text.n, to))
        return false;
    struct str plain = str_of(to, text.n / 4 * 3);
    if (!take_apart(plain, ret_sealed, &mac))
        return false;
    add_mac(seal, &at, str_head(plain, (size_t)(mac.p - plain.p)), ret_sealed->payload, mac.n);
    return str_eq_secret(mac, str_of(digits, mac.n));
}
