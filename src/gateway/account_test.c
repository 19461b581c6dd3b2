/* SPDX-License-Identifier: MIT */
/* One line and one count for each exchange, whatever became of it. */
#include "gateway/account.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gateway/exchange_answers_priv.h"

/* What went to the log, in a file of memory in its descriptor's place. */
struct told {
    int was;
    int file;
    char text[16 * 1024];
};

static void tell_begin(struct told *told)
{
    memset(told, 0, sizeof(*told));
    log_set_level(LOG_INFO);
    told->file = memfd_create("log", MFD_CLOEXEC);
    assert_true(told->file >= 0);
    told->was = dup(STDERR_FILENO);
    assert_true(told->was >= 0);
    assert_true(dup2(told->file, STDERR_FILENO) >= 0);
}

static void tell_end(struct told *told)
{
    assert_true(dup2(told->was, STDERR_FILENO) >= 0);
    close(told->was);
    ssize_t n = pread(told->file, told->text, sizeof(told->text) - 1, 0);
    assert_true(n >= 0 && (size_t)n < sizeof(told->text) - 1);
    close(told->file);
    log_set_level(LOG_ERROR);
}

static size_t lines_with(const struct told *told, const char *needle)
{
    size_t n = 0;

    for (const char *p = told->text; (p = strstr(p, needle)) != NULL; p++)
        n++;
    return n;
}

static void check_told(const struct told *told, const char *needle)
{
    if (lines_with(told, needle) != 1)
        fail_msg("not once \"%s\": %s", needle, told->text);
}

static int64_t of(const struct fixture *f, enum metric metric, size_t slot)
{
    return metric_get(&f->station.metrics, metric, slot);
}

/* How many observations a histogram of the backend's has. */
static int64_t observed(const struct fixture *f, enum metric metric)
{
    size_t first = f->gateway->site->backends->preferred->slot * (METRIC_TIME_BUCKETS + 1);
    int64_t n = 0;

    for (size_t i = 0; i < METRIC_TIME_BUCKETS; i++)
        n += of(f, metric, first + i);
    return n;
}

static uint64_t outcomes(const struct fixture *f, enum perf_outcome outcome)
{
    return perf_count(&f->station.perf, f->gateway->site->backends->preferred->slot, outcome);
}

static void answer(struct fixture *f, const char *text)
{
    send_text(&f->upstream, text, strlen(text));
    loop_test_run(f->loop);
}

static void begin(struct fixture *f, struct told *told, bool stream)
{
    setup(f);
    connect_client(f);
    tell_begin(told);
    send_request(f, stream);
}

/* Of each: one line, in the counts of the backend once, and in no other outcome's. */
static void end(struct fixture *f, struct told *told, const char *line, enum perf_outcome outcome)
{
    tell_end(told);
    check_told(told, "msg=PERF_SUMMARY");
    check_told(told, line);
    assert_int_equal(lines_with(told, "sk-upstream-key-1"), 0);
    assert_int_equal(lines_with(told, "test-client-key-1"), 0);
    for (int i = 0; i < PERF_OUTCOMES; i++)
        assert_int_equal(outcomes(f, (enum perf_outcome)i), i == (int)outcome);
    assert_int_equal(of(f, METRIC_requests_active, 0), 0);
    assert_int_equal(observed(f, METRIC_request_seconds), outcome != PERF_CANCELLED);
    assert_int_equal(observed(f, METRIC_upstream_seconds), outcome != PERF_CANCELLED);
    teardown(f);
}

static void test_an_answer(void **state)
{
    struct told told;

    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        struct fixture f;
        char text[4096];
        char line[256];
        size_t n = print_answer(text, sizeof(text), stream != 0);
        begin(&f, &told, stream != 0);
        send_text(&f.upstream, text, n);
        loop_test_run(f.loop);
        const size_t slot = f.gateway->site->backends->preferred->slot;
        assert_int_equal(of(&f, METRIC_requests_total, 1), 1);
        assert_int_equal(of(&f, METRIC_frames_total, slot), stream ? 6 : 1);
        assert_int_equal(observed(&f, METRIC_first_byte_seconds), 1);
        int64_t down = of(&f, METRIC_client_bytes_down_total, 0);
        assert_int_equal(down, (int64_t)(stream ? sizeof(stream_body) : sizeof(whole_body)) - 1);
        int64_t up = of(&f, METRIC_client_bytes_up_total, 0);
        assert_true(up > 0);
        (void)snprintf(line, sizeof(line),
                       " bytes_up=%lld bytes_down=%lld frames=%d %soutcome=ok\n", (long long)up,
                       (long long)down, stream ? 6 : 1, stream ? "" : "tokens_in=1 tokens_out=2 ");
        end(&f, &told, line, PERF_OK);
        check_told(&told, " backend=openai model=m-1 ");
        check_told(&told, " status=200 ");
        check_told(&told, " attempts=1 ");
    }
}

