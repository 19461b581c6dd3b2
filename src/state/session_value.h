/* SPDX-License-Identifier: MIT */
/*
 * The settings of a session as a value: immutable, counted references, in one block. NULL is the
 * value of a session that has nothing set.
 */
#pragma once

#include <stdatomic.h>

#include "state/settings.h"

struct session_value {
    atomic_size_t refs;
    struct settings settings;
    char text[];
};

/* A copy, one reference; NULL when nothing is set. */
struct session_value *session_value_new(const struct settings *settings);
/* What base (NULL: nothing set) becomes by a change: one reference, the caller's; may be NULL. */
struct session_value *session_value_merge(const struct session_value *base,
                                          const struct settings *values, uint32_t mask);
/* Takes NULL. */
struct session_value *session_value_ref(struct session_value *value);
/* Takes NULL. */
void session_value_unref(struct session_value *value);
bool session_value_equal(const struct session_value *a, const struct session_value *b);
/* Whether it may be kept: at most SESSION_SETTINGS_MAX bytes as JSON. */
bool session_value_fits(const struct session_value *value);
/* Says that it does not: BAD_REQUEST. */
void session_value_refuse(struct error *e);
/* "{}" of NULL. */
bool session_value_write(const struct session_value *value, struct buf *out);
