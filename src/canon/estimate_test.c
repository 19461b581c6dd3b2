/* SPDX-License-Identifier: MIT */
#include "canon/estimate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Catches: a part of a request that costs nothing. */
static void test_sum(void **state)
{
    struct part image = {.kind = PART_IMAGE, .data = STR("QUJD")};
    struct part inner = {.kind = PART_TEXT, .text = STR("result.."), .next = &image};
    struct part result = {.kind = PART_TOOL_RESULT, .parts = &inner};
    struct turn tool_turn = {.role = ROLE_TOOL, .parts = &result};
    struct part call = {.kind = PART_TOOL_CALL, .name = STR("name"), .text = STR("{}{}")};
    struct turn answer = {.role = ROLE_ASSISTANT, .parts = &call, .next = &tool_turn};
    struct part file = {.kind = PART_FILE, .data = STR("QUJD")};
    struct part document = {.kind = PART_FILE, .text = STR("document"), .next = &file};
    struct part text = {.kind = PART_TEXT, .text = STR("text"), .next = &document};
    struct turn question = {.role = ROLE_USER, .parts = &text, .next = &answer};
    struct tool vendor = {.vendor = true, .name = STR("web_"), .source = STR("{\"a\":1} ")};
    struct tool tool = {.name = STR("name"),
                        .description = STR("describes"),
                        .schema = STR("{schema}"),
                        .next = &vendor};
    struct request request = {.full = true};

    (void)state;
    assert_int_equal(estimate_tokens(&request), 0);
    request.turns = &tool_turn;
    assert_int_equal(estimate_tokens(&request), 4 + 2 + 1500);
    request.turns = &answer;
    assert_int_equal(estimate_tokens(&request), 4 + 2 + 1506);
    request.turns = &question;
    assert_int_equal(estimate_tokens(&request), 4 + 3 + 1500 + 1512);
    request.tools = &vendor;
    assert_int_equal(estimate_tokens(&request), 3019 + 3);
    request.tools = &tool;
    assert_int_equal(estimate_tokens(&request), 3022 + 6);
    request.params.format.schema = STR("{1234567}");
    assert_int_equal(estimate_tokens(&request), 3028 + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
