/* SPDX-License-Identifier: MIT */
/* What is left of conversations that hold commands, in all protocols and at each of their turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "pipeline/command_cut.h"

enum { ARENA_MAX = 16 * 1024 * 1024, BODY_MAX = 32 * 1024 };

static bool keep_rules(void *ctx, const struct cut_message *message, struct cut_rules *rules)
{
    (void)ctx;
    (void)message;
    (void)rules;
    return false;
}

static void quote(char *to, const char *from)
{
    size_t n = strlen(from);

    assert_true(n < BODY_MAX);
    for (size_t i = 0; i <= n; i++)
        to[i] = from[i] == '\'' ? '"' : from[i];
}

struct result {
    char body[BODY_MAX]; /* what goes upstream */
    size_t found;
    bool rest;
    bool nothing;
};

/* newest: the newest message goes on without its commands, too. */
static void cut_body(const char *protocol, struct str body, bool newest, struct result *ret)
{
    struct arena arena;
    struct request request = {.stream = false};
    struct error e = {.code = OK};
    const struct request_limits limits = {.depth_max = 64, .rest = STR("m:generateContent")};
    struct cut cut = {
        .protocol = protocol_find(str_c(protocol)),
        .request = &request,
        .arena = &arena,
        .configured = {.prefix = STR("!/"), .interactive = true},
        .session = {.prefix = STR("!/"), .interactive = true},
        .replay = keep_rules,
    };
    struct str *parts;
    size_t n;
    size_t bytes;
    size_t at = 0;

    arena_init(&arena, ARENA_MAX, 4096, NULL);
    assert_non_null(cut.protocol);
    if (cut.protocol->request_decode(body, &limits, &arena, &request, &e) != OK)
        fail_msg("%s: %.*s", e.detail, STR_ARG(body));
    command_cut_find(&cut);
    ret->found = cut.newest.found;
    ret->rest = cut.newest.rest;
    ret->nothing = cut.nothing;
    const char *before = arena.at;
    if (newest && cut.newest.found > 0 && cut.newest.rest)
        command_cut_newest(&cut); /* on the loop, and the message may be a large one */
    assert_ptr_equal(arena.at, before);
    assert_false(arena_overflowed(&arena));
    json_edit_apply(&request.edits, request.source, &arena, &parts, &n, &bytes);
    assert_true(bytes < sizeof(ret->body));
    for (size_t i = 0; i < n; i++) {
        memcpy(ret->body + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    ret->body[at] = '\0';
    /* What is left is JSON of the same protocol. */
    struct request again = {.stream = false};
    if (cut.protocol->request_decode(str_of(ret->body, at), &limits, &arena, &again, &e) != OK)
        fail_msg("%s: %s", e.detail, ret->body);
    arena_fini(&arena);
}

static const struct {
    const char *protocol;
    const char *body;
    const char *left; /* NULL: not a byte is changed */
} histories[] = {
    /* alone: it goes, and what is behind it */
    {"openai-chat",
     "{'messages':[{'role':'system','content':'s'},{'role':'user','content':'!/set(model=x)'},"
     "{'role':'assistant','content':'Model changed to x'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'system','content':'s'},{'role':'user','content':'hi'}]}"},
    /* with blanks between, at the end and at the beginning, several */
    {"openai-chat",
     "{'messages': [ {'role':'user','content':'a'} ,{'role':'assistant','content':'b'},\n"
     "{'role':'user','content':' !/pwd '},{'role':'assistant','content':'c'},"
     "{'role':'user','content':'!/pwd'},{'role':'assistant','content':'d'} , "
     "{'role':'user','content':'e'} ] }",
     "{'messages': [ {'role':'user','content':'a'} ,{'role':'assistant','content':'b'},\n"
     "{'role':'user','content':'e'} ] }"},
    /* with what the client tells the model between them and behind */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/pwd'},{'role':'system','content':'s'},"
     "{'role':'assistant','content':'d'},{'role':'user','content':'hi'},"
     "{'role':'developer','content':'t'}]}",
     "{'messages':[{'role':'system','content':'s'},{'role':'user','content':'hi'},"
     "{'role':'developer','content':'t'}]}"},
    /* without an answer behind it */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/pwd'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'hi'}]}"},
    /* with what the client told the model beside it, once: that stays, our answer does not */
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':"
     "'<system-reminder>\\nrules\\n</system-reminder>'},{'type':'text','text':'!/pwd'}]},"
     "{'role':'assistant','content':'d'},{'role':'user','content':'hi'}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':"
     "'<system-reminder>\\nrules\\n</system-reminder>'}]},{'role':'user','content':'hi'}]}"},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'<session_context>\\nc\\n</session_context>'},"
     "{'text':'!/pwd'}]},{'role':'model','parts':[{'text':'d'}]},"
     "{'role':'user','parts':[{'text':'hi'}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'<session_context>\\nc\\n</session_context>'}]},"
     "{'role':'user','parts':[{'text':'hi'}]}]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/pwd\\n<system-reminder>r</system-reminder>'},"
     "{'role':'assistant','content':'d'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'\\n<system-reminder>r</system-reminder>'},"
     "{'role':'user','content':'hi'}]}"},
    /* what comes again with each message goes */
    {"openai-chat",
     "{'messages':[{'role':'user','content':"
     "'!/pwd\\n<environment_details>\\ne\\n</environment_details>'},"
     "{'role':'assistant','content':'d'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'hi'}]}"},
    /* mixed: cut, and the answer is the backend's */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/set(model=x) write'},"
     "{'role':'assistant','content':'text'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'write'},{'role':'assistant','content':'text'},"
     "{'role':'user','content':'hi'}]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'Please use: !/set(model=x)'},"
     "{'role':'assistant','content':'text'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'Please use:'},{'role':'assistant','content':'text'},"
     "{'role':'user','content':'hi'}]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a !/pwd !/pwd b\\n!/pwd\\nc'},"
     "{'role':'assistant','content':'text'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'a b\\n\\nc'},{'role':'assistant','content':'text'},"
     "{'role':'user','content':'hi'}]}"},
    /* an unknown one, alone on its line */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/frob'},{'role':'assistant','content':'Unknown'},"
     "{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'hi'}]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a !/frob b'},{'role':'assistant','content':'c'},"
     "{'role':'user','content':'hi'}]}",
     NULL},
    /* parts: what holds nothing any more goes, images stay */
    {"openai-chat",
     "{'messages':[{'role':'user','content':[{'type':'text','text':' !/pwd.'},{'type':'image_url',"
     "'image_url':{'url':'http://a/'}}]},{'role':'assistant','content':'b'},"
     "{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':[{'type':'image_url',"
     "'image_url':{'url':'http://a/'}}]},{'role':'assistant','content':'b'},"
     "{'role':'user','content':'hi'}]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':[{'type':'text','text':'!/pwd'},{'type':'text',"
     "'text':'!/pwd'}]},{'role':'assistant','content':'b'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'hi'}]}"},
    /* an agent's loop: the command that began it stays away */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/set(model=x) list'},{'role':'assistant','content':"
     "null,'tool_calls':[{'id':'t','type':'function','function':{'name':'ls','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'t','content':'!/pwd'}]}",
     "{'messages':[{'role':'user','content':'list'},{'role':'assistant','content':"
     "null,'tool_calls':[{'id':'t','type':'function','function':{'name':'ls','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'t','content':'!/pwd'}]}"},
    /* what calls other tools is not ours, and stays with its results */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':null,"
     "'tool_calls':[{'id':'t','type':'function','function':{'name':'ls','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'t','content':'r'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'assistant','content':null,"
     "'tool_calls':[{'id':'t','type':'function','function':{'name':'ls','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'t','content':'r'},{'role':'user','content':'hi'}]}"},
    /* what the system, assistants and tools say is nobody's command */
    {"openai-chat",
     "{'messages':[{'role':'system','content':'!/pwd'},{'role':'user','content':'a'},"
     "{'role':'assistant','content':'!/pwd'},{'role':'user','content':'hi'}]}",
     NULL},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'```\\n!/pwd\\n```'},"
     "{'role':'assistant','content':'b'},{'role':'user','content':'`!/pwd` http://a!/pwd'}]}",
     NULL},
    /* attempt_completion: with its result */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'b'},"
     "{'role':'user','content':'!/pwd'},{'role':'assistant','content':null,'tool_calls':[{'id':"
     "'call_1','type':'function','function':{'name':'attempt_completion','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'call_1','content':'done'},{'role':'user','content':'hi'}]}",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'b'},"
     "{'role':'user','content':'hi'}]}"},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':"
     "[{'type':'tool_use','id':'call_1','name':'attempt_completion','input':{}}]},"
     "{'role':'user','content':[{'type':'tool_result','tool_use_id':'call_1','content':'x'},"
     "{'type':'text','text':'hi'}]}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':'hi'}]}]}"},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':"
     "[{'type':'tool_use','id':'call_1','name':'attempt_completion','input':{}}]},"
     "{'role':'user','content':[{'type':'tool_result','tool_use_id':'call_1','content':'x'}]},"
     "{'role':'user','content':'hi'}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':'hi'}]}"},
    /* what has a result of ours and commands only goes as a whole, and so on */
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':"
     "[{'type':'tool_use','id':'call_1','name':'attempt_completion','input':{}}]},"
     "{'role':'user','content':[{'type':'tool_result','tool_use_id':'call_1','content':'x'},"
     "{'type':'text','text':'!/pwd'}]},{'role':'assistant','content':[{'type':'tool_use','id':"
     "'call_2','name':'attempt_completion','input':{}}]},{'role':'user','content':[{'type':"
     "'tool_result','tool_use_id':'call_2','content':'x'},{'type':'text','text':'!/pwd hi'}]},"
     "{'role':'assistant','content':'a'},{'role':'user','content':'bye'}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':'hi'}]},"
     "{'role':'assistant','content':'a'},{'role':'user','content':'bye'}]}"},
    /* a client that reads its calls from the text says so in a part of its own */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':"
     "'<attempt_completion>x</attempt_completion>'},{'role':'user','content':[{'type':'text','te"
     "xt':"
     "'[attempt_completion] Result:\\n'},{'type':'text','text':'<feedback>\\nhi\\n</feedback>'}]"
     "}]}",
     "{'messages':[{'role':'user','content':[{'type':'text','text':'<feedback>\\nhi\\n</feedback"
     ">'}]"
     "}]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':"
     "'<attempt_completion>x</attempt_completion>'},{'role':'user','content':[{'type':'text','te"
     "xt':"
     "'[attempt_completion] Result:\\n'},{'type':'text','text':'<feedback>\\n!/pwd\\n</feedback>"
     "'}]}"
     ",{'role':'assistant','content':'b'},{'role':'user','content':'c'}]}",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':"
     "'<attempt_completion>x</attempt_completion>'},{'role':'user','content':'c'}]}"},
    /* one of the backend's own stays */
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'a'},{'role':'assistant','content':"
     "[{'type':'tool_use','id':'x','name':'attempt_completion','input':{}}]},"
     "{'role':'user','content':[{'type':'tool_result','tool_use_id':'x','content':'x'},"
     "{'type':'text','text':'hi'}]}]}",
     NULL},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':["
     "{'functionCall':{'name':'attempt_completion','args':{}}}]},{'role':'user','parts':["
     "{'functionResponse':{'name':'attempt_completion','response':{}}},{'text':'hi'}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'hi'}]}]}"},
    /* what the user said to it stays, as the user's */
    {"openai-chat",
     "{'messages':[{'role':'system','content':'s'},{'role':'user','content':'!/pwd'},{'role':"
     "'assistant','content':null,'tool_calls':[{'id':'c','type':'function','function':{'name':"
     "'attempt_completion','arguments':'{}'}}]}, {'role':'tool','tool_call_id':'c','content':"
     "'So:\\n<feedback>\\nhi \\u00e9\\n</feedback>'} ]}",
     "{'messages':[{'role':'system','content':'s'},{'role':'user','content':"
     "'So:\\n<feedback>\\nhi \\u00e9\\n</feedback>'} ]}"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':null,"
     "'tool_calls':[{'id':'c','type':'function','function':{'name':'attempt_completion',"
     "'arguments':'{}'}}]},{'role':'tool','tool_call_id':'c','content':[{'type':'text','text':"
     "'So:'},{'type':'text','text':'<user_message>hi</user_message>'}]},{'role':'user','content':"
     "'b'}]}",
     "{'messages':[{'role':'user','content':[{'type':'text','text':'So:'},{'type':'text','text':"
     "'<user_message>hi</user_message>'}]},{'role':'user','content':'b'}]}"},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'b'"
     "},{'role':'user','content':'!/pwd'},{'role':'assistant','content':[{'type':'tool_use','id':"
     "'c','name':'attempt_completion','input':{}}]},{'role':'user','content':[{'type':"
     "'tool_result','tool_use_id':'c','content':'<feedback>hi</feedback>','cache_control':{'type':"
     "'ephemeral'}}]},{'role':'assistant','content':'d'},{'role':'user','content':'e'}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'b'"
     "},{'role':'user','content':[{'type':'text','text':'<feedback>hi</feedback>','cache_control':"
     "{'type':'ephemeral'}}]},{'role':'assistant','content':'d'},{'role':'user','content':'e'}]}"},
    /* with its pictures, and with what stands beside it */
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':"
     "[{'type':'tool_use','id':'c','name':'attempt_completion','input':{}}]},{'role':'user',"
     "'content':[{'type':'tool_result','tool_use_id':'c','content':[ {'type':'text','text':"
     "'<feedback>hi</feedback>'}, {'type':'image','source':{'type':'url','url':'http://a/'}} ]},"
     "{'type':'text','text':'!/pwd'}]},{'role':'assistant','content':'d'},"
     "{'role':'user','content':'e'}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':"
     "'<feedback>hi</feedback>'}, {'type':'image','source':{'type':'url','url':'http://a/'}}]},"
     "{'role':'assistant','content':'d'},{'role':'user','content':'e'}]}"},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':'!/pwd'},{'type':'function_call','call_id':"
     "'c','name':'attempt_completion','arguments':'{}'},{'type':'function_call_output','call_id':"
     "'c','output':'[{\\'text\\':\\'So:\\\\n<feedback>\\\\nhi</feedback>\\'}]'}]}",
     "{'model':'m','input':[{'role':'user','content':"
     "'[{\\'text\\':\\'So:\\\\n<feedback>\\\\nhi</feedback>\\'}]'}]}"},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':'!/pwd'},{'type':'function_call','call_id':"
     "'c','name':'attempt_completion','arguments':'{}'},{'type':'function_call_output','call_id':"
     "'c','output':[{'type':'input_text','text':'<task>hi</task>'},{'type':'input_image',"
     "'image_url':'http://a/'}]},{'role':'user','content':'b'}]}",
     "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':"
     "'<task>hi</task>'},{'type':'input_image','image_url':'http://a/'}]},"
     "{'role':'user','content':'b'}]}"},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':["
     "{'functionCall':{'id':'c','name':'attempt_completion','args':{}}}]},{'role':'user','parts':["
     "{'functionResponse':{'id':'c','name':'attempt_completion','response':{'result':"
     "'<feedback>hi</feedback>'}}},{'inlineData':{'mimeType':'image/png','data':'AA=='}}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'<feedback>hi</feedback>'},"
     "{'inlineData':{'mimeType':'image/png','data':'AA=='}}]}]}"},
    /* Roo Code's, Cline's without and with ids, in a turn that is nobody's, and alone */
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':["
     "{'functionCall':{'name':'attempt_completion','args':{}}}]},{'role':'user','parts':["
     "{'functionResponse':{'name':'attempt_completion','response':{'name':'attempt_completion',"
     "'content':'<answer>hi</answer>'}}}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'<answer>hi</answer>'}]}]}"},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':["
     "{'functionCall':{'id':'c','name':'attempt_completion','args':{}}}]},{'role':'user','parts':["
     "{'functionResponse':{'name':'c','response':{'result':[{'type':'text','text':'So:'},{'type':"
     "'text','text':'<feedback>hi</feedback>'}]}}}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'So:'},{'text':'<feedback>hi</feedback>'}]}]}"},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':["
     "{'functionCall':{'name':'attempt_completion','args':{}}}]},{'role':'function','parts':["
     "{'functionResponse':{'name':'attempt_completion','response':{'output':"
     "'<feedback>hi</feedback>'}}}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'<feedback>hi</feedback>'}]}]}"},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':"
     "{'functionCall':{'name':'attempt_completion','args':{}}}},{'role':'user','parts':"
     "{'functionResponse':{'name':'attempt_completion','response':{'output':"
     "'<feedback>hi</feedback>'}}}}]}",
     "{'contents':[{'role':'user','parts':[{'text':'<feedback>hi</feedback>'}]}]}"},
    /* but not what the user said to the backend's, and no more than that of ours */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':null,'tool_calls':["
     "{'id':'c','type':'function','function':{'name':'attempt_completion','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'c','content':'<feedback>hi</feedback>'}]}",
     NULL},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':"
     "[{'type':'tool_use','id':'c','name':'attempt_completion','input':{}}]},{'role':'user',"
     "'content':[{'type':'tool_result','tool_use_id':'c','content':[{'type':'text','text':"
     "'The user likes </feedback> and <feedbacks>'}]}]},{'role':'user','content':'hi'}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':'hi'}]}"},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'text':'!/pwd'}]},{'role':'model','parts':["
     "{'text':'x'}]},{'role':'user','parts':[{'text':'hi !/pwd'},{'inlineData':{'mimeType':"
     "'image/png','data':'AA=='}}]},{'role':'model','parts':[{'text':'x'}]},{'parts':[{'text':'b'}]"
     "}]}",
     "{'contents':[{'role':'user','parts':[{'text':'hi'},{'inlineData':{'mimeType':"
     "'image/png','data':'AA=='}}]},{'role':'model','parts':[{'text':'x'}]},{'parts':[{'text':'b'}]"
     "}]}"},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':'!/pwd'},{'type':'message','role':'assistan"
     "t','content':["
     "{'type':'output_text','text':'x'}]},{'role':'user','content':'hi'}]}",
     "{'model':'m','input':[{'role':'user','content':'hi'}]}"},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'!/pwd'}]},"
     "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'x'}]},"
     "{'type':'function_call','call_id':'call_1','name':'attempt_completion','arguments':'{}'},"
     "{'type':'function_call_output','call_id':'call_1','output':'x'},"
     "{'role':'user','content':'hi'}]}",
     "{'model':'m','input':[{'role':'user','content':'hi'}]}"},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':'!/pwd'},{'type':'reasoning','id':'r','summ"
     "ary':[]},"
     "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'x'}]},"
     "{'role':'user','content':'hi'}]}",
     "{'model':'m','input':[{'type':'reasoning','id':'r','summary':[]},"
     "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'x'}]},"
     "{'role':'user','content':'hi'}]}"},
    {"anthropic",
     "{'max_tokens':9,'system':'!/pwd','messages':[{'role':'user','content':[{'type':'text','text':"
     "'!/set(model=x)'},{'type':'text','text':'write','cache_control':{'type':'ephemeral'}}]},"
     "{'role':'assistant','content':'b'},{'role':'user','content':'hi'}]}",
     "{'max_tokens':9,'system':'!/pwd','messages':[{'role':'user','content':["
     "{'type':'text','text':'write','cache_control':{'type':'ephemeral'}}]},"
     "{'role':'assistant','content':'b'},{'role':'user','content':'hi'}]}"},
};

