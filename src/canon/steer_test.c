/* SPDX-License-Identifier: MIT */
#include "canon/steer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_empty(void **state)
{
    const struct steer none = {.temperature = STR_NULL};
    const struct steer each[] = {
        {.temperature = STR("1")},      {.top_p = STR("1")},
        {.max_tokens = STR("1")},       {.reasoning_effort = STR("low")},
        {.reasoning_budget = STR("1")}, {.generation_config = STR("{}")},
    };

    (void)state;
    assert_true(steer_is_empty(&none));
    for (size_t i = 0; i < COUNT_OF(each); i++)
        assert_false(steer_is_empty(&each[i]));
}

/* Catches: defaults that say half of what the session says of reasoning. */
static void test_add(void **state)
{
    const struct steer defaults = {
        .temperature = STR("1"),
        .top_p = STR("0.5"),
        .reasoning_budget = STR("9000"),
        .generation_config = STR("{}"),
        .max_tokens = STR("7"),
    };
    struct steer session = {.temperature = STR("0"), .reasoning_effort = STR("low")};
    struct steer nothing = {.temperature = STR_NULL};

    (void)state;
    steer_add(&session, &defaults);
    assert_true(str_eq(session.temperature, STR("0")));
    assert_true(str_eq(session.top_p, STR("0.5")));
    assert_true(str_eq(session.max_tokens, STR("7")));
    assert_true(str_eq(session.generation_config, STR("{}")));
    assert_true(str_eq(session.reasoning_effort, STR("low")));
    assert_true(str_is_null(session.reasoning_budget));
    steer_add(&nothing, &defaults);
    assert_true(str_eq(nothing.reasoning_budget, STR("9000")));
}

static void test_fill(void **state)
{
    static const struct {
        const char *effort;
        const char *budget;
        enum reasoning_mode mode;
    } cases[] = {
        {NULL, NULL, REASONING_ABSENT},  {"low", NULL, REASONING_EFFORT},
        {"none", NULL, REASONING_OFF},   {NULL, "5", REASONING_BUDGET},
        {"low", "5", REASONING_BUDGET},  {"low", "0", REASONING_OFF},
        {NULL, "-1", REASONING_DYNAMIC}, {"low", "no number", REASONING_EFFORT},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct steer steer = {
            .temperature = STR("0.7"),
            .reasoning_effort = str_c(cases[i].effort),
            .reasoning_budget = str_c(cases[i].budget),
        };
        struct params params = steer_none();
        struct params said = steer_none();
        said.temperature = STR("0");
        said.reasoning = REASONING_DYNAMIC;
        steer_fill(&steer, &params);
        steer_fill(&steer, &said);
        assert_int_equal(params.reasoning, cases[i].mode);
        assert_true(str_eq(params.temperature, STR("0.7")));
        assert_true(str_is_null(params.reasoning_budget) == (cases[i].mode != REASONING_BUDGET));
        assert_int_equal(said.reasoning, REASONING_DYNAMIC);
        assert_true(str_is_null(said.reasoning_effort) && str_is_null(said.reasoning_budget));
        assert_true(str_eq(said.temperature, STR("0")));
    }
}

static void test_copy(void **state)
{
    char text[] = "{\"a\":1}";
    const struct steer steer = {.top_p = STR("0.7"),
                                .generation_config = {.p = text, .n = sizeof(text) - 1}};
    struct steer copied;
    struct arena arena;

    (void)state;
    arena_init(&arena, 64 * 1024, 4096, NULL);
    steer_copy(&steer, &arena, &copied);
    memset(text, 'x', sizeof(text) - 1);
    assert_true(str_eq(copied.generation_config, STR("{\"a\":1}")));
    assert_true(str_eq(copied.top_p, STR("0.7")));
    assert_true(str_is_null(copied.temperature) && str_is_null(copied.reasoning_effort));
    arena_fini(&arena);
}

/* The request stays as it is, for another attempt. */
static void test_request(void **state)
{
    const struct steer steer = {.top_p = STR("0.7")};
    struct request request = {.full = true, .params = steer_none()};
    struct request copy;

    (void)state;
    assert_ptr_equal(steer_request(NULL, &request, &copy), &request);
    assert_ptr_equal(steer_request(&steer, &request, &copy), &copy);
    assert_true(str_eq(copy.params.top_p, STR("0.7")));
    assert_true(str_is_null(request.params.top_p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty), cmocka_unit_test(test_add),     cmocka_unit_test(test_fill),
        cmocka_unit_test(test_copy),  cmocka_unit_test(test_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
