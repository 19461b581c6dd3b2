/* SPDX-License-Identifier: MIT */
/* Arguments: the table of tests/golden/commands/args.txt, and what holds for all texts. */
#include "command/args.h"

#include "command/command_table_test.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 * 1024 * 1024, 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* --- the table ---------------------------------------------------------------------------- */

/* What args_read takes, args_close ends where it ends; what args_close ends has nothing open. */
static void check_agree(struct str text, bool reads, const struct error *e)
{
    struct str whole = str_print(&arena, "(%.*s) x)", STR_ARG(text));
    const char *why = NULL;
    size_t at = SIZE_MAX;
    size_t close = args_close(whole, 0, &why, &at);

    if (close == SIZE_MAX) {
        assert_non_null(why);
        assert_true(at < whole.n);
    } else {
        assert_true(close < whole.n && whole.p[close] == ')');
    }
    if (reads && str_find_char(text, '\n', 0) == SIZE_MAX)
        assert_int_equal(close, text.n + 1);
    if (!reads && close == text.n + 1 &&
        (str_starts(str_c(e->detail), STR("Invalid arguments: the quote is")) ||
         str_starts(str_c(e->detail), STR("Invalid arguments: the bracket is"))))
        fail_msg("closed, and yet: %s", e->detail);
}

static void say_args(const struct command_table_case *one, struct arena *out_arena,
                     struct buf *says)
{
    struct args args;
    struct error e;
    bool reads = args_read(one->text, out_arena, &args, &e) == OK;

    check_agree(one->text, reads, &e);
    if (!reads) {
        assert_int_equal(e.code, ERR_BAD_REQUEST);
        assert_true(str_starts(str_c(e.detail), STR("Invalid arguments: ")));
        command_table_encode(says, "!", str_from(str_c(e.detail), 19));
        return;
    }
    assert_true(args.given);
    for (size_t i = 0; i < args.n; i++) {
        const struct arg *arg = &args.items[i];
        assert_true(arg->at < one->text.n);
        assert_int_equal(str_is_null(arg->key), str_is_null(arg->written));
        struct str line = arg->value;
        if (!str_is_null(arg->key)) {
            assert_true(str_starts(str_from(one->text, arg->at), arg->written));
            line = str_print(out_arena, "%.*s = %.*s", STR_ARG(arg->key), STR_ARG(arg->value));
        }
        command_table_encode(says, ">", line);
    }
}

static void table(void **state)
{
    (void)state;
    size_t cases = command_table_run("tests/golden/commands/args.txt", say_args);
    assert_true(cases >= 90);
}

/* --- by hand ------------------------------------------------------------------------------ */

static void none_are_given(void **state)
{
    struct args args;
    struct error e;

    (void)state;
    assert_int_equal(args_read(STR_NULL, &arena, &args, &e), OK);
    assert_false(args.given);
    assert_int_equal(args.n, 0);
    assert_int_equal(args_read(STR(""), &arena, &args, &e), OK);
    assert_true(args.given);
    assert_int_equal(args.n, 0);
}

static void names_are_alike(void **state)
{
    (void)state;
    assert_true(str_eq(args_name(STR("Tool_Loop-MODE_9"), &arena), STR("tool-loop-mode-9")));
    assert_int_equal(args_name(STR(""), &arena).n, 0);
}

