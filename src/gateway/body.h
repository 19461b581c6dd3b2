/* SPDX-License-Identifier: MIT */
/* A request's body on its way in. A fault runs the exchange, which answers with it. */
#pragma once

#include "base/str.h"

struct exchange;

/* A body of that length is declared (0: unknown); before its first piece. A fault is left in
 * x->call.error for the caller to look at. */
void body_expect(struct exchange *x, size_t length);
/* A piece, as it came. */
void body_come(struct exchange *x, struct str bytes);
/* The same, its coding undone. */
void body_take(struct exchange *x, struct str bytes);
void body_end(struct exchange *x);
/* All of it. */
struct str body_text(const struct exchange *x);
