/* SPDX-License-Identifier: MIT */
/*
 * Catches: a source that wins where it should not, a fault that is missed, misplaced or stops the
 * reading, a key that gets into a message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/address.h"
#include "state/config_test_priv.h"

/* Catches: a reload in the moment in which a file is moved away, or cut to be written anew, reads
 * as an empty configuration. */
static void files_that_are_gone_or_empty(void **state)
{
    static const struct {
        const char *yaml;
        const char *dot_env;
        const char *fault; /* NULL: it is taken */
    } rows[] = {
        {"port: 2\n", "A=2\n", NULL},
        {"workers: 0\n", "A=\n", NULL},
        {NULL, "A=1\n", "config.yaml: error: cannot be read: No such file"},
        {"", "A=1\n", "config.yaml: error: has no options, and had some before"},
        {"---\n{}\n", "A=1\n", "config.yaml: error: has no options, and had some before"},
        {"# port: 1\n", "A=1\n", "config.yaml: error: has no options, and had some before"},
        {"port: 1\n", NULL, ".env: error: cannot be read: No such file"},
        {"port: 1\n", "", ".env: error: has no variables, and had some before"},
        {"port: 1\n", "#A=1\n", ".env: error: has no variables, and had some before"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        (void)good(f, &(struct inputs){.yaml = "port: 1\n", .dot_env = "A=1\n"});
        assert_true(f->result.file_used && f->result.env_used);
        config_unref(&f->result.config);
        write_file(f, "config.yaml", rows[i].yaml);
        write_file(f, ".env", rows[i].dot_env);
        f->source.file_wanted = f->source.env_wanted = true;
        config_read(&f->source, &f->arena, &f->result);
        assert_int_equal(f->result.config == NULL, rows[i].fault != NULL);
        if (rows[i].fault != NULL)
            assert_has(f->result.report, rows[i].fault);
    }
    /* Those that were never there need not be. */
    (void)good(f, &(struct inputs){.yaml = NULL});
    assert_false(f->result.file_used || f->result.env_used);
    (void)good(f, &(struct inputs){.yaml = "", .dot_env = "\n"});
    assert_false(f->result.file_used || f->result.env_used);
}

/* Catches: a reload without descriptors, say, that loses the keys of .env. */
static void dot_env_that_cannot_be_read(void **state)
{
    struct fixture *f = *state;
    char path[128];

    (void)good(f, &(struct inputs){.yaml = NULL});
    (void)snprintf(path, sizeof(path), "%s/.env", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int again = 0; again < 2; again++) {
        config_unref(&f->result.config);
        f->source.again = again == 1;
        config_read(&f->source, &f->arena, &f->result);
        assert_has(f->result.report,
                   again == 1 ? ".env: error: cannot be read" : ".env: warning: cannot be read");
        assert_int_equal(f->result.config == NULL, again == 1);
    }
    assert_int_equal(rmdir(path), 0);
}

/* --- values --- */

static void defaults(void **state)
{
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = NULL});

    assert_str(c->host, "127.0.0.1");
    assert_int_equal(c->port, 8000);
    assert_true(c->workers >= 1 && c->workers <= 4);
    assert_str(c->default_backend, "");
    assert_str(c->data_dir, "./data");
    assert_false(c->disable_auth);
    assert_int_equal(c->proxy_timeout_ms, 300000);
    assert_int_equal(c->connect_timeout_ms, 10000);
    assert_int_equal(c->header_timeout_ms, 10000);
    assert_int_equal(c->body_idle_timeout_ms, 60000);
    assert_int_equal(c->keepalive_timeout_ms, 75000);
    assert_int_equal(c->write_timeout_ms, 60000);
    assert_int_equal(c->drain_timeout_ms, 30000);
    assert_int_equal(c->upstream_idle_timeout_ms, 60000);
    assert_int_equal(c->header_bytes_max, 32 * 1024);
    assert_int_equal(c->body_bytes_max, 64 * 1024 * 1024);
    assert_int_equal(c->inflight_bytes_max, 256 * 1024 * 1024);
    assert_int_equal(c->response_bytes_max, 64 * 1024 * 1024);
    assert_int_equal(c->sse_event_bytes_max, 16 * 1024 * 1024);
    assert_int_equal(c->json_depth_max, 128);
    assert_int_equal(c->connections_max, 10000);
    assert_int_equal(c->upstream_connections_max, 1024);
    assert_true(c->tls_verify);
    assert_int_equal(c->forward_headers.n, 0);
    assert_int_equal(c->logging_level, LOG_INFO);
    assert_int_equal(c->api_keys_n + c->backends_n, 0);
    assert_int_equal(f->result.warnings, 0);
    assert_int_equal(f->result.report.n, 0);
}

