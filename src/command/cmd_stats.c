/* SPDX-License-Identifier: MIT */
/* Tells what this session has done so far. */
#include "command/command_priv.h"

#include <inttypes.h>
#include <time.h>

static void add_time(int64_t ms, struct buf *out)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];

    if (ms <= 0 || gmtime_r(&seconds, &tm) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        return;
    (void)buf_print(out, "\nsince: %s", text);
}

static bool run(struct command_env *env, const struct args *args)
{
    static const struct session_stats nothing = {.requests = 0};
    const struct session_stats *stats = env->stats == NULL ? &nothing : env->stats;

    assert(args->n == 0);
    (void)buf_print(env->reply,
                    "requests: %" PRId64 "\nfailures: %" PRId64 "\ncommands: %" PRId64
                    "\ntokens in: %" PRId64 " (%" PRId64 " from a cache)\ntokens out: %" PRId64,
                    stats->requests, stats->failures, stats->commands, stats->tokens_in,
                    stats->tokens_cached, stats->tokens_out);
    add_time(stats->created_ms, env->reply);
    return true;
}

const struct command cmd_stats = {
    .name = "stats",
    .usage = "stats",
    .help = "Count this session's requests and tokens so far.",
    .examples = "stats",
    .run = run,
};
