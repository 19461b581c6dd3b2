/* SPDX-License-Identifier: MIT */
/*
 * Streams on their way to the client: in one write a read, taken over and cut by a stage, held back
 * by a slow client, and fallen silent.
 */
#include "gateway/exchange_answers_priv.h"

#include "protocol/openai_chat_lint.h"

extern const struct stage stage_resolve;
extern const struct stage stage_usage;

/* --- a stage that takes over in the middle --- */

struct shout {
    int seen;
    char text[64]; /* of the event that was changed last, until its frame was pushed */
};

/* From the which-th text on (counted from 0) everything is upper case. */
static struct {
    int from;
    bool cut;
} shouting;

static enum event_verdict shout_event(struct call *call, void *state, struct frame *frame,
                                      struct event *event)
{
    struct shout *shout = state;

    (void)call;
    if (shout->seen++ < shouting.from)
        return PASS;
    if (shouting.cut) {
        struct event end[] = {
            {.kind = EVENT_BLOCK_END, .choice = event->choice, .block = event->block},
            {.kind = EVENT_STOP,
             .choice = event->choice,
             .block = EVENT_NO_BLOCK,
             .stop = {.reason = STOP_END}},
        };
        struct frame own = {.events = end, .n = COUNT_OF(end)};
        pipeline_reply(call, &own);
        return CUT;
    }
    assert_true(event->text.n < sizeof(shout->text));
    for (size_t i = 0; i < event->text.n; i++) {
        char c = event->text.p[i];
        shout->text[i] = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    }
    event->text.p = shout->text;
    frame->changed = true;
    return PASS;
}

static const struct stage stage_shout = {
    .name = "shout",
    .state_size = sizeof(struct shout),
    .event_mask = EVENT_BIT(EVENT_TEXT),
    .event = shout_event,
};

/* Catches: what one read of the upstream brought leaves in several flushes. Each flush of a body
 * makes a chunk, so there is one, and the last. */
static void test_one_read_leaves_in_one_write(void **unused)
{
    struct fixture f;
    char answer[4096];
    char want[64];
    size_t n = print_answer(answer, sizeof(answer), true);

    (void)unused;
    setup(&f);
    connect_client(&f);
    send_request(&f, true);
    send_text(&f.upstream, answer, n);
    loop_test_run(f.loop);
    check_answer(&f, true);
    int size = snprintf(want, sizeof(want), "\r\n\r\n%zx\r\n: hello", sizeof(stream_body) - 1);
    assert_true(size > 0 && has(&f.client, want));
    assert_true(str_ends(buf_str(&f.client.got), STR("[DONE]\n\n\r\n0\r\n\r\n")));
    teardown(&f);
}

static const char *const words[] = {"one", " two", " three", " four", " five", " six"};

/* What the upstream says, and what a client is to read when the texts from `from` on are
 * changed. */
