/* SPDX-License-Identifier: MIT */
/* Complete responses, said again as streams. */
#pragma once

#include "protocol/protocol.h"

replay_fn openai_responses_replay;
