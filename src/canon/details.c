/* SPDX-License-Identifier: MIT */
/*
 * How       A detail for each index and type (without an index: for each type in a row), in order
 *           of their begin. Bodies of JSON strings are joined as they stand; of other members the
 *           last one counts.
 */
#include "canon/details.h"

#include "base/arena.h"
#include "base/mem.h"
#include "text/json.h"
#include "text/json_index.h"

enum { DETAILS_MAX = 256, MEMBERS_MAX = 16, KEY_MAX = 64 };

struct details_member {
    struct buf key;
    struct buf value; /* JSON text; of strings the body, joined or not */
    bool string;
};

struct detail {
    uint32_t n;
    struct details_member members[MEMBERS_MAX];
};

struct details {
    size_t bytes;
    size_t bytes_max;
    bool full;
    uint32_t n;
    struct detail *items[DETAILS_MAX];
};

struct details *details_new(size_t bytes_max)
{
    struct details *details = mem_new(sizeof(*details));

    details->bytes_max = bytes_max;
    return details;
}

void details_free(struct details **details_ptr)
{
    struct details *details = *details_ptr;

    *details_ptr = NULL;
    if (details == NULL)
        return;
    for (uint32_t i = 0; i < details->n; i++) {
        struct detail *detail = details->items[i];
        for (uint32_t k = 0; k < detail->n; k++) {
            buf_fini(&detail->members[k].key);
            buf_fini(&detail->members[k].value);
        }
        mem_free(detail);
    }
    mem_free(details);
}

/* Which member; MEMBERS_MAX: none. */
static uint32_t find_member(const struct detail *detail, struct str key)
{
    for (uint32_t i = 0; i < detail->n; i++) {
        if (str_eq(buf_str(&detail->members[i].key), key))
            return i;
    }
    return MEMBERS_MAX;
}

static bool has_value(const struct detail *detail, struct str key, struct str value)
{
    uint32_t at = find_member(detail, key);

    return at < MEMBERS_MAX && str_eq(buf_str(&detail->members[at].value), value);
}

/* A string's body, a number as it stands; null for null and absent. */
static struct str plain(struct str object, struct str key)
{
    struct str value = json_object_find(object, key);

    if (value.n == 0 || json_kind_of(value) == JSON_NULL)
        return STR_NULL;
    return json_kind_of(value) == JSON_STRING ? str_of(value.p + 1, value.n - 2) : value;
}

/* The one that an element goes on with; NULL: it begins one. */
static struct detail *find(struct details *details, struct str element)
{
    struct str index = plain(element, STR("index"));
    struct str type = plain(element, STR("type"));

    for (uint32_t i = details->n; i > 0; i--) {
        struct detail *detail = details->items[i - 1];
        bool same_type = has_value(detail, STR("type"), type);
        if (str_is_null(index))
            return same_type && find_member(detail, STR("index")) == MEMBERS_MAX ? detail : NULL;
        if (same_type && has_value(detail, STR("index"), index))
            return detail;
    }
    return NULL;
}

static bool is_joined(struct str key)
{
    return str_eq(key, STR("text")) || str_eq(key, STR("summary")) || str_eq(key, STR("data"));
}

static void take(struct details *details, struct detail *detail, const struct json_member *said)
{
    uint32_t at = find_member(detail, said->key);
    struct details_member *member = at < MEMBERS_MAX ? &detail->members[at] : NULL;
    bool string = json_kind_of(said->value) == JSON_STRING;
    struct str value = string ? str_of(said->value.p + 1, said->value.n - 2) : said->value;

    if (json_kind_of(said->value) == JSON_NULL && member != NULL)
        return;
    if (value.n > details->bytes_max - details->bytes || said->key.n > KEY_MAX ||
        (member == NULL && detail->n == MEMBERS_MAX)) {
        details->full = true;
        return;
    }
    details->bytes += value.n;
    if (member == NULL) {
        member = &detail->members[detail->n++];
        buf_init(&member->key, KEY_MAX);
        buf_init(&member->value, details->bytes_max + 1);
        (void)buf_add(&member->key, said->key);
    } else if (!string || !member->string || !is_joined(said->key)) {
        buf_reset(&member->value);
    }
    member->string = string;
    (void)buf_add(&member->value, value);
}

void details_add(struct details *details, struct str list)
{
    struct arena keys;
    struct str element;
    size_t at = 0;

    if (list.n == 0 || json_kind_of(list) != JSON_ARRAY)
        return;
    arena_init(&keys, details->bytes_max + 4096, 0, NULL);
    while (!details->full && json_array_next(list, &at, &element)) {
        struct json_member member;
        size_t cursor = 0;
        if (json_kind_of(element) != JSON_OBJECT)
            continue;
        struct detail *detail = find(details, element);
        if (detail == NULL && details->n == DETAILS_MAX) {
            details->full = true;
            break;
        }
        if (detail == NULL)
            detail = details->items[details->n++] = mem_new(sizeof(*detail));
        while (json_object_next(element, &cursor, &keys, &member))
            take(details, detail, &member);
    }
    arena_fini(&keys);
}

/* Anthropic's and Gemini's thoughts are refused without their signature. */
static bool is_refused(const struct detail *detail)
{
    uint32_t at = find_member(detail, STR("signature"));
    bool signs = has_value(detail, STR("format"), STR("anthropic-claude-v1")) ||
                 has_value(detail, STR("format"), STR("google-gemini-v1"));
    bool is_signed = at < MEMBERS_MAX && detail->members[at].string &&
                     detail->members[at].value.n > 0;

    return signs && !is_signed && has_value(detail, STR("type"), STR("reasoning.text"));
}

void details_write(const struct details *details, struct buf *out)
{
    size_t n = 0;

    if (details->full)
        return;
    for (uint32_t i = 0; i < details->n; i++) {
        const struct detail *detail = details->items[i];
        if (is_refused(detail) || detail->n == 0)
            continue;
        buf_add_char(out, n++ == 0 ? '[' : ',');
        for (uint32_t k = 0; k < detail->n; k++) {
            const struct details_member *member = &detail->members[k];
            buf_add_char(out, k == 0 ? '{' : ',');
            json_add_string(out, buf_str(&member->key));
            buf_add(out, member->string ? STR(":\"") : STR(":"));
            buf_add(out, buf_str(&member->value));
            if (member->string)
                buf_add_char(out, '"');
        }
        buf_add_char(out, '}');
    }
    if (n > 0)
        buf_add_char(out, ']');
}
