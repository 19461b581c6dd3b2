/* SPDX-License-Identifier: MIT */
#include "base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SOURCES = 4, EACH = 4096, GUARD = 8 };

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, ID_SIZE);
}

/* Catches: two that are the same, of one source or of two; other digits; a NUL behind them. */
static void test_distinct(void **state)
{
    static char ids[SOURCES * EACH + 1][ID_SIZE];
    const size_t n = SOURCES * EACH;

    (void)state;
    memset(ids[n], '!', ID_SIZE);
    for (size_t source = 0; source < SOURCES; source++) {
        struct id_source ours;
        id_source_init(&ours);
        for (size_t i = 0; i < EACH; i++)
            id_make(&ours, ids[source * EACH + i]);
    }
    for (size_t i = 0; i < ID_SIZE; i++)
        assert_int_equal(ids[n][i], '!');
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < ID_SIZE; k++) {
            char c = ids[i][k];
            assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
        }
    }
    qsort(ids, n, ID_SIZE, compare_ids);
    for (size_t i = 1; i < n; i++)
        assert_int_not_equal(memcmp(ids[i - 1], ids[i], ID_SIZE), 0);
}

/* Catches: a digit that hardly changes, as when a word is not used in full. */
static void test_every_digit_varies(void **state)
{
    uint16_t seen[ID_SIZE] = {0};
    struct id_source source = {.state = {1, 2}};
    char id[ID_SIZE];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        id_make(&source, id);
        for (size_t k = 0; k < ID_SIZE; k++)
            seen[k] |= (uint16_t)(1u << (id[k] <= '9' ? id[k] - '0' : id[k] - 'a' + 10));
    }
    for (size_t k = 0; k < ID_SIZE; k++)
        assert_int_equal(seen[k], 0xFFFF);
}

/* By hand, after the paper. */
static void test_known_values(void **state)
{
    struct id_source source = {.state = {1, 2}};
    char id[ID_SIZE];

    (void)state;
    assert_int_equal(id_next(&source), 0x800025);
    assert_int_equal(id_next(&source), 0x2040083);
    source = (struct id_source){.state = {1, 2}};
    id_make(&source, id);
    assert_memory_equal(id, "520008000000000038004020", ID_SIZE);
}

/* Catches: bytes not filled, or one too many, also where it takes several calls. */
static void test_random_bytes(void **state)
{
    static const size_t sizes[] = {0, 1, 255, 256, 257, 700};
    unsigned char bytes[700 + GUARD];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t n = sizes[i];
        bool changed[sizeof(bytes)] = {false};
        for (int round = 0; round < 16; round++) {
            memset(bytes, 0x77, sizeof(bytes));
            id_random_bytes(bytes, n);
            for (size_t k = 0; k < sizeof(bytes); k++)
                changed[k] |= bytes[k] != 0x77;
        }
        for (size_t k = 0; k < sizeof(bytes); k++)
            assert_int_equal(changed[k], k < n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distinct),
        cmocka_unit_test(test_every_digit_varies),
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
