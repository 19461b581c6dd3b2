/* SPDX-License-Identifier: MIT */
/*
 * Embeddings for a backend that speaks Gemini's protocol, from socket to socket on a clock that is
 * moved by hand. Catches: a list that lacks or repeats a vector, or seems whole where a call of
 * several failed; a key that is asked for what it was refused; memory or connections that stay.
 */
#include "gateway/exchange_answers_priv.h"

#include "text/json.h"

enum { KEYS = 2, SECOND = 1000, CALL_MAX = 100 };

static struct backend_key keys[KEYS];

static void speaks_gemini(struct config *config)
{
    static const char *const secrets[KEYS] = {"sk-upstream-key-1", "sk-upstream-key-2"};
    static const char *const names[KEYS] = {"one", "two"};
    struct backend_config *backend = &config->backends[0];

    assert_true(str_eq(backend->name, STR("openai")));
    for (size_t i = 0; i < backend->keys_n; i++)
        secret_free(&backend->keys[i].key);
    for (size_t i = 0; i < KEYS; i++)
        keys[i] = (struct backend_key){.name = str_c(names[i]),
                                       .key = secret_new(str_c(secrets[i]))};
    backend->keys = keys;
    backend->keys_n = KEYS;
    backend->policy = STR("failover");
    backend->protocol = STR("gemini");
    backend->api_url = STR("http://upstream.test/v1beta");
}

/* Little room for the answer. */
static void small_answers(struct config *config)
{
    speaks_gemini(config);
    config->response_bytes_max = 1024;
}

/* Little room for all requests together. */
static void small_memory(struct config *config)
{
    speaks_gemini(config);
    config->inflight_bytes_max = 96 * 1024;
}

static void small_peek(struct config *config)
{
    speaks_gemini(config);
    config->opaque_peek_bytes = 1024;
}

/* --- what is asked ------------------------------------------------------------------------ */

/* n inputs: "t0", "t1", … */
static void ask_with(struct fixture *f, size_t n, const char *more)
{
    struct buf body;
    char head[256];

    buf_init(&body, TEXT_MAX);
    (void)buf_print(&body, "{\"model\":\"openai:gemini-embedding-001\"%s,\"input\":[", more);
    for (size_t i = 0; i < n; i++)
        (void)buf_print(&body, "%s\"t%zu\"", i == 0 ? "" : ",", i);
    (void)buf_add(&body, STR("]}"));
    int head_n = snprintf(head, sizeof(head),
                          "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
                          "Authorization: Bearer test-client-key-1\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                          body.n);
    assert_true(head_n > 0 && (size_t)head_n < sizeof(head));
    send_text(&f->client, head, (size_t)head_n);
    send_text(&f->client, body.p, body.n);
    buf_fini(&body);
    loop_test_run(f->loop);
}

static void ask(struct fixture *f, size_t n)
{
    setup_with(f, speaks_gemini);
    connect_client(f);
    ask_with(f, n, "");
}

/* A call of inputs [from, to) reached the upstream, with the number-th key. */
static void expect_call(struct fixture *f, size_t from, size_t to, int key)
{
    char text[64];

    assert_true(has(&f->upstream, "POST /v1beta/models/gemini-embedding-001:batchEmbedContents "));
    (void)snprintf(text, sizeof(text), "x-goog-api-key: sk-upstream-key-%d\r\n", key);
    if (!has(&f->upstream, text))
        fail_msg("not with key %d: %.*s", key, STR_ARG(buf_str(&f->upstream.got)));
    for (size_t i = from > 0 ? from - 1 : 0; i <= to; i++) {
        (void)snprintf(text, sizeof(text), "\"text\":\"t%zu\"}", i);
        assert_int_equal(has(&f->upstream, text), i >= from && i < to);
    }
    buf_reset(&f->upstream.got);
}

/* --- what the upstream says ---------------------------------------------------------------- */

/* Of inputs [from, to): each its number, and half of it. tokens 0: it does not say. */
static size_t print_vectors(struct buf *out, size_t from, size_t to, int tokens)
{
    struct buf body;

    buf_init(&body, TEXT_MAX);
    (void)buf_add(&body, STR("{\"embeddings\":["));
    for (size_t i = from; i < to; i++)
        (void)buf_print(&body, "%s{\"values\":[%zu,%zu.5e0]}", i == from ? "" : ",", i, i);
    (void)buf_add(&body, STR("]"));
    if (tokens > 0)
        (void)buf_print(&body, ",\"usageMetadata\":{\"promptTokenCount\":%d}", tokens);
    (void)buf_add(&body, STR("}"));
    buf_reset(out);
    (void)buf_print(out,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    "Content-Length: %zu\r\n\r\n%.*s",
                    body.n, STR_ARG(buf_str(&body)));
    buf_fini(&body);
    return out->n;
}

static void say(struct fixture *f, const char *text, size_t n)
{
    send_text(&f->upstream, text, n);
    loop_test_run(f->loop);
}

static void answer_call(struct fixture *f, size_t from, size_t to)
{
    struct buf text;

    buf_init(&text, TEXT_MAX);
    print_vectors(&text, from, to, (int)(to - from));
    say(f, text.p, text.n);
    buf_fini(&text);
}

static void refuse(struct fixture *f, int status, const char *lines)
{
    static const char body[] = "{\"error\":{\"code\":0,\"message\":\"not this one\"}}";
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %d No\r\nContent-Type: application/json\r\n%sContent-Length: "
                     "%zu\r\n\r\n%s",
                     status, lines, sizeof(body) - 1, body);

    assert_true(n > 0 && (size_t)n < sizeof(text));
    say(f, text, (size_t)n);
}

