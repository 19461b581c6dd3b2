/* SPDX-License-Identifier: MIT */
/*
 * The validating pass over a JSON text.
 *
 * What      Checks grammar, UTF-8, depth and duplicate keys, and notes the root's members.
 * How       A loop of three parts, one token each: a key with its colon, a value (a scalar, or the
 *           opening of a container), what follows a value (a comma, or closings). No recursion: one
 *           bit a level says object or array. Each part takes the place to read from and returns
 *           the place after what it read, NULL after a fault, which it notes in the reader.
 *           Keys are gathered on one stack for the three levels that are checked (the root; array
 *           in it; array in that: levels 1, 3 and 5) and compared when their object closes.
 *           The path in an error is found by a second walk, up to the fault only.
 * Owns      Nothing: members and keys are in the caller's arena.
 * Not here  Values and walking (json.c), strings (json_string.c).
 */
#include "text/json_index.h"

#include <xxhash.h>

#include "base/buf.h"
#include "base/scan_block.h"
#include "text/json_memory.h"
#include "text/utf8.h"

enum {
    DEPTH_LIMIT = 1024,
    LEVELS_CHECKED = 3,
    KEYS_INLINE = 32,
    /* Below that many keys comparing each with each is the fastest. */
    KEYS_PAIRWISE = 16,
    MEMBERS_FIRST = 16,
    PATH_LEVELS = 12,
    PATH_KEY_SIZE = 40,
    PATH_SIZE = 192,
};

struct key {
    struct str text; /* unescaped */
    size_t at;       /* of its opening quote in the source */
};

/* Where an array of the root had its last element; the members so far are in the index. */
struct mark_place {
    size_t at;
    size_t last;
    size_t value_at;
    size_t members_n;
};

struct reader {
    const char *begin;
    const char *end;
    struct arena *arena;
    struct json_index *index;
    size_t members_size;
    size_t value_at; /* of the root's member being read */
    size_t depth;
    size_t depth_max;
    uint64_t objects[DEPTH_LIMIT / 64]; /* bit depth - 1: it is an object, not an array */
    bool in_object;                     /* the same bit, of the innermost container */
    bool keys_checked;                  /* the innermost container is an object to be checked */
    size_t keys_from[LEVELS_CHECKED];   /* where the keys of that level's object begin */
    struct key *keys;
    size_t keys_n;
    size_t keys_size;
    uint32_t *slots; /* hash table for large objects, reused */
    size_t slots_size;
    const char *problem;
    size_t problem_at;
    bool marked;                                 /* marks are noted */
    struct mark_place marks[JSON_MARKS_AT_ONCE]; /* the last arrays of the root, so far */
    size_t marks_n;
    size_t element_end;  /* of the root's array being read; of another one: none yet */
    size_t element_from; /* where the one before that ended */
    size_t last;         /* of the value that just ended: as in json_member */
    struct key keys_inline[KEYS_INLINE];
};

static COLD const char *fault(struct reader *r, const char *problem, const char *at)
{
    assert(r->problem == NULL);
    assert(at >= r->begin && at <= r->end);
    r->problem = problem;
    r->problem_at = (size_t)(at - r->begin);
    return NULL;
}

static COLD const char *unexpected(struct reader *r, const char *at)
{
    return fault(r, at == r->end ? "unexpected end" : "unexpected character", at);
}

/* --- duplicate keys --- */

static COLD void duplicate(struct reader *r, const struct key *key)
{
    (void)fault(r, "duplicate key", r->begin + key->at);
}

static bool pairwise_unique(struct reader *r, const struct key *keys, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (UNLIKELY(str_eq(keys[i].text, keys[j].text))) {
                duplicate(r, &keys[i]);
                return false;
            }
        }
    }
    return true;
}

/* A table of n keys or more, all slots empty; NULL when the arena has no room. */
static uint32_t *clean_slots(struct reader *r, size_t n, size_t *ret_size)
{
    size_t size = 64;

    while (size < 2 * n)
        size *= 2;
    if (size > r->slots_size) {
        r->slots = arena_array(r->arena, size, sizeof(*r->slots));
        r->slots_size = arena_overflowed(r->arena) ? 0 : size;
        if (r->slots_size == 0)
            return NULL;
    }
    memset(r->slots, 0, size * sizeof(*r->slots));
    *ret_size = size;
    return r->slots;
}

