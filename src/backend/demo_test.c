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

/* Reasoning comes first, as much as is asked for, and is counted. */
static void reasoning(void **state)
{
    static const struct {
        const char *effort;
        size_t steps;
    } cases[] = {{"none", 0}, {"minimal", 1}, {"low", 2}, {"medium", 4}, {"high", 8}, {"max", 16}};
    int64_t before = -1;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, 4096);
        (void)buf_print(&body,
                        "{\"model\":\"reason\",\"stream\":%s,\"stream_options\":{\"include_usage\""
                        ":true},\"reasoning_effort\":\"%s\",\"messages\":[{\"role\":"
                        "\"developer\",\"content\":\"be brief\"},{\"role\":\"user\",\"content\":"
                        "\"why?\"}]}",
                        i % 2 == 0 ? "false" : "true", cases[i / 2].effort);
        demo_ask(&a, buf_str(&body));
        assert_int_equal(a.head.status, 200);
        size_t blocks = cases[i / 2].steps > 0 ? 2 : 1;
        assert_int_equal(a.choices[0].n, blocks);
        assert_true(str_find(demo_text_of(&a), STR("about: why?"), 0) != SIZE_MAX);
        if (blocks == 2) {
            assert_int_equal(a.choices[0].blocks[0].kind, BLOCK_REASONING);
            assert_true(a.usage.reasoning > before || i % 2 == 1);
            assert_true(a.usage.output > a.usage.reasoning);
            before = a.usage.reasoning;
        }
        demo_answer_fini(&a);
        buf_fini(&body);
    }
}

/* A long answer is as long as may be, and has no line twice; a loop has one paragraph. */
static void long_and_loop(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"long\",\"messages\":[]}"));
    struct str rest = demo_text_of(&a);
    struct str line;
    struct str before = STR("");
    size_t n = 0;
    while (str_cut(&rest, '\n', &line) && line.n > 0) {
        assert_false(str_eq(line, before));
        before = line;
        n++;
    }
    assert_int_equal(n, 260);
    assert_int_equal(a.choices[0].stop, STOP_END);
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"long\",\"max_tokens\":50000,\"messages\":[]}"));
    assert_int_equal(demo_text_of(&a).n, 200000);
    assert_int_equal(a.choices[0].stop, STOP_LENGTH);
    assert_int_equal(a.usage.output, 50000);
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"loop\",\"stream\":true,\"max_tokens\":1000,\"messages\":[]}"));
    assert_int_equal(demo_text_of(&a).n, 4000);
    assert_int_equal(a.choices[0].stop, STOP_LENGTH);
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"loop\",\"messages\":[]}"));
    struct str text = demo_text_of(&a);
    size_t once = str_find(text, STR("\n\n"), 0) + 2;
    assert_true(text.n >= 64 * 1024 && text.n < 66 * 1024);
    assert_int_equal(text.n % once, 0);
    assert_memory_equal(text.p, text.p + once, text.n - once);
    demo_answer_fini(&a);
}

/* A word a second in a stream; whole, as long before it. */
static void slow(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"slow\",\"stream\":true,\"messages\":[]}"));
    assert_true(a.pieces >= 15 && a.waited_ms >= 15 * 1000);
    int64_t waited_ms = a.waited_ms;
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"slow\",\"messages\":[]}"));
    assert_int_equal(a.head.wait_ms, waited_ms);
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"slow\",\"max_tokens\":2,\"messages\":[]}"));
    assert_int_equal(a.head.wait_ms, 2000);
    demo_answer_fini(&a);
}

static void errors(void **state)
{
    struct demo_answer a;

    (void)state;
    demo_ask(&a, STR("{\"model\":\"error-429\",\"stream\":true,\"messages\":[]}"));
    assert_int_equal(a.head.status, 429);
    assert_int_equal(a.head.retry_after_s, 2);
    assert_true(demo_said(&a, "\"code\":\"rate_limit_exceeded\""));
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"error-500\",\"messages\":[]}"));
    assert_int_equal(a.head.status, 500);
    assert_true(demo_said(&a, "\"type\":\"server_error\""));
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"error-silent\",\"messages\":[]}"));
    assert_true(a.head.silent);
    assert_int_equal(a.body.n, 0);
    demo_answer_fini(&a);
    /* Half of it was declared and said, or a few words; never the end, however short it is. */
    demo_ask(&a, STR("{\"model\":\"error-cut\",\"messages\":[]}"));
    assert_int_equal(a.last, LOCAL_CUT);
    assert_true(a.failed && a.body.n > 0 && a.head.length > (int64_t)a.body.n);
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"error-cut\",\"stream\":true,\"messages\":[]}"));
    assert_int_equal(a.last, LOCAL_CUT);
    assert_true(a.failed && demo_text_of(&a).n > 20);
    demo_answer_fini(&a);
    demo_ask(&a, STR("{\"model\":\"error-cut\",\"max_tokens\":1,\"stream\":true,\"messages\":[]}"));
    assert_int_equal(a.last, LOCAL_CUT);
    assert_true(a.failed);
    demo_answer_fini(&a);
}

