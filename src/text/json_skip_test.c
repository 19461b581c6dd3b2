/* SPDX-License-Identifier: MIT */
#include "text/json_skip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

/* The same a byte at a time. */
static size_t plain_string(struct str s, size_t at)
{
    for (size_t i = at + 1; i < s.n; i++) {
        if (s.p[i] == '"')
            return i + 1;
        if (s.p[i] == '\\')
            i++;
    }
    return SIZE_MAX;
}

static size_t plain_container(struct str s, size_t at)
{
    size_t depth = 0;

    while (at < s.n) {
        char c = s.p[at];
        if (c == '"') {
            at = plain_string(s, at);
            continue;
        }
        at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return at;
    }
    return SIZE_MAX;
}

struct seed {
    uint32_t value;
};

static uint32_t next(struct seed *seed, uint32_t below)
{
    seed->value = seed->value * 1664525 + 1013904223;
    return (seed->value >> 8) % below;
}

static size_t put_string(struct seed *seed, char *p)
{
    size_t n = next(seed, 8) == 0 ? next(seed, 200) : next(seed, 20);
    size_t at = 0;

    p[at++] = '"';
    for (size_t i = 0; i < n; i++) {
        char c = "abc{}[],: \"\\\\\\\xc3"[next(seed, 15)];
        if (c == '"' || c == '\\')
            p[at++] = '\\';
        p[at++] = c;
    }
    p[at++] = '"';
    return at;
}

/* An array of strings and arrays, whatever stands in the strings. */
static size_t put_array(struct seed *seed, char *p, int depth)
{
    size_t n = next(seed, 4);
    bool square = next(seed, 2) == 0;
    size_t at = 0;

    p[at++] = square ? '[' : '{';
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            p[at++] = ',';
        at += depth > 0 && next(seed, 2) == 0 ? put_array(seed, p + at, depth - 1)
                                              : put_string(seed, p + at);
    }
    p[at++] = square ? ']' : '}';
    return at;
}

/* Each value's end is found, with whatever follows it, and wherever it is cut. */
static void test_as_byte_by_byte(void **state)
{
    enum { ROOM = 128 * 1024 };
    char *text = mem_raw(ROOM);
    struct seed seed = {7};

    (void)state;
    for (int round = 0; round < 3000; round++) {
        bool array = next(&seed, 2) == 0;
        size_t before = next(&seed, 70);
        memset(text, ' ', before);
        size_t n = before +
                   (array ? put_array(&seed, text + before, 4) : put_string(&seed, text + before));
        size_t more = put_string(&seed, text + n);
        assert_true(n + more <= ROOM);
        struct str all = str_of(text, n + more);
        size_t end = array ? json_skip_container(all, before) : json_skip_string(all, before);
        assert_int_equal(end, n);
        assert_int_equal(end, array ? plain_container(all, before) : plain_string(all, before));
        for (int i = 0; i < 5; i++) {
            /* A copy of its own, so that a sanitizer sees what is read behind it. */
            size_t cut = 1 + next(&seed, (uint32_t)(n - before - 1));
            char *copy = mem_raw(cut);
            memcpy(copy, text + before, cut);
            struct str part = str_of(copy, cut);
            assert_true((array ? json_skip_container(part, 0) : json_skip_string(part, 0)) ==
                        SIZE_MAX);
            mem_free(copy);
        }
    }
    mem_free(text);
}

/* What is no JSON ends within the text, or nowhere. */
static void test_any_bytes(void **state)
{
    char text[200];
    struct seed seed = {11};

    (void)state;
    for (int round = 0; round < 20000; round++) {
        size_t n = 1 + next(&seed, sizeof(text));
        for (size_t i = 0; i < n; i++)
            text[i] = "{}[]\"\\\\ab,"[next(&seed, 10)];
        bool array = next(&seed, 2) == 0;
        text[0] = array ? '[' : '"';
        struct str s = str_of(text, n);
        size_t end = array ? json_skip_container(s, 0) : json_skip_string(s, 0);
        assert_true(end == SIZE_MAX || (end > 0 && end <= n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_byte_by_byte),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
