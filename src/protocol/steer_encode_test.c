/* SPDX-License-Identifier: MIT */
/*
 * What settings ask for, in requests that go up: of the same protocol byte by byte, of another one
 * by what stands in them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/protocol.h"
#include "text/json.h"

static const struct request_limits limits = {.depth_max = 64,
                                             .rest = STR_INIT("g:generateContent")};

struct row {
    const char *model; /* the upstream's */
    struct steer steer;
    const char *body;
    const char *want; /* without the braces: what is behind the body's last member; or all */
};

#define TEMPERATURE(t)             \
    {                              \
        .temperature = STR_INIT(t) \
    }
#define EFFORT(word)                       \
    {                                      \
        .reasoning_effort = STR_INIT(word) \
    }
#define BUDGET(n)                       \
    {                                   \
        .reasoning_budget = STR_INIT(n) \
    }
#define CONFIG(json)                        \
    {                                       \
        .generation_config = STR_INIT(json) \
    }

static struct str encode(const char *from, const char *to, const struct row *row,
                         struct arena *arena, struct translation *t)
{
    static const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    const struct protocol *client = protocol_find(str_c(from));
    const struct protocol *upstream = protocol_find(str_c(to));
    const struct encode_request how = {
        .model = str_c(row->model),
        .steer = &row->steer,
        .dialect = &dialect,
        .same_protocol = client == upstream,
        .vendor = STR("v"),
        .translation = client == upstream ? NULL : t,
    };
    struct request request;
    struct wire wire;
    struct error e;
    struct buf out;

    if (client->request_decode(str_c(row->body), &limits, arena, &request, &e) != OK)
        fail_msg("%s: %s", row->body, e.detail);
    if (client != upstream && client->request_decode_full(&request, &limits, arena, &e) != OK)
        fail_msg("%s: %s", row->body, e.detail);
    const struct params before = request.params;
    buf_init(&out, 64 * 1024);
    /* Each attempt says the same. */
    for (int attempt = 0; attempt < 2; attempt++) {
        buf_reset(&out);
        if (upstream->request_encode(&request, &how, arena, &wire, &e) != OK)
            fail_msg("%s: %s", row->body, e.detail);
        for (size_t i = 0; i < wire.body_n; i++)
            buf_add(&out, wire.body[i]);
    }
    assert_memory_equal(&before, &request.params, sizeof(before));
    struct str body = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    const struct json_read_options options = {.depth_max = 64};
    if (json_read(body, &options, arena, &e) == NULL)
        fail_msg("%s: %.*s: %s", row->body, STR_ARG(body), e.detail);
    return body;
}

static void check_same(const char *protocol, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct arena arena;
        arena_init(&arena, 1024 * 1024, 4096, NULL);
        struct str is = encode(protocol, protocol, &rows[i], &arena, NULL);
        struct str body = str_c(rows[i].body);
        struct str want = str_c(rows[i].want);
        if (want.n == 0 || want.p[0] != '{')
            want = str_print(&arena, "%.*s%.*s}", (int)(body.n - 1), body.p, STR_ARG(want));
        if (!str_eq(is, want))
            fail_msg("%s %s\n is %.*s\nnot %.*s", protocol, rows[i].model, STR_ARG(is),
                     STR_ARG(want));
        arena_fini(&arena);
    }
}

#define CHAT(model, more) "{\"model\":\"" model "\",\"messages\":[]" more "}"