/*
 * The hash has no secret, so keys that collide can be made. They would make this quadratic; by
 * chance they never come in such numbers, so a text that has them is refused.
 */
static bool hashed_unique(struct reader *r, const struct key *keys, size_t n)
{
    size_t size;
    size_t probes_left = 64 + 16 * n;
    uint32_t *slots = n < UINT32_MAX / 4 ? clean_slots(r, n, &size) : NULL;

    if (slots == NULL) {
        (void)fault(r, "too many keys in one object", r->begin + keys[n - 1].at);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t slot = (size_t)XXH3_64bits(keys[i].text.p, keys[i].text.n) & (size - 1);
        for (; slots[slot] != 0; slot = (slot + 1) & (size - 1)) {
            if (str_eq(keys[slots[slot] - 1].text, keys[i].text)) {
                duplicate(r, &keys[i]);
                return false;
            }
            if (--probes_left == 0) {
                (void)fault(r, "colliding keys in one object", r->begin + keys[i].at);
                return false;
            }
        }
        slots[slot] = (uint32_t)(i + 1);
    }
    return true;
}

/* The innermost object closes: compares its keys and takes them off the stack. */
static bool check_keys(struct reader *r)
{
    size_t from = r->keys_from[r->depth / 2];
    size_t n = r->keys_n - from;
    const struct key *keys = r->keys + from;

    assert(r->keys_checked && from <= r->keys_n);
    r->keys_n = from;
    return n < KEYS_PAIRWISE ? pairwise_unique(r, keys, n) : hashed_unique(r, keys, n);
}

static COLD bool grow_keys(struct reader *r)
{
    size_t size = r->keys_size * 2;
    struct key *keys;

    if (r->keys == r->keys_inline) {
        keys = arena_array(r->arena, size, sizeof(*keys));
        if (!arena_overflowed(r->arena))
            memcpy(keys, r->keys, r->keys_n * sizeof(*keys));
    } else {
        keys = arena_grow(r->arena, r->keys, r->keys_size * sizeof(*keys), size * sizeof(*keys));
    }
    if (arena_overflowed(r->arena))
        return false;
    r->keys = keys;
    r->keys_size = size;
    return true;
}

/* --- containers --- */

/* The levels that are checked: { · {[{ · {[{[{ as bits from the root on. */
static bool is_checked(const struct reader *r)
{
    uint64_t path = r->objects[0];

    switch (r->depth) {
    case 1:
        return true;
    case 3:
        return (path & 7) == 5;
    case 5:
        return (path & 31) == 21;
    default:
        return false;
    }
}

static inline bool open_container(struct reader *r, bool object)
{
    size_t bit = r->depth;

    if (UNLIKELY(bit >= r->depth_max))
        return false;
    r->depth = bit + 1;
    uint64_t mask = UINT64_C(1) << (bit & 63);
    uint64_t *word = &r->objects[bit / 64];
    *word = object ? *word | mask : *word & ~mask;
    r->in_object = object;
    r->keys_checked = object && r->depth <= 5 && is_checked(r);
    if (r->keys_checked)
        r->keys_from[r->depth / 2] = r->keys_n;
    return true;
}

static inline bool close_container(struct reader *r)
{
    assert(r->depth > 0);
    if (r->keys_checked && UNLIKELY(!check_keys(r)))
        return false;
    r->depth--;
    size_t bit = r->depth - 1;
    r->in_object = r->depth > 0 && (r->objects[bit / 64] >> (bit & 63) & 1) != 0;
    r->keys_checked = r->in_object && r->depth <= 5 && is_checked(r);
    return true;
}

static COLD bool grow_members(struct reader *r)
{
    struct json_index *index = r->index;
    size_t size = r->members_size == 0 ? MEMBERS_FIRST : r->members_size * 2;
    struct json_member *members = arena_grow(r->arena, index->members,
                                             r->members_size * sizeof(*members),
                                             size * sizeof(*members));

    if (arena_overflowed(r->arena))
        return false;
    index->members = members;
    r->members_size = size;
    return true;
}

/* --- tokens --- */

