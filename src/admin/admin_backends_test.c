/* SPDX-License-Identifier: MIT */
/* What /v2/backends and /v2/performance say, asked through a gateway that runs. */
#include "admin/admin_backends.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/admin.h"
#include "base/log.h"
#include "text/json.h"

enum { ARENA_MAX = 16 * 1024 * 1024 };

struct fixture {
    struct arena arena;
    struct config_result result;
    struct gateway *gateway;
    struct buf answer;
};

static void setup(struct fixture *f)
{
    static char program[] = "", keys[] = "--api-keys", two[] = "admin-key-1,client-key-2";
    static char port[] = "--port", any[] = "0", workers[] = "--workers", one[] = "1";
    static char demo[] = "--demo";
    static char *argv[] = {program, keys, two, port, any, workers, one, demo, NULL};
    /* Nobody listens on port 1, and the key's text must not be shown. */
    static char url[] = "OPENAI_API_BASE_URL=http://127.0.0.1:1/v1";
    static char key[] = "OPENAI_API_KEY=sk-a-secret-key", other[] = "GROQ_API_KEY=";
    static char *environment[] = {url, key, other, NULL};
    const struct config_source source = {.argc = 8,
                                         .argv = argv,
                                         .environ = environment,
                                         .directory = "/nonexistent"};
    struct backend_set *backends = NULL;
    struct error e = {.code = OK};

    log_set_level(LOG_ERROR);
    memset(f, 0, sizeof(*f));
    arena_init(&f->arena, ARENA_MAX, 4096, NULL);
    buf_init(&f->answer, ARENA_MAX);
    config_read(&source, &f->arena, &f->result);
    if (f->result.config == NULL)
        fail_msg("%.*s", STR_ARG(f->result.report));
    f->result.config->data_dir = STR("/nonexistent");
    f->result.config->api_keys[0].admin = true;
    if (backend_set_new(f->result.config, &backends, &e) != OK)
        fail_msg("%s", e.detail);
    f->gateway = gateway_new(&(struct gateway_options){.config = f->result.config,
                                                       .backends = backends,
                                                       .routes = admin_routes,
                                                       .routes_n = admin_routes_n,
                                                       .version = "test"});
    if (gateway_start(f->gateway, &e) != OK)
        fail_msg("%s", e.detail);
}

static void teardown(struct fixture *f)
{
    gateway_drain(f->gateway);
    gateway_abort(f->gateway);
    gateway_free(&f->gateway);
    config_unref(&f->result.config);
    buf_fini(&f->answer);
    arena_fini(&f->arena);
}

/* Asks, and waits for the whole answer. Returns its status. */
static int ask(struct fixture *f, const char *key, const char *line, const char *body)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(gateway_port(f->gateway))};
    char piece[4096];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct str request = str_print(&f->arena,
                                   "%s HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n"
                                   "content-length: %zu\r\nconnection: close\r\n\r\n%s",
                                   line, key, strlen(body), body);

    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(write(fd, request.p, request.n), (ssize_t)request.n);
    buf_reset(&f->answer);
    for (ssize_t n; (n = read(fd, piece, sizeof(piece))) > 0;)
        assert_true(buf_add(&f->answer, str_of(piece, (size_t)n)));
    (void)close(fd);
    assert_true(f->answer.n > 12);
    return (f->answer.p[9] - '0') * 100 + (f->answer.p[10] - '0') * 10 + f->answer.p[11] - '0';
}

static yyjson_val *json_of(struct fixture *f)
{
    const struct json_read_options options = {.depth_max = 16};
    struct str text = buf_str(&f->answer);
    struct error e = {.code = OK};
    size_t end = str_find(text, STR("\r\n\r\n"), 0);

    assert_int_not_equal(end, SIZE_MAX);
    yyjson_val *root = json_read(str_from(text, end + 4), &options, &f->arena, &e);
    if (root == NULL)
        fail_msg("%s: %.*s", e.detail, STR_ARG(text));
    return root;
}

static yyjson_val *named(yyjson_val *list, const char *member, const char *name)
{
    size_t i = 0;
    size_t n = 0;
    yyjson_val *item = NULL;

    yyjson_arr_foreach(list, i, n, item)
    {
        if (yyjson_equals_str(yyjson_obj_get(item, member), name))
            return item;
    }
    fail_msg("there is no %s", name);
    return NULL;
}

static void expect_text(yyjson_val *object, const char *member, const char *want)
{
    const char *got = yyjson_get_str(yyjson_obj_get(object, member));

    if (want == NULL) {
        assert_true(yyjson_is_null(yyjson_obj_get(object, member)));
        return;
    }
    assert_non_null(got);
    assert_string_equal(got, want);
}

static int64_t number(yyjson_val *object, const char *member)
{
    int64_t value = 0;

    assert_true(json_to_int64(yyjson_obj_get(object, member), &value));
    return value;
}

