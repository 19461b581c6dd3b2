/* SPDX-License-Identifier: MIT */
#include "text/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/json_index.h"
#include "text/utf8.h"

#define FFFD "\xEF\xBF\xBD"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 * 1024 * 1024, 1024, NULL);
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

static yyjson_val *read_ok(struct str text)
{
    const struct json_read_options options = {.depth_max = 0};
    struct error e;
    yyjson_val *root = json_read(text, &options, &arena, &e);
    if (root == NULL)
        fail_msg("%.*s: %s", STR_ARG(text), e.detail);
    return root;
}

static void test_read(void **state)
{
    char source[] = "{\"s\":\"a\\nb\",\"n\":-1.50e+3,\"o\":{\"k\":\"v\"},\"z\":null,\"\":\"e\"}";

    (void)state;
    yyjson_val *root = read_ok(str_c(source));
    /* Values are copies: the source may go. */
    memset(source, 'x', sizeof(source) - 1);
    check_str(json_get_str(root, STR("s")), STR("a\nb"));
    check_str(json_number_token(json_get(root, STR("n"))), STR("-1.50e+3"));
    check_str(json_get_str(json_get(root, STR("o")), STR("k")), STR("v"));
    check_str(json_get_str(root, STR("")), STR("e"));
    check_str(json_get_str(root, STR_NULL), STR("e"));
    /* Neutral values. */
    check_str(json_get_str(root, STR("none")), STR_NULL);
    check_str(json_get_str(root, STR("n")), STR_NULL);
    check_str(json_get_str(root, STR("z")), STR_NULL);
    check_str(json_get_str(NULL, STR("s")), STR_NULL);
    check_str(json_str(NULL), STR_NULL);
    check_str(json_number_token(json_get(root, STR("s"))), STR_NULL);
    assert_null(json_get(json_get(root, STR("s")), STR("s")));
    assert_true(yyjson_is_null(json_get(root, STR("z"))));
}

static void test_refused(void **state)
{
    const struct {
        struct str text;
        const char *detail; /* the beginning */
    } cases[] = {
        {STR(""), "no JSON text"},
        {STR_NULL, "no JSON text"},
        {STR(" "), "not valid JSON: input data is empty"},
        {STR("{"), "not valid JSON: "},
        {STR("{\"a\":1}x"), "not valid JSON: unexpected content after document at byte 7"},
        {STR("{\"a\":1,}"), "not valid JSON: "},
        {STR("[01]"), "not valid JSON: "},
        {STR("[NaN]"), "not valid JSON: "},
        {STR("[\"\\x\"]"), "not valid JSON: "},
        {STR("[\"\\ud800\\x\"]"), "not valid JSON: "},
        {STR("[\"\xff\"]"), "not valid JSON: "},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct json_read_options options = {.depth_max = 0};
        struct error e = {.code = OK};
        assert_null(json_read(cases[i].text, &options, &arena, &e));
        assert_int_equal(e.code, ERR_BAD_REQUEST);
        if (strncmp(e.detail, cases[i].detail, strlen(cases[i].detail)) != 0)
            fail_msg("case %zu: %s", i, e.detail);
    }
}

/* Exactly depth_max levels pass, in every mixture, and among many shallow values. */
static void test_depth(void **state)
{
    static const size_t limits[] = {1, 2, 5, 128, 1024};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        for (size_t depth = limits[i]; depth <= limits[i] + 1; depth++) {
            struct json_read_options options = {.depth_max = limits[i]};
            struct error e;
            struct buf b;
            buf_init(&b, 1 << 20);
            for (size_t k = 1; k < depth; k++)
                buf_add(&b, k % 2 == 0 ? STR("[[],1,{},") : STR("{\"b\":{},\"a\":"));
            buf_add(&b, STR("[]"));
            for (size_t k = depth - 1; k >= 1; k--)
                buf_add(&b, k % 2 == 0 ? STR(",[]]") : STR(",\"c\":[]}"));
            yyjson_val *root = json_read(buf_str(&b), &options, &arena, &e);
            assert_int_equal(root != NULL, depth <= limits[i]);
            if (root == NULL)
                assert_non_null(strstr(e.detail, "nested too deeply"));
            buf_fini(&b);
        }
    }
    /* A hundred thousand levels: refused, not a crash. */
    struct buf b;
    struct error e;
    const struct json_read_options options = {.depth_max = 0};
    buf_init(&b, 1 << 20);
    for (int k = 0; k < 100000; k++)
        buf_add_char(&b, '[');
    for (int k = 0; k < 100000; k++)
        buf_add_char(&b, ']');
    assert_null(json_read(buf_str(&b), &options, &arena, &e));
    assert_int_equal(e.code, ERR_BAD_REQUEST);
    buf_fini(&b);
}