/* Each source alone and with all lower ones: command line > environment > .env > file. */
static void precedence(void **state)
{
    static char host_4[] = "PROXY_HOST=10.0.0.4";
    static char level_4[] = "LOG_LEVEL=Warning";
    static char *with[] = {host_4, level_4, NULL};
    static const struct {
        const char *yaml;
        const char *dot_env;
        bool environment;
        const char *arguments;
        const char *host;
        enum log_level level;
        const char *origin;
    } cases[] = {
        {NULL, NULL, false, NULL, "127.0.0.1", LOG_INFO, "# default"},
        {"host: 10.0.0.2\nlogging:\n  level: error\n", NULL, false, NULL, "10.0.0.2", LOG_ERROR,
         "# config.yaml:1:7"},
        {"host: 10.0.0.2\n", "PROXY_HOST=10.0.0.3\nLOG_LEVEL=debug\n", false, NULL, "10.0.0.3",
         LOG_DEBUG, "# .env PROXY_HOST"},
        {"host: 10.0.0.2\n", "PROXY_HOST=10.0.0.3\nLOG_LEVEL=debug\n", true, NULL, "10.0.0.4",
         LOG_WARN, "# environment PROXY_HOST"},
        {"host: 10.0.0.2\n", "PROXY_HOST=10.0.0.3\n", true, "--host 10.0.0.5 --log-level=ERROR",
         "10.0.0.5", LOG_ERROR, "# command line"},
        {NULL, NULL, false, "--host=::1 --log-level debug", "::1", LOG_DEBUG, "# command line"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct config *c = good(f, &(struct inputs){
                                             .yaml = cases[i].yaml,
                                             .dot_env = cases[i].dot_env,
                                             .environment = cases[i].environment ? with : NULL,
                                             .arguments = cases[i].arguments,
                                         });
        assert_str(c->host, cases[i].host);
        assert_int_equal(c->logging_level, cases[i].level);
        struct str text = config_print(&f->source, c, &f->arena);
        assert_has(str_from(text, str_find(text, STR("host:"), 0)), cases[i].origin);
    }
}

/* A variable that is set to nothing is set: .env does not come in, and the file's value stays. */
static void empty_variable(void **state)
{
    static char port[] = "PROXY_PORT=";
    static char *environment[] = {port, NULL};
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = "port: 81\n",
                                                      .dot_env = "PROXY_PORT=82\n",
                                                      .environment = environment});
    assert_int_equal(c->port, 81);
}

static void origins_and_proxies(void **state)
{
    struct fixture *f = *state;
    const struct config *c = good(
        f, &(struct inputs){.yaml = "cors_origins: ['*', 'https://a:8443', 'tauri://localhost']\n"
                                    "trusted_proxies: [10.0.0.0/8, '::1', fd00::/7]\n"});
    assert_int_equal(c->cors_origins.n, 3);
    assert_int_equal(c->trusted_ranges_n, 3);
    assert_int_equal(c->trusted_ranges[0].bits, 96 + 8);
    assert_int_equal(c->trusted_ranges[1].bits, 128);
    assert_int_equal(c->trusted_ranges[2].bits, 7);
    assert_int_equal(f->result.warnings, 0);
}

