/* SPDX-License-Identifier: MIT */
/*
 * In debug and sanitizer builds (ATTR_CHECKS): what goes out as an answer is held against its
 * protocol's grammar (lint_* in protocol/protocol.h). A violation in what we encoded is a bug, told
 * and aborted on; one in what an upstream said, and we passed on, is counted
 * (raw_violations_total).
 * In other builds nothing here does anything.
 */
#pragma once

#include "base/attr.h"
#include "base/str.h"

struct checked;
struct exchange;

/* The encoder was made: x's answer begins. */
void checked_begin(struct exchange *x);
/* Bytes of the answer. raw: they are the upstream's own. */
void checked_bytes(struct exchange *x, struct str bytes, bool raw);
/* The answer is complete, or ended by an error that was said. */
void checked_end(struct exchange *x);
/* Nulls; takes NULL. */
void checked_free(struct checked **checked);
