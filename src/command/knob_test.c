/* SPDX-License-Identifier: MIT */
/* Catches: a key, an alias, a spelling or a bound that is taken wrongly; a wrong answer; a setting
 * that is changed by a command that failed. */
#include "command/command_test_priv.h"

#include "command/knob.h"

/* Of a fresh session: what set says, and what is kept. */
static const struct {
    const char *text;
    enum setting setting;
    const char *kept; /* NULL: it fails */
    const char *said; /* of a failure: how it begins */
} cases[] = {
    {"set(backend=router)", SETTING_backend, "router", "Backend changed to router"},
    {"set(BACKEND=router)", SETTING_backend, "router", "Backend changed to router"},
    {"set(backend=Router)", SETTING_backend, NULL, "Backend Router not supported (known: openai, "},
    {"set(backend=opena)", SETTING_backend, NULL, "Backend opena not supported (known: openai, "},
    {"set(backend=gemini)", SETTING_backend, NULL,
     "Backend gemini not functional: it has no key (set GEMINI_API_KEY)"},
    {"set(backend=\"\")", SETTING_backend, NULL, "Backend name must be specified"},
    {"set(model=gpt-4o)", SETTING_model, "gpt-4o", "Model changed to gpt-4o"},
    {"set(model_name=gpt-4o)", SETTING_model, "gpt-4o", "Model changed to gpt-4o"},
    {"set(model=openai:ft:gpt:x)", SETTING_model, "ft:gpt:x",
     "Backend changed to openai\nModel changed to ft:gpt:x"},
    {"set(model=router/meta/llama)", SETTING_model, "meta/llama",
     "Backend changed to router\nModel changed to meta/llama"},
    {"set(model=meta/llama)", SETTING_model, "meta/llama", "Model changed to meta/llama"},
    {"set(model=demo:)", SETTING_model, "assistant",
     "Backend changed to demo\nModel changed to assistant"},
    {"set(model=openai:)", SETTING_model, NULL, "Invalid request: model: no name after"},
    {"set(model=nowhere:x)", SETTING_model, NULL, "Unknown backend: nowhere (known: openai,"},
    {"set(model=gemini:x)", SETTING_model, NULL,
     "No functional backends available: gemini is not functional: it has no key"},
    {"set(model=\"\")", SETTING_model, NULL, "Model name must be specified"},
    {"set(project=p)", SETTING_project, "p", "Project changed to p"},
    {"set(project-name=p)", SETTING_project, "p", "Project changed to p"},
    {"set(project_name=\"my project\")", SETTING_project, "my project",
     "Project changed to my project"},
    {"set(project=\"\")", SETTING_project, NULL, "Project name must be a non-empty string"},
    {"set(project=\"  \")", SETTING_project, NULL, "Project name must be a non-empty string"},
    {"set(project-dir=/work)", SETTING_project_dir, "/work", "Project directory set to /work"},
    {"set(dir=/work)", SETTING_project_dir, "/work", "Project directory set to /work"},
    {"set(project_directory=/work)", SETTING_project_dir, "/work",
     "Project directory set to /work"},
    {"set(project-dir=/none)", SETTING_project_dir, NULL, "Directory '/none' not found."},
    {"set(project-dir=/root)", SETTING_project_dir, NULL, "Directory '/root' not readable."},
    {"set(project-dir=\"\")", SETTING_project_dir, NULL,
     "Project directory must be a non-empty string"},
    {"set(interactive)", SETTING_interactive, "true", "Interactive mode enabled"},
    {"set(interactive-mode=OFF)", SETTING_interactive, "false", "Interactive mode disabled"},
    {"set(interactive_mode_enabled=0)", SETTING_interactive, "false", "Interactive mode disabled"},
    {"set(interactive=maybe)", SETTING_interactive, NULL,
     "Invalid interactive mode value: maybe. Use ON/OFF, TRUE/FALSE, etc."},
    {"set(interactive=\"\")", SETTING_interactive, NULL, "Invalid interactive mode value: . Use"},
    {"set(temperature=0.7)", SETTING_temperature, "0.7", "Temperature set to 0.7"},
    {"set(temperature=0)", SETTING_temperature, "0", "Temperature set to 0"},
    {"set(temperature=2)", SETTING_temperature, "2", "Temperature set to 2"},
    {"set(temperature=2.0)", SETTING_temperature, "2.0", "Temperature set to 2.0"},
    {"set(temperature=2.01)", SETTING_temperature, NULL, "Temperature must be between 0.0 and 2.0"},
    {"set(temperature=-0.1)", SETTING_temperature, NULL, "Temperature must be between 0.0 and 2.0"},
    {"set(temperature=-0)", SETTING_temperature, NULL, "Temperature must be between"},
    {"set(temperature=.5)", SETTING_temperature, NULL, "Invalid temperature value: .5"},
    {"set(temperature=1.)", SETTING_temperature, NULL, "Invalid temperature value: 1."},
    {"set(temperature=01)", SETTING_temperature, NULL, "Invalid temperature value: 01"},
    {"set(temperature=+1)", SETTING_temperature, NULL, "Invalid temperature value: +1"},
    {"set(temperature=1e0)", SETTING_temperature, NULL, "Invalid temperature value: 1e0"},
    {"set(temperature=warm)", SETTING_temperature, NULL, "Invalid temperature value: warm"},
    {"set(temperature=nan)", SETTING_temperature, NULL, "Invalid temperature value: nan"},
    {"set(temperature=\"\")", SETTING_temperature, NULL, "Invalid temperature value: "},
    {"set(reasoning-effort=minimal)", SETTING_reasoning_effort, "minimal",
     "Reasoning effort set to minimal"},
    {"set(reasoning_effort=HIGH)", SETTING_reasoning_effort, "high",
     "Reasoning effort set to high"},
    {"set(reasoning-effort=maximum)", SETTING_reasoning_effort, "maximum",
     "Reasoning effort set to maximum"},
    {"set(reasoning-effort=none)", SETTING_reasoning_effort, NULL,
     "Invalid reasoning effort: none. Use minimal, low, medium, high, or maximum."},
    {"set(reasoning-effort=lo)", SETTING_reasoning_effort, NULL, "Invalid reasoning effort: lo."},
    {"set(thinking-budget=128)", SETTING_thinking_budget, "128", "Thinking budget set to 128"},
    {"set(thinking_budget=32768)", SETTING_thinking_budget, "32768",
     "Thinking budget set to 32768"},
    {"set(thinking-budget=127)", SETTING_thinking_budget, NULL,
     "thinking-budget must be between 128 and 32768, got: 127"},
    {"set(thinking-budget=32769)", SETTING_thinking_budget, NULL,
     "thinking-budget must be between 128 and 32768, got: 32769"},
    {"set(thinking-budget=-1)", SETTING_thinking_budget, NULL,
     "thinking-budget must be between 128 and 32768, got: -1"},
    {"set(thinking-budget=99999999999999999999)", SETTING_thinking_budget, NULL,
     "thinking-budget must be between 128 and 32768, got: 99999999999999999999"},
    {"set(thinking-budget=1k)", SETTING_thinking_budget, NULL,
     "thinking-budget must be a valid integer, got: 1k"},
    {"set(thinking-budget=512.0)", SETTING_thinking_budget, NULL,
     "thinking-budget must be a valid integer, got: 512.0"},
    {"set(thinking-budget=-)", SETTING_thinking_budget, NULL,
     "thinking-budget must be a valid integer, got: -"},
    {"set(gemini-generation-config={\"topK\": 2, \"a\": [1, {\"b\": 1.50}]})",
     SETTING_generation_config, "{\"topK\":2,\"a\":[1,{\"b\":1.50}]}",
     "Gemini generation config set to {\"topK\":2,\"a\":[1,{\"b\":1.50}]}"},
    {"set(gemini_generation_config={})", SETTING_generation_config, "{}",
     "Gemini generation config set to {}"},
    {"set(gemini-generation-config=[1])", SETTING_generation_config, NULL,
     "Invalid Gemini generation config: it must be a JSON object"},
    {"set(gemini-generation-config=x)", SETTING_generation_config, NULL,
     "Invalid Gemini generation config: it must be a JSON object"},
    {"set(openai-url=https://allowed.example/v1)", SETTING_openai_url, "https://allowed.example/v1",
     "OpenAI URL set to https://allowed.example/v1"},
    {"set(openai_url=http://other.example)", SETTING_openai_url, NULL,
     "OpenAI URL not allowed: http://other.example is not in allowed_url_hosts"},
    {"set(openai-url=allowed.example)", SETTING_openai_url, NULL,
     "OpenAI URL must start with http:// or https://"},
    {"set(openai-url=https://u:p@allowed.example)", SETTING_openai_url, NULL,
     "Invalid OpenAI URL: it must not be "},
    {"set(loop-detection=false)", SETTING_loop_detection, "false", "Loop detection disabled"},
    {"set(loop_detection_enabled=no)", SETTING_loop_detection, "false", "Loop detection disabled"},
    {"set(loop=on)", SETTING_loop_detection, "true", "Loop detection enabled"},
    {"set(loop-detection=x)", SETTING_loop_detection, NULL,
     "Invalid boolean for loop-detection: x"},
    {"set(tool-loop-detection=none)", SETTING_tool_loop_detection, "false",
     "Tool call loop detection disabled"},
    {"set(tool_loop_detection_enabled=true)", SETTING_tool_loop_detection, "true",
     "Tool call loop detection enabled"},
    {"set(tool_loop=1)", SETTING_tool_loop_detection, "true", "Tool call loop detection enabled"},
    {"set(tool-loop-max-repeats=2)", SETTING_tool_loop_max_repeats, "2",
     "Tool call loop max repeats set to 2"},
    {"set(tool_loop_repeats=3)", SETTING_tool_loop_max_repeats, "3",
     "Tool call loop max repeats set to 3"},
    {"set(tool-loop-max-repeats=1)", SETTING_tool_loop_max_repeats, NULL,
     "Max repeats must be at least 2"},
    {"set(tool-loop-max-repeats=1000001)", SETTING_tool_loop_max_repeats, NULL,
     "Max repeats must be at least 2, and at most 1000000"},
    {"set(tool-loop-max-repeats=x)", SETTING_tool_loop_max_repeats, NULL,
     "Invalid max repeats value: x. Must be an integer."},
    {"set(tool-loop-ttl=1)", SETTING_tool_loop_ttl, "1", "Tool call loop TTL set to 1 seconds"},
    {"set(tool_loop_ttl_seconds=60)", SETTING_tool_loop_ttl, "60",
     "Tool call loop TTL set to 60 seconds"},
    {"set(tool-loop-ttl=0)", SETTING_tool_loop_ttl, NULL, "TTL must be at least 1 second"},
    {"set(tool-loop-ttl=1m)", SETTING_tool_loop_ttl, NULL, "Invalid TTL value: 1m."},
    {"set(tool-loop-mode=block)", SETTING_tool_loop_mode, "block",
     "Tool call loop mode set to block"},
    {"set(tool_loop_mode=Break)", SETTING_tool_loop_mode, "block",
     "Tool call loop mode set to block"},
    {"set(tool-loop-mode=warn)", SETTING_tool_loop_mode, "warn", "Tool call loop mode set to warn"},
    {"set(tool-loop-mode=chance)", SETTING_tool_loop_mode, "chance_then_block",
     "Tool call loop mode set to chance_then_block"},
    {"set(tool-loop-mode=chance-then-break)", SETTING_tool_loop_mode, "chance_then_block",
     "Tool call loop mode set to chance_then_block"},
    {"set(tool-loop-mode=chance_then_block)", SETTING_tool_loop_mode, "chance_then_block",
     "Tool call loop mode set to chance_then_block"},
    {"set(tool-loop-mode=stop)", SETTING_tool_loop_mode, NULL,
     "Invalid loop mode: stop. Use block, warn, or chance_then_block."},
    {"set(redact-api-keys-in-prompts=false)", SETTING_redact_api_keys, "false",
     "API key redaction in prompts disabled"},
    {"set(redact_api_keys_in_prompts_enabled)", SETTING_redact_api_keys, "true",
     "API key redaction in prompts enabled"},
    {"set(redact-api-keys-in-prompts=2)", SETTING_redact_api_keys, NULL,
     "Invalid boolean for redact-api-keys-in-prompts: 2"},
    {"set(command-prefix=$/)", SETTING_command_prefix, "$/", "Command prefix changed to $/"},
    {"set(command_prefix=1234567890)", SETTING_command_prefix, "1234567890",
     "Command prefix changed to 1234567890"},
    {"set(command-prefix=\" !/\")", SETTING_command_prefix, NULL,
     "Invalid command prefix: command prefix cannot contain whitespace"},
    {"set(command-prefix=12345678901)", SETTING_command_prefix, NULL,
     "Invalid command prefix: command prefix must not exceed 10 characters"},
    {"set(command-prefix=\"!\x07\")", SETTING_command_prefix, NULL,
     "Invalid command prefix: command prefix must contain only printable characters"},
    {"set(command-prefix=$)", SETTING_command_prefix, NULL,
     "Invalid command prefix: command prefix must be at least 2 characters"},
    {"set(command-prefix=\"\")", SETTING_command_prefix, NULL,
     "Invalid command prefix: command prefix must be a non-empty string"},
    {"backend(router)", SETTING_backend, "router", "Backend changed to router"},
    {"backend(name=router)", SETTING_backend, "router", "Backend changed to router"},
    {"backend(value=nowhere)", SETTING_backend, NULL, "Backend nowhere not supported"},
    {"model(gpt-4o)", SETTING_model, "gpt-4o", "Model changed to gpt-4o"},
    {"model(router:gpt-4o)", SETTING_model, "gpt-4o",
     "Backend changed to router; Model changed to gpt-4o"},
    {"model(name=\"\")", SETTING_model, NULL, "Model name must be specified"},
    {"temperature(value=0.3)", SETTING_temperature, "0.3", "Temperature set to 0.3"},
    {"temperature(3)", SETTING_temperature, NULL, "Temperature must be between 0.0 and 2.0"},
    {"project(mine)", SETTING_project, "mine", "Project changed to mine"},
    {"project(name=mine)", SETTING_project, "mine", "Project changed to mine"},
    {"project-dir(/work)", SETTING_project_dir, "/work", "Project directory set to /work"},
    {"project_dir(\"/my work\")", SETTING_project_dir, "/my work",
     "Project directory set to /my work"},
    {"interactive(true)", SETTING_interactive, "true", "Interactive mode enabled"},
    {"interactive-mode(enabled=off)", SETTING_interactive, "false", "Interactive mode disabled"},
    {"interactive(2)", SETTING_interactive, NULL, "Invalid interactive mode value: 2."},
    {"oneoff(router:m)", SETTING_oneoff, "router:m", "One-off route set to router/m."},
    {"one-off(router/m)", SETTING_oneoff, "router:m", "One-off route set to router/m."},
    {"one_off(element=openai:a/b)", SETTING_oneoff, "openai:a/b",
     "One-off route set to openai/a/b."},
    {"oneoff(m)", SETTING_oneoff, NULL, "Invalid format. Use backend/model or backend:model."},
    {"oneoff(openai:)", SETTING_oneoff, NULL, "Backend and model cannot be empty."},
    {"oneoff(/m)", SETTING_oneoff, NULL, "Backend and model cannot be empty."},
    {"oneoff(\"\")", SETTING_oneoff, NULL, "Backend and model cannot be empty."},
    {"oneoff(nowhere:m)", SETTING_oneoff, NULL, "Unknown backend: nowhere"},
    {"oneoff(gemini:m)", SETTING_oneoff, NULL, "No functional backends available: gemini"},
};

