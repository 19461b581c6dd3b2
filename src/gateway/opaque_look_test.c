/* SPDX-License-Identifier: MIT */
/* What opaque requests and answers say of themselves; bodies that are cut, and that mislead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gateway/opaque_look.h"

static struct arena arena;

static void test_paths(void **state)
{
    static const struct {
        const char *path;
        const char *rest; /* NULL: it is none */
    } cases[] = {
        {"/v1/embeddings", "/embeddings"},
        {"/v2/files/file-1/content", "/files/file-1/content"},
        {"/anthropic/v1/messages/batches", "/messages/batches"},
        {"/v1/files/a%20b", "/files/a%20b"},
        {"/v1/models/x:y@z", "/models/x:y@z"},
        {"/v1/a;b=1/c", "/a;b=1/c"},
        {"/v1/sessions", "/sessions"},
        {"/v2/usages", "/usages"},
        {"/v1/", NULL},
        {"/v1", NULL},
        {"/v3/embeddings", NULL},
        {"/v1beta/embeddings", NULL},
        {"/v1/a//b", NULL},
        {"/v1/a/", NULL},
        {"/v1/./a", NULL},
        {"/v1/a/..", NULL},
        {"/v1/a/..;/b", NULL},
        {"/v1/a/.;x=1", NULL},
        {"/v1/;x/a", NULL},
        {"/v1/a/%2e%2e/b", NULL},
        {"/v1/a%2fb", NULL},
        {"/v1/a%5Cb", NULL},
        {"/v1/%63hat", NULL},
        {"/v1/a%00", NULL},
        {"/v1/a%7f", NULL},
        {"/v1/a%0d%0a", NULL},
        {"/v1/a%4", NULL},
        {"/v1/a%zz", NULL},
        {"/v1/a\\b", NULL},
        {"/v1/a\"b", NULL},
        {"/v1/\xc3\xa4", NULL},
        {"/v2/usage", NULL},
        {"/v2/usage/recent", NULL},
        {"/v2/audit/logs", NULL},
        {"/v2/performance", NULL},
        {"/v2/backends/x", NULL},
        {"/v2/sessions/a/b", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str rest = STR_NULL;
        bool found = opaque_look_path(str_c(cases[i].path), &rest);
        if (found != (cases[i].rest != NULL))
            fail_msg("%s: %d", cases[i].path, found);
        if (found)
            assert_true(str_eq(rest, str_c(cases[i].rest)));
    }
    assert_true(opaque_look_is_anthropic(STR("/v1/messages/batches")));
    assert_true(opaque_look_is_anthropic(STR("/anthropic/v1/files")));
    assert_false(opaque_look_is_anthropic(STR("/v1/files")));
}

