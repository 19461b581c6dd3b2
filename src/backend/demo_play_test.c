/* SPDX-License-Identifier: MIT */
/*
 * Catches: an answer of the demo that says more, or another end, than the request allows; counts
 * that do not agree with what was said; choices that are not told apart; a parameter that makes no
 * sense and is taken.
 */
#include "backend/demo_play.h"

#include "backend/demo_for_test.h"

/* demo:echo is asked to say `text`, with `more` members. */
static void say(struct demo_answer *a, const char *text, const char *more)
{
    struct buf body;

    buf_init(&body, DEMO_BODY_MAX);
    (void)buf_print(&body,
                    "{\"model\":\"echo\",%s\"messages\":[{\"role\":\"user\",\"content\":"
                    "\"%s\"}]}",
                    more, text);
    demo_ask(a, buf_str(&body));
    buf_fini(&body);
}

static const char *const forms[] = {"", "\"stream\":true,\"stream_options\":{\"include_usage\":"
                                        "true},"};

static void length_ends_it(void **state)
{
    static const struct {
        const char *more;
        const char *text;
        enum stop_reason stop;
        int64_t tokens;
    } cases[] = {
        {"\"max_tokens\":1,", "one ", STOP_LENGTH, 1},
        {"\"max_completion_tokens\":2,", "one two ", STOP_LENGTH, 2},
        {"\"max_tokens\":2.0,", "one two ", STOP_LENGTH, 2},
        {"\"max_tokens\":5,", "one two three four", STOP_END, 5},
        {"\"max_tokens\":4,", "one two three fo", STOP_LENGTH, 4},
        {"\"max_tokens\":100000,", "one two three four", STOP_END, 5},
        {"\"max_tokens\":null,", "one two three four", STOP_END, 5},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        struct demo_answer a;
        struct buf more;
        buf_init(&more, 1024);
        (void)buf_print(&more, "%s%s", forms[i % 2], cases[i / 2].more);
        (void)buf_add_char(&more, '\0');
        say(&a, "one two three four", more.p);
        assert_int_equal(a.head.status, 200);
        demo_expect_text(&a, cases[i / 2].text);
        assert_int_equal(a.choices[0].stop, cases[i / 2].stop);
        assert_int_equal(a.usage.output, cases[i / 2].tokens);
        demo_answer_fini(&a);
        buf_fini(&more);
    }
}

/* A character is not cut in two. */
static void length_keeps_characters(void **state)
{
    struct demo_answer a;

    (void)state;
    say(&a, "abc\xE4\xBD\xA0\xE4\xBD\xA0", "\"max_tokens\":1,");
    demo_expect_text(&a, "abc");
    assert_int_equal(a.choices[0].stop, STOP_LENGTH);
    demo_answer_fini(&a);
}

static void sequences_end_it(void **state)
{
    static const struct {
        const char *more;
        const char *text;
    } cases[] = {
        {"\"stop\":\"three\",", "one two "},
        {"\"stop\":[\"four\",\"two\"],", "one "},
        {"\"stop\":[\"nothing\"],", "one two three four"},
        {"\"stop\":\"\",", "one two three four"},
        {"\"stop\":\"one\",", ""},
        {"\"stop\":\"e t\",", "on"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        struct demo_answer a;
        struct buf more;
        buf_init(&more, 1024);
        (void)buf_print(&more, "%s%s", forms[i % 2], cases[i / 2].more);
        (void)buf_add_char(&more, '\0');
        say(&a, "one two three four", more.p);
        demo_expect_text(&a, cases[i / 2].text);
        assert_int_equal(a.choices[0].stop, STOP_END); /* the wire knows no other word */
        demo_answer_fini(&a);
        buf_fini(&more);
    }
}

static void choices_are_told_apart(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct demo_answer a;
        struct buf more;
        buf_init(&more, 1024);
        (void)buf_print(&more, "%s\"n\":3,", forms[i]);
        (void)buf_add_char(&more, '\0');
        say(&a, "one two three", more.p);
        for (size_t k = 0; k < 3; k++) {
            assert_true(a.choices[k].stopped);
            assert_true(str_eq(buf_str(&a.choices[k].blocks[0].text), STR("one two three")));
        }
        assert_false(a.choices[3].stopped);
        assert_int_equal(a.usage.output, 3 * 4);
        /* In a stream they go on together. */
        if (i == 1) {
            struct str body = buf_str(&a.body);
            assert_true(str_find(body, STR("\"index\":2"), 0) < str_find(body, STR("two"), 0));
            assert_true(a.waited_ms < 4 * 100);
        }
        demo_answer_fini(&a);
        buf_fini(&more);
    }
}

