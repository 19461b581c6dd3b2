/* SPDX-License-Identifier: MIT */
#include "text/json_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "text/json.h"

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

/* The pieces put together; checks what holds for all of them. */
static struct str apply(const struct json_edits *edits, struct str source)
{
    struct str *parts;
    size_t n;
    size_t bytes;
    size_t at = 0;

    json_edit_apply(edits, source, &arena, &parts, &n, &bytes);
    assert_true(n <= 2 * edits->n + 1);
    char *text = arena_alloc(&arena, bytes);
    for (size_t i = 0; i < n; i++) {
        assert_true(parts[i].n > 0);
        assert_true(at + parts[i].n <= bytes);
        memcpy(text + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    assert_int_equal(at, bytes);
    return str_of(text, bytes);
}

static void check_str(struct str is, struct str want)
{
    if (!str_eq(is, want))
        fail_msg("\"%.*s\" instead of \"%.*s\"", STR_ARG(is), STR_ARG(want));
}

static void read_index(struct json_index *index, struct str text)
{
    struct error e;
    if (json_index_read(index, text, 16, NULL, &arena, &e) != OK)
        fail_msg("%.*s: %s", STR_ARG(text), e.detail);
}

static void test_none(void **state)
{
    struct str source = STR("{\"a\":1}");
    struct json_edits edits = {.n = 0};
    struct str *parts;
    size_t n;
    size_t bytes;

    (void)state;
    json_edit_apply(&edits, source, &arena, &parts, &n, &bytes);
    assert_int_equal(n, 1);
    assert_int_equal(bytes, source.n);
    assert_ptr_equal(parts[0].p, source.p);
}

/* Spans in any order; insertions before what begins at their place, and in their own order. */
static void test_spans(void **state)
{
    struct str source = STR("0123456789");
    struct json_edits edits = {.n = 0};

    (void)state;
    json_edit_span(&edits, &arena, 7, 9, STR("seven"));
    json_edit_span(&edits, &arena, 2, 4, STR(""));
    json_edit_span(&edits, &arena, 7, 7, STR("<"));
    json_edit_span(&edits, &arena, 0, 0, STR("["));
    json_edit_span(&edits, &arena, 10, 10, STR("]"));
    json_edit_span(&edits, &arena, 4, 5, STR("four"));
    json_edit_span(&edits, &arena, 7, 7, STR(">"));
    check_str(apply(&edits, source), STR("[01four56<>seven9]"));
}

static void test_value(void **state)
{
    struct str source = STR("{ \"model\" : \"x:y\" , \"n\":1}");
    struct json_edits edits = {.n = 0};
    struct json_index index;

    (void)state;
    read_index(&index, source);
    json_edit_value(&edits, &arena, &index, json_index_find(&index, STR("n")), STR("{}"));
    json_edit_value(&edits, &arena, &index, json_index_find(&index, STR("model")), STR("\"y\""));
    check_str(apply(&edits, source), STR("{ \"model\" : \"y\" , \"n\":{}}"));
}

static void test_remove(void **state)
{
    const struct {
        struct str source;
        const char *keys; /* removed in this order; + adds "z" */
        struct str want;
    } cases[] = {
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "a", STR("{\"b\":2,\"c\":3}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "b", STR("{\"a\":1,\"c\":3}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "c", STR("{\"a\":1,\"b\":2}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "ca", STR("{\"b\":2}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "cb", STR("{\"a\":1}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "bac", STR("{}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "bca+", STR("{\"z\":0}")},
        {STR("{\"a\":1,\"b\":2,\"c\":3}"), "+c", STR("{\"a\":1,\"b\":2,\"z\":0}")},
        {STR("{\"a\":1}"), "+a", STR("{\"z\":0}")},
        {STR("{}"), "+", STR("{\"z\":0}")},
        {STR("{ }"), "++", STR("{\"z\":0,\"z\":0 }")},
        {STR("{\"a\":1}"), "++", STR("{\"a\":1,\"z\":0,\"z\":0}")},
        {STR("{\n  \"a\": 1,\n  \"b\": 2\n}"), "b", STR("{\n  \"a\": 1\n}")},
        {STR("{\n  \"a\": 1,\n  \"b\": 2\n}"), "a", STR("{\n  \"b\": 2\n}")},
        {STR("{\n  \"a\": 1 ,\n  \"b\": 2\n}"), "b+", STR("{\n  \"a\": 1,\"z\":0\n}")},
        {STR("{\n  \"a\": 1\n}"), "+", STR("{\n  \"a\": 1,\"z\":0\n}")},
        {STR("{ \"a\":\"},\" , \"b\":[\",\"] }"), "a", STR("{ \"b\":[\",\"] }")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct json_edits edits = {.n = 0};
        struct json_index index;
        read_index(&index, cases[i].source);
        for (const char *key = cases[i].keys; *key != '\0'; key++) {
            if (*key == '+')
                json_edit_add(&edits, &arena, &index, STR("z"), STR("0"));
            else
                json_edit_remove(&edits, &arena, &index, json_index_find(&index, str_of(key, 1)));
        }
        check_str(apply(&edits, cases[i].source), cases[i].want);
    }
}

/*
 * All that can be done to six members, in all combinations (keep, replace, remove), with two, one
 * or no additions, made in a scrambled order: the result reads as what it should be.
 */
static void test_all_combinations(void **state)
{
    struct str sources[] = {
        STR("{\"a\":1,\"b\":\"\",\"c\":{},\"d\":[0],\"e\":null,\"f\":-1}"),
        STR(" {\n \"a\" : 1 ,\n \"b\":\"\" ,\"c\":{ } , \"d\":[0]\n,\"e\":null , \"f\" : -1 } "),
    };
    enum { MEMBERS = 6, COMBINATIONS = 729 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sources) * COMBINATIONS * 3; i++) {
        arena_reset(&arena);
        struct str source = sources[i % 2];
        size_t added = i / 2 / COMBINATIONS;
        struct json_edits edits = {.n = 0};
        struct json_index before;
        struct json_index after;
        struct json_member want[MEMBERS + 2];
        size_t want_n = 0;
        read_index(&before, source);
        unsigned what[MEMBERS];
        size_t rest = i / 2 % COMBINATIONS;
        for (size_t k = 0; k < MEMBERS; k++, rest /= 3) {
            what[k] = (unsigned)(rest % 3);
            if (what[k] == 2)
                continue;
            want[want_n] = before.members[k];
            if (what[k] == 1)
                want[want_n].value = STR("\"new\"");
            want_n++;
        }
        for (size_t k = 0; k < added; k++) {
            struct str key = k == 0 ? STR("y") : STR("z");
            json_edit_add(&edits, &arena, &before, key, STR("[1]"));
            want[want_n++] = (struct json_member){.key = key, .value = STR("[1]")};
        }
        for (size_t k = 0; k < MEMBERS; k++) {
            const struct json_member *member = &before.members[k * 5 % MEMBERS];
            unsigned kind = what[k * 5 % MEMBERS];
            if (kind == 1)
                json_edit_value(&edits, &arena, &before, member, STR("\"new\""));
            if (kind == 2)
                json_edit_remove(&edits, &arena, &before, member);
        }
        read_index(&after, apply(&edits, source));
        assert_int_equal(after.n, want_n);
        for (size_t k = 0; k < want_n; k++) {
            check_str(after.members[k].key, want[k].key);
            check_str(after.members[k].value, want[k].value);
        }
    }
}

/* Elements of arrays at any depth, beside edits of their neighbours. '-' in what: the element of
 * that number goes, in the order of a walk over all elements; '=': it becomes 9. */
static void edit_elements(struct json_edits *edits, struct str source, struct str value,
                          const char *what, size_t *at)
{
    struct str element;
    size_t cursor = 0;

    while (json_array_next(value, &cursor, &element)) {
        char kind = what[*at];
        size_t begin = (size_t)(element.p - source.p);
        assert_true(kind != '\0');
        ++*at;
        if (kind == '-')
            json_edit_element(edits, &arena, source, element);
        else if (kind == '=')
            json_edit_span(edits, &arena, begin, begin + element.n, STR("9"));
        else if (element.p[0] == '[')
            edit_elements(edits, source, element, what, at);
    }
}

static void test_elements(void **state)
{
    static const struct {
        const char *source;
        const char *what;
        const char *want;
    } cases[] = {
        {"{\"a\":[1]}", "-", "{\"a\":[]}"},
        {"{\"a\":[ 1 ]}", "-", "{\"a\":[  ]}"},
        {"{\"a\":[1,2,3]}", "-  ", "{\"a\":[2,3]}"},
        {"{\"a\":[1,2,3]}", " - ", "{\"a\":[1,3]}"},
        {"{\"a\":[1,2,3]}", "  -", "{\"a\":[1,2]}"},
        {"{\"a\":[1, 2, 3]}", "- -", "{\"a\":[2]}"},
        {"{\"a\":[1, 2 , 3]}", " --", "{\"a\":[1]}"},
        {"{\"a\":[1,2,3]}", "---", "{\"a\":[]}"},
        {"{\"a\":[1,2,3]}", "=-=", "{\"a\":[9,9]}"},
        {"{\"a\":[1,2,3]}", "-=-", "{\"a\":[9]}"},
        {"{\"a\":[1,2,3]}", "==-", "{\"a\":[9,9]}"},
        {"{\"a\":[[1,2],[3,4],5]}", " - -  ", "{\"a\":[[2],5]}"},
        {"{\"a\":[[1,2],[3,4],5]}", " -- ---", "{\"a\":[[],[]]}"},
        {"{\"a\":[[1,2],[3,4],5]}", " =- -=-", "{\"a\":[[9],[9]]}"},
        {"{\"a\":[[1,[2]],[3]]}", "     -", "{\"a\":[[1,[2]],[]]}"},
        {"{\"a\":[[1,[2]],[3]]}", " - - -", "{\"a\":[[[]],[]]}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str source = str_c(cases[i].source);
        struct json_edits edits = {.n = 0};
        struct json_index index;
        size_t at = 0;
        read_index(&index, source);
        edit_elements(&edits, source, index.members[0].value, cases[i].what, &at);
        struct str is = apply(&edits, source);
        if (!str_eq(is, str_c(cases[i].want)))
            fail_msg("%s %s: %.*s", cases[i].source, cases[i].what, STR_ARG(is));
        read_index(&index, is);
    }
}

/* With members that come and go at the root: an array that becomes empty is no empty root. */
static void test_elements_and_members(void **state)
{
    struct str source = STR("{\"a\":[1],\"b\":2,\"c\":[3,4]}");
    struct json_edits edits = {.n = 0};
    struct json_index index;
    struct str element;
    size_t cursor = 0;

    (void)state;
    read_index(&index, source);
    json_edit_add(&edits, &arena, &index, STR("z"), STR("0"));
    assert_true(json_array_next(index.members[2].value, &cursor, &element));
    json_edit_element(&edits, &arena, source, element);
    assert_true(json_array_next(index.members[2].value, &cursor, &element));
    json_edit_element(&edits, &arena, source, element);
    json_edit_remove(&edits, &arena, &index, &index.members[1]);
    cursor = 0;
    assert_true(json_array_next(index.members[0].value, &cursor, &element));
    json_edit_element(&edits, &arena, source, element);
    check_str(apply(&edits, source), STR("{\"a\":[],\"c\":[],\"z\":0}"));
}

static unsigned random_below(uint64_t *seed, unsigned n)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(*seed >> 33) % n;
}

/* Text without [begin, end) for each cut; cuts of whole characters, made through the source. */
static void check_cuts(struct str value, uint64_t *seed)
{
    struct str source = str_print(&arena, "{\"k\":%.*s}", STR_ARG(value));
    struct str text = json_string_value(value, &arena);
    struct json_edits edits = {.n = 0};
    struct json_string_cursor string;
    struct json_index index;
    struct buf want;
    size_t at = 0;

    read_index(&index, source);
    json_string_begin(&string, index.members[0].value);
    buf_init(&want, text.n + 1);
    while (at < text.n) {
        bool cut = random_below(seed, 3) == 0;
        size_t begin = at;
        for (unsigned n = 1 + random_below(seed, 4); n > 0 && at < text.n; n--) {
            at++;
            while (at < text.n && ((unsigned char)text.p[at] & 0xC0) == 0x80)
                at++;
        }
        size_t end = at;
        /* A character between two cuts. */
        while (cut && at < text.n && (at == end || ((unsigned char)text.p[at] & 0xC0) == 0x80))
            at++;
        if (cut)
            json_edit_cut(&edits, &arena, source, &string, begin, end);
        begin = cut ? end : begin;
        buf_add(&want, str_of(text.p + begin, at - begin));
    }
    struct str edited = apply(&edits, source);
    read_index(&index, edited);
    struct str is = json_string_value(index.members[0].value, &arena);
    if (!str_eq(is, buf_str(&want)))
        fail_msg("%.*s: %.*s", STR_ARG(value), STR_ARG(edited));
    buf_fini(&want);
}

static void test_cuts(void **state)
{
    static const char *const pieces[] = {
        "a",       "b c",     "\xC3\xA9", "\xF0\x9F\x98\x80", "\\n",     "\\\"",    "\\\\",
        "\\u0041", "\\u00e9", "\\u20AC",  "\\ud83d\\ude00",   "\\uD83D", "\\udE00", "!/set(x)",
        "ud83d",   "\\/",     "\\t ",
    };
    uint64_t seed = 7;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct buf body;
        arena_reset(&arena);
        buf_init(&body, 4096);
        buf_add_char(&body, '"');
        for (unsigned n = random_below(&seed, 12); n > 0; n--)
            buf_add(&body, str_c(pieces[random_below(&seed, COUNT_OF(pieces))]));
        buf_add_char(&body, '"');
        check_cuts(str_copy(&arena, buf_str(&body)), &seed);
        buf_fini(&body);
    }
}

/* Made backwards, a hundred thousand edits would take minutes if each were put in its place. */
static void test_many(void **state)
{
    enum { N = 100000 };
    struct json_edits edits = {.n = 0};
    char *source = arena_alloc(&arena, 2 * N);

    (void)state;
    memset(source, 'a', 2 * N);
    for (size_t i = N; i > 0; i--)
        json_edit_span(&edits, &arena, 2 * i - 1, 2 * i, STR("bc"));
    struct str text = apply(&edits, str_of(source, 2 * N));
    assert_int_equal(text.n, 3 * N);
    for (size_t i = 0; i < N; i++)
        assert_memory_equal(text.p + 3 * i, "abc", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_spans),
        cmocka_unit_test(test_value),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_all_combinations),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_elements_and_members),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
