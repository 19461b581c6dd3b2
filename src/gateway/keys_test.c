/* SPDX-License-Identifier: MIT */
/*
 * Attempts and their keys on a clock that is moved by hand. Catches: a key that is tried twice, or
 * too early, or too late; a client that sees an answer which was not its own; a pause that keeps
 * something of who left.
 */
#include "gateway/exchange_answers_priv.h"

enum { KEYS = 3, SECOND = 1000 };

static size_t keys_wanted = KEYS;
static struct backend_key keys[KEYS];

static void several_keys(struct config *config)
{
    static const char *const secrets[KEYS] = {"sk-upstream-key-1", "sk-upstream-key-2",
                                              "sk-upstream-key-3"};
    static const char *const names[KEYS] = {"one", "two", "three"};
    struct backend_config *backend = &config->backends[0];

    assert_true(str_eq(backend->name, STR("openai")));
    for (size_t i = 0; i < backend->keys_n; i++)
        secret_free(&backend->keys[i].key);
    for (size_t i = 0; i < keys_wanted; i++)
        keys[i] = (struct backend_key){.name = str_c(names[i]),
                                       .key = secret_new(str_c(secrets[i]))};
    backend->keys = keys;
    backend->keys_n = keys_wanted;
    backend->policy = STR("failover");
}

static void setup_keys(struct fixture *f, size_t n)
{
    keys_wanted = n;
    setup_with(f, several_keys);
    connect_client(f);
}

static struct keyring_view view_of(struct fixture *f, size_t index)
{
    struct keyring_view view;

    keyring_view(f->gateway->site->backends->preferred->keyring, index, loop_now_ms(f->loop),
                 &view);
    return view;
}

/* The request that the upstream got last came with that key. */
static void expect_key(struct fixture *f, size_t number)
{
    char line[64];

    (void)snprintf(line, sizeof(line), "Bearer sk-upstream-key-%zu\r\n", number);
    if (!has(&f->upstream, line))
        fail_msg("not with key %zu: %.*s", number, STR_ARG(buf_str(&f->upstream.got)));
    assert_true(has(&f->upstream, "\"content\":\"hi\""));
    buf_reset(&f->upstream.got);
}

/* Nothing came. */
static void expect_nothing(struct fixture *f)
{
    loop_test_run(f->loop);
    assert_int_equal(f->upstream.got.n, 0);
}

static void send_parts(struct fixture *f, const char *text, size_t n, size_t split)
{
    int connects = f->connects;

    split = split > n ? n : split;
    send_text(&f->upstream, text, split);
    loop_test_run(f->loop);
    if (f->connects != connects) /* nobody wants the rest */
        return;
    send_text(&f->upstream, text + split, n - split);
    loop_test_run(f->loop);
}

#define LIMITED_BODY "{\"error\":{\"message\":\"slow down\",\"code\":\"rate_limit_exceeded\"}}"
#define REFUSED_BODY "{\"error\":{\"message\":\"who?\",\"code\":\"invalid_api_key\"}}"

static size_t print_refusal(char *to, size_t size, int status, const char *lines)
{
    const char *body = status == 429 ? LIMITED_BODY : REFUSED_BODY;
    int n = snprintf(to, size,
                     "HTTP/1.1 %d No\r\nContent-Type: application/json\r\n%sContent-Length: "
                     "%zu\r\n\r\n%s",
                     status, lines, strlen(body), body);

    assert_true(n > 0 && (size_t)n < size);
    return (size_t)n;
}

static void refuse(struct fixture *f, int status, const char *lines)
{
    char text[512];
    size_t n = print_refusal(text, sizeof(text), status, lines);

    send_parts(f, text, n, n);
}

static void answer(struct fixture *f, bool stream)
{
    char text[4096];
    size_t n = print_answer(text, sizeof(text), stream);

    send_parts(f, text, n, n);
}

static void expect_client(struct fixture *f, const char *first, const char *second)
{
    if (!has(&f->client, first) || !has(&f->client, second))
        fail_msg("no %s, %s in %.*s", first, second, STR_ARG(buf_str(&f->client.got)));
    buf_reset(&f->client.got);
}

/* Catches: an answer that is another one by where it was cut. */
static void test_the_next_key_at_once_however_cut(void **state)
{
    char text[512];

    (void)state;
    size_t n = print_refusal(text, sizeof(text), 429, "Retry-After: 30\r\n");
    for (size_t split = 0; split <= n; split++) {
        struct fixture f;
        setup_keys(&f, 2);
        send_request(&f, split % 2 == 0);
        expect_key(&f, 1);
        send_parts(&f, text, n, split);
        assert_int_equal(f.client.got.n, 0);
        expect_key(&f, 2);
        assert_int_equal(view_of(&f, 0).cooling_ms, 30 * SECOND);
        assert_int_equal(view_of(&f, 0).in_flight, 0);
        assert_int_equal(view_of(&f, 1).in_flight, 1);
        answer(&f, split % 2 == 0);
        assert_false(has(&f.client, "slow down"));
        assert_int_equal(view_of(&f, 1).in_flight, 0);
        expect_client(&f, "HTTP/1.1 200 ", "x-llm-proxy-attempts: 2\r\n");
        teardown(&f);
    }
}

