/* SPDX-License-Identifier: MIT */
/*
 * JSON Schemas fitted to vendors.
 *
 * What      A schema written again with what the target knows; what it does not know and a model
 *           can read goes into descriptions.
 * How       A node is seen as layers: what its $ref points at, the members of its allOf, and it
 *           itself; of a keyword the last layer that has it counts, properties and required are
 *           joined. Members are written in the order of the layers. Only schema positions are
 *           followed, so that a property may be called "format".
 *             Gemini's subset, Anthropic's formats   $ref is replaced by what it points at
 *             Gemini's JSON Schema                   $ref and $defs stay
 *           A $ref to a node that is being written, or too deep, or past the bound of the output,
 *           becomes an object that may hold anything: the result is finite, and of bounded size.
 * Owns      Nothing: the result lies in the arena.
 * Not here  Which target a model wants (canon/traits, the protocols).
 */
#include "canon/schema_priv.h"

#include "text/json_index.h"

enum {
    GEMINI = SCHEMA_TO_GEMINI,
    JSON = SCHEMA_TO_JSON,
    FORMAT = SCHEMA_TO_FORMAT,
    ALL = SCHEMA_TO_ALL
};

enum {
    WRITTEN_DEPTH_MAX = 64, /* of the result */
    LOOKED_INTO_MAX = 1024, /* properties, required ones: of more, doubles stay */
    BYTES_MORE = 64 * 1024,
    BYTES_FACTOR = 8
};

enum { KEYWORD_MIN_ITEMS = 4, KEYWORD_PATTERN = 17, KEYWORD_FORMAT = 18 };

static const char *const type_names[] = {"string", "number", "integer", "boolean",
                                         "array",  "object", "null"};

/* Keywords with a value that is no schema: for which targets they are written as they are, for
 * which said in words, and of which types they tell. */
static const struct keyword {
    enum schema_key key;
    unsigned raw;
    unsigned said;
    unsigned types;
    const char *before;
    const char *after;
} keywords[] = {
    {KEY_TITLE, ALL, 0, TYPE_ANY, "", ""},
    {KEY_DEFAULT, ALL, 0, TYPE_ANY, "", ""},
    {KEY_EXAMPLE, GEMINI, 0, TYPE_ANY, "", ""},
    {KEY_PROPERTY_ORDERING, GEMINI | JSON, 0, TYPE_OBJECT, "", ""},
    {KEY_MIN_ITEMS, GEMINI | JSON, FORMAT, TYPE_ARRAY, "at least ", " items"},
    {KEY_ID, JSON, 0, TYPE_ANY, "", ""},
    {KEY_ANCHOR, JSON, 0, TYPE_ANY, "", ""},
    {KEY_MAX_ITEMS, GEMINI | JSON, FORMAT, TYPE_ARRAY, "at most ", " items"},
    {KEY_MIN_PROPERTIES, GEMINI, JSON | FORMAT, TYPE_OBJECT, "at least ", " members"},
    {KEY_MAX_PROPERTIES, GEMINI, JSON | FORMAT, TYPE_OBJECT, "at most ", " members"},
    {KEY_MINIMUM, GEMINI | JSON, FORMAT, TYPE_NUMBERS, "at least ", ""},
    {KEY_MAXIMUM, GEMINI | JSON, FORMAT, TYPE_NUMBERS, "at most ", ""},
    {KEY_EXCLUSIVE_MINIMUM, 0, ALL, TYPE_NUMBERS, "more than ", ""},
    {KEY_EXCLUSIVE_MAXIMUM, 0, ALL, TYPE_NUMBERS, "less than ", ""},
    {KEY_MULTIPLE_OF, 0, ALL, TYPE_NUMBERS, "a multiple of ", ""},
    {KEY_MIN_LENGTH, GEMINI, JSON | FORMAT, TYPE_STRING, "at least ", " characters"},
    {KEY_MAX_LENGTH, GEMINI, JSON | FORMAT, TYPE_STRING, "at most ", " characters"},
    {KEY_PATTERN, GEMINI, JSON | FORMAT, TYPE_STRING, "matching ", ""},
    {KEY_FORMAT, 0, 0, TYPE_STRING | TYPE_NUMBERS, "format ", ""},
};

/* --- reading a node ----------------------------------------------------------------------- */

