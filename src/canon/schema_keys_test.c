/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/schema_priv.h"

/* Each name finds itself: the table of lengths is kept by hand. */
static void test_each_is_found(void **state)
{
    (void)state;
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        struct str name = schema_keys_name((enum schema_key)key);
        assert_true(name.n > 0);
        assert_int_equal(schema_keys_find(name), key);
        assert_true(key == 0 || schema_keys_name((enum schema_key)(key - 1)).n <= name.n);
    }
}

static void test_others_are_not(void **state)
{
    static const char *const others[] = {
        "",       "x",       "$ref",    "Type",        "allOf",
        "items ", "formats", "$anchox", "descriptiom", "a name that is longer than any keyword"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_int_equal(schema_keys_find(str_c(others[i])), KEY_COUNT);
    assert_int_equal(schema_keys_find(STR_NULL), KEY_COUNT);
}

static yyjson_val *read(const char *text, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 0};

    return json_read(str_c(text), &options, arena, NULL);
}

/* Of the last layer that has it; of two in one layer the first. */
static void test_last_layer_counts(void **state)
{
    struct schema_layers l = {.n = 2};
    struct arena arena;

    (void)state;
    arena_init(&arena, 1 << 20, 4096, NULL);
    l.nodes[0] = read("{\"type\":\"a\",\"title\":\"b\"}", &arena);
    l.nodes[1] = read("{\"title\":\"c\",\"x\":1,\"title\":\"d\"}", &arena);
    l.values[KEY_FORMAT] = l.nodes[0];
    schema_keys_read(&l);
    assert_true(str_eq(json_str(l.values[KEY_TYPE]), STR("a")));
    assert_true(str_eq(json_str(l.values[KEY_TITLE]), STR("c")));
    assert_null(l.values[KEY_FORMAT]);
    for (unsigned key = 0; key < KEY_COUNT; key++)
        assert_ptr_equal(l.values[key], schema_get(&l, schema_keys_name((enum schema_key)key)));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_found),
        cmocka_unit_test(test_others_are_not),
        cmocka_unit_test(test_last_layer_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
