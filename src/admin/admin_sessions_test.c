/* SPDX-License-Identifier: MIT */
/* What clients and admins see of sessions, and what is asked wrongly. */
#include "admin/admin_sessions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/site.h"

enum { ARENA_MAX = 16 * 1024 * 1024 };

struct fixture {
    struct arena arena;
    struct config_result result;
    struct gateway *gateway;
    struct site *site;
    struct buf out;
    struct error e;
    int64_t now_ms;
};

static struct backend_set *backends_of(struct config *config)
{
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};

    if (backend_set_new(config, &backends, &e) != OK)
        fail_msg("%s", e.detail);
    return backends;
}

static void setup(struct fixture *f)
{
    static char program[] = "", keys[] = "--api-keys", two[] = "admin-key-1,client-key-2";
    static char port[] = "--port", any[] = "0", workers[] = "--workers", one[] = "1";
    static char *argv[] = {program, keys, two, port, any, workers, one, NULL};
    static char *environment[] = {NULL};
    const struct config_source source = {.argc = 7,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    const struct mac_key mac = {.bytes = {7}};

    log_set_level(LOG_ERROR);
    memset(f, 0, sizeof(*f));
    arena_init(&f->arena, ARENA_MAX, 4096, NULL);
    buf_init(&f->out, ARENA_MAX);
    f->now_ms = clock_real_ms();
    config_read(&source, &f->arena, &f->result);
    if (f->result.config == NULL)
        fail_msg("%.*s", STR_ARG(f->result.report));
    f->result.config->data_dir = STR("/nonexistent");
    f->result.config->api_keys[0].admin = true;
    f->gateway = gateway_new(&(struct gateway_options){.config = f->result.config,
                                                       .backends = backends_of(f->result.config),
                                                       .version = "test"});
    if (gateway_start(f->gateway, &f->e) != OK)
        fail_msg("%s", f->e.detail);
    struct backend_set *backends = backends_of(f->result.config);
    f->site = site_new(f->result.config, &backends);
    site_make_scopes(f->site, &mac);
}

static void teardown(struct fixture *f)
{
    gateway_drain(f->gateway);
    gateway_abort(f->gateway);
    gateway_free(&f->gateway);
    site_unref(&f->site);
    config_unref(&f->result.config);
    buf_fini(&f->out);
    arena_fini(&f->arena);
}

/* Key 0 is the admin's; SIZE_MAX: authentication is off. */
static struct gateway_ask ask_of(struct fixture *f, size_t key)
{
    const struct client_key *client = key == SIZE_MAX ? NULL : &f->site->keys[key];

    return (struct gateway_ask){
        .gateway = f->gateway,
        .site = f->site,
        .client = client,
        .is_admin = client == NULL || client->admin,
        .scope = site_scope(f->site, client),
        .method = STR("GET"),
        .now_ms = f->now_ms,
        .arena = &f->arena,
    };
}

static void make_session(struct fixture *f, size_t key, const char *id)
{
    struct gateway_ask ask = ask_of(f, key);
    struct session_change change = {.mask = SETTING_BIT(project)};
    struct session *session = session_enter(gateway_sessions(f->gateway), &ask.scope, str_c(id),
                                            false, f->now_ms);

    settings_init(&change.values);
    change.values.project = STR("a \"project\"");
    assert_true(session_commit(session, &change, NULL, NULL, &f->e));
    if (ask.client != NULL)
        session_set_client(session, ask.client->name);
    session_note(session, &(struct session_item){.time_ms = 1000,
                                                 .by_proxy = true,
                                                 .prompt = STR("!/hello"),
                                                 .tokens_in = -1,
                                                 .tokens_out = -1});
    session_note(session, &(struct session_item){.time_ms = 86400000,
                                                 .failed = true,
                                                 .prompt = STR("why"),
                                                 .answer = STR("because"),
                                                 .backend = STR("openai"),
                                                 .model = STR("m"),
                                                 .project = STR("p"),
                                                 .tokens_in = 3,
                                                 .tokens_out = 4});
    session_count(session, &(struct session_stats){.requests = 1, .commands = 1, .tokens_in = 3});
    session_leave(&session);
}

static int list(struct fixture *f, const struct gateway_ask *ask)
{
    buf_reset(&f->out);
    f->e.code = OK;
    return admin_sessions_list(ask, &f->out, &f->e);
}

static int one(struct fixture *f, const struct gateway_ask *ask)
{
    buf_reset(&f->out);
    f->e.code = OK;
    return admin_sessions_one(ask, &f->out, &f->e);
}

static bool has(const struct fixture *f, const char *text)
{
    return str_find(buf_str(&f->out), str_c(text), 0) != SIZE_MAX;
}

static void lists(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    struct gateway_ask admin = ask_of(&f, 0);
    struct gateway_ask client = ask_of(&f, 1);
    assert_int_equal(list(&f, &admin), 200);
    assert_true(str_eq(buf_str(&f.out), STR("{\"sessions\":[]}\n")));
    make_session(&f, 0, "a-1");
    make_session(&f, 1, "c-1");
    make_session(&f, 1, "c-2");
    assert_int_equal(list(&f, &client), 200);
    assert_true(has(&f, "\"c-1\"") && has(&f, "\"c-2\"") && !has(&f, "\"a-1\""));
    assert_true(has(&f, "\"client\":\"key2\",\"created\":\"20"));
    assert_true(has(&f,
                    "\"settings\":{\"project\":\"a \\\"project\\\"\"},\"stats\":{\"requests\":1,"
                    "\"commands\":1,\"failures\":0,\"tokens_in\":3,\"tokens_out\":0,"
                    "\"tokens_cached\":0}}"));
    assert_false(has(&f, "history"));
    assert_int_equal(list(&f, &admin), 200);
    assert_true(has(&f, "\"c-1\"") && has(&f, "\"a-1\""));
    admin.query = STR("client=key2&limit=1");
    assert_int_equal(list(&f, &admin), 200);
    assert_true(has(&f, "\"c-1\"") != has(&f, "\"c-2\"") && !has(&f, "\"a-1\""));
    client.query = STR("client=key2");
    assert_int_equal(list(&f, &client), 200);
    teardown(&f);
}

static void asked_wrongly(void **state)
{
    static const char *const limits[] = {"limit=0", "limit=1001", "limit", "limit=x", "limit=-1"};
    struct fixture f;

    (void)state;
    setup(&f);
    struct gateway_ask client = ask_of(&f, 1);
    struct gateway_ask admin = ask_of(&f, 0);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        client.query = str_c(limits[i]);
        assert_int_equal(list(&f, &client), 0);
        assert_int_equal(f.e.code, ERR_BAD_REQUEST);
    }
    client.query = STR("client=key1");
    assert_int_equal(list(&f, &client), 0);
    assert_int_equal(f.e.code, ERR_FORBIDDEN);
    client.rest = STR("x");
    assert_int_equal(one(&f, &client), 0);
    assert_int_equal(f.e.code, ERR_FORBIDDEN);
    admin.query = STR("client=nobody");
    assert_int_equal(list(&f, &admin), 0);
    assert_int_equal(f.e.code, ERR_NOT_FOUND);
    struct gateway_ask open = ask_of(&f, SIZE_MAX);
    open.query = STR("client=key1"); /* nobody is who is asked for */
    assert_int_equal(list(&f, &open), 0);
    assert_int_equal(f.e.code, ERR_NOT_FOUND);
    teardown(&f);
}

