/* SPDX-License-Identifier: MIT */
/*
 * For the tests of stages: calls of several clients against real sessions, real protocols and real
 * commands.
 */
#pragma once

#include "pipeline/chat_for_test.h"

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
    char body[8192];

    if (chat->open)
        chat_end(chat);
    int n = snprintf(body, sizeof(body),
                     "{'model':'m','messages':[{'role':'user','content':'%s'}]}", text);
    assert_true(n > 0 && (size_t)n < sizeof(body));
    chat_begin(chat, "openai-chat", body);
    return chat_run(chat);
}
