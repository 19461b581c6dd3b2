/* SPDX-License-Identifier: MIT */
/* What the files of canon/schema share. */
#pragma once

#include "canon/schema.h"
#include "text/json.h"

enum {
    SCHEMA_LAYERS_MAX = 16,
    SCHEMA_REFS_MAX = 8, /* of $ref inside $ref */
    SCHEMA_DEPTH_MAX = 128,
    SCHEMA_BYTES_MAX = 16 * 1024 * 1024
};

/* The root of a tool without arguments. */
#define SCHEMA_NO_ARGUMENTS "{\"type\":\"object\",\"properties\":{}}"

/* Targets as bits. */
enum { SCHEMA_TO_GEMINI = 1, SCHEMA_TO_JSON = 2, SCHEMA_TO_FORMAT = 4, SCHEMA_TO_ALL = 7 };

/* Types as bits. */
enum {
    TYPE_STRING = 1,
    TYPE_NUMBER = 2,
    TYPE_INTEGER = 4,
    TYPE_BOOLEAN = 8,
    TYPE_ARRAY = 16,
    TYPE_OBJECT = 32,
    TYPE_NULL = 64,
    TYPE_ANY = 127,
    TYPE_NUMBERS = TYPE_NUMBER | TYPE_INTEGER
};

/* Keywords that are asked for often, by the length of their names (schema_keys.c). */
enum schema_key {
    KEY_ID,
    KEY_ENUM,
    KEY_TYPE,
    KEY_ANY_OF,
    KEY_CONST,
    KEY_ITEMS,
    KEY_ONE_OF,
    KEY_TITLE,
    KEY_FORMAT,
    KEY_ANCHOR,
    KEY_DEFAULT,
    KEY_EXAMPLE,
    KEY_MAXIMUM,
    KEY_MINIMUM,
    KEY_PATTERN,
    KEY_MAX_ITEMS,
    KEY_MIN_ITEMS,
    KEY_NULLABLE,
    KEY_MAX_LENGTH,
    KEY_MIN_LENGTH,
    KEY_MULTIPLE_OF,
    KEY_PROPERTIES,
    KEY_DESCRIPTION,
    KEY_PREFIX_ITEMS,
    KEY_UNIQUE_ITEMS,
    KEY_MAX_PROPERTIES,
    KEY_MIN_PROPERTIES,
    KEY_EXCLUSIVE_MAXIMUM,
    KEY_EXCLUSIVE_MINIMUM,
    KEY_PROPERTY_ORDERING,
    KEY_ADDITIONAL_PROPERTIES,
    KEY_COUNT
};

struct schema_layers {
    yyjson_val *nodes[SCHEMA_LAYERS_MAX];
    size_t n;
    size_t refs;              /* on the stack before this node's */
    bool cut;                 /* a $ref was not followed */
    yyjson_val *alternatives; /* of anyOf or oneOf, two or more; NULL: none */
    bool nullable;
    unsigned types;                /* 0: none said */
    uint32_t keywords;             /* which of the table's there are, as bits */
    yyjson_val *values[KEY_COUNT]; /* of the last layer that has them; NULL: none */
};

struct schema_writer {
    unsigned target; /* SCHEMA_TO_… */
    struct arena *arena;
    yyjson_val *root;
    struct buf out;
    size_t refs_until; /* bytes of output past which no $ref is followed */
    yyjson_val *refs[SCHEMA_REFS_MAX];
    size_t refs_n;
    size_t depth;
};

/* --- schema.c --- */

/* What a node says: the layers of its $ref and allOf, and itself. */
void schema_add_layers(struct schema_writer *w, struct schema_layers *l, yyjson_val *node);
/* The value of any member in the last layer that has it; NULL without one. */
yyjson_val *schema_get(const struct schema_layers *l, struct str key);
/* Types as bits. */
unsigned schema_types_of(yyjson_val *type);
const char *schema_type_name(unsigned type);
/* Whether a later layer has that property too. */
bool schema_superseded(const struct schema_layers *l, size_t layer, struct str name);
void schema_write_key(struct schema_writer *w, struct str key);
void schema_write_value(struct schema_writer *w, yyjson_val *value);
void schema_write_required(struct schema_writer *w, const struct schema_layers *l);
/* What was written, in the arena; null where it did not fit. w is done. */
struct str schema_written(struct schema_writer *w);

/* --- schema_keys.c --- */

PURE_FN struct str schema_keys_name(enum schema_key key);
/* KEY_COUNT: none of them. */
PURE_FN enum schema_key schema_keys_find(struct str name);
/* Fills values, when the layers are there. */
void schema_keys_read(struct schema_layers *l);

/* --- schema_tool.c, schema_plain.c --- */

/* Of a tool of OpenAI's or Anthropic's: the root is an object, and no choice. */
struct str schema_tool_fit(struct str schema, struct arena *arena);
/* Gemini's subset as JSON Schema. */
struct str schema_plain_fit(yyjson_val *root, struct arena *arena);
