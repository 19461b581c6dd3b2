/* SPDX-License-Identifier: MIT */
/*
 * Embeddings for a backend that speaks Gemini's protocol: the one opaque path that is translated
 * (contract, section 2). The parts of an exchange that differ for it; exchange.c moves it.
 */
#pragma once

#include "gateway/gateway_priv.h"

struct embed;

/* Whether the request is one, and the backend one that it is translated for. */
bool embed_is_for(const struct exchange *x, const struct backend *backend);
/* Reads the request: body is the whole one, and stays as long as x; null: only its beginning was
 * kept. x is an exchange with x->embed from now on. BAD_REQUEST, UNSUPPORTED, TOO_LARGE. */
NODISCARD enum error_code embed_begin(struct exchange *x, struct str body, struct error *e);
/* Starts the attempt that plan_next chose: the call that was not answered yet. */
NODISCARD enum error_code embed_start(struct exchange *x, struct error *e);
/* The step of EMBED. */
enum exchange_state embed_run(struct exchange *x);
/* Takes NULL; nulls. */
void embed_free(struct embed **embed);
