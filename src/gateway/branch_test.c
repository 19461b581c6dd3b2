/* SPDX-License-Identifier: MIT */
/*
 * Another configuration under running exchanges, on a virtual clock: what runs ends as it began,
 * what begins goes by the new one, nothing of the old one stays behind.
 */
#include "gateway/exchange_answers_priv.h"

struct swap {
    struct fixture f;
    struct end second; /* the newest connection to the second site's upstream */
    int second_connects;
};

static struct conn *connect_second(void *ctx, struct loop *loop)
{
    struct swap *s = ctx;
    struct conn *near = NULL;
    struct conn *far = NULL;

    conn_pair(loop, &near, &far);
    conn_close(&s->second.conn);
    end_init(&s->second, far);
    buf_reset(&s->second.got);
    s->second_connects++;
    return near;
}

/* The second configuration: another key and another URL of the same backend. */
static enum error_code reload(struct swap *s, void (*tweak)(struct config *config),
                              struct buf *restart, struct error *e)
{
    static char program[] = "";
    static char api_keys[] = "--api-keys", key[] = "test-client-key-1";
    static char default_backend[] = "--default-backend", openai[] = "openai";
    static char *argv[] = {program, api_keys, key, default_backend, openai, NULL};
    static char api_key[] = "OPENAI_API_KEY=sk-upstream-key-2";
    static char base_url[] = "OPENAI_API_BASE_URL=http://second.test/v1";
    static char *environment[] = {api_key, base_url, NULL};
    const struct config_source source = {.argc = 5,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    struct config_result result = {.config = NULL};
    struct backend_set *backends = NULL;

    config_read(&source, &s->f.arena, &result);
    assert_non_null(result.config);
    if (tweak != NULL)
        tweak(result.config);
    enum error_code code = backend_set_new(result.config, &backends, e);
    if (code == OK)
        code = gateway_reload(s->f.gateway, result.config, &backends, restart, e);
    assert_null(backends);
    config_unref(&result.config);
    return code;
}

/* As a worker does it that was told. */
static void take(struct swap *s, void (*tweak)(struct config *config))
{
    struct station *station = &s->f.station;
    struct error e = {.code = OK};
    struct buf restart;

    buf_init(&restart, 1024);
    if (reload(s, tweak, &restart, &e) != OK)
        fail_msg("%s", e.detail);
    buf_fini(&restart);
    atomic_store(&station->next_site, site_ref(s->f.gateway->site));
    station_take_site(station);
    assert_ptr_equal(station->branch->site, s->f.gateway->site);
    struct backend *backend = station->branch->site->backends->preferred;
    station->branch->pools[backend->place] =
        client_pool_new(s->f.loop, &(struct client_pool_options){
                                       .host = STR("second.test"),
                                       .port = 80,
                                       .connect_timeout_ms = 1000,
                                       .idle_timeout_ms = 60000,
                                       .silence_timeout_ms = 5000,
                                       .header_bytes_max = 32768,
                                       .connections = &backend->load->connections,
                                       .connections_max = 4,
                                       .connect = connect_second,
                                       .connect_ctx = s,
                                   });
}

static size_t branch_count(const struct swap *s)
{
    size_t n = 0;

    LIST_FOREACH(node, &s->f.station.branches)
    n++;
    return n;
}

static void begin(struct swap *s)
{
    memset(s, 0, sizeof(*s));
    setup(&s->f);
    connect_client(&s->f);
}

static void end(struct swap *s)
{
    end_fini(&s->f.client);
    loop_test_run(s->f.loop);
    end_fini(&s->second);
    loop_test_run(s->f.loop);
    teardown(&s->f);
}

static size_t print_request(char *to, size_t size, bool stream, size_t *ret_head)
{
    char body[256];
    int n = snprintf(body, sizeof(body), request_body, stream ? "true" : "false");
    int total = snprintf(to, size,
                         "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                         "Authorization: Bearer test-client-key-1\r\n"
                         "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                         n, body);
    assert_true(n > 0 && total > n && (size_t)total < size);
    *ret_head = (size_t)(total - n);
    return (size_t)total;
}

/* Sends text with the swap after the first at bytes; SIZE_MAX: without. */
static void send_swapped(struct swap *s, struct end *to, const char *text, size_t n, size_t at)
{
    size_t first = at < n ? at : n;

    send_text(to, text, first);
    loop_test_run(s->f.loop);
    if (at <= n)
        take(s, NULL);
    if (first == n)
        return;
    send_text(to, text + first, n - first);
    loop_test_run(s->f.loop);
}

/* The next request on the same connection goes by the second configuration. */
static void ask_second(struct swap *s)
{
    char text[4096];
    size_t n = print_answer(text, sizeof(text), false);

    buf_reset(&s->f.client.got);
    buf_reset(&s->second.got);
    send_request(&s->f, false);
    assert_int_equal(s->second_connects, 1);
    assert_true(has(&s->second, "host: second.test\r\n"));
    assert_true(has(&s->second, "Bearer sk-upstream-key-2\r\n"));
    send_text(&s->second, text, n);
    loop_test_run(s->f.loop);
    check_answer(&s->f, false);
}

/* The swap comes after byte `at` of what client and upstream send together. */
static void run_swap(bool stream, size_t at)
{
    struct swap s;
    char request[1024];
    char answer[4096];
    size_t head_n = 0;
    size_t request_n = print_request(request, sizeof(request), stream, &head_n);
    size_t answer_n = print_answer(answer, sizeof(answer), stream);
    bool begun = at >= head_n;

    if (at > request_n + answer_n)
        return;
    begin(&s);
    send_swapped(&s, &s.f.client, request, request_n, at);
    struct end *upstream = begun ? &s.f.upstream : &s.second;
    assert_int_equal(s.f.connects, begun ? 1 : 0);
    assert_true(has(upstream, begun ? "host: upstream.test\r\n" : "host: second.test\r\n"));
    assert_true(
        has(upstream, begun ? "Bearer sk-upstream-key-1\r\n" : "Bearer sk-upstream-key-2\r\n"));
    if (at >= head_n && at <= request_n)
        assert_int_equal(branch_count(&s), 2);
    send_swapped(&s, upstream, answer, answer_n, at > request_n ? at - request_n : SIZE_MAX);
    loop_test_run(s.f.loop);
    check_answer(&s.f, stream);
    /* Nothing of the old one is left, and its connection was closed, not kept. */
    assert_int_equal(branch_count(&s), 1);
    assert_true(!begun || s.f.upstream.eof);
    assert_int_equal(atomic_load(&s.f.gateway->site->refs), 2);
    ask_second(&s);
    end(&s);
}

/* Catches: an exchange that changes its backend, key or limits in the middle; an old site that
 * stays, or goes too early (ASAN). */
static void test_swap_after_every_byte(void **unused)
{
    (void)unused;
    for (size_t at = 0; at < sizeof(stream_body) + 1024; at++)
        run_swap(true, at);
    for (size_t at = 0; at < sizeof(whole_body) + 1024; at++)
        run_swap(false, at);
}

/* Catches: a pool of the old site that keeps a connection, or counts it for ever. */
static void test_idle_connections_of_the_old_site_are_closed(void **unused)
{
    struct swap s;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), false);