static void make_words(struct buf *stream, struct buf *text, int from)
{
    (void)buf_add(stream, STR(CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")));
    for (int i = 0; i < (int)COUNT_OF(words); i++) {
        (void)buf_print(stream, CHUNK("{\"content\":\"%s\"}", "null"), words[i]);
        for (const char *p = words[i]; *p != '\0'; p++) {
            bool up = i >= from && *p >= 'a' && *p <= 'z';
            (void)buf_add_char(text, (char)(up ? *p - 'a' + 'A' : *p));
        }
    }
    (void)buf_add(stream, STR(CHUNK("{}", "\"stop\"") "data: [DONE]\n\n"));
}

/* The contents of a stream's deltas, one after the other. */
static void read_words(struct str stream, struct buf *text)
{
    static const struct str begin = STR_INIT("\"content\":\"");

    for (size_t at = 0; (at = str_find(stream, begin, at)) != SIZE_MAX;) {
        at += begin.n;
        size_t end = str_find_char(stream, '"', at);
        assert_true(end != SIZE_MAX);
        (void)buf_add(text, str_head(str_from(stream, at), end - at));
    }
}

static void run_take_over(int from, bool cut, bool at_once)
{
    const struct stage *stages[] = {&stage_resolve, &stage_shout, &stage_usage};
    struct fixture f;
    struct arena arena;
    struct buf stream;
    struct buf want;
    struct buf is;
    bool complete = false;

    arena_init(&arena, ARENA_MAX, 1024, NULL);
    buf_init(&stream, TEXT_MAX);
    buf_init(&want, TEXT_MAX);
    buf_init(&is, TEXT_MAX);
    make_words(&stream, &want, from);
    shouting.from = from;
    shouting.cut = cut;
    setup(&f);
    f.station.stages = stages;
    f.station.stages_n = COUNT_OF(stages);
    connect_client(&f);
    send_request(&f, true);
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    send_text(&f.upstream, head, sizeof(head) - 1);
    for (size_t at = 0; at < stream.n && !f.upstream.eof;) {
        size_t n = at_once ? stream.n : 50;
        n = n < stream.n - at ? n : stream.n - at;
        send_text(&f.upstream, stream.p + at, n);
        loop_test_run(f.loop);
        at += n;
    }
    if (!f.upstream.eof)
        conn_close(&f.upstream.conn);
    loop_test_run(f.loop);
    struct str body = body_of(&arena, buf_str(&f.client.got), &complete);
    read_words(body, &is);
    assert_true(complete);
    if (openai_chat_lint(body, false) != 0)
        fail_msg("from %d: %.*s", from, STR_ARG(body));
    if (!cut && !str_eq(buf_str(&is), buf_str(&want)))
        fail_msg("from %d: %.*s", from, STR_ARG(buf_str(&is)));
    /* What stands before the first change is the upstream's, to the byte. */
    size_t same = 0;
    while (same < body.n && same < stream.n && body.p[same] == stream.p[same])
        same++;
    size_t first = str_find(buf_str(&stream), str_c(words[from]), 0);
    while (stream.p[first] != '\n') /* back to the begin of its frame */
        first--;
    assert_true(same > first);
    buf_fini(&stream);
    buf_fini(&want);
    buf_fini(&is);
    arena_fini(&arena);
    teardown(&f);
}

/* Catches: a stage that changes text, from any frame on, makes a stream that no client can read. */
static void test_a_stage_takes_over_from_any_frame(void **unused)
{
    (void)unused;
    for (int from = 0; from < (int)COUNT_OF(words); from++) {
        run_take_over(from, false, false);
        run_take_over(from, false, true);
    }
}

/* Catches: a stage that cuts leaves the upstream running or the stream without an end. */
static void test_a_stage_cuts_from_any_frame(void **unused)
{
    (void)unused;
    for (int from = 1; from < (int)COUNT_OF(words); from++)
        run_take_over(from, true, false);
}

static void test_a_stream_that_falls_silent_ends_with_an_error(void **unused)
{
    struct fixture f;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), true);

    (void)unused;
    setup(&f);
    connect_client(&f);
    send_request(&f, true);
    send_text(&f.upstream, answer, n / 2);
    loop_test_advance(f.loop, 6000);
    assert_true(has(&f.client, "data: {\"error\""));
    assert_false(has(&f.client, "[DONE]"));
    assert_true(f.client.eof);
    teardown(&f);
}

static void test_a_slow_client_holds_the_upstream_back(void **unused)
{
    struct fixture f;
    static char chunk[32 * 1024];
    static const char event_head[] = CHUNK("{\"content\":\"x\"}", "null");
    size_t event_n = sizeof(event_head) - 1;
    size_t pushed = 0;

    (void)unused;
    setup(&f);
    connect_client(&f);
    send_request(&f, true);
    conn_mem_window(f.client.conn, 64 * 1024);
    conn_read_stop(f.client.conn);
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    send_text(&f.upstream, head, sizeof(head) - 1);
    conn_mem_window(f.upstream.conn, 64 * 1024);
    size_t n = sizeof(chunk) / event_n * event_n;
    for (size_t at = 0; at < n; at += event_n)
        memcpy(chunk + at, event_head, event_n);
    while (conn_queued(f.upstream.conn) == 0 && pushed < 64 * 1024 * 1024) {
        send_text(&f.upstream, chunk, n);
        pushed += n;
        loop_test_run(f.loop);
    }
    /* The way is full at last: far below what was offered. */
    assert_true(pushed < 2 * 1024 * 1024);
    conn_read_start(f.client.conn);
    loop_test_run(f.loop);
    assert_int_equal(conn_queued(f.upstream.conn), 0);
    assert_true(f.client.got.n > pushed);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_read_leaves_in_one_write),
        cmocka_unit_test(test_a_stage_takes_over_from_any_frame),
        cmocka_unit_test(test_a_stage_cuts_from_any_frame),
        cmocka_unit_test(test_a_stream_that_falls_silent_ends_with_an_error),
        cmocka_unit_test(test_a_slow_client_holds_the_upstream_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
