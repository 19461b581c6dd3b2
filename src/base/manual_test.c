/* SPDX-License-Identifier: MIT */
/* Catches: an error or a metric that the manual does not name, a table that is no table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/manual.h"
#include "base/metric.h"

enum { ARENA_MAX = 1024 * 1024 };

static void assert_has(struct str page, struct str part)
{
    if (str_find(page, part, 0) == SIZE_MAX)
        fail_msg("no \"%.*s\"", STR_ARG(part));
}

/* Each line of a table has as many columns as its head. */
static void assert_tables(struct str page)
{
    struct str line;
    size_t columns = 0;

    while (str_cut(&page, '\n', &line)) {
        size_t bars = 0;
        for (size_t i = 0; i < line.n; i++)
            bars += line.p[i] == '|';
        if (line.n > 0 && line.p[0] == '|') {
            assert_int_equal(line.p[line.n - 1], '|');
            if (columns != 0)
                assert_int_equal(bars, columns);
            columns = bars;
        } else {
            columns = 0;
        }
    }
}

static void errors(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    struct str page = manual_page(STR("errors"), &arena);
    for (int i = OK + 1; i < ERROR_COUNT; i++) {
        enum error_code code = (enum error_code)i;
        assert_has(page, str_print(&arena, "\n| `%s` | %d | %s | ", error_name(code),
                                   error_status_of(code), error_text(code)));
    }
    assert_tables(page);
    arena_fini(&arena);
}

static void metrics(void **state)
{
    static const char *const names[] = {
#define METRIC(kind, name, label, help) #name,
#include "base/metric.def"
#undef METRIC
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    struct str page = manual_page(STR("metrics"), &arena);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_has(page, str_print(&arena, "\n| `llm_proxy_%s` | ", names[i]));
    assert_has(page, STR("`llm_proxy_requests_total` | counter | `status` |"));
    assert_has(page, STR("`llm_proxy_connections` | gauge |  |"));
    assert_tables(page);
    arena_fini(&arena);
}

static void unknown(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    assert_true(str_is_null(manual_page(STR("config"), &arena)));
    assert_true(str_is_null(manual_page(STR(""), &arena)));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test(metrics),
        cmocka_unit_test(unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
