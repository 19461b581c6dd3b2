/* SPDX-License-Identifier: MIT */
/* Attempts: one upstream try of an exchange. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "canon/event.h"
#include "gateway/keys.h"
#include "protocol/protocol.h"

struct backend;
struct backend_key;
struct client_call;
struct exchange;
struct station;
struct attempt_wait;
struct client_request;
struct message;

/* One upstream try. */
struct attempt {
    struct client_request *request; /* NULL: none runs */
    struct backend *backend;
    const struct backend_key *key; /* that it gets; NULL: none */
    struct keys_attempt keys;
    const struct protocol *protocol; /* that is spoken with it */
    const struct message *head;      /* of the answer; in the request arena, gone at commit */
    struct arena_mark mark; /* of the request arena: what is newer is this attempt's alone */
    int status;
    bool sent;       /* the last byte of the request was taken */
    bool streams;    /* the answer is a stream of events */
    bool array;      /* of elements of a JSON array */
    bool raw;        /* it has the client's protocol and form */
    size_t received; /* bytes of its body */
    bool ended;      /* complete */
    bool failed;     /* the call's error says why */
    bool again;      /* it failed, and keys_again is to be asked; the call's error says nothing */
    bool paused;
    bool said;                  /* a stream: more than its beginning came, it may be committed */
    bool waited;                /* it came to be so by time alone */
    uint32_t beginnings;        /* its frames until then */
    uint64_t head_turn;         /* the loop's, in which the answer's head came */
    struct str span;            /* a whole body so far, lent until the batch */
    struct buf body;            /* the same, kept; of a stream what waits for its commit */
    struct attempt_wait *hold;  /* of that; NULL: nothing waited */
    struct attempt_wait *grace; /* the stream said an error: it ends with what comes next */
};

/* Starts an upstream try of x's element. Events drive the exchange from then on. */
NODISCARD enum error_code attempt_start(struct exchange *x, struct error *e);
/* The same for a request in x->large: starts the job that writes it for the element; then
 * attempt_written goes on. */
void attempt_write(struct exchange *x);
NODISCARD enum error_code attempt_written(struct exchange *x, struct error *e);
/* A frame of the upstream's, on its way up. ctx: x. */
enum push attempt_frame(void *ctx, struct frame *frame);
/* Forgets the attempt that has ended, and what it left, for another one. Before commit only. */
void attempt_again(struct exchange *x);
/* We asked for identity, but take what the client of http/ can decode; other bytes would reach our
 * client as garbage: the attempt fails. */
void attempt_check_coding(struct exchange *x, const struct message *m);
/* Begins call, for other kinds of attempts too: at its backend's pool, or its session's URL's, and
 * counted. bytes: of its body. head null: it did not fit. */
NODISCARD enum error_code attempt_send(struct exchange *x, const struct client_call *call,
                                       uint64_t bytes, struct error *e);
/* An event of its request, for other kinds of attempts too. ctx: x. */
void attempt_connected(struct client_request *r, void *ctx);
/* The client does not take what came: the upstream is held back until exchange_writable. */
void attempt_pause(struct exchange *x);
/* What is waited for of the answer is there: from here on, before the commit, the time is the
 * proxy's. All that came in one read was there with its head. */
void attempt_answered(struct exchange *x);
/* Events of attempts whose answers no decoder reads (opaque, embed); ctx: x. Complete; broken off,
 * or never begun. */
void attempt_ended(struct client_request *r, void *ctx);
void attempt_lost(struct client_request *r, void *ctx, const struct error *e);
/* The attempt has failed with *e, which is copied; of several failures the first counts. */
void attempt_fail(struct exchange *x, const struct error *e);
/* The backend failed, or said an error: for /v2/backends. status: its answer's, 0 without one.
 * code: of error.def, NULL where it answered. text: what it said, or what happened; keys are taken
 * out. */
void attempt_note(struct exchange *x, int status, const char *code, struct str text);
/* The same of an answer with an error's status. */
void attempt_note_body(struct exchange *x, struct str body);
/* Keeps what was encoded of a stream's beginning until more of it comes, which commits it, or an
 * error, which the client is then told by a status; but not for long. false: it cannot wait. */
NODISCARD bool attempt_hold(struct exchange *x);
/* The answer is complete: what is still held back of it goes up. */
void attempt_complete(struct exchange *x);
/* The error of x's call is the backend's: its detail names it, unless it does already. */
void attempt_blame(struct exchange *x);
/* Cancels it if it runs. */
void attempt_cancel(struct exchange *x);
void attempt_fini(struct exchange *x);
/* How an answer of the running attempt is decoded; where its memory is, and how it is framed, are
 * left to the caller. What it points at lives as long as the exchange. */
struct decoder_options attempt_decoding(struct exchange *x);
