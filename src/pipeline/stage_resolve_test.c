/* SPDX-License-Identifier: MIT */
/* Where a request goes, and with which parameters, by what its session and the server have set. */
#include "pipeline/stages_for_test.h"

static int setup(void **state)
{
    static struct chat chat;

    chat_open(&chat, "model_aliases:\n"
                     "  fast: gemini:flash\n"
                     "  \"^claude-(.*)$\": 'anthropic:claude-\\1'\n"
                     "model_defaults:\n"
                     "  openai:gpt-d: {temperature: 0.7, max_tokens: 99}\n");
    chat.header = STR("s");
    *state = &chat;
    return 0;
}

static int teardown(void **state)
{
    chat_close(*state);
    return 0;
}

static void assert_text(struct str is, const char *wanted)
{
    if (!str_eq(is, str_c(wanted)) || str_is_null(is) != (wanted == NULL))
        fail_msg("is: \"%.*s\"\nwanted: \"%s\"", STR_ARG(is), wanted == NULL ? "(null)" : wanted);
}

static enum verdict ask(struct chat *chat, const char *model, enum operation operation)
{
    char body[512];

    if (chat->open)
        chat_end(chat);
    (void)snprintf(body, sizeof(body), "{%s%s%s'messages':[{'role':'user','content':'hello'}]}",
                   model == NULL ? "" : "'model':'", model == NULL ? "" : model,
                   model == NULL ? "" : "',");
    chat_begin(chat, "openai-chat", body);
    chat->call.intake.operation = operation;
    return chat_run(chat);
}

static void assert_goes(struct chat *chat, const char *backend, const char *model)
{
    assert_int_equal(chat->call.plan.n, 1);
    assert_text(chat->call.plan.elements[0].backend->name, backend);
    assert_text(chat->call.plan.elements[0].model, model);
}

/* What a session has set, what the request names, where it goes. model NULL: as the client wrote
 * it. */
static const struct {
    const char *set; /* commands; NULL: nothing */
    const char *asked;
    const char *backend;
    const char *model;
} rows[] = {
    {NULL, "gpt-4", "openai", NULL},
    {NULL, "anthropic:claude", "anthropic", "claude"},
    {NULL, "anthropic/claude", "anthropic", "claude"},
    {NULL, "fast", "gemini", "flash"},
    {NULL, "claude-9", "anthropic", NULL},
    /* a session's model replaces all of it */
    {"!/set(model=gpt-x)", "gpt-4", "openai", "gpt-x"},
    {"!/set(model=gpt-x)", "anthropic:claude", "openai", "gpt-x"},
    {"!/set(model=gpt-4)", "gpt-4", "openai", NULL},
    {"!/set(model=gemini:flash)", "anthropic:claude", "gemini", "flash"},
    {"!/model(gemini:flash)", NULL, "gemini", "flash"},
    {"!/set(backend=anthropic, model=gpt-x)", "gpt-4", "anthropic", "gpt-x"},
    /* a backend alone keeps the name, without a backend's prefix */
    {"!/set(backend=anthropic)", "gpt-4", "anthropic", NULL},
    {"!/set(backend=anthropic)", "openai:gpt-4", "anthropic", "gpt-4"},
    {"!/set(backend=anthropic)", "openai/gpt-4", "anthropic", "gpt-4"},
    {"!/set(backend=anthropic)", "anthropic:claude", "anthropic", "claude"},
    {"!/set(backend=anthropic)", "vendor/gpt-4", "anthropic", NULL},
    /* a one-off before all */
    {"!/oneoff(gemini:flash)", "gpt-4", "gemini", "flash"},
    {"!/set(backend=anthropic, model=claude) !/oneoff(gemini:flash)", "openai:gpt-4", "gemini",
     "flash"},
    /* aliases of what a session names */
    {"!/set(model=fast)", "gpt-4", "gemini", "flash"},
    /* which are looked up once */
    {"!/set(model=gemini:claude-x)", "gpt-4", "gemini", "claude-x"},
};

static void test_where_requests_go(void **state)
{
    struct chat *chat = *state;
    char id[16];

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)snprintf(id, sizeof(id), "row%zu", i);
        chat->header = str_c(id);
        if (rows[i].set != NULL && chat_say(chat, rows[i].set) != REPLY)
            fail_msg("row %zu: %s", i, chat->upstream);
        if (ask(chat, rows[i].asked, OP_GENERATE) != NEXT)
            fail_msg("row %zu: %s", i, chat->call.error.detail);
        assert_goes(chat, rows[i].backend, rows[i].model);
        chat_end(chat);
    }
}

