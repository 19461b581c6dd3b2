/* SPDX-License-Identifier: MIT */
/*
 * Catches: an answer of the demo that is not what an OpenAI client expects (decoded by the
 * protocol's own decoder and held against the grammar of events), an echo that is not verbatim, a
 * stream that comes at once.
 */
#include "backend/demo_text.h"

#include "backend/demo_for_test.h"

static void echo_streams(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a,
             STR("{\"model\":\"demo:echo\",\"stream\":true,\"stream_options\":"
                 "{\"include_usage\":true},\"messages\":[{\"role\":\"user\",\"content\":\"first\"},"
                 "{\"role\":\"assistant\",\"content\":\"no\"},{\"role\":\"user\",\"content\":"
                 "\"one two\\n\\n  \\\"three\\\" \\u00e4\\ud83d\\ude00 \\u0001 end\"}]}"));
    assert_int_equal(a.head.status, 200);
    demo_expect_text(&a, "one two\n\n  \"three\" \xC3\xA4\xF0\x9F\x98\x80 \x01 end");
    assert_true(str_eq(a.model, STR("echo")));
    assert_true(str_starts(a.id, STR("chatcmpl-demo")));
    assert_true(a.id.n > strlen("chatcmpl-demo"));
    assert_true(a.terminator);
    assert_int_equal(a.usages, 1);
    assert_true(a.usage.input > 0 && a.usage.output > 0);
    assert_int_equal(a.usage.total, a.usage.input + a.usage.output);
    /* Word by word: several pieces with a pause each, in all not long. */
    assert_true(a.pieces > 6);
    assert_true(a.waited_ms >= 6 * 25 && a.waited_ms < 2000);
    demo_answer_fini(&a);
}

static void echo_whole(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":"
                     "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]}]}"));
    assert_int_equal(a.head.status, 200);
    demo_expect_text(&a, "a\nb");
    assert_int_equal(a.usages, 1);
    assert_int_equal(a.waited_ms, 0);
    struct error e;
    struct json_read_options options = {0};
    yyjson_val *root = json_read(buf_str(&a.body), &options, &a.arena, &e);
    assert_non_null(root);
    assert_true(str_eq(json_get_str(root, STR("object")), STR("chat.completion")));
    demo_answer_fini(&a);
}

/* Usage in a stream only where it was asked for. */
static void usage_on_demand(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"echo\",\"stream\":true,\"messages\":"
                     "[{\"role\":\"user\",\"content\":\"hi\"}]}"));
    demo_expect_text(&a, "hi");
    assert_int_equal(a.usages, 0);
    assert_true(a.terminator);
    demo_answer_fini(&a);
}

static void nothing_to_echo(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"echo\",\"stream\":true,\"messages\":"
                     "[{\"role\":\"system\",\"content\":\"be kind\"}]}"));
    demo_expect_text(&a, "");
    demo_answer_fini(&a);
}

/* A long message comes in larger pieces, whole, in bounded time; also without any blank. */
static void long_echo(void **state)
{
    static const char *const units[] = {"word ", "x", "\xE4\xBD\xA0"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, DEMO_BODY_MAX);
        (void)buf_add(&body, STR("{\"model\":\"echo\",\"stream\":true,\"messages\":[{\"role\":"
                                 "\"user\",\"content\":\""));
        size_t begin = body.n;
        for (int k = 0; k < 40000; k++)
            (void)buf_add(&body, str_c(units[i]));
        size_t end = body.n;
        (void)buf_add(&body, STR("\"}]}"));
        demo_ask(&a, buf_str(&body));
        assert_int_equal(a.head.status, 200);
        assert_true(str_eq(demo_text_of(&a), str_of(body.p + begin, end - begin)));
        assert_true(a.pieces >= 200 && a.pieces <= 408);
        assert_true(a.waited_ms < 15000);
        demo_answer_fini(&a);
        buf_fini(&body);
    }
}

