/* SPDX-License-Identifier: MIT */
/* Commands of the newest message: what runs, what is answered, what goes on, what is kept. */
#include "pipeline/stages_for_test.h"

static int setup(void **state)
{
    static struct chat chat;

    chat_open(&chat, NULL);
    chat.header = STR("s");
    *state = &chat;
    return 0;
}

static int teardown(void **state)
{
    chat_close(*state);
    return 0;
}

/* What the session has set, as another call would see it. */
static struct str setting(struct chat *chat, enum setting which)
{
    static char text[512];
    struct arena arena;
    struct session *session = session_find(chat->sessions, &chat->scope, chat->header,
                                           chat->now_ms);

    assert_non_null(session);
    arena_init(&arena, CHAT_ARENA_MAX, 512, NULL);
    const struct settings *settings = session_settings(session);
    struct str value = settings_value(settings, which, &arena);
    (void)snprintf(text, sizeof(text), "%.*s", STR_ARG(value));
    bool set = settings_is_set(settings, which);
    session_settings_unref(&settings);
    session_leave(&session);
    arena_fini(&arena);
    return set ? str_c(text) : STR_NULL;
}

static void assert_text(struct str is, const char *wanted)
{
    if (!str_eq(is, str_c(wanted)))
        fail_msg("is: \"%.*s\"\nwanted: \"%s\"", STR_ARG(is), wanted);
}

/* --- one message, all protocols --- */

