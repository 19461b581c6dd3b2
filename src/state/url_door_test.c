/* SPDX-License-Identifier: MIT */
#include "state/config_test_priv.h"

#include "io/address.h"
#include "state/url_door.h"

static const char listed[] = "allowed_url_hosts: [api.example, 'Other.example:8443', 127.0.0.1,"
                             " '10.0.0.1:81', '[fd00::1]', '[fd00::2]:82', '2001:db8::5',"
                             " 'xn--bcher-kva.example', dotted.example., localhost]\n";

static const char *const passing[] = {
    "https://api.example",    "http://api.example/v1",         "HTTPS://API.Example:444/any/path/",
    "https://api.example.",   "https://other.example:8443/v1", "http://127.0.0.1",
    "http://127.0.0.1:9/v1",  "http://[::ffff:127.0.0.1]:9",   "http://[::ffff:7f00:1]",
    "http://10.0.0.1:81",     "http://[fd00::1]:5/",           "http://[FD00:0:0::1]",
    "http://[fd00::2]:82",    "https://[2001:db8:0::5]",       "https://xn--bcher-kva.example",
    "https://dotted.example", "http://localhost:4/v1",         "http://localhost.:4/v1",
};
static const struct {
    const char *url;
    const char *why;
} refused[] = {
    {"https://example", "its host, example, is not in allowed_url_hosts"},
    {"https://evil-api.example", "evil-api.example, is not in"},
    {"https://sub.api.example", "is not in allowed_url_hosts"},
    {"https://api.example.evil", "is not in allowed_url_hosts"},
    {"https://api.example..", "host is not valid"},
    {"https://other.example", "other.example, is not in"},
    {"https://other.example:8444", "other.example:8444, is not in"},
    {"http://other.example:08443x", "port is not a number"},
    {"http://127.0.0.2", "127.0.0.2, is not in"},
    {"http://10.0.0.1", "10.0.0.1, is not in"},
    {"http://[fd00::2]", "[fd00::2], is not in"},
    {"http://[::1]", "[::1], is not in"},
    {"http://169.254.169.254/latest/meta-data", "169.254.169.254, is not in"},
    /* What a resolver takes for 127.0.0.1. */
    {"http://127.1", "neither a name nor an address"},
    {"http://2130706433/", "neither a name nor an address"},
    {"http://0x7f000001", "neither a name nor an address"},
    {"http://0x7F.0.0.1", "neither a name nor an address"},
    {"http://0x", "neither a name nor an address"},
    {"http://017700000001", "neither a name nor an address"},
    {"http://127.0.0.01", "neither a name nor an address"},
    {"http://0177.0.0.1", "neither a name nor an address"},
    {"http://127.0.0.1.", "neither a name nor an address"},
    {"http://127.0.0.0x1", "neither a name nor an address"},
    {"http://1.2.3.4.5", "neither a name nor an address"},
    {"http://256.0.0.1", "neither a name nor an address"},
    {"http://[fd00::1", "host is not valid"},
    {"http://[fd00::1%25eth0]", "host is not valid"},
    {"http://[fd00::1]evil.example", "host is not valid"},
    {"http://[:::::]", "neither a name nor an address"},
    {"http://[1.2.3.4]", "host is not valid"},
    {"https://api.example@evil.example/", "user name"},
    {"https://evil.example\\@api.example/", "user name"},
    {"https://user:pass@api.example/", "user name"},
    {"https://api.example:443@evil.example", "user name"},
    {"https://api.example#@evil.example", "fragment"},
    {"https://evil.example/?https://api.example", "query"},
    {"https://api.example/?a=b", "query"},
    {"https://evil.example/api.example", "evil.example, is not in"},
    {"https://api.example%2eevil", "host is not valid"},
    {"https://api%2eexample", "host is not valid"},
    {"https://b\xc3\xbc"
     "cher.example",
     "another character to be escaped"},
    {"https://api\xe3\x80\x82"
     "example",
     "another character to be escaped"},
    {"https://api.example /", "blank"},
    {" https://api.example", "blank"},
    {"https://api.example\t", "blank"},
    {"https://api.example\r\nhost: x", "blank"},
    {"ftp://api.example", "http:// or https://"},
    {"file:///etc/passwd", "http:// or https://"},
    {"//api.example", "http:// or https://"},
    {"api.example", "http:// or https://"},
    {"https://", "host is not valid"},
    {"https:///api.example", "host is not valid"},
    {"https://:443", "host is not valid"},
    {"https://api.example:0", "port is not a number"},
    {"https://api.example:65536", "port is not a number"},
    {"https://api.example:-1", "port is not a number"},
    {"https://api.example:+443", "port is not a number"},
    {"", "http:// or https://"},
};

