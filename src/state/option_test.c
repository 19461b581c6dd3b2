/* SPDX-License-Identifier: MIT */
/* Catches: a unit, a bound or a spelling that a kind's parser takes wrongly or refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "state/option.h"

struct number_case {
    const char *text;
    int64_t value; /* INT64_MIN: refused */
};

enum { ARENA_MAX = 1024 * 1024 };
#define REFUSED INT64_MIN

static const struct option duration = {"d", OPTION_duration, 0, "", "0", "10000h", ""};
static const struct option size = {"s", OPTION_size, 0, "", "0", "1024GiB", ""};
static const struct option count = {"c", OPTION_count, 0, "", "-5", "65535", ""};

static void check_numbers(const struct option *option, const struct number_case *cases, size_t n)
{
    struct arena arena;

    arena_init(&arena, ARENA_MAX, 1024, NULL);
    for (size_t i = 0; i < n; i++) {
        struct option_value value = {.text = str_c(cases[i].text)};
        struct option_result result = {.number = 0};
        struct str why = STR_NULL;
        bool ok = option_parse(option, &value, &arena, &result, &why);
        if (ok != (cases[i].value != REFUSED))
            fail_msg("\"%s\": %s", cases[i].text, ok ? "taken" : "refused");
        if (ok && result.number != cases[i].value)
            fail_msg("\"%s\" became %lld", cases[i].text, (long long)result.number);
        if (!ok)
            assert_true(str_starts(why, STR("must be ")));
    }
    arena_fini(&arena);
}

static void durations(void **state)
{
    static const struct number_case cases[] = {
        {"0", 0},
        {"1", 1000},
        {"30s", 30000},
        {"1.5", 1500},
        {"250ms", 250},
        {"2m", 120000},
        {"1h", 3600000},
        {"0.5h", 1800000},
        {"10 s", 10000},
        {"1S", 1000},
        {"0.001", 1},
        {"300", 300000},
        {"1.5ms", 2},
        {"10000h", 36000000000},
        {"", REFUSED},
        {"s", REFUSED},
        {"-1", REFUSED},
        {"1d", REFUSED},
        {"1 2", REFUSED},
        {"1.2.3", REFUSED},
        {".", REFUSED},
        {"1e3", REFUSED},
        {"inf", REFUSED},
        {"nan", REFUSED},
        {"0x10", REFUSED},
        {"10001h", REFUSED},
        {"0.0001", REFUSED},
        {"999999999999999999999", REFUSED},
        {"10sec", REFUSED},
        {"+1", REFUSED},
    };
    (void)state;
    check_numbers(&duration, cases, COUNT_OF(cases));
}

static void sizes(void **state)
{
    static const struct number_case cases[] = {
        {"0", 0},
        {"1", 1},
        {"4096", 4096},
        {"32KiB", 32768},
        {"1.5KiB", 1536},
        {"64 MiB", 67108864},
        {"1gib", 1073741824},
        {"1024GiB", 1099511627776},
        {"", REFUSED},
        {"KiB", REFUSED},
        {"1KB", REFUSED},
        {"1k", REFUSED},
        {"1.5", REFUSED},
        {"-1", REFUSED},
        {"1025GiB", REFUSED},
        {"1MiBx", REFUSED},
        {"0.0001KiB", REFUSED},
    };
    (void)state;
    check_numbers(&size, cases, COUNT_OF(cases));
}

static void counts(void **state)
{
    static const struct number_case cases[] = {
        {"0", 0},         {"8000", 8000},     {"65535", 65535}, {"-5", -5},
        {"+7", 7},        {"65536", REFUSED}, {"-6", REFUSED},  {"1.0", REFUSED},
        {"", REFUSED},    {"1e3", REFUSED},   {" 1", REFUSED},  {"99999999999999999999", REFUSED},
        {"0x1", REFUSED},
    };
    (void)state;
    check_numbers(&count, cases, COUNT_OF(cases));
}

/* A value in quotes is text: no number and no flag; without a type of its own it is. */
static void quotes(void **state)
{
    static const struct option flag = {"f", OPTION_flag, 0, "", "", "", ""};
    struct option_value value = {.text = STR("1"), .quoted = true};
    struct option_result result;
    struct arena arena;
    struct str why;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    assert_false(option_parse(&count, &value, &arena, &result, &why));
    assert_true(option_parse(&duration, &value, &arena, &result, &why));
    value.text = STR("true");
    assert_false(option_parse(&flag, &value, &arena, &result, &why));
    value.quoted = false;
    assert_true(option_parse(&flag, &value, &arena, &result, &why));
    value.text = STR("1");
    assert_false(option_parse(&flag, &value, &arena, &result, &why));
    value.loose = true;
    assert_true(option_parse(&flag, &value, &arena, &result, &why));
    assert_true(result.flag);
    arena_fini(&arena);
}

