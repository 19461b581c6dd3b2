/* SPDX-License-Identifier: MIT */
/*
 * A client's request: what the path says, the conversation as canon/dump prints it, refusals by
 * the member's path, edits of the body for an upstream of the same protocol, and damaged bodies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "canon/dump.h"
#include "protocol/gemini_priv.h"
#include "protocol/recordings_for_test.h"

enum { OUT_MAX = 64 * 1024 * 1024, DEPTH_MAX = 64, MUTATIONS = 20000 };

struct fixture {
    struct arena arena;
    struct request request;
    struct error e;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.e.code = OK};
    arena_init(&f->arena, OUT_MAX, 16 * 1024, NULL);
}

static void end(struct fixture *f)
{
    arena_fini(&f->arena);
}

static enum error_code decode(struct fixture *f, const char *body, const char *rest,
                              const char *query, enum operation operation)
{
    const struct request_limits limits = {
        .depth_max = DEPTH_MAX,
        .operation = operation,
        .rest = str_c(rest),
        .query = str_c(query),
    };

    return gemini_request_decode(str_c(body), &limits, &f->arena, &f->request, &f->e);
}

static enum error_code decode_full(struct fixture *f, const char *body)
{
    const struct request_limits limits = {.depth_max = DEPTH_MAX};

    TRY(decode(f, body, "m:generateContent", NULL, OP_GENERATE));
    return gemini_request_decode_full(&f->request, &limits, &f->arena, &f->e);
}

/* --- the path ----------------------------------------------------------------------------- */

static void test_path(void **state)
{
    static const struct {
        const char *rest;
        const char *query;
        enum operation operation;
        const char *model; /* NULL: refused */
        bool stream;
        bool array;
    } cases[] = {
        {"gemini-3-pro:generateContent", NULL, OP_GENERATE, "gemini-3-pro", false, false},
        {"m:streamGenerateContent", "alt=sse", OP_GENERATE, "m", true, false},
        {"m:streamGenerateContent", "$alt=sse&key=K", OP_GENERATE, "m", true, false},
        {"m:streamGenerateContent", "%24alt=sse", OP_GENERATE, "m", true, false},
        {"m:streamGenerateContent", "x=%&%61lt=s%73e", OP_GENERATE, "m", true, false},
        {"m:streamGenerateContent", "alt=%2573se", OP_GENERATE, "m", true, true},
        {"m:streamGenerateContent", "alt=", OP_GENERATE, "m", true, true},
        {"m:streamGenerateContent", "alt", OP_GENERATE, "m", true, true},
        {"m:streamGenerateContent", "key=K", OP_GENERATE, "m", true, true},
        {"m:streamGenerateContent", "alt=json", OP_GENERATE, "m", true, true},
        {"m:generateContent", "alt=sse", OP_GENERATE, "m", false, false},
        {"openai:gpt-5:generateContent", NULL, OP_GENERATE, "openai:gpt-5", false, false},
        {"models/m:generateContent", NULL, OP_GENERATE, "m", false, false},
        {"or:meta/llama:8b:streamGenerateContent", "alt=sse", OP_GENERATE, "or:meta/llama:8b", true,
         false},
        {"m", NULL, OP_COUNT_TOKENS, "m", false, false},
        {"b:m:countTokens", NULL, OP_COUNT_TOKENS, "b:m", false, false},
        {"m:embedContent", NULL, OP_GENERATE, NULL, false, false},
        {"m", NULL, OP_GENERATE, NULL, false, false},
        {":generateContent", NULL, OP_GENERATE, NULL, false, false},
        {"models/:generateContent", NULL, OP_GENERATE, NULL, false, false},
        {"", NULL, OP_GENERATE, NULL, false, false},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin(&f);
        enum error_code code = decode(&f, "{\"contents\":[]}", cases[i].rest, cases[i].query,
                                      cases[i].operation);
        if ((code == OK) != (cases[i].model != NULL))
            fail_msg("%s: %s", cases[i].rest, f.e.detail);
        if (code == OK) {
            assert_true(str_eq(f.request.model, str_c(cases[i].model)));
            assert_int_equal(f.request.stream, cases[i].stream);
            assert_int_equal(f.request.array, cases[i].array);
        }
        end(&f);
    }
}