static const struct {
    const char *protocol;
    const char *body;
    const char *upstream; /* NULL: the proxy answers */
    const char *reply;
} messages[] = {
    /* nothing to find: not a byte changes */
    {"openai-chat", "{'messages':[{'role':'user','content':'hello'}]}",
     "{'messages':[{'role':'user','content':'hello'}]}", NULL},
    {"openai-chat", "{'messages':[{'role':'user','content':'#!/bin/sh is no command'}]}",
     "{'messages':[{'role':'user','content':'#!/bin/sh is no command'}]}", NULL},
    /* alone */
    {"openai-chat", "{'messages':[{'role':'user','content':'!/set(project=p)'}]}", NULL,
     "Project changed to p"},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':"
     "'!/set(project=p)'}]}]}",
     NULL, "Project changed to p"},
    {"openai-responses", "{'model':'m','input':'!/set(project=p)'}", NULL, "Project changed to p"},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'!/set(project"
     "=p)'}]}]}",
     NULL, "Project changed to p"},
    {"gemini", "{'contents':[{'role':'user','parts':[{'text':'!/set(project=p)'}]}]}", NULL,
     "Project changed to p"},
    {"gemini", "{'contents':[{'parts':[{'text':'!/set(project=p)'}]}]}", NULL,
     "Project changed to p"},
    /* with something else */
    {"openai-chat", "{'messages':[{'role':'user','content':'!/set(project=p) hello'}]}",
     "{'messages':[{'role':'user','content':'hello'}]}", NULL},
    {"openai-responses", "{'model':'m','input':'!/set(project=p) hello'}",
     "{'model':'m','input':'hello'}", NULL},
    {"openai-responses",
     "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'hello !/set(p"
     "roject=p)'}]}]}",
     "{'model':'m','input':[{'role':'user','content':[{'type':'input_text','text':'hello'}]}]}",
     NULL},
    {"gemini", "{'contents':[{'role':'user','parts':[{'text':'hello\\n!/set(project=p)'}]}]}",
     "{'contents':[{'role':'user','parts':[{'text':'hello\\n'}]}]}", NULL},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':'hello'},"
     "{'type':'text','text':'!/set(project=p)'}]}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':'hello'}]}]}",
     NULL},
    /* an image, a result of a tool: something else */
    {"openai-chat",
     "{'messages':[{'role':'user','content':[{'type':'image_url','image_url':{'url':'http://a/b'}},"
     "{'type':'text','text':'!/set(project=p)'}]}]}",
     "{'messages':[{'role':'user','content':[{'type':'image_url','image_url':{'url':'http://a/b'}}]"
     "}]}",
     NULL},
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':'x'},{'role':'assistant','content':["
     "{'type':'tool_use','id':'t','name':'f','input':{}}]},{'role':'user','content':["
     "{'type':'tool_result','tool_use_id':'t','content':'!/set(project=q)'},"
     "{'type':'text','text':'!/set(project=p) go on'}]}]}",
     "{'max_tokens':9,'messages':[{'role':'user','content':'x'},{'role':'assistant','content':["
     "{'type':'tool_use','id':'t','name':'f','input':{}}]},{'role':'user','content':["
     "{'type':'tool_result','tool_use_id':'t','content':'!/set(project=q)'},"
     "{'type':'text','text':'go on'}]}]}",
     NULL},
    {"gemini",
     "{'contents':[{'role':'user','parts':[{'functionResponse':{'name':'f','response':{'a':"
     "'!/set(project=q)'}}},{'text':'!/set(project=p)'}]}]}",
     "{'contents':[{'role':'user','parts':[{'functionResponse':{'name':'f','response':{'a':"
     "'!/set(project=q)'}}}]}]}",
     NULL},
    /* what clients add by themselves is nothing */
    {"anthropic",
     "{'max_tokens':9,'messages':[{'role':'user','content':[{'type':'text','text':"
     "'<task>\\n!/set(project=p)\\n</task>'},{'type':'text','text':"
     "'<environment_details>\\n# Time\\n</environment_details>'}]}]}",
     NULL, "Project changed to p"},
    /* only the last message, and only a user's */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'!/set(project=p)"
     "'}]}",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':'!/set(project=p)"
     "'}]}",
     NULL},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a'},{'role':'system','content':'!/set(project=p)'}]}",
     "{'messages':[{'role':'user','content':'a'},{'role':'system','content':'!/set(project=p)'}]}",
     NULL},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':null,'tool_calls':["
     "{'id':'t','type':'function','function':{'name':'f','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'t','content':'!/set(project=p)'}]}",
     "{'messages':[{'role':'user','content':'a'},{'role':'assistant','content':null,'tool_calls':["
     "{'id':'t','type':'function','function':{'name':'f','arguments':'{}'}}]},"
     "{'role':'tool','tool_call_id':'t','content':'!/set(project=p)'}]}",
     NULL},
    /* escapes around stay as they are */
    {"openai-chat",
     "{'messages':[{'role':'user','content':'\\u0041\\/b \\u0021/set(project=p) c\\ud83d\\ude00'"
     "}]}",
     "{'messages':[{'role':'user','content':'\\u0041\\/b c\\ud83d\\ude00'}]}", NULL},
    /* in order, all of one message */
    {"openai-chat", "{'messages':[{'role':'user','content':'!/set(project=a) !/set(project=b)'}]}",
     NULL, "Project changed to a\nProject changed to b"},
    /* faults */
    {"openai-chat", "{'messages':[{'role':'user','content':'!/sett(a=b)'}]}", NULL,
     "Unknown command: sett; did you mean set?"},
    {"openai-chat", "{'messages':[{'role':'user','content':'!/set(projet=p)'}]}", NULL,
     "Unknown parameter: projet; did you mean project?"},
    {"openai-chat", "{'messages':[{'role':'user','content':'hello !/set(projet=p) there'}]}", NULL,
     "Unknown parameter: projet; did you mean project?"},
    {"openai-chat", "{'messages':[{'role':'user','content':'!/set(project=p) !/set(projet=p)'}]}",
     NULL, "Unknown parameter: projet; did you mean project?\nNothing was changed."},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/set(redact-api-keys-in-prompts=false) hello'}]}",
     NULL, "Invalid arguments: redact-api-keys-in-prompts must stand alone in its message"},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/unset(redact-api-keys-in-prompts)\\n!/pwd'}]}", NULL,
     "Invalid arguments: redact-api-keys-in-prompts must stand alone in its message\n"
     "Nothing was changed."},
    {"openai-chat",
     "{'messages':[{'role':'user','content':'!/set(redact-api-keys-in-prompts=false)'}]}", NULL,
     "API key redaction in prompts disabled"},
};

static void test_messages(void **state)
{
    struct chat *chat = *state;
    char wanted[CHAT_BODY_MAX];

    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        chat_begin(chat, messages[i].protocol, messages[i].body);
        enum verdict verdict = chat_run(chat);
        if (messages[i].upstream == NULL) {
            if (verdict != REPLY)
                fail_msg("row %zu went on: %s", i, chat->upstream);
            assert_text(chat_said(chat), messages[i].reply);
            assert_int_equal(chat->stop, STOP_END);
        } else {
            if (verdict != NEXT)
                fail_msg("row %zu: %d %s %.*s", i, (int)verdict, chat->call.error.detail,
                         STR_ARG(chat_said(chat)));
            size_t n = strlen(messages[i].upstream);
            for (size_t k = 0; k <= n; k++)
                wanted[k] = messages[i].upstream[k] == '\'' ? '"' : messages[i].upstream[k];
            assert_string_equal(chat->upstream, wanted);
        }
        chat_end(chat);
    }
}