static void words(void **state)
{
    static const struct {
        enum option_kind kind;
        const char *min;
        const char *text;
        bool ok;
    } cases[] = {
        {OPTION_flag, "", "true", true},
        {OPTION_flag, "", "False", true},
        {OPTION_flag, "", "YES", true},
        {OPTION_flag, "", "off", true},
        {OPTION_flag, "", "maybe", false},
        {OPTION_flag, "", "", false},
        {OPTION_level, "", "debug", true},
        {OPTION_level, "", "WARNING", true},
        {OPTION_level, "", "loud", false},
        {OPTION_choice, "a|bc", "bc", true},
        {OPTION_choice, "a|bc", "b", false},
        {OPTION_choice, "a|bc", "", false},
        {OPTION_wait, "", "off", true},
        {OPTION_wait, "", "5s", true},
        {OPTION_wait, "", "soon", false},
        {OPTION_prefix, "", "!/", true},
        {OPTION_prefix, "", "$$", false},
        {OPTION_prefix, "", "$$$", true},
        {OPTION_prefix, "", "!", false},
        {OPTION_prefix, "", "! /", false},
        {OPTION_prefix, "", "12345678901", false},
        {OPTION_text, "", "", true},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct option option = {"o", cases[i].kind, 0, "", cases[i].min, "", ""};
        struct option_value value = {.text = str_c(cases[i].text)};
        struct option_result result;
        struct str why;
        if (option_parse(&option, &value, &arena, &result, &why) != cases[i].ok)
            fail_msg("%s \"%s\"", option_kind_name(cases[i].kind), cases[i].text);
    }
    arena_fini(&arena);
}

static void lists(void **state)
{
    static const struct option texts = {"l", OPTION_texts, 0, "", "", "", ""};
    struct option_value value = {.text = STR("a, b,,c ")};
    struct option_result result;
    struct arena arena;
    struct str why;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    assert_true(option_parse(&texts, &value, &arena, &result, &why));
    assert_int_equal(result.list.n, 1);
    value.loose = true;
    assert_true(option_parse(&texts, &value, &arena, &result, &why));
    assert_int_equal(result.list.n, 3);
    assert_true(str_eq(result.list.items[2], STR("c")));
    value = (struct option_value){.text = STR(""), .loose = true};
    assert_true(option_parse(&texts, &value, &arena, &result, &why));
    assert_int_equal(result.list.n, 0);
    arena_fini(&arena);
}

/* What a message shows of a value: nothing of a hidden one, never a control character. */
static void reasons(void **state)
{
    static const struct option port = {"p", OPTION_count, 0, "", "1", "65535", ""};
    struct option_value value = {.text = STR("ab\x1b"
                                             "c")};
    struct option_result result;
    struct arena arena;
    struct str why;

    (void)state;
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    assert_false(option_parse(&port, &value, &arena, &result, &why));
    assert_true(str_eq(why, STR("must be a whole number from 1 to 65535, not \"ab?c\"")));
    value.hidden = true;
    assert_false(option_parse(&port, &value, &arena, &result, &why));
    assert_true(str_eq(why, STR("must be a whole number from 1 to 65535")));
    arena_fini(&arena);
}

struct fields {
    struct str text;
    bool flag;
    bool switch_off;
    int maybe;
    int64_t count;
    int64_t duration;
    size_t size;
    enum log_level level;
    struct str_list texts;
};

/* parse, store, fetch and print are one way and back. */
static void round_trip(void **state)
{
    static const struct {
        struct option option;
        const char *text;
        const char *printed;
    } cases[] = {
        {{"", OPTION_text, offsetof(struct fields, text), "", "", "", ""}, "a\"b", "\"a\\\"b\""},
        {{"", OPTION_flag, offsetof(struct fields, flag), "", "", "", ""}, "yes", "true"},
        {{"", OPTION_off, offsetof(struct fields, switch_off), "", "", "", ""}, "off", "false"},
        {{"", OPTION_maybe, offsetof(struct fields, maybe), "", "", "", ""}, "no", "false"},
        {{"", OPTION_count, offsetof(struct fields, count), "", "", "", ""}, "77", "77"},
        {{"", OPTION_duration, offsetof(struct fields, duration), "", "", "", ""}, "2m", "120s"},
        {{"", OPTION_duration, offsetof(struct fields, duration), "", "", "", ""},
         "1.25",
         "1250ms"},
        {{"", OPTION_size, offsetof(struct fields, size), "", "", "", ""}, "65536", "64KiB"},
        {{"", OPTION_size, offsetof(struct fields, size), "", "", "", ""}, "1025", "1025"},
        {{"", OPTION_level, offsetof(struct fields, level), "", "", "", ""}, "DEBUG", "debug"},
        {{"", OPTION_texts, offsetof(struct fields, texts), "", "", "", ""},
         "a,b",
         "[\"a\", \"b\"]"},
    };
    struct fields fields;
    struct arena arena;
    struct buf out;

    (void)state;
    memset(&fields, 0, sizeof(fields));
    arena_init(&arena, ARENA_MAX, 1024, NULL);
    buf_init(&out, 4096);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct option_value value = {.text = str_c(cases[i].text), .loose = true};
        struct option_result result;
        struct str why;
        assert_true(option_parse(&cases[i].option, &value, &arena, &result, &why));
        option_store(&cases[i].option, &result, &fields);
        memset(&result, 0, sizeof(result));
        option_fetch(&cases[i].option, &fields, &result);
        buf_reset(&out);
        option_print(&cases[i].option, &result, &out);
        if (!str_eq(buf_str(&out), str_c(cases[i].printed)))
            fail_msg("%s became %.*s", cases[i].text, STR_ARG(buf_str(&out)));
    }
    assert_true(fields.switch_off);
    assert_int_equal(fields.level, LOG_DEBUG);
    buf_fini(&out);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(sizes),      cmocka_unit_test(counts),
        cmocka_unit_test(quotes),    cmocka_unit_test(words),      cmocka_unit_test(lists),
        cmocka_unit_test(reasons),   cmocka_unit_test(round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