/* The value of "#/a/b"; NULL: there is none. */
static yyjson_val *resolve(const struct schema_writer *w, struct str ref)
{
    struct str rest = str_from(ref, 2);
    struct str step;
    yyjson_val *at = w->root;

    if (str_eq(ref, STR("#")))
        return at;
    if (!str_starts(ref, STR("#/")))
        return NULL;
    while (str_cut(&rest, '/', &step)) {
        int64_t index;
        if (yyjson_is_arr(at) && str_to_int64(step, &index) && index >= 0)
            at = yyjson_arr_get(at, (size_t)index);
        else
            at = json_get(at, step);
    }
    return at;
}

static bool on_stack(const struct schema_writer *w, const yyjson_val *node, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        if (w->refs[i] == node)
            return true;
    }
    return false;
}

static void follow(struct schema_writer *w, struct schema_layers *l, struct str ref)
{
    yyjson_val *to = resolve(w, ref);

    if (to == NULL)
        return;
    /* Twice in one allOf: once is enough. */
    if (on_stack(w, to, l->refs, w->refs_n))
        return;
    if (to == w->root || on_stack(w, to, 0, l->refs) || w->refs_n == SCHEMA_REFS_MAX ||
        w->out.n > w->refs_until) {
        l->cut = true;
        return;
    }
    w->refs[w->refs_n++] = to;
    schema_add_layers(w, l, to);
}

void schema_add_layers(struct schema_writer *w, struct schema_layers *l, yyjson_val *node)
{
    yyjson_val *all = json_get(node, STR("allOf"));
    struct str ref = json_get_str(node, STR("$ref"));
    size_t at;
    size_t count;
    yyjson_val *element;

    if (!yyjson_is_obj(node))
        return;
    if (ref.n > 0)
        follow(w, l, ref);
    if (yyjson_is_arr(all)) {
        yyjson_arr_foreach(all, at, count, element) schema_add_layers(w, l, element);
    }
    if (l->n < SCHEMA_LAYERS_MAX)
        l->nodes[l->n++] = node;
}

/* The keyword's value of the last layer that has it. */
yyjson_val *schema_get(const struct schema_layers *l, struct str key)
{
    for (size_t i = l->n; i-- > 0;) {
        yyjson_val *value = json_get(l->nodes[i], key);
        if (value != NULL)
            return value;
    }
    return NULL;
}

static unsigned type_bit(struct str name)
{
    for (size_t i = 0; i < COUNT_OF(type_names); i++) {
        if (str_eq_nocase(name, str_c(type_names[i])))
            return 1u << i;
    }
    return 0;
}

unsigned schema_types_of(yyjson_val *type)
{
    unsigned types = 0;
    size_t at;
    size_t count;
    yyjson_val *element;

    if (yyjson_is_str(type))
        return type_bit(json_str(type));
    if (yyjson_is_arr(type)) {
        yyjson_arr_foreach(type, at, count, element) types |= type_bit(json_str(element));
    }
    return types;
}

static bool says_null(yyjson_val *node)
{
    yyjson_val *constant = json_get(node, STR("const"));
    yyjson_val *list = json_get(node, STR("enum"));

    if (schema_types_of(json_get(node, STR("type"))) == TYPE_NULL)
        return true;
    return yyjson_is_null(constant) ||
           (yyjson_arr_size(list) == 1 && yyjson_is_null(yyjson_arr_get_first(list)));
}

/* A lone alternative beside null is the node itself. */
static void read_alternatives(struct schema_writer *w, struct schema_layers *l)
{
    yyjson_val *list = l->values[KEY_ANY_OF];
    yyjson_val *survivor = NULL;
    size_t survivors = 0;
    size_t at;
    size_t count;
    yyjson_val *element;

    if (!yyjson_is_arr(list))
        list = l->values[KEY_ONE_OF];
    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach(list, at, count, element)
    {
        if (w->target == GEMINI && says_null(element)) {
            l->nullable = true;
            continue;
        }
        survivor = element;
        survivors++;
    }
    if (survivors != 1 || w->target != GEMINI) {
        l->alternatives = survivors > 0 ? list : NULL;
        return;
    }
    /* The node's own words count before those of its alternative. */
    struct schema_layers merged = {.refs = l->refs, .nullable = l->nullable, .cut = l->cut};
    schema_add_layers(w, &merged, survivor);
    bool more = yyjson_is_arr(json_get(survivor, STR("anyOf"))) ||
                yyjson_is_arr(json_get(survivor, STR("oneOf")));
    yyjson_val *inner = more ? survivor : NULL;
    for (size_t i = 0; i < l->n && merged.n < SCHEMA_LAYERS_MAX; i++)
        merged.nodes[merged.n++] = l->nodes[i];
    *l = merged;
    schema_keys_read(l);
    if (inner != NULL) {
        yyjson_val *inner_list = json_get(inner, STR("anyOf"));
        l->alternatives = yyjson_is_arr(inner_list) ? inner_list : json_get(inner, STR("oneOf"));
    }
}

