/* SPDX-License-Identifier: MIT */
/*
 * Requests for an upstream of this protocol: edited, and written from those of another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/anthropic_priv.h"

extern const struct protocol protocol_anthropic;
extern const struct protocol protocol_openai_chat;

enum { ARENA_MAX = 16 * 1024 * 1024, DEPTH_MAX = 64 };

struct told {
    enum error_code code;
    struct error e;
    struct str body;
    struct str path;
    struct str warnings;
    struct str json_tool;
};

/* What an upstream is told of a body in another protocol, or the same; how->same_protocol: it is
 * edited. */
static struct told tell(const struct protocol *from, struct str body, struct encode_request how,
                        struct arena *arena)
{
    const struct request_limits limits = {.depth_max = DEPTH_MAX, .operation = how.operation};
    struct translation t = {.arena = arena};
    struct told told = {.code = OK};
    struct request request;
    struct wire wire;
    struct buf out;

    how.translation = how.same_protocol ? NULL : &t;
    if (how.vendor.n == 0)
        how.vendor = STR("anthropic");
    told.code = from->request_decode(body, &limits, arena, &request, &told.e);
    if (told.code == OK && !how.same_protocol)
        told.code = from->request_decode_full(&request, &limits, arena, &told.e);
    if (told.code == OK)
        told.code = protocol_anthropic.request_encode(&request, &how, arena, &wire, &told.e);
    if (told.code != OK)
        return told;
    buf_init(&out, ARENA_MAX);
    for (size_t i = 0; i < wire.body_n; i++)
        buf_add(&out, wire.body[i]);
    assert_int_equal(out.n, wire.body_bytes);
    told.body = str_copy(arena, buf_str(&out));
    told.path = wire.path;
    buf_reset(&out);
    translation_write_warnings(&t, &out);
    told.warnings = str_copy(arena, buf_str(&out));
    told.json_tool = t.json_tool;
    buf_fini(&out);
    return told;
}

/* " instead of ' in what is written here. */
static struct str quoted(const char *text, struct arena *arena)
{
    struct str s = str_copy(arena, str_c(text));
    char *p = str_z(arena, s);

    for (size_t i = 0; i < s.n; i++) {
        if (p[i] == '\'')
            p[i] = '"';
    }
    return str_of(p, s.n);
}

struct row {
    const char *what;
    const char *model;
    const char *request;  /* Chat Completions, without its model and braces */
    const char *body;     /* without {"model":…, and the brace at its end */
    const char *warnings; /* or, behind '!', the detail of why it is refused */
};

#define SONNET "claude-sonnet-4-5"
#define HI     "'messages':[{'role':'user','content':'Hi'}]"
#define MAX    "'max_tokens':64000"

