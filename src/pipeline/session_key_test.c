/* SPDX-License-Identifier: MIT */
/* Which session a request belongs to: the sources of ids in their order, and fingerprints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline/session_key.h"

enum { ARENA_MAX = 8 * 1024 * 1024, DEPTH_MAX = 64 };

#define UUID_A "0f8fad5b-d9cb-469f-a165-70867728950e"
#define UUID_B "7c9e6679-7425-40de-944b-e07fc1f90ae7"

struct fixture {
    struct arena arena;
    struct intake intake;
    struct request request;
};

static void open_body(struct fixture *f, const char *protocol, struct str body)
{
    const struct request_limits limits = {.depth_max = DEPTH_MAX, .rest = STR("m:generateContent")};
    struct error e = {.code = OK};

    arena_init(&f->arena, ARENA_MAX, 1024, NULL);
    f->intake.protocol = protocol_find(str_c(protocol));
    assert_non_null(f->intake.protocol);
    if (f->intake.protocol->request_decode(body, &limits, &f->arena, &f->request, &e) != OK)
        fail_msg("%s: %s", protocol, e.detail);
}

static void close_body(struct fixture *f)
{
    arena_fini(&f->arena);
}

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static void test_the_first_source_that_says_something_counts(void **unused)
{
    static const struct {
        const char *body;
        const char *header, *cookie, *agent, *previous;
        const char *id; /* NULL: nothing */
    } rows[] = {
        {"{" MESSAGES ",\"session_id\":\"b\"}", "h", "c", "a", "p", "h"},
        {"{" MESSAGES ",\"session_id\":\"b\"}", NULL, "c", "a", "p", "b"},
        {"{" MESSAGES ",\"session_id\":\"\"}", NULL, "c", "a", "p", "c"},
        {"{" MESSAGES "}", NULL, "c", "a", "p", "c"},
        {"{" MESSAGES "}", "", "", "a", "p", "a"},
        {"{" MESSAGES ",\"prompt_cache_key\":\"" UUID_A "\"}", NULL, NULL, NULL, "p", UUID_A},
        {"{" MESSAGES ",\"prompt_cache_key\":\"my key\"}", NULL, NULL, NULL, "p", "p"},
        {"{" MESSAGES ",\"prompt_cache_key\":7}", NULL, NULL, NULL, NULL, NULL},
        {"{" MESSAGES ",\"metadata\":{\"user_id\":\"" UUID_A "\"}}", NULL, NULL, NULL, NULL, NULL},
        {"{" MESSAGES "}", NULL, NULL, NULL, NULL, NULL},
        /* what is no legal id becomes its digest, whatever it came in */
        {"{" MESSAGES "}", "a b", NULL, NULL, NULL, "*"},
        {"{" MESSAGES ",\"session_id\":\"\\u00e4\"}", NULL, NULL, NULL, NULL, "*"},
    };

    (void)unused;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture f = {
            .intake.session_header = str_c(rows[i].header),
            .intake.session_cookie = str_c(rows[i].cookie),
            .intake.session_agent = str_c(rows[i].agent),
            .intake.session_previous = str_c(rows[i].previous),
        };
        struct session_key_room room;
        open_body(&f, "openai-chat", str_c(rows[i].body));
        struct str id = session_key_given(&f.intake, &f.request, &room);
        if (rows[i].id == NULL)
            assert_true(str_is_null(id));
        else if (str_eq(str_c(rows[i].id), STR("*")))
            assert_int_equal(id.n, 32);
        else if (!str_eq(id, str_c(rows[i].id)))
            fail_msg("row %zu: %.*s", i, STR_ARG(id));
        close_body(&f);
    }
}

static void test_anthropics_user_id_holds_the_sessions_uuid(void **unused)
{
    static const struct {
        const char *user_id;
        const char *id;
    } rows[] = {
        {"\"user_00aa_account_" UUID_A "_session_" UUID_B "\"", UUID_B},
        {"\"user_00aa_account__session_" UUID_B "\"", UUID_B},
        {"\"{\\\"device_id\\\":\\\"0f\\\",\\\"account_uuid\\\":\\\"" UUID_A
         "\\\",\\\"session_id\\\":\\\"" UUID_B "\\\"}\"",
         UUID_B},
        {"\"" UUID_A "\"", UUID_A},
        {"\"0" UUID_A "\"", NULL}, /* a longer number is none */
        {"\"" UUID_A "f\"", NULL},
        {"\"0f8fad5b-d9cb-469f-a165-70867728950\"", NULL},
        {"\"0f8fad5bxd9cb-469f-a165-70867728950e\"", NULL},
        {"\"someone\"", NULL},
        {"\"\"", NULL},
        {"null", NULL},
    };

    (void)unused;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture f = {.intake.session_header = STR_NULL};
        struct session_key_room room;
        char body[512];
        (void)snprintf(body, sizeof(body),
                       "{\"model\":\"m\",\"max_tokens\":1," MESSAGES
                       ",\"metadata\":{\"user_id\":%s}}",
                       rows[i].user_id);
        open_body(&f, "anthropic", str_c(body));
        struct str id = session_key_given(&f.intake, &f.request, &room);
        if (!str_eq(id, str_c(rows[i].id)))
            fail_msg("row %zu: %.*s", i, STR_ARG(id));
        close_body(&f);
    }
}

