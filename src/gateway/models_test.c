/* SPDX-License-Identifier: MIT */
/* The list of models: asked for once, kept, and what becomes of it when the upstream fails. */
#include "gateway/exchange_probe_priv.h"
#include "state/model_alias.h"

enum { ASK_MS = 5000, KEEP_MS = 5 * 60 * 1000, KEEP_FAILURE_MS = 30 * 1000 };

static void get(struct fixture *f, const char *path)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "GET %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
                     "test-client-key-1\r\n\r\n",
                     path);

    buf_reset(&f->client.got);
    send_text(&f->client, text, (size_t)n);
    loop_test_run(f->loop);
}

/* What the upstream says, in pieces of n bytes. */
static void say(struct fixture *f, int status, struct str body, size_t n)
{
    char head[256];
    int size = snprintf(head, sizeof(head),
                        "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        status, body.n);

    send_text(&f->upstream, head, (size_t)size);
    loop_test_run(f->loop);
    while (body.n > 0 && !f->upstream.eof && !f->upstream.failed) {
        struct str piece = str_head(body, n);
        (void)conn_write(f->upstream.conn, &piece, 1);
        body = str_from(body, piece.n);
        loop_test_run(f->loop);
    }
}

static int status_of(const struct fixture *f)
{
    int64_t status = 0;

    assert_true(f->client.got.n > 12);
    assert_true(str_to_int64(str_of(f->client.got.p + 9, 3), &status));
    return (int)status;
}

#define LIST                                                                                      \
    "{\"object\":\"list\",\"data\":[{\"id\":\"m-1\",\"object\":\"model\",\"created\":7},{\"id\":" \
    "\"m-2\",\"object\":\"model\",\"created\":\"soon\"}]}"

static size_t times(const struct end *end, const char *what)
{
    size_t n = 0;

    for (size_t at = 0; (at = str_find(buf_str(&end->got), str_c(what), at)) != SIZE_MAX; at++)
        n++;
    return n;
}

/* Catches: a list that is lost or asked for twice, wherever its bytes are cut; one that is never
 * asked for again. */
static void test_asked_for_once_and_kept(void **state)
{
    (void)state;
    for (size_t n = 1; n < sizeof(LIST); n += 11) {
        struct fixture f;

        setup(&f);
        connect_client(&f);
        get(&f, "/v1/models");
        assert_int_equal(times(&f.upstream, "GET /v1/models "), 1);
        assert_int_equal(f.client.got.n, 0);
        say(&f, 200, STR(LIST), n);
        assert_int_equal(status_of(&f), 200);
        assert_true(has(&f.client, "\"id\":\"openai:m-1\""));
        assert_true(has(&f.client, "\"id\":\"openai:m-2\""));
        assert_true(has(&f.client, "\"id\":\"demo:echo\""));
        assert_true(has(&f.client, "\"created\":7"));
        assert_false(has(&f.client, "x-llm-proxy-warnings"));
        get(&f, "/v1/models");
        assert_int_equal(status_of(&f), 200);
        assert_int_equal(times(&f.upstream, "GET /v1/models "), 1);
        loop_test_advance(f.loop, KEEP_MS);
        end_fini(&f.client); /* the proxy has closed it meanwhile */
        connect_client(&f);
        /* Who comes now gets the old one at once, and the new one is on its way. */
        get(&f, "/v1/models");
        assert_int_equal(status_of(&f), 200);
        assert_true(has(&f.client, "\"id\":\"openai:m-1\""));
        assert_true(has(&f.upstream, "GET /v1/models "));
        say(&f, 200, STR("{\"data\":[{\"id\":\"m-9\"}]}"), 4096);
        get(&f, "/v1/models");
        assert_true(has(&f.client, "\"id\":\"openai:m-9\""));
        assert_false(has(&f.client, "m-1"));
        teardown(&f);
    }
}

/* Catches: one model that is not found by its name, with its backend in front or without; another
 * one that is. */
static void test_one_model(void **state)
{
    static const struct {
        const char *path;
        int status;
    } cases[] = {{"/v1/models/openai:m-1", 200}, {"/v1/models/m-1", 200},
                 {"/v1/models/demo:echo", 200},  {"/v1/models/echo", 404},
                 {"/v1/models/m-", 404},         {"/v1/models/m-11", 404},
                 {"/v1/models/openai:", 404},    {"/v1/models/demo:m-1", 404}};
    struct fixture f;

    (void)state;
    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models/m-1");
    say(&f, 200, STR(LIST), 4096);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        get(&f, cases[i].path);
        if (status_of(&f) != cases[i].status)
            fail_msg("%s: %d", cases[i].path, status_of(&f));
    }
    teardown(&f);
}

