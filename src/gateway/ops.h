/* SPDX-License-Identifier: MIT */
/* What the gateway does for stages (struct call_ops): changes of sessions, work in a thread, the
 * lists of models. */
#pragma once

#include "pipeline/call.h"

struct exchange;
struct ops_commit;

/* Work of a stage that is done in a thread; in the exchange. */
struct ops_work {
    struct call *call;
    void (*work)(struct call *call, void *arg);
    void *arg;
};

extern const struct call_ops ops_of_calls;
/* What a stage waits for has come: it may be asked again. */
bool ops_ready(struct exchange *x);
/* Nobody waits for it any more; a change that is on its way is made nevertheless. */
void ops_forget(struct exchange *x);
