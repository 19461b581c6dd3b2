/* SPDX-License-Identifier: MIT */
/*
 * Whole answers in each of their states: translated, collected, large ones in their jobs and on
 * their way, errors and numbers; clients that leave, and memory that ends, at each of them.
 */
#include "gateway/exchange_answers_priv.h"

#include "text/json.h"

extern const struct stage stage_resolve;

extern const struct protocol protocol_anthropic;

enum { SIZE = 3 * 1024 * 1024 };

/* --- what is asked and said --- */

static void post(struct fixture *f, const char *path, const char *body)
{
    char text[2048];
    int n = snprintf(text, sizeof(text),
                     "POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                     "test-client-key-1\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     path, strlen(body), body);

    assert_true(n > 0 && (size_t)n < sizeof(text));
    send_text(&f->client, text, (size_t)n);
    loop_test_run(f->loop);
}

#define MESSAGES(stream)                                                                        \
    "{\"model\":\"openai:m-1\",\"max_tokens\":9,\"stream\":" stream ",\"messages\":[{\"role\":" \
    "\"user\",\"content\":\"hi\"}]}"

/* A client of another protocol than the upstream's. */
static void post_message(struct fixture *f, bool stream)
{
    post(f, "/v1/messages", stream ? MESSAGES("true") : MESSAGES("false"));
    assert_true(f->connects > 0);
}

static void push(struct fixture *f, struct str text)
{
    while (text.n > 0 && !f->upstream.eof && !f->upstream.failed) {
        struct str piece = str_head(text, 256 * 1024);
        (void)conn_write(f->upstream.conn, &piece, 1);
        text = str_from(text, piece.n);
        loop_test_run(f->loop);
    }
}

static void add_head(struct buf *out, int status, const char *type, size_t n)
{
    (void)buf_print(out, "HTTP/1.1 %d Whatever\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                    status, type, n);
}

static void answer_with(struct fixture *f, int status, struct str body)
{
    struct buf out;

    buf_init(&out, TEXT_MAX);
    add_head(&out, status, "application/json", body.n);
    (void)buf_add(&out, body);
    push(f, buf_str(&out));
    buf_fini(&out);
}

/* begin, `size` bytes of a text, end. */
static void make_body(struct buf *out, const char *begin, size_t size, const char *end)
{
    buf_init(out, TEXT_MAX);
    (void)buf_add(out, str_c(begin));
    while (out->n < size)
        (void)buf_add(out, STR("sixteen bytes.  "));
    (void)buf_add(out, str_c(end));
}

#define COMPLETION                                                                                \
    "{\"id\":\"c1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m-1\",\"choices\":[" \
    "{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\""
#define COMPLETION_END                                                                       \
    "the end\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3" \
    "}}"

static void make_completion(struct buf *out)
{
    make_body(out, COMPLETION, SIZE, COMPLETION_END);
}

static struct exchange *the_exchange(struct fixture *f)
{
    assert_false(list_empty(&f->station.exchanges));
    return LIST_ENTRY(f->station.exchanges.next, struct exchange, link);
}

static int status_of(const struct fixture *f)
{
    int64_t status = 0;

    assert_true(f->client.got.n > 12);
    assert_true(str_to_int64(str_of(f->client.got.p + 9, 3), &status));
    return (int)status;
}

/* The one answer that the client has, complete. */
static struct str complete_body(struct fixture *f)
{
    bool complete = false;
    struct str body = body_of(&f->arena, buf_str(&f->client.got), &complete);

    assert_true(complete);
    return body;
}

static size_t in_flight(const struct fixture *f)
{
    return atomic_load(&f->gateway->inflight.used);
}

/* What the one before left behind does not keep the next one from its answer. */
static void expect_works(struct fixture *f)
{
    char answer[4096];

    assert_true(list_empty(&f->station.exchanges));
    assert_int_equal(in_flight(f), 0);
    conn_close(&f->client.conn);
    buf_reset(&f->client.got);
    connect_client(f);
    send_request(f, false);
    push(f, str_of(answer, print_answer(answer, sizeof(answer), false)));
    assert_int_equal(status_of(f), 200);
    assert_true(str_eq(complete_body(f), str_c(whole_body)));
}

/* Nothing of its exchange is left, and the next client is served. */
static void client_leaves(struct fixture *f, struct buf *body)
{
    conn_close(&f->client.conn);
    loop_test_run(f->loop);
    buf_fini(body);
    expect_works(f);
    teardown(f);
}

/* --- large ones, in the client's terms --- */

static void expect_message(struct fixture *f, bool stream)
{
    struct str body = complete_body(f);
    const struct json_read_options options = {.depth_max = 64};
    struct error e;

    assert_int_equal(status_of(f), 200);
    assert_true(body.n > SIZE);
    if (stream) {
        assert_true(str_starts(body, STR("event: message_start\n")));
        assert_true(
            str_ends(body, STR("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")));
        return;
    }
    yyjson_val *root = json_read(body, &options, &f->arena, &e);
    assert_true(str_eq(json_get_str(root, STR("type")), STR("message")));
    assert_true(str_eq(json_get_str(root, STR("stop_reason")), STR("end_turn")));
    yyjson_val *block = yyjson_arr_get(json_get(root, STR("content")), 0);
    assert_true(str_ends(json_get_str(block, STR("text")), STR("bytes.  the end")));
}

/* Catches: a large answer that is lost, cut or kept when another protocol writes it, as a body or,
 * for a client that wanted a stream, as one. */
static void test_a_large_answer_is_translated(void **state)
{
    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct fixture f;
        struct buf body;

        setup(&f);
        connect_client(&f);
        post_message(&f, stream != 0);
        make_completion(&body);
        answer_with(&f, 200, buf_str(&body));
        expect_message(&f, stream != 0);
        buf_fini(&body);
        expect_works(&f);
        teardown(&f);
    }
}

