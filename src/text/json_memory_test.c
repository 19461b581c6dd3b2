/* SPDX-License-Identifier: MIT */
/*
 * Reading with a memory of what was read before must give what reading without one gives: the same
 * members, the same error, the same place.
 */
#include "text/json_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "text/json_index.h"

enum { DEPTH = 32, TEXT_MAX = 1024 * 1024, MUTATIONS = 60000 };

static void check_member(const struct json_member *is, const struct json_member *want)
{
    assert_true(str_eq(is->key, want->key));
    assert_ptr_equal(is->value.p, want->value.p);
    assert_int_equal(is->value.n, want->value.n);
    assert_int_equal(is->begin, want->begin);
    assert_int_equal(is->end, want->end);
    assert_int_equal(is->last, want->last);
}

/* Reads text with the memory and without. Returns whether it is valid. */
static bool compare(struct json_memory *memory, struct str text, size_t depth_max)
{
    struct arena arena;
    struct json_index is;
    struct json_index want;
    struct error is_error = {.code = OK};
    struct error want_error = {.code = OK};

    arena_init(&arena, 64 * 1024 * 1024, 4096, NULL);
    enum error_code is_code = json_index_read(&is, text, depth_max, memory, &arena, &is_error);
    enum error_code want_code = json_index_read(&want, text, depth_max, NULL, &arena, &want_error);
    if (is_code != want_code || strcmp(is_error.detail, want_error.detail) != 0)
        fail_msg("%d %s instead of %d %s", is_code, is_error.detail, want_code, want_error.detail);
    if (is_code == OK) {
        assert_int_equal(is.n, want.n);
        assert_int_equal(is.open, want.open);
        assert_int_equal(is.close, want.close);
        for (size_t i = 0; i < is.n; i++)
            check_member(&is.members[i], &want.members[i]);
    }
    arena_fini(&arena);
    return is_code == OK;
}

/* A conversation of some turns; tools behind it, or before. */
static void make_text(struct buf *b, int turns, int tools, const char *head, const char *tail)
{
    buf_reset(b);
    (void)buf_print(b, "{%s\"model\" : \"m\",\"messages\":[", head);
    for (int i = 0; i < turns; i++)
        (void)buf_print(b,
                        "%s{\"role\":\"%s\",\"content\":[{\"type\":\"text\",\"text\":\"turn %d "
                        "says\\n \\\"something\\\" — and more of it, and more\"}]}",
                        i == 0 ? "" : " , ", i % 2 == 0 ? "user" : "assistant", i);
    (void)buf_add(b, STR(" ],\"tools\":["));
    for (int i = 0; i < tools; i++)
        (void)buf_print(b,
                        "%s{\"type\":\"function\",\"function\":{\"name\":\"f%d\",\"parameters\":"
                        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}",
                        i == 0 ? "" : ",", i);
    (void)buf_print(b, "]%s}", tail);
    assert_true(buf_ok(b));
}

/* Catches: a text that is read on from a mark and gives other members, or another error. */
static void test_conversations(void **state)
{
    static const struct {
        const char *head;
        const char *tail;
        bool valid;
    } cases[] = {
        {"", "", true},
        {"", ",\"stream\":true", true},
        {"", ",\"stream\":true , \"user\":null", true},
        {"", ",\"model\":\"other\"", false},
        {"", ",\"messages\":[]", false},
        {"", ",\"mod\\u0065l\":1", false},
        {"", ",\"tools\":1", false},
        {"", ",", false},
        {"", "]", false},
        {"", "}", false},
        {"", "}{", false},
        {"", ",\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
         false},
        {"\"x\":{\"deep\":[1,{\"a\":2}]},", "", true},
        {"\"\\u0078\":1,", ",\"stream\":true", true},
        {"\"\\u0078\":1,", ",\"x\":true", false},
    };
    struct json_memory *memory = json_memory_new();
    struct buf b;

    (void)state;
    buf_init(&b, TEXT_MAX);
    for (int turns = 60; turns < 90; turns++) {
        for (size_t i = 0; i < COUNT_OF(cases); i++) {
            make_text(&b, turns, turns % 4 * 30, cases[i].head, cases[i].tail);
            if (compare(memory, buf_str(&b), DEPTH) != cases[i].valid)
                fail_msg("%d turns, case %zu", turns, i);
            (void)compare(memory, buf_str(&b), 6); /* what another depth found valid is not */
            (void)compare(memory, buf_str(&b), 4);
        }
    }
    buf_fini(&b);
    json_memory_free(&memory);
}

