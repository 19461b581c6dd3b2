/* SPDX-License-Identifier: MIT */
/*
 * What only its vendor understands (signatures, encrypted reasoning, redacted thinking), packed so
 * that it can travel through a client of another protocol and come back: who made it, for which
 * model, and a MAC, so that a client can forge or change none (mapping.md, 7.2).
 *
 * packed = base64url("px1." vendor ":" model "." mac "." payload)
 *   model  8 hex digits of its name's hash
 *   mac    of all else: the first 32 to 34 hex digits of HMAC-SHA256, as many as make the whole a
 *          multiple of three bytes. So there is no padding for anyone to add or to miss.
 * A payload that is base64 itself packs without any of - _ + and /: clients that take the one
 * alphabet for the other do no harm. The same input packs the same.
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

/* What every packed text begins with, and hardly anything else does. */
extern const struct str seal_prefix;

/* In the arena. vendor: without ':'. model: the name that the vendor knows it by. Null when the
 * arena is full. */
struct str seal_pack(const struct seal *seal, struct str vendor, struct str model,
                     struct str payload, struct arena *arena);
/* Looks like one of ours, without asking the MAC. */
PURE_FN bool seal_is_packed(struct str text);
/* False: none of ours, or forged. The slices of *ret_sealed lie in the arena. */
NODISCARD bool seal_open(const struct seal *seal, struct str text, struct arena *arena,
                         struct sealed *ret_sealed);
