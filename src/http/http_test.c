/* SPDX-License-Identifier: MIT */
#include "http/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void test_list_has(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *token;
        bool has;
    } cases[] = {
        {"close", "close", true},
        {"Close", "close", true},
        {"keep-alive, close", "close", true},
        {"a ,\tclose ,b", "close", true},
        {",,close", "close", true},
        {"", "close", false},
        {"closed", "close", false},
        {"not close", "close", false},
        {"clos,e", "close", false},
        {"x-close", "close", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(http_list_has(str_c(cases[i].list), str_c(cases[i].token)), cases[i].has);
    assert_false(http_list_has(STR_NULL, STR("close")));
}

static void test_headers(void **state)
{
    (void)state;
    struct arena arena;
    struct http_headers headers = {0};
    char names[100][4];

    arena_init(&arena, 1 << 20, 512, NULL);
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "N%02u", i % 100);
        http_headers_add(&headers, &arena, str_c(names[i]), str_c(names[i]));
    }
    http_headers_add(&headers, &arena, STR("n05"), STR("second"));
    assert_int_equal(headers.n, 101);
    assert_true(str_eq(http_headers_get(&headers, STR("n05")), STR("N05")));
    assert_true(str_eq(http_headers_get(&headers, STR("N99")), STR("N99")));
    assert_true(str_is_null(http_headers_get(&headers, STR("N9"))));
    arena_fini(&arena);
    /* Past the arena's cap nothing is written, and the arena says so. */
    headers = (struct http_headers){0};
    arena_init(&arena, 600, 512, NULL);
    for (int i = 0; i < 100; i++)
        http_headers_add(&headers, &arena, STR("a"), STR("b"));
    assert_true(arena_overflowed(&arena));
    assert_true(headers.n < 100);
    arena_fini(&arena);
}

static void test_reasons(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *reason;
    } cases[] = {
        {100, "Continue"},
        {200, "OK"},
        {204, "No Content"},
        {404, "Not Found"},
        {429, "Too Many Requests"},
        {503, "Service Unavailable"},
        {529, "Site is overloaded"},
        {299, "Unknown"},
        {99, "Unknown"},
        {599, "Unknown"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_true(str_eq(http_reason(cases[i].status), str_c(cases[i].reason)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_has),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
