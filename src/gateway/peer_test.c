/* SPDX-License-Identifier: MIT */
/* Whose request it is: what is believed of X-Forwarded-For, and of whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/peer.h"
#include "http/message.h"
#include "io/address.h"
#include "state/config.h"

enum { LINES_MAX = 3 };

static const struct {
    const char *peer;
    const char *lines[LINES_MAX]; /* X-Forwarded-For, in their order */
    const char *expected;
    bool trusted;
} cases[] = {
    {"10.1.1.1:80", {"192.0.2.1"}, "192.0.2.1", true},
    {"[fd00::1]:80", {"192.0.2.1"}, "192.0.2.1", true},
    {"[::ffff:10.0.0.1]:80", {"192.0.2.1"}, "192.0.2.1", true},
    {"192.0.2.9:80", {"192.0.2.1"}, "192.0.2.9:80", false},
    {"memory", {"192.0.2.1"}, "memory", false},
    /* The rightmost that is not trusted; to its left stands what the client says of itself. */
    {"10.1.1.1:80", {"1.1.1.1, 192.0.2.1"}, "192.0.2.1", true},
    {"10.1.1.1:80", {"1.1.1.1 , 192.0.2.1\t,10.2.2.2, fd12::1"}, "192.0.2.1", true},
    {"10.1.1.1:80", {"1.1.1.1", "192.0.2.1, 10.2.2.2", "10.3.3.3"}, "192.0.2.1", true},
    {"10.1.1.1:80", {"1.1.1.1", "192.0.2.1"}, "192.0.2.1", true},
    {"10.1.1.1:80", {"192.0.2.1:4711"}, "192.0.2.1:4711", true},
    {"10.1.1.1:80", {"[2001:db8::1]:4711"}, "[2001:db8::1]:4711", true},
    /* All trusted: the farthest one. */
    {"10.1.1.1:80", {"10.2.2.2, 10.3.3.3"}, "10.2.2.2", true},
    {"10.1.1.1:80", {NULL}, "10.1.1.1:80", true},
    /* Nonsense ends it where it stands. */
    {"10.1.1.1:80", {""}, "10.1.1.1:80", true},
    {"10.1.1.1:80", {"192.0.2.1, unknown"}, "10.1.1.1:80", true},
    {"10.1.1.1:80", {"192.0.2.1,, 10.2.2.2"}, "10.2.2.2", true},
    {"10.1.1.1:80", {"192.0.2.1", "_hidden, 10.2.2.2"}, "10.2.2.2", true},
    {"10.1.1.1:80", {"192.0.2.1 10.2.2.2"}, "10.1.1.1:80", true},
};

static void test_peers(void **state)
{
    (void)state;
    struct address_range ranges[2];
    const struct config config = {.trusted_ranges = ranges, .trusted_ranges_n = COUNT_OF(ranges)};
    const struct config nobody = {.trusted_ranges_n = 0};
    bool trusted = false;

    assert_true(address_range_parse(STR("10.0.0.0/8"), &ranges[0]));
    assert_true(address_range_parse(STR("fd00::/8"), &ranges[1]));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct http_header headers[LINES_MAX * 2];
        struct message m = {.headers = {.items = headers}};
        for (size_t k = 0; k < LINES_MAX && cases[i].lines[k] != NULL; k++) {
            headers[m.headers.n++] = (struct http_header){STR("X-Real-Ip"), STR("9.9.9.9")};
            headers[m.headers.n++] = (struct http_header){STR("x-forwarded-FOR"),
                                                          str_c(cases[i].lines[k])};
        }
        struct str got = peer_of(&config, str_c(cases[i].peer), &m, &trusted);
        if (!str_eq(got, str_c(cases[i].expected)) || trusted != cases[i].trusted)
            fail_msg("case %zu: %.*s", i, STR_ARG(got));
        got = peer_of(&nobody, str_c(cases[i].peer), &m, &trusted);
        assert_true(str_eq(got, str_c(cases[i].peer)) && !trusted);
    }
    struct str got = peer_of(&config, STR("10.0.0.1:1"), NULL, &trusted);
    assert_true(str_eq(got, STR("10.0.0.1:1")) && trusted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