static void read_keywords(struct schema_layers *l)
{
    for (size_t k = 0; k < COUNT_OF(keywords); k++)
        l->keywords |= (uint32_t)(l->values[keywords[k].key] != NULL) << k;
}

static void read_types(const struct schema_writer *w, struct schema_layers *l)
{
    yyjson_val *list = l->values[KEY_ENUM];
    size_t at;
    size_t count;
    yyjson_val *element;

    l->types = schema_types_of(l->values[KEY_TYPE]);
    l->nullable |= yyjson_is_true(l->values[KEY_NULLABLE]);
    if (w->target != GEMINI)
        return;
    if (yyjson_is_arr(list)) {
        yyjson_arr_foreach(list, at, count, element) l->nullable |= yyjson_is_null(element);
    }
    if ((l->types & TYPE_NULL) != 0 && l->types != TYPE_NULL) {
        l->nullable = true;
        l->types &= ~(unsigned)TYPE_NULL;
    }
    /* Every integer is a number. */
    if ((l->types & TYPE_NUMBERS) == TYPE_NUMBERS)
        l->types &= ~(unsigned)TYPE_INTEGER;
}

static bool has_properties(const struct schema_layers *l)
{
    return yyjson_obj_size(l->values[KEY_PROPERTIES]) > 0;
}

/* Of a constant that says it alone. */
static unsigned type_of_constant(const struct schema_layers *l)
{
    yyjson_val *constant = l->values[KEY_CONST];
    struct str number = json_number_token(constant);

    if (yyjson_is_bool(constant))
        return TYPE_BOOLEAN;
    if (number.n == 0)
        return TYPE_STRING;
    return str_find_char(number, '.', 0) == SIZE_MAX ? TYPE_INTEGER : TYPE_NUMBER;
}

/* The types to say; 0: none. A schema of Gemini's has one, or alternatives that have. */
static unsigned types_to_say(const struct schema_writer *w, const struct schema_layers *l)
{
    if (w->target == GEMINI && l->alternatives != NULL)
        return 0;
    if (l->types != 0)
        return l->types;
    if (yyjson_is_obj(l->values[KEY_PROPERTIES]) || l->cut)
        return TYPE_OBJECT;
    if (l->values[KEY_ITEMS] != NULL || l->values[KEY_PREFIX_ITEMS] != NULL)
        return TYPE_ARRAY;
    return w->target == GEMINI ? type_of_constant(l) : 0;
}

/* --- writing pieces ----------------------------------------------------------------------- */

static void write(struct schema_writer *w, struct str text)
{
    buf_add(&w->out, text);
}

void schema_write_key(struct schema_writer *w, struct str key)
{
    if (w->out.p[w->out.n - 1] != '{')
        buf_add_char(&w->out, ',');
    json_add_string(&w->out, key);
    buf_add_char(&w->out, ':');
}

void schema_write_value(struct schema_writer *w, yyjson_val *value)
{
    struct str number = json_number_token(value);

    if (yyjson_is_str(value)) {
        json_add_string(&w->out, json_str(value));
        return;
    }
    struct str text = number.n > 0 ? number : json_text(value, w->arena);
    write(w, text.n > 0 ? text : STR("null"));
}

static void write_node(struct schema_writer *w, yyjson_val *node);

/* --- what is said in words ---------------------------------------------------------------- */

static bool is_simple_pattern(struct str pattern)
{
    return str_find(pattern, STR("(?"), 0) == SIZE_MAX &&
           str_find(pattern, STR("\\p"), 0) == SIZE_MAX;
}

