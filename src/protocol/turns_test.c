/* SPDX-License-Identifier: MIT */
#include "protocol/turns.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/recordings_for_test.h"
#include "protocol/turns_for_test.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 64 * 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static const struct request_limits limits = {.depth_max = 200, .rest = {"m:generateContent", 17}};
static const struct request_limits counting = {.depth_max = 200,
                                               .operation = OP_COUNT_TOKENS,
                                               .rest = {"m:countTokens", 13}};

static const struct protocol *protocol_of(const char *name)
{
    const struct protocol *p = protocol_find(str_c(name));

    assert_non_null(p);
    return p;
}

/* role ['text']… (call)… ; "-" before a turn that cannot be removed, "+" behind for each other
 * part. */
static void say_turn(const struct protocol *p, const struct outline_turn *turn, struct buf *out)
{
    struct outline_text text;
    struct outline_call call;
    size_t cursor = 0;

    if (out->n > 0)
        buf_add_char(out, ' ');
    (void)buf_print(out, "%s%s%s", str_is_null(turn->source) ? "-" : "",
                    request_role_name(turn->role), turn->is_call ? "!" : "");
    while (outline_text_next(turn->content, &cursor, &text))
        (void)buf_print(out, "%s%.*s", str_is_null(text.part) ? ":" : "/",
                        STR_ARG(json_string_value(text.string, &arena)));
    for (size_t n = outline_others(turn->content); n > 0; n--)
        buf_add_char(out, '+');
    cursor = 0;
    while (p->outline_call(turn, &cursor, &arena, &call)) {
        assert_true(str_is_null(call.part) || (call.part.p > turn->source.p &&
                                               call.part.p < turn->source.p + turn->source.n));
        (void)buf_print(out, "%s%.*s,%.*s)", call.is_result ? "(=" : "(", STR_ARG(call.id),
                        STR_ARG(call.name));
    }
    assert_false(p->outline_call(turn, &cursor, &arena, &call));
}

static struct str outline_of(const struct protocol *p, const struct request *request)
{
    struct outline_cursor cursor = {.step = 0};
    struct outline_turn turn;
    struct buf out;

    buf_init(&out, 1024 * 1024);
    while (p->outline_next(request, &cursor, &turn))
        say_turn(p, &turn, &out);
    assert_false(p->outline_next(request, &cursor, &turn));
    struct str said = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return said;
}

struct outlined {
    const char *protocol;
    const char *body;
    const char *want;
};

static void check_all(const struct outlined *cases, size_t n, bool full)
{
    for (size_t i = 0; i < n; i++) {
        const struct protocol *p = protocol_of(cases[i].protocol);
        struct str body = str_c(cases[i].body);
        bool count = str_find(body, STR("enerate"), 0) != SIZE_MAX;
        struct request request;
        struct error e;
        char *copy = arena_alloc(&arena, body.n);
        memcpy(copy, body.p, body.n);
        if (p->request_decode(str_of(copy, body.n), count ? &counting : &limits, &arena, &request,
                              &e) != OK)
            fail_msg("%s: %s", cases[i].body, e.detail);
        struct str is = outline_of(p, &request);
        if (!str_eq(is, str_c(cases[i].want)))
            fail_msg("%s\n is %.*s\nnot %s", cases[i].body, STR_ARG(is), cases[i].want);
        enum error_code code = p->request_decode_full(&request, &limits, &arena, &e);
        if (full != (code == OK))
            fail_msg("%s: %s", cases[i].body, code == OK ? "taken" : e.detail);
        const char *problem = full ? turns_disagree(p, &request, &arena) : NULL;
        if (problem != NULL)
            fail_msg("%s: %s", cases[i].body, problem);
    }
}

