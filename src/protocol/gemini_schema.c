/* SPDX-License-Identifier: MIT */
/*
 * Gemini: its subset of OpenAPI's schemas as JSON Schema.
 *
 * What      Types in lower case, nullable as a type beside, names in camelCase, counts as numbers
 *           (gemini.md, 4.3). What JSON Schema has no place for goes: propertyOrdering.
 * How       One pass over the text, down the places where schemas stand; everything else is copied
 *           as written. Names of properties are data and stay.
 * Not here  The other way: canon/schema.
 */
#include "protocol/gemini_priv.h"

struct writer {
    struct arena *arena;
    struct buf out;
};

static void add_schema(struct writer *w, struct str schema);

static void add_type(struct writer *w, struct str value, bool nullable)
{
    struct str word = json_string_value(value, w->arena);

    gemini_add_key(&w->out, STR("type"));
    buf_add(&w->out, nullable ? STR("[\"") : STR("\""));
    for (size_t i = 0; i < word.n; i++) {
        char c = word.p[i];
        buf_add_char(&w->out, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    buf_add(&w->out, nullable ? STR("\",\"null\"]") : STR("\""));
}

static void add_schemas(struct writer *w, struct str key, struct str list)
{
    struct str element;
    size_t cursor = 0;
    size_t n = 0;

    gemini_add_key(&w->out, key);
    buf_add_char(&w->out, '[');
    while (json_array_next(list, &cursor, &element)) {
        if (n++ > 0)
            buf_add_char(&w->out, ',');
        add_schema(w, element);
    }
    buf_add_char(&w->out, ']');
}

static void add_properties(struct writer *w, struct str object)
{
    struct json_member m;
    size_t cursor = 0;

    gemini_add_key(&w->out, STR("properties"));
    buf_add_char(&w->out, '{');
    while (json_object_next(object, &cursor, w->arena, &m)) {
        gemini_add_key(&w->out, m.key);
        add_schema(w, m.value);
    }
    buf_add_char(&w->out, '}');
}

/* A count may be written as a string (int64). */
static void add_count(struct writer *w, const char *key, struct str value)
{
    gemini_add_key(&w->out, str_c(key));
    buf_add(&w->out,
            json_kind_of(value) == JSON_STRING ? json_string_value(value, w->arena) : value);
}

/* Members that are spelt otherwise or mean nothing elsewhere; false: it is none of them. */
static bool add_other(struct writer *w, const struct json_member *m)
{
    static const char *const counts[] = {"minItems",      "maxItems",  "minProperties",
                                         "maxProperties", "minLength", "maxLength"};
    int64_t ignored;

    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        if (!gemini_request_is(m->key, counts[i]))
            continue;
        if (json_kind_of(m->value) == JSON_NUMBER ||
            (json_kind_of(m->value) == JSON_STRING &&
             str_to_int64(json_string_value(m->value, w->arena), &ignored)))
            add_count(w, counts[i], m->value);
        return true;
    }
    return str_eq(m->key, STR("nullable")) || str_eq(m->key, STR("example")) ||
           gemini_request_is(m->key, "propertyOrdering") ||
           (str_eq(m->key, STR("format")) && str_eq(m->value, STR("\"enum\"")));
}

/* Members that are the same in both, the frequent ones. */
static bool is_common(struct str key)
{
    return str_eq(key, STR("description")) || str_eq(key, STR("required")) ||
           str_eq(key, STR("enum")) || str_eq(key, STR("title"));
}

static void add_same(struct writer *w, const struct json_member *m)
{
    gemini_add_key(&w->out, m->key);
    buf_add(&w->out,
            json_kind_of(m->value) == JSON_STRING ? m->value : json_compact(m->value, w->arena));
}

static void add_member(struct writer *w, const struct json_member *m, bool nullable)
{
    enum json_kind kind = json_kind_of(m->value);

    if (kind == JSON_NULL)
        return;
    if (is_common(m->key)) {
        add_same(w, m);
    } else if (str_eq(m->key, STR("type")) && kind == JSON_STRING) {
        if (!str_eq(m->value, STR("\"TYPE_UNSPECIFIED\"")))
            add_type(w, m->value, nullable);
    } else if (str_eq(m->key, STR("properties")) && kind == JSON_OBJECT) {
        add_properties(w, m->value);
    } else if (str_eq(m->key, STR("items")) && kind == JSON_OBJECT) {
        gemini_add_key(&w->out, STR("items"));
        add_schema(w, m->value);
    } else if (gemini_request_is(m->key, "anyOf") && kind == JSON_ARRAY) {
        add_schemas(w, STR("anyOf"), m->value);
    } else if (!add_other(w, m)) {
        add_same(w, m);
    }
}

/* The depth of the body bounds how deep this goes. */
static void add_schema(struct writer *w, struct str schema)
{
    struct json_member m;
    size_t cursor = 0;

    if (json_kind_of(schema) != JSON_OBJECT) {
        buf_add(&w->out, schema);
        return;
    }
    /* Looked for only where it may be. */
    bool nullable = str_find(schema, STR("\"nullable\""), 0) != SIZE_MAX &&
                    str_eq(json_object_find(schema, STR("nullable")), STR("true"));
    buf_add_char(&w->out, '{');
    while (json_object_next(schema, &cursor, w->arena, &m))
        add_member(w, &m, nullable);
    buf_add_char(&w->out, '}');
}

struct str gemini_schema_json(struct str schema, struct arena *arena)
{
    struct writer w = {.arena = arena};

    buf_init(&w.out, arena->bytes_max);
    buf_set_budget(&w.out, arena->budget);
    buf_expect(&w.out, schema.n);
    add_schema(&w, schema);
    /* No memory: the arena is asked for it, and says so. */
    struct str text = str_copy(arena, buf_ok(&w.out) ? buf_str(&w.out) : schema);
    buf_tell(&w.out, arena);
    buf_fini(&w.out);
    return text;
}
