/* SPDX-License-Identifier: MIT */
#include "canon/needles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"

enum { NEEDLES_MAX = 4, NONE = -1 };

struct row {
    const char *text;
    struct str needles[NEEDLES_MAX];
    int which; /* NONE: not found */
    const char *before;
};

#define N(literal) STR_INIT(literal)

static const struct row rows[] = {
    {"", {N("a")}, NONE, ""},
    {"abc", {N("")}, NONE, "abc"},
    {"hello END of", {N("END")}, 0, "hello "},
    {"END", {N("END")}, 0, ""},
    {"hello EN", {N("END")}, NONE, "hello EN"},
    {"EEND", {N("END")}, 0, "E"},
    {"aaab", {N("aab")}, 0, "a"},
    {"ababac", {N("abac")}, 0, "ab"},
    {"ENENEND", {N("END")}, 0, "ENEN"},
    /* What ends first; at one place, the longest. */
    {"abcd", {N("abcd"), N("bc")}, 1, "a"},
    {"xabcd", {N("bcd"), N("abcd")}, 1, "x"},
    {"abce", {N("abcd"), N("ce")}, 1, "ab"},
    {"ab", {N("abc"), N("a")}, 1, ""},
    {"a\nb", {N("x"), N("\n"), N("\n\n")}, 1, "a"},
    {"she", {N("he"), N("she"), N("hers")}, 1, ""},
    {"usher", {N("hers"), N("er")}, 1, "ush"},
    /* Equal ones: the first. */
    {"ab", {N("b"), N("b")}, 0, "a"},
    /* Characters of several bytes. */
    {"gr\xc3\xa8s", {N("\xc3\xa9")}, NONE, "gr\xc3\xa8s"},
    {"gr\xc3\xa9s", {N("\xc3\xa9s")}, 0, "gr"},
};

static const struct needles *make(const struct row *row, struct arena *arena)
{
    size_t n = 0;

    while (n < NEEDLES_MAX && !str_is_null(row->needles[n]))
        n++;
    const struct needles *needles = needles_new(row->needles, n, arena);
    assert_non_null(needles);
    return needles;
}

/* Pieces end at the cuts (bits of mask); what is let go is added up. */
static int search(const struct needles *needles, struct str text, uint32_t mask, struct buf *before)
{
    uint32_t state = NEEDLES_BEGIN;
    size_t begin = 0;

    for (size_t end = 1; end <= text.n; end++) {
        struct needles_found found;
        if (end < text.n && (mask >> (end - 1) & 1) == 0)
            continue;
        bool match = needles_feed(needles, &state, str_of(text.p + begin, end - begin), &found);
        buf_add(before, found.held);
        buf_add(before, found.text);
        begin = end;
        if (!match)
            continue;
        assert_int_equal(state, NEEDLES_BEGIN);
        assert_ptr_equal(found.rest.p + found.rest.n, text.p + end);
        return (int)found.which;
    }
    buf_add(before, needles_held(needles, state));
    return NONE;
}

/* However the text is cut. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t r = 0; r < COUNT_OF(rows); r++) {
        const struct row *row = &rows[r];
        struct str text = str_c(row->text);
        struct arena arena;
        arena_init(&arena, 1024 * 1024, 1024, NULL);
        const struct needles *needles = make(row, &arena);
        for (uint32_t mask = 0; mask < 1u << (text.n == 0 ? 0 : text.n - 1); mask++) {
            struct buf before;
            buf_init(&before, 1024);
            int which = search(needles, text, mask, &before);
            if (which != row->which || !str_eq(buf_str(&before), str_c(row->before)))
                fail_msg("'%s', cut %x: %d after '%.*s'", row->text, mask, which,
                         STR_ARG(buf_str(&before)));
            buf_fini(&before);
        }
        arena_fini(&arena);
    }
}

/* The plain way: at each end, the longest that ends there. */
static int plainly(const struct str *needles, size_t n, struct str text, size_t *ret_before)
{
    for (size_t end = 1; end <= text.n; end++) {
        int best = NONE;
        for (size_t i = 0; i < n; i++) {
            if (needles[i].n > 0 && str_ends(str_head(text, end), needles[i]) &&
                (best == NONE || needles[i].n > needles[best].n))
                best = (int)i;
        }
        if (best != NONE) {
            *ret_before = end - needles[best].n;
            return best;
        }
    }
    *ret_before = text.n;
    return NONE;
}

/* Needles and texts of few letters, so that they overlap in all ways. */
static void test_against_plain(void **state)
{
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 5000; round++) {
        char letters[NEEDLES_MAX][8];
        char bytes[24];
        struct str needles[NEEDLES_MAX];
        struct arena arena;
        struct buf before;
        size_t wanted;
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)('a' + ((seed = seed * 1103515245u + 12345u) >> 16) % 3);
        for (size_t i = 0; i < NEEDLES_MAX; i++) {
            size_t n = ((seed = seed * 1103515245u + 12345u) >> 16) % sizeof(letters[i]);
            for (size_t k = 0; k < n; k++)
                letters[i][k] = (char)('a' + ((seed = seed * 1103515245u + 12345u) >> 16) % 3);
            needles[i] = str_of(letters[i], n);
        }
        struct str text = str_of(bytes, sizeof(bytes));
        arena_init(&arena, 1024 * 1024, 1024, NULL);
        buf_init(&before, 1024);
        int which = search(needles_new(needles, NEEDLES_MAX, &arena), text, seed, &before);
        int plain = plainly(needles, NEEDLES_MAX, text, &wanted);
        if (plain != NONE && which != NONE && str_eq(needles[plain], needles[which]))
            which = plain;
        assert_int_equal(which, plain);
        assert_true(str_eq(buf_str(&before), str_head(text, wanted)));
        buf_fini(&before);
        arena_fini(&arena);
    }
}

static void test_full(void **state)
{
    static char text[4096];
    const struct str needle = {text, sizeof(text)};
    struct arena arena;

    (void)state;
    memset(text, 'a', sizeof(text));
    arena_init(&arena, 4096, 1024, NULL);
    assert_null(needles_new(&needle, 1, &arena));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_against_plain),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
