/* SPDX-License-Identifier: MIT */
/*
 * Images and files as the protocols carry them (mapping.md, 4.5).
 */
#pragma once

#include "base/arena.h"
#include "base/str.h"
#include "canon/request.h"

/* Fills data, media_type and is_url of a part from a URL: an https URL, or data:TYPE;base64,DATA
 * taken apart (RFC 2397). */
void media_set_url(struct part *part, struct str url);
/* Takes a data: URL apart that a part has as its URL, percent-encoded ones too: afterwards it has
 * base64, in the arena or where it was. No-op for other parts and URLs. false: it is no data: URL
 * that anybody could read. */
NODISCARD bool media_take_apart(struct part *part, struct arena *arena);
/* The type of a part's data: as said, normalised (image/jpg -> image/jpeg); sniffed from its first
 * bytes where none or a wrong one is said (png, jpeg, gif, webp, pdf). null: unknown. */
struct str media_type_of(const struct part *part);
/* Chat Completions' word for it: "wav", "mp3"; null: unknown. */
struct str media_audio_format(const struct part *part);
/* "data:TYPE;base64,DATA", or the URL. */
struct str media_url(const struct part *part, struct arena *arena);
/* Base64 of a text, decoded, as valid UTF-8 in the arena; null: it is no base64. */
struct str media_text(const struct part *part, struct arena *arena);