/* Lone surrogate escapes are taken always, bad bytes where that is allowed. */
static void test_repaired(void **state)
{
    const struct {
        struct str text;
        struct str want;
        bool invalid_utf8;
    } cases[] = {
        {STR("[\"\\ud800\"]"), STR(FFFD), false},
        {STR("[\"a\\uDC00b\\\\ud800\\ud83d\\ude00\"]"), STR("a" FFFD "b\\ud800\xF0\x9F\x98\x80"),
         false},
        {STR("[\"\\\\\\ud800\\\\\"]"), STR("\\" FFFD "\\"), false},
        {STR("[\"a\xff"
             "b\xE2\x82\"]"),
         STR("a" FFFD "b" FFFD), true},
        {STR("[\"\xff\\ud800\"]"), STR(FFFD FFFD), true},
        {STR("[\"\xed\xa0\x80\"]"), STR(FFFD FFFD FFFD), true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int allowed = 0; allowed <= 1; allowed++) {
            const struct json_read_options options = {.allow_invalid_utf8 = allowed != 0};
            struct error e;
            yyjson_val *root = json_read(cases[i].text, &options, &arena, &e);
            if (cases[i].invalid_utf8 && !allowed) {
                assert_null(root);
                continue;
            }
            assert_non_null(root);
            check_str(json_str(yyjson_arr_get_first(root)), cases[i].want);
        }
    }
}

static void test_arena_limit(void **state)
{
    const struct json_read_options options = {.depth_max = 0};
    struct arena small;
    struct error e;
    struct str quoted;
    char text[4000];

    (void)state;
    memset(text, 'a', sizeof(text));
    text[0] = text[sizeof(text) - 1] = '"';
    arena_init(&small, 4096, 512, NULL);
    assert_null(json_read(str_of(text, sizeof(text)), &options, &small, &e));
    assert_int_equal(e.code, ERR_TOO_LARGE);
    assert_true(arena_overflowed(&small));
    quoted = json_quote(str_of(text, sizeof(text)), &small);
    assert_true(arena_overflowed(&small) && quoted.n <= 2);
    arena_fini(&small);
}

static void test_int64(void **state)
{
    static const struct {
        const char *token;
        bool integral;
        int64_t want;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"42", true, 42},
        {"-42", true, -42},
        {"1.0", true, 1},
        {"1e2", true, 100},
        {"1E+2", true, 100},
        {"-1.20e1", true, -12},
        {"1200e-2", true, 12},
        {"0.0001e4", true, 1},
        {"0e999999999999", true, 0},
        {"0.000e-99999999999999999999", true, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775808.0", true, INT64_MIN},
        {"922337203685477580.7e1", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"9223372036854775808.0", false, 0},
        {"-9223372036854775809", false, 0},
        {"1e19", false, 0},
        {"1e999999999999999999999", false, 0},
        {"1e-999999999999999999999", false, 0},
        {"1.5", false, 0},
        {"15e-1", false, 0},
        {"1e-1", false, 0},
        {"0.1", false, 0},
    };
    int64_t value = 7;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        yyjson_val *root = read_ok(str_print(&arena, "[%s]", cases[i].token));
        value = 7;
        if (json_to_int64(yyjson_arr_get_first(root), &value) != cases[i].integral)
            fail_msg("%s", cases[i].token);
        assert_true(value == (cases[i].integral ? cases[i].want : 7));
    }
    assert_false(json_to_int64(NULL, &value));
    assert_false(json_to_int64(yyjson_arr_get_first(read_ok(STR("[\"1\"]"))), &value));
    assert_false(json_to_int64(yyjson_arr_get_first(read_ok(STR("[true]"))), &value));
}

