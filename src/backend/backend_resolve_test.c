/* SPDX-License-Identifier: MIT */
/* Catches: a model's name that goes to the wrong backend, or keeps or loses a part on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "backend/backend.h"

enum { ARENA_MAX = 4 * 1024 * 1024 };

/* Backends openai (functional, no default model), router (its names have slashes), tags (colons),
 * demo, and claude (not functional). preferred is the case's. */
struct fixture {
    struct arena arena;
    struct backend_key key;
    struct backend_config entries[5];
    struct config *config;
    struct backend_set *set;
};

static int setup(void **state)
{
    static struct fixture f;
    static char program[] = "llm-proxy";
    static char *argv[] = {program, NULL};
    const struct config_source source = {.argc = 1, .argv = argv, .directory = "/nonexistent"};
    struct config_result result;
    struct error e;

    memset(&f, 0, sizeof(f));
    arena_init(&f.arena, ARENA_MAX, 4096, NULL);
    f.key = (struct backend_key){.name = STR("k"), .key = secret_new(STR("sk-1"))};
    const struct str plain = STR("openai-chat");
    const struct str url = STR("http://127.0.0.1:9");
    f.entries[0] = (struct backend_config){.name = STR("openai"), .keys = &f.key, .keys_n = 1};
    f.entries[1] = (struct backend_config){.name = STR("router"), .slash_names = 1};
    f.entries[2] = (struct backend_config){.name = STR("tags"), .colon_names = 1};
    f.entries[3] = (struct backend_config){.name = STR("demo")};
    f.entries[4] = (struct backend_config){.name = STR("claude"), .protocol = STR("telepathy")};
    for (size_t i = 1; i < 5; i++) {
        f.entries[i].api_url = i == 3 ? STR_NULL : url;
        if (i < 3)
            f.entries[i].protocol = plain;
    }
    config_read(&source, &f.arena, &result);
    f.config = result.config;
    f.config->backends = f.entries;
    f.config->backends_n = COUNT_OF(f.entries);
    *state = &f;
    return backend_set_new(f.config, &f.set, &e) == OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    backend_set_free(&f->set);
    f->config->backends = NULL;
    f->config->backends_n = 0;
    config_unref(&f->config);
    secret_free(&f->key.key);
    arena_fini(&f->arena);
    return 0;
}

static const struct {
    const char *preferred;
    const char *model;   /* NULL: absent */
    const char *backend; /* NULL: an error */
    const char *rest;    /* NULL: absent; of an error: its detail's beginning */
    enum error_code code;
    bool prefixed;
} cases[] = {
    /* the preferred backend's own names */
    {"openai", "gpt-4o", "openai", "gpt-4o", OK, false},
    {"openai", NULL, "openai", NULL, OK, false},
    {"openai", "", "openai", NULL, OK, false},
    {"openai", "openai", "openai", "openai", OK, false},
    {"openai", "a/b", "openai", "a/b", OK, false},
    {"openai", "/x", "openai", "/x", OK, false},
    {"openai", "anthropic/claude", "openai", "anthropic/claude", OK, false},
    {"openai", "gpt 4", "openai", "gpt 4", OK, false},
    {"demo", NULL, "demo", "assistant", OK, false},
    {"demo", "echo", "demo", "echo", OK, false},
    {"demo", "", "demo", "assistant", OK, false},
    /* backend:model */
    {"openai", "openai:gpt-4o", "openai", "gpt-4o", OK, true},
    {"demo", "openai:gpt-4o", "openai", "gpt-4o", OK, true},
    {"openai", "demo:echo", "demo", "echo", OK, true},
    {"openai", "demo:", "demo", "assistant", OK, true},
    {"openai", "openai:ft:gpt-4o:org::id", "openai", "ft:gpt-4o:org::id", OK, true},
    {"openai", "openai:a/b", "openai", "a/b", OK, true},
    {"openai", "openai:demo:echo", "openai", "demo:echo", OK, true},
    {"openai", "tags:llama3:8b", "tags", "llama3:8b", OK, true},
    {"openai", "router:meta/llama:free", "router", "meta/llama:free", OK, true},
    {"openai", "openai: gpt", "openai", " gpt", OK, true},
    {"router", "openai:gpt-4o", "openai", "gpt-4o", OK, true},
    {"tags", "openai:gpt-4o", "openai", "gpt-4o", OK, true},
    /* backend/model */
    {"openai", "openai/gpt-4o", "openai", "gpt-4o", OK, true},
    {"demo", "openai/gpt-4o", "openai", "gpt-4o", OK, true},
    {"openai", "demo/echo", "demo", "echo", OK, true},
    {"openai", "demo/", "demo", "assistant", OK, true},
    {"openai", "router/meta/llama", "router", "meta/llama", OK, true},
    {"openai", "openai/ft:gpt-4o", "openai", "ft:gpt-4o", OK, true},
    {"openai", "router/meta/llama:free", "router", "meta/llama:free", OK, true},
    {"tags", "openai/gpt-4o", "openai", "gpt-4o", OK, true},
    /* names with slashes: a slash never splits */
    {"router", "openai/gpt-4o", "router", "openai/gpt-4o", OK, false},
    {"router", "demo/echo", "router", "demo/echo", OK, false},
    {"router", "router/x", "router", "router/x", OK, false},
    /* names with colons: only known backends are prefixes */
    {"tags", "llama3:8b", "tags", "llama3:8b", OK, false},
    {"tags", "nobody:x", "tags", "nobody:x", OK, false},
    {"tags", ":x", "tags", ":x", OK, false},
    {"tags", "demo:echo", "demo", "echo", OK, true},
    /* unknown prefixes */
    {"openai", "nobody:x", NULL, "nobody (known: openai, router, tags, demo, claude)",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "opemai:x", NULL,
     "opemai (known: openai, router, tags, demo, claude); did you mean openai?",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "anthropic:x", NULL,
     "anthropic (known: openai, router, tags, demo, claude); to configure it set ANTHROPIC_API_KEY",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "groq:x", NULL,
     "groq (known: openai, router, tags, demo, claude); to configure it set GROQ_API_KEY",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "azure:x", NULL,
     "azure (known: openai, router, tags, demo, claude); to configure it set AZURE_API_KEY and "
     "AZURE_API_BASE_URL",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "ollama:x", NULL,
     "ollama (known: openai, router, tags, demo, claude); to configure it set OLLAMA_API_BASE_URL",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "OpenAI:x", NULL, "OpenAI (known: ", ERR_UNKNOWN_BACKEND, false},
    {"openai", ":x", NULL, " (known: ", ERR_UNKNOWN_BACKEND, false},
    {"openai", ":", NULL, " (known: ", ERR_UNKNOWN_BACKEND, false},
    {"openai", "ft:gpt-4o:org", NULL,
     "ft (known: openai, router, tags, demo, claude); for a model whose own name has colons write "
     "openai:ft:...",
     ERR_UNKNOWN_BACKEND, false},
    {"openai", "http://x", NULL, "http (known: ", ERR_UNKNOWN_BACKEND, false},
    {"router", "meta/llama:free", NULL, "meta/llama (known: ", ERR_UNKNOWN_BACKEND, false},
    {"openai", "nobody/x:y", NULL, "nobody/x (known: ", ERR_UNKNOWN_BACKEND, false},
    /* backends that cannot answer */
    {"openai", "claude:opus", NULL, "claude is not functional: this version does not speak",
     ERR_NO_BACKEND, false},
    {"claude", "opus", NULL, "claude is not functional: ", ERR_NO_BACKEND, false},
    {"claude", "demo:echo", "demo", "echo", OK, true},
    {"openai", "openai:", NULL, "model: no name after the backend openai", ERR_BAD_REQUEST, false},
    {"openai", "tags/", NULL, "model: no name after the backend tags", ERR_BAD_REQUEST, false},
};