    (void)unused;
    begin(&s);
    send_request(&s.f, false);
    send_text(&s.f.upstream, answer, n);
    loop_test_run(s.f.loop);
    check_answer(&s.f, false);
    struct backend_load *load = s.f.gateway->site->backends->preferred->load;
    assert_int_equal(atomic_load(&load->connections), 1);
    assert_false(s.f.upstream.eof);
    take(&s, NULL);
    assert_int_equal(atomic_load(&load->connections), 0);
    loop_test_run(s.f.loop);
    assert_true(s.f.upstream.eof);
    assert_int_equal(branch_count(&s), 1);
    assert_ptr_equal(s.f.gateway->site->backends->preferred->load, load);
    ask_second(&s);
    end(&s);
}

/* Catches: swaps in a row under a stream that free what it needs, or keep what nobody needs. */
static void test_swaps_in_a_row_under_one_stream(void **unused)
{
    struct swap s;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), true);

    (void)unused;
    begin(&s);
    send_request(&s.f, true);
    send_text(&s.f.upstream, answer, n / 2);
    loop_test_run(s.f.loop);
    for (int i = 0; i < 50; i++) {
        take(&s, NULL);
        if (i % 2 == 0)
            loop_test_run(s.f.loop);
    }
    loop_test_run(s.f.loop);
    assert_int_equal(branch_count(&s), 2);
    send_text(&s.f.upstream, answer + n / 2, n - n / 2);
    loop_test_run(s.f.loop);
    check_answer(&s.f, true);
    assert_int_equal(branch_count(&s), 1);
    ask_second(&s);
    end(&s);
}

