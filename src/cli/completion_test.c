/* SPDX-License-Identifier: MIT */
#include "cli/completion.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/man_page.h"
#include "state/config.h"

static struct str script(struct arena *arena, const char *shell)
{
    struct str text = completion_script(str_c(shell), arena);

    assert_false(str_is_null(text));
    assert_true(str_ends(text, STR("\n")));
    return text;
}

/* Each option is in each script, and in the manual page. */
static void all_options(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    struct config_flag flag;
    struct arena arena;
    char want[80];

    (void)state;
    arena_init(&arena, 1024 * 1024, 4096, NULL);
    struct str page = man_page("1.2.3", &arena);
    size_t i = 0;
    for (; config_args_flag(i, &flag); i++) {
        assert_true(str_starts(str_c(flag.name), STR("--")));
        for (size_t s = 0; s < COUNT_OF(shells); s++) {
            bool fish = s == 2;
            (void)snprintf(want, sizeof(want), "%s%s", fish ? "-l " : "",
                           flag.name + (fish ? 2 : 0));
            if (str_find(script(&arena, shells[s]), str_c(want), 0) == SIZE_MAX)
                fail_msg("%s: no %s", shells[s], want);
        }
        /* In roff a "-" that is one is "\-". */
        size_t n = 0;
        for (const char *p = flag.name; *p != '\0'; p++) {
            if (*p == '-')
                want[n++] = '\\';
            want[n++] = *p;
        }
        if (str_find(page, str_of(want, n), 0) == SIZE_MAX)
            fail_msg("manual page: no %s", flag.name);
    }
    assert_true(i > 10);
    assert_false(config_args_flag(i, &flag));
    assert_true(str_starts(page, STR(".TH LLM\\-PROXY 1 \"\" \"llm\\-proxy 1.2.3\"")));
    assert_true(str_is_null(completion_script(STR("csh"), &arena)));
    assert_true(str_is_null(completion_script(STR(""), &arena)));
    arena_fini(&arena);
}

/* Texts do not end their quotes early. */
static void quotes(void **state)
{
    struct arena arena;
    struct str line;

    (void)state;
    arena_init(&arena, 1024 * 1024, 4096, NULL);
    struct str text = script(&arena, "fish");
    while (str_cut(&text, '\n', &line)) {
        size_t n = 0;
        for (size_t i = 0; i < line.n; i++)
            n += line.p[i] == '\'';
        assert_true(line.n == 0 || line.p[0] == '#' || n % 2 == 0);
    }
    text = script(&arena, "zsh");
    while (str_cut(&text, '\n', &line)) {
        if (!str_starts(line, STR("    '--")))
            continue;
        size_t open = 0;
        for (size_t i = 0; i < line.n; i++) {
            if (line.p[i] == '\\' && i + 1 < line.n)
                i++;
            else
                open += line.p[i] == '[' || line.p[i] == ']';
        }
        assert_int_equal(open, 2);
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_options),
        cmocka_unit_test(quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
