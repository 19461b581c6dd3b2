/* SPDX-License-Identifier: MIT */
/*
 * An instance of a JSON Schema: the arguments of a tool's call, an answer in a format. Pure, and
 * the same for the same input. What a message offers (a place's name, a number) is used where the
 * schema lets it.
 *
 * Known: type, enum, const, default, examples, properties, required, dependentRequired,
 * additionalProperties (of what is required), minProperties, items, prefixItems, contains,
 * minItems, maxItems, uniqueItems, minLength, maxLength, pattern, format, minimum, maximum,
 * exclusive…, multipleOf, $ref within the schema (cyclic ones too), allOf, anyOf, oneOf, nullable.
 * Not: not, if, patternProperties, propertyNames.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"

/* Appends an instance of schema (JSON text; null: any object) as JSON. message: the user's; null:
 * none. False: the schema is no JSON, asks for more than out takes, or nothing satisfies it that
 * would be found; what was appended then is of no use. */
NODISCARD bool demo_instance(struct str schema, struct str message, struct arena *arena,
                             struct buf *out);