static struct arena aliases_arena;

static void add_aliases(struct config *config)
{
    struct model_aliases *aliases = model_alias_list_new(4, &aliases_arena);
    struct error e;

    assert_int_equal(model_alias_list_add(aliases, STR("fast"), STR("demo:echo"), false, &e), OK);
    assert_int_equal(model_alias_list_add(aliases, STR("best-of-m-1"), STR("m-7"), false, &e), OK);
    assert_int_equal(model_alias_list_add(aliases, STR("nowhere"), STR("nobody:x"), false, &e), OK);
    assert_int_equal(model_alias_list_add(aliases, STR("any-.*"), STR("m-7"), true, &e), OK);
    model_alias_list_sort(aliases);
    config->model_aliases = aliases;
}

/* Catches: an alias that is not listed, one of what is not there, a name cut out of an alias. */
static void test_aliases(void **state)
{
    static const struct {
        const char *path;
        int status;
    } cases[] = {{"/v1/models/fast", 200},
                 {"/v1/models/best-of-m-1", 200},
                 {"/v1/models/m-1", 200},
                 {"/v1/models/-m-1", 404}, /* behind as many bytes as "openai:" has */
                 {"/v1/models/nowhere", 404},
                 {"/v1/models/any-.*", 404}};
    struct fixture f;

    (void)state;
    arena_init(&aliases_arena, 1024 * 1024, 4096, NULL);
    setup_with(&f, add_aliases);
    connect_client(&f);
    get(&f, "/v1/models");
    say(&f, 200, STR(LIST), 4096);
    assert_true(has(&f.client, "\"id\":\"fast\""));
    assert_true(has(&f.client, "\"id\":\"best-of-m-1\""));
    assert_true(has(&f.client, "\"id\":\"openai:m-1\""));
    assert_false(has(&f.client, "nowhere"));
    assert_false(has(&f.client, "any-"));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        get(&f, cases[i].path);
        if (status_of(&f) != cases[i].status)
            fail_msg("%s: %d", cases[i].path, status_of(&f));
    }
    teardown(&f);
    arena_fini(&aliases_arena);
}

static const char warning[] = "x-llm-proxy-warnings: models_failed:openai\r\n";

/* The others are listed, the failure is told, and not asked for again at once. */
static void expect_failed(struct fixture *f)
{
    assert_int_equal(status_of(f), 200);
    if (!has(&f->client, warning))
        fail_msg("no warning: %.*s", STR_ARG(buf_str(&f->client.got)));
    assert_true(has(&f->client, "demo:echo"));
    assert_false(has(&f->client, "openai:m-"));
    int connects = f->connects;
    get(f, "/v1/models");
    assert_true(has(&f->client, warning));
    assert_int_equal(f->connects, connects);
    loop_test_advance(f->loop, KEEP_FAILURE_MS + 1);
    get(f, "/v1/models");
    assert_int_equal(status_of(f), 200);
    assert_int_equal(times(&f->upstream, "GET /v1/models "), 1);
    say(f, 200, STR(LIST), 4096);
    get(f, "/v1/models");
    assert_false(has(&f->client, warning));
    assert_true(has(&f->client, "openai:m-1"));
}

/* Catches: a failure that takes the whole list along, or that is told as an empty list; one that is
 * kept for ever, or asked for again with every request. */
