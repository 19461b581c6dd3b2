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
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