/* Numbers as they came; nothing else changes but blanks and escapes. */
static void test_text(void **state)
{
    struct str minified = STR(
        "{\"n\":[1.0,-0,1e400,12345678901234567890123],\"s\":\"\xC3\xA9\\\"\","
        "\"o\":{},\"t\":true,\"z\":null}");

    (void)state;
    check_str(json_text(read_ok(minified), &arena), minified);
    check_str(json_text(read_ok(STR(" [ 1 , \"\\u0041\\/\" ] ")), &arena), STR("[1,\"A/\"]"));
    check_str(json_text(read_ok(STR("[\"\\ud800\"]")), &arena), STR("[\"" FFFD "\"]"));
    check_str(json_text(json_get(read_ok(STR("{\"a\":[2]}")), STR("a")), &arena), STR("[2]"));
    check_str(json_text(NULL, &arena), STR_NULL);
}

static void test_quote(void **state)
{
    const struct {
        struct str s;
        struct str want;
    } cases[] = {
        {STR(""), STR("\"\"")},
        {STR_NULL, STR("\"\"")},
        {STR("abc/\x7f"), STR("\"abc/\x7f\"")},
        {STR("a\"b\\c"), STR("\"a\\\"b\\\\c\"")},
        {STR("\b\f\n\r\t\v\0\x1f"), STR("\"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\"")},
        {STR("\xC3\xA9\n\xF0\x9F\x98\x80"), STR("\"\xC3\xA9\\n\xF0\x9F\x98\x80\"")},
        {STR("a\xff\"\xE2\x82z\xE2\x82"), STR("\"a" FFFD "\\\"" FFFD "z" FFFD "\"")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b;
        buf_init(&b, 1024);
        check_str(json_quote(cases[i].s, &arena), cases[i].want);
        assert_true(json_add_string(&b, cases[i].s));
        check_str(buf_str(&b), cases[i].want);
        buf_fini(&b);
        /* One byte too few: refused, and said so. */
        buf_init(&b, cases[i].want.n - 1);
        assert_false(json_add_string(&b, cases[i].s));
        assert_false(buf_ok(&b));
        buf_fini(&b);
    }
}

/* What is quoted reads as what it was. */
static void test_round_trip(void **state)
{
    uint32_t seed = 3;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        char text[100];
        for (size_t i = 0; i < sizeof(text); i++) {
            seed = seed * 1664525 + 1013904223;
            text[i] = (char)(seed >> 24 & 0x7f);
        }
        struct str s = str_of(text, seed % sizeof(text));
        struct str array = str_print(&arena, "[%.*s]", STR_ARG(json_quote(s, &arena)));
        check_str(json_str(yyjson_arr_get_first(read_ok(array))), s);
        arena_reset(&arena);
    }
}

/* Escapes of a valid text, byte by byte. */
static void escape_plainly(struct buf *b, struct str s)
{
    static const char escaped[] = "\b\f\n\r\t\"\\";

    buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        const char *at = memchr(escaped, s.p[i], 7);
        if (at != NULL)
            buf_print(b, "\\%c", "bfnrt\"\\"[at - escaped]);
        else if ((unsigned char)s.p[i] < 0x20)
            buf_print(b, "\\u%04x", (unsigned)(unsigned char)s.p[i]);
        else
            buf_add_char(b, s.p[i]);
    }
    buf_add_char(b, '"');
}

/* Pieces of texts: plain ones of many lengths, all that is escaped, characters of each size, and
 * what is no UTF-8. */
static struct str random_text(uint32_t *seed, char *to, size_t size)
{
    static const char *const pieces[] = {
        "0123456789abcdef", "x",    "\"",   "\\",      "\n", "\x01", "\xC3\xA9", "\xE2\x82\xAC",
        "\xF0\x9F\x98\x80", "\x7f", "\xff", "\xE2\x82"};
    size_t n = 0;
    size_t want = (*seed >> 8) % size;
    size_t kinds = *seed >> 30 == 0 ? COUNT_OF(pieces) : COUNT_OF(pieces) - 2;