static void passes(void **state)
{
    struct fixture *f = *state;
    const struct config *config = good(f, &(struct inputs){.yaml = listed});
    struct url url;
    struct str why;

    for (size_t i = 0; i < COUNT_OF(passing); i++) {
        if (!url_door_passes(config, str_c(passing[i]), &f->arena, &url, &why))
            fail_msg("%s: %.*s", passing[i], STR_ARG(why));
    }
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        why = STR("");
        if (url_door_passes(config, str_c(refused[i].url), &f->arena, &url, &why))
            fail_msg("%s passes", refused[i].url);
        if (!has(why, refused[i].why))
            fail_msg("%s: %.*s", refused[i].url, STR_ARG(why));
    }
    config = good(f, &(struct inputs){.yaml = ""});
    assert_false(url_door_passes(config, STR("https://api.example"), &f->arena, &url, &why));
    assert_str(why, "allowed_url_hosts is empty");
}

/* What the name of a listed host may stand for. */
static void admits(void **state)
{
    static const struct {
        const char *url;
        const char *address;
        bool admitted;
    } cases[] = {
        {"https://api.example", "93.184.216.34", true},
        {"https://api.example", "2606:2800:220:1::1", true},
        {"https://api.example", "127.0.0.1", true}, /* listed, as an address */
        {"https://api.example", "127.0.0.2", false},
        {"https://api.example", "::1", false},
        {"https://api.example", "0.0.0.0", false},
        {"https://api.example", "10.0.0.1", false}, /* listed for another port */
        {"http://api.example:81", "10.0.0.1", true},
        {"http://api.example:81", "::ffff:10.0.0.1", true},
        {"http://api.example:81", "10.0.0.2", false},
        {"https://api.example", "169.254.169.254", false},
        {"https://api.example", "::ffff:169.254.169.254", false},
        {"https://api.example", "fd00::1", true},
        {"https://api.example", "fd00::3", false},
        {"https://api.example", "fe80::1", false},
        {"https://api.example", "100.64.0.1", false},
        {"https://api.example", "64:ff9b::10.0.0.9", false},
        {"http://localhost:4", "127.0.0.9", true},
        {"http://localhost.:4", "::1", true},
        {"http://localhost:4", "10.0.0.9", false},
        {"http://127.0.0.1", "127.0.0.1", true},
    };
    struct fixture *f = *state;
    const struct config *config = good(f, &(struct inputs){.yaml = listed});
    struct address address;
    struct url url;
    struct str why;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_true(url_door_passes(config, str_c(cases[i].url), &f->arena, &url, &why));
        assert_true(address_parse(str_c(cases[i].address), &address));
        if (url_door_admits(config, &url, &address) != cases[i].admitted)
            fail_msg("%s at %s is%s admitted", cases[i].url, cases[i].address,
                     cases[i].admitted ? " not" : "");
    }
    assert_true(url_door_passes(config, STR("http://[fd00::1]/"), &f->arena, &url, &why));
    assert_true(url_door_is_address(&url));
    assert_true(url_door_passes(config, STR("http://api.example/"), &f->arena, &url, &why));
    assert_false(url_door_is_address(&url));
}

static void entries(void **state)
{
    static const char *const good_ones[] = {"a",         "a.b",       "a.b:1",    "A.b:65535",
                                            "127.0.0.1", "1.2.3.4:5", "::1",      "[::1]",
                                            "[::1]:80",  "fd00::1",   "xn--a.b.", "my_host"};
    static const char *const bad[] = {
        "",      "*",      "*.example", "https://a", "a/b",       "a:",  "a:0",       "a:65536",
        "a:x",   "a b",    "a@b",       "[::1",      "[::1]x",    "[a]", "[1.2.3.4]", ":80",
        "127.1", "0x7f.1", "1",         "a:1:2",     "1.2.3.4/8", ".a",  "[::1]:",    "a:+1",
    };
    struct fixture *f = *state;
    char yaml[256];

    for (size_t i = 0; i < COUNT_OF(good_ones); i++) {
        if (!url_door_entry_ok(str_c(good_ones[i])))
            fail_msg("%s is no entry", good_ones[i]);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (url_door_entry_ok(str_c(bad[i])))
            fail_msg("%s is an entry", bad[i]);
        (void)snprintf(yaml, sizeof(yaml), "allowed_url_hosts: [a.example, '%s']\n", bad[i]);
        read_config(f, &(struct inputs){.yaml = yaml});
        assert_int_equal(f->result.faults, 1);
        assert_has(f->result.report, "config.yaml:1:20: error: allowed_url_hosts: number 2 is no "
                                     "host");
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(passes), TEST(admits), TEST(entries)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