static void values(void **state)
{
    struct fixture *f = *state;
    struct settings fresh;

    settings_init(&fresh);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fixture_restart(f);
        bool done = run(f, cases[i].text);
        if (done != (cases[i].kept != NULL))
            fail_msg("%s: \"%.*s\"", cases[i].text, STR_ARG(buf_str(&f->reply)));
        struct str kept = settings_value(&f->draft, cases[i].setting, &f->arena);
        assert_str(kept, cases[i].kept);
        if (done)
            assert_reply(f, cases[i].text, cases[i].said);
        else
            assert_begins(f, cases[i].text, cases[i].said);
        assert_int_equal((f->changed >> cases[i].setting & 1), done ? 1 : 0);
        if (!done) {
            assert_int_equal(f->changed, 0);
            assert_true(settings_equal(&f->draft, &fresh));
        }
    }
}

/* Every spelling of a boolean, in either case, for every switch, by each of its names. */
static void booleans(void **state)
{
    static const char *const words[] = {"true", "yes", "on", "1",        "enabled", "enable",
                                        "y",    "t",   NULL, "false",    "no",      "off",
                                        "0",    "n",   "f",  "disabled", "disable", "none"};
    struct fixture *f = *state;
    size_t n = 0;

    for (size_t i = 0; i < KNOB_SET_COUNT; i++) {
        if (knob_specs[i].kind != ARG_FLAG)
            continue;
        struct str names = str_print(&f->arena, "%s|%s", knob_specs[i].key, knob_specs[i].aliases);
        struct str name;
        while (str_cut(&names, '|', &name)) {
            bool on = true;
            for (size_t k = 0; k < COUNT_OF(words); k++) {
                if (words[k] == NULL) {
                    on = false;
                    continue;
                }
                struct str word = str_copy(&f->arena, str_c(words[k]));
                char *letters = str_z(&f->arena, word);
                if (k % 2 == 0 && letters[0] >= 'a')
                    letters[0] = (char)(letters[0] - 'a' + 'A');
                fixture_restart(f);
                assert_true(
                    run_text(f, str_print(&f->arena, "set(%.*s=%s)", STR_ARG(name), letters)));
                assert_str(settings_value(&f->draft, knob_table[i].setting, &f->arena),
                           on ? "true" : "false");
                assert_true(str_ends(buf_str(&f->reply), on ? STR("enabled") : STR("disabled")));
                n++;
            }
        }
    }
    assert_true(n > 17 * 8);
}