/* --- the conversation --------------------------------------------------------------------- */

/* One body, and what canon/dump must hold of it, in order. */
struct said {
    const char *body;
    const char *has[12];
};

#define U(parts)      "{\"role\":\"user\",\"parts\":[" parts "]}"
#define M(parts)      "{\"role\":\"model\",\"parts\":[" parts "]}"
#define C(contents)   "{\"contents\":[" contents "]}"
#define WITH(members) "{\"contents\":[" U("{\"text\":\"a\"}") "]," members "}"

#define THREE_CALLS                                                                     \
    M("{\"functionCall\":{\"name\":\"f\",\"args\":{ \"x\" : 12345678901234567890 }}},{" \
      "\"functionCall\":{\"name\":\"g\"}},{\"functionCall\":{\"name\":\"f\"}}")
#define THREE_RESULTS                                                                        \
    U("{\"functionResponse\":{\"name\":\"g\",\"response\":{\"output\":\"G\"}}},{"            \
      "\"function_response\":{\"name\":\"f\",\"response\":{\"error\":\"bad\"}}},{"           \
      "\"functionResponse\":{\"name\":\"f\",\"response\":{\"a\":1,\"b\":[ 2 ]}}},{\"text\":" \
      "\"and?\"}")

static const struct said saids[] = {
    {C(U("{\"text\":\"a\"},{\"text\":\"b\"}") "," M("{\"text\":\"c\"}")),
     {"\"user\"", "\"text\":\"a\"", "\"text\":\"b\"", "\"assistant\"", "\"text\":\"c\""}},
    /* No role; parts that stand alone; snake case. */
    {"{\"contents\":{\"parts\":{\"text\":\"a\"}},\"system_instruction\":{\"parts\":{\"text\":"
     "\"s\"}}}",
     {"\"system\"", "\"text\":\"s\"", "\"user\"", "\"text\":\"a\""}},
    {WITH("\"systemInstruction\":\"sugar\""), {"\"system\"", "sugar", "\"user\""}},
    /* Thoughts and signatures. */
    {C(M("{\"text\":\"hm\",\"thought\":true,\"thoughtSignature\":\"QUJD\"},{\"text\":\"\","
         "\"thought_signature\":\"REVG\"}")),
     {"\"reasoning\"", "hm", "QUJD", "\"text\"", "REVG"}},
    /* A packed signature in the other alphabet. */
    {C(M("{\"text\":\"\",\"thoughtSignature\":\"cHgxLmEuYi+/Lw==\"}")), {"cHgxLmEuYi-_Lw\""}},
    /* Calls without ids, results by name and order. */
    {C(THREE_CALLS "," THREE_RESULTS),
     {"{\\\"x\\\":12345678901234567890}", "g0_0", "g0_1", "g0_2", "\"tool\"", "g0_1", "\"G\"",
      "g0_0", "bad", "g0_2", "{\\\"a\\\":1,\\\"b\\\":[2]}", "and?"}},
    {C(M("{\"functionCall\":{\"id\":\"i1\",\"name\":\"f\"},\"thoughtSignature\":\"QUJD\"}") "," U(
         "{\"functionResponse\":{\"id\":\"i1\",\"name\":\"f\",\"response\":{\"output\":{\"a\":1}},"
         "\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"aGk=\"}}]}}")),
     {"i1", "QUJD", "tool_result", "i1", "{\\\"a\\\":1}", "\"image\"", "image/png"}},
    /* A result that answers nothing. */
    {C(U("{\"functionResponse\":{\"name\":\"f\",\"response\":{}}}")), {"g0_r0"}},
    /* Media. */
    {C(U("{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"aGk=\"},\"mediaResolution\":{"
         "\"level\":\"MEDIA_RESOLUTION_LOW\"}},{\"inline_data\":{\"mime_type\":\"audio/mpeg\","
         "\"data\":\"aGk=\"}},{\"fileData\":{\"fileUri\":\"https://f/x\",\"mimeType\":"
         "\"application/pdf\",\"displayName\":\"x.pdf\"}}")),
     {"\"image\"", "low", "\"audio\"", "mp3", "\"file\"", "x.pdf", "https://f/x"}},
    /* Code that ran is text, other parts are the vendor's. */
    {C(M("{\"executableCode\":{\"language\":\"PYTHON\",\"code\":\"print(1)\"}},"
         "{\"codeExecutionResult\":{\"outcome\":\"OUTCOME_OK\",\"output\":\"1\\n\"}},"
         "{\"toolCall\":{\"id\":\"1\"}}")),
     {"```python\\nprint(1)\\n```", "```\\n1\\n```", "\"vendor\"", "toolCall"}},
    /* Tools. */
    {WITH("\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\","
          "\"parameters\":{\"type\":\"OBJECT\",\"properties\":{\"type\":{\"type\":\"STRING\","
          "\"nullable\":true,\"format\":\"enum\",\"enum\":[\"a\"]},\"l\":{\"type\":\"ARRAY\","
          "\"items\":{\"type\":\"INTEGER\"},\"min_items\":\"1\"}},\"required\":[\"l\"],"
          "\"propertyOrdering\":[\"l\"]}},{\"name\":\"g\",\"parametersJsonSchema\":{\"type\":"
          "\"object\"}}]},{\"googleSearch\":{}}]"),
     {"\"name\":\"f\"",
      "\"schema\":{\"type\":\"object\",\"properties\":{\"type\":{\"type\":["
      "\"string\",\"null\"],\"enum\":[\"a\"]},\"l\":{\"type\":\"array\",\"items\":{\"type\":"
      "\"integer\"},\"minItems\":1}},\"required\":[\"l\"]}",
      "\"name\":\"g\"", "googleSearch"}},
};

