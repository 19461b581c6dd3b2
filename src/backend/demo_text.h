/* SPDX-License-Identifier: MIT */
/* What the demo backend's model `assistant` has to say. */
#pragma once

#include "base/str.h"

/* The answer to a user's message (null: none), chosen by its words. Static text. */
struct str demo_text_answer(struct str message);