    while (n < want) {
        *seed = *seed * 1664525 + 1013904223;
        const char *piece = pieces[(*seed >> 16) % ((*seed & 0x1000) != 0 ? kinds : 2)];
        size_t length = strlen(piece);
        if (n + length > size)
            break;
        memcpy(to + n, piece, length);
        n += length;
    }
    return str_of(to, n);
}

/* Catches: an escape lost or doubled where blocks and pieces end, a text that is refused though it
 * fits, or taken though it does not. */
static void test_escapes_are_the_plain_ones(void **state)
{
    enum { SIZE = 900 };
    uint32_t seed = 7;
    struct buf want;

    (void)state;
    buf_init(&want, 8 * SIZE);
    for (int round = 0; round < 3000; round++) {
        char *text = mem_raw(SIZE);
        struct str s = random_text(&seed, text, SIZE);
        buf_reset(&want);
        escape_plainly(&want, utf8_repair(s, &arena));
        check_str(json_quote(s, &arena), buf_str(&want));
        /* Of what is no UTF-8 the other bytes come back, and U+FFFD. */
        check_str(json_string_value(buf_str(&want), &arena), utf8_repair(s, &arena));
        const size_t caps[] = {want.n - 1, want.n, want.n + 1, 2 * want.n, 14 * SIZE};
        for (size_t i = 0; i < COUNT_OF(caps); i++) {
            struct buf b;
            buf_init(&b, caps[i]);
            assert_int_equal(json_add_string(&b, s), caps[i] >= want.n);
            assert_int_equal(buf_ok(&b), caps[i] >= want.n);
            if (buf_ok(&b))
                check_str(buf_str(&b), buf_str(&want));
            buf_fini(&b);
        }
        mem_free(text);
        arena_reset(&arena);
    }
    buf_fini(&want);
}

/* Catches: a member that is left out or comes twice where the remembered ones end, a place that is
 * not the walker's, and a walk that is lost when another object was asked about. */
static void test_fields_next_is_object_next(void **state)
{
    struct json_fields fields = {.n = 0};
    struct buf text;
    struct arena scratch;

    (void)state;
    arena_init(&scratch, 1 << 20, 4096, NULL);
    buf_init(&text, 65536);
    for (int n = 0; n <= 2 * JSON_FIELDS_MAX + 1; n++) {
        struct json_member want;
        struct json_member got;
        size_t want_at = 0;
        size_t got_at = 0;
        buf_reset(&text);
        (void)buf_add_char(&text, '{');
        for (int i = 0; i < n; i++)
            (void)buf_print(&text, "%s\"k\\u006%d\" : [%d, {\"}\":\"\\\"\"}]", i == 0 ? "" : " , ",
                            i % 10, i);
        (void)buf_add_char(&text, '}');
        while (json_object_next(buf_str(&text), &want_at, &scratch, &want)) {
            assert_true(json_fields_next(&fields, buf_str(&text), &got_at, &scratch, &got));
            check_str(got.key, want.key);
            assert_ptr_equal(got.value.p, want.value.p);
            assert_int_equal(got.value.n, want.value.n);
            assert_int_equal(got.begin, want.begin);
            assert_int_equal(got.end, want.end);
            if (want_at % 2 == 0)
                assert_true(str_is_null(json_fields_find(&fields, STR("{}"), STR("a"))));
        }
        assert_false(json_fields_next(&fields, buf_str(&text), &got_at, &scratch, &got));
        assert_false(json_fields_next(&fields, buf_str(&text), &got_at, &scratch, &got));
    }
    buf_fini(&text);
    arena_fini(&scratch);
}

static void test_compact(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } rows[] = {
        {"{}", "{}"},
        {"{ \"a b\" : [ 1 ,\n\t2 ] }\r", "{\"a b\":[1,2]}"},
        {"{\"a\":\" \\\" \", \"b\":\"\"}", "{\"a\":\" \\\" \",\"b\":\"\"}"},
        {" \"x y\"", "\"x y\""},
    };
    struct arena scratch;

    (void)state;
    arena_init(&scratch, 1 << 20, 4096, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_str(json_compact(str_c(rows[i].in), &scratch), str_c(rows[i].out));
    struct str same = STR("{\"a\":\" \"}");
    assert_ptr_equal(json_compact(same, &scratch).p, same.p);
    arena_fini(&scratch);
}

