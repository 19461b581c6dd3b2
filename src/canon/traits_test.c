/* SPDX-License-Identifier: MIT */
#include "canon/traits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Catches: a model that is taken for another one, as its name begins alike. */
static void test_names(void **state)
{
    static const struct {
        enum traits_family family;
        const char *model;
        int64_t output_max;
        enum thinking_kind thinking;
        int64_t budget_max;
        unsigned efforts;
    } cases[] = {
        {TRAITS_ANTHROPIC, "claude-opus-5", 128000, THINKING_ADAPTIVE, 0, 124},
        {TRAITS_ANTHROPIC, "claude-sonnet-5", 128000, THINKING_ADAPTIVE, 0, 124},
        {TRAITS_ANTHROPIC, "claude-novel-7-20300101", 128000, THINKING_ADAPTIVE, 0, 124},
        {TRAITS_ANTHROPIC, "claude-opus-4-8", 128000, THINKING_ADAPTIVE, 0, 124},
        {TRAITS_ANTHROPIC, "claude-opus-4-6", 128000, THINKING_ADAPTIVE, 0, 92},
        {TRAITS_ANTHROPIC, "anthropic/claude-sonnet-4.6", 128000, THINKING_ADAPTIVE, 0, 92},
        {TRAITS_ANTHROPIC, "claude-sonnet-4-5-20250929", 64000, THINKING_BUDGET, 62976, 0},
        {TRAITS_ANTHROPIC, "us.anthropic.claude-haiku-4-5-v1:0", 64000, THINKING_BUDGET, 62976, 0},
        {TRAITS_ANTHROPIC, "claude-opus-4-1-20250805", 32000, THINKING_BUDGET, 30976, 0},
        {TRAITS_ANTHROPIC, "claude-sonnet-4-20250514", 64000, THINKING_BUDGET, 62976, 0},
        {TRAITS_ANTHROPIC, "claude-opus-4-20250514", 32000, THINKING_BUDGET, 30976, 0},
        {TRAITS_ANTHROPIC, "claude-3-7-sonnet-latest", 64000, THINKING_BUDGET, 62976, 0},
        {TRAITS_ANTHROPIC, "claude-3-5-haiku-latest", 8192, THINKING_NONE, 0, 0},
        {TRAITS_ANTHROPIC, "claude-3-opus-20240229", 4096, THINKING_NONE, 0, 0},
        {TRAITS_ANTHROPIC, "llama3.2", 4096, THINKING_BUDGET, 32768, 0},
        {TRAITS_GEMINI, "gemini-2.5-pro", 65536, THINKING_BUDGET, 32768, 0},
        {TRAITS_GEMINI, "models/gemini-2.5-flash-lite", 65536, THINKING_BUDGET, 24576, 0},
        {TRAITS_GEMINI, "gemini-2.5-flash-image", 32768, THINKING_NONE, 0, 0},
        {TRAITS_GEMINI, "gemini-3-pro-preview", 65536, THINKING_LEVEL, 0, 20},
        {TRAITS_GEMINI, "gemini-3.1-pro", 65536, THINKING_LEVEL, 0, 28},
        {TRAITS_GEMINI, "gemini-3-flash", 65536, THINKING_LEVEL, 0, 30},
        {TRAITS_GEMINI, "gemini-3.7-flash", 65536, THINKING_LEVEL, 0, 28},
        {TRAITS_GEMINI, "gemini-2.0-flash", 8192, THINKING_NONE, 0, 0},
        {TRAITS_GEMINI, "gemma-3-27b-it", 8192, THINKING_NONE, 0, 0},
        {TRAITS_OPENAI, "gpt-5", 128000, THINKING_EFFORT, 0, 30},
        {TRAITS_OPENAI, "gpt-5-mini-2025-08-07", 128000, THINKING_EFFORT, 0, 30},
        {TRAITS_OPENAI, "gpt-5-2025-08-07", 128000, THINKING_EFFORT, 0, 30},
        {TRAITS_OPENAI, "gpt-5-chat-latest", 16384, THINKING_NONE, 0, 0},
        {TRAITS_OPENAI, "gpt-5-pro", 128000, THINKING_EFFORT, 0, 16},
        {TRAITS_OPENAI, "gpt-5.1", 128000, THINKING_EFFORT, 0, 29},
        {TRAITS_OPENAI, "gpt-5.2", 128000, THINKING_EFFORT, 0, 61},
        {TRAITS_OPENAI, "gpt-5.6", 128000, THINKING_EFFORT, 0, 125},
        {TRAITS_OPENAI, "openai/o3-mini", 128000, THINKING_EFFORT, 0, 28},
        {TRAITS_OPENAI, "ft:gpt-5:org::1", 128000, THINKING_EFFORT, 0, 30},
        {TRAITS_OPENAI, "o1-mini", 65536, THINKING_NONE, 0, 0},
        {TRAITS_OPENAI, "gpt-4o", 16384, THINKING_NONE, 0, 0},
        {TRAITS_OPENAI, "llama-o3", 16384, THINKING_NONE, 0, 0},
        {TRAITS_OPENAI, "openai/gpt-oss-120b", 32768, THINKING_EFFORT, 0, 28},
        {TRAITS_OPENAI, "", 16384, THINKING_NONE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct traits *t = traits_of(cases[i].family, str_c(cases[i].model));
        if (t->output_max != cases[i].output_max || t->thinking != cases[i].thinking ||
            t->budget_max != cases[i].budget_max || t->efforts != cases[i].efforts)
            fail_msg("%s: output_max %lld, thinking %d, budget_max %lld, efforts %u",
                     cases[i].model, (long long)t->output_max, (int)t->thinking,
                     (long long)t->budget_max, t->efforts);
    }
}

/* Only of names that nobody knows may somebody tell that they reason. */
static void test_told(void **state)
{
    static const char *const known[] = {"gpt-4o",  "gpt-3.5-turbo", "chatgpt-4o-latest",
                                        "gpt-4.1", "gpt-5",         "o1-mini",
                                        "kimi-k2"};
    const struct traits *unknown = traits_of(TRAITS_OPENAI, STR("house-model"));

    (void)state;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        const struct traits *t = traits_of(TRAITS_OPENAI, str_c(known[i]));
        assert_ptr_equal(traits_told(t), t);
    }
    assert_int_equal(unknown->thinking, THINKING_NONE);
    assert_int_equal(traits_told(unknown)->thinking, THINKING_EFFORT);
    assert_int_equal(traits_told(unknown)->efforts, EFFORT_LOW | EFFORT_MEDIUM | EFFORT_HIGH);
    assert_int_equal(traits_told(unknown)->output_max, unknown->output_max);
    assert_int_equal(traits_told(unknown)->schema, unknown->schema);
}

