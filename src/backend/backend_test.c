/* SPDX-License-Identifier: MIT */
/*
 * Catches: a base URL that requests would miss, a backend that counts as functional and is not (or
 * the reverse), a vendor's member that an entry does not get.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"

enum { ARENA_MAX = 4 * 1024 * 1024 };

static int setup(void **state)
{
    static struct arena arena;

    arena_init(&arena, ARENA_MAX, 4096, NULL);
    *state = &arena;
    return 0;
}

static int teardown(void **state)
{
    arena_fini(*state);
    return 0;
}

/* A configuration with these backends, whose text is the tests'. */
static struct config *config_with(struct backend_config *backends, size_t n, struct arena *arena)
{
    static char program[] = "llm-proxy";
    static char *argv[] = {program, NULL};
    const struct config_source source = {.argc = 1, .argv = argv, .directory = "/nonexistent"};
    struct config_result result;

    config_read(&source, arena, &result);
    assert_non_null(result.config);
    for (size_t i = 0; i < n; i++) {
        backends[i].where = STR("config.yaml:1:1");
        backends[i].colon_names = -1;
        backends[i].slash_names = -1;
        backends[i].think_tags = -1;
    }
    result.config->backends = backends;
    result.config->backends_n = n;
    return result.config;
}

/* The entries are not the snapshot's: it must not wipe them. */
static void release(struct config *config)
{
    config->backends = NULL;
    config->backends_n = 0;
    config_unref(&config);
}

static struct backend_set *set_with(struct backend_config *backends, size_t n, struct arena *arena)
{
    struct backend_set *set = NULL;
    struct error e;
    struct config *config = config_with(backends, n, arena);

    if (backend_set_new(config, &set, &e) != OK)
        fail_msg("%s", e.detail);
    config_unref(&config);
    return set;
}

static void set_release(struct backend_set *set)
{
    struct config *config = config_ref(set->config);

    backend_set_free(&set);
    assert_null(set);
    release(config);
}

