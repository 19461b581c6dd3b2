/* SPDX-License-Identifier: MIT */
/*
 * JSON Schemas fitted to what a vendor takes, losing no more than it must (mapping.md, 6.1;
 * anthropic-messages.md, 4.1 and 11). JSON text in, JSON text out; the order of members stays;
 * what cannot be said is moved into descriptions. Finite for cyclic $ref, bounded in size.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

enum schema_target {
    SCHEMA_GEMINI,           /* the OpenAPI subset: parameters, responseSchema */
    SCHEMA_GEMINI_JSON,      /* parametersJsonSchema, responseJsonSchema: light cleaning */
    SCHEMA_ANTHROPIC_TOOL,   /* root is an object without anyOf, oneOf, allOf */
    SCHEMA_ANTHROPIC_FORMAT, /* structured output */
    SCHEMA_OPENAI_TOOL,      /* null and missing become an object without properties */
    SCHEMA_PLAIN             /* Gemini's subset as JSON Schema: types in lower case, nullable said
                              * as a type, numbers that are strings as numbers */
};

/* schema null: the target's schema of "no arguments" (null where it is left out). A text that is no
 * object counts as null. The result may be schema itself; it lies in the arena otherwise. Past the
 * arena's cap: as if null. */
struct str schema_fit(struct str schema, enum schema_target target, struct arena *arena);
