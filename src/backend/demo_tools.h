/* SPDX-License-Identifier: MIT */
/* What the demo's models `tools` and `tool-loop` do. */
#pragma once

#include "backend/demo_play.h"

/* Adds the calls of tools that the request offers and its tool_choice lets be called, or the text
 * that says why there is none; after a tool's result what came. BAD_REQUEST: a tool_choice that
 * is not known, a schema that nothing satisfies. */
NODISCARD enum error_code demo_tools_answer(struct demo_script *script,
                                            const struct request *request, struct arena *arena,
                                            struct error *e);
/* The same call each time, whatever came of it. */
NODISCARD enum error_code demo_tools_loop(struct demo_script *script, const struct request *request,
                                          struct arena *arena, struct error *e);
