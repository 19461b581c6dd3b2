/* SPDX-License-Identifier: MIT */
/* A value as it was typed, read by the kind that its specification gives. */
#pragma once

#include "command/command.h"

struct value {
    struct str text; /* as it is kept: of a choice the table's word, of JSON without blanks */
    int64_t count;   /* of ARG_COUNT */
    bool flag;       /* of ARG_FLAG */
};

enum value_fault {
    VALUE_OK,
    VALUE_EMPTY, /* nothing, or blanks only */
    VALUE_WRONG, /* not of its kind; none of the choices */
    VALUE_RANGE, /* a number out of its range */
    VALUE_LONG,  /* text of more than its max bytes */
    VALUE_BYTES  /* control characters, or no UTF-8 */
};

/* synonyms: other words for choices, "break=block|…"; NULL: none. typed is not null. The result
 * lies in the arena. */
enum value_fault value_read(const struct arg_spec *spec, const char *synonyms, struct str typed,
                            struct arena *arena, struct value *ret_value);
/* A switch's word that switches it off. */
bool value_is_false(struct str typed);
/* What may stand there, for help: "0 to 2", "block, warn or chance_then_block", "true or false". */
void value_range(const struct arg_spec *spec, struct buf *out);