static bool takes_format(const struct schema_writer *w, unsigned types, struct str format)
{
    static const char *const formats[] = {"date-time", "time", "date", "duration", "email",
                                          "hostname",  "uri",  "ipv4", "ipv6",     "uuid"};

    if (w->target == JSON)
        return true;
    if (w->target == GEMINI && (types & TYPE_INTEGER) != 0)
        return str_eq(format, STR("int32")) || str_eq(format, STR("int64"));
    if (w->target == GEMINI && (types & TYPE_NUMBER) != 0)
        return str_eq(format, STR("float")) || str_eq(format, STR("double"));
    if (w->target == GEMINI)
        return str_eq(format, STR("date-time")) || str_eq(format, STR("enum"));
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        if (str_eq(format, str_c(formats[i])))
            return true;
    }
    return false;
}

/* Whether the keyword is written as it is for this target. */
static bool takes(const struct schema_writer *w, const struct keyword *keyword, unsigned types,
                  yyjson_val *value)
{
    struct str text = json_str(value);

    if (keyword == &keywords[KEYWORD_FORMAT])
        return text.n > 0 && takes_format(w, types, text);
    if (keyword == &keywords[KEYWORD_PATTERN] && w->target == GEMINI)
        return is_simple_pattern(text);
    if (keyword == &keywords[KEYWORD_MIN_ITEMS] && w->target == FORMAT) {
        struct str number = json_number_token(value);
        return str_eq(number, STR("0")) || str_eq(number, STR("1"));
    }
    return (keyword->raw & w->target) != 0;
}

static void note(struct buf *notes, const char *before, struct str text, const char *after)
{
    if (notes->n > 0)
        buf_add(notes, STR("; "));
    buf_print(notes, "%s%.*s%s", before, STR_ARG(text), after);
}

/* Values that are no strings, or of a type that has no list of them. */
static bool says_values(const struct schema_writer *w, const struct schema_layers *l,
                        yyjson_val *list)
{
    size_t at;
    size_t count;
    yyjson_val *element;

    if (w->target != GEMINI || !yyjson_is_arr(list))
        return false;
    if (l->types != 0 && l->types != TYPE_STRING)
        return true;
    yyjson_arr_foreach(list, at, count, element)
    {
        if (!yyjson_is_str(element) && !yyjson_is_null(element))
            return true;
    }
    return false;
}

static void note_values(const struct schema_writer *w, const struct schema_layers *l,
                        struct buf *notes)
{
    yyjson_val *list = l->values[KEY_ENUM];
    yyjson_val *constant = l->values[KEY_CONST];

    if (w->target != GEMINI)
        return;
    if (says_values(w, l, list))
        note(notes, "one of ", json_text(list, w->arena), "");
    if (constant != NULL && !yyjson_is_str(constant) && !yyjson_is_null(constant))
        note(notes, "always ", json_text(constant, w->arena), "");
}

static void note_keywords(const struct schema_writer *w, const struct schema_layers *l,
                          unsigned types, struct buf *notes)
{
    for (uint32_t rest = l->keywords; rest != 0; rest &= rest - 1) {
        const struct keyword *keyword = &keywords[__builtin_ctz(rest)];
        yyjson_val *value = l->values[keyword->key];
        struct str text = json_str(value);
        bool special = keyword == &keywords[KEYWORD_FORMAT] ||
                       keyword == &keywords[KEYWORD_PATTERN];
        if (value == NULL || (keyword->types & types) == 0 || takes(w, keyword, types, value))
            continue;
        if (!special && (keyword->said & w->target) == 0)
            continue;
        if (text.n == 0)
            text = json_number_token(value);
        if (text.n > 0)
            note(notes, keyword->before, text, keyword->after);
    }
}

/* What is lost otherwise, for the description. */
static void write_notes(struct schema_writer *w, const struct schema_layers *l, unsigned types,
                        struct buf *notes)
{
    yyjson_val *more = l->values[KEY_ADDITIONAL_PROPERTIES];

    note_keywords(w, l, types, notes);
    note_values(w, l, notes);
    if (yyjson_is_true(l->values[KEY_UNIQUE_ITEMS]) && (types & TYPE_ARRAY) != 0)
        note(notes, "", STR("all items differ"), "");
    if (w->target != JSON && yyjson_is_obj(more) && (types & TYPE_OBJECT) != 0) {
        struct str type = json_get_str(more, STR("type"));
        if (type.n > 0)
            note(notes, "any keys, with values of type ", type, "");
    }
    if (l->cut && w->target != JSON)
        note(notes, "", STR("nested further in the same way"), "");
}

static void write_description(struct schema_writer *w, const struct schema_layers *l,
                              struct str notes)
{
    struct str text = json_str(l->values[KEY_DESCRIPTION]);

