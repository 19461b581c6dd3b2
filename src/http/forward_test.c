/* SPDX-License-Identifier: MIT */
/* Forward proxies: who is reached through one, what is sent to it, and tunnels in memory. */
#include "http/forward.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

enum { HEAD_MAX = 300, CONNECT_MS = 1000 };

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1 << 20, 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* ---- which ---- */

static struct url parsed(const char *text)
{
    struct url url;
    struct error e;

    if (url_parse(str_c(text), &arena, &url, &e) != OK)
        fail_msg("%s: %s", text, e.detail);
    return url;
}

static const struct {
    const char *origin;
    const char *no_proxy;
    bool through;
} no_proxy_cases[] = {
    {"https://api.example.com", "", true},
    {"https://api.example.com", "*", false},
    {"https://api.example.com", " , *", false},
    {"https://api.example.com", "a,b,*,c", false},
    {"https://api.example.com", "*com", true},
    /* Names: with all below, whole labels only. */
    {"https://example.com", "example.com", false},
    {"https://api.example.com", "example.com", false},
    {"https://a.b.example.com", "example.com", false},
    {"https://example.com", ".example.com", false},
    {"https://api.example.com", ".example.com", false},
    {"https://api.example.com", "*.example.com", false},
    {"https://notexample.com", "example.com", true},
    {"https://notexample.com", ".example.com", true},
    {"https://example.com.evil.test", "example.com", true},
    {"https://example.com", "api.example.com", true},
    {"https://EXAMPLE.com", "Example.COM", false},
    {"https://example.com.", "example.com", false},
    {"https://example.com", "example.com.", false},
    {"https://example.com", "com", false},
    {"https://example.com", ".", true},
    {"https://example.com", "*.", true},
    {"https://example.com", "..", true},
    /* Lists. */
    {"https://example.com", "a,example.com", false},
    {"https://example.com", "a example.com", false},
    {"https://example.com", "a , example.com,", false},
    {"https://example.com", "a\texample.com", false},
    {"https://example.com", "a;example.com", true},
    /* Ports. */
    {"https://example.com", "example.com:443", false},
    {"https://example.com", "example.com:80", true},
    {"https://example.com:8443", "example.com:8443", false},
    {"https://example.com:8443", "example.com:443", true},
    {"http://example.com", "example.com:80", false},
    {"https://a.example.com:8443", ".example.com:8443", false},
    {"https://example.com", "example.com:", true},
    {"https://example.com", "example.com:x", true},
    {"https://example.com", "example.com:0", true},
    {"https://example.com", "example.com:65979", true},
    /* Addresses. */
    {"https://10.1.2.3", "10.1.2.3", false},
    {"https://10.1.2.3", "10.1.2.4", true},
    {"https://10.1.2.3:81", "10.1.2.3:81", false},
    {"https://10.1.2.3:81", "10.1.2.3:82", true},
    {"https://10.1.2.3", "2.3", true},
    {"https://10.1.2.3", ".3", true},
    {"https://10.1.2.3", "1.2.3", true},
    {"https://[fd00::1]", "fd00::1", false},
    {"https://[fd00::1]", "FD00:0::1", false},
    {"https://[fd00::1]", "[fd00::1]", false},
    {"https://[fd00::1]:81", "[fd00::1]:81", false},
    {"https://[fd00::1]:81", "[fd00::1]:82", true},
    {"https://[fd00::1]:81", "[fd00::1]x", true},
    {"https://[fd00::1]", "[fd00::1", true},
    {"https://[::ffff:10.1.2.3]", "10.1.2.3", false},
    {"https://10.1.2.3", "::ffff:10.1.2.3", false},
    {"https://example.com", "10.0.0.0/8", true},
    /* Networks. */
    {"https://10.1.2.3", "10.0.0.0/8", false},
    {"https://10.1.2.3", "11.0.0.0/8", true},
    {"https://10.1.2.3", "10.1.2.2/31", false},
    {"https://10.1.2.3", "10.1.2.4/31", true},
    {"https://10.1.2.3", "10.1.2.3/32", false},
    {"https://10.1.2.3", "0.0.0.0/0", false},
    {"https://10.1.2.3", "10.0.0.0/33", true},
    {"https://10.1.2.3", "10.0.0.0/-1", true},
    {"https://10.1.2.3", "10.0.0.0/", true},
    {"https://10.1.2.3", "10.0.0.0/8x", true},
    {"https://10.1.2.3", "/8", true},
    {"https://10.1.2.3", "::/0", true},
    {"https://[fd00::1]", "fd00::/8", false},
    {"https://[fe80::1]", "fe80::/10", false},
    {"https://[fec0::1]", "fe80::/10", true},
    {"https://[fd00::1]", "::/0", false},
    {"https://[fd00::1]", "0.0.0.0/0", true},
    {"https://[fd00::1]", "fd00::/129", true},
    {"https://[::ffff:10.1.2.3]", "10.0.0.0/8", false},
    /* This machine never. */
    {"https://localhost", "", false},
    {"https://LOCALHOST:81", "", false},
    {"https://localhost.", "", false},
    {"https://api.localhost", "", false},
    {"https://127.0.0.1", "", false},
    {"https://127.255.0.9:81", "", false},
    {"https://127.1", "", false},
    {"https://2130706433", "", false},
    {"https://[::1]", "", false},
    {"https://[0:0::1]:81", "", false},
    {"https://[::ffff:127.0.0.1]", "", false},
    {"https://0.0.0.0", "", false},
    {"https://[::]", "", false},
    {"https://128.0.0.1", "", true},
    {"https://[::2]", "", true},
    {"https://localhost.example.com", "", true},
    {"https://notlocalhost", "", true},
    {"https://127.0.0.1.example.com", "", true},
};

