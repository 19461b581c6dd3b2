/* SPDX-License-Identifier: MIT */
#include "io/conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/io_probe_priv.h"

struct fixture {
    struct loop *loop;
    struct probe a;
    struct probe b;
};

static void setup(struct fixture *f)
{
    struct conn *a = NULL;
    struct conn *b = NULL;

    f->loop = loop_test_new();
    conn_pair(f->loop, &a, &b);
    probe_own(&f->a, a);
    probe_own(&f->b, b);
}

static void teardown(struct fixture *f)
{
    probe_fini(&f->a);
    probe_fini(&f->b);
    loop_test_free(&f->loop);
}

static enum conn_push write_str(struct conn *conn, struct str s)
{
    return conn_write(conn, &s, 1);
}

static void assert_got(struct probe *probe, const char *text)
{
    assert_int_equal(probe->got.n, strlen(text));
    assert_memory_equal(buf_str(&probe->got).p, text, strlen(text));
}

/* Catches: events from within a call, bytes told before reading was started, EOF before bytes. */
static void test_bytes_come_in_a_later_turn(void **state)
{
    struct fixture f;
    const struct str parts[] = {STR("one "), STR(""), STR("two")};
    (void)state;

    setup(&f);
    assert_int_equal(conn_write(f.a.conn, parts, COUNT_OF(parts)), CONN_OK);
    conn_shutdown(f.a.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "");
    conn_read_start(f.b.conn);
    assert_string_equal(f.b.log, "");
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "RE");
    assert_got(&f.b, "one two");
    /* Half closed: the other direction goes on. */
    conn_read_start(f.a.conn);
    write_str(f.b.conn, STR("three"));
    conn_close(&f.b.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.a.log, "RE");
    assert_got(&f.a, "three");
    assert_true(str_eq(conn_peer(f.a.conn), STR("memory")));
    assert_ptr_equal(conn_loop(f.a.conn), f.loop);
    assert_false(conn_is_tls(f.a.conn));
    teardown(&f);
}

/* Catches: read_max that drops, reorders or joins bytes (the split law's tool). */
static void test_read_max_splits(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    conn_mem_read_max(f.b.conn, 1);
    conn_read_start(f.b.conn);
    write_str(f.a.conn, STR("abc"));
    write_str(f.a.conn, STR("def"));
    loop_test_run(f.loop);
    write_str(f.a.conn, STR("g"));
    conn_close(&f.a.conn);
    loop_test_run(f.loop);
    assert_got(&f.b, "abcdefg");
    assert_int_equal(f.b.reads, 7);
    assert_string_equal(f.b.log, "RE");
    teardown(&f);
}

static void stop_after_read(struct probe *probe, char event)
{
    if (event == 'R')
        conn_read_stop(probe->conn);
}

/* Catches: bytes or EOF told after conn_read_stop. */
static void test_read_stop_within_read(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    conn_mem_read_max(f.b.conn, 2);
    f.b.on_event = stop_after_read;
    conn_read_start(f.b.conn);
    write_str(f.a.conn, STR("abcd"));
    conn_shutdown(f.a.conn);
    loop_test_run(f.loop);
    assert_got(&f.b, "ab");
    conn_read_start(f.b.conn);
    loop_test_run(f.loop);
    assert_got(&f.b, "abcd");
    assert_string_equal(f.b.log, "R");
    conn_read_start(f.b.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "RE");
    teardown(&f);
}