    if (text.n == 0 && notes.n == 0)
        return;
    schema_write_key(w, STR("description"));
    buf_add_char(&w->out, '"');
    json_add_escaped(&w->out, text);
    if (notes.n > 0) {
        write(w, text.n > 0 ? STR(" (") : STR(""));
        json_add_escaped(&w->out, notes);
        write(w, text.n > 0 ? STR(")") : STR(""));
    }
    buf_add_char(&w->out, '"');
}

/* --- writing a node ----------------------------------------------------------------------- */

/* Whether that layer has that property; asked of each property, so a large object says no. */
static yyjson_val *property_of(yyjson_val *node, struct str name)
{
    yyjson_val *properties = json_get(node, STR("properties"));

    return yyjson_obj_size(properties) > LOOKED_INTO_MAX ? NULL : json_get(properties, name);
}

/* Whether a later layer has that property too. */
bool schema_superseded(const struct schema_layers *l, size_t layer, struct str name)
{
    for (size_t i = layer + 1; i < l->n; i++) {
        if (property_of(l->nodes[i], name) != NULL)
            return true;
    }
    return false;
}

static bool has_property(const struct schema_layers *l, struct str name)
{
    for (size_t i = 0; i < l->n; i++) {
        yyjson_val *property = property_of(l->nodes[i], name);
        if (property != NULL && !yyjson_is_false(property))
            return true;
        if (yyjson_obj_size(json_get(l->nodes[i], STR("properties"))) > LOOKED_INTO_MAX)
            return true;
    }
    return false;
}

static size_t write_properties(struct schema_writer *w, const struct schema_layers *l)
{
    size_t written = 0;

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
            if (yyjson_is_false(value) || schema_superseded(l, i, json_str(key)))
                continue;
            schema_write_key(w, json_str(key));
            write_node(w, value);
            written++;
        }
    }
    buf_add_char(&w->out, '}');
    return written;
}

/* Whether one of the list's elements before that one says the same. */
static bool listed_before(yyjson_val *list, size_t before, struct str name)
{
    size_t at;
    size_t count;
    yyjson_val *element;

    if (!yyjson_is_arr(list) || yyjson_arr_size(list) > LOOKED_INTO_MAX)
        return false;
    yyjson_arr_foreach(list, at, count, element)
    {
        if (at >= before)
            return false;
        if (str_eq(json_str(element), name))
            return true;
    }
    return false;
}

static bool required_before(const struct schema_layers *l, size_t layer, size_t at, struct str name)
{
    for (size_t i = 0; i < layer; i++) {
        if (listed_before(json_get(l->nodes[i], STR("required")), SIZE_MAX, name))
            return true;
    }
    return listed_before(json_get(l->nodes[layer], STR("required")), at, name);
}

void schema_write_required(struct schema_writer *w, const struct schema_layers *l)
{
    size_t written = 0;

    for (size_t i = 0; i < l->n; i++) {
        yyjson_val *list = json_get(l->nodes[i], STR("required"));
        size_t at;
        size_t count;
        yyjson_val *element;
        if (!yyjson_is_arr(list))
            continue;
        yyjson_arr_foreach(list, at, count, element)
        {
            struct str name = json_str(element);
            if (!has_property(l, name) || required_before(l, i, at, name))
                continue;
            if (written++ == 0) {
                schema_write_key(w, STR("required"));
                buf_add_char(&w->out, '[');
            } else {
                buf_add_char(&w->out, ',');
            }
            json_add_string(&w->out, name);
        }
    }
    if (written > 0)
        buf_add_char(&w->out, ']');
}

static void write_ordering(struct schema_writer *w, const struct schema_layers *l)
{
    size_t written = 0;

    schema_write_key(w, STR("propertyOrdering"));
    buf_add_char(&w->out, '[');
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
            if (yyjson_is_false(value) || schema_superseded(l, i, json_str(key)))
                continue;
            if (written++ > 0)
                buf_add_char(&w->out, ',');
            json_add_string(&w->out, json_str(key));
        }
    }
    buf_add_char(&w->out, ']');
}

