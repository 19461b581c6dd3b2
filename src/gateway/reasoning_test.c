/* SPDX-License-Identifier: MIT */
/*
 * The way up, with the protocols' own readers and writers. The way down, and both with clients and
 * backends: tests/e2e/reasoning.test.mjs.
 *
 * In bodies @v stands for a signature sealed for the vendor v, @w for another's, @e for the
 * vendor's own without anything in it.
 */
#include "gateway/reasoning.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "canon/call_digest.h"
#include "canon/recall.h"
#include "state/vault.h"

static const struct seal seal = {.key = {{9}}};

struct row {
    const char *protocol;
    const char *body;
    const char *wire; /* NULL: as it is */
};

static const struct row rows[] = {
    /* Anthropic: blocks; a message of nothing else goes. */
    {"anthropic",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"x\","
     "\"signature\":\"@w\"}, {\"type\":\"redacted_thinking\",\"data\":\"@v\"},"
     "{\"type\":\"text\",\"text\":\"b\"}]}]}",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"redacted_thinking\",\"data\":\"payload\"},"
     "{\"type\":\"text\",\"text\":\"b\"}]}]}"},
    {"anthropic",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"x\","
     "\"signature\":\"@e\"}]},{\"role\":\"user\",\"content\":\"c\"}]}",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"user\",\"content\":\"c\"}]}"},
    {"anthropic",
     "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"@v\"}]}",
     NULL},
    /* Responses: items. */
    {"openai-responses",
     "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":\"@w\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_2\",\"summary\":[],\"encrypted_content\":\"@v\"},"
     "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_3\",\"summary\":[],\"encrypted_content\":\"@e\"}]}",
     "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_2\",\"summary\":[],\"encrypted_content\":\"payload\"},"
     "{\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"}]}"},
    {"openai-responses",
     "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":\"@w\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_2\",\"summary\":[],\"encrypted_content\":\"@w\"},"
     "{\"type\":\"reasoning\",\"id\":\"rs_3\",\"summary\":[],\"encrypted_content\":\"@e\"},"
     "{\"role\":\"user\",\"content\":\"b\"}]}",
     "{\"model\":\"m\",\"input\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"role\":\"user\",\"content\":\"b\"}]}"},
    /* Gemini: parts; of calls the word that stands for a signature. */
    {"gemini",
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\","
     "\"parts\":[{\"text\":\"x\",\"thought\":true,\"thoughtSignature\":\"@w\"},"
     "{\"text\":\"b\",\"thoughtSignature\":\"@w\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}},"
     "\"thoughtSignature\":\"@w\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}},"
     "\"thoughtSignature\":\"@v\"}]}]}",
     "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"a\"}]},{\"role\":\"model\","
     "\"parts\":[{\"text\":\"b\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}},"
     "\"thoughtSignature\":\"skip_thought_signature_validator\"},"
     "{\"functionCall\":{\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"payload\"}]}]}"},
};

static struct str seal_all(const char *text, struct arena *arena)
{
    struct buf out;
    struct str rest = str_c(text);

    buf_init(&out, 64 * 1024);
    for (; rest.n > 0; rest = str_from(rest, 1)) {
        if (rest.p[0] != '@') {
            buf_add_char(&out, rest.p[0]);
            continue;
        }
        rest = str_from(rest, 1);
        struct str vendor = rest.p[0] == 'w' ? STR("w") : STR("v");
        struct str payload = rest.p[0] == 'e' ? STR("") : STR("payload");
        buf_add(&out, seal_pack(&seal, vendor, STR("m"), payload, arena));
    }
    struct str all = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return all;
}

static const struct request_limits limits = {.depth_max = 32,
                                             .operation = OP_GENERATE,
                                             .rest = STR_INIT("m:generateContent")};

static struct reasoning_way way_of(const char *protocol, struct vault *vault)
{
    return (struct reasoning_way){
        .seal = &seal,
        .vault = vault,
        .client = STR("client:v"),
        .vendor = STR("v"),
        .protocol = protocol_find(str_c(protocol)),
        .upstream = protocol,
        .same = true,
    };
}

static void up(struct reasoning_way *way, struct request *request, struct arena *arena,
               struct request *ret_told)
{
    struct error e;

    assert_int_equal(reasoning_read(way, request, &limits, arena, &e), OK);
    assert_int_equal(reasoning_up(way, request, arena, ret_told, &e), OK);
}

/* The bytes for the upstream. */
static struct str send(struct reasoning_way *way, struct str body, struct arena *arena)
{
    static const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    const struct encode_request how = {.dialect = &dialect, .same_protocol = true};
    struct request request;
    struct request told;
    struct wire wire;
    struct error e;
    struct buf out;

    if (way->protocol->request_decode(body, &limits, arena, &request, &e) != OK)
        fail_msg("%s", e.detail);
    up(way, &request, arena, &told);
    assert_int_equal(way->protocol->request_encode(&told, &how, arena, &wire, &e), OK);
    buf_init(&out, 64 * 1024);
    for (size_t i = 0; i < wire.body_n; i++)
        buf_add(&out, wire.body[i]);
    struct str sent = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    /* Another attempt begins with what the client said. */
    assert_int_equal(request.edits.n, 0);
    return sent;
}

