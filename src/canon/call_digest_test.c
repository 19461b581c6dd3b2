/* SPDX-License-Identifier: MIT */
#include "canon/call_digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct row {
    const char *one;
    const char *other;
    bool same;
};

static const struct row rows[] = {
    {"{\"a\":1,\"b\":[true,null]}", " { \"a\" : 1 ,\n\"b\" : [ true , null ] } ", true},
    {"{\"a\":1.0,\"b\":1e3,\"c\":-2.50}", "{\"a\":1,\"b\":1000,\"c\":-2.5}", true},
    {"{\"a\":\"\\u00e9\\/\\n\"}", "{\"a\":\"\xc3\xa9/\\u000A\"}", true},
    {"{\"a\":\"\\ud83d\\ude00\"}", "{\"a\":\"\xf0\x9f\x98\x80\"}", true},
    {"{\"a\":\"\\ud83dx\"}", "{\"a\":\"\xef\xbf\xbdx\"}", true},
    {"{\"a\":\"\\ude00\"}", "{\"a\":\"\xef\xbf\xbd\"}", true},
    {"{\"a\":\"\\u0022\\u005c\"}", "{\"a\":\"\\\"\\\\\"}", true},
    {"", "{}", true},
    {" ", "{ }", true},
    {"{\"a\":1}", "{\"a\":2}", false},
    {"{\"a\":1}", "{\"b\":1}", false},
    {"{\"a\":\"1\"}", "{\"a\":1}", false},
    {"{\"a\":\"x y\"}", "{\"a\":\"xy\"}", false},
    {"{\"a\":\"\\\",\\\"b\"}", "{\"a\":\"\",\"b\"}", false},
    {"{\"a\":\"n\"}", "{\"a\":\"\\n\"}", false},
    {"{\"a\":12345678901234567890123456789012345678901234567890}",
     "{\"a\":12345678901234567890123456789012345678901234567891}", false},
    /* No JSON. */
    {"*** Begin Patch", "*** Begin Potch", false},
    {"\"\\uzz", "\"zz", true},
    {"\"open", "\"opem", false},
};

static uint64_t in_pieces(struct str text, size_t at)
{
    struct call_digest digest = {.hash = 0};

    call_digest_add(&digest, str_head(text, at));
    call_digest_add(&digest, STR_NULL);
    call_digest_add(&digest, str_from(text, at));
    return call_digest_end(&digest, STR("f"));
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct str one = str_c(rows[i].one);
        uint64_t hash = call_digest_of(STR("f"), one);
        if ((hash == call_digest_of(STR("f"), str_c(rows[i].other))) != rows[i].same)
            fail_msg("%s and %s", rows[i].one, rows[i].other);
        for (size_t at = 0; at <= one.n; at++)
            assert_true(in_pieces(one, at) == hash);
        assert_true(hash != call_digest_of(STR("g"), one));
    }
}

/* Each byte of a long text counts, also where a block ends. */
static void test_long(void **state)
{
    char text[3 * CALL_DIGEST_BLOCK];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = '"';
    for (size_t n = 2; n <= sizeof(text); n++) {
        uint64_t hash = call_digest_of(STR("f"), str_of(text, n));
        assert_true(hash != call_digest_of(STR("f"), str_of(text, n - 1)));
        text[n - 1] = 'y';
        assert_true(hash != call_digest_of(STR("f"), str_of(text, n)));
        text[n - 1] = 'x';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