static inline const char *skip_blanks(const char *at, const char *end)
{
    /* Indentation comes in eights. */
    while (at < end && (unsigned char)*at <= ' ') {
        if (end - at >= 8 && scan_word(at) == SCAN_EACH(' '))
            at += 8;
        else if (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
            at++;
        else
            break;
    }
    return at;
}

/* at: after the opening quote. Returns the closing quote's place. */
static inline const char *read_string(struct reader *r, const char *at, bool *ret_escaped)
{
    size_t n = (size_t)(r->end - at);
    size_t i;

    if (LIKELY(n >= 16) && LIKELY(scan_short(at, &i))) {
        *ret_escaped = false;
        return at + i;
    }
    i = json_string_scan(at, n, ret_escaped);
    if (UNLIKELY(i == SIZE_MAX)) {
        const char *problem = json_string_fault(at, n, &i);
        return fault(r, problem, at + i);
    }
    return at + i;
}

static inline bool is_digit(const char *at, const char *end)
{
    return at < end && (unsigned char)(*at - '0') < 10;
}

static const char *read_digits(struct reader *r, const char *at)
{
    if (!is_digit(at, r->end))
        return unexpected(r, at);
    while (is_digit(at, r->end))
        at++;
    return at;
}

static const char *read_number(struct reader *r, const char *at)
{
    if (*at == '-')
        at++;
    if (at < r->end && *at == '0')
        at++;
    else
        at = read_digits(r, at);
    if (at != NULL && at < r->end && *at == '.')
        at = read_digits(r, at + 1);
    if (at != NULL && at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < r->end && (*at == '+' || *at == '-'))
            at++;
        at = read_digits(r, at);
    }
    return at;
}

static const char *read_literal(struct reader *r, const char *at, struct str word)
{
    if (!str_starts(str_of(at, (size_t)(r->end - at)), word))
        return unexpected(r, at);
    return at + word.n;
}

/* A scalar other than a string. */
static const char *read_scalar(struct reader *r, const char *at)
{
    switch (*at) {
    case 't':
        return read_literal(r, at, STR("true"));
    case 'f':
        return read_literal(r, at, STR("false"));
    case 'n':
        return read_literal(r, at, STR("null"));
    default:
        if (*at == '-' || is_digit(at, r->end))
            return read_number(r, at);
        return unexpected(r, at);
    }
}

/* --- the three parts of the loop --- */

static inline bool note_key(struct reader *r, const char *quote, const char *close, bool escaped)
{
    if (UNLIKELY(r->keys_n == r->keys_size) && !grow_keys(r))
        return false;
    struct str text = str_of(quote + 1, (size_t)(close - quote) - 1);
    if (UNLIKELY(escaped))
        text = json_string_value(str_of(quote, text.n + 2), r->arena);
    size_t at = (size_t)(quote - r->begin);
    r->keys[r->keys_n++] = (struct key){.text = text, .at = at};
    return true;
}

/* A key, its colon, and the blanks up to the value. */
static inline const char *read_key(struct reader *r, const char *at)
{
    bool escaped;

    at = skip_blanks(at, r->end);
    if (UNLIKELY(at == r->end || *at != '"'))
        return unexpected(r, at);
    const char *quote = at;
    at = read_string(r, quote + 1, &escaped);
    if (UNLIKELY(at == NULL))
        return NULL;
    if (r->keys_checked && UNLIKELY(!note_key(r, quote, at, escaped)))
        return fault(r, "too many keys", quote);
    at = skip_blanks(at + 1, r->end);
    if (UNLIKELY(at == r->end || *at != ':'))
        return unexpected(r, at);
    at = skip_blanks(at + 1, r->end);
    if (r->depth == 1)
        r->value_at = (size_t)(at - r->begin);
    return at;
}

/* A scalar, an empty container, or the opening of one (*ret_opened). */
static inline const char *read_value(struct reader *r, const char *at, bool *ret_opened)
{
    bool escaped;

    *ret_opened = false;
    if (UNLIKELY(at == r->end))
        return unexpected(r, at);
    if (*at == '"') {
        at = read_string(r, at + 1, &escaped);
        return at == NULL ? NULL : at + 1;
    }
    if (*at != '{' && *at != '[')
        return read_scalar(r, at);
    if (UNLIKELY(!open_container(r, *at == '{')))
        return fault(r, "nested too deeply (json_depth_max)", at);
    at = skip_blanks(at + 1, r->end);
    if (at < r->end && *at == (r->in_object ? '}' : ']'))
        return close_container(r) ? at + 1 : NULL;
    *ret_opened = true;
    return at;
}

