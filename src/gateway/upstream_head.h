/* SPDX-License-Identifier: MIT */
/* Heads of requests to backends, and the lines that they are made of. */
#pragma once

#include "base/buf.h"
#include "protocol/protocol.h"

struct backend;
struct backend_key;
struct exchange;
struct station;

/* A request's head for x's backend, in the request arena, built afresh (contract, section 2,
 * "Headers up"); null when it is too long. */
struct str upstream_head_of(struct exchange *x, const struct wire *wire);
/* One key per exchange, the same on each of its attempts (contract, section 4): the client's, where
 * it goes up, else ours, where there may be a second attempt and the protocol knows the header. */
void upstream_head_add_idempotency(const struct exchange *x, struct str forwarded,
                                   struct buf *head);
/* The lines that every request to this backend has: host, agent, key, the configured ones. */
void upstream_head_add_common(struct buf *head, const struct station *station,
                              const struct backend *backend, const struct backend_key *key);
/* anthropic-version, where the protocol wants one and neither forwarded lines nor the configuration
 * have it. */
void upstream_head_add_version(struct buf *head, const struct backend *backend,
                               const struct protocol *protocol, struct str forwarded);
/* The head of a GET of that path (with its query) without body, in the arena. */
struct str upstream_head_get(struct station *station, const struct backend *backend,
                             struct str target, struct arena *arena);
/* The head of a request that goes up as it came to a backend of the client's protocol, in the
 * request arena: method, path (with its query), length and type of the wire. stream: events are
 * asked for. Null: it is too long. */
struct str upstream_head_plain(struct exchange *x, const struct backend *backend,
                               const struct backend_key *key, const struct wire *wire, bool stream);