static void write_object(struct schema_writer *w, const struct schema_layers *l)
{
    yyjson_val *more = l->values[KEY_ADDITIONAL_PROPERTIES];
    size_t n = 0;

    if (has_properties(l) || w->target == FORMAT || yyjson_is_obj(l->values[KEY_PROPERTIES])) {
        if (has_properties(l) || w->target != GEMINI)
            n = write_properties(w, l);
        schema_write_required(w, l);
    }
    if (n > 1 && w->target == GEMINI && l->values[KEY_PROPERTY_ORDERING] == NULL)
        write_ordering(w, l);
    if (w->target == FORMAT) {
        schema_write_key(w, STR("additionalProperties"));
        write(w, STR("false"));
    } else if (w->target == JSON && more != NULL) {
        schema_write_key(w, STR("additionalProperties"));
        if (yyjson_is_obj(more))
            write_node(w, more);
        else
            schema_write_value(w, more);
    }
}

static void write_list(struct schema_writer *w, const char *key, yyjson_val *list)
{
    size_t written = 0;
    size_t at;
    size_t count;
    yyjson_val *element;

    schema_write_key(w, str_c(key));
    buf_add_char(&w->out, '[');
    yyjson_arr_foreach(list, at, count, element)
    {
        if (w->target == GEMINI && says_null(element))
            continue;
        if (written++ > 0)
            buf_add_char(&w->out, ',');
        write_node(w, element);
    }
    buf_add_char(&w->out, ']');
}

static void write_array(struct schema_writer *w, const struct schema_layers *l)
{
    yyjson_val *items = l->values[KEY_ITEMS];
    yyjson_val *tuple = l->values[KEY_PREFIX_ITEMS];

    if (yyjson_is_arr(items)) {
        tuple = items;
        items = NULL;
    }
    if (w->target == JSON && yyjson_is_arr(tuple))
        write_list(w, "prefixItems", tuple);
    if (yyjson_is_obj(items) || (items != NULL && w->target == GEMINI && tuple == NULL)) {
        schema_write_key(w, STR("items"));
        write_node(w, items);
    } else if (w->target != JSON && yyjson_arr_size(tuple) == 1) {
        schema_write_key(w, STR("items"));
        write_node(w, yyjson_arr_get_first(tuple));
    } else if (w->target != JSON && yyjson_arr_size(tuple) > 1) {
        schema_write_key(w, STR("items"));
        buf_add_char(&w->out, '{');
        write_list(w, "anyOf", tuple);
        buf_add_char(&w->out, '}');
    } else if (w->target == GEMINI) {
        schema_write_key(w, STR("items"));
        write(w, STR("{\"type\":\"string\"}"));
    }
}

/* enum, and const as one. */
static void write_values(struct schema_writer *w, const struct schema_layers *l)
{
    yyjson_val *list = l->values[KEY_ENUM];
    yyjson_val *constant = l->values[KEY_CONST];
    size_t written = 0;
    size_t at;
    size_t count;
    yyjson_val *element;

    if (constant != NULL && (w->target != GEMINI || yyjson_is_str(constant))) {
        schema_write_key(w, STR("enum"));
        buf_add_char(&w->out, '[');
        schema_write_value(w, constant);
        buf_add_char(&w->out, ']');
        return;
    }
    if (!yyjson_is_arr(list) || says_values(w, l, list))
        return;
    if (w->target != GEMINI) {
        schema_write_key(w, STR("enum"));
        schema_write_value(w, list);
        return;
    }
    yyjson_arr_foreach(list, at, count, element)
    {
        if (json_str(element).n == 0)
            continue;
        if (written++ == 0) {
            schema_write_key(w, STR("enum"));
            buf_add_char(&w->out, '[');
        } else {
            buf_add_char(&w->out, ',');
        }
        json_add_string(&w->out, json_str(element));
    }
    if (written > 0)
        buf_add_char(&w->out, ']');
}

static void write_keywords(struct schema_writer *w, const struct schema_layers *l, unsigned types,
                           bool any)
{
    for (uint32_t rest = l->keywords; rest != 0; rest &= rest - 1) {
        const struct keyword *keyword = &keywords[__builtin_ctz(rest)];
        yyjson_val *value = l->values[keyword->key];
        assert(value != NULL);
        if ((keyword->types & types) == 0 || any != (keyword->types == TYPE_ANY))
            continue;
        if (!takes(w, keyword, types, value))
            continue;
        schema_write_key(w, schema_keys_name(keyword->key));
        schema_write_value(w, value);
    }
}

