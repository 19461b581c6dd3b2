/* SPDX-License-Identifier: MIT */
#include "canon/translation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void warnings_are(const struct translation *t, const char *wanted)
{
    struct buf out;

    buf_init(&out, 64 * 1024);
    translation_write_warnings(t, &out);
    if (!str_eq(buf_str(&out), str_c(wanted)))
        fail_msg("'%.*s' instead of '%s'", STR_ARG(buf_str(&out)), wanted);
    buf_fini(&out);
}

static void test_warnings(void **state)
{
    struct arena arena;
    char code[32];

    (void)state;
    arena_init(&arena, 64 * 1024, 1024, NULL);
    struct translation t = {.arena = &arena};
    warnings_are(&t, "");
    translation_warn(NULL, "dropped:x");
    translation_warn_of(NULL, "dropped:tool", STR("x"));
    translation_warn(&t, "dropped:top_k");
    translation_warn(&t, "changed:temperature");
    translation_warn(&t, "dropped:top_k");
    translation_warn_of(&t, "dropped:tool", STR("a,b\r\n\xc3\xa4 c"));
    translation_warn_of(&t, "dropped:tool", STR_NULL);
    warnings_are(&t, "dropped:top_k,changed:temperature,dropped:tool:a%2Cb%0D%0A%C3%A4%20c,"
                     "dropped:tool:");
    assert_false(translation_changes_answer(&t));
    for (int i = 0; i < 100; i++) {
        (void)snprintf(code, sizeof(code), "dropped:%d", i);
        translation_warn(&t, code);
    }
    assert_int_equal(t.warnings_n, TRANSLATION_WARNINGS_MAX);
    assert_true(str_eq(t.warnings[0], STR("dropped:top_k")));
    assert_true(str_eq(t.warnings[TRANSLATION_WARNINGS_MAX - 1], STR("more")));
    arena_fini(&arena);
}

/* Catches: memory taken for each of thousands of names, of which few are told. */
static void test_many_warnings(void **state)
{
    struct arena arena;
    char name[32];
    size_t bytes = 0;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    struct translation t = {.arena = &arena};
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(name, sizeof(name), "%d", i < 10000 ? 0 : i);
        translation_warn_of(&t, "dropped:tool", str_c(name));
        if (i == 9999 || i == 10000 + TRANSLATION_WARNINGS_MAX)
            assert_int_equal(t.warnings_n, i == 9999 ? 1 : TRANSLATION_WARNINGS_MAX);
        if (i == 10000 + TRANSLATION_WARNINGS_MAX)
            bytes = arena_bytes(&arena);
    }
    assert_in_range(bytes, 1, 8 * 1024);
    assert_int_equal(arena_bytes(&arena), bytes);
    assert_true(str_eq(t.warnings[TRANSLATION_WARNINGS_MAX - 1], STR("more")));
    arena_fini(&arena);
}

/* A name takes no more than so many bytes, and is never cut within one of its own. */
static void test_long_warnings(void **state)
{
    struct arena arena;
    char name[300];

    (void)state;
    memset(name, '\xe4', sizeof(name));
    for (size_t plain = 0; plain < 8; plain++) {
        arena_init(&arena, 64 * 1024, 1024, NULL);
        struct translation t = {.arena = &arena};
        memset(name, 'x', plain);
        translation_warn_of(&t, "dropped", str_of(name, sizeof(name)));
        struct str shown = str_from(t.warnings[0], strlen("dropped:"));
        assert_in_range(shown.n, 62, 64);
        assert_int_equal((shown.n - plain) % 3, 0);
        assert_true(str_ends(shown, STR("%E4")));
        arena_fini(&arena);
    }
}

static void test_names(void **state)
{
    struct arena arena;
    char name[8] = "ns.a";

    (void)state;
    arena_init(&arena, 64 * 1024, 1024, NULL);
    struct translation t = {.arena = &arena};
    assert_true(str_eq(translation_ours(&t, STR("f")), STR("f")));
    translation_rename(&t, str_c(name), STR("ns_a"));
    name[0] = 'x'; /* it was copied */
    translation_rename(&t, STR("b c"), STR("b_c"));
    translation_wrap(&t, STR("patch"));
    assert_true(str_eq(translation_ours(&t, STR("ns_a")), STR("ns.a")));
    assert_true(str_eq(translation_ours(&t, STR("b_c")), STR("b c")));
    assert_true(str_eq(translation_ours(&t, STR("ns.a")), STR("ns.a")));
    assert_true(translation_is_wrapped(&t, STR("patch")));
    assert_false(translation_is_wrapped(&t, STR("patc")));
    assert_true(translation_changes_answer(&t));
    arena_fini(&arena);
}

static void test_copy(void **state)
{
    const struct str stop[] = {STR("END"), STR("\n\n")};
    struct arena from;
    struct arena to;
    struct translation copy;

    (void)state;
    arena_init(&from, 64 * 1024, 1024, NULL);
    arena_init(&to, 64 * 1024, 1024, NULL);
    struct translation t = {.arena = &from};
    translation_copy(&t, &to, &copy);
    assert_false(translation_changes_answer(&copy));
    t.stop = stop;
    t.stop_n = COUNT_OF(stop);
    assert_true(translation_changes_answer(&t));
    t.stop_n = 0;
    t.json_tool = str_copy(&from, STR("json"));
    assert_true(translation_changes_answer(&t));
    t.stop_n = COUNT_OF(stop);
    translation_warn(&t, "dropped:seed");
    translation_rename(&t, STR("b c"), STR("b_c"));
    translation_wrap(&t, STR("patch"));
    translation_copy(&t, &to, &copy);
    arena_fini(&from);

    assert_int_equal(copy.stop_n, 2);
    assert_true(str_eq(copy.stop[0], STR("END")));
    assert_true(str_eq(copy.stop[1], STR("\n\n")));
    assert_true(str_eq(copy.json_tool, STR("json")));
    assert_true(str_eq(translation_ours(&copy, STR("b_c")), STR("b c")));
    assert_true(translation_is_wrapped(&copy, STR("patch")));
    warnings_are(&copy, "dropped:seed");
    arena_fini(&to);
}

/* Past its arena's cap nothing is kept by half. */
static void test_full(void **state)
{
    static char name[2000];
    struct arena arena;

    (void)state;
    memset(name, 'n', sizeof(name));
    arena_init(&arena, 1024, 512, NULL);
    struct translation t = {.arena = &arena};
    struct translation copy;
    const struct str stop[] = {str_of(name, sizeof(name))};
    translation_rename(&t, STR("a"), str_of(name, sizeof(name)));
    translation_wrap(&t, str_of(name, sizeof(name)));
    translation_warn(&t, "dropped:seed");
    translation_warn_of(&t, "dropped:tool", STR("x"));
    assert_true(arena_overflowed(&arena));
    assert_null(t.renamed);
    assert_null(t.wrapped);
    assert_int_equal(t.warnings_n, 0);
    const struct translation from = {.arena = &arena, .stop = stop, .stop_n = 1};
    translation_copy(&from, &arena, &copy);
    assert_int_equal(copy.stop_n, 0);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warnings),      cmocka_unit_test(test_long_warnings),
        cmocka_unit_test(test_many_warnings), cmocka_unit_test(test_names),
        cmocka_unit_test(test_copy),          cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
