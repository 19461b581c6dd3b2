/* SPDX-License-Identifier: MIT */
/* For tests: bodies made what a vendor takes, as rows of a table. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "protocol/openai_chat_priv.h"

static struct arena arena;

static inline int setup(void **state)
{
    (void)state;
    arena_init(&arena, 256 * 1024 * 1024, 4096, NULL);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

/* JSON with ' for ". */
static inline struct str quoted(const char *text)
{
    char *to = str_z(&arena, str_c(text));

    for (char *c = to; *c != '\0'; c++) {
        if (*c == '\'')
            *c = '"';
    }
    return str_c(to);
}

static inline struct str joined(const struct wire *wire)
{
    char *to = arena_alloc(&arena, wire->body_bytes);
    size_t n = 0;

    for (size_t i = 0; i < wire->body_n; i++) {
        if (wire->body[i].n > 0)
            memcpy(to + n, wire->body[i].p, wire->body[i].n);
        n += wire->body[i].n;
    }
    assert_int_equal(n, wire->body_bytes);
    return str_of(to, n);
}

/* The rules over a body; warnings: "a,b". */
static inline enum error_code run(const struct dialect *dialect, const char *model, struct str body,
                                  struct str *ret_body, struct str *ret_warnings, struct error *e)
{
    struct translation t = {.arena = &arena};
    const struct encode_request how = {.dialect = dialect, .translation = &t};
    struct wire wire = {.body = &body, .body_n = 1, .body_bytes = body.n};
    struct buf warnings;

    TRY(openai_chat_dialect_body(&how, str_c(model), &arena, &wire, e));
    TRY(openai_chat_dialect_alternate(&how, &arena, &wire, e));
    *ret_body = joined(&wire);
    buf_init(&warnings, 4096);
    translation_write_warnings(&t, &warnings);
    *ret_warnings = str_copy(&arena, buf_str(&warnings));
    buf_fini(&warnings);
    return OK;
}

struct row {
    const char *what;
    const struct dialect dialect;
    const char *model;
    const char *body;
    const char *expected; /* NULL: as it came */
    const char *warnings; /* NULL: none */
};

static inline void check(const struct row *row)
{
    struct str expected = quoted(row->expected == NULL ? row->body : row->expected);
    struct str body;
    struct str warnings;
    struct error e;

    if (run(&row->dialect, row->model, quoted(row->body), &body, &warnings, &e) != OK)
        fail_msg("%s: %s", row->what, e.detail);
    if (!str_eq(body, expected))
        fail_msg("%s:\n got %.*s\nwant %.*s", row->what, STR_ARG(body), STR_ARG(expected));
    struct str told = str_c(row->warnings == NULL ? "" : row->warnings);
    if (!str_eq(warnings, told))
        fail_msg("%s: told \"%.*s\", not \"%.*s\"", row->what, STR_ARG(warnings), STR_ARG(told));
    if (run(&row->dialect, row->model, body, &body, &warnings, &e) != OK ||
        !str_eq(body, expected) || warnings.n > 0)
        fail_msg("%s: not the same again:\n got %.*s\n%.*s", row->what, STR_ARG(body),
                 STR_ARG(warnings));
}