/* A value of the root's ended at at. */
static inline bool note_member(struct reader *r, const char *at)
{
    struct json_index *index = r->index;

    if (UNLIKELY(index->n == r->members_size) && !grow_members(r)) {
        (void)fault(r, "too many members", at);
        return false;
    }
    const struct key *key = &r->keys[r->keys_n - 1];
    size_t end = (size_t)(at - r->begin);
    assert(r->keys_n > 0 && key->at < r->value_at && r->value_at < end);
    index->members[index->n++] = (struct json_member){
        .key = key->text,
        .value = str_of(r->begin + r->value_at, end - r->value_at),
        .begin = key->at,
        .end = end,
        .last = r->last,
    };
    r->last = 0;
    return true;
}

/* An array of the root closes, that is not empty: where its last element begins, and where it
 * ended, which is a place to go on from. */
static void note_last(struct reader *r)
{
    r->last = r->element_from > r->value_at ? r->element_from : r->value_at + 1;
    if (!r->marked || r->element_end < JSON_MARK_BYTES_MIN || r->element_end <= r->value_at ||
        r->index->n > JSON_MARK_MEMBERS)
        return;
    if (r->marks_n == JSON_MARKS_AT_ONCE) {
        memmove(r->marks, r->marks + 1, (JSON_MARKS_AT_ONCE - 1) * sizeof(r->marks[0]));
        r->marks_n--;
    }
    r->marks[r->marks_n++] = (struct mark_place){.at = r->element_end,
                                                 .last = r->last,
                                                 .value_at = r->value_at,
                                                 .members_n = r->index->n};
}

/* After a value: over closings and the comma to the next key or value; with depth 0, the end of
 * the root. */
static inline const char *read_next(struct reader *r, const char *at)
{
    while (r->depth > 0) {
        if (r->depth == 2 && !r->in_object) {
            r->element_from = r->element_end;
            r->element_end = (size_t)(at - r->begin);
        }
        if (r->depth == 1 && UNLIKELY(!note_member(r, at)))
            return NULL;
        at = skip_blanks(at, r->end);
        if (UNLIKELY(at == r->end))
            return unexpected(r, at);
        if (*at == ',')
            return skip_blanks(at + 1, r->end);
        if (UNLIKELY(*at != (r->in_object ? '}' : ']')))
            return unexpected(r, at);
        if (r->depth == 1)
            r->index->close = (size_t)(at - r->begin);
        if (r->depth == 2 && !r->in_object)
            note_last(r);
        if (UNLIKELY(!close_container(r)))
            return NULL;
        at++;
    }
    return at;
}

/* The rest, from a place within the root or its end on. */
static bool read_rest(struct reader *r, const char *at)
{
    bool opened;

    while (r->depth > 0) {
        if (r->in_object)
            at = read_key(r, at);
        if (at != NULL)
            at = read_value(r, at, &opened);
        if (at != NULL && !opened)
            at = read_next(r, at);
        if (UNLIKELY(at == NULL))
            return false;
    }
    at = skip_blanks(at, r->end);
    if (at != r->end)
        (void)fault(r, "something after the end", at);
    return r->problem == NULL;
}

static bool read_root(struct reader *r)
{
    const char *at = skip_blanks(r->begin, r->end);
    bool opened;

    if (at < r->end && *at != '{') {
        (void)fault(r, "not an object", at);
        return false;
    }
    r->index->open = (size_t)(at - r->begin);
    at = read_value(r, at, &opened);
    if (at == NULL)
        return false;
    if (!opened)
        r->index->close = (size_t)(at - r->begin) - 1;
    return read_rest(r, at);
}

/* --- going on from a mark --- */

