/* SPDX-License-Identifier: MIT */
/*
 * The keywords of schemas by number: each name of a node is looked at once, and a keyword's value
 * is then found without a walk.
 */
#include "canon/schema_priv.h"

/* In the order of the numbers: by length. */
static const struct str names[KEY_COUNT] = {
    [KEY_ID] = STR_INIT("$id"),
    [KEY_ENUM] = STR_INIT("enum"),
    [KEY_TYPE] = STR_INIT("type"),
    [KEY_ANY_OF] = STR_INIT("anyOf"),
    [KEY_CONST] = STR_INIT("const"),
    [KEY_ITEMS] = STR_INIT("items"),
    [KEY_ONE_OF] = STR_INIT("oneOf"),
    [KEY_TITLE] = STR_INIT("title"),
    [KEY_FORMAT] = STR_INIT("format"),
    [KEY_ANCHOR] = STR_INIT("$anchor"),
    [KEY_DEFAULT] = STR_INIT("default"),
    [KEY_EXAMPLE] = STR_INIT("example"),
    [KEY_MAXIMUM] = STR_INIT("maximum"),
    [KEY_MINIMUM] = STR_INIT("minimum"),
    [KEY_PATTERN] = STR_INIT("pattern"),
    [KEY_MAX_ITEMS] = STR_INIT("maxItems"),
    [KEY_MIN_ITEMS] = STR_INIT("minItems"),
    [KEY_NULLABLE] = STR_INIT("nullable"),
    [KEY_MAX_LENGTH] = STR_INIT("maxLength"),
    [KEY_MIN_LENGTH] = STR_INIT("minLength"),
    [KEY_MULTIPLE_OF] = STR_INIT("multipleOf"),
    [KEY_PROPERTIES] = STR_INIT("properties"),
    [KEY_DESCRIPTION] = STR_INIT("description"),
    [KEY_PREFIX_ITEMS] = STR_INIT("prefixItems"),
    [KEY_UNIQUE_ITEMS] = STR_INIT("uniqueItems"),
    [KEY_MAX_PROPERTIES] = STR_INIT("maxProperties"),
    [KEY_MIN_PROPERTIES] = STR_INIT("minProperties"),
    [KEY_EXCLUSIVE_MAXIMUM] = STR_INIT("exclusiveMaximum"),
    [KEY_EXCLUSIVE_MINIMUM] = STR_INIT("exclusiveMinimum"),
    [KEY_PROPERTY_ORDERING] = STR_INIT("propertyOrdering"),
    [KEY_ADDITIONAL_PROPERTIES] = STR_INIT("additionalProperties"),
};

/* The first name of each length. */
static const unsigned char first_of[] = {
    [3] = KEY_ID,
    [4] = KEY_ENUM,
    [5] = KEY_ANY_OF,
    [6] = KEY_FORMAT,
    [7] = KEY_ANCHOR,
    [8] = KEY_MAX_ITEMS,
    [9] = KEY_MAX_LENGTH,
    [10] = KEY_MULTIPLE_OF,
    [11] = KEY_DESCRIPTION,
    [13] = KEY_MAX_PROPERTIES,
    [16] = KEY_EXCLUSIVE_MAXIMUM,
    [20] = KEY_ADDITIONAL_PROPERTIES,
};

struct str schema_keys_name(enum schema_key key)
{
    assert(key < KEY_COUNT);
    return names[key];
}

enum schema_key schema_keys_find(struct str name)
{
    if (name.n >= COUNT_OF(first_of))
        return KEY_COUNT;
    for (unsigned key = first_of[name.n]; key < KEY_COUNT && names[key].n == name.n; key++) {
        if (str_eq(names[key], name))
            return (enum schema_key)key;
    }
    return KEY_COUNT;
}

void schema_keys_read(struct schema_layers *l)
{
    /* The layer that a value is of, from 1: of two in one layer the first counts. */
    unsigned char owners[KEY_COUNT] = {0};

    memset(l->values, 0, sizeof(l->values));
    for (size_t i = 0; i < l->n; i++) {
        size_t at;
        size_t count;
        yyjson_val *key;
        yyjson_val *value;
        yyjson_obj_foreach(l->nodes[i], at, count, key, value)
        {
            enum schema_key k = schema_keys_find(json_str(key));
            if (k == KEY_COUNT || owners[k] == i + 1)
                continue;
            owners[k] = (unsigned char)(i + 1);
            l->values[k] = value;
        }
    }
}
