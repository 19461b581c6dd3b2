/* SPDX-License-Identifier: MIT */
/* Catches: a backend, a key or a forward proxy that is read wrongly, or let through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "state/config_test_priv.h"

/* --- keys and backends --- */

static void client_keys(void **state)
{
    static char keys[] = "API_KEYS=one, two,three";
    static char same[] = "LLM_INTERACTIVE_PROXY_API_KEY=two";
    static char own[] = "LLM_INTERACTIVE_PROXY_API_KEY=four";
    static char *both[] = {keys, same, NULL};
    static char *single[] = {own, NULL};
    static char *all[] = {keys, own, NULL};
    struct fixture *f = *state;
    const struct config *c;

    c = good(f, &(struct inputs){.yaml = "api_keys:\n"
                                         "  - plain\n"
                                         "  - {name: boss, key: 'k-2', admin: true}\n"
                                         "  - {key: '${NONE:-}'}\n"
                                         "  - ~\n"});
    assert_int_equal(c->api_keys_n, 2);
    assert_str(c->api_keys[0].name, "key1");
    assert_str(secret_reveal(&c->api_keys[0].key), "plain");
    assert_false(c->api_keys[0].admin);
    assert_str(c->api_keys[1].name, "boss");
    assert_true(c->api_keys[1].admin);

    c = good(f, &(struct inputs){.yaml = "auth: {api_keys: lonely}\n"});
    assert_int_equal(c->api_keys_n, 1);
    assert_true(c->api_keys[0].admin);

    c = good(f, &(struct inputs){.yaml = "api_keys: [a, b, c, d]\n", .environment = both});
    assert_int_equal(c->api_keys_n, 3);
    assert_str(secret_reveal(&c->api_keys[1].key), "two");
    c = good(f, &(struct inputs){.environment = single});
    assert_int_equal(c->api_keys_n, 1);
    c = good(f, &(struct inputs){.environment = all});
    assert_int_equal(c->api_keys_n, 4);
    c = good(f, &(struct inputs){.environment = all, .arguments = "--api-keys=cli"});
    assert_int_equal(c->api_keys_n, 1);
    assert_str(secret_reveal(&c->api_keys[0].key), "cli");
    struct str text = config_print(&f->source, c, &f->arena);
    assert_has(text, "- {name: \"key1\", admin: true}");
    assert_false(has(text, "cli\""));
}