/* Catches: a mark that is believed although the text before it is another. */
static void test_mutations(void **state)
{
    static const char bytes[] = "\"\\{}[]:,x0 \n\x01\x80\xE2n";
    struct json_memory *memory = json_memory_new();
    struct buf b;
    uint32_t seed = 5;

    (void)state;
    buf_init(&b, TEXT_MAX);
    make_text(&b, 80, 40, "", "");
    assert_true(compare(memory, buf_str(&b), DEPTH));
    for (int i = 0; i < MUTATIONS / 20; i++) {
        seed = seed * 1664525 + 1013904223;
        size_t at = seed % b.n;
        char was = b.p[at];
        b.p[at] = bytes[(seed >> 20) % (sizeof(bytes) - 1)];
        (void)compare(memory, buf_str(&b), DEPTH);
        /* And cut, anywhere. */
        (void)compare(memory, str_head(buf_str(&b), (seed >> 3) % b.n), DEPTH);
        b.p[at] = was;
    }
    /* The last bytes are what is read on from a mark: each one, each way. */
    for (size_t at = b.n - 200; at < b.n; at++) {
        char was = b.p[at];
        for (size_t k = 0; k + 1 < sizeof(bytes); k++) {
            b.p[at] = bytes[k];
            (void)compare(memory, buf_str(&b), DEPTH);
        }
        b.p[at] = was;
    }
    buf_fini(&b);
    json_memory_free(&memory);
}

/* Catches: a memory that is never used, or used where it must not be. */
static void test_found(void **state)
{
    struct json_memory *memory = json_memory_new();
    struct json_memory *other = json_memory_new();
    const struct json_mark *mark;
    struct buf b;

    (void)state;
    buf_init(&b, TEXT_MAX);
    make_text(&b, 80, 0, "", "");
    assert_null(json_memory_find(memory, buf_str(&b), DEPTH));
    assert_true(compare(memory, buf_str(&b), DEPTH));
    mark = json_memory_find(memory, buf_str(&b), DEPTH);
    assert_non_null(mark);
    size_t first = mark->at;
    assert_true(first > 8 * 1024 && first < b.n);
    assert_null(json_memory_find(memory, buf_str(&b), DEPTH + 1));
    assert_null(json_memory_find(other, buf_str(&b), DEPTH));
    assert_null(json_memory_find(memory, str_head(buf_str(&b), first - 1), DEPTH));
    /* The next turn begins where this one ended. */
    make_text(&b, 81, 0, "", "");
    mark = json_memory_find(memory, buf_str(&b), DEPTH);
    assert_non_null(mark);
    assert_int_equal(mark->at, first);
    assert_true(compare(memory, buf_str(&b), DEPTH));
    mark = json_memory_find(memory, buf_str(&b), DEPTH);
    assert_non_null(mark);
    assert_true(mark->at > first);
    b.p[first / 2] ^= 1;
    assert_null(json_memory_find(memory, buf_str(&b), DEPTH));
    /* Short ones are not worth it. */
    make_text(&b, 3, 0, "", "");
    assert_true(compare(memory, buf_str(&b), DEPTH));
    assert_null(json_memory_find(memory, buf_str(&b), DEPTH));
    buf_fini(&b);
    json_memory_free(&memory);
    json_memory_free(&other);
    json_memory_free(&other);
}

/* Catches: a root with very many members, or keys with escapes, remembered by half. */
static void test_many_members(void **state)
{
    struct json_memory *memory = json_memory_new();
    struct buf b;

    (void)state;
    buf_init(&b, TEXT_MAX);
    for (int members = 28; members < 40; members++) {
        for (int round = 0; round < 3; round++) {
            buf_reset(&b);
            (void)buf_add_char(&b, '{');
            for (int i = 0; i < members; i++)
                (void)buf_print(&b, "\"k%d\":[%d],", i, i);
            (void)buf_add(&b, STR("\"list\":["));
            for (int i = 0; i < 2000; i++)
                (void)buf_print(&b, "%s%d", i == 0 ? "" : ",", i);
            (void)buf_print(&b, "],\"round\":%d}", round);
            assert_true(compare(memory, buf_str(&b), DEPTH));
        }
    }
    buf_fini(&b);
    json_memory_free(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversations),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_many_members),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
