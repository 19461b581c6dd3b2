/* SPDX-License-Identifier: MIT */
/*
 * Bodies over a mebibyte, memory that runs out, and streams that say an error in their middle.
 */
#include "gateway/exchange_answers_priv.h"

extern const struct stage stage_resolve;

/* --- an error inside a stream --- */

#define ERROR_FRAME "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n"

static void send_str(struct end *end, struct str text)
{
    (void)conn_write(end->conn, &text, 1);
}

#define ERROR_STREAM                                                    \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" CHUNK( \
        "{\"role\":\"assistant\",\"content\":\"so far\"}", "null") ERROR_FRAME

/* Answers in reads of n bytes. Down goes everything up to and with `end`. */
static void run_error_in_stream(struct str answer, size_t n, struct str end)
{
    struct str rest = answer;
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
    if (str_eq(str_of(answer.p + answer.n - end.n, end.n), end)) /* nothing more comes: it waits */
        loop_test_advance(f.loop, 1100);
    struct str body = body_of(&f.arena, buf_str(&f.client.got), &complete);
    assert_true(complete);
    assert_true(str_ends(body, end));
    assert_true(has(&f.client, "so far"));
    assert_false(has(&f.client, "and on"));
    /* The upstream was told that nobody listens any more. */
    assert_true(f.upstream.eof || f.upstream.failed);
    teardown(&f);
}

/* Catches: events behind an upstream's error event; an answer that depends on how the upstream's
 * bytes were cut; an upstream that runs on, or says nothing more, for nobody. */
static void test_an_error_inside_a_stream_is_its_end(void **state)
{
    static const char more[] = ERROR_STREAM CHUNK("{\"content\":\" and on\"}",
                                                  "null") "data: [DONE]\n\n";
    static const char terminated[] = ERROR_STREAM
        "data: [DONE]\n\n" CHUNK("{\"content\":\" and on\"}", "null");
    static const char silent[] = ERROR_STREAM;

    (void)state;
    for (size_t n = 1; n < 600; n += 13) {
        run_error_in_stream(str_c(more), n, STR(ERROR_FRAME));
        run_error_in_stream(str_c(terminated), n, STR("data: [DONE]\n\n"));
        run_error_in_stream(str_c(silent), n, STR(ERROR_FRAME));
    }
}

/* --- large requests --- */

enum {
    SIZE = 4 * 1000 * 1000,
    NOTICE = 64 * 1024, /* what an exchange may hold beside its body */
};

static void limit_inflight_6(struct config *config)
{
    config->inflight_bytes_max = 6 * (size_t)SIZE;
}

static void limit_inflight_12(struct config *config)
{
    config->inflight_bytes_max = 12 * (size_t)SIZE;
}

static const char request_begin[] = "{\"model\":\"openai:m-1\",\"stream\":";

/* A request of `size` bytes: its text is long. */
static void make_request(struct buf *out, bool stream, size_t size)
{
    buf_init(out, TEXT_MAX);
    (void)buf_add(out, str_c(request_begin));
    (void)buf_add(out, stream ? STR("true") : STR("false"));
    (void)buf_add(out, STR(",\"messages\":[{\"role\":\"user\",\"content\":\""));
    while (out->n + 1024 < size)
        (void)buf_add(out, STR("sixteen bytes.  "));
    (void)buf_add(out, STR("\"}]}"));
}

static void send_head_to(struct fixture *f, const char *path, size_t length)
{
    char head[512];
    int n = snprintf(head, sizeof(head),
                     "POST %s HTTP/1.1\r\nHost: localhost\r\n"
                     "Authorization: Bearer test-client-key-1\r\n",
                     path);

    send_text(&f->client, head, (size_t)n);
    n = length > 0 ? snprintf(head, sizeof(head), "Content-Length: %zu\r\n\r\n", length)
                   : snprintf(head, sizeof(head), "Transfer-Encoding: chunked\r\n\r\n");
    send_text(&f->client, head, (size_t)n);
}

static void send_head(struct fixture *f, size_t length)
{
    send_head_to(f, "/v1/chat/completions", length);
}

