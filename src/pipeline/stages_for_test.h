/* SPDX-License-Identifier: MIT */
/*
 * For the tests of stages: calls of several clients against real sessions, real protocols and real
 * commands; what the gateway does is played here.
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

/* --- a proxy --- */

/* With backends openai (the default one), anthropic, gemini and demo; yaml: more, or NULL. */
static inline void chat_open(struct chat *chat, const char *yaml)
{
    static char env_a[] = "OPENAI_API_KEY=sk-a";
    static char env_b[] = "ANTHROPIC_API_KEY=sk-ant-b";
    static char env_c[] = "GEMINI_API_KEY=c";
    static char *environ_of[] = {env_a, env_b, env_c, NULL};
    static char program[] = "llm-proxy";
    static char demo[] = "--demo";
    static char option[] = "--default-backend";
    static char backend[] = "openai";
    static char *argv[] = {program, demo, option, backend, NULL};
    char folder[] = "/tmp/llm-proxy-stages-XXXXXX";
    char path[128];
    struct config_result result;
    struct error e = {.code = OK};

    memset(chat, 0, sizeof(*chat));
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/config.yaml", folder);
    if (yaml != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(yaml, 1, strlen(yaml), file), strlen(yaml));
        assert_int_equal(fclose(file), 0);
    }
    const struct config_source source = {.argc = 4,
                                         .argv = argv,
                                         .environ = environ_of,
                                         .directory = folder};
    arena_init(&chat->config_arena, CHAT_ARENA_MAX, 4096, NULL);
    config_read(&source, &chat->config_arena, &result);
    if (result.config == NULL)
        fail_msg("%.*s", STR_ARG(result.report));
    chat->config = result.config;
    chat->now_ms = 1700000000000;
    if (backend_set_new(chat->config, &chat->set, &e) != OK ||
        sessions_new(chat->config, chat->now_ms, &chat->sessions, &e) != OK)
        fail_msg("%s", e.detail);
    (void)unlink(path);
    (void)rmdir(folder);
}

/* --- a call --- */

/* The request is decoded; ' in the body is ". */
static inline void chat_begin(struct chat *chat, const char *protocol, const char *body)
{
    static const struct stage *const stages[] = {&stage_session, &stage_command, &stage_resolve,
                                                 &stage_usage};
    struct error e = {.code = OK};
    const struct request_limits limits = {
        .depth_max = 64,
        .rest = str_eq(str_c(protocol), STR("gemini")) ? STR("m:generateContent") : STR_NULL,
    };
    size_t n = strlen(body);

    assert_false(chat->open);
    assert_true(n < sizeof(chat->body));
    for (size_t i = 0; i <= n; i++)
        chat->body[i] = body[i];
    for (size_t i = 0; i < n; i++) {
        if (chat->body[i] == '\'')
            chat->body[i] = '"';
    }
    chat->open = true;
    chat->woken = false;
    buf_init(&chat->said, CHAT_BODY_MAX);
    buf_init(&chat->args, CHAT_BODY_MAX);
    chat->tool[0] = chat->tool_id[0] = chat->start_id[0] = chat->start_model[0] = '\0';
    chat->stop = STOP_OTHER;
    chat->usage = (struct usage){-1, -1, -1, -1, -1, -1};
    arena_init(&chat->request_arena, CHAT_ARENA_MAX, 4096, NULL);
    arena_init(&chat->answer_arena, CHAT_ARENA_MAX, 4096, NULL);
    chat->call = (struct call){
        .intake = {.client = chat->client,
                   .protocol = protocol_find(str_c(protocol)),
                   .operation = OP_GENERATE,
                   .session_header = chat->header,
                   .scope = chat->scope},
        .config = chat->config,
        .ops = &chat_ops,
        .sessions = chat->sessions,
        .request_id = STR("0123456789abcdef01234567"),
        .now_ms = chat->now_ms,
        .version = "1.2.3",
        .backends = chat->set,
        .arena = &chat->request_arena,
        .metrics = &chat->metrics,
        .usage = {-1, -1, -1, -1, -1, -1},
    };
    assert_non_null(chat->call.intake.protocol);
    if (chat->call.intake.protocol->request_decode(str_of(chat->body, n), &limits,
                                                   &chat->request_arena, &chat->call.request,
                                                   &e) != OK)
        fail_msg("%s: %s", e.detail, chat->body);
    pipeline_begin(&chat->call, &(struct pipeline_options){
                                    .stages = stages,
                                    .stages_n = COUNT_OF(stages),
                                    .arena = &chat->answer_arena,
                                    .hold_bytes_max = 1024 * 1024,
                                    .sink = chat_sink,
                                    .sink_ctx = chat,
                                    .wake = chat_wake,
                                });
}

static inline void chat_write_upstream(struct chat *chat)
{
    struct str *parts;
    size_t n;
    size_t bytes;
    size_t at = 0;

    json_edit_apply(&chat->call.request.edits, chat->call.request.source, &chat->request_arena,
                    &parts, &n, &bytes);
    assert_true(bytes < sizeof(chat->upstream));
    for (size_t i = 0; i < n; i++) {
        memcpy(chat->upstream + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    chat->upstream[at] = '\0';
}

/* Down the stages, to the end of all waiting. */
static inline enum verdict chat_run(struct chat *chat)
{
    enum verdict verdict = pipeline_request(&chat->call);

    while (verdict == WAIT) {
        if (chat->work != NULL) {
            chat->work(&chat->call, chat->work_arg);
            chat->work = NULL;
        }
        pipeline_wake(&chat->call);
        assert_true(chat->woken);
        verdict = pipeline_request(&chat->call);
    }
    chat_write_upstream(chat);
    return verdict;
}

/* The backend answers with this text. */
static inline void chat_answer(struct chat *chat, const char *text)
{
    struct event events[] = {
        {.kind = EVENT_START, .start.id = STR("a"), .start.model = STR("m")},
        {.kind = EVENT_BLOCK_BEGIN, .begin.kind = BLOCK_TEXT},
        {.kind = EVENT_TEXT, .text = str_c(text)},
        {.kind = EVENT_USAGE, .usage = {10, 5, 15, 2, -1, -1}},
    };
    struct frame frame = {.events = events, .n = COUNT_OF(events)};

    chat->call.element = &chat->call.plan.elements[0];
    chat->call.model_sent = STR("sent-model");
    assert_int_equal(pipeline_frame(&chat->call, &frame), PIPELINE_OK);
    chat->call.succeeded = true;
}

static inline void chat_end(struct chat *chat)
{
    assert_true(chat->open);
    chat->open = false;
    pipeline_done(&chat->call);
    buf_fini(&chat->said);
    buf_fini(&chat->args);
    arena_fini(&chat->request_arena);
    arena_fini(&chat->answer_arena);
}

static inline void chat_close(struct chat *chat)
{
    if (chat->open)
        chat_end(chat);
    sessions_free(&chat->sessions);
    backend_set_free(&chat->set);
    config_unref(&chat->config);
    arena_fini(&chat->config_arena);
}

static inline struct str chat_said(const struct chat *chat)
{
    return buf_str(&chat->said);
}

/* One message of a session that is there by its header; the call stays open. */
static inline enum verdict chat_say(struct chat *chat, const char *text)
{
    char body[4096];

    if (chat->open)
        chat_end(chat);
    (void)snprintf(body, sizeof(body), "{'model':'m','messages':[{'role':'user','content':'%s'}]}",
                   text);
    chat_begin(chat, "openai-chat", body);
    return chat_run(chat);
}
