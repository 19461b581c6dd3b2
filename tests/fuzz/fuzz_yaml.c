/* SPDX-License-Identifier: MIT */
/*
 * yaml_read.
 *
 * Laws      A tree, or a fault; its places lie within the text, and children come in the order of
 *           the text. Values of maps have keys, others none. No deeper than 32 levels. Texts are
 *           valid UTF-8. Reading twice gives the same.
 */
#include <stdint.h>

#include "text/utf8.h"
#include "text/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH_MAX = 32, ARENA_MAX = 64 * 1024 * 1024 };

/* Line ends of YAML 1.1: CR, LF, and three that are no ASCII. */
static int count_lines(struct str text)
{
    int lines = 1;

    for (size_t i = 0; i < text.n; i++) {
        struct str rest = str_from(text, i);
        lines += text.p[i] == '\n' || text.p[i] == '\r' || str_starts(rest, STR("\xC2\x85")) ||
                 str_starts(rest, STR("\xE2\x80\xA8")) || str_starts(rest, STR("\xE2\x80\xA9"));
    }
    return lines;
}

static void check_place(const struct yaml_node *node, int lines, size_t size)
{
    assert(node->line >= 1 && node->line <= lines);
    assert(node->column >= 1 && (size_t)node->column <= size + 1);
}

static void check_node(const struct yaml_node *node, int lines, size_t size, int depth)
{
    const struct yaml_node *before = NULL;

    check_place(node, lines, size);
    if (node->kind == YAML_SCALAR) {
        bool value;
        assert(node->first == NULL);
        assert(utf8_valid(node->scalar));
        assert(!(yaml_is_null(node) && yaml_to_bool(node, &value)));
        assert(!node->quoted || !yaml_is_null(node));
        return;
    }
    assert(depth < DEPTH_MAX);
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        assert((child->key != NULL) == (node->kind == YAML_MAP));
        if (child->key != NULL) {
            assert(child->key->kind == YAML_SCALAR && child->key->key == NULL);
            check_node(child->key, lines, size, depth + 1);
            assert(yaml_get(node, child->key->scalar) != NULL);
        }
        if (before != NULL)
            assert(child->line > before->line ||
                   (child->line == before->line && child->column >= before->column));
        check_node(child, lines, size, depth + 1);
        before = child;
    }
}

static bool same(const struct yaml_node *a, const struct yaml_node *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->kind != b->kind || a->line != b->line || a->column != b->column ||
        a->quoted != b->quoted || !str_eq(a->scalar, b->scalar) || !same(a->key, b->key))
        return false;
    const struct yaml_node *x = a->first;
    const struct yaml_node *y = b->first;
    while (x != NULL && y != NULL && same(x, y)) {
        x = x->next;
        y = y->next;
    }
    return x == NULL && y == NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of((const char *)data, size);
    struct arena arena;
    struct error e = {.code = OK};
    int line = 0;
    int column = 0;

    if (size > 8192)
        return 0;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    const struct yaml_node *root = yaml_read(text, &arena, &line, &column, &e);
    const struct yaml_node *again = yaml_read(text, &arena, &line, &column, &e);
    assert(same(root, again));
    if (root == NULL) {
        assert(e.code == ERR_CONFIG && e.detail[0] != '\0');
        assert(line >= 1 && line <= count_lines(text));
        assert(column >= 1 && (size_t)column <= size + 1);
    } else {
        assert(root->key == NULL && root->next == NULL);
        check_node(root, count_lines(text), size, 0);
    }
    assert(!arena_overflowed(&arena));
    arena_fini(&arena);
    return 0;
}