static void test_failures(void **state)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {{500, "{}"},        {401, LIST},           {200, "<html>"}, {200, "7"},
                 {200, "{\"data\""}, {200, "{\"data\":7}"}, {204, ""}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct fixture f;

        setup(&f);
        connect_client(&f);
        get(&f, "/v1/models");
        say(&f, cases[i].status, str_c(cases[i].body), 4096);
        buf_reset(&f.upstream.got);
        expect_failed(&f);
        teardown(&f);
    }
}

/* Catches: a client that waits for an upstream which says nothing, half of its list, or leaves. */
static void test_no_list_in_time(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct fixture f;

        setup(&f);
        connect_client(&f);
        get(&f, "/v1/models");
        if (i > 0)
            send_text(&f.upstream, "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"data\"", 47);
        loop_test_run(f.loop);
        if (i < 2)
            loop_test_advance(f.loop, ASK_MS + 10);
        else if (i == 2)
            conn_close(&f.upstream.conn);
        else
            conn_reset(&f.upstream.conn);
        loop_test_run(f.loop);
        buf_reset(&f.upstream.got);
        expect_failed(&f);
        teardown(&f);
    }
}

/* Catches: a list without end that is read to its end, and more models than are kept. */
static void test_bounds(void **state)
{
    struct fixture f;
    struct buf list;

    (void)state;
    setup(&f);
    connect_client(&f);
    buf_init(&list, TEXT_MAX);
    (void)buf_add(&list, STR("{\"data\":["));
    for (int i = 0; i < 10001; i++)
        (void)buf_print(&list, "{\"id\":\"m-%d\"},", i);
    (void)buf_add(&list, STR("{\"id\":\"z\"}]}"));
    get(&f, "/v1/models");
    say(&f, 200, buf_str(&list), 64 * 1024);
    assert_true(has(&f.client, "\"openai:m-9999\""));
    assert_false(has(&f.client, "\"openai:m-10000\"") || has(&f.client, "\"openai:z\""));
    teardown(&f);

    setup(&f);
    connect_client(&f);
    while (list.n < 9 * 1024 * 1024)
        (void)buf_add(&list, STR("                                                "));
    get(&f, "/v1/models");
    say(&f, 200, buf_str(&list), 64 * 1024);
    assert_true(f.upstream.eof || f.upstream.failed); /* it is not read to its end */
    assert_int_equal(status_of(&f), 200);
    assert_true(has(&f.client, warning));
    buf_fini(&list);
    teardown(&f);
}

/* Catches: who waits for a list and leaves, or the station that ends meanwhile, touched again when
 * it comes; others that wait for the same and are forgotten. */
static void test_leaving_while_it_is_asked_for(void **state)
{
    struct fixture f;
    struct end first;

    (void)state;
    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models");
    first = f.client;
    conn_set_events(first.conn, &end_events, &first);
    f.client = (struct end){.conn = NULL};
    connect_client(&f);
    get(&f, "/v1/models");
    assert_int_equal(f.connects, 1);
    end_fini(&first);
    loop_test_run(f.loop);
    assert_int_equal(f.client.got.n, 0);
    say(&f, 200, STR(LIST), 4096);
    assert_true(has(&f.client, "openai:m-1"));
    teardown(&f);

    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models");
    station_stop(&f.station);
    station_abort(&f.station);
    loop_test_run(f.loop);
    assert_true(f.station.ended);
    teardown(&f);
}