static void backends_of_the_file(void **state)
{
    static const char yaml[] = "proxy_timeout: 20\n"
                               "backends:\n"
                               "  openai:\n"
                               "    api_keys: {first: sk-1, second: sk-2}\n"
                               "    policy: round-robin\n"
                               "    retry_wait_max: 250ms\n"
                               "  my-server.1:\n"
                               "    protocol: openai-chat\n"
                               "    base_url: http://127.0.0.1:1/v1\n"
                               "    api_key: ''\n"
                               "    models: [a, b]\n"
                               "    headers: {X-Team: \"blue one\", x-key: hush}\n"
                               "    tls_verify: false\n"
                               "    timeout: 1m\n"
                               "    upstream_connections_max: 7\n"
                               "    colon_names: yes\n"
                               "    quirks: off\n"
                               "  third: {type: openai, api_keys: [k-1, k-2, k-3], models: solo}\n"
                               "  demo:\n"
                               "default_backend: third\n";
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = yaml});

    assert_int_equal(c->backends_n, 4);
    const struct backend_config *b = &c->backends[0];
    assert_str(b->name, "openai");
    assert_str(b->where, "config.yaml:3:3");
    assert_int_equal(b->keys_n, 2);
    assert_str(b->keys[1].name, "second");
    assert_str(secret_reveal(&b->keys[1].key), "sk-2");
    assert_str(b->policy, "round-robin");
    assert_int_equal(b->retry_wait_max_ms, 250);
    assert_int_equal(b->proxy_timeout_ms, 20000);
    assert_int_equal(b->colon_names, -1);
    assert_true(b->tls_verify);
    assert_false(b->quirks_off);
    b = &c->backends[1];
    assert_str(b->protocol, "openai-chat");
    assert_str(b->api_url, "http://127.0.0.1:1/v1");
    assert_int_equal(b->keys_n, 0);
    assert_int_equal(b->models.n, 2);
    assert_str(b->headers.items[0], "X-Team: blue one");
    assert_false(b->tls_verify);
    assert_int_equal(b->proxy_timeout_ms, 60000);
    assert_int_equal(b->connect_timeout_ms, 10000);
    assert_int_equal(b->upstream_connections_max, 7);
    assert_int_equal(b->colon_names, 1);
    assert_int_equal(b->slash_names, -1);
    assert_true(b->quirks_off);
    b = &c->backends[2];
    assert_str(b->type, "openai");
    assert_str(b->keys[2].name, "key3");
    assert_str(b->models.items[0], "solo");
    assert_true(c->demo);
    assert_str(b->policy, "sticky");
    assert_int_equal(b->retry_wait_max_ms, 5000);
    assert_int_equal(f->result.warnings, 0);

    struct str text = config_print(&f->source, c, &f->arena);
    assert_has(text, "    api_keys: [\"first\", \"second\"]");
    assert_has(text, "{\"X-Team\": \"***\", \"x-key\": \"***\"}");
    assert_has(text, "# as at the top level");
    assert_has(text, "proxy_timeout: 60s");
    assert_has(text, "# config.yaml:14:14");
    assert_false(has(text, "hush"));
    assert_false(has(text, "sk-"));
}

static void backends_of_the_environment(void **state)
{
    static char key[] = "OPENAI_API_KEY=sk-env";
    static char url[] = "OPENAI_API_BASE_URL=https://env.example/v1";
    static char key_3[] = "OPENAI_API_KEY_3=sk-3";
    static char key_20[] = "OPENAI_API_KEY_20=sk-20";
    static char key_21[] = "OPENAI_API_KEY_21=sk-21";
    static char default_name[] = "LLM_BACKEND=openai";
    static char *one[] = {key, NULL};
    static char *two[] = {key, url, default_name, NULL};
    static char *numbered[] = {key, key_3, key_20, key_21, NULL};
    struct fixture *f = *state;
    const struct config *c;

    c = good(f, &(struct inputs){.environment = one});
    assert_int_equal(c->backends_n, 1);
    assert_str(c->backends[0].where, "environment OPENAI_API_KEY");
    assert_str(c->backends[0].keys[0].name, "OPENAI_API_KEY");
    assert_true(str_is_null(c->backends[0].api_url));

    c = good(f, &(struct inputs){.yaml = "backends: {openai: {api_key: sk-file, models: [m],"
                                         " api_url: 'http://file/'}, b: {type: openai}}\n",
                                 .environment = two});
    assert_int_equal(c->backends_n, 2);
    assert_int_equal(c->backends[0].keys_n, 1);
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "sk-env");
    assert_str(c->backends[0].api_url, "https://env.example/v1");
    assert_int_equal(c->backends[0].models.n, 1);
    assert_int_equal(c->backends[1].keys_n, 0);
    assert_str(c->default_backend, "openai");

    c = good(f, &(struct inputs){.environment = numbered});
    assert_int_equal(c->backends[0].keys_n, 2);
    assert_str(c->backends[0].keys[0].name, "OPENAI_API_KEY_3");
    assert_str(c->backends[0].keys[1].name, "OPENAI_API_KEY_20");
    assert_has(f->result.report, "environment OPENAI_API_KEY: warning: not used");

    c = good(f, &(struct inputs){.dot_env = "export OPENAI_API_KEY='sk-dot'\n",
                                 .arguments = "--demo"});
    assert_int_equal(c->backends_n, 2);
    assert_str(c->backends[0].where, ".env OPENAI_API_KEY");
    assert_str(c->backends[1].name, "demo");
}