static const char chat[] = "POST /v1/chat/completions";

static void use(struct fixture *f)
{
    assert_int_equal(ask(f, "client-key-2", chat,
                         "{\"model\":\"demo:echo\",\"messages\":[{\"role\":\"user\","
                         "\"content\":\"x\"}]}"),
                     200);
    assert_int_equal(ask(f, "client-key-2", chat,
                         "{\"model\":\"openai:m\",\"messages\":[{\"role\":\"user\","
                         "\"content\":\"x\"}]}"),
                     502);
    assert_int_equal(ask(f, "client-key-2", chat, "{"), 400);
}

/* Catches: a key's text in the answer, an error that is nobody's, a count in another's place. */
static void test_backends(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    use(&f);
    assert_int_equal(ask(&f, "client-key-2", "GET /v2/backends", ""), 403);
    assert_int_equal(ask(&f, "admin-key-1", "GET /v2/backends", ""), 200);
    assert_int_equal(str_find(buf_str(&f.answer), STR("sk-a-secret"), 0), SIZE_MAX);
    yyjson_val *list = yyjson_obj_get(json_of(&f), "backends");
    yyjson_val *demo = named(list, "name", "demo");
    expect_text(demo, "url", NULL);
    assert_true(yyjson_is_true(yyjson_obj_get(demo, "functional")));
    assert_int_equal(yyjson_arr_size(yyjson_obj_get(demo, "keys")), 0);
    assert_true(number(demo, "models") > 0);
    assert_int_equal(number(demo, "uses"), 1);
    assert_int_equal(number(demo, "in_flight"), 0);
    assert_true(yyjson_is_null(yyjson_obj_get(demo, "last_error")));
    yyjson_val *latency = yyjson_obj_get(demo, "latency");
    assert_int_equal(number(yyjson_obj_get(latency, "total"), "count"), 1);
    assert_int_equal(number(yyjson_obj_get(latency, "first_byte"), "count"), 1);
    yyjson_val *openai = named(list, "name", "openai");
    expect_text(openai, "type", "openai");
    expect_text(openai, "url", "http://127.0.0.1:1/v1");
    expect_text(openai, "why", NULL);
    expect_text(openai, "policy", "sticky");
    assert_true(yyjson_is_null(yyjson_obj_get(openai, "models")));
    assert_true(number(openai, "uses") >= 1);
    assert_int_equal(number(openai, "errors"), 1);
    yyjson_val *key = yyjson_arr_get_first(yyjson_obj_get(openai, "keys"));
    expect_text(key, "state", "usable");
    expect_text(key, "until", NULL);
    yyjson_val *fault = yyjson_obj_get(openai, "last_error");
    expect_text(fault, "code", "UPSTREAM_UNREACHABLE");
    assert_true(yyjson_is_null(yyjson_obj_get(fault, "status")));
    assert_non_null(yyjson_get_str(yyjson_obj_get(fault, "time")));
    assert_non_null(strstr(yyjson_get_str(yyjson_obj_get(fault, "text")), "refused"));
    teardown(&f);
}

/* Catches: what the proxy answers that counts as a backend's, a sum that lacks somebody. */
static void test_performance(void **state)
{
    struct fixture f;

    (void)state;
    setup(&f);
    use(&f);
    assert_int_equal(ask(&f, "client-key-2", "GET /v2/performance", ""), 403);
    assert_int_equal(ask(&f, "admin-key-1", "GET /v2/performance", ""), 200);
    yyjson_val *root = json_of(&f);
    assert_true(number(root, "resident_memory_bytes") > 100000);
    yyjson_val *all = yyjson_obj_get(root, "all");
    assert_int_equal(number(all, "requests"), 3);
    assert_int_equal(number(all, "errors"), 2);
    assert_int_equal(number(yyjson_obj_get(all, "total"), "count"), 3);
    assert_int_equal(number(yyjson_obj_get(root, "proxy"), "requests"), 1);
    yyjson_val *demo = named(yyjson_obj_get(root, "backends"), "backend", "demo");
    assert_int_equal(number(demo, "requests"), 1);
    assert_int_equal(number(demo, "errors"), 0);
    yyjson_val *phases = yyjson_obj_get(demo, "phases");
    assert_int_equal(yyjson_obj_size(phases), PHASE_COUNT - 1);
    assert_int_equal(yyjson_obj_size(yyjson_obj_get(root, "phases")), PHASE_COUNT - 1);
    assert_int_equal(number(yyjson_obj_get(phases, "encode"), "count"), 1);
    assert_true(yyjson_is_null(yyjson_obj_get(yyjson_obj_get(phases, "pause"), "p50")));
    struct str p99 = json_number_token(yyjson_obj_get(yyjson_obj_get(demo, "total"), "p99"));
    assert_true(p99.n > 4 && str_find_char(p99, '.', 0) == p99.n - 4);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backends),
        cmocka_unit_test(test_performance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