static void test_no_proxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(no_proxy_cases); i++) {
        const struct url origin = parsed(no_proxy_cases[i].origin);
        const struct str no_proxy[] = {STR("first.test"), str_c(no_proxy_cases[i].no_proxy)};
        const struct forward_rules rules = {
            .https_proxy = STR("http://p"),
            .http_proxy = STR("http://p"),
            .no_proxy = no_proxy,
            .no_proxy_n = COUNT_OF(no_proxy),
        };
        if (str_is_null(forward_choose(&rules, &origin)) == no_proxy_cases[i].through)
            fail_msg("%s with no_proxy \"%s\"", no_proxy_cases[i].origin,
                     no_proxy_cases[i].no_proxy);
    }
}

static void test_by_scheme(void **state)
{
    const struct url plain = parsed("http://example.com");
    const struct url secure = parsed("https://example.com");
    struct forward_rules rules = {.https_proxy = STR("s"), .http_proxy = STR("")};

    (void)state;
    assert_true(str_eq(forward_choose(&rules, &secure), STR("s")));
    assert_true(str_is_null(forward_choose(&rules, &plain)));
    rules.all_proxy = STR("a");
    assert_true(str_eq(forward_choose(&rules, &secure), STR("s")));
    assert_true(str_eq(forward_choose(&rules, &plain), STR("a")));
    rules.http_proxy = STR("h");
    assert_true(str_eq(forward_choose(&rules, &plain), STR("h")));
    assert_true(
        str_is_null(forward_choose(&(struct forward_rules){.http_proxy = STR("h")}, &secure)));
    assert_true(str_is_null(forward_choose(&(struct forward_rules){.no_proxy = NULL}, &plain)));
}

/* ---- how ---- */

static struct forward *made(const char *proxy, const char *host, uint16_t port)
{
    struct forward *forward = NULL;
    struct error e;
    const struct forward_options options = {
        .proxy = str_c(proxy),
        .host = str_c(host),
        .port = port,
        .connect_timeout_ms = CONNECT_MS,
        .header_bytes_max = HEAD_MAX,
    };

    if (forward_new(&options, &forward, &e) != OK)
        fail_msg("%s: %s", proxy, e.detail);
    return forward;
}