const char *schema_type_name(unsigned type)
{
    size_t i = 0;

    while (i + 1 < COUNT_OF(type_names) && (type & 1u << i) == 0)
        i++;
    return type_names[i];
}

static bool is_one(unsigned types)
{
    return (types & (types - 1)) == 0;
}

/* "type": a name, or the names as they came. */
static void write_type(struct schema_writer *w, const struct schema_layers *l, unsigned types)
{
    if (types == 0)
        return;
    schema_write_key(w, STR("type"));
    if (is_one(types))
        json_add_string(&w->out, str_c(schema_type_name(types)));
    else
        schema_write_value(w, l->values[KEY_TYPE]);
}

/* What a node says of values of these types; of: all of which there may be keywords. */
static void write_typed(struct schema_writer *w, const struct schema_layers *l, unsigned of,
                        unsigned types)
{
    write_values(w, l);
    write_keywords(w, l, of, false);
    if ((types & TYPE_OBJECT) != 0)
        write_object(w, l);
    if ((types & TYPE_ARRAY) != 0)
        write_array(w, l);
}

/* Several types: each is an alternative. */
static void write_types(struct schema_writer *w, const struct schema_layers *l)
{
    bool first = true;

    schema_write_key(w, STR("anyOf"));
    buf_add_char(&w->out, '[');
    for (unsigned type = 1; type < TYPE_NULL; type <<= 1) {
        if ((l->types & type) == 0)
            continue;
        write(w, first ? STR("{") : STR(",{"));
        first = false;
        schema_write_key(w, STR("type"));
        json_add_string(&w->out, str_c(schema_type_name(type)));
        struct schema_layers one = *l;
        one.types = type;
        write_typed(w, &one, type, type);
        buf_add_char(&w->out, '}');
    }
    buf_add_char(&w->out, ']');
}

/* Alternatives without a type of their own only narrow what the node says: "one of these is
 * required" cannot be said. */
static bool says_alternatives(const struct schema_writer *w, const struct schema_layers *l)
{
    size_t at;
    size_t count;
    yyjson_val *element;

    if (l->alternatives == NULL)
        return false;
    if (w->target != GEMINI)
        return true;
    if (has_properties(l))
        return false;
    yyjson_arr_foreach(l->alternatives, at, count, element)
    {
        static const char *const telling[] = {"type",  "$ref",  "properties", "enum", "const",
                                              "items", "anyOf", "oneOf",      "allOf"};
        for (size_t i = 0; i < COUNT_OF(telling); i++) {
            if (json_get(element, str_c(telling[i])) != NULL)
                return true;
        }
    }
    return false;
}

static void write_defs(struct schema_writer *w, yyjson_val *node)
{
    yyjson_val *defs = json_get(node, STR("$defs"));
    size_t at;
    size_t count;
    yyjson_val *key;
    yyjson_val *value;

    if (!yyjson_is_obj(defs))
        defs = json_get(node, STR("definitions"));
    if (w->target != JSON || !yyjson_is_obj(defs))
        return;
    schema_write_key(w, STR("$defs"));
    buf_add_char(&w->out, '{');
    yyjson_obj_foreach(defs, at, count, key, value)
    {
        schema_write_key(w, json_str(key));
        write_node(w, value);
    }
    buf_add_char(&w->out, '}');
}

static void write_members(struct schema_writer *w, struct schema_layers *l)
{
    bool several;
    unsigned types;
    struct buf notes;

    if (!says_alternatives(w, l))
        l->alternatives = NULL;
    types = types_to_say(w, l);
    several = w->target == GEMINI && !is_one(types);
    unsigned of = types == 0 && w->target != GEMINI ? TYPE_ANY : types;
    buf_init(&notes, BYTES_MORE);
    write_notes(w, l, of, &notes);
    if (!several)
        write_type(w, l, types);
    write_description(w, l, buf_str(&notes));
    buf_fini(&notes);
    write_keywords(w, l, TYPE_ANY, true);
    if (l->nullable && w->target == GEMINI) {
        schema_write_key(w, STR("nullable"));
        write(w, STR("true"));
    }
    if (l->alternatives != NULL)
        write_list(w, "anyOf", l->alternatives);
    if (several)
        write_types(w, l);
    else if (w->target != GEMINI || types != 0)
        write_typed(w, l, of, types);
}

