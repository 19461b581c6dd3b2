/* SPDX-License-Identifier: MIT */
/*
 * Wrong keys, counted by address, so that guessing is slow (contract, section 3).
 *
 * The first STRIKES_FREE wrong keys of an address within STRIKES_WINDOW_MS are only refused. The
 * next one is to be told to wait: 30 s, and each wrong key after a wait has passed begins one twice
 * as long, up to an hour. A right key forgets the address, and so does STRIKES_WINDOW_MS without a
 * wrong one (and without a wait). At most STRIKES_ADDRESSES_MAX are remembered; the one that was
 * quiet longest makes room. IPv6 addresses count by their /64, which is what one customer has.
 *
 * Threads   All calls from any. A short lock, which right keys take only when an address that looks
 *           like theirs is remembered.
 */
#pragma once

#include "io/address.h"

enum {
    STRIKES_FREE = 5,
    STRIKES_WINDOW_MS = 15 * 60 * 1000,
    STRIKES_WAIT_MS = 30 * 1000,
    STRIKES_WAIT_MAX_MS = 60 * 60 * 1000,
    STRIKES_ADDRESSES_MAX = 10000,
};

struct strikes;

struct strikes *strikes_new(void);
/* Nulls; takes NULL. */
void strikes_free(struct strikes **strikes);
/* A wrong key at now_ms (any clock that goes on). 0: only refuse it; else the wait in ms. */
int64_t strikes_wrong(struct strikes *strikes, const struct address *address, int64_t now_ms);
void strikes_right(struct strikes *strikes, const struct address *address);
/* Whether any address is remembered; without the lock. False: strikes_right has nothing to do. */
bool strikes_any(const struct strikes *strikes);
size_t strikes_count(const struct strikes *strikes);
