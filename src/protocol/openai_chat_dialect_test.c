/* SPDX-License-Identifier: MIT */
/* Bodies made what a vendor takes: each flag by itself, then all of them together at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_priv.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 4096, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* JSON with ' for ". */
static struct str quoted(const char *text)
{
    char *to = str_z(&arena, str_c(text));

    for (char *c = to; *c != '\0'; c++) {
        if (*c == '\'')
            *c = '"';
    }
    return str_c(to);
}

static struct str joined(const struct wire *wire)
{
    char *to = arena_alloc(&arena, wire->body_bytes);
    size_t n = 0;

    for (size_t i = 0; i < wire->body_n; i++) {
        if (wire->body[i].n > 0)
            memcpy(to + n, wire->body[i].p, wire->body[i].n);
        n += wire->body[i].n;
    }
    assert_int_equal(n, wire->body_bytes);
    return str_of(to, n);
}

/* The rules over a body; warnings: "a,b". */
static enum error_code run(const struct dialect *dialect, const char *model, struct str body,
                           struct str *ret_body, struct str *ret_warnings, struct error *e)
{
    struct translation t = {.arena = &arena};
    const struct encode_request how = {.dialect = dialect, .translation = &t};
    struct wire wire = {.body = &body, .body_n = 1, .body_bytes = body.n};
    struct buf warnings;

    TRY(openai_chat_dialect_body(&how, str_c(model), &arena, &wire, e));
    TRY(openai_chat_dialect_alternate(&how, &arena, &wire, e));
    *ret_body = joined(&wire);
    buf_init(&warnings, 4096);
    translation_write_warnings(&t, &warnings);
    *ret_warnings = str_copy(&arena, buf_str(&warnings));
    buf_fini(&warnings);
    return OK;
}

struct row {
    const char *what;
    const struct dialect dialect;
    const char *model;
    const char *body;
    const char *expected; /* NULL: as it came */
    const char *warnings; /* NULL: none */
};

static void check(const struct row *row)
{
    struct str expected = quoted(row->expected == NULL ? row->body : row->expected);
    struct str body;
    struct str warnings;
    struct error e;

    if (run(&row->dialect, row->model, quoted(row->body), &body, &warnings, &e) != OK)
        fail_msg("%s: %s", row->what, e.detail);
    if (!str_eq(body, expected))
        fail_msg("%s:\n got %.*s\nwant %.*s", row->what, STR_ARG(body), STR_ARG(expected));
    struct str told = str_c(row->warnings == NULL ? "" : row->warnings);
    if (!str_eq(warnings, told))
        fail_msg("%s: told \"%.*s\", not \"%.*s\"", row->what, STR_ARG(warnings), STR_ARG(told));
    if (run(&row->dialect, row->model, body, &body, &warnings, &e) != OK ||
        !str_eq(body, expected) || warnings.n > 0)
        fail_msg("%s: not the same again:\n got %.*s\n%.*s", row->what, STR_ARG(body),
                 STR_ARG(warnings));
}

/* --- members of the root ------------------------------------------------------------------ */

