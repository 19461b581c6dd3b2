/* SPDX-License-Identifier: MIT */
/* What the tests and fuzzers of this protocol share beside protocol/trial. */
#pragma once

#include "protocol/trial.h"

static inline const struct protocol *responses(void)
{
    const struct protocol *protocol = protocol_find(STR("openai-responses"));

    assert(protocol != NULL);
    return protocol;
}

/* The same stream with events between its own that are not known: they say nothing, but what was
 * learned of the one before is forgotten with each. */
static inline void forgetful(struct str bytes, struct buf *out)
{
    size_t at = 0;

    for (size_t end; (end = str_find(bytes, STR("\n\n"), at)) != SIZE_MAX; at = end + 2) {
        buf_add(out, str_of(bytes.p + at, end + 2 - at));
        buf_add(out, STR("data: {\"type\":\"of nobody\"}\n\n"));
    }
    buf_add(out, str_from(bytes, at));
}
