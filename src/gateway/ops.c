/* SPDX-License-Identifier: MIT */
/*
 * What stages cannot do by themselves.
 *
 * What      Commits changes of sessions, does work in a thread, tells what the lists of models say.
 * How       commit   session_commit ─► done, in the table's thread ─► posted to the worker ─► the
 *                    stage is asked again. The exchange may be over by then: what is posted is
 *                    memory of its own, which the exchange takes its name out of. It has entered
 *                    the branch, so that a worker does not end before its last change is through.
 *           work     with bodies that a loop has time for at once; of large ones in a job, as they
 *                    are read and written (large).
 * Owns      struct ops_commit until it was posted back.
 * Not here  What a command changes (command/), when it is in force (state/session).
 */
#include "gateway/ops.h"

#include "base/mem.h"
#include "gateway/exchange.h"
#include "gateway/gateway_priv.h"
#include "gateway/models.h"

#define OPS_COMMIT_MAGIC 0x0c033117u

struct ops_commit {
    uint32_t magic;
    struct exchange *x;    /* the worker's to read; NULL: it is over */
    struct branch *branch; /* entered */
    struct worker *worker;
    struct error error; /* what came of it */
};

static struct exchange *exchange_of(struct call *call)
{
    struct exchange *x = CONTAINER_OF(call, struct exchange, call);

    assert(x->magic == EXCHANGE_MAGIC);
    return x;
}

/* --- commits --- */

static void commit_free(struct ops_commit *commit)
{
    branch_leave(commit->branch);
    commit->magic = 0;
    mem_free(commit);
}

static void count_failure(struct station *station, const struct error *e)
{
    if (e->code != OK)
        metric_add(&station->metrics, METRIC_session_commit_failures_total, 0, 1);
}

/* On the worker's thread. */
static void commit_over(void *ctx)
{
    struct ops_commit *commit;

    CAST(commit, ctx, OPS_COMMIT_MAGIC);
    struct exchange *x = commit->x;
    count_failure(commit->branch->station, &commit->error);
    if (x != NULL) {
        assert(x->commit == commit);
        x->commit = NULL;
        x->call.error = commit->error;
        pipeline_wake(&x->call);
    }
    commit_free(commit);
}

/* On any thread. */
static void on_committed(void *ctx, const struct error *e)
{
    struct ops_commit *commit;

    CAST(commit, ctx, OPS_COMMIT_MAGIC);
    commit->error = *e;
    worker_post(commit->worker, commit_over, commit);
}

static bool commit_change(struct call *call, struct session *session,
                          const struct session_change *change)
{
    struct exchange *x = exchange_of(call);
    struct ops_commit *commit = mem_new(sizeof(*commit));

    assert(x->commit == NULL && !x->works);
    commit->magic = OPS_COMMIT_MAGIC;
    commit->x = x;
    commit->branch = branch_enter(x->branch);
    commit->worker = x->station->worker;
    metric_add(&x->station->metrics, METRIC_session_commits_total, 0, 1);
    if (session_commit(session, change, on_committed, commit, &call->error)) {
        count_failure(x->station, &call->error);
        commit_free(commit);
        return true;
    }
    x->commit = commit;
    return false;
}

/* --- work --- */

/* In a thread. */
static void do_work(void *ctx)
{
    const struct ops_work *work = ctx;

    work->work(work->call, work->arg);
}

static bool work_on(struct call *call, void (*work)(struct call *call, void *arg), void *arg)
{
    struct exchange *x = exchange_of(call);

    assert(x->commit == NULL && !x->works);
    if (LIKELY(x->body_n <= LARGE_BYTES)) {
        work(call, arg);
        return true;
    }
    x->work = (struct ops_work){.call = call, .work = work, .arg = arg};
    x->works = true;
    /* The request arena stays the connection's: where the client leaves it goes to the job. */
    call->arena = large_work_arena(x->large);
    large_work(x->large, do_work, &x->work);
    return false;
}

bool ops_ready(struct exchange *x)
{
    if (LIKELY(!x->works))
        return x->commit == NULL;
    if (large_busy(x->large))
        return false;
    x->works = false;
    x->call.arena = server_arena(x->client);
    return true;
}

void ops_forget(struct exchange *x)
{
    if (x->commit != NULL)
        x->commit->x = NULL;
    x->commit = NULL;
}

/* --- time --- */

static void commands_begin(struct call *call)
{
    exchange_enter(exchange_of(call), PHASE_COMMAND);
}

/* --- models --- */

static size_t count_models(struct call *call, const struct backend *backend)
{
    return models_count(exchange_of(call)->branch->models, backend);
}

static int is_listed(struct call *call, const struct backend *backend, struct str model)
{
    return models_listed(exchange_of(call)->branch->models, backend, model);
}

const struct call_ops ops_of_calls = {
    .commit = commit_change,
    .work = work_on,
    .commands = commands_begin,
    .models = count_models,
    .model_listed = is_listed,
};
