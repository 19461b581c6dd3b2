/* SPDX-License-Identifier: MIT */
/* Addresses: which texts are one, and what lies in a range. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>

#include <cmocka.h>

#include "io/address.h"

static void test_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *same_as; /* NULL: no address */
    } cases[] = {
        {"127.0.0.1", "::ffff:127.0.0.1"},
        {"127.0.0.1:80", "127.0.0.1"},
        {"127.0.0.1:65535", "127.0.0.1"},
        {"::1", "0:0:0:0:0:0:0:1"},
        {"[::1]", "::1"},
        {"[::1]:4711", "::1"},
        {"[::ffff:10.1.2.3]:1", "10.1.2.3"},
        {"2001:DB8::7", "2001:db8:0::7"},
        {"", NULL},
        {"localhost", NULL},
        {"127.0.0.1:", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:-1", NULL},
        {"127.0.0.1:x", NULL},
        {"127.0.0.256", NULL},
        {"127.1", NULL},
        {"0x7f.0.0.1", NULL},
        {"[127.0.0.1]", NULL},
        {"[::1", NULL},
        {"[::1]80", NULL},
        {"[::1]:", NULL},
        {"[]", NULL},
        {"::1%lo", NULL},
        {"unknown", NULL},
        {"_hidden", NULL},
        {"0000:0000:0000:0000:0000:ffff:127.127.127.1277", NULL},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct address got;
        struct address same;
        bool ok = address_parse(str_c(cases[i].text), &got);
        if (ok != (cases[i].same_as != NULL))
            fail_msg("%s", cases[i].text);
        if (!ok)
            continue;
        assert_true(address_parse(str_c(cases[i].same_as), &same));
        assert_true(address_eq(&got, &same));
    }
    struct address got;
    assert_false(address_parse(STR("1.1.1.1\0x"), &got));
    assert_true(address_parse(STR("1.1.1.1"), &got) && address_is_v4(&got));
    assert_true(address_parse(STR("::1"), &got) && !address_is_v4(&got));
}

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        const char *in;
        const char *out;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", "11.0.0.0"},
        {"10.1.2.3/8", "10.9.9.9", "9.255.255.255"}, /* what lies behind the prefix counts not */
        {"192.168.7.0/25", "192.168.7.127", "192.168.7.128"},
        {"1.2.3.4", "1.2.3.4", "1.2.3.5"},
        {"1.2.3.4/32", "::ffff:1.2.3.4", "1.2.3.5"},
        {"0.0.0.0/0", "255.1.1.1", "::1"},
        {"::/0", "1.1.1.1", NULL},
        {"::1", "::1", "::2"},
        {"fd00::/9", "fd7f:ffff::1", "fd80::"},
        {"2001:db8::/64", "2001:db8::ffff:0:0:1", "2001:db8:0:1::"},
    };
    static const char *const none[] = {"",         "10.0.0.0/",   "10.0.0.0/33", "10.0.0.0/-1",
                                       "/8",       "10.0.0.0/+8", "::/129",      "10.0.0.0/8/8",
                                       "10.0.0/8", "localhost",   "*",           "1.2.3.4:80",
                                       "[::1]/8",  "10.0.0.0/x",  " 10.0.0.0/8"};
    struct address_range range;
    struct address address;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(address_range_parse(str_c(cases[i].range), &range));
        assert_true(address_parse(str_c(cases[i].in), &address));
        if (!address_in(&address, &range))
            fail_msg("%s is not in %s", cases[i].in, cases[i].range);
        if (cases[i].out == NULL)
            continue;
        assert_true(address_parse(str_c(cases[i].out), &address));
        if (address_in(&address, &range))
            fail_msg("%s is in %s", cases[i].out, cases[i].range);
    }
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        if (address_range_parse(str_c(none[i]), &range))
            fail_msg("%s is a range", none[i]);
    }
}

static void test_loopback(void **state)
{
    (void)state;
    static const char *const yes[] = {"localhost",       "LocalHost", "127.0.0.1",
                                      "127.255.255.255", "::1",       "0:0:0:0:0:0:0:1",
                                      "::ffff:127.0.0.1"};
    static const char *const no[] = {"",      "0.0.0.0",   "::",          "128.0.0.1",
                                     "::2",   "126.0.0.1", "127.example", "127.0.0.1:",
                                     "[::1]", "localhost."};

    for (size_t i = 0; i < COUNT_OF(yes); i++) {
        if (!address_names_loopback(str_c(yes[i])))
            fail_msg("%s is not loopback", yes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(no); i++) {
        if (address_names_loopback(str_c(no[i])))
            fail_msg("%s is loopback", no[i]);
    }
}

static const char *const special[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.192",
    "192.0.2.255",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::127.0.0.1",
    "::8.8.8.8", /* IPv4-compatible, deprecated */
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.1.2.3",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "fc00::",
    "fd12:3456::1",
    "fdff:ffff::",
    "fe80::1",
    "febf:ffff::",
    "fec0::1",
    "ff02::1",
    "1fff::1",
    "4000::",
};
static const char *const public[] = {
    "1.0.0.0",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.0.1",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:200::",
    "2001:4860:4860::8888",
    "2001:db7:ffff::",
    "2001:db9::",
    "2003::1",
    "2606:4700::1111",
    "2a00::1",
    "3ffe:ffff::",
    "3fff:1000::",
};

/* The ends of each block, and what stands beside them. */
static void test_public(void **state)
{
    (void)state;
    struct address address;

    for (size_t i = 0; i < COUNT_OF(special); i++) {
        assert_true(address_parse(str_c(special[i]), &address));
        if (address_is_public(&address))
            fail_msg("%s is public", special[i]);
    }
    for (size_t i = 0; i < COUNT_OF(public); i++) {
        assert_true(address_parse(str_c(public[i]), &address));
        if (!address_is_public(&address))
            fail_msg("%s is not public", public[i]);
    }
}

static void test_of_sockets(void **state)
{
    (void)state;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_scope_id = 3};
    struct address expected;

    assert_int_equal(inet_pton(AF_INET, "10.1.2.3", &v4.sin_addr), 1);
    assert_true(address_parse(STR("10.1.2.3"), &expected));
    struct address address = address_of_socket((const struct sockaddr *)(const void *)&v4);
    assert_true(address_eq(&address, &expected));
    assert_int_equal(inet_pton(AF_INET6, "fe80::12", &v6.sin6_addr), 1);
    assert_true(address_parse(STR("fe80::12"), &expected));
    address = address_of_socket((const struct sockaddr *)(const void *)&v6);
    assert_true(address_eq(&address, &expected));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),      cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_loopback),   cmocka_unit_test(test_public),
        cmocka_unit_test(test_of_sockets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
