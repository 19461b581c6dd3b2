/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/protocol.h"
#include "protocol/recordings_for_test.h"

enum { OUT_MAX = 16 * 1024 * 1024, MUTATIONS = 2000 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 16 * 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static const struct protocol *named(const char *name)
{
    const struct protocol *protocol = protocol_find(str_c(name));

    assert_non_null(protocol);
    return protocol;
}

/* ' is " in what follows. */
static struct str quoted(const char *text)
{
    struct str s = str_c(text);
    char *copy = arena_alloc(&arena, s.n + 1);

    for (size_t i = 0; i < s.n; i++)
        copy[i] = (char)(s.p[i] == '\'' ? '"' : s.p[i]);
    return str_of(copy, s.n);
}

static enum error_code read_full(struct str body, struct request *request, struct error *e)
{
    const struct request_limits limits = {.depth_max = 64, .operation = OP_GENERATE};

    TRY(named("openai-responses")->request_decode(body, &limits, &arena, request, e));
    return named("openai-responses")->request_decode_full(request, &limits, &arena, e);
}

static struct str join(const struct wire *wire)
{
    struct buf out;

    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < wire->body_n; i++)
        buf_add(&out, wire->body[i]);
    struct str text = str_copy(&arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static void expect(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(got), STR_ARG(want));
}

/* --- the head ----------------------------------------------------------------------------- */

static const struct {
    const char *body;
    const char *detail; /* null: accepted */
} refused[] = {
    {"{'model':'m','input':'x'}", NULL},
    {"{'prompt':{'id':'p'}}", NULL},
    {"{'model':'m','previous_response_id':'r'}", NULL},
    {"{'input':'x'}", "missing member \"model\""},
    {"{'model':'m'}", "missing member \"input\""},
    {"{'model':'m','input':7}", "\"input\" must be a string or an array"},
    {"{'model':7,'input':'x'}", "\"model\" must be a string"},
    {"{'model':'m','input':'x','stream':1}", "\"stream\" must be true or false"},
    {"{'model':'m','input':'x','previous_response_id':'a','conversation':'c'}",
     "\"previous_response_id\" and \"conversation\" exclude each other"},
    {"{'model':'m','input':['x']}", "\"input[0]\" must be an object"},
    {"{'model':'m','input':[{'role':'x','content':'y'}]}",
     "\"input[0].role\" must be one of user, assistant, system and developer"},
    {"{'model':'m','input':[{'role':'user','content':[{'type':'input_text'}]}]}",
     "\"input[0].content[0].text\" must be a string"},
    {"{'model':'m','input':[{'role':'user','content':[{'text':'x'}]}]}",
     "\"input[0].content[0].type\" must be a string"},
    {"{'model':'m','input':[{'role':'user','content':[{'type':'input_image'}]}]}",
     "\"input[0].content[0].image_url\" must be a string"},
    {"{'model':'m','input':[{'role':'user','content':[{'type':'input_file'}]}]}",
     "\"input[0].content[0]\" must be a file with file_data, file_url or file_id"},
    {"{'model':'m','input':[{'role':'user','content':[{'type':'input_audio'}]}]}",
     "\"input[0].content[0].input_audio\" must be an object"},
    {"{'model':'m','input':[{'role':'user','content':{}}]}",
     "\"input[0].content\" must be a string or an array"},
    {"{'model':'m','input':[{'type':'function_call','name':'f','arguments':'{}'}]}",
     "\"input[0].call_id\" must be a string"},
    {"{'model':'m','input':[{'type':'function_call','call_id':'c'}]}",
     "\"input[0].name\" must be a string"},
    {"{'model':'m','input':[{'type':'function_call_output','output':'x'}]}",
     "\"input[0].call_id\" must be a string"},
    {"{'model':'m','input':[{'type':'function_call_output','call_id':'c','output':1}]}",
     "\"input[0].output\" must be a string or an array"},
    {"{'model':'m','input':[{'type':'reasoning','summary':[{'text':1}]}]}",
     "\"input[0].summary[0].text\" must be a string"},
    {"{'model':'m','input':[{'type':'additional_tools'}]}", "\"input[0].tools\" must be an array"},
    {"{'model':'m','input':[{'type':'additional_tools','tools':[{'type':'function'}]}]}",
     "\"input[0].tools[0].name\" must be a string"},
    {"{'model':'m','input':'x','tools':[{'type':'function'}]}",
     "\"tools[0].name\" must be a string"},
    {"{'model':'m','input':'x','tools':[{'name':'f'}]}", "\"tools[0].type\" must be a string"},
    {"{'model':'m','input':'x','tools':[{'type':'namespace','name':'n','tools':[{'type':"
     "'function'}]}]}",
     "\"tools[0].tools[0].name\" must be a string"},
    {"{'model':'m','input':'x','tools':[{'type':'function','name':'f'}],'tool_choice':{'type':"
     "'function','name':'g'}}",
     "\"tool_choice.name\" must be the name of one of the tools"},
    {"{'model':'m','input':'x','tools':[{'type':'function','name':'f'}],'tool_choice':{'type':"
     "'allowed_tools'}}",
     "\"tool_choice.tools\" must be an array"},
    {"{'model':'m','input':'x','temperature':'hot'}", "\"temperature\" must be a number"},
    {"{'model':'m','input':'x','max_output_tokens':1.5}",
     "\"max_output_tokens\" must be an integer"},
    {"{'model':'m','input':'x','text':{'format':{'type':'json_schema','name':'n'}}}",
     "\"text.format.schema\" must be an object"},
    {"{'model':'m','input':'x','text':'t'}", "\"text\" must be an object"},
    {"{'model':'m','input':'x','reasoning':{'effort':1}}", "\"reasoning.effort\" must be a string"},
    {"{'model':'m','input':'x','include':1}", "\"include\" must be an array"},
};

/* Catches: a request that is let through although it makes no sense, or an error without its
 * place. */
static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct request request;
        struct error e = {.code = OK};
        enum error_code code = read_full(quoted(refused[i].body), &request, &e);
        assert_int_equal(code, refused[i].detail == NULL ? OK : ERR_BAD_REQUEST);
        if (refused[i].detail != NULL)
            expect(str_c(e.detail), str_c(refused[i].detail));
    }
}