static void test_flags(void **state)
{
    (void)state;
    assert_true(traits_of(TRAITS_ANTHROPIC, STR("claude-opus-4-7"))->sampling_refused);
    assert_false(traits_of(TRAITS_ANTHROPIC, STR("claude-opus-4-6"))->sampling_refused);
    assert_true(traits_of(TRAITS_ANTHROPIC, STR("claude-opus-4-6"))->prefill_refused);
    assert_false(traits_of(TRAITS_ANTHROPIC, STR("claude-opus-4-5"))->prefill_refused);
    assert_true(traits_of(TRAITS_ANTHROPIC, STR("claude-opus-4-1"))->schema);
    assert_false(traits_of(TRAITS_ANTHROPIC, STR("claude-opus-4-20250514"))->schema);
    assert_true(traits_of(TRAITS_GEMINI, STR("gemini-3-pro"))->signatures_needed);
    assert_true(traits_of(TRAITS_GEMINI, STR("gemini-3-pro"))->schema_with_tools);
    assert_false(traits_of(TRAITS_GEMINI, STR("gemini-2.5-pro"))->schema_with_tools);
    assert_true(traits_of(TRAITS_GEMINI, STR("gemma-3"))->system_refused);
    assert_true(traits_of(TRAITS_OPENAI, STR("o3"))->developer);
    assert_false(traits_of(TRAITS_OPENAI, STR("o3"))->custom_tools);
    assert_true(traits_of(TRAITS_OPENAI, STR("gpt-5-nano"))->custom_tools);
    assert_true(traits_of(TRAITS_OPENAI, STR("gpt-5.1"))->sampling_when_off);
    assert_false(traits_of(TRAITS_OPENAI, STR("gpt-5"))->sampling_when_off);
}