static void test_histories(void **unused)
{
    static struct result result;
    static char body[BODY_MAX];
    static char left[BODY_MAX];

    (void)unused;
    for (size_t i = 0; i < COUNT_OF(histories); i++) {
        quote(body, histories[i].body);
        quote(left, histories[i].left == NULL ? histories[i].body : histories[i].left);
        cut_body(histories[i].protocol, str_c(body), false, &result);
        if (strcmp(result.body, left) != 0)
            fail_msg("row %zu\nis:     %s\nwanted: %s", i, result.body, left);
        assert_int_equal(result.found, 0);
        assert_false(result.nothing);
        /* What is left holds nothing more to cut. */
        cut_body(histories[i].protocol, str_c(left), false, &result);
        if (strcmp(result.body, left) != 0)
            fail_msg("row %zu again: %s", i, result.body);
    }
}

/* --- each turn of a conversation --- */

static const char *const conversation[] = {
    "{'role':'user','content':'!/set(model=x)'}",
    "{'role':'assistant','content':'Model changed to x'}",
    "{'role':'user','content':'hello'}",
    "{'role':'assistant','content':'hi'}",
    "{'role':'user','content':'!/oneoff(a:b) write a file'}",
    "{'role':'assistant','content':null,'tool_calls':[{'id':'t','type':'function','function':"
    "{'name':'write','arguments':'{}'}}]}",
    "{'role':'tool','tool_call_id':'t','content':'!/pwd'}",
    "{'role':'assistant','content':'written'}",
    "{'role':'user','content':[{'type':'text','text':'!/pwd'},{'type':'text','text':'!/help'}]}",
    "{'role':'assistant','content':'many words'}",
    "{'role':'user','content':'!/pwd'}",
    "{'role':'assistant','content':null,'tool_calls':[{'id':'c','type':'function','function':"
    "{'name':'attempt_completion','arguments':'{}'}}]}",
    "{'role':'tool','tool_call_id':'c','content':'ok'}",
    "{'role':'user','content':'a\\n!/pwd\\nb'}",
    "{'role':'assistant','content':'c'}",
    "{'role':'user','content':'bye'}",
};