/* Catches: a mark that does not hold writers back, a `writable` that is lost or comes twice. */
static void test_marks(void **state)
{
    struct fixture f;
    char *block = mem_new(CONN_QUEUE_MARK);
    struct str all = str_of(block, CONN_QUEUE_MARK);
    (void)state;

    setup(&f);
    assert_int_equal(write_str(f.a.conn, all), CONN_OK); /* fills the way */
    assert_int_equal(conn_queued(f.a.conn), 0);
    assert_int_equal(write_str(f.a.conn, all), CONN_OK); /* fills the queue to its mark */
    assert_int_equal(conn_queued(f.a.conn), CONN_QUEUE_MARK);
    assert_int_equal(write_str(f.a.conn, STR("x")), CONN_FULL);
    assert_int_equal(write_str(f.a.conn, STR("y")), CONN_FULL);
    loop_test_run(f.loop);
    assert_string_equal(f.a.log, "");
    conn_read_start(f.b.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.a.log, "W");
    assert_int_equal(conn_queued(f.a.conn), 0);
    assert_int_equal(f.b.got.n, 2 * CONN_QUEUE_MARK + 2);
    assert_memory_equal(f.b.got.p + 2 * CONN_QUEUE_MARK, "xy", 2);
    teardown(&f);
    mem_free(block);
}

/* Catches: write_some that copies more than its mark, miscounts, or forgets `writable`. */
static void test_write_some(void **state)
{
    struct fixture f;
    const size_t total = 5 * CONN_QUEUE_MARK + 3;
    char *block = mem_raw(total);
    size_t taken = 0;
    int rounds = 0;
    (void)state;

    setup(&f);
    for (size_t i = 0; i < total; i++)
        block[i] = (char)(i * 7 + i / 251);
    conn_mem_window(f.a.conn, 1000);
    while (taken < total) {
        const struct str parts[] = {str_head(str_of(block + taken, total - taken), 10),
                                    str_from(str_of(block + taken, total - taken), 10)};
        size_t n = conn_write_some(f.a.conn, parts, COUNT_OF(parts));
        assert_true(n <= 1000 + CONN_QUEUE_MARK);
        assert_true(conn_queued(f.a.conn) <= CONN_QUEUE_MARK);
        taken += n;
        if (taken == total)
            break;
        assert_int_equal(f.a.log_n, (size_t)rounds);
        conn_read_start(f.b.conn);
        loop_test_run(f.loop);
        rounds++;
        assert_int_equal(f.a.log_n, (size_t)rounds); /* one more W */
        conn_read_stop(f.b.conn);
    }
    conn_read_start(f.b.conn);
    loop_test_run(f.loop);
    assert_true(rounds >= 4);
    assert_int_equal(f.b.got.n, total);
    assert_memory_equal(f.b.got.p, block, total);
    teardown(&f);
    mem_free(block);
}

/* Catches: a window that lets more through than it says. */
static void test_window(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    conn_mem_window(f.a.conn, 0);
    conn_read_start(f.b.conn);
    write_str(f.a.conn, STR("hello"));
    conn_shutdown(f.a.conn);
    loop_test_run(f.loop);
    assert_int_equal(conn_queued(f.a.conn), 5);
    assert_string_equal(f.b.log, "");
    conn_mem_window(f.a.conn, 2);
    loop_test_run(f.loop);
    assert_int_equal(conn_queued(f.a.conn), 0);
    assert_int_equal(f.b.reads, 3);
    assert_int_equal(f.b.read_largest, 2);
    assert_string_equal(f.b.log, "RE");
    teardown(&f);
}

/* Catches: a reset that looks like EOF, is told twice, or overtakes bytes. */
static void test_reset(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    conn_read_start(f.b.conn);
    write_str(f.a.conn, STR("half an ans"));
    conn_mem_reset(f.a.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "RF");
    assert_int_equal(f.b.error.code, ERR_UPSTREAM_BROKEN);
    assert_string_equal(f.b.error.detail, "connection reset by peer");
    assert_int_equal(write_str(f.b.conn, STR("goes nowhere")), CONN_OK);
    conn_close(&f.a.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "RF");
    teardown(&f);

    setup(&f);
    conn_read_start(f.b.conn);
    conn_reset(&f.a.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "F");
    teardown(&f);
}

/* Catches: an end that whoever does not read never hears of. */
static void test_left_while_nobody_reads(void **state)
{
    struct fixture f;
    (void)state;

    for (int how = 0; how < 3; how++) {
        setup(&f);
        write_str(f.a.conn, STR("unread"));
        loop_test_run(f.loop);
        assert_false(conn_has_left(f.b.conn));
        if (how == 0)
            conn_shutdown(f.a.conn);
        else if (how == 1)
            conn_close(&f.a.conn);
        else
            conn_mem_reset(f.a.conn);
        loop_test_run(f.loop);
        assert_true(conn_has_left(f.b.conn));
        assert_string_equal(f.b.log, "");
        teardown(&f);
    }
}