static void test_head(void **state)
{
    static const char rest[] = "\r\nhost: h\r\n\r\n";
    static const struct {
        const char *proxy;
        const char *host;
        uint16_t port;
        const char *head;
        const char *want;
    } cases[] = {
        {"p", "h", 80, "GET / HTTP/1.1", "GET http://h/ HTTP/1.1"},
        {"p", "h", 8080, "POST /v1/x?y HTTP/1.1", "POST http://h:8080/v1/x?y HTTP/1.1"},
        {"p", "fd00::1", 80, "GET /a HTTP/1.1", "GET http://[fd00::1]/a HTTP/1.1"},
        {"p", "fd00::1", 81, "GET /a HTTP/1.1", "GET http://[fd00::1]:81/a HTTP/1.1"},
        {"http://us%3f:p:w@p", "h", 80, "GET / HTTP/1.1",
         "GET http://h/ HTTP/1.1\r\nproxy-authorization: Basic dXM/OnA6dw=="},
        /* RFC 4648, 10: every rest of three. */
        {"http://f:@p", "h", 80, "GET / HTTP/1.1",
         "GET http://h/ HTTP/1.1\r\nproxy-authorization: Basic Zjo="},
        {"http://:@p", "h", 80, "GET / HTTP/1.1",
         "GET http://h/ HTTP/1.1\r\nproxy-authorization: Basic Og=="},
        {"http://f:o@p", "h", 80, "GET / HTTP/1.1",
         "GET http://h/ HTTP/1.1\r\nproxy-authorization: Basic Zjpv"},
        {"http://%ff%fe:%fd@p", "h", 80, "GET / HTTP/1.1",
         "GET http://h/ HTTP/1.1\r\nproxy-authorization: Basic //46/Q=="},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct forward *forward = made(cases[i].proxy, cases[i].host, cases[i].port);
        struct str head = str_print(&arena, "%s%s", cases[i].head, rest);
        struct str want = str_print(&arena, "%s%s", cases[i].want, rest);
        struct str got = forward_head(forward, head, &arena);
        if (!str_eq(got, want))
            fail_msg("%.*s", STR_ARG(got));
        assert_false(forward_tunnels(forward));
        forward_free(&forward);
        forward_free(&forward);
    }
}

static void test_head_beyond_the_arena(void **state)
{
    struct forward *forward = made("p", "h", 80);
    struct arena small;

    (void)state;
    arena_init(&small, 512, 512, NULL);
    (void)arena_alloc(&small, 450);
    assert_int_equal(forward_head(forward,
                                  STR("GET /123456789012345678901234567890 HTTP/1.1\r\n"
                                      "host: h\r\nx: 0123456789\r\n\r\n"),
                                  &small)
                         .n,
                     0);
    assert_true(arena_overflowed(&small));
    arena_fini(&small);
    forward_free(&forward);
}

static void test_target(void **state)
{
    char long_name[260];
    struct forward *forward = made("http://u:secret@Proxy.example:3128", "h", 80);
    struct error e;

    (void)state;
    const struct conn_target target = forward_target(forward);
    assert_true(str_eq(target.host, STR("proxy.example")));
    assert_int_equal(target.port, 3128);
    assert_null(target.tls);
    assert_true(str_eq(forward_name(forward), STR("proxy.example:3128")));
    forward_free(&forward);
    forward = made("[fd00::9]", "h", 80);
    assert_true(str_eq(forward_name(forward), STR("[fd00::9]:80")));
    forward_free(&forward);
    memset(long_name, 'x', sizeof(long_name));
    for (size_t i = 50; i < sizeof(long_name); i += 50)
        long_name[i] = '.';
    long_name[240] = '\0';
    forward = made(long_name, "h", 80);
    assert_true(forward_name(forward).n <= FORWARD_NAME_MAX);
    forward_free(&forward);

    const struct forward_options wrong = {.proxy = STR("socks5://u:secret@p"),
                                          .host = STR("h"),
                                          .port = 80,
                                          .connect_timeout_ms = 1,
                                          .header_bytes_max = 1};
    assert_int_equal(forward_new(&wrong, &forward, &e), ERR_CONFIG);
    assert_null(strstr(e.detail, "secret"));
    assert_null(forward);
}

/* ---- tunnels ---- */

struct user {
    struct loop *loop;
    struct forward *forward;
    struct forward_tunnel *tunnel;
    struct conn *proxy; /* the proxy's end */
    struct conn *conn;  /* ours, when it stands */
    struct buf asked;   /* what the proxy got */
    struct buf got;     /* what came through the tunnel */
    bool proxy_eof;
    unsigned stands, faileds;
    struct error e;
};

static void proxy_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    assert_true(buf_add(&((struct user *)ctx)->asked, bytes));
}

static void proxy_eof(struct conn *conn, void *ctx)
{
    (void)conn;
    ((struct user *)ctx)->proxy_eof = true;
}

static const struct conn_events proxy_events = {.read = proxy_read, .eof = proxy_eof};

static void conn_read(struct conn *conn, void *ctx, struct str bytes)
{
    (void)conn;
    assert_true(buf_add(&((struct user *)ctx)->got, bytes));
}