/* {"$ref":"#/$defs/…"} */
static void write_ref(struct schema_writer *w, struct str ref)
{
    schema_write_key(w, STR("$ref"));
    buf_add_char(&w->out, '"');
    if (str_starts(ref, STR("#/definitions/"))) {
        write(w, STR("#/$defs/"));
        ref = str_from(ref, 14);
    }
    json_add_escaped(&w->out, ref);
    buf_add_char(&w->out, '"');
}

static void write_node(struct schema_writer *w, yyjson_val *node)
{
    struct schema_layers l = {.refs = w->refs_n};
    struct str ref = json_get_str(node, STR("$ref"));
    size_t refs = w->refs_n;

    if (!yyjson_is_obj(node) || yyjson_obj_size(node) == 0) {
        write(w, w->target == GEMINI ? STR("{\"type\":\"string\"}") : STR("{}"));
        return;
    }
    if (w->depth == WRITTEN_DEPTH_MAX) {
        write(w, STR("{\"type\":\"object\"}"));
        return;
    }
    w->depth++;
    buf_add_char(&w->out, '{');
    if (w->target == JSON && ref.n > 0) {
        write_ref(w, ref);
        write_defs(w, node);
    } else {
        schema_add_layers(w, &l, node);
        schema_keys_read(&l);
        read_alternatives(w, &l);
        read_types(w, &l);
        read_keywords(&l);
        write_members(w, &l);
        write_defs(w, node);
    }
    buf_add_char(&w->out, '}');
    w->refs_n = refs;
    w->depth--;
}

struct str schema_written(struct schema_writer *w)
{
    struct str text = buf_ok(&w->out) ? str_copy(w->arena, buf_str(&w->out)) : STR_NULL;

    buf_fini(&w->out);
    return arena_overflowed(w->arena) ? STR_NULL : text;
}

static struct str rewrite(yyjson_val *root, unsigned target, size_t source_n, struct arena *arena)
{
    struct schema_writer w = {.target = target,
                              .arena = arena,
                              .root = root,
                              .refs_until = source_n * BYTES_FACTOR + BYTES_MORE};

    buf_init(&w.out, SCHEMA_BYTES_MAX);
    /* It hardly ever becomes longer. */
    buf_expect(&w.out, source_n + source_n / 4);
    write_node(&w, root);
    return schema_written(&w);
}

/* --- entry -------------------------------------------------------------------------------- */

/* Whether a root says that there are no arguments. */
static bool is_nothing(yyjson_val *root)
{
    static const char *const telling[] = {"$ref",  "anyOf", "oneOf", "allOf",
                                          "items", "enum",  "const", "additionalProperties"};
    unsigned types = schema_types_of(json_get(root, STR("type")));

    if ((types != 0 && types != TYPE_OBJECT) ||
        yyjson_obj_size(json_get(root, STR("properties"))) > 0)
        return false;
    for (size_t i = 0; i < COUNT_OF(telling); i++) {
        yyjson_val *value = json_get(root, str_c(telling[i]));
        if (value != NULL && !yyjson_is_false(value))
            return false;
    }
    return true;
}

struct str schema_fit(struct str schema, enum schema_target target, struct arena *arena)
{
    const struct json_read_options options = {.depth_max = SCHEMA_DEPTH_MAX};
    bool gemini = target == SCHEMA_GEMINI || target == SCHEMA_GEMINI_JSON;
    struct str nothing = gemini ? STR_NULL : STR(SCHEMA_NO_ARGUMENTS);
    struct error ignored;

    if (schema.n == 0 || json_kind_of(schema) != JSON_OBJECT)
        return nothing;
    if (target == SCHEMA_OPENAI_TOOL || target == SCHEMA_ANTHROPIC_TOOL)
        return schema_tool_fit(schema, arena);
    yyjson_val *root = json_read(schema, &options, arena, &ignored);
    if (!yyjson_is_obj(root) || (gemini && is_nothing(root)))
        return nothing;
    switch (target) {
    case SCHEMA_GEMINI:
        return rewrite(root, GEMINI, schema.n, arena);
    case SCHEMA_GEMINI_JSON:
        return rewrite(root, JSON, schema.n, arena);
    case SCHEMA_ANTHROPIC_FORMAT:
        return rewrite(root, FORMAT, schema.n, arena);
    case SCHEMA_PLAIN:
        return schema_plain_fit(root, arena);
    case SCHEMA_OPENAI_TOOL:
    case SCHEMA_ANTHROPIC_TOOL:
        break;
    }
    BUG("no such target of schemas");
}
