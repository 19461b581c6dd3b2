/* SPDX-License-Identifier: MIT */
/*
 * Requests of other protocols for Gemini's upstreams, where goldens (tests/golden/translate) do not
 * reach: signatures of the backend's own vendor, counting, models of every kind, and memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/gemini_priv.h"

enum { BYTES_MAX = 16 * 1024 * 1024, DEPTH_MAX = 64 };

struct fixture {
    struct arena arena;
    struct request request;
    struct translation t;
    struct error e;
    struct str body;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.e.code = OK};
    arena_init(&f->arena, BYTES_MAX, 16 * 1024, NULL);
    f->t.arena = &f->arena;
}

static void end(struct fixture *f)
{
    arena_fini(&f->arena);
}

static enum error_code write_as(struct fixture *f, const char *model, enum operation operation)
{
    const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    const struct encode_request how = {
        .model = str_c(model),
        .dialect = &dialect,
        .operation = operation,
        .vendor = STR("gemini"),
        .translation = &f->t,
    };
    struct wire wire;

    TRY(gemini_upstream_encode(&f->request, &how, &f->arena, &wire, &f->e));
    assert_int_equal(wire.body_n, 1);
    f->body = wire.body[0];
    return OK;
}

/* A Chat Completions request, written for the model. */
static enum error_code translate(struct fixture *f, const char *chat, const char *model,
                                 enum operation operation)
{
    const struct protocol *protocol = protocol_find(STR("openai-chat"));
    const struct request_limits limits = {.depth_max = DEPTH_MAX};

    begin(f);
    assert_int_equal(protocol->request_decode(str_c(chat), &limits, &f->arena, &f->request, &f->e),
                     OK);
    assert_int_equal(protocol->request_decode_full(&f->request, &limits, &f->arena, &f->e), OK);
    return write_as(f, model, operation);
}

static void expect_body(struct fixture *f, const char *want)
{
    if (!str_eq(f->body, str_c(want)))
        fail_msg("%.*s", STR_ARG(f->body));
    end(f);
}

static void expect_has(struct fixture *f, const char *want)
{
    if (str_find(f->body, str_c(want), 0) == SIZE_MAX)
        fail_msg("%s\nnot in\n%.*s", want, STR_ARG(f->body));
    end(f);
}

#define HI "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]"
#define CALLS                                                                                    \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":"           \
    "\"assistant\",\"content\":\"a\",\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","      \
    "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":" \
    "\"c1\",\"content\":\"r\"}]}"

/* --- signatures --------------------------------------------------------------------------- */

/* A turn of parts in the place of the assistant's. */
static void set_parts(struct fixture *f, struct part *parts, size_t n)
{
    struct turn *turn = f->request.turns->next;

    for (size_t i = 0; i + 1 < n; i++)
        parts[i].next = &parts[i + 1];
    assert_int_equal(turn->role, ROLE_ASSISTANT);
    turn->parts = parts;
}

