/* SPDX-License-Identifier: MIT */
/* The checker of Chat Completions: each rule, lines, bytes cut anywhere, whole bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/openai_chat_lint.h"
#include "protocol/protocol.h"

enum { MEMORY = 1 << 20 };

#define CHUNK(rest)                                                                                \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\"," rest \
    "}\n\n"
#define DELTA(delta, finish) \
    CHUNK("\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]")
#define BEGIN DELTA("{\"role\":\"assistant\",\"content\":\"\"}", "null")
#define CALL(index, id)                                                                   \
    DELTA("{\"tool_calls\":[{\"index\":" index ",\"id\":\"" id                            \
          "\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}", \
          "null")
#define END  DELTA("{}", "\"stop\"")
#define DONE "data: [DONE]\n\n"

/* Catches: a checker that lets pass what it is there to find. */
static void test_lint(void **state)
{
    static const struct {
        const char *stream;
        enum openai_chat_lint_rule rule; /* COUNT: nothing is wrong */
    } cases[] = {
        {": hi\n\n" BEGIN CALL("0", "a") CALL("1", "b") END DONE, OPENAI_CHAT_LINT_COUNT},
        {BEGIN "data: {\n\n" END DONE, OPENAI_CHAT_LINT_FRAME},
        {BEGIN "data: {\"id\":\"c\",\"object\":\"x\",\"created\":1,\"model\":\"m\",\"choices\":[]}"
               "\n\n" END DONE,
         OPENAI_CHAT_LINT_OBJECT},
        {BEGIN "data: {\"id\":\"d\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":"
               "\"m\",\"choices\":[]}\n\n" END DONE,
         OPENAI_CHAT_LINT_ID},
        {BEGIN "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":2,\"model\":"
               "\"m\",\"choices\":[]}\n\n" END DONE,
         OPENAI_CHAT_LINT_MODEL},
        {BEGIN CHUNK("\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]") DONE,
         OPENAI_CHAT_LINT_CHOICE},
        {DELTA("{\"content\":\"a\"}", "\"stop\"") DONE, OPENAI_CHAT_LINT_ROLE},
        {BEGIN CALL("1", "a") END DONE, OPENAI_CHAT_LINT_TOOL_INDEX},
        {BEGIN CALL("0", "") END DONE, OPENAI_CHAT_LINT_TOOL_BEGIN},
        {BEGIN CALL("0", "a") CALL("1", "a") END DONE, OPENAI_CHAT_LINT_TOOL_BEGIN},
        {BEGIN CALL("0", "a") CALL("0", "b") END DONE, OPENAI_CHAT_LINT_TOOL_BEGIN},
        {BEGIN DONE, OPENAI_CHAT_LINT_FINISH},
        {BEGIN END END DONE, OPENAI_CHAT_LINT_FINISH},
        {BEGIN DELTA("{}", "\"odd\"") DONE, OPENAI_CHAT_LINT_FINISH},
        {BEGIN END DELTA("{\"content\":\"a\"}", "null") DONE, OPENAI_CHAT_LINT_AFTER_FINISH},
        {BEGIN END CHUNK("\"choices\":[],\"usage\":{}") DONE, OPENAI_CHAT_LINT_USAGE},
        {BEGIN END, OPENAI_CHAT_LINT_DONE},
        {BEGIN END DONE DONE, OPENAI_CHAT_LINT_AFTER_END},
        {"data: {\"error\":{\"message\":\"m\",\"type\":null}}\n\n" DONE,
         OPENAI_CHAT_LINT_AFTER_END},
        {"data: {\"error\":{\"message\":\"m\"}}\n\n", OPENAI_CHAT_LINT_ERROR},
        {BEGIN END CHUNK("\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":null}],"
                         "\"usage\":{\"prompt_tokens\":null}") DONE,
         OPENAI_CHAT_LINT_COUNTS},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t broken = openai_chat_lint(str_c(cases[i].stream), false);
        uint32_t want = cases[i].rule == OPENAI_CHAT_LINT_COUNT ? 0 : 1u << (uint32_t)cases[i].rule;
        if (broken != want)
            fail_msg("case %zu: %#x instead of %#x", i, broken, want);
    }
    assert_int_equal(openai_chat_lint(STR(BEGIN END DONE), true),
                     1u << OPENAI_CHAT_LINT_USAGE | 1u << OPENAI_CHAT_LINT_USAGE_NULL);
}

/* --- as the protocol's checker --- */

/* What it says of the text when its pieces end at `cut`, and then every `step` bytes. */
static enum error_code check(struct str text, bool stream, size_t cut, size_t step, struct error *e)
{
    const struct protocol *protocol = protocol_find(STR("openai-chat"));
    struct arena arena;
    enum error_code code = OK;