static void test_chat(void **state)
{
    static const struct row rows[] = {
        {"gpt-4o", TEMPERATURE("0.7"), CHAT("gpt-4o", ""), ",\"temperature\":0.7"},
        {"gpt-4o", TEMPERATURE("0.7"), CHAT("gpt-4o", ",\"temperature\":0"), ""},
        {"gpt-4o", TEMPERATURE("0.7"), CHAT("gpt-4o", ",\"temperature\":null"),
         CHAT("gpt-4o", ",\"temperature\":0.7")},
        {"o3", TEMPERATURE("0.7"), CHAT("o3", ""), ""},
        {"gpt-5.1", TEMPERATURE("0.7"), CHAT("gpt-5.1", ""), ""},
        {"gpt-5.1", TEMPERATURE("0.7"), CHAT("gpt-5.1", ",\"reasoning_effort\":\"none\""),
         ",\"temperature\":0.7"},
        {"gpt-5", EFFORT("minimal"), CHAT("gpt-5", ""), ",\"reasoning_effort\":\"minimal\""},
        {"o3", EFFORT("minimal"), CHAT("o3", ""), ",\"reasoning_effort\":\"low\""},
        {"gpt-5", EFFORT("max"), CHAT("gpt-5", ""), ",\"reasoning_effort\":\"high\""},
        {"gpt-5.2", EFFORT("max"), CHAT("gpt-5.2", ""), ",\"reasoning_effort\":\"xhigh\""},
        {"gpt-5", BUDGET("3000"), CHAT("gpt-5", ""), ",\"reasoning_effort\":\"medium\""},
        {"gpt-5.1", BUDGET("0"), CHAT("gpt-5.1", ""), ",\"reasoning_effort\":\"none\""},
        {"gpt-5.1", EFFORT("high"), CHAT("gpt-5.1", ",\"temperature\":0"), ""},
        {"gpt-5.2", BUDGET("9000"), CHAT("gpt-5.2", ",\"top_p\":0.5"), ""},
        {"gpt-5.2", EFFORT("low"), CHAT("gpt-5.2", ",\"logprobs\":true"), ""},
        {"gpt-5.1", EFFORT("none"), CHAT("gpt-5.1", ",\"temperature\":0"),
         ",\"reasoning_effort\":\"none\""},
        {"gpt-5.1", EFFORT("high"),
         CHAT("gpt-5.1", ",\"temperature\":1,\"top_p\":null,\"logprobs\":false"),
         ",\"reasoning_effort\":\"high\""},
        {"gpt-5", BUDGET("-1"), CHAT("gpt-5", ""), ""},
        {"gpt-4o", EFFORT("high"), CHAT("gpt-4o", ""), ""},
        {"gpt-5", EFFORT("high"), CHAT("gpt-5", ",\"reasoning_effort\":\"low\""), ""},
        {"gpt-5", EFFORT("high"), CHAT("gpt-5", ",\"reasoning\":{\"max_tokens\":9000}"), ""},
        {"gpt-5", EFFORT("high"), CHAT("gpt-5", ",\"thinking\":{\"type\":\"disabled\"}"), ""},
        {"gpt-5", EFFORT("high"), CHAT("gpt-5", ",\"reasoning\":null"),
         ",\"reasoning_effort\":\"high\""},
        {"gpt-4o", CONFIG("{\"topK\":3}"), CHAT("gpt-4o", ""), ""},
        {"gpt-4o",
         {.max_tokens = STR_INIT("99"), .top_p = STR_INIT("0.5")},
         CHAT("gpt-4o", ""),
         ",\"max_completion_tokens\":99,\"top_p\":0.5"},
        {"gpt-4o",
         {.max_tokens = STR_INIT("99"), .top_p = STR_INIT("0.5")},
         CHAT("gpt-4o", ",\"max_tokens\":5,\"top_p\":1"),
         ""},
        {"gpt-4o",
         {.max_tokens = STR_INIT("99")},
         CHAT("gpt-4o", ",\"max_completion_tokens\":null"),
         CHAT("gpt-4o", ",\"max_completion_tokens\":99")},
        {"m", TEMPERATURE("0.7"), "{\"messages\":[],\"session_id\":\"s\",\"model\":\"b:m\"}",
         "{\"messages\":[],\"model\":\"m\",\"temperature\":0.7}"},
    };

    (void)state;
    check_same("openai-chat", rows, COUNT_OF(rows));
}

#define RESPONSES(model, more) "{\"model\":\"" model "\",\"input\":\"hi\"" more "}"

