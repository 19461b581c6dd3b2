/* SPDX-License-Identifier: MIT */
/* Wrong keys: who waits, how long, and what is remembered of whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gateway/strikes.h"

enum { S = 1000, MINUTE = 60 * S, BEGIN = 12345 };

static struct address of(const char *text)
{
    struct address address;

    assert_true(address_parse(str_c(text), &address));
    return address;
}

static void strike_out(struct strikes *strikes, const struct address *address, int64_t now_ms)
{
    for (int i = 0; i < STRIKES_FREE; i++)
        assert_int_equal(strikes_wrong(strikes, address, now_ms), 0);
}

static void test_waits_double_up_to_an_hour(void **state)
{
    (void)state;
    static const int waits_s[] = {30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600};
    struct strikes *strikes = strikes_new();
    struct address guesser = of("192.0.2.1");
    struct address other = of("192.0.2.2");
    int64_t now_ms = BEGIN;

    assert_false(strikes_any(strikes));
    strike_out(strikes, &guesser, now_ms);
    for (size_t i = 0; i < COUNT_OF(waits_s); i++) {
        int64_t wait_ms = (int64_t)waits_s[i] * S;
        assert_int_equal(strikes_wrong(strikes, &guesser, now_ms), wait_ms);
        /* Within the wait it does not grow: what is left of it is told. */
        assert_int_equal(strikes_wrong(strikes, &guesser, now_ms + 1), wait_ms - 1);
        assert_int_equal(strikes_wrong(strikes, &guesser, now_ms + wait_ms - 1), 1);
        now_ms += wait_ms;
    }
    /* Nobody else waits. */
    assert_int_equal(strikes_wrong(strikes, &other, now_ms), 0);
    assert_int_equal(strikes_count(strikes), 2);
    strikes_free(&strikes);
    assert_null(strikes);
}

static void test_five_in_any_quarter_of_an_hour_are_free(void **state)
{
    (void)state;
    struct strikes *strikes = strikes_new();
    struct address slow = of("2001:db8::1");
    struct address fast = of("192.0.2.9");

    /* One in three minutes and a bit: never more than five in any fifteen. */
    for (int64_t i = 0; i < 100; i++)
        assert_int_equal(strikes_wrong(strikes, &slow, BEGIN + i * (3 * MINUTE + 1)), 0);
    /* One in three minutes: the sixth is within fifteen of the first. */
    for (int64_t i = 0; i < 5; i++)
        assert_int_equal(strikes_wrong(strikes, &fast, BEGIN + i * 3 * MINUTE), 0);
    assert_int_equal(strikes_wrong(strikes, &fast, BEGIN + 15 * MINUTE), STRIKES_WAIT_MS);
    strikes_free(&strikes);
}

static void test_quiet_forgets(void **state)
{
    (void)state;
    struct strikes *strikes = strikes_new();
    struct address guesser = of("192.0.2.1");

    strike_out(strikes, &guesser, BEGIN);
    assert_int_equal(strikes_wrong(strikes, &guesser, BEGIN), 30 * S);
    /* The quarter of an hour begins at the end of the wait. */
    int64_t later_ms = BEGIN + 30 * S + STRIKES_WINDOW_MS;
    assert_int_equal(strikes_wrong(strikes, &guesser, later_ms), 60 * S);
    later_ms += 60 * S + STRIKES_WINDOW_MS + 1;
    strike_out(strikes, &guesser, later_ms);
    assert_int_equal(strikes_wrong(strikes, &guesser, later_ms), 30 * S);
    assert_int_equal(strikes_count(strikes), 1);
    strikes_free(&strikes);
}

static void test_a_right_key_forgets(void **state)
{
    (void)state;
    struct strikes *strikes = strikes_new();
    struct address one = of("192.0.2.1");
    struct address two = of("192.0.2.2");

    strikes_right(strikes, &one); /* nobody knows it: nothing happens */
    strike_out(strikes, &one, BEGIN);
    strike_out(strikes, &two, BEGIN);
    strikes_right(strikes, &one);
    assert_int_equal(strikes_count(strikes), 1);
    strike_out(strikes, &one, BEGIN);
    assert_int_equal(strikes_wrong(strikes, &one, BEGIN), 30 * S);
    assert_int_equal(strikes_wrong(strikes, &two, BEGIN), 30 * S);
    strikes_right(strikes, &one);
    strikes_right(strikes, &two);
    strikes_right(strikes, &two);
    assert_false(strikes_any(strikes));
    strikes_free(&strikes);
}

