/* SPDX-License-Identifier: MIT */
/*
 * An instance of a JSON Schema.
 *
 * What      Writes a value that a schema accepts: required members, types, bounds, enums, nested.
 * How       A value is made from layers (demo_layers): all the schemas that it has to satisfy at
 *           once. A scalar is a candidate (enum, const, what the message offers, default,
 *           examples) that all layers take, else one that is made.
 *           Depth, values and bytes are bounded; members that are not required are left out, so
 *           that schemas which refer to themselves end where they can.
 * Owns      Nothing.
 * Not here  Checking whether a value satisfies a schema, beyond scalars.
 */
#include "backend/demo_instance.h"

#include <math.h>

#include "backend/demo_layers.h"
#include "backend/demo_pattern.h"
#include "text/json.h"
#include "text/utf8.h"

enum {
    DEPTH_MAX = 48,
    VALUES_MAX = 2000,
    TEXT_SHOWN_MAX = 200,
    PATTERN_BYTES_MAX = 64 * 1024,
    SCHEMA_DEPTH_MAX = 128,
};

struct maker {
    struct demo_schema schema;
    struct str message;
    struct buf *out;
    size_t values;
    size_t depth;
};

static void make_value(struct maker *m, const struct demo_layers *layers, size_t variant,
                       struct str name);

static void fail(struct maker *m)
{
    m->schema.failed = true;
}

/* --- numbers ------------------------------------------------------------------------------- */

struct bounds {
    double min;
    double max;
    bool above; /* min itself is not allowed */
    bool below;
    double multiple; /* 0: of none */
    bool integer;
};

/* exclusiveMinimum is a number, or (draft 4) makes minimum one. */
static void read_exclusive(yyjson_val *schema, struct bounds *b)
{
    double value;

    if (demo_layers_number(json_get(schema, STR("exclusiveMinimum")), &value) && value >= b->min) {
        b->min = value;
        b->above = true;
    }
    if (demo_layers_number(json_get(schema, STR("exclusiveMaximum")), &value) && value <= b->max) {
        b->max = value;
        b->below = true;
    }
    b->above |= yyjson_is_true(json_get(schema, STR("exclusiveMinimum")));
    b->below |= yyjson_is_true(json_get(schema, STR("exclusiveMaximum")));
}

static struct bounds bounds_of(const struct demo_layers *layers, bool integer)
{
    struct bounds b = {
        .min = demo_layers_bound(layers, STR("minimum"), true, -HUGE_VAL),
        .max = demo_layers_bound(layers, STR("maximum"), false, HUGE_VAL),
        .integer = integer,
    };
    double value;

    for (size_t i = 0; i < layers->n; i++) {
        read_exclusive(layers->items[i], &b);
        if (demo_layers_number(json_get(layers->items[i], STR("multipleOf")), &value) && value > 0)
            b.multiple = fmax(b.multiple, value);
    }
    return b;
}

static bool number_fits(const struct bounds *b, double value)
{
    if (value < b->min || value > b->max || (b->above && value <= b->min) ||
        (b->below && value >= b->max))
        return false;
    if (b->integer && value != floor(value))
        return false;
    if (b->multiple > 0) {
        double times = value / b->multiple;
        return fabs(times - round(times)) < 1e-9 * fmax(1, fabs(times));
    }
    return true;
}

/* How far from one number that may fit to the next. */
static double unit_of(const struct bounds *b)
{
    double width = b->max - b->min;

    if (b->multiple > 0)
        return b->multiple;
    return !b->integer && width > 0 && width < 64 ? width / 64 : 1;
}

/* Where the search begins: at a bound, at 1 where there is none in its way. */
static double first_of(const struct bounds *b, double unit, bool down)
{
    double from = down ? b->max : b->min;

    if (isinf(from))
        from = b->max < 1 ? b->max : 1;
    if (!b->integer && b->multiple <= 0)
        return from;
    return (down ? floor(from / unit) : ceil(from / unit)) * unit;
}

