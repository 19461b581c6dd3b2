/* SPDX-License-Identifier: MIT */
/*
 * Gemini: arguments of a call that come piece by piece (Vertex, streamFunctionCallArguments).
 *
 * What      Each piece names a place in the arguments by a JSON path and says a value, or a part of
 *           a string, that belongs there: gemini.md, 7.
 * How       A tree of the places that were named, in order of their first mention. A string is a
 *           list of its pieces. What a path cannot mean is left out.
 * Owns      Nothing: the tree lies in the answer's arena.
 */
#include "protocol/gemini_priv.h"

enum { PATH_DEPTH_MAX = 64, MEMBERS_MAX = 4096 };

enum node_kind { NODE_NULL, NODE_OBJECT, NODE_ARRAY, NODE_STRING, NODE_JSON };

struct piece {
    struct piece *next;
    struct str text;
};

struct node {
    struct node *next;
    enum node_kind kind;
    struct str key; /* of an object's member */
    size_t n;       /* members, elements */
    struct node *first;
    struct node *last;
    struct piece *pieces; /* a string's; of JSON one */
    struct piece *pieces_last;
};

struct gemini_args {
    struct arena *arena;
    struct node root;
};

struct gemini_args *gemini_args_new(struct arena *arena)
{
    struct gemini_args *args = ARENA_NEW(arena, struct gemini_args);

    args->arena = arena;
    args->root.kind = NODE_OBJECT;
    return args;
}

/* --- places ------------------------------------------------------------------------------- */

/* NULL: too many, or no memory. */
static struct node *node_append(struct gemini_args *args, struct node *in, struct str key)
{
    struct node *node;

    if (in->n >= MEMBERS_MAX || arena_overflowed(args->arena))
        return NULL;
    node = ARENA_NEW(args->arena, struct node);
    struct str kept = str_copy(args->arena, key);
    if (arena_overflowed(args->arena))
        return NULL;
    node->key = kept;
    if (in->first == NULL)
        in->first = node;
    else
        in->last->next = node;
    in->last = node;
    in->n++;
    return node;
}

static struct node *member_of(struct gemini_args *args, struct node *in, struct str key)
{
    if (in->kind == NODE_NULL)
        in->kind = NODE_OBJECT;
    if (in->kind != NODE_OBJECT)
        return NULL;
    /* Pieces of one value follow each other. */
    if (in->last != NULL && str_eq(in->last->key, key))
        return in->last;
    for (struct node *node = in->first; node != NULL; node = node->next) {
        if (str_eq(node->key, key))
            return node;
    }
    return node_append(args, in, key);
}

static struct node *element_of(struct gemini_args *args, struct node *in, int64_t index)
{
    struct node *node = in->first;

    if (in->kind == NODE_NULL)
        in->kind = NODE_ARRAY;
    if (in->kind != NODE_ARRAY || index < 0 || (uint64_t)index > in->n)
        return NULL;
    if ((uint64_t)index == in->n)
        return node_append(args, in, STR(""));
    if ((uint64_t)index + 1 == in->n)
        return in->last;
    for (int64_t i = 0; i < index; i++)
        node = node->next;
    return node;
}

/* Takes "[0]", "['name']" or ["name"] off the path's head; NULL: it means nothing. */
static struct node *step_bracket(struct gemini_args *args, struct node *in, struct str *path)
{
    size_t end = str_find_char(*path, ']', 0);
    int64_t index;

    if (end == SIZE_MAX)
        return NULL;
    struct str inner = str_from(str_head(*path, end), 1);
    *path = str_from(*path, end + 1);
    if (str_to_int64(inner, &index))
        return element_of(args, in, index);
    if (inner.n < 2 || (inner.p[0] != '\'' && inner.p[0] != '"'))
        return NULL;
    return member_of(args, in, str_head(str_from(inner, 1), inner.n - 2));
}

/* Takes ".name" off. */
static struct node *step_dot(struct gemini_args *args, struct node *in, struct str *path)
{
    struct str rest = str_from(*path, 1);
    size_t n = 0;