/* --- what is kept --- */

static void test_what_was_set_is_there_in_the_next_call(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/set(model=gpt-x, temperature=0.3)"), REPLY);
    assert_text(setting(chat, SETTING_model), "gpt-x");
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_text(chat->call.plan.elements[0].model, "gpt-x");
    assert_text(chat->call.plan.elements[0].steer.temperature, "0.3");
    assert_int_equal(chat_say(chat, "!/unset(model)"), REPLY);
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_true(str_is_null(chat->call.plan.elements[0].model));
}

static void test_the_rest_of_a_message_goes_on_with_the_new_settings(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/set(model=gpt-x) hello"), NEXT);
    assert_text(chat->call.plan.elements[0].model, "gpt-x");
    assert_int_equal(chat->commits, 1);
}

static void test_a_failed_command_changes_nothing(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/set(project=a)"), REPLY);
    assert_int_equal(chat_say(chat, "!/set(project=b, temperature=9)"), REPLY);
    assert_int_equal(chat_say(chat, "!/set(project=c) !/set(temperature=9)"), REPLY);
    assert_int_equal(chat->commits, 1);
    assert_text(setting(chat, SETTING_project), "a");
}

static void test_too_many_commands_are_none(void **state)
{
    struct chat *chat = *state;
    char text[4096] = "!/project(p)";
    size_t n = strlen(text);

    for (size_t i = 1; i < 256; i++, n += 6)
        memcpy(text + n, " !/pwd", 7);
    assert_int_equal(chat_say(chat, text), REPLY);
    assert_text(setting(chat, SETTING_project), "p");
    memcpy(text, "!/project(q)", 12);
    memcpy(text + n, " !/pwd", 7);
    assert_int_equal(chat_say(chat, text), REPLY);
    assert_true(str_find(chat_said(chat), STR("Too many commands: 257 are in this"), 0) !=
                SIZE_MAX);
    assert_text(setting(chat, SETTING_project), "p");
    assert_int_equal(chat->commits, 1);
}

static void test_what_changes_nothing_is_not_committed(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/pwd"), REPLY);
    assert_text(chat_said(chat), "Project directory not set");
    assert_int_equal(chat_say(chat, "!/help !/status"), REPLY);
    assert_int_equal(chat->commits, 0);
}

static void test_a_commit_may_take_its_time(void **state)
{
    struct chat *chat = *state;

    chat->commit = CHAT_COMMIT_LATER;
    assert_int_equal(chat_say(chat, "!/set(project=a)"), REPLY);
    assert_text(chat_said(chat), "Project changed to a");
    assert_int_equal(chat_say(chat, "!/set(project=b) hello"), NEXT);
    assert_text(chat->call.settings->project, "b");
}

static void test_a_commit_that_fails_is_told(void **state)
{
    static const enum chat_commit kinds[] = {CHAT_COMMIT_FAILS, CHAT_COMMIT_FAILS_LATER};
    struct chat *chat = *state;

    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        chat->commit = kinds[i];
        assert_int_equal(chat_say(chat, "!/set(project=a) hello"), REPLY);
        assert_text(chat_said(chat),
                    "Settings cannot be kept: the disk is full\nNothing was changed.");
        assert_int_equal(chat->call.error.code, OK);
        assert_true(str_is_null(setting(chat, SETTING_project)));
        assert_int_equal(chat_say(chat, "hello"), NEXT);
    }
}

static void test_the_default_backend_is_the_servers(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/set(default-backend=anthropic)"), REPLY);
    assert_text(chat_said(chat), "Default backend changed to anthropic");
    chat->header = STR("another");
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_text(chat->call.plan.elements[0].backend->name, "anthropic");
    assert_int_equal(chat_say(chat, "!/unset(default-backend)"), REPLY);
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_text(chat->call.plan.elements[0].backend->name, "openai");
}

