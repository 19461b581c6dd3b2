/* SPDX-License-Identifier: MIT */
/* Embeddings: requests that are read, refused, and written for Gemini. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/embeddings.h"
#include "text/json.h"

enum { BYTES_MAX = 4 * 1024 * 1024, DEPTH_MAX = 32 };

static const struct json_read_options READ = {.depth_max = 32};

struct fixture {
    struct arena arena;
    struct translation t;
    struct embeddings asked;
    struct error e;
};

static enum error_code read_it(struct fixture *f, struct str body)
{
    *f = (struct fixture){.e.code = OK};
    arena_init(&f->arena, BYTES_MAX, 4096, NULL);
    f->t.arena = &f->arena;
    return embeddings_read(body, DEPTH_MAX, &f->t, &f->arena, &f->asked, &f->e);
}

static void end(struct fixture *f)
{
    arena_fini(&f->arena);
}

static struct str join(struct fixture *f, const struct wire *wire)
{
    struct buf all;

    buf_init(&all, BYTES_MAX);
    for (size_t i = 0; i < wire->body_n; i++)
        buf_add(&all, wire->body[i]);
    assert_int_equal(all.n, wire->body_bytes);
    struct str copy = str_copy(&f->arena, buf_str(&all));
    buf_fini(&all);
    return copy;
}

static void expect_body(struct fixture *f, size_t call, const char *model, const char *path,
                        const char *body)
{
    struct wire wire;

    assert_int_equal(embeddings_write(&f->asked, call, str_c(model), &f->arena, &wire, &f->e), OK);
    struct str got = join(f, &wire);
    if (!str_eq(got, str_c(body)))
        fail_msg("%.*s", STR_ARG(got));
    assert_true(str_eq(wire.path, str_c(path)));
    assert_true(str_eq(wire.method, STR("POST")));
    assert_true(str_eq(wire.content_type, STR("application/json")));
    assert_true(str_is_null(wire.query));
}

#define REQUEST(text) "{\"model\":\"models/emb-1\",\"content\":{\"parts\":[{\"text\":" text "}]}}"

/* Catches: a member that is lost or read wrongly, a name of a model that goes up as it came, text
 * that is not the client's any more. */
static void test_request(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(read_it(&f, STR("{\"model\":\"g:emb-1\",\"input\":\"a \\\"b\\\" \\u00e9\"}")),
                     OK);
    assert_true(str_eq(f.asked.model, STR("g:emb-1")));
    assert_false(f.asked.base64);
    assert_int_equal(embeddings_calls(&f.asked), 1);
    expect_body(&f, 0, "emb-1", "/models/emb-1:batchEmbedContents",
                "{\"requests\":[" REQUEST("\"a \\\"b\\\" \xc3\xa9\"") "]}");
    assert_int_equal(f.t.warnings_n, 0);
    end(&f);

    assert_int_equal(read_it(&f, STR(" { \"input\" : [ \"x\" , \"y\" ] , \"dimensions\" : 256 , "
                                     "\"user\":\"u\", \"session_id\":\"s\", \"input_type\":\"q\","
                                     "\"encoding_format\":\"base64\",\"model\":\"m\"} ")),
                     OK);
    assert_true(f.asked.base64);
    assert_int_equal(f.asked.dimensions, 256);
    expect_body(&f, 0, "models/m", "/models/m:batchEmbedContents",
                "{\"requests\":[{\"model\":\"models/m\",\"content\":{\"parts\":[{\"text\":\"x\"}]},"
                "\"outputDimensionality\":256},{\"model\":\"models/m\",\"content\":{\"parts\":[{"
                "\"text\":\"y\"}]},\"outputDimensionality\":256}]}");
    assert_int_equal(f.t.warnings_n, 1);
    assert_true(str_eq(f.t.warnings[0], STR("dropped:input_type")));
    end(&f);

    /* Half a surrogate pair is no text; folders of their own stay; null is absent. */
    assert_int_equal(read_it(&f, STR("{\"model\":null,\"input\":\"\\ud800\",\"dimensions\":null,"
                                     "\"encoding_format\":null,\"user\":null}")),
                     OK);
    assert_true(str_is_null(f.asked.model));
    expect_body(&f, 0, "tunedModels/t", "/tunedModels/t:batchEmbedContents",
                "{\"requests\":[{\"model\":\"tunedModels/t\",\"content\":{\"parts\":[{\"text\":"
                "\"\xef\xbf\xbd\"}]}}]}");
    struct wire wire;
    assert_int_equal(embeddings_write(&f.asked, 0, STR_NULL, &f.arena, &wire, &f.e),
                     ERR_BAD_REQUEST);
    end(&f);
}

