/* SPDX-License-Identifier: MIT */
/*
 * Schemas of tools for OpenAI and Anthropic: any JSON Schema whose root is an object. Almost all
 * are fine as they are, and stay byte for byte; a root that is a choice, or elsewhere, is
 * flattened.
 */
#include "canon/schema_priv.h"

#include "text/json_index.h"

/* The root's members that it has beside those which are joined. */
static void write_rest(struct schema_writer *w, const struct schema_layers *l)
{
    static const char *const joined[] = {"type",  "properties", "required", "anyOf", "oneOf",
                                         "allOf", "$ref",       "enum",     "not"};

    for (size_t i = 0; i < l->n; i++) {
        size_t at;
        size_t count;
        yyjson_val *key;
        yyjson_val *value;
        yyjson_obj_foreach(l->nodes[i], at, count, key, value)
        {
            bool skip = schema_get(l, json_str(key)) != value;
            for (size_t k = 0; k < COUNT_OF(joined); k++)
                skip |= str_eq(json_str(key), str_c(joined[k]));
            if (skip)
                continue;
            schema_write_key(w, json_str(key));
            schema_write_value(w, value);
        }
    }
}

static void write_properties_raw(struct schema_writer *w, const struct schema_layers *l)
{
    schema_write_key(w, STR("properties"));
    buf_add_char(&w->out, '{');
    for (size_t i = 0; i < l->n; i++) {
        yyjson_val *properties = json_get(l->nodes[i], STR("properties"));
        size_t at;
        size_t count;
        yyjson_val *key;
        yyjson_val *value;
        if (!yyjson_is_obj(properties))
            continue;
        yyjson_obj_foreach(properties, at, count, key, value)
        {
            if (schema_superseded(l, i, json_str(key)))
                continue;
            schema_write_key(w, json_str(key));
            schema_write_value(w, value);
        }
    }
    buf_add_char(&w->out, '}');
}

/* A root that is a choice: an object that has what any of them has, and needs what none may leave
 * out. */
static struct str flatten(yyjson_val *root, struct arena *arena)
{
    struct schema_writer w = {.target = SCHEMA_TO_FORMAT,
                              .arena = arena,
                              .root = NULL,
                              .refs_until = SIZE_MAX};
    struct schema_layers own = {.n = 0};
    struct schema_layers all = {.n = 0};
    yyjson_val *list;
    size_t at;
    size_t count;
    yyjson_val *element;

    w.root = root;
    buf_init(&w.out, SCHEMA_BYTES_MAX);
    schema_add_layers(&w, &own, root);
    list = schema_get(&own, STR("anyOf"));
    if (!yyjson_is_arr(list))
        list = schema_get(&own, STR("oneOf"));
    if (yyjson_is_arr(list)) {
        yyjson_arr_foreach(list, at, count, element) schema_add_layers(&w, &all, element);
    }
    for (size_t i = 0; i < own.n && all.n < SCHEMA_LAYERS_MAX; i++)
        all.nodes[all.n++] = own.nodes[i];
    buf_add(&w.out, STR("{\"type\":\"object\""));
    write_properties_raw(&w, &all);
    schema_write_required(&w, &own);
    write_rest(&w, &own);
    buf_add_char(&w.out, '}');
    return schema_written(&w);
}

/* text with members put in front of its own. */
static struct str put_in_front(struct str text, struct str members, struct arena *arena)
{
    struct str rest = str_trim(str_from(text, 1));
    bool empty = rest.n == 1;
    size_t n = 1 + members.n + (empty ? 0 : 1) + rest.n;
    char *to = arena_alloc(arena, n);

    if (arena_overflowed(arena))
        return STR_NULL;
    to[0] = '{';
    memcpy(to + 1, members.p, members.n);
    if (!empty)
        to[1 + members.n] = ',';
    memcpy(to + n - rest.n, rest.p, rest.n);
    return str_of(to, n);
}

/* Almost all are fine as they are, and stay byte for byte. */
struct str schema_tool_fit(struct str schema, struct arena *arena)
{
    static const char *const choices[] = {"anyOf", "oneOf", "allOf", "$ref", "enum", "not"};
    const struct json_read_options options = {.depth_max = SCHEMA_DEPTH_MAX};
    struct json_fields fields = {.n = 0};
    struct str type = json_fields_find(&fields, schema, STR("type"));
    struct error ignored;
    bool choice = false;

    for (size_t i = 0; i < COUNT_OF(choices); i++)
        choice |= !str_is_null(json_fields_find(&fields, schema, str_c(choices[i])));
    if (choice || (!str_is_null(type) && !str_eq(type, STR("\"object\"")))) {
        yyjson_val *root = json_read(schema, &options, arena, &ignored);
        return root == NULL ? STR(SCHEMA_NO_ARGUMENTS) : flatten(root, arena);
    }
    if (str_is_null(json_fields_find(&fields, schema, STR("properties"))))
        schema = put_in_front(schema, STR("\"properties\":{}"), arena);
    if (str_is_null(type) && schema.n > 0)
        schema = put_in_front(schema, STR("\"type\":\"object\""), arena);
    return schema;
}