/* What went upstream once goes upstream the same way, and more behind it, at each later turn. */
static void test_a_growing_conversation_keeps_its_beginning(void **unused)
{
    static struct result result;
    static char body[BODY_MAX];
    static char plain[BODY_MAX];
    static char before[BODY_MAX];
    size_t before_n = 0;
    size_t sent = 0;

    (void)unused;
    for (size_t turns = 1; turns <= COUNT_OF(conversation); turns++) {
        size_t n = (size_t)snprintf(plain, sizeof(plain), "{'messages':[");
        for (size_t i = 0; i < turns; i++)
            n += (size_t)snprintf(plain + n, sizeof(plain) - n, "%s%s", i == 0 ? "" : ",",
                                  conversation[i]);
        (void)snprintf(plain + n, sizeof(plain) - n, "]}");
        quote(body, plain);
        cut_body("openai-chat", str_c(body), true, &result);
        bool users = strstr(conversation[turns - 1], "'user'") != NULL;
        bool tools = strstr(conversation[turns - 1], "'tool'") != NULL;
        if ((!users && !tools) || (result.found > 0 && !result.rest) || result.nothing)
            continue; /* nothing goes upstream */
        if (strstr(result.body, "Model changed") != NULL || strstr(result.body, "many") != NULL)
            fail_msg("%s", result.body);
        size_t size = strlen(result.body) - 2; /* without its end */
        assert_true(size > before_n);
        assert_memory_equal(result.body, before, before_n);
        memcpy(before, result.body, size);
        before_n = size;
        sent++;
    }
    assert_true(sent >= 5);
}