static const struct refused {
    const char *body;
    enum error_code code;
    const char *says;
} refused[] = {
    {"{}", ERR_BAD_REQUEST, "input is missing"},
    {"[]", ERR_BAD_REQUEST, "object"},
    {"{\"input\":null}", ERR_BAD_REQUEST, "input is missing"},
    {"{\"input\":\"\"}", ERR_BAD_REQUEST, "input is an empty text"},
    {"{\"input\":[]}", ERR_BAD_REQUEST, "input is an empty array"},
    {"{\"input\":[\"a\",\"\"]}", ERR_BAD_REQUEST, "input[1] is an empty text"},
    {"{\"input\":[\"a\",\"b\",\"c\",{}]}", ERR_BAD_REQUEST, "input[3] must be a string"},
    {"{\"input\":[null]}", ERR_BAD_REQUEST, "input[0] must be a string"},
    {"{\"input\":{}}", ERR_BAD_REQUEST, "input must be a string or an array of strings"},
    {"{\"input\":7}", ERR_BAD_REQUEST, "input must be a string or an array of strings"},
    {"{\"input\":[1,2]}", ERR_UNSUPPORTED, "send text"},
    {"{\"input\":[[1],[2]]}", ERR_UNSUPPORTED, "send text"},
    {"{\"input\":[\"a\",\"b\",3]}", ERR_UNSUPPORTED, "send text"},
    {"{\"input\":\"a\",\"model\":7}", ERR_BAD_REQUEST, "model must be a string"},
    {"{\"input\":\"a\",\"dimensions\":0}", ERR_BAD_REQUEST, "dimensions must be"},
    {"{\"input\":\"a\",\"dimensions\":1.5}", ERR_BAD_REQUEST, "dimensions must be"},
    {"{\"input\":\"a\",\"dimensions\":9999999999}", ERR_BAD_REQUEST, "dimensions must be"},
    {"{\"input\":\"a\",\"dimensions\":\"4\"}", ERR_BAD_REQUEST, "dimensions must be"},
    {"{\"input\":\"a\",\"encoding_format\":\"hex\"}", ERR_BAD_REQUEST, "encoding_format must"},
    {"{\"input\":\"a\",\"encoding_format\":1}", ERR_BAD_REQUEST, "encoding_format must"},
    {"{\"input\":\"a\",\"input\":\"b\"}", ERR_BAD_REQUEST, "duplicate key at input"},
    {"{\"input\":\"a\"", ERR_BAD_REQUEST, "byte 12"},
};

static void test_refused(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_int_equal(read_it(&f, str_c(refused[i].body)), refused[i].code);
        if (strstr(f.e.detail, refused[i].says) == NULL)
            fail_msg("%s: %s", refused[i].body, f.e.detail);
        end(&f);
    }
}

static struct str many(struct buf *b, size_t n)
{
    buf_reset(b);
    buf_add(b, STR("{\"model\":\"m\",\"input\":["));
    for (size_t i = 0; i < n; i++)
        buf_print(b, "%s\"t%zu\"", i > 0 ? "," : "", i);
    buf_add(b, STR("]}"));
    return buf_str(b);
}

/* Catches: an input that is asked twice or in no call; a call that is larger than Gemini takes. */
static void test_calls(void **state)
{
    static const size_t counts[] = {1, 2, 99, 100, 101, 200, 201, 2047, 2048};
    struct fixture f;
    struct buf b;

    (void)state;
    buf_init(&b, BYTES_MAX);
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        size_t seen = 0;
        assert_int_equal(read_it(&f, many(&b, counts[i])), OK);
        assert_int_equal(f.asked.n, counts[i]);
        for (size_t call = 0; call < embeddings_calls(&f.asked); call++) {
            struct wire wire;
            assert_int_equal(embeddings_write(&f.asked, call, STR("m"), &f.arena, &wire, &f.e), OK);
            yyjson_val *root = json_read(join(&f, &wire), &READ, &f.arena, &f.e);
            yyjson_val *requests = json_get(root, STR("requests"));
            assert_in_range(yyjson_arr_size(requests), 1, EMBEDDINGS_CALL_MAX);
            for (size_t at = 0; at < yyjson_arr_size(requests); at++, seen++) {
                yyjson_val *content = json_get(yyjson_arr_get(requests, at), STR("content"));
                yyjson_val *part = yyjson_arr_get(json_get(content, STR("parts")), 0);
                assert_true(
                    str_eq(json_get_str(part, STR("text")), str_print(&f.arena, "t%zu", seen)));
            }
        }
        assert_int_equal(seen, counts[i]);
        end(&f);
    }
    assert_int_equal(read_it(&f, many(&b, 2049)), ERR_BAD_REQUEST);
    assert_non_null(strstr(f.e.detail, "more than 2048"));
    end(&f);
    buf_fini(&b);
}

/* Catches: memory that is written past the arena's cap. */
static void test_memory(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, BYTES_MAX);
    struct str body = many(&b, 2048);
    for (size_t max = 512; max < 64 * 1024; max += 1024) {
        struct fixture f = {.e.code = OK};
        struct wire wire;
        arena_init(&f.arena, max, 512, NULL);
        enum error_code code = embeddings_read(body, DEPTH_MAX, NULL, &f.arena, &f.asked, &f.e);
        if (code == OK)
            code = embeddings_write(&f.asked, 3, STR("m"), &f.arena, &wire, &f.e);
        assert_true(code == OK || code == ERR_TOO_LARGE);
        assert_true(code == OK || max < 60 * 1024);
        end(&f);
    }
    buf_fini(&b);
}

/* Whatever comes is refused or can be written as JSON with as many texts. */
static void test_mutations(void **state)
{
    static const char seed[] = "{\"model\":\"m\",\"input\":[\"a\\n\",\"b\"],\"dimensions\":8,"
                               "\"encoding_format\":\"float\"}";
    static const char others[] = "\"\\,:[]{}0en \x80";
    struct fixture f;

    (void)state;
    for (size_t at = 0; at < sizeof(seed) - 1; at++) {
        for (size_t k = 0; k < sizeof(others) - 1; k++) {
            char text[sizeof(seed)];
            struct wire wire;
            memcpy(text, seed, sizeof(seed));
            text[at] = others[k];
            if (read_it(&f, str_of(text, sizeof(text) - 1)) == OK) {
                assert_int_equal(embeddings_write(&f.asked, 0, STR("m"), &f.arena, &wire, &f.e),
                                 OK);
                yyjson_val *root = json_read(join(&f, &wire), &READ, &f.arena, &f.e);
                assert_non_null(root);
                assert_int_equal(yyjson_arr_size(json_get(root, STR("requests"))), f.asked.n);
            }
            end(&f);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_calls),     cmocka_unit_test(test_memory),
        cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
