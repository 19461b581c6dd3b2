/* SPDX-License-Identifier: MIT */
/* Whose request it is, by address, where proxies stand in front (trusted_proxies). */
#pragma once

#include "base/str.h"

struct config;
struct message;

/* The client's address where the connection's far end is `peer`: that one, or what a trusted proxy
 * says. A slice of peer or of the message (which may be NULL). *ret_trusted: peer is one of
 * trusted_proxies. */
struct str peer_of(const struct config *config, struct str peer, const struct message *m,
                   bool *ret_trusted);
