/* SPDX-License-Identifier: MIT */
/* Which hosts and pages a request may come from, and what their browsers are told. */
#include "gateway/exchange_probe_priv.h"

#include "gateway/origin.h"

/* What the configuration says in the case at hand. */
static struct {
    const char *host;
    bool open; /* disable_auth */
    struct str origins[2];
    size_t origins_n;
} given;

static void give(struct config *config)
{
    config->host = str_c(given.host);
    config->disable_auth = given.open;
    config->cors_origins.items = given.origins;
    config->cors_origins.n = given.origins_n;
}

static int status_of(const struct fixture *f)
{
    int64_t status = 0;

    assert_true(f->client.got.n > 12);
    assert_true(str_to_int64(str_of(f->client.got.p + 9, 3), &status));
    return (int)status;
}

static void ask(struct fixture *f, const char *line, const char *headers)
{
    char text[4096];
    int n = snprintf(text, sizeof(text), "%s HTTP/1.1\r\n%s\r\n", line, headers);

    assert_true(n > 0 && (size_t)n < sizeof(text));
    setup_with(f, give);
    connect_client(f);
    send_text(&f->client, text, (size_t)n);
    loop_test_run(f->loop);
}

enum { PASSES = 404, STRANGER = 401, FOREIGN = 403, NO_PROXY = 400 };

static const struct {
    const char *listens;
    bool open;
    const char *line;
    const char *host;
    int status;
} hosts[] = {
    /* With a key the name does not matter: whoever was misled has none. */
    {"127.0.0.1", false, "GET /nowhere", "evil.example", STRANGER},
    {"127.0.0.1", true, "GET /nowhere", "localhost", PASSES},
    {"127.0.0.1", true, "GET /nowhere", "LocalHost:8080", PASSES},
    {"127.0.0.1", true, "GET /nowhere", "127.0.0.1:1", PASSES},
    {"127.0.0.1", true, "GET /nowhere", "[::1]:8080", PASSES},
    {"127.0.0.1", true, "GET /nowhere", "[0:0:0:0:0:0:0:1]", PASSES},
    {"127.0.0.1", true, "GET /nowhere", "evil.example", FOREIGN},
    {"127.0.0.1", true, "GET /nowhere", "localhost.evil.example", FOREIGN},
    {"127.0.0.1", true, "GET /nowhere", "127.0.0.1.evil.example", FOREIGN},
    {"127.0.0.1", true, "GET /nowhere", "192.0.2.1", FOREIGN},
    {"127.0.0.1", true, "GET /nowhere", "[::2]", FOREIGN},
    {"127.0.0.2", true, "GET /nowhere", "127.0.0.2", PASSES},
    /* The target's name is the one that counts, and a proxy's request is none for us. */
    {"127.0.0.1", true, "GET http://localhost/nowhere", "localhost", PASSES},
    {"127.0.0.1", true, "GET http://evil.example/nowhere", "evil.example", FOREIGN},
    {"127.0.0.1", false, "GET http://evil.example/nowhere", "evil.example", NO_PROXY},
    {"127.0.0.1", false, "GET http://localhost/nowhere", "localhost", STRANGER},
    {"0.0.0.0", false, "GET http://192.0.2.1/nowhere", "192.0.2.1", STRANGER},
    {"0.0.0.0", false, "GET http://evil.example/nowhere", "evil.example", NO_PROXY},
};

/* Catches: a page whose name was made to resolve to this machine; this machine's own names
 * refused; a forward proxy for everybody. */
static void test_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        struct fixture f;
        char headers[256];

        given.host = hosts[i].listens;
        given.open = hosts[i].open;
        given.origins_n = 0;
        (void)snprintf(headers, sizeof(headers), "Host: %s\r\n", hosts[i].host);
        ask(&f, hosts[i].line, headers);
        if (status_of(&f) != hosts[i].status)
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&f.client.got)));
        teardown(&f);
    }
}

static const struct {
    const char *listed;
    const char *host;
    const char *origin;
    int status;
    bool told; /* the page may read the answer */
} origins[] = {
    {"https://app.example", "proxy.example", "https://app.example", STRANGER, true},
    {"https://app.example", "proxy.example", "https://APP.example:443", STRANGER, true},
    {"https://app.example", "proxy.example", "http://app.example", FOREIGN, false},
    {"https://app.example", "proxy.example", "https://app.example:8443", FOREIGN, false},
    {"https://app.example", "proxy.example", "https://app.example.evil", FOREIGN, false},
    {"https://app.example", "proxy.example", "https://evil.app.example", FOREIGN, false},
    {"https://app.example", "proxy.example", "null", FOREIGN, false},
    {"*", "proxy.example", "https://any.example", STRANGER, true},
    {"*", "proxy.example", "null", STRANGER, true},
    {"*", "proxy.example", "no origin at all", FOREIGN, false},
    {NULL, "proxy.example:8080", "http://proxy.example:8080", STRANGER, false},
    {NULL, "proxy.example", "http://proxy.example", STRANGER, false},
    {NULL, "proxy.example", "http://proxy.example:80", STRANGER, false},
    {NULL, "proxy.example", "https://proxy.example", FOREIGN, false}, /* it came without TLS */
    {NULL, "proxy.example:8080", "http://proxy.example:8081", FOREIGN, false},
    {NULL, "proxy.example", "http://evil.example", FOREIGN, false},
};

