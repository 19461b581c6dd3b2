/* SPDX-License-Identifier: MIT */
/* What a schema says together: references, branches, bounds; and schemas that have no end. */
#include "backend/demo_layers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"

enum { ARENA_MAX = 16 * 1024 * 1024 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* A schema of which ' are quotes. */
static struct demo_schema schema_of(const char *text)
{
    const struct json_read_options options = {.depth_max = 1000};
    size_t n = strlen(text);
    char *json = arena_alloc(&arena, n + 1);
    struct error e;

    for (size_t i = 0; i < n; i++)
        json[i] = text[i] == '\'' ? '"' : text[i];
    struct demo_schema s = {.root = json_read(str_of(json, n), &options, &arena, &e),
                            .arena = &arena};
    if (s.root == NULL)
        fail_msg("%s: %s", text, e.detail);
    return s;
}

static const struct {
    const char *schema;
    unsigned types;
    bool impossible;
    bool failed;
} rows[] = {
    {"{}", DEMO_TYPE_ALL, false, false},
    {"true", DEMO_TYPE_ALL, false, false},
    {"false", DEMO_TYPE_ALL, true, false},
    {"{'type':'number'}", DEMO_TYPE_NUMBER | DEMO_TYPE_INTEGER, false, false},
    {"{'type':'STRING'}", DEMO_TYPE_STRING, false, false},
    {"{'type':'none of these'}", DEMO_TYPE_ALL, false, false},
    {"{'type':['string','null']}", DEMO_TYPE_STRING | DEMO_TYPE_NULL, false, false},
    {"{'type':'string','nullable':true}", DEMO_TYPE_STRING | DEMO_TYPE_NULL, false, false},
    {"{'allOf':[{'type':['string','integer']},{'type':'number'}]}", DEMO_TYPE_INTEGER, false,
     false},
    {"{'allOf':[{'type':'string'},{'type':'number'}]}", 0, false, false},
    {"{'allOf':[{},false]}", DEMO_TYPE_ALL, true, false},
    /* Branches: the first that is possible, null last. */
    {"{'anyOf':[{'type':'null'},{'type':'string'}]}", DEMO_TYPE_STRING, false, false},
    {"{'anyOf':[{'type':'null'}]}", DEMO_TYPE_NULL, false, false},
    {"{'type':'array','oneOf':[{'type':'string'},{'type':['array','null']}]}", DEMO_TYPE_ARRAY,
     false, false},
    {"{'type':'array','oneOf':[{'type':'string'},false]}", DEMO_TYPE_ARRAY, true, false},
    {"{'anyOf':[]}", DEMO_TYPE_ALL, false, false},
    /* References. */
    {"{'$ref':'#/$defs/a','$defs':{'a':{'type':'boolean'}}}", DEMO_TYPE_BOOLEAN, false, false},
    {"{'$ref':'#/$defs/a~1b~0c%20d','$defs':{'a/b~c d':{'type':'boolean'}}}", DEMO_TYPE_BOOLEAN,
     false, false},
    {"{'$ref':'#/allOf/1','allOf':[{},{'type':'object'}]}", DEMO_TYPE_OBJECT, false, false},
    {"{'$ref':'#'}", DEMO_TYPE_ALL, false, false},
    {"{'$ref':'#/$defs/a','$defs':{'a':{'$ref':'#/$defs/b'},'b':{'$ref':'#/$defs/a'}}}",
     DEMO_TYPE_ALL, false, false},
    {"{'$ref':'#/$defs/none'}", DEMO_TYPE_ALL, false, true},
    {"{'$ref':'#anchor'}", DEMO_TYPE_ALL, false, true},
    {"{'$ref':'https://example.com/schema'}", DEMO_TYPE_ALL, false, true},
    {"{'$ref':'#/allOf/9','allOf':[{}]}", DEMO_TYPE_ALL, false, true},
    {"{'$ref':'#/allOf/-1','allOf':[{}]}", DEMO_TYPE_ALL, false, true},
};

static void test_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct demo_schema s = schema_of(rows[i].schema);
        struct demo_layers layers = demo_layers_of(&s, s.root);
        if (s.failed != rows[i].failed || layers.impossible != rows[i].impossible ||
            demo_layers_types(&layers) != rows[i].types)
            fail_msg("%s: types %u%s%s", rows[i].schema, demo_layers_types(&layers),
                     layers.impossible ? " impossible" : "", s.failed ? " failed" : "");
    }
}