static void dot_env(void **state)
{
    static const char text[] = "\xEF\xBB\xBF# a comment\n"
                               "\n"
                               "PLAIN=value # not this\r\n"
                               "export EXPORTED=yes\n"
                               "  SPACED =  a b  \n"
                               "SINGLE='a # $b \\n'   # comment\n"
                               "DOUBLE=\"a \\\\ b \\\"q\\\" # in\"\n"
                               "HASH=sk-a#b\n"
                               "EMPTY=\n"
                               "TWICE=1\n"
                               "TWICE=2\n"
                               "not a line\n"
                               "OPEN=\"abc\n"
                               "TRAIL='a' b\n"
                               "9X=1\n";
    static const char yaml[] =
        "forward_headers: [\"x-${PLAIN}\", \"x-${EXPORTED}\", \"x-${HASH}\", \"x-${TWICE}\","
        " \"x-${EMPTY:-none}\", \"x-${OPEN:-no}\", \"x-${TRAIL:-no}\"]\n"
        "data_dir: \"${SPACED}|${SINGLE}|${DOUBLE}\"\n";
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = yaml, .dot_env = text});
    static const char *const expected[] = {"x-value", "x-yes", "x-sk-a#b", "x-2",
                                           "x-none",  "x-no",  "x-no"};

    assert_int_equal(c->forward_headers.n, COUNT_OF(expected));
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        assert_str(c->forward_headers.items[i], expected[i]);
    assert_str(c->data_dir, "a b|a # $b \\n|a \\ b \"q\" # in");
    assert_int_equal(f->result.warnings, 4);
    assert_has(f->result.report, ".env:12:1: warning: ");
    assert_has(f->result.report, ".env:13:1: warning: ");
    assert_has(f->result.report, ".env:14:1: warning: ");
    assert_has(f->result.report, ".env:15:1: warning: ");
    /* What an escape stands for is looked at, too. */
    read_config(f, &(struct inputs){.yaml = "data_dir: ${TAB}\n", .dot_env = "TAB=\"a\\tb\"\n"});
    assert_has(f->result.report, "config.yaml:1:11: error: data_dir: must be text without line");
    /* A log may be a table. */
    c = good(f, &(struct inputs){
                    .yaml = "logging: {format: \"%(asctime)s\\t%(levelname)s\\t%(message)s\"}\n"});
    assert_str(c->logging_format, "%(asctime)s\t%(levelname)s\t%(message)s");
}

static void expansion(void **state)
{
    static char port[] = "MY_PORT=8123";
    static char flag[] = "MY_FLAG=true";
    static char *environment[] = {port, flag, NULL};
    struct fixture *f = *state;
    const struct config *c = good(f, &(struct inputs){.yaml = "port: \"${MY_PORT}\"\n"
                                                              "metrics_public: ${MY_FLAG}\n"
                                                              "proxy_timeout: ${NONE:-7m}\n"
                                                              "data_dir: a$${B}c${NONE:-}d$e\n",
                                                      .environment = environment});
    assert_int_equal(c->port, 8123);
    assert_true(c->metrics_public);
    assert_int_equal(c->proxy_timeout_ms, 420000);
    assert_str(c->data_dir, "a${B}cd$e");

    read_config(f, &(struct inputs){.yaml = "host: ${NOT_SET}\n"
                                            "data_dir: ${\n"
                                            "ca_file: \"x${A-b}\"\n"
                                            "prices:\n"
                                            "  m: {x: '${GONE}'}\n"});
    assert_int_equal(f->result.faults, 4);
    assert_has(f->result.report, "config.yaml:1:7: error: ${NOT_SET}: this variable is not set");
    assert_has(f->result.report, "config.yaml:2:11: error: \"${\" begins no");
    assert_has(f->result.report, "config.yaml:3:10: error: \"${\" begins no");
    assert_has(f->result.report, "config.yaml:5:10: error: ${GONE}");
}

/* --- faults --- */

/* What a variable holds is never shown, whatever is wrong with it. */
static void secrets_stay(void **state)
{
    static char key[] = "MY_KEY=hush-hush-1";
    static char bad[] = "OPENAI_API_KEY=\" hush-hush-2\"";
    static char *environment[] = {key, bad, NULL};
    struct fixture *f = *state;

    read_config(f, &(struct inputs){
                       .yaml = "port: ${MY_KEY}\n"
                               "api_keys: [' hush-hush-3', {name: a, kee: hush-hush-4}]\n"
                               "backends:\n"
                               "  x: {protocol: openai-chat, api_url: 'ftp://u:hush-hush-5@h/',"
                               " headers: {'a b': hush-hush-6, host: hush-hush-7}}\n"
                               "  y: {type: openai, api_keys: {k: [hush-hush-8]}}\n",
                       .environment = environment,
                       .arguments = "--api-keyz=hush-hush-9"});
    assert_true(f->result.faults >= 8);
    if (has(f->result.report, "hush-hush"))
        fail_msg("%.*s", STR_ARG(f->result.report));
    assert_has(f->result.report, "environment OPENAI_API_KEY: error: "
                                 "backends.openai.api_keys.OPENAI_API_KEY: "
                                 "Invalid API key format");
}

