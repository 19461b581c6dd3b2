/* SPDX-License-Identifier: MIT */
/*
 * What settings ask of a request, where the request itself does not say it: a session's settings,
 * then model_defaults (behaviour.md, section 4). Values, in the terms of canon/request; text is
 * borrowed. The request's own parameters win.
 *
 * Translated: steer_fill puts it into the canonical parameters, and the target's protocol says it
 * as it says any request's (mapping.md, sections 5 and 7). A request that keeps its protocol: its
 * protocol edits the source (encode_request.steer).
 */
#pragma once

#include "canon/request.h"

struct steer {
    struct str temperature; /* number tokens; null: not said */
    struct str top_p;
    struct str max_tokens;
    struct str reasoning_effort;  /* as in params: none minimal low medium high xhigh max */
    struct str reasoning_budget;  /* number token; says it more exactly than an effort */
    struct str generation_config; /* JSON text of an object: members of Gemini's generationConfig;
                                   * for other protocols it says nothing */
};

PURE_FN bool steer_is_empty(const struct steer *steer);
/* What is not said in *steer is taken from other. */
void steer_add(struct steer *steer, const struct steer *other);
/* The parameters that the request does not have. */
void steer_fill(const struct steer *steer, struct params *params);