static void test_root(void **state)
{
    static const struct row rows[] = {
        {"plain",
         {.think_tags = true},
         NULL,
         "{'model':'m','n':3,'max_completion_tokens':5,'messages':[{'role':'developer'}]}",
         NULL,
         NULL},
        {"max_tokens",
         {.max_tokens_legacy = true},
         NULL,
         "{'model':'m', 'max_completion_tokens' : 5 ,'x':1}",
         "{'model':'m', 'max_tokens' : 5 ,'x':1}",
         NULL},
        {"max_tokens, first and escaped",
         {.max_tokens_legacy = true},
         NULL,
         "{'max_completion\\u005ftokens':5}",
         "{'max_tokens':5}",
         NULL},
        {"max_tokens, both",
         {.max_tokens_legacy = true},
         NULL,
         "{'max_completion_tokens':5,'max_tokens':6}",
         "{'max_tokens':6}",
         NULL},
        {"max_tokens, null",
         {.max_tokens_legacy = true},
         NULL,
         "{'model':'m','max_completion_tokens':null}",
         "{'model':'m'}",
         NULL},
        {"max_tokens of a model that has the newer one",
         {.max_tokens_legacy = true},
         "openai/gpt-5",
         "{'model':'openai/gpt-5','max_completion_tokens':5}",
         NULL,
         NULL},
        {"the newer one",
         {.model_rules = true},
         "gpt-5",
         "{'model':'gpt-5','max_tokens':5}",
         "{'model':'gpt-5','max_completion_tokens':5}",
         NULL},
        {"at least",
         {.max_tokens_min = 16},
         NULL,
         "{'max_tokens':1}",
         "{'max_tokens':16}",
         "changed:max_tokens"},
        {"at least, and enough", {.max_tokens_min = 16}, NULL, "{'max_tokens':16.0}", NULL, NULL},
        {"temperature",
         {.temperature_max = 1.5f},
         NULL,
         "{'temperature':1.7,'top_p':1}",
         "{'temperature':1.5,'top_p':1}",
         "changed:temperature"},
        {"temperature that fits",
         {.temperature_max = 1.5f},
         NULL,
         "{'temperature':1.50}",
         NULL,
         NULL},
        {"seed", {.seed = "random_seed"}, NULL, "{'seed':7}", "{'random_seed':7}", NULL},
        {"drop",
         {.drop = "logprobs user"},
         NULL,
         "{'logprobs':true,'model':'m','user':'u','custom':{'user':1}}",
         "{'model':'m','custom':{'user':1}}",
         "dropped:logprobs,dropped:user"},
        {"drop what says nothing",
         {.drop = "logprobs user logit_bias n top_logprobs"},
         NULL,
         "{'logprobs':false,'user':null,'logit_bias':{},'n':1,'top_logprobs':0}",
         "{}",
         NULL},
        {"stop",
         {.stops_max = 2},
         NULL,
         "{'stop':['a','b','c','d'],'x':1}",
         "{'stop':['a','b'],'x':1}",
         "dropped:stop"},
        {"one stop", {.stops_max = 2}, NULL, "{'stop':'a'}", NULL, NULL},
        {"tier",
         {.service_tier = "auto flex"},
         NULL,
         "{'service_tier':'priority'}",
         "{}",
         "dropped:service_tier"},
        {"tier that is known",
         {.service_tier = "auto flex"},
         NULL,
         "{'service_tier':'flex'}",
         NULL,
         NULL},
        {"the usual tier",
         {.service_tier = "auto flex"},
         NULL,
         "{'service_tier':'default'}",
         "{}",
         NULL},
        {"logprobs",
         {.logprobs_number = true},
         NULL,
         "{'logprobs':true,'top_logprobs':3}",
         "{'logprobs':3}",
         NULL},
        {"logprobs alone",
         {.logprobs_number = true},
         NULL,
         "{'logprobs':true}",
         "{'logprobs':1}",
         NULL},
        {"usage",
         {.usage = DIALECT_USAGE_NONE},
         NULL,
         "{'stream':true,'stream_options':{'include_usage':true}}",
         "{'stream':true}",
         NULL},
        {"sampling",
         {.model_rules = true},
         "o3",
         "{'model':'o3','temperature':0.2,'top_p':1,'presence_penalty':0,'logprobs':true}",
         "{'model':'o3','top_p':1,'presence_penalty':0}",
         "dropped:temperature,dropped:logprobs"},
        {"sampling that may be",
         {.model_rules = true},
         "gpt-5.1",
         "{'model':'gpt-5.1','temperature':0.2}",
         NULL,
         NULL},
        {"sampling that may not",
         {.model_rules = true},
         "gpt-5.1",
         "{'model':'gpt-5.1','temperature':0.2,'reasoning_effort':'low'}",
         "{'model':'gpt-5.1','reasoning_effort':'low'}",
         "dropped:temperature"},
        {"sampling of a model nobody knows",
         {.model_rules = true},
         "m",
         "{'model':'m','temperature':0.2,'stop':'x'}",
         NULL,
         NULL},
        {"penalties and stop",
         {.model_rules = true},
         "grok-4.3",
         "{'model':'grok-4.3','temperature':0.2,'presence_penalty':1,'stop':'x'}",
         "{'model':'grok-4.3','temperature':0.2}",
         "dropped:presence_penalty,dropped:stop"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check(&rows[i]);
}

/* --- tools -------------------------------------------------------------------------------- */

#define TOOL(name) "{'type':'function','function':{'name':'" name "'}}"

static void test_tools(void **state)
{
    static const struct row rows[] = {
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

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check(&rows[i]);
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

/* --- reasoning ---------------------------------------------------------------------------- */

static void test_reasoning(void **state)
{
    static const struct row rows[] = {
        {"openrouter",
         {.reasoning = DIALECT_REASONING_OPENROUTER},
         NULL,
         "{'reasoning_effort':'low'}",
         "{'reasoning':{'effort':'low'}}",
         NULL},
        {"openrouter, off",
         {.reasoning = DIALECT_REASONING_OPENROUTER},
         NULL,
         "{'reasoning_effort':'none'}",
         "{'reasoning':{'enabled':false}}",
         NULL},
        {"openrouter, its own",
         {.reasoning = DIALECT_REASONING_OPENROUTER},
         NULL,
         "{'reasoning':{'max_tokens':7},'reasoning_effort':'low'}",
         "{'reasoning':{'max_tokens':7}}",
         NULL},
        {"thinking",
         {.reasoning = DIALECT_REASONING_THINKING, .xhigh_is_max = true},
         "deepseek-v4",
         "{'model':'deepseek-v4','reasoning_effort':'xhigh'}",
         "{'model':'deepseek-v4','reasoning_effort':'max','thinking':{'type':'enabled'}}",
         "changed:reasoning_effort"},
        {"thinking, off",
         {.reasoning = DIALECT_REASONING_THINKING},
         "deepseek-v4",
         "{'reasoning_effort':'none','model':'deepseek-v4'}",
         "{'model':'deepseek-v4','thinking':{'type':'disabled'}}",
         NULL},
        {"thinking without efforts",
         {.reasoning = DIALECT_REASONING_THINKING},
         "glm-4.6",
         "{'model':'glm-4.6','reasoning_effort':'high'}",
         "{'model':'glm-4.6','thinking':{'type':'enabled'}}",
         NULL},
        {"a switch",
         {.reasoning = DIALECT_REASONING_SWITCH},
         NULL,
         "{'reasoning_effort':'none'}",
         "{'enable_thinking':false}",
         NULL},
        {"groq, efforts",
         {.reasoning = DIALECT_REASONING_GROQ},
         "openai/gpt-oss-20b",
         "{'model':'openai/gpt-oss-20b','reasoning_effort':'minimal'}",
         "{'model':'openai/gpt-oss-20b','reasoning_effort':'low'}",
         "changed:reasoning_effort"},
        {"groq, a switch",
         {.reasoning = DIALECT_REASONING_GROQ},
         "qwen/qwen3-32b",
         "{'model':'qwen/qwen3-32b','reasoning_effort':'high'}",
         "{'model':'qwen/qwen3-32b','reasoning_effort':'default'}",
         "changed:reasoning_effort"},
        {"groq, its own",
         {.reasoning = DIALECT_REASONING_GROQ},
         "qwen/qwen3-32b",
         "{'model':'qwen/qwen3-32b','reasoning_effort':'default'}",
         NULL,
         NULL},
        {"groq, not known",
         {.reasoning = DIALECT_REASONING_GROQ},
         "llama",
         "{'model':'llama','reasoning_effort':'high'}",
         NULL,
         NULL},
        {"mistral",
         {.reasoning = DIALECT_REASONING_MISTRAL},
         "magistral-small",
         "{'model':'magistral-small','reasoning_effort':'high'}",
         "{'model':'magistral-small','prompt_mode':'reasoning'}",
         NULL},
        {"mistral, efforts",
         {.reasoning = DIALECT_REASONING_MISTRAL},
         "mistral-small-latest",
         "{'model':'mistral-small-latest','reasoning_effort':'low'}",
         "{'model':'mistral-small-latest','reasoning_effort':'high'}",
         "changed:reasoning_effort"},
        {"mistral, none",
         {.reasoning = DIALECT_REASONING_MISTRAL},
         "codestral",
         "{'model':'codestral','reasoning_effort':'low'}",
         "{'model':'codestral'}",
         "dropped:reasoning_effort"},
        {"template",
         {.reasoning = DIALECT_REASONING_TEMPLATE},
         "Qwen/Qwen3-8B",
         "{'model':'Qwen/Qwen3-8B','reasoning_effort':'low'}",
         "{'model':'Qwen/Qwen3-8B','chat_template_kwargs':{'enable_thinking':true}}",
         NULL},
        {"enabled",
         {.reasoning = DIALECT_REASONING_ENABLED},
         "deepseek-ai/DeepSeek-V3.1",
         "{'model':'deepseek-ai/DeepSeek-V3.1','reasoning_effort':'low'}",
         "{'model':'deepseek-ai/DeepSeek-V3.1','reasoning':{'enabled':true}}",
         NULL},
        {"none",
         {.reasoning = DIALECT_REASONING_NONE},
         NULL,
         "{'reasoning_effort':'low'}",
         "{}",
         "dropped:reasoning_effort"},
        {"efforts of a vendor",
         {.efforts = EFFORT_LOW | EFFORT_MEDIUM | EFFORT_HIGH},
         "deepseek-v4",
         "{'model':'deepseek-v4','reasoning_effort':'max'}",
         "{'model':'deepseek-v4','reasoning_effort':'high'}",
         "changed:reasoning_effort"},
        {"a model that refuses the word",
         {.model_rules = true},
         "grok-4-0709",
         "{'model':'grok-4-0709','reasoning_effort':'low'}",
         "{'model':'grok-4-0709'}",
         "dropped:reasoning_effort"},
        {"a word that nobody knows",
         {.model_rules = true},
         "gpt-5",
         "{'model':'gpt-5','reasoning_effort':'heroic'}",
         NULL,
         NULL},
        {"null",
         {.reasoning = DIALECT_REASONING_SWITCH},
         NULL,
         "{'reasoning_effort':null}",
         "{}",
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_root, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_schemas, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reasoning, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