static void test_ids_of_128_legal_bytes_stay(void **unused)
{
    struct session_key_room room;
    struct session_key_room other;
    char id[130];

    (void)unused;
    memset(id, 'x', sizeof(id));
    assert_int_equal(session_key_legal(str_of(id, 128), &room).n, 128);
    struct str long_id = session_key_legal(str_of(id, 129), &room);
    assert_int_equal(long_id.n, 32);
    /* the same one always, another one for another id */
    assert_true(str_eq(long_id, session_key_legal(str_of(id, 129), &other)));
    assert_false(str_eq(long_id, session_key_legal(str_of(id, 130), &other)));
    assert_true(str_eq(session_key_legal(STR("aZ0._:-"), &room), STR("aZ0._:-")));
    for (int c = 0; c < 256; c++) {
        char one = (char)c;
        bool legal = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '_' || c == ':' || c == '-';
        assert_int_equal(session_key_legal(str_of(&one, 1), &room).n, legal ? 1 : 32);
    }
}

/* --- fingerprints --- */

struct seen {
    char id[SESSION_ID_MAX + 1];
    bool assistant;
};

static struct seen look(const char *protocol, struct str body, unsigned char scope)
{
    struct fixture f = {.intake.scope.bytes = {scope}};
    struct session_key_room room;
    struct seen seen = {.id = ""};

    open_body(&f, protocol, body);
    struct session_key_print print = session_key_print(&f.intake, &f.request, &room);
    if (print.id.n > 0)
        memcpy(seen.id, print.id.p, print.id.n);
    seen.assistant = print.has_assistant;
    close_body(&f);
    return seen;
}

static struct seen print_of(const char *protocol, const char *body)
{
    return look(protocol, str_c(body), 1);
}

#define CHAT(messages) "{\"model\":\"m\",\"messages\":[" messages "]}"
#define SYSTEM         "{\"role\":\"system\",\"content\":\"s\"},"
#define USER           "{\"role\":\"user\",\"content\":\"hello\"}"

static void test_a_growing_conversation_keeps_its_fingerprint(void **unused)
{
    static const char *const turns[] = {
        CHAT(SYSTEM USER),
        CHAT(SYSTEM USER ",{\"role\":\"assistant\",\"content\":\"a\"}"),
        CHAT(SYSTEM USER ",{\"role\":\"assistant\",\"content\":\"a\"},"
                         "{\"role\":\"user\",\"content\":\"more\"}"),
        /* the same words as parts, and what moves along with the newest message */
        CHAT(SYSTEM "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hello\","
                    "\"cache_control\":{\"type\":\"ephemeral\"}}]},"
                    "{\"role\":\"assistant\",\"content\":\"a\"}"),
    };
    struct seen first = print_of("openai-chat", turns[0]);

    (void)unused;
    assert_int_equal(strlen(first.id), 35);
    assert_memory_equal(first.id, "fp-", 3);
    assert_false(first.assistant);
    for (size_t i = 1; i < COUNT_OF(turns); i++) {
        struct seen seen = print_of("openai-chat", turns[i]);
        assert_string_equal(seen.id, first.id);
        assert_true(seen.assistant);
    }
}

static void test_other_conversations_have_other_fingerprints(void **unused)
{
    static const char *const others[] = {
        CHAT(SYSTEM USER),
        CHAT(USER),
        CHAT("{\"role\":\"system\",\"content\":\"t\"}," USER),
        CHAT(SYSTEM "{\"role\":\"user\",\"content\":\"hellp\"}"),
        /* what the system says is not what the user says */
        CHAT("{\"role\":\"system\",\"content\":\"hello\"},{\"role\":\"user\",\"content\":\"s\"}"),
        CHAT("{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":"
             "\"data:image/png;base64,AAAA\"}}]}"),
    };
    char ids[COUNT_OF(others)][SESSION_ID_MAX + 1];

    (void)unused;
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        struct seen seen = print_of("openai-chat", others[i]);
        memcpy(ids[i], seen.id, sizeof(ids[i]));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(ids[i], ids[k]);
    }
    assert_string_not_equal(look("openai-chat", str_c(others[0]), 2).id, ids[0]); /* a client */
    assert_string_equal(print_of("openai-chat", CHAT("")).id, "");
    assert_string_equal(print_of("openai-chat", CHAT("{\"role\":\"system\",\"content\":\"s\"}")).id,
                        "");
}

