/* SPDX-License-Identifier: MIT */
#include "base/log_form.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* 2026-01-02T03:04:05.006Z */
enum { SECONDS = 1767323045 };

static struct log_form *form_of(const char *text)
{
    struct log_form *form = NULL;
    struct error e;

    if (log_form_new(str_c(text), &form, &e) != OK)
        fail_msg("%s: %s", text, e.detail);
    return form;
}

/* The line, without its end, which must be there. */
static struct str line_of(const struct log_form *form, const struct log_record *record,
                          struct log_line *line)
{
    log_form_line(form, record, line);
    assert_true(line->n > 0 && line->n <= LOG_LINE_SIZE);
    assert_int_equal(line->text[line->n - 1], '\n');
    struct str text = str_of(line->text, line->n - 1);
    assert_int_equal(str_find_char(text, '\n', 0), SIZE_MAX);
    return text;
}

static void is_line(const char *format, const struct log_record *record, const char *want)
{
    struct log_form *form = form_of(format);
    struct log_line line;
    struct str text = line_of(form, record, &line);

    if (!str_eq(text, str_c(want)))
        fail_msg("%s:\nhas   %.*s\nwants %s", format, STR_ARG(text), want);
    log_form_free(&form);
    assert_null(form);
}

static const struct log_field fields[] = {
    {.label = STR_INIT(" session="), .kind = LOG_FIELD_STR, .str = STR_INIT("s 1")},
    {.label = STR_INIT(" request="), .kind = LOG_FIELD_STR, .str = STR_INIT("r1")},
    {.label = STR_INIT(" ms="), .kind = LOG_FIELD_INT, .value = -7},
    {.kind = LOG_FIELD_SKIP},
};
static const struct log_record with_fields = {
    .room = ROOM_BACKEND,
    .level = LOG_WARN,
    .message = "models.failed",
    .fields = fields,
    .count = COUNT_OF(fields),
    .now_ms = SECONDS * 1000LL + 6,
};
static const struct log_record bare = {
    .room = ROOM_GATEWAY,
    .level = LOG_INFO,
    .message = "plain",
    .now_ms = SECONDS * 1000LL + 6,
};

static void logfmt(void **state)
{
    struct log_line line;

    (void)state;
    is_line("logfmt", &with_fields,
            "ts=2026-01-02T03:04:05.006Z level=warning room=backend class=BackendService "
            "msg=models.failed session=\"s 1\" request=r1 ms=-7");
    is_line("LogFmt", &bare, "ts=2026-01-02T03:04:05.006Z level=info room=gateway msg=plain");
    assert_true(str_ends(line_of(NULL, &bare, &line), STR(" room=gateway msg=plain")));
}

static void json(void **state)
{
    (void)state;
    is_line("json", &with_fields,
            "{\"ts\":\"2026-01-02T03:04:05.006Z\",\"level\":\"warning\",\"room\":\"backend\","
            "\"class\":\"BackendService\",\"msg\":\"models.failed\",\"session\":\"s 1\","
            "\"request\":\"r1\",\"ms\":-7}");
    is_line("JSON", &bare,
            "{\"ts\":\"2026-01-02T03:04:05.006Z\",\"level\":\"info\",\"room\":\"gateway\","
            "\"msg\":\"plain\"}");
}

