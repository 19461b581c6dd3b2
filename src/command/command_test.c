/* SPDX-License-Identifier: MIT */
/* Catches: a command that is not found by its name, or found by another; arguments that are taken
 * although they mean nothing; a draft that a failed command has changed; a door that is opened
 * amid other things; a report that tells what is not so, or a secret. */
#include "command/command_test_priv.h"

#include "command/command_priv.h"
#include "command/knob.h"
#include "command/names.h"
#include "state/model_defaults.h"

static void find(void **state)
{
    static const struct {
        const char *typed;
        const char *name; /* NULL: none */
    } names[] = {
        {"help", "help"},
        {"HELP", "help"},
        {"Project-Dir", "project-dir"},
        {"project_dir", "project-dir"},
        {"one-off", "oneoff"},
        {"one_off", "oneoff"},
        {"oneoff", "oneoff"},
        {"interactive-mode", "interactive"},
        {"hel", NULL},
        {"helpp", NULL},
        {"", NULL},
        {"help ", NULL},
        {"oneoff|one-off", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        const struct command *command = command_find(str_c(names[i].typed));
        assert_str(command == NULL ? STR_NULL : str_c(command->name), names[i].name);
    }
}

static void nearest(void **state)
{
    static const struct {
        const char *typed;
        const char *name; /* NULL: nothing is near */
    } names[] = {
        {"sett", "set"},
        {"hepl", "help"},
        {"HELO", "help"},
        {"statsu", "stats"},
        {"stat", "status"},
        {"one-of", "oneoff"},
        {"unste", "unset"},
        {"inter", "interactive"},
        {"project_dri", "project-dir"},
        {"dir_", NULL},
        {"directory", "project-dir"},
        {"temp", "temperature"},
        {"xyzzy", NULL},
        {"q", NULL},
        {"", NULL},
        {"wd", "pwd"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_str(command_nearest(str_c(names[i].typed)), names[i].name);
        buf_reset(&f->reply);
        command_unknown(str_c(names[i].typed), &f->reply);
        struct str all = names[i].name == NULL
                             ? str_print(&f->arena, "Unknown command: %s", names[i].typed)
                             : str_print(&f->arena, "Unknown command: %s; did you mean %s?",
                                         names[i].typed, names[i].name);
        assert_reply(f, names[i].typed, str_z(&f->arena, all));
    }
    /* What is a key of set, by any of its names. */
    buf_reset(&f->reply);
    command_unknown(STR("reasoning_effort"), &f->reply);
    assert_reply(f, "a key",
                 "Unknown command: reasoning_effort; did you mean set(reasoning-effort=…)?");
    buf_reset(&f->reply);
    command_unknown(STR("loop"), &f->reply);
    assert_reply(f, "a key", "Unknown command: loop; did you mean set(loop-detection=…)?");
    /* A name of any length is answered in a few bytes. */
    char *p = arena_alloc(&f->arena, 10000);
    memset(p, 'x', 10000);
    buf_reset(&f->reply);
    command_unknown(str_of(p, 10000), &f->reply);
    assert_true(f->reply.n < 100);
    assert_true(str_ends(buf_str(&f->reply), STR("x...")));
}

/* Each of the table: names are what the grammar takes, examples and keys are known. */
static void table(void **state)
{
    struct fixture *f = *state;

    assert_true(command_count >= 14);
    for (size_t i = 0; i < command_count; i++) {
        const struct command *command = command_table[i];
        assert_ptr_equal(command_find(str_c(command->name)), command);
        assert_true(command->name[0] >= 'a' && command->name[0] <= 'z');
        assert_non_null(command->run);
        assert_true(str_starts(str_c(command->usage), str_c(command->name)));
        assert_true(str_ends(str_c(command->help), STR(".")));
        assert_true((command->args_n == 0) == (command->args == NULL));
        for (size_t k = 0; k < command_count; k++) {
            assert_false(k != i && names_has(command->aliases, str_c(command_table[k]->name)));
        }
        struct str examples = str_c(command->examples);
        struct str one;
        while (str_cut(&examples, '\n', &one)) {
            assert_ptr_equal(command_find(str_head(one, str_find_char(one, '(', 0))), command);
            fixture_restart(f);
            struct str safe = one;
            /* Folders of the examples are not here. */
            if (str_find(one, STR("/srv"), 0) != SIZE_MAX)
                safe = STR("project-dir(/work)");
            if (!run_text(f, safe))
                fail_msg("%.*s: %.*s", STR_ARG(one), STR_ARG(buf_str(&f->reply)));
        }
    }
    /* A short form takes what its key takes. */
    for (size_t i = 0; i < KNOB_COUNT; i++) {
        const struct command *command = command_find(str_c(knob_specs[i].key));
        if (command == NULL)
            continue;
        assert_int_equal(command->args_n, 1);
        assert_int_equal(command->args[0].kind, knob_specs[i].kind);
        assert_string_equal(command->args[0].min, knob_specs[i].min);
        assert_string_equal(command->args[0].max, knob_specs[i].max);
        assert_true(command->args[0].needed);
    }
}

static void prefixes(void **state)
{
    static const struct {
        const char *prefix;
        const char *why; /* NULL: fine */
    } cases[] = {
        {"!/", NULL},
        {"$/", NULL},
        {"%%:", NULL},
        {"$$$", NULL},
        {"1234567890", NULL},
        {"", "command prefix must be a non-empty string"},
        {"!", "command prefix must be at least 2 characters"},
        {" !/", "command prefix cannot contain whitespace"},
        {"a b", "command prefix cannot contain whitespace"},
        {"!\t", "command prefix cannot contain whitespace"},
        {"!!", "two character prefixes cannot repeat the same character"},
        {"12345678901", "command prefix must not exceed 10 characters"},
        {"!\x01", "command prefix must contain only printable characters"},
        {"!\x7f", "command prefix must contain only printable characters"},
        {"\xc3\xa4", "command prefix must contain only printable characters"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *why = NULL;
        assert_int_equal(command_prefix_ok(str_c(cases[i].prefix), &why), cases[i].why == NULL);
        if (cases[i].why != NULL)
            assert_string_equal(why, cases[i].why);
    }
    /* In force at once, in what is told. */
    fixture_restart(f);
    assert_true(run(f, "set(command-prefix=$/)"));
    assert_true(run(f, "hello"));
    assert_has(f, "Type $/help for list");
    assert_true(run(f, "help(set)"));
    assert_has(f, "Format: $/set(");
    assert_true(run(f, "help($/set)"));
    assert_false(run(f, "set"));
    assert_has(f, "as in $/set(");
}

static const struct {
    const char *text;
    const char *said;
} wrong[] = {
    {"set",
     "Invalid arguments: set needs arguments, as in !/set(model=openai:gpt-4o, temperature=0.2); "
     "'(' stands directly behind set, without a blank"},
    {"set()",
     "Invalid arguments: set needs arguments, as in !/set(model=openai:gpt-4o, temperature=0.2)"},
    {"unset", "Invalid arguments: unset needs arguments, as in !/unset(model); '(' stands directly "
              "behind unset, without a blank"},
    {"unset()", "Invalid arguments: unset needs arguments, as in !/unset(model)"},
    {"backend", "Invalid arguments: backend needs arguments, as in !/backend(openai); '(' stands "
                "directly behind backend, without a blank"},
    {"oneoff()", "Invalid arguments: oneoff needs arguments, as in !/oneoff(openai:gpt-4o)"},
    {"hello(x)", "Invalid arguments: hello takes none"},
    {"pwd(x=1)", "Invalid arguments: pwd takes none"},
    {"status(all)", "Invalid arguments: status takes none"},
    {"temperature(1, 2)", "Invalid arguments: temperature takes one value"},
    {"temperature(1, value=1)", "Invalid arguments: temperature takes one value"},
    {"model(nmae=x)", "Unknown parameter: nmae"},
    {"set(mode=x)", "Unknown parameter: mode; did you mean model?"},
    {"set(Modle=x)", "Unknown parameter: Modle; did you mean model?"},
    {"set(reasoning=x)", "Unknown parameter: reasoning; did you mean reasoning-effort?"},
    {"set(effort=high)", "Unknown parameter: effort; did you mean reasoning-effort?"},
    {"set(budget=1)", "Unknown parameter: budget; did you mean thinking-budget?"},
    {"set(PREFIX=$/)", "Unknown parameter: PREFIX; did you mean command-prefix?"},
    {"set(ttl=1)", "Unknown parameter: ttl; did you mean tool-loop-ttl?"},
    {"set(generation_config={})", "Unknown parameter: generation_config; did you mean "
                                  "gemini-generation-config?"},
    {"set(onfig={})", "Unknown parameter: onfig"},
    {"set(oneoff=openai:x)", "Unknown parameter: oneoff"},
    {"set(xyzzy=1)", "Unknown parameter: xyzzy"},
    {"set(xyzzy)", "Unknown parameter: xyzzy"},
    {"set(project)", "Invalid arguments: project has no value; write project=…"},
    {"set(dir)", "Invalid arguments: project-dir has no value; write project-dir=…"},
    {"set(model=a, model=b)", "Invalid arguments: this is there twice: model, at character 10 of: "
                              "model=a, model=b"},
    {"set(dir=/work, project_dir=/work)", "Invalid arguments: project-dir is there twice"},
    {"unset(model, model)", "Invalid arguments: model is there twice"},
    {"unset(model=x)", "Invalid arguments: model takes no value here"},
    {"unset(modle)", "Unknown parameter: modle; did you mean model?"},
    {"unset(foo)", "Unknown parameter: foo"},
    {"unset(temperature, foo)", "Unknown parameter: foo"},
    {"help(hepl)", "Unknown command: hepl; did you mean help?"},
    {"help(xyzzy)", "Unknown command: xyzzy"},
    {"help(route-list)", "Unknown command: route-list"},
};

static void refused(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        fixture_restart(f);
        f->draft.temperature = STR("0.5");
        assert_false(run(f, wrong[i].text));
        assert_reply(f, wrong[i].text, wrong[i].said);
        assert_int_equal(f->changed, 0);
        assert_str(f->draft.temperature, "0.5");
    }
}

/* What stands in the reply already (of the commands before) stays. */
static void reply_grows(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    (void)buf_add(&f->reply, STR("before\n"));
    assert_true(command_run(&f->env, command_find(STR("set")), STR("project=p")));
    (void)buf_add(&f->reply, STR("\n"));
    assert_false(command_run(&f->env, command_find(STR("set")), STR("project=q, temperature=9")));
    assert_reply(f, "all", "before\nProject changed to p\nTemperature must be between 0.0 and 2.0");
    assert_str(f->draft.project, "p");
}

static void alone(void **state)
{
    static const struct {
        const char *text;
        bool alone;
    } cases[] = {
        {"set(openai-url=https://x)", true},
        {"set(openai_url=\"\")", true},
        {"unset(openai-url)", true},
        {"set(project=p, openai-url=x)", true},
        {"set(redact-api-keys-in-prompts=true)", true},
        {"set(redact_api_keys_in_prompts=false)", true},
        {"unset(redact-api-keys-in-prompts)", true},
        {"set(default-backend=x)", true},
        {"unset(project, default-backend)", true},
        {"set(loop-detection=false)", true},
        {"set(loop_detection_enabled=OFF)", true},
        {"set(loop=none)", true},
        {"set(loop-detection=true)", false},
        {"set(loop-detection)", false},
        {"set(loop-detection=perhaps)", false},
        {"unset(loop-detection)", true},
        {"set(tool-loop-detection=0)", true},
        {"set(tool-loop=1)", false},
        {"unset(tool_loop_detection)", true},
        {"set(tool-loop-mode=warn)", false},
        {"set(project=p, temperature=1)", false},
        {"set(project=openai-url)", false},
        {"unset(model, temperature)", false},
        {"set(nonsense=1)", false},
        {"set()", false},
        {"help(set)", false},
        {"model(openai-url)", false},
        {"status()", false},
        {"interactive(false)", false},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str text = str_c(cases[i].text);
        size_t open = str_find_char(text, '(', 0);
        struct args args;
        struct error e;
        assert_int_equal(args_read(str_of(text.p + open + 1, text.n - open - 2), &f->arena, &args,
                                   &e),
                         OK);
        if (command_is_alone(command_find(str_head(text, open)), &args) != cases[i].alone)
            fail_msg("%s", cases[i].text);
    }
}

/* --- what is told --- */

static void hello(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    assert_true(run(f, "hello"));
    assert_reply(f, "hello",
                 "Hello, this is llm-proxy 9.8.7\nSession id: s-1\nFunctional backends: demo, "
                 "openai (K:1), router (M:300), tags\nType !/help for list of available commands");
    f->env.models = NULL;
    assert_true(run(f, "hello"));
    assert_has(f, "openai (K:1), router, tags\n");
    f->env.models = fixture_models;
}

static void help(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    assert_true(run(f, "help"));
    assert_begins(f, "help", "Available commands:\n- backend - ");
    struct str rest = buf_str(&f->reply);
    struct str line;
    struct str before = STR_NULL;
    size_t n = 0;
    (void)str_cut(&rest, '\n', &line);
    while (str_cut(&rest, '\n', &line)) {
        struct str name = str_head(str_from(line, 2), str_find(line, STR(" - "), 2) - 2);
        assert_true(str_starts(line, STR("- ")));
        assert_non_null(command_find(name));
        assert_true(command_order(before, name) < 0);
        before = name;
        n++;
    }
    assert_int_equal(n, command_count);

    assert_true(run(f, "help(temperature)"));
    assert_reply(f, "one",
                 "temperature - Change the temperature of this session.\n"
                 "Format: !/temperature(T)\n"
                 "Examples: !/temperature(0.7), !/temperature(value=0.7)\n"
                 "Value: a number from 0 to 2");
    assert_true(run(f, "help(name=SET)"));
    assert_begins(f, "set",
                  "set - Change settings of this session.\nFormat: !/set(key=value, …)\n");
    assert_has(f, "\n- thinking-budget (a whole number from 128 to 32768) - ");
    assert_has(f, "\n- tool-loop-mode (block, warn or chance_then_block) - ");
    assert_true(run(f, "help(unset)"));
    assert_has(f, "\n- oneoff - ");
    for (size_t i = 0; i < command_count; i++)
        assert_true(run_text(f, str_print(&f->arena, "help(%s)", command_table[i]->name)));
}

static void pwd(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    assert_true(run(f, "pwd"));
    assert_reply(f, "pwd", "Project directory not set");
    assert_true(run(f, "project-dir(/work)"));
    assert_true(run(f, "pwd"));
    assert_reply(f, "pwd", "/work");
}

static void status(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    assert_true(run(f, "status"));
    assert_reply(f, "fresh",
                 "session: s-1\nbackend: openai (default-backend)\n"
                 "model: as each request says\n"
                 "default-backend: openai (the first functional one)\n"
                 "project: not set\nproject-dir: not set\ninteractive: true (default)\n"
                 "temperature: as each request says\nreasoning-effort: as each request says\n"
                 "thinking-budget: as each request says\ncommand-prefix: !/ (default)");
    assert_true(run(f, "set(model=router:m, temperature=0.3, interactive=off, loop=off, "
                       "tool-loop-ttl=9, command-prefix=$/)"));
    assert_true(run(f, "oneoff(openai:x)"));
    f->env.server_backend = STR("tags");
    f->env.preferred = backend_find(f->set, STR("tags"));
    assert_true(run(f, "status"));
    assert_has(f, "\nbackend: router (session)\nmodel: m (session)\n"
                  "default-backend: tags (set for all clients)\n");
    assert_has(f, "\ninteractive: false (session)\ntemperature: 0.3 (session)\n");
    assert_has(f, "\nloop-detection: false (session)\ntool-loop-ttl: 9 (session)\n");
    assert_has(f, "\ncommand-prefix: $/ (session)\noneoff: openai:x (session)");
    f->env.server_backend = STR_NULL;
    /* What a reload made of a session's backend. */
    f->draft.backend = STR("gemini");
    assert_true(run(f, "status"));
    assert_has(f, "\nbackend: gemini (session; not functional any more)\n");
    f->draft.backend = STR("gone");
    assert_true(run(f, "status"));
    assert_has(f, "\nbackend: gone (session; not configured any more)\n");
    assert_true(str_find(buf_str(&f->reply), STR("secret"), 0) == SIZE_MAX);
}

/* What model_defaults say is told of the session's own model, until the session says more. */
static void status_defaults(void **state)
{
    struct fixture *f = *state;
    struct model_default defaults[] = {
        {.key = STR_INIT("router:m"),
         .steer = {.temperature = STR_INIT("0.4"), .reasoning_budget = STR_INIT("900")}},
        {.key = STR_INIT("m"), .steer = {.reasoning_effort = STR_INIT("low")}},
    };

    fixture_restart(f);
    f->config->model_defaults = defaults;
    f->config->model_defaults_n = COUNT_OF(defaults);
    assert_true(run(f, "status"));
    assert_has(f, "\ntemperature: as each request says\n");
    assert_true(run(f, "model(router:m)"));
    assert_true(run(f, "status"));
    assert_has(f, "\ntemperature: 0.4 (model_defaults)\nreasoning-effort: as each request says\n"
                  "thinking-budget: 900 (model_defaults)\n");
    assert_true(run(f, "temperature(1)"));
    assert_true(run(f, "backend(openai)"));
    assert_true(run(f, "status"));
    assert_has(f, "\ntemperature: 1 (session)\nreasoning-effort: low (model_defaults)\n"
                  "thinking-budget: as each request says\n");
    f->config->model_defaults = NULL;
    f->config->model_defaults_n = 0;
}

static void stats(void **state)
{
    struct fixture *f = *state;

    fixture_restart(f);
    f->stats = (struct session_stats){.requests = 3,
                                      .commands = 2,
                                      .failures = 1,
                                      .tokens_in = 1000,
                                      .tokens_out = 200,
                                      .tokens_cached = 30,
                                      .created_ms = 1700000000000};
    assert_true(run(f, "stats"));
    assert_reply(f, "stats",
                 "requests: 3\nfailures: 1\ncommands: 2\ntokens in: 1000 (30 from a cache)\n"
                 "tokens out: 200\nsince: 2023-11-14 22:13:20 UTC");
    f->env.stats = NULL;
    assert_true(run(f, "stats"));
    assert_has(f, "requests: 0\n");
    assert_true(str_ends(buf_str(&f->reply), STR("tokens out: 0")));
    f->env.stats = &f->stats;
}

/* --- anything at all --- */

static const char *const pieces[] = {
    /* clang-format off */
    "model", "project", "temperature", "=", ",", ", ", "\"", "'", "openai:x", "router/y",
    "0.5", "9", "true", "off", "loop", "set", "{\"a\":1}", "{", "}", "\\", "oneoff", "gone:z",
    "tool-loop", "-1", "\xff", "\xc3\xa4", "backend", "tags", "_", "interactive",
    "command-prefix", "$/", "openai-url", "https://allowed.example",
    /* clang-format on */
};

/* Whatever is typed: it is answered, and what fails has changed nothing. */
static void random_arguments(void **state)
{
    struct fixture *f = *state;
    uint32_t seed = 1;
    size_t done = 0;

    for (int i = 0; i < 20000; i++) {
        char text[256];
        size_t n = 0;
        size_t wanted = 1 + (size_t)(i % 8);
        for (size_t k = 0; k < wanted; k++) {
            seed = seed * 1664525u + 1013904223u;
            struct str piece = str_c(pieces[(seed >> 16) % COUNT_OF(pieces)]);
            if (n + piece.n > sizeof(text))
                break;
            memcpy(text + n, piece.p, piece.n);
            n += piece.n;
        }
        const struct command *command = command_table[(size_t)i % command_count];
        if (i % 64 == 0) {
            fixture_restart(f);
            arena_rewind(&f->arena);
        }
        struct settings before = f->draft;
        uint32_t changed = f->changed;
        buf_reset(&f->reply);
        bool ok = command_run(&f->env, command, str_of(text, n));
        assert_true(f->reply.n > 0);
        done += ok ? 1 : 0;
        if (!ok) {
            assert_true(settings_equal(&before, &f->draft));
            assert_int_equal(changed, f->changed);
        }
    }
    assert_true(done > 100);
    fixture_restart(f);
}

/* An arena at its end: the command fails, and says so. */
static void no_memory(void **state)
{
    struct fixture *f = *state;
    struct arena small;
    size_t refused_n = 0;

    for (size_t cap = 512; cap <= 8192; cap += 512) {
        fixture_restart(f);
        arena_init(&small, cap, 512, NULL);
        f->env.arena = &small;
        struct settings before = f->draft;
        char text[2048];
        memset(text, 'a', sizeof(text));
        memcpy(text, "dir=/", 5);
        for (size_t i = 0; i < 6; i++) {
            buf_reset(&f->reply);
            if (!command_run(&f->env, command_find(STR("set")),
                             i < 5 ? str_of(text, 900) : STR("project=p"))) {
                assert_true(settings_equal(&before, &f->draft));
                assert_true(f->reply.n > 0);
                refused_n++;
            }
        }
        arena_fini(&small);
        f->draft = before;
    }
    f->env.arena = &f->arena;
    assert_true(refused_n > 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find),
        cmocka_unit_test(nearest),
        cmocka_unit_test(table),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(refused),
        cmocka_unit_test(reply_grows),
        cmocka_unit_test(alone),
        cmocka_unit_test(hello),
        cmocka_unit_test(help),
        cmocka_unit_test(pwd),
        cmocka_unit_test(status),
        cmocka_unit_test(stats),
        cmocka_unit_test(status_defaults),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(random_arguments),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
