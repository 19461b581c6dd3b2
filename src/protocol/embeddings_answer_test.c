/* SPDX-License-Identifier: MIT */
/* Embeddings: Gemini's answers, cut anywhere, broken anywhere, as OpenAI's list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "protocol/embeddings.h"
#include "text/base64.h"
#include "text/json.h"

enum { BYTES_MAX = 16 * 1024 * 1024 };

static struct str inputs[EMBEDDINGS_INPUTS_MAX];

static const struct json_read_options READ = {.depth_max = 32};

struct fixture {
    struct embeddings asked;
    struct embeddings_answer answer;
    struct buf out;
    struct error e;
};

static void begin(struct fixture *f, size_t n, bool base64)
{
    for (size_t i = 0; i < n; i++)
        inputs[i] = STR("\"abcdefgh\"");
    *f = (struct fixture){.asked = {.inputs = inputs, .n = n, .base64 = base64}};
    buf_init(&f->out, BYTES_MAX);
    embeddings_answer_init(&f->answer, &f->asked, STR("emb-1"), &f->out);
}

static void end(struct fixture *f)
{
    buf_fini(&f->out);
}

static enum error_code one_call(struct fixture *f, struct str bytes)
{
    enum error_code code = embeddings_answer_add(&f->answer, bytes, &f->e);

    return code == OK ? embeddings_answer_next(&f->answer, &f->e) : code;
}

static enum error_code whole(struct fixture *f, struct str bytes)
{
    enum error_code code = one_call(f, bytes);

    return code == OK ? embeddings_answer_end(&f->answer, &f->e) : code;
}

#define TWO                                                                                        \
    "{\n \"embeddings\": [ {\"values\": [0.5, -1.25e-2,\n3 ]}, {\"shape\":[3],\"values\":[1,0,-0]" \
    ",\"statistics\":{\"values\":[7],\"x\":[{\"values\":[8]}]}}],\"usageMetadata\":{"              \
    "\"promptTokenCount\": 9,\"promptTokenDetails\":[{\"modality\":\"TEXT\",\"tokenCount\":9}]}"   \
    ",\"o\":{\"promptTokenCount\":77,\"embeddings\":[{\"values\":[6]}],\"s\":\"a\\\"}]\"}}\n"
#define TWO_FLOATS                                                                                \
    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":"         \
    "[0.5,-1.25e-2,3]},{\"object\":\"embedding\",\"index\":1,\"embedding\":[1,0,-0]}],\"model\":" \
    "\"emb-1\",\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}"
/* struct.pack("<3f", 0.5, -0.0125, 3), of (1, 0, -0) */
#define TWO_BASE64                                                                        \
    "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":" \
    "\"AAAAP83MTLwAAEBA\"},{\"object\":\"embedding\",\"index\":1,\"embedding\":"          \
    "\"AACAPwAAAAAAAACA\"}],\"model\":\"emb-1\",\"usage\":{\"prompt_tokens\":9,"          \
    "\"total_tokens\":9}}"

static void expect(struct fixture *f, const char *want)
{
    if (!str_eq(buf_str(&f->out), str_c(want)))
        fail_msg("%.*s", STR_ARG(buf_str(&f->out)));
}

static void test_forms(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f, 2, false);
    assert_int_equal(whole(&f, STR(TWO)), OK);
    expect(&f, TWO_FLOATS);
    assert_false(f.answer.estimated);
    end(&f);
    begin(&f, 2, true);
    assert_int_equal(whole(&f, STR(TWO)), OK);
    expect(&f, TWO_BASE64);
    end(&f);
}