    while (n < rest.n && rest.p[n] != '.' && rest.p[n] != '[')
        n++;
    *path = str_from(rest, n);
    return n == 0 ? NULL : member_of(args, in, str_head(rest, n));
}

static struct node *place_of(struct gemini_args *args, struct str path)
{
    struct node *node = &args->root;

    if (!str_starts(path, STR("$")))
        return NULL;
    path = str_from(path, 1);
    for (size_t depth = 0; path.n > 0 && node != NULL; depth++) {
        if (depth == PATH_DEPTH_MAX)
            return NULL;
        if (path.p[0] == '.')
            node = step_dot(args, node, &path);
        else if (path.p[0] == '[')
            node = step_bracket(args, node, &path);
        else
            return NULL;
    }
    return node == &args->root ? NULL : node;
}

/* --- values ------------------------------------------------------------------------------- */

static void add_piece(struct gemini_args *args, struct node *node, struct str text)
{
    struct piece *piece;

    if (arena_overflowed(args->arena))
        return;
    piece = ARENA_NEW(args->arena, struct piece);
    struct str kept = str_copy(args->arena, text);
    if (arena_overflowed(args->arena))
        return;
    piece->text = kept;
    if (node->pieces == NULL)
        node->pieces = piece;
    else
        node->pieces_last->next = piece;
    node->pieces_last = piece;
}

static void set_value(struct gemini_args *args, struct node *node, yyjson_val *partial)
{
    yyjson_val *string = json_get(partial, STR("stringValue"));
    yyjson_val *number = json_get(partial, STR("numberValue"));
    yyjson_val *boolean = json_get(partial, STR("boolValue"));

    if (node->kind == NODE_OBJECT || node->kind == NODE_ARRAY || node->kind == NODE_JSON)
        return;
    if (yyjson_is_str(string)) {
        node->kind = NODE_STRING;
        add_piece(args, node, json_str(string));
    } else if (node->kind == NODE_STRING) {
        return;
    } else if (yyjson_is_raw(number)) {
        node->kind = NODE_JSON;
        add_piece(args, node, json_number_token(number));
    } else if (yyjson_is_bool(boolean)) {
        node->kind = NODE_JSON;
        add_piece(args, node, yyjson_is_true(boolean) ? STR("true") : STR("false"));
    }
}

void gemini_args_add(struct gemini_args *args, yyjson_val *partial)
{
    size_t at;
    size_t count;
    yyjson_val *one;

    yyjson_arr_foreach(partial, at, count, one)
    {
        struct node *node = place_of(args, json_get_str(one, STR("jsonPath")));
        if (node != NULL)
            set_value(args, node, one);
    }
}

/* --- writing ------------------------------------------------------------------------------ */

static void write_leaf(const struct node *node, struct buf *out)
{
    if (node->kind == NODE_STRING) {
        buf_add_char(out, '"');
        for (const struct piece *piece = node->pieces; piece != NULL; piece = piece->next)
            json_add_escaped(out, piece->text);
        buf_add_char(out, '"');
    } else if (node->kind == NODE_JSON && node->pieces != NULL) {
        buf_add(out, node->pieces->text);
    } else {
        buf_add(out, STR("null"));
    }
}

/* Depth first, at most PATH_DEPTH_MAX deep. */
static void write_node(const struct node *node, struct buf *out)
{
    bool is_object = node->kind == NODE_OBJECT;

    if (!is_object && node->kind != NODE_ARRAY) {
        write_leaf(node, out);
        return;
    }
    buf_add_char(out, is_object ? '{' : '[');
    for (const struct node *in = node->first; in != NULL; in = in->next) {
        if (in != node->first)
            buf_add_char(out, ',');
        if (is_object) {
            json_add_string(out, in->key);
            buf_add_char(out, ':');
        }
        write_node(in, out);
    }
    buf_add_char(out, is_object ? '}' : ']');
}

struct str gemini_args_text(const struct gemini_args *args, struct arena *to)
{
    struct buf out;

    buf_init(&out, to->bytes_max);
    buf_set_budget(&out, to->budget);
    write_node(&args->root, &out);
    struct str text = str_copy(to, buf_str(&out));
    buf_tell(&out, to);
    buf_fini(&out);
    return text;
}