static void ten_faults(void **state)
{
    static const char yaml[] = "prot: 8000\n"             /* unknown */
                               "host: nonsense\n"         /* no address */
                               "workers: many\n"          /* no number */
                               "connect_timeout: 0.5ms\n" /* out of range */
                               "body_bytes_max: 1KB\n"    /* no unit */
                               "disable_auth: maybe\n"    /* no flag */
                               "logging:\n"
                               "  level: loud\n" /* no level */
                               "  levle: info\n" /* unknown in a section */
                               "workers: 2\n"    /* twice */
                               "api_keys:\n"
                               "  - ' padded '\n" /* no key */
                               "backends:\n"
                               "  own:\n" /* no URL */
                               "    protocol: openai-chat\n"
                               "  other:\n"
                               "    protocol: smalltalk\n" /* no protocol */
                               "    api_url: ftp://x\n"    /* no URL of ours */
                               "  Upper: {}\n"             /* no name */
                               "default_backend: owm\n"    /* not configured */
                               "metrics_public: [true]\n"; /* a list */
    static const char *const expected[] = {
        "config.yaml:1:1: error: prot: unknown key; the nearest valid key is port\n",
        "config.yaml:2:7: error: host: must be a literal address",
        "config.yaml:3:10: error: workers: must be a whole number from 0 to 256, not \"many\"\n",
        "config.yaml:4:18: error: connect_timeout: must be seconds",
        "config.yaml:5:17: error: body_bytes_max: must be bytes, or a number with KiB",
        "config.yaml:6:15: error: disable_auth: must be true or false, not \"maybe\"\n",
        "config.yaml:8:10: error: logging.level: must be debug, info, warning or error",
        "config.yaml:9:3: error: logging.levle: unknown key; the nearest valid key is "
        "logging.level\n",
        "config.yaml:10:1: error: workers: duplicate key, it stands already in line 3\n",
        "config.yaml:12:5: error: api_keys: Invalid API key format: blanks",
        "config.yaml:14:3: error: backends.own: api_url: missing",
        "config.yaml:17:15: error: backends.other.protocol: must be openai-chat, "
        "openai-responses, anthropic or gemini\n",
        "config.yaml:18:14: error: backends.other.api_url: ",
        "config.yaml:19:3: error: backends.Upper: a backend's name is",
        "config.yaml:20:18: error: default_backend: no backend of that name is configured; the "
        "nearest is own\n",
        "config.yaml:21:17: error: metrics_public: must be true or false, not a list\n",
    };
    struct fixture *f = *state;

    read_config(f, &(struct inputs){.yaml = yaml, .arguments = "--check-config"});
    assert_int_equal(f->result.action, CONFIG_CHECK);
    for (size_t i = 0; i < COUNT_OF(expected); i++)
        assert_has(f->result.report, expected[i]);
    assert_int_equal(f->result.faults, COUNT_OF(expected));
}

