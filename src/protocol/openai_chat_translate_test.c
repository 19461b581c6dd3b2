/* SPDX-License-Identifier: MIT */
/*
 * Requests of other protocols as chat completions. They come in as chat completions, which say
 * almost all that a canonical request can hold; what they cannot say is set by hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/openai_chat_priv.h"

enum { OUT_MAX = 16 * 1024 * 1024 };

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

static struct request decode(const char *text)
{
    const struct request_limits limits = {.depth_max = 64};
    struct request request;
    struct error e;

    if (openai_chat_request_decode(quoted(text), &limits, &arena, &request, &e) != OK ||
        openai_chat_request_decode_full(&request, &limits, &arena, &e) != OK)
        fail_msg("%s: %s", e.detail, text);
    return request;
}

static struct str body_of(const struct wire *wire)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < wire->body_n; i++)
        buf_add(&out, wire->body[i]);
    struct str body = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return body;
}

static void expect(const char *what, struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("%s\n--- got\n%.*s\n--- want\n%.*s", what, STR_ARG(got), STR_ARG(want));
}

struct row {
    const char *model;
    const char *in;
    const char *out; /* without model */
    const char *warnings;
};

static struct str encode(struct request *request, const struct encode_request *how)
{
    struct wire wire;
    struct error e;

    if (openai_chat_upstream_encode(request, how, &arena, &wire, &e) != OK)
        fail_msg("%s", e.detail);
    return body_of(&wire);
}

static void expect_warnings(const struct translation *t, const char *want)
{
    struct buf warnings;

    buf_init(&warnings, OUT_MAX);
    translation_write_warnings(t, &warnings);
    expect("warnings", buf_str(&warnings), str_c(want));
    buf_fini(&warnings);
}

static void check_with(const struct row *row, const struct dialect *dialect)
{
    struct translation t = {.arena = &arena};
    const struct encode_request how = {.model = str_c(row->model),
                                       .dialect = dialect,
                                       .translation = &t};
    struct request request = decode(row->in);
    struct buf before;
    struct buf after;

    buf_init(&before, OUT_MAX);
    buf_init(&after, OUT_MAX);
    dump_request(&before, &request);
    struct str got = encode(&request, &how);
    struct str head = str_print(&arena, "{\"model\":\"%s\",", row->model);
    struct str want = quoted(row->out);
    assert_true(str_starts(got, head));
    expect(row->in, str_from(got, head.n), str_from(want, 1));
    expect_warnings(&t, row->warnings);
    dump_request(&after, &request);
    expect("the source", buf_str(&after), buf_str(&before));
    buf_fini(&before);
    buf_fini(&after);
}

static void check_rows(const struct row *rows, size_t n)
{
    const struct dialect dialect = {.usage = DIALECT_USAGE_OPTION};

    for (size_t i = 0; i < n; i++)
        check_with(&rows[i], &dialect);
}

#define USER      "{'role':'user','content':'q'}"
#define SAYS(...) "{'messages':[" __VA_ARGS__ "]}"
#define WITH(...) "{'messages':[" USER "]," __VA_ARGS__ "}"
#define CALL(id)                        \
    "{'id':'" id "','type':'function'," \
    "'function':{'name':'f','arguments':'{}'}}"
#define CALLS(...)       "{'role':'assistant','content':null,'tool_calls':[" __VA_ARGS__ "]}"
#define RESULT(id, text) "{'role':'tool','content':'" text "','tool_call_id':'" id "'}"

/* --- messages ----------------------------------------------------------------------------- */