/* Two settings of one command are two: one of them would go to another session. */
static void test_a_switch_is_alone_also_in_its_command(void **state)
{
    static const char *const texts[] = {
        "!/set(default-backend=anthropic, temperature=0.2)",
        "!/set(temperature=0.2, default-backend=anthropic)",
        "!/unset(default-backend, temperature)",
    };
    struct chat *chat = *state;

    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(chat_say(chat, texts[i]), REPLY);
        assert_text(chat_said(chat),
                    "Invalid arguments: default-backend must stand alone in its message");
        assert_int_equal(chat->commits, 0);
    }
}

static void test_the_default_backend_is_an_admins(void **state)
{
    static const struct client_key user = {.name = STR_INIT("user"), .admin = false};
    struct chat *chat = *state;

    chat->client = &user;
    assert_int_equal(chat_say(chat, "!/set(default-backend=anthropic)"), REPLY);
    assert_int_equal(chat->commits, 0);
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_text(chat->call.plan.elements[0].backend->name, "openai");
}

/* --- switches --- */

static void test_disabled_commands_are_text(void **unused)
{
    static const char body[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"!/set(project=p)\"}]}";
    struct chat chat;

    (void)unused;
    chat_open(&chat, "disable_interactive_commands: true\n");
    chat_begin(&chat, "openai-chat", body);
    assert_int_equal(chat_run(&chat), NEXT);
    assert_string_equal(chat.upstream, body);
    chat_close(&chat);
}

static void test_unknown_commands_are_text_outside_of_interactive_mode(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/interactive(false)"), REPLY);
    assert_text(chat_said(chat), "Interactive mode disabled");
    assert_int_equal(chat_say(chat, "!/frobnicate"), NEXT);
    assert_int_equal(chat_say(chat, "!/interactive(true)"), REPLY);
    assert_int_equal(chat_say(chat, "!/frobnicate"), REPLY);
}

static void test_counting_tokens_runs_no_commands(void **state)
{
    struct chat *chat = *state;

    chat_begin(chat, "openai-chat", "{'messages':[{'role':'user','content':'!/set(project=p)'}]}");
    chat->call.intake.operation = OP_COUNT_TOKENS;
    assert_int_equal(chat_run(chat), NEXT);
    assert_int_equal(chat->commits, 0);
}

static void test_a_sessions_own_prefix(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/set(command-prefix=$/)"), REPLY);
    assert_int_equal(chat_say(chat, "!/set(project=p)"), NEXT);
    assert_int_equal(chat_say(chat, "$/set(project=p)"), REPLY);
    assert_text(setting(chat, SETTING_project), "p");
    assert_int_equal(chat_say(chat, "$/unset(command-prefix)"), REPLY);
    assert_int_equal(chat_say(chat, "!/pwd"), REPLY);
}

/* --- the answer --- */

static void test_the_answer_is_of_the_requests_model(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "!/pwd"), REPLY);
    assert_string_equal(chat->start_id, "proxy_cmd_processed");
    assert_string_equal(chat->start_model, "m");
    assert_int_equal(chat->usage.input, 0);
    assert_int_equal(chat->usage.output, 0);
    assert_int_equal(chat->usage.total, 0);
    chat_end(chat);
    chat_begin(chat, "anthropic",
               "{'model':'c','max_tokens':9,'messages':[{'role':'user','content':'!/pwd'}]}");
    assert_int_equal(chat_run(chat), REPLY);
    assert_string_equal(chat->start_id, "msg_proxy_cmd_processed");
    assert_string_equal(chat->start_model, "c");
    chat_end(chat);
}

#define CLINE                                                                             \
    "{'role':'system','content':'You are Cline, a highly skilled software engineer with " \
    "extensive knowledge in many programming languages.'},"

