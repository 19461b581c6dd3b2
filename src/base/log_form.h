/* SPDX-License-Identifier: MIT */
/*
 * What a line of the log looks like (logging.format, behaviour.md sections 1 and 8):
 *
 *   logfmt    ts=… level=info room=backend class=BackendService msg=models.failed backend=b …
 *   json      {"ts":"…","level":"info","room":"backend","class":…,"msg":"…","backend":"b",…}
 *   template  text with placeholders as Python's logging has them: %(asctime)s %(name)s
 *             %(levelname)s %(message)s %(process)d %(thread)d %(session)s %(request)s, with a
 *             width where wanted (%(levelname)-8s), and %%.
 *
 * Times of logfmt and json are UTC; asctime is local time with a comma, as Python writes it.
 * Nothing from outside makes a line of its own or reaches a terminal as a control character. A line
 * that would be longer than LOG_LINE_SIZE is cut: json stays JSON (a string ends early, what has no
 * room is left out, "cut":true follows).
 */
#pragma once

#include "base/error.h"
#include "base/log.h"

enum { LOG_LINE_SIZE = 2048 };

struct log_record {
    enum log_room room;
    enum log_level level;
    const char *message;
    const struct log_field *fields;
    size_t count;
    int64_t now_ms; /* wall clock */
};

struct log_line {
    size_t n;
    char text[LOG_LINE_SIZE];
};

/* text: "logfmt", "json" or a template. CONFIG: what of it is wrong. */
NODISCARD enum error_code log_form_new(struct str text, struct log_form **ret_form,
                                       struct error *e);
/* Nulls; takes NULL. */
void log_form_free(struct log_form **form);
/* Whether they write the same; NULL is logfmt. */
bool log_form_same(const struct log_form *a, const struct log_form *b);
/* form keeps old, until log_form_free_all. */
void log_form_chain(struct log_form *form, const struct log_form *old);
void log_form_free_all(const struct log_form *form);
/* The whole line with its end. form NULL: logfmt. Any thread. */
void log_form_line(const struct log_form *form, const struct log_record *record,
                   struct log_line *line);
const char *log_form_room_name(enum log_room room);
