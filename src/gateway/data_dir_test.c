/* SPDX-License-Identifier: MIT */
#include "gateway/data_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void test_written_once(void **state)
{
    char directory[] = "/tmp/data_dir_test_XXXXXX";
    char deep[80];
    char path[100];
    char leftover[140];
    char text[64];
    struct error e;
    bool made = false;
    bool is_open = true;
    size_t n = 7;

    (void)state;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(deep, sizeof(deep), "%s/a/b", directory);
    (void)snprintf(path, sizeof(path), "%s/seal.key", deep);
    assert_int_equal(data_dir_read(path, text, sizeof(text), &n, &is_open, &e), OK);
    assert_int_equal(n, 0);
    assert_int_equal(data_dir_make(deep, &e), OK);
    assert_int_equal(data_dir_make(deep, &e), OK);
    /* Catches: what a process of the same number left behind, as in a container all have. */
    (void)snprintf(leftover, sizeof(leftover), "%s.%ld", path, (long)getpid());
    FILE *file = fopen(leftover, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);

    assert_int_equal(data_dir_write(path, STR("one"), &made, &e), OK);
    assert_true(made);
    assert_int_equal(data_dir_write(path, STR("two"), &made, &e), OK);
    assert_false(made);
    assert_int_equal(data_dir_read(path, text, sizeof(text), &n, &is_open, &e), OK);
    assert_true(str_eq(str_of(text, n), STR("one")));
    assert_false(is_open);
    /* One that does not fit is no key. */
    assert_int_equal(data_dir_read(path, text, 4, &n, &is_open, &e), ERR_CONFIG);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(data_dir_read(path, text, sizeof(text), &n, &is_open, &e), OK);
    assert_true(is_open);

    assert_int_equal(unlink(leftover), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(deep), 0); /* nothing else was left in it */
    (void)snprintf(deep, sizeof(deep), "%s/a", directory);
    assert_int_equal(rmdir(deep), 0);
    assert_int_equal(data_dir_make("", &e), ERR_CONFIG);
    assert_int_equal(data_dir_make("/dev/null/x", &e), ERR_CONFIG);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