/* --- what the client gets ------------------------------------------------------------------ */

/* The list of all n, each vector in its place, and as many tokens. */
static void expect_list(struct fixture *f, size_t n, int64_t tokens)
{
    const struct json_read_options options = {.depth_max = 16};
    struct error e = {.code = OK};
    bool complete = false;
    size_t at;
    size_t count;
    yyjson_val *item;

    if (!has(&f->client, "HTTP/1.1 200 "))
        fail_msg("%.*s", STR_ARG(buf_str(&f->client.got)));
    struct str body = body_of(&f->arena, buf_str(&f->client.got), &complete);
    assert_true(complete);
    yyjson_val *root = json_read(body, &options, &f->arena, &e);
    assert_non_null(root);
    yyjson_val *data = json_get(root, STR("data"));
    assert_int_equal(yyjson_arr_size(data), n);
    yyjson_arr_foreach(data, at, count, item)
    {
        int64_t index = -1;
        yyjson_val *vector = json_get(item, STR("embedding"));
        assert_true(json_to_int64(json_get(item, STR("index")), &index));
        assert_int_equal(index, at);
        assert_int_equal(yyjson_arr_size(vector), 2);
        char want[64];
        (void)snprintf(want, sizeof(want), "[%zu,%zu.5e0]", at, at);
        assert_true(str_eq(json_text(vector, &f->arena), str_c(want)));
    }
    int64_t said = -1;
    assert_true(json_to_int64(json_get(json_get(root, STR("usage")), STR("prompt_tokens")), &said));
    assert_int_equal(said, tokens);
    assert_false(has(&f->client, "x-llm-proxy-estimated"));
    buf_reset(&f->client.got);
}

static void expect_error(struct fixture *f, int status, const char *words)
{
    char line[32];

    (void)snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (!has(&f->client, line) || !has(&f->client, words))
        fail_msg("%d \"%s\": %.*s", status, words, STR_ARG(buf_str(&f->client.got)));
    assert_true(has(&f->client, "\"error\""));
    assert_false(has(&f->client, "\"embedding\""));
    assert_false(has(&f->client, "sk-upstream-key"));
    buf_reset(&f->client.got);
}

/* --- calls ---------------------------------------------------------------------------------- */

/* The answer of the one call, or of the second of two, in two pieces, cut behind each byte: nothing
 * goes down before it is whole, and then all of it. */
static void run_cut(size_t calls, size_t at, const struct buf *last)
{
    size_t n = (calls - 1) * CALL_MAX + 2;
    struct fixture f;

    ask(&f, n);
    for (size_t call = 0; call + 1 < calls; call++) {
        expect_call(&f, call * CALL_MAX, (call + 1) * CALL_MAX, 1);
        answer_call(&f, call * CALL_MAX, (call + 1) * CALL_MAX);
    }
    expect_call(&f, n - 2, n, 1);
    say(&f, last->p, at);
    assert_int_equal(f.client.got.n, 0);
    say(&f, last->p + at, last->n - at);
    expect_list(&f, n, (int64_t)n);
    teardown(&f);
}

static void test_answers_cut(void **state)
{
    struct buf last;

    (void)state;
    buf_init(&last, TEXT_MAX);
    for (size_t calls = 1; calls <= 2; calls++) {
        size_t n = (calls - 1) * CALL_MAX + 2;
        print_vectors(&last, n - 2, n, 2);
        for (size_t at = 0; at < last.n; at++)
            run_cut(calls, at, &last);
    }
    buf_fini(&last);
}