static void test_bounds(void **state)
{
    struct demo_schema s = schema_of("{'minimum':1,'maxItems':7,'minLength':-3,'allOf':["
                                     "{'minimum':2.5,'maxItems':4},{'maxItems':1e300}]}");

    (void)state;
    struct demo_layers layers = demo_layers_of(&s, s.root);
    assert_int_equal(layers.n, 3);
    assert_true(demo_layers_bound(&layers, STR("minimum"), true, -1) == 2.5);
    assert_true(isinf(demo_layers_bound(&layers, STR("maximum"), false, HUGE_VAL)));
    assert_int_equal(demo_layers_count(&layers, STR("maxItems"), false, 99), 4);
    assert_int_equal(demo_layers_count(&layers, STR("minLength"), true, 0), 0);
    assert_int_equal(demo_layers_count(&layers, STR("minItems"), true, 3), 3);
    assert_int_equal(demo_layers_count(&layers, STR("maxLength"), false, SIZE_MAX), SIZE_MAX);
    assert_true(demo_layers_say(&layers, STR("minimum")));
    assert_false(demo_layers_say(&layers, STR("maximum")));
    s = schema_of("{'maxItems':1e300,'minItems':1e300}");
    layers = demo_layers_of(&s, s.root);
    assert_int_equal(demo_layers_count(&layers, STR("maxItems"), false, 5), 5);
    assert_int_equal(demo_layers_count(&layers, STR("minItems"), true, 0), UINT32_MAX);
}

/* Of members and elements all layers are asked. */
static void test_inner(void **state)
{
    struct demo_schema s = schema_of(
        "{'properties':{'a':{'type':['string','integer']}},'additionalProperties':{'type':'null'},"
        "'allOf':[{'properties':{'a':{'type':'integer'}}}],"
        "'prefixItems':[{'type':'string'}],'items':{'type':'boolean'},'contains':{'minLength':3}}");

    (void)state;
    struct demo_layers layers = demo_layers_of(&s, s.root);
    struct demo_layers inner = demo_layers_of_member(&s, &layers, STR("a"));
    assert_int_equal(demo_layers_types(&inner), DEMO_TYPE_INTEGER);
    inner = demo_layers_of_member(&s, &layers, STR("b"));
    assert_int_equal(demo_layers_types(&inner), DEMO_TYPE_NULL);
    inner = demo_layers_of_element(&s, &layers, 0);
    assert_int_equal(demo_layers_types(&inner), DEMO_TYPE_STRING);
    assert_true(demo_layers_say(&inner, STR("minLength")));
    inner = demo_layers_of_element(&s, &layers, 1);
    assert_int_equal(demo_layers_types(&inner), DEMO_TYPE_BOOLEAN);
    assert_false(demo_layers_say(&inner, STR("minLength")));
    /* As it was before 2020. */
    s = schema_of("{'items':[{'type':'string'}],'additionalItems':{'type':'null'}}");
    layers = demo_layers_of(&s, s.root);
    inner = demo_layers_of_element(&s, &layers, 0);
    assert_int_equal(demo_layers_types(&inner), DEMO_TYPE_STRING);
    inner = demo_layers_of_element(&s, &layers, 1);
    assert_int_equal(demo_layers_types(&inner), DEMO_TYPE_NULL);
}

/* More layers, deeper, or more work than is done: it fails, and ends. */
static void test_no_end(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, ARENA_MAX);
    /* Layers beside each other. */
    for (int n = DEMO_LAYERS_MAX - 1; n <= DEMO_LAYERS_MAX; n++) {
        buf_reset(&text);
        (void)buf_add(&text, STR("{'allOf':["));
        for (int i = 0; i < n; i++)
            (void)buf_print(&text, "%s{'minimum':%d}", i == 0 ? "" : ",", i);
        (void)buf_add(&text, STR("]}"));
        (void)buf_add_char(&text, '\0');
        struct demo_schema s = schema_of(text.p);
        (void)demo_layers_of(&s, s.root);
        assert_int_equal(s.failed, n == DEMO_LAYERS_MAX);
    }
    /* Branches within branches, none of them possible: as many as two to the power of twenty. */
    buf_reset(&text);
    for (int i = 0; i < 20; i++)
        (void)buf_print(&text,
                        "%s'l%d':{'anyOf':[{'allOf':[{'$ref':'#/$defs/l%d'}]},"
                        "{'title':'x','allOf':[{'$ref':'#/$defs/l%d'}]}]}",
                        i == 0 ? "{'$ref':'#/$defs/l0','$defs':{" : ",", i, i + 1, i + 1);
    (void)buf_add(&text, STR(",'l20':false}}"));
    (void)buf_add_char(&text, '\0');
    struct demo_schema s = schema_of(text.p);
    struct demo_layers layers = demo_layers_of(&s, s.root);
    assert_true(s.failed || layers.impossible);
    buf_fini(&text);
    /* What has failed does no more. */
    s.failed = true;
    size_t before = s.steps;
    (void)demo_layers_of(&s, s.root);
    assert_true(s.steps <= before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_inner, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