/* All of the text, however much the connection takes at once. */
static void send_all(struct fixture *f, struct end *end, struct str text)
{
    while (text.n > 0 && !end->eof && !end->failed) {
        struct str piece = str_head(text, 256 * 1024);
        (void)conn_write(end->conn, &piece, 1);
        text = str_from(text, piece.n);
        loop_test_run(f->loop);
    }
}

static void send_chunks(struct fixture *f, struct str body, size_t n)
{
    char line[32];

    while (body.n > 0 && !f->client.eof && !f->client.failed) {
        struct str piece = str_head(body, n);
        send_text(&f->client, line, (size_t)snprintf(line, sizeof(line), "%zx\r\n", piece.n));
        (void)conn_write(f->client.conn, &piece, 1);
        send_text(&f->client, "\r\n", 2);
        body = str_from(body, piece.n);
        loop_test_run(f->loop);
    }
    send_text(&f->client, "0\r\n\r\n", 5);
    loop_test_run(f->loop);
}

static void send_large(struct fixture *f, struct str body, bool chunked)
{
    send_head(f, chunked ? 0 : body.n);
    if (chunked)
        send_chunks(f, body, 100 * 1000);
    else
        send_all(f, &f->client, body);
    loop_test_run(f->loop);
}

static size_t in_flight(const struct fixture *f)
{
    return atomic_load(&f->gateway->inflight.used);
}

/* What the upstream got is the body with its prefix cut out, and usage asked for in streams. */
static void check_upstream_got(struct fixture *f, struct str body, bool usage)
{
    struct str got = buf_str(&f->upstream.got);
    size_t head = str_find(got, STR("\r\n\r\n"), 0);
    struct str added = STR(",\"stream_options\":{\"include_usage\":true}");

    assert_true(head != SIZE_MAX);
    got = str_from(got, head + 4);
    assert_int_equal(got.n, body.n - strlen("openai:") + (usage ? added.n : 0));
    assert_true(str_starts(got, STR("{\"model\":\"m-1\",\"stream\":")));
    size_t tail = 1000;
    struct str mine = str_of(body.p + tail, body.n - 1 - tail);
    assert_true(str_eq(str_of(got.p + tail - strlen("openai:"), mine.n), mine));
    assert_int_equal(got.p[got.n - 1], '}');
}

static void run_large(bool stream, bool chunked)
{
    char answer[4096];
    struct fixture f;
    struct buf body;
    bool complete;

    setup_with(&f, limit_inflight_6);
    make_request(&body, stream, SIZE);
    connect_client(&f);
    send_large(&f, buf_str(&body), chunked);
    assert_int_equal(f.connects, 1);
    check_upstream_got(&f, buf_str(&body), stream);
    /* The upstream has it: all but the body is gone. */
    assert_true(in_flight(&f) >= body.n);
    assert_true(in_flight(&f) <= body.n + NOTICE);
    size_t n = print_answer(answer, sizeof(answer), stream);
    send_all(&f, &f.upstream, str_of(answer, stream ? n - 5 : n));
    /* Committed: the body is gone as well. */
    assert_true(in_flight(&f) < NOTICE);
    if (stream)
        send_all(&f, &f.upstream, str_of(answer + n - 5, 5));
    struct str got = body_of(&f.arena, buf_str(&f.client.got), &complete);
    assert_true(complete);
    assert_true(str_eq(got, stream ? str_c(stream_body) : str_c(whole_body)));
    buf_fini(&body);
    teardown(&f);
}

/* Catches: a large body that is changed, lost or held longer than it is needed; a peak of more than
 * six times its size (inflight_bytes_max is that, and would refuse it). */
static void test_a_large_request_goes_up_and_is_let_go(void **state)
{
    (void)state;
    run_large(false, false);
    run_large(false, true);
    run_large(true, false);
    run_large(true, true);
}