/* Split law: at each place, and byte by byte. */
static void test_cut(void **state)
{
    static const char text[] = TWO;
    struct fixture f;

    (void)state;
    for (size_t at = 0; at < sizeof(text); at++) {
        begin(&f, 2, at % 2 == 0);
        assert_int_equal(embeddings_answer_add(&f.answer, str_of(text, at), &f.e), OK);
        assert_int_equal(whole(&f, str_of(text + at, sizeof(text) - 1 - at)), OK);
        expect(&f, at % 2 == 0 ? TWO_BASE64 : TWO_FLOATS);
        end(&f);
    }
    begin(&f, 2, true);
    for (size_t i = 0; i + 1 < sizeof(text) - 1; i++)
        assert_int_equal(embeddings_answer_add(&f.answer, str_of(text + i, 1), &f.e), OK);
    assert_int_equal(whole(&f, STR("\n")), OK);
    expect(&f, TWO_BASE64);
    end(&f);
}

/* Catches: a beginning that is taken for the whole. */
static void test_broken_off(void **state)
{
    static const char text[] = TWO;
    struct fixture f;

    (void)state;
    for (size_t n = 0; n < sizeof(text) - 2; n++) {
        begin(&f, 2, false);
        assert_int_equal(whole(&f, str_of(text, n)), ERR_UPSTREAM_BROKEN);
        end(&f);
    }
}

#define E(values) "{\"embeddings\":[{\"values\":" values "}]}"

static const char *const refused[] = {
    "",
    "[]",
    "7",
    "\"a\"",
    "null",
    "{}",
    "{\"embeddings\":[]}",
    "{\"embeddings\":{}}",
    "{\"embeddings\":7}",
    "{\"embeddings\":[7]}",
    "{\"embeddings\":[[1]]}",
    "{\"embeddings\":[\"a\"]}",
    "{\"embeddings\":[{}]}",
    "{\"embedding\":{\"values\":[1]}}",
    E("[]"),
    E("7"),
    E("null"),
    E("\"a\""),
    E("{}"),
    E("[[1]]"),
    E("[{}]"),
    E("[null]"),
    E("[\"1\"]"),
    E("[1,]"),
    E("[,1]"),
    E("[1 2]"),
    E("[1"),
    E("[1}"),
    E("[01]"),
    E("[+1]"),
    E("[.5]"),
    E("[1.]"),
    E("[1e]"),
    E("[1e+]"),
    E("[--1]"),
    E("[-]"),
    E("[0x1]"),
    E("[1e39]"),
    E("[1e999]"),
    E("[NaN]"),
    E("[Infinity]"),
    E("[1.00000000000000000000000000000000000000000000000]"),
    E("[1],\"values\":[2]"),
    E("[1]},{\"values\":[2]"),
    E("[1]") "x",
    E("[1]") E("[1]"),
    "{\"a\":nul," E("[1]") "}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{1:2}",
    "{\"a\":1,}",
    "{,}",
    "{]",
    "}",
    "{\"error\":{\"code\":500,\"message\":\"m\",\"status\":\"INTERNAL\"}}",
};

static void test_refused(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        begin(&f, 1, i % 2 == 0);
        enum error_code code = whole(&f, str_c(refused[i]));
        if (code != ERR_UPSTREAM_BROKEN)
            fail_msg("%s: %d", refused[i], code);
        assert_int_equal(strncmp(f.e.detail, "embeddings: ", 12), 0);
        end(&f);
    }
}

static void test_depth(void **state)
{
    struct fixture f;
    char text[EMBEDDINGS_DEPTH_MAX + 8];

    (void)state;
    memcpy(text, "{\"a\":", 5);
    memset(text + 5, '[', EMBEDDINGS_DEPTH_MAX);
    begin(&f, 1, false);
    assert_int_equal(embeddings_answer_add(&f.answer, str_of(text, EMBEDDINGS_DEPTH_MAX + 4), &f.e),
                     OK);
    assert_int_equal(embeddings_answer_add(&f.answer, STR("["), &f.e), ERR_UPSTREAM_BROKEN);
    end(&f);
}

/* An answer of n vectors; the first number of each says which it is. */
static void add_answer(struct buf *to, size_t first, size_t n, const char *usage)
{
    buf_reset(to);
    buf_add(to, STR("{\"embeddings\":["));
    for (size_t i = 0; i < n; i++)
        buf_print(to, "%s{\"values\":[%zu,0.5]}", i > 0 ? "," : "", first + i);
    buf_print(to, "]%s}", usage);
}