static const struct row rows[] = {
    {"no max_tokens: the model's", SONNET, HI, MAX "," HI, ""},
    {"nobody knows the model", "kimi-k2", HI, "'max_tokens':4096," HI, ""},
    {"nor its maximum", "kimi-k2", HI ",'max_tokens':90000", "'max_tokens':90000," HI, ""},
    {"more than the model has", SONNET, HI ",'max_completion_tokens':90000", MAX "," HI,
     "changed:max_tokens"},
    {"temperature is at most 1", SONNET, HI ",'temperature':1.7", MAX ",'temperature':1," HI,
     "changed:temperature"},
    {"and is as it was written", SONNET, HI ",'temperature':0.70", MAX ",'temperature':0.70," HI,
     ""},
    {"temperature is kept, top_p not", SONNET, HI ",'temperature':0.5,'top_p':0.9",
     MAX ",'temperature':0.5," HI, "dropped:top_p"},
    {"by a model that nobody knows too", "kimi-k2", HI ",'temperature':0.5,'top_p':0.9",
     "'max_tokens':4096,'temperature':0.5," HI, "dropped:top_p"},
    {"top_p and top_k alone", SONNET, HI ",'top_p':0.9,'top_k':5", MAX ",'top_p':0.9,'top_k':5," HI,
     ""},
    {"a model that refuses sampling", "claude-opus-4-8",
     HI ",'temperature':0.5,'top_p':0.9,'top_k':5", "'max_tokens':128000," HI,
     "dropped:temperature,dropped:top_p,dropped:top_k"},
    {"but 1 is what it does", "claude-opus-4-8", HI ",'temperature':1.0,'top_p':1",
     "'max_tokens':128000," HI, ""},
    {"what it has not", SONNET,
     HI ",'seed':1,'frequency_penalty':0.5,'presence_penalty':0,'logprobs':true,"
        "'logit_bias':{'1':2},'n':1,'verbosity':'low','store':true",
     MAX "," HI, "dropped:logit_bias,dropped:seed,dropped:frequency_penalty,dropped:logprobs"},
    {"two choices", SONNET, HI ",'n':2", NULL, "!more than one choice (n)"},
    {"an answer as audio", SONNET, HI ",'modalities':['text','audio']", NULL,
     "!an answer as audio (modalities)"},
    {"blank stop sequences", SONNET, HI ",'stop':['a','\\n ','b']",
     MAX ",'stop_sequences':['a','b']," HI, "dropped:stop"},
    {"stream, user, tier", SONNET, HI ",'stream':true,'user':'u1','service_tier':'default'",
     MAX ",'stream':true,'metadata':{'user_id':'u1'},'service_tier':'standard_only'," HI, ""},
    {"a budget for an effort", SONNET, HI ",'reasoning_effort':'medium'",
     MAX ",'thinking':{'type':'enabled','budget_tokens':8192}," HI, ""},
    {"no room for thoughts", SONNET, HI ",'reasoning_effort':'medium','max_tokens':1000",
     "'max_tokens':1000," HI, "dropped:thinking"},
    {"some room", SONNET, HI ",'reasoning_effort':'high','max_tokens':4000",
     "'max_tokens':4000,'thinking':{'type':'enabled','budget_tokens':2000}," HI, ""},
    {"none", SONNET, HI ",'reasoning_effort':'none'", MAX "," HI, ""},
    {"adaptive", "claude-opus-4-6", HI ",'reasoning_effort':'high','temperature':0.3",
     "'max_tokens':128000,'thinking':{'type':'adaptive'},'output_config':{'effort':'high'}," HI,
     "dropped:temperature"},
    {"adaptive, off", "claude-opus-4-8", HI ",'reasoning_effort':'none'",
     "'max_tokens':128000,'thinking':{'type':'disabled'}," HI, ""},
    {"a schema", SONNET,
     HI ",'response_format':{'type':'json_schema','json_schema':{'name':'x','schema':"
        "{'type':'object','properties':{'a':{'type':'string'}},'required':['a'],"
        "'additionalProperties':false}}}",
     MAX ",'output_config':{'format':{'type':'json_schema','schema':{'type':'object','properties':"
         "{'a':{'type':'string'}},'required':['a'],'additionalProperties':false}}}," HI,
     ""},
    {"JSON", SONNET, HI ",'response_format':{'type':'json_object'}",
     MAX ",'system':'Respond only with a JSON object, without any other text.'," HI, ""},
    {"a schema for an old model: a tool", "claude-3-haiku",
     HI ",'response_format':{'type':'json_schema','json_schema':{'name':'x','schema':"
        "{'type':'object','properties':{}}}}",
     "'max_tokens':4096,'tools':[{'name':'json','description':'Respond with the answer as JSON.',"
     "'input_schema':{'type':'object','properties':{}}}],'tool_choice':{'type':'tool',"
     "'name':'json',"
     "'disable_parallel_tool_use':true}," HI,
     ""},
    {"a tool and its choice", SONNET,
     HI ",'tools':[{'type':'function','function':{'name':'f','description':'d','parameters':"
        "{'type':'object','properties':{}},'strict':true}}],'tool_choice':'required'",
     MAX ",'tools':[{'name':'f','description':'d','input_schema':{'type':'object','properties':{},"
         "'additionalProperties':false},'strict':true}],'tool_choice':{'type':'any'}," HI,
     ""},
    {"not at once", SONNET,
     HI ",'tools':[{'type':'function','function':{'name':'f'}}],'parallel_tool_calls':false",
     MAX ",'tools':[{'name':'f','input_schema':{'type':'object','properties':{}}}],"
         "'tool_choice':{'type':'auto','disable_parallel_tool_use':true}," HI,
     ""},
    {"none of them", SONNET,
     HI ",'tools':[{'type':'function','function':{'name':'f'}}],'parallel_tool_calls':false,"
        "'tool_choice':'none'",
     MAX ",'tools':[{'name':'f','input_schema':{'type':'object','properties':{}}}],"
         "'tool_choice':{'type':'none'}," HI,
     ""},
    {"named", SONNET,
     HI ",'tools':[{'type':'function','function':{'name':'f'}}],"
        "'tool_choice':{'type':'function','function':{'name':'f'}}",
     MAX ",'tools':[{'name':'f','input_schema':{'type':'object','properties':{}}}],"
         "'tool_choice':{'type':'tool','name':'f'}," HI,
     ""},
    {"a subset", SONNET,
     HI ",'tools':[{'type':'function','function':{'name':'f'}},{'type':'function','function':"
        "{'name':'g'}}],'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'required',"
        "'tools':[{'type':'function','function':{'name':'g'}}]}}",
     MAX ",'tools':[{'name':'g','input_schema':{'type':'object','properties':{}}}],"
         "'tool_choice':{'type':'any'}," HI,
     ""},
    {"thoughts leave the choice to the model", SONNET,
     HI ",'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':'required',"
        "'reasoning_effort':'high'",
     MAX ",'thinking':{'type':'enabled','budget_tokens':16384},'tools':[{'name':'f','input_schema':"
         "{'type':'object','properties':{}}}],'tool_choice':{'type':'auto'}," HI,
     "changed:tool_choice"},
    {"no tools, nothing to choose", SONNET, HI ",'tools':[],'tool_choice':'auto'", MAX "," HI, ""},
    {"results in one message, and text after them", SONNET,
     "'messages':[{'role':'system','content':'S'},{'role':'user','content':'U'},"
     "{'role':'assistant','content':'','tool_calls':[{'id':'a','type':'function','function':"
     "{'name':'f','arguments':'{}'}},{'id':'b','type':'function','function':{'name':'f',"
     "'arguments':''}}]},{'role':'tool','tool_call_id':'b','content':'B'},{'role':'tool',"
     "'tool_call_id':'a','content':''},{'role':'user','content':'V'}]",
     MAX ",'tools':[{'name':'f','input_schema':{'type':'object','properties':{}}}],"
         "'tool_choice':{'type':'none'},'system':'S','messages':[{'role':'user','content':'U'},"
         "{'role':'assistant','content':[{'type':'tool_use','id':'a','name':'f','input':{}},"
         "{'type':'tool_use','id':'b','name':'f','input':{}}]},{'role':'user','content':["
         "{'type':'tool_result','tool_use_id':'b','content':'B'},"
         "{'type':'tool_result','tool_use_id':'a'},{'type':'text','text':'V'}]}]",
     ""},
    {"an assistant's blanks at the end", SONNET,
     "'messages':[{'role':'user','content':'U'},{'role':'assistant','content':'So: '}]",
     MAX ",'messages':[{'role':'user','content':'U'},{'role':'assistant','content':'So:'}]", ""},
    {"images", SONNET,
     "'messages':[{'role':'user','content':[{'type':'text','text':'T'},{'type':'image_url',"
     "'image_url':{'url':'data:image/jpg;base64,AAAA'}},{'type':'image_url','image_url':{'url':"
     "'https://x/y.png','detail':'high'}}]}]",
     MAX ",'messages':[{'role':'user','content':[{'type':'text','text':'T'},{'type':'image',"
         "'source':{'type':'base64','media_type':'image/jpeg','data':'AAAA'}},{'type':'image',"
         "'source':{'type':'url','url':'https://x/y.png'}}]}]",
     ""},
    {"an image of another kind", SONNET,
     "'messages':[{'role':'user','content':[{'type':'image_url','image_url':{'url':"
     "'data:image/tiff;base64,AAAA'}}]}]",
     NULL, "!an image that is neither JPEG, PNG, GIF nor WebP"},
    {"documents", SONNET,
     "'messages':[{'role':'user','content':[{'type':'file','file':{'filename':'a.pdf','file_data':"
     "'data:application/pdf;base64,AAAA'}},{'type':'file','file':{'filename':'b.txt','file_data':"
     "'data:text/plain;base64,SGk='}}]}]",
     MAX ",'messages':[{'role':'user','content':[{'type':'document','source':{'type':'base64',"
         "'media_type':'application/pdf','data':'AAAA'},'title':'a.pdf'},{'type':'document',"
         "'source':{'type':'text','media_type':'text/plain','data':'Hi'},'title':'b.txt'}]}]",
     ""},
    {"a file's id", SONNET,
     "'messages':[{'role':'user','content':[{'type':'file','file':{'file_id':'f1'}}]}]", NULL,
     "!a document by the id of a file"},
    {"audio", SONNET,
     "'messages':[{'role':'user','content':[{'type':'input_audio','input_audio':{'data':'AAAA',"
     "'format':'wav'}}]}]",
     NULL, "!audio"},
};

