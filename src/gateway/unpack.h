/* SPDX-License-Identifier: MIT */
/* A request's body that came with Content-Encoding: gzip, on its way into the exchange. */
#pragma once

#include "base/str.h"

struct exchange;
struct unpack;

/* NULL: over inflight_bytes_max. */
struct unpack *unpack_new(struct exchange *x);
/* Decodes into body_take. Bytes that unpack to much are taken a part in each turn, and the
 * client's body is paused meanwhile; so it is while an opaque exchange takes no more. A fault
 * becomes x's error, and x is run. */
void unpack_feed(struct unpack *unpack, struct str bytes);
/* The exchange takes more again. False: nothing waited here, the client's body may come. */
bool unpack_resume(struct unpack *unpack);
/* The body has ended: whether the coded bytes were complete. */
bool unpack_complete(const struct unpack *unpack);
/* Nulls; takes NULL. */
void unpack_free(struct unpack **unpack);
