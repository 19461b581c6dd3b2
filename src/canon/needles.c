/* SPDX-License-Identifier: MIT */
/*
 * What      Aho and Corasick's automaton (1975) over the needles' bytes.
 * How       A trie; each node is a beginning of a needle, and falls back to the longest proper end
 *           of it that is a beginning too. Children are lists: needles are few, and most text
 *           leaves the root for none.
 */
#include "canon/needles.h"

enum { NO_NEEDLE = -1 };

struct needles_node {
    uint32_t child; /* the first; 0: none (the root is nobody's child) */
    uint32_t sibling;
    uint32_t back;  /* where to go on when there is no child for a byte */
    uint32_t depth; /* bytes from the root */
    uint32_t from;  /* a needle that begins with it */
    int32_t ends;   /* the longest needle that ends here */
    uint8_t byte;
};

struct needles {
    const struct str *texts;
    uint32_t n;
    struct needles_node *nodes;
    bool begins[256]; /* whether a needle begins with that byte */
};

static uint32_t child_of(const struct needles *needles, uint32_t node, uint8_t byte)
{
    uint32_t child = needles->nodes[node].child;

    while (child != 0 && needles->nodes[child].byte != byte)
        child = needles->nodes[child].sibling;
    return child;
}

static uint32_t step(const struct needles *needles, uint32_t node, uint8_t byte)
{
    for (;;) {
        uint32_t child = child_of(needles, node, byte);
        if (child != 0 || node == 0)
            return child;
        node = needles->nodes[node].back;
    }
}

static void add(struct needles *needles, uint32_t which)
{
    struct str text = needles->texts[which];
    uint32_t node = 0;

    for (size_t i = 0; i < text.n; i++) {
        uint8_t byte = (uint8_t)text.p[i];
        uint32_t next = child_of(needles, node, byte);
        if (next == 0) {
            next = needles->n++;
            needles->nodes[next] = (struct needles_node){
                .sibling = needles->nodes[node].child,
                .depth = (uint32_t)i + 1,
                .from = which,
                .ends = NO_NEEDLE,
                .byte = byte,
            };
            needles->nodes[node].child = next;
        }
        node = next;
    }
    if (node != 0 && needles->nodes[node].ends == NO_NEEDLE)
        needles->nodes[node].ends = (int32_t)which;
}

/* Where each node falls back to: level by level, as it is told by those above. */
static void link_back(struct needles *needles, uint32_t *queue)
{
    struct needles_node *nodes = needles->nodes;
    uint32_t n = 0;

    queue[n++] = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t child = nodes[queue[i]].child; child != 0; child = nodes[child].sibling) {
            queue[n++] = child;
            if (queue[i] == 0)
                continue;
            nodes[child].back = step(needles, nodes[queue[i]].back, nodes[child].byte);
            if (nodes[child].ends == NO_NEEDLE)
                nodes[child].ends = nodes[nodes[child].back].ends;
        }
    }
    assert(n == needles->n);
}

struct needles *needles_new(const struct str *texts, size_t n, struct arena *arena)
{
    struct needles *needles = ARENA_NEW(arena, struct needles);
    size_t bytes = 1; /* the root */

    for (size_t i = 0; i < n; i++)
        bytes += texts[i].n;
    struct needles_node *nodes = arena_array(arena, bytes, sizeof(*nodes));
    uint32_t *queue = arena_array(arena, bytes, sizeof(*queue));
    if (arena_overflowed(arena) || n > INT32_MAX || bytes > UINT32_MAX)
        return NULL;

    *needles = (struct needles){.texts = texts, .n = 1, .nodes = nodes};
    nodes[0] = (struct needles_node){.ends = NO_NEEDLE};
    for (uint32_t i = 0; i < n; i++) {
        add(needles, i);
        if (texts[i].n > 0)
            needles->begins[(uint8_t)texts[i].p[0]] = true;
    }
    link_back(needles, queue);
    return needles;
}

struct str needles_held(const struct needles *needles, uint32_t state)
{
    assert(state < needles->n);
    const struct needles_node *node = &needles->nodes[state];
    return state == 0 ? STR_NULL : str_head(needles->texts[node->from], node->depth);
}

/* The first n bytes of what was held and the piece together. */
static void let_go(struct str held, struct str piece, size_t n, struct needles_found *ret_found)
{
    ret_found->held = str_head(held, n);
    ret_found->text = str_head(piece, n - ret_found->held.n);
}

bool needles_feed(const struct needles *needles, uint32_t *state, struct str piece,
                  struct needles_found *ret_found)
{
    struct str held = needles_held(needles, *state);
    uint32_t node = *state;

    for (size_t i = 0; i < piece.n; i++) {
        uint8_t byte = (uint8_t)piece.p[i];
        if (node == 0 && LIKELY(!needles->begins[byte]))
            continue;
        node = step(needles, node, byte);
        int32_t ends = needles->nodes[node].ends;
        if (ends == NO_NEEDLE)
            continue;
        let_go(held, piece, held.n + i + 1 - needles->texts[ends].n, ret_found);
        ret_found->rest = str_from(piece, i + 1);
        ret_found->which = (size_t)ends;
        *state = NEEDLES_BEGIN;
        return true;
    }
    let_go(held, piece, held.n + piece.n - needles->nodes[node].depth, ret_found);
    ret_found->rest = STR_NULL;
    *state = node;
    return false;
}
