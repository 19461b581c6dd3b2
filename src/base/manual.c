/* SPDX-License-Identifier: MIT */
#include "base/manual.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"

enum { PAGE_BYTES_MAX = 1024 * 1024 };

static const char *const retry_names[] = {
    [RETRY_NEVER] = "never",
    [RETRY_SAME] = "the same backend",
    [RETRY_ELSEWHERE] = "another backend",
};

static void add_errors(struct buf *out)
{
    (void)buf_add(out, STR("# Errors\n\n"
                           "Errors that the proxy itself makes. The message that a client gets "
                           "begins with the text; what\nhappened follows it. The code is what "
                           "the log and `llm_proxy_errors_total` say. *Tried again* is\nwhere a "
                           "request may be tried again before anything of it reached the client."
                           "\n\n"
                           "| code | HTTP status | message begins with | tried again | logged as "
                           "|\n|---|---|---|---|---|\n"));
    for (int i = OK + 1; i < ERROR_COUNT; i++) {
        enum error_code code = (enum error_code)i;
        (void)buf_print(out, "| `%s` | %d | %s | %s | %s |\n", error_name(code),
                        error_status_of(code), error_text(code), retry_names[error_retry_of(code)],
                        log_level_name(error_level_of(code)));
    }
}

static const struct metric_line {
    const char *kind;
    const char *name;
    const char *label;
    const char *help;
} metric_lines[] = {
#define METRIC(kind_, name_, label_, help_) {#kind_, #name_, #label_, (help_)},
#include "base/metric.def"
#undef METRIC
};

/* "COUNTER" as "counter". */
static void add_lower(struct buf *out, const char *z)
{
    for (; *z != '\0'; z++)
        (void)buf_add_char(out, (*z >= 'A' && *z <= 'Z') ? (char)(*z | 0x20) : *z);
}

static void add_metrics(struct buf *out)
{
    (void)buf_add(out, STR("# Metrics\n\n"
                           "What `GET /metrics` tells, as Prometheus text. Labels: `backend` the "
                           "configured names (beyond 64\nof them, over reloads, one for the rest, "
                           "`(other)`), `code` those of [ERRORS.md](ERRORS.md),\n`status` 1xx to "
                           "5xx.\n\n"
                           "| metric | kind | label | meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < COUNT_OF(metric_lines); i++) {
        const struct metric_line *line = &metric_lines[i];
        (void)buf_print(out, "| `llm_proxy_%s` | ", line->name);
        add_lower(out, line->kind);
        (void)buf_add(out, STR(" | "));
        if (str_eq(str_c(line->label), STR("ERROR")))
            (void)buf_add(out, STR("`code`"));
        else if (str_eq(str_c(line->label), STR("TURN")))
            (void)buf_add(out, STR("`le`"));
        else if (str_eq(str_c(line->label), STR("BACKEND_TIME")))
            (void)buf_add(out, STR("`backend`, `le`"));
        else if (!str_eq(str_c(line->label), STR("NONE"))) {
            (void)buf_add_char(out, '`');
            add_lower(out, line->label);
            (void)buf_add_char(out, '`');
        }
        (void)buf_print(out, " | %s |\n", line->help);
    }
}

struct str manual_page(struct str topic, struct arena *arena)
{
    struct buf out;
    struct str page = STR_NULL;

    buf_init(&out, PAGE_BYTES_MAX);
    if (str_eq(topic, STR("errors")))
        add_errors(&out);
    else if (str_eq(topic, STR("metrics")))
        add_metrics(&out);
    assert(buf_ok(&out));
    if (out.n > 0)
        page = str_copy(arena, buf_str(&out));
    buf_fini(&out);
    return page;
}