static void test_outlines(void **state)
{
    static const struct outlined cases[] = {
        {"openai-chat", "{\"messages\":[]}", ""},
        {"openai-chat",
         "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
         "{\"content\":[{\"type\":\"text\",\"text\":\"a\\n\"},{\"type\":\"image_url\",\"image_url\""
         ":{\"url\":\"u\"}},{\"text\":\"b\",\"type\":\"te\\u0078t\"}],\"role\":\"us\\u0065r\"},"
         "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"i\",\"type\":"
         "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},{\"id\":\"j\",\"type\":"
         "\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"\"}}]},"
         "{\"role\":\"tool\",\"tool_call_id\":\"i\",\"content\":\"r\"},"
         "{\"role\":\"developer\",\"content\":\"d\"}]}",
         "system:s user/a\n/b+ assistant(i,f)(j,g) tool:r(=i,) developer:d"},
        {"openai-chat",
         "{\"messages\":[{\"role\":\"assistant\",\"content\":\"\",\"function_call\":{\"name\":"
         "\"f\",\"arguments\":\"\"}},{\"role\":\"function\",\"name\":\"f\",\"content\":\"r\"}]}",
         "assistant:(,f) tool:r(=,f)"},
        {"anthropic",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":"
         "[{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{\"type\":\"text\","
         "\"text\":\"b\"},{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{}}]},"
         "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\","
         "\"content\":[{\"type\":\"text\",\"text\":\"r\"}]},{\"type\":\"text\",\"text\":\"c\"},"
         "{\"type\":\"search_result\",\"title\":\"t\",\"source\":\"s\",\"content\":[]}]}],"
         "\"system\":[{\"type\":\"text\",\"text\":\"s\"},{\"type\":\"text\",\"text\":\"u\"}],"
         "\"max_tokens\":1}",
         "-system/s/u user:a assistant/b++(i,f) user/c++(=i,)"},
        {"anthropic", "{\"system\":\"s\",\"messages\":[],\"max_tokens\":1}", "-system:s"},
        {"openai-responses", "{\"model\":\"m\",\"input\":\"hi\"}", "-user:hi"},
        {"openai-responses",
         "{\"model\":\"m\",\"instructions\":\"s\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},"
         "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]},"
         "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\","
         "\"text\":\"b\"},{\"type\":\"refusal\",\"refusal\":\"n\"}]},"
         "{\"type\":\"function_call\",\"call_id\":\"i\",\"name\":\"f\",\"arguments\":\"\"},"
         "{\"type\":\"function_call_output\",\"call_id\":\"i\",\"output\":\"r\"},"
         "{\"type\":\"custom_tool_call\",\"call_id\":\"j\",\"name\":\"g\",\"input\":\"\"},"
         "{\"type\":\"custom_tool_call_\\u006futput\",\"call_id\":\"j\",\"output\":[]},"
         "{\"id\":\"msg_1\"},{\"type\":\"web_search_call\",\"id\":\"w\"},"
         "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"c\"},"
         "{\"type\":\"input_image\",\"image_url\":\"u\"}]}]}",
         "-system:s user:a assistant! assistant/b+ assistant!(i,f) tool(=i,) assistant!(j,g) "
         "tool(=j,) assistant! assistant! user/c+"},
        {"gemini",
         "{\"contents\":[{\"parts\":[{\"text\":\"a\"},{\"inlineData\":{\"mimeType\":\"image/png\","
         "\"data\":\"AAAA\"}}]},{\"role\":\"model\",\"parts\":[{\"text\":\"t\",\"thought\":true},"
         "{\"text\":\"b\",\"thoughtSignature\":\"x\",\"thought\":false,\"inlineData\":null},"
         "{\"functionCall\":{\"name\":\"f\",\"id\":\"i\"}}]},{\"role\":\"user\",\"parts\":["
         "{\"function_response\":{\"name\":\"f\",\"id\":\"i\",\"response\":{\"output\":\"r\"}}}]},"
         "{\"role\":\"function\",\"parts\":[{\"functionResponse\":{\"name\":\"f\",\"response\":{}}}"
         "]}],\"system_instruction\":{\"parts\":[{\"text\":\"s\"}]}}",
         "-system/s user/a+ assistant/b++(i,f) user+(=i,f) tool+(=,f)"},
        {"gemini",
         "{\"system_instruction\":\"u\",\"contents\":{\"role\":\"\",\"parts\":{\"text\":\"a\"}},"
         "\"systemInstruction\":{\"parts\":{\"text\":\"s\"}}}",
         "-system:u -system:s -user:a"},
        {"gemini",
         "{\"generateContentRequest\":{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}"
         "]},{\"role\":\"model\",\"parts\":[{\"executableCode\":{\"code\":\"c\"}}]}],"
         "\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]}}}",
         "-system/s user/a assistant+"},
    };

    (void)state;
    check_all(cases, COUNT_OF(cases), true);
}

