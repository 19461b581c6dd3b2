/* SPDX-License-Identifier: MIT */
/*
 * The checker of answers: each rule is broken once, in the framing it is for, and told with its
 * line, however the bytes are cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/gemini_priv.h"

enum { BYTES_MAX = 8 * 1024 * 1024 };

enum form { EVENTS, ARRAY, WHOLE };

static enum error_code lint(const char *bytes, enum form form, size_t step, struct error *e)
{
    struct arena arena;
    struct gemini_lint state = {.line = 0};
    struct str rest = str_c(bytes);
    enum error_code code = OK;

    arena_init(&arena, BYTES_MAX, 64 * 1024, NULL);
    gemini_lint_init(&state, &(struct lint_options){.stream = form != WHOLE,
                                                    .array = form == ARRAY,
                                                    .arena = &arena});
    for (; code == OK && rest.n > step; rest = str_from(rest, step))
        code = gemini_lint_bytes(&state, str_head(rest, step), false, e);
    if (code == OK)
        code = gemini_lint_bytes(&state, rest, true, e);
    if (code != OK) {
        struct error again;
        assert_int_equal(gemini_lint_bytes(&state, STR(""), true, &again), ERR_INTERNAL);
    }
    gemini_lint_fini(&state);
    arena_fini(&arena);
    return code;
}

/* why NULL: it is right. */
static void expect(const char *bytes, enum form form, const char *why)
{
    struct error e = {.code = OK};

    for (size_t step = 1; step <= 1000; step *= 1000) {
        enum error_code code = lint(bytes, form, step, &e);
        if ((code == OK) != (why == NULL) || (code != OK && strstr(e.detail, why) == NULL))
            fail_msg("%s\nwant %s\ngot %s", bytes, why, e.detail);
    }
}

#define CAND(members) "{\"candidates\":[{" members "}]}"
#define PART(part)    CAND("\"content\":{\"parts\":[" part "],\"role\":\"model\"}")
#define LAST          CAND("\"finishReason\":\"STOP\"")
#define DATA(json)    "data: " json "\r\n\r\n"
#define ERROR         "{\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\"}}"

static void test_right(void **state)
{
    (void)state;
    expect(DATA(PART("{\"text\":\"a\"}")) ": c\n\n" DATA(LAST), EVENTS, NULL);
    expect("data: " LAST "\n\n", EVENTS, NULL);
    expect(DATA(PART("{\"text\":\"a\"}")) DATA(ERROR), EVENTS, NULL);
    expect(DATA("{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"), EVENTS, NULL);
    expect("[" PART("{\"text\":\"]}\\\"\"}") ",\r\n" LAST "\n]\n", ARRAY, NULL);
    expect("[" ERROR "]", ARRAY, NULL);
    expect(LAST, WHOLE, NULL);
    expect(ERROR, WHOLE, NULL);
}

static void test_framing(void **state)
{
    (void)state;
    expect("event: x\n" DATA(LAST), EVENTS, "line 1: a line is data");
    expect(DATA(PART("{\"text\":\"a\"}")) DATA("[DONE]"), EVENTS, "line 3: a response is a JSON");
    expect("data: " LAST "\ndata: {}\n\n", EVENTS, "line 2: an event is one line");
    expect("data: " LAST "\n", EVENTS, "the last event ends with an empty line");
    expect("", EVENTS, "an answer has a candidate");
    expect(DATA(PART("{\"text\":\"a\"}")), EVENTS, "each candidate has a finishReason");
    expect(DATA(ERROR) DATA(LAST), EVENTS, "line 3: nothing comes after the end");
    expect("{}", ARRAY, "an array begins with [");
    expect("[" LAST, ARRAY, "the array has an end");
    expect("[" LAST LAST "]", ARRAY, "with commas between");
    expect("[," LAST "]", ARRAY, "a comma stands between");
    expect("[" LAST ",]", ARRAY, "no comma before");
    expect("[" LAST "]\n x", ARRAY, "line 2: nothing comes after the array");
    expect("[1]", ARRAY, "elements are objects");
    expect("[]", ARRAY, "an answer has a candidate");
    expect("1", WHOLE, "a response is a JSON object");
    expect("{}", WHOLE, "an answer has a candidate");
}

static void test_parts(void **state)
{
    static const char *const cases[][2] = {
        {PART("1"), "a part is an object"},
        {PART("{}"), "a part has one payload"},
        {PART("{\"text\":\"a\",\"inlineData\":{}}"), "a part has one payload"},
        {PART("{\"text\":1}"), "text is a string"},
        {PART("{\"text\":\"a\",\"thought\":1}"), "thought is true or false"},
        {PART("{\"text\":\"a\",\"thoughtSignature\":\"a-b_\"}"), "thoughtSignature is base64"},
        {PART("{\"text\":\"a\",\"thoughtSignature\":\"abc\"}"), "thoughtSignature is base64"},
        {PART("{\"functionCall\":1}"), "a functionCall is an object"},
        {PART("{\"functionCall\":{\"args\":{}}}"), "a functionCall has a name"},
        {PART("{\"functionCall\":{\"name\":\"f\",\"args\":[]}}"), "args are an object"},
        {PART("{\"functionCall\":{\"name\":\"f\",\"id\":\"1\"}},{\"functionCall\":{\"name\":\"f\","
              "\"id\":\"1\"}}"),
         "ids of calls are unique"},
        {PART("{\"inlineData\":1}"), "inlineData and fileData are objects"},
        {PART("{\"inlineData\":{\"mimeType\":\"a/b\"}}"), "media have data"},
        {PART("{\"inlineData\":{\"data\":\"\"}}"), "inlineData has a mimeType"},
        {PART("{\"fileData\":{}}"), "media have data or a fileUri"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect(cases[i][0], WHOLE, cases[i][1]);
}

static void test_responses(void **state)
{
    static const char *const cases[][2] = {
        {"{\"candidates\":1}", "candidates are a list"},
        {"{\"candidates\":[1]}", "a candidate is an object"},
        {CAND("\"index\":\"x\""), "index is an integer"},
        {CAND("\"index\":500"), "index is in its bounds"},
        {CAND("\"content\":1"), "content is an object"},
        {CAND("\"content\":{\"role\":\"user\"}"), "the role is model"},
        {CAND("\"content\":{\"parts\":1}"), "parts are a list"},
        {CAND("\"finishReason\":\"stop\""), "finishReason is a known word"},
        {"{\"candidates\":[{\"finishReason\":\"STOP\"},{\"finishReason\":\"STOP\"}]}",
         "says nothing after its finishReason"},
        {"{\"modelVersion\":1}", "modelVersion is a string"},
        {"{\"responseId\":\"\"}", "responseId is a string"},
        {"{\"usageMetadata\":1}", "usageMetadata is an object"},
        {"{\"usageMetadata\":{\"promptTokenCount\":-1}}", "counts are integers"},
        {"{\"error\":{}}", "an error has a code"},
        {"{\"error\":{\"code\":503}}", "an error has a message"},
        {"{\"error\":{\"code\":503,\"message\":\"m\"}}", "an error has a status"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect(cases[i][0], WHOLE, cases[i][1]);
    expect(DATA("{\"responseId\":\"a\"}") DATA("{\"responseId\":\"b\"}"), EVENTS,
           "line 3: responseId is a string and stays the same");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_right),
        cmocka_unit_test(test_framing),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_responses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
