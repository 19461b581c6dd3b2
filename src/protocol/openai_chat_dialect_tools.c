/* SPDX-License-Identifier: MIT */
/*
 * Chat Completions: the tools of a body, and which of them shall be called, as a vendor takes them.
 *
 * How       tool_choice first: where the vendor has no words for a choice, the tools that were not
 *           chosen go. Then those that stay lose what is refused, and their schemas are fitted in
 *           place, SCHEMA_LEVELS deep: a span for each member that cannot stay as it is.
 * Owns      Nothing.
 * Not here  Calls and results (openai_chat_dialect_messages.c).
 */
#include "protocol/openai_chat_dialect_priv.h"

/* NAMES_MAX: as many tools as there may be; longer lists of allowed ones are left alone. */
enum { NAMES_MAX = 128, SCHEMA_LEVELS = 24 };

/* The tools that may be called; n = 0: all. */
struct chosen {
    struct str names[NAMES_MAX];
    size_t n;
};

static struct str word_of(const struct openai_chat_dialect_work *w, struct str value)
{
    return value.n > 0 && json_kind_of(value) == JSON_STRING ? json_string_value(value, w->arena)
                                                             : STR_NULL;
}

static bool is_object(struct str value)
{
    return value.n > 0 && json_kind_of(value) == JSON_OBJECT;
}

static bool is_array(struct str value)
{
    return value.n > 0 && json_kind_of(value) == JSON_ARRAY;
}

static bool is_empty(struct str container)
{
    return str_trim(str_of(container.p + 1, container.n - 2)).n == 0;
}

/* --- schemas ------------------------------------------------------------------------------ */

static void fit_schema(struct openai_chat_dialect_work *w, struct str schema, bool root,
                       unsigned level);

static bool is_any(struct str key, const char *list)
{
    return openai_chat_dialect_lists(list, key);
}

static void fit_schemas(struct openai_chat_dialect_work *w, struct str list, unsigned level)
{
    struct str one;
    size_t cursor = 0;

    while (json_array_next(list, &cursor, &one)) {
        if (is_object(one))
            fit_schema(w, one, false, level);
    }
}

static void fit_inner(struct openai_chat_dialect_work *w, const struct json_member *m,
                      unsigned level)
{
    struct json_member inner;
    size_t cursor = 0;

    if (is_object(m->value) &&
        is_any(m->key, "properties patternProperties $defs definitions dependentSchemas")) {
        while (json_object_next(m->value, &cursor, w->arena, &inner)) {
            if (is_object(inner.value))
                fit_schema(w, inner.value, false, level);
        }
    } else if (is_object(m->value) &&
               is_any(m->key, "items additionalProperties not contains if then else "
                              "propertyNames")) {
        fit_schema(w, m->value, false, level);
    } else if (is_array(m->value) && is_any(m->key, "allOf anyOf oneOf prefixItems items")) {
        fit_schemas(w, m->value, level);
    }
}

/* What a schema says of itself. */
struct shape {
    struct json_member type; /* value null: not there */
    struct str any_of;
    bool tuple; /* prefixItems */
    bool refers;
    size_t kept; /* members beside $schema */
};

static struct shape shape_of(const struct openai_chat_dialect_work *w, struct str schema)
{
    struct shape shape = {.kept = 0};
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(schema, &cursor, w->arena, &m)) {
        shape.kept += !str_eq(m.key, STR("$schema"));
        if (str_eq(m.key, STR("type")) && json_kind_of(m.value) == JSON_STRING)
            shape.type = openai_chat_dialect_place(w, schema, &m);
        else if (str_eq(m.key, STR("anyOf")) && is_array(m.value))
            shape.any_of = m.value;
        else if (str_eq(m.key, STR("prefixItems")))
            shape.tuple = true;
        else if (is_any(m.key, "type $ref allOf oneOf"))
            shape.refers = true;
    }
    return shape;
}

/* The type that stands beside anyOf goes into those of its branches that have none. */
static void move_type(struct openai_chat_dialect_work *w, const struct shape *shape)
{
    struct str text = openai_chat_join(w->arena, STR("\"type\":"), shape->type.value);
    struct str one;
    size_t cursor = 0;

    while (json_array_next(shape->any_of, &cursor, &one)) {
        if (!is_object(one) || !str_is_null(json_object_find(one, STR("type"))) ||
            !str_is_null(json_object_find(one, STR("anyOf"))))
            continue;
        openai_chat_dialect_front(w, one,
                                  is_empty(one) ? text
                                                : openai_chat_join(w->arena, text, STR(",")));
    }
    openai_chat_dialect_remove(w, &shape->type);
}

