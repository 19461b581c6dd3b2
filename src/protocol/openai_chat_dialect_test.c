/* SPDX-License-Identifier: MIT */
/*
 * Bodies made what a vendor takes: members of the root, formats, edits beside others; then all
 * flags together at random. Tools, reasoning and messages have tests of their own.
 */
#include "protocol/dialect_for_test.h"
#include "protocol/openai_chat_dialect_for_test.h"

/* --- members of the root ------------------------------------------------------------------ */

static const struct row root_rows[] = {
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
    {"temperature that fits", {.temperature_max = 1.5f}, NULL, "{'temperature':1.50}", NULL, NULL},
    {"seed", {.seed = "random_seed"}, NULL, "{'seed':7}", "{'random_seed':7}", NULL},
    {"drop",
     {.drop = DIALECT_DROP(logprobs) | DIALECT_DROP(user)},
     NULL,
     "{'logprobs':true,'model':'m','user':'u','custom':{'user':1}}",
     "{'model':'m','custom':{'user':1}}",
     "dropped:logprobs,dropped:user"},
    {"drop what says nothing",
     {.drop = DIALECT_DROP(logprobs) | DIALECT_DROP(user) | DIALECT_DROP(logit_bias) |
              DIALECT_DROP(n) | DIALECT_DROP(top_logprobs)},
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

static void test_root(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(root_rows); i++)
        check(&root_rows[i]);
}

#define FORMAT \
    "'response_format':{'type':'json_schema','json_schema':{'name':'n','schema':{'a':1}}}"
#define NOTE "Respond only with a JSON object that follows this JSON Schema:\\n{\\'a\\':1}"

static void test_formats(void **state)
{
    static const struct dialect object = {.json = DIALECT_JSON_OBJECT};
    static const struct dialect word = {.json_word = true};
    const struct row rows[] = {
        {"a schema, into the system's text", object, NULL,
         "{" FORMAT ",'messages':[{'role':'system','content':'s'},{'role':'user'}]}",
         "{'response_format':{'type':'json_object'},'messages':[{'role':'system','content':"
         "'s\\n\\n" NOTE "'},{'role':'user'}]}",
         "changed:response_format"},
        {"a schema, into an empty one", object, NULL,
         "{" FORMAT ",'messages':[{'role':'developer','content':''}]}",
         "{'response_format':{'type':'json_object'},'messages':[{'role':'developer','content':"
         "'" NOTE "'}]}",
         "changed:response_format"},
        {"a schema, in front", object, NULL, "{" FORMAT ",'messages':[{'role':'user'}]}",
         "{'response_format':{'type':'json_object'},'messages':[{'role':'system','content':"
         "'" NOTE "'},{'role':'user'}]}",
         "changed:response_format"},
        {"a schema, alone",
         {.json = DIALECT_JSON_NONE, .developer_as_system = true},
         NULL,
         "{'messages':[]," FORMAT "}",
         "{'messages':[{'role':'system','content':'" NOTE "'}]}",
         "changed:response_format"},
        {"an object as a schema",
         {.json = DIALECT_JSON_SCHEMA_ONLY},
         NULL,
         "{'response_format':{'type':'json_object'}}",
         "{'response_format':{'type':'json_schema','json_schema':{'name':'response','schema':"
         "{'type':'object'}}}}",
         NULL},
        {"the word", word, NULL,
         "{'response_format':{'type':'json_object'},'messages':[{'role':'user','content':'x'}]}",
         "{'response_format':{'type':'json_object'},'messages':[{'role':'system','content':"
         "'Respond only with a JSON object.'},{'role':'user','content':'x'}]}",
         NULL},
        {"the word is there", word, NULL,
         "{'response_format':{'type':'json_object'},'messages':[{'role':'user','content':'Json'}]}",
         NULL, NULL},
        {"text", object, NULL, "{'response_format':{'type':'text'},'messages':[]}", NULL, NULL},
        {"none", object, NULL, "{'response_format':null,'messages':[]}", NULL, NULL},
        {"nonsense", object, NULL, "{'response_format':{'type':7},'messages':[]}", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check(&rows[i]);
}

static void test_refused(void **state)
{
    static const struct {
        struct dialect dialect;
        const char *body;
        enum error_code code;
    } rows[] = {
        {{.n_max = 1}, "{'n':2}", ERR_UNSUPPORTED_VALUE},
        {{.images = DIALECT_IMAGES_DATA},
         "{'messages':[{'role':'user','content':[{'type':'image_url','image_url':{'url':"
         "'HTTPS://h/i.png'}}]}]}",
         ERR_UNSUPPORTED},
    };
    struct str body;
    struct str warnings;
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(run(&rows[i].dialect, NULL, quoted(rows[i].body), &body, &warnings, &e),
                         rows[i].code);
}

/* A client's own: the vendor says what it thinks of it, perhaps something new. */
static void test_raw_goes_on(void **state)
{
    static const struct dialect dialect = {.n_max = 1,
                                           .images = DIALECT_IMAGES_DATA,
                                           .reasoning = DIALECT_REASONING_ENABLED};
    const struct encode_request how = {.dialect = &dialect, .same_protocol = true};
    struct str body = quoted(
        "{'n':2,'reasoning_effort':'high','messages':[{'role':'user','content':["
        "{'type':'image_url','image_url':{'url':'https://h/i.png'}}]}]}");
    struct wire wire = {.body = &body, .body_n = 1, .body_bytes = body.n};
    struct error e;

    (void)state;
    assert_int_equal(openai_chat_dialect_body(&how, STR("m"), &arena, &wire, &e), OK);
    assert_true(str_eq(joined(&wire), body));
}

/* --- as requests go up -------------------------------------------------------------------- */

/* Commands cut texts and remove messages, settings add members: the rules see what they left. */
static void test_beside_edits(void **state)
{
    static const struct dialect dialect = {.developer_as_system = true,
                                           .max_tokens_legacy = true,
                                           .temperature_max = 1,
                                           .reasoning = DIALECT_REASONING_SWITCH};
    static const struct request_limits limits = {.depth_max = 64};
    const struct steer steer = {.temperature = STR("2"),
                                .max_tokens = STR("9"),
                                .reasoning_effort = STR("low")};
    struct translation t = {.arena = &arena};
    const struct encode_request how = {.model = STR("new"),
                                       .dialect = &dialect,
                                       .steer = &steer,
                                       .same_protocol = true,
                                       .translation = &t};
    struct request request;
    struct wire wire;
    struct error e;
    struct str source = quoted("{'model':'m','messages':[{'role':'developer','content':'gone'},"
                               "{'role':'developer','content':'stays'}],'session_id':'s'}");

    (void)state;
    assert_int_equal(openai_chat_request_decode(source, &limits, &arena, &request, &e), OK);
    struct str messages = json_index_find(&request.index, STR("messages"))->value;
    struct str first;
    size_t cursor = 0;
    assert_true(json_array_next(messages, &cursor, &first));
    json_edit_element(&request.edits, &arena, source, first);
    assert_int_equal(openai_chat_upstream_encode(&request, &how, &arena, &wire, &e), OK);
    struct str body = joined(&wire);
    struct str expected = quoted("{'model':'new','messages':[{'role':'system','content':'stays'}],"
                                 "'max_tokens':9,'temperature':1,'enable_thinking':true}");
    if (!str_eq(body, expected))
        fail_msg("got %.*s", STR_ARG(body));
}

/* A vendor's own words beside an effort that is steered: the request said it. */
static void test_steered(void **state)
{
    static const struct dialect dialect = {.reasoning = DIALECT_REASONING_THINKING};
    static const struct request_limits limits = {.depth_max = 64};
    const struct steer steer = {.reasoning_effort = STR("none")};
    static const struct {
        const char *body;
        const char *expected;
    } rows[] = {
        {"{'model':'glm-4.6','messages':[]}",
         "{'model':'glm-4.6','messages':[],'thinking':{'type':'disabled'}}"},
        {"{'model':'glm-4.6','messages':[],'thinking':{'type':'enabled'}}",
         "{'model':'glm-4.6','messages':[],'thinking':{'type':'enabled'}}"},
        {"{'model':'glm-4.6','messages':[],'reasoning_effort':'low'}",
         "{'model':'glm-4.6','messages':[],'thinking':{'type':'enabled'}}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct encode_request how = {.dialect = &dialect,
                                           .steer = &steer,
                                           .same_protocol = true};
        struct request request;
        struct wire wire;
        struct error e;
        assert_int_equal(openai_chat_request_decode(quoted(rows[i].body), &limits, &arena, &request,
                                                    &e),
                         OK);
        assert_int_equal(openai_chat_upstream_encode(&request, &how, &arena, &wire, &e), OK);
        struct str body = joined(&wire);
        if (!str_eq(body, quoted(rows[i].expected)))
            fail_msg("%s: got %.*s", rows[i].body, STR_ARG(body));
    }
}

/* --- many, and at random ------------------------------------------------------------------ */

/* Work must not grow with the square of what a client sends. */
static void test_many(void **state)
{
    enum { MANY = 20000 };
    static const struct dialect dialect = {.tool_ids = FIT_IDS_MISTRAL,
                                           .tool_result_name = true,
                                           .developer_as_system = true,
                                           .alternate = true,
                                           .cache = DIALECT_CACHE_REFUSED};
    struct buf body;
    struct str out;
    struct str warnings;
    struct error e;

    (void)state;
    buf_init(&body, 64 * 1024 * 1024);
    buf_add(&body, STR("{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}"));
    for (size_t i = 0; i < MANY; i++)
        buf_add(&body,
                str_print(&arena, ",{\"id\":\"%zu\",\"function\":{\"name\":\"f%zu\"}}", i, i));
    buf_add(&body, STR("]}"));
    for (size_t i = MANY; i > 0; i--)
        buf_add(&body, str_print(&arena, ",{\"role\":\"tool\",\"tool_call_id\":\"%zu\"}", i - 1));
    for (size_t i = 0; i < MANY; i++)
        buf_add(&body, STR(",{\"role\":\"user\",\"content\":\"x\"}"));
    buf_add(&body, STR("]}"));
    assert_int_equal(run(&dialect, NULL, buf_str(&body), &out, &warnings, &e), OK);
    assert_true(str_find(out, STR("{\"name\":\"f19999\",\"role\":\"tool\""), 0) < out.n);
    assert_true(str_find(out, STR("{\"name\":\"f0\",\"role\":\"tool\""), 0) < out.n);
    assert_true(str_ends(out, STR("x\\n\\nx\"}]}")));
    buf_fini(&body);
}

static uint64_t seed;

static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % sides;
}

static const char *pick(const char *const *from, size_t n)
{
    return from[dice((unsigned)n)];
}
#define PICK(...)                            \
    pick((const char *const[]){__VA_ARGS__}, \
         sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void add(struct buf *out, const char *text)
{
    buf_add(out, quoted(text));
}

static void random_content(struct buf *out)
{
    add(out, PICK("'a'", "''", "null", "7", "[]", "'say \\u004aSON'",
                  "[{'type':'text','text':'a'},{'type':'text','text':'b','cache_control':{}}]",
                  "[{'type':'image_url','image_url':{'url':'data:x'}}]",
                  "[{'type':'image_url','image_url':'data:y','cache_control':1},3]",
                  "[{'type':'thinking','thinking':[]},{'type':'text'}]"));
}

static void random_message(struct buf *out)
{
    add(out, "{");
    add(out, PICK("'role':'user'", "'role':'assistant'", "'role':'system'", "'role':'developer'",
                  "'role':'tool'", "'role':7", "'r':1", "'r\\u006fle':'developer'"));
    if (dice(4) > 0) {
        add(out, ",'content':");
        random_content(out);
    }
    add(out, PICK("", "", ",'name':'n'", ",'name':null"));
    add(out, PICK("", "", ",'tool_calls':[{'id':'x1','function':{'name':'f'}}]", ",'tool_calls':[]",
                  ",'tool_calls':null", ",'tool_calls':[{'id':5},1]"));
    add(out, PICK("", ",'tool_call_id':'x1'", ",'tool_call_id':'123456789'", ",'tool_call_id':[]"));
    add(out,
        PICK("", "", ",'reasoning_content':'r'", ",'reasoning':'s'", ",'reasoning_content':null",
             ",'reasoning':'','reasoning_content':'z'", ",'reasoning_details':[{}]"));
    add(out, PICK("", "", ",'cache_control':{'type':'ephemeral'}", ",'prefix':true",
                  ",'unknown':{'x':[1]}"));
    add(out, "}");
}

static void random_list(struct buf *out, void (*one)(struct buf *))
{
    unsigned n = dice(6);

    add(out, "[");
    for (unsigned i = 0; i < n; i++) {
        if (i > 0)
            add(out, PICK(",", " ,\n"));
        if (dice(30) == 0)
            add(out, "null");
        else
            one(out);
    }
    add(out, "]");
}

static void random_tool(struct buf *out)
{
    add(out, PICK("{'type':'function','function':{'name':'f','strict':true,'parameters':"
                  "{'$schema':1}}}",
                  "{'type':'function','function':{'name':'g','parameters':{'type':'object',"
                  "'additionalProperties':false,'properties':{'a':{'type':'string','anyOf':[{},"
                  "{'type':'x'},{'anyOf':[{'items':[{}]}]}]}}}},'cache_control':{}}",
                  "{'function':{'parameters':{'items':[{},{'$schema':2}],'$defs':{'b':"
                  "{'additionalProperties':false}}}}}",
                  "{'function':{'strict':false,'strict':null}}", "{'cache_control':1}", "{}"));
}

static const char *random_member(void)
{
    return PICK(
        "'n':1", "'n':null", "'temperature':1.9", "'temperature':null", "'seed':3",
        "'stop':['a','b','c']", "'stop':'a'", "'max_tokens':3", "'max_completion_tokens':2",
        "'max_completion_tokens':null", "'logprobs':true", "'logprobs':3", "'top_logprobs':2",
        "'logit_bias':{'1':2}", "'reasoning_effort':'high'", "'reasoning_effort':'none'",
        "'reasoning_effort':null", "'reasoning_effort':'odd'", "'reasoning_effort':5",
        "'reasoning':{'effort':'low'}", "'thinking':{'type':'disabled'}", "'thinking':null",
        "'enable_thinking':true", "'chat_template_kwargs':{}", "'prompt_mode':null",
        "'tool_choice':'required'", "'tool_choice':'none'", "'tool_choice':'auto'",
        "'tool_choice':{'type':'function','function':{'name':'f'}}",
        "'tool_choice':{'type':'allowed_tools','allowed_tools':{'tools':[{'function':{'name':'g'}}]"
        "}}",
        "'parallel_tool_calls':false", "'stream_options':{}", "'service_tier':'priority'",
        "'service_tier':'auto'", "'response_format':{'type':'json_object'}",
        "'response_format':{'type':'json_schema','json_schema':{'schema':{'x':'\\u00e9\\n'}}}",
        "'response_format':{'type':'json_schema'}", "'response_format':{}", "'functions':[]",
        "'function_call':'auto'", "'presence_penalty':1", "'frequency_penalty':0", "'user':'u'",
        "'top_p':0.5");
}

static size_t key_length(const char *member)
{
    return (size_t)(strchr(member + 1, '\'') - member);
}

/* No member twice: such a body is refused before. */
static struct str random_body(struct buf *out)
{
    const char *had[12];
    size_t had_n = 0;

    buf_reset(out);
    add(out, PICK("{ 'x_custom' : {'keep':[1,2]}", "{'x_custom':{'keep':[1,2]}"));
    add(out, PICK("", ",'model':'deepseek-v4'", ",'model':'o3'", ",'model':'magistral'"));
    for (size_t i = 0; i < COUNT_OF(had); i++) {
        const char *member = random_member();
        bool twice = false;
        for (size_t k = 0; k < had_n; k++)
            twice |= strncmp(had[k], member, key_length(member) + 1) == 0;
        if (twice)
            continue;
        had[had_n++] = member;
        add(out, ", ");
        add(out, member);
    }
    if (dice(8) > 0) {
        add(out, ",'messages':");
        random_list(out, random_message);
    }
    if (dice(2) > 0) {
        add(out, ",'tools':");
        random_list(out, random_tool);
    }
    add(out, "}");
    return str_copy(&arena, buf_str(out));
}

/* What comes out is JSON, has what nobody knows, and fits: another time changes nothing. */
static void check_random(const struct dialect *dialect, const char *model, struct str body)
{
    struct json_index index;
    struct str once;
    struct str twice;
    struct str warnings;
    struct error e;

    enum error_code code = run(dialect, model, body, &once, &warnings, &e);
    if (code == ERR_UNSUPPORTED || code == ERR_UNSUPPORTED_VALUE)
        return;
    if (code != OK)
        fail_msg("%s: %.*s", e.detail, STR_ARG(body));
    if (json_index_read(&index, once, 64, NULL, &arena, &e) != OK)
        fail_msg("%s: %.*s\nof %.*s", e.detail, STR_ARG(once), STR_ARG(body));
    const struct json_member *kept = json_index_find(&index, STR("x_custom"));
    if (kept == NULL || !str_eq(kept->value, STR("{\"keep\":[1,2]}")))
        fail_msg("lost: %.*s\nof %.*s", STR_ARG(once), STR_ARG(body));
    assert_int_equal(run(dialect, model, once, &twice, &warnings, &e), OK);
    size_t at = 0;
    while (at < once.n && at < twice.n && once.p[at] == twice.p[at])
        at++;
    size_t from = at < 80 ? 0 : at - 80;
    if (at < once.n || at < twice.n)
        fail_msg("first …%.*s\n  now …%.*s", STR_ARG(str_head(str_from(once, from), 160)),
                 STR_ARG(str_head(str_from(twice, from), 160)));
}

static void test_random(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 1024 * 1024);
    for (seed = 1; seed < 4000; seed++) {
        uint64_t started = seed;
        seed *= 0x9e3779b97f4a7c15u;
        const struct dialect dialect = dialect_for_test(seed);
        const char *model = PICK(NULL, "deepseek-v4", "o3", "magistral-1", "kimi-k2.6", "qwen3");
        check_random(&dialect, model, random_body(&out));
        arena_rewind(&arena);
        seed = started;
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_root, setup, teardown),
        cmocka_unit_test_setup_teardown(test_formats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_raw_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beside_edits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_steered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
