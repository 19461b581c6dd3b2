/* SPDX-License-Identifier: MIT */
#include "text/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 64 * 1024 * 1024, 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void dump_text(const struct yaml_node *node, struct buf *b)
{
    const char *quote = node->quoted ? "'" : "";
    buf_print(b, "%s%.*s%s@%d:%d", quote, STR_ARG(node->scalar), quote, node->line, node->column);
}

static void dump(const struct yaml_node *node, struct buf *b)
{
    if (node->kind == YAML_SCALAR) {
        dump_text(node, b);
        return;
    }
    buf_print(b, "%s@%d:%d", node->kind == YAML_MAP ? "{" : "[", node->line, node->column);
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        assert_true((child->key != NULL) == (node->kind == YAML_MAP));
        buf_add_char(b, ' ');
        if (child->key != NULL) {
            dump_text(child->key, b);
            buf_add_char(b, '=');
        }
        dump(child, b);
    }
    buf_add_char(b, node->kind == YAML_MAP ? '}' : ']');
}

static void test_trees(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"", "{@1:1}"},
        {"# nothing\n", "{@1:1}"},
        {"---\n...\n", "{@1:1}"},
        {"--- ~\n", "~@1:5"},
        {"a: 1\nb:\n  c: x y\n  d: 'q'\n",
         "{@1:1 a@1:1=1@1:4 b@2:1={@3:3 c@3:3=x y@3:6 d@4:3='q'@4:6}}"},
        {"- 1\n- [2, \"3\"]\n- {k: v}\n", "[@1:1 1@1:3 [@2:3 2@2:4 '3'@2:7] {@3:3 k@3:4=v@3:7}]"},
        {"a:\nb: ~\n", "{@1:1 a@1:1=@1:3 b@2:1=~@2:4}"},
        /* kept, the reader of the tree reports it */
        {"a: 1\na: 2\n", "{@1:1 a@1:1=1@1:4 a@2:1=2@2:4}"},
        {"t: |\n  x\n  y\nf: >-\n  x\n  y\n", "{@1:1 t@1:1='x\ny\n'@1:4 f@4:1='x y'@4:4}"},
        {"a: !!str 1\nb: !!int 2\nc: ! 3\n", "{@1:1 a@1:1='1'@1:4 b@2:1=2@2:4 c@3:1='3'@3:4}"},
        {"%YAML 1.1\n---\na: 1\n", "{@3:1 a@3:1=1@3:4}"},
        {"\xEF\xBB\xBF"
         "a: \xC3\xA9 \xE2\x82\xAC # c\n",
         "{@1:1 a@1:1=\xC3\xA9 \xE2\x82\xAC@1:4}"},
        {"'a b': 1\r\nc: 2\r\n", "{@1:1 'a b'@1:1=1@1:8 c@2:1=2@2:4}"},
        {"just text", "just text@1:1"},
        /* what is not there is in the last line, not in one after it */
        {"?", "{@1:1 @1:2=@1:2}"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error e;
        struct buf b;
        int line;
        int column;
        struct yaml_node *root = yaml_read(str_c(cases[i].text), &arena, &line, &column, &e);
        if (root == NULL)
            fail_msg("%s: %s", cases[i].text, e.detail);
        assert_null(root->key);
        assert_null(root->next);
        buf_init(&b, 4096);
        dump(root, &b);
        buf_add_char(&b, '\0');
        assert_string_equal(b.p, cases[i].want);
        buf_fini(&b);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int line;
        int column;
        const char *detail;
    } cases[] = {
        {"a: &x 1\n", 1, 4, "anchors are not supported"},
        {"a: &x [1]\nb: *x\n", 1, 4, "anchors are not supported"},
        {"b:\n  - *x\n", 2, 5, "aliases are not supported"},
        {"a: !local 1\n", 1, 4, "tags are not supported"},
        {"a: !!binary aGk=\n", 1, 4, "tags are not supported"},
        {"a: !!python/object {}\n", 1, 4, "tags are not supported"},
        {"a: 1\n---\nb: 2\n", 2, 1, "more than one document"},
        {"a: 1\n? [x]\n: 2\n", 2, 3, "a key must be a plain text"},
        {"a: 1\n b: 2\n", 2, 3, "mapping values are not allowed in this context"},
        {"a: [1\nb: 2\n", 2, 2, "did not find expected ',' or ']' while parsing a flow sequence"},
        {"a: 1\nb: @x\n", 2, 4,
         "found character that cannot start any token while scanning for the next token"},
        /* in the last line, not in one after it */
        {"a: &x \n0", 2, 2, "could not find expected ':' while scanning a simple key"},
        {"a: [\xC3\xA9", 1, 6, "did not find expected ',' or ']' while parsing a flow sequence"},
        {"a: \"x\n", 2, 1, "found unexpected end of stream while scanning a quoted scalar"},
        {"a: 1\nb: \xC3\xA9\xFF\n", 2, 5, "invalid UTF-8"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error e = {.code = OK};
        int line = 0;
        int column = 0;
        assert_null(yaml_read(str_c(cases[i].text), &arena, &line, &column, &e));
        assert_int_equal(e.code, ERR_CONFIG);
        assert_string_equal(e.detail, cases[i].detail);
        assert_int_equal(line, cases[i].line);
        assert_int_equal(column, cases[i].column);
    }
}

