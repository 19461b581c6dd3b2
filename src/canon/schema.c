/* SPDX-License-Identifier: MIT */
#include "canon/schema.h"

#include "text/json_index.h"

struct str schema_fit(struct str schema, enum schema_target target, struct arena *arena)
{
    (void)arena;
    if (schema.n > 0 && json_kind_of(schema) == JSON_OBJECT)
        return schema;
    if (target == SCHEMA_GEMINI || target == SCHEMA_GEMINI_JSON)
        return STR_NULL;
    return STR("{\"type\":\"object\",\"properties\":{}}");
}
