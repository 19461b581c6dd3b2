/* SPDX-License-Identifier: MIT */
/* Commands run in an environment of five backends, on a session's draft. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "command/command.h"

enum { ARENA_MAX = 8 * 1024 * 1024, REPLY_MAX = 64 * 1024 };

/* Backends openai (the default, functional, one key), router (its names have slashes), tags (they
 * have colons), demo, and gemini (no key). */
struct fixture {
    struct arena arena;
    struct backend_key key;
    struct backend_config entries[5];
    struct backend_config *own;
    size_t own_n;
    struct config *config;
    struct backend_set *set;
    struct settings before;
    struct settings draft;
    uint32_t changed;
    struct str new_server_backend;
    struct session_stats stats;
    struct buf reply;
    struct command_env env;
    enum command_model listed; /* what the lists say of every model */
};

static inline size_t fixture_models(void *ctx, const struct backend *backend)
{
    (void)ctx;
    return str_eq(backend->name, STR("router")) ? 300 : SIZE_MAX;
}

static inline enum command_model fixture_model(void *ctx, const struct backend *backend,
                                               struct str model)
{
    const struct fixture *f = ctx;

    assert_true(backend->functional);
    assert_true(model.n > 0);
    return f->listed;
}

static inline bool fixture_url(void *ctx, struct str url, struct arena *arena, struct str *ret_why)
{
    (void)ctx;
    if (str_find(url, STR("allowed.example"), 0) != SIZE_MAX)
        return true;
    *ret_why = str_print(arena, "%.*s is not in allowed_url_hosts", STR_ARG(url));
    return false;
}

static inline bool fixture_directory(void *ctx, struct str path, struct str *ret_why)
{
    (void)ctx;
    if (str_eq(path, STR("/work")) || str_eq(path, STR("/my work")))
        return true;
    *ret_why = str_eq(path, STR("/root")) ? STR("not readable") : STR("not found");
    return false;
}

/* As a new session of a key that is an administrator's. */
static inline void fixture_restart(struct fixture *f)
{
    settings_init(&f->before);
    settings_init(&f->draft);
    f->changed = 0;
    f->new_server_backend = STR_NULL;
    f->listed = COMMAND_MODEL_UNKNOWN;
    f->env.is_admin = true;
    f->env.preferred = backend_find(f->set, STR("openai"));
    buf_reset(&f->reply);
}

static inline int setup(void **state)
{
    static struct fixture f;
    static char program[] = "llm-proxy";
    static char *argv[] = {program, NULL};
    const struct config_source source = {.argc = 1, .argv = argv, .directory = "/nonexistent"};
    struct config_result result;
    struct error e;

    memset(&f, 0, sizeof(f));
    arena_init(&f.arena, ARENA_MAX, 4096, NULL);
    f.key = (struct backend_key){.name = STR("k"), .key = secret_new(STR("very-secret-1"))};
    const struct str url = STR("http://127.0.0.1:9");
    f.entries[0] = (struct backend_config){.name = STR("openai"), .keys = &f.key, .keys_n = 1};
    f.entries[1] = (struct backend_config){.name = STR("router"), .slash_names = 1};
    f.entries[2] = (struct backend_config){.name = STR("tags"), .colon_names = 1};
    f.entries[3] = (struct backend_config){.name = STR("demo")};
    f.entries[4] = (struct backend_config){.name = STR("gemini")};
    for (size_t i = 1; i < 3; i++) {
        f.entries[i].api_url = url;
        f.entries[i].protocol = STR("openai-chat");
    }
    config_read(&source, &f.arena, &result);
    f.config = result.config;
    f.own = f.config->backends;
    f.own_n = f.config->backends_n;
    f.config->backends = f.entries;
    f.config->backends_n = COUNT_OF(f.entries);
    if (backend_set_new(f.config, &f.set, &e) != OK)
        return -1;
    buf_init(&f.reply, REPLY_MAX);
    f.env = (struct command_env){.config = f.config,
                                 .backends = f.set,
                                 .session_id = STR("s-1"),
                                 .before = &f.before,
                                 .draft = &f.draft,
                                 .changed = &f.changed,
                                 .stats = &f.stats,
                                 .new_server_backend = &f.new_server_backend,
                                 .version = "9.8.7",
                                 .models = fixture_models,
                                 .model = fixture_model,
                                 .url = fixture_url,
                                 .is_directory = fixture_directory,
                                 .ctx = &f,
                                 .arena = &f.arena,
                                 .reply = &f.reply};
    fixture_restart(&f);
    *state = &f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    backend_set_free(&f->set);
    f->config->backends = f->own;
    f->config->backends_n = f->own_n;
    config_unref(&f->config);
    secret_free(&f->key.key);
    buf_fini(&f->reply);
    arena_fini(&f->arena);
    return 0;
}

/* "set(a=b)", "pwd": runs it on the draft; reply holds what it said, and only that. */
static inline bool run_text(struct fixture *f, struct str text)
{
    size_t open = str_find_char(text, '(', 0);
    struct str args = STR_NULL;

    if (open != SIZE_MAX) {
        assert_true(str_ends(text, STR(")")));
        args = str_of(text.p + open + 1, text.n - open - 2);
    }
    const struct command *command = command_find(str_head(text, open));
    if (command == NULL)
        fail_msg("no command %.*s", STR_ARG(text));
    buf_reset(&f->reply);
    return command_run(&f->env, command, args);
}

static inline bool run(struct fixture *f, const char *text)
{
    return run_text(f, str_c(text));
}

static inline void assert_reply(struct fixture *f, const char *text, const char *expected)
{
    if (!str_eq(buf_str(&f->reply), str_c(expected)))
        fail_msg("%s: \"%.*s\" is not \"%s\"", text, STR_ARG(buf_str(&f->reply)), expected);
}

static inline void assert_begins(struct fixture *f, const char *text, const char *expected)
{
    if (str_find(buf_str(&f->reply), str_c(expected), 0) != 0)
        fail_msg("%s: \"%.*s\" does not begin with \"%s\"", text, STR_ARG(buf_str(&f->reply)),
                 expected);
}

static inline void assert_has(struct fixture *f, const char *part)
{
    if (str_find(buf_str(&f->reply), str_c(part), 0) == SIZE_MAX)
        fail_msg("no \"%s\" in: %.*s", part, STR_ARG(buf_str(&f->reply)));
}

static inline void assert_str(struct str s, const char *expected)
{
    if (expected == NULL ? !str_is_null(s) : !str_eq(s, str_c(expected)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(s), expected == NULL ? "(null)" : expected);
}
