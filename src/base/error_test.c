/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"

/* Each line of the table gives a code with its name, a text a client may see, and a status. */
static void test_table(void **state)
{
    (void)state;
    assert_int_equal(OK, 0);
    for (int i = 1; i < ERROR_COUNT; i++) {
        enum error_code code = (enum error_code)i;
        const char *name = error_name(code);
        assert_true(strlen(name) > 0);
        assert_true(strlen(error_text(code)) > 0);
        assert_in_range(error_status_of(code), 400, 599);
        assert_in_range(error_retry_of(code), RETRY_NEVER, RETRY_ELSEWHERE);
        assert_in_range(error_level_of(code), LOG_DEBUG, LOG_ERROR);
        for (int k = 1; k < i; k++)
            assert_string_not_equal(error_name((enum error_code)k), name);
    }
    assert_string_equal(error_name(ERR_RATE_LIMITED), "RATE_LIMITED");
    assert_string_equal(error_text(ERR_RATE_LIMITED), "Rate limit exceeded");
    assert_int_equal(error_status_of(ERR_RATE_LIMITED), 429);
    assert_int_equal(error_retry_of(ERR_RATE_LIMITED), RETRY_ELSEWHERE);
    assert_int_equal(error_retry_of(ERR_UPSTREAM_BROKEN), RETRY_SAME);
    assert_int_equal(error_level_of(ERR_SYSTEM), LOG_ERROR);
}

static void test_fail(void **state)
{
    struct error e = {.status = 418};
    int line = __LINE__ + 1;
    enum error_code code = FAIL(&e, ERR_NOT_FOUND, "no %s, %d", "x", 7);

    (void)state;
    assert_int_equal(code, ERR_NOT_FOUND);
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_string_equal(e.detail, "no x, 7");
    assert_int_equal(e.line, line);
    assert_non_null(strstr(e.file, "error_test.c"));
    /* An older error's status does not stay. */
    assert_int_equal(error_status(&e), 404);
    e.status = 451;
    assert_int_equal(error_status(&e), 451);
}

/* Catches: an upstream's words with ours before them, or kept for the next error. */
static void test_said(void **state)
{
    struct arena arena;
    struct error e;

    (void)state;
    arena_init(&arena, 4096, 512, NULL);
    (void)FAIL(&e, ERR_POLICY, "%s", "d");
    assert_true(str_eq(error_message(&e, &arena), STR("The backend refused the content: d")));
    e.said = STR("no");
    assert_true(str_eq(error_message(&e, &arena), STR("no")));
    e.said_after = true;
    assert_true(str_eq(error_message(&e, &arena), STR("The backend refused the content: d: no")));
    (void)FAIL(&e, ERR_POLICY, "%s", "");
    assert_true(str_eq(error_message(&e, &arena), STR("The backend refused the content")));
    arena_fini(&arena);
}

static enum error_code passed_on(struct error *e, bool *ret_reached)
{
    *ret_reached = false;
    TRY(OK);
    TRY(FAIL(e, ERR_FORBIDDEN, "%s", ""));
    *ret_reached = true;
    return OK;
}

static void test_try(void **state)
{
    struct error e;
    bool reached;

    (void)state;
    assert_int_equal(passed_on(&e, &reached), ERR_FORBIDDEN);
    assert_false(reached);
}

/* A detail that is too long ends with a whole character, wherever the cut falls. */
static void test_long_detail(void **state)
{
    char text[400];
    const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};

    (void)state;
    for (size_t kind = 0; kind < COUNT_OF(characters); kind++) {
        size_t size = strlen(characters[kind]);
        for (size_t offset = 0; offset < 4; offset++) {
            struct error e;
            memset(text, 'x', offset);
            for (size_t i = offset; i + size < sizeof(text); i += size) {
                memcpy(text + i, characters[kind], size);
                text[i + size] = '\0';
            }
            (void)FAIL(&e, ERR_CONFIG, "%s", text);
            size_t n = strlen(e.detail);
            assert_true(n < ERROR_DETAIL_SIZE && n >= ERROR_DETAIL_SIZE - 8);
            assert_int_equal((n - offset) % size, 0);
            assert_memory_equal(e.detail, text, n);
        }
    }
}

static void test_message(void **state)
{
    struct arena arena;
    struct error e;

    (void)state;
    arena_init(&arena, 4096, 512, NULL);
    (void)FAIL(&e, ERR_MODEL_NOT_FOUND, "gpt-%d", 9);
    assert_true(str_eq(error_message(&e, &arena), STR("Model not found: gpt-9")));
    (void)FAIL(&e, ERR_MODEL_NOT_FOUND, "%s", "");
    assert_true(str_eq(error_message(&e, &arena), STR("Model not found")));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_fail),
        cmocka_unit_test(test_said),        cmocka_unit_test(test_try),
        cmocka_unit_test(test_long_detail), cmocka_unit_test(test_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
