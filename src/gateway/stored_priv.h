/* SPDX-License-Identifier: MIT */
/* What the files about kept responses share. */
#pragma once

#include "gateway/gateway_priv.h"
#include "state/replies.h"

/* A name that is the client's alone, in the arena. */
struct str stored_owner(const struct exchange *x, struct arena *arena);
int64_t stored_now_s(const struct exchange *x);
/* False: there is no such response. */
NODISCARD bool stored_get(struct exchange *x, struct str owner, struct str id, struct arena *arena,
                          struct reply *ret_reply);
