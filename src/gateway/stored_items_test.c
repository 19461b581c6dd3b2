/* SPDX-License-Identifier: MIT */
/* Items of kept responses: put before a request, found by their ids, listed page by page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/stored_items.h"
#include "text/json.h"

enum { MEMORY = 1 << 20 };

static void expect(struct stored_parts *parts, const char *want)
{
    char got[4096];

    assert_in_range(parts->bytes, 0, sizeof(got) - 1);
    char *end = stored_items_write(parts, got);
    assert_int_equal(end - got, parts->bytes);
    *end = '\0';
    assert_string_equal(got, want);
    *parts = (struct stored_parts){.arena = parts->arena};
}

static void test_what_an_input_stands_for(void **state)
{
    (void)state;
    struct arena arena;
    struct stored_parts out = {.arena = &arena};

    arena_init(&arena, MEMORY, 512, NULL);
    assert_true(stored_items_of_input(STR("\"say \\\"hi\\\"\""), &out));
    assert_true(stored_items_of_input(STR("[ {\"a\":[1,2]} ,{\"b\":\"]\"}\n]"), &out));
    assert_true(stored_items_of_input(STR("[]"), &out));
    assert_true(stored_items_of_input(STR("[ \t]"), &out));
    stored_items_add_text(STR("1,2"), &out);
    stored_items_add_text(STR_NULL, &out);
    expect(&out, "{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\","
                 "\"text\":\"say \\\"hi\\\"\"}]},{\"a\":[1,2]} ,{\"b\":\"]\"},1,2");
    assert_false(stored_items_of_input(STR("7"), &out));
    assert_false(stored_items_of_input(STR("{}"), &out));
    assert_false(stored_items_of_input(STR_NULL, &out));
    expect(&out, "");
    arena_fini(&arena);
}

/* Catches: a list of pieces that loses some as it grows, or writes where there is no memory. */
static void test_pieces(void **state)
{
    (void)state;
    struct arena arena;
    struct stored_parts out = {.arena = &arena};
    char want[1024] = "";
    char got[1024];

    arena_init(&arena, MEMORY, 512, NULL);
    for (size_t i = 0; i < 500; i++) {
        want[i] = (char)('a' + i % 26);
        stored_items_piece(&out, str_of(want + i, 1));
    }
    assert_int_equal(out.n, 500);
    *stored_items_write(&out, got) = '\0';
    assert_string_equal(got, want);
    arena_fini(&arena);

    arena_init(&arena, 512, 512, NULL);
    out = (struct stored_parts){.arena = &arena};
    for (size_t i = 0; i < 500; i++)
        stored_items_add_text(STR("x"), &out);
    assert_true(arena_overflowed(&arena));
    arena_fini(&arena);
}

#define REASONING "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}"
#define CALL                                                   \
    "{\"id\":\"fc_1\",\"type\":\"function_call\",\"call_id\":" \
    "\"call_1\",\"name\":\"f\"}"

/* Catches: reasoning that goes to another vendor, and ids that it would refuse. */
static void test_for_another_backend(void **state)
{
    (void)state;
    struct arena arena;
    struct stored_parts out = {.arena = &arena};

    arena_init(&arena, MEMORY, 512, NULL);
    stored_items_add(STR("[" REASONING "," CALL "]"), false, &out);
    expect(&out, REASONING "," CALL);
    stored_items_add(STR("[" REASONING "," CALL ",{\"id\":\"x\"},{\"role\":\"user\",\"\\u0069d\""
                         ":1,\"content\":\"id\"}]"),
                     true, &out);
    expect(&out, "{\"type\":\"function_call\",\"call_id\":\"call_1\",\"name\":\"f\"},{},"
                 "{\"role\":\"user\",\"content\":\"id\"}");
    stored_items_add(STR("[{\"a\":1, \"id\":\"x\",\"b\":2,\"c\":{\"id\":3}} , 7,{\"d\":4}]"), true,
                     &out);
    expect(&out, "{\"a\":1,\"b\":2,\"c\":{\"id\":3}},7,{\"d\":4}");
    arena_fini(&arena);
}

