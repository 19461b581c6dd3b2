/* SPDX-License-Identifier: MIT */
/* What shells are told of the command line, so that they complete it. */
#pragma once

#include "base/arena.h"
#include "base/str.h"

/* shell: "bash", "zsh" or "fish"; null for others. */
struct str completion_script(struct str shell, struct arena *arena);