static void test_all_cool(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 3);
    send_request(&f, false);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After: 30\r\n");
    expect_key(&f, 2);
    refuse(&f, 429, "Retry-After: 10\r\n");
    expect_key(&f, 3);
    refuse(&f, 429, "Retry-After: 20\r\n");
    expect_client(&f, "HTTP/1.1 429 ", "slow down");
    loop_test_advance(f.loop, 1500);
    send_request(&f, true);
    expect_nothing(&f);
    assert_true(has(&f.client, "Rate limit exceeded"));
    assert_true(has(&f.client, "x-ratelimit-remaining: 0\r\n"));
    expect_client(&f, "HTTP/1.1 429 ", "retry-after: 9\r\n");
    loop_test_advance(f.loop, 8499);
    send_request(&f, false);
    expect_nothing(&f);
    expect_client(&f, "HTTP/1.1 429 ", "retry-after-ms: 1\r\n");
    loop_test_advance(f.loop, 1);
    send_request(&f, false);
    expect_key(&f, 2);
    answer(&f, false);
    expect_client(&f, "HTTP/1.1 200 ", "x-llm-proxy-attempts: 1\r\n");
    loop_test_advance(f.loop, 20 * SECOND);
    send_request(&f, false);
    expect_key(&f, 1);
    answer(&f, false);
    expect_client(&f, "HTTP/1.1 200 ", "attempts: 1\r\n");
    teardown(&f);
}

/* Catches: a pause that is too short for the key, too long for the client, or a second one. */
static void test_a_pause_is_once(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 1);
    send_request(&f, false);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After-Ms: 700\r\n");
    loop_test_advance(f.loop, 699);
    expect_nothing(&f);
    assert_int_equal(f.client.got.n, 0);
    loop_test_advance(f.loop, 1 + TIMER_SLACK_MS);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After-Ms: 700\r\n");
    expect_client(&f, "HTTP/1.1 429 ", "x-llm-proxy-attempts: 2\r\n");
    loop_test_advance(f.loop, 701);
    /* Not longer than retry_wait_max, which is 5 s. */
    send_request(&f, false);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After: 5.001\r\n");
    expect_client(&f, "HTTP/1.1 429 ", "retry-after: 6\r\n");
    teardown(&f);
}

static void test_told_to_come_at_once(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 1);
    send_request(&f, true);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After: 0\r\n");
    loop_test_advance(f.loop, 1 + TIMER_SLACK_MS);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After: 0\r\n");
    expect_client(&f, "HTTP/1.1 429 ", "slow down");
    teardown(&f);
}

/* The first key that is ready is waited for, whichever it is. */
static void test_the_shortest_wait_of_all(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 2);
    send_request(&f, false);
    expect_key(&f, 1);
    refuse(&f, 429, "Retry-After: 2\r\n");
    expect_key(&f, 2);
    refuse(&f, 429, "Retry-After: 600\r\n");
    assert_int_equal(f.client.got.n, 0);
    loop_test_advance(f.loop, 2 * SECOND + TIMER_SLACK_MS);
    expect_key(&f, 1);
    answer(&f, false);
    expect_client(&f, "HTTP/1.1 200 ", "x-llm-proxy-attempts: 3\r\n");
    teardown(&f);
}

static void test_a_client_leaves_in_the_pause(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 1);
    send_request(&f, false);
    refuse(&f, 429, "Retry-After: 3\r\n");
    buf_reset(&f.upstream.got);
    assert_false(list_empty(&f.station.exchanges));
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.exchanges));
    loop_test_advance(f.loop, 4 * SECOND);
    expect_nothing(&f);
    teardown(&f);
}

static void test_the_station_is_aborted_in_the_pause(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 1);
    send_request(&f, false);
    refuse(&f, 429, "Retry-After: 3\r\n");
    station_stop(&f.station);
    station_abort(&f.station);
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.exchanges));
    teardown(&f);
}

static void test_refused(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 2);
    send_request(&f, false);
    expect_key(&f, 1);
    refuse(&f, 401, "");
    expect_key(&f, 2);
    answer(&f, false);
    expect_client(&f, "HTTP/1.1 200 ", "x-llm-proxy-attempts: 2\r\n");
    assert_true(view_of(&f, 0).invalid);
    assert_int_equal(view_of(&f, 0).error_status, 401);
    assert_string_equal(view_of(&f, 0).error, "The backend refused its key");
    send_request(&f, false);
    expect_key(&f, 2);
    refuse(&f, 403, "");
    expect_key(&f, 1); /* none works: it is asked again */
    refuse(&f, 401, "");
    expect_client(&f, "HTTP/1.1 401 ", "who?");
    send_request(&f, false);
    expect_key(&f, 1);
    answer(&f, false);
    expect_client(&f, "HTTP/1.1 200 ", "x-llm-proxy-attempts: 1\r\n");
    assert_false(view_of(&f, 0).invalid);
    teardown(&f);
}