/* Catches: names that the file gives to what stands in the environment, lost to the variables';
 * keys of the file that leave without a word. */
static void names_of_keys_of_the_environment(void **state)
{
    static char one[] = "OPENAI_API_KEY_1=sk-1";
    static char two[] = "OPENAI_API_KEY_2=sk-2";
    static char *both[] = {one, two, NULL};
    static char *first[] = {one, NULL};
    static const char yaml[] = "backends:\n  openai:\n    api_keys:\n"
                               "      spare: ${OPENAI_API_KEY_2:-sk-2}\n"
                               "      team: ${OPENAI_API_KEY_1}\n";
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = yaml, .environment = both});

    assert_int_equal(c->backends[0].keys_n, 2);
    assert_str(c->backends[0].keys[0].name, "spare");
    assert_str(c->backends[0].keys[1].name, "team");
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "sk-2");
    assert_int_equal(f->result.warnings, 0);

    c = good(f, &(struct inputs){.yaml = yaml, .environment = first});
    assert_int_equal(c->backends[0].keys_n, 1);
    assert_str(c->backends[0].keys[0].name, "team");
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "sk-1");
    assert_int_equal(f->result.warnings, 1);
    assert_has(f->result.report, "environment OPENAI_API_KEY_1: warning: backends.openai: 1 of its "
                                 "keys in the file are not used, because OPENAI_API_KEY_1 is set");

    c = good(f, &(struct inputs){.yaml = "backends: {openai: {api_keys: {team: sk-1}}}\n",
                                 .environment = both});
    assert_int_equal(c->backends[0].keys_n, 2);
    assert_str(c->backends[0].keys[0].name, "team");
    assert_str(c->backends[0].keys[1].name, "OPENAI_API_KEY_2");
    assert_int_equal(f->result.warnings, 0);
}

static void tls_of_the_listener(void **state)
{
    struct fixture *f = *state;
    const struct config *c;

    c = good(f, &(struct inputs){.yaml = "tls: {cert: config.yaml, key: config.yaml}\n"});
    assert_str(c->tls_cert, "config.yaml");
    assert_str(c->tls_key, "config.yaml");
    assert_str(config_origin(c, "tls.cert"), "config.yaml:1:13");
    assert_str(config_origin(c, "port"), "default");
}

/* Options of later features: their type is checked, one warning names them all. */
static void later(void **state)
{
    static const char yaml[] =
        "# A first line.\n"
        "retries: 3\n"
        "commit_after: off\n"
        "hold_bytes_max: 1MiB\n"
        "logging: {level: info, file: logs/x.log, max_size_mb: 10, backup_count: 5}\n"
        "rate_limits:\n"
        "  default: {limit: 60, time_window: 60}\n"
        "  backend:openai: {limit: 100, time_window: 60}\n"
        "loop_detection: {enabled: true, min_pattern_length: 50, max_pattern_length: 500,"
        " min_repetitions: 3}\n"
        "tool_call_loop: {enabled: true, max_repeats: 3, ttl_seconds: 300, mode: block}\n"
        "response_cache: {enabled: true, ttl: 3600}\n"
        "audit: {enabled: true, file: logs/audit.log}\n"
        "usage_tracking: {enabled: true, repository: file, file_path: ./data/usage}\n"
        "failover_routes: {a: {policy: ordered, elements: ['x:y', 'z']}}\n";
    static char mode[] = "TOOL_LOOP_MODE=warn";
    static char proxy[] = "https_proxy=http://proxy:1";
    static char *environment[] = {mode, proxy, NULL};
    static const char *const names[] = {
        "retries (config.yaml:2:10)",
        "retries (",
        "commit_after (",
        "hold_bytes_max (",
        "logging.max_size_mb (",
        "rate_limits (",
        "loop_detection.enabled (",
        "tool_call_loop.mode (environment ",
        "response_cache.ttl (",
        "audit.file (",
        "usage_tracking.file_path (",
        "failover_routes (",
        "logging.file (command line)",
        "redact_api_keys_in_prompts (command line)",
    };
    struct fixture *f = *state;

    (void)good(f, &(struct inputs){.yaml = yaml,
                                   .environment = environment,
                                   .arguments = "--log x.log "
                                                "--disable-redact-api-keys-in-prompts"});
    assert_int_equal(f->result.warnings, 1);
    assert_true(str_starts(f->result.report, STR("warning: accepted, but without effect")));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_has(f->result.report, names[i]);
}