/* Calls of a hundred, one after another; a list of exactly so many has no empty one behind it. */
static void test_numbers_of_calls(void **state)
{
    static const size_t inputs[] = {1, 99, 100, 101, 200, 201, 1000, 2048};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(inputs); i++) {
        struct fixture f;
        size_t n = inputs[i];
        ask(&f, n);
        for (size_t from = 0; from < n; from += CALL_MAX) {
            size_t to = n - from < CALL_MAX ? n : from + CALL_MAX;
            expect_call(&f, from, to, 1);
            assert_int_equal(f.client.got.n, 0);
            answer_call(&f, from, to);
        }
        expect_list(&f, n, (int64_t)n);
        assert_int_equal(f.upstream.got.n, 0);
        assert_int_equal(metric_get(&f.station.metrics, METRIC_requests_total, 1), 1);
        /* The connection serves the next one. */
        ask_with(&f, 1, "");
        expect_call(&f, 0, 1, 1);
        answer_call(&f, 0, 1);
        expect_list(&f, 1, 1);
        teardown(&f);
    }
}

/* Tokens are counted from all calls; where one does not say them, its are estimated. */
static void test_tokens_of_some_calls(void **state)
{
    struct fixture f;
    struct buf text;

    (void)state;
    buf_init(&text, TEXT_MAX);
    ask(&f, 150);
    print_vectors(&text, 0, 100, 1000);
    say(&f, text.p, text.n);
    print_vectors(&text, 100, 150, 0);
    say(&f, text.p, text.n);
    assert_true(has(&f.client, "HTTP/1.1 200 "));
    assert_true(has(&f.client, "x-llm-proxy-estimated"));
    size_t at = str_find(buf_str(&f.client.got), STR("\"prompt_tokens\":10"), 0);
    assert_true(at != SIZE_MAX); /* 1000 and somewhat more */
    assert_false(has(&f.client, "\"prompt_tokens\":1000,"));
    buf_fini(&text);
    teardown(&f);
}

/* --- what breaks off ------------------------------------------------------------------------ */

/* Two inputs, or two more than go in one call, whose first answer has come; then the text comes. */
static void ask_and_hear(struct fixture *f, bool second, const char *text, size_t n)
{
    ask(f, second ? CALL_MAX + 2 : 2);
    if (second)
        answer_call(f, 0, CALL_MAX);
    say(f, text, n);
}

/* The upstream breaks off behind each byte of the first or the second call's answer. */
static void run_broken(bool second, size_t at, const struct buf *last, bool reset)
{
    struct fixture f;

    ask_and_hear(&f, second, last->p, at);
    assert_int_equal(f.client.got.n, 0);
    if (reset)
        conn_mem_reset(f.upstream.conn);
    else
        conn_close(&f.upstream.conn);
    loop_test_run(f.loop);
    expect_error(&f, 502, "upstream_");
    teardown(&f);
}

static void test_answers_broken_off(void **state)
{
    struct buf last;

    (void)state;
    buf_init(&last, TEXT_MAX);
    for (int second = 0; second < 2; second++) {
        size_t from = second ? CALL_MAX : 0;
        print_vectors(&last, from, from + 2, 2);
        for (size_t at = 0; at < last.n; at++) {
            run_broken(second != 0, at, &last, false);
            run_broken(second != 0, at, &last, true);
        }
    }
    buf_fini(&last);
}

/* Who leaves takes the upstream along: before, within and between the calls' answers, and while a
 * key cools. */
static void test_client_leaves(void **state)
{
    struct buf last;

    (void)state;
    buf_init(&last, TEXT_MAX);
    for (int second = 0; second < 2; second++) {
        size_t from = second ? CALL_MAX : 0;
        print_vectors(&last, from, from + 2, 2);
        for (size_t at = 0; at < last.n; at += 3) {
            struct fixture f;
            ask_and_hear(&f, second != 0, last.p, at);
            assert_false(f.upstream.eof || f.upstream.failed);
            conn_close(&f.client.conn);
            loop_test_run(f.loop);
            assert_true(f.upstream.eof || f.upstream.failed);
            assert_true(list_empty(&f.station.exchanges));
            teardown(&f);
        }
    }
    buf_fini(&last);
    struct fixture f;
    ask(&f, 2);
    refuse(&f, 429, "Retry-After: 2\r\n");
    refuse(&f, 429, "Retry-After: 2\r\n");
    assert_int_equal(f.client.got.n, 0);
    assert_false(list_empty(&f.station.exchanges));
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.exchanges));
    loop_test_advance(f.loop, 5 * SECOND);
    teardown(&f);
}

