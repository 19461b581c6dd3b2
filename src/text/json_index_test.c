/* SPDX-License-Identifier: MIT */
#include "text/json_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <xxhash.h>

#include "base/buf.h"

enum { DEPTH = 16 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 1024, NULL);
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

/* A copy that is exactly as long, so that a sanitizer sees each read past its end. */
static enum error_code read_copy(struct json_index *index, struct str text, struct error *e)
{
    char *copy = arena_alloc(&arena, text.n);
    memcpy(copy, text.p, text.n);
    return json_index_read(index, str_of(copy, text.n), DEPTH, NULL, &arena, e);
}

/* Spans that are off by one, and keys that stay escaped. */
static void test_members(void **state)
{
    struct str text = STR(" {\"a\": 1 ,\n\"b\\u0062\":{\"x\":[1,{}]},\"\":\"q\\\"}\" } ");
    struct json_index index;
    struct error e;

    (void)state;
    assert_int_equal(json_index_read(&index, text, DEPTH, NULL, &arena, &e), OK);
    assert_int_equal(index.open, 1);
    assert_int_equal(index.close, text.n - 2);
    assert_int_equal(index.n, 3);
    check_str(index.members[0].key, STR("a"));
    check_str(index.members[0].value, STR("1"));
    assert_int_equal(index.members[0].begin, 2);
    assert_int_equal(index.members[0].end, 8);
    check_str(index.members[1].key, STR("bb"));
    check_str(index.members[1].value, STR("{\"x\":[1,{}]}"));
    check_str(index.members[2].key, STR(""));
    check_str(index.members[2].value, STR("\"q\\\"}\""));
    for (size_t i = 0; i < index.n; i++) {
        const struct json_member *m = &index.members[i];
        assert_ptr_equal(m->value.p + m->value.n, text.p + m->end);
        assert_int_equal(text.p[m->begin], '"');
        assert_ptr_equal(json_index_find(&index, m->key), m);
    }
    assert_null(json_index_find(&index, STR("c")));
    /* No escape in the key: nothing is copied. */
    assert_ptr_equal(index.members[0].key.p, text.p + 3);
}

static void test_valid(void **state)
{
    static const char *const texts[] = {
        "{}",
        " \t\r\n{ } \n",
        "{\"a\":{}}",
        "{\n                 \"a\" :                 [\n        1\n        ]\n         }\n",
        "{\"a\":[]}",
        "{\"a\":[ ]}",
        "{\"a\":[[],[1],[[]]]}",
        "{\"a\":-0}",
        "{\"a\":0.5e-10}",
        "{\"a\":1E+2}",
        "{\"a\":12345678901234567890123}",
        "{\"a\":true,\"b\":false,\"c\":null}",
        "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\"}",
        "{\"a\":\"\\ud800\"}", /* a lone surrogate is grammar's */
        "{\"a\":\"\x7f \xc3\xa9 \xe4\xb8\xad \xf0\x9f\x98\x80\"}",
        /* the same key in places that are not checked */
        "{\"a\":{\"x\":1,\"x\":2}}",
        "{\"a\":[[{\"x\":1,\"x\":2}]]}",
        "{\"a\":[{\"b\":{\"x\":1,\"x\":2}}]}",
        "{\"a\":[{\"b\":[{\"c\":[{\"x\":1,\"x\":2}]}]}]}",
        /* the same key in different objects */
        "{\"a\":[{\"x\":1},{\"x\":2}],\"x\":{\"a\":1}}",
        "{\"a\":[{\"x\":[{\"x\":1},{\"x\":1}],\"y\":0}]}",
        /* depth 16 */
        "{\"a\":[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct json_index index;
        struct error e;
        if (read_copy(&index, str_c(texts[i]), &e) != OK)
            fail_msg("%s: %s", texts[i], e.detail);
    }
}

struct refusal {
    struct str text;
    const char *detail;
};

static void check_refusals(const struct refusal *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct json_index index;
        struct error e = {.code = OK};
        assert_int_equal(read_copy(&index, cases[i].text, &e), ERR_BAD_REQUEST);
        assert_int_equal(e.code, ERR_BAD_REQUEST);
        assert_string_equal(e.detail, cases[i].detail);
    }
}