/* Whether the schema was dealt with, all of it. */
static bool fit_mfjs(struct openai_chat_dialect_work *w, struct str schema, bool root)
{
    struct shape shape = shape_of(w, schema);
    bool typed = !str_is_null(shape.type.value) || shape.refers || !str_is_null(shape.any_of);

    if (root && !typed && shape.kept == 0) {
        openai_chat_dialect_value(w, schema, STR("{\"type\":\"object\",\"properties\":{}}"));
        return true;
    }
    if (root && !typed)
        openai_chat_dialect_front(w, schema, STR("\"type\":\"object\","));
    if (!str_is_null(shape.type.value) && !str_is_null(shape.any_of))
        move_type(w, &shape);
    return false;
}

static void fit_schema(struct openai_chat_dialect_work *w, struct str schema, bool root,
                       unsigned level)
{
    bool mfjs = w->dialect->schema == DIALECT_SCHEMA_MFJS;
    struct json_member m;
    size_t cursor = 0;

    if (level == 0 || (mfjs && fit_mfjs(w, schema, root)))
        return;
    while (json_object_next(schema, &cursor, w->arena, &m)) {
        struct json_member placed = openai_chat_dialect_place(w, schema, &m);
        if (mfjs && str_eq(m.key, STR("$schema"))) {
            openai_chat_dialect_remove(w, &placed);
        } else if (!mfjs && str_eq(m.key, STR("additionalProperties")) &&
                   json_kind_of(m.value) == JSON_FALSE) {
            openai_chat_dialect_remove(w, &placed);
        } else {
            if (mfjs && str_eq(m.key, STR("items")) && is_array(m.value) &&
                str_is_null(json_object_find(schema, STR("prefixItems"))))
                openai_chat_dialect_rename(w, &placed, STR("prefixItems"));
            fit_inner(w, &m, level - 1);
        }
    }
}

/* --- tools -------------------------------------------------------------------------------- */

static void fit_function(struct openai_chat_dialect_work *w, struct str function)
{
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(function, &cursor, w->arena, &m)) {
        struct json_member placed = openai_chat_dialect_place(w, function, &m);
        if (w->dialect->strict_refused && str_eq(m.key, STR("strict")))
            openai_chat_dialect_remove(w, &placed);
        else if (w->dialect->schema != DIALECT_SCHEMA_PLAIN && is_object(m.value) &&
                 str_eq(m.key, STR("parameters")))
            fit_schema(w, m.value, true, SCHEMA_LEVELS);
    }
}

static void fit_tool(struct openai_chat_dialect_work *w, struct str tool)
{
    struct json_member m;
    size_t cursor = 0;

    while (json_object_next(tool, &cursor, w->arena, &m)) {
        struct json_member placed = openai_chat_dialect_place(w, tool, &m);
        if (w->dialect->cache == DIALECT_CACHE_REFUSED && str_eq(m.key, STR("cache_control")))
            openai_chat_dialect_remove(w, &placed);
        else if (str_eq(m.key, STR("function")) && is_object(m.value))
            fit_function(w, m.value);
    }
}

static struct str name_of(const struct openai_chat_dialect_work *w, struct str tool)
{
    struct str function = is_object(tool) ? json_object_find(tool, STR("function")) : STR_NULL;

    return is_object(function) ? word_of(w, json_object_find(function, STR("name"))) : STR_NULL;
}

static bool is_chosen(const struct chosen *chosen, struct str name)
{
    for (size_t i = 0; i < chosen->n; i++) {
        if (str_eq(chosen->names[i], name))
            return true;
    }
    return chosen->n == 0;
}

/* Whether one of the tools has such a name: else the choice is not ours to understand. */
static bool offers(const struct openai_chat_dialect_work *w, struct str tools,
                   const struct chosen *chosen)
{
    struct str one;
    size_t cursor = 0;

    while (chosen->n > 0 && json_array_next(tools, &cursor, &one)) {
        if (is_chosen(chosen, name_of(w, one)))
            return true;
    }
    return false;
}

static void fit_list(struct openai_chat_dialect_work *w, struct str tools,
                     const struct chosen *chosen)
{
    const struct dialect *d = w->dialect;
    bool inside = d->strict_refused || d->cache == DIALECT_CACHE_REFUSED ||
                  d->schema != DIALECT_SCHEMA_PLAIN;
    bool some = offers(w, tools, chosen);
    struct str one;
    size_t cursor = 0;

    if (!inside && !some)
        return;
    while (json_array_next(tools, &cursor, &one)) {
        if (some && !is_chosen(chosen, name_of(w, one)))
            json_edit_element(w->edits, w->arena, w->index->source, one);
        else if (inside && is_object(one))
            fit_tool(w, one);
    }
}

