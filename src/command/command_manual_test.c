/* SPDX-License-Identifier: MIT */
/* Catches: a page that leaves out a command, a key, a spelling or an answer; a table that a reader
 * of Markdown takes for another; two runs that differ. */
#include "command/command_test_priv.h"

#include "command/knob.h"
#include "command/names.h"

static void assert_in(struct str page, struct str part)
{
    if (str_find(page, part, 0) == SIZE_MAX)
        fail_msg("no \"%.*s\"", STR_ARG(part));
}

/* A text of the table up to its '*', and behind it. */
static void assert_said(struct str page, const char *said)
{
    struct str rest = str_c(said);
    struct str part;

    if (said == NULL)
        return;
    assert_true(str_cut(&rest, '*', &part));
    assert_in(page, part);
    if (!str_is_null(rest))
        assert_in(page, rest);
}

static void complete(void **state)
{
    struct fixture *f = *state;
    struct str page = command_manual(&f->arena);
    struct str one;

    assert_true(str_starts(page, STR("# Commands\n")));
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_table[i];
        assert_in(page, str_print(&f->arena, "\n### %s\n", command->name));
        assert_in(page, str_c(command->help));
        assert_in(page, str_print(&f->arena, "`!/%s`", command->usage));
        struct str examples = str_c(command->examples);
        while (str_cut(&examples, '\n', &one))
            assert_in(page, str_print(&f->arena, "\n!/%.*s\n", STR_ARG(one)));
    }
    for (size_t i = 0; i < KNOB_COUNT; i++) {
        assert_in(page, str_print(&f->arena, "\n| `%s` | ", knob_specs[i].key));
        struct str aliases = str_c(knob_specs[i].aliases);
        while (str_cut(&aliases, '|', &one))
            assert_in(page, str_print(&f->arena, "`%.*s`", STR_ARG(one)));
        assert_said(page, knob_table[i].said);
        assert_said(page, knob_table[i].unsaid);
        assert_said(page, knob_table[i].wrong);
        assert_said(page, knob_table[i].range);
    }
    assert_true(str_find(page, STR("example\n"), 0) == SIZE_MAX); /* the made-up key */
}

/* "| `typed` | `line`<br>`line` |": what tests read. */
static void rows(void **state)
{
    struct fixture *f = *state;
    struct str page = command_manual(&f->arena);
    struct str line;
    size_t n = 0;

    size_t begin = str_find(page, STR("| typed | answer |\n|---|---|\n"), 0);
    assert_int_not_equal(begin, SIZE_MAX);
    struct str rest = str_from(page, begin + 29);
    while (str_cut(&rest, '\n', &line) && line.n > 0) {
        size_t bars = 0;
        size_t quotes = 0;
        for (size_t i = 0; i < line.n; i++) {
            bars += line.p[i] == '|';
            quotes += line.p[i] == '`';
        }
        assert_int_equal(bars, 3);
        assert_int_equal(quotes % 2, 0);
        assert_true(str_starts(line, STR("| `!/")));
        assert_true(str_ends(line, STR("` |")));
        n++;
    }
    assert_true(n > 100);
}

static void same_again(void **state)
{
    struct fixture *f = *state;

    assert_true(str_eq(command_manual(&f->arena), command_manual(&f->arena)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(complete),
        cmocka_unit_test(rows),
        cmocka_unit_test(same_again),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