/* The state at the end of an element of an array in the root, as the mark says; then the rest. */
static bool resume(struct reader *r, const struct json_mark *mark)
{
    struct json_index *index = r->index;

    assert(r->depth == 0 && r->keys_n == 0 && mark->at <= index->source.n);
    while (r->keys_size < mark->members_n + 1) {
        if (!grow_keys(r))
            return false;
    }
    while (r->members_size < mark->members_n) {
        if (!grow_members(r))
            return false;
    }
    (void)open_container(r, true);
    for (size_t i = 0; i <= mark->members_n; i++) {
        const struct json_mark_member *m = &mark->members[i];
        struct str key = str_of(r->begin + m->key_at, m->key_n);
        r->keys[r->keys_n++] = (struct key){.text = key, .at = m->key_at - 1};
        if (i == mark->members_n)
            break;
        index->members[index->n++] = (struct json_member){
            .key = key,
            .value = str_of(r->begin + m->value_at, m->value_n),
            .begin = m->begin,
            .end = m->end,
            .last = m->last,
        };
    }
    (void)open_container(r, false);
    index->open = mark->open;
    r->value_at = mark->value_at;
    r->element_end = mark->last;
    const char *at = read_next(r, r->begin + mark->at);
    return at != NULL && read_rest(r, at);
}

static bool plain_key(const struct reader *r, struct str key)
{
    return key.p >= r->begin && key.p + key.n <= r->end;
}

/* What was found valid, for the next text that begins so. */
static void remember(const struct reader *r, struct json_memory *memory, size_t known)
{
    const struct json_index *index = r->index;
    struct json_mark marks[JSON_MARKS_AT_ONCE];
    size_t n = 0;

    for (size_t k = 0; k < r->marks_n; k++) {
        const struct mark_place *place = &r->marks[k];
        struct json_mark *mark = &marks[n];
        bool plain = place->members_n < index->n;
        *mark = (struct json_mark){.at = place->at,
                                   .depth_max = r->depth_max,
                                   .open = index->open,
                                   .value_at = place->value_at,
                                   .last = place->last,
                                   .members_n = place->members_n};
        for (size_t i = 0; i <= place->members_n && plain; i++) {
            const struct json_member *m = &index->members[i];
            plain = plain_key(r, m->key);
            mark->members[i] = (struct json_mark_member){.key_at = (size_t)(m->key.p - r->begin),
                                                         .key_n = m->key.n,
                                                         .value_at = (size_t)(m->value.p -
                                                                              r->begin),
                                                         .value_n = m->value.n,
                                                         .begin = m->begin,
                                                         .end = m->end,
                                                         .last = m->last};
        }
        n += plain && place->at != known;
    }
    if (n > 0)
        json_memory_store(memory, index->source, marks, n);
}

/* --- the path of a fault --- */

struct path {
    size_t depth;
    struct {
        bool object;
        bool key_next;  /* in an object: a string here is a key */
        struct str key; /* its body as it stands; null before the first */
        size_t i;       /* in an array: of the element */
    } levels[PATH_LEVELS];
};

/* A container that is deeper than what is shown counts, and no more. */
static void path_open(struct path *path, bool object)
{
    if (path->depth < PATH_LEVELS) {
        path->levels[path->depth].object = object;
        path->levels[path->depth].key_next = object;
        path->levels[path->depth].key = STR_NULL;
        path->levels[path->depth].i = 0;
    }
    path->depth++;
}

static void path_punctuation(struct path *path, char c)
{
    bool shown = path->depth > 0 && path->depth <= PATH_LEVELS;
    size_t top = path->depth - 1;

    if (c == '{' || c == '[') {
        path_open(path, c == '{');
    } else if ((c == '}' || c == ']') && path->depth > 0) {
        path->depth--;
    } else if (c == ',' && shown) {
        path->levels[top].key_next = path->levels[top].object;
        path->levels[top].key = STR_NULL;
        path->levels[top].i++;
    } else if (c == ':' && shown) {
        path->levels[top].key_next = false;
    }
}

static bool path_wants_key(const struct path *path)
{
    return path->depth > 0 && path->depth <= PATH_LEVELS && path->levels[path->depth - 1].key_next;
}

