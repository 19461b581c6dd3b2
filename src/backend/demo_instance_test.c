/* SPDX-License-Identifier: MIT */
/*
 * Catches: an instance that its schema does not accept (tests/e2e/demo.test.mjs holds random ones
 * against a validator), one that depends on anything but schema and message, a schema that takes
 * more time, depth or memory than it may.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/demo_instance.h"

#include "text/json.h"

enum { OUT_MAX = 64 * 1024, ARENA_MAX = 32 * 1024 * 1024 };

struct made {
    struct arena arena;
    struct buf out;
    bool ok;
};

static struct str make(struct made *made, const char *schema, const char *message)
{
    arena_init(&made->arena, ARENA_MAX, 4096, NULL);
    buf_init(&made->out, OUT_MAX);
    made->ok = demo_instance(str_c(schema), str_c(message), &made->arena, &made->out);
    return buf_str(&made->out);
}

static void made_fini(struct made *made)
{
    buf_fini(&made->out);
    arena_fini(&made->arena);
}

static const struct {
    const char *schema;
    const char *message;
    const char *instance;
} cases[] = {
    {NULL, NULL, "{}"},
    {"{}", "Hello", "\"demo\""},
    {"true", NULL, "\"demo\""},
    {"{\"type\":\"object\"}", NULL, "{}"},
    {"{\"type\":\"string\"}", NULL, "\"demo\""},
    {"{\"type\":\"integer\"}", NULL, "1"},
    {"{\"type\":\"integer\"}", "I want 7 of them.", "7"},
    {"{\"type\":\"integer\",\"maximum\":5}", "I want 7 of them", "1"},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":5}", NULL, "6"},
    {"{\"type\":\"integer\",\"minimum\":5,\"exclusiveMinimum\":true}", NULL, "6"},
    {"{\"type\":\"integer\",\"maximum\":-3}", NULL, "-3"},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":8}", NULL, "14"},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"maximum\":4}", NULL, "0"},
    {"{\"type\":\"integer\",\"multipleOf\":7,\"maximum\":-3}", NULL, "-7"},
    {"{\"type\":\"number\",\"minimum\":0.1,\"maximum\":0.2}", NULL, "0.1"},
    {"{\"type\":\"number\",\"multipleOf\":0.1,\"minimum\":0.25}", NULL, "0.3"},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}", NULL, "0.015625"},
    {"{\"type\":\"integer\",\"minimum\":0}", NULL, "0"},
    {"{\"type\":\"boolean\"}", NULL, "true"},
    {"{\"type\":\"null\"}", NULL, "null"},
    {"{\"type\":[\"null\",\"string\"]}", NULL, "\"demo\""},
    {"{\"type\":\"STRING\",\"nullable\":true}", NULL, "\"demo\""},
    {"{\"enum\":[\"a\",\"b\"]}", "b please", "\"a\""},
    {"{\"enum\":[1,\"b\"],\"type\":\"string\"}", NULL, "\"b\""},
    {"{\"const\":{\"x\":[1]}}", NULL, "{\"x\":[1]}"},
    {"{\"type\":\"string\",\"default\":\"here\"}", "Look in Paris", "\"here\""},
    {"{\"type\":\"string\",\"default\":3}", "Look in Paris", "\"Paris\""},
    {"{\"type\":\"integer\",\"examples\":[42]}", NULL, "42"},
    {"{\"type\":\"string\",\"minLength\":6}", NULL, "\"demo d\""},
    {"{\"type\":\"string\",\"maxLength\":2}", "Go to K\xC3\xB6ln", "\"K\xC3\xB6\""},
    {"{\"type\":\"string\",\"format\":\"date\"}", NULL, "\"2010-01-15\""},
    {"{\"type\":\"string\",\"pattern\":\"^[A-Z]{2}$\"}", NULL, "\"AA\""},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{}}}", NULL,
     "{\"a\":\"demo\"}"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{\"type\":\"integer\"}},\"required\":"
     "[\"b\",\"c\"],\"additionalProperties\":{\"type\":\"boolean\"}}",
     NULL, "{\"b\":1,\"c\":true}"},
    {"{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"query\":{\"type\":"
     "\"string\"},\"command\":{\"type\":\"string\"}},\"required\":[\"city\",\"query\","
     "\"command\"]}",
     "How warm is Rome?",
     "{\"city\":\"Rome\",\"query\":\"How warm is Rome?\",\"command\":\"echo demo\"}"},
    {"{\"type\":\"object\",\"minProperties\":2,\"properties\":{\"a\":{\"const\":1}}}", NULL,
     "{\"a\":1,\"member1\":\"demo\"}"},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"required\":"
     "[\"a\"],\"dependentRequired\":{\"a\":[\"b\"]}}",
     NULL, "{\"a\":1,\"b\":2}"},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", NULL, "[1]"},
    {"{\"type\":\"array\",\"maxItems\":0}", NULL, "[]"},
    {"{\"type\":\"array\",\"minItems\":3,\"uniqueItems\":true,\"items\":{\"type\":\"integer\","
     "\"minimum\":4}}",
     NULL, "[4,5,6]"},
    {"{\"type\":\"array\",\"minItems\":2,\"uniqueItems\":true,\"items\":{\"enum\":[\"x\",\"y\"]}}",
     NULL, "[\"x\",\"y\"]"},
    {"{\"type\":\"array\",\"minItems\":2,\"uniqueItems\":true,\"items\":{\"type\":\"string\","
     "\"pattern\":\"^a+$\"}}",
     NULL, "[\"a\",\"aa\"]"},
    {"{\"type\":\"array\",\"minItems\":3,\"prefixItems\":[{\"const\":1},{\"const\":2}],\"items\":"
     "{\"const\":3}}",
     NULL, "[1,2,3]"},
    {"{\"$ref\":\"#/$defs/a~1b\",\"$defs\":{\"a/b\":{\"type\":\"integer\",\"minimum\":9}}}", NULL,
     "9"},
    {"{\"allOf\":[{\"type\":\"number\",\"minimum\":3},{\"multipleOf\":2}]}", NULL, "4"},
    {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"integer\"}]}", NULL, "1"},
    {"{\"anyOf\":[false,{\"type\":\"boolean\"}]}", NULL, "true"},
    {"{\"type\":\"integer\",\"oneOf\":[{\"type\":\"string\"},{\"minimum\":30}]}", NULL, "30"},
    /* A list of itself ends where it may. */
    {"{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"$ref\":\"#\"}},"
     "\"required\":[\"v\"]}",
     NULL, "{\"v\":1}"},
};