/* --- vendors' variables --- */

/* Catches: another name of a vendor's variable that is not read, or that wins over the first; a
 * token of other purposes that becomes a backend. */
static void vendors_variables(void **state)
{
    static char token[] = "HF_TOKEN=hf_1";
    static char numbered[] = "HUGGINGFACE_API_KEY_2=hf_2";
    static char single[] = "HUGGINGFACE_API_KEY=hf_3";
    static char endpoint[] = "AZURE_OPENAI_ENDPOINT=https://x.openai.azure.com";
    static char base[] = "AZURE_API_BASE_URL=https://y.openai.azure.com";
    static char key[] = "AZURE_OPENAI_API_KEY=k";
    static char version[] = "OPENAI_API_VERSION=2024-06-01";
    static char own_version[] = "AZURE_API_VERSION=2024-08-01-preview";
    static char github[] = "GITHUB_TOKEN=ghp_1";
    static char local[] = "OLLAMA_API_BASE_URL=http://127.0.0.1:1";
    struct fixture *f = *state;
    char *one[] = {token, version, github, NULL};
    const struct config *c = good(f, &(struct inputs){.environment = one});

    assert_int_equal(c->backends_n, 1);
    assert_str(c->backends[0].name, "huggingface");
    assert_int_equal(c->backends[0].keys_n, 1);
    assert_str(c->backends[0].keys[0].name, "HF_TOKEN");
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "hf_1");

    char *first[] = {token, single, NULL};
    c = good(f, &(struct inputs){.environment = first});
    assert_int_equal(c->backends[0].keys_n, 1);
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "hf_3");
    char *many[] = {token, numbered, NULL};
    c = good(f, &(struct inputs){.environment = many});
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "hf_2");

    char *azure[] = {endpoint, key, version, NULL};
    c = good(f, &(struct inputs){.environment = azure});
    assert_int_equal(c->backends_n, 1);
    assert_str(c->backends[0].api_url, "https://x.openai.azure.com");
    assert_str(c->backends[0].api_version, "2024-06-01");
    assert_int_equal(c->backends[0].keys_n, 1);
    char *both[] = {endpoint, base, own_version, version, NULL};
    c = good(f, &(struct inputs){.environment = both,
                                 .yaml = "backends:\n  azure: {api_key: f, api_version: a}\n"});
    assert_str(c->backends[0].api_url, "https://y.openai.azure.com");
    assert_str(c->backends[0].api_version, "2024-08-01-preview");
    assert_str(secret_reveal(&c->backends[0].keys[0].key), "f");

    char *server[] = {local, NULL};
    c = good(f, &(struct inputs){.environment = server});
    assert_int_equal(c->backends_n, 1);
    assert_str(c->backends[0].name, "ollama");
    c = good(f, &(struct inputs){.arguments = "--default-backend lmstudio"});
    assert_int_equal(c->backends_n, 1);
    assert_str(c->backends[0].name, "lmstudio");
    assert_str(c->default_backend, "lmstudio");
}

static struct str bad(struct fixture *f, const char *yaml)
{
    read_config(f, &(struct inputs){.yaml = yaml});
    assert_int_equal(f->result.faults, 1);
    return f->result.report;
}

