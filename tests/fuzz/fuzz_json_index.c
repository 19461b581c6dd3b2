/* SPDX-License-Identifier: MIT */
/*
 * json_index_read, the walkers, json_read, json_edit_apply.
 *
 * Laws      The index takes a text just when yyjson does, depth and duplicate keys apart (both are
 *           counted again here, in the plain way). Its spans read as yyjson's values. Walking gives
 *           the same members. Removing one member gives the text without it. json_read takes what
 *           the index takes. Walking text that is not valid stays within it.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/buf.h"
#include "text/json.h"
#include "text/json_edit.h"
#include "text/json_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DEPTH_MAX = 24, ARENA_MAX = 64 * 1024 * 1024 };

/* Levels of a value, counted so that a text of a thousand levels does no harm. */
static size_t depth_of(yyjson_val *v, size_t limit)
{
    size_t deepest = 0;
    size_t i;
    size_t n;
    yyjson_val *key;
    yyjson_val *item;

    if (!yyjson_is_ctn(v) || limit == 0)
        return 0;
    if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, n, item)
        {
            size_t depth = depth_of(item, limit - 1);
            deepest = depth > deepest ? depth : deepest;
        }
    } else {
        yyjson_obj_foreach(v, i, n, key, item)
        {
            size_t depth = depth_of(item, limit - 1);
            deepest = depth > deepest ? depth : deepest;
        }
    }
    return deepest + 1;
}

static bool keys_differ(yyjson_val *object)
{
    yyjson_val *a;
    yyjson_val *b;
    size_t seen = 0;
    yyjson_obj_iter outer = yyjson_obj_iter_with(object);

    while ((a = yyjson_obj_iter_next(&outer)) != NULL) {
        yyjson_obj_iter inner = yyjson_obj_iter_with(object);
        for (size_t i = 0; i < seen; i++) {
            b = yyjson_obj_iter_next(&inner);
            if (str_eq(json_str(a), json_str(b)))
                return false;
        }
        seen++;
    }
    return true;
}

/* The elements of the arrays among the object's members, levels deep. */
static bool parts_differ(yyjson_val *object, int levels)
{
    size_t i;
    size_t k;
    size_t n;
    size_t m;
    yyjson_val *key;
    yyjson_val *value;
    yyjson_val *item;

    if (!keys_differ(object))
        return false;
    if (levels == 0)
        return true;
    yyjson_obj_foreach(object, i, n, key, value)
    {
        if (!yyjson_is_arr(value))
            continue;
        yyjson_arr_foreach(value, k, m, item)
        {
            if (yyjson_is_obj(item) && !parts_differ(item, levels - 1))
                return false;
        }
    }
    return true;
}

/* What the index should say, by yyjson. Lone surrogate escapes are ours to take (json_read). */
static yyjson_val *expected(struct str text, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 1024};
    struct error e;
    yyjson_val *root = json_read(text, &options, arena, &e);

    if (root == NULL || !yyjson_is_obj(root) || depth_of(root, DEPTH_MAX + 1) > DEPTH_MAX)
        return NULL;
    return parts_differ(root, 2) ? root : NULL;
}

static void check_same(yyjson_val *want, struct str span, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = 1024};
    struct error e;
    yyjson_val *is = json_read(span, &options, arena, &e);

    assert(is != NULL);
    assert(yyjson_equals(is, want));
    if (yyjson_is_str(want))
        assert(str_eq(json_string_value(span, arena), json_str(want)));
    assert(str_eq(json_text(is, arena), json_text(want, arena)));
}

