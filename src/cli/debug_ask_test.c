/* SPDX-License-Identifier: MIT */
/* debug-stream's arguments, and the request that becomes of them. */
#include "cli/debug_ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

enum { ARGS_MAX = 8, TEXT_MAX = 8192, ARENA_MAX = 64 * 1024 * 1024 };

struct asked {
    struct arena arena;
    struct debug_ask ask;
    struct error e;
    char *argv[ARGS_MAX];
    int argc;
    char err[TEXT_MAX];
    bool understood;
};

/* args: ended by NULL. input: of the standard input. */
static void ask(struct asked *a, const char *const *args, const char *input)
{
    memset(a, 0, sizeof(*a));
    arena_init(&a->arena, ARENA_MAX, 4096, NULL);
    for (; args[a->argc] != NULL; a->argc++)
        a->argv[a->argc] = str_dup(str_c(args[a->argc]));
    FILE *err = fmemopen(a->err, sizeof(a->err), "w");
    a->understood = debug_ask_arguments(&a->ask, a->argc, a->argv, err);
    assert_int_equal(fclose(err), 0);
    if (!a->understood)
        return;
    FILE *in = tmpfile();
    assert_non_null(in);
    assert_int_equal(fwrite(input, 1, strlen(input), in), strlen(input));
    rewind(in);
    enum error_code code = debug_ask_make(&a->ask, in, &a->arena, &a->e);
    assert_int_equal(code, a->e.code);
    (void)fclose(in);
}

static void over(struct asked *a)
{
    for (int i = 0; i < a->argc; i++)
        mem_free(a->argv[i]);
    arena_fini(&a->arena);
}

static void expect(struct str got, const char *want)
{
    if (!str_eq(got, str_c(want)))
        fail_msg("got %.*s, want %s", STR_ARG(got), want);
}

static void expect_in(struct str text, const char *part)
{
    if (str_find(text, str_c(part), 0) == SIZE_MAX)
        fail_msg("%s is not in %.*s", part, STR_ARG(text));
}

/* Catches: a base that is asked for itself, a path that is changed, the wrong body for it. */
static void test_whom(void **state)
{
    static const struct {
        const char *url;
        const char *protocol; /* NULL: by the path */
        const char *target;
        const char *body;
    } cases[] = {
        {"http://a", NULL, "/v1/chat/completions",
         "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"http://a/v2", NULL, "/v2/chat/completions",
         "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"http://a/x/chat?y=1", NULL, "/x/chat?y=1",
         "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"},
        {"http://a/v1/messages", NULL, "/v1/messages",
         "{\"model\":\"m\",\"max_tokens\":4096,\"stream\":true,\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}]}"},
        {"http://a", "anthropic", "/v1/messages",
         "{\"model\":\"m\",\"max_tokens\":4096,\"stream\":true,\"messages\":[{\"role\":\"user\","
         "\"content\":\"x\"}]}"},
        {"http://a/v1", "openai-responses", "/v1/responses",
         "{\"model\":\"m\",\"stream\":true,\"input\":\"x\"}"},
        {"http://a/v1/responses", NULL, "/v1/responses",
         "{\"model\":\"m\",\"stream\":true,\"input\":\"x\"}"},
        {"http://a/v1beta", NULL, "/v1beta/models/m:streamGenerateContent?alt=sse",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}]}"},
        {"http://a", "gemini", "/v1beta/models/m:streamGenerateContent?alt=sse",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}]}"},
        {"http://a/v1/models/b:streamGenerateContent?alt=sse", NULL,
         "/v1/models/b:streamGenerateContent?alt=sse",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}]}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *args[ARGS_MAX] = {"--url", cases[i].url, "--model=m", "x"};
        struct asked a;
        if (cases[i].protocol != NULL) {
            args[4] = "--protocol";
            args[5] = cases[i].protocol;
        }
        ask(&a, args, "");
        assert_true(a.understood);
        assert_int_equal(a.e.code, OK);
        expect(a.ask.target, cases[i].target);
        expect(a.ask.body, cases[i].body);
        expect_in(a.ask.head, "host: a\r\n");
        over(&a);
    }
}

