/* SPDX-License-Identifier: MIT */
/*
 * The log: logfmt lines on standard error, written by a thread of its own.
 *
 * A line is formatted on the caller's stack and put into a bounded queue; when that is full the
 * line is dropped and counted (the writer says how many), and no caller ever waits.
 *
 *   LOG(GATEWAY, INFO, "upstream.connected", F_STR("host", host), F_INT("ms", took));
 *   -> ts=2026-01-02T03:04:05.678Z level=info room=gateway msg=upstream.connected host=… ms=3
 *
 * Message names are constants. There is no field kind for secrets. Any thread may log.
 */
#pragma once

#include "base/log_level.h"
#include "base/str.h"

enum log_room {
    ROOM_MAIN,
    ROOM_IO,
    ROOM_HTTP,
    ROOM_PROTOCOL,
    ROOM_CONFIG,
    ROOM_STATE,
    ROOM_BACKEND,
    ROOM_PIPELINE,
    ROOM_GATEWAY,
    ROOM_ADMIN,
    ROOM_COUNT
};

struct log_field {
    struct str label; /* " name=" */
    enum { LOG_FIELD_STR, LOG_FIELD_INT, LOG_FIELD_SKIP } kind;
    struct str str;
    int64_t value;
};

/* name: a literal */
#define F_STR(name, s) \
    ((struct log_field){.label = STR_INIT(" " name "="), .kind = LOG_FIELD_STR, .str = (s)})
#define F_Z(name, z) F_STR(name, str_c(z))
#define F_INT(name, v)                                   \
    ((struct log_field){.label = STR_INIT(" " name "="), \
                        .kind = LOG_FIELD_INT,           \
                        .value = (int64_t)(v)})
/* The field only if cond. */
#define F_IF(cond, field) ((cond) ? (field) : (struct log_field){.kind = LOG_FIELD_SKIP})

#define LOG(room, level, message, ...)                                                        \
    do {                                                                                      \
        if (log_enabled(LOG_##level)) {                                                       \
            const struct log_field log_fields[] = {                                           \
                __VA_ARGS__ __VA_OPT__(, ){.kind = LOG_FIELD_SKIP}};                          \
            log_write(ROOM_##room, LOG_##level, (message), log_fields, COUNT_OF(log_fields)); \
        }                                                                                     \
    } while (0)

/* Starts the writer thread. Before it, and after log_stop, lines are written at once by the
 * caller. */
void log_start(void);
/* Writes what is queued and ends the thread. */
void log_stop(void);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* "debug", "info", "warning" (or "warn"), "error", any letter case; false for others. */
NODISCARD bool log_level_parse(struct str s, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

void log_write(enum log_room room, enum log_level level, const char *message,
               const struct log_field *fields, size_t count);
/* For errors: LOG with a level that is not a constant. */
#define LOG_AT(room, level, message, ...)                                                 \
    do {                                                                                  \
        if (log_enabled(level)) {                                                         \
            const struct log_field log_fields[] = {                                       \
                __VA_ARGS__ __VA_OPT__(, ){.kind = LOG_FIELD_SKIP}};                      \
            log_write(ROOM_##room, (level), (message), log_fields, COUNT_OF(log_fields)); \
        }                                                                                 \
    } while (0)

/* Lines dropped because the queue was full, since the start. */
uint64_t log_dropped(void);
