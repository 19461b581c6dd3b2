/* SPDX-License-Identifier: MIT */
/* Messages of a body made what a vendor takes, and the reasoning in them. */
#include "protocol/openai_chat_dialect_for_test.h"

#define MESSAGES(text) "{'messages':[" text "]}"

static const struct row messages_rows[] = {
    {"developer",
     {.developer_as_system = true},
     NULL,
     MESSAGES("{'role':'developer','content':'developer'},{'role':'dev\\u0065loper'}"),
     MESSAGES("{'role':'system','content':'developer'},{'role':'system'}"),
     NULL},
    {"names",
     {.message_name_refused = true},
     NULL,
     MESSAGES("{'name':'a','role':'user'},{'role':'tool','name':'t'},{'role':'user','name':1}"),
     MESSAGES("{'role':'user'},{'role':'tool','name':'t'},{'role':'user'}"),
     "dropped:name"},
    {"ids",
     {.tool_ids = FIT_IDS_MISTRAL},
     NULL,
     MESSAGES("{'role':'assistant','tool_calls':[{'id':'aB3456789'},{'id':''},{'id':null}]},"
              "{'role':'tool','tool_call_id':'aB3456789'},{'role':'tool'}"),
     MESSAGES("{'role':'assistant','tool_calls':[{'id':'aB3456789'},{'id':'uesSIvB3A'},"
              "{'id':null}]},"
              "{'role':'tool','tool_call_id':'aB3456789'},{'role':'tool'}"),
     NULL},
    {"names of results",
     {.tool_result_name = true},
     NULL,
     MESSAGES("{'role':'tool','tool_call_id':'1'},"
              "{'role':'assistant','tool_calls':[{'id':'1','function':{'name':'a'}},"
              "{'id':'2','function':{'name':'b'}},7,{'id':'3'}]},"
              "{'role':'tool','tool_call_id':'2'},{'role':'tool','tool_call_id':'1'},"
              "{'role':'tool','tool_call_id':'3'},{'role':'tool','tool_call_id':'4'},"
              "{'role':'tool','tool_call_id':'2','name':'own'}"),
     MESSAGES("{'role':'tool','tool_call_id':'1'},"
              "{'role':'assistant','tool_calls':[{'id':'1','function':{'name':'a'}},"
              "{'id':'2','function':{'name':'b'}},7,{'id':'3'}]},"
              "{'name':'b','role':'tool','tool_call_id':'2'},"
              "{'name':'a','role':'tool','tool_call_id':'1'},"
              "{'role':'tool','tool_call_id':'3'},{'role':'tool','tool_call_id':'4'},"
              "{'role':'tool','tool_call_id':'2','name':'own'}"),
     NULL},
    {"documents",
     {.document_url = true},
     NULL,
     MESSAGES("{'role':'user','content':[{'type':'file','file':{'filename':'a.pdf',"
              "'file_data':'data:x'}},{'type':'file','file':{'file_data':'https://h/a'}},"
              "{'type':'file','file':{'file_id':'f'}},{'type':'file','file_id':'g'}]}"),
     MESSAGES("{'role':'user','content':[{'type':'document_url','document_url':'data:x',"
              "'document_name':'a.pdf'},{'type':'document_url','document_url':'https://h/a'},"
              "{'type':'file','file':{'file_id':'f'}},{'type':'file','file_id':'g'}]}"),
     NULL},
    {"images in the request",
     {.images = DIALECT_IMAGES_DATA},
     NULL,
     MESSAGES("{'role':'user','content':[{'type':'image_url','image_url':{'url':'data:x'}},"
              "{'type':'image_url','image_url':{'url':'ms:1'}},{'type':'image_url'}]}"),
     NULL,
     NULL},
    {"no images",
     {.images = DIALECT_IMAGES_NONE, .cache = DIALECT_CACHE_REFUSED},
     NULL,
     MESSAGES("{'role':'user','content':[{'type':'image_url','cache_control':{},"
              "'image_url':'v'}]}"),
     MESSAGES("{'role':'user','content':[{'type':'text','text':'[image omitted: the model takes "
              "text only]'}]}"),
     "dropped:image"},
    {"caches",
     {.cache = DIALECT_CACHE_REFUSED},
     NULL,
     MESSAGES("{'cache_control':{'type':'ephemeral'},'role':'user','content':["
              "{'type':'text','text':'cache_control','cache_control':{'a':1}}]}"),
     MESSAGES("{'role':'user','content':[{'type':'text','text':'cache_control'}]}"),
     NULL},
    {"texts",
     {.content_text = true},
     NULL,
     MESSAGES("{'role':'user','content':[{'type':'text','text':'a\\n'},"
              "{'text':'b','type':'text'}]},{'role':'user','content':[]},"
              "{'role':'user','content':[{'type':'text','text':'a'},{'type':'file'}]}"),
     MESSAGES("{'role':'user','content':'a\\n\\n\\nb'},{'role':'user','content':''},"
              "{'role':'user','content':[{'type':'text','text':'a'},{'type':'file'}]}"),
     NULL},
    {"no content",
     {.content_empty = true},
     NULL,
     MESSAGES("{'role':'assistant','content':null},{'role':'assistant'},"
              "{'role':'assistant','content':null,'tool_calls':[]},"
              "{'role':'user','content':null}"),
     MESSAGES("{'role':'assistant','content':''},{'content':'','role':'assistant'},"
              "{'role':'assistant','content':null,'tool_calls':[]},"
              "{'role':'user','content':null}"),
     NULL},
    {"a prefix",
     {.prefill = DIALECT_PREFILL_PREFIX},
     NULL,
     MESSAGES("{'role':'assistant','content':'a'},{'role':'assistant','content':'b'}"),
     MESSAGES("{'role':'assistant','content':'a'},"
              "{'prefix':true,'role':'assistant','content':'b'}"),
     NULL},
    {"a prefix of its own",
     {.prefill = DIALECT_PREFILL_PREFIX},
     NULL,
     MESSAGES("{'role':'assistant','content':'b','prefix':false}"),
     NULL,
     NULL},
    {"no prefix",
     {.prefill = DIALECT_PREFILL_NONE},
     NULL,
     MESSAGES("{'role':'assistant','content':'a'}"),
     MESSAGES("{'role':'assistant','content':'a'},{'role':'user','content':'Continue.'}"),
     NULL},
    {"calls are no prefix",
     {.prefill = DIALECT_PREFILL_NONE},
     NULL,
     MESSAGES("{'role':'assistant','tool_calls':[]}"),
     NULL,
     NULL},
    {"no messages",
     {.prefill = DIALECT_PREFILL_NONE, .alternate = true},
     NULL,
     MESSAGES(""),
     NULL,
     NULL},
    {"turns",
     {.alternate = true},
     NULL,
     MESSAGES("{'role':'system','content':'s'},{'role':'system','content':'t'},"
              "{'role':'user','content':'a'} , {'role':'user','content':'\\u0062'},"
              "{'role':'assistant','content':null},{'role':'assistant','content':''},"
              "{'role':'assistant','content':'c'},"
              "{'role':'user','content':'d'},{'role':'user','content':[{'type':'x'}]},"
              "{'role':'user','content':[]},{'role':'user'}"),
     MESSAGES("{'role':'system','content':'s'},{'role':'system','content':'t'},"
              "{'role':'user','content':'a\\n\\n\\u0062'},"
              "{'role':'assistant','content':'c'},"
              "{'role':'user','content':[{'type':'text','text':'d'},{'type':'x'}]}"),
     NULL},
};

