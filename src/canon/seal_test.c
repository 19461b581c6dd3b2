/* SPDX-License-Identifier: MIT */
#include "canon/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct seal ours = {.key = {{1, 2, 3, 4, 5, 6, 7}}};

static void is(struct str got, struct str wanted)
{
    if (!str_eq(got, wanted))
        fail_msg("'%.*s' instead of '%.*s'", STR_ARG(got), STR_ARG(wanted));
}

/* Both ways, for payloads of each length and vendors of each: always whole groups of four, and
 * only letters and digits where the payload is base64. */
static void test_both_ways(void **state)
{
    static const char text[] = "EqQBCgIYAhIkMTU5ZjU+/x==EqQBCgIYAhIkMTU5ZjU0";
    static const char *const vendors[] = {"anthropic", "gemini", "a.b", "my-own_one"};
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    for (size_t v = 0; v < COUNT_OF(vendors); v++) {
        for (size_t n = 0; n < sizeof(text); n++) {
            struct str vendor = str_c(vendors[v]);
            struct str payload = str_of(text, n);
            struct str packed = seal_pack(&ours, vendor, STR("m"), payload, &arena);
            struct sealed sealed;
            assert_int_equal(packed.n % 4, 0);
            assert_true(seal_is_packed(packed));
            for (size_t i = 0; i < packed.n; i++)
                assert_null(strchr("+/-_=", packed.p[i]));
            is(seal_pack(&ours, vendor, STR("m"), payload, &arena), packed);
            assert_true(seal_open(&ours, packed, &arena, &sealed));
            is(sealed.vendor, vendor);
            is(sealed.payload, payload);
            assert_int_equal(sealed.model.n, 8);
            arena_rewind(&arena);
        }
    }
    arena_fini(&arena);
}

/* Any bytes; and clients that write the other alphabet, or add padding. */
static void test_bytes(void **state)
{
    struct arena arena;
    char bytes[256];
    char *other;
    struct sealed sealed;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)i;
    struct str payload = str_of(bytes, sizeof(bytes));
    struct str packed = seal_pack(&ours, STR("v"), STR("m"), payload, &arena);
    assert_true(seal_open(&ours, packed, &arena, &sealed));
    is(sealed.payload, payload);
    other = str_z(&arena, packed);
    for (char *c = other; *c != '\0'; c++)
        *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
    assert_false(str_eq(str_c(other), packed));
    assert_true(seal_open(&ours, str_c(other), &arena, &sealed));
    is(sealed.payload, payload);
    assert_true(seal_open(&ours, str_print(&arena, "%s==", other), &arena, &sealed));
    is(sealed.payload, payload);
    arena_fini(&arena);
}

static void test_models_differ(void **state)
{
    struct arena arena;
    struct sealed a;
    struct sealed b;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    assert_true(
        seal_open(&ours, seal_pack(&ours, STR("v"), STR("m1"), STR("p"), &arena), &arena, &a));
    assert_true(
        seal_open(&ours, seal_pack(&ours, STR("v"), STR("m2"), STR("p"), &arena), &arena, &b));
    assert_false(str_eq(a.model, b.model));
    arena_fini(&arena);
}

static void refused(const struct seal *seal, struct str text)
{
    struct arena arena;
    struct sealed sealed;

    arena_init(&arena, 1024 * 1024, 1024, NULL);
    if (seal_open(seal, text, &arena, &sealed))
        fail_msg("'%.*s' was opened", STR_ARG(text));
    arena_fini(&arena);
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "", "cHgx", "cHgxL", "cHgxLg==", "EqQBCgIYAhIkMTU5ZjU0", "cHgyLnY6MDAwMDAwMDAu", "====",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        refused(&ours, str_c(texts[i]));
    refused(&ours, STR_NULL);
    assert_false(seal_is_packed(STR("EqQBCgIYAhIkMTU5ZjU0")));
    assert_false(seal_is_packed(STR_NULL));
}

/* Each bit of it counts; so does its length, and the key. */
static void test_forged(void **state)
{
    struct seal theirs = ours;
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    struct str packed = seal_pack(&ours, STR("anthropic"), STR("m"), STR("EqQBCgIYAhIk"), &arena);
    char *copy = str_z(&arena, packed);

    for (size_t n = 0; n < packed.n; n++)
        refused(&ours, str_head(packed, n));
    for (size_t i = 0; i < packed.n; i++) {
        for (const char *c = "Aa0-Qz_!. \xc3"; *c != '\0'; c++) {
            if (*c == packed.p[i])
                continue;
            copy[i] = *c;
            refused(&ours, str_of(copy, packed.n));
        }
        copy[i] = packed.p[i];
    }
    refused(&ours, str_print(&arena, "%sAAAA", copy));
    theirs.key.bytes[31] ^= 1;
    refused(&theirs, packed);
    arena_fini(&arena);
}

/* The name of the vendor cannot be made another's by moving what divides the parts. */
static void test_other_vendor(void **state)
{
    struct arena arena;
    struct sealed sealed;

    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    struct str packed = seal_pack(&ours, STR("gemini"), STR("m"), STR("payload"), &arena);
    assert_true(seal_open(&ours, packed, &arena, &sealed));
    is(sealed.vendor, STR("gemini"));
    struct str other = seal_pack(&ours, STR("openai"), STR("m"), STR("payload"), &arena);
    assert_int_equal(packed.n, other.n);
    /* The first twelve digits hold "px1.gemin". */
    char *mixed = str_z(&arena, packed);
    memcpy(mixed, other.p, 12);
    refused(&ours, str_of(mixed, packed.n));
    arena_fini(&arena);
}

/* No room: nothing is packed and nothing opened. */
static void test_full(void **state)
{
    char payload[4000];
    struct arena small;
    struct arena arena;
    struct sealed sealed;

    (void)state;
    memset(payload, 'a', sizeof(payload));
    arena_init(&small, 2048, 512, NULL);
    arena_init(&arena, 1024 * 1024, 512, NULL);
    assert_true(str_is_null(
        seal_pack(&ours, STR("v"), STR("m"), str_of(payload, sizeof(payload)), &small)));
    arena_reset(&small);
    struct str packed = seal_pack(&ours, STR("v"), STR("m"), str_of(payload, sizeof(payload)),
                                  &arena);
    assert_false(seal_open(&ours, packed, &small, &sealed));
    arena_fini(&small);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways),     cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_models_differ), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_forged),        cmocka_unit_test(test_other_vendor),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