/* Claude Code puts a system text behind what its user says. */
static void test_system_texts_behind_the_newest_message(void **unused)
{
    static struct result result;
    static char body[BODY_MAX];

    (void)unused;
    quote(body, "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd hi'},"
                "{'role':'system','content':'!/pwd'}]}");
    cut_body("anthropic", str_c(body), true, &result);
    assert_int_equal(result.found, 1);
    assert_true(result.rest);
    quote(body, "{'max_tokens':9,'messages':[{'role':'user','content':'hi'},"
                "{'role':'system','content':'!/pwd'}]}");
    assert_string_equal(result.body, body);
    /* nothing but system texts is for the backend to refuse */
    quote(body, "{'messages':[{'role':'system','content':'!/pwd'}]}");
    cut_body("openai-chat", str_c(body), true, &result);
    assert_false(result.nothing);
    assert_int_equal(result.found, 0);
    assert_string_equal(result.body, body);
}

static void test_nothing_may_be_left(void **unused)
{
    static struct result result;
    static char body[BODY_MAX];

    (void)unused;
    quote(body, "{'messages':[{'role':'system','content':'s'},{'role':'user','content':'!/pwd'},"
                "{'role':'assistant','content':null,'tool_calls':[{'id':'c','type':'function',"
                "'function':{'name':'attempt_completion','arguments':'{}'}}]},"
                "{'role':'tool','tool_call_id':'c','content':'ok'}]}");
    cut_body("openai-chat", str_c(body), true, &result);
    assert_true(result.nothing);
    quote(body, "{'messages':[{'role':'user','content':'!/pwd\\n<system-reminder>r"
                "</system-reminder>'},{'role':'assistant','content':'d'}]}");
    cut_body("openai-chat", str_c(body), true, &result);
    assert_true(result.nothing);
}