/* Requests to the proxy's own address would have no end. */
static void own_address(void **state)
{
    static const char *const faults[] = {
        "default_backend: vllm\n",
        "backends: {vllm: {}}\n",
        "port: 1234\nbackends: {lm: {type: lmstudio}}\n",
        "backends: {a: {protocol: openai-chat, api_url: 'http://127.0.0.1:8000'}}\n",
        "backends: {a: {type: openai, api_url: 'http://[::1]:8000/v1'}}\n",
    };
    static const char *const fine[] = {
        "default_backend: vllm\nport: 8001\n",
        "backends: {vllm: {api_url: 'http://localhost:8002'}}\n",
        "backends: {vllm: {api_url: 'http://gpu:8000'}}\n",
        "backends: {vllm: {protocol: openai-chat, api_url: 'http://gpu:8000'}}\n",
        "default_backend: ollama\n",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        struct str report = bad(f, faults[i]);
        assert_has(report, ".api_url: at port ");
        assert_has(report, "of this machine the proxy itself listens; start it with another "
                           "--port");
    }
    for (size_t i = 0; i < COUNT_OF(fine); i++)
        (void)good(f, &(struct inputs){.yaml = fine[i]});
}

/* It goes into each request's first line. */
static void versions(void **state)
{
    struct fixture *f = *state;
    const struct config *c = good(
        f, &(struct inputs){.yaml = "backends: {azure: {api_version: 2024-10-21, api_key: k}}\n"});

    assert_str(c->backends[0].api_version, "2024-10-21");
    assert_has(bad(f, "backends: {azure: {api_version: '1 HTTP/1.1'}}\n"),
               "config.yaml:1:33: error: backends.azure.api_version: must be letters, digits");
}

/* --- forward proxies --- */

static void forward_proxies(void **state)
{
    static char upper[] = "HTTPS_PROXY=http://upper:1";
    static char lower[] = "https_proxy=http://u:hush%40@lower:2";
    static char all[] = "all_proxy=https://all.example";
    static char no[] = "NO_PROXY=a.example, .b.example:8080 10.0.0.0/8,*";
    static char *environment[] = {upper, all, no, NULL};
    static char *both[] = {upper, lower, NULL};
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.environment = environment,
                                                      .dot_env = "https_proxy=http://dot:3\n"
                                                                 "HTTP_PROXY=dot:4\n",
                                                      .yaml = "http_proxy: http://file:5\n"
                                                              "no_proxy: x\n"});

    /* The environment wins over .env, whatever the letters' case. */
    assert_str(secret_reveal(&c->https_proxy), "http://upper:1");
    assert_str(secret_reveal(&c->http_proxy), "dot:4");
    assert_str(secret_reveal(&c->all_proxy), "https://all.example");
    assert_int_equal(c->no_proxy.n, 3);
    assert_str(c->no_proxy.items[1], ".b.example:8080 10.0.0.0/8");
    struct str text = config_print(&f->source, c, &f->arena);
    assert_has(text, "https_proxy: \"http://upper:1\"");
    assert_has(text, "# environment all_proxy\n");
    assert_has(text, "# .env HTTP_PROXY\n");

    c = good(f, &(struct inputs){.environment = both});
    assert_str(secret_reveal(&c->https_proxy), "http://u:hush%40@lower:2");
    text = config_print(&f->source, c, &f->arena);
    assert_has(text, "https_proxy: \"http://***@lower:2\"");
    assert_has(text, "# environment https_proxy\n");
    assert_false(has(text, "hush"));

    c = good(f, &(struct inputs){.yaml = "https_proxy: 'user:hush@h'\nno_proxy: [a, b]\n"});
    text = config_print(&f->source, c, &f->arena);
    assert_has(text, "https_proxy: \"***@h\"");
    assert_has(text, "no_proxy: [\"a\", \"b\"]");
    assert_has(text, "http_proxy: \"\"");
    assert_false(has(text, "hush"));
}

