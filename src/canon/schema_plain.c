/* SPDX-License-Identifier: MIT */
/*
 * Gemini's subset of OpenAPI as JSON Schema: what its clients declare, for all other protocols.
 */
#include "canon/schema_priv.h"

static void plain_node(struct schema_writer *w, yyjson_val *node);

/* Its value is a number that may have come as a string (int64 in JSON of protobuf). */
static bool is_count(struct str key)
{
    static const char *const keys[] = {"minItems",      "maxItems",  "minProperties",
                                       "maxProperties", "minLength", "maxLength"};

    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        if (str_eq(key, str_c(keys[i])))
            return true;
    }
    return false;
}

static void plain_type(struct schema_writer *w, yyjson_val *type, bool nullable)
{
    unsigned types = schema_types_of(type);

    if (types == 0 || !yyjson_is_str(type)) {
        schema_write_value(w, type);
        return;
    }
    buf_add(&w->out, nullable ? STR("[") : STR(""));
    json_add_string(&w->out, str_c(schema_type_name(types)));
    buf_add(&w->out, nullable ? STR(",\"null\"]") : STR(""));
}

static void plain_list(struct schema_writer *w, yyjson_val *list, bool nullable)
{
    size_t at;
    size_t count;
    yyjson_val *element;

    buf_add_char(&w->out, '[');
    yyjson_arr_foreach(list, at, count, element)
    {
        if (at > 0)
            buf_add_char(&w->out, ',');
        plain_node(w, element);
    }
    if (nullable)
        buf_add(&w->out, STR(",{\"type\":\"null\"}"));
    buf_add_char(&w->out, ']');
}

static void plain_properties(struct schema_writer *w, yyjson_val *properties)
{
    size_t at;
    size_t count;
    yyjson_val *key;
    yyjson_val *value;

    buf_add_char(&w->out, '{');
    yyjson_obj_foreach(properties, at, count, key, value)
    {
        schema_write_key(w, json_str(key));
        plain_node(w, value);
    }
    buf_add_char(&w->out, '}');
}

static void plain_member(struct schema_writer *w, struct str key, yyjson_val *value, bool nullable)
{
    schema_write_key(w, key);
    if (str_eq(key, STR("type")))
        plain_type(w, value, nullable);
    else if (str_eq(key, STR("properties")) && yyjson_is_obj(value))
        plain_properties(w, value);
    else if (str_eq(key, STR("anyOf")) && yyjson_is_arr(value))
        plain_list(w, value, nullable);
    else if (str_eq(key, STR("items")))
        plain_node(w, value);
    else if (is_count(key) && yyjson_is_str(value))
        buf_add(&w->out, json_str(value));
    else
        schema_write_value(w, value);
}

static void plain_node(struct schema_writer *w, yyjson_val *node)
{
    bool nullable = yyjson_is_true(json_get(node, STR("nullable")));
    size_t at;
    size_t count;
    yyjson_val *key;
    yyjson_val *value;

    if (!yyjson_is_obj(node)) {
        schema_write_value(w, node);
        return;
    }
    buf_add_char(&w->out, '{');
    yyjson_obj_foreach(node, at, count, key, value)
    {
        if (!str_eq(json_str(key), STR("nullable")) &&
            !str_eq(json_str(key), STR("propertyOrdering")))
            plain_member(w, json_str(key), value, nullable);
    }
    buf_add_char(&w->out, '}');
}

struct str schema_plain_fit(yyjson_val *root, struct arena *arena)
{
    struct schema_writer w = {.target = SCHEMA_TO_JSON, .arena = arena, .root = root};

    buf_init(&w.out, SCHEMA_BYTES_MAX);
    plain_node(&w, root);
    return schema_written(&w);
}
