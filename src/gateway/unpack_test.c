/* SPDX-License-Identifier: MIT */
/* gzip bodies of requests: the same as plain ones however they are cut, and never at the expense of
 * other exchanges or of memory. */
#include <zlib.h>

#include "gateway/exchange_probe_priv.h"

enum { LARGE = 4 * 1024 * 1024, ZIPPED_MAX = 16 * 1024 * 1024 };

static struct str zip(struct buf *to, struct str plain)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)plain.p, .avail_in = (uInt)plain.n};

    buf_init(to, ZIPPED_MAX);
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t bound = deflateBound(&stream, plain.n);
    stream.next_out = (Bytef *)buf_reserve(to, bound);
    stream.avail_out = (uInt)bound;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    buf_added(to, stream.total_out);
    (void)deflateEnd(&stream);
    return buf_str(to);
}

static void send_head(struct fixture *f, size_t length)
{
    char head[256];
    int n = snprintf(head, sizeof(head),
                     "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                     "Authorization: Bearer test-client-key-1\r\nContent-Encoding: gzip\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     length);

    send_text(&f->client, head, (size_t)n);
}

#define BEGIN "{\"model\":\"openai:m-1\",\"messages\":[{\"role\":\"user\",\"content\":\""
#define END   "\"}]}"

/* A body of that size, whose text repeats. */
static struct str plain_body(struct buf *to, size_t size)
{
    buf_init(to, ZIPPED_MAX);
    (void)buf_add(to, STR(BEGIN));
    while (to->n < size - (sizeof(END) - 1))
        (void)buf_add_char(to, "a repeated text "[to->n % 16]);
    (void)buf_add(to, STR(END));
    return buf_str(to);
}

/* Catches: a cut that changes what arrives, a body that stays coded. */
static void test_any_cut(void **state)
{
    struct buf plain;
    struct buf zipped;

    (void)state;
    (void)plain_body(&plain, 400);
    struct str bytes = zip(&zipped, buf_str(&plain));
    for (size_t step = 1; step <= bytes.n; step += step < 8 ? 1 : 31) {
        struct fixture f;
        setup(&f);
        connect_client(&f);
        send_head(&f, bytes.n);
        for (size_t at = 0; at < bytes.n; at += step) {
            struct str part = str_head(str_from(bytes, at), step);
            send_text(&f.client, part.p, part.n);
            loop_test_run(f.loop);
        }
        assert_int_equal(f.connects, 1);
        assert_true(has(&f.upstream, "a repeated text a repeated text "));
        assert_true(str_ends(buf_str(&f.upstream.got), STR(END)));
        assert_false(has(&f.upstream, "gzip"));
        teardown(&f);
    }
    buf_fini(&plain);
    buf_fini(&zipped);
}

/* Looks at the exchange in turns of its own, between those that unpack. */
struct watch {
    struct timer timer;
    struct fixture *f;
    size_t seen;
    size_t most; /* that one turn has unpacked */
    int turns;
};

static void watch_fire(struct timer *timer)
{
    struct watch *watch = CONTAINER_OF(timer, struct watch, timer);

    if (!list_empty(&watch->f->station.exchanges)) {
        const struct exchange *x = LIST_ENTRY(watch->f->station.exchanges.next, struct exchange,
                                              link);
        if (x->body_n - watch->seen > watch->most)
            watch->most = x->body_n - watch->seen;
        watch->turns += x->body_n > watch->seen;
        watch->seen = x->body_n;
        if (x->state != EXCHANGE_BODY)
            return;
    }
    timer_start(timer, 0);
}

/* Catches: a small read that unpacks to much, all of it in one turn; a body that is lost between
 * two turns; one whose end is told before its bytes. */
static void test_much_takes_several_turns(void **state)
{
    struct buf plain;
    struct buf zipped;
    struct fixture f;

    (void)state;
    struct str bytes = zip(&zipped, plain_body(&plain, LARGE));
    assert_true(bytes.n < 64 * 1024); /* one read */
    setup(&f);
    connect_client(&f);
    send_head(&f, bytes.n);
    send_text(&f.client, bytes.p, bytes.n);
    struct watch watch = {.f = &f};
    timer_init(&watch.timer, f.loop, watch_fire);
    timer_start(&watch.timer, 0);
    loop_test_run(f.loop);
    assert_false(timer_armed(&watch.timer));
    assert_int_equal(watch.seen, plain.n);
    assert_in_range(watch.turns, 4, 5);
    assert_in_range(watch.most, 900 * 1000, 1100 * 1000);
    assert_int_equal(f.connects, 1);
    buf_fini(&plain);
    buf_fini(&zipped);
    teardown(&f);
}

/* Catches: a timer or memory that stays behind a client who leaves between two turns. */
static void test_leaving_between_turns(void **state)
{
    struct buf plain;
    struct buf zipped;
    struct fixture f;

    (void)state;
    struct str bytes = zip(&zipped, plain_body(&plain, LARGE));
    setup(&f);
    connect_client(&f);
    send_head(&f, bytes.n + 1);
    send_text(&f.client, bytes.p, bytes.n);
    loop_test_run(f.loop);
    assert_false(list_empty(&f.station.exchanges));
    conn_close(&f.client.conn);
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.exchanges));
    loop_test_advance(f.loop, 1000);
    assert_int_equal(atomic_load(&f.gateway->inflight.used), 0);
    buf_fini(&plain);
    buf_fini(&zipped);
    teardown(&f);
}

static void limit_body(struct config *config)
{
    config->body_bytes_max = LARGE;
}

static void limit_inflight(struct config *config)
{
    config->inflight_bytes_max = LARGE / 2;
}

static int status_for(struct str bytes, size_t length, void (*tweak)(struct config *config))
{
    struct fixture f;

    setup_with(&f, tweak);
    connect_client(&f);
    send_head(&f, length);
    send_text(&f.client, bytes.p, bytes.n);
    loop_test_run(f.loop);
    for (int i = 0; i < 100 && f.client.got.n == 0 && f.connects == 0; i++)
        loop_test_advance(f.loop, 5);
    int status = f.connects > 0 ? 200 : 0;
    if (f.client.got.n > 12)
        status = (f.client.got.p[9] - '0') * 100 + (f.client.got.p[10] - '0') * 10 +
                 (f.client.got.p[11] - '0');
    teardown(&f);
    return status;
}

/* Catches: a limit that counts coded bytes, is off by one, or is another error. */
static void test_limits(void **state)
{
    struct buf plain;
    struct buf zipped;

    (void)state;
    struct str bytes = zip(&zipped, plain_body(&plain, LARGE + 1));
    assert_int_equal(status_for(bytes, bytes.n, limit_body), 413);
    assert_int_equal(status_for(bytes, bytes.n, limit_inflight), 503);
    assert_int_equal(status_for(bytes, LARGE + 1, limit_body), 413); /* from the head alone */
    assert_int_equal(status_for(str_head(bytes, bytes.n - 1), bytes.n - 1, NULL), 400);
    assert_int_equal(status_for(STR("no gzip"), 7, NULL), 400);
    assert_int_equal(status_for(STR(""), 0, NULL), 400); /* plain, and no JSON */
    buf_fini(&plain);
    buf_fini(&zipped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut),
        cmocka_unit_test(test_much_takes_several_turns),
        cmocka_unit_test(test_leaving_between_turns),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
