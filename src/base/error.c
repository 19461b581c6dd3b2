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
    e->said_after = false;
    e->wait_ms = 0;
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
    bool said = !str_is_null(e->said);
    bool ours = !said || e->said_after;
    bool detailed = ours && e->detail[0] != '\0';

    assert(e->code != OK);
    ret_pieces[0] = ours ? str_c(error_text(e->code)) : STR("");
    ret_pieces[1] = detailed ? STR(": ") : STR("");
    ret_pieces[2] = detailed ? str_c(e->detail) : STR("");
    ret_pieces[3] = said && ours ? STR(": ") : STR("");
    ret_pieces[4] = said ? e->said : STR("");
}

struct str error_message(const struct error *e, struct arena *arena)
{
    struct str pieces[ERROR_PIECES];
    size_t total = 0;
    char *to;

    error_told(e, pieces);
    for (size_t i = 0; i < ERROR_PIECES; i++)
        total += pieces[i].n;
    to = arena_alloc(arena, total);
    if (arena_overflowed(arena))
        return str_c(error_text(e->code));
    total = 0;
    for (size_t i = 0; i < ERROR_PIECES; i++) {
        if (pieces[i].n > 0)
            memcpy(to + total, pieces[i].p, pieces[i].n);
        total += pieces[i].n;
    }
    return str_of(to, total);
}
