/* SPDX-License-Identifier: MIT */
#include "text/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 1024 * 1024, 1024, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void check_str(struct str is, struct str want)
{
    if (!str_eq(is, want) || str_is_null(is) != str_is_null(want))
        fail_msg("\"%.*s\" instead of \"%.*s\"", STR_ARG(is), STR_ARG(want));
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        const char *authority;
        const char *host;
        const char *path;
        const char *query; /* NULL: none */
        uint16_t port;
        bool https;
    } cases[] = {
        {"http://a", "a", "a", "", NULL, 80, false},
        {"https://a", "a", "a", "", NULL, 443, true},
        {"HTTPS://Api.Example.COM/v1/", "api.example.com", "api.example.com", "/v1", NULL, 443,
         true},
        {"http://a:8080/V1/x", "a:8080", "a", "/V1/x", NULL, 8080, false},
        {"http://a:80", "a", "a", "", NULL, 80, false},
        {"https://a:80", "a:80", "a", "", NULL, 80, true},
        {"http://a:", "a", "a", "", NULL, 80, false},
        {"http://a//", "a", "a", "", NULL, 80, false},
        {"http://a?x=1", "a", "a", "", "x=1", 80, false},
        {"http://a/p/?x=/&y=?", "a", "a", "/p", "x=/&y=?", 80, false},
        {"http://a/?", "a", "a", "", "", 80, false},
        {"http://127.0.0.1:1", "127.0.0.1:1", "127.0.0.1", "", NULL, 1, false},
        {"http://[::1]", "[::1]", "::1", "", NULL, 80, false},
        {"http://[FE80::A]:65535/x", "[fe80::a]:65535", "fe80::a", "/x", NULL, 65535, false},
        {"http://my_host.", "my_host.", "my_host.", "", NULL, 80, false},
        {"http://a/%7e:@!", NULL, "a", "/%7e:@!", NULL, 80, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct url url;
        struct error e;
        if (url_parse(str_c(cases[i].text), &arena, &url, &e) != OK)
            fail_msg("%s: %s", cases[i].text, e.detail);
        check_str(url.host, str_c(cases[i].host));
        check_str(url.path, str_c(cases[i].path));
        check_str(url.query, str_c(cases[i].query));
        assert_int_equal(url.port, cases[i].port);
        assert_int_equal(url.https, cases[i].https);
        assert_int_equal(url.port_is_default, cases[i].port == (cases[i].https ? 443 : 80));
        assert_int_equal(url.host_is_ipv6, strchr(cases[i].text, '[') != NULL);
        if (cases[i].authority != NULL)
            check_str(url_authority(&url, &arena), str_c(cases[i].authority));
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        const char *detail;
    } cases[] = {
        {"", "a URL without http:// or https:// at its beginning"},
        {"a.example/v1", "a URL without http:// or https:// at its beginning"},
        {"ftp://a", "a URL without http:// or https:// at its beginning"},
        {"http:/a", "a URL without http:// or https:// at its beginning"},
        {"http://", "a URL whose host is not valid"},
        {"http:///x", "a URL whose host is not valid"},
        {"http://:80", "a URL whose host is not valid"},
        {"http://a..b", "a URL whose host is not valid"},
        {"http://.", "a URL whose host is not valid"},
        {"http://a%2e", "a URL whose host is not valid"},
        {"http://a\\b", "a URL whose host is not valid"},
        {"http://[::1", "a URL whose host is not valid"},
        {"http://[::1]x", "a URL whose host is not valid"},
        {"http://[a]", "a URL whose host is not valid"},
        {"http://[fe80::1%25eth0]", "a URL whose host is not valid"},
        {"http://0123456789012345678901234567890123456789012345678901234567890123/",
         "a URL whose host is not valid"},
        {"http://u:p@a", "a URL with a user name or password"},
        {"http://u@a", "a URL with a user name or password"},
        {"http://a:0", "a URL whose port is not a number from 1 to 65535"},
        {"http://a:65536", "a URL whose port is not a number from 1 to 65535"},
        {"http://a:-1", "a URL whose port is not a number from 1 to 65535"},
        {"http://a:+1", "a URL whose port is not a number from 1 to 65535"},
        {"http://a:8x", "a URL whose port is not a number from 1 to 65535"},
        {"http://a:99999999999999999999", "a URL whose port is not a number from 1 to 65535"},
        {"http://a/x#y", "a URL with a fragment"},
        {"http://a/x y", "a URL with a blank or another character to be escaped"},
        {"http://a/\r\nHost: b", "a URL with a blank or another character to be escaped"},
        {"http://a/\xC3\xA9", "a URL with a blank or another character to be escaped"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct url url;
        struct error e = {.code = OK};
        if (url_parse(str_c(cases[i].text), &arena, &url, &e) != ERR_CONFIG)
            fail_msg("%s was taken", cases[i].text);
        assert_string_equal(e.detail, cases[i].detail);
    }
}

static void test_proxy(void **state)
{
    static const struct {
        const char *text;
        const char *host;
        uint16_t port;
        bool https;
        const char *user; /* NULL: none */
        const char *password;
    } cases[] = {
        {"http://proxy.example:3128", "proxy.example", 3128, false, NULL, NULL},
        {"http://Proxy.example/", "proxy.example", 80, false, NULL, NULL},
        {"https://proxy.example", "proxy.example", 443, true, NULL, NULL},
        {"proxy.example:8080", "proxy.example", 8080, false, NULL, NULL},
        {"10.0.0.1", "10.0.0.1", 80, false, NULL, NULL},
        {"HTTP://[::1]:3128/", "::1", 3128, false, NULL, NULL},
        {"http://user@a", "a", 80, false, "user", ""},
        {"http://user:@a", "a", 80, false, "user", ""},
        {"http://:pass@a", "a", 80, false, "", "pass"},
        {"http://user:pa:ss@a:1", "a", 1, false, "user", "pa:ss"},
        {"https://us%40er:p%3Aa%2fs%25s@a:1/", "a", 1, true, "us@er", "p:a/s%s"},
        {"user:pass@a", "a", 80, false, "user", "pass"},
        {"http://user:p@ss@a", "a", 80, false, "user", "p@ss"},
        {"http://%c3%a9:%20@a", "a", 80, false, "\xC3\xA9", " "},
    };
    static const struct {
        const char *text;
        const char *detail;
    } faults[] = {
        {"", "a URL whose host is not valid"},
        {"http://", "a URL whose host is not valid"},
        {"socks5://user:secret@a:1080", "a socks proxy's"},
        {"SOCKS4a://a", "a socks proxy's"},
        {"ftp://secret@a", "a URL without http:// or https:// at its beginning"},
        {"http://a/x", "a URL with a path"},
        {"http://a?secret", "a URL with a path"},
        {"http://a#secret", "a URL with a fragment"},
        {"http://u:secret@a/x", "a URL with a path"},
        {"http://u:secret@a b", "a URL with a blank or another character to be escaped"},
        {"http://u:sec ret@a", "a URL with a blank or another character to be escaped"},
        {"http://u:secret@a:x", "a URL whose port is not a number from 1 to 65535"},
        {"http://u:secret@", "a URL whose host is not valid"},
        {"http://u:secr/et@a", "a URL whose port is not a number from 1 to 65535"},
        {"http://a/x@b", "a URL with a path"},
        {"http://u%3A:secret@a", "a URL whose user name or password cannot be sent"},
        {"http://u:secret%0d%0a@a", "a URL whose user name or password cannot be sent"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct url_proxy proxy;
        struct error e = {.code = OK};
        if (url_parse_proxy(str_c(cases[i].text), &arena, &proxy, &e) != OK)
            fail_msg("%s: %s", cases[i].text, e.detail);
        check_str(proxy.url.host, str_c(cases[i].host));
        assert_int_equal(proxy.url.port, cases[i].port);
        assert_int_equal(proxy.url.https, cases[i].https);
        assert_int_equal(str_is_null(proxy.user), cases[i].user == NULL);
        check_str(proxy.user, str_c(cases[i].user));
        check_str(proxy.password, str_c(cases[i].password));
    }
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct url_proxy proxy;
        struct error e = {.code = OK};
        if (url_parse_proxy(str_c(faults[i].text), &arena, &proxy, &e) != ERR_CONFIG)
            fail_msg("%s was taken", faults[i].text);
        assert_string_equal(e.detail, faults[i].detail);
    }
}

static void test_decode(void **state)
{
    struct str plain = STR("a+b/c");

    (void)state;
    assert_ptr_equal(url_decode(plain, false, &arena).p, plain.p);
    check_str(url_decode(plain, true, &arena), STR("a b/c"));
    check_str(url_decode(STR("%41%2f%c3%A9"), false, &arena), STR("A/\xC3\xA9"));
    check_str(url_decode(STR("%"), false, &arena), STR("%"));
    check_str(url_decode(STR("%4"), false, &arena), STR("%4"));
    check_str(url_decode(STR("%4g%g4%%41"), false, &arena), STR("%4g%g4%A"));
    check_str(url_decode(STR("%2541"), false, &arena), STR("%41"));
    check_str(url_decode(STR("a%00"), false, &arena), STR("a\0"));
    check_str(url_decode(STR(""), true, &arena), STR(""));
}

static void test_encode(void **state)
{
    char all[256];

    (void)state;
    check_str(url_encode(STR("aZ09-._~"), "", &arena), STR("aZ09-._~"));
    check_str(url_encode(STR("a b/\xC3\xA9+%\0"), "", &arena), STR("a%20b%2F%C3%A9%2B%25%00"));
    check_str(url_encode(STR("a/b:c d?@\0"), "/:@", &arena), STR("a/b:c%20d%3F@%00"));
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct str encoded = url_encode(str_of(all, sizeof(all)), "", &arena);
    check_str(url_decode(encoded, true, &arena), str_of(all, sizeof(all)));

    struct buf out;
    buf_init(&out, 4096);
    url_add_encoded(&out, str_of(all, sizeof(all)), "");
    check_str(buf_str(&out), encoded);
    url_add_encoded(&out, STR("/:"), ":");
    check_str(str_from(buf_str(&out), encoded.n), STR("%2F:"));
    buf_fini(&out);
}

static void test_host(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *name; /* NULL: it is none */
        const char *port;
    } cases[] = {
        {"a", "a", ""},
        {"a.b:80", "a.b", "80"},
        {"a:", "a", ""},
        {"[::1]", "[::1]", ""},
        {"[::1]:7", "[::1]", "7"},
        {"127.0.0.1:65535", "127.0.0.1", "65535"},
        {"a_b-c~%41", "a_b-c~%41", ""},
        {"", NULL, NULL},
        {":80", NULL, NULL},
        {"a b", NULL, NULL},
        {"a/b", NULL, NULL},
        {"u@a", NULL, NULL},
        {"a:b", NULL, NULL},
        {"a:80:80", NULL, NULL},
        {"a:123456", NULL, NULL},
        {"::1", NULL, NULL},
        {"[::1", NULL, NULL},
        {"[]", NULL, NULL},
        {"[::1]x", NULL, NULL},
        {"a]", NULL, NULL},
        {"\xc3\xa4", NULL, NULL},
        {"a?b", NULL, NULL},
        {"a#b", NULL, NULL},
        {"a:-1", NULL, NULL},
    };
    struct str name;
    struct str port;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bool ok = url_host_split(str_c(cases[i].text), &name, &port);
        if (ok != (cases[i].name != NULL))
            fail_msg("%s", cases[i].text);
        if (ok) {
            check_str(name, str_c(cases[i].name));
            check_str(port, str_c(cases[i].port));
        }
    }
    assert_false(url_host_split(STR("a\0b"), &name, &port));
    static const char extra[] = "-._~%!$&'()*+,;=";
    for (int c = 0; c < 256; c++) {
        char text[1] = {(char)c};
        bool alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        bool wanted = (c < 128 && alnum) || (c != 0 && strchr(extra, c) != NULL);
        if (url_host_split(str_of(text, 1), &name, &port) != wanted)
            fail_msg("byte %d", c);
    }
    assert_false(url_host_split(STR_NULL, &name, &port));
}