static struct params asks(enum reasoning_mode mode, const char *word)
{
    return (struct params){.reasoning = mode,
                           .reasoning_effort = mode == REASONING_EFFORT ? str_c(word) : STR_NULL,
                           .reasoning_budget = mode == REASONING_BUDGET ? str_c(word) : STR_NULL};
}

static void test_effort(void **state)
{
    enum { LOW_TO_HIGH = EFFORT_LOW | EFFORT_MEDIUM | EFFORT_HIGH, EVERY = 127 };
    static const struct {
        enum reasoning_mode mode;
        const char *word;
        unsigned efforts;
        const char *want;
    } cases[] = {
        {REASONING_ABSENT, NULL, EVERY, NULL},
        {REASONING_DYNAMIC, NULL, EVERY, NULL},
        {REASONING_EFFORT, "high", 0, NULL},
        {REASONING_OFF, NULL, EVERY, "none"},
        {REASONING_OFF, NULL, EFFORT_MINIMAL | LOW_TO_HIGH, "minimal"},
        {REASONING_OFF, NULL, LOW_TO_HIGH, "low"},
        {REASONING_EFFORT, "minimal", LOW_TO_HIGH, "low"},
        {REASONING_EFFORT, "minimal", EVERY, "minimal"},
        {REASONING_EFFORT, "low", EFFORT_NONE | EFFORT_HIGH, "high"},
        {REASONING_EFFORT, "medium", EFFORT_LOW | EFFORT_HIGH, "low"},
        {REASONING_EFFORT, "xhigh", LOW_TO_HIGH, "high"},
        {REASONING_EFFORT, "max", LOW_TO_HIGH | EFFORT_XHIGH, "xhigh"},
        {REASONING_EFFORT, "maximum", EVERY, "max"},
        {REASONING_EFFORT, "odd", EVERY, NULL},
        {REASONING_BUDGET, "511", EVERY, "minimal"},
        {REASONING_BUDGET, "512", EVERY, "low"},
        {REASONING_BUDGET, "2048", EVERY, "medium"},
        {REASONING_BUDGET, "8192", EVERY, "high"},
        {REASONING_BUDGET, "16384", EVERY, "xhigh"},
        {REASONING_BUDGET, "1e30", EVERY, "xhigh"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct params params = asks(cases[i].mode, cases[i].word);
        const char *got = traits_effort(&params, cases[i].efforts);
        if (!str_eq(str_c(got), str_c(cases[i].want)))
            fail_msg("%s of %u: %s", cases[i].word, cases[i].efforts, got);
    }
}

static void test_budget(void **state)
{
    static const char sonnet[] = "claude-sonnet-4-5";
    static const char pro[] = "gemini-2.5-pro";
    static const char flash[] = "gemini-2.5-flash";
    static const struct {
        const char *model;
        enum reasoning_mode mode;
        const char *word;
        int64_t max_tokens;
        int64_t want; /* -2: say nothing */
    } cases[] = {
        {sonnet, REASONING_ABSENT, NULL, 0, -2},
        {"claude-opus-5", REASONING_EFFORT, "high", 0, -2},
        {sonnet, REASONING_EFFORT, "odd", 0, -2},
        {sonnet, REASONING_OFF, NULL, 0, 0},
        {flash, REASONING_OFF, NULL, 0, 0},
        {pro, REASONING_OFF, NULL, 0, 128},
        {sonnet, REASONING_EFFORT, "minimal", 0, 1024},
        {sonnet, REASONING_EFFORT, "low", 0, 2048},
        {sonnet, REASONING_EFFORT, "medium", 0, 8192},
        {sonnet, REASONING_EFFORT, "high", 0, 16384},
        {sonnet, REASONING_EFFORT, "xhigh", 0, 32768},
        {sonnet, REASONING_EFFORT, "max", 0, 62976},
        {flash, REASONING_EFFORT, "max", 0, 24576},
        {flash, REASONING_EFFORT, "none", 0, 0},
        {sonnet, REASONING_BUDGET, "100", 0, 1024},
        {sonnet, REASONING_BUDGET, "5000", 0, 5000},
        {flash, REASONING_BUDGET, "99999", 0, 24576},
        {sonnet, REASONING_DYNAMIC, NULL, 0, 8192},
        {flash, REASONING_DYNAMIC, NULL, 0, -1},
        /* Never more than the client lets the answer have. */
        {sonnet, REASONING_EFFORT, "high", 16384, 8192},
        {sonnet, REASONING_EFFORT, "high", 16385, 16384},
        {sonnet, REASONING_EFFORT, "high", 1500, 1024},
        {sonnet, REASONING_EFFORT, "high", 1024, 0},
        {pro, REASONING_EFFORT, "high", 500, 128},
        {flash, REASONING_DYNAMIC, NULL, 500, -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct str model = str_c(cases[i].model);
        enum traits_family family = str_starts(model, STR("gemini")) ? TRAITS_GEMINI
                                                                     : TRAITS_ANTHROPIC;
        struct params params = asks(cases[i].mode, cases[i].word);
        int64_t got = -2;
        bool said = traits_budget(&params, traits_of(family, model), cases[i].max_tokens, &got);
        if (got != cases[i].want || said != (got != -2))
            fail_msg("%s %s %lld: %lld", cases[i].model, cases[i].word,
                     (long long)cases[i].max_tokens, (long long)got);
    }
}

enum { LOW_TO_HIGH = EFFORT_LOW | EFFORT_MEDIUM | EFFORT_HIGH };

static const struct {
    enum traits_family family;
    const char *pattern;
    struct traits traits;
} all_rows[] = {
#define TRAITS(of, text, ...) {TRAITS_##of, (text), {__VA_ARGS__}},
#include "canon/traits.def"
#undef TRAITS
};

/* traits.def by its own words, of a small name without prefixes. */
static size_t row_of(enum traits_family family, const char *name)
{
    char dashed[64];

    assert_true(strlen(name) < sizeof(dashed));
    for (size_t i = 0; i <= strlen(name); i++)
        dashed[i] = (char)(family == TRAITS_ANTHROPIC && name[i] == '.' ? '-' : name[i]);
    for (size_t i = 0; i < COUNT_OF(all_rows); i++) {
        const char *pattern = all_rows[i].pattern;
        bool found = pattern[0] == '^' ? strncmp(dashed, pattern + 1, strlen(pattern + 1)) == 0
                                       : strstr(dashed, pattern) != NULL;
        if (all_rows[i].family == family && found)
            return i;
    }
    fail_msg("no row for %s", name);
    return 0;
}

static void check_row(const char *name)
{
    for (enum traits_family family = TRAITS_OPENAI; family <= TRAITS_GEMINI; family++) {
        const struct traits *want = &all_rows[row_of(family, name)].traits;
        if (memcmp(traits_of(family, str_c(name)), want, sizeof(*want)) != 0)
            fail_msg("%s of family %u is another row's", name, (unsigned)family);
    }
}

/* Catches: a row that is passed over although the name has its pattern, or another family's. */
static void test_first_row(void **state)
{
    static const char *const before[] = {"", "x", "vendor-", "gpt-"};
    static const char *const after[] = {"", "-2026", ".1"};
    char name[64];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(all_rows); i++) {
        const char *pattern = all_rows[i].pattern + (all_rows[i].pattern[0] == '^');
        for (size_t form = 0; form < COUNT_OF(before) * COUNT_OF(after); form++) {
            const char *head = before[form % COUNT_OF(before)];
            const char *tail = after[form / COUNT_OF(before)];
            snprintf(name, sizeof(name), "%s%.40s%s", head, pattern, tail);
            check_row(name);
            snprintf(name, sizeof(name), "%s%.6s%s", head, pattern, tail);
            check_row(name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),     cmocka_unit_test(test_told),
        cmocka_unit_test(test_first_row), cmocka_unit_test(test_flags),
        cmocka_unit_test(test_effort),    cmocka_unit_test(test_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
