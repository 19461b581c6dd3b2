/* SPDX-License-Identifier: MIT */
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1024 * 1024, 512, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void check_str(struct str is, struct str want)
{
    if (!str_eq(is, want) || str_is_null(is) != str_is_null(want))
        fail_msg("\"%.*s\" instead of \"%.*s\"", STR_ARG(is), STR_ARG(want));
}

static void test_basics(void **state)
{
    (void)state;
    assert_int_equal(STR("a\0b").n, 3);
    assert_true(str_is_null(STR_NULL));
    assert_false(str_is_null(STR("")));
    assert_true(str_is_null(str_c(NULL)));
    check_str(str_c("ab"), STR("ab"));
    assert_true(str_eq(STR_NULL, STR("")));
    assert_true(str_eq(STR("ab"), STR("ab")));
    assert_false(str_eq(STR("ab"), STR("aB")));
    assert_false(str_eq(STR("ab"), STR("abc")));
    check_str(str_from(STR("abc"), 1), STR("bc"));
    check_str(str_from(STR("abc"), 9), STR(""));
    check_str(str_from(STR_NULL, 9), STR_NULL);
    check_str(str_head(STR("abc"), 2), STR("ab"));
    check_str(str_head(STR("abc"), SIZE_MAX), STR("abc"));
}

/* Catches: a byte that is not looked at, and one that is no letter taken for one, in texts of each
 * length: they are read by eights. */
static void test_letters(void **state)
{
    char a[40];
    char b[40];

    (void)state;
    for (size_t n = 1; n <= sizeof(a); n++) {
        for (size_t at = 0; at < n; at++) {
            memset(a, 'q', n);
            memset(b, 'Q', n);
            assert_true(str_same_letters(a, b, n));
            for (int both = 0; both<256 * 256; both += n> 17 ? 23 : 1) {
                int c = both / 256;
                int d = both % 256;
                bool letters = (c | 0x20) == (d | 0x20) && (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
                a[at] = (char)c;
                b[at] = (char)d;
                if (str_same_letters(a, b, n) != (c == d || letters))
                    fail_msg("%d and %d, at %zu of %zu", c, d, at, n);
            }
        }
    }
}

static void test_compare(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-TYPE"), STR("cONTENT-type")));
    assert_false(str_eq_nocase(STR("a"), STR("ab")));
    /* 0x20 apart, but no letters */
    assert_false(str_eq_nocase(STR("@["), STR("`{")));
    assert_false(str_eq_nocase(STR("\xC9"), STR("\xE9")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_starts_nocase(STR("Bearer x"), STR("bearer ")));
    assert_false(str_starts_nocase(STR("Bear"), STR("bearer")));
    assert_true(str_ends(STR("a.json"), STR(".json")));
    assert_false(str_ends(STR("json"), STR(".json")));
    assert_true(str_ends(STR("a"), STR("")));
}

static void test_find(void **state)
{
    (void)state;
    assert_int_equal(str_find_char(STR("abca"), 'a', 0), 0);
    assert_int_equal(str_find_char(STR("abca"), 'a', 1), 3);
    assert_true(str_find_char(STR("abca"), 'a', 4) == SIZE_MAX);
    assert_true(str_find_char(STR("abc"), 'x', 0) == SIZE_MAX);
    assert_true(str_find_char(STR_NULL, 'x', 0) == SIZE_MAX);
    assert_int_equal(str_find(STR("aabaab"), STR("aab"), 0), 0);
    assert_int_equal(str_find(STR("aabaab"), STR("aab"), 1), 3);
    assert_true(str_find(STR("aab"), STR("aab"), 1) == SIZE_MAX);
    assert_true(str_find(STR("aab"), STR("b"), 4) == SIZE_MAX);
    assert_int_equal(str_find(STR("aab"), STR(""), 3), 3);
    assert_true(str_find(STR("aab"), STR(""), 4) == SIZE_MAX);
    assert_true(str_find(STR_NULL, STR("a"), 0) == SIZE_MAX);
}

static void test_trim_and_cut(void **state)
{
    struct str rest = STR("a,,b,");
    struct str part;

    (void)state;
    check_str(str_trim(STR(" \t\r\na b\n ")), STR("a b"));
    check_str(str_trim(STR("  ")), STR(""));
    check_str(str_trim(STR("\v")), STR("\v"));
    assert_true(str_cut(&rest, ',', &part));
    check_str(part, STR("a"));
    assert_true(str_cut(&rest, ',', &part));
    check_str(part, STR(""));
    assert_true(str_cut(&rest, ',', &part));
    check_str(part, STR("b"));
    assert_true(str_cut(&rest, ',', &part));
    check_str(part, STR(""));
    assert_false(str_cut(&rest, ',', &part));
    rest = STR("");
    assert_true(str_cut(&rest, ',', &part));
    assert_false(str_cut(&rest, ',', &part));
}

static void test_to_int64(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"92233720368547758070", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"0x1", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t value = 5;
        if (str_to_int64(str_c(cases[i].text), &value) != cases[i].ok)
            fail_msg("%s", cases[i].text);
        assert_true(value == (cases[i].ok ? cases[i].want : 5));
    }
}

/* Catches: a short way that is not the long way's value to the bit. */
static void test_to_double_is_strtod(void **state)
{
    uint64_t seed = 1;
    char text[32];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        double value;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t digits = (seed >> 20) % 1000000000000000u;
        unsigned point = (unsigned)(seed >> 11) % 12;
        int n = snprintf(text, sizeof(text), "%0*llu", (int)((seed >> 8) % 8) + 1,
                         (unsigned long long)(digits >> (seed >> 3) % 48));
        if (point < (unsigned)n && point > 0) {
            memmove(text + point + 1, text + point, (size_t)n - point + 1);
            text[point] = '.';
        }
        assert_true(str_to_double(str_c(text), &value));
        double want = strtod(text, NULL);
        assert_memory_equal(&value, &want, sizeof(want));
    }
}