static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(messages_rows); i++)
        check(&messages_rows[i]);
}

static const struct row history_rows[] = {
    {"dropped",
     {.history = DIALECT_HISTORY_DROP},
     NULL,
     MESSAGES("{'reasoning_content':'r','role':'assistant','reasoning':'','content':'a',"
              "'reasoning_details':[]},{'role':'user','reasoning':'mine'}"),
     MESSAGES("{'role':'assistant','content':'a'},{'role':'user','reasoning':'mine'}"),
     "dropped:reasoning"},
    {"by its name",
     {.history = DIALECT_HISTORY_KEEP, .reasoning_out = DIALECT_OUT_REASONING},
     NULL,
     MESSAGES("{'role':'assistant','reasoning_content':'r'},"
              "{'role':'assistant','reasoning_content':'r','reasoning':'s'},"
              "{'role':'assistant','reasoning_content':null}"),
     MESSAGES("{'role':'assistant','reasoning':'r'},{'role':'assistant','reasoning':'s'},"
              "{'role':'assistant'}"),
     NULL},
    {"in every message",
     {.history = DIALECT_HISTORY_EVERY, .reasoning_out = DIALECT_OUT_CONTENT},
     "deepseek-v4",
     "{'model':'deepseek-v4','tools':[],'messages':[{'role':'assistant','reasoning':'r'},"
     "{'role':'assistant','content':'a'},{'role':'user'}]}",
     "{'model':'deepseek-v4','tools':[],'messages':["
     "{'role':'assistant','reasoning_content':'r'},"
     "{'reasoning_content':'','role':'assistant','content':'a'},{'role':'user'}]}",
     NULL},
    {"in every message, but not thinking",
     {.history = DIALECT_HISTORY_EVERY, .reasoning_out = DIALECT_OUT_CONTENT},
     "deepseek-v4",
     "{'thinking':{'type':'disabled'},'tools':[],'messages':[{'role':'assistant'}]}",
     NULL,
     NULL},
    {"in every message, without tools",
     {.history = DIALECT_HISTORY_EVERY},
     "deepseek-v4",
     MESSAGES("{'role':'assistant','content':'a'}"),
     NULL,
     NULL},
    {"a model that refuses it",
     {.history = DIALECT_HISTORY_EVERY},
     "deepseek-r1",
     MESSAGES("{'role':'assistant','content':'a','reasoning_content':'r'}"),
     MESSAGES("{'role':'assistant','content':'a'}"),
     "dropped:reasoning"},
    {"with calls",
     {.history = DIALECT_HISTORY_CALLS, .reasoning_out = DIALECT_OUT_REASONING},
     "openai/gpt-oss-20b",
     MESSAGES("{'role':'assistant','content':'a','reasoning':'r'},"
              "{'role':'assistant','tool_calls':[],'reasoning_content':'s'}"),
     MESSAGES("{'role':'assistant','content':'a'},"
              "{'role':'assistant','tool_calls':[],'reasoning':'s'}"),
     "dropped:reasoning"},
    {"as parts",
     {.history = DIALECT_HISTORY_PARTS},
     "magistral-small",
     MESSAGES("{'role':'assistant','content':'a','reasoning_content':'r\\n'},"
              "{'role':'assistant','content':null,'reasoning_content':'r'},"
              "{'role':'assistant','reasoning_content':'r'},"
              "{'role':'assistant','content':[],'reasoning_content':'r'},"
              "{'role':'assistant','content':[{'type':'text','text':'a'}],"
              "'reasoning_content':'r'},{'role':'assistant','reasoning_content':''}"),
     MESSAGES("{'role':'assistant','content':[{'type':'thinking','thinking':[{'type':'text','text':"
              "'r\\n'}]},{'type':'text','text':'a'}]},"
              "{'role':'assistant','content':[{'type':'thinking','thinking':[{'type':'text','text':"
              "'r'}]}]},"
              "{'content':[{'type':'thinking','thinking':[{'type':'text','text':'r'}]}],"
              "'role':'assistant'},"
              "{'role':'assistant','content':[{'type':'thinking','thinking':[{'type':'text','text':"
              "'r'}]}]},"
              "{'role':'assistant','content':[{'type':'thinking','thinking':[{'type':'text','text':"
              "'r'}]},{'type':'text','text':'a'}]},{'role':'assistant'}"),
     NULL},
    {"as parts, of a model that does not reason",
     {.history = DIALECT_HISTORY_PARTS},
     "codestral",
     MESSAGES("{'role':'assistant','content':'a','reasoning_content':'r'}"),
     MESSAGES("{'role':'assistant','content':'a'}"),
     "dropped:reasoning"},
};

static void test_history(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(history_rows); i++)
        check(&history_rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_history, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
