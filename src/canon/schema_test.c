/* SPDX-License-Identifier: MIT */
#include "canon/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "text/json.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };

/* JSON with ' for ", as tables of it are read. */
static struct str quoted(const char *text, struct arena *arena)
{
    char *to = str_z(arena, str_c(text));

    for (char *c = to; *c != '\0'; c++) {
        if (*c == '\'')
            *c = '"';
    }
    return str_c(to);
}

struct row {
    const char *in;
    const char *out; /* NULL: left out */
};

static void check_row(const struct row *row, enum schema_target target)
{
    const struct json_read_options options = {.depth_max = 128};
    struct arena arena;
    struct error e;

    arena_init(&arena, ARENA_MAX, 4096, NULL);
    struct str got = schema_fit(quoted(row->in, &arena), target, &arena);
    struct str want = row->out == NULL ? STR_NULL : quoted(row->out, &arena);
    if (str_is_null(got) != str_is_null(want) || !str_eq(got, want))
        fail_msg("%s\n--- got\n%.*s\n--- want\n%.*s", row->in, STR_ARG(got), STR_ARG(want));
    if (got.n > 0 && json_read(got, &options, &arena, &e) == NULL)
        fail_msg("%s: %s", row->in, e.detail);
    arena_fini(&arena);
}

static void check_rows(const struct row *rows, size_t n, enum schema_target target)
{
    for (size_t i = 0; i < n; i++)
        check_row(&rows[i], target);
}

#define STRING "{'type':'string'}"
/* A root with one property, p. */
#define P(schema) "{'type':'object','properties':{'p':" schema "}}"

