/* SPDX-License-Identifier: MIT */
/* Answers that are coded: decoded on the way, event by event, within bounds; and what is held while
 * the user pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "http/client.h"
#include "io/conn.h"

enum {
    OUT_MAX = 64 * 1024 * 1024,
    BUFFER = 16 * 1024, /* what is decoded between two batches, at most */
    BITS_GZIP = 15 + 16,
};

struct user {
    struct loop *loop;
    struct client_pool *pool;
    struct conn *upstream;
    struct arena_budget budget;
    struct arena arena;
    struct client_request *request;
    struct buf body;
    struct str lent; /* since the last batch; checked to be still there in it */
    size_t lent_n;
    size_t lent_max;
    unsigned batches, ends, faileds;
    struct error e;
    bool pause;        /* in each batch */
    bool cancel;       /* in the first body */
    size_t body_limit; /* cancelled in the batch after so many bytes */
};

static struct conn *up_connect(void *ctx, struct loop *loop)
{
    static const struct conn_events events = {.read = NULL};
    struct user *user = ctx;
    struct conn *near = NULL;

    conn_close(&user->upstream);
    conn_pair(loop, &near, &user->upstream);
    conn_set_events(user->upstream, &events, user);
    return near;
}

static void on_head(struct client_request *r, void *ctx, const struct message *m)
{
    (void)r;
    (void)ctx;
    assert_true(m->status == 200 || m->status == 404);
}

static void on_body(struct client_request *r, void *ctx, struct str bytes)
{
    struct user *user = ctx;

    (void)r;
    assert_true(bytes.n > 0);
    assert_true(buf_add(&user->body, bytes));
    /* Pieces of one batch lie side by side: none overwrites another. */
    if (user->lent_n > 0 && user->lent_n == user->lent.n)
        assert_ptr_equal(user->lent.p + user->lent.n, bytes.p);
    if (user->lent_n == 0)
        user->lent = bytes;
    else
        user->lent.n += bytes.n;
    user->lent_n += bytes.n;
    if (user->cancel)
        client_cancel(&user->request);
}

static void on_end(struct client_request *r, void *ctx)
{
    struct user *user = ctx;

    (void)r;
    user->ends++;
    user->request = NULL;
}

static void on_batch(struct client_request *r, void *ctx)
{
    struct user *user = ctx;
    struct str all = buf_str(&user->body);

    user->batches++;
    if (user->lent_n > user->lent_max)
        user->lent_max = user->lent_n;
    assert_true(str_ends(all, user->lent));
    user->lent = STR_NULL;
    user->lent_n = 0;
    if (user->body_limit > 0 && user->body.n >= user->body_limit)
        client_cancel(&user->request);
    else if (user->pause && user->request != NULL)
        client_pause(r, true);
}

static void on_failed(struct client_request *r, void *ctx, const struct error *e)
{
    struct user *user = ctx;

    (void)r;
    user->faileds++;
    user->e = *e;
    user->request = NULL;
}

static const struct client_events user_events = {
    .head = on_head,
    .body = on_body,
    .end = on_end,
    .batch = on_batch,
    .failed = on_failed,
};

static void start(struct user *user, struct client_call *more)
{
    struct client_call call = {
        .head = STR("GET / HTTP/1.1\r\nHost: up\r\n\r\n"),
        .arena = &user->arena,
        .events = &user_events,
        .ctx = user,
    };
    struct error e;

    if (more != NULL) {
        call.as_is = more->as_is;
        call.is_head = more->is_head;
        call.decoded_bytes_max = more->decoded_bytes_max;
    }
    assert_int_equal(client_start(user->pool, &call, &user->request, &e), OK);
    loop_test_run(user->loop);
}

static void setup(struct user *user)
{
    *user = (struct user){.loop = loop_test_new()};
    const struct client_pool_options options = {
        .host = STR("up"),
        .port = 80,
        .connect_timeout_ms = 1000,
        .idle_timeout_ms = 60000,
        .silence_timeout_ms = 300000,
        .header_bytes_max = 1024,
        .connect = up_connect,
        .connect_ctx = user,
        .budget = &user->budget,
    };
    user->pool = client_pool_new(user->loop, &options);
    buf_init(&user->body, OUT_MAX);
    arena_init(&user->arena, 1 << 20, 1024, NULL);
}