/* What a JSON string must not have as it is, and what is no UTF-8. */
static void json_strings(void **state)
{
    static const struct {
        struct str value;
        const char *want;
    } cases[] = {
        {STR_INIT("a\"b\\c"), "a\\\"b\\\\c"},
        {STR_INIT("1\n2\r\t\x1b\x7f"), "1\\u000a2\\u000d\\u0009\\u001b\\u007f"},
        {STR_INIT("\0"), "\\u0000"},
        {STR_INIT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {STR_INIT("\x80"), "\\ufffd"},
        {STR_INIT("\xc3"), "\\ufffd"},
        {STR_INIT("\xc3("), "\\ufffd("},
        {STR_INIT("\xc0\x80"), "\\ufffd\\ufffd"},
        {STR_INIT("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd"},
        {STR_INIT("\xe0\x80\x80"), "\\ufffd\\ufffd\\ufffd"},
        {STR_INIT("\xf4\x90\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {STR_INIT("\xf0\x80\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {STR_INIT("\xff"), "\\ufffd"},
        {STR_INIT(""), ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct log_field one[] = {F_STR("v", cases[i].value)};
        struct log_record record = bare;
        char want[256];
        record.fields = one;
        record.count = 1;
        int n = snprintf(want, sizeof(want),
                         "{\"ts\":\"2026-01-02T03:04:05.006Z\",\"level\":\"info\",\"room\":"
                         "\"gateway\",\"msg\":\"plain\",\"v\":\"%s\"}",
                         cases[i].want);
        assert_true(n > 0 && n < (int)sizeof(want));
        is_line("json", &record, want);
    }
}

/* However long the values are, it is a JSON object that says it was cut; never within a character
 * or an escape. */
static void json_cut(void **state)
{
    static char many[3 * LOG_LINE_SIZE];
    static const char *const units[] = {"m", "\"", "\n", "\xe2\x82\xac", "\xff"};
    struct log_form *form = form_of("json");
    struct log_line line;

    (void)state;
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        struct str unit = str_c(units[u]);
        for (size_t i = 0; i + unit.n <= sizeof(many); i += unit.n)
            memcpy(many + i, unit.p, unit.n);
        for (size_t n = 0; n + 3 <= sizeof(many); n += n < 1500 || n > 2100 ? 300 : 1) {
            size_t bytes = n / unit.n * unit.n;
            const struct log_field long_ones[] = {F_STR("a", str_of(many, bytes)), F_INT("b", 1),
                                                  F_STR("c", str_of(many, bytes))};
            struct log_record record = bare;
            record.fields = long_ones;
            record.count = COUNT_OF(long_ones);
            struct str text = line_of(form, &record, &line);
            assert_true(str_ends(text, STR("}")));
            if (bytes > LOG_LINE_SIZE)
                assert_true(str_ends(text, STR("\",\"cut\":true}")));
            size_t quotes = 0;
            for (size_t i = 0; i < text.n; i++)
                quotes += text.p[i] == '"' && (text.p[i - 1] != '\\' || text.p[i - 2] == '\\');
            assert_int_equal(quotes % 2, 0);
        }
    }
    log_form_free(&form);
}

static void templates(void **state)
{
    char asctime[64];
    char want[256];
    time_t seconds = SECONDS;
    struct tm t;

    (void)state;
    is_line("%(name)s - %(levelname)s - %(message)s", &with_fields,
            "backend BackendService - WARNING - models.failed session=\"s 1\" request=r1 ms=-7");
    is_line("[%(levelname)-8s][%(levelname)8s] %(session)s/%(request)s 100%%", &with_fields,
            "[WARNING ][ WARNING] \"s 1\"/r1 100%");
    is_line("%(session)s %(request)3s|%(name)s", &bare, "-   -|gateway");
    (void)snprintf(want, sizeof(want), "%d", (int)getpid());
    is_line("%(process)d", &bare, want);
    is_line("%(process)s", &bare, want);
    is_line("%(levelname)2s", &bare, "INFO");
    assert_non_null(localtime_r(&seconds, &t));
    assert_true(strftime(asctime, sizeof(asctime), "%Y-%m-%d %H:%M:%S", &t) > 0);
    (void)snprintf(want, sizeof(want), "%s,006 - gateway - INFO - plain", asctime);
    is_line("%(asctime)s - %(name)s - %(levelname)s - %(message)s", &bare, want);

    /* Threads are told apart. */
    struct log_form *form = form_of("%(thread)d");
    struct log_line line;
    struct str text = line_of(form, &bare, &line);
    assert_true(text.n > 0 && text.p[0] >= '1' && text.p[0] <= '9');
    log_form_free(&form);
}

/* A width that has no room is left out; what is too long is cut. */
static void long_templates(void **state)
{
    static char many[2 * LOG_LINE_SIZE];
    const struct log_field long_one[] = {F_STR("a", str_of(many, sizeof(many)))};
    struct log_record record = bare;
    struct log_form *form = form_of("%(message)s%(message)200s%(levelname)-200s");
    struct log_line line;

    (void)state;
    memset(many, 'm', sizeof(many));
    record.fields = long_one;
    record.count = 1;
    struct str text = line_of(form, &record, &line);
    assert_int_equal(text.n, LOG_LINE_SIZE - 1);
    assert_true(str_starts(text, STR("plain a=mmm")));
    log_form_free(&form);
}

static void faults(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"", "must be json, logfmt, or a template"},
        {"xml", "must be json, logfmt, or a template"},
        {"%", "a % stands for itself as %%"},
        {"50% of %(message)s", "a % stands for itself as %%"},
        {"%(message", "a % stands for itself as %%"},
        {"%(message)", "%(message) is followed by s"},
        {"%(message)d", "%(message) is followed by s"},
        {"%(process)f", "%(process) is followed by d"},
        {"%(message)201s", "a width up to 200"},
        {"%(message)99999999999999999999s", "a width up to 200"},
        {"%(msg)s", "%(msg) is unknown; there are asctime"},
        {"%(message)s\n", "a control character"},
    };
    struct log_form *form = NULL;
    struct error e;
    char many[50 * 12];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(log_form_new(str_c(cases[i].text), &form, &e), ERR_CONFIG);
        assert_null(form);
        if (strstr(e.detail, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].text, e.detail);
    }
    size_t n = 0;
    for (int i = 0; i < 50; i++) {
        memcpy(many + n, "%(name)s", 8);
        n += 8;
    }
    assert_int_equal(log_form_new(str_of(many, n), &form, &e), ERR_CONFIG);
    assert_non_null(strstr(e.detail, "more than 40"));
    static char huge[1001];
    memset(huge, 'x', sizeof(huge));
    assert_int_equal(log_form_new(str_of(huge, sizeof(huge)), &form, &e), ERR_CONFIG);
}

static void same(void **state)
{
    struct log_form *a = form_of("%(message)s");
    struct log_form *b = form_of("%(message)s");
    struct log_form *plain = form_of("logfmt");

    (void)state;
    assert_true(log_form_same(a, b));
    assert_true(log_form_same(plain, NULL));
    assert_true(log_form_same(NULL, NULL));
    assert_false(log_form_same(a, plain));
    assert_false(log_form_same(a, NULL));
    log_form_chain(b, a);
    log_form_chain(plain, b);
    log_form_free_all(plain);
    log_form_free_all(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logfmt),   cmocka_unit_test(json),      cmocka_unit_test(json_strings),
        cmocka_unit_test(json_cut), cmocka_unit_test(templates), cmocka_unit_test(long_templates),
        cmocka_unit_test(faults),   cmocka_unit_test(same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