static const struct row gemini_rows[] = {
    /* 13, and what is no schema at all */
    {"", NULL},
    {"7", NULL},
    {"{}", NULL},
    {"{'type':'object','properties':{}}", NULL},
    {"{'type':'object','additionalProperties':false}", NULL},
    /* 1: names of properties are no keywords */
    {"{'type':'object','properties':{'format':{'type':'string'},'$ref':{'type':'string'},"
     "'additionalProperties':{'type':'string'}},'required':['$ref']}",
     "{'type':'object','properties':{'format':{'type':'string'},'$ref':{'type':'string'},"
     "'additionalProperties':{'type':'string'}},'required':['$ref'],"
     "'propertyOrdering':['format','$ref','additionalProperties']}"},
    /* 2: $ref */
    {"{'type':'object','$defs':{'a':{'type':'integer'}},'properties':{'p':{'$ref':'#/$defs/a',"
     "'description':'d'}}}",
     P("{'type':'integer','description':'d'}")},
    {"{'definitions':{'a':{'type':'object','properties':{'q':{'$ref':'#/definitions/a'}}}},"
     "'properties':{'p':{'$ref':'#/definitions/a'}}}",
     P("{'type':'object','properties':{'q':{'type':'object','description':"
       "'nested further in the same way'}}}")},
    {P("{'$ref':'#'}"), P("{'type':'object','description':'nested further in the same way'}")},
    {P("{'$ref':'#/no/such'}"), P(STRING)},
    /* 3: allOf */
    {P("{'allOf':[{'type':'object','properties':{'a':" STRING "},'required':['a']},"
       "{'properties':{'b':" STRING ",'a':{'type':'integer'}},'required':['b','a']}]}"),
     P("{'type':'object','properties':{'b':" STRING ",'a':{'type':'integer'}},"
       "'required':['a','b'],'propertyOrdering':['b','a']}")},
    /* 4: oneOf */
    {P("{'oneOf':[" STRING ",{'type':'integer'}],'description':'d'}"),
     P("{'description':'d','anyOf':[" STRING ",{'type':'integer'}]}")},
    /* 5: const */
    {P("{'const':'v'}"), P("{'type':'string','enum':['v']}")},
    {P("{'const':7}"), P("{'type':'integer','description':'always 7'}")},
    {P("{'const':true}"), P("{'type':'boolean','description':'always true'}")},
    {P("{'const':7.5,'type':'integer'}"), P("{'type':'integer','description':'always 7.5'}")},
    {P("{'const':7,'type':'integer'}"), P("{'type':'integer','description':'always 7'}")},
    /* 6: null */
    {P("{'type':['string','null']}"), P("{'type':'string','nullable':true}")},
    {P("{'type':['string','integer'],'minLength':1,'minimum':2}"),
     P("{'anyOf':[{'type':'string','minLength':1},{'type':'integer','minimum':2}]}")},
    {P("{'anyOf':[{'type':'integer'},{'type':'null'}],'title':'t'}"),
     P("{'type':'integer','title':'t','nullable':true}")},
    {P("{'anyOf':[" STRING ",{'type':'boolean'},{'type':'null'}]}"),
     P("{'nullable':true,'anyOf':[" STRING ",{'type':'boolean'}]}")},
    {P("{'anyOf':[{'$ref':'#/$defs/a'},{'type':'null'}],'default':null}"),
     P("{'type':'string','default':null,'nullable':true}")},
    /* 7: enum */
    {P("{'enum':['a','','b']}"), P("{'type':'string','enum':['a','b']}")},
    {P("{'type':'integer','enum':[1,2]}"), P("{'type':'integer','description':'one of [1,2]'}")},
    {P("{'type':['string','null'],'enum':['a',null]}"),
     P("{'type':'string','nullable':true,'enum':['a']}")},
    /* 8: boolean schemas */
    {"{'type':'object','properties':{'a':true,'b':{},'c':false},'required':['a','c']}",
     "{'type':'object','properties':{'a':" STRING ",'b':" STRING "},'required':['a'],"
     "'propertyOrdering':['a','b']}"},
    /* 9: types that are not said */
    {P("{'properties':{'a':" STRING "}}"), P("{'type':'object','properties':{'a':" STRING "}}")},
    {P("{'items':{'type':'number'}}"), P("{'type':'array','items':{'type':'number'}}")},
    {P("{'type':'array'}"), P("{'type':'array','items':" STRING "}")},
    {P("{'description':'d'}"), P("{'type':'string','description':'d'}")},
    {P("{'type':'array','prefixItems':[{'type':'number'}," STRING "]}"),
     P("{'type':'array','items':{'anyOf':[{'type':'number'}," STRING "]}}")},
    /* 10: what is not known */
    {P("{'type':'number','exclusiveMinimum':0,'multipleOf':0.5,'minimum':1}"),
     P("{'type':'number','description':'more than 0; a multiple of 0.5','minimum':1}")},
    {P("{'type':'string','pattern':'^a+$','minLength':2,'$comment':'c','x-y':1,'readOnly':true}"),
     P("{'type':'string','minLength':2,'pattern':'^a+$'}")},
    {P("{'type':'string','pattern':'(?=a)','description':'d'}"),
     P("{'type':'string','description':'d (matching (?=a))'}")},
    {P("{'type':'object','additionalProperties':{'type':'integer'}}"),
     P("{'type':'object','description':'any keys, with values of type integer'}")},
    {P("{'type':'array','items':" STRING ",'uniqueItems':true,'minItems':1}"),
     P("{'type':'array','description':'all items differ','minItems':1,'items':" STRING "}")},
    {P("{'type':'object','properties':{'a':" STRING
       "},'anyOf':[{'required':['a']},{'required':['b']}]}"),
     P("{'type':'object','properties':{'a':" STRING "}}")},
    /* 11: format */
    {P("{'type':'string','format':'date-time'}"), P("{'type':'string','format':'date-time'}")},
    {P("{'type':'string','format':'uri'}"), P("{'type':'string','description':'format uri'}")},
    {P("{'type':'integer','format':'int64'}"), P("{'type':'integer','format':'int64'}")},
    /* 12: required */
    {"{'type':'object','properties':{'a':" STRING "},'required':['a','b','a']}",
     "{'type':'object','properties':{'a':" STRING "},'required':['a']}"},
    {"{'type':'object','properties':{'a':" STRING "},'required':['b']}",
     "{'type':'object','properties':{'a':" STRING "}}"},
    {P("{'type':['integer','number']}"), P("{'type':'number'}")},
    {P("{'type':'number','format':'double'}"), P("{'type':'number','format':'double'}")},
    {P("{'type':'array','items':[{'type':'number'}]}"),
     P("{'type':'array','items':{'type':'number'}}")},
    {P("{'anyOf':[{'anyOf':[{'type':'number'}," STRING "]},{'type':'null'}]}"),
     P("{'nullable':true,'anyOf':[{'type':'number'}," STRING "]}")},
    {P("{'$ref':'#/properties/q/anyOf/1'},'q':{'anyOf':[" STRING ",{'type':'boolean'}]}"),
     "{'type':'object','properties':{'p':{'type':'boolean'},'q':{'anyOf':[" STRING
     ",{'type':'boolean'}]}},'propertyOrdering':['p','q']}"},
    /* Numbers stay as they were written. */
    {P("{'type':'integer','maximum':12345678901234567890}"),
     P("{'type':'integer','maximum':12345678901234567890}")},
    {P("{'type':'OBJECT','properties':{'a':{'type':'STRING'}}}"),
     P("{'type':'object','properties':{'a':" STRING "}}")},
};

static void test_gemini(void **state)
{
    (void)state;
    check_rows(gemini_rows, COUNT_OF(gemini_rows), SCHEMA_GEMINI);
}

