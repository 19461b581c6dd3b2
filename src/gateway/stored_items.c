/* SPDX-License-Identifier: MIT */
#include "gateway/stored_items.h"

#include <xxhash.h>

#include "text/json.h"
#include "text/json_index.h"

/* A string's text as it stands between its quotes; null for anything else. */
static struct str bare(struct str value)
{
    if (value.n < 2 || value.p[0] != '"')
        return STR_NULL;
    return str_of(value.p + 1, value.n - 2);
}

static bool is_object(struct str value)
{
    return value.n > 0 && value.p[0] == '{';
}

static struct str type_of(struct str item)
{
    return bare(json_object_find(item, STR("type")));
}

/* --- pieces --- */

enum { PARTS_MIN = 16 };

void stored_items_piece(struct stored_parts *parts, struct str piece)
{
    if (piece.n == 0)
        return;
    if (parts->n == parts->size) {
        size_t size = parts->size == 0 ? PARTS_MIN : 2 * parts->size;
        struct str *items = arena_grow(parts->arena, parts->items, parts->n * sizeof(*items),
                                       size * sizeof(*items));
        if (arena_overflowed(parts->arena))
            return;
        parts->items = items;
        parts->size = size;
    }
    parts->items[parts->n++] = piece;
    parts->bytes += piece.n;
}

char *stored_items_write(const struct stored_parts *parts, char *to)
{
    for (size_t i = 0; i < parts->n; i++) {
        memcpy(to, parts->items[i].p, parts->items[i].n);
        to += parts->items[i].n;
    }
    return to;
}

/* --- elements --- */

void stored_items_add_text(struct str elements, struct stored_parts *out)
{
    if (elements.n == 0)
        return;
    if (out->some)
        stored_items_piece(out, STR(","));
    out->some = true;
    stored_items_piece(out, elements);
}

/* What is between the array's brackets. */
static struct str inside(struct str array)
{
    return array.n < 2 ? STR_NULL : str_trim(str_of(array.p + 1, array.n - 2));
}

bool stored_items_of_input(struct str input, struct stored_parts *out)
{
    if (!str_is_null(bare(input))) {
        stored_items_add_text(STR("{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
                                  "\"input_text\",\"text\":"),
                              out);
        stored_items_piece(out, input);
        stored_items_piece(out, STR("}]}"));
        return true;
    }
    if (input.n == 0 || input.p[0] != '[')
        return false;
    stored_items_add_text(inside(input), out);
    return true;
}

static bool has_id(struct str item, struct arena *arena)
{
    struct json_member member;
    size_t cursor = 0;

    while (json_object_next(item, &cursor, arena, &member)) {
        if (str_eq(member.key, STR("id")))
            return true;
    }
    return false;
}

/* The object without the member `id`, wherever it stands. */
static void add_without_id(struct str item, struct stored_parts *out)
{
    struct json_member member;
    size_t cursor = 0;
    size_t begin = SIZE_MAX; /* of a run of members that stay */
    size_t end = 0;
    bool some = false;

    stored_items_add_text(STR("{"), out);
    for (bool more = true; more;) {
        more = json_object_next(item, &cursor, out->arena, &member);
        if (more && !str_eq(member.key, STR("id"))) {
            begin = begin == SIZE_MAX ? member.begin : begin;
            end = member.end;
            continue;
        }
        if (begin == SIZE_MAX)
            continue;
        stored_items_piece(out, some ? STR(",") : STR_NULL);
        stored_items_piece(out, str_of(item.p + begin, end - begin));
        some = true;
        begin = SIZE_MAX;
    }
    stored_items_piece(out, STR("}"));
}

void stored_items_add(struct str array, bool foreign, struct stored_parts *out)
{
    size_t cursor = 0;
    struct str item;

    if (!foreign) {
        stored_items_add_text(inside(array), out);
        return;
    }
    while (json_array_next(array, &cursor, &item) && !arena_overflowed(out->arena)) {
        if (str_eq(type_of(item), STR("reasoning")))
            continue;
        if (is_object(item) && has_id(item, out->arena))
            add_without_id(item, out);
        else
            stored_items_add_text(item, out);
    }
}

struct str stored_items_id(struct str item)
{
    return is_object(item) ? bare(json_object_find(item, STR("id"))) : STR_NULL;
}

struct str stored_items_reference(struct str item)
{
    if (!is_object(item))
        return STR_NULL;
    struct str type = json_object_find(item, STR("type"));
    /* Its type may be left out; a message's may, too, which has a role. */
    bool untyped = (str_is_null(type) || str_eq(type, STR("null"))) &&
                   str_is_null(json_object_find(item, STR("role")));
    if (!untyped && !str_eq(bare(type), STR("item_reference")))
        return STR_NULL;
    return stored_items_id(item);
}

struct str stored_items_find(struct str array, struct str id)
{
    size_t cursor = 0;
    struct str item;

