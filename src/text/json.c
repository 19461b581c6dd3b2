/* SPDX-License-Identifier: MIT */
/*
 * JSON: walking the text, reading it into values, writing it.
 *
 * What      Three small things that share the grammar: the walkers of json_index.h, yyjson with its
 *           memory in an arena, and the escaping of strings.
 * How       Walkers step over values by their brackets and quotes alone. Reading asks yyjson first
 *           and repairs only what it refused: a valid text pays for no check twice.
 * Owns      Nothing.
 * Not here  Validation in place (json_index.c), edits (json_edit.c).
 */
#include "text/json.h"

#include "base/scan.h"
#include "text/json_index.h"
#include "text/json_skip.h"
#include "text/utf8.h"

enum { DEPTH_DEFAULT = 128, DEPTH_LIMIT = 1024, ESCAPE_SIZE = 6 };

/* --- walking --- */

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static size_t skip_blanks(struct str s, size_t at)
{
    while (at < s.n && is_blank(s.p[at]))
        at++;
    return at;
}

/* Of a number, true, false or null. */
static inline bool ends_word(char c)
{
    return c == ',' || c == ']' || c == '}' || is_blank(c);
}

/* The offset after the value at at, SIZE_MAX where there is none. */
static size_t skip_value(struct str s, size_t at)
{
    if (at >= s.n)
        return SIZE_MAX;
    if (s.p[at] == '"')
        return json_skip_string(s, at);
    if (s.p[at] == '{' || s.p[at] == '[')
        return json_skip_container(s, at);
    size_t from = at;
    while (at < s.n && !ends_word(s.p[at]))
        at++;
    return at == from ? SIZE_MAX : at;
}

/* To the next key or element; SIZE_MAX at the container's end. */
static size_t next_item(struct str s, size_t cursor, char open, char close)
{
    size_t at;

    if (cursor == 0) {
        if (s.n == 0 || s.p[0] != open)
            return SIZE_MAX;
        at = skip_blanks(s, 1);
    } else {
        at = skip_blanks(s, cursor);
        if (at >= s.n || s.p[at] != ',')
            return SIZE_MAX;
        at = skip_blanks(s, at + 1);
    }
    return at < s.n && s.p[at] != close ? at : SIZE_MAX;
}

/* The next member, its key as it stands, with quotes. */
static bool next_member(struct str object, size_t *cursor, struct json_member *ret_member)
{
    size_t begin = next_item(object, *cursor, '{', '}');

    if (begin == SIZE_MAX || object.p[begin] != '"')
        return false;
    size_t key_end = json_skip_string(object, begin);
    if (key_end == SIZE_MAX)
        return false;
    size_t at = skip_blanks(object, key_end);
    if (at >= object.n || object.p[at] != ':')
        return false;
    at = skip_blanks(object, at + 1);
    size_t end = skip_value(object, at);
    if (end == SIZE_MAX)
        return false;
    assert(begin < key_end && key_end < end && end <= object.n);
    *ret_member = (struct json_member){
        .key = str_of(object.p + begin, key_end - begin),
        .value = str_of(object.p + at, end - at),
        .begin = begin,
        .end = end,
    };
    *cursor = end;
    return true;
}

bool json_object_next(struct str object, size_t *cursor, struct arena *arena,
                      struct json_member *ret_member)
{
    if (!next_member(object, cursor, ret_member))
        return false;
    ret_member->key = json_string_value(ret_member->key, arena);
    return true;
}

static struct str body_of(struct str quoted)
{
    return str_of(quoted.p + 1, quoted.n - 2);
}

static struct str find_from(struct str object, size_t cursor, struct str key)
{
    struct json_member member;

    while (next_member(object, &cursor, &member)) {
        if (json_string_equals(body_of(member.key), key))
            return member.value;
    }
    return STR_NULL;
}

struct str json_object_find(struct str object, struct str key)
{
    return find_from(object, 0, key);
}

static void read_fields(struct json_fields *fields, struct str object)
{
    struct json_member member;

    fields->object = object;
    fields->n = 0;
    fields->cursor = 0;
    while (fields->n < JSON_FIELDS_MAX && next_member(object, &fields->cursor, &member)) {
        struct json_field *field = &fields->items[fields->n++];
        field->key = body_of(member.key);
        field->value = member.value;
        field->escaped = memchr(field->key.p, '\\', field->key.n) != NULL;
    }
}