static const struct conn_events user_conn_events = {.read = conn_read};

static void on_stands(void *ctx, struct conn *conn)
{
    struct user *user = ctx;

    user->tunnel = NULL;
    user->stands++;
    user->conn = conn;
    conn_set_events(conn, &user_conn_events, user);
    conn_read_start(conn);
}

static void on_failed(void *ctx, const struct error *e)
{
    struct user *user = ctx;

    user->tunnel = NULL;
    user->faileds++;
    user->e = *e;
}

static const struct forward_tunnel_events user_events = {.stands = on_stands, .failed = on_failed};

static void begin(struct user *user, const char *proxy)
{
    struct conn *near = NULL;

    *user = (struct user){.loop = loop_test_new()};
    buf_init(&user->asked, 4096);
    buf_init(&user->got, 4096);
    user->forward = made(proxy, "origin.test", 443);
    conn_pair(user->loop, &near, &user->proxy);
    conn_set_events(user->proxy, &proxy_events, user);
    conn_read_start(user->proxy);
    user->tunnel = forward_tunnel_new(user->forward, user->loop, near, &arena, &user_events, user);
    assert_int_equal(user->stands + user->faileds, 0);
    loop_test_run(user->loop);
}

static void end(struct user *user)
{
    forward_tunnel_free(&user->tunnel);
    conn_close(&user->conn);
    conn_close(&user->proxy);
    loop_test_run(user->loop);
    loop_test_free(&user->loop);
    forward_free(&user->forward);
    buf_fini(&user->asked);
    buf_fini(&user->got);
    arena_reset(&arena);
}

static void say(struct user *user, struct str bytes)
{
    (void)conn_write(user->proxy, &bytes, 1);
    loop_test_run(user->loop);
}

static void say_z(struct user *user, const char *z)
{
    say(user, str_c(z));
}

static void check_failed(struct user *user, enum error_code code, const char *detail)
{
    if (user->faileds != 1 || user->stands != 0 || user->e.code != code ||
        strstr(user->e.detail, detail) == NULL)
        fail_msg("%u %u %s: %s", user->faileds, user->stands, error_name(user->e.code),
                 user->e.detail);
    assert_null(strstr(user->e.detail, "secret"));
    assert_non_null(strstr(user->e.detail, "proxy.test:3128"));
    assert_true(user->proxy_eof || user->proxy == NULL);
}

#define PROXY "http://user:secret@proxy.test:3128"

static void test_tunnel(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 204 Whatever\r\nX: y\r\n\r\n",
        /* RFC 9110, 9.3.6: no body, whatever these say. */
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        struct str answer = str_c(answers[i]);
        /* Cut at every byte, and byte by byte. */
        for (size_t cut = 0; cut < answer.n; cut++) {
            struct user user;
            struct str bytes = STR("ping");
            begin(&user, PROXY);
            assert_true(str_eq(buf_str(&user.asked),
                               STR("CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\n"
                                   "proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n")));
            for (size_t at = 0; at < answer.n;) {
                size_t n = cut == 0 ? 1 : at == 0 ? cut : answer.n - at;
                assert_int_equal(user.stands + user.faileds, 0);
                say(&user, str_head(str_from(answer, at), n));
                at += n;
            }
            assert_int_equal(user.stands, 1);
            /* And it is one, in both directions. */
            buf_reset(&user.asked);
            (void)conn_write(user.conn, &bytes, 1);
            say_z(&user, "pong");
            assert_true(str_eq(buf_str(&user.asked), STR("ping")));
            assert_true(str_eq(buf_str(&user.got), STR("pong")));
            /* Nor does a timer of it stay behind. */
            loop_test_advance(user.loop, CONNECT_MS * 2);
            assert_int_equal(user.stands + user.faileds, 1);
            end(&user);
        }
    }
}