/* The newest message: a result of ours is nothing that is left. */
static void test_results_of_own_calls_are_no_rest(void **unused)
{
    static struct result result;
    static char body[BODY_MAX];

    (void)unused;
    quote(body, "{'max_tokens':9,'messages':[{'role':'user','content':'a'},{'role':'assistant',"
                "'content':'b'},{'role':'user','content':'!/pwd'},{'role':'assistant','content':["
                "{'type':'tool_use','id':'c','name':'attempt_completion','input':{}}]},"
                "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':'x'},"
                "{'type':'text','text':'!/pwd'}]}]}");
    cut_body("anthropic", str_c(body), true, &result);
    assert_int_equal(result.found, 1);
    assert_false(result.rest);
}

/* Results never command, also when the user's words are in them; what stands beside them does. */
static void test_words_in_results_command_nothing(void **unused)
{
    static const struct {
        const char *protocol;
        const char *body; /* up to the result */
        const char *result;
        const char *words;
        const char *end;
    } rows[] = {
        {"openai-chat",
         "{'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant','content':null,"
         "'tool_calls':[{'id':'c','type':'function','function':{'name':'attempt_completion',"
         "'arguments':'{}'}}]},",
         "{'role':'tool','tool_call_id':'c','content':'<feedback>\\n!/pwd\\n</feedback>'}",
         "{'role':'user','content':'<feedback>\\n!/pwd\\n</feedback>'}", "]}"},
        {"openai-responses",
         "{'model':'m','input':[{'role':'user','content':'!/pwd'},{'type':'function_call',"
         "'call_id':'c','name':'attempt_completion','arguments':'{}'},",
         "{'type':'function_call_output','call_id':'c','output':'<task>\\n!/pwd\\n</task>'}",
         "{'role':'user','content':'<task>\\n!/pwd\\n</task>'}", "]}"},
        {"anthropic",
         "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant',"
         "'content':[{'type':'tool_use','id':'c','name':'attempt_completion','input':{}}]},",
         "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':"
         "'<feedback>\\n!/pwd\\n</feedback>'}]}",
         "{'role':'user','content':[{'type':'text','text':'<feedback>\\n!/pwd\\n</feedback>'}]}",
         "]}"},
        {"gemini",
         "{'contents':[{'parts':[{'text':'!/pwd'}]},{'role':'model','parts':[{'functionCall':{"
         "'name':'attempt_completion','args':{}}}]},",
         "{'parts':[{'functionResponse':{'name':'attempt_completion','response':{'output':"
         "'<feedback>\\n!/pwd\\n</feedback>'}}}]}",
         "{'parts':[{'text':'<feedback>\\n!/pwd\\n</feedback>'}]}", "]}"},
        /* beside it: runs, and something is left */
        {"anthropic",
         "{'max_tokens':9,'messages':[{'role':'user','content':'!/pwd'},{'role':'assistant',"
         "'content':[{'type':'tool_use','id':'c','name':'attempt_completion','input':{}}]},",
         "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':"
         "'<feedback>!/pwd</feedback>'},{'type':'text','text':'!/pwd'}]}",
         "{'role':'user','content':[{'type':'text','text':'<feedback>!/pwd</feedback>'}]}", "]}"},
    };
    static struct result result;
    static char plain[BODY_MAX];
    static char body[BODY_MAX];
    static char left[BODY_MAX];

    (void)unused;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t head = (size_t)(strchr(rows[i].body, '[') - rows[i].body) + 1;
        (void)snprintf(plain, sizeof(plain), "%s%s%s", rows[i].body, rows[i].result, rows[i].end);
        quote(body, plain);
        (void)snprintf(plain + head, sizeof(plain) - head, "%s%s", rows[i].words, rows[i].end);
        quote(left, plain);
        cut_body(rows[i].protocol, str_c(body), true, &result);
        assert_string_equal(result.body, left);
        assert_int_equal(result.found, i == COUNT_OF(rows) - 1);
        assert_int_equal(result.rest, result.found > 0);
        assert_false(result.nothing);
    }
}

