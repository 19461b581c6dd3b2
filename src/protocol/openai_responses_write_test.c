/* SPDX-License-Identifier: MIT */
/*
 * Requests of another protocol as Responses has them: what is not the conversation. Texts are
 * written with ' for ".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_responses_for_test.h"

enum { OUT_MAX = 4 * 1024 * 1024, DEPTH_MAX = 64 };

static struct str quoted(const char *text, struct buf *out)
{
    buf_reset(out);
    for (; *text != '\0'; text++)
        buf_add_char(out, *text == '\'' ? '"' : *text);
    return buf_str(out);
}

struct row {
    const char *what;
    const char *model;
    const char *request;  /* Chat Completions, behind the messages */
    const char *body;     /* behind its input */
    const char *warnings; /* or, behind '!', why it is refused */
};

#define FUNCTION "{'type':'function','function':{'name':'f'}}"
#define CUSTOM   "{'type':'custom','custom':{'name':'g'}}"
#define F                                                                                    \
    "{'type':'function','name':'f','parameters':{'type':'object','properties':{}},'strict':" \
    "false}"
#define G         "{'type':'custom','name':'g'}"
#define TOOLS     ",'tools':[" FUNCTION "," CUSTOM "]"
#define ENCRYPTED ",'include':['reasoning.encrypted_content']"

#define STORE ",'store':false"

static const struct row rows[] = {
    {"nothing", "gpt-4o", "", STORE, ""},
    {"sampling", "gpt-4o", ",'temperature':0.70,'top_p':0.9",
     ",'temperature':0.70,'top_p':0.9" STORE, ""},
    {"sampling of what refuses it", "o3", ",'temperature':0.7,'top_p':0.9", ENCRYPTED STORE,
     "dropped:temperature,dropped:top_p"},
    {"what it has not", "gpt-4o",
     ",'top_k':3,'seed':1,'frequency_penalty':0.5,'presence_penalty':-1,'logit_bias':{'1':2}",
     STORE,
     "dropped:logit_bias,dropped:top_k,dropped:seed,dropped:frequency_penalty,"
     "dropped:presence_penalty"},
    {"penalties that are none", "gpt-4o", ",'frequency_penalty':0.0,'presence_penalty':0", STORE,
     ""},
    {"two choices", "gpt-4o", ",'n':2", NULL, "!more than one choice (n)"},
    {"one choice", "gpt-4o", ",'n':1", STORE, ""},
    {"tokens", "gpt-4o", ",'max_tokens':100", ",'max_output_tokens':100" STORE, ""},
    {"fewer than it takes", "gpt-4o", ",'max_tokens':1", ",'max_output_tokens':16" STORE,
     "changed:max_tokens"},
    {"tools", "gpt-4o", TOOLS, ",'tools':[" F "," G "]" STORE, ""},
    {"a strict one", "gpt-4o",
     ",'tools':[{'type':'function','function':{'name':'f','description':'d','strict':true}}]",
     ",'tools':[{'type':'function','name':'f','description':'d','parameters':{'type':'object',"
     "'properties':{}},'strict':true}]" STORE,
     ""},
    {"a grammar", "gpt-4o",
     ",'tools':[{'type':'custom','custom':{'name':'g','format':{'type':'grammar','grammar':"
     "{'syntax':'lark','definition':'x'}}}}]",
     ",'tools':[{'type':'custom','name':'g','format':{'type':'grammar','syntax':'lark',"
     "'definition':'x'}}]" STORE,
     ""},
    {"free text", "gpt-4o",
     ",'tools':[{'type':'custom','custom':{'name':'g','format':{'type':'text'}}}]",
     ",'tools':[{'type':'custom','name':'g','format':{'type':'text'}}]" STORE, ""},
    {"auto, one at a time", "gpt-4o", TOOLS ",'tool_choice':'auto','parallel_tool_calls':false",
     ",'tools':[" F "," G "],'tool_choice':'auto','parallel_tool_calls':false" STORE, ""},
    {"none, several", "gpt-4o", TOOLS ",'tool_choice':'none','parallel_tool_calls':true",
     ",'tools':[" F "," G "],'tool_choice':'none','parallel_tool_calls':true" STORE, ""},
    {"required", "gpt-4o", TOOLS ",'tool_choice':'required'",
     ",'tools':[" F "," G "],'tool_choice':'required'" STORE, ""},
    {"named", "gpt-4o", TOOLS ",'tool_choice':{'type':'function','function':{'name':'f'}}",
     ",'tools':[" F "," G "],'tool_choice':{'type':'function','name':'f'}" STORE, ""},
    {"a named one of free text", "gpt-4o",
     TOOLS ",'tool_choice':{'type':'custom','custom':{'name':'g'}}",
     ",'tools':[" F "," G "],'tool_choice':{'type':'custom','name':'g'}" STORE, ""},
    {"some of them", "gpt-4o",
     TOOLS ",'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'required','tools':"
           "[" FUNCTION "," CUSTOM "]}}",
     ",'tools':[" F "," G
     "],'tool_choice':{'type':'allowed_tools','mode':'required','tools':[{'type':'function',"
     "'name':'f'},{'type':'custom','name':'g'}]}" STORE,
     ""},
    {"an effort", "o3", ",'reasoning_effort':'high'",
     ",'reasoning':{'effort':'high'}" ENCRYPTED STORE, ""},
    {"an effort of what does not think", "gpt-4o", ",'reasoning_effort':'high'", STORE, ""},
    {"probabilities", "gpt-4o", ",'logprobs':true,'top_logprobs':3",
     ",'include':['message.output_text.logprobs'],'top_logprobs':3" STORE, ""},
    {"of what refuses them", "o3", ",'logprobs':true", ENCRYPTED STORE, "dropped:logprobs"},
    {"a schema", "gpt-4o",
     ",'response_format':{'type':'json_schema','json_schema':{'name':'n','description':'d',"
     "'schema':{'type':'object'},'strict':true}},'verbosity':'low'",
     ",'text':{'format':{'type':'json_schema','name':'n','description':'d','schema':"
     "{'type':'object'},'strict':true},'verbosity':'low'}" STORE,
     ""},
    {"verbosity alone", "gpt-4o", ",'verbosity':'high'", ",'text':{'verbosity':'high'}" STORE, ""},
    {"whose it is", "gpt-4o",
     ",'user':'u','metadata':{'a':'b'},'service_tier':'flex','prompt_cache_key':'k'",
     ",'user':'u','metadata':{'a':'b'},'service_tier':'flex','prompt_cache_key':'k'" STORE, ""},
    {"a tier that it does not know", "gpt-4o", ",'service_tier':'odd'", STORE, ""},
    {"kept, streamed", "gpt-4o", ",'store':true,'stream':true",
     ",'store':true,'stream':true,'stream_options':{'include_obfuscation':false}", ""},
};