static void test_signatures(void **state)
{
    struct part parts[] = {
        {.kind = PART_REASONING,
         .text = STR("hm"),
         .signature = STR("R1"),
         .vendor = STR("gemini")},
        {.kind = PART_TEXT, .text = STR("a")},
        {.kind = PART_TOOL_CALL,
         .name = STR("f"),
         .id = STR("c1"),
         .text = STR("{}"),
         .signature = STR("C1"),
         .vendor = STR("gemini")},
    };
    struct fixture f;

    (void)state;
    assert_int_equal(translate(&f, CALLS, "gemini-3-pro", OP_GENERATE), OK);
    set_parts(&f, parts, 3);
    assert_int_equal(write_as(&f, "gemini-3-pro", OP_GENERATE), OK);
    expect_has(&f, "\"parts\":[{\"text\":\"a\",\"thoughtSignature\":\"R1\"},{\"functionCall\":{"
                   "\"id\":\"c1\",\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"C1\"}]");

    /* Others' signatures do not go; the first call of the present turn gets what stands for one. */
    parts[0].vendor = STR("anthropic");
    parts[2].vendor = STR_NULL;
    assert_int_equal(translate(&f, CALLS, "gemini-3-pro", OP_GENERATE), OK);
    set_parts(&f, parts, 3);
    assert_int_equal(write_as(&f, "gemini-3-pro", OP_GENERATE), OK);
    expect_has(&f, "\"parts\":[{\"text\":\"a\"},{\"functionCall\":{\"id\":\"c1\",\"name\":\"f\","
                   "\"args\":{}},\"thoughtSignature\":\"skip_thought_signature_validator\"}]");
    assert_int_equal(translate(&f, CALLS, "gemini-2.5-pro", OP_GENERATE), OK);
    expect_has(&f, "\"args\":{}}}]}");

    /* Nothing follows the thought: the signature has a part of its own. */
    struct part alone[] = {
        {.kind = PART_TEXT, .text = STR("a")},
        {.kind = PART_REASONING,
         .text = STR("hm"),
         .signature = STR("R2"),
         .vendor = STR("gemini")},
    };
    assert_int_equal(translate(&f,
                               "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"Hi\"},{\"role\":\"assistant\",\"content\":\"a\"},{\"role\":"
                               "\"user\",\"content\":\"b\"}]}",
                               "gemini-2.5-pro", OP_GENERATE),
                     OK);
    set_parts(&f, alone, 2);
    assert_int_equal(write_as(&f, "gemini-2.5-pro", OP_GENERATE), OK);
    expect_has(&f, "\"text\":\"\",\"thoughtSignature\":\"R2\"");
}

/* --- models ------------------------------------------------------------------------------- */

static void test_models(void **state)
{
    struct fixture f;

    (void)state;
    /* Before Gemini 2 there are no ids of calls... */
    assert_int_equal(translate(&f, CALLS, "gemini-1.5-pro", OP_GENERATE), OK);
    expect_has(&f, "{\"functionCall\":{\"name\":\"f\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":"
                   "[{\"functionResponse\":{\"name\":\"f\",\"response\":{\"output\":\"r\"}}}]}");
    /* ... nor thinking. */
    assert_int_equal(translate(&f, HI ",\"reasoning_effort\":\"high\"}", "gemini-2.0-flash",
                               OP_GENERATE),
                     OK);
    expect_body(&f, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}]}");
    assert_int_equal(translate(&f, HI ",\"reasoning_effort\":\"xhigh\"}", "gemini-3-pro-preview",
                               OP_GENERATE),
                     OK);
    expect_has(&f, "{\"thinkingLevel\":\"HIGH\",\"includeThoughts\":true}");
    /* No room for thinking. */
    assert_int_equal(translate(&f, HI ",\"reasoning_effort\":\"high\",\"max_tokens\":500}",
                               "gemini-2.5-flash", OP_GENERATE),
                     OK);
    expect_has(&f, "\"maxOutputTokens\":500");
}

static void test_counting(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(translate(&f, HI ",\"temperature\":1}", "gemini-2.5-flash", OP_COUNT_TOKENS),
                     OK);
    expect_body(&f,
                "{\"generateContentRequest\":{\"model\":\"models/gemini-2.5-flash\",\"contents\""
                ":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}]}}");
}

static void test_values(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(translate(&f, HI ",\"seed\":-1,\"n\":2,\"frequency_penalty\":-0.5}",
                               "gemini-2.5-flash", OP_GENERATE),
                     OK);
    expect_has(&f, "{\"candidateCount\":2,\"seed\":-1,\"frequencyPenalty\":-0.5}");
    assert_int_equal(translate(&f, HI ",\"seed\":9007199254740993}", "gemini-2.5-flash",
                               OP_GENERATE),
                     OK);
    expect_has(&f, "{\"seed\":1}");
    assert_int_equal(translate(&f, HI ",\"seed\":1e3,\"service_tier\":\"auto\"}",
                               "gemini-2.5-flash", OP_GENERATE),
                     OK);
    expect_body(&f, "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"Hi\"}]}]}");
    assert_int_equal(translate(&f, HI ",\"service_tier\":\"priority\",\"logprobs\":true}",
                               "gemini-2.5-flash", OP_GENERATE),
                     OK);
    expect_has(&f, "{\"responseLogprobs\":true},\"serviceTier\":\"priority\"");
}