/* What no reader takes: no text is found that is none, no element is passed over. */
static void test_hostile(void **state)
{
    static const struct outlined cases[] = {
        {"openai-chat", "{\"messages\":[1,\"user\",null,[],{}]}", "tool tool tool tool tool(=,)"},
        {"openai-chat",
         "{\"messages\":[{\"role\":\"user\",\"content\":5},{\"role\":\"user\",\"content\":[\"a\",1,"
         "{\"text\":1},{\"type\":\"text\",\"text\":null},{\"type\":1,\"text\":\"x\"},{\"type\":"
         "\"\",\"text\":\"x\"}]},{\"role\":[\"user\"],\"content\":\"x\"},{\"role\":\"User\","
         "\"content\":\"x\"}]}",
         "user user++++++ tool:x(=,) tool:x(=,)"},
        {"openai-chat",
         "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[1,{\"id\":2,\"function\":[]},"
         "{\"id\":\"i\"}],\"content\":{}},{\"role\":\"assistant\",\"tool_calls\":{\"id\":\"x\"},"
         "\"function_call\":\"f\"}]}",
         "assistant+(,)(i,) assistant"},
        {"anthropic",
         "{\"system\":{\"content\":\"s\"},\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
         "\"tool_result\"},{\"type\":\"tool_use\",\"id\":1}]}],\"max_tokens\":1}",
         "-system:s user++(=,)(,)"},
        {"anthropic", "{\"system\":7,\"messages\":[true],\"max_tokens\":1}", "-system tool"},
        {"openai-responses",
         "{\"model\":\"m\",\"input\":[{\"type\":\"function_call\",\"content\":\"x\"},{\"type\":3,"
         "\"content\":\"x\",\"role\":\"user\"},\"x\"]}",
         "assistant!(,) assistant! tool"},
        {"gemini",
         "{\"contents\":[{\"parts\":[{\"text\":\"x\",\"functionCall\":{}},\"x\",{\"text\":\"y\","
         "\"other\":1}]},{\"role\":\"assistent\",\"parts\":[{\"text\":\"z\"}]}]}",
         "user+++(,) tool/z"},
    };

    (void)state;
    check_all(cases, COUNT_OF(cases), false);
}

/* Catches: a walk that is begun anew for each call, each text, or each turn. */
static void test_long_lists(void **state)
{
    enum { MANY = 200000 };
    const struct protocol *p = protocol_of("openai-chat");
    struct outline_cursor turns = {.step = 0};
    struct outline_turn turn;
    struct outline_text text;
    struct outline_call call;
    struct request request;
    struct error e;
    struct buf body;
    size_t cursor = 0;
    size_t n = 0;

    (void)state;
    buf_init(&body, 64 * 1024 * 1024);
    buf_add(&body, STR("{\"messages\":[{\"role\":\"assistant\",\"content\":[0"));
    for (int i = 0; i < MANY; i++)
        buf_add(&body, STR(",{\"type\":\"text\",\"text\":\"a\"}"));
    buf_add(&body, STR("],\"tool_calls\":[0"));
    for (int i = 0; i < MANY; i++)
        buf_add(&body, STR(",{\"id\":\"a\"}"));
    buf_add(&body, STR("]}]}"));
    assert_int_equal(p->request_decode(buf_str(&body), &limits, &arena, &request, &e), OK);
    assert_true(p->outline_next(&request, &turns, &turn));
    while (outline_text_next(turn.content, &cursor, &text))
        n++;
    cursor = 0;
    while (p->outline_call(&turn, &cursor, &arena, &call))
        n++;
    assert_int_equal(n, 2 * MANY);
    buf_fini(&body);
}

struct recorded {
    const struct protocol *protocol;
    size_t n;
};

static void check_recording(void *ctx, const struct recording *recording)
{
    struct recorded *recorded = ctx;
    const struct protocol *p = recorded->protocol;
    struct request request;
    struct arena own;
    struct error e;

    if (str_is_null(recording->request))
        return;
    arena_init(&own, 256 * 1024 * 1024, 64 * 1024, NULL);
    if (p->request_decode(recording->request, &limits, &own, &request, &e) == OK &&
        p->request_decode_full(&request, &limits, &own, &e) == OK) {
        const char *problem = turns_disagree(p, &request, &own);
        if (problem == NULL)
            problem = turns_walk(p, &request, &limits, &own);
        if (problem != NULL)
            fail_msg("line %zu: %s", recording->line, problem);
        recorded->n++;
    }
    arena_fini(&own);
}