static void test_depth(void **state)
{
    char text[80];
    struct error e;
    int line;
    int column;

    (void)state;
    for (size_t depth = 31; depth <= 33; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        struct yaml_node *root = yaml_read(str_of(text, 2 * depth), &arena, &line, &column, &e);
        if (depth <= 32) {
            assert_non_null(root);
            continue;
        }
        assert_null(root);
        assert_string_equal(e.detail, "nested too deeply");
        assert_int_equal(column, 33);
    }
}

static void test_arena_limit(void **state)
{
    struct arena small;
    struct error e;
    int line;
    int column;
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 16);
    for (int i = 0; i < 1000; i++)
        buf_print(&b, "- %d\n", i);
    arena_init(&small, 8192, 512, NULL);
    assert_null(yaml_read(buf_str(&b), &small, &line, &column, &e));
    assert_string_equal(e.detail, "too large");
    assert_true(line > 10 && line < 1000);
    arena_fini(&small);
    buf_fini(&b);
}

static void test_get(void **state)
{
    struct error e;
    int line;
    int column;
    struct yaml_node *root = yaml_read(STR("a: 1\n'b': {c: 2}\nl: [1]\na: 3\n"), &arena, &line,
                                       &column, &e);

    (void)state;
    assert_non_null(root);
    assert_true(str_eq(yaml_get(root, STR("a"))->scalar, STR("1")));
    assert_true(str_eq(yaml_get(yaml_get(root, STR("b")), STR("c"))->scalar, STR("2")));
    assert_null(yaml_get(root, STR("c")));
    assert_null(yaml_get(yaml_get(root, STR("l")), STR("1")));
    assert_null(yaml_get(yaml_get(root, STR("a")), STR("a")));
    assert_null(yaml_get(NULL, STR("a")));
}

static void test_scalars(void **state)
{
    static const struct {
        const char *text;
        char want; /* t f: a boolean, n: null, -: a text */
    } cases[] = {
        {"true", 't'},  {"True", 't'},      {"TRUE", 't'},    {"yes", 't'},   {"Yes", 't'},
        {"YES", 't'},   {"on", 't'},        {"On", 't'},      {"ON", 't'},    {"false", 'f'},
        {"False", 'f'}, {"FALSE", 'f'},     {"no", 'f'},      {"No", 'f'},    {"NO", 'f'},
        {"off", 'f'},   {"Off", 'f'},       {"OFF", 'f'},     {"~", 'n'},     {"null", 'n'},
        {"Null", 'n'},  {"NULL", 'n'},      {"", 'n'},        {"nULL", '-'},  {"tRUE", '-'},
        {"y", '-'},     {"1", '-'},         {"'true'", '-'},  {"\"\"", '-'},  {"'~'", '-'},
        {"[]", '-'},    {"!!str yes", '-'}, {"trueish", '-'}, {"!!str", '-'},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error e;
        int line;
        int column;
        bool value = cases[i].want != 't';
        struct str text = str_print(&arena, "k: %s\n", cases[i].text);
        struct yaml_node *root = yaml_read(text, &arena, &line, &column, &e);
        assert_non_null(root);
        const struct yaml_node *node = yaml_get(root, STR("k"));
        bool is_bool = cases[i].want == 't' || cases[i].want == 'f';
        if (yaml_to_bool(node, &value) != is_bool || yaml_is_null(node) != (cases[i].want == 'n'))
            fail_msg("%s", cases[i].text);
        if (is_bool)
            assert_int_equal(value, cases[i].want == 't');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trees), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth), cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_get),   cmocka_unit_test(test_scalars),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
