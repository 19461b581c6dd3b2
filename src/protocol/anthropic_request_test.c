/* SPDX-License-Identifier: MIT */
/*
 * Requests of clients. tests/golden/anthropic_request: NAME.json and what it says, NAME.canon
 * (canon/dump). GOLDEN=write in the environment writes what is expected, to be looked at before it
 * is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/anthropic_priv.h"
#include "protocol/recordings_for_test.h"

extern const struct protocol protocol_anthropic;

enum { ARENA_MAX = 64 * 1024 * 1024, DEPTH_MAX = 64, PATH_SIZE = 512 };

static enum error_code decode(struct str body, enum operation operation, struct arena *arena,
                              struct request *request, struct error *e)
{
    const struct request_limits limits = {.depth_max = DEPTH_MAX, .operation = operation};

    TRY(protocol_anthropic.request_decode(body, &limits, arena, request, e));
    return protocol_anthropic.request_decode_full(request, &limits, arena, e);
}

/* --- what they say ------------------------------------------------------------------------ */

static void golden(const char *name)
{
    char path[PATH_SIZE];
    struct arena arena;
    struct request request;
    struct error e;
    struct buf out;

    arena_init(&arena, ARENA_MAX, 4096, NULL);
    buf_init(&out, ARENA_MAX);
    (void)snprintf(path, sizeof(path), "tests/golden/anthropic_request/%s.json", name);
    struct str body = recordings_read_file(path, &arena);
    if (decode(body, OP_GENERATE, &arena, &request, &e) != OK)
        fail_msg("%s: %s", name, e.detail);
    dump_request(&out, &request);
    buf_add_char(&out, '\n');
    (void)snprintf(path, sizeof(path), "tests/golden/anthropic_request/%s.canon", name);
    if (getenv("GOLDEN") != NULL) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(out.p, 1, out.n, file), out.n);
        assert_int_equal(fclose(file), 0);
    }
    struct str want = recordings_read_file(path, &arena);
    if (!str_eq(want, buf_str(&out)))
        fail_msg("%s\n--- got\n%.*s\n--- want\n%.*s", name, STR_ARG(buf_str(&out)), STR_ARG(want));
    buf_fini(&out);
    arena_fini(&arena);
}

/* Catches: a member that is read as something else, or not at all. */
static void test_goldens(void **state)
{
    static const char *const names[] = {"text",         "tools",
                                        "media",        "thinking_budget",
                                        "thinking_off", "thinking_adaptive",
                                        "effort"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        golden(names[i]);
}

/* --- what is refused ---------------------------------------------------------------------- */

struct refusal {
    const char *body; /* without its braces, model and max_tokens */
    const char *detail;
};

#define MESSAGE(content) "'messages':[{'role':'user','content':" content "}]"
#define BLOCK(members)   MESSAGE("['x',{" members "}]")

static const struct refusal refusals[] = {
    {"'a':1", "missing member \"messages\""},
    {"'messages':{}", "\"messages\" must be an array"},
    {"'messages':[1]", "\"messages[0]\" must be an object"},
    {"'messages':[{'content':'a'}]", "\"messages[0].role\" must be a string"},
    {"'messages':[{'role':'tool','content':'a'}]",
     "\"messages[0].role\" must be one of user, assistant and system"},
    {"'messages':[{'role':'user'}]", "\"messages[0].content\" must be a string or an array"},
    {MESSAGE("3"), "\"messages[0].content\" must be a string or an array"},
    {MESSAGE("['x']"), "\"messages[0].content[0]\" must be an object"},
    {MESSAGE("[{'type':'text','text':'a'},{'text':'a'}]"),
     "\"messages[0].content[1].type\" must be a string"},
    {MESSAGE("[{'type':'text','text':4}]"), "\"messages[0].content[0].text\" must be a string"},
    {MESSAGE("[{'type':'text','text':'a','cache_control':4}]"),
     "\"messages[0].content[0].cache_control\" must be an object"},
    {MESSAGE("[{'type':'image'}]"), "\"messages[0].content[0].source\" must be an object"},
    {MESSAGE("[{'type':'image','source':{'type':'text','data':'x'}}]"),
     "\"messages[0].content[0].source.type\" must be a known type of source"},
    {MESSAGE("[{'type':'image','source':{'type':'base64'}}]"),
     "\"messages[0].content[0].source.data\" must be a string"},
    {MESSAGE("[{'type':'tool_use','id':'a','name':'f','input':[]}]"),
     "\"messages[0].content[0].input\" must be an object"},
    {MESSAGE("[{'type':'tool_result'}]"),
     "\"messages[0].content[0].tool_use_id\" must be a string"},
    {MESSAGE("[{'type':'tool_result','tool_use_id':'a','is_error':1}]"),
     "\"messages[0].content[0].is_error\" must be true or false"},
    {MESSAGE("[{'type':'tool_result','tool_use_id':'a','content':[{'type':'text'}]}]"),
     "\"messages[0].content[0].content[0].text\" must be a string"},
    {MESSAGE("[{'type':'tool_result','tool_use_id':'a','content':1}]"),
     "\"messages[0].content[0].content\" must be a string or an array"},
    {MESSAGE("[{'type':'thinking'}]"), "\"messages[0].content[0].thinking\" must be a string"},
    {MESSAGE("[{'type':'search_result','title':'t'}]"),
     "\"messages[0].content[0].source\" must be a string"},
    {MESSAGE("'a'") ",'system':3", "\"system\" must be a string or an array"},
    {MESSAGE("'a'") ",'system':[{'type':'text'}]", "\"system[0].text\" must be a string"},
    {MESSAGE("'a'") ",'tools':{}", "\"tools\" must be an array"},
    {MESSAGE("'a'") ",'tools':[3]", "\"tools[0]\" must be an object"},
    {MESSAGE("'a'") ",'tools':[{'name':'f'},{'input_schema':{}}]",
     "\"tools[1].name\" must be a string"},
    {MESSAGE("'a'") ",'tools':[{'name':'f','input_schema':1}]",
     "\"tools[0].input_schema\" must be an object"},
    {MESSAGE("'a'") ",'tool_choice':'auto'", "\"tool_choice\" must be an object"},
    {MESSAGE("'a'") ",'tool_choice':{'name':'a'}", "\"tool_choice.type\" must be a string"},
    {MESSAGE("'a'") ",'tool_choice':{'type':'tool'}", "\"tool_choice.name\" must be a string"},
    {MESSAGE("'a'") ",'temperature':'1'", "\"temperature\" must be a number"},
    {MESSAGE("'a'") ",'top_k':1.5", "\"top_k\" must be an integer"},
    {MESSAGE("'a'") ",'stop_sequences':'x'", "\"stop_sequences\" must be an array of strings"},
    {MESSAGE("'a'") ",'stop_sequences':[1]", "\"stop_sequences\" must be an array of strings"},
    {MESSAGE("'a'") ",'thinking':{'type':'on'}",
     "\"thinking.type\" must be one of enabled, adaptive and disabled"},
    {MESSAGE("'a'") ",'thinking':{}", "\"thinking.type\" must be a string"},
    {MESSAGE("'a'") ",'thinking':{'type':'enabled'}",
     "\"thinking.budget_tokens\" must be an integer"},
    {MESSAGE("'a'") ",'output_config':{'format':{'type':'json'}}",
     "\"output_config.format\" must be an object of type json_schema"},
    {MESSAGE("'a'") ",'output_format':{'type':'json_schema'}",
     "\"output_format\" must be an object with a schema"},
    {MESSAGE("'a'") ",'metadata':{'user_id':1}", "\"metadata.user_id\" must be a string"},
    {MESSAGE("'a'") ",'stream':1", "\"stream\" must be true or false"},
};

/* Catches: a wrong type that is taken, or told without the path to it. */
static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        struct arena arena;
        struct request request;
        struct error e;
        arena_init(&arena, ARENA_MAX, 4096, NULL);
        struct str body = str_print(&arena, "{'model':'m','max_tokens':1,%s}", refusals[i].body);
        char *p = str_z(&arena, body);
        for (size_t k = 0; k < body.n; k++) {
            if (p[k] == '\'')
                p[k] = '"';
        }
        if (decode(str_of(p, body.n), OP_GENERATE, &arena, &request, &e) != ERR_BAD_REQUEST ||
            !str_eq(str_c(e.detail), str_c(refusals[i].detail)))
            fail_msg("%s: %s", p, e.detail);
        arena_fini(&arena);
    }
}

