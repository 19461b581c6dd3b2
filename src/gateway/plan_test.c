/* SPDX-License-Identifier: MIT */
#include "gateway/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gateway/gateway_priv.h"

enum { OUT_MAX = 1024 * 1024 };

#define MARK "(API_KEY_HAS_BEEN_REDACTED)"

/* What becomes of the value, with these keys. */
static void check(const char *const *secrets, size_t n, struct str value, struct str want)
{
    struct backend_key keys[KEYRING_KEYS_MAX] = {{.name = STR_NULL}};
    struct backend_config config = {.keys = keys, .keys_n = n};
    const struct backend backend = {.config = &config};
    struct buf out;

    buf_init(&out, OUT_MAX);
    for (size_t i = 0; i < n; i++)
        keys[i].key = secret_new(str_c(secrets[i]));
    plan_add_redacted(&backend, value, &out);
    if (!str_eq(buf_str(&out), want))
        fail_msg("%.*s: %.*s", STR_ARG(str_head(value, 80)), STR_ARG(str_head(buf_str(&out), 80)));
    struct arena arena;
    arena_init(&arena, 2 * OUT_MAX, 4096, NULL);
    struct str text = plan_redact_keys(&backend, value, &arena);
    assert_true(str_eq(text, want));
    assert_true(text.p == value.p || !str_eq(value, want)); /* copied only where it must be */
    arena_fini(&arena);
    for (size_t i = 0; i < n; i++)
        secret_free(&keys[i].key);
    buf_fini(&out);
}

/* Catches: a key, or a part of one, that goes on in a header's value, and a value that is changed
 * though it holds none. */
static void test_values(void **state)
{
    static const char *const secrets[] = {"key-one", "key-one-and-more", "short", "six666"};
    static const struct {
        const char *value;
        const char *want;
    } cases[] = {
        {"", ""},
        {"nothing", "nothing"},
        {"key-on", "key-on"},
        {"short", "short"},
        {"key-one", MARK},
        {"key-one-and-more", MARK},
        {"key-one-and-mor", MARK "-and-mor"},
        {"key-onekey-one-and-moresix666", MARK MARK MARK},
        {"a key-one, six666; kkey-onee k", "a " MARK ", " MARK "; k" MARK "e k"},
        {"six66six666six66", "six66" MARK "six66"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check(secrets, COUNT_OF(secrets), str_c(cases[i].value), str_c(cases[i].want));
        check(secrets, 0, str_c(cases[i].value), str_c(cases[i].value));
    }
    check(secrets, COUNT_OF(secrets), STR_NULL, STR(""));
}

/* Catches: time that grows with the keys' number times the square of a value's length. */
static void test_many_in_one_value(void **state)
{
    static const char *secrets[KEYRING_KEYS_MAX];
    static char texts[KEYRING_KEYS_MAX][16];
    struct buf value;
    struct buf want;

    (void)state;
    buf_init(&value, OUT_MAX);
    buf_init(&want, OUT_MAX);
    for (size_t i = 0; i < KEYRING_KEYS_MAX; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "secret%zu", i + 100);
        secrets[i] = texts[i];
    }
    for (int i = 0; i < 30000; i++) {
        (void)buf_add(&value, STR("secret163"));
        (void)buf_add(&want, STR(MARK));
    }
    check(secrets, KEYRING_KEYS_MAX, buf_str(&value), buf_str(&want));
    buf_fini(&value);
    buf_fini(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_many_in_one_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
