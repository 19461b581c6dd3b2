/* SPDX-License-Identifier: MIT */
/* A text that a regular expression matches (ECMA 262, as JSON Schema has them). */
#pragma once

#include "base/buf.h"

/* Appends a text of at least chars_min characters where the pattern can be that long. False: the
 * pattern is none, or needs what is not known here (look-around, back references, \p), or the text
 * is longer than out takes. */
NODISCARD bool demo_pattern(struct str pattern, size_t chars_min, struct buf *out);