/* What stands behind the user's message and is not the user's hides it not. */
static void test_the_newest_message_before_what_is_told(void **unused)
{
    static struct result result;
    static char body[BODY_MAX];

    (void)unused;
    quote(body, "{'messages':[{'role':'user','content':'!/pwd'},{'role':'system','content':'s'},"
                "{'role':'developer','content':'t'}]}");
    cut_body("openai-chat", str_c(body), false, &result);
    assert_int_equal(result.found, 1);
    assert_false(result.rest);
    assert_false(result.nothing);
    quote(body, "{'messages':[{'role':'user','content':'!/pwd'},{'role':'system','content':'s'},"
                "{'role':'assistant','content':'d'}]}");
    cut_body("openai-chat", str_c(body), false, &result);
    assert_int_equal(result.found, 0);
    assert_true(result.nothing);
}

/* --- conversations of any kind --- */

static const struct {
    const char *protocol;
    const char *head;
    const char *turns[14];
} kinds[] = {
    {"openai-chat",
     "{'messages':[",
     {"{'role':'user','content':'!/pwd'}", "{'role':'user','content':'a !/pwd b'}",
      "{'role':'user','content':[{'type':'text','text':'!/pwd'},{'type':'text','text':"
      "'[attempt_completion] Result:'},{'type':'image_url','image_url':{'url':'http://a/'}}]}",
      "{'role':'user','content':[{'type':'text','text':'[attempt_completion] Result:'},"
      "{'type':'text','text':'<feedback>\\n!/pwd\\n</feedback>'}]}",
      "{'role':'assistant','content':'a'}",
      "{'role':'assistant','content':null,'tool_calls':[{'id':'c','type':'function','function':{"
      "'name':'attempt_completion','arguments':'{}'}}]}",
      "{'role':'assistant','content':null,'tool_calls':[{'id':'c','type':'function','function':{"
      "'name':'other','arguments':'{}'}}]}",
      "{'role':'tool','tool_call_id':'c','content':'r'}", "{'role':'system','content':'s'}",
      "{'role':'user','content':''}", "{'role':'user','content':[]}", "{'role':'user'}",
      "{'role':'tool','tool_call_id':'c','content':'<task>a</task>'}",
      "{'role':'tool','tool_call_id':'c','content':[{'type':'text','text':'<task>a</task>'}]}"}},
    {"anthropic",
     "{'max_tokens':9,'messages':[",
     {"{'role':'user','content':'!/pwd'}",
      "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':'r'}]}",
      "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':'r'},"
      "{'type':'text','text':'!/pwd'}]}",
      "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':'r'},"
      "{'type':'tool_result','tool_use_id':'d','content':'r'},{'type':'text','text':'a !/pwd'}]}",
      "{'role':'user','content':[{'type':'text','text':'!/pwd'},{'type':'text','text':'!/pwd'}]}",
      "{'role':'assistant','content':[{'type':'tool_use','id':'c','name':'attempt_completion',"
      "'input':{}}]}",
      "{'role':'assistant','content':[{'type':'tool_use','id':'d','name':'other','input':{}},"
      "{'type':'tool_use','id':'c','name':'attempt_completion','input':{}}]}",
      "{'role':'assistant','content':'a'}", "{'role':'user','content':'b'}",
      "{'role':'user','content':[{'type':'text','text':'[attempt_completion] Result:'}]}",
      "{'role':'system','content':'s'}", "{'role':'user','content':[]}",
      "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':"
      "'<task>a</task>'},{'type':'tool_result','tool_use_id':'c','content':[{'type':'text','text':"
      "'<task>a</task>'}]},{'type':'tool_result','tool_use_id':'c'}]}",
      "{'role':'user','content':[{'type':'tool_result','tool_use_id':'c','content':"
      "[{'type':'text','text':'<task>a</task>'},{}],'cache_control':{}},"
      "{'type':'text','text':'!/pwd'}]}"}},
    {"gemini",
     "{'contents':[",
     {"{'role':'user','parts':[{'text':'!/pwd'}]}",
      "{'role':'user','parts':[{'functionResponse':{'name':'attempt_completion','response':{}}}]}",
      "{'role':'user','parts':[{'functionResponse':{'name':'attempt_completion','response':{}}},"
      "{'text':'!/pwd'},{'text':'c'}]}",
      "{'role':'model','parts':[{'functionCall':{'name':'attempt_completion','args':{}}}]}",
      "{'role':'model','parts':[{'functionCall':{'name':'other','args':{}}},{'text':'x'}]}",
      "{'parts':[{'text':'a'}]}", "{'parts':[{'text':'a !/pwd'}]}", "{'role':'model','parts':[]}",
      "{'role':'user','parts':[{'text':'!/pwd'},{'inlineData':{'mimeType':'a/b','data':'AA=='}}]}",
      "{'role':'user','parts':[{'text':'!/pwd'},{'text':'!/pwd'}]}", "{'role':'user','parts':[]}",
      "{'role':'function','parts':[{'functionResponse':{'name':'f','response':{}}}]}",
      "{'role':'function','parts':[{'functionResponse':{'name':'attempt_completion','response':{"
      "'output':'<task>a</task>'}}},{'functionResponse':{'name':'attempt_completion','response':{"
      "'output':'<task>a</task>'}}}]}",
      "{'parts':[{'functionResponse':{'name':'attempt_completion','response':{'result':[{'type':"
      "'text','text':'<task>a</task>'},{'text':'b'}]}}},{'text':'!/pwd'}]}"}},
    {"openai-responses",
     "{'model':'m','input':[",
     {"{'role':'user','content':'!/pwd'}",
      "{'role':'user','content':[{'type':'input_text','text':'a !/pwd'}]}",
      "{'role':'user','content':[{'type':'input_text','text':'!/pwd'},{'type':'input_image',"
      "'image_url':'http://a/'}]}",
      "{'type':'function_call','call_id':'c','name':'attempt_completion','arguments':'{}'}",
      "{'type':'function_call','call_id':'d','name':'other','arguments':'{}'}",
      "{'type':'function_call_output','call_id':'c','output':'r'}",
      "{'type':'function_call_output','call_id':'d','output':'r'}",
      "{'type':'message','role':'assistant','content':[{'type':'output_text','text':'x'}]}",
      "{'type':'reasoning','id':'r','summary':[]}", "{'role':'developer','content':'s'}",
      "{'type':'item_reference','id':'i'}", "{'role':'user','content':[]}",
      "{'type':'function_call_output','call_id':'c','output':'<task>a</task>'}",
      "{'type':'function_call_output','call_id':'c','output':[{'type':'input_text','text':"
      "'<task>a</task>'}]}"}},
};