static void instances(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct made made;
        struct str text = make(&made, cases[i].schema, cases[i].message);
        if (!made.ok || !str_eq(text, str_c(cases[i].instance)))
            fail_msg("%s: %d %.*s", cases[i].schema, made.ok, STR_ARG(text));
        made_fini(&made);
    }
}

/* What cannot be satisfied, or asks for too much, is said so, in bounded time. */
static void refused(void **state)
{
    static const char *const schemas[] = {
        "false",
        "[",
        "{\"type\":\"object\",\"properties\":{\"a\":false},\"required\":[\"a\"]}",
        "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}",
        "{\"enum\":[]}",
        "{\"type\":\"string\",\"enum\":[1]}",
        "{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}",
        "{\"type\":\"integer\",\"minimum\":0.2,\"maximum\":0.8}",
        "{\"type\":\"string\",\"minLength\":100000000}",
        "{\"type\":\"string\",\"pattern\":\"(\"}",
        "{\"type\":\"string\",\"pattern\":\"^a$\",\"minLength\":5}",
        "{\"type\":\"array\",\"minItems\":1000000000}",
        "{\"$ref\":\"#/nowhere\"}",
        "{\"$ref\":\"https://example.com/\"}",
        "{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
        ("{\"type\":\"array\",\"minItems\":90,\"items\":{\"type\":\"array\",\"minItems\":90,"
         "\"items\":{\"type\":\"array\",\"minItems\":90}}}"),
        "{\"type\":\"object\",\"minProperties\":100000}",
        "{\"anyOf\":[false]}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(schemas); i++) {
        struct made made;
        struct str text = make(&made, schemas[i], NULL);
        if (made.ok)
            fail_msg("%s: %.*s", schemas[i], STR_ARG(text));
        assert_true(text.n <= OUT_MAX);
        made_fini(&made);
    }
}

/* One byte other, or missing: JSON comes, or nothing. */
static void broken_schemas(void **state)
{
    static const char bytes[] = "\"{}[]:,1e-x$#";

    (void)state;
    for (size_t i = 1; i < COUNT_OF(cases); i++) {
        size_t n = strlen(cases[i].schema);
        char changed[512];
        assert_true(n < sizeof(changed));
        for (size_t at = 0; at < n; at++) {
            struct made made;
            memcpy(changed, cases[i].schema, n + 1);
            changed[at] = bytes[(at + i) % (sizeof(bytes) - 1)];
            struct str text = make(&made, changed, "Ask Rome 7");
            struct error e;
            if (made.ok && json_read(text, &(struct json_read_options){.depth_max = 128},
                                     &made.arena, &e) == NULL)
                fail_msg("%s: %.*s", changed, STR_ARG(text));
            made_fini(&made);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instances),
        cmocka_unit_test(refused),
        cmocka_unit_test(broken_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
