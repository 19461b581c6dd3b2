/* SPDX-License-Identifier: MIT */
/*
 * Responses that are kept (state/replies) or are somewhere else: what a request needs of them, what
 * an answer leaves of itself, and the requests for them (OP_REPLY_*, OP_COMPACT, OP_CONVERSATIONS).
 * Of clients that speak Responses; for others nothing here does anything.
 *
 *   request   head decoded ─► stored_expand (body made anew: decode it again) ─► stages ─► plan_next
 *             ─► stored_pin
 *   answer    encoder made with .stored = stored_keeps ─► stored_frame, stored_bytes ─► stored_end
 *   others    stored_operate
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "canon/event.h"

struct backend;
struct exchange;
struct stored;

/* previous_response_id and item_reference of a request whose head was decoded, before any stage.
 * *ret_again: the body now holds what they stood for; it is to be decoded again, in a job when it is
 * large. UNKNOWN_RESPONSE: it is not there. */
NODISCARD enum error_code stored_expand(struct exchange *x, bool *ret_again, struct error *e);
/* The element was chosen: a response that only its backend has is continued there and nowhere else.
 * UNKNOWN_RESPONSE: the client names another one, or it is there no more. */
NODISCARD enum error_code stored_pin(struct exchange *x, struct error *e);

/* Whether the answer will be kept here, whole: encoder_options.stored. Before commit. */
bool stored_keeps(struct exchange *x);
/* A frame of the upstream's, on its way to the encoder: learns the id of an answer that goes down as
 * it came. */
void stored_frame(struct exchange *x, const struct frame *frame);
/* Bytes that the encoder made. */
void stored_bytes(struct exchange *x, struct str bytes);
/* The answer is complete, and no error. */
void stored_end(struct exchange *x);
/* Nulls; takes NULL. */
void stored_free(struct stored **stored);

enum stored_way {
    STORED_ANSWER, /* 200, and the body is in out */
    STORED_FORWARD /* the request goes to *ret_backend as it came; so does its answer down */
};
/* A request for one of the other operations, its body (if any) complete. UNKNOWN_RESPONSE, NOT_FOUND,
 * UNSUPPORTED_VALUE: no backend of this protocol to ask. */
NODISCARD enum error_code stored_operate(struct exchange *x, struct buf *out,
                                         enum stored_way *ret_way, struct backend **ret_backend,
                                         struct error *e);
/* The answer's status to what was forwarded. */
void stored_forwarded(struct exchange *x, int status);