static void what_makes_no_sense_is_refused(void **state)
{
    static const struct {
        const char *more;
        const char *said;
    } cases[] = {
        {"\"n\":129,", "at most 128"},
        {"\"max_tokens\":0,", "max_tokens must be"},
        {"\"max_tokens\":-4,", "max_tokens must be"},
        {"\"max_tokens\":1e300,", "max_tokens must be"},
        {"\"top_logprobs\":21,", "top_logprobs must be"},
        {"\"top_logprobs\":-1,", "top_logprobs must be"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct demo_answer a;
        say(&a, "hi", cases[i].more);
        assert_int_equal(a.head.status, 400);
        if (!demo_said(&a, cases[i].said))
            fail_msg("%s: %.*s", cases[i].more, STR_ARG(buf_str(&a.body)));
        demo_answer_fini(&a);
    }
    struct demo_answer a;
    say(&a, "hi", "\"logprobs\":false,\"n\":1,\"seed\":7,\"user\":null,\"temperature\":0,");
    assert_int_equal(a.head.status, 200);
    demo_answer_fini(&a);
}

/* Many choices of a long text are bounded together. */
static void the_whole_is_bounded(void **state)
{
    struct buf text;
    struct demo_answer a;

    (void)state;
    buf_init(&text, DEMO_BODY_MAX);
    for (int i = 0; i < 20000; i++)
        (void)buf_add(&text, STR("word "));
    (void)buf_add_char(&text, '\0');
    say(&a, text.p, "\"n\":100,");
    assert_int_equal(a.head.status, 413);
    demo_answer_fini(&a);
    say(&a, text.p, "\"n\":8,");
    assert_int_equal(a.head.status, 200);
    demo_answer_fini(&a);
    buf_fini(&text);
}

/* Each token has its own, and they are much more than the text. */
static void logprobs_are_certain(void **state)
{
    struct buf text;
    struct demo_answer a;

    (void)state;
    say(&a, "Hi you", "\"logprobs\":true,\"top_logprobs\":1,");
    if (!demo_said(&a, "{\"content\":[{\"token\":\"Hi y\",\"logprob\":0,\"bytes\":[72,105,32,121],"
                       "\"top_logprobs\":[{\"token\":\"Hi y\",\"logprob\":0,"
                       "\"bytes\":[72,105,32,121]}]},{\"token\":\"ou\""))
        fail_msg("%.*s", STR_ARG(buf_str(&a.body)));
    demo_answer_fini(&a);
    buf_init(&text, DEMO_BODY_MAX);
    for (int i = 0; i < 10000; i++) /* what takes the most for each of its bytes */
        (void)buf_add(&text, STR("a\xF0\x9F\x98\x80"));
    (void)buf_add_char(&text, '\0');
    say(&a, text.p, "\"logprobs\":true,\"top_logprobs\":5,");
    assert_int_equal(a.head.status, 200);
    demo_answer_fini(&a);
    say(&a, text.p, "\"logprobs\":true,\"n\":3,");
    assert_int_equal(a.head.status, 413);
    demo_answer_fini(&a);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_ends_it),
        cmocka_unit_test(length_keeps_characters),
        cmocka_unit_test(sequences_end_it),
        cmocka_unit_test(choices_are_told_apart),
        cmocka_unit_test(what_makes_no_sense_is_refused),
        cmocka_unit_test(the_whole_is_bounded),
        cmocka_unit_test(logprobs_are_certain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
