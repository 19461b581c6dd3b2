/* SPDX-License-Identifier: MIT */
/*
 * Requests for responses that were made before, and what only a backend of the same protocol can do
 * (OP_REPLY_*, OP_COMPACT, OP_CONVERSATIONS): answered here from the store, or by the backend that
 * has it.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "protocol/protocol.h"

struct exchange;
struct stored_ask;

enum stored_ask_state { STORED_ASK_WAIT, STORED_ASK_DONE, STORED_ASK_FAILED };

struct stored_answer {
    int status;
    struct str content_type;
    bool streams; /* a stream of events; it is complete */
    bool stays;   /* the body lives until stored_ask_free; else only now */
    struct str body;
};

/* Whether the operation is one of these. */
bool stored_ask_serves(enum operation operation);
/* The request's body (if any) is complete. WAIT: a backend was asked, and x is run when it has
 * answered; then it is to be called again. FAILED: NOT_FOUND, UNKNOWN_RESPONSE, UNSUPPORTED_VALUE,
 * BAD_REQUEST, or what went wrong with the backend. */
NODISCARD enum stored_ask_state stored_ask_run(struct exchange *x, struct buf *out,
                                               struct stored_answer *ret_answer, struct error *e);
/* Nulls; takes NULL. What still runs is cancelled. */
void stored_ask_free(struct stored_ask **ask);