/* Catches: an answer that the client has not taken yet, whose site is gone. */
static void test_swap_while_the_client_reads_slowly(void **unused)
{
    static char text[512 * 1024];
    struct swap s;

    (void)unused;
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     sizeof(text) - 1024, whole_body);
    memset(text + n, ' ', sizeof(text) - (size_t)n);
    size_t total = sizeof(text) - 1024 + (size_t)n - (sizeof(whole_body) - 1);
    begin(&s);
    send_request(&s.f, false);
    conn_read_stop(s.f.client.conn);
    send_text(&s.f.upstream, text, total);
    loop_test_run(s.f.loop);
    take(&s, NULL);
    loop_test_run(s.f.loop);
    assert_int_equal(branch_count(&s), 2);
    conn_read_start(s.f.client.conn);
    loop_test_run(s.f.loop);
    assert_true(s.f.client.got.n > sizeof(text) - 1024);
    assert_int_equal(branch_count(&s), 1);
    ask_second(&s);
    end(&s);
}

/* Catches: a client that leaves, or an upstream that breaks off, after the swap. */
static void test_ends_of_all_kinds_after_a_swap(void **unused)
{
    (void)unused;
    for (int how = 0; how < 3; how++) {
        struct swap s;
        begin(&s);
        send_request(&s.f, true);
        take(&s, NULL);
        assert_int_equal(branch_count(&s), 2);
        if (how == 0)
            conn_close(&s.f.client.conn);
        else if (how == 1)
            conn_close(&s.f.upstream.conn);
        else
            loop_test_advance(s.f.loop, 400000); /* it stays silent */
        loop_test_run(s.f.loop);
        assert_int_equal(branch_count(&s), 1);
        end(&s);
    }
}

/* Catches: a stop that waits for no branch, or for ever. */
static void test_stop_with_an_old_branch(void **unused)
{
    struct swap s;
    char answer[4096];
    size_t n = print_answer(answer, sizeof(answer), true);

    (void)unused;
    begin(&s);
    send_request(&s.f, true);
    send_text(&s.f.upstream, answer, n - 10);
    loop_test_run(s.f.loop);
    take(&s, NULL);
    station_stop(&s.f.station);
    loop_test_run(s.f.loop);
    assert_false(s.f.station.ended);
    /* One more that comes too late is given back. */
    atomic_store(&s.f.station.next_site, site_ref(s.f.gateway->site));
    station_take_site(&s.f.station);
    assert_int_equal(branch_count(&s), 2);
    send_text(&s.f.upstream, answer + n - 10, 10);
    loop_test_run(s.f.loop);
    check_answer(&s.f, true);
    end(&s);
}

