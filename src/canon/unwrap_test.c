/* SPDX-License-Identifier: MIT */
#include "canon/unwrap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "text/utf8.h"

struct row {
    const char *json;
    const char *text;
};

static const struct row rows[] = {
    {"{\"input\":\"\"}", ""},
    {"{\"input\":\"hello\"}", "hello"},
    {" {\n\t\"input\" : \r \"hello\" } \n", "hello"},
    {"{\"input\":\"a\\nb\\t\\\"c\\\"\\\\\\/\\b\\f\\r\"}", "a\nb\t\"c\"\\/\b\f\r"},
    {"{\"input\":\"\\u0041\\u00e4\\u20AC\"}", "A\xc3\xa4\xe2\x82\xac"},
    {"{\"input\":\"\\ud83d\\ude00!\"}", "\xf0\x9f\x98\x80!"},
    {"{\"input\":\"gr\xc3\xbc\xc3\x9f\"}", "gr\xc3\xbc\xc3\x9f"},
    /* Halves of pairs, in all company. */
    {"{\"input\":\"\\ud83d\"}", "\xef\xbf\xbd"},
    {"{\"input\":\"\\ude00\"}", "\xef\xbf\xbd"},
    {"{\"input\":\"\\ud83dx\"}", "\xef\xbf\xbdx"},
    {"{\"input\":\"\\ud83d\\n\"}", "\xef\xbf\xbd\n"},
    {"{\"input\":\"\\ud83d\\u0041\"}", "\xef\xbf\xbd"
                                       "A"},
    {"{\"input\":\"\\ud83d\\ud83d\\ude00\"}", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    /* What is behind it does not count. */
    {"{\"input\":\"a\",\"more\":\"b\"}", "a"},
    {"{\"input\":\"a\"} x \"b\"", "a"},
    /* No input. */
    {"", ""},
    {"{}", ""},
    {" { \n } ", ""},
    /* Broken off. */
    {"{\"inp", ""},
    {"{\"input\":", ""},
    {"{\"input\":\"abc", "abc"},
    {"{\"input\":\"abc\\", "abc\\"},
    {"{\"input\":\"abc\\u00", "abc\\u00"},
    {"{\"input\":\"abc\\ud83d", "abc\xef\xbf\xbd"},
    {"{\"input\":\"abc\\ud83d\\ude", "abc\xef\xbf\xbd\\ude"},
    /* Wrong within: as it is meant. */
    {"{\"input\":\"a\nb\x01\"}", "a\nb\x01"},
    {"{\"input\":\"a\\q\\u12x4\"}", "a\\q\\u12x4"},
    /* Something else: as it is. */
    {"plain text", "plain text"},
    {"[1,2]", "[1,2]"},
    {"{\"input\":5}", "{\"input\":5}"},
    {"{\"input\":null}", "{\"input\":null}"},
    {"{\"other\":\"a\\n\"}", "{\"other\":\"a\\n\"}"},
    {"{\"inputs\":\"a\"}", "{\"inputs\":\"a\"}"},
    {"{\"path\":\"x\",\"input\":\"a\"}", "{\"path\":\"x\",\"input\":\"a\"}"},
    {"\"a\"", "\"a\""},
    {"{x", "{x"},
};

static void feed(struct unwrap *unwrap, struct str piece, struct arena *scratch, struct buf *out)
{
    struct str text = unwrap_feed(unwrap, piece, scratch);

    /* Each piece of it is text of its own. */
    assert_true(utf8_valid(text));
    buf_add(out, text);
    arena_rewind(scratch);
}

static void check(const struct row *row, struct str a, struct str b, struct str c)
{
    struct unwrap unwrap = {.state = UNWRAP_BEFORE};
    struct arena scratch;
    struct buf out;

    arena_init(&scratch, 64 * 1024, 1024, NULL);
    buf_init(&out, 4096);
    feed(&unwrap, a, &scratch, &out);
    feed(&unwrap, b, &scratch, &out);
    feed(&unwrap, c, &scratch, &out);
    buf_add(&out, unwrap_end(&unwrap, &scratch));
    if (!str_eq(buf_str(&out), str_c(row->text)))
        fail_msg("%s cut at %zu and %zu: '%.*s'", row->json, a.n, a.n + b.n,
                 STR_ARG(buf_str(&out)));
    buf_fini(&out);
    arena_fini(&scratch);
}

static bool is_boundary(struct str s, size_t at)
{
    return at == s.n || ((unsigned char)s.p[at] & 0xc0) != 0x80;
}

/* Cut anywhere in two places (pieces are valid UTF-8 each), and into single characters. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct str json = str_c(rows[r].json);
        for (size_t i = 0; i <= json.n; i++) {
            for (size_t k = i; k <= json.n; k++) {
                if (is_boundary(json, i) && is_boundary(json, k))
                    check(&rows[r], str_head(json, i), str_of(json.p + i, k - i),
                          str_from(json, k));
            }
        }
    }
}

static void test_characters(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        struct unwrap unwrap = {.state = UNWRAP_BEFORE};
        struct str json = str_c(rows[r].json);
        struct arena scratch;
        struct buf out;
        arena_init(&scratch, 64 * 1024, 1024, NULL);
        buf_init(&out, 4096);
        for (size_t i = 0, end = 0; i < json.n; i = end) {
            for (end = i + 1; !is_boundary(json, end);)
                end++;
            feed(&unwrap, str_of(json.p + i, end - i), &scratch, &out);
        }
        buf_add(&out, unwrap_end(&unwrap, &scratch));
        assert_true(str_eq(buf_str(&out), str_c(rows[r].text)));
        buf_fini(&out);
        arena_fini(&scratch);
    }
}

/* A beginning of nothing but blanks is not kept for ever; and nothing is copied without need. */
static void test_bounds(void **state)
{
    struct unwrap unwrap = {.state = UNWRAP_BEFORE};
    struct arena scratch;
    char blanks[3 * UNWRAP_HELD_MAX];

    (void)state;
    arena_init(&scratch, 64 * 1024, 1024, NULL);
    memset(blanks, ' ', sizeof(blanks));
    struct str text = unwrap_feed(&unwrap, str_of(blanks, sizeof(blanks)), &scratch);
    assert_int_equal(text.n, sizeof(blanks));
    assert_int_equal(unwrap.state, UNWRAP_AS_IS);

    unwrap = (struct unwrap){.state = UNWRAP_BEFORE};
    struct str piece = STR("{\"input\":\"abc");
    text = unwrap_feed(&unwrap, piece, &scratch);
    assert_ptr_equal(text.p, piece.p + piece.n - 3);
    arena_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_characters),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