/* Catches: what is only said here, and left out for another protocol. */
static void test_bound(void **state)
{
    static const struct {
        const char *body;
        const char *bound;
    } cases[] = {
        {"{'model':'m','input':[{'type':'item_reference','id':'i'}]}", "input[0]"},
        {"{'model':'m','input':[{'id':'i'}]}", "input[0]"},
        {"{'model':'m','input':[{'role':'user','content':'x'},{'type':'compaction'}]}", "input[1]"},
        {"{'model':'m','input':'x','text':{'format':{'type':'grammar'}}}", "text.format"},
        {"{'model':'m','input':[{'type':'web_search_call','id':'w'}]}", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request;
        struct error e = {.code = OK};
        assert_int_equal(read_full(quoted(cases[i].body), &request, &e), OK);
        expect(request.bound, str_c(cases[i].bound));
    }
}

/* --- the conversation --------------------------------------------------------------------- */

static const char conversation[] =
    "{'model':'m','instructions':'be','input':["
    "{'role':'user','content':'hi'},"
    "{'type':'message','role':'user','content':[{'type':'input_text','text':'t'},"
    "{'type':'input_image','image_url':'data:image/png;base64,AAAA','detail':'high'},"
    "{'type':'image_url','image_url':{'url':'https://a.test/x'}},"
    "{'type':'input_file','filename':'f','file_data':'AAAA'},"
    "{'type':'input_file','file_url':'https://a.test/f'},{'type':'input_file','file_id':'id'}]},"
    "{'type':'reasoning','id':'rs_1','summary':[{'type':'summary_text','text':'a'},"
    "{'type':'summary_text','text':'b'}],'encrypted_content':'E'},"
    "{'type':'message','id':'msg_1','role':'assistant','status':'completed','phase':'commentary',"
    "'content':[{'type':'output_text','text':'x','annotations':[{'type':'url_citation'}]},"
    "{'type':'refusal','refusal':'no'}]},"
    "{'type':'function_call','call_id':'c1','name':'f','arguments':'{\\\"a\\\":1}'},"
    "{'type':'custom_tool_call','call_id':'c2','name':'g','input':'free','namespace':'n'},"
    "{'type':'function_call_output','call_id':'c1','output':'r'},"
    "{'type':'custom_tool_call_output','call_id':'c2','output':[{'type':'input_text','text':'s'}]},"
    "{'type':'reasoning','id':'rs_2','summary':[],'encrypted_content':'F'},"
    "{'role':'assistant','content':'y'},{'role':'assistant','content':'z'},"
    "{'role':'developer','content':'d'},{'type':'web_search_call','id':'w'}],"
    "'tools':[{'type':'function','name':'f','parameters':{},'strict':true},"
    "{'type':'namespace','name':'n','tools':[{'type':'custom','name':'g','format':{'type':"
    "'grammar','syntax':'lark','definition':'s'}}]},{'type':'web_search'}],"
    "'tool_choice':{'type':'allowed_tools','mode':'required','tools':[{'type':'function','name':"
    "'f'},{'type':'custom','name':'g','namespace':'n'},{'type':'web_search'}]},"
    "'reasoning':{'effort':'high','summary':'auto'},'text':{'verbosity':'low','format':{'type':"
    "'json_schema','name':'s','schema':{},'strict':false}},'include':["
    "'message.output_text.logprobs'],'top_logprobs':3,'safety_identifier':'u','store':false}";

static const struct turn *turn_at(const struct request *request, size_t at)
{
    const struct turn *turn = request->turns;

    while (at-- > 0 && turn != NULL)
        turn = turn->next;
    assert(turn != NULL);
    return turn;
}

static const struct part *part_at(const struct turn *turn, size_t at)
{
    const struct part *part = turn->parts;

    while (at-- > 0 && part != NULL)
        part = part->next;
    assert(part != NULL);
    return part;
}

static void test_conversation(void **state)
{
    static const enum role roles[] = {ROLE_SYSTEM,    ROLE_USER,      ROLE_USER,
                                      ROLE_ASSISTANT, ROLE_TOOL,      ROLE_ASSISTANT,
                                      ROLE_ASSISTANT, ROLE_DEVELOPER, ROLE_ASSISTANT};
    struct request request;
    struct error e = {.code = OK};
    size_t n = 0;

    (void)state;
    if (read_full(quoted(conversation), &request, &e) != OK)
        fail_msg("%s", e.detail);
    for (const struct turn *turn = request.turns; turn != NULL; turn = turn->next) {
        assert_true(n < COUNT_OF(roles));
        assert_int_equal(turn->role, roles[n++]);
    }
    assert_int_equal(n, COUNT_OF(roles));

    const struct turn *user = turn_at(&request, 2);
    assert_int_equal(part_at(user, 1)->kind, PART_IMAGE);
    expect(part_at(user, 1)->media_type, STR("image/png"));
    expect(part_at(user, 1)->detail, STR("high"));
    assert_true(part_at(user, 2)->is_url);
    expect(part_at(user, 3)->data, STR("AAAA"));
    assert_false(part_at(user, 3)->is_url);
    expect(part_at(user, 4)->data, STR("https://a.test/f"));
    expect(part_at(user, 5)->id, STR("id"));

    const struct turn *assistant = turn_at(&request, 3);
    expect(assistant->phase, STR("commentary"));
    expect(part_at(assistant, 0)->text, STR("a\n\nb"));
    expect(part_at(assistant, 0)->signature, STR("E"));
    expect(part_at(assistant, 0)->id, STR("rs_1"));
    assert_true(part_at(assistant, 0)->summary);
    assert_true(part_at(assistant, 1)->citations.n > 0);
    assert_int_equal(part_at(assistant, 2)->kind, PART_REFUSAL);
    expect(part_at(assistant, 3)->text, STR("{\"a\":1}"));
    assert_true(part_at(assistant, 4)->custom);
    expect(part_at(assistant, 4)->name, STR("n__g"));

    const struct turn *tool = turn_at(&request, 4);
    assert_true(part_at(tool, 0)->was_text);
    expect(part_at(tool, 0)->parts->text, STR("r"));
    expect(part_at(tool, 1)->parts->text, STR("s"));
    assert_true(part_at(turn_at(&request, 5), 0)->redacted);
}

static void test_parameters(void **state)
{
    struct request request;
    struct error e = {.code = OK};

    (void)state;
    assert_int_equal(read_full(quoted(conversation), &request, &e), OK);
    expect(request.tools->next->name, STR("n__g"));
    expect(request.tools->next->space, STR("n"));
    expect(request.tools->next->format,
           quoted("{'type':'grammar','grammar':{'syntax':'lark','definition':'s'}}"));
    assert_true(request.tools->next->next->vendor);
    assert_int_equal(request.tools->strict, 1);
    assert_int_equal(request.tool_choice, TOOL_CHOICE_SUBSET);
    assert_true(request.tool_choice_required);
    assert_int_equal(request.tool_choice_names_n, 2);
    expect(request.tool_choice_names[1], STR("n__g"));
    assert_int_equal(request.params.reasoning, REASONING_EFFORT);
    assert_int_equal(request.params.reasoning_visible, 1);
    expect(request.params.reasoning_summary, STR("auto"));
    expect(request.params.verbosity, STR("low"));
    assert_int_equal(request.params.format.kind, FORMAT_SCHEMA);
    assert_int_equal(request.params.format.strict, 0);
    assert_int_equal(request.params.logprobs, 1);
    assert_int_equal(request.params.store, 0);
    expect(request.params.user, STR("u"));
}

/* Catches: a choice that is lost, or that stands without tools. */
static void test_choices(void **state)
{
    static const struct {
        const char *choice;
        enum tool_choice_kind kind;
    } cases[] = {
        {"'auto'", TOOL_CHOICE_AUTO},
        {"'none'", TOOL_CHOICE_NONE},
        {"'required'", TOOL_CHOICE_REQUIRED},
        {"'odd'", TOOL_CHOICE_OTHER},
        {"null", TOOL_CHOICE_ABSENT},
        {"{'type':'function','name':'f'}", TOOL_CHOICE_NAMED},
        {"{'type':'web_search'}", TOOL_CHOICE_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct request request;
        struct error e = {.code = OK};
        struct str body = str_print(&arena,
                                    "{'model':'m','input':'x','tools':[{'type':'function','name':"
                                    "'f'}],'tool_choice':%s}",
                                    cases[i].choice);
        assert_int_equal(read_full(quoted(str_z(&arena, body)), &request, &e), OK);
        assert_int_equal(request.tool_choice, cases[i].kind);
        body = str_print(&arena, "{'model':'m','input':'x','tools':[],'tool_choice':%s}",
                         cases[i].choice);
        assert_int_equal(read_full(quoted(str_z(&arena, body)), &request, &e), OK);
        assert_int_equal(request.tool_choice, TOOL_CHOICE_ABSENT);
    }
}

/* --- to an upstream of the same protocol -------------------------------------------------- */

static void test_same_protocol(void **state)
{
    static const struct {
        const char *body;
        const char *model;
        const char *want;
    } cases[] = {
        {"{'model':'b:m', 'input':'x' ,'session_id':'s','odd':1}", "m",
         "{'model':\"m\", 'input':'x' ,'odd':1}"},
        {"{'model':'m','input':'x'}", NULL, "{'model':'m','input':'x'}"},
        {"{'prompt':{'id':'p'}}", "m", "{'prompt':{'id':'p'},'model':'m'}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct request_limits limits = {.depth_max = 64};
        const struct encode_request how = {
            .model = str_c(cases[i].model),
            .same_protocol = true,
            .operation = i == 1 ? OP_COUNT_TOKENS : OP_GENERATE,
        };
        struct request request;
        struct error e = {.code = OK};
        struct wire wire;
        assert_int_equal(named("openai-responses")
                             ->request_decode(quoted(cases[i].body), &limits, &arena, &request, &e),
                         OK);
        assert_int_equal(
            named("openai-responses")->request_encode(&request, &how, &arena, &wire, &e), OK);
        expect(join(&wire), quoted(cases[i].want));
        expect(wire.path, i == 1 ? STR("/responses/input_tokens") : STR("/responses"));
    }
}

/* --- from another protocol ---------------------------------------------------------------- */

static enum error_code translate(const char *client, struct str body, const char *model,
                                 struct translation *t, struct str *ret_body)
{
    const struct request_limits limits = {.depth_max = 64, .operation = OP_GENERATE};
    const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    const struct encode_request how = {
        .model = str_c(model),
        .dialect = &dialect,
        .operation = OP_GENERATE,
        .vendor = STR("openai"),
        .translation = t,
    };
    struct request request;
    struct error e = {.code = OK};
    struct wire wire;

    t->arena = &arena;
    if (named(client)->request_decode(body, &limits, &arena, &request, &e) != OK ||
        named(client)->request_decode_full(&request, &limits, &arena, &e) != OK)
        fail_msg("%s", e.detail);
    enum error_code code =
        named("openai-responses")->request_encode(&request, &how, &arena, &wire, &e);
    if (code == OK)
        *ret_body = join(&wire);
    return code;
}

static void test_stop_and_padding(void **state)
{
    struct translation t = {.stop_n = 0};
    struct str body = STR_NULL;

    (void)state;
    assert_int_equal(
        translate("openai-chat",
                  quoted("{'model':'m','stream':true,'stop':['a','b'],'messages':[{'role':'user',"
                         "'content':'x'}]}"),
                  "gpt-4.1", &t, &body),
        OK);
    assert_int_equal(t.stop_n, 2);
    expect(t.stop[1], STR("b"));
    expect(body, quoted("{'model':'gpt-4.1','input':[{'type':'message','role':'user','content':[{"
                        "'type':'input_text','text':'x'}]}],'store':false,'stream':true,"
                        "'stream_options':{'include_obfuscation':false}}"));
}

/* Catches: reasoning that goes to a vendor who did not make it, or that leads to nothing. */
static void test_reasoning_items(void **state)
{
    static const struct {
        const char *vendor;
        bool last;
        bool kept;
    } cases[] = {{"openai", false, true},
                 {"anthropic", false, false},
                 {NULL, false, false},
                 {"openai", true, false}};
    const struct encode_request how = {.model = STR("gpt-5"),
                                       .operation = OP_GENERATE,
                                       .vendor = STR("openai")};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct translation t = {.arena = &arena};
        struct encode_request with = how;
        struct request request;
        struct error e = {.code = OK};
        struct wire wire;
        const char *body = cases[i].last
                               ? "{'model':'m','input':[{'role':'user','content':'x'},{'type':"
                                 "'reasoning','id':'rs_1','summary':[],'encrypted_content':'E'}]}"
                               : "{'model':'m','input':[{'role':'user','content':'x'},{'type':"
                                 "'reasoning','id':'rs_1','summary':[],'encrypted_content':'E'},{"
                                 "'role':'assistant','content':'y'}]}";
        assert_int_equal(read_full(quoted(body), &request, &e), OK);
        for (struct turn *turn = request.turns; turn != NULL; turn = turn->next) {
            for (struct part *part = turn->parts; part != NULL; part = part->next)
                part->vendor = part->kind == PART_REASONING ? str_c(cases[i].vendor) : STR_NULL;
        }
        with.translation = &t;
        assert_int_equal(
            named("openai-responses")->request_encode(&request, &with, &arena, &wire, &e), OK);
        struct str text = join(&wire);
        bool has = str_find(text,
                            quoted("{'type':'reasoning','id':'rs_1','summary':[],"
                                   "'encrypted_content':'E'}"),
                            0) != SIZE_MAX;
        if (has != cases[i].kept)
            fail_msg("case %zu: %.*s", i, STR_ARG(text));
    }
}

/* --- anything at all ---------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

/* Whatever comes is read, or refused with words; what was read can be said to all protocols. */
static void try_body(struct str body)
{
    struct request request;
    struct error e = {.code = OK};

    if (read_full(body, &request, &e) != OK) {
        assert_true(e.detail[0] != '\0');
        return;
    }
    struct buf out;
    buf_init(&out, OUT_MAX);
    assert_true(dump_request(&out, &request));
    buf_fini(&out);
    for (size_t i = 0; i < protocol_count; i++) {
        struct translation t = {.arena = &arena};
        const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
        const struct encode_request how = {.dialect = &dialect,
                                           .model = STR("m"),
                                           .operation = OP_GENERATE,
                                           .vendor = STR("v"),
                                           .translation = &t};
        struct wire wire;
        enum error_code code = protocol_table[i]->request_encode(&request, &how, &arena, &wire, &e);
        if (code != OK)
            continue;
        const struct json_read_options options = {.depth_max = 200};
        struct str text = join(&wire);
        if (json_read(text, &options, &arena, &e) == NULL)
            fail_msg("%s: %.*s", e.detail, STR_ARG(text));
    }
}

static void test_mutations(void **state)
{
    static const char bytes[] = "\"{}[]:,\\ntf0-e'x ";
    uint32_t random = 7;

    (void)state;
    for (size_t i = 0; i < MUTATIONS; i++) {
        struct str body = quoted(conversation);
        char *to = arena_alloc(&arena, body.n);
        memcpy(to, body.p, body.n);
        for (uint32_t k = next_random(&random) % 3; k < 3; k++)
            to[next_random(&random) % body.n] = bytes[next_random(&random) % (sizeof(bytes) - 1)];
        try_body(str_of(to, body.n));
        arena_rewind(&arena);
    }
}

static void try_recording(void *ctx, const struct recording *recording)
{
    size_t *n = ctx;

    if (recording->status >= 400 || str_is_null(recording->request))
        return;
    struct request request;
    struct error e = {.code = OK};
    if (read_full(recording->request, &request, &e) != OK)
        fail_msg("line %zu: %s", recording->line, e.detail);
    try_body(recording->request);
    (*n)++;
    arena_rewind(&arena);
}

static void test_recordings(void **state)
{
    size_t n = 0;

    (void)state;
    if (!recordings_each("openai_responses", try_recording, &n))
        skip();
    assert_true(n > 100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_refused),          TEST(test_bound),           TEST(test_conversation),
        TEST(test_parameters),       TEST(test_choices),         TEST(test_same_protocol),
        TEST(test_stop_and_padding), TEST(test_reasoning_items), TEST(test_mutations),
        TEST(test_recordings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
