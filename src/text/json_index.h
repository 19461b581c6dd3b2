/* SPDX-License-Identifier: MIT */
/*
 * Where things stand in a JSON text (RFC 8259): one validating pass over the bytes as they came.
 *
 * json_index_read checks the whole text (grammar, UTF-8, depth) and records the spans of the root
 * object's members. Members of inner objects are found on demand (json_object_first and so on),
 * over text that is known to be valid. Nothing is copied but keys that hold escapes.
 *
 * Refused: a key that stands twice in the root, in an element of an array that is a member of the
 * root (a message, a tool), or in an element of an array that is a member of such an element
 * (a content part, a tool call). Keys are compared unescaped, so "mod\u0065l" is "model".
 * Errors are BAD_REQUEST; the detail names what is wrong, the path of the member
 * (messages[3].content[0].text) and the byte offset. TOO_LARGE when the arena ran over.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "text/json_string.h"

struct json_memory;

/* One member of an object; all slices lie in the source (key: unless it held escapes). */
struct json_member {
    struct str key;   /* unescaped, without quotes */
    struct str value; /* the value's source text, no blanks around it */
    size_t begin;     /* offset of the key's opening quote in the source */
    size_t end;       /* offset after the value */
    size_t last;      /* of the root's: an array's last element begins behind it, after blanks and a
                       * comma; 0: no array, or an empty one */
};

struct json_index {
    struct str source;
    size_t open;                 /* offset of the root's '{' */
    size_t close;                /* offset of the root's '}' */
    struct json_member *members; /* in source order, in the arena */
    size_t n;
};

/* source must outlive the index. depth_max counts nested containers, the root is 1. The root must
 * be an object. memory: of what was read before, NULL for none; it changes how long reading takes
 * and nothing else. */
NODISCARD enum error_code json_index_read(struct json_index *index, struct str source,
                                          size_t depth_max, struct json_memory *memory,
                                          struct arena *arena, struct error *e);

/* The last element of a member of the root that is an array, without a walk; null without one. */
struct str json_index_last(const struct json_index *index, const struct json_member *member);

/* The root's member of that key, NULL without one. */
const struct json_member *json_index_find(const struct json_index *index, struct str key);

/*
 * --- walking valid text: value is the source span of an object or array (these are in json.c) ---
 *
 * Over text that was not checked they stop early, and never read outside it.
 */

enum json_kind {
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};
/* By its first byte. */
static inline enum json_kind json_kind_of(struct str value)
{
    if (value.n == 0)
        return JSON_NULL;
    switch (value.p[0]) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

/* Iterates an object's members: cursor = 0 first; false at the end. Offsets begin/end count from
 * value.p. arena: for keys with escapes. */
bool json_object_next(struct str object, size_t *cursor, struct arena *arena,
                      struct json_member *ret_member);
/* The first member of that key in an object; null str without one. */
struct str json_object_find(struct str object, struct str key);
/* The members of the object that was asked about last, so that several can be looked for in one
 * walk over it. Zeroed to begin with; the text stays where and as it is meanwhile. */
enum { JSON_FIELDS_MAX = 12 };
struct json_field {
    struct str key; /* without quotes, as it stands */
    struct str value;
    bool escaped; /* the key holds escapes */
};
struct json_fields {
    struct str object;
    size_t n;
    size_t cursor; /* behind the last one; where there are more, they are walked to */
    struct json_field items[JSON_FIELDS_MAX];
};
/* As json_object_find. */
struct str json_fields_find(struct json_fields *fields, struct str object, struct str key);
/* As json_object_next; between two calls fields may be asked about other objects. */
bool json_fields_next(struct json_fields *fields, struct str object, size_t *cursor,
                      struct arena *arena, struct json_member *ret_member);
/* Iterates an array's elements. */
bool json_array_next(struct str array, size_t *cursor, struct str *ret_value);
/* The text of a value without the blanks between its tokens; itself where there are none. */
struct str json_compact(struct str text, struct arena *arena);