static void test_responses(void **state)
{
    static const struct row rows[] = {
        {"gpt-4o", TEMPERATURE("0.7"), RESPONSES("gpt-4o", ""), ",\"temperature\":0.7"},
        {"o3", TEMPERATURE("0.7"), RESPONSES("o3", ""), ""},
        {"gpt-5.1", TEMPERATURE("0.7"),
         RESPONSES("gpt-5.1", ",\"reasoning\":{\"effort\":\"none\"}"), ",\"temperature\":0.7"},
        {"gpt-5", EFFORT("high"), RESPONSES("gpt-5", ""), ",\"reasoning\":{\"effort\":\"high\"}"},
        {"gpt-5", EFFORT("high"), RESPONSES("gpt-5", ",\"reasoning\":{\"summary\":\"auto\"}"),
         RESPONSES("gpt-5", ",\"reasoning\":{\"effort\":\"high\",\"summary\":\"auto\"}")},
        {"gpt-5", EFFORT("high"), RESPONSES("gpt-5", ",\"reasoning\":{}"),
         RESPONSES("gpt-5", ",\"reasoning\":{\"effort\":\"high\"}")},
        {"gpt-5", EFFORT("high"),
         RESPONSES("gpt-5", ",\"reasoning\":{\"effort\":null,\"summary\":\"auto\"}"),
         RESPONSES("gpt-5", ",\"reasoning\":{\"effort\":\"high\",\"summary\":\"auto\"}")},
        {"gpt-5", EFFORT("high"), RESPONSES("gpt-5", ",\"reasoning\":null"),
         RESPONSES("gpt-5", ",\"reasoning\":{\"effort\":\"high\"}")},
        {"gpt-5", EFFORT("high"), RESPONSES("gpt-5", ",\"reasoning\":{\"effort\":\"low\"}"), ""},
        {"gpt-5.1", EFFORT("high"), RESPONSES("gpt-5.1", ",\"temperature\":0.2"), ""},
        {"gpt-5.2", EFFORT("low"), RESPONSES("gpt-5.2", ",\"top_logprobs\":3"), ""},
        {"gpt-5.1", BUDGET("0"), RESPONSES("gpt-5.1", ",\"temperature\":0.2"),
         ",\"reasoning\":{\"effort\":\"none\"}"},
        {"gpt-5.1", EFFORT("high"), RESPONSES("gpt-5.1", ",\"temperature\":1.0"),
         ",\"reasoning\":{\"effort\":\"high\"}"},
        {"gpt-5", BUDGET("20000"), RESPONSES("gpt-5", ""), ",\"reasoning\":{\"effort\":\"high\"}"},
        {"gpt-4o", EFFORT("high"), RESPONSES("gpt-4o", ""), ""},
        {"gpt-4o",
         {.max_tokens = STR_INIT("99")},
         RESPONSES("gpt-4o", ""),
         ",\"max_output_tokens\":99"},
        {"gpt-4o",
         {.max_tokens = STR_INIT("99")},
         RESPONSES("gpt-4o", ",\"max_output_tokens\":5"),
         ""},
    };

    (void)state;
    check_same("openai-responses", rows, COUNT_OF(rows));
}

#define ASKED               "{\"role\":\"user\",\"content\":\"a\"}"
#define MESSAGES(max, more) "{\"messages\":[" ASKED "],\"max_tokens\":" max more "}"
#define CALLED(before)                                                                       \
    "{\"messages\":[" ASKED ",{\"role\":\"assistant\",\"content\":[" before                  \
    "{\"type\":\"tool_use\",\"id\":\"i\",\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\"," \
    "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"i\"}]}],\"max_tokens\":9000"
#define OWN_MODEL(model) ",\"model\":\"" model "\""

