/* SPDX-License-Identifier: MIT */
#include "state/config_test_priv.h"

#include "state/model_alias.h"
#include "state/model_defaults.h"

static void assert_alias(struct fixture *f, const char *name, const char *target)
{
    struct str got = model_alias(f->result.config, str_c(name), &f->arena);

    if (!str_eq(got, str_c(target)))
        fail_msg("%s -> \"%.*s\", not \"%s\"", name, STR_ARG(got), target);
}

/* Exact before expressions, expressions in the order of the file, the whole name or nothing, and
 * once only. */
static void aliases(void **state)
{
    static const char yaml[] = "model_aliases:\n"
                               "  gpt4: openai:gpt-4o\n"
                               "  gpt4o: gpt4\n"
                               "  claude-best: anthropic:claude-opus-4-1\n"
                               "  \"^claude-(.*)$\": 'anthropic:claude-\\1'\n"
                               "  'claude-.*': 'never'\n"
                               "  '(a|b)+-(x)?(y)': '\\3\\2\\1\\\\\\0'\n"
                               "  'mini|maxi': size\n"
                               "  '[.]': dot\n"
                               "  'grow(.*)': '\\1\\1\\1'\n"
                               "  'nothing(.*)': '\\1'\n"
                               "  \"${LOCAL}\": \"${TARGET}\"\n";
    static const struct {
        const char *name;
        const char *target;
    } cases[] = {
        {"gpt4", "openai:gpt-4o"},
        {"gpt4o", "gpt4"}, /* no alias again */
        {"GPT4", "GPT4"},
        {"openai:gpt4", "openai:gpt4"},
        {"claude-best", "anthropic:claude-opus-4-1"},
        {"claude-3", "anthropic:claude-3"},
        {"claude-", "anthropic:claude-"},
        {"my-claude-3", "my-claude-3"},
        {"claude", "claude"},
        {"ab-xy", "yxb\\ab-xy"},
        {"ab-y", "yb\\ab-y"}, /* a group that took no part is nothing */
        {"ab-x", "ab-x"},
        {"mini", "size"},
        {"maxi", "size"},
        {"minimaxi", "minimaxi"},
        {"mini1", "mini1"},
        {".", "dot"},
        {"x", "x"},
        {"growab", "ababab"},
        {"nothing", "nothing"}, /* what would be empty is no name */
        {"", ""},
    };
    static char target[] = "TARGET=t";
    static char *environment[] = {target, NULL};
    struct fixture *f = *state;
    char name[MODEL_NAME_BYTES_MAX + 2];

    read_config(f, &(struct inputs){.yaml = yaml, .environment = environment});
    assert_int_equal(f->result.faults, 1); /* "${LOCAL}" is an expression, and counts are none */
    assert_has(f->result.report, "config.yaml:12:15: error: model_aliases.${LOCAL}: an expression "
                                 "has no counts");
    write_file(f, "config.yaml", NULL);
    static char good_yaml[sizeof(yaml)];
    memcpy(good_yaml, yaml, sizeof(yaml));
    *strstr(good_yaml, "  \"${LOCAL}") = '\0';
    (void)good(f, &(struct inputs){.yaml = good_yaml});
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_alias(f, cases[i].name, cases[i].target);
    assert_true(str_is_null(model_alias(f->result.config, STR_NULL, &f->arena)));

    /* As long as a name may be, and one more; and what would become longer. */
    memset(name, 'z', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memcpy(name, "claude-", 7);
    assert_alias(f, name, name);
    name[sizeof(name) - 2] = '\0';
    assert_alias(f, name, "never");
    memcpy(name, "grow", 4);
    assert_alias(f, name, name);
}

/* A NUL within a name ends nothing. */
static void alias_with_a_nul(void **state)
{
    struct fixture *f = *state;

    (void)good(f, &(struct inputs){.yaml = "model_aliases: {'^a$': b, x: y}\n"});
    struct str name = STR("a\0b");
    struct str got = model_alias(f->result.config, name, &f->arena);
    assert_true(str_eq(got, name));
    name = STR("x\0");
    got = model_alias(f->result.config, name, &f->arena);
    assert_true(str_eq(got, name));
}

static void aliases_as_a_list(void **state)
{
    static const char yaml[] = "model_aliases:\n"
                               "  - {pattern: 'gpt-(.*)', replacement: 'openai:gpt-\\1'}\n"
                               "  - pattern: local\n"
                               "    replacement: ollama:llama3\n";
    struct fixture *f = *state;
    struct str name;
    struct str target;

    (void)good(f, &(struct inputs){.yaml = yaml});
    assert_alias(f, "gpt-4o", "openai:gpt-4o");
    assert_alias(f, "local", "ollama:llama3");
    assert_false(model_alias_exact(f->result.config, 0, &name, &target));
    assert_true(model_alias_pattern(f->result.config, 1, &name, &target));
    struct str text = config_print(&f->source, f->result.config, &f->arena);
    assert_has(text, "  \"^local\": \"ollama:llama3\"\n");
    (void)good(f, &(struct inputs){.yaml = "model_aliases: []\n"});
    assert_alias(f, "local", "local");
    (void)good(f, &(struct inputs){.yaml = "model_aliases:\nmodel_defaults:\n"});
    assert_alias(f, "local", "local");
}

static const struct {
    const char *yaml;
    const char *report;
} fault_cases[] = {
    {"model_aliases: 3\n", "config.yaml:1:16: error: model_aliases: must be a map"},
    {"model_aliases:\n  a: [b]\n", "config.yaml:2:6: error: model_aliases.a: must be text"},
    {"model_aliases:\n  a:\n", "model_aliases.a: must be text"},
    {"model_aliases:\n  a: 'b c'\n", "model_aliases.a: the target is a model's name, without"},
    {"model_aliases:\n  a: ''\n", "model_aliases.a: the target is a model's name of 1 to 256"},
    {"model_aliases:\n  a: x\n  b: y\n  a: z\n", "config.yaml:4:3: error: model_aliases.a: dupl"},
    {"model_aliases:\n  '': x\n", "an alias has 1 to 256 bytes"},
    {"model_aliases:\n  a: ${NOT_SET_ANYWHERE}\n", "NOT_SET_ANYWHERE"},
    {"model_aliases:\n  '(a': b\n", "model_aliases.(a: not a POSIX extended regular expression"},
    {"model_aliases:\n  '[a': b\n", "not a POSIX extended regular expression"},
    {"model_aliases:\n  'a{3}': b\n", "has no counts"},
    {"model_aliases:\n  '(a)\\1': b\n", "\\1 stands in a target, not in an expression"},
    {"model_aliases:\n  '^a(.)': 'b\\2'\n",
     "config.yaml:2:12: error: model_aliases.^a(.): the target has \\2, the expression has 1"},
    {"model_aliases:\n  '^a': 'b\\n'\n", "behind a \\ of the target stands 0 to 9"},
    {"model_aliases:\n  '^a': 'b\\'\n", "behind a \\ of the target stands 0 to 9"},
    {"model_aliases: [a]\n", "must be a map, or a list of {pattern, replacement}"},
    {"model_aliases: [{pattern: a}]\n", "model_aliases: replacement is missing"},
    {"model_aliases: [{replacement: a}]\n", "model_aliases: pattern is missing"},
    {"model_aliases: [{pattern: a, replace: b, replacement: c}]\n",
     "model_aliases.replace: unknown key; the nearest valid key is replacement"},
    {"model_aliases: [{patern: a, pattern: b, replacement: c}]\n", "nearest valid key is pattern"},
    {"model_aliases: [{pattern: a, pattern: b, replacement: c}]\n", "duplicate key"},
    {"model_alias: {a: b}\n", "the nearest valid key is model_aliases"},

    {"model_defaults: 3\n", "config.yaml:1:17: error: model_defaults: must be a map"},
    {"model_defaults: [a]\n", "model_defaults: must be a map"},
    {"model_defaults: {a: 3}\n", "model_defaults.a: must be a map of parameters"},
    {"model_defaults:\n  a:\n    temprature: 1\n",
     "config.yaml:3:5: error: model_defaults.a.temprature: unknown key; the nearest valid key is "
     "temperature"},
    {"model_defaults: {a: {temperature: 2.1}}\n",
     "model_defaults.a.temperature: must be a number from 0 to 2, not \"2.1\""},
    {"model_defaults: {a: {temperature: .5}}\n", "must be a number from 0 to 2"},
    {"model_defaults: {a: {temperature: 1 2}}\n", "must be a number from 0 to 2"},
    {"model_defaults: {a: {temperature: '1'}}\n", "must be a number from 0 to 2"},
    {"model_defaults: {a: {temperature: -0.1}}\n", "must be a number from 0 to 2"},
    {"model_defaults: {a: {temperature: [1]}}\n", "must be a number from 0 to 2, not a list"},
    {"model_defaults: {a: {temperature: {b: 1}}}\n", "must be a number from 0 to 2, not a map"},
    {"model_defaults: {a: {top_p: 1.5}}\n", "must be a number from 0 to 1"},
    {"model_defaults: {a: {max_tokens: 0}}\n", "must be a whole number from 1 to 100000000"},
    {"model_defaults: {a: {max_tokens: 1.5}}\n", "must be a whole number"},
    {"model_defaults: {a: {reasoning_effort: enormous}}\n", "must be one of none, minimal, low"},
    {"model_defaults: {a: {thinking_budget: -1}}\n", "must be a whole number from 0 to 1000000"},
    {"model_defaults: {a: {gemini_generation_config: [1]}}\n", "must be a map, or JSON text"},
    {"model_defaults: {a: {gemini_generation_config: '[1]'}}\n", "must be a map, or JSON text"},
    {"model_defaults: {a: {gemini_generation_config: {b: 1, b: 2}}}\n", "duplicate key"},
    {"model_defaults: {a: {gemini_generation_config: {b: 1}, generation_config: {c: 1}}}\n",
     "model_defaults.a.generation_config: gemini_generation_config stands already"},
    {"model_defaults: {a: {temperature: 1, reasoning: {temperature: 1}}}\n",
     "model_defaults.a.reasoning.temperature: temperature stands already"},
    {"model_defaults: {a: {reasoning: {reasoning: {temperature: 1}}}}\n", "unknown key"},
    {"model_defaults: {a: {reasoning: high}}\n", "model_defaults.a.reasoning: must be a map"},
    {"model_defaults: {a: {top_p: 1}, a: {top_p: 1}}\n", "model_defaults.a: duplicate key"},
    {"model_defaults: {a: {loop_detection_enabled: perhaps}}\n", "must be true or false"},
    {"model_defaults: {a: {tool_loop_mode: x}}\n", "must be one of block, break, warn"},
    {"model_defaults: {a: {tool_loop_max_repeats: 1}}\n", "must be a whole number from 2"},
};

static void faults(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(fault_cases); i++) {
        read_config(f, &(struct inputs){.yaml = fault_cases[i].yaml});
        if (f->result.faults != 1 || !has(f->result.report, fault_cases[i].report))
            fail_msg("%s -> %zu faults:\n%.*s\nexpected: %s", fault_cases[i].yaml, f->result.faults,
                     STR_ARG(f->result.report), fault_cases[i].report);
    }
}

