/* SPDX-License-Identifier: MIT */
/*
 * OpenRouter's reasoning_details of an answer, put together: they come piece by piece, text,
 * summary and data of one index joined, the signature perhaps later, and go back as they were,
 * unchanged, with the next request (quirks.md, 4). One list for an answer's choice.
 */
#pragma once

#include "base/buf.h"

struct details;

/* bytes_max: of all texts together; what is beyond is not kept, and then nothing is written. */
struct details *details_new(size_t bytes_max);
/* Takes NULL, nulls. */
void details_free(struct details **details);
/* list: the JSON text of a chunk's reasoning_details, valid; anything but a list says nothing. */
void details_add(struct details *details, struct str list);
/* The whole list as JSON; nothing where it is empty or was too long. Texts that their vendor would
 * refuse without its signature are left out. */
void details_write(const struct details *details, struct buf *out);
