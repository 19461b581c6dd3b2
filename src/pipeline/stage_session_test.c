/* SPDX-License-Identifier: MIT */
/* Requests and their sessions: which one it is, what is noted there, and what is listened to. */
#include "pipeline/stages_for_test.h"

#define ASK(text) "{'model':'m','messages':[{'role':'user','content':'" text "'}]}"

static int setup(void **state)
{
    static struct chat chat;

    chat_open(&chat, NULL);
    *state = &chat;
    return 0;
}

static int teardown(void **state)
{
    chat_close(*state);
    return 0;
}

/* The session that the last call had. */
static void view(struct chat *chat, struct arena *arena, struct session_view *ret_view)
{
    struct session *session = session_find(chat->sessions, &chat->scope, chat->call.session_id,
                                           chat->now_ms);

    arena_init(arena, CHAT_ARENA_MAX, 512, NULL);
    assert_non_null(session);
    session_view(session, arena, ret_view);
    session_leave(&session);
}

static void assert_text(struct str is, const char *wanted)
{
    if (!str_eq(is, str_c(wanted)))
        fail_msg("is: \"%.*s\"\nwanted: \"%s\"", STR_ARG(is), wanted);
}

static void test_an_exchange_is_noted(void **state)
{
    struct chat *chat = *state;
    struct arena arena;
    struct session_view seen;

    chat->header = STR("s1");
    chat_begin(chat, "openai-chat", ASK("How do I\\nspell \\u00e4?"));
    assert_int_equal(chat_run(chat), NEXT);
    assert_text(chat->call.session_id, "s1");
    chat_answer(chat, "Like this.");
    chat_end(chat);
    chat->call.session_id = STR("s1");
    view(chat, &arena, &seen);
    assert_int_equal(seen.history_n, 1);
    assert_text(seen.history[0].prompt, "How do I\nspell \xc3\xa4?");
    assert_text(seen.history[0].answer, "Like this.");
    assert_text(seen.history[0].backend, "openai");
    assert_text(seen.history[0].model, "sent-model");
    assert_int_equal(seen.history[0].tokens_in, 10);
    assert_int_equal(seen.history[0].tokens_out, 5);
    assert_int_equal(seen.history[0].time_ms, chat->now_ms);
    assert_false(seen.history[0].by_proxy);
    assert_false(seen.history[0].failed);
    assert_int_equal(seen.stats.requests, 1);
    assert_int_equal(seen.stats.tokens_in, 10);
    assert_int_equal(seen.stats.tokens_cached, 2);
    assert_int_equal(seen.stats.failures, 0);
    arena_fini(&arena);
}

static void test_a_commands_answer_is_noted_with_its_command(void **state)
{
    struct chat *chat = *state;
    struct arena arena;
    struct session_view seen;

    chat->header = STR("s1");
    chat_begin(chat, "openai-chat", ASK("!/set(project=p)"));
    assert_int_equal(chat_run(chat), REPLY);
    chat_end(chat);
    chat->call.session_id = STR("s1");
    view(chat, &arena, &seen);
    assert_int_equal(seen.history_n, 1);
    assert_text(seen.history[0].prompt, "!/set(project=p)");
    assert_text(seen.history[0].answer, "Project changed to p");
    assert_text(seen.history[0].project, "p");
    assert_true(seen.history[0].by_proxy);
    assert_false(seen.history[0].failed);
    assert_int_equal(seen.stats.commands, 1);
    assert_int_equal(seen.stats.requests, 0);
    arena_fini(&arena);
}

static void test_a_failure_is_noted_as_one(void **state)
{
    struct chat *chat = *state;
    struct arena arena;
    struct session_view seen;

    chat->header = STR("s1");
    chat_begin(chat, "openai-chat", ASK("hello"));
    assert_int_equal(chat_run(chat), NEXT);
    chat->call.element = &chat->call.plan.elements[0];
    chat_end(chat);
    /* what no backend was asked for is nothing of the session's */
    chat_begin(chat, "openai-chat",
               "{'model':'nobody:m','messages':[{'role':'user','content':'a'}]}");
    assert_int_equal(chat_run(chat), STOP);
    chat_end(chat);
    chat->call.session_id = STR("s1");
    view(chat, &arena, &seen);
    assert_int_equal(seen.history_n, 1);
    assert_true(seen.history[0].failed);
    assert_int_equal(seen.history[0].tokens_in, -1);
    assert_int_equal(seen.stats.failures, 1);
    assert_int_equal(seen.stats.tokens_in, 0);
    arena_fini(&arena);
}

static void push_text(struct chat *chat, const char *text, enum block_kind kind)
{
    struct event events[] = {
        {.kind = EVENT_BLOCK_BEGIN, .begin.kind = kind},
        {.kind = EVENT_TEXT, .text = str_c(text)},
    };
    struct frame frame = {.events = events, .n = COUNT_OF(events)};

    assert_int_equal(pipeline_frame(&chat->call, &frame), PIPELINE_OK);
    assert_false(frame.changed);
}