static void test_conversation(void **state)
{
    struct fixture f;
    struct buf out;

    (void)state;
    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < COUNT_OF(saids); i++) {
        size_t at = 0;
        begin(&f);
        buf_reset(&out);
        if (decode_full(&f, saids[i].body) != OK)
            fail_msg("%s: %s", saids[i].body, f.e.detail);
        dump_request(&out, &f.request);
        for (size_t k = 0; k < COUNT_OF(saids[i].has) && saids[i].has[k] != NULL; k++) {
            at = str_find(buf_str(&out), str_c(saids[i].has[k]), at);
            if (at == SIZE_MAX)
                fail_msg("%s\nnot in\n%.*s", saids[i].has[k], STR_ARG(buf_str(&out)));
        }
        end(&f);
    }
    buf_fini(&out);
}

/* --- parameters --------------------------------------------------------------------------- */

static const struct params *params_of(struct fixture *f, const char *body)
{
    begin(f);
    if (decode_full(f, body) != OK)
        fail_msg("%s: %s", body, f->e.detail);
    return &f->request.params;
}

static void test_config(void **state)
{
    struct fixture f;
    const struct params *p;

    (void)state;
    p = params_of(&f, WITH("\"generationConfig\":{\"temperature\":0.50,\"top_p\":1,\"topK\":40,"
                           "\"candidateCount\":2,\"maxOutputTokens\":\"100\",\"seed\":-1,"
                           "\"presencePenalty\":0.1,\"frequencyPenalty\":0,\"responseLogprobs\":"
                           "true,\"logprobs\":3,\"stopSequences\":[\"a\",\"b\"],\"speechConfig\":{}"
                           "},\"serviceTier\":\"standard\",\"safetySettings\":[]"));
    assert_true(str_eq(p->temperature, STR("0.50")) && str_eq(p->top_p, STR("1")));
    assert_true(str_eq(p->top_k, STR("40")) && str_eq(p->n, STR("2")));
    assert_true(str_eq(p->max_tokens, STR("100")) && str_eq(p->seed, STR("-1")));
    assert_true(str_eq(p->presence_penalty, STR("0.1")) && str_eq(p->frequency_penalty, STR("0")));
    assert_int_equal(p->logprobs, 1);
    assert_true(str_eq(p->top_logprobs, STR("3")) && p->stop_n == 2);
    assert_true(str_eq(p->service_tier, STR("default")));
    assert_true(f.request.extra != NULL && f.request.extra->next != NULL);
    end(&f);

    p = params_of(&f, WITH("\"generation_config\":{\"response_mime_type\":\"application/json\"}"));
    assert_int_equal(p->format.kind, FORMAT_JSON);
    end(&f);
    p = params_of(&f, WITH("\"generationConfig\":{\"responseMimeType\":\"application/json\","
                           "\"responseSchema\":{\"type\":\"STRING\"}}"));
    assert_int_equal(p->format.kind, FORMAT_SCHEMA);
    assert_true(str_eq(p->format.schema, STR("{\"type\":\"string\"}")));
    end(&f);
    p = params_of(&f, WITH("\"generationConfig\":{\"responseMimeType\":\"text/x.enum\","
                           "\"responseSchema\":{\"type\":\"STRING\",\"enum\":[\"a\"]}}"));
    assert_int_equal(p->format.kind, FORMAT_ABSENT);
    end(&f);
}