/* Catches: vectors of a second call at a wrong index, usage that is not added up, an answer that
 * was taken back and stays. */
static void test_calls(void **state)
{
    struct fixture f;
    struct arena arena;
    struct buf b;
    static const size_t sizes[] = {100, 100, 50};

    (void)state;
    arena_init(&arena, BYTES_MAX, 4096, NULL);
    buf_init(&b, BYTES_MAX);
    begin(&f, 250, false);
    for (size_t call = 0; call < 3; call++) {
        add_answer(&b, 9000, sizes[call], ",\"usageMetadata\":{\"promptTokenCount\":1000}");
        struct str half = str_head(buf_str(&b), b.n - 30);
        assert_int_equal(embeddings_answer_add(&f.answer, half, &f.e), OK);
        embeddings_answer_again(&f.answer);
        add_answer(&b, call * 100, sizes[call], /* nothing is said by the second one */
                   call == 1 ? "" : ",\"usageMetadata\":{\"promptTokenCount\":7}");
        assert_int_equal(one_call(&f, buf_str(&b)), OK);
    }
    assert_int_equal(embeddings_answer_end(&f.answer, &f.e), OK);
    assert_true(f.answer.estimated);
    yyjson_val *root = json_read(buf_str(&f.out), &READ, &arena, &f.e);
    yyjson_val *data = json_get(root, STR("data"));
    assert_int_equal(yyjson_arr_size(data), 250);
    for (size_t i = 0; i < 250; i++) {
        yyjson_val *element = yyjson_arr_get(data, i);
        int64_t index = -1;
        int64_t first = -1;
        assert_true(json_to_int64(json_get(element, STR("index")), &index));
        assert_true(json_to_int64(yyjson_arr_get(json_get(element, STR("embedding")), 0), &first));
        assert_int_equal(index, i);
        assert_int_equal(first, i);
    }
    int64_t tokens = 0;
    json_to_int64(json_get(json_get(root, STR("usage")), STR("total_tokens")), &tokens);
    assert_int_equal(tokens, 7 + 100 * 2 + 7);
    end(&f);

    begin(&f, 250, false);
    add_answer(&b, 0, 99, "");
    assert_int_equal(one_call(&f, buf_str(&b)), ERR_UPSTREAM_BROKEN);
    assert_string_equal(f.e.detail, "embeddings: 99 of them for 100 inputs");
    end(&f);
    buf_fini(&b);
    arena_fini(&arena);
}

static void test_usage(void **state)
{
    static const struct {
        const char *text;
        int64_t tokens; /* -1: estimated */
    } cases[] = {
        {"\"usageMetadata\":{\"promptTokenCount\":0}", 0},
        {"\"usageMetadata\":{\"x\":{\"promptTokenCount\":4},\"promptTokenCount\":3}", 3},
        {"\"usageMetadata\":{\"promptTokenCount\":-3}", -1},
        {"\"usageMetadata\":{\"promptTokenCount\":1.5}", -1},
        {"\"usageMetadata\":{\"promptTokenCount\":\"5\",\"b\":6}", -1},
        {"\"usageMetadata\":{\"promptTokenCount\":[5]}", -1},
        {"\"usageMetadata\":null,\"promptTokenCount\":5", -1},
        {"\"usageMetadata\":[{\"promptTokenCount\":5}]", -1},
        {"\"usageMetadata\":{\"promptTokenCount\":null},\"a\":5", -1},
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[256];
        snprintf(text, sizeof(text), "{%s,\"embeddings\":[{\"values\":[1]}]}", cases[i].text);
        begin(&f, 1, false);
        assert_int_equal(whole(&f, str_c(text)), OK);
        assert_int_equal(f.answer.estimated, cases[i].tokens < 0);
        assert_int_equal(f.answer.tokens, cases[i].tokens < 0 ? 2 : cases[i].tokens);
        end(&f);
    }
}

