/* SPDX-License-Identifier: MIT */
/* The pages of the manual that are made from this room's tables. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

/* Markdown: topic "errors" (docs/ERRORS.md, from error.def) or "metrics" (docs/METRICS.md, from
 * metric.def); null for any other. */
struct str manual_page(struct str topic, struct arena *arena);