/* Of long texts the beginning is kept, in whole characters; of other blocks nothing. */
static void test_beginnings(void **state)
{
    static const char long_text[] =
        "0123456789012345678901234567890123456789012345678901234567890123456789";
    static const char wide_text[] =
        "x\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
        "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
        "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4";
    struct chat *chat = *state;
    struct arena arena;
    struct session_view seen;
    char body[512];

    chat->header = STR("s1");
    (void)snprintf(body, sizeof(body),
                   "{'model':'m','messages':[{'role':'user','content':'%s\\n%s'}]}", wide_text,
                   long_text);
    chat_begin(chat, "openai-chat", body);
    assert_int_equal(chat_run(chat), NEXT);
    chat->call.element = &chat->call.plan.elements[0];
    push_text(chat, "{\"media_type\":\"image/png\"}", BLOCK_MEDIA);
    for (size_t i = 0; i < 10; i++)
        push_text(chat, "ab\xe2\x82\xac", BLOCK_TEXT);
    push_text(chat, long_text, BLOCK_TEXT);
    chat_end(chat);
    chat->call.session_id = STR("s1");
    view(chat, &arena, &seen);
    assert_int_equal(seen.history[0].prompt.n, 63);
    assert_memory_equal(seen.history[0].prompt.p, wide_text, 63);
    assert_text(seen.history[0].answer, "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "ab\xe2\x82\xac"
                                        "01234567890123");
    arena_fini(&arena);
}

/* --- without any id --- */

#define S       "{'role':'system','content':'be brief'},"
#define CMD     "{'role':'user','content':'!/set(project=p)'}"
#define REPLIED "{'role':'assistant','content':'Project changed to p'}"
#define BODY(m) "{'model':'m','messages':[" m "]}"

static void test_a_chat_keeps_its_settings_without_any_id(void **state)
{
    struct chat *chat = *state;

    chat_begin(chat, "openai-chat", BODY(S CMD));
    assert_int_equal(chat_run(chat), REPLY);
    chat_end(chat);
    chat_begin(chat, "openai-chat", BODY(S CMD "," REPLIED ",{'role':'user','content':'hi'}"));
    assert_int_equal(chat_run(chat), NEXT);
    assert_text(chat->call.settings->project, "p");
    assert_int_equal(chat->call.session_id.n, 35);
    chat_end(chat);
    /* another client says the same words */
    chat->scope.bytes[0] = 1;
    chat_begin(chat, "openai-chat", BODY(S CMD "," REPLIED ",{'role':'user','content':'hi'}"));
    assert_int_equal(chat_run(chat), NEXT);
    assert_true(str_is_null(chat->call.settings->project));
    chat_end(chat);
    chat->scope.bytes[0] = 0;
    /* the tokens of its beginning are counted: that begins nothing */
    chat_begin(chat, "openai-chat", BODY(S CMD));
    chat->call.intake.operation = OP_COUNT_TOKENS;
    assert_int_equal(chat_run(chat), NEXT);
    assert_text(chat->call.settings->project, "p");
    chat_end(chat);
    /* the same beginning again is another chat */
    chat_begin(chat, "openai-chat",
               BODY(S "{'role':'user','content':'!/set(project=p)'},"
                      "{'role':'user','content':'hi'}"));
    assert_int_equal(chat_run(chat), NEXT);
    assert_true(str_is_null(chat->call.settings->project));
}

static void test_a_given_id_does_not_begin_anew(void **state)
{
    struct chat *chat = *state;

    chat->header = STR("mine");
    assert_int_equal(chat_say(chat, "!/set(project=p)"), REPLY);
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_text(chat->call.settings->project, "p");
    chat->header = STR("other");
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    assert_true(str_is_null(chat->call.settings->project));
}

static void test_without_continuity_each_request_stands_alone(void **unused)
{
    struct chat chat;

    (void)unused;
    chat_open(&chat, "session:\n  continuity: none\n");
    assert_int_equal(chat_say(&chat, "hello"), NEXT);
    assert_text(chat.call.session_id, "0123456789abcdef01234567");
    chat.header = STR("given");
    assert_int_equal(chat_say(&chat, "hello"), NEXT);
    assert_text(chat.call.session_id, "given");
    chat_close(&chat);
}

static void test_counting_tokens_is_not_noted(void **state)
{
    struct chat *chat = *state;
    struct arena arena;
    struct session_view seen;

    chat->header = STR("s1");
    chat_begin(chat, "openai-chat", ASK("hello"));
    chat->call.intake.operation = OP_COUNT_TOKENS;
    assert_int_equal(chat_run(chat), NEXT);
    chat_answer(chat, "7");
    chat_end(chat);
    chat->call.session_id = STR("s1");
    view(chat, &arena, &seen);
    assert_int_equal(seen.history_n, 0);
    assert_int_equal(seen.stats.requests, 0);
    arena_fini(&arena);
}

static void test_whose_a_session_is(void **state)
{
    static const struct client_key key = {.name = STR_INIT("laptop")};
    struct chat *chat = *state;
    struct arena arena;
    struct session_view seen;

    chat->header = STR("s1");
    chat->client = &key;
    assert_int_equal(chat_say(chat, "hello"), NEXT);
    view(chat, &arena, &seen);
    assert_text(seen.client, "laptop");
    arena_fini(&arena);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_exchange_is_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_commands_answer_is_noted_with_its_command, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_failure_is_noted_as_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_beginnings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_chat_keeps_its_settings_without_any_id, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_given_id_does_not_begin_anew, setup, teardown),
        cmocka_unit_test(test_without_continuity_each_request_stands_alone),
        cmocka_unit_test_setup_teardown(test_counting_tokens_is_not_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whose_a_session_is, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