#define EVENT_STREAM                                                     \
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: " \
    "close\r\n\r\n"
#define ERROR_EVENT "data: " LIMITED_BODY "\n\n"

/* Catches: an error that goes down because more, or less, of it came in one read. */
static void test_an_error_first_in_a_stream_however_cut(void **state)
{
    static const char text[] = EVENT_STREAM ERROR_EVENT "data: [DONE]\n\n";

    (void)state;
    for (size_t split = 0; split < sizeof(text); split++) {
        struct fixture f;
        setup_keys(&f, 2);
        send_request(&f, true);
        expect_key(&f, 1);
        send_parts(&f, text, sizeof(text) - 1, split);
        assert_int_equal(f.client.got.n, 0);
        expect_key(&f, 2);
        assert_int_equal(view_of(&f, 0).cooling_ms, KEYRING_COOL_MS);
        answer(&f, true);
        assert_false(has(&f.client, "slow down"));
        expect_client(&f, "HTTP/1.1 200 ", "[DONE]\n\n");
        teardown(&f);
    }
}

/* Catches: a client that gets two beginnings. */
static void test_an_error_after_the_beginning_is_the_clients(void **state)
{
    static const char text[] = EVENT_STREAM CHUNK("{\"content\":\"one\"}", "null") ERROR_EVENT;

    (void)state;
    for (size_t split = 0; split < sizeof(text); split += 7) {
        struct fixture f;
        setup_keys(&f, 2);
        send_request(&f, true);
        expect_key(&f, 1);
        send_parts(&f, text, sizeof(text) - 1, split);
        loop_test_advance(f.loop, 2 * SECOND);
        expect_nothing(&f);
        assert_int_equal(view_of(&f, 0).cooling_ms, KEYRING_COOL_MS - 2 * SECOND);
        expect_client(&f, "\"content\":\"one\"", "slow down");
        teardown(&f);
    }
}

static void test_what_broke_off_is_remembered(void **state)
{
    struct fixture f;

    (void)state;
    setup_keys(&f, 2);
    send_request(&f, false);
    expect_key(&f, 1);
    send_text(&f.upstream, "garbage\r\n\r\n", 11);
    loop_test_run(f.loop);
    expect_client(&f, "HTTP/1.1 502 ", "backend openai");
    struct keyring_view view = view_of(&f, 0);
    assert_int_equal(view.in_flight, 0);
    assert_int_equal(view.error_status, 0);
    assert_true(view.error[0] != '\0');
    assert_int_equal(view.cooling_ms, 0);
    assert_false(view.invalid);
    /* Who leaves before an answer has shown nothing. */
    send_request(&f, false);
    conn_close(&f.client.conn);
    loop_test_advance(f.loop, 10);
    assert_int_equal(view_of(&f, 0).uses, 2);
    assert_int_equal(view_of(&f, 0).error_age_ms, 10);
    teardown(&f);
}

static void test_what_heads_mean(void **state)
{
    static const struct {
        int status;
        const char *name;
        const char *value;
        enum keyring_outcome outcome;
        int64_t wait_ms;
    } rows[] = {
        {200, "retry-after", "9", KEYRING_WORKED, -1},
        {404, "retry-after", "9", KEYRING_WORKED, -1},
        {401, "x", "y", KEYRING_REFUSED, -1},
        {403, "x", "y", KEYRING_REFUSED, -1},
        {500, "x", "y", KEYRING_FAILED, -1},
        {429, "retry-after", "9", KEYRING_LIMITED, 9001},
        {429, "x-ratelimit-reset", "6000", KEYRING_LIMITED, 6},
        {429, "x", "y", KEYRING_LIMITED, -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct http_header header = {.name = str_c(rows[i].name), .value = str_c(rows[i].value)};
        const struct message m = {.status = rows[i].status, .headers = {.items = &header, .n = 1}};
        struct keyring_result result = keys_result(&m, 5995);
        assert_int_equal(result.outcome, rows[i].outcome);
        assert_int_equal(result.wait_ms, rows[i].wait_ms);
        assert_int_equal(result.status, rows[i].status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_next_key_at_once_however_cut),
        cmocka_unit_test(test_all_cool),
        cmocka_unit_test(test_a_pause_is_once),
        cmocka_unit_test(test_told_to_come_at_once),
        cmocka_unit_test(test_the_shortest_wait_of_all),
        cmocka_unit_test(test_a_client_leaves_in_the_pause),
        cmocka_unit_test(test_the_station_is_aborted_in_the_pause),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_an_error_first_in_a_stream_however_cut),
        cmocka_unit_test(test_an_error_after_the_beginning_is_the_clients),
        cmocka_unit_test(test_what_broke_off_is_remembered),
        cmocka_unit_test(test_what_heads_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