static void models(void **state)
{
    static const struct {
        const char *model;
        int status;
        const char *shown; /* of a refusal: what follows "Model not found: " */
    } cases[] = {
        {"assistant", 200, NULL},    {"echo", 200, NULL},
        {"demo:echo", 200, NULL},    {"show/assistant", 200, NULL},
        {"demo:", 200, NULL},        {"", 200, NULL},
        {"gpt-4o", 404, "gpt-4o ("}, {"demo:gpt-4o", 404, "gpt-4o ("},
        {"Echo", 404, "Echo ("},     {"echo ", 404, "echo  ("},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct demo_answer a;
        struct arena arena;
        arena_init(&arena, 4096, 512, NULL);
        demo_ask(&a, str_print(&arena,
                               "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"hi\"}]}",
                               cases[i].model));
        if (a.head.status != cases[i].status)
            fail_msg("%s: %d", cases[i].model, a.head.status);
        if (a.head.status == 404) {
            assert_true(str_find(buf_str(&a.body), STR("\"code\":\"model_not_found\""), 0) !=
                        SIZE_MAX);
            struct str begin = str_print(&arena, "{\"error\":{\"message\":\"Model not found: %s",
                                         cases[i].shown);
            assert_true(str_starts(buf_str(&a.body), begin));
        }
        demo_answer_fini(&a);
        arena_fini(&arena);
    }
    assert_true(str_eq(str_c(demo_backend.models[0]), STR("assistant")));
}

/* Each topic is reached by a question about it, and every answer says what it is. */
static void topics(void **state)
{
    static const struct {
        const char *question;
        const char *answer;
    } cases[] = {
        {NULL, "Your request went the whole way"},
        {"Hello!", "Your request went the whole way"},
        {"How do I use the OpenAI Python SDK?", "base_url=\"http://127.0.0.1:8000/v1\""},
        {"how do I connect my node client", "new OpenAI({ baseURL"},
        {"Where do I put my OPENAI_API_KEY?", "OPENAI_API_KEY=sk-..."},
        {"how do I set a key", "OPENAI_API_KEY=sk-..."},
        {"where is the client key?", "data/client.key"},
        {"I get 401 unauthorized", "Authorization: Bearer KEY"},
        {"Show me the config file (YAML)", "cp config.example.yaml config.yaml"},
        {"can I use Ollama or vLLM?", "protocol: openai-chat"},
        {"Which models are there?", "GET /v1/models"},
        {"does streaming work with SSE", "\"stream\": true"},
        {"prometheus metrics?", "GET /metrics"},
        {"it fails with an error 502", "docs/ERRORS.md"},
        {"What works in this version?", "POST /v1/chat/completions"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str text = demo_text_answer(str_c(cases[i].question));
        if (str_find(text, str_c(cases[i].answer), 0) == SIZE_MAX)
            fail_msg("%s ->\n%.*s", cases[i].question, STR_ARG(text));
        assert_true(str_find(text, STR("not a language model"), 0) != SIZE_MAX);
    }
}

/* Of a long message only its beginning and its end are looked at: the loop does not wait. */
static void topic_of_a_long_message(void **state)
{
    enum { LONG = 1000 * 1000 };
    static const struct {
        size_t at;
        bool found;
    } cases[] = {{0, true}, {LONG / 2, false}, {LONG - 16, true}};
    struct arena arena;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        arena_init(&arena, 2 * LONG, 4096, NULL);
        char *text = arena_alloc(&arena, LONG);
        for (size_t at = 0; at < LONG; at++)
            text[at] = at % 8 == 7 ? ' ' : 'x';
        memcpy(text + cases[i].at, "prometheus ", strlen("prometheus "));
        struct str answer = demo_text_answer(str_of(text, LONG));
        assert_int_equal(str_find(answer, STR("GET /metrics"), 0) != SIZE_MAX, cases[i].found);
        arena_fini(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_streams),    cmocka_unit_test(echo_whole),
        cmocka_unit_test(usage_on_demand), cmocka_unit_test(nothing_to_echo),
        cmocka_unit_test(long_echo),       cmocka_unit_test(models),
        cmocka_unit_test(topics),          cmocka_unit_test(topic_of_a_long_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
