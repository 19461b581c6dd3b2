/* SPDX-License-Identifier: MIT */
/*
 * The log: lines on standard error (and on standard output where that is another pipe), written by
 * a thread of its own.
 *
 * A line is formatted on the caller's stack and put into a bounded queue; when that is full the
 * line is dropped and counted (the writer says how many), and no caller ever waits.
 *
 *   LOG(GATEWAY, INFO, "upstream.connected", F_STR("host", host), F_INT("ms", took));
 *   -> ts=2026-01-02T03:04:05.678Z level=info room=gateway msg=upstream.connected host=… ms=3
 *
 * That is logfmt; base/log_form.h has the other forms. Message names are constants. There is no
 * field kind for secrets. Any thread may log. Who logs at which level: log_room.def.
 */
#pragma once

#include "base/log_level.h"
#include "base/str.h"

enum log_room {
#define LOG_ROOM(name_, text_, class_) ROOM_##name_,
#define LOG_ROOM_ALIAS(name_, text_)
#include "base/log_room.def"
#undef LOG_ROOM
#undef LOG_ROOM_ALIAS
    ROOM_COUNT
};

struct log_form;

struct log_field {
    struct str label; /* " name=" */
    enum { LOG_FIELD_STR, LOG_FIELD_BARE, LOG_FIELD_INT, LOG_FIELD_SKIP } kind;
    struct str str;
    int64_t value;
};

/* name: a literal */
#define F_STR(name, s) \
    ((struct log_field){.label = STR_INIT(" " name "="), .kind = LOG_FIELD_STR, .str = (s)})
/* Text of ours that needs no quotes, by where it is from: visible ASCII without " = and \. */
#define F_BARE(name, s) \
    ((struct log_field){.label = STR_INIT(" " name "="), .kind = LOG_FIELD_BARE, .str = (s)})
#define F_Z(name, z) F_STR(name, str_c(z))
#define F_INT(name, v)                                   \
    ((struct log_field){.label = STR_INIT(" " name "="), \
                        .kind = LOG_FIELD_INT,           \
                        .value = (int64_t)(v)})
/* The field only if cond. */
#define F_IF(cond, field) ((cond) ? (field) : (struct log_field){.kind = LOG_FIELD_SKIP})

#define LOG(room, level, message, ...)                                                        \
    do {                                                                                      \
        if (log_enabled(ROOM_##room, LOG_##level)) {                                          \
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
/* The least important level that is logged: of all rooms, of one. */
void log_set_level(enum log_level level);
void log_set_room_level(enum log_room room, enum log_level level);
bool log_enabled(enum log_room room, enum log_level level);
/* What lines look like from now on: taken over. Only one thread sets it. */
void log_set_form(struct log_form *form);
/* "backend", or a Python module or class that means it ("src.core.services.backend_service",
 * "BackendService"); false for others. */
NODISCARD bool log_room_parse(struct str name, enum log_room *ret_room);
const char *log_room_name(enum log_room room);
/* "debug", "info", "warning" (or "warn"), "error", any letter case; false for others. */
NODISCARD bool log_level_parse(struct str s, enum log_level *ret_level);
const char *log_level_name(enum log_level level);

void log_write(enum log_room room, enum log_level level, const char *message,
               const struct log_field *fields, size_t count);
/* For errors: LOG with a level that is not a constant. */
#define LOG_AT(room, level, message, ...)                                                 \
    do {                                                                                  \
        if (log_enabled(ROOM_##room, (level))) {                                          \
            const struct log_field log_fields[] = {                                       \
                __VA_ARGS__ __VA_OPT__(, ){.kind = LOG_FIELD_SKIP}};                      \
            log_write(ROOM_##room, (level), (message), log_fields, COUNT_OF(log_fields)); \
        }                                                                                 \
    } while (0)

/* Lines dropped because the queue was full, since the start. */
uint64_t log_dropped(void);
