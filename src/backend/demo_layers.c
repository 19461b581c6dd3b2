/* SPDX-License-Identifier: MIT */
/*
 * A JSON Schema as layers.
 *
 * What      All the schemas that a value has to satisfy at once, and what they say together.
 * How       $ref and allOf add layers, of anyOf and oneOf the first that is possible does. A
 *           question (which types, which minimum, what of this member) is asked of all layers.
 *           Layers, depth and steps are bounded; past a bound the schema has failed.
 * Owns      Nothing: layers point into the schema.
 * Not here  Values (demo_instance).
 */
#include "backend/demo_layers.h"

#include <math.h>

enum { DEPTH_MAX = 48, STEPS_MAX = 200 * 1000 };

bool demo_layers_step(struct demo_schema *s)
{
    if (++s->steps > STEPS_MAX || arena_overflowed(s->arena))
        s->failed = true;
    return !s->failed;
}

/* --- what is referred to ------------------------------------------------------------------ */

/* A step of a JSON pointer: ~1 is /, ~0 is ~, and %XX as in any URL. */
static struct str pointer_key(struct demo_schema *s, struct str token)
{
    char *to = arena_alloc(s->arena, token.n + 1);
    size_t n = 0;

    if (arena_overflowed(s->arena))
        return STR("");
    for (size_t i = 0; i < token.n; i++) {
        char c = token.p[i];
        if (c == '~' && i + 1 < token.n) {
            c = token.p[++i] == '1' ? '/' : '~';
        } else if (c == '%' && i + 2 < token.n && str_hex_digit(token.p[i + 1]) >= 0 &&
                   str_hex_digit(token.p[i + 2]) >= 0) {
            c = (char)(str_hex_digit(token.p[i + 1]) * 16 + str_hex_digit(token.p[i + 2]));
            i += 2;
        }
        to[n++] = c;
    }
    return str_of(to, n);
}

/* What "#/$defs/x" refers to; NULL: nothing. */
static yyjson_val *referred(struct demo_schema *s, struct str ref)
{
    yyjson_val *at = s->root;
    struct str token;

    if (!str_starts(ref, STR("#")))
        return NULL;
    struct str rest = str_from(ref, 1);
    if (rest.n == 0)
        return at;
    if (rest.p[0] != '/')
        return NULL;
    rest = str_from(rest, 1);
    while (at != NULL && str_cut(&rest, '/', &token)) {
        int64_t index;
        if (yyjson_is_arr(at))
            at = str_to_int64(token, &index) && index >= 0 ? yyjson_arr_get(at, (size_t)index)
                                                           : NULL;
        else
            at = json_get(at, pointer_key(s, token));
    }
    return at;
}

/* --- what all layers say ------------------------------------------------------------------- */

static unsigned type_named(struct str name)
{
    static const struct {
        struct str name;
        unsigned type;
    } types[] = {
        {STR_INIT("string"), DEMO_TYPE_STRING},
        {STR_INIT("number"), DEMO_TYPE_NUMBER | DEMO_TYPE_INTEGER},
        {STR_INIT("integer"), DEMO_TYPE_INTEGER},
        {STR_INIT("boolean"), DEMO_TYPE_BOOLEAN},
        {STR_INIT("object"), DEMO_TYPE_OBJECT},
        {STR_INIT("array"), DEMO_TYPE_ARRAY},
        {STR_INIT("null"), DEMO_TYPE_NULL},
    };

    for (size_t i = 0; i < COUNT_OF(types); i++) {
        if (str_eq_nocase(types[i].name, name))
            return types[i].type;
    }
    return 0;
}

static unsigned types_of_layer(yyjson_val *schema)
{
    yyjson_val *said = json_get(schema, STR("type"));
    yyjson_val *one;
    unsigned types = 0;
    size_t i;
    size_t n;

    if (yyjson_is_str(said))
        types = type_named(json_str(said));
    yyjson_arr_foreach(said, i, n, one) types |= type_named(json_str(one));
    if (types == 0)
        return DEMO_TYPE_ALL;
    return yyjson_is_true(json_get(schema, STR("nullable"))) ? types | DEMO_TYPE_NULL : types;
}

unsigned demo_layers_types(const struct demo_layers *layers)
{
    unsigned types = DEMO_TYPE_ALL;

    for (size_t i = 0; i < layers->n; i++)
        types &= types_of_layer(layers->items[i]);
    return types;
}

bool demo_layers_say(const struct demo_layers *layers, struct str key)
{
    for (size_t i = 0; i < layers->n; i++) {
        if (json_get(layers->items[i], key) != NULL)
            return true;
    }
    return false;
}

