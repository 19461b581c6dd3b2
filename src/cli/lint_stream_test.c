/* SPDX-License-Identifier: MIT */
/* The command lint-stream: its arguments, exit codes and words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "cli/lint_stream.h"

enum { ARGS_MAX = 8, TEXT_MAX = 8192 };

#define HEAD "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
#define CHUNK(delta, finish)                                                                \
    "data: " HEAD "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish \
    "}]}\n\n"
#define STREAM CHUNK("{\"role\":\"assistant\",\"content\":\"hi\"}", "null") CHUNK("{}", "\"stop\"")
#define WHOLE                                                                                  \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":[" \
    "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\"},"                    \
    "\"finish_reason\":\"stop\"}]}"

static int run(const char *const *args, struct str input, char *out, char *err)
{
    char *argv[ARGS_MAX];
    int argc = 0;
    FILE *in = tmpfile();
    FILE *to = fmemopen(out, TEXT_MAX, "w");
    FILE *wrong = fmemopen(err, TEXT_MAX, "w");

    out[0] = err[0] = '\0';
    assert_non_null(in);
    assert_int_equal(fwrite(input.p, 1, input.n, in), input.n);
    rewind(in);
    for (; args[argc] != NULL; argc++)
        argv[argc] = str_dup(str_c(args[argc]));
    int code = lint_stream_run(argc, argv, in, to, wrong);
    for (int i = 0; i < argc; i++)
        mem_free(argv[i]);
    assert_int_equal(fclose(in) | fclose(to) | fclose(wrong), 0);
    return code;
}

static void test_what_is_right_and_what_is_not(void **state)
{
    static const char *const stream[] = {"--protocol", "openai-chat", NULL};
    static const char *const whole[] = {"--whole", "--protocol=openai-chat", NULL};
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];

    (void)state;
    assert_int_equal(run(stream, STR(STREAM "data: [DONE]\n\n"), out, err), LINT_STREAM_OK);
    assert_string_equal(out, "");
    assert_int_equal(run(stream, STR(STREAM), out, err), LINT_STREAM_VIOLATION);
    assert_string_equal(out, "line 4: the stream ends with [DONE], or an error\n");
    assert_string_equal(err, "");
    assert_int_equal(run(whole, STR(WHOLE), out, err), LINT_STREAM_OK);
    assert_int_equal(run(whole, STR(STREAM), out, err), LINT_STREAM_VIOLATION);
    assert_memory_equal(out, "line 1: ", 8);
    assert_int_equal(run(stream, STR(""), out, err), LINT_STREAM_VIOLATION);
}

/* Catches: a line lost where one piece of the input ends and the next begins. */
static void test_more_than_one_piece(void **state)
{
    static const char *const stream[] = {"--protocol", "openai-chat", NULL};
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    char want[64];
    struct buf input;
    int lines = 0;

    (void)state;
    buf_init(&input, 1024 * 1024);
    (void)buf_add(&input, STR(CHUNK("{\"role\":\"assistant\"}", "null")));
    for (lines = 2; input.n < 200 * 1024UL; lines += 2)
        (void)buf_add(&input, STR(CHUNK("{\"content\":\"something\"}", "null")));
    size_t good = input.n;
    (void)buf_add(&input, STR(CHUNK("{}", "\"stop\"") "data: [DONE]\n\n"));
    assert_int_equal(run(stream, buf_str(&input), out, err), LINT_STREAM_OK);
    input.n = good;
    (void)buf_add(&input, STR("data: nothing\n\n"));
    assert_int_equal(run(stream, buf_str(&input), out, err), LINT_STREAM_VIOLATION);
    (void)snprintf(want, sizeof(want), "line %d: each frame", lines + 1);
    assert_memory_equal(out, want, strlen(want));
    buf_fini(&input);
}

static void write_file(const char *path, struct str text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fwrite(text.p, 1, text.n, file), text.n);
    assert_int_equal(fclose(file), 0);
}

static void test_files(void **state)
{
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];
    char right[] = "/tmp/lint_stream_a_XXXXXX";
    char wrong[] = "/tmp/lint_stream_b_XXXXXX";
    char expected[256];

    (void)state;
    assert_int_equal(close(mkstemp(right)) | close(mkstemp(wrong)), 0);
    write_file(right, STR(STREAM "data: [DONE]\n\n"));
    write_file(wrong, STR(STREAM));
    const char *const good[] = {"--protocol", "openai-chat", right, right, NULL};
    const char *const all[] = {"--protocol", "openai-chat", wrong, right, wrong, NULL};
    const char *const absent[] = {"--protocol", "openai-chat", wrong, "/nowhere/at/all", NULL};
    assert_int_equal(run(good, STR(""), out, err), LINT_STREAM_OK);
    assert_string_equal(out, "");
    assert_int_equal(run(all, STR(""), out, err), LINT_STREAM_VIOLATION);
    (void)snprintf(expected, sizeof(expected),
                   "%s: line 4: the stream ends with [DONE], or an error\n", wrong);
    assert_int_equal(strlen(out), 2 * strlen(expected));
    assert_memory_equal(out, expected, strlen(expected));
    assert_int_equal(run(absent, STR(""), out, err), LINT_STREAM_USAGE);
    assert_string_equal(out, expected);
    assert_non_null(strstr(err, "cannot open /nowhere/at/all"));
    assert_int_equal(unlink(right) | unlink(wrong), 0);
}

static void test_arguments(void **state)
{
    static const struct {
        const char *args[4];
        int code;
        const char *said;
    } cases[] = {
        {{NULL}, LINT_STREAM_USAGE, "--protocol is missing"},
        {{"--protocol", NULL}, LINT_STREAM_USAGE, "--protocol needs a name"},
        {{"--protocol", "morse", NULL}, LINT_STREAM_USAGE, "unknown protocol morse"},
        {{"--quiet", NULL}, LINT_STREAM_USAGE, "unknown argument --quiet"},
        {{"--protocol=openai-chat", "--whole", "--array", NULL},
         LINT_STREAM_USAGE,
         "--whole and --array exclude one another"},
        {{"--protocol=openai-chat", "--array", NULL},
         LINT_STREAM_USAGE,
         "--array: no such streams in openai-chat"},
        {{"--help", NULL}, LINT_STREAM_OK, "--protocol NAME  openai-chat"},
    };
    static char out[TEXT_MAX];
    static char err[TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(run(cases[i].args, STR(""), out, err), cases[i].code);
        const char *said = cases[i].code == LINT_STREAM_OK ? out : err;
        if (str_find(str_c(said), str_c(cases[i].said), 0) == SIZE_MAX)
            fail_msg("case %zu: %s", i, said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_right_and_what_is_not),
        cmocka_unit_test(test_more_than_one_piece),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_arguments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
