/* SPDX-License-Identifier: MIT */
/*
 * What only its vendor understands (signatures, encrypted reasoning, redacted thinking), packed so
 * that it can travel through a client of another protocol and come back: who made it, for which
 * model, and a MAC, so that a client can forge or change none (mapping.md, 7.2).
 *
 * packed = base64url("px1." vendor "." 8 hex of the model "." mac "." payload), mac the first 16
 * bytes of HMAC-SHA256 over all else, in hex. Without padding. The same input packs the same.
 */
#pragma once

#include "base/arena.h"
#include "base/mac.h"
#include "base/str.h"

struct seal {
    struct mac_key key;
};

/* What a blob says. */
struct sealed {
    struct str vendor; /* whose it is: a backend's vendor */
    struct str model;  /* 8 hex digits */
    struct str payload;
};

/* In the arena. */
struct str seal_pack(const struct seal *seal, struct str vendor, struct str model,
                     struct str payload, struct arena *arena);
/* Looks like one of ours, without asking the MAC. */
PURE_FN bool seal_is_packed(struct str text);
/* False: none of ours, or forged. */
bool seal_open(const struct seal *seal, struct str text, struct arena *arena,
               struct sealed *ret_sealed);
