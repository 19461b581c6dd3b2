/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/arena.h"

static const struct error_row {
    const char *name;
    const char *text;
    int status;
    enum error_retry retry;
    enum log_level level;
} rows[ERROR_COUNT] = {
    [OK] = {"OK", "ok", 200, RETRY_NEVER, LOG_DEBUG},
#define ERR(code, http, class, level, text) \
    [ERR_##code] = {#code, (text), (http), RETRY_##class, LOG_##level},
#include "base/error.def"
#undef ERR
};

static const struct error_row *row_of(enum error_code code)
{
    assert((unsigned)code < ERROR_COUNT);
    return &rows[code];
}

const char *error_name(enum error_code code)
{
    return row_of(code)->name;
}

const char *error_text(enum error_code code)
{
    return row_of(code)->text;
}

int error_status_of(enum error_code code)
{
    return row_of(code)->status;
}

enum error_retry error_retry_of(enum error_code code)
{
    return row_of(code)->retry;
}

enum log_level error_level_of(enum error_code code)
{
    return row_of(code)->level;
}

enum error_code error_set(struct error *e, enum error_code code, const char *file, int line,
                          const char *format, ...)
{
    va_list args;

    assert(e != NULL);
    assert(code != OK);
    e->code = code;
    e->status = 0;
    e->file = file;
    e->line = line;
    e->said = STR_NULL;
    va_start(args, format);
    int n = vsnprintf(e->detail, sizeof(e->detail), format, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n >= sizeof(e->detail)) {
        /* Never end within a UTF-8 sequence: cut before its first byte. */
        size_t end = sizeof(e->detail) - 1;
        while (end > 0 && ((unsigned char)e->detail[end - 1] & 0xC0) == 0x80)
            end--;
        if (end > 0 && ((unsigned char)e->detail[end - 1] & 0x80) != 0)
            end--;
        e->detail[end] = '\0';
    }
    return code;
}

void error_told(const struct error *e, struct str ret_pieces[ERROR_PIECES])
{
    bool bare = e->detail[0] == '\0';

    assert(e->code != OK);
    ret_pieces[0] = str_is_null(e->said) ? str_c(error_text(e->code)) : e->said;
    ret_pieces[1] = bare || !str_is_null(e->said) ? STR("") : STR(": ");
    ret_pieces[2] = str_is_null(e->said) ? str_c(e->detail) : STR("");
}

struct str error_message(const struct error *e, struct arena *arena)
{
    struct str pieces[ERROR_PIECES];

    error_told(e, pieces);
    if (pieces[1].n == 0)
        return pieces[0];
    return str_print(arena, "%.*s: %.*s", STR_ARG(pieces[0]), STR_ARG(pieces[2]));
}