/* A stream that nobody asked for, of more than a mebibyte. */
static void push_stream(struct fixture *f, bool ends)
{
    static const char chunk[] = CHUNK("{\"content\":\"sixteen bytes.  \"}", "null");
    struct buf out;

    buf_init(&out, TEXT_MAX);
    (void)buf_add(&out, STR("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                            "Connection: close\r\n\r\n"));
    (void)buf_add(&out, STR(CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null")));
    while (out.n < SIZE)
        (void)buf_add(&out, str_of(chunk, sizeof(chunk) - 1));
    if (ends)
        (void)buf_add(&out, STR(CHUNK("{\"content\":\"the end\"}", "null")
                                    CHUNK("{}", "\"stop\"") "data: [DONE]\n\n"));
    push(f, buf_str(&out));
    conn_close(&f->upstream.conn);
    loop_test_run(f->loop);
    buf_fini(&out);
}

/* Catches: a large stream that is collected and written in a job, and then lost or kept; one that
 * broke off and is told as a whole answer. */
static void test_a_large_stream_is_collected(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool ours = i % 2 == 0;
        bool ends = i / 2 == 0;
        struct fixture f;

        setup(&f);
        connect_client(&f);
        if (ours)
            post_message(&f, false);
        else
            send_request(&f, false);
        push_stream(&f, ends);
        assert_int_equal(status_of(&f), ends ? 200 : 502);
        struct str body = complete_body(&f);
        assert_int_equal(str_find(body, STR("the end"), 0) != SIZE_MAX, ends);
        expect_works(&f);
        teardown(&f);
    }
}

/* --- leaving --- */

/* All of the answer is there, and nothing was made of it yet: the machine stands in DIGEST. */
static struct exchange *until_digest(struct fixture *f, struct str body)
{
    struct buf out;

    buf_init(&out, TEXT_MAX);
    add_head(&out, 200, "application/json", body.n);
    (void)buf_add(&out, str_head(body, body.n - 1));
    push(f, buf_str(&out));
    buf_fini(&out);
    struct exchange *x = the_exchange(f);
    assert_true(buf_add(&x->attempt.body, str_from(body, body.n - 1)));
    client_cancel(&x->attempt.request);
    x->attempt.ended = true;
    exchange_run(x);
    assert_int_equal(x->state, EXCHANGE_DIGEST);
    return x;
}

/* A stage through which the client leaves while the answer's frame passes: what is heard of it
 * comes before the end of the job that begins then. */
static struct {
    struct fixture *f;
    struct exchange *x;
    struct deferred look;
    bool in_encode;
} leaving;

static void look(struct deferred *deferred)
{
    (void)deferred;
    leaving.in_encode = leaving.x->state == EXCHANGE_ENCODE;
}

static enum event_verdict leave_event(struct call *call, void *state, struct frame *frame,
                                      struct event *event)
{
    (void)call;
    (void)state;
    (void)frame;
    assert_int_equal(event->kind, EVENT_STOP);
    leaving.x = the_exchange(leaving.f);
    assert_int_equal(leaving.x->state, EXCHANGE_DIGEST);
    conn_close(&leaving.f->client.conn);
    loop_defer(leaving.f->loop, &leaving.look, look);
    return PASS;
}

static const struct stage stage_leave = {.name = "leave",
                                         .event_mask = EVENT_BIT(EVENT_STOP),
                                         .event = leave_event};

/* Catches: a job's memory that goes with its exchange, or stays for ever. */
static void test_a_client_leaves_while_its_answer_is_read(void **state)
{
    (void)state;
    for (int ours = 0; ours < 2; ours++) {
        struct fixture f;
        struct buf body;

        setup(&f);
        connect_client(&f);
        if (ours)
            post_message(&f, false);
        else
            send_request(&f, false);
        make_completion(&body);
        (void)until_digest(&f, buf_str(&body));
        client_leaves(&f, &body);
    }
}

static void test_a_client_leaves_while_its_answer_is_written(void **state)
{
    const struct stage *stages[] = {&stage_resolve, &stage_leave};

    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct fixture f;
        struct buf body;

        setup(&f);
        leaving.f = &f;
        leaving.in_encode = false;
        f.station.stages = stages;
        f.station.stages_n = COUNT_OF(stages);
        connect_client(&f);
        post_message(&f, stream != 0);
        make_completion(&body);
        answer_with(&f, 200, buf_str(&body));
        assert_true(leaving.in_encode);
        assert_int_equal(f.client.got.n, 0);
        assert_true(list_empty(&f.station.exchanges));
        assert_int_equal(in_flight(&f), 0);
        buf_fini(&body);
        f.station.stages = pipeline_stages;
        f.station.stages_n = pipeline_stages_n;
        expect_works(&f);
        teardown(&f);
    }
}

/* Catches: an answer that is on its way, and kept for a client that is gone. */
static void test_a_client_leaves_while_its_answer_is_handed_over(void **state)
{
    struct fixture f;
    struct buf body;

    (void)state;
    setup(&f);
    connect_client(&f);
    post_message(&f, false);
    conn_read_stop(f.client.conn);
    make_completion(&body);
    answer_with(&f, 200, buf_str(&body));
    struct exchange *x = the_exchange(&f);
    assert_int_equal(x->state, EXCHANGE_HAND);
    assert_true(x->whole.n > SIZE / 2);
    client_leaves(&f, &body);
}

/* Catches: a station that is aborted while a job has an answer, and leaves one of both behind. */
static void test_a_station_is_aborted_while_an_answer_is_read(void **state)
{
    struct fixture f;
    struct buf body;

    (void)state;
    setup(&f);
    connect_client(&f);
    post_message(&f, false);
    make_completion(&body);
    (void)until_digest(&f, buf_str(&body));
    station_stop(&f.station);
    station_abort(&f.station);
    loop_test_run(f.loop);
    assert_true(f.station.ended);
    assert_int_equal(in_flight(&f), 0);
    buf_fini(&body);
    teardown(&f);
}

/* --- memory --- */

static size_t inflight_max;

static void limit_inflight(struct config *config)
{
    config->inflight_bytes_max = inflight_max;
}

/* Catches: a lack of memory that is told as anybody's fault, or as half an answer, wherever in the
 * reading and the writing of an answer it shows; and one that stays. */
static void test_no_memory_left_is_503_wherever_it_ends(void **state)
{
    int refused = 0;
    int done = 0;
    struct buf body;

    (void)state;
    make_completion(&body);
    for (size_t n = 1; n <= 24; n++) {
        struct fixture f;

        inflight_max = n * SIZE / 2;
        setup_with(&f, limit_inflight);
        connect_client(&f);
        post_message(&f, n % 2 == 0);
        answer_with(&f, 200, buf_str(&body));
        if (status_of(&f) == 200) {
            expect_message(&f, n % 2 == 0);
            done++;
        } else {
            assert_int_equal(status_of(&f), 503);
            assert_true(has(&f.client, "retry-after: 1\r\n"));
            refused++;
        }
        expect_works(&f);
        teardown(&f);
    }
    buf_fini(&body);
    assert_true(refused > 3 && done > 3);
}

static void limit_response(struct config *config)
{
    config->response_bytes_max = (size_t)SIZE / 16;
}

/* Catches: an answer past its bound that goes down, or that is not the upstream's fault. */
static void test_an_answer_past_its_bound_is_502(void **state)
{
    (void)state;
    for (int streams = 0; streams < 2; streams++) {
        struct fixture f;
        struct buf body;

        setup_with(&f, limit_response);
        connect_client(&f);
        post_message(&f, false);
        make_completion(&body);
        if (streams)
            push_stream(&f, true);
        else
            answer_with(&f, 200, buf_str(&body));
        assert_int_equal(status_of(&f), 502);
        assert_true(complete_body(&f).n < 4096);
        buf_fini(&body);
        expect_works(&f);
        teardown(&f);
    }
}

/* --- errors --- */

#define UPSTREAM_KEY "sk-upstream-key-1"

/* Catches: a large error that is lost, or that carries our key to the client; one that is no JSON
 * and goes down nevertheless; one that is told to a client of another protocol in foreign words. */
static void test_large_errors(void **state)
{
    static const struct {
        bool ours; /* another protocol than the upstream's */
        const char *begin, *end;
        bool as_it_came;
    } cases[] = {
        {false, "{\"error\":{\"message\":\"no\",\"type\":\"t\",\"x\":\"", "\"}}", true},
        {false, "{\"error\":{\"message\":\"key " UPSTREAM_KEY " \",\"x\":\"", "\"}}", true},
        {false, "<html>", "</html>", false},
        {true, "{\"error\":{\"message\":\"so it is\",\"type\":\"t\",\"x\":\"", "\"}}", false},
        {true, "<html>", "</html>", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;
        struct buf body;

        setup(&f);
        connect_client(&f);
        if (cases[i].ours)
            post_message(&f, false);
        else
            send_request(&f, false);
        make_body(&body, cases[i].begin, SIZE, cases[i].end);
        answer_with(&f, 422, buf_str(&body));
        struct str got = complete_body(&f);
        assert_false(has(&f.client, UPSTREAM_KEY));
        if (cases[i].as_it_came) {
            assert_int_equal(status_of(&f), 422);
            assert_true(got.n > SIZE && str_starts(got, STR("{\"error\":{\"message\":")));
            assert_true(str_ends(got, STR("bytes.  \"}}")));
        } else {
            assert_true(status_of(&f) >= 400);
            assert_true(got.n < 4096);
            assert_true(str_starts(got, cases[i].ours ? STR("{\"type\":\"error\",\"error\":{")
                                                      : STR("{\"error\":{")));
        }
        buf_fini(&body);
        expect_works(&f);
        teardown(&f);
    }
}

/* --- numbers --- */

static const char count_request[] = "{\"model\":\"openai:m-1\",\"messages\":[{\"role\":\"user\","
                                    "\"content\":\"how many words are these\"}]}";
static const char input_request[] = "{\"model\":\"openai:m-1\",\"input\":\"how many words\"}";

static const struct {
    const char *path;
    const char *request;
    int upstreams_status;
    const char *upstream;
    int status;
    const char *want; /* ends with it; NULL: begins as the protocol's numbers do */
    bool estimated;
} counts[] = {
    {"/v1/messages/count_tokens", count_request, 200, "{\"input_tokens\":17, \"x\":1}", 200,
     "{\"input_tokens\":17, \"x\":1}", false},
    {"/v1/responses/input_tokens", input_request, 200, "{\"input_tokens\":17}", 200,
     "{\"object\":\"response.input_tokens\",\"input_tokens\":17}", false},
    {"/v1/responses/input_tokens", input_request, 200, "{\"input_tokens\":-1}", 200, NULL, true},
    {"/v1/responses/input_tokens", input_request, 200, "nothing", 200, NULL, true},
    {"/v1/messages/count_tokens", count_request, 404, "<html>no such page</html>", 200, NULL, true},
    {"/v1/messages/count_tokens", count_request, 405, "{}", 200, NULL, true},
    {"/v1/messages/count_tokens", count_request, 501, "", 200, NULL, true},
    {"/v1/messages/count_tokens", count_request, 404,
     "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":\"model: m-1\"}}",
     404, "\"message\":\"model: m-1\"}}", false},
    {"/v1/messages/count_tokens", count_request, 400,
     "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"so\"}}", 400,
     "\"message\":\"so\"}}", false},
    {"/v1/messages/count_tokens", count_request, 500, "<html>", 502, "}", false},
};

/* Catches: a number that is none; one that is made up where an upstream has said why not; an
 * estimate that does not say that it is one. */
static void test_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct fixture f;

        setup(&f);
        f.gateway->site->backends->preferred->protocol = &protocol_anthropic;
        f.gateway->site->backends->preferred->also = NULL;
        connect_client(&f);
        post(&f, counts[i].path, counts[i].request);
        assert_int_equal(f.connects, 1);
        answer_with(&f, counts[i].upstreams_status, str_c(counts[i].upstream));
        if (status_of(&f) != counts[i].status)
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&f.client.got)));
        struct str body = complete_body(&f);
        if (counts[i].want != NULL)
            assert_true(str_ends(body, str_c(counts[i].want)));
        else
            assert_true(str_find(body, STR("\"input_tokens\":"), 0) != SIZE_MAX);
        assert_int_equal(has(&f.client, "x-llm-proxy-estimated: "), counts[i].estimated);
        assert_false(counts[i].estimated && has(&f.client, ":0}"));
        teardown(&f);
    }
}

