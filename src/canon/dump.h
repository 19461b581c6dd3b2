/* SPDX-License-Identifier: MIT */
/*
 * Events as JSON lines and requests as JSON: what goldens hold, tests compare and the store keeps.
 *
 * An event: {"kind":"TEXT","choice":0,"block":1,"text":"…"}; members that are absent or neutral are
 * left out. dump_event_read(dump_event(x)) = x. A request: its full conversation without source
 * spans, so that requests which say the same dump the same.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "canon/event.h"
#include "canon/request.h"

/* One line without its LF; false when out is full. */
bool dump_event(struct buf *out, const struct event *event);
/* INTERNAL: what is wrong with the line. Text lies in the arena. */
NODISCARD enum error_code dump_event_read(struct str line, struct arena *arena,
                                          struct event *ret_event, struct error *e);
/* Needs full. */
bool dump_request(struct buf *out, const struct request *request);