/* Catches: a failure told from within the call, or never. */
static void test_write_to_a_closed_peer(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    conn_close(&f.b.conn);
    assert_int_equal(write_str(f.a.conn, STR("x")), CONN_OK);
    assert_string_equal(f.a.log, "");
    loop_test_run(f.loop);
    assert_string_equal(f.a.log, "F");
    assert_int_equal(f.a.error.code, ERR_UPSTREAM_BROKEN);
    assert_string_equal(f.a.error.detail, "broken pipe");
    assert_int_equal(conn_queued(f.a.conn), 0);
    teardown(&f);

    /* Also when the bytes were queued before. */
    setup(&f);
    conn_mem_window(f.a.conn, 0);
    write_str(f.a.conn, STR("x"));
    conn_close(&f.b.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.a.log, "F");
    teardown(&f);
}

static void close_both(struct probe *probe, char event)
{
    struct fixture *f = probe->ctx;

    (void)event;
    conn_close(&f->a.conn);
    conn_close(&f->b.conn);
}

/* Catches: use after free when the owner closes within an event, also the other end. */
static void test_close_within_events(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f); /* within read, with bytes and EOF to come */
    f.b.on_event = close_both;
    f.b.ctx = &f;
    conn_mem_read_max(f.b.conn, 1);
    conn_read_start(f.b.conn);
    conn_read_start(f.a.conn);
    write_str(f.b.conn, STR("never told"));
    write_str(f.a.conn, STR("abc"));
    conn_shutdown(f.a.conn);
    loop_test_run(f.loop);
    assert_got(&f.b, "a");
    assert_string_equal(f.b.log, "R");
    teardown(&f);

    setup(&f); /* within eof */
    f.b.on_event = close_both;
    f.b.ctx = &f;
    conn_read_start(f.b.conn);
    conn_shutdown(f.a.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "E");
    teardown(&f);

    setup(&f); /* within writable */
    f.a.on_event = close_both;
    f.a.ctx = &f;
    conn_mem_window(f.a.conn, 0);
    char *block = mem_new(CONN_QUEUE_MARK + 1);
    assert_int_equal(write_str(f.a.conn, str_of(block, CONN_QUEUE_MARK + 1)), CONN_FULL);
    mem_free(block);
    conn_mem_window(f.a.conn, SIZE_MAX / 8);
    loop_test_run(f.loop);
    assert_string_equal(f.a.log, "W");
    assert_string_equal(f.b.log, "");
    teardown(&f);

    setup(&f); /* within failed */
    f.b.on_event = close_both;
    f.b.ctx = &f;
    conn_read_start(f.b.conn);
    conn_mem_reset(f.a.conn);
    loop_test_run(f.loop);
    assert_string_equal(f.b.log, "F");
    teardown(&f);
}

static void echo(struct probe *probe, char event)
{
    if (event != 'R')
        return;
    write_str(probe->conn, buf_str(&probe->got));
    buf_reset(&probe->got);
}

/* Catches: bytes lost when an end writes while it reads. */
static void test_echo(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    f.b.on_event = echo;
    conn_read_start(f.a.conn);
    conn_read_start(f.b.conn);
    for (int i = 0; i < 100; i++) {
        write_str(f.a.conn, STR("ping"));
        if (i % 3 == 0)
            loop_test_run(f.loop);
    }
    loop_test_run(f.loop);
    assert_int_equal(f.a.got.n, 400);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_in_a_later_turn),
        cmocka_unit_test(test_read_max_splits),
        cmocka_unit_test(test_read_stop_within_read),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_write_some),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_left_while_nobody_reads),
        cmocka_unit_test(test_write_to_a_closed_peer),
        cmocka_unit_test(test_close_within_events),
        cmocka_unit_test(test_echo),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
