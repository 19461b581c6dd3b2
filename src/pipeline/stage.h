/* SPDX-License-Identifier: MIT */
/*
 * A stage: what happens to requests on their way down and to answers on their way up.
 * Adding one: a file and a line in stages.def.
 *
 * request   runs once per call, in the order of the table. WAIT: called again after pipeline_wake.
 * event     runs for each event of each frame whose kind is in event_mask, in the reverse order. A
 *           stage that changes an event sets frame->changed; its text must live in the scratch or
 *           the stage's own memory until the push of the frame returns.
 * done      exactly once for each call whose request hook ran, also after an abort.
 */
#pragma once

#include "pipeline/call.h"

enum verdict {
    NEXT,  /* go on */
    REPLY, /* the stage answers: its frames (pipeline_reply) go back up from here */
    WAIT,  /* not yet: call me again after pipeline_wake */
    STOP   /* call->error is set */
};

enum event_verdict {
    PASS,
    DROP, /* this event goes no further; the frame counts as changed */
    HOLD, /* this frame and all later ones wait here until pipeline_release */
    CUT   /* the upstream is cancelled, this frame goes no further; the stage's own frames
             (pipeline_reply) end the answer */
};

typedef enum verdict stage_request_fn(struct call *call, void *state);
typedef enum event_verdict stage_event_fn(struct call *call, void *state, struct frame *frame,
                                          struct event *event);
typedef void stage_done_fn(struct call *call, void *state);

#define EVENT_BIT(kind) (1u << (kind))

struct stage {
    const char *name;
    size_t state_size;         /* zeroed per call: struct call never grows for a stage */
    uint32_t event_mask;       /* EVENT_BIT()s that the event hook wants to see */
    stage_request_fn *request; /* NULL: NEXT */
    stage_event_fn *event;     /* NULL: everything passes */
    stage_done_fn *done;
};