static void test_grammar(void **state)
{
    const struct refusal cases[] = {
        {STR(""), "unexpected end at byte 0"},
        {STR("  "), "unexpected end at byte 2"},
        {STR("[]"), "not an object at byte 0"},
        {STR("1"), "not an object at byte 0"},
        {STR("\xEF\xBB\xBF{}"), "not an object at byte 0"},
        {STR("{"), "unexpected end at byte 1"},
        {STR("{}x"), "something after the end at byte 2"},
        {STR("{}{}"), "something after the end at byte 2"},
        {STR("{\"a\"}"), "unexpected character at a (byte 4)"},
        {STR("{\"a\":}"), "unexpected character at a (byte 5)"},
        {STR("{\"a\":1,}"), "unexpected character at byte 7"},
        {STR("{,\"a\":1}"), "unexpected character at byte 1"},
        {STR("{\"a\":1 \"b\":2}"), "unexpected character at a (byte 7)"},
        {STR("{\"a\":[1,]}"), "unexpected character at a[1] (byte 8)"},
        {STR("{\"a\":[1}"), "unexpected character at a[0] (byte 7)"},
        {STR("{\"a\":{]"), "unexpected character at a (byte 6)"},
        {STR("{\"a\":1]"), "unexpected character at a (byte 6)"},
        {STR("{\"a\":01}"), "unexpected character at a (byte 6)"},
        {STR("{\"a\":+1}"), "unexpected character at a (byte 5)"},
        {STR("{\"a\":.5}"), "unexpected character at a (byte 5)"},
        {STR("{\"a\":1.}"), "unexpected character at a (byte 7)"},
        {STR("{\"a\":1e}"), "unexpected character at a (byte 7)"},
        {STR("{\"a\":-}"), "unexpected character at a (byte 6)"},
        {STR("{\"a\":1e+"), "unexpected end at a (byte 8)"},
        {STR("{\"a\":tru}"), "unexpected character at a (byte 5)"},
        {STR("{\"a\":NaN}"), "unexpected character at a (byte 5)"},
        {STR("{'a':1}"), "unexpected character at byte 1"},
        {STR("{\"a\":1/**/}"), "unexpected character at a (byte 6)"},
        {STR("{\"a\":                \x01            1}"), "unexpected character at a (byte 21)"},
        {STR("{\"a\":\f1}"), "unexpected character at a (byte 5)"},
        {STR("{\"a\":1}\0"), "something after the end at byte 7"},
    };

    (void)state;
    check_refusals(cases, COUNT_OF(cases));
}

static void test_strings(void **state)
{
    const struct refusal cases[] = {
        {STR("{\"a\":\"x"), "unterminated string at a (byte 7)"},
        {STR("{\"a\":\"x\\"), "unterminated string at a (byte 7)"},
        {STR("{\"a\":\"x\\\"}"), "unterminated string at a (byte 10)"},
        {STR("{\"a\":\"\\x\"}       "), "invalid escape at a (byte 6)"},
        {STR("{\"a\":\"\\u12g4\"}  "), "invalid escape at a (byte 6)"},
        {STR("{\"a\":\"\n\"}"), "control character in a string at a (byte 6)"},
        {STR("{\"a\":\"\0\"}"), "control character in a string at a (byte 6)"},
        {STR("{\"a\":\"\xff\"}"), "invalid UTF-8 at a (byte 6)"},
        {STR("{\"a\":\"\xc3\"}"), "invalid UTF-8 at a (byte 6)"},
        {STR("{\"a\":\"\xc0\x80\"}"), "invalid UTF-8 at a (byte 6)"},
        {STR("{\"a\":\"\xed\xa0\x80\"}"), "invalid UTF-8 at a (byte 6)"},
        {STR("{\"a\":\"\xf4\x90\x80\x80\"}"), "invalid UTF-8 at a (byte 6)"},
        /* a broken key is not named */
        {STR("{\"a\":1,\"\xff\":2}"), "invalid UTF-8 at byte 8"},
        {STR("{\"messages\":[{},{\"role\":\"user\",\"content\":[{\"text\":\"\x01\"}]}]}"),
         "control character in a string at messages[1].content[0].text (byte 51)"},
        {STR("{\"a b\":{\"c\":tr}}"), "unexpected character at [\"a b\"].c (byte 12)"},
        {STR("{\"0123456789012345678901234567890123456789+\":?}"),
         "unexpected character at [\"0123456789012345678901234567890123456789…\"] (byte 45)"},
    };

    (void)state;
    check_refusals(cases, COUNT_OF(cases));
}