/* Catches: max_tokens not asked for, or asked of who only counts; a member that stands twice. */
static void test_head(void **state)
{
    static const struct {
        const char *body;
        enum operation operation;
        const char *detail; /* NULL: it is taken */
    } heads[] = {
        {"{\"messages\":[]}", OP_GENERATE, "missing member \"max_tokens\""},
        {"{\"messages\":[],\"max_tokens\":null}", OP_GENERATE, "missing member \"max_tokens\""},
        {"{\"messages\":[],\"max_tokens\":1.5}", OP_GENERATE,
         "\"max_tokens\" must be an integer, at least 0"},
        {"{\"messages\":[],\"max_tokens\":\"5\"}", OP_GENERATE,
         "\"max_tokens\" must be an integer, at least 0"},
        {"{\"messages\":[],\"max_tokens\":0}", OP_GENERATE, NULL},
        {"{\"messages\":[]}", OP_COUNT_TOKENS, NULL},
        {"{\"messages\":[],\"max_tokens\":1,\"session_id\":1}", OP_GENERATE,
         "\"session_id\" must be a string"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct arena arena;
        struct request request;
        struct error e = {.detail = ""};
        arena_init(&arena, ARENA_MAX, 4096, NULL);
        enum error_code code = decode(str_c(heads[i].body), heads[i].operation, &arena, &request,
                                      &e);
        assert_int_equal(code, heads[i].detail == NULL ? OK : ERR_BAD_REQUEST);
        if (heads[i].detail != NULL)
            assert_string_equal(e.detail, heads[i].detail);
        arena_fini(&arena);
    }
}

/* Catches: memory past the arena's cap written, or a request that was read in part taken. */
static void test_small_arenas(void **state)
{
    struct arena file;

    (void)state;
    arena_init(&file, ARENA_MAX, 4096, NULL);
    struct str body = recordings_read_file("tests/golden/anthropic_request/tools.json", &file);
    for (size_t size = 512; size < 12 * 1024; size += 64) {
        struct arena arena;
        struct request request;
        struct error e;
        arena_init(&arena, size, 512, NULL);
        enum error_code code = decode(body, OP_GENERATE, &arena, &request, &e);
        assert_true(code == OK || code == ERR_TOO_LARGE);
        assert_true(arena_overflowed(&arena) == (code != OK));
        arena_fini(&arena);
    }
    arena_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goldens),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_small_arenas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