    arena_init(&arena, MEMORY, 1024, NULL);
    void *state = arena_zalloc(&arena, protocol->lint_size);
    protocol->lint_init(state, &(struct lint_options){.stream = stream, .arena = &arena});
    for (size_t at = 0, n = cut; code == OK && at < text.n; at += n, n = step) {
        n = n < text.n - at ? n : text.n - at;
        code = protocol->lint_bytes(state, str_of(text.p + at, n), false, e);
    }
    if (code == OK)
        code = protocol->lint_bytes(state, STR_NULL, true, e);
    else /* one that failed fails from then on, with the same words */
        assert_int_equal(protocol->lint_bytes(state, STR(DONE), true, e), ERR_INTERNAL);
    protocol->lint_fini(state);
    arena_fini(&arena);
    return code;
}

static void expect_said(struct str text, bool stream, const char *want)
{
    for (size_t cut = 0; cut <= text.n; cut++) {
        for (int all = 0; all < 2; all++) {
            struct error e = {.code = OK};
            enum error_code code = check(text, stream, cut, all == 0 ? text.n : 1, &e);
            assert_int_equal(code, want == NULL ? OK : ERR_INTERNAL);
            if (want != NULL)
                assert_string_equal(e.detail, want);
        }
    }
}

/* Catches: a line that is not where the violation is, and cuts that change what is found. */
static void test_the_line_of_the_first_violation(void **state)
{
    (void)state;
    expect_said(STR(BEGIN END DONE), true, NULL);
    expect_said(STR(": hi\n\n" BEGIN CALL("0", "a") END DONE), true, NULL);
    expect_said(STR(BEGIN END CHUNK("\"choices\":[],\"usage\":{}") DONE), true, NULL);
    expect_said(STR(": hi\n\n" BEGIN CALL("1", "a") END DONE), true,
                "line 5: indexes of tool calls are dense");
    expect_said(STR(BEGIN ": a\n: b\r\nid: 3\rdata: {\n\n" END DONE), true,
                "line 6: each frame is a JSON object, [DONE] or a comment");
    expect_said(STR(BEGIN END DONE END), true, "line 7: nothing comes after the end");
    expect_said(STR(BEGIN END), true, "line 4: the stream ends with [DONE], or an error");
    expect_said(STR(""), true, "line 1: the stream ends with [DONE], or an error");
    /* The first one, not the gravest. */
    expect_said(STR(BEGIN CALL("0", "") CALL("7", "") END), true,
                "line 3: a call begins with a unique id, a type and a name, and keeps its id");
}

#define BODY(choices)                                                             \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\"," \
    "\"choices\":[" choices                                                       \
    "],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}"
#define MESSAGE(index, message, finish) \
    "{\"index\":" index ",\"message\":" message ",\"finish_reason\":" finish "}"
#define HI "{\"role\":\"assistant\",\"content\":\"hi\"}"
#define CALLS                                                                                  \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["                                \
    "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}," \
    "{\"id\":\"b\",\"type\":\"custom\",\"custom\":{\"name\":\"g\",\"input\":\"x\"}}]}"
#define NO_ARGUMENTS                                            \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[" \
    "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\"}}]}"

/* Catches: a whole body that an SDK could not read, let pass. */
static void test_whole_bodies(void **state)
{
    static const char message[] = "line 1: a choice of a whole body has a message: role, content, "
                                  "whole calls";
    static const char finish[] = "line 1: each choice has one finish_reason, a known word";
    static const char choice[] = "line 1: a choice has an integer index, a delta and a "
                                 "finish_reason";

    (void)state;
    expect_said(STR(BODY(MESSAGE("0", HI, "\"stop\""))), false, NULL);
    expect_said(STR(BODY(MESSAGE("0", CALLS, "\"tool_calls\"") "," MESSAGE("1", HI, "\"stop\""))),
                false, NULL);
    expect_said(STR("{\"error\":{\"message\":\"m\",\"type\":\"t\"}}"), false, NULL);
    expect_said(STR("{\"error\":{\"message\":\"m\"}}"), false,
                "line 1: an error has a message and a type");
    expect_said(STR(BODY(MESSAGE("0", "{\"role\":\"assistant\"}", "\"stop\""))), false, message);
    expect_said(STR(BODY(MESSAGE("0", "{\"content\":\"\"}", "\"stop\""))), false, message);
    expect_said(STR(BODY(MESSAGE("0", NO_ARGUMENTS, "\"tool_calls\""))), false, message);
    expect_said(STR(BODY(MESSAGE("0", HI, "null"))), false, finish);
    expect_said(STR(BODY(MESSAGE("0", HI, "\"stop\"") "," MESSAGE("0", HI, "\"stop\""))), false,
                choice);
    expect_said(STR(BODY("")), false, choice);
    expect_said(STR("{\"id\":\"c\"}"), false,
                "line 1: object is chat.completion.chunk, of a whole body chat.completion");
    expect_said(STR("[]"), false, "line 1: each frame is a JSON object, [DONE] or a comment");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lint),
        cmocka_unit_test(test_the_line_of_the_first_violation),
        cmocka_unit_test(test_whole_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