static void test_origin(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"https://a.example", "HTTPS://A.Example:443"},
        {"http://a", "http://a:80"},
        {"http://[::1]:8000", "http://[::1]:8000"},
        {"tauri://localhost", "tauri://localhost"},
        {"chrome-extension://abcdef", "Chrome-Extension://abcdef:"},
    };
    static const char *const other[][2] = {
        {"https://a", "http://a"},       {"https://a", "https://a:80"},
        {"http://a", "http://a:443"},    {"https://a", "https://a.b"},
        {"https://a", "https://b.a"},    {"app://a", "app://a:443"},
        {"https://a:44", "https://a:4"},
    };
    static const char *const none[] = {
        "",         "null",        "a",           "https://",  "://a",
        "https:/a", "https://a/",  "https://a/b", "1http://a", "ht tp://a",
        "*",        "https://u@a", "https://a?b", "file:///"};
    struct url_origin a;
    struct url_origin b;

    for (size_t i = 0; i < COUNT_OF(same); i++) {
        assert_true(url_origin_split(str_c(same[i][0]), &a));
        assert_true(url_origin_split(str_c(same[i][1]), &b));
        if (!url_origin_eq(&a, &b))
            fail_msg("%s is not %s", same[i][0], same[i][1]);
    }
    for (size_t i = 0; i < COUNT_OF(other); i++) {
        assert_true(url_origin_split(str_c(other[i][0]), &a));
        assert_true(url_origin_split(str_c(other[i][1]), &b));
        if (url_origin_eq(&a, &b))
            fail_msg("%s is %s", other[i][0], other[i][1]);
    }
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        if (url_origin_split(str_c(none[i]), &a))
            fail_msg("%s is an origin", none[i]);
    }
}

