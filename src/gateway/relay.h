/* SPDX-License-Identifier: MIT */
/*
 * Frames on their way to the client, and the steps of the states RELAY, FINISH and BREAK. Each
 * returns the next state, or its own to sleep.
 */
#pragma once

#include "gateway/gateway_priv.h"

/* raw_possible: the upstream's answer has the client's protocol and form (stream or whole). */
void relay_start_encoder(struct exchange *x, bool raw_possible);
/* Pipeline's sink: a frame that has passed all stages. */
bool relay_emit(void *ctx, struct frame *frame);
/* Of the client's stream: the content type. */
struct str relay_type(const struct exchange *x);
/* RELAY: gives what the turn made to the client. */
enum exchange_state relay_run(struct exchange *x);
/* FINISH: the answer is complete. */
enum exchange_state relay_finish(struct exchange *x);
/* BREAK: it is not, and the client has its beginning. */
enum exchange_state relay_break(struct exchange *x);