/* Catches: a member missed behind those that are remembered, and answers about another object. */
static void test_fields_are_what_find_finds(void **state)
{
    struct json_fields fields = {.n = 0};
    struct buf text;
    struct buf key;

    (void)state;
    buf_init(&text, 65536);
    buf_init(&key, 64);
    for (int n = 0; n <= 2 * JSON_FIELDS_MAX + 1; n++) {
        buf_reset(&text);
        (void)buf_add_char(&text, '{');
        for (int i = 0; i < n; i++)
            (void)buf_print(&text, "%s\"k%d\" : {\"k%d\":[\"}\",%d]}", i == 0 ? "" : " , ", i,
                            i + 1, i);
        (void)buf_add_char(&text, '}');
        for (int i = n + 1; i >= 0; i--) {
            buf_reset(&key);
            (void)buf_print(&key, "k%d", i);
            struct str want = json_object_find(buf_str(&text), buf_str(&key));
            struct str got = json_fields_find(&fields, buf_str(&text), buf_str(&key));
            assert_ptr_equal(got.p, want.p);
            assert_int_equal(got.n, want.n);
            assert_int_equal(str_is_null(got), i >= n);
            /* Another object in between. */
            if (i % 3 == 0 && !str_is_null(got))
                assert_true(str_is_null(json_fields_find(&fields, got, buf_str(&key))));
        }
        fields.object = STR_NULL; /* the buffer holds another text next */
        fields.n = 0;
    }
    assert_true(str_is_null(json_fields_find(&fields, STR_NULL, STR("a"))));
    assert_true(str_eq(json_fields_find(&fields, STR("{\"\\u0061\":7}"), STR("a")), STR("7")));
    buf_fini(&key);
    buf_fini(&text);
}

/* Catches: a member that is not found because of its key's length or ends. */
static void test_keys(void **state)
{
    struct arena mine;
    struct buf text;
    (void)state;

    arena_init(&mine, 1024 * 1024, 4096, NULL);
    buf_init(&text, 64 * 1024);
    (void)buf_add(&text, STR("{\"\":0"));
    for (int i = 1; i < 200; i++) /* of all lengths up to 40 */
        (void)buf_print(&text, ",\"%0*d\":%d", i % 41 < 3 ? 3 : i % 41, i, i);
    (void)buf_add_char(&text, '}');
    yyjson_val *root = json_read(buf_str(&text), &(struct json_read_options){.depth_max = 0}, &mine,
                                 NULL);
    assert_non_null(root);
    const struct json_keys keys = json_keys_of(root);
    assert_ptr_equal(json_keys_get(&keys, STR("")), json_get(root, STR("")));
    assert_non_null(json_keys_get(&keys, STR("")));
    for (int i = 1; i < 200; i++) {
        struct str key = str_print(&mine, "%0*d", i % 41 < 3 ? 3 : i % 41, i);
        int64_t value = -1;
        assert_true(json_to_int64(json_keys_get(&keys, key), &value));
        assert_int_equal(value, i);
    }
    yyjson_val *one = json_read(STR("{\"content\":1}"), &(struct json_read_options){.depth_max = 0},
                                &mine, NULL);
    const struct json_keys few = json_keys_of(one);
    assert_non_null(json_keys_get(&few, STR("content")));
    assert_null(json_keys_get(&few, STR("contents")));
    assert_null(json_keys_get(&few, STR("tool_calls")));
    const struct json_keys none = json_keys_of(NULL);
    assert_null(json_keys_get(&none, STR("content")));
    buf_fini(&text);
    arena_fini(&mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_repaired),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_int64),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_escapes_are_the_plain_ones),
        cmocka_unit_test(test_fields_are_what_find_finds),
        cmocka_unit_test(test_fields_next_is_object_next),
        cmocka_unit_test(test_compact),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
