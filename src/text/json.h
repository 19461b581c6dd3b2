/* SPDX-License-Identifier: MIT */
/*
 * JSON values (yyjson in an arena) for what must be understood, and writing JSON text.
 * Reading copies: the source is never changed and may go. Numbers are kept as their source tokens
 * (YYJSON_READ_NUMBER_AS_RAW).
 */
#pragma once

#include <yyjson.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct json_read_options {
    size_t depth_max;        /* 0: 128 */
    bool allow_invalid_utf8; /* upstreams: replaced by U+FFFD when a string is read */
};

/* The root, or NULL with *e set (BAD_REQUEST; what and at which byte; e may be NULL). All memory in
 * the arena. */
NODISCARD yyjson_val *json_read(struct str text, const struct json_read_options *options,
                                struct arena *arena, struct error *e);

/* Readers; each takes NULL and gives the neutral value for absent, null or another type. */
static inline struct str json_str(yyjson_val *v)
{
    return yyjson_is_str(v) ? str_of(yyjson_get_str(v), yyjson_get_len(v)) : STR_NULL;
}
yyjson_val *json_get(yyjson_val *object, struct str key);
struct str json_get_str(yyjson_val *object, struct str key);
/* Of an object that is asked for many members which it does not have: which ones it may have, by
 * their keys' lengths and ends. */
struct json_keys {
    yyjson_val *object;
    uint64_t present;
};
struct json_keys json_keys_of(yyjson_val *object);
static inline uint64_t json_key_bit(const char *p, size_t n)
{
    return n == 0
               ? 1
               : UINT64_C(1) << ((n * 7 + (unsigned char)p[0] + (unsigned char)p[n - 1] * 5u) % 64);
}
/* As json_get. */
static inline yyjson_val *json_keys_get(const struct json_keys *keys, struct str key)
{
    return (keys->present & json_key_bit(key.p, key.n)) == 0 ? NULL : json_get(keys->object, key);
}
/* A number token's value; integral "1.0" and "1e2" too. */
bool json_to_int64(yyjson_val *v, int64_t *ret_value);
struct str json_number_token(yyjson_val *v);
/* A value as JSON text, numbers as they came. */
struct str json_text(yyjson_val *v, struct arena *arena);

/* --- writing --- */

/* s as a JSON string with quotes; s is made valid UTF-8 on the way (U+FFFD). Escapes only what must
 * be (quote, backslash, control characters). */
bool json_add_string(struct buf *b, struct str s);
/* The same without the quotes. */
bool json_add_escaped(struct buf *b, struct str s);
/* A quoted JSON string in the arena. */
struct str json_quote(struct str s, struct arena *arena);