static void too_many(void **state)
{
    static char yaml[64 * 1024];
    struct fixture *f = *state;
    size_t n = (size_t)snprintf(yaml, sizeof(yaml), "model_aliases:\n");

    for (int i = 0; i <= MODEL_PATTERNS_MAX; i++)
        n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "  'a+%d': b\n", i);
    read_config(f, &(struct inputs){.yaml = yaml});
    assert_int_equal(f->result.faults, 1);
    assert_has(f->result.report, "more than 64 expressions");
    for (int i = 0; i <= MODEL_ALIASES_MAX; i++)
        n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "  a%d: b\n", i);
    read_config(f, &(struct inputs){.yaml = yaml});
    assert_int_equal(f->result.faults, 1);
    assert_has(f->result.report, "model_aliases: more than 1024");
    n = (size_t)snprintf(yaml, sizeof(yaml), "model_defaults:\n");
    for (int i = 0; i <= MODEL_DEFAULTS_MAX; i++)
        n += (size_t)snprintf(yaml + n, sizeof(yaml) - n, "  a%d: {top_p: 1}\n", i);
    read_config(f, &(struct inputs){.yaml = yaml});
    assert_has(f->result.report, "model_defaults: more than 1024");
}

/* Each parameter for itself: what steer says, then backend:model, then model. */
static void defaults(void **state)
{
    static const char yaml[] =
        "model_defaults:\n"
        "  gpt-4o: {temperature: 0.70, top_p: 1e-1, max_tokens: 4096}\n"
        "  openai:gpt-4o: {temperature: 1, reasoning_effort: maximum}\n"
        "  llama3:8b: {temperature: 0.1}\n"
        "  gemini-2.5-pro:\n"
        "    reasoning: {thinking_budget: 2048, reasoning_effort: low}\n"
        "    gemini_generation_config: {topK: 40, stopSequences: [END, '3'], on: true, x: ~,"
        " responseMimeType: text/plain, deep: {a: '1'}}\n"
        "  text: {generation_config: '{\"topK\": 1}'}\n"
        "  empty: {}\n"
        "  null:\n";
    struct fixture *f = *state;
    struct steer steer = {.temperature = STR_NULL};
    const struct config *config = good(f, &(struct inputs){.yaml = yaml});

    assert_int_equal(f->result.warnings, 0);
    model_defaults_for(config, STR("openai"), STR("gpt-4o"), &steer);
    assert_str(steer.temperature, "1");
    assert_str(steer.top_p, "1e-1");
    assert_str(steer.max_tokens, "4096");
    assert_str(steer.reasoning_effort, "max");
    assert_true(str_is_null(steer.reasoning_budget));

    steer = (struct steer){.temperature = STR("0.3")};
    model_defaults_for(config, STR("other"), STR("gpt-4o"), &steer);
    assert_str(steer.temperature, "0.3");
    assert_str(steer.top_p, "1e-1");
    assert_true(str_is_null(steer.reasoning_effort));

    steer = (struct steer){.temperature = STR_NULL};
    model_defaults_for(config, STR("other"), STR("gpt-4"), &steer);
    model_defaults_for(config, STR("other"), STR("openai:gpt-4o-mini"), &steer);
    model_defaults_for(config, STR("other"), STR_NULL, &steer);
    model_defaults_for(config, STR("other"), STR("empty"), &steer);
    assert_true(str_is_null(steer.temperature) && str_is_null(steer.top_p));

    /* A colon is a part of the name, or not. */
    model_defaults_for(config, STR("ollama"), STR("llama3:8b"), &steer);
    assert_str(steer.temperature, "0.1");
    steer = (struct steer){.temperature = STR_NULL};
    model_defaults_for(config, STR("llama3"), STR("8b"), &steer);
    assert_str(steer.temperature, "0.1");

    steer = (struct steer){.temperature = STR_NULL};
    model_defaults_for(config, STR("gemini"), STR("gemini-2.5-pro"), &steer);
    assert_str(steer.reasoning_budget, "2048");
    assert_str(steer.reasoning_effort, "low");
    assert_str(steer.generation_config,
               "{\"topK\":40,\"stopSequences\":[\"END\",\"3\"],\"on\":true,\"x\":null,"
               "\"responseMimeType\":\"text/plain\",\"deep\":{\"a\":\"1\"}}");
    steer = (struct steer){.temperature = STR_NULL};
    model_defaults_for(config, STR("gemini"), STR("text"), &steer);
    assert_str(steer.generation_config, "{\"topK\": 1}");
}