static const struct {
    const char *yaml;
    const char *report;
} single_cases[] = {
    {"- a\n", "config.yaml:1:1: error: must be a map of options"},
    {"host: [\n", "config.yaml:"},
    {"level: info\n", "config.yaml:1:1: error: level: unknown key; the nearest valid key is "
                      "logging.level"},
    {"logging.level: info\n", "config.yaml:1:1: error: logging.level: unknown key"},
    {"logging: debug\n", "config.yaml:1:10: error: logging: must be a map"},
    {"port: 65536\n", "config.yaml:1:7: error: port: must be a whole number from 0 to 65535"},
    {"port: '80'\n", "config.yaml:1:7: error: port: must be a whole number"},
    {"port: {a: 1}\n", "config.yaml:1:7: error: port: must be a whole number from 0 to "
                       "65535, not a map"},
    {"backends:\n  default_backend: openai\ndefault_backend: openai\n",
     "config.yaml:3:18: error: default_backend: default_backend stands already at "
     "config.yaml:2:20"},
    {"auth: {disable_auth: true}\ndisable_auth: false\n", "config.yaml:2:15: error"},
    {"auth: {api_keys: [aaa]}\napi_keys: [bbb]\n",
     "config.yaml:2:1: error: api_keys: api_keys stand already at config.yaml:1:18"},
    {"api_keys: {a: b}\n", "config.yaml:1:11: error: api_keys: must be a list"},
    {"api_keys: [{name: a}]\n", "config.yaml:1:12: error: api_keys: an entry needs key:"},
    {"api_keys: [{key: a, nane: b}]\n", "the nearest valid key is name"},
    {"api_keys: [aaa, aaa]\n", "config.yaml:1:17: error: api_keys: the same key as key1"},
    {"api_keys: [{name: x, key: aaa}, {name: x, key: bbb}]\n", "two keys are named x"},
    {"api_keys: ['\"aaa\"']\n", "Invalid API key format: quotes around it"},
    {"api_keys: [\"aa\\nbb\"]\n", "Invalid API key format: a blank, a control"},
    /* names are one line: they stand in the log, in headers and in metrics */
    {"api_keys: [{name: \"a\\nb\", key: aaa}]\n",
     "config.yaml:1:19: error: api_keys: a key's name has no line breaks"},
    {"api_keys: [{name: \"a\\u2028b\", key: aaa}]\n", "a key's name has no line breaks"},
    {"api_keys: [{name: '', key: aaa}]\n", "config.yaml:1:19: error: api_keys: a key's name has 1"},
    {"api_keys: [{name: ' a', key: aaa}]\n", "api_keys: a key's name has no blanks around it"},
    {"backends: {openai: {api_keys: {\"a\\tb\": k}}}\n",
     "config.yaml:1:32: error: backends.openai.api_keys: a key's name has no line breaks"},
    {"backends: {openai: {api_keys: {'': k}}}\n",
     "config.yaml:1:32: error: backends.openai.api_keys: a key's name has 1 to 128 bytes"},
    {"backends: {openai: {api_key: k, models: [a, \"b\\nc\"]}}\n",
     "config.yaml:1:41: error: backends.openai.models: number 2 has a line break"},
    {"backends: {openai: {api_key: k, models: ['']}}\n",
     "config.yaml:1:41: error: backends.openai.models: number 1 is no model's name"},
    {"backends: {\"a\\nb\": {}}\n", "config.yaml:1:12: error: backends.a?b: a backend's name is"},
    {"model_aliases: {\"a\\nb\": openai:c}\n",
     "error: model_aliases.a?b: an alias has no line breaks"},
    {"model_aliases: {a: \"b\\u0085\"}\n",
     "config.yaml:1:20: error: model_aliases.a: the target is a model's name, without control"},
    {"model_aliases: {\"a\\n+\": b}\n", "an expression has no control characters"},
    {"model_defaults: {\"a\\nb\": {temperature: 1}}\n",
     "config.yaml:1:18: error: model_defaults.a?b: a model's name has 1 to 320 bytes, without"},
    {"model_defaults: {'': {temperature: 1}}\n", "model_defaults.: a model's name has 1 to 320"},
    {"data_dir: \"a\\nb\"\n",
     "config.yaml:1:11: error: data_dir: must be text without line breaks"},
    {"no_proxy: [a, \"\\x7f\"]\n", "config.yaml:1:11: error: no_proxy: number 2 has a line break"},
    {"session: {file_path: \"a\\x1b\"}\n", "session.file_path: must be text without line breaks"},
    {"logging: {format: \"%(message)s\\t\\v\"}\n",
     "logging.format: must be text without line breaks"},
    {"backends: {a: 1}\n", "config.yaml:1:15: error: backends.a: must be a map"},
    {"backends: {a: {}}\n",
     "backends.a: protocol: and api_url: missing (or type:, for a vendor's)\n"},
    {"backends: {opnai: {api_key: k}}\n", "(or type:, for a vendor's); did you mean openai?"},
    {"backends: {mine: {api_url: h/v1, protocol: openai-chat}}\n",
     "backends.mine.api_url: must not be a URL without http:// or https:// at its beginning"},
    {"backends: {a: {api_url: 'http://h'}}\n", "backends.a: protocol: missing"},
    {"backends: {a: {type: opnai}}\n", "backends.a.type: unknown vendor; the nearest is "
                                       "openai"},
    {"backends: {openai: {api_kye: a}}\n",
     "config.yaml:1:21: error: backends.openai.api_kye: unknown key; the nearest valid key "
     "is api_key"},
    {"backends: {openai: {api_key: a, api_keys: b}}\n", "keys stand already at"},
    {"backends: {openai: {api_url: 'http://h', base_url: 'http://i'}}\n",
     "api_url stands already at"},
    {"backends: {openai: {api_url: 'http://h/?a=b'}}\n", "must not have a query"},
    {"backends: {openai: {headers: {x: \"a\\r\\nb\"}}}\n", "no line breaks"},
    {"backends: {openai: {headers: {'x y': a}}}\n", "no name of a header"},
    {"backends: {openai: {headers: [a]}}\n", "must be a map of names and values"},
    {"backends: {openai: {connect_timeout: 20m}}\n",
     "backends.openai.connect_timeout: must be seconds, or a number with ms, s, m or h, from "
     "10ms to 10m, not \"20m\""},
    {"backends: {openai: {policy: random}}\n", "must be one of sticky, round-robin"},
    {"backends: {openai: {api_key: a}, openai: {api_key: b}}\n", "backends.openai: duplicate key"},
    {"default_backend: demo\n", "the built-in backend demo needs --demo"},
    {"default_backend: x\n", "no backend is configured"},
    {"forward_headers: [x-ok, Authorization]\n", "Authorization is never forwarded"},
    {"forward_headers: ['a b']\n", "number 1 is no name of a header"},
    {"cors_origins: [https://a, https://a/]\n",
     "config.yaml:1:15: error: cors_origins: number 2 is no origin"},
    {"cors_origins: ['null']\n", "cors_origins: number 1 is no origin"},
    {"cors_origins: [a.example]\n", "cors_origins: number 1 is no origin"},
    {"cors_origins: ['https://*.example/']\n", "cors_origins: number 1 is no origin"},
    {"trusted_proxies: [10.0.0.0/8, localhost]\n",
     "config.yaml:1:18: error: trusted_proxies: number 2 is neither an address"},
    {"trusted_proxies: 10.0.0.0/33\n", "trusted_proxies: number 1 is neither an address"},
    {"trusted_proxies: ['::1/129']\n", "trusted_proxies: number 1 is neither an address"},
    {"ca_file: /nonexistent/ca.pem\n", "config.yaml:1:10: error: ca_file: cannot be read"},
    {"backends: {openai: {ca_file: /nonexistent/ca.pem}}\n",
     "config.yaml:1:30: error: backends.openai.ca_file: cannot be read"},
    {"tls: {cert: config.yaml}\n", "config.yaml:1:13: error: tls.cert: tls.key is missing"},
    {"tls:\n  key: config.yaml\n", "config.yaml:2:8: error: tls.key: tls.cert is missing"},
    {"tls: {cert: config.yaml, key: none.pem}\n",
     "config.yaml:1:31: error: tls.key: cannot be read: No such file or directory"},
    {"tls: {cert: config.yaml, key: config.yaml, file: x}\n", "tls.file: unknown key"},
    {"data_dir: ''\n", "data_dir: must not be empty"},
    {"command_prefix: '$$'\n",
     "config.yaml:1:17: error: command_prefix: Invalid command prefix: must be 2 to 10"},
    {"session: {repository: file, file_path: ''}\n",
     "config.yaml:1:40: error: session.file_path: must not be empty"},
    {"session: {command_prefix: '!/'}\n", "the nearest valid key is command_prefix"},
    {"session: {repository: postgres}\n",
     "session.repository: must be one of in_memory, file, not \"postgres\""},
    {"rate_limits: {defualt: {limit: 1}}\n", "rate_limits.defualt: must be default"},
    {"rate_limits: {default: {limit: 0}}\n", "rate_limits.default.limit: must be a whole"},
    {"rate_limits: {default: {limits: 1}}\n", "the nearest valid key is limit"},
    {"failover_routes: {a: {policy: x}}\n", "failover_routes.a.policy: must be one of"},
    {"logging: {per_module: {backend: loud}}\n", "logging.per_module.backend: must be debug"},
};