static void parenthesis_is_closed(void **state)
{
    static const struct {
        const char *text;
        size_t open;
        size_t close; /* SIZE_MAX: at is where it is wrong */
        size_t at;
    } cases[] = {
        {"()", 0, 1, 0},
        {"x(a)b)", 1, 3, 0},
        {"(a(b)c)d", 0, 6, 0},
        {"(\")\")", 0, 4, 0},
        {"(a\")\")", 0, 3, 0},
        {"(a, ')')", 0, 7, 0},
        {"(a=')')", 0, 6, 0},
        {"('\\')')", 0, 6, 0},
        {"({\"a\":\")\"})", 0, 10, 0},
        {"([\n)\n])", 0, 6, 0},
        {"(a[)])", 0, 3, 0},
        {"(", 0, SIZE_MAX, 0},
        {"x (a", 2, SIZE_MAX, 2},
        {"(a\n)", 0, SIZE_MAX, 0},
        {"(a\r)", 0, SIZE_MAX, 0},
        {"(a, \"b)", 0, SIZE_MAX, 4},
        {"(\"b\n\")", 0, SIZE_MAX, 1},
        {"('\\\n')", 0, SIZE_MAX, 1},
        {"('\\", 0, SIZE_MAX, 1},
        {"([)", 0, SIZE_MAX, 1},
        {"([}])", 0, SIZE_MAX, 2},
        {"([\"])", 0, SIZE_MAX, 2},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *why = NULL;
        size_t at = SIZE_MAX;
        size_t close = args_close(str_c(cases[i].text), cases[i].open, &why, &at);
        if (close != cases[i].close || (close == SIZE_MAX && at != cases[i].at))
            fail_msg("%s: %zd, at %zd", cases[i].text, (ssize_t)close, (ssize_t)at);
        assert_int_equal(why != NULL, close == SIZE_MAX);
    }
}

static void brackets_have_a_depth(void **state)
{
    char text[2 * ARGS_DEPTH_MAX + 8];
    const char *why;
    size_t at;

    (void)state;
    for (size_t depth = 1; depth <= ARGS_DEPTH_MAX + 1; depth++) {
        text[0] = '(';
        for (size_t i = 0; i < depth; i++) {
            text[1 + i] = i % 3 == 0 ? '{' : '[';
            text[2 * depth - i] = i % 3 == 0 ? '}' : ']';
        }
        text[2 * depth + 1] = ')';
        size_t close = args_close(str_of(text, 2 * depth + 2), 0, &why, &at);
        assert_int_equal(close, depth <= ARGS_DEPTH_MAX ? 2 * depth + 1 : SIZE_MAX);
    }
    assert_int_equal(at, ARGS_DEPTH_MAX + 1);
}

static void there_may_be_so_many(void **state)
{
    struct buf text;
    struct args args;
    struct error e;

    (void)state;
    buf_init(&text, 1 << 16);
    for (size_t n = 1; n <= ARGS_MAX + 1; n++) {
        buf_print(&text, "%sk%zu=v", n == 1 ? "" : ", ", n);
        enum error_code code = args_read(buf_str(&text), &arena, &args, &e);
        assert_int_equal(code, n <= ARGS_MAX ? OK : ERR_BAD_REQUEST);
        if (code == OK)
            assert_int_equal(args.n, n);
    }
    assert_non_null(strstr(e.detail, "too many"));
    buf_fini(&text);
}

/* Whatever it is, what is wrong with it is said whole. */
static void faults_are_said_whole(void **state)
{
    static const char *const pieces[] = {"é", "日", "a", " ", "=", "\"", "'", ",", "😀", "[", "{"};
    struct buf text;
    struct args args;
    struct error e;
    uint32_t seed = 7;

    (void)state;
    buf_init(&text, 1 << 16);
    for (int round = 0; round < 3000; round++) {
        buf_reset(&text);
        for (uint32_t i = seed % 300; i > 0; i--) {
            seed = seed * 1664525 + 1013904223;
            uint32_t which = (seed >> 16) % COUNT_OF(pieces);
            buf_add(&text, str_c(pieces[(seed >> 28) < 12 ? which % 3 : which]));
        }
        bool reads = args_read(buf_str(&text), &arena, &args, &e) == OK;
        check_agree(buf_str(&text), reads, &e);
        if (!reads) {
            assert_true(strlen(e.detail) < ERROR_DETAIL_SIZE - 1);
            assert_non_null(strstr(e.detail, ", at character "));
        }
        arena_rewind(&arena);
        seed = seed * 1664525 + 1013904223;
    }
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(table, setup, teardown),
        cmocka_unit_test_setup_teardown(none_are_given, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_alike, setup, teardown),
        cmocka_unit_test_setup_teardown(parenthesis_is_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(brackets_have_a_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(there_may_be_so_many, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_are_said_whole, setup, teardown),
    };
    return cmocka_run_group_tests_name("args", tests, NULL, NULL);
}
