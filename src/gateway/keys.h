/* SPDX-License-Identifier: MIT */
/*
 * Keys of an exchange's attempts: which one the next takes, and what an upstream's answer means for
 * it. What is known of them all is the backend's (backend/keyring.h).
 *
 *   take ─► (attempt) ─► begin ─► … ─► over
 *                               └► told: 429, 401, 403, before the client has a byte: another
 *                                  key at once, or once a short wait, or the client's answer
 */
#pragma once

#include "backend/keyring.h"
#include "canon/event.h"
#include "io/loop.h"

struct backend;
struct backend_key;
struct exchange;
struct message;

/* In struct exchange, across its attempts. */
struct keys_use {
    uint64_t tried;  /* of its backend's keys, those that did not do: bits */
    size_t last;     /* the latest of them */
    bool limited;    /* one of them said 429 */
    bool waited;     /* once is enough */
    bool waits;      /* the next chance comes after a pause */
    bool cools;      /* there is none: the next plan says how long the keys cool */
    bool paused;     /* which runs */
    int64_t wait_ms; /* that it takes */
    struct timer pause;
};

/* In struct attempt. */
struct keys_attempt {
    size_t index;    /* of its key on the backend's ring */
    bool fixed;      /* no other key will do */
    bool taken;      /* it was sent, and is not over yet */
    bool told;       /* result says what came of it */
    int64_t wait_ms; /* after a 429: until a key may be used again; 0: unknown */
    struct keyring_result result;
};

/* The key of x->attempt for its backend: by the backend's policy, or the fixed one. RATE_LIMITED:
 * all cool; wait_ms says for how long. */
NODISCARD enum error_code keys_take(struct exchange *x, struct error *e);
/* Only this one will do for the attempt (one of its backend's; NULL: it has none). Before
 * keys_take. */
void keys_fix(struct exchange *x, const struct backend_key *key);
/* The attempt was sent with it. */
void keys_begin(struct exchange *x);
/* The attempt is over: what came of it counts for its key. Does nothing the second time. */
void keys_over(struct exchange *x);

/* An upstream's error, before the client has a byte of its answer: what it means for the key is
 * noted. True: the exchange has another chance (keys_again), and the client is not told of this
 * one. error: its text may lie in scratch. body: of the answer, null: an event of a stream. */
NODISCARD bool keys_told(struct exchange *x, const struct event *error, struct str body);
/* The same of a whole answer with its status. */
NODISCARD bool keys_answered(struct exchange *x, struct str body);
/* Forgets the attempt for that chance. True: at once; false: x is woken after a pause. */
NODISCARD bool keys_again(struct exchange *x);
/* Of a request that is no attempt (its key: keyring_begin, keyring_done): what its answer's head
 * means for the key. now_ms: wall clock. */
struct keyring_result keys_result(const struct message *m, int64_t now_ms);
/* RATE_LIMITED: the key cools, or all do. */
enum error_code keys_cool(const struct backend *backend, bool all, int64_t wait_ms,
                          struct error *e);
/* x ends. */
void keys_forget(struct exchange *x);