static void single_faults(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(single_cases); i++) {
        read_config(f, &(struct inputs){.yaml = single_cases[i].yaml});
        if (f->result.faults != 1 || !has(f->result.report, single_cases[i].report))
            fail_msg("%s -> %zu faults:\n%.*s\nexpected: %s", single_cases[i].yaml,
                     f->result.faults, STR_ARG(f->result.report), single_cases[i].report);
    }
}

/* What sessions and commands are told, from each source. */
static void sessions_and_commands(void **state)
{
    static const char yaml[] =
        "command_prefix: '#/'\n"
        "session: {repository: file, file_path: kept, expiry_seconds: 90, max_history_items: 3,"
        " max_sessions: 7, continuity: none, force_set_project: true}\n"
        "disable_interactive_commands: true\n"
        "allowed_url_hosts: [api.example, '127.0.0.1:8080']\n";
    static char prefix[] = "COMMAND_PREFIX=$/";
    static char project[] = "FORCE_SET_PROJECT=0";
    static char mode[] = "DISABLE_INTERACTIVE_MODE=yes";
    static char commands[] = "DISABLE_INTERACTIVE_COMMANDS=false";
    static char *environment[] = {prefix, project, mode, commands, NULL};
    struct fixture *f = *state;
    const struct config *config = good(f, &(struct inputs){.yaml = ""});

    assert_str(config->command_prefix, "!/");
    assert_str(config->session_repository, "in_memory");
    assert_str(config->session_continuity, "fingerprint");
    assert_int_equal(config->session_expiry_seconds_ms, 3600000);
    assert_int_equal(config->session_max_history_items, 10);
    assert_int_equal(config->session_max_sessions, 100000);
    assert_false(config->force_set_project || config->disable_interactive_commands ||
                 config->disable_interactive_mode);
    assert_int_equal(config->allowed_url_hosts.n, 0);

    config = good(f, &(struct inputs){.yaml = yaml});
    assert_int_equal(f->result.warnings, 0);
    assert_str(config->command_prefix, "#/");
    assert_str(config->session_repository, "file");
    assert_str(config->session_file_path, "kept");
    assert_str(config->session_continuity, "none");
    assert_int_equal(config->session_expiry_seconds_ms, 90000);
    assert_int_equal(config->session_max_history_items, 3);
    assert_int_equal(config->session_max_sessions, 7);
    assert_true(config->force_set_project && config->disable_interactive_commands);
    assert_int_equal(config->allowed_url_hosts.n, 2);

    config = good(f, &(struct inputs){.yaml = yaml, .environment = environment});
    assert_str(config->command_prefix, "$/");
    assert_true(config->disable_interactive_mode);
    assert_false(config->force_set_project || config->disable_interactive_commands);
    assert_has(config_origin(config, "command_prefix"), "COMMAND_PREFIX");

    config = good(f, &(struct inputs){.yaml = yaml,
                                      .environment = environment,
                                      .arguments = "--command-prefix=?! "
                                                   "--force-set-project "
                                                   "--disable-interactive-commands "
                                                   "--disable-interactive-mode=off"});
    assert_str(config->command_prefix, "?!");
    assert_true(config->force_set_project && config->disable_interactive_commands);
    assert_false(config->disable_interactive_mode);
    assert_false(has(config_help(&f->arena), "--command-prefix PREFIX (no effect yet)"));
}