/* Catches: a member of the request that does not go up as the matrix says, or is lost in silence */
static void test_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct row *row = &rows[i];
        struct arena arena;

        arena_init(&arena, ARENA_MAX, 4096, NULL);
        struct str request = str_print(&arena, "{\"model\":\"x\",%.*s}",
                                       STR_ARG(quoted(row->request, &arena)));
        struct encode_request how = {.model = str_c(row->model)};
        struct told told = tell(&protocol_openai_chat, request, how, &arena);
        if (row->warnings[0] == '!') {
            if (told.code != ERR_UNSUPPORTED ||
                !str_eq(str_c(told.e.detail), str_c(row->warnings + 1)))
                fail_msg("%s: %d %s", row->what, told.code, told.code == OK ? "" : told.e.detail);
            arena_fini(&arena);
            continue;
        }
        if (told.code != OK)
            fail_msg("%s: %s", row->what, told.e.detail);
        struct str want = str_print(&arena, "{\"model\":\"%s\",%.*s}", row->model,
                                    STR_ARG(quoted(row->body, &arena)));
        if (!str_eq(want, told.body) || !str_eq(told.warnings, str_c(row->warnings)))
            fail_msg("%s\n--- got\n%.*s\n%.*s\n--- want\n%.*s\n%s", row->what, STR_ARG(told.body),
                     STR_ARG(told.warnings), STR_ARG(want), row->warnings);
        assert_string_equal(told.path.p, "/messages");
        arena_fini(&arena);
    }
}