static void test_gemini_json(void **state)
{
    static const struct row rows[] = {
        {"{'type':'object','properties':{}}", NULL},
        {"{'type':'object','additionalProperties':true}",
         "{'type':'object','additionalProperties':true}"},
        {"{'$schema':'x','type':'object','properties':{'p':{'$ref':'#/definitions/a','title':'t'}},"
         "'required':['p'],'additionalProperties':false,"
         "'definitions':{'a':{'type':['string','null'],"
         "'minLength':3,'format':'uri'}}}",
         "{'type':'object','properties':{'p':{'$ref':'#/$defs/a'}},'required':['p'],"
         "'additionalProperties':false,'$defs':{'a':{'type':['string','null'],'description':"
         "'at least 3 characters','format':'uri'}}}"},
        {P("{'oneOf':[{'const':1},{'type':'null'}]}"),
         P("{'anyOf':[{'enum':[1]},{'type':'null'}]}")},
        {P("{'type':'array','prefixItems':[{},{'type':'integer'}]}"),
         P("{'type':'array','prefixItems':[{},{'type':'integer'}]}")},
        {P("{'allOf':[{'$ref':'#/properties/q'},{'title':'t'}]}"), P("{'title':'t'}")},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows), SCHEMA_GEMINI_JSON);
}

#define CLOSED ",'additionalProperties':false}"

static void test_anthropic_format(void **state)
{
    static const struct row rows[] = {
        {"7", "{'type':'object','properties':{}}"},
        {"{'type':'object','properties':{'a':{'type':'integer','minimum':0,'maximum':9}},"
         "'required':['a']}",
         "{'type':'object','properties':{'a':{'type':'integer','description':"
         "'at least 0; at most 9'}},'required':['a']" CLOSED},
        {"{'type':'object','properties':{'a':{'oneOf':[" STRING ",{'type':'null'}]}}}",
         "{'type':'object','properties':{'a':{'anyOf':[" STRING ",{'type':'null'}]}}" CLOSED},
        {"{'type':'object','properties':{'a':{'type':'array','items':" STRING ",'minItems':1,"
         "'maxItems':3},'b':{'type':'array','items':" STRING ",'minItems':2}}}",
         "{'type':'object','properties':{'a':{'type':'array','description':'at most 3 items',"
         "'minItems':1,'items':" STRING "},'b':{'type':'array','description':'at least 2 items',"
         "'items':" STRING "}}" CLOSED},
        {"{'type':'object','properties':{'a':{'type':'string',"
         "'format':'uuid'},'b':{'type':'string',"
         "'format':'color','pattern':'x'},'c':{'type':['string','null'],'enum':['x',null]}}}",
         "{'type':'object','properties':{'a':{'type':'string',"
         "'format':'uuid'},'b':{'type':'string',"
         "'description':'matching x; format color'},'c':{'type':['string','null'],"
         "'enum':['x',null]}}" CLOSED},
        /* No schema is in itself. */
        {"{'type':'object','properties':{'next':{'$ref':'#'}}}",
         "{'type':'object','properties':{'next':{'type':'object','description':"
         "'nested further in the same way','properties':{}" CLOSED "}" CLOSED},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows), SCHEMA_ANTHROPIC_FORMAT);
}

static void test_tools(void **state)
{
    static const struct row rows[] = {
        {"", "{'type':'object','properties':{}}"},
        {"null", "{'type':'object','properties':{}}"},
        {"{}", "{'type':'object','properties':{}}"},
        {"{ 'type':'object', 'properties':{ } , 'x':1 }",
         "{ 'type':'object', 'properties':{ } , 'x':1 }"},
        {"{'properties':{'a':{'anyOf':[{},{}]}}}",
         "{'type':'object','properties':{'a':{'anyOf':[{},{}]}}}"},
        {"{'type':'object'}", "{'properties':{},'type':'object'}"},
        {"{'type':'object','anyOf':[{'properties':{'a':{'type':'string'}},'required':['a']},"
         "{'properties':{'b':true}}],'properties':{'c':1},'required':['c'],'description':'d'}",
         "{'type':'object','properties':{'a':{'type':'string'},'b':true,'c':1},'required':['c'],"
         "'description':'d'}"},
        {"{'$ref':'#/$defs/a','$defs':{'a':{'type':'object','properties':{'p':{'$ref':"
         "'#/$defs/b'}},'required':['p']},'b':{}}}",
         "{'type':'object','properties':{'p':{'$ref':'#/$defs/b'}},'required':['p'],'$defs':{'a':"
         "{'type':'object','properties':{'p':{'$ref':'#/$defs/b'}},'required':['p']},'b':{}}}"},
        {"{'type':'string'}", "{'type':'object','properties':{}}"},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows), SCHEMA_ANTHROPIC_TOOL);
    check_rows(rows, COUNT_OF(rows), SCHEMA_OPENAI_TOOL);
}

