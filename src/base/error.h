/* SPDX-License-Identifier: MIT */
/*
 * Operating errors as values. Codes, HTTP status, retry class, level and client-safe text come
 * from error.def. An error is born by FAIL, passed on by TRY, and logged once, where it is
 * handled. (A bug is BUG(), no memory aborts; neither comes this way.)
 */
#pragma once

#include "base/log_level.h"
#include "base/str.h"

enum error_code {
    OK = 0,
#define ERR(code, status, retry, level, text) ERR_##code,
#include "base/error.def"
#undef ERR
    ERROR_COUNT
};

enum error_retry { RETRY_NEVER, RETRY_SAME, RETRY_ELSEWHERE };

enum { ERROR_DETAIL_SIZE = 256 };

struct error {
    enum error_code code;
    int status;       /* HTTP status for the client; 0: the table's */
    const char *file; /* where it was born */
    int line;
    bool said_after; /* text and detail stand before what was said */
    struct str said; /* an upstream's message: all that the client is told; null: the table's text
                       * and detail. Borrowed of whoever read it */
    int64_t wait_ms; /* after which it is worth to try again; 0: unknown */
    char detail[ERROR_DETAIL_SIZE]; /* NUL-terminated, safe to show to the client; may be "" */
};

/* "RATE_LIMITED" */
PURE_FN const char *error_name(enum error_code code);
/* "Rate limit exceeded" */
PURE_FN const char *error_text(enum error_code code);
PURE_FN int error_status_of(enum error_code code);
PURE_FN enum error_retry error_retry_of(enum error_code code);
PURE_FN enum log_level error_level_of(enum error_code code);

/* The status to show: the error's own, or its code's. */
static inline int error_status(const struct error *e)
{
    return e->status != 0 ? e->status : error_status_of(e->code);
}

/* Fills *e and returns code. Use FAIL. Long details are cut at a character's boundary. */
enum error_code error_set(struct error *e, enum error_code code, const char *file, int line,
                          const char *format, ...) PRINTF_LIKE(5, 6);

enum { ERROR_PIECES = 5 };

/* The message for the client in pieces, some may be empty: what the upstream said; else text, ": "
 * and detail (text alone without one); or all of them. */
void error_told(const struct error *e, struct str ret_pieces[ERROR_PIECES]);
/* The same in one. */
struct str error_message(const struct error *e, struct arena *arena);

#define FAIL(e, code, ...) error_set((e), (code), __FILE__, __LINE__, __VA_ARGS__)

/* The only macro with hidden control flow. */
#define TRY(call)                          \
    do {                                   \
        enum error_code try_code = (call); \
        if (UNLIKELY(try_code != OK))      \
            return try_code;               \
    } while (0)