static void test_same_protocol(void **state)
{
    struct vault *vault = vault_new(64 * 1024, 100);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct reasoning_way way = way_of(rows[i].protocol, vault);
        struct arena arena;
        arena_init(&arena, 1024 * 1024, 4096, NULL);
        struct str body = seal_all(rows[i].body, &arena);
        struct str wanted = rows[i].wire == NULL ? body : str_c(rows[i].wire);
        for (int round = 0; round < 2; round++) {
            struct str sent = send(&way, body, &arena);
            if (!str_eq(sent, wanted))
                fail_msg("%s:\n%.*s\ninstead of\n%.*s", rows[i].body, STR_ARG(sent),
                         STR_ARG(wanted));
        }
        arena_fini(&arena);
    }
    vault_free(&vault);
}

/* What was taken out of the request holds no reasoning any more: catches edits of one span made
 * twice. */
static void test_same_protocol_edited(void **state)
{
    static const struct dialect dialect = {.usage = DIALECT_USAGE_PLAIN};
    const struct encode_request how = {.dialect = &dialect, .same_protocol = true};
    struct vault *vault = vault_new(64 * 1024, 100);

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct reasoning_way way = way_of(rows[i].protocol, vault);
        struct outline_cursor cursor = {.step = 0};
        struct outline_turn turn;
        struct request request;
        struct request told;
        struct arena arena;
        struct wire wire;
        struct error e;
        arena_init(&arena, 1024 * 1024, 4096, NULL);
        struct str body = seal_all(rows[i].body, &arena);
        assert_int_equal(way.protocol->request_decode(body, &limits, &arena, &request, &e), OK);
        while (way.protocol->outline_next(&request, &cursor, &turn)) {
            if (!str_is_null(turn.source))
                json_edit_element(&request.edits, &arena, request.source, turn.source);
        }
        for (int round = 0; round < 2; round++) {
            up(&way, &request, &arena, &told);
            assert_int_equal(way.protocol->request_encode(&told, &how, &arena, &wire, &e), OK);
            for (size_t k = 0; k < wire.body_n; k++)
                assert_true(str_find(wire.body[k], STR("role"), 0) == SIZE_MAX);
        }
        arena_fini(&arena);
    }
    vault_free(&vault);
}

/* Chat Completions have no place for a seal: what looks like one is not looked for. */
static void test_chat(void **state)
{
    struct vault *vault = vault_new(64 * 1024, 100);
    struct reasoning_way way = way_of("openai-chat", vault);
    struct arena arena;

    (void)state;
    arena_init(&arena, 1024 * 1024, 4096, NULL);
    struct str body = seal_all("{\"model\":\"m\",\"messages\":[{\"role\":\"assistant\",\"content\":"
                               "\"a\",\"reasoning_content\":\"@w\"}]}",
                               &arena);
    assert_true(str_eq(send(&way, body, &arena), body));
    arena_fini(&arena);
    vault_free(&vault);
}

/* The key of a call f({}) after a question. */
static struct str call_key(struct str asked, struct str id, char to[RECALL_KEY_MAX])
{
    struct part text = {.kind = PART_TEXT, .text = asked};
    struct turn user = {.role = ROLE_USER, .parts = &text};
    const struct request request = {.full = true, .turns = &user};

    return recall_call_key(recall_asked(&request), id, call_digest_of(STR("f"), STR("{}")), to);
}

static struct str kept_of(struct arena *arena)
{
    return str_print(arena, "V1:v0:0:R0:2:hm3:sigC2:c116:%016llx0:",
                     (unsigned long long)call_digest_of(STR("f"), STR("{}")));
}

/* Written anew: opened, and completed from the vault. */
static void test_other_protocol(void **state)
{
    static const char body[] =
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
        "\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"{}\"}}]}]}";
    struct vault *vault = vault_new(64 * 1024, 100);
    struct reasoning_way way = way_of("openai-chat", vault);
    struct request request;
    struct request told;
    char key[RECALL_KEY_MAX];
    struct arena arena;
    struct error e;

    (void)state;
    way.same = false;
    arena_init(&arena, 1024 * 1024, 4096, NULL);
    vault_put(vault, STR("client:v"), call_key(STR("a"), STR("c1"), key), kept_of(&arena), 0);
    assert_int_equal(way.protocol->request_decode(str_c(body), &limits, &arena, &request, &e), OK);
    assert_int_equal(way.protocol->request_decode_full(&request, &limits, &arena, &e), OK);
    up(&way, &request, &arena, &told);
    const struct part *part = told.turns->next->parts;
    assert_int_equal(part->kind, PART_REASONING);
    assert_true(str_eq(part->signature, STR("sig")));
    assert_int_equal(part->next->kind, PART_TOOL_CALL);
    assert_int_equal(request.turns->next->parts->kind, PART_TOOL_CALL);
    /* Another client's, or too old. */
    way.client = STR("other:v");
    up(&way, &request, &arena, &told);
    assert_int_equal(told.turns->next->parts->kind, PART_TOOL_CALL);
    way.client = STR("client:v");
    way.now_s = 100;
    up(&way, &request, &arena, &told);
    assert_int_equal(told.turns->next->parts->kind, PART_TOOL_CALL);
    arena_fini(&arena);
    vault_free(&vault);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_protocol),
        cmocka_unit_test(test_same_protocol_edited),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_other_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
