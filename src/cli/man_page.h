/* SPDX-License-Identifier: MIT */
/* The manual page llm-proxy(1), in roff (man(7)). */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct str man_page(const char *version, struct arena *arena);