/* Settings of guards are checked, and have no effect yet. */
static void settings_of_guards(void **state)
{
    static const char yaml[] = "model_defaults:\n"
                               "  a: {loop_detection_enabled: false, tool_loop_max_repeats: 3,"
                               " tool_loop_detection_ttl_seconds: 60, temperature: 1}\n";
    struct fixture *f = *state;

    (void)good(f, &(struct inputs){.yaml = yaml});
    assert_int_equal(f->result.warnings, 1);
    assert_has(f->result.report, "model_defaults.a.loop_detection_enabled (config.yaml:2:31)");
    assert_has(f->result.report, "model_defaults.a.tool_loop_max_repeats (");
    assert_false(has(f->result.report, "a.temperature"));
}

/* What is printed reads as the same. */
static void printed(void **state)
{
    static const char yaml[] = "model_aliases:\n"
                               "  b: x:y\n"
                               "  a: 'q\"r\\s'\n"
                               "  '^(.)z': 'k\\1\\\\'\n"
                               "model_defaults:\n"
                               "  'x:y': {temperature: 0.50, reasoning_effort: high,"
                               " gemini_generation_config: {topK: 3}}\n"
                               "  y: {max_tokens: 007}\n";
    struct fixture *f = *state;
    static char again[4096];

    (void)good(f, &(struct inputs){.yaml = yaml});
    struct str text = config_print(&f->source, f->result.config, &f->arena);
    assert_has(text, "model_aliases:                              # config.yaml:2:3\n"
                     "  \"a\": \"q\\\"r\\\\s\"\n"
                     "  \"b\": \"x:y\"\n"
                     "  \"^(.)z\": \"k\\\\1\\\\\\\\\"\n");
    assert_has(text, "  \"x:y\": {temperature: 0.50, reasoning_effort: high, "
                     "gemini_generation_config: {\"topK\":3}}");
    assert_has(text, "# config.yaml:6:3\n");
    assert_has(text, "  \"y\": {max_tokens: 7}");
    (void)snprintf(again, sizeof(again), "%.*s",
                   STR_ARG(str_from(text, str_find(text, STR("model_aliases:"), 0))));
    (void)good(f, &(struct inputs){.yaml = again});
    assert_alias(f, "a", "q\"r\\s");
    assert_alias(f, "bz", "kb\\");

    (void)good(f, &(struct inputs){.yaml = ""});
    text = config_print(&f->source, f->result.config, &f->arena);
    assert_has(text, "model_aliases: {} ");
    assert_has(text, "model_defaults: {} ");
    text = config_manual(STR("config"), &f->arena);
    assert_has(text, "| `temperature` | number | 0 to 2 |");
    assert_has(text, "| `gemini_generation_config` | map |");
    assert_has(text, "`tool_loop_detection_mode` | choice | block, break,");
    assert_has(text, "'anthropic:claude-\\1'");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(aliases),  TEST(alias_with_a_nul), TEST(aliases_as_a_list),  TEST(faults),
        TEST(too_many), TEST(defaults),         TEST(settings_of_guards), TEST(printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
