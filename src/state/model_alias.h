/* SPDX-License-Identifier: MIT */
/*
 * Other names of models (model_aliases of the configuration; behaviour.md, section 4).
 *
 * An alias is exact, or a POSIX extended regular expression that the whole name must match, whose
 * target may hold \1 to \9 (what a group matched), \0 (the whole name) and \\. Exact ones are asked
 * first, then expressions in the order of the configuration; the first that fits counts, and what
 * it gives is no alias again.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct config;
struct model_aliases;

enum {
    MODEL_NAME_BYTES_MAX = 256, /* of a name that is looked at, and of what an expression gives */
    MODEL_ALIASES_MAX = 1024,
    MODEL_PATTERNS_MAX = 64,
};

/* What the name stands for: a target, in the arena or the configuration's; the name itself when no
 * alias fits. Null for null. Any thread. */
struct str model_alias(const struct config *config, struct str name, struct arena *arena);

/* The i-th exact alias, in the order of names (for lists of models). False: there are no more. */
bool model_alias_exact(const struct config *config, size_t i, struct str *ret_name,
                       struct str *ret_target);
/* The i-th expression, in the order of the configuration. */
bool model_alias_pattern(const struct config *config, size_t i, struct str *ret_pattern,
                         struct str *ret_target);

/* --- for the reader of the configuration --- */

/* A key with one of ^$*+?()[]{}|\ is an expression. */
PURE_FN bool model_alias_is_pattern(struct str key);
/* Room for up to n; the table and its texts are the arena's. */
struct model_aliases *model_alias_list_new(size_t n, struct arena *arena);
/* Texts are borrowed. CONFIG: what is wrong with the expression or the target. */
NODISCARD enum error_code model_alias_list_add(struct model_aliases *aliases, struct str key,
                                               struct str target, bool pattern, struct error *e);
/* After the last. */
void model_alias_list_sort(struct model_aliases *aliases);
/* What the C library keeps of the expressions. Takes NULL. */
void model_alias_list_fini(struct model_aliases *aliases);