static void test_messages(void **state)
{
    static const struct row rows[] = {
        {"m",
         SAYS("{'role':'system','content':[{'type':'text','text':'a'},{'type':'text','text':'b'}]},"
              "{'role':'developer','content':'c'}," USER ",{'role':'developer','content':'d'}"),
         SAYS("{'role':'system','content':'a\\n\\nb\\n\\nc'}," USER
              ",{'role':'system','content':'d'}"),
         ""},
        {"gpt-5", SAYS("{'role':'system','content':'a'}," USER),
         SAYS("{'role':'developer','content':'a'}," USER), ""},
        {"o1-mini", SAYS("{'role':'system','content':'a'}," USER),
         SAYS("{'role':'user','content':'a'}," USER), ""},
        /* Texts alone are a string; what was not modelled goes. */
        {"m",
         SAYS(
             "{'role':'user','x':1,'name':'n','content':[{'type':'text','text':'a','cache_control':"
             "{'type':'ephemeral'}},{'type':'text','text':'b','y':2}]}"),
         SAYS("{'role':'user','name':'n','content':'a\\n\\nb'}"), ""},
        {"m",
         SAYS(
             "{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url','image_url':"
             "{'url':'data:image/jpg;base64,QUJD',"
             "'detail':'original','z':1}},{'type':'input_audio',"
             "'input_audio':{'data':'QQ==','format':'wav'}},{'type':'file','file':{'file_data':"
             "'data:application/pdf;base64,JVBERi0x'}},{'type':'image_url','image_url':"
             "{'url':'https://x.test/i.png'}}]}"),
         SAYS(
             "{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url','image_url':"
             "{'url':'data:image/jpeg;base64,QUJD','detail':'high'}},{'type':'input_audio',"
             "'input_audio':{'data':'QQ==','format':'wav'}},{'type':'file','file':{'filename':"
             "'document.pdf','file_data':'data:application/pdf;base64,JVBERi0x'}},{'type':"
             "'image_url','image_url':{'url':'https://x.test/i.png'}}]}"),
         ""},
        {"m", SAYS(USER ",{'role':'user','content':[{'type':'odd','x':1}]}"), SAYS(USER),
         "dropped:part:odd"},
        /* An assistant's message: one text, its calls. */
        {"m",
         SAYS(USER
              ",{'role':'assistant','content':[{'type':'text','text':'a'},{'type':'text','text':"
              "'b'}],'tool_calls':[" CALL("1") "],'audio':{'id':'x'}}," RESULT("1", "r")),
         SAYS(USER ",{'role':'assistant','content':'ab','tool_calls':[" CALL(
             "1") "]}," RESULT("1", "r")),
         ""},
        {"m",
         SAYS(USER
              ",{'role':'assistant','content':'a','reasoning_content':'t'},{'role':'assistant',"
              "'refusal':'no','content':null}," USER),
         SAYS(USER ",{'role':'assistant','content':'a'},{'role':'assistant','content':null,"
                   "'refusal':'no'}," USER),
         ""},
        {"m", SAYS(USER ",{'role':'assistant','content':'','reasoning':'t'}," USER),
         SAYS(USER "," USER), ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void test_results(void **state)
{
    static const struct row rows[] = {
        {"m",
         SAYS(USER "," CALLS(CALL("1") "," CALL(
             "2")) ",{'role':'tool','tool_call_id':'2','content':"
                   "[{'type':'text','text':'a'},{'type':'text','text':'b'}]}," RESULT("1",
                                                                                      "") "," USER),
         SAYS(USER "," CALLS(
             CALL("1") "," CALL("2")) "," RESULT("2", "a\\nb") "," RESULT("1", "") "," USER),
         ""},
        /* What they show comes after all of them. */
        {"m",
         SAYS(USER "," CALLS(CALL("1") "," CALL(
             "2")) ",{'role':'tool','tool_call_id':'1','content':"
                   "[{'type':'text','text':'a'},{'type':'image_url','image_url':{'url':'u'}}]},"
                   "{'role':'tool','tool_call_id':'2','content':[{'type':'file','file':{'filename':"
                   "'n','file_data':'data:application/pdf;base64,JVBERi0x'}}]}," USER),
         SAYS(USER "," CALLS(CALL("1") "," CALL("2")) "," RESULT(
             "1",
             "a\\n[image"
             " attached]") "," RESULT("2", "[file attached]") ",{'role':'user',"
                                                              "'content':[{'type':'text','text':"
                                                              "'[attached to the tool result 1]'},"
                                                              "{'type':'image_url',"
                                                              "'image_url':{'url':'u'}},"
                                                              "{'type':'text',"
                                                              "'text':'[attached to "
                                                              "the tool result 2]'},"
                                                              "{'type':'file','file':"
                                                              "{'filename':'n',"
                                                              "'file_data':'data:applicati"
                                                              "on/pdf;base64,JVBERi0x'}}]}," USER),
         ""},
        {"m", SAYS(USER "," CALLS(CALL("1"))),
         SAYS(USER "," CALLS(CALL("1")) "," RESULT("1", "Error: (no result available)")),
         "added:tool_result"},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

/* What chat completions cannot say. */
static void test_by_hand(void **state)
{
    struct translation t = {.arena = &arena};
    const struct dialect thinks = {.history = DIALECT_HISTORY_EVERY};
    struct encode_request how = {.model = STR("m"), .translation = &t, .vendor = STR("gemini")};
    struct request request = decode(SAYS(USER "," CALLS(
        CALL("1")) "," RESULT("1", "bad") ",{'role':'assistant','content':'a'}," USER));
    struct turn *call = request.turns->next;
    struct part file = {.kind = PART_FILE, .text = STR("body"), .name = STR("title")};

    (void)state;
    call->parts->signature = STR("s\"");
    call->next->parts->is_error = true;
    request.turns->parts->next = &file;
    expect(
        "by hand", encode(&request, &how),
        quoted(
            "{'model':'m','messages':[{'role':'user','content':'q\\n\\ntitle\\n\\nbody'},{'role':"
            "'assistant','content':null,'tool_calls':[{'id':'1','type':'function','function':"
            "{'name':'f','arguments':'{}'},'extra_content':{'google':{'thought_signature':"
            "'s\\\"'}}}]},{'role':'tool','content':'Error: bad','tool_call_id':'1'},{'role':"
            "'assistant','content':'a'}," USER "]}"));

    /* Who takes reasoning back wants it in every message of the assistant's. */
    struct part thought = {.kind = PART_REASONING, .text = STR("hm"), .next = call->parts};
    call->parts->signature = STR_NULL;
    call->parts = &thought;
    request.turns->parts->next = NULL;
    how.dialect = &thinks;
    expect("reasoning", encode(&request, &how),
           quoted("{'model':'m','messages':[" USER ",{'role':'assistant','content':null,"
                  "'reasoning_content':'hm','tool_calls':[" CALL(
                      "1") "]},{'role':'tool','content':"
                           "'Error: bad','tool_call_id':'1'},{'role':'assistant','content':'a',"
                           "'reasoning_content':''}," USER "]}"));
}

static void test_refused(void **state)
{
    static const struct {
        struct part part;
        const char *why;
    } rows[] = {
        {{.kind = PART_IMAGE, .id = STR_INIT("file-1")},
         "an image by its id, which another backend has"},
        {{.kind = PART_FILE, .id = STR_INIT("file-1")},
         "a file by its id, which another backend has"},
        {{.kind = PART_FILE, .data = STR_INIT("https://x"), .is_url = true},
         "a file by its URL: it must be in the request"},
        {{.kind = PART_AUDIO, .data = STR_INIT("https://x"), .is_url = true},
         "audio by its URL: it must be in the request"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct translation t = {.arena = &arena};
        const struct encode_request how = {.model = STR("m"), .translation = &t};
        struct request request = decode(SAYS(USER));
        struct part part = rows[i].part;
        struct wire wire;
        struct error e;
        request.turns->parts->next = &part;
        assert_int_equal(openai_chat_upstream_encode(&request, &how, &arena, &wire, &e),
                         ERR_UNSUPPORTED);
        expect("refused", str_c(e.detail), str_c(rows[i].why));
    }
}

/* --- parameters --------------------------------------------------------------------------- */

#define KEEPS(model, members)                   \
    {                                           \
        model, WITH(members), WITH(members), "" \
    }

static void test_params(void **state)
{
    static const struct row rows[] = {
        {"m", WITH("'max_tokens':5"), WITH("'max_completion_tokens':5"), ""},
        KEEPS("m", "'temperature':1.50,'top_p':0.1,'n':2,'frequency_penalty':1,'presence_penalty':"
                   "-1,'seed':12345678901234567890,'top_logprobs':3,'logprobs':true"),
        {"m", WITH("'temperature':2.5,'top_k':40"), WITH("'temperature':2"),
         "dropped:top_k,changed:temperature"},
        {"gpt-5",
         WITH("'temperature':0.5,'top_p':0.9,'frequency_penalty':0,'presence_penalty':1,"
              "'logprobs':true,'top_logprobs':2"),
         "{'messages':[" USER "]}",
         "dropped:temperature,dropped:top_p,dropped:presence_penalty,dropped:top_logprobs,"
         "dropped:logprobs"},
        {"gpt-5", WITH("'temperature':1,'top_p':1.0"), SAYS(USER), ""},
        KEEPS("gpt-5.1", "'temperature':0.5,'reasoning_effort':'none'"),
        {"m", WITH("'stop':['a','b','c','d','e']"), WITH("'stop':['a','b','c','d']"),
         "dropped:stop"},
        {"o3", WITH("'stop':['a']"), SAYS(USER), ""},
        /* Reasoning: what the model knows. */
        KEEPS("gpt-5", "'reasoning_effort':'high'"),
        {"gpt-5", WITH("'reasoning_effort':'xhigh'"), WITH("'reasoning_effort':'high'"), ""},
        {"gpt-5", WITH("'reasoning_effort':'none'"), WITH("'reasoning_effort':'minimal'"), ""},
        {"o3", WITH("'reasoning_effort':'none'"), WITH("'reasoning_effort':'low'"), ""},
        {"gpt-5", WITH("'thinking':{'type':'enabled','budget_tokens':5000}"),
         WITH("'reasoning_effort':'medium'"), ""},
        {"gpt-5", WITH("'enable_thinking':true"), SAYS(USER), ""},
        {"gpt-4o", WITH("'reasoning_effort':'high'"), SAYS(USER), ""},
        /* What is said about the request. */
        {"m",
         WITH("'verbosity':'low','service_tier':'flex','user':'u','metadata':{'a':'b'},"
              "'store':false,'prompt_cache_key':'k','session_id':'s','odd':1"),
         WITH("'service_tier':'flex','metadata':{'a':'b'},'prompt_cache_key':'k','user':'u'"), ""},
        {"gpt-5", WITH("'verbosity':'low','service_tier':'auto','store':true"),
         WITH("'verbosity':'low','store':true"), ""},
        {"m", WITH("'service_tier':'standard_only'"), WITH("'service_tier':'default'"), ""},
        {"m", WITH("'stream':true"), WITH("'stream':true"), ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void test_format(void **state)
{
    static const struct row rows[] = {
        {"m", WITH("'response_format':{'type':'json_object'}"),
         SAYS("{'role':'system','content':'Respond only with a JSON object.'}," USER) "+"
                                                                                      ",'response"
                                                                                      "_format':{'"
                                                                                      "type':'jso"
                                                                                      "n_object'}}",
         ""},
        {"m",
         "{'messages':[{'role':'user','content':'as json'}],'response_format':{'type':"
         "'json_object'}}",
         "{'messages':[{'role':'user','content':'as json'}],'response_format':{'type':"
         "'json_object'}}",
         ""},
        {"m",
         WITH(
             "'response_format':{'type':'json_schema','json_schema':{'schema':{'type':'object'}}}"),
         WITH("'response_format':{'type':'json_schema','json_schema':{'name':'response','schema':"
              "{'type':'object'}}}"),
         ""},
        {"m",
         WITH("'response_format':{'type':'json_schema','json_schema':{'name':'a b','schema':"
              "{'type':'object'},'strict':true}}"),
         WITH("'response_format':{'type':'json_schema','json_schema':{'name':'a_b','schema':"
              "{'type':'object'},'strict':true}}"),
         ""},
        {"deepseek-chat",
         WITH("'response_format':{'type':'json_schema','json_schema':{'name':'n','schema':"
              "{'type':'object'}}}"),
         SAYS("{'role':'system','content':'Respond only with a JSON object that follows this JSON "
              "Schema:\\n{\\\"type\\\":\\\"object\\\"}'}," USER) "+"
                                                                 ",'response_format':{'"
                                                                 "type':'json_object'}}",
         ""},
        {"m", WITH("'response_format':{'type':'text'}"), SAYS(USER), ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct row row = rows[i];
        /* "{…}+,…" is one object. */
        char *plus = strstr(str_z(&arena, str_c(row.out)), "}+");
        struct str out = str_c(row.out);
        if (plus != NULL) {
            size_t at = str_find(out, STR("}+"), 0);
            struct str pieces = openai_chat_join(&arena, str_head(out, at), str_from(out, at + 2));
            row.out = str_z(&arena, pieces);
        }
        const struct dialect dialect = {.usage = DIALECT_USAGE_OPTION};
        check_with(&row, &dialect);
    }
}

/* --- tools -------------------------------------------------------------------------------- */

#define FUNCTION(name)                             \
    "{'type':'function','function':{'name':'" name \
    "','parameters':{'type':'object','properties':{}}}}"
#define ONLY_F                                                                               \
    "'tool_choice':{'type':'allowed_tools','allowed_tools':{'mode':'auto','tools':[{'type':" \
    "'function','function':{'name':'f'}}]}}"

static void test_tools(void **state)
{
    static const struct row rows[] = {
        {"m",
         WITH("'tools':[{'type':'function','function':{'name':'f','description':'d','strict':true,"
              "'k':1},'cache_control':{'type':'ephemeral'}}],'tool_choice':'required',"
              "'parallel_tool_calls':false"),
         WITH("'tools':[{'type':'function','function':{'name':'f','description':'d','parameters':"
              "{'type':'object','properties':{}},'strict':true}}],'tool_choice':'required',"
              "'parallel_tool_calls':false"),
         ""},
        {"m",
         WITH("'tools':[" FUNCTION("a.b") "],'tool_choice':{'type':'function','function':"
                                          "{'name':'a.b'}}"),
         WITH("'tools':[" FUNCTION("a_b_89b1fa9a") "],'tool_choice':{'type':'function','function':"
                                                   "{'name':'a_b_89b1fa9a'}}"),
         ""},
        {"m", WITH("'tools':[" FUNCTION("f") "," FUNCTION("f") ",{'type':'web_search'}]"),
         WITH("'tools':[" FUNCTION("f") "]"), "dropped:tool:f,dropped:tool:web_search"},
        {"m",
         WITH("'tools':[{'type':'web_search'}],'tool_choice':'auto','parallel_tool_calls':true"),
         SAYS(USER), "dropped:tool:web_search"},
        /* A choice among some: said, or made. */
        {"gpt-5", WITH("'tools':[" FUNCTION("f") "," FUNCTION("g") "]," ONLY_F),
         WITH("'tools':[" FUNCTION("f") "," FUNCTION("g") "]," ONLY_F), ""},
        {"m", WITH("'tools':[" FUNCTION("f") "," FUNCTION("g") "]," ONLY_F),
         WITH("'tools':[" FUNCTION("f") "],'tool_choice':'auto'"), ""},
        /* Custom tools: known to the newer ones of OpenAI's models. */
        KEEPS("gpt-5", "'tools':[{'type':'custom','custom':{'name':'c','description':'d','format':"
                       "{'type':'text'}}}]"),
        {"m",
         WITH("'tools':[{'type':'custom','custom':{'name':'c','description':'d','format':{'type':"
              "'grammar','grammar':{'syntax':'regex','definition':'a+'}}}}]"),
         WITH("'tools':[{'type':'function','function':{'name':'c','description':'d\\n\\ninput must "
              "match this regular expression:\\na+','parameters':{'type':'object','properties':"
              "{'input':{'type':'string'}},'required':['input'],'additionalProperties':false}}}]"),
         ""},
    };

    (void)state;
    check_rows(rows, COUNT_OF(rows));
}

static void test_dialect(void **state)
{
    static const struct row rows[] = {
        {"m", WITH("'max_completion_tokens':5"), WITH("'max_tokens':5"), ""},
        {"gpt-5", WITH("'max_tokens':5"), WITH("'max_completion_tokens':5"), ""},
    };
    const struct dialect legacy = {.max_tokens_legacy = true};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_with(&rows[i], &legacy);
}

/* What is to be undone with the answer. */
static void test_translation(void **state)
{
    struct translation t = {.arena = &arena};
    const struct encode_request how = {.model = STR("o3"), .translation = &t};
    struct request request = decode(
        WITH("'stop':['x'],'tools':[{'type':'custom','custom':{'name':'c c'}}]"));

    (void)state;
    (void)encode(&request, &how);
    assert_int_equal(t.stop_n, 1);
    expect("stop", t.stop[0], STR("x"));
    assert_true(translation_is_wrapped(&t, STR("c c")));
    assert_non_null(t.renamed);
    expect("renamed", translation_ours(&t, t.renamed->theirs), STR("c c"));
}

/* Catches: a request sent up that lacks what there was no memory for. */
static void test_memory(void **state)
{
    static const char in[] = WITH(
        "'tools':[" FUNCTION("a b") "],'response_format':{'type':'json_object'},'stop':['a']");
    struct str want = STR_NULL;
    size_t refused = 0;

    (void)state;
    for (size_t most = 65536; most >= 512; most -= 128) {
        const struct request_limits limits = {.depth_max = 64};
        struct arena small;
        arena_init(&small, most, 512, NULL);
        struct translation t = {.arena = &small};
        const struct encode_request how = {.model = STR("m"), .translation = &t};
        struct request request;
        struct wire wire;
        struct error e;
        enum error_code code = openai_chat_request_decode(quoted(in), &limits, &small, &request,
                                                          &e);
        if (code == OK)
            code = openai_chat_request_decode_full(&request, &limits, &small, &e);
        if (code == OK)
            code = openai_chat_upstream_encode(&request, &how, &small, &wire, &e);
        if (code == OK) {
            struct str got = body_of(&wire);
            if (str_is_null(want))
                want = got;
            expect("memory", got, want);
        } else {
            assert_int_equal(code, ERR_TOO_LARGE);
            refused++;
        }
        arena_fini(&small);
    }
    assert_true(refused > 4 && want.n > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_results, setup, teardown),
        cmocka_unit_test_setup_teardown(test_by_hand, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_params, setup, teardown),
        cmocka_unit_test_setup_teardown(test_format, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dialect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_translation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