/* Catches: a job in another thread whose site is freed under it. */
static void run_large(bool leave)
{
    enum { LARGE_N = LARGE_BYTES + 64 * 1024 };
    static char body[LARGE_N];
    struct swap s;
    char head[256];
    int n = snprintf(body, sizeof(body), request_body, "false");

    memset(body + n, ' ', sizeof(body) - (size_t)n);
    int head_n = snprintf(head, sizeof(head),
                          "POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\n"
                          "Authorization: Bearer test-client-key-1\r\nContent-Length: %zu\r\n\r\n",
                          sizeof(body));
    begin(&s);
    send_text(&s.f.client, head, (size_t)head_n);
    send_text(&s.f.client, body, sizeof(body) - 1);
    loop_test_run(s.f.loop);
    struct exchange *x = LIST_ENTRY(s.f.station.exchanges.next, struct exchange, link);
    body_come(x, STR(" "));
    body_end(x);
    assert_int_equal(x->state, EXCHANGE_PARSE);
    take(&s, NULL);
    assert_int_equal(branch_count(&s), 2);
    if (leave)
        station_abort(&s.f.station);
    loop_test_run(s.f.loop);
    assert_int_equal(branch_count(&s), leave ? 1 : 2);
    assert_int_equal(s.f.connects, leave ? 0 : 1);
    station_abort(&s.f.station);
    loop_test_run(s.f.loop);
    assert_int_equal(branch_count(&s), 1);
    end(&s);
}

static void test_swap_while_a_job_waits(void **unused)
{
    (void)unused;
    run_large(false);
    run_large(true);
}

static void send_list(struct end *to, const char *model)
{
    char body[256];
    char text[512];
    int n = snprintf(body, sizeof(body),
                     "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\"}]}",
                     model);
    int total = snprintf(text, sizeof(text),
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Content-Length: %d\r\n\r\n%s",
                         n, body);
    send_text(to, text, (size_t)total);
}

/* Catches: an old list of models that is shown on; one that waits for an old list and is left. */
static void test_the_list_of_models_is_asked_for_anew(void **unused)
{
    static const char ask[] = "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
                              "Authorization: Bearer test-client-key-1\r\n\r\n";
    struct swap s;

    (void)unused;
    begin(&s);
    send_text(&s.f.client, ask, sizeof(ask) - 1);
    loop_test_run(s.f.loop);
    assert_true(has(&s.f.upstream, "GET /v1/models HTTP/1.1\r\n"));
    take(&s, NULL);
    loop_test_run(s.f.loop);
    assert_int_equal(branch_count(&s), 2);
    send_list(&s.f.upstream, "old-model");
    loop_test_run(s.f.loop);
    assert_true(has(&s.f.client, "openai:old-model"));
    assert_int_equal(branch_count(&s), 1);
    buf_reset(&s.f.client.got);
    send_text(&s.f.client, ask, sizeof(ask) - 1);
    loop_test_run(s.f.loop);
    assert_true(has(&s.second, "Bearer sk-upstream-key-2\r\n"));
    send_list(&s.second, "new-model");
    loop_test_run(s.f.loop);
    assert_true(has(&s.f.client, "openai:new-model"));
    assert_false(has(&s.f.client, "old-model"));
    end(&s);
}

static void small(struct config *config)
{
    config->header_bytes_max = 1024;
    config->body_bytes_max = 1024;
    config->inflight_bytes_max = 2 * 1024 * 1024;
    config->keepalive_timeout_ms = 1000;
}

static void send_sized(struct swap *s, size_t header, size_t body)
{
    static char text[8192];
    static char padding[4096];

    memset(padding, 'p', sizeof(padding));
    int n = snprintf(text, sizeof(text),
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Padding: %.*s\r\n"
                     "Authorization: Bearer test-client-key-1\r\nContent-Length: %zu\r\n\r\n",
                     (int)header, padding, body);
    buf_reset(&s->f.client.got);
    send_text(&s->f.client, text, (size_t)n);
    loop_test_run(s->f.loop);
}