static void test_depth(void **state)
{
    const struct refusal cases[] = {
        {STR("{\"a\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]}"),
         "nested too deeply (json_depth_max) at a[0][0][0][0][0][0][0][0][0][0][0] (byte 20)"},
    };
    struct json_index index;
    struct error e;

    (void)state;
    check_refusals(cases, COUNT_OF(cases));
    assert_int_equal(json_index_read(&index, STR("{\"a\":{}}"), 1, NULL, &arena, &e),
                     ERR_BAD_REQUEST);
    assert_int_equal(json_index_read(&index, STR("{\"a\":1}"), 1, NULL, &arena, &e), OK);

    /* All 1024 levels, objects and arrays in turn: the kind of each is remembered. */
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 512; i++)
        buf_add(&b, STR("{\"k\":["));
    for (int i = 0; i < 512; i++)
        buf_add(&b, STR("]}"));
    assert_int_equal(json_index_read(&index, buf_str(&b), 1024, NULL, &arena, &e), OK);
    assert_int_equal(json_index_read(&index, buf_str(&b), 1023, NULL, &arena, &e), ERR_BAD_REQUEST);
    b.p[b.n - 2] = '}';
    assert_int_equal(json_index_read(&index, buf_str(&b), 1024, NULL, &arena, &e), ERR_BAD_REQUEST);
    buf_fini(&b);
}

static void test_duplicates(void **state)
{
    const struct refusal cases[] = {
        {STR("{\"a\":1,\"a\":2}"), "duplicate key at a (byte 7)"},
        {STR("{\"model\":1,\"mod\\u0065l\":2}"), "duplicate key at [\"mod\\u0065l\"] (byte 11)"},
        {STR("{\"m\":[{},{\"x\":1,\"x\":2}]}"), "duplicate key at m[1].x (byte 16)"},
        {STR("{\"m\":[{\"c\":[0,{\"x\":1,\"y\":0,\"x\":2}]}]}"),
         "duplicate key at m[0].c[1].x (byte 27)"},
        {STR("{\"m\":[{\"c\":[{\"x\":1}],\"d\":[],\"c\":0}]}"),
         "duplicate key at m[0].c (byte 28)"},
        {STR("{\"\":1,\"\":2}"), "duplicate key at [\"\"] (byte 6)"},
    };

    (void)state;
    check_refusals(cases, COUNT_OF(cases));
}

/* Objects too large for comparing each with each: found at any place, and nowhere by mistake. */
static void test_many_keys(void **state)
{
    static const size_t sizes[] = {15, 16, 17, 31, 32, 33, 34, 1000, 200000};
    struct json_index index;
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct buf b;
        size_t n = sizes[i];
        buf_init(&b, 1 << 24);
        buf_add(&b, STR("{\"m\":[{"));
        for (size_t k = 0; k < n; k++)
            buf_print(&b, "%s\"key%zu\":%zu", k > 0 ? "," : "", k, k);
        size_t end = b.n;
        buf_add(&b, STR("},{\"key1\":0}]}"));
        assert_int_equal(json_index_read(&index, buf_str(&b), DEPTH, NULL, &arena, &e), OK);

        b.n = end;
        buf_print(&b, ",\"key%zu\":0}]}", n / 2);
        assert_true(buf_ok(&b));
        assert_int_equal(json_index_read(&index, buf_str(&b), DEPTH, NULL, &arena, &e),
                         ERR_BAD_REQUEST);
        assert_non_null(strstr(e.detail, "duplicate key at m[0].key"));

        /* As members of the root. */
        b.n = 0;
        for (size_t k = 0; k < n; k++)
            buf_print(&b, "%s\"key%zu\":%zu", k > 0 ? "," : "{", k, k);
        buf_add_char(&b, '}');
        assert_int_equal(json_index_read(&index, buf_str(&b), DEPTH, NULL, &arena, &e), OK);
        assert_int_equal(index.n, n);
        check_str(index.members[n - 1].key, str_print(&arena, "key%zu", n - 1));
        buf_fini(&b);
    }
}