/* Around the limits where a body moves, and where a job begins. */
static void test_every_size_around_the_limits(void **state)
{
    static const size_t limits[] = {LARGE_MOVE_BYTES, LARGE_BYTES};
    struct fixture f;
    struct buf body;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(limits) * 6; i++) {
        make_request(&body, false, limits[i / 6]);
        size_t size = limits[i / 6] + i % 3 - 1;
        while (body.n < size)
            (void)buf_add_char(&body, ' ');
        body.p[body.n - 1] = body.p[body.n - 1] == ' ' ? '\n' : '}';
        setup(&f);
        connect_client(&f);
        send_large(&f, buf_str(&body), i % 6 >= 3);
        assert_int_equal(f.connects, 1);
        struct str tail = str_from(buf_str(&body), 1000);
        assert_true(str_ends(buf_str(&f.upstream.got), tail));
        buf_fini(&body);
        teardown(&f);
    }
}

/* Catches: a retry after the request was let go that sends another body, or none. */
static void test_a_retry_reads_it_again(void **state)
{
    static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                                  "Content-Length: 45\r\n\r\n"
                                  "{\"error\":{\"message\":\"unknown stream_options\"}}";
    struct fixture f;
    struct buf body;

    (void)state;
    setup_with(&f, limit_inflight_6);
    make_request(&body, true, SIZE);
    connect_client(&f);
    send_large(&f, buf_str(&body), false);
    check_upstream_got(&f, buf_str(&body), true);
    assert_true(in_flight(&f) <= body.n + NOTICE);
    buf_reset(&f.upstream.got);
    send_text(&f.upstream, refusal, sizeof(refusal) - 1);
    loop_test_run(f.loop);
    check_upstream_got(&f, buf_str(&body), false);
    assert_int_equal(f.client.got.n, 0);
    buf_fini(&body);
    teardown(&f);
}

/* A stage that removes the first turn of the list, cuts the beginning of the last one's text, and
 * asks for a temperature. */
static enum verdict cut_request(struct call *call, void *state)
{
    const struct protocol *protocol = call->intake.protocol;
    struct outline_cursor cursor = {.step = 0};
    struct json_string_cursor string;
    struct outline_turn turn;
    struct outline_text text;
    size_t texts = 0;

    (void)state;
    assert_true(protocol->outline_next(&call->request, &cursor, &turn));
    json_edit_element(&call->request.edits, call->arena, call->request.source, turn.source);
    assert_true(protocol->outline_last(&call->request, &turn));
    assert_true(outline_text_next(turn.content, &texts, &text));
    json_string_begin(&string, text.string);
    json_edit_cut(&call->request.edits, call->arena, call->request.source, &string, 0,
                  strlen("SECRET"));
    call->plan.elements[0].steer.temperature = STR("0.25");
    return NEXT;
}

static const struct stage stage_cut = {.name = "cut", .request = cut_request};

static void check_nothing_is_told(struct fixture *f)
{
    struct str got = buf_str(&f->upstream.got);

    assert_true(got.n > SIZE - 4096);
    assert_true(str_find(got, STR("SECRET"), 0) == SIZE_MAX);
    assert_true(str_find(got, STR("\"temperature\":0.25"), 0) != SIZE_MAX);
    assert_true(str_find(got, STR("sixteen bytes."), 0) != SIZE_MAX);
    buf_reset(&f->upstream.got);
}

/* Catches: what stages took out of a request that goes up after all, with the request that a retry
 * reads again, or with the one that is written for another protocol. */
static void test_a_retry_knows_the_edits(void **state)
{
    static const char *const paths[] = {"/v1/chat/completions", "/v1/messages"};
    static const char refusal[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                                  "Content-Length: 45\r\n\r\n"
                                  "{\"error\":{\"message\":\"unknown stream_options\"}}";
    const struct stage *stages[] = {&stage_resolve, &stage_cut};
    struct fixture f;
    struct buf body;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        setup_with(&f, limit_inflight_12);
        f.station.stages = stages;
        f.station.stages_n = COUNT_OF(stages);
        buf_init(&body, TEXT_MAX);
        (void)buf_add(&body, STR("{\"model\":\"openai:m-1\",\"stream\":true,\"max_tokens\":9,"
                                 "\"messages\":[{\"role\":\"user\",\"content\":\"SECRET\"},"
                                 "{\"role\":\"user\",\"content\":\"SECRET"));
        while (body.n + 1024 < SIZE)
            (void)buf_add(&body, STR("sixteen bytes.  "));
        (void)buf_add(&body, STR("\"}]}"));
        connect_client(&f);
        send_head_to(&f, paths[i], body.n);
        send_all(&f, &f.client, buf_str(&body));
        loop_test_run(f.loop);
        check_nothing_is_told(&f);
        send_text(&f.upstream, refusal, sizeof(refusal) - 1);
        loop_test_run(f.loop);
        check_nothing_is_told(&f);
        assert_int_equal(f.client.got.n, 0);
        buf_fini(&body);
        teardown(&f);
    }
}