static void test_ipv6_counts_by_network(void **state)
{
    (void)state;
    struct strikes *strikes = strikes_new();
    char text[64];

    for (int i = 0; i < STRIKES_FREE; i++) {
        (void)snprintf(text, sizeof(text), "2001:db8:1:2:%x::%x", (unsigned)i + 1, (unsigned)i);
        struct address address = of(text);
        assert_int_equal(strikes_wrong(strikes, &address, BEGIN), 0);
    }
    assert_int_equal(strikes_count(strikes), 1);
    struct address same = of("2001:db8:1:2::99");
    struct address next = of("2001:db8:1:3::99");
    assert_int_equal(strikes_wrong(strikes, &same, BEGIN), 30 * S);
    assert_int_equal(strikes_wrong(strikes, &next, BEGIN), 0);
    /* IPv4 does not, though it lies in one /64 of the common space. */
    struct address a = of("10.0.0.1");
    struct address b = of("10.0.0.2");
    strike_out(strikes, &a, BEGIN);
    assert_int_equal(strikes_wrong(strikes, &b, BEGIN), 0);
    strikes_right(strikes, &same);
    assert_int_equal(strikes_wrong(strikes, &same, BEGIN), 0);
    strikes_free(&strikes);
}

static void nth(int i, struct address *ret_address)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "10.%d.%d.%d", i >> 16 & 255, i >> 8 & 255, i & 255);
    *ret_address = of(text);
}

static void test_ten_thousand_and_one(void **state)
{
    (void)state;
    struct strikes *strikes = strikes_new();
    struct address first;
    struct address second;
    struct address address;

    nth(0, &first);
    nth(1, &second);
    strike_out(strikes, &first, BEGIN);
    strike_out(strikes, &second, BEGIN);
    for (int i = 2; i < STRIKES_ADDRESSES_MAX; i++) {
        nth(i, &address);
        assert_int_equal(strikes_wrong(strikes, &address, BEGIN + i), 0);
    }
    assert_int_equal(strikes_count(strikes), STRIKES_ADDRESSES_MAX);
    /* Whoever was heard of last stays. */
    assert_int_equal(strikes_wrong(strikes, &first, BEGIN + MINUTE), 30 * S);
    nth(STRIKES_ADDRESSES_MAX, &address);
    assert_int_equal(strikes_wrong(strikes, &address, BEGIN + MINUTE), 0);
    assert_int_equal(strikes_count(strikes), STRIKES_ADDRESSES_MAX);
    assert_int_equal(strikes_wrong(strikes, &first, BEGIN + MINUTE), 30 * S);
    /* The second was the one that was quiet longest: it begins anew. */
    strike_out(strikes, &second, BEGIN + MINUTE);
    /* When all the others' time is over, they go, a few with each wrong key. */
    int64_t later_ms = BEGIN + MINUTE + 2 * STRIKES_WINDOW_MS;
    for (int i = 0; i < STRIKES_ADDRESSES_MAX / 3; i++) {
        nth(STRIKES_ADDRESSES_MAX + 1 + i, &address);
        assert_int_equal(strikes_wrong(strikes, &address, later_ms), 0);
    }
    assert_int_equal(strikes_count(strikes), STRIKES_ADDRESSES_MAX / 3);
    strikes_free(&strikes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_double_up_to_an_hour),
        cmocka_unit_test(test_five_in_any_quarter_of_an_hour_are_free),
        cmocka_unit_test(test_quiet_forgets),
        cmocka_unit_test(test_a_right_key_forgets),
        cmocka_unit_test(test_ipv6_counts_by_network),
        cmocka_unit_test(test_ten_thousand_and_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