static void test_recordings(void **state)
{
    static const struct {
        const char *api;
        const char *protocol;
    } kinds[] = {
        {"openai_chat", "openai-chat"},
        {"openai_responses", "openai-responses"},
        {"anthropic_messages", "anthropic"},
        {"gemini_generate", "gemini"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct recorded recorded = {.protocol = protocol_of(kinds[i].protocol)};
        if (!recordings_each(kinds[i].api, check_recording, &recorded))
            skip();
        assert_true(recorded.n >= 100);
    }
}

/* --- results as the user's words --- */

struct said {
    const char *protocol;
    const char *body;
    const char *words; /* of its last result; NULL: it says nothing */
};

#define AN(content) \
    "{'max_tokens':1,'messages':[{'role':'user','content':[{'type':'tool_result'," content "}]}]}"
#define GE(parts)      "{'contents':[{'parts':" parts "}]}"
#define RESPONSE(body) "{'functionResponse':{'name':'f','response':" body "}}"

static const struct said said[] = {
    {"openai-chat", "{'messages':[{'role':'tool','content':'a\\n'}]}",
     "{'role':'user','content':'a\\n'}"},
    {"openai-chat", "{'messages':[{'role':'tool','content':[ {'type':'text','text':'a'} ]}]}",
     "{'role':'user','content':[ {'type':'text','text':'a'} ]}"},
    {"openai-chat", "{'messages':[{'role':'function','name':'f','content':''}]}",
     "{'role':'user','content':''}"},
    {"openai-chat", "{'messages':[{'role':'tool','content':null}]}", NULL},
    {"openai-chat", "{'messages':[{'role':'tool'}]}", NULL},
    {"openai-responses", "{'input':[{'type':'function_call_output','output':'a'}],'model':'m'}",
     "{'role':'user','content':'a'}"},
    {"openai-responses",
     "{'input':[{'type':'custom_tool_call_output','output':[{'type':'input_image'}]}],'model':'m'}",
     "{'role':'user','content':[{'type':'input_image'}]}"},
    {"openai-responses", "{'input':[{'type':'function_call_output','output':1}],'model':'m'}",
     NULL},
    {"anthropic", AN("'content':'a'"), "{'type':'text','text':'a'}"},
    {"anthropic", AN("'is_error':false"), NULL},
    {"anthropic", AN("'content':'a','cache_control':{'type':'b'}"),
     "{'type':'text','text':'a','cache_control':{'type':'b'}}"},
    {"anthropic", AN("'content':'a','cache_control':null"), "{'type':'text','text':'a'}"},
    {"anthropic", AN("'content':[ {'type':'text','text':'a'} , {'type':'image'} ]"),
     "{'type':'text','text':'a'} , {'type':'image'}"},
    {"anthropic", AN("'content':[{'type':'text'},{'type':'image'}],'cache_control':{}"),
     "{'type':'text'},{'type':'image','cache_control':{}}"},
    {"anthropic", AN("'content':[{'type':'text','cache_control':{'c':1}}],'cache_control':{}"),
     "{'type':'text','cache_control':{'c':1}}"},
    {"anthropic", AN("'content':[{'type':'text'},{}],'cache_control':{}"), "{'type':'text'},{}"},
    {"anthropic", AN("'content':[1],'cache_control':{}"), "1"},
    {"anthropic", AN("'content':{'type':'text'},'cache_control':{}"),
     "{'type':'text','cache_control':{}}"},
    {"gemini", GE("[" RESPONSE("{'output':'a'}") "]"), "{'text':'a'}"},
    {"gemini", GE("[{'text':'b'}," RESPONSE("{'name':'b','content':'a'}") "]"), "{'text':'a'}"},
    {"gemini",
     GE("[" RESPONSE("{'result':[{'text':'a'},{'type':'image'},{'type':'text','text':'b'"
                     "}]}") "]"),
     "{'text':'a'},{'text':'b'}"},
    {"gemini", GE(RESPONSE("{'content':'b','result':'a'}")),
     "{'role':'user','parts':[{'text':'a'}]}"},
    {"gemini", GE("[" RESPONSE("{'other':'a'}") "]"), NULL},
    {"gemini", GE("[" RESPONSE("'a'") "]"), NULL},
    {"gemini", GE("[{'functionResponse':{'name':'f'}}]"), NULL},
};

static char *quoted(const char *from)
{
    char *to = arena_alloc(&arena, strlen(from) + 1);

    for (size_t i = 0; i <= strlen(from); i++)
        to[i] = from[i] == '\'' ? '"' : from[i];
    return to;
}

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(said); i++) {
        const struct protocol *p = protocol_of(said[i].protocol);
        struct outline_call call = {.is_result = false};
        struct outline_turn turn;
        struct request request;
        struct error e;
        size_t cursor = 0;
        struct str body = str_c(quoted(said[i].body));
        if (p->request_decode(body, &limits, &arena, &request, &e) != OK)
            fail_msg("%s: %s", said[i].body, e.detail);
        assert_true(p->outline_last(&request, &turn));
        assert_true(p->outline_call(&turn, &cursor, &arena, &call));
        assert_true(call.is_result);
        if (said[i].words == NULL) {
            assert_true(str_is_null(call.texts));
            continue;
        }
        struct str words = p->outline_words(&call, &arena);
        if (!str_eq(words, str_c(quoted(said[i].words))))
            fail_msg("%s: %.*s", said[i].body, STR_ARG(words));
        /* Where there is no memory for it nothing is written. */
        struct arena small;
        arena_init(&small, 1, 512, NULL);
        (void)p->outline_words(&call, &small);
        assert_true(arena_overflowed(&small));
        arena_fini(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outlines),   cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_lists), cmocka_unit_test(test_recordings),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