/* Who leaves before the request is whole. */
static void test_client_leaves_while_it_asks(void **state)
{
    static const char text[] =
        "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\n"
        "Authorization: Bearer test-client-key-1\r\n"
        "Content-Length: 60\r\n\r\n{\"model\":\"openai:gemini-embedding-001\"";

    (void)state;
    for (size_t n = 1; n < sizeof(text); n += 2) {
        struct fixture f;
        setup_with(&f, speaks_gemini);
        connect_client(&f);
        send_text(&f.client, text, n);
        loop_test_run(f.loop);
        conn_close(&f.client.conn);
        loop_test_run(f.loop);
        assert_int_equal(f.connects, 0);
        teardown(&f);
    }
}

/* A silent upstream, before its head, within its answer, and in the second call. */
static void test_silence(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, TEXT_MAX);
    for (int second = 0; second < 2; second++) {
        size_t from = second ? CALL_MAX : 0;
        print_vectors(&text, from, from + 2, 2);
        for (size_t at = 0; at < text.n; at += 50) {
            struct fixture f;
            ask_and_hear(&f, second != 0, text.p, at);
            loop_test_advance(f.loop, 4900);
            assert_int_equal(f.client.got.n, 0);
            loop_test_advance(f.loop, 200);
            expect_error(&f, 504, "upstream_timeout");
            assert_true(f.upstream.eof || f.upstream.failed);
            teardown(&f);
        }
    }
    buf_fini(&text);
}

/* --- what the upstream refuses -------------------------------------------------------------- */

/* The n-th call fails: its error is the client's, and nothing of the others. */
static void test_errors_of_the_nth_call(void **state)
{
    static const struct {
        int up;
        int down;
    } rows[] = {{400, 400}, {404, 404}, {500, 502}, {503, 503}};

    (void)state;
    for (size_t call = 0; call < 3; call++) {
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct fixture f;
            ask(&f, 250);
            for (size_t before = 0; before < call; before++)
                answer_call(&f, before * CALL_MAX, (before + 1) * CALL_MAX);
            refuse(&f, rows[i].up, "");
            expect_error(&f, rows[i].down, "not this one");
            /* The next request begins anew. */
            ask_with(&f, 1, "");
            answer_call(&f, 0, 1);
            expect_list(&f, 1, 1);
            teardown(&f);
        }
    }
}

/* A key that is refused, or may not, in the middle: the next one goes on where the first ended. */
static void test_keys_in_the_middle(void **state)
{
    static const int statuses[] = {429, 401, 403};

    (void)state;
    for (size_t call = 0; call < 3; call++) {
        for (size_t i = 0; i < COUNT_OF(statuses); i++) {
            struct fixture f;
            ask(&f, 250);
            for (size_t before = 0; before < call; before++)
                answer_call(&f, before * CALL_MAX, (before + 1) * CALL_MAX);
            buf_reset(&f.upstream.got);
            refuse(&f, statuses[i], "");
            for (size_t from = call * CALL_MAX; from < 250; from += CALL_MAX) {
                size_t to = from + CALL_MAX < 250 ? from + CALL_MAX : 250;
                expect_call(&f, from, to, 2);
                answer_call(&f, from, to);
            }
            expect_list(&f, 250, 250);
            teardown(&f);
        }
    }
}

/* What a refused call's answer had begun is taken back: a 200 is followed by nothing of it. */
static void test_all_keys_cool(void **state)
{
    struct fixture f;

    (void)state;
    ask(&f, 150);
    answer_call(&f, 0, 100);
    refuse(&f, 429, "Retry-After: 2\r\n");
    buf_reset(&f.upstream.got);
    refuse(&f, 429, "Retry-After: 3\r\n");
    loop_test_advance(f.loop, 1900);
    assert_int_equal(f.upstream.got.n, 0);
    loop_test_advance(f.loop, 200);
    expect_call(&f, 100, 150, 1);
    answer_call(&f, 100, 150);
    expect_list(&f, 150, 150);
    /* And one that cools for longer than anybody waits. */
    loop_test_advance(f.loop, 5 * SECOND);
    ask_with(&f, 150, "");
    answer_call(&f, 0, 100);
    refuse(&f, 429, "Retry-After: 60\r\n");
    refuse(&f, 429, "Retry-After: 60\r\n");
    expect_error(&f, 429, "not this one");
    teardown(&f);
}

/* --- answers that are none ------------------------------------------------------------------ */