/* JSON where it was asked for, an instance of the schema where there is one. */
static void formats(void **state)
{
    static const struct {
        const char *format;
        const char *text;
    } cases[] = {
        {"{\"type\":\"text\"}", "say \"7\" Rome"},
        {"{\"type\":\"json_object\"}", "{\"text\":\"say \\\"7\\\" Rome\"}"},
        {"{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":"
         "{\"type\":\"object\",\"properties\":{\"town\":{\"type\":\"string\"},\"n\":{\"type\":"
         "\"integer\"}},\"required\":[\"town\",\"n\"],\"additionalProperties\":false}}}",
         "{\"town\":\"Rome\",\"n\":7}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, 4096);
        (void)buf_print(&body,
                        "{\"model\":\"echo\",\"response_format\":%s,\"messages\":[{\"role\":"
                        "\"user\",\"content\":\"say \\\"7\\\" Rome\"}]}",
                        cases[i].format);
        demo_ask(&a, buf_str(&body));
        assert_int_equal(a.head.status, 200);
        demo_expect_text(&a, cases[i].text);
        demo_answer_fini(&a);
        buf_fini(&body);
    }
    /* What `tools` says where it calls none is a text like any other. */
    static const char *const texts[][2] = {
        {"\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]",
         "{\"text\":\"I would call a tool, but this request offers none: put some into "
         "\\\"tools\\\".\"}"},
        {"\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\","
         "\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\",\"function\":"
         "{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c\","
         "\"content\":\"warm\"}]",
         "{\"text\":\"The tool f answered: warm\"}"},
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, 4096);
        (void)buf_print(&body,
                        "{\"model\":\"tools\",\"response_format\":{\"type\":\"json_object\"},%s}",
                        texts[i][0]);
        demo_ask(&a, buf_str(&body));
        demo_expect_text(&a, texts[i][1]);
        demo_answer_fini(&a);
        buf_fini(&body);
    }
    struct demo_answer a;
    demo_ask(&a, STR("{\"model\":\"echo\",\"response_format\":{\"type\":\"json_schema\","
                     "\"json_schema\":{\"name\":\"x\",\"schema\":{\"type\":\"integer\","
                     "\"minimum\":2,\"maximum\":1}}},\"messages\":[]}"));
    assert_int_equal(a.head.status, 400);
    demo_answer_fini(&a);
}

/* Images and files are noticed, not looked into. */
static void attachments(void **state)
{
    static const char *const names[] = {"echo", "assistant"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct demo_answer a;
        struct buf body;
        buf_init(&body, 4096);
        (void)
            buf_print(&body,
                      "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                      "\"text\",\"text\":\"Look\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
                      "\"data:image/png;base64,AAAAAAAA\"}},{\"type\":\"image_url\",\"image_url\":"
                      "{\"url\":\"https://example.com/a.png\"}},{\"type\":\"file\",\"file\":"
                      "{\"filename\":\"a.pdf\",\"file_data\":"
                      "\"data:application/pdf;base64,AAAA\"}}]}]}",
                      names[i]);
        demo_ask(&a, buf_str(&body));
        assert_int_equal(a.head.status, 200);
        struct str text = demo_text_of(&a);
        assert_true(str_find(text, STR("image/png, 6 bytes]"), 0) != SIZE_MAX);
        assert_true(str_find(text, STR("at https://example.com/a.png]"), 0) != SIZE_MAX);
        assert_true(str_find(text, STR(" a.pdf, application/pdf, 3 bytes]"), 0) != SIZE_MAX);
        demo_answer_fini(&a);
        buf_fini(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_streams),
        cmocka_unit_test(echo_whole),
        cmocka_unit_test(usage_on_demand),
        cmocka_unit_test(nothing_to_echo),
        cmocka_unit_test(long_echo),
        cmocka_unit_test(models),
        cmocka_unit_test(reasoning),
        cmocka_unit_test(long_and_loop),
        cmocka_unit_test(slow),
        cmocka_unit_test(errors),
        cmocka_unit_test(formats),
        cmocka_unit_test(attachments),
        cmocka_unit_test(topics),
        cmocka_unit_test(topic_of_a_long_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