/* Catches: a foreign page that is let in or told anything, one of the list that cannot read its
 * answer (an error's too), a page of our own that is refused. */
static void test_origins(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(origins); i++) {
        struct fixture f;
        char headers[256];
        char line[128];

        given.host = "127.0.0.1";
        given.open = false;
        given.origins_n = origins[i].listed != NULL;
        given.origins[0] = given.origins_n > 0 ? str_c(origins[i].listed) : STR_NULL;
        (void)snprintf(headers, sizeof(headers), "Host: %s\r\nOrigin: %s\r\n", origins[i].host,
                       origins[i].origin);
        ask(&f, "GET /nowhere", headers);
        if (status_of(&f) != origins[i].status)
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&f.client.got)));
        (void)snprintf(line, sizeof(line), "\r\naccess-control-allow-origin: %s\r\n",
                       origins[i].origin);
        assert_int_equal(has(&f.client, line), origins[i].told);
        assert_int_equal(has(&f.client, "\r\nvary: origin\r\n"), origins[i].told);
        assert_int_equal(has(&f.client, "access-control-"), origins[i].told);
        teardown(&f);
    }
}

/* Catches: a second entry of the list that is not looked at; one that is no origin and matches. */
static void test_each_of_the_list_counts(void **state)
{
    struct config config = {.host = STR("127.0.0.1")};

    (void)state;
    given.origins[0] = STR("not an origin");
    given.origins[1] = STR("http://b.example:8080");
    config.cors_origins.items = given.origins;
    config.cors_origins.n = 2;
    assert_true(origin_listed(&config, STR("http://b.example:8080")));
    assert_false(origin_listed(&config, STR("http://b.example")));
    assert_false(origin_listed(&config, STR("not an origin")));
    assert_false(origin_listed(&config, STR("")));
    config.cors_origins.n = 1;
    assert_false(origin_listed(&config, STR("http://b.example:8080")));
}

#define ORIGIN "Host: proxy.example\r\nOrigin: https://app.example\r\n"
#define METHOD "Access-Control-Request-Method: POST\r\n"
#define ASKED  "access-control-allow-headers: "

/* Catches: a preflight that wants a key, which no browser sends with it; one whose list of headers
 * is told back whatever stands in it. */
static void test_preflights(void **state)
{
    static char longer[3000];
    static const struct {
        const char *line;
        const char *headers;
        const char *want;  /* NULL: it is no preflight, and needs a key */
        const char *never; /* or NULL */
    } cases[] = {
        {"OPTIONS /v1/messages", ORIGIN METHOD, "access-control-allow-methods: GET, ", ASKED},
        {"OPTIONS /v1/messages", ORIGIN METHOD "Access-Control-Request-Headers: x-api-key, a\r\n",
         ASKED "x-api-key, a\r\n", NULL},
        {"OPTIONS /v1/messages", ORIGIN METHOD "Access-Control-Request-Headers: a\tb\r\n",
         "access-control-max-age: ", ASKED},
        {"OPTIONS /v1/messages", ORIGIN METHOD "Access-Control-Request-Headers:\r\n",
         "access-control-max-age: ", ASKED},
        {"OPTIONS /v1/messages", longer, "access-control-max-age: ", ASKED},
        {"OPTIONS /v1/messages", ORIGIN, NULL, "access-control-allow-methods"},
        {"OPTIONS /v1/messages", "Host: proxy.example\r\n" METHOD, NULL, "access-control-"},
        {"POST /v1/messages", ORIGIN METHOD "Content-Length: 0\r\n", NULL,
         "access-control-allow-methods"},
    };

    (void)state;
    int n = snprintf(longer, sizeof(longer), ORIGIN METHOD "Access-Control-Request-Headers: ");
    memset(longer + n, 'x', 2049);
    memcpy(longer + n + 2049, "\r\n", 3);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;

        given.host = "127.0.0.1";
        given.open = false;
        given.origins_n = 1;
        given.origins[0] = STR("https://app.example");
        ask(&f, cases[i].line, cases[i].headers);
        assert_int_equal(status_of(&f) == STRANGER, cases[i].want == NULL);
        assert_true(status_of(&f) < 300 || cases[i].want == NULL);
        if (cases[i].want != NULL && !has(&f.client, cases[i].want))
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&f.client.got)));
        if (cases[i].never != NULL && has(&f.client, cases[i].never))
            fail_msg("case %zu: %.*s", i, STR_ARG(buf_str(&f.client.got)));
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_each_of_the_list_counts),
        cmocka_unit_test(test_preflights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
