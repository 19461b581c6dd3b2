/* SPDX-License-Identifier: MIT */
/* Complete responses as streams: each event, in its order, told from any number on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_responses_for_test.h"

enum { MEMORY = 4 * 1024 * 1024 };

static struct str replay(struct arena *arena, const char *response, int64_t after)
{
    struct buf out;

    buf_init(&out, MEMORY);
    responses()->replay(str_c(response), after, arena, &out);
    assert_true(buf_ok(&out));
    struct str text = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return text;
}

static void expect_legal(struct arena *arena, struct str stream)
{
    const struct protocol *p = responses();
    void *lint = arena_zalloc(arena, p->lint_size);
    struct error e;

    p->lint_init(lint, &(struct lint_options){.stream = true, .arena = arena});
    if (p->lint_bytes(lint, stream, true, &e) != OK)
        fail_msg("%s\n%.*s", e.detail, STR_ARG(stream));
    p->lint_fini(lint);
}

#define ECHOES                                                                     \
    "\"model\":\"m\",\"instructions\":null,\"tools\":[],\"tool_choice\":\"auto\"," \
    "\"parallel_tool_calls\":true,\"temperature\":1,\"top_p\":1,\"metadata\":{}"

/* Catches: an id, a text or a member that is another one than was kept. */
static void test_every_event(void **state)
{
    static const char response[] =
        "{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":7,\"status\":\"completed\","
        "\"error\":null,\"incomplete_details\":null," ECHOES ",\"output\":[{\"id\":\"msg_1\","
        "\"type\":\"message\",\"role\":\"assistant\",\"status\":\"completed\","
        "\"content\":[{\"type\":\"output_text\",\"text\":\"hi\",\"annotations\":[]}]}],"
        "\"usage\":{\"input_tokens\":1,"
        "\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":2,"
        "\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":3}}";
    static const char begun[] =
        "\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":7,\"status\":"
        "\"in_progress\",\"error\":null,\"incomplete_details\":null," ECHOES ",\"output\":[],"
        "\"usage\":null}}\n\n";
    static const char place[] = "\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,";
    struct arena arena;

    (void)state;
    arena_init(&arena, MEMORY, 4096, NULL);
    struct str want = str_print(
        &arena,
        "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,%s"
        "event: response.in_progress\ndata: {\"type\":\"response.in_progress\","
        "\"sequence_number\":1,%s"
        "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\","
        "\"sequence_number\":2,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\","
        "\"role\":\"assistant\",\"status\":\"in_progress\",\"content\":[]}}\n\n"
        "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\","
        "\"sequence_number\":3,%s\"part\":{\"type\":\"output_text\",\"text\":\"\","
        "\"annotations\":[]}}\n\n"
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\","
        "\"sequence_number\":4,%s\"delta\":\"hi\",\"logprobs\":[]}\n\n"
        "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\","
        "\"sequence_number\":5,%s\"text\":\"hi\",\"logprobs\":[]}\n\n"
        "event: response.content_part.done\ndata: {\"type\":\"response.content_part.done\","
        "\"sequence_number\":6,%s\"part\":{\"type\":\"output_text\",\"text\":\"hi\","
        "\"annotations\":[]}}\n\n"
        "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\","
        "\"sequence_number\":7,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\","
        "\"role\":\"assistant\",\"status\":\"completed\",\"content\":[{\"type\":\"output_text\","
        "\"text\":\"hi\",\"annotations\":[]}]}}\n\n"
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":8,"
        "\"response\":%s}\n\n",
        begun, begun, place, place, place, place, response);
    struct str got = replay(&arena, response, -1);
    if (!str_eq(got, want))
        fail_msg("\n--- got\n%.*s\n--- want\n%.*s", STR_ARG(got), STR_ARG(want));
    expect_legal(&arena, got);
    /* From any number on: the rest of it. */
    for (int64_t after = 0; after <= 9; after++) {
        struct str rest = want;
        for (int64_t i = 0; i <= after && rest.n > 0; i++)
            rest = str_from(rest, str_find(rest, STR("\n\n"), 0) + 2);
        assert_true(str_eq(replay(&arena, response, after), rest));
    }
    arena_fini(&arena);
}

