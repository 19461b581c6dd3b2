/* SPDX-License-Identifier: MIT */
/* Opaque exchanges from socket to socket: both ways cut at every byte, streamed, and broken off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/exchange_answers_priv.h"

#define ASK                                                                         \
    "POST /v1/embeddings?x=1 HTTP/1.1\r\nHost: localhost\r\nX-Session-Id: s\r\n"    \
    "Authorization: Bearer test-client-key-1\r\nContent-Type: application/json\r\n" \
    "Content-Length: 35\r\n\r\n{\"model\":\"openai:e-1\",\"input\":\"ab\"}"

#define SENT "{\"model\":\"e-1\",\"input\":\"ab\"}"

static const char answered[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n"
                               "5\r\n{\"a\":\r\n15\r\n1,\"usage\":{\"prompt_to\r\n"
                               "a\r\nkens\":7}} \r\n0\r\n\r\n";

static struct str upstreams_body(const struct fixture *f)
{
    struct str got = buf_str(&f->upstream.got);
    size_t head = str_find(got, STR("\r\n\r\n"), 0);

    return head == SIZE_MAX ? STR_NULL : str_from(got, head + 4);
}

/* The request in two pieces, cut behind each byte. */
static void test_request_cut(void **state)
{
    const struct str ask = STR(ASK);

    (void)state;
    for (size_t at = 1; at < ask.n; at += 3) {
        struct fixture f;
        setup(&f);
        connect_client(&f);
        send_text(&f.client, ask.p, at);
        loop_test_run(f.loop);
        assert_true(f.upstream.got.n == 0);
        send_text(&f.client, ask.p + at, ask.n - at);
        loop_test_run(f.loop);
        assert_true(str_eq(upstreams_body(&f), STR(SENT)));
        assert_true(has(&f.upstream, "POST /v1/embeddings?x=1 HTTP/1.1\r\n"));
        assert_true(has(&f.upstream, "content-length: 28\r\n"));
        teardown(&f);
    }
}

/* The answer in two pieces: what came goes down at once. */
static void test_answer_cut(void **state)
{
    const struct str all = str_of(answered, sizeof(answered) - 1);

    (void)state;
    for (size_t at = 1; at < all.n; at++) {
        struct fixture f;
        bool complete = false;
        setup(&f);
        connect_client(&f);
        send_text(&f.client, ASK, sizeof(ASK) - 1);
        loop_test_run(f.loop);
        send_text(&f.upstream, all.p, at);
        loop_test_run(f.loop);
        size_t head = str_find(all, STR("\r\n\r\n"), 0) + 4;
        assert_int_equal(f.client.got.n > 0, at >= head);
        send_text(&f.upstream, all.p + at, all.n - at);
        loop_test_run(f.loop);
        struct str body = body_of(&f.arena, buf_str(&f.client.got), &complete);
        assert_true(complete);
        assert_true(str_eq(body, STR("{\"a\":1,\"usage\":{\"prompt_tokens\":7}} ")));
        teardown(&f);
    }
}

/* The upstream breaks off behind each byte: before the head an error of ours, behind it no end. */
static void test_answer_broken(void **state)
{
    const struct str all = str_of(answered, sizeof(answered) - 1);
    size_t head = str_find(all, STR("\r\n\r\n"), 0) + 4;

    (void)state;
    for (size_t at = 0; at < all.n; at++) {
        struct fixture f;
        bool complete = true;
        setup(&f);
        connect_client(&f);
        send_text(&f.client, ASK, sizeof(ASK) - 1);
        loop_test_run(f.loop);
        send_text(&f.upstream, all.p, at);
        loop_test_run(f.loop);
        conn_close(&f.upstream.conn);
        loop_test_run(f.loop);
        if (at < head) {
            assert_true(has(&f.client, "HTTP/1.1 502 "));
        } else {
            assert_true(has(&f.client, "HTTP/1.1 200 "));
            (void)body_of(&f.arena, buf_str(&f.client.got), &complete);
            assert_false(complete);
            assert_true(f.client.eof);
        }
        teardown(&f);
    }
}

static void small_peek(struct config *config)
{
    config->opaque_peek_bytes = 1024;
}

/* More than is kept: it goes on as it comes; in chunks, as something in it was changed. */
static void test_streams(void **state)
{
    static char block[5000];
    struct fixture f;

    (void)state;
    memset(block, ' ', sizeof(block));
    setup_with(&f, small_peek);
    connect_client(&f);
    const char head[] = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
                        "Authorization: Bearer test-client-key-1\r\n"
                        "Content-Length: 15023\r\n\r\n{\"model\":\"openai:e-1\", ";
    send_text(&f.client, head, sizeof(head) - 1);
    loop_test_run(f.loop);
    assert_true(f.upstream.got.n == 0);
    for (int i = 0; i < 3; i++) {
        send_text(&f.client, block, sizeof(block));
        loop_test_run(f.loop);
        assert_true(upstreams_body(&f).n >= sizeof(block) * (size_t)(i + 1));
    }
    assert_true(has(&f.upstream, "transfer-encoding: chunked\r\n"));
    assert_true(has(&f.upstream, "{\"model\":\"e-1\", "));
    send_text(&f.upstream, answered, sizeof(answered) - 1);
    loop_test_run(f.loop);
    assert_true(has(&f.client, "HTTP/1.1 200 "));
    teardown(&f);
}

/* Who leaves in the midst of it takes the upstream along. */
static void test_client_leaves(void **state)
{
    struct fixture f;

    (void)state;
    setup_with(&f, small_peek);
    connect_client(&f);
    const char head[] = "POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
                        "Authorization: Bearer test-client-key-1\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n800\r\n";
    static char block[2048];
    memset(block, 'x', sizeof(block));
    send_text(&f.client, head, sizeof(head) - 1);
    send_text(&f.client, block, sizeof(block));
    loop_test_run(f.loop);
    assert_true(f.upstream.got.n > sizeof(block));
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(f.upstream.eof || f.upstream.failed);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_cut),   cmocka_unit_test(test_answer_cut),
        cmocka_unit_test(test_answer_broken), cmocka_unit_test(test_streams),
        cmocka_unit_test(test_client_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