/* A long history of commands fits in a small multiple of its size. */
static void test_many_commands_take_little_memory(void **unused)
{
    enum { TURNS = 20000, BYTES_A_TURN = 500 };
    static const char pair[] = "{\"role\":\"user\",\"content\":\"!/pwd\"},"
                               "{\"role\":\"assistant\",\"content\":\"b\"},";
    struct buf body;
    struct arena arena;
    struct request request = {.stream = false};
    struct error e;
    const struct request_limits limits = {.depth_max = 64};
    struct cut cut = {
        .protocol = protocol_find(STR("openai-chat")),
        .request = &request,
        .arena = &arena,
        .configured = {.prefix = STR("!/"), .interactive = true},
        .session = {.prefix = STR("!/"), .interactive = true},
        .replay = keep_rules,
    };

    (void)unused;
    buf_init(&body, (size_t)TURNS * sizeof(pair));
    assert_true(buf_add(&body, STR("{\"messages\":[")));
    for (size_t i = 0; i < TURNS / 2; i++)
        assert_true(buf_add(&body, str_of(pair, sizeof(pair) - 1)));
    assert_true(buf_add(&body, STR("{\"role\":\"user\",\"content\":\"hi\"}]}")));
    arena_init(&arena, (size_t)TURNS * BYTES_A_TURN, 4096, NULL);
    assert_int_equal(cut.protocol->request_decode(buf_str(&body), &limits, &arena, &request, &e),
                     OK);
    command_cut_find(&cut);
    assert_false(arena_overflowed(&arena));
    arena_fini(&arena);
    buf_fini(&body);
}