static void test_references(void **state)
{
    static const struct {
        const char *item;
        const char *id; /* NULL: it is none */
    } cases[] = {
        {"{\"type\":\"item_reference\",\"id\":\"msg_1\"}", "msg_1"},
        {"{\"id\":\"msg_1\"}", "msg_1"},
        {"{\"id\":\"msg_1\",\"type\":null}", "msg_1"},
        {"{\"id\":\"msg_1\",\"role\":\"user\",\"content\":\"\"}", NULL},
        {"{\"id\":\"msg_1\",\"type\":\"message\"}", NULL},
        {"{\"type\":\"item_reference\",\"id\":7}", NULL},
        {"\"item_reference\"", NULL},
        {CALL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str id = stored_items_reference(str_c(cases[i].item));
        if (str_is_null(id) != (cases[i].id == NULL) || !str_eq(id, str_c(cases[i].id)))
            fail_msg("%s: %.*s", cases[i].item, STR_ARG(id));
    }
    assert_true(
        str_eq(stored_items_find(STR("[1," REASONING "," CALL "]"), STR("fc_1")), STR(CALL)));
    assert_true(str_is_null(stored_items_find(STR("[1," REASONING "," CALL "]"), STR("fc_2"))));
    assert_true(str_is_null(stored_items_find(STR("[]"), STR(""))));
}

/* --- the list --- */

static struct str list(struct arena *arena, const char *array, bool ascending, size_t limit,
                       const char *after)
{
    const struct stored_items_page page = {.ascending = ascending,
                                           .limit = limit,
                                           .after = str_c(after)};
    struct buf out;

    buf_init(&out, MEMORY);
    if (!stored_items_list(str_c(array), STR("resp_1"), &page, arena, &out))
        return STR_NULL;
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static yyjson_val *read(struct arena *arena, struct str text)
{
    struct error e;
    yyjson_val *root = json_read(text, &(struct json_read_options){.depth_max = 0}, arena, &e);

    assert_non_null(root);
    return root;
}

static void test_a_list_has_long_forms_and_ids(void **state)
{
    (void)state;
    struct arena arena;

    arena_init(&arena, MEMORY, 512, NULL);
    struct str text = list(&arena,
                           "[{\"id\":\"msg_7\",\"role\":\"user\",\"content\":\"hi\"},"
                           "{\"role\":\"assistant\",\"content\":\"ho\",\"type\":null}," CALL "]",
                           true, 20, NULL);
    yyjson_val *root = read(&arena, text);
    yyjson_val *data = json_get(root, STR("data"));
    assert_true(str_eq(json_get_str(root, STR("object")), STR("list")));
    assert_int_equal(yyjson_arr_size(data), 3);
    struct str made = json_get_str(yyjson_arr_get(data, 1), STR("id"));
    assert_true(str_starts(made, STR("msg_")) && made.n == 36);
    assert_true(str_starts(text, STR("{\"object\":\"list\",\"data\":[{\"id\":\"msg_7\",\"type\":"
                                     "\"message\",\"role\":\"user\",\"content\":[{\"type\":"
                                     "\"input_text\",\"text\":\"hi\"}]},{\"id\":\"msg_")));
    assert_int_not_equal(str_find(text,
                                  STR(",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{"
                                      "\"type\":\"output_text\",\"annotations\":[],\"text\":\"ho\""
                                      "}]},"),
                                  0),
                         SIZE_MAX);
    assert_true(str_eq(json_get_str(root, STR("first_id")), STR("msg_7")));
    assert_true(str_eq(json_get_str(root, STR("last_id")), STR("fc_1")));
    assert_true(yyjson_is_false(json_get(root, STR("has_more"))));

    text = list(&arena, "[]", true, 20, NULL);
    assert_true(str_eq(text, STR("{\"object\":\"list\",\"data\":[],\"first_id\":\"\",\"last_id\":"
                                 "\"\",\"has_more\":false}")));
    arena_fini(&arena);
}

/* Catches: an item that is on no page or on two, in either order. */
static void test_pages(void **state)
{
    static const char items[] = "[{\"id\":\"a\",\"type\":\"x\"},{\"type\":\"y\"},"
                                "{\"type\":\"y\"},{\"id\":\"d\",\"type\":\"x\"},{\"type\":\"z\"}]";
    struct arena arena;

    (void)state;
    arena_init(&arena, MEMORY, 512, NULL);
    for (int ascending = 0; ascending < 2; ascending++) {
        for (size_t limit = 1; limit <= 6; limit++) {
            const char *after = NULL;
            bool more = true;
            size_t seen = 0;
            while (more) {
                yyjson_val *root = read(&arena, list(&arena, items, ascending == 1, limit, after));
                yyjson_val *data = json_get(root, STR("data"));
                size_t n = yyjson_arr_size(data);
                assert_in_range(n, 1, limit);
                struct str first = json_get_str(yyjson_arr_get(data, 0), STR("id"));
                if (seen == 0 && ascending == 1)
                    assert_true(str_eq(first, STR("a")));
                assert_true(str_eq(json_get_str(root, STR("first_id")), first));
                seen += n;
                after = str_z(&arena, json_get_str(root, STR("last_id")));
                more = yyjson_is_true(json_get(root, STR("has_more")));
            }
            assert_int_equal(seen, 5);
            assert_true((ascending == 0) == (strcmp(after, "a") == 0));
        }
    }
    assert_true(str_is_null(list(&arena, items, true, 2, "nothing")));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_an_input_stands_for),      cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_for_another_backend),           cmocka_unit_test(test_references),
        cmocka_unit_test(test_a_list_has_long_forms_and_ids), cmocka_unit_test(test_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
