/* SPDX-License-Identifier: MIT */
/*
 * YAML (libyaml) as a tree of nodes that know their line and column.
 * Aliases and anchors, several documents and tags other than the core ones are refused. Duplicate
 * keys are kept (the reader of the tree reports them).
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    bool quoted; /* scalar in quotes or a block: always text */
    struct str scalar;
    int line;                /* from 1 */
    int column;              /* from 1 */
    struct yaml_node *key;   /* in a map: this value's key (a scalar) */
    struct yaml_node *first; /* children, in order */
    struct yaml_node *next;
};

/* The document's root; an empty document gives an empty map. On a fault NULL, *e (CONFIG), and the
 * line and column of it, both from 1. At most 32 levels deep. The texts are copies. */
NODISCARD struct yaml_node *yaml_read(struct str text, struct arena *arena, int *ret_line,
                                      int *ret_column, struct error *e);
/* A map's value of that key, NULL without one. */
struct yaml_node *yaml_get(const struct yaml_node *map, struct str key);
/* Plain ~, null, Null, NULL or nothing at all. */
bool yaml_is_null(const struct yaml_node *node);
/* Plain true/false/yes/no/on/off in the core spellings (lower, Capital, UPPER). */
bool yaml_to_bool(const struct yaml_node *node, bool *ret_value);