/* Decodes the body as Chat Completions and writes it; what came out, and the warnings. */
static enum error_code translate(struct str body, const char *model, struct arena *arena,
                                 struct buf *out, struct buf *warnings, struct error *e)
{
    const struct protocol *chat = protocol_find(STR("openai-chat"));
    const struct protocol *responses = protocol_find(STR("openai-responses"));
    const struct request_limits limits = {.depth_max = DEPTH_MAX};
    struct translation t = {.arena = arena};
    const struct encode_request how = {.model = str_c(model),
                                       .vendor = STR("openai"),
                                       .translation = &t};
    struct request request;
    struct wire wire;

    TRY(chat->request_decode(body, &limits, arena, &request, e));
    TRY(chat->request_decode_full(&request, &limits, arena, e));
    TRY(responses->request_encode(&request, &how, arena, &wire, e));
    for (size_t i = 0; i < wire.body_n; i++)
        buf_add(out, wire.body[i]);
    translation_write_warnings(&t, warnings);
    return OK;
}

static void try_row(const struct row *row)
{
    struct error e = {.code = OK};
    struct arena arena;
    struct buf request;
    struct buf out;
    struct buf want;
    struct buf warnings;

    arena_init(&arena, OUT_MAX, 4096, NULL);
    buf_init(&request, OUT_MAX);
    buf_init(&out, OUT_MAX);
    buf_init(&want, OUT_MAX);
    buf_init(&warnings, OUT_MAX);
    struct str body = str_print(&arena,
                                "{'model':'x','messages':[{'role':'user','content':'Hi'}]%s}",
                                row->request);
    enum error_code code = translate(quoted(str_z(&arena, body), &request), row->model, &arena,
                                     &out, &warnings, &e);
    if (row->warnings[0] == '!') {
        if (code == OK || !str_eq(str_c(e.detail), str_c(row->warnings + 1)))
            fail_msg("%s: %s", row->what, code == OK ? "not refused" : e.detail);
    } else {
        body = str_print(&arena,
                         "{'model':'%s','input':[{'type':'message','role':'user','content':"
                         "[{'type':'input_text','text':'Hi'}]}]%s}",
                         row->model, row->body);
        (void)quoted(str_z(&arena, body), &want);
        if (code != OK || !str_eq(buf_str(&out), buf_str(&want)) ||
            !str_eq(buf_str(&warnings), str_c(row->warnings)))
            fail_msg("%s: %s\n--- got\n%.*s\n%.*s\n--- want\n%.*s\n%s", row->what,
                     code == OK ? "" : e.detail, STR_ARG(buf_str(&out)),
                     STR_ARG(buf_str(&warnings)), STR_ARG(buf_str(&want)), row->warnings);
    }
    buf_fini(&warnings);
    buf_fini(&want);
    buf_fini(&out);
    buf_fini(&request);
    arena_fini(&arena);
}

/* Catches: a member that does not go up as the matrix says, or is lost in silence. */
static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        try_row(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