static void test_thinking(void **state)
{
    static const struct {
        const char *config;
        enum reasoning_mode mode;
        const char *effort;
        const char *budget;
        int visible;
    } cases[] = {
        {"{}", REASONING_ABSENT, NULL, NULL, -1},
        {"{\"includeThoughts\":true}", REASONING_ABSENT, NULL, NULL, 1},
        {"{\"thinkingBudget\":0}", REASONING_OFF, NULL, NULL, -1},
        {"{\"thinkingBudget\":-1}", REASONING_DYNAMIC, NULL, NULL, -1},
        {"{\"thinking_budget\":512,\"include_thoughts\":false}", REASONING_BUDGET, NULL, "512", 0},
        {"{\"thinkingLevel\":\"HIGH\"}", REASONING_EFFORT, "high", NULL, -1},
        {"{\"thinkingLevel\":\"minimal\"}", REASONING_EFFORT, "minimal", NULL, -1},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char body[512];
        (void)snprintf(body, sizeof(body), WITH("\"generationConfig\":{\"thinkingConfig\":%s}"),
                       cases[i].config);
        const struct params *p = params_of(&f, body);
        assert_int_equal(p->reasoning, cases[i].mode);
        assert_true(str_eq(p->reasoning_effort, str_c(cases[i].effort)));
        assert_true(str_eq(p->reasoning_budget, str_c(cases[i].budget)));
        assert_int_equal(p->reasoning_visible, cases[i].visible);
        end(&f);
    }
}

#define F_AND_G                                                                                   \
    "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\"},{\"name\":\"g\"}]}],\"toolConfig\":{" \
    "\"functionCallingConfig\":"

static void test_choice(void **state)
{
    static const struct {
        const char *config;
        enum tool_choice_kind kind;
        size_t names;
        bool required;
    } cases[] = {
        {"{}", TOOL_CHOICE_AUTO, 0, false},
        {"{\"mode\":\"AUTO\"}", TOOL_CHOICE_AUTO, 0, false},
        {"{\"mode\":\"NONE\"}", TOOL_CHOICE_NONE, 0, false},
        {"{\"mode\":\"ANY\"}", TOOL_CHOICE_REQUIRED, 0, true},
        {"{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}", TOOL_CHOICE_NAMED, 1, true},
        {"{\"mode\":\"ANY\",\"allowed_function_names\":[\"f\",\"g\"]}", TOOL_CHOICE_SUBSET, 2,
         true},
        {"{\"mode\":\"VALIDATED\"}", TOOL_CHOICE_AUTO, 0, false},
        {"{\"mode\":\"VALIDATED\",\"allowedFunctionNames\":[\"f\"]}", TOOL_CHOICE_SUBSET, 1, false},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char body[512];
        (void)snprintf(body, sizeof(body), WITH(F_AND_G "%s}"), cases[i].config);
        (void)params_of(&f, body);
        assert_int_equal(f.request.tool_choice, cases[i].kind);
        assert_int_equal(f.request.tool_choice_names_n, cases[i].names);
        assert_int_equal(f.request.tool_choice_required, cases[i].required);
        end(&f);
    }
    (void)params_of(&f, WITH("\"tools\":[],\"toolConfig\":{\"functionCallingConfig\":{\"mode\":"
                             "\"ANY\"}}"));
    assert_int_equal(f.request.tool_choice, TOOL_CHOICE_ABSENT);
    end(&f);
}

