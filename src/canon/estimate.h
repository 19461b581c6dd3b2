/* SPDX-License-Identifier: MIT */
/*
 * About how many tokens a request is, where nobody can be asked (mapping.md, section 14): bytes of
 * all its text and its tools' schemas by 4, and something for each message and image.
 */
#pragma once

#include "canon/request.h"

/* Needs full. */
int64_t estimate_tokens(const struct request *request);
