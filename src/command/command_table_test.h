/* SPDX-License-Identifier: MIT */
/*
 * The tables of tests/golden/commands: blocks of lines, an empty one between two. Its README says
 * what the lines are.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"

enum { COMMAND_TABLE_MAX = 16 * 1024 * 1024 };

struct command_table_case {
    struct str options; /* the line behind '@'; null: none */
    struct str text;
    size_t line; /* of its beginning in the file, from 1 on */
};

/* Says what comes of the text, in the table's lines. */
typedef void command_table_fn(const struct command_table_case *one, struct arena *arena,
                              struct buf *says);

static inline struct str command_table_read(const char *path, struct arena *arena)
{
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        fail_msg("%s: cannot be read", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    assert_true(size >= 0 && fseek(file, 0, SEEK_SET) == 0);
    char *to = arena_alloc(arena, (size_t)size + 1);
    size_t n = fread(to, 1, (size_t)size, file);
    assert_int_equal(n, size);
    assert_int_equal(fclose(file), 0);
    return str_of(to, n);
}

/* A line of the table as text: without its visible blanks. */
static inline void command_table_decode(struct buf *to, struct str line)
{
    static const char *const shown[] = {"␠", "␉", "␍", "⍽"};
    static const char *const meant[] = {" ", "\t", "\r", "\xc2\xa0"};

    while (line.n > 0) {
        size_t i = 0;
        while (i < COUNT_OF(shown) && !str_starts(line, str_c(shown[i])))
            i++;
        buf_add(to, i < COUNT_OF(shown) ? str_c(meant[i]) : str_head(line, 1));
        line = str_from(line, i < COUNT_OF(shown) ? str_c(shown[i]).n : 1);
    }
}

/* The lines of a text, each behind its mark, with visible blanks. */
static inline void command_table_encode(struct buf *to, const char *mark, struct str text)
{
    struct str line;

    while (str_cut(&text, '\n', &line)) {
        buf_add(to, str_c(mark));
        if (line.n > 0)
            buf_add_char(to, ' ');
        for (size_t i = 0; i < line.n; i++) {
            char c = line.p[i];
            if (c == '\t')
                buf_add(to, STR("␉"));
            else if (c == '\r')
                buf_add(to, STR("␍"));
            else if (c == ' ' && i + 1 == line.n)
                buf_add(to, STR("␠"));
            else
                buf_add_char(to, c);
        }
        buf_add_char(to, '\n');
    }
}

/* One block: what is given of it goes to `given`, the case and what is expected are returned. */
static inline bool command_table_block(struct str *rest, struct arena *arena, struct buf *given,
                                       struct command_table_case *one, struct str *ret_expected)
{
    struct buf text;
    struct buf expected;
    struct str line;
    bool any = false;

    buf_init(&text, COMMAND_TABLE_MAX);
    buf_init(&expected, COMMAND_TABLE_MAX);
    one->options = STR_NULL;
    while (str_cut(rest, '\n', &line) && line.n > 0) {
        char kind = line.p[0];
        struct str content = str_from(line, line.n > 1 && line.p[1] == ' ' ? 2 : 1);
        one->line++;
        if (kind != '#' && kind != '|' && (kind != '@' || str_starts(line, STR("@@")))) {
            buf_add(&expected, line);
            buf_add_char(&expected, '\n');
            continue;
        }
        buf_add(given, line);
        buf_add_char(given, '\n');
        if (kind == '@')
            one->options = content;
        if (kind != '|')
            continue;
        if (any)
            buf_add_char(&text, '\n');
        command_table_decode(&text, content);
        any = true;
    }
    one->text = any ? str_copy(arena, buf_str(&text)) : STR_NULL;
    *ret_expected = str_copy(arena, buf_str(&expected));
    buf_fini(&text);
    buf_fini(&expected);
    return any || !str_is_null(*rest);
}

/* Each case of the file; returns how many there are. */
static inline size_t command_table_run(const char *path, command_table_fn *say)
{
    struct command_table_case one = {.line = 0};
    struct arena arena;
    struct buf out;
    size_t cases = 0;
    size_t wrong = 0;
    struct str expected;

    arena_init(&arena, 256u * 1024 * 1024, 64 * 1024, NULL);
    buf_init(&out, COMMAND_TABLE_MAX);
    struct str rest = command_table_read(path, &arena);
    while (command_table_block(&rest, &arena, &out, &one, &expected)) {
        if (!str_is_null(one.text)) {
            size_t at = out.n;
            cases++;
            say(&one, &arena, &out);
            struct str says = str_from(buf_str(&out), at);
            if (!str_eq(says, expected) && getenv("GOLDEN") == NULL) {
                wrong++;
                print_error("%s:%zu\n--- text\n%.*s\n--- got\n%.*s--- want\n%.*s", path, one.line,
                            STR_ARG(one.text), STR_ARG(says), STR_ARG(expected));
            }
        }
        one.line++;
        if (!str_is_null(rest))
            buf_add_char(&out, '\n');
    }
    if (getenv("GOLDEN") != NULL) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(out.p, 1, out.n, file), out.n);
        assert_int_equal(fclose(file), 0);
    }
    assert_true(buf_ok(&out));
    buf_fini(&out);
    arena_fini(&arena);
    assert_int_equal(wrong, 0);
    return cases;
}
