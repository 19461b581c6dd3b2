/* SPDX-License-Identifier: MIT */
/*
 * The reasoning in a conversation, as the vendor that it goes to may see it (mapping.md, 7.2): its
 * own, unpacked; of other vendors nothing, of forgers nothing; and what the client has dropped, as
 * it was kept.
 */
#pragma once

#include "canon/request.h"
#include "canon/seal.h"

struct reason_options {
    const struct seal *seal;
    struct str vendor; /* the backend's */
    /* What was kept under the key (canon/recall), in the arena; null: nothing. NULL: nothing is. */
    struct str (*find)(void *ctx, struct str key, struct arena *arena);
    void *ctx;
};

/* For a request that is written anew. Needs full. *ret_request shares with request what does not
 * change; request stays as it was. Afterwards a signature is the vendor's own, and part.vendor says
 * so; reasoning without a signature is what the client itself wrote, or the vendor's own (then
 * part.vendor says so). */
void reason_open(const struct request *request, const struct reason_options *options,
                 struct arena *arena, struct request *ret_request);

/* Whether there may be anything packed in a body. Fast. */
PURE_FN bool reason_is_packed_in(struct str body);
/* For a request that keeps its protocol: edits of the source, so that nothing packed reaches the
 * upstream. Needs full. What is packed and the vendor's own stands there unpacked; what is not
 * goes, with its block if that is reasoning, with its message if that becomes empty. call_without
 * (null: nothing): what stands in the place of a call's foreign signature. */
void reason_edit(struct request *request, const struct reason_options *options,
                 struct str call_without, struct arena *arena);
