/* SPDX-License-Identifier: MIT */
/*
 * Whole answers: the steps of the states WHOLE, DIGEST, ENCODE and HAND. Each returns the next
 * state, or its own to sleep.
 */
#pragma once

#include "gateway/gateway_priv.h"

/* WHOLE: the upstream's body is there. */
enum exchange_state whole_came(struct exchange *x);
/* DIGEST: a job reads a large one. */
enum exchange_state whole_digested(struct exchange *x);
/* Starts the job that writes a large answer for the client. */
enum exchange_state whole_encode(struct exchange *x);
/* ENCODE: that job runs. */
enum exchange_state whole_encoded(struct exchange *x);
/* HAND: x->whole goes out, as the client takes it. */
enum exchange_state whole_hand(struct exchange *x);
/* Commits, and sends a body that is there. */
enum exchange_state whole_send(struct exchange *x, int status, struct str content_type,
                               struct str body);