static void test_prompt(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const dashes[] = {"--", "--not-an-option", NULL};
    struct asked a;

    (void)state;
    ask(&a, none, "two\nlines \"quoted\"\n");
    expect(a.ask.body, "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":"
                       "\"two\\nlines \\\"quoted\\\"\"}]}");
    expect(a.ask.shown, "http://127.0.0.1:8000/v1/chat/completions");
    over(&a);
    ask(&a, none, " \n");
    expect_in(a.ask.body, "\"Hello\"");
    over(&a);
    ask(&a, dashes, "");
    expect_in(a.ask.body, "\"--not-an-option\"");
    over(&a);
    char *large = mem_raw(8 * 1024 * 1024 + 3);
    memset(large, 'x', 8 * 1024 * 1024 + 2);
    large[8 * 1024 * 1024 + 2] = '\0';
    ask(&a, none, large);
    assert_int_equal(a.e.code, ERR_TOO_LARGE);
    over(&a);
    mem_free(large);
}

/* Catches: this machine's key sent elsewhere; a key that makes a line of its own. */
static void test_key(void **state)
{
    char dir[] = "/tmp/debug-ask-XXXXXX";
    char path[64];
    struct asked a;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/client.key", dir);
    FILE *file = fopen(path, "we");
    assert_true(file != NULL && fputs("sk-of-the-file\n", file) > 0);
    assert_int_equal(fclose(file), 0);
    const char *const here[] = {"--data-dir", dir, "x", NULL};
    const char *const elsewhere[] = {"--data-dir", dir, "--url", "https://example.test", "x", NULL};
    const char *const said[] = {"--data-dir", dir, "--api-key=sk-said", "x", NULL};
    const char *const split[] = {"--api-key", "sk\r\nx-evil: 1", "x", NULL};

    assert_int_equal(unsetenv("LLM_INTERACTIVE_PROXY_API_KEY"), 0);
    ask(&a, here, "");
    expect_in(a.ask.head, "authorization: Bearer sk-of-the-file\r\n");
    over(&a);
    ask(&a, elsewhere, "");
    assert_int_equal(str_find(a.ask.head, STR("authorization"), 0), SIZE_MAX);
    over(&a);
    ask(&a, said, "");
    expect_in(a.ask.head, "authorization: Bearer sk-said\r\n");
    over(&a);
    assert_int_equal(setenv("LLM_INTERACTIVE_PROXY_API_KEY", "sk-of-the-environment", 1), 0);
    ask(&a, elsewhere, "");
    expect_in(a.ask.head, "authorization: Bearer sk-of-the-environment\r\n");
    over(&a);
    assert_int_equal(unsetenv("LLM_INTERACTIVE_PROXY_API_KEY"), 0);
    ask(&a, split, "");
    assert_int_equal(a.e.code, ERR_BAD_REQUEST);
    over(&a);
    assert_int_equal(unlink(path) | rmdir(dir), 0);
}

static void test_refused(void **state)
{
    static const struct {
        const char *args[4];
        const char *why;
    } cases[] = {
        {{"--nonsense"}, "unknown argument --nonsense"},
        {{"--nonsense=1"}, "unknown argument --nonsense=1"},
        {{"--model"}, "--model needs a value"},
        {{"--timeout", "0"}, "--timeout needs seconds"},
        {{"--timeout=many"}, "--timeout needs seconds"},
        {{"--protocol", "soap"}, "unknown protocol soap"},
        {{"two", "prompts"}, "more than one PROMPT"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct asked a;
        ask(&a, cases[i].args, "");
        assert_false(a.understood);
        expect_in(str_c(a.err), cases[i].why);
        over(&a);
    }
    static const char *const url[] = {"--url", "ftp://a", NULL};
    static const char *const good[] = {"--timeout=5", "--insecure", "--ca-file", "f", "x", NULL};
    struct asked a;
    ask(&a, url, "");
    assert_int_equal(a.e.code, ERR_CONFIG);
    over(&a);
    ask(&a, good, "");
    assert_int_equal(a.ask.timeout_ms, 5000);
    assert_true(a.ask.insecure);
    assert_string_equal(a.ask.ca_file, "f");
    over(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whom),
        cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