static void command_line(void **state)
{
    static const struct {
        const char *arguments;
        const char *report;
    } cases[] = {
        {"--prot 80", "command line: error: --prot: unknown option; the nearest valid one is "
                      "--port"},
        {"--port", "command line: error: --port: needs a value (PORT)"},
        {"--port --demo", "--port: needs a value"},
        {"--port abc", "command line: error: port: must be a whole number"},
        {"--demo=1", "--demo: takes no value"},
        {"--disable-auth=perhaps", "--disable-auth: must be true or false"},
        {"serve", "command line: error: serve: not an option"},
        {"--config missing.yaml", "missing.yaml: error: cannot be read: No such file"},
        {"--command-prefix $$",
         "command line: error: command_prefix: Invalid command prefix: must"},
        {"--log-level loud", "command line: error: logging.level: must be debug"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        read_config(f, &(struct inputs){.arguments = cases[i].arguments});
        if (!has(f->result.report, cases[i].report))
            fail_msg("%s ->\n%.*s", cases[i].arguments, STR_ARG(f->result.report));
    }
    const struct config *c =
        good(f, &(struct inputs){.arguments = "--host ::1 --port=0 --workers 3 --timeout 1.5 "
                                              "--api-keys K1,K2 --disable-auth --demo "
                                              "--default-backend demo"});
    assert_int_equal(c->port, 0);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->proxy_timeout_ms, 1500);
    assert_int_equal(c->api_keys_n, 2);
    assert_false(c->api_keys[0].admin);
    assert_true(c->disable_auth);
    assert_true(c->demo);
    assert_int_equal(f->result.warnings, 0);
    c = good(f,
             &(struct inputs){.yaml = "disable_auth: true\n", .arguments = "--disable-auth=false"});
    assert_false(c->disable_auth);
}

