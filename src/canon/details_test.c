/* SPDX-License-Identifier: MIT */
#include "canon/details.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BYTES_MAX = 4096 };

static void check(const char *const *lists, size_t n, size_t bytes_max, const char *want)
{
    struct details *details = details_new(bytes_max);
    struct buf out;

    buf_init(&out, 64 * 1024);
    for (size_t i = 0; i < n; i++)
        details_add(details, str_c(lists[i]));
    details_write(details, &out);
    if (!str_eq(buf_str(&out), str_c(want)))
        fail_msg("%.*s\ninstead of %s", STR_ARG(buf_str(&out)), want);
    buf_fini(&out);
    details_free(&details);
    assert_null(details);
}

#define A ",\"format\":\"anthropic-claude-v1\""

/* Catches: pieces that are not joined, or joined across indexes and types; a signature that comes
 * later and is lost; an escape that is cut or doubled. */
static void test_joins(void **state)
{
    const char *const streamed[] = {
        "[{\"type\":\"reasoning.text\",\"text\":\"a\\n\"" A ",\"index\":0}]",
        "[{\"type\":\"reasoning.text\",\"text\":\"\\u00e4\"" A ",\"index\":0},"
        "{\"type\":\"reasoning.encrypted\",\"data\":\"x\",\"id\":\"r1\",\"index\":1}]",
        "[{\"type\":\"reasoning.text\",\"signature\":\"s\"" A ",\"index\":0}]",
        "[{\"type\":\"reasoning.text\",\"text\":null,\"signature\":null" A ",\"index\":0}]",
        "[]",
        "null",
        "[1,{\"type\":\"reasoning.encrypted\",\"data\":\"y\",\"index\":1}]",
    };
    const char *const plain[] = {"[{\"type\":\"reasoning.summary\",\"summary\":\"a\"}]",
                                 "[{\"type\":\"reasoning.summary\",\"summary\":\"b\"}]",
                                 "[{\"type\":\"reasoning.text\",\"text\":\"c\"}]"};

    (void)state;
    check(streamed, COUNT_OF(streamed), BYTES_MAX,
          "[{\"type\":\"reasoning.text\",\"text\":\"a\\n\\u00e4\"" A
          ",\"index\":0,\"signature\":\"s\"},"
          "{\"type\":\"reasoning.encrypted\",\"data\":\"xy\",\"id\":\"r1\",\"index\":1}]");
    check(plain, COUNT_OF(plain), BYTES_MAX,
          "[{\"type\":\"reasoning.summary\",\"summary\":\"ab\"},"
          "{\"type\":\"reasoning.text\",\"text\":\"c\"}]");
}

/* Catches: thoughts without the signature that their vendor asks for; half of what was said. */
static void test_leaves_out(void **state)
{
    const char *const unsigned_text[] = {"[{\"type\":\"reasoning.text\",\"text\":\"a\"" A
                                         ",\"index\":0}]"};
    const char *const others[] = {
        "[{\"type\":\"reasoning.text\",\"text\":\"a\",\"format\":\"unknown\",\"index\":0}]"};
    const char *const keys[] = {"[{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,"
                                "\"i\":1,\"j\":1,\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,"
                                "\"q\":1}]"};

    (void)state;
    check(unsigned_text, 1, BYTES_MAX, "");
    check(others, 1, BYTES_MAX,
          "[{\"type\":\"reasoning.text\",\"text\":\"a\",\"format\":\"unknown\",\"index\":0}]");
    check(others, 1, 10, "");
    check(keys, 1, BYTES_MAX, "");
    check(NULL, 0, BYTES_MAX, "");
}

/* Catches: a list without an end. */
static void test_many(void **state)
{
    struct details *details = details_new(BYTES_MAX * 16);
    struct buf out;
    char text[64];

    (void)state;
    buf_init(&out, 1024 * 1024);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof(text), "[{\"type\":\"t\",\"index\":%d}]", i);
        details_add(details, str_c(text));
    }
    details_write(details, &out);
    assert_int_equal(out.n, 0);
    buf_fini(&out);
    details_free(&details);
    details_free(&details);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_leaves_out),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