#define WITH(status, details, output)                                                     \
    "{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":7,\"status\":\"" status    \
    "\",\"error\":null,\"incomplete_details\":" details "," ECHOES ",\"output\":[" output \
    "],\n\t\"usage\":{\"input_tokens\":1,\"input_tokens_details\":"                       \
    "{\"cached_tokens\":0},\"output_tokens\":2,\"output_tokens_details\":"                \
    "{\"reasoning_tokens\":0},\"total_tokens\":3}}"

/* Catches: a kind of item that is told in a wrong order, or not at all. */
static void test_every_kind(void **state)
{
    static const struct {
        const char *response;
        const char *said[6];
    } rows[] = {
        {WITH("completed", "null", ""), {"response.completed"}},
        {WITH("incomplete", "{\"reason\":\"max_output_tokens\"}", ""),
         {"response.incomplete", "max_output_tokens"}},
        {WITH("completed", "null",
              "{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\","
              "\"text\":\"hm\"},{\"type\":\"summary_text\",\"text\":\"\"}],\"encrypted_content\":"
              "\"x\"},{\"id\":\"rs_2\",\"type\":\"reasoning\",\"summary\":[],\"content\":[{"
              "\"type\":\"reasoning_text\",\"text\":\"so\"}]}"),
         {"reasoning_summary_part.added", "\"delta\":\"hm\"", "\"text\":\"hm\"",
          "\"summary_index\":1", "response.reasoning_text.delta", "\"delta\":\"so\""}},
        {WITH("completed", "null",
              "{\"id\":\"fc_1\",\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\","
              "\"arguments\":\"{\\\"a\\\":1}\",\"status\":\"completed\"},{\"id\":\"ctc_1\","
              "\"type\":\"custom_tool_call\",\"call_id\":\"d\",\"name\":\"g\",\"input\":\"ls\","
              "\"status\":\"completed\"}"),
         {"response.function_call_arguments.delta", "\"delta\":\"{\\\"a\\\":1}\"",
          "\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"", "\"output_index\":1",
          "response.custom_tool_call_input.done", "\"delta\":\"ls\""}},
        {WITH(
             "completed", "null",
             "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"status\":"
             "\"completed\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"},{\"type\":"
             "\"output_text\",\"text\":\"a\",\"annotations\":[{\"type\":\"url_citation\",\"url\":"
             "\"http://a\",\"title\":\"t\",\"start_index\":0,\"end_index\":1}],\"logprobs\":[]}]}"),
         {"response.refusal.delta", "\"refusal\":\"no\"", "\"content_index\":1",
          "response.output_text.annotation.added", "\"annotation_index\":0", "http://a"}},
    };
    struct arena arena;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        arena_init(&arena, MEMORY, 4096, NULL);
        struct str got = replay(&arena, rows[i].response, -1);
        expect_legal(&arena, got);
        for (size_t j = 0; j < COUNT_OF(rows[i].said) && rows[i].said[j] != NULL; j++) {
            if (str_find(got, str_c(rows[i].said[j]), 0) == SIZE_MAX)
                fail_msg("no %s in\n%.*s", rows[i].said[j], STR_ARG(got));
        }
        arena_fini(&arena);
    }
}

/* Catches: writing on where there is no room, at every place. */
static void test_no_room(void **state)
{
    static const char response[] =
        WITH("completed", "null",
             "{\"id\":\"fc_1\",\"type\":\"function_call\",\"call_id\":\"c\",\"name\":"
             "\"f\",\"arguments\":\"{}\",\"status\":\"completed\"}");
    struct arena arena;
    struct buf out;

    (void)state;
    arena_init(&arena, MEMORY, 4096, NULL);
    struct str whole = replay(&arena, response, -1);
    for (size_t room = 1; room < whole.n; room++) {
        buf_init(&out, room);
        responses()->replay(str_c(response), -1, &arena, &out);
        assert_false(buf_ok(&out));
        buf_fini(&out);
    }
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_event),
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
