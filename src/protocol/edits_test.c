/* SPDX-License-Identifier: MIT */
/*
 * What a request that keeps its protocol becomes: every byte but those of the edits, and the
 * request itself as it was, however often it is sent.
 */
#include "protocol/edits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MEMORY = 64 * 1024 };

static struct str joined(const struct wire *wire, struct arena *arena)
{
    char *text = arena_alloc(arena, wire->body_bytes + 1);
    size_t n = 0;

    for (size_t i = 0; i < wire->body_n; i++) {
        assert_true(n + wire->body[i].n <= wire->body_bytes);
        memcpy(text + n, wire->body[i].p, wire->body[i].n);
        n += wire->body[i].n;
    }
    assert_int_equal(n, wire->body_bytes);
    return str_of(text, n);
}

/* Catches: a model that is set twice or not at all, a session_id that goes up, edits of one attempt
 * in the next. */
static void test_attempts(void **state)
{
    static const struct {
        const char *body;
        const char *first, *second; /* models */
        const char *want, *want_again;
    } cases[] = {
        {"{\"model\":\"b:m\", \"session_id\":\"s\",\"messages\":[]}", "m", "other",
         "{\"model\":\"m\", \"messages\":[]}", "{\"model\":\"other\", \"messages\":[]}"},
        {"{\"messages\":[],\"session_id\":\"s\"}", "m", NULL, "{\"messages\":[],\"model\":\"m\"}",
         "{\"messages\":[]}"},
        {"{ \"model\" : \"m\", \"messages\":[] }", "m", NULL,
         "{ \"model\" : \"m\", \"messages\":[] }", "{ \"model\" : \"m\", \"messages\":[] }"},
        {"{\"messages\":[]}", NULL, "m", "{\"messages\":[]}", "{\"messages\":[],\"model\":\"m\"}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct request_limits limits = {.depth_max = 8, .operation = OP_GENERATE};
        struct arena arena;
        struct request request;
        struct error e = {.code = OK};
        arena_init(&arena, MEMORY, 4096, NULL);
        assert_int_equal(protocol_find(STR("openai-chat"))
                             ->request_decode(str_c(cases[i].body), &limits, &arena, &request, &e),
                         OK);
        for (int attempt = 0; attempt < 4; attempt++) {
            const char *model = attempt % 2 == 0 ? cases[i].first : cases[i].second;
            const char *want = attempt % 2 == 0 ? cases[i].want : cases[i].want_again;
            const struct encode_request how = {.model = model == NULL ? STR_NULL : str_c(model)};
            struct wire wire = {.body_n = 0};
            struct json_edits edits = edits_copy(&request, &arena);
            edits_model(&request, &how, &edits, &arena);
            edits_apply(&request, &edits, &arena, &wire);
            assert_false(arena_overflowed(&arena));
            struct str got = joined(&wire, &arena);
            if (!str_eq(got, str_c(want)))
                fail_msg("%zu.%d: %.*s", i, attempt, STR_ARG(got));
        }
        arena_fini(&arena);
    }
}

/* Catches: the edits of a stage that are lost, or that the copy writes into. */
static void test_copies(void **state)
{
    const struct request_limits limits = {.depth_max = 8, .operation = OP_GENERATE};
    const struct encode_request how = {.model = STR("m")};
    struct arena arena;
    struct request request;
    struct error e = {.code = OK};

    (void)state;
    arena_init(&arena, MEMORY, 4096, NULL);
    assert_int_equal(protocol_find(STR("openai-chat"))
                         ->request_decode(STR("{\"model\":\"b:m\",\"messages\":[]}"), &limits,
                                          &arena, &request, &e),
                     OK);
    json_edit_add(&request.edits, &arena, &request.index, STR("b"), STR("2"));
    for (int attempt = 0; attempt < 3; attempt++) {
        struct wire wire = {.body_n = 0};
        struct json_edits edits = edits_copy(&request, &arena);
        edits_model(&request, &how, &edits, &arena);
        edits_apply(&request, &edits, &arena, &wire);
        assert_true(
            str_eq(joined(&wire, &arena), STR("{\"model\":\"m\",\"messages\":[],\"b\":2}")));
        assert_int_equal(request.edits.n, 1);
    }
    arena_fini(&arena);
}

/* Members as they stand, with escapes and blanks; nulls have no say; below two levels nothing is
 * looked into. */
static void test_union(void **state)
{
    static const char *const cases[][3] = {
        {"{}", "{}", "{}"},
        {"{}", "{\"a\":1}", "{\"a\":1}"},
        {"{ }", "{ \"a\" : 1 , \"b\":2 }", "{\"a\" : 1,\"b\":2 }"},
        {"{\"a\":1}", "{\"a\":2,\"b\":[3]}", "{\"b\":[3],\"a\":1}"},
        {"{\"a\":null}", "{\"a\":2}", "{\"a\":2}"},
        {"{\"a\":1}", "{\"\\u0061\":2,\"\\\"\\n\":3}", "{\"\\\"\\n\":3,\"a\":1}"},
        {"{\"\\u0061\":{}}", "{\"a\":{\"b\":{}}}", "{\"\\u0061\":{\"b\":{}}}"},
        {"{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"d\":1},\"e\":2}}",
         "{\"a\":{\"e\":2,\"b\":{\"c\":1}}}"},
        {"{\"a\":[]}", "{\"a\":{\"b\":1}}", "{\"a\":[]}"},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, MEMORY, 4096, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str is = edits_union(str_c(cases[i][0]), str_c(cases[i][1]), NULL, &arena);
        if (!str_eq(is, str_c(cases[i][2])))
            fail_msg("%s %s: %.*s", cases[i][0], cases[i][1], STR_ARG(is));
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attempts),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_union),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