    while (json_array_next(array, &cursor, &item)) {
        if (str_eq(stored_items_id(item), id))
            return item;
    }
    return STR_NULL;
}

/* --- the list --- */

static const char *prefix_of(struct str type)
{
    static const struct {
        const char *type;
        const char *prefix;
    } rows[] = {
        {"message", "msg"},
        {"function_call", "fc"},
        {"function_call_output", "fco"},
        {"custom_tool_call", "ctc"},
        {"custom_tool_call_output", "ctco"},
        {"reasoning", "rs"},
    };

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (str_eq(type, str_c(rows[i].type)))
            return rows[i].prefix;
    }
    return "item";
}

/* Its own, or one that the place gives it. */
static struct str id_of(struct str item, struct str response_id, size_t place, struct arena *arena)
{
    struct str id = stored_items_id(item);
    struct str type = type_of(item);

    if (id.n > 0)
        return id;
    XXH128_hash_t hash = XXH3_128bits_withSeed(response_id.p, response_id.n, place);
    return str_print(arena, "%s_%016llx%016llx", str_is_null(type) ? "msg" : prefix_of(type),
                     (unsigned long long)hash.high64, (unsigned long long)hash.low64);
}

static void add_content(struct str item, struct str content, struct buf *out)
{
    bool ours = str_eq(bare(json_object_find(item, STR("role"))), STR("assistant"));

    if (str_is_null(bare(content))) {
        (void)buf_add(out, content);
        return;
    }
    (void)buf_add(out, ours ? STR("[{\"type\":\"output_text\",\"annotations\":[],\"text\":")
                            : STR("[{\"type\":\"input_text\",\"text\":"));
    (void)buf_add(out, content);
    (void)buf_add(out, STR("}]"));
}

static void add_listed(struct str item, struct str id, struct arena *arena, struct buf *out)
{
    struct json_member member;
    size_t cursor = 0;
    bool typed = !str_is_null(type_of(item));

    (void)buf_print(out, "{\"id\":\"%.*s\"", STR_ARG(id));
    if (!typed)
        (void)buf_add(out, STR(",\"type\":\"message\""));
    while (json_object_next(item, &cursor, arena, &member)) {
        bool given = str_eq(member.key, STR("id")) || (!typed && str_eq(member.key, STR("type")));
        if (given)
            continue;
        (void)buf_add_char(out, ',');
        if (str_eq(member.key, STR("content"))) {
            (void)buf_add(out, STR("\"content\":"));
            add_content(item, member.value, out);
        } else {
            (void)buf_add(out, str_of(item.p + member.begin, member.end - member.begin));
        }
    }
    (void)buf_add_char(out, '}');
}

struct listing {
    struct str *items;
    struct str *ids;
    size_t n;
};

static void read_items(struct str array, struct str response_id, struct arena *arena,
                       struct listing *ret_listing)
{
    size_t cursor = 0;
    size_t n = 0;
    struct str item;

    while (json_array_next(array, &cursor, &item))
        n++;
    ret_listing->items = arena_array(arena, n + 1, sizeof(struct str));
    ret_listing->ids = arena_array(arena, n + 1, sizeof(struct str));
    ret_listing->n = 0;
    if (arena_overflowed(arena))
        return;
    cursor = 0;
    for (size_t i = 0; i < n && json_array_next(array, &cursor, &item); i++) {
        if (!is_object(item))
            continue;
        ret_listing->items[ret_listing->n] = item;
        ret_listing->ids[ret_listing->n++] = id_of(item, response_id, i, arena);
    }
}

bool stored_items_list(struct str array, struct str response_id,
                       const struct stored_items_page *page, struct arena *arena, struct buf *out)
{
    struct listing all;
    size_t begin = 0; /* places of the order asked for */

    assert(page->limit > 0);
    read_items(array, response_id, arena, &all);
#define PLACE(i) (page->ascending ? (i) : all.n - 1 - (i))
    if (!str_is_null(page->after)) {
        while (begin < all.n && !str_eq(all.ids[PLACE(begin)], page->after))
            begin++;
        if (begin == all.n)
            return false;
        begin++;
    }
    size_t end = page->limit < all.n - begin ? begin + page->limit : all.n;
    (void)buf_add(out, STR("{\"object\":\"list\",\"data\":["));
    for (size_t i = begin; i < end; i++) {
        if (i > begin)
            (void)buf_add_char(out, ',');
        add_listed(all.items[PLACE(i)], all.ids[PLACE(i)], arena, out);
    }
    (void)buf_add(out, STR("],\"first_id\":"));
    json_add_string(out, begin < end ? all.ids[PLACE(begin)] : STR(""));
    (void)buf_add(out, STR(",\"last_id\":"));
    json_add_string(out, begin < end ? all.ids[PLACE(end - 1)] : STR(""));
    (void)buf_print(out, ",\"has_more\":%s}", end < all.n ? "true" : "false");
#undef PLACE
    return true;
}
