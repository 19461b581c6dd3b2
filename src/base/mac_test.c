/* SPDX-License-Identifier: MIT */
#include "base/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void hex(const unsigned char mac[MAC_SIZE], char to[2 * MAC_SIZE + 1])
{
    for (size_t i = 0; i < MAC_SIZE; i++)
        (void)snprintf(to + 2 * i, 3, "%02x", mac[i]);
}

/* RFC 4231, 4.2 and 4.3: their keys are shorter than ours, and HMAC fills short keys up with
 * zeros. */
static void test_rfc4231(void **state)
{
    struct mac_key key = {{0}};
    unsigned char mac[MAC_SIZE];
    char text[2 * MAC_SIZE + 1];
    struct str data = STR("Hi There");

    (void)state;
    memset(key.bytes, 0x0b, 20);
    mac_make(&key, &data, 1, mac);
    hex(mac, text);
    assert_string_equal(text, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    memset(key.bytes, 0, sizeof(key.bytes));
    memcpy(key.bytes, "Jefe", 4);
    data = STR("what do ya want for nothing?");
    mac_make(&key, &data, 1, mac);
    hex(mac, text);
    assert_string_equal(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void test_pieces(void **state)
{
    static const char text[] = "what do ya want for nothing?";
    struct mac_key key = {{1, 2, 3}};
    unsigned char whole[MAC_SIZE];
    unsigned char cut[MAC_SIZE];
    struct str all = STR("what do ya want for nothing?");

    (void)state;
    mac_make(&key, &all, 1, whole);
    for (size_t i = 0; i <= all.n; i++) {
        const struct str pieces[] = {str_of(text, i), STR_NULL, str_of(text + i, all.n - i)};
        mac_make(&key, pieces, 3, cut);
        assert_memory_equal(whole, cut, MAC_SIZE);
    }
    mac_make(&key, NULL, 0, cut);
    assert_memory_not_equal(whole, cut, MAC_SIZE);
    key.bytes[31] = 1;
    mac_make(&key, &all, 1, cut);
    assert_memory_not_equal(whole, cut, MAC_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc4231),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
