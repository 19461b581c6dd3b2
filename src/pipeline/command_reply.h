/* SPDX-License-Identifier: MIT */
/*
 * An answer of the proxy's own, as events: any protocol's encoder says it (behaviour.md, section
 * 6). A client that takes nothing but calls of tools gets it as the call that it ends with.
 */
#pragma once

#include "pipeline/pipeline.h"

/* What such clients end with. */
#define COMMAND_REPLY_TOOL "attempt_completion"

/* Sends it up from the stage whose hook runs. text lives until this returns. */
void command_reply_send(struct call *call, struct str text);