static void test_clients_that_take_only_tools_get_one(void **state)
{
    struct chat *chat = *state;

    chat_begin(chat, "openai-chat",
               "{'model':'m','messages':[" CLINE "{'role':'user','content':'!/pwd'}],'tools':["
               "{'type':'function','function':{'name':'attempt_completion'}}]}");
    assert_int_equal(chat_run(chat), REPLY);
    assert_string_equal(chat->tool, "attempt_completion");
    assert_string_equal(chat->tool_id, "call_0123456789abcdef01234567");
    assert_text(buf_str(&chat->args), "{\"result\":\"Project directory not set\"}");
    assert_text(chat_said(chat), "");
    assert_int_equal(chat->stop, STOP_TOOL);
    chat_end(chat);
    chat_begin(chat, "openai-chat",
               "{'model':'m','messages':[" CLINE "{'role':'user','content':'!/pwd'}]}");
    assert_int_equal(chat_run(chat), REPLY);
    assert_string_equal(chat->tool, "attempt_completion");
    assert_text(chat_said(chat), "<attempt_completion>\n<result>\nProject directory not set\n"
                                 "</result>\n</attempt_completion>");
    chat_end(chat);
    /* Who offers other tools would refuse that one. */
    chat_begin(chat, "openai-chat",
               "{'model':'m','messages':[" CLINE "{'role':'user','content':'!/pwd'}],'tools':["
               "{'type':'function','function':{'name':'read_files'}}]}");
    assert_int_equal(chat_run(chat), REPLY);
    assert_text(chat_said(chat), "Project directory not set");
    assert_int_equal(chat->stop, STOP_END);
    chat_end(chat);
}

static void test_a_large_body_is_looked_through_in_a_job(void **state)
{
    static char body[CHAT_BODY_MAX];
    static const char head[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"!/pwd\"},"
                               "{\"role\":\"assistant\",\"content\":\"";
    static const char tail[] = "\"},{\"role\":\"user\",\"content\":\"!/set(project=p) hi\"}]}";
    const size_t n = 300 * 1024;
    struct chat *chat = *state;

    memcpy(body, head, sizeof(head) - 1);
    memset(body + sizeof(head) - 1, 'x', n);
    memcpy(body + sizeof(head) - 1 + n, tail, sizeof(tail));
    for (int later = 0; later < 2; later++) {
        chat->work_later = later != 0;
        chat_begin(chat, "openai-chat", body);
        assert_int_equal(chat_run(chat), NEXT);
        assert_int_equal(chat->works, 2 * (later + 1)); /* for its session, too */
        assert_string_equal(chat->upstream,
                            "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}");
        assert_text(chat->call.settings->project, "p");
        chat_end(chat);
    }
    /* the client leaves while the first job runs, or the second */
    for (int jobs = 1; jobs <= 2; jobs++) {
        chat_begin(chat, "openai-chat", body);
        for (int i = 0; i < jobs; i++) {
            assert_int_equal(pipeline_request(&chat->call), WAIT);
            chat->work(&chat->call, chat->work_arg);
            chat->work = NULL;
        }
        chat->call.arena = NULL;
        chat_end(chat);
    }
}

/* A request that takes more memory than there is goes nowhere: its commands could be in it. */
static void test_no_memory_is_no_way_around(void **state)
{
    struct chat *chat = *state;

    chat_begin(chat, "openai-chat", "{'messages':[{'role':'user','content':'hello !/pwd'}]}");
    chat->request_arena.bytes_max = chat->request_arena.bytes;
    while (!arena_overflowed(&chat->request_arena))
        (void)arena_alloc(&chat->request_arena, 64);
    assert_int_equal(pipeline_request(&chat->call), STOP);
    assert_int_equal(chat->call.error.code, ERR_TOO_LARGE);
    assert_int_equal(chat->commits, 0);
}

/* --- the rules change on the way --- */

#define U(text) "{'role':'user','content':'" text "'}"
#define A(text) "{'role':'assistant','content':'" text "'}"

/* Each conversation with a session that knows nothing of it (the proxy was started anew, say), and
 * with one that went through it. */
static const struct {
    const char *said[4]; /* to the session, before */
    const char *messages;
    const char *left;
} rules[] = {
    /* the prefix of the conversation's own */
    {{NULL},
     U("!/set(command-prefix=$/)") "," A("a") "," U("$/pwd") "," A("b") "," U("!/pwd") "," A(
         "c") "," U("hi"),
     U("!/pwd") "," A("c") "," U("hi")},
    {{"!/set(command-prefix=$/)"},
     U("!/set(command-prefix=$/)") "," A("a") "," U("$/pwd") "," A("b") "," U("!/pwd") "," A(
         "c") "," U("hi"),
     U("!/pwd") "," A("c") "," U("hi")},
    /* and back */
    {{NULL},
     U("!/set(command-prefix=$/)") "," A("a") "," U("$/unset(command-prefix)") "," A("b") "," U(
         "$/pwd") "," A("c") "," U("!/pwd") "," A("d") "," U("hi"),
     U("$/pwd") "," A("c") "," U("hi")},
    /* what failed changed nothing */
    {{NULL},
     U("!/set(command-prefix=$)") "," A("a") "," U("!/set(command-prefix=$/, nokey=1)") "," A(
         "b") "," U("!/pwd") "," A("c") "," U("$/pwd") "," A("d") "," U("hi"),
     U("$/pwd") "," A("d") "," U("hi")},
    {{NULL},
     U("!/set(command-prefix=$/, project-dir=/no/such/folder)") "," A("a") "," U("!/pwd") "," A(
         "b") "," U("hi"),
     U("hi")},
    /* the session has it from elsewhere */
    {{"!/set(command-prefix=$/)"},
     U("$/pwd") "," A("a") "," U("!/pwd") "," A("b") "," U("hi"),
     U("!/pwd") "," A("b") "," U("hi")},
    /* interactive mode: whether unknown names were answered */
    {{NULL},
     U("!/frob") "," A("a") "," U("!/interactive(off)") "," A("b") "," U("!/frob") "," A("c") "," U(
         "!/set(interactive=on)") "," A("d") "," U("!/frob") "," A("e") "," U("hi"),
     U("!/frob") "," A("c") "," U("hi")},
    {{"!/interactive(off)"},
     U("!/frob") "," A("a") "," U("!/pwd") "," A("b") "," U("hi"),
     U("!/frob") "," A("a") "," U("hi")},
};

static void test_older_messages_are_read_by_the_rules_of_their_time(void **state)
{
    struct chat *chat = *state;
    char body[4096];
    char wanted[4096];
    char id[16];

    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        (void)snprintf(id, sizeof(id), "rules%zu", i);
        chat->header = str_c(id);
        for (size_t k = 0; k < COUNT_OF(rules[i].said) && rules[i].said[k] != NULL; k++)
            assert_int_equal(chat_say(chat, rules[i].said[k]), REPLY);
        if (chat->open)
            chat_end(chat);
        (void)snprintf(body, sizeof(body), "{'messages':[%s]}", rules[i].messages);
        size_t n = (size_t)snprintf(wanted, sizeof(wanted), "{'messages':[%s]}", rules[i].left);
        for (size_t k = 0; k < n; k++)
            wanted[k] = wanted[k] == '\'' ? '"' : wanted[k];
        chat_begin(chat, "openai-chat", body);
        assert_int_equal(chat_run(chat), NEXT);
        if (strcmp(chat->upstream, wanted) != 0)
            fail_msg("row %zu\nis:     %s\nwanted: %s", i, chat->upstream, wanted);
        assert_int_equal(chat->commits, rules[i].said[0] == NULL ? 0 : 1);
        chat->commits = 0;
    }
}