static void test_a_oneoff_is_for_one_call(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/oneoff(gemini:flash)"), REPLY);
    /* counting does not take it */
    assert_int_equal(ask(chat, "gpt-4", OP_COUNT_TOKENS), NEXT);
    assert_goes(chat, "openai", NULL);
    assert_int_equal(ask(chat, "gpt-4", OP_GENERATE), NEXT);
    assert_goes(chat, "gemini", "flash");
    /* that failed: it is there again */
    assert_int_equal(ask(chat, "gpt-4", OP_GENERATE), NEXT);
    assert_goes(chat, "gemini", "flash");
    chat_answer(chat, "hi");
    assert_int_equal(ask(chat, "gpt-4", OP_GENERATE), NEXT);
    assert_goes(chat, "openai", NULL);
}

static void test_a_oneoff_in_a_message_is_for_that_message(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/oneoff(gemini:flash) hello"), NEXT);
    assert_goes(chat, "gemini", "flash");
    chat_answer(chat, "hi");
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_goes(chat, "openai", NULL);
}

static void test_steering(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(ask(chat, "gpt-4", OP_GENERATE), NEXT);
    assert_text(chat->call.plan.elements[0].steer.temperature, NULL);
    assert_int_equal(ask(chat, "gpt-d", OP_GENERATE), NEXT);
    assert_text(chat->call.plan.elements[0].steer.temperature, "0.7");
    assert_text(chat->call.plan.elements[0].steer.max_tokens, "99");
    assert_int_equal(chat_say(chat, "!/set(temperature=0.2, reasoning-effort=maximum, "
                                    "thinking-budget=2048)"),
                     REPLY);
    assert_int_equal(ask(chat, "gpt-d", OP_GENERATE), NEXT);
    const struct steer *steer = &chat->call.plan.elements[0].steer;
    assert_text(steer->temperature, "0.2");
    assert_text(steer->max_tokens, "99");
    assert_text(steer->reasoning_effort, "max");
    assert_text(steer->reasoning_budget, "2048");
    assert_text(steer->generation_config, NULL);
}

static void test_a_backend_that_is_gone_is_said(void **state)
{
    struct chat *chat = *state;
    struct session_change change = {.mask = SETTING_BIT(backend)};
    struct error e = {.code = OK};

    assert_int_equal(ask(chat, "gpt-4", OP_GENERATE), NEXT);
    settings_init(&change.values);
    change.values.backend = STR("gone");
    assert_true(session_commit(chat->call.session, &change, chat_committed, NULL, &e));
    assert_int_equal(ask(chat, "gpt-4", OP_GENERATE), STOP);
    assert_int_equal(chat->call.error.code, ERR_UNKNOWN_BACKEND);
    assert_non_null(strstr(chat->call.error.detail, "gone, which this session has set"));
}

/* Behind the prefix of the backend that the session's takes the place of stands nothing. */
static void test_no_name_is_said(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/set(backend=anthropic)"), REPLY);
    assert_int_equal(ask(chat, "openai:", OP_GENERATE), STOP);
    assert_int_equal(chat->call.error.code, ERR_BAD_REQUEST);
    assert_string_equal(chat->call.error.detail, "model: no name that anthropic could take");
}

static void test_a_project_can_be_needed(void **unused)
{
    struct chat chat;

    (void)unused;
    chat_open(&chat, "force_set_project: true\ncommand_prefix: \"$/\"\n");
    chat.header = STR("s");
    assert_int_equal(ask(&chat, "gpt-4", OP_GENERATE), STOP);
    assert_int_equal(error_status(&chat.call.error), 400);
    assert_text(chat.call.error.said,
                "Project name not set. Use $/set(project=<name>) before sending prompts.");
    assert_int_equal(ask(&chat, "gpt-4", OP_COUNT_TOKENS), NEXT);
    assert_int_equal(chat_say(&chat, "$/set(project=p) hello"), NEXT);
    assert_int_equal(ask(&chat, "gpt-4", OP_GENERATE), NEXT);
    chat_close(&chat);
    /* It is not told to use what is switched off. */
    chat_open(&chat, "force_set_project: true\ndisable_interactive_commands: true\n");
    chat.header = STR("s");
    assert_int_equal(chat_say(&chat, "!/set(project=p)"), STOP);
    assert_true(str_starts(chat.call.error.said, STR("Project name not set. The proxy's")));
    chat_close(&chat);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_where_requests_go, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_oneoff_is_for_one_call, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_oneoff_in_a_message_is_for_that_message, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_steering, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_backend_that_is_gone_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_name_is_said, setup, teardown),
        cmocka_unit_test(test_a_project_can_be_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