/* Each entry of a list that is wrong is named. */
static void wrong_lists(void **state)
{
    struct fixture *f = *state;

    read_config(f, &(struct inputs){.yaml = "trusted_proxies: [x, 10.0.0.0/8, 10.0.0.0/33]\n"
                                            "forward_headers: [cookie, ok, host]\n"
                                            "cors_origins: [a, https://b.example, c]\n"});
    assert_int_equal(f->result.faults, 6);
    assert_has(f->result.report, "trusted_proxies: number 1 is neither");
    assert_has(f->result.report, "trusted_proxies: number 3 is neither");

    (void)good(f, &(struct inputs){
                      .yaml = "no_proxy: [10.0.0.0/8, 'fd00::/8', 10.0.0.0/33, a/b, a.example]\n"});
    assert_int_equal(f->result.warnings, 2);
    assert_has(f->result.report, "config.yaml:1:11: warning: no_proxy: number 3 is no network");
    assert_has(f->result.report, "no_proxy: number 4 is no network");
}

/* What is wrong is said, and nothing of what stands there. */
static void wrong_proxies(void **state)
{
    static char socks[] = "ALL_PROXY=socks5://user:hush@h:1080";
    static char *environment[] = {socks, NULL};
    struct fixture *f = *state;

    read_config(f, &(struct inputs){.environment = environment,
                                    .yaml = "https_proxy: 'http://user:hush@h:port'\n"
                                            "http_proxy: ['http://user:hush@h']\n"});
    assert_int_equal(f->result.faults, 3);
    assert_has(
        f->result.report,
        "environment ALL_PROXY: error: all_proxy: must be the URL of an http or https proxy, "
        "http://[user:password@]host[:port], not a socks proxy's");
    assert_has(f->result.report, "config.yaml:1:14: error: https_proxy: must be");
    assert_has(f->result.report, "not a URL whose port is not a number from 1 to 65535");
    assert_has(f->result.report, "config.yaml:2:13: error: http_proxy: must be");
    assert_false(has(f->result.report, "hush"));
}

static void too_many_backends(void **state)
{
    struct fixture *f = *state;
    struct buf yaml;

    buf_init(&yaml, 64 * 1024);
    (void)buf_add(&yaml, STR("backends:\n"));
    for (int i = 0; i < 66; i++)
        (void)buf_print(&yaml, "  b%d: {type: openai, api_key: k}\n", i);
    (void)buf_add_char(&yaml, '\0');
    read_config(f, &(struct inputs){.yaml = yaml.p});
    assert_int_equal(f->result.faults, 2);
    assert_has(f->result.report, "config.yaml:66:3: error: backends.b64: more than 64 backends");
    buf_fini(&yaml);
}

/* Without authentication only loopback is listened on, whatever host says. */
static void no_authentication(void **state)
{
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = "host: 0.0.0.0\n",
                                                      .arguments = "--disable-auth"});

    assert_str(c->host, "127.0.0.1");
    assert_has(f->result.report, "config.yaml:1:7: warning: host: without authentication");
    struct str text = config_print(&f->source, c, &f->arena);
    assert_has(text, "host: \"127.0.0.1\"                           # disable_auth\n");
    c = good(f, &(struct inputs){.yaml = "host: '[::1]'\nauth: {disable_auth: yes}\n"});
    assert_str(c->host, "::1");
    assert_int_equal(f->result.warnings, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(client_keys),
        TEST(backends_of_the_file),
        TEST(backends_of_the_environment),
        TEST(names_of_keys_of_the_environment),
        TEST(tls_of_the_listener),
        TEST(later),
        TEST(vendors_variables),
        TEST(own_address),
        TEST(versions),
        TEST(forward_proxies),
        TEST(wrong_proxies),
        TEST(wrong_lists),
        TEST(too_many_backends),
        TEST(no_authentication),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
