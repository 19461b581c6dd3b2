/* SPDX-License-Identifier: MIT */
#include "state/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define ARENA_BYTES (256 * 1024)

static bool is(struct str s, const char *wanted)
{
    return wanted == NULL ? str_is_null(s) : !str_is_null(s) && str_eq(s, str_c(wanted));
}

#define A_TEXT "\"text\" \\ of %s\n\xc3\xa9"

/* One with every setting set, of each kind by its number. */
static void fill(struct settings *settings, struct arena *arena)
{
    settings_init(settings);
#define FILL_text(field)          settings->field = str_print(arena, A_TEXT, #field);
#define FILL_count(field)         settings->field = SETTING_##field * 1000;
#define FILL_flag(field)          settings->field = SETTING_##field & 1;
#define SETTING(kind, field, key) FILL_##kind(field)
#include "state/setting.def"
#undef SETTING
}

static void test_init(void **state)
{
    struct settings settings;
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    memset(&settings, 1, sizeof(settings));
    settings_init(&settings);
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        assert_false(settings_is_set(&settings, i));
        assert_true(str_is_null(settings_value(&settings, i, &arena)));
    }
    assert_string_equal(settings_key(SETTING_project_dir), "project-dir");
    assert_string_equal(settings_key(SETTING_redact_api_keys), "redact-api-keys-in-prompts");
    arena_fini(&arena);
}

static void test_values(void **state)
{
    struct settings settings;
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    settings_init(&settings);
    settings.temperature = STR("0.20");
    settings.thinking_budget = 0;
    settings.tool_loop_ttl = 300;
    settings.interactive = 0;
    settings.loop_detection = 1;
    settings.project = STR("");
    assert_true(is(settings_value(&settings, SETTING_temperature, &arena), "0.20"));
    assert_true(is(settings_value(&settings, SETTING_thinking_budget, &arena), "0"));
    assert_true(is(settings_value(&settings, SETTING_tool_loop_ttl, &arena), "300"));
    assert_true(is(settings_value(&settings, SETTING_interactive, &arena), "false"));
    assert_true(is(settings_value(&settings, SETTING_loop_detection, &arena), "true"));
    assert_true(is(settings_value(&settings, SETTING_project, &arena), ""));
    assert_true(is(settings_value(&settings, SETTING_backend, &arena), NULL));
    arena_fini(&arena);
}

/* Each setting alone: what is in the mask changes, also to "not set", and nothing else does. */
static void test_merge(void **state)
{
    struct settings all;
    struct settings none;
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    fill(&all, &arena);
    settings_init(&none);
    for (enum setting i = 0; i < SETTING_COUNT; i++) {
        struct settings one = none;
        settings_merge(&one, &all, 1u << i);
        for (enum setting j = 0; j < SETTING_COUNT; j++)
            assert_int_equal(settings_is_set(&one, j), i == j);
        assert_false(settings_equal(&one, &none));
        struct settings rest = all;
        settings_merge(&rest, &none, 1u << i);
        for (enum setting j = 0; j < SETTING_COUNT; j++)
            assert_int_equal(settings_is_set(&rest, j), i != j);
        assert_false(settings_equal(&rest, &all));
        settings_merge(&rest, &all, 1u << i);
        assert_true(settings_equal(&rest, &all));
    }
    arena_fini(&arena);
}

static void test_equal(void **state)
{
    struct settings a;
    struct settings b;

    (void)state;
    settings_init(&a);
    settings_init(&b);
    assert_true(settings_equal(&a, &b));
    a.project = STR("");
    assert_false(settings_equal(&a, &b));
    b.project = STR("x");
    assert_false(settings_equal(&a, &b));
    a.project = STR("x");
    assert_true(settings_equal(&a, &b));
    a.interactive = 1;
    b.interactive = 0;
    assert_false(settings_equal(&a, &b));
    b.interactive = 1;
    a.thinking_budget = 1;
    b.thinking_budget = 2;
    assert_false(settings_equal(&a, &b));
}