/* --- edited ------------------------------------------------------------------------------- */

/* Catches: more of the client's body changed than must be. */
static void test_edited(void **state)
{
    static const struct {
        const char *model;
        const char *body;
        const char *want;
    } cases[] = {
        {"b", "{ 'model' : 'a', 'max_tokens':1.0, 'x':[1, 2]," HI "}\n",
         "{ 'model' : 'b', 'max_tokens':1.0, 'x':[1, 2]," HI "}\n"},
        {"a", "{ 'model' : 'a','max_tokens':1," HI "}", "{ 'model' : 'a','max_tokens':1," HI "}"},
        {NULL, "{'model':'a','max_tokens':1," HI "}", "{'model':'a','max_tokens':1," HI "}"},
        {"b\\\"", "{'model':'a','session_id':'s','max_tokens':1," HI "}",
         "{'model':'b\\\\\\'','max_tokens':1," HI "}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena;
        arena_init(&arena, ARENA_MAX, 4096, NULL);
        struct encode_request how = {
            .same_protocol = true,
            .model = cases[i].model == NULL ? STR_NULL : quoted(cases[i].model, &arena),
            .operation = i % 2 == 0 ? OP_GENERATE : OP_COUNT_TOKENS,
        };
        struct told told = tell(&protocol_anthropic, quoted(cases[i].body, &arena), how, &arena);
        assert_int_equal(told.code, OK);
        struct str want = quoted(cases[i].want, &arena);
        if (!str_eq(told.body, want))
            fail_msg("--- got\n%.*s\n--- want\n%.*s", STR_ARG(told.body), STR_ARG(want));
        assert_string_equal(told.path.p, i % 2 == 0 ? "/messages" : "/messages/count_tokens");
        arena_fini(&arena);
    }
}

/* --- written again ------------------------------------------------------------------------ */

#define CACHE      ",'cache_control':{'type':'ephemeral'}"
#define TEXT(rest) "{'type':'text','text':'T'" rest "}"
#define CALL(id)   "{'type':'tool_use','id':'" id "','name':'f','input':{'a':1.0}}"

#define TOOLS "'tools':[{'name':'f','input_schema':{'type':'object','properties':{}}" CACHE "}]"

#define USER(parts) "{'role':'user','content':[" parts "]}"
#define PICTURE                                                                  \
    "{'type':'image','source':{'type':'base64','media_type':'image/png','data':" \
    "'AAAA'}}"

/* What the protocol itself can say is the same when it was read and is written: of the
 * conversation. */
static void test_written_again(void **state)
{
    static const char *const cases[] = {
        TOOLS ",'messages':[" USER(TEXT("") "," TEXT(CACHE)) "]",
        TOOLS ",'system':[" TEXT(CACHE) "," TEXT("") "],'messages':[" USER(TEXT(CACHE)) "]",
        TOOLS ",'messages':[{'role':'user','content':'U'},{'role':'assistant','content':["
              "" TEXT("") "," CALL("a") "," CALL("b") "]}," USER(
                  "{'type':'tool_result','tool_use_id':'a','content':[" TEXT(
                      "") "," PICTURE "],'is_error':true" CACHE
                          "},{'type':'tool_result','tool_use_id':'b','content':"
                          "'R'}," TEXT("")) "]",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena;
        arena_init(&arena, ARENA_MAX, 4096, NULL);
        struct str body = str_print(&arena, "{\"model\":\"" SONNET "\",\"max_tokens\":5,%.*s}",
                                    STR_ARG(quoted(cases[i], &arena)));
        struct told told = tell(&protocol_anthropic, body,
                                (struct encode_request){.model = STR(SONNET)}, &arena);
        if (told.code != OK)
            fail_msg("%.*s: %s", STR_ARG(body), told.e.detail);
        if (!str_eq(told.body, body) || told.warnings.n > 0)
            fail_msg("--- got\n%.*s\n%.*s\n--- want\n%.*s", STR_ARG(told.body),
                     STR_ARG(told.warnings), STR_ARG(body));
        arena_fini(&arena);
    }
}

/* Upstreams refuse more marks than four: the first ones are left out. */
static void test_marks_of_the_cache(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    struct str body = quoted("{'model':'" SONNET "','max_tokens':5," TOOLS
                             ",'system':[" TEXT(CACHE) "],'messages':[" USER(
                                 TEXT(CACHE) "," TEXT(CACHE) "," TEXT(CACHE) "," TEXT(CACHE)) "]}",
                             &arena);
    struct str want = quoted(
        "{'model':'" SONNET "','max_tokens':5,'tools':[{'name':'f','input_schema':{'type':'object',"
        "'properties':{}}}],'system':[" TEXT("") "],'messages':[" USER(
            TEXT(CACHE) "," TEXT(CACHE) "," TEXT(CACHE) "," TEXT(CACHE)) "]}",
        &arena);
    struct told told = tell(&protocol_anthropic, body,
                            (struct encode_request){.model = STR(SONNET)}, &arena);
    assert_int_equal(told.code, OK);
    if (!str_eq(told.body, want))
        fail_msg("--- got\n%.*s\n--- want\n%.*s", STR_ARG(told.body), STR_ARG(want));
    arena_fini(&arena);
}

/* Catches: half of a request sent, when it does not fit. */
static void test_memory(void **state)
{
    static const char text[] = "{'model':'" SONNET "','max_tokens':5,'messages':[{'role':'user',"
                               "'content':'0123456789012345678901234567890123456789'}]}";
    size_t failures = 0;

    (void)state;
    for (size_t max = 1024; max <= 16 * 1024; max += 512) {
        for (int same = 0; same < 2; same++) {
            struct arena arena;
            struct arena kept;
            arena_init(&kept, ARENA_MAX, 4096, NULL);
            arena_init(&arena, max, 512, NULL);
            struct told told = tell(&protocol_anthropic, quoted(text, &kept),
                                    (struct encode_request){.model = STR("m"),
                                                            .same_protocol = same != 0},
                                    &arena);
            if (told.code != OK)
                assert_true(told.code == ERR_TOO_LARGE || told.code == ERR_OVERLOADED);
            failures += told.code != OK;
            arena_fini(&arena);
            arena_fini(&kept);
        }
    }
    assert_true(failures > 0 && failures < 62);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written),       cmocka_unit_test(test_edited),
        cmocka_unit_test(test_written_again), cmocka_unit_test(test_marks_of_the_cache),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
