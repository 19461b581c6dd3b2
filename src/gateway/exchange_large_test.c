/* SPDX-License-Identifier: MIT */
/*
 * Bodies over a mebibyte, memory that runs out, and streams that say an error in their middle.
 */
#include "gateway/exchange_probe_priv.h"

/* --- an error inside a stream --- */

#define ERROR_FRAME "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n"

static void send_str(struct end *end, struct str text)
{
    (void)conn_write(end->conn, &text, 1);
}

/* Answers with an error in the middle and more behind it, in reads of n bytes. */
static void run_error_in_stream(size_t n)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" CHUNK(
        "{\"role\":\"assistant\",\"content\":\"so far\"}", "null")
        ERROR_FRAME CHUNK("{\"content\":\" and on\"}", "null") "data: [DONE]\n\n";
    struct str rest = str_of(answer, sizeof(answer) - 1);
    struct fixture f;
    bool complete;

    setup(&f);
    connect_client(&f);
    send_request(&f, true);
    while (rest.n > 0 && !f.upstream.eof && !f.upstream.failed) {
        size_t piece = rest.n < n ? rest.n : n;
        send_str(&f.upstream, str_head(rest, piece));
        rest = str_from(rest, piece);
        loop_test_run(f.loop);
    }
    struct str body = body_of(&f.arena, buf_str(&f.client.got), &complete);
    assert_true(complete);
    assert_true(str_ends(body, STR(ERROR_FRAME)));
    assert_true(has(&f.client, "so far"));
    assert_false(has(&f.client, "and on"));
    /* The upstream was told at once that nobody listens any more. */
    assert_true(f.upstream.eof || f.upstream.failed);
    teardown(&f);
}

/* Catches: events, or a terminator that claims success, behind an upstream's error event; an answer
 * that depends on how the upstream's bytes were cut; an upstream that runs on for nobody. */
static void test_an_error_inside_a_stream_is_its_end(void **state)
{
    (void)state;
    run_error_in_stream(4096);
    for (size_t n = 1; n < 400; n += 13)
        run_error_in_stream(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_error_inside_a_stream_is_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