/* Catches: limits that stay the old ones on connections that are open, or change under a body. */
static void test_limits_change_for_what_begins(void **unused)
{
    static char body[2000];
    struct swap s;

    (void)unused;
    begin(&s);
    int n = snprintf(body, sizeof(body), request_body, "false");
    memset(body + n, ' ', sizeof(body) - (size_t)n);
    send_sized(&s, 1500, sizeof(body));
    send_text(&s.f.client, body, 100);
    loop_test_run(s.f.loop);
    take(&s, small);
    assert_int_equal(atomic_load(&s.f.gateway->inflight.max), 2 * 1024 * 1024);
    send_text(&s.f.client, body + 100, sizeof(body) - 100);
    loop_test_run(s.f.loop);
    assert_true(has(&s.f.upstream, "POST /v1/chat/completions"));
    char answer[4096];
    send_text(&s.f.upstream, answer, print_answer(answer, sizeof(answer), false));
    loop_test_run(s.f.loop);
    check_answer(&s.f, false);
    send_sized(&s, 10, sizeof(body));
    assert_true(has(&s.f.client, "HTTP/1.1 413 "));
    loop_test_advance(s.f.loop, 20000);
    conn_close(&s.f.client.conn);
    loop_test_run(s.f.loop);
    connect_client(&s.f);
    send_sized(&s, 1500, 10);
    assert_true(has(&s.f.client, "HTTP/1.1 431 "));
    conn_close(&s.f.client.conn);
    loop_test_run(s.f.loop);
    connect_client(&s.f);
    ask_second(&s);
    assert_false(s.f.client.eof);
    loop_test_advance(s.f.loop, 1100); /* keepalive_timeout */
    assert_true(s.f.client.eof);
    end(&s);
}

static void open_to_all(struct config *config)
{
    config->host = STR("0.0.0.0");
    config->port = 18000;
}

static void no_keys(struct config *config)
{
    config->disable_auth = true;
}

static void other_place(struct config *config)
{
    config->host = STR("127.0.0.2");
    config->port = 18001;
    config->workers = 7;
}

static void https(struct config *config)
{
    config->backends[0].api_url = STR("https://second.test/v1");
}

static void bad_ca(struct config *config)
{
    https(config);
    config->backends[0].ca_file = STR("/nonexistent/ca.pem");
}

/* Catches: a proxy that is opened to the world; a fault that leaves half of it changed. */
static void test_what_must_not_be_taken_over(void **unused)
{
    struct swap s;
    struct error e = {.code = OK};
    struct buf restart;

    (void)unused;
    buf_init(&restart, 1024);
    memset(&s, 0, sizeof(s));
    setup_with(&s.f, open_to_all);
    connect_client(&s.f);
    const struct site *before = s.f.gateway->site;
    assert_int_equal(reload(&s, no_keys, &restart, &e), ERR_CONFIG);
    assert_true(str_find(str_c(e.detail), STR("disable_auth: needs a restart"), 0) == 0);
    assert_int_equal(reload(&s, bad_ca, &restart, &e), ERR_CONFIG);
    assert_true(str_find(str_c(e.detail), STR("/nonexistent/ca.pem"), 0) != SIZE_MAX);
    assert_int_equal(setenv("SSL_CERT_FILE", "/nonexistent/file.pem", 1), 0);
    assert_int_equal(reload(&s, https, &restart, &e), ERR_CONFIG);
    assert_int_equal(unsetenv("SSL_CERT_FILE"), 0);
    assert_true(str_find(str_c(e.detail), STR("/nonexistent/file.pem"), 0) != SIZE_MAX);
    assert_ptr_equal(s.f.gateway->site, before);
    assert_int_equal(restart.n, 0);
    assert_int_equal(reload(&s, other_place, &restart, &e), OK);
    assert_true(str_eq(buf_str(&restart), STR("host, port, workers")));
    assert_true(str_eq(gateway_host(s.f.gateway), STR("0.0.0.0")));
    gateway_drain(s.f.gateway);
    assert_int_equal(reload(&s, NULL, &restart, &e), ERR_DRAINING);
    buf_fini(&restart);
    end(&s);
}