/* Copies hold none of the source's text. */
static void test_copies(void **state)
{
    struct settings all;
    struct settings copy;
    struct settings packed;
    struct arena source;
    struct arena arena;

    (void)state;
    arena_init(&source, ARENA_BYTES, 1024, NULL);
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    fill(&all, &source);
    settings_copy(&all, &arena, &copy);
    size_t n = settings_text_bytes(&all);
    char *text = arena_alloc(&arena, n + 1);
    text[n] = '#';
    settings_pack(&all, text, &packed);
    assert_true(settings_equal(&all, &copy) && settings_equal(&all, &packed));
    assert_int_equal(text[n], '#');
    memset((char *)(uintptr_t)all.backend.p, 'z', all.backend.n);
    assert_false(settings_equal(&all, &copy));
    assert_true(settings_equal(&copy, &packed));
    arena_fini(&source);
    assert_true(settings_equal(&copy, &packed));
    arena_fini(&arena);
}

static void test_json(void **state)
{
    struct settings all;
    struct settings read;
    struct arena arena;
    struct error e;
    struct buf out;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    buf_init(&out, 64 * 1024);
    settings_init(&all);
    assert_true(settings_write(&all, &out));
    assert_true(is(buf_str(&out), "{}"));
    buf_reset(&out);
    all.backend = STR("openai");
    all.thinking_budget = 1024;
    all.interactive = 0;
    assert_true(settings_write(&all, &out));
    assert_true(is(buf_str(&out),
                   "{\"backend\":\"openai\",\"interactive\":false,\"thinking-budget\":1024}"));
    buf_reset(&out);
    fill(&all, &arena);
    assert_true(settings_write(&all, &out));
    assert_int_equal(settings_read(buf_str(&out), &arena, &read, &e), OK);
    assert_true(settings_equal(&all, &read));
    buf_fini(&out);
    /* A newer program's members, and nulls. */
    assert_int_equal(settings_read(STR("{\"newer\":{\"a\":[[[[1]]]]},\"model\":null,"
                                       "\"backend\":\"b\"}"),
                                   &arena, &read, &e),
                     OK);
    assert_true(is(read.backend, "b") && str_is_null(read.model));
    /* What does not fit is said to be so. */
    buf_init(&out, 10);
    assert_false(settings_write(&all, &out));
    buf_fini(&out);
    arena_fini(&arena);
}

static void test_broken_json(void **state)
{
    static const char *const broken[] = {
        "",
        "{",
        "[]",
        "null",
        "\"backend\"",
        "{\"backend\":1}",
        "{\"backend\":{}}",
        "{\"backend\":\"\xff\"}",
        "{\"interactive\":\"true\"}",
        "{\"interactive\":1}",
        "{\"thinking-budget\":\"1\"}",
        "{\"thinking-budget\":-1}",
        "{\"thinking-budget\":1.5}",
        "{\"thinking-budget\":99999999999999999999}",
        "{\"backend\":\"a\"}x",
    };
    struct settings read;
    struct arena arena;
    struct error e;

    (void)state;
    arena_init(&arena, ARENA_BYTES, 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        if (settings_read(str_c(broken[i]), &arena, &read, &e) != ERR_BAD_REQUEST)
            fail_msg("%s was read", broken[i]);
        arena_rewind(&arena);
    }
    arena_fini(&arena);
    /* No room. */
    arena_init(&arena, 512, 512, NULL);
    char *large = mem_raw(100000);
    memset(large, 'x', 100000);
    memcpy(large, "{\"model\":\"", 10);
    memcpy(large + 99998, "\"}", 2);
    assert_int_not_equal(settings_read(str_of(large, 100000), &arena, &read, &e), OK);
    mem_free(large);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),        cmocka_unit_test(test_values),
        cmocka_unit_test(test_merge),       cmocka_unit_test(test_equal),
        cmocka_unit_test(test_copies),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_broken_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