/* Whatever comes after what: nothing is edited twice, what is left is a request, and no command of
 * the user's is in it. */
static void test_conversations_of_any_kind(void **unused)
{
    enum { ROUNDS = 4000, TURNS_MAX = 12 };
    static struct result result;
    static char body[BODY_MAX];
    static char plain[BODY_MAX];
    uint64_t seed = 7;

    (void)unused;
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t kind = round % COUNT_OF(kinds);
        size_t turns = 1 + round / 7 % TURNS_MAX;
        size_t n = (size_t)snprintf(plain, sizeof(plain), "%s", kinds[kind].head);
        for (size_t i = 0; i < turns; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            n += (size_t)snprintf(plain + n, sizeof(plain) - n, "%s%s", i == 0 ? "" : " , ",
                                  kinds[kind].turns[(seed >> 33) % COUNT_OF(kinds[0].turns)]);
        }
        (void)snprintf(plain + n, sizeof(plain) - n, "]}");
        quote(body, plain);
        cut_body(kinds[kind].protocol, str_c(body), true, &result);
        /* A newest message that holds nothing else is answered, and stays as it is. */
        bool goes_on = result.found == 0 || result.rest;
        if (goes_on && strstr(result.body, "!/pwd") != NULL)
            fail_msg("%s\nbecame %s", body, result.body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_a_growing_conversation_keeps_its_beginning),
        cmocka_unit_test(test_system_texts_behind_the_newest_message),
        cmocka_unit_test(test_many_commands_take_little_memory),
        cmocka_unit_test(test_conversations_of_any_kind),
        cmocka_unit_test(test_nothing_may_be_left),
        cmocka_unit_test(test_results_of_own_calls_are_no_rest),
        cmocka_unit_test(test_words_in_results_command_nothing),
        cmocka_unit_test(test_the_newest_message_before_what_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