static void test_errors(void **state)
{
    struct fixture f;
    struct told told;

    (void)state;
    begin(&f, &told, false);
    answer(&f, "HTTP/1.1 400 Bad\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
    assert_int_equal(of(&f, METRIC_requests_total, 3), 1);
    end(&f, &told, " outcome=upstream_error\n", PERF_ERROR);
    check_told(&told, " status=400 ");
    /* One in the stream, whose status was said before. */
    begin(&f, &told, true);
    char text[4096];
    size_t n = print_answer(text, sizeof(text), true);
    send_text(&f.upstream, text, n / 2);
    loop_test_run(f.loop);
    conn_close(&f.upstream.conn);
    loop_test_run(f.loop);
    assert_int_equal(of(&f, METRIC_requests_total, 1), 1);
    end(&f, &told, " outcome=UPSTREAM_BROKEN ", PERF_ERROR);
    check_told(&told, " status=200 ");
    check_told(&told, " detail=\"");
}

/* Who leaves: no status where none was sent, no times, and whether it went by itself. */
static void test_left(void **state)
{
    struct told told;

    (void)state;
    for (int how = 0; how < 4; how++) {
        struct fixture f;
        const bool begun = how % 2 != 0;
        const bool aborted = how / 2 != 0;
        begin(&f, &told, true);
        char text[4096];
        size_t n = print_answer(text, sizeof(text), true);
        if (begun)
            send_text(&f.upstream, text, n / 2);
        loop_test_run(f.loop);
        if (aborted)
            station_abort(&f.station);
        else
            conn_close(&f.client.conn);
        loop_test_run(f.loop);
        assert_int_equal(of(&f, METRIC_requests_total, 1), begun);
        assert_int_equal(of(&f, METRIC_cancelled_total, f.gateway->site->backends->preferred->slot),
                         1);
        end(&f, &told, aborted ? " outcome=aborted\n" : " outcome=client_left\n", PERF_CANCELLED);
        check_told(&told, begun ? " status=200 " : " status=0 ");
        assert_int_equal(lines_with(&told, " first_byte="), begun);
    }
}

static void both_lines(struct config *config)
{
    config->logging_response_logging = true;
}

/* What no backend was asked for: the line has no field of one, the proxy's own counts have it. */
static void test_without_a_backend(void **state)
{
    static const char ask[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                              "Authorization: Bearer test-client-key-1\r\n"
                              "Content-Length: 3\r\n\r\n{ }";
    struct fixture f;
    struct told told;

    (void)state;
    setup_with(&f, both_lines);
    connect_client(&f);
    tell_begin(&told);
    send_text(&f.client, ask, sizeof(ask) - 1);
    loop_test_run(f.loop);
    tell_end(&told);
    assert_int_equal(f.connects, 0);
    assert_true(has(&f.client, "HTTP/1.1 400 "));
    check_told(&told, "msg=PERF_SUMMARY");
    check_told(&told, "msg=response.sent");
    assert_int_equal(lines_with(&told, " status=400 "), 2);
    assert_int_equal(lines_with(&told, " outcome=BAD_REQUEST"), 2);
    assert_int_equal(lines_with(&told, " backend="), 0);
    assert_int_equal(lines_with(&told, " key="), 0);
    assert_int_equal(lines_with(&told, " attempts="), 0);
    assert_int_equal(lines_with(&told, " first_byte="), 0);
    assert_int_equal(perf_count(&f.station.perf, PERF_PROXY, PERF_ERROR), 1);
    assert_int_equal(outcomes(&f, PERF_ERROR), 0);
    assert_int_equal(observed(&f, METRIC_request_seconds), 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_left),
        cmocka_unit_test(test_without_a_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