#define USER(content) \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[" content "]}]}"
#define IMAGE(url) \
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"" url "\",\"detail\":\"high\"}}"

static void test_media(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(translate(&f, USER(IMAGE("https://youtu.be/x")), "gemini-2.5-flash",
                               OP_GENERATE),
                     OK);
    expect_has(&f, "{\"fileData\":{\"fileUri\":\"https://youtu.be/x\"}}");
    assert_int_equal(translate(&f, USER(IMAGE("data:image/png;base64,aGk=")), "gemini-2.5-flash",
                               OP_GENERATE),
                     OK);
    expect_has(&f, "\"mediaResolution\":\"MEDIA_RESOLUTION_HIGH\"");
    assert_int_equal(translate(&f, USER(IMAGE("https://example.com/x.png")), "gemini-2.5-flash",
                               OP_GENERATE),
                     ERR_UNSUPPORTED);
    end(&f);
    assert_int_equal(translate(&f, USER("{\"type\":\"file\",\"file\":{\"file_id\":\"f1\"}}"),
                               "gemini-2.5-flash", OP_GENERATE),
                     ERR_UNSUPPORTED);
    end(&f);
}

/* --- tools, system texts, structured output ----------------------------------------------- */

#define TOOLS                                                                                   \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":" \
    "\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}},{\"type\":\"function\","        \
    "\"function\":{\"name\":\"g\",\"description\":\"d\"}}]"
#define FORMAT                                                                                    \
    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"schema\":{" \
    "\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}}}"
#define SYSTEM                                                                                   \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\"," \
    "\"content\":\"Hi\"}]}"
#define F_ONLY "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"

static void test_bodies(void **state)
{
    static const struct {
        const char *chat;
        const char *model;
        const char *want;
    } cases[] = {
        {HI TOOLS "}", "gemini-2.5-flash",
         "\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"f\","
         "\"parametersJsonSchema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\""
         "}}}},{\"name\":\"g\",\"description\":\"d\"}]}]}"},
        {HI TOOLS "}", "gemini-1.5-pro", "\"parameters\":{\"type\":\"object\""},
        {HI TOOLS ",\"tool_choice\":\"auto\"}", "gemini-2.5-flash", "{\"mode\":\"AUTO\"}"},
        {HI TOOLS ",\"tool_choice\":\"none\"}", "gemini-2.5-flash", "{\"mode\":\"NONE\"}"},
        {HI TOOLS ",\"tool_choice\":\"required\",\"parallel_tool_calls\":false}",
         "gemini-2.5-flash", "{\"mode\":\"ANY\"}"},
        {HI TOOLS ",\"tool_choice\":" F_ONLY "}", "gemini-2.5-flash",
         "{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}"},
        {HI TOOLS
         ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\","
         "\"tools\":[" F_ONLY "]}}}",
         "gemini-2.5-flash", "{\"mode\":\"VALIDATED\",\"allowedFunctionNames\":[\"f\"]}"},
        {SYSTEM, "gemini-2.5-flash", "\"systemInstruction\":{\"parts\":[{\"text\":\"S\"}]}"},
        {SYSTEM, "gemma-3-27b-it", "\"parts\":[{\"text\":\"S\"},{\"text\":\"Hi\"}]}]}"},
        {HI FORMAT "}", "gemini-2.5-flash",
         "\"responseMimeType\":\"application/json\",\"responseJsonSchema\":{\"type\":\"object\""},
        {HI FORMAT "}", "gemini-1.5-pro", "\"responseSchema\":{\"type\":\"object\""},
        {HI FORMAT TOOLS "}", "gemini-2.5-flash",
         "\"systemInstruction\":{\"parts\":[{\"text\":\"When you give your final answer"},
        {HI FORMAT TOOLS "}", "gemini-3-pro", "\"responseJsonSchema\""},
        {HI ",\"response_format\":{\"type\":\"json_object\"}}", "gemini-2.5-flash",
         "{\"responseMimeType\":\"application/json\"}"},
        {HI ",\"reasoning_effort\":\"none\"}", "gemini-2.5-flash", "{\"thinkingBudget\":0}"},
        {HI ",\"reasoning_effort\":\"medium\"}", "gemini-2.5-pro",
         "{\"thinkingBudget\":8192,\"includeThoughts\":true}"},
        {HI ",\"reasoning_effort\":\"medium\"}", "gemini-3-pro-preview",
         "{\"thinkingLevel\":\"HIGH\",\"includeThoughts\":true}"},
        {HI ",\"reasoning_effort\":\"medium\"}", "gemini-3.1-flash",
         "{\"thinkingLevel\":\"MEDIUM\",\"includeThoughts\":true}"},
        {HI ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"],\"logit_bias\":{\"1\":1}}",
         "gemini-2.5-flash", "{\"stopSequences\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}"},
        {USER("{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"aGk=\",\"format\":\"mp3\"}}"),
         "gemini-2.5-flash", "\"mimeType\":\"audio/mp3\""},
        {USER(IMAGE("data:image/png;base64,aGk=")), "gemini-3-pro",
         "\"mediaResolution\":{\"level\":\"MEDIA_RESOLUTION_HIGH\"}"},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(translate(&f, cases[i].chat, cases[i].model, OP_GENERATE), OK);
        expect_has(&f, cases[i].want);
    }
}