/* What only a backend of this protocol can do. */
static void test_bound(void **state)
{
    struct fixture f;

    (void)state;
    (void)params_of(&f, WITH("\"cachedContent\":\"cachedContents/1\""));
    assert_true(str_eq(f.request.bound, STR("cachedContent")));
    end(&f);
    (void)params_of(&f, WITH("\"generationConfig\":{\"responseModalities\":[\"AUDIO\"]}"));
    assert_true(str_eq(f.request.bound, STR("generationConfig.responseModalities")));
    end(&f);
    (void)params_of(&f, WITH("\"generationConfig\":{\"responseModalities\":[\"TEXT\",\"IMAGE\"]}"));
    assert_true(str_is_null(f.request.bound));
    end(&f);
}

/* --- refusals ----------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    static const struct {
        const char *body;
        const char *why;
    } cases[] = {
        {"[]", "object"},
        {"{}", "missing member \"contents\""},
        {"{\"contents\":null}", "missing member \"contents\""},
        {"{\"contents\":\"a\"}", "\"contents\" must be an array"},
        {"{\"contents\":[],\"contents\":[]}", "contents"},
        {"{\"contents\":[{\"role\":\"user\",\"role\":\"user\"}]}", "role"},
        {C(U("{\"text\":\"a\",\"text\":\"b\"}")), "text"},
        {"{\"contents\":[],\"model\":1}", "\"model\" must be a string"},
        {C("1"), "\"contents[0]\" must be an object"},
        {C("{\"role\":\"system\",\"parts\":[]}"), "\"contents[0].role\" must be user or model"},
        {C(U("") ",{\"parts\":1}"), "\"contents[1].parts\" must be an array"},
        {C(U("{\"text\":1}")), "\"contents[0].parts[0].text\" must be a string"},
        {C(U("\"a\"")), "\"contents[0].parts[0]\" must be an object"},
        {C(M("{\"functionCall\":{}}")),
         "\"contents[0].parts[0].functionCall.name\" must be a string"},
        {C(M("{\"functionCall\":{\"name\":\"f\",\"args\":[]}}")),
         "\"contents[0].parts[0].functionCall.args\" must be an object"},
        {C(U("{\"functionCall\":{\"name\":\"f\"}}")), "in a content of the role model"},
        {C(U("{\"functionResponse\":{\"name\":\"f\",\"response\":\"x\"}}")),
         "\"contents[0].parts[0].functionResponse.response\" must be an object"},
        {C(U("{\"functionResponse\":{\"response\":{}}}")),
         "\"contents[0].parts[0].functionResponse.name\" must be a string"},
        {C(U("{\"functionResponse\":{\"name\":\"f\",\"parts\":[1]}}")), "a list of objects"},
        {C(U("{\"inlineData\":{\"data\":\"x\"}}")), "inlineData.mimeType\" must be a string"},
        {C(U("{\"inlineData\":{\"mimeType\":\"x/y\"}}")), "inlineData.data\" must be a string"},
        {C(U("{\"fileData\":{}}")), "fileData.fileUri\" must be a string"},
        {C(U("{\"inlineData\":{\"mimeType\":\"a/b\",\"data\":\"\"},\"functionCall\":{}}")),
         "\"contents[0].parts[0].functionCall\" must be the only one of its part"},
        {C(U("{\"text\":\"a\",\"thought\":1}")), "thought\" must be true or false"},
        {WITH("\"tools\":1"), "\"tools\" must be an array"},
        {WITH("\"tools\":[1]"), "\"tools[0]\" must be an object"},
        {WITH("\"tools\":[{\"functionDeclarations\":[{}]}]"),
         "\"tools[0].functionDeclarations[0].name\" must be a string"},
        {WITH("\"generationConfig\":{\"temperature\":\"warm\"}"),
         "\"generationConfig.temperature\" must be a number"},
        {WITH("\"generationConfig\":{\"candidateCount\":0}"), "must be at least 1"},
        {WITH("\"generationConfig\":{\"seed\":1.5}"), "must be an integer"},
        {WITH("\"generationConfig\":{\"stopSequences\":[1]}"), "an array of strings"},
        {WITH("\"generationConfig\":{\"thinkingConfig\":{\"thinkingBudget\":true}}"),
         "\"generationConfig.thinkingConfig.thinkingBudget\" must be a number"},
        {WITH(F_AND_G "{\"mode\":\"SOME\"}}"), "must be one of AUTO, ANY, NONE and VALIDATED"},
        {WITH(F_AND_G "{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"h\"]}}"),
         "must be names of the tools"},
        {WITH("\"systemInstruction\":1"), "\"systemInstruction\" must be an object"},
        {WITH("\"systemInstruction\":{\"parts\":[{\"text\":1}]}"), "must be a string"},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        begin(&f);
        enum error_code code = decode_full(&f, cases[i].body);
        if (code != ERR_BAD_REQUEST || strstr(f.e.detail, cases[i].why) == NULL)
            fail_msg("%s: %s: %s", cases[i].body, error_name(code), f.e.detail);
        end(&f);
    }
}

/* --- for an upstream of the same protocol ------------------------------------------------- */