/* The pages of a list: all of it is there at once, or the old one is. */
static void test_pages(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models");
    say(&f, 200, STR("{\"data\":[{\"id\":\"a/1\"}],\"has_more\":true}"), 4096);
    assert_int_equal(f.client.got.n, 0);
    assert_int_equal(times(&f.upstream, "GET /v1/models?after=a%2F1 HTTP/1.1"), 1);
    say(&f, 200, STR("{\"data\":[{\"id\":\"b\"}],\"next_page_token\":\"t\"}"), 4096);
    assert_int_equal(times(&f.upstream, "GET /v1/models?pageToken=t HTTP/1.1"), 1);
    say(&f, 200, STR("{\"data\":[{\"id\":\"c\"}],\"has_more\":false}"), 4096);
    assert_int_equal(status_of(&f), 200);
    assert_true(has(&f.client, "openai:a/1") && has(&f.client, "openai:b") &&
                has(&f.client, "openai:c"));
    assert_false(has(&f.client, "x-llm-proxy-warnings"));

    /* Meanwhile the old one, and where a later page fails. */
    loop_test_advance(f.loop, KEEP_MS);
    end_fini(&f.client);
    connect_client(&f);
    get(&f, "/v1/models");
    say(&f, 200, STR("{\"data\":[{\"id\":\"n\"}],\"has_more\":true}"), 4096);
    get(&f, "/v1/models");
    assert_true(has(&f.client, "openai:a/1"));
    assert_false(has(&f.client, "openai:n"));
    say(&f, 500, STR("{}"), 4096);
    get(&f, "/v1/models");
    assert_true(has(&f.client, "openai:a/1") && has(&f.client, "openai:c"));
    assert_false(has(&f.client, "openai:n"));
    assert_true(has(&f.client, warning));
    teardown(&f);
}

/* Catches: a list whose next page is always the same, or always another, asked for on and on. */
static void test_pages_end(void **state)
{
    struct fixture f;
    size_t pages = 1;

    (void)state;
    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models");
    for (int i = 0; i < 2; i++)
        say(&f, 200, STR("{\"data\":[{\"id\":\"a\"}],\"has_more\":true}"), 4096);
    assert_int_equal(status_of(&f), 200);
    assert_true(has(&f.client, "openai:a"));
    teardown(&f);

    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models");
    for (; f.client.got.n == 0 && pages < 1000; pages++) {
        char page[100];
        int n = snprintf(page, sizeof(page), "{\"data\":[{\"id\":\"m%zu\"}],\"has_more\":true}",
                         pages);
        say(&f, 200, str_of(page, (size_t)n), 4096);
    }
    assert_int_equal(pages, 65);
    assert_true(has(&f.client, "openai:m1\"") && has(&f.client, "openai:m64\""));
    teardown(&f);

    /* The first pages of a list that has no old one are better than none. */
    setup(&f);
    connect_client(&f);
    get(&f, "/v1/models");
    say(&f, 200, STR("{\"data\":[{\"id\":\"a\"}],\"has_more\":true}"), 4096);
    loop_test_advance(f.loop, ASK_MS + 10);
    loop_test_run(f.loop);
    assert_true(has(&f.client, "openai:a") && has(&f.client, warning));
    teardown(&f);
}

/* Catches: a backend without a list that is told as a failure, or asked every few minutes. */
static void test_no_list_at_all(void **state)
{
    static const int statuses[] = {404, 405, 501};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(statuses); i++) {
        struct fixture f;

        setup(&f);
        connect_client(&f);
        get(&f, "/v1/models");
        say(&f, statuses[i], STR("{\"error\":{\"message\":\"no such path\"}}"), 4096);
        assert_int_equal(status_of(&f), 200);
        assert_true(has(&f.client, "demo:echo"));
        assert_false(has(&f.client, "openai:"));
        assert_false(has(&f.client, "x-llm-proxy-warnings"));
        loop_test_advance(f.loop, 2 * KEEP_MS);
        end_fini(&f.client);
        buf_reset(&f.upstream.got);
        connect_client(&f);
        get(&f, "/v1/models");
        assert_int_equal(status_of(&f), 200);
        assert_int_equal(f.upstream.got.n, 0);
        /* It may have one some day. */
        loop_test_advance(f.loop, 60 * 60 * 1000);
        end_fini(&f.client);
        connect_client(&f);
        get(&f, "/v1/models");
        assert_int_equal(times(&f.upstream, "GET /v1/models "), 1);
        say(&f, 200, STR(LIST), 4096);
        get(&f, "/v1/models");
        assert_true(has(&f.client, "openai:m-1"));
        teardown(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_for_once_and_kept),
        cmocka_unit_test(test_one_model),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_no_list_in_time),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_pages_end),
        cmocka_unit_test(test_no_list_at_all),
        cmocka_unit_test(test_leaving_while_it_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