static bool find_number(const struct bounds *b, size_t variant, bool down, double *ret_value)
{
    double unit = unit_of(b);
    double first = first_of(b, unit, down);
    size_t found = 0;

    for (size_t i = 0; i < variant + 1024; i++) {
        double value = first + (down ? -unit : unit) * (double)i;
        if (!number_fits(b, value))
            continue;
        if (found++ == variant) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* The variant-th number that fits, counted upwards; where there are not so many, and no lower
 * bound, downwards from the upper one. */
static bool make_number(const struct bounds *b, size_t variant, double *ret_value)
{
    return find_number(b, variant, false, ret_value) ||
           (isinf(b->min) && find_number(b, variant, true, ret_value));
}

static void write_number(struct maker *m, double value)
{
    if (value == floor(value) && fabs(value) < 9e15)
        (void)buf_print(m->out, "%.0f", value == 0 ? 0.0 : value);
    else
        (void)buf_print(m->out, "%.15g", value);
}

/* --- what the message offers --------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || ((unsigned char)c & 0x80) != 0;
}

static struct str without_marks(struct str word)
{
    while (word.n > 0 && str_find_char(STR(".,;:!?\"'()"), word.p[word.n - 1], 0) != SIZE_MAX)
        word.n--;
    while (word.n > 0 && str_find_char(STR("\"'("), word.p[0], 0) != SIZE_MAX)
        word = str_from(word, 1);
    return word;
}

/* The nth number of the message. */
static bool message_number(const struct maker *m, size_t nth, double *ret_value)
{
    struct str rest = str_head(m->message, 4 * TEXT_SHOWN_MAX);
    struct str word;

    while (str_cut(&rest, ' ', &word)) {
        if (str_to_double(without_marks(word), ret_value) && nth-- == 0)
            return true;
    }
    return false;
}

/* The nth of the message's names: capitalised words within a sentence. */
static struct str message_name(const struct maker *m, size_t nth)
{
    struct str rest = str_head(m->message, 4 * TEXT_SHOWN_MAX);
    struct str word;
    bool first = true;

    while (str_cut(&rest, ' ', &word)) {
        bool begins = first;
        first = word.n == 0 ? first : str_find_char(STR(".!?"), word.p[word.n - 1], 0) != SIZE_MAX;
        word = without_marks(word);
        if (!begins && word.n > 1 && word.p[0] >= 'A' && word.p[0] <= 'Z' && is_letter(word.p[1]) &&
            utf8_valid(word) && nth-- == 0)
            return word;
    }
    return STR_NULL;
}

static bool name_is(struct str name, const char *const *words)
{
    for (; *words != NULL; words++) {
        struct str word = str_c(*words);
        for (size_t at = 0; at + word.n <= name.n; at++) {
            if (str_eq_nocase(str_of(name.p + at, word.n), word))
                return true;
        }
    }
    return false;
}

/* What is wanted by the name of the member. What would be run or written somewhere is nothing of
 * the message's: the call may really be made. */
static struct str offer_text(const struct maker *m, struct str name, size_t variant)
{
    static const char *const run[] = {"command", "cmd", "script", "code", "shell", NULL};
    static const char *const file[] = {"path", "file", "dir", NULL};
    static const char *const url[] = {"url", "uri", "link", NULL};
    static const char *const whole[] = {"query",  "question", "text",   "message",
                                        "prompt", "input",    "search", NULL};
    struct str word;

    if (name_is(name, run))
        return STR("echo demo");
    if (name_is(name, file))
        return STR("demo.txt");
    if (name_is(name, url))
        return STR("https://example.com/");
    if (variant == 0 && name_is(name, whole) && m->message.n > 0) {
        word = utf8_head(m->message, TEXT_SHOWN_MAX);
        return utf8_valid(word) ? word : STR_NULL;
    }
    word = message_name(m, variant);
    return str_is_null(word) && variant == 0 ? message_name(m, 0) : word;
}

/* --- strings ------------------------------------------------------------------------------- */

struct text_bounds {
    size_t min; /* characters */
    size_t max;
    struct str format;
    struct str pattern;
    bool patterns; /* more than one: not to be had */
};

static struct text_bounds text_bounds_of(const struct demo_layers *layers)
{
    struct text_bounds b = {
        .min = demo_layers_count(layers, STR("minLength"), true, 0),
        .max = demo_layers_count(layers, STR("maxLength"), false, SIZE_MAX),
    };

    for (size_t i = 0; i < layers->n; i++) {
        struct str format = json_get_str(layers->items[i], STR("format"));
        struct str pattern = json_get_str(layers->items[i], STR("pattern"));
        if (!str_is_null(format))
            b.format = format;
        if (!str_is_null(pattern)) {
            b.patterns |= !str_is_null(b.pattern);
            b.pattern = pattern;
        }
    }
    return b;
}

static size_t chars_of(struct str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += ((unsigned char)text.p[i] & 0xC0) != 0x80;
    return n;
}

/* A text of that format, other for each variant; null: the format says nothing. */
static struct str of_format(struct maker *m, struct str format, size_t variant)
{
    static const struct {
        struct str format;
        const char *before; /* a number from 10 to 59 */
        const char *after;
    } formats[] = {
        {STR_INIT("date-time"), "2026-01-15T12:30:", "Z"},
        {STR_INIT("date"), "20", "-01-15"},
        {STR_INIT("time"), "12:30:", "Z"},
        {STR_INIT("duration"), "PT", "M"},
        {STR_INIT("email"), "demo", "@example.com"},
        {STR_INIT("hostname"), "demo", ".example.com"},
        {STR_INIT("ipv4"), "192.0.2.", ""},
        {STR_INIT("ipv6"), "2001:db8::", ""},
        {STR_INIT("uri"), "https://example.com/", ""},
        {STR_INIT("url"), "https://example.com/", ""},
        {STR_INIT("uuid"), "00000000-0000-4000-8000-0000000000", ""},
    };

    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        if (str_eq(formats[i].format, format))
            return str_print(m->schema.arena, "%s%zu%s", formats[i].before, 10 + variant % 50,
                             formats[i].after);
    }
    return STR_NULL;
}

/* Cut or filled to the bounds. */
static struct str to_length(struct maker *m, struct str text, const struct text_bounds *b)
{
    size_t chars = chars_of(text);

    while (chars > b->max) {
        do
            text.n--;
        while (text.n > 0 && ((unsigned char)text.p[text.n] & 0xC0) == 0x80);
        chars--;
    }
    if (chars >= b->min)
        return text;
    if (b->min > PATTERN_BYTES_MAX) {
        fail(m);
        return STR("");
    }
    size_t more = b->min - chars;
    char *to = arena_alloc(m->schema.arena, text.n + more);
    if (arena_overflowed(m->schema.arena))
        return STR("");
    if (text.n > 0)
        memcpy(to, text.p, text.n);
    for (size_t i = 0; i < more; i++)
        to[text.n + i] = "demo "[(chars + i) % 5];
    return str_of(to, text.n + more);
}

/* Variants differ in length. */
static struct str of_pattern(struct maker *m, const struct text_bounds *b, size_t variant)
{
    struct buf text;
    struct str made = STR("");

    buf_init(&text, PATTERN_BYTES_MAX);
    bool ok = !b->patterns && demo_pattern(b->pattern, b->min, &text);
    if (ok && variant > 0) {
        size_t longer = chars_of(buf_str(&text)) + variant;
        buf_reset(&text);
        ok = demo_pattern(b->pattern, longer < b->max ? longer : b->max, &text);
    }
    if (ok)
        made = str_copy(m->schema.arena, buf_str(&text));
    buf_fini(&text);
    if (!ok || chars_of(made) < b->min || chars_of(made) > b->max)
        fail(m);
    return made;
}

static void make_string(struct maker *m, const struct demo_layers *layers, size_t variant,
                        struct str name)
{
    struct text_bounds b = text_bounds_of(layers);
    struct str text = of_format(m, b.format, variant);

    if (!str_is_null(b.pattern)) {
        text = of_pattern(m, &b, variant);
    } else if (str_is_null(text)) {
        text = offer_text(m, name, variant);
        if (str_is_null(text))
            text = variant == 0 ? STR("demo") : str_print(m->schema.arena, "%zu demo", variant + 1);
        else if (variant > 0 && !str_is_null(message_name(m, variant)))
            text = message_name(m, variant);
        else if (variant > 0)
            text = str_print(m->schema.arena, "%zu %.*s", variant + 1, STR_ARG(text));
        text = to_length(m, text, &b);
    }
    (void)json_add_string(m->out, text);
}

/* --- candidates ---------------------------------------------------------------------------- */

static bool same_const(yyjson_val *a, yyjson_val *b, struct arena *arena)
{
    return str_eq(json_text(a, arena), json_text(b, arena));
}

static unsigned type_of_value(yyjson_val *v)
{
    double number;

    if (yyjson_is_str(v))
        return DEMO_TYPE_STRING;
    if (yyjson_is_bool(v))
        return DEMO_TYPE_BOOLEAN;
    if (yyjson_is_null(v))
        return DEMO_TYPE_NULL;
    if (yyjson_is_obj(v))
        return DEMO_TYPE_OBJECT;
    if (yyjson_is_arr(v))
        return DEMO_TYPE_ARRAY;
    if (demo_layers_number(v, &number) && number == floor(number))
        return DEMO_TYPE_INTEGER;
    return DEMO_TYPE_NUMBER;
}

/* Whether it stands in each layer's enum and const. */
static bool is_listed(struct maker *m, const struct demo_layers *layers, yyjson_val *v)
{
    for (size_t i = 0; i < layers->n; i++) {
        yyjson_val *only = json_get(layers->items[i], STR("const"));
        yyjson_val *list = json_get(layers->items[i], STR("enum"));
        yyjson_val *one;
        size_t at;
        size_t n;
        bool found = !yyjson_is_arr(list);

        if (only != NULL && !same_const(only, v, m->schema.arena))
            return false;
        yyjson_arr_foreach(list, at, n, one)
        {
            if (found || !demo_layers_step(&m->schema))
                break;
            found = same_const(one, v, m->schema.arena);
        }
        if (!found)
            return false;
    }
    return true;
}

/* Whether all layers take it, as far as that can be said. */
static bool is_taken(struct maker *m, const struct demo_layers *layers, yyjson_val *v)
{
    unsigned type = type_of_value(v);
    double number;

    if ((demo_layers_types(layers) & type) == 0 || !is_listed(m, layers, v))
        return false;
    if (demo_layers_number(v, &number)) {
        struct bounds b = bounds_of(layers, false);
        return number_fits(&b, number);
    }
    if (type == DEMO_TYPE_STRING) {
        struct text_bounds b = text_bounds_of(layers);
        size_t chars = chars_of(json_str(v));
        return chars >= b.min && chars <= b.max;
    }
    return true;
}

/* The variant-th of a list's values that all layers take, counted round and round; NULL: none. */
static yyjson_val *listed_value(struct maker *m, const struct demo_layers *layers, yyjson_val *list,
                                size_t variant)
{
    yyjson_val *one;
    size_t at;
    size_t n;
    size_t taken = 0;

    yyjson_arr_foreach(list, at, n, one)
    {
        if (!m->schema.failed && is_taken(m, layers, one) && taken++ == variant)
            return one;
    }
    return taken > 0 ? listed_value(m, layers, list, variant % taken) : NULL;
}

/* The value of const, or one of enum. False: there is no such list. */
static bool make_listed(struct maker *m, const struct demo_layers *layers, size_t variant)
{
    bool listed = false;

    for (size_t i = 0; i < layers->n && !m->schema.failed; i++) {
        yyjson_val *value = json_get(layers->items[i], STR("const"));
        yyjson_val *list = json_get(layers->items[i], STR("enum"));

        listed |= value != NULL || yyjson_is_arr(list);
        if (value == NULL || !is_taken(m, layers, value))
            value = listed_value(m, layers, list, variant);
        if (value == NULL)
            continue;
        (void)buf_add(m->out, json_text(value, m->schema.arena));
        return true;
    }
    if (listed)
        fail(m);
    return listed;
}

/* default and examples, of scalars: what is in objects and lists would have to be looked into. */
static bool make_given(struct maker *m, const struct demo_layers *layers)
{
    for (size_t i = 0; i < layers->n; i++) {
        yyjson_val *given[] = {json_get(layers->items[i], STR("default")),
                               yyjson_arr_get_first(json_get(layers->items[i], STR("examples")))};
        for (size_t k = 0; k < COUNT_OF(given); k++) {
            if (given[k] == NULL || yyjson_is_ctn(given[k]) || yyjson_is_null(given[k]) ||
                demo_layers_say(layers, STR("pattern")) || !is_taken(m, layers, given[k]))
                continue;
            (void)buf_add(m->out, json_text(given[k], m->schema.arena));
            return true;
        }
    }
    return false;
}

/* --- containers ---------------------------------------------------------------------------- */

enum { MEMBERS_MAX = 128 };

struct members {
    struct str keys[MEMBERS_MAX];
    size_t n;
};

static void want(struct maker *m, struct members *members, struct str key)
{
    for (size_t i = 0; i < members->n; i++) {
        if (str_eq(members->keys[i], key) || !demo_layers_step(&m->schema))
            return;
    }
    if (members->n == MEMBERS_MAX)
        fail(m);
    else
        members->keys[members->n++] = key;
}

static void want_list(struct maker *m, struct members *members, yyjson_val *list)
{
    yyjson_val *one;
    size_t i;
    size_t n;

    yyjson_arr_foreach(list, i, n, one)
    {
        if (yyjson_is_str(one))
            want(m, members, json_str(one));
    }
}

/* Of what is not required: as many as minProperties asks for; of an object that requires nothing
 * the first, so that there is something to see. */
static void want_more(struct maker *m, const struct demo_layers *layers, struct members *members)
{
    size_t min = demo_layers_count(layers, STR("minProperties"), true, 0);
    yyjson_val *key;
    yyjson_val *value;
    size_t at;
    size_t n;

    if (min == 0 && members->n == 0 && m->depth == 1 &&
        demo_layers_count(layers, STR("maxProperties"), false, SIZE_MAX) > 0)
        min = 1;
    for (size_t i = 0; i < layers->n && members->n < min; i++) {
        yyjson_obj_foreach(json_get(layers->items[i], STR("properties")), at, n, key, value)
        {
            struct demo_layers member = demo_layers_of_member(&m->schema, layers, json_str(key));
            if (members->n < min && !member.impossible && !m->schema.failed)
                want(m, members, json_str(key));
        }
    }
    if (!demo_layers_say(layers, STR("minProperties")))
        return;
    for (size_t i = 1; members->n < min && !m->schema.failed; i++)
        want(m, members, str_print(m->schema.arena, "member%zu", i));
}

static void want_all(struct maker *m, const struct demo_layers *layers, struct members *members)
{
    for (size_t i = 0; i < layers->n; i++)
        want_list(m, members, json_get(layers->items[i], STR("required")));
    want_more(m, layers, members);
    /* What is wanted because of another; the list grows while it is walked. */
    for (size_t k = 0; k < members->n && !m->schema.failed; k++) {
        for (size_t i = 0; i < layers->n; i++) {
            want_list(m, members,
                      json_get(json_get(layers->items[i], STR("dependentRequired")),
                               members->keys[k]));
        }
    }
}

static void make_object(struct maker *m, const struct demo_layers *layers, size_t variant)
{
    struct members *members = ARENA_NEW(m->schema.arena, struct members);

    want_all(m, layers, members);
    (void)buf_add_char(m->out, '{');
    for (size_t i = 0; i < members->n && !m->schema.failed; i++) {
        struct demo_layers member = demo_layers_of_member(&m->schema, layers, members->keys[i]);
        if (i > 0)
            (void)buf_add_char(m->out, ',');
        (void)json_add_string(m->out, members->keys[i]);
        (void)buf_add_char(m->out, ':');
        make_value(m, &member, variant, members->keys[i]);
    }
    (void)buf_add_char(m->out, '}');
}

static void make_array(struct maker *m, const struct demo_layers *layers, struct str name)
{
    size_t min = demo_layers_count(layers, STR("minItems"), true, 0);
    size_t max = demo_layers_count(layers, STR("maxItems"), false, SIZE_MAX);
    size_t n = min > 0                                                                 ? min
               : max > 0 && (m->depth < 8 || demo_layers_say(layers, STR("contains"))) ? 1
                                                                                       : 0;
    bool unique = false;

    for (size_t i = 0; i < layers->n; i++)
        unique |= yyjson_is_true(json_get(layers->items[i], STR("uniqueItems")));
    (void)buf_add_char(m->out, '[');
    for (size_t i = 0; i < n && !m->schema.failed; i++) {
        struct demo_layers element = demo_layers_of_element(&m->schema, layers, i);
        if (element.impossible && i >= min)
            break;
        if (i > 0)
            (void)buf_add_char(m->out, ',');
        make_value(m, &element, unique ? i : 0, name);
    }
    (void)buf_add_char(m->out, ']');
}

/* --- values -------------------------------------------------------------------------------- */

/* Without a type, what the layers speak of. */
static unsigned type_spoken_of(const struct demo_layers *layers, unsigned types)
{
    static const struct {
        struct str key;
        unsigned type;
    } signs[] = {
        {STR_INIT("properties"), DEMO_TYPE_OBJECT}, {STR_INIT("required"), DEMO_TYPE_OBJECT},
        {STR_INIT("items"), DEMO_TYPE_ARRAY},       {STR_INIT("prefixItems"), DEMO_TYPE_ARRAY},
        {STR_INIT("minItems"), DEMO_TYPE_ARRAY},    {STR_INIT("pattern"), DEMO_TYPE_STRING},
        {STR_INIT("minLength"), DEMO_TYPE_STRING},  {STR_INIT("format"), DEMO_TYPE_STRING},
        {STR_INIT("minimum"), DEMO_TYPE_NUMBER},    {STR_INIT("multipleOf"), DEMO_TYPE_NUMBER},
        {STR_INIT("maximum"), DEMO_TYPE_NUMBER},    {STR_INIT("minProperties"), DEMO_TYPE_OBJECT},
    };

    if (types != DEMO_TYPE_ALL)
        return types;
    for (size_t i = 0; i < COUNT_OF(signs); i++) {
        if (demo_layers_say(layers, signs[i].key))
            return signs[i].type;
    }
    return DEMO_TYPE_STRING;
}

static void make_scalar(struct maker *m, const struct demo_layers *layers, size_t variant,
                        struct str name, unsigned types)
{
    double value;

    if ((types & DEMO_TYPE_STRING) != 0) {
        make_string(m, layers, variant, name);
    } else if ((types & (DEMO_TYPE_NUMBER | DEMO_TYPE_INTEGER)) != 0) {
        struct bounds b = bounds_of(layers, (types & DEMO_TYPE_NUMBER) == 0);
        bool offered = variant == 0 && message_number(m, 0, &value) && number_fits(&b, value);
        if (offered || make_number(&b, variant, &value))
            write_number(m, value);
        else
            fail(m);
    } else if ((types & DEMO_TYPE_BOOLEAN) != 0) {
        (void)buf_add(m->out, variant % 2 == 0 ? STR("true") : STR("false"));
    } else {
        (void)buf_add(m->out, STR("null"));
    }
}

static void make_value(struct maker *m, const struct demo_layers *layers, size_t variant,
                       struct str name)
{
    unsigned types = demo_layers_types(layers);

    if (m->schema.failed || ++m->values > VALUES_MAX || m->depth == DEPTH_MAX || types == 0 ||
        layers->impossible || !buf_ok(m->out)) {
        fail(m);
        return;
    }
    m->depth++;
    if (make_listed(m, layers, variant) || (variant == 0 && make_given(m, layers))) {
        m->depth--;
        return;
    }
    types = type_spoken_of(layers, types);
    /* At depth a list may end empty, and a null may end what refers to itself. */
    if ((types & DEMO_TYPE_NULL) != 0 && m->depth > DEPTH_MAX / 4)
        (void)buf_add(m->out, STR("null"));
    else if ((types & DEMO_TYPE_OBJECT) != 0)
        make_object(m, layers, variant);
    else if ((types & DEMO_TYPE_ARRAY) != 0)
        make_array(m, layers, name);
    else
        make_scalar(m, layers, variant, name, types);
    m->depth--;
}

bool demo_instance(struct str schema, struct str message, struct arena *arena, struct buf *out)
{
    const struct json_read_options options = {.depth_max = SCHEMA_DEPTH_MAX};
    struct error e;

    if (str_is_null(schema))
        return buf_add(out, STR("{}"));
    yyjson_val *root = json_read(schema, &options, arena, &e);
    if (root == NULL)
        return false;
    struct maker m = {.schema = {.root = root, .arena = arena}, .message = message, .out = out};
    struct demo_layers layers = demo_layers_of(&m.schema, root);
    make_value(&m, &layers, 0, STR(""));
    return !m.schema.failed && buf_ok(out) && !arena_overflowed(arena);
}