/* A stage that lets the client leave in its request hook. */
static struct fixture *leaving;

static enum verdict leave_request(struct call *call, void *state)
{
    (void)call;
    (void)state;
    conn_close(&leaving->client.conn);
    return NEXT;
}

static const struct stage stage_leave = {.name = "leave", .request = leave_request};

static void run_leaver(bool in_stage, size_t missing)
{
    const struct stage *stages[] = {&stage_resolve, &stage_leave};
    struct fixture f;
    struct buf body;

    setup(&f);
    leaving = &f;
    if (in_stage) {
        f.station.stages = stages;
        f.station.stages_n = COUNT_OF(stages);
    }
    make_request(&body, false, 2 * LARGE_BYTES);
    connect_client(&f);
    send_head(&f, body.n);
    send_all(&f, &f.client, str_head(buf_str(&body), body.n - 1000));
    struct str rest = str_of(body.p + body.n - 1000, 1000 - missing);
    (void)conn_write(f.client.conn, &rest, 1);
    if (!in_stage)
        conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.exchanges));
    assert_int_equal(in_flight(&f), 0);
    buf_fini(&body);
    teardown(&f);
}

/* Catches: what a job touches freed with its exchange, or never. */
static void test_a_client_leaves_while_a_job_waits(void **state)
{
    (void)state;
    run_leaver(false, 1);
    run_leaver(false, 0);
    run_leaver(true, 0);
}

/* Catches: a station that is aborted while a job waits, and leaves it or its memory behind. */
static void test_a_station_stops_while_a_job_waits(void **state)
{
    struct fixture f;
    struct buf body;

    (void)state;
    setup(&f);
    make_request(&body, false, 2 * LARGE_BYTES);
    connect_client(&f);
    send_head(&f, body.n);
    send_all(&f, &f.client, str_head(buf_str(&body), body.n - 1));
    struct exchange *x = LIST_ENTRY(f.station.exchanges.next, struct exchange, link);
    body_come(x, STR("}"));
    body_end(x);
    assert_int_equal(x->state, EXCHANGE_PARSE);
    station_stop(&f.station);
    station_abort(&f.station);
    loop_test_run(f.loop);
    assert_true(f.station.ended);
    assert_int_equal(in_flight(&f), 0);
    buf_fini(&body);
    teardown(&f);
}

/* --- memory that runs out --- */

/* `n` times the text between two others. */
static void make_hostile(struct buf *out, struct str begin, struct str middle, struct str end)
{
    buf_init(out, TEXT_MAX);
    (void)buf_add(out, begin);
    while (out->n < SIZE)
        (void)buf_add(out, middle);
    (void)buf_add(out, end);
}

static int status_of(const struct fixture *f)
{
    struct str got = buf_str(&f->client.got);
    int64_t status = 0;

    assert_true(got.n > 12);
    assert_true(str_to_int64(str_of(got.p + 9, 3), &status));
    return (int)status;
}

/* Catches: hostile bodies that take more than twelve times their size (inflight_bytes_max is that:
 * it would be a 503), that abort, or that are refused although they are only odd. */