/* Catches: a number of a mebibyte that is read in the loop, or kept. */
static void test_a_large_number_is_none(void **state)
{
    struct fixture f;
    struct buf body;

    (void)state;
    setup(&f);
    f.gateway->site->backends->preferred->protocol = &protocol_anthropic;
    f.gateway->site->backends->preferred->also = NULL;
    connect_client(&f);
    post(&f, "/v1/messages/count_tokens", count_request);
    make_body(&body, "{\"input_tokens\":1,\"x\":\"", SIZE, "\"}");
    answer_with(&f, 200, buf_str(&body));
    assert_int_equal(status_of(&f), 502);
    assert_true(complete_body(&f).n < 4096);
    assert_int_equal(in_flight(&f), 0);
    buf_fini(&body);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_large_answer_is_translated),
        cmocka_unit_test(test_a_large_stream_is_collected),
        cmocka_unit_test(test_a_client_leaves_while_its_answer_is_read),
        cmocka_unit_test(test_a_client_leaves_while_its_answer_is_written),
        cmocka_unit_test(test_a_client_leaves_while_its_answer_is_handed_over),
        cmocka_unit_test(test_a_station_is_aborted_while_an_answer_is_read),
        cmocka_unit_test(test_no_memory_left_is_503_wherever_it_ends),
        cmocka_unit_test(test_an_answer_past_its_bound_is_502),
        cmocka_unit_test(test_large_errors),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_a_large_number_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
