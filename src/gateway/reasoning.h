/* SPDX-License-Identifier: MIT */
/*
 * The reasoning round trip (mapping.md, 7.2): what of a conversation only its vendor understands
 * comes back to that vendor, and to no other, whatever protocol the client speaks.
 *
 *   down   translated answers: signatures are sealed (canon/seal) before the encoder has them, and
 *          go into the vault, as clients drop them
 *   up     translated requests: what is sealed is opened for the backend's vendor, the rest left
 *          out; turns that lack something are completed from the vault. Others: what is sealed is
 *          found in the source and edited
 */
#pragma once

#include "canon/event.h"
#include "canon/seal.h"
#include "protocol/protocol.h"

struct exchange;
struct reasoning;
struct vault;

/* All that the way up needs: by value, for a job. */
struct reasoning_way {
    const struct seal *seal;
    struct vault *vault;
    struct str client;               /* whose it is, and the vendor's; in the request arena */
    struct str vendor;               /* the backend's */
    const struct protocol *protocol; /* the client's */
    const char *upstream;            /* name of the protocol spoken with the backend */
    int64_t now_s;
    bool same;   /* the request keeps its protocol */
    bool packed; /* and holds something that is sealed: reasoning_read looks */
};

/* Of the running attempt. */
struct reasoning_way reasoning_way(struct exchange *x);
/* Any thread, as all of the way up. Reads the conversation of a request that keeps its protocol,
 * where it is needed to tell it to this attempt's backend. What that makes is the request's. */
NODISCARD enum error_code reasoning_read(struct reasoning_way *way, struct request *request,
                                         const struct request_limits *limits, struct arena *arena,
                                         struct error *e);
/* After reasoning_read. *ret_request: as this attempt's backend is to be told it; it shares with
 * *request, which stays as it was. */
NODISCARD enum error_code reasoning_up(const struct reasoning_way *way,
                                       const struct request *request, struct arena *arena,
                                       struct request *ret_request, struct error *e);

/* The attempt is about to be sent; its request is still there. */
void reasoning_begin(struct exchange *x);
/* A frame on its way to the client, restored; its new events lie in scratch. False: there is no
 * memory for what it says. */
NODISCARD bool reasoning_frame(struct exchange *x, struct frame *frame, struct arena *scratch);
/* Nulls; takes NULL. */
void reasoning_free(struct reasoning **reasoning);