static void names(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct backend *backend = NULL;
        struct str rest = STR("untouched");
        bool prefixed = false;
        struct error e = {.code = OK};
        f->set->preferred = backend_find(f->set, str_c(cases[i].preferred));
        assert_non_null(f->set->preferred);
        enum error_code code = backend_resolve(f->set, str_c(cases[i].model), &backend, &rest,
                                               &prefixed, &e);
        const char *model = cases[i].model == NULL ? "(absent)" : cases[i].model;
        if (code != cases[i].code)
            fail_msg("%s: %s %s", model, error_name(code), e.detail);
        if (code != OK) {
            if (!str_starts(str_c(e.detail), str_c(cases[i].rest)))
                fail_msg("%s: \"%s\"", model, e.detail);
            assert_null(backend);
            assert_true(str_eq(rest, STR("untouched")));
            continue;
        }
        if (!str_eq(backend->name, str_c(cases[i].backend)))
            fail_msg("%s went to %.*s", model, STR_ARG(backend->name));
        if (!str_eq(rest, str_c(cases[i].rest)) || str_is_null(rest) != (cases[i].rest == NULL))
            fail_msg("%s became \"%.*s\"", model, STR_ARG(rest));
        assert_int_equal(prefixed, cases[i].prefixed);
    }
}

/* Nothing is functional: that is the error, whatever the name; it says what would help. */
static void nothing_functional(void **state)
{
    struct fixture *f = *state;
    struct backend *backend = NULL;
    struct str rest;
    bool prefixed;
    struct error e;

    for (size_t i = 0; i < f->set->n; i++)
        f->set->items[i].functional = false;
    f->set->preferred = NULL;
    assert_int_equal(backend_resolve(f->set, STR("nobody:x"), &backend, &rest, &prefixed, &e),
                     ERR_NO_BACKEND);
    assert_true(str_starts(str_c(e.detail), STR("openai is not functional")));
    size_t n = f->set->n;
    f->set->n = 0;
    assert_int_equal(backend_resolve(f->set, STR("m"), &backend, &rest, &prefixed, &e),
                     ERR_NO_BACKEND);
    f->set->n = n;
    assert_true(str_find(str_c(e.detail), STR("OPENAI_API_KEY"), 0) != SIZE_MAX);
    struct str message = error_message(&e, &f->arena);
    assert_true(str_starts(message, STR("No functional backends available: ")));
}

/* However long a client's name is, the message keeps the known names and the hint. */
static void long_names(void **state)
{
    struct fixture *f = *state;
    struct backend *backend = NULL;
    struct str rest;
    bool prefixed;
    struct error e;
    char model[4096];

    memset(model, 'x', sizeof(model));
    memcpy(model + 40, "\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4\xC3\xA4", 10);
    model[sizeof(model) - 2] = ':';
    f->set->preferred = &f->set->items[0];
    assert_int_equal(backend_resolve(f->set, str_of(model, sizeof(model)), &backend, &rest,
                                     &prefixed, &e),
                     ERR_UNKNOWN_BACKEND);
    assert_true(str_ends(str_c(e.detail), STR("(known: openai, router, tags, demo, claude)")));
    assert_true(strlen(e.detail) < 128);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(names),
        TEST(nothing_functional),
        TEST(long_names),
    };
    _Static_assert(COUNT_OF(cases) >= 40, "each rule has its rows");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
