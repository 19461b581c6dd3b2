/* SPDX-License-Identifier: MIT */
/*
 * For the tests of stages: a client's chat with the proxy, and the gateway's part in it, played.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "command/command.h"
#include "pipeline/pipeline.h"

enum { CHAT_ARENA_MAX = 16 * 1024 * 1024, CHAT_ARGS_MAX = 16, CHAT_BODY_MAX = 512 * 1024 };

extern const struct stage stage_session;
extern const struct stage stage_command;
extern const struct stage stage_resolve;
extern const struct stage stage_usage;

/* How a commit goes. */
enum chat_commit {
    CHAT_COMMIT_AT_ONCE,
    CHAT_COMMIT_LATER,
    CHAT_COMMIT_FAILS,
    CHAT_COMMIT_FAILS_LATER
};

struct chat {
    struct config *config;
    struct backend_set *set;
    struct sessions *sessions;
    struct arena config_arena;
    struct metrics metrics;
    struct session_scope scope;
    const struct client_key *client;
    struct str header; /* x-session-id of the next calls */
    int64_t now_ms;
    enum chat_commit commit;
    bool work_later; /* ops->work waits */
    size_t commits;
    size_t works;
    size_t marks; /* how often the time became the commands' */
    /* The call that runs. */
    struct call call;
    struct arena request_arena;
    struct arena answer_arena;
    bool open;
    bool woken;
    char body[CHAT_BODY_MAX];
    char upstream[CHAT_BODY_MAX]; /* the request with its edits */
    struct buf said;              /* the events that reached the client: their texts, parted */
    char start_id[64];
    char start_model[64];
    enum stop_reason stop;
    struct usage usage;
    char tool[64];
    char tool_id[64];
    struct buf args;
    void (*work)(struct call *call, void *arg);
    void *work_arg;
};

static inline struct chat *chat_of(struct call *call)
{
    return CONTAINER_OF(call, struct chat, call);
}

/* --- what the gateway does --- */

static inline void chat_committed(void *ctx, const struct error *e)
{
    (void)ctx;
    (void)e;
    fail_msg("a repository in memory commits at once");
}

static inline bool chat_do_commit(struct call *call, struct session *session,
                                  const struct session_change *change)
{
    struct chat *chat = chat_of(call);
    bool fails = chat->commit == CHAT_COMMIT_FAILS || chat->commit == CHAT_COMMIT_FAILS_LATER;
    struct error e = {.code = OK};

    chat->commits++;
    if (fails)
        (void)FAIL(&call->error, ERR_SYSTEM, "the disk is full");
    else
        assert_true(session_commit(session, change, chat_committed, call, &e));
    return chat->commit == CHAT_COMMIT_AT_ONCE || chat->commit == CHAT_COMMIT_FAILS;
}

static inline bool chat_do_work(struct call *call, void (*work)(struct call *, void *), void *arg)
{
    struct chat *chat = chat_of(call);

    chat->works++;
    if (chat->work_later) {
        chat->work = work;
        chat->work_arg = arg;
        return false;
    }
    work(call, arg);
    return true;
}

static inline void chat_commands(struct call *call)
{
    chat_of(call)->marks++;
}

static inline size_t chat_models(struct call *call, const struct backend *backend)
{
    (void)call;
    (void)backend;
    return 7;
}

static inline int chat_model_listed(struct call *call, const struct backend *backend,
                                    struct str model)
{
    (void)call;
    (void)backend;
    return !str_eq(model, STR("unlisted"));
}

static const struct call_ops chat_ops = {
    .commit = chat_do_commit,
    .work = chat_do_work,
    .commands = chat_commands,
    .models = chat_models,
    .model_listed = chat_model_listed,
};

static inline void chat_keep(char to[64], struct str text)
{
    (void)snprintf(to, 64, "%.*s", STR_ARG(text));
}

static inline bool chat_sink(void *ctx, struct frame *frame)
{
    struct chat *chat = ctx;

    for (uint32_t i = 0; i < frame->n; i++) {
        const struct event *event = &frame->events[i];
        if (event->kind == EVENT_START) {
            chat_keep(chat->start_id, event->start.id);
            chat_keep(chat->start_model, event->start.model);
        } else if (event->kind == EVENT_BLOCK_BEGIN && event->begin.kind == BLOCK_TOOL) {
            chat_keep(chat->tool, event->begin.name);
            chat_keep(chat->tool_id, event->begin.id);
        } else if (event->kind == EVENT_TEXT) {
            buf_add(&chat->said, event->text);
        } else if (event->kind == EVENT_TOOL_ARGS) {
            buf_add(&chat->args, event->text);
        } else if (event->kind == EVENT_STOP) {
            chat->stop = event->stop.reason;
        } else if (event->kind == EVENT_USAGE) {
            chat->usage = event->usage;
        }
    }
    return true;
}

static inline void chat_wake(void *ctx)
{
    ((struct chat *)ctx)->woken = true;
}