static bool is_read(const struct json_fields *fields, struct str object)
{
    return fields->object.p == object.p && fields->object.n == object.n;
}

struct str json_fields_find(struct json_fields *fields, struct str object, struct str key)
{
    if (!is_read(fields, object))
        read_fields(fields, object);
    for (size_t i = 0; i < fields->n; i++) {
        const struct json_field *field = &fields->items[i];
        if (field->escaped ? json_string_equals(field->key, key) : str_eq(field->key, key))
            return field->value;
    }
    return fields->n == JSON_FIELDS_MAX ? find_from(object, fields->cursor, key) : STR_NULL;
}

bool json_fields_next(struct json_fields *fields, struct str object, size_t *cursor,
                      struct arena *arena, struct json_member *ret_member)
{
    if (!is_read(fields, object))
        read_fields(fields, object);
    if (*cursor < fields->n) {
        const struct json_field *field = &fields->items[(*cursor)++];
        struct str quoted = str_of(field->key.p - 1, field->key.n + 2);
        *ret_member = (struct json_member){
            .key = field->escaped ? json_string_value(quoted, arena) : field->key,
            .value = field->value,
            .begin = (size_t)(quoted.p - object.p),
            .end = (size_t)(field->value.p + field->value.n - object.p),
        };
        return true;
    }
    if (fields->n < JSON_FIELDS_MAX)
        return false;
    /* Behind those that were read the cursor is an offset. */
    size_t at = *cursor == JSON_FIELDS_MAX ? fields->cursor : *cursor - JSON_FIELDS_MAX;
    if (!json_object_next(object, &at, arena, ret_member))
        return false;
    *cursor = JSON_FIELDS_MAX + at;
    return true;
}

bool json_array_next(struct str array, size_t *cursor, struct str *ret_value)
{
    size_t at = next_item(array, *cursor, '[', ']');
    size_t end = at == SIZE_MAX ? SIZE_MAX : skip_value(array, at);

    if (end == SIZE_MAX)
        return false;
    assert(at < end && end <= array.n);
    *ret_value = str_of(array.p + at, end - at);
    *cursor = end;
    return true;
}

struct str json_compact(struct str text, struct arena *arena)
{
    char *to = NULL;
    size_t n = 0;
    size_t size;

    for (size_t i = 0; i < text.n; i += size) {
        char c = text.p[i];
        bool blank = is_blank(c);
        size = 1;
        if (c == '"')
            size = json_skip_string(text, i) - i;
        assert(size <= text.n - i);
        if (blank && to == NULL) {
            to = arena_alloc(arena, text.n);
            if (arena_overflowed(arena))
                return STR("{}");
            memcpy(to, text.p, i);
            n = i;
        }
        if (blank || to == NULL)
            continue;
        memcpy(to + n, text.p + i, size);
        n += size;
    }
    return to == NULL ? text : str_of(to, n);
}

/* --- reading --- */

static void *alc_malloc(void *ctx, size_t n)
{
    struct arena *arena = ctx;
    void *p = arena_alloc(arena, n);
    return arena_overflowed(arena) ? NULL : p;
}

static void *alc_realloc(void *ctx, void *p, size_t old_n, size_t n)
{
    struct arena *arena = ctx;
    void *q = arena_grow(arena, p, old_n, n);
    return arena_overflowed(arena) ? NULL : q;
}