static void test_refusals(void **state)
{
    static const struct {
        const char *answer;
        enum error_code code;
        const char *detail;
    } cases[] = {
        {"HTTP/1.1 407 Nope\r\nProxy-Authenticate: Basic\r\nContent-Length: 9\r\n\r\nsecret!",
         ERR_UPSTREAM_UNREACHABLE, ": 407 Proxy Authentication Required"},
        {"HTTP/1.1 403 secret\r\n\r\n", ERR_UPSTREAM_UNREACHABLE, ": 403 Forbidden"},
        {"HTTP/1.1 502 x\r\n\r\n", ERR_UPSTREAM_UNREACHABLE, ": 502 Bad Gateway"},
        {"HTTP/1.1 504 x\r\n\r\n", ERR_UPSTREAM_TIMEOUT, ": 504 Gateway Timeout"},
        {"HTTP/1.1 302 x\r\nLocation: http://secret/\r\n\r\n", ERR_UPSTREAM_UNREACHABLE, ": 302 "},
        {"HTTP/1.1 101 x\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n", ERR_UPSTREAM_UNREACHABLE,
         ": 101 "},
        {"HTTP/1.1 200 OK\r\n\r\nx", ERR_UPSTREAM_UNREACHABLE, "bytes behind its answer"},
        {"SSH-2.0-OpenSSH\r\n", ERR_UPSTREAM_UNREACHABLE, "not valid HTTP/1"},
        {"HTTP/2 200\r\n\r\n", ERR_UPSTREAM_UNREACHABLE, "not valid HTTP/1"},
        {"HTTP/1.1 200 OK\r\nA b\r\n\r\n", ERR_UPSTREAM_UNREACHABLE, "not valid HTTP/1"},
        {"\x05\x00", ERR_UPSTREAM_UNREACHABLE, "not valid HTTP/1"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct user user;
        begin(&user, PROXY);
        say_z(&user, cases[i].answer);
        check_failed(&user, cases[i].code, cases[i].detail);
        end(&user);
    }
}

/* Cut anywhere by the end of the connection: clear, and at once. */
static void test_closes(void **state)
{
    struct str answer = STR("HTTP/1.1 200 OK\r\nA: b\r\n\r\n");

    (void)state;
    for (size_t n = 0; n < answer.n; n++) {
        for (int reset = 0; reset < 2; reset++) {
            struct user user;
            begin(&user, PROXY);
            if (n > 0)
                say(&user, str_head(answer, n));
            if (reset != 0)
                conn_mem_reset(user.proxy);
            conn_close(&user.proxy);
            loop_test_run(user.loop);
            check_failed(&user, ERR_UPSTREAM_UNREACHABLE,
                         reset != 0 ? "reset" : "closed the connection instead of answering");
            end(&user);
        }
    }
}

static void test_silent(void **state)
{
    struct user user;

    (void)state;
    begin(&user, PROXY);
    loop_test_advance(user.loop, CONNECT_MS / 2);
    /* A drip does not prolong it. */
    say_z(&user, "HTTP/1.1 2");
    loop_test_advance(user.loop, CONNECT_MS / 2 - 10);
    assert_int_equal(user.faileds, 0);
    loop_test_advance(user.loop, 20);
    check_failed(&user, ERR_UPSTREAM_TIMEOUT, "within 1000 ms");
    end(&user);
}

/* The limit on its head: met exactly, and passed by one. */
static void test_long_head(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct user user;
        struct buf head;
        buf_init(&head, 4096);
        (void)buf_add(&head, STR("HTTP/1.1 200 OK\r\nA: "));
        while (head.n < HEAD_MAX - 4 + more)
            (void)buf_add_char(&head, 'x');
        (void)buf_add(&head, STR("\r\n\r\n"));
        begin(&user, PROXY);
        say(&user, buf_str(&head));
        if (more == 0)
            assert_int_equal(user.stands, 1);
        else
            check_failed(&user, ERR_UPSTREAM_UNREACHABLE, "more than 300 bytes");
        end(&user);
        buf_fini(&head);
    }
}

static void test_given_up(void **state)
{
    struct user user;

    (void)state;
    begin(&user, PROXY);
    say_z(&user, "HTTP/1.1 ");
    forward_tunnel_free(&user.tunnel);
    forward_tunnel_free(&user.tunnel);
    loop_test_advance(user.loop, CONNECT_MS * 2);
    assert_int_equal(user.stands + user.faileds, 0);
    assert_true(user.proxy_eof);
    end(&user);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_proxy), cmocka_unit_test(test_by_scheme),
        cmocka_unit_test(test_head),     cmocka_unit_test(test_head_beyond_the_arena),
        cmocka_unit_test(test_target),   cmocka_unit_test(test_tunnel),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_closes),
        cmocka_unit_test(test_silent),   cmocka_unit_test(test_long_head),
        cmocka_unit_test(test_given_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