static void test_names_model(void **state)
{
    static const struct {
        const char *method;
        const char *rest;
        bool names;
    } cases[] = {
        {"POST", "/embeddings", true},     {"POST", "/audio/transcriptions", true},
        {"POST", "/images/edits", true},   {"POST", "/completions", true},
        {"POST", "/moderations", true},    {"POST", "/rerank", true},
        {"GET", "/images/img-1", false},   {"POST", "/files", false},
        {"POST", "/embeddingsx", false},   {"POST", "/batches", false},
        {"POST", "/files/audio/x", false}, {"POST", "/uploads/u_1/parts", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(opaque_look_names_model(str_c(cases[i].method), str_c(cases[i].rest)),
                         cases[i].names);
}

static const char JSON[] = "application/json; charset=utf-8";
static const char FORM[] = "multipart/form-data; boundary=b";

static void test_models(void **state)
{
    static const struct {
        const char *query;
        const char *type;
        const char *body;
        const char *name;   /* NULL: none */
        const char *source; /* as it stands */
        enum opaque_place place;
    } cases[] = {
        {NULL, JSON, " {\"a\":1, \"model\" : \"x:y\"}", "x:y", "\"x:y\"", OPAQUE_JSON},
        {NULL, JSON, "{\"mod\\u0065l\":\"a\\/b\"}", "a/b", "\"a\\/b\"", OPAQUE_JSON},
        {NULL, NULL, "{\"model\":\"m\"}", "m", "\"m\"", OPAQUE_JSON},
        {NULL, "application/x-www-form-urlencoded", "{\"model\":\"x:y\"}", "x:y", "\"x:y\"",
         OPAQUE_JSON},
        {NULL, "application/x-www-form-urlencoded", "model=no", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, "application/vnd.x+json", "{\"model\":\"m\"}", "m", "\"m\"", OPAQUE_JSON},
        {NULL, JSON, "{\"a\":{\"model\":\"no\"},\"b\":[{\"model\":\"no\"}],\"model\":\"m\"", "m",
         "\"m\"", OPAQUE_JSON},
        {NULL, JSON, "{\"a\":\"\\\",\\\"model\\\":\\\"no\",\"model\":\"m\",\"z", "m", "\"m\"",
         OPAQUE_JSON},
        {NULL, JSON, "{\"a\":{\"model\":\"no\"},\"b\":[{\"model\":\"no\"", NULL, NULL,
         OPAQUE_NOWHERE},
        {NULL, JSON, "{\"model\":\"m", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "{\"model\":\"m\\\"", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "{\"model\":null,\"x\":1}", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "{\"model\":\"\"}", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "{\"model\":\"a\\q\"}", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "{\"model\":\"\xff\"}", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "[{\"model\":\"no\"}]", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "\"model\":\"no\"", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, JSON, "", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, "text/plain", "{\"model\":\"no\"}", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, NULL, "model=no", NULL, NULL, OPAQUE_NOWHERE},
        {NULL, FORM, "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx:w\r\n--b\r\n",
         "x:w", "x:w", OPAQUE_MULTIPART},
        {NULL, FORM, "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx:w\r\n--", NULL,
         NULL, OPAQUE_NOWHERE},
        {NULL, FORM, "{\"model\":\"no\"}", NULL, NULL, OPAQUE_NOWHERE},
        {"a=b&model=x%3Ay&c", JSON, "{\"model\":\"other\"}", "x:y", "x%3Ay", OPAQUE_QUERY},
        {"mode%6c=x+y", NULL, "", "x y", "x+y", OPAQUE_QUERY},
        {"model=&model", JSON, "{\"model\":\"m\"}", "m", "\"m\"", OPAQUE_JSON},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct opaque_model model;
        struct error e = {.code = OK};
        struct str body = str_c(cases[i].body);
        struct str query = str_c(cases[i].query);
        assert_int_equal(opaque_look_model(query, str_c(cases[i].type), body, &arena, &model, &e),
                         OK);
        if (model.place != cases[i].place || !str_eq(model.name, str_c(cases[i].name)))
            fail_msg("case %zu: %d %.*s", i, (int)model.place, STR_ARG(model.name));
        if (model.place == OPAQUE_NOWHERE)
            continue;
        struct str in = model.place == OPAQUE_QUERY ? query : body;
        assert_true(
            str_eq(str_of(in.p + model.begin, model.end - model.begin), str_c(cases[i].source)));
    }
}

static void test_twice(void **state)
{
    static const char *const bodies[][2] = {
        {JSON, "{\"model\":\"a\",\"model\":\"b\"}"},
        {JSON, "{\"model\":\"a\",\"mod\\u0065l\":1}"},
        {JSON, "{\"model\":null,\"model\":\"b\"}"},
        {JSON, "{\"model\":\"\",\"x\":1,\"model\":\"b\"}"},
        {FORM, "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n\r\n"
               "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nb\r\n--b--"},
        {FORM, "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\na\r\n"
               "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nb\r\n--b--"},
    };
    struct opaque_model model;
    struct error e;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        assert_int_equal(opaque_look_model(STR_NULL, str_c(bodies[i][0]), str_c(bodies[i][1]),
                                           &arena, &model, &e),
                         ERR_BAD_REQUEST);
    assert_int_equal(opaque_look_model(STR("model=a&model=b"), STR_NULL, STR(""), &arena, &model,
                                       &e),
                     ERR_BAD_REQUEST);
}

static void test_write(void **state)
{
    struct opaque_model model = {.place = OPAQUE_QUERY};

    (void)state;
    assert_true(str_eq(opaque_look_write(&model, STR("a/b&c"), &arena), STR("a%2Fb%26c")));
    model.place = OPAQUE_JSON;
    assert_true(str_eq(opaque_look_write(&model, STR("a\"b"), &arena), STR("\"a\\\"b\"")));
    model.place = OPAQUE_MULTIPART;
    assert_true(str_eq(opaque_look_write(&model, STR("a\"b"), &arena), STR("a\"b")));
}

/* Cut anywhere, a document has its model or none, never another one. */
static void test_cut(void **state)
{
    static const char text[] =
        "{\"a\":\"\\\\\\\"model\\\":\",\"b\":{\"model\":\"n\",\"c\":[\"model\",\":\"]},"
        "\"model\":\"x:m\\u0041\",\"model2\":[1,{\"model\":\"o\"}]}";
    size_t found = 0;

    (void)state;
    for (size_t n = 0; n < sizeof(text); n++) {
        struct opaque_model model;
        struct error e;
        char *exact = mem_raw(n + 1);
        memcpy(exact, text, n);
        assert_int_equal(opaque_look_model(STR_NULL, str_c(JSON), str_of(exact, n), &arena, &model,
                                           &e),
                         OK);
        if (model.place != OPAQUE_NOWHERE) {
            found++;
            assert_true(str_eq(model.name, STR("x:mA")));
        }
        mem_free(exact);
    }
    assert_true(found > 20);
}

/* Bytes by chance: nothing is read outside, what is found lies within. */
static void test_chance(void **state)
{
    static const char pieces[][12] = {"{", "}",          "[",     "]",     "\"", "\\", "model", ":",
                                      ",", "\"model\":", "\"a\"", "\\u00", "\\", "1",  " "};
    uint32_t seed = 7;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct opaque_model model;
        struct error e;
        char text[128] = "{";
        size_t n = 1;
        for (size_t i = 0; i < 10 && round % 10 != 0; i++) {
            seed = seed * 1664525 + 1013904223;
            const char *piece = pieces[(seed >> 16) % COUNT_OF(pieces)];
            memcpy(text + n, piece, strlen(piece));
            n += strlen(piece);
        }
        char *exact = mem_raw(n);
        memcpy(exact, text, n);
        if (opaque_look_model(STR_NULL, str_c(JSON), str_of(exact, n), &arena, &model, &e) == OK)
            assert_true(model.begin <= model.end && model.end <= n);
        (void)opaque_look_usage(str_of(exact, n));
        mem_free(exact);
        arena_rewind(&arena);
    }
}

static void test_usage(void **state)
{
    static const struct {
        const char *json;
        int64_t input, output, cached;
    } cases[] = {
        {"{\"data\":[],\"usage\":{\"prompt_tokens\":3,\"total_tokens\":3}}", 3, -1, -1},
        {"{\"usage\":{\"input_tokens\":4,\"output_tokens\":5,"
         "\"input_tokens_details\":{\"cached_tokens\":2}}}",
         4, 5, 2},
        {"{\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":5,"
         "\"prompt_tokens_details\":{\"cached_tokens\":1}}}",
         4, 5, 1},
        {"{\"x\":{\"usage\":{\"prompt_tokens\":3}}}", -1, -1, -1},
        {"{\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1.5}}", -1, -1, -1},
        {"{\"usage\":null}", -1, -1, -1},
        {"{\"usage\":", -1, -1, -1},
        {"[1]", -1, -1, -1},
        {"", -1, -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct opaque_usage usage = opaque_look_usage(str_c(cases[i].json));
        assert_int_equal(usage.input, cases[i].input);
        assert_int_equal(usage.output, cases[i].output);
        assert_int_equal(usage.cached, cases[i].cached);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),  cmocka_unit_test(test_names_model),
        cmocka_unit_test(test_models), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_write),  cmocka_unit_test(test_cut),
        cmocka_unit_test(test_chance), cmocka_unit_test(test_usage),
    };

    arena_init(&arena, 64 * 1024 * 1024, 1024, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return failed;
}