/* Each key is unset by each of its names, and says so, whether it was set or not. */
static void unset(void **state)
{
    struct fixture *f = *state;
    struct settings fresh;

    settings_init(&fresh);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        if (cases[i].kept == NULL)
            continue;
        for (size_t k = 0; k < KNOB_COUNT; k++) {
            if (knob_table[k].setting != cases[i].setting)
                continue;
            struct str names = str_print(&f->arena, "%s%s%s", knob_specs[k].key,
                                         knob_specs[k].aliases == NULL ? "" : "|",
                                         knob_specs[k].aliases == NULL ? ""
                                                                       : knob_specs[k].aliases);
            struct str name;
            while (str_cut(&names, '|', &name)) {
                fixture_restart(f);
                assert_true(run(f, cases[i].text));
                f->changed = 0;
                assert_true(run_text(f, str_print(&f->arena, "unset(%.*s)", STR_ARG(name))));
                assert_false(settings_is_set(&f->draft, cases[i].setting));
                assert_int_equal(f->changed, 1u << cases[i].setting);
            }
        }
    }
}

static void unset_says(void **state)
{
    static const struct {
        const char *text;
        const char *said;
    } said[] = {
        {"unset(backend)", "Backend reset to default"},
        {"unset(model)", "Model reset to default"},
        {"unset(project)", "Project reset to default"},
        {"unset(project-dir)", "project-dir unset"},
        {"unset(interactive)", "Interactive mode reset to default (enabled)"},
        {"unset(temperature)", "Temperature reset to default"},
        {"unset(reasoning_effort)", "reasoning effort unset"},
        {"unset(thinking-budget)", "thinking budget unset"},
        {"unset(gemini-generation-config)", "gemini generation config unset"},
        {"unset(openai_url)", "OpenAI URL unset"},
        {"unset(loop)", "loop detection unset"},
        {"unset(tool-loop)", "tool call loop detection unset"},
        {"unset(tool-loop-repeats)", "tool call loop max repeats unset"},
        {"unset(tool-loop-ttl)", "tool call loop TTL seconds unset"},
        {"unset(tool-loop-mode)", "tool call loop mode unset"},
        {"unset(redact-api-keys-in-prompts)", "API key redaction reset to default"},
        {"unset(command-prefix)", "Command prefix reset to default (!/)"},
        {"unset(one-off)", "One-off route unset"},
        {"unset(default-backend)", "Default backend reset to default"},
        {"unset(model, Temperature)", "Model reset to default\nTemperature reset to default"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(said); i++) {
        fixture_restart(f);
        assert_true(run(f, said[i].text));
        assert_reply(f, said[i].text, said[i].said);
    }
}

/* The first that is wrong makes all of it fail, wherever it stands, and only it is told. */
static void all_or_nothing(void **state)
{
    static const char *const good[] = {"project=p", "temperature=1", "model=router:m", "loop=off",
                                       "thinking-budget=200"};
    static const char *const bad[] = {"temperature=9", "backend=nowhere", "mode=x", "project",
                                      "command-prefix=$$"};
    struct fixture *f = *state;
    struct settings before;

    for (size_t b = 0; b < COUNT_OF(bad); b++) {
        for (size_t at = 0; at <= COUNT_OF(good); at++) {
            struct buf text;
            buf_init(&text, 4096);
            (void)buf_add(&text, STR("set("));
            for (size_t i = 0; i <= COUNT_OF(good); i++) {
                if (i > 0)
                    (void)buf_add(&text, STR(", "));
                (void)buf_add(&text, str_c(i == at ? bad[b] : good[i < at ? i : i - 1]));
            }
            (void)buf_add_char(&text, ')');
            fixture_restart(f);
            assert_true(run(f, "set(project=old, reasoning-effort=low)"));
            before = f->draft;
            assert_false(run_text(f, buf_str(&text)));
            assert_true(settings_equal(&before, &f->draft));
            assert_int_equal(f->changed, SETTING_BIT(project) | SETTING_BIT(reasoning_effort));
            assert_true(str_find(buf_str(&f->reply), STR("changed to"), 0) == SIZE_MAX);
            assert_true(str_find_char(buf_str(&f->reply), '\n', 0) == SIZE_MAX);
            buf_fini(&text);
        }
    }
}

/* Values too long, with control characters, or no text at all. */
static void bytes(void **state)
{
    struct fixture *f = *state;

    for (size_t n = 255; n <= 257; n++) {
        char *p = arena_alloc(&f->arena, n);
        memset(p, 'a', n);
        fixture_restart(f);
        bool done = run_text(f, str_print(&f->arena, "set(project=%.*s)", (int)n, p));
        assert_int_equal(done, n <= 256);
        if (!done)
            assert_reply(f, "long", "Invalid arguments: project is longer than 256 bytes");
    }
    assert_false(run_text(f, STR("set(project=\"a\x01b\")")));
    assert_reply(f, "break", "Invalid arguments: project is no text without control characters");
    assert_false(run_text(f, STR("set(project=\"a\x7f\")")));
    assert_false(run_text(f, STR("set(project=\"a\xff\")")));
    assert_true(run_text(f, STR("set(project=\"gr\xc3\xbc\xc3\x9f\")")));
    assert_str(f->draft.project, "gr\xc3\xbc\xc3\x9f");
    /* What is shown of a long wrong value is its beginning. */
    char *p = arena_alloc(&f->arena, 5000);
    memset(p, '7', 5000);
    assert_false(run_text(f, str_print(&f->arena, "set(thinking-budget=%.*s)", 5000, p)));
    assert_true(f->reply.n < 200);
    assert_true(str_ends(buf_str(&f->reply), STR("...")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),     cmocka_unit_test(booleans),       cmocka_unit_test(unset),
        cmocka_unit_test(unset_says), cmocka_unit_test(all_or_nothing), cmocka_unit_test(bytes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