static void actions(void **state)
{
    static const struct {
        const char *arguments;
        enum config_action action;
    } cases[] = {
        {NULL, CONFIG_SERVE},
        {"--check-config", CONFIG_CHECK},
        {"--print-config", CONFIG_PRINT},
        {"--manual config", CONFIG_MANUAL},
        {"--version", CONFIG_VERSION},
        {"--help", CONFIG_HELP},
        {"-h", CONFIG_HELP},
        {"--help --check-config --version", CONFIG_HELP},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        /* A faulty file does not keep the help away. */
        read_config(f, &(struct inputs){.yaml = cases[i].action > CONFIG_PRINT ? "a: b\n" : NULL,
                                        .arguments = cases[i].arguments});
        assert_int_equal(f->result.action, cases[i].action);
        assert_int_equal(f->result.faults, 0);
    }
    read_config(f, &(struct inputs){.arguments = "--manual=errors"});
    assert_str(f->result.manual_topic, "errors");
}

static void named_file(void **state)
{
    struct fixture *f = *state;

    write_file(f, "other.yaml", "port: 99\nprot: 1\n");
    read_config(f, &(struct inputs){.yaml = "port: 98\n", .arguments = "--config other.yaml"});
    assert_int_equal(f->result.faults, 1);
    assert_has(f->result.report, "other.yaml:2:1: error: prot: unknown key");
    write_file(f, "other.yaml", "port: 99\n");
    const struct config *c = good(f, &(struct inputs){.yaml = "port: 98\n",
                                                      .arguments = "--config=other.yaml"});
    assert_int_equal(c->port, 99);
    c = good(f, &(struct inputs){.yaml = "# nothing\n"});
    assert_int_equal(c->port, 8000);
}

/* A snapshot outlives the reading, and dies with its last reference. */
static void references(void **state)
{
    struct fixture *f = *state;
    (void)good(f, &(struct inputs){.yaml = "host: 10.1.2.3\napi_keys: [abc]\n"});
    struct config *second = config_ref(f->result.config);

    config_unref(&f->result.config);
    assert_null(f->result.config);
    write_file(f, "config.yaml", NULL);
    assert_str(second->host, "10.1.2.3");
    assert_str(secret_reveal(&second->api_keys[0].key), "abc");
    config_unref(&second);
    assert_null(second);
    config_unref(&second);
}

/* Pages that are made from the tables name each of their lines. */
static void pages(void **state)
{
    struct fixture *f = *state;
    struct str text = config_manual(STR("config"), &f->arena);

    assert_has(text, "| `logging.level` | level | `info` |");
    assert_has(text, "| `port` | count | `8000` | 0 to 65535 |");
    assert_has(text, "| `connect_timeout` | duration | *top level* |");
    assert_has(text, "| `command_prefix` | text |");
    assert_has(text, "| `--default-backend NAME` | `default_backend` |");
    assert_has(text, "| `PROXY_PORT` | `port` |");
    assert_true(str_is_null(config_manual(STR("nothing"), &f->arena)));
    assert_has(config_help(&f->arena), "--default-backend NAME");
}

/* The example that users copy is free of faults and warnings, as it is and with a key. */
static void example(void **state)
{
    static char key[] = "OPENAI_API_KEY=sk-1";
    static char *environment[] = {key, NULL};
    struct fixture *f = *state;
    char here[2048];
    char argument[4096];

    assert_non_null(getcwd(here, sizeof(here)));
    if (access("config.example.yaml", R_OK) != 0)
        skip();
    (void)snprintf(argument, sizeof(argument), "--config=%s/config.example.yaml", here);
    for (int i = 0; i < 2; i++) {
        const struct config *c = good(f, &(struct inputs){
                                             .environment = i == 0 ? environment : NULL,
                                             .arguments = argument,
                                         });
        if (f->result.warnings > 0)
            fail_msg("%.*s", STR_ARG(f->result.report));
        assert_int_equal(c->backends[0].keys_n, i == 0 ? 1 : 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(files_that_are_gone_or_empty),
        TEST(dot_env_that_cannot_be_read),
        TEST(defaults),
        TEST(precedence),
        TEST(empty_variable),
        TEST(dot_env),
        TEST(origins_and_proxies),
        TEST(expansion),
        TEST(secrets_stay),
        TEST(ten_faults),
        TEST(single_faults),
        TEST(sessions_and_commands),
        TEST(command_line),
        TEST(actions),
        TEST(named_file),
        TEST(references),
        TEST(pages),
        TEST(example),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