static void teardown(struct user *user)
{
    client_cancel(&user->request);
    conn_close(&user->upstream);
    loop_test_run(user->loop);
    client_pool_free(&user->pool);
    loop_test_run(user->loop);
    loop_test_free(&user->loop);
    buf_fini(&user->body);
    arena_fini(&user->arena);
    /* Whatever happened, nothing of the decoding stays. */
    assert_int_equal(atomic_load(&user->budget.used), 0);
}

static void send(struct user *user, struct str bytes)
{
    (void)conn_write(user->upstream, &bytes, 1);
    loop_test_run(user->loop);
}

static void send_z(struct user *user, const char *z)
{
    send(user, str_c(z));
}

/* One coder for a whole stream; what it gave for each flush is appended to `to`. */
struct coder {
    z_stream z;
};

static void coder_begin(struct coder *coder, int bits)
{
    coder->z = (z_stream){0};
    assert_int_equal(deflateInit2(&coder->z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
}

static void coder_add(struct coder *coder, struct str s, int flush, struct buf *to)
{
    Bytef out[4096];

    coder->z.next_in = (Bytef *)(uintptr_t)s.p;
    coder->z.avail_in = (uInt)s.n;
    do {
        coder->z.next_out = out;
        coder->z.avail_out = sizeof(out);
        int rc = deflate(&coder->z, flush);
        assert_true(rc == Z_OK || rc == Z_STREAM_END || rc == Z_BUF_ERROR);
        assert_true(buf_add(to, str_of((const char *)out, sizeof(out) - coder->z.avail_out)));
    } while (coder->z.avail_out == 0);
}

static struct buf packed(struct str s, int bits)
{
    struct coder coder;
    struct buf b;

    buf_init(&b, OUT_MAX);
    coder_begin(&coder, bits);
    coder_add(&coder, s, Z_FINISH, &b);
    assert_int_equal(deflateEnd(&coder.z), Z_OK);
    return b;
}

static void send_head(struct user *user, const char *coding, const char *framing)
{
    char head[256];
    int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\n%s\r\n\r\n",
                     coding, framing);
    send(user, str_of(head, (size_t)n));
}

static void send_length(struct user *user, const char *coding, struct str body)
{
    char framing[64];
    (void)snprintf(framing, sizeof(framing), "Content-Length: %zu", body.n);
    send_head(user, coding, framing);
    send(user, body);
}

/* Text that compresses to about a third. */
static char *some_text(size_t n)
{
    char *p = mem_new(n);
    uint32_t seed = 1;

    for (size_t i = 0; i < n; i++) {
        seed = seed * 1103515245 + 12345;
        p[i] = (char)('a' + (seed >> 16) % 7);
    }
    return p;
}

/* Every event of a coded stream comes with the read that brought it. */
static void test_stream(void **state)
{
    static const char *const codings[] = {"gzip", "deflate", "deflate"};
    static const int bits[] = {BITS_GZIP, 15, -15};
    static const char event[] = "data: {\"n\": 1}\n\n";
    enum { EVENTS = 50 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(codings); i++) {
        struct user user;
        struct coder coder;
        struct buf b;
        setup(&user);
        start(&user, NULL);
        send_head(&user, codings[i], "Transfer-Encoding: chunked");
        /* Not before the first byte of the body. */
        assert_int_equal(atomic_load(&user.budget.used), 0);
        coder_begin(&coder, bits[i]);
        buf_init(&b, OUT_MAX);
        for (size_t k = 1; k <= EVENTS; k++) {
            char size[32];
            buf_reset(&b);
            coder_add(&coder, str_c(event), Z_SYNC_FLUSH, &b);
            (void)snprintf(size, sizeof(size), "%zx\r\n", b.n);
            send_z(&user, size);
            send(&user, buf_str(&b));
            assert_int_equal(user.body.n, k * (sizeof(event) - 1));
            send_z(&user, "\r\n");
            /* One batch for the head, and one a read. */
            assert_int_equal(user.batches, 1 + k);
        }
        buf_reset(&b);
        coder_add(&coder, STR(""), Z_FINISH, &b);
        char size[32];
        (void)snprintf(size, sizeof(size), "%zx\r\n", b.n);
        send_z(&user, size);
        send(&user, buf_str(&b));
        send_z(&user, "\r\n0\r\n\r\n");
        assert_int_equal(user.ends, 1);
        assert_int_equal(client_pool_idle_count(user.pool), 1);
        assert_int_equal(atomic_load(&user.budget.used), 0);
        (void)deflateEnd(&coder.z);
        buf_fini(&b);
        teardown(&user);
    }
}

/* The same bytes whatever the reads; chunks of one read leave in one batch. */
static void test_split(void **state)
{
    static const char text[] = "{\"choices\": [{\"message\": {\"content\": \"Hello, hello\"}}]}";
    struct buf coded = packed(str_c(text), BITS_GZIP);
    struct buf wire;

    (void)state;
    buf_init(&wire, OUT_MAX);
    (void)buf_add(&wire, STR("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                             "Transfer-Encoding: chunked\r\n\r\n"));
    for (size_t i = 0; i < coded.n; i += 10) {
        struct str part = str_head(str_from(buf_str(&coded), i), 10);
        (void)buf_print(&wire, "%zx\r\n", part.n);
        (void)buf_add(&wire, part);
        (void)buf_add(&wire, STR("\r\n"));
    }
    (void)buf_add(&wire, STR("0\r\n\r\n"));
    for (size_t cut = 0; cut <= wire.n; cut++) {
        struct user user;
        setup(&user);
        start(&user, NULL);
        size_t first = cut == 0 ? 1 : cut;
        for (size_t at = 0; at < wire.n;) {
            size_t n = cut == 0 || at == 0 ? first : wire.n - at;
            send(&user, str_head(str_from(buf_str(&wire), at), n));
            at += n;
        }
        assert_true(str_eq(buf_str(&user.body), str_c(text)));
        assert_int_equal(user.ends, 1);
        if (cut == wire.n)
            assert_int_equal(user.batches, 1);
        teardown(&user);
    }
    buf_fini(&wire);
    buf_fini(&coded);
}

/* The connection serves on, and an answer that is not coded is as ever. */
static void serves_on(struct user *user)
{
    unsigned ends = user->ends;

    user->pause = false;
    start(user, NULL);
    buf_reset(&user->body);
    send_z(user, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_true(str_eq(buf_str(&user->body), STR("ok")));
    assert_int_equal(user->ends, ends + 1);
}

/* More than fits between two batches. */
static void test_large(void **state)
{
    enum { SIZE = 1000000 };
    char *text = some_text(SIZE);
    struct buf coded = packed(str_of(text, SIZE), BITS_GZIP);
    struct user user;

    (void)state;
    setup(&user);
    start(&user, NULL);
    send_length(&user, "gzip", buf_str(&coded));
    assert_int_equal(user.ends, 1);
    assert_true(str_eq(buf_str(&user.body), str_of(text, SIZE)));
    assert_int_equal(user.lent_max, BUFFER);
    serves_on(&user);
    teardown(&user);
    buf_fini(&coded);
    mem_free(text);
}

struct looker {
    struct timer timer;
    const struct user *user;
    size_t seen;
    size_t most; /* between two looks */
};

static void looker_fire(struct timer *timer)
{
    struct looker *looker = CONTAINER_OF(timer, struct looker, timer);
    size_t n = looker->user->body.n;

    if (n - looker->seen > looker->most)
        looker->most = n - looker->seen;
    looker->seen = n;
    if (looker->user->ends == 0)
        timer_start(timer, 0);
}

/* One read that decodes to very much: others of the loop have their turns between. */
static void test_turns(void **state)
{
    enum { SIZE = 2000000, TURN = 128 * 1024, BLOCK = 4096, TEXT = 200 };
    char *text = some_text(SIZE);
    struct user user;
    struct looker looker = {.user = &user};

    (void)state;
    for (size_t i = TEXT; i < SIZE; i++)
        text[i] = i % BLOCK < TEXT ? text[i] : 'a';
    struct buf coded = packed(str_of(text, SIZE), BITS_GZIP);
    assert_true(coded.n < 64 * 1024);
    setup(&user);
    start(&user, NULL);
    send_head(&user, "gzip", "Connection: close");
    timer_init(&looker.timer, user.loop, looker_fire);
    timer_start(&looker.timer, 0);
    (void)conn_write(user.upstream, &(struct str){coded.p, coded.n}, 1);
    conn_shutdown(user.upstream);
    loop_test_run(user.loop);
    assert_int_equal(user.ends, 1);
    assert_true(str_eq(buf_str(&user.body), str_of(text, SIZE)));
    assert_true(looker.most > 0 && looker.most <= TURN + BUFFER);

    /* Who leaves between two turns, and who pauses there. */
    start(&user, NULL);
    user.body_limit = SIZE + TURN;
    send_length(&user, "gzip", buf_str(&coded));
    assert_null(user.request);
    user.body_limit = 0;
    start(&user, NULL);
    buf_reset(&user.body);
    user.pause = true;
    send_length(&user, "gzip", buf_str(&coded));
    while (user.ends == 1) {
        client_pause(user.request, false);
        loop_test_run(user.loop);
    }
    assert_true(str_eq(buf_str(&user.body), str_of(text, SIZE)));
    serves_on(&user);
    timer_stop(&looker.timer);
    teardown(&user);
    buf_fini(&coded);
    mem_free(text);
}

/* Who pauses gets what was decoded so far, and the rest when he resumes: not a byte more is
 * decoded meanwhile, however small the coded bytes are. */
static void test_pause(void **state)
{
    enum { SIZE = 400000 };
    char *text = some_text(SIZE);
    struct buf coded = packed(str_of(text, SIZE), BITS_GZIP);
    struct user user;
    unsigned rounds = 0;

    (void)state;
    setup(&user);
    start(&user, NULL);
    user.pause = true;
    send_length(&user, "gzip", buf_str(&coded));
    while (user.ends == 0) {
        size_t before = user.body.n;
        assert_non_null(user.request);
        loop_test_advance(user.loop, 299000); /* the silence time-out stands still */
        assert_int_equal(user.body.n, before);
        /* Twice in one turn is once, and a change of mind is none. */
        client_pause(user.request, false);
        client_pause(user.request, true);
        loop_test_run(user.loop);
        assert_int_equal(user.body.n, before);
        client_pause(user.request, false);
        loop_test_run(user.loop);
        assert_true(user.body.n - before <= BUFFER + 512);
        assert_true(rounds++ < 1000);
    }
    assert_true(rounds > SIZE / BUFFER - 2);
    assert_true(str_eq(buf_str(&user.body), str_of(text, SIZE)));
    assert_int_equal(client_pool_idle_count(user.pool), 1);
    /* Who resumed for what was held last left a connection that listens: to the next answer, and to
     * its end. */
    const struct conn *kept = user.upstream;
    user.pause = false;
    start(&user, NULL);
    assert_ptr_equal(user.upstream, kept);
    send_z(&user, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_int_equal(user.ends, 2);
    conn_close(&user.upstream);
    loop_test_run(user.loop);
    assert_int_equal(client_pool_idle_count(user.pool), 0);
    teardown(&user);
    buf_fini(&coded);
    mem_free(text);
}

static void test_held(void **state)
{
    enum { SIZE = 400000 };
    char *text = some_text(SIZE);
    struct buf coded = packed(str_of(text, SIZE), BITS_GZIP);
    struct user user;

    (void)state;
    /* What comes after what was held is read when that is done, and not before. */
    setup(&user);
    start(&user, NULL);
    user.pause = true;
    char framing[64];
    (void)snprintf(framing, sizeof(framing), "Content-Length: %zu", coded.n);
    send_head(&user, "gzip", framing);
    send(&user, str_head(buf_str(&coded), coded.n / 2));
    for (int i = 0; i < 5; i++) {
        client_pause(user.request, false);
        loop_test_run(user.loop);
    }
    size_t before = user.body.n;
    send(&user, str_from(buf_str(&coded), coded.n / 2));
    assert_int_equal(user.body.n, before);
    user.pause = false;
    client_pause(user.request, false);
    loop_test_run(user.loop);
    assert_int_equal(user.ends, 1);
    assert_true(str_eq(buf_str(&user.body), str_of(text, SIZE)));
    teardown(&user);

    /* No room to hold it. */
    setup(&user);
    user.budget.max = 60000;
    start(&user, NULL);
    user.pause = true;
    send_length(&user, "gzip", buf_str(&coded));
    client_pause(user.request, false);
    loop_test_run(user.loop);
    assert_int_equal(user.faileds, 1);
    assert_int_equal(user.e.code, ERR_OVERLOADED);
    teardown(&user);

    /* Cancelled while bytes are held. */
    setup(&user);
    start(&user, NULL);
    user.pause = true;
    send_length(&user, "gzip", buf_str(&coded));
    client_pause(user.request, false);
    loop_test_run(user.loop);
    assert_true(user.body.n >= BUFFER && user.body.n < SIZE);
    client_cancel(&user.request);
    loop_test_run(user.loop);
    assert_int_equal(user.ends + user.faileds, 0);
    teardown(&user);
    buf_fini(&coded);
    mem_free(text);
}

static void test_cancel(void **state)
{
    enum { SIZE = 200000 };
    char *text = some_text(SIZE);
    struct buf coded = packed(str_of(text, SIZE), BITS_GZIP);

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct user user;
        setup(&user);
        start(&user, NULL);
        user.cancel = i == 0;
        user.body_limit = i == 1 ? BUFFER : 0;
        send_length(&user, "gzip", buf_str(&coded));
        assert_int_equal(user.ends + user.faileds, 0);
        assert_true(user.body.n <= BUFFER);
        teardown(&user);
    }
    buf_fini(&coded);
    mem_free(text);
}

static void check_failed(struct user *user, enum error_code code, const char *detail)
{
    assert_int_equal(user->faileds, 1);
    assert_int_equal(user->ends, 0);
    assert_int_equal(user->e.code, code);
    if (strstr(user->e.detail, detail) == NULL)
        fail_msg("\"%s\" instead of \"%s\"", user->e.detail, detail);
}

static void test_bombs(void **state)
{
    enum { SIZE = 10 * 1024 * 1024 };
    char *zeros = mem_new(SIZE);
    struct buf coded = packed(str_of(zeros, SIZE), BITS_GZIP);
    struct user user;

    (void)state;
    setup(&user);
    start(&user, NULL);
    send_length(&user, "gzip", buf_str(&coded));
    check_failed(&user, ERR_UPSTREAM_TOO_LARGE, "100 times");
    assert_true(user.body.n <= 64 * 1024 + BUFFER);
    teardown(&user);
    buf_fini(&coded);

    /* The number of bytes: met exactly, and passed by one. */
    char *text = some_text(50000);
    coded = packed(str_of(text, 50000), 15);
    for (size_t i = 0; i < 2; i++) {
        struct client_call call = {.decoded_bytes_max = 50000 - i};
        setup(&user);
        start(&user, &call);
        send_length(&user, "deflate", buf_str(&coded));
        if (i == 0)
            assert_int_equal(user.ends, 1);
        else
            check_failed(&user, ERR_UPSTREAM_TOO_LARGE, "49999 bytes");
        teardown(&user);
    }
    buf_fini(&coded);
    mem_free(text);
    mem_free(zeros);
}

static void test_broken(void **state)
{
    struct buf coded = packed(STR("{\"a\": \"some text, some text\"}"), BITS_GZIP);
    struct user user;

    (void)state;
    /* Cut, though the framing is whole: wherever. */
    for (size_t n = 1; n < coded.n; n++) {
        setup(&user);
        start(&user, NULL);
        send_length(&user, "gzip", str_head(buf_str(&coded), n));
        check_failed(&user, ERR_UPSTREAM_BROKEN, "ended inside its content coding");
        teardown(&user);
        /* The same without any framing. */
        setup(&user);
        start(&user, NULL);
        send_head(&user, "gzip", "Connection: close");
        send(&user, str_head(buf_str(&coded), n));
        conn_close(&user.upstream);
        loop_test_run(user.loop);
        check_failed(&user, ERR_UPSTREAM_BROKEN, "ended inside its content coding");
        teardown(&user);
    }
    /* Whole, and ended by the connection. */
    setup(&user);
    start(&user, NULL);
    send_head(&user, "gzip", "Connection: close");
    send(&user, buf_str(&coded));
    conn_close(&user.upstream);
    loop_test_run(user.loop);
    assert_int_equal(user.ends, 1);
    teardown(&user);

    coded.p[coded.n - 8] ^= 1;
    setup(&user);
    start(&user, NULL);
    send_length(&user, "gzip", buf_str(&coded));
    check_failed(&user, ERR_UPSTREAM_BROKEN, "incorrect data check");
    teardown(&user);
    setup(&user);
    start(&user, NULL);
    send_length(&user, "x-gzip", STR("{\"not\": \"coded\"}"));
    check_failed(&user, ERR_UPSTREAM_BROKEN, "not valid gzip");
    teardown(&user);
    buf_fini(&coded);
}

/* Told as they come: other codings, what the call wants so; and where there is no body. */
static void test_as_is(void **state)
{
    struct client_call as_is = {.as_is = true};
    struct client_call is_head = {.is_head = true};
    struct buf coded = packed(STR("text"), BITS_GZIP);
    struct user user;

    (void)state;
    setup(&user);
    start(&user, &as_is);
    send_length(&user, "gzip", buf_str(&coded));
    assert_true(str_eq(buf_str(&user.body), buf_str(&coded)));
    assert_int_equal(user.ends, 1);
    /* An error's is decoded: it may say what is to be kept. */
    buf_reset(&user.body);
    start(&user, &as_is);
    struct buf error;
    buf_init(&error, 1 << 20);
    buf_print(&error, "HTTP/1.1 404 No\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
              coded.n);
    buf_add(&error, buf_str(&coded));
    send(&user, buf_str(&error));
    buf_fini(&error);
    assert_true(str_eq(buf_str(&user.body), STR("text")));
    assert_int_equal(user.ends, 2);
    user.ends = 1;
    /* The next call on that connection wants it decoded again. */
    buf_reset(&user.body);
    start(&user, NULL);
    send_length(&user, "gzip", buf_str(&coded));
    assert_true(str_eq(buf_str(&user.body), STR("text")));
    start(&user, &is_head);
    send_z(&user, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 99\r\n\r\n");
    assert_int_equal(user.ends, 3);
    start(&user, NULL);
    send_length(&user, "gzip", STR(""));
    assert_int_equal(user.ends, 4);
    buf_reset(&user.body);
    start(&user, NULL);
    send_length(&user, "br", STR("\x1b\x02"));
    start(&user, NULL);
    send_length(&user, "gzip\r\nContent-Encoding: gzip", STR("\x1f\x8b"));
    assert_true(str_eq(buf_str(&user.body), STR("\x1b\x02\x1f\x8b")));
    assert_int_equal(user.ends, 6);
    assert_int_equal(client_pool_idle_count(user.pool), 1);
    teardown(&user);
    buf_fini(&coded);
}

static void test_budget(void **state)
{
    struct buf coded = packed(STR("text"), BITS_GZIP);
    struct user user;

    (void)state;
    setup(&user);
    user.budget.max = 20000;
    start(&user, NULL);
    send_length(&user, "gzip", buf_str(&coded));
    check_failed(&user, ERR_OVERLOADED, "inflight_bytes_max");
    teardown(&user);
    buf_fini(&coded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream), cmocka_unit_test(test_split),  cmocka_unit_test(test_large),
        cmocka_unit_test(test_turns),  cmocka_unit_test(test_pause),  cmocka_unit_test(test_held),
        cmocka_unit_test(test_cancel), cmocka_unit_test(test_bombs),  cmocka_unit_test(test_broken),
        cmocka_unit_test(test_as_is),  cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