struct asked {
    const char *body;
    const char *rest;
    const char *query;
    enum operation operation;
    const char *model; /* the upstream's; NULL: the same */
};

static void expect_wire(const struct asked *asked, const char *path, const char *want_query,
                        const char *want)
{
    struct fixture f;
    struct wire wire;
    struct buf out;
    const struct encode_request how = {
        .same_protocol = true,
        .model = str_c(asked->model),
        .operation = asked->operation,
    };

    begin(&f);
    buf_init(&out, OUT_MAX);
    assert_int_equal(decode(&f, asked->body, asked->rest, asked->query, asked->operation), OK);
    assert_int_equal(gemini_upstream_encode(&f.request, &how, &f.arena, &wire, &f.e), OK);
    for (size_t i = 0; i < wire.body_n; i++)
        buf_add(&out, wire.body[i]);
    assert_int_equal(out.n, wire.body_bytes);
    assert_true(str_eq(wire.path, str_c(path)));
    assert_true(str_eq(wire.query, str_c(want_query)));
    if (!str_eq(buf_str(&out), str_c(want)))
        fail_msg("%.*s", STR_ARG(buf_str(&out)));
    buf_fini(&out);
    end(&f);
}

static void test_edits(void **state)
{
    static const struct asked plain = {"{ \"contents\" : [] }", "b:m:generateContent", NULL,
                                       OP_GENERATE, "m"};
    static const struct asked named = {
        "{\"contents\":[],\"model\":\"models/b:m\",\"session_id\":\"s\"}",
        "b:m:streamGenerateContent", "alt=sse", OP_GENERATE, "m"};
    static const struct asked array = {"{\"contents\":[]}", "m:streamGenerateContent", NULL,
                                       OP_GENERATE, NULL};
    static const struct asked tuned = {"{\"contents\":[],\"model\":\"x\"}", "t:generateContent",
                                       NULL, OP_GENERATE, "tunedModels/a b?"};
    static const struct asked count = {
        "{\"generateContentRequest\":{\"model\":\"models/x\",\"contents\":[]}}", "x", NULL,
        OP_COUNT_TOKENS, "y"};

    (void)state;
    expect_wire(&plain, "/models/m:generateContent", NULL, "{ \"contents\" : [] }");
    expect_wire(&named, "/models/m:streamGenerateContent", "alt=sse",
                "{\"contents\":[],\"model\":\"models/m\"}");
    expect_wire(&array, "/models/m:streamGenerateContent", NULL, "{\"contents\":[]}");
    expect_wire(&tuned, "/tunedModels/a%20b%3F:generateContent", NULL,
                "{\"contents\":[],\"model\":\"tunedModels/a b?\"}");
    expect_wire(&count, "/models/y:countTokens", NULL,
                "{\"generateContentRequest\":{\"model\":\"models/y\",\"contents\":[]}}");
}