/* --- which of them ------------------------------------------------------------------------ */

/* {"type":"allowed_tools","allowed_tools":{"mode":…,"tools":[…]}}: its mode; null: not that. */
static struct str allowed(const struct openai_chat_dialect_work *w, struct str choice,
                          struct chosen *chosen)
{
    struct str inner = json_object_find(choice, STR("allowed_tools"));
    struct str one;
    size_t cursor = 0;

    if (!is_object(inner))
        return STR_NULL;
    struct str list = json_object_find(inner, STR("tools"));
    while (is_array(list) && json_array_next(list, &cursor, &one)) {
        struct str name = name_of(w, one);
        if (chosen->n == NAMES_MAX || str_is_null(name)) {
            chosen->n = 0;
            return STR_NULL;
        }
        chosen->names[chosen->n++] = name;
    }
    struct str mode = json_object_find(inner, STR("mode"));
    return str_eq(word_of(w, mode), STR("required")) ? STR("\"required\"") : STR("\"auto\"");
}

static void say_choice(struct openai_chat_dialect_work *w, struct str choice, struct str instead,
                       bool told)
{
    if (str_eq(choice, instead))
        return;
    if (told)
        translation_warn(w->t, "changed:tool_choice");
    openai_chat_dialect_value(w, choice, instead);
}

static void fit_choice(struct openai_chat_dialect_work *w, struct str choice, struct chosen *chosen)
{
    enum dialect_choice kind = w->dialect->tool_choice;
    bool only_auto = kind == DIALECT_CHOICE_AUTO;
    bool required = str_eq(choice, STR("\"required\""));

    if (is_object(choice)) {
        struct str name = name_of(w, choice);
        struct str mode = str_is_null(name) ? allowed(w, choice, chosen) : STR("\"required\"");
        if (str_is_null(mode) || (kind < DIALECT_CHOICE_WORDS && !str_is_null(name)))
            return;
        if (!str_is_null(name))
            chosen->names[chosen->n++] = name;
        required = str_eq(mode, STR("\"required\""));
        bool auto_now = only_auto || (required && openai_chat_dialect_traits(w)->required_refused);
        say_choice(w, choice, auto_now ? STR("\"auto\"") : mode, auto_now && required);
    } else if (required && (only_auto || openai_chat_dialect_traits(w)->required_refused)) {
        say_choice(w, choice, STR("\"auto\""), true);
    }
}

static void forget(struct openai_chat_dialect_work *w, enum dialect_key key)
{
    if (w->has[key] != NULL)
        openai_chat_dialect_remove(w, w->has[key]);
    w->has[key] = NULL;
}

static void no_tools(struct openai_chat_dialect_work *w)
{
    forget(w, DIALECT_KEY_tools);
    forget(w, DIALECT_KEY_tool_choice);
    forget(w, DIALECT_KEY_functions);
    forget(w, DIALECT_KEY_function_call);
    forget(w, DIALECT_KEY_parallel_tool_calls);
}

static void fit_parallel(struct openai_chat_dialect_work *w)
{
    const struct json_member *m = w->has[DIALECT_KEY_parallel_tool_calls];

    if (m == NULL || !w->dialect->parallel_refused)
        return;
    if (json_kind_of(m->value) == JSON_FALSE)
        translation_warn(w->t, "dropped:parallel_tool_calls");
    openai_chat_dialect_remove(w, m);
}

static bool some_tools(const struct json_member *m)
{
    return m != NULL && is_array(m->value) && !is_empty(m->value);
}

void openai_chat_dialect_tools_fit(struct openai_chat_dialect_work *w)
{
    const struct json_member *tools = w->has[DIALECT_KEY_tools];
    const struct json_member *choice = w->has[DIALECT_KEY_tool_choice];
    enum dialect_choice kind = w->dialect->tool_choice;
    UNINITIALIZED struct chosen chosen;

    chosen.n = 0;
    if (w->dialect->tools_refused) {
        if (some_tools(tools) || some_tools(w->has[DIALECT_KEY_functions]))
            translation_warn(w->t, "dropped:tools");
        no_tools(w);
        return;
    }
    fit_parallel(w);
    if (!some_tools(tools))
        return;
    if (choice != NULL && kind == DIALECT_CHOICE_AUTO && str_eq(choice->value, STR("\"none\""))) {
        w->has[DIALECT_KEY_parallel_tool_calls] = NULL;
        no_tools(w);
        return;
    }
    if (choice != NULL && kind != DIALECT_CHOICE_FULL)
        fit_choice(w, choice->value, &chosen);
    fit_list(w, tools->value, &chosen);
}