static void shows_and_forgets(void **state)
{
    struct fixture f;
    char long_id[SESSION_ID_MAX + 1];

    (void)state;
    setup(&f);
    make_session(&f, 1, "c-1");
    struct gateway_ask client = ask_of(&f, 1);
    struct gateway_ask admin = ask_of(&f, 0);
    client.rest = admin.rest = STR("c-1");
    assert_int_equal(one(&f, &client), 200);
    assert_true(has(&f, "{\"time\":\"1970-01-01T00:00:01.000Z\",\"handler\":\"proxy\","
                        "\"failed\":false,\"prompt\":\"!/hello\",\"answer\":"));
    assert_true(has(&f, "{\"time\":\"1970-01-02T00:00:00.000Z\",\"handler\":\"backend\","
                        "\"failed\":true,\"prompt\":\"why\",\"answer\":\"because\","
                        "\"backend\":\"openai\",\"model\":\"m\",\"project\":\"p\","
                        "\"tokens_in\":3,\"tokens_out\":4}]}\n"));
    assert_int_equal(one(&f, &admin), 0);
    assert_int_equal(f.e.code, ERR_NOT_FOUND);
    admin.query = STR("client=key2");
    assert_int_equal(one(&f, &admin), 200);
    memset(long_id, 'x', sizeof(long_id));
    client.rest = str_of(long_id, sizeof(long_id));
    assert_int_equal(one(&f, &client), 0);
    assert_int_equal(f.e.code, ERR_NOT_FOUND);
    admin.method = STR("DELETE");
    assert_int_equal(one(&f, &admin), 204);
    assert_int_equal(f.out.n, 0);
    assert_int_equal(one(&f, &admin), 0);
    assert_int_equal(f.e.code, ERR_NOT_FOUND);
    teardown(&f);
}

static void no_memory_is_an_error(void **state)
{
    struct fixture f;
    struct arena small;

    (void)state;
    setup(&f);
    make_session(&f, 1, "c-1");
    arena_init(&small, 64, 64, NULL);
    struct gateway_ask client = ask_of(&f, 1);
    client.arena = &small;
    client.rest = STR("c-1");
    assert_int_equal(list(&f, &client), 0);
    assert_int_equal(f.e.code, ERR_OVERLOADED);
    arena_fini(&small);
    arena_init(&small, 64, 64, NULL);
    assert_int_equal(one(&f, &client), 0);
    assert_int_equal(f.e.code, ERR_OVERLOADED);
    arena_fini(&small);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(asked_wrongly),
        cmocka_unit_test(shows_and_forgets),
        cmocka_unit_test(no_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