static void test_answers_that_are_none(void **state)
{
    static const struct {
        const char *text;
        const char *words;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "embeddings"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "embeddings"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", "embeddings"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n{\"embeddings\":[{\"values\":[1,2]}]}",
         "1 of them for 2"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n"
         "{\"embeddings\":[{\"values\":[1]},{\"values\":[]}]}",
         "embeddings"},
        {"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
         "content-encoding"},
        {"HTTP/1.1 204 No Content\r\n\r\n", "204"},
        {"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "302"},
        {"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n", "upstream_"},
    };

    (void)state;
    for (int second = 0; second < 2; second++) {
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct fixture f;
            ask_and_hear(&f, second != 0, rows[i].text, strlen(rows[i].text));
            expect_error(&f, 502, rows[i].words);
            teardown(&f);
        }
    }
}

/* --- bounds --------------------------------------------------------------------------------- */

/* The list becomes larger than an answer may be: at its first call, or at a later one's. */
static void test_response_bytes_max(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 40; n++) {
        struct fixture f;
        setup_with(&f, small_answers);
        connect_client(&f);
        ask_with(&f, n, "");
        answer_call(&f, 0, n);
        if (n < 10) {
            expect_list(&f, n, (int64_t)n);
        } else if (n > 24) {
            expect_error(&f, 502, "response_bytes_max");
        } else {
            /* Somewhere between: all of it, or none. */
            bool fits = has(&f.client, "HTTP/1.1 200 ");
            if (fits)
                expect_list(&f, n, (int64_t)n);
            else
                expect_error(&f, 502, "response_bytes_max");
        }
        teardown(&f);
    }
}

/* An error without an end is kept to its beginning, and its end is not waited for longer than that
 * takes. */
static void test_an_error_of_any_length(void **state)
{
    static char block[64 * 1024];
    struct fixture f;
    static const char head[] = "HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 2097152\r\n\r\n";

    (void)state;
    memset(block, 'x', sizeof(block));
    ask(&f, 2);
    say(&f, head, sizeof(head) - 1);
    for (int i = 0; i < 32; i++)
        say(&f, block, sizeof(block));
    expect_error(&f, 400, "xxx");
    teardown(&f);
}

/* No memory left for all requests together: 503, and not the upstream's fault. */
static void test_no_memory(void **state)
{
    struct fixture f;

    (void)state;
    setup_with(&f, small_memory);
    connect_client(&f);
    ask_with(&f, 1000, "");
    for (size_t from = 0; from < 1000 && f.client.got.n == 0; from += CALL_MAX) {
        struct buf text;
        buf_init(&text, TEXT_MAX);
        (void)buf_add(&text, STR("{\"embeddings\":["));
        for (int i = 0; i < CALL_MAX; i++)
            (void)buf_print(&text, "%s{\"values\":[0.123456789,0.987654321,0.111111111]}",
                            i == 0 ? "" : ",");
        (void)buf_add(&text, STR("]}"));
        char head[128];
        int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                         text.n);
        send_text(&f.upstream, head, (size_t)n);
        say(&f, text.p, text.n);
        buf_fini(&text);
    }
    expect_error(&f, 503, "inflight_bytes_max");
    teardown(&f);
}

/* What is larger than is kept cannot be read, and so not translated. */
static void test_more_than_is_kept(void **state)
{
    struct fixture f;

    (void)state;
    setup_with(&f, small_peek);
    connect_client(&f);
    ask_with(&f, 400, "");
    expect_error(&f, 413, "opaque_peek_bytes");
    assert_int_equal(f.connects, 0);
    teardown(&f);
}

/* What is wrong in the request is said before anybody is asked. */
static void test_requests_that_are_wrong(void **state)
{
    static const struct {
        size_t n;
        const char *more;
        const char *words;
    } rows[] = {
        {0, "", "input"},
        {1, ",\"dimensions\":\"8\"", "dimensions"},
        {1, ",\"encoding_format\":\"hex\"", "encoding_format"},
        {2049, "", "2048"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fixture f;
        setup_with(&f, speaks_gemini);
        connect_client(&f);
        ask_with(&f, rows[i].n, rows[i].more);
        expect_error(&f, 400, rows[i].words);
        assert_int_equal(f.connects, 0);
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_cut),
        cmocka_unit_test(test_numbers_of_calls),
        cmocka_unit_test(test_tokens_of_some_calls),
        cmocka_unit_test(test_answers_broken_off),
        cmocka_unit_test(test_client_leaves),
        cmocka_unit_test(test_client_leaves_while_it_asks),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_errors_of_the_nth_call),
        cmocka_unit_test(test_keys_in_the_middle),
        cmocka_unit_test(test_all_keys_cool),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_response_bytes_max),
        cmocka_unit_test(test_an_error_of_any_length),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_more_than_is_kept),
        cmocka_unit_test(test_requests_that_are_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
