/* SPDX-License-Identifier: MIT */
/*
 * The door that a session's openai-url opens (behaviour.md, section 6): where it may lead.
 *
 * A URL passes when its host is one of allowed_url_hosts ("host" for any port, or "host:port"; a
 * host is a name, whole, or a literal address). What a name stands for must be public when it is
 * connected to: a private, link-local, loopback or other special address passes only when it is
 * listed itself, as an address; loopback also where the name is localhost, and listed.
 */
#pragma once

#include "base/arena.h"
#include "text/url.h"

struct address;
struct config;

/* Whether the URL may be gone to, as far as it can be told without resolving its name. False:
 * *ret_why ("its host, example.com, is not in allowed_url_hosts"). */
NODISCARD bool url_door_passes(const struct config *config, struct str text, struct arena *arena,
                               struct url *ret_url, struct str *ret_why);
/* Whether it may be connected to at that address. url: of url_door_passes. Any thread. */
bool url_door_admits(const struct config *config, const struct url *url,
                     const struct address *address);
/* Why it may at none. */
extern const char url_door_refusal[];
/* An entry of allowed_url_hosts. False: it is none. */
NODISCARD bool url_door_entry_ok(struct str entry);
/* Whether the host is a literal address, which no resolver is asked for. */
bool url_door_is_address(const struct url *url);
