/* SPDX-License-Identifier: MIT */
/* Tools of a body made what a vendor takes, and their schemas. */
#include "protocol/openai_chat_dialect_for_test.h"

#define TOOL(name) "{'type':'function','function':{'name':'" name "'}}"

static const struct row tools_rows[] = {
    {"named, where words are known",
     {.tool_choice = DIALECT_CHOICE_WORDS},
     NULL,
     "{'tools':[" TOOL("a") "," TOOL("b") "],'tool_choice':" TOOL("b") "}",
     "{'tools':[" TOOL("b") "],'tool_choice':'required'}",
     NULL},
    {"named, where it is known",
     {.tool_choice = DIALECT_CHOICE_NAMED},
     NULL,
     "{'tools':[" TOOL("a") "," TOOL("b") "],'tool_choice':" TOOL("b") "}",
     NULL,
     NULL},
    {"named, of no tool",
     {.tool_choice = DIALECT_CHOICE_WORDS},
     NULL,
     "{'tools':[" TOOL("a") "],'tool_choice':" TOOL("b") "}",
     "{'tools':[" TOOL("a") "],'tool_choice':'required'}",
     NULL},
    {"allowed",
     {.tool_choice = DIALECT_CHOICE_NAMED},
     NULL,
     "{'tools':[" TOOL("a") "," TOOL("b") "," TOOL(
         "c") "],'tool_choice':{'type':"
              "'allowed_tools','allowed_tools':{'mode':'required','tools':[" TOOL("a") "," TOOL(
                  "c") "]}}}",
     "{'tools':[" TOOL("a") "," TOOL("c") "],'tool_choice':'required'}",
     NULL},
    {"auto alone",
     {.tool_choice = DIALECT_CHOICE_AUTO},
     NULL,
     "{'tools':[" TOOL("a") "],'tool_choice':'required'}",
     "{'tools':[" TOOL("a") "],'tool_choice':'auto'}",
     "changed:tool_choice"},
    {"auto alone, none",
     {.tool_choice = DIALECT_CHOICE_AUTO},
     NULL,
     "{'tools':[" TOOL("a") "],'tool_choice':'none','x':1}",
     "{'x':1}",
     NULL},
    {"auto alone, named",
     {.tool_choice = DIALECT_CHOICE_AUTO},
     NULL,
     "{'tools':[" TOOL("a") "," TOOL("b") "],'tool_choice':" TOOL("a") "}",
     "{'tools':[" TOOL("a") "],'tool_choice':'auto'}",
     "changed:tool_choice"},
    {"required that the model refuses",
     {.tool_choice = DIALECT_CHOICE_NAMED},
     "kimi-k2.6",
     "{'model':'kimi-k2.6','tools':[" TOOL("a") "],'tool_choice':'required'}",
     "{'model':'kimi-k2.6','tools':[" TOOL("a") "],'tool_choice':'auto'}",
     "changed:tool_choice"},
    {"parallel",
     {.parallel_refused = true},
     NULL,
     "{'parallel_tool_calls':false}",
     "{}",
     "dropped:parallel_tool_calls"},
    {"parallel, as it is anyhow",
     {.parallel_refused = true},
     NULL,
     "{'parallel_tool_calls':true}",
     "{}",
     NULL},
    {"no tools",
     {.tools_refused = true},
     NULL,
     "{'tools':[" TOOL("a") "],'tool_choice':'auto','messages':["
                            "{'role':'assistant','content':'x','tool_calls':[{'id':'1'}]},"
                            "{'role':'assistant','content':null,'tool_calls':[{'id':'2'}]},"
                            "{'role':'tool','tool_call_id':'1','content':'r'}]}",
     "{'messages':[{'role':'assistant','content':'x'},"
     "{'role':'assistant','content':'[{\\'id\\':\\'2\\'}]'},"
     "{'role':'user','content':'r'}]}",
     "dropped:tools"},
    {"strict, and caches",
     {.strict_refused = true, .cache = DIALECT_CACHE_REFUSED},
     NULL,
     "{'tools':[{'type':'function','function':{'name':'a','strict':true},'cache_control':{}},"
     "{'type':'function','function':{'strict':false}}]}",
     "{'tools':[{'type':'function','function':{'name':'a'}},"
     "{'type':'function','function':{}}]}",
     NULL},
    {"removed and added",
     {.strict_refused = true, .reasoning = DIALECT_REASONING_SWITCH},
     NULL,
     "{'reasoning_effort':'low','tools':[{'function':{'strict':false}}]}",
     "{'tools':[{'function':{}}],'enable_thinking':true}",
     NULL},
};

static void test_tools(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(tools_rows); i++)
        check(&tools_rows[i]);
}

#define SCHEMA(text) "{'tools':[{'type':'function','function':{'name':'a','parameters':" text "}}]}"

static void test_schemas(void **state)
{
    static const struct dialect mfjs = {.schema = DIALECT_SCHEMA_MFJS};
    static const struct dialect xai = {.schema = DIALECT_SCHEMA_XAI};
    const struct row rows[] = {
        {"xai", xai, NULL,
         SCHEMA("{'type':'object','additionalProperties':false,'properties':{"
                "'additionalProperties':{'type':'object','additionalProperties':false},"
                "'b':{'additionalProperties':{'type':'string'}}}}"),
         SCHEMA("{'type':'object','properties':{"
                "'additionalProperties':{'type':'object'},"
                "'b':{'additionalProperties':{'type':'string'}}}}"),
         NULL},
        {"mfjs, nothing", mfjs, NULL, SCHEMA("{'$schema':'x'}"),
         SCHEMA("{'type':'object','properties':{}}"), NULL},
        {"mfjs, no type", mfjs, NULL, SCHEMA("{'$schema':'x','properties':{}}"),
         SCHEMA("{'type':'object','properties':{}}"), NULL},
        {"mfjs, anyOf", mfjs, NULL,
         SCHEMA("{'type':'object','properties':{'a':{'type':'string','anyOf':[{'minLength':1},{},"
                "{'type':'null'}]}}}"),
         SCHEMA("{'type':'object','properties':{'a':{'anyOf':[{'type':'string','minLength':1},"
                "{'type':'string'},{'type':'null'}]}}}"),
         NULL},
        {"mfjs, a list of items", mfjs, NULL,
         SCHEMA("{'type':'object','properties':{'a':{'type':'array','items':[{'$schema':1}]}}}"),
         SCHEMA("{'type':'object','properties':{'a':{'type':'array','prefixItems':[{}]}}}"), NULL},
        {"mfjs, names are no keywords", mfjs, NULL,
         SCHEMA("{'type':'object','properties':{'$schema':{'type':'string'},'items':{}}}"), NULL,
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_schemas, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