/* Catches: a clock that is read for requests without commands, or their time counted as the
 * session's. */
static void test_time_is_the_commands_where_there_may_be_some(void **state)
{
    struct chat *chat = *state;

    assert_int_equal(chat_say(chat, "hello!"), NEXT);
    assert_int_equal(chat->marks, 0);
    assert_int_equal(chat_say(chat, "#!/bin/sh"), NEXT);
    assert_int_equal(chat->marks, 1);
    chat->commit = CHAT_COMMIT_LATER;
    assert_int_equal(chat_say(chat, "!/set(project=p)"), REPLY);
    assert_int_equal(chat->marks, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_set_is_there_in_the_next_call, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_rest_of_a_message_goes_on_with_the_new_settings,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_command_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_commands_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_changes_nothing_is_not_committed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_may_take_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_commit_that_fails_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_default_backend_is_the_servers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_switch_is_alone_also_in_its_command, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_default_backend_is_an_admins, setup, teardown),
        cmocka_unit_test(test_disabled_commands_are_text),
        cmocka_unit_test_setup_teardown(test_unknown_commands_are_text_outside_of_interactive_mode,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_counting_tokens_runs_no_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_sessions_own_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_answer_is_of_the_requests_model, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clients_that_take_only_tools_get_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_large_body_is_looked_through_in_a_job, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_is_no_way_around, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_messages_are_read_by_the_rules_of_their_time,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_is_the_commands_where_there_may_be_some, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