static void alc_free(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

static yyjson_alc alc_of(struct arena *arena)
{
    return (
        yyjson_alc){.malloc = alc_malloc, .realloc = alc_realloc, .free = alc_free, .ctx = arena};
}

/*
 * Whether no value is nested deeper than depth_max. A document's values lie in one row, a
 * container before its content, so the open containers are known by where they end.
 */
static bool depth_is_legal(yyjson_doc *doc, size_t depth_max, struct arena *arena)
{
    size_t count = yyjson_doc_get_val_count(doc);
    yyjson_val *root = yyjson_doc_get_root(doc);

    if (count <= depth_max)
        return true;
    const yyjson_val **ends = arena_array(arena, depth_max, sizeof(*ends));
    if (arena_overflowed(arena))
        return false;
    size_t depth = 0;
    for (yyjson_val *v = root; v < root + count; v++) {
        while (depth > 0 && v >= ends[depth - 1])
            depth--;
        if (!yyjson_is_ctn(v))
            continue;
        if (depth == depth_max)
            return false;
        ends[depth++] = unsafe_yyjson_get_next(v);
    }
    return true;
}

/* Lone surrogate escapes become \uFFFD, in place: the length is the same. */
static bool repair_escapes(char *p, size_t n)
{
    bool changed = false;
    size_t i = 0;

    for (;;) {
        const char *escape = memchr(p + i, '\\', n - i);
        if (escape == NULL)
            return changed;
        i = (size_t)(escape - p);
        size_t size = json_string_surrogate(p + i, n - i);
        if (size == ESCAPE_SIZE) {
            memcpy(p + i + 2, "FFFD", 4);
            changed = true;
        }
        size = size == 0 ? 2 : size;
        if (size >= n - i)
            return changed;
        i += size;
    }
}

/* What yyjson refuses and we take: lone surrogate escapes and, if allowed, invalid UTF-8. Null when
 * there is nothing to repair. */
static struct str repaired(struct str text, bool utf8, struct arena *arena)
{
    struct str valid = utf8 ? utf8_repair(text, arena) : text;
    char *p = arena_alloc(arena, valid.n);

    if (arena_overflowed(arena))
        return STR_NULL;
    memcpy(p, valid.p, valid.n);
    bool changed = repair_escapes(p, valid.n);
    return changed || valid.p != text.p ? str_of(p, valid.n) : STR_NULL;
}

static yyjson_doc *parse(struct str text, struct arena *arena, yyjson_read_err *err)
{
    const yyjson_alc alc = alc_of(arena);
    /* yyjson takes a char * for its in-situ mode; without that flag it only reads. */
    return yyjson_read_opts((char *)(uintptr_t)text.p, text.n, YYJSON_READ_NUMBER_AS_RAW, &alc,
                            err);
}

yyjson_val *json_read(struct str text, const struct json_read_options *options, struct arena *arena,
                      struct error *e)
{
    size_t depth_max = options->depth_max == 0 ? DEPTH_DEFAULT : options->depth_max;
    yyjson_read_err err = {.code = YYJSON_READ_SUCCESS};

    assert(depth_max <= DEPTH_LIMIT);
    if (text.n == 0) {
        if (e != NULL)
            (void)FAIL(e, ERR_BAD_REQUEST, "no JSON text");
        return NULL;
    }
    yyjson_doc *doc = parse(text, arena, &err);
    if (doc == NULL && err.code == YYJSON_READ_ERROR_INVALID_STRING) {
        struct str again = repaired(text, options->allow_invalid_utf8, arena);
        if (!str_is_null(again))
            doc = parse(again, arena, &err);
    }
    bool legal = doc != NULL && depth_is_legal(doc, depth_max, arena);
    if (legal)
        return doc->root;
    if (e == NULL)
        return NULL;
    if (arena_overflowed(arena))
        (void)FAIL(e, ERR_TOO_LARGE, "the JSON text needs too much memory");
    else if (doc != NULL)
        (void)FAIL(e, ERR_BAD_REQUEST,
                   "JSON nested too deeply, at most %zu levels (json_depth_max)", depth_max);
    else
        (void)FAIL(e, ERR_BAD_REQUEST, "not valid JSON: %s at byte %zu", err.msg, err.pos);
    return NULL;
}

yyjson_val *json_get(yyjson_val *object, struct str key)
{
    return yyjson_obj_getn(object, key.p == NULL ? "" : key.p, key.n);
}

struct json_keys json_keys_of(yyjson_val *object)
{
    struct json_keys keys = {.object = object};
    size_t at;
    size_t count;
    yyjson_val *key;
    yyjson_val *value;

    if (!yyjson_is_obj(object))
        return keys;
    yyjson_obj_foreach(object, at, count, key, value)
    {
        (void)value;
        keys.present |= json_key_bit(unsafe_yyjson_get_str(key), unsafe_yyjson_get_len(key));
    }
    return keys;
}

struct str json_get_str(yyjson_val *object, struct str key)
{
    return json_str(json_get(object, key));
}

struct str json_number_token(yyjson_val *v)
{
    return yyjson_is_raw(v) ? str_of(yyjson_get_raw(v), yyjson_get_len(v)) : STR_NULL;
}

/* A number's digits without its point, and the power of ten that they are to be multiplied by. */
struct decimal {
    struct str whole;
    struct str fraction;
    int64_t exponent;
};

static struct decimal split_number(struct str token)
{
    enum { EXPONENT_MAX = 1000000000 };
    struct decimal d = {.whole = token, .fraction = STR("")};

    for (size_t i = 0; i < token.n; i++) {
        if (token.p[i] != 'e' && token.p[i] != 'E')
            continue;
        struct str digits = str_from(token, i + 1);
        bool negative = digits.n > 0 && digits.p[0] == '-';
        /* More than any text is long: a larger one says no more. */
        if (!str_to_int64(digits, &d.exponent) || d.exponent > EXPONENT_MAX ||
            d.exponent < -EXPONENT_MAX)
            d.exponent = negative ? -EXPONENT_MAX : EXPONENT_MAX;
        d.whole = str_head(token, i);
        break;
    }
    size_t point = str_find_char(d.whole, '.', 0);
    if (point != SIZE_MAX) {
        d.fraction = str_from(d.whole, point + 1);
        d.whole = str_head(d.whole, point);
    }
    return d;
}

static bool is_zero(struct decimal d)
{
    for (size_t i = 0; i < d.whole.n; i++) {
        if (d.whole.p[i] != '0')
            return false;
    }
    for (size_t i = 0; i < d.fraction.n; i++) {
        if (d.fraction.p[i] != '0')
            return false;
    }
    return true;
}

/* The value of an integral number with a fraction or an exponent. */
static bool integral(struct str token, int64_t *ret_value)
{
    bool negative = token.n > 0 && token.p[0] == '-';
    struct decimal d = split_number(str_from(token, negative ? 1 : 0));
    size_t digits = d.whole.n + d.fraction.n;
    int64_t scale = d.exponent - (int64_t)d.fraction.n;
    int64_t value = 0;

    if (is_zero(d)) {
        *ret_value = 0;
        return true;
    }
    for (size_t i = 0; i < digits; i++) {
        char c = i < d.whole.n ? d.whole.p[i] : d.fraction.p[i - d.whole.n];
        /* What stands for less than 1 has to be zeros. */
        bool below_one = (int64_t)(digits - i) <= -scale;
        if (below_one && c != '0')
            return false;
        if (below_one)
            continue;
        int digit = negative ? '0' - c : c - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    for (; scale > 0; scale--) {
        if (__builtin_mul_overflow(value, 10, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

bool json_to_int64(yyjson_val *v, int64_t *ret_value)
{
    struct str token = json_number_token(v);

    if (token.n == 0)
        return false;
    return str_to_int64(token, ret_value) || integral(token, ret_value);
}

struct str json_text(yyjson_val *v, struct arena *arena)
{
    const yyjson_alc alc = alc_of(arena);
    size_t n = 0;

    if (v == NULL)
        return STR_NULL;
    const char *p = yyjson_val_write_opts(v, YYJSON_WRITE_NOFLAG, &alc, &n, NULL);
    if (arena_overflowed(arena))
        return STR("");
    /* What was read is valid UTF-8 and has a legal depth: nothing else can go wrong. */
    assert(p != NULL);
    return str_of(p, n);
}

/* --- writing --- */

/* What stands behind the backslash of a short escape; 0: there is none. */
static const char short_escapes[256] = {
    ['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
    ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't',
};

/* The escape of a character that must not stand in a string, to where there is room for
 * ESCAPE_SIZE bytes. Returns its length. */
static inline size_t put_escape(char *to, char c)
{
    static const char digits[] = "0123456789abcdef";
    char letter = short_escapes[(unsigned char)c];

    to[0] = '\\';
    to[1] = letter;
    if (LIKELY(letter != '\0'))
        return 2;
    assert((unsigned char)c < 0x20);
    memcpy(to + 1, "u00", 3);
    to[4] = digits[(unsigned char)c >> 4];
    to[5] = digits[c & 0xf];
    return ESCAPE_SIZE;
}

/* A run without anything to escape, its invalid UTF-8 replaced. */
static bool add_repaired(struct buf *b, struct str run)
{
    while (run.n > 0) {
        size_t good = utf8_valid_prefix(run);
        if (good == run.n)
            break;
        size_t bad = utf8_invalid_size(str_from(run, good));
        if (!buf_add(b, str_head(run, good)) || !buf_add(b, STR("\xEF\xBF\xBD")))
            return false;
        run = str_from(run, good + bad);
    }
    return buf_add(b, run);
}

/* Run by run, each checked and added alone: where UTF-8 is to be repaired, or room is scarce. */
static bool add_runs(struct buf *b, struct str s)
{
    size_t i = 0;

    while (i < s.n) {
        bool high = false;
        size_t run = scan_plain(s.p + i, s.n - i, &high);
        if (!add_repaired(b, str_of(s.p + i, run)))
            return false;
        i += run;
        if (i == s.n)
            break;
        char escape[ESCAPE_SIZE];
        if (!buf_add(b, str_of(escape, put_escape(escape, s.p[i++]))))
            return false;
    }
    return buf_ok(b);
}

/* Escapes n bytes to where there is room for n escapes and SCAN_SLACK; returns what it wrote. */
static size_t escape_piece(char *to, const char *p, size_t n, bool *high)
{
    char *begin = to;
    size_t i = 0;

    for (;;) {
        size_t run = scan_copy_plain(to, p + i, n - i, high);
        to += run;
        i += run;
        if (i == n)
            return (size_t)(to - begin);
        to += put_escape(to, p[i++]);
    }
}

bool json_add_escaped(struct buf *b, struct str s)
{
    enum { PIECE = 256 };
    size_t begin = b->n;
    bool high = false;

    if (b->full || s.n >= (b->size_max - b->n) / (ESCAPE_SIZE * 2))
        return add_runs(b, s);
    for (size_t i = 0; i < s.n; i += PIECE) {
        size_t n = s.n - i < PIECE ? s.n - i : PIECE;
        char *to = buf_reserve(b, n * ESCAPE_SIZE + SCAN_SLACK);
        if (to == NULL)
            return false;
        buf_added(b, escape_piece(to, s.p + i, n, &high));
    }
    if (LIKELY(!high || utf8_valid(s)))
        return true;
    b->n = begin;
    return add_runs(b, s);
}

bool json_add_string(struct buf *b, struct str s)
{
    enum { SHORT = 64 };

    /* Most are short and plain, and there is room: at once. */
    if (LIKELY(s.n <= SHORT && b->size - b->n >= SHORT + 2 + SCAN_SLACK && !b->full)) {
        char *to = b->p + b->n;
        bool high = false;
        size_t plain = scan_copy_plain(to + 1, s.p, s.n, &high);
        if (LIKELY(plain == s.n && !high)) {
            to[0] = '"';
            to[s.n + 1] = '"';
            buf_added(b, s.n + 2);
            return true;
        }
    }
    return buf_add_char(b, '"') && json_add_escaped(b, s) && buf_add_char(b, '"');
}

struct str json_quote(struct str s, struct arena *arena)
{
    struct buf b;
    bool high = false;
    bool plain = s.n == 0 || scan_plain(s.p, s.n, &high) == s.n;

    if (high)
        plain = plain && utf8_valid(s);

    /* Each byte becomes six at most (\u001f); with twice that it is written at once. */
    assert(s.n < SIZE_MAX / 32);
    if (plain) {
        char *p = arena_alloc(arena, s.n + 2);
        if (arena_overflowed(arena))
            return STR("\"\"");
        p[0] = '"';
        if (s.n > 0)
            memcpy(p + 1, s.p, s.n);
        p[s.n + 1] = '"';
        return str_of(p, s.n + 2);
    }
    buf_init(&b, 16 * s.n + 64);
    bool fits = json_add_string(&b, s);
    assert(fits);
    struct str quoted = str_copy(arena, buf_str(&b));
    buf_fini(&b);
    return quoted;
}
