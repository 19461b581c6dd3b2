/* SPDX-License-Identifier: MIT */
/*
 * Catches: a call of a tool that was not offered, or against tool_choice; arguments that are none;
 * two calls of one id; a result that is not told; a tool-loop that is none.
 */
#include "backend/demo_tools.h"

#include "backend/demo_for_test.h"

#define CITY                                                                             \
    "{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":" \
    "[\"city\"]}"
#define FUNCTION(name, schema) \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"parameters\":" schema "}}"
#define TOOLS                                                                                  \
    "\"tools\":[" FUNCTION("delete_all", CITY) "," FUNCTION("get_weather", CITY) "," FUNCTION( \
        "write", "{\"type\":\"object\"}") ",{\"type\":\"custom\",\"custom\":{\"name\":\"poem\"}}]"
#define ASK(text) "\"messages\":[{\"role\":\"user\",\"content\":\"" text "\"}]"

/* What is called, names joined by a comma; "" for a text. */
static const struct {
    const char *request; /* members besides the model */
    const char *calls;
    const char *first; /* arguments of the first */
} cases[] = {
    {TOOLS "," ASK("How warm is Rome?"), "get_weather", "{\"city\":\"Rome\"}"},
    {TOOLS "," ASK("Please write it down"), "write", "{}"},
    {TOOLS "," ASK("delete_all in Rome"), "delete_all", "{\"city\":\"Rome\"}"},
    {TOOLS "," ASK("both"), "get_weather,delete_all", NULL},
    {TOOLS "," ASK("write and get_weather, both"), "get_weather,write", NULL},
    {TOOLS "," ASK("call all of them"), "get_weather,delete_all,write,poem", NULL},
    {TOOLS ",\"parallel_tool_calls\":false," ASK("both"), "get_weather", NULL},
    {TOOLS ",\"parallel_tool_calls\":null," ASK("both"), "get_weather,delete_all", NULL},
    {TOOLS ",\"tool_choice\":\"none\"," ASK("both"), "", NULL},
    {TOOLS ",\"tool_choice\":\"required\"," ASK("hi"), "get_weather", NULL},
    {TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"write\"}}," ASK("hi"),
     "write", "{}"},
    {TOOLS ",\"tool_choice\":{\"type\":\"custom\",\"custom\":{\"name\":\"poem\"}}," ASK("a rose"),
     "poem", "a rose"},
    {TOOLS ",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"auto\","
           "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"write\"}}]}}," ASK("both"),
     "write,write", NULL},
    {ASK("hi"), "", NULL},
    {"\"tools\":[]," ASK("hi"), "", NULL},
    {"\"tools\":[{\"type\":\"web_search\"}]," ASK("hi"), "", NULL},
    {"\"tools\":[" FUNCTION("f", CITY) "]," ASK("twice in parallel"), "f,f", NULL},
};

static void expect_calls(const struct demo_answer *a, const char *expected, const char *first)
{
    struct buf names;
    const struct demo_read_choice *choice = &a->choices[0];

    buf_init(&names, 4096);
    for (size_t i = 0; i < choice->n; i++) {
        if (choice->blocks[i].kind != BLOCK_TOOL)
            continue;
        if (names.n > 0)
            (void)buf_add_char(&names, ',');
        (void)buf_add(&names, choice->blocks[i].name);
        assert_true(str_starts(choice->blocks[i].id, STR("call_")));
        assert_true(choice->blocks[i].id.n <= 40);
        for (size_t k = 0; k < i; k++)
            assert_false(str_eq(choice->blocks[i].id, choice->blocks[k].id));
    }
    if (!str_eq(buf_str(&names), str_c(expected)))
        fail_msg("%.*s is not %s", STR_ARG(buf_str(&names)), expected);
    assert_int_equal(choice->stop, names.n > 0 ? STOP_TOOL : STOP_END);
    if (first != NULL)
        assert_true(str_eq(buf_str(&choice->blocks[0].text), str_c(first)));
    buf_fini(&names);
}

static void tools_are_called(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, 65536);
        (void)buf_print(&body, "{\"model\":\"tools\",\"stream\":%s,%s}",
                        i % 2 == 0 ? "false" : "true", cases[i / 2].request);
        demo_ask(&a, buf_str(&body));
        if (a.head.status != 200)
            fail_msg("%s: %.*s", cases[i / 2].request, STR_ARG(buf_str(&a.body)));
        expect_calls(&a, cases[i / 2].calls, cases[i / 2].first);
        demo_answer_fini(&a);
        buf_fini(&body);
    }
}

static void results_are_told(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"tools\"," TOOLS
                     ",\"messages\":[{\"role\":\"user\",\"content\":\"both\"},{\"role\":"
                     "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":"
                     "\"function\",\"function\":{\"name\":\"get_weather\",\"arguments\":\"{}\"}},"
                     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"write\","
                     "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\","
                     "\"content\":\"21 degrees\"},{\"role\":\"tool\",\"tool_call_id\":\"b\","
                     "\"content\":\"\"}]}"));
    struct str text = demo_text_of(&a);
    assert_true(str_find(text, STR("The tool get_weather answered: 21 degrees\n"), 0) != SIZE_MAX);
    assert_true(str_find(text, STR("The tool write answered: "), 0) != SIZE_MAX);
    expect_calls(&a, "", NULL);
    demo_answer_fini(&a);
    /* The next question is another one. */
    demo_ask(&a, STR("{\"model\":\"tools\"," TOOLS
                     ",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":"
                     "\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\","
                     "\"function\":{\"name\":\"write\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
                     "\"tool_call_id\":\"a\",\"content\":\"ok\"},{\"role\":\"user\",\"content\":"
                     "\"How warm is Rome?\"}]}"));
    expect_calls(&a, "get_weather", NULL);
    demo_answer_fini(&a);
}

static void bad_choices_are_refused(void **state)
{
    static const char *const requests[] = {
        "{\"model\":\"tools\"," TOOLS ",\"tool_choice\":\"perhaps\"," ASK("hi") "}",
        "{\"model\":\"tools\",\"tools\":[" FUNCTION(
            "f", "{\"type\":\"object\",\"required\":[\"a\"],"
                 "\"properties\":{\"a\":false}}") "]," ASK("hi") "}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        struct demo_answer a;
        demo_ask(&a, str_c(requests[i]));
        if (a.head.status != 400)
            fail_msg("%s: %d", requests[i], a.head.status);
        demo_answer_fini(&a);
    }
}

/* The same call whatever the conversation. */
static void loop_is_one(void **state)
{
    static const char *const messages[] = {
        ASK("How warm is Rome?"), ASK("both in Paris"),
        "\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\","
        "\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"write\","
        "\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"no\"}]"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, 65536);
        (void)buf_print(&body, "{\"model\":\"tool-loop\"," TOOLS ",%s}", messages[i]);
        demo_ask(&a, buf_str(&body));
        expect_calls(&a, "get_weather", "{\"city\":\"demo\"}");
        demo_answer_fini(&a);
        buf_fini(&body);
    }
    struct demo_answer a;
    demo_ask(&a, STR("{\"model\":\"tool-loop\"," ASK("hi") "}"));
    expect_calls(&a, "", NULL);
    demo_answer_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tools_are_called),
        cmocka_unit_test(results_are_told),
        cmocka_unit_test(bad_choices_are_refused),
        cmocka_unit_test(loop_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