/* The strictest of a bound over the layers. */
double demo_layers_bound(const struct demo_layers *layers, struct str key, bool lower, double none)
{
    double bound = none;
    double value;

    for (size_t i = 0; i < layers->n; i++) {
        if (demo_layers_number(json_get(layers->items[i], key), &value))
            bound = lower ? fmax(bound, value) : fmin(bound, value);
    }
    return bound;
}

size_t demo_layers_count(const struct demo_layers *layers, struct str key, bool lower, size_t none)
{
    double value = demo_layers_bound(layers, key, lower, lower ? (double)none : (double)UINT32_MAX);

    if (!lower && value >= (double)UINT32_MAX)
        return none;
    return value <= 0 ? 0 : value >= (double)UINT32_MAX ? UINT32_MAX : (size_t)value;
}

/* --- collecting them ----------------------------------------------------------------------- */

static bool is_possible(const struct demo_layers *layers)
{
    return !layers->impossible && demo_layers_types(layers) != 0;
}

static void add_layer(struct demo_schema *s, struct demo_layers *layers, yyjson_val *schema,
                      size_t deep);

/* The first of the branches that is possible together with what there is. */
static void add_branch(struct demo_schema *s, struct demo_layers *layers, yyjson_val *branches,
                       size_t deep)
{
    yyjson_val *branch;
    size_t i;
    size_t n;

    if (!yyjson_is_arr(branches) || yyjson_arr_size(branches) == 0)
        return;
    /* null last: it is said of what may be left out. */
    for (int nulls = 0; nulls < 2; nulls++) {
        yyjson_arr_foreach(branches, i, n, branch)
        {
            struct demo_layers with = *layers;
            add_layer(s, &with, branch, deep + 1);
            if (s->failed)
                return;
            if (is_possible(&with) && (nulls == 1 || demo_layers_types(&with) != DEMO_TYPE_NULL)) {
                *layers = with;
                return;
            }
        }
    }
    layers->impossible = true;
}

static void add_layer(struct demo_schema *s, struct demo_layers *layers, yyjson_val *schema,
                      size_t deep)
{
    yyjson_val *inner;
    size_t i;
    size_t n;

    if (schema == NULL || !demo_layers_step(s))
        return;
    if (yyjson_is_false(schema)) {
        layers->impossible = true;
        return;
    }
    if (!yyjson_is_obj(schema))
        return;
    for (size_t k = 0; k < layers->n; k++) {
        if (layers->items[k] == schema)
            return;
    }
    if (layers->n == DEMO_LAYERS_MAX || deep > DEPTH_MAX) {
        s->failed = true;
        return;
    }
    layers->items[layers->n++] = schema;
    struct str ref = json_get_str(schema, STR("$ref"));
    if (!str_is_null(ref)) {
        yyjson_val *target = referred(s, ref);
        if (target == NULL)
            s->failed = true;
        add_layer(s, layers, target, deep + 1);
    }
    yyjson_arr_foreach(json_get(schema, STR("allOf")), i, n, inner)
        add_layer(s, layers, inner, deep + 1);
    add_branch(s, layers, json_get(schema, STR("anyOf")), deep + 1);
    add_branch(s, layers, json_get(schema, STR("oneOf")), deep + 1);
}

/* All that the layers say of a member. */
struct demo_layers demo_layers_of_member(struct demo_schema *s, const struct demo_layers *layers,
                                         struct str key)
{
    struct demo_layers member = {.n = 0};

    for (size_t i = 0; i < layers->n; i++) {
        yyjson_val *said = json_get(json_get(layers->items[i], STR("properties")), key);
        add_layer(s, &member,
                  said != NULL ? said : json_get(layers->items[i], STR("additionalProperties")), 0);
    }
    return member;
}

/* All that the layers say of an array's element. */
struct demo_layers demo_layers_of_element(struct demo_schema *s, const struct demo_layers *layers,
                                          size_t index)
{
    struct demo_layers element = {.n = 0};

    for (size_t i = 0; i < layers->n; i++) {
        yyjson_val *items = json_get(layers->items[i], STR("items"));
        yyjson_val *prefix = json_get(layers->items[i], STR("prefixItems"));
        if (yyjson_is_arr(items)) { /* before 2020 */
            prefix = items;
            items = json_get(layers->items[i], STR("additionalItems"));
        }
        add_layer(s, &element,
                  index < yyjson_arr_size(prefix) ? yyjson_arr_get(prefix, index) : items, 0);
        if (index == 0)
            add_layer(s, &element, json_get(layers->items[i], STR("contains")), 0);
    }
    return element;
}

struct demo_layers demo_layers_of(struct demo_schema *s, yyjson_val *schema)
{
    struct demo_layers layers = {.n = 0};

    add_layer(s, &layers, schema, 0);
    return layers;
}