static void test_to_double(void **state)
{
    static const char *const refused[] = {"",   "-",  "e",   "nan",  "inf", "0x10", "1e999",
                                          "1 ", " 1", "1,5", "1.5x", "1e",  "--1",  "1.2.3"};
    double value = 5;

    (void)state;
    assert_true(str_to_double(STR("0.5"), &value) && value == 0.5);
    assert_true(str_to_double(STR("-12.25e2"), &value) && value == -1225);
    assert_true(str_to_double(STR("3"), &value) && value == 3);
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        value = 5;
        if (str_to_double(str_c(refused[i]), &value))
            fail_msg("%s was taken", refused[i]);
        assert_true(value == 5);
    }
    /* Nothing behind the end is read. */
    assert_true(str_to_double(str_of("123", 2), &value) && value == 12);
}

static void test_secret(void **state)
{
    (void)state;
    assert_true(str_eq_secret(STR("key"), STR("key")));
    assert_false(str_eq_secret(STR("key"), STR("kez")));
    assert_false(str_eq_secret(STR("kay"), STR("key")));
    assert_false(str_eq_secret(STR("key"), STR("keys")));
    assert_false(str_eq_secret(STR("keys"), STR("key")));
    assert_false(str_eq_secret(STR("key"), STR("")));
    assert_false(str_eq_secret(STR("key\0"), STR("key")));
    assert_true(str_eq_secret(STR_NULL, STR("")));
}

static void test_distance(void **state)
{
    char many[80];

    (void)state;
    assert_int_equal(str_distance(STR("model"), STR("model"), 3), 0);
    assert_int_equal(str_distance(STR("model"), STR("modle"), 3), 2);
    assert_int_equal(str_distance(STR("model"), STR("mode"), 3), 1);
    assert_int_equal(str_distance(STR(""), STR("abc"), 3), 3);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 5), 3);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 2), 3);
    assert_int_equal(str_distance(STR("abcdef"), STR("uvwxyz"), 2), 3);
    memset(many, 'a', sizeof(many));
    assert_int_equal(str_distance(str_of(many, sizeof(many)), STR("a"), 2), 3);
}

static void test_copies(void **state)
{
    char source[] = "abc";
    struct str copy = str_copy(&arena, str_c(source));
    char *z = str_z(&arena, str_of(source, 2));
    char *heap = str_dup(str_of(source, 2));
    char many[1000];

    (void)state;
    source[0] = 'x';
    check_str(copy, STR("abc"));
    assert_string_equal(z, "ab");
    assert_string_equal(heap, "ab");
    mem_free(heap);
    check_str(str_copy(&arena, STR_NULL), STR_NULL);
    check_str(str_copy(&arena, STR("")), STR(""));
    assert_string_equal(str_z(&arena, STR_NULL), "");
    check_str(str_print(&arena, "%d-%s", 7, "x"), STR("7-x"));
    memset(many, 'm', sizeof(many));
    struct str longer = str_print(&arena, "<%.*s>", (int)sizeof(many), many);
    assert_int_equal(longer.n, sizeof(many) + 2);
    assert_int_equal(longer.p[0], '<');
    assert_int_equal(longer.p[longer.n - 1], '>');
}

/* Past the arena's cap: an empty text, never half of one or bytes of somebody else. */
static void test_copies_past_the_cap(void **state)
{
    struct arena small;
    char many[1000];

    (void)state;
    memset(many, 'm', sizeof(many));
    arena_init(&small, 64, 512, NULL);
    check_str(str_copy(&small, str_of(many, sizeof(many))), STR(""));
    assert_true(arena_overflowed(&small));
    assert_string_equal(str_z(&small, str_of(many, sizeof(many))), "");
    check_str(str_print(&small, "%.*s", (int)sizeof(many), many), STR(""));
    arena_fini(&small);
}

static void test_hex_digit(void **state)
{
    static const char digits[] = "0123456789abcdef";

    (void)state;
    for (int c = 0; c < 256; c++) {
        const char *at = c == 0 ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
        assert_int_equal(str_hex_digit((char)c), at == NULL ? -1 : (int)(at - digits));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex_digit),
        cmocka_unit_test(test_basics),
        cmocka_unit_test(test_letters),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_trim_and_cut),
        cmocka_unit_test(test_to_int64),
        cmocka_unit_test(test_to_double),
        cmocka_unit_test(test_to_double_is_strtod),
        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_copies_past_the_cap),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