/* Walks the text up to the fault; so far it is valid. */
static void path_find(struct path *path, struct str source, size_t fault_at)
{
    size_t at = 0;

    while (at < fault_at) {
        bool escaped;
        if (source.p[at] != '"') {
            path_punctuation(path, source.p[at++]);
            continue;
        }
        size_t n = json_string_skip(source.p + at + 1, source.n - at - 1, &escaped);
        if (n == SIZE_MAX || n >= fault_at - at)
            return;
        if (path_wants_key(path))
            path->levels[path->depth - 1].key = str_of(source.p + at + 1, n);
        at += n + 2;
    }
    /* A duplicate key is named where it stands. */
    if (at == fault_at && at < source.n && source.p[at] == '"' && path_wants_key(path)) {
        bool escaped;
        size_t n = json_string_scan(source.p + at + 1, source.n - at - 1, &escaped);
        if (n != SIZE_MAX)
            path->levels[path->depth - 1].key = str_of(source.p + at + 1, n);
    }
}

static bool is_name(struct str key)
{
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return key.n > 0;
}

static void path_print(const struct path *path, struct buf *b)
{
    size_t shown = path->depth < PATH_LEVELS ? path->depth : PATH_LEVELS;

    for (size_t i = 0; i < shown; i++) {
        struct str key = path->levels[i].key;
        if (!path->levels[i].object) {
            buf_print(b, "[%zu]", path->levels[i].i);
            continue;
        }
        if (str_is_null(key))
            break;
        struct str head = utf8_head(key, PATH_KEY_SIZE);
        const char *cut = head.n < key.n ? "…" : "";
        if (is_name(key))
            buf_print(b, "%s%.*s%s", b->n > 0 ? "." : "", STR_ARG(head), cut);
        else
            buf_print(b, "[\"%.*s%s\"]", STR_ARG(head), cut);
    }
}

static COLD enum error_code fail(const struct reader *r, struct error *e)
{
    struct str source = r->index->source;
    struct path path = {.depth = 0};
    struct buf b;

    assert(r->problem != NULL);
    if (arena_overflowed(r->arena))
        return FAIL(e, ERR_TOO_LARGE, "%s (byte %zu)", r->problem, r->problem_at);
    buf_init(&b, PATH_SIZE);
    path_find(&path, source, r->problem_at);
    path_print(&path, &b);
    enum error_code code = b.n == 0 ? FAIL(e, ERR_BAD_REQUEST, "%s at byte %zu", r->problem,
                                           r->problem_at)
                                    : FAIL(e, ERR_BAD_REQUEST, "%s at %.*s (byte %zu)", r->problem,
                                           STR_ARG(buf_str(&b)), r->problem_at);
    buf_fini(&b);
    return code;
}

/* --- entry points --- */

enum error_code json_index_read(struct json_index *index, struct str source, size_t depth_max,
                                struct json_memory *memory, struct arena *arena, struct error *e)
{
    assert(depth_max > 0 && depth_max <= DEPTH_LIMIT);
    const char *begin = source.p == NULL ? "" : source.p;
    const struct json_mark *mark = NULL;
    struct reader r = {
        .begin = begin,
        .end = begin + source.n,
        .arena = arena,
        .index = index,
        .depth_max = depth_max,
        .keys_size = KEYS_INLINE,
        .marked = memory != NULL && source.n >= JSON_MARK_BYTES_MIN,
    };
    r.keys = r.keys_inline;
    *index = (struct json_index){.source = source};
    if (r.marked)
        mark = json_memory_find(memory, source, depth_max);
    if (!(mark != NULL ? resume(&r, mark) : read_root(&r)))
        return fail(&r, e);
    assert(r.depth == 0 && r.keys_n == 0);
    assert(index->close < source.n && source.p[index->close] == '}');
    if (r.marked)
        remember(&r, memory, mark != NULL ? mark->at : 0);
    return OK;
}

struct str json_index_last(const struct json_index *index, const struct json_member *member)
{
    const char *at = index->source.p + member->last;
    const char *end = index->source.p + member->end;

    if (member->last == 0)
        return STR_NULL;
    assert(member->last < member->end && end[-1] == ']');
    end--;
    at = skip_blanks(at, end);
    if (at < end && *at == ',')
        at = skip_blanks(at + 1, end);
    while (end > at && (unsigned char)end[-1] <= ' ')
        end--;
    assert(at < end);
    return str_of(at, (size_t)(end - at));
}

const struct json_member *json_index_find(const struct json_index *index, struct str key)
{
    for (size_t i = 0; i < index->n; i++) {
        if (str_eq(index->members[i].key, key))
            return &index->members[i];
    }
    return NULL;
}