static void test_all_protocols_have_fingerprints(void **unused)
{
    static const struct {
        const char *protocol;
        const char *first;
        const char *later;
    } rows[] = {
        {"anthropic",
         "{\"model\":\"m\",\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":\"s\"}],"
         "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}",
         "{\"model\":\"m\",\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":\"s\","
         "\"cache_control\":{\"type\":\"ephemeral\"}}],"
         "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hello\"}]},"
         "{\"role\":\"assistant\",\"content\":\"a\"}]}"},
        {"openai-responses", "{\"model\":\"m\",\"instructions\":\"s\",\"input\":\"hello\"}",
         "{\"model\":\"m\",\"instructions\":\"s\",\"input\":["
         "{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"hello\"}]},"
         "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}]}"},
        {"gemini",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"contents\":[{\"role\":\"user\","
         "\"parts\":[{\"text\":\"hello\"}]}]}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"contents\":[{\"role\":\"user\","
         "\"parts\":[{\"text\":\"hello\"}]},{\"role\":\"model\",\"parts\":[{\"text\":\"a\"}]}]}"},
    };

    (void)unused;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct seen first = print_of(rows[i].protocol, rows[i].first);
        struct seen later = print_of(rows[i].protocol, rows[i].later);
        assert_int_equal(strlen(first.id), 35);
        assert_string_equal(first.id, later.id);
        assert_false(first.assistant);
        assert_true(later.assistant);
    }
}

/* Only the beginning of long texts counts, and all of that beginning does. */
static void test_the_first_4096_bytes_count(void **unused)
{
    static char body[3 * SESSION_KEY_TEXT_MAX];
    static const char head[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"";
    const size_t begin = sizeof(head) - 1;
    const size_t text = SESSION_KEY_TEXT_MAX + 100;

    (void)unused;
    memcpy(body, head, begin);
    memset(body + begin, 'x', text);
    memcpy(body + begin + text, "\"}]}", 4);
    struct str whole = str_of(body, begin + text + 4);
    struct seen same = look("openai-chat", whole, 1);
    body[begin + SESSION_KEY_TEXT_MAX] = 'y';
    assert_string_equal(look("openai-chat", whole, 1).id, same.id);
    body[begin + SESSION_KEY_TEXT_MAX - 1] = 'y';
    assert_string_not_equal(look("openai-chat", whole, 1).id, same.id);
}

/* What a client tells the model ahead of its user's words does not hide them. */
static void test_words_behind_a_long_text_count(void **unused)
{
    static char body[3 * SESSION_KEY_TEXT_MAX];
    static const char head[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":["
                               "{\"type\":\"text\",\"text\":\"";
    static const char tail[] = "\"},{\"type\":\"text\",\"text\":\"words\"}]}]}";
    const size_t begin = sizeof(head) - 1;
    const size_t text = SESSION_KEY_TEXT_MAX + 100;

    (void)unused;
    memcpy(body, head, begin);
    memset(body + begin, 'x', text);
    memcpy(body + begin + text, tail, sizeof(tail) - 1);
    struct str whole = str_of(body, begin + text + sizeof(tail) - 1);
    struct seen same = look("openai-chat", whole, 1);
    body[whole.n - 7] = 'S';
    assert_string_not_equal(look("openai-chat", whole, 1).id, same.id);
    body[whole.n - 7] = 's';
    body[begin + SESSION_KEY_TEXT_MAX / 2 - 1] = 'y';
    assert_string_not_equal(look("openai-chat", whole, 1).id, same.id);
    body[begin + SESSION_KEY_TEXT_MAX / 2 - 1] = 'x';
    body[begin + SESSION_KEY_TEXT_MAX / 2] = 'y';
    assert_string_equal(look("openai-chat", whole, 1).id, same.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_source_that_says_something_counts),
        cmocka_unit_test(test_anthropics_user_id_holds_the_sessions_uuid),
        cmocka_unit_test(test_ids_of_128_legal_bytes_stay),
        cmocka_unit_test(test_a_growing_conversation_keeps_its_fingerprint),
        cmocka_unit_test(test_other_conversations_have_other_fingerprints),
        cmocka_unit_test(test_all_protocols_have_fingerprints),
        cmocka_unit_test(test_the_first_4096_bytes_count),
        cmocka_unit_test(test_words_behind_a_long_text_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