static void test_query(void **state)
{
    struct str rest = STR("a=1&&b&c=&=d&e=f=g");
    const struct str want[][2] = {{STR("a"), STR("1")},
                                  {STR("b"), STR_NULL},
                                  {STR("c"), STR("")},
                                  {STR(""), STR("d")},
                                  {STR("e"), STR("f=g")}};
    struct str name;
    struct str value;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_true(url_query_next(&rest, &name, &value));
        check_str(name, want[i][0]);
        check_str(value, want[i][1]);
    }
    assert_false(url_query_next(&rest, &name, &value));
    rest = STR_NULL;
    assert_false(url_query_next(&rest, &name, &value));
}

/* A client's key must not reach an upstream, however its name is written. */
static void test_query_without(void **state)
{
    const struct str names[] = {STR("key"), STR("api_key")};
    const struct {
        struct str query;
        struct str want;
    } cases[] = {
        {STR("a=1"), STR("a=1")},
        {STR("key=1"), STR_NULL},
        {STR("key"), STR_NULL},
        {STR("key=1&a=%20+&b"), STR("a=%20+&b")},
        {STR("a=1&key=2&b=3&api_key=4"), STR("a=1&b=3")},
        {STR("k%65y=1&a=1&%6bey=2"), STR("a=1")},
        {STR("keys=1&Key=2&a=key"), STR("keys=1&Key=2&a=key")},
        {STR("a=1&&b=2"), STR("a=1&&b=2")},
        {STR(""), STR_NULL},
        {STR_NULL, STR_NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        check_str(url_query_without(cases[i].query, names, COUNT_OF(names), &arena), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_decode),        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_proxy),         cmocka_unit_test(test_query),
        cmocka_unit_test(test_query_without), cmocka_unit_test(test_host),
        cmocka_unit_test(test_origin),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