static void test_hostile_bodies_stay_within_bounds(void **state)
{
    static const struct {
        const char *begin, *middle, *end;
        int status; /* 0: it goes up */
    } cases[] = {
        {"{\"model\":\"m\",\"messages\":[],\"x\":[0", ",{}", "]}", 0},
        {"{\"model\":\"m\",\"messages\":[],\"x\":[0", ",[]", "]}", 0},
        {"{\"model\":\"m\",\"messages\":[],\"x\":[0", ",1", "]}", 0},
        {"{\"model\":\"m\",\"messages\":[", "{\"a\":1,\"b\":2},", "{}]}", 0},
        {"{\"model\":\"m\",\"messages\":[],\"x\":\"", "\\u0041\\n", "\"}", 0},
        {"{\"messages\":[],\"model\":\"", "\\u0041", "\"}", 0},
        {"{\"model\":\"m\",\"messages\":[", "[[[[[[[[", "", 400},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;
        struct buf body;

        setup_with(&f, limit_inflight_12);
        make_hostile(&body, str_c(cases[i].begin), str_c(cases[i].middle), str_c(cases[i].end));
        connect_client(&f);
        send_large(&f, buf_str(&body), false);
        if (cases[i].status == 0) {
            assert_int_equal(f.connects, 1);
            assert_true(in_flight(&f) <= body.n + NOTICE);
        } else {
            assert_int_equal(status_of(&f), cases[i].status);
        }
        buf_fini(&body);
        teardown(&f);
    }
}

static size_t starved_max;

static void limit_inflight(struct config *config)
{
    config->inflight_bytes_max = starved_max;
}

/* One small exchange with so many bytes for all requests together. */
static int run_starved(size_t inflight, bool stream)
{
    char answer[4096];
    struct fixture f;

    starved_max = inflight;
    setup_with(&f, limit_inflight);
    connect_client(&f);
    send_request(&f, stream);
    if (f.connects > 0)
        send_all(&f, &f.upstream, str_of(answer, print_answer(answer, sizeof(answer), stream)));
    int status = status_of(&f);
    if (status == 503)
        assert_true(has(&f.client, "retry-after: 1\r\n"));
    teardown(&f);
    return status;
}

/* Catches: a lack of memory that is told as the upstream's fault (502) or the client's (413, 431),
 * and a 503 without Retry-After, wherever in an exchange the memory ends. */
static void test_no_memory_left_is_503_wherever_it_ends(void **state)
{
    int seen_503 = 0;

    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        for (size_t inflight = 1; inflight < 16 * 1024; inflight += 256) {
            int status = run_starved(inflight, stream != 0);
            if (status != 200)
                assert_int_equal(status, 503);
            seen_503 += status == 503;
        }
        assert_int_equal(run_starved(64 * 1024, stream != 0), 200);
    }
    assert_true(seen_503 > 10);
}

/* Catches: reading a body that takes more than its share that aborts, or is told as anything but
 * 413; the station works on. */
static void test_what_does_not_fit_is_413(void **state)
{
    struct fixture f;
    struct buf body;
    char member[32];

    (void)state;
    setup_with(&f, limit_inflight_12);
    buf_init(&body, TEXT_MAX);
    (void)buf_add(&body, STR("{\"model\":\"m\",\"messages\":[]"));
    for (int i = 0; body.n < SIZE; i++)
        (void)buf_add(&body,
                      str_of(member, (size_t)snprintf(member, sizeof(member), ",\"%d\":1", i)));
    (void)buf_add_char(&body, '}');
    connect_client(&f);
    send_large(&f, buf_str(&body), false);
    assert_int_equal(status_of(&f), 413);
    assert_int_equal(f.connects, 0);
    buf_reset(&f.client.got);
    send_request(&f, false);
    assert_int_equal(f.connects, 1);
    buf_fini(&body);
    teardown(&f);
}

/* --- large answers --- */

static void make_answer(struct buf *out, const char *begin, const char *middle, const char *end)
{
    char head[256];
    struct buf body;

    make_hostile(&body, str_c(begin), str_c(middle), str_c(end));
    buf_init(out, TEXT_MAX);
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     body.n);
    (void)buf_add(out, str_of(head, (size_t)n));
    (void)buf_add(out, buf_str(&body));
    buf_fini(&body);
}

#define ANSWER_BEGIN                                                                              \
    "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m-1\",\"choices\":[" \
    "{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\""

static const struct {
    const char *begin, *middle, *end;
    int status;
} answers[] = {
    {ANSWER_BEGIN, "a long text. ", "\"}}]}", 200},
    {ANSWER_BEGIN "\"}}],\"x\":[0", ",1234567890123456", "]}", 200},
    {ANSWER_BEGIN "\"}}],\"x\":[0", ",1", "]}", 502}, /* more than its share */
    {"", "[", "", 502},
    {"{", "\"a\":{},", "\"b\":1}", 502}, /* no completion */
};