static void test_plain(void **state)
{
    static const struct row rows[] = {
        {"{'type':'OBJECT','properties':{'type':{'type':'STRING','nullable':true,'minLength':'3'},"
         "'n':{'type':'ARRAY','items':{'type':'INTEGER','format':'int64'},'maxItems':'9'}},"
         "'propertyOrdering':['n','type']}",
         "{'type':'object','properties':{'type':{'type':['string','null'],'minLength':3},"
         "'n':{'type':'array','items':{'type':'integer','format':'int64'},'maxItems':9}}}"},
        {"{'anyOf':[{'type':'STRING'},{'type':'NUMBER'}],'nullable':true}",
         "{'anyOf':[{'type':'string'},{'type':'number'},{'type':'null'}]}"},
        {"{'type':['string','null']}", "{'type':['string','null']}"},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows), SCHEMA_PLAIN);
}

/* Catches: schemas that grow without end: each definition holds the next one many times. */
static void test_bounds(void **state)
{
    static const enum schema_target targets[] = {SCHEMA_GEMINI, SCHEMA_GEMINI_JSON,
                                                 SCHEMA_ANTHROPIC_FORMAT, SCHEMA_ANTHROPIC_TOOL,
                                                 SCHEMA_PLAIN};
    struct arena arena;
    struct buf text;

    (void)state;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    buf_init(&text, ARENA_MAX);
    buf_add(&text, STR("{\"type\":\"object\",\"properties\":{\"p\":{\"$ref\":\"#/$defs/d0\"}},"
                       "\"$defs\":{"));
    for (int i = 0; i < 12; i++) {
        buf_print(&text, "%s\"d%d\":{\"type\":\"object\",\"properties\":{", i > 0 ? "," : "", i);
        for (int k = 0; k < 12; k++)
            buf_print(&text, "%s\"k%d\":{\"$ref\":\"#/$defs/d%d\"}", k > 0 ? "," : "", k,
                      (i + 1) % 12);
        buf_add(&text, STR("}}"));
    }
    buf_add(&text, STR("}}"));
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        struct str got = schema_fit(buf_str(&text), targets[i], &arena);
        assert_true(got.n > 0);
        assert_true(got.n < text.n * 16 + 256 * 1024);
    }
    buf_fini(&text);
    arena_fini(&arena);
}

/* Catches: a half of a schema where there was no memory for all of it. */
static void test_memory(void **state)
{
    static const char schema[] =
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"abcdef\":"
        "{\"type\":\"string\",\"description\":\"a long text that says what it is for\"}}}}}";
    static const enum schema_target targets[] = {SCHEMA_GEMINI, SCHEMA_GEMINI_JSON,
                                                 SCHEMA_ANTHROPIC_FORMAT, SCHEMA_ANTHROPIC_TOOL,
                                                 SCHEMA_PLAIN};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        struct arena whole;
        arena_init(&whole, ARENA_MAX, 512, NULL);
        struct str want = schema_fit(str_c(schema), targets[i], &whole);
        for (size_t most = 64; most < 16384; most += 64) {
            struct arena small;
            arena_init(&small, most, 512, NULL);
            struct str got = schema_fit(str_c(schema), targets[i], &small);
            if (!arena_overflowed(&small))
                assert_true(str_eq(got, want));
            arena_fini(&small);
        }
        arena_fini(&whole);
    }
}

/* Catches: a schema of a client's that is written as no JSON, or without end. */
static void test_mutations(void **state)
{
    static const char alphabet[] = "{}[]\",:0a$tn";
    const struct json_read_options options = {.depth_max = 256};
    uint64_t random = 1;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(gemini_rows) * 60; i++) {
        struct arena arena;
        struct error e;
        arena_init(&arena, ARENA_MAX, 4096, NULL);
        struct str source = quoted(gemini_rows[i % COUNT_OF(gemini_rows)].in, &arena);
        char *text = str_z(&arena, source);
        for (size_t k = 0; k < 1 + i % 4 && source.n > 0; k++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            text[(random >> 33) % source.n] = alphabet[(random >> 20) % (sizeof(alphabet) - 1)];
        }
        bool valid = json_read(str_c(text), &options, &arena, &e) != NULL;
        for (int target = SCHEMA_GEMINI; valid && target <= SCHEMA_PLAIN; target++) {
            struct str got = schema_fit(str_c(text), (enum schema_target)target, &arena);
            if (got.n > 0 && json_read(got, &options, &arena, &e) == NULL)
                fail_msg("%s for %d: %.*s", text, target, STR_ARG(got));
        }
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemini),
        cmocka_unit_test(test_gemini_json),
        cmocka_unit_test(test_anthropic_format),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