/* Images in results: in the result for Gemini 3, behind it for others. */
static void test_result_media(void **state)
{
    struct part image = {.kind = PART_IMAGE, .media_type = STR("image/png"), .data = STR("aGk=")};
    struct part text = {.kind = PART_TEXT, .text = STR("pic"), .next = &image};
    struct fixture f;

    (void)state;
    for (int behind = 0; behind <= 1; behind++) {
        const char *model = behind == 1 ? "gemini-2.5-flash" : "gemini-3-pro";
        assert_int_equal(translate(&f, CALLS, model, OP_GENERATE), OK);
        f.request.turns->next->next->parts->parts = &text;
        assert_int_equal(write_as(&f, model, OP_GENERATE), OK);
        expect_has(&f, behind == 1 ? "\"response\":{\"output\":\"pic\"}}}]},{\"role\":\"user\","
                                     "\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\""
                                   : "\"response\":{\"output\":\"pic\"},\"parts\":[{\"inlineData\":"
                                     "{\"mimeType\":\"image/png\"");
    }
}

/* --- memory ------------------------------------------------------------------------------- */

static void test_memory(void **state)
{
    const struct protocol *protocol = protocol_find(STR("openai-chat"));
    const struct request_limits limits = {.depth_max = DEPTH_MAX};
    const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};

    (void)state;
    for (size_t max = 1024; max < 64 * 1024; max += 1024) {
        struct arena arena;
        struct translation t = {.arena = &arena};
        const struct encode_request how = {.model = STR("gemini-3-pro"),
                                           .dialect = &dialect,
                                           .translation = &t};
        struct request request;
        struct wire wire;
        struct error e;
        arena_init(&arena, max, 512, NULL);
        enum error_code code = protocol->request_decode(STR(CALLS), &limits, &arena, &request, &e);
        if (code == OK)
            code = protocol->request_decode_full(&request, &limits, &arena, &e);
        if (code == OK)
            code = gemini_upstream_encode(&request, &how, &arena, &wire, &e);
        assert_true(code == OK || code == ERR_TOO_LARGE);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signatures),   cmocka_unit_test(test_models),
        cmocka_unit_test(test_counting),     cmocka_unit_test(test_values),
        cmocka_unit_test(test_media),        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_result_media), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
