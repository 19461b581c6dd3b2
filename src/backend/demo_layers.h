/* SPDX-License-Identifier: MIT */
/*
 * A JSON Schema as *layers*: all the schemas that one value has to satisfy at once, by $ref, allOf,
 * anyOf and oneOf; and what they say together. Pure.
 */
#pragma once

#include "text/json.h"

enum { DEMO_LAYERS_MAX = 48 };

/* The schema in work. */
struct demo_schema {
    yyjson_val *root;
    struct arena *arena;
    size_t steps;
    bool failed; /* it asks for more than is done, or refers to nothing: no answer counts */
};

struct demo_layers {
    yyjson_val *items[DEMO_LAYERS_MAX];
    size_t n;
    bool impossible; /* one is `false`, or no branch is possible */
};

/* Which types are allowed, a bit each. */
enum demo_type {
    DEMO_TYPE_STRING = 1,
    DEMO_TYPE_NUMBER = 2,
    DEMO_TYPE_INTEGER = 4,
    DEMO_TYPE_BOOLEAN = 8,
    DEMO_TYPE_OBJECT = 16,
    DEMO_TYPE_ARRAY = 32,
    DEMO_TYPE_NULL = 64,
    DEMO_TYPE_ALL = 127,
};

/* Counts a step of work. False: there were too many, or it has failed before. */
NODISCARD bool demo_layers_step(struct demo_schema *s);
/* All that a schema says, that the layers say of a member, and of an array's element. */
struct demo_layers demo_layers_of(struct demo_schema *s, yyjson_val *schema);
struct demo_layers demo_layers_of_member(struct demo_schema *s, const struct demo_layers *layers,
                                         struct str key);
struct demo_layers demo_layers_of_element(struct demo_schema *s, const struct demo_layers *layers,
                                          size_t index);

/* Types that all of them allow; 0: none. */
unsigned demo_layers_types(const struct demo_layers *layers);
/* Whether one has that key. */
bool demo_layers_say(const struct demo_layers *layers, struct str key);
/* The strictest of a bound; none: nobody says it. */
double demo_layers_bound(const struct demo_layers *layers, struct str key, bool lower, double none);
/* The same of a number of things: 0 to UINT32_MAX, or none. */
size_t demo_layers_count(const struct demo_layers *layers, struct str key, bool lower, size_t none);

/* A number's value. False: it is none. */
static inline bool demo_layers_number(yyjson_val *v, double *ret_value)
{
    struct str token = json_number_token(v);

    return token.n > 0 && str_to_double(token, ret_value);
}