static const struct row anthropic_rows[] = {
    {"claude-sonnet-4-5", TEMPERATURE("0.7"), MESSAGES("9", OWN_MODEL("claude-sonnet-4-5")),
     ",\"temperature\":0.7"},
    {"claude-sonnet-4-5", TEMPERATURE("1.7"), MESSAGES("9", OWN_MODEL("claude-sonnet-4-5")),
     ",\"temperature\":1"},
    {"claude-opus-4-8", TEMPERATURE("0.7"), MESSAGES("9", OWN_MODEL("claude-opus-4-8")), ""},
    {"claude-sonnet-4-5", TEMPERATURE("0.7"),
     MESSAGES("9", ",\"temperature\":0" OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", TEMPERATURE("0.7"),
     MESSAGES("9", ",\"top_p\":0.5" OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", TEMPERATURE("0.7"),
     MESSAGES("9000", ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000}" OWN_MODEL(
                          "claude-sonnet-4-5")),
     ""},
    {"claude-sonnet-4-5", TEMPERATURE("0.7"),
     MESSAGES("9000", ",\"thinking\":{\"type\":\"disabled\"}" OWN_MODEL("claude-sonnet-4-5")),
     ",\"temperature\":0.7"},
    {"claude-sonnet-4-5",
     {.temperature = STR_INIT("0.5"), .top_p = STR_INIT("0.9"), .max_tokens = STR_INIT("7")},
     MESSAGES("9", OWN_MODEL("claude-sonnet-4-5")),
     ",\"temperature\":0.5"},
    /* thinking by a budget */
    {"claude-sonnet-4-5", BUDGET("4096"), MESSAGES("9000", OWN_MODEL("claude-sonnet-4-5")),
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4096}"},
    {"claude-sonnet-4-5", EFFORT("low"), MESSAGES("9000", OWN_MODEL("claude-sonnet-4-5")),
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}"},
    {"claude-sonnet-4-5", EFFORT("high"), MESSAGES("9000", OWN_MODEL("claude-sonnet-4-5")),
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":4500}"},
    {"claude-sonnet-4-5", EFFORT("high"), MESSAGES("1024", OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", BUDGET("0"), MESSAGES("9000", OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-3-5-sonnet", EFFORT("high"), MESSAGES("9000", OWN_MODEL("claude-3-5-sonnet")), ""},
    {"claude-sonnet-4-5",
     {.temperature = STR_INIT("0.7"), .reasoning_effort = STR_INIT("low")},
     MESSAGES("9000", OWN_MODEL("claude-sonnet-4-5")),
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}"},
    /* beside what does not get on with it */
    {"claude-sonnet-4-5", EFFORT("low"),
     MESSAGES("9000", ",\"temperature\":0.2" OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", EFFORT("low"),
     MESSAGES("9000", ",\"temperature\":1" OWN_MODEL("claude-sonnet-4-5")),
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}"},
    {"claude-sonnet-4-5", EFFORT("low"),
     MESSAGES("9000", ",\"top_k\":5" OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", EFFORT("low"),
     MESSAGES("9000", ",\"top_p\":0.5" OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", EFFORT("low"),
     MESSAGES("9000", ",\"tool_choice\":{\"type\":\"any\"}" OWN_MODEL("claude-sonnet-4-5")), ""},
    {"claude-sonnet-4-5", EFFORT("low"),
     "{\"messages\":[" ASKED ",{\"role\":\"assistant\",\"content\":\"{\"}],\"max_tokens\":9000,"
     "\"model\":\"claude-sonnet-4-5\"}",
     ""},
    {"claude-sonnet-4-5", EFFORT("low"), CALLED("") OWN_MODEL("claude-sonnet-4-5") "}", ""},
    {"claude-sonnet-4-5", EFFORT("low"),
     CALLED("{\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},")
         OWN_MODEL("claude-sonnet-4-5") "}",
     ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048}"},
    /* thinking that the model measures out */
    {"claude-opus-4-8", EFFORT("high"), MESSAGES("9", OWN_MODEL("claude-opus-4-8")),
     ",\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{\"effort\":\"high\"}"},
    {"claude-opus-4-8", EFFORT("low"),
     MESSAGES("9",
              ",\"output_config\":{\"format\":{\"type\":\"json_schema\",\"schema\":{}}}" OWN_MODEL(
                  "claude-opus-4-8")),
     "{\"messages\":[" ASKED "],\"max_tokens\":9,\"output_config\":{\"effort\":\"low\","
     "\"format\":{\"type\":\"json_schema\",\"schema\":{}}},\"model\":\"claude-opus-4-8\","
     "\"thinking\":{\"type\":\"adaptive\"}}"},
    {"claude-opus-4-8", EFFORT("low"),
     MESSAGES("9", ",\"output_config\":{\"effort\":\"max\"}" OWN_MODEL("claude-opus-4-8")), ""},
    {"claude-opus-4-8", EFFORT("low"),
     MESSAGES("9", ",\"thinking\":{\"type\":\"adaptive\"}" OWN_MODEL("claude-opus-4-8")), ""},
    {"claude-opus-4-8", BUDGET("0"), MESSAGES("9", OWN_MODEL("claude-opus-4-8")),
     ",\"thinking\":{\"type\":\"disabled\"}"},
    {"claude-opus-4-8", BUDGET("-1"), MESSAGES("9", OWN_MODEL("claude-opus-4-8")),
     ",\"thinking\":{\"type\":\"adaptive\"}"},
};

static void test_anthropic(void **state)
{
    (void)state;
    check_same("anthropic", anthropic_rows, COUNT_OF(anthropic_rows));
}

#define CONTENTS(more)   "{\"contents\":[{\"parts\":[{\"text\":\"a\"}]}]" more "}"
#define GENERATION(json) ",\"generationConfig\":" json

static void test_gemini(void **state)
{
    static const struct row rows[] = {
        {"gemini-2.5-flash", TEMPERATURE("0.7"), CONTENTS(""), GENERATION("{\"temperature\":0.7}")},
        {"gemini-2.5-flash", TEMPERATURE("0.7"), CONTENTS(GENERATION("{}")),
         CONTENTS(GENERATION("{\"temperature\":0.7}"))},
        {"gemini-2.5-flash", TEMPERATURE("0.7"), CONTENTS(GENERATION("{\"topK\":3}")),
         CONTENTS(GENERATION("{\"temperature\":0.7,\"topK\":3}"))},
        {"gemini-2.5-flash", TEMPERATURE("0.7"), CONTENTS(GENERATION("{\"temperature\":0}")), ""},
        {"gemini-2.5-flash", TEMPERATURE("0.7"), CONTENTS(",\"generation_config\":{\"topK\":3}"),
         CONTENTS(",\"generation_config\":{\"temperature\":0.7,\"topK\":3}")},
        {"gemini-2.5-flash", EFFORT("low"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":2048}}")},
        {"gemini-2.5-flash", EFFORT("max"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":24576}}")},
        {"gemini-2.5-flash", EFFORT("max"), CONTENTS(GENERATION("{\"maxOutputTokens\":3000}")),
         CONTENTS(GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":1500},\"maxOutputTokens\":"
                             "3000}"))},
        {"gemini-2.5-flash", BUDGET("0"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":0}}")},
        {"gemini-2.5-pro", BUDGET("0"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":128}}")},
        {"gemini-2.5-flash", BUDGET("-1"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":-1}}")},
        {"gemini-3-pro-preview", EFFORT("medium"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\"}}")},
        {"gemini-3-pro-preview", EFFORT("minimal"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingLevel\":\"LOW\"}}")},
        {"gemini-3-flash", BUDGET("100"), CONTENTS(""),
         GENERATION("{\"thinkingConfig\":{\"thinkingLevel\":\"MINIMAL\"}}")},
        {"gemini-2.0-flash", EFFORT("high"), CONTENTS(""), ""},
        {"gemini-2.5-flash", EFFORT("low"),
         CONTENTS(GENERATION("{\"thinkingConfig\":{\"includeThoughts\":true}}")),
         CONTENTS(GENERATION("{\"thinkingConfig\":{\"thinkingBudget\":2048,\"includeThoughts\":"
                             "true}}"))},
        {"gemini-2.5-flash", BUDGET("0"),
         CONTENTS(GENERATION("{\"thinkingConfig\":{\"includeThoughts\":true}}")), ""},
        {"gemini-2.5-flash", EFFORT("low"),
         CONTENTS(GENERATION("{\"thinking_config\":{\"thinking_budget\":5}}")), ""},
        {"gemini-3-flash", EFFORT("low"),
         CONTENTS(GENERATION("{\"thinkingConfig\":{\"thinkingLevel\":\"HIGH\"}}")), ""},
        {"gemini-2.5-flash",
         {.max_tokens = STR_INIT("9"), .top_p = STR_INIT("0.5")},
         CONTENTS(""),
         GENERATION("{\"maxOutputTokens\":9,\"topP\":0.5}")},
        /* what is given as it is */
        {"gemini-2.5-flash", CONFIG("{\"topK\":3,\"thinkingConfig\":{\"thinkingBudget\":7}}"),
         CONTENTS(""), GENERATION("{\"topK\":3,\"thinkingConfig\":{\"thinkingBudget\":7}}")},
        {"gemini-2.5-flash", CONFIG("{}"), CONTENTS(""), ""},
        {"gemini-2.5-flash",
         CONFIG("{\"top_k\":3,\"seed\":1,\"thinkingConfig\":{\"thinkingBudget\":7,"
                "\"includeThoughts\":true}}"),
         CONTENTS(GENERATION("{\"topK\":4,\"thinkingConfig\":{\"thinkingLevel\":\"LOW\"}}")),
         CONTENTS(GENERATION("{\"seed\":1,\"topK\":4,\"thinkingConfig\":{\"includeThoughts\":true,"
                             "\"thinkingLevel\":\"LOW\"}}"))},
        {"gemini-2.5-flash",
         {.temperature = STR_INIT("0.7"),
          .reasoning_budget = STR_INIT("600"),
          .generation_config = STR_INIT(
              "{ \"temperature\" : 1 , \"responseJsonSchema\":{\"a\":[1]},"
              "\"thinkingConfig\":{\"thinkingBudget\":7,\"includeThoughts\":true}}")},
         CONTENTS(""),
         GENERATION("{\"responseJsonSchema\":{\"a\":[1]},\"temperature\":0.7,\"thinkingConfig\":{"
                    "\"includeThoughts\":true,\"thinkingBudget\":600}}")},
        {"gemini-2.5-flash", CONFIG("{\"responseJsonSchema\":{}}"),
         CONTENTS(GENERATION("{\"responseSchema\":{}}")), ""},
    };

    (void)state;
    check_same("gemini", rows, COUNT_OF(rows));
}

/* Counting is not steered, and nothing to steer is no edit. */
static void test_nothing(void **state)
{
    static const struct steer none;
    static const struct steer some = {.temperature = STR_INIT("0.7")};
    static const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    const struct protocol *p = protocol_find(STR("anthropic"));
    struct str body = STR("{\"messages\":[],\"max_tokens\":1}");
    const struct encode_request hows[] = {
        {.same_protocol = true, .dialect = &dialect},
        {.same_protocol = true, .dialect = &dialect, .steer = &none},
        {.same_protocol = true, .dialect = &dialect, .steer = &some, .operation = OP_COUNT_TOKENS},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(hows); i++) {
        struct request request;
        struct arena arena;
        struct wire wire;
        struct error e;
        arena_init(&arena, 64 * 1024, 4096, NULL);
        assert_int_equal(p->request_decode(body, &limits, &arena, &request, &e), OK);
        assert_int_equal(p->request_encode(&request, &hows[i], &arena, &wire, &e), OK);
        assert_int_equal(wire.body_n, 1);
        assert_ptr_equal(wire.body[0].p, body.p);
        assert_int_equal(wire.body[0].n, body.n);
        arena_fini(&arena);
    }
}

struct translated {
    const char *from;
    const char *to;
    struct row row;      /* want: stands in the body; "!…": does not */
    const char *warning; /* NULL: none */
};

static const char asked_chat[] = "{\"model\":\"x\",\"messages\":[" ASKED "]}";
static const char asked_chat_top_p[] = "{\"model\":\"x\",\"messages\":[" ASKED "],\"top_p\":0.5}";
static const char asked_chat_effort[] = "{\"model\":\"x\",\"messages\":[" ASKED
                                        "],\"reasoning_effort\":\"low\"}";
static const char asked_messages[] = "{\"model\":\"x\",\"messages\":[" ASKED
                                     "],\"max_tokens\":2000}";
static const struct translated translated_rows[] = {
    {"openai-chat",
     "anthropic",
     {"claude-sonnet-4-5", TEMPERATURE("0.7"), asked_chat, "\"temperature\":0.7"},
     NULL},
    {"openai-chat",
     "anthropic",
     {"claude-sonnet-4-5", TEMPERATURE("0.7"), asked_chat_top_p, "\"top_p\":0.5"},
     NULL},
    {"openai-chat",
     "anthropic",
     {"claude-sonnet-4-5", TEMPERATURE("0.7"), asked_chat_top_p, "!temperature"},
     NULL},
    {"openai-chat",
     "anthropic",
     {"claude-opus-4-8", TEMPERATURE("0.7"), asked_chat, "!temperature"},
     "dropped:temperature"},
    {"openai-chat",
     "anthropic",
     {"claude-opus-4-8", EFFORT("max"), asked_chat, "\"effort\":\"max\""},
     NULL},
    {"openai-chat",
     "anthropic",
     {"claude-opus-4-8", EFFORT("max"), asked_chat_effort, "\"effort\":\"low\""},
     NULL},
    {"openai-chat",
     "anthropic",
     {"claude-sonnet-4-5", BUDGET("4096"), asked_chat, "\"budget_tokens\":4096"},
     NULL},
    {"openai-chat",
     "anthropic",
     {"claude-sonnet-4-5", CONFIG("{\"topK\":3}"), asked_chat, "!topK"},
     NULL},
    {"anthropic",
     "gemini",
     {"gemini-2.5-flash", EFFORT("high"), asked_messages, "\"thinkingBudget\":1024"},
     NULL},
    {"anthropic",
     "gemini",
     {"gemini-2.5-flash",
      CONFIG("{\"topK\":3,\"maxOutputTokens\":7,\"thinkingConfig\":{\"thinkingBudget\":7}}"),
      asked_messages,
      "\"generationConfig\":{\"topK\":3,\"thinkingConfig\":{\"thinkingBudget\":7},"
      "\"maxOutputTokens\":2000}"},
     NULL},
    {"openai-chat",
     "gemini",
     {"gemini-2.5-flash", CONFIG("{\"topK\":3}"), asked_chat, "\"generationConfig\":{\"topK\":3}"},
     NULL},
    {"openai-chat",
     "gemini",
     {"gemini-3-flash", EFFORT("medium"), asked_chat, "\"thinkingLevel\":\"MEDIUM\""},
     NULL},
    {"anthropic",
     "openai-chat",
     {"gpt-5", EFFORT("minimal"), asked_messages, "\"reasoning_effort\":\"minimal\""},
     NULL},
    {"anthropic",
     "openai-chat",
     {"o3", TEMPERATURE("0.3"), asked_messages, "!temperature"},
     "dropped:temperature"},
    {"anthropic",
     "openai-responses",
     {"gpt-5", EFFORT("high"), asked_messages, "\"reasoning\":{\"effort\":\"high\"}"},
     NULL},
    {"gemini",
     "openai-chat",
     {"gpt-4o", {.max_tokens = STR_INIT("99")}, CONTENTS(""), "\"max_completion_tokens\":99"},
     NULL},
    {"gemini",
     "openai-responses",
     {"gpt-4o", TEMPERATURE("0.3"), CONTENTS(""), "\"temperature\":0.3"},
     NULL},
};

static void test_translated(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(translated_rows); i++) {
        struct arena arena;
        arena_init(&arena, 1024 * 1024, 4096, NULL);
        struct translation t = {.arena = &arena};
        struct str is = encode(translated_rows[i].from, translated_rows[i].to,
                               &translated_rows[i].row, &arena, &t);
        struct str want = str_c(translated_rows[i].row.want);
        bool absent = str_starts(want, STR("!"));
        if ((str_find(is, str_from(want, absent), 0) == SIZE_MAX) != absent)
            fail_msg("%s -> %s: %.*s\nwithout %s", translated_rows[i].from, translated_rows[i].to,
                     STR_ARG(is), translated_rows[i].row.want);
        struct buf warnings;
        buf_init(&warnings, 4096);
        translation_write_warnings(&t, &warnings);
        if (!str_eq(buf_str(&warnings), str_c(translated_rows[i].warning)))
            fail_msg("%s -> %s: %.*s: %.*s", translated_rows[i].from, translated_rows[i].to,
                     STR_ARG(is), STR_ARG(buf_str(&warnings)));
        buf_fini(&warnings);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat),      cmocka_unit_test(test_responses),
        cmocka_unit_test(test_anthropic), cmocka_unit_test(test_gemini),
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_translated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