static void assert_str(struct str s, const char *expected)
{
    if (!str_eq(s, str_c(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected);
}

static void urls(void **state)
{
    static const struct {
        const char *api_url;
        const char *base_path;
        const char *authority;
    } cases[] = {
        {"https://host/openai/v1", "/openai/v1", "host"},
        {"https://host", "/v1", "host"},
        {"https://host/", "/v1", "host"},
        {"http://127.0.0.1:8080/v1/", "/v1", "127.0.0.1:8080"},
        {"https://openrouter.ai/api/v1", "/api/v1", "openrouter.ai"},
        {"https://host/compat", "/compat/v1", "host"},
        {"https://host/compat/", "/compat/v1", "host"},
        {"https://host/api/v3", "/api/v3", "host"},
        {"https://host/v1beta", "/v1beta", "host"},
        {"https://host/v1beta/openai/", "/v1beta/openai", "host"},
        {"https://host/v1/acct/gateway/openai", "/v1/acct/gateway/openai", "host"},
        {"https://host/v2.1", "/v2.1", "host"},
        {"https://host/vault", "/vault/v1", "host"},
        {"https://host/v", "/v/v1", "host"},
        {"https://host/v1x-y", "/v1x-y/v1", "host"},
        {"https://HOST:443/v1", "/v1", "host"},
        {"http://host:443/v1", "/v1", "host:443"},
        {"http://[::1]:9000", "/v1", "[::1]:9000"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct backend_config entry = {.name = STR("own"), .protocol = STR("openai-chat")};
        entry.api_url = str_c(cases[i].api_url);
        struct backend_set *set = set_with(&entry, 1, *state);
        assert_str(set->items[0].base_path, cases[i].base_path);
        assert_str(set->items[0].authority, cases[i].authority);
        assert_true(set->items[0].functional);
        set_release(set);
    }
}

static void bad_urls(void **state)
{
    static const char *const cases[] = {"ftp://h",          "h/v1",
                                        "https://",         "https://h/?a=b",
                                        "https://u:p@h/v1", "https://h:99999"};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct backend_config entry = {.name = STR("own"), .protocol = STR("openai-chat")};
        struct backend_set *set = NULL;
        struct error e;
        entry.api_url = str_c(cases[i]);
        struct config *config = config_with(&entry, 1, *state);
        assert_int_equal(backend_set_new(config, &set, &e), ERR_CONFIG);
        assert_null(set);
        assert_true(str_starts(str_c(e.detail), STR("backends.own.api_url: must not be")) ||
                    str_ends(str_c(e.detail), STR("must not have a query")));
        release(config);
    }
}

static void vendors(void **state)
{
    struct backend_key key = {.name = STR("a"), .key = secret_new(STR("sk-1"))};
    struct str model = STR("m-1");
    struct backend_config entries[] = {
        {.name = STR("openai"), .keys = &key, .keys_n = 1},
        {.name = STR("openai-2"), .type = STR("openai"), .models = {&model, 1}},
        {.name = STR("openai-3"), .type = STR("openai"), .api_url = STR("http://127.0.0.1:1")},
        {.name = STR("plain"), .protocol = STR("openai-chat"), .api_url = STR("http://h")},
        {.name = STR("quiet"),
         .type = STR("openai"),
         .quirks_off = true,
         .keys = &key,
         .keys_n = 1},
        {.name = STR("demo")},
        {.name = STR("show"), .type = STR("demo")},
        {.name = STR("claude"), .protocol = STR("anthropic"), .api_url = STR("http://h")},
        {.name = STR("anthropic"), .keys = &key, .keys_n = 1},
        {.name = STR("other"), .protocol = STR("telepathy"), .api_url = STR("http://h")},
        {.name = STR("openrouter"), .keys = &key, .keys_n = 1},
        {.name = STR("ollama"), .protocol = STR("openai-chat")},
    };
    static const struct {
        bool functional;
        bool local;
        bool usage;
        enum key_header header;
        const char *model; /* "" none */
        const char *host;
    } expected[COUNT_OF(entries)] = {
        {true, false, true, KEY_BEARER, "", "api.openai.com"},
        {false, false, true, KEY_BEARER, "m-1", "api.openai.com"},
        {true, false, true, KEY_BEARER, "", "127.0.0.1"},
        {true, false, false, KEY_BEARER, "", "h"},
        /* What it leaves alone is for who sends a request to see: translated ones are edited. */
        {true, false, true, KEY_BEARER, "", "api.openai.com"},
        {true, true, true, KEY_BEARER, "assistant", ""},
        {true, true, true, KEY_BEARER, "assistant", ""},
        {true, false, false, KEY_X_API_KEY, "", "h"},
        {true, false, false, KEY_X_API_KEY, "", "api.anthropic.com"},
        {false, false, false, KEY_BEARER, "", "h"},
        {true, false, true, KEY_BEARER, "", "openrouter.ai"},
        {true, false, false, KEY_BEARER, "", "localhost"},
    };
    struct backend_set *set = set_with(entries, COUNT_OF(entries), *state);

    assert_int_equal(set->n, COUNT_OF(entries));
    assert_ptr_equal(set->preferred, &set->items[0]);
    for (size_t i = 0; i < set->n; i++) {
        const struct backend *b = &set->items[i];
        assert_int_equal(b->place, i);
        assert_int_equal(b->functional, expected[i].functional);
        assert_int_equal(b->local != NULL, expected[i].local);
        assert_int_equal(b->dialect.usage == DIALECT_USAGE_OPTION, expected[i].usage);
        assert_int_equal(b->key_header, expected[i].header);
        assert_str(b->default_model, expected[i].model);
        assert_str(b->url.host, expected[i].host);
        assert_true(!b->functional || b->protocol != NULL);
        assert_ptr_equal(backend_find(set, b->name), b);
    }
    assert_null(backend_find(set, STR("nobody")));
    assert_null(backend_find(set, STR("OpenAI")));
    set_release(set);
    secret_free(&key.key);
}

/* The configured default, functional or not; else the first functional one; else none. */
static void preferred(void **state)
{
    struct backend_config entries[] = {
        {.name = STR("openai")},
        {.name = STR("demo")},
    };
    struct backend_set *set = set_with(entries, 2, *state);
    struct error e;

    assert_ptr_equal(set->preferred, &set->items[1]);
    set_release(set);
    set = set_with(entries, 1, *state);
    assert_null(set->preferred);
    set_release(set);

    struct config *config = config_with(entries, 2, *state);
    config->default_backend = STR("openai");
    assert_int_equal(backend_set_new(config, &set, &e), OK);
    assert_ptr_equal(set->preferred, &set->items[0]);
    backend_set_free(&set);
    config->default_backend = STR("other");
    assert_int_equal(backend_set_new(config, &set, &e), ERR_CONFIG);
    release(config);
}

static void checking(void **state)
{
    struct backend_key odd = {.name = STR("odd"), .key = secret_new(STR("hush-1"))};
    struct backend_config entries[] = {
        {.name = STR("openai")},
        {.name = STR("own"), .type = STR("openai"), .keys = &odd, .keys_n = 1},
        {.name = STR("moved"),
         .type = STR("openai"),
         .keys = &odd,
         .keys_n = 1,
         .api_url = STR("https://elsewhere/v1")},
        {.name = STR("groq")},
        {.name = STR("azure"), .keys = &odd, .keys_n = 1},
        {.name = STR("ollama"), .api_version = STR("1")},
        {.name = STR("claude"), .protocol = STR("telepathy"), .api_url = STR("http://h")},
        {.name = STR("bad"), .protocol = STR("openai-chat"), .api_url = STR("gopher://h")},
    };
    static const char expected[] =
        "config.yaml:1:1: warning: backends.openai is not functional: it has no key (set "
        "OPENAI_API_KEY)\n"
        "config.yaml:1:1: warning: backends.own.api_keys.odd: Invalid API key format: keys of "
        "openai begin with sk-\n"
        "config.yaml:1:1: warning: backends.groq is not functional: it has no key (set "
        "GROQ_API_KEY)\n"
        "config.yaml:1:1: warning: backends.azure is not functional: it has no api_url (set "
        "AZURE_API_BASE_URL)\n"
        "config.yaml:1:1: warning: backends.ollama.api_version: has no effect: requests to this "
        "URL name no version\n"
        "config.yaml:1:1: warning: backends.claude is not functional: this version does not "
        "speak telepathy yet\n"
        "config.yaml:1:1: error: backends.bad.api_url: must not be a URL without http:// "
        "or https:// at its beginning\n";
    struct arena *arena = *state;
    struct config *config = config_with(entries, COUNT_OF(entries), arena);
    struct buf report;

    buf_init(&report, 64 * 1024);
    assert_int_equal(backend_check(config, arena, &report), 1);
    assert_str(buf_str(&report), expected);
    buf_reset(&report);
    config->backends_n = 1;
    assert_int_equal(backend_check(config, arena, &report), 0);
    assert_true(str_find(buf_str(&report), STR("\nwarning: No functional backends available: "),
                         0) != SIZE_MAX);
    buf_fini(&report);
    release(config);
    secret_free(&odd.key);
}

/* Whose signatures a backend takes, and what is spoken at OpenAI's own URL besides. */
static void vendor_and_second_protocol(void **state)
{
    struct backend_key key = {.name = STR("k"), .key = secret_new(STR("sk-1"))};
    struct backend_config entries[] = {
        {.name = STR("openai"), .keys = &key, .keys_n = 1},
        {.name = STR("mine"), .type = STR("openai"), .keys = &key, .keys_n = 1},
        {.name = STR("moved"), .type = STR("openai"), .api_url = STR("http://h")},
        {.name = STR("one"), .type = STR("openai"), .protocol = STR("openai-chat")},
        {.name = STR("claude"), .protocol = STR("anthropic"), .api_url = STR("http://h")},
        {.name = STR("gemini"), .keys = &key, .keys_n = 1, .think_tags = 1},
    };
    static const struct {
        const char *vendor;
        bool also;
    } expected[COUNT_OF(entries)] = {
        {"openai", true},  {"openai", true},  {"moved", false},
        {"openai", false}, {"claude", false}, {"gemini", false},
    };
    struct backend_set *set = set_with(entries, COUNT_OF(entries), *state);
    const struct protocol *responses = protocol_find(STR("openai-responses"));

    assert_non_null(responses);
    for (size_t i = 0; i < set->n; i++) {
        assert_str(set->items[i].vendor, expected[i].vendor);
        assert_int_equal(backend_speaks(&set->items[i], responses), expected[i].also);
        assert_true(backend_speaks(&set->items[i], set->items[i].protocol));
    }
    set_release(set);
    secret_free(&key.key);
}

/* Catches: a request to a deployment that misses it, a name in the path that ends it, a version
 * that is asked for where there is none. */
static void deployments(void **state)
{
    static const struct {
        const char *api_url;
        const char *version; /* NULL: not said */
        const char *path;
        const char *model;
        const char *target;
        const char *models_path;
    } cases[] = {
        {"https://x.openai.azure.com", NULL, "/chat/completions", "gpt-4o",
         "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
         "/openai/models?api-version=2024-10-21"},
        {"https://x.openai.azure.com/", "2025-01-01-preview", "/embeddings", "a/b c?d%",
         "/openai/deployments/a%2Fb%20c%3Fd%25/embeddings?api-version=2025-01-01-preview",
         "/openai/models?api-version=2025-01-01-preview"},
        {"https://x.openai.azure.com/openai", NULL, "/files", "gpt-4o",
         "/openai/files?api-version=2024-10-21", "/openai/models?api-version=2024-10-21"},
        {"https://gateway/x", NULL, "/audio/speech", "tts",
         "/x/openai/deployments/tts/audio/speech?api-version=2024-10-21",
         "/x/openai/models?api-version=2024-10-21"},
        {"https://x.openai.azure.com", NULL, "/chat/completions", NULL,
         "/openai/chat/completions?api-version=2024-10-21",
         "/openai/models?api-version=2024-10-21"},
        {"https://x.openai.azure.com/openai/v1", "2024-10-21", "/chat/completions", "gpt-4o",
         "/openai/v1/chat/completions", "/openai/v1/models"},
        {"https://x.openai.azure.com/openai/v1/", NULL, "/embeddings", "e", "/openai/v1/embeddings",
         "/openai/v1/models"},
        {"https://x.services.ai.azure.com/models", NULL, "/chat/completions", "Phi-4",
         "/models/chat/completions?api-version=2024-05-01-preview",
         "/models/models?api-version=2024-05-01-preview"},
    };
    struct backend_key key = {.name = STR("a"), .key = secret_new(STR("k-1"))};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct backend_config entry = {.name = STR("mine"),
                                       .type = STR("azure"),
                                       .api_url = str_c(cases[i].api_url),
                                       .api_version = str_c(cases[i].version),
                                       .keys = &key,
                                       .keys_n = 1};
        struct backend_set *set = set_with(&entry, 1, *state);
        const struct backend *backend = &set->items[0];
        struct buf out;
        buf_init(&out, 4096);
        backend_path(backend, str_c(cases[i].path), str_c(cases[i].model), &out);
        backend_path_query(backend, true, &out);
        assert_str(buf_str(&out), cases[i].target);
        assert_str(backend->models_path, cases[i].models_path);
        assert_int_equal(backend->key_header, KEY_API_KEY);
        buf_reset(&out);
        backend_path_query(backend, false, &out);
        assert_true(out.n == 0 || out.p[0] == '&');
        buf_fini(&out);
        set_release(set);
    }
    secret_free(&key.key);
}

/* A deployment has no URL of its vendor's, which needs no key where a header has a token. */
static void deployments_need(void **state)
{
    struct backend_key key = {.name = STR("a"), .key = secret_new(STR("k-1"))};
    struct str token = STR("authorization: Bearer t");
    struct str url = STR("https://x.openai.azure.com");
    struct backend_config entries[] = {
        {.name = STR("azure"), .keys = &key, .keys_n = 1},
        {.name = STR("a"), .type = STR("azure"), .api_url = url},
        {.name = STR("b"), .type = STR("azure"), .api_url = url, .keys = &key, .keys_n = 1},
        {.name = STR("c"), .type = STR("azure"), .api_url = url, .headers = {&token, 1}},
    };
    static const bool functional[] = {false, false, true, true};
    struct backend_set *set = set_with(entries, COUNT_OF(entries), *state);

    for (size_t i = 0; i < set->n; i++)
        assert_int_equal(set->items[i].functional, functional[i]);
    assert_str(backend_why(&set->items[0], *state), "it has no api_url (set AZURE_API_BASE_URL)");
    assert_str(backend_why(&set->items[1], *state), "it has no key (set backends.a.api_keys)");
    set_release(set);
    secret_free(&key.key);
}

/* The URLs that vendors' own programs have, and where their lists are. */
static void bases(void **state)
{
    static const struct {
        const char *name;
        const char *api_url; /* NULL: its own */
        const char *authority;
        const char *base_path;
        const char *models_path;
    } cases[] = {
        {"openai", NULL, "api.openai.com", "/v1", "/v1/models"},
        {"openrouter", NULL, "openrouter.ai", "/api/v1", "/api/v1/models"},
        {"groq", NULL, "api.groq.com", "/openai/v1", "/openai/v1/models"},
        {"deepseek", NULL, "api.deepseek.com", "", "/models"},
        {"deepseek", "https://api.deepseek.com/v1", "api.deepseek.com", "/v1", "/v1/models"},
        {"deepseek", "https://api.deepseek.com/beta", "api.deepseek.com", "/beta", "/beta/models"},
        {"perplexity", NULL, "api.perplexity.ai", "", "/v1/models"},
        {"perplexity", "http://h/", "h", "", "/v1/models"},
        {"perplexity", "http://h/p/v1", "h", "/p/v1", "/p/v1/models"},
        {"github", NULL, "models.github.ai", "/inference", "/catalog/models"},
        {"github", "https://models.github.ai/orgs/o/inference", "models.github.ai",
         "/orgs/o/inference", "/orgs/o/inference/models"},
        {"zai", NULL, "api.z.ai", "/api/paas/v4", "/api/paas/v4/models"},
        {"zai", "https://api.z.ai/api/paas", "api.z.ai", "/api/paas/v4", "/api/paas/v4/models"},
        {"zai", "https://gateway.example/", "gateway.example", "/v1", "/v1/models"},
        {"deepinfra", NULL, "api.deepinfra.com", "/v1/openai", "/v1/openai/models"},
        {"qwen", "https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope.aliyuncs.com",
         "/compatible-mode/v1", "/compatible-mode/v1/models"},
        {"ollama", NULL, "localhost:11434", "/v1", "/v1/models"},
        {"ollama", "http://192.168.1.2:11434", "192.168.1.2:11434", "/v1", "/v1/models"},
        {"lmstudio", NULL, "localhost:1234", "/v1", "/v1/models"},
        {"vllm", NULL, "localhost:8000", "/v1", "/v1/models"},
        {"llamacpp", NULL, "localhost:8080", "/v1", "/v1/models"},
        {"gemini", NULL, "generativelanguage.googleapis.com", "/v1beta", "/v1beta/models"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct backend_config entry = {.name = str_c(cases[i].name),
                                       .api_url = str_c(cases[i].api_url)};
        struct backend_set *set = set_with(&entry, 1, *state);
        const struct backend *backend = &set->items[0];
        assert_str(backend->authority, cases[i].authority);
        assert_str(backend->base_path, cases[i].base_path);
        assert_str(backend->models_path, cases[i].models_path);
        assert_true(str_is_null(backend->query) && !backend->deployments);
        assert_int_equal(backend->functional, cases[i].api_url != NULL || !backend->url.https);
        set_release(set);
    }
}

/* Contract, section 4: whose names have colons, whose slashes; and what an entry says of it. */
static void names(void **state)
{
    static const char *const colons[] = {"ollama", "openrouter", "huggingface"};
    static const char *const slashes[] = {"openrouter",  "groq",    "together",  "fireworks",
                                          "huggingface", "nvidia",  "deepinfra", "github",
                                          "vllm",        "lmstudio"};
    static const char *const none[] = {"openai", "mistral", "deepseek", "xai",  "cerebras",
                                       "zai",    "azure",   "moonshot", "qwen", "llamacpp"};
    struct backend_config entries[3];
    struct backend_set *set;

    for (size_t i = 0; i < COUNT_OF(slashes); i++) {
        entries[0] = (struct backend_config){.name = str_c(slashes[i])};
        entries[1] = (struct backend_config){.name = str_c(colons[i % COUNT_OF(colons)])};
        entries[2] = (struct backend_config){.name = str_c(none[i])};
        set = set_with(entries, 3, *state);
        assert_true(set->items[0].slash_names);
        assert_true(set->items[1].colon_names);
        assert_false(set->items[2].slash_names || set->items[2].colon_names);
        set_release(set);
    }
}

enum { OPENAI, TEAM, PLAIN, OTHER, N };

static const struct {
    size_t from;
    const char *url;
    const char *key; /* "": none */
    const char *base_path;
    const char *authority;
} elsewhere_cases[] = {
    {OPENAI, "https://other.example", "", "/v1", "other.example"},
    {OPENAI, "https://other.example/v1", "", "/v1", "other.example"},
    {OPENAI, "https://other.example/compat/v2/", "", "/compat/v2", "other.example"},
    {OPENAI, "https://api.openai.com/v9", "k0", "/v9", "api.openai.com"},
    {OPENAI, "https://API.openai.com:443", "k0", "/v1", "api.openai.com"},
    {OPENAI, "http://api.openai.com", "", "/v1", "api.openai.com"},
    {OPENAI, "https://api.openai.com:444", "", "/v1", "api.openai.com:444"},
    {OPENAI, "https://sub.api.openai.com", "", "/v1", "sub.api.openai.com"},
    {OPENAI, "https://team.example:8443", "k1", "/v1", "team.example:8443"},
    {OPENAI, "https://team.example", "", "/v1", "team.example"},
    {OPENAI, "http://plain.example/", "k2", "/v1", "plain.example"},
    {OPENAI, "https://plain.example/", "", "/v1", "plain.example"},
    {OPENAI, "https://both.example", "", "/v1", "both.example"}, /* of another protocol */
    {TEAM, "https://api.openai.com", "k0", "/v1", "api.openai.com"},
    {TEAM, "https://team.example:8443/x/v1", "k1", "/x/v1", "team.example:8443"},
};

/* Catches: a key, a header or a trust that goes along to another host; a dialect that does not. */
static void elsewhere(void **state)
{
    struct backend_key keys[N] = {{STR_INIT("k0"), secret_new(STR("sk-0"))},
                                  {STR_INIT("k1"), secret_new(STR("sk-1"))},
                                  {STR_INIT("k2"), secret_new(STR("sk-2"))},
                                  {STR_INIT("k3"), secret_new(STR("sk-3"))}};
    struct str header = STR("x-secret: 1");
    struct backend_config entries[N] = {
        {.name = STR("openai"),
         .keys = &keys[OPENAI],
         .keys_n = 1,
         .headers = {&header, 1},
         .ca_file = STR("own.pem"),
         .proxy_timeout_ms = 77},
        {.name = STR("team"),
         .type = STR("openai"),
         .api_url = STR("https://team.example:8443"),
         .keys = &keys[TEAM],
         .keys_n = 1,
         .tls_verify = true},
        {.name = STR("plain"),
         .protocol = STR("openai-chat"),
         .api_url = STR("http://plain.example/v1"),
         .keys = &keys[PLAIN],
         .keys_n = 1},
        {.name = STR("claude"),
         .type = STR("anthropic"),
         .api_url = STR("https://both.example"),
         .keys = &keys[OTHER],
         .keys_n = 1},
    };
    struct config *config = config_with(entries, N, *state);
    struct backend_set *set = NULL;
    struct backend moved;
    struct error e;

    assert_int_equal(backend_set_new(config, &set, &e), OK);
    assert_true(backend_is_openai(&set->items[OPENAI]) && backend_is_openai(&set->items[TEAM]));
    assert_false(backend_is_openai(&set->items[PLAIN]) || backend_is_openai(&set->items[OTHER]));
    for (size_t i = 0; i < COUNT_OF(elsewhere_cases); i++) {
        const struct backend *from = &set->items[elsewhere_cases[i].from];
        struct str url = str_c(elsewhere_cases[i].url);
        assert_int_equal(backend_elsewhere(set, from, url, *state, &moved, &e), OK);
        const struct backend *twin = moved.twin;
        struct str key = moved.config->keys_n > 0 ? moved.config->keys[0].name : STR("");
        if (!str_eq(key, str_c(elsewhere_cases[i].key)))
            fail_msg("%s gets the key \"%.*s\"", elsewhere_cases[i].url, STR_ARG(key));
        assert_int_equal(twin == NULL, elsewhere_cases[i].key[0] == '\0');
        assert_true(str_eq(moved.base_path, str_c(elsewhere_cases[i].base_path)));
        assert_true(str_eq(moved.authority, str_c(elsewhere_cases[i].authority)));
        assert_true(str_eq(moved.name, from->name));
        assert_int_equal(moved.config->headers.n, twin == &set->items[OPENAI]);
        assert_true(moved.functional && moved.protocol == from->protocol);
        assert_int_equal(moved.dialect.usage, DIALECT_USAGE_OPTION);
        assert_int_equal(moved.config->proxy_timeout_ms, from->config->proxy_timeout_ms);
        assert_ptr_equal(moved.load, from->load);
        if (twin == NULL) {
            assert_true(str_eq(moved.config->ca_file, config->ca_file));
            assert_int_equal(moved.config->tls_verify, config->tls_verify);
        }
    }
    assert_int_equal(backend_elsewhere(set, &set->items[OPENAI], STR("ftp://x"), *state, &moved,
                                       &e),
                     ERR_CONFIG);
    backend_set_free(&set);
    for (size_t i = 0; i < N; i++)
        secret_free(&keys[i].key);
    release(config);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(urls),      TEST(bad_urls),    TEST(vendors),
        TEST(preferred), TEST(checking),    TEST(vendor_and_second_protocol),
        TEST(elsewhere), TEST(deployments), TEST(deployments_need),
        TEST(bases),     TEST(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
