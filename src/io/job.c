/* SPDX-License-Identifier: MIT */
/*
 * Jobs: work in another thread, and its end in the loop.
 *
 * What      Hands a piece of work to libuv's pool of threads and tells the loop when it is over.
 * How       start ─► (queued ─► work in a thread) ─► done in the loop ─► freed
 *           A request of libuv's keeps its loop alive: a worker does not end before the `done` of
 *           its last job. A test loop has no threads: the work is a ready turn.
 *           The pool is the one that looks up names; libuv lets slow work (look-ups) hold half of
 *           it at most, and jobs are bounded by the memory that their bodies may hold.
 * Owns      The job; never what it works on.
 * Not here  What is worked on. Nothing is locked: who starts a job lets go of it until `done`.
 */
#include "io/job.h"

#include "base/mem.h"
#include "io/io_priv.h"

struct job {
    uv_work_t request;
    struct loop *loop;
    const struct job_events *events;
    void *ctx;
    struct deferred turn; /* on a test loop */
    bool abandoned;       /* only the loop's thread looks at it, but on a test loop */
};

static void finish(struct job *job)
{
    struct job_events events = *job->events;
    void *ctx = job->ctx;

    mem_free(job);
    events.done(ctx);
}

static void on_work(uv_work_t *request)
{
    struct job *job = CONTAINER_OF(request, struct job, request);

    job->events->work(job->ctx);
}

/* status: UV_ECANCELED when it was abandoned before it began. */
static void on_after(uv_work_t *request, int status)
{
    struct job *job = CONTAINER_OF(request, struct job, request);
    struct loop *loop = job->loop;

    assert(status == 0 || (status == UV_ECANCELED && job->abandoned));
    finish(job);
    loop_turn_end(loop);
}

static void on_turn(struct deferred *deferred)
{
    struct job *job = CONTAINER_OF(deferred, struct job, turn);

    if (!job->abandoned)
        job->events->work(job->ctx);
    finish(job);
}

struct job *job_start(struct loop *loop, const struct job_events *events, void *ctx)
{
    struct job *job = mem_new(sizeof(*job));

    assert(events->work != NULL && events->done != NULL);
    job->loop = loop;
    job->events = events;
    job->ctx = ctx;
    list_init(&job->turn.link);
    if (loop->uv == NULL) {
        loop_ready(loop, &job->turn, on_turn);
        return job;
    }
    /* Fails for want of arguments only. */
    if (uv_queue_work(loop->uv, &job->request, on_work, on_after) != 0)
        BUG("no work can be queued");
    return job;
}

void job_abandon(struct job *job)
{
    assert(!job->abandoned);
    job->abandoned = true;
    /* Refused when a thread is at it already. Either way `done` comes from the loop. */
    if (job->loop->uv != NULL)
        (void)uv_cancel((uv_req_t *)&job->request);
}
