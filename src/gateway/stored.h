/* SPDX-License-Identifier: MIT */
/*
 * Responses that are kept (state/replies) or are somewhere else: what a request needs of them, and
 * what an answer leaves of itself (requests for them: stored_ask.h). Of clients that speak
 * Responses; for others nothing here does anything.
 *
 *   request   head decoded ─► stored_expand, of large ones in a job (body made anew: it is decoded
 *             again) ─► stages ─► stored_planned ─►
 *             plan_next ─► stored_pin
 *   answer    encoder made with .stored = stored_keeps ─► stored_frame, stored_bytes
 *             ─► stored_end
 */
#pragma once

#include "base/error.h"
#include "canon/event.h"

struct exchange;
struct stored;

enum stored_step {
    STORED_DONE,
    STORED_AGAIN, /* the body was made anew: it is to be decoded again, in a job when it is large */
    STORED_WAIT,  /* x is run when stored_expanded is to be asked */
    STORED_FAILED, /* UNKNOWN_RESPONSE, BAD_REQUEST: what the client named is not there; TOO_LARGE:
                      it can never be; OVERLOADED: there is no memory for it now */
};
/* previous_response_id and item_reference of a request whose head was decoded, before any stage:
 * the body then holds what they stood for. WAIT: a job works on x->large, and reads the request. */
NODISCARD enum stored_step stored_expand(struct exchange *x, struct error *e);
/* What came of the job; WAIT while it runs. */
NODISCARD enum stored_step stored_expanded(struct exchange *x, struct error *e);
/* The stages have been there: where they send the request elsewhere than its model's name said,
 * what the store needs of it is remembered now. WAIT: in a job, see stored_expanded. */
NODISCARD enum stored_step stored_planned(struct exchange *x, struct error *e);
/* The element was chosen: a response that only its backend has is continued there and nowhere else.
 * UNKNOWN_RESPONSE: the client names another one, or it is there no more. */
NODISCARD enum error_code stored_pin(struct exchange *x, struct error *e);

/* Whether the answer will be kept here, whole: encoder_options.stored. Before commit. */
bool stored_keeps(struct exchange *x);
/* A frame of the upstream's, on its way to the encoder: learns the id of an answer that goes down
 * as it came. */
void stored_frame(struct exchange *x, const struct frame *frame);
/* Bytes that the encoder made. */
void stored_bytes(struct exchange *x, struct str bytes);
/* The answer is complete, and no error. */
void stored_end(struct exchange *x);
/* Nulls; takes NULL. */
void stored_free(struct stored **stored);
