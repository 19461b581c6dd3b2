/* SPDX-License-Identifier: MIT */
/*
 * What steps of the exchange that stand in files of their own share with the machine.
 */
#pragma once

#include "gateway/gateway_priv.h"

/* From now on its time is this phase's. */
void exchange_enter(struct exchange *x, enum phase phase);
/* It asks for a number of tokens. */
bool exchange_counts(const struct exchange *x);
/* Everything after the head is sent: the request is not needed any more. */
void exchange_commit(struct exchange *x, int status, struct str content_type, int64_t length);
/* Sends a short answer that is there already, in the turn's buffer. */
void exchange_send_out(struct exchange *x, int status, struct str content_type);
/* The turn's buffer is empty again; what one large answer made of it is not kept. */
void exchange_reset_out(struct station *station);
/* Another key may do what this attempt's could not: the state in which it is tried. */
enum exchange_state exchange_again(struct exchange *x);
/* Memory was not to be had because all requests together hold what inflight_bytes_max allows. */
bool exchange_is_starved(const struct exchange *x);