static void test_count_request(void **state)
{
    const struct request_limits limits = {.depth_max = DEPTH_MAX};
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(decode(&f,
                            "{\"generateContentRequest\":{\"systemInstruction\":{\"parts\":[{"
                            "\"text\":\"s\"}]},\"contents\":[" U("{\"text\":\"a\"}") "]}}",
                            "m", NULL, OP_COUNT_TOKENS),
                     OK);
    assert_int_equal(gemini_request_decode_full(&f.request, &limits, &f.arena, &f.e), OK);
    assert_int_equal(f.request.turns->role, ROLE_SYSTEM);
    assert_int_equal(f.request.turns->next->role, ROLE_USER);
    end(&f);
    begin(&f);
    assert_int_equal(decode(&f, "{\"generateContentRequest\":{}}", "m:generateContent", NULL,
                            OP_GENERATE),
                     ERR_BAD_REQUEST);
    end(&f);
}

/* --- damaged bodies ----------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Whatever is changed in it: read, or refused as BAD_REQUEST. */
static void test_mutations(void **state)
{
    static const char bytes[] = "{}[]\",:\\u0ntf-1e. ";
    uint64_t seed = 88172645463325252u;
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < MUTATIONS; i++) {
        const char *body = saids[next_random(&seed) % COUNT_OF(saids)].body;
        char text[2048];
        size_t n = strlen(body);
        assert_true(n < sizeof(text));
        memcpy(text, body, n + 1);
        for (size_t k = next_random(&seed) % 3 + 1; k > 0; k--)
            text[next_random(&seed) % n] = bytes[next_random(&seed) % (sizeof(bytes) - 1)];
        begin(&f);
        enum error_code code = decode_full(&f, text);
        assert_true(code == OK || code == ERR_BAD_REQUEST);
        end(&f);
    }
}

/* A body that does not fit: TOO_LARGE, at whatever point. */
static void test_memory(void **state)
{
    const struct request_limits limits = {
        .depth_max = DEPTH_MAX,
        .rest = STR("m:generateContent"),
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(saids); i++) {
        for (size_t max = 512; max < 16 * 1024; max += 512) {
            struct arena arena;
            struct request request;
            struct error e;
            arena_init(&arena, max, 512, NULL);
            enum error_code code = gemini_request_decode(str_c(saids[i].body), &limits, &arena,
                                                         &request, &e);
            if (code == OK)
                code = gemini_request_decode_full(&request, &limits, &arena, &e);
            assert_true(code == OK || code == ERR_TOO_LARGE);
            arena_fini(&arena);
        }
    }
}

static void check_recording(void *ctx, const struct recording *recording)
{
    size_t *count = ctx;
    const struct request_limits limits = {
        .depth_max = DEPTH_MAX,
        .rest = STR("m:generateContent"),
    };
    struct fixture f;

    if (str_is_null(recording->request))
        return;
    begin(&f);
    if (gemini_request_decode(recording->request, &limits, &f.arena, &f.request, &f.e) != OK ||
        gemini_request_decode_full(&f.request, &limits, &f.arena, &f.e) != OK) {
        /* One of them asks for a role that there is not. */
        if (recording->status == 200)
            fail_msg("recording %zu: %s", recording->line, f.e.detail);
    } else {
        *count += 1;
    }
    end(&f);
}

static void test_recordings(void **state)
{
    size_t count = 0;

    (void)state;
    if (!recordings_each("gemini_generate", check_recording, &count))
        skip();
    assert_true(count >= 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),          cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_config),        cmocka_unit_test(test_thinking),
        cmocka_unit_test(test_choice),        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_edits),
        cmocka_unit_test(test_count_request), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_memory),        cmocka_unit_test(test_recordings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