/* Catches: a large answer that is changed or lost, memory for it past twelve times its size, a
 * hostile one that is anything but the upstream's fault. */
static void test_large_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct fixture f;
        struct buf answer;
        bool complete;

        setup_with(&f, limit_inflight_12);
        connect_client(&f);
        send_request(&f, false);
        make_answer(&answer, answers[i].begin, answers[i].middle, answers[i].end);
        send_all(&f, &f.upstream, buf_str(&answer));
        assert_int_equal(status_of(&f), answers[i].status);
        struct str got = body_of(&f.arena, buf_str(&f.client.got), &complete);
        assert_true(complete);
        if (answers[i].status == 200)
            assert_true(str_ends(buf_str(&answer), got) && got.n > SIZE);
        buf_fini(&answer);
        teardown(&f);
    }
}

/* Catches: a whole large answer that is copied for a client that does not read. */
static void test_a_large_answer_waits_for_its_client(void **state)
{
    struct fixture f;
    struct buf answer;

    (void)state;
    setup_with(&f, limit_inflight_12);
    connect_client(&f);
    send_request(&f, false);
    make_answer(&answer, answers[0].begin, answers[0].middle, answers[0].end);
    conn_read_stop(f.client.conn);
    send_all(&f, &f.upstream, buf_str(&answer));
    struct exchange *x = LIST_ENTRY(f.station.exchanges.next, struct exchange, link);
    assert_int_equal(x->state, EXCHANGE_HAND);
    assert_true(x->whole.n > SIZE / 2);
    conn_read_start(f.client.conn);
    loop_test_run(f.loop);
    assert_true(f.client.got.n > SIZE);
    assert_true(list_empty(&f.station.exchanges));
    /* And one that leaves. */
    buf_reset(&f.client.got);
    send_request(&f, false);
    conn_read_stop(f.client.conn);
    send_all(&f, &f.upstream, buf_str(&answer));
    assert_false(list_empty(&f.station.exchanges));
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_int_equal(in_flight(&f), 0);
    buf_fini(&answer);
    teardown(&f);
}

/* Catches: a client that leaves while its answer is read, and takes it along. */
static void test_a_client_leaves_while_its_answer_is_read(void **state)
{
    struct fixture f;
    struct buf answer;

    (void)state;
    setup(&f);
    connect_client(&f);
    send_request(&f, false);
    make_answer(&answer, answers[0].begin, answers[0].middle, answers[0].end);
    send_all(&f, &f.upstream, str_head(buf_str(&answer), answer.n - 1));
    struct exchange *x = LIST_ENTRY(f.station.exchanges.next, struct exchange, link);
    /* As if the last byte had come in this moment. */
    assert_true(buf_add(&x->attempt.body, STR("}")));
    client_cancel(&x->attempt.request);
    x->attempt.ended = true;
    exchange_run(x);
    assert_int_equal(x->state, EXCHANGE_DIGEST);
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.exchanges));
    assert_int_equal(in_flight(&f), 0);
    buf_fini(&answer);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_error_inside_a_stream_is_its_end),
        cmocka_unit_test(test_a_large_request_goes_up_and_is_let_go),
        cmocka_unit_test(test_every_size_around_the_limits),
        cmocka_unit_test(test_a_retry_reads_it_again),
        cmocka_unit_test(test_a_retry_knows_the_edits),
        cmocka_unit_test(test_a_client_leaves_while_a_job_waits),
        cmocka_unit_test(test_a_station_stops_while_a_job_waits),
        cmocka_unit_test(test_hostile_bodies_stay_within_bounds),
        cmocka_unit_test(test_no_memory_left_is_503_wherever_it_ends),
        cmocka_unit_test(test_what_does_not_fit_is_413),
        cmocka_unit_test(test_large_answers),
        cmocka_unit_test(test_a_large_answer_waits_for_its_client),
        cmocka_unit_test(test_a_client_leaves_while_its_answer_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