/* Keys made to fall on one place of the table would cost their number squared: such a text is
 * refused instead. Keys by chance never get there, however many (test_many_keys). */
static void test_colliding_keys(void **state)
{
    enum { KEYS = 200, MASK = 511 };
    struct json_index index;
    struct error e;
    struct buf b;
    char key[24];
    int found = 0;

    (void)state;
    buf_init(&b, 1 << 20);
    for (unsigned i = 0; found < KEYS; i++) {
        int n = snprintf(key, sizeof(key), "%u", i);
        if ((XXH3_64bits(key, (size_t)n) & MASK) != 7)
            continue;
        buf_print(&b, "%s\"%s\":0", found > 0 ? "," : "{", key);
        found++;
    }
    buf_add_char(&b, '}');
    assert_int_equal(json_index_read(&index, buf_str(&b), DEPTH, NULL, &arena, &e),
                     ERR_BAD_REQUEST);
    assert_non_null(strstr(e.detail, "colliding keys in one object at "));
    buf_fini(&b);
}

/* No place to cut a text in two leaves a valid one, whatever token it cuts. */
static void test_prefixes(void **state)
{
    struct str text = STR(
        "{\"a\":[1.5e3,\"\\u00e9\xc3\xa9\",{\"b\":null,\"c\":[true,{}]}],\"d\":-1}");
    struct json_index index;
    struct error e;

    (void)state;
    assert_int_equal(read_copy(&index, text, &e), OK);
    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(read_copy(&index, str_head(text, n), &e), ERR_BAD_REQUEST);
}

/* Any byte in the place of any other: refused, or the members are still what stands there. */
static void test_mutations(void **state)
{
    struct str text = STR("{\"ab\":[1,\"x\\n\",{\"c\":null}],\"d\":-1.5}");
    char copy[64];

    (void)state;
    assert_true(text.n <= sizeof(copy));
    for (size_t i = 0; i < text.n; i++) {
        for (int c = 0; c < 256; c++) {
            struct json_index index;
            struct error e;
            arena_reset(&arena);
            memcpy(copy, text.p, text.n);
            copy[i] = (char)c;
            if (json_index_read(&index, str_of(copy, text.n), DEPTH, NULL, &arena, &e) != OK) {
                assert_int_equal(e.code, ERR_BAD_REQUEST);
                continue;
            }
            for (size_t k = 0; k < index.n; k++) {
                const struct json_member *m = &index.members[k];
                assert_int_equal(copy[m->begin], '"');
                assert_true(m->begin < m->end && m->end <= index.close);
                assert_ptr_equal(m->value.p + m->value.n, copy + m->end);
            }
        }
    }
}

static void test_arena_limit(void **state)
{
    struct arena small;
    struct json_index index;
    struct error e;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_print(&b, "%s\"k%d\":0", i > 0 ? "," : "{", i);
    buf_add_char(&b, '}');
    arena_init(&small, 4096, 512, NULL);
    assert_int_equal(json_index_read(&index, buf_str(&b), DEPTH, NULL, &small, &e), ERR_TOO_LARGE);
    assert_true(arena_overflowed(&small));
    arena_fini(&small);
    buf_fini(&b);
}

/* --- walking --- */

static void test_walk(void **state)
{
    struct str object = STR(
        "{ \"a\" : [1, \"x,]\" ,{}] , \"b\\n\":\"}\",\"c\":{\"a\":{\"z\":2}} }");
    struct json_member m;
    struct str value;
    size_t cursor = 0;

    (void)state;
    assert_true(json_object_next(object, &cursor, &arena, &m));
    check_str(m.key, STR("a"));
    check_str(m.value, STR("[1, \"x,]\" ,{}]"));
    assert_int_equal(m.begin, 2);
    assert_int_equal(m.end, 22);
    struct str array = m.value;
    assert_true(json_object_next(object, &cursor, &arena, &m));
    check_str(m.key, STR("b\n"));
    check_str(m.value, STR("\"}\""));
    assert_true(json_object_next(object, &cursor, &arena, &m));
    check_str(m.value, STR("{\"a\":{\"z\":2}}"));
    assert_false(json_object_next(object, &cursor, &arena, &m));

    cursor = 0;
    assert_true(json_array_next(array, &cursor, &value));
    check_str(value, STR("1"));
    assert_true(json_array_next(array, &cursor, &value));
    check_str(value, STR("\"x,]\""));
    assert_true(json_array_next(array, &cursor, &value));
    check_str(value, STR("{}"));
    assert_false(json_array_next(array, &cursor, &value));

    check_str(json_object_find(object, STR("b\n")), STR("\"}\""));
    check_str(json_object_find(json_object_find(object, STR("c")), STR("a")), STR("{\"z\":2}"));
    check_str(json_object_find(object, STR("z")), STR_NULL);
    check_str(json_object_find(STR("{\"ab\":1,\"a\":2}"), STR("a")), STR("2"));
    check_str(json_object_find(STR("{}"), STR("a")), STR_NULL);
    check_str(json_object_find(STR("[\"a\"]"), STR("a")), STR_NULL);
    cursor = 0;
    assert_false(json_array_next(STR("[ ]"), &cursor, &value));
    cursor = 0;
    assert_false(json_array_next(STR("{}"), &cursor, &value));
}

