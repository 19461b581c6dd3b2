/* SPDX-License-Identifier: MIT */
/*
 * Catches: a URL that is taken although it is not allowed, a key that goes along, one door made
 * twice, a table that grows, one that is freed while it is used.
 */
#include "gateway/exchange_probe_priv.h"

static struct str hosts[] = {STR_INIT("other.test"), STR_INIT("upstream.test"),
                             STR_INIT("10.0.0.1")};

static void allow(struct config *config)
{
    config->allowed_url_hosts = (struct str_list){hosts, COUNT_OF(hosts)};
}

static void through_a_proxy(struct config *config)
{
    static struct str direct[] = {STR_INIT("upstream.test")};

    allow(config);
    config->http_proxy = secret_new(STR("http://proxy.test:3128"));
    config->no_proxy = (struct str_list){direct, 1};
}

static enum error_code take(struct fixture *f, const char *url, struct door **ret_door,
                            struct error *e)
{
    struct branch *branch = f->station.branch;

    return door_take(branch, branch->site->backends->preferred, str_c(url), ret_door, e);
}

static struct door *took(struct fixture *f, const char *url)
{
    struct door *door = NULL;
    struct error e;

    if (take(f, url, &door, &e) != OK)
        fail_msg("%s: %s", url, e.detail);
    assert_non_null(door_pool(door));
    return door;
}

static void refused(struct fixture *f, const char *url, enum error_code code, const char *why)
{
    struct door *door = NULL;
    struct error e;

    assert_int_equal(take(f, url, &door, &e), code);
    assert_null(door);
    if (strstr(e.detail, why) == NULL)
        fail_msg("%s: %s", url, e.detail);
}

static void finish(struct fixture *f)
{
    connect_client(f);
    teardown(f);
}

static void test_take(void **state)
{
    struct fixture f;
    (void)state;

    setup_with(&f, allow);
    const struct backend *from = f.station.branch->site->backends->preferred;
    struct door *a = took(&f, "http://other.test");
    struct door *again = took(&f, "http://other.test");
    struct door *b = took(&f, "http://other.test/v1");
    struct door *own = took(&f, "http://upstream.test/else/v1");
    struct door *address = took(&f, "http://10.0.0.1:8080");

    assert_ptr_equal(a, again);
    assert_ptr_not_equal(a, b);
    assert_int_equal(f.station.branch->doors.n, 4);
    assert_true(str_eq(door_backend(a)->name, from->name));
    assert_true(str_eq(door_backend(a)->authority, STR("other.test")));
    assert_true(str_eq(door_backend(a)->base_path, STR("/v1")));
    assert_int_equal(door_backend(a)->config->keys_n, 0);
    assert_int_equal(door_backend(address)->config->keys_n, 0);
    assert_int_equal(door_backend(own)->config->keys_n, 1);
    assert_true(str_eq(door_backend(own)->base_path, STR("/else/v1")));
    assert_int_equal(from->config->keys_n, 1);
    assert_ptr_equal(door_backend(a)->load, from->load);

    refused(&f, "http://evil.test", ERR_FORBIDDEN, "evil.test, is not in allowed_url_hosts");
    refused(&f, "http://10.0.0.2", ERR_FORBIDDEN, "10.0.0.2, is not in allowed_url_hosts");
    refused(&f, "ftp://other.test", ERR_FORBIDDEN, "openai-url: it must not be a URL without");
    refused(&f, "", ERR_FORBIDDEN, "openai-url: ");
    assert_int_equal(f.station.branch->doors.n, 4);

    door_leave(&a);
    assert_null(a);
    door_leave(&a);
    door_leave(&again);
    door_leave(&b);
    door_leave(&own);
    door_leave(&address);
    assert_int_equal(f.station.branch->doors.n, 4); /* kept for the next one */
    finish(&f);
}

static void test_nothing_is_allowed(void **state)
{
    struct fixture f;
    (void)state;

    setup(&f);
    refused(&f, "http://upstream.test", ERR_FORBIDDEN, "allowed_url_hosts is empty");
    finish(&f);
}

/* A proxy would look the name up, and could be told anything. */
static void test_through_a_proxy(void **state)
{
    struct fixture f;
    (void)state;

    setup_with(&f, through_a_proxy);
    refused(&f, "http://other.test", ERR_FORBIDDEN, "other.test would be looked up by a proxy");
    struct door *direct = took(&f, "http://upstream.test");
    struct door *address = took(&f, "http://10.0.0.1");
    door_leave(&direct);
    door_leave(&address);
    finish(&f);
}

static void test_bounded(void **state)
{
    struct door *all[DOORS_MAX];
    struct fixture f;
    char url[64];
    (void)state;

    setup_with(&f, allow);
    for (int i = 0; i < DOORS_MAX; i++) {
        (void)snprintf(url, sizeof(url), "http://other.test:%d", 1000 + i);
        all[i] = took(&f, url);
    }
    refused(&f, "http://other.test:99", ERR_OVERLOADED, "more than 32 URLs");
    struct backend *kept = door_backend(all[0]);

    /* The two that are free: of them the one that was used longer ago. */
    door_leave(&all[7]);
    door_leave(&all[3]);
    struct door *again = took(&f, "http://other.test:1003");
    door_leave(&again);
    struct door *more = took(&f, "http://other.test:99");
    assert_int_equal(f.station.branch->doors.n, DOORS_MAX);
    assert_false(list_empty(&f.station.branch->doors.gone));
    loop_test_run(f.loop);
    assert_true(list_empty(&f.station.branch->doors.gone));
    all[3] = took(&f, "http://other.test:1003"); /* it is still there: */
    refused(&f, "http://other.test:1007", ERR_OVERLOADED, "more than 32 URLs");
    assert_ptr_equal(door_backend(all[0]), kept);

    /* Gone, and not yet freed, when all of it ends. */
    door_leave(&more);
    more = took(&f, "http://other.test:98");
    door_leave(&more);
    for (int i = 0; i < DOORS_MAX; i++)
        door_leave(&all[i]);
    finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_nothing_is_allowed),
        cmocka_unit_test(test_through_a_proxy),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
