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
    struct str reasoning_effort; /* as in params: none minimal low medium high xhigh max */
    struct str reasoning_budget; /* number token: 0 off, -1 as the model likes; says it more exactly
                                   * than an effort */
    struct str generation_config; /* JSON text of an object: members of Gemini's generationConfig;
                                   * for other protocols it says nothing */
};

PURE_FN bool steer_is_empty(const struct steer *steer);
/* What is not said in *steer is taken from other; of reasoning all or nothing. */
void steer_add(struct steer *steer, const struct steer *other);
/* Its text lies in the arena. */
void steer_copy(const struct steer *from, struct arena *arena, struct steer *ret_copy);
/* The parameters that the request does not have. Who says anything of how much is to be reasoned
 * has said all of it. */
void steer_fill(const struct steer *steer, struct params *params);
/* The request with its parameters filled: itself where there is nothing to fill (steer NULL), else
 * *copy. Needs full. */
struct request *steer_request(const struct steer *steer, struct request *request,
                              struct request *copy);
/* Parameters of which none is said. */
struct params steer_none(void);