static void test_kinds(void **state)
{
    const struct {
        struct str text;
        enum json_kind kind;
    } cases[] = {
        {STR("{}"), JSON_OBJECT}, {STR("[]"), JSON_ARRAY},    {STR("\"\""), JSON_STRING},
        {STR("-1"), JSON_NUMBER}, {STR("0"), JSON_NUMBER},    {STR("true"), JSON_TRUE},
        {STR("null"), JSON_NULL}, {STR("false"), JSON_FALSE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(json_kind_of(cases[i].text), cases[i].kind);
}

/* The walkers stay within text that was never checked, and come to an end. */
static void test_walk_unchecked(void **state)
{
    static const char *const texts[] = {
        "{",         "{\"",
        "{\"a",      "{\"a\"",
        "{\"a\":",   "{\"a\":1",
        "{\"a\":[",  "{\"a\\",
        "{\"a\":\"", "{1:2}",
        "{\"a\" 1}", "{\"a\":,}",
        "{\"a\":}",  "[",
        "[1",        "[\"",
        "[[]",       "[,]",
        "]",         "\"",
        "",          "{\"a\":1 \"b\":2}",
        "[1 2]",     "{\"a\":\"\n\"}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct str text = str_c(texts[i]);
        char *copy = arena_alloc(&arena, text.n);
        struct json_member m;
        struct str value;
        size_t cursor = 0;
        size_t items = 0;
        memcpy(copy, text.p, text.n);
        text.p = copy;
        while (json_object_next(text, &cursor, &arena, &m))
            items++;
        cursor = 0;
        while (json_array_next(text, &cursor, &value))
            items++;
        assert_true(items <= 1);
    }
}

/* The last element of each array of the root, as a walk finds it; of nothing else. */
static void test_last(void **state)
{
    static const char *const texts[] = {
        "{\"a\":[1,2,3]}",
        "{\"a\":[ 1 ]}",
        "{\"a\":[],\"b\":[[]],\"c\":[ ]}",
        "{\"a\":{\"x\":[1,2]},\"b\":[{\"x\":[1,2]} , {\"y\":[3]}\n ]}",
        "{\"a\":[1,[2,3]],\"b\":[4],\"c\":\"[5]\",\"d\":[\"a,]\" ,\t\"b,]\" ] ,\"e\":6}",
        " { \"a\" : [ { } , [ ] , null ] , \"b\" : [ [ [ ] ] , \"\\\\\" ] } ",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct json_index index;
        struct error e;
        assert_int_equal(json_index_read(&index, str_c(texts[i]), DEPTH, NULL, &arena, &e), OK);
        for (size_t k = 0; k < index.n; k++) {
            struct str want = STR_NULL;
            struct str element;
            size_t cursor = 0;
            while (json_array_next(index.members[k].value, &cursor, &element))
                want = element;
            struct str is = json_index_last(&index, &index.members[k]);
            check_str(is, want);
            assert_true(str_is_null(want) || is.p == want.p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last),           cmocka_unit_test(test_members),
        cmocka_unit_test(test_valid),          cmocka_unit_test(test_grammar),
        cmocka_unit_test(test_strings),        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_duplicates),     cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_colliding_keys), cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_mutations),      cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_walk),           cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_walk_unchecked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
