/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "state/config_priv.h"

/* "\n#name: ", or "\n#  name: " in a section, or deeper in a backend. */
static void has_option(struct str text, const char *indent, const char *name)
{
    char want[128];

    (void)snprintf(want, sizeof(want), "\n#%s%s: ", indent, name);
    if (str_find(text, str_c(want), 0) == SIZE_MAX)
        fail_msg("the example has no %s", want + 1);
}

/* Nothing is missing, and comments can be told from options. */
static void all_options(void **state)
{
    struct arena arena;
    struct str line;

    (void)state;
    arena_init(&arena, 1024 * 1024, 4096, NULL);
    struct str text = config_example(&arena);
    for (size_t i = 0; i < config_table_options_n; i++) {
        const char *dot = strchr(config_table_options[i].path, '.');
        has_option(text, dot == NULL ? "" : "  ",
                   dot == NULL ? config_table_options[i].path : dot + 1);
    }
    for (size_t i = 0; i < config_table_backend_n; i++)
        has_option(text, "    ", config_table_backend[i].path);
    while (str_cut(&text, '\n', &line)) {
        size_t shown = 0;
        for (size_t i = 0; i < line.n; i++)
            shown += ((unsigned char)line.p[i] & 0xC0) != 0x80;
        if (shown > 100)
            fail_msg("%zu columns: %.*s", shown, STR_ARG(line));
        assert_false(str_ends(line, STR(" ")));
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_options)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
