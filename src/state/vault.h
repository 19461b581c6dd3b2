/* SPDX-License-Identifier: MIT */
/*
 * Reasoning that clients drop: kept for a while, to be put back when the conversation comes again
 * (mapping.md, 7.2). Keyed by client, and what its owner knows an answer by (canon/recall).
 *
 * One for the process, used by all workers: a short lock. Bounded in bytes (all that an entry
 * takes) and age (since it was put). When it is full, what the client that holds most has used
 * least recently leaves first: no client pushes out what others keep within an equal share. In
 * memory only.
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"

struct vault;

enum { VAULT_KEY_MAX = 128 };

struct vault *vault_new(size_t bytes_max, int64_t ttl_s);
/* Nulls; takes NULL. */
void vault_free(struct vault **vault);
/* client: a name that is the client's alone. key: at most VAULT_KEY_MAX bytes. value is copied, and
 * takes the place of an older one; one larger than a quarter of bytes_max is not kept. */
void vault_put(struct vault *vault, struct str client, struct str key, struct str value,
               int64_t now_s);
/* A copy in the arena; null: not there, or the arena is full. */
struct str vault_get(struct vault *vault, struct str client, struct str key, int64_t now_s,
                     struct arena *arena);
size_t vault_bytes(struct vault *vault);

struct vault_stats {
    size_t bytes;
    size_t entries;
    uint64_t evictions; /* for want of room */
    uint64_t hits;
    uint64_t misses;
};
void vault_stats(struct vault *vault, struct vault_stats *ret_stats);