static size_t decode(struct str text, unsigned char *to)
{
    uint32_t bits = 0;
    size_t have = 0;
    size_t n = 0;

    assert_int_equal(text.n % 4, 0);
    for (size_t i = 0; i < text.n && text.p[i] != '='; i++) {
        bits = bits << 6 | (uint32_t)base64_digit(text.p[i]);
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[n++] = (unsigned char)(bits >> have);
        }
    }
    return n;
}

/* Catches: padding, carried bytes, a rounding that is another than a float's. */
static void test_base64(void **state)
{
    static const char *const numbers[] = {
        "0.1",      "-0.013168523",          "1e-45", "3.4028234e38", "1e-320",
        "16777217", "0.3333333333333333333", "-1",    "123456789"};
    struct fixture f;
    struct arena arena;

    (void)state;
    arena_init(&arena, BYTES_MAX, 4096, NULL);
    for (size_t n = 1; n <= COUNT_OF(numbers); n++) {
        struct buf b;
        unsigned char bytes[sizeof(float) * COUNT_OF(numbers)];
        buf_init(&b, 4096);
        buf_add(&b, STR("{\"embeddings\":[{\"values\":["));
        for (size_t i = 0; i < n; i++)
            buf_print(&b, "%s%s", i > 0 ? "," : "", numbers[i]);
        buf_add(&b, STR("]}]}"));
        begin(&f, 1, true);
        assert_int_equal(whole(&f, buf_str(&b)), OK);
        yyjson_val *root = json_read(buf_str(&f.out), &READ, &arena, &f.e);
        yyjson_val *element = yyjson_arr_get(json_get(root, STR("data")), 0);
        assert_int_equal(decode(json_get_str(element, STR("embedding")), bytes), 4 * n);
        for (size_t i = 0; i < n; i++) {
            float got;
            double want;
            memcpy(&got, bytes + 4 * i, 4);
            assert_true(str_to_double(str_c(numbers[i]), &want));
            assert_true(got >= (float)want && got <= (float)want);
        }
        end(&f);
        buf_fini(&b);
    }
    arena_fini(&arena);
}

/* Catches: memory past the bound. */
static void test_full(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t max = 1; max < sizeof(TWO_FLOATS) + 4; max++) {
        begin(&f, 2, false);
        buf_fini(&f.out);
        buf_init(&f.out, max);
        embeddings_answer_init(&f.answer, &f.asked, STR("emb-1"), &f.out);
        enum error_code code = whole(&f, STR(TWO));
        assert_int_equal(code, max < sizeof(TWO_FLOATS) - 1 ? ERR_UPSTREAM_TOO_LARGE : OK);
        end(&f);
    }
}

/* One byte is another one: it is refused, or it is a list of as many vectors. */
static void test_mutations(void **state)
{
    static const char seed[] = TWO;
    static const char others[] = "\"\\,:[]{}09eEn-. \x80\x01";
    struct arena arena;
    struct fixture f;

    (void)state;
    arena_init(&arena, BYTES_MAX, 4096, NULL);
    for (size_t at = 0; at < sizeof(seed) - 1; at++) {
        for (size_t k = 0; k < sizeof(others) - 1; k++) {
            char text[sizeof(seed)];
            memcpy(text, seed, sizeof(seed));
            text[at] = others[k];
            begin(&f, 2, at % 2 == 0);
            if (whole(&f, str_of(text, sizeof(text) - 1)) == OK) {
                yyjson_val *root = json_read(buf_str(&f.out), &READ, &arena, &f.e);
                assert_int_equal(yyjson_arr_size(json_get(root, STR("data"))), 2);
            }
            end(&f);
            arena_rewind(&arena);
        }
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),   cmocka_unit_test(test_cut),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_broken_off),
        cmocka_unit_test(test_depth),   cmocka_unit_test(test_calls),
        cmocka_unit_test(test_usage),   cmocka_unit_test(test_base64),
        cmocka_unit_test(test_full),    cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