/* On loopback nobody is let in who was not before. */
static void test_authentication_may_end_on_loopback(void **unused)
{
    static const char ask[] = "GET /none HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    struct swap s;

    (void)unused;
    begin(&s);
    send_text(&s.f.client, ask, sizeof(ask) - 1);
    loop_test_run(s.f.loop);
    assert_true(has(&s.f.client, "HTTP/1.1 401 "));
    take(&s, no_keys);
    ask_second(&s);
    end(&s);
}

static char changing_name[24];

static void renamed(struct config *config)
{
    config->default_backend = STR_NULL;
    config->backends[0].name = str_c(changing_name);
    config->backends[0].protocol = STR("openai-chat");
}

/* Catches: counters that jump to another name, or are lost, when backends come and go. */
static void test_names_keep_their_metrics(void **unused)
{
    struct swap s;
    struct error e = {.code = OK};
    struct buf out;

    (void)unused;
    begin(&s);
    size_t before = s.f.gateway->site->backends->n;
    buf_init(&out, TEXT_MAX);
    metric_add(&s.f.station.metrics, METRIC_attempts_total,
               s.f.gateway->site->backends->preferred->slot, 5);
    const struct metrics *sets[] = {&s.f.station.metrics};
    s.f.gateway->metrics = sets;
    s.f.gateway->stations_n = 1;
    s.f.gateway->stations = mem_new(sizeof(struct station));
    for (int i = 1; i < 2 * METRIC_SLOTS_BACKEND; i++) {
        struct buf restart;
        (void)snprintf(changing_name, sizeof(changing_name), "name-%d", i);
        buf_init(&restart, 1024);
        assert_int_equal(reload(&s, renamed, &restart, &e), OK);
        buf_fini(&restart);
        size_t slot = backend_find(s.f.gateway->site->backends, str_c(changing_name))->slot;
        size_t nth = before + (size_t)i - 1;
        assert_int_equal(slot, nth < METRIC_SLOTS_BACKEND - 1 ? nth : METRIC_SLOTS_BACKEND - 1);
        metric_add(&s.f.station.metrics, METRIC_attempts_total, slot, i == 100 ? 1 : 0);
    }
    gateway_metrics(s.f.gateway, s.f.gateway->site, loop_now_ms(s.f.loop), &out);
    struct str text = buf_str(&out);
    assert_true(str_find(text, STR("attempts_total{backend=\"openai\"} 5\n"), 0) != SIZE_MAX);
    assert_true(str_find(text, STR("attempts_total{backend=\"name-1\"} 0\n"), 0) != SIZE_MAX);
    assert_true(str_find(text, STR("attempts_total{backend=\"(other)\"} 1\n"), 0) != SIZE_MAX);
    assert_true(str_find(text, STR("name-100"), 0) == SIZE_MAX);
    buf_fini(&out);
    struct site *not_taken = atomic_exchange(&s.f.gateway->stations[0].next_site, NULL);
    site_unref(&not_taken);
    mem_free(s.f.gateway->stations);
    s.f.gateway->stations = NULL;
    s.f.gateway->stations_n = 0;
    s.f.gateway->metrics = NULL;
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swap_after_every_byte),
        cmocka_unit_test(test_idle_connections_of_the_old_site_are_closed),
        cmocka_unit_test(test_swaps_in_a_row_under_one_stream),
        cmocka_unit_test(test_swap_while_the_client_reads_slowly),
        cmocka_unit_test(test_ends_of_all_kinds_after_a_swap),
        cmocka_unit_test(test_stop_with_an_old_branch),
        cmocka_unit_test(test_swap_while_a_job_waits),
        cmocka_unit_test(test_the_list_of_models_is_asked_for_anew),
        cmocka_unit_test(test_limits_change_for_what_begins),
        cmocka_unit_test(test_what_must_not_be_taken_over),
        cmocka_unit_test(test_authentication_may_end_on_loopback),
        cmocka_unit_test(test_names_keep_their_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
