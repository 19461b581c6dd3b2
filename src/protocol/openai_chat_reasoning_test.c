/* SPDX-License-Identifier: MIT */
/* What vendors say about reasoning in history; their parameters are in openai_chat_request_test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_priv.h"

enum { ARENA_MAX = 1024 * 1024 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void expect(struct str got, const char *want)
{
    if (str_is_null(got) != (want == NULL) || !str_eq(got, str_c(want)))
        fail_msg("%.*s, not %s", STR_ARG(got), want == NULL ? "null" : want);
}

/* Catches: a signature that is lost on the way back to its vendor. */
static void test_details(void **state)
{
    static const struct {
        const char *element;
        const char *text;
        const char *signature;
        const char *id;
        bool redacted;
        bool summary;
    } cases[] = {
        {"{\"type\":\"reasoning.text\",\"text\":\"t\",\"signature\":\"s\",\"id\":\"i\"}", "t", "s",
         "i", false, false},
        {"{\"type\":\"reasoning.text\",\"text\":null,\"signature\":\"s\"}", NULL, "s", NULL, false,
         false},
        {"{\"type\":\"reasoning.summary\",\"summary\":\"u\"}", "u", NULL, NULL, false, true},
        {"{\"type\":\"reasoning.encrypted\",\"data\":\"d\",\"id\":\"i\"}", NULL, "d", "i", true,
         false},
        {"{\"type\":7,\"text\":8}", NULL, NULL, NULL, false, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct part part = {.kind = PART_REASONING, .source = str_c(cases[i].element)};
        assert_true(openai_chat_reasoning_detail(&part, &arena));
        expect(part.text, cases[i].text);
        expect(part.signature, cases[i].signature);
        expect(part.id, cases[i].id);
        assert_int_equal(part.redacted, cases[i].redacted);
        assert_int_equal(part.summary, cases[i].summary);
    }
    struct part odd = {.kind = PART_REASONING, .source = STR("7")};
    assert_false(openai_chat_reasoning_detail(&odd, &arena));
}

static void test_signature(void **state)
{
    static const char *const cases[][2] = {
        {"{\"google\":{\"thought_signature\":\"s\"}}", "s"},
        {"{\"google\":{\"thought_signature\":7}}", NULL},
        {"{\"google\":7}", NULL},
        {"{\"other\":{}}", NULL},
        {"7", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct extra content = {.key = STR("extra_content"), .value = str_c(cases[i][0])};
        struct extra first = {.key = STR("k"), .value = STR("1"), .next = &content};
        expect(openai_chat_reasoning_signature(&first, &arena), cases[i][1]);
    }
    expect(openai_chat_reasoning_signature(NULL, &arena), NULL);
}

/* Whether the vendors' members say what the parameters say: else it is said again. */
static void test_said(void **state)
{
    struct extra extra = {.key = STR("reasoning"), .value = STR("{\"effort\":\"high\"}")};
    struct request request = {.extra = &extra};

    (void)state;
    openai_chat_reasoning_read(&request, &arena);
    assert_int_equal(request.params.reasoning, REASONING_EFFORT);
    assert_true(openai_chat_reasoning_said(&request, &arena));
    request.params.reasoning_effort = STR("low");
    assert_false(openai_chat_reasoning_said(&request, &arena));
    request.params.reasoning_effort = STR("high");
    request.extra = NULL;
    assert_false(openai_chat_reasoning_said(&request, &arena));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_details, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signature, setup, teardown),
        cmocka_unit_test_setup_teardown(test_said, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