static void check_walk(struct str value, yyjson_val *want, size_t levels, struct arena *arena)
{
    size_t cursor = 0;
    struct json_member member;
    struct str item;

    if (levels == 0)
        return;
    if (yyjson_is_obj(want)) {
        yyjson_obj_iter iter = yyjson_obj_iter_with(want);
        while (json_object_next(value, &cursor, arena, &member)) {
            yyjson_val *key = yyjson_obj_iter_next(&iter);
            assert(key != NULL && str_eq(member.key, json_str(key)));
            assert(value.p[member.begin] == '"');
            assert(member.value.p + member.value.n == value.p + member.end);
            assert(!str_is_null(json_object_find(value, member.key)));
            check_walk(member.value, yyjson_obj_iter_get_val(key), levels - 1, arena);
        }
        assert(!yyjson_obj_iter_has_next(&iter));
    } else if (yyjson_is_arr(want)) {
        yyjson_arr_iter iter = yyjson_arr_iter_with(want);
        while (json_array_next(value, &cursor, &item))
            check_walk(item, yyjson_arr_iter_next(&iter), levels - 1, arena);
        assert(!yyjson_arr_iter_has_next(&iter));
    } else if (yyjson_is_str(want)) {
        assert(str_eq(json_string_value(value, arena), json_str(want)));
    } else if (yyjson_is_raw(want)) {
        assert(str_eq(value, json_number_token(want)));
    }
}

/* One member less and one more. */
static void check_edit(const struct json_index *index, size_t victim, struct arena *arena)
{
    struct json_edits edits = {.n = 0};
    struct json_index after;
    struct str *parts;
    size_t n;
    size_t bytes;
    struct error e;
    struct buf b;
    bool taken = json_index_find(index, STR("+")) != NULL;

    if (!taken)
        json_edit_add(&edits, arena, index, STR("+"), STR("[1]"));
    json_edit_remove(&edits, arena, index, &index->members[victim]);
    json_edit_apply(&edits, index->source, arena, &parts, &n, &bytes);
    buf_init(&b, bytes + 1);
    for (size_t i = 0; i < n; i++)
        buf_add(&b, parts[i]);
    assert(buf_ok(&b) && b.n == bytes);
    enum error_code code = json_index_read(&after, buf_str(&b), DEPTH_MAX, NULL, arena, &e);
    assert(code == OK);
    assert(after.n == index->n - 1 + (taken ? 0 : 1));
    for (size_t i = 0; i + 1 < index->n; i++) {
        const struct json_member *was = &index->members[i + (i >= victim ? 1 : 0)];
        assert(str_eq(after.members[i].key, was->key));
        assert(str_eq(after.members[i].value, was->value));
    }
    buf_fini(&b);
}

static void check_taken(const struct json_index *index, yyjson_val *want, struct arena *arena)
{
    yyjson_obj_iter iter = yyjson_obj_iter_with(want);

    assert(index->n == yyjson_obj_size(want));
    for (size_t i = 0; i < index->n; i++) {
        yyjson_val *key = yyjson_obj_iter_next(&iter);
        assert(str_eq(index->members[i].key, json_str(key)));
        if (i < 8)
            check_same(yyjson_obj_iter_get_val(key), index->members[i].value, arena);
        assert(json_index_find(index, index->members[i].key) == &index->members[i]);
    }
    size_t from = index->open;
    check_walk(str_of(index->source.p + from, index->close + 1 - from), want, DEPTH_MAX, arena);
    if (index->n > 0) {
        check_edit(index, 0, arena);
        check_edit(index, index->n - 1, arena);
        check_edit(index, index->n / 2, arena);
    }
}

static void walk_anything(struct str text, struct arena *arena)
{
    struct json_member member;
    struct str value;
    size_t cursor = 0;

    while (json_object_next(text, &cursor, arena, &member))
        assert(cursor <= text.n && member.begin < member.end);
    cursor = 0;
    while (json_array_next(text, &cursor, &value))
        assert(cursor <= text.n && value.n > 0);
    (void)json_object_find(text, STR("a"));
    (void)json_string_value(text, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of((const char *)data, size);
    struct json_index index;
    struct arena arena;
    struct error e = {.code = OK};

    if (size > 16384)
        return 0;
    arena_init(&arena, ARENA_MAX, 4096, NULL);
    walk_anything(text, &arena);
    bool taken = json_index_read(&index, text, DEPTH_MAX, NULL, &arena, &e) == OK;
    yyjson_val *want = expected(text, &arena);
    assert(taken == (want != NULL));
    if (taken)
        check_taken(&index, want, &arena);
    else
        assert(e.code == ERR_BAD_REQUEST && e.detail[0] != '\0');
    assert(!arena_overflowed(&arena));
    arena_fini(&arena);
    return 0;
}
