/* SPDX-License-Identifier: MIT */
#include "protocol/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Catches: a member that lacks a part of the contract. */
static void test_table(void **state)
{
    (void)state;
    assert_true(protocol_count > 0);
    for (size_t i = 0; i < protocol_count; i++) {
        const struct protocol *p = protocol_table[i];
        assert_ptr_equal(protocol_find(str_c(p->name)), p);
        assert_non_null(p->routes);
        assert_true(p->models_path[0] == '/' && p->api_version[0] == '/');
        assert_true(p->request_decode && p->request_decode_full && p->request_encode);
        assert_true(p->decoder_size > 0 && p->decoder_init && p->response_decode);
        assert_true(p->encoder_size > 0 && p->encoder_init && p->response_encode);
        assert_true(p->decoder_fini && p->encoder_fini && p->encoder_end);
        assert_true(p->error_encode && p->error_decode && p->models_decode && p->models_encode);
        assert_non_null(p->stream_content_type);
    }
    assert_null(protocol_find(STR("openai")));
    assert_null(protocol_find(STR("")));
}

static void test_route(void **state)
{
    static const struct {
        const char *method;
        const char *path;
        enum operation operation; /* COUNT: no match */
        const char *rest;
        const char *allow; /* NULL: no such path */
    } cases[] = {
        {"POST", "/v1/chat/completions", OP_GENERATE, NULL, "POST"},
        {"POST", "/v2/chat/completions", OP_GENERATE, NULL, "POST"},
        {"GET", "/v1/chat/completions", OP_COUNT, NULL, "POST"},
        {"POST", "/v1/chat/completions/", OP_COUNT, NULL, NULL},
        {"post", "/v1/chat/completions", OP_COUNT, NULL, "POST"},
        {"GET", "/v1/models", OP_MODELS, NULL, "GET, HEAD"},
        {"HEAD", "/v2/models", OP_MODELS, NULL, "GET, HEAD"},
        {"DELETE", "/v1/models", OP_COUNT, NULL, "GET, HEAD"},
        {"GET", "/v1/models/openrouter:a/b:free", OP_MODEL, "openrouter:a/b:free", "GET, HEAD"},
        {"GET", "/v1/models/", OP_COUNT, NULL, NULL},
        {"GET", "/v1/modelsx", OP_COUNT, NULL, NULL},
        {"GET", "", OP_COUNT, NULL, NULL},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, 65536, 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct route_match match;
        protocol_route(str_c(cases[i].method), str_c(cases[i].path), &arena, &match);
        assert_int_equal(match.protocol != NULL, cases[i].operation != OP_COUNT);
        assert_int_equal(match.path_known, cases[i].allow != NULL);
        bool found = match.protocol != NULL;
        assert_true(str_eq(match.allow, found ? STR_NULL : str_c(cases[i].allow)));
        if (match.protocol == NULL)
            continue;
        assert_int_equal(match.operation, cases[i].operation);
        assert_true(str_eq(match.rest, str_c(cases[i].rest)));
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
