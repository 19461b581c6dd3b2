/* SPDX-License-Identifier: MIT */
/*
 * Drives a call through the stages. The table of verdict x state stands in README.md.
 *
 * The frames that come out on top go to the sink, in order. A frame's memory is the pusher's; what
 * is held is copied (hold_bytes_max).
 */
#pragma once

#include "base/arena.h"
#include "pipeline/stage.h"

/* Where frames go that have passed all stages. False: stop, the sink cannot go on. */
typedef bool pipeline_sink_fn(void *ctx, struct frame *frame);

struct pipeline_options {
    const struct stage *const *stages; /* in the table's order; borrowed */
    size_t stages_n;
    struct arena *arena; /* lives as long as the call */
    size_t hold_bytes_max;
    pipeline_sink_fn *sink;
    void *sink_ctx;
    void (*wake)(void *ctx); /* a waiting stage can go on: call pipeline_request again */
};

/* The stages of stages.def. */
extern const struct stage *const pipeline_stages[];
extern const size_t pipeline_stages_n;

void pipeline_begin(struct call *call, const struct pipeline_options *options);
/* Runs the request down. WAIT: call again when woken. REPLY: the answering stage's frames went to
 * the sink already. */
enum verdict pipeline_request(struct call *call);
/* Tells the driver, through options.wake, that a stage which said WAIT may be asked again. */
void pipeline_wake(struct call *call);

enum pipeline_push {
    PIPELINE_OK,
    PIPELINE_CUT, /* a stage ended the answer: cancel the upstream; its frames went to the sink */
    PIPELINE_FULL /* the hold queue passed its bound: call->error is set */
};
/* Runs a frame up. */
enum pipeline_push pipeline_frame(struct call *call, struct frame *frame);
/* The stage whose hook runs wants no more events of these kinds (EVENT_BIT()s), to the end of the
 * call: what nobody listens to costs nothing. Only from within its hooks. */
void pipeline_ignore(struct call *call, uint32_t kinds);
/* Memory that lives as long as the call: for what must outlast the commit. */
struct arena *pipeline_arena(const struct call *call);
/* The backend of who chooses none: what !/set(default-backend) says, where it still works; else the
 * configuration's. NULL: none works. */
struct backend *pipeline_default_backend(const struct call *call);
/* A stage's own frame, sent up from directly above that stage. Only from within its hooks. */
void pipeline_reply(struct call *call, struct frame *frame);
/* The stage that held offers its frames to itself again, then to the stages above. Not from within
 * an event hook. */
enum pipeline_push pipeline_release(struct call *call);
/* Frames wait in the hold queue. */
bool pipeline_holds(const struct call *call);
/* Calls each done hook whose request hook ran. Once. */
void pipeline_done(struct call *call);
